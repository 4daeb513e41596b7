/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_sim.c - the simulator: it must see a data loss when there is one, and only then
 *
 * Histories are random but made from a seed: a small guest, several CPUs, phases of growth and
 * release.
 */
#include "sim/buddy.h"
#include "sim/queue.h"
#include "sim/sim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define PAGES 4096u
#define FIRST_PFN 0x1000u
#define CPUS 4u
#define EVENTS 60000u
#define SEEDS 10u
#define MS 1000000u

/* The same but for the last digits. */
#define assert_near(a, b) assert_true(fabs((a) - (double)(b)) <= 1e-9 * fabs((double)(b)))

static struct trace_error error;

static uint32_t random_below(uint64_t *state, uint32_t n)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*state >> 33) % n);
}

/* A quarter of a second's growth, then release, again and again, on CPUs chosen at random. */
static void make_trace(struct trace *t, uint64_t seed)
{
	static uint32_t held[PAGES], free_pages[PAGES];
	uint32_t nr_held = 0, nr_free = PAGES, i;
	uint64_t state = seed, ns = 0;
	struct trace_anomalies a;

	trace_init(t);
	t->page_size = 4096;
	t->nr_cpus = CPUS;
	t->has_snapshot = true;
	t->source = strdup("made up by test_sim");
	assert_int_equal(trace_extents_add(&t->ranges, FIRST_PFN, PAGES), 0);
	assert_int_equal(trace_extents_add(&t->free_before, FIRST_PFN, PAGES), 0);
	trace_extents_finish(&t->ranges);
	trace_extents_finish(&t->free_before);
	for (i = 0; i < PAGES; i++)
		free_pages[i] = i;
	for (i = 0; i < EVENTS; i++) {
		bool growing = i / 3000 % 2 == 0;
		bool alloc = nr_free && (!nr_held || random_below(&state, 10) < (growing ? 8 : 2));
		uint32_t *from = alloc ? free_pages : held, *to = alloc ? held : free_pages;
		uint32_t *nr_from = alloc ? &nr_free : &nr_held,
			 *nr_to = alloc ? &nr_held : &nr_free;
		uint32_t k = random_below(&state, *nr_from), page = from[k];
		struct trace_event e = {
			.ns = ns += 20000 + random_below(&state, 60000), .pfn = FIRST_PFN + page,
			.cpu = random_below(&state, CPUS) & 4095, .alloc = alloc,
		};

		from[k] = from[--*nr_from];
		to[(*nr_to)++] = page;
		assert_int_equal(trace_add_event(t, &e, &error), 0);
	}
	t->duration_ns = ns + 1;
	assert_int_equal(trace_normalise(t, &a, &error), 0);
	assert_int_equal(trace_anomalies_total(&a), 0);
}

static struct sim_config config(const struct sim_tracker *t, unsigned int order)
{
	struct sim_config c = { .order = order, .policy = t->policy };

	c.policy.latency_ns = 5 * MS;
	c.policy.period_ns = 20 * MS;
	return c;
}

static struct sim_quality quality(const struct trace *t, const struct sim_tracker *tracker,
				  const struct sim_config *c)
{
	struct sim_quality q;

	if (sim_quality(t, tracker, c, &q, NULL, NULL, &error))
		fail_msg("%s: %s", tracker->name, error.text);
	return q;
}

static void loss_is_seen(void **state)
{
	const struct sim_tracker *k;
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= SEEDS; seed++) {
		struct trace t;

		make_trace(&t, seed);
		for (k = sim_trackers + 1; k->name; k++) {
			struct sim_config c = config(k, 3);
			struct sim_quality kept = quality(&t, k, &c), lost;

			if (k->walks_buddy) {	/* its lists are the isolation: there is nothing to skip */
				assert_int_equal(kept.data_loss, 0);
				continue;
			}
			c.unprotected = true;
			lost = quality(&t, k, &c);
			if (kept.data_loss || !lost.data_loss)
				fail_msg("seed %d, %s: lost %d pages with isolation, %d without",
					 (int)seed, k->name, (int)kept.data_loss,
					 (int)lost.data_loss);
			assert_true(kept.reports > 0);
		}
		trace_destroy(&t);
	}
}

