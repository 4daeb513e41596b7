// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * source.c - where the events come from
 *
 * tracepoints	kmem:mm_page_alloc and kmem:mm_page_free, on any kernel. Lossy: an alloc in bulk
 *		(vmalloc, page pools) and the pages that compaction and alloc_contig_range() take
 *		pass none, so that a page may be used and hinted; its free is seen. mm_page_alloc
 *		comes after the page was zeroed. Hence isolation before every report is not an
 *		option but what keeps the data.
 * hooks	next to arch_free_page() and arch_alloc_page(), on a kernel with patches/: every
 *		page that enters or leaves the allocator, in order.
 *
 * Both call from task, softirq and hardirq context, interrupts mostly on: an event can come in the
 * middle of another on the same CPU. The trackers' hooks allow that.
 *
 * start and stop: process context, one at a time. After stop no event is under way. start fails
 * with ENOENT where the kernel does not have the source.
 */
#include "module.h"

#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

static enum fptk_source fptk_source;
static struct fpt *fptk_source_tracker;		/* for the hooks, which have no argument for it */

/* The probes: as the tracepoints pass their arguments. */
static void fptk_probe_free(void *data, struct page *page, unsigned int order)
{
	fpt_free(data, page_to_pfn(page), order);
}

static void fptk_probe_alloc(void *data, struct page *page, unsigned int order, gfp_t gfp,
			     int migratetype)
{
	if (page)	/* NULL: the allocation failed */
		(void)fpt_alloc(data, page_to_pfn(page), order);
}

static struct {
	const char *name;
	void *probe;
	struct tracepoint *tracepoint;
} fptk_events[] = {
	{ .name = "mm_page_alloc", .probe = fptk_probe_alloc },
	{ .name = "mm_page_free", .probe = fptk_probe_free },
};

static void fptk_find(struct tracepoint *tp, void *data)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fptk_events); i++)
		if (!strcmp(tp->name, fptk_events[i].name))
			fptk_events[i].tracepoint = tp;
}

static void fptk_unregister(unsigned int nr, struct fpt *t)
{
	while (nr--)
		tracepoint_probe_unregister(fptk_events[nr].tracepoint, fptk_events[nr].probe, t);
	tracepoint_synchronize_unregister();
}

/* Allocations first: a free that is seen before them would be followed by none. */
static int fptk_register(struct fpt *t)
{
	unsigned int i;
	int error;

	for_each_kernel_tracepoint(fptk_find, NULL);
	for (i = 0; i < ARRAY_SIZE(fptk_events); i++) {
		error = fptk_events[i].tracepoint ?
			tracepoint_probe_register(fptk_events[i].tracepoint, fptk_events[i].probe,
						  t) : -ENOENT;
		if (error) {
			pr_err("no tracepoint %s: %d\n", fptk_events[i].name, error);
			fptk_unregister(i, t);
			return error;
		}
	}
	return 0;
}

/* The patch's: linux/page_hooks.h there. */
struct page_hooks {
	void (*free)(struct page *page, unsigned int order);
	void (*alloc)(struct page *page, unsigned int order);
};
extern int page_hooks_set(const struct page_hooks *hooks);

static void fptk_hook_free(struct page *page, unsigned int order)
{
	fpt_free(fptk_source_tracker, page_to_pfn(page), order);
}

static void fptk_hook_alloc(struct page *page, unsigned int order)
{
	(void)fpt_alloc(fptk_source_tracker, page_to_pfn(page), order);
}

static const struct page_hooks fptk_hooks = {
	.free = fptk_hook_free,
	.alloc = fptk_hook_alloc,
};

/* By name, so that the module loads on a kernel without. */
static int fptk_hooks_set(const struct page_hooks *hooks)
{
	typeof(page_hooks_set) *set = symbol_get(page_hooks_set);
	int error;

	if (!set) {
		pr_err("this kernel has no page hooks (src/linux/patches)\n");
		return -ENOENT;
	}
	error = set(hooks);
	symbol_put(page_hooks_set);
	return error;
}

int fptk_source_start(enum fptk_source source, struct fpt *t)
{
	fptk_source = source;
	fptk_source_tracker = t;
	return source == FPTK_HOOKS ? fptk_hooks_set(&fptk_hooks) : fptk_register(t);
}

void fptk_source_stop(void)
{
	if (fptk_source == FPTK_HOOKS)
		fptk_hooks_set(NULL);
	else
		fptk_unregister(ARRAY_SIZE(fptk_events), fptk_source_tracker);
}
