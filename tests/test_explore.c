/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_explore.c - the trackers under every schedule: small scenarios, run with explore.h
 *
 * A scenario is a table entry: a tracker, a few pages, what happened before, and what up to four
 * threads then do. After every schedule the promises are checked: claims are exclusive, no owner's
 * data is gone, what is free has been reported or is hinted and gets reported, bits are exact.
 *
 * In the ticket protocol nobody is kept from a page but by what the hooks say: owners write when
 * they may, and read back what they wrote; the host discards between submit and complete.
 *
 * FPT_TEST_BOUND is added to the preemption bound of the scenarios that are too large to be
 * exhausted.
 */
#ifndef FPT_XBITMAP_CHUNK_BYTES
#define FPT_XBITMAP_CHUNK_BYTES 8
#endif
#define FPT_XBITMAP_MAX_RANGES 1

#include "explore.h"
#include "lines.h"

#include <fpt/fpt.h>

#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#define MAX_PAGES 4224u		/* three levels of hints at order 0 */
#define MAX_OPS 14
#define MAX_REPORTERS (EXPLORE_MAX_THREADS + 1)
#define MEMORY (32 * 1024)

void (*fpt_model_hook)(const struct fpt_model_access *access);
unsigned int fpt_model_cpu;
void (*fpt_model_rcu_synchronize)(void);

enum what {
	END,
	DO_FREE,		/* pages that are held */
	DO_ALLOC,		/* unless isolated */
	DO_USE,			/* alloc, write, check, free; nothing when isolated */
	DO_PASS,		/* a whole pass; the host discards */
	DO_PASS_REFUSED,	/* the host refuses */
	DO_PASS_BUSY,		/* isolation always answers busy */
	DO_SUBMIT,		/* a pass up to the host: the first batch stays there */
	DO_COMPLETE,		/* that batch */
	DO_DRAIN,
	/* The ticket protocol: */
	DO_USE_WAIT,		/* DO_USE, waiting for the host: others give the pages back */
	DO_CLAIM,		/* a pass up to its first claims */
	DO_HAND_OVER,		/* these go to the host */
	DO_DROP,		/* or not */
	DO_GIVE_UP,		/* what is at the host, which cannot discard it any more */
	DO_LATE,		/* it says that it has, all the same */
	DO_GET,			/* hints: the interface of 2018 */
	DO_PUT,
};

struct op {
	enum what what;
	unsigned int page, order;
};

#define FREE(page, order) { DO_FREE, page, order }
#define ALLOC(page, order) { DO_ALLOC, page, order }
#define USE(page, order) { DO_USE, page, order }
#define PASS { DO_PASS, 0, 0 }
#define PASS_REFUSED { DO_PASS_REFUSED, 0, 0 }
#define PASS_BUSY { DO_PASS_BUSY, 0, 0 }
#define SUBMIT { DO_SUBMIT, 0, 0 }
#define COMPLETE { DO_COMPLETE, 0, 0 }
#define DRAIN { DO_DRAIN, 0, 0 }
#define USE_WAIT(page, order) { DO_USE_WAIT, page, order }
#define CLAIM { DO_CLAIM, 0, 0 }
#define HAND_OVER { DO_HAND_OVER, 0, 0 }
#define DROP { DO_DROP, 0, 0 }
#define GIVE_UP { DO_GIVE_UP, 0, 0 }
#define LATE { DO_LATE, 0, 0 }
#define GET { DO_GET, 0, 0 }
#define PUT { DO_PUT, 0, 0 }

enum pool { EXACT, PARTIAL };

struct scenario {
	const char *name;
	const struct fpt_ops *ops;
	unsigned int order, nr_pages;
	enum pool pool;
	unsigned int pool_nr;			/* PARTIAL: chunks */
	unsigned int max_coarse;
	unsigned int entries;			/* array */
	unsigned int cpu[EXPLORE_MAX_THREADS];
	int bound;
	bool may_drop;
	bool drained;				/* with sections: at the end the back has it all */
	enum fpt_protocol protocol;
	bool report_again;
	bool no_sections;			/* delta */
	struct op before[MAX_OPS];		/* all pages are held at first */
	struct op thread[EXPLORE_MAX_THREADS][MAX_OPS];
	struct op after[MAX_OPS];
};

/* Of a block, as in an allocator: everything in one word, so that it changes in one step. */
#define ISOLATED (1UL << 31)
#define OWNED (1UL << 16)
#define TAKEN 1UL

struct caller {
	struct fpt_reporter reporter;
	struct fpt_batch batch;
	bool busy, refuse;			/* how isolation and the host answer */
	bool handed_over;			/* the batch */
	struct fpt_range old;			/* given up */
	unsigned long old_ticket;
	struct fpt_range got;			/* by fpt_get_hints() */
};

/* What each run starts from a copy of. */
static struct world {
	struct fpt t;
	struct caller caller[MAX_REPORTERS];
	char memory[MEMORY] __attribute__((aligned(FPT_CACHE_LINE)));
} w, w_image;

/* Of these only what the scenario names is put back. */
static struct guest {
	fpt_atomic_t block[MAX_PAGES];
	fpt_atomic_t claims[MAX_PAGES];		/* of a block */
	fpt_atomic_t content[MAX_PAGES];	/* of an event's first page; 0: discarded */
	/* These change with block[] only. */
	bool fresh[MAX_PAGES];			/* block: reported, not touched since */
	bool owned[MAX_PAGES];			/* page */
	bool unwritten[MAX_PAGES];		/* of an event: the host still had it */
} g, g_image;

static const struct scenario *s;
static size_t memory_used;
static unsigned int nr_blocks;
static unsigned int event_page[EXPLORE_MAX_THREADS * MAX_OPS + MAX_OPS], nr_event_pages;
static bool submits;				/* somebody does, in this scenario */
static unsigned long late;			/* pages that are acknowledged late */
static struct explore *running;

static bool is_event(const struct op *op)
{
	return op->what == DO_FREE || op->what == DO_ALLOC || op->what == DO_USE ||
	       op->what == DO_USE_WAIT;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define wrong(...) explore_fail(EXPLORE_WRONG, __VA_ARGS__)

/* The pages of an event in one block: from first on, at most to the block's end. */
static unsigned int pages_in_block(unsigned int first, unsigned int end)
{
	unsigned int next = ((first >> s->order) + 1) << s->order;

	return (next < end ? next : end) - first;
}

/* For each block b of an event, which has n pages there from page p on. */
#define FOR_BLOCKS(page, order_) \
	for (unsigned int p = (page), end = p + (1u << (order_)), n = pages_in_block(p, end), \
	     b = p >> s->order; p < end; p += n, n = pages_in_block(p, end), b = p >> s->order)

static bool tickets(void)
{
	return s->protocol == FPT_TICKET;
}

/* With tickets nobody looks at it while threads run: no scheduling point. */
static unsigned long add_to_block(unsigned int b, unsigned long n)
{
	unsigned long old = g.block[b].v;

	if (!tickets())
		return fpt_fetch_add(&g.block[b], n, relaxed);
	g.block[b].v += n;
	return old;
}

/* The host has a block of these pages, or had when the hook looked. May they be written now? */
static bool in_flight(unsigned int page, unsigned int order, bool wait)
{
	if (!submits)
		wrong("page %u is in flight, and nothing was submitted", page);
	fpt_expedite(&w.t, page, order);
	if (wait)
		fpt_wait(&w.t, page, order);
	return fpt_in_flight(&w.t, page, order);
}

static bool op_alloc(unsigned int page, unsigned int order, bool wait)
{
	bool isolated = false;
	int result;

	FOR_BLOCKS(page, order)
		isolated |= (add_to_block(b, n * TAKEN) & ISOLATED) != 0;
	if (isolated) {
		FOR_BLOCKS(page, order)
			fpt_fetch_add(&g.block[b], -(n * TAKEN), relaxed);
		return false;
	}
	FOR_BLOCKS(page, order)
		g.fresh[b] = false;
	result = fpt_alloc(&w.t, page, order);
	FOR_BLOCKS(page, order) {
		add_to_block(b, n * OWNED);
		memset(&g.owned[p], true, n);
	}
	g.unwritten[page] = result == FPT_IN_FLIGHT && in_flight(page, order, wait);
	if (!g.unwritten[page])
		fpt_store(&g.content[page], page + 1, relaxed);
	return true;
}

static void op_free(unsigned int page, unsigned int order)
{
	if (!g.unwritten[page] && fpt_load(&g.content[page], relaxed) != page + 1)
		wrong("page %u lost its data", page);
	FOR_BLOCKS(page, order) {
		add_to_block(b, -(n * OWNED));
		memset(&g.owned[p], false, n);
	}
	fpt_free(&w.t, page, order);
	FOR_BLOCKS(page, order)
		add_to_block(b, -(n * TAKEN));
}

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	const struct caller *c = ctx;
	unsigned int b = (unsigned int)(r.pfn >> s->order);
	unsigned long now;

	if (fpt_fetch_add(&g.claims[b], 1, relaxed))
		wrong("block %u is in two claims", b);
	if (!c->busy && fpt_cas(&g.block[b], 0, ISOLATED, acq_rel)) {
		/* An array may still hold an older free of a page. */
		if (g.fresh[b] && fpt_tracker(&w.t)->retracts)
			wrong("block %u is reported twice, untouched", b);
		g.fresh[b] = true;
		return FPT_TAKEN;
	}
	now = fpt_load(&g.block[b], acquire);
	fpt_fetch_add(&g.claims[b], -1UL, relaxed);
	if (now & ISOLATED)
		wrong("block %u is claimed while it is isolated", b);
	return !c->busy && now / OWNED ? FPT_USED : FPT_BUSY;
}

