/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * claim.c - what does it take to find and claim the only free block of 1 TiB?
 *
 *	claim/TRACKER/one_free_1TiB		warm: what a claim looks at is in the cache
 *	claim/TRACKER/one_free_1TiB/cold	all of the tracker's lines were flushed from all caches
 *
 * A round is a claim from the beginning of each of 16 trackers, whose free blocks are in different
 * places; between rounds they are released, which keeps the hint. "ticket" is xbitmap in the ticket
 * protocol. What hooks left in fronts was drained before: a claim is the back's, whatever the
 * tracker, so rows that differ say how far to trust the others.
 */
#include "huge.h"

#include <stdlib.h>

#include "bench.h"
#include "hook.h"
#include "shim.h"

#define CLAIM_TRACKERS 16u

struct claim_case {
	const struct huge_tracker *tracker;
	bool cold;
};

struct claim {
	struct huge h[CLAIM_TRACKERS];
	fpt_pfn_t block[CLAIM_TRACKERS];	/* the free one's first page */
	struct fpt_range got[CLAIM_TRACKERS];
	bool cold;
};

#ifdef __x86_64__
#define CLAIM_COLD true
static void claim_flush(const void *p, size_t bytes)
{
	const char *line = p;
	size_t i;

	for (i = 0; i < bytes; i += FPT_CACHE_LINE)
		__builtin_ia32_clflush(line + i);
	__builtin_ia32_mfence();
}
#else
#define CLAIM_COLD false
static void claim_flush(const void *p, size_t bytes)
{
	(void)p;
	(void)bytes;
}
#endif

static void claim_cold(struct claim *c)
{
	unsigned int i;

	for (i = 0; i < CLAIM_TRACKERS; i++) {
		struct huge *h = &c->h[i];
		struct fpt_xbitmap_range *r = &h->t.back.range[0];
		unsigned long chunk = fpt_xbitmap_chunk(&h->t.back, r,
							c->block[i] >> h->t.back.chunk_shift, false);

		claim_flush(&h->t, sizeof(h->t));
		claim_flush(h->t.percpu, huge_cpus() * sizeof(*h->t.percpu));
		claim_flush(h->range, r->fixed_bytes);
		claim_flush((const void *)fpt_xbitmap_word(&h->t.back, chunk, c->block[i]),
			    HUGE_BLOCK / 8);
	}
}

static void claim_destroy(struct claim *c)
{
	unsigned int i;

	for (i = 0; i < CLAIM_TRACKERS; i++)
		huge_destroy(&c->h[i]);
	free(c);
}

static void *claim_setup(const struct bench *b, unsigned int nr_threads)
{
	const struct claim_case *what = b->what;
	struct claim *c = bench_memory(sizeof(*c));
	uint32_t seed = 2463534242u;
	unsigned int i;

	(void)nr_threads;
	if (!c)
		return NULL;
	c->cold = what->cold;
	for (i = 0; i < CLAIM_TRACKERS; i++) {
		c->block[i] = bench_random(&seed) % (HUGE_TIB / HUGE_BLOCK) * HUGE_BLOCK;
		if (!huge_init(&c->h[i], what->tracker, HUGE_TIB, huge_cpus())) {
			claim_destroy(c);
			return NULL;
		}
		fpt_free(&c->h[i].t, c->block[i], HUGE_ORDER);
		huge_drain(&c->h[i]);
	}
	if (c->cold)
		claim_cold(c);
	return c;
}

static void claim_run(void *instance, struct bench_thread *thread)
{
	struct claim *c = instance;
	unsigned int i;

	for (i = 0; i < CLAIM_TRACKERS; i++) {
		struct fpt_cursor cursor = { 0, 0 };

		thread->wrong += fpt_claim(&c->h[i].t, &cursor, &c->got[i], 1) != 1 ||
				 c->got[i].pfn != c->block[i];
	}
	thread->events += CLAIM_TRACKERS;
}

static void claim_between(void *instance)
{
	struct claim *c = instance;
	unsigned int i;

	for (i = 0; i < CLAIM_TRACKERS; i++)
		fpt_release(&c->h[i].t, &c->got[i], FPT_BUSY);
	if (c->cold)
		claim_cold(c);
}

/* Once more: the block that was released is found, then there is nothing. */
static const char *claim_teardown(void *instance, struct bench_result *result)
{
	struct claim *c = instance;
	const char *error = NULL;
	unsigned int i;

	(void)result;
	for (i = 0; i < CLAIM_TRACKERS; i++) {
		struct fpt_cursor cursor = { 0, 0 };
		struct fpt_range two[2];

		if (fpt_claim(&c->h[i].t, &cursor, two, 2) != 1)
			error = "not one free block, but none or more";
	}
	claim_destroy(c);
	return error;
}

void bench_claim(void)
{
	static struct claim_case cases[HUGE_TRACKERS][2];
	static char names[HUGE_TRACKERS][2][64];
	unsigned int i, cold;

	for (i = 0; i < HUGE_TRACKERS; i++)
		for (cold = 0; cold <= CLAIM_COLD; cold++) {
			struct bench b = {
				.name = names[i][cold], .what = &cases[i][cold], .max_threads = 1,
				.setup = claim_setup, .run = claim_run, .between = claim_between,
				.teardown = claim_teardown,
			};

			cases[i][cold] = (struct claim_case){ &huge_trackers[i], cold };
			snprintf(names[i][cold], sizeof(names[i][cold]), "claim/%s/one_free_1TiB%s",
				 huge_trackers[i].name, cold ? "/cold" : "");
			bench_register(&b);
		}
}
