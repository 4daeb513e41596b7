/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* array2019.c - see array2019.h */
#include "sim/array2019.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int array2019_init(struct array2019 *a, const struct fpt_reporter *rep, struct trace_error *err)
{
	a->rep = rep;
	a->nr_cpus = rep->t->nr_cpus;
	a->out = calloc(a->nr_cpus, sizeof(*a->out));
	if (a->out)
		return 0;
	snprintf(err->text, sizeof(err->text), "no memory for a batch per CPU");
	return -1;
}

void array2019_destroy(struct array2019 *a)
{
	free(a->out);
	memset(a, 0, sizeof(*a));
}

struct array2019_batch *array2019_collect(struct array2019 *a, unsigned int cpu, uint64_t done_at)
{
	struct array2019_batch *b = &a->out[cpu];
	long nr;

	if (b->nr)
		return NULL;
	nr = fpt_array2019_collect(a->rep->t, a->rep->owner, a->rep->ctx, cpu, &b->ranges);
	if (nr <= 0)
		return NULL;
	b->nr = (size_t)nr;
	b->done_at = done_at;
	return b;
}

void array2019_return(struct array2019 *a, unsigned int cpu)
{
	fpt_array2019_return(a->rep->t, a->rep->owner, a->rep->ctx, cpu, true);
	a->out[cpu].nr = 0;
}

unsigned int array2019_first(const struct array2019 *a)
{
	unsigned int cpu, first = a->nr_cpus;

	for (cpu = 0; cpu < a->nr_cpus; cpu++)
		if (a->out[cpu].nr &&
		    (first == a->nr_cpus || a->out[cpu].done_at < a->out[first].done_at))
			first = cpu;
	return first;
}

unsigned int array2019_find(const struct array2019 *a, uint64_t pfn)
{
	unsigned int cpu;
	size_t i;

	for (cpu = 0; cpu < a->nr_cpus; cpu++)
		for (i = 0; i < a->out[cpu].nr; i++)
			if (pfn - a->out[cpu].ranges[i].pfn < a->out[cpu].ranges[i].nr)
				return cpu;
	return a->nr_cpus;
}
