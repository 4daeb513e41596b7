/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * main.c - fpt-bench: all benchmarks in one program; --benchmark_filter picks some
 */
#include "bench.h"
#include "shim.h"

int main(int argc, char **argv)
{
	bench_hooks();
	return bench_main(argc, argv);
}
