/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_trackers.c - every tracker against a simple model, in lockstep; and each promise by itself
 *
 * The model (struct world) is an array of page states and, per block, whether the block is owed to
 * the host. Random steps go to the tracker and to the model; after every step the two are compared.
 * The same steps, written out, are the tests of single promises below.
 *
 * Compiled several times: with other sizes of chunks, for each way of naming the CPU, and with the
 * tracker chosen at compile time (FPT_TRACKER). Where the backend is the model, the accesses of
 * each hook are counted against a bound.
 *
 * FPT_TEST_SEEDS and FPT_TEST_STEPS make random runs longer; FPT_TEST_SEED repeats one that failed.
 */
#include <fpt/fpt.h>

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_CELLS 40000u
#define MAX_BLOCKS 6000u
#define MAX_RANGES 6u
#define MAX_CPUS 5u
#define MAX_ENTRIES 1000u
#define NR_REPORTERS 2u
#define MAX_BATCHES 4u
#define MAX_CHUNKS 8u		/* of hints that are out */
#define MARGIN 3u		/* pages outside of each range that events touch, too */
#define GUARD 64u		/* bytes around donated memory */
#define FILL 0xa5

#if defined(FPT_MODEL)
void (*fpt_model_hook)(const struct fpt_model_access *access);
unsigned int fpt_model_cpu;
void (*fpt_model_rcu_synchronize)(void);
#define set_cpu(cpu) (fpt_model_cpu = (cpu))
#elif defined(FPT_VIRTUAL_CPUS)
__thread unsigned int fpt_virtual_cpu;
#define set_cpu(cpu) (fpt_virtual_cpu = (cpu))
#else
#define ONE_CPU			/* that with id 0 */
#define set_cpu(cpu) ((void)(cpu))
#endif

#ifdef FPT_TRACKER
static const struct fpt_ops *const trackers[] = { &FPT_PASTE(fpt_, FPT_TRACKER, _ops) };
#else
static const struct fpt_ops *const trackers[] = { &fpt_xbitmap_ops, &fpt_array_ops,
						  &fpt_bitmap_ops, &fpt_lockmap_ops,
						  &fpt_none_ops };
#endif

enum state { HELD, FREE, ISOLATED };
enum pool { EXACT, PARTIAL, NONE };
enum chunk { UNUSED, BITS, COARSE };
enum ticket { IDLE, CLAIMED, CANCELLED, SUBMITTED };

struct cell {
	fpt_pfn_t pfn;
	int range;			/* -1: in none */
	unsigned int block, chunk;	/* of the model, all ranges together */
	unsigned char state;
	bool bit;			/* in the back */
	bool lost;			/* its last free was dropped */
	unsigned char held_by;		/* bitmap: 1 bit per CPU whose front has it */
};

struct block {
	fpt_pfn_t pfn;
	unsigned int first;		/* cell, when inside */
	unsigned int range;
	bool inside;			/* all of its pages are in the range */
	bool owed;			/* must be offered to isolation, and only then may */
	bool claimed;
	enum ticket ticket;
	bool asked;			/* for, first, since it was submitted */
	bool reported;			/* and not touched since */
	bool needed;			/* freed since it was last reported */
	bool offered[NR_REPORTERS];	/* in this pass, and not touched since */
	bool wanted[NR_REPORTERS];	/* owed since before this pass, and not touched since */
};

struct range {
	fpt_pfn_t pfn, nr;
	unsigned int first_block, nr_blocks, first_chunk, nr_chunks;
	unsigned long pool_nr, taken;
};

struct run {
	unsigned int cell, nr;
};

struct front {
	unsigned int fills;		/* which half */
	unsigned int nr[2];
	struct run run[2][MAX_ENTRIES];
};

struct donation {
	char *buffer;
	size_t size, before;		/* given; bytes in front of it */
	struct fpt_mem mem;		/* what is left */
	bool zeroed;
};

struct reporter {
	unsigned int id;
	struct fpt_reporter r;
	struct fpt_batch batch[MAX_BATCHES];
	struct fpt_batch expected;	/* what isolation gave since pass_next began */
	bool submitted[MAX_BATCHES];	/* with tickets a batch may be claimed only */
	struct fpt_batch old;		/* with tickets: one that was completed */
	unsigned long asked;		/* what fpt_expedite_due() has told */
	bool over;
	long last_offered;		/* block of this pass, -1 none */
};

static struct world {
	struct fpt t;
	const struct fpt_ops *ops;
	unsigned int order, block_pages, chunk_pages, entries;
	unsigned int nr_cells, nr_blocks, nr_chunks, nr_ranges, nr_donations;
	struct cell cell[MAX_CELLS];
	struct block block[MAX_BLOCKS];
	unsigned char chunk[MAX_CELLS];
	struct range range[MAX_RANGES];
	struct front front[MAX_CPUS];
	struct donation donation[MAX_RANGES + 1];
	struct reporter reporter[NR_REPORTERS];
	enum fpt_protocol protocol;
	bool report_again;
	struct fpt_range got[MAX_CHUNKS];	/* hints that are out */
	unsigned long asked;		/* how often for blocks that nobody had asked for */
	unsigned long count[FPT_NR_STATS];
	bool quiet;			/* isolation tells the plain truth */
	unsigned int filling;		/* of 8: random events are rather frees */
	/* In fpt_forget_used(): cells, -1 none; how many it has still to ask for. */
	long cleared, to_set;
	unsigned int to_ask;
	/* In fpt_pass_complete(): what it ends next. */
	struct block *ending[FPT_BATCH_MAX];	/* put back; their claims end together, or one by one */
	unsigned int nr_ending;
	bool ok;
	unsigned long long random;
	unsigned long seed, step;
	unsigned long accesses;		/* of this hook call */
} w;

#define CHECK(x, ...) \
	do { \
		if (!(x)) { \
			print_error("%s, order %u, FPT_TEST_SEED=%lu, step %lu: ", w.ops->name, \
				    w.order, w.seed, w.step); \
			print_error(__VA_ARGS__); \
			print_error("\n"); \
			fail(); \
		} \
	} while (0)

static unsigned int chance(unsigned int n)
{
	w.random = w.random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)((w.random >> 33) % n);
}

static bool tickets(void)
{
	return w.protocol == FPT_TICKET;
}

static bool is(const char *name)
{
	return !strcmp(w.ops->name, name);
}

/* Donated memory: what is not taken of it, and what lies around it, must not change. */
static struct donation *donate(size_t size, size_t misaligned, bool zeroed)
{
	struct donation *d = &w.donation[w.nr_donations++];

	d->size = size;
	d->before = GUARD + misaligned;
	d->zeroed = zeroed;
	d->buffer = aligned_alloc(GUARD, (size + 4 * GUARD) / GUARD * GUARD);
	assert_non_null(d->buffer);
	memset(d->buffer, FILL, (size + 4 * GUARD) / GUARD * GUARD);
	if (zeroed)
		memset(d->buffer + d->before, 0, size);
	d->mem = (struct fpt_mem){ d->buffer + d->before, size, zeroed };
	return d;
}

static void check_donation(const struct donation *d)
{
	const char *left = d->mem.base, *end = d->buffer + d->before + d->size;
	const char *last = d->buffer + (d->size + 4 * GUARD) / GUARD * GUARD, *p;

	CHECK(left + d->mem.size == end, "what is left does not end where the donation ended");
	for (p = d->buffer; p < d->buffer + d->before; p++)
		CHECK((unsigned char)*p == FILL, "written in front of the donation");
	for (p = left; p < end; p++)
		CHECK((unsigned char)*p == (d->zeroed ? 0 : FILL), "written to what was not taken");
	for (; p < last; p++)
		CHECK((unsigned char)*p == FILL, "written behind the donation");
}

static void world_begin(const struct fpt_ops *ops, unsigned int order, unsigned int nr_cpus,
			unsigned int entries)
{
	/* Leaves for as many pages as can be: what happens without is test_bitmap.c's. */
	unsigned long pages = MAX_CELLS + 2 * MAX_RANGES * FPT_XBITMAP_INDEX_ALIGN;
	struct fpt_config config = { .ops = ops, .nr_cpus = nr_cpus, .order = order,
				     .array_entries = entries, .protocol = w.protocol,
				     .report_again = w.report_again,
				     .bitmap_leaves = pages / FPT_BITMAP_LEAF_PAGES };
	struct donation *d;
	unsigned long long random = w.random;
	unsigned long seed = w.seed;
	unsigned int i;

	memset(&w, 0, sizeof(w));
	set_cpu(0);
	w.protocol = config.protocol;
	w.report_again = config.report_again;
	w.seed = seed;
	w.random = random;
	w.ops = ops;
	w.order = order;
	w.block_pages = 1u << order;
	w.chunk_pages = 8 * FPT_XBITMAP_CHUNK_BYTES;
	if (w.chunk_pages < w.block_pages)
		w.chunk_pages = w.block_pages;
	w.entries = entries ? entries : FPT_ARRAY_ENTRIES;
	w.cleared = w.to_set = -1;
	d = donate(fpt_size(&config), chance(64), chance(2));
	assert_int_equal(fpt_init(&w.t, &config, &d->mem), FPT_OK);
	for (i = 0; i < NR_REPORTERS; i++) {
		w.reporter[i].id = i;
		w.reporter[i].last_offered = -1;
	}
}

/* Ranges are only noted here: they are added in this order; pages are in the order of pfns. */
static void world_range(fpt_pfn_t pfn, fpt_pfn_t nr)
{
	struct range *r = &w.range[w.nr_ranges++];

	r->pfn = pfn;
	r->nr = nr;
}

static int by_pfn(const void *a, const void *b)
{
	fpt_pfn_t pa = ((const struct cell *)a)->pfn, pb = ((const struct cell *)b)->pfn;

	return pa < pb ? -1 : pa > pb;
}

static void lay_out(unsigned int i)
{
	struct range *r = &w.range[i];
	fpt_pfn_t base = r->pfn >> w.order << w.order, p;
	unsigned int b;

	r->first_block = w.nr_blocks;
	r->nr_blocks = (unsigned int)((r->pfn + (r->nr - 1) - base) >> w.order) + 1;
	r->first_chunk = w.nr_chunks;
	r->nr_chunks = (unsigned int)((r->pfn + (r->nr - 1) - base) / w.chunk_pages) + 1;
	w.nr_blocks += r->nr_blocks;
	w.nr_chunks += r->nr_chunks;
	assert_true(w.nr_blocks <= MAX_BLOCKS && w.nr_cells + r->nr <= MAX_CELLS);
	for (b = 0; b < r->nr_blocks; b++) {
		w.block[r->first_block + b].pfn = base + ((fpt_pfn_t)b << w.order);
		w.block[r->first_block + b].range = i;
	}
	for (p = 0; p < r->nr; p++)
		w.cell[w.nr_cells++] = (struct cell){
			.pfn = r->pfn + p, .range = (int)i,
			.block = r->first_block + (unsigned int)((r->pfn + p - base) >> w.order),
			.chunk = r->first_chunk +
				 (unsigned int)((r->pfn + p - base) / w.chunk_pages) };
}

