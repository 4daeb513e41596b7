/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace.h - page traces: what they are in memory, in a file, and as text
 *
 * A trace is the history of one machine's page allocator: who took which pages and when they became
 * free again, with what was free before and after.
 *
 * The file (format version 1, all integers little-endian):
 *
 *	"FPTTRACE"  u32 version  | one zstd frame with a content checksum, nothing after it:
 *	section*                 |   u8 tag, u64 length (at most 2 MiB), length bytes
 *
 *	'H' header	JSON: page_size, cpus, has_snapshot, source; first section
 *	'R' ranges	extents of valid pfns
 *	'B' before	extents that were free at time 0 (with a snapshot only)
 *	'E' events	at most 65536 of them
 *	'A' after	extents that were free at the end (with a snapshot only)
 *	'T' trailer	JSON: events, lost, duration_ns, anomalies; last section: a file
 *			without one is truncated
 *
 * in this order; R, B, E and A come any number of times, one going on where the one before stopped.
 *
 *	extents		for each: varint of the gap to the end of the extent before, varint of
 *			the length
 *	events		varint of their number, varint of the length of the first column, varint
 *			of the length of the second; then three columns, one entry per event:
 *			1. varint of zigzag(ns - ns of the event before)
 *			2. varint of hidden << 19 | order << 13 | cpu << 1 | alloc
 *			3. varint of zigzag(pfn - pfn of the same CPU's event before)
 *
 * A varint has seven bits per byte, lowest first; all but the last byte have the top bit set.
 * Columns make a file 30 to 45 % smaller than events one after the other: they compress better.
 *
 * Nothing here is thread-safe: one trace, one thread, until it is loaded; then it is read-only.
 */
#ifndef FPT_TRACE_H
#define FPT_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_VERSION	1
#define TRACE_MAX_CPUS	4096u		/* what struct trace_event can name */
#define TRACE_MAX_ORDER	20u
#define TRACE_MAX_PFN	((UINT64_C(1) << 44) - 1)
#define TRACE_MAX_PAGES	(UINT64_C(1) << 34)	/* in all ranges together */

/*
 * One event, 16 bytes. ns counts from the start of the trace.
 *
 * A hidden event happened, but a tracker's hooks do not see it, as the kernel's tracepoints do not
 * see bulk allocations. A recording has none (its blind spots are anomalies of later events); a
 * generated trace keeps them, so that replay knows what is true and can still lose them.
 */
struct trace_event {
	uint64_t ns;
	uint64_t pfn : 44;
	uint64_t cpu : 12;
	uint64_t order : 6;
	uint64_t alloc : 1;		/* 1: taken from the allocator, 0: given back */
	uint64_t hidden : 1;
};

struct trace_extent {
	uint64_t pfn;
	uint64_t nr;
	uint64_t first_page;		/* pages in all extents before, by trace_extents_finish() */
};

/* Sorted by pfn, disjoint, neighbours merged. */
struct trace_extents {
	struct trace_extent *v;
	size_t nr;
	size_t cap;
};

/* What was observed that a history cannot hold. Events, unless it says pages. */
struct trace_anomalies {
	uint64_t failed_alloc;		/* pfn -1: nothing was allocated; skipped */
	uint64_t out_of_order;		/* time went back (unsynchronised clocks); sorted */
	uint64_t repeated_free;		/* frees that repeat one just before (batched); skipped */
	uint64_t double_free;		/* pages freed that were free (their allocation was not
					   seen); skipped */
	uint64_t double_alloc;		/* pages allocated that were held (their free was not seen);
					   skipped */
	uint64_t partial;		/* only some pages were in the right state; cut to these */
	uint64_t outside;		/* pages in no valid range; skipped */
};

#define TRACE_NR_ANOMALIES	7

struct trace {
	uint32_t page_size;		/* bytes */
	uint32_t nr_cpus;		/* every event's cpu is below */
	uint64_t duration_ns;		/* length of the recording; at least the last event's ns */
	uint64_t lost;			/* events that the recorder could not keep */
	struct trace_anomalies recorded;/* what is no longer among the events: left out by the
					   recorder, the import or an earlier trace_normalise() */
	bool has_snapshot;		/* free_before and free_after were read off the machine */
	char *source;			/* free text: what was recorded, where and how */
	struct trace_extents ranges;	/* valid pfns */
	struct trace_extents free_before;
	struct trace_extents free_after;
	struct trace_event *events;
	size_t nr_events;
	size_t cap_events;
};

/*
 * Every function that takes one and can fail returns 0 or -1 and says what, where and what to do in
 * one line here.
 */
struct trace_error {
	char text[512];
};

void trace_init(struct trace *t);
void trace_destroy(struct trace *t);	/* leaves it as trace_init() does */

/* Appends. -1 only without memory. */
int trace_add_event(struct trace *t, const struct trace_event *e, struct trace_error *err);

/*
 * In any order, also overlapping. -1 without memory and for pfns above TRACE_MAX_PFN. Nothing may
 * look at the extents before trace_extents_finish() has sorted and merged them; more can be added
 * afterwards, then finish again.
 */
int trace_extents_add(struct trace_extents *x, uint64_t pfn, uint64_t nr);
void trace_extents_finish(struct trace_extents *x);
uint64_t trace_extents_total(const struct trace_extents *x);

/*
 * Dense page numbers: the valid pfns counted from 0 in ascending order, holes left out.
 * trace_page() returns false for a pfn in no range.
 */
bool trace_page(const struct trace *t, uint64_t pfn, uint64_t *page);

/*
 * Whole file in, whole file out. trace_load() takes *t as trace_init() left it, and leaves it so
 * when it fails. trace_save() writes beside PATH and renames at the end, so that a failure leaves
 * what was there before (a device or pipe is written to directly); path "-" is not accepted. It
 * refuses what trace_load() would refuse.
 */
int trace_load(struct trace *t, const char *path, struct trace_error *err);
int trace_save(const struct trace *t, const char *path, struct trace_error *err);

/*
 * Turn a recording into a history: sort by time (stable), drop repeats and events outside the
 * ranges, and make every remaining event act on pages that are all in the state it needs (free
 * before an alloc, held before a free); where only a part is, the event becomes the naturally
 * aligned power-of-two pieces of that part. Afterwards free_before is what is free at time 0 also
 * without a snapshot: a page whose first event takes it was free, one whose first event frees it
 * was held, one that the trace never names counts as held. With a snapshot, free_before rules,
 * except that a page whose first event takes it was free (the snapshot cannot see pages in per-CPU
 * lists). free_after stays as it was read.
 *
 * A free of free pages is a repeat when the same CPU freed the same pfn and order at most a
 * millisecond and 512 events before and they were not taken since; all others are double frees.
 *
 * What it finds is added to t->recorded, and *a (may be NULL) is that sum: doing it twice changes
 * nothing. Memory: 3 bits per page. After a failure *t is only good for trace_destroy().
 */
int trace_normalise(struct trace *t, struct trace_anomalies *a, struct trace_error *err);

/* What trace_normalise() would count; the trace stays a recording. Copies the events. */
int trace_check(const struct trace *t, struct trace_anomalies *a, struct trace_error *err);

uint64_t trace_anomalies_total(const struct trace_anomalies *a);

/* The anomalies one by one, i < TRACE_NR_ANOMALIES, for those who print or store them all. */
const char *trace_anomaly_name(size_t i);	/* the field's name */
uint64_t *trace_anomaly(struct trace_anomalies *a, size_t i);

/* "3 double_free, 1 partial", or "none"; cut to SIZE. */
void trace_anomalies_print(const struct trace_anomalies *a, char *text, size_t size);

/*
 * ftrace text (/sys/kernel/tracing/trace, trace-cmd report, perf script; plain, gzip or zstd), from
 * PATH or "-", into *t as trace_init() left it. page_size 0: 4096. On success *lines_skipped counts
 * lines that are neither page events nor headers; a page event that makes no sense is an error.
 *
 * Text does not say which pfns are valid: ranges become the aligned areas of 1024 pages in which a
 * page was named. Failed allocations and mm_page_free_batched (it repeats mm_page_free) are counted
 * in t->recorded. Times count from the earliest event; integers are taken for nanoseconds.
 */
int trace_import_text(struct trace *t, const char *path, uint32_t page_size,
		      uint64_t *lines_skipped, struct trace_error *err);

#endif
