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
 *	per CPU, gen[2], one behind the other:
 *	dirty	|..1.1...|	1 bit per entry: it has a line
 *	whole	|....1...|	1 bit per entry: besides, all 512 pages of its line are toggled
 *	tag	[7,e][7,c][9,e][ 0 ] ...		an entry's line number + 1, and its epoch
 *	line	[........][........][........] ...	one cache line of bits each: 512 pages
 *
 * Lines are numbered by the dense numbers of their pages (xbitmap.h). The table is as large as it
 * was configured, whatever the guest's size: sets * FPT_DELTA_WAYS entries. Line number l may be in
 * entries l, l + sets, l + 2 sets, ... (modulo all entries), its set, and takes the first that is
 * empty. As long as there are no more lines than entries that is the first, so that a hook looks
 * once; guests that are larger share entries and then sets.
 *
 * A fold finds the entries by their dirty bits. Only of guests with more lines than entries it looks at
 * tags: in others the entry's number is the line's. So with a table that has room for all lines no
 * tag leaves its CPU.
 *
 * An entry whose tag is not of the generation's epoch is *empty*, whatever is in its line: the owner
 * that takes it zeroes the line, and the bit of "whole", then sets the dirty bit, then writes the tag.
 * Were it interrupted after the dirty bit, there would be a line of zeroes to fold. So a fold writes
 * to none of the three: it reads them, and for the next event of that entry its CPU still has them,
 * and needs no more than to tell the reporter's cache that its copy is old. The reporter clears
 * the dirty bits: of many lines in one.
 *
 * How many lines: as many as the guest has are enough, and fewer where no CPU touches all between two
 * folds. Of the events of tests/traces/guest-512M.fpt (256 lines, 4 CPUs), folds at 1 s, 56 % go the
 * slow path with 16 lines per CPU, 8 % with 64, 0.1 % with 128; "slow_events" / "events" in the JSON of
 * fpt compare -t delta --policy period_ms=1000,lines=N tells for any trace.
 *
 * A tag has FPT_DELTA_EPOCH_BITS of its epoch. Before those of an epoch come again in a generation,
 * the fold that ends the last epoch before zeroes all its tags, of all CPUs: one fold of 2^(bits - 1),
 * for each generation, is as long as its tables. With 16 bits and a fold a second: twice in 18 hours.
 *
 * An event that covers lines wholly is one toggle for each, of "whole", not one for each word. What
 * of it is split or coalesced later does not matter: toggles add up, page by page.
 *
 * A fold. The reporter adds 1 to the epoch and fences: every hook section that looked at the old
 * epoch has then completed or will start again. The frozen generation is nobody's: plain loads
 * tell what to toggle in the base, atomically. Its dirty bits are cleared before it becomes live
 * again.
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
 * When to fold. A line that is folded comes to the reporter's CPU: a transfer per dirty line and fold,
 * whatever the number of events, and one per line of tags where they are looked at. At the next event a
 * message goes to the reporter's CPU, which takes its copies away. So fold no more often than it
 * takes to keep hints fresh: let passes be due by amount, with an age for what trickles
 * (policy.amount, policy.age), rather than by a short period. And what is hot is taken again at once:
 * policy.cold leaves it with the guest. (report.h)
 *
 * Invariants.
 *	D1  base xor all deltas is 1 for the pages that are free and 0 for those that are not, whenever no
 *	    event is under way.
 *	D2  After the fence of a fold nobody writes its generation until the epoch has moved on again.
 *	D3  A line that was given to a CPU since the generation became live has its entry's dirty bit.
 *	D4  While the epoch lasts, a tag that is of it stays. So a line is in no entry that comes after an
 *	    empty one.
 *	D5  A block of which a page's free has returned, and that is full, is hinted after the next fold.
 *	D6  An entry's line and bit of "whole" are 0 when it gets its dirty bit or its tag becomes one of
 *	    the epoch, and what is in them afterwards is of that epoch.
 *	D7  In a generation that becomes live no tag is of the epoch that begins, nor of one that could be
 *	    taken for it.
 *	D8  As long as no line's number was ever as large as there are entries, an entry's number is that
 *	    of the only line that can be in it.
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
 * Progress. free, alloc: wait-free: FPT_DELTA_ATTEMPTS sections for each word or whole line, and one
 * or two before, then the slow path.
 * drain, cut: wait-free but for the fence, bounded by what is dirty. A drain that finds nothing
 * dirty: one load per CPU and 64 entries, and no fence; a cut always has its fence.
 *
 * Slow path (counted): a set has no empty entry, or no section got through, or there are none
 * (fpt_sections()), or the CPU is none of those that were configured: the event toggles the base,
 * atomically. Nothing is ever dropped.
 *
 * Full. A CPU's table is full set by set: see slow path. The base needs all its memory:
 * fpt_add_range() takes no less than fpt_range_size(..., true).
 *
 * What it needs. An exact source of events: one that is missed inverts its page for good, so a lossy
 * source is refused, but with audits (audit.h), and so is switching to or from a tracker that sets
 * and clears. Where isolation
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

