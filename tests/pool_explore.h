/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pool_explore.h - scenarios: what up to four threads do to a pool, run by explore.h
 *
 * After every schedule: no owner lost anything, claims were of what there is and exclusive, two
 * passes find all that is free, and a tracker that retracts knows every page. With grace periods
 * the fronts of earlier trackers are over and done with.
 *
 * A module's memory is filled with a pattern when the module is removed, and donated again, dirty,
 * when one is added in its place.
 *
 * FPT_TEST_BOUND is added to the preemption bounds.
 */
#ifndef FPT_TESTS_POOL_EXPLORE_H
#define FPT_TESTS_POOL_EXPLORE_H

#include "explore.h"
#include "pool.h"

#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#define MAX_OPS 8
#define ANY ~0UL
#define PATTERN 0xa5

enum what {
	END,
	DO_FREE,		/* pages that are held */
	DO_ALLOC,		/* unless isolated */
	DO_USE,			/* alloc, sign, verify, free; nothing when isolated */
	DO_PASS,
	DO_SUBMIT,		/* a pass up to the host: the first batch stays there */
	DO_COMPLETE,		/* that batch */
	DO_SWITCH,
	DO_PLUG,
	DO_UNPLUG,
	DO_DRAIN,
	DO_LATE,		/* a free of pages by pfn, whoever has them */
	DO_EXPECT,		/* the page has been reported */
};

struct op {
	enum what what;
	unsigned int page, order;	/* page: or module */
	const struct fpt_ops *ops;
	fpt_pfn_t pfn;
	unsigned int nr;
};

#define FREE(page, order) { DO_FREE, page, order, NULL, 0, 0 }
#define ALLOC(page, order) { DO_ALLOC, page, order, NULL, 0, 0 }
#define USE(page, order) { DO_USE, page, order, NULL, 0, 0 }
#define PASS { DO_PASS, 0, 0, NULL, 0, 0 }
#define SUBMIT { DO_SUBMIT, 0, 0, NULL, 0, 0 }
#define COMPLETE { DO_COMPLETE, 0, 0, NULL, 0, 0 }
#define SWITCH(tracker) { DO_SWITCH, 0, 0, &fpt_##tracker##_ops, 0, 0 }
#define PLUG(module, pfn, nr) { DO_PLUG, module, 0, NULL, pfn, nr }
#define UNPLUG(module) { DO_UNPLUG, module, 0, NULL, 0, 0 }
#define DRAIN { DO_DRAIN, 0, 0, NULL, 0, 0 }
#define LATE(pfn, order) { DO_LATE, 0, order, NULL, pfn, 0 }
#define EXPECT(page) { DO_EXPECT, page, 0, NULL, 0, 0 }

struct scenario {
	const char *name;
	const struct fpt_ops *ops;
	enum fpt_protocol protocol;
	int bound;
	unsigned int cpu[EXPLORE_MAX_THREADS];
	unsigned long outside;			/* pages of events that were in no range; ANY */
	unsigned long used;			/* claims of pages that were owned, at most; ANY */
	bool unplugged;				/* module 0, at the end: its memory is untouched */
	struct op before[MAX_OPS];
	struct op thread[EXPLORE_MAX_THREADS][MAX_OPS];
};

struct reporting {
	struct fpt_reporter rep;
	struct fpt_batch batch;
};

static struct world {
	struct pool pool;
	struct reporting reporting[EXPLORE_MAX_THREADS + 1];
} image;

static struct reporting reporting[EXPLORE_MAX_THREADS + 1];
static struct fpt_mem module_memory[POOL_MODULES];
static const struct scenario *s;
static bool plugged;

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define wrong(...) explore_fail(EXPLORE_WRONG, __VA_ARGS__)

/* Every reader that is inside is waited for, but not those that come later. */
static void synchronize(void)
{
	unsigned int id;

	for (id = 0; id <= EXPLORE_MAX_THREADS; id++) {
		unsigned long section = fpt_load(&pool.section[id], acquire);

		while (section & 1 && fpt_load(&pool.section[id], acquire) == section)
			fpt_pause();
	}
}

static void run_op(const struct op *op, struct reporting *r)
{
	struct fpt_mem m;
	int error = FPT_OK;

	switch (op->what) {
	case END:
		break;
	case DO_FREE:
		pool_give(op->page, op->order);
		break;
	case DO_ALLOC:
		pool_take(op->page, op->order);
		break;
	case DO_USE:
		if (pool_take(op->page, op->order))
			pool_give(op->page, op->order);
		break;
	case DO_PASS:
		pool_pass(&r->rep, true);
		break;
	case DO_SUBMIT:
		fpt_pass_begin(&r->rep);
		fpt_pass_next(&r->rep, &r->batch);
		break;
	case DO_COMPLETE:
		pool_complete(&r->rep, &r->batch, true);
		break;
	case DO_SWITCH:
		error = pool_switch(op->ops);
		break;
	case DO_PLUG:
		m = module_memory[op->page];
		error = pool_plug(op->page, op->pfn, op->nr, &m);
		break;
	case DO_UNPLUG:
		error = pool_unplug(op->page);
		memset(module_memory[op->page].base, PATTERN, module_memory[op->page].size);
		break;
	case DO_DRAIN:
		fpt_drain(&pool.t);
		break;
	case DO_LATE:
		pool_section();
		fpt_free(&pool.t, op->pfn, op->order);
		pool_section();
		break;
	case DO_EXPECT:
		if (pool_content(op->page)->page)
			wrong("page %u was not found", op->page);
		break;
	}
	if (error)
		wrong("error %d", error);
}