static void same_input_same_result(void **state)
{
	const struct sim_tracker *k;
	struct trace t;

	(void)state;
	make_trace(&t, 1);
	for (k = sim_trackers; k->name; k++) {
		struct sim_config c = config(k, 3);
		struct sim_quality a = quality(&t, k, &c), b = quality(&t, k, &c);

		assert_memory_equal(&a, &b, sizeof(a));
	}
	trace_destroy(&t);
}

static void one_denominator(void **state)
{
	struct sim_quality none, q;
	const struct sim_tracker *k;
	struct trace t;

	(void)state;
	make_trace(&t, 2);
	for (k = sim_trackers; k->name; k++) {
		struct sim_config c = config(k, 4);

		q = quality(&t, k, &c);
		if (k == sim_trackers)
			none = q;
		assert_true(q.free_gib_minutes == none.free_gib_minutes);
		assert_true(q.free_gib_minutes > 0);
		assert_in_range((uint64_t)(q.recall * 1000), 0, 1000);
		assert_true((q.recall > 0) == (k != sim_trackers));
		assert_true(q.gib_minutes <= none.gib_minutes);
	}
	trace_destroy(&t);
}

/* Every way to discard, and the residency check inside. */
static void ways_to_discard(void **state)
{
	const struct sim_tracker *k = sim_tracker_find("xbitmap", 7);
	struct sim_quality base = { .refaults = 0 }, q;
	enum host_discard how;
	struct trace t;

	(void)state;
	make_trace(&t, 3);
	for (how = HOST_DONTNEED; how <= HOST_FREE; how++) {
		struct sim_config c = config(k, 3);

		c.policy.discard = how;
		q = quality(&t, k, &c);
		if (how == HOST_DONTNEED)
			base = q;
		assert_int_equal(q.data_loss, 0);
		assert_true(q.refaults > 0);
		assert_int_equal(q.refaults, base.refaults);
		assert_true(q.recall == base.recall);
	}
	trace_destroy(&t);
}

/* What the kernel says is compared page by page: memory that goes behind our back is noticed. */
static void residency_is_asked_for(void **state)
{
	struct trace t;
	struct guest g;

	(void)state;
	make_trace(&t, 6);
	assert_int_equal(guest_init(&g, &t, 3, GUEST_ANONYMOUS, true, &error), 0);
	assert_true(guest_take(&g, 8, 3));
	guest_own(&g, 8, 3);
	assert_int_equal(g.resident, 8);
	assert_int_equal(guest_check_residency(&g, &error), 0);
	assert_int_equal(madvise(g.memory + 9 * g.page_size, g.page_size, MADV_DONTNEED), 0);
	assert_int_equal(guest_check_residency(&g, &error), -1);
	assert_non_null(strstr(error.text, "differs from the kernel's in 1 of"));
	/* And it is a lost page. */
	guest_verify_all(&g);
	assert_int_equal(g.data_loss, 1);
	guest_destroy(&g);
	trace_destroy(&t);
}

static void add(struct trace *t, uint64_t ms, unsigned int cpu, bool alloc, uint64_t pfn,
		unsigned int order)
{
	struct trace_event e = {
		.ns = ms * MS,
		.pfn = pfn & TRACE_MAX_PFN,
		.cpu = cpu & 4095,
		.order = order & 63,
		.alloc = alloc,
	};

	assert_int_equal(trace_add_event(t, &e, &error), 0);
}

static void hand_made(struct trace *t, uint64_t duration_ms, uint64_t nr_free)
{
	trace_init(t);
	t->page_size = 4096;
	t->nr_cpus = 2;
	t->has_snapshot = true;
	t->duration_ns = duration_ms * MS;
	t->source = strdup("by hand");
	assert_int_equal(trace_extents_add(&t->ranges, 0, 1024), 0);
	if (nr_free)
		assert_int_equal(trace_extents_add(&t->free_before, 0, nr_free), 0);
	trace_extents_finish(&t->ranges);
	trace_extents_finish(&t->free_before);
}

