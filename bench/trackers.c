/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trackers.c - fpt's trackers: hook/{none,xbitmap,array,bitmap,delta,lockmap}/..., selected at
 * compile time
 *
 *	dispatch/{static,ops}		the delta's hooks, direct and through the tracker's ops
 *	event/delta/{order0,order9}	an event of one page, and of a block
 *
 * And hook/TRACKER_ticket/..., for those that have the ticket protocol: hooks then look at
 * claims. There are some all the time: 64 blocks beyond the benchmark's pages, with a host that
 * is not done.
 */
#include <fpt/fpt.h>

#include <stdio.h>

#include "bench.h"
#include "hook.h"

#define TRACKER_ORDER 9u
#define TRACKER_CLAIMS 64u

struct tracker {
	struct fpt t;
	struct fpt_reporter reporter;
	struct fpt_batch batch[TRACKER_CLAIMS];	/* with the host */
	unsigned int nr_batches;
	uint64_t claims;			/* first page */
	void *front, *range;			/* memory */
};

struct tracker_data {
	const struct fpt_ops *ops;
	enum fpt_protocol protocol;
};

static void tracker_destroy(void *instance)
{
	struct tracker *x = instance;

	fpt_destroy(&x->t);
	fpt_memory_put(x->front, 0);
	fpt_memory_put(x->range, 0);
	free(x);
}

/* The blocks beyond the pages go to the host. */
static bool tracker_claim(struct tracker *x)
{
	struct fpt_policy policy = {
		.batch = FPT_BATCH_MAX, .max_in_flight = TRACKER_CLAIMS << TRACKER_ORDER,
	};
	unsigned int i, nr = 0;

	for (i = 0; i < TRACKER_CLAIMS; i++)
		fpt_free(&x->t, x->claims + ((uint64_t)i << TRACKER_ORDER), TRACKER_ORDER);
	if (fpt_reporter_init(&x->reporter, &x->t, NULL, NULL, &policy) != FPT_OK)
		return false;
	fpt_pass_begin(&x->reporter);
	while (nr < TRACKER_CLAIMS && x->nr_batches < TRACKER_CLAIMS) {
		struct fpt_batch *b = &x->batch[x->nr_batches++];

		if (!fpt_pass_next(&x->reporter, b))
			return false;
		nr += b->nr;
	}
	return nr == TRACKER_CLAIMS;
}

static unsigned long tracker_power_of_two(unsigned long n)
{
	unsigned long p = 1;

	while (p < n)
		p *= 2;
	return p;
}

static void *tracker_create(const struct bench_peer *self, const struct bench_peer_setup *setup)
{
	const struct tracker_data *data = self->data;
	struct tracker *x = bench_memory(sizeof(*x));
	/* Leaves and lines for all pages: a slow path fails a benchmark. */
	struct fpt_config config = {
		.ops = data->ops, .order = TRACKER_ORDER, .protocol = data->protocol,
		.nr_cpus = setup->nr_cpus,
		.array_entries = FPT_ARRAY_ENTRIES * setup->threads_per_cpu,
		.bitmap_leaves = setup->nr_pages / FPT_BITMAP_LEAF_PAGES + 1,
		.delta_sets = tracker_power_of_two(
			setup->nr_pages / FPT_DELTA_LINE_PAGES / FPT_DELTA_WAYS + 1),
	};
	uint64_t all = setup->nr_pages;
	struct fpt_mem m;
	size_t size;
	bool ok;

	if (!x)
		return NULL;
	x->claims = ((all - 1) | ((1ul << TRACKER_ORDER) - 1)) + 1;
	if (data->protocol == FPT_TICKET)
		all = x->claims + (TRACKER_CLAIMS << TRACKER_ORDER);
	size = fpt_size(&config);
	x->front = fpt_memory_get(size);
	m = (struct fpt_mem){ x->front, size, true };
	ok = x->front && fpt_init(&x->t, &config, &m) == FPT_OK;
	if (ok) {
		size = fpt_range_size(&x->t, 0, all, true);
		x->range = fpt_memory_get(size);
		m = (struct fpt_mem){ x->range, size, true };
		ok = x->range && fpt_add_range(&x->t, 0, all, &m) == FPT_OK;
	}
	if (ok && (data->protocol != FPT_TICKET || tracker_claim(x)))
		return x;
	tracker_destroy(x);
	return NULL;
}

static void tracker_drain(void *instance)
{
	struct tracker *x = instance;

	fpt_drain(&x->t);
}

static int tracker_is_free(void *instance, uint64_t page)
{
	struct tracker *x = instance;

	return fpt_xbitmap_test(&x->t.back, page);
}

