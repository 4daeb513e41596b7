/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_report.c - reporting: when a pass is due, flush, policies, refusals, giving up
 *
 * The small guest below knows who holds which page and counts, per block, what the host discarded.
 * Every test runs with each tracker, in both protocols where the tracker can do both, and for
 * several orders, so that no size of a page or a block is taken for granted. When a test ends,
 * nothing is out, claims are accounted for, and what is free has been reported or is found by a
 * last flush.
 *
 * Compiled several times: with small and usual chunks, for each way of naming the CPU, and with the
 * tracker chosen at compile time (FPT_TRACKER).
 */
#include <fpt/fpt.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_BLOCKS 80u
#define NONE (~0u)		/* a block that is none */

#if defined(FPT_MODEL)
void (*fpt_model_hook)(const struct fpt_model_access *access);
unsigned int fpt_model_cpu;
void (*fpt_model_rcu_synchronize)(void);
#define NR_CPUS 3u
#define set_cpu(cpu) (fpt_model_cpu = (cpu))
#elif defined(FPT_VIRTUAL_CPUS)
__thread unsigned int fpt_virtual_cpu;
#define NR_CPUS 3u
#define set_cpu(cpu) (fpt_virtual_cpu = (cpu))
#else
#define NR_CPUS 1u		/* which one it is cannot be chosen */
#define set_cpu(cpu) ((void)(cpu))
#endif

enum state { HELD, FREE, OUT };

/* What isolation is to answer of a block: the truth, or BUSY so many times. */
#define TRUTH 0u
#define ALWAYS ~0u

static struct world {
	const struct fpt_ops *ops;
	enum fpt_protocol protocol;
	unsigned int order, nr_blocks;
	fpt_pfn_t block_pages, first;		/* first: of block 0 */
	fpt_pfn_t pfn, nr;			/* the range */
	struct fpt t;
	void *memory, *range_memory;
	size_t memory_size, range_memory_size;
	unsigned char *state;			/* of pages, from first on */
	unsigned int busy[MAX_BLOCKS];
	unsigned int discarded[MAX_BLOCKS];
	bool hidden;				/* owners take pages without their hooks */
	bool may_cancel_early;			/* an alloc comes while a block is being claimed */
	unsigned int calls;			/* of discard */
	unsigned int refuse_calls;		/* the host refuses the first so many */
	unsigned int refuse_at;			/* reporting is, in this one, from 1 on */
	unsigned int free_at;			/* block free_block is freed in this one */
	unsigned int free_block;
	unsigned long clock, clock_calls;
	unsigned long used_asked;		/* blocks that isolation answered USED of */
} w;

static void equal(unsigned long a, unsigned long b, const char *what, int line)
{
	if (a == b)
		return;
	print_error("%s, %s, order %u, line %d: %s is %lu, not %lu\n", w.ops->name,
		    w.protocol == FPT_TICKET ? "tickets" : "isolation", w.order, line, what, a, b);
	fail();
}

#define EQUAL(a, b) equal((unsigned long)(a), (unsigned long)(b), #a, __LINE__)
#define TRUE(a) EQUAL(!!(a), true)
#define FALSE(a) EQUAL(!!(a), false)

static unsigned char *state_of(fpt_pfn_t pfn)
{
	return &w.state[pfn - w.first];
}

static fpt_pfn_t pfn_of(unsigned int block)
{
	return w.first + block * w.block_pages;
}

static unsigned int block_of(fpt_pfn_t pfn)
{
	return (unsigned int)((pfn - w.first) / w.block_pages);
}

static bool all_are(fpt_pfn_t pfn, fpt_pfn_t nr, enum state state)
{
	fpt_pfn_t i;

	for (i = 0; i < nr; i++)
		if (*state_of(pfn + i) != state)
			return false;
	return true;
}

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	unsigned int b = block_of(r.pfn);

	(void)ctx;
	EQUAL(w.protocol, FPT_ISOLATE);
	EQUAL(r.nr, w.block_pages);
	if (w.busy[b]) {
		w.busy[b] -= w.busy[b] != ALWAYS;
		return FPT_BUSY;
	}
	if (!all_are(r.pfn, r.nr, FREE)) {
		w.used_asked++;
		return FPT_USED;
	}
	memset(state_of(r.pfn), OUT, r.nr);
	return FPT_TAKEN;
}

static void put_back(void *ctx, struct fpt_range r)
{
	(void)ctx;
	TRUE(all_are(r.pfn, r.nr, OUT));
	memset(state_of(r.pfn), FREE, r.nr);
}

static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	return *state_of(pfn) != HELD;
}

static const struct fpt_owner_ops owner = { isolate, put_back, is_free };
static const struct fpt_owner_ops owner_in_doubt = { isolate, put_back, NULL };

/* exact: with page bits; else every chunk is coarse. */
static void world_begin_config(struct fpt_config config, fpt_pfn_t first, fpt_pfn_t pfn,
			       fpt_pfn_t nr, bool exact)
{
	struct fpt_mem m;
	size_t size;

	set_cpu(0);
	w.order = config.order;
	w.block_pages = 1ul << config.order;
	w.first = first;
	w.pfn = pfn;
	w.nr = nr;
	w.nr_blocks = (unsigned int)((pfn - first + nr - 1) / w.block_pages) + 1;
	EQUAL(w.nr_blocks <= MAX_BLOCKS, true);
	memset(w.busy, 0, sizeof(w.busy));
	memset(w.discarded, 0, sizeof(w.discarded));
	w.hidden = w.may_cancel_early = false;
	w.calls = w.refuse_calls = w.refuse_at = w.free_at = 0;
	w.clock = w.clock_calls = w.used_asked = 0;
	w.memory_size = fpt_size(&config);
	w.memory = fpt_memory_get(w.memory_size);
	m = (struct fpt_mem){ w.memory, w.memory_size, true };
	EQUAL(fpt_init(&w.t, &config, &m), FPT_OK);
	size = fpt_range_size(&w.t, pfn, nr, exact);
	w.range_memory_size = size;
	w.range_memory = fpt_memory_get(size);
	assert_non_null(w.range_memory);
	if (!exact)		/* what alignment may cost would do for a chunk */
		size -= FPT_CACHE_LINE - (-(uintptr_t)w.range_memory & (FPT_CACHE_LINE - 1));
	m = (struct fpt_mem){ w.range_memory, size, true };
	EQUAL(fpt_add_range(&w.t, pfn, nr, &m), FPT_OK);
	w.state = calloc(w.nr_blocks, w.block_pages);
	assert_non_null(w.state);
}

/* The range is nr pages from pfn on; block 0 is the one that holds pfn. All pages are held. */
static void world_begin_at(unsigned int order, fpt_pfn_t pfn, fpt_pfn_t nr)
{
	struct fpt_config config = { .ops = w.ops, .nr_cpus = NR_CPUS, .order = order,
				     .protocol = w.protocol };

	world_begin_config(config, pfn >> order << order, pfn, nr, true);
}

static void world_begin(unsigned int order, unsigned int nr_blocks)
{
	world_begin_at(order, 0, (fpt_pfn_t)nr_blocks << order);
}

static unsigned long stat(enum fpt_stat i)
{
	struct fpt_stats s;

	fpt_get_stats(&w.t, &s);
	return s.count[i];
}

static void reporter_begin(struct fpt_reporter *rep, struct fpt_policy policy)
{
	EQUAL(fpt_reporter_init(rep, &w.t, &owner, NULL, &policy), FPT_OK);
}

/* A policy of so many blocks. */
static struct fpt_policy policy(unsigned int batch, unsigned long max_blocks)
{
	return (struct fpt_policy){ .batch = batch, .max_in_flight = max_blocks << w.order };
}

static void give_pages(fpt_pfn_t pfn, unsigned int order)
{
	TRUE(all_are(pfn, 1ul << order, HELD));
	memset(state_of(pfn), FREE, 1ul << order);
	fpt_free(&w.t, pfn, order);
}

/* Returns what the hook does. */
static int take_pages(fpt_pfn_t pfn, unsigned int order)
{
	FALSE(all_are(pfn, 1ul << order, HELD));
	memset(state_of(pfn), HELD, 1ul << order);
	return w.hidden ? FPT_OK : fpt_alloc(&w.t, pfn, order);
}

static void give(unsigned int block)
{
	give_pages(pfn_of(block), w.order);
}

static int take(unsigned int block)
{
	return take_pages(pfn_of(block), w.order);
}

static void give_all(void)
{
	unsigned int i;

	for (i = 0; i < w.nr_blocks; i++) {
		set_cpu(i % NR_CPUS);
		give(i);
	}
	set_cpu(0);
}

static unsigned int all_discarded(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < w.nr_blocks; i++)
		n += w.discarded[i];
	return n;
}

/* The host. */
static bool discard(void *ctx, const struct fpt_batch *b)
{
	unsigned int i;

	(void)ctx;
	w.calls++;
	TRUE(b->nr > 0);
	for (i = 0; i < b->nr; i++) {
		EQUAL(b->range[i].nr, w.block_pages);
		TRUE(all_are(b->range[i].pfn, b->range[i].nr,
			     w.protocol == FPT_TICKET ? FREE : OUT));
	}
	if (w.calls == w.refuse_at)
		fpt_refuse(&w.t, FPT_REFUSE_OTHER);
	if (w.calls == w.free_at)
		give(w.free_block);
	if (w.calls <= w.refuse_calls)
		return false;
	for (i = 0; i < b->nr; i++)
		w.discarded[block_of(b->range[i].pfn)]++;
	return true;
}

static unsigned long now(void *ctx)
{
	(void)ctx;
	w.clock_calls++;
	return w.clock++;
}

static const struct fpt_host_ops host = { discard, NULL };
static const struct fpt_host_ops host_with_clock = { discard, now };

static int flush(struct fpt_reporter *rep)
{
	return fpt_flush(rep, &host, 0);
}

/* A pass to its end; blocks reported. */
static unsigned int pass(struct fpt_reporter *rep)
{
	struct fpt_batch b;
	unsigned int n = 0;

	fpt_pass_begin(rep);
	while (fpt_pass_next(rep, &b)) {
		bool ok = discard(NULL, &b);

		n += ok ? b.nr : 0;
		fpt_pass_complete(rep, &b, ok);
	}
	TRUE(rep->over);
	return n;
}