/* Blocks of 8 pages, a pass every 100 ms, the host takes 1 ms: small enough for paper. */
static void worked_out_by_hand(void **state)
{
	const struct sim_tracker *x = sim_tracker_find("xbitmap", 7);
	struct sim_config c = { .order = 3, .policy = x->policy };
	struct trace_anomalies a;
	struct sim_quality q;
	struct trace t;

	(void)state;
	/*
	 * One block, free from 50 ms, discarded at 101, taken at 500: free 450 ms, reported 399 of
	 * them.
	 */
	hand_made(&t, 1000, 0);
	add(&t, 50, 0, false, 8, 3);
	add(&t, 500, 1, true, 9, 0);
	/* Another, free for 20 ms between two passes: never reported. */
	add(&t, 610, 0, false, 16, 3);
	add(&t, 630, 0, true, 16, 3);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	q = quality(&t, x, &c);
	assert_near(q.recall, 399. / (450 + 20));
	assert_near(q.free_gib_minutes, 8 * 4096. / (1 << 30) * .470 / 60);
	assert_int_equal(q.free_to_report.count, 1);
	assert_near(q.free_to_report.p50_ms, 51);
	assert_near(q.free_to_report.p99_ms, 51);
	assert_int_equal(q.censored, 1);
	assert_int_equal(q.reports, 1);
	/* 16 pages at first; 8 gone at 101 ms; one touched again at 500. */
	assert_int_equal(q.peak_rss_bytes, 16 * 4096);
	assert_int_equal(q.refaults, 1);
	assert_near(q.gib_minutes,
			    4096. / (1 << 30) * (16 * .101 + 8 * .399 + 9 * .500) / 60);
	trace_destroy(&t);

	/*
	 * Two blocks are with the host from 100 to 110 ms; a page of each is wanted, at 101 and at
	 * 102 ms.
	 */
	hand_made(&t, 1000, 0);
	add(&t, 1, 0, false, 8, 3);
	add(&t, 1, 0, false, 24, 3);
	add(&t, 101, 0, true, 8, 0);
	add(&t, 102, 1, true, 24, 0);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	c.policy.latency_ns = 10 * MS;
	q = quality(&t, x, &c);
	assert_int_equal(q.stall.count, 2);
	assert_near(q.stall.total_ms, 9 + 8);
	trace_destroy(&t);

	/*
	 * Free from before the beginning, never touched: it is reported, but nothing is touched
	 * again.
	 */
	hand_made(&t, 1000, 1024);
	add(&t, 500, 0, true, 0, 3);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	q = quality(&t, x, &c);
	assert_int_equal(q.refaults, 0);
	assert_int_equal(q.free_to_report.count, 0);
	assert_int_equal(q.censored, 0);
	assert_true(q.recall > 0.5);
	trace_destroy(&t);

	/* The host is not done when the trace ends. */
	hand_made(&t, 1000, 0);
	add(&t, 50, 0, false, 8, 3);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	c.policy.latency_ns = 100000 * (uint64_t)MS;
	q = quality(&t, x, &c);
	assert_int_equal(q.free_to_report.count, 0);
	assert_int_equal(q.censored, 1);
	trace_destroy(&t);

	/* Upstream's timer runs from the request: 5900 ms, then 2 s, then the host's 1 ms. */
	hand_made(&t, 10000, 0);
	add(&t, 5900, 0, false, 1008, 3);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	x = sim_tracker_find("buddy", 5);
	c.policy = x->policy;
	q = quality(&t, x, &c);
	assert_int_equal(q.free_to_report.count, 1);
	assert_near(q.free_to_report.p50_ms, 2001);
	trace_destroy(&t);
}

