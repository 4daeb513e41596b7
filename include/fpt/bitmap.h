/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bitmap.h - per CPU, a bitmap of the pages that it freed, which grows
 *
 * Purpose. No fixed limit and private lines: a hook writes its own CPU's bitmap only. A page freed
 * and taken again on one CPU between two drains leaves nothing; so the longer the reporter's
 * period, the more precise it is, compared with array.h. After the idea that closed the discussion
 * of 2019, with its two objections answered: hooks take from a reserve and never allocate, and
 * what one CPU frees and another takes is left to isolation.
 *
 * Layout, per CPU:
 *
 *	level[k]	| level * : dirty | 0 : 0 | ...	level k has ENTRIES << k entries; nothing ever moves.
 *			   |				dirty: 1 bit per word of dirty[], folded to a word
 *			   v
 *	level		entry[]  | leaf * : dirty | ...	dirty: 1 bit per grain of the leaf
 *			dirty[]  |..1.....|		1 bit per entry
 *
 *	leaf		| grain | grain | ...		1 bit per page, set: freed here and not yet drained
 *
 *	extent		[link, used, size | level | leaf | leaf |   left   ] -> extent -> ...
 *
 * Leaves are numbered densely, from 0 up: the leaves of one range, then those of the next. Level k
 * holds numbers from ENTRIES * (2^k - 1) on. A leaf begins where its range's first block does, so
 * that its words are the back's words. Levels and leaves are taken from the CPU's reserve when a
 * page of theirs is first freed there, and stay where they are until fpt_destroy().
 *
 * Sizes. A grain is what a dirty bit stands for and what a drain exchanges: one cache line, 512
 * pages, a block of order 9. A leaf is 8 grains, 4096 pages. Smaller leaves waste less on a stray
 * page, but their directory is paid for whether pages are freed or not: 16 bytes per leaf and CPU
 * are 3 % of a leaf of 512 bytes, 25 % of one of 64. A drained leaf is found empty by its dirty
 * bits, and costs no visit.
 *
 * Invariants.
 *	B1  A page whose last event is a free is hinted: by a bit of the CPU where that free was, by a
 *	    drainer's hands, or by the back.
 *	B2  When no drain is under way and all frees have returned, the three dirty bits that lead to a bit
 *	    that is set are set: in entry.dirty, dirty[], level[k].dirty. All three are conservative.
 *	B3  What a slot (level[k].at, entry.leaf) points to never changes and is nobody else's.
 *	B4  With sections: a leaf's words are written by sections that saw it open, or by the drain that
 *	    closed it, between its fence and its opening the leaf again.
 *
 * Who may call what:
 *				concurrently with	context
 *	free, alloc, drain	everything but init	any (kernel: not NMI; drain may sleep)
 *	wanted, memory		everything but init	any
 *	refill			everything but itself	any
 *	init			nothing
 * A thread may be preempted and another run on its CPU anywhere, or be moved to another CPU: all
 * words are written by atomic read-modify-writes, but for a slot by whoever has reserved it or
 * closes it, and for the words of leaves by sections, where there are any (fpt_sections()).
 *
 * A drain with sections. One bit of a leaf's slot says that the leaf is closed. A drain closes all
 * leaves that are dirty, fences once, takes what they hold with plain loads and stores, and opens
 * each when it has taken it. What comes to a closed leaf meanwhile goes to the back at once, and is
 * counted as slow. A second generation of leaves instead would double the memory.
 *
 *	hook				drain
 *	slot is open?			close
 *	set the bit (one section)	fence: no section completes that saw the leaf open
 *					clear the dirty bits, take the words, open
 *	look at the dirty bits
 *
 * Ordering.
 *	O1  A slot is published with a release store, after its memory was zeroed and linked; looked up with
 *	    acquire. An extent likewise: refill's store of link, a hook's load of link or extent.
 *	O2  A word of bits: the set is a release, the drain's exchange an acquire, so that bits that a drain
 *	    sets in the back come after the free that they stand for.
 *	O3  A drain clears a dirty bit, then exchanges what it stands for; a set sets below, then looks at the
 *	    dirty bit above, and sets it where it is clear. Both write the word below by acquire and release
 *	    read-modify-writes. When the drain's comes second, it takes what was set; when first, the
 *	    set (or whoever's set it saw: the look is an acquire) has read from it, so that its look
 *	    comes after the clear. So the drain must exchange every word under a bit that it cleared, also
 *	    one that seems to be 0, and a look needs no barrier. A dirty bit leads to a slot that was
 *	    filled before the bit was set, so that who exchanges the bit finds it. (seq_cst stands for
 *	    acquire and release, which the seam does not have for fetch_or.)
 *
 *	O4  The same with sections, which are no read-modify-writes. A section loads the slot with acquire,
 *	    and the drain stores it with release when it has cleared the dirty bits and the words. So who
 *	    sees the leaf open again sees the dirty bits cleared, and raises them. Who saw it open before
 *	    was through before the fence: the drain sees the bit. Whether the look at a dirty bit came
 *	    before or after the drain cleared that, the leaf's words were taken, and a bit that is raised
 *	    once more costs a visit. What got dirty after the leaves were closed is not taken, and the
 *	    drain raises the dirty bits above it again.
 *
 * Progress. free, alloc: wait-free, bounded by the words of the event and FPT_BITMAP_ATTEMPTS: after
 * so many restarts of a section, the event goes to the back. drain: wait-free, bounded by
 * what is dirty; one load per CPU and level where nothing is. With sections it fences, once if
 * anything is dirty, and one that meets another leaves all to it, which goes round once more: then it
 * is lock-free.
 *
 * Full. Where the reserve has no room for a leaf, or for the level that would hold it, the event
 * goes to the back at once and is counted (FPT_STAT_SLOW): a free sets its bits there, an alloc
 * clears them. So does a free while another thread of its CPU is between reserving a slot and
 * filling it, for as long as that thread does not run; and, with sections, to a closed leaf, and on
 * a CPU beyond the tracker's. Nothing is dropped. fpt_wanted() tells the
 * reporter how much to donate with fpt_refill(). Pages beyond FPT_BITMAP_MAX_LEVELS levels are
 * slow for good.
 *
 * Accepted imprecision.
 *	- An alloc clears what its own CPU holds and leaves other CPUs' bits and the back's: stale hints, which
 *	  isolation refuses and fpt_forget_used() repairs. Becomes exact with that.
 *	- An alloc that comes while a drain has the page's bit in its hands, or its leaf closed, does not
 *	  find it: as above. Nor does one that was restarted too often find its own CPU's.
 *	- A drain that has cleared a dirty bit holds all that it stands for. Another drain that runs meanwhile
 *	  does not find it; the one after does, so two that follow each other find everything. With sections
 *	  it returns at once.
 *	- From level 7 on (127 GiB of 4 KiB pages) a bit of level[k].dirty stands for several words of dirty[],
 *	  a 64th of the level's: a drain visits some that are 0.
 */
#ifndef FPT_BITMAP_H
#define FPT_BITMAP_H

#include <fpt/tracker.h>

/* A power of two, not below a grain, and at most FPT_WORD_BITS grains. */
#ifndef FPT_BITMAP_LEAF_BYTES
#define FPT_BITMAP_LEAF_BYTES 512
#endif

/* Drained together. A power of two, one word or more. */
#ifndef FPT_BITMAP_GRAIN_BYTES
#define FPT_BITMAP_GRAIN_BYTES 64
#endif

/* Of level 0. A power of two. */
#ifndef FPT_BITMAP_ENTRIES
#define FPT_BITMAP_ENTRIES 64u
#endif

/* With the values above and 4 KiB pages: 4 PiB, and 1 TiB where words have 32 bits. */
#ifndef FPT_BITMAP_MAX_LEVELS
#define FPT_BITMAP_MAX_LEVELS (FPT_WORD_BITS >= 64 ? 22u : 10u)
#endif

/*
 * Leaves per CPU that init sees to when config.bitmap_leaves is 0: 33 KiB, for 1 GiB of 4 KiB
 * pages.
 */
#define FPT_BITMAP_LEAVES 64
#define FPT_BITMAP_MAX_LEAVES (~0UL >> 16)	/* so that sizes in bytes do not wrap around */

#if FPT_BITMAP_LEAF_BYTES > 512
#error "A leaf's pages must divide FPT_XBITMAP_INDEX_ALIGN"
#endif

#define FPT_BITMAP_LEAF_PAGES (8UL * FPT_BITMAP_LEAF_BYTES)
#define FPT_BITMAP_GRAIN_PAGES (8UL * FPT_BITMAP_GRAIN_BYTES)
#define FPT_BITMAP_ATTEMPTS 8

/*
 * In a slot: reserved by somebody who has not filled it yet. With an address, which is aligned: a
 * leaf that is closed (B4). Either way the slot leads nowhere now.
 */
#define FPT_BITMAP_TAKING 1UL
#define FPT_BITMAP_CLOSED 1UL

struct fpt_bitmap_entry {
	fpt_atomic_t leaf;		/* slot */
	fpt_atomic_t dirty;
};

/* At the beginning of the memory that it describes. */
struct fpt_bitmap_extent {
	fpt_atomic_t link;		/* the next one's address */
	fpt_atomic_t used;		/* bytes behind this header */
	size_t size;			/* of them there are */
} __attribute__((aligned(FPT_CACHE_LINE)));

struct fpt_bitmap_level {
	fpt_atomic_t at;		/* slot */
	fpt_atomic_t dirty;
};

struct fpt_bitmap_cpu {
	struct fpt_bitmap_level level[FPT_BITMAP_MAX_LEVELS];
	fpt_atomic_t extent;		/* address: where to look for room first */
	fpt_atomic_t starved;		/* bytes that there was no room for, since the last refill */
	struct fpt_bitmap_extent *first;
	struct fpt_bitmap_extent *last;	/* refill's own */
} __attribute__((aligned(FPT_CACHE_LINE)));

struct fpt_bitmap {
	size_t reserve;			/* bytes per CPU, at first and by refill */
	unsigned int nr_cpus;		/* as configured; 0: there are no sections */
	unsigned int next_cpu;		/* refill's own: where it stopped */
	fpt_atomic_t refilled;		/* bytes */
	struct fpt_bitmap_cpu *cpu;
	fpt_atomic_t draining __attribute__((aligned(FPT_CACHE_LINE)));
};

/* Where an entry is. */
struct fpt_bitmap_place {
	unsigned int level;
	unsigned long i;		/* in that level */
	fpt_atomic_t *dirty;		/* the level's */
	struct fpt_bitmap_entry *entry;	/* NULL: the level is not there */
};

static inline unsigned long fpt_bitmap_first(unsigned int level)
{
	return ((unsigned long)FPT_BITMAP_ENTRIES << level) - FPT_BITMAP_ENTRIES;
}

/* Words of a level's dirty bits. */
static inline unsigned long fpt_bitmap_words(unsigned int level)
{
	return fpt_xbitmap_words((unsigned long)FPT_BITMAP_ENTRIES << level);
}

static inline unsigned int fpt_bitmap_level_of(unsigned long leaf)
{
	return fpt_fls(leaf + FPT_BITMAP_ENTRIES) - fpt_fls(FPT_BITMAP_ENTRIES);
}

static inline size_t fpt_bitmap_level_bytes(unsigned int level)
{
	return fpt_mem_cost(((unsigned long)FPT_BITMAP_ENTRIES << level) *
				    sizeof(struct fpt_bitmap_entry) +
			    fpt_bitmap_words(level) * sizeof(fpt_atomic_t));
}

/* Bytes of so many leaves, the first ones, and of the levels that hold them. */
static inline size_t fpt_bitmap_bytes(unsigned long leaves)
{
	size_t size = leaves * FPT_BITMAP_LEAF_BYTES;
	unsigned int k;

	for (k = 0; k < FPT_BITMAP_MAX_LEVELS && fpt_bitmap_first(k) < leaves; k++)
		size += fpt_bitmap_level_bytes(k);
	return fpt_mem_cost(size);
}

static inline unsigned long fpt_bitmap_leaves(const struct fpt_config *config)
{
	return config->bitmap_leaves ? config->bitmap_leaves : FPT_BITMAP_LEAVES;
}

static inline size_t fpt_bitmap_size(const struct fpt_config *config)
{
	size_t reserve =
		sizeof(struct fpt_bitmap_extent) + fpt_bitmap_bytes(fpt_bitmap_leaves(config));

	return fpt_mem_cost(sizeof(struct fpt_bitmap)) +
	       config->nr_cpus * (sizeof(struct fpt_bitmap_cpu) + reserve);
}

/* An extent of at most size bytes, header and all, off the front of m. */
static inline struct fpt_bitmap_extent *fpt_bitmap_take_extent(struct fpt_mem *m, size_t size)
{
	struct fpt_bitmap_extent *e = (struct fpt_bitmap_extent *)fpt_mem_take(m, size);

	if (e)
		e->size = size - sizeof(*e);
	return e;
}

static inline int fpt_bitmap_init(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m)
{
	struct fpt_bitmap *b = (struct fpt_bitmap *)fpt_mem_take(m, sizeof(*b));
	unsigned int i;

	if (fpt_bitmap_leaves(config) > FPT_BITMAP_MAX_LEAVES)
		return FPT_EINVAL;
	if (!b)
		return FPT_ENOMEM;
	b->reserve = fpt_bitmap_bytes(fpt_bitmap_leaves(config));
	b->nr_cpus = fpt_sections() ? config->nr_cpus : 0;
	b->cpu = (struct fpt_bitmap_cpu *)fpt_mem_take(m, config->nr_cpus * sizeof(*b->cpu));
	if (!b->cpu)
		return FPT_ENOMEM;
	for (i = 0; i < config->nr_cpus; i++) {
		struct fpt_bitmap_cpu *c = &b->cpu[i];

		c->first = fpt_bitmap_take_extent(m, sizeof(*c->first) + b->reserve);
		if (!c->first)
			return FPT_ENOMEM;
		c->last = c->first;
		fpt_store(&c->extent, (unsigned long)(uintptr_t)c->first, relaxed);
	}
	t->front[FPT_SLOT_BITMAP] = b;
	return FPT_OK;
}

/*
 * An extent with room for size bytes, NULL without. The first so many are looked at; those with no
 * room for a leaf are left behind for good.
 */
static inline struct fpt_bitmap_extent *fpt_bitmap_room(struct fpt_bitmap_cpu *c, size_t size)
{
	unsigned long at = fpt_load(&c->extent, acquire), next;		/* O1 */
	unsigned int n;

	for (n = 0; at && n < FPT_BITMAP_ATTEMPTS; n++, at = next) {
		struct fpt_bitmap_extent *e = (struct fpt_bitmap_extent *)(uintptr_t)at;
		size_t left = e->size - fpt_load(&e->used, relaxed);

		if (left >= size)
			return e;
		next = fpt_load(&e->link, acquire);		/* O1 */
		if (next && left < FPT_BITMAP_LEAF_BYTES)
			(void)fpt_cas(&c->extent, at, next, acq_rel);
	}
	return NULL;
}

/* So many zeroed bytes of the reserve, 0 without. */
static inline unsigned long fpt_bitmap_take(struct fpt_bitmap_cpu *c, size_t size)
{
	unsigned int attempt;

	for (attempt = 0; attempt < FPT_BITMAP_ATTEMPTS; attempt++) {
		struct fpt_bitmap_extent *e = fpt_bitmap_room(c, size);
		unsigned long used;

		if (!e)
			return 0;
		used = fpt_load(&e->used, relaxed);
		if (e->size - used >= size && fpt_cas(&e->used, used, used + size, acq_rel))
			return (unsigned long)(uintptr_t)(e + 1) + used;
	}
	return 0;
}

/* Does what a slot holds lead anywhere? */
static inline bool fpt_bitmap_leads(unsigned long slot)
{
	return slot && !(slot & FPT_BITMAP_TAKING);
}

/*
 * What a slot points to, 0: nothing. Then with take, it could not be filled; without, *none says
 * whether it could not have been.
 */
static inline unsigned long fpt_bitmap_get(struct fpt_bitmap_cpu *c, fpt_atomic_t *slot,
					   size_t size, bool take, bool *none)
{
	unsigned long now = fpt_load(slot, acquire);		/* O1 */

	if (fpt_bitmap_leads(now))
		return now;
	*none = take || now;
	if (now)
		return 0;
	if (!fpt_bitmap_room(c, size)) {
		*none = true;
		if (take && fpt_load(&c->starved, relaxed) < size)
			fpt_store(&c->starved, size, relaxed);
		return 0;
	}
	/*
	 * Reserved first and filled then, so that nobody takes memory that turns out not to be
	 * needed.
	 */
	if (!take || !fpt_cas(slot, 0, FPT_BITMAP_TAKING, acq_rel))
		return 0;
	now = fpt_bitmap_take(c, size);
	fpt_store(slot, now, release);				/* O1 */
	return now;
}

static inline void fpt_bitmap_at(struct fpt_bitmap_place *p, unsigned long level)
{
	struct fpt_bitmap_entry *entry = (struct fpt_bitmap_entry *)(uintptr_t)level;

	p->entry = entry + p->i;
	p->dirty =
		(fpt_atomic_t *)(void *)(entry + ((unsigned long)FPT_BITMAP_ENTRIES << p->level));
}

/* Where a leaf is; NULL: nowhere yet, or closed. */
static inline fpt_atomic_t *fpt_bitmap_find(struct fpt_bitmap_cpu *c, unsigned long leaf,
					    struct fpt_bitmap_place *p)
{
	unsigned long at;

	p->level = fpt_bitmap_level_of(leaf);
	p->i = leaf - fpt_bitmap_first(p->level);
	at = p->level < FPT_BITMAP_MAX_LEVELS ? fpt_load(&c->level[p->level].at, acquire) : 0;	/* O1 */
	if (!fpt_bitmap_leads(at))
		return NULL;
	fpt_bitmap_at(p, at);
	at = fpt_load(&p->entry->leaf, acquire);		/* O1 */
	return fpt_bitmap_leads(at) ? (fpt_atomic_t *)(uintptr_t)at : NULL;
}

/*
 * The same for a leaf that is nowhere: with take, get it, and its level. NULL: see
 * fpt_bitmap_get().
 */
static inline fpt_atomic_t *fpt_bitmap_grow(struct fpt_bitmap_cpu *c, struct fpt_bitmap_place *p,
					    bool take, bool *none)
{
	unsigned long at;

	*none = true;
	if (p->level >= FPT_BITMAP_MAX_LEVELS)
		return NULL;
	at = fpt_bitmap_get(c, &c->level[p->level].at, fpt_bitmap_level_bytes(p->level), take,
			    none);
	if (!at)
		return NULL;
	fpt_bitmap_at(p, at);
	return (fpt_atomic_t *)(uintptr_t)
	       fpt_bitmap_get(c, &p->entry->leaf, FPT_BITMAP_LEAF_BYTES, take, none);
}

/* The look of O3, and what it is for. */
static inline void fpt_bitmap_raise(fpt_atomic_t *dirty, unsigned long bits)
{
	if (~fpt_load(dirty, acquire) & bits)
		fpt_or(dirty, bits, seq_cst);
}

/*
 * Bits of these grains were set. All three are looked at, whatever the one below says: whoever
 * raised it may not have got further.
 */
static inline void fpt_bitmap_mark(struct fpt_bitmap_cpu *c, const struct fpt_bitmap_place *p,
				   unsigned long grains)
{
	fpt_bitmap_raise(&p->entry->dirty, grains);
	fpt_bitmap_raise(&p->dirty[p->i / FPT_WORD_BITS], 1UL << p->i % FPT_WORD_BITS);
	fpt_bitmap_raise(&c->level[p->level].dirty, 1UL << p->i / FPT_WORD_BITS % FPT_WORD_BITS);
}

/*
 * Set bits of a word of a leaf, or clear those that are set. A section adds *n with it, what is
 * still to be counted of the event. False: it was refused.
 */
static inline __attribute__((__always_inline__)) bool
fpt_bitmap_change_word(struct fpt *t, bool sections, unsigned int cpu,
		       const struct fpt_bitmap_place *p, fpt_atomic_t *leaf, fpt_atomic_t *w,
		       unsigned long bits, bool set, unsigned long *n)
{
	fpt_atomic_t *slot = &p->entry->leaf, *count;
	unsigned long was = (unsigned long)(uintptr_t)leaf, done;

	/*
	 * Relaxed: the allocator orders it after the free before it and before the free after it.
	 */
	if (!set && !(fpt_load(w, relaxed) & bits))
		return true;
	if (!sections) {
		if (set)
			fpt_or(w, bits, seq_cst);	/* O2, O3 */
		else
			fpt_and(w, ~bits, relaxed);
		return true;
	}
	count = &t->percpu[cpu].count[set ? FPT_STAT_FREED : FPT_STAT_ALLOCATED];
	/* Linearization of an event, per page. O4. */
	if (set)
		done = fpt_section_or(cpu, slot, was, count, *n, w, bits);
	else
		done = fpt_section_and(cpu, slot, was, count, *n, w, ~bits);
	if (FPT_LIKELY(done == FPT_SECTION_DONE)) {
		*n = 0;
		return true;
	}
	if (done == FPT_SECTION_COUNTED)
		*n = 0;
	return false;
}

/*
 * Set or clear nr bits of a leaf from bit i on. Dirty bits stay. Returns how many it came to, fewer
 * when a section was refused. *n: what is still to be counted of the event.
 */
static inline unsigned long fpt_bitmap_change(struct fpt *t, unsigned int cpu,
					      const struct fpt_bitmap_place *p, fpt_atomic_t *leaf,
					      unsigned long i, unsigned long nr, bool set,
					      unsigned long *n)
{
	struct fpt_bitmap *b = (struct fpt_bitmap *)t->front[FPT_SLOT_BITMAP];
	unsigned long done = 0;

	while (done < nr) {
		unsigned long bit = (i + done) % FPT_WORD_BITS, span = FPT_WORD_BITS - bit;
		fpt_atomic_t *w = &leaf[(i + done) / FPT_WORD_BITS];

		if (span > nr - done)
			span = nr - done;
		if (!fpt_bitmap_change_word(t, b->nr_cpus, cpu, p, leaf, w,
					    fpt_xbitmap_mask(bit, span), set, n))
			break;
		done += span;
	}
	if (set && done)
		fpt_bitmap_mark(&b->cpu[cpu], p,
				fpt_xbitmap_mask(i / FPT_BITMAP_GRAIN_PAGES,
						 (i + done - 1) / FPT_BITMAP_GRAIN_PAGES -
						 i / FPT_BITMAP_GRAIN_PAGES + 1));
	return done;
}

/* Number of r's first leaf. No leaf is shared: r->index is a multiple of a leaf's pages. */
static inline unsigned long fpt_bitmap_first_leaf(struct fpt_xbitmap_range *r)
{
	return r->index / FPT_BITMAP_LEAF_PAGES;
}

/* Set or clear nr pages from i on, counted from r->base and inside r. True: the back had to do. */
static inline bool fpt_bitmap_write(struct fpt *t, unsigned int cpu, struct fpt_xbitmap_range *r,
				    unsigned long i, unsigned long nr, bool set, unsigned long *n)
{
	struct fpt_bitmap *b = (struct fpt_bitmap *)t->front[FPT_SLOT_BITMAP];
	unsigned long first = fpt_bitmap_first_leaf(r);
	unsigned int attempt = 0;
	bool slow = false;

	while (nr) {
		unsigned long bit = i % FPT_BITMAP_LEAF_PAGES, span = FPT_BITMAP_LEAF_PAGES - bit;
		struct fpt_bitmap_cpu *c = &b->cpu[cpu];
		struct fpt_bitmap_place p;
		fpt_atomic_t *leaf = fpt_bitmap_find(c, first + i / FPT_BITMAP_LEAF_PAGES, &p);
		bool none = false;

		if (span > nr)
			span = nr;
		if (!leaf)
			leaf = fpt_bitmap_grow(c, &p, set, &none);
		if (leaf && attempt < FPT_BITMAP_ATTEMPTS) {
			unsigned long done = fpt_bitmap_change(t, cpu, &p, leaf, bit, span, set, n);

			if (done < span) {	/* moved, or closed, or interrupted */
				cpu = fpt_cpu(t->nr_cpus);
				attempt++;
				span = done;
			}
		} else if (leaf || none) {
			fpt_update_back(t, cpu, r->base + i, span, set);
			slow = true;
		}
		i += span;
		nr -= span;
	}
	return slow;
}

/* An event, n of which was not counted yet. Not inline, so that hooks need few registers. */
static __attribute__((__noinline__, __unused__)) void
fpt_bitmap_update(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr, bool set, unsigned long n)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(&t->back, pfn);
	unsigned int cpu = fpt_cpu(t->nr_cpus);
	fpt_pfn_t outside = 0;
	bool slow = false;

	if (r && nr <= r->nr - (pfn - r->pfn)) {
		slow = fpt_bitmap_write(t, cpu, r, pfn - r->base, nr, set, &n);
		nr = 0;
	}
	/* Across an edge of a range: page by page. */
	for (; nr; pfn++, nr--) {
		r = fpt_xbitmap_range_of(&t->back, pfn);
		if (!r)
			outside++;
		else if (fpt_bitmap_write(t, cpu, r, pfn - r->base, 1, set, &n))
			slow = true;
	}
	if (n)
		fpt_count(t, cpu, set ? FPT_STAT_FREED : FPT_STAT_ALLOCATED, n);
	if (outside)
		fpt_count(t, cpu, FPT_STAT_OUTSIDE, outside);
	if (slow)
		fpt_count(t, cpu, FPT_STAT_SLOW, 1);
}

