/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_array2019.c - the baseline of 2019: promise by promise, in lockstep with a model, under
 * every schedule, and with real threads
 *
 * Compiled for each backend. With the model's, schedules are explored; with the others, threads run
 * and pages are signed: one that the host dropped while somebody held it has lost its signature.
 *
 * The allocator under all of these is one word per page, so that single pages can be isolated.
 * FPT_TEST_SEEDS and FPT_TEST_STEPS make random runs longer; FPT_TEST_SEED repeats one that failed.
 */
#ifdef FPT_MODEL
#include "explore.h"
#endif
#include <fpt/fpt.h>

#include <pthread.h>
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
#define MAX_CPUS 6u
#define MAX_ENTRIES 16u
#define PAGES 64u
#define FIRST 1000ul		/* pfn of page 0 */
#define MEMORY (64 * 1024)
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
#define ONE_CPU			/* which one it is cannot be chosen */
#define set_cpu(cpu) ((void)(cpu))
#endif

/* Of a page. Isolation needs FREE; to is_free, whoever is on the way in is free as well. */
enum { FREE, ISOLATED, TAKING, OWNED, GIVING };

struct world {
	struct fpt t;
	fpt_atomic_t state[PAGES];
	fpt_atomic_t reported[PAGES];	/* discarded, not taken since */
	fpt_atomic_t lost, put_back_twice;
	char memory[MEMORY] __attribute__((aligned(FPT_CACHE_LINE)));
};

static struct world w;
/* The signature: the holder's page + 1, 0: discarded. Plain where ThreadSanitizer is to see it. */
#ifdef FPT_MODEL
static fpt_atomic_t content[PAGES];
#define content_get(page) fpt_load(&content[page], relaxed)
#define content_set(page, v) fpt_store(&content[page], v, relaxed)
#else
static unsigned long content[PAGES];
#define content_get(page) content[page]
#define content_set(page, v) (content[page] = (v))
#endif

static unsigned long page_of(fpt_pfn_t pfn)
{
	return pfn - FIRST;
}

/* The allocator. */
static bool is_free(void *ctx, fpt_pfn_t pfn, unsigned int order)
{
	unsigned long i;

	(void)ctx;
	for (i = page_of(pfn); i < page_of(pfn) + (1ul << order); i++) {
		unsigned long now = fpt_load(&w.state[i], acquire);

		if (now == TAKING || now == OWNED)
			return false;
	}
	return true;
}

static void set_states(unsigned long page, unsigned long nr, unsigned long state)
{
	while (nr--)
		(void)fpt_xchg(&w.state[page + nr], state, acq_rel);
}

/* All from free to something else, or none: then what the first one that is not free is. */
static unsigned long leave_free(unsigned long page, unsigned long nr, unsigned long state)
{
	unsigned long i, now;

	for (i = 0; i < nr; i++) {
		if (fpt_cas(&w.state[page + i], FREE, state, acq_rel))
			continue;
		now = fpt_load(&w.state[page + i], acquire);
		set_states(page, i, FREE);
		return now == FREE ? TAKING : now;
	}
	return FREE;
}

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	unsigned long now = leave_free(page_of(r.pfn), r.nr, ISOLATED);

	(void)ctx;
	return now == FREE ? FPT_TAKEN : now == OWNED ? FPT_USED : FPT_BUSY;
}

static void put_back(void *ctx, struct fpt_range r)
{
	unsigned long i;

	(void)ctx;
	for (i = 0; i < r.nr; i++)
		if (fpt_xchg(&w.state[page_of(r.pfn) + i], FREE, acq_rel) != ISOLATED)
			fpt_fetch_add(&w.put_back_twice, 1, relaxed);
}

static const struct fpt_owner_ops owner = { isolate, put_back, NULL };

static bool take(unsigned long page, unsigned int order)
{
	unsigned long i;

	if (leave_free(page, 1ul << order, TAKING) != FREE)
		return false;
	for (i = page; i < page + (1ul << order); i++)
		fpt_store(&w.reported[i], 0, relaxed);
	if (fpt_alloc(&w.t, FIRST + page, order) != FPT_OK)
		fpt_fetch_add(&w.lost, 1, relaxed);
	for (i = page; i < page + (1ul << order); i++)
		content_set(i, i + 1);
	set_states(page, 1ul << order, OWNED);
	return true;
}

static void give(unsigned long page, unsigned int order)
{
	unsigned long i;

	for (i = page; i < page + (1ul << order); i++)
		if (content_get(i) != i + 1)
			fpt_fetch_add(&w.lost, 1, relaxed);
	set_states(page, 1ul << order, GIVING);
	fpt_free(&w.t, FIRST + page, order);
	set_states(page, 1ul << order, FREE);
}

static void discard(const struct fpt_range *r, long nr)
{
	unsigned long i;

	for (; nr-- > 0; r++)
		for (i = page_of(r->pfn); i < page_of(r->pfn) + r->nr; i++) {
			content_set(i, 0);
			fpt_store(&w.reported[i], 1, relaxed);
		}
}

static long collect(unsigned int cpu, struct fpt_range **ranges)
{
	return fpt_array2019_collect(&w.t, &owner, &w, cpu, ranges);
}

/* From collect to return, with a host that discards at once. */
static long report(unsigned int cpu)
{
	struct fpt_range *ranges;
	long nr = collect(cpu, &ranges);

	if (nr > 0) {
		discard(ranges, nr);
		fpt_array2019_return(&w.t, &owner, &w, cpu, true);
	}
	return nr;
}

static unsigned long stat(enum fpt_stat which)
{
	struct fpt_stats s;

	fpt_get_stats(&w.t, &s);
	assert_true(s.memory_used <= s.memory_donated);
	return s.count[which];
}

static struct fpt_config config_of(unsigned int nr_cpus, unsigned int entries)
{
	return (struct fpt_config){ .ops = &fpt_array2019_ops, .nr_cpus = nr_cpus, .order = 3,
				    .array_entries = entries, .is_free = is_free };
}

/* nr pages from FIRST on, all held. */
static void begin_with(const struct fpt_config *config, fpt_pfn_t nr)
{
	struct fpt_mem m = { w.memory, MEMORY, false };
	unsigned long i;

	memset(&w, 0, sizeof(w));
	memset(w.memory, FILL, sizeof(w.memory));
	set_cpu(0);
	assert_true(fpt_size(config) <= MEMORY);
	m.size = fpt_size(config);
	assert_int_equal(fpt_init(&w.t, config, &m), FPT_OK);
	assert_true(m.size < 2 * FPT_CACHE_LINE);
	m.size = fpt_range_size(&w.t, FIRST, nr, true);
	assert_true((char *)m.base + m.size <= w.memory + MEMORY);
	assert_int_equal(fpt_add_range(&w.t, FIRST, nr, &m), FPT_OK);
	for (i = 0; i < PAGES; i++) {
		w.state[i] = (fpt_atomic_t){ OWNED };
		content_set(i, i + 1);
	}
}