/* Sections per word of an event, at least one. */
#ifndef FPT_DELTA_ATTEMPTS
#define FPT_DELTA_ATTEMPTS 7u
#endif

/* Of an epoch, in tags. The others are for a line's number + 1: of 2^33 pages where words have 32. */
#ifndef FPT_DELTA_EPOCH_BITS
#define FPT_DELTA_EPOCH_BITS (FPT_WORD_BITS / 4)
#endif

#define FPT_DELTA_LINE_WORDS ((unsigned int)(64 / sizeof(fpt_atomic_t)))
#define FPT_DELTA_LINE_PAGES 512UL

struct fpt_delta_gen {
	fpt_atomic_t *dirty;
	fpt_atomic_t *whole;
	fpt_atomic_t *tag;
	fpt_atomic_t *line;
};

/* What hooks need is together, and a generation is found by a multiplication, not by a pointer. */
struct fpt_delta {
	fpt_atomic_t epoch;
	unsigned int nr_cpus;		/* as configured; 0: all events go the slow path */
	fpt_atomic_t *line;		/* of the first CPU's gen[0] */
	long tag, whole;		/* words from a generation's lines */
	unsigned long gen_words;	/* from a generation to the next; CPU by CPU, two each */
	unsigned long word_mask;	/* words of a generation's lines, less one */
	unsigned long line_mask;	/* lines of a generation, less one */
	long dirty;			/* words from a generation's lines */
	unsigned long sets;		/* a power of two */
	fpt_atomic_t folding __attribute__((aligned(FPT_CACHE_LINE)));
};

static inline unsigned long fpt_delta_sets(const struct fpt_config *config)
{
	return config->delta_sets ? config->delta_sets : FPT_DELTA_SETS;
}

/* Bytes of a generation. */
static inline size_t fpt_delta_gen_size(unsigned long sets)
{
	unsigned long lines = sets * FPT_DELTA_WAYS;

	return fpt_xbitmap_words_cost(lines * FPT_DELTA_LINE_WORDS) + fpt_xbitmap_words_cost(lines) +
	       2 * fpt_xbitmap_words_cost(fpt_xbitmap_words(lines));
}

static inline size_t fpt_delta_size(const struct fpt_config *config)
{
	unsigned int nr_cpus = fpt_sections() ? config->nr_cpus : 0;

	return fpt_mem_cost(sizeof(struct fpt_delta)) +
	       2 * nr_cpus * fpt_delta_gen_size(fpt_delta_sets(config));
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
	d->line_mask = lines - 1;
	d->word_mask = lines * FPT_DELTA_LINE_WORDS - 1;
	d->gen_words = fpt_delta_gen_size(sets) / sizeof(fpt_atomic_t);
	d->nr_cpus = fpt_sections() ? config->nr_cpus : 0;
	for (i = 0; i < 2 * d->nr_cpus; i++) {
		fpt_atomic_t *dirty = fpt_xbitmap_take_words(m, fpt_xbitmap_words(lines));
		fpt_atomic_t *whole = fpt_xbitmap_take_words(m, fpt_xbitmap_words(lines));
		fpt_atomic_t *tag = fpt_xbitmap_take_words(m, lines);
		fpt_atomic_t *line = fpt_xbitmap_take_words(m, lines * FPT_DELTA_LINE_WORDS);

		if (!dirty || !whole || !tag || !line)
			return FPT_ENOMEM;
		if (i)
			continue;	/* behind the one before: gen_words apart */
		d->line = line;
		d->tag = tag - line;
		d->whole = whole - line;
		d->dirty = dirty - line;
	}
	t->front[FPT_SLOT_DELTA] = d;
	return FPT_OK;
}

