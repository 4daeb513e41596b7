/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_bitmap.c - what is particular to the tracker "bitmap": growth, its reserve, cancelling,
 * dirty bits
 *
 * Three parts, by backend. With a CPU per thread (FPT_VIRTUAL_CPUS): each promise by itself, then
 * random steps beside a model. With the model backend: every schedule of a few hooks and drains,
 * accesses counted, lines counted (I6). With the machine's own CPUs: threads, all of them on one
 * CPU's bitmap or on two.
 *
 * FPT_TEST_BOUND adds to the preemption bound of those schedules that are too many to be exhausted.
 */
#ifdef FPT_MODEL
#define FPT_XBITMAP_CHUNK_BYTES 8
#define FPT_XBITMAP_MAX_RANGES 1
#define FPT_BITMAP_LEAF_BYTES 16
#define FPT_BITMAP_GRAIN_BYTES 8
#define FPT_BITMAP_ENTRIES 1u
#define FPT_BITMAP_MAX_LEVELS 6u
#include "explore.h"
#include "lines.h"
#endif

#include <fpt/fpt.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LEAF FPT_BITMAP_LEAF_PAGES
#define GRAIN FPT_BITMAP_GRAIN_PAGES
#define GUARD 64u		/* bytes around donated memory */
#define FILL 0xa5
#define MAX_DONATIONS 4096u
#define VALUE(a) fpt_load(&(a), relaxed)	/* of an atomic word, when nobody writes it */

#ifdef FPT_VIRTUAL_CPUS
__thread unsigned int fpt_virtual_cpu;
#endif

/* A tracker and what it was given. */
struct tracker {
	struct fpt t;
	struct {
		char *buffer;
		size_t size;
	} donation[MAX_DONATIONS];
	unsigned int nr_donations;
	size_t donated;
};

static struct fpt_mem donate(struct tracker *w, size_t size, bool zeroed)
{
	struct fpt_mem m = { NULL, size, zeroed };
	char *p = malloc(size + 2 * GUARD);

	assert_non_null(p);
	assert_true(w->nr_donations < MAX_DONATIONS);
	memset(p, FILL, size + 2 * GUARD);
	if (zeroed)
		memset(p + GUARD, 0, size);
	w->donation[w->nr_donations].buffer = p;
	w->donation[w->nr_donations++].size = size;
	w->donated += size;
	m.base = p + GUARD;
	return m;
}

static void add_range(struct tracker *w, fpt_pfn_t pfn, fpt_pfn_t nr)
{
	struct fpt_mem m = donate(w, fpt_range_size(&w->t, pfn, nr, true), false);

	assert_int_equal(fpt_add_range(&w->t, pfn, nr, &m), FPT_OK);
}

static struct tracker *tracker_new(unsigned int nr_cpus, unsigned int order, unsigned long leaves)
{
	struct fpt_config config = { .ops = &fpt_bitmap_ops, .nr_cpus = nr_cpus, .order = order,
				     .bitmap_leaves = leaves };
	struct tracker *w = calloc(1, sizeof(*w));
	struct fpt_mem m;

	assert_non_null(w);
#ifdef FPT_VIRTUAL_CPUS
	fpt_virtual_cpu = 0;
#endif
	m = donate(w, fpt_size(&config), false);
	assert_int_equal(fpt_init(&w->t, &config, &m), FPT_OK);
	return w;
}

static struct fpt_stats stats_of(struct tracker *w)
{
	struct fpt_stats s;

	fpt_get_stats(&w->t, &s);
	assert_int_equal(s.count[FPT_STAT_DROPPED], 0);
	assert_true(s.memory_used <= s.memory_donated);
	assert_true(s.memory_donated <= w->donated);
	return s;
}

#if defined(FPT_VIRTUAL_CPUS) || defined(FPT_MODEL)
static unsigned long slow(struct tracker *w)
{
	return stats_of(w).count[FPT_STAT_SLOW];
}

static struct fpt_bitmap *front(struct tracker *w)
{
	return w->t.front[FPT_SLOT_BITMAP];
}
#endif

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

/* Give what is wanted; what for, is another matter. */
static size_t refill(struct tracker *w)
{
	size_t wanted = fpt_wanted(&w->t);
	struct fpt_mem m;

	if (!wanted)
		return 0;
	m = donate(w, wanted, wanted % 128 == 0);
	assert_int_equal(fpt_refill(&w->t, &m), FPT_OK);
	assert_true(m.size <= FPT_CACHE_LINE);
	return wanted;
}

#if defined(FPT_VIRTUAL_CPUS)

static void give(struct tracker *w, unsigned int cpu, fpt_pfn_t pfn, unsigned int order)
{
	fpt_virtual_cpu = cpu;
	fpt_free(&w->t, pfn, order);
}

static void take(struct tracker *w, unsigned int cpu, fpt_pfn_t pfn, unsigned int order)
{
	fpt_virtual_cpu = cpu;
	assert_int_equal(fpt_alloc(&w->t, pfn, order), FPT_OK);
}

static bool is_set(struct tracker *w, fpt_pfn_t pfn)
{
	return fpt_xbitmap_test(&w->t.back, pfn);
}

static bool drained(struct tracker *w, fpt_pfn_t pfn)
{
	fpt_bitmap_drain(&w->t);
	return is_set(w, pfn);
}

/* All of [pfn, pfn + nr) are, or are not, in the back. */
static void check_back(struct tracker *w, fpt_pfn_t pfn, fpt_pfn_t nr, bool set)
{
	fpt_pfn_t i;

	for (i = 0; i < nr; i++)
		if (is_set(w, pfn + i) != set)
			fail_msg("page %lu: its bit is not %d", pfn + i, set);
}

/*
 * Leaf after leaf, and their levels: what was found at first is found at the end, at the same
 * place.
 */
static void test_growth(void **state)
{
	const unsigned long leaves = FPT_BITMAP_ENTRIES * 15ul;		/* four levels */
	struct tracker *w = tracker_new(2, 3, leaves);
	unsigned long at[4], i;
	unsigned int k;

	(void)state;
	add_range(w, 5 * LEAF, leaves * LEAF);
	give(w, 1, 5 * LEAF + 3, 0);
	at[0] = VALUE(front(w)->cpu[1].level[0].at);
	assert_int_equal(VALUE(front(w)->cpu[1].level[1].at), 0);
	assert_int_equal(VALUE(front(w)->cpu[0].level[0].at), 0);
	/* Downwards: the largest level first. */
	for (i = leaves; i--;)
		give(w, 1, (5 + i) * LEAF + i % LEAF, 0);
	for (k = 1; k < 4; k++)
		at[k] = VALUE(front(w)->cpu[1].level[k].at);
	assert_int_equal(VALUE(front(w)->cpu[1].level[4].at), 0);
	fpt_bitmap_drain(&w->t);
	for (i = 0; i < leaves; i++)
		assert_true(is_set(w, (5 + i) * LEAF + i % LEAF));
	assert_true(is_set(w, 5 * LEAF + 3));
	for (i = 0; i < leaves; i++) {
		give(w, 1, (5 + i) * LEAF + (i + 1) % LEAF, 0);
		assert_true(drained(w, (5 + i) * LEAF + (i + 1) % LEAF));
	}
	for (k = 0; k < 4; k++)
		assert_true(at[k] > FPT_BITMAP_TAKING && VALUE(front(w)->cpu[1].level[k].at) == at[k]);
	/* Just as much as was asked for: for all leaves, and the other CPU has used nothing. */
	assert_int_equal(slow(w), 0);
	assert_int_equal(fpt_load(&front(w)->cpu[1].first->used, relaxed),
			 fpt_bitmap_bytes(leaves));
	assert_int_equal(fpt_load(&front(w)->cpu[0].first->used, relaxed), 0);
	assert_int_equal(fpt_wanted(&w->t), 0);
	/* Somebody had to do without, who would not have to now. */
	fpt_store(&front(w)->cpu[1].starved, FPT_BITMAP_LEAF_BYTES, relaxed);
	assert_int_equal(fpt_wanted(&w->t), 0);
	tracker_free(w);
}

