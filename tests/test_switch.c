/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_switch.c - switching between trackers while hooks run (fpt_switch)
 *
 * By itself: errors, every pair of trackers there and back, the front that is kept, what a hook
 * that began under the old tracker leaves behind. In lockstep with the pool of pool.h: random
 * events, passes and switches. Under threads, in both protocols. On the model backend: under every
 * schedule with few preemptions (pool_explore.h).
 *
 * Compiled with grace periods (FPT_RCU; on the model backend the explorer's) and without, where
 * fpt_switch() cannot wait and old fronts are drained for good.
 *
 * FPT_TEST_SEEDS and FPT_TEST_STEPS make random runs longer; FPT_TEST_SECONDS is how long threads
 * run.
 */
#define POOL_MODULES 2u
#ifdef FPT_MODEL
#define POOL_MODULE_PAGES 4u
#define POOL_ORDER 1u
#define POOL_CPUS 2u
#define POOL_ENTRIES 3
#define POOL_ARENA 8192u
#include "pool_explore.h"
#else
#define POOL_MODULE_PAGES 128u
#define POOL_ORDER 3u
#define POOL_CPUS 6u
#define POOL_ENTRIES 300
#define POOL_ARENA (256u << 10)
#include "pool.h"
#endif

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#ifndef FPT_MODEL

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Two ranges, far from each other. */
static fpt_pfn_t module_pfn(unsigned int module)
{
	return ((fpt_pfn_t)module << 45) + 4096;
}

static const struct fpt_ops *const trackers[] = { &fpt_xbitmap_ops, &fpt_array_ops,
						  &fpt_bitmap_ops, &fpt_lockmap_ops,
						  &fpt_none_ops };

static void begin(const struct fpt_ops *ops, enum fpt_protocol protocol, bool exact)
{
	unsigned int i;

	pool_begin(ops, protocol);
	for (i = 0; i < POOL_MODULES; i++) {
		struct fpt_mem m = pool_donate(fpt_range_size(&pool.t, module_pfn(i),
							      POOL_MODULE_PAGES, exact));

		assert_int_equal(pool_plug(i, module_pfn(i), POOL_MODULE_PAGES, &m), FPT_OK);
	}
}

/* Everything quiet: what is free is found, and nothing is lost or counted wrongly. */
static void check_quiet(struct fpt_reporter *rep)
{
	struct fpt_stats s;
	unsigned long offered;

	pool_pass(rep, true);
	pool_pass(rep, true);
	assert_int_equal(pool_missed(), 0);
	/* Precise again: what was found to be used is not offered any more. */
	offered = pool.offered.v;
	pool_pass(rep, true);
	assert_int_equal(pool.offered.v, offered);
	assert_int_equal(pool.lost.v, 0);
	assert_int_equal(pool.wrong.v, 0);
	fpt_get_stats(&pool.t, &s);
	assert_int_equal(s.count[FPT_STAT_CLAIMED],
			 s.count[FPT_STAT_BUSY] + s.count[FPT_STAT_USED] +
				 s.count[FPT_STAT_REPORTED] + s.count[FPT_STAT_FAILED] +
				 s.count[FPT_STAT_CANCELLED]);
	assert_int_equal(s.count[FPT_STAT_OUTSIDE], 0);
	assert_true(s.memory_used <= s.memory_donated);
	assert_true(s.memory_donated <= pool.arena_used);
}

static struct fpt_stats stats(void)
{
	struct fpt_stats s;

	fpt_get_stats(&pool.t, &s);
	return s;
}

static unsigned long front_bit(const struct fpt_ops *ops)
{
	return ops->drain ? 1UL << ops->slot : 0;
}

static void test_errors(void **state)
{
	static struct fpt_ops small;
	struct fpt_config config;
	struct fpt_mem m;
	struct fpt_stats before, after;
	size_t size, i, j;

	(void)state;
	begin(&fpt_xbitmap_ops, FPT_ISOLATE, true);
	before = stats();
	config = pool.config;
	config.ops = NULL;
	assert_int_equal(fpt_switch(&pool.t, &config, NULL), FPT_EINVAL);
	/* A front for other CPUs than the hooks': its areas would not be theirs. */
	config.ops = &fpt_array_ops;
	m = pool_donate(fpt_array_ops.size(&config));
	for (config.nr_cpus = 0; config.nr_cpus <= POOL_CPUS; config.nr_cpus += POOL_CPUS - 1)
		assert_int_equal(fpt_switch(&pool.t, &config, &m), FPT_EINVAL);
	config.nr_cpus = POOL_CPUS;
	/* Beyond a bound of its own. */
	config.array_entries = FPT_ARRAY_MAX_ENTRIES + 1;
	assert_int_equal(fpt_switch(&pool.t, &config, &m), FPT_EINVAL);
	config.array_entries = POOL_ENTRIES;
	/* No memory, or not enough of it, at whichever step. */
	for (i = 0; i < COUNT(trackers); i++) {
		if (!trackers[i]->init)
			continue;
		config.ops = trackers[i];
		assert_int_equal(fpt_switch(&pool.t, &config, NULL), FPT_ENOMEM);
		size = trackers[i]->size(&config);
		for (j = 0; j < size; j += FPT_CACHE_LINE) {
			static char memory[POOL_ARENA] __attribute__((aligned(FPT_CACHE_LINE)));

			m = (struct fpt_mem){ memory, j, false };
			assert_int_equal(fpt_switch(&pool.t, &config, &m), FPT_ENOMEM);
		}
	}
	/* Dense numbers go from 0 to 128 in the first range, and begin at 4096 in the second. */
	small = fpt_array_ops;
	small.max_pages = 4096 + POOL_MODULE_PAGES - 1;
	config.ops = &small;
	m = pool_donate(fpt_array_ops.size(&config));
	assert_int_equal(fpt_switch(&pool.t, &config, &m), FPT_ERANGE);
	/* Nothing has happened. */
	assert_ptr_equal(fpt_tracker(&pool.t), &fpt_xbitmap_ops);
	assert_int_equal(pool.t.fronts.v, 0);
	assert_int_equal(pool.t.stale.v, 0);
	after = stats();
	assert_memory_equal(&before, &after, sizeof(before));
	/* As many as it can name. */
	small.max_pages++;
	assert_int_equal(fpt_switch(&pool.t, &config, &m), FPT_OK);
	fpt_destroy(&pool.t);
}

/* A tracker that took its ranges by itself takes them when it is switched to. */
static void test_same_limit(void **state)
{
	static struct fpt_ops small;
	static char memory[4096];
	fpt_pfn_t pfn = 1 << 20;
	struct fpt_mem m;

	(void)state;
	small = fpt_array_ops;
	small.max_pages = 4096 + POOL_MODULE_PAGES;
	begin(&small, FPT_ISOLATE, true);
	assert_int_equal(pool_switch(&fpt_xbitmap_ops), FPT_OK);
	assert_int_equal(pool_switch(&small), FPT_OK);
	/* One more is too many, unless it takes the numbers of one that was removed. */
	m = (struct fpt_mem){ memory, sizeof(memory), false };
	assert_int_equal(fpt_add_range(&pool.t, pfn, 1, &m), FPT_ERANGE);
	assert_int_equal(pool_unplug(1), FPT_OK);
	assert_int_equal(fpt_add_range(&pool.t, pfn, 1, &m), FPT_OK);
	fpt_destroy(&pool.t);
}

static void test_protocol(void **state)
{
	size_t i;

	(void)state;
	begin(&fpt_lockmap_ops, FPT_TICKET, true);
	for (i = 0; i < COUNT(trackers); i++)
		assert_int_equal(pool_switch(trackers[i]),
				 trackers[i]->retracts ? FPT_OK : FPT_ENOTSUP);
	assert_ptr_equal(fpt_tracker(&pool.t), &fpt_lockmap_ops);
	assert_int_equal(pool.t.stale.v, 0);
	fpt_destroy(&pool.t);
	/* A lossy source: not with tickets, whichever the tracker; by isolation, with all. */
	begin(&fpt_xbitmap_ops, FPT_ISOLATE, true);
	pool.t.lossy = true;
	for (i = 0; i < COUNT(trackers); i++)
		assert_int_equal(pool_switch(trackers[i]), FPT_OK);
	fpt_destroy(&pool.t);
}

/* From one tracker to another and back; events under each. */
static void test_pair(const struct fpt_ops *a, const struct fpt_ops *b)
{
	struct fpt_reporter rep;
	struct fpt_stats s[3];
	const void *front;

	begin(a, FPT_ISOLATE, true);
	rep = pool_reporter();
	front = pool.t.front[a->slot];
	s[0] = stats();
	pool_give(0, POOL_ORDER);		/* in a's front */
	assert_int_equal(pool_switch(b), FPT_OK);
	assert_string_equal(fpt_tracker(&pool.t)->name, b->name);
	pool_give(POOL_MODULE_PAGES, POOL_ORDER);
	pool_give(2 * POOL_BLOCK, POOL_ORDER);
	pool_pass(&rep, true);
	pool_pass(&rep, true);
	assert_int_equal(pool_content(0)->page == 0, a != &fpt_none_ops);
	assert_int_equal(pool_content(POOL_MODULE_PAGES)->page == 0, b != &fpt_none_ops);
	/* The front's memory is counted, once. */
	s[1] = stats();
	if (a->slot == b->slot || !b->init)
		assert_int_equal(s[1].memory_donated, s[0].memory_donated);
	else
		assert_true(s[1].memory_donated > s[0].memory_donated &&
			    s[1].memory_donated <= s[0].memory_donated + b->size(&pool.config));
	/* With grace periods the old front is over and done with. */
	if (FPT_RCU_WAITS)
		assert_int_equal(pool.t.fronts.v, front_bit(b));
	else
		assert_int_equal(pool.t.fronts.v, front_bit(a) | front_bit(b));
	assert_int_equal(pool.t.stale.v, !a->retracts || !b->retracts);
	/* Back: the front is as it was. Taken under one and freed under the other. */
	assert_true(pool_take(2 * POOL_BLOCK, POOL_ORDER));
	assert_int_equal(fpt_switch(&pool.t, &pool.config, NULL), FPT_OK);
	pool_give(2 * POOL_BLOCK, POOL_ORDER);
	assert_ptr_equal(pool.t.front[a->slot], front);
	pool_pass(&rep, true);
	pool_pass(&rep, true);
	assert_int_equal(pool_content(2 * POOL_BLOCK)->page == 0, a != &fpt_none_ops);
	s[2] = stats();
	assert_int_equal(s[2].memory_donated, s[1].memory_donated);
	assert_int_equal(s[2].count[FPT_STAT_DROPPED], 0);
	assert_int_equal(pool.lost.v + pool.wrong.v, 0);
	fpt_destroy(&pool.t);
}

static void test_pairs(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < COUNT(trackers); i++)
		for (j = 0; j < COUNT(trackers); j++)
			test_pair(trackers[i], trackers[j]);
}

