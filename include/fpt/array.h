/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * array.h - per CPU, two fixed arrays of freed runs: one fills, one drains
 *
 * Purpose. A front of fixed size: 16 KB per CPU, whatever the guest's. After the per-CPU arrays of
 * the guest free page hinting series of 2019, without its scans in the hook: a free of pages next
 * to the CPU's newest entry extends that entry, so that a run costs one.
 *
 * Layout.
 *
 *	epoch		one word for all CPUs; slot[epoch & 1] fills
 *
 *	per CPU, two generations, one behind the other:
 *	nr, slot[0][N]	| 3 | run | run | run |  -  | ...	fills
 *	nr, slot[1][N]	| 0 |  -  |  -  |  -  |  -  | ...	drained
 *
 * A run is one word: dense page number << FPT_ARRAY_NR_BITS | pages; never 0.
 *
 * Without sections (fpt_sections()) epoch and nr are not used. Instead there is
 *
 *	head		per CPU: next index << 1 | generation that fills
 *
 * and a 0 is an empty slot.
 *
 * Invariants.
 *	A1  A run is in exactly one place: a slot, the drainer's hands, or the back. Sections append
 *	    and extend in the generation that fills. Without, slots change by compare-and-swap
 *	    (append, extend) and exchange (drain) only.
 *	A2  head is a hint: a stale one costs a retry, or puts a run into the generation being drained,
 *	    where the next drain but one finds it.
 *	A3  After the fence of a drain nobody writes its generation until the epoch has moved on again.
 *
 * Who may call what: free, alloc and drain concurrently with everything, any thread. A thread may
 * be preempted and another run on its CPU anywhere in free. In the kernel drain may sleep.
 *
 * Ordering.
 *	O1  Without sections: append's compare-and-swap is a release, drain's exchange an acquire.
 *	O2  With: a section loads the epoch with acquire, a drain stores it with release, so that a
 *	    generation that fills again was emptied before. The fence is the other direction: what
 *	    sections wrote before it is seen after it.
 * Either way bits that drain sets in the back come after the free that they stand for.
 *
 * Allocations are not seen: the hook counts only, not even whether the pages are in a range. A
 * claim may hold pages that are used again, and isolation refuses it; the reporter then clears
 * what it is told is used (report.h). So precision is what this tracker pays with.
 *
 * Progress. free: wait-free; after 8 restarts it sets the back's bits itself (counted as
 * slow, as is what the back counts when a run is moved to it). So does a thread on a CPU beyond the
 * tracker's, where there are sections. alloc: wait-free. drain: with sections lock-free and, but for
 * the fence, bounded by what is there, once per drain that came meanwhile; nothing there: two loads
 * per CPU and no fence. Without: wait-free, 2 x N exchanges at most per CPU and pair of passes.
 *
 * Two drains. With sections a drain that meets another leaves all to it and returns at once.
 * Without, a run that a hook put where it had just been drained is found by the drain after the
 * next. Either way two drains that follow each other, and no other meanwhile, find everything that
 * was freed before the first.
 *
 * Full. When a hook finds that the last slot of the filling array has been given out, the free is
 * dropped and counted: its pages are not hinted until they are freed again. The capacity is
 * array_entries, FPT_ARRAY_ENTRIES by default. Slots are given out in order; without sections one
 * that is empty again because a drain overlapped with another drain, or with a hook that was
 * preempted, is not given out a second time before the next drain.
 */
#ifndef FPT_ARRAY_H
#define FPT_ARRAY_H

#include <fpt/tracker.h>

#define FPT_ARRAY_ENTRIES 1000
#define FPT_ARRAY_MAX_ENTRIES (~0UL >> 8)	/* so that sizes in bytes do not wrap around */
#define FPT_ARRAY_NR_BITS (FPT_WORD_BITS >= 64 ? 20u : 10u)
#define FPT_ARRAY_MAX_NR ((1UL << FPT_ARRAY_NR_BITS) - 1)
#define FPT_ARRAY_ATTEMPTS 8

struct fpt_array_cpu {
	fpt_atomic_t head;		/* without sections */
	fpt_atomic_t *slot[2];		/* before slot[i][0], with sections: how many */
} __attribute__((aligned(FPT_CACHE_LINE)));

/* Hooks need one line, which they only read, and find a generation by a multiplication. */
struct fpt_array {
	fpt_atomic_t epoch;
	unsigned long entries;
	unsigned int nr_cpus;		/* as configured; 0: there are no sections */
	unsigned long gen_words;	/* from a generation to the next; CPU by CPU, two each */
	fpt_atomic_t *gen;		/* the first one's count */
	struct fpt_array_cpu *cpu;
	fpt_atomic_t draining __attribute__((aligned(FPT_CACHE_LINE)));
};