static void put_back(void *ctx, struct fpt_range r)
{
	const struct caller *c = ctx;
	unsigned int b = (unsigned int)(r.pfn >> s->order);

	fpt_fetch_add(&g.claims[b], -1UL, relaxed);
	if (!(fpt_fetch_and(&g.block[b], ~ISOLATED, release) & ISOLATED))
		wrong("block %u is put back twice", b);
	if (c->refuse)
		g.fresh[b] = false;
}

static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	(void)fpt_load(&g.block[pfn >> s->order], acquire);	/* with which owned[] changes */
	return !g.owned[pfn];
}

static const struct fpt_owner_ops owner = { isolate, put_back, is_free };

/* The events' first pages stand for all: fewer steps. */
static void discard(const struct fpt_range *r)
{
	unsigned int i;

	for (i = 0; i < nr_event_pages; i++)
		if (event_page[i] - r->pfn < r->nr)
			fpt_store(&g.content[event_page[i]], 0, relaxed);
}

/* I3, T1, where isolation does not see to it: a block is in one claim. */
static void hold(struct fpt_range r, bool held)
{
	unsigned int b = (unsigned int)(r.pfn >> s->order);

	for (; r.nr; r.nr -= 1ul << s->order, b++)
		if (fpt_fetch_add(&g.claims[b], held ? 1 : -1UL, relaxed) != !held)
			wrong("block %u is in two claims", b);
}

static void hold_batch(struct caller *c, bool held)
{
	unsigned int i;

	for (i = 0; tickets() && i < c->batch.nr; i++)
		hold(c->batch.range[i], held);
}

static unsigned int op_next(struct caller *c)
{
	unsigned int n = fpt_pass_next(&c->reporter, &c->batch);

	c->handed_over = true;
	hold_batch(c, true);
	return n;
}

static void op_hand_over(struct caller *c)
{
	hold_batch(c, false);		/* whoever cancels a claim ends it there */
	fpt_pass_submit(&c->reporter, &c->batch);
	c->handed_over = true;
	hold_batch(c, true);
}

/* What the batch's first owner waits for comes first. */
static void op_complete_expedited(struct caller *c)
{
	unsigned int i;

	for (i = 0; c->batch.nr > 1 && i < c->batch.nr; i++)
		if (fpt_batch_expedited(&w.t, &c->batch, i)) {
			fpt_pass_complete_one(&c->reporter, &c->batch, i, !c->refuse);
			break;
		}
}

static void op_complete(struct caller *c)
{
	unsigned int i;

	for (i = 0; i < c->batch.nr && !c->refuse && c->handed_over; i++)
		discard(&c->batch.range[i]);
	hold_batch(c, false);
	if (!c->handed_over) {
		fpt_pass_drop(&c->reporter, &c->batch);
		return;
	}
	if (tickets())
		op_complete_expedited(c);
	fpt_pass_complete(&c->reporter, &c->batch, !c->refuse);
}

static void op_late(struct caller *c)
{
	if (fpt_complete(&w.t, &c->old, c->old_ticket, true))
		wrong("a late acknowledgement has ended something");
}

static void op_get(struct caller *c)
{
	c->got.pfn = 0;
	c->got.nr = fpt_get_hints(&w.t, &c->got.pfn, s->nr_pages);
	hold(c->got, true);
}

static void op_put(struct caller *c)
{
	discard(&c->got);
	hold(c->got, false);
	fpt_put_hints(&w.t, c->got.pfn, c->got.nr);
	c->got.nr = 0;
}

static void op_pass(struct caller *c)
{
	unsigned int calls = 0;

	fpt_pass_begin(&c->reporter);
	while (op_next(c)) {
		op_complete(c);
		if (++calls > nr_blocks) {
			explore_fail(EXPLORE_STUCK, "a pass does not end");
			return;
		}
	}
}

static void run_ops(const struct op *op, struct caller *c)
{
	for (; op->what != END; op++) {
		c->busy = op->what == DO_PASS_BUSY;
		c->refuse = op->what == DO_PASS_REFUSED || op->what == DO_GIVE_UP;
		if (op->what == DO_FREE)
			op_free(op->page, op->order);
		if (op->what == DO_ALLOC)
			op_alloc(op->page, op->order, false);
		if ((op->what == DO_USE || op->what == DO_USE_WAIT) &&
		    op_alloc(op->page, op->order, op->what == DO_USE_WAIT))
			op_free(op->page, op->order);
		if (op->what == DO_PASS || op->what == DO_PASS_BUSY || op->what == DO_PASS_REFUSED)
			op_pass(c);
		if (op->what == DO_SUBMIT) {
			fpt_pass_begin(&c->reporter);
			op_next(c);
		}
		if (op->what == DO_GIVE_UP) {
			c->old = c->batch.range[0];
			c->old_ticket = c->batch.ticket[0];
		}
		if (op->what == DO_COMPLETE || op->what == DO_GIVE_UP || op->what == DO_DROP)
			op_complete(c);
		if (op->what == DO_DRAIN)
			fpt_drain(&w.t);
		if (op->what == DO_CLAIM) {
			fpt_pass_begin(&c->reporter);
			fpt_pass_claim(&c->reporter, &c->batch);
			c->handed_over = false;
			hold_batch(c, true);
		}
		if (op->what == DO_HAND_OVER)
			op_hand_over(c);
		if (op->what == DO_LATE)
			op_late(c);
		if (op->what == DO_GET)
			op_get(c);
		if (op->what == DO_PUT)
			op_put(c);
		c->busy = c->refuse = false;
	}
}

static void run_thread(void *arg, unsigned int id)
{
	(void)arg;
	run_ops(s->thread[id], &w.caller[id]);
}

static bool is_coarse(unsigned long page)
{
	return fpt_xbitmap_is_coarse(&w.t.back, page);
}

/* The bits are right, here at once or after a fold. */
static bool is_exact(void)
{
	return fpt_tracker(&w.t)->retracts || fpt_tracker(&w.t)->toggles;
}

