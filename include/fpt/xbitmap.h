/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * xbitmap.h - a sparse bitmap of free pages, for all CPUs, that knows its wholly free blocks
 *
 * Purpose. One bit per page: set means free. Any CPU's clear retracts any CPU's set. A *block* is
 * an aligned run of 2^order pages, the unit of reporting; a claim takes out one block whose bits
 * are all set. It is a tracker of its own (the hooks write it directly, see tracker.h) and the
 * back in which the reporter keeps what the per-CPU trackers hand over. After the sparse bitmap
 * that was proposed for guest free page hinting in 2019 and the kernel's sbitmap; the summary
 * follows mimalloc's bitmap.
 *
 * Layout, per range of pages:
 *
 *	hinted[2]   |.........1......|			1 bit per word of hinted[1]
 *	hinted[1]   |...1.|..........|			1 bit per word of hinted[0]
 *	hinted[0]   |.1...|.....1....|			1 bit per block: "look here"
 *	claimed     |.....|.....1....|			1 bit per block: in a live claim
 *	reported    |...1.|..........|			1 bit per block: reported, untouched since
 *	touched     |.1...|.....|.....|			1 bit per block: touched since the last tick
 *	age[3]      |5 0 7|7 7 2|7 7 7|			3 bits per block, a plane each: ticks untouched
 *	quiet       |.....|.1..1|.....|			1 bit per block: no event since audited (audit.h)
 *	ticket      [ g ][ g ][ g ][ g ]		ticket protocol: 1 word per block, ticket.h
 *	chunk       [ 0 ][ * ][ 0 ][coarse]		1 word per chunk of page bits
 *	               |
 *	               v    page bits, 4 KiB:  |1111...1|1101...0| ...	512 bits, one line, for 2 MiB
 *
 * Chunks come from the memory donated with the range, when a page of theirs is first freed.
 *
 * Heat ("touched", "age") and "quiet" are there for trackers that toggle only, and hooks do not write
 * them but on the slow path: a fold tells which blocks were touched, each tick of a reporter's policy
 * (report.h) adds 1 to the age of the others, up to FPT_XBITMAP_MAX_AGE, 64 blocks at a time.
 * Approximate: what a fold brings in counts as touched at the fold.
 *
 * Ranges are slots of a table that is searched from the front, and have *dense numbers* besides,
 * for trackers that pack them: page i of a range is number index + i. A slot, once used, keeps its
 * numbers; a range that was removed leaves both to one that is no larger.
 *
 * Invariants.
 *	X1  A page's bit is what the last set or clear of it made it (a chunk marked coarse has none).
 *	X2  A block whose bits are all set, that was not claimed since one of them was last set, is hinted
 *	    once the set has returned. "Hinted" is conservative: a hinted block need not be full.
 *	X3  A word of hinted[l] that is not 0 has its bit in hinted[l + 1], once all sets have returned.
 *	X4  At most one live claim per block.
 *	X5  Reported implies: no set or clear in the block since fpt_xbitmap_submit(), once all have returned.
 *	    A reported block is not claimed. Tickets: a page that is taken while submit runs may keep the
 *	    mark until it is freed.
 *	X6  A search for a page's range finds the range that holds it or, while that one is being added or
 *	    removed, perhaps none; never another.
 *
 * Who may call what:
 *				concurrently with	context
 *	set, clear		everything but init	any (kernel: not NMI)
 *	claim, ... complete	everything but init	any; one caller per claim
 *	add_range		everything but itself	any, once per range
 *				and remove_range
 *	remove_range		set, clear of pages	any; no claims meanwhile
 *				of other ranges
 *	init			nothing
 *
 * Ordering. The store-then-look pairs (compat.h) are: a set writes page bits, then looks at the
 * block's other words and at hinted, while a claim clears hinted, then looks at the page bits; a
 * touch drops the reported mark, then a set looks at hinted, while a claim clears hinted, then
 * looks at the mark; and a set raises hinted[l], then looks at hinted[l + 1], while pruning clears
 * hinted[l + 1], then looks at hinted[l] again. Whoever comes second sees the first. Tickets add a
 * fourth, in ticket.h.
 *
 * A search reads a slot's count, its first page, and its count again. A slot's first page changes
 * only while the count is 0, so a search that saw an old count and a new first page sees 0, or the
 * new count, the second time. All four are acquire loads and release stores; the second look
 * publishes the slot's other fields.
 *
 * Progress. set, clear: wait-free, bounded by the words of the event and the levels; dropping a
 * reported mark is one read-modify-write with a result, which some machines make a loop of
 * compare-and-swap (x86). Claims, submit, complete and scanning for hints: lock-free.
 *
 * Full. A range added with memory for all its chunks is exact for good. Otherwise, when no chunk
 * is left for a page to be freed (one that a racing set is about to return counts as taken), its
 * chunk becomes coarse for good: no page bits, a set hints its block, a clear retracts nothing,
 * a claim is decided by isolation alone. No hint is lost; fpt_xbitmap_is_coarse() tells. A range
 * added with no memory beyond its metadata is coarse throughout: one bit per block.
 */
#ifndef FPT_XBITMAP_H
#define FPT_XBITMAP_H

#include <fpt/ticket.h>
#include <fpt/types.h>

/*
 * Bytes of page bits per chunk: what one first free takes from the pool. A power of two, >= one
 * word.
 */
#ifndef FPT_XBITMAP_CHUNK_BYTES
#define FPT_XBITMAP_CHUNK_BYTES 4096
#endif

#ifndef FPT_XBITMAP_MAX_RANGES
#define FPT_XBITMAP_MAX_RANGES 16
#endif

/* Dense numbers of a range begin at a multiple of this. */
#define FPT_XBITMAP_INDEX_ALIGN 4096UL

/* Enough for all blocks that a word can count, whatever its width. */
#define FPT_XBITMAP_MAX_LEVELS 13

/* A claim of many looks at their bits; those of the block so many further on are sent for. */
#define FPT_XBITMAP_AHEAD 16UL

/* Heat: bits of a block's age, and the largest. */
#define FPT_XBITMAP_AGE_BITS 3
#define FPT_XBITMAP_MAX_AGE 7u

/* In range->chunk[]: taken when the pool was empty. No address: chunks are aligned. */
#define FPT_XBITMAP_COARSE 1UL

/* Blocks of at most this order (pages fit one chunk's bits in any sensible configuration). */
#define FPT_MAX_ORDER 20u