/*
 * A page freed in the array and taken under the bitmap for all: the array's hint comes back when it
 * is drained. Isolation refuses it, and it is corrected.
 */
static void test_stale(void **state)
{
	static const struct fpt_ops *const old[] = { &fpt_array_ops, &fpt_bitmap_ops };
	struct fpt_reporter rep;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(old); i++) {
		begin(&fpt_xbitmap_ops, FPT_ISOLATE, true);
		rep = pool_reporter();
		assert_int_equal(pool_switch(old[i]), FPT_OK);
		pool_give(0, POOL_ORDER);
		pool_set_cpu(1);
		assert_true(pool_take(1, 0));	/* on another CPU than it was freed: stays hinted */
		assert_int_equal(pool_switch(&fpt_xbitmap_ops), FPT_OK);
		assert_int_equal(pool.t.stale.v, 1);
		pool_pass(&rep, true);
		assert_int_equal(pool.used.v, 1);
		assert_int_equal(pool.discarded.v, 0);
		assert_false(fpt_xbitmap_test(&pool.t.back, pool_pfn(1)));
		/* Its neighbours come and go: not offered while it is held. */
		assert_true(pool_take(0, 0));
		pool_give(0, 0);
		pool_pass(&rep, true);
		assert_int_equal(pool.offered.v, 1);
		pool_give(1, 0);
		check_quiet(&rep);
		assert_int_equal(pool.discarded.v, 1);
		fpt_destroy(&pool.t);
	}
}