/* In how many places the array holds a page. With sections: of what was appended only. */
static unsigned int places(unsigned long page)
{
	struct fpt_array *a = w.t.front[FPT_SLOT_ARRAY];
	unsigned int n = fpt_xbitmap_test(&w.t.back, page), cpu, gen;
	unsigned long i;

	for (cpu = 0; cpu < w.t.nr_cpus; cpu++)
		for (gen = 0; gen < 2; gen++)
			for (i = 0; i < (a->nr_cpus ? a->cpu[cpu].slot[gen][-1].v : a->entries); i++) {
				unsigned long run = a->cpu[cpu].slot[gen][i].v;

				n += run &&
				     page - (run >> FPT_ARRAY_NR_BITS) < (run & FPT_ARRAY_MAX_NR);
			}
	return n;
}

/* All pages, or those that the scenario is about: with three levels, the first and the last. */
static unsigned long next_page(unsigned long page, unsigned long step)
{
	page += step;
	if (page >= 128 && page + 128 < s->nr_pages && running->runs % 1024)
		page = s->nr_pages - 128;
	return page;
}

/* I2: are the block's pages with the host, if nobody has them? */
static bool discarded(unsigned int b)
{
	unsigned int i;

	for (i = 0; i < nr_event_pages; i++)
		if (event_page[i] >> s->order == b && g.content[event_page[i]].v)
			return false;
	return true;
}

/* The block that a frozen reporter was at is in its hands. */
static bool frozen_reporter(void)
{
	return running->froze && !is_event(&s->thread[0][0]);
}

static void check_ticket(unsigned int b)
{
	struct fpt_xbitmap_range *r = &w.t.back.range[0];
	bool hinted = fpt_xbitmap_test_block(r->hinted[0], b);
	bool reported = fpt_xbitmap_test_block(r->reported, b);

	if (fpt_xbitmap_test_block(r->claimed, b) || frozen_reporter())
		return;
	if (r->ticket[b].v & (FPT_TICKET_STATE | FPT_TICKET_EXPEDITE))
		wrong("block %u is in no claim, but its ticket is %lx", b, r->ticket[b].v);
	if (!g.block[b].v && !hinted && !reported)
		wrong("block %u is free, not reported and not hinted", b);
	if (!g.block[b].v && reported && !discarded(b))
		wrong("block %u is marked as reported, and is not", b);
}

/* X1, X2, X3, X5, A1, as the threads left it. A frozen thread leaves blocks of its own out. */
static void check_invariants(const struct fpt_stats *stats)
{
	struct fpt_xbitmap_range *r = &w.t.back.range[0];
	unsigned long lost = 0, coarse = 0, dropped = stats->count[FPT_STAT_DROPPED];
	unsigned long p, i, bits, block = 1ul << s->order;
	unsigned int b, l;

	for (p = 0; p < s->nr_pages; p = next_page(p, 1)) {
		b = (unsigned int)(p >> s->order);
		if (running->froze && g.block[b].v)
			continue;
		if (is_exact() && !is_coarse(p) &&
		    fpt_xbitmap_test(&w.t.back, p) == g.owned[p])
			wrong("page %lu: owned %d, and so is its bit", p, g.owned[p]);
		if (!is_exact() && !g.owned[p] && !places(p))
			lost++;
		if (!is_exact() && !running->froze && places(p) > 1 &&
		    stats->count[FPT_STAT_ALLOCATED] == 0)
			wrong("page %lu is in %u places", p, places(p));
	}
	for (p = 0; s->drained && !fpt_model_no_sections && p < s->nr_pages; p++)
		if (!g.owned[p] && !fpt_xbitmap_test(&w.t.back, p))
			wrong("page %lu was not drained", p);
	if (lost != dropped && !running->froze)
		wrong("%lu pages lost, %lu counted as dropped", lost, dropped);
	if (dropped && !s->may_drop)
		wrong("%lu pages dropped", dropped);
	for (p = 0; is_exact() && p < s->nr_pages; p = next_page(p, block)) {
		bool hinted = fpt_xbitmap_test_block(r->hinted[0], p >> s->order);

		b = (unsigned int)(p >> s->order);
		if (tickets()) {
			check_ticket(b);
			continue;
		}
		if (!g.block[b].v && !g.fresh[b] && !g.claims[b].v && !hinted)
			wrong("block %u is free, not reported and not hinted", b);
		if (!(g.block[b].v & ~ISOLATED) &&
		    g.fresh[b] != fpt_xbitmap_test_block(r->reported, b))
			wrong("block %u: its reported mark is not %d", b, g.fresh[b]);
	}
	for (l = 0, bits = nr_blocks; !running->froze && l + 1 < r->nr_levels;
	     l++, bits = fpt_xbitmap_words(bits))
		for (i = 0; i < fpt_xbitmap_words(bits); i++)
			if (r->hinted[l][i].v && !fpt_xbitmap_test_block(r->hinted[l + 1], i))
				wrong("level %u, word %lu is not summarized", l, i);
	for (i = 0; i < r->nr_chunks; i++)
		coarse += r->chunk[i].v == FPT_XBITMAP_COARSE;
	if (coarse > s->max_coarse)
		wrong("%lu chunks are coarse", coarse);
}

/* Everything quiet: two passes report all that is free. */
static void check_reports(unsigned long dropped)
{
	struct fpt_stats stats;
	unsigned long page, p, ended;
	unsigned int b, id;

	/* Thread 0, frozen, may be in the middle of it. */
	for (id = frozen_reporter(); id < EXPLORE_MAX_THREADS; id++) {
		op_complete(&w.caller[id]);
		op_put(&w.caller[id]);
	}
	op_pass(&w.caller[EXPLORE_MAX_THREADS]);
	op_pass(&w.caller[EXPLORE_MAX_THREADS]);
	for (p = 0; p < s->nr_pages; p = next_page(p, 1ul << s->order)) {
		bool lost = false;

		b = (unsigned int)(p >> s->order);
		for (page = p; dropped && page >> s->order == b; page++)
			lost |= !fpt_xbitmap_test(&w.t.back, page);
		if (frozen_reporter())
			continue;
		if (!g.block[b].v && !(tickets() ? discarded(b) : g.fresh[b]) && !lost)
			wrong("block %u is free and was not found", b);
		if (fpt_xbitmap_test_block(w.t.back.range[0].claimed, b))
			wrong("block %u is still claimed", b);
	}
	fpt_get_stats(&w.t, &stats);
	ended = stats.count[FPT_STAT_BUSY] + stats.count[FPT_STAT_USED] +
		stats.count[FPT_STAT_REPORTED] + stats.count[FPT_STAT_FAILED];
	/* Not every cancelled claim is among the rest: one may have been given up anyway. */
	if (!frozen_reporter() &&
	    (stats.count[FPT_STAT_CLAIMED] < ended ||
	     stats.count[FPT_STAT_CLAIMED] > ended + stats.count[FPT_STAT_CANCELLED]))
		wrong("claims are not accounted for");
	if (stats.count[FPT_STAT_LATE] != late && !running->froze)
		wrong("%lu pages were late", stats.count[FPT_STAT_LATE]);
	if (stats.memory_used > stats.memory_donated)
		wrong("more memory used than donated");
}

static void check(void *arg)
{
	struct fpt_stats stats;

	(void)arg;
	run_ops(s->after, &w.caller[EXPLORE_MAX_THREADS]);
	if (fpt_tracker(&w.t)->toggles)
		fpt_drain(&w.t);
	fpt_get_stats(&w.t, &stats);
	check_invariants(&stats);
	check_reports(stats.count[FPT_STAT_DROPPED]);
}