/* Pages, not blocks, and no passes: an array of 2 entries, the host takes 10 ms. */
static void array2019_by_hand(void **state)
{
	const struct sim_tracker *x = sim_tracker_find("array2019", 9);
	struct sim_config c = { .order = 3, .policy = x->policy };
	struct trace_anomalies a;
	struct sim_quality q;
	struct trace t;

	(void)state;
	c.policy.latency_ns = 10 * MS;
	c.policy.entries = 2;
	hand_made(&t, 1000, 0);
	/* Two halves of a block fill the array: with the host until 70 ms. */
	add(&t, 50, 0, false, 8, 2);
	add(&t, 60, 0, false, 12, 2);
	/* Another CPU's array has room left: never collected. */
	add(&t, 65, 1, false, 24, 3);
	add(&t, 100, 0, false, 16, 0);
	/* A page of the block is touched; the others stay reported. */
	add(&t, 110, 1, true, 9, 0);
	add(&t, 120, 0, false, 9, 0);
	/* With the host until 130, but wanted now: the whole batch is done early. */
	add(&t, 125, 1, true, 16, 0);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	q = quality(&t, x, &c);
	assert_near(q.recall, (40 + 5 * 7. / 8 + 875) / (50 + 880 + 935));
	assert_int_equal(q.free_to_report.count, 2);
	assert_near(q.free_to_report.total_ms, 10 + 5);
	assert_int_equal(q.censored, 1);
	assert_int_equal(q.stall.count, 1);
	assert_near(q.stall.total_ms, 5);
	assert_int_equal(q.reports, 2);
	/* Neighbours in a batch are one: 8 to 15; then 16 and 9. */
	assert_int_equal(q.discarded_ranges, 3);
	assert_int_equal(q.refaults, 2);
	assert_int_equal(q.dropped, 0);
	assert_true(q.precision < 0);
	trace_destroy(&t);

	/* While a batch is out, the array fills, and what comes then is dropped. */
	hand_made(&t, 1000, 0);
	add(&t, 50, 0, false, 8, 0);
	add(&t, 50, 0, false, 9, 0);
	add(&t, 52, 0, false, 10, 0);
	add(&t, 53, 0, false, 11, 0);
	add(&t, 54, 0, false, 12, 2);
	add(&t, 70, 0, false, 16, 0);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	q = quality(&t, x, &c);
	assert_int_equal(q.dropped, 4);
	assert_int_equal(q.reports, 2);
	assert_near(q.recall, .5 * (1000 - 70) / (1000 - 54) + .25 * 10 / (1000 - 54));
	trace_destroy(&t);
}

/* A smaller array drops more; without page bits claims are less precise. */
static void policies_matter(void **state)
{
	const struct sim_tracker *array = sim_tracker_find("array", 5),
				 *x = sim_tracker_find("xbitmap", 7);
	struct sim_config c;
	struct sim_quality few, many, exact, coarse;
	struct trace t;

	(void)state;
	make_trace(&t, 4);
	c = config(array, 3);
	c.policy.entries = 4;
	few = quality(&t, array, &c);
	c.policy.entries = 100000;
	many = quality(&t, array, &c);
	assert_true(few.dropped > 0);
	assert_int_equal(many.dropped, 0);
	assert_true(few.recall < many.recall);
	c = config(x, 3);
	exact = quality(&t, x, &c);
	c.policy.exact = false;
	coarse = quality(&t, x, &c);
	assert_true(exact.precision == 1);
	assert_true(coarse.precision < 1);
	assert_true(coarse.metadata_bytes < exact.metadata_bytes);
	trace_destroy(&t);
}

/*
 * Allocations that no hook sees: trackers claim what is held, isolation keeps it safe, and nothing
 * else is in between.
 */
static void hidden_events_cost_precision(void **state)
{
	const struct sim_tracker *k;
	struct sim_schedule *s;
	struct trace t;
	size_t i;

	(void)state;
	make_trace(&t, 7);
	for (i = 0; i < t.nr_events; i++)
		t.events[i].hidden = t.events[i].alloc && i % 8 == 0;
	s = sim_schedule_make(&t, &error);
	assert_non_null(s);
	for (k = sim_trackers; k->name; k++) {
		bool hooks = k != sim_trackers && !k->walks_buddy;
		struct sim_config c = config(k, 3);
		struct sim_speed speed;
		struct sim_quality q;

		/* Without isolation nothing would keep them safe; toggles would stay inverted. */
		if (k->policy.protocol != SIM_ISOLATE || k->ops->toggles) {
			assert_int_equal(sim_check(&t, k, &c, &error), -1);
			assert_non_null(strstr(error.text, "hides events"));
			continue;
		}
		q = quality(&t, k, &c);
		assert_int_equal(q.data_loss, 0);
		assert_true(hooks ? q.precision < 1 : q.precision == 1 || q.precision < 0);
		if (sim_speed(&t, s, k, &c, true, &speed, &error))
			fail_msg("%s: %s", k->name, error.text);
		assert_int_equal(speed.data_loss, 0);
		c.unprotected = true;
		if (hooks)
			assert_true(quality(&t, k, &c).data_loss > 0);
	}
	sim_schedule_free(s);
	trace_destroy(&t);
}

