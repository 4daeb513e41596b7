/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tracker.h - what all trackers share: a front of their own over one back
 *
 *	fpt_free, fpt_alloc          hooks, every CPU
 *	      |
 *	   [front]                   per-CPU arrays, a lock, nothing: what makes the tracker
 *	      |  drain               the reporter moves what the front holds
 *	   [back]                    an xbitmap: the reporter claims from it (report.h)
 *
 * A tracker is a struct fpt_ops and, for compile-time selection, functions named fpt_NAME_free and
 * fpt_NAME_alloc. The tracker "xbitmap" has no front: its hooks write the back. The struct is a
 * constant in a header, one object per file that includes it: compare trackers by name, not by
 * address.
 *
 * Contract of the hooks, whichever the tracker:
 *
 *	free	is called before anybody else can get the pages
 *	alloc	is called after taking the pages and before the first write to them
 *
 * by any thread, in the kernel from any context but NMI, interrupts on or off. order: log2 of the
 * pages, at most FPT_MAX_ORDER; pfn need not be aligned. Nothing is stored in a free page. Hooks
 * do not lock, allocate, wait, or enter the kernel, except where a tracker's header says so. Pages
 * in no range are counted and otherwise ignored.
 *
 * alloc returns FPT_OK: go ahead; or, in the ticket protocol, FPT_IN_FLIGHT: the host has a block
 * of these pages and may discard it any time. They count as allocated all the same: fpt_wait()
 * before the first write, or give them back with fpt_free(); never call fpt_alloc() for them again.
 * Where the pages lie in several blocks, all are looked at, after the last bit is cleared: claims
 * that were not submitted are cancelled, and one submitted block makes the result FPT_IN_FLIGHT.
 *
 * Live switch. t->ops may change while hooks run (fpt_switch()). Every tracker has its own slot in
 * t->front, so that a hook that began under the old one finds its front as it was; nothing in a
 * front is freed or used otherwise before fpt_destroy(). t->fronts says which are to be drained.
 */
#ifndef FPT_TRACKER_H
#define FPT_TRACKER_H

#include <fpt/xbitmap.h>

struct fpt;

/* How an owner is kept from a page that the host discards: report.h. */
enum fpt_protocol {
	FPT_ISOLATE,	/* the reporter takes blocks out of the allocator first */
	FPT_TICKET,	/* nothing is taken out; alloc hooks consult the blocks' tickets */
};

struct fpt_config {
	const struct fpt_ops *ops;	/* &fpt_array_ops, ... */
	unsigned int nr_cpus;		/* 1 or more: how many CPUs' fronts and counters there are */
	unsigned int order;		/* of reporting: pages per block, log2; at most FPT_MAX_ORDER */
	unsigned int granule_order;	/* pages of the guest per page of the host, log2; at most order */
	enum fpt_protocol protocol;
	bool lossy;			/* the source of events misses some: see fpt.h */
	bool audit;			/* delta, lossy: the caller repairs with fpt_audit() */
	bool report_again;		/* forget what was reported: hint it again at once, as in 2018 */
	unsigned long array_entries;	/* array, array2019: entries per CPU and array, 0: default */
	unsigned int array_min_order;	/* array2019: frees below it are not recorded */
	/* array2019: are all of 2^order pages free? Called in free hooks, too: see array2019.h. */
	bool (*is_free)(void *ctx, fpt_pfn_t pfn, unsigned int order);
	void *is_free_ctx;
	unsigned long bitmap_leaves;	/* bitmap: leaves per CPU that init makes room for, 0 is the default */
	unsigned long delta_sets;	/* delta: sets per CPU and generation, a power of two, 0 is the default */
};

/* Slots of struct fpt's front. */
enum fpt_slot {
	FPT_SLOT_NONE,		/* no front: always empty */
	FPT_SLOT_LOCKMAP,
	FPT_SLOT_ARRAY,
	FPT_SLOT_BITMAP,
	FPT_SLOT_DELTA,
	FPT_SLOT_ARRAY2019,
	FPT_SLOT_OTHER,		/* a tracker of your own, one per struct fpt */
	FPT_NR_SLOTS,
};

