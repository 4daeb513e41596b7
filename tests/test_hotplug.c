/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_hotplug.c - ranges that come and go (fpt_add_range, fpt_remove_range), holes, nodes
 *
 * By itself: errors, slots that are used again, events that come late or span edges, what fronts
 * hold of a range that is removed, memory that is the caller's again. Under threads, with events of
 * other ranges and with passes. On the model backend: a search for a page while the slot of another
 * range changes hands, under every schedule with few preemptions (pool_explore.h).
 *
 * Compiled with grace periods (FPT_RCU; on the model backend the explorer's) and without, where an
 * event of a range must not run while that is removed.
 *
 * FPT_TEST_SECONDS is how long threads run.
 */
#ifdef FPT_MODEL
#define POOL_MODULES 2u
#define POOL_MODULE_PAGES 8u
#define POOL_ORDER 1u
#define POOL_CPUS 2u
#define POOL_ENTRIES 3
#define POOL_ARENA 8192u
#include "pool_explore.h"
#else
#define POOL_MODULES 4u
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

static const struct fpt_ops *const trackers[] = { &fpt_xbitmap_ops, &fpt_array_ops,
						  &fpt_bitmap_ops, &fpt_lockmap_ops };

/* What a module's range is made of. */
static char memory[POOL_MODULES][16384] __attribute__((aligned(FPT_CACHE_LINE)));

static int plug(unsigned int module, fpt_pfn_t pfn, unsigned int nr)
{
	struct fpt_mem m = { memory[module], sizeof(memory[module]), false };

	return pool_plug(module, pfn, nr, &m);
}

/* What would be hinted by it is not claimed, and the other way round: a claim leaves a trace. */
static unsigned char pattern(size_t i)
{
	return i / FPT_CACHE_LINE % 4 ? 0x5a : 0xa5;
}

static void fill(unsigned int module)
{
	size_t i;

	for (i = 0; i < sizeof(memory[module]); i++)
		memory[module][i] = (char)pattern(i);
}

static void check_filled(unsigned int module)
{
	size_t i;

	for (i = 0; i < sizeof(memory[module]); i++)
		assert_int_equal((unsigned char)memory[module][i], pattern(i));
}

static struct fpt_stats stats(void)
{
	struct fpt_stats s;

	fpt_get_stats(&pool.t, &s);
	return s;
}

static unsigned long outside(void)
{
	return stats().count[FPT_STAT_OUTSIDE];
}

static void pass_twice(void)
{
	struct fpt_reporter rep = pool_reporter();

	pool_pass(&rep, true);
	pool_pass(&rep, true);
	assert_int_equal(pool.lost.v + pool.wrong.v, 0);
	assert_int_equal(rep.in_flight, 0);
}

static void test_errors(void **state)
{
	struct fpt_reporter rep;
	struct fpt_batch b = { .nr = 0 };
	struct fpt_cursor cursor = { 0, 0 };
	struct fpt_range claim = { 0, 0 };
	struct fpt_stats none, before, after;

	(void)state;
	pool_begin(&fpt_xbitmap_ops, FPT_ISOLATE);
	none = stats();
	assert_int_equal(fpt_remove_range(&pool.t, 0, 1), FPT_ERANGE);
	assert_int_equal(plug(0, 80, 64), FPT_OK);
	assert_int_equal(plug(1, 400, 64), FPT_OK);
	assert_int_equal(fpt_remove_range(&pool.t, 80, 63), FPT_ERANGE);
	assert_int_equal(fpt_remove_range(&pool.t, 80, 65), FPT_ERANGE);
	assert_int_equal(fpt_remove_range(&pool.t, 80, 0), FPT_ERANGE);
	assert_int_equal(fpt_remove_range(&pool.t, 79, 64), FPT_ERANGE);
	assert_int_equal(fpt_remove_range(&pool.t, 81, 64), FPT_ERANGE);
	/* A block is out: claimed, and submitted. The last one, too. */
	pool_give(64 - POOL_BLOCK, POOL_ORDER);
	assert_int_equal(fpt_claim(&pool.t, &cursor, &claim, 1), 1);
	before = stats();
	assert_int_equal(pool_unplug(0), FPT_EBUSY);
	after = stats();
	assert_memory_equal(&before, &after, sizeof(before));
	fpt_release(&pool.t, &claim, FPT_BUSY);
	rep = pool_reporter();
	fpt_pass_begin(&rep);
	assert_int_equal(fpt_pass_next(&rep, &b), 1);
	assert_int_equal(pool_unplug(0), FPT_EBUSY);
	assert_int_equal(pool_unplug(1), FPT_OK);
	assert_int_equal(pool_unplug(0), FPT_EBUSY);
	pool_complete(&rep, &b, true);
	assert_int_equal(pool_unplug(0), FPT_OK);
	assert_int_equal(pool_unplug(0), FPT_ERANGE);
	after = stats();
	assert_int_equal(after.memory_donated, none.memory_donated);
	assert_int_equal(after.memory_used, none.memory_used);
	assert_int_equal(pool.lost.v + pool.wrong.v, 0);
	fpt_destroy(&pool.t);
}

/* Tickets: an acknowledgement that comes when its submission was given up, its range is gone. */
static void test_late_acknowledgement(void **state)
{
	struct fpt_reporter rep;
	struct fpt_batch b = { .nr = 0 };
	struct fpt_range claim;
	unsigned long ticket;

	(void)state;
	pool_begin(&fpt_xbitmap_ops, FPT_TICKET);
	assert_int_equal(plug(0, 80, 64), FPT_OK);
	pool_give(0, POOL_ORDER);
	rep = pool_reporter();
	fpt_pass_begin(&rep);
	assert_int_equal(fpt_pass_next(&rep, &b), 1);
	claim = b.range[0];
	ticket = b.ticket[0];
	assert_int_equal(pool_unplug(0), FPT_EBUSY);
	pool_complete(&rep, &b, false);
	assert_int_equal(pool_unplug(0), FPT_OK);
	fill(0);
	assert_false(fpt_complete(&pool.t, &claim, ticket, true));
	assert_int_equal(stats().count[FPT_STAT_LATE], POOL_BLOCK);
	check_filled(0);
	/* The same pages, added anew, are as pages never seen. */
	assert_int_equal(plug(0, 80, 64), FPT_OK);
	assert_false(fpt_complete(&pool.t, &claim, ticket, true));
	pool_give(0, POOL_ORDER);
	pass_twice();
	assert_int_equal(pool_missed(), 0);
	assert_int_equal(pool.discarded.v, 1);
	fpt_destroy(&pool.t);
}

/* A slot goes to ranges no larger than the first that had it. */
static void test_slots(void **state)
{
	struct fpt_mem m = { memory[0], sizeof(memory[0]), false }, before;
	unsigned int i;

	(void)state;
	pool_begin(&fpt_array_ops, FPT_ISOLATE);
	for (i = 0; i < FPT_XBITMAP_MAX_RANGES; i++)
		assert_int_equal(fpt_add_range(&pool.t, i << 20, i == 3 ? 64 : 8, &m), FPT_OK);
	before = m;
	assert_int_equal(fpt_add_range(&pool.t, i << 20, 1, &m), FPT_ENOSPC);
	assert_memory_equal(&m, &before, sizeof(m));
	assert_int_equal(fpt_remove_range(&pool.t, 3 << 20, 64), FPT_OK);
	assert_int_equal(fpt_add_range(&pool.t, i << 20, 65, &m), FPT_ENOSPC);
	/* Pages that reach into one block more are larger, too. */
	assert_int_equal(fpt_add_range(&pool.t, (i << 20) + 1, 64, &m), FPT_ENOSPC);
	assert_memory_equal(&m, &before, sizeof(m));
	assert_int_equal(fpt_add_range(&pool.t, i << 20, 8, &m), FPT_OK);
	/* Overlaps are told by what there is now. */
	assert_int_equal(fpt_remove_range(&pool.t, 5 << 20, 8), FPT_OK);
	assert_int_equal(fpt_add_range(&pool.t, (i << 20) + 7, 1, &m), FPT_ERANGE);
	assert_int_equal(fpt_add_range(&pool.t, (3 << 20) + 7, 1, &m), FPT_OK);
	/* The slot keeps its size. */
	assert_int_equal(fpt_remove_range(&pool.t, i << 20, 8), FPT_OK);
	assert_int_equal(fpt_add_range(&pool.t, i << 20, 65, &m), FPT_ENOSPC);
	assert_int_equal(fpt_add_range(&pool.t, i << 20, 64, &m), FPT_OK);
	assert_int_equal(fpt_add_range(&pool.t, 1 << 30, 1, &m), FPT_ENOSPC);
	fpt_destroy(&pool.t);
}

/* Events of a removed range: ignored, counted; its memory is not touched, then used again. */
static void test_late_events(const struct fpt_ops *ops, bool exact)
{
	size_t size;
	struct fpt_mem m;
	unsigned int i;

	pool_begin(ops, FPT_ISOLATE);
	size = fpt_range_size(&pool.t, 64, POOL_MODULE_PAGES, exact);
	m = (struct fpt_mem){ memory[0], size, false };
	assert_int_equal(pool_plug(0, 64, POOL_MODULE_PAGES, &m), FPT_OK);
	assert_int_equal(plug(1, 1 << 20, POOL_MODULE_PAGES), FPT_OK);
	pool_give_module(0);
	pool_give_module(1);
	pass_twice();
	assert_true(pool_take(0, POOL_ORDER));
	pool_give(0, POOL_ORDER);
	assert_int_equal(outside(), 0);
	assert_int_equal(pool_unplug(0), FPT_OK);
	/* What a front still held of it. */
	assert_int_equal(outside(), ops->drain ? POOL_BLOCK : 0);
	fill(0);
	fpt_alloc(&pool.t, 64, 0);
	fpt_free(&pool.t, 64, POOL_ORDER);
	assert_int_equal(outside(), (ops->drain ? POOL_BLOCK : 0) + POOL_BLOCK +
		(ops != &fpt_array_ops));	/* which does not look at allocations */
	for (i = 0; i < POOL_MODULE_PAGES; i += POOL_BLOCK) {
		assert_true(pool_take(POOL_MODULE_PAGES + i, 1));
		pool_give(POOL_MODULE_PAGES + i, 1);
	}
	pass_twice();
	assert_int_equal(pool_missed(), 0);
	check_filled(0);
	/* Its memory holds another range, at another place. */
	m = (struct fpt_mem){ memory[0], size, false };
	assert_int_equal(pool_plug(0, 1 << 21, POOL_MODULE_PAGES, &m), FPT_OK);
	pass_twice();
	assert_int_equal(pool.used.v, 0);	/* nothing of the old one is hinted */
	for (i = 0; i < POOL_MODULE_PAGES; i++)
		assert_false(fpt_xbitmap_test(&pool.t.back, pool_pfn(i)));
	pool_give_module(0);
	pass_twice();
	assert_int_equal(pool_missed(), 0);
	fpt_destroy(&pool.t);
}

static void test_late(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < 2 * COUNT(trackers); i++)
		test_late_events(trackers[i / 2], i % 2);
}

