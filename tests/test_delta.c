/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_delta.c - the tracker "delta", and the sections that it is built on
 *
 * With every backend: each promise by itself, then random steps beside a model of the tables, in
 * which also what goes the slow path, what is hinted and what counts as touched is exact. With the
 * machine's own CPUs the thread goes to the CPU that a step names, and where the process has no
 * restartable sequences (GLIBC_TUNABLES, ThreadSanitizer) everything is slow: the same results.
 *
 * Then, with the model backend: every schedule of a few hooks, folds and passes; whose lines hooks
 * write (I6). With the machine's CPUs: sections interrupted at each of their instructions, signals,
 * threads that others move, threads without an area, a child.
 *
 * FPT_TEST_BOUND adds to the preemption bound of those schedules that are too many to be exhausted,
 * FPT_TEST_SEEDS are the random runs.
 */
#ifdef FPT_MODEL
#define FPT_XBITMAP_CHUNK_BYTES 64
#define FPT_XBITMAP_MAX_RANGES 6
#define FPT_DELTA_WAYS 2u
#define FPT_DELTA_ATTEMPTS 6u	/* one fold can end three sections of an event */
#define FPT_DELTA_EPOCH_BITS 2u	/* a generation's tags are swept every other time */
#include "explore.h"
#include "lines.h"
#endif

#ifdef FPT_VIRTUAL_CPUS
#define FPT_DELTA_EPOCH_BITS 3u
#endif

#if !defined(FPT_MODEL) && !defined(FPT_VIRTUAL_CPUS)
#define REAL_CPUS
#define FPT_DELTA_EPOCH_BITS 5u
#include "interrupt.h"
#endif

#include <fpt/fpt.h>

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "again.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LINE FPT_DELTA_LINE_PAGES
#define X_LINE ((unsigned int)LINE)
#define WAYS FPT_DELTA_WAYS
#define CPUS 3u			/* that steps name */
#define GUARD 64u		/* bytes around donated memory */
#define FILL 0xa5
#define MAX_DONATIONS 8u

/*
 * The CPUs.
 */
#if defined(FPT_MODEL)
void (*fpt_model_hook)(const struct fpt_model_access *access);
unsigned int fpt_model_cpu;
void (*fpt_model_rcu_synchronize)(void);

static unsigned int nr_cpus(void)
{
	return CPUS;
}

static unsigned int go_to(unsigned int n)
{
	return fpt_model_cpu = n;
}
#elif defined(FPT_VIRTUAL_CPUS)
__thread unsigned int fpt_virtual_cpu;

static unsigned int nr_cpus(void)
{
	return CPUS;
}

static unsigned int go_to(unsigned int n)
{
	return fpt_virtual_cpu = n;
}
#else
static cpu_set_t allowed;

static unsigned int nr_cpus(void)
{
	unsigned int cpu, n = 0;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &allowed))
			n = cpu + 1;
	return n;
}

/* The nth CPU that this process may use, again from the first when there are not so many. */
static unsigned int nth_cpu(unsigned int n)
{
	unsigned int cpu = 0;

	for (n %= (unsigned int)CPU_COUNT(&allowed);; cpu++)
		if (CPU_ISSET((size_t)cpu, &allowed) && !n--)
			return cpu;
}

static unsigned int go_to(unsigned int n)
{
	unsigned int cpu = nth_cpu(n);
	cpu_set_t set;

	if (CPU_COUNT(&allowed) > 1) {
		CPU_ZERO(&set);
		CPU_SET((size_t)cpu, &set);
		assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
	}
	return cpu;
}
#endif

/* A tracker and what it was given. */
struct tracker {
	struct fpt t;
	struct {
		char *buffer;
		size_t size;
	} donation[MAX_DONATIONS];
	unsigned int nr_donations;
	struct fpt_reporter rep;
};

static struct fpt_delta *front(struct fpt *t)
{
	return t->front[FPT_SLOT_DELTA];
}

static struct fpt_mem donate(struct tracker *w, size_t size, bool zeroed)
{
	struct fpt_mem m = { NULL, size, zeroed };
	char *p = aligned_alloc(GUARD, (size / GUARD + 3) * GUARD);

	assert_non_null(p);
	assert_true(w->nr_donations < MAX_DONATIONS);
	memset(p, FILL, (size / GUARD + 3) * GUARD);
	if (zeroed)
		memset(p + GUARD, 0, size);
	w->donation[w->nr_donations].buffer = p;
	w->donation[w->nr_donations++].size = size;
	m.base = p + GUARD;
	return m;
}

static void add_range(struct tracker *w, fpt_pfn_t pfn, fpt_pfn_t nr)
{
	struct fpt_mem m = donate(w, fpt_range_size(&w->t, pfn, nr, true), nr % 2);

	assert_int_equal(fpt_add_range(&w->t, pfn, nr, &m), FPT_OK);
}

static const struct fpt_owner_ops owner;

static struct tracker *tracker_new_config(struct fpt_config config)
{
	unsigned int order = config.order;
	unsigned long sets = config.delta_sets;
	struct fpt_policy policy = { .batch = 3, .max_in_flight = 5ul << order };
	struct tracker *w = calloc(1, sizeof(*w));
	struct fpt_mem m;

	assert_non_null(w);
	go_to(0);
	m = donate(w, fpt_size(&config), sets % 2);
	assert_int_equal(fpt_init(&w->t, &config, &m), FPT_OK);
	assert_int_equal(fpt_reporter_init(&w->rep, &w->t, &owner, NULL, &policy), FPT_OK);
	return w;
}

static struct tracker *tracker_new_protocol(unsigned int order, unsigned long sets,
					    enum fpt_protocol protocol)
{
	return tracker_new_config((struct fpt_config){
		.ops = &fpt_delta_ops, .nr_cpus = nr_cpus(), .order = order, .delta_sets = sets,
		.protocol = protocol });
}

static struct tracker *tracker_new(unsigned int order, unsigned long sets)
{
	return tracker_new_protocol(order, sets, FPT_ISOLATE);
}

static struct tracker *tracker_new_lossy(unsigned int order, unsigned long sets)
{
	return tracker_new_config((struct fpt_config){
		.ops = &fpt_delta_ops, .nr_cpus = nr_cpus(), .order = order, .delta_sets = sets,
		.lossy = true, .audit = true });
}

static struct fpt_stats stats_of(struct tracker *w)
{
	struct fpt_stats s;

	fpt_get_stats(&w->t, &s);
	assert_int_equal(s.count[FPT_STAT_DROPPED], 0);
	assert_true(s.memory_used <= s.memory_donated);
	return s;
}

/* Events that went the slow path, where there is another. */
static void check_slow(struct tracker *w, unsigned long expected)
{
	if (front(&w->t)->nr_cpus)
		assert_int_equal(stats_of(w).count[FPT_STAT_SLOW], expected);
}

static void tracker_free(struct tracker *w)
{
	unsigned int i, k;

	stats_of(w);
	for (i = 0; i < w->nr_donations; i++) {
		char *p = w->donation[i].buffer;

		for (k = 0; k < GUARD; k++)
			if ((unsigned char)p[k] != FILL ||
			    (unsigned char)p[GUARD + w->donation[i].size + k] != FILL)
				fail_msg("written outside of donated memory");
		free(p);
	}
	fpt_destroy(&w->t);
	free(w);
}

/* The bit of a page in a CPU's table; false, too, when it has no line there, or is not live. */
static bool delta_bit(struct fpt *t, unsigned int cpu, unsigned int gen, fpt_pfn_t pfn)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(&t->back, pfn);
	struct fpt_delta_gen g;
	unsigned long number = r ? r->index + (pfn - r->base) : 0, e = front(t)->epoch.v;
	unsigned long sets = front(t)->sets, i = number / LINE % sets, bit = number % LINE;

	if (!r || cpu >= front(t)->nr_cpus)
		return false;
	g = fpt_delta_gen_of(front(t), cpu, gen);
	for (; gen == (e & 1) && i < sets * WAYS; i += sets)
		if (g.tag[i].v == fpt_delta_tag(number / LINE, e))
			return ((g.line[i * FPT_DELTA_LINE_WORDS + bit / FPT_WORD_BITS].v >>
				 bit % FPT_WORD_BITS) ^
				(g.whole[i / FPT_WORD_BITS].v >> i % FPT_WORD_BITS)) & 1;
	return false;
}

/* D1: what the base and all deltas say together. */
static bool state_of(struct fpt *t, fpt_pfn_t pfn)
{
	bool state = fpt_xbitmap_test(&t->back, pfn);
	unsigned int cpu;

	for (cpu = 0; cpu < t->nr_cpus; cpu++)
		state ^= delta_bit(t, cpu, 0, pfn) ^ delta_bit(t, cpu, 1, pfn);
	return state;
}

/* D2, D3, D4, D7: of a table with no fold under way. Returns what is wrong. */
static const char *table_error(struct fpt *t)
{
	struct fpt_delta *d = front(t);
	unsigned long i, k, line, e = d->epoch.v, way;
	unsigned int cpu, gen;

	for (cpu = 0; cpu < d->nr_cpus; cpu++)
		for (gen = 0; gen < 2; gen++) {
			struct fpt_delta_gen g = fpt_delta_gen_of(d, cpu, gen);
			bool frozen = gen != (e & 1);

			for (i = 0; i < d->sets * WAYS; i++) {
				bool dirty = g.dirty[i / FPT_WORD_BITS].v >> i % FPT_WORD_BITS & 1;

				if (frozen && dirty)
					return "a frozen generation is dirty";
				if (frozen && fpt_delta_tagged(g.tag[i].v, e + 1))
					return "a tag is of the epoch to come";
				line = fpt_delta_tagged(g.tag[i].v, e);
				if (frozen || !line)
					continue;
				if (!dirty)
					return "a line is not dirty";
				for (way = 0; way < WAYS; way++) {
					k = (line - 1 + way * d->sets) % (d->sets * WAYS);
					if (k == i)
						break;
					if (!fpt_delta_tagged(g.tag[k].v, e))
						return "a line comes after an empty entry";
				}
				if (way == WAYS)
					return "a line is not in its set";
			}
		}
	return NULL;
}

static void check_table(struct tracker *w)
{
	const char *error = table_error(&w->t);

	if (error)
		fail_msg("%s", error);
}

static void give(struct tracker *w, unsigned int cpu, fpt_pfn_t pfn, unsigned int order)
{
	go_to(cpu);
	fpt_free(&w->t, pfn, order);
}

static void take(struct tracker *w, unsigned int cpu, fpt_pfn_t pfn, unsigned int order)
{
	go_to(cpu);
	assert_int_equal(fpt_alloc(&w->t, pfn, order), FPT_OK);
}

static bool base(struct tracker *w, fpt_pfn_t pfn)
{
	return fpt_xbitmap_test(&w->t.back, pfn);
}

/* All of [pfn, pfn + nr) are, or are not, free; the base knows, too, when it was folded. */
static void check_pages(struct tracker *w, fpt_pfn_t pfn, fpt_pfn_t nr, bool set, bool folded)
{
	fpt_pfn_t i;

	for (i = 0; i < nr; i++)
		if (folded ? base(w, pfn + i) != set : state_of(&w->t, pfn + i) != set)
			fail_msg("page %lu: its bit is not %d", pfn + i, set);
}

static void fold(struct tracker *w)
{
	fpt_drain(&w->t);
	check_table(w);
}

/* The guest: what is held. What was reported in a pass. */
static bool (*is_held)(fpt_pfn_t pfn);
static fpt_pfn_t reported[8192];
static unsigned int nr_reported;

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	fpt_pfn_t i;

	(void)ctx;
	for (i = 0; is_held && i < r.nr; i++)
		if (is_held(r.pfn + i))
			return FPT_USED;
	reported[nr_reported++] = r.pfn;
	return FPT_TAKEN;
}

static void put_back(void *ctx, struct fpt_range r)
{
	(void)ctx;
	(void)r;
}

static const struct fpt_owner_ops owner = { isolate, put_back, NULL };

static unsigned int pass(struct tracker *w)
{
	struct fpt_batch b;

	nr_reported = 0;
	fpt_pass_begin(&w->rep);
	while (fpt_pass_next(&w->rep, &b))
		fpt_pass_complete(&w->rep, &b, true);
	check_table(w);
	return nr_reported;
}

static int init_error(struct fpt_config config, size_t size)
{
	char *memory = aligned_alloc(FPT_CACHE_LINE, (size / FPT_CACHE_LINE + 1) * FPT_CACHE_LINE);
	struct fpt_mem m = { memory, size, false };
	struct fpt t;
	int error = fpt_init(&t, &config, &m);

	free(memory);
	return error;
}

static void test_init(void **state)
{
	struct fpt_config config = { .ops = &fpt_delta_ops, .nr_cpus = 2, .order = 9 }, c;
	const size_t sets_size = FPT_DELTA_SETS * FPT_DELTA_WAYS * (64 + sizeof(long)) + FPT_CACHE_LINE;
	size_t size, s;

	(void)state;
	/* By default: bits and tags of both generations, little else; no tables without sections. */
	size = fpt_size(&config);
	s = fpt_sections() ? 2 * 2 * sets_size : 0;
	assert_true(size >= s && size < s + 2048);
	assert_int_equal(init_error(config, size), FPT_OK);
	for (config.delta_sets = 1; config.delta_sets <= 1024; config.delta_sets *= 4) {
		size = fpt_size(&config);
		assert_int_equal(init_error(config, size - FPT_CACHE_LINE), FPT_OK);
		for (s = 0; s + FPT_CACHE_LINE < size; s += size / 97 + 1)
			assert_int_equal(init_error(config, s), FPT_ENOMEM);
		assert_int_equal(init_error(config, size - FPT_CACHE_LINE - 1), FPT_ENOMEM);
	}
	for (config.delta_sets = 3; config.delta_sets < 100; config.delta_sets += 2)
		assert_int_equal(init_error(config, 1 << 20), FPT_EINVAL);
	config.delta_sets = 2 * FPT_DELTA_MAX_SETS;
	assert_int_equal(init_error(config, 1 << 20), FPT_EINVAL);
	config.delta_sets = ~0ul;
	assert_int_equal(init_error(config, 1 << 20), FPT_EINVAL);
	config.delta_sets = FPT_DELTA_MAX_SETS;
	assert_int_equal(init_error(config, 1 << 20), fpt_sections() ? FPT_ENOMEM : FPT_OK);
	config.delta_sets = 1;
	c = config;
	c.lossy = true;
	assert_int_equal(init_error(c, 1 << 20), FPT_ENOTSUP);
	c.protocol = FPT_TICKET;
	assert_int_equal(init_error(c, 1 << 20), FPT_ENOTSUP);
	c.lossy = false;
	assert_int_equal(init_error(c, 1 << 20), FPT_OK);
	c = config;
	c.lossy = c.audit = true;
	assert_int_equal(init_error(c, 1 << 20), FPT_OK);
	c.protocol = FPT_TICKET;
	assert_int_equal(init_error(c, 1 << 20), FPT_ENOTSUP);
	c.protocol = FPT_ISOLATE;
	c.ops = &fpt_xbitmap_ops;
	assert_int_equal(init_error(c, 1 << 20), FPT_ENOTSUP);
}

/* The base needs all its memory. */
static void test_range_memory(void **state)
{
	struct tracker *w = tracker_new(9, 1);
	const fpt_pfn_t nr = 20 * 8ul * FPT_XBITMAP_CHUNK_BYTES;
	size_t all = fpt_range_size(&w->t, 0, nr, true), size;
	struct fpt_mem m = donate(w, all, false), before;

	(void)state;
	assert_true(fpt_range_size(&w->t, 0, nr, false) < all);
	for (size = 0; size < all - FPT_CACHE_LINE; size += 61) {
		before = m;
		before.size = size;
		m.size = size;
		assert_int_equal(fpt_add_range(&w->t, 0, nr, &m), FPT_ENOMEM);
		assert_memory_equal(&m, &before, sizeof(m));
	}
	give(w, 0, 3, 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], 1);
	m.size = all;
	assert_int_equal(fpt_add_range(&w->t, 0, nr, &m), FPT_OK);
	give(w, 0, 3, 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], 1);
	tracker_free(w);
}

