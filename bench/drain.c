/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * drain.c - how fast does a fully free guest of 1 TiB go to the host, on the tracker's side?
 *
 *	drain/TRACKER/1TiB		an event is a block of 2 MiB: claimed, isolated, submitted,
 *					completed
 *
 * In passes as a reporter makes them, 32 blocks per batch, one batch out at a time. The owner and the
 * host do nothing, at once: what they need is not the tracker's. "ticket" is the ticket protocol,
 * all others isolate. Also reported: million blocks per second.
 *
 * Between two rounds a page of every block is taken and freed, so that it is hinted again, and
 * fronts are drained. What is measured begins with what hooks freed being in the back; the 32 MiB of
 * page bits do not fit a CPU's own caches.
 */
#include "huge.h"

#include <stdlib.h>

#include "bench.h"
#include "hook.h"
#include "shim.h"

#define DRAIN_BLOCKS (HUGE_TIB / HUGE_BLOCK)

struct drain {
	struct huge h;
	struct fpt_reporter rep;
	uint64_t asked;			/* what the owner was asked, and gave back */
	uint64_t back;
};

static enum fpt_isolated drain_isolate(void *ctx, struct fpt_range r)
{
	struct drain *d = ctx;

	(void)r;
	d->asked++;
	return FPT_TAKEN;
}

static void drain_put_back(void *ctx, struct fpt_range r)
{
	struct drain *d = ctx;

	(void)r;
	d->back++;
}

static const struct fpt_owner_ops drain_owner = {
	.isolate = drain_isolate, .put_back = drain_put_back,
};

static void *drain_setup(const struct bench *b, unsigned int nr_threads)
{
	const struct fpt_policy policy = { .batch = FPT_BATCH_MAX,
					   .max_in_flight = FPT_BATCH_MAX * HUGE_BLOCK };
	struct drain *d = bench_memory(sizeof(*d));

	(void)nr_threads;
	if (!d)
		return NULL;
	if (!huge_init(&d->h, b->what, HUGE_TIB, huge_cpus()) ||
	    fpt_reporter_init(&d->rep, &d->h.t, &drain_owner, d, &policy) != FPT_OK) {
		huge_destroy(&d->h);
		free(d);
		return NULL;
	}
	huge_free_all(&d->h, HUGE_TIB);
	return d;
}

static void drain_run(void *instance, struct bench_thread *thread)
{
	struct drain *d = instance;
	uint64_t blocks = 0;
	struct fpt_batch batch;

	fpt_pass_begin(&d->rep);
	while (fpt_pass_next(&d->rep, &batch)) {
		blocks += batch.nr;
		fpt_pass_complete(&d->rep, &batch, true);
	}
	thread->events += blocks;
	thread->wrong += blocks != DRAIN_BLOCKS;
}

static void drain_between(void *instance)
{
	struct drain *d = instance;
	unsigned long i;

	for (i = 0; i < DRAIN_BLOCKS; i++) {
		fpt_pfn_t pfn = i * HUGE_BLOCK + i % HUGE_BLOCK;

		(void)fpt_alloc(&d->h.t, pfn, 0);
		fpt_free(&d->h.t, pfn, 0);
		if (i % 512 == 0)
			huge_drain(&d->h);
	}
	huge_drain(&d->h);
}

static const char *drain_teardown(void *instance, struct bench_result *result)
{
	struct drain *d = instance;
	const char *error = NULL;
	struct fpt_stats stats;

	fpt_get_stats(&d->h.t, &stats);
	if (stats.count[FPT_STAT_REPORTED] != result->events * HUGE_BLOCK ||
	    stats.count[FPT_STAT_CLAIMED] != stats.count[FPT_STAT_REPORTED])
		error = "the tracker counted other reports than there were";
	else if (d->h.t.protocol == FPT_ISOLATE &&
		 (d->asked != result->events || d->back != result->events))
		error = "the owner was not asked for every block, once";
	else if (stats.count[FPT_STAT_DROPPED])
		error = "hints were dropped";
	huge_destroy(&d->h);
	free(d);
	return error;
}

void bench_drain(void)
{
	static char names[HUGE_TRACKERS][64];
	unsigned int i;

	for (i = 0; i < HUGE_TRACKERS; i++) {
		struct bench b = {
			.name = names[i], .what = &huge_trackers[i], .max_threads = 1,
			.setup = drain_setup, .run = drain_run, .between = drain_between,
			.teardown = drain_teardown,
		};

		snprintf(names[i], sizeof(names[i]), "drain/%s/1TiB", huge_trackers[i].name);
		bench_register(&b);
	}
}