/*
 * A range goes while its pages are in a front, and comes back in the same slot: all held. What the
 * front had of it is not hinted, and what the back had neither.
 */
static void test_fronts(void **state)
{
	size_t i;
	unsigned int j;

	(void)state;
	for (i = 0; i < COUNT(trackers); i++) {
		pool_begin(trackers[i], FPT_ISOLATE);
		assert_int_equal(plug(0, 64, POOL_MODULE_PAGES), FPT_OK);
		assert_int_equal(plug(1, 1 << 20, POOL_MODULE_PAGES), FPT_OK);
		pool_give(0, POOL_ORDER);
		fpt_drain(&pool.t);
		pool_give(POOL_BLOCK, POOL_ORDER);
		pool_set_cpu(3);
		pool_give(2 * POOL_BLOCK, POOL_ORDER);
		pool_give(POOL_MODULE_PAGES, POOL_ORDER);	/* the other's: stays hinted */
		assert_int_equal(pool_unplug(0), FPT_OK);
		fill(0);
		assert_int_equal(plug(0, 64 + i % 2 * 512, POOL_MODULE_PAGES), FPT_OK);
		pass_twice();
		assert_int_equal(pool.offered.v, 1);
		assert_int_equal(pool_missed(), 0);
		for (j = 0; j < POOL_MODULE_PAGES; j++)
			assert_false(fpt_xbitmap_test(&pool.t.back, pool_pfn(j)));
		pool_give_module(0);
		pass_twice();
		assert_int_equal(pool_missed(), 0);
		assert_int_equal(pool.used.v, 0);
		fpt_destroy(&pool.t);
	}
}