static const char *tracker_check(void *instance, uint64_t pages, struct bench_peer_report *report)
{
	struct tracker *x = instance;
	const struct fpt_ops *ops = fpt_tracker(&x->t);
	uint64_t claimed = x->nr_batches ? TRACKER_CLAIMS << TRACKER_ORDER : 0;
	struct fpt_stats stats;

	fpt_get_stats(&x->t, &stats);
	report->dropped = stats.count[FPT_STAT_DROPPED];
	/* Without sections (ThreadSanitizer, other machines) all of the delta's events are slow. */
	report->slow = ops->toggles && !fpt_sections() ? 0 : stats.count[FPT_STAT_SLOW];
	report->bytes = stats.memory_used;
	if (ops->slot == FPT_SLOT_NONE && !ops->retracts)
		return NULL;		/* none */
	if (stats.count[FPT_STAT_FREED] + stats.count[FPT_STAT_ALLOCATED] != pages + claimed)
		return "the tracker counted other pages than there were";
	if (stats.count[FPT_STAT_OUTSIDE])
		return "events were outside";
	if (stats.count[FPT_STAT_CANCELLED] || stats.count[FPT_STAT_WAITED])
		return "an event met a claim of other pages";
	return NULL;
}

#define TRACKER(name_, is_free_, drain_, flags_, max_undrained_) \
	static int name_##_free(void *instance, uint64_t page, uint32_t order) \
	{ \
		struct tracker *x = instance; \
		\
		fpt_##name_##_free(&x->t, page, order); \
		return 0; \
	} \
	static int name_##_alloc(void *instance, uint64_t page, uint32_t order) \
	{ \
		struct tracker *x = instance; \
		\
		return fpt_##name_##_alloc(&x->t, page, order); \
	} \
	static const struct tracker_data name_##_data[] = { \
		{ &fpt_##name_##_ops, FPT_ISOLATE }, { &fpt_##name_##_ops, FPT_TICKET }, \
	}; \
	static const struct bench_peer name_##_peer[] = { \
		TRACKER_PEER(#name_, name_, 0, is_free_, drain_, flags_, max_undrained_), \
		TRACKER_PEER(#name_ "_ticket", name_, 1, is_free_, drain_, flags_, \
			     max_undrained_), \
	};

#define TRACKER_PEER(string, name_, protocol, is_free_, drain_, flags_, max_undrained_) { \
	BENCH_PEER_HEAD(string), .flags = flags_, .max_undrained = max_undrained_, \
	.data = &name_##_data[protocol], .create = tracker_create, .free = name_##_free, \
	.alloc = name_##_alloc, .drain = drain_, .is_free = is_free_, .check = tracker_check, \
	.destroy = tracker_destroy, \
}

TRACKER(none, NULL, NULL, 0, 0)
TRACKER(xbitmap, tracker_is_free, NULL, 0, 0)
/* Of a thread's events half are frees, and every one may take an entry. */
TRACKER(array, tracker_is_free, tracker_drain, BENCH_PEER_NO_ALLOC, 2 * FPT_ARRAY_ENTRIES)
TRACKER(bitmap, tracker_is_free, tracker_drain, BENCH_PEER_STALE, 0)
TRACKER(delta, tracker_is_free, tracker_drain, 0, 0)
TRACKER(lockmap, tracker_is_free, NULL, 0, 0)

/* As fpt_free() and fpt_alloc() are without FPT_TRACKER; no read-side section without FPT_RCU. */
static int ops_free(void *instance, uint64_t page, uint32_t order)
{
	struct tracker *x = instance;

	fpt_free(&x->t, page, order);
	return 0;
}

static int ops_alloc(void *instance, uint64_t page, uint32_t order)
{
	struct tracker *x = instance;

	return fpt_alloc(&x->t, page, order);
}

static const struct bench_peer ops_peer = {
	BENCH_PEER_HEAD("ops"), .data = &delta_data[0], .create = tracker_create,
	.free = ops_free, .alloc = ops_alloc, .drain = tracker_drain,
	.is_free = tracker_is_free, .check = tracker_check, .destroy = tracker_destroy,
};

/* fpt_init() says so before it looks for memory. */
static bool tracker_has_tickets(const struct fpt_ops *ops)
{
	struct fpt_config config = {
		.ops = ops, .nr_cpus = 1, .order = TRACKER_ORDER, .protocol = FPT_TICKET,
	};
	struct fpt_mem nothing = { NULL, 0, true };
	struct fpt t;

	return fpt_init(&t, &config, &nothing) != FPT_ENOTSUP;
}

void bench_trackers(void)
{
	static const struct bench_peer *const all[] = {
		none_peer, xbitmap_peer, array_peer, bitmap_peer, delta_peer, lockmap_peer,
	};
	unsigned int i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct tracker_data *data = all[i]->data;

		bench_hook(&all[i][0]);
		if (data->ops != &fpt_none_ops && tracker_has_tickets(data->ops))
			bench_hook(&all[i][1]);
	}
	bench_hook_as("dispatch/static", &delta_peer[0], BENCH_PRIVATE, 0);
	bench_hook_as("dispatch/ops", &ops_peer, BENCH_PRIVATE, 0);
	bench_hook_as("event/delta/order0", &delta_peer[0], BENCH_BLOCKS, 0);
	bench_hook_as("event/delta/order9", &delta_peer[0], BENCH_BLOCKS, 9);
}
