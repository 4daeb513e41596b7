/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* internal.h - what the files of the trace library share with each other only */
#ifndef FPT_TRACE_INTERNAL_H
#define FPT_TRACE_INTERNAL_H

#include "trace/trace.h"

/* Sets the line (err may be NULL) and returns -1. */
int trace_fail(struct trace_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* An event before it is known to fit into struct trace_event. */
struct trace_raw_event {
	uint64_t ns;
	uint64_t pfn;
	uint64_t cpu;
	uint64_t order;
	bool alloc;
	bool hidden;
};

/* False when it does not fit or its CPU is not below NR_CPUS; why says so. */
bool trace_event_make(struct trace_event *e, const struct trace_raw_event *raw, uint64_t nr_cpus,
		      char *why, size_t size);

/* The first extent that ends above pfn; x->nr if none does. */
size_t trace_extents_find(const struct trace_extents *x, uint64_t pfn);

#endif