/*
 * Two nodes, far from each other, one with a hole: events that span edges and the hole. Blocks
 * are of 8 pages, so those at unaligned edges are never whole.
 */
static void test_holes(void **state)
{
	/* Of the second, the last page is the last there can be. */
	static const struct fpt_range node[] = { { 3, 29 }, { 40, 24 }, { 64, 8 }, { -20UL, 20 } };
	unsigned int i;
	fpt_pfn_t pfn;
	size_t n;

	(void)state;
	for (n = 0; n < COUNT(trackers); n++) {
		const struct fpt_ops *ops = trackers[n];
		unsigned long seen_outside;

		pool_begin(ops, FPT_ISOLATE);
		for (i = 0; i < COUNT(node); i++)
			assert_int_equal(plug(i, node[i].pfn, (unsigned int)node[i].nr), FPT_OK);
		/* A page of each side of each edge, in one event; and a hole with both sides. */
		fpt_free(&pool.t, 2, 1);
		fpt_free(&pool.t, 31, 1);
		fpt_free(&pool.t, 39, 1);
		fpt_free(&pool.t, 63, 1);	/* two ranges, and nothing between them */
		fpt_free(&pool.t, 71, 1);
		fpt_free(&pool.t, -21UL, 1);
		assert_int_equal(outside(), 5);
		fpt_free(&pool.t, 28, 4);	/* 28 .. 31, a hole of 8, 40 .. 43 */
		assert_int_equal(outside(), 5 + 8);
		fpt_drain(&pool.t);
		fpt_drain(&pool.t);
		for (pfn = 0; pfn < 80; pfn++)
			assert_int_equal(fpt_xbitmap_test(&pool.t.back, pfn),
					 pfn == 3 || (pfn >= 28 && pfn < 32) ||
						 (pfn >= 40 && pfn < 44) || pfn == 63 ||
						 pfn == 64 || pfn == 71);
		assert_true(fpt_xbitmap_test(&pool.t.back, -20UL));
		assert_false(fpt_xbitmap_test(&pool.t.back, -21UL));
		/* Nothing is whole, and owned pages are not claimed. */
		pass_twice();
		assert_int_equal(pool.offered.v, 0);
		/* All of it, all whole blocks: 3 and 3 and 1, and 2 of the last. */
		for (i = 0; i < COUNT(node); i++)
			pool_give_module(i);
		pass_twice();
		assert_int_equal(pool.discarded.v, 3 + 3 + 1 + 2);
		assert_int_equal(pool_missed(), 0);
		/* And taken across the hole. */
		seen_outside = outside();
		fpt_alloc(&pool.t, 28, 4);
		assert_int_equal(outside() - seen_outside, ops == &fpt_array_ops ? 0 : 8);
		if (ops->retracts)
			for (pfn = 26; pfn < 46; pfn++)
				assert_int_equal(fpt_xbitmap_test(&pool.t.back, pfn),
						 pfn < 28 || pfn >= 44);
		/* Without the middle of a node, its pages are a hole as well. */
		seen_outside = outside();
		assert_int_equal(pool_unplug(1), FPT_OK);
		fpt_free(&pool.t, 24, 6);	/* 24 .. 31, then 64 .. 71 */
		assert_int_equal(outside() - seen_outside, 64 - 8 - 8);
		fpt_destroy(&pool.t);
	}
}

