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
 *	fpt_bitmap_ops	per-CPU bitmaps		no limit, private lines; grows by fpt_refill(), and
 *						does not see an allocation on another CPU than the
 *						free's
 *	fpt_delta_ops	per-CPU differences	exact, private lines, hooks without atomics; needs
 *						an exact source of events, or audits; what hooks did
 *						is known after a fold
 *	fpt_lockmap_ops	one bitmap, one lock	the baseline
 *	fpt_array2019_ops	per-CPU arrays	the baseline of 2019: scans in hooks, drops;
 *						reported by fpt_array2019_collect(), not by passes
 *	fpt_none_ops	nothing			what the calls cost; what is freed meanwhile is not
 *						hinted
 *
 * What cannot be reported, and why. Only the caller knows; it says so with fpt_refuse(), and passes
 * claim nothing until fpt_permit():
 *
 *	FPT_REFUSE_POISON	free pages hold a pattern that is checked when they are taken (page
 *				poisoning, KASAN): discarded memory reads as zeroes
 *	FPT_REFUSE_ZEROED	free pages are relied upon to hold what was written when they were
 *				freed (init_on_free): right only where the host gives back zeroed
 *				memory
 *	FPT_REFUSE_DEVICE	an assigned device writes to guest memory by addresses that the host
 *				has pinned: what is discarded is not what the device sees
 *	FPT_REFUSE_HUGETLB	the host backs the guest with huge pages that it cannot take back,
 *				or only whole: see granule_order, too
 *
 * Event sources. Exact: every free and every alloc is seen, once and in order. Lossy (config.lossy:
 * kernel tracepoints): some are not. A lossy source needs FPT_ISOLATE: FPT_TICKET is refused by
 * fpt_init(), as it is with trackers that neither retract nor can find out (array, bitmap,
 * array2019, none), because there the hooks are all that keeps an owner's page from the host.
 *
 * What a lossy source misses makes hints worse, never data: isolation decides. Trackers that set
 * and clear are put right by the page's next event, or by the owner's is_free (report.h); one that
 * toggles (delta) only by audits: it takes a lossy source with config.audit, and fpt_audit() is
 * called now and then (audit.h).
 *
 * RCU. Hooks that are dispatched at run time are read-side sections, and fpt_switch() and
 * fpt_remove_range() wait for a grace period: that is where a reader has no other way to say that
 * it is through. In the kernel always; in user space with FPT_RCU defined (in all files that call
 * the hooks) and liburcu's flavour bp linked, the one whose threads register themselves at their
 * first hook. That hook locks and may map memory; where it must not, the thread calls
 * urcu_bp_register_thread() before. Without FPT_RCU both work, too, and say below what they cannot
 * know. Hooks that are selected at compile time are no readers.
 *
 * fork(): hooks and reporters must be quiescent; the child's tracker is a copy of its own.
 *
 * Run time: struct fpt_config names the ops. Compile time: define FPT_TRACKER as array, bitmap,
 * delta, xbitmap, lockmap, array2019 or none before including this header, in every file that calls
 * the hooks of such trackers; the hooks are then direct calls that inline, and config.ops must be
 * that tracker's. Live: fpt_switch(), for trackers that are selected at run time.
 *
 * Reading order: compat/compat.h (the seam), types.h, ticket.h, xbitmap.h (the back), tracker.h
 * (the contract), array.h, bitmap.h, delta.h, lockmap.h (fronts), report.h (the way to the host),
 * audit.h, array2019.h.
 */
#ifndef FPT_H
#define FPT_H

#include <fpt/array.h>
#include <fpt/array2019.h>
#include <fpt/audit.h>
#include <fpt/bitmap.h>
#include <fpt/delta.h>
#include <fpt/lockmap.h>
#include <fpt/report.h>
#include <fpt/tracker.h>

/* Bytes that fpt_init() takes from its memory at most. */
static inline size_t fpt_size(const struct fpt_config *config)
{
	size_t size = (config->nr_cpus + 1UL) * sizeof(struct fpt_percpu) + FPT_CACHE_LINE;

	return size + (config->ops->size ? config->ops->size(config) : 0);
}

/* Could these ops run like this? */
static inline int fpt_check(const struct fpt_ops *ops, enum fpt_protocol protocol, bool lossy,
			    bool audit)
{
	if (protocol == FPT_TICKET && (lossy || (!ops->retracts && !ops->cut)))
		return FPT_ENOTSUP;
	/* Others' hooks set and clear: what is missed is put right by the page's next event. */
	if (audit && !ops->toggles)
		return FPT_ENOTSUP;
	return ops->toggles && lossy && !audit ? FPT_ENOTSUP : FPT_OK;
}

