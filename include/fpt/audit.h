/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * audit.h - repairing what missed events have done to a tracker that toggles
 *
 * Purpose. An event that a lossy source misses inverts its pages for good, where hooks toggle
 * (delta): held pages are hinted, free ones are not. Isolation keeps data safe, as everywhere with
 * a lossy source; but hints get worse and worse. An audit asks the owner what is true, line by
 * line, and xors the *difference* into the base.
 *
 *	cut			everything up to here is in the base
 *	read the base, ask the owner
 *	cut			who has toggled meanwhile?
 *	xor the difference, where nobody has
 *
 * Why the difference, and why only there. A toggle that comes later finds its page as it left it:
 * xor of a difference commutes with it. Writing the truth does not:
 *
 *	hook			audit
 *				ask: free
 *	alloc: toggle
 *				set the bit: an owned page is free, and stays so
 *
 * And of an event between the two readings one of them knows, and the other does not:
 *
 *	hook			audit, one cut
 *				cut, read the base: free
 *	alloc: toggle
 *				ask: held; a difference
 *				xor: held
 *	(the next fold)		xor: free
 *
 * Layout: 1 bit per block, "quiet" (xbitmap.h). The audit raises it before the first cut; whatever
 * shows an event in the block drops it: presence in a fold, a toggle on the slow path. What is not
 * quiet after the second cut is left to a later audit.
 *
 * Invariants.
 *	U1  A bit that an audit inverts was wrong: base xor deltas were not what the owner's events
 *	    say.
 *	U2  With no event meanwhile, an audit of a line leaves it right.
 *
 * Contract of the truth (fpt_auditor.truth): FPT_TRUTH_FREE and _HELD say what the page is by all
 * of its events, those that the source misses included, whose hooks have returned when this call
 * returns; while a hook on the page is under way, or is still to be called, FPT_TRUTH_UNKNOWN. It
 * may always answer FPT_TRUTH_UNKNOWN: then the page is left as it is. That, and no fence, is what
 * covers an owner that was stopped between the allocator and its hook.
 *
 * Who may call what: one audit of a tracker at a time (another is told FPT_EBUSY), concurrently
 * with hooks and reporters, but not with add_range or remove_range. It may sleep; so may the
 * callback.
 *
 * Ordering. "quiet" and the base are a store-then-look pair: the audit raises quiet, then reads the
 * base; a slow event toggles the base, then looks at quiet. All seq_cst.
 *
 * Progress: wait-free but for fences, three per call at most, and callbacks. Hooks pay nothing, on
 * the slow path one load per block.
 */
#ifndef FPT_AUDIT_H
#define FPT_AUDIT_H

#include <fpt/delta.h>

#define FPT_AUDIT_LINES 32u		/* per call, at most */

enum fpt_truth {
	FPT_TRUTH_HELD,
	FPT_TRUTH_FREE,
	FPT_TRUTH_UNKNOWN,
};

struct fpt_audit_line {
	struct fpt_xbitmap_range *r;
	unsigned long page;		/* the first, counted from r->base */
	unsigned long diff[FPT_DELTA_LINE_WORDS];
};

/* The caller's memory. All zero but for the first three is the beginning. */
struct fpt_auditor {
	struct fpt *t;
	enum fpt_truth (*truth)(void *ctx, fpt_pfn_t pfn);
	void *ctx;
	unsigned long range, line;	/* where the next call goes on */
	unsigned long repaired;		/* pages, in all */
	unsigned long disturbed;	/* lines with differences and events: for a later audit */
	unsigned int nr;
	struct fpt_audit_line at[FPT_AUDIT_LINES];
};

/* The next lines, up to max. */
static inline void fpt_audit_collect(struct fpt_auditor *a, unsigned int max)
{
	struct fpt_xbitmap *x = &a->t->back;
	unsigned long n = fpt_load(&x->nr_ranges, acquire);	/* pairs with add_range's release */

	a->nr = 0;
	while (a->nr < max && a->range < n) {
		struct fpt_xbitmap_range *r = &x->range[a->range];
		unsigned long page = a->line * FPT_DELTA_LINE_PAGES;

		if (!fpt_xbitmap_in_use(r) || page >> x->order >= r->nr_blocks) {
			a->range++;
			a->line = 0;
			continue;
		}
		a->line++;
		a->at[a->nr].r = r;
		a->at[a->nr++].page = page;
	}
}

/* The blocks of a line are quiet, as far as is known. */
static inline void fpt_audit_quiet(struct fpt_xbitmap *x, const struct fpt_audit_line *l)
{
	unsigned long b = l->page >> x->order;
	unsigned long last = (l->page + FPT_DELTA_LINE_PAGES - 1) >> x->order;

	for (; b <= last && b < l->r->nr_blocks; b++)
		fpt_or(&l->r->quiet[b / FPT_WORD_BITS], 1UL << b % FPT_WORD_BITS, seq_cst);
}

