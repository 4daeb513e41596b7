/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fpt.h - free-page tracking: the one header to include
 *
 * An allocator's hooks say which pages became free and which were taken; a reporter takes large
 * free ranges out, hands them to a host, and gives them back. The tracker in between can be
 * swapped.
 *
 *	struct fpt_config config = { .ops = &fpt_xbitmap_ops, .nr_cpus = 8, .order = 9 };
 *	size_t size = fpt_size(&config);
 *	struct fpt_mem mem = { fpt_memory_get(size), size, true };
 *	struct fpt t;
 *
 *	fpt_init(&t, &config, &mem);
 *	fpt_add_range(&t, first_pfn, nr_pages, &range_mem);	sized by fpt_range_size()
 *
 *	fpt_free(&t, pfn, order);		the hooks: contract in tracker.h
 *	fpt_alloc(&t, pfn, order);
 *
 *	fpt_pass_begin(&reporter);		reporting: report.h
 *	while (fpt_pass_next(&reporter, &batch))
 *		... the host discards batch.range[] ...
 *		fpt_pass_complete(&reporter, &batch, true);
 *
 * Which tracker:
 *
 *	fpt_xbitmap_ops	one bitmap, all CPUs	exact; hooks write lines that other CPUs write
 *	fpt_array_ops	per-CPU arrays		fixed size, private lines; drops when full, and does
 *						not see allocations
 *	fpt_bitmap_ops	per-CPU bitmaps		no limit, private lines; grows by fpt_refill(), and does not
 *						see an allocation on another CPU than the free's
 *	fpt_lockmap_ops	one bitmap, one lock	the baseline
 *	fpt_none_ops	nothing			what the calls cost
 *
 * Run time: struct fpt_config names the ops. Compile time: define FPT_TRACKER as array, bitmap,
 * xbitmap, lockmap or none before including this header, in every file that calls the hooks of
 * such trackers; the hooks are then direct calls that inline, and config.ops must be that
 * tracker's.
 *
 * Reading order: compat/compat.h (the seam), types.h, xbitmap.h (the back), tracker.h (the
 * contract), array.h, bitmap.h, lockmap.h (fronts), report.h (the way to the host).
 */
#ifndef FPT_H
#define FPT_H

#include <fpt/array.h>
#include <fpt/bitmap.h>
#include <fpt/lockmap.h>
#include <fpt/report.h>
#include <fpt/tracker.h>

/* Bytes that fpt_init() takes from its memory at most. */
static inline size_t fpt_size(const struct fpt_config *config)
{
	size_t size = config->nr_cpus * sizeof(struct fpt_percpu) + FPT_CACHE_LINE;

	return size + (config->ops->size ? config->ops->size(config) : 0);
}

/*
 * Set up a tracker without pages. m is donated: see types.h. Errors: FPT_EINVAL (config: no
 * tracker, no CPUs, an order or a number of entries beyond its bound), FPT_ENOMEM. Nothing else
 * may use t meanwhile. With an error, m and t are unspecified.
 */
static inline int fpt_init(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m)
{
	size_t donated = m->size;
	int error;

	if (!config->ops || !config->nr_cpus)
		return FPT_EINVAL;
	fpt_zero(t, sizeof(*t));
	t->ops = config->ops;
	t->nr_cpus = config->nr_cpus;
	error = fpt_xbitmap_init(&t->back, config->order);
	if (error)
		return error;
	t->percpu = (struct fpt_percpu *)fpt_mem_take(m, config->nr_cpus * sizeof(*t->percpu));
	if (!t->percpu)
		return FPT_ENOMEM;
	if (t->ops->init) {
		error = t->ops->init(t, config, m);
		if (error)
			return error;
	}
	t->front_bytes = donated - m->size;
	return FPT_OK;
}

/*
 * No hook and no reporter may be running or come later. Afterwards the donated memory is the
 * caller's again.
 */
