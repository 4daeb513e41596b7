/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lines.h - over the model backend: how many accesses, and who writes which cache line
 *
 * Between count_begin() and count_end() every access is counted, and every write to a line that
 * another CPU wrote before it. To be included by one source file: the test.
 */
#ifndef FPT_TESTS_LINES_H
#define FPT_TESTS_LINES_H

#include <fpt/compat/compat.h>

#include <stdint.h>
#include <string.h>

#define LINES_MAX (1u << 16)

static struct {
	const void *line[LINES_MAX];
	unsigned int cpu[LINES_MAX];
	unsigned long accesses, writes, shared;
} counts;

static void count_lines(const struct fpt_model_access *a)
{
	uintptr_t line = (uintptr_t)a->address / FPT_CACHE_LINE;
	size_t i = line * 0x9e3779b1u % LINES_MAX;

	counts.accesses++;
	if (a->kind != FPT_MODEL_STORE && a->kind != FPT_MODEL_RMW)
		return;
	while (counts.line[i] && counts.line[i] != (const void *)line)
		i = (i + 1) % LINES_MAX;
	counts.writes++;
	if (!counts.line[i])
		counts.line[i] = (const void *)line;
	else if (counts.cpu[i] != fpt_model_cpu)
		counts.shared++;
	counts.cpu[i] = fpt_model_cpu;
}

static void count_begin(void)
{
	memset(&counts, 0, sizeof(counts));
	fpt_model_hook = count_lines;
}

static unsigned long count_end(void)
{
	fpt_model_hook = NULL;
	fpt_model_cpu = 0;
	return counts.accesses;
}

#endif