static void run_ops(const struct op *op, struct reporting *r)
{
	for (; op->what != END; op++)
		run_op(op, r);
}

static void run_thread(void *arg, unsigned int id)
{
	(void)arg;
	run_ops(s->thread[id], &reporting[id]);
}

static void check(void *arg)
{
	struct reporting *last = &reporting[EXPLORE_MAX_THREADS];
	const struct fpt_ops *ops = fpt_tracker(&pool.t);
	struct fpt_stats stats;
	unsigned int i;

	(void)arg;
	for (i = 0; i < EXPLORE_MAX_THREADS; i++)
		pool_complete(&reporting[i].rep, &reporting[i].batch, true);
	for (i = 0; i < POOL_PAGES && ops->retracts && !pool.t.stale.v; i++)
		if (pool.page[i].v != POOL_OFFLINE &&
		    fpt_xbitmap_test(&pool.t.back, pool_pfn(i)) != (pool.page[i].v == POOL_FREE))
			wrong("page %u: its state is %lu, but not in the tracker", i,
			      pool.page[i].v);
	pool_pass(&last->rep, true);
	pool_pass(&last->rep, true);
	if (pool.lost.v || pool.wrong.v)
		wrong("%lu pages lost, %lu wrong claims", pool.lost.v, pool.wrong.v);
	if (pool_missed())
		wrong("%u blocks were not found", pool_missed());
	if (FPT_RCU_WAITS && pool.t.fronts.v & ~(1UL << ops->slot))
		wrong("fronts %lx", pool.t.fronts.v);
	fpt_get_stats(&pool.t, &stats);
	if (s->outside != ANY && stats.count[FPT_STAT_OUTSIDE] != s->outside)
		wrong("%lu pages outside", stats.count[FPT_STAT_OUTSIDE]);
	if (stats.count[FPT_STAT_DROPPED])
		wrong("%lu pages dropped", stats.count[FPT_STAT_DROPPED]);
	if (stats.count[FPT_STAT_USED] / POOL_BLOCK > s->used)
		wrong("%lu claims of what is owned", stats.count[FPT_STAT_USED] / POOL_BLOCK);
	for (i = 0; s->unplugged && i < module_memory[0].size; i++)
		if (((unsigned char *)module_memory[0].base)[i] != PATTERN)
			wrong("byte %u of a removed range's memory was written", i);
	if (stats.memory_used > stats.memory_donated)
		wrong("more memory used than donated");
}

static void setup(void *arg)
{
	(void)arg;
	pool = image.pool;
	memcpy(reporting, image.reporting, sizeof(reporting));
}

/* Modules are POOL_MODULE_PAGES apart when they are plugged in here, and not by "before". */
static unsigned int build(const struct scenario *scenario)
{
	unsigned int i, nr_threads = 0;

	s = scenario;
	pool_begin(s->ops, s->protocol);
	memset(reporting, 0, sizeof(reporting));
	for (i = 0; i < EXPLORE_MAX_THREADS + 1; i++)
		reporting[i].rep = pool_reporter();
	for (i = 0; i < POOL_MODULES; i++) {
		module_memory[i] =
			pool_donate(fpt_range_size(&pool.t, 0, POOL_MODULE_PAGES, true));
		if (plugged)
			run_op(&(struct op)PLUG(i, 64 + i * POOL_MODULE_PAGES, POOL_MODULE_PAGES),
			       NULL);
	}
	run_ops(s->before, &reporting[0]);
	image.pool = pool;
	memcpy(image.reporting, reporting, sizeof(reporting));
	for (i = 0; i < EXPLORE_MAX_THREADS; i++)
		if (s->thread[i][0].what != END)
			nr_threads = i + 1;
	return nr_threads;
}

static void explore_scenario(const struct scenario *scenario, struct explore *e)
{
	fpt_model_rcu_synchronize = FPT_RCU_WAITS ? synchronize : NULL;
	e->name = explore_name(e, scenario->name);
	e->nr_threads = build(scenario);
	memcpy(e->cpu, scenario->cpu, sizeof(e->cpu));
	e->setup = setup;
	e->thread = run_thread;
	e->check = check;
	e->bound = explore_bound(scenario->bound);
	e->quiet_memory[0].first = (const char *)pool.t.percpu;
	e->quiet_memory[0].end = (const char *)(pool.t.percpu + pool.t.nr_cpus);
	e->quiet_memory[1].first = (const char *)pool.first;
	e->quiet_memory[1].end = (const char *)&pool.arena_used;
	explore(e);
}

/* Fronts have a way without sections, too. */
static void run_scenario(const struct scenario *scenario, bool plug)
{
	plugged = plug;
	explore_twice(explore_test, explore_scenario, scenario);
}

/* The program: a test of each scenario. */
static int run_scenarios(int argc, char **argv, const struct scenario *scenario, size_t nr,
			 CMUnitTestFunction test)
{
	struct CMUnitTest *tests = calloc(nr + 1, sizeof(*tests));
	size_t i;
	int failed;

	if (!tests)
		return 1;
	for (i = 0; i < nr; i++)
		explore_add(tests, scenario[i].name, test, &scenario[i]);
	failed = explore_main("scenarios", tests, argc, argv);
	free(tests);
	return failed;
}

#endif