/* Pages next to a range that are in none. */
static void lay_out_margin(fpt_pfn_t pfn)
{
	unsigned int i;

	for (i = 0; i < w.nr_ranges; i++)
		if (pfn - w.range[i].pfn < w.range[i].nr)
			return;
	for (i = 0; i < w.nr_cells; i++)
		if (w.cell[i].pfn == pfn)
			return;
	w.cell[w.nr_cells++] = (struct cell){ .pfn = pfn, .range = -1, .block = ~0u };
}

static void add_range(unsigned int i, enum pool pool, unsigned int nr_chunks)
{
	struct range *r = &w.range[i];
	size_t size = fpt_range_size(&w.t, r->pfn, r->nr, pool == EXACT), before;
	size_t chunk = fpt_mem_cost(fpt_xbitmap_chunk_bytes(&w.t.back));
	struct donation *d;
	struct fpt_stats stats;

	if (pool == PARTIAL)
		size += nr_chunks * chunk;
	fpt_get_stats(&w.t, &stats);
	before = stats.memory_donated;
	d = donate(size, chance(64), chance(2));
	assert_int_equal(fpt_add_range(&w.t, r->pfn, r->nr, &d->mem), FPT_OK);
	fpt_get_stats(&w.t, &stats);
	/* But for the bytes that alignment cost. */
	CHECK(stats.memory_donated - before <= size - d->mem.size &&
	      stats.memory_donated - before + 2 * FPT_CACHE_LINE > size - d->mem.size,
	      "%zu bytes taken, %zu counted", size - d->mem.size, stats.memory_donated - before);
	r->pool_nr = w.t.back.range[i].pool_nr;
	if (pool == EXACT)
		CHECK(r->pool_nr == r->nr_chunks, "%lu chunks, not exact", r->pool_nr);
	else
		CHECK(r->pool_nr >= nr_chunks || r->pool_nr == r->nr_chunks, "%lu chunks",
		      r->pool_nr);
}

static void world_ready(enum pool pool, unsigned int nr_chunks)
{
	unsigned int i, j;

	for (i = 0; i < w.nr_ranges; i++)
		lay_out(i);
	for (i = 0; i < w.nr_ranges; i++)
		for (j = 1; j <= MARGIN; j++) {
			if (w.range[i].pfn >= j)
				lay_out_margin(w.range[i].pfn - j);
			if (w.range[i].pfn + (w.range[i].nr - 1) <= ~0UL - j)
				lay_out_margin(w.range[i].pfn + (w.range[i].nr - 1) + j);
		}
	qsort(w.cell, w.nr_cells, sizeof(w.cell[0]), by_pfn);
	for (i = 0; i < w.nr_cells; i++) {
		struct block *b;

		if (w.cell[i].range < 0)
			continue;
		b = &w.block[w.cell[i].block];
		if (b->pfn != w.cell[i].pfn)
			continue;
		b->first = i;
		b->inside = i + w.block_pages <= w.nr_cells &&
			    w.cell[i + w.block_pages - 1].range == w.cell[i].range &&
			    w.cell[i + w.block_pages - 1].pfn - b->pfn == w.block_pages - 1;
	}
	for (i = 0; i < w.nr_ranges; i++)
		add_range(i, pool, nr_chunks);
}

static void world_end(void)
{
	unsigned int i;

	for (i = 0; i < w.nr_donations; i++) {
		check_donation(&w.donation[i]);
		free(w.donation[i].buffer);
	}
	fpt_destroy(&w.t);
}

/* Is nothing of block b known to be held? */
static bool is_full(const struct block *b)
{
	unsigned int i;

	if (!b->inside)
		return false;
	if (w.chunk[w.cell[b->first].chunk] == COARSE)
		return true;
	for (i = 0; i < w.block_pages; i++)
		if (!w.cell[b->first + i].bit)
			return false;
	return true;
}

static bool is_free_block(const struct block *b)
{
	unsigned int i;

	for (i = 0; b->inside && i < w.block_pages; i++)
		if (w.cell[b->first + i].state != FREE)
			return false;
	return b->inside;
}

static void touch(struct block *b)
{
	unsigned int i;

	if (b->reported)
		w.count[FPT_STAT_REFAULTED] += w.block_pages;
	b->reported = false;
	for (i = 0; i < NR_REPORTERS; i++)
		b->offered[i] = b->wanted[i] = false;
}

/* What a set or clear of nr pages of the back means. */
static void model_back(unsigned int cell, unsigned int nr, bool set)
{
	bool coarse = false;
	unsigned int i;

	for (i = cell; i < cell + nr; i++) {
		struct cell *c = &w.cell[i];
		unsigned char *chunk = &w.chunk[c->chunk];

		if (c->range < 0) {
			w.count[FPT_STAT_OUTSIDE]++;
			continue;
		}
		if (*chunk == UNUSED && set) {
			struct range *r = &w.range[c->range];

			*chunk = r->taken < r->pool_nr ? BITS : COARSE;
			r->taken += *chunk == BITS;
		}
		if (*chunk == UNUSED)
			continue;
		coarse |= *chunk == COARSE;
		touch(&w.block[c->block]);
		if (*chunk == BITS)
			c->bit = set;
		if (set)
			c->lost = false;
		if (!set && *chunk == BITS)
			w.block[c->block].owed = false;
	}
	for (i = cell; set && i < cell + nr; i++)
		if (w.cell[i].range >= 0 &&
		    (i + 1 == cell + nr || w.cell[i].block != w.cell[i + 1].block) &&
		    is_full(&w.block[w.cell[i].block]))
			w.block[w.cell[i].block].owed = true;
	w.count[FPT_STAT_SLOW] += coarse;
}

/* The array: a run that continues its CPU's last one makes it longer, else it takes an entry. */
static void model_array_free(unsigned int cell, unsigned int nr, unsigned int cpu)
{
	struct front *f = &w.front[cpu];
	unsigned int *n = &f->nr[f->fills], i;
	struct run *last = *n ? &f->run[f->fills][*n - 1] : NULL;

	if (last && last->cell + last->nr == cell &&
	    w.cell[last->cell].range == w.cell[cell].range) {
		last->nr += nr;
	} else if (last && cell + nr == last->cell &&
		   w.cell[last->cell].range == w.cell[cell].range) {
		last->cell = cell;
		last->nr += nr;
	} else if (*n < w.entries) {
		f->run[f->fills][(*n)++] = (struct run){ cell, nr };
	} else {
		w.count[FPT_STAT_DROPPED] += nr;
		for (i = 0; i < nr; i++)
			w.cell[cell + i].lost = true;
		return;
	}
	for (i = 0; i < nr; i++)
		w.cell[cell + i].lost = false;
}

/* The bitmap: as much room as is wanted, so that everything is in front until it is drained. */
static void model_bitmap(unsigned int cell, unsigned int nr, unsigned int cpu, bool set)
{
	unsigned int i;

	for (i = cell; i < cell + nr; i++) {
		unsigned char bit = (unsigned char)(1u << cpu);

		if (w.cell[i].range < 0)
			w.count[FPT_STAT_OUTSIDE]++;
		else if (set)
			w.cell[i].held_by |= bit;
		else
			w.cell[i].held_by &= (unsigned char)~bit;
	}
}

/* Are cells i and i + 1 drained together: neighbours, in one grain of one range? */
static bool same_grain(unsigned int i)
{
	const struct cell *a = &w.cell[i], *b = a + 1;
	fpt_pfn_t base;

	if (i + 1 == w.nr_cells || a->range < 0 || b->range != a->range)
		return false;
	base = w.range[a->range].pfn >> w.order << w.order;
	return (a->pfn - base) / FPT_BITMAP_GRAIN_PAGES == (b->pfn - base) / FPT_BITMAP_GRAIN_PAGES;
}

static void model_bitmap_drain(unsigned int cpu, int range)
{
	unsigned char bit = (unsigned char)(1u << cpu);
	unsigned int i, first;

	for (i = 0; i < w.nr_cells; i++) {
		if (w.cell[i].range != range || !(w.cell[i].held_by & bit))
			continue;
		for (first = i;; i++) {
			w.cell[i].held_by &= (unsigned char)~bit;
			if (!same_grain(i) || !(w.cell[i + 1].held_by & bit))
				break;
		}
		model_back(first, i + 1 - first, true);
	}
}

static void model_drain(void)
{
	unsigned int cpu, i;

	/* In the order of ranges as added: so their leaves are numbered. */
	for (cpu = 0; is("bitmap") && cpu < w.t.nr_cpus; cpu++)
		for (i = 0; i < w.nr_ranges; i++)
			model_bitmap_drain(cpu, (int)i);
	if (!is("array"))
		return;
	for (cpu = 0; cpu < w.t.nr_cpus; cpu++) {
		struct front *f = &w.front[cpu];
		unsigned int half = f->fills;

		f->fills = !half;
		for (i = 0; i < f->nr[half]; i++)
			model_back(f->run[half][i].cell, f->run[half][i].nr, true);
		f->nr[half] = 0;
	}
}

static void model_free(unsigned int cell, unsigned int nr, unsigned int cpu)
{
	bool one_range = true;
	unsigned int i;

	for (i = cell; i < cell + nr; i++) {
		w.cell[i].state = FREE;
		one_range &= w.cell[i].range >= 0 && w.cell[i].range == w.cell[cell].range;
		if (w.cell[i].range >= 0)
			w.block[w.cell[i].block].needed = true;
	}
	if (is("none"))
		return;
	w.count[FPT_STAT_FREED] += nr;
	if (is("array") && one_range)
		model_array_free(cell, nr, cpu);
	else if (is("bitmap"))
		model_bitmap(cell, nr, cpu, true);
	else
		model_back(cell, nr, true);
}

/* A block on its way to the host, of which n pages were taken. */
static int model_ticket(struct block *b, unsigned int n)
{
	if (b->ticket == CLAIMED) {
		b->ticket = CANCELLED;
		w.count[FPT_STAT_CANCELLED] += w.block_pages;
	}
	if (b->ticket != SUBMITTED)
		return FPT_OK;
	w.count[FPT_STAT_WAITED] += n;
	return FPT_IN_FLIGHT;
}

/* What the hook answers. */
static int model_alloc(unsigned int cell, unsigned int nr, unsigned int cpu)
{
	int result = FPT_OK;
	unsigned int i, n;

	for (i = cell; i < cell + nr; i++)
		w.cell[i].state = HELD;
	if (is("none"))
		return FPT_OK;
	w.count[FPT_STAT_ALLOCATED] += nr;
	if (is("bitmap"))
		model_bitmap(cell, nr, cpu, false);
	else if (!is("array"))
		model_back(cell, nr, false);
	for (i = cell; tickets() && i < cell + nr; i += n) {
		for (n = 1; i + n < cell + nr && w.cell[i + n].block == w.cell[i].block; n++)
			;
		if (w.cell[i].range >= 0 && model_ticket(&w.block[w.cell[i].block], n))
			result = FPT_IN_FLIGHT;
	}
	return result;
}