struct fpt_xbitmap_range {
	fpt_atomic_t first_pfn;		/* what a search reads: pfn */
	fpt_atomic_t count;		/* and nr; 0: there is no range here */
	fpt_pfn_t pfn;			/* as added */
	fpt_pfn_t nr;
	fpt_pfn_t base;			/* pfn, rounded down to a block */
	unsigned long nr_blocks;	/* from base on; those at the edges may be incomplete, so never full */
	unsigned long nr_chunks;
	unsigned long index;		/* dense number of base; the slot's for good */
	unsigned long number;		/* index - base: a page's dense number, less its pfn */
	unsigned long span;		/* dense numbers; the slot's for good */
	unsigned int nr_levels;
	fpt_atomic_t *hinted[FPT_XBITMAP_MAX_LEVELS];
	fpt_atomic_t *claimed;
	fpt_atomic_t *reported;
	fpt_atomic_t *touched;		/* NULL: no heat */
	fpt_atomic_t *age[FPT_XBITMAP_AGE_BITS];
	fpt_atomic_t *quiet;		/* NULL: no audits */
	fpt_atomic_t *ticket;		/* NULL: another protocol */
	fpt_atomic_t *chunk;
	char *pool;			/* pool_nr chunks */
	unsigned long pool_nr;
	fpt_atomic_t *pool_returned;	/* 1 bit per chunk: taken, then not needed */
	size_t fixed_bytes;		/* donated, but for the pool */
	fpt_atomic_t pool_next __attribute__((aligned(FPT_CACHE_LINE)));	/* chunks ever taken */
};

struct fpt_xbitmap {
	unsigned int order;		/* pages per block, log2 */
	unsigned int chunk_shift;	/* pages per chunk, log2 */
	bool tickets;			/* ticket protocol */
	bool audits;			/* fpt_audit() */
	bool heat;			/* ages of blocks */
	bool all_chunks;		/* ranges must bring memory for all their chunks */
	fpt_atomic_t nr_ranges;		/* slots used, now or before */
	unsigned long next_index;	/* dense numbers from here on are nobody's; add_range's own */
	unsigned long generation;	/* of tickets of ranges that were removed: none was later */
	struct fpt_xbitmap_range range[FPT_XBITMAP_MAX_RANGES];
};

/* Where a scan for claims stands. All zero is the beginning. */
struct fpt_cursor {
	unsigned int range;
	unsigned long block;
};

static inline unsigned long fpt_xbitmap_words(unsigned long bits)
{
	return bits / FPT_WORD_BITS + (bits % FPT_WORD_BITS != 0);
}

/* FPT_EINVAL: order above FPT_MAX_ORDER. */
static inline int fpt_xbitmap_init(struct fpt_xbitmap *x, unsigned int order, bool tickets)
{
	if (order > FPT_MAX_ORDER)
		return FPT_EINVAL;
	fpt_zero(x, sizeof(*x));
	x->order = order;
	x->tickets = tickets;
	x->all_chunks = tickets;
	x->chunk_shift = fpt_ctz(8UL * FPT_XBITMAP_CHUNK_BYTES);
	if (x->chunk_shift < order)
		x->chunk_shift = order;
	return FPT_OK;
}

static inline size_t fpt_xbitmap_chunk_bytes(const struct fpt_xbitmap *x)
{
	return (size_t)1 << (x->chunk_shift - 3);
}

/* Fill in the shape of a range: everything but memory. False: it cannot be. */
static inline bool fpt_xbitmap_shape(const struct fpt_xbitmap *x, fpt_pfn_t pfn, fpt_pfn_t nr,
				     struct fpt_xbitmap_range *r)
{
	fpt_pfn_t last = pfn + (nr - 1);
	unsigned long bits;

	if (!nr || last < pfn)
		return false;
	r->pfn = pfn;
	r->nr = nr;
	r->base = pfn >> x->order << x->order;
	r->nr_blocks = ((last - r->base) >> x->order) + 1;
	r->nr_chunks = ((last - r->base) >> x->chunk_shift) + 1;
	for (r->nr_levels = 1, bits = r->nr_blocks; bits > FPT_WORD_BITS; r->nr_levels++)
		bits = fpt_xbitmap_words(bits);
	/* With tickets a word per block: its bytes must not wrap around. */
	return r->nr_blocks && r->nr_chunks && r->nr_levels <= FPT_XBITMAP_MAX_LEVELS &&
	       (!x->tickets || r->nr_blocks <= ~0UL / (8 * sizeof(fpt_atomic_t)));
}

static inline size_t fpt_xbitmap_words_cost(unsigned long words)
{
	return fpt_mem_cost(words * sizeof(fpt_atomic_t));
}

/*
 * Bytes that fpt_xbitmap_add_range() needs for this range: with every chunk that it can use when
 * exact, else the metadata alone. 0: there can be no such range.
 */
static inline size_t fpt_xbitmap_range_size(const struct fpt_xbitmap *x, fpt_pfn_t pfn,
					    fpt_pfn_t nr, bool exact)
{
	struct fpt_xbitmap_range r;
	unsigned long bits;
	unsigned int l;
	size_t size;

	if (!fpt_xbitmap_shape(x, pfn, nr, &r) ||
	    (exact && r.nr_chunks > (~0UL >> 1) / fpt_mem_cost(fpt_xbitmap_chunk_bytes(x))))
		return 0;
	size = fpt_xbitmap_words_cost(r.nr_chunks) +
	       fpt_xbitmap_words_cost(fpt_xbitmap_words(r.nr_chunks));
	size += 2 * fpt_xbitmap_words_cost(fpt_xbitmap_words(r.nr_blocks));
	for (l = 0, bits = r.nr_blocks; l < r.nr_levels; l++, bits = fpt_xbitmap_words(bits))
		size += fpt_xbitmap_words_cost(fpt_xbitmap_words(bits));
	if (x->tickets)
		size += fpt_xbitmap_words_cost(r.nr_blocks);
	if (x->heat)
		size += (1 + FPT_XBITMAP_AGE_BITS) *
			fpt_xbitmap_words_cost(fpt_xbitmap_words(r.nr_blocks));
	if (x->audits)
		size += fpt_xbitmap_words_cost(fpt_xbitmap_words(r.nr_blocks));
	if (exact)
		size += r.nr_chunks * fpt_mem_cost(fpt_xbitmap_chunk_bytes(x));
	return size + FPT_CACHE_LINE;	/* the donation need not be aligned */
}

static inline fpt_atomic_t *fpt_xbitmap_take_words(struct fpt_mem *m, unsigned long words)
{
	return (fpt_atomic_t *)fpt_mem_take(m, words * sizeof(fpt_atomic_t));
}

