/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_ticket.c - the ticket protocol, promise by promise
 *
 * First the word of a ticket: what each operation makes of each state, and of one that changes
 * under it. Then the hooks and the reporter over it: several blocks and ranges in one event, what
 * comes late, twice or out of order, and the interface of 2018.
 *
 * Where the backend is the model, another's step can be put in front of any access of an operation:
 * races that are named here, one by one. All schedules are test_explore's; random steps are
 * test_trackers', threads test_threads'.
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

#if defined(FPT_MODEL)
void (*fpt_model_hook)(const struct fpt_model_access *access);
unsigned int fpt_model_cpu;
void (*fpt_model_rcu_synchronize)(void);
#elif defined(FPT_VIRTUAL_CPUS)
__thread unsigned int fpt_virtual_cpu;
#endif

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_RANGES 4u		/* of one test */
#define LAST (~0ul)		/* the last page there can be */

enum { I = FPT_TICKET_IDLE, C = FPT_TICKET_CLAIMED, S = FPT_TICKET_SUBMITTED,
       E = FPT_TICKET_SUBMITTED | FPT_TICKET_EXPEDITE };

/*
 * The word.
 */
static const unsigned long generations[] = {
	0, 1 * FPT_TICKET_GENERATION, 2 * FPT_TICKET_GENERATION,
	~0ul / FPT_TICKET_GENERATION * FPT_TICKET_GENERATION,	/* the last */
};

static fpt_atomic_t word;

static fpt_atomic_t *put(unsigned long v)
{
	fpt_store(&word, v, relaxed);
	return &word;
}

static void expect(unsigned long v)
{
	assert_int_equal(fpt_load(&word, relaxed), v);
}

static void test_word(void **state)
{
	static const unsigned long states[] = { I, C, S, E };
	static const bool busy[] = { false, false, true, true };
	static const enum fpt_ticket_found found[] = { FPT_TICKET_NONE, FPT_TICKET_CANCELLED,
						       FPT_TICKET_IN_FLIGHT, FPT_TICKET_IN_FLIGHT };
	size_t i, j, k;

	(void)state;
	for (i = 0; i < COUNT(generations); i++)
		for (j = 0; j < COUNT(states); j++) {
			unsigned long g = generations[i], s = states[j], v = g | s;

			if (!g && s != I)
				continue;	/* a word that nobody has claimed yet */
			assert_int_equal(fpt_ticket_of(v), g);
			assert_int_equal(fpt_ticket_busy(put(v)), busy[j]);
			expect(v);

			assert_int_equal(fpt_ticket_take(put(v)), found[j]);
			expect(s == C ? g | I : v);

			assert_int_equal(fpt_ticket_submit(put(v)), s == C ? g : 0);
			expect(s == C ? g | S : v);

			fpt_ticket_drop(put(v));
			expect(s == C ? g | I : v);

			assert_int_equal(fpt_ticket_expedite(put(v)), s == S);
			expect(s == S ? g | E : v);

			/* By a ticket: the right one, or of another claim of the block. */
			for (k = 1; k < COUNT(generations); k++) {
				bool right = generations[k] == g;

				assert_int_equal(fpt_ticket_expedited(put(v), generations[k]),
						 right && s == E);
				assert_int_equal(fpt_ticket_end(put(v), generations[k]),
						 right && busy[j]);
				expect(right && busy[j] ? g | I : v);
			}
		}
}

/* Each claim has a ticket of its own, which is not 0 even when the word has run through. */
static void test_generations(void **state)
{
	unsigned long seen[10] = { 0 };
	size_t i, j;

	(void)state;
	for (i = 0; i < COUNT(seen); i++) {
		/* Once the last is cancelled, once it is submitted. */
		if (i % 5 == 0)
			put(generations[3] - (i ? 4 : 3) * FPT_TICKET_GENERATION);
		fpt_ticket_claim(&word);
		expect(fpt_ticket_of(fpt_load(&word, relaxed)) | C);
		seen[i] = fpt_ticket_submit(&word);
		expect(seen[i] | S);
		assert_int_not_equal(seen[i], 0);
		for (j = i / 5 * 5; j < i; j++) {
			assert_int_not_equal(seen[i], seen[j]);
			assert_false(fpt_ticket_end(&word, seen[j]));
		}
		/* One that was cancelled, or not submitted, has had its generation, too. */
		assert_true(fpt_ticket_end(&word, seen[i]));
		assert_false(fpt_ticket_end(&word, seen[i]));
		fpt_ticket_claim(&word);
		if (i % 2)
			assert_int_equal(fpt_ticket_take(&word), FPT_TICKET_CANCELLED);
		else
			fpt_ticket_drop(&word);
		assert_int_equal(fpt_ticket_submit(&word), 0);
		assert_false(fpt_ticket_end(&word, fpt_ticket_of(fpt_load(&word, relaxed))));
	}
}

#ifdef FPT_MODEL
/* Somebody else's step, in front of access number at. */
static unsigned int accesses, at;
static void (*step)(void);

static void count_access(const struct fpt_model_access *access)
{
	(void)access;
	if (accesses++ == at && step) {
		fpt_model_hook = NULL;
		step();
		fpt_model_hook = count_access;
	}
}

static void inject(unsigned int n, void (*what)(void))
{
	accesses = 0;
	at = n;
	step = what;
	fpt_model_hook = count_access;
}

static unsigned int injected(void)
{
	fpt_model_hook = NULL;
	return accesses;
}