/* Sets and clears would meet toggles: not to and not from it. */
static void test_switch(void **state)
{
	struct fpt_config delta = { .ops = &fpt_delta_ops, .nr_cpus = nr_cpus(), .delta_sets = 1 };
	static const struct fpt_ops *const others[] = { &fpt_xbitmap_ops, &fpt_array_ops,
							&fpt_bitmap_ops, &fpt_lockmap_ops };
	struct tracker *w = tracker_new(3, 1);
	static char memory[1 << 21];
	size_t i;

	(void)state;
	add_range(w, 0, 64);
	give(w, 0, 0, 3);
	for (i = 0; i < COUNT(others); i++) {
		struct fpt_config config = { .ops = others[i], .nr_cpus = nr_cpus(), .order = 3,
					     .array_entries = 1, .bitmap_leaves = 1 };
		struct fpt_mem m = { memory, sizeof(memory), false };
		struct fpt t;

		assert_int_equal(fpt_switch(&w->t, &config, &m), FPT_ENOTSUP);
		assert_ptr_equal(fpt_tracker(&w->t), &fpt_delta_ops);
		assert_true(fpt_size(&config) < sizeof(memory) / 2);
		assert_int_equal(fpt_init(&t, &config, &m), FPT_OK);
		assert_int_equal(fpt_switch(&t, &delta, &m), FPT_ENOTSUP);
		assert_ptr_equal(fpt_tracker(&t), others[i]);
	}
	/* To itself: nothing happens. */
	assert_int_equal(fpt_switch(&w->t, &delta, NULL), FPT_OK);
	assert_int_equal(pass(w), 1);
	tracker_free(w);
}

/* A page's events, on any CPU, in one window or in several. */
static void test_toggle(void **state)
{
	unsigned int a, b, c, folds;

	(void)state;
	for (a = 0; a < CPUS; a++)
		for (b = 0; b < CPUS; b++)
			for (c = 0; c < CPUS; c++)
				for (folds = 0; folds < 8; folds++) {
					struct tracker *w = tracker_new(9, 1);
					bool fast = front(&w->t)->nr_cpus;

					add_range(w, LINE, 2 * LINE);
					give(w, a, LINE + 70, 0);
					assert_int_equal(base(w, LINE + 70), !fast);
					check_pages(w, LINE + 70, 1, true, false);
					if (folds & 1) {
						fold(w);
						check_pages(w, LINE + 70, 1, true, true);
					}
					take(w, b, LINE + 70, 0);
					check_pages(w, LINE + 70, 1, false, false);
					if (folds & 2) {
						fold(w);
						check_pages(w, LINE + 70, 1, false, true);
					}
					give(w, c, LINE + 70, 0);
					if (folds & 4)
						fold(w);
					check_pages(w, LINE + 70, 1, true, folds & 4);
					fold(w);
					check_pages(w, LINE, 70, false, true);
					check_pages(w, LINE + 70, 1, true, true);
					check_pages(w, LINE + 71, 2 * LINE - 71, false, true);
					check_slow(w, 0);
					tracker_free(w);
				}
}

/* Every order, aligned and not; more lines than there are. */
static void test_orders(void **state)
{
	const fpt_pfn_t nr = (1ul << 20) + 4 * LINE;
	struct tracker *w = tracker_new(9, 4);
	unsigned int order, i;

	(void)state;
	add_range(w, 1ul << 30, nr);
	for (order = 0; order <= FPT_MAX_ORDER; order++)
		for (i = 0; i < 2; i++) {
			fpt_pfn_t pages = 1ul << order, first = (1ul << 30) + LINE + i * 77;

			give(w, 0, first, order);
			if (order < 13)
				check_pages(w, first, pages, true, false);
			fold(w);
			check_pages(w, first, pages, true, true);
			check_pages(w, first - 64, 64, false, true);
			check_pages(w, first + pages, 64, false, true);
			/* Taken in halves, on two CPUs; what was free and folded is not any more. */
			if (order) {
				take(w, 1, first, order - 1);
				take(w, 2, first + pages / 2, order - 1);
			} else {
				take(w, 1, first, 0);
			}
			fold(w);
			check_pages(w, first - 64, pages + 128, false, true);
		}
	tracker_free(w);
}

/* Whole lines are one toggle each, beside those of their pages. */
static void test_whole(void **state)
{
	struct tracker *w = tracker_new(3, 1);
	const fpt_pfn_t at = 64 * LINE + 8, edge = 128 * LINE, last = edge + LINE;
	bool fast = front(&w->t)->nr_cpus;
	unsigned int i;

	(void)state;
	/* Lines are aligned to the range, not to page numbers. */
	add_range(w, at, 2 * LINE);
	add_range(w, edge, LINE / 2);
	add_range(w, last, 2 * LINE);
	for (i = 0; i < 8; i++) {
		unsigned long words = 0;
		size_t k;

		give(w, i & 1, at, 9);
		for (k = 0; fast && k < WAYS * FPT_DELTA_LINE_WORDS; k++) {
			unsigned long e = front(&w->t)->epoch.v;
			struct fpt_delta_gen g = fpt_delta_gen_of(front(&w->t), go_to(i & 1), e);

			if (g.tag[k / FPT_DELTA_LINE_WORDS].v == fpt_delta_tag(0, e))
				words |= g.line[k].v;
		}
		assert_int_equal(words, 0);
		check_pages(w, at, LINE, true, false);
		check_pages(w, at + LINE, LINE, false, false);
		if (i & 2)
			fold(w);
		/* In parts, and across the next line, which is not whole. */
		take(w, i >> 2 & 1, at, 8);
		take(w, 0, at + 256, 7);
		check_pages(w, at, 384, false, false);
		check_pages(w, at + 384, 128, true, false);
		give(w, 1, at, 8);
		give(w, 0, at + 256, 7);
		give(w, 1, at + LINE, 9);
		if (i & 4)
			fold(w);
		take(w, 2, at, 10);
		check_pages(w, at, 2 * LINE, false, false);
		fold(w);
		check_pages(w, at, 2 * LINE, false, true);
	}
	check_slow(w, 0);
	/* Taken and freed again: nothing is left of it but that it happened. */
	give(w, 0, at, 10);
	assert_int_equal(pass(w), 2 * LINE / 8);
	take(w, 0, at, 9);
	give(w, 1, at, 9);
	assert_int_equal(pass(w), LINE / 8);
	assert_int_equal(stats_of(w).count[FPT_STAT_REFAULTED], LINE);
	/* Half of a line is outside; so is half of an event. */
	give(w, 0, edge, 9);
	assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], LINE / 2);
	give(w, 1, last + LINE, 10);
	assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], LINE / 2 + LINE);
	fold(w);
	check_pages(w, edge, LINE / 2, true, true);
	check_pages(w, last, LINE, false, true);
	check_pages(w, last + LINE, LINE, true, true);
	take(w, 0, edge, 8);
	assert_int_equal(stats_of(w).count[FPT_STAT_FREED] - stats_of(w).count[FPT_STAT_ALLOCATED],
			 2 * LINE + LINE / 2 + LINE / 2 + 2 * LINE - 256);
	tracker_free(w);
	/* No room: all words of the base, one event. */
	w = tracker_new(9, 1);
	add_range(w, 0, 2 * WAYS * LINE);
	for (i = 0; i < WAYS; i++)
		give(w, 0, i * LINE, i % 2 ? 9 : 0);
	check_slow(w, 0);
	give(w, 0, WAYS * LINE, 10);
	check_slow(w, 1);
	check_pages(w, WAYS * LINE, 2 * LINE, true, true);
	assert_int_equal(pass(w), WAYS / 2 + 2);
	tracker_free(w);
}

/* A set has no empty entry: the base at once, counted, and nothing lost. A fold empties it. */
static void test_full(void **state)
{
	struct tracker *w = tracker_new(9, 1);
	fpt_pfn_t i, last = WAYS * LINE;
	unsigned long one = go_to(0) == go_to(1);

	(void)state;
	add_range(w, 0, 4 * WAYS * LINE);
	for (i = 0; i < WAYS; i++)
		give(w, 0, i * LINE + i, 0);
	check_slow(w, 0);
	give(w, 0, last + 100, 0);
	check_slow(w, 1);
	assert_true(base(w, last + 100));
	/* Another CPU's is its own. */
	give(w, 1, last + 101, 0);
	check_slow(w, 1 + one);
	/* What is there goes on. One event, two lines, of which one is not: counted once. */
	give(w, 0, last - 16, 3);
	check_slow(w, 1 + one);
	give(w, 0, last - 4, 3);
	take(w, 0, 0, 0);
	check_slow(w, 2 + one);
	/* Freed in front, taken in the base: it says "free" of a page that is held, until a fold. */
	give(w, 1, last + 102, 0);
	take(w, 0, last + 102, 0);
	check_slow(w, 3 + 2 * one);
	check_pages(w, last + 102, 1, false, false);
	assert_int_equal(base(w, last + 102), front(&w->t)->nr_cpus && !one);
	fold(w);
	check_pages(w, last + 102, 1, false, true);
	check_pages(w, last + 100, 2, true, true);
	check_pages(w, last - 16, 8, true, true);
	check_pages(w, last - 4, 8, true, true);
	check_pages(w, 0, 1, false, true);
	for (i = 1; i < WAYS; i++)
		check_pages(w, i * LINE + i, 1, true, true);
	/* Room again, for other lines. */
	for (i = WAYS; i < 2 * WAYS; i++)
		give(w, 0, i * LINE + 20, 0);
	check_slow(w, 3 + 2 * one);
	fold(w);
	for (i = WAYS; i < 2 * WAYS; i++)
		check_pages(w, i * LINE + 20, 1, true, true);
	tracker_free(w);
}

/* Lines go to their sets, and come back from them: as many sets as a word has bits, and more. */
static void test_sets(void **state)
{
	unsigned long sets, lines, i;

	(void)state;
	for (sets = 1; sets <= 4 * FPT_WORD_BITS; sets *= 4) {
		struct tracker *w = tracker_new(9, sets);

		lines = sets * WAYS;
		add_range(w, 0, lines * LINE);
		for (i = 0; i < lines; i++)
			give(w, 0, i * LINE + i % LINE, 0);
		check_slow(w, 0);
		fold(w);
		for (i = 0; i < lines; i++) {
			check_pages(w, i * LINE, i % LINE, false, true);
			check_pages(w, i * LINE + i % LINE, 1, true, true);
		}
		tracker_free(w);
	}
}

/* Blocks smaller and larger than a word and a line: hinted by the fold that makes them full. */
static void test_blocks(void **state)
{
	static const unsigned int orders[] = { 0, 1, 3, 5, 6, 7, 8, 9, 10, 12 };
	unsigned int i;

	(void)state;
	for (i = 0; i < COUNT(orders); i++) {
		struct tracker *w = tracker_new(orders[i], 64);
		fpt_pfn_t block = 1ul << orders[i], first = 8 * 4096;
		fpt_pfn_t before = block / 2 * 2, p, same = 0;

		/* An incomplete block at either end. */
		add_range(w, first - block / 2, 4 * block + before);
		for (p = 0; p < 4 * block; p++)
			if (p != 2 * block)
				give(w, (unsigned int)(p / 64 % CPUS), first + p, 0);
		give(w, 0, first + 4 * block, 0);
		assert_int_equal(pass(w), 3);
		assert_int_equal(reported[0], first);
		assert_int_equal(reported[2], first + 3 * block);
		assert_int_equal(pass(w), 0);
		give(w, 1, first + 2 * block, 0);
		/* What shares a line counts as touched. */
		for (p = 0; p < 4 * block; p += block)
			same += (before + p) / LINE == (before + 2 * block) / LINE;
		assert_int_equal(pass(w), front(&w->t)->nr_cpus ? same : 1);
		assert_int_equal(pass(w), 0);
		check_slow(w, 0);
		tracker_free(w);
	}
}

/* Taken, and freed again, between two folds: the bit is as it was, the memory is not. */
static void test_touched(void **state)
{
	struct tracker *w = tracker_new(9, 1);
	unsigned int i;

	(void)state;
	add_range(w, 0, 4 * LINE);
	give(w, 0, 0, 9);
	give(w, 0, 512, 9);
	assert_int_equal(pass(w), 2);
	assert_int_equal(pass(w), 0);
	for (i = 0; i < 8; i++) {
		take(w, i & 1, 5, 0);
		give(w, i >> 1 & 1, 5, 0);
		if (i & 4) {
			take(w, 2, 6, 0);
			give(w, 2, 6, 0);
		}
		assert_int_equal(pass(w), 1);
		assert_int_equal(reported[0], 0);
		assert_int_equal(stats_of(w).count[FPT_STAT_REFAULTED], (i + 1) * LINE);
		assert_int_equal(pass(w), 0);
	}
	/* Not taken from: freed pages only. */
	take(w, 0, 7, 0);
	assert_int_equal(pass(w), 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_REFAULTED], 9 * LINE);
	give(w, 1, 7, 0);
	assert_int_equal(pass(w), 1);
	assert_int_equal(stats_of(w).count[FPT_STAT_REFAULTED], 9 * LINE);
	assert_int_equal(stats_of(w).count[FPT_STAT_CLAIMED], 11 * LINE);
	tracker_free(w);
}

/* Nothing dirty: no new epoch, no fence. */
static void test_idle(void **state)
{
	struct tracker *w = tracker_new(9, 512);
	unsigned long epoch;

	(void)state;
	add_range(w, 0, 8 * LINE);
	fold(w);
	assert_int_equal(front(&w->t)->epoch.v, 0);
	give(w, 1, 7 * LINE, 0);
	fold(w);
	epoch = front(&w->t)->epoch.v;
	assert_int_equal(epoch, front(&w->t)->nr_cpus > 0);
#ifdef FPT_MODEL
	epoch = fpt_model_fences;
	fold(w);
	fold(w);
	assert_int_equal(fpt_model_fences, epoch);
	give(w, 1, 7 * LINE + 1, 0);
	fold(w);
	assert_int_equal(fpt_model_fences, epoch + 1);
	epoch = 2;
#else
	fold(w);
	fold(w);
#endif
	assert_int_equal(front(&w->t)->epoch.v, epoch);
	tracker_free(w);
}

/* Edges, holes, neighbours, the last page there is. */
static void test_ranges(void **state)
{
	static const unsigned int orders[] = { 0, 3, 6, 9 };
	static struct { fpt_pfn_t pfn, nr; } ranges[5];
	fpt_pfn_t page, last = ~0ul, block;
	unsigned long outside;
	struct tracker *w;
	size_t o, i;

	(void)state;
	for (o = 0; o < COUNT(orders); o++) {
		block = 1ul << orders[o];
		w = tracker_new(orders[o], 64);
		ranges[0].pfn = 7 * block + block / 2;
		ranges[0].nr = 3 * block + 5;
		ranges[1].pfn = 16 * block;
		ranges[1].nr = block;
		ranges[2].pfn = 17 * block;
		ranges[2].nr = LINE + 1;
		ranges[3].pfn = last - (LINE + 2);
		ranges[3].nr = LINE + 3;
		ranges[4].pfn = 3 * block;
		ranges[4].nr = 1;
		for (i = 0; i < COUNT(ranges); i++)
			add_range(w, ranges[i].pfn, ranges[i].nr);
		/* Every other page, then the rest, on another CPU, in the same window or another. */
		for (i = 0; i < COUNT(ranges); i++)
			for (page = 0; page < ranges[i].nr; page += 2)
				give(w, 0, ranges[i].pfn + page, 0);
		if (o & 1)
			fold(w);
		for (i = 0; i < COUNT(ranges); i++)
			for (page = 0; page < ranges[i].nr; page++)
				assert_int_equal(state_of(&w->t, ranges[i].pfn + page), page % 2 == 0);
		for (i = 0; i < COUNT(ranges); i++)
			for (page = 1; page < ranges[i].nr; page += 2)
				give(w, 1, ranges[i].pfn + page, 0);
		fold(w);
		for (i = 0; i < COUNT(ranges); i++)
			check_pages(w, ranges[i].pfn, ranges[i].nr, true, true);
		assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], 0);
		/* Across an edge: what is inside counts, and both ways. */
		take(w, 0, ranges[0].pfn - 4, 3);
		fold(w);
		check_pages(w, ranges[0].pfn, 4, false, true);
		check_pages(w, ranges[0].pfn + 4, ranges[0].nr - 4, true, true);
		give(w, 1, ranges[0].pfn - 4, 3);
		fold(w);
		check_pages(w, ranges[0].pfn, ranges[0].nr, true, true);
		outside = ranges[0].pfn == ranges[4].pfn + 4 ? 3 : 4;
		if (block > 8)
			assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], 2 * outside);
		/* From one range into the next. */
		take(w, 1, ranges[2].pfn - 1, 1);
		fold(w);
		check_pages(w, ranges[2].pfn - 1, 2, false, true);
		check_slow(w, 0);
		tracker_free(w);
	}
}