/* A tracker whose free hook waits inside, until it is let go. */
static sem_t inside, go;

static void slow_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	if (pfn == module_pfn(0)) {
		sem_post(&inside);
		sem_wait(&go);
	}
	fpt_array_free(t, pfn, order);
}

static struct fpt_ops slow;
static fpt_atomic_t switched;

static void *free_slowly(void *arg)
{
	pool_set_cpu(1);
	pool_give(0, POOL_ORDER);
	return arg;
}

static void *switch_away(void *arg)
{
	pool_set_cpu(2);
	assert_int_equal(pool_switch(&fpt_xbitmap_ops), FPT_OK);
	fpt_store(&switched, 1, release);
	return arg;
}

/*
 * The hook was called before the switch, and writes to its front afterwards. Passes find that; with
 * grace periods the switch waits for the hook, and passes are rid of that front.
 */
static void test_straggler(void **state)
{
	pthread_t hook, switcher;
	struct fpt_reporter rep;

	(void)state;
	slow = fpt_array_ops;
	slow.free = slow_free;
	sem_init(&inside, 0, 0);
	sem_init(&go, 0, 0);
	fpt_store(&switched, 0, relaxed);
	begin(&slow, FPT_ISOLATE, true);
	rep = pool_reporter();
	assert_int_equal(pthread_create(&hook, NULL, free_slowly, NULL), 0);
	sem_wait(&inside);
	assert_int_equal(pthread_create(&switcher, NULL, switch_away, NULL), 0);
	while (fpt_tracker(&pool.t) != &fpt_xbitmap_ops)
		sched_yield();
	if (!FPT_RCU_WAITS)
		pthread_join(switcher, NULL);
	/* New hooks use the new tracker meanwhile, and passes go on. */
	pool_give(POOL_BLOCK, POOL_ORDER);
	pool_pass(&rep, true);
	pool_pass(&rep, true);
	assert_int_equal(pool_missed(), 0);
	assert_int_equal(pool.discarded.v, 1);
	assert_int_equal(fpt_load(&switched, acquire), !FPT_RCU_WAITS);
	assert_int_equal(pool.t.fronts.v, front_bit(&slow));
	sem_post(&go);
	pthread_join(hook, NULL);
	if (FPT_RCU_WAITS) {
		pthread_join(switcher, NULL);
		assert_int_equal(pool.t.fronts.v, 0);
	}
	check_quiet(&rep);
	assert_int_equal(pool.discarded.v, 2);
	fpt_destroy(&pool.t);
}