/*
 * One page in a leaf that is there, as nearly all events are. False: it is not, or the section was
 * refused; *n is what is still to be counted.
 */
static inline __attribute__((__always_inline__)) bool
fpt_bitmap_update_one(struct fpt *t, fpt_pfn_t pfn, bool set, unsigned long *n)
{
	struct fpt_bitmap *b = (struct fpt_bitmap *)t->front[FPT_SLOT_BITMAP];
	unsigned int cpu = fpt_section_cpu();
	struct fpt_xbitmap_range *r;
	struct fpt_bitmap_place p;
	fpt_atomic_t *leaf;
	unsigned long i;

	if (FPT_UNLIKELY(cpu >= b->nr_cpus))
		return false;
	r = fpt_xbitmap_range_of(&t->back, pfn);
	if (FPT_UNLIKELY(!r))
		return false;
	i = pfn + r->number;
	leaf = fpt_bitmap_find(&b->cpu[cpu], i / FPT_BITMAP_LEAF_PAGES, &p);
	if (FPT_UNLIKELY(!leaf))
		return false;
	i %= FPT_BITMAP_LEAF_PAGES;
	if (FPT_UNLIKELY(!fpt_bitmap_change_word(t, true, cpu, &p, leaf, leaf + i / FPT_WORD_BITS,
						 1UL << i % FPT_WORD_BITS, set, n)))
		return false;
	if (set)
		fpt_bitmap_mark(&b->cpu[cpu], &p, 1UL << i / FPT_BITMAP_GRAIN_PAGES);
	else if (*n)
		fpt_count(t, cpu, FPT_STAT_ALLOCATED, *n);
	return true;
}