static void note_ops(const struct op *op)
{
	unsigned int i;

	for (; op->what != END; op++) {
		submits |= op->what == DO_PASS || op->what == DO_PASS_REFUSED ||
			   op->what == DO_SUBMIT || op->what == DO_HAND_OVER || op->what == DO_GET;
		late += op->what == DO_LATE ? 1ul << s->order : 0;
		for (i = 0; i < nr_event_pages && event_page[i] != op->page; i++)
			;
		if (is_event(op) && i == nr_event_pages)
			event_page[nr_event_pages++] = op->page;
	}
}

static void restore_ops(const struct op *op)
{
	for (; op->what != END; op++) {
		if (!is_event(op))
			continue;
		g.content[op->page] = g_image.content[op->page];
		g.unwritten[op->page] = g_image.unwritten[op->page];
		FOR_BLOCKS(op->page, op->order) {
			g.block[b] = g_image.block[b];
			g.claims[b] = g_image.claims[b];
			g.fresh[b] = g_image.fresh[b];
			memcpy(&g.owned[p], &g_image.owned[p], n);
		}
	}
}

static void setup(void *arg)
{
	unsigned int id;

	(void)arg;
	memcpy(&w, &w_image, offsetof(struct world, memory) + memory_used);
	restore_ops(s->before);
	restore_ops(s->after);
	for (id = 0; id < EXPLORE_MAX_THREADS; id++)
		restore_ops(s->thread[id]);
}

static unsigned int build(const struct scenario *scenario)
{
	struct fpt_config config = { .ops = scenario->ops, .nr_cpus = 2, .order = scenario->order,
				     .array_entries = scenario->entries, .delta_sets = 1,
				     .protocol = scenario->protocol,
				     .report_again = scenario->report_again };
	struct fpt_mem mem = { w.memory, MEMORY, false };
	unsigned int i, nr_threads = 0;
	bool no_sections = fpt_model_no_sections;
	size_t size;

	s = scenario;
	memset(&g, 0, sizeof(g));
	memset(w.caller, 0, sizeof(w.caller));
	fpt_model_no_sections |= s->no_sections;
	assert_int_equal(fpt_init(&w.t, &config, &mem), FPT_OK);
	fpt_model_no_sections = no_sections;
	size = fpt_range_size(&w.t, 0, s->nr_pages, s->pool == EXACT);
	if (s->pool == PARTIAL)		/* the slack for unaligned donations is not needed */
		size += s->pool_nr * fpt_mem_cost(fpt_xbitmap_chunk_bytes(&w.t.back)) -
			FPT_CACHE_LINE;
	assert_true(size <= mem.size);
	mem.size = size;
	assert_int_equal(fpt_add_range(&w.t, 0, s->nr_pages, &mem), FPT_OK);
	if (s->pool == PARTIAL)
		assert_int_equal(w.t.back.range[0].pool_nr, s->pool_nr);
	memory_used = (size_t)((char *)mem.base - w.memory);
	nr_blocks = (unsigned int)w.t.back.range[0].nr_blocks;
	for (i = 0; i < MAX_REPORTERS; i++)
		assert_int_equal(fpt_reporter_init(&w.caller[i].reporter, &w.t, &owner, &w.caller[i],
				&(struct fpt_policy){ .batch = 2, .max_in_flight = 2UL << s->order }),
				 FPT_OK);
	for (i = 0; i < s->nr_pages; i++) {
		g.block[i >> s->order].v += OWNED + TAKEN;
		g.owned[i] = true;
		g.content[i].v = i + 1;
	}
	nr_event_pages = 0;
	late = 0;
	submits = false;
	note_ops(s->before);
	note_ops(s->after);
	for (i = 0; i < EXPLORE_MAX_THREADS; i++)
		note_ops(s->thread[i]);
	run_ops(s->before, &w.caller[0]);
	w_image = w;
	g_image = g;
	for (i = 0; i < EXPLORE_MAX_THREADS; i++)
		if (s->thread[i][0].what != END)
			nr_threads = i + 1;
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
	if (e->bound < 0 && scenario->ops == &fpt_array_ops && !fpt_model_no_sections)
		e->bound = 3;
	e->bound = explore_bound(e->bound);
	e->quiet_memory[0].first = (const char *)w.t.percpu;
	e->quiet_memory[0].end = (const char *)(w.t.percpu + w.t.nr_cpus);
	e->quiet_memory[1].first = (const char *)&w.t.back.nr_ranges;
	e->quiet_memory[1].end = e->quiet_memory[1].first + sizeof(w.t.back.nr_ranges);
	if (tickets()) {		/* looked up once more, and no range comes or goes */
		e->quiet_memory[2].first = (const char *)&w.t.back.range[0].first_pfn;
		e->quiet_memory[2].end = (const char *)&w.t.back.range[0].pfn;
	}
	running = e;
	explore(e);
}

#define X(order_, nr) .ops = &fpt_xbitmap_ops, .order = order_, .nr_pages = nr
#define A(order_, nr, each) .ops = &fpt_array_ops, .order = order_, .nr_pages = nr, .entries = each
#define L(order_, nr) .ops = &fpt_lockmap_ops, .order = order_, .nr_pages = nr
#define T(order_, nr) X(order_, nr), .protocol = FPT_TICKET
/* Reporters on a CPU of their own: a step there would end what hooks do in a section. */
#define D(order_, nr) .ops = &fpt_delta_ops, .order = order_, .nr_pages = nr, .protocol = FPT_TICKET
#define EXHAUST .bound = -1

