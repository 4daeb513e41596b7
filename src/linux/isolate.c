// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * isolate.c - taking free blocks out of the zones' free lists, and putting them back
 *
 * isolate	is what keeps the data: whatever the tracker thinks, a block goes to the host
 *		only after the allocator gave it away, whole, under the zone's lock. Where the free
 *		block is larger, the rest goes back at once.
 * put_back	hands it over again. No page event comes of either.
 * is_free	for what a tracker is wrong about.
 *
 * Called by the reporter's thread; isolate may sleep. Loading fails with ENOENT on a kernel that
 * has these functions under other names.
 *
 * TAKEN leaves alone what the zone may soon need: a block is taken only while as much as is out
 * already, and the block, would still be free above the high watermark. So at most half of that
 * headroom is out, for the milliseconds that a host takes, and an allocation that fails then finds
 * it back after reclaim; before anybody is killed for memory, all of it comes back.
 *
 * USED is said of a page that is on an LRU list, a slab's, or a page table: the owner makes it so
 * after its alloc hook has returned, and ends it before the free hook is called. Any other page
 * that is not in the buddy may be on its way in or out, or in a per-CPU list: BUSY.
 */
#include "module.h"

#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/page-isolation.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "trace.h"

static int (*fptk_isolate_free_page)(struct page *page, unsigned int order);
static void (*fptk_putback_isolated_page)(struct page *page, unsigned int order, int mt);
static unsigned long (*fptk_pfnblock_flags)(const struct page *page, unsigned long pfn,
					    unsigned long mask);
static void (*fptk_drain_all_pages)(struct zone *zone);

static atomic_long_t fptk_out;			/* pages */
static unsigned long fptk_nr_blocked;
static DECLARE_WAIT_QUEUE_HEAD(fptk_all_back);

unsigned long fptk_pages_out(void)
{
	return atomic_long_read(&fptk_out);
}

/* Blocks so far that were busy, and not for want of headroom. */
unsigned long fptk_blocked(void)
{
	return fptk_nr_blocked;
}

/* Free pages of this and other CPUs' lists to the buddy, as far as the kernel lets us. */
void fptk_drain_pcp(void)
{
	if (fptk_drain_all_pages)
		fptk_drain_all_pages(NULL);
}

static int fptk_migratetype(struct page *page)
{
	return fptk_pfnblock_flags(page, page_to_pfn(page), MIGRATETYPE_MASK);
}

/*
 * The free block that holds 2^order pages from pfn on, NULL without. Its order is stable only with
 * the zone's lock held.
 */
struct page *fptk_buddy_of(unsigned long pfn, unsigned int order, unsigned int *its_order)
{
	unsigned int o;

	for (o = order; o <= FPTK_MAX_ORDER; o++) {
		struct page *head = pfn_to_page(round_down(pfn, 1UL << o));

		if (!PageBuddy(head))
			continue;
		*its_order = READ_ONCE(page_private(head));
		if (*its_order >= o && *its_order <= FPTK_MAX_ORDER)
			return head;
	}
	return NULL;
}

/* USED of one page. */
bool fptk_owned(struct page *page)
{
	struct page *head = compound_head(page);

	if (!PageLRU(head) && !PageSlab(head) && !PageTable(page))
		return false;
	/*
	 * To be wrong, the page would have to change hands twice since the first look, and come
	 * back to the same head.
	 */
	smp_rmb();	/* the head's flags before the second look */
	return compound_head(page) == head;
}

static enum fpt_isolated fptk_why_not(struct fpt_range r)
{
	unsigned long pfn, order;

	for (pfn = r.pfn; pfn - r.pfn < r.nr; pfn++) {
		struct page *page = pfn_to_page(pfn);

		if (PageBuddy(page)) {
			order = READ_ONCE(page_private(page));
			pfn += order <= FPTK_MAX_ORDER ? (1UL << order) - 1 : 0;
		} else if (fptk_owned(page)) {
			return FPT_USED;
		}
	}
	fptk_nr_blocked++;
	return FPT_BUSY;
}

static bool fptk_headroom(struct zone *zone, unsigned long nr)
{
	return zone_page_state(zone, NR_FREE_PAGES) >=
	       high_wmark_pages(zone) + 2 * nr + fptk_pages_out();
}

