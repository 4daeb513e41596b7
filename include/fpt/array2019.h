/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * array2019.h - the baseline of 2019: per CPU, an array of freed entries that the hook scans
 *
 * Purpose. What the other trackers are measured against, with its costs and losses as they were:
 * the per-CPU arrays of the guest free page hinting series of 2019, whose idea this is. Each free
 * is an entry (pages, order) of its own. The hook that fills the array scans it and keeps what is
 * still free; when everything is, the CPU's reporter is asked for. The reporter scans again,
 * isolates entry by entry, and sends what it got to the host, as one batch per CPU. This tracker
 * has a reporter of its own, below; report.h's passes find nothing of it.
 *
 * Layout, per CPU:
 *
 *	taken, nr	who has taken the array; entries in use
 *	entry[N]	| pfn nr | pfn nr |  ...   |	fills; scanned by hooks and the collector
 *	requested, out	asked for; the second array is at the host
 *	batch[N]	| pfn nr | pfn nr |  ...   |	isolated, on its way to the host and back
 *
 * Invariants.
 *	S1  Only who has taken the array changes nr, entry[] and requested; only who has set out
 *	    changes batch[].
 *	S2  When nobody has taken it, a full array is requested, and only a full one.
 *	S3  An entry is in entry[] or, once isolated, in batch[]. entry[] holds what was freed on
 *	    this CPU, in order; it may name a page more than once, and pages that are owned.
 *
 * Safety. Isolation decides, and as it takes a page once only, claims are exclusive: of an entry
 * that names an isolated page, it says FPT_BUSY.
 *
 * Who may call what:
 *				concurrently with		context
 *	free, alloc		everything but init		any (kernel: not NMI)
 *	requested		everything but init		any
 *	collect, return		everything but init		that of the owner's callbacks
 *	init			nothing
 * A CPU is one collector's from collect to return; others get FPT_EBUSY. Threads may be preempted
 * anywhere, move to another CPU, or be interrupted by hooks.
 *
 * config.is_free is called from free hooks, up to N times, and from collectors: in any context that
 * hooks are called in, with the array taken. It must not wait, and must know all pages in ranges.
 * It must say true from before a page's free hook is called, as fpt_owner_ops.is_free does, or the
 * hint may be lost: Linux's PageBuddy() says so later. It may answer true when in doubt. NULL:
 * always true.
 *
 * Ordering. taken is a try-lock: taking it is an acquire, giving it back a release, and the one
 * pairs with the other: entries, and what happened to their pages before the free, are seen. out is
 * such another one. nr and requested may be looked at by anybody, without order: a stale answer is
 * a poll too early or too late.
 *
 * Progress. alloc: wait-free. free: wait-free and short but for the scan, N callbacks: this is the
 * exemption from "bounded steps" that makes it a baseline. Where few entries are thrown out, almost
 * every free scans. Scans are counted (FPT_STAT_SLOW). collect, return: wait-free but for the
 * callbacks, N of each.
 *
 * Full. A free is dropped and counted (FPT_STAT_DROPPED), its pages not hinted until they are
 * freed again, when
 *	- the array is full: config.array_entries, FPT_ARRAY_ENTRIES by default;
 *	- it is taken: by a collector for as long as it isolates, by a hook that was preempted or
 *	  interrupted on this CPU, for as long as that does not run;
 *	- its pages lie in more than one range, or in part in none.
 * An entry is given up, too, when isolation answers FPT_BUSY, or when the host refuses the batch:
 * counted as what it is, and as dropped. So FPT_STAT_DROPPED is the most that can be lost: the
 * pages of an entry that is busy because it is named twice are not.
 *
 * Not recorded: frees below config.array_min_order. The default, 0, records all; most frees are of
 * single pages, and single pages are what the host then gets.
 *
 * Live switch. What the array holds when another tracker takes over stays there: nothing drains
 * it, collect still gets it, on CPUs that asked or not. Removing a range: what is held of it is
 * ignored, once scanned. Batches with pages of it must be back before; that is not checked. A hook
 * on other pages may call is_free for its pages until the grace period is over; without RCU, or
 * with the hooks chosen at compile time, until that hook has returned.
 */