#ifdef FPT_MODEL
static void count_access(const struct fpt_model_access *access)
{
	CHECK(access->kind != FPT_MODEL_PAUSE, "a hook waits");
	w.accesses++;
}

/* I4: the most that a hook of 2^order pages may do. What each summand is for is in its name. */
static unsigned long most_accesses(unsigned int order, bool edge)
{
	unsigned long pages = 1ul << order, levels = 1, i, pool_words = 0;
	unsigned long words, blocks, look_up = 1, chunk, piece, block, counters = 5, back;
	unsigned long attempts = 0;

	for (i = 0; i < w.nr_ranges; i++) {
		const struct fpt_xbitmap_range *r = &w.t.back.range[i];

		if (r->nr_levels > levels)
			levels = r->nr_levels;
		if (fpt_xbitmap_words(r->pool_nr) > pool_words)
			pool_words = fpt_xbitmap_words(r->pool_nr);
	}
	/* Runs of pages that are in one word and one block; blocks. */
	words = w.block_pages < FPT_WORD_BITS ? w.block_pages : FPT_WORD_BITS;
	words = (pages + words - 2) / words + 1;
	blocks = (pages + w.block_pages - 2) / w.block_pages + 1;
	chunk = 1 + 2 + 2 * pool_words + 3;
	piece = chunk + 1 /* the bits */ + 2 /* the mark */;
	block = w.block_pages / FPT_WORD_BITS + 1 /* full? */ + 2 * levels;
	back = look_up + words * piece + blocks * block;
	/* Across an edge of a range: page by page. */
	if (edge)
		back = pages * (look_up + piece + block) + look_up;
	if (is("array"))
		attempts = FPT_ARRAY_ATTEMPTS * 5;
	if (is("lockmap"))
		attempts = 3;
	if (tickets())
		back += (edge ? pages : blocks) * (2 * (1 + 3ul * w.nr_ranges) /* look-ups */ +
						   3 /* the ticket */ + 2 /* the mark */ + 2);
	/*
	 * Per leaf: a new level, a new leaf, dirty bits; per word: a look, the bits. Generous:
	 * test_bitmap.c counts.
	 */
	if (is("bitmap"))
		attempts = (pages / FPT_BITMAP_LEAF_PAGES + 2) * 40 +
			   2 * (edge ? 40 * pages : pages / FPT_WORD_BITS + 2);
	return 1 /* CPU */ + counters + look_up + attempts + back;
}

static void hook_begins(void)
{
	w.accesses = 0;
	fpt_model_hook = count_access;
}

static void hook_ends(unsigned int cell, unsigned int order)
{
	bool edge = w.cell[cell].range < 0 ||
		    w.cell[cell + (1u << order) - 1].range != w.cell[cell].range;

	fpt_model_hook = NULL;
	CHECK(is("none") ? w.accesses <= 1 : w.accesses && w.accesses <= most_accesses(order, edge),
	      "%lu accesses, at most %lu expected", w.accesses, most_accesses(order, edge));
}
#else
static void hook_begins(void)
{
}

static void hook_ends(unsigned int cell, unsigned int order)
{
	(void)cell;
	(void)order;
}
#endif

/* One event, to both. */
static void event(unsigned int cell, unsigned int order, unsigned int cpu)
{
	bool set = w.cell[cell].state == HELD;
	int result = FPT_OK, expected = FPT_OK;

	set_cpu(cpu);
	hook_begins();
	if (set)
		fpt_free(&w.t, w.cell[cell].pfn, order);
	else
		result = fpt_alloc(&w.t, w.cell[cell].pfn, order);
	hook_ends(cell, order);
	if (set)
		model_free(cell, 1u << order, cpu);
	else
		expected = model_alloc(cell, 1u << order, cpu);
	CHECK(result == expected, "alloc answers %d, expected %d", result, expected);
}

static void random_event(void)
{
	unsigned int cell = chance(w.nr_cells), order = chance(w.order + 3), tries, i;
	bool want = chance(8) < w.filling;	/* to free */

	if (chance(4) == 0)
		order = 0;
	/* A large event begins where it is aligned more often than not. */
	if (chance(4))
		for (tries = 0; tries < 2u << order && cell + 1 < w.nr_cells; tries++, cell++)
			if (!(w.cell[cell].pfn & ((1ul << order) - 1)))
				break;
	for (tries = 0; tries < 64 && w.cell[cell].state != (want ? HELD : FREE); tries++)
		cell = (cell + 1) % w.nr_cells;
	if (w.cell[cell].state == ISOLATED)
		return;
	for (;; order--) {
		for (i = 1; i < 1u << order && cell + i < w.nr_cells; i++)
			if (w.cell[cell + i].state != w.cell[cell].state ||
			    w.cell[cell + i].pfn - w.cell[cell].pfn != i)
				break;
		if (i == 1u << order)
			break;
	}
	event(cell, order, chance(w.t.nr_cpus));
}

static unsigned int block_at(fpt_pfn_t pfn)
{
	unsigned int b;

	for (b = 0; b < w.nr_blocks; b++)
		if (w.block[b].pfn == pfn && w.block[b].inside)
			return b;
	CHECK(false, "claimed a block that is none");
	return 0;
}

static void set_pages(const struct block *b, enum state state)
{
	unsigned int i;

	for (i = 0; i < w.block_pages; i++)
		w.cell[b->first + i].state = (unsigned char)state;
}

/* A claim, seen first: it must be one that is due. */
static struct block *claimed(struct fpt_range claim, int reporter)
{
	unsigned int i = block_at(claim.pfn);
	struct block *b = &w.block[i];

	CHECK(claim.nr == w.block_pages, "claim of %lu pages", claim.nr);
	CHECK(!b->claimed, "block %u is in two claims", i);
	CHECK(b->owed, "block %u is claimed: not full, or reported and untouched, or used", i);
	CHECK(is_full(b), "block %u is not full", i);
	if (reporter >= 0) {
		struct reporter *rep = &w.reporter[reporter];

		CHECK(!b->offered[reporter], "block %u twice in one pass", i);
		CHECK((long)i > rep->last_offered, "block %u comes after %ld", i,
		      rep->last_offered);
		rep->last_offered = (long)i;
		b->offered[reporter] = true;
	}
	for (i = 0; i < NR_REPORTERS; i++)
		b->wanted[i] = false;
	b->claimed = true;
	b->owed = false;
	w.count[FPT_STAT_CLAIMED] += w.block_pages;
	return b;
}

static void model_submitted(struct block *b)
{
	if (!tickets())
		set_pages(b, ISOLATED);
	b->reported = true;
	b->needed = false;
	b->owed = false;	/* what was freed since the claim is in this report */
	b->ticket = SUBMITTED;
}

static void model_end(struct block *b, bool rehint)
{
	b->claimed = false;
	b->ticket = IDLE;
	b->asked = false;
	if (!rehint)
		return;
	b->reported = false;
	b->owed = is_full(b);
}

static void model_complete(struct block *b, bool ok)
{
	w.count[ok ? FPT_STAT_REPORTED : FPT_STAT_FAILED] += w.block_pages;
	b->needed |= !ok;
	model_end(b, !ok || w.report_again);
}

static void flush_set(void)
{
	if (w.to_set >= 0)
		model_back((unsigned int)w.to_set, 1, true);
	w.to_set = -1;
}

static void forgotten(void)
{
	flush_set();
	w.cleared = -1;
	CHECK(!w.to_ask, "%u pages of a used block were not asked for", w.to_ask);
}

static enum fpt_isolated answer(struct block *b)
{
	unsigned int i;

	/* The owners' lives go on between claim and isolation. */
	for (i = 0; !w.quiet && i < 2; i++)
		if (chance(8) == 0)
			random_event();
	if (!w.quiet && chance(4) == 0)
		return FPT_BUSY;
	return is_free_block(b) ? FPT_TAKEN : FPT_USED;
}

/* Several are claimed before isolation is asked of the first of them. */
static void see_claims(const struct reporter *rep)
{
	unsigned int i;

	for (i = 0; i < w.nr_blocks; i++) {
		struct block *b = &w.block[i];
		struct fpt_range claim = { b->pfn, w.block_pages };

		if (!b->claimed && b->inside &&
		    fpt_xbitmap_test_block(w.t.back.range[b->range].claimed,
					   i - w.range[b->range].first_block))
			claimed(claim, (int)rep->id);
	}
}

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	struct reporter *rep = ctx;
	struct block *b;
	enum fpt_isolated got;

	forgotten();
	CHECK(!rep->over, "isolation is asked after the pass is over");
	see_claims(rep);
	b = &w.block[block_at(r.pfn)];
	CHECK(b->claimed, "isolation is asked without a claim");
	got = answer(b);
	if (got == FPT_TAKEN) {
		model_submitted(b);
		rep->expected.range[rep->expected.nr++] = r;
		return got;
	}
	w.count[got == FPT_USED ? FPT_STAT_USED : FPT_STAT_BUSY] += w.block_pages;
	/* What the reporter clears on account of is_free() follows: is_free() notices. */
	w.to_ask = got == FPT_USED && !w.ops->retracts ? w.block_pages : 0;
	model_end(b, got == FPT_BUSY);
	return got;
}

static void flush_ending(void)
{
	unsigned int i;

	for (i = 0; i < w.nr_ending; i++)
		model_complete(w.ending[i], w.ok);
	w.nr_ending = 0;
}

static void put_back(void *ctx, struct fpt_range r)
{
	struct block *b = &w.block[block_at(r.pfn)];

	(void)ctx;
	if (!w.ok || w.report_again)
		flush_ending();
	w.ending[w.nr_ending++] = b;
	CHECK(w.cell[b->first].state == ISOLATED, "put back what was not taken");
	set_pages(b, FREE);
	/* Now the pages can be taken, before the claim has ended. */
	if (!w.quiet && chance(4) == 0)
		random_event();
}

static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	const struct block *b = &w.block[block_at(pfn >> w.order << w.order)];
	unsigned int i = b->first + (unsigned int)(pfn - b->pfn);
	bool again;

	(void)ctx;
	CHECK(!w.ops->retracts, "is_free is asked though the hooks see all");
	flush_set();
	again = w.cleared == (long)i;
	w.cleared = -1;
	CHECK(again || w.to_ask, "is_free is asked too often");
	w.to_ask -= !again;
	if (again)
		model_back(i, 1, false);
	if (!w.quiet && chance(8) == 0)
		random_event();
	if (w.cell[i].state != HELD) {
		if (again)
			w.to_set = (long)i;
		return true;
	}
	if (!w.quiet && chance(8) == 0) {	/* in doubt */
		if (again)
			w.to_set = (long)i;
		return true;
	}
	if (!again)
		w.cleared = (long)i;
	return false;
}