/*
 * Random steps. The model is the pool: what is free reads as zeroes after two passes, but for what
 * was freed under "none" or dropped by a full array.
 */
static void random_event(unsigned long long *random)
{
	unsigned int order = pool_random(random) % (POOL_ORDER + 1), i;
	unsigned int page = pool_random(random) % POOL_PAGES >> order << order;
	unsigned long dropped = stats().count[FPT_STAT_DROPPED];

	pool_set_cpu(pool_random(random) % POOL_CPUS);
	for (i = page; i < page + (1u << order); i++)
		if (pool.page[i].v != pool.page[page].v)
			return;
	if (pool.page[page].v == POOL_FREE) {
		/* Not from a block that is with the host. */
		assert_int_equal(!pool_take(page, order),
				 pool.block[page / POOL_BLOCK].v == POOL_ISOLATED);
		return;
	}
	pool_give(page, order);
	for (i = page; i < page + (1u << order); i++)
		pool.unseen[i] = fpt_tracker(&pool.t) == &fpt_none_ops ||
				 stats().count[FPT_STAT_DROPPED] != dropped;
}

static void run_lockstep(unsigned long seed, unsigned long steps)
{
	unsigned long long random = seed * 0x9e3779b97f4a7c15ull;
	unsigned long step, uncounted[2] = { 0, 0 }, before[2];
	struct fpt_reporter rep[2];
	struct fpt_batch batch = { .nr = 0 };
	const struct fpt_ops *ops = trackers[pool_random(&random) % COUNT(trackers)];

	begin(ops, FPT_ISOLATE, seed % 4 != 0);
	rep[0] = pool_reporter();
	rep[1] = pool_reporter();
	for (step = 0; step < steps; step++) {
		unsigned int what = pool_random(&random) % 64;

		if (what < 2) {
			ops = trackers[pool_random(&random) % COUNT(trackers)];
			assert_int_equal(pool_switch(ops), FPT_OK);
			assert_string_equal(fpt_tracker(&pool.t)->name, ops->name);
		} else if (what == 3) {
			/* One batch of another reporter stays out across switches. */
			if (batch.nr)
				pool_complete(&rep[1], &batch, pool_random(&random) % 2);
			fpt_pass_begin(&rep[1]);
			fpt_pass_next(&rep[1], &batch);
		} else if (what < 6) {
			pool_pass(&rep[0], pool_random(&random) % 4 != 0);
		} else if (what == 6 && !(pool_random(&random) % 4)) {
			pool_complete(&rep[1], &batch, true);
			check_quiet(&rep[0]);
		} else {
			before[0] = pool.freed.v;
			before[1] = pool.allocated.v;
			random_event(&random);
			if (ops == &fpt_none_ops) {
				uncounted[0] += pool.freed.v - before[0];
				uncounted[1] += pool.allocated.v - before[1];
			}
		}
	}
	pool_complete(&rep[1], &batch, true);
	check_quiet(&rep[0]);
	assert_int_equal(stats().count[FPT_STAT_FREED], pool.freed.v - uncounted[0]);
	assert_int_equal(stats().count[FPT_STAT_ALLOCATED], pool.allocated.v - uncounted[1]);
	fpt_destroy(&pool.t);
}