/* An event across a range's edge is one event. */
static void test_slow_edge(void **state)
{
	struct tracker *w = tracker_new(3, 1);
	fpt_pfn_t i;

	(void)state;
	add_range(w, 4, (WAYS + 2) * LINE);
	for (i = 0; i < WAYS; i++)
		give(w, 0, (i + 1) * LINE, 0);
	give(w, 0, 0, 3);
	assert_int_equal(stats_of(w).count[FPT_STAT_SLOW],
			 front(&w->t)->nr_cpus ? 1 : WAYS + 1);
	check_pages(w, 4, 4, true, true);
	tracker_free(w);
}

/* What the front holds of a range that goes is forgotten; its numbers go to the next. */
static void test_remove(void **state)
{
	struct tracker *w = tracker_new(9, 4);
	static char copy[16 * 4096];
	char *memory;
	size_t size;
	unsigned int i;

	(void)state;
	add_range(w, 0, 4 * LINE);
	add_range(w, 16 * LINE, 4 * LINE);
	for (i = 0; i < 3; i++) {
		fpt_pfn_t first = (16 + 8 * i) * LINE;

		give(w, 0, first, 9);
		give(w, 1, first + LINE, 3);
		give(w, 2, 3 + i, 0);
		if (i)
			fold(w);
		give(w, 1, first + 2 * LINE, 9);
		take(w, 0, first, 0);
		/* Its memory is the caller's again, and nothing is written to it. */
		size = fpt_range_size(&w->t, first, 4 * LINE, true);
		memory = w->donation[w->nr_donations - 1].buffer + GUARD;
		memcpy(copy, memory, size);
		assert_int_equal(fpt_remove_range(&w->t, first, 4 * LINE), FPT_OK);
		assert_memory_equal(memory, copy, size);
		check_table(w);
		assert_int_equal(fpt_remove_range(&w->t, first, 4 * LINE), FPT_ERANGE);
		give(w, 0, first, 0);
		assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], i + 1);
		assert_int_equal(pass(w), 0);
		check_pages(w, 3, i + 1, true, true);
		/* Elsewhere, smaller, in the same slot: all held. */
		first += 8 * LINE;
		add_range(w, first, (4 - i % 2) * LINE);
		assert_int_equal(w->t.back.nr_ranges.v, 2);
		check_pages(w, first, 3 * LINE, false, false);
		fold(w);
		check_pages(w, first, 3 * LINE, false, true);
		give(w, 0, first + LINE, 9);
		take(w, 1, first + LINE, 0);
		give(w, 2, first + LINE, 0);
		assert_int_equal(pass(w), 1);
		assert_int_equal(reported[0], first + LINE);
		take(w, 1, first + LINE, 9);
		fold(w);
		check_pages(w, first, 3 * LINE, false, true);
		if (i % 2) {	/* back to four lines for the next turn */
			assert_int_equal(fpt_remove_range(&w->t, first, 3 * LINE), FPT_OK);
			add_range(w, first, 4 * LINE);
		}
	}
	tracker_free(w);
}

/* Does any section that looks for 7 write anything? */
static bool section_writes(unsigned int cpu, fpt_atomic_t *e)
{
	fpt_atomic_t none = { 3 }, a = { 0 }, b = { 0 }, c = { 0 }, w = { 6 };
	fpt_atomic_t z[FPT_DELTA_LINE_WORDS] = { { 1 }, { 2 } };
	unsigned long toggle = fpt_section_toggle(cpu, e, 7, &c, 1, &a, 1);
	unsigned long take = fpt_section_take(cpu, e, 7, &b, 1, z, &w, 2, &none, 3, 9, &c, 1, &a,
					      1);

	return toggle || take || none.v != 3 || a.v || b.v || c.v || w.v != 6 || z[0].v != 1 ||
	       z[1].v != 2;
}

/* Sections by themselves: what they look at, and what they write when they refuse. */
static void test_sections(void **state)
{
	fpt_atomic_t e = { 7 }, t = { 5 }, none = { 3 }, a = { 0xf0 }, b = { 0 }, c = { 100 };
	fpt_atomic_t z[FPT_DELTA_LINE_WORDS + 2], bits = { 0xff };
	unsigned int cpu = go_to(0), moved = go_to(1), i;
	unsigned long done;

	(void)state;
	cpu = go_to(0);
	memset(z, FILL, sizeof(z));
	if (has_sections() && !fpt_sections())
		skip();			/* a kernel that cannot fence them: nobody uses them */
	if (!fpt_sections()) {
		assert_int_equal(fpt_section_toggle(cpu, &e, 7, &c, 1, &a, 0xff), 0);
		assert_int_equal(fpt_section_take(cpu, &e, 7, &b, 1, z + 1, &bits, 4, &none, 3, 9, &c,
						  1, &a, 1), 0);
		assert_int_equal(a.v, 0xf0);
		assert_int_equal(c.v, 100);
		return;
	}
#ifdef FPT_VIRTUAL_CPUS
	assert_int_equal(fpt_section_cpu(), cpu);
#else
	assert_int_equal(fpt_section_cpu(), fpt_cpu(~0u));
#endif
	AGAIN_UNTIL(done == FPT_SECTION_DONE, a.v = 0xf0, c.v = 100,
		    done = fpt_section_toggle(cpu, &e, 7, &c, 3, &a, 0xff));
	assert_int_equal(done, FPT_SECTION_DONE);
	assert_int_equal(a.v, 0x0f);
	assert_int_equal(c.v, 103);
	AGAIN_UNTIL(done == FPT_SECTION_DONE, a.v = 0x0f, c.v = 103,
		    done = fpt_section_toggle(cpu, &e, 7, &c, 0, &a, 1ul << 63));
	assert_int_equal(done, FPT_SECTION_DONE);
	assert_int_equal(c.v, 103);
	assert_true(a.v == (0x0f | 1ul << 63));
	a.v = 0;
	c.v = 0;
	/* Not at once twice: words that differ above what an instruction can hold. */
	e.v = 7 + (1ul << 32);
	assert_false(section_writes(cpu, &e));
	e.v = 8;
	assert_false(section_writes(cpu, &e));
	e.v = 7;
	for (i = 3; i < 7; i++)
		if (i != 5)
			assert_int_equal(fpt_section_take(cpu, &e, 7, &b, 1, z + 1, &bits, 4, &t, i,
							  9, &c, 1, &a, 1), 0);
	assert_int_equal(fpt_section_take(cpu, &e, 7, &b, 1, z + 1, &bits, 4, &t, 5 + (1ul << 32), 9,
					  &c, 1, &a, 1), 0);
	assert_int_equal(t.v, 5);
	assert_int_equal(a.v + b.v + c.v, 0);
	assert_int_equal(bits.v, 0xff);
	for (i = 0; i < FPT_DELTA_LINE_WORDS + 2; i++)
		assert_int_equal(z[i].v, FILL * 0x101010101010101ul);
#ifndef FPT_VIRTUAL_CPUS
	if (moved != cpu)
		assert_false(section_writes(moved, &e));
	assert_false(section_writes(cpu + 1, &e));
#else
	(void)moved;
#endif
	AGAIN_UNTIL(done == FPT_SECTION_DONE, memset(z, FILL, sizeof(z)), a.v = b.v = 4, c.v = 0,
		    none.v = 3, bits.v = 0xff,
		    done = fpt_section_take(cpu, &e, 7, &b, 1, z + 1, &bits, 4, &none, 3, 9, &c, 2,
					    &a, 6));
	assert_int_equal(done, FPT_SECTION_DONE);
	assert_int_equal(none.v, 9);
	assert_int_equal(bits.v, 0xfb);
	for (i = 1; i <= FPT_DELTA_LINE_WORDS; i++)
		assert_int_equal(z[i].v, 0);
	assert_int_equal(z[0].v, FILL * 0x101010101010101ul);
	assert_int_equal(z[i].v, FILL * 0x101010101010101ul);
	/* A bit that is 0 stays so; what is toggled may be in the line that is zeroed, or the word. */
	AGAIN_UNTIL(done == FPT_SECTION_DONE, none.v = 3, z[7].v = 1,
		    done = fpt_section_take(cpu, &e, 7, &b, 1, z, &bits, 4, &none, 3, 9, &c, 0,
					    z + 7, 6));
	assert_int_equal(done, FPT_SECTION_DONE);
	assert_int_equal(bits.v, 0xfb);
	assert_int_equal(z[7].v, 6);
	AGAIN_UNTIL(done == FPT_SECTION_DONE, none.v = 3, bits.v = 0xfb,
		    done = fpt_section_take(cpu, &e, 7, &b, 1, z, &bits, 8, &none, 3, 9, &c, 0,
					    &bits, 8));
	assert_int_equal(done, FPT_SECTION_DONE);
	assert_int_equal(bits.v, 0xfb);
	assert_int_equal(z[7].v, 0);
	assert_int_equal(b.v, 5);
	assert_int_equal(c.v, 2);
	assert_int_equal(a.v, 2);
	fpt_section_fence();
}

#ifdef FPT_MODEL
/* One fence for each batch of claims, also when nothing is dirty; none otherwise. */
static void test_cuts(void **state)
{
	struct tracker *w = tracker_new_protocol(9, 1, FPT_TICKET);
	struct fpt_reporter *rep = &w->rep;
	unsigned long before;
	struct fpt_batch b;
	fpt_pfn_t pfn = 0;

	(void)state;
	add_range(w, 0, 8 * LINE);
	for (pfn = 0; pfn < 8 * LINE; pfn += LINE)
		give(w, 0, pfn, 9);
	before = fpt_model_fences;
	fpt_pass_begin(rep);
	assert_int_equal(fpt_model_fences, before + 1);
	assert_int_equal(fpt_pass_next(rep, &b), 3);
	assert_int_equal(fpt_model_fences, before + 2);
	fpt_pass_complete(rep, &b, true);
	assert_int_equal(fpt_pass_claim(rep, &b), 3);
	assert_int_equal(fpt_model_fences, before + 2);
	assert_int_equal(fpt_pass_submit(rep, &b), 3);
	assert_int_equal(fpt_model_fences, before + 3);
	fpt_pass_complete(rep, &b, true);
	pfn = 0;
	assert_int_equal(fpt_get_hints(&w->t, &pfn, 8 * LINE), 2 * LINE);
	assert_int_equal(fpt_model_fences, before + 4);
	fpt_put_hints(&w->t, pfn, 2 * LINE);
	assert_int_equal(fpt_pass_next(rep, &b), 0);
	assert_int_equal(fpt_model_fences, before + 4);
	tracker_free(w);
}

/* In which order a hook and a reporter do tickets are about, and with which memory orders. */
static struct {
	const void *epoch, *ticket;
	unsigned int looks, claims, flips;
	bool wrong;
} ordered;

static void check_order(const struct fpt_model_access *a)
{
	if (a->address == ordered.epoch && a->kind == FPT_MODEL_LOAD) {
		/* The reporter's own look is no synchronization. */
		ordered.wrong |= strcmp(a->order, "acquire") != 0 && !ordered.claims;
		ordered.wrong |= ordered.looks > 0;
	}
	if (a->address == ordered.epoch && a->kind == FPT_MODEL_STORE) {
		ordered.flips++;
		ordered.wrong |= strcmp(a->order, "release") != 0;
	}
	if (a->address == ordered.ticket && a->kind == FPT_MODEL_LOAD && !ordered.claims) {
		ordered.looks++;
		ordered.wrong |= strcmp(a->order, "relaxed") == 0;
	}
	if (a->address == ordered.ticket && a->kind == FPT_MODEL_RMW)
		ordered.claims++;
}

static void test_orders_of_tickets(void **state)
{
	struct tracker *w = tracker_new_protocol(9, 1, FPT_TICKET);
	struct fpt_batch b;

	(void)state;
	add_range(w, 0, 2 * LINE);
	give(w, 0, 0, 9);
	give(w, 0, LINE, 9);
	memset(&ordered, 0, sizeof(ordered));
	ordered.epoch = &front(&w->t)->epoch;
	ordered.ticket = &w->t.back.range[0].ticket[1];
	fpt_model_hook = check_order;
	take(w, 0, LINE, 0);
	assert_true(ordered.looks == 1 && !ordered.wrong);
	fpt_model_hook = NULL;
	give(w, 0, LINE, 0);
	fpt_pass_begin(&w->rep);
	ordered.looks = 0;
	ordered.claims = 1;
	fpt_model_hook = check_order;
	assert_int_equal(fpt_pass_claim(&w->rep, &b), 2);
	assert_true(ordered.claims == 2 && !ordered.flips);
	assert_int_equal(fpt_pass_submit(&w->rep, &b), 2);
	assert_true(ordered.claims == 3 && ordered.flips == 1 && !ordered.wrong);
	fpt_model_hook = NULL;
	fpt_pass_complete(&w->rep, &b, true);
	tracker_free(w);
}
#endif

/*
 * Random steps beside a model: pages, the base, whose table has which lines.
 */
#define PAGES 7000u
#define MAX_LINES 64u

static struct {
	struct tracker *w;
	unsigned int order, nr_pages;
	struct { fpt_pfn_t pfn, nr; unsigned int first; } range[3];
	bool held[PAGES], base[PAGES];
	bool line[CPU_SETSIZE][MAX_LINES];	/* by number */
	bool marked[3][PAGES], hinted[3][PAGES];	/* by block of a range */
	unsigned int whole;		/* events of whole lines */
	bool hot[3][PAGES];
	unsigned char age[3][PAGES];
	unsigned long slow, freed, allocated, refaulted, reported;
} model;

static unsigned long long seed;

static unsigned int chance(unsigned int n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)((seed >> 33) % n);
}

static unsigned int range_of(unsigned int page)
{
	unsigned int r = 2;

	while (page < model.range[r].first)
		r--;
	return r;
}

static fpt_pfn_t pfn_of(unsigned int page)
{
	unsigned int r = range_of(page);

	return model.range[r].pfn + (page - model.range[r].first);
}

static bool model_held(fpt_pfn_t pfn)
{
	unsigned int r;

	for (r = 0; r < 3; r++)
		if (pfn - model.range[r].pfn < model.range[r].nr)
			return model.held[model.range[r].first + (pfn - model.range[r].pfn)];
	return true;
}

/* The first page of a block, -1: not all of it is in the range. */
static long block_page(unsigned int r, unsigned long b)
{
	fpt_pfn_t pfn = ((model.range[r].pfn >> model.order) + b) << model.order;

	if (pfn < model.range[r].pfn ||
	    pfn + (1ul << model.order) > model.range[r].pfn + model.range[r].nr)
		return -1;
	return (long)(model.range[r].first + (pfn - model.range[r].pfn));
}

/* What settle does: blocks [b, last] of r were touched. */
static void model_touch(unsigned int r, unsigned long b, unsigned long last)
{
	unsigned long i, block = 1ul << model.order;

	for (; b <= last && b < model.w->t.back.range[r].nr_blocks; b++) {
		long page = block_page(r, b);

		if (model.marked[r][b])
			model.refaulted += block;
		model.marked[r][b] = false;
		model.hot[r][b] = true;
		for (i = 0; page >= 0 && i < block && model.base[(unsigned long)page + i]; i++)
			;
		if (page >= 0 && i == block)
			model.hinted[r][b] = true;
	}
}

/* An event; the table decides which of its words are slow. */
static void model_event(unsigned int cpu, unsigned int page, unsigned int order)
{
	unsigned int r = range_of(page), n = 1u << order, span, i;
	const struct fpt_xbitmap_range *range = &model.w->t.back.range[r];
	struct fpt_delta *d = front(&model.w->t);
	bool slow = false;

	for (i = page; i < page + n; i++)
		model.held[i] = !model.held[i];
	for (; n; page += span, n -= span) {
		unsigned long at = pfn_of(page) - range->base, number = range->index + at;
		unsigned long line = number / LINE, l, ways = 0;

		span = FPT_WORD_BITS - (unsigned int)(at % FPT_WORD_BITS);
		if (span > n)
			span = n;
		assert_true(line < MAX_LINES);
		for (l = 0; l < MAX_LINES; l++)
			ways += l != line && model.line[cpu][l] &&
				((l + 1) & (d->sets - 1)) == ((line + 1) & (d->sets - 1));
		if (d->nr_cpus && (model.line[cpu][line] || ways < WAYS)) {
			model.line[cpu][line] = true;
			continue;
		}
		slow = true;
		for (i = page; i < page + span; i++)
			model.base[i] = !model.base[i];
		model_touch(r, at >> model.order, (at + span - 1) >> model.order);
	}
	model.slow += slow;
}