/* A CPU's generation of an epoch. */
static inline struct fpt_delta_gen fpt_delta_gen_of(const struct fpt_delta *d, unsigned int cpu,
						    unsigned long e)
{
	struct fpt_delta_gen g;

	g.line = d->line + (2UL * cpu + (e & 1)) * d->gen_words;
	g.tag = g.line + d->tag;
	g.whole = g.line + d->whole;
	g.dirty = g.line + d->dirty;
	return g;
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

static inline unsigned long fpt_delta_epoch(unsigned long e)
{
	return e & ((1UL << FPT_DELTA_EPOCH_BITS) - 1);
}

/* The epoch's bits are the highest, so that a hook needs no mask. */
static inline unsigned long fpt_delta_tag(unsigned long line, unsigned long e)
{
	return (e << (FPT_WORD_BITS - FPT_DELTA_EPOCH_BITS)) + (line + 1);
}

/* The number of an entry's line + 1, or 0: in this epoch it is empty. */
static inline unsigned long fpt_delta_tagged(unsigned long tag, unsigned long e)
{
	tag -= e << (FPT_WORD_BITS - FPT_DELTA_EPOCH_BITS);
	return tag >> (FPT_WORD_BITS - FPT_DELTA_EPOCH_BITS) ? 0 : tag;
}

/* An event's first touch of a line: entry i is empty, its tag was now. Not inline: hooks are small. */
static __attribute__((__noinline__, __unused__)) unsigned long
fpt_delta_take(struct fpt_delta *d, unsigned int cpu, unsigned long e, unsigned long now,
	       unsigned long i, unsigned long line, fpt_atomic_t *word, unsigned long mask,
	       fpt_atomic_t *count, unsigned long n)
{
	struct fpt_delta_gen g = fpt_delta_gen_of(d, cpu, e);

	/* D3, D6: the zeroes, then the dirty bit, then the tag. */
	return fpt_section_take(cpu, &d->epoch, e, &g.dirty[i / FPT_WORD_BITS],
				1UL << i % FPT_WORD_BITS, &g.line[i * FPT_DELTA_LINE_WORDS],
				&g.whole[i / FPT_WORD_BITS], 1UL << i % FPT_WORD_BITS, &g.tag[i],
				now, fpt_delta_tag(line, e), count, n, word, mask);
}

/*
 * Toggle mask in a word of this CPU's delta: of entry i of the live generation, whose tag was now: the
 * line's, or the entry is empty and taken first. n is added to a counter. How far that came: see
 * compat.h.
 */
static inline __attribute__((__always_inline__)) unsigned long
fpt_delta_section(struct fpt *t, struct fpt_delta *d, unsigned int cpu, unsigned long e,
		  unsigned long now, unsigned long tag, unsigned long i, unsigned long line,
		  fpt_atomic_t *word, unsigned long mask, enum fpt_stat stat, unsigned long n)
{
	fpt_atomic_t *count = &t->percpu[cpu].count[stat];

	/*
	 * Linearization of an event, per page. No look at the tag again: while the epoch lasts, a tag
	 * does not change (D4).
	 */
	if (now == tag)
		return fpt_section_toggle(cpu, &d->epoch, e, count, n, word, mask);
	return fpt_delta_take(d, cpu, e, now, i, line, word, mask, count, n);
}

/*
 * Toggle this CPU's delta: the pages of mask in the word of this dense number, or those of its whole
 * line. False: it could not be, see "slow path". *n, what the event still has to add to a counter, is
 * added with it.
 */
static inline bool fpt_delta_flip(struct fpt *t, unsigned long number, bool whole,
				  unsigned long mask, enum fpt_stat stat, unsigned long *n)
{
	struct fpt_delta *d = (struct fpt_delta *)t->front[FPT_SLOT_DELTA];
	unsigned long line = number / FPT_DELTA_LINE_PAGES;
	unsigned int attempt;

	for (attempt = 0; attempt < FPT_DELTA_ATTEMPTS; attempt++) {
		unsigned int cpu = fpt_section_cpu();
		unsigned long e = fpt_load(&d->epoch, acquire);		/* O1 */
		unsigned long i = 0, way, now = 0, tag = fpt_delta_tag(line, e), done;
		struct fpt_delta_gen g;
		fpt_atomic_t *word;

		if (cpu >= d->nr_cpus)
			return false;
		g = fpt_delta_gen_of(d, cpu, e);
		/* Of a table that may be another CPU's by now, or be folded: the sections find out. */
		for (way = 0; way < FPT_DELTA_WAYS; way++) {
			i = (line + way * d->sets) & d->line_mask;
			now = fpt_load(&g.tag[i], relaxed);
			/* Empty, and so are those after it: they are taken in this order. */
			if (now == tag || !fpt_delta_tagged(now, e))
				break;
		}
		if (way == FPT_DELTA_WAYS)
			return false;
		if (whole) {
			word = &g.whole[i / FPT_WORD_BITS];
			mask = 1UL << i % FPT_WORD_BITS;
		} else {
			word = &g.line[i * FPT_DELTA_LINE_WORDS +
				       number / FPT_WORD_BITS % FPT_DELTA_LINE_WORDS];
		}
		done = fpt_delta_section(t, d, cpu, e, now, tag, i, line, word, mask, stat, *n);
		if (done)
			*n = 0;
		if (done == FPT_SECTION_DONE)
			return true;
	}
	return false;
}

/*
 * Of an event, nr pages from page i of r on: in one word, or one whole line. True: they went the slow
 * path.
 */
static inline bool fpt_delta_span(struct fpt *t, struct fpt_xbitmap_range *r, unsigned long i,
				  unsigned long nr, enum fpt_stat stat, unsigned long *n)
{
	bool whole = nr == FPT_DELTA_LINE_PAGES;
	unsigned long mask = whole ? ~0UL : fpt_xbitmap_mask(i % FPT_WORD_BITS, nr), w = 0;

	if (fpt_delta_flip(t, r->index + i, whole, mask, stat, n))
		return false;
	do
		fpt_delta_toggle(t, r, i + w, mask);
	while ((w += FPT_WORD_BITS) < nr);
	fpt_delta_settle(t, fpt_cpu(t->nr_cpus), r, i, nr);
	return true;
}

/* An event on pages [i, i + nr) of r. True: some of it went the slow path. */
static inline bool fpt_delta_write(struct fpt *t, struct fpt_xbitmap_range *r, unsigned long i,
				   unsigned long nr, enum fpt_stat stat, unsigned long *n)
{
	bool slow = false;

	while (nr) {
		unsigned long span = FPT_WORD_BITS - i % FPT_WORD_BITS;

		if (!(i % FPT_DELTA_LINE_PAGES) && nr >= FPT_DELTA_LINE_PAGES)
			span = FPT_DELTA_LINE_PAGES;
		if (span > nr)
			span = nr;
		slow |= fpt_delta_span(t, r, i, span, stat, n);
		i += span;
		nr -= span;
	}
	return slow;
}

/*
 * An event of one page, or of a whole line, that is where it is looked for first: most are. Or take:
 * that can be there. r: the page's range. False: it was not done; *n is what is still to be counted.
 */
static inline __attribute__((__always_inline__)) bool
fpt_delta_first(struct fpt *t, struct fpt_xbitmap_range *r, fpt_pfn_t pfn, bool whole,
		enum fpt_stat stat, unsigned long *n, bool take)
{
	struct fpt_delta *d = (struct fpt_delta *)t->front[FPT_SLOT_DELTA];
	unsigned long number = pfn + r->number, line = number / FPT_DELTA_LINE_PAGES;
	unsigned long e, i, w, now, tag, done;
	unsigned int cpu = fpt_section_cpu();
	struct fpt_delta_gen g;
	fpt_atomic_t *word;

	if (FPT_UNLIKELY(cpu >= d->nr_cpus))
		return false;
	if (whole && (number % FPT_DELTA_LINE_PAGES || r->nr - (pfn - r->pfn) < FPT_DELTA_LINE_PAGES))
		return false;
	w = number / FPT_WORD_BITS & d->word_mask;
	i = w / FPT_DELTA_LINE_WORDS;
	e = fpt_load(&d->epoch, acquire);	/* O1 */
	g = fpt_delta_gen_of(d, cpu, e);
	now = fpt_load(&g.line[d->tag + (long)i], relaxed);	/* g.tag[i], an addition less */
	tag = fpt_delta_tag(line, e);
	if (FPT_UNLIKELY(now != tag && (!take || fpt_delta_tagged(now, e))))
		return false;
	word = whole ? &g.whole[i / FPT_WORD_BITS] : &g.line[w];
	done = fpt_delta_section(t, d, cpu, e, take ? now : tag, tag, i, line, word,
				 1UL << (whole ? i : number) % FPT_WORD_BITS, stat, *n);
	if (FPT_LIKELY(done))
		*n = 0;
	return done == FPT_SECTION_DONE;
}

/* An event of any size, anywhere. True: some of it went the slow path. *n: as in fpt_delta_flip(). */
static inline bool fpt_delta_pages(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr, enum fpt_stat stat,
				   unsigned long *n)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(&t->back, pfn);
	fpt_pfn_t outside = 0;
	bool slow = false;

	if (r && nr == 1 && fpt_delta_first(t, r, pfn, false, stat, n, true))
		return false;
	if (r && nr == FPT_DELTA_LINE_PAGES && fpt_delta_first(t, r, pfn, true, stat, n, true))
		return false;
	if (r && nr <= r->nr - (pfn - r->pfn))
		return fpt_delta_write(t, r, pfn - r->base, nr, stat, n);
	/* Across an edge of a range: page by page. */
	for (; nr; pfn++, nr--) {
		r = fpt_xbitmap_range_of(&t->back, pfn);
		if (r)
			slow |= fpt_delta_write(t, r, pfn - r->base, 1, stat, n);
		else
			outside++;
	}
	if (outside)
		fpt_count(t, fpt_cpu(t->nr_cpus), FPT_STAT_OUTSIDE, outside);
	return slow;
}

