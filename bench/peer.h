/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * peer.h - what the hook benchmarks run: trackers, peers, and plug-ins of your own
 *
 * A peer keeps one state per page, free or not, and is told of every change. fpt's trackers and
 * the peers that are built in are struct bench_peer, and so is a plug-in: all are called through
 * the same table of functions, so that all pay the same call.
 *
 * A plug-in is a shared object that defines one function:
 *
 *	#include "peer.h"
 *
 *	const struct bench_peer *bench_peer(void)
 *	{
 *		static const struct bench_peer mine = {
 *			.version = BENCH_PEER_VERSION, .size = sizeof(mine), .name = "mine", ...
 *		};
 *
 *		return &mine;
 *	}
 *
 *	cc -O2 -shared -fPIC -Ibench -o mine.so mine.c
 *	fpt-bench --peer ./mine.so --benchmark_filter=hook/mine
 *
 * tests/bench_peer.c is a whole one. A plug-in of another version is refused.
 *
 * Who calls what, when. Threads are numbered from 0, and pinned.
 *
 *	create		one thread, before all others; all pages are held (not free)
 *	enter		every thread, before its first event; not timed. For trace thread 0 enters,
 *			frees what was free before the recording, and leaves, before all others
 *	free, alloc	every thread, concurrently; timed
 *	drain		one thread, now and then: while the others wait, or (trace) concurrently
 *			with their events; not timed
 *	leave		every thread, after its last event; not timed
 *	is_free, check	one thread, after all others, and after two drains
 *	destroy		last
 *
 * Events of one page alternate, free first, and happen one after the other, with a release and an
 * acquire in between when they are on two threads. Events of neighbouring pages are concurrent.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_PEER_VERSION 1u
#define BENCH_PEER_SYMBOL "bench_peer"
#define BENCH_PEER_ROUND 1024u	/* events of a thread in a round */

/* Flags: what is_free may say at the end. */
#define BENCH_PEER_NO_ALLOC 1u	/* allocations are not recorded: what was ever free is free */
#define BENCH_PEER_STALE 2u	/* a page that is freed and taken on two threads may stay free */

struct bench_peer_setup {
	uint64_t nr_pages;		/* pages are 0 to nr_pages - 1 */
	uint32_t nr_threads;
	uint32_t nr_cpus;		/* CPU ids are below */
	uint32_t max_order;		/* no event has a larger one */
	uint32_t threads_per_cpu;	/* more than 1: they take turns */
};

/* What check reports beside its verdict; all 0 before. */
struct bench_peer_report {
	uint64_t dropped;		/* pages whose free was lost for want of room */
	uint64_t slow;			/* events that did not go the usual way */
	uint64_t bytes;			/* of metadata; 0: not said */
};

struct bench_peer {
	uint32_t version;		/* BENCH_PEER_VERSION */
	uint32_t size;			/* sizeof(struct bench_peer) */
	const char *name;		/* of letters, digits and _: hook/NAME/... */
	uint32_t flags;
	/*
	 * Events of one thread between two drains, BENCH_PEER_ROUND at least: with more, pages
	 * could be dropped, which fails a benchmark other than trace. 0: any number.
	 */
	uint32_t max_undrained;
	const void *data;		/* the peer's own */

	/* NULL: it cannot. */
	void *(*create)(const struct bench_peer *self, const struct bench_peer_setup *setup);
	void (*enter)(void *instance, uint32_t thread);			/* may be NULL */
	/*
	 * 2^order pages from page on, a multiple of 2^order. 0, or what is not 0 when the state
	 * of the pages was not what it had to be: that fails the benchmark.
	 */
	int (*free)(void *instance, uint64_t page, uint32_t order);
	int (*alloc)(void *instance, uint64_t page, uint32_t order);
	void (*drain)(void *instance);					/* may be NULL */
	void (*leave)(void *instance, uint32_t thread);			/* may be NULL */
	/* 1: free, 0: not. May be NULL: it does not know (a bound, not a tracker). */
	int (*is_free)(void *instance, uint64_t page);
	/* NULL, or what is wrong after so many pages were freed or taken. May itself be NULL. */
	const char *(*check)(void *instance, uint64_t pages, struct bench_peer_report *report);
	void (*destroy)(void *instance);
};

/* What a plug-in defines. The struct stays as it is until the program ends. */
const struct bench_peer *bench_peer(void);

#ifdef __cplusplus
}
#endif

#endif
