// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * core.c - the settings, the tracker, and the memory that it is given
 *
 * Process context. One mutex covers the settings and the tracker's life: hooks and the reporter run
 * between start and stop only, without it. Another covers the memory, which the reporter's thread
 * gives, too. A third keeps a switch's drains and a pass's apart: a drain that is asked for another
 * goes round once more, with a grace period, and with a pass in each the switch would not end. A
 * change that fails leaves the old settings in force; if these fail, too (memory), tracking is off
 * until a change succeeds, and the log says so.
 */
#include "module.h"

#include <linux/errno.h>
#include <linux/list.h>
#include <linux/math.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

/* Holes between zones that are not worth a range of their own: 64 KiB of bits for 2 GiB. */
#define FPTK_HOLE (2UL << (30 - PAGE_SHIFT))

static const struct fpt_ops *const fptk_trackers[] = {
	&fpt_xbitmap_ops, &fpt_array_ops, &fpt_bitmap_ops, &fpt_delta_ops, &fpt_lockmap_ops,
	&fpt_none_ops,
};

struct fptk_settings fptk_settings = {
	.ops = &fpt_xbitmap_ops,
	.source = FPTK_TRACEPOINTS,
	.order = 9,
	.period_ms = 100,
	.batch = FPT_BATCH_MAX,
	.in_flight_mb = 16,
	.timeout_ms = 10000,
};

/* Donated: freed when the tracker is. */
struct fptk_memory {
	struct list_head node;
} __aligned(FPT_CACHE_LINE);

static DEFINE_MUTEX(fptk_settings_lock);
static enum { FPTK_LOADING, FPTK_ON, FPTK_OFF, FPTK_GONE } fptk_state;
static struct fpt fptk_tracker;
static DEFINE_MUTEX(fptk_memory_lock);
static LIST_HEAD(fptk_memory);
DEFINE_MUTEX(fptk_drain_lock);

const struct fpt_ops *fptk_ops_by_name(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fptk_trackers); i++)
		if (sysfs_streq(name, fptk_trackers[i]->name))
			return fptk_trackers[i];
	return NULL;
}

static int fptk_errno(int result)
{
	switch (result) {
	case FPT_OK:
		return 0;
	case FPT_ENOMEM:
		return -ENOMEM;
	case FPT_ERANGE:
		return -ERANGE;
	case FPT_ENOSPC:
		return -ENOSPC;
	case FPT_ENOTSUP:
		return -EOPNOTSUPP;
	default:
		return -EINVAL;
	}
}

/* Never at the price of somebody's life: a tracker gets along with less. */
static int fptk_memory_get(size_t size, struct fpt_mem *m)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NORETRY | __GFP_NOWARN;
	struct fptk_memory *memory = __vmalloc(size + sizeof(*memory), gfp);

	if (!memory)
		return -ENOMEM;
	list_add(&memory->node, &fptk_memory);
	*m = (struct fpt_mem){ .base = memory + 1, .size = size, .zeroed = true };
	return 0;
}

static void fptk_memory_put_last(void)
{
	struct fptk_memory *memory = list_first_entry(&fptk_memory, struct fptk_memory, node);

	list_del(&memory->node);
	vfree(memory);
}

int fptk_core_refill(struct fpt *t)
{
	size_t size = fpt_wanted(t);
	struct fpt_mem m;
	int error;

	if (!size)
		return 0;
	mutex_lock(&fptk_memory_lock);
	error = fptk_memory_get(size, &m);
	if (!error) {
		error = fptk_errno(fpt_refill(t, &m));
		if (error)
			fptk_memory_put_last();
	}
	mutex_unlock(&fptk_memory_lock);
	return error;
}

static int fptk_compare(const void *a, const void *b)
{
	const struct fpt_range *x = a, *y = b;

	return x->pfn < y->pfn ? -1 : x->pfn > y->pfn;
}

