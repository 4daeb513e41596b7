/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lockmap.h - one bitmap, one lock
 *
 * Purpose. The baseline: the global bitmap under a global lock that the proposals of 2019 were
 * measured against. The bitmap is the back, written with the same operations as by the tracker
 * "xbitmap", so that the difference between the two is what the lock costs, and nothing else.
 *
 * Invariant: hooks write the back with the lock held. Slow path and drops: as xbitmap.
 *
 * Progress: blocking. A hook waits for the lock as long as others hold it. This is the exemption
 * from "hooks never wait" that makes it a baseline.
 */
#ifndef FPT_LOCKMAP_H
#define FPT_LOCKMAP_H

#include <fpt/tracker.h>

struct fpt_lockmap {
	fpt_lock_t lock;
};

static inline size_t fpt_lockmap_size(const struct fpt_config *config)
{
	(void)config;
	return fpt_mem_cost(sizeof(struct fpt_lockmap));
}

static inline int fpt_lockmap_init(struct fpt *t, const struct fpt_config *config,
				   struct fpt_mem *m)
{
	struct fpt_lockmap *l = (struct fpt_lockmap *)fpt_mem_take(m, sizeof(*l));

	(void)config;
	if (!l)
		return FPT_ENOMEM;
	fpt_lock_init(&l->lock);
	t->front[FPT_SLOT_LOCKMAP] = l;
	return FPT_OK;
}

static inline void fpt_lockmap_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	struct fpt_lockmap *l = (struct fpt_lockmap *)t->front[FPT_SLOT_LOCKMAP];

	fpt_lock(&l->lock);
	fpt_xbitmap_free(t, pfn, order);
	fpt_unlock(&l->lock);
}

static inline int fpt_lockmap_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	struct fpt_lockmap *l = (struct fpt_lockmap *)t->front[FPT_SLOT_LOCKMAP];
	int result;

	fpt_lock(&l->lock);
	result = fpt_xbitmap_alloc(t, pfn, order);
	fpt_unlock(&l->lock);
	return result;
}

__extension__ static const struct fpt_ops fpt_lockmap_ops __attribute__((unused)) = {
	.name = "lockmap",
	.slot = FPT_SLOT_LOCKMAP,
	.retracts = true,
	.toggles = false,
	.max_pages = 0,
	.size = fpt_lockmap_size,
	.init = fpt_lockmap_init,
	.free = fpt_lockmap_free,
	.alloc = fpt_lockmap_alloc,
	.drain = NULL,
	.cut = NULL,
	.wanted = NULL,
	.refill = NULL,
	.memory = NULL,
};

#endif
