/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * delta.h - per CPU, what changed since the last fold: exact like xbitmap, private like array
 *
 * Purpose. A page's frees and allocations alternate, so every event *toggles* one bit, and toggles
 * commute:
 *
 *	state(page) = base(page) xor delta_0(page) xor delta_1(page) xor ...	one delta per CPU
 *
 * The base is the back. Each CPU toggles its own delta with a plain read-modify-write, whichever
 * CPU the page was freed on; a free and an alloc of one page cancel, on one CPU or across CPUs. The
 * reporter *folds* the deltas into the base.
 *
 * Layout.
 *
 *	epoch			one word for all CPUs; gen[epoch & 1] is live
 *
 *	per CPU, gen[2]:
 *	dirty	|..1.....|	1 bit per set: it has a line
 *	tag	[ 7 | 0 | 0 | 0 ] [ 3 | 9 | 0 | 0 ] ...	a set: FPT_DELTA_WAYS tags; line number + 1, 0: empty
 *	line	[........][........][........][........] ...	one cache line of bits each: 512 pages
 *
 * Lines are numbered by the dense numbers of their pages (xbitmap.h). The table is as large as it
 * was configured, whatever the guest's size.
 *
 * A fold. The reporter adds 1 to the epoch and fences: every hook section that looked at the old
 * epoch has then completed or will start again. The frozen generation is nobody's: plain loads
 * tell what to toggle in the base, atomically, and it is cleared before it becomes live again.
 * Because all CPUs' hooks look at one epoch, a fold is a consistent cut: of each page's events it
 * has the first so many. With one epoch per CPU it would not be:
 *
 *	hook on CPU 0		hook on CPU 1		reporter
 *							fold CPU 0
 *	free p, new epoch
 *				alloc p, old epoch
 *							fold CPU 1: p's alloc without its free
 *
 * There are no counters of free pages. A fold looks at the lines that it folded, and the slow path
 * at its own: is the block full now? The look ends at the first word that is not, so that a fold's
 * cost is by dirty line (and, for blocks of more than one line, by the full lines before that word).
 *
 * When to fold. A line that is folded comes to the reporter's CPU and, at its next event, goes back:
 * two transfers per dirty line and fold, whatever the number of events. So fold no more often than it
 * takes to keep hints fresh: let passes be due by amount, with an age for what trickles
 * (policy.amount, policy.age), rather than by a short period. And what is hot is taken again at once:
 * policy.cold leaves it with the guest. (report.h)
 *
 * Invariants.
 *	D1  base xor all deltas is 1 for the pages that are free and 0 for those that are not, whenever no
 *	    event is under way.
 *	D2  After the fence of a fold nobody writes its generation until the epoch has moved on again.
 *	D3  A line that was given to a CPU since the generation became live has its set's dirty bit.
 *	D4  While the epoch lasts, a tag that is not 0 stays.
 *	D5  A block of which a page's free has returned, and that is full, is hinted after the next fold.
 *
 * *Presence* of a line, not its content, counts as a touch of its blocks: a page that was taken,
 * written, and freed again between two folds leaves no bit, but its memory is back on the host.
 * Below order 9 that touches all blocks of the line.
 *
 * Tickets. When a hook returns, the base does not know yet; so a claim is looked at twice. The
 * reporter publishes its claims, then folds (fpt_delta_cut(), one for any number of claims), then
 * looks at the blocks again, and only then makes CLAIMED SUBMITTED. An alloc toggles, then looks at
 * the tickets of its blocks (ticket.h). Whichever epoch it toggles in, one of the two finds out:
 *
 *	hook				reporter
 *	load epoch: e			claim, look: full
 *	toggle in generation e		ticket = CLAIMED
 *	look: IDLE, go on
 *					epoch = e + 1, fence, fold: the block is not full
 *					second look: give the claim up
 *
 *					ticket = CLAIMED
 *					epoch = e + 1, fence, fold, second look: full
 *	load epoch: e + 1 (acquire)
 *	toggle in generation e + 1
 *	look: CLAIMED, cancel		submit: cancelled
 *
 * What the fold does not have was toggled after a load of e + 1, which comes with CLAIMED; or after
 * the fence: then the look comes after it, too. Two ways to lose an owner's data:
 *
 *	claim published after the flip		epoch loaded with relaxed order
 *	hook		reporter		hook		reporter
 *			epoch = e + 1		look: IDLE, too early
 *			fence, fold				ticket = CLAIMED
 *	load e + 1						epoch = e + 1, fence
 *	toggle, e + 1						fold, second look: full
 *	look: IDLE				load e + 1
 *			ticket = CLAIMED	toggle, e + 1
 *			second look: full	go on: IDLE
 *			submit						submit
 *
 * On the right two loads of one thread change places: not on x86, and in no test there. The fence
 * is never left out, though nothing is dirty: a section may be on its way to a first line, and what
 * the hook's CPU has not yet made visible would be seen neither here nor, by the hook, there.
 * Events of the slow path are in the base at once: xor, then look, both seq_cst, are ticket.h's pair.
 * A later event of a page that is seen early, besides, can be but the free of the page's last alloc,
 * as any alloc that comes after the claim sees it: so "full" is never said of a page in use.
 *
 * Who may call what:
 *				concurrently with	context
 *	free, alloc, drain, cut	everything but init	any (kernel: not NMI; drain may sleep)
 *	init			nothing
 * One fold at a time: a drain that meets another leaves it to that one; a cut cannot (its claims may
 * be younger), and says so: they are given up, with their hints.
 *
 * Ordering.
 *	O1  A section loads the epoch with acquire; a fold stores it with release: a generation that is live
 *	    again was cleared before. The fence is the other direction: what sections wrote before it is
 *	    seen after it.
 *	O2  A toggle of the base, by a fold or by the slow path, comes before the look whether the block is
 *	    full; both are seq_cst. Of two that complete a block, the later sees it full, and hints.
 *
 * Progress. free, alloc: wait-free: FPT_DELTA_ATTEMPTS sections for each word, then the slow path.
 * drain, cut: wait-free but for the fence, bounded by what is dirty; nothing dirty: one load per CPU and
 * 64 sets, and no fence.
 *
 * Slow path (counted): a set has no empty tag, or the section did not get through, or there are no
 * sections (fpt_sections()): the event toggles the base, atomically. Nothing is ever dropped.
 *
 * Full. A CPU's table is full set by set: see slow path. The base needs all its memory:
 * fpt_add_range() takes no less than fpt_range_size(..., true).
 *
 * What it needs. An exact source of events: one that is missed inverts its page for good, so a lossy
 * source is refused, but with audits (audit.h), and so is switching to or from a tracker that sets and clears. Where isolation
 * refuses a block nothing is repaired: the alloc may be in a live delta.
 */
