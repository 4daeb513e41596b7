/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ck.c - Concurrency Kit: hook/ck_bitmap/..., push/ck_...
 *
 * ck_bitmap_reset() says nothing: an alloc's result is seen after the last round only. There is
 * no call for several bits: events above order 0 are as many calls as pages.
 *
 *	push/ck_ring_spsc	a ring per thread
 *	push/ck_ring_mpmc	one ring for all
 *	push/ck_fifo_spsc	a queue per thread, entries are reused
 *	push/ck_stack		one stack for all, one entry per page
 */
#include "bench.h"
#include "push.h"

#include <ck_bitmap.h>
#include <ck_fifo.h>
#include <ck_ring.h>
#include <ck_stack.h>
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

/* A page as what a queue holds: never NULL. */
static void *ck_value(uint32_t page)
{
	return (void *)((uintptr_t)page + 1);
}

static uint64_t ck_page(void *value)
{
	return (uintptr_t)value - 1;
}

struct ck_rings {
	unsigned int nr;
	struct {
		ck_ring_t ring;
		ck_ring_buffer_t *buffer;
	} of[];
};

static void ck_rings_destroy(void *instance)
{
	struct ck_rings *r = instance;
	unsigned int i;

	for (i = 0; i < r->nr; i++)
		free(r->of[i].buffer);
	free(r);
}

/* nr rings for so many pages each. */
static void *ck_rings_create(unsigned int nr, unsigned int pages)
{
	struct ck_rings *r = bench_memory(sizeof(*r) + nr * sizeof(r->of[0]));
	unsigned int i, size = 2;

	/* A ring holds one less than its size. */
	while (size <= pages)
		size *= 2;
	if (!r)
		return NULL;
	r->nr = nr;
	for (i = 0; i < nr; i++) {
		r->of[i].buffer = bench_memory(size * sizeof(ck_ring_buffer_t));
		if (!r->of[i].buffer) {
			ck_rings_destroy(r);
			return NULL;
		}
		ck_ring_init(&r->of[i].ring, size);
	}
	return r;
}

static void *ck_ring_spsc_create(unsigned int nr_threads)
{
	return ck_rings_create(nr_threads, PUSH_ROUND);
}

static void *ck_ring_mpmc_create(unsigned int nr_threads)
{
	return ck_rings_create(1, PUSH_ROUND * nr_threads);
}

static bool ck_ring_spsc_push(void *instance, unsigned int thread, uint32_t page)
{
	struct ck_rings *r = instance;

	return ck_ring_enqueue_spsc(&r->of[thread].ring, r->of[thread].buffer, ck_value(page));
}

static bool ck_ring_mpmc_push(void *instance, unsigned int thread, uint32_t page)
{
	struct ck_rings *r = instance;

	(void)thread;
	return ck_ring_enqueue_mpmc(&r->of[0].ring, r->of[0].buffer, ck_value(page));
}

static uint64_t ck_rings_take(void *instance, const uint32_t *const *page, uint64_t *sum)
{
	struct ck_rings *r = instance;
	uint64_t nr = 0;
	unsigned int i;
	void *value;

	(void)page;
	for (i = 0; i < r->nr; i++) {
		while (ck_ring_dequeue_spsc(&r->of[i].ring, r->of[i].buffer, &value)) {
			nr++;
			*sum += ck_page(value);
		}
	}
	return nr;
}

static const struct push_peer ck_ring_spsc_peer = {
	"push/ck_ring_spsc", ck_ring_spsc_create, ck_ring_spsc_push, ck_rings_take,
	ck_rings_destroy,
};

static const struct push_peer ck_ring_mpmc_peer = {
	"push/ck_ring_mpmc", ck_ring_mpmc_create, ck_ring_mpmc_push, ck_rings_take,
	ck_rings_destroy,
};

/* One entry more than pages: the queue always holds one. */
struct ck_fifos {
	unsigned int nr;
	struct {
		ck_fifo_spsc_t fifo __attribute__((aligned(64)));
		ck_fifo_spsc_entry_t entry[PUSH_ROUND + 1];
	} of[];
};

static void *ck_fifos_create(unsigned int nr_threads)
{
	struct ck_fifos *f = bench_memory(sizeof(*f) + nr_threads * sizeof(f->of[0]));
	unsigned int i, k;

	if (!f)
		return NULL;
	f->nr = nr_threads;
	for (i = 0; i < nr_threads; i++) {
		ck_fifo_spsc_init(&f->of[i].fifo, &f->of[i].entry[0]);
		/* As if these had been in the queue: the producer takes them from its end. */
		for (k = 1; k <= PUSH_ROUND; k++) {
			void *value;

			ck_fifo_spsc_enqueue(&f->of[i].fifo, &f->of[i].entry[k], NULL);
			ck_fifo_spsc_dequeue(&f->of[i].fifo, &value);
		}
	}
	return f;
}

static bool ck_fifo_push(void *instance, unsigned int thread, uint32_t page)
{
	struct ck_fifos *f = instance;
	ck_fifo_spsc_t *fifo = &f->of[thread].fifo;
	ck_fifo_spsc_entry_t *entry = ck_fifo_spsc_recycle(fifo);

	if (!entry)
		return false;
	ck_fifo_spsc_enqueue(fifo, entry, ck_value(page));
	return true;
}

static uint64_t ck_fifos_take(void *instance, const uint32_t *const *page, uint64_t *sum)
{
	struct ck_fifos *f = instance;
	uint64_t nr = 0;
	unsigned int i;
	void *value;

	(void)page;
	for (i = 0; i < f->nr; i++) {
		while (ck_fifo_spsc_dequeue(&f->of[i].fifo, &value)) {
			nr++;
			*sum += ck_page(value);
		}
	}
	return nr;
}

static const struct push_peer ck_fifo_spsc_peer = {
	"push/ck_fifo_spsc", ck_fifos_create, ck_fifo_push, ck_fifos_take, free,
};

struct ck_stacked {
	ck_stack_t stack __attribute__((aligned(64)));
	ck_stack_entry_t entry[] __attribute__((aligned(64)));	/* of each page */
};

static void *ck_stack_create(unsigned int nr_threads)
{
	size_t nr = (size_t)nr_threads * PUSH_ROUND * PUSH_ROUNDS;
	struct ck_stacked *s = bench_memory(sizeof(*s) + nr * sizeof(s->entry[0]));

	if (s)
		ck_stack_init(&s->stack);
	return s;
}

static bool ck_stack_push(void *instance, unsigned int thread, uint32_t page)
{
	struct ck_stacked *s = instance;

	(void)thread;
	ck_stack_push_upmc(&s->stack, &s->entry[page]);
	return true;
}

static uint64_t ck_stack_take(void *instance, const uint32_t *const *page, uint64_t *sum)
{
	struct ck_stacked *s = instance;
	ck_stack_entry_t *entry = ck_stack_batch_pop_upmc(&s->stack);
	uint64_t nr = 0;

	(void)page;
	for (; entry; entry = entry->next) {
		nr++;
		*sum += (uint64_t)(entry - s->entry);
	}
	return nr;
}

static const struct push_peer ck_stack_peer = {
	"push/ck_stack", ck_stack_create, ck_stack_push, ck_stack_take, free,
};

void bench_ck(void)
{
	bench_hook(&ck_bitmap_peer);
	bench_push(&ck_ring_spsc_peer);
	bench_push(&ck_ring_mpmc_peer);
	bench_push(&ck_fifo_spsc_peer);
	bench_push(&ck_stack_peer);
}