static void step_submit(void)
{
	assert_int_not_equal(fpt_ticket_submit(&word), 0);
}

static void step_submit_end(void)
{
	assert_true(fpt_ticket_end(&word, fpt_ticket_submit(&word)));
}

static void step_again(void)
{
	step_submit_end();
	fpt_ticket_claim(&word);
}

static void step_again_submit(void)
{
	step_again();
	step_submit();
}

static void step_take(void)
{
	assert_int_not_equal(fpt_ticket_take(&word), FPT_TICKET_NONE);
}

static void step_expedite(void)
{
	assert_true(fpt_ticket_expedite(&word));
}

static void step_end(void)
{
	assert_true(fpt_ticket_end(&word, fpt_ticket_of(fpt_load(&word, relaxed))));
}

/* The word changes between an operation's look and its compare-and-swap. */
static void test_word_races(void **state)
{
	const unsigned long g = FPT_TICKET_GENERATION;
	static const struct {
		void (*step)(void);
		enum fpt_ticket_found found;
		unsigned long after;
	} takes[] = {
		{ step_submit, FPT_TICKET_IN_FLIGHT, FPT_TICKET_GENERATION | S },
		{ step_submit_end, FPT_TICKET_NONE, FPT_TICKET_GENERATION | I },
		{ step_take, FPT_TICKET_NONE, FPT_TICKET_GENERATION | I },
		/* The next claim looks at the bits after this allocation has cleared its own. */
		{ step_again, FPT_TICKET_NONE, 2 * FPT_TICKET_GENERATION | C },
		{ step_again_submit, FPT_TICKET_NONE, 2 * FPT_TICKET_GENERATION | S },
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(takes); i++) {
		put(g | C);
		inject(1, takes[i].step);
		assert_int_equal(fpt_ticket_take(&word), takes[i].found);
		assert_true(injected() >= 2 && accesses <= 3);
		expect(takes[i].after);
	}
	put(g | C);
	inject(1, step_take);
	assert_int_equal(fpt_ticket_submit(&word), 0);
	injected();
	expect(g | I);
	put(g | C);
	inject(1, step_take);
	fpt_ticket_drop(&word);
	injected();
	expect(g | I);
	/* Asked for first while it ends: the end counts. */
	put(g | S);
	inject(0, step_expedite);
	assert_true(fpt_ticket_end(&word, g));
	injected();
	expect(g | I);
	put(g | S);
	inject(1, step_end);
	assert_false(fpt_ticket_expedite(&word));
	injected();
	expect(g | I);
	put(g | S);
	inject(1, step_expedite);
	assert_false(fpt_ticket_expedite(&word));
	injected();
	expect(g | E);
}
#endif

/*
 * The protocol.
 */
static struct {
	struct fpt t;
	const struct fpt_ops *ops;
	void *memory[1 + MAX_RANGES];
	unsigned int nr;
	struct fpt_reporter rep;
	struct fpt_batch batch;
} w;

static enum fpt_isolated no_isolate(void *ctx, struct fpt_range r)
{
	(void)ctx;
	(void)r;
	fail_msg("isolation is asked for");
	return FPT_BUSY;
}

static void no_put_back(void *ctx, struct fpt_range r)
{
	(void)ctx;
	(void)r;
	fail_msg("something is put back");
}

static bool no_is_free(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	(void)pfn;
	fail_msg("the owner is asked");
	return true;
}

static const struct fpt_owner_ops owner = { no_isolate, no_put_back, no_is_free };

static struct fpt_mem donate(size_t size)
{
	struct fpt_mem m = { malloc(size), size, false };

	assert_non_null(m.base);
	assert_true(w.nr < COUNT(w.memory));
	w.memory[w.nr++] = m.base;
	return m;
}

static void begin_config(const struct fpt_config *config)
{
	struct fpt_mem m;

#ifdef FPT_VIRTUAL_CPUS
	fpt_virtual_cpu = 0;
#endif
	memset(&w, 0, sizeof(w));
	w.ops = config->ops;
	m = donate(fpt_size(config));
	assert_int_equal(fpt_init(&w.t, config, &m), FPT_OK);
}

static void set_policy(unsigned int batch, unsigned long max_in_flight)
{
	assert_int_equal(fpt_reporter_init(&w.rep, &w.t, &owner, NULL,
			&(struct fpt_policy){ .batch = batch, .max_in_flight = max_in_flight,
					      .timeout = 10 }), FPT_OK);
}

static void begin(const struct fpt_ops *ops, unsigned int order)
{
	begin_config(&(struct fpt_config){ .ops = ops, .nr_cpus = 1, .order = order,
					   .protocol = FPT_TICKET });
	set_policy(8, 1ul << 30);
}

static void end(void)
{
	fpt_destroy(&w.t);
	while (w.nr--)
		free(w.memory[w.nr]);
}

static void add(fpt_pfn_t pfn, fpt_pfn_t nr)
{
	struct fpt_mem m = donate(fpt_range_size(&w.t, pfn, nr, true));

	assert_int_equal(fpt_add_range(&w.t, pfn, nr, &m), FPT_OK);
}

/* All of them, page by page. */
static void give(fpt_pfn_t pfn, fpt_pfn_t nr)
{
	while (nr--)
		fpt_free(&w.t, pfn++, 0);
}

static void take(fpt_pfn_t pfn, unsigned int order, int result)
{
	assert_int_equal(fpt_alloc(&w.t, pfn, order), result);
}

