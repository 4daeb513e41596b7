/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * report.h - taking free blocks out of a tracker, to the host, and back
 *
 * Two protocols keep an owner from a page that the host may discard (struct fpt_config):
 *
 *	FPT_ISOLATE
 *	HINTED --claim--> CLAIMED --isolate--> SUBMITTED --complete--> put back, reported
 *	   ^                 |    TAKEN            |
 *	   +----- BUSY ------+-- USED: until next  +-- refused: hint kept
 *	                         freed
 *
 *	FPT_TICKET
 *	HINTED --claim--> CLAIMED --submit--> SUBMITTED --complete--> reported
 *	                     |                    |
 *	                     +-- an alloc cancels +-- refused, or given up: hint kept
 *
 * Isolate: the owner of the memory (the allocator) takes a block out first, so that nobody can be
 * given a page of it. The tracker's word is a hint; isolation decides. That is what keeps data safe
 * (a stale hint costs an attempt, never a page).
 *
 * Ticket: nothing is taken out. The alloc hook cancels a claim that was not submitted, and says
 * FPT_IN_FLIGHT of one that was: the owner waits (fpt_wait()), and can ask for that block first
 * (fpt_expedite()). Safe because the hooks see every event, and the tracker is exact; so a source
 * that misses events, and trackers that cannot tell (neither fpt_ops.retracts nor .cut), are
 * refused at init. Where it is a cut that tells (delta), each batch has one, between claim and
 * submit.
 *
 * fpt_get_hints() and fpt_put_hints() are the interface that was proposed in 2018, over tickets: a
 * chunk is in flight from get to put, and an allocation that meets it waits, or asks for it first.
 *
 * Pull: the reporter decides when. One pass is fpt_pass_begin() and then fpt_pass_next() until it
 * submits nothing though fewer than max_in_flight pages are out. Whatever was freed, and not
 * touched since, before a pass began is found by it, or by the next where a tracker's header says
 * "two drains" or another reporter's pass overlaps.
 *
 * Push: fpt_due() says when a pass is worth it, by amount and by age. It reads what hooks count
 * anyway; no hook wakes anybody. Poll it from a timer or the platform's deferred work.
 *
 * Who may call what: a struct fpt_reporter is one caller's at a time. Several reporters may work
 * on one tracker concurrently with each other and with all hooks. The callbacks may sleep if the
 * caller may; they run with nothing held. Batches of one reporter may be completed in any order.
 *
 * Heat (policy.cold; delta): a block goes out only when nothing has touched it for so many ticks,
 * the pass that began the tick included. A tick is a pass begun by a reporter with such a policy:
 * have one. Folds do not count, there are more of them. What is hot keeps its hint. A flush takes
 * all.
 *
 * Progress: lock-free but for the callbacks and for fences: those of drains (array, bitmap, delta:
 * fpt_pass_begin(), fpt_flush(), fpt_get_hints()) and of cuts (delta with tickets: fpt_pass_next(),
 * fpt_pass_submit(), fpt_submit()), which sleep in the kernel. fpt_wait() blocks.
 *
 * Full: at most max_in_flight pages are out at once, claimed or submitted; a pass that reaches it
 * goes on when a batch completes.
 *
 * Time is in ticks of the caller's clock, which may wrap around.
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

/* The owner of the memory. */
struct fpt_owner_ops {
	/* Take all pages of r out of the allocator, or none. Ticket protocol: not called. */
	enum fpt_isolated (*isolate)(void *ctx, struct fpt_range r);
	/* Give back what isolate took. Ticket protocol: not called. */
	void (*put_back)(void *ctx, struct fpt_range r);
	/*
	 * For backs that may hint what is owned (trackers whose hooks do not see allocations, lossy
	 * sources, a switch from such a tracker), else unused: false when the page is owned. True
	 * from before its free hook is called until it is taken again: a page on its way back is
	 * free here, or its hint could be lost. May answer true when in doubt. NULL: always true.
	 */
	bool (*is_free)(void *ctx, fpt_pfn_t pfn);
};

