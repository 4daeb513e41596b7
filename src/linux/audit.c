// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * audit.c - what is true of a page: for a tracker that toggles (delta), see fpt/audit.h
 *
 * What such a tracker is not told inverts the page for good, until an audit. The tracepoints leave
 * out something all the time (stacks of processes are allocated in bulk); with either source, pages
 * that are in a per-CPU list, or on their way, when it starts are not known.
 *
 *	free	in the buddy, seen under the zone's lock: its free hook returned before it came
 *		there, and its next alloc hook comes after somebody took it out, under that lock
 *	held	isolate.c's "used": its owner has made something of it since its alloc hook
 *		returned, and ends that before the free hook is called
 *	unknown	all others: in per-CPU lists, on their way, or of an owner that leaves no mark
 *
 * So a page that is wrong is put right by the first audit that finds it free, in the buddy.
 *
 * A line of pages is looked at with the lock taken once. What was seen then is told for the rest of
 * the call of fpt_audit(): any time between its cuts will do.
 *
 * Called by the reporter's thread, between passes; start: before it runs. An audit sleeps: three
 * grace periods for FPT_AUDIT_LINES lines, 64 MB. So there is one in FPTK_AUDIT_WAIT at most, and
 * only while there are events or something was left. A flush audits all, with expedited grace
 * periods. Of a tracker that does not toggle, nothing is audited.
 */
#include "module.h"

#include <linux/bitmap.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#define FPTK_AUDIT_WAIT (HZ / 10)
#define FPTK_LOOK 512UL		/* pages, so that no section of memory ends inside */

/* Exported, but in no header for modules. */
#ifdef CONFIG_TINY_RCU
static inline void rcu_expedite_gp(void) { }
static inline void rcu_unexpedite_gp(void) { }
#else
void rcu_expedite_gp(void);
void rcu_unexpedite_gp(void);
#endif

static struct fpt_auditor fptk_auditor;

static struct {
	unsigned long next;		/* jiffies: when the next lines are due */
	unsigned long events;		/* when this round began */
	unsigned long left;		/* what the one before found, pages and lines */
	unsigned long found;		/* the same, of all so far */
	bool on;
} fptk_round;

static struct {
	unsigned long pfn;
	bool done;
	DECLARE_BITMAP(free, FPTK_LOOK);
	DECLARE_BITMAP(held, FPTK_LOOK);
} fptk_seen;

/* Pages [pfn, end), under the lock of their zone; those of another stay unknown. */
static void fptk_look_at(struct zone *zone, unsigned long pfn, unsigned long end)
{
	unsigned int order;
	struct page *page = fptk_buddy_of(pfn, 0, &order);
	unsigned long next;

	/* Only this block can have begun before the first page. */
	if (page && page_zone(page) == zone) {
		next = min(page_to_pfn(page) + (1UL << order), end);
		bitmap_set(fptk_seen.free, pfn % FPTK_LOOK, next - pfn);
		pfn = next;
	}
	for (; pfn < end; pfn = next) {
		page = pfn_to_page(pfn);
		next = pfn + 1;
		if (page_zone(page) != zone)
			continue;
		if (PageBuddy(page)) {
			next = min(pfn + (1UL << page_private(page)), end);
			bitmap_set(fptk_seen.free, pfn % FPTK_LOOK, next - pfn);
		} else if (fptk_owned(page)) {
			__set_bit(pfn % FPTK_LOOK, fptk_seen.held);
		}
	}
}

static void fptk_look(unsigned long pfn)
{
	struct page *page;
	unsigned long flags;

	cond_resched();
	fptk_seen.pfn = round_down(pfn, FPTK_LOOK);
	fptk_seen.done = true;
	bitmap_zero(fptk_seen.free, FPTK_LOOK);
	bitmap_zero(fptk_seen.held, FPTK_LOOK);
	page = pfn_to_online_page(pfn);
	if (!page)
		return;
	spin_lock_irqsave(&page_zone(page)->lock, flags);
	fptk_look_at(page_zone(page), fptk_seen.pfn, fptk_seen.pfn + FPTK_LOOK);
	spin_unlock_irqrestore(&page_zone(page)->lock, flags);
}

static enum fpt_truth fptk_truth(void *ctx, fpt_pfn_t pfn)
{
	if (!fptk_seen.done || pfn - fptk_seen.pfn >= FPTK_LOOK)
		fptk_look(pfn);
	if (test_bit(pfn % FPTK_LOOK, fptk_seen.free))
		return FPT_TRUTH_FREE;
	return test_bit(pfn % FPTK_LOOK, fptk_seen.held) ? FPT_TRUTH_HELD : FPT_TRUTH_UNKNOWN;
}

/* The next lines. False: there are none, the next call begins again; or no audit. */
static bool fptk_audit_next(void)
{
	fptk_seen.done = false;
	return fpt_audit(&fptk_auditor, FPT_AUDIT_LINES) > 0;
}

static unsigned long fptk_events(struct fpt *t)
{
	struct fpt_stats stats;

	fpt_get_stats(t, &stats);
	return stats.count[FPT_STAT_FREED] + stats.count[FPT_STAT_ALLOCATED];
}

/* The next lines, when it is time and there is a reason. */
void fptk_audit_some(struct fpt *t)
{
	unsigned long events, found;

	if (!t->back.audits || time_before(jiffies, fptk_round.next))
		return;
	fptk_round.next = jiffies + FPTK_AUDIT_WAIT;
	if (!fptk_round.on) {
		events = fptk_events(t);
		if (events == fptk_round.events && !fptk_round.left)
			return;
		fptk_round.events = events;
		fptk_round.on = true;
	}
	if (fptk_audit_next())
		return;
	found = fptk_auditor.repaired + fptk_auditor.disturbed;
	fptk_round.left = found - fptk_round.found;
	fptk_round.found = found;
	fptk_round.on = false;
}

/* All lines: a flush's. */
void fptk_audit_all(struct fpt *t)
{
	if (!t->back.audits)
		return;
	fptk_auditor.range = fptk_auditor.line = 0;
	fptk_round.on = false;
	rcu_expedite_gp();
	while (!kthread_should_stop() && fptk_audit_next())
		;
	rcu_unexpedite_gp();
}

void fptk_audit_show(struct seq_file *m)
{
	seq_printf(m, "repaired %lu\n", READ_ONCE(fptk_auditor.repaired));
	seq_printf(m, "disturbed %lu\n", READ_ONCE(fptk_auditor.disturbed));
}

void fptk_audit_start(struct fpt *t)
{
	memset(&fptk_auditor, 0, sizeof(fptk_auditor));
	memset(&fptk_round, 0, sizeof(fptk_round));
	fptk_round.next = jiffies;
	fptk_auditor.t = t;
	fptk_auditor.truth = fptk_truth;
}