/* Nothing is out, and what was claimed is accounted for. */
static void check_accounts(const struct fpt_reporter *rep)
{
	unsigned long claimed = stat(FPT_STAT_CLAIMED), ended;

	EQUAL(rep->in_flight, 0);
	ended = stat(FPT_STAT_BUSY) + stat(FPT_STAT_USED) + stat(FPT_STAT_CANCELLED) +
		stat(FPT_STAT_REPORTED) + stat(FPT_STAT_FAILED);
	/* A claim that was cancelled before it had looked at its pages does not count. */
	if (w.may_cancel_early && ended != claimed)
		ended -= w.block_pages;
	EQUAL(claimed, ended);
	EQUAL(stat(FPT_STAT_DROPPED), 0);
}

static void world_free(void)
{
	fpt_destroy(&w.t);
	fpt_memory_put(w.memory, w.memory_size);
	fpt_memory_put(w.range_memory, w.range_memory_size);
	free(w.state);
}

/* Everything that is free and has not been reported since is found by a flush. */
static void world_end(struct fpt_reporter *rep)
{
	unsigned int b;

	check_accounts(rep);
	for (b = 0; b < w.nr_blocks; b++)
		w.busy[b] = TRUTH;
	w.refuse_calls = w.refuse_at = w.free_at = 0;
	rep->policy.min_order = 0;
	EQUAL(flush(rep), FPT_OK);
	for (b = 0; b < w.nr_blocks && w.ops != &fpt_none_ops; b++)
		if (pfn_of(b) >= w.pfn && pfn_of(b) - w.pfn + w.block_pages <= w.nr &&
		    all_are(pfn_of(b), w.block_pages, FREE))
			TRUE(w.discarded[b] > 0);
	check_accounts(rep);
	world_free();
}

static const unsigned int orders[] = { 0, 1, 3, 6, 9, 13 };

#define FOR_ORDERS(order) \
	for (unsigned int i_ = 0, order = orders[0]; i_ < COUNT(orders); \
	     order = orders[++i_ < COUNT(orders) ? i_ : 0])

/* By amount: pages freed on any CPU since the last pass began, taken again or not. */
static void test_due_amount(void)
{
	struct fpt_reporter rep;

	FOR_ORDERS(order) {
		struct fpt_policy p;
		unsigned int i;

		world_begin(order, 4);
		p = policy(4, 4);
		p.amount = 3ul << order;
		reporter_begin(&rep, p);
		EQUAL(fpt_due(&rep, 7), 0);
		for (i = 0; i < 3; i++) {
			EQUAL(fpt_due(&rep, 7), 0);
			set_cpu(i % NR_CPUS);
			give(i);
		}
		EQUAL(fpt_due(&rep, 7), FPT_DUE_AMOUNT);
		EQUAL(fpt_due(&rep, 7), FPT_DUE_AMOUNT);
		EQUAL(pass(&rep), 3);
		EQUAL(fpt_due(&rep, 7), 0);
		/* The same block again and again. */
		for (i = 0; i < 3; i++) {
			EQUAL(fpt_due(&rep, 7), 0);
			set_cpu(0);
			EQUAL(take(0), FPT_OK);
			give(0);
		}
		EQUAL(fpt_due(&rep, 7), FPT_DUE_AMOUNT);
		EQUAL(pass(&rep), 1);
		/* A page is enough where a page was missing. */
		rep.policy.amount = w.block_pages + 1;
		give(3);
		EQUAL(fpt_due(&rep, 7), 0);
		take_pages(pfn_of(1), 0);
		EQUAL(fpt_due(&rep, 7), 0);
		give_pages(pfn_of(1), 0);
		EQUAL(fpt_due(&rep, 7), FPT_DUE_AMOUNT);
		/* No such trigger. */
		rep.policy.amount = 0;
		EQUAL(fpt_due(&rep, 7), 0);
		EQUAL(stat(FPT_STAT_FREED), (7ul << order) + 1);
		world_end(&rep);
	}
}

/* What is due at these times after the clock stood at start; so that it wraps around between. */
static void due_by_age(unsigned long start)
{
	struct fpt_reporter rep;
	struct fpt_batch b;
	struct fpt_policy p;

	world_begin(3, 6);
	p = policy(2, 6);
	p.age = 10;
	reporter_begin(&rep, p);
	/* Never without a free, however old the clock. */
	EQUAL(fpt_due(&rep, start), 0);
	EQUAL(fpt_due(&rep, start + 1000), 0);
	EQUAL(pass(&rep), 0);
	EQUAL(fpt_due(&rep, start), 0);
	give(0);
	EQUAL(fpt_due(&rep, start + 1), 0);		/* seen first */
	EQUAL(fpt_due(&rep, start + 10), 0);
	give(1);					/* the oldest counts */
	EQUAL(fpt_due(&rep, start + 10), 0);
	EQUAL(fpt_due(&rep, start + 11), FPT_DUE_AGE);
	EQUAL(fpt_due(&rep, start + 500), FPT_DUE_AGE);
	rep.policy.amount = w.block_pages;
	EQUAL(fpt_due(&rep, start + 12), FPT_DUE_AGE | FPT_DUE_AMOUNT);
	rep.policy.amount = 0;
	EQUAL(pass(&rep), 2);
	EQUAL(fpt_due(&rep, start + 13), 0);
	EQUAL(fpt_due(&rep, start + 100), 0);
	/* Freed while a pass was on its way: from the first look on. */
	give(2);
	fpt_pass_begin(&rep);
	give(3);
	while (fpt_pass_next(&rep, &b))
		fpt_pass_complete(&rep, &b, true);
	EQUAL(fpt_due(&rep, start + 20), 0);
	EQUAL(fpt_due(&rep, start + 29), 0);
	EQUAL(fpt_due(&rep, start + 30), FPT_DUE_AGE);
	rep.policy.age = 0;
	EQUAL(fpt_due(&rep, start + 30), 0);
	pass(&rep);
	fpt_pass_begin(&rep);
	w.discarded[2] = w.discarded[3] = 1;		/* by the loop above */
	while (fpt_pass_next(&rep, &b))
		fpt_pass_complete(&rep, &b, true);
	world_end(&rep);
}

static void test_due_age(void)
{
	unsigned long start;

	for (start = 0; start < 32; start++)
		due_by_age(0 - start);
	due_by_age(1000);
	due_by_age(~0ul / 2 - 15);
}

/* Due by age after start when the last pass has left something, though nothing was freed since. */
static void check_left(struct fpt_reporter *rep, bool left)
{
	rep->policy.age = 4;
	EQUAL(fpt_due(rep, 100), 0);
	EQUAL(fpt_due(rep, 104), left ? FPT_DUE_AGE : 0);
	rep->policy.amount = 1;
	EQUAL(fpt_due(rep, 104), left ? FPT_DUE_AGE : 0);
	rep->policy.age = rep->policy.amount = 0;
	rep->pending = false;
}

static void test_due_left(void)
{
	struct fpt_reporter rep;
	struct fpt_batch b;

	FOR_ORDERS(order) {
		world_begin(order, 6);
		reporter_begin(&rep, policy(2, 6));
		check_left(&rep, false);
		give(0);
		give(2);
		w.refuse_calls = 1;
		EQUAL(pass(&rep), 0);			/* the host refused */
		check_left(&rep, true);
		w.refuse_calls = 0;
		EQUAL(pass(&rep), 2);
		check_left(&rep, false);
		if (w.protocol == FPT_ISOLATE) {
			give(1);
			w.busy[1] = 1;
			EQUAL(pass(&rep), 0);
			check_left(&rep, true);
			EQUAL(pass(&rep), 1);
			check_left(&rep, false);
		} else {
			give(1);
			EQUAL(pass(&rep), 1);
		}
		/* Used: nothing is hinted. */
		give(3);
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_claim(&rep, &b), 1);
		EQUAL(take(3), FPT_OK);
		EQUAL(fpt_pass_submit(&rep, &b), 0);
		EQUAL(fpt_pass_claim(&rep, &b), 0);
		check_left(&rep, false);
		/* Claimed and given up. */
		give(3);
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_claim(&rep, &b), 1);
		fpt_pass_drop(&rep, &b);
		EQUAL(fpt_pass_claim(&rep, &b), 0);
		check_left(&rep, true);
		EQUAL(pass(&rep), 1);
		check_left(&rep, false);
		/* Below the policy's order. */
		give(4);
		rep.policy.min_order = order + 1;
		EQUAL(pass(&rep), 0);
		check_left(&rep, true);
		rep.policy.min_order = 0;
		EQUAL(pass(&rep), 1);
		check_left(&rep, false);
		/* A pass that has to pause, and then goes on or does not. */
		take(0);
		give(0);
		give(5);
		rep.policy.max_in_flight = w.block_pages;
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_next(&rep, &b), 1);
		discard(NULL, &b);
		fpt_pass_complete(&rep, &b, true);
		check_left(&rep, true);
		EQUAL(fpt_pass_next(&rep, &b), 1);
		discard(NULL, &b);
		fpt_pass_complete(&rep, &b, true);
		EQUAL(fpt_pass_next(&rep, &b), 0);
		check_left(&rep, false);
		world_end(&rep);
	}
}

/* Refused: nothing is due, and what was is due again afterwards. */
static void test_due_refused(void)
{
	struct fpt_reporter rep;
	struct fpt_policy p;

	world_begin(3, 4);
	p = policy(2, 4);
	p.amount = 2ul << w.order;
	p.age = 10;
	reporter_begin(&rep, p);
	fpt_refuse(&w.t, FPT_REFUSE_POISON);
	EQUAL(fpt_due(&rep, 0), 0);
	give(0);
	give(1);
	EQUAL(fpt_due(&rep, 0), 0);
	EQUAL(fpt_due(&rep, 10), 0);
	fpt_permit(&w.t, FPT_REFUSE_POISON);
	EQUAL(fpt_due(&rep, 9), FPT_DUE_AMOUNT);
	EQUAL(fpt_due(&rep, 10), FPT_DUE_AMOUNT | FPT_DUE_AGE);
	/* A pass all the same: what it could not report is due by age. */
	fpt_refuse(&w.t, FPT_REFUSE_POISON);
	fpt_pass_begin(&rep);
	EQUAL(fpt_pass_next(&rep, &(struct fpt_batch){ .nr = 0 }), 0);
	EQUAL(fpt_due(&rep, 20), 0);
	fpt_permit(&w.t, FPT_REFUSE_POISON);
	EQUAL(fpt_due(&rep, 20), 0);
	EQUAL(fpt_due(&rep, 30), FPT_DUE_AGE);
	EQUAL(pass(&rep), 2);
	EQUAL(fpt_due(&rep, 50), 0);
	world_end(&rep);
}