static inline void fpt_destroy(struct fpt *t)
{
	fpt_zero(t, sizeof(*t));
}

/*
 * Bytes to donate to fpt_add_range(): for page-exact tracking (exact), or the least, with one bit
 * per block. 0: there can be no such range.
 */
static inline size_t fpt_range_size(const struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr, bool exact)
{
	return fpt_xbitmap_range_size(&t->back, pfn, nr, exact);
}

/*
 * Add nr pages from pfn on, all held; free those that are not with fpt_free(). Ranges must not
 * share a block. Concurrently with hooks and reporters, but not with another fpt_add_range().
 * Errors: FPT_ERANGE, FPT_ENOSPC (FPT_XBITMAP_MAX_RANGES), FPT_ENOMEM (less than
 * fpt_range_size(..., false)); then m is unchanged.
 */
static inline int fpt_add_range(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr, struct fpt_mem *m)
{
	unsigned long n = fpt_load(&t->back.nr_ranges, relaxed), pages = 0;

	if (n)
		pages = t->back.range[n - 1].index +
			(t->back.range[n - 1].nr_blocks << t->back.order) + 1;
	/* nr may grow to whole blocks at both edges. */
	pages += 2UL << t->back.order;
	if (t->ops->max_pages && (pages > t->ops->max_pages || nr > t->ops->max_pages - pages))
		return FPT_ERANGE;
	return fpt_xbitmap_add_range(&t->back, pfn, nr, m);
}

/*
 * Bytes that the tracker would now make use of in fpt_refill(), for all CPUs whose reserve is low.
 * Until it gets them it works, slower. 0: none, always so for trackers that do not grow. Any
 * context. Wait-free.
 */
static inline size_t fpt_wanted(struct fpt *t)
{
	return t->ops->wanted ? t->ops->wanted(t) : 0;
}

/*
 * Donate memory to CPUs whose reserve is low, as much of m as is wanted: see types.h. Concurrently
 * with hooks and reporters, but not with another fpt_refill(). The reporter's business, before a
 * pass. FPT_ENOMEM: m does not hold what any one CPU wants; then it is unchanged.
 */
static inline int fpt_refill(struct fpt *t, struct fpt_mem *m)
{
	return t->ops->refill ? t->ops->refill(t, m) : FPT_OK;
}

#define FPT_PASTE_(a, b, c) a##b##c
#define FPT_PASTE(a, b, c) FPT_PASTE_(a, b, c)

/* 2^order pages from pfn on become free. Contract: tracker.h. Progress: the tracker's. */
static inline void fpt_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
#ifdef FPT_TRACKER
	FPT_PASTE(fpt_, FPT_TRACKER, _free)(t, pfn, order);
#else
	t->ops->free(t, pfn, order);
#endif
}

/*
 * 2^order pages from pfn on were taken. FPT_OK: go ahead. Contract: tracker.h. Progress: the
 * tracker's.
 */
static inline int fpt_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
#ifdef FPT_TRACKER
	return FPT_PASTE(fpt_, FPT_TRACKER, _alloc)(t, pfn, order);
#else
	return t->ops->alloc(t, pfn, order);
#endif
}

/* Sum of all CPUs' counters; approximate while hooks run. Any context. Wait-free. */
static inline void fpt_get_stats(struct fpt *t, struct fpt_stats *out)
{
	unsigned int cpu, i;

	fpt_zero(out, sizeof(*out));
	for (cpu = 0; cpu < t->nr_cpus; cpu++)
		for (i = 0; i < FPT_NR_STATS; i++)
			out->count[i] += fpt_load(&t->percpu[cpu].count[i], relaxed);
	fpt_xbitmap_memory(&t->back, &out->memory_donated, &out->memory_used);
	out->memory_donated += t->front_bytes;
	out->memory_used += t->front_bytes;
	if (t->ops->memory)
		t->ops->memory(t, &out->memory_donated, &out->memory_used);
}

#endif