#ifndef FPT_DELTA_H
#define FPT_DELTA_H

#include <fpt/tracker.h>

#ifndef FPT_DELTA_WAYS
#define FPT_DELTA_WAYS 4u
#endif
#define FPT_DELTA_SETS 256u		/* by default: 1024 lines per CPU and generation, 144 KiB in all */
#define FPT_DELTA_MAX_SETS (1UL << 20)

/* Sections per word of an event, at least two: one may have to take a line first. */
#ifndef FPT_DELTA_ATTEMPTS
#define FPT_DELTA_ATTEMPTS 8u
#endif

#define FPT_DELTA_LINE_WORDS ((unsigned int)(64 / sizeof(fpt_atomic_t)))
#define FPT_DELTA_LINE_PAGES 512UL

struct fpt_delta_gen {
	fpt_atomic_t *dirty;
	fpt_atomic_t *tag;
	fpt_atomic_t *line;
};

struct fpt_delta_cpu {
	struct fpt_delta_gen gen[2];
} __attribute__((aligned(FPT_CACHE_LINE)));

struct fpt_delta {
	fpt_atomic_t epoch;
	unsigned long sets;		/* a power of two */
	bool sections;			/* false: all events go the slow path */
	struct fpt_delta_cpu *cpu;
	fpt_atomic_t folding __attribute__((aligned(FPT_CACHE_LINE)));
};

static inline unsigned long fpt_delta_sets(const struct fpt_config *config)
{
	return config->delta_sets ? config->delta_sets : FPT_DELTA_SETS;
}