static void begin(unsigned int nr_cpus, unsigned int entries)
{
	struct fpt_config config = config_of(nr_cpus, entries);

	begin_with(&config, PAGES);
}

static void end(void)
{
	assert_int_equal(w.lost.v, 0);
	assert_int_equal(w.put_back_twice.v, 0);
	assert_int_equal(stat(FPT_STAT_CLAIMED), stat(FPT_STAT_BUSY) + stat(FPT_STAT_USED) +
			 stat(FPT_STAT_REPORTED) + stat(FPT_STAT_FAILED));
	fpt_destroy(&w.t);
}

/*
 * One thread. Everything is on CPU 0 unless said otherwise.
 */
#ifndef ONE_CPU
static struct fpt_array2019 *front(void)
{
	return w.t.front[FPT_SLOT_ARRAY2019];
}

/* The array of a CPU holds exactly these pages, all of order 0. */
static void assert_pages(unsigned int cpu, const char *pages)
{
	struct fpt_array2019_cpu *c = &front()->cpu[cpu];
	unsigned long i;

	assert_int_equal(c->nr.v, strlen(pages));
	for (i = 0; pages[i]; i++) {
		assert_int_equal(page_of(c->entry[i].pfn), pages[i] - '0');
		assert_int_equal(c->entry[i].nr, 1);
	}
}

static void test_init(void **state)
{
	static char memory[1 << 16] __attribute__((aligned(FPT_CACHE_LINE)));
	struct fpt_config config = config_of(3, 5);
	struct fpt_mem m;
	struct fpt t;
	size_t size;

	(void)state;
	for (size = 0; size < fpt_size(&config) - 2 * FPT_CACHE_LINE; size++) {
		m = (struct fpt_mem){ memory, size, false };
		assert_int_equal(fpt_init(&t, &config, &m), FPT_ENOMEM);
	}
	config.array_entries = 0;	/* the default */
	m = (struct fpt_mem){ memory, 0, false };
	assert_true(fpt_size(&config) >=
		    2 * 3 * FPT_ARRAY_ENTRIES * sizeof(struct fpt_range));
	config.array_entries = FPT_ARRAY2019_MAX_ENTRIES + 1;
	m.size = sizeof(memory);
	assert_int_equal(fpt_init(&t, &config, &m), FPT_EINVAL);
	config = config_of(3, 5);
	config.array_min_order = FPT_MAX_ORDER + 1;
	assert_int_equal(fpt_init(&t, &config, &m), FPT_EINVAL);
	/* The hooks do not see allocations. */
	config = config_of(3, 5);
	config.protocol = FPT_TICKET;
	assert_int_equal(fpt_init(&t, &config, &m), FPT_ENOTSUP);
}

static void test_append(void **state)
{
	struct fpt_array2019_cpu *c;
	struct fpt_range *ranges;

	(void)state;
	begin(2, 4);
	assert_int_equal(collect(0, &ranges), 0);
	give(3, 0);
	set_cpu(1);
	give(8, 3);
	set_cpu(0);
	give(5, 0);
	assert_pages(0, "35");
	c = &front()->cpu[1];
	assert_int_equal(c->nr.v, 1);
	assert_int_equal(page_of(c->entry[0].pfn), 8);
	assert_int_equal(c->entry[0].nr, 8);
	/* An allocation is counted, no more. */
	assert_true(take(3, 0));
	assert_pages(0, "35");
	assert_int_equal(stat(FPT_STAT_FREED), 10);
	assert_int_equal(stat(FPT_STAT_ALLOCATED), 1);
	assert_int_equal(stat(FPT_STAT_SLOW), 0);
	assert_false(fpt_array2019_requested(&w.t, 0));
	end();
}

/* The hook that fills it throws out what is not free any more; its own entry stays. */
static void test_scan(void **state)
{
	(void)state;
	begin(1, 4);
	give(0, 0);
	give(1, 0);
	give(2, 0);
	assert_true(take(0, 0));
	assert_true(take(2, 0));
	assert_int_equal(stat(FPT_STAT_SLOW), 0);
	give(3, 0);
	assert_pages(0, "13");
	assert_int_equal(stat(FPT_STAT_SLOW), 1);
	assert_false(fpt_array2019_requested(&w.t, 0));
	/* Twice freed is twice recorded. */
	assert_true(take(1, 0));
	give(1, 0);
	assert_pages(0, "131");
	assert_int_equal(stat(FPT_STAT_DROPPED), 0);
	assert_true(take(3, 0));
	give(4, 0);
	assert_pages(0, "114");
	give(5, 0);
	assert_pages(0, "1145");
	assert_true(fpt_array2019_requested(&w.t, 0));
	end();
}

static bool never(void *ctx, fpt_pfn_t pfn, unsigned int order)
{
	(void)pfn;
	(void)order;
	++*(unsigned int *)ctx;
	return false;
}

/* Who asks too little of a page on its way loses hints, but not the one that the hook is about. */
static void test_scan_keeps_its_own(void **state)
{
	struct fpt_config config = config_of(1, 3);
	unsigned int asked = 0;

	(void)state;
	config.is_free = never;
	config.is_free_ctx = &asked;
	begin_with(&config, PAGES);
	give(0, 0);
	give(1, 0);
	give(2, 0);
	assert_int_equal(asked, 2);
	assert_pages(0, "2");
	end();
}

static void test_full(void **state)
{
	struct fpt_range *ranges;

	(void)state;
	begin(2, 2);
	give(0, 0);
	assert_false(fpt_array2019_requested(&w.t, 0));
	give(1, 0);
	assert_true(fpt_array2019_requested(&w.t, 0));
	assert_false(fpt_array2019_requested(&w.t, 1));
	/* Dropped, and not scanned for again, though there would be room. */
	assert_true(take(0, 0));
	give(8, 2);
	assert_pages(0, "01");
	assert_int_equal(stat(FPT_STAT_DROPPED), 4);
	assert_int_equal(stat(FPT_STAT_SLOW), 1);
	assert_int_equal(stat(FPT_STAT_FREED), 6);
	/* The other CPU goes on. */
	set_cpu(1);
	give(2, 0);
	assert_pages(1, "2");
	/* The reporter's scan: what is owned is not claimed. */
	assert_int_equal(collect(0, &ranges), 1);
	assert_int_equal(page_of(ranges[0].pfn), 1);
	assert_false(fpt_array2019_requested(&w.t, 0));
	assert_pages(0, "");
	assert_int_equal(stat(FPT_STAT_CLAIMED), 1);
	assert_int_equal(stat(FPT_STAT_REPORTED), 0);
	fpt_array2019_return(&w.t, &owner, &w, 0, true);
	assert_int_equal(stat(FPT_STAT_REPORTED), 1);
	end();
}