static const struct scenario scenarios[] = {
	/* Two frees complete a block, in one word and in two; nobody else will look at it again. */
	{ .name = "one word", X(3, 8), EXHAUST,
	  .thread = { { FREE(0, 2) }, { FREE(4, 1) }, { FREE(6, 1) } } },
	{ .name = "two words", X(7, 128), EXHAUST,
	  .thread = { { FREE(0, 6) }, { FREE(64, 6) } } },
	{ .name = "four words", X(8, 256), EXHAUST,
	  .thread = { { FREE(0, 7) }, { FREE(128, 6) }, { FREE(192, 6) } } },
	{ .name = "word shared", X(7, 128), EXHAUST,
	  .before = { FREE(64, 5) },
	  .thread = { { FREE(32, 5), FREE(0, 5) }, { FREE(96, 5) } } },
	{ .name = "two words, pass", X(7, 128), EXHAUST,
	  .thread = { { FREE(0, 6) }, { FREE(64, 6) }, { PASS } } },
	/* A hint that outlived its block: the claim looks while the last page comes back. */
	{ .name = "free, claim", X(1, 4), EXHAUST,
	  .before = { FREE(0, 1), ALLOC(1, 0) },
	  .thread = { { FREE(1, 0) }, { PASS } } },
	{ .name = "free, two claims", X(1, 4), EXHAUST,
	  .before = { FREE(0, 1), ALLOC(1, 0) },
	  .thread = { { FREE(1, 0) }, { PASS }, { PASS } } },
	{ .name = "alloc, claim", X(2, 4), EXHAUST,
	  .before = { FREE(0, 2) },
	  .thread = { { USE(1, 0) }, { PASS } } },
	{ .name = "allocs, claim", X(1, 4), .bound = 3,
	  .before = { FREE(0, 2) },
	  .thread = { { USE(0, 0), USE(2, 0) }, { USE(1, 1) }, { PASS } } },
	/* Claims are exclusive. */
	{ .name = "two reporters", X(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { PASS }, { PASS } } },
	{ .name = "two reporters, two blocks", X(1, 4), EXHAUST,
	  .before = { FREE(0, 2) },
	  .thread = { { PASS }, { PASS } } },
	{ .name = "two reporters, use", X(1, 4), .bound = 3,
	  .before = { FREE(0, 2) },
	  .thread = { { PASS }, { USE(0, 0) }, { PASS } } },
	{ .name = "busy", X(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { PASS_BUSY }, { PASS }, { USE(0, 0) } } },
	{ .name = "refused", X(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { PASS_REFUSED }, { USE(0, 0) } } },
	{ .name = "refused, two reporters", X(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { PASS_REFUSED }, { PASS } } },
	{ .name = "refused, use, pass", X(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { PASS_REFUSED }, { USE(0, 0) }, { PASS } } },
	{ .name = "busy, refused", X(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { PASS_BUSY }, { PASS_REFUSED } } },
	/* X5: a touch after the block is back, before its claim has ended. */
	{ .name = "complete, touch", X(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { SUBMIT, COMPLETE }, { USE(0, 0) } } },
	{ .name = "complete, two touch", X(1, 2), EXHAUST,
	  .before = { FREE(0, 1), SUBMIT },
	  .thread = { { COMPLETE }, { USE(0, 0) }, { USE(1, 0) } } },
	{ .name = "complete, pass, touch", X(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { SUBMIT, COMPLETE }, { PASS }, { USE(0, 0) } } },
	{ .name = "two words, touch", X(7, 128), EXHAUST,
	  .before = { FREE(0, 7) },
	  .thread = { { PASS }, { USE(0, 6) }, { USE(64, 6) } } },
	{ .name = "two words, two reporters", X(7, 128), EXHAUST,
	  .thread = { { FREE(0, 6) }, { FREE(64, 6) }, { PASS }, { PASS } } },
	/*
	 * X3: the last hint of a word, of its summary, and of that one's, goes while another comes,
	 * behind the cursor so that this pass does not find it by chance.
	 */
	{ .name = "prune two levels", X(0, 128), EXHAUST,
	  .before = { FREE(1, 0) },
	  .thread = { { PASS }, { FREE(0, 0) } } },
	{ .name = "prune three levels", X(0, 4224), EXHAUST,
	  .before = { FREE(4160, 0) },
	  .thread = { { PASS }, { FREE(4096, 0) } } },
	{ .name = "prune three levels, two frees", X(0, 4224), .bound = 3,
	  .before = { FREE(4161, 0) },
	  .thread = { { PASS }, { FREE(4096, 0) }, { FREE(4160, 0) } } },
	{ .name = "prune, two reporters", X(0, 128), .bound = 3,
	  .before = { FREE(1, 0) },
	  .thread = { { PASS }, { PASS }, { FREE(0, 0) } } },
	/* A first free takes a chunk. */
	{ .name = "one chunk", X(1, 128), EXHAUST,
	  .thread = { { FREE(0, 0) }, { FREE(1, 0) }, { FREE(64, 1) } } },
	{ .name = "last chunk", X(1, 128), EXHAUST,
	  .pool = PARTIAL, .pool_nr = 1, .max_coarse = 2,
	  .thread = { { FREE(0, 0) }, { FREE(1, 0) }, { FREE(64, 1) } } },
	{ .name = "chunk returned", X(1, 192), EXHAUST,
	  .pool = PARTIAL, .pool_nr = 2, .max_coarse = 0,
	  .thread = { { FREE(0, 0) }, { FREE(1, 0) } }, .after = { FREE(64, 1) } },
	{ .name = "coarse", X(1, 2), EXHAUST,
	  .pool = PARTIAL, .pool_nr = 0, .max_coarse = 1,
	  .before = { FREE(1, 0) },
	  .thread = { { FREE(0, 0) }, { PASS }, { USE(1, 0) } } },
	{ .name = "coarse, two reporters", X(1, 2), EXHAUST,
	  .pool = PARTIAL, .pool_nr = 0, .max_coarse = 1,
	  .before = { FREE(1, 0) },
	  .thread = { { FREE(0, 0) }, { PASS }, { PASS } } },

	/* A1: several threads on one CPU, and drains. */
	{ .name = "array: appends", A(1, 8, 2), EXHAUST,
	  .thread = { { FREE(0, 0) }, { FREE(2, 0) } } },
	{ .name = "array: appends, extensions", A(1, 8, 2), EXHAUST,
	  .thread = { { FREE(0, 0), FREE(1, 0) }, { FREE(2, 0) } } },
	{ .name = "array: extensions", A(1, 8, 2), EXHAUST,
	  .before = { FREE(1, 0) },
	  .thread = { { FREE(0, 0) }, { FREE(2, 0) } } },
	{ .name = "array: append, drain", A(1, 8, 2), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { FREE(2, 0) }, { DRAIN } } },
	{ .name = "array: extension, drain", A(1, 8, 2), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { FREE(1, 0) }, { DRAIN } } },
	{ .name = "array: extension, two drains", A(1, 8, 3), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { FREE(1, 0), FREE(3, 0) }, { DRAIN }, { DRAIN } } },
	{ .name = "array: append, drain elsewhere", A(1, 8, 3), EXHAUST,
	  .before = { FREE(0, 0) }, .cpu = { 0, 1 },
	  .thread = { { FREE(2, 0), FREE(4, 0) }, { DRAIN } } },
	{ .name = "array: extension, drain elsewhere", A(1, 8, 2), EXHAUST,
	  .before = { FREE(0, 0) }, .cpu = { 0, 1 },
	  .thread = { { FREE(1, 0), FREE(2, 0) }, { DRAIN, DRAIN } } },
	{ .name = "array: two drains, append between", A(1, 8, 3), EXHAUST, .drained = true,
	  .before = { FREE(0, 0) }, .cpu = { 0, 1 },
	  .thread = { { DRAIN }, { FREE(3, 0), DRAIN } } },
	{ .name = "array: drain after drain", A(1, 8, 2), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { FREE(1, 0), FREE(3, 0) }, { DRAIN, DRAIN } } },
	{ .name = "array: one CPU, drain", A(1, 8, 3), EXHAUST,
	  .thread = { { FREE(0, 0) }, { FREE(2, 0) }, { DRAIN } } },
	{ .name = "array: two CPUs, drain", A(1, 8, 1), EXHAUST,
	  .cpu = { 0, 1 },
	  .thread = { { FREE(0, 0) }, { FREE(1, 0) }, { DRAIN } } },
	{ .name = "array: drain while filling", A(1, 8, 2), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { FREE(2, 0) }, { DRAIN, FREE(4, 0) } } },
	/* The slower drain sets the filling half back to its beginning: hooks hit what is there. */
	{ .name = "array: eight attempts", A(1, 24, 12), .bound = 2,
	  .thread = { { DRAIN },
		      { DRAIN, FREE(0, 0), FREE(2, 0), FREE(4, 0), FREE(6, 0), FREE(8, 0),
			FREE(10, 0), FREE(12, 0), FREE(14, 0), FREE(16, 0), FREE(18, 0),
			FREE(20, 0) } } },
	{ .name = "array: full", A(1, 8, 1), EXHAUST, .may_drop = true,
	  .thread = { { FREE(0, 0) }, { FREE(2, 0) }, { DRAIN } } },
	{ .name = "array: pass", A(1, 2, 2), EXHAUST,
	  .thread = { { FREE(0, 0) }, { FREE(1, 0) }, { PASS } } },
	{ .name = "array: alloc, claim", A(1, 2, 2), EXHAUST,
	  .before = { FREE(0, 1), DRAIN },
	  .thread = { { USE(0, 0) }, { PASS } } },
	{ .name = "array: two CPUs, use, pass", A(1, 2, 2), EXHAUST,
	  .cpu = { 0, 1 }, .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { USE(1, 0) }, { PASS } } },
	{ .name = "array: full, pass", A(1, 8, 1), EXHAUST, .may_drop = true,
	  .thread = { { FREE(0, 1) }, { FREE(4, 1) }, { PASS } } },
	/* Forgetting a used page, while it comes back and another reporter moves it to the back. */
	{ .name = "array: forget", A(1, 2, 2), EXHAUST,
	  .before = { FREE(0, 1), DRAIN, ALLOC(0, 0) },
	  .thread = { { FREE(0, 0) }, { PASS } } },
	{ .name = "array: forget, drain", A(1, 2, 2), EXHAUST,
	  .before = { FREE(0, 1), DRAIN, ALLOC(0, 0) },
	  .thread = { { FREE(0, 0) }, { PASS }, { DRAIN } } },
	{ .name = "array: forget, two reporters", A(1, 2, 2), EXHAUST,
	  .before = { FREE(0, 1), DRAIN, ALLOC(0, 0) },
	  .thread = { { FREE(0, 0) }, { PASS }, { PASS } } },

	/* Threads wait for each other here, so that only preemptions can be bounded. */
	{ .name = "lockmap", L(1, 2), .bound = 4,
	  .thread = { { FREE(0, 0) }, { FREE(1, 0) }, { PASS } } },
	{ .name = "lockmap: use", L(1, 2), .bound = 3,
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { USE(1, 0) }, { PASS } } },

	/* Store, then look: an allocation against claim and submit, in one block and across two. */
	{ .name = "ticket: one page", T(0, 1), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { USE(0, 0) }, { PASS } } },
	{ .name = "ticket: one page, twice", T(0, 1), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { USE(0, 0), USE(0, 0) }, { CLAIM, HAND_OVER, COMPLETE } } },
	{ .name = "ticket: one page, two passes", T(0, 1), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { USE(0, 0) }, { PASS, PASS } } },
	{ .name = "ticket: two reporters", T(0, 1), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { USE(0, 0) }, { SUBMIT, COMPLETE }, { SUBMIT, COMPLETE } } },
	{ .name = "ticket: two owners", T(1, 2), EXHAUST,
	  .before = { FREE(0, 1), CLAIM },
	  .thread = { { HAND_OVER, COMPLETE }, { ALLOC(0, 0) }, { ALLOC(1, 0) } },
	  .after = { FREE(0, 0), FREE(1, 0) } },
	{ .name = "ticket: two owners, use", T(1, 2), .bound = 3,
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { USE(1, 0) }, { SUBMIT, COMPLETE } } },
	{ .name = "ticket: two owners, claimed", T(1, 2), .bound = 3,
	  .before = { FREE(0, 1), CLAIM },
	  .thread = { { HAND_OVER, COMPLETE }, { USE(0, 0) }, { USE(1, 0) } } },
	{ .name = "ticket: two owners, submitted", T(1, 2), EXHAUST,
	  .before = { FREE(0, 1), SUBMIT },
	  .thread = { { COMPLETE }, { USE(0, 0) }, { ALLOC(1, 0) } },
	  .after = { FREE(1, 0) } },
	{ .name = "ticket: two owners, reporters", T(1, 2), .bound = 2,
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { USE(1, 0) }, { PASS }, { PASS } } },
	{ .name = "ticket: last page", T(1, 2), EXHAUST,
	  .before = { FREE(0, 1), ALLOC(1, 0) },
	  .thread = { { FREE(1, 0) }, { ALLOC(0, 0) }, { SUBMIT, COMPLETE } },
	  .after = { FREE(0, 0) } },
	{ .name = "ticket: across blocks", T(1, 4), EXHAUST,
	  .before = { FREE(0, 2) },
	  .thread = { { USE(1, 1) }, { SUBMIT, COMPLETE } } },
	{ .name = "ticket: across blocks, claimed", T(1, 4), .bound = 3,
	  .before = { FREE(0, 2), CLAIM },
	  .thread = { { HAND_OVER, COMPLETE }, { USE(1, 1) }, { USE(0, 0) } } },
	{ .name = "ticket: across words", T(7, 128), EXHAUST,
	  .before = { FREE(0, 7) },
	  .thread = { { USE(32, 6) }, { SUBMIT, COMPLETE } } },
	{ .name = "ticket: two words", T(7, 128), .bound = 2,
	  .before = { FREE(0, 7) },
	  .thread = { { USE(0, 6) }, { USE(64, 6) }, { PASS } } },
	/* A claim that nobody submits keeps nobody waiting. */
	{ .name = "ticket: dropped", T(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { ALLOC(1, 0) }, { CLAIM, DROP } },
	  .after = { FREE(1, 0) } },
	{ .name = "ticket: dropped, pass", T(0, 1), EXHAUST,
	  .before = { FREE(0, 0), CLAIM },
	  .thread = { { DROP }, { USE(0, 0) }, { SUBMIT, COMPLETE } } },
	{ .name = "ticket: dropped, given up", T(1, 2), .bound = 2,
	  .before = { FREE(0, 1) },
	  .thread = { { CLAIM, DROP }, { USE(0, 0) }, { PASS_REFUSED, PASS } } },
	{ .name = "ticket: refused", T(1, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { PASS_REFUSED }, { USE(0, 0) } } },
	/* What comes late must not end the next submission: its owner would not wait. */
	{ .name = "ticket: late", T(0, 1), EXHAUST,
	  .before = { FREE(0, 0), SUBMIT, GIVE_UP },
	  .thread = { { LATE }, { USE(0, 0) }, { SUBMIT, COMPLETE } } },
	{ .name = "ticket: given up, late", T(0, 1), EXHAUST,
	  .before = { FREE(0, 0), SUBMIT },
	  .thread = { { GIVE_UP, LATE }, { USE(0, 0) }, { SUBMIT, COMPLETE } } },
	{ .name = "ticket: expedite", T(0, 2), .bound = 3,
	  .before = { FREE(0, 0), FREE(1, 0), SUBMIT },
	  .thread = { { COMPLETE }, { USE(1, 0) }, { USE(0, 0) } } },
	/* Only preemptions can be bounded where an owner waits. */
	{ .name = "ticket: wait", T(1, 2), .bound = 3,
	  .before = { FREE(0, 1) },
	  .thread = { { USE_WAIT(0, 0) }, { USE_WAIT(1, 0) }, { PASS } } },
	{ .name = "ticket: wait, two blocks", T(0, 2), .bound = 2,
	  .before = { FREE(0, 1) },
	  .thread = { { USE_WAIT(0, 1) }, { PASS }, { PASS } } },
	{ .name = "ticket: get, put", T(0, 2), EXHAUST,
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 1) }, { GET, PUT } } },
	{ .name = "ticket: get, put, two owners", T(0, 2), .bound = 3,
	  .before = { FREE(0, 1) },
	  .thread = { { USE(0, 0) }, { USE(1, 0) }, { GET, PUT } } },
	{ .name = "ticket: get, pass", T(0, 1), EXHAUST,
	  .before = { FREE(0, 0) },
	  .thread = { { USE(0, 0) }, { GET, PUT }, { SUBMIT, COMPLETE } } },
	{ .name = "ticket: report again", T(0, 2), .bound = 2, .report_again = true,
	  .before = { FREE(0, 1), GET },
	  .thread = { { PUT, GET }, { USE(0, 0) }, { USE(1, 0) } } },
	/*
	 * The delta: what is not in the base when a claim is published comes there before the second
	 * look, or its hook sees the claim. An owner has written when the second look comes.
	 */
	{ .name = "delta: one page", D(0, 1), .bound = 3, .cpu = { 0, 1 },
	  .before = { FREE(0, 0), DRAIN },
	  .thread = { { USE(0, 0) }, { PASS } } },
	{ .name = "delta: kept", D(0, 1), .bound = 3, .cpu = { 0, 1 },
	  .before = { FREE(0, 0), DRAIN },
	  .thread = { { ALLOC(0, 0) }, { SUBMIT, COMPLETE } },
	  .after = { FREE(0, 0) } },
	{ .name = "delta: kept, claimed", D(0, 1), EXHAUST, .cpu = { 0, 1 },
	  .before = { FREE(0, 0), CLAIM },
	  .thread = { { HAND_OVER, COMPLETE }, { ALLOC(0, 0) } },
	  .after = { FREE(0, 0) } },
	{ .name = "delta: in the delta, claimed", D(0, 1), EXHAUST, .cpu = { 0, 1 },
	  .before = { FREE(0, 0), DRAIN, ALLOC(0, 0), FREE(0, 0), CLAIM },
	  .thread = { { HAND_OVER, COMPLETE }, { ALLOC(0, 0) } },
	  .after = { FREE(0, 0) } },
	{ .name = "delta: two owners", D(1, 2), .bound = 2, .cpu = { 0, 1, 1 },
	  .before = { FREE(0, 1), DRAIN },
	  .thread = { { USE(0, 0) }, { SUBMIT, COMPLETE }, { ALLOC(1, 0) } },
	  .after = { FREE(1, 0) } },
	{ .name = "delta: from CPU to CPU", D(0, 1), .bound = 3, .cpu = { 1, 1 },
	  .before = { FREE(0, 0) },
	  .thread = { { USE(0, 0) }, { SUBMIT, COMPLETE, SUBMIT, COMPLETE } } },
	{ .name = "delta: slow, no room", D(9, 2560), .bound = 1, .cpu = { 0, 1 },
	  .before = { FREE(2048, 9), DRAIN, FREE(0, 0), FREE(512, 0), FREE(1024, 0), FREE(1536, 0) },
	  .thread = { { USE(2048, 0) }, { SUBMIT, COMPLETE, SUBMIT, COMPLETE } } },
	{ .name = "delta: two blocks, one cut", D(0, 2), .bound = 2, .cpu = { 0, 1, 1 },
	  .before = { FREE(0, 1), DRAIN },
	  .thread = { { USE(0, 0) }, { SUBMIT, COMPLETE }, { USE(1, 0) } } },
	{ .name = "delta: across blocks", D(1, 4), .bound = 2, .cpu = { 0, 1 },
	  .before = { FREE(0, 2), DRAIN },
	  .thread = { { USE(1, 1) }, { SUBMIT, COMPLETE } } },
	{ .name = "delta: across words", D(7, 128), .bound = 2, .cpu = { 0, 1 },
	  .before = { FREE(0, 7), DRAIN },
	  .thread = { { USE(32, 6) }, { SUBMIT, COMPLETE } } },
	{ .name = "delta: two reporters", D(0, 1), .bound = 2, .cpu = { 0, 1, 1 },
	  .before = { FREE(0, 0), DRAIN },
	  .thread = { { USE(0, 0) }, { PASS }, { SUBMIT, COMPLETE } } },
	{ .name = "delta: a fold meanwhile", D(0, 1), .bound = 2, .cpu = { 0, 1, 1 },
	  .before = { FREE(0, 0), DRAIN },
	  .thread = { { ALLOC(0, 0) }, { SUBMIT, COMPLETE }, { DRAIN } },
	  .after = { FREE(0, 0) } },
	{ .name = "delta: wait", D(0, 1), .bound = 2, .cpu = { 0, 1 },
	  .before = { FREE(0, 0), DRAIN },
	  .thread = { { USE_WAIT(0, 0), USE_WAIT(0, 0) }, { PASS } } },
	{ .name = "delta: get, put", D(0, 2), .bound = 2, .cpu = { 0, 1, 1 },
	  .before = { FREE(0, 1), DRAIN },
	  .thread = { { USE(0, 0) }, { GET, PUT }, { USE(1, 0) } } },
	/* No set has room: the base is toggled beside what is in a delta. */
	{ .name = "delta: slow", D(0, 1), .bound = 2, .cpu = { 0, 1 }, .no_sections = true,
	  .before = { FREE(0, 0) },
	  .thread = { { USE(0, 0), ALLOC(0, 0) }, { PASS } },
	  .after = { FREE(0, 0) } },
	{ .name = "ticket: lockmap", L(1, 2), .protocol = FPT_TICKET, .bound = 3,
	  .before = { FREE(0, 1) },
	  .thread = { { USE_WAIT(0, 0) }, { USE(1, 0) }, { SUBMIT, COMPLETE } } },
};

