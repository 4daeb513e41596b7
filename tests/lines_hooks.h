/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lines_hooks.h - cache lines that hooks read and write, on up to 256 virtual CPUs: counted, not timed
 *
 * CPUs take turns, one hook each. A lap is LINES_LAP frees and as many allocations per CPU, and then
 * a drain, which is not counted: it is not a hook. One lap goes before those that are counted, so
 * that what a tracker does once per leaf or chunk is not in the numbers; what it does once per drain
 * is.
 *
 *	private		every CPU frees and takes pages of a block of its own
 *	same_block	all CPUs share a block; CPU c of n has pages c, c + n, c + 2 n, ... (fewer: 512 / n)
 *	random		all CPUs all over 1 GiB, every page one CPU's
 *	trace		as a kernel does it: a list per CPU, last in, first out, refilled and emptied 31
 *			pages at a time from and to a list that all share; so pages wander from CPU to
 *			CPU, and a run of neighbours becomes several CPUs'
 *
 * Uncontended means: no hook is interrupted, and none runs while another is under way. That no
 * event was dropped or took a slow path is checked.
 */
#ifndef FPT_TESTS_LINES_HOOKS_H
#define FPT_TESTS_LINES_HOOKS_H

#ifndef LINES_MAX
#define LINES_MAX (1u << 18)
#endif
#include "lines.h"

#include <fpt/fpt.h>

#include <stdlib.h>

#define LINES_ORDER 9u
#define LINES_BLOCK (1ul << LINES_ORDER)
#define LINES_PAGES (1ul << 18)
#define LINES_LAP 64u
#define LINES_LAPS 4u			/* counted */
#define LINES_BATCH 31u			/* trace: a per-CPU list's step */
#define LINES_CPUS FPT_MODEL_CPUS

enum lines_workload { LINES_PRIVATE, LINES_SAME_BLOCK, LINES_RANDOM, LINES_TRACE, LINES_WORKLOADS };

static const char *const lines_workload_names[LINES_WORKLOADS] = {
	"private", "same_block", "random", "trace",
};

/*
 * A bitmap and nothing else, as a tracker: one read-modify-write per event. The least that any
 * bitmap shared by all CPUs writes.
 */
static inline size_t lines_flat_size(const struct fpt_config *config)
{
	(void)config;
	return fpt_mem_cost(LINES_PAGES / 8);
}

static inline int lines_flat_init(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m)
{
	t->front[FPT_SLOT_OTHER] = fpt_mem_take(m, LINES_PAGES / 8);
	(void)config;
	return t->front[FPT_SLOT_OTHER] ? FPT_OK : FPT_ENOMEM;
}

static inline fpt_atomic_t *lines_flat_word(struct fpt *t, fpt_pfn_t pfn)
{
	return (fpt_atomic_t *)t->front[FPT_SLOT_OTHER] + pfn / FPT_WORD_BITS;
}

static inline void lines_flat_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	for (fpt_pfn_t i = pfn; i < pfn + (1ul << order); i++)
		fpt_or(lines_flat_word(t, i), 1UL << i % FPT_WORD_BITS, seq_cst);
}

static inline int lines_flat_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	for (fpt_pfn_t i = pfn; i < pfn + (1ul << order); i++)
		fpt_and(lines_flat_word(t, i), ~(1UL << i % FPT_WORD_BITS), release);
	return FPT_OK;
}

static const struct fpt_ops lines_flat_ops __attribute__((unused)) = {
	.name = "atomic", .slot = FPT_SLOT_OTHER, .retracts = true,
	.size = lines_flat_size, .init = lines_flat_init,
	.free = lines_flat_free, .alloc = lines_flat_alloc,
};

struct lines_tracker {
	const char *name;
	const struct fpt_ops *ops;
	enum fpt_protocol protocol;
	bool is_private;		/* promises I6 */
};

/* array2019 is not among them: its entries are written plainly, which the model does not see. */
static const struct lines_tracker lines_trackers[] = {
	{ "array", &fpt_array_ops, FPT_ISOLATE, true },
	{ "bitmap", &fpt_bitmap_ops, FPT_ISOLATE, true },
	{ "delta", &fpt_delta_ops, FPT_ISOLATE, true },
	{ "xbitmap", &fpt_xbitmap_ops, FPT_ISOLATE, false },
	{ "ticket", &fpt_xbitmap_ops, FPT_TICKET, false },
	{ "lockmap", &fpt_lockmap_ops, FPT_ISOLATE, false },
	{ "atomic", &lines_flat_ops, FPT_ISOLATE, false },
};