static inline unsigned long fpt_array_entries(const struct fpt_config *config)
{
	return config->array_entries ? config->array_entries : FPT_ARRAY_ENTRIES;
}

static inline size_t fpt_array_size(const struct fpt_config *config)
{
	size_t gens = 2 * fpt_xbitmap_words_cost(1 + fpt_array_entries(config));

	return fpt_mem_cost(sizeof(struct fpt_array)) +
	       config->nr_cpus * (sizeof(struct fpt_array_cpu) + gens);
}

static inline int fpt_array_init(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m)
{
	struct fpt_array *a = (struct fpt_array *)fpt_mem_take(m, sizeof(*a));
	unsigned int i;

	if (fpt_array_entries(config) > FPT_ARRAY_MAX_ENTRIES)
		return FPT_EINVAL;
	if (!a)
		return FPT_ENOMEM;
	a->entries = fpt_array_entries(config);
	a->gen_words = fpt_xbitmap_words_cost(1 + a->entries) / sizeof(fpt_atomic_t);
	a->nr_cpus = fpt_sections() ? config->nr_cpus : 0;
	a->cpu = (struct fpt_array_cpu *)fpt_mem_take(m, config->nr_cpus * sizeof(*a->cpu));
	if (!a->cpu)
		return FPT_ENOMEM;
	for (i = 0; i < config->nr_cpus; i++) {
		fpt_atomic_t *gens = fpt_xbitmap_take_words(m, 2 * a->gen_words);

		if (!gens)
			return FPT_ENOMEM;
		a->cpu[i].slot[0] = gens + 1;
		a->cpu[i].slot[1] = gens + 1 + a->gen_words;
	}
	a->gen = a->cpu[0].slot[0] - 1;		/* the others are behind it */
	t->front[FPT_SLOT_ARRAY] = a;
	return FPT_OK;
}

/* Both runs as one, 0 when they are not neighbours or too long together. */
static inline unsigned long fpt_array_join(unsigned long a, unsigned long b)
{
	unsigned long a_nr = a & FPT_ARRAY_MAX_NR, b_nr = b & FPT_ARRAY_MAX_NR;
	unsigned long a_first = a >> FPT_ARRAY_NR_BITS, b_first = b >> FPT_ARRAY_NR_BITS;

	if (a_nr + b_nr > FPT_ARRAY_MAX_NR)
		return 0;
	if (a_first + a_nr == b_first)
		return a + b_nr;
	if (b_first + b_nr == a_first)
		return b + a_nr;
	return 0;
}

enum fpt_array_put { FPT_ARRAY_PUT, FPT_ARRAY_FULL, FPT_ARRAY_RACED };

static inline enum fpt_array_put fpt_array_put(struct fpt_array *a, struct fpt_array_cpu *c,
					       unsigned long run)
{
	unsigned int attempt;

	for (attempt = 0; attempt < FPT_ARRAY_ATTEMPTS; attempt++) {
		unsigned long head = fpt_load(&c->head, relaxed), i = head >> 1;
		fpt_atomic_t *slot = c->slot[head & 1] + i;
		bool mine;

		if (i) {
			unsigned long last = fpt_load(slot - 1, relaxed);
			unsigned long joined = last ? fpt_array_join(last, run) : 0;

			/* Linearization of an extension. O1. */
			if (joined && fpt_cas(slot - 1, last, joined, acq_rel))
				return FPT_ARRAY_PUT;
		}
		if (i == a->entries)
			return FPT_ARRAY_FULL;
		/* Linearization of an append. O1. */
		mine = fpt_cas(slot, 0, run, acq_rel);
		/*
		 * Occupied: somebody on this CPU is between the two steps, or was left behind by a
		 * drain.
		 */
		(void)fpt_cas(&c->head, head, head + 2, acq_rel);
		if (mine)
			return FPT_ARRAY_PUT;
	}
	return FPT_ARRAY_RACED;
}

/* With sections: a CPU's generation that fills at this epoch. Its count, then the slots. */
static inline fpt_atomic_t *fpt_array_gen(struct fpt_array *a, unsigned int cpu, unsigned long e)
{
	return a->gen + (2UL * cpu + (e & 1)) * a->gen_words;
}