/* Batches of 4 and 2 ranges, 8 ms each: on paper. */
static void host_works_in_order(void **state)
{
	struct fpt_batch four = { .nr = 4, .range = { { 0, 8 }, { 8, 8 }, { 16, 8 }, { 24, 8 } },
				  .ticket = { 10, 20, 30, 40 } };
	struct fpt_batch two = { .nr = 2, .range = { { 64, 8 }, { 72, 8 } } }, discard, done;
	struct queue q = { .first = 0 };
	size_t i;

	(void)state;
	assert_true(queue_empty(&q));
	assert_true(queue_next(&q) == QUEUE_NEVER);
	/* As a whole: nothing can be seen before 108. */
	assert_int_equal(queue_add(&q, &four, 100, 8, false), 0);
	assert_false(queue_step(&q, 107, &discard, &done));
	assert_int_equal(queue_next(&q), 108);
	assert_true(queue_find(&q, 20, &i));
	assert_int_equal(queue_acknowledged_at(&q, i, false), 108);
	assert_true(queue_step(&q, 108, &discard, &done));
	assert_int_equal(discard.nr, 4);
	assert_int_equal(done.nr, 4);
	assert_int_equal(done.ticket[2], 30);
	assert_true(queue_empty(&q));

	/* Range by range, at 202, 204, 206, 208; the second batch waits for the first: 212, 216. */
	assert_int_equal(queue_add(&q, &four, 200, 8, true), 0);
	assert_int_equal(queue_add(&q, &two, 201, 8, true), 0);
	assert_true(queue_step(&q, 202, &discard, &done));
	assert_int_equal(discard.nr, 1);
	assert_int_equal(discard.range[0].pfn, 0);
	assert_int_equal(done.nr, 0);
	/* The host is at the second range. Discarded; at it; not yet; in the other batch. */
	assert_true(queue_find(&q, 7, &i));
	assert_int_equal(queue_acknowledged_at(&q, i, false), 208);
	assert_int_equal(queue_acknowledged_at(&q, i, true), 204);
	assert_true(queue_find(&q, 8, &i));
	assert_int_equal(queue_acknowledged_at(&q, i, true), 204);
	assert_true(queue_find(&q, 24, &i));
	assert_int_equal(queue_acknowledged_at(&q, i, true), 206);
	assert_true(queue_find(&q, 72, &i));
	assert_int_equal(queue_acknowledged_at(&q, i, false), 216);
	assert_int_equal(queue_acknowledged_at(&q, i, true), 206);
	/* That one first: all between come one interval later. */
	assert_true(queue_remove(&q, i, true, &done));
	assert_int_equal(done.nr, 1);
	assert_int_equal(done.range[0].pfn, 72);
	assert_false(queue_find(&q, 72, &i));
	assert_true(queue_find(&q, 24, &i));
	assert_int_equal(queue_acknowledged_at(&q, i, false), 212);
	assert_true(queue_find(&q, 64, &i));
	assert_int_equal(queue_acknowledged_at(&q, i, false), 216);
	/* What was discarded before is not discarded again, and leaves a hole. */
	assert_true(queue_find(&q, 0, &i));
	assert_false(queue_remove(&q, i, true, &done));
	for (i = 0; queue_step(&q, 211, &discard, &done); i += discard.nr)
		assert_int_equal(done.nr, 0);
	assert_int_equal(i, 2);
	assert_true(queue_step(&q, 212, &discard, &done));
	assert_int_equal(discard.range[0].pfn, 24);
	assert_int_equal(done.nr, 3);
	assert_true(queue_step(&q, 216, &discard, &done));
	assert_int_equal(done.nr, 1);
	assert_int_equal(done.range[0].pfn, 64);
	assert_true(queue_empty(&q));

	/* All that a discarded range waits for is asked for first: then its batch is over. */
	assert_int_equal(queue_add(&q, &four, 300, 8, true), 0);
	assert_true(queue_step(&q, 302, &discard, &done));
	for (i = 0; i < 2; i++) {
		size_t slot;

		assert_true(queue_find(&q, 16 + 8 * i, &slot));
		assert_true(queue_remove(&q, slot, true, &done));
	}
	assert_true(queue_step(&q, 304, &discard, &done));
	assert_int_equal(done.nr, 2);
	while (queue_step(&q, 308, &discard, &done))
		assert_int_equal(done.nr, 0);
	assert_true(queue_empty(&q));
	queue_free(&q);
}