/* One batch, of as many ranges as there are entries, as they were freed. */
static void test_one_batch(void **state)
{
	struct fpt_range *ranges;
	unsigned long i;

	(void)state;
	begin(1, MAX_ENTRIES);
	for (i = 0; i < MAX_ENTRIES; i++)
		give(2 * i, i % 2);
	assert_true(fpt_array2019_requested(&w.t, 0));
	assert_int_equal(collect(0, &ranges), MAX_ENTRIES);
	for (i = 0; i < MAX_ENTRIES; i++) {
		assert_int_equal(page_of(ranges[i].pfn), 2 * i);
		assert_int_equal(ranges[i].nr, 1 + i % 2);
		assert_int_equal(w.state[2 * i].v, ISOLATED);
		assert_false(take(2 * i, 0));
	}
	fpt_array2019_return(&w.t, &owner, &w, 0, true);
	for (i = 0; i < MAX_ENTRIES; i++)
		assert_true(take(2 * i, 0));
	assert_int_equal(stat(FPT_STAT_REPORTED), MAX_ENTRIES / 2 * 3);
	end();
}

/* While a batch is out, the array fills again, and nobody else collects. */
static void test_batch_out(void **state)
{
	struct fpt_range *ranges, *others;

	(void)state;
	begin(2, 2);
	give(0, 0);
	give(1, 0);
	assert_int_equal(collect(0, &ranges), 2);
	give(2, 0);
	give(3, 0);
	assert_true(fpt_array2019_requested(&w.t, 0));
	assert_int_equal(collect(0, &others), FPT_EBUSY);
	assert_true(fpt_array2019_requested(&w.t, 0));
	assert_pages(0, "23");
	assert_int_equal(page_of(ranges[0].pfn), 0);
	assert_int_equal(page_of(ranges[1].pfn), 1);
	/* Another CPU's batch is another matter. */
	set_cpu(1);
	give(4, 0);
	assert_int_equal(report(1), 1);
	/* Any CPU may return it. */
	fpt_array2019_return(&w.t, &owner, &w, 0, true);
	assert_int_equal(report(0), 2);
	assert_int_equal(report(0), 0);
	assert_int_equal(stat(FPT_STAT_DROPPED), 0);
	assert_int_equal(stat(FPT_STAT_REPORTED), 5);
	end();
}

static enum fpt_isolated answer;

static enum fpt_isolated isolate_answers(void *ctx, struct fpt_range r)
{
	return answer == FPT_TAKEN ? isolate(ctx, r) : answer;
}

static void test_busy_and_used(void **state)
{
	static const struct fpt_owner_ops answers = { isolate_answers, put_back, NULL };
	struct fpt_range *ranges;

	(void)state;
	begin(1, 4);
	give(8, 2);
	answer = FPT_BUSY;
	assert_int_equal(fpt_array2019_collect(&w.t, &answers, NULL, 0, &ranges), 0);
	assert_pages(0, "");
	assert_int_equal(stat(FPT_STAT_BUSY), 4);
	assert_int_equal(stat(FPT_STAT_DROPPED), 4);
	give(16, 1);
	answer = FPT_USED;
	assert_int_equal(fpt_array2019_collect(&w.t, &answers, NULL, 0, &ranges), 0);
	assert_int_equal(stat(FPT_STAT_USED), 2);
	assert_int_equal(stat(FPT_STAT_DROPPED), 4);
	assert_int_equal(stat(FPT_STAT_CLAIMED), 6);
	/* Named twice: once isolated, it is busy. What is left over does not stay in the batch. */
	give(0, 0);
	assert_true(take(0, 0));
	give(0, 0);
	assert_pages(0, "00");
	assert_int_equal(report(0), 1);
	assert_int_equal(stat(FPT_STAT_BUSY), 5);
	assert_int_equal(report(0), 0);
	end();
}

static void test_host_refuses(void **state)
{
	struct fpt_range *ranges;

	(void)state;
	begin(1, 4);
	give(8, 2);
	give(0, 0);
	assert_int_equal(collect(0, &ranges), 2);
	fpt_array2019_return(&w.t, &owner, &w, 0, false);
	assert_int_equal(stat(FPT_STAT_FAILED), 5);
	assert_int_equal(stat(FPT_STAT_DROPPED), 5);
	assert_int_equal(stat(FPT_STAT_REPORTED), 0);
	assert_true(take(8, 2));
	assert_int_equal(report(0), 0);
	/* And so may the caller. */
	give(8, 2);
	fpt_refuse(&w.t, FPT_REFUSE_DEVICE);
	assert_int_equal(collect(0, &ranges), FPT_EBUSY);
	fpt_permit(&w.t, FPT_REFUSE_DEVICE);
	assert_int_equal(report(0), 1);
	end();
}

static void test_edges(void **state)
{
	struct fpt_config config = config_of(1, 8);
	static char memory[4096];
	struct fpt_mem m = { memory, sizeof(memory), false };

	(void)state;
	begin_with(&config, 16);
	fpt_free(&w.t, FIRST + 16, 0);
	fpt_free(&w.t, FIRST - 4, 2);
	fpt_free(&w.t, ~0ul, 0);
	fpt_free(&w.t, ~0ul - 1, 1);
	assert_int_equal(stat(FPT_STAT_OUTSIDE), 8);
	assert_int_equal(stat(FPT_STAT_DROPPED), 0);
	/* In part: nothing of it is recorded. */
	fpt_free(&w.t, FIRST + 14, 2);
	assert_int_equal(stat(FPT_STAT_OUTSIDE), 10);
	assert_int_equal(stat(FPT_STAT_DROPPED), 2);
	/* In two ranges. */
	assert_int_equal(fpt_add_range(&w.t, FIRST + 16, 16, &m), FPT_OK);
	fpt_free(&w.t, FIRST + 14, 2);
	assert_int_equal(stat(FPT_STAT_OUTSIDE), 10);
	assert_int_equal(stat(FPT_STAT_DROPPED), 6);
	assert_pages(0, "");
	fpt_free(&w.t, FIRST + 15, 0);
	fpt_free(&w.t, FIRST + 16, 4);
	assert_int_equal(front()->cpu[0].nr.v, 2);
	assert_int_equal(stat(FPT_STAT_DROPPED), 6);
	end();
}

static void test_min_order(void **state)
{
	struct fpt_config config = config_of(1, 2);

	(void)state;
	config.array_min_order = 2;
	begin_with(&config, PAGES);
	give(0, 0);
	give(2, 1);
	give(8, 2);
	assert_int_equal(front()->cpu[0].nr.v, 1);
	assert_int_equal(stat(FPT_STAT_FREED), 7);
	assert_int_equal(stat(FPT_STAT_DROPPED), 0);
	assert_int_equal(report(0), 1);
	assert_int_equal(stat(FPT_STAT_REPORTED), 4);
	end();
}

