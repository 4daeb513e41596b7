/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* quality.c - replay in virtual time: what reporting is worth */
#include "sim/array2019.h"
#include "sim/buddy.h"
#include "sim/queue.h"
#include "sim/reporting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEVER QUEUE_NEVER
#define NS_PER_MS 1e6
#define NS_PER_MINUTE 60e9
#define GIB ((double)(UINT64_C(1) << 30))
#define RESIDENCY_CHECKS 4
#define ALIKE 3		/* passes in a row, with no event since, that do the same: so do all more */

/* Durations in ns; sorted when summed up. */
struct samples {
	uint64_t *v;
	size_t nr, cap;
	double total;
};

/* What one pass after another adds to. */
struct totals {
	uint64_t reports, calls, ranges, asked_pages, asked_free_pages;
};

struct run {
	const struct trace *t;
	const struct sim_policy *policy;
	struct guest g;
	struct host h;
	struct setup s;
	struct reporting rep;
	struct buddy *buddy;		/* instead of the tracker's reporter */
	struct array2019 *collector;	/* likewise */
	struct queue q;			/* with the host */
	bool in_pass;
	uint64_t tick_at;		/* the next pass; NEVER: none is due */
	/* Since the last event: */
	unsigned int alike;		/* passes in a row that added the same as the one before */
	bool dormant;			/* no pass becomes due without an event */
	struct totals at_pass, added;	/* when the last pass began; between the two before it */
	uint64_t pass_at, apart;	/* the same, of time */
	uint64_t now;
	bool failed;
	bool unprotected;
	struct trace_error *err;
	/* What is true of the guest, by block. */
	uint64_t *full_since;		/* meaningful while the block is wholly free */
	uint8_t *from_start;		/* wholly free since before time 0: when it became so is not known */
	uint8_t *reported;		/* wholly free, discarded, untouched since */
	/* Where ranges are no blocks; NULL where they are. */
	uint8_t *page_reported;
	uint32_t *pages_reported;	/* of a block, the same summed up */
	uint64_t full_pages, reported_pages, peak_pages;
	double full_time, reported_time, resident_time;	/* pages x ns */
	struct samples free_to_report, stall;
	struct sim_quality *out;
};

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sample(struct run *r, struct samples *s, uint64_t ns)
{
	if (s->nr == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 1024;
		uint64_t *v = realloc(s->v, cap * sizeof(*v));

		if (!v) {
			r->failed = true;
			snprintf(r->err->text, sizeof(r->err->text), "no memory for samples");
			return;
		}
		s->v = v;
		s->cap = cap;
	}
	s->v[s->nr++] = ns;
	s->total += (double)ns;
}

static struct sim_times summary(struct samples *s)
{
	struct sim_times out = { .count = s->nr, .total_ms = s->total / NS_PER_MS };

	if (!s->nr)
		return out;
	qsort(s->v, s->nr, sizeof(*s->v), by_value);
	out.p50_ms = (double)s->v[(s->nr - 1) / 2] / NS_PER_MS;
	out.p99_ms = (double)s->v[(s->nr * 99 + 99) / 100 - 1] / NS_PER_MS;
	return out;
}

static bool block_is_full(struct run *r, uint64_t b)
{
	/* No page taken; isolated blocks are free memory, too. */
	return !guest_taken(&r->g, b);
}

static void block_fills(struct run *r, uint64_t b)
{
	r->full_since[b] = r->now;
	r->reported[b] = 0;
	r->full_pages += UINT64_C(1) << r->g.order;
	if (r->page_reported)
		r->reported_pages += r->pages_reported[b];
}

static void block_breaks(struct run *r, uint64_t b)
{
	r->full_pages -= UINT64_C(1) << r->g.order;
	if (r->page_reported)
		r->reported_pages -= r->pages_reported[b];
	else if (r->reported[b])
		r->reported_pages -= UINT64_C(1) << r->g.order;
	if (!r->reported[b] && !r->from_start[b])
		r->out->censored++;
	r->reported[b] = 0;
	r->from_start[b] = 0;
}

static void advance(struct run *r, uint64_t to)
{
	double dt = (double)(to - r->now);

	r->full_time += dt * (double)r->full_pages;
	r->reported_time += dt * (double)r->reported_pages;
	r->resident_time += dt * (double)r->g.resident;
	r->now = to;
}

static void fail(struct run *r, const char *what)
{
	r->failed = true;
	snprintf(r->err->text, sizeof(r->err->text), "%s", what);
}

