/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * freepages.h - which pages of the running machine are free, as of one moment of a recording
 *
 * Read from /proc/kpageflags (KPF_BUDDY), which takes a while: 10 ms to some seconds. Events go on
 * meanwhile, so the pages are read in chunks, the time of each is kept, and the recorded events
 * carry the result back to the start of the recording or forward to its end.
 *
 *	page's first event	its state at the start
 *	before its read ended	what the event needs: held before a free, free before an allocation
 *	later, or none		as read
 *
 * and the same backwards from the end. Both are exact up to this: pages in the kernel's per-CPU
 * lists are not KPF_BUDDY and read as held, although their last event freed them (see
 * trace_normalise() for what becomes of them), and neither reading nor events show pages that the
 * kernel takes without an event (bulk allocation, compaction).
 */
#ifndef FPT_FREEPAGES_H
#define FPT_FREEPAGES_H

#include "capture.h"

struct freepages;

/* Adds the machine's RAM: /proc/iomem, which shows the addresses to root only. */
int freepages_ranges(struct trace_extents *ranges, struct trace_error *err);

/*
 * Reads every page's state in RANGES, draining C meanwhile. Fails if the number of free pages
 * disagrees with the kernel's own count by more than 1 % of the managed pages (pages in per-CPU
 * lists allowed for), after some more tries.
 */
int freepages_read(struct freepages **fp, const struct trace_extents *ranges, struct capture *c,
		   struct trace_error *err);

/* EVENTS: all of the recording, sorted by time. -1 only without memory. */
int freepages_to_start(struct freepages *f, const struct trace_event *events, size_t nr);
int freepages_to_end(struct freepages *f, const struct trace_event *events, size_t nr);

int freepages_extents(const struct freepages *f, struct trace_extents *x, struct trace_error *err);
void freepages_free(struct freepages *f);

#endif