/* No room: the back at once, counted, and cleared there again. Room again: in front again. */
static void test_exhausted(void **state)
{
	struct tracker *w = tracker_new(1, 3, 1);
	unsigned long before;
	unsigned int i;

	(void)state;
	add_range(w, 0, 8 * LEAF);
	give(w, 0, 1, 0);
	take(w, 0, LEAF + 1, 0);		/* no room, and so may be in the back */
	assert_int_equal(slow(w), 1);
	give(w, 0, LEAF + 1, 0);
	assert_int_equal(slow(w), 2);
	assert_false(is_set(w, 1));
	assert_true(is_set(w, LEAF + 1));
	/* One event, three places: counted once. */
	give(w, 0, LEAF - 4, 3);
	assert_int_equal(slow(w), 3);
	check_back(w, LEAF - 4, 4, false);
	check_back(w, LEAF, 4, true);
	take(w, 0, LEAF - 4, 3);
	assert_int_equal(slow(w), 4);
	check_back(w, LEAF, 4, false);
	fpt_bitmap_drain(&w->t);
	check_back(w, LEAF - 4, 8, false);
	assert_true(is_set(w, 1));
	assert_true(fpt_wanted(&w->t) > 0);
	for (i = 2; i < 8; i++) {
		give(w, 0, i * LEAF, 0);
		before = slow(w);
		refill(w);
		give(w, 0, i * LEAF + 1, 0);
		assert_int_equal(slow(w), before);
		assert_false(is_set(w, i * LEAF + 1));
		fpt_bitmap_drain(&w->t);
		check_back(w, i * LEAF, 2, true);
	}
	tracker_free(w);
}

/* Whoever is low gets what it wants, in turn; nobody else gets anything. */
static void test_refill(void **state)
{
	struct tracker *w = tracker_new(4, 3, 2);
	struct fpt_mem m, before;
	size_t wanted, one;
	unsigned long i;

	(void)state;
	assert_int_equal(fpt_wanted(&w->t), 0);
	add_range(w, 0, 64 * LEAF);
	assert_int_equal(fpt_wanted(&w->t), 0);
	for (i = 0; i < 3; i++) {
		give(w, 1, i * LEAF, 0);
		give(w, 3, i * LEAF + 8, 0);
	}
	wanted = fpt_wanted(&w->t);
	assert_true(wanted > 2 * (sizeof(struct fpt_bitmap_extent) + FPT_BITMAP_LEAF_BYTES));
	one = (wanted - FPT_CACHE_LINE) / 2;
	/* Too small for anybody. */
	m = donate(w, one - 1, false);
	before = m;
	assert_int_equal(fpt_refill(&w->t, &m), FPT_ENOMEM);
	assert_memory_equal(&m, &before, sizeof(m));
	assert_int_equal(fpt_wanted(&w->t), wanted);
	/* For one: then it is the other's turn. */
	m = donate(w, one + FPT_CACHE_LINE, false);
	assert_int_equal(fpt_refill(&w->t, &m), FPT_OK);
	assert_true(VALUE(front(w)->cpu[1].first->link) && !VALUE(front(w)->cpu[3].first->link));
	assert_int_equal(fpt_wanted(&w->t), one + FPT_CACHE_LINE);
	m = donate(w, wanted, false);
	assert_int_equal(fpt_refill(&w->t, &m), FPT_OK);
	assert_true(VALUE(front(w)->cpu[3].first->link));
	assert_true(!VALUE(front(w)->cpu[0].first->link) && !VALUE(front(w)->cpu[2].first->link));
	assert_int_equal(fpt_wanted(&w->t), 0);
	assert_true(m.size >= wanted - one - 2 * FPT_CACHE_LINE);
	m = donate(w, wanted, false);
	before = m;
	assert_int_equal(fpt_refill(&w->t, &m), FPT_OK);	/* nobody wants it */
	assert_memory_equal(&m, &before, sizeof(m));
	/*
	 * A pass now and then is enough to have everything in front in the end, and then nothing
	 * is wanted.
	 */
	for (i = 0; i < 4 * 64; i++) {
		refill(w);
		give(w, 3, i / 4 * LEAF + 16 + i % 4, 0);
	}
	i = slow(w);
	refill(w);
	assert_int_equal(fpt_wanted(&w->t), 0);
	for (i = 0; i < 64; i++)
		give(w, 3, i * LEAF + 24, 0);
	i = slow(w);
	for (wanted = 0; wanted < 64; wanted++)
		give(w, 3, wanted * LEAF + 25, 0);
	assert_int_equal(slow(w), i);
	assert_int_equal(fpt_wanted(&w->t), 0);
	tracker_free(w);
}

/* A tracker that does not grow wants nothing. */
static void test_refill_others(void **state)
{
	struct fpt_config config = { .ops = &fpt_xbitmap_ops, .nr_cpus = 1, .order = 3 };
	static char memory[4096];
	struct fpt_mem m = { memory, sizeof(memory), false };
	struct fpt t;

	(void)state;
	assert_int_equal(fpt_init(&t, &config, &m), FPT_OK);
	assert_int_equal(fpt_wanted(&t), 0);
	assert_int_equal(fpt_refill(&t, &m), FPT_OK);
}

static void test_cancel(void **state)
{
	struct tracker *w = tracker_new(2, 3, 64);
	unsigned int order, i;

	(void)state;
	add_range(w, 0, 8 << 12);
	for (order = 0; order <= 12; order++) {
		fpt_pfn_t nr = 1ul << order;

		/* Aligned and not. */
		for (i = 0; i < 2; i++) {
			fpt_pfn_t pfn = nr + i * (nr / 2 + 5);

			give(w, 0, pfn, order);
			take(w, 0, pfn, order);
			fpt_bitmap_drain(&w->t);
			check_back(w, pfn, nr, false);
			/* The first and the last page alone. */
			give(w, 0, pfn, order);
			take(w, 0, pfn, 0);
			if (nr > 1)
				take(w, 0, pfn + nr - 1, 0);
			fpt_bitmap_drain(&w->t);
			assert_false(is_set(w, pfn));
			assert_false(is_set(w, pfn + nr - 1));
			if (nr > 2)
				check_back(w, pfn + 1, nr - 2, true);
			/* Outside of it nothing. */
			check_back(w, pfn - 1, 1, false);
			check_back(w, pfn + nr, 64, false);
			/* Drained: an alloc finds nothing here, and leaves the back as it is. */
			if (nr > 2)
				take(w, 0, pfn + 1, 0);
			fpt_bitmap_drain(&w->t);
			if (nr > 2)
				check_back(w, pfn + 1, nr - 2, true);
			fpt_update_back(&w->t, 0, pfn, nr, false);
		}
	}
	/* Free of what is set already; then taken once. */
	give(w, 0, 9, 0);
	give(w, 0, 8, 3);
	take(w, 0, 9, 0);
	fpt_bitmap_drain(&w->t);
	assert_true(is_set(w, 8));
	assert_false(is_set(w, 9));
	check_back(w, 10, 6, true);
	assert_int_equal(slow(w), 0);
	tracker_free(w);
}

/* A guest of one owner per page, for passes. */
static bool held[4096];

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	fpt_pfn_t i;

	(void)ctx;
	for (i = 0; i < r.nr; i++)
		if (held[r.pfn + i])
			return FPT_USED;
	return FPT_TAKEN;
}

static void put_back(void *ctx, struct fpt_range r)
{
	(void)ctx;
	(void)r;
}

static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	return !held[pfn];
}

static const struct fpt_owner_ops owner = { isolate, put_back, is_free };