static unsigned int next_batch(struct run *r, struct fpt_batch *batch)
{
	unsigned int n, i;

	if (!r->buddy)
		return reporting_next(&r->rep, batch);
	n = buddy_pass_next(r->buddy, batch);
	for (i = 0; i < n; i++)
		r->rep.owner.asked_pages += batch->range[i].nr;
	r->rep.owner.asked_free_pages = r->rep.owner.asked_pages;
	return n;
}

/* The host has nothing to do: the next of the pass goes there, or the pass is over. */
static void pass_step(struct run *r)
{
	bool isolated = r->buddy || r->policy->protocol == SIM_ISOLATE;
	struct fpt_batch batch;

	do {
		if (!next_batch(r, &batch))
			break;
		r->out->reports++;
		if (queue_add(&r->q, &batch, r->now, r->policy->latency_ns, !isolated)) {
			fail(r, "no memory for what is with the host");
			return;
		}
	} while (!r->buddy && r->rep.ops->queues);
	r->in_pass = !queue_empty(&r->q);
	/* Upstream arms its timer when a pass is requested; what is left over requests one, too. */
	if (!r->in_pass && r->buddy && r->buddy->requested)
		r->tick_at = r->now + r->policy->period_ns;
}

static void discard(struct run *r, const struct fpt_batch *batch)
{
	unsigned int i;

	if (host_discard(&r->h, batch, r->err))
		r->failed = true;
	for (i = 0; i < batch->nr; i++) {
		uint64_t first = guest_page(&r->g, batch->range[i].pfn) >> r->g.order, b;

		for (b = first; b < first + (batch->range[i].nr >> r->g.order); b++) {
			if (!block_is_full(r, b) || r->reported[b])
				continue;
			r->reported[b] = 1;
			r->reported_pages += UINT64_C(1) << r->g.order;
			if (!r->from_start[b])
				sample(r, &r->free_to_report, r->now - r->full_since[b]);
		}
	}
}

static void complete(struct run *r, struct fpt_batch *batch)
{
	if (!batch->nr)
		return;
	if (r->buddy)
		buddy_pass_complete(r->buddy, batch);
	else
		reporting_complete(&r->rep, batch);
}

/* A range that may be less than a block: pages count, and the block when all of them do. */
static void pages_done(struct run *r, const struct fpt_range *range)
{
	uint64_t page = guest_page(&r->g, range->pfn), end = page + range->nr, b;

	for (; page < end; page++) {
		b = page >> r->g.order;
		if (r->page_reported[page])
			continue;
		r->page_reported[page] = 1;
		r->pages_reported[b]++;
		if (!block_is_full(r, b))
			continue;
		r->reported_pages++;
		r->reported[b] = r->pages_reported[b] == 1u << r->g.order;
		if (r->reported[b] && !r->from_start[b])
			sample(r, &r->free_to_report, r->now - r->full_since[b]);
	}
}

static void pages_taken(struct run *r, uint64_t page, uint64_t nr)
{
	for (; nr--; page++) {
		r->pages_reported[page >> r->g.order] -= r->page_reported[page];
		r->page_reported[page] = 0;
	}
}

/* A CPU that has asked is served at once, if its last batch is back. */
static void collect(struct run *r, unsigned int cpu)
{
	if (fpt_array2019_requested(&r->s.t, cpu) &&
	    array2019_collect(r->collector, cpu, r->now + r->policy->latency_ns))
		r->out->reports++;
}

static void collected_done(struct run *r, unsigned int cpu)
{
	const struct array2019_batch *b = &r->collector->out[cpu];
	size_t i;

	if (host_discard_ranges(&r->h, b->ranges, b->nr, r->err))
		r->failed = true;
	for (i = 0; i < b->nr; i++)
		pages_done(r, &b->ranges[i]);
	array2019_return(r->collector, cpu);
	collect(r, cpu);
}

/* What the collectors and the host do up to a point in time. */
static void collect_until(struct run *r, uint64_t to)
{
	unsigned int cpu;

	while (!r->failed && (cpu = array2019_first(r->collector)) < r->collector->nr_cpus &&
	       r->collector->out[cpu].done_at <= to) {
		advance(r, r->collector->out[cpu].done_at);
		collected_done(r, cpu);
	}
	advance(r, to);
}

/* In the initial scan: no time passes. */
static void collect_now(void *ctx)
{
	struct run *r = ctx;

	if (array2019_collect(r->collector, 0, r->now))
		collected_done(r, 0);
}