/* Hooks. */
static inline void fpt_bitmap_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	unsigned long n = 1UL << order;

	if (order || FPT_UNLIKELY(!fpt_bitmap_update_one(t, pfn, true, &n)))
		fpt_bitmap_update(t, pfn, 1UL << order, true, n);
}

static inline int fpt_bitmap_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	unsigned long n = 1UL << order;

	if (order || FPT_UNLIKELY(!fpt_bitmap_update_one(t, pfn, false, &n)))
		fpt_bitmap_update(t, pfn, 1UL << order, false, n);
	return FPT_OK;
}

/*
 * Move a grain to the back; i: its first page, counted from r->base. Neighbouring pages go
 * together.
 */
static inline void fpt_bitmap_drain_grain(struct fpt *t, unsigned int here,
					  struct fpt_xbitmap_range *r, unsigned long i,
					  fpt_atomic_t *word, bool sections)
{
	unsigned long end = i + FPT_BITMAP_GRAIN_PAGES, first = i, nr = 0;

	for (; i < end; i += FPT_WORD_BITS, word++) {
		unsigned long bits;

		if (sections) {
			bits = fpt_load(word, relaxed);			/* B4 */
			if (bits)
				fpt_store(word, 0, relaxed);
		} else {
			bits = fpt_xchg(word, 0, acq_rel);		/* O2, O3 */
		}
		while (bits) {
			unsigned int from = fpt_ctz(bits), to = FPT_WORD_BITS;

			if (~(bits | (bits - 1)))
				to = fpt_ctz(~(bits | (bits - 1)));
			bits = to < FPT_WORD_BITS ? bits >> to << to : 0;
			if (nr && first + nr != i + from) {
				fpt_update_back(t, here, r->base + first, nr, true);
				nr = 0;
			}
			if (!nr)
				first = i + from;
			nr += to - from;
		}
	}
	if (nr)
		fpt_update_back(t, here, r->base + first, nr, true);
}