/* All that a hook does. counted: its pages are. Not inline, so that hooks need few registers. */
static __attribute__((__noinline__, __unused__)) int
fpt_delta_event(struct fpt *t, fpt_pfn_t pfn, unsigned int order, enum fpt_stat stat, bool counted)
{
	unsigned long n = counted ? 0 : 1UL << order;
	bool slow = fpt_delta_pages(t, pfn, 1UL << order, stat, &n);

	if (n)
		fpt_count(t, fpt_cpu(t->nr_cpus), stat, n);
	if (slow)
		fpt_count(t, fpt_cpu(t->nr_cpus), FPT_STAT_SLOW, 1);
	return stat == FPT_STAT_ALLOCATED ? fpt_look_at_tickets(t, pfn, order) : FPT_OK;
}

/* Hooks. In the first range a page's event is short; the rest is out of line. */
static inline __attribute__((__always_inline__)) int
fpt_delta_hook(struct fpt *t, fpt_pfn_t pfn, unsigned int order, enum fpt_stat stat)
{
	struct fpt_xbitmap_range *r = &t->back.range[0];
	unsigned long n = 1;

	if (FPT_UNLIKELY(order || !fpt_xbitmap_holds(r, pfn)) ||
	    FPT_UNLIKELY(!fpt_delta_first(t, r, pfn, false, stat, &n, false)))
		return fpt_delta_event(t, pfn, order, stat, !n);
	return stat == FPT_STAT_ALLOCATED ? fpt_look_at_ticket(t, r, pfn) : FPT_OK;
}

