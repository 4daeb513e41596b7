/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hooks.c - what do the hooks cost the allocator?
 *
 * Each thread frees 512 pages, one event each, then takes them again: hook/TRACKER/PATTERN.
 *
 *	private		every thread in a block of its own, far from the others', page after page
 *	same_block	all threads in one block, thread i of n every n-th page from i on (fewer
 *			pages: 512 / n)
 *	random		every thread all over 16 GiB, in an order of its own, no page twice in 64
 *			rounds
 *
 * A page is one thread's for good: hooks are called as tracker.h demands.
 *
 * Every peer is called through functions of its own that are not inlined, so that all pay the
 * same call; "none" is what that and the loop cost. The bitmaps without a tracker (atomic,
 * ck_bitmap) keep no counters and no hints: a lower bound, not an alternative.
 *
 * Array, bitmap and delta are drained between two rounds, with all threads waiting and no clock
 * running: the array is never full (a dropped event fails the benchmark), and what draining costs
 * is not measured here.
 */
#include <fpt/fpt.h>

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#ifdef BENCH_CK
#include <ck_bitmap.h>
#endif

#include "bench.h"
#include "shim.h"

#define HOOK_ORDER 9u
#define HOOK_BLOCK (1u << HOOK_ORDER)
#define HOOK_PAGES (1ul << 22)
#define HOOK_ROUNDS 64u			/* random: rounds until the pages repeat */
#define HOOK_WORD (8u * sizeof(unsigned long))

struct hook_thread {
	uint32_t *page;			/* round after round */
	unsigned int nr_rounds;
	unsigned int at;		/* round */
	unsigned int per_round;
} __attribute__((aligned(FPT_CACHE_LINE)));

struct hook {
	struct fpt t;
	_Atomic unsigned long *flat;
#ifdef BENCH_CK
	ck_bitmap_t *ck;
#endif
	const struct hook_peer *peer;
	void *front, *range;		/* memory */
	unsigned int nr_threads;
	struct hook_thread *thread;
};

enum hook_pattern { HOOK_PRIVATE, HOOK_SAME_BLOCK, HOOK_RANDOM };

static const char *const hook_pattern_names[] = { "private", "same_block", "random" };

struct hook_peer {
	const char *name;
	const struct fpt_ops *ops;	/* NULL: no tracker */
	bool (*init)(struct hook *h);
	void (*run)(void *instance, struct bench_thread *thread);
	void (*between)(void *instance);
	bool (*is_set)(struct hook *h, uint32_t page);
	bool set_after;			/* a page that was freed and taken is still set */
	void (*destroy)(struct hook *h);
};

struct hook_case {
	const struct hook_peer *peer;
	enum hook_pattern pattern;
};

/*
 * The boundary that all peers have: free and alloc answer whether their result was right. The empty
 * assembly keeps a compiler from calling what has no effect ("none") less often.
 */
#define HOOK_BOUNDARY(h, page) __asm__ __volatile__("" : : "r"(h), "r"(page) : "memory")

#define HOOK_PEER(name, free_expression, alloc_expression) \
	static __attribute__((noinline)) bool hook_##name##_free(struct hook *h, uint32_t page) \
	{ \
		HOOK_BOUNDARY(h, page); \
		return free_expression; \
	} \
	static __attribute__((noinline)) bool hook_##name##_alloc(struct hook *h, uint32_t page) \
	{ \
		HOOK_BOUNDARY(h, page); \
		return alloc_expression; \
	} \
	static void hook_##name##_run(void *instance, struct bench_thread *thread) \
	{ \
		struct hook *h = instance; \
		struct hook_thread *own = &h->thread[thread->index]; \
		const unsigned int nr = own->per_round; \
		const uint32_t *page = own->page + (size_t)own->at * nr; \
		unsigned int i, wrong = 0; \
		\
		for (i = 0; i < nr; i++) \
			wrong += !hook_##name##_free(h, page[i]); \
		for (i = 0; i < nr; i++) \
			wrong += !hook_##name##_alloc(h, page[i]); \
		own->at = own->at + 1 < own->nr_rounds ? own->at + 1 : 0; \
		thread->events += 2 * (uint64_t)nr; \
		thread->wrong += wrong; \
	}