/* All fields of a slot that nobody finds, but for those by which it is found. */
static inline void fpt_xbitmap_fill_slot(struct fpt_xbitmap_range *slot,
					 const struct fpt_xbitmap_range *r)
{
	unsigned int l;

	slot->pfn = r->pfn;
	slot->nr = r->nr;
	slot->base = r->base;
	slot->nr_blocks = r->nr_blocks;
	slot->nr_chunks = r->nr_chunks;
	if (!slot->span) {	/* a used slot's: others may be reading them */
		slot->index = r->index;
		slot->span = r->span;
	}
	slot->number = slot->index - slot->base;
	slot->nr_levels = r->nr_levels;
	for (l = 0; l < FPT_XBITMAP_MAX_LEVELS; l++)
		slot->hinted[l] = r->hinted[l];
	slot->claimed = r->claimed;
	slot->reported = r->reported;
	slot->touched = r->touched;
	for (l = 0; l < FPT_XBITMAP_AGE_BITS; l++)
		slot->age[l] = r->age[l];
	slot->quiet = r->quiet;
	slot->ticket = r->ticket;
	slot->chunk = r->chunk;
	slot->pool = r->pool;
	slot->pool_nr = r->pool_nr;
	slot->pool_returned = r->pool_returned;
	slot->fixed_bytes = r->fixed_bytes;
	fpt_store(&slot->pool_next, 0, relaxed);
}

static inline bool fpt_xbitmap_in_use(struct fpt_xbitmap_range *r)
{
	return fpt_load(&r->count, acquire);
}

/*
 * A slot for a range of so many dense numbers, with its own; NULL: none. Slots that were used
 * before come first.
 */
static inline struct fpt_xbitmap_range *fpt_xbitmap_slot(struct fpt_xbitmap *x, unsigned long span,
							 unsigned long *index)
{
	unsigned long n = fpt_load(&x->nr_ranges, relaxed), i;

	for (i = 0; i < n; i++) {
		*index = x->range[i].index;
		if (!fpt_xbitmap_in_use(&x->range[i]) && x->range[i].span >= span)
			return &x->range[i];
	}
	*index = x->next_index;
	return n < FPT_XBITMAP_MAX_RANGES ? &x->range[n] : NULL;
}

/* Dense numbers that a range takes, ~0: more than there are. */
static inline unsigned long fpt_xbitmap_span(const struct fpt_xbitmap *x,
					     const struct fpt_xbitmap_range *r)
{
	return r->nr_blocks > ~0UL >> x->order ? ~0UL : r->nr_blocks << x->order;
}

/*
 * One more than the largest dense number in use, now or before; ~0: there are no larger ones. Slots
 * are in the order of their numbers.
 */
static inline unsigned long fpt_xbitmap_end_index(struct fpt_xbitmap *x)
{
	unsigned long n = fpt_load(&x->nr_ranges, acquire);	/* pairs with add_range's release */
	struct fpt_xbitmap_range *last;

	if (!n)
		return 0;
	last = &x->range[n - 1];
	return last->span > ~0UL - last->index ? ~0UL : last->index + last->span;
}

/* The same, were this range added now. */
static inline unsigned long fpt_xbitmap_last_index(struct fpt_xbitmap *x, fpt_pfn_t pfn,
						   fpt_pfn_t nr)
{
	unsigned long index, span;
	struct fpt_xbitmap_range r;

	if (!fpt_xbitmap_shape(x, pfn, nr, &r))
		return fpt_xbitmap_end_index(x);
	span = fpt_xbitmap_span(x, &r);
	if (!fpt_xbitmap_slot(x, span, &index) || index != x->next_index)
		return fpt_xbitmap_end_index(x);	/* none, or one that has its numbers */
	return span > ~0UL - index ? ~0UL : index + span;
}

/*
 * Add pages, all held. Memory is taken off m: first the metadata, then as many chunks as fit and
 * can be used. Errors: FPT_ERANGE, FPT_ENOSPC (FPT_XBITMAP_MAX_RANGES), FPT_ENOMEM (m does not
 * hold the metadata or, with all_chunks, not all chunks). With an error nothing has changed.
 */
static inline int fpt_xbitmap_add_range(struct fpt_xbitmap *x, fpt_pfn_t pfn, fpt_pfn_t nr,
					struct fpt_mem *m)
{
	unsigned long n = fpt_load(&x->nr_ranges, relaxed), next = x->next_index;
	struct fpt_xbitmap_range new_range, *r = &new_range, *slot;
	struct fpt_mem rest = *m;
	unsigned long bits, i;
	size_t chunk = fpt_mem_cost(fpt_xbitmap_chunk_bytes(x));
	unsigned int l;