/* Make ops the tracker that hooks use from now on; its front is made here when it has none. */
static inline int fpt_use(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m)
{
	const struct fpt_ops *ops = config->ops;
	size_t before = m ? m->size : 0;

	if (ops->init && !fpt_slot_ops(t, ops->slot)) {
		int error = m ? ops->init(t, config, m) : FPT_ENOMEM;

		if (error)
			return error;
		fpt_fetch_add(&t->front_bytes, before - m->size, relaxed);
		/* Pairs with fpt_slot_ops(). */
		fpt_store(&t->slot_ops[ops->slot], (unsigned long)(uintptr_t)ops, release);
	}
	if (!ops->retracts && !ops->toggles)
		fpt_store(&t->stale, 1, relaxed);
	if (ops->drain)
		/* Release: fpt_drain() finds the front. Before its first hook. */
		fpt_or(&t->fronts, 1UL << ops->slot, seq_cst);
	fpt_store(&t->ops, (unsigned long)(uintptr_t)ops, release);	/* pairs with fpt_tracker() */
	return FPT_OK;
}

/*
 * Set up a tracker without pages. m is donated: see types.h. Errors: FPT_EINVAL (config: no
 * tracker, no CPUs, an order or a number of entries beyond its bound, a host's page that is larger
 * than a block), FPT_ENOTSUP (FPT_TICKET with a lossy source or a tracker that cannot tell what is
 * owned; delta with a lossy source and without audits, others with), FPT_ENOMEM. Nothing else may
 * use t meanwhile. With an error, m and t are unspecified.
 */
static inline int fpt_init(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m)
{
	size_t before;
	int error;

	if (!config->ops || !config->nr_cpus || config->granule_order > config->order)
		return FPT_EINVAL;
	error = fpt_check(config->ops, config->protocol, config->lossy, config->audit);
	if (error)
		return error;
	fpt_zero(t, sizeof(*t));
	t->nr_cpus = config->nr_cpus;
	t->protocol = config->protocol;
	t->lossy = config->lossy;
	t->report_again = config->report_again;
	if (config->lossy)
		fpt_store(&t->stale, 1, relaxed);
	error = fpt_xbitmap_init(&t->back, config->order, config->protocol == FPT_TICKET);
	if (error)
		return error;
	if (config->ops->toggles)
		t->back.all_chunks = true;
	t->back.audits = config->audit;
	t->back.heat = config->ops->toggles;
	before = m->size;
	t->percpu = (struct fpt_percpu *)fpt_mem_take(m, (config->nr_cpus + 1UL) * sizeof(*t->percpu));
	if (!t->percpu)
		return FPT_ENOMEM;
	fpt_store(&t->front_bytes, before - m->size, relaxed);
	return fpt_use(t, config, m);
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
 * share a block. Concurrently with hooks and reporters, but not with another fpt_add_range(), nor
 * fpt_remove_range() or fpt_switch(). Errors: FPT_ERANGE, FPT_ENOSPC (FPT_XBITMAP_MAX_RANGES),
 * FPT_ENOMEM (less than fpt_range_size(..., false), or in the ticket protocol and with delta than
 * fpt_range_size(..., true)); then m is unchanged.
 */
static inline int fpt_add_range(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr, struct fpt_mem *m)
{
	unsigned long max = fpt_tracker(t)->max_pages;

	if (max && fpt_xbitmap_last_index(&t->back, pfn, nr) > max)
		return FPT_ERANGE;
	return fpt_xbitmap_add_range(&t->back, pfn, nr, m);
}

/*
 * Remove a range that was added as pfn, nr (memory that is unplugged). Its pages must not be freed
 * or taken any more: hooks on them have returned. What is hinted of it is forgotten; the part that
 * fronts hold counts as events outside (delta: not counted). Concurrently with hooks on other
 * pages, but not with reporters, fpt_add_range(), fpt_switch() or another fpt_remove_range().
 * Afterwards its donated memory is the caller's again; an event of its pages that comes all the
 * same is ignored and counted (FPT_STAT_OUTSIDE) or, without RCU, an error of the caller's while
 * this function runs.
 * Errors: FPT_ERANGE (there is no such range), FPT_EBUSY (a block of it is out: complete it, then
 * try again). Blocking with RCU, else as two drains of the tracker.
 */
static inline int fpt_remove_range(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr)
{
	int error = fpt_xbitmap_remove_range(&t->back, pfn, nr);

	if (error)
		return error;
	fpt_rcu_synchronize();
	/* What fronts hold of it is outside now. "Two drains". */
	fpt_drain(t);
	fpt_drain(t);
	return FPT_OK;
}

/*
 * Switch to another tracker while hooks run. config: ops, nr_cpus as fpt_init() was told, and what
 * the front is made with; the rest is not looked at. m is donated for the front
 * (config.ops->size(config)); NULL when it needs none, or was in use before: its front is kept.
 * Concurrently with hooks and reporters, but not with another fpt_switch(), fpt_add_range(),
 * fpt_remove_range() or fpt_refill().
 *
 * No hint is lost (but what is freed while "none" is the tracker was never one): the old front is
 * drained by every pass. When the grace period is over, which is before this function returns where
 * there is RCU, no hook is in the old tracker any more; its front is drained a last time and then
 * left alone. Without RCU passes go on draining it, for good.
 * Only array2019 has nothing that drains it: collect what it holds, after this function.
 *
 * A page freed under the old tracker and taken under the new one may stay hinted (until its next
 * free and alloc) when the old one does not retract: isolation finds out, is_free corrects it.
 *
 * Errors: FPT_EINVAL (no ops, other nr_cpus, or what the front does not take), FPT_ENOTSUP (as
 * fpt_init(), and to or from delta, which toggles), FPT_ERANGE (more pages than it can name),
 * FPT_ENOMEM; then nothing has switched, but m is unspecified. Blocking with RCU.
 */
static inline int fpt_switch(struct fpt *t, const struct fpt_config *config, struct fpt_mem *m)
{
	const struct fpt_ops *old = fpt_tracker(t), *ops = config->ops;
	int error;

	/* The front's areas are indexed with the CPUs that t counts. */
	if (!ops || config->nr_cpus != t->nr_cpus)
		return FPT_EINVAL;
	error = fpt_check(ops, t->protocol, t->lossy, t->back.audits);
	if (error)
		return error;
	if (ops->toggles != old->toggles)
		return FPT_ENOTSUP;
	if (ops->max_pages && fpt_xbitmap_end_index(&t->back) > ops->max_pages)
		return FPT_ERANGE;
	error = fpt_use(t, config, m);
	if (error || old == ops || !FPT_RCU_WAITS)
		return error;
	fpt_rcu_synchronize();
	if (old->drain && old->slot != ops->slot) {
		old->drain(t);
		old->drain(t);
		fpt_and(&t->fronts, ~(1UL << old->slot), release);
	}
	return FPT_OK;
}

/*
 * Bytes that the tracker would now make use of in fpt_refill(), for all CPUs whose reserve is low.
 * Until it gets them it works, slower. 0: none, always so for trackers that do not grow. Any
 * context. Wait-free.
 */
static inline size_t fpt_wanted(struct fpt *t)
{
	const struct fpt_ops *ops = fpt_tracker(t);

	return ops->wanted ? ops->wanted(t) : 0;
}

/*
 * Donate memory to CPUs whose reserve is low, as much of m as is wanted: see types.h. Concurrently
 * with hooks and reporters, but not with another fpt_refill(). The reporter's business, before a
 * pass. FPT_ENOMEM: m does not hold what any one CPU wants; then it is unchanged.
 */
static inline int fpt_refill(struct fpt *t, struct fpt_mem *m)
{
	const struct fpt_ops *ops = fpt_tracker(t);

	return ops->refill ? ops->refill(t, m) : FPT_OK;
}

#define FPT_PASTE_(a, b, c) a##b##c
#define FPT_PASTE(a, b, c) FPT_PASTE_(a, b, c)

/* 2^order pages from pfn on become free. Contract: tracker.h. Progress: the tracker's. */
static inline void fpt_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
#ifdef FPT_TRACKER
	FPT_PASTE(fpt_, FPT_TRACKER, _free)(t, pfn, order);
#else
	fpt_rcu_read_lock();
	fpt_tracker(t)->free(t, pfn, order);
	fpt_rcu_read_unlock();
#endif
}

