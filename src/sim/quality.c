/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* quality.c - replay in virtual time: what reporting is worth */
#include "sim/array2019.h"
#include "sim/buddy.h"
#include "sim/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX
#define NS_PER_MS 1e6
#define NS_PER_MINUTE 60e9
#define GIB ((double)(UINT64_C(1) << 30))
#define RESIDENCY_CHECKS 4

/* Durations in ns; sorted when summed up. */
struct samples {
	uint64_t *v;
	size_t nr, cap;
	double total;
};

struct run {
	const struct trace *t;
	const struct sim_policy *policy;
	struct guest g;
	struct host h;
	struct setup s;
	struct fpt_reporter rep;
	struct buddy *buddy;		/* instead of the tracker's reporter */
	struct array2019 *collector;	/* likewise */
	struct fpt_batch batch;		/* with the host until resume_at */
	uint64_t resume_at;		/* when the pass goes on; NEVER: there is none */
	uint64_t tick_at;		/* the next pass; NEVER: none is due */
	unsigned int idle;		/* passes in a row that found nothing, with no event since */
	uint64_t now;
	bool failed;
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
	uint64_t claimed_pages, claimed_free_pages;
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

static enum fpt_isolated isolate(void *ctx, struct fpt_range range)
{
	struct run *r = ctx;

	r->claimed_pages += range.nr;
	r->claimed_free_pages += guest_count_free(&r->g, range);
	return guest_isolate(&r->g, range);
}

static void put_back(void *ctx, struct fpt_range range)
{
	guest_put_back(&((struct run *)ctx)->g, range);
}

static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	return guest_is_free(&((struct run *)ctx)->g, pfn);
}

static const struct fpt_owner_ops owner = { isolate, put_back, is_free };

/* The next batch of the pass goes to the host, or the pass is over. */
static void pass_step(struct run *r)
{
	unsigned int n, i;

	if (r->buddy) {
		n = buddy_pass_next(r->buddy, &r->batch);
		for (i = 0; i < n; i++)
			r->claimed_free_pages += r->batch.range[i].nr;
		r->claimed_pages = r->claimed_free_pages;
	} else {
		n = fpt_pass_next(&r->rep, &r->batch);
	}
	r->resume_at = n ? r->now + r->policy->latency_ns : NEVER;
	r->out->reports += !!n;
	r->idle = n ? 0 : r->idle + 1;
	/* Upstream arms its timer when a pass is requested; what is left over requests one, too. */
	if (!n && r->buddy && r->buddy->requested)
		r->tick_at = r->now + r->policy->period_ns;
}