/* No pass was begun yet: there is none to go on with. */
static void test_before_pass(void)
{
	struct fpt_reporter rep;
	struct fpt_batch b;

	world_begin(3, 2);
	reporter_begin(&rep, policy(2, 2));
	give(0);
	EQUAL(fpt_pass_next(&rep, &b), 0);
	EQUAL(fpt_pass_claim(&rep, &b), 0);
	EQUAL(fpt_pass_submit(&rep, &b), 0);
	fpt_pass_drop(&rep, &b);
	fpt_pass_complete(&rep, &b, true);
	EQUAL(pass(&rep), 1);
	world_end(&rep);
}

/* All that was freed before, on whichever CPU and in whichever pieces, once; any order, 0 to 20. */
static void test_flush(void)
{
	struct fpt_reporter rep;
	unsigned int order, i;
	fpt_pfn_t p;

	for (order = 0; order <= FPT_MAX_ORDER; order++) {
		world_begin(order, order < 16 ? 7 : 2);
		reporter_begin(&rep, policy(3, 4));
		EQUAL(flush(&rep), FPT_OK);		/* there is nothing */
		EQUAL(w.calls, 0);
		give_all();
		EQUAL(flush(&rep), FPT_OK);
		for (i = 0; i < w.nr_blocks; i++)
			EQUAL(w.discarded[i], 1);
		EQUAL(w.calls, w.nr_blocks == 7 ? 3 : 1);	/* full batches */
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(all_discarded(), w.nr_blocks);
		/* In two halves, the second one on another CPU. */
		EQUAL(take(1), FPT_OK);
		if (order) {
			give_pages(pfn_of(1) + w.block_pages / 2, order - 1);
			EQUAL(flush(&rep), FPT_OK);
			EQUAL(w.discarded[1], 1);
			set_cpu(1 % NR_CPUS);
			give_pages(pfn_of(1), order - 1);
		} else {
			give(1);
		}
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(w.discarded[1], 2);
		/* Page by page, the last one first. */
		if (order <= 9) {
			EQUAL(take(0), FPT_OK);
			for (p = w.block_pages; p--;) {
				set_cpu((unsigned int)p % NR_CPUS);
				give_pages(p, 0);
			}
			EQUAL(flush(&rep), FPT_OK);
			EQUAL(w.discarded[0], 2);
		}
		set_cpu(0);
		world_end(&rep);
	}
}

/* The deadline, after any number of looks at the clock: the batch on its way is completed. */
static void test_flush_deadline(void)
{
	struct fpt_reporter rep;
	unsigned long ticks, start;
	unsigned int i, found;
	int result = FPT_ETIME;

	for (start = 0; start < 3; start++) {
		result = FPT_ETIME;
		for (ticks = 0; result == FPT_ETIME; ticks++) {
			world_begin(3, 5);
			reporter_begin(&rep, policy(2, 5));
			give_all();
			/* From a clock that is about to wrap around, too. */
			w.clock = start == 0 ? 1000 : start == 1 ? ~0ul - 2 : ~0ul / 2 - 2;
			result = fpt_flush(&rep, &host_with_clock, w.clock + ticks);
			found = all_discarded();
			EQUAL(rep.in_flight, 0);
			for (i = 0; i < 5; i++)
				TRUE(*state_of(pfn_of(i)) == FREE);
			if (result == FPT_ETIME) {
				/* One look before each batch; none when the end is known. */
				EQUAL(found, ticks * 2 < 5 ? ticks * 2 : 5);
				EQUAL(w.clock_calls, ticks + 1);
				check_left(&rep, true);
			}
			/* In the past already. */
			w.calls = 0;
			EQUAL(fpt_flush(&rep, &host_with_clock, w.clock - 1), FPT_ETIME);
			EQUAL(w.calls, 0);
			EQUAL(all_discarded(), found);
			/* What is left is found by the next, and nothing else. */
			EQUAL(flush(&rep), FPT_OK);
			for (i = 0; i < 5; i++)
				EQUAL(w.discarded[i], 1);
			check_left(&rep, false);
			world_end(&rep);
			TRUE(ticks < 100);
		}
		EQUAL(result, FPT_OK);
		EQUAL(ticks - 1, 3 + 1);	/* looks: three batches, then one in vain */
	}
}

/* The caller's own batches: too many are out, or some. */
static void test_flush_in_flight(void)
{
	struct fpt_reporter rep;
	struct fpt_batch mine;

	FOR_ORDERS(order) {
		world_begin(order, 6);
		reporter_begin(&rep, policy(2, 2));
		give_all();
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_next(&rep, &mine), 2);
		EQUAL(flush(&rep), FPT_EBUSY);
		EQUAL(w.calls, 0);
		EQUAL(rep.in_flight, 2ul << order);
		/* Room for one besides: the rest is flushed one by one. */
		rep.policy.max_in_flight = 3ul << order;
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(w.calls, 4);
		EQUAL(all_discarded(), 4);
		EQUAL(w.discarded[block_of(mine.range[0].pfn)], 0);
		EQUAL(rep.in_flight, 2ul << order);
		discard(NULL, &mine);
		fpt_pass_complete(&rep, &mine, true);
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(all_discarded(), 6);
		world_end(&rep);
	}
}

static void test_flush_refused(void)
{
	struct fpt_reporter rep;
	unsigned int at;

	world_begin(3, 5);
	reporter_begin(&rep, policy(1, 5));
	give_all();
	fpt_refuse(&w.t, FPT_REFUSE_DEVICE);
	EQUAL(flush(&rep), FPT_EBUSY);
	EQUAL(all_discarded(), 0);
	EQUAL(stat(FPT_STAT_CLAIMED), 0);
	fpt_permit(&w.t, FPT_REFUSE_DEVICE);
	/* Refused while the host is at it: that batch is completed, and no other one begun. */
	for (at = 1; at <= 4; at++) {
		w.refuse_at = at;
		EQUAL(flush(&rep), FPT_EBUSY);
		EQUAL(w.calls, at);
		EQUAL(all_discarded(), at);
		EQUAL(rep.in_flight, 0);
		fpt_permit(&w.t, FPT_REFUSE_OTHER);
	}
	w.refuse_at = 0;
	EQUAL(flush(&rep), FPT_OK);
	EQUAL(all_discarded(), 5);
	world_end(&rep);
}

/* The owner's answers. */
static void test_flush_isolation(void)
{
	struct fpt_reporter rep;

	if (w.protocol == FPT_TICKET)
		return;
	FOR_ORDERS(order) {
		world_begin(order, 5);
		reporter_begin(&rep, policy(2, 5));
		give_all();
		w.busy[1] = ALWAYS;
		w.busy[2] = 1;			/* the second time it can be taken */
		EQUAL(take(3), FPT_OK);
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(w.discarded[0], 1);
		EQUAL(w.discarded[1], 0);
		EQUAL(w.discarded[2], 1);
		EQUAL(w.discarded[3], 0);
		EQUAL(w.discarded[4], 1);
		EQUAL(stat(FPT_STAT_BUSY), 3ul << order);
		/* An allocation that the tracker does not see is asked for once. */
		TRUE(stat(FPT_STAT_USED) <= (w.ops->retracts ? 0 : 1ul << order));
		check_left(&rep, true);
		w.busy[1] = TRUTH;
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(w.discarded[1], 1);
		EQUAL(w.discarded[3], 0);
		check_left(&rep, false);
		give(3);
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(w.discarded[3], 1);
		EQUAL(all_discarded(), 5);
		world_end(&rep);
	}
}

/* The host's. */
static void test_flush_host_refuses(void)
{
	struct fpt_reporter rep;

	FOR_ORDERS(order) {
		world_begin(order, 4);
		reporter_begin(&rep, policy(2, 4));
		give_all();
		w.refuse_calls = ALWAYS;
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(w.calls, 4);		/* two passes, each block once in each */
		EQUAL(all_discarded(), 0);
		EQUAL(stat(FPT_STAT_FAILED), 8ul << order);
		check_left(&rep, true);
		w.calls = 0;
		w.refuse_calls = 1;		/* for the second pass */
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(w.calls, 3);
		EQUAL(all_discarded(), 4);
		world_end(&rep);
	}
}

/* A block that is freed while the host is at another one. */
static void test_flush_freed_meanwhile(void)
{
	struct fpt_reporter rep;
	unsigned int block, at;

	for (block = 0; block < 5; block++)
		for (at = 1; at <= 4; at++) {
			world_begin(3, 5);
			reporter_begin(&rep, policy(1, 5));
			give_all();
			take(block);
			w.free_block = block;
			w.free_at = at;
			EQUAL(flush(&rep), FPT_OK);
			/*
			 * The second pass begins after it. Twice, if the first passed for the
			 * second, its alloc not being seen.
			 */
			TRUE(w.discarded[block] == 1 ||
			     (!w.ops->retracts && w.discarded[block] == 2));
			EQUAL(all_discarded(), 4 + w.discarded[block]);
			world_end(&rep);
		}
}

