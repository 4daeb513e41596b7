/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * main.c - fpt-bench: all benchmarks in one program; --benchmark_filter picks some
 */
#include "bench.h"
#include "shim.h"

#include <stddef.h>

static const struct {
	const char *name;
	void (*benchmarks)(void);
} files[] = {
	{ "prim", bench_prim },
	{ "trackers", bench_trackers },
	{ "flat", bench_flat },
	{ "field", bench_field },
	{ "push", bench_pushes },
#ifdef BENCH_CK
	{ "ck", bench_ck },
#endif
#ifdef BENCH_URCU
	{ "urcu", bench_urcu },
#endif
#ifdef BENCH_ROARING
	{ "roaring", bench_roaring },
#endif
};

int main(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		files[i].benchmarks();
	return bench_main(argc, argv);
}