struct fpt_ops {
	const char *name;
	enum fpt_slot slot;
	/*
	 * When alloc returns, the back does not hint the pages: no CPU's front can hint them later.
	 */
	bool retracts;
	/* Events toggle bits of the back: it must see all of them, and nobody else may write it. */
	bool toggles;
	/* Pages of all ranges together that the front can name, 0 is no limit. */
	unsigned long max_pages;
	/*
	 * Bytes of the front: what init takes off its memory at most. NULL: no front. init puts it
	 * into t->front[slot].
	 */
	size_t (*size)(const struct fpt_config *config);
	int (*init)(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m);
	void (*free)(struct fpt *t, fpt_pfn_t pfn, unsigned int order);
	int (*alloc)(struct fpt *t, fpt_pfn_t pfn, unsigned int order);
	/*
	 * Move what the front holds to the back. NULL: it holds nothing. Concurrently with hooks.
	 * May sleep in the kernel.
	 */
	void (*drain)(struct fpt *t);
	/*
	 * Ticket protocol, where the back learns of events later: afterwards it has all that were
	 * on pages of a block whose ticket was published before the call, but for those whose hooks
	 * see that ticket. False: not now, another call is under way. NULL and !retracts: no
	 * tickets. May sleep.
	 */
	bool (*cut)(struct fpt *t);
	/* fpt_wanted(), fpt_refill(). NULL: the front does not grow. */
	size_t (*wanted)(struct fpt *t);
	int (*refill)(struct fpt *t, struct fpt_mem *m);
	/*
	 * Correct the bytes donated and in use for what front_bytes does not tell. NULL: it tells
	 * all.
	 */
	void (*memory)(struct fpt *t, size_t *donated, size_t *used);
};

struct fpt_percpu {
	fpt_atomic_t count[FPT_NR_STATS];
} __attribute__((aligned(FPT_CACHE_LINE)));

struct fpt {
	fpt_atomic_t ops;		/* address: fpt_tracker() */
	unsigned int nr_cpus;
	void *front[FPT_NR_SLOTS];
	struct fpt_percpu *percpu;	/* nr_cpus, and one more */
	enum fpt_protocol protocol;
	bool lossy;
	bool report_again;
	fpt_atomic_t stale;		/* the back may hint pages that are owned: isolation finds out */
	fpt_atomic_t fronts;		/* 1 bit per slot: has to be drained */
	fpt_atomic_t refused;		/* FPT_REFUSE_...: nothing may be reported now */
	fpt_atomic_t auditing;		/* fpt_audit() is under way */
	fpt_atomic_t expedited;		/* how often a submitted block was asked for first */
	fpt_atomic_t slot_ops[FPT_NR_SLOTS];	/* address: whose front that is; 0: nobody's yet */
	fpt_atomic_t front_bytes;	/* donated to init and switch, and used */
	struct fpt_xbitmap back;
};

/* The tracker that hooks are to use now. Acquire: its front is ready. */
static inline const struct fpt_ops *fpt_tracker(struct fpt *t)
{
	return (const struct fpt_ops *)(uintptr_t)fpt_load(&t->ops, acquire);
}

/* Whose front is in a slot, NULL: nobody's. Acquire: it is ready. */
static inline const struct fpt_ops *fpt_slot_ops(struct fpt *t, unsigned int slot)
{
	return (const struct fpt_ops *)(uintptr_t)fpt_load(&t->slot_ops[slot], acquire);
}

static inline void fpt_count(struct fpt *t, unsigned int cpu, enum fpt_stat stat, unsigned long n)
{
	/* The last counters are anybody's who has left the CPU that it began on. */
	if (!fpt_percpu_add(cpu, &t->percpu[cpu].count[stat], n))
		fpt_fetch_add(&t->percpu[t->nr_cpus].count[stat], n, relaxed);
}

/* Write the back and count what came of it. */
static inline void fpt_update_back(struct fpt *t, unsigned int cpu, fpt_pfn_t pfn, fpt_pfn_t nr,
				   bool set)
{
	unsigned long refaulted;
	bool coarse = false;
	fpt_pfn_t outside = fpt_xbitmap_update(&t->back, pfn, nr, set, &refaulted, &coarse);

	if (outside)
		fpt_count(t, cpu, FPT_STAT_OUTSIDE, outside);
	if (refaulted)
		fpt_count(t, cpu, FPT_STAT_REFAULTED, refaulted);
	if (coarse)
		fpt_count(t, cpu, FPT_STAT_SLOW, 1);
}

/*
 * A drain with a fence is one at a time: a second one leaves all that there is to the first, which
 * goes round once more. So the first does not end as long as others come in each of its rounds: who
 * has to end keeps them out (src/linux: a switch keeps passes out).
 *
 *	if (fpt_drain_begin(&draining))
 *		do
 *			... a round ...
 *		while (!fpt_drain_end(&draining));
 */
enum { FPT_DRAIN_NONE, FPT_DRAIN_ONE, FPT_DRAIN_MORE };

/* False: the other one will see all that this one would have seen. */
static inline bool fpt_drain_begin(fpt_atomic_t *draining)
{
	if (fpt_xchg(draining, FPT_DRAIN_MORE, acq_rel) != FPT_DRAIN_NONE)
		return false;
	(void)fpt_cas(draining, FPT_DRAIN_MORE, FPT_DRAIN_ONE, acq_rel);
	return true;
}