static unsigned long stat(enum fpt_stat s)
{
	struct fpt_stats stats;

	fpt_get_stats(&w.t, &stats);
	return stats.count[s];
}

/* A whole pass; how many blocks it reported. */
static unsigned int pass(void)
{
	struct fpt_batch b;
	unsigned int n = 0;

	fpt_pass_begin(&w.rep);
	while (fpt_pass_next(&w.rep, &b)) {
		n += b.nr;
		fpt_pass_complete(&w.rep, &b, true);
	}
	return n;
}

static unsigned int claim(struct fpt_batch *b, unsigned int nr)
{
	w.rep.policy.batch = nr;
	return fpt_pass_claim(&w.rep, b);
}

/* Claimed and submitted, from the beginning. */
static void submit(struct fpt_batch *b, unsigned int nr)
{
	fpt_pass_begin(&w.rep);
	assert_int_equal(claim(b, nr), nr);
	assert_int_equal(fpt_pass_submit(&w.rep, b), nr);
}

static int init_error(const struct fpt_ops *ops, enum fpt_protocol protocol, bool lossy)
{
	struct fpt_config config = { .ops = ops, .nr_cpus = 1, .order = 3, .protocol = protocol,
				     .lossy = lossy };
	size_t size = fpt_size(&config);
	struct fpt_mem m = { malloc(size), size, false };
	void *memory = m.base;
	struct fpt t;
	int error = fpt_init(&t, &config, &m);

	free(memory);
	return error;
}

/* Where hooks do not see all, or not exactly, tickets would let the host have owned pages. */
static void test_refused(void **state)
{
	static const struct fpt_ops *const exact[] = { &fpt_xbitmap_ops, &fpt_lockmap_ops,
						       &fpt_delta_ops };
	static const struct fpt_ops *const others[] = { &fpt_array_ops, &fpt_bitmap_ops,
							&fpt_none_ops };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(exact); i++) {
		assert_int_equal(init_error(exact[i], FPT_TICKET, false), FPT_OK);
		assert_int_equal(init_error(exact[i], FPT_TICKET, true), FPT_ENOTSUP);
		assert_int_equal(init_error(exact[i], FPT_ISOLATE, true),
				 exact[i]->toggles ? FPT_ENOTSUP : FPT_OK);
	}
	for (i = 0; i < COUNT(others); i++) {
		assert_int_equal(init_error(others[i], FPT_TICKET, false), FPT_ENOTSUP);
		assert_int_equal(init_error(others[i], FPT_TICKET, true), FPT_ENOTSUP);
		assert_int_equal(init_error(others[i], FPT_ISOLATE, false), FPT_OK);
	}
}

/* Every page needs its bit: with less memory than for all chunks a range is refused. */
static void test_memory(void **state)
{
	const fpt_pfn_t nr = 3 * 8 * FPT_XBITMAP_CHUNK_BYTES + 5;
	size_t exact, size;
	struct fpt_mem all, m;
	struct fpt_stats s;

	begin(*state, 4);
	exact = fpt_range_size(&w.t, 32, nr, true);
	assert_true(exact > fpt_range_size(&w.t, 32, nr, false));
	all = donate(exact);
	for (size = 0;; size += size + 2 * FPT_CACHE_LINE < exact ? 16 : 1) {
		struct fpt_mem before = m = (struct fpt_mem){ all.base, size, false };

		assert_true(size <= exact);
		if (fpt_add_range(&w.t, 32, nr, &m) == FPT_OK)
			break;
		assert_int_equal(fpt_add_range(&w.t, 32, nr, &m), FPT_ENOMEM);
		assert_memory_equal(&before, &m, sizeof(m));
	}
	assert_true(size + 2 * FPT_CACHE_LINE > exact);
	give(32, nr);
	if (!w.ops->toggles)		/* slow on CPUs that w.t does not count */
		assert_int_equal(stat(FPT_STAT_SLOW), 0);
	assert_false(fpt_xbitmap_is_coarse(&w.t.back, 32 + nr - 1));
	fpt_get_stats(&w.t, &s);
	assert_true(s.memory_used <= s.memory_donated);
	end();
}

/* Without tickets there is none to find, and nothing to wait for. */
static void test_isolate(void **state)
{
	begin_config(&(struct fpt_config){ .ops = *state, .nr_cpus = 1, .order = 3 });
	add(0, 32);
	assert_null(w.t.back.range[0].ticket);
	give(0, 32);
	take(0, 4, FPT_OK);
	assert_false(fpt_in_flight(&w.t, 0, 4));
	fpt_expedite(&w.t, 0, 4);
	fpt_wait(&w.t, 0, 4);
	end();
}