/* Bytes of a generation. */
static inline size_t fpt_delta_gen_size(unsigned long sets)
{
	size_t tags = sets * FPT_DELTA_WAYS * sizeof(fpt_atomic_t);

	return fpt_xbitmap_words_cost(fpt_xbitmap_words(sets)) + fpt_mem_cost(tags) +
	       fpt_mem_cost(tags * FPT_DELTA_LINE_WORDS);
}

static inline size_t fpt_delta_size(const struct fpt_config *config)
{
	return fpt_mem_cost(sizeof(struct fpt_delta)) +
	       config->nr_cpus * (sizeof(struct fpt_delta_cpu) +
				  2 * fpt_delta_gen_size(fpt_delta_sets(config)));
}

static inline int fpt_delta_init(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m)
{
	struct fpt_delta *d = (struct fpt_delta *)fpt_mem_take(m, sizeof(*d));
	unsigned long sets = fpt_delta_sets(config), lines = sets * FPT_DELTA_WAYS;
	unsigned int i;

	if (sets > FPT_DELTA_MAX_SETS || (sets & (sets - 1)))
		return FPT_EINVAL;
	if (!d)
		return FPT_ENOMEM;
	d->sets = sets;
	d->sections = fpt_sections();
	d->cpu = (struct fpt_delta_cpu *)fpt_mem_take(m, config->nr_cpus * sizeof(*d->cpu));
	if (!d->cpu)
		return FPT_ENOMEM;
	for (i = 0; i < 2 * config->nr_cpus; i++) {
		struct fpt_delta_gen *g = &d->cpu[i / 2].gen[i % 2];

		g->dirty = fpt_xbitmap_take_words(m, fpt_xbitmap_words(sets));
		g->tag = fpt_xbitmap_take_words(m, lines);
		g->line = fpt_xbitmap_take_words(m, lines * FPT_DELTA_LINE_WORDS);
		if (!g->dirty || !g->tag || !g->line)
			return FPT_ENOMEM;
	}
	t->front[FPT_SLOT_DELTA] = d;
	return FPT_OK;
}

/* Pages [i, i + nr) of r were toggled in the base: the look of O2, for each of their blocks. */
static inline void fpt_delta_settle(struct fpt *t, unsigned int cpu, struct fpt_xbitmap_range *r,
				    unsigned long i, unsigned long nr)
{
	struct fpt_xbitmap *x = &t->back;
	unsigned long b = i >> x->order, last = (i + nr - 1) >> x->order, refaulted = 0;

	for (; b <= last && b < r->nr_blocks; b++) {
		unsigned long chunk =
			fpt_xbitmap_chunk(x, r, (b << x->order) >> x->chunk_shift, false);

		refaulted += fpt_xbitmap_touch(x, r, b);
		fpt_xbitmap_disturb(r, b);
		if (chunk && fpt_xbitmap_full(x, chunk, b))
			fpt_xbitmap_raise(r, b, 0);
	}
	if (refaulted)
		fpt_count(t, cpu, FPT_STAT_REFAULTED, refaulted);
}

/* Toggle bits of the base: mask in the word of page i of r. */
static inline void fpt_delta_toggle(struct fpt *t, struct fpt_xbitmap_range *r, unsigned long i,
				    unsigned long mask)
{
	struct fpt_xbitmap *x = &t->back;
	unsigned long chunk = fpt_xbitmap_chunk(x, r, i >> x->chunk_shift, true);

	(void)fpt_fetch_xor(fpt_xbitmap_word(x, chunk, i), mask, seq_cst);	/* O2 */
}

/*
 * Toggle bits of this CPU's delta: mask in the word of page i of r. False: it could not be, see
 * "slow path".
 */