#define HOOK_TRACKER(name) \
	HOOK_PEER(name, (fpt_##name##_free(&h->t, page, 0), true), \
		  fpt_##name##_alloc(&h->t, page, 0) == FPT_OK)

HOOK_TRACKER(none)
HOOK_TRACKER(xbitmap)
HOOK_TRACKER(array)
HOOK_TRACKER(bitmap)
HOOK_TRACKER(delta)
HOOK_TRACKER(lockmap)

static bool hook_tracker_init(struct hook *h)
{
	/* Leaves and lines for all pages: a slow path would fail the benchmark. */
	struct fpt_config config = {
		.ops = h->peer->ops, .order = HOOK_ORDER,
		.bitmap_leaves = HOOK_PAGES / FPT_BITMAP_LEAF_PAGES,
		.delta_sets = HOOK_PAGES / FPT_DELTA_LINE_PAGES / FPT_DELTA_WAYS,
	};
	struct fpt_mem m;
	size_t size;
	long nr = sysconf(_SC_NPROCESSORS_CONF);

	config.nr_cpus = nr > 0 ? (unsigned int)nr : 1;
	size = fpt_size(&config);
	h->front = fpt_memory_get(size);
	m = (struct fpt_mem){ h->front, size, true };
	if (!h->front || fpt_init(&h->t, &config, &m) != FPT_OK)
		return false;
	size = fpt_range_size(&h->t, 0, HOOK_PAGES, true);
	h->range = fpt_memory_get(size);
	m = (struct fpt_mem){ h->range, size, true };
	return h->range && fpt_add_range(&h->t, 0, HOOK_PAGES, &m) == FPT_OK;
}

static bool hook_tracker_is_set(struct hook *h, uint32_t page)
{
	return fpt_xbitmap_test(&h->t.back, page);
}

static void hook_tracker_destroy(struct hook *h)
{
	fpt_destroy(&h->t);
	fpt_memory_put(h->front, 0);
	fpt_memory_put(h->range, 0);
}

static void hook_tracker_drain(void *instance)
{
	struct hook *h = instance;

	fpt_drain(&h->t);
}

/* A flat bitmap: one C11 read-modify-write per event. */
static bool hook_flat_free(struct hook *h, uint32_t page)
{
	unsigned long bit = 1ul << page % HOOK_WORD;

	return !(atomic_fetch_or(&h->flat[page / HOOK_WORD], bit) & bit);
}

static bool hook_flat_alloc(struct hook *h, uint32_t page)
{
	unsigned long bit = 1ul << page % HOOK_WORD;
	_Atomic unsigned long *word = &h->flat[page / HOOK_WORD];

	return atomic_fetch_and_explicit(word, ~bit, memory_order_release) & bit;
}

HOOK_PEER(atomic, hook_flat_free(h, page), hook_flat_alloc(h, page))

static bool hook_flat_init(struct hook *h)
{
	h->flat = aligned_alloc(FPT_CACHE_LINE, HOOK_PAGES / 8);
	if (h->flat)
		memset((void *)h->flat, 0, HOOK_PAGES / 8);
	return h->flat;
}

static bool hook_flat_is_set(struct hook *h, uint32_t page)
{
	return h->flat[page / HOOK_WORD] >> page % HOOK_WORD & 1;
}

static void hook_flat_destroy(struct hook *h)
{
	free((void *)h->flat);
}

#ifdef BENCH_CK
/* ck_bitmap_reset() returns nothing: is_set looks after the last round. */
HOOK_PEER(ck_bitmap, !ck_bitmap_bts(h->ck, page), (ck_bitmap_reset(h->ck, page), true))

/* Its words begin behind a header: here at a cache line, as those of all other peers. */
static bool hook_ck_init(struct hook *h)
{
	h->front = aligned_alloc(FPT_CACHE_LINE, 2 * FPT_CACHE_LINE + HOOK_PAGES / 8);
	if (!h->front)
		return false;
	h->ck = (ck_bitmap_t *)((char *)h->front + FPT_CACHE_LINE - offsetof(ck_bitmap_t, map));
	ck_bitmap_init(h->ck, HOOK_PAGES, false);
	return true;
}

static bool hook_ck_is_set(struct hook *h, uint32_t page)
{
	return ck_bitmap_test(h->ck, page);
}

static void hook_ck_destroy(struct hook *h)
{
	free(h->front);
}
#endif

#define HOOK_TRACKER_PEER(name_, between_, set_after_) { \
	.name = #name_, .ops = &fpt_##name_##_ops, .init = hook_tracker_init, \
	.run = hook_##name_##_run, .between = between_, .is_set = hook_tracker_is_set, \
	.set_after = set_after_, .destroy = hook_tracker_destroy, \
}

static const struct hook_peer hook_peers[] = {
	HOOK_TRACKER_PEER(none, NULL, false),
	HOOK_TRACKER_PEER(xbitmap, NULL, false),
	HOOK_TRACKER_PEER(array, hook_tracker_drain, true),
	HOOK_TRACKER_PEER(bitmap, hook_tracker_drain, false),
	HOOK_TRACKER_PEER(delta, hook_tracker_drain, false),
	HOOK_TRACKER_PEER(lockmap, NULL, false),
	{
		.name = "atomic", .init = hook_flat_init, .run = hook_atomic_run,
		.is_set = hook_flat_is_set, .destroy = hook_flat_destroy,
	},
#ifdef BENCH_CK
	{
		.name = "ck_bitmap", .init = hook_ck_init, .run = hook_ck_bitmap_run,
		.is_set = hook_ck_is_set, .destroy = hook_ck_destroy,
	},
#endif
};

/* xorshift: the same pages in every build and run. */
static uint32_t hook_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Page numbers of thread i of n. */
static bool hook_pages(struct hook_thread *own, enum hook_pattern pattern,
		       unsigned int i, unsigned int n)
{
	unsigned int nr_mine = (unsigned int)(HOOK_PAGES / n), nr, k;
	uint32_t *mine, seed = 2463534242u + i;

	own->per_round = pattern == HOOK_SAME_BLOCK ? HOOK_BLOCK / n : HOOK_BLOCK;
	own->nr_rounds = pattern == HOOK_RANDOM ? HOOK_ROUNDS : 1;
	nr = own->per_round * own->nr_rounds;
	if (!own->per_round || nr > nr_mine)
		return false;
	own->page = malloc(nr * sizeof(*own->page));
	if (!own->page)
		return false;
	switch (pattern) {
	case HOOK_PRIVATE:
		for (k = 0; k < nr; k++)
			own->page[k] = i * (nr_mine & ~(HOOK_BLOCK - 1)) + k;
		return true;
	case HOOK_SAME_BLOCK:
		for (k = 0; k < nr; k++)
			own->page[k] = k * n + i;
		return true;
	case HOOK_RANDOM:
		break;
	}
	/* The first nr of a random order of all pages that are i modulo n. */
	mine = malloc(nr_mine * sizeof(*mine));
	if (!mine)
		return false;
	for (k = 0; k < nr_mine; k++)
		mine[k] = k * n + i;
	for (k = 0; k < nr; k++) {
		uint32_t other = k + hook_random(&seed) % (nr_mine - k), page = mine[other];

		mine[other] = mine[k];
		own->page[k] = page;
	}
	free(mine);
	return true;
}

static void hook_free(struct hook *h)
{
	unsigned int i;

	for (i = 0; h->thread && i < h->nr_threads; i++)
		free(h->thread[i].page);
	h->peer->destroy(h);
	free(h->thread);
	free(h);
}

static void *hook_setup(const struct bench *b, unsigned int nr_threads)
{
	const struct hook_case *c = b->what;
	struct hook *h = aligned_alloc(FPT_CACHE_LINE, sizeof(*h));
	size_t size = nr_threads * sizeof(*h->thread);
	unsigned int i;

	if (!h)
		return NULL;
	memset(h, 0, sizeof(*h));
	h->peer = c->peer;
	h->nr_threads = nr_threads;
	h->thread = aligned_alloc(FPT_CACHE_LINE, size);
	if (h->thread)
		memset(h->thread, 0, size);
	if (!h->thread || !h->peer->init(h)) {
		hook_free(h);
		return NULL;
	}
	for (i = 0; i < nr_threads; i++) {
		if (!hook_pages(&h->thread[i], c->pattern, i, nr_threads)) {
			hook_free(h);
			return NULL;
		}
	}
	return h;
}

/* Nothing was dropped or slow, every event was counted, every page ended as it had to. */
static const char *hook_check(struct hook *h, uint64_t events)
{
	struct fpt_stats stats;
	unsigned int i, k;

	if (h->peer->ops && h->peer->ops->drain) {
		fpt_drain(&h->t);
		fpt_drain(&h->t);
	}
	for (i = 0; i < h->nr_threads; i++) {
		/* At least one round was run. */
		for (k = 0; k < h->thread[i].per_round; k++)
			if (h->peer->is_set(h, h->thread[i].page[k]) != h->peer->set_after)
				return "a page did not end as it had to";
	}
	if (!h->peer->ops || h->peer->ops == &fpt_none_ops)
		return NULL;
	fpt_get_stats(&h->t, &stats);
	if (stats.count[FPT_STAT_FREED] + stats.count[FPT_STAT_ALLOCATED] != events)
		return "the tracker counted other events than there were";
	/* Without sections (ThreadSanitizer, other machines) all of the delta's events are slow. */
	if (h->peer->ops == &fpt_delta_ops && !fpt_sections())
		stats.count[FPT_STAT_SLOW] = 0;
	if (stats.count[FPT_STAT_DROPPED] || stats.count[FPT_STAT_SLOW] ||
	    stats.count[FPT_STAT_OUTSIDE])
		return "events were dropped, slow or outside";
	return NULL;
}

static const char *hook_teardown(void *instance, struct bench_result *result)
{
	struct hook *h = instance;
	const char *error = hook_check(h, result->events);

	hook_free(h);
	return error;
}

void bench_hooks(void)
{
	static struct hook_case cases[sizeof(hook_peers) / sizeof(hook_peers[0])][3];
	static char names[sizeof(hook_peers) / sizeof(hook_peers[0])][3][64];
	unsigned int i, k;

	for (i = 0; i < sizeof(hook_peers) / sizeof(hook_peers[0]); i++) {
		for (k = 0; k < 3; k++) {
			struct bench b = {
				.name = names[i][k],
				.what = &cases[i][k],
				.setup = hook_setup,
				.run = hook_peers[i].run,
				.between = hook_peers[i].between,
				.teardown = hook_teardown,
			};

			cases[i][k].peer = &hook_peers[i];
			cases[i][k].pattern = (enum hook_pattern)k;
			snprintf(names[i][k], sizeof(names[i][k]), "hook/%s/%s",
				 hook_peers[i].name, hook_pattern_names[k]);
			bench_register(&b);
		}
	}
}