static void model_fold(void)
{
	unsigned int cpu, r;
	unsigned long line, i;

	for (i = 0; i < model.nr_pages; i++)
		model.base[i] = !model.held[i];
	for (r = 0; r < 3; r++) {
		const struct fpt_xbitmap_range *range = &model.w->t.back.range[r];

		for (line = range->index / LINE; line * LINE < range->index + range->span; line++)
			for (cpu = 0; cpu < nr_cpus(); cpu++)
				if (model.line[cpu][line]) {
					i = line * LINE - range->index;
					model_touch(r, i >> model.order,
						    (i + LINE - 1) >> model.order);
					break;
				}
	}
	memset(model.line, 0, sizeof(model.line));
}

/* A pass reports what is hinted, full and not marked, in order. */
static void model_pass(void)
{
	unsigned long b, block = 1ul << model.order, i;
	unsigned int r, n = 0;

	model_fold();
	for (r = 0; r < 3; r++)
		for (b = 0; b < model.w->t.back.range[r].nr_blocks; b++) {
			long page = block_page(r, b);
			bool hinted = model.hinted[r][b] && !model.marked[r][b];

			model.hinted[r][b] = false;
			for (i = 0; hinted && i < block; i++)
				hinted = model.base[(unsigned long)page + i];
			if (!hinted)
				continue;
			if (n == nr_reported || reported[n] != pfn_of((unsigned int)page))
				fail_msg("block %lu of range %u was not reported", b, r);
			n++;
			model.marked[r][b] = true;
			model.reported += block;
		}
	assert_int_equal(n, nr_reported);
}

/* A tick of some policy. */
static void model_tick(void)
{
	unsigned long b;
	unsigned int r;

	fpt_xbitmap_tick(&model.w->t.back);
	for (r = 0; r < 3; r++)
		for (b = 0; b < model.w->t.back.range[r].nr_blocks; b++) {
			if (model.hot[r][b])
				model.age[r][b] = 0;
			else if (model.age[r][b] < FPT_XBITMAP_MAX_AGE)
				model.age[r][b]++;
			model.hot[r][b] = false;
		}
}

static void check_ages(void)
{
	unsigned int r, l, age;
	unsigned long b;

	for (r = 0; r < 3; r++)
		for (b = 0; b < model.w->t.back.range[r].nr_blocks; b++) {
			struct fpt_xbitmap_range *range = &model.w->t.back.range[r];

			for (l = 0, age = 0; l < FPT_XBITMAP_AGE_BITS; l++)
				age |= (unsigned int)fpt_xbitmap_test_block(range->age[l], b) << l;
			assert_int_equal(fpt_xbitmap_test_block(range->touched, b), model.hot[r][b]);
			assert_int_equal(age, model.age[r][b]);
		}
}

static void lockstep_check(bool folded)
{
	struct fpt_stats stats = stats_of(model.w);
	unsigned int i;

	for (i = 0; i < model.nr_pages; i++) {
		if (base(model.w, pfn_of(i)) != model.base[i])
			fail_msg("page %u: its bit in the base", i);
		if (state_of(&model.w->t, pfn_of(i)) == model.held[i])
			fail_msg("page %u: all its bits together", i);
		if (folded && model.base[i] == model.held[i])
			fail_msg("page %u: the base is not exact after a fold", i);
	}
	check_table(model.w);
	check_ages();
	assert_int_equal(stats.count[FPT_STAT_FREED], model.freed);
	assert_int_equal(stats.count[FPT_STAT_ALLOCATED], model.allocated);
	assert_int_equal(stats.count[FPT_STAT_SLOW], model.slow);
	assert_int_equal(stats.count[FPT_STAT_REFAULTED], model.refaulted);
	assert_int_equal(stats.count[FPT_STAT_REPORTED], model.reported);
	assert_int_equal(stats.count[FPT_STAT_CLAIMED], model.reported);
	assert_int_equal(stats.count[FPT_STAT_USED], 0);
	assert_int_equal(stats.count[FPT_STAT_OUTSIDE], 0);
}

static void lockstep_begin(unsigned int order, struct tracker *w)
{
	static const struct { fpt_pfn_t pfn, nr; } ranges[3] = {
		{ 4096 + 130, 1900 }, { 16384, 4096 }, { 1ul << 28, 1000 },
	};
	unsigned int r;

	memset(&model, 0, sizeof(model));
	memset(model.held, true, sizeof(model.held));
	model.order = order;
	model.w = w;
	for (r = 0; r < 3; r++) {
		model.range[r].pfn = ranges[r].pfn;
		model.range[r].nr = ranges[r].nr;
		model.range[r].first = model.nr_pages;
		model.nr_pages += (unsigned int)ranges[r].nr;
		add_range(model.w, ranges[r].pfn, ranges[r].nr);
	}
	assert_true(model.nr_pages <= PAGES);
}

static int (*expected_of_alloc)(fpt_pfn_t pfn, fpt_pfn_t nr);

static void lockstep_event(unsigned int cpu, unsigned int page, unsigned int size)
{
	if (model.held[page]) {
		model.freed += 1ul << size;
		give(model.w, cpu, pfn_of(page), size);
	} else {
		model.allocated += 1ul << size;
		go_to(cpu);
		assert_int_equal(fpt_alloc(&model.w->t, pfn_of(page), size),
				 expected_of_alloc ? expected_of_alloc(pfn_of(page), 1ul << size)
						   : FPT_OK);
	}
	model_event(go_to(cpu), page, size);
}

/* Free what is held of a block: by chance, large ones hardly become full. */
static void lockstep_fill(void)
{
	unsigned int r = chance(3), cpu = chance(CPUS), i;
	long page = block_page(r, chance((unsigned int)model.w->t.back.range[r].nr_blocks));

	for (i = 0; page >= 0 && i < 1u << model.order; i++)
		if (model.held[(unsigned int)page + i])
			lockstep_event(cpu, (unsigned int)page + i, 0);
}

/* An event of pages that are all held, or all free; rather a free the more of 8 fill is. */
static void lockstep_any(unsigned int cpu, unsigned int fill)
{
	unsigned int page = chance(model.nr_pages), size, r, i, at;

	if (model.held[page] != (chance(8) < fill) && chance(8))
		page = chance(model.nr_pages);
	size = chance(4) ? chance(3) : chance(12);
	r = range_of(page);
	at = (unsigned int)((pfn_of(page) - model.w->t.back.range[r].base) % LINE);
	/* Now and then a whole line, of which all is held, or free. */
	if (size >= 9 && chance(2) && page - model.range[r].first >= at &&
	    page - at + LINE <= model.nr_pages && range_of(page - at + X_LINE - 1) == r) {
		page -= at;
		for (i = page; i < page + X_LINE; i++)
			if (model.held[i] != model.held[page])
				lockstep_event(cpu, i, 0);
	}
	for (; size && (page + (1u << size) > model.nr_pages ||
			range_of(page + (1u << size) - 1) != r); size--)
		;
	for (i = page; i < page + (1u << size) && model.held[i] == model.held[page]; i++)
		;
	while (1u << size > i - page)
		size--;
	model.whole += size >= 9 &&
		       (pfn_of(page) - model.w->t.back.range[r].base) % LINE == 0;
	lockstep_event(cpu, page, size);
}

/* Random runs: so many seeds, blocks of each order up to the largest, one set and several. */
static unsigned int lockstep_seeds(void (*run)(unsigned int order, unsigned long sets),
				   unsigned int max_order)
{
	static const unsigned int orders[] = { 0, 3, 6, 9, 10 };
	const char *env = getenv("FPT_TEST_SEEDS");
	unsigned int seeds = env ? (unsigned int)atoi(env) : 1, i, o;

	for (i = 1; i <= seeds; i++)
		for (o = 0; o < COUNT(orders) && orders[o] <= max_order; o++) {
			seed = i * 1000 + o;
			run(orders[o], 1);
			run(orders[o], 16);
		}
	return seeds;
}

static void lockstep(unsigned int order, unsigned long sets)
{
	unsigned int cpu = 0, fill = 8, steps = 2000;

	lockstep_begin(order, tracker_new(order, sets));
	is_held = model_held;
	while (steps--) {
		bool filled = chance(100) == 0;

		if (filled)
			lockstep_fill();
		/* Rather frees for a while, so that blocks become full, then rather allocations. */
		if (chance(100) == 0)
			fill = chance(9);
		if (chance(8) == 0)
			cpu = chance(CPUS);
		lockstep_any(cpu, fill);
		if (chance(16) == 0)
			lockstep_check(false);
		if (chance(20) == 0) {
			fold(model.w);
			model_fold();
			lockstep_check(true);
		}
		if (chance(30) == 0)
			model_tick();
		if (filled || chance(60) == 0) {
			pass(model.w);
			model_pass();
			lockstep_check(true);
		}
	}
	pass(model.w);
	model_pass();
	lockstep_check(true);
	assert_true(model.reported > 0 && model.refaulted > 0 && model.whole > 0);
	assert_int_equal(model.slow > 0, sets == 1 || !front(&model.w->t)->nr_cpus);
	is_held = NULL;
	tracker_free(model.w);
}

static void test_lockstep(void **state)
{
	(void)state;
	lockstep_seeds(lockstep, 10);
}

/*
 * The same with tickets: what becomes of each claim, and what each allocation is told. Of what the
 * model has beside the bits, only which lines are taken and what a fold does matter here.
 */
enum ticket { IDLE, CLAIMED, CANCELLED, SUBMITTED };

static struct {
	enum ticket ticket[3][PAGES];	/* by block of a range */
	struct fpt_batch batch;
	bool submitted;			/* the batch */
	fpt_pfn_t got, nr_got;		/* by fpt_get_hints() */
	unsigned long cancelled, looked_twice, in_flight, reported, hints;
} tickets;

/* For each block b of range r that pages [pfn, pfn + nr) lie in. */
#define FOR_BLOCKS_OF(r, pfn, nr) \
	for (unsigned long b = ((pfn) - model.w->t.back.range[r].base) >> model.order, \
	     last_b = ((pfn) + (nr) - 1 - model.w->t.back.range[r].base) >> model.order; \
	     b <= last_b; b++)

static unsigned int range_of_pfn(fpt_pfn_t pfn)
{
	unsigned int r = 0;

	while (pfn - model.range[r].pfn >= model.range[r].nr)
		r++;
	return r;
}

static enum ticket *ticket_of(fpt_pfn_t pfn)
{
	unsigned int r = range_of_pfn(pfn);

	return &tickets.ticket[r][(pfn - model.w->t.back.range[r].base) >> model.order];
}

static bool block_is(fpt_pfn_t pfn, bool of_base)
{
	fpt_pfn_t i;

	for (i = 0; i < 1ul << model.order; i++) {
		unsigned int r = range_of_pfn(pfn + i);
		unsigned long page = model.range[r].first + (pfn + i - model.range[r].pfn);

		if (of_base ? !model.base[page] : model.held[page])
			return false;
	}
	return true;
}

/* What fpt_alloc() has to say of these pages. */
static int ticket_alloc(fpt_pfn_t pfn, fpt_pfn_t nr)
{
	unsigned int r = range_of_pfn(pfn);
	int result = FPT_OK;

	FOR_BLOCKS_OF(r, pfn, nr) {
		tickets.cancelled += tickets.ticket[r][b] == CLAIMED;
		if (tickets.ticket[r][b] == CLAIMED)
			tickets.ticket[r][b] = CANCELLED;
		if (tickets.ticket[r][b] == SUBMITTED)
			result = FPT_IN_FLIGHT;
	}
	tickets.in_flight += result != FPT_OK;
	return result;
}

static void ticket_claim(void)
{
	struct fpt_batch *b = &tickets.batch;
	unsigned int i;

	if (model.w->rep.over) {
		fpt_pass_begin(&model.w->rep);
		model_fold();
	}
	model.w->rep.policy.batch = 1 + chance(4);
	fpt_pass_claim(&model.w->rep, b);
	tickets.submitted = false;
	for (i = 0; i < b->nr; i++) {
		assert_int_equal(*ticket_of(b->range[i].pfn), IDLE);
		assert_true(block_is(b->range[i].pfn, true));
		*ticket_of(b->range[i].pfn) = CLAIMED;
	}
}

static void ticket_submit(void)
{
	struct fpt_batch *b = &tickets.batch, claimed = *b;
	unsigned int i, n = 0;

	fpt_pass_submit(&model.w->rep, b);
	model_fold();
	tickets.submitted = true;
	for (i = 0; i < claimed.nr; i++) {
		enum ticket *ticket = ticket_of(claimed.range[i].pfn);
		bool free = block_is(claimed.range[i].pfn, false);

		if (*ticket == CLAIMED && free) {
			assert_true(n < b->nr && b->range[n].pfn == claimed.range[i].pfn);
			n++;
			*ticket = SUBMITTED;
			continue;
		}
		tickets.looked_twice += *ticket == CLAIMED;
		tickets.cancelled += *ticket == CLAIMED;
		*ticket = IDLE;
	}
	assert_int_equal(n, b->nr);
}

static void ticket_complete(bool ok)
{
	struct fpt_batch *b = &tickets.batch;
	unsigned int i;

	for (i = 0; i < b->nr; i++)
		*ticket_of(b->range[i].pfn) = IDLE;
	tickets.reported += ok && tickets.submitted ? b->nr : 0;
	if (tickets.submitted)
		fpt_pass_complete(&model.w->rep, b, ok);
	else
		fpt_pass_drop(&model.w->rep, b);
}

static void ticket_put(void)
{
	fpt_pfn_t i;

	for (i = 0; i < tickets.nr_got; i += 1ul << model.order)
		*ticket_of(tickets.got + i) = IDLE;
	fpt_put_hints(&model.w->t, tickets.got, tickets.nr_got);
	tickets.reported += tickets.nr_got >> model.order;
	tickets.nr_got = 0;
}

static void ticket_get(void)
{
	unsigned long before = stats_of(model.w).count[FPT_STAT_CANCELLED], looks;
	fpt_pfn_t i, block = 1ul << model.order;

	tickets.got = chance(2) ? 0 : model.range[chance(3)].pfn;
	tickets.nr_got = fpt_get_hints(&model.w->t, &tickets.got, block * (1 + chance(40)));
	/* What was claimed, and was not free. */
	looks = (stats_of(model.w).count[FPT_STAT_CANCELLED] - before) >> model.order;
	tickets.looked_twice += looks;
	tickets.cancelled += looks;
	/* One cut or more; or nothing was claimed, and who is to say what was folded. */
	fold(model.w);
	model_fold();
	for (i = 0; i < tickets.nr_got; i += block) {
		assert_int_equal(*ticket_of(tickets.got + i), IDLE);
		assert_true(block_is(tickets.got + i, false));
		*ticket_of(tickets.got + i) = SUBMITTED;
	}
	tickets.hints += tickets.nr_got > 0;
}

static void ticket_check(void)
{
	static const unsigned long words[] = { FPT_TICKET_IDLE, FPT_TICKET_CLAIMED, FPT_TICKET_IDLE,
					       FPT_TICKET_SUBMITTED };
	unsigned long b;
	unsigned int r, i;

	for (r = 0; r < 3; r++)
		for (b = 0; b < model.w->t.back.range[r].nr_blocks; b++)
			assert_int_equal(model.w->t.back.range[r].ticket[b].v & FPT_TICKET_STATE,
					 words[tickets.ticket[r][b]]);
	for (i = 0; i < model.nr_pages; i++) {
		assert_int_equal(base(model.w, pfn_of(i)), model.base[i]);
		assert_int_equal(state_of(&model.w->t, pfn_of(i)), !model.held[i]);
	}
	check_table(model.w);
}

/* An event of a page that is on its way to the host. */
static void ticket_disturb(void)
{
	fpt_pfn_t pfn = tickets.got;
	unsigned int r;

	if (tickets.batch.nr && (chance(2) || !tickets.nr_got))
		pfn = tickets.batch.range[chance(tickets.batch.nr)].pfn;
	else if (!tickets.nr_got)
		return;
	pfn += chance(1u << model.order);
	r = range_of_pfn(pfn);
	lockstep_event(chance(CPUS), model.range[r].first + (unsigned int)(pfn - model.range[r].pfn),
		       0);
}

static unsigned long looked_twice;	/* in all runs */