/*
 * 2^order pages from pfn on were taken. FPT_OK: go ahead. FPT_IN_FLIGHT: fpt_wait() before the
 * first write. Contract: tracker.h. Progress: the tracker's.
 */
static inline int fpt_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
#ifdef FPT_TRACKER
	return FPT_PASTE(fpt_, FPT_TRACKER, _alloc)(t, pfn, order);
#else
	int result;

	fpt_rcu_read_lock();
	result = fpt_tracker(t)->alloc(t, pfn, order);
	fpt_rcu_read_unlock();
	return result;
#endif
}

/* Sum of all CPUs' counters; approximate while hooks run. Any context. Wait-free. */
static inline void fpt_get_stats(struct fpt *t, struct fpt_stats *out)
{
	unsigned int cpu, i;

	fpt_zero(out, sizeof(*out));
	for (cpu = 0; cpu <= t->nr_cpus; cpu++)
		for (i = 0; i < FPT_NR_STATS; i++)
			out->count[i] += fpt_load(&t->percpu[cpu].count[i], relaxed);
	fpt_xbitmap_memory(&t->back, &out->memory_donated, &out->memory_used);
	out->memory_donated += fpt_load(&t->front_bytes, relaxed);
	out->memory_used += fpt_load(&t->front_bytes, relaxed);
	for (i = 0; i < FPT_NR_SLOTS; i++) {
		const struct fpt_ops *ops = fpt_slot_ops(t, i);

		if (ops && ops->memory)
			ops->memory(t, &out->memory_donated, &out->memory_used);
	}
}

#endif