static inline void fpt_bitmap_drain_leaf(struct fpt *t, unsigned int here,
					 struct fpt_bitmap_entry *e, unsigned long leaf,
					 bool sections)
{
	unsigned long grains = fpt_xchg(&e->dirty, 0, acq_rel);		/* O3 */
	unsigned long slot = fpt_load(&e->leaf, acquire) & ~FPT_BITMAP_CLOSED;	/* O1 */
	fpt_atomic_t *words = (fpt_atomic_t *)(uintptr_t)slot;
	struct fpt_xbitmap_range *r;
	unsigned long first;

	/* The hook that set the bits knew the range, so that it is seen here. */
	r = fpt_xbitmap_range_at(&t->back, leaf * FPT_BITMAP_LEAF_PAGES);
	first = fpt_bitmap_first_leaf(r);
	for (; grains; grains &= grains - 1) {
		unsigned long at = fpt_ctz(grains) * FPT_BITMAP_GRAIN_PAGES;

		fpt_bitmap_drain_grain(t, here, r, (leaf - first) * FPT_BITMAP_LEAF_PAGES + at,
				       words + at / FPT_WORD_BITS, sections);
	}
	if (sections)
		fpt_store(&e->leaf, slot, release);			/* O4 */
}

/* Leaf numbers that there are: one more than the last one. */
static inline unsigned long fpt_bitmap_nr_leaves(struct fpt *t)
{
	unsigned long n = fpt_load(&t->back.nr_ranges, acquire), leaves = 0, i;

	for (i = 0; i < n; i++) {
		struct fpt_xbitmap_range *r = &t->back.range[i];
		unsigned long last = r->index + (r->span - 1);

		if (last / FPT_BITMAP_LEAF_PAGES + 1 > leaves)
			leaves = last / FPT_BITMAP_LEAF_PAGES + 1;
	}
	return leaves;
}