	fpt_zero(r, sizeof(*r));
	if (!fpt_xbitmap_shape(x, pfn, nr, r))
		return FPT_ERANGE;
	r->span = fpt_xbitmap_span(x, r);
	slot = fpt_xbitmap_slot(x, r->span, &r->index);
	if (!slot)
		return FPT_ENOSPC;
	/* Blocks are claimed whole: two ranges must not share one. */
	for (i = 0; i < n; i++) {
		fpt_pfn_t theirs = x->range[i].base >> x->order, ours = r->base >> x->order;

		if (fpt_xbitmap_in_use(&x->range[i]) &&
		    (ours >= theirs ? ours - theirs < x->range[i].nr_blocks
				    : theirs - ours < r->nr_blocks))
			return FPT_ERANGE;
	}
	r->chunk = fpt_xbitmap_take_words(&rest, r->nr_chunks);
	r->claimed = fpt_xbitmap_take_words(&rest, fpt_xbitmap_words(r->nr_blocks));
	r->reported = fpt_xbitmap_take_words(&rest, fpt_xbitmap_words(r->nr_blocks));
	r->pool_returned = fpt_xbitmap_take_words(&rest, fpt_xbitmap_words(r->nr_chunks));
	if (!r->chunk || !r->claimed || !r->reported || !r->pool_returned)
		return FPT_ENOMEM;
	if (x->tickets) {
		r->ticket = fpt_xbitmap_take_words(&rest, r->nr_blocks);
		if (!r->ticket)
			return FPT_ENOMEM;
	}
	for (l = 0; x->heat && l <= FPT_XBITMAP_AGE_BITS; l++) {
		fpt_atomic_t *plane =
			fpt_xbitmap_take_words(&rest, fpt_xbitmap_words(r->nr_blocks));

		if (!plane)
			return FPT_ENOMEM;
		if (l < FPT_XBITMAP_AGE_BITS)
			r->age[l] = plane;
		else
			r->touched = plane;
	}
	if (x->audits) {
		r->quiet = fpt_xbitmap_take_words(&rest, fpt_xbitmap_words(r->nr_blocks));
		if (!r->quiet)
			return FPT_ENOMEM;
	}
	for (l = 0, bits = r->nr_blocks; l < r->nr_levels; l++, bits = fpt_xbitmap_words(bits)) {
		r->hinted[l] = fpt_xbitmap_take_words(&rest, fpt_xbitmap_words(bits));
		if (!r->hinted[l])
			return FPT_ENOMEM;
	}
	r->fixed_bytes = m->size - rest.size;
	r->pool = (char *)fpt_mem_take(&rest, 0);
	if (r->pool)
		r->pool_nr = rest.size / chunk < r->nr_chunks ? rest.size / chunk : r->nr_chunks;
	if (x->all_chunks && r->pool_nr < r->nr_chunks)
		return FPT_ENOMEM;
	if (r->pool_nr)
		(void)fpt_mem_take(&rest, r->pool_nr * chunk);
	if (slot == &x->range[n]) {
		if (r->index > ~0UL - 2 * FPT_XBITMAP_INDEX_ALIGN)
			return FPT_ERANGE;
		/* One number at least is left out: no run of them leads from one range into the next. */
		if (r->span >= ~0UL - FPT_XBITMAP_INDEX_ALIGN - r->index)
			next = ~0UL;
		else
			next = (r->index + r->span) / FPT_XBITMAP_INDEX_ALIGN *
			       FPT_XBITMAP_INDEX_ALIGN + FPT_XBITMAP_INDEX_ALIGN;
	} else {
		r->index = slot->index;
		r->span = slot->span;
	}
	/* A range that comes back: what comes late of its blocks' old tickets must find others. */
	for (i = 0; x->generation && i < r->nr_blocks; i++)
		fpt_store(&r->ticket[i], x->generation, relaxed);
	*m = rest;
	fpt_xbitmap_fill_slot(slot, r);
	if (slot == &x->range[n]) {
		x->next_index = next;
		/* First: who finds a page by the slot's count finds the slot by its numbers, too. */
		fpt_store(&x->nr_ranges, n + 1, release);
	}
	fpt_store(&slot->first_pfn, r->pfn, release);	/* X6: after the count was 0 */
	fpt_store(&slot->count, r->nr, release);	/* X6: publishes the slot's fields */
	return FPT_OK;
}

/* Is a page in the range of this slot? X6: see "Ordering" above. */
static inline bool fpt_xbitmap_holds(struct fpt_xbitmap_range *r, fpt_pfn_t pfn)
{
	unsigned long count = fpt_load(&r->count, acquire);

	return pfn - fpt_load(&r->first_pfn, acquire) < count &&
	       fpt_load(&r->count, acquire) == count;
}

/* The range that holds a page, NULL without. */
static inline struct fpt_xbitmap_range *fpt_xbitmap_range_of(struct fpt_xbitmap *x, fpt_pfn_t pfn)
{
	unsigned long n, i;

	/* Most often it is the first. That slot may be looked at unused: its count is 0. */
	if (FPT_LIKELY(fpt_xbitmap_holds(&x->range[0], pfn)))
		return &x->range[0];
	n = fpt_load(&x->nr_ranges, acquire);	/* pairs with add_range's release */
	for (i = 1; i < n; i++)
		if (fpt_xbitmap_holds(&x->range[i], pfn))
			return &x->range[i];
	return NULL;
}

/* The range of a dense number, in use or not; NULL: nobody's. */
static inline struct fpt_xbitmap_range *fpt_xbitmap_range_at(struct fpt_xbitmap *x,
							     unsigned long number)
{
	unsigned long n = fpt_load(&x->nr_ranges, acquire), i;

	for (i = 0; i < n; i++)
		if (number - x->range[i].index < x->range[i].span)
			return &x->range[i];
	return NULL;
}

/*
 * Unlink a range that was added as pfn, nr: searches do not find it any more. Its memory may be
 * used otherwise when nobody who found it before is under way. Errors: FPT_ERANGE (no such range),
 * FPT_EBUSY (a block of it is in a live claim); then nothing has changed.
 */
static inline int fpt_xbitmap_remove_range(struct fpt_xbitmap *x, fpt_pfn_t pfn, fpt_pfn_t nr)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(x, pfn);
	unsigned long w, b;

	if (!r || r->pfn != pfn || r->nr != nr)
		return FPT_ERANGE;
	for (w = 0; w < fpt_xbitmap_words(r->nr_blocks); w++)
		if (fpt_load(&r->claimed[w], acquire))
			return FPT_EBUSY;
	for (b = 0; r->ticket && b < r->nr_blocks; b++) {
		unsigned long ticket = fpt_ticket_of(fpt_load(&r->ticket[b], relaxed));

		if (ticket > x->generation)
			x->generation = ticket;
	}
	fpt_store(&r->count, 0, release);	/* X6 */
	return FPT_OK;
}

/* The memory of chunk i of the pool. */
static inline unsigned long fpt_xbitmap_pool(struct fpt_xbitmap *x, struct fpt_xbitmap_range *r,
					     unsigned long i)
{
	return (unsigned long)(uintptr_t)(r->pool + i * fpt_mem_cost(fpt_xbitmap_chunk_bytes(x)));
}

/*
 * An unused chunk of a pool that has fewer than the range; 0: none. At most one look at each word.
 */
static inline unsigned long fpt_xbitmap_pool_take(struct fpt_xbitmap *x,
						  struct fpt_xbitmap_range *r)
{
	unsigned long i, w;

	if (fpt_load(&r->pool_next, relaxed) < r->pool_nr) {
		i = fpt_fetch_add(&r->pool_next, 1, relaxed);
		if (i < r->pool_nr)
			return fpt_xbitmap_pool(x, r, i);
	}
	for (w = 0; w < fpt_xbitmap_words(r->pool_nr); w++) {
		unsigned long bits = fpt_load(&r->pool_returned[w], relaxed);

		if (!bits)
			continue;
		i = fpt_ctz(bits);
		if (fpt_fetch_and(&r->pool_returned[w], ~(1UL << i), relaxed) >> i & 1)
			return fpt_xbitmap_pool(x, r, w * FPT_WORD_BITS + i);
	}
	return 0;
}

/* Nobody else has seen the chunk: it is still zero. */
static inline void fpt_xbitmap_pool_return(struct fpt_xbitmap *x, struct fpt_xbitmap_range *r,
					   unsigned long address)
{
	unsigned long i =
		(address - fpt_xbitmap_pool(x, r, 0)) / fpt_mem_cost(fpt_xbitmap_chunk_bytes(x));

	fpt_fetch_or(&r->pool_returned[i / FPT_WORD_BITS], 1UL << i % FPT_WORD_BITS, relaxed);
}

