/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * generate.h - synthetic traces: inputs that isolate one effect, reproducible from a seed
 *
 * What a trace is drawn from is a small model of an allocator: a buddy allocator of orders 0 to 10
 * under per-CPU LIFO lists that are refilled and drained in batches. So pages are reused where they
 * were freed, frees are neighbours of frees, small requests spare large free blocks, and a block is
 * whole again when all of it was released. All pages begin at one aligned pfn, in one range.
 *
 * What a workload promises, and tests/test_generate.c checks:
 *
 *	all		a history: trace_normalise() finds no anomaly and changes nothing;
 *			free_before and free_after are exact; times do not decrease
 *	churn		what is held stays near the occupancy; gaps are exponential; with 64 MiB per
 *			CPU, nine in ten pages are taken where they were freed; nine in ten are
 *			freed where they were taken
 *	ramp		cycles of the same length: take, hold (to the middle of the cycle), release
 *			all, idle; in every idle time all memory is free
 *	fragmentation	take (from 0), release all but 1 to 4 pages per block of 2 MiB (from a
 *			quarter of the time on), then these one by one (from the half to 7/8)
 *	crosscpu	a CPU takes pages or gives them back, never both: no page is given back
 *			where it was taken. First taken, first given back. What is on the way
 *			grows to the occupancy and shrinks to nothing, in turn
 *
 * Blind spots. The kernel's tracepoints miss allocations by the bulk, so bulks are what is hidden:
 * up to 127 allocations in a row of one CPU. Frees are not hidden. The history does not depend on
 * the share that is hidden, and what is hidden at one share is hidden at every larger one: traces
 * that differ in nothing but blind spots can be compared event by event.
 *
 * The same configuration gives the same events on every machine: integers only, and random numbers
 * of its own. A saved file is the same, too, where the zstd library is. Whoever changes what comes
 * out for any configuration increments GENERATE_VERSION, which is part of the trace's source text.
 */
#ifndef FPT_TRACE_GENERATE_H
#define FPT_TRACE_GENERATE_H

#include "trace/trace.h"

#define GENERATE_VERSION	1
#define GENERATE_MIN_MIB	16u
#define GENERATE_MAX_MIB	65536u
#define GENERATE_MAX_SECONDS	86400u
#define GENERATE_MAX_RATE	10000000u
#define GENERATE_MAX_OCCUPANCY	95u
#define GENERATE_MAX_EVENTS	UINT64_C(100000000)
#define GENERATE_PPM		1000000u

struct generator;

struct generate_workload {
	const char *name;
	const char *isolates;		/* a sentence */
	int (*run)(struct generator *g);
};

/* All workloads, the null-named one last. */
extern const struct generate_workload generate_workloads[];
const struct generate_workload *generate_workload_find(const char *name);

struct generate_config {
	const struct generate_workload *workload;
	uint64_t seed;
	uint32_t cpus;
	uint32_t memory_mib;
	uint32_t seconds;		/* the trace's duration, to the nanosecond */
	uint32_t rate;			/* events per second; ramp, fragmentation: while busy */
	uint32_t occupancy;		/* percent of memory: held (churn), at the peak (ramp,
					   fragmentation), on the way at most (crosscpu) */
	uint32_t orders_ppm;		/* of allocations: of order 1 to 3, in ramp of order 9;
					   where no such block is left they become order 0 */
	uint32_t hidden_ppm;		/* of allocations: blind spots */
};

/* Everything but the workload: 2 CPUs, 256 MiB, 20 s, 20000/s, half full, seed 1. */
extern const struct generate_config generate_defaults;

/*
 * Into *t as trace_init() left it. -1 and a line when the configuration makes no sense, or without
 * memory; then *t is only good for trace_destroy(). Memory: 16 bytes per event and 9 per page.
 */
int trace_generate(struct trace *t, const struct generate_config *config, struct trace_error *err);

#endif