static inline bool fpt_delta_flip(struct fpt_delta *d, unsigned int nr_cpus, unsigned int cpu,
				  unsigned long number, unsigned long mask)
{
	unsigned long tag = number / FPT_DELTA_LINE_PAGES + 1, set = tag & (d->sets - 1);
	unsigned long first = set * FPT_DELTA_WAYS, word = number / FPT_WORD_BITS;
	unsigned int attempt;

	if (!d->sections)
		return false;
	word %= FPT_DELTA_LINE_WORDS;
	for (attempt = 0; attempt < FPT_DELTA_ATTEMPTS; attempt++) {
		unsigned long e = fpt_load(&d->epoch, acquire);		/* O1 */
		struct fpt_delta_gen *g = &d->cpu[cpu].gen[e & 1];
		unsigned long i, empty = 0;

		/* Of a table that may be another CPU's by now, or be folded: the sections find out. */
		for (i = first; i < first + FPT_DELTA_WAYS; i++) {
			unsigned long now = fpt_load(&g->tag[i], relaxed);

			if (now == tag)
				break;
			if (!now && !empty)
				empty = i + 1;
		}
		if (i < first + FPT_DELTA_WAYS) {
			/*
			 * Linearization of an event, per page. No look at the tag again: while the
			 * epoch lasts, a tag does not change (D4).
			 */
			if (fpt_section_xor(cpu, &d->epoch, e,
					    &g->line[i * FPT_DELTA_LINE_WORDS + word], mask))
				return true;
		} else if (empty) {
			/* D3: the dirty bit comes first. */
			if (fpt_section_put(cpu, &d->epoch, e, &g->tag[empty - 1], tag,
					    &g->dirty[set / FPT_WORD_BITS],
					    1UL << set % FPT_WORD_BITS))
				continue;
		} else {
			return false;
		}
		cpu = fpt_cpu(nr_cpus);		/* moved, folded, or another took the tag */
	}
	return false;
}

/* Of an event, nr pages from page i of r on, in one word. True: they went the slow path. */
static inline bool fpt_delta_word(struct fpt *t, unsigned int cpu, struct fpt_xbitmap_range *r,
				  unsigned long i, unsigned long nr, unsigned long mask)
{
	struct fpt_delta *d = (struct fpt_delta *)t->front[FPT_SLOT_DELTA];

	if (fpt_delta_flip(d, t->nr_cpus, cpu, r->index + i, mask))
		return false;
	fpt_delta_toggle(t, r, i, mask);
	fpt_delta_settle(t, cpu, r, i, nr);
	return true;
}

/* An event on pages [i, i + nr) of r. True: some of it went the slow path. */
static inline bool fpt_delta_write(struct fpt *t, unsigned int cpu, struct fpt_xbitmap_range *r,
				   unsigned long i, unsigned long nr)
{
	bool slow = false;

	if (nr == 1)		/* most events: without the loop a fifth less */
		return fpt_delta_word(t, cpu, r, i, 1, 1UL << i % FPT_WORD_BITS);
	while (nr) {
		unsigned long bit = i % FPT_WORD_BITS, span = FPT_WORD_BITS - bit;

		if (span > nr)
			span = nr;
		slow |= fpt_delta_word(t, cpu, r, i, span, fpt_xbitmap_mask(bit, span));
		i += span;
		nr -= span;
	}
	return slow;
}

static inline void fpt_delta_event(struct fpt *t, unsigned int cpu, fpt_pfn_t pfn, fpt_pfn_t nr)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(&t->back, pfn);
	fpt_pfn_t outside = 0;
	bool slow = false;

	if (r && nr <= r->nr - (pfn - r->pfn)) {
		slow = fpt_delta_write(t, cpu, r, pfn - r->base, nr);
		nr = 0;
	}
	/* Across an edge of a range: page by page. */
	for (; nr; pfn++, nr--) {
		r = fpt_xbitmap_range_of(&t->back, pfn);
		if (r)
			slow |= fpt_delta_write(t, cpu, r, pfn - r->base, 1);
		else
			outside++;
	}
	if (outside)
		fpt_count(t, cpu, FPT_STAT_OUTSIDE, outside);
	if (slow)
		fpt_count(t, cpu, FPT_STAT_SLOW, 1);
}

static inline void fpt_delta_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	unsigned int cpu = fpt_cpu(t->nr_cpus);

	fpt_count(t, cpu, FPT_STAT_FREED, 1UL << order);
	fpt_delta_event(t, cpu, pfn, 1UL << order);
}

static inline int fpt_delta_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	unsigned int cpu = fpt_cpu(t->nr_cpus);

	fpt_count(t, cpu, FPT_STAT_ALLOCATED, 1UL << order);
	fpt_delta_event(t, cpu, pfn, 1UL << order);
	return t->back.tickets ? fpt_take_tickets(t, cpu, pfn, 1UL << order) : FPT_OK;
}

