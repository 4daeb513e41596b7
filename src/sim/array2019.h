/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * array2019.h - what reports for the tracker array2019: instead of passes, a batch per CPU
 *
 * Time is the caller's: quality runs poll the CPUs' flags after each event and say when the host is
 * done; runs with threads poll them from a thread. It may be used by one thread.
 */
#ifndef FPT_SIM_ARRAY2019_H
#define FPT_SIM_ARRAY2019_H

#include "sim/setup.h"

struct array2019_batch {
	struct fpt_range *ranges;
	size_t nr;			/* 0: nothing of this CPU is out */
	uint64_t done_at;
};

struct array2019 {
	const struct fpt_reporter *rep;	/* whose owner is asked */
	unsigned int nr_cpus;
	struct array2019_batch *out;	/* per CPU */
};

int array2019_init(struct array2019 *a, const struct fpt_reporter *rep, struct trace_error *err);
void array2019_destroy(struct array2019 *a);

/* Collect on a CPU, whether it asks or not. Returns its batch, NULL: there is none, or one is out. */
struct array2019_batch *array2019_collect(struct array2019 *a, unsigned int cpu, uint64_t done_at);
/* The host is done with the batch of a CPU. */
void array2019_return(struct array2019 *a, unsigned int cpu);

/* The CPU whose batch is done first, or that has a page out; nr_cpus: none. */
unsigned int array2019_first(const struct array2019 *a);
unsigned int array2019_find(const struct array2019 *a, uint64_t pfn);

#endif
