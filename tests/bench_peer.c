/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_peer.c - an example of a plug-in for fpt-bench, and, with FAULT, of those that it refuses
 *
 *	cc -O2 -shared -fPIC -Ibench -o example.so tests/bench_peer.c
 *	fpt-bench --peer ./example.so --benchmark_filter=hook/example
 *
 * A byte per page: an exchange per page, and every result is known. FAULT: 1 another version, 2 no
 * name, 3 no alloc, 4 results that are wrong, 5 no bench_peer(), 6 NULL, 7 pages that stay free, 8 a
 * free that was dropped.
 */
#include "peer.h"

#include <stdatomic.h>
#include <stdlib.h>

#ifndef FAULT
#define FAULT 0
#endif

struct example {
	uint64_t nr_pages;
	_Atomic uint32_t entered, left, drained;
	_Atomic unsigned char is_free[];
};

static void *example_create(const struct bench_peer *self, const struct bench_peer_setup *setup)
{
	struct example *x = calloc(1, sizeof(*x) + setup->nr_pages);

	(void)self;
	if (x)
		x->nr_pages = setup->nr_pages;
	return x;
}

/* Other peers would give the thread what is its own here, ... */
static void example_enter(void *instance, uint32_t thread)
{
	struct example *x = instance;

	(void)thread;
	x->entered++;
}

/* ... and take it back here. */
static void example_leave(void *instance, uint32_t thread)
{
	struct example *x = instance;

	(void)thread;
	x->left++;
}

/* There is nothing to collect. */
static void example_drain(void *instance)
{
	struct example *x = instance;

	x->drained++;
}

static int example_free(void *instance, uint64_t page, uint32_t order)
{
	struct example *x = instance;
	uint64_t end = page + (UINT64_C(1) << order);
	int wrong = FAULT == 4;

	for (; page < end; page++)
		wrong |= atomic_exchange_explicit(&x->is_free[page], 1, memory_order_acq_rel) != 0;
	return wrong;
}

static int example_alloc(void *instance, uint64_t page, uint32_t order)
{
	struct example *x = instance;
	uint64_t end = page + (UINT64_C(1) << order);
	int wrong = 0;

	for (; page < end; page++)
		wrong |= atomic_exchange_explicit(&x->is_free[page], 0, memory_order_acq_rel) != 1;
	return wrong;
}

static int example_is_free(void *instance, uint64_t page)
{
	struct example *x = instance;

	return FAULT == 7 || x->is_free[page];
}

static const char *example_check(void *instance, uint64_t pages, struct bench_peer_report *report)
{
	struct example *x = instance;

	(void)pages;
	report->bytes = x->nr_pages;
	report->dropped = FAULT == 8;
	if (!x->entered || x->entered != x->left)
		return "a thread did not enter, or did not leave";
	return x->drained ? NULL : "nobody has drained";
}

#if FAULT == 5
#define ENTRY another_name
const struct bench_peer *another_name(void);
#else
#define ENTRY bench_peer
#endif

const struct bench_peer *ENTRY(void)
{
	static const struct bench_peer example = {
		.version = BENCH_PEER_VERSION + (FAULT == 1),
		.size = sizeof(example),
		.name = FAULT == 2 ? "" : "example",
		.create = example_create,
		.enter = example_enter,
		.free = example_free,
		.alloc = FAULT == 3 ? NULL : example_alloc,
		.drain = example_drain,
		.leave = example_leave,
		.is_free = example_is_free,
		.check = example_check,
		.destroy = free,
	};

	return FAULT == 6 ? NULL : &example;
}
