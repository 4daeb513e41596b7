/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flat.c - hook/{atomic,spinlock,local}/...: plain bitmaps
 *
 *	atomic		one bitmap, C11 atomics: a read-modify-write per word of an event
 *	spinlock	one bitmap, one lock, as a kernel would write it
 *	local		a bitmap per thread, plain: the floor. A page that is freed on one thread
 *			and taken on another is set in both, so events toggle; the state is the
 *			exclusive or of all, once they have stopped
 *
 * No counters, no hints, no ranges: bounds, not alternatives.
 */
#include "bench.h"
#include "hook.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

struct flat {
	_Alignas(64) _Atomic int held;
	_Alignas(64) union {
		_Atomic unsigned long *word;	/* atomic */
		unsigned long *plain;		/* spinlock; when nobody writes */
	};
	unsigned long **own;		/* local: per thread */
	unsigned int nr_threads;
};

/* The part of an event that is in the word of page; moves page and nr on. */
static inline unsigned long flat_mask(uint64_t *page, uint64_t *nr, uint64_t *word)
{
	unsigned int bit = (unsigned int)(*page % BENCH_WORD_BITS);
	uint64_t span = BENCH_WORD_BITS - bit < *nr ? BENCH_WORD_BITS - bit : *nr;

	*word = *page / BENCH_WORD_BITS;
	*page += span;
	*nr -= span;
	return (span < BENCH_WORD_BITS ? (1ul << span) - 1 : ~0ul) << bit;
}

static void flat_destroy(void *instance)
{
	struct flat *f = instance;
	unsigned int i;

	for (i = 0; f->own && i < f->nr_threads; i++)
		free(f->own[i]);
	free(f->own);
	free(f->plain);
	free(f);
}

static int atomic_free(void *instance, uint64_t page, uint32_t order)
{
	struct flat *f = instance;
	uint64_t nr = UINT64_C(1) << order, word;
	unsigned long mask, wrong = 0;

	if (!order) {
		mask = 1ul << page % BENCH_WORD_BITS;
		return (atomic_fetch_or(&f->word[page / BENCH_WORD_BITS], mask) & mask) != 0;
	}
	while (nr) {
		mask = flat_mask(&page, &nr, &word);
		wrong |= atomic_fetch_or(&f->word[word], mask) & mask;
	}
	return wrong != 0;
}

static int atomic_alloc(void *instance, uint64_t page, uint32_t order)
{
	struct flat *f = instance;
	uint64_t nr = UINT64_C(1) << order, word;
	unsigned long mask, wrong = 0;

	if (!order) {
		mask = 1ul << page % BENCH_WORD_BITS;
		return !(atomic_fetch_and(&f->word[page / BENCH_WORD_BITS], ~mask) & mask);
	}
	while (nr) {
		mask = flat_mask(&page, &nr, &word);
		wrong |= ~atomic_fetch_and(&f->word[word], ~mask) & mask;
	}
	return wrong != 0;
}

static void *flat_create(const struct bench_peer *self, const struct bench_peer_setup *setup)
{
	struct flat *f = bench_memory(sizeof(*f));

	(void)self;
	if (!f)
		return NULL;
	f->plain = bench_memory(setup->nr_pages / 8 + sizeof(long));
	if (f->plain)
		return f;
	flat_destroy(f);
	return NULL;
}

static int flat_is_free(void *instance, uint64_t page)
{
	struct flat *f = instance;

	return f->plain[page / BENCH_WORD_BITS] >> page % BENCH_WORD_BITS & 1;
}

static const struct bench_peer atomic_peer = {
	BENCH_PEER_HEAD("atomic"), .create = flat_create, .free = atomic_free,
	.alloc = atomic_alloc, .is_free = flat_is_free, .destroy = flat_destroy,
};

static void spinlock_lock(struct flat *f)
{
	unsigned int spins = 0;

	while (atomic_load_explicit(&f->held, memory_order_relaxed) ||
	       atomic_exchange_explicit(&f->held, 1, memory_order_acquire))
		if (++spins % 128 == 0)
			sched_yield();		/* its holder may wait for this CPU */
}

static int spinlock_free(void *instance, uint64_t page, uint32_t order)
{
	struct flat *f = instance;
	uint64_t nr = UINT64_C(1) << order, word;
	unsigned long wrong = 0;

	spinlock_lock(f);
	while (nr) {
		unsigned long mask = flat_mask(&page, &nr, &word);

		wrong |= f->plain[word] & mask;
		f->plain[word] |= mask;
	}
	atomic_store_explicit(&f->held, 0, memory_order_release);
	return wrong != 0;
}

static int spinlock_alloc(void *instance, uint64_t page, uint32_t order)
{
	struct flat *f = instance;
	uint64_t nr = UINT64_C(1) << order, word;
	unsigned long wrong = 0;

	spinlock_lock(f);
	while (nr) {
		unsigned long mask = flat_mask(&page, &nr, &word);

		wrong |= ~f->plain[word] & mask;
		f->plain[word] &= ~mask;
	}
	atomic_store_explicit(&f->held, 0, memory_order_release);
	return wrong != 0;
}

static const struct bench_peer spinlock_peer = {
	BENCH_PEER_HEAD("spinlock"), .create = flat_create, .free = spinlock_free,
	.alloc = spinlock_alloc, .is_free = flat_is_free, .destroy = flat_destroy,
};

static __thread unsigned long *local_own;

static void local_enter(void *instance, uint32_t thread)
{
	struct flat *f = instance;

	local_own = f->own[thread];
}

static int local_toggle(void *instance, uint64_t page, uint32_t order)
{
	uint64_t nr = UINT64_C(1) << order, word;

	(void)instance;
	if (!order) {
		local_own[page / BENCH_WORD_BITS] ^= 1ul << page % BENCH_WORD_BITS;
		return 0;
	}
	while (nr) {
		unsigned long mask = flat_mask(&page, &nr, &word);

		local_own[word] ^= mask;
	}
	return 0;
}

static void *local_create(const struct bench_peer *self, const struct bench_peer_setup *setup)
{
	struct flat *f = bench_memory(sizeof(*f));
	unsigned int i;
	bool ok;

	(void)self;
	if (!f)
		return NULL;
	f->nr_threads = setup->nr_threads;
	f->own = bench_memory(setup->nr_threads * sizeof(*f->own));
	ok = f->own;
	for (i = 0; ok && i < f->nr_threads; i++)
		ok = (f->own[i] = bench_memory(setup->nr_pages / 8 + sizeof(long)));
	if (ok)
		return f;
	flat_destroy(f);
	return NULL;
}

static int local_is_free(void *instance, uint64_t page)
{
	struct flat *f = instance;
	unsigned long bit = 0;
	unsigned int i;

	for (i = 0; i < f->nr_threads; i++)
		bit ^= f->own[i][page / BENCH_WORD_BITS] >> page % BENCH_WORD_BITS;
	return bit & 1;
}

static const struct bench_peer local_peer = {
	BENCH_PEER_HEAD("local"), .create = local_create, .enter = local_enter,
	.free = local_toggle, .alloc = local_toggle, .is_free = local_is_free,
	.destroy = flat_destroy,
};

void bench_flat(void)
{
	bench_hook(&local_peer);
	bench_hook(&atomic_peer);
	bench_hook(&spinlock_peer);
}