static void lockstep_tickets(unsigned int order, unsigned long sets)
{
	unsigned int fill = 8, cpu = 0, steps = 4000, r;
	unsigned long b;

	memset(&tickets, 0, sizeof(tickets));
	lockstep_begin(order, tracker_new_protocol(order, sets, FPT_TICKET));
	expected_of_alloc = ticket_alloc;
	while (steps--) {
		if (chance(20) == 0)
			lockstep_fill();
		if (chance(100) == 0)
			fill = chance(9);
		if (chance(8) == 0)
			cpu = chance(CPUS);
		lockstep_any(cpu, fill);
		if (chance(4) == 0)
			ticket_disturb();
		if (chance(8) == 0 && !tickets.batch.nr)
			ticket_claim();
		if (chance(8) == 0 && tickets.batch.nr && !tickets.submitted)
			ticket_submit();
		if (chance(20) == 0)
			ticket_complete(chance(4));
		if (chance(60) == 0)
			tickets.nr_got ? ticket_put() : ticket_get();
		if (chance(16) == 0)
			ticket_check();
	}
	expected_of_alloc = NULL;
	ticket_complete(true);
	ticket_put();
	assert_int_equal(stats_of(model.w).count[FPT_STAT_CANCELLED], tickets.cancelled << order);
	assert_int_equal(stats_of(model.w).count[FPT_STAT_REPORTED], tickets.reported << order);
	assert_int_equal(stats_of(model.w).count[FPT_STAT_LATE], 0);
	model.w->rep.policy.batch = 32;
	model.w->rep.policy.max_in_flight = PAGES;
	pass(model.w);
	pass(model.w);
	/* All that is free has been reported. */
	for (r = 0; r < 3; r++)
		for (b = 0; b < model.w->t.back.range[r].nr_blocks; b++) {
			long page = block_page(r, b);

			if (page >= 0 && block_is(pfn_of((unsigned int)page), false))
				assert_true(fpt_xbitmap_test_block(
					model.w->t.back.range[r].reported, b));
		}
	assert_int_equal(pass(model.w), 0);
	/* Large blocks are full too rarely. */
	if (order <= 3)
		assert_true(tickets.cancelled && tickets.in_flight && tickets.reported &&
			    tickets.hints);
	looked_twice += tickets.looked_twice;
	looked_twice += !front(&model.w->t)->nr_cpus;	/* no need */
	tracker_free(model.w);
}

static void test_lockstep_tickets(void **state)
{
	unsigned int seeds;

	(void)state;
	looked_twice = 0;
	seeds = lockstep_seeds(lockstep_tickets, 9);
	assert_true(!seeds || looked_twice > 0);
}

/* A reporter that leaves alone what is hot. */
static bool cold_discard(void *ctx, const struct fpt_batch *b)
{
	(void)ctx;
	(void)b;
	return true;
}

static void test_cold(void **state)
{
	static const struct fpt_host_ops host = { cold_discard, NULL };
	struct fpt_config config = { .ops = &fpt_xbitmap_ops, .nr_cpus = 1, .order = 9 };
	struct tracker *w = tracker_new(9, 4);
	struct fpt_policy policy = w->rep.policy;
	static char memory[1 << 14];
	struct fpt_mem m = { memory, sizeof(memory), false };
	struct fpt_reporter rep;
	struct fpt_batch batch;
	struct fpt t;
	unsigned int i;
	char *donated;
	size_t size;

	(void)state;
	policy.cold = FPT_XBITMAP_MAX_AGE + 1;
	assert_int_equal(fpt_reporter_init(&rep, &w->t, &owner, NULL, &policy), FPT_EINVAL);
	policy.cold = 2;
	assert_int_equal(fpt_init(&t, &config, &m), FPT_OK);
	assert_int_equal(fpt_reporter_init(&rep, &t, &owner, NULL, &policy), FPT_ENOTSUP);
	assert_int_equal(fpt_reporter_init(&w->rep, &w->t, &owner, NULL, &policy), FPT_OK);
	add_range(w, 0, 3 * LINE);
	give(w, 0, 0, 9);
	give(w, 0, LINE, 9);
	for (i = 0; i < 2; i++) {
		assert_int_equal(pass(w), 0);
		assert_true(w->rep.left);
		/* Taken and given back: its line is there, and has no bit. */
		take(w, 0, LINE, 0);
		give(w, 0, LINE, 0);
	}
	assert_int_equal(pass(w), 1);		/* the third: untouched since the first */
	assert_int_equal(reported[0], 0);
	assert_int_equal(pass(w), 0);
	/* Folds are no ticks. */
	fold(w);
	take(w, 0, 2, 0);
	give(w, 0, 2, 0);
	fold(w);
	assert_int_equal(pass(w), 1);
	assert_int_equal(reported[0], LINE);
	assert_int_equal(pass(w), 0);
	assert_int_equal(pass(w), 1);
	assert_int_equal(reported[0], 0);
	/* A flush takes what is hot, and is no tick. */
	give(w, 1, 2 * LINE, 9);
	nr_reported = 0;
	assert_int_equal(pass(w), 0);
	take(w, 0, 3, 0);
	give(w, 0, 3, 0);
	nr_reported = 0;
	assert_int_equal(fpt_flush(&w->rep, &host, 0), FPT_OK);
	assert_int_equal(nr_reported, 2);
	assert_false(w->rep.flushing);
	assert_true(fpt_xbitmap_test_block(w->t.back.range[0].touched, 0));
	take(w, 0, 3, 0);
	give(w, 0, 3, 0);
	assert_int_equal(pass(w), 0);
	fpt_xbitmap_tick(&w->t.back);
	assert_int_equal(pass(w), 1);
	/* Cold, then touched and folded between the tick and the claim. */
	take(w, 0, 3, 0);
	give(w, 0, 3, 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(pass(w), 0);
	fpt_pass_begin(&w->rep);
	take(w, 0, 3, 0);
	give(w, 0, 3, 0);
	fold(w);
	assert_int_equal(fpt_pass_next(&w->rep, &batch), 0);
	/* A slot without a range has no heat: its memory is the caller's, and no tick writes to it. */
	size = fpt_range_size(&w->t, 0, 3 * LINE, true);
	donated = w->donation[w->nr_donations - 1].buffer + GUARD;
	assert_int_equal(fpt_remove_range(&w->t, 0, 3 * LINE), FPT_OK);
	memset(donated, FILL, size);
	fpt_xbitmap_tick(&w->t.back);
	for (i = 0; i < size; i++)
		assert_int_equal((unsigned char)donated[i], FILL);
	tracker_free(w);
}

/*
 * A lossy source: of some events no hook is called. What is wrong then is known here; an audit
 * repairs it, and makes nothing wrong that was right, also while there are events.
 */
static struct {
	bool inverted[PAGES];		/* may be wrong */
	struct fpt_auditor audit;
	unsigned int unknown, meanwhile;	/* chances in 1000 */
	unsigned long lost, left;
} lossy;

static unsigned int page_of_pfn(fpt_pfn_t pfn)
{
	unsigned int r = range_of_pfn(pfn);

	return model.range[r].first + (unsigned int)(pfn - model.range[r].pfn);
}

static void lossy_event(unsigned int page)
{
	if (chance(4) == 0) {
		lossy.lost++;
		lossy.inverted[page] = true;	/* or right again */
	} else if (model.held[page]) {
		give(model.w, chance(CPUS), pfn_of(page), 0);
	} else {
		take(model.w, chance(CPUS), pfn_of(page), 0);
	}
	model.held[page] = !model.held[page];
}

static enum fpt_truth lossy_truth(void *ctx, fpt_pfn_t pfn)
{
	unsigned int page = page_of_pfn(pfn), near = page + chance(64);
	enum fpt_truth truth = model.held[page] ? FPT_TRUTH_HELD : FPT_TRUTH_FREE;

	(void)ctx;
	/* Right before the answer or after it: neither is to repair the wrong thing. */
	if (chance(1000) < lossy.meanwhile)
		lossy_event(near < model.nr_pages ? near : page);
	if (chance(1000) < lossy.meanwhile) {
		lossy_event(page);
		truth = model.held[page] ? FPT_TRUTH_HELD : FPT_TRUTH_FREE;
	}
	return chance(1000) < lossy.unknown ? FPT_TRUTH_UNKNOWN : truth;
}

/* U1: bits are as the model has them, or right. */
static void lossy_check(void)
{
	unsigned int page;

	for (page = 0; page < model.nr_pages; page++) {
		bool wrong_bit = state_of(&model.w->t, pfn_of(page)) == model.held[page];

		if (wrong_bit && !lossy.inverted[page])
			fail_msg("page %u was right, and is wrong", page);
		lossy.inverted[page] = wrong_bit;
	}
	check_table(model.w);
}

/* All lines once. Returns how many there were. */
static unsigned int audit_all(unsigned int lines)
{
	unsigned int all = 0;
	int n;

	while ((n = fpt_audit(&lossy.audit, lines)) > 0)
		all += (unsigned int)n;
	assert_int_equal(n, 0);
	return all;
}

static void lossy_run(unsigned int order, unsigned long sets)
{
	unsigned int step, page, i, lines;

	memset(&lossy, 0, sizeof(lossy));
	lockstep_begin(order, tracker_new_lossy(order, sets));
	lossy.audit.t = &model.w->t;
	lossy.audit.truth = lossy_truth;
	for (step = 0; step < 600; step++) {
		page = chance(model.nr_pages);
		for (i = 1 + chance(20); i && page < model.nr_pages; i--)
			lossy_event(page++);
		lossy.unknown = chance(2) * 100;
		lossy.meanwhile = chance(2) * chance(100);
		if (chance(20) == 0)
			fold(model.w);
		if (chance(20) == 0) {
			lossy_check();
			assert_true(fpt_audit(&lossy.audit, 1 + chance(FPT_AUDIT_LINES)) >= 0);
			lossy_check();
		}
	}
	assert_true(lossy.lost > 0 && lossy.audit.repaired > 0 && lossy.audit.disturbed > 0);
	/* U2. Three ranges, and their first and last lines are not whole. */
	lossy.unknown = lossy.meanwhile = 0;
	lossy.audit.range = lossy.audit.line = 0;
	for (i = 0, lines = 0; i < 3; i++) {
		const struct fpt_xbitmap_range *r = &model.w->t.back.range[i];

		lines += (unsigned int)(((r->nr_blocks << order) + LINE - 1) / LINE);
	}
	assert_int_equal(audit_all(1 + chance(FPT_AUDIT_LINES)), lines);
	fold(model.w);
	for (page = 0; page < model.nr_pages; page++)
		assert_int_equal(base(model.w, pfn_of(page)), !model.held[page]);
	assert_int_equal(audit_all(FPT_AUDIT_LINES), lines);
	lossy_check();
	tracker_free(model.w);
}

static void test_lossy(void **state)
{
	(void)state;
	lockstep_seeds(lossy_run, 10);
}

static bool audited_held;

static enum fpt_truth audited_truth(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	(void)pfn;
	return audited_held ? FPT_TRUTH_HELD : FPT_TRUTH_FREE;
}

static bool is_audited_held(fpt_pfn_t pfn)
{
	(void)pfn;
	return audited_held;
}

static bool audited_is_free(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	(void)pfn;
	return !audited_held;
}

/* By hand: what it refuses, what it hints, and that isolation alone repairs nothing. */
static void test_audit(void **state)
{
	struct tracker *w = tracker_new(9, 1);
	struct fpt_auditor a = { .t = &w->t, .truth = audited_truth };
	unsigned long before;
	struct fpt_batch b;
	unsigned int i;

	(void)state;
	assert_int_equal(fpt_audit(&a, 1), FPT_ENOTSUP);
	tracker_free(w);
	w = tracker_new_lossy(9, 1);
	a.t = &w->t;
	assert_int_equal(fpt_audit(&a, 0), FPT_EINVAL);
	assert_int_equal(fpt_audit(&a, FPT_AUDIT_LINES + 1), FPT_EINVAL);
	assert_int_equal(fpt_audit(&a, 1), 0);
	add_range(w, LINE, 3 * LINE);
	/* Frees that were missed: a block without memory, and one with a page. */
	give(w, 1, 3 * LINE, 0);
	audited_held = false;
	assert_int_equal(pass(w), 0);
	assert_int_equal(fpt_audit(&a, 2), 2);
	assert_int_equal(a.repaired, 2 * LINE);
	assert_int_equal(pass(w), 2);
	assert_int_equal(fpt_audit(&a, 2), 1);
	assert_int_equal(a.repaired, 3 * LINE - 1);
	assert_int_equal(pass(w), 1);
	assert_int_equal(fpt_audit(&a, 2), 0);
	assert_int_equal(pass(w), 0);
	/* Allocations that were missed. The mark goes; isolation says no, and nothing changes. */
	audited_held = true;
	is_held = is_audited_held;
	take(w, 0, LINE, 0);
	give(w, 1, LINE, 0);
	assert_int_equal(pass(w), 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_USED], LINE);
	check_pages(w, LINE, 3 * LINE, true, true);
	assert_int_equal(fpt_audit(&a, 1), 1);
	check_pages(w, LINE, LINE, false, true);
	check_pages(w, 2 * LINE, 2 * LINE, true, true);
	for (i = 0; i < 2; i++)
		assert_int_equal(fpt_audit(&a, 1), 1);
	check_pages(w, LINE, 3 * LINE, false, true);
	assert_int_equal(a.disturbed, 0);
	/* From here on its events are right. */
	is_held = NULL;
	give(w, 0, 2 * LINE, 9);
	assert_int_equal(pass(w), 1);
	/* What is_free says is not for toggles: the alloc is in the delta. */
	take(w, 1, 2 * LINE, 9);
	give(w, 1, 2 * LINE, 9);
	w->rep.owner = &(struct fpt_owner_ops){ isolate, put_back, audited_is_free };
	fpt_pass_begin(&w->rep);
	take(w, 0, 2 * LINE, 9);
	is_held = is_audited_held;
	before = stats_of(w).count[FPT_STAT_USED];
	assert_int_equal(fpt_pass_next(&w->rep, &b), 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_USED],
			 before + (front(&w->t)->nr_cpus ? LINE : 0));
	check_pages(w, 2 * LINE, LINE, false, false);
	is_held = NULL;
	/* While another folds or audits. */
	assert_int_equal(fpt_audit(&a, 1), 0);
	front(&w->t)->folding.v = 1;
	if (front(&w->t)->nr_cpus) {
		assert_int_equal(fpt_audit(&a, 1), FPT_EBUSY);
		assert_int_equal(a.range, 0);
		assert_int_equal(a.line, 0);
	}
	front(&w->t)->folding.v = 0;
	w->t.auditing.v = 1;
	assert_int_equal(fpt_audit(&a, 1), FPT_EBUSY);
	w->t.auditing.v = 0;
	tracker_free(w);
}

#ifdef FPT_MODEL
/*
 * Every schedule. Blocks are lines: a page's free makes one full where the others are free. Three
 * lines of the range share a set, which has room for two; the first and the third, its first entry.
 * With two sets there is room for all, and a fold looks at no tags.
 */
enum what {
	END,
	FREE,		/* pages that are held */
	ALLOC,		/* unless isolated or held */
	USE,		/* ALLOC, write, check, FREE */
	LOSE_FREE,	/* the same, and the source misses it; before the threads */
	LOSE_ALLOC,
	AUDIT,		/* all lines */
	FOLD,
	PASS,
	NOTHING,	/* a step: whoever is in a section on this CPU is out of it */
	MOVE,		/* thread "page" goes to CPU "order" */
	ADD,		/* the last block, as a range of its own */
};

struct op {
	enum what what;
	unsigned int page, order;
};

#define MAX_OPS 7
#define X_BLOCKS 3u
#define X_ORDER 9u
#define X_PAGES (X_BLOCKS << X_ORDER)
#define TRACKED 8u		/* pages of each block, the first and the last: all that events name */
#define MAX_HISTORY 12u

/* Of a block, in one word. */
#define ISOLATED (1ul << 62)
#define OWNED (1ul << 31)
#define TAKEN 1ul

struct scenario {
	const char *name;
	bool no_sections;
	unsigned int max_slow;
	unsigned int cpu[EXPLORE_MAX_THREADS];
	int bound;
	bool moves, audits;
	bool grows;			/* the last block is not there before ADD */
	unsigned int sets;		/* 0: one */
	struct op before[MAX_OPS];
	struct op thread[EXPLORE_MAX_THREADS][MAX_OPS];
};