/* The last page that can be named. */
static void test_last_page(void **state)
{
	struct fpt_config config = config_of(1, 2);
	static char memory[4096];
	struct fpt_mem m = { memory, sizeof(memory), false };
	struct fpt_range *ranges;

	(void)state;
	config.is_free = NULL;
	begin_with(&config, PAGES);
	assert_int_equal(fpt_add_range(&w.t, ~0ul - 7, 8, &m), FPT_OK);
	fpt_free(&w.t, ~0ul, 0);
	fpt_free(&w.t, ~0ul - 3, 2);
	assert_true(fpt_array2019_requested(&w.t, 0));	/* nobody to ask: all free */
	assert_int_equal(stat(FPT_STAT_OUTSIDE), 0);
	answer = FPT_USED;
	assert_int_equal(fpt_array2019_collect(&w.t, &(struct fpt_owner_ops){ isolate_answers,
					       put_back, NULL }, NULL, 0, &ranges), 0);
	assert_int_equal(stat(FPT_STAT_USED), 5);
	end();
}

/* What runs while the array is taken: hooks of this CPU drop, and wait for nothing. */
static void interrupt(void)
{
	struct fpt_range *ranges;

	fpt_free(&w.t, FIRST + 40, 1);
	assert_int_equal(collect(0, &ranges), FPT_EBUSY);
	set_cpu(1);
	fpt_free(&w.t, FIRST + 8, 0);
	set_cpu(0);
}

static unsigned int interrupts;

static bool is_free_interrupted(void *ctx, fpt_pfn_t pfn, unsigned int order)
{
	if (interrupts && interrupts--)
		interrupt();
	return is_free(ctx, pfn, order);
}

static enum fpt_isolated isolate_interrupted(void *ctx, struct fpt_range r)
{
	if (interrupts && interrupts--)
		interrupt();
	return isolate(ctx, r);
}

static void test_taken(void **state)
{
	static const struct fpt_owner_ops interrupted = { isolate_interrupted, put_back, NULL };
	struct fpt_config config = config_of(2, 3);
	struct fpt_range *ranges;

	(void)state;
	config.is_free = is_free_interrupted;
	begin_with(&config, PAGES);
	give(0, 0);
	give(1, 0);
	interrupts = 1;
	give(2, 0);
	assert_int_equal(interrupts, 0);
	assert_int_equal(stat(FPT_STAT_DROPPED), 2);
	assert_pages(0, "012");
	assert_pages(1, "8");
	interrupts = 1;
	assert_int_equal(fpt_array2019_collect(&w.t, &interrupted, &w, 0, &ranges), 3);
	assert_int_equal(stat(FPT_STAT_DROPPED), 4);
	assert_pages(1, "88");
	fpt_array2019_return(&w.t, &owner, &w, 0, true);
	end();
}

#ifndef FPT_TRACKER
/* Passes find nothing of it, and it outlives a switch. */
static void test_switch(void **state)
{
	struct fpt_config config = { .ops = &fpt_xbitmap_ops, .nr_cpus = 2, .order = 3 };
	static char memory[8192];
	struct fpt_mem m = { memory, sizeof(memory), false };
	struct fpt_policy policy = { .batch = 4, .max_in_flight = PAGES };
	struct fpt_reporter rep = { 0 };
	struct fpt_batch batch;
	struct fpt_range *ranges;

	(void)state;
	begin(2, 4);
	assert_int_equal(fpt_reporter_init(&rep, &w.t, &owner, NULL, &policy), FPT_OK);
	give(0, 3);
	fpt_pass_begin(&rep);
	assert_int_equal(fpt_pass_next(&rep, &batch), 0);
	assert_int_equal(fpt_switch(&w.t, &config, NULL), FPT_OK);
	give(8, 3);
	assert_int_equal(front()->cpu[0].nr.v, 1);
	fpt_pass_begin(&rep);
	assert_int_equal(fpt_pass_next(&rep, &batch), 1);
	assert_int_equal(page_of(batch.range[0].pfn), 8);
	fpt_pass_complete(&rep, &batch, true);
	assert_int_equal(report(0), 1);
	/* Back to the same array; what xbitmap holds is still a pass's. */
	give(16, 3);
	config.ops = &fpt_array2019_ops;
	assert_int_equal(fpt_switch(&w.t, &config, NULL), FPT_OK);
	give(24, 3);
	assert_int_equal(report(0), 1);
	fpt_pass_begin(&rep);
	assert_int_equal(fpt_pass_next(&rep, &batch), 1);
	assert_int_equal(page_of(batch.range[0].pfn), 16);
	fpt_pass_complete(&rep, &batch, true);
	end();
	/* Never used: nothing asks, nothing is there. */
	config.ops = &fpt_xbitmap_ops;
	m.size = sizeof(memory);
	assert_int_equal(fpt_init(&w.t, &config, &m), FPT_OK);
	assert_false(fpt_array2019_requested(&w.t, 0));
	assert_int_equal(collect(0, &ranges), FPT_ENOTSUP);
	/* Switched to, with memory for it. */
	config = config_of(2, 4);
	assert_int_equal(fpt_switch(&w.t, &config, &m), FPT_OK);
	assert_int_equal(collect(0, &ranges), 0);
}

#endif

static bool only_in_range(void *ctx, fpt_pfn_t pfn, unsigned int order)
{
	assert_true(page_of(pfn) < PAGES);
	return is_free(ctx, pfn, order);
}

/* A range that is gone: neither callback hears of its pages. */
static void test_remove_range(void **state)
{
	struct fpt_config config = config_of(1, 4);
	static char memory[4096];
	struct fpt_mem m = { memory, sizeof(memory), false };

	(void)state;
	config.is_free = only_in_range;
	begin_with(&config, PAGES);
	assert_int_equal(fpt_add_range(&w.t, FIRST + 96, 32, &m), FPT_OK);
	fpt_free(&w.t, FIRST + 96, 3);
	give(0, 0);
	assert_int_equal(fpt_remove_range(&w.t, FIRST + 96, 32), FPT_OK);
	/* A smaller one comes in its place. */
	m = (struct fpt_mem){ memory, sizeof(memory), false };
	assert_int_equal(fpt_add_range(&w.t, FIRST + 96, 4, &m), FPT_OK);
	assert_int_equal(report(0), 1);
	assert_int_equal(stat(FPT_STAT_CLAIMED), 1);
	assert_int_equal(fpt_remove_range(&w.t, FIRST + 96, 4), FPT_OK);
	m = (struct fpt_mem){ memory, sizeof(memory), false };
	assert_int_equal(fpt_add_range(&w.t, FIRST + 96, 32, &m), FPT_OK);
	fpt_free(&w.t, FIRST + 96, 3);
	assert_int_equal(fpt_remove_range(&w.t, FIRST + 96, 32), FPT_OK);
	give(1, 0);
	give(2, 0);
	give(3, 0);
	assert_pages(0, "123");
	end();
}

