/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * normalise.c - a recording into a history
 *
 * Three bits per page: known to be free, known to be held, free at time 0. Neither free nor held is
 * a page that nothing has been said of: its first event is right whatever it is.
 *
 * The history is written over the recording. Where events are cut to pieces, it can catch up with
 * what has been read of that; then the unread rest moves up, by so much that this happens seldom.
 */
#include "trace/internal.h"

#include <stdlib.h>
#include <string.h>

#define REPEAT_NS	1000000u
#define REPEAT_EVENTS	512u

/* Bits */

static uint64_t bits_mask(uint64_t from, uint64_t nr)
{
	return (nr < 64 ? (UINT64_C(1) << nr) - 1 : UINT64_MAX) << from % 64;
}

/* How many of the NR bits at FROM are VALUE before one is not. */
static uint64_t bits_run(const uint64_t *map, uint64_t from, uint64_t nr, bool value)
{
	uint64_t done = 0;

	while (done < nr) {
		uint64_t at = from + done;
		uint64_t odd = (value ? ~map[at / 64] : map[at / 64]) >> at % 64;

		if (odd) {
			done += (uint64_t)__builtin_ctzll(odd);
			break;
		}
		done += 64 - at % 64;
	}
	return done < nr ? done : nr;
}

static void bits_set(uint64_t *map, uint64_t from, uint64_t nr, bool value)
{
	while (nr) {
		uint64_t here = 64 - from % 64 < nr ? 64 - from % 64 : nr;

		if (value)
			map[from / 64] |= bits_mask(from, here);
		else
			map[from / 64] &= ~bits_mask(from, here);
		from += here;
		nr -= here;
	}
}

/* State */

struct normaliser {
	struct trace *t;
	struct trace_error *err;
	struct trace_anomalies found;
	uint64_t *free;
	uint64_t *held;
	uint64_t *before;
	size_t read;			/* events of the recording that have been read */
	size_t written;			/* events of the history; no more than read */
};

/* How the pages of one event were. */
struct outcome {
	uint64_t right;
	uint64_t wrong;
};

typedef int (*part_fn)(void *data, uint64_t pfn, uint64_t page, uint64_t nr);

/*
 * Call HOW with each part of the pages of PFN and NR that is in one valid range, and with its page
 * number. Returns how many pages are in none, or -1.
 */
static int64_t for_valid(const struct trace_extents *ranges, uint64_t pfn, uint64_t nr,
			 part_fn how, void *data)
{
	const uint64_t end = pfn + nr;
	uint64_t outside = nr;

	for (size_t i = trace_extents_find(ranges, pfn); i < ranges->nr; i++) {
		const struct trace_extent *x = &ranges->v[i];
		uint64_t from = x->pfn > pfn ? x->pfn : pfn;
		uint64_t to = x->pfn + x->nr < end ? x->pfn + x->nr : end;

		if (from >= to)
			break;
		outside -= to - from;
		if (how(data, from, x->first_page + (from - x->pfn), to - from))
			return -1;
	}
	return (int64_t)outside;
}

/* Time */

/* Stable; merges only where something is out of order. tmp holds half of NR. */
static void sort(struct trace_event *v, size_t nr, struct trace_event *tmp)
{
	size_t middle = nr / 2;
	size_t i = 0, j = middle, out = 0;

	if (nr < 2)
		return;
	sort(v, middle, tmp);
	sort(v + middle, nr - middle, tmp);
	if (v[middle - 1].ns <= v[middle].ns)
		return;
	memcpy(tmp, v, middle * sizeof(*v));
	while (i < middle && j < nr)
		v[out++] = v[j].ns < tmp[i].ns ? v[j++] : tmp[i++];
	memcpy(v + out, tmp + i, (middle - i) * sizeof(*v));
}