/* With sections: one attempt. *n, what is still to be counted of the event, is added with it. */
static inline __attribute__((__always_inline__)) enum fpt_array_put
fpt_array_put_once(struct fpt *t, struct fpt_array *a, unsigned int cpu, unsigned long run,
		   unsigned long *n)
{
	unsigned long e = fpt_load(&a->epoch, acquire), i, last, joined = 0, done;	/* O2 */
	fpt_atomic_t *count = &t->percpu[cpu].count[FPT_STAT_FREED];
	fpt_atomic_t *nr = fpt_array_gen(a, cpu, e);

	i = fpt_load(nr, relaxed);
	if (i) {
		last = fpt_load(nr + i, relaxed);
		joined = fpt_array_join(last, run);
	}
	if (joined) {
		/* Linearization of an extension. */
		done = fpt_section_replace(cpu, &a->epoch, e, count, *n, nr + i, last, joined);
	} else {
		if (FPT_UNLIKELY(i == a->entries))
			return FPT_ARRAY_FULL;
		/* Linearization of an append. */
		done = fpt_section_append(cpu, &a->epoch, e, count, *n, nr, i, run);
	}
	if (FPT_LIKELY(done == FPT_SECTION_DONE)) {
		*n = 0;
		return FPT_ARRAY_PUT;
	}
	if (done == FPT_SECTION_COUNTED)
		*n = 0;
	return FPT_ARRAY_RACED;
}

/* So many pages from pfn on, which is number page. *n: what is still to be counted of the event. */
static inline void fpt_array_free_run(struct fpt *t, unsigned int cpu, unsigned long page,
				      fpt_pfn_t pfn, fpt_pfn_t nr, unsigned long *n)
{
	struct fpt_array *a = (struct fpt_array *)t->front[FPT_SLOT_ARRAY];
	unsigned long run = page << FPT_ARRAY_NR_BITS | nr;
	enum fpt_array_put put = FPT_ARRAY_RACED;
	unsigned int attempt, now = cpu;

	if (a->nr_cpus) {
		for (attempt = 0; put == FPT_ARRAY_RACED && attempt < FPT_ARRAY_ATTEMPTS;
		     attempt++) {
			if (attempt)
				now = fpt_cpu(t->nr_cpus);	/* moved, drained, or interrupted */
			put = fpt_array_put_once(t, a, now, run, n);
		}
	} else {
		put = fpt_array_put(a, &a->cpu[cpu], run);
	}
	if (put == FPT_ARRAY_FULL)
		fpt_count(t, cpu, FPT_STAT_DROPPED, nr);
	if (put != FPT_ARRAY_RACED)
		return;
	fpt_count(t, cpu, FPT_STAT_SLOW, 1);
	fpt_update_back(t, cpu, pfn, nr, true);
}

/* A free, n of which was not counted yet. Not inline, so that hooks need few registers. */
static __attribute__((__noinline__, __unused__)) void
fpt_array_event(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr, unsigned long n)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(&t->back, pfn);
	unsigned int cpu = fpt_cpu(t->nr_cpus);
	unsigned long page;

	/* Out of all ranges, or across an edge of one: the back knows how, and counts. */
	if (!r || nr > r->nr - (pfn - r->pfn)) {
		fpt_update_back(t, cpu, pfn, nr, true);
	} else {
		page = pfn + r->number;
		for (; nr > FPT_ARRAY_MAX_NR; nr -= FPT_ARRAY_MAX_NR) {
			fpt_array_free_run(t, cpu, page, pfn, FPT_ARRAY_MAX_NR, &n);
			page += FPT_ARRAY_MAX_NR;
			pfn += FPT_ARRAY_MAX_NR;
		}
		fpt_array_free_run(t, cpu, page, pfn, nr, &n);
	}
	if (n)
		fpt_count(t, cpu, FPT_STAT_FREED, n);
}

/*
 * A page of the first range that has a slot of its own, where there are sections. False: it was not
 * done; *n is what is still to be counted.
 */
static inline __attribute__((__always_inline__)) bool
fpt_array_first(struct fpt *t, fpt_pfn_t pfn, unsigned long *n)
{
	struct fpt_array *a = (struct fpt_array *)t->front[FPT_SLOT_ARRAY];
	struct fpt_xbitmap_range *r = &t->back.range[0];
	unsigned int cpu = fpt_section_cpu();
	unsigned long page, e, i, last, behind, done;
	fpt_atomic_t *nr;

	if (FPT_UNLIKELY(cpu >= a->nr_cpus || !fpt_xbitmap_holds(r, pfn)))
		return false;
	page = pfn + r->number;
	e = fpt_load(&a->epoch, acquire);	/* O2 */
	nr = fpt_array_gen(a, cpu, e);
	i = fpt_load(nr, relaxed);
	if (FPT_UNLIKELY(!i || i == a->entries))
		return false;
	last = fpt_load(nr + i, relaxed);
	behind = page - (last >> FPT_ARRAY_NR_BITS);
	/* A neighbour: fpt_array_join() knows. */
	if (behind == (last & FPT_ARRAY_MAX_NR) || behind == ~0UL)
		return false;
	/* Linearization of an append. */
	done = fpt_section_append(cpu, &a->epoch, e, &t->percpu[cpu].count[FPT_STAT_FREED], *n,
				  nr, i, page << FPT_ARRAY_NR_BITS | 1);
	if (FPT_LIKELY(done == FPT_SECTION_DONE))
		return true;
	if (done == FPT_SECTION_COUNTED)
		*n = 0;
	return false;
}