static unsigned int pass(struct fpt_reporter *rep)
{
	struct fpt_batch b;
	unsigned int n = 0;

	fpt_virtual_cpu = 0;
	fpt_pass_begin(rep);
	while (fpt_pass_next(rep, &b)) {
		n += b.nr;
		fpt_pass_complete(rep, &b, true);
	}
	return n;
}

/* Freed on one CPU, taken on another: a stale hint, refused once and then gone. */
static void test_cross_cpu(void **state)
{
	struct tracker *w = tracker_new(2, 3, 4);
	struct fpt_reporter rep;

	(void)state;
	memset(held, 0, sizeof(held));
	add_range(w, 0, 64);
	assert_int_equal(fpt_reporter_init(&rep, &w->t, &owner, NULL,
			&(struct fpt_policy){ .batch = 4, .max_in_flight = 64 }), FPT_OK);
	give(w, 0, 0, 3);
	held[2] = true;
	take(w, 1, 2, 0);
	assert_int_equal(pass(&rep), 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_USED], 8);
	assert_false(is_set(w, 2));
	check_back(w, 0, 2, true);
	check_back(w, 3, 5, true);
	assert_int_equal(pass(&rep), 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_CLAIMED], 8);
	give(w, 1, 2, 0);
	held[2] = false;
	assert_int_equal(pass(&rep), 1);
	/* The same CPU: no hint at all. */
	give(w, 0, 8, 3);
	held[10] = true;
	take(w, 0, 10, 0);
	assert_int_equal(pass(&rep), 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_CLAIMED], 16);
	tracker_free(w);
}

/* Cancelled is not untouched: what was taken and freed again is reported again. */
static void test_touched(void **state)
{
	struct tracker *w = tracker_new(2, 3, 4);
	struct fpt_reporter rep;
	unsigned int i;

	(void)state;
	memset(held, 0, sizeof(held));
	add_range(w, 0, 64);
	assert_int_equal(fpt_reporter_init(&rep, &w->t, &owner, NULL,
			&(struct fpt_policy){ .batch = 4, .max_in_flight = 64 }), FPT_OK);
	give(w, 0, 0, 3);
	assert_int_equal(pass(&rep), 1);
	assert_int_equal(pass(&rep), 0);
	for (i = 0; i < 4; i++) {
		take(w, i & 1, 5, 0);
		give(w, i & 1, 5, 0);
		take(w, i & 1, 5, 0);
		give(w, i >> 1, 5, 0);
		assert_int_equal(pass(&rep), 1);
		assert_int_equal(pass(&rep), 0);
	}
	assert_int_equal(stats_of(w).count[FPT_STAT_REFAULTED], 4 * 8);
	tracker_free(w);
}

/*
 * Neighbours, holes, edges, the last page: leaves are never shared, and every page comes back as
 * itself.
 */
static void test_ranges(void **state)
{
	static const unsigned int orders[] = { 0, 3, 6, 9 };
	static struct { fpt_pfn_t pfn, nr; } ranges[6];
	struct tracker *w;
	fpt_pfn_t page, last = ~0ul, block;
	size_t o, i;
	unsigned long outside;

	(void)state;
	for (o = 0; o < COUNT(orders); o++) {
		block = 1ul << orders[o];
		w = tracker_new(2, orders[o], 64);
		ranges[0].pfn = 7 * block + block / 2;
		ranges[0].nr = 3 * block + 5;
		ranges[1].pfn = 16 * block;
		ranges[1].nr = block;
		ranges[2].pfn = 17 * block;
		ranges[2].nr = LEAF + 1;
		ranges[3].pfn = (1ul << 40) * (block / 2 + 1);
		ranges[3].nr = LEAF;
		ranges[4].pfn = last - (LEAF + 2);
		ranges[4].nr = LEAF + 3;
		ranges[5].pfn = 3 * block;
		ranges[5].nr = 1;
		for (i = 0; i < COUNT(ranges); i++)
			add_range(w, ranges[i].pfn, ranges[i].nr);
		/* Every other page, then the rest, on the other CPU. */
		for (i = 0; i < COUNT(ranges); i++)
			for (page = 0; page < ranges[i].nr; page += 2)
				give(w, 0, ranges[i].pfn + page, 0);
		fpt_bitmap_drain(&w->t);
		for (i = 0; i < COUNT(ranges); i++)
			for (page = 0; page < ranges[i].nr; page++)
				assert_int_equal(is_set(w, ranges[i].pfn + page), page % 2 == 0);
		for (i = 0; i < COUNT(ranges); i++)
			for (page = 1; page < ranges[i].nr; page += 2)
				give(w, 1, ranges[i].pfn + page, 0);
		fpt_bitmap_drain(&w->t);
		for (i = 0; i < COUNT(ranges); i++)
			check_back(w, ranges[i].pfn, ranges[i].nr, true);
		assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], 0);
		/* Across an edge: what is inside counts, freed and taken. */
		fpt_update_back(&w->t, 0, ranges[0].pfn, 4, false);
		give(w, 0, ranges[0].pfn - 4, 3);
		take(w, 0, ranges[0].pfn - 5, 3);
		fpt_bitmap_drain(&w->t);
		check_back(w, ranges[0].pfn, 3, false);
		assert_true(is_set(w, ranges[0].pfn + 3));
		outside = ranges[0].pfn == ranges[5].pfn + 4 ? 3 + 4 : 4 + 5;
		if (block > 8)
			assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], outside);
		/* From one range into the next: the second pair has no hole. */
		fpt_update_back(&w->t, 0, ranges[2].pfn - 1, 2, false);
		give(w, 1, ranges[2].pfn - 1, 1);
		assert_false(is_set(w, ranges[2].pfn));
		fpt_bitmap_drain(&w->t);
		check_back(w, ranges[2].pfn - 1, 2, true);
		assert_int_equal(slow(w), 0);
		tracker_free(w);
	}
}

/* A range that comes when others are in use: its leaves come behind theirs. */
static void test_late_range(void **state)
{
	struct tracker *w = tracker_new(1, 3, 8);
	unsigned int i;

	(void)state;
	fpt_bitmap_drain(&w->t);
	give(w, 0, 0, 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_OUTSIDE], 1);
	for (i = 0; i < 6; i++) {
		add_range(w, i * LEAF, LEAF);
		give(w, 0, i * LEAF + i, 0);
		assert_true(drained(w, i * LEAF + i));
	}
	tracker_free(w);
}

/* More pages than the directory can name. */
static void test_beyond(void **state)
{
	const unsigned long leaves = fpt_bitmap_first(FPT_BITMAP_MAX_LEVELS);
	struct tracker *w;

	(void)state;
	if (leaves > 100000)
		skip();
	w = tracker_new(1, 3, leaves + 1);
	add_range(w, 0, (leaves + 3) * LEAF);
	give(w, 0, leaves * LEAF - 1, 0);
	assert_int_equal(slow(w), 0);
	give(w, 0, leaves * LEAF - 2, 3);
	give(w, 0, (leaves + 1) * LEAF + 1, 0);
	give(w, 0, (leaves + 2) * LEAF, 0);
	assert_int_equal(slow(w), 3);
	assert_false(is_set(w, leaves * LEAF - 1));
	check_back(w, leaves * LEAF, 6, true);
	assert_true(is_set(w, (leaves + 1) * LEAF + 1));
	assert_true(is_set(w, (leaves + 2) * LEAF));
	take(w, 0, leaves * LEAF - 2, 3);
	fpt_bitmap_drain(&w->t);
	check_back(w, leaves * LEAF - 2, 8, false);
	refill(w);
	assert_int_equal(fpt_wanted(&w->t), 0);
	tracker_free(w);
}