/*
 * A hook that found the range before it was removed: with grace periods fpt_remove_range() waits
 * for it. Without, that would be the caller's mistake.
 */
static sem_t inside, go;
static fpt_atomic_t removed;

static void slow_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(&t->back, pfn);
	bool coarse = false;

	sem_post(&inside);
	sem_wait(&go);
	(void)fpt_xbitmap_write(&t->back, r, pfn - r->base, 1UL << order, true, &coarse);
}

static struct fpt_ops slow;

static void *free_slowly(void *arg)
{
	pool_set_cpu(1);
	fpt_free(&pool.t, 64, POOL_ORDER);
	return arg;
}

static void *remove_it(void *arg)
{
	pool_set_cpu(2);
	assert_int_equal(fpt_remove_range(&pool.t, 64, POOL_MODULE_PAGES), FPT_OK);
	fpt_store(&removed, 1, release);
	return arg;
}

static void test_straggler(void **state)
{
	pthread_t hook, remover;
	unsigned int i;

	(void)state;
	if (!FPT_RCU_WAITS)
		skip();
	slow = fpt_xbitmap_ops;
	slow.free = slow_free;
	sem_init(&inside, 0, 0);
	sem_init(&go, 0, 0);
	fpt_store(&removed, 0, relaxed);
	pool_begin(&slow, FPT_ISOLATE);
	assert_int_equal(plug(0, 64, POOL_MODULE_PAGES), FPT_OK);
	assert_int_equal(pthread_create(&hook, NULL, free_slowly, NULL), 0);
	sem_wait(&inside);
	assert_int_equal(pthread_create(&remover, NULL, remove_it, NULL), 0);
	while (fpt_xbitmap_range_of(&pool.t.back, 64))
		sched_yield();
	/* Time for one that does not wait to show itself. */
	for (i = 0; i < 20 && !fpt_load(&removed, acquire); i++)
		usleep(1000);
	assert_int_equal(fpt_load(&removed, acquire), 0);
	sem_post(&go);
	pthread_join(hook, NULL);
	pthread_join(remover, NULL);
	fill(0);
	pass_twice();
	check_filled(0);
	fpt_destroy(&pool.t);
}

