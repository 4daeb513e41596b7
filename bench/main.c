/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * main.c - fpt-bench: all benchmarks in one program; --benchmark_filter picks some
 */
#include "bench.h"
#include "shim.h"

#include <stddef.h>

static void (*const files[])(void) = {
	bench_trackers,
	bench_flat,
#ifdef BENCH_CK
	bench_ck,
#endif
	bench_fold,
	bench_claim,
	bench_drain,
	bench_switch,
	bench_memory_sizes,
};

int main(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		files[i]();
	return bench_main(argc, argv);
}