static const struct fpt_owner_ops owner = { isolate, put_back, is_free };

static void pass_begin(struct reporter *rep)
{
	unsigned int b;

	model_drain();
	fpt_pass_begin(&rep->r);
	rep->over = false;
	rep->last_offered = -1;
	for (b = 0; b < w.nr_blocks; b++) {
		w.block[b].offered[rep->id] = false;
		w.block[b].wanted[rep->id] = w.block[b].owed && !w.block[b].claimed;
	}
}

/*
 * The ticket protocol: nobody is asked, so that claims are seen when they have been made.
 */
static struct block *block_of(struct fpt_range claim)
{
	return &w.block[block_at(claim.pfn)];
}

/* A batch is about to be submitted, or was just: those that nobody has taken a page of. */
static void model_submit(struct fpt_batch *b)
{
	unsigned int i, n = 0;

	for (i = 0; i < b->nr; i++) {
		struct block *block = block_of(b->range[i]);

		if (block->ticket == CLAIMED) {
			model_submitted(block);
			b->range[n++] = b->range[i];
		} else {
			model_end(block, false);
		}
	}
	b->nr = n;
}

static unsigned int ticket_claim(struct reporter *rep, unsigned int i, bool submit)
{
	struct fpt_batch *b = &rep->batch[i];
	unsigned int n;

	if (submit)
		fpt_pass_next(&rep->r, b);
	else
		fpt_pass_claim(&rep->r, b);
	for (n = 0; n < b->nr; n++)
		claimed(b->range[n], (int)rep->id)->ticket = CLAIMED;
	rep->expected = *b;
	if (submit)
		model_submit(&rep->expected);
	rep->submitted[i] = submit;
	return b->nr;
}

static void ticket_submit(struct reporter *rep, unsigned int i)
{
	struct fpt_batch *b = &rep->batch[i], expected = *b;
	unsigned int n;

	model_submit(&expected);
	fpt_pass_submit(&rep->r, b);
	CHECK(b->nr == expected.nr, "%u of a batch submitted, expected %u", b->nr, expected.nr);
	for (n = 0; n < b->nr; n++)
		CHECK(b->range[n].pfn == expected.range[n].pfn && b->ticket[n],
		      "the batch has other ranges than were not cancelled");
	rep->submitted[i] = true;
}

static void ticket_drop(struct reporter *rep, unsigned int i)
{
	unsigned int n;

	for (n = 0; n < rep->batch[i].nr; n++) {
		w.count[FPT_STAT_BUSY] += w.block_pages;
		model_end(block_of(rep->batch[i].range[n]), true);
	}
	fpt_pass_drop(&rep->r, &rep->batch[i]);
}

static void ticket_complete(struct reporter *rep, unsigned int i, bool ok)
{
	struct fpt_batch *b = &rep->batch[i];
	unsigned int n;

	if (!rep->submitted[i]) {
		ticket_drop(rep, i);
		return;
	}
	rep->old = *b;
	while (chance(2) && b->nr) {	/* one at a time, in any order */
		n = chance(b->nr);
		CHECK(fpt_batch_expedited(&w.t, b, n) == block_of(b->range[n])->asked,
		      "expedited is not %d", block_of(b->range[n])->asked);
		model_complete(block_of(b->range[n]), ok);
		fpt_pass_complete_one(&rep->r, b, n, ok);
	}
	for (n = 0; n < b->nr; n++)
		model_complete(block_of(b->range[n]), ok);
	fpt_pass_complete(&rep->r, b, ok);
}

/* Acknowledged a second time: nothing happens, whatever the blocks are now. */
static void ticket_late(struct reporter *rep)
{
	unsigned int n;

	for (n = 0; n < rep->old.nr; n++) {
		w.count[FPT_STAT_LATE] += w.block_pages;
		CHECK(!fpt_complete(&w.t, &rep->old.range[n], rep->old.ticket[n], chance(2)),
		      "a late acknowledgement ended something");
	}
}

static void ticket_expedite(struct reporter *rep)
{
	unsigned int cell = chance(w.nr_cells), order = chance(w.order + 2), i;
	bool busy = false, asked = false;

	for (; order; order--)
		if (cell + (1u << order) <= w.nr_cells &&
		    w.cell[cell + (1u << order) - 1].pfn - w.cell[cell].pfn == (1u << order) - 1)
			break;
	for (i = cell; i < cell + (1u << order); i++)
		if (w.cell[i].range >= 0)
			busy |= w.block[w.cell[i].block].ticket == SUBMITTED;
	CHECK(fpt_in_flight(&w.t, w.cell[cell].pfn, order) == busy, "in flight is not %d", busy);
	fpt_expedite(&w.t, w.cell[cell].pfn, order);
	for (i = cell; i < cell + (1u << order); i++) {
		struct block *b = w.cell[i].range >= 0 ? &w.block[w.cell[i].block] : NULL;

		if (!b || b->ticket != SUBMITTED)
			continue;
		asked |= !b->asked;
		b->asked = true;
	}
	w.asked += asked;
	CHECK(fpt_expedite_due(&rep->r) == (rep->asked != w.asked), "expedite is due is not %d",
	      rep->asked != w.asked);
	rep->asked = w.asked;
}

/* The block that fpt_get_hints() finds next, at or after from. */
static struct block *next_owed(fpt_pfn_t from)
{
	struct block *found = NULL;
	unsigned int i;

	for (i = 0; i < w.nr_blocks; i++) {
		struct block *b = &w.block[i];

		if (b->owed && !b->claimed && b->pfn >= from && (!found || b->pfn < found->pfn))
			found = b;
	}
	return found;
}

static void ticket_get(void)
{
	fpt_pfn_t from = chance(2) ? w.cell[chance(w.nr_cells)].pfn : 0, start = from, nr, i;
	fpt_pfn_t most = chance(5 * w.block_pages), expected = 0, first = 0;
	struct block *b = next_owed(from);
	struct fpt_range *got;

	for (got = w.got; got < w.got + MAX_CHUNKS && got->nr; got++)
		;
	if (got == w.got + MAX_CHUNKS)
		return;
	for (; b && expected + w.block_pages <= most; expected += w.block_pages) {
		if (!expected)
			first = b->pfn;
		else if (b->pfn - first != expected)
			break;
		claimed((struct fpt_range){ b->pfn, w.block_pages }, -1)->ticket = CLAIMED;
		model_submitted(b);
		b = next_owed(from);
	}
	nr = fpt_get_hints(&w.t, &start, most);
	CHECK(nr == expected, "a chunk of %lu pages, expected %lu", nr, expected);
	CHECK(start == (nr ? first : from), "a chunk at %lu, not %lu", start, first);
	*got = (struct fpt_range){ start, nr };
	for (i = 0; i < nr; i += w.block_pages)
		CHECK(fpt_in_flight(&w.t, start + i, w.order), "a chunk that is not out");
}

/* A whole chunk, or its first or last block. */
static void ticket_put(struct fpt_range *got, bool whole)
{
	struct fpt_range back = *got;
	fpt_pfn_t i;

	if (!got->nr)
		return;
	if (!whole)
		back.nr = w.block_pages;
	got->nr -= back.nr;
	if (!whole && chance(2))
		back.pfn += got->nr;
	else
		got->pfn += back.nr;
	fpt_put_hints(&w.t, back.pfn, back.nr);
	for (i = 0; i < back.nr; i += w.block_pages)
		model_complete(block_of((struct fpt_range){ back.pfn + i, w.block_pages }), true);
}

/* Claims without a pass. */
static void ticket_raw_claim(void)
{
	struct fpt_cursor cursor = { 0, 0 };
	struct fpt_range claim;
	unsigned long ticket;
	struct block *b;
	bool ok;

	if (!fpt_claim(&w.t, &cursor, &claim, 1))
		return;
	b = claimed(claim, -1);
	b->ticket = CLAIMED;
	random_event();
	if (chance(4) == 0) {
		fpt_release(&w.t, &claim, FPT_BUSY);
		w.count[FPT_STAT_BUSY] += w.block_pages;
		model_end(b, true);
		return;
	}
	ticket = fpt_submit(&w.t, &claim);
	CHECK((b->ticket == CLAIMED) == (ticket != 0), "submitted is %d", ticket != 0);
	if (!ticket) {
		model_end(b, false);
		return;
	}
	model_submitted(b);
	random_event();
	ok = chance(2);
	CHECK(fpt_complete(&w.t, &claim, ticket, ok), "not completed");
	model_complete(b, ok);
}

/* Into the first free batch; how many. */
static unsigned int pass_next(struct reporter *rep)
{
	unsigned int i, b, nr;

	for (i = 0; i < MAX_BATCHES && rep->batch[i].nr; i++)
		;
	if (i == MAX_BATCHES)
		return 0;
	rep->expected.nr = 0;
	if (tickets())
		nr = ticket_claim(rep, i, w.quiet || chance(2));
	else
		nr = fpt_pass_next(&rep->r, &rep->batch[i]);
	forgotten();
	CHECK(nr == rep->expected.nr && nr == rep->batch[i].nr && nr <= rep->r.policy.batch,
	      "%u ranges, isolation gave %u", nr, rep->expected.nr);
	CHECK(!memcmp(rep->expected.range, rep->batch[i].range, nr * sizeof(struct fpt_range)),
	      "the batch has other ranges than isolation gave");
	if (nr < rep->r.policy.batch && rep->r.policy.max_in_flight - rep->r.in_flight >= w.block_pages) {
		rep->over = true;
		for (b = 0; b < w.nr_blocks; b++)
			CHECK(!w.block[b].wanted[rep->id], "the pass is over and missed block %u",
			      b);
	}
	return nr;
}

static void complete(struct reporter *rep, unsigned int i, bool ok)
{
	w.ok = ok;
	if (tickets())
		ticket_complete(rep, i, ok);
	else
		fpt_pass_complete(&rep->r, &rep->batch[i], ok);
	flush_ending();
	CHECK(!rep->batch[i].nr, "a completed batch is not empty");
}

/* The same without fpt_pass_next(). */
static void raw_claims(void)
{
	struct fpt_cursor cursor = { 0, 0 };
	struct fpt_range claim[5];
	struct block *b[5];
	unsigned int max = 1 + chance(5), nr, i;

	nr = fpt_claim(&w.t, &cursor, claim, max);
	CHECK(nr <= max, "%u claims", nr);
	CHECK(nr == max || (!cursor.range && !cursor.block), "the cursor is not at the beginning");
	for (i = 0; i < nr; i++)
		b[i] = claimed(claim[i], -1);
	for (i = 0; nr < max && i < w.nr_blocks; i++)
		CHECK(!w.block[i].owed || w.block[i].claimed, "block %u is not claimed", i);
	for (i = 0; i < nr; i++) {
		enum fpt_isolated got = answer(b[i]);
		bool ok = chance(4) != 0;

		if (got == FPT_TAKEN) {
			assert_int_equal(fpt_submit(&w.t, &claim[i]), 1);
			model_submitted(b[i]);
			set_pages(b[i], FREE);
			assert_true(fpt_complete(&w.t, &claim[i], 1, ok));
			model_complete(b[i], ok);
		} else {
			fpt_release(&w.t, &claim[i], got);
			w.count[got == FPT_USED ? FPT_STAT_USED : FPT_STAT_BUSY] += w.block_pages;
			model_end(b[i], got == FPT_BUSY);
		}
	}
}

