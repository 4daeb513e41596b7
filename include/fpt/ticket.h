/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ticket.h - one word per block that a claim and an allocation agree by
 *
 * Purpose. The ticket protocol takes nothing out of the allocator: while a block is on its way to
 * the host, its pages stay allocatable, and the alloc hook consults the block's ticket. An
 * allocation of a block that has only been claimed cancels the claim and goes on at once; one of a
 * block that the host has been given must wait until the host is done.
 *
 * Layout: one word per block.
 *
 *	| generation                    | expedite | state |	state: 2 bits, expedite: 1
 *
 *	         claim                 submit                  end
 *	IDLE g ---------> CLAIMED g+1 ---------> SUBMITTED g+1 -----> IDLE g+1
 *	                     |    alloc: cancel      |  ^ alloc: FPT_IN_FLIGHT, may set expedite
 *	                     +--> IDLE g+1           +--+
 *
 * A *ticket* is the word of a claim without state and expedite: its generation, never 0. It names
 * one claim of one block for good (until 2^(word bits - 3) later ones of that block), so that an
 * acknowledgement that comes late or twice finds another generation or state, and does nothing.
 *
 * Invariants.
 *	T1  Only whoever holds the block's claim (xbitmap.h, X4) makes an IDLE word CLAIMED; only
 *	    that claim's holder makes it SUBMITTED.
 *	T2  When submit succeeds, all pages of the block were free when the claim was verified, and
 *	    no allocation of one has returned FPT_OK since.
 *	T3  An allocation that finds SUBMITTED returns FPT_IN_FLIGHT; the host is done when the word
 *	    has left that generation's SUBMITTED.
 *
 * Ordering. Claim and allocation are a store-then-look pair (compat.h):
 *
 *	reporter				alloc hook
 *	word = CLAIMED		(seq_cst)	clear the page's bit	(seq_cst)
 *	look at the page bits	(seq_cst)	look at the word	(seq_cst)
 *
 * Either the hook sees CLAIMED (or later), or the reporter sees the bit cleared and gives the claim
 * up. (delta.h has another such pair: hooks without a barrier, reporters with a fence and a second
 * look.) Were the claim published after the look at the bits, both could miss each other, and the
 * host would discard an owner's page. Hence T2: whoever saw CLAIMED competes with submit for the
 * word, one compare-and-swap each. end is a release and fpt_ticket_busy()'s load an acquire: what
 * the host did is before what the owner does next.
 *
 * Progress: all wait-free, at most two compare-and-swaps.
 */
#ifndef FPT_TICKET_H
#define FPT_TICKET_H

#include <fpt/compat/compat.h>

#define FPT_TICKET_IDLE 0UL
#define FPT_TICKET_CLAIMED 1UL
#define FPT_TICKET_SUBMITTED 2UL
#define FPT_TICKET_STATE 3UL
#define FPT_TICKET_EXPEDITE 4UL
#define FPT_TICKET_GENERATION 8UL	/* added to a word: the next generation */

/* What an allocation finds. */
enum fpt_ticket_found {
	FPT_TICKET_NONE,	/* no claim, or one that will see the page taken */
	FPT_TICKET_CANCELLED,	/* a claim, cancelled by this call */
	FPT_TICKET_IN_FLIGHT,	/* the host has the block */
};

static inline unsigned long fpt_ticket_of(unsigned long word)
{
	return word & ~(FPT_TICKET_STATE | FPT_TICKET_EXPEDITE);
}

/* IDLE -> CLAIMED, by the holder of the block's claim; before the look at the page bits. */
static inline void fpt_ticket_claim(fpt_atomic_t *w)
{
	/* T1: nobody else writes an idle word. */
	unsigned long ticket = fpt_ticket_of(fpt_load(w, relaxed)) + FPT_TICKET_GENERATION;

	if (!ticket)
		ticket = FPT_TICKET_GENERATION;	/* the word has run through: 0 is no ticket */
	/* The store of a store-then-look. */
	(void)fpt_xchg(w, ticket | FPT_TICKET_CLAIMED, seq_cst);
}