#define FPT_BATCH_MAX 32	/* as upstream's page reporting */

/* Ranges on their way to the host and back: the caller's memory, until completed. */
struct fpt_batch {
	unsigned int nr;
	struct fpt_range range[FPT_BATCH_MAX];
	unsigned long ticket[FPT_BATCH_MAX];
	unsigned long since;		/* when it was submitted */
};

/* When to report, and how much. */
struct fpt_policy {
	unsigned int batch;		/* ranges per batch, at most FPT_BATCH_MAX */
	unsigned long max_in_flight;	/* pages, at least one block */
	unsigned int min_order;		/* leave free runs below this order hinted; 0: none */
	unsigned long amount;		/* pages freed that make a pass due; 0: no such trigger */
	unsigned long age;		/* ticks after which any free makes one due; 0: no such trigger */
	unsigned int cold;		/* passes that a block was untouched for; 0: any. At most 7 */
	unsigned long timeout;		/* ticks that the host has for a batch; 0: as long as it likes */
};

struct fpt_reporter {
	struct fpt *t;
	const struct fpt_owner_ops *owner;
	void *ctx;			/* for the callbacks */
	struct fpt_policy policy;
	unsigned long in_flight;	/* pages out: claimed, taken or submitted */
	struct fpt_cursor cursor;
	bool over;			/* no pass, or it has come to the end of the bitmap */
	unsigned long now;		/* as last told by fpt_due() */
	unsigned long freed;		/* FPT_STAT_FREED when the pass began */
	bool flushing;			/* fpt_flush(): what is hot, too */
	bool left;			/* a hint was met and kept since then */
	bool pending;			/* fpt_due() has seen something to report */
	unsigned long pending_since;
	unsigned long expedited;	/* what fpt_expedite_due() has seen */
};

/* What cannot be reported, and why: the table in fpt.h. Bits. */
enum fpt_refusal {
	FPT_REFUSE_POISON = 1,		/* free pages hold a pattern that is checked */
	FPT_REFUSE_ZEROED = 2,		/* free pages hold zeroes that are relied upon */
	FPT_REFUSE_DEVICE = 4,		/* an assigned device can write to the guest's memory */
	FPT_REFUSE_HUGETLB = 8,		/* the host backs the guest with pages that it cannot take back */
	FPT_REFUSE_OTHER = 16,		/* the caller's reason */
};

/*
 * Nothing is to be reported from now on, for the reasons given (or no longer for these: permit).
 * While there is a reason, passes claim nothing and submit nothing that they had claimed before;
 * what the host has already comes back as usual. A pass that runs on another CPU just now may still
 * submit what it has isolated, a batch at most. Any context. Wait-free.
 */
static inline void fpt_refuse(struct fpt *t, unsigned long reasons)
{
	fpt_or(&t->refused, reasons, seq_cst);
}

static inline void fpt_permit(struct fpt *t, unsigned long reasons)
{
	fpt_and(&t->refused, ~reasons, relaxed);
}

/* The reasons why nothing is reported now; 0: none. Any context. Wait-free. */
static inline unsigned long fpt_refused(struct fpt *t)
{
	return fpt_load(&t->refused, relaxed);
}

/*
 * FPT_EINVAL: batch is 0 or above FPT_BATCH_MAX, max_in_flight is below one block, min_order
 * above FPT_MAX_ORDER, or cold above FPT_XBITMAP_MAX_AGE. FPT_ENOTSUP: cold, of a tracker that does
 * not know what is hot (all but delta). The policy is copied, and may be changed in rep between two
 * passes, within these bounds.
 */