#define LINES_TRACKERS (sizeof(lines_trackers) / sizeof(lines_trackers[0]))

/* Per hook. */
struct lines_result {
	unsigned long hooks;
	double read, written;
	double others;			/* accessed, another CPU's hook wrote them last */
	double others_written;		/* of them, written */
	double transfers;		/* lines that had to come from another CPU */
	double invalidations;
};

struct lines_list {
	uint32_t *page;
	unsigned int nr;
};

struct lines_run {
	struct fpt t;
	void *front, *range;
	unsigned int nr_cpus;
	uint32_t *order;		/* random: all pages, in a random order */
	struct lines_list pool, list[LINES_CPUS], held[LINES_CPUS];	/* trace */
};

static uint32_t lines_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static bool lines_setup(struct lines_run *r, const struct lines_tracker *tracker)
{
	/* As many leaves and lines as there can be: a slow path would be none of "uncontended". */
	struct fpt_config config = {
		.ops = tracker->ops, .nr_cpus = r->nr_cpus, .order = LINES_ORDER,
		.protocol = tracker->protocol,
		.bitmap_leaves = LINES_PAGES / FPT_BITMAP_LEAF_PAGES,
		.delta_sets = LINES_PAGES / FPT_DELTA_LINE_PAGES / FPT_DELTA_WAYS,
	};
	struct fpt_mem m;
	size_t size = fpt_size(&config);

	r->front = fpt_memory_get(size);
	m = (struct fpt_mem){ r->front, size, true };
	if (!r->front || fpt_init(&r->t, &config, &m) != FPT_OK)
		return false;
	size = fpt_range_size(&r->t, 0, LINES_PAGES, true);
	r->range = fpt_memory_get(size);
	m = (struct fpt_mem){ r->range, size, true };
	return r->range && fpt_add_range(&r->t, 0, LINES_PAGES, &m) == FPT_OK;
}

static void lines_hook(struct lines_run *r, unsigned int cpu, uint32_t page, bool alloc)
{
	fpt_model_cpu = cpu;
	count_operation();
	if (alloc)
		(void)fpt_alloc(&r->t, page, 0);
	else
		fpt_free(&r->t, page, 0);
}

/* Page k of a lap of a CPU. */
static uint32_t lines_page(const struct lines_run *r, enum lines_workload w, unsigned int cpu,
			   unsigned int lap, unsigned int k)
{
	if (w == LINES_PRIVATE)
		return (uint32_t)(cpu * LINES_BLOCK + lap * LINES_LAP % LINES_BLOCK + k);
	if (w == LINES_SAME_BLOCK)
		return k * r->nr_cpus + cpu;
	return r->order[(lap % 2 * LINES_CPUS + cpu) * LINES_LAP + k];
}

static void lines_lap(struct lines_run *r, enum lines_workload w, unsigned int lap)
{
	unsigned int nr = LINES_LAP, k, cpu;

	if (w == LINES_SAME_BLOCK && nr > LINES_BLOCK / r->nr_cpus)
		nr = (unsigned int)(LINES_BLOCK / r->nr_cpus);
	for (k = 0; k < 2 * nr; k++)
		for (cpu = 0; cpu < r->nr_cpus; cpu++)
			lines_hook(r, cpu, lines_page(r, w, cpu, lap, k % nr), k >= nr);
}

static void lines_move(struct lines_list *from, struct lines_list *to, unsigned int nr)
{
	while (nr-- && from->nr)
		to->page[to->nr++] = from->page[--from->nr];
}

/* A CPU takes a page off its list, or gives one of those that it holds back to it. */
static void lines_step(struct lines_run *r, unsigned int cpu, bool alloc, uint32_t *seed)
{
	struct lines_list *list = &r->list[cpu], *held = &r->held[cpu];
	uint32_t page;

	if (alloc) {
		if (!list->nr)
			lines_move(&r->pool, list, LINES_BATCH);
		page = list->page[--list->nr];
		held->page[held->nr++] = page;
	} else {
		/* Mostly in the order in which they were taken, from somewhere on. */
		unsigned int i = lines_random(seed) % 4 ? held->nr - 1 : lines_random(seed) % held->nr;

		page = held->page[i];
		held->page[i] = held->page[--held->nr];
		list->page[list->nr++] = page;
	}
	lines_hook(r, cpu, page, alloc);
	if (list->nr > 2 * LINES_BATCH)
		lines_move(list, &r->pool, LINES_BATCH);
}

