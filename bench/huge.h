/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * huge.h - trackers of guests as large as 1 TiB, for the benchmarks of the reporter's side
 *
 * Pages are 4 KiB, blocks of order 9: 2 MiB. Memory is taken as pages are touched. One thread.
 */
#ifndef BENCH_HUGE_H
#define BENCH_HUGE_H

#include <fpt/fpt.h>

#include <stdio.h>
#include <unistd.h>

#define HUGE_ORDER 9u
#define HUGE_BLOCK (1ul << HUGE_ORDER)
#define HUGE_GIB (1ul << 18)		/* pages */
#define HUGE_TIB (1ul << 28)

#define HUGE_COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct huge_tracker {
	const char *name;
	const struct fpt_ops *ops;
	enum fpt_protocol protocol;
};

static const struct huge_tracker huge_trackers[] = {
	{ "array", &fpt_array_ops, FPT_ISOLATE },
	{ "bitmap", &fpt_bitmap_ops, FPT_ISOLATE },
	{ "xbitmap", &fpt_xbitmap_ops, FPT_ISOLATE },
	{ "delta", &fpt_delta_ops, FPT_ISOLATE },
	{ "lockmap", &fpt_lockmap_ops, FPT_ISOLATE },
	{ "ticket", &fpt_xbitmap_ops, FPT_TICKET },	/* xbitmap in the ticket protocol */
};

#define HUGE_TRACKERS HUGE_COUNT(huge_trackers)

struct huge {
	struct fpt t;
	void *front, *range;
	size_t front_bytes, range_bytes;
};

static inline unsigned int huge_cpus(void)
{
	long nr = sysconf(_SC_NPROCESSORS_CONF);

	return nr > 0 ? (unsigned int)nr : 1;
}

/* On error, too, to be destroyed. */
static inline bool huge_init(struct huge *h, const struct huge_tracker *tracker, fpt_pfn_t nr_pages,
			     unsigned int nr_cpus)
{
	struct fpt_config config = { .ops = tracker->ops, .order = HUGE_ORDER,
				     .protocol = tracker->protocol, .nr_cpus = nr_cpus };
	struct fpt_mem m;

	fpt_zero(h, sizeof(*h));
	h->front_bytes = fpt_size(&config);
	h->front = fpt_memory_get(h->front_bytes);
	m = (struct fpt_mem){ h->front, h->front_bytes, true };
	if (!h->front || fpt_init(&h->t, &config, &m) != FPT_OK)
		return false;
	h->range_bytes = fpt_range_size(&h->t, 0, nr_pages, true);
	h->range = fpt_memory_get(h->range_bytes);
	m = (struct fpt_mem){ h->range, h->range_bytes, true };
	return h->range && fpt_add_range(&h->t, 0, nr_pages, &m) == FPT_OK;
}

static inline void huge_destroy(struct huge *h)
{
	fpt_memory_put(h->front, h->front_bytes);
	fpt_memory_put(h->range, h->range_bytes);
}

/* What fronts hold goes to the back. */
static inline void huge_drain(struct huge *h)
{
	fpt_drain(&h->t);
	fpt_drain(&h->t);
}

/* All pages become free. */
static inline void huge_free_all(struct huge *h, fpt_pfn_t nr_pages)
{
	fpt_pfn_t pfn;

	for (pfn = 0; pfn < nr_pages; pfn += HUGE_GIB) {
		fpt_free(&h->t, pfn, 18);
		if (pfn / HUGE_GIB % 256 == 0)
			huge_drain(h);
	}
	huge_drain(h);
}

#endif