/* Threads: modules but the first go, and come back elsewhere, in another size. */
static void replug(void *arg)
{
	unsigned long long *random = arg;
	unsigned int module = 1 + pool_random(random) % (POOL_MODULES - 1), at, nr, i;
	size_t want = fpt_wanted(&pool.t);

	if (want && want <= POOL_ARENA - pool.arena_used) {
		struct fpt_mem m = pool_donate(want);

		(void)fpt_refill(&pool.t, &m);
	}
	if (fpt_load(&pool.online[module], relaxed)) {
		for (i = module * POOL_MODULE_PAGES; i < (module + 1) * POOL_MODULE_PAGES; i++)
			while (fpt_load(&pool.page[i], acquire) != POOL_OFFLINE && !pool_take(i, 0))
				sched_yield();
		pthread_rwlock_wrlock(&pool_passes);
		if (pool_unplug(module))
			abort();
		pthread_rwlock_unlock(&pool_passes);
		fill(module);
		return;
	}
	check_filled(module);
	at = pool_random(random) % POOL_BLOCK;
	nr = 1 + pool_random(random) % (POOL_MODULE_PAGES - at);
	if (plug(module, ((fpt_pfn_t)(module * 8 + pool_random(random) % 8) << 40) + at, nr))
		abort();
	pool_give_module(module);
}