static int sort_by_time(struct normaliser *n)
{
	struct trace *t = n->t;
	struct trace_event *tmp;
	uint64_t last = 0;

	for (size_t i = 0; i < t->nr_events; i++) {
		if (t->events[i].ns < last)
			n->found.out_of_order++;
		else
			last = t->events[i].ns;
	}
	if (last > t->duration_ns)
		t->duration_ns = last;
	if (!n->found.out_of_order)
		return 0;
	tmp = malloc(t->nr_events / 2 * sizeof(*tmp));
	if (!tmp)
		return trace_fail(n->err, "no memory to sort %zu events", t->nr_events);
	sort(t->events, t->nr_events, tmp);
	free(tmp);
	return 0;
}

/* Pages */

static int make_room(struct normaliser *n)
{
	struct trace *t = n->t;
	const size_t gap = t->nr_events / 8 + 1024;
	struct trace_event *v = realloc(t->events, (t->nr_events + gap) * sizeof(*v));

	if (!v)
		return trace_fail(n->err, "no memory for more than %zu events", t->nr_events);
	memmove(v + n->read + gap, v + n->read, (t->nr_events - n->read) * sizeof(*v));
	t->events = v;
	t->nr_events += gap;
	t->cap_events = t->nr_events;
	n->read += gap;
	return 0;
}

static int write_pieces(struct normaliser *n, struct trace_event e, uint64_t pfn, uint64_t nr)
{
	while (nr) {
		unsigned int order = 63 - (unsigned int)__builtin_clzll(nr);

		if (pfn && (unsigned int)__builtin_ctzll(pfn) < order)
			order = (unsigned int)__builtin_ctzll(pfn);
		if (n->written == n->read && make_room(n))
			return -1;
		e.pfn = pfn & TRACE_MAX_PFN;
		e.order = order & 63;
		n->t->events[n->written++] = e;
		pfn += UINT64_C(1) << order;
		nr -= UINT64_C(1) << order;
	}
	return 0;
}

/* NR pages that are all in the state that E needs. */
static int take_or_give(struct normaliser *n, const struct trace_event *e, uint64_t pfn,
			uint64_t page, uint64_t nr)
{
	if (e->alloc) {
		/* Those not known to be free had no event before: this one says that they were. */
		for (uint64_t done = 0, run; done < nr; done += run) {
			run = bits_run(n->free, page + done, nr - done, false);
			bits_set(n->before, page + done, run, true);
			run += bits_run(n->free, page + done + run, nr - done - run, true);
		}
	}
	bits_set(n->held, page, nr, e->alloc);
	bits_set(n->free, page, nr, !e->alloc);
	return write_pieces(n, *e, pfn, nr);
}

struct part {
	struct normaliser *n;
	const struct trace_event *e;
	struct outcome outcome;
};

static int part_of_event(void *data, uint64_t pfn, uint64_t page, uint64_t nr)
{
	struct part *p = data;
	const uint64_t *wrong = p->e->alloc ? p->n->held : p->n->free;

	while (nr) {
		uint64_t run = bits_run(wrong, page, nr, false);

		if (run && take_or_give(p->n, p->e, pfn, page, run))
			return -1;
		p->outcome.right += run;
		if (!run) {
			run = bits_run(wrong, page, nr, true);
			p->outcome.wrong += run;
		}
		pfn += run;
		page += run;
		nr -= run;
	}
	return 0;
}

/* Nothing took the pages since, or they would not be free now. */
static bool is_repeat(const struct normaliser *n, const struct trace_event *e)
{
	for (size_t i = 1; i <= REPEAT_EVENTS && i <= n->written; i++) {
		const struct trace_event *x = &n->t->events[n->written - i];

		if (e->ns - x->ns > REPEAT_NS)
			return false;
		if (!x->alloc && x->pfn == e->pfn && x->order == e->order && x->cpu == e->cpu)
			return true;
	}
	return false;
}

static int apply(struct normaliser *n, const struct trace_event *e)
{
	struct part p = { .n = n, .e = e };
	struct trace_anomalies *a = &n->found;
	int64_t outside;

	outside = for_valid(&n->t->ranges, e->pfn, UINT64_C(1) << e->order, part_of_event, &p);
	if (outside < 0)
		return -1;
	a->outside += (uint64_t)outside;
	if (p.outcome.right && (p.outcome.wrong || outside))
		a->partial++;
	if (e->alloc)
		a->double_alloc += p.outcome.wrong;
	else if (!p.outcome.right && !outside && is_repeat(n, e))
		a->repeated_free++;
	else
		a->double_free += p.outcome.wrong;
	return 0;
}