static void test_lockstep(void **state)
{
	const char *seeds = getenv("FPT_TEST_SEEDS"), *steps = getenv("FPT_TEST_STEPS");
	unsigned long seed;

	(void)state;
	for (seed = 1; seed <= (seeds ? strtoul(seeds, NULL, 0) : 20); seed++) {
		if (getenv("FPT_TEST_VERBOSE"))
			print_message("seed %lu\n", seed);
		run_lockstep(seed, steps ? strtoul(steps, NULL, 0) : 2000);
	}
}

/* Threads, while another switches among the trackers that keep every hint. */
static void switch_on(void *arg)
{
	const struct fpt_ops *const *set = arg;
	static const struct fpt_ops *const *last;
	static unsigned int i;
	size_t want;

	if (set != last || !set[++i])
		i = 0;
	last = set;
	if (pool_switch(set[i]))
		abort();
	/* What switches is what refills: not both at once. */
	want = fpt_wanted(&pool.t);
	if (want && want <= POOL_ARENA - pool.arena_used) {
		struct fpt_mem m = pool_donate(want);

		(void)fpt_refill(&pool.t, &m);
	}
	sched_yield();
}

static unsigned long last_dropped;

static void run_threads(const struct fpt_ops *const *set, enum fpt_protocol protocol)
{
	struct fpt_reporter rep;
	unsigned int i, missed;
	unsigned long switches;
	struct fpt_stats s;

	begin(set[0], protocol, true);
	for (i = 0; i < POOL_MODULES; i++)
		pool_give_module(i);
	switches = pool_load(0.8, switch_on, (void *)(uintptr_t)set);
	rep = pool_reporter();
	pool_pass(&rep, true);
	pool_pass(&rep, true);
	missed = pool_missed();
	s = stats();
	assert_int_equal(pool.lost.v, 0);
	assert_int_equal(pool.wrong.v, 0);
	for (i = 0; i < POOL_BLOCKS; i++)
		assert_int_equal(pool.block[i].v, 0);
	last_dropped = s.count[FPT_STAT_DROPPED];
	assert_true(missed <= last_dropped);
	assert_int_equal(s.count[FPT_STAT_OUTSIDE], 0);
	assert_int_equal(s.count[FPT_STAT_FREED], pool.freed.v);
	assert_int_equal(s.count[FPT_STAT_ALLOCATED], pool.allocated.v);
	if (protocol == FPT_TICKET)
		for (i = 0; i < POOL_PAGES; i++)
			assert_true(fpt_xbitmap_test(&pool.t.back, pool_pfn(i)));
	if (getenv("FPT_TEST_VERBOSE"))
		print_message("%lu switches, %lu events, %lu discards, %lu used, %lu dropped, "
			      "%lu cancelled, %lu waited\n", switches,
			      pool.freed.v + pool.allocated.v, pool.discarded.v,
			      s.count[FPT_STAT_USED], s.count[FPT_STAT_DROPPED],
			      s.count[FPT_STAT_CANCELLED], s.count[FPT_STAT_WAITED]);
	fpt_destroy(&pool.t);
}