#ifndef FPT_ARRAY2019_H
#define FPT_ARRAY2019_H

#include <fpt/array.h>
#include <fpt/report.h>

#define FPT_ARRAY2019_MAX_ENTRIES (~0UL >> 9)	/* so that sizes in bytes do not wrap around */

struct fpt_array2019_cpu {
	/* The hooks' line. */
	fpt_atomic_t taken;
	fpt_atomic_t nr;
	struct fpt_range *entry;
	/* The reporter's, which it polls: hooks write it when they ask. */
	fpt_atomic_t requested __attribute__((aligned(FPT_CACHE_LINE)));
	fpt_atomic_t out;
	unsigned long nr_out;
	struct fpt_range *batch;
} __attribute__((aligned(FPT_CACHE_LINE)));

struct fpt_array2019 {
	unsigned long entries;
	unsigned int min_order;
	bool (*is_free)(void *ctx, fpt_pfn_t pfn, unsigned int order);
	void *ctx;
	struct fpt_array2019_cpu *cpu;
};

static inline size_t fpt_array2019_size(const struct fpt_config *config)
{
	size_t entries = fpt_mem_cost(fpt_array_entries(config) * sizeof(struct fpt_range));

	return fpt_mem_cost(sizeof(struct fpt_array2019)) +
	       config->nr_cpus * (sizeof(struct fpt_array2019_cpu) + 2 * entries);
}

static inline int fpt_array2019_init(struct fpt *t, const struct fpt_config *config,
				     struct fpt_mem *m)
{
	size_t bytes = fpt_array_entries(config) * sizeof(struct fpt_range);
	struct fpt_array2019 *a;
	unsigned int i;

	if (fpt_array_entries(config) > FPT_ARRAY2019_MAX_ENTRIES ||
	    config->array_min_order > FPT_MAX_ORDER)
		return FPT_EINVAL;
	a = (struct fpt_array2019 *)fpt_mem_take(m, sizeof(*a));
	if (!a)
		return FPT_ENOMEM;
	a->entries = fpt_array_entries(config);
	a->min_order = config->array_min_order;
	a->is_free = config->is_free;
	a->ctx = config->is_free_ctx;
	a->cpu = (struct fpt_array2019_cpu *)fpt_mem_take(m, config->nr_cpus * sizeof(*a->cpu));
	if (!a->cpu)
		return FPT_ENOMEM;
	for (i = 0; i < config->nr_cpus; i++) {
		a->cpu[i].entry = (struct fpt_range *)fpt_mem_take(m, bytes);
		a->cpu[i].batch = (struct fpt_range *)fpt_mem_take(m, bytes);
		if (!a->cpu[i].entry || !a->cpu[i].batch)
			return FPT_ENOMEM;
	}
	t->front[FPT_SLOT_ARRAY2019] = a;
	return FPT_OK;
}

/* A CPU's array; NULL: this tracker was never used. */
static inline struct fpt_array2019_cpu *fpt_array2019_of(struct fpt *t, unsigned int cpu)
{
	FPT_ASSERT(cpu < t->nr_cpus);
	/* Acquire: the front is ready. */
	if (!fpt_slot_ops(t, FPT_SLOT_ARRAY2019))
		return NULL;
	return &((struct fpt_array2019 *)t->front[FPT_SLOT_ARRAY2019])->cpu[cpu];
}

static inline bool fpt_array2019_take(fpt_atomic_t *word)
{
	return fpt_cas(word, 0, 1, acq_rel);	/* pairs with fpt_array2019_leave()'s release */
}

static inline void fpt_array2019_leave(fpt_atomic_t *word)
{
	fpt_store(word, 0, release);		/* pairs with fpt_array2019_take()'s acquire */
}

/* All pages are in one range. */
static inline bool fpt_array2019_inside(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(&t->back, pfn);

	return r && nr <= r->nr - (pfn - r->pfn);
}