/* Claimed: an allocation cancels it and goes on. Submitted: it must wait until that one is over. */
static void test_life(void **state)
{
	struct fpt_batch *b = &w.batch;

	begin(*state, 3);
	add(0, 32);
	give(0, 32);
	fpt_pass_begin(&w.rep);
	assert_int_equal(claim(b, 2), 2);
	take(15, 0, FPT_OK);			/* block 1: cancelled */
	assert_int_equal(stat(FPT_STAT_CANCELLED), 8);
	take(14, 0, FPT_OK);			/* once */
	assert_int_equal(stat(FPT_STAT_CANCELLED), 8);
	assert_int_equal(fpt_pass_submit(&w.rep, b), 1);
	assert_int_equal(b->range[0].pfn, 0);
	assert_int_equal(w.rep.in_flight, 8);
	assert_false(fpt_in_flight(&w.t, 8, 3));
	assert_true(fpt_in_flight(&w.t, 0, 0));
	take(3, 0, FPT_IN_FLIGHT);
	take(4, 1, FPT_IN_FLIGHT);
	assert_int_equal(stat(FPT_STAT_WAITED), 3);
	take(24, 3, FPT_OK);			/* free, and in no claim */
	fpt_pass_complete(&w.rep, b, true);
	assert_int_equal(w.rep.in_flight, 0);
	assert_false(fpt_in_flight(&w.t, 0, 3));
	fpt_wait(&w.t, 3, 0);
	take(6, 0, FPT_OK);
	assert_int_equal(stat(FPT_STAT_REPORTED), 8);
	/* The cancelled one comes back when its pages do, and so does the one that was touched. */
	assert_int_equal(pass(), 1);		/* block 2 */
	give(14, 2);
	give(3, 4);				/* page 6 among them */
	assert_int_equal(pass(), 2);
	assert_int_equal(pass(), 0);
	assert_int_equal(stat(FPT_STAT_WAITED), 3);
	assert_int_equal(stat(FPT_STAT_CANCELLED), 8);
	end();
}

/* Taken and given back while the block is claimed, or at the host: it is found again, once. */
static void test_touched(void **state)
{
	struct fpt_batch *b = &w.batch;

	begin(*state, 3);
	add(0, 32);
	give(8, 8);
	fpt_pass_begin(&w.rep);
	assert_int_equal(claim(b, 1), 1);
	take(9, 0, FPT_OK);
	give(9, 1);
	assert_int_equal(fpt_pass_submit(&w.rep, b), 0);
	assert_int_equal(w.rep.in_flight, 0);
	/* Also by this pass, were it not behind the block. */
	submit(b, 1);
	assert_int_equal(claim(&(struct fpt_batch){ 0 }, 1), 0);
	take(9, 0, FPT_IN_FLIGHT);
	give(9, 1);				/* not waited for */
	assert_int_equal(pass(), 0);		/* it is still out */
	fpt_pass_complete(&w.rep, b, true);
	assert_int_equal(pass(), 1);
	assert_int_equal(pass(), 0);
	/* What the host has given for nothing is counted, in flight or later. */
	assert_int_equal(stat(FPT_STAT_REFAULTED), 8);
	take(8, 2, FPT_OK);
	assert_int_equal(stat(FPT_STAT_REFAULTED), 16);
	give(8, 4);
	assert_int_equal(pass(), 1);
	end();
}

/* An event of several blocks: all are looked at, whatever the first ones were. */
static void test_several_blocks(void **state)
{
	struct fpt_batch claimed = { 0 }, *b = &w.batch;
	unsigned int order;
	fpt_pfn_t first;

	for (order = 2; order <= 5; order++)
		for (first = 0; first + (1ul << order) <= 32; first++) {
			fpt_pfn_t end_pfn = first + (1ul << order), p, nr = 0;

			begin(*state, 2);
			add(0, 64);
			give(0, 32);		/* blocks 0 to 7 */
			submit(b, 2);		/* 0, 1 */
			assert_int_equal(claim(&claimed, 2), 2);	/* 2, 3 */
			assert_int_equal(fpt_pass_next(&w.rep, &(struct fpt_batch){ 0 }), 2);
			assert_int_equal(claim(&(struct fpt_batch){ 0 }, 1), 1);	/* 6 */
			for (p = first; p < end_pfn; p++)
				nr += p < 8 || (p >= 16 && p < 24);
			take(first, order, nr ? FPT_IN_FLIGHT : FPT_OK);
			assert_int_equal(stat(FPT_STAT_WAITED), nr);
			assert_int_equal(fpt_in_flight(&w.t, first, order), nr != 0);
			for (p = 8, nr = 0; p < 28; p += p == 12 ? 12 : 4)
				nr += first < p + 4 && end_pfn > p ? 4 : 0;
			assert_int_equal(stat(FPT_STAT_CANCELLED), nr);
			nr = first < 12 && end_pfn > 8;
			nr += first < 16 && end_pfn > 12;
			assert_int_equal(fpt_pass_submit(&w.rep, &claimed), 2 - nr);
			end();
		}
}

/* Pages in no range have no ticket; the blocks beside them do. */
static void test_no_range(void **state)
{
	struct fpt_batch *b = &w.batch;

	begin(*state, 3);
	add(11, 21);			/* [11, 32): blocks 2 and 3 are whole */
	add(LAST - 15, 16);
	take(2, 2, FPT_OK);
	assert_int_equal(stat(FPT_STAT_OUTSIDE), 4);
	give(11, 21);
	give(LAST - 15, 16);
	submit(b, 3);
	take(0, 3, FPT_OK);
	take(8, 0, FPT_OK);
	take(9, 2, FPT_OK);		/* across an edge */
	take(32, 4, FPT_OK);
	assert_int_equal(stat(FPT_STAT_WAITED) + stat(FPT_STAT_CANCELLED), 0);
	assert_false(fpt_in_flight(&w.t, 0, 4));
	assert_true(fpt_in_flight(&w.t, 0, 5));
	take(30, 2, FPT_IN_FLIGHT);	/* two in a block that is out, two in none */
	assert_int_equal(stat(FPT_STAT_WAITED), 2);
	take(LAST - 9, 1, FPT_IN_FLIGHT);
	take(LAST, 0, FPT_OK);
	take(LAST - 7, 1, FPT_OK);
	assert_true(fpt_in_flight(&w.t, LAST - 15, 4));
	assert_false(fpt_in_flight(&w.t, LAST - 7, 3));
	fpt_expedite(&w.t, LAST - 15, 4);
	fpt_expedite(&w.t, 0, 3);
	assert_false(fpt_batch_expedited(&w.t, b, 0));
	assert_true(fpt_batch_expedited(&w.t, b, 2));
	fpt_pass_complete(&w.rep, b, true);
	assert_false(fpt_in_flight(&w.t, LAST - 15, 4));
	end();
}