/* What chunk c is: its address, FPT_XBITMAP_COARSE, or with take false also 0. */
static inline unsigned long fpt_xbitmap_chunk(struct fpt_xbitmap *x, struct fpt_xbitmap_range *r,
					      unsigned long c, bool take)
{
	unsigned long now = fpt_load(&r->chunk[c], acquire);	/* pairs with the cas below */
	unsigned long mine;

	if (now || !take)
		return now;
	if (r->pool_nr == r->nr_chunks) {
		/* One for each: nobody's race for another chunk can leave this one without. */
		mine = fpt_xbitmap_pool(x, r, c);
		if (fpt_cas(&r->chunk[c], 0, mine, acq_rel))
			fpt_fetch_add(&r->pool_next, 1, relaxed);
		return mine;
	}
	mine = fpt_xbitmap_pool_take(x, r);
	if (fpt_cas(&r->chunk[c], 0, mine ? mine : FPT_XBITMAP_COARSE, acq_rel))
		return mine ? mine : FPT_XBITMAP_COARSE;
	if (mine)
		fpt_xbitmap_pool_return(x, r, mine);
	return fpt_load(&r->chunk[c], acquire);
}

/* The word with the bit of page i (counted from r->base) in a chunk that is not coarse. */
static inline fpt_atomic_t *fpt_xbitmap_word(struct fpt_xbitmap *x, unsigned long chunk,
					     unsigned long i)
{
	unsigned long in_chunk = i & ((1UL << x->chunk_shift) - 1);

	return (fpt_atomic_t *)(uintptr_t)chunk + in_chunk / FPT_WORD_BITS;
}

/* span bits from bit on, within a word */
static inline unsigned long fpt_xbitmap_mask(unsigned long bit, unsigned long span)
{
	return (span == FPT_WORD_BITS ? ~0UL : (1UL << span) - 1) << bit;
}

static inline bool fpt_xbitmap_test_block(fpt_atomic_t *map, unsigned long b)
{
	return fpt_load(&map[b / FPT_WORD_BITS], relaxed) >> b % FPT_WORD_BITS & 1;
}

/*
 * Raise block b in hinted[from] and above. Every level is looked at even when the one below was
 * raised already: whoever raised it may not have got further yet. The load is the look of a
 * store-then-look.
 */
static inline void fpt_xbitmap_raise(struct fpt_xbitmap_range *r, unsigned long b,
				     unsigned int from)
{
	unsigned int l;

	for (l = from; l < r->nr_levels; l++) {
		fpt_atomic_t *w = &r->hinted[l][b / FPT_WORD_BITS];
		unsigned long bit = 1UL << b % FPT_WORD_BITS;

		if (!(fpt_load(w, seq_cst) & bit))
			fpt_or(w, bit, seq_cst);
		b /= FPT_WORD_BITS;
	}
}

/* Take blocks of a word, bits, out of hinted; returns those that were in. */
static inline unsigned long fpt_xbitmap_lower(struct fpt_xbitmap_range *r, unsigned long w,
					      unsigned long bits)
{
	unsigned long was = fpt_fetch_and(&r->hinted[0][w], ~bits, seq_cst), rest = was & ~bits;
	unsigned int l;

	if (!(was & bits))
		return 0;
	for (l = 1; l < r->nr_levels && !rest; l++) {
		unsigned long bit = 1UL << w % FPT_WORD_BITS;

		rest = fpt_fetch_and(&r->hinted[l][w / FPT_WORD_BITS], ~bit, seq_cst) & ~bit;
		/*
		 * A summary bit goes before its word is looked at again: clear, re-test, set
		 * again.
		 */
		if (fpt_load(&r->hinted[l - 1][w], seq_cst)) {
			fpt_xbitmap_raise(r, w, l);
			break;
		}
		w /= FPT_WORD_BITS;
	}
	return was & bits;
}

/* Is block b wholly inside the range as added? */
static inline bool fpt_xbitmap_inside(struct fpt_xbitmap *x, struct fpt_xbitmap_range *r,
				      unsigned long b)
{
	fpt_pfn_t first = r->base + (b << x->order);
	fpt_pfn_t last = first + ((1UL << x->order) - 1);

	return first >= r->pfn && last - r->pfn < r->nr && last >= first;
}

/* Are all bits of block b set? The loads are the look of a store-then-look. */
static inline bool fpt_xbitmap_full(struct fpt_xbitmap *x, unsigned long chunk, unsigned long b)
{
	unsigned long first = b << x->order, nr = 1UL << x->order, i;

	if (nr < FPT_WORD_BITS) {
		unsigned long mask = fpt_xbitmap_mask(first % FPT_WORD_BITS, nr);

		return (fpt_load(fpt_xbitmap_word(x, chunk, first), seq_cst) & mask) == mask;
	}
	for (i = first; i - first < nr; i += FPT_WORD_BITS)
		if (~fpt_load(fpt_xbitmap_word(x, chunk, i), seq_cst))
			return false;
	return true;
}

/* Drop the reported mark of block b; pages that lose it, 0 when it had none. */
static inline unsigned long fpt_xbitmap_touch(struct fpt_xbitmap *x, struct fpt_xbitmap_range *r,
					      unsigned long b)
{
	unsigned long bit = 1UL << b % FPT_WORD_BITS;

	if (!fpt_xbitmap_test_block(r->reported, b))
		return 0;
	/* The store of a store-then-look: fpt_xbitmap_claim_word() looks. */
	return fpt_fetch_and(&r->reported[b / FPT_WORD_BITS], ~bit, seq_cst) & bit ? 1UL << x->order
										   : 0;
}

/*
 * There was an event in block b: it is hot, and not quiet. The load of quiet is the look of audit.h's
 * pair.
 */
static inline void fpt_xbitmap_disturb(struct fpt_xbitmap_range *r, unsigned long b)
{
	unsigned long bit = 1UL << b % FPT_WORD_BITS;

	if (r->touched && !fpt_xbitmap_test_block(r->touched, b))
		(void)fpt_fetch_or(&r->touched[b / FPT_WORD_BITS], bit, relaxed);
	if (r->quiet && (fpt_load(&r->quiet[b / FPT_WORD_BITS], seq_cst) & bit))
		fpt_and(&r->quiet[b / FPT_WORD_BITS], ~bit, seq_cst);
}