/* Only large runs go, and runs that the range's edges cut are none. */
static void test_min_order(void)
{
	struct fpt_reporter rep;
	unsigned int more, i, run;

	FOR_ORDERS(order)
		for (more = 1; more <= 4 && order + more <= 14; more++) {
			run = 1u << more;
			/* Two whole runs; on both sides of them, one but for a block. */
			world_begin_at(order, w.block_pages = 1ul << order,
				       (fpt_pfn_t)(4 * run - 2) << order);
			EQUAL(w.nr_blocks, 4 * run - 2);
			reporter_begin(&rep, policy(3, 4 * run));
			rep.policy.min_order = order + more;
			for (i = 0; i < w.nr_blocks; i++)
				if (i != run)	/* the first whole run's second block */
					give(i);
			EQUAL(flush(&rep), FPT_OK);
			for (i = 0; i < w.nr_blocks; i++)
				EQUAL(w.discarded[i], i >= 2 * run - 1 && i < 3 * run - 1);
			EQUAL(stat(FPT_STAT_CLAIMED), (fpt_pfn_t)run << order);
			check_left(&rep, true);
			/* One page short, then complete. */
			if (order) {
				give_pages(pfn_of(run), order - 1);
				EQUAL(flush(&rep), FPT_OK);
				EQUAL(all_discarded(), run);
				give_pages(pfn_of(run) + w.block_pages / 2, order - 1);
			} else {
				give(run);
			}
			EQUAL(flush(&rep), FPT_OK);
			for (i = 0; i < w.nr_blocks; i++)
				EQUAL(w.discarded[i], i >= run - 1 && i < 3 * run - 1);
			/* A block of a reported run comes back: it is whole again. */
			EQUAL(take(run), FPT_OK);
			EQUAL(flush(&rep), FPT_OK);
			EQUAL(all_discarded(), 2 * run);
			give(run);
			EQUAL(flush(&rep), FPT_OK);
			EQUAL(w.discarded[run], 2);
			EQUAL(all_discarded(), 2 * run + 1);
			/* A policy that asks for less. */
			rep.policy.min_order = order;
			EQUAL(flush(&rep), FPT_OK);
			for (i = 0; i < w.nr_blocks; i++)
				EQUAL(w.discarded[i], 1 + (i == run));
			check_left(&rep, false);
			world_end(&rep);
		}
}

/* Below a block, or equal to one: no such policy. Beyond all orders: an error. */
static void test_min_order_small(void)
{
	struct fpt_reporter rep;
	struct fpt_policy p;
	unsigned int min;

	FOR_ORDERS(order) {
		for (min = 0; min <= order; min++) {
			world_begin(order, 3);
			reporter_begin(&rep, policy(2, 3));
			rep.policy.min_order = min;
			give(1);
			EQUAL(flush(&rep), FPT_OK);
			EQUAL(all_discarded(), 1);
			world_end(&rep);
		}
		world_begin(order, 3);
		p = policy(2, 3);
		p.min_order = FPT_MAX_ORDER;
		reporter_begin(&rep, p);
		give(1);
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(all_discarded(), 0);
		p.min_order++;
		EQUAL(fpt_reporter_init(&rep, &w.t, &owner, NULL, &p), FPT_EINVAL);
		p.min_order = 0;
		reporter_begin(&rep, p);
		world_end(&rep);
	}
}

/* A run that begins or ends in an incomplete block, and one at the last page there can be. */
static void test_min_order_edges(void)
{
	struct fpt_reporter rep;
	fpt_pfn_t top = ~0ul;
	unsigned int i;

	FOR_ORDERS(order) {
		fpt_pfn_t block = 1ul << order;

		if (!order)
			continue;
		/* The first block has one page less than a block, the last one has one page. */
		world_begin_at(order, 8 * block + 1, 8 * block);
		EQUAL(w.nr_blocks, 9);
		reporter_begin(&rep, policy(4, 9));
		rep.policy.min_order = order + 2;
		for (i = 0; i < block - 1; i++)
			give_pages(8 * block + 1 + i, 0);
		for (i = 1; i < 8; i++)
			give(i);
		give_pages(16 * block, 0);
		EQUAL(flush(&rep), FPT_OK);
		for (i = 0; i < 9; i++)
			EQUAL(w.discarded[i], i >= 4 && i < 8);
		world_end(&rep);
	}
	FOR_ORDERS(order) {
		fpt_pfn_t block = 1ul << order;

		world_begin_at(order, top - 6 * block + 1, 6 * block);
		EQUAL(w.nr_blocks, 6);
		reporter_begin(&rep, policy(4, 9));
		rep.policy.min_order = order + 2;
		give_all();
		EQUAL(flush(&rep), FPT_OK);
		for (i = 0; i < 6; i++)
			EQUAL(w.discarded[i], i >= 2);
		/* It ends at the last but one. */
		if (order) {
			world_free();
			world_begin_at(order, top - 6 * block + 1, 6 * block - 1);
			reporter_begin(&rep, policy(4, 9));
			rep.policy.min_order = order + 2;
			for (i = 0; i < 5; i++)
				give(i);
			EQUAL(flush(&rep), FPT_OK);
			EQUAL(all_discarded(), 0);
		}
		world_end(&rep);
	}
}

/* Coarse chunks do not say which pages are free: their blocks count as free. */
static void test_min_order_coarse(void)
{
	struct fpt_config config = { .ops = w.ops, .nr_cpus = NR_CPUS, .order = 3 };
	struct fpt_reporter rep;

	if (w.protocol == FPT_TICKET)
		return;
	world_begin_config(config, 0, 0, 64, false);
	reporter_begin(&rep, policy(4, 8));
	rep.policy.min_order = 5;
	give(5);
	EQUAL(flush(&rep), FPT_OK);
	EQUAL(w.discarded[5], 1);
	EQUAL(all_discarded(), 1);
	world_end(&rep);
}

/* Reporters with different policies on one tracker. */
static void test_min_order_reporters(void)
{
	struct fpt_reporter large, small;
	struct fpt_batch b;
	unsigned int i;

	FOR_ORDERS(order) {
		world_begin(order, 8);
		reporter_begin(&large, policy(4, 8));
		reporter_begin(&small, policy(2, 8));
		large.policy.min_order = order + 2;
		small.policy.min_order = order + 1;
		give(1);
		give(4);
		give(5);
		EQUAL(pass(&large), 0);
		EQUAL(pass(&small), 2);
		EQUAL(w.discarded[4] + w.discarded[5], 2);
		EQUAL(pass(&small), 0);
		/* What another has reported, or has out, is part of a free run. */
		give(6);
		give(7);
		EQUAL(pass(&large), 2);
		EQUAL(w.discarded[6] + w.discarded[7], 2);
		give(0);
		fpt_pass_begin(&small);
		EQUAL(fpt_pass_next(&small, &b), 2);
		EQUAL(b.range[0].pfn, pfn_of(0));
		give(2);
		EQUAL(pass(&large), 0);
		give(3);
		EQUAL(pass(&large), 2);
		discard(NULL, &b);
		fpt_pass_complete(&small, &b, true);
		for (i = 0; i < 8; i++)
			EQUAL(w.discarded[i], 1);
		EQUAL(pass(&large), 0);
		EQUAL(pass(&small), 0);
		check_left(&large, false);
		check_left(&small, false);
		world_end(&large);
	}
}

/* A block may be smaller than what the host can discard? No: an error. */
static void test_granule(void)
{
	struct fpt_reporter rep;
	unsigned int order, granule;
	char memory[256];

	for (order = 0; order <= FPT_MAX_ORDER; order++)
		for (granule = 0; granule <= FPT_MAX_ORDER + 2; granule++) {
			struct fpt_config config = { .ops = w.ops, .nr_cpus = 1, .order = order,
						     .granule_order = granule,
						     .protocol = w.protocol };
			struct fpt_mem m = { memory, sizeof(memory), false };

			/* Memory is looked at when the rest is right. */
			if (granule > order)
				EQUAL(fpt_init(&w.t, &config, &m), FPT_EINVAL);
			else
				TRUE(fpt_init(&w.t, &config, &m) != FPT_EINVAL);
		}
	/* Pages of 4 KiB, a host with 64 KiB; guest pages of 64 KiB, blocks of 2 MiB. */
	for (order = 4; order <= 5; order++) {
		struct fpt_config config = { .ops = w.ops, .nr_cpus = NR_CPUS, .order = order,
					     .granule_order = 4, .protocol = w.protocol };

		world_begin_config(config, 0, 0, 6ul << order, true);
		reporter_begin(&rep, policy(4, 8));
		give(0);
		give(3);
		give_pages(pfn_of(5), 3);
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(all_discarded(), 2);
		world_end(&rep);
	}
}

/* Tickets need hooks that see all, trackers that retract, and a bit for every page. */
static void test_tickets(void)
{
	struct fpt_config config = { .ops = w.ops, .nr_cpus = NR_CPUS, .order = 3,
				     .protocol = FPT_TICKET };
	struct fpt_reporter rep;
	size_t size, last;

	world_begin(3, 1);
	w.memory = realloc(w.memory, fpt_size(&config));
	for (config.lossy = false;; config.lossy = true) {
		struct fpt_mem m = { w.memory, fpt_size(&config), false };

		EQUAL(fpt_init(&w.t, &config, &m),
		      w.ops->retracts && !config.lossy ? FPT_OK : FPT_ENOTSUP);
		if (config.lossy)
			break;
	}
	world_free();
	if (w.protocol == FPT_ISOLATE)
		return;
	world_begin(3, 1);
	reporter_begin(&rep, policy(1, 1));
	last = fpt_range_size(&w.t, 64, 1000, true);
	w.range_memory = realloc(w.range_memory, last);
	for (size = 0;; size++) {
		struct fpt_mem m = { w.range_memory, size, false };
		int error = fpt_add_range(&w.t, 64, 1000, &m);

		if (!error)
			break;
		EQUAL(error, FPT_ENOMEM);
		EQUAL(m.size, size);
	}
	TRUE(size <= last && size + 2 * FPT_CACHE_LINE > last);
	world_free();
}

/* Batches that begin and end anywhere in the words that stand for their blocks, with gaps. */
static void test_large_batch(void)
{
	struct fpt_xbitmap_range *r = &w.t.back.range[0];
	struct fpt_reporter rep;
	unsigned int i;

	FOR_ORDERS(order) {
		world_begin(order, MAX_BLOCKS);
		reporter_begin(&rep, policy(FPT_BATCH_MAX, MAX_BLOCKS));
		for (i = 5; i < MAX_BLOCKS; i++)
			give(i);
		/* Tickets do not ask. */
		w.busy[45] = w.protocol == FPT_ISOLATE;
		EQUAL(pass(&rep), MAX_BLOCKS - 5 - (w.protocol == FPT_ISOLATE));
		EQUAL(pass(&rep), w.protocol == FPT_ISOLATE);
		EQUAL(pass(&rep), 0);
		EQUAL(rep.in_flight, 0);
		for (i = 0; i < MAX_BLOCKS; i++) {
			EQUAL(w.discarded[i], i >= 5);
			EQUAL(fpt_xbitmap_test_block(r->reported, i), i >= 5);
			FALSE(fpt_xbitmap_test_block(r->claimed, i));
		}
		EQUAL(stat(FPT_STAT_REPORTED), (unsigned long)(MAX_BLOCKS - 5) << order);
		world_free();
	}
}