/* All zones as few ranges: returns how many, sorted. Zones of several nodes may interleave. */
static unsigned int fptk_ranges(struct fpt_range *range, unsigned int max)
{
	unsigned int n = 0, merged = 0, at = 0, i;
	struct zone *zone;

	while (n < max && (zone = fptk_next_zone(&at)))
		range[n++] = (struct fpt_range){ zone->zone_start_pfn, zone->spanned_pages };
	sort(range, n, sizeof(*range), fptk_compare, NULL);
	for (i = 1; i < n; i++) {
		struct fpt_range *last = &range[merged];
		fpt_pfn_t end = max(last->pfn + last->nr, range[i].pfn + range[i].nr);

		if (range[i].pfn <= last->pfn + last->nr + FPTK_HOLE)
			last->nr = end - last->pfn;
		else
			range[++merged] = range[i];
	}
	return n ? merged + 1 : 0;
}

static int fptk_add_range(struct fpt *t, fpt_pfn_t pfn, fpt_pfn_t nr)
{
	struct fpt_mem m;
	int error = fptk_memory_get(fpt_range_size(t, pfn, nr, true), &m);

	return error ? error : fptk_errno(fpt_add_range(t, pfn, nr, &m));
}

static int fptk_add_ranges(struct fpt *t)
{
	unsigned int max = num_online_nodes() * MAX_NR_ZONES, n, i;
	struct fpt_range *range = kcalloc(max, sizeof(*range), GFP_KERNEL);
	int error = -ENOMEM;

	if (!range)
		return error;
	n = fptk_ranges(range, max);
	for (i = 0; i < n; i++) {
		/* The incomplete blocks at the edges are never reported. */
		fpt_pfn_t block = 1UL << t->back.order, first = round_up(range[i].pfn, block);
		fpt_pfn_t end = round_down(range[i].pfn + range[i].nr, block);

		error = first < end ? fptk_add_range(t, first, end - first) : 0;
		if (error)
			break;
	}
	kfree(range);
	return error;
}

static void fptk_destroy(struct fpt *t)
{
	fpt_destroy(t);
	while (!list_empty(&fptk_memory))
		fptk_memory_put_last();
}

static struct fpt_config fptk_config(void)
{
	return (struct fpt_config){
		.ops = fptk_settings.ops,
		.nr_cpus = nr_cpu_ids,
		.order = fptk_settings.order,
		.protocol = FPT_ISOLATE,
		.lossy = fptk_settings.source == FPTK_TRACEPOINTS,
		/* With either source: neither tells of pages in per-CPU lists when it starts. */
		.audit = fptk_settings.ops->toggles,
	};
}

static int fptk_build(struct fpt *t)
{
	struct fpt_config config = fptk_config();
	struct fpt_mem m;
	int error = fptk_memory_get(fpt_size(&config), &m);

	if (!error)
		error = fptk_errno(fpt_init(t, &config, &m));
	if (!error)
		error = fptk_add_ranges(t);
	if (error)
		fptk_destroy(t);
	return error;
}

/*
 * The scan comes after the source: what is freed in between is seen by one or both, never by none.
 * But a tracker that toggles must not be told twice; what it is not told, audits find.
 */
static int fptk_start_source(struct fpt *t)
{
	bool toggles = fptk_settings.ops->toggles;
	int error = toggles ? 0 : fptk_source_start(fptk_settings.source, t);

	if (error)
		return error;
	fptk_drain_pcp();
	fptk_scan(t);
	return toggles ? fptk_source_start(fptk_settings.source, t) : 0;
}

static int fptk_start(void)
{
	struct fpt *t = &fptk_tracker;
	struct fpt_stats stats;
	int error = fptk_build(t);

	if (error)
		return error;
	error = fptk_start_source(t);
	if (error)
		goto no_source;
	error = fptk_reporter_start(t);
	if (error)
		goto no_reporter;
	fpt_get_stats(t, &stats);
	pr_info("tracker %s, order %u, %zu KiB, %lu pages free\n", fptk_settings.ops->name,
		fptk_settings.order, stats.memory_donated >> 10, stats.count[FPT_STAT_FREED]);
	return 0;

no_reporter:
	fptk_source_stop();
no_source:
	fptk_destroy(t);
	return error;
}

static void fptk_stop(void)
{
	fptk_reporter_stop();
	fptk_source_stop();
	fptk_destroy(&fptk_tracker);
}

/* Nothing of the old tracker is kept. */
static int fptk_restart(void)
{
	fptk_stop();
	return fptk_start();
}