/* CLAIMED -> SUBMITTED. Returns the ticket, 0: the claim was cancelled. */
static inline unsigned long fpt_ticket_submit(fpt_atomic_t *w)
{
	unsigned long ticket = fpt_ticket_of(fpt_load(w, relaxed));

	/* Linearization, against a cancellation. */
	return fpt_cas(w, ticket | FPT_TICKET_CLAIMED, ticket | FPT_TICKET_SUBMITTED, acq_rel) ?
	       ticket : 0;
}

/* CLAIMED -> IDLE, by the holder, who does not submit after all. No matter if it was cancelled. */
static inline void fpt_ticket_drop(fpt_atomic_t *w)
{
	unsigned long ticket = fpt_ticket_of(fpt_load(w, relaxed));

	(void)fpt_cas(w, ticket | FPT_TICKET_CLAIMED, ticket | FPT_TICKET_IDLE, acq_rel);
}

/* SUBMITTED -> IDLE. False: this ticket's submission was ended before. */
static inline bool fpt_ticket_end(fpt_atomic_t *w, unsigned long ticket)
{
	unsigned long submitted = ticket | FPT_TICKET_SUBMITTED;

	/* Expedite may be set between the two, and is never cleared while submitted. */
	return fpt_cas(w, submitted, ticket | FPT_TICKET_IDLE, acq_rel) ||
	       fpt_cas(w, submitted | FPT_TICKET_EXPEDITE, ticket | FPT_TICKET_IDLE, acq_rel);
}

/* Of a look: there is no claim. */
static inline bool fpt_ticket_idle(fpt_atomic_t *w)
{
	return (fpt_load(w, seq_cst) & FPT_TICKET_STATE) == FPT_TICKET_IDLE;
}

/* What an alloc hook does after it has cleared its page's bits. */
static inline enum fpt_ticket_found fpt_ticket_take(fpt_atomic_t *w)
{
	unsigned long now = fpt_load(w, seq_cst), ticket = fpt_ticket_of(now);	/* the look */

	if ((now & FPT_TICKET_STATE) == FPT_TICKET_IDLE)
		return FPT_TICKET_NONE;
	if ((now & FPT_TICKET_STATE) == FPT_TICKET_CLAIMED) {
		/* Linearization of a cancellation. */
		if (fpt_cas(w, now, ticket | FPT_TICKET_IDLE, acq_rel))
			return FPT_TICKET_CANCELLED;
		/*
		 * Submitted, or cancelled by another allocation. A claim of a later generation sees
		 * this page's bit cleared.
		 */
		now = fpt_load(w, acquire);
		if (fpt_ticket_of(now) != ticket ||
		    (now & FPT_TICKET_STATE) != FPT_TICKET_SUBMITTED)
			return FPT_TICKET_NONE;
	}
	return FPT_TICKET_IN_FLIGHT;
}

/* Has the host got the block? Acquire: if not any more, what it did is over. */
static inline bool fpt_ticket_busy(fpt_atomic_t *w)
{
	return (fpt_load(w, acquire) & FPT_TICKET_STATE) == FPT_TICKET_SUBMITTED;
}

/* Ask for a submitted block first. True: nobody had asked before. */
static inline bool fpt_ticket_expedite(fpt_atomic_t *w)
{
	unsigned long now = fpt_load(w, relaxed);

	return (now & (FPT_TICKET_STATE | FPT_TICKET_EXPEDITE)) == FPT_TICKET_SUBMITTED &&
	       fpt_cas(w, now, now | FPT_TICKET_EXPEDITE, acq_rel);
}

/* Was this submission asked for first? */
static inline bool fpt_ticket_expedited(fpt_atomic_t *w, unsigned long ticket)
{
	return fpt_load(w, relaxed) == (ticket | FPT_TICKET_SUBMITTED | FPT_TICKET_EXPEDITE);
}

#endif