/*
 * The model: per CPU a list, and what is out.
 */
struct list {
	unsigned int nr;
	struct fpt_range r[MAX_ENTRIES];
};

static struct {
	struct list array[MAX_CPUS], out[MAX_CPUS];
	bool requested[MAX_CPUS];
	unsigned long count[FPT_NR_STATS];
	unsigned int entries, nr_cpus, min_order;
	unsigned long long random;
	unsigned long seed, step;
	enum fpt_isolated says[MAX_ENTRIES];	/* isolation, of the entries that get to it */
	unsigned int asked;
} m;

static unsigned int chance(unsigned int n)
{
	m.random = m.random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)((m.random >> 33) % n);
}

static bool model_free(const struct fpt_range *r)
{
	unsigned long i;

	for (i = page_of(r->pfn); i < page_of(r->pfn) + r->nr; i++)
		if (w.state[i].v == OWNED)
			return false;
	return true;
}

static void model_give(unsigned int cpu, unsigned long page, unsigned int order)
{
	struct list *l = &m.array[cpu];
	unsigned int i, kept = 0;

	m.count[FPT_STAT_FREED] += 1ul << order;
	if (order < m.min_order)
		return;
	if (l->nr == m.entries) {
		m.count[FPT_STAT_DROPPED] += 1ul << order;
		return;
	}
	l->r[l->nr++] = (struct fpt_range){ FIRST + page, 1ul << order };
	if (l->nr < m.entries)
		return;
	m.count[FPT_STAT_SLOW]++;
	for (i = 0; i < l->nr; i++)
		if (model_free(&l->r[i]))
			l->r[kept++] = l->r[i];
	l->nr = kept;
	m.requested[cpu] = kept == m.entries;
}

/* Isolation as the model foresaw it; sometimes it is busy for no reason. */
static enum fpt_isolated isolate_model(void *ctx, struct fpt_range r)
{
	enum fpt_isolated says = m.says[m.asked++];

	if (says == FPT_TAKEN)
		assert_int_equal(isolate(ctx, r), FPT_TAKEN);
	return says;
}

static const struct fpt_owner_ops model_owner = { isolate_model, put_back, NULL };

static void model_collect(unsigned int cpu)
{
	struct list *l = &m.array[cpu], *out = &m.out[cpu];
	bool isolated[PAGES] = { false };
	struct fpt_range *ranges = NULL;
	unsigned int i, n = 0;
	unsigned long p;
	long nr;

	if (out->nr) {
		assert_int_equal(fpt_array2019_collect(&w.t, &model_owner, &w, cpu, &ranges),
				 FPT_EBUSY);
		return;
	}
	for (p = 0; p < PAGES; p++)
		isolated[p] = w.state[p].v == ISOLATED;
	for (i = 0; i < l->nr; i++) {
		const struct fpt_range *r = &l->r[i];
		bool busy = !chance(8);

		if (!model_free(r))
			continue;
		for (p = page_of(r->pfn); p < page_of(r->pfn) + r->nr; p++)
			busy |= isolated[p];
		m.says[n] = busy ? FPT_BUSY : chance(8) ? FPT_TAKEN : FPT_USED;
		m.count[FPT_STAT_CLAIMED] += r->nr;
		m.count[FPT_STAT_BUSY] += busy ? r->nr : 0;
		m.count[FPT_STAT_DROPPED] += busy ? r->nr : 0;
		m.count[FPT_STAT_USED] += m.says[n] == FPT_USED ? r->nr : 0;
		if (m.says[n++] != FPT_TAKEN)
			continue;
		out->r[out->nr++] = *r;
		for (p = page_of(r->pfn); p < page_of(r->pfn) + r->nr; p++)
			isolated[p] = true;
	}
	l->nr = 0;
	m.requested[cpu] = false;
	m.asked = 0;
	nr = fpt_array2019_collect(&w.t, &model_owner, &w, cpu, &ranges);
	assert_int_equal(m.asked, n);
	assert_int_equal(nr, out->nr);
	if (nr > 0) {
		assert_memory_equal(ranges, out->r, out->nr * sizeof(*ranges));
		discard(ranges, nr);
	}
}

static void model_return(unsigned int cpu)
{
	bool ok = chance(6);
	unsigned int i;

	if (!m.out[cpu].nr)
		return;
	for (i = 0; i < m.out[cpu].nr; i++) {
		m.count[ok ? FPT_STAT_REPORTED : FPT_STAT_FAILED] += m.out[cpu].r[i].nr;
		m.count[FPT_STAT_DROPPED] += ok ? 0 : m.out[cpu].r[i].nr;
	}
	m.out[cpu].nr = 0;
	fpt_array2019_return(&w.t, &model_owner, &w, cpu, ok);
}

static void compare(void)
{
	unsigned int cpu, i;

	for (cpu = 0; cpu < m.nr_cpus; cpu++) {
		struct fpt_array2019_cpu *c = &front()->cpu[cpu];

		assert_int_equal(c->nr.v, m.array[cpu].nr);
		assert_memory_equal(c->entry, m.array[cpu].r,
				    m.array[cpu].nr * sizeof(struct fpt_range));
		assert_int_equal(fpt_array2019_requested(&w.t, cpu), m.requested[cpu]);
		assert_int_equal(m.requested[cpu], m.array[cpu].nr == m.entries);
		assert_int_equal(c->taken.v, 0);
		assert_int_equal(c->out.v, m.out[cpu].nr != 0);
		assert_int_equal(c->nr_out, m.out[cpu].nr);
		assert_memory_equal(c->batch, m.out[cpu].r,
				    m.out[cpu].nr * sizeof(struct fpt_range));
	}
	for (i = 0; i < FPT_NR_STATS; i++)
		assert_int_equal(stat(i), m.count[i]);
}

static void lockstep(unsigned long seed, unsigned long steps)
{
	struct { unsigned long page; unsigned int order; } held[PAGES];
	struct fpt_config config;
	unsigned int nr_held = 0, order, cpu;
	unsigned long page;

	memset(&m, 0, sizeof(m));
	m.seed = seed;
	m.random = seed;
	m.entries = 1 + chance(chance(2) ? 4 : MAX_ENTRIES);
	m.nr_cpus = 1 + chance(3);
	m.min_order = chance(4) ? 0 : chance(3);
	config = config_of(m.nr_cpus, m.entries);
	config.array_min_order = m.min_order;
	begin_with(&config, PAGES);
	for (page = 0; page < PAGES; page += 4) {
		held[nr_held].page = page;
		held[nr_held++].order = 2;
	}
	for (m.step = 0; m.step < steps; m.step++) {
		cpu = chance(m.nr_cpus);
		set_cpu(cpu);
		switch (chance(8)) {
		case 0:
			model_collect(chance(m.nr_cpus));
			break;
		case 1:
			model_return(chance(m.nr_cpus));
			break;
		case 2:
		case 3:
		case 4:
			order = chance(3);
			page = (unsigned long)chance(PAGES) >> order << order;
			if (!take(page, order))
				break;
			m.count[FPT_STAT_ALLOCATED] += 1ul << order;
			held[nr_held].page = page;
			held[nr_held++].order = order;
			break;
		default:
			if (!nr_held)
				break;
			order = chance(nr_held);
			give(held[order].page, held[order].order);
			/* While its hook runs the page counts as free; nothing else differs. */
			model_give(cpu, held[order].page, held[order].order);
			held[order] = held[--nr_held];
		}
		compare();
	}
	for (cpu = 0; cpu < m.nr_cpus; cpu++)
		model_return(cpu);
	compare();
	end();
	m.step = 0;
}