/* The array has a way without sections, too. */
static void explore_ways(explore_test_t *test, const struct scenario *scenario)
{
	if (scenario->ops == &fpt_array_ops)
		explore_twice(test, explore_scenario, scenario);
	else
		test(explore_scenario, scenario);
}

static void test_scenario(void **state)
{
	explore_ways(explore_test, *state);
}

/*
 * I4: whoever is stopped for ever in a hook, at whichever step, the others finish, and what is free
 * besides is reported. Thread 0 is stopped.
 */
static const struct scenario freezes[] = {
	{ .name = "freeze free", X(1, 130), .bound = 2,
	  .thread = { { FREE(0, 0) }, { FREE(1, 0), FREE(2, 1) }, { FREE(4, 1), PASS } } },
	{ .name = "freeze free, three levels", X(0, 4224), .bound = 2,
	  .thread = { { FREE(4096, 0) }, { FREE(4097, 0) } } },
	{ .name = "freeze last chunk", X(1, 192), .bound = 2,
	  .pool = PARTIAL, .pool_nr = 1, .max_coarse = 3,
	  .thread = { { FREE(0, 0) }, { FREE(1, 0), FREE(64, 1) }, { FREE(128, 1), PASS } } },
	{ .name = "freeze alloc", X(1, 4), .bound = 2,
	  .before = { FREE(0, 2) },
	  .thread = { { USE(0, 0) }, { USE(1, 0), USE(2, 0) }, { PASS } } },
	{ .name = "freeze array append", A(1, 8, 2), .bound = 2,
	  .thread = { { FREE(0, 0) }, { FREE(2, 1) }, { PASS } } },
	{ .name = "freeze array extension", A(1, 8, 3), .bound = 2,
	  .before = { FREE(4, 0) },
	  .thread = { { FREE(5, 0) }, { FREE(6, 1) }, { DRAIN, PASS } } },
	{ .name = "freeze array, two CPUs", A(1, 8, 2), .bound = 2,
	  .cpu = { 0, 1 },
	  .thread = { { FREE(0, 0) }, { FREE(2, 1) }, { FREE(4, 1), PASS } } },
	{ .name = "freeze ticket alloc", T(1, 4), .bound = 1,
	  .before = { FREE(0, 2) },
	  .thread = { { USE(0, 0) }, { USE(1, 0), USE(2, 0) }, { PASS } } },
	/* Owners do not wait here: no step of a reporter keeps a hook from returning. */
	{ .name = "freeze ticket reporter", T(1, 4), .bound = 1,
	  .before = { FREE(0, 2) },
	  .thread = { { CLAIM, HAND_OVER, COMPLETE }, { USE(0, 0), USE(2, 0) }, { PASS } } },
};