static inline void fpt_delta_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	(void)fpt_delta_hook(t, pfn, order, FPT_STAT_FREED);
}

static inline int fpt_delta_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	return fpt_delta_hook(t, pfn, order, FPT_STAT_ALLOCATED);
}

/*
 * Fold a line, its bits and what all of them are toggled by, of a generation that is frozen (D2). It
 * stays as it is.
 */
static inline void fpt_delta_fold_line(struct fpt *t, unsigned int here, unsigned long line,
				       fpt_atomic_t *word, unsigned long all)
{
	unsigned long number = line * FPT_DELTA_LINE_PAGES, page;
	struct fpt_xbitmap_range *r;
	unsigned int w;

	/* The hook that took the line knew the range, so that it is seen here. */
	r = fpt_xbitmap_range_at(&t->back, number);
	/* A range that was removed has no bits; its slot still has the numbers. */
	if (!fpt_xbitmap_in_use(r))
		return;
	page = number - r->index;
	for (w = 0; w < FPT_DELTA_LINE_WORDS; w++) {
		unsigned long bits = fpt_load(&word[w], relaxed);

		if (bits != all)
			fpt_delta_toggle(t, r, page + w * FPT_WORD_BITS, bits ^ all);
	}
	fpt_delta_settle(t, here, r, page, FPT_DELTA_LINE_PAGES);
}