static int say_where(void **state)
{
	(void)state;
	if (m.step)
		print_error("FPT_TEST_SEED=%lu, step %lu\n", m.seed, m.step);
	return 0;
}

static void test_lockstep(void **state)
{
	const char *one = getenv("FPT_TEST_SEED"), *seeds = getenv("FPT_TEST_SEEDS"),
		   *steps = getenv("FPT_TEST_STEPS");
	unsigned long first = one ? strtoul(one, NULL, 0) : 1;
	unsigned long nr = one ? 1 : seeds ? strtoul(seeds, NULL, 0) : 60, seed;

	(void)state;
	for (seed = first; seed < first + nr; seed++)
		lockstep(seed, steps ? strtoul(steps, NULL, 0) : 2000);
}
#endif

/*
 * Every schedule.
 */
#ifdef FPT_MODEL
#define MAX_OPS 5

enum what { END, DO_GIVE, DO_TAKE, DO_USE, DO_REPORT, DO_REFUSED, DO_COLLECT, DO_RETURN };

struct op {
	enum what what;
	unsigned int on;	/* page, or CPU */
};

#define GIVE(page) { DO_GIVE, page }
#define TAKE(page) { DO_TAKE, page }		/* unless isolated */
#define USE(page) { DO_USE, page }		/* take, write, check, give */
#define REPORT(cpu) { DO_REPORT, cpu }		/* collect, discard, return */
#define REFUSED(cpu) { DO_REFUSED, cpu }	/* the host refuses */
#define COLLECT(cpu) { DO_COLLECT, cpu }
#define RETURN(cpu) { DO_RETURN, cpu }

struct scenario {
	const char *name;
	unsigned int entries;
	unsigned int cpu[EXPLORE_MAX_THREADS];
	int bound;
	unsigned int may_drop;			/* pages */
	bool freezes;				/* thread 0 does, at each step in turn */
	struct op before[MAX_OPS];		/* on CPU 0; all pages are held at first */
	struct op thread[EXPLORE_MAX_THREADS][MAX_OPS];
};

#define FEW 6u			/* pages that scenarios use */

static const struct scenario *s;
static struct world w_image;
static struct { fpt_atomic_t content[PAGES]; } content_image;
static struct { struct fpt_range *ranges; long nr; } got[EXPLORE_MAX_THREADS];

#define wrong(...) explore_fail(EXPLORE_WRONG, __VA_ARGS__)

static void run_op(const struct op *op, unsigned int id)
{
	if (op->what == DO_GIVE)
		give(op->on, 0);
	if (op->what == DO_TAKE)
		(void)take(op->on, 0);
	if (op->what == DO_USE && take(op->on, 0))
		give(op->on, 0);
	if (op->what == DO_REPORT || op->what == DO_COLLECT || op->what == DO_REFUSED)
		got[id].nr = collect(op->on, &got[id].ranges);
	if ((op->what == DO_REPORT || op->what == DO_RETURN) && got[id].nr > 0)
		discard(got[id].ranges, got[id].nr);
	if (op->what != DO_COLLECT && op->what >= DO_REPORT && got[id].nr > 0) {
		fpt_array2019_return(&w.t, &owner, &w, op->on, op->what != DO_REFUSED);
		got[id].nr = 0;
	}
}

static void run_thread(void *arg, unsigned int id)
{
	const struct op *op;

	(void)arg;
	for (op = s->thread[id]; op->what != END; op++)
		run_op(op, id);
}

static void setup(void *arg)
{
	(void)arg;
	memcpy(&w, &w_image, sizeof(w));
	memcpy(content, content_image.content, sizeof(content));
	memset(got, 0, sizeof(got));
}

/* In an array, or out. */
static bool is_named(unsigned long page)
{
	unsigned long cpu, i;

	for (cpu = 0; cpu < 2; cpu++) {
		const struct fpt_array2019_cpu *c = &front()->cpu[cpu];

		for (i = 0; i < c->nr.v; i++)
			if (page_of(c->entry[i].pfn) == page)
				return true;
		for (i = 0; i < c->nr_out; i++)
			if (page_of(c->batch[i].pfn) == page)
				return true;
	}
	return false;
}

static void check_cpu(unsigned int cpu)
{
	const struct fpt_array2019_cpu *c = &front()->cpu[cpu];

	if (c->taken.v)
		wrong("CPU %u: its array is still taken", cpu);
	if (c->nr.v > s->entries || c->requested.v != (c->nr.v == s->entries))
		wrong("CPU %u: %lu entries, requested %lu", cpu, c->nr.v, c->requested.v);
	if (c->out.v != (c->nr_out != 0))
		wrong("CPU %u: out %lu, %lu ranges", cpu, c->out.v, c->nr_out);
}

static void check(void *arg)
{
	bool frozen = *(bool *)arg;
	unsigned long p, missed = 0, dropped;
	unsigned int id;
	struct fpt_stats stats;

	if (w.lost.v)
		wrong("%lu pages lost their data", w.lost.v);
	if (w.put_back_twice.v)
		wrong("%lu pages were put back that were not isolated", w.put_back_twice.v);
	fpt_get_stats(&w.t, &stats);
	dropped = stats.count[FPT_STAT_DROPPED];
	for (p = 0; p < FEW; p++) {
		if (!frozen && w.state[p].v == ISOLATED && !is_named(p))
			wrong("page %lu stays isolated", p);
		if (!frozen && w.state[p].v == FREE && !w.reported[p].v && !is_named(p))
			missed++;
	}
	if (missed > dropped)
		wrong("%lu hints lost, %lu counted as dropped", missed, dropped);
	if (dropped > s->may_drop)
		wrong("%lu pages dropped", dropped);
	if (frozen)
		return;
	check_cpu(0);
	check_cpu(1);
	for (id = 0; id < EXPLORE_MAX_THREADS; id++)
		if (got[id].nr > 0) {
			discard(got[id].ranges, got[id].nr);
			fpt_array2019_return(&w.t, &owner, &w, 0, true);
		}
	/* All quiet: asked or not, everything is reported now. */
	(void)report(0);
	(void)report(1);
	for (p = 0; p < FEW; p++)
		missed -= w.state[p].v == FREE && !w.reported[p].v;
	if (missed)
		wrong("hints were not reported in the end");
	fpt_get_stats(&w.t, &stats);
	if (stats.count[FPT_STAT_CLAIMED] !=
	    stats.count[FPT_STAT_BUSY] + stats.count[FPT_STAT_USED] +
		    stats.count[FPT_STAT_REPORTED] + stats.count[FPT_STAT_FAILED])
		wrong("claims are not accounted for");
}