static inline int fpt_reporter_init(struct fpt_reporter *rep, struct fpt *t,
				    const struct fpt_owner_ops *owner, void *ctx,
				    const struct fpt_policy *policy)
{
	if (!policy->batch || policy->batch > FPT_BATCH_MAX ||
	    policy->max_in_flight >> t->back.order == 0 || policy->min_order > FPT_MAX_ORDER ||
	    policy->cold > FPT_XBITMAP_MAX_AGE)
		return FPT_EINVAL;
	if (policy->cold && !t->back.heat)
		return FPT_ENOTSUP;
	fpt_zero(rep, sizeof(*rep));
	rep->t = t;
	rep->owner = owner;
	rep->ctx = ctx;
	rep->policy = *policy;
	rep->over = true;
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
	unsigned int n = fpt_xbitmap_claim(&t->back, cursor, claim, max);

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

/* Does a claim have to wait for a cut? */
static inline bool fpt_cuts(struct fpt *t)
{
	return t->back.tickets && fpt_tracker(t)->cut;
}

/*
 * Once for any number of claims, between them and their submissions: the back learns of the
 * allocations that do not. False: none of them can be submitted now.
 */
static inline bool fpt_cut(struct fpt *t)
{
	return !fpt_cuts(t) || fpt_tracker(t)->cut(t);
}

/* fpt_submit() of a claim that a cut came after. */
static inline unsigned long fpt_submit_cut(struct fpt *t, const struct fpt_range *claim)
{
	/* An allocation that did not see the claim: what it would have done is done here. */
	if (fpt_cuts(t) && !fpt_xbitmap_is_full(&t->back, claim))
		(void)fpt_take_tickets(t, claim->pfn, 1);
	return fpt_xbitmap_submit(&t->back, claim);
}

/*
 * CLAIMED -> SUBMITTED: the block goes to the host now. Isolate: it was taken; returns 1. Ticket:
 * returns its ticket, or 0: an allocation has cancelled the claim, which is over; or it is over
 * because another reporter was just folding (delta), and the hint is kept. With delta a fold for
 * each call: fpt_pass_next() and fpt_pass_submit() need one per batch.
 */
static inline unsigned long fpt_submit(struct fpt *t, const struct fpt_range *claim)
{
	if (fpt_cut(t))
		return fpt_submit_cut(t, claim);
	fpt_release(t, claim, FPT_BUSY);
	return 0;
}

/*
 * SUBMITTED -> reported (ok), or HINTED again. Isolate: call after the block is back in the
 * allocator; the claim keeps others away until then. False, ticket protocol only: this submission
 * is over already, so nothing was done.
 */
static inline bool fpt_complete(struct fpt *t, const struct fpt_range *claim, unsigned long ticket,
				bool ok)
{
	unsigned int cpu = fpt_cpu(t->nr_cpus);

	if (t->back.tickets) {
		fpt_pfn_t last;
		fpt_atomic_t *w = fpt_ticket_at(t, claim->pfn, &last);

		/* NULL: the range was removed when this submission was over. */
		if (!w || !fpt_ticket_end(w, ticket)) {
			fpt_count(t, cpu, FPT_STAT_LATE, claim->nr);
			return false;
		}
	}
	fpt_count(t, cpu, ok ? FPT_STAT_REPORTED : FPT_STAT_FAILED, claim->nr);
	fpt_xbitmap_end_claim(&t->back, claim, !ok || t->report_again);
	return true;
}

/*
 * The back may hint pages long used. Clear those that the owner says are used, then ask again: a
 * page freed in between is set by its free after the clear, or found free here and set again.
 */
static inline void fpt_forget_used(struct fpt_reporter *rep, const struct fpt_range *claim)
{
	unsigned int cpu = fpt_cpu(rep->t->nr_cpus);
	fpt_pfn_t i;

	/*
	 * Where hooks toggle, the alloc may just not be in the back yet: audits, and nothing else.
	 */
	if (fpt_tracker(rep->t)->toggles)
		return;
	if (!fpt_load(&rep->t->stale, relaxed) || !rep->owner->is_free)
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

/* Move what fronts hold to the back: the tracker's, and those that it was switched from. */
static inline void fpt_drain(struct fpt *t)
{
	unsigned long fronts = fpt_load(&t->fronts, acquire);	/* pairs with fpt_use()'s */

	for (; fronts; fronts &= fronts - 1)
		fpt_slot_ops(t, fpt_ctz(fronts))->drain(t);
}

/* Pages freed so far. */
static inline unsigned long fpt_freed(struct fpt *t)
{
	unsigned long sum = 0;
	unsigned int cpu;

	for (cpu = 0; cpu <= t->nr_cpus; cpu++)
		sum += fpt_load(&t->percpu[cpu].count[FPT_STAT_FREED], relaxed);
	return sum;
}

/* Drain the front, and begin at the beginning. */
static inline void fpt_pass_begin(struct fpt_reporter *rep)
{
	rep->freed = fpt_freed(rep->t);
	rep->pending = false;
	rep->left = false;
	fpt_drain(rep->t);
	if (rep->policy.cold && !rep->flushing)
		fpt_xbitmap_tick(&rep->t->back);
	rep->cursor.range = 0;
	rep->cursor.block = 0;
	rep->over = false;
}

/* Is the free run around a claimed block large enough for the policy? */
static inline bool fpt_run_is_large(struct fpt_reporter *rep, const struct fpt_range *claim)
{
	struct fpt_xbitmap *x = &rep->t->back;
	struct fpt_xbitmap_range *r;
	fpt_pfn_t first, b, nr;

	if (rep->policy.min_order <= x->order)
		return true;
	r = fpt_xbitmap_range_of(x, claim->pfn);
	nr = 1UL << (rep->policy.min_order - x->order);
	first = claim->pfn >> rep->policy.min_order << rep->policy.min_order;
	if (first < r->base)
		return false;
	first = (first - r->base) >> x->order;
	for (b = first; b - first < nr; b++) {
		unsigned long chunk;

		if (b >= r->nr_blocks || !fpt_xbitmap_inside(x, r, b))
			return false;
		chunk = fpt_xbitmap_chunk(x, r, (b << x->order) >> x->chunk_shift, false);
		if (chunk != FPT_XBITMAP_COARSE && (!chunk || !fpt_xbitmap_full(x, chunk, b)))
			return false;
	}
	return true;
}

/* Was a claimed block left alone for long enough? */
static inline bool fpt_is_cold(struct fpt_reporter *rep, const struct fpt_range *claim)
{
	return !rep->policy.cold || rep->flushing ||
	       fpt_xbitmap_age(&rep->t->back, claim) >= rep->policy.cold;
}

/* How many more blocks may be out? A policy changed meanwhile may allow fewer than are already. */
static inline unsigned long fpt_pass_room(const struct fpt_reporter *rep)
{
	return rep->in_flight < rep->policy.max_in_flight ?
	       (rep->policy.max_in_flight - rep->in_flight) >> rep->t->back.order : 0;
}

/* Those of n claims that the policy lets go, first. Returns how many. */
static inline unsigned int fpt_pass_keep(struct fpt_reporter *rep, struct fpt_range *claim,
					 unsigned int n)
{
	unsigned int i, kept = 0;

	for (i = 0; i < n; i++) {
		if (fpt_run_is_large(rep, &claim[i]) && fpt_is_cold(rep, &claim[i])) {
			claim[kept++] = claim[i];
			continue;
		}
		/* Nobody was asked for it: it does not count as claimed. */
		rep->left = true;
		fpt_xbitmap_end_claim(&rep->t->back, &claim[i], true);
	}
	return kept;
}

/* A claim that is not submitted after all: its hint is kept, unless the owner uses it. */
static inline void fpt_pass_release(struct fpt_reporter *rep, const struct fpt_range *claim,
				    enum fpt_isolated why)
{
	if (why == FPT_USED)
		fpt_forget_used(rep, claim);
	else
		rep->left = true;
	rep->in_flight -= claim->nr;
	fpt_release(rep->t, claim, why);
}

/* Submit a claim. Returns its ticket; 0: an allocation did not let it go, or there was no cut. */
static inline unsigned long fpt_pass_submit_one(struct fpt_reporter *rep,
						const struct fpt_range *claim, bool cut)
{
	unsigned long ticket;

	if (fpt_refused(rep->t) || !cut) {
		fpt_pass_release(rep, claim, FPT_BUSY);
		return 0;
	}
	ticket = fpt_submit_cut(rep->t, claim);
	if (!ticket)
		rep->in_flight -= claim->nr;
	return ticket;
}

/*
 * Claim into b from n on, up to end. Returns where the claims end; before that: over, or a pause.
 */
static inline unsigned int fpt_pass_claim_some(struct fpt_reporter *rep, struct fpt_batch *b,
					       unsigned int n, unsigned int end)
{
	while (n < end && !rep->over && !fpt_refused(rep->t)) {
		unsigned long room = fpt_pass_room(rep);
		unsigned int max = room < end - n ? (unsigned int)room : end - n, got;

		if (!max)
			break;
		got = fpt_xbitmap_claim(&rep->t->back, &rep->cursor, &b->range[n], max);
		/*
		 * Not from the beginning again: a block that was busy or refused waits for the
		 * next pass.
		 */
		rep->over = got < max;
		got = fpt_pass_keep(rep, &b->range[n], got);
		if (!got)
			continue;
		fpt_count(rep->t, fpt_cpu(rep->t->nr_cpus), FPT_STAT_CLAIMED,
			  (unsigned long)got << rep->t->back.order);
		rep->in_flight += (unsigned long)got << rep->t->back.order;
		n += got;
	}
	return n;
}

/* Isolate claims of b, as fpt_pass_submit_some() does it. */
static inline unsigned int fpt_pass_isolate_some(struct fpt_reporter *rep, struct fpt_batch *b,
						 unsigned int n, unsigned int end)
{
	unsigned int first = n, i;

	for (i = n; i < end; i++) {
		struct fpt_range claim = b->range[i];
		enum fpt_isolated got = FPT_BUSY;

		if (!fpt_refused(rep->t))
			got = rep->owner->isolate(rep->ctx, claim);
		if (got == FPT_TAKEN) {
			b->range[n] = claim;
			b->ticket[n++] = 1;
		} else {
			fpt_pass_release(rep, &claim, got);
		}
	}
	fpt_xbitmap_submit_taken(&rep->t->back, &b->range[first], n - first);
	return n;
}

/*
 * Submit the claims of b from n on, up to end; those that are left follow the first n. Returns how
 * many there are then.
 */
static inline unsigned int fpt_pass_submit_some(struct fpt_reporter *rep, struct fpt_batch *b,
						unsigned int n, unsigned int end)
{
	unsigned int i;
	bool cut;

	b->since = rep->now;
	if (rep->t->protocol == FPT_ISOLATE)
		return fpt_pass_isolate_some(rep, b, n, end);
	cut = fpt_cut(rep->t);
	for (i = n; i < end; i++) {
		b->range[n] = b->range[i];
		b->ticket[n] = fpt_pass_submit_one(rep, &b->range[n], cut);
		if (b->ticket[n])
			n++;
	}
	return n;
}

/*
 * Claim the next blocks into b, and isolate or submit them. Returns how many: hand them to the
 * host, then call fpt_pass_complete(). 0: the pass is over, or max_in_flight pages are out.
 */
static inline unsigned int fpt_pass_next(struct fpt_reporter *rep, struct fpt_batch *b)
{
	unsigned int end;

	b->since = rep->now;
	for (b->nr = 0; b->nr < rep->policy.batch;) {
		/* Tickets one by one, but where a cut is needed, which is dear: one for all. */
		end = rep->t->protocol == FPT_ISOLATE || fpt_cuts(rep->t) ? rep->policy.batch :
		      b->nr + 1;
		end = fpt_pass_claim_some(rep, b, b->nr, end);
		if (end == b->nr)
			break;
		b->nr = fpt_pass_submit_some(rep, b, b->nr, end);
	}
	return b->nr;
}

/*
 * fpt_pass_next() in two halves, for reporters that queue batches: what an allocation cancels
 * between the two costs it no wait. This one claims, no more. Returns how many; 0: as above.
 */
static inline unsigned int fpt_pass_claim(struct fpt_reporter *rep, struct fpt_batch *b)
{
	b->nr = fpt_pass_claim_some(rep, b, 0, rep->policy.batch);
	return b->nr;
}

/* The other half. Returns how many are left for the host; none of a batch is not a pass's end. */
static inline unsigned int fpt_pass_submit(struct fpt_reporter *rep, struct fpt_batch *b)
{
	b->nr = fpt_pass_submit_some(rep, b, 0, b->nr);
	return b->nr;
}

static inline void fpt_pass_end(struct fpt_reporter *rep, const struct fpt_range *claim,
				unsigned long ticket, bool ok)
{
	if (rep->t->protocol == FPT_ISOLATE)
		rep->owner->put_back(rep->ctx, *claim);
	rep->in_flight -= claim->nr;
	if (!ok)
		rep->left = true;
	(void)fpt_complete(rep->t, claim, ticket, ok);
}

/* The host has discarded the batch (ok), or refused it: everything goes back to the allocator. */
static inline void fpt_pass_complete(struct fpt_reporter *rep, struct fpt_batch *b, bool ok)
{
	unsigned long nr = (unsigned long)b->nr << rep->t->back.order;
	unsigned int i;

	if (rep->t->protocol == FPT_TICKET || !ok || rep->t->report_again) {
		for (i = 0; i < b->nr; i++)
			fpt_pass_end(rep, &b->range[i], b->ticket[i], ok);
	} else {
		for (i = 0; i < b->nr; i++)
			rep->owner->put_back(rep->ctx, b->range[i]);
		fpt_count(rep->t, fpt_cpu(rep->t->nr_cpus), FPT_STAT_REPORTED, nr);
		fpt_xbitmap_end_claims(&rep->t->back, b->range, b->nr);
		rep->in_flight -= nr;
	}
	b->nr = 0;
}

/* The same for one range of a batch, before the rest; the last one takes its place. */
static inline void fpt_pass_complete_one(struct fpt_reporter *rep, struct fpt_batch *b,
					 unsigned int i, bool ok)
{
	fpt_pass_end(rep, &b->range[i], b->ticket[i], ok);
	b->nr--;
	b->range[i] = b->range[b->nr];
	b->ticket[i] = b->ticket[b->nr];
}

/* Give up what was claimed and not submitted: hints are kept. */
static inline void fpt_pass_drop(struct fpt_reporter *rep, struct fpt_batch *b)
{
	for (; b->nr; b->nr--)
		fpt_pass_release(rep, &b->range[b->nr - 1], FPT_BUSY);
}

/*
 * Has the host had a submitted batch for longer than the policy allows, counted from the last
 * fpt_due() before it was submitted? Then reset the device, so that it cannot discard any more, and
 * fpt_pass_complete(..., false): pages become usable, hints are kept, and an acknowledgement that
 * comes after all is ignored where it carries a ticket (fpt_complete()).
 */
static inline bool fpt_batch_expired(const struct fpt_reporter *rep, const struct fpt_batch *b,
				     unsigned long now)
{
	return b->nr && rep->policy.timeout && now - b->since >= rep->policy.timeout;
}

/* Why a pass is due: bits. */
enum fpt_due {
	FPT_DUE_AMOUNT = 1,
	FPT_DUE_AGE = 2,
};

/*
 * Tell the reporter the time, and ask whether a pass is due: policy.amount pages were freed since
 * the last one began, or something was freed policy.age ticks ago (or was met by the last one and
 * kept, or may not have been met because it has not come to its end), as far as these calls have
 * seen; so age is exact to the interval of the calls. Pages that were taken again count, too: how
 * many are still free only a pass finds out. What a hook was just freeing when the pass began may
 * be due only with what is freed next (see "two drains"). While reporting is refused nothing is
 * due, and nothing forgotten. Wait-free, one load per CPU.
 */
static inline unsigned int fpt_due(struct fpt_reporter *rep, unsigned long now)
{
	unsigned long freed = fpt_freed(rep->t) - rep->freed;
	unsigned int due = 0;

	rep->now = now;
	if (!freed && !rep->left && rep->over)
		return 0;
	if (!rep->pending) {
		rep->pending = true;
		rep->pending_since = now;
	}
	if (rep->policy.amount && freed >= rep->policy.amount)
		due |= FPT_DUE_AMOUNT;
	if (rep->policy.age && now - rep->pending_since >= rep->policy.age)
		due |= FPT_DUE_AGE;
	return fpt_refused(rep->t) ? 0 : due;
}

/* The way to the host, for fpt_flush(). */
struct fpt_host_ops {
	/* Discard a batch and return when that is done; false: refused. */
	bool (*discard)(void *ctx, const struct fpt_batch *b);
	/* The clock of the deadline. NULL: there is no deadline. */
	unsigned long (*now)(void *ctx);
};

/*
 * Report, now, all that was freed before the call and that the owner and the host let go: two
 * passes from end to end, see "two drains". min_order counts; amount, age and cold do not. host's
 * ctx is rep's. The clock is looked at between batches. A drain that another reporter has begun is
 * not waited for. FPT_ETIME: the deadline (a point in time of host->now) came first; what is not
 * reported is still hinted, and the batch on its way then was completed. FPT_EBUSY: max_in_flight
 * pages are out in batches of the caller, or reporting is refused. Blocking; context of the
 * callbacks.
 */
static inline int fpt_flush(struct fpt_reporter *rep, const struct fpt_host_ops *host,
			    unsigned long deadline)
{
	int result = FPT_OK;
	struct fpt_batch b;
	unsigned int pass;

	rep->flushing = true;
	for (pass = 0; pass < 2 && result == FPT_OK; pass++) {
		fpt_pass_begin(rep);
		for (;;) {
			if (!rep->over && host->now &&
			    (long)(host->now(rep->ctx) - deadline) >= 0) {
				result = FPT_ETIME;
				break;
			}
			if (!fpt_pass_next(rep, &b))
				break;
			fpt_pass_complete(rep, &b, host->discard(rep->ctx, &b));
		}
		if (!rep->over && result == FPT_OK)
			result = FPT_EBUSY;
	}
	rep->flushing = false;
	return result;
}

/*
 * Ticket protocol, after fpt_alloc() has said FPT_IN_FLIGHT: has the host still got a block of
 * these pages? False: they may be written. Any context. Wait-free, one look per block.
 */
static inline bool fpt_in_flight(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	fpt_pfn_t last = pfn + ((1UL << order) - 1), end;

	for (;; pfn = end + 1) {
		fpt_atomic_t *w = fpt_ticket_at(t, pfn, &end);

		if (w && fpt_ticket_busy(w))
			return true;
		if (last - pfn <= end - pfn)
			return false;
	}
}

/* Ask the reporter for the blocks of these pages first. Any context. Wait-free. */
static inline void fpt_expedite(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	fpt_pfn_t last = pfn + ((1UL << order) - 1), end;
	bool asked = false;

	for (;; pfn = end + 1) {
		fpt_atomic_t *w = fpt_ticket_at(t, pfn, &end);

		if (w && fpt_ticket_expedite(w))
			asked = true;
		if (last - pfn <= end - pfn)
			break;
	}
	if (asked)
		fpt_fetch_add(&t->expedited, 1, relaxed);
}

/*
 * Wait until the host is done with all blocks of these pages: before the first write after
 * FPT_IN_FLIGHT. Blocking, for as long as the host takes (policy.timeout is the reporter's); only
 * where waiting is allowed and the reporter can run. A block that becomes free again and goes out
 * again cannot be one of these pages': they count as allocated.
 */
static inline void fpt_wait(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	while (fpt_in_flight(t, pfn, order))
		fpt_pause();
}

/* Was anything asked for first since the last call? Then look for it with fpt_batch_expedited(). */
static inline bool fpt_expedite_due(struct fpt_reporter *rep)
{
	unsigned long now = fpt_load(&rep->t->expedited, relaxed);
	bool due = now != rep->expedited;

	rep->expedited = now;
	return due;
}

/* Was range i of a submitted batch asked for first? */
static inline bool fpt_batch_expedited(struct fpt *t, const struct fpt_batch *b, unsigned int i)
{
	fpt_pfn_t last;
	fpt_atomic_t *w = fpt_ticket_at(t, b->range[i].pfn, &last);

	return w && fpt_ticket_expedited(w, b->ticket[i]);
}

/*
 * The interface of 2018. Find the next chunk of free pages at or after *pfn_start, whole blocks
 * and at most nr pages of them, and clear its hints: it is the caller's to hand to the host, until
 * fpt_put_hints(). Returns its pages and sets *pfn_start to the first; 0: there is none. What
 * "clear" means: one store per block makes its ticket SUBMITTED; page bits stay, and remember who
 * takes pages meanwhile. FPT_TICKET only. Fronts are drained when *pfn_start is 0. Lock-free but
 * for the fences of a cut, one for FPT_BATCH_MAX blocks.
 */
static inline fpt_pfn_t fpt_get_hints(struct fpt *t, fpt_pfn_t *pfn_start, fpt_pfn_t nr)
{
	unsigned int max = fpt_cuts(t) ? FPT_BATCH_MAX : 1, n, i;
	fpt_pfn_t at = *pfn_start, got = 0;
	struct fpt_range claim[FPT_BATCH_MAX];
	bool more = true, ended = false, cut;

	FPT_ASSERT(t->back.tickets);
	if (!at)
		fpt_drain(t);
	while (more && !ended && !fpt_refused(t)) {
		/* at 0: behind the last page there can be. */
		for (n = 0; n < max && (nr - got) >> t->back.order > n && (at || !(n || got)); n++) {
			if (!fpt_xbitmap_claim_from(&t->back, at, n || got ? at : ~0UL, &claim[n]))
				break;
			fpt_count(t, fpt_cpu(t->nr_cpus), FPT_STAT_CLAIMED, claim[n].nr);
			at = claim[n].pfn + claim[n].nr;
		}
		more = n && at;
		cut = n && fpt_cut(t);
		for (i = 0; i < n; i++) {
			/* Behind one that was cancelled: not this chunk's. */
			if (!cut || ended) {
				fpt_release(t, &claim[i], FPT_BUSY);
			} else if (fpt_submit_cut(t, &claim[i])) {
				if (!got)
					*pfn_start = claim[i].pfn;
				got += claim[i].nr;
			} else if (got) {
				ended = true;
			}
		}
	}
	return got;
}

/*
 * The host has acknowledged what fpt_get_hints() gave, or a part of it in whole blocks, in any
 * order: set its hints again. Once for each block that was got: a second one may end a submission
 * that came after the first. What was touched meanwhile, or everything with
 * fpt_config.report_again, can be got again; the rest is marked reported until it is touched.
 */
static inline void fpt_put_hints(struct fpt *t, fpt_pfn_t pfn_start, fpt_pfn_t nr)
{
	fpt_pfn_t block = 1UL << t->back.order, done, last;

	for (done = 0; done < nr; done += block) {
		struct fpt_range claim = { pfn_start + done, block };
		fpt_atomic_t *w = fpt_ticket_at(t, claim.pfn, &last);

		FPT_ASSERT(w);
		(void)fpt_complete(t, &claim, w ? fpt_ticket_of(fpt_load(w, relaxed)) : 0, true);
	}
}

#endif