/* The cap, and a policy that changes it while pages are out. */
static void test_cap(void)
{
	struct fpt_reporter rep;
	struct fpt_batch b[4];

	FOR_ORDERS(order) {
		world_begin(order, 8);
		reporter_begin(&rep, policy(2, 3));
		rep.policy.max_in_flight += w.block_pages - 1;	/* not a fourth */
		give_all();
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_next(&rep, &b[0]), 2);
		EQUAL(fpt_pass_claim(&rep, &b[1]), 1);		/* claimed counts */
		EQUAL(rep.in_flight, 3ul << order);
		EQUAL(fpt_pass_next(&rep, &b[2]), 0);
		EQUAL(fpt_pass_claim(&rep, &b[2]), 0);
		fpt_pass_drop(&rep, &b[1]);
		EQUAL(fpt_pass_next(&rep, &b[1]), 1);
		TRUE(b[1].range[0].pfn == pfn_of(3));	/* not 2: dropped */
		/* Fewer are allowed than are out. */
		rep.policy.max_in_flight = w.block_pages;
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_next(&rep, &b[2]), 0);
		EQUAL(fpt_pass_claim(&rep, &b[2]), 0);
		discard(NULL, &b[0]);
		fpt_pass_complete(&rep, &b[0], true);
		EQUAL(rep.in_flight, w.block_pages);
		EQUAL(fpt_pass_next(&rep, &b[2]), 0);
		discard(NULL, &b[1]);
		fpt_pass_complete(&rep, &b[1], true);
		EQUAL(fpt_pass_next(&rep, &b[2]), 1);
		EQUAL(b[2].range[0].pfn, pfn_of(2));
		EQUAL(fpt_pass_next(&rep, &b[3]), 0);
		discard(NULL, &b[2]);
		fpt_pass_complete(&rep, &b[2], true);
		/* More, and larger batches. */
		rep.policy.max_in_flight = 8 * w.block_pages;
		rep.policy.batch = FPT_BATCH_MAX;
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_next(&rep, &b[0]), 4);
		discard(NULL, &b[0]);
		fpt_pass_complete(&rep, &b[0], true);
		EQUAL(all_discarded(), 8);
		/* As much as there can be is no overflow. */
		rep.policy.max_in_flight = ~0ul;
		EQUAL(flush(&rep), FPT_OK);
		world_end(&rep);
	}
}

/* The host's time for a batch. */
static void test_expired(void)
{
	static const unsigned long start[] = { 0, 5, ~0ul - 3, ~0ul / 2 - 3 };
	struct fpt_reporter rep;
	struct fpt_batch b, late;
	size_t i;

	for (i = 0; i < COUNT(start); i++) {
		unsigned long s = start[i];

		world_begin(3, 4);
		reporter_begin(&rep, policy(2, 4));
		give_all();
		(void)fpt_due(&rep, s);
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_claim(&rep, &b), 2);
		(void)fpt_due(&rep, s + 2);
		EQUAL(fpt_pass_submit(&rep, &b), 2);	/* from here on, not from the claim */
		EQUAL(b.since, s + 2);
		FALSE(fpt_batch_expired(&rep, &b, s + 1000));	/* as long as it likes */
		rep.policy.timeout = 8;
		FALSE(fpt_batch_expired(&rep, &b, s + 2));
		FALSE(fpt_batch_expired(&rep, &b, s + 9));
		TRUE(fpt_batch_expired(&rep, &b, s + 10));
		TRUE(fpt_batch_expired(&rep, &b, s + 1000));
		/* Given up: pages are usable, hints are kept, and what comes late does nothing. */
		late = b;
		fpt_pass_complete(&rep, &b, false);
		FALSE(fpt_batch_expired(&rep, &b, s + 1000));	/* nothing is in it */
		EQUAL(stat(FPT_STAT_FAILED), 2ul << w.order);
		EQUAL(take(0), FPT_OK);
		if (w.protocol == FPT_TICKET) {
			FALSE(fpt_complete(&w.t, &late.range[0], late.ticket[0], true));
			FALSE(fpt_complete(&w.t, &late.range[1], late.ticket[1], true));
			EQUAL(stat(FPT_STAT_LATE), 2ul << w.order);
		}
		EQUAL(pass(&rep), 3);
		EQUAL(w.discarded[0], 0);
		EQUAL(w.discarded[1], 1);
		/* fpt_pass_next() takes the time as well. */
		(void)fpt_due(&rep, s + 3);
		give(0);
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_next(&rep, &b), 1);
		EQUAL(b.since, s + 3);
		FALSE(fpt_batch_expired(&rep, &b, s + 10));
		TRUE(fpt_batch_expired(&rep, &b, s + 11));
		discard(NULL, &b);
		fpt_pass_complete(&rep, &b, true);
		world_end(&rep);
	}
}

/* In two halves: what was taken in between stays at home, and the batch closes up. */
static void test_claim_submit(void)
{
	struct fpt_reporter rep;
	struct fpt_batch b;
	unsigned int i;

	FOR_ORDERS(order) {
		world_begin(order, 6);
		reporter_begin(&rep, policy(4, 6));
		give_all();
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_claim(&rep, &b), 4);
		EQUAL(b.nr, 4);
		EQUAL(stat(FPT_STAT_CLAIMED), 4ul << order);
		/* The first, one page of the third: neither waits. */
		EQUAL(take(0), FPT_OK);
		EQUAL(take_pages(pfn_of(2), 0), FPT_OK);
		EQUAL(fpt_pass_submit(&rep, &b), 2);
		EQUAL(b.nr, 2);
		EQUAL(b.range[0].pfn, pfn_of(1));
		EQUAL(b.range[1].pfn, pfn_of(3));
		EQUAL(rep.in_flight, 2ul << order);
		EQUAL(stat(w.protocol == FPT_TICKET ? FPT_STAT_CANCELLED : FPT_STAT_USED),
		      2ul << order);
		EQUAL(stat(FPT_STAT_BUSY), 0);
		discard(NULL, &b);
		fpt_pass_complete(&rep, &b, true);
		/* The rest is claimed and dropped: hints are kept, for the next pass. */
		EQUAL(fpt_pass_claim(&rep, &b), 2);
		fpt_pass_drop(&rep, &b);
		EQUAL(b.nr, 0);
		EQUAL(rep.in_flight, 0);
		EQUAL(stat(FPT_STAT_BUSY), 2ul << order);
		EQUAL(fpt_pass_claim(&rep, &b), 0);
		TRUE(rep.over);
		/* All of a batch taken: none is left for the host, but the pass goes on. */
		rep.policy.batch = 1;
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_claim(&rep, &b), 1);
		EQUAL(b.range[0].pfn, pfn_of(4));
		EQUAL(take(4), FPT_OK);
		EQUAL(fpt_pass_submit(&rep, &b), 0);
		FALSE(rep.over);
		EQUAL(fpt_pass_claim(&rep, &b), 1);
		EQUAL(fpt_pass_submit(&rep, &b), 1);
		EQUAL(b.range[0].pfn, pfn_of(5));
		discard(NULL, &b);
		fpt_pass_complete(&rep, &b, true);
		EQUAL(fpt_pass_claim(&rep, &b), 0);
		for (i = 0; i < 6; i++)
			EQUAL(w.discarded[i], i == 1 || i == 3 || i == 5);
		/* Back again: nothing is lost. */
		give(0);
		give_pages(pfn_of(2), 0);
		give(4);
		EQUAL(flush(&rep), FPT_OK);
		for (i = 0; i < 6; i++)
			EQUAL(w.discarded[i], 1);
		world_end(&rep);
	}
}

/* One range of a batch before the rest; the last takes its place. */
static void test_complete_one(void)
{
	struct fpt_reporter rep;
	struct fpt_batch b;
	unsigned int first;

	for (first = 0; first < 3; first++) {
		world_begin(3, 3);
		reporter_begin(&rep, policy(3, 3));
		give_all();
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_next(&rep, &b), 3);
		discard(NULL, &b);
		fpt_pass_complete_one(&rep, &b, first, true);
		EQUAL(b.nr, 2);
		EQUAL(rep.in_flight, 2ul << w.order);
		EQUAL(stat(FPT_STAT_REPORTED), w.block_pages);
		EQUAL(all_are(pfn_of(first), w.block_pages, FREE), true);
		fpt_pass_complete_one(&rep, &b, 0, false);
		EQUAL(stat(FPT_STAT_FAILED), w.block_pages);
		check_left(&rep, true);
		fpt_pass_complete_one(&rep, &b, 0, true);
		EQUAL(b.nr, 0);
		EQUAL(stat(FPT_STAT_REPORTED), 2 * w.block_pages);
		EQUAL(pass(&rep), 1);
		world_end(&rep);
	}
}