/*
 * Set or clear the bits of pages [i, i + nr), counted from r->base and inside r. Returns the pages
 * of blocks that lost their reported mark. *coarse is set when a page had no bit.
 *
 * Only two moments of a block matter to anyone but its bits: a set that may have made it full, and
 * a clear that found it full, the first touch after a report. Both are seen in the word that
 * changes.
 */
static inline unsigned long fpt_xbitmap_write(struct fpt_xbitmap *x, struct fpt_xbitmap_range *r,
					      unsigned long i, unsigned long nr, bool set,
					      bool *coarse)
{
	unsigned long block_nr = 1UL << x->order, refaulted = 0;

	while (nr) {
		unsigned long bit = i % FPT_WORD_BITS, b = i >> x->order, mask, now;
		unsigned long span = FPT_WORD_BITS - bit;
		unsigned long chunk = fpt_xbitmap_chunk(x, r, i >> x->chunk_shift, set);
		fpt_atomic_t *w;

		if (span > nr)
			span = nr;
		/* Where a word holds several blocks, one at a time. */
		if (block_nr < FPT_WORD_BITS && span > block_nr - (i & (block_nr - 1)))
			span = block_nr - (i & (block_nr - 1));
		mask = fpt_xbitmap_mask(bit, span);
		i += span;
		nr -= span;
		if (!chunk)
			continue;	/* clear of a page that was never set */
		if (chunk == FPT_XBITMAP_COARSE) {
			*coarse = true;
			refaulted += fpt_xbitmap_touch(x, r, b);
			if (set && fpt_xbitmap_inside(x, r, b))
				fpt_xbitmap_raise(r, b, 0);
			continue;
		}
		w = fpt_xbitmap_word(x, chunk, i - span);
		/*
		 * A set looks after it has written. A clear looks before: whoever took pages of a
		 * reported block first finds it full, and who follows leaves the mark to that one.
		 */
		if (set)
			fpt_or(w, mask, seq_cst);
		now = fpt_load(w, seq_cst);
		if (!set)
			fpt_and(w, ~mask, seq_cst);	/* the store of ticket.h's pair */
		if (block_nr < FPT_WORD_BITS)
			mask = fpt_xbitmap_mask((i - span) % FPT_WORD_BITS / block_nr * block_nr,
						block_nr);
		else
			mask = ~0UL;
		if ((now & mask) != mask)
			continue;	/* not full, and was not */
		refaulted += fpt_xbitmap_touch(x, r, b);
		/* The event's last word in the block decides; the words before are set already. */
		if (set && (!nr || i >> x->order != b) && fpt_xbitmap_full(x, chunk, b))
			fpt_xbitmap_raise(r, b, 0);
	}
	return refaulted;
}

/*
 * Set (free) or clear (taken) the bits of nr pages from pfn on. Pages in no range are left out;
 * returns how many. *refaulted and *coarse as fpt_xbitmap_write() says. Linearization, per page:
 * the atomic operation on its word.
 */
static inline fpt_pfn_t fpt_xbitmap_update(struct fpt_xbitmap *x, fpt_pfn_t pfn, fpt_pfn_t nr,
					   bool set, unsigned long *refaulted, bool *coarse)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(x, pfn);
	fpt_pfn_t outside = 0;

	if (r && nr <= r->nr - (pfn - r->pfn)) {
		*refaulted = fpt_xbitmap_write(x, r, pfn - r->base, nr, set, coarse);
		return 0;
	}
	/* Across an edge of a range: page by page. */
	for (*refaulted = 0; nr; pfn++, nr--) {
		r = fpt_xbitmap_range_of(x, pfn);
		if (r)
			*refaulted += fpt_xbitmap_write(x, r, pfn - r->base, 1, set, coarse);
		else
			outside++;
	}
	return outside;
}

/*
 * First hinted block at or after *b. Returns the hints of its word from there on, 0: there is none. A
 * scan that races with lower() may miss a hint; the next sees it.
 */
static inline unsigned long fpt_xbitmap_next_hint(struct fpt_xbitmap_range *r, unsigned long *b)
{
	const unsigned int shift = fpt_ctz(FPT_WORD_BITS);
	unsigned long i = *b, last = r->nr_blocks - 1;	/* of level l */
	unsigned int l;

	for (l = 0; l < r->nr_levels && i <= last;) {
		unsigned long first = i / FPT_WORD_BITS;
		unsigned long w =
			fpt_load(&r->hinted[l][first], acquire) & (~0UL << i % FPT_WORD_BITS);

		if (!w) {
			i = first + 1;	/* nothing here: the next word's bit, one level up */
			last >>= shift;
			l++;
			continue;
		}
		i = first * FPT_WORD_BITS + fpt_ctz(w);
		if (!l) {
			*b = i;
			return w;
		}
		i *= FPT_WORD_BITS;
		l--;
		last = (r->nr_blocks - 1) >> l * shift;
	}
	return 0;
}

static inline void fpt_xbitmap_unclaim(struct fpt_xbitmap_range *r, unsigned long w,
				       unsigned long bits)
{
	unsigned long left;

	for (left = r->ticket ? bits : 0; left; left &= left - 1)
		fpt_ticket_drop(&r->ticket[w * FPT_WORD_BITS + fpt_ctz(left)]);
	/* Release: what was done with the claims is before the next one's acquire. */
	fpt_fetch_and(&r->claimed[w], ~bits, release);
}

/*
 * Block b is looked at, as one of many: have a later one's bits on their way to the cache. They are
 * read at the rate that memory gives them. A chunk's end does not matter: chunks follow each other,
 * and what is announced need not be there.
 */
static inline void fpt_xbitmap_expect(struct fpt_xbitmap *x, unsigned long chunk, unsigned long b)
{
	uintptr_t word = (uintptr_t)fpt_xbitmap_word(x, chunk, b << x->order);

	__builtin_prefetch((void *)(word + (FPT_XBITMAP_AHEAD << x->order) / 8));
}

/*
 * Claim those blocks of a word that are in want. Returns which it got; the others were not hinted
 * any more, are in a claim already, were reported since they were hinted, or are not full.
 */