/* The host is done with a batch, or with a part of one. */
static void batch_done(struct run *r, struct fpt_batch *batch)
{
	unsigned int i;

	if (!batch->nr)
		return;
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
	if (r->buddy)
		buddy_pass_complete(r->buddy, batch);
	else
		fpt_pass_complete(&r->rep, batch, true);
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

/* The range of the batch that a page is in is done now, the rest when it would have been. */
static void finish_early(struct run *r, uint64_t page)
{
	unsigned int i;

	for (i = 0; i < r->batch.nr; i++) {
		struct fpt_batch one = { .nr = 1, .range = { r->batch.range[i] } };

		if (page - guest_page(&r->g, one.range[0].pfn) >= one.range[0].nr)
			continue;
		r->batch.range[i] = r->batch.range[--r->batch.nr];
		batch_done(r, &one);
		return;
	}
}

static void tick(struct run *r)
{
	if (r->buddy) {
		r->tick_at = NEVER;
		buddy_pass_begin(r->buddy);
	} else {
		r->tick_at += r->policy->period_ns;
		if (r->resume_at != NEVER)
			return;		/* the last pass is not over */
		setup_refill(&r->s);
		fpt_pass_begin(&r->rep);
	}
	pass_step(r);
}

/* Everything that the reporter and the host do up to a point in time. */
static void run_until(struct run *r, uint64_t to)
{
	if (r->collector) {
		collect_until(r, to);
		return;
	}
	while (!r->failed) {
		uint64_t next = r->resume_at < r->tick_at ? r->resume_at : r->tick_at;

		if (next > to)
			break;
		/*
		 * Nothing changes before the next event, two drains have seen everything: skip to
		 * it.
		 */
		if (!r->buddy && r->resume_at == NEVER && r->idle > 2) {
			r->tick_at += ((to - r->tick_at) / r->policy->period_ns + 1) *
				      r->policy->period_ns;
			break;
		}
		advance(r, next);
		if (r->resume_at == next) {
			batch_done(r, &r->batch);
			pass_step(r);
		} else {
			tick(r);
		}
	}
	advance(r, to);
}

static void take(struct run *r, const struct trace_event *e, uint64_t page)
{
	uint64_t first = page >> r->g.order,
		 last = (page + (UINT64_C(1) << e->order) - 1) >> r->g.order, b;

	if (!guest_take(&r->g, page, e->order)) {
		uint64_t p;

		/*
		 * It would have to wait for the host. Counted, and time stands still for everybody
		 * else.
		 */
		if (r->collector)
			collected_early(r, e);
		else
			sample(r, &r->stall, r->resume_at - r->now);
		for (p = page; !r->collector && p < page + (UINT64_C(1) << e->order); p++)
			finish_early(r, p);
		if (!guest_take(&r->g, page, e->order)) {
			r->failed = true;
			snprintf(r->err->text, sizeof(r->err->text),
				 "a block stays isolated: a bug of fpt");
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
	if (!e->hidden)
		fpt_alloc(&r->s.t, e->pfn, e->order);
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
		if (r->buddy->requested && r->resume_at == NEVER && r->tick_at == NEVER)
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
	uint64_t in_flight = config->policy.in_flight / t->page_size, b;
	size_t i;

	memset(r, 0, sizeof(*r));
	memset(out, 0, sizeof(*out));
	r->t = t;
	r->policy = &config->policy;
	r->resume_at = NEVER;
	r->tick_at = config->policy.period_ns;
	r->err = err;
	r->out = out;
	if (guest_init(&r->g, t, config->order, host_backing(config->policy.discard), true, err) ||
	    setup_tracker(&r->s, &r->g, t, t->nr_cpus, tracker, config, err))
		return -1;
	r->g.skip_isolation = config->skip_isolation;
	r->h.g = &r->g;
	r->h.how = config->policy.discard;
	r->full_since = calloc(guest_nr_blocks(&r->g), sizeof(*r->full_since));
	r->from_start = calloc(guest_nr_blocks(&r->g), sizeof(*r->from_start));
	r->reported = calloc(guest_nr_blocks(&r->g), sizeof(*r->reported));
	if (!r->full_since || !r->from_start || !r->reported) {
		snprintf(err->text, sizeof(err->text), "no memory for block states");
		return -1;
	}
	/* sim_check() has seen the configuration. */
	if (fpt_reporter_init(&r->rep, &r->s.t, &owner, r,
			&(struct fpt_policy){ .batch = config->policy.batch, .max_in_flight = in_flight }))
		abort();
	if (tracker->walks_buddy) {
		r->buddy = calloc(1, sizeof(*r->buddy));
		if (!r->buddy ||
		    buddy_init(r->buddy, &r->g, config->policy.batch, in_flight, err)) {
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
		if (array2019_init(r->collector, &r->s.t, &owner, r, err))
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
	setup_free(&r->s);
	guest_destroy(&r->g);
}

static void sum_up(struct run *r)
{
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
	q->precision =
		r->claimed_pages ? (double)r->claimed_free_pages / (double)r->claimed_pages : -1;
	/* Its collector has asked what is free just before: there is nothing to miss. */
	if (r->collector)
		q->precision = -1;
	q->free_to_report = summary(&r->free_to_report);
	q->stall = summary(&r->stall);
	q->discard_calls = r->h.calls;
	q->discarded_ranges = r->h.ranges;
	q->refaults = r->g.refaults;
	q->dropped = stats.count[FPT_STAT_DROPPED];
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
		r.idle = 0;
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
		batch_done(&r, &r.batch);
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