/* Each reason by itself and together with another, while batches are out. */
static void test_refuse(void)
{
	static const unsigned long reasons[] = { FPT_REFUSE_POISON, FPT_REFUSE_ZEROED,
						 FPT_REFUSE_DEVICE, FPT_REFUSE_HUGETLB,
						 FPT_REFUSE_OTHER };
	struct fpt_reporter rep;
	struct fpt_batch out, queued, b;
	struct fpt_range claim;
	fpt_pfn_t start;
	size_t i, j;

	for (i = 0; i < COUNT(reasons); i++)
		for (j = 0; j < COUNT(reasons); j++) {
			TRUE(i == j || !(reasons[i] & reasons[j]));	/* bits of their own */
			world_begin(3, 6);
			reporter_begin(&rep, policy(2, 6));
			give_all();
			EQUAL(fpt_refused(&w.t), 0);
			fpt_pass_begin(&rep);
			EQUAL(fpt_pass_next(&rep, &out), 2);
			EQUAL(fpt_pass_claim(&rep, &queued), 2);
			fpt_refuse(&w.t, reasons[i]);
			fpt_refuse(&w.t, reasons[i]);	/* twice is once */
			EQUAL(fpt_refused(&w.t), reasons[i]);
			EQUAL(fpt_pass_next(&rep, &b), 0);
			EQUAL(fpt_pass_claim(&rep, &b), 0);
			/* Not at the host yet: it does not get there. */
			EQUAL(fpt_pass_submit(&rep, &queued), 0);
			EQUAL(stat(FPT_STAT_BUSY), 2ul << w.order);
			EQUAL(stat(FPT_STAT_CLAIMED), 4ul << w.order);
			if (w.protocol == FPT_TICKET) {
				start = 0;
				EQUAL(fpt_get_hints(&w.t, &start, w.nr), 0);
			}
			/* At the host: comes back as always. */
			discard(NULL, &out);
			fpt_pass_complete(&rep, &out, true);
			EQUAL(rep.in_flight, 0);
			EQUAL(stat(FPT_STAT_REPORTED), 2ul << w.order);
			EQUAL(flush(&rep), FPT_EBUSY);
			/* Permitted for all reasons. */
			fpt_refuse(&w.t, reasons[j]);
			EQUAL(fpt_refused(&w.t), reasons[i] | reasons[j]);
			fpt_permit(&w.t, reasons[i]);
			EQUAL(fpt_refused(&w.t), i == j ? 0 : reasons[j]);
			EQUAL(flush(&rep), i == j ? FPT_OK : FPT_EBUSY);
			fpt_permit(&w.t, reasons[i] | reasons[j]);
			EQUAL(fpt_refused(&w.t), 0);
			EQUAL(flush(&rep), FPT_OK);
			EQUAL(all_discarded(), 6);
			/* Not passes: who claims by himself has been told. */
			take(0);
			give(0);
			fpt_drain(&w.t);
			fpt_refuse(&w.t, reasons[i]);
			EQUAL(fpt_claim(&w.t, &(struct fpt_cursor){ 0, 0 }, &claim, 1), 1);
			fpt_release(&w.t, &claim, FPT_BUSY);
			fpt_permit(&w.t, reasons[i]);
			world_end(&rep);
		}
}

/* Everything of the policy, changed between two passes. */
static void test_policy_changed(void)
{
	struct fpt_reporter rep;
	struct fpt_batch b;

	world_begin(3, 8);
	reporter_begin(&rep, policy(1, 1));
	give_all();
	EQUAL(fpt_due(&rep, 0), 0);
	rep.policy.amount = 8ul << w.order;
	EQUAL(fpt_due(&rep, 0), FPT_DUE_AMOUNT);
	rep.policy.amount++;
	EQUAL(fpt_due(&rep, 0), 0);
	rep.policy.age = 3;
	EQUAL(fpt_due(&rep, 3), FPT_DUE_AGE);
	fpt_pass_begin(&rep);
	EQUAL(fpt_pass_next(&rep, &b), 1);
	EQUAL(fpt_pass_next(&rep, &(struct fpt_batch){ .nr = 0 }), 0);
	rep.policy = policy(3, 8);
	fpt_pass_begin(&rep);
	discard(NULL, &b);
	fpt_pass_complete(&rep, &b, true);
	EQUAL(fpt_pass_next(&rep, &b), 3);
	EQUAL(b.range[0].pfn, pfn_of(1));
	discard(NULL, &b);
	fpt_pass_complete(&rep, &b, true);
	take(6);
	rep.policy.min_order = w.order + 1;
	EQUAL(pass(&rep), 2);			/* 4 and 5; 7 is alone */
	rep.policy.min_order = w.order;
	EQUAL(pass(&rep), 1);
	EQUAL(all_discarded(), 7);
	world_end(&rep);
}

/* As in 2018: what was reported is hinted again at once. */
static void test_report_again(void)
{
	struct fpt_reporter rep;

	FOR_ORDERS(order) {
		struct fpt_config config = { .ops = w.ops, .nr_cpus = NR_CPUS, .order = order,
					     .protocol = w.protocol, .report_again = true };
		unsigned int i;

		world_begin_config(config, 0, 0, 4ul << order, true);
		reporter_begin(&rep, policy(3, 4));
		give_all();
		for (i = 1; i <= 3; i++) {
			EQUAL(pass(&rep), 4);		/* once in each pass */
			EQUAL(w.discarded[3], i);
		}
		check_left(&rep, false);		/* not what a pass is due for */
		EQUAL(take(1), FPT_OK);
		EQUAL(pass(&rep), 3);
		EQUAL(stat(FPT_STAT_REFAULTED), 0);	/* no marks, so nobody knows */
		give(1);
		EQUAL(pass(&rep), 4);
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(w.discarded[0], 7);		/* two passes */
		world_end(&rep);
	}
}

/* Blocks that isolation is asked for in vain by n passes, with another page coming and going. */
static unsigned long asked_in_vain(struct fpt_reporter *rep, unsigned int n)
{
	unsigned long before = w.used_asked;

	while (n--) {
		w.hidden = false;
		EQUAL(take_pages(pfn_of(1) + 1, 0), FPT_OK);
		give_pages(pfn_of(1) + 1, 0);
		EQUAL(pass(rep), 0);
	}
	return w.used_asked - before;
}

/* A source that misses allocations: what the owner says is used is cleared. */
static void test_lossy(void)
{
	struct fpt_reporter rep, doubting;

	if (w.protocol == FPT_TICKET)
		return;
	FOR_ORDERS(order) {
		struct fpt_config config = { .ops = w.ops, .nr_cpus = NR_CPUS, .order = order,
					     .lossy = true };
		bool coarse;

		if (!order)
			continue;
		for (coarse = false;; coarse = true) {
			world_begin_config(config, 0, 0, 3ul << order, !coarse);
			reporter_begin(&rep, policy(3, 3));
			reporter_begin(&doubting, policy(3, 3));
			doubting.owner = &owner_in_doubt;
			give_all();
			EQUAL(pass(&rep), 3);
			/* An allocation that nobody sees, of the block's first page. */
			w.hidden = true;
			EQUAL(take_pages(pfn_of(1), 0), FPT_OK);
			/* Without the owner's word every free looks as if it had made the block. */
			EQUAL(asked_in_vain(&doubting, 4), 4);
			EQUAL(stat(FPT_STAT_USED), 4ul << order);
			TRUE(coarse || fpt_xbitmap_test(&w.t.back, pfn_of(1)));
			/* With it the block is asked for once more, then not until it is free. */
			EQUAL(asked_in_vain(&rep, 4), coarse ? 4 : 1);
			TRUE(coarse || !fpt_xbitmap_test(&w.t.back, pfn_of(1)));
			TRUE(coarse || fpt_xbitmap_test(&w.t.back, pfn_of(1) + 1));
			EQUAL(asked_in_vain(&doubting, 4), coarse ? 4 : 0);
			give_pages(pfn_of(1), 0);
			EQUAL(pass(&rep), 1);
			EQUAL(w.discarded[1], 2);
			EQUAL(w.used_asked, coarse ? 12 : 5);
			/* Taken and freed again, both seen: as ever. */
			EQUAL(take_pages(pfn_of(1), 0), FPT_OK);
			EQUAL(take_pages(pfn_of(2), 0), FPT_OK);
			give_pages(pfn_of(2), 0);
			EQUAL(pass(&rep), 1);
			EQUAL(w.discarded[2], 2);
			give_pages(pfn_of(1), 0);
			world_end(&rep);
			if (coarse)
				break;
		}
	}
}

/* An exact source, and a tracker that retracts: is_free is not asked. */
static bool never_asked(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	(void)pfn;
	fail();
	return true;
}

static void test_exact(void)
{
	static const struct fpt_owner_ops exact = { isolate, put_back, never_asked };
	struct fpt_reporter rep;
	struct fpt_batch b;

	if (w.protocol == FPT_TICKET || !w.ops->retracts)
		return;
	world_begin(3, 2);
	EQUAL(fpt_reporter_init(&rep, &w.t, &exact, NULL,
				&(struct fpt_policy){ .batch = 2, .max_in_flight = w.nr }), FPT_OK);
	give_all();
	fpt_pass_begin(&rep);
	EQUAL(fpt_pass_claim(&rep, &b), 2);
	take(0);
	EQUAL(fpt_pass_submit(&rep, &b), 1);
	discard(NULL, &b);
	fpt_pass_complete(&rep, &b, true);
	EQUAL(w.used_asked, 1);
	world_end(&rep);
}

#ifdef FPT_MODEL
/* Something that happens in front of another's access number interrupt_at. */
static unsigned long interrupt_at;
static void (*interrupt)(void);

static void interrupt_in(const struct fpt_model_access *a)
{
	(void)a;
	if (--interrupt_at)
		return;
	fpt_model_hook = NULL;
	interrupt();
}

static void interrupt_before(unsigned long access, void (*what)(void))
{
	interrupt_at = access;
	interrupt = what;
	fpt_model_hook = interrupt_in;
}

/* False: there were not so many accesses. */
static bool interrupted(void)
{
	fpt_model_hook = NULL;
	return !interrupt_at;
}

static int took;

static void take_page(void)
{
	took = take_pages(pfn_of(1), 0);
}

/* neighbour: the block before is free, too. */
static void hints_interrupted(bool neighbour)
{
	struct fpt_reporter rep;
	fpt_pfn_t start, got, next;
	unsigned long at;
	bool found;

	for (at = 1, found = true; found; at++) {
		world_begin(2, 3);
		reporter_begin(&rep, policy(3, 3));
		w.may_cancel_early = true;
		give(1);
		if (neighbour)
			give(0);
		start = 0;
		interrupt_before(at, take_page);
		got = fpt_get_hints(&w.t, &start, ~0ul);
		found = interrupted();
		if (!found)
			take_page();
		EQUAL(took, pfn_of(1) - start < got ? FPT_IN_FLIGHT : FPT_OK);
		/* What was free is got: here or, behind a cancelled block, by the next call. */
		next = start + got;
		EQUAL(got / w.block_pages, neighbour + (took == FPT_IN_FLIGHT));
		if (got)
			fpt_put_hints(&w.t, start, got);
		EQUAL(fpt_get_hints(&w.t, &next, ~0ul), 0);
		give_pages(pfn_of(1), 0);
		w.discarded[0] = w.discarded[1] = 1;
		world_end(&rep);
	}
	TRUE(at > 20);
}