/* Is an entry worth keeping? Its range may have been removed since. */
static inline bool fpt_array2019_is_free(struct fpt *t, const struct fpt_range *entry)
{
	struct fpt_array2019 *a = (struct fpt_array2019 *)t->front[FPT_SLOT_ARRAY2019];

	return fpt_array2019_inside(t, entry->pfn, entry->nr) &&
	       (!a->is_free || a->is_free(a->ctx, entry->pfn, fpt_ctz(entry->nr)));
}

/*
 * The hook's scan, of an array that it has taken and just filled. The newest entry is its own, and
 * so free.
 */
static inline void fpt_array2019_scan(struct fpt *t, struct fpt_array2019_cpu *c, unsigned long nr)
{
	unsigned long kept = 0, i;

	for (i = 0; i < nr; i++)
		if (i == nr - 1 || fpt_array2019_is_free(t, &c->entry[i]))
			c->entry[kept++] = c->entry[i];
	fpt_store(&c->nr, kept, relaxed);
	if (kept == nr)
		fpt_store(&c->requested, 1, relaxed);
}

/* False: the array is full, or taken. */
static inline bool fpt_array2019_append(struct fpt *t, unsigned int cpu, fpt_pfn_t pfn,
					fpt_pfn_t nr)
{
	struct fpt_array2019 *a = (struct fpt_array2019 *)t->front[FPT_SLOT_ARRAY2019];
	struct fpt_array2019_cpu *c = &a->cpu[cpu];
	unsigned long i;

	if (!fpt_array2019_take(&c->taken))
		return false;
	i = fpt_load(&c->nr, relaxed);
	if (i < a->entries) {
		c->entry[i].pfn = pfn;
		c->entry[i].nr = nr;
		fpt_store(&c->nr, i + 1, relaxed);
		if (i + 1 == a->entries) {
			fpt_count(t, cpu, FPT_STAT_SLOW, 1);
			fpt_array2019_scan(t, c, a->entries);
		}
	}
	/* Linearization of an append, with all that it threw out. */
	fpt_array2019_leave(&c->taken);
	return i < a->entries;
}

static inline void fpt_array2019_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	struct fpt_array2019 *a = (struct fpt_array2019 *)t->front[FPT_SLOT_ARRAY2019];
	unsigned int cpu = fpt_cpu(t->nr_cpus);
	fpt_pfn_t nr = 1UL << order, outside = 0, i;

	fpt_count(t, cpu, FPT_STAT_FREED, nr);
	if (fpt_array2019_inside(t, pfn, nr)) {
		if (order >= a->min_order && !fpt_array2019_append(t, cpu, pfn, nr))
			fpt_count(t, cpu, FPT_STAT_DROPPED, nr);
		return;
	}
	for (i = 0; i < nr; i++)
		outside += !fpt_xbitmap_range_of(&t->back, pfn + i);
	fpt_count(t, cpu, FPT_STAT_OUTSIDE, outside);
	if (outside < nr)
		fpt_count(t, cpu, FPT_STAT_DROPPED, nr - outside);
}

static inline int fpt_array2019_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	(void)pfn;
	fpt_count(t, fpt_cpu(t->nr_cpus), FPT_STAT_ALLOCATED, 1UL << order);
	return FPT_OK;
}

/* Has this CPU asked for its reporter? To be polled: hooks wake nobody. Any context. Wait-free. */
static inline bool fpt_array2019_requested(struct fpt *t, unsigned int cpu)
{
	struct fpt_array2019_cpu *c = fpt_array2019_of(t, cpu);

	return c && fpt_load(&c->requested, relaxed);
}