/* An allocation met pages that are out: their CPUs' batches are done now. */
static void collected_early(struct run *r, const struct trace_event *e)
{
	uint64_t pfn, longest = 0;
	unsigned int cpu;

	for (pfn = e->pfn; pfn < e->pfn + (UINT64_C(1) << e->order); pfn++) {
		while ((cpu = array2019_find(r->collector, pfn)) < r->collector->nr_cpus) {
			if (r->collector->out[cpu].done_at - r->now > longest)
				longest = r->collector->out[cpu].done_at - r->now;
			collected_done(r, cpu);
		}
	}
	sample(r, &r->stall, longest);
}

/* One step of the host's. False: it has none to do up to then. */
static bool host_step(struct run *r, uint64_t to)
{
	struct fpt_batch discarded, done;

	if (!queue_step(&r->q, to, &discarded, &done))
		return false;
	discard(r, &discarded);
	complete(r, &done);
	return true;
}

static struct totals totals(const struct run *r)
{
	return (struct totals){
		r->out->reports, r->h.calls, r->h.ranges, r->rep.owner.asked_pages,
		r->rep.owner.asked_free_pages,
	};
}

/* Does this pass begin as the ones before did? */
static void compare_passes(struct run *r)
{
	struct totals now = totals(r), added = {
		now.reports - r->at_pass.reports, now.calls - r->at_pass.calls,
		now.ranges - r->at_pass.ranges, now.asked_pages - r->at_pass.asked_pages,
		now.asked_free_pages - r->at_pass.asked_free_pages,
	};
	uint64_t apart = r->now - r->pass_at;

	if (apart == r->apart && !memcmp(&added, &r->added, sizeof(added)))
		r->alike++;
	else
		r->alike = 0;
	r->added = added;
	r->apart = apart;
	r->at_pass = now;
	r->pass_at = r->now;
}

static void tick(struct run *r)
{
	bool later;

	if (r->buddy) {
		r->tick_at = NEVER;
		buddy_pass_begin(r->buddy);
	} else {
		r->tick_at += r->policy->period_ns;
		if (r->in_pass)
			return;		/* the last pass is not over */
		if (!reporting_due(&r->rep, r->now, &later)) {
			r->dormant = !later;
			return;
		}
		compare_passes(r);
		reporting_begin(&r->rep);
	}
	pass_step(r);
}

/*
 * Nothing changes before the next event, so passes go on as they did: skip to it. The next tick
 * stays behind a whole number of theirs.
 */
static void skip(struct run *r, uint64_t to)
{
	uint64_t n;

	if (r->buddy || r->in_pass || r->tick_at > to)
		return;
	if (r->dormant) {
		r->tick_at += ((to - r->tick_at) / r->policy->period_ns + 1) * r->policy->period_ns;
	} else if (r->alike >= ALIKE) {
		n = (to - r->tick_at) / r->apart;
		r->tick_at += n * r->apart;
		r->pass_at += n * r->apart;
		r->out->reports += n * r->added.reports;
		r->h.calls += n * r->added.calls;
		r->h.ranges += n * r->added.ranges;
		r->rep.owner.asked_pages += n * r->added.asked_pages;
		r->rep.owner.asked_free_pages += n * r->added.asked_free_pages;
		r->at_pass = totals(r);
	}
}

/* Everything that the reporter and the host do up to a point in time. */
static void run_until(struct run *r, uint64_t to)
{
	if (r->collector) {
		collect_until(r, to);
		return;
	}
	while (!r->failed) {
		uint64_t next;

		skip(r, to);
		next = queue_next(&r->q) < r->tick_at ? queue_next(&r->q) : r->tick_at;
		if (next > to)
			break;
		advance(r, next);
		if (!host_step(r, next))
			tick(r);
		else if (queue_empty(&r->q))
			pass_step(r);
	}
	advance(r, to);
}

/*
 * An allocation met blocks that are with the host: it waits until they are acknowledged. Counted,
 * and time stands still for everybody else: they come back now.
 */
static void stall(struct run *r, const struct trace_event *e)
{
	uint64_t pfn = e->pfn, last = pfn + (UINT64_C(1) << e->order) - 1, longest = 0;
	bool expedite = r->policy->expedite && r->policy->protocol != SIM_ISOLATE;
	struct fpt_batch one;
	size_t slot;

	for (; pfn <= last; pfn = (pfn | ((UINT64_C(1) << r->g.order) - 1)) + 1) {
		uint64_t until;

		if (!queue_find(&r->q, pfn, &slot))
			continue;
		until = queue_acknowledged_at(&r->q, slot, expedite);
		if (until - r->now > longest)
			longest = until - r->now;
		if (queue_remove(&r->q, slot, expedite, &one))
			discard(r, &one);
		complete(r, &one);
	}
	sample(r, &r->stall, longest);
}

