/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ck.c - hook/ck_bitmap/...: Concurrency Kit's bitmap
 *
 * ck_bitmap_reset() says nothing: an alloc's result is seen after the last round only. There is no call
 * for several bits: events above order 0 are as many calls as pages.
 */
#include "bench.h"
#include "hook.h"

#include <ck_bitmap.h>
#include <stdlib.h>

struct ck {
	ck_bitmap_t *map;
};

static int ck_free(void *instance, uint64_t page, uint32_t order)
{
	struct ck *c = instance;
	uint64_t end = page + (UINT64_C(1) << order);
	int wrong = 0;

	do
		wrong |= ck_bitmap_bts(c->map, (unsigned int)page);
	while (++page < end);
	return wrong;
}

static int ck_alloc(void *instance, uint64_t page, uint32_t order)
{
	struct ck *c = instance;
	uint64_t end = page + (UINT64_C(1) << order);

	do
		ck_bitmap_reset(c->map, (unsigned int)page);
	while (++page < end);
	return 0;
}

/* Its words begin behind a header: here at a cache line, as those of all other peers. */
static void *ck_create(const struct bench_peer *self, const struct bench_peer_setup *setup)
{
	char *memory = bench_memory(128 + setup->nr_pages / 8 + sizeof(long));
	struct ck *c = (struct ck *)(void *)memory;

	(void)self;
	if (!memory)
		return NULL;
	c->map = (ck_bitmap_t *)(void *)(memory + 64 - offsetof(ck_bitmap_t, map));
	_Static_assert(sizeof(struct ck) + offsetof(ck_bitmap_t, map) <= 64, "before the words");
	ck_bitmap_init(c->map, (unsigned int)setup->nr_pages, false);
	return c;
}

static int ck_is_free(void *instance, uint64_t page)
{
	struct ck *c = instance;

	return ck_bitmap_test(c->map, (unsigned int)page);
}

static const struct bench_peer ck_bitmap_peer = {
	BENCH_PEER_HEAD("ck_bitmap"), .create = ck_create, .free = ck_free, .alloc = ck_alloc,
	.is_free = ck_is_free, .destroy = free,
};

void bench_ck(void)
{
	bench_hook(&ck_bitmap_peer);
}
