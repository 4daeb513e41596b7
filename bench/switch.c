/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * switch.c - what does changing the tracker cost, while hooks run?
 *
 *	switch/A_B/hooks:0	an event is a call of fpt_switch(), from A to B or back; nobody else
 *	switch/A_B/hooks:1	another CPU calls hooks without a pause
 *
 * With liburcu where it is there: a switch then waits for a grace period, and drains the front that
 * it leaves. Between two rounds a block is taken and freed, and after the switches it must be
 * hinted: none may lose it (A is no "none"). delta is not among them: it cannot be switched to or
 * from.
 */
#include "huge.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "bench.h"
#include "hook.h"
#include "shim.h"

#define SWITCH_SWITCHES 32u		/* per round; even: a round ends where it began */
#define SWITCH_PAGES (16 * HUGE_BLOCK)

struct switch_case {
	const struct fpt_ops *ops[2];
	bool hooks;
};

struct switching {
	struct huge h;
	const struct switch_case *what;
	void *second;			/* the other front's memory */
	uint64_t wrong;
	pthread_t worker;
	fpt_atomic_t stop;
};

static cpu_set_t switch_cpus;		/* before threads are pinned */

static int switch_to(struct switching *s, const struct fpt_ops *ops, struct fpt_mem *m)
{
	struct fpt_config config = { .ops = ops, .order = HUGE_ORDER, .nr_cpus = huge_cpus() };

	return fpt_switch(&s->h.t, &config, m);
}

/* The last block's pages are the worker's. */
static void *switch_worker(void *arg)
{
	struct switching *s = arg;
	fpt_pfn_t i;

	while (!fpt_load(&s->stop, relaxed))
		for (i = 0; i < HUGE_BLOCK; i++) {
			fpt_free(&s->h.t, SWITCH_PAGES - HUGE_BLOCK + i, 0);
			(void)fpt_alloc(&s->h.t, SWITCH_PAGES - HUGE_BLOCK + i, 0);
		}
	return NULL;
}

static bool switch_start(struct switching *s)
{
	cpu_set_t set = switch_cpus;
	pthread_attr_t attr;
	int error;

	CPU_CLR((size_t)sched_getcpu(), &set);
	if (pthread_attr_init(&attr))
		return false;
	error = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (!error)
		error = pthread_create(&s->worker, &attr, switch_worker, s);
	pthread_attr_destroy(&attr);
	return !error;
}

static void switch_destroy(struct switching *s)
{
	huge_destroy(&s->h);
	fpt_memory_put(s->second, 0);
	free(s);
}

/* Both fronts are there before anything is timed. */
static void *switch_setup(const struct bench *b, unsigned int nr_threads)
{
	const struct switch_case *what = b->what;
	struct switching *s = bench_memory(sizeof(*s));
	struct huge_tracker first = { "first", what->ops[0], FPT_ISOLATE };
	struct fpt_config config = { .ops = what->ops[1], .order = HUGE_ORDER,
				     .nr_cpus = huge_cpus() };
	struct fpt_mem m = { NULL, 0, true };

	(void)nr_threads;
	if (!s)
		return NULL;
	s->what = what;
	m.size = fpt_size(&config);
	m.base = s->second = fpt_memory_get(m.size);
	if (huge_init(&s->h, &first, SWITCH_PAGES, huge_cpus()) && m.base &&
	    switch_to(s, what->ops[1], &m) == FPT_OK && switch_to(s, what->ops[0], NULL) == FPT_OK) {
		fpt_free(&s->h.t, 0, HUGE_ORDER);
		if (!what->hooks || switch_start(s))
			return s;
	}
	switch_destroy(s);
	return NULL;
}

static void switch_run(void *instance, struct bench_thread *thread)
{
	struct switching *s = instance;
	unsigned int i;

	for (i = 1; i <= SWITCH_SWITCHES; i++)
		thread->wrong += switch_to(s, s->what->ops[i % 2], NULL) != FPT_OK ||
				 fpt_tracker(&s->h.t)->slot != s->what->ops[i % 2]->slot;
	thread->events += SWITCH_SWITCHES;
}

static void switch_between(void *instance)
{
	struct switching *s = instance;
	struct fpt_cursor cursor = { 0, 0 };
	struct fpt_range claim;

	huge_drain(&s->h);
	if (fpt_claim(&s->h.t, &cursor, &claim, 1) == 1 && claim.pfn == 0)
		fpt_release(&s->h.t, &claim, FPT_BUSY);
	else
		s->wrong++;
	(void)fpt_alloc(&s->h.t, 0, HUGE_ORDER);
	fpt_free(&s->h.t, 0, HUGE_ORDER);
}

static const char *switch_teardown(void *instance, struct bench_result *result)
{
	struct switching *s = instance;
	const char *error = s->wrong ? "a hint was lost" : NULL;

	(void)result;
	if (s->what->hooks) {
		fpt_store(&s->stop, 1, relaxed);
		pthread_join(s->worker, NULL);
	}
	switch_destroy(s);
	return error;
}

void bench_switch(void)
{
	static const struct fpt_ops *const pairs[][2] = {
		{ &fpt_xbitmap_ops, &fpt_array_ops }, { &fpt_xbitmap_ops, &fpt_bitmap_ops },
		{ &fpt_xbitmap_ops, &fpt_lockmap_ops }, { &fpt_array_ops, &fpt_bitmap_ops },
		{ &fpt_xbitmap_ops, &fpt_none_ops },
	};
	static struct switch_case cases[HUGE_COUNT(pairs)][2];
	static char names[HUGE_COUNT(pairs)][64];
	size_t i, hooks;

	CPU_ZERO(&switch_cpus);
	if (sched_getaffinity(0, sizeof(switch_cpus), &switch_cpus))
		return;
	for (i = 0; i < HUGE_COUNT(pairs); i++) {
		snprintf(names[i], sizeof(names[i]), "switch/%s_%s", pairs[i][0]->name,
			 pairs[i][1]->name);
		for (hooks = 0; hooks < 2 && (!hooks || CPU_COUNT(&switch_cpus) > 1); hooks++) {
			struct bench b = {
				.name = names[i], .what = &cases[i][hooks], .max_threads = 1,
				.nr_args = 1, .arg = { { "hooks", (int64_t)hooks } },
				.setup = switch_setup, .run = switch_run,
				.between = switch_between, .teardown = switch_teardown,
			};

			cases[i][hooks] = (struct switch_case){
				{ pairs[i][0], pairs[i][1] }, hooks,
			};
			bench_register(&b);
		}
	}
}