/* A level with more words of dirty bits than a word has bits. */
static void test_folded(void **state)
{
	unsigned long first, words,
		w64[] = { 0, 1, FPT_WORD_BITS, FPT_WORD_BITS + 1, 2 * FPT_WORD_BITS - 1 };
	struct tracker *w;
	unsigned int k = 0;
	size_t i;

	(void)state;
	while (k < FPT_BITMAP_MAX_LEVELS && fpt_bitmap_words(k) < 2 * FPT_WORD_BITS)
		k++;
	if (k == FPT_BITMAP_MAX_LEVELS)
		skip();
	first = fpt_bitmap_first(k);
	words = fpt_bitmap_words(k);
	w = tracker_new(1, 9, 64);
	add_range(w, 0, (first + words * FPT_WORD_BITS) * LEAF);
	for (i = 0; i < COUNT(w64); i++) {
		give(w, 0, (first + w64[i] * FPT_WORD_BITS + i) * LEAF + 7, 0);
		refill(w);
		give(w, 0, (first + w64[i] * FPT_WORD_BITS + i) * LEAF + 8, 0);
	}
	assert_int_equal(slow(w), 1);
	fpt_bitmap_drain(&w->t);
	for (i = 0; i < COUNT(w64); i++)
		check_back(w, (first + w64[i] * FPT_WORD_BITS + i) * LEAF + 7, 2, true);
	tracker_free(w);
}

static int init_error(unsigned long leaves, size_t less)
{
	struct fpt_config config = {
		.ops = &fpt_bitmap_ops, .nr_cpus = 2, .order = 9, .bitmap_leaves = leaves
	};
	size_t size = leaves > 1000 ? 65536 : fpt_size(&config) - less;
	char *memory = malloc(size);
	struct fpt_mem m = { memory, size, false };
	struct fpt t;
	int error = fpt_init(&t, &config, &m);

	free(memory);
	return error;
}

static void test_init(void **state)
{
	(void)state;
	assert_int_equal(init_error(0, 0), FPT_OK);
	assert_int_equal(init_error(1, 0), FPT_OK);
	assert_int_equal(init_error(7, 128), FPT_ENOMEM);
	assert_int_equal(init_error(7, 1000), FPT_ENOMEM);
	assert_int_equal(init_error(FPT_BITMAP_MAX_LEAVES, 0), FPT_ENOMEM);
	assert_int_equal(init_error(FPT_BITMAP_MAX_LEAVES + 1, 0), FPT_EINVAL);
	assert_int_equal(init_error(~0ul, 0), FPT_EINVAL);
}

/* Random steps beside a model: what each CPU's bitmap and the back hold. */
#define CPUS 3u
#define PAGES 6000u

static struct {
	bool held[PAGES], back[PAGES], front[CPUS][PAGES];
} model;

static unsigned long long seed;

static unsigned int chance(unsigned int n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)((seed >> 33) % n);
}

static void lockstep(unsigned long leaves, bool ample)
{
	struct tracker *w = tracker_new(CPUS, 3, leaves);
	unsigned int page, order, cpu, step, i, k;
	unsigned long freed = 0, allocated = 0;

	memset(&model, 0, sizeof(model));
	memset(model.held, true, sizeof(model.held));
	/* Two ranges, the second in the middle of a leaf, had it not one of its own. */
	add_range(w, 0, 2048);
	add_range(w, 2048, PAGES - 2048);
	for (step = 0; step < 4000; step++) {
		page = chance(PAGES);
		order = chance(4) ? 0 : chance(11);
		cpu = chance(CPUS);
		for (; order && page + (1u << order) > PAGES; order--)
			;
		for (i = page; i < page + (1u << order) && model.held[i] == model.held[page]; i++)
			;
		while (1u << order > i - page)
			order--;
		for (i = page; i < page + (1u << order); i++) {
			model.held[i] = !model.held[i];
			model.front[cpu][i] = !model.held[i];
		}
		*(model.held[page] ? &allocated : &freed) += 1ul << order;
		if (model.held[page])
			take(w, cpu, page, order);
		else
			give(w, cpu, page, order);
		if (chance(16))
			continue;
		if (!ample && chance(2)) {
			if (chance(2)) {
				refill(w);
			} else {
				struct fpt_mem m = donate(w, chance(4000), false);

				(void)fpt_refill(&w->t, &m);
			}
		}
		fpt_virtual_cpu = chance(CPUS);
		fpt_bitmap_drain(&w->t);
		for (i = 0; i < PAGES; i++) {
			for (k = 0; k < CPUS; k++) {
				model.back[i] |= model.front[k][i];
				model.front[k][i] = false;
			}
			if (ample ? is_set(w, i) != model.back[i] : !is_set(w, i) && !model.held[i])
				fail_msg("step %u: page %u", step, i);
			/* Without room the back is exact, which the model is not. */
			if (!ample && is_set(w, i) && !model.back[i])
				fail_msg("step %u: page %u was never freed", step, i);
		}
	}
	assert_int_equal(stats_of(w).count[FPT_STAT_FREED], freed);
	assert_int_equal(stats_of(w).count[FPT_STAT_ALLOCATED], allocated);
	assert_int_equal(slow(w) == 0, ample);
	tracker_free(w);
}

static void test_lockstep(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 1; i < 6; i++) {
		seed = i;
		lockstep((PAGES + 2 * FPT_XBITMAP_INDEX_ALIGN) / LEAF, true);
		if (LEAF < 1000)
			lockstep(1 + chance(4), false);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_exhausted),
		cmocka_unit_test(test_refill),
		cmocka_unit_test(test_refill_others),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cross_cpu),
		cmocka_unit_test(test_touched),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_late_range),
		cmocka_unit_test(test_beyond),
		cmocka_unit_test(test_folded),
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_lockstep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#elif defined(FPT_MODEL)

void (*fpt_model_hook)(const struct fpt_model_access *access);
unsigned int fpt_model_cpu;
void (*fpt_model_rcu_synchronize)(void);

/*
 * Every schedule. Blocks are single pages, so that each page that is free in the end is owed to
 * the host for itself. Leaves have two words, level 0 one leaf.
 */
enum what {
	END,
	FREE,		/* a page that this thread holds */
	ALLOC,		/* if it is free */
	USE,		/* ALLOC and FREE */
	DRAIN,
	PASS,
	REFILL,
};

struct op {
	enum what what;
	unsigned int page, order;
};

enum { FREE_PAGE, HELD_PAGE, ON_ITS_WAY, ISOLATED_PAGE };

#define MAX_OPS 5
#define X_PAGES 768u

struct scenario {
	const char *name;
	unsigned long leaves;		/* room for so many, and their levels */
	size_t taken;			/* of that, bytes gone already */
	unsigned int max_slow;
	unsigned int cpu[EXPLORE_MAX_THREADS];
	int bound;
	bool drained;			/* with sections: at the end the back has it all */
	struct op before[MAX_OPS];
	struct op thread[EXPLORE_MAX_THREADS][MAX_OPS];
};

static struct {
	struct fpt t;
	struct fpt_reporter rep[EXPLORE_MAX_THREADS + 1];
	bool fresh[X_PAGES];		/* reported, untouched since */
	fpt_atomic_t page[X_PAGES];
	char extra[1024] __attribute__((aligned(FPT_CACHE_LINE)));	/* for REFILL */
	char memory[12 * 1024] __attribute__((aligned(FPT_CACHE_LINE)));
} x, x_image;

static const struct scenario *s;
static struct explore *running;
static bool drains;		/* in some thread */

#define wrong(...) explore_fail(EXPLORE_WRONG, __VA_ARGS__)

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	(void)ctx;
	if (fpt_cas(&x.page[r.pfn], FREE_PAGE, ISOLATED_PAGE, acq_rel)) {
		x.fresh[r.pfn] = true;
		return FPT_TAKEN;
	}
	return fpt_load(&x.page[r.pfn], acquire) == HELD_PAGE ? FPT_USED : FPT_BUSY;
}

static void put_back(void *ctx, struct fpt_range r)
{
	(void)ctx;
	fpt_store(&x.page[r.pfn], FREE_PAGE, release);
}

static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	return fpt_load(&x.page[pfn], acquire) != HELD_PAGE;
}

static const struct fpt_owner_ops owner = { isolate, put_back, is_free };

