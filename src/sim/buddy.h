/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * buddy.h - a model of upstream free page reporting (Linux 5.7 and later, mm/page_reporting.c)
 *
 * Upstream has no tracker: a worker walks the buddy allocator's free lists of large blocks. What
 * matters of it here: free blocks merge up to order 10; freeing a block of the reporting order or
 * more requests a pass 2 s later (the caller keeps the time, see requested); a pass walks each
 * list, reports blocks that do not carry the Reported mark in batches of 32, at most 1/16 of a
 * list, and leaves the rest for another pass 2 s later; reported blocks go back to the list's
 * tail; taking or merging a block drops its mark.
 *
 * Left out: pages in per-CPU lists count as merged at once, there is one zone and one migrate
 * type, and no watermark. Single-threaded: for replay in virtual time only.
 */
#ifndef FPT_SIM_BUDDY_H
#define FPT_SIM_BUDDY_H

#include "sim/guest.h"

#include <fpt/report.h>

#define BUDDY_DELAY_NS UINT64_C(2000000000)

struct buddy_list {
	uint32_t first, last;		/* block numbers (page >> order of reporting), BUDDY_NONE */
	uint64_t nr;
};

struct buddy {
	struct guest *g;
	uint8_t *head;			/* per page: order + 1 of the free block that begins here, or 0 */
	uint8_t *reported;		/* per block */
	uint32_t *next, *prev;		/* per block */
	struct buddy_list list[GUEST_MAX_ORDER + 1];
	bool requested;			/* a pass is wanted */
	unsigned int pass_order;	/* the list that the pass is at */
	struct fpt_policy policy;	/* upstream: batches of 32 */
	bool pass_started;		/* the list's budget is set */
	long pass_budget;		/* full batches that it may still take from it, less one */
};

/* Of the policy: batch and max_in_flight. */
int buddy_init(struct buddy *b, struct guest *g, const struct fpt_policy *policy,
	       struct trace_error *err);
void buddy_destroy(struct buddy *b);

/* As guest_give() and guest_take() go: pages come and go. */
void buddy_give(struct buddy *b, uint64_t page, unsigned int order);
void buddy_take(struct buddy *b, uint64_t page, unsigned int order);

/*
 * A pass: begin, then batches until one is empty. Blocks in a batch are isolated and out of the
 * lists.
 */
void buddy_pass_begin(struct buddy *b);
unsigned int buddy_pass_next(struct buddy *b, struct fpt_batch *batch);
void buddy_pass_complete(struct buddy *b, struct fpt_batch *batch);

/*
 * What upstream adds to the hooks: nothing but a look at the order. Counted as the tracker
 * "buddy".
 */
extern const struct fpt_ops buddy_ops;

#endif