static void check_ticket(const struct block *b, unsigned long word)
{
	static const unsigned long state[] = { FPT_TICKET_IDLE, FPT_TICKET_CLAIMED, FPT_TICKET_IDLE,
					       FPT_TICKET_SUBMITTED };

	word &= FPT_TICKET_STATE | FPT_TICKET_EXPEDITE;
	CHECK(word == (state[b->ticket] | (b->asked ? FPT_TICKET_EXPEDITE : 0)),
	      "the block at %lu: its ticket is %lx", b->pfn, word);
}

/* Does the bitmap hold what the model says? Of pages, only those near cell, or all. */
static void check_back(unsigned int cell, bool all)
{
	unsigned int first = all || cell < 16 ? 0 : cell - 16, i;
	unsigned int end = cell + (4u << w.order);

	if (all || end > w.nr_cells)
		end = w.nr_cells;
	for (i = first; i < end; i++) {
		const struct cell *c = &w.cell[i];
		bool bit = fpt_xbitmap_test(&w.t.back, c->pfn);
		bool coarse = fpt_xbitmap_is_coarse(&w.t.back, c->pfn);

		CHECK(coarse == (c->range >= 0 && w.chunk[c->chunk] == COARSE),
		      "page %lu: coarse is %d", c->pfn, coarse);
		if (coarse)
			continue;
		CHECK(bit == c->bit, "page %lu: its bit is %d", c->pfn, bit);
		/* Exact, where each event is seen. */
		if (c->range >= 0 && (is("xbitmap") || is("lockmap")))
			CHECK(bit == (c->state != HELD), "page %lu: its bit is %d, its state %d",
			      c->pfn, bit, c->state);
	}
	for (i = 0; i < w.nr_blocks; i++) {
		const struct block *b = &w.block[i];
		struct fpt_xbitmap_range *r = &w.t.back.range[b->range];
		unsigned long n = i - w.range[b->range].first_block;

		if (b->owed)
			CHECK(fpt_xbitmap_test_block(r->hinted[0], n),
			      "block %u is owed, not hinted", i);
		CHECK(fpt_xbitmap_test_block(r->reported, n) == b->reported,
		      "block %u: its mark is not %d", i, b->reported);
		CHECK(fpt_xbitmap_test_block(r->claimed, n) == b->claimed,
		      "block %u: claimed is not %d", i, b->claimed);
		if (tickets())
			check_ticket(b, fpt_load(&r->ticket[n], relaxed));
	}
}

static void check_summaries(void)
{
	unsigned long n, bits;
	unsigned int i, l;

	for (i = 0; i < w.nr_ranges; i++) {
		struct fpt_xbitmap_range *r = &w.t.back.range[i];

		for (l = 0, bits = r->nr_blocks; l + 1 < r->nr_levels;
		     l++, bits = fpt_xbitmap_words(bits))
			for (n = 0; n < fpt_xbitmap_words(bits); n++)
				CHECK(!fpt_load(&r->hinted[l][n], relaxed) ||
				      fpt_xbitmap_test_block(r->hinted[l + 1], n),
				      "range %u, level %u, word %lu is not summarized", i, l, n);
	}
}

static void check_stats(void)
{
	static const char *const name[FPT_NR_STATS] = {
		"freed", "allocated", "outside", "dropped", "slow", "claimed",
		"busy", "used", "reported", "failed", "cancelled", "waited", "late", "refaulted" };
	size_t unused = 0;
	struct fpt_stats stats;
	unsigned int i, j;

	fpt_get_stats(&w.t, &stats);
	for (i = 0; i < FPT_NR_STATS; i++)
		CHECK(stats.count[i] == w.count[i], "%s: %lu, expected %lu", name[i],
		      stats.count[i], w.count[i]);
	for (i = 0; i < w.nr_ranges; i++)
		unused += (w.range[i].pool_nr - w.range[i].taken) *
			  fpt_mem_cost(fpt_xbitmap_chunk_bytes(&w.t.back));
	CHECK(stats.memory_used <= stats.memory_donated, "more memory used than donated");
	for (i = 0; is("bitmap") && i < w.t.nr_cpus; i++) {
		struct fpt_bitmap *b = w.t.front[FPT_SLOT_BITMAP];
		size_t left;

		(void)fpt_bitmap_used(&b->cpu[i], &left);
		unused += left;
	}
	CHECK(stats.memory_used == stats.memory_donated - unused,
	      "%zu of %zu bytes used, %zu unused", stats.memory_used, stats.memory_donated, unused);
	for (i = 0; i < NR_REPORTERS; i++) {
		const struct reporter *rep = &w.reporter[i];
		unsigned long out = 0;

		for (j = 0; j < MAX_BATCHES; j++)
			out += rep->batch[j].nr * w.block_pages;
		CHECK(rep->r.in_flight == out, "%lu pages in flight, not %lu", rep->r.in_flight,
		      out);
		CHECK(out <= rep->r.policy.max_in_flight, "%lu pages in flight, more than allowed", out);
	}
}

static void check(unsigned int cell, bool all)
{
	check_back(cell, all);
	check_summaries();
	check_stats();
}

static void check_donations(void)
{
	unsigned int i;

	for (i = 0; i < w.nr_donations; i++)
		check_donation(&w.donation[i]);
}

static unsigned int whole_pass(struct reporter *rep, bool ok)
{
	unsigned int nr, blocks = 0;

	pass_begin(rep);
	while ((nr = pass_next(rep))) {
		blocks += nr;
		complete(rep, 0, ok);
		CHECK(blocks <= w.nr_blocks, "a pass does not end");
	}
	return blocks;
}

/* I2: nobody does anything any more, and isolation and host are willing: then all is reported. */
static void quiesce(void)
{
	unsigned int i, j;
	unsigned long asked;

	w.quiet = true;
	for (i = 0; i < NR_REPORTERS; i++)
		for (j = 0; j < MAX_BATCHES; j++)
			if (w.reporter[i].batch[j].nr)
				complete(&w.reporter[i], j, true);
	for (i = 0; i < MAX_CHUNKS; i++)
		ticket_put(&w.got[i], true);
	whole_pass(&w.reporter[0], true);
	whole_pass(&w.reporter[0], true);
	check(0, true);
	for (i = 0; i < w.nr_blocks && !is("none"); i++) {
		const struct block *b = &w.block[i];
		bool lost = false;

		for (j = 0; b->inside && j < w.block_pages; j++)
			lost |= w.cell[b->first + j].lost;
		CHECK(!is_free_block(b) || !b->needed || lost,
		      "block %u is free and was not reported", i);
		CHECK(!b->owed || w.report_again, "block %u is still owed", i);
	}
	/* What is reported is not reported again, and what is used is not asked for again. */
	asked = w.count[FPT_STAT_CLAIMED];
	whole_pass(&w.reporter[1], true);
	whole_pass(&w.reporter[0], true);
	CHECK(w.count[FPT_STAT_CLAIMED] == asked || w.report_again,
	      "blocks are claimed though nothing happened");
	check_donations();
	w.quiet = false;
}

static void random_ticket_step(struct reporter *rep)
{
	unsigned int i = chance(MAX_BATCHES);

	switch (chance(6)) {
	case 0:
		if (rep->batch[i].nr && !rep->submitted[i])
			ticket_submit(rep, i);
		break;
	case 1:
		ticket_late(rep);
		break;
	case 2:
		ticket_expedite(rep);
		break;
	case 3:
		ticket_get();
		break;
	case 4:
		ticket_put(&w.got[chance(MAX_CHUNKS)], chance(2));
		break;
	case 5:
		ticket_raw_claim();
	}
}

static void random_step(void)
{
	struct reporter *rep = &w.reporter[chance(NR_REPORTERS)];
	unsigned int i;

	if (chance(64) == 0)
		w.filling = 1 + chance(8);
	set_cpu(chance(w.t.nr_cpus));
	if (tickets() && chance(4) == 0) {
		random_ticket_step(rep);
		return;
	}
	switch (chance(16)) {
	case 0:
		pass_begin(rep);
		break;
	case 1:
	case 2:
		pass_next(rep);
		break;
	case 3:
	case 4:
		i = chance(MAX_BATCHES);
		if (rep->batch[i].nr)
			complete(rep, i, chance(4) != 0);
		break;
	case 5:
		if (chance(4) == 0 && !tickets())
			raw_claims();
		break;
	default:
		random_event();
	}
}

static void start_reporters(unsigned int batch, unsigned long max_in_flight)
{
	unsigned int i;

	for (i = 0; i < NR_REPORTERS; i++)
		assert_int_equal(fpt_reporter_init(&w.reporter[i].r, &w.t, &owner, &w.reporter[i],
				&(struct fpt_policy){ .batch = batch, .max_in_flight = max_in_flight }),
				 FPT_OK);
}

/* Ranges of every kind, for blocks of 2^order pages. */
static void random_ranges(void)
{
	unsigned int nr = 1 + chance(3), i;
	fpt_pfn_t block = 1ul << w.order, at = 0, pfn, pages;

	switch (chance(4)) {
	case 0:		/* one, from page 0 on, or to the last page */
		pages = block * (1 + chance(4)) + (chance(2) ? chance(200) : 0);
		world_range(chance(2) ? 0 : ~0ul - (pages - 1), pages);
		return;
	case 1:		/* many blocks: summaries of three levels */
		if (w.order == 0) {
			world_range(chance(1000), 4100 + chance(1000));
			return;
		}
		/* fall through */
	default:	/* several, unaligned, with holes or none, not in the order of pages */
		at = chance(2) ? chance(1000) * block
			       : (~0ul >> w.order << w.order) - 64 * block - (1ul << 14);
		for (i = 0; i < nr; i++) {
			pfn = at + chance((unsigned int)block);
			pages = 1 + chance(3 * (unsigned int)block + 80);
			if (chance(4) == 0) {
				pfn = at;
				pages = block * (1 + chance(3));
			}
			world_range(pfn, pages);
			at = (((pfn + pages - 1) >> w.order) + 1 + chance(2)) << w.order;
		}
		if (nr > 1 && chance(2)) {
			struct range swap = w.range[0];

			w.range[0] = w.range[nr - 1];
			w.range[nr - 1] = swap;
		}
	}
}