static void take(struct run *r, const struct trace_event *e, uint64_t page)
{
	uint64_t first = page >> r->g.order,
		 last = (page + (UINT64_C(1) << e->order) - 1) >> r->g.order, b;

	if (!guest_take(&r->g, page, e->order)) {
		if (r->collector)
			collected_early(r, e);
		else
			stall(r, e);
		if (!guest_take(&r->g, page, e->order)) {
			fail(r, "a block stays isolated: a bug of fpt");
			return;
		}
	}
	/* Full until a moment ago: exactly this event's pages are taken now. */
	for (b = first; b <= last; b++) {
		uint64_t from = b << r->g.order, to = (b + 1) << r->g.order;

		if (from < page)
			from = page;
		if (to > page + (UINT64_C(1) << e->order))
			to = page + (UINT64_C(1) << e->order);
		if (guest_taken(&r->g, b) == to - from)
			block_breaks(r, b);
	}
	if (r->page_reported)
		pages_taken(r, page, UINT64_C(1) << e->order);
	if (r->buddy)
		buddy_take(r->buddy, page, e->order);
	if (!e->hidden && fpt_alloc(&r->s.t, e->pfn, e->order) == FPT_IN_FLIGHT &&
	    !r->unprotected) {
		stall(r, e);
		if (fpt_in_flight(&r->s.t, e->pfn, e->order)) {
			fail(r, "a block stays in flight: a bug of fpt");
			return;
		}
	}
	guest_own(&r->g, page, e->order);
	if (r->g.resident > r->peak_pages)
		r->peak_pages = r->g.resident;
}

static void give(struct run *r, const struct trace_event *e, uint64_t page)
{
	uint64_t first = page >> r->g.order,
		 last = (page + (UINT64_C(1) << e->order) - 1) >> r->g.order, b;

	guest_disown(&r->g, page, e->order);
	if (!e->hidden)
		fpt_free(&r->s.t, e->pfn, e->order);
	guest_give(&r->g, page, e->order);
	if (r->buddy) {
		buddy_give(r->buddy, page, e->order);
		if (r->buddy->requested && !r->in_pass && r->tick_at == NEVER)
			r->tick_at = r->now + r->policy->period_ns;
	}
	for (b = first; b <= last; b++)
		if (block_is_full(r, b))
			block_fills(r, b);
	if (r->collector)
		collect(r, e->cpu);
}

static int run_init(struct run *r, const struct trace *t, const struct sim_tracker *tracker,
		    const struct sim_config *config, struct sim_quality *out,
		    struct trace_error *err)
{
	struct fpt_policy policy = sim_report_policy(&config->policy, t->page_size);
	uint64_t b;
	size_t i;

	memset(r, 0, sizeof(*r));
	memset(out, 0, sizeof(*out));
	r->t = t;
	r->policy = &config->policy;
	r->unprotected = config->unprotected;
	r->tick_at = config->policy.period_ns;
	r->err = err;
	r->out = out;
	if (guest_init(&r->g, t, config->order, host_backing(config->policy.discard), true, err) ||
	    setup_tracker(&r->s, &r->g, t, t->nr_cpus, tracker, config, err) ||
	    reporting_init(&r->rep, &r->s, &r->g, config, err))
		return -1;
	/* A collector has asked what is free just before: there is nothing to miss. */
	r->rep.owner.counts = !tracker->collects;
	r->g.skip_isolation = config->unprotected;
	r->h.g = &r->g;
	r->h.how = config->policy.discard;
	r->full_since = calloc(guest_nr_blocks(&r->g), sizeof(*r->full_since));
	r->from_start = calloc(guest_nr_blocks(&r->g), sizeof(*r->from_start));
	r->reported = calloc(guest_nr_blocks(&r->g), sizeof(*r->reported));
	if (!r->full_since || !r->from_start || !r->reported) {
		snprintf(err->text, sizeof(err->text), "no memory for block states");
		return -1;
	}
	if (tracker->walks_buddy) {
		r->buddy = calloc(1, sizeof(*r->buddy));
		if (!r->buddy ||
		    buddy_init(r->buddy, &r->g, &policy, err)) {
			free(r->buddy);
			r->buddy = NULL;
			return -1;
		}
		for (i = 0; i < t->free_before.nr; i++) {
			uint64_t page = guest_page(&r->g, t->free_before.v[i].pfn), n;

			for (n = 0; n < t->free_before.v[i].nr; n++)
				buddy_give(r->buddy, page + n, 0);
		}
	}
	for (b = 0; b < guest_nr_blocks(&r->g); b++)
		if (block_is_full(r, b)) {
			block_fills(r, b);
			r->from_start[b] = 1;
		}
	if (tracker->collects) {
		r->collector = calloc(1, sizeof(*r->collector));
		r->page_reported = calloc(r->g.nr_pages, sizeof(*r->page_reported));
		r->pages_reported = calloc(guest_nr_blocks(&r->g), sizeof(*r->pages_reported));
		if (!r->collector || !r->page_reported || !r->pages_reported) {
			snprintf(err->text, sizeof(err->text), "no memory for page states");
			return -1;
		}
		if (array2019_init(r->collector, &r->rep.rep, err))
			return -1;
		setup_hint(&r->s, t, config->policy.entries, collect_now, r);
		collect_now(r);
	}
	r->peak_pages = r->g.resident;
	return 0;
}