static struct {
	struct fpt t;
	struct fpt_reporter rep[EXPLORE_MAX_THREADS + 1];
	fpt_atomic_t block[X_BLOCKS], claims[X_BLOCKS], content[X_BLOCKS * TRACKED];
	fpt_atomic_t owner[X_BLOCKS * TRACKED], nothing;	/* of a page; 0: nobody */
	/* These change with block[] only. */
	bool fresh[X_BLOCKS];		/* reported, not taken from since */
	bool held[X_PAGES];
	bool lost[X_PAGES];		/* an event of the page was missed */
	struct fpt_auditor audit[EXPLORE_MAX_THREADS + 1];
	/* Which CPU a page's events were on, and whether the last hook has returned. */
	struct {
		unsigned char nr, cpu[MAX_HISTORY];
		bool under_way, was_held;
	} history[X_BLOCKS * TRACKED];
	unsigned long freed, allocated;
	struct fpt_mem mem;
	char memory[6 * 1024] __attribute__((aligned(FPT_CACHE_LINE)));
} x, x_image;

static const struct scenario *s;
static struct explore *running;

#define wrong(...) explore_fail(EXPLORE_WRONG, __VA_ARGS__)

static unsigned int track(unsigned int page)
{
	unsigned int i = page % X_LINE;

	if (i >= TRACKED / 2 && i < X_LINE - TRACKED / 2)
		return ~0u;
	return page / X_LINE * TRACKED + (i < TRACKED ? i : i - (X_LINE - TRACKED));
}

/* For each tracked page of an event, and its number. */
#define FOR_TRACKED(first, order) \
	for (unsigned int p = (first), i = track(p); p < (first) + (1u << (order)); \
	     p++, i = track(p)) \
		if (i != ~0u)

/* For each block of an event, which has n pages there. */
#define FOR_BLOCKS(first, order) \
	for (unsigned int p = (first), end = p + (1u << (order)), b = p / X_LINE, \
	     n = ((b + 1) * X_LINE < end ? (b + 1) * X_LINE : end) - p; \
	     p < end; p += n, b = p / X_LINE, n = ((b + 1) * X_LINE < end ? (b + 1) * X_LINE : end) - p)

static void event_begins(unsigned int page, unsigned int order)
{
	FOR_TRACKED(page, order) {
		x.history[i].cpu[x.history[i].nr++] = (unsigned char)fpt_model_cpu;
		x.history[i].under_way = true;
		FPT_ASSERT(x.history[i].nr < MAX_HISTORY);
	}
}

static void event_ends(unsigned int page, unsigned int order, bool held)
{
	FOR_TRACKED(page, order)
		x.history[i].under_way = false;
	memset(&x.held[page], held, 1ul << order);
}

static void set_owners(unsigned int page, unsigned int nr, bool held)
{
	unsigned int p;

	for (p = page; p < page + nr; p++)
		if (track(p) != ~0u)
			fpt_store(&x.owner[track(p)], held, release);
}

static bool op_alloc(unsigned int page, unsigned int order)
{
	bool isolated = false;

	FOR_TRACKED(page, order) {
		if (!fpt_cas(&x.owner[i], 0, 1, acq_rel)) {
			set_owners(page, p - page, false);
			return false;
		}
	}
	FOR_BLOCKS(page, order)
		isolated |= (fpt_fetch_add(&x.block[b], n * TAKEN, relaxed) & ISOLATED) != 0;
	if (isolated) {
		FOR_BLOCKS(page, order)
			fpt_fetch_add(&x.block[b], -(n * TAKEN), relaxed);
		set_owners(page, 1u << order, false);
		return false;
	}
	FOR_BLOCKS(page, order)
		x.fresh[b] = false;
	event_begins(page, order);
	fpt_alloc(&x.t, page, order);
	event_ends(page, order, true);
	x.allocated += 1ul << order;
	FOR_BLOCKS(page, order)
		fpt_fetch_add(&x.block[b], n * OWNED, relaxed);
	FOR_TRACKED(page, order)
		fpt_store(&x.content[i], p + 1, relaxed);
	return true;
}

static void op_free(unsigned int page, unsigned int order)
{
	FOR_TRACKED(page, order)
		if (fpt_load(&x.content[i], relaxed) != p + 1)
			wrong("page %u lost its data", p);
	FOR_BLOCKS(page, order)
		fpt_fetch_add(&x.block[b], -(n * OWNED), relaxed);
	event_begins(page, order);
	fpt_free(&x.t, page, order);
	event_ends(page, order, false);
	x.freed += 1ul << order;
	FOR_BLOCKS(page, order)
		fpt_fetch_add(&x.block[b], -(n * TAKEN), relaxed);
	set_owners(page, 1u << order, false);
}

static void op_lose(unsigned int page, bool held)
{
	unsigned int b = page / X_LINE;

	x.owner[track(page)].v = held;
	x.block[b].v += held ? OWNED + TAKEN : -(OWNED + TAKEN);
	x.fresh[b] = false;
	x.held[page] = held;
	x.lost[page] = true;
	x.content[track(page)].v = page + 1;
}

/* What hooks that have returned say, and of those that have not nothing. */
static enum fpt_truth x_truth(void *ctx, fpt_pfn_t pfn)
{
	unsigned int page = (unsigned int)pfn, i = track(page);

	(void)ctx;
	if (i != ~0u)
		(void)fpt_load(&x.nothing, relaxed);	/* others may go on here */
	if (i != ~0u && x.history[i].under_way)
		return FPT_TRUTH_UNKNOWN;
	return x.held[page] ? FPT_TRUTH_HELD : FPT_TRUTH_FREE;
}

/* All lines, or up to where another is in the way. */
static void op_audit(unsigned int id)
{
	x.audit[id].t = &x.t;
	x.audit[id].truth = x_truth;
	while (fpt_audit(&x.audit[id], 2) > 0)
		;
}

static enum fpt_isolated x_isolate(void *ctx, struct fpt_range r)
{
	unsigned int b = (unsigned int)(r.pfn / X_LINE);
	unsigned long now;

	(void)ctx;
	if (fpt_fetch_add(&x.claims[b], 1, relaxed))
		wrong("block %u is in two claims", b);
	if (fpt_cas(&x.block[b], 0, ISOLATED, acq_rel)) {
		x.fresh[b] = true;
		return FPT_TAKEN;
	}
	now = fpt_load(&x.block[b], acquire);
	fpt_fetch_add(&x.claims[b], -1ul, relaxed);
	return (now & ~ISOLATED) / OWNED ? FPT_USED : FPT_BUSY;
}

static void x_put_back(void *ctx, struct fpt_range r)
{
	unsigned int b = (unsigned int)(r.pfn / X_LINE);

	(void)ctx;
	fpt_fetch_add(&x.claims[b], -1ul, relaxed);
	if (!(fpt_fetch_and(&x.block[b], ~ISOLATED, release) & ISOLATED))
		wrong("block %u is put back twice", b);
}

static const struct fpt_owner_ops x_owner = { x_isolate, x_put_back, NULL };

static void x_discard(const struct fpt_range *r, const struct op *op)
{
	for (; op->what != END; op++)
		if (op->what <= USE && op->page - r->pfn < r->nr)
			fpt_store(&x.content[track(op->page)], 0, relaxed);
}

static void op_pass(struct fpt_reporter *rep)
{
	struct fpt_batch b;
	unsigned int i, id;

	fpt_pass_begin(rep);
	while (fpt_pass_next(rep, &b)) {
		for (i = 0; i < b.nr; i++)
			for (id = 0; id < EXPLORE_MAX_THREADS; id++)
				x_discard(&b.range[i], s->thread[id]);
		fpt_pass_complete(rep, &b, true);
	}
}

/* Could the deltas hold just the last events of a page, and the base those before them? */
static bool is_cut(unsigned int page, unsigned int nr)
{
	const unsigned char *cpu = x.history[track(page)].cpu;
	unsigned int c, k, live = front(&x.t)->epoch.v & 1, odd[CPUS] = { 0 };

	for (k = nr;; odd[cpu[--k]] ^= 1) {
		for (c = 0; c < CPUS && odd[c] == delta_bit(&x.t, c, live, page); c++)
			;
		if (c == CPUS &&
		    fpt_xbitmap_test(&x.t.back, page) ==
		    ((k & 1) == x.history[track(page)].was_held))
			return true;
		if (!k)
			return false;
	}
}

static unsigned long x_slow(void)
{
	struct fpt_stats stats;

	fpt_get_stats(&x.t, &stats);
	return stats.count[FPT_STAT_SLOW];
}

/* After a fold, in the same step: the tables, and the cut. */
static void check_cut(void)
{
	const char *error;
	unsigned int b, j;

	if (front(&x.t)->folding.v)
		return;
	error = table_error(&x.t);
	if (error)
		wrong("after a fold: %s", error);
	/* Slow events are in the base at once; and where a thread that was moved had its events? */
	if (s->moves || s->audits || x_slow())
		return;
	for (b = 0; b < X_BLOCKS; b++)
		for (j = 0; j < TRACKED; j++) {
			unsigned int page = b * X_LINE + j + (j < TRACKED / 2 ? 0 : X_LINE - TRACKED);
			unsigned int nr = x.history[track(page)].nr;

			if (!is_cut(page, nr) &&
			    !(x.history[track(page)].under_way && is_cut(page, nr - 1)))
				wrong("page %u: the base has a later event and not an earlier", page);
		}
}

static void run_ops(const struct op *op, unsigned int id)
{
	unsigned int i;
	void (*hook)(const struct fpt_model_access *access);

	for (; op->what != END; op++) {
		switch (op->what) {
		case FREE:
			op_free(op->page, op->order);
			break;
		case ALLOC:
			op_alloc(op->page, op->order);
			break;
		case USE:
			if (op_alloc(op->page, op->order))
				op_free(op->page, op->order);
			break;
		case FOLD:
			fpt_drain(&x.t);
			hook = fpt_model_hook;
			fpt_model_hook = NULL;
			check_cut();
			fpt_model_hook = hook;
			break;
		case PASS:
			op_pass(&x.rep[id]);
			break;
		case LOSE_FREE:
		case LOSE_ALLOC:
			op_lose(op->page, op->what == LOSE_ALLOC);
			break;
		case AUDIT:
			op_audit(id);
			break;
		case NOTHING:
			for (i = 0; i <= op->page; i++)
				fpt_fetch_add(&x.nothing, 1, relaxed);
			break;
		case ADD:
			if (fpt_add_range(&x.t, X_PAGES - X_LINE, X_LINE, &x.mem) != FPT_OK)
				wrong("no memory for a range");
			break;
		default:
			fpt_fetch_add(&x.nothing, 1, relaxed);
			running->cpu[op->page] = op->order;
		}
	}
}

static void run_thread(void *arg, unsigned int id)
{
	(void)arg;
	run_ops(s->thread[id], id);
}

static void x_check(void *arg)
{
	struct fpt_stats stats;
	const char *error = table_error(&x.t);
	unsigned int b, j, page;

	(void)arg;
	fpt_get_stats(&x.t, &stats);
	if (error && !front(&x.t)->folding.v)
		wrong("%s", error);
	if (!running->froze &&
	    (stats.count[FPT_STAT_FREED] != x.freed || stats.count[FPT_STAT_ALLOCATED] != x.allocated))
		wrong("events are counted wrongly");
	if (stats.count[FPT_STAT_DROPPED] || stats.count[FPT_STAT_SLOW] > s->max_slow)
		wrong("%lu slow events", stats.count[FPT_STAT_SLOW]);
	for (j = 0; j < 2; j++) {
		for (page = 0; page < X_PAGES; page++) {
			if (track(page) == ~0u && page % X_LINE != 100)
				continue;
			if (running->froze && track(page) != ~0u &&
			    x.history[track(page)].under_way)
				continue;
			if (state_of(&x.t, page) == x.held[page] && (j || !x.lost[page]))
				wrong("page %u is %s", page, x.held[page] ? "held" : "free");
			if (j && !running->froze &&
			    fpt_xbitmap_test(&x.t.back, page) == x.held[page])
				wrong("page %u is %s, and the base says otherwise", page,
				      x.held[page] ? "held" : "free");
		}
		if (s->audits)
			op_audit(EXPLORE_MAX_THREADS);
		op_pass(&x.rep[EXPLORE_MAX_THREADS]);
		if (!front(&x.t)->folding.v && table_error(&x.t))
			wrong("after a pass: %s", table_error(&x.t));
	}
	for (j = 0, b = 0; j <= EXPLORE_MAX_THREADS; j++)
		b += (unsigned int)x.audit[j].repaired;
	if (s->audits && b != 1)
		wrong("one page was wrong, and %u were repaired", b);
	for (b = 0; b < X_BLOCKS; b++)
		if (!x.block[b].v && !x.fresh[b])
			wrong("block %u is free and was not found", b);
}

static void setup(void *arg)
{
	(void)arg;
	memcpy(&x, &x_image, sizeof(x));
	memcpy(running->cpu, s->cpu, sizeof(s->cpu));
}

/* Do two threads meet outside of the tracker? Otherwise what the guest does is no step. */
static bool is_shared(void)
{
	const struct op *op;
	unsigned int id, pages[X_PAGES] = { 0 };

	for (id = 0; id < EXPLORE_MAX_THREADS; id++)
		for (op = s->thread[id]; op->what != END; op++) {
			if (op->what == PASS)
				return true;
			if (op->what <= USE && (pages[op->page] | 1u << id) != 1u << id &&
			    pages[op->page])
				return true;
			if (op->what <= USE)
				pages[op->page] |= 1u << id;
		}
	return false;
}

static unsigned int build(const struct scenario *scenario)
{
	struct fpt_config config = { .ops = &fpt_delta_ops, .nr_cpus = CPUS, .order = X_ORDER,
				     .delta_sets = scenario->sets ? scenario->sets : 1,
				     .lossy = scenario->audits, .audit = scenario->audits };
	struct fpt_policy policy = { .batch = 2, .max_in_flight = 2 << X_ORDER };
	unsigned int i, nr_threads = 0;

	s = scenario;
	memset(&x, 0, sizeof(x));
	x.mem = (struct fpt_mem){ x.memory, sizeof(x.memory), false };
	fpt_model_no_sections = s->no_sections;
	assert_int_equal(fpt_init(&x.t, &config, &x.mem), FPT_OK);
	assert_int_equal(fpt_add_range(&x.t, 0, X_PAGES - (s->grows ? X_LINE : 0), &x.mem), FPT_OK);
	fpt_model_no_sections = false;
	for (i = 0; i <= EXPLORE_MAX_THREADS; i++)
		assert_int_equal(fpt_reporter_init(&x.rep[i], &x.t, &x_owner, NULL, &policy),
				 FPT_OK);
	memset(x.held, true, sizeof(x.held));
	for (i = 0; i < COUNT(x.owner); i++) {
		x.owner[i].v = 1;
		x.history[i].was_held = true;
	}
	for (i = 0; i < X_PAGES; i++)
		if (track(i) != ~0u)
			x.content[track(i)].v = i + 1;
	for (i = 0; i < X_BLOCKS; i++)
		x.block[i].v = X_LINE * (OWNED + TAKEN);
	run_ops(s->before, 0);
	memcpy(&x_image, &x, sizeof(x));
	for (i = 0; i < EXPLORE_MAX_THREADS; i++)
		if (s->thread[i][0].what != END)
			nr_threads = i + 1;
	return nr_threads;
}

static void explore_scenario(const struct scenario *scenario, struct explore *e)
{
	running = e;
	e->name = explore_name(e, scenario->name);
	e->nr_threads = build(scenario);
	memcpy(e->cpu, scenario->cpu, sizeof(e->cpu));
	e->setup = setup;
	e->thread = run_thread;
	e->check = x_check;
	e->bound = explore_bound(scenario->bound);
	/* Counters that only add up, and what is only read here. */
	e->quiet_memory[0].first = (const char *)x.t.percpu;
	e->quiet_memory[0].end = (const char *)(x.t.percpu + CPUS + 1);
	if (!s->grows) {
		e->quiet_memory[1].first = (const char *)&x.t;
		e->quiet_memory[1].end = (const char *)(&x.t + 1);
	}
	if (!is_shared()) {
		e->quiet_memory[2].first = (const char *)x.block;
		e->quiet_memory[2].end = (const char *)&x.nothing;
	}
	explore(e);
}

#define EXHAUST .bound = -1