static unsigned long from_env(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

/* Over all runs: so that a promise is not kept because nothing happened. */
static unsigned long happened[FPT_NR_STATS];

static void lockstep(const struct fpt_ops *ops, unsigned int order, unsigned long seed,
		     unsigned long steps)
{
	static const unsigned int entries[] = { 1, 2, 3, 7, 1000 };
	unsigned int nr_cpus, pool;
	bool small;
	size_t i;

	w.seed = seed;
	w.random = seed * 1000003 + order;
	nr_cpus = 1 + chance(MAX_CPUS);
#ifdef ONE_CPU
	nr_cpus = 1;
#endif
	world_begin(ops, order, nr_cpus, entries[chance(COUNT(entries))]);
	random_ranges();
	pool = tickets() ? EXACT : chance(3);
	world_ready((enum pool)pool, pool == PARTIAL ? chance(4) : 0);
	start_reporters(chance(3) ? 1 + chance(4) : FPT_BATCH_MAX,
			(1 + chance(6)) * (1ul << order) + chance(2));
	w.filling = 5;
	small = w.nr_cells <= 512;
	for (w.step = 1; w.step <= steps; w.step++) {
		random_step();
		check(chance(w.nr_cells), small || w.step % 256 == 0);
		if (w.step % 512 == 0)
			quiesce();
	}
	quiesce();
	for (i = 0; i < FPT_NR_STATS; i++)
		happened[i] += w.count[i];
	world_end();
}

static const unsigned int orders[] = { 0, 1, 3, 5, 6, 7, 9, 12 };

static void lockstep_all(const struct fpt_ops *ops, enum fpt_protocol protocol)
{
	unsigned long seeds = from_env("FPT_TEST_SEEDS", 6);
	unsigned long steps = from_env("FPT_TEST_STEPS", 1200);
	unsigned long first = from_env("FPT_TEST_SEED", 0), seed;
	size_t i;

	memset(happened, 0, sizeof(happened));
	if (first)
		seeds = 1;
	for (i = 0; i < COUNT(orders); i++)
		for (seed = first ? first : 1; seed < (first ? first : 1) + seeds; seed++) {
			w.protocol = protocol;
			w.report_again = tickets() && seed % 4 == 0;
			lockstep(ops, orders[i], seed, steps);
		}
	w.protocol = FPT_ISOLATE;
	w.report_again = false;
	for (i = 0; i < FPT_NR_STATS && !first && !is("none"); i++) {
		bool of_tickets = i == FPT_STAT_CANCELLED || i == FPT_STAT_WAITED ||
				  i == FPT_STAT_LATE;
		bool not_of_tickets = i == FPT_STAT_SLOW || i == FPT_STAT_USED;

		if (i == FPT_STAT_DROPPED)
			assert_int_equal(happened[i] > 0, is("array"));
		else if (protocol == FPT_TICKET)
			assert_int_equal(happened[i] > 0, !not_of_tickets);
		else
			assert_int_equal(happened[i] > 0, !of_tickets);
	}
}

static void test_lockstep(void **state)
{
	lockstep_all(*state, FPT_ISOLATE);
}

static void test_lockstep_tickets(void **state)
{
	lockstep_all(*state, FPT_TICKET);
}

/*
 * The promises, one by one.
 */

/* Donations that are too small, by however little, are refused; none is written beyond. */
static void test_init(void **state)
{
	const struct fpt_ops *ops = *state;
	struct fpt_config config = { .ops = ops, .nr_cpus = 3, .order = 9, .array_entries = 2,
				     .bitmap_leaves = 1 };
	struct donation *d;
	size_t size, i, misaligned;
	bool enough;
	int error;

	for (i = 0; i < 4; i++) {
		misaligned = i < 2 ? i : 61 + i;
		enough = false;
		for (size = 0; size <= fpt_size(&config); size++) {
			w.nr_donations = 0;
			w.ops = ops;
			d = donate(size, misaligned, size % 2);
			error = fpt_init(&w.t, &config, &d->mem);
			assert_int_equal(error, error ? FPT_ENOMEM : FPT_OK);
			if (error)
				assert_false(enough);
			enough = !error;
			check_donation(d);
			free(d->buffer);
		}
		assert_true(enough);
	}
	w.nr_donations = 0;
}

static int init_error(struct fpt_config config)
{
	static char memory[64 * 1024];
	struct fpt_mem m = { memory, sizeof(memory), false };
	struct fpt t;

	return fpt_init(&t, &config, &m);
}

static void test_init_errors(void **state)
{
	const struct fpt_ops *ops = *state;
	struct fpt_config config = { .ops = ops, .nr_cpus = 1, .order = FPT_MAX_ORDER };

	assert_int_equal(init_error(config), FPT_OK);
	config.order = FPT_MAX_ORDER + 1;
	assert_int_equal(init_error(config), FPT_EINVAL);
	config.order = 9;
	config.nr_cpus = 0;
	assert_int_equal(init_error(config), FPT_EINVAL);
	config.nr_cpus = 1;
	config.ops = NULL;
	assert_int_equal(init_error(config), FPT_EINVAL);
	config.ops = ops;
	if (strcmp(ops->name, "array"))
		return;
	/* Sizes that would wrap around. */
	config.array_entries = ~0ul / 16 + 2;
	assert_int_equal(init_error(config), FPT_EINVAL);
	config.array_entries = FPT_ARRAY_MAX_ENTRIES + 1;
	assert_int_equal(init_error(config), FPT_EINVAL);
	config.array_entries = FPT_ARRAY_MAX_ENTRIES;
	assert_int_equal(init_error(config), FPT_ENOMEM);
}

static void begin(const struct fpt_ops *ops, unsigned int order)
{
	w.random = w.seed = 1;
	w.protocol = FPT_ISOLATE;
	world_begin(ops, order, 1, 0);
}

static void ready(enum pool pool, unsigned int nr_chunks)
{
	world_ready(pool, nr_chunks);
	start_reporters(4, 1ul << 30);
	w.quiet = true;
}

static unsigned int cell_of(fpt_pfn_t pfn)
{
	unsigned int i;

	for (i = 0; i < w.nr_cells && w.cell[i].pfn != pfn; i++)
		;
	assert_true(i < w.nr_cells);
	return i;
}

/* An event that must be a free, or an alloc; and everything is checked. */
static void give(fpt_pfn_t pfn, unsigned int order)
{
	assert_int_equal(w.cell[cell_of(pfn)].state, HELD);
	event(cell_of(pfn), order, 0);
	check(0, true);
}

static void take(fpt_pfn_t pfn, unsigned int order)
{
	assert_int_equal(w.cell[cell_of(pfn)].state, FREE);
	event(cell_of(pfn), order, 0);
	check(0, true);
}

/* Blocks that a pass reports. */
static unsigned int reported(void)
{
	unsigned int n = whole_pass(&w.reporter[0], true);

	check(0, true);
	return n;
}

static int try_range(fpt_pfn_t pfn, fpt_pfn_t nr, struct fpt_mem *m)
{
	struct fpt_mem before = *m;
	int error = fpt_add_range(&w.t, pfn, nr, m);

	if (error)
		assert_memory_equal(&before, m, sizeof(before));
	return error;
}

static void test_range_errors(void **state)
{
	static char memory[1 << 20];
	struct fpt_mem m = { memory, sizeof(memory), false };
	fpt_pfn_t last = ~0ul, pfn;
	size_t size, least;
	unsigned int i;

	begin(*state, 4);
	/* No pages; pages beyond the last. */
	assert_int_equal(try_range(5, 0, &m), FPT_ERANGE);
	assert_int_equal(try_range(last, 2, &m), FPT_ERANGE);
	assert_int_equal(try_range(2, last, &m), FPT_ERANGE);
	assert_int_equal(fpt_range_size(&w.t, 5, 0, true), 0);
	assert_int_equal(fpt_range_size(&w.t, last, 2, true), 0);
	assert_true(fpt_range_size(&w.t, last, 1, true) > 0);
	assert_true(fpt_range_size(&w.t, 0, last, false) > 1ul << 40);
	/* Too little memory, by any number of bytes; the least is enough wherever it lies. */
	least = fpt_range_size(&w.t, 160, 1000, false);
	for (size = 0; size < least; size++) {
		struct fpt_mem small = { memory, size, false };

		if (try_range(160, 1000, &small) == FPT_OK)
			break;
		assert_int_equal(try_range(160, 1000, &small), FPT_ENOMEM);
	}
	assert_true(size > 0 && size + 2 * FPT_CACHE_LINE > least);
	world_end();
	for (i = 0; i < 64; i++) {
		struct fpt_mem exactly = { memory + i, least, false };

		begin(*state, 4);
		assert_int_equal(try_range(160, 1000, &exactly), FPT_OK);
		assert_true((char *)exactly.base + exactly.size == memory + i + least);
		world_end();
	}
	/* Pages of others, or of a block of others. */
	begin(*state, 4);
	m = (struct fpt_mem){ memory, sizeof(memory), false };
	assert_int_equal(try_range(160 + 3, 30, &m), FPT_OK);	/* blocks 10, 11, 12 */
	assert_int_equal(try_range(160 + 3, 30, &m), FPT_ERANGE);
	assert_int_equal(try_range(160, 1, &m), FPT_ERANGE);
	assert_int_equal(try_range(0, 161, &m), FPT_ERANGE);
	assert_int_equal(try_range(0, 1000, &m), FPT_ERANGE);
	assert_int_equal(try_range(207, 1, &m), FPT_ERANGE);
	assert_int_equal(try_range(207, 100, &m), FPT_ERANGE);
	assert_int_equal(try_range(208, 10, &m), FPT_OK);
	assert_int_equal(try_range(100, 60, &m), FPT_OK);
	assert_int_equal(try_range(last - 5, 6, &m), FPT_OK);
	assert_int_equal(try_range(last, 1, &m), FPT_ERANGE);
	/* As many as there may be. */
	for (pfn = 1000, i = 4; i < FPT_XBITMAP_MAX_RANGES; i++, pfn += 32)
		assert_int_equal(try_range(pfn, 1, &m), FPT_OK);
	assert_int_equal(try_range(pfn, 1, &m), FPT_ENOSPC);
	world_end();
	/* More than the front can name, in one range or in two. */
	if (!((const struct fpt_ops *)*state)->max_pages)
		return;
	begin(*state, 4);
	m = (struct fpt_mem){ memory, sizeof(memory), false };
	pfn = w.ops->max_pages;
	assert_int_equal(try_range(0, pfn + 1, &m), FPT_ERANGE);
	assert_int_equal(try_range(0, pfn, &m), FPT_ERANGE);	/* pages count as whole blocks */
	assert_int_equal(try_range(0, pfn - 64, &m), FPT_ENOMEM);
	assert_int_equal(try_range(0, 1024, &m), FPT_OK);
	/* A range's numbers begin at a multiple of FPT_XBITMAP_INDEX_ALIGN. */
	assert_int_equal(try_range(4096, pfn - FPT_XBITMAP_INDEX_ALIGN, &m), FPT_ERANGE);
	assert_int_equal(try_range(4096, pfn - FPT_XBITMAP_INDEX_ALIGN - 128, &m), FPT_ENOMEM);
	world_end();
}

static void test_reporter_errors(void **state)
{
	struct fpt_reporter r = { 0 };

	begin(*state, 4);
	assert_int_equal(fpt_reporter_init(&r, &w.t, &owner, NULL,
			&(struct fpt_policy){ .batch = 0, .max_in_flight = 100 }), FPT_EINVAL);
	assert_int_equal(fpt_reporter_init(&r, &w.t, &owner, NULL,
			&(struct fpt_policy){ .batch = FPT_BATCH_MAX + 1, .max_in_flight = 100 }),
			 FPT_EINVAL);
	assert_int_equal(fpt_reporter_init(&r, &w.t, &owner, NULL,
			&(struct fpt_policy){ .batch = 1, .max_in_flight = 15 }), FPT_EINVAL);
	assert_int_equal(fpt_reporter_init(&r, &w.t, &owner, NULL,
			&(struct fpt_policy){ .batch = 1, .max_in_flight = 0 }), FPT_EINVAL);
	assert_int_equal(fpt_reporter_init(&r, &w.t, &owner, NULL,
			&(struct fpt_policy){ .batch = FPT_BATCH_MAX, .max_in_flight = 16 }), FPT_OK);
	world_end();
}

static void test_mem_take(void **state)
{
	static char memory[512] __attribute__((aligned(64)));
	struct fpt_mem m = { memory + 1, 200, false }, before;
	char *p;

	(void)state;
	memset(memory, FILL, sizeof(memory));
	p = fpt_mem_take(&m, 10);
	assert_ptr_equal(p, memory + 64);
	assert_true((unsigned char)memory[63] == FILL && (unsigned char)memory[74] == FILL);
	assert_true(!memory[64] && !memory[73]);
	before = m;
	assert_null(fpt_mem_take(&m, 74));	/* 73 are left from the next line on */
	assert_memory_equal(&before, &m, sizeof(m));
	p = fpt_mem_take(&m, 73);
	assert_ptr_equal(p, memory + 128);
	assert_int_equal(m.size, 0);
	assert_null(fpt_mem_take(&m, 1));
	/* What is known to be zero is not touched. */
	m = (struct fpt_mem){ memory + 256, 64, true };
	p = fpt_mem_take(&m, 64);
	assert_true((unsigned char)p[0] == FILL);
	/* No memory at all. */
	m = (struct fpt_mem){ NULL, 0, false };
	assert_null(fpt_mem_take(&m, 1));
	assert_int_equal(fpt_mem_cost(0), 0);
	assert_int_equal(fpt_mem_cost(1), FPT_CACHE_LINE);
	assert_int_equal(fpt_mem_cost(64), 64);
}

/* Reported once; again only after a touch; a touch is counted. */
static void test_reported_once(void **state)
{
	begin(*state, 3);
	world_range(0, 32);
	ready(EXACT, 0);
	assert_int_equal(reported(), 0);
	give(8, 3);
	assert_int_equal(reported(), 1);
	assert_int_equal(reported(), 0);
	assert_int_equal(w.count[FPT_STAT_REFAULTED], 0);
	take(9, 0);
	if (w.ops->retracts)
		assert_int_equal(w.count[FPT_STAT_REFAULTED], 8);
	assert_int_equal(reported(), 0);
	give(9, 0);
	assert_int_equal(w.count[FPT_STAT_REFAULTED], w.ops->retracts ? 8 : 0);
	assert_int_equal(reported(), 1);
	assert_int_equal(w.count[FPT_STAT_REFAULTED], 8);
	assert_int_equal(w.count[FPT_STAT_REPORTED], 16);
	/* Page by page, the last one makes it. */
	for (fpt_pfn_t p = 16; p < 23; p++)
		give(p, 0);
	assert_int_equal(reported(), 0);
	give(23, 0);
	assert_int_equal(reported(), 1);
	/* An event of several blocks, not aligned. */
	take(8, 3);
	take(16, 3);
	give(0, 2);
	give(4, 3);
	give(12, 3);
	give(20, 2);
	assert_int_equal(reported(), 3);
	quiesce();
	world_end();
}

/* Answers of isolation and of the host. */
static enum fpt_isolated next_answer;

static enum fpt_isolated isolate_as_told(void *ctx, struct fpt_range r)
{
	(void)ctx;
	(void)r;
	return next_answer;
}

static void put_back_nothing(void *ctx, struct fpt_range r)
{
	(void)ctx;
	(void)r;
}

static void test_answers(void **state)
{
	static const struct fpt_owner_ops told = { isolate_as_told, put_back_nothing, NULL };
	struct fpt_batch b;
	struct fpt_reporter r = { 0 };
	struct fpt_stats s;
	int i;

	begin(*state, 3);
	world_range(0, 32);
	ready(EXACT, 0);
	assert_int_equal(fpt_reporter_init(&r, &w.t, &told, NULL,
			&(struct fpt_policy){ .batch = 2, .max_in_flight = 64 }), FPT_OK);
	give(8, 3);
	/* Busy: the hint is kept, each pass asks once. */
	next_answer = FPT_BUSY;
	for (i = 1; i < 4; i++) {
		fpt_pass_begin(&r);
		assert_int_equal(fpt_pass_next(&r, &b), 0);
		assert_int_equal(fpt_pass_next(&r, &b), 0);
		fpt_get_stats(&w.t, &s);
		assert_int_equal(s.count[FPT_STAT_BUSY], 8 * i);
	}
	/* Refused by the host: kept, and the pass ends all the same. */
	next_answer = FPT_TAKEN;
	for (i = 1; i < 4; i++) {
		fpt_pass_begin(&r);
		assert_int_equal(fpt_pass_next(&r, &b), 1);
		assert_int_equal(r.in_flight, 8);
		fpt_pass_complete(&r, &b, false);
		assert_int_equal(r.in_flight, 0);
		assert_int_equal(fpt_pass_next(&r, &b), 0);
		fpt_get_stats(&w.t, &s);
		assert_int_equal(s.count[FPT_STAT_FAILED], 8 * i);
		assert_int_equal(s.count[FPT_STAT_REPORTED], 0);
	}
	/* Used: not asked for again until a page is freed. */
	next_answer = FPT_USED;
	for (i = 0; i < 3; i++) {
		fpt_pass_begin(&r);
		assert_int_equal(fpt_pass_next(&r, &b), 0);
		fpt_get_stats(&w.t, &s);
		assert_int_equal(s.count[FPT_STAT_USED], 8);
		assert_int_equal(s.count[FPT_STAT_BUSY], 24);
	}
	fpt_alloc(&w.t, 8, 0);
	fpt_free(&w.t, 8, 0);
	next_answer = FPT_TAKEN;
	fpt_pass_begin(&r);
	assert_int_equal(fpt_pass_next(&r, &b), 1);
	assert_int_equal(b.range[0].pfn, 8);
	assert_int_equal(b.range[0].nr, 8);
	fpt_pass_complete(&r, &b, true);
	fpt_get_stats(&w.t, &s);
	assert_int_equal(s.count[FPT_STAT_CLAIMED], 8 * 8);
	assert_int_equal(s.count[FPT_STAT_REPORTED], 8);
	world_end();
}

/* No more pages at the host than allowed, and the pass goes on where it stood. */
static void test_in_flight(void **state)
{
	struct reporter *rep = &w.reporter[0];
	unsigned int i;

	begin(*state, 2);
	world_range(0, 64);
	ready(EXACT, 0);
	start_reporters(2, 4 * 3 + 3);		/* three blocks, and not a fourth */
	for (i = 0; i < 64; i += 4)
		give(i, 2);
	pass_begin(rep);
	assert_int_equal(pass_next(rep), 2);
	assert_int_equal(pass_next(rep), 1);
	assert_int_equal(pass_next(rep), 0);
	assert_int_equal(rep->batch[1].range[0].pfn, 8);
	check(0, true);
	complete(rep, 0, true);			/* out of order */
	assert_int_equal(pass_next(rep), 2);
	assert_int_equal(rep->batch[0].range[0].pfn, 12);
	complete(rep, 1, true);
	assert_int_equal(pass_next(rep), 1);
	/* Another one has a limit of its own, and what the first has is not for it. */
	pass_begin(&w.reporter[1]);
	assert_int_equal(pass_next(&w.reporter[1]), 2);
	assert_int_equal(w.reporter[1].batch[0].range[0].pfn, 24);
	/* From the beginning again. */
	complete(rep, 0, false);
	complete(rep, 1, false);
	take(0, 0);
	give(0, 0);
	pass_begin(rep);
	assert_int_equal(pass_next(rep), 2);
	assert_int_equal(rep->batch[0].range[0].pfn, 0);
	check(0, true);
	quiesce();
	world_end();
}

/* Ranges that begin and end within a block, next to each other, at the first and the last page. */
static void test_edges(void **state)
{
	fpt_pfn_t last = ~0ul;
	unsigned int i;

	begin(*state, 3);
	world_range(3, 18);			/* [3, 21): one whole block, 8 ... 15 */
	world_range(24, 8);
	world_range(32, 9);
	world_range(last - 19, 20);		/* 8 from last - 15 on, 8 from last - 7 on */
	ready(EXACT, 0);
	for (i = 0; i <= 43; i++)		/* the pages around are in no range */
		give(i, 0);
	assert_int_equal(w.count[FPT_STAT_OUTSIDE], 3 + 3 + 3);
	assert_int_equal(reported(), 3);
	for (i = 20; i--;)
		give(last - i, 0);
	assert_int_equal(reported(), 2);
	assert_true(fpt_xbitmap_test(&w.t.back, last));
	/* Across the edges, in one event: what is in no range is counted, the rest is not lost. */
	take(0, 3);
	take(16, 3);
	take(24, 4);
	take(last - 7, 3);
	give(0, 3);
	give(16, 4);
	give(32, 3);
	give(last - 7, 3);
	assert_int_equal(w.count[FPT_STAT_OUTSIDE], 9 + 3 + 3 + (is("array") ? 0 : 3 + 3));
	assert_int_equal(reported(), 3);
	quiesce();
	world_end();
}

/* A range that is added while others are in use; the lower pages come last. */
static void test_late_range(void **state)
{
	struct fpt_mem m = { malloc(1 << 16), 1 << 16, false };
	void *memory = m.base;
	struct fpt_cursor cursor = { 0, 0 };
	struct fpt_range claim;

	begin(*state, 3);
	world_range(64, 64);
	ready(EXACT, 0);
	give(64, 3);
	assert_int_equal(fpt_add_range(&w.t, 0, 16, &m), FPT_OK);
	fpt_free(&w.t, 0, 3);
	fpt_free(&w.t, 8, 2);
	if (w.ops->drain)
		fpt_drain(&w.t);
	assert_true(fpt_xbitmap_test(&w.t.back, 7) && fpt_xbitmap_test(&w.t.back, 11));
	assert_false(fpt_xbitmap_test(&w.t.back, 12));
	assert_int_equal(fpt_claim(&w.t, &cursor, &claim, 0), 0);
	assert_int_equal(fpt_claim(&w.t, &cursor, &claim, 1), 1);
	assert_int_equal(claim.pfn, 64);
	assert_int_equal(fpt_claim(&w.t, &cursor, &claim, 1), 1);
	assert_int_equal(claim.pfn, 0);
	assert_int_equal(fpt_claim(&w.t, &cursor, &claim, 1), 0);
	fpt_destroy(&w.t);
	free(memory);
	free(w.donation[0].buffer);
	free(w.donation[1].buffer);
}

/* The largest events and the largest blocks. */
static void test_large_orders(void **state)
{
	const unsigned int max = FPT_MAX_ORDER;
	struct fpt_config config = { .ops = *state, .nr_cpus = 1, .order = max };
	fpt_pfn_t nr = 3ul << max;
	struct fpt_mem m, range;
	void *memory, *range_memory;
	struct fpt_cursor cursor = { 0, 0 };
	struct fpt_range claim[3];
	struct fpt_stats s;
	struct fpt t;
	size_t size;

	set_cpu(0);
	size = fpt_size(&config);
	memory = malloc(size);
	m = (struct fpt_mem){ memory, size, false };
	assert_int_equal(fpt_init(&t, &config, &m), FPT_OK);
	size = fpt_range_size(&t, nr, nr, true);
	range_memory = malloc(size);
	range = (struct fpt_mem){ range_memory, size, false };
	assert_int_equal(fpt_add_range(&t, nr, nr, &range), FPT_OK);
	fpt_free(&t, nr, max);
	fpt_free(&t, nr + (1ul << max), max - 1);
	fpt_free(&t, nr + (5ul << (max - 1)), max - 1);
	if (fpt_tracker(&t)->drain)
		fpt_drain(&t);
	assert_true(fpt_xbitmap_test(&t.back, nr + (3ul << (max - 1)) - 1));
	assert_false(fpt_xbitmap_test(&t.back, nr + (3ul << (max - 1))));
	assert_int_equal(fpt_claim(&t, &cursor, claim, 3), 1);
	assert_int_equal(claim[0].pfn, nr);
	assert_int_equal(claim[0].nr, 1ul << max);
	/* The middle two halves, not aligned. */
	fpt_free(&t, nr + (3ul << (max - 1)), max);
	if (fpt_tracker(&t)->drain) {
		fpt_drain(&t);
		fpt_drain(&t);
	}
	assert_int_equal(fpt_claim(&t, &cursor, claim, 3), 2);
	fpt_alloc(&t, nr, max);
	fpt_get_stats(&t, &s);
	assert_int_equal(s.count[FPT_STAT_FREED], nr);
	assert_int_equal(s.count[FPT_STAT_ALLOCATED], 1ul << max);
	assert_int_equal(s.count[FPT_STAT_DROPPED], 0);
	assert_int_equal(s.count[FPT_STAT_OUTSIDE], 0);
	assert_int_equal(fpt_xbitmap_test(&t.back, nr), !fpt_tracker(&t)->retracts);
	fpt_destroy(&t);
	free(memory);
	free(range_memory);
}

/* Chunks for some of the range only: the rest is coarse for good, and nothing is lost. */
static void test_coarse(void **state)
{
	unsigned int chunk, i;

	if (4 * 8 * FPT_XBITMAP_CHUNK_BYTES > MAX_CELLS)
		skip();
	begin(*state, 3);
	chunk = w.chunk_pages;
	world_range(0, 4 * chunk);
	ready(PARTIAL, 2);
	w.range[0].pool_nr = w.t.back.range[0].pool_nr;		/* slack may make a third */
	give(3 * chunk, 3);
	give(chunk, 3);
	if (w.range[0].pool_nr == 3)
		give(2 * chunk + 8, 3);
	if (w.ops->drain)		/* so that page 0 comes last */
		assert_int_equal(reported(), w.range[0].pool_nr);
	give(0, 0);
	if (w.ops->drain)
		reported();
	assert_true(fpt_xbitmap_is_coarse(&w.t.back, 0));
	assert_false(fpt_xbitmap_is_coarse(&w.t.back, chunk));
	assert_true(w.count[FPT_STAT_SLOW] > 0);
	/* The block of page 0 is asked for, its pages being unknown; used: not asked again. */
	reported();
	assert_int_equal(w.count[FPT_STAT_USED], 8);
	reported();
	assert_int_equal(w.count[FPT_STAT_USED], 8);
	for (i = 1; i < 8; i++)
		give(i, 0);
	assert_int_equal(reported(), 1);
	assert_int_equal(reported(), 0);
	/* The mark works without page bits, too. */
	take(5, 0);
	give(5, 0);
	assert_int_equal(reported(), 1);
	assert_int_equal(w.count[FPT_STAT_REFAULTED], 8);
	quiesce();
	world_end();
}

#ifndef FPT_TRACKER
/* What one CPU's array holds, and what happens when it is full. */
static void test_array_full(void **state)
{
	unsigned int i;

	(void)state;
	w.random = w.seed = 1;
	world_begin(&fpt_array_ops, 1, 1, 3);
	world_range(0, 64);
	ready(EXACT, 0);
	/* Runs up and down are one entry each; the fourth does not fit. */
	for (i = 0; i < 8; i++)
		give(i, 0);
	for (i = 23; i > 15; i--)
		give(i, 0);
	give(32, 2);
	give(36, 1);
	assert_int_equal(w.count[FPT_STAT_DROPPED], 0);
	give(48, 1);
	assert_int_equal(w.count[FPT_STAT_DROPPED], 2);
	give(38, 1);			/* continues the last */
	assert_int_equal(w.count[FPT_STAT_DROPPED], 2);
	assert_int_equal(reported(), 4 + 4 + 4);
	/* Drained, it holds three again; so does the other half. */
	for (i = 0; i < 3; i++) {
		give(8 + 2 * i, 0);
		assert_int_equal(w.count[FPT_STAT_DROPPED], 2);
	}
	give(14, 0);
	assert_int_equal(w.count[FPT_STAT_DROPPED], 3);
	take(48, 1);
	take(14, 0);
	reported();
	give(48, 1);			/* freed again: no longer lost */
	give(14, 1);
	assert_int_equal(reported(), 2);
	quiesce();
	world_end();
}

/* Neighbours in number are not neighbours in memory where a range ends. */
static void test_array_ranges(void **state)
{
	(void)state;
	w.random = w.seed = 1;
	world_begin(&fpt_array_ops, 2, 1, 1);
	world_range(0, 8);
	world_range(16, 8);
	ready(EXACT, 0);
	give(4, 2);
	give(16, 2);
	assert_int_equal(w.count[FPT_STAT_DROPPED], 4);
	assert_int_equal(reported(), 1);
	assert_int_equal(w.count[FPT_STAT_OUTSIDE], 0);
	quiesce();
	world_end();
}

/* Runs longer than an entry can name. */
static void test_array_long_runs(void **state)
{
	static char memory[4096];
	struct fpt_config config = { .ops = &fpt_array_ops, .nr_cpus = 1, .order = 9,
				     .array_entries = 4 };
	struct fpt_mem m = { memory, sizeof(memory), false }, range;
	void *range_memory;
	struct fpt_stats s;
	struct fpt t;
	unsigned long i;
	size_t size;

	(void)state;
	set_cpu(0);
	assert_int_equal(fpt_init(&t, &config, &m), FPT_OK);
	size = fpt_range_size(&t, 0, 4ul << 20, true);
	range_memory = malloc(size);
	range = (struct fpt_mem){ range_memory, size, false };
	assert_int_equal(fpt_add_range(&t, 0, 4ul << 20, &range), FPT_OK);
	/* Three times 2^20 pages, at most 2^20 - 1 to an entry: no room is left. */
	for (i = 0; i < 6; i++)
		fpt_free(&t, i << 19, 19);
	fpt_free(&t, 7ul << 19, 3);
	fpt_get_stats(&t, &s);
	assert_int_equal(s.count[FPT_STAT_FREED], (6ul << 19) + 8);
	assert_true(s.count[FPT_STAT_DROPPED] == 8 ||
		    s.count[FPT_STAT_DROPPED] == (1ul << 19) + 8 ||
		    s.count[FPT_STAT_DROPPED] == (2ul << 19) + 8);
	fpt_drain(&t);
	for (i = 0; i < (6ul << 19) - s.count[FPT_STAT_DROPPED] + 8; i++)
		assert_true(fpt_xbitmap_test(&t.back, i));
	fpt_destroy(&t);
	free(range_memory);
}

static void test_none(void **state)
{
	(void)state;
	begin(&fpt_none_ops, 3);
	world_range(0, 64);
	ready(EXACT, 0);
	give(0, 3);
	take(0, 3);
	give(0, 3);
	assert_int_equal(reported(), 0);
	world_end();
}
#endif

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*test)(void **state);
	} each[] = {
		{ "lockstep", test_lockstep },
		{ "init", test_init },
		{ "init errors", test_init_errors },
		{ "range errors", test_range_errors },
		{ "reporter errors", test_reporter_errors },
		{ "reported once", test_reported_once },
		{ "answers", test_answers },
		{ "in flight", test_in_flight },
		{ "edges", test_edges },
		{ "late range", test_late_range },
		{ "large orders", test_large_orders },
		{ "coarse", test_coarse },
		{ "tickets, lockstep", test_lockstep_tickets },
	};
	static char name[COUNT(trackers) * COUNT(each) + 8][40];
	struct CMUnitTest tests[COUNT(trackers) * COUNT(each) + 8];
	size_t n = 0, i, j;

	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_mem_take);
#ifndef FPT_TRACKER
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_array_full);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_array_ranges);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_array_long_runs);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_none);
#endif
	for (i = 0; i < COUNT(trackers); i++)
		for (j = 0; j < COUNT(each); j++) {
			/* It reports nothing. */
			if (!strcmp(trackers[i]->name, "none") && j > 4)
				continue;
			if (each[j].test == test_lockstep_tickets && !trackers[i]->retracts)
				continue;
			snprintf(name[n], sizeof(name[n]), "%s: %s", trackers[i]->name,
				 each[j].name);
			tests[n] = (struct CMUnitTest){ name[n], each[j].test, NULL, NULL,
							(void *)(uintptr_t)trackers[i] };
			n++;
		}
#ifdef ONE_CPU
	cpu_set_t first;

	/* On any other, sections take the slow path: there is one CPU's front. */
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	if (sched_setaffinity(0, sizeof(first), &first)) {
		print_message("CPU 0 is not for this program: not tested\n");
		return 0;
	}
#endif
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests("trackers", tests, n, NULL, NULL);
}
