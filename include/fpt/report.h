/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * report.h - taking free blocks out of a tracker, to the host, and back
 *
 *	HINTED --claim--> CLAIMED --isolate--> TAKEN --report--> SUBMITTED --complete--> put back, reported
 *	   ^                 |                                       |
 *	   +--- BUSY --------+--- USED: until next freed             +--- refused: hint kept
 *
 * The isolate protocol: before the host may discard a block, the owner of the memory (the
 * allocator) takes it out, so that nobody can be given a page of it. The tracker's word is a hint;
 * isolation decides. That is what keeps data safe (a stale hint costs an attempt, never a page).
 *
 * Pull: the reporter decides when. One pass is fpt_pass_begin() and then fpt_pass_next() until it
 * submits nothing though fewer than max_in_flight pages are out. Whatever was freed, and not
 * touched since, before a pass began is found by it, or by the next where a tracker's header says
 * "two drains" or another reporter's pass overlaps.
 *
 * Who may call what: a struct fpt_reporter is one caller's at a time. Several reporters may work
 * on one tracker concurrently with each other and with all hooks. The callbacks may sleep if the
 * caller may; they run with nothing held.
 *
 * Progress: lock-free but for the callbacks.
 *
 * Full: at most max_in_flight pages are out at once; a pass that reaches it goes on when a batch
 * completes.
 */
#ifndef FPT_REPORT_H
#define FPT_REPORT_H

#include <fpt/tracker.h>

/* What isolate answers. */
enum fpt_isolated {
	FPT_TAKEN,	/* out of the allocator: the host may discard it until put_back */
	FPT_BUSY,	/* could not be taken now (raced, a per-CPU list, a watermark, unknown): try again */
	FPT_USED,	/* a page of it is owned: its alloc hook has returned, its free hook was not called yet */
};

/* The owner of the memory, and the way to the host. */
struct fpt_owner_ops {
	/* Take all pages of r out of the allocator, or none. */
	enum fpt_isolated (*isolate)(void *ctx, struct fpt_range r);
	/* Give back what isolate took. */
	void (*put_back)(void *ctx, struct fpt_range r);
	/*
	 * For trackers whose hooks do not see allocations (ops->retracts is false), else unused:
	 * false when the page is owned. True from before its free hook is called until it is taken
	 * again: a page on its way back is free here, or its hint could be lost. May answer true
	 * when in doubt. NULL: always true.
	 */
	bool (*is_free)(void *ctx, fpt_pfn_t pfn);
};

#define FPT_BATCH_MAX 32	/* as upstream's page reporting */

/* Ranges on their way to the host and back: the caller's memory, until completed. */
struct fpt_batch {
	unsigned int nr;
	struct fpt_range range[FPT_BATCH_MAX];
};

struct fpt_reporter {
	struct fpt *t;
	const struct fpt_owner_ops *owner;
	void *ctx;				/* for the callbacks */
	unsigned int batch;			/* ranges per batch, at most FPT_BATCH_MAX */
	unsigned long max_in_flight;		/* pages, at least one block */
	unsigned long in_flight;		/* pages out: taken or submitted */
	struct fpt_cursor cursor;
	bool over;				/* the pass has come to the end of the bitmap */
};

/* FPT_EINVAL: batch is 0 or above FPT_BATCH_MAX, or max_in_flight is below one block. */
static inline int fpt_reporter_init(struct fpt_reporter *rep, struct fpt *t,
				    const struct fpt_owner_ops *owner, void *ctx,
				    unsigned int batch, unsigned long max_in_flight)
{
	if (!batch || batch > FPT_BATCH_MAX || max_in_flight >> t->back.order == 0)
		return FPT_EINVAL;
	fpt_zero(rep, sizeof(*rep));
	rep->t = t;
	rep->owner = owner;
	rep->ctx = ctx;
	rep->batch = batch;
	rep->max_in_flight = max_in_flight;
	return FPT_OK;
}

/*
 * HINTED -> CLAIMED. Claims blocks from the cursor on, up to max; returns how many, and fewer than
 * max only when it has come to the end (the cursor is then at the beginning again). Every claim is
 * ended with fpt_release() or, once its block is isolated, with fpt_submit() and fpt_complete().
 * Most callers use fpt_pass_next(), which does all of this.
 */
static inline unsigned int fpt_claim(struct fpt *t, struct fpt_cursor *cursor,
				     struct fpt_range *claim, unsigned int max)
{
	unsigned int n = 0;