static void explore_scenario(const struct scenario *scenario, struct explore *e)
{
	const struct op *op;
	unsigned int i;

	s = scenario;
	e->name = explore_name(e, s->name);
	begin(2, s->entries);
	for (op = s->before; op->what != END; op++)
		run_op(op, 0);
	w_image = w;
	memcpy(content_image.content, content, sizeof(content));
	for (i = 0; i < EXPLORE_MAX_THREADS; i++)
		if (s->thread[i][0].what != END)
			e->nr_threads = i + 1;
	memcpy(e->cpu, s->cpu, sizeof(e->cpu));
	e->setup = setup;
	e->thread = run_thread;
	e->check = check;
	e->arg = &e->froze;
	e->bound = explore_bound(s->bound);
	/* Counters, which are added to only; and the ranges, which stay. */
	e->quiet_memory[0].first = (const char *)w.t.percpu;
	e->quiet_memory[0].end = (const char *)(w.t.percpu + w.t.nr_cpus);
	e->quiet_memory[1].first = (const char *)&w.t.back;
	e->quiet_memory[1].end = (const char *)(&w.t.back + 1);
	explore(e);
}

#define EXHAUST .bound = -1

static const struct scenario scenarios[] = {
	/* A hook is preempted by another of its CPU: one of them may have to drop. */
	{ .name = "two hooks", .entries = 2, EXHAUST, .may_drop = 1,
	  .thread = { { GIVE(0) }, { GIVE(1) } } },
	{ .name = "three hooks", .entries = 2, EXHAUST, .may_drop = 2,
	  .thread = { { GIVE(0) }, { GIVE(1) }, { GIVE(2) } } },
	{ .name = "two CPUs", .entries = 2, EXHAUST, .cpu = { 0, 1 },
	  .thread = { { GIVE(0), GIVE(2) }, { GIVE(1), GIVE(3) } } },
	/* The scan of one, while pages that it looks at are taken and come back. */
	{ .name = "scan, alloc", .entries = 3, EXHAUST, .cpu = { 0, 1 },
	  .before = { GIVE(0), GIVE(1) },
	  .thread = { { GIVE(2) }, { TAKE(0) } } },
	{ .name = "scan, use", .entries = 2, EXHAUST, .cpu = { 0, 1 }, .may_drop = 0,
	  .before = { GIVE(0) },
	  .thread = { { GIVE(1) }, { USE(0) } } },
	{ .name = "scan, use here", .entries = 2, EXHAUST, .may_drop = 1,
	  .before = { GIVE(0) },
	  .thread = { { GIVE(1) }, { USE(0) } } },
	/* Collecting. */
	{ .name = "collect, hook", .entries = 2, EXHAUST, .cpu = { 0, 1 }, .may_drop = 1,
	  .before = { GIVE(0), GIVE(1) },
	  .thread = { { GIVE(2) }, { REPORT(0) } } },
	{ .name = "collect, use", .entries = 2, EXHAUST, .cpu = { 1, 1 }, .may_drop = 1,
	  .before = { GIVE(0), GIVE(1) },
	  .thread = { { USE(0) }, { REPORT(0) } } },
	{ .name = "collect, use here", .entries = 2, EXHAUST, .cpu = { 0, 1 }, .may_drop = 2,
	  .before = { GIVE(0), GIVE(1) },
	  .thread = { { USE(0) }, { REPORT(0) } } },
	{ .name = "flush, filling hook", .entries = 3, EXHAUST, .cpu = { 0, 1 }, .may_drop = 1,
	  .before = { GIVE(0), GIVE(1) },
	  .thread = { { GIVE(2) }, { REPORT(0) } } },
	{ .name = "refused, use", .entries = 1, EXHAUST, .cpu = { 0, 1 }, .may_drop = 2,
	  .before = { GIVE(0) },
	  .thread = { { USE(0) }, { REFUSED(0) } } },
	{ .name = "two collectors", .entries = 2, EXHAUST, .cpu = { 0, 1 },
	  .before = { GIVE(0), GIVE(1) },
	  .thread = { { REPORT(0) }, { REPORT(0) } } },
	/* The same page in two CPUs' arrays: it is isolated once. */
	{ .name = "two collectors, one page", .entries = 2, EXHAUST, .cpu = { 0, 1 }, .may_drop = 2,
	  .before = { GIVE(0), TAKE(0), GIVE(0) },
	  .thread = { { REPORT(0) }, { USE(0), REPORT(1) } } },
	{ .name = "collect, hook, hook", .entries = 2, EXHAUST, .cpu = { 0, 0, 1 },
	  .may_drop = 2, .before = { GIVE(0), GIVE(1) },
	  .thread = { { GIVE(2) }, { GIVE(3) }, { REPORT(0) } } },
	{ .name = "return, hooks, collect", .entries = 2, .bound = 2, .cpu = { 0, 0, 1, 1 },
	  .may_drop = 4, .before = { GIVE(0), GIVE(1) },
	  .thread = { { GIVE(2), USE(0) }, { GIVE(3) }, { COLLECT(0), RETURN(0) },
		      { REPORT(0) } } },
	/* Whoever stops with the array taken, or with a batch out: nobody waits for it. */
	{ .name = "freeze hook", .entries = 2, .bound = 1, .freezes = true, .cpu = { 0, 0, 1, 1 },
	  .may_drop = 4, .before = { GIVE(0) },
	  .thread = { { GIVE(1) }, { GIVE(2) }, { GIVE(3) }, { REPORT(0) } } },
	{ .name = "freeze collector", .entries = 2, .bound = 1, .freezes = true,
	  .cpu = { 1, 0, 1, 1 }, .may_drop = 4, .before = { GIVE(0), GIVE(1) },
	  .thread = { { REPORT(0) }, { GIVE(2) }, { GIVE(3) }, { REPORT(0) } } },
};

static void test_scenario(void **state)
{
	const struct scenario *scenario = *state;

	if (scenario->freezes)
		explore_test_frozen(explore_scenario, scenario);
	else
		explore_test(explore_scenario, scenario);
}

/* I6: hooks of two CPUs write no line in common. */
static const void *written[256];
static unsigned int nr_written, nr_shared, nr_accesses;