static void test_out_of_order(void **state)
{
	struct fpt_batch a = { 0 }, *b = &w.batch;
	fpt_pfn_t p;

	begin(*state, 3);
	add(0, 64);
	/* Tickets of one batch differ. */
	give(0, 8);
	give(56, 8);
	assert_int_equal(pass(), 2);
	take(0, 3, FPT_OK);
	take(56, 3, FPT_OK);
	give(0, 64);
	submit(&a, 4);
	assert_int_equal(claim(b, 4), 4);
	assert_int_equal(fpt_pass_submit(&w.rep, b), 4);
	assert_int_equal(w.rep.in_flight, 64);
	fpt_pass_complete_one(&w.rep, b, 1, true);	/* block 5; block 7 takes its place */
	fpt_pass_complete_one(&w.rep, b, 2, true);	/* block 6 */
	fpt_pass_complete_one(&w.rep, &a, 0, false);	/* block 0 */
	assert_int_equal(a.nr, 3);
	assert_int_equal(b->nr, 2);
	assert_int_equal(w.rep.in_flight, 40);
	for (p = 0; p < 64; p += 8)
		assert_int_equal(fpt_in_flight(&w.t, p, 3), p != 0 && p != 40 && p != 48);
	take(0, 0, FPT_OK);
	take(40, 0, FPT_OK);
	take(32, 0, FPT_IN_FLIGHT);
	fpt_pass_complete(&w.rep, b, true);
	assert_false(fpt_in_flight(&w.t, 32, 0));
	while (a.nr)
		fpt_pass_complete_one(&w.rep, &a, a.nr - 1, true);
	assert_int_equal(w.rep.in_flight, 0);
	assert_int_equal(stat(FPT_STAT_REPORTED), (2 + 7) * 8);
	assert_int_equal(stat(FPT_STAT_FAILED), 8);
	assert_int_equal(stat(FPT_STAT_LATE), 0);
	/* Refused, and not touched: the hint is kept. But a page of it is taken now. */
	assert_int_equal(pass(), 0);
	give(0, 1);
	assert_int_equal(pass(), 1);
	end();
}

/* Given up: the pages are usable, hints are kept, and what comes after all is ignored. */
static void test_time_out(void **state)
{
	struct fpt_batch *b = &w.batch, old;
	unsigned int i;

	begin(*state, 3);
	add(0, 16);
	give(0, 16);
	(void)fpt_due(&w.rep, LAST - 3);		/* the clock wraps around */
	assert_false(fpt_batch_expired(&w.rep, b, 100));	/* nothing is out */
	submit(b, 2);
	old = *b;
	assert_false(fpt_batch_expired(&w.rep, b, LAST - 3));
	assert_false(fpt_batch_expired(&w.rep, b, 5));
	assert_true(fpt_batch_expired(&w.rep, b, 6));
	w.rep.policy.timeout = 0;
	assert_false(fpt_batch_expired(&w.rep, b, 6));
	take(4, 0, FPT_IN_FLIGHT);
	fpt_pass_complete(&w.rep, b, false);
	assert_false(fpt_in_flight(&w.t, 4, 0));
	assert_int_equal(w.rep.in_flight, 0);
	assert_int_equal(stat(FPT_STAT_FAILED), 16);
	for (i = 0; i < 2; i++) {
		assert_false(fpt_complete(&w.t, &old.range[0], old.ticket[0], true));
		assert_false(fpt_complete(&w.t, &old.range[1], old.ticket[1], i));
		assert_int_equal(stat(FPT_STAT_LATE), 16 * (i + 1));
	}
	/* Claimable again, with other tickets: the old one must not end the new submission. */
	give(4, 1);
	submit(b, 2);
	for (i = 0; i < 2; i++) {
		assert_int_not_equal(b->ticket[i], old.ticket[i]);
		assert_false(fpt_complete(&w.t, &old.range[i], old.ticket[i], true));
		assert_true(fpt_in_flight(&w.t, b->range[i].pfn, 3));
	}
	assert_int_equal(stat(FPT_STAT_LATE), 6 * 8);
	assert_int_equal(stat(FPT_STAT_REPORTED), 0);
	fpt_pass_complete(&w.rep, b, true);
	assert_int_equal(stat(FPT_STAT_REPORTED), 16);
	assert_int_equal(pass(), 0);
	end();
}

