/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* trace.c - traces in memory: events, extents, page numbers, counts of anomalies */
#include "trace/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int trace_fail(struct trace_error *err, const char *format, ...)
{
	va_list ap;

	if (!err)
		return -1;
	va_start(ap, format);
	vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	return -1;
}

void trace_init(struct trace *t)
{
	memset(t, 0, sizeof(*t));
}

void trace_destroy(struct trace *t)
{
	free(t->source);
	free(t->ranges.v);
	free(t->free_before.v);
	free(t->free_after.v);
	free(t->events);
	trace_init(t);
}

int trace_add_event(struct trace *t, const struct trace_event *e, struct trace_error *err)
{
	if (t->nr_events == t->cap_events) {
		/* Of a large block, realloc() moves nothing, and what is not used costs nothing. */
		size_t cap = t->cap_events ? t->cap_events * 2 : 1024;
		struct trace_event *v = realloc(t->events, cap * sizeof(*v));

		if (!v)
			return trace_fail(err, "no memory for more than %zu events", t->nr_events);
		t->events = v;
		t->cap_events = cap;
	}
	t->events[t->nr_events++] = *e;
	return 0;
}

bool trace_event_make(struct trace_event *e, const struct trace_raw_event *raw, uint64_t nr_cpus,
		      char *why, size_t size)
{
	if (raw->cpu >= nr_cpus) {
		snprintf(why, size, "CPU %llu, but there are %llu CPUs",
			 (unsigned long long)raw->cpu, (unsigned long long)nr_cpus);
		return false;
	}
	if (raw->order > TRACE_MAX_ORDER) {
		snprintf(why, size, "order %llu is above %u", (unsigned long long)raw->order,
			 TRACE_MAX_ORDER);
		return false;
	}
	if (raw->pfn > TRACE_MAX_PFN + 1 - (UINT64_C(1) << raw->order)) {
		snprintf(why, size, "pfn 0x%llx of order %llu ends above 0x%llx",
			 (unsigned long long)raw->pfn, (unsigned long long)raw->order,
			 (unsigned long long)TRACE_MAX_PFN);
		return false;
	}
	*e = (struct trace_event){
		.ns = raw->ns,
		.pfn = raw->pfn & TRACE_MAX_PFN,
		.cpu = raw->cpu & (TRACE_MAX_CPUS - 1),
		.order = raw->order & 63,
		.alloc = raw->alloc,
		.hidden = raw->hidden,
	};
	return true;
}

static int compare_extents(const void *a, const void *b)
{
	const struct trace_extent *x = a, *y = b;

	return (x->pfn > y->pfn) - (x->pfn < y->pfn);
}

void trace_extents_finish(struct trace_extents *x)
{
	uint64_t pages = 0;
	size_t out = 0;

	if (!x->nr)
		return;
	qsort(x->v, x->nr, sizeof(*x->v), compare_extents);
	for (size_t i = 1; i < x->nr; i++) {
		struct trace_extent *last = &x->v[out];
		const struct trace_extent *e = &x->v[i];

		if (e->pfn > last->pfn + last->nr)
			x->v[++out] = *e;
		else if (e->pfn + e->nr > last->pfn + last->nr)
			last->nr = e->pfn + e->nr - last->pfn;
	}
	x->nr = out + 1;
	for (size_t i = 0; i < x->nr; i++) {
		x->v[i].first_page = pages;
		pages += x->v[i].nr;
	}
}

int trace_extents_add(struct trace_extents *x, uint64_t pfn, uint64_t nr)
{
	struct trace_extent *last = x->nr ? &x->v[x->nr - 1] : NULL;

	if (!nr)
		return 0;
	if (pfn > TRACE_MAX_PFN || nr > TRACE_MAX_PFN + 1 - pfn) {
		errno = EINVAL;
		return -1;
	}
	if (last && pfn == last->pfn + last->nr) {
		last->nr += nr;
		return 0;
	}
	if (x->nr == x->cap) {
		size_t cap = x->cap ? x->cap * 2 : 16;
		struct trace_extent *v = realloc(x->v, cap * sizeof(*v));

		if (!v)
			return -1;
		x->v = v;
		x->cap = cap;
	}
	x->v[x->nr++] = (struct trace_extent){ .pfn = pfn, .nr = nr };
	return 0;
}

uint64_t trace_extents_total(const struct trace_extents *x)
{
	uint64_t total = 0;

	for (size_t i = 0; i < x->nr; i++)
		total += x->v[i].nr;
	return total;
}

size_t trace_extents_find(const struct trace_extents *x, uint64_t pfn)
{
	size_t low = 0, high = x->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (x->v[middle].pfn + x->v[middle].nr > pfn)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool trace_page(const struct trace *t, uint64_t pfn, uint64_t *page)
{
	size_t i = trace_extents_find(&t->ranges, pfn);

	if (i == t->ranges.nr || t->ranges.v[i].pfn > pfn)
		return false;
	*page = t->ranges.v[i].first_page + (pfn - t->ranges.v[i].pfn);
	return true;
}

static const struct {
	const char *name;
	size_t offset;
} anomalies[TRACE_NR_ANOMALIES] = {
#define ANOMALY(field) { #field, offsetof(struct trace_anomalies, field) }
	ANOMALY(failed_alloc),
	ANOMALY(out_of_order),
	ANOMALY(repeated_free),
	ANOMALY(double_free),
	ANOMALY(double_alloc),
	ANOMALY(partial),
	ANOMALY(outside),
#undef ANOMALY
};

_Static_assert(sizeof(struct trace_anomalies) == TRACE_NR_ANOMALIES * sizeof(uint64_t),
	       "an anomaly without a name");

const char *trace_anomaly_name(size_t i)
{
	return anomalies[i].name;
}

uint64_t *trace_anomaly(struct trace_anomalies *a, size_t i)
{
	return (uint64_t *)((char *)a + anomalies[i].offset);
}

uint64_t trace_anomalies_total(const struct trace_anomalies *a)
{
	struct trace_anomalies copy = *a;
	uint64_t total = 0;

	for (size_t i = 0; i < TRACE_NR_ANOMALIES; i++)
		if (__builtin_add_overflow(total, *trace_anomaly(&copy, i), &total))
			return UINT64_MAX;
	return total;
}

void trace_anomalies_print(const struct trace_anomalies *a, char *text, size_t size)
{
	struct trace_anomalies copy = *a;
	size_t at = 0;

	snprintf(text, size, "none");
	for (size_t i = 0; i < TRACE_NR_ANOMALIES && at < size; i++) {
		uint64_t n = *trace_anomaly(&copy, i);

		if (n)
			at += (size_t)snprintf(text + at, size - at, "%s%llu %s", at ? ", " : "",
					       (unsigned long long)n, anomalies[i].name);
	}
}