/* Tickets, blocks of 8 pages, a pass every 100 ms, 10 ms for a batch: small enough for paper. */
static void tickets_by_hand(void **state)
{
	const struct sim_tracker *x = sim_tracker_find("ticket", 6);
	struct sim_config c = { .order = 3, .policy = x->policy };
	struct trace_anomalies a;
	struct sim_quality q;
	struct trace t;

	(void)state;
	c.policy.latency_ns = 10 * MS;
	c.policy.batch = 2;
	c.policy.ahead = 1;
	/*
	 * Four blocks: two with the host from 100 ms, discarded at 105 and 110, two claimed. At
	 * 101 ms the second is wanted, and one of those claimed.
	 */
	hand_made(&t, 1000, 0);
	add(&t, 1, 0, false, 0, 5);
	add(&t, 101, 0, true, 8, 0);
	add(&t, 101, 1, true, 24, 0);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	q = quality(&t, x, &c);
	assert_int_equal(q.stall.count, 1);
	assert_near(q.stall.total_ms, 9);	/* the host's range until 105, then this */
	assert_int_equal(q.waited, 1);
	assert_int_equal(q.cancelled, 8);
	assert_int_equal(q.reports, 2);
	assert_near(q.precision, (3 * 8 + 7) / 32.);
	/* Acknowledged as a whole it is the same here, as it was the batch's last. */
	c.policy.expedite = false;
	assert_near(quality(&t, x, &c).stall.total_ms, 9);
	/* All at once: nothing to cancel, and the fourth block waits for all. */
	c.policy.protocol = SIM_HINTS;
	q = quality(&t, x, &c);
	assert_int_equal(q.cancelled, 0);
	assert_int_equal(q.waited, 2);
	assert_near(q.stall.total_ms, 9 + 19);
	/* Or for one interval more than the second. */
	c.policy.expedite = true;
	assert_near(quality(&t, x, &c).stall.total_ms, 9 + 9);
	trace_destroy(&t);
}

/* Who reports again does so pass after pass; those without an event between are not replayed. */
static void again_and_again(void **state)
{
	const struct sim_tracker *x = sim_tracker_find("xbitmap2019", 11);
	struct sim_config c = { .order = 3, .policy = x->policy };
	struct trace_anomalies a;
	struct sim_quality q;
	struct trace t;

	(void)state;
	hand_made(&t, 1000000, 0);
	add(&t, 50, 0, false, 8, 3);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	q = quality(&t, x, &c);
	assert_int_equal(q.reports, 10000);
	/* The last was not discarded before the end. */
	assert_int_equal(q.discard_calls, 9999);
	assert_true(q.precision == 1);
	assert_near(q.recall, (1000000 - 101.) / (1000000 - 50));
	/* From 100 to 250, from 300 to 450, ... */
	c.policy.latency_ns = 150 * MS;
	assert_int_equal(quality(&t, x, &c).reports, 5000);
	c.policy.again = false;
	assert_int_equal(quality(&t, x, &c).reports, 1);
	trace_destroy(&t);
}