static inline void fpt_bitmap_drain_level(struct fpt *t, unsigned int here,
					  struct fpt_bitmap_level *l, unsigned int level,
					  bool sections)
{
	unsigned long words = fpt_xchg(&l->dirty, 0, acq_rel), w, bits, late;	/* O3 */
	struct fpt_bitmap_place p = { level, 0, NULL, NULL };

	for (; words; words &= words - 1) {
		for (w = fpt_ctz(words); w < fpt_bitmap_words(level); w += FPT_WORD_BITS) {
			p.i = w * FPT_WORD_BITS;
			fpt_bitmap_at(&p, fpt_load(&l->at, acquire));		/* O1 */
			bits = fpt_xchg(&p.dirty[w], 0, acq_rel);		/* O3 */
			for (late = 0; bits; bits &= bits - 1) {
				struct fpt_bitmap_entry *e = p.entry + fpt_ctz(bits);

				if (sections && !(fpt_load(&e->leaf, relaxed) & FPT_BITMAP_CLOSED))
					late |= bits & -bits;
				else
					fpt_bitmap_drain_leaf(t, here, e,
							      fpt_bitmap_first(level) + p.i +
								      fpt_ctz(bits),
							      sections);
			}
			/* Dirty since the leaves were closed: the next drain's. */
			if (late) {
				fpt_bitmap_raise(&p.dirty[w], late);
				fpt_bitmap_raise(&l->dirty, 1UL << w % FPT_WORD_BITS);
			}
		}
	}
}