static void test_freeze(void **state)
{
	explore_ways(explore_test_frozen, *state);
}

/* The exemption from I4: here, a frozen hook does keep others waiting. */
static const struct scenario freeze_lockmap = {
	.name = "freeze lockmap", L(1, 4), .bound = 2,
	.thread = { { FREE(0, 0) }, { FREE(2, 1) } },
};

static void test_freeze_lockmap(void **state)
{
	struct explore e = { .quiet = true };
	bool waited = false;

	(void)state;
	do {
		e.freeze++;
		explore_scenario(&freeze_lockmap, &e);
		waited |= e.failure == EXPLORE_STUCK;
	} while (e.froze && !waited);
	assert_true(waited);
}

/*
 * I6: hooks on nr_cpus CPUs in turn, each with pages of its own; how many writes went to a line
 * that a hook on another CPU had written last.
 */
static unsigned long shared_lines(const struct fpt_ops *ops, unsigned int nr_cpus,
				  unsigned long pages_apart, unsigned long entries)
{
	struct fpt_config config = { .ops = ops, .nr_cpus = nr_cpus, .order = 9,
				     .array_entries = entries };
	unsigned long nr_pages = (nr_cpus + 1) * pages_apart + 512, i;
	struct fpt_mem mem, range;
	struct fpt t;
	size_t size = fpt_size(&config);
	char *memory, *range_memory;

	memory = malloc(size);
	mem = (struct fpt_mem){ memory, size, false };
	assert_int_equal(fpt_init(&t, &config, &mem), FPT_OK);
	size = fpt_range_size(&t, 0, nr_pages, true);
	range_memory = malloc(size);
	range = (struct fpt_mem){ range_memory, size, false };
	assert_int_equal(fpt_add_range(&t, 0, nr_pages, &range), FPT_OK);
	count_begin();
	for (i = 0; i < 8; i++)
		for (fpt_model_cpu = 0; fpt_model_cpu < nr_cpus; fpt_model_cpu++) {
			fpt_free(&t, fpt_model_cpu * pages_apart + (i & 3), 0);
			fpt_alloc(&t, fpt_model_cpu * pages_apart + (i & 3), 0);
		}
	count_end();
	free(memory);
	free(range_memory);
	assert_true(counts.writes >= 16 * nr_cpus);
	return counts.shared;
}