static void test_threads(void **state)
{
	const struct fpt_ops *ops = *state;
	unsigned long long random = 1;
	unsigned long calls;
	struct fpt_stats s;
	unsigned int i;

	pool_begin(ops, FPT_ISOLATE);
	for (i = 0; i < POOL_MODULES; i++) {
		assert_int_equal(plug(i, (fpt_pfn_t)i << 43, POOL_MODULE_PAGES), FPT_OK);
		pool_give_module(i);
	}
	calls = pool_load(0.5, replug, &random);
	pass_twice();
	s = stats();
	assert_true(pool_missed() <= s.count[FPT_STAT_DROPPED]);
	if (ops != &fpt_array_ops)
		assert_int_equal(s.count[FPT_STAT_DROPPED], 0);
	for (i = 0; i < POOL_MODULES; i++)
		if (!pool.online[i].v)
			check_filled(i);
	/* Without fronts, no event was outside; with them, what they held when its range went. */
	if (ops->retracts)
		assert_int_equal(s.count[FPT_STAT_OUTSIDE], 0);
	assert_int_equal(s.count[FPT_STAT_FREED], pool.freed.v);
	assert_int_equal(s.count[FPT_STAT_ALLOCATED], pool.allocated.v);
	for (i = 0; i < POOL_PAGES && ops->retracts; i++)
		if (pool.page[i].v == POOL_FREE)
			assert_true(fpt_xbitmap_test(&pool.t.back, pool_pfn(i)));
	if (getenv("FPT_TEST_VERBOSE"))
		print_message("%lu plugged or unplugged, %lu events, %lu discards, %lu dropped\n",
			      calls, pool.freed.v + pool.allocated.v, pool.discarded.v,
			      s.count[FPT_STAT_DROPPED]);
	fpt_destroy(&pool.t);
}

