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
 * in no range are counted and otherwise ignored. alloc returns FPT_OK.
 */
#ifndef FPT_TRACKER_H
#define FPT_TRACKER_H

#include <fpt/xbitmap.h>

struct fpt;

struct fpt_config {
	const struct fpt_ops *ops;	/* &fpt_array_ops, ... */
	unsigned int nr_cpus;		/* 1 or more: how many CPUs' fronts and counters there are */
	unsigned int order;		/* of reporting: pages per block, log2; at most FPT_MAX_ORDER */
	unsigned long array_entries;	/* array: entries per CPU and generation, 0 is the default */
	unsigned long bitmap_leaves;	/* bitmap: leaves per CPU that init makes room for, 0 is the default */
};

struct fpt_ops {
	const char *name;
	/* An alloc retracts the hint of a free, so that only what is free stays claimable. */
	bool retracts;
	/* Pages of all ranges together that the front can name, 0 is no limit. */
	unsigned long max_pages;
	/* Bytes of the front: what init takes off its memory at most. NULL: no front. */
	size_t (*size)(const struct fpt_config *config);
	int (*init)(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m);
	void (*free)(struct fpt *t, fpt_pfn_t pfn, unsigned int order);
	int (*alloc)(struct fpt *t, fpt_pfn_t pfn, unsigned int order);
	/*
	 * Move what the front holds to the back. NULL: it holds nothing. Concurrently with hooks.
	 */
	void (*drain)(struct fpt *t);
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
	const struct fpt_ops *ops;
	unsigned int nr_cpus;
	void *front;
	struct fpt_percpu *percpu;
	size_t front_bytes;		/* donated to init and used */
	struct fpt_xbitmap back;
};

static inline void fpt_count(struct fpt *t, unsigned int cpu, enum fpt_stat stat, unsigned long n)
{
	fpt_percpu_add(&t->percpu[cpu].count[stat], n);
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
 * The tracker "xbitmap": the back alone. Slow path (counted): events on coarse chunks. Drops
 * nothing. Progress: wait-free.
 */
static inline void fpt_xbitmap_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	unsigned int cpu = fpt_cpu(t->nr_cpus);

	fpt_count(t, cpu, FPT_STAT_FREED, 1UL << order);
	fpt_update_back(t, cpu, pfn, 1UL << order, true);
}

static inline int fpt_xbitmap_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	unsigned int cpu = fpt_cpu(t->nr_cpus);

	fpt_count(t, cpu, FPT_STAT_ALLOCATED, 1UL << order);
	fpt_update_back(t, cpu, pfn, 1UL << order, false);
	return FPT_OK;
}

/*
 * Here and in every tracker: __extension__, because C++ had no designated initializers before
 * C++20.
 */
__extension__ static const struct fpt_ops fpt_xbitmap_ops __attribute__((unused)) = {
	.name = "xbitmap",
	.retracts = true,
	.max_pages = 0,
	.size = NULL,
	.init = NULL,
	.free = fpt_xbitmap_free,
	.alloc = fpt_xbitmap_alloc,
	.drain = NULL,
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
	.retracts = true,
	.max_pages = 0,
	.size = NULL,
	.init = NULL,
	.free = fpt_none_free,
	.alloc = fpt_none_alloc,
	.drain = NULL,
	.wanted = NULL,
	.refill = NULL,
	.memory = NULL,
};

#endif
