/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * memory.c - what do trackers take of memory?
 *
 *	memory/TRACKER/GIB	counters: bits_per_page of the range, with memory for all chunks;
 *				KiB_per_cpu of the front, as it is by default, and of counters;
 *				MiB in use when all pages are free, of all CPUs of this machine
 *
 * ns_event is what asking for the counters costs (fpt_get_stats()). Sizes are no matter of time:
 * more than 1.2 bits per page and 160 KiB per CPU fail the benchmark.
 */
#include "huge.h"

#include <stdlib.h>

#include "bench.h"
#include "hook.h"
#include "shim.h"

#define MEMORY_ASKED 64u

static const int memory_gib[] = { 16, 1024 };

struct memory_case {
	const struct huge_tracker *tracker;
	fpt_pfn_t pages;
};

struct memory {
	struct huge h;
	const struct memory_case *what;
	struct fpt_stats stats;
};

static void *memory_setup(const struct bench *b, unsigned int nr_threads)
{
	struct memory *m = bench_memory(sizeof(*m));

	(void)nr_threads;
	if (!m)
		return NULL;
	m->what = b->what;
	if (!huge_init(&m->h, m->what->tracker, m->what->pages, huge_cpus())) {
		huge_destroy(&m->h);
		free(m);
		return NULL;
	}
	huge_free_all(&m->h, m->what->pages);
	return m;
}

static void memory_run(void *instance, struct bench_thread *thread)
{
	struct memory *m = instance;
	unsigned int i;

	for (i = 0; i < MEMORY_ASKED; i++) {
		fpt_get_stats(&m->h.t, &m->stats);
		thread->wrong += m->stats.count[FPT_STAT_FREED] != m->what->pages ||
				 m->stats.memory_used > m->stats.memory_donated;
	}
	thread->events += MEMORY_ASKED;
}

static double memory_per_cpu(const struct huge_tracker *tracker)
{
	struct fpt_config one = { .ops = tracker->ops, .order = HUGE_ORDER, .nr_cpus = 1 };
	struct fpt_config many = { .ops = tracker->ops, .order = HUGE_ORDER, .nr_cpus = 257 };

	return (double)(fpt_size(&many) - fpt_size(&one)) / 256 / 1024;
}

static const char *memory_teardown(void *instance, struct bench_result *result)
{
	struct memory *m = instance;
	double bits = (double)m->h.range_bytes * 8 / (double)m->what->pages;
	double per_cpu = memory_per_cpu(m->what->tracker);

	bench_counter(result, "bits_per_page", bits);
	bench_counter(result, "KiB_per_cpu", per_cpu);
	bench_counter(result, "MiB", (double)m->stats.memory_used / 1048576);
	huge_destroy(&m->h);
	free(m);
	return bits > 1.2 || per_cpu > 160 ? "more than 1.2 bits per page or 160 KiB per CPU" : NULL;
}

void bench_memory_sizes(void)
{
	static struct memory_case cases[HUGE_TRACKERS][HUGE_COUNT(memory_gib)];
	static char names[HUGE_TRACKERS][HUGE_COUNT(memory_gib)][64];
	size_t i, k;

	for (i = 0; i < HUGE_TRACKERS; i++)
		for (k = 0; k < HUGE_COUNT(memory_gib); k++) {
			struct bench b = {
				.name = names[i][k], .what = &cases[i][k], .max_threads = 1,
				.setup = memory_setup, .run = memory_run,
				.teardown = memory_teardown,
			};

			cases[i][k] = (struct memory_case){
				&huge_trackers[i], (unsigned long)memory_gib[k] * HUGE_GIB,
			};
			snprintf(names[i][k], sizeof(names[i][k]), "memory/%s/%d",
				 huge_trackers[i].name, memory_gib[k]);
			bench_register(&b);
		}
}