static inline void fpt_array_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	unsigned long n = 1;

	if (order)
		n = 1UL << order;
	else if (FPT_LIKELY(fpt_array_first(t, pfn, &n)))
		return;
	fpt_array_event(t, pfn, 1UL << order, n);
}

static inline int fpt_array_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	(void)pfn;
	fpt_count(t, fpt_cpu(t->nr_cpus), FPT_STAT_ALLOCATED, 1UL << order);
	return FPT_OK;
}

/* Move a run to the back. The hook that wrote it knew the range, so that it is seen here. */
static inline void fpt_array_move(struct fpt *t, unsigned int here, unsigned long run)
{
	unsigned long page = run >> FPT_ARRAY_NR_BITS;
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_at(&t->back, page);

	fpt_update_back(t, here, r->base + (page - r->index), run & FPT_ARRAY_MAX_NR, true);
}

/* With sections: move the generation that fills to the back, of all CPUs. */
static inline void fpt_array_drain_round(struct fpt *t, struct fpt_array *a, unsigned int here)
{
	unsigned long e = fpt_load(&a->epoch, relaxed), i;
	unsigned int cpu;

	fpt_store(&a->epoch, e + 1, release);			/* O2 */
	fpt_section_fence();					/* A3 */
	for (cpu = 0; cpu < t->nr_cpus; cpu++) {
		fpt_atomic_t *gen = fpt_array_gen(a, cpu, e);
		unsigned long nr = fpt_load(gen, relaxed);

		for (i = 1; i <= nr; i++)
			fpt_array_move(t, here, fpt_load(gen + i, relaxed));
		if (nr)
			fpt_store(gen, 0, relaxed);
	}
}

/* With sections: is there nothing, but what another drain has in its hands? */
static inline bool fpt_array_idle(struct fpt *t, struct fpt_array *a)
{
	unsigned long e = fpt_load(&a->epoch, relaxed);
	unsigned int cpu;

	for (cpu = 0; cpu < t->nr_cpus; cpu++)
		if (fpt_load(fpt_array_gen(a, cpu, e), relaxed))
			return false;
	return true;
}

/* Without: a generation of every CPU. */
static inline void fpt_array_drain_slots(struct fpt *t, struct fpt_array *a, unsigned int here)
{
	unsigned int cpu;

	for (cpu = 0; cpu < t->nr_cpus; cpu++) {
		struct fpt_array_cpu *c = &a->cpu[cpu];
		unsigned long gen = fpt_load(&c->head, relaxed) & 1, i;

		fpt_xchg(&c->head, gen ^ 1, acq_rel);
		for (i = 0; i < a->entries; i++) {
			unsigned long run;

			if (!fpt_load(&c->slot[gen][i], relaxed))
				continue;
			run = fpt_xchg(&c->slot[gen][i], 0, acq_rel);	/* O1 */
			if (run)	/* otherwise another drainer was faster */
				fpt_array_move(t, here, run);
		}
	}
}

/* Move what all CPUs hold to the back: see "Two drains". */
static inline void fpt_array_drain(struct fpt *t)
{
	struct fpt_array *a = (struct fpt_array *)t->front[FPT_SLOT_ARRAY];
	unsigned int here = fpt_cpu(t->nr_cpus);

	if (!a->nr_cpus)
		fpt_array_drain_slots(t, a, here);
	else if (!fpt_array_idle(t, a) && fpt_drain_begin(&a->draining))
		do
			fpt_array_drain_round(t, a, here);
		while (!fpt_drain_end(&a->draining));
}

__extension__ static const struct fpt_ops fpt_array_ops __attribute__((unused)) = {
	.name = "array",
	.slot = FPT_SLOT_ARRAY,
	.retracts = false,
	.toggles = false,
	.max_pages = ~0UL >> FPT_ARRAY_NR_BITS,
	.size = fpt_array_size,
	.init = fpt_array_init,
	.free = fpt_array_free,
	.alloc = fpt_array_alloc,
	.drain = fpt_array_drain,
	.cut = NULL,
	.wanted = NULL,
	.refill = NULL,
	.memory = NULL,
};

#endif