/* Lines 0, 1, 2 begin with pages 0, 512, 1024. Threads begin on CPU 0 where none is named. */
static const struct scenario scenarios[] = {
	{ .name = "free, fold",
	  EXHAUST,
	  .cpu = { 0, 1 },
	  .thread = { { { FREE, 0, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "free of many, fold",
	  EXHAUST,
	  .cpu = { 0, 1 },
	  .thread = { { { FREE, 510, 2 } }, { { FOLD, 0, 0 } } } },
	{ .name = "use, fold",
	  EXHAUST,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 9 }, { FOLD, 0, 0 } },
	  .thread = { { { USE, 0, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "use of what is in the delta, two folds",
	  EXHAUST,
	  .max_slow = 2,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 0 } },
	  .thread = { { { USE, 0, 0 } }, { { FOLD, 0, 0 }, { FOLD, 0, 0 } } } },
	{ .name = "frees, three folds",
	  .bound = 3,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 3, 0 } },
	  .thread = { { { FREE, 0, 0 }, { FREE, 1, 0 }, { FREE, 2, 0 } },
		      { { FOLD, 0, 0 }, { FOLD, 0, 0 }, { FOLD, 0, 0 } } } },
	{ .name = "room for all, free, fold",
	  EXHAUST,
	  .sets = 2,
	  .max_slow = 1,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 1027, 0 }, { FOLD, 0, 0 }, { FREE, 1026, 0 }, { FOLD, 0, 0 } },
	  .thread = { { { FREE, 1024, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "room for all, two new lines",
	  .bound = 3,
	  .sets = 2,
	  .max_slow = 2,
	  .cpu = { 0, 0, 1 },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1024, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "room for all, and then more, fold",
	  .bound = 3,
	  .max_slow = 1,
	  .grows = true,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 1, 0 } },
	  .thread = { { { ADD, 0, 0 }, { FREE, 1024, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "fold on the same CPU",
	  .bound = 4,
	  .max_slow = 1,
	  .before = { { FREE, 1, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "two CPUs, fold",
	  .bound = 3,
	  .cpu = { 0, 1, 2 },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "free, alloc elsewhere, fold",
	  .bound = 3,
	  .cpu = { 0, 1, 2 },
	  .before = { { FREE, 1, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { ALLOC, 0, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "free, use elsewhere, fold",
	  .bound = 3,
	  .cpu = { 0, 1, 2 },
	  .thread = { { { FREE, 0, 0 } }, { { USE, 0, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "use by two, two folds",
	  .bound = 2,
	  .cpu = { 0, 1, 2 },
	  .before = { { FREE, 0, 0 } },
	  .thread = { { { USE, 0, 0 } }, { { USE, 0, 0 } }, { { FOLD, 0, 0 }, { FOLD, 0, 0 } } } },
	{ .name = "two folds at once",
	  .bound = 2,
	  .cpu = { 0, 1, 2 },
	  .thread = { { { FREE, 0, 0 }, { FREE, 1, 0 } }, { { FOLD, 0, 0 } }, { { FOLD, 0, 0 } } } },

	/* Threads of one CPU. */
	{ .name = "one word, one CPU",
	  .bound = 4,
	  .max_slow = 2,
	  .before = { { FREE, 2, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } } } },
	{ .name = "one new line, one CPU",
	  .bound = 4,
	  .max_slow = 2,
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } } } },
	{ .name = "two new lines, one CPU",
	  .bound = 4,
	  .max_slow = 2,
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1024, 0 } } } },
	{ .name = "the last line, one CPU",
	  .bound = 4,
	  .max_slow = 2,
	  .before = { { FREE, 0, 0 } },
	  .thread = { { { FREE, 512, 0 } }, { { FREE, 1024, 0 } } } },
	{ .name = "one new line, one CPU, fold",
	  .bound = 3,
	  .max_slow = 1,
	  .cpu = { 0, 0, 1 },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "two new lines, one CPU, two folds",
	  .bound = 2,
	  .max_slow = 1,
	  .cpu = { 0, 0, 1 },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1024, 0 } }, { { FOLD, 0, 0 }, { FOLD, 0, 0 } } } },
	{ .name = "three, one CPU",
	  .bound = 3,
	  .max_slow = 3,
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 512, 0 } }, { { FREE, 1024, 0 } } } },
	{ .name = "interrupted",
	  EXHAUST,
	  .max_slow = 1,
	  .thread = { { { FREE, 0, 0 } }, { { NOTHING, 2, 0 } } } },
	{ .name = "interrupted, fold",
	  .bound = 3,
	  .max_slow = 1,
	  .cpu = { 0, 0, 1 },
	  .thread = { { { FREE, 0, 0 } }, { { NOTHING, 1, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "moved",
	  .bound = 3,
	  .max_slow = 1,
	  .moves = true,
	  .cpu = { 0, 1, 1 },
	  .thread = { { { FREE, 0, 0 }, { FREE, 1, 0 } }, { { FREE, 2, 0 } }, { { MOVE, 0, 1 } } } },
	{ .name = "moved, others use its CPU",
	  .bound = 3,
	  .max_slow = 1,
	  .moves = true,
	  .cpu = { 0, 0, 2 },
	  .before = { { FREE, 2, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } }, { { MOVE, 0, 1 } } } },
	{ .name = "moved, fold",
	  .bound = 3,
	  .max_slow = 1,
	  .moves = true,
	  .cpu = { 0, 2 },
	  .thread = { { { FREE, 0, 0 }, { FREE, 1, 0 } },
		      { { FOLD, 0, 0 }, { MOVE, 0, 1 }, { FOLD, 0, 0 } } } },

	/* Audits: page 0 is held, and free by its bit; or the other way round. */
	{ .name = "audit, alloc",
	  .bound = 2,
	  .cpu = { 0, 1 },
	  .audits = true,
	  .before = { { FREE, 0, 9 }, { FOLD, 0, 0 }, { LOSE_ALLOC, 0, 0 } },
	  .thread = { { { ALLOC, 1, 0 } }, { { AUDIT, 0, 0 } } } },
	{ .name = "audit, use",
	  .bound = 2,
	  .cpu = { 0, 1 },
	  .audits = true,
	  .before = { { FREE, 0, 9 }, { FOLD, 0, 0 }, { LOSE_ALLOC, 0, 0 } },
	  .thread = { { { USE, 1, 0 }, { FREE, 0, 0 } }, { { AUDIT, 0, 0 } } } },
	{ .name = "audit, two events",
	  .bound = 2,
	  .cpu = { 0, 1, 1 },
	  .audits = true,
	  .before = { { FREE, 1, 0 }, { FOLD, 0, 0 }, { LOSE_FREE, 0, 0 } },
	  .thread = { { { USE, 1, 0 } }, { { AUDIT, 0, 0 } }, { { FREE, 2, 0 } } } },
	{ .name = "audit, fold",
	  .bound = 2,
	  .cpu = { 0, 1, 2 },
	  .audits = true,
	  .before = { { FREE, 0, 9 }, { FOLD, 0, 0 }, { LOSE_ALLOC, 0, 0 } },
	  .thread = { { { ALLOC, 1, 0 } }, { { AUDIT, 0, 0 } }, { { FOLD, 0, 0 } } } },
	{ .name = "audit, audit",
	  .bound = 2,
	  .no_sections = true,
	  .max_slow = 600,
	  .audits = true,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 9 }, { FOLD, 0, 0 }, { LOSE_ALLOC, 0, 0 } },
	  .thread = { { { AUDIT, 0, 0 } }, { { AUDIT, 0, 0 } } } },
	{ .name = "audit, slow",
	  .bound = 3,
	  .no_sections = true,
	  .max_slow = 600,
	  .audits = true,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 9 }, { FOLD, 0, 0 }, { LOSE_ALLOC, 0, 0 } },
	  .thread = { { { USE, 1, 0 }, { ALLOC, 511, 0 } }, { { AUDIT, 0, 0 } } } },

	/* The slow path. */
	{ .name = "slow, complete a block",
	  EXHAUST,
	  .no_sections = true,
	  .max_slow = 4,
	  .before = { { FREE, 0, 9 }, { ALLOC, 0, 1 }, { PASS, 0, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } } } },
	{ .name = "slow, complete a block, words",
	  EXHAUST,
	  .no_sections = true,
	  .max_slow = 5,
	  .before = { { FREE, 0, 9 }, { ALLOC, 0, 0 }, { ALLOC, 511, 0 }, { PASS, 0, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 511, 0 } } } },
	{ .name = "slow, use, pass",
	  .bound = 2,
	  .no_sections = true,
	  .max_slow = 7,
	  .cpu = { 0, 1, 2 },
	  .before = { { FREE, 0, 9 }, { PASS, 0, 0 } },
	  .thread = { { { USE, 0, 0 } }, { { USE, 0, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "no room, fold",
	  .bound = 3,
	  .max_slow = 2,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 0 }, { FREE, 512, 0 } },
	  .thread = { { { FREE, 1024, 0 }, { FREE, 1, 0 } }, { { FOLD, 0, 0 }, { FOLD, 0, 0 } } } },
	{ .name = "slow and fold, complete a block",
	  .bound = 3,
	  .max_slow = 2,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 1024, 9 }, { ALLOC, 1024, 1 }, { FOLD, 0, 0 }, { FREE, 0, 0 },
		      { FREE, 512, 0 } },
	  .thread = { { { FREE, 1024, 0 } }, { { FREE, 1025, 0 }, { FOLD, 0, 0 } } } },
	{ .name = "freed in front, taken in the base, pass",
	  .bound = 2,
	  .max_slow = 4,
	  .cpu = { 1, 0, 2 },
	  .before = { { FREE, 1024, 9 }, { PASS, 0, 0 }, { FREE, 0, 0 }, { FREE, 512, 0 } },
	  .thread = { { { USE, 1024, 0 } }, { { USE, 1024, 0 } }, { { PASS, 0, 0 } } } },

	/* Passes: I1, I2, I3; touched is not toggled. */
	{ .name = "free, pass",
	  .bound = 3,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 9 }, { ALLOC, 0, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "use, pass",
	  .bound = 2,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 9 } },
	  .thread = { { { USE, 0, 0 }, { USE, 1, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "use, two passes",
	  .bound = 2,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 9 }, { FREE, 512, 9 } },
	  .thread = { { { USE, 0, 0 }, { USE, 512, 0 } }, { { PASS, 0, 0 }, { PASS, 0, 0 } } } },
	{ .name = "reported, use, pass",
	  .bound = 3,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 9 }, { PASS, 0, 0 } },
	  .thread = { { { USE, 0, 0 }, { USE, 0, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "reported, use by two, pass",
	  .bound = 2,
	  .cpu = { 0, 1, 2 },
	  .before = { { FREE, 0, 9 }, { PASS, 0, 0 } },
	  .thread = { { { USE, 0, 0 } }, { { USE, 0, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "use, two reporters",
	  .bound = 2,
	  .cpu = { 0, 1, 2 },
	  .before = { { FREE, 0, 9 } },
	  .thread = { { { USE, 0, 0 } }, { { PASS, 0, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "freed elsewhere, two reporters",
	  .bound = 2,
	  .cpu = { 0, 1, 2 },
	  .before = { { FREE, 0, 9 }, { FOLD, 0, 0 }, { ALLOC, 0, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { PASS, 0, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "moved, use, pass",
	  .bound = 2,
	  .max_slow = 1,
	  .moves = true,
	  .cpu = { 0, 1, 1 },
	  .before = { { FREE, 0, 9 } },
	  .thread = { { { USE, 0, 0 } }, { { PASS, 0, 0 } }, { { MOVE, 0, 1 } } } },
};

static void test_scenario(void **state)
{
	explore_test(explore_scenario, *state);
}

/* I4: thread 0 stops for ever, at each of its steps; the others' pages are found. */
static const struct scenario freezes[] = {
	{ .name = "freeze free",
	  .bound = 1,
	  .max_slow = 2,
	  .cpu = { 0, 0, 1 },
	  .before = { { FREE, 512, 9 }, { FOLD, 0, 0 } },
	  .thread = { { { FREE, 0, 0 } },
		      { { FREE, 1, 0 }, { USE, 512, 0 } },
		      { { FREE, 2, 0 }, { PASS, 0, 0 } } } },
	{ .name = "freeze use",
	  .bound = 1,
	  .max_slow = 2,
	  .cpu = { 0, 0, 1 },
	  .before = { { FREE, 0, 9 }, { FREE, 512, 9 } },
	  .thread = { { { USE, 0, 0 } }, { { USE, 512, 0 } }, { { USE, 513, 0 }, { PASS, 0, 0 } } } },
	{ .name = "freeze slow",
	  .bound = 1,
	  .max_slow = 9,
	  .no_sections = true,
	  .cpu = { 0, 0, 1 },
	  .before = { { FREE, 0, 9 }, { FREE, 512, 9 } },
	  .thread = { { { USE, 0, 0 } }, { { USE, 512, 0 } }, { { USE, 513, 0 }, { PASS, 0, 0 } } } },
};

static void test_freeze(void **state)
{
	explore_test_frozen(explore_scenario, *state);
}

/* The first range, of more lines than the table has entries: as soon as hooks find it, folds do. */
static struct {
	struct tracker *w;
	unsigned int freed;
} adding;

static void free_while_adding(const struct fpt_model_access *a)
{
	fpt_pfn_t pfn = (adding.freed + WAYS) * LINE + adding.freed;

	(void)a;
	fpt_model_hook = NULL;
	if (adding.freed < 4 && fpt_xbitmap_range_of(&adding.w->t.back, pfn)) {
		fpt_free(&adding.w->t, pfn, 0);
		adding.freed++;
	}
	fpt_drain(&adding.w->t);
	fpt_model_hook = free_while_adding;
}

static void test_first_range(void **state)
{
	struct tracker *w = tracker_new(9, 1);
	unsigned int i, nr;

	(void)state;
	adding.w = w;
	adding.freed = 0;
	fpt_model_hook = free_while_adding;
	add_range(w, 0, 2 * WAYS * LINE);
	fpt_pause();
	fpt_model_hook = NULL;
	nr = adding.freed;
	assert_true(nr > 0);
	for (i = 0; i < 2 * WAYS * LINE; i++)
		assert_int_equal(base(w, i), i / LINE >= WAYS && i / LINE < WAYS + nr &&
					     i % LINE == i / LINE - WAYS);
	tracker_free(w);
}

/* I6. A hook per CPU in turn, of neighbours' pages; every CPU also takes what another freed. */
static void test_private_lines(void **state)
{
	unsigned int n, i, pages, k;

	(void)state;
	for (n = 1; n <= 64; n++)
		for (k = 1; k <= 64; k *= 4) {
			struct fpt_config config = { .ops = &fpt_delta_ops, .nr_cpus = n,
						     .order = 9, .delta_sets = k };
			struct tracker *w = calloc(1, sizeof(*w));
			struct fpt_mem m;

			assert_non_null(w);
			m = donate(w, fpt_size(&config), false);
			assert_int_equal(fpt_init(&w->t, &config, &m), FPT_OK);
			pages = n * 4 * 7;
			if (pages > WAYS * k * LINE)
				pages = WAYS * k * LINE;
			add_range(w, 0, pages);
			count_begin();
			for (i = 0; i < pages; i++) {
				fpt_model_cpu = i % n;
				fpt_free(&w->t, i, 0);
				if (i % 3 == 0)
					fpt_alloc(&w->t, i, 0);
				fpt_model_cpu = (i + 1) % n;
				if (i % 3 == 1)
					fpt_alloc(&w->t, i, 0);
				/* The other generation's lines, too; a fold is no hook. */
				if (i % (pages / 3 + 1) == 0) {
					fpt_model_hook = NULL;
					fold(w);
					fpt_model_hook = count_lines;
				}
			}
			count_end();
			assert_true(counts.writes > pages);
			check_slow(w, 0);
			assert_int_equal(counts.shared, 0);
			tracker_free(w);
		}
}

/* Steps of a hook in its steady state; a fold visits what is dirty. */
static void test_steps(void **state)
{
	/* Tracker, CPU; range: count, first pfn, count. */
	const unsigned long look_up = 2 + 3;
	struct tracker *w = tracker_new(9, 4 * FPT_WORD_BITS);
	/* Fronts, ops, CPU, folding, epoch, the words of dirty bits, folding. */
	unsigned long idle = 5 + 4 * WAYS * CPUS + 1, once;

	(void)state;
	add_range(w, 0, 64 * LINE);
	fpt_free(&w->t, 0, 0);
	/* Epoch and tag; the section's epoch, counter, and word, which is loaded and stored. */
	count_begin();
	fpt_free(&w->t, 1, 0);
	assert_int_equal(count_end(), look_up + 6);
	count_begin();
	fpt_alloc(&w->t, 1, 0);
	assert_int_equal(count_end(), look_up + 6);
	/* A line to take first: all once more, and the section's tag, dirty bit, zeroes, whole, tag. */
	count_begin();
	fpt_free(&w->t, 7 * LINE, 0);
	assert_int_equal(count_end(), look_up + 2 + look_up - 1 + 6 + 6);
	/* A whole line: no more than one page. */
	count_begin();
	fpt_free(&w->t, 5 * LINE, 9);
	assert_int_equal(count_end(), look_up + 6 + 6);
	count_begin();
	fpt_alloc(&w->t, 5 * LINE, 9);
	assert_int_equal(count_end(), look_up + 6);
	fold(w);
	count_begin();
	fpt_drain(&w->t);
	assert_int_equal(count_end(), idle);
	count_begin();
	fpt_free(&w->t, 7 * LINE + 1, 0);
	count_begin();
	fpt_drain(&w->t);
	once = count_end();
	/*
	 * The first dirty word twice, the other CPUs' once; the epoch, the ranges, the dirty word, whole;
	 * the line and its range, and no tag; the base's chunk and word, and the look: chunk, word, and
	 * what the block is marked with.
	 */
	assert_int_equal(once, idle + 1 + 4 + FPT_DELTA_LINE_WORDS + 2 + 2 + 5);
	tracker_free(w);
}
#endif

#ifdef REAL_CPUS
#ifdef INTERRUPTS
/*
 * Sections that are interrupted, at each of their points (FPT_USER_RSEQ_INJECT): what they see and
 * write changes meanwhile. One that went on would write all the same.
 */
#define POINTS 14

static void test_interrupted(void **state)
{
	unsigned int cpu = go_to(0), i;
	unsigned long done;
	int point;

	(void)state;
	if (!fpt_sections())
		skip();
	catch(on_trap);
	for (point = 0; point < POINTS; point++) {
		/* toggle has no point 3, and none from 8; 5 is behind its end. */
		bool has = point != 3 && point < 8, put = point >= 4 && (point < 8 || point > 11);
		unsigned long wanted = wanted_at(point, true);

		AGAIN_UNTIL(inject.signals == has && done == wanted_at(point, has),
			    memset(&inject, 0, sizeof(inject)), interrupt_at(point),
			    done = fpt_section_toggle(cpu, &inject.e, 0, &inject.c, 7, &inject.a,
						      1));
		assert_int_equal(inject.signals, has);
		assert_int_equal(done, wanted_at(point, has));
		assert_int_equal(inject.a.v, (has ? 0xf00 : 0) + (done == FPT_SECTION_DONE));
		assert_int_equal(inject.c.v, (has ? 1000 : 0) + (done ? 7 : 0));
		/* take: what it wrote before it was interrupted stays. */
		AGAIN_UNTIL(inject.signals == 1 && done == wanted && inject.b.v == put,
			    memset(&inject, 0, sizeof(inject)),
			    memset(inject.z, FILL, sizeof(inject.z)), inject.t.v = 3,
			    inject.w.v = 0xff, interrupt_at(point),
			    done = fpt_section_take(cpu, &inject.e, 0, &inject.b, 1, inject.z,
						    &inject.w, 4, &inject.t, 3, 9, &inject.c, 7,
						    &inject.a, 1));
		assert_int_equal(inject.signals, 1);
		assert_int_equal(done, wanted);
		assert_int_equal(inject.b.v, put);
		for (i = 0; i < FPT_DELTA_LINE_WORDS; i++)
			assert_true(!inject.z[i].v == (point >= 4 &&
						       (i < FPT_DELTA_LINE_WORDS / 2 || point != 8)));
		assert_int_equal(inject.w.v, point < 4 || (point >= 8 && point <= 10) ? 0xff : 0xfb);
		assert_int_equal(inject.t.v, 5);
		assert_int_equal(inject.a.v, 0xf00 + (point == 5));
		assert_int_equal(inject.c.v, 1000 + (done ? 7 : 0));
	}
	catch(SIG_DFL);
}

/* In a hook's sections: the handler folds, and has events of its own, on the same lines. */
static struct {
	struct tracker *w;
	unsigned int left, page;
} nested;

static void on_trap_fold(int number)
{
	int point = test_point;

	(void)number;
	interrupt_at(-1);
	if (nested.left % 2)
		fpt_drain(&nested.w->t);
	fpt_free(&nested.w->t, nested.page, 0);
	fpt_alloc(&nested.w->t, nested.page + LINE, 0);
	nested.page++;
	if (--nested.left)
		interrupt_at(point);
}

static void test_interrupted_hooks(void **state)
{
	unsigned int page, left, i;
	int point;

	(void)state;
	if (!fpt_sections())
		skip();
	catch(on_trap_fold);
	for (point = 0; point < POINTS; point++)
		for (left = 1; left < 2 * FPT_DELTA_ATTEMPTS; left++) {
			nested.w = tracker_new(9, 1);
			add_range(nested.w, 0, 4 * LINE);
			give(nested.w, 0, LINE, 9);
			nested.page = 100;
			for (page = 0; page < 8; page++) {
				nested.left = left;
				interrupt_at(point);
				if (page % 2)
					fpt_free(&nested.w->t, page, 0);
				else
					fpt_alloc(&nested.w->t, LINE + page, 0);
				nested.left = left;
				interrupt_at(point);
				fpt_free(&nested.w->t, 2 * LINE + 8 * page, 3);
				interrupt_at(-1);
				fold(nested.w);
			}
			check_pages(nested.w, 2 * LINE, 64, true, true);
			for (page = 0; page < 8; page++) {
				assert_int_equal(base(nested.w, page), page % 2);
				assert_int_equal(base(nested.w, LINE + page), page % 2);
			}
			for (i = 100; i < 101 + nested.page; i++) {
				assert_int_equal(base(nested.w, i), i < nested.page);
				assert_int_equal(base(nested.w, LINE + i), i >= nested.page && i < LINE);
			}
			/* Each counted once, wherever it was interrupted. */
			assert_int_equal(stats_of(nested.w).count[FPT_STAT_FREED],
					 LINE + 4 + 64 + nested.page - 100);
			assert_int_equal(stats_of(nested.w).count[FPT_STAT_ALLOCATED],
					 4 + nested.page - 100);
			tracker_free(nested.w);
		}
	catch(SIG_DFL);
}
#endif

#ifdef FPT_USER_RSEQ
/* A thread whose area the kernel does not know: its events are slow, the others' are not. */
static void *without_area(void *arg)
{
	struct tracker *w = arg;
	unsigned int page;
	char *self = __builtin_thread_pointer();

	/* RSEQ_FLAG_UNREGISTER */
	if (syscall(SYS_rseq, self + __rseq_offset, 32, 1, RSEQ_SIG))
		return NULL;
	for (page = 0; page < 16; page += 2)
		fpt_free(&w->t, page, 0);
	for (page = 0; page < 16; page += 4)
		fpt_alloc(&w->t, page + 1, 0);
	return w;
}

static void test_without_area(void **state)
{
	struct tracker *w;
	pthread_t thread;
	unsigned int page;
	void *done;

	(void)state;
	if (!fpt_sections())
		skip();
	w = tracker_new(9, 1);
	add_range(w, 0, LINE);
	for (page = 1; page < 16; page += 2)
		give(w, 0, page, 0);
	assert_int_equal(pthread_create(&thread, NULL, without_area, w), 0);
	pthread_join(thread, &done);
	if (!done)
		skip();
	check_slow(w, 12);
	for (page = 0; page < 16; page++)
		assert_int_equal(state_of(&w->t, page), page % 4 != 1);
	fold(w);
	for (page = 0; page < 16; page++)
		assert_int_equal(base(w, page), page % 4 != 1);
	assert_int_equal(stats_of(w).count[FPT_STAT_FREED], 16);
	tracker_free(w);
}
#endif

/* A CPU that was not configured: everything is slow, and right. */
static void test_beyond(void **state)
{
	struct fpt_config config = { .ops = &fpt_delta_ops, .nr_cpus = 1, .order = 9 };
	struct tracker *w;
	struct fpt_mem m;
	unsigned int page;

	(void)state;
	if (!go_to(1))
		skip();
	w = calloc(1, sizeof(*w));
	assert_non_null(w);
	m = donate(w, fpt_size(&config), false);
	assert_int_equal(fpt_init(&w->t, &config, &m), FPT_OK);
	add_range(w, 0, 4 * LINE);
	fpt_free(&w->t, 0, 9);
	for (page = 0; page < 8; page++)
		fpt_alloc(&w->t, page, 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_SLOW], 9);
	assert_int_equal(stats_of(w).count[FPT_STAT_FREED], LINE);
	assert_int_equal(stats_of(w).count[FPT_STAT_ALLOCATED], 8);
	check_pages(w, 0, 8, false, true);
	check_pages(w, 8, LINE - 8, true, true);
	tracker_free(w);
}

#ifndef __KERNEL__
/* A child's tracker is a copy, and its fence works as the parent's. */
static void test_fork(void **state)
{
	struct tracker *w = tracker_new(9, 1);
	int status, i;
	pid_t child;

	(void)state;
	add_range(w, 0, 4 * LINE);
	give(w, 0, 0, 9);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		for (i = 0; i < 3; i++) {
			fpt_alloc(&w->t, 7, 0);
			fpt_drain(&w->t);
			fpt_free(&w->t, 7, 0);
		}
		fpt_drain(&w->t);
		_exit(base(w, 7) && base(w, 0) && !table_error(&w->t) ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(pass(w), 1);
	tracker_free(w);
}

/*
 * Threads, more than CPUs, which others move and signals interrupt; a reporter that folds all the
 * time. Each thread's handler has pages of its own; the others belong to whoever takes them.
 */
#define THREADS 5u
#define STORM_PAGES (4u * (unsigned int)LINE)
#define STORM_EVENTS 100000u	/* of each thread, at most ten times as many, until there were */
#define STORM_MOVES 200u

static struct {
	struct tracker *w;
	fpt_atomic_t owner[STORM_PAGES];	/* thread + 1, 0: free */
	fpt_atomic_t finished, handled, moved, folds;
	pid_t tid[THREADS];
	bool other[THREADS];			/* the state of a handler's page */
} storm;

static __thread unsigned int self;

static void on_alarm(int number)
{
	unsigned int page = STORM_PAGES + self;

	(void)number;
	if (!self)
		return;		/* not one of the threads */
	storm.other[self - 1] = !storm.other[self - 1];
	if (storm.other[self - 1])
		fpt_free(&storm.w->t, page, 0);
	else
		fpt_alloc(&storm.w->t, page, 0);
	fpt_fetch_add(&storm.handled, 1, relaxed);
}

static void *storm_worker(void *arg)
{
	unsigned int held[32], nr = 0, i, page;
	bool over = false;
	unsigned long long random;
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	self = (unsigned int)(uintptr_t)arg;
	random = self;
	__atomic_store_n(&storm.tid[self - 1], (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
	for (i = 0; !over || nr; i++) {
		over |= i >= STORM_EVENTS && (i >= 10 * STORM_EVENTS ||
					      fpt_load(&storm.moved, relaxed) >= STORM_MOVES);
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		page = (unsigned int)(random >> 33) % STORM_PAGES;
		if (nr && (nr == COUNT(held) || page & 1 || over)) {
			page = held[--nr];
			fpt_free(&storm.w->t, page, 0);
			fpt_store(&storm.owner[page], 0, release);
		} else if (fpt_cas(&storm.owner[page], 0, self, acq_rel)) {
			fpt_alloc(&storm.w->t, page, 0);
			held[nr++] = page;
		}
	}
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	return NULL;
}

static void *storm_mover(void *arg)
{
	unsigned int i = 0;

	(void)arg;
	while (!fpt_load(&storm.finished, acquire)) {
		pid_t tid = __atomic_load_n(&storm.tid[i % THREADS], __ATOMIC_ACQUIRE);
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)nth_cpu(i / THREADS + i), &set);
		if (tid && !sched_setaffinity(tid, sizeof(set), &set))
			fpt_fetch_add(&storm.moved, 1, relaxed);
		i++;
		usleep(50);
	}
	return NULL;
}

static void *storm_folder(void *arg)
{
	(void)arg;
	while (!fpt_load(&storm.finished, acquire)) {
		fpt_drain(&storm.w->t);
		fpt_fetch_add(&storm.folds, 1, relaxed);
	}
	return NULL;
}

static void test_storm(void **state)
{
	struct itimerval often = { { 0, 150 }, { 0, 150 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction act = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	pthread_t worker[THREADS], mover, folder[2];
	sigset_t alarm;
	unsigned int i;

	(void)state;
	memset(&storm, 0, sizeof(storm));
	storm.w = tracker_new(9, 1);	/* five lines: now and then one is slow */
	add_range(storm.w, 0, STORM_PAGES + LINE);
	for (i = 0; i < STORM_PAGES; i++)
		fpt_free(&storm.w->t, i, 0);
	fold(storm.w);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&worker[i], NULL, storm_worker,
						(void *)(uintptr_t)(i + 1)), 0);
	assert_int_equal(pthread_create(&mover, NULL, storm_mover, NULL), 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&folder[i], NULL, storm_folder, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(worker[i], NULL);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	fpt_store(&storm.finished, 1, release);
	pthread_join(mover, NULL);
	for (i = 0; i < 2; i++)
		pthread_join(folder[i], NULL);
	fold(storm.w);
	check_pages(storm.w, 0, STORM_PAGES, true, true);
	for (i = 0; i < THREADS; i++)
		check_pages(storm.w, STORM_PAGES + 1 + i, 1, storm.other[i], true);
	assert_int_equal(stats_of(storm.w).count[FPT_STAT_FREED] -
			 stats_of(storm.w).count[FPT_STAT_ALLOCATED],
			 STORM_PAGES + storm.other[0] + storm.other[1] + storm.other[2] +
				 storm.other[3] + storm.other[4]);
	print_message("%s: %lu signals, %lu moves, %lu folds; %lu of %lu events slow\n",
		      front(&storm.w->t)->nr_cpus ? "restartable sections" : "atomics",
		      storm.handled.v, storm.moved.v, storm.folds.v,
		      stats_of(storm.w).count[FPT_STAT_SLOW],
		      stats_of(storm.w).count[FPT_STAT_FREED] +
			      stats_of(storm.w).count[FPT_STAT_ALLOCATED]);
	tracker_free(storm.w);
	signal(SIGALRM, SIG_IGN);	/* one may be pending */
	pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
	signal(SIGALRM, SIG_DFL);
}
#endif
#endif

#define COMMON_TESTS \
	cmocka_unit_test(test_init), \
	cmocka_unit_test(test_range_memory), \
	cmocka_unit_test(test_switch), \
	cmocka_unit_test(test_toggle), \
	cmocka_unit_test(test_orders), \
	cmocka_unit_test(test_whole), \
	cmocka_unit_test(test_full), \
	cmocka_unit_test(test_sets), \
	cmocka_unit_test(test_blocks), \
	cmocka_unit_test(test_touched), \
	cmocka_unit_test(test_idle), \
	cmocka_unit_test(test_ranges), \
	cmocka_unit_test(test_slow_edge), \
	cmocka_unit_test(test_remove), \
	cmocka_unit_test(test_sections), \
	cmocka_unit_test(test_lockstep), \
	cmocka_unit_test(test_lockstep_tickets), \
	cmocka_unit_test(test_cold), \
	cmocka_unit_test(test_audit), \
	cmocka_unit_test(test_lossy)

/* An argument is a pattern of tests to run. */
int main(int argc, char **argv)
{
#ifdef FPT_MODEL
	struct CMUnitTest tests[32 + COUNT(scenarios) + COUNT(freezes)] = {
		COMMON_TESTS,
		cmocka_unit_test(test_first_range),
		cmocka_unit_test(test_private_lines),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_orders_of_tickets),
	};
	size_t i;

	for (i = 0; i < COUNT(scenarios); i++)
		explore_add(tests, scenarios[i].name, test_scenario, &scenarios[i]);
	for (i = 0; i < COUNT(freezes); i++)
		explore_add(tests, freezes[i].name, test_freeze, &freezes[i]);
	return explore_main("delta", tests, argc, argv);
#else
	const struct CMUnitTest tests[] = {
		COMMON_TESTS,
#ifdef INTERRUPTS
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_interrupted_hooks),
#endif
#if defined(REAL_CPUS) && defined(FPT_USER_RSEQ)
		cmocka_unit_test(test_without_area),
#endif
#ifdef REAL_CPUS
		cmocka_unit_test(test_beyond),
#ifndef __KERNEL__
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_storm),
#endif
#endif
	};

#ifdef REAL_CPUS
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 1;
#endif
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