/* Isolate one entry; true: it is in the batch. */
static inline bool fpt_array2019_isolate(struct fpt *t, const struct fpt_owner_ops *owner,
					 void *ctx, struct fpt_array2019_cpu *c,
					 const struct fpt_range *entry)
{
	unsigned int here = fpt_cpu(t->nr_cpus);

	if (!fpt_array2019_is_free(t, entry))
		return false;
	fpt_count(t, here, FPT_STAT_CLAIMED, entry->nr);
	switch (owner->isolate(ctx, *entry)) {
	case FPT_TAKEN:
		c->batch[c->nr_out++] = *entry;
		return true;
	case FPT_BUSY:
		fpt_count(t, here, FPT_STAT_BUSY, entry->nr);
		fpt_count(t, here, FPT_STAT_DROPPED, entry->nr);
		break;
	case FPT_USED:
		fpt_count(t, here, FPT_STAT_USED, entry->nr);
		break;
	}
	return false;
}

/*
 * Empty a CPU's array: isolate what is still free. Returns how many ranges that are, in *ranges:
 * hand them to the host, then call fpt_array2019_return(), from any CPU. They are the caller's
 * until then, to be read only. 0: none; there is nothing to return. The array is taken meanwhile,
 * so that isolation had better be quick. With a CPU that has not asked this is a flush; an empty
 * array is not even taken. Errors: FPT_EBUSY (the CPU's last batch is not back, or a collector or a
 * hook has the array now: try again; or reporting is refused), FPT_ENOTSUP (the tracker was never
 * used). The pages need not be blocks of config.order, nor aligned to one.
 */
static inline long fpt_array2019_collect(struct fpt *t, const struct fpt_owner_ops *owner,
					 void *ctx, unsigned int cpu, struct fpt_range **ranges)
{
	struct fpt_array2019_cpu *c = fpt_array2019_of(t, cpu);
	unsigned long nr, i;
	long result = 0;

	if (!c)
		return FPT_ENOTSUP;
	if (fpt_refused(t) || !fpt_array2019_take(&c->out))
		return FPT_EBUSY;
	if (fpt_load(&c->nr, relaxed)) {
		if (fpt_array2019_take(&c->taken)) {
			nr = fpt_load(&c->nr, relaxed);
			for (i = 0; i < nr; i++)
				result += fpt_array2019_isolate(t, owner, ctx, c, &c->entry[i]);
			fpt_store(&c->nr, 0, relaxed);
			fpt_store(&c->requested, 0, relaxed);
			fpt_array2019_leave(&c->taken);
		} else {
			result = FPT_EBUSY;
		}
	}
	*ranges = c->batch;
	if (result <= 0)
		fpt_array2019_leave(&c->out);
	return result;
}

/*
 * The host has discarded the batch of this CPU (ok), or refused it: everything goes back to the
 * allocator. Only after fpt_array2019_collect() has returned ranges, once.
 */
static inline void fpt_array2019_return(struct fpt *t, const struct fpt_owner_ops *owner,
					void *ctx, unsigned int cpu, bool ok)
{
	struct fpt_array2019_cpu *c = fpt_array2019_of(t, cpu);
	unsigned int here = fpt_cpu(t->nr_cpus);
	unsigned long i;

	FPT_ASSERT(c && fpt_load(&c->out, relaxed) && c->nr_out);
	for (i = 0; i < c->nr_out; i++) {
		owner->put_back(ctx, c->batch[i]);
		fpt_count(t, here, ok ? FPT_STAT_REPORTED : FPT_STAT_FAILED, c->batch[i].nr);
		if (!ok)
			fpt_count(t, here, FPT_STAT_DROPPED, c->batch[i].nr);
	}
	c->nr_out = 0;
	fpt_array2019_leave(&c->out);
}

__extension__ static const struct fpt_ops fpt_array2019_ops __attribute__((unused)) = {
	.name = "array2019",
	.slot = FPT_SLOT_ARRAY2019,
	.retracts = false,
	.toggles = false,
	.max_pages = 0,
	.size = fpt_array2019_size,
	.init = fpt_array2019_init,
	.free = fpt_array2019_free,
	.alloc = fpt_array2019_alloc,
	.drain = NULL,
	.cut = NULL,
	.wanted = NULL,
	.refill = NULL,
	.memory = NULL,
};

#endif
