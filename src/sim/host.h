/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * host.h - the host: gives the memory behind reported ranges back to the kernel, for real
 */
#ifndef FPT_SIM_HOST_H
#define FPT_SIM_HOST_H

#include "sim/guest.h"

#include <fpt/report.h>

enum host_discard {
	HOST_DONTNEED,		/* madvise(MADV_DONTNEED) on private memory */
	HOST_PUNCH,		/* fallocate(FALLOC_FL_PUNCH_HOLE) on a memfd */
	HOST_FREE,		/* madvise(MADV_FREE), then MADV_PAGEOUT: reclaim under pressure, forced */
};

struct host {
	struct guest *g;
	enum host_discard how;
	uint64_t calls;		/* system calls that discard */
	uint64_t ranges;	/* ranges discarded: neighbours that were merged count once */
};

enum guest_backing host_backing(enum host_discard how);

/*
 * Discard a batch, or any ranges; neighbouring ones go in one call. Nothing happens to a guest that
 * is not touched.
 */
int host_discard_ranges(struct host *h, const struct fpt_range *r, size_t nr,
			struct trace_error *err);
int host_discard(struct host *h, const struct fpt_batch *b, struct trace_error *err);

#endif