int main(int argc, char **argv)
{
	static char name[COUNT(trackers)][40];
	struct CMUnitTest tests[7 + COUNT(trackers)] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_late_acknowledgement),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_fronts),
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_straggler),
	};
	size_t i;

	for (i = 0; i < COUNT(trackers); i++) {
		snprintf(name[i], sizeof(name[i]), "%s: threads", trackers[i]->name);
		tests[7 + i] = (struct CMUnitTest){ name[i], test_threads, NULL, NULL,
						    (void *)(uintptr_t)trackers[i] };
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/*
 * Module 0 has the first slot, where every search looks first. Module 1 lies so that a search for
 * its page 8 that mixes what the slot said before and after would take it for module 0's.
 */
#define SLOT_BEFORE PLUG(0, 64, 8), PLUG(1, 132, 8)
#define SLOT_CHANGES UNPLUG(0), PLUG(0, 128, 2)
/* The same where the new range is the larger one. */
#define GROW_BEFORE PLUG(0, 64, 8), UNPLUG(0), PLUG(0, 64, 2), PLUG(1, 66, 8)
#define GROWS UNPLUG(0), PLUG(0, 128, 6)
#define T(tracker, b) .ops = &fpt_##tracker##_ops, .bound = b

static const struct scenario scenarios[] = {
	{ .name = "xbitmap: slot changes hands", T(xbitmap, 3),
	  .before = { SLOT_BEFORE },
	  .thread = { { SLOT_CHANGES }, { FREE(8, 1), USE(8, 0) } } },
	{ .name = "array: slot changes hands", T(array, 3), .cpu = { 0, 1 },
	  .before = { SLOT_BEFORE },
	  .thread = { { SLOT_CHANGES }, { FREE(8, 1) } } },
	{ .name = "bitmap: slot changes hands", T(bitmap, 3), .cpu = { 0, 1 },
	  .before = { SLOT_BEFORE },
	  .thread = { { SLOT_CHANGES }, { FREE(8, 1), USE(8, 0) } } },
	{ .name = "lockmap: slot changes hands", T(lockmap, 3),
	  .before = { SLOT_BEFORE },
	  .thread = { { SLOT_CHANGES }, { FREE(8, 1), USE(8, 0) } } },
	{ .name = "ticket: slot changes hands", T(xbitmap, 2), .protocol = FPT_TICKET,
	  .before = { SLOT_BEFORE },
	  .thread = { { SLOT_CHANGES, FREE(0, 1) }, { FREE(8, 1), USE(8, 0) } } },
	{ .name = "xbitmap: slot grows", T(xbitmap, 3),
	  .before = { GROW_BEFORE },
	  .thread = { { GROWS }, { FREE(8, 1), USE(8, 0) } } },
	{ .name = "bitmap: slot grows", T(bitmap, 3),
	  .before = { GROW_BEFORE },
	  .thread = { { GROWS }, { FREE(8, 1), USE(8, 0) } } },
	/* Two others, and events across the edge of two ranges. */
	{ .name = "xbitmap: two hooks", T(xbitmap, 2), .cpu = { 0, 1, 1 },
	  .before = { SLOT_BEFORE },
	  .thread = { { SLOT_CHANGES }, { FREE(8, 1) }, { FREE(10, 1) } } },
	/* What fronts hold of the range is outside then, and nothing of the next one is hinted. */
	{ .name = "array: front", T(array, 2), .outside = 2,
	  .before = { SLOT_BEFORE, FREE(0, 1) },
	  .thread = { { SLOT_CHANGES }, { FREE(8, 1) } } },
	{ .name = "bitmap: front", T(bitmap, 2), .outside = 2,
	  .before = { SLOT_BEFORE, FREE(0, 1) },
	  .thread = { { SLOT_CHANGES }, { FREE(8, 1) } } },
	/* A slot is taken again while others pass and free. */
	{ .name = "xbitmap: add, pass", T(xbitmap, 2),
	  .before = { SLOT_BEFORE, UNPLUG(0) },
	  .thread = { { PLUG(0, 128, 4), FREE(0, 1) }, { PASS }, { FREE(8, 1) } } },
	{ .name = "array: add, pass", T(array, 2),
	  .before = { SLOT_BEFORE, UNPLUG(0) },
	  .thread = { { PLUG(0, 128, 4), FREE(0, 1) }, { PASS }, { FREE(8, 1) } } },
	{ .name = "bitmap: add, pass", T(bitmap, 2),
	  .before = { SLOT_BEFORE, UNPLUG(0) },
	  .thread = { { PLUG(0, 128, 4), FREE(0, 1) }, { PASS }, { FREE(8, 1) } } },
#ifndef FPT_MODEL_NO_RCU
	/* Events that come when they must not any more. */
	{ .name = "xbitmap: late", T(xbitmap, 2), .outside = ANY, .unplugged = true,
	  .before = { SLOT_BEFORE },
	  .thread = { { UNPLUG(0) }, { LATE(64, 1) }, { FREE(8, 1) } } },
	{ .name = "bitmap: late", T(bitmap, 2), .outside = ANY, .unplugged = true,
	  .before = { SLOT_BEFORE },
	  .thread = { { UNPLUG(0) }, { LATE(64, 1) }, { FREE(8, 1) } } },
	{ .name = "xbitmap: late, again", T(xbitmap, 3), .outside = ANY,
	  .before = { SLOT_BEFORE },
	  .thread = { { SLOT_CHANGES }, { LATE(64, 1) } } },
	{ .name = "array: late, again", T(array, 3), .outside = 2,
	  .before = { SLOT_BEFORE },
	  .thread = { { SLOT_CHANGES }, { LATE(64, 1) } } },
	/* "Two drains": the hook knows a generation that has been drained since. */
	{ .name = "array: late, drain", T(array, 3), .outside = ANY,
	  .before = { SLOT_BEFORE },
	  .thread = { { DRAIN, SLOT_CHANGES }, { LATE(64, 1) } } },
	{ .name = "bitmap: late, again", T(bitmap, 3), .outside = 2,
	  .before = { SLOT_BEFORE },
	  .thread = { { SLOT_CHANGES }, { LATE(64, 1) } } },
#endif
};

static void test_scenario(void **state)
{
	run_scenario(*state, false);
}

int main(int argc, char **argv)
{
	return run_scenarios(argc, argv, scenarios, COUNT(scenarios), test_scenario);
}

#endif
