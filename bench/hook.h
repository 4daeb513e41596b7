/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hook.h - what the files with peers share with each other
 */
#ifndef BENCH_HOOK_H
#define BENCH_HOOK_H

#include "peer.h"
#include "shim.h"

#include <stdbool.h>
#include <stddef.h>

#define BENCH_WORD_BITS (8u * sizeof(unsigned long))

/* hook.c says what they are. */
enum bench_pattern {
	BENCH_PRIVATE, BENCH_ONE_LINE, BENCH_SAME_BLOCK, BENCH_RANDOM,
	BENCH_BLOCKS,			/* not one of a peer's own */
};

/* Registers hook/NAME/{private,one_line,same_block,random,trace}. p stays as it is. */
void bench_hook(const struct bench_peer *p);

/* Registers one pattern under a name of one's own, with events of this order. */
void bench_hook_as(const char *name, const struct bench_peer *p, enum bench_pattern pattern,
		   unsigned int order);

/*
 * hook_trace.c. The recording that trace benchmarks replay, for all that is registered later;
 * without one there are none. False, and a line on standard error: it is required and cannot be
 * read.
 */
bool bench_trace(const char *path, bool required);
void bench_hook_trace(const struct bench_peer *p);

/* Is there a peer of this name? */
bool bench_hook_known(const char *name);

/* Zeroed, at a cache line; NULL without memory. free() takes it back. */
void *bench_memory(size_t size);

/* The same for what is registered, and so stays; ends the program without memory. */
void *bench_keep(size_t size);

/* xorshift: the same numbers in every build and run. */
static inline uint32_t bench_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* The first k of v are a random choice of all nr, in random order. */
void bench_shuffle(uint32_t *v, uint32_t k, uint32_t nr, uint32_t seed);

#define BENCH_PEER_HEAD(name_) \
	.version = BENCH_PEER_VERSION, .size = sizeof(struct bench_peer), .name = name_

#endif