/* With sections: close the leaves that are dirty. */
static inline void fpt_bitmap_close_level(struct fpt_bitmap_level *l, unsigned int level)
{
	unsigned long words = fpt_load(&l->dirty, acquire), w, bits;
	struct fpt_bitmap_place p = { level, 0, NULL, NULL };

	for (; words; words &= words - 1) {
		for (w = fpt_ctz(words); w < fpt_bitmap_words(level); w += FPT_WORD_BITS) {
			p.i = w * FPT_WORD_BITS;
			fpt_bitmap_at(&p, fpt_load(&l->at, acquire));		/* O1 */
			for (bits = fpt_load(&p.dirty[w], acquire); bits; bits &= bits - 1) {
				struct fpt_bitmap_entry *e = p.entry + fpt_ctz(bits);

				/* O1. Nobody else writes the slot: it has been filled. */
				fpt_store(&e->leaf, fpt_load(&e->leaf, acquire) | FPT_BITMAP_CLOSED,
					  relaxed);
			}
		}
	}
}

/* False: nothing is dirty. */
static inline bool fpt_bitmap_is_dirty(struct fpt *t, struct fpt_bitmap *b, unsigned int levels)
{
	unsigned int cpu, k;

	for (cpu = 0; cpu < t->nr_cpus; cpu++)
		for (k = 0; k < levels; k++)
			if (fpt_load(&b->cpu[cpu].level[k].dirty, relaxed))
				return true;
	return false;
}