static void note_writes(const struct fpt_model_access *a)
{
	const void *line = (const void *)((uintptr_t)a->address / FPT_CACHE_LINE * FPT_CACHE_LINE);
	unsigned int i;

	nr_accesses++;
	if (a->kind != FPT_MODEL_RMW && a->kind != FPT_MODEL_STORE)
		return;
	for (i = 0; i < nr_written; i++)
		nr_shared += fpt_model_cpu == 1 && written[i] == line;
	if (fpt_model_cpu == 0 && nr_written < COUNT(written))
		written[nr_written++] = line;
}

static void test_private_lines(void **state)
{
	unsigned int i;

	(void)state;
	begin(2, 4);
	nr_written = nr_shared = 0;
	for (set_cpu(0); fpt_model_cpu < 2; fpt_model_cpu++)
		for (i = 0; i < 6; i++) {
			fpt_model_hook = note_writes;
			nr_accesses = 0;
			fpt_free(&w.t, FIRST + i, 0);
			fpt_alloc(&w.t, FIRST + i, 0);
			fpt_model_hook = NULL;
			/* I4: but for the scan, a hook takes few steps. */
			assert_true(nr_accesses < (i == 3 ? 70u : 30u));
		}
	assert_true(nr_written > 4 && nr_written < COUNT(written));
	assert_int_equal(nr_shared, 0);
	set_cpu(0);
}
#else
/*
 * Threads. Workers take, sign, verify and give back; collectors' host writes over what it gets.
 */
#define WORKERS 3u
#define COLLECTORS 2u
#define CPUS (WORKERS + COLLECTORS + 1)
#define BATCHES 300u
#define REFUSED 30u
#define MAX_HELD 12u

static fpt_atomic_t finished, batches, busy, refused;

static unsigned int next_random(unsigned long long *random)
{
	*random = *random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(*random >> 33);
}

static void *work(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg, i, k;
	struct { unsigned long page; unsigned int order; } held[MAX_HELD];
	unsigned int nr = 0;
	unsigned long long random = id + 1;

	set_cpu(1 + id);
	/* As long as it takes the collectors to get in between. */
	for (i = 0; fpt_load(&batches, relaxed) < BATCHES || fpt_load(&refused, relaxed) < REFUSED;
	     i++) {
		if (i % 64 == 0)
			sched_yield();
		if (nr < MAX_HELD && next_random(&random) % 2) {
			held[nr].order = next_random(&random) % 3;
			held[nr].page = next_random(&random) % PAGES >> held[nr].order
								     << held[nr].order;
			nr += take(held[nr].page, held[nr].order);
		} else if (nr) {
			k = next_random(&random) % nr;
			give(held[k].page, held[k].order);
			held[k] = held[--nr];
		}
	}
	while (nr--)
		give(held[nr].page, held[nr].order);
	return NULL;
}

static void *collector(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg, cpu;
	unsigned long long random = id + 100;

	set_cpu(1 + WORKERS + id);
	while (!fpt_load(&finished, acquire))
		for (cpu = 0; cpu < w.t.nr_cpus; cpu++) {
			bool flush = next_random(&random) % 1024 == 0;
			bool ok = next_random(&random) % 8 != 0;
			struct fpt_range *ranges;
			long nr;

			if (!fpt_array2019_requested(&w.t, cpu) && !flush)
				continue;
			nr = collect(cpu, &ranges);
			if (nr < 0) {
				fpt_fetch_add(&busy, 1, relaxed);
				sched_yield();
			}
			if (nr <= 0)
				continue;
			if (ok)
				discard(ranges, nr);
			fpt_fetch_add(ok ? &batches : &refused, 1, relaxed);
			fpt_array2019_return(&w.t, &owner, &w, cpu, ok);
		}
	return NULL;
}

static void test_threads(void **state)
{
	const unsigned int nr_cpus = (unsigned int)(uintptr_t)*state;
	pthread_t thread[WORKERS + COLLECTORS];
	unsigned long i, missed = 0;
	unsigned int n = 0;

	begin(nr_cpus, MAX_ENTRIES);
	finished = batches = busy = refused = (fpt_atomic_t){ 0 };
	for (i = 0; i < PAGES; i++)
		give(i, 0);
	for (i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&thread[n++], NULL, work, (void *)(uintptr_t)i), 0);
	for (i = 0; i < COLLECTORS; i++)
		assert_int_equal(pthread_create(&thread[n++], NULL, collector,
						(void *)(uintptr_t)i), 0);
	/* Workers end by themselves, collectors when told to. */
	for (i = 0; i < n; i++) {
		if (i == WORKERS)
			fpt_store(&finished, 1, release);
		pthread_join(thread[i], NULL);
	}
	set_cpu(0);
	for (i = 0; i < nr_cpus; i++)
		assert_true(report((unsigned int)i) >= 0);
	for (i = 0; i < PAGES; i++) {
		assert_int_equal(w.state[i].v, FREE);
		missed += !w.reported[i].v;
	}
	assert_true(missed <= stat(FPT_STAT_DROPPED));
	assert_int_equal(stat(FPT_STAT_FREED), stat(FPT_STAT_ALLOCATED) + PAGES);
	assert_int_equal(stat(FPT_STAT_OUTSIDE), 0);
	if (getenv("FPT_TEST_VERBOSE"))
		print_message("%lu freed, %lu dropped, %lu scans, %lu batches, %lu busy\n",
			      stat(FPT_STAT_FREED), stat(FPT_STAT_DROPPED), stat(FPT_STAT_SLOW),
			      batches.v, busy.v);
	end();
}
#endif

#define THREADS(what, nr) { what, test_threads, NULL, NULL, (void *)(uintptr_t)(nr) }

/* An argument is a pattern of tests to run. */
int main(int argc, char **argv)
{
	struct CMUnitTest tests[64] = {
#ifndef ONE_CPU
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_scan_keeps_its_own),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_one_batch),
		cmocka_unit_test(test_batch_out),
		cmocka_unit_test(test_busy_and_used),
		cmocka_unit_test(test_host_refuses),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_min_order),
		cmocka_unit_test(test_last_page),
		cmocka_unit_test(test_taken),
#ifndef FPT_TRACKER
		cmocka_unit_test(test_switch),
#endif
		cmocka_unit_test(test_remove_range),
		cmocka_unit_test_teardown(test_lockstep, say_where),
#endif
#if defined(FPT_MODEL)
		cmocka_unit_test(test_private_lines),
#elif defined(FPT_VIRTUAL_CPUS)
#ifndef __KERNEL__	/* there, one thread at a time has virtual CPUs */
		THREADS("threads, a CPU each", CPUS),
#endif
#else
		THREADS("threads, one CPU's array", 1),
		THREADS("threads, two CPUs' arrays", 2),
#endif
	};
	size_t n = 0;

#ifdef FPT_MODEL
	for (; n < COUNT(scenarios); n++)
		explore_add(tests, scenarios[n].name, test_scenario, &scenarios[n]);
	return explore_main("array2019", tests, argc, argv);
#else
	while (tests[n].test_func)
		n++;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests("array2019", tests, n, NULL, NULL);
#endif
}