/* To another tracker while the source and the reporter run: what is known is kept. */
static int fptk_switch(struct fpt *t)
{
	struct fpt_config config = fptk_config();
	const struct fpt_ops *ops = config.ops;
	bool donate = ops->size && !fpt_slot_ops(t, ops->slot);
	struct fpt_mem m;
	int error = 0;

	mutex_lock(&fptk_memory_lock);
	if (donate)
		error = fptk_memory_get(ops->size(&config) + FPT_CACHE_LINE, &m);
	if (!error) {
		mutex_lock(&fptk_drain_lock);
		error = fptk_errno(fpt_switch(t, &config, donate ? &m : NULL));
		mutex_unlock(&fptk_drain_lock);
		if (error && donate)
			fptk_memory_put_last();
	}
	mutex_unlock(&fptk_memory_lock);
	if (!error)
		pr_info("switched to tracker %s\n", ops->name);
	else if (error == -EOPNOTSUPP)
		pr_err("no live switch to tracker %s: load the module anew\n", ops->name);
	return error;
}

static int fptk_check(const struct fptk_settings *s)
{
	unsigned long in_flight = (unsigned long)s->in_flight_mb << (20 - PAGE_SHIFT);

	if (s->order > FPTK_MAX_ORDER || !s->batch || s->batch > FPT_BATCH_MAX || !s->timeout_ms ||
	    s->in_flight_mb >> 20 || !(in_flight >> s->order))
		return -EINVAL;
	return 0;
}

static int fptk_change(const struct fptk_settings *s)
{
	struct fptk_settings old = fptk_settings;
	int error = fptk_check(s);

	if (error)
		return error;
	fptk_settings = *s;
	/* After "none", which sees no events, nothing that is known is true. */
	if (fptk_state == FPTK_ON && old.order == s->order && old.source == s->source &&
	    (old.ops == s->ops || strcmp(old.ops->name, "none"))) {
		if (old.ops != s->ops)
			error = fptk_switch(&fptk_tracker);
		if (error)
			fptk_settings = old;
		fptk_reporter_wake();
		return error;
	}
	error = fptk_state == FPTK_ON ? fptk_restart() : fptk_start();
	if (error) {
		fptk_settings = old;
		if (fptk_state == FPTK_ON && fptk_start()) {
			pr_err("cannot go back to tracker %s either: off\n", old.ops->name);
			fptk_state = FPTK_OFF;
		}
		return error;
	}
	fptk_state = FPTK_ON;
	return 0;
}

/* Change the settings, and put them into force. While the module loads, they are noted only. */
int fptk_core_apply(int (*change)(struct fptk_settings *s, const void *arg), const void *arg)
{
	struct fptk_settings s;
	int error;

	mutex_lock(&fptk_settings_lock);
	s = fptk_settings;
	error = change(&s, arg);
	if (!error && fptk_state == FPTK_GONE)
		error = -ENODEV;
	if (!error && fptk_state == FPTK_LOADING)
		fptk_settings = s;
	else if (!error)
		error = fptk_change(&s);
	mutex_unlock(&fptk_settings_lock);
	return error;
}

int fptk_core_show(struct seq_file *m, void (*show)(struct seq_file *m, struct fpt *t))
{
	int error = mutex_lock_interruptible(&fptk_settings_lock);

	if (error)
		return error;
	if (fptk_state == FPTK_ON)
		show(m, &fptk_tracker);
	mutex_unlock(&fptk_settings_lock);
	return 0;
}

int fptk_core_live(void)
{
	int error;

	mutex_lock(&fptk_settings_lock);
	error = fptk_check(&fptk_settings);
	if (!error)
		error = fptk_start();
	fptk_state = error ? FPTK_GONE : FPTK_ON;
	mutex_unlock(&fptk_settings_lock);
	return error;
}

/* Set up the same tracker anew: the zones have changed. */
void fptk_core_again(void)
{
	int error = 0;

	mutex_lock(&fptk_settings_lock);
	if (fptk_state == FPTK_ON)
		error = fptk_restart();
	if (error) {
		pr_err("cannot set up the tracker anew: %d; off\n", error);
		fptk_state = FPTK_OFF;
	}
	mutex_unlock(&fptk_settings_lock);
}

void fptk_core_gone(void)
{
	mutex_lock(&fptk_settings_lock);
	if (fptk_state == FPTK_ON)
		fptk_stop();
	fptk_state = FPTK_GONE;
	mutex_unlock(&fptk_settings_lock);
}