/*
 * In turn; each CPU takes or gives back in spells of its own length. All pages were freed by CPU
 * 0 before.
 */
static void lines_trace_lap(struct lines_run *r, unsigned int lap, uint32_t *seed)
{
	unsigned int k, cpu;

	for (k = 0; k < 2 * LINES_LAP; k++)
		for (cpu = 0; cpu < r->nr_cpus; cpu++) {
			unsigned int spell = 8u << cpu % 4;
			bool alloc = (lap * 2 * LINES_LAP + k + cpu) / spell % 2;

			if (!r->held[cpu].nr || r->held[cpu].nr == 2 * LINES_LAP)
				alloc = !r->held[cpu].nr;
			lines_step(r, cpu, alloc, seed);
		}
}

static bool lines_lists(struct lines_run *r)
{
	uint32_t *all = calloc(LINES_PAGES + LINES_CPUS * 8 * LINES_LAP, sizeof(*all)), k;

	r->pool.page = all;
	if (!all)
		return false;
	for (k = 0; k < LINES_CPUS; k++) {
		r->list[k].page = all + LINES_PAGES + k * 8 * LINES_LAP;
		r->held[k].page = r->list[k].page + 4 * LINES_LAP;
	}
	for (k = 0; k < LINES_PAGES; k++)
		r->pool.page[r->pool.nr++] = (uint32_t)LINES_PAGES - 1 - k;
	for (fpt_model_cpu = 0, k = 0; k < LINES_PAGES; k += LINES_BLOCK) {
		fpt_free(&r->t, k, LINES_ORDER);
		fpt_drain(&r->t);
	}
	return true;
}

static bool lines_shuffle(struct lines_run *r)
{
	uint32_t seed = 2463534242u, k;

	r->order = malloc(LINES_PAGES * sizeof(*r->order));
	if (!r->order)
		return false;
	for (k = 0; k < LINES_PAGES; k++)
		r->order[k] = k;
	for (k = 0; k < LINES_PAGES; k++) {
		uint32_t other = k + lines_random(&seed) % ((uint32_t)LINES_PAGES - k);
		uint32_t page = r->order[other];

		r->order[other] = r->order[k];
		r->order[k] = page;
	}
	return true;
}

static void lines_laps(struct lines_run *r, enum lines_workload w, struct lines_result *out)
{
	uint32_t seed = 88172645u;
	unsigned int lap;

	for (lap = 0; lap <= LINES_LAPS; lap++) {
		if (lap == 1)
			count_begin();
		else if (lap)
			count_go_on();
		if (w == LINES_TRACE)
			lines_trace_lap(r, lap, &seed);
		else
			lines_lap(r, w, lap);
		count_pause();
		fpt_model_cpu = 0;
		fpt_drain(&r->t);
	}
	(void)count_end();
	out->hooks = counts.operations - 1;	/* count_begin()'s has no hook */
	out->read = (double)counts.read / (double)out->hooks;
	out->written = (double)counts.written / (double)out->hooks;
	out->others = (double)counts.others / (double)out->hooks;
	out->others_written = (double)counts.others_written / (double)out->hooks;
	out->transfers = (double)counts.transfers / (double)out->hooks;
	out->invalidations = (double)counts.invalidations / (double)out->hooks;
}

/* NULL, or what is wrong. */
static const char *lines_count(const struct lines_tracker *tracker, enum lines_workload w,
			       unsigned int nr_cpus, struct lines_result *out)
{
	struct lines_run *r = calloc(1, sizeof(*r));
	const char *error = NULL;
	struct fpt_stats stats;

	if (!r)
		return "no memory";
	r->nr_cpus = nr_cpus;
	fpt_model_cpu = 0;
	if (!lines_setup(r, tracker) || (w == LINES_TRACE && !lines_lists(r)) ||
	    (w == LINES_RANDOM && !lines_shuffle(r))) {
		error = "no memory";
	} else {
		lines_laps(r, w, out);
		fpt_get_stats(&r->t, &stats);
		if (stats.count[FPT_STAT_DROPPED] || stats.count[FPT_STAT_SLOW] ||
		    stats.count[FPT_STAT_OUTSIDE])
			error = "an event was dropped, slow or outside";
	}
	fpt_memory_put(r->front, 0);
	fpt_memory_put(r->range, 0);
	free(r->order);
	free(r->pool.page);
	free(r);
	return error;
}

#endif