	while (n < max && fpt_xbitmap_claim(&t->back, cursor, &claim[n]))
		n++;
	if (n)
		fpt_count(t, fpt_cpu(t->nr_cpus), FPT_STAT_CLAIMED,
			  (unsigned long)n << t->back.order);
	return n;
}

/* CLAIMED -> HINTED (why: FPT_BUSY), or not hinted until a page of it is freed again (FPT_USED). */
static inline void fpt_release(struct fpt *t, const struct fpt_range *claim, enum fpt_isolated why)
{
	FPT_ASSERT(why != FPT_TAKEN);
	fpt_count(t, fpt_cpu(t->nr_cpus), why == FPT_USED ? FPT_STAT_USED : FPT_STAT_BUSY,
		  claim->nr);
	fpt_xbitmap_end_claim(&t->back, claim, why != FPT_USED);
}

/* CLAIMED -> SUBMITTED. The block is isolated and goes to the host now. */
static inline void fpt_submit(struct fpt *t, const struct fpt_range *claim)
{
	fpt_xbitmap_submit(&t->back, claim);
}

/*
 * SUBMITTED -> reported (ok), or HINTED again. Call after the block is back in the allocator: the
 * claim keeps others away until then.
 */
static inline void fpt_complete(struct fpt *t, const struct fpt_range *claim, bool ok)
{
	fpt_count(t, fpt_cpu(t->nr_cpus), ok ? FPT_STAT_REPORTED : FPT_STAT_FAILED, claim->nr);
	fpt_xbitmap_end_claim(&t->back, claim, !ok);
}

/*
 * A tracker that does not see allocations keeps bits of pages long used. Clear those that the
 * owner says are used, then ask again: a page freed in between is set by its free after the clear,
 * or found free here and set again.
 */
static inline void fpt_forget_used(struct fpt_reporter *rep, const struct fpt_range *claim)
{
	unsigned int cpu = fpt_cpu(rep->t->nr_cpus);
	fpt_pfn_t i;

	if (rep->t->ops->retracts || !rep->owner->is_free)
		return;
	for (i = 0; i < claim->nr; i++) {
		if (rep->owner->is_free(rep->ctx, claim->pfn + i))
			continue;
		fpt_update_back(rep->t, cpu, claim->pfn + i, 1, false);
		/* Acquire: the owner's answer is no older than a set that the clear undid. */
		(void)fpt_xbitmap_test(&rep->t->back, claim->pfn + i);
		if (rep->owner->is_free(rep->ctx, claim->pfn + i))
			fpt_update_back(rep->t, cpu, claim->pfn + i, 1, true);
	}
}

/* Drain the front, and begin at the beginning. */
static inline void fpt_pass_begin(struct fpt_reporter *rep)
{
	if (rep->t->ops->drain)
		rep->t->ops->drain(rep->t);
	rep->cursor.range = 0;
	rep->cursor.block = 0;
	rep->over = false;
}

/*
 * Claim and isolate the next blocks into b. Returns how many: hand them to the host, then call
 * fpt_pass_complete(). 0: the pass is over, or max_in_flight pages are out.
 */
static inline unsigned int fpt_pass_next(struct fpt_reporter *rep, struct fpt_batch *b)
{
	unsigned long block = 1UL << rep->t->back.order;

	b->nr = 0;
	while (!rep->over && b->nr < rep->batch && rep->max_in_flight - rep->in_flight >= block) {
		struct fpt_range *claim = &b->range[b->nr];
		enum fpt_isolated got;

		/*
		 * Not from the beginning again: a block that was busy or refused waits for the
		 * next pass.
		 */
		if (!fpt_claim(rep->t, &rep->cursor, claim, 1)) {
			rep->over = true;
			break;
		}
		got = rep->owner->isolate(rep->ctx, *claim);
		if (got != FPT_TAKEN) {
			if (got == FPT_USED)
				fpt_forget_used(rep, claim);
			fpt_release(rep->t, claim, got);
			continue;
		}
		fpt_submit(rep->t, claim);
		rep->in_flight += claim->nr;
		b->nr++;
	}
	return b->nr;
}

/* The host has discarded the batch (ok), or refused it: everything goes back to the allocator. */
static inline void fpt_pass_complete(struct fpt_reporter *rep, struct fpt_batch *b, bool ok)
{
	unsigned int i;

	for (i = 0; i < b->nr; i++) {
		rep->owner->put_back(rep->ctx, b->range[i]);
		rep->in_flight -= b->range[i].nr;
		fpt_complete(rep->t, &b->range[i], ok);
	}
	b->nr = 0;
}

#endif