static inline unsigned long fpt_xbitmap_claim_word(struct fpt_xbitmap *x,
						   struct fpt_xbitmap_range *r, unsigned long w,
						   unsigned long want)
{
	unsigned long got = fpt_xbitmap_lower(r, w, want), theirs, left, first = w * FPT_WORD_BITS;
	unsigned long not_now;

	if (!got)
		return 0;
	theirs = fpt_fetch_or(&r->claimed[w], got, acquire) & got;
	/* Touched while claimed: for after the claim. */
	for (left = theirs; left; left &= left - 1)
		fpt_xbitmap_raise(r, first + fpt_ctz(left), 0);
	got &= ~theirs;
	if (!got)
		return 0;
	for (left = r->ticket ? got : 0; left; left &= left - 1)
		fpt_ticket_claim(&r->ticket[first + fpt_ctz(left)]);
	/* Between lower() and here another may have found a younger hint and reported a block. */
	not_now = fpt_load(&r->reported[w], seq_cst) & got;
	for (left = got & ~not_now; left; left &= left - 1) {
		unsigned long b = first + fpt_ctz(left), chunk;

		chunk = fpt_xbitmap_chunk(x, r, (b << x->order) >> x->chunk_shift, false);
		if (chunk == FPT_XBITMAP_COARSE)
			continue;
		if (want & (want - 1))
			fpt_xbitmap_expect(x, chunk, b);
		if (!chunk || !fpt_xbitmap_full(x, chunk, b))
			not_now |= left & -left;
	}
	if (not_now)		/* whoever touches or fills them will hint them */
		fpt_xbitmap_unclaim(r, w, not_now);
	return got & ~not_now;
}

/*
 * Claim the next blocks at or after the cursor, which moves behind them, up to max. Returns how
 * many. Fewer than max: there were no more to the end, and the cursor stands at the beginning again.
 */
static inline unsigned int fpt_xbitmap_claim(struct fpt_xbitmap *x, struct fpt_cursor *c,
					     struct fpt_range *out, unsigned int max)
{
	unsigned long n = fpt_load(&x->nr_ranges, acquire);	/* pairs with add_range's release */
	unsigned int nr = 0;

	if (!max)
		return 0;
	for (; c->range < n; c->range++, c->block = 0) {
		struct fpt_xbitmap_range *r = &x->range[c->range];
		unsigned long hints, want, w;
		unsigned int some;

		if (!fpt_xbitmap_in_use(r))
			continue;
		while ((hints = fpt_xbitmap_next_hint(r, &c->block)) != 0) {
			w = c->block / FPT_WORD_BITS;
			for (want = 0, some = nr; hints && some < max; some++) {
				want |= hints & -hints;
				hints &= hints - 1;
			}
			c->block = w * FPT_WORD_BITS + fpt_fls(want) + 1;
			want = fpt_xbitmap_claim_word(x, r, w, want);
			for (; want; want &= want - 1, nr++) {
				out[nr].pfn = r->base +
					      ((w * FPT_WORD_BITS + fpt_ctz(want)) << x->order);
				out[nr].nr = 1UL << x->order;
			}
			if (nr == max)
				return nr;
		}
	}
	c->range = 0;
	c->block = 0;
	return nr;
}

/*
 * Claim the next block at or after pfn from, in the order of pfns, and at most at pfn to.
 */
static inline bool fpt_xbitmap_claim_from(struct fpt_xbitmap *x, fpt_pfn_t from, fpt_pfn_t to,
					  struct fpt_range *out)
{
	for (;;) {
		unsigned long n = fpt_load(&x->nr_ranges, acquire), i, b;
		struct fpt_xbitmap_range *r = NULL, *s;

		/* The range that holds from or, without, the next above. */
		for (i = 0; i < n; i++) {
			s = &x->range[i];
			if (fpt_xbitmap_in_use(s) && s->pfn + (s->nr - 1) >= from &&
			    (!r || s->pfn < r->pfn))
				r = s;
		}
		if (!r)
			return false;
		b = 0;
		if (from > r->base)	/* rounded up */
			b = ((from - r->base - 1) >> x->order) + 1;
		for (; fpt_xbitmap_next_hint(r, &b) && r->base + (b << x->order) <= to; b++) {
			if (!fpt_xbitmap_claim_word(x, r, b / FPT_WORD_BITS,
						    1UL << b % FPT_WORD_BITS))
				continue;
			out->pfn = r->base + (b << x->order);
			out->nr = 1UL << x->order;
			return true;
		}
		from = r->pfn + r->nr;
		if (!from || from > to)
			return false;		/* behind the last page there can be */
	}
}

/* The range and block of a claim. */
static inline struct fpt_xbitmap_range *fpt_xbitmap_of_claim(struct fpt_xbitmap *x,
							     const struct fpt_range *claim,
							     unsigned long *b)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(x, claim->pfn);

	FPT_ASSERT(r && claim->nr == 1UL << x->order);
	*b = (claim->pfn - r->base) >> x->order;
	FPT_ASSERT(fpt_xbitmap_test_block(r->claimed, *b));
	return r;
}

/*
 * The claimed block is about to go to the host. Returns the ticket, 0: an allocation has cancelled
 * the claim, which is over then. Without tickets: called while nobody can take the block's pages,
 * and never 0. A touch after this call drops the mark again (X5).
 */
static inline unsigned long fpt_xbitmap_submit(struct fpt_xbitmap *x, const struct fpt_range *claim)
{
	unsigned long b, ticket = 1;
	struct fpt_xbitmap_range *r = fpt_xbitmap_of_claim(x, claim, &b);

	if (r->ticket) {
		ticket = fpt_ticket_submit(&r->ticket[b]);
		if (!ticket) {
			/* Whoever cancelled will free the page, and then hint the block. */
			fpt_xbitmap_unclaim(r, b / FPT_WORD_BITS, 1UL << b % FPT_WORD_BITS);
			return 0;
		}
	}
	/*
	 * Tickets: a page that is taken after the submission is written after the completion, and
	 * its free drops the mark.
	 */
	fpt_fetch_or(&r->reported[b / FPT_WORD_BITS], 1UL << b % FPT_WORD_BITS, relaxed);
	/* A hint by a touch between claim and isolation: this report is the answer to it. */
	if (!r->ticket && fpt_xbitmap_test_block(r->hinted[0], b))
		(void)fpt_xbitmap_lower(r, b / FPT_WORD_BITS, 1UL << b % FPT_WORD_BITS);
	return ticket;
}

/* How many claims from the first on are neighbours in one word, their range and that word. */
static inline unsigned int fpt_xbitmap_neighbours(struct fpt_xbitmap *x,
						  const struct fpt_range *claim, unsigned int nr,
						  struct fpt_xbitmap_range **r, unsigned long *w,
						  unsigned long *bits)
{
	unsigned long b;
	unsigned int i;

	*r = fpt_xbitmap_of_claim(x, claim, &b);
	*w = b / FPT_WORD_BITS;
	*bits = 1UL << b % FPT_WORD_BITS;
	for (i = 1; i < nr; i++) {
		if (claim[i].pfn - claim[i - 1].pfn != 1UL << x->order ||
		    (b + i) / FPT_WORD_BITS != *w || b + i >= (*r)->nr_blocks)
			break;
		*bits |= *bits << 1;
	}
	return i;
}