static inline void fpt_bitmap_drain_round(struct fpt *t, struct fpt_bitmap *b, unsigned int levels)
{
	unsigned int cpu, k, here = fpt_cpu(t->nr_cpus);

	if (b->nr_cpus) {
		for (cpu = 0; cpu < t->nr_cpus; cpu++)
			for (k = 0; k < levels; k++)
				if (fpt_load(&b->cpu[cpu].level[k].dirty, relaxed))
					fpt_bitmap_close_level(&b->cpu[cpu].level[k], k);
		fpt_section_fence();					/* B4 */
	}
	for (cpu = 0; cpu < t->nr_cpus; cpu++)
		for (k = 0; k < levels; k++)
			if (fpt_load(&b->cpu[cpu].level[k].dirty, relaxed))
				fpt_bitmap_drain_level(t, here, &b->cpu[cpu].level[k], k,
						       b->nr_cpus);
}

/* Move what all CPUs hold to the back. */
static inline void fpt_bitmap_drain(struct fpt *t)
{
	struct fpt_bitmap *b = (struct fpt_bitmap *)t->front[FPT_SLOT_BITMAP];
	unsigned long leaves = fpt_bitmap_nr_leaves(t);
	unsigned int levels = 0;

	while (levels < FPT_BITMAP_MAX_LEVELS && fpt_bitmap_first(levels) < leaves)
		levels++;
	/* Somebody else is at it: it may hold dirty bits. Acquire: those that it gave back. */
	if (!b->nr_cpus)
		fpt_bitmap_drain_round(t, b, levels);
	else if ((fpt_load(&b->draining, acquire) || fpt_bitmap_is_dirty(t, b, levels)) &&
		 fpt_drain_begin(&b->draining))
		do
			fpt_bitmap_drain_round(t, b, levels);
		while (!fpt_drain_end(&b->draining));
}

