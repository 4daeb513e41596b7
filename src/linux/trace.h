/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace.h - the module's own tracepoints: events/fpt/ in tracefs
 *
 * fpt_isolate	one claim, and what the allocator said to it: 0 taken, 1 busy, 2 used
 * fpt_report	one batch to the host and back, or why not
 * fpt_pass	one pass over everything that was hinted
 *
 * None is in a hook: those run inside the allocator's own tracepoints.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM fpt

#if !defined(FPT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define FPT_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(fpt_isolate,
	TP_PROTO(unsigned long pfn, unsigned long nr, int answer),
	TP_ARGS(pfn, nr, answer),
	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned long, nr)
		__field(int, answer)
	),
	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->nr = nr;
		__entry->answer = answer;
	),
	TP_printk("pfn=0x%lx nr=%lu %s", __entry->pfn, __entry->nr,
		  __print_symbolic(__entry->answer, { 0, "taken" }, { 1, "busy" }, { 2, "used" }))
);

TRACE_EVENT(fpt_report,
	TP_PROTO(unsigned int ranges, unsigned long pages, u64 ns, int error),
	TP_ARGS(ranges, pages, ns, error),
	TP_STRUCT__entry(
		__field(unsigned int, ranges)
		__field(unsigned long, pages)
		__field(u64, ns)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->ranges = ranges;
		__entry->pages = pages;
		__entry->ns = ns;
		__entry->error = error;
	),
	TP_printk("ranges=%u pages=%lu ns=%llu error=%d", __entry->ranges, __entry->pages,
		  __entry->ns, __entry->error)
);

TRACE_EVENT(fpt_pass,
	TP_PROTO(bool flush, long pages, u64 ns),
	TP_ARGS(flush, pages, ns),
	TP_STRUCT__entry(
		__field(bool, flush)
		__field(long, pages)
		__field(u64, ns)
	),
	TP_fast_assign(
		__entry->flush = flush;
		__entry->pages = pages;
		__entry->ns = ns;
	),
	TP_printk("%s pages=%ld ns=%llu", __entry->flush ? "flush" : "period", __entry->pages,
		  __entry->ns)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