static void run_destroy(struct run *r)
{
	if (r->buddy)
		buddy_destroy(r->buddy);
	free(r->buddy);
	if (r->collector)
		array2019_destroy(r->collector);
	free(r->collector);
	free(r->page_reported);
	free(r->pages_reported);
	free(r->full_since);
	free(r->from_start);
	free(r->reported);
	free(r->free_to_report.v);
	free(r->stall.v);
	queue_free(&r->q);
	reporting_free(&r->rep);
	setup_free(&r->s);
	guest_destroy(&r->g);
}

static void sum_up(struct run *r)
{
	const struct owner *asked = &r->rep.owner;
	double page = (double)r->g.page_size;
	struct sim_quality *q = r->out;
	struct fpt_stats stats;
	uint64_t b;

	for (b = 0; b < guest_nr_blocks(&r->g); b++)
		q->censored += block_is_full(r, b) && !r->reported[b] && !r->from_start[b];
	fpt_get_stats(&r->s.t, &stats);
	q->gib_minutes = r->resident_time * page / GIB / NS_PER_MINUTE;
	q->free_gib_minutes = r->full_time * page / GIB / NS_PER_MINUTE;
	q->peak_rss_bytes = r->peak_pages * r->g.page_size;
	q->recall = r->full_time > 0 ? r->reported_time / r->full_time : 0;
	q->precision = asked->asked_pages ? (double)asked->asked_free_pages /
					    (double)asked->asked_pages : -1;
	q->free_to_report = summary(&r->free_to_report);
	q->stall = summary(&r->stall);
	q->cancelled = stats.count[FPT_STAT_CANCELLED];
	q->waited = stats.count[FPT_STAT_WAITED];
	q->discard_calls = r->h.calls;
	q->discarded_ranges = r->h.ranges;
	q->refaults = r->g.refaults;
	q->dropped = stats.count[FPT_STAT_DROPPED];
	q->slow = stats.count[FPT_STAT_SLOW];
	/* The model's lists stand for what the allocator has anyway. */
	q->metadata_bytes = r->buddy ? 0 : stats.memory_used;
}

int sim_quality(const struct trace *t, const struct sim_tracker *tracker,
		const struct sim_config *config, struct sim_quality *out, sim_progress progress,
		void *ctx, struct trace_error *err)
{
	size_t check_every = t->nr_events / RESIDENCY_CHECKS + 1, i;
	struct run r;
	bool ok;

	if (sim_check(t, tracker, config, err))
		return -1;
	if (run_init(&r, t, tracker, config, out, err)) {
		run_destroy(&r);
		return -1;
	}
	for (i = 0; i < t->nr_events && !r.failed; i++) {
		const struct trace_event *e = &t->events[i];
		uint64_t page = guest_page(&r.g, e->pfn);

		run_until(&r, e->ns);
		fpt_virtual_cpu = e->cpu;
		r.alike = 0;
		r.dormant = false;
		if (e->alloc)
			take(&r, e, page);
		else
			give(&r, e, page);
		if (progress && i % 65536 == 0)
			progress(ctx, (double)i / (double)t->nr_events);
		if ((i + 1) % check_every == 0 && guest_check_residency(&r.g, err))
			r.failed = true;
	}
	if (!r.failed) {
		run_until(&r, t->duration_ns);
		sum_up(&r);
		/*
		 * The trace is over; nothing of the host's is left undone before data is checked.
		 */
		while (host_step(&r, NEVER))
			;
		if (r.collector)
			collect_until(&r, NEVER);
		guest_verify_all(&r.g);
		out->data_loss = r.g.data_loss;
		if (guest_check_residency(&r.g, err))
			r.failed = true;
	}
	ok = !r.failed;
	run_destroy(&r);
	return ok ? 0 : -1;
}