/* A range that goes and comes back: tickets of its blocks may still be about. */
static void test_late_after_remove(void **state)
{
	struct fpt_batch *b = &w.batch, old[3] = { { 0 } };
	unsigned int i, j;

	begin(*state, 3);
	add(64, 16);
	for (i = 0; i < COUNT(old); i++) {
		add(0, 16);
		give(8, 8);
		submit(b, 1);
		for (j = 0; j < i; j++) {
			assert_int_not_equal(b->ticket[0], old[j].ticket[0]);
			assert_false(fpt_complete(&w.t, &old[j].range[0], old[j].ticket[0], true));
			assert_true(fpt_in_flight(&w.t, 8, 0));
		}
		assert_int_equal(fpt_remove_range(&w.t, 0, 16), FPT_EBUSY);
		old[i] = *b;
		fpt_pass_complete(&w.rep, b, false);
		assert_int_equal(fpt_remove_range(&w.t, 0, 16), FPT_OK);
		assert_false(fpt_complete(&w.t, &old[i].range[0], old[i].ticket[0], true));
	}
	assert_int_equal(stat(FPT_STAT_LATE), (1 + 2 + 3) * 8);
	end();
}

/* At most so many pages are out, claimed or submitted; the pass goes on when some are back. */
static void test_in_flight(void **state)
{
	struct fpt_batch a = { 0 }, c = { 0 }, *b = &w.batch;

	begin(*state, 3);
	add(0, 128);
	give(0, 128);
	set_policy(8, 3 * 8 + 7);
	fpt_pass_begin(&w.rep);
	assert_int_equal(claim(&a, 1), 1);
	assert_int_equal(claim(b, 8), 2);
	assert_int_equal(claim(&c, 8), 0);
	assert_int_equal(w.rep.in_flight, 24);
	/* Dropped, cancelled, completed: each makes room. */
	fpt_pass_drop(&w.rep, &a);
	assert_int_equal(a.nr, 0);
	assert_int_equal(claim(&a, 8), 1);
	assert_int_equal(a.range[0].pfn, 24);
	take(8, 0, FPT_OK);
	assert_int_equal(claim(&c, 8), 0);	/* not yet: the reporter does not know */
	assert_int_equal(fpt_pass_submit(&w.rep, b), 1);
	assert_int_equal(claim(&c, 8), 1);
	assert_int_equal(c.range[0].pfn, 32);
	fpt_pass_complete_one(&w.rep, b, 0, true);
	assert_int_equal(fpt_pass_next(&w.rep, b), 1);
	assert_int_equal(w.rep.in_flight, 24);
	/* What was dropped keeps its hint; dropping what was cancelled does no harm. */
	take(24, 0, FPT_OK);
	fpt_pass_drop(&w.rep, &a);
	fpt_pass_drop(&w.rep, &c);
	fpt_pass_complete(&w.rep, b, true);
	assert_int_equal(w.rep.in_flight, 0);
	assert_int_equal(stat(FPT_STAT_CANCELLED), 16);
	assert_int_equal(pass(), 16 - 2 - 2);	/* 16 and 40 reported, 8 and 24 taken from */
	end();
}

static void test_expedite(void **state)
{
	struct fpt_batch *b = &w.batch;
	struct fpt_reporter other = { 0 };

	begin(*state, 3);
	add(0, 64);
	give(0, 64);
	assert_false(fpt_expedite_due(&w.rep));
	fpt_expedite(&w.t, 8, 3);		/* nothing is out */
	fpt_pass_begin(&w.rep);
	assert_int_equal(claim(b, 4), 4);
	fpt_expedite(&w.t, 8, 3);		/* only claimed */
	assert_false(fpt_expedite_due(&w.rep));
	assert_int_equal(fpt_pass_submit(&w.rep, b), 4);
	fpt_expedite(&w.t, 40, 3);		/* another */
	assert_false(fpt_expedite_due(&w.rep));
	take(20, 3, FPT_IN_FLIGHT);		/* blocks 2 and 3 */
	fpt_expedite(&w.t, 20, 3);
	assert_true(fpt_expedite_due(&w.rep));
	assert_false(fpt_expedite_due(&w.rep));
	fpt_expedite(&w.t, 20, 3);		/* asked for before */
	fpt_expedite(&w.t, 16, 0);
	assert_false(fpt_expedite_due(&w.rep));
	assert_false(fpt_batch_expedited(&w.t, b, 0));
	assert_false(fpt_batch_expedited(&w.t, b, 1));
	assert_true(fpt_batch_expedited(&w.t, b, 2));
	assert_true(fpt_batch_expedited(&w.t, b, 3));
	/* Each reporter hears of it. */
	assert_int_equal(fpt_reporter_init(&other, &w.t, &owner, NULL, &w.rep.policy), FPT_OK);
	assert_true(fpt_expedite_due(&other));
	assert_true(fpt_in_flight(&w.t, 20, 3));
	fpt_pass_complete_one(&w.rep, b, 2, true);
	assert_true(fpt_in_flight(&w.t, 20, 3));
	assert_true(fpt_batch_expedited(&w.t, b, 2));	/* the last took its place */
	fpt_pass_complete_one(&w.rep, b, 2, true);
	assert_false(fpt_in_flight(&w.t, 20, 3));
	assert_int_equal(stat(FPT_STAT_LATE), 0);
	take(0, 0, FPT_IN_FLIGHT);
	fpt_expedite(&w.t, 0, 0);
	assert_true(fpt_expedite_due(&w.rep));
	fpt_pass_complete(&w.rep, b, false);
	/* A later submission begins without. */
	give(0, 1);
	give(20, 8);
	submit(b, 1);
	assert_false(fpt_batch_expedited(&w.t, b, 0));
	fpt_pass_complete(&w.rep, b, true);
	end();
}