/* fpt_xbitmap_submit() without tickets, of claims that are best in the order of their pfns. */
static inline void fpt_xbitmap_submit_taken(struct fpt_xbitmap *x, const struct fpt_range *claim,
					    unsigned int nr)
{
	unsigned long w, bits, hinted;
	struct fpt_xbitmap_range *r;
	unsigned int n;

	for (; nr; claim += n, nr -= n) {
		n = fpt_xbitmap_neighbours(x, claim, nr, &r, &w, &bits);
		fpt_fetch_or(&r->reported[w], bits, relaxed);
		hinted = fpt_load(&r->hinted[0][w], relaxed) & bits;
		if (hinted)
			(void)fpt_xbitmap_lower(r, w, hinted);
	}
}

/* Are all bits of a claimed block set? The second look, where the tickets' first is too early. */
static inline bool fpt_xbitmap_is_full(struct fpt_xbitmap *x, const struct fpt_range *claim)
{
	unsigned long b, chunk;
	struct fpt_xbitmap_range *r = fpt_xbitmap_of_claim(x, claim, &b);

	chunk = fpt_xbitmap_chunk(x, r, (b << x->order) >> x->chunk_shift, false);
	return chunk && fpt_xbitmap_full(x, chunk, b);
}

/*
 * End a claim. rehint: it was not reported and shall be found again. Without, it is found again
 * when a page of it is next freed.
 */
static inline void fpt_xbitmap_end_claim(struct fpt_xbitmap *x, const struct fpt_range *claim,
					 bool rehint)
{
	unsigned long b;
	struct fpt_xbitmap_range *r = fpt_xbitmap_of_claim(x, claim, &b);

	if (rehint) {
		(void)fpt_xbitmap_touch(x, r, b);
		fpt_xbitmap_raise(r, b, 0);
	}
	fpt_xbitmap_unclaim(r, b / FPT_WORD_BITS, 1UL << b % FPT_WORD_BITS);
}

/* The same for several, without hints; best in the order of their pfns. */
static inline void fpt_xbitmap_end_claims(struct fpt_xbitmap *x, const struct fpt_range *claim,
					  unsigned int nr)
{
	struct fpt_xbitmap_range *r;
	unsigned long w, bits;
	unsigned int n;

	for (; nr; claim += n, nr -= n) {
		n = fpt_xbitmap_neighbours(x, claim, nr, &r, &w, &bits);
		fpt_xbitmap_unclaim(r, w, bits);
	}
}

/*
 * A tick: what was touched since the last is 0 ticks old, the rest is one older. One caller at a time;
 * the age of what is touched meanwhile is that of now or that of the next tick.
 */
static inline void fpt_xbitmap_tick(struct fpt_xbitmap *x)
{
	unsigned long n = fpt_load(&x->nr_ranges, acquire), i, w;	/* pairs with add_range's release */
	unsigned int l;

	for (i = 0; i < n; i++) {
		struct fpt_xbitmap_range *r = &x->range[i];

		if (!fpt_xbitmap_in_use(r) || !r->touched)
			continue;
		for (w = 0; w < fpt_xbitmap_words(r->nr_blocks); w++) {
			unsigned long hot = 0, more, old[FPT_XBITMAP_AGE_BITS];

			if (fpt_load(&r->touched[w], relaxed))
				hot = fpt_xchg(&r->touched[w], 0, acq_rel);
			/* Add 1 where it is not hot and not the most already. */
			for (l = 0, more = ~0UL; l < FPT_XBITMAP_AGE_BITS; l++) {
				old[l] = fpt_load(&r->age[l][w], relaxed);
				more &= old[l];
			}
			for (l = 0, more = ~more; l < FPT_XBITMAP_AGE_BITS; l++) {
				unsigned long now = (old[l] ^ more) & ~hot;

				more &= old[l];
				if (now != old[l])
					fpt_store(&r->age[l][w], now, relaxed);
			}
		}
	}
}

/* For how many ticks has nothing touched a claimed block, as far as folds tell? */
static inline unsigned int fpt_xbitmap_age(struct fpt_xbitmap *x, const struct fpt_range *claim)
{
	unsigned int l, age = 0;
	unsigned long b;
	struct fpt_xbitmap_range *r = fpt_xbitmap_of_claim(x, claim, &b);

	if (fpt_xbitmap_test_block(r->touched, b))
		return 0;
	for (l = 0; l < FPT_XBITMAP_AGE_BITS; l++)
		age |= (unsigned int)fpt_xbitmap_test_block(r->age[l], b) << l;
	return age;
}

/*
 * Is a page free, as far as bits tell? Coarse: true when its block is hinted. For tests and tools.
 */
static inline bool fpt_xbitmap_test(struct fpt_xbitmap *x, fpt_pfn_t pfn)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(x, pfn);
	unsigned long i, chunk;

	if (!r)
		return false;
	i = pfn - r->base;
	chunk = fpt_xbitmap_chunk(x, r, i >> x->chunk_shift, false);
	if (chunk == FPT_XBITMAP_COARSE)
		return fpt_xbitmap_test_block(r->hinted[0], i >> x->order);
	return chunk && (fpt_load(fpt_xbitmap_word(x, chunk, i), acquire) >> i % FPT_WORD_BITS & 1);
}

static inline bool fpt_xbitmap_is_coarse(struct fpt_xbitmap *x, fpt_pfn_t pfn)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(x, pfn);

	return r && fpt_xbitmap_chunk(x, r, (pfn - r->base) >> x->chunk_shift, false) ==
			    FPT_XBITMAP_COARSE;
}

/* Bytes donated, and of them in use (chunks handed out count). */
static inline void fpt_xbitmap_memory(struct fpt_xbitmap *x, size_t *donated, size_t *used)
{
	size_t chunk = fpt_mem_cost(fpt_xbitmap_chunk_bytes(x));
	unsigned long n = fpt_load(&x->nr_ranges, acquire), i;

	for (*donated = 0, *used = 0, i = 0; i < n; i++) {
		struct fpt_xbitmap_range *r = &x->range[i];
		unsigned long taken = fpt_load(&r->pool_next, relaxed);

		if (!fpt_xbitmap_in_use(r))
			continue;
		*donated += r->fixed_bytes + r->pool_nr * chunk;
		*used += r->fixed_bytes + (taken < r->pool_nr ? taken : r->pool_nr) * chunk;
	}
}

#endif