/* Bytes that a CPU has taken from its reserve; *left: not yet. */
static inline size_t fpt_bitmap_used(struct fpt_bitmap_cpu *c, size_t *left)
{
	struct fpt_bitmap_extent *e = c->first;
	size_t used = 0;

	for (*left = 0; e; e = (struct fpt_bitmap_extent *)(uintptr_t)fpt_load(&e->link, acquire)) {	/* O1 */
		size_t now = fpt_load(&e->used, relaxed);

		used += now;
		*left += e->size - now;
	}
	return used;
}

/*
 * Bytes, a header among them, that a CPU wants: see fpt_wanted(). all: those that it can ever use.
 */
static inline size_t fpt_bitmap_wants(struct fpt_bitmap *b, struct fpt_bitmap_cpu *c, size_t all)
{
	size_t starved = fpt_load(&c->starved, relaxed), left, used = fpt_bitmap_used(c, &left),
	       want;

	if (used >= all || (!starved && (left >= b->reserve / 2 || left >= all - used)))
		return 0;
	want = left < all - used ? all - used - left : 0;
	if (want > b->reserve)
		want = b->reserve;
	/* A level is of no use without a leaf. */
	if (starved && want < starved + FPT_BITMAP_LEAF_BYTES)
		want = starved + FPT_BITMAP_LEAF_BYTES;
	return sizeof(struct fpt_bitmap_extent) + fpt_mem_cost(want);
}

static inline size_t fpt_bitmap_wanted(struct fpt *t)
{
	struct fpt_bitmap *b = (struct fpt_bitmap *)t->front[FPT_SLOT_BITMAP];
	size_t all = fpt_bitmap_bytes(fpt_bitmap_nr_leaves(t)), sum = 0;
	unsigned int cpu;

	for (cpu = 0; cpu < t->nr_cpus; cpu++)
		sum += fpt_bitmap_wants(b, &b->cpu[cpu], all);
	return sum ? sum + FPT_CACHE_LINE : 0;		/* the donation need not be aligned */
}

/* Gives each CPU what it wants, beginning behind the one that got the last bit the time before. */
static inline int fpt_bitmap_refill(struct fpt *t, struct fpt_mem *m)
{
	struct fpt_bitmap *b = (struct fpt_bitmap *)t->front[FPT_SLOT_BITMAP];
	size_t all = fpt_bitmap_bytes(fpt_bitmap_nr_leaves(t));
	unsigned int n, given = 0;

	for (n = 0; n < t->nr_cpus; n++) {
		struct fpt_bitmap_cpu *c = &b->cpu[b->next_cpu];
		size_t want = fpt_bitmap_wants(b, c, all);
		struct fpt_bitmap_extent *e;
		size_t before = m->size;

		if (want) {
			e = fpt_bitmap_take_extent(m, want);
			if (!e)
				break;
			/*
			 * Counted first: fpt_bitmap_memory() never finds more left than there is.
			 */
			fpt_fetch_add(&b->refilled, before - m->size, relaxed);
			fpt_store(&c->last->link, (unsigned long)(uintptr_t)e, release);	/* O1 */
			c->last = e;
			fpt_store(&c->starved, 0, relaxed);
			given++;
		}
		b->next_cpu = b->next_cpu + 1 < t->nr_cpus ? b->next_cpu + 1 : 0;
	}
	return n < t->nr_cpus && !given ? FPT_ENOMEM : FPT_OK;
}

/* Adds what was refilled, and leaves out of *used what nobody has taken yet. */
static inline void fpt_bitmap_memory(struct fpt *t, size_t *donated, size_t *used)
{
	struct fpt_bitmap *b = (struct fpt_bitmap *)t->front[FPT_SLOT_BITMAP];
	size_t left = 0, some, refilled;
	unsigned int cpu;

	for (cpu = 0; cpu < t->nr_cpus; cpu++) {
		(void)fpt_bitmap_used(&b->cpu[cpu], &some);
		left += some;
	}
	refilled = fpt_load(&b->refilled, relaxed);
	*donated += refilled;
	*used += refilled - left;
}

__extension__ static const struct fpt_ops fpt_bitmap_ops __attribute__((unused)) = {
	.name = "bitmap",
	.slot = FPT_SLOT_BITMAP,
	.retracts = false,
	.toggles = false,
	.max_pages = 0,
	.size = fpt_bitmap_size,
	.init = fpt_bitmap_init,
	.free = fpt_bitmap_free,
	.alloc = fpt_bitmap_alloc,
	.drain = fpt_bitmap_drain,
	.cut = NULL,
	.wanted = fpt_bitmap_wanted,
	.refill = fpt_bitmap_refill,
	.memory = fpt_bitmap_memory,
};

#endif