static int set_free(void *data, uint64_t pfn, uint64_t page, uint64_t nr)
{
	struct normaliser *n = data;

	(void)pfn;
	bits_set(n->free, page, nr, true);
	bits_set(n->before, page, nr, true);
	return 0;
}

static int set_up(struct normaliser *n)
{
	const uint64_t pages = trace_extents_total(&n->t->ranges);
	const size_t words = (size_t)(pages / 64 + 1);

	n->free = calloc(words, sizeof(*n->free));
	n->held = calloc(words, sizeof(*n->held));
	n->before = calloc(words, sizeof(*n->before));
	if (!n->free || !n->held || !n->before)
		return trace_fail(n->err, "no memory for the states of %llu pages",
				  (unsigned long long)pages);
	if (n->t->has_snapshot)
		for (size_t i = 0; i < n->t->free_before.nr; i++)
			for_valid(&n->t->ranges, n->t->free_before.v[i].pfn,
				  n->t->free_before.v[i].nr, set_free, n);
	return 0;
}

static int rebuild_before(struct normaliser *n)
{
	struct trace *t = n->t;

	t->free_before.nr = 0;
	for (size_t i = 0; i < t->ranges.nr; i++) {
		const struct trace_extent *x = &t->ranges.v[i];

		for (uint64_t at = 0, run; at < x->nr; at += run) {
			const uint64_t page = x->first_page + at, left = x->nr - at;
			const bool value = n->before[page / 64] >> page % 64 & 1;

			run = bits_run(n->before, page, left, value);
			if (value && trace_extents_add(&t->free_before, x->pfn + at, run))
				return trace_fail(n->err, "no memory");
		}
	}
	trace_extents_finish(&t->free_before);
	return 0;
}

static int normalise(struct normaliser *n)
{
	struct trace *t = n->t;

	if (sort_by_time(n) || set_up(n))
		return -1;
	while (n->read < t->nr_events) {
		/* A copy: its place may be written to. */
		const struct trace_event e = t->events[n->read++];

		if (apply(n, &e))
			return -1;
	}
	t->nr_events = n->written;
	return rebuild_before(n);
}

int trace_normalise(struct trace *t, struct trace_anomalies *a, struct trace_error *err)
{
	struct normaliser n = { .t = t, .err = err };
	int ret = normalise(&n);

	free(n.free);
	free(n.held);
	free(n.before);
	if (ret)
		return ret;
	for (size_t i = 0; i < TRACE_NR_ANOMALIES; i++)
		*trace_anomaly(&t->recorded, i) += *trace_anomaly(&n.found, i);
	if (a)
		*a = t->recorded;
	return 0;
}

static int copy_extents(struct trace_extents *to, const struct trace_extents *from)
{
	for (size_t i = 0; i < from->nr; i++)
		if (trace_extents_add(to, from->v[i].pfn, from->v[i].nr))
			return -1;
	trace_extents_finish(to);
	return 0;
}

int trace_check(const struct trace *t, struct trace_anomalies *a, struct trace_error *err)
{
	struct trace copy = *t;
	int ret;

	copy.source = NULL;
	memset(&copy.ranges, 0, sizeof(copy.ranges));
	memset(&copy.free_before, 0, sizeof(copy.free_before));
	memset(&copy.free_after, 0, sizeof(copy.free_after));
	copy.cap_events = t->nr_events;
	copy.events = malloc(t->nr_events * sizeof(*t->events) + 1);
	if (copy.events && t->nr_events)
		memcpy(copy.events, t->events, t->nr_events * sizeof(*t->events));
	if (!copy.events || copy_extents(&copy.ranges, &t->ranges) ||
	    copy_extents(&copy.free_before, &t->free_before))
		ret = trace_fail(err, "no memory for a copy of %zu events", t->nr_events);
	else
		ret = trace_normalise(&copy, a, err);
	trace_destroy(&copy);
	return ret;
}