/* While there is a reason nothing is claimed, and what is claimed is not submitted. */
static void test_refuse(void **state)
{
	struct fpt_batch a = { 0 }, *b = &w.batch;
	fpt_pfn_t pfn = 0;

	begin(*state, 3);
	add(0, 64);
	give(0, 64);
	fpt_pass_begin(&w.rep);
	assert_int_equal(claim(&a, 1), 1);
	assert_int_equal(fpt_pass_next(&w.rep, b), 1);
	fpt_refuse(&w.t, FPT_REFUSE_DEVICE);
	assert_int_equal(claim(&(struct fpt_batch){ 0 }, 1), 0);
	assert_int_equal(fpt_get_hints(&w.t, &pfn, 64), 0);
	take(8, 0, FPT_IN_FLIGHT);
	fpt_pass_complete(&w.rep, b, true);
	assert_int_equal(fpt_pass_submit(&w.rep, &a), 0);
	assert_int_equal(w.rep.in_flight, 0);
	assert_false(fpt_in_flight(&w.t, 0, 0));
	fpt_permit(&w.t, FPT_REFUSE_DEVICE);
	/* Its hint was kept. */
	assert_int_equal(fpt_get_hints(&w.t, &pfn, 64), 8);
	assert_int_equal(pfn, 0);
	assert_int_equal(pass(), 6);
	fpt_put_hints(&w.t, 0, 8);
	end();
}

/*
 * The interface of 2018.
 */

/* The next chunk at or after from. */
static void get(fpt_pfn_t from, fpt_pfn_t nr, fpt_pfn_t pfn, fpt_pfn_t expected)
{
	fpt_pfn_t start = from;

	assert_int_equal(fpt_get_hints(&w.t, &start, nr), expected);
	assert_int_equal(start, expected ? pfn : from);
}

static void test_hints(void **state)
{
	begin(*state, 3);
	/* Not in the order of pfns; two of them touch each other. */
	add(1000, 40);			/* 125 to 129 */
	add(LAST - 31, 32);
	add(64, 32);
	add(32, 32);
	get(0, 64, 0, 0);		/* nothing is free */
	give(1000, 40);
	give(LAST - 31, 32);
	give(32, 64);
	get(0, 0, 0, 0);
	get(0, 7, 0, 0);		/* below a block */
	get(0, 8, 32, 8);
	get(0, 23, 40, 16);		/* whole blocks */
	assert_true(fpt_in_flight(&w.t, 48, 0));
	assert_false(fpt_in_flight(&w.t, 56, 0));
	take(50, 0, FPT_IN_FLIGHT);
	take(72, 0, FPT_OK);
	get(57, 64, 64, 8);		/* rounded up; up to the hole */
	get(0, 64, 56, 8);
	get(73, 64, 80, 16);		/* up to the end of the range */
	get(0, 16, 1000, 16);
	get(1000, 1000, 1016, 24);
	get(1000, 64, LAST - 31, 32);	/* up to the last page */
	get(LAST, 64, 0, 0);
	get(0, 64, 0, 0);
	/* Back in parts and in any order: what was touched can be got again. */
	fpt_put_hints(&w.t, LAST - 23, 8);
	fpt_put_hints(&w.t, LAST - 15, 16);
	fpt_put_hints(&w.t, LAST - 31, 8);
	fpt_put_hints(&w.t, 1016, 24);
	fpt_put_hints(&w.t, 1000, 16);
	fpt_put_hints(&w.t, 32, 40);	/* chunks that were got one by one */
	get(0, 64, 0, 0);
	give(50, 1);
	give(72, 1);
	get(0, 64, 48, 8);
	get(50, 64, 72, 8);
	take(LAST, 0, FPT_OK);
	give(LAST, 1);
	get(LAST - 7, 64, LAST - 7, 8);
	fpt_put_hints(&w.t, LAST - 7, 8);
	fpt_put_hints(&w.t, 48, 8);
	fpt_put_hints(&w.t, 80, 16);
	fpt_put_hints(&w.t, 72, 8);
	get(0, 64, 0, 0);
	assert_int_equal(stat(FPT_STAT_LATE), 0);
	assert_int_equal(stat(FPT_STAT_REPORTED), 40 + 32 + 56 + 8 + 8 + 8);
	assert_int_equal(stat(FPT_STAT_CLAIMED), stat(FPT_STAT_REPORTED));
	/* Twice: ignored, and counted. */
	fpt_put_hints(&w.t, 1000, 16);
	assert_int_equal(stat(FPT_STAT_LATE), 16);
	end();
}

/* Across ranges that touch each other a chunk is one. */
static void test_hints_neighbours(void **state)
{
	begin(*state, 2);
	add(16, 16);
	add(0, 16);
	add(33, 31);			/* block 8 is not whole */
	give(0, 64);
	get(0, 64, 0, 32);
	get(0, 64, 36, 28);
	fpt_put_hints(&w.t, 0, 32);
	fpt_put_hints(&w.t, 36, 28);
	end();
}

