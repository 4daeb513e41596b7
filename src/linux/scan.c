// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * scan.c - pages that are free and that the tracker does not know
 *
 * No event tells of pages that were free before the source ran, nor again of a hint that a tracker
 * dropped. Process context, concurrently with hooks; not with another scan. Nothing can fail. For a
 * tracker that toggles only once, before the source runs: it does not show yet what it was told
 * last, and told twice it would take it back. audit.c is its scan.
 *
 * A page in the buddy was freed, and its next alloc hook comes after the zone's lock was let go: so
 * fpt_free() under the lock is in order. Pages in per-CPU lists are not seen.
 */
#include "module.h"

#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

/* A free block: usually all of it is unknown, or nothing. */
static void fptk_scan_block(struct fpt *t, unsigned long pfn, unsigned int order)
{
	unsigned long i, unknown = 0;

	for (i = 0; i < 1UL << order; i++)
		unknown += !fpt_xbitmap_test(&t->back, pfn + i);
	if (unknown == 1UL << order) {
		fpt_free(t, pfn, order);
		return;
	}
	for (i = 0; i < 1UL << order && unknown; i++)
		if (!fpt_xbitmap_test(&t->back, pfn + i))
			fpt_free(t, pfn + i, 0);
}

static void fptk_scan_step(struct fpt *t, struct zone *zone, unsigned long pfn, unsigned long end)
{
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	while (pfn < end) {
		struct page *page = pfn_to_page(pfn);
		unsigned int order = 0;

		if (page_zone(page) == zone && PageBuddy(page)) {
			order = page_private(page);
			fptk_scan_block(t, pfn, order);
		}
		pfn += 1UL << order;
	}
	spin_unlock_irqrestore(&zone->lock, flags);
}

void fptk_scan(struct fpt *t)
{
	struct zone *zone;
	unsigned int at = 0;

	while ((zone = fptk_next_zone(&at))) {
		unsigned long pfn = zone->zone_start_pfn, end = zone_end_pfn(zone), next;

		for (; pfn < end; pfn = next) {
			next = min(round_down(pfn, FPTK_STEP) + FPTK_STEP, end);
			if (pfn_to_online_page(pfn))
				fptk_scan_step(t, zone, pfn, next);
			cond_resched();
		}
	}
}