static void test_private_lines(void **state)
{
	static const unsigned long entries[] = { 1, 2, 3, 7, 8, 1000 };
	unsigned int nr_cpus;
	size_t i;

	(void)state;
	for (nr_cpus = 1; nr_cpus <= 256; nr_cpus += nr_cpus < 9 ? 1 : nr_cpus / 2)
		for (i = 0; i < 2 * COUNT(entries); i++) {
			fpt_model_no_sections = i % 2;
			assert_int_equal(shared_lines(&fpt_array_ops, nr_cpus, 4, entries[i / 2]), 0);
		}
	fpt_model_no_sections = false;
	assert_int_equal(shared_lines(&fpt_array_ops, 256, 4, 2), 0);
	/* Pages of one block: the bitmap's line goes from CPU to CPU. A lock's always does. */
	assert_true(shared_lines(&fpt_xbitmap_ops, 2, 4, 0) > 0);
	assert_true(shared_lines(&fpt_lockmap_ops, 2, 512, 0) > 0);
}

/* The explorer itself: it runs every order, each once, and finds what is to be found. */
static fpt_atomic_t word[2];
static unsigned int self_test;

static void self_setup(void *arg)
{
	(void)arg;
	word[0].v = word[1].v = 0;
}

static void self_thread(void *arg, unsigned int id)
{
	(void)arg;
	if (self_test == 0) {		/* conflicting */
		fpt_fetch_add(&word[0], 1, relaxed);
		fpt_fetch_add(&word[0], 1, relaxed);
	} else if (self_test == 1) {	/* not */
		fpt_fetch_add(&word[id], 1, relaxed);
		fpt_fetch_add(&word[id], 1, relaxed);
	} else if (self_test == 2) {	/* a lost update */
		unsigned long v = fpt_load(&word[0], relaxed);

		fpt_store(&word[0], v + 1, relaxed);
	} else if (id) {		/* a wait that ends, and for 4 one that does not */
		fpt_store(&word[0], self_test == 3, relaxed);
	} else {
		while (!fpt_load(&word[0], relaxed))
			fpt_pause();
	}
}

static void self_check(void *arg)
{
	(void)arg;
	if (self_test < 3 && word[0].v + word[1].v != (self_test == 2 ? 2 : 4))
		wrong("a lost update");
}

static enum explore_failure self(unsigned int test, int bound, unsigned long *runs)
{
	struct explore e = { .name = "self", .nr_threads = 2, .bound = bound, .quiet = true,
			     .setup = self_setup, .thread = self_thread, .check = self_check };

	self_test = test;
	explore(&e);
	*runs = e.runs;
	return e.failure;
}

static void test_self(void **state)
{
	unsigned long runs;

	(void)state;
	if (getenv("FPT_EXPLORE_REPLAY"))
		skip();
	assert_int_equal(self(0, -1, &runs), EXPLORE_FINE);
	assert_int_equal(runs, 6);		/* of 4 steps choose 2 */
	assert_int_equal(self(1, -1, &runs), EXPLORE_FINE);
	assert_int_equal(runs, 1);
	assert_int_equal(self(1, 9, &runs), EXPLORE_FINE);
	assert_int_equal(runs, 6);
	assert_int_equal(self(0, 0, &runs), EXPLORE_FINE);
	assert_int_equal(runs, 2);
	assert_int_equal(self(2, 0, &runs), EXPLORE_FINE);
	assert_int_equal(self(2, 1, &runs), EXPLORE_WRONG);
	assert_int_equal(self(2, -1, &runs), EXPLORE_WRONG);
	assert_int_equal(self(3, 2, &runs), EXPLORE_FINE);
	assert_int_equal(self(4, 2, &runs), EXPLORE_STUCK);
}

/*
 * Random programs of three threads: exhaustive runs end in the same states as all runs do, with
 * fewer of them.
 */
static unsigned int program, nr_ends;
static unsigned long ends[2048], local[3];

static void program_setup(void *arg)
{
	self_setup(arg);
	memset(local, 0, sizeof(local));
}

static void program_thread(void *arg, unsigned int id)
{
	unsigned int i, x;

	(void)arg;
	for (i = 0; i < 3; i++) {
		x = ((program * 9 + id * 3 + i) * 2654435761u) >> 16;
		if (x % 3 == 0)
			local[id] = local[id] * 8 + fpt_load(&word[x / 3 & 1], relaxed);
		else if (x % 3 == 1)
			fpt_store(&word[x / 3 & 1], local[id] + id + 1, relaxed);
		else
			local[id] += fpt_fetch_add(&word[x / 3 & 1], id + 1, relaxed);
	}
}

static void program_end(void *arg)
{
	unsigned long end = word[0].v;
	unsigned int i;

	(void)arg;
	end = (((end * 1009 + word[1].v) * 1009 + local[0]) * 1009 + local[1]) * 1009 + local[2];
	for (i = 0; i < nr_ends && ends[i] != end; i++)
		;
	if (i < COUNT(ends))
		ends[i] = end;
	if (i == nr_ends)
		nr_ends++;
}

static void test_self_exhaustive(void **state)
{
	struct explore e = { .name = "self", .nr_threads = 3, .setup = program_setup, .quiet = true,
			     .thread = program_thread, .check = program_end };
	unsigned long fewer = 0;
	unsigned int all;

	(void)state;
	if (getenv("FPT_EXPLORE_REPLAY"))
		skip();
	for (program = 0; program < 40; program++) {
		nr_ends = 0;
		e.bound = 99;
		explore(&e);
		assert_int_equal(e.runs, 1680);		/* 9 steps, 3 of each thread: 9! / 3!^3 */
		all = nr_ends;
		e.bound = -1;
		explore(&e);
		assert_int_equal(nr_ends, all);		/* none that is new ... */
		nr_ends = 0;
		explore(&e);
		assert_int_equal(nr_ends, all);		/* ... and none missing */
		fewer += e.runs;
	}
	assert_true(fewer < 40 * 1680 / 2);
}

/* An argument is a pattern of tests to run. */
int main(int argc, char **argv)
{
	struct CMUnitTest tests[4 + COUNT(scenarios) + COUNT(freezes) + 1] = {
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_self_exhaustive),
		cmocka_unit_test(test_private_lines),
		cmocka_unit_test(test_freeze_lockmap),
	};
	size_t i;

	for (i = 0; i < COUNT(scenarios); i++)
		explore_add(tests, scenarios[i].name, test_scenario, &scenarios[i]);
	for (i = 0; i < COUNT(freezes); i++)
		explore_add(tests, freezes[i].name, test_freeze, &freezes[i]);
	return explore_main("explore", tests, argc, argv);
}