static void test_threads_isolate(void **state)
{
	static const struct fpt_ops *const set[] = { &fpt_xbitmap_ops, &fpt_bitmap_ops,
						     &fpt_lockmap_ops, NULL };

	(void)state;
	run_threads(set, FPT_ISOLATE);
	assert_int_equal(last_dropped, 0);
}

/* An array drops hints when it is full: what is missed then may be those. */
static void test_threads_array(void **state)
{
	static const struct fpt_ops *const set[] = { &fpt_array_ops, &fpt_xbitmap_ops,
						     &fpt_array_ops, &fpt_bitmap_ops, NULL };

	(void)state;
	run_threads(set, FPT_ISOLATE);
}

static void test_threads_ticket(void **state)
{
	static const struct fpt_ops *const set[] = { &fpt_xbitmap_ops, &fpt_lockmap_ops, NULL };

	(void)state;
	run_threads(set, FPT_TICKET);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_same_limit),
		cmocka_unit_test(test_protocol),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_straggler),
		cmocka_unit_test(test_lockstep),
		cmocka_unit_test(test_threads_isolate),
		cmocka_unit_test(test_threads_array),
		cmocka_unit_test(test_threads_ticket),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* How hooks, passes and the switch may meet. T: the tracker at first; b: the bound. */
#define ISOLATE(T, b) .ops = &fpt_##T##_ops, .bound = b, .used = ANY
#define TICKET(T, b) .ops = &fpt_##T##_ops, .protocol = FPT_TICKET, .bound = b