/* With report_again everything can be got again at once, as the proposal did. */
static void test_report_again(void **state)
{
	struct fpt_batch b;

	begin_config(&(struct fpt_config){ .ops = *state, .nr_cpus = 1, .order = 3,
					   .protocol = FPT_TICKET, .report_again = true });
	set_policy(8, 1ul << 30);
	add(0, 64);
	give(0, 64);
	get(0, 64, 0, 64);
	get(0, 64, 0, 0);
	take(20, 0, FPT_IN_FLIGHT);
	fpt_put_hints(&w.t, 0, 64);
	get(0, 64, 0, 16);
	get(16, 64, 24, 40);
	give(20, 1);
	get(0, 64, 16, 8);
	fpt_put_hints(&w.t, 16, 48);
	fpt_put_hints(&w.t, 0, 16);
	/* A pass ends all the same: it goes through once. */
	assert_int_equal(pass(), 8);
	assert_int_equal(pass(), 8);
	assert_int_equal(stat(FPT_STAT_REFAULTED), 8);	/* in flight: nothing else is marked */
	fpt_pass_begin(&w.rep);
	assert_int_equal(fpt_pass_next(&w.rep, &b), 8);
	get(0, 64, 0, 0);		/* one claim at a time */
	fpt_pass_complete(&w.rep, &b, true);
	end();
}

/* Hints and passes share the blocks, and hints that are out are not a pass's. */
static void test_hints_and_passes(void **state)
{
	struct fpt_batch *b = &w.batch;

	begin(*state, 3);
	add(0, 64);
	give(0, 64);
	submit(b, 2);
	get(0, 16, 16, 16);
	assert_int_equal(claim(&(struct fpt_batch){ 0 }, 8), 4);
	get(0, 64, 0, 0);
	take(32, 0, FPT_OK);
	/* Not what was got: nothing is ended. */
	fpt_put_hints(&w.t, 32, 16);
	assert_int_equal(stat(FPT_STAT_LATE), 16);
	fpt_put_hints(&w.t, 16, 16);
	assert_true(fpt_in_flight(&w.t, 0, 4));
	fpt_pass_complete(&w.rep, b, true);
	end();
}

#ifdef FPT_MODEL
/* The block may be out already. */
static fpt_pfn_t taken;

static void step_alloc(void)
{
	bool out = fpt_in_flight(&w.t, taken, 0);

	assert_int_equal(fpt_alloc(&w.t, taken, 0), out ? FPT_IN_FLIGHT : FPT_OK);
}

/* An allocation cancels a block while it is being got: the search goes on behind it, never back. */
static void test_hints_cancelled(void **state)
{
	unsigned int n, all, got_nothing = 0, cut = 0, whole = 0;
	fpt_pfn_t pfn, nr;

	for (n = 0, all = 1; n < all; n++) {
		begin(*state, 3);
		add(LAST - 31, 32);
		give(LAST - 31, 8);
		give(LAST - 7, 8);
		pfn = LAST - 23;
		taken = LAST;
		inject(n, step_alloc);
		nr = fpt_get_hints(&w.t, &pfn, 64);
		all = injected();
		if (nr) {
			assert_int_equal(nr, 8);
			assert_int_equal(pfn, LAST - 7);
		}
		got_nothing += !nr;
		end();
	}
	/* The second block of a chunk. */
	for (n = 0, all = 1; n < all; n++) {
		begin(*state, 3);
		add(0, 32);
		give(0, 32);
		pfn = 0;
		taken = 8;
		inject(n, step_alloc);
		nr = fpt_get_hints(&w.t, &pfn, 64);
		all = injected();
		assert_int_equal(pfn, 0);
		assert_true(nr == 8 || nr == 32);
		cut += nr == 8 && stat(FPT_STAT_CANCELLED);
		whole += nr == 32 && stat(FPT_STAT_WAITED);
		if (nr == 8)
			get(0, 64, 16, 16);
		end();
	}
	assert_true(got_nothing > 0 && cut > 0 && whole > 0);
}
#endif

/* An argument is a pattern of tests to run. */
int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*test)(void **state);
		bool by_block;	/* counts touches by block: delta has them by line, test_delta */
	} each[] = {
		{ "memory", test_memory, false },
		{ "isolate", test_isolate, false },
		{ "life", test_life, true },
		{ "touched", test_touched, true },
		{ "several blocks", test_several_blocks, false },
		{ "no range", test_no_range, false },
		{ "out of order", test_out_of_order, true },
		{ "time-out", test_time_out, false },
		{ "late after remove", test_late_after_remove, false },
		{ "in flight", test_in_flight, true },
		{ "expedite", test_expedite, false },
		{ "refuse", test_refuse, false },
		{ "hints", test_hints, true },
		{ "hints, neighbours", test_hints_neighbours, false },
		{ "hints and passes", test_hints_and_passes, false },
		{ "report again", test_report_again, true },
#ifdef FPT_MODEL
		{ "hints, cancelled", test_hints_cancelled, false },
#endif
	};
	static const struct fpt_ops *const trackers[] = { &fpt_xbitmap_ops, &fpt_lockmap_ops,
							  &fpt_delta_ops };
	static char name[COUNT(trackers) * COUNT(each)][40];
	struct CMUnitTest tests[COUNT(trackers) * COUNT(each) + 4] = {
		cmocka_unit_test(test_word),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_refused),
#ifdef FPT_MODEL
		cmocka_unit_test(test_word_races),
#endif
	};
	size_t n = 0, i, j, k = 0;

	while (tests[n].test_func)
		n++;
	for (i = 0; i < COUNT(trackers); i++)
		for (j = 0; j < COUNT(each); j++, k++) {
			if (each[j].by_block && trackers[i]->toggles)
				continue;
			snprintf(name[k], sizeof(name[k]), "%s: %s", trackers[i]->name,
				 each[j].name);
			tests[n++] = (struct CMUnitTest){ name[k], each[j].test, NULL, NULL,
							  (void *)(uintptr_t)trackers[i] };
		}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests("ticket", tests, n, NULL, NULL);
}