/*
 * Fold what is dirty among 64 entries (as many as a word has bits) from i on, in a generation that is
 * frozen since epoch e.
 */
static inline void fpt_delta_fold_some(struct fpt *t, unsigned int here,
				       const struct fpt_delta_gen *g, unsigned long e,
				       unsigned long i, bool tags)
{
	unsigned long bits = fpt_load(&g->dirty[i / FPT_WORD_BITS], relaxed), whole;

	if (!bits)
		return;
	fpt_store(&g->dirty[i / FPT_WORD_BITS], 0, relaxed);
	whole = fpt_load(&g->whole[i / FPT_WORD_BITS], relaxed);
	for (; bits; bits &= bits - 1) {
		unsigned long k = i + fpt_ctz(bits), line = k + 1;

		/* 0: the hook that was to take it was interrupted. Without tags: a line of zeroes. */
		if (tags)
			line = fpt_delta_tagged(fpt_load(&g->tag[k], relaxed), e);
		if (line)
			fpt_delta_fold_line(t, here, line - 1, &g->line[k * FPT_DELTA_LINE_WORDS],
					    whole >> (k - i) & 1 ? ~0UL : 0);
	}
}

/* D7: all tags of the generation that is frozen since epoch e, before it is live again in e + 2. */
static inline void fpt_delta_sweep(struct fpt_delta *d, unsigned long e)
{
	unsigned int cpu;
	unsigned long i;

	if (fpt_delta_epoch(e + 2) > 1)
		return;
	for (cpu = 0; cpu < d->nr_cpus; cpu++) {
		struct fpt_delta_gen g = fpt_delta_gen_of(d, cpu, e);

		for (i = 0; i <= d->line_mask; i++)
			if (fpt_load(&g.tag[i], relaxed))
				fpt_store(&g.tag[i], 0, relaxed);
	}
}

/* Has any CPU's generation of epoch e a line? */
static inline bool fpt_delta_is_dirty(struct fpt_delta *d, unsigned long e)
{
	unsigned int cpu;
	unsigned long w;

	for (cpu = 0; cpu < d->nr_cpus; cpu++) {
		struct fpt_delta_gen g = fpt_delta_gen_of(d, cpu, e);

		for (w = 0; w < fpt_xbitmap_words(d->line_mask + 1); w++)
			if (fpt_load(&g.dirty[w], relaxed))
				return true;
	}
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
	unsigned long e, i;
	bool tags;

	if (!d->nr_cpus)
		return true;		/* the base has everything */
	if (!fpt_cas(&d->folding, 0, 1, acq_rel))
		return false;
	e = fpt_load(&d->epoch, relaxed);
	if (!always && !fpt_delta_is_dirty(d, e)) {
		fpt_store(&d->folding, 0, release);
		return true;
	}
	fpt_store(&d->epoch, e + 1, release);			/* O1 */
	fpt_section_fence();					/* D2 */
	/* D8. After the fence: hooks knew the ranges of lines that they took. */
	tags = fpt_xbitmap_end_index(&t->back) > (d->line_mask + 1) * FPT_DELTA_LINE_PAGES;
	for (cpu = 0; cpu < d->nr_cpus; cpu++) {
		struct fpt_delta_gen g = fpt_delta_gen_of(d, cpu, e);

		for (i = 0; i <= d->line_mask; i += FPT_WORD_BITS)
			fpt_delta_fold_some(t, here, &g, e, i, tags);
	}
	fpt_delta_sweep(d, e);
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