static bool op_alloc(unsigned int page, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < 1u << order; i++)
		if (!fpt_cas(&x.page[page + i], FREE_PAGE, ON_ITS_WAY, acq_rel)) {
			while (i--)
				fpt_store(&x.page[page + i], FREE_PAGE, release);
			return false;
		}
	for (i = 0; i < 1u << order; i++)
		x.fresh[page + i] = false;
	fpt_alloc(&x.t, page, order);
	for (i = 0; i < 1u << order; i++)
		fpt_store(&x.page[page + i], HELD_PAGE, release);
	return true;
}

static void op_free(unsigned int page, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < 1u << order; i++)
		fpt_store(&x.page[page + i], ON_ITS_WAY, release);
	fpt_free(&x.t, page, order);
	for (i = 0; i < 1u << order; i++)
		fpt_store(&x.page[page + i], FREE_PAGE, release);
}

static void op_pass(struct fpt_reporter *rep)
{
	struct fpt_batch b;

	fpt_pass_begin(rep);
	while (fpt_pass_next(rep, &b))
		fpt_pass_complete(rep, &b, true);
}

static void run_ops(const struct op *op, unsigned int id)
{
	struct fpt_mem m = { x.extra, sizeof(x.extra), true };

	for (; op->what != END; op++) {
		if (op->what == FREE)
			op_free(op->page, op->order);
		if (op->what == ALLOC)
			op_alloc(op->page, op->order);
		if (op->what == USE && op_alloc(op->page, op->order))
			op_free(op->page, op->order);
		if (op->what == DRAIN)
			fpt_bitmap_drain(&x.t);
		if (op->what == PASS)
			op_pass(&x.rep[id]);
		if (op->what == REFILL && fpt_wanted(&x.t))
			fpt_refill(&x.t, &m);
	}
}

static void run_thread(void *arg, unsigned int id)
{
	(void)arg;
	run_ops(s->thread[id], id);
}

/* B3: nothing that is in use is in use twice, and none of it is outside of the extents. */
static void check_slots(void)
{
	struct fpt_bitmap *b = x.t.front[FPT_SLOT_BITMAP];
	unsigned int cpu, k, n = 0, i;
	unsigned long at[64], bytes[64], j;

	for (cpu = 0; cpu < x.t.nr_cpus; cpu++)
		for (k = 0; k < FPT_BITMAP_MAX_LEVELS; k++) {
			unsigned long level = b->cpu[cpu].level[k].at.v;
			struct fpt_bitmap_place p = { k, 0, NULL, NULL };

			if (level == FPT_BITMAP_TAKING && !running->froze)
				wrong("a level stays reserved");
			if (level <= FPT_BITMAP_TAKING)
				continue;
			at[n] = level;
			bytes[n++] = fpt_bitmap_level_bytes(k);
			fpt_bitmap_at(&p, level);
			for (i = 0; i < FPT_BITMAP_ENTRIES << k; i++) {
				unsigned long leaf = p.entry[i].leaf.v;

				if (leaf & FPT_BITMAP_TAKING && !running->froze)
					wrong("a leaf stays reserved, or closed");
				if (leaf <= FPT_BITMAP_TAKING)
					continue;
				at[n] = leaf & ~FPT_BITMAP_CLOSED;
				bytes[n++] = FPT_BITMAP_LEAF_BYTES;
			}
		}
	for (i = 0; i < n; i++)
		for (j = 0; j < n; j++)
			if (i != j && at[i] < at[j] + bytes[j] && at[j] < at[i] + bytes[i])
				wrong("memory is in two places");
}

/* Two passes: what is free and untouched is reported. */
static void check(void *arg)
{
	struct fpt_stats stats;
	unsigned int i;

	(void)arg;
	check_slots();
	fpt_get_stats(&x.t, &stats);
	if (stats.count[FPT_STAT_DROPPED])
		wrong("dropped");
	/* With sections what comes while its leaf is drained is slow, too. */
	if (stats.count[FPT_STAT_SLOW] > s->max_slow && (fpt_model_no_sections || !drains))
		wrong("%lu slow events", stats.count[FPT_STAT_SLOW]);
	if (stats.memory_used > stats.memory_donated)
		wrong("more memory used than donated");
	for (i = 0; s->drained && !fpt_model_no_sections && i < X_PAGES; i++)
		if (x.page[i].v == FREE_PAGE && !fpt_xbitmap_test(&x.t.back, i))
			wrong("page %u was not drained", i);
	op_pass(&x.rep[EXPLORE_MAX_THREADS]);
	op_pass(&x.rep[EXPLORE_MAX_THREADS]);
	for (i = 0; i < X_PAGES; i++) {
		if (x.page[i].v == FREE_PAGE && !x.fresh[i])
			wrong("page %u is free and was not found", i);
		/* With the mark it is not claimed, and so not found to be used. */
		if (x.page[i].v == HELD_PAGE && fpt_xbitmap_test(&x.t.back, i) &&
		    !fpt_xbitmap_test_block(x.t.back.range[0].reported, i))
			wrong("page %u is held, and its hint was not repaired", i);
	}
}

static void setup(void *arg)
{
	(void)arg;
	memcpy(&x, &x_image, sizeof(x));
}

static unsigned int build(const struct scenario *scenario)
{
	struct fpt_config config = { .ops = &fpt_bitmap_ops, .nr_cpus = 2, .order = 0,
				     .bitmap_leaves = scenario->leaves };
	struct fpt_mem m = { x.memory, sizeof(x.memory), false };
	unsigned int i, k, nr_threads = 0;

	s = scenario;
	drains = false;
	memset(&x, 0, sizeof(x));
	assert_int_equal(fpt_init(&x.t, &config, &m), FPT_OK);
	assert_int_equal(fpt_add_range(&x.t, 0, X_PAGES, &m), FPT_OK);
	for (i = 0; i <= EXPLORE_MAX_THREADS; i++)
		assert_int_equal(fpt_reporter_init(&x.rep[i], &x.t, &owner, NULL,
				&(struct fpt_policy){ .batch = 2, .max_in_flight = 2 }), FPT_OK);
	for (i = 0; i < X_PAGES; i++)
		x.page[i].v = HELD_PAGE;
	for (i = 0; i < 2; i++)
		((struct fpt_bitmap *)x.t.front[FPT_SLOT_BITMAP])->cpu[i].first->used.v = s->taken;
	run_ops(s->before, 0);
	memcpy(&x_image, &x, sizeof(x));
	for (i = 0; i < EXPLORE_MAX_THREADS; i++) {
		if (s->thread[i][0].what != END)
			nr_threads = i + 1;
		for (k = 0; k < MAX_OPS; k++)
			drains |= s->thread[i][k].what == DRAIN || s->thread[i][k].what == PASS;
	}
	return nr_threads;
}

static void explore_scenario(const struct scenario *scenario, struct explore *e)
{
	e->name = explore_name(e, scenario->name);
	e->nr_threads = build(scenario);
	memcpy(e->cpu, scenario->cpu, sizeof(e->cpu));
	e->setup = setup;
	e->thread = run_thread;
	e->check = check;
	e->bound = scenario->bound;
	/* Sections conflict with whatever is done on their CPU: too many orders. */
	if (!fpt_model_no_sections && (e->bound < 0 || e->bound > 2))
		e->bound = e->nr_threads > 2 ? 2 : 3;
	e->bound = explore_bound(e->bound);
	e->quiet_memory[0].first = (const char *)x.t.percpu;
	e->quiet_memory[0].end = (const char *)(x.t.percpu + x.t.nr_cpus);
	e->quiet_memory[1].first = (const char *)&x.t.back.nr_ranges;
	e->quiet_memory[1].end = e->quiet_memory[1].first + sizeof(x.t.back.nr_ranges);
	running = e;
	explore(e);
}

/* Bytes: of levels 0 and 1, and half of level 2's. */
#define LEVEL FPT_CACHE_LINE
#define EXHAUST .bound = -1

