/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * push.h - push/NAME: what does it cost to hand one page to the reporter?
 *
 * Every thread pushes 512 pages; between rounds, with no clock running, one thread takes all of
 * them out and counts. What cannot be pushed, or does not come out again, fails the benchmark.
 */
#ifndef BENCH_PUSH_H
#define BENCH_PUSH_H

#include "hook.h"

#define PUSH_ROUND 512u			/* pages of a thread */
#define PUSH_ROUNDS 64u			/* until its pages repeat */

struct push_peer {
	const char *name;		/* push/... */
	/* Pages are below PUSH_ROUND * PUSH_ROUNDS * nr_threads, and in one round at most once. */
	void *(*create)(unsigned int nr_threads);
	bool (*push)(void *instance, unsigned int thread, uint32_t page);
	/*
	 * Takes out all that is there; returns how many pages, *sum is their sum. page: what thread
	 * i has pushed, PUSH_ROUND of them, for those who have to be asked.
	 */
	uint64_t (*take)(void *instance, const uint32_t *const *page, uint64_t *sum);
	void (*destroy)(void *instance);
};

/* p stays as it is. */
void bench_push(const struct push_peer *p);

#endif