/* Fold line i of a frozen generation (D2), and leave it empty. */
static inline void fpt_delta_fold_line(struct fpt *t, unsigned int here, struct fpt_delta_gen *g,
				       unsigned long i)
{
	unsigned long tag = fpt_load(&g->tag[i], relaxed), number, page;
	struct fpt_xbitmap_range *r;
	unsigned int w;

	if (!tag)
		return;
	number = (tag - 1) * FPT_DELTA_LINE_PAGES;
	/* The hook that took the line knew the range, so that it is seen here. */
	r = fpt_xbitmap_range_at(&t->back, number);
	page = number - r->index;
	for (w = 0; w < FPT_DELTA_LINE_WORDS; w++) {
		fpt_atomic_t *word = &g->line[i * FPT_DELTA_LINE_WORDS + w];
		unsigned long bits = fpt_load(word, relaxed);

		if (!bits)
			continue;
		/* A range that was removed has no bits; its slot still has the numbers. */
		if (fpt_xbitmap_in_use(r))
			fpt_delta_toggle(t, r, page + w * FPT_WORD_BITS, bits);
		fpt_store(word, 0, relaxed);
	}
	fpt_store(&g->tag[i], 0, relaxed);
	if (fpt_xbitmap_in_use(r))
		fpt_delta_settle(t, here, r, page, FPT_DELTA_LINE_PAGES);
}

/* Has any CPU's live generation a line? */
static inline bool fpt_delta_is_dirty(struct fpt *t, struct fpt_delta *d, unsigned long live)
{
	unsigned int cpu;
	unsigned long w;

	for (cpu = 0; cpu < t->nr_cpus; cpu++)
		for (w = 0; w < fpt_xbitmap_words(d->sets); w++)
			if (fpt_load(&d->cpu[cpu].gen[live].dirty[w], relaxed))
				return true;
	return false;
}

/*
 * Fold all CPUs' deltas into the base. False: another fold is under way. always: also when nothing
 * is dirty: a section may just be about to write, and does not know what this fold is for.
 */
static inline bool fpt_delta_fold(struct fpt *t, bool always)
{
	struct fpt_delta *d = (struct fpt_delta *)t->front[FPT_SLOT_DELTA];
	unsigned int cpu, here = fpt_cpu(t->nr_cpus);
	unsigned long e, w;

	if (!d->sections)
		return true;		/* the base has everything */
	if (!fpt_cas(&d->folding, 0, 1, acq_rel))
		return false;
	e = fpt_load(&d->epoch, relaxed);
	if (!always && !fpt_delta_is_dirty(t, d, e & 1)) {
		fpt_store(&d->folding, 0, release);
		return true;
	}
	fpt_store(&d->epoch, e + 1, release);			/* O1 */
	fpt_section_fence();					/* D2 */
	for (cpu = 0; cpu < t->nr_cpus; cpu++) {
		struct fpt_delta_gen *g = &d->cpu[cpu].gen[e & 1];

		for (w = 0; w < fpt_xbitmap_words(d->sets); w++) {
			unsigned long bits = fpt_load(&g->dirty[w], relaxed), i;

			if (!bits)
				continue;
			fpt_store(&g->dirty[w], 0, relaxed);
			for (; bits; bits &= bits - 1) {
				unsigned long set = w * FPT_WORD_BITS + fpt_ctz(bits);

				for (i = 0; i < FPT_DELTA_WAYS; i++)
					fpt_delta_fold_line(t, here, g, set * FPT_DELTA_WAYS + i);
			}
		}
	}
	fpt_store(&d->folding, 0, release);	/* pairs with the cas of the next fold */
	return true;
}

static inline void fpt_delta_drain(struct fpt *t)
{
	(void)fpt_delta_fold(t, false);
}

/* The fold between a claim and its second look. */
static inline bool fpt_delta_cut(struct fpt *t)
{
	return fpt_delta_fold(t, true);
}

__extension__ static const struct fpt_ops fpt_delta_ops __attribute__((unused)) = {
	.name = "delta",
	.slot = FPT_SLOT_DELTA,
	.retracts = false,
	.toggles = true,
	.max_pages = 0,
	.size = fpt_delta_size,
	.init = fpt_delta_init,
	.free = fpt_delta_free,
	.alloc = fpt_delta_alloc,
	.drain = fpt_delta_drain,
	.cut = fpt_delta_cut,
	.wanted = NULL,
	.refill = NULL,
	.memory = NULL,
};

#endif