/*
 * Pages 0-63 and 64-127: two grains of leaf 0; 128: leaf 1, in level 1; 384: leaf 3, the first in
 * level 2.
 */
static const struct scenario scenarios[] = {
	{ .name = "one word, drain",
	  .leaves = 2,
	  .bound = 3,
	  .before = { { FREE, 5, 0 }, { DRAIN, 0, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "one word, dirty, drain",
	  .leaves = 2,
	  .bound = 3,
	  .before = { { FREE, 5, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "two grains, drain",
	  .leaves = 2,
	  .bound = 3,
	  .before = { { FREE, 5, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 64, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "two clean grains, drain",
	  .leaves = 2,
	  .bound = 3,
	  .before = { { FREE, 5, 0 }, { FREE, 69, 0 }, { DRAIN, 0, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 64, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "two leaves, drain",
	  .leaves = 4,
	  .bound = 2,
	  .before = { { FREE, 5, 0 }, { FREE, 128, 0 } },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 129, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "leaves of one level, drain",
	  .leaves = 4,
	  .bound = 3,
	  .before = { { FREE, 130, 0 }, { FREE, 256, 0 }, { DRAIN, 0, 0 } },
	  .thread = { { { FREE, 129, 0 } }, { { FREE, 257, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "two drains",
	  .leaves = 2,
	  .bound = 2,
	  .before = { { FREE, 5, 0 } },
	  .thread = { { { FREE, 0, 0 }, { FREE, 64, 0 } },
		      { { DRAIN, 0, 0 } },
		      { { DRAIN, 0, 0 } } } },
	{ .name = "drain after drain",
	  .leaves = 2,
	  EXHAUST,
	  .before = { { FREE, 5, 0 } },
	  .thread = { { { FREE, 0, 0 }, { FREE, 64, 0 } }, { { DRAIN, 0, 0 }, { DRAIN, 0, 0 } } } },
	{ .name = "two CPUs, drain",
	  .leaves = 2,
	  .bound = 2,
	  .before = { { FREE, 5, 0 } },
	  .cpu = { 0, 1 },
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "two CPUs, dirty, drain",
	  .leaves = 2,
	  .bound = 3,
	  .before = { { FREE, 5, 0 } },
	  .cpu = { 0, 1 },
	  .thread = { { { FREE, 0, 0 }, { FREE, 1, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "two drains after it",
	  .leaves = 4,
	  .bound = 3,
	  .drained = true,
	  .before = { { FREE, 128, 0 }, { FREE, 256, 0 }, { DRAIN, 0, 0 }, { FREE, 128, 0 } },
	  .cpu = { 0, 1 },
	  .thread = { { { FREE, 257, 0 }, { DRAIN, 0, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "two CPUs, two drains",
	  .leaves = 2,
	  .bound = 3,
	  .before = { { FREE, 5, 0 } },
	  .cpu = { 0, 1 },
	  .thread = { { { FREE, 0, 0 } }, { { DRAIN, 0, 0 }, { DRAIN, 0, 0 } } } },
	{ .name = "two CPUs, new leaf, drain",
	  .leaves = 4,
	  .bound = 3,
	  .before = { { FREE, 128, 0 }, { FREE, 256, 0 }, { DRAIN, 0, 0 }, { FREE, 128, 0 } },
	  .cpu = { 0, 1 },
	  .thread = { { { FREE, 257, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "across leaves, drain",
	  .leaves = 4,
	  EXHAUST,
	  .before = { { FREE, 5, 0 } },
	  .thread = { { { FREE, 126, 2 } }, { { DRAIN, 0, 0 } } } },

	/* The first pages of a leaf, of a level. */
	{ .name = "one new leaf",
	  .leaves = 2,
	  EXHAUST,
	  .max_slow = 1,
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } } } },
	{ .name = "one new leaf, drain",
	  .leaves = 2,
	  .bound = 2,
	  .max_slow = 1,
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 64, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "new leaves of one level",
	  .leaves = 4,
	  .bound = 2,
	  .max_slow = 1,
	  .thread = { { { FREE, 128, 0 } }, { { FREE, 256, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "new levels",
	  .leaves = 4,
	  .bound = 2,
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 128, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "three at one leaf",
	  .leaves = 2,
	  .bound = 2,
	  .max_slow = 2,
	  .thread = { { { FREE, 0, 0 } }, { { FREE, 1, 0 } }, { { FREE, 2, 0 } } } },
	{ .name = "last room",
	  .leaves = 7,
	  .taken = 384 - 2 * LEVEL - 2 * FPT_BITMAP_LEAF_BYTES,
	  .max_slow = 1,
	  .bound = 3,
	  .before = { { FREE, 384, 0 } },
	  .thread = { { { FREE, 512, 0 } }, { { FREE, 640, 0 } } } },
	{ .name = "no room for a leaf",
	  .leaves = 4,
	  .taken = 320 - LEVEL,
	  .max_slow = 4,
	  .bound = 2,
	  .thread = { { { FREE, 0, 0 }, { ALLOC, 0, 0 } },
		      { { FREE, 128, 0 } },
		      { { DRAIN, 0, 0 } } } },
	{ .name = "no room, refill",
	  .leaves = 1,
	  .taken = LEVEL + FPT_BITMAP_LEAF_BYTES,
	  .max_slow = 6,
	  .bound = 2,
	  .before = { { FREE, 0, 0 } },
	  .thread = { { { USE, 0, 0 }, { FREE, 128, 0 } },
		      { { FREE, 1, 0 } },
		      { { REFILL, 0, 0 } } } },
	{ .name = "no room, refill, two CPUs",
	  .leaves = 1,
	  .taken = LEVEL + FPT_BITMAP_LEAF_BYTES,
	  .max_slow = 6,
	  .bound = 2,
	  .before = { { FREE, 0, 0 } },
	  .cpu = { 0, 1 },
	  .thread = { { { USE, 0, 0 } },
		      { { FREE, 1, 0 } },
		      { { REFILL, 0, 0 }, { DRAIN, 0, 0 } } } },

	/* Cancelled, or in a drain's hands. */
	{ .name = "use, drain",
	  .leaves = 2,
	  EXHAUST,
	  .before = { { FREE, 0, 0 } },
	  .thread = { { { USE, 0, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "alloc, drain",
	  .leaves = 2,
	  .bound = 3,
	  .before = { { FREE, 0, 1 } },
	  .thread = { { { ALLOC, 0, 0 } }, { { USE, 1, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "use of neighbours",
	  .leaves = 2,
	  EXHAUST,
	  .before = { { FREE, 0, 1 } },
	  .thread = { { { USE, 0, 0 } }, { { USE, 1, 0 } } } },
	{ .name = "use by both, drain",
	  .leaves = 2,
	  .bound = 3,
	  .before = { { FREE, 0, 0 } },
	  .thread = { { { USE, 0, 0 } }, { { USE, 0, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "use by both, two CPUs, drain",
	  .leaves = 2,
	  .bound = 2,
	  .before = { { FREE, 0, 0 } },
	  .cpu = { 0, 1 },
	  .thread = { { { USE, 0, 0 } }, { { USE, 0, 0 } }, { { DRAIN, 0, 0 } } } },
	{ .name = "use of many, drain",
	  .leaves = 2,
	  .bound = 2,
	  .before = { { FREE, 62, 2 } },
	  .thread = { { { USE, 62, 2 } }, { { DRAIN, 0, 0 } }, { { FREE, 70, 0 } } } },

	/* Touched is not toggled: a use that cancels must be reported again. */
	{ .name = "reported, use, pass",
	  .leaves = 2,
	  .bound = 3,
	  .before = { { FREE, 0, 0 }, { PASS, 0, 0 } },
	  .thread = { { { USE, 0, 0 }, { USE, 0, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "reported, use, two CPUs, pass",
	  .leaves = 2,
	  .bound = 2,
	  .cpu = { 0, 1 },
	  .before = { { FREE, 0, 0 }, { PASS, 0, 0 } },
	  .thread = { { { USE, 0, 0 } }, { { USE, 0, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "use, two reporters",
	  .leaves = 2,
	  .bound = 2,
	  .before = { { FREE, 0, 0 } },
	  .thread = { { { USE, 0, 0 } }, { { PASS, 0, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "stale, forget",
	  .leaves = 2,
	  .bound = 3,
	  .cpu = { 1, 0 },
	  .before = { { FREE, 0, 0 }, { DRAIN, 0, 0 } },
	  .thread = { { { ALLOC, 0, 0 }, { FREE, 0, 0 } }, { { PASS, 0, 0 } } } },
};

static void test_scenario(void **state)
{
	explore_twice(explore_test, explore_scenario, *state);
}

/* I4: thread 0 stops for ever, at each of its steps; the others' pages are found. */
static const struct scenario freezes[] = {
	{ .name = "freeze free",
	  .leaves = 2,
	  .bound = 1,
	  .max_slow = 3,
	  .thread = { { { FREE, 0, 0 } },
		      { { FREE, 1, 0 }, { FREE, 64, 0 } },
		      { { FREE, 2, 0 }, { PASS, 0, 0 } } } },
	{ .name = "freeze free, dirty",
	  .leaves = 2,
	  .bound = 1,
	  .before = { { FREE, 5, 0 }, { DRAIN, 0, 0 } },
	  .thread = { { { FREE, 0, 0 } },
		      { { FREE, 1, 0 } },
		      { { FREE, 2, 0 }, { PASS, 0, 0 } } } },
	{ .name = "freeze use",
	  .leaves = 2,
	  .bound = 1,
	  .before = { { FREE, 0, 1 } },
	  .thread = { { { USE, 0, 0 } }, { { USE, 1, 0 } }, { { PASS, 0, 0 } } } },
	{ .name = "freeze last room",
	  .leaves = 7,
	  .taken = 384 - 2 * LEVEL - 2 * FPT_BITMAP_LEAF_BYTES,
	  .bound = 1,
	  .max_slow = 3,
	  .before = { { FREE, 384, 0 } },
	  .thread = { { { FREE, 512, 0 } },
		      { { FREE, 640, 0 } },
		      { { FREE, 513, 0 }, { PASS, 0, 0 } } } },
};

static void test_freeze(void **state)
{
	explore_twice(explore_test_frozen, explore_scenario, *state);
}

/* I6. A hook per CPU in turn; the CPUs' pages are neighbours; every CPU also takes what its neighbour freed. */
static void private_lines(void)
{
	unsigned int nr_cpus, i, pages;

	for (nr_cpus = 1; nr_cpus <= 64; nr_cpus++) {
		struct tracker *w = tracker_new(nr_cpus, 9, 40);

		pages = nr_cpus * 4 * 7;
		add_range(w, 0, pages);
		count_begin();
		for (i = 0; i < pages; i++) {
			fpt_model_cpu = i % nr_cpus;
			fpt_free(&w->t, i, 0);
			if (i % 3 == 0)
				fpt_alloc(&w->t, i, 0);
			fpt_model_cpu = (i + 1) % nr_cpus;
			if (i % 3 == 1)
				fpt_alloc(&w->t, i, 0);
		}
		count_end();
		assert_true(counts.writes > pages);
		assert_int_equal(slow(w), 0);
		assert_int_equal(counts.shared, 0);
		tracker_free(w);
		/* Refilled memory is as private as the first. */
		w = tracker_new(nr_cpus, 9, 1);
		add_range(w, 0, pages);
		for (i = 0; i < nr_cpus; i++)
			front(w)->cpu[i].starved.v = fpt_bitmap_bytes(40);
		refill(w);
		count_begin();
		for (i = 0; i < pages; i++) {
			fpt_model_cpu = (i + 2) % nr_cpus;
			fpt_free(&w->t, i, 0);
		}
		count_end();
		assert_int_equal(slow(w), 0);
		assert_int_equal(counts.shared, 0);
		tracker_free(w);
	}
}

static void test_private_lines(void **state)
{
	(void)state;
	private_lines();
	fpt_model_no_sections = true;
	private_lines();
	fpt_model_no_sections = false;
}

/*
 * A drain visits what is dirty: per CPU and level a load, and below only where a bit is set. With
 * sections it looks whether anything is, then closes, then drains.
 */
static void drain_visits(void)
{
	const unsigned int nr_cpus = 64, levels = 4;
	const unsigned long looks = fpt_model_no_sections ? 1 : 3;
	struct tracker *w = tracker_new(nr_cpus, 3, 15);
	/* Which ranges, and which CPU or whether there is another drain. */
	unsigned long once, idle = 1 + 1 + nr_cpus * levels, most;
	unsigned int cpu, i;

	add_range(w, 0, 15 * LEAF);
	for (cpu = 0; cpu < nr_cpus; cpu++)
		for (i = 0; i < 15; i++) {
			fpt_model_cpu = cpu;
			fpt_free(&w->t, i * LEAF + cpu, 0);
		}
	count_begin();
	fpt_bitmap_drain(&w->t);
	assert_true(count_end() > nr_cpus * 15 * 4);
	count_begin();
	fpt_bitmap_drain(&w->t);
	assert_int_equal(count_end(), idle);
	assert_int_equal(counts.writes, 0);
	/*
	 * A page: the dirty bits, the leaf, the ranges, the words of its grain, and the back. With
	 * sections also who drains, the fence, and the leaf's slot.
	 */
	most = looks * idle + 3 + 3 + FPT_BITMAP_GRAIN_BYTES / sizeof(long) +
	       (fpt_model_no_sections ? 0 : 4 + 1 + 8);
	fpt_model_cpu = 17;
	fpt_free(&w->t, 3 * LEAF + 70, 0);
	count_begin();
	fpt_bitmap_drain(&w->t);
	once = count_end();
	assert_true(once > idle && once <= most + 16);
	assert_true(fpt_xbitmap_test(&w->t.back, 3 * LEAF + 70));
	/* Cancelled: its dirty bits are visited, the back is not. */
	fpt_free(&w->t, 3 * LEAF + 71, 0);
	fpt_alloc(&w->t, 3 * LEAF + 71, 0);
	count_begin();
	fpt_bitmap_drain(&w->t);
	assert_true(count_end() <= most);
	count_begin();
	fpt_bitmap_drain(&w->t);
	assert_int_equal(count_end(), idle);
	tracker_free(w);
}

static void test_drain_visits(void **state)
{
	(void)state;
	drain_visits();
	fpt_model_no_sections = true;
	drain_visits();
	fpt_model_no_sections = false;
}

/* Steps of a hook in its steady state, and at most. */
static void hook_steps(void)
{
	struct tracker *w = tracker_new(1, 9, 15);
	/*
	 * Tracker, CPU, counter; range: count, first pfn, count; level, entry; the word, in
	 * a section the slot before it, and the word once more; three dirty bits, looked at and
	 * set. Without sections the CPU twice.
	 */
	const unsigned long look_up = 3 + 3 + 2 + fpt_model_no_sections, dirty = 3, slot = 2 + 4 * FPT_BITMAP_ATTEMPTS + 2;
	const unsigned long word = fpt_model_no_sections ? 1 : 3;
	unsigned int order;

	add_range(w, 0, 15 * LEAF);
	fpt_free(&w->t, 0, 0);
	count_begin();
	fpt_free(&w->t, 1, 0);
	assert_int_equal(count_end(), look_up + word + dirty);
	count_begin();
	fpt_alloc(&w->t, 1, 0);
	assert_int_equal(count_end(), look_up + 1 + word);
	count_begin();
	fpt_alloc(&w->t, 1, 0);
	assert_int_equal(count_end(), look_up + 1);
	for (order = 0; order <= 10; order++) {
		unsigned long nr = 1ul << order, words = nr / FPT_WORD_BITS + 2,
			      leaves = nr / LEAF + 2;

		count_begin();
		fpt_free(&w->t, 100, order);
		assert_true(count_end() <= 3 + words * word + leaves * (2 * slot + 2 * dirty));
		fpt_alloc(&w->t, 100, order);
	}
	assert_int_equal(slow(w), 0);
	tracker_free(w);
}

static void test_hook_steps(void **state)
{
	(void)state;
	hook_steps();
	fpt_model_no_sections = true;
	hook_steps();
	fpt_model_no_sections = false;
}

/* An argument is a pattern of tests to run. */
int main(int argc, char **argv)
{
	struct CMUnitTest tests[3 + COUNT(scenarios) + COUNT(freezes) + 1] = {
		cmocka_unit_test(test_private_lines),
		cmocka_unit_test(test_drain_visits),
		cmocka_unit_test(test_hook_steps),
	};
	size_t i;

	for (i = 0; i < COUNT(scenarios); i++)
		explore_add(tests, scenarios[i].name, test_scenario, &scenarios[i]);
	for (i = 0; i < COUNT(freezes); i++)
		explore_add(tests, freezes[i].name, test_freeze, &freezes[i]);
	return explore_main("bitmap", tests, argc, argv);
}

#else

/*
 * Threads, on the machine's CPUs. With nr_cpus 1 all of them are on one CPU's bitmap, and preempt
 * each other anywhere. A small guest: pages with contents, which a host discards; a reporter
 * refills.
 */
#define THREADS 4u
#define ORDER 3u
#define BLOCKS 512u
#define T_PAGES (BLOCKS << ORDER)
#define EVENTS 200000u

/* Of a block, in one word. */
#define ISOLATED (1ul << 32)
#define OWNED (1ul << 16)
#define TAKEN 1ul

#define ON_ITS_WAY (THREADS + 1)	/* as an owner: back to the guest */

static struct {
	struct tracker *w;
	struct fpt_reporter rep;
	fpt_atomic_t block[BLOCKS];
	fpt_atomic_t owner[T_PAGES];		/* thread + 1, 0: free */
	unsigned long content[T_PAGES];		/* plain: whoever owns it, or the host */
	bool fresh[BLOCKS];			/* reported, untouched since */
	fpt_atomic_t lost, finished;
} g;

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	unsigned long b = r.pfn >> ORDER;

	(void)ctx;
	if (fpt_cas(&g.block[b], 0, ISOLATED, acq_rel)) {
		g.fresh[b] = true;
		return FPT_TAKEN;
	}
	return fpt_load(&g.block[b], acquire) / OWNED ? FPT_USED : FPT_BUSY;
}

static void put_back(void *ctx, struct fpt_range r)
{
	(void)ctx;
	fpt_fetch_and(&g.block[r.pfn >> ORDER], ~ISOLATED, release);
}

static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	return fpt_load(&g.owner[pfn], acquire) % ON_ITS_WAY == 0;
}

static const struct fpt_owner_ops owner = { isolate, put_back, is_free };

static bool page_alloc(unsigned long page, unsigned long self)
{
	unsigned long b = page >> ORDER;

	if (fpt_fetch_add(&g.block[b], TAKEN, relaxed) & ISOLATED) {
		fpt_fetch_add(&g.block[b], -TAKEN, relaxed);
		return false;
	}
	/* Acquire: what the host and the last owner did is over. */
	(void)fpt_fetch_or(&g.block[b], 0, acquire);
	if (!fpt_cas(&g.owner[page], 0, self, acq_rel)) {
		fpt_fetch_add(&g.block[b], -TAKEN, relaxed);
		return false;
	}
	__atomic_store_n(&g.fresh[b], false, __ATOMIC_RELAXED);	/* by several owners at once */
	fpt_alloc(&g.w->t, page, 0);
	(void)fpt_fetch_add(&g.block[b], OWNED, relaxed);
	g.content[page] = page * THREADS + self;
	return true;
}

static void page_free(unsigned long page, unsigned long self)
{
	unsigned long b = page >> ORDER;

	if (g.content[page] != page * THREADS + self)
		fpt_fetch_add(&g.lost, 1, relaxed);
	fpt_fetch_add(&g.block[b], -OWNED, relaxed);
	fpt_store(&g.owner[page], ON_ITS_WAY, release);
	fpt_free(&g.w->t, page, 0);
	fpt_store(&g.owner[page], 0, release);
	(void)fpt_fetch_and(&g.block[b], ~0ul, release);
	fpt_fetch_add(&g.block[b], -TAKEN, relaxed);
}

static void *guest(void *arg)
{
	unsigned long self = (unsigned long)(uintptr_t)arg, held[64], nr = 0, i;
	unsigned long long random = self * 77;

	for (i = 0; i < EVENTS; i++) {
		unsigned long r;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		r = (unsigned long)(random >> 33);
		if (nr && (nr == COUNT(held) || r & 1)) {
			page_free(held[r / 2 % nr], self);
			held[r / 2 % nr] = held[nr - 1];
			nr--;
		} else if (page_alloc(r / 2 % T_PAGES, self)) {
			held[nr++] = r / 2 % T_PAGES;
		}
	}
	while (nr)
		page_free(held[--nr], self);
	return NULL;
}

static unsigned int pass(void)
{
	struct fpt_batch b;
	unsigned int i, n = 0, p;

	fpt_pass_begin(&g.rep);
	while (fpt_pass_next(&g.rep, &b)) {
		for (i = 0; i < b.nr; i++)
			for (p = 0; p < b.range[i].nr; p++)
				g.content[b.range[i].pfn + p] = 0;
		n += b.nr;
		fpt_pass_complete(&g.rep, &b, true);
	}
	return n;
}

static void *reporter(void *arg)
{
	unsigned int passes = 0;

	(void)arg;
	while (!fpt_load(&g.finished, acquire)) {
		if (passes++ % 3 == 2)
			refill(g.w);
		pass();
		stats_of(g.w);
	}
	return NULL;
}

static void *second_drainer(void *arg)
{
	(void)arg;
	while (!fpt_load(&g.finished, acquire)) {
		fpt_bitmap_drain(&g.w->t);
		(void)fpt_wanted(&g.w->t);
	}
	return NULL;
}

static void test_threads(void **state)
{
	const unsigned int nr_cpus = (unsigned int)(uintptr_t)*state;
	pthread_t thread[THREADS], back[2];
	unsigned long i;

	memset(&g, 0, sizeof(g));
	g.w = tracker_new(nr_cpus, ORDER, 2);
	add_range(g.w, 0, T_PAGES);
	assert_int_equal(fpt_reporter_init(&g.rep, &g.w->t, &owner, NULL,
			&(struct fpt_policy){ .batch = 4, .max_in_flight = 64 }), FPT_OK);
	for (i = 0; i < T_PAGES; i++)
		fpt_free(&g.w->t, i, 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&thread[i], NULL, guest, (void *)(uintptr_t)(i + 1)), 0);
	assert_int_equal(pthread_create(&back[0], NULL, reporter, NULL), 0);
	assert_int_equal(pthread_create(&back[1], NULL, second_drainer, NULL), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	fpt_store(&g.finished, 1, release);
	pthread_join(back[0], NULL);
	pthread_join(back[1], NULL);
	assert_int_equal(VALUE(g.lost), 0);
	pass();
	pass();
	for (i = 0; i < BLOCKS; i++)
		if (!g.fresh[i] || VALUE(g.block[i]))
			fail_msg("block %lu is free and was not reported", i);
	assert_int_equal(stats_of(g.w).count[FPT_STAT_FREED],
			 stats_of(g.w).count[FPT_STAT_ALLOCATED] + T_PAGES);
	tracker_free(g.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "threads, one CPU's bitmap", test_threads, NULL, NULL, (void *)(uintptr_t)1 },
		{ "threads, two CPUs' bitmaps", test_threads, NULL, NULL, (void *)(uintptr_t)2 },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