/* Under the zone's lock. Keeps [pfn, pfn + 2^order) of the free block. */
static bool fptk_take(struct zone *zone, unsigned long pfn, unsigned int order)
{
	unsigned int its_order;
	struct page *head = fptk_buddy_of(pfn, order, &its_order);

	if (!head || page_zone(head) != zone || !fptk_headroom(zone, 1UL << order) ||
	    is_migrate_isolate(fptk_migratetype(head)) || !fptk_isolate_free_page(head, its_order))
		return false;
	while (its_order > order) {
		unsigned long half = 1UL << --its_order;
		struct page *rest = head + half;

		if (pfn & half)
			swap(rest, head);
		fptk_putback_isolated_page(rest, its_order, fptk_migratetype(rest));
	}
	return true;
}

static enum fpt_isolated fptk_try(struct fpt_range r)
{
	struct page *page = pfn_to_online_page(r.pfn);
	unsigned int order = ilog2(r.nr), its_order;
	unsigned long flags;
	struct zone *zone;
	bool taken;

#ifdef FPT_MUTANT_SKIP_ISOLATION
	return FPT_TAKEN;
#endif
	if (!page)
		return FPT_BUSY;	/* a hole, or unplugged */
	if (!fptk_buddy_of(r.pfn, order, &its_order))
		return fptk_why_not(r);
	zone = page_zone(page);
	spin_lock_irqsave(&zone->lock, flags);
	taken = fptk_take(zone, r.pfn, order);
	spin_unlock_irqrestore(&zone->lock, flags);
	if (!taken)
		return FPT_BUSY;
	atomic_long_add(r.nr, &fptk_out);
	return FPT_TAKEN;
}

static enum fpt_isolated fptk_isolate(void *ctx, struct fpt_range r)
{
	enum fpt_isolated answer;

	cond_resched();
	answer = fptk_try(r);
	trace_fpt_isolate(r.pfn, r.nr, answer);
	return answer;
}

static void fptk_put_back(void *ctx, struct fpt_range r)
{
	struct page *page = pfn_to_page(r.pfn);
	struct zone *zone = page_zone(page);
	unsigned long flags;

#ifdef FPT_MUTANT_SKIP_ISOLATION
	return;
#endif
	spin_lock_irqsave(&zone->lock, flags);
	/* The type as it is now: isolating may have changed it. */
	fptk_putback_isolated_page(page, ilog2(r.nr), fptk_migratetype(page));
	spin_unlock_irqrestore(&zone->lock, flags);
	if (!atomic_long_sub_return(r.nr, &fptk_out))
		wake_up_all(&fptk_all_back);
}

static bool fptk_is_free(void *ctx, fpt_pfn_t pfn)
{
	struct page *page = pfn_to_online_page(pfn);

	return !page || !fptk_owned(page);
}

const struct fpt_owner_ops fptk_owner = {
	.isolate = fptk_isolate,
	.put_back = fptk_put_back,
	.is_free = fptk_is_free,
};

/* Before a process is killed: what is out comes back within a host's round trip. */
static int fptk_oom(struct notifier_block *nb, unsigned long action, void *freed)
{
	unsigned long out = fptk_pages_out();

	if (out && wait_event_timeout(fptk_all_back, !fptk_pages_out(), HZ))
		*(unsigned long *)freed += out;
	return NOTIFY_OK;
}

static struct notifier_block fptk_oom_notifier = { .notifier_call = fptk_oom };

static const struct {
	const char *name;
	void **address;
	bool optional;
} fptk_functions[] = {
	{ "__isolate_free_page", (void **)&fptk_isolate_free_page },
	{ "__putback_isolated_page", (void **)&fptk_putback_isolated_page },
	{ "get_pfnblock_flags_mask", (void **)&fptk_pfnblock_flags },
	{ "drain_all_pages", (void **)&fptk_drain_all_pages, true },
};

int fptk_isolate_init(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fptk_functions); i++) {
		*fptk_functions[i].address = fptk_lookup(fptk_functions[i].name);
		if (*fptk_functions[i].address || fptk_functions[i].optional)
			continue;
		pr_err("this kernel has no %s\n", fptk_functions[i].name);
		return -ENOENT;
	}
	return register_oom_notifier(&fptk_oom_notifier);
}

void fptk_isolate_exit(void)
{
	unregister_oom_notifier(&fptk_oom_notifier);
}