/* An allocation at any moment of fpt_get_hints(): it waits for what was got, and only for that. */
static void test_hints_interrupted(void)
{
	if (w.protocol == FPT_ISOLATE)
		return;
	hints_interrupted(false);
	hints_interrupted(true);
}

static int neighbour_took;

static void take_neighbour(void)
{
	neighbour_took = take_pages(pfn_of(1) + 1, 0);
}

static struct fpt_reporter *interrupting;
static struct fpt_batch *interrupting_batch;

static void submit(void)
{
	fpt_pass_submit(interrupting, interrupting_batch);
}

/* A claim that is submitted at any moment of an allocation: one of the two is first. */
static void test_alloc_interrupted(void)
{
	struct fpt_reporter rep;
	struct fpt_batch b;
	unsigned long at;
	bool found;

	if (w.protocol == FPT_ISOLATE)
		return;
	for (at = 1, found = true; found; at++) {
		world_begin(2, 3);
		reporter_begin(&rep, policy(3, 3));
		give(1);
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_claim(&rep, &b), 1);
		interrupting = &rep;
		interrupting_batch = &b;
		interrupt_before(at, submit);
		take_page();
		found = interrupted();
		if (!found)
			submit();
		EQUAL(took, b.nr ? FPT_IN_FLIGHT : FPT_OK);
		EQUAL(stat(FPT_STAT_CANCELLED), b.nr ? 0 : w.block_pages);
		EQUAL(stat(FPT_STAT_WAITED), b.nr ? 1 : 0);
		fpt_pass_complete(&rep, &b, true);
		give_pages(pfn_of(1), 0);
		world_end(&rep);
	}
	TRUE(at > 5);
	/* Two allocations: one cancels, and none waits. (But for a lock that the first one holds.) */
	if (w.ops->slot == FPT_SLOT_LOCKMAP)
		return;
	for (at = 1, found = true; found; at++) {
		world_begin(2, 3);
		reporter_begin(&rep, policy(3, 3));
		give(1);
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_claim(&rep, &b), 1);
		interrupt_before(at, take_neighbour);
		take_page();
		found = interrupted();
		if (!found)
			take_neighbour();
		EQUAL(took, FPT_OK);
		EQUAL(neighbour_took, FPT_OK);
		EQUAL(stat(FPT_STAT_CANCELLED), w.block_pages);
		EQUAL(fpt_pass_submit(&rep, &b), 0);
		give_pages(pfn_of(1), 0);
		give_pages(pfn_of(1) + 1, 0);
		world_end(&rep);
	}
}

/* Who waits lets the reporter run. */
static struct fpt_reporter *waited_for;
static struct fpt_batch *waited_batch;

static void complete_in_pause(const struct fpt_model_access *a)
{
	if (a->kind != FPT_MODEL_PAUSE)
		return;
	fpt_model_hook = NULL;
	fpt_pass_complete(waited_for, waited_batch, true);
}
#endif

/* An allocation that meets what the host has: it waits, and can ask for its block first. */
static void test_wait(void)
{
	struct fpt_reporter rep;
	struct fpt_batch b;

	if (w.protocol == FPT_ISOLATE)
		return;
	FOR_ORDERS(order) {
		world_begin(order, 5);
		reporter_begin(&rep, policy(3, 5));
		give_all();
		FALSE(fpt_in_flight(&w.t, pfn_of(0), order));
		FALSE(fpt_expedite_due(&rep));
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_claim(&rep, &b), 3);
		FALSE(fpt_in_flight(&w.t, pfn_of(0), order));	/* claimed only */
		fpt_expedite(&w.t, pfn_of(0), order);
		FALSE(fpt_expedite_due(&rep));
		EQUAL(fpt_pass_submit(&rep, &b), 3);
		discard(NULL, &b);
		TRUE(fpt_in_flight(&w.t, pfn_of(0), order));
		TRUE(fpt_in_flight(&w.t, pfn_of(2), order + 1));	/* the first of two */
		FALSE(fpt_in_flight(&w.t, pfn_of(3), order + 1));
		FALSE(fpt_in_flight(&w.t, pfn_of(5), order));	/* in no range */
		/* From a block that the host has into one that it does not have. */
		EQUAL(take_pages(pfn_of(2), order + 1), FPT_IN_FLIGHT);
		EQUAL(stat(FPT_STAT_WAITED), w.block_pages);
		fpt_expedite(&w.t, pfn_of(2), order + 1);
		TRUE(fpt_expedite_due(&rep));
		FALSE(fpt_expedite_due(&rep));
		fpt_expedite(&w.t, pfn_of(2), order + 1);
		FALSE(fpt_expedite_due(&rep));			/* known already */
		FALSE(fpt_batch_expedited(&w.t, &b, 0));
		TRUE(fpt_batch_expedited(&w.t, &b, 2));
		fpt_pass_complete_one(&rep, &b, 2, true);
		FALSE(fpt_in_flight(&w.t, pfn_of(2), order + 1));
		fpt_wait(&w.t, pfn_of(2), order + 1);
		/* The others are still out. */
		TRUE(fpt_in_flight(&w.t, pfn_of(1), order));
		EQUAL(take(1), FPT_IN_FLIGHT);
#ifdef FPT_MODEL
		waited_for = &rep;
		waited_batch = &b;
		fpt_model_hook = complete_in_pause;
		fpt_wait(&w.t, pfn_of(1), order);
		EQUAL(fpt_model_hook == NULL, true);
#else
		fpt_pass_complete(&rep, &b, true);
#endif
		FALSE(fpt_in_flight(&w.t, pfn_of(0), order + 1));
		/* What was taken meanwhile is to be reported again when it is free. */
		give(1);
		give_pages(pfn_of(2), order + 1);
		EQUAL(pass(&rep), 4);
		EQUAL(w.discarded[0], 1);
		EQUAL(w.discarded[4], 1);
		world_end(&rep);
	}
}

/* The interface of 2018: chunks of whole blocks, in the order of pages. */
static void test_hints(void)
{
	struct fpt_reporter rep;
	fpt_pfn_t start, block;
	struct fpt_mem m;
	void *memory;
	size_t size;

	if (w.protocol == FPT_ISOLATE)
		return;
	FOR_ORDERS(order) {
		block = 1ul << order;
		world_begin_at(order, 8 * block, 6 * block);
		reporter_begin(&rep, policy(3, 8));
		/* Lower pages in a range that comes later. */
		size = fpt_range_size(&w.t, 2 * block, 2 * block, true);
		memory = malloc(size);
		m = (struct fpt_mem){ memory, size, false };
		EQUAL(fpt_add_range(&w.t, 2 * block, 2 * block, &m), FPT_OK);
		start = 0;
		EQUAL(fpt_get_hints(&w.t, &start, ~0ul), 0);
		fpt_free(&w.t, 3 * block, order);
		give(0);
		give(1);
		give(2);
		give(4);
		start = 0;
		EQUAL(fpt_get_hints(&w.t, &start, block - 1), 0);	/* whole blocks */
		start = 0;
		EQUAL(fpt_get_hints(&w.t, &start, ~0ul), block);
		EQUAL(start, 3 * block);
		EQUAL(fpt_alloc(&w.t, start, order), FPT_IN_FLIGHT);
		start += block;
		EQUAL(fpt_get_hints(&w.t, &start, 2 * block + (order > 0)), 2 * block);
		EQUAL(start, pfn_of(0));
		/* From the middle of a block: the next one. */
		start = pfn_of(2) + (order > 0);
		EQUAL(fpt_get_hints(&w.t, &start, ~0ul), block);
		EQUAL(start, order ? pfn_of(4) : pfn_of(2));
		start = 0;
		EQUAL(fpt_get_hints(&w.t, &start, ~0ul), block);
		EQUAL(start, order ? pfn_of(2) : pfn_of(4));
		EQUAL(fpt_get_hints(&w.t, &start, ~0ul), 0);
		/* Back in parts, in any order. */
		fpt_put_hints(&w.t, pfn_of(4), block);
		fpt_put_hints(&w.t, pfn_of(1), 2 * block);
		fpt_put_hints(&w.t, pfn_of(0), block);
		TRUE(fpt_in_flight(&w.t, 3 * block, order));
		fpt_put_hints(&w.t, 3 * block, block);
		FALSE(fpt_in_flight(&w.t, 3 * block, order));
		EQUAL(stat(FPT_STAT_REPORTED), 5 * block);
		start = 0;
		EQUAL(fpt_get_hints(&w.t, &start, ~0ul), 0);
		fpt_free(&w.t, 3 * block, order);
		EQUAL(fpt_get_hints(&w.t, &start, ~0ul), block);
		EQUAL(start, 3 * block);
		fpt_put_hints(&w.t, start, block);
		fpt_put_hints(&w.t, start, block);	/* once more: nothing is left to do */
		EQUAL(stat(FPT_STAT_LATE), block);
		w.discarded[0] = w.discarded[1] = w.discarded[2] = w.discarded[4] = 1;
		world_end(&rep);
		free(memory);
		/* The last page that there can be. */
		world_begin_at(order, ~0ul - 3 * block + 1, 3 * block);
		reporter_begin(&rep, policy(3, 8));
		give(1);
		give(2);
		start = 0;
		EQUAL(fpt_get_hints(&w.t, &start, ~0ul), 2 * block);
		EQUAL(start, pfn_of(1));
		fpt_put_hints(&w.t, start, 2 * block);
		give(0);
		EQUAL(fpt_get_hints(&w.t, &start, ~0ul), 0);	/* below start */
		w.discarded[1] = w.discarded[2] = 1;
		world_end(&rep);
	}
}