/* Push, by hand: two blocks of 8 pages, freed at 50 and 620 ms; polled every 100 ms. */
static void a_pass_when_due(void **state)
{
	const struct sim_tracker *x = sim_tracker_find("xbitmap", 7);
	struct sim_config c = { .order = 3, .policy = x->policy };
	struct trace_anomalies a;
	struct sim_quality q;
	struct trace t;

	(void)state;
	hand_made(&t, 2000, 0);
	add(&t, 50, 0, false, 8, 3);
	add(&t, 620, 0, false, 24, 3);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	c.policy.amount = 16 * 4096;
	q = quality(&t, x, &c);
	assert_int_equal(q.reports, 1);
	assert_near(q.free_to_report.p99_ms, 651);
	assert_near(q.free_to_report.p50_ms, 81);
	/* Seen at 100, due at 400; seen at 700, due at 1000. */
	c.policy.amount = 0;
	c.policy.age_ns = 300 * (uint64_t)MS;
	q = quality(&t, x, &c);
	assert_int_equal(q.reports, 2);
	assert_near(q.free_to_report.p50_ms, 351);
	assert_near(q.free_to_report.p99_ms, 381);
	/* The amount is never reached. */
	c.policy.age_ns = 0;
	c.policy.amount = 17 * 4096;
	assert_int_equal(quality(&t, x, &c).reports, 0);
	trace_destroy(&t);
}

/* Free runs below min_order stay hinted. */
static void small_runs_are_left(void **state)
{
	const struct sim_tracker *x = sim_tracker_find("xbitmap", 7);
	struct sim_config c = { .order = 3, .policy = x->policy };
	struct trace_anomalies a;
	struct sim_quality q;
	struct trace t;

	(void)state;
	hand_made(&t, 1000, 0);
	add(&t, 50, 0, false, 16, 4);
	add(&t, 50, 0, false, 40, 3);
	assert_int_equal(trace_normalise(&t, &a, &error), 0);
	c.policy.min_order = 4;
	q = quality(&t, x, &c);
	assert_int_equal(q.free_to_report.count, 2);
	assert_int_equal(q.censored, 1);
	trace_destroy(&t);
}

/*
 * On a real trace, with a host so slow that it matters: allocations stall when all that is known
 * to be free is on its way at once, less when they can ask for their block first, least when most
 * of it is only claimed.
 */
static void stalls_go_down(void **state)
{
	const struct sim_tracker *then = sim_tracker_find("xbitmap2019", 11),
				 *now = sim_tracker_find("ticket", 6);
	struct sim_quality wait, expedited, cancelled;
	struct sim_config c = { .order = 9, .policy = then->policy };
	struct trace t;

	(void)state;
	trace_init(&t);
	if (trace_load(&t, FPT_TEST_TRACE, &error) || trace_normalise(&t, NULL, &error))
		fail_msg("%s", error.text);
	c.policy.latency_ns = 20 * MS;
	c.policy.batch = 4;
	c.policy.again = false;		/* the same is reported in all rows */
	wait = quality(&t, then, &c);
	c.policy.expedite = true;
	expedited = quality(&t, then, &c);
	c.policy = now->policy;
	c.policy.latency_ns = 20 * MS;
	c.policy.batch = 4;
	cancelled = quality(&t, now, &c);
	assert_true(wait.stall.total_ms > expedited.stall.total_ms);
	assert_true(expedited.stall.total_ms > cancelled.stall.total_ms);
	assert_true(cancelled.cancelled > 0);
	assert_int_equal(wait.cancelled + expedited.cancelled, 0);
	assert_int_equal(wait.data_loss + expedited.data_loss + cancelled.data_loss, 0);
	trace_destroy(&t);
}

/* Every pair, in the middle of everything: nothing is lost but what a full array drops. */
static void switching_loses_nothing(void **state)
{
	const struct sim_tracker *k, *l;
	struct sim_schedule *s;
	double ns[64];
	struct trace t;

	(void)state;
	make_trace(&t, 8);
	s = sim_schedule_make(&t, &error);
	assert_non_null(s);
	for (k = sim_trackers; k->name; k++)
		for (l = sim_trackers; l->name; l++) {
			struct sim_switch plan = { .other = l, .times = 64, .ns = ns };
			struct sim_config c = config(k, 3);
			struct sim_speed speed;

			if (!k->reports || k->walks_buddy || !l->reports || l->walks_buddy)
				continue;
			if (sim_check(&t, l, &c, &error))
				continue;
			c.switching = &plan;
			if (k->collects || l->collects || k->ops->toggles || l->ops->toggles) {
				assert_int_equal(sim_check(&t, k, &c, &error), -1);
				assert_non_null(strstr(error.text, "no switch from or to it"));
				continue;
			}
			if (sim_speed(&t, s, k, &c, true, &speed, &error))
				fail_msg("%s, %s: %s", k->name, l->name, error.text);
			assert_int_equal(speed.data_loss, 0);
			if (speed.lost_hints && !speed.dropped)
				fail_msg("%s, %s: %d pages", k->name, l->name,
					 (int)speed.lost_hints);
		}
	sim_schedule_free(s);
	trace_destroy(&t);
}

