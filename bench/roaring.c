/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * roaring.c - hook/roaring/...: CRoaring's compressed bitmap, with a lock, which it needs
 */
#include <fpt/compat/compat.h>

#include "bench.h"
#include "hook.h"

#include <roaring/roaring.h>

struct roaring {
	fpt_lock_t lock __attribute__((aligned(64)));
	roaring_bitmap_t *set __attribute__((aligned(64)));
};

/* Where the library has it, a call that says whether the page was there. */
static int roaring_free(void *instance, uint64_t page, uint32_t order)
{
	struct roaring *r = instance;
	bool right = true;

	fpt_lock(&r->lock);
	if (!order)
		right = roaring_bitmap_add_checked(r->set, (uint32_t)page);
	else
		roaring_bitmap_add_range(r->set, page, page + (UINT64_C(1) << order));
	fpt_unlock(&r->lock);
	return !right;
}

static int roaring_alloc(void *instance, uint64_t page, uint32_t order)
{
	struct roaring *r = instance;
	bool right = true;

	fpt_lock(&r->lock);
	if (!order)
		right = roaring_bitmap_remove_checked(r->set, (uint32_t)page);
	else
		roaring_bitmap_remove_range(r->set, page, page + (UINT64_C(1) << order));
	fpt_unlock(&r->lock);
	return !right;
}

static void *roaring_create(const struct bench_peer *self, const struct bench_peer_setup *setup)
{
	struct roaring *r = bench_memory(sizeof(*r));

	(void)self;
	(void)setup;
	if (!r)
		return NULL;
	r->set = roaring_bitmap_create();
	if (r->set)
		return r;
	free(r);
	return NULL;
}

static int roaring_is_free(void *instance, uint64_t page)
{
	struct roaring *r = instance;

	return roaring_bitmap_contains(r->set, (uint32_t)page);
}

static void roaring_destroy(void *instance)
{
	struct roaring *r = instance;

	roaring_bitmap_free(r->set);
	free(r);
}

static const struct bench_peer roaring_peer = {
	BENCH_PEER_HEAD("roaring"), .create = roaring_create, .free = roaring_free,
	.alloc = roaring_alloc, .is_free = roaring_is_free, .destroy = roaring_destroy,
};

void bench_roaring(void)
{
	bench_hook(&roaring_peer);
}