/* Memory that is unplugged: not while a block of it is out, and then nothing of it is reported. */
static void test_removed(void)
{
	struct fpt_reporter rep;
	struct fpt_batch b;
	struct fpt_mem m;
	fpt_pfn_t pfn, nr;
	void *memory;
	size_t size;

	FOR_ORDERS(order) {
		world_begin(order, 4);
		reporter_begin(&rep, policy(1, 4));
		pfn = 8ul << order;
		nr = 2ul << order;
		size = fpt_range_size(&w.t, pfn, nr, true);
		memory = malloc(size);
		m = (struct fpt_mem){ memory, size, false };
		EQUAL(fpt_add_range(&w.t, pfn, nr, &m), FPT_OK);
		give(1);
		fpt_pass_begin(&rep);
		EQUAL(fpt_pass_claim(&rep, &b), 1);
		EQUAL(fpt_remove_range(&w.t, 0, w.nr), FPT_EBUSY);
		fpt_pass_drop(&rep, &b);
		EQUAL(fpt_remove_range(&w.t, 0, w.nr - 1), FPT_ERANGE);
		EQUAL(fpt_remove_range(&w.t, pfn + 1, nr), FPT_ERANGE);
		EQUAL(fpt_remove_range(&w.t, 0, nr), FPT_ERANGE);
		EQUAL(fpt_remove_range(&w.t, pfn + nr, nr), FPT_ERANGE);
		fpt_free(&w.t, pfn, order);
		fpt_free(&w.t, pfn + w.block_pages, order);
		EQUAL(fpt_remove_range(&w.t, pfn, nr), FPT_OK);
		EQUAL(fpt_remove_range(&w.t, pfn, nr), FPT_ERANGE);
		free(memory);
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(all_discarded(), 1);
		EQUAL(w.discarded[1], 1);
		/* Plugged again, smaller; its pages are held. */
		size = fpt_range_size(&w.t, pfn, w.block_pages, true);
		memory = malloc(size);
		m = (struct fpt_mem){ memory, size, false };
		EQUAL(fpt_add_range(&w.t, pfn, w.block_pages, &m), FPT_OK);
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(all_discarded(), 1);
		/* In the gap it is nobody's. */
		EQUAL(fpt_remove_range(&w.t, pfn, w.block_pages), FPT_OK);
		nr = stat(FPT_STAT_OUTSIDE);
		fpt_free(&w.t, pfn, order);
		EQUAL(flush(&rep), FPT_OK);
		EQUAL(stat(FPT_STAT_OUTSIDE) - nr, w.block_pages);
		world_end(&rep);
		free(memory);
	}
}

#ifndef FPT_TRACKER
static unsigned int switch_waits;

#ifdef FPT_MODEL
static void count_waits(void)
{
	switch_waits++;
}
#endif

/* What the tracker before held is found after a switch, and what comes later, too. */
static void switch_to(const struct fpt_ops *ops)
{
	struct fpt_config config = { .ops = ops, .nr_cpus = NR_CPUS, .order = 3 };
	const struct fpt_ops *before = w.ops;
	struct fpt_reporter rep;
	void *memory = malloc(fpt_size(&config));
	struct fpt_mem m = { memory, fpt_size(&config), false };
	unsigned int i;

	world_begin(3, 6);
	reporter_begin(&rep, policy(2, 6));
	config.ops = NULL;
	EQUAL(fpt_switch(&w.t, &config, &m), FPT_EINVAL);
	config.ops = &fpt_none_ops;
	if (w.protocol == FPT_TICKET)
		EQUAL(fpt_switch(&w.t, &config, &m), FPT_ENOTSUP);
	config.ops = ops;
	give(0);
	give_pages(pfn_of(1), 2);
	if (ops->init && ops != before) {
		EQUAL(fpt_switch(&w.t, &config, NULL), FPT_ENOMEM);
		EQUAL(fpt_tracker(&w.t)->slot, before->slot);
	}
	switch_waits = 0;
	EQUAL(fpt_switch(&w.t, &config, &m), FPT_OK);
	EQUAL(switch_waits, FPT_RCU_WAITS && ops->slot != before->slot);
	EQUAL(fpt_tracker(&w.t)->slot, ops->slot);
	give_pages(pfn_of(1) + 4, 2);
	give(2);
	EQUAL(flush(&rep), FPT_OK);
	for (i = 0; i < 3; i++)
		EQUAL(w.discarded[i], 1);
	EQUAL(all_discarded(), 3);
	EQUAL(fpt_wanted(&w.t), 0);
	EQUAL(fpt_refill(&w.t, &m), FPT_OK);
	/* And back: its front is there already. */
	give(3);
	config.ops = before;
	EQUAL(fpt_switch(&w.t, &config, NULL), FPT_OK);
	give(4);
	EQUAL(flush(&rep), FPT_OK);
	EQUAL(all_discarded(), 5);
	world_end(&rep);
	free(memory);
}

/* More pages than its front can name: what it is asked for is memory that nobody touches. */
static void switch_beyond(void)
{
	struct fpt_config config = { .ops = w.ops, .nr_cpus = 1, .order = FPT_MAX_ORDER };
	fpt_pfn_t nr = fpt_array_ops.max_pages + 1;
	size_t size = fpt_size(&config), range_size;
	void *memory = calloc(1, size), *range_memory;
	struct fpt_mem m = { memory, size, true };
	struct fpt t;

	if (w.ops->max_pages || FPT_WORD_BITS < 64)
		goto out;
	EQUAL(fpt_init(&t, &config, &m), FPT_OK);
	range_size = fpt_range_size(&t, 0, nr, false);
	range_memory = calloc(1, range_size);
	assert_non_null(range_memory);
	m = (struct fpt_mem){ range_memory, range_size, true };
	EQUAL(fpt_add_range(&t, 0, nr, &m), FPT_OK);
	config.ops = &fpt_array_ops;
	EQUAL(fpt_switch(&t, &config, NULL), FPT_ERANGE);
	EQUAL(fpt_tracker(&t)->slot, w.ops->slot);
	fpt_destroy(&t);
	free(range_memory);
out:
	free(memory);
}

static void test_switched(void)
{
#ifdef FPT_MODEL
	fpt_model_rcu_synchronize = count_waits;
#endif
	switch_to(&fpt_xbitmap_ops);
	switch_to(&fpt_lockmap_ops);
	if (w.protocol == FPT_TICKET)
		return;
	switch_to(&fpt_array_ops);
	switch_to(&fpt_bitmap_ops);
	switch_beyond();
}

/* Nothing is known, so nothing is ever due or found. */
static void test_none(void **state)
{
	struct fpt_reporter rep;
	struct fpt_policy p;

	(void)state;
	w.ops = &fpt_none_ops;
	w.protocol = FPT_ISOLATE;
	world_begin(3, 4);
	p = policy(2, 4);
	p.amount = p.age = 1;
	reporter_begin(&rep, p);
	give_all();
	EQUAL(fpt_due(&rep, 0), 0);
	EQUAL(fpt_due(&rep, 100), 0);
	EQUAL(flush(&rep), FPT_OK);
	EQUAL(fpt_due(&rep, 200), 0);
	EQUAL(w.calls, 0);
	world_end(&rep);
}
#endif

struct variant {
	const struct fpt_ops *ops;
	enum fpt_protocol protocol;
	void (*test)(void);
};

static void run(void **state)
{
	const struct variant *v = *state;

	w.ops = v->ops;
	w.protocol = v->protocol;
	v->test();
}

int main(int argc, char **argv)
{
#ifdef FPT_TRACKER
	static const struct fpt_ops *const trackers[] = { &FPT_PASTE(fpt_, FPT_TRACKER, _ops) };
#else
	static const struct fpt_ops *const trackers[] = { &fpt_xbitmap_ops, &fpt_array_ops,
							  &fpt_bitmap_ops, &fpt_lockmap_ops };
#endif
	static const struct {
		const char *name;
		void (*test)(void);
	} each[] = {
		{ "due by amount", test_due_amount },
		{ "due by age", test_due_age },
		{ "due: left", test_due_left },
		{ "due: refused", test_due_refused },
		{ "before a pass", test_before_pass },
		{ "flush", test_flush },
		{ "flush: deadline", test_flush_deadline },
		{ "flush: in flight", test_flush_in_flight },
		{ "flush: refused", test_flush_refused },
		{ "flush: isolation", test_flush_isolation },
		{ "flush: host refuses", test_flush_host_refuses },
		{ "flush: freed meanwhile", test_flush_freed_meanwhile },
		{ "minimum order", test_min_order },
		{ "minimum order: small", test_min_order_small },
		{ "minimum order: edges", test_min_order_edges },
		{ "minimum order: coarse", test_min_order_coarse },
		{ "minimum order: reporters", test_min_order_reporters },
		{ "granule", test_granule },
		{ "tickets", test_tickets },
		{ "large batch", test_large_batch },
		{ "cap", test_cap },
		{ "expired", test_expired },
		{ "claim, submit", test_claim_submit },
		{ "complete one", test_complete_one },
		{ "refuse", test_refuse },
		{ "policy changed", test_policy_changed },
		{ "report again", test_report_again },
		{ "lossy", test_lossy },
		{ "exact", test_exact },
		{ "wait", test_wait },
		{ "hints", test_hints },
#ifdef FPT_MODEL
		{ "hints, interrupted", test_hints_interrupted },
		{ "alloc, interrupted", test_alloc_interrupted },
#endif
		{ "removed", test_removed },
#ifndef FPT_TRACKER
		{ "switched", test_switched },
#endif
	};
	static char name[2 * COUNT(trackers) * COUNT(each)][60];
	static struct variant variant[2 * COUNT(trackers) * COUNT(each)];
	struct CMUnitTest tests[2 * COUNT(trackers) * COUNT(each) + 1];
	size_t n = 0, i, j, p;

	for (i = 0; i < COUNT(trackers); i++)
		for (p = 0; p < (trackers[i]->retracts ? 2 : 1); p++)
			for (j = 0; j < COUNT(each); j++, n++) {
				snprintf(name[n], sizeof(name[0]), "%s, %s: %s", trackers[i]->name,
					 p ? "tickets" : "isolation", each[j].name);
				variant[n] = (struct variant){
					trackers[i], p ? FPT_TICKET : FPT_ISOLATE, each[j].test };
				tests[n] = (struct CMUnitTest){ name[n], run, NULL, NULL,
								&variant[n] };
			}
#ifndef FPT_TRACKER
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_none);
#endif
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests("report", tests, n, NULL, NULL);
}