/* Threads: signatures say whether events of a page kept their order and data was safe. */
static void threads_keep_order(void **state)
{
	const struct sim_tracker *k;
	struct sim_schedule *s;
	struct trace t;

	(void)state;
	make_trace(&t, 5);
	s = sim_schedule_make(&t, &error);
	assert_non_null(s);
	for (k = sim_trackers; k->name; k++) {
		struct sim_config c = config(k, 3);
		struct sim_speed speed;

		if (sim_speed(&t, s, k, &c, true, &speed, &error))
			fail_msg("%s: %s", k->name, error.text);
		assert_int_equal(speed.data_loss, 0);
		assert_int_equal(speed.events, t.nr_events);
		assert_true(!speed.lost_hints || speed.dropped);
		/* The baseline has no reporter beside it; the others have. */
		assert_true((speed.passes > 0) == (k->reports && !k->walks_buddy));
	}
	sim_schedule_free(s);
	trace_destroy(&t);
}

/* The model of upstream's pass, on a guest that is free throughout: 1024 blocks of order 2. */
static void buddy_takes_a_sixteenth(void **state)
{
	const struct fpt_policy policy = { .batch = 32, .max_in_flight = ~0UL };
	struct fpt_batch batch;
	struct trace t;
	struct guest g;
	struct buddy b;
	unsigned int blocks = 0, p;

	(void)state;
	trace_init(&t);
	t.page_size = 4096;
	t.nr_cpus = 1;
	assert_int_equal(trace_extents_add(&t.ranges, 0, 1u << 14), 0);
	trace_extents_finish(&t.ranges);
	assert_int_equal(guest_init(&g, &t, 2, GUEST_ANONYMOUS, false, &error), 0);
	assert_int_equal(buddy_init(&b, &g, &policy, &error), 0);
	/* Every second block of order 2, so that nothing merges: 2048 in one list. */
	for (p = 0; p < 1u << 14; p += 8) {
		guest_disown(&g, p, 2);
		guest_give(&g, p, 2);
		buddy_give(&b, p, 2);
	}
	assert_true(b.requested);
	buddy_pass_begin(&b);
	while (buddy_pass_next(&b, &batch)) {
		blocks += batch.nr;
		buddy_pass_complete(&b, &batch);
	}
	/* 2048 / (32 * 16) full batches, and upstream's test lets one more through. */
	assert_int_equal(blocks, (2048 / 512 + 1) * 32);
	assert_true(b.requested);
	for (p = 0; b.requested && p < 100; p++) {
		buddy_pass_begin(&b);
		while (buddy_pass_next(&b, &batch)) {
			blocks += batch.nr;
			buddy_pass_complete(&b, &batch);
		}
	}
	assert_int_equal(blocks, 2048);
	buddy_destroy(&b);
	guest_destroy(&g);
	trace_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loss_is_seen),
		cmocka_unit_test(same_input_same_result),
		cmocka_unit_test(one_denominator),
		cmocka_unit_test(ways_to_discard),
		cmocka_unit_test(residency_is_asked_for),
		cmocka_unit_test(worked_out_by_hand),
		cmocka_unit_test(array2019_by_hand),
		cmocka_unit_test(policies_matter),
		cmocka_unit_test(hidden_events_cost_precision),
		cmocka_unit_test(threads_keep_order),
		cmocka_unit_test(host_works_in_order),
		cmocka_unit_test(tickets_by_hand),
		cmocka_unit_test(again_and_again),
		cmocka_unit_test(a_pass_when_due),
		cmocka_unit_test(small_runs_are_left),
		cmocka_unit_test(stalls_go_down),
		cmocka_unit_test(switching_loses_nothing),
		cmocka_unit_test(buddy_takes_a_sixteenth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