/* Where base and truth differ. */
static inline void fpt_audit_compare(struct fpt_auditor *a, struct fpt_audit_line *l)
{
	struct fpt_xbitmap *x = &a->t->back;
	unsigned long w, bit, page, chunk, base;

	for (w = 0; w < FPT_DELTA_LINE_WORDS; w++) {
		l->diff[w] = 0;
		page = l->page + w * FPT_WORD_BITS;
		if (page >> x->order >= l->r->nr_blocks)
			continue;
		chunk = fpt_xbitmap_chunk(x, l->r, page >> x->chunk_shift, false);
		base = chunk ? fpt_load(fpt_xbitmap_word(x, chunk, page), seq_cst) : 0;
		for (bit = 0; bit < FPT_WORD_BITS; bit++, page++) {
			fpt_pfn_t pfn = l->r->base + page;
			enum fpt_truth truth;

			if (pfn - l->r->pfn >= l->r->nr)
				continue;
			truth = a->truth(a->ctx, pfn);
			if (truth != FPT_TRUTH_UNKNOWN &&
			    (truth == FPT_TRUTH_FREE) != (base >> bit & 1))
				l->diff[w] |= 1UL << bit;
		}
	}
}

/* Leave out what is not quiet any more. */
static inline void fpt_audit_mask(struct fpt_auditor *a, struct fpt_audit_line *l)
{
	struct fpt_xbitmap *x = &a->t->back;
	bool disturbed = false;
	unsigned long w, i, b;

	for (w = 0; w < FPT_DELTA_LINE_WORDS; w++)
		for (i = l->diff[w]; i; i &= i - 1) {
			b = (l->page + w * FPT_WORD_BITS + fpt_ctz(i)) >> x->order;
			if (fpt_load(&l->r->quiet[b / FPT_WORD_BITS], seq_cst) >>
			    b % FPT_WORD_BITS & 1)
				continue;
			l->diff[w] &= ~(i & -i);
			disturbed = true;
		}
	a->disturbed += disturbed;
}

static inline void fpt_audit_repair(struct fpt_auditor *a, struct fpt_audit_line *l)
{
	unsigned long w, i;
	bool any = false;

	for (w = 0; w < FPT_DELTA_LINE_WORDS; w++) {
		if (!l->diff[w])
			continue;
		any = true;
		for (i = l->diff[w]; i; i &= i - 1)
			a->repaired++;
		fpt_delta_toggle(a->t, l->r, l->page + w * FPT_WORD_BITS, l->diff[w]);
	}
	if (any)
		fpt_delta_settle(a->t, fpt_cpu(a->t->nr_cpus), l->r, l->page,
				 FPT_DELTA_LINE_PAGES);
}

/*
 * Audit the next max lines, at most FPT_AUDIT_LINES. Returns how many there were; 0: the end, and
 * the next call is at the beginning again. Errors: FPT_ENOTSUP (the tracker was made without
 * fpt_config.audit), FPT_EINVAL (max), FPT_EBUSY (another audit, or a reporter is just folding);
 * then nothing was done.
 */
static inline int fpt_audit(struct fpt_auditor *a, unsigned int max)
{
	const struct fpt_ops *ops = fpt_tracker(a->t);
	unsigned int i;
	bool cut;

	if (!a->t->back.audits || !ops->cut)
		return FPT_ENOTSUP;
	if (!max || max > FPT_AUDIT_LINES)
		return FPT_EINVAL;
	if (!fpt_cas(&a->t->auditing, 0, 1, acq_rel))
		return FPT_EBUSY;
	ops->drain(a->t);	/* what is old does not make a line look busy */
	fpt_audit_collect(a, max);
	for (i = 0; i < a->nr; i++)
		fpt_audit_quiet(&a->t->back, &a->at[i]);
	cut = !a->nr || ops->cut(a->t);
	for (i = 0; i < a->nr && cut; i++)
		fpt_audit_compare(a, &a->at[i]);
	cut = cut && (!a->nr || ops->cut(a->t));
	/* All of them before the first repair: that is an event, too. */
	for (i = 0; i < a->nr && cut; i++)
		fpt_audit_mask(a, &a->at[i]);
	for (i = 0; i < a->nr && cut; i++)
		fpt_audit_repair(a, &a->at[i]);
	if (!a->nr) {
		a->range = a->line = 0;
	} else if (!cut) {	/* these again */
		a->range = (unsigned long)(a->at[0].r - a->t->back.range);
		a->line = a->at[0].page / FPT_DELTA_LINE_PAGES;
	}
	fpt_store(&a->t->auditing, 0, release);	/* pairs with the cas */
	return cut ? (int)a->nr : FPT_EBUSY;
}

#endif
