/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * types.h - pages, ranges, results, donated memory, counters
 *
 * fpt never allocates. Memory is donated by the caller in calls that say so (fpt_init,
 * fpt_add_range, fpt_refill), as a struct fpt_mem that is consumed from the front; it stays in use
 * until fpt_destroy returns.
 */
#ifndef FPT_TYPES_H
#define FPT_TYPES_H

#include <fpt/compat/compat.h>

/*
 * A page frame number. Every value is valid, the largest included; the size of a page is the
 * caller's.
 */
typedef unsigned long fpt_pfn_t;

/*
 * nr pages from pfn on; nr is not 0. The last page is pfn + nr - 1, so that every page can be
 * named.
 */
struct fpt_range {
	fpt_pfn_t pfn;
	fpt_pfn_t nr;
};

/*
 * Results: not negative is success of a kind, negative an error; what it leaves is said at each
 * function.
 */
enum {
	FPT_OK = 0,
	FPT_IN_FLIGHT = 1,	/* from alloc hooks: the page is being reported */
	FPT_ENOMEM = -1,	/* the donated memory is too small */
	FPT_EINVAL = -2,	/* an argument is out of its documented bounds */
	FPT_ERANGE = -3,	/* a page range is empty, wraps around, overlaps another or is too large */
	FPT_ENOSPC = -4,	/* a table of fixed size is full */
	FPT_EBUSY = -5,		/* pages are on their way to the host, or another call is under way: try again */
	FPT_ENOTSUP = -6,	/* not with this tracker, protocol, or source of events */
	FPT_ETIME = -7,		/* the deadline has passed */
};

struct fpt_mem {
	void *base;
	size_t size;	/* bytes */
	bool zeroed;	/* the caller knows that it is: then it is not touched before it is needed */
};

/*
 * Take size bytes, aligned to a cache line, zeroed, off the front of m. NULL when there is not
 * enough; then m is unchanged.
 */
static inline void *fpt_mem_take(struct fpt_mem *m, size_t size)
{
	size_t pad = (size_t)(-(uintptr_t)m->base & (FPT_CACHE_LINE - 1));
	char *p;

	if (!m->base || m->size < pad || m->size - pad < size)
		return NULL;
	p = (char *)m->base + pad;
	if (!m->zeroed)
		fpt_zero(p, size);
	m->base = p + size;
	m->size -= pad + size;
	return p;
}

/* Bytes that fpt_mem_take(size) consumes at most. */
static inline size_t fpt_mem_cost(size_t size)
{
	return (size + FPT_CACHE_LINE - 1) / FPT_CACHE_LINE * FPT_CACHE_LINE;
}

/*
 * Counters, kept per CPU and summed on read: a sum taken while hooks run may miss their last steps.
 * In pages unless said otherwise.
 */
enum fpt_stat {
	FPT_STAT_FREED,		/* seen by fpt_free */
	FPT_STAT_ALLOCATED,	/* seen by fpt_alloc */
	FPT_STAT_OUTSIDE,	/* freed or allocated in no range: ignored */
	FPT_STAT_DROPPED,	/* hints lost, for reasons that the tracker's header names */
	FPT_STAT_SLOW,		/* events (not pages) that took the slow path that the tracker's header names */
	FPT_STAT_CLAIMED,
	FPT_STAT_BUSY,		/* claimed, then FPT_BUSY from isolation, or given up: hint kept */
	FPT_STAT_USED,		/* claimed, but isolation answered FPT_USED */
	FPT_STAT_REPORTED,	/* acknowledged by the host */
	FPT_STAT_FAILED,	/* submitted, but the host refused or the wait was given up: hint kept */
	FPT_STAT_CANCELLED,	/* claimed, but allocated before they were submitted (ticket protocol); also
				   claims that had not looked at the bits yet, which CLAIMED leaves out */
	FPT_STAT_WAITED,	/* allocated while submitted: fpt_alloc said FPT_IN_FLIGHT */
	FPT_STAT_LATE,		/* acknowledged when their submission had been given up: ignored */
	FPT_STAT_REFAULTED,	/* in blocks that were touched again after they had been submitted */
	FPT_NR_STATS
};

struct fpt_stats {
	unsigned long count[FPT_NR_STATS];
	size_t memory_donated;	/* bytes given by the caller */
	size_t memory_used;	/* bytes of them in use; never more */
};

#endif
