/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lines.h - over the model backend: how many accesses, and who has which cache line
 *
 * Between count_begin() and count_end() every access is counted, and for each line it is known who
 * wrote it last and who has looked at it since. Caches are as large as need be, and lines that
 * nobody has written since count_begin() are everybody's: what is counted is what sharing costs,
 * and nothing else. To be included by one source file: the test or the benchmark.
 *
 * For numbers per operation call count_operation() before each.
 */
#ifndef FPT_TESTS_LINES_H
#define FPT_TESTS_LINES_H

#include <fpt/compat/compat.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifndef LINES_MAX
#define LINES_MAX (1u << 16)
#endif
/* One more than virtual CPUs: a reporter may have one of its own. */
#define LINES_HOLDERS ((FPT_MODEL_CPUS + 1 + 63) / 64)

struct lines_line {
	uintptr_t number;		/* address / FPT_CACHE_LINE; 0: an empty place */
	unsigned int writer;		/* who wrote it last, plus 1; 0: nobody yet */
	unsigned long read_in, written_in;	/* the last operation that did */
	uint64_t held[LINES_HOLDERS];	/* 1 bit per CPU: has read it since it was written, or wrote it */
};

static struct {
	struct lines_line line[LINES_MAX];
	unsigned long used;
	unsigned long accesses, writes;
	unsigned long shared;		/* writes to a line that another CPU wrote last */
	/* Lines, each once per operation. */
	unsigned long operations, read, written;
	unsigned long others;		/* accessed, and then written last by another CPU */
	unsigned long others_written;	/* of them, written by the operation */
	/* Of all accesses. */
	unsigned long transfers;	/* the line had to come from the CPU that wrote it */
	unsigned long invalidations;	/* a write to a line that was here, and elsewhere */
} counts;

static struct lines_line *count_find(uintptr_t number)
{
	size_t i = number * 0x9e3779b1u % LINES_MAX;

	while (counts.line[i].number && counts.line[i].number != number)
		i = (i + 1) % LINES_MAX;
	if (!counts.line[i].number) {
		counts.line[i].number = number;
		if (++counts.used == LINES_MAX) {
			fputs("more lines than LINES_MAX\n", stderr);
			abort();
		}
	}
	return &counts.line[i];
}

static bool count_is_held(const struct lines_line *l, unsigned int cpu)
{
	return l->held[cpu / 64] >> cpu % 64 & 1;
}

static bool count_is_held_elsewhere(const struct lines_line *l, unsigned int cpu)
{
	for (unsigned int i = 0; i < LINES_HOLDERS; i++)
		if (l->held[i] & ~(i == cpu / 64 ? UINT64_C(1) << cpu % 64 : 0))
			return true;
	return false;
}

static void count_lines(const struct fpt_model_access *a)
{
	const unsigned int cpu = fpt_model_cpu;
	const bool reads = a->kind == FPT_MODEL_LOAD || a->kind == FPT_MODEL_RMW;
	const bool writes = a->kind == FPT_MODEL_STORE || a->kind == FPT_MODEL_RMW;
	struct lines_line *l;
	bool others, before;

	counts.accesses++;
	if (!reads && !writes)
		return;
	l = count_find((uintptr_t)a->address / FPT_CACHE_LINE);
	others = l->writer && l->writer != cpu + 1;
	before = l->read_in == counts.operations || l->written_in == counts.operations;
	counts.others += others && !before;
	counts.others_written += others && writes && l->written_in != counts.operations;
	counts.transfers += others && !count_is_held(l, cpu);
	if (reads) {
		counts.read += l->read_in != counts.operations;
		l->read_in = counts.operations;
	}
	if (writes) {
		counts.writes++;
		counts.shared += others;
		counts.invalidations += count_is_held(l, cpu) && count_is_held_elsewhere(l, cpu);
		counts.written += l->written_in != counts.operations;
		l->written_in = counts.operations;
		l->writer = cpu + 1;
		memset(l->held, 0, sizeof(l->held));
	}
	l->held[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

/* Not counted between the two: what happens is as if it had never been. */
static inline void count_pause(void)
{
	fpt_model_hook = NULL;
}

static inline void count_go_on(void)
{
	fpt_model_hook = count_lines;
}

/* What follows is one operation, to the next call. */
static inline void count_operation(void)
{
	counts.operations++;
}

static void count_begin(void)
{
	memset(&counts, 0, sizeof(counts));
	counts.operations = 1;
	count_go_on();
}

static unsigned long count_end(void)
{
	count_pause();
	fpt_model_cpu = 0;
	return counts.accesses;
}

#endif