/* False: somebody came, another round. */
static inline bool fpt_drain_end(fpt_atomic_t *draining)
{
	if (fpt_cas(draining, FPT_DRAIN_ONE, FPT_DRAIN_NONE, acq_rel))
		return true;
	/* Acquire: what they who came knew. */
	(void)fpt_xchg(draining, FPT_DRAIN_ONE, acq_rel);
	return false;
}

/*
 * The tracker "xbitmap": the back alone. Slow path (counted): events on coarse chunks. Drops
 * nothing. Progress: wait-free.
 */
static inline void fpt_xbitmap_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	unsigned int cpu = fpt_cpu(t->nr_cpus);

	fpt_count(t, cpu, FPT_STAT_FREED, 1UL << order);
	fpt_update_back(t, cpu, pfn, 1UL << order, true);
}

/*
 * The ticket of a page's block; NULL: the page is in no range, or there are no tickets. *last: the
 * block's last page.
 */
static inline fpt_atomic_t *fpt_ticket_at(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t *last)
{
	struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(&t->back, pfn);

	*last = pfn;
	if (!r || !r->ticket)
		return NULL;
	*last = pfn | ((1UL << t->back.order) - 1);
	return &r->ticket[(pfn - r->base) >> t->back.order];
}

/*
 * The look of the ticket protocol: all blocks of pages whose bits were cleared. Not inline: hooks are
 * small.
 */
static __attribute__((__noinline__, __unused__)) int
fpt_take_tickets(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr)
{
	unsigned int cpu = fpt_cpu(t->nr_cpus);
	fpt_pfn_t last = pfn + (nr - 1), end;
	int result = FPT_OK;

	for (;; pfn = end + 1) {
		fpt_atomic_t *w = fpt_ticket_at(t, pfn, &end);
		enum fpt_ticket_found found = w ? fpt_ticket_take(w) : FPT_TICKET_NONE;

		if (found == FPT_TICKET_CANCELLED)
			fpt_count(t, cpu, FPT_STAT_CANCELLED, 1UL << t->back.order);
		if (found == FPT_TICKET_IN_FLIGHT) {
			fpt_count(t, cpu, FPT_STAT_WAITED,
				  (end - pfn < last - pfn ? end - pfn : last - pfn) + 1);
			result = FPT_IN_FLIGHT;
		}
		if (last - pfn <= end - pfn)
			return result;
	}
}

/* The same, of one page of r, in either protocol. Most often there is no claim. */
static inline int fpt_look_at_ticket(struct fpt *t, struct fpt_xbitmap_range *r, fpt_pfn_t pfn)
{
	if (!t->back.tickets ||
	    FPT_LIKELY(fpt_ticket_idle(&r->ticket[(pfn - r->base) >> t->back.order])))
		return FPT_OK;
	return fpt_take_tickets(t, pfn, 1);
}

/* And of all that an alloc hook has taken. */
static inline int fpt_look_at_tickets(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	return t->back.tickets ? fpt_take_tickets(t, pfn, 1UL << order) : FPT_OK;
}

static inline int fpt_xbitmap_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	unsigned int cpu = fpt_cpu(t->nr_cpus);

	fpt_count(t, cpu, FPT_STAT_ALLOCATED, 1UL << order);
	fpt_update_back(t, cpu, pfn, 1UL << order, false);
	return fpt_look_at_tickets(t, pfn, order);
}

/*
 * Here and in every tracker: __extension__, because C++ had no designated initializers before
 * C++20.
 */
__extension__ static const struct fpt_ops fpt_xbitmap_ops __attribute__((unused)) = {
	.name = "xbitmap",
	.slot = FPT_SLOT_NONE,
	.retracts = true,
	.toggles = false,
	.max_pages = 0,
	.size = NULL,
	.init = NULL,
	.free = fpt_xbitmap_free,
	.alloc = fpt_xbitmap_alloc,
	.drain = NULL,
	.cut = NULL,
	.wanted = NULL,
	.refill = NULL,
	.memory = NULL,
};

/* The tracker "none": what the calls themselves cost. */
static inline void fpt_none_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	(void)t;
	(void)pfn;
	(void)order;
}

static inline int fpt_none_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	(void)t;
	(void)pfn;
	(void)order;
	return FPT_OK;
}

__extension__ static const struct fpt_ops fpt_none_ops __attribute__((unused)) = {
	.name = "none",
	.slot = FPT_SLOT_NONE,
	.retracts = false,
	.toggles = false,
	.max_pages = 0,
	.size = NULL,
	.init = NULL,
	.free = fpt_none_free,
	.alloc = fpt_none_alloc,
	.drain = NULL,
	.cut = NULL,
	.wanted = NULL,
	.refill = NULL,
	.memory = NULL,
};

#endif