static const struct scenario scenarios[] = {
	/* A hook that began under the old tracker. */
	{ .name = "array, xbitmap", ISOLATE(array, 3),
	  .thread = { { FREE(0, 1) }, { SWITCH(xbitmap) } } },
	{ .name = "bitmap, xbitmap", ISOLATE(bitmap, 3),
	  .thread = { { FREE(0, 1) }, { SWITCH(xbitmap) } } },
	{ .name = "array, xbitmap, pass", ISOLATE(array, 2),
	  .thread = { { FREE(0, 1) }, { SWITCH(xbitmap) }, { PASS } } },
	{ .name = "bitmap, xbitmap, pass", ISOLATE(bitmap, 2),
	  .thread = { { FREE(0, 1) }, { SWITCH(xbitmap) }, { PASS } } },
	{ .name = "array, bitmap, pass", ISOLATE(array, 1), .cpu = { 0, 1 },
	  .thread = { { FREE(0, 0), FREE(2, 1) }, { FREE(1, 0) }, { SWITCH(bitmap) }, { PASS } } },
	{ .name = "bitmap, array, pass", ISOLATE(bitmap, 1), .cpu = { 0, 1 },
	  .thread = { { FREE(0, 0), FREE(2, 1) }, { FREE(1, 0) }, { SWITCH(array) }, { PASS } } },
	/* What was freed under the new tracker is found as if it had always been there. */
	{ .name = "array, found", ISOLATE(xbitmap, 3), .cpu = { 0, 1 },
	  .thread = { { SWITCH(array) }, { FREE(0, 1), PASS, PASS, EXPECT(0) } } },
	{ .name = "bitmap, found", ISOLATE(xbitmap, 3), .cpu = { 0, 1 },
	  .thread = { { SWITCH(bitmap) }, { FREE(0, 1), PASS, PASS, EXPECT(0) } } },
	{ .name = "lockmap, found", ISOLATE(xbitmap, 3), .cpu = { 0, 1 },
	  .thread = { { SWITCH(lockmap) }, { FREE(0, 1), PASS, EXPECT(0) } } },
	/* There and back: the front is in use again. */
	{ .name = "array, xbitmap, array", ISOLATE(array, 2),
	  .thread = { { FREE(0, 1), FREE(2, 1) }, { SWITCH(xbitmap), SWITCH(array) }, { PASS } } },
	{ .name = "bitmap, xbitmap, bitmap", ISOLATE(bitmap, 2),
	  .thread = { { FREE(0, 1), FREE(2, 1) }, { SWITCH(xbitmap), SWITCH(bitmap) }, { PASS } } },
	{ .name = "array, bitmap, lockmap", ISOLATE(array, 2),
	  .thread = { { FREE(0, 1), FREE(2, 1) }, { SWITCH(bitmap), SWITCH(lockmap) } } },
	/* Freed under one tracker, taken under another: the hint of the first comes back. */
	{ .name = "array, xbitmap, use", ISOLATE(array, 2), .cpu = { 0, 1 },
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { SWITCH(xbitmap) }, { PASS } } },
	{ .name = "bitmap, xbitmap, use", ISOLATE(bitmap, 2), .cpu = { 0, 1 },
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { SWITCH(xbitmap) }, { PASS } } },
	{ .name = "xbitmap, array, use", ISOLATE(xbitmap, 2), .cpu = { 0, 1 },
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { SWITCH(array) }, { PASS } } },
	/* One writes with the lock, the other without. */
	{ .name = "lockmap, xbitmap", ISOLATE(lockmap, 2), .cpu = { 0, 1 },
	  .before = { FREE(0, 0) },
	  .thread = { { FREE(1, 0) }, { USE(0, 0) }, { SWITCH(xbitmap) } } },
	{ .name = "ticket: lockmap, xbitmap", TICKET(lockmap, 2), .cpu = { 0, 1 },
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { SWITCH(xbitmap) }, { PASS } } },
	{ .name = "ticket: xbitmap, lockmap", TICKET(xbitmap, 2), .cpu = { 0, 1 },
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { SWITCH(lockmap) }, { PASS } } },
	/* A batch is out. */
	{ .name = "ticket: in flight", TICKET(xbitmap, 2), .cpu = { 0, 1 },
	  .before = { FREE(0, 1), SUBMIT },
	  .thread = { { COMPLETE }, { USE(0, 0) }, { SWITCH(lockmap), SWITCH(xbitmap) } } },
	{ .name = "array, xbitmap, in flight", ISOLATE(array, 2), .cpu = { 0, 1 },
	  .before = { FREE(0, 1), SUBMIT },
	  .thread = { { COMPLETE, PASS }, { FREE(2, 1) }, { SWITCH(xbitmap) } } },
};

static void test_scenario(void **state)
{
	run_scenario(*state, true);
}

int main(int argc, char **argv)
{
	return run_scenarios(argc, argv, scenarios, COUNT(scenarios), test_scenario);
}

#endif
