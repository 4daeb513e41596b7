/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench.h - the files of fpt-bench: each registers its benchmarks
 */
#ifndef BENCH_H
#define BENCH_H

void bench_hooks(void);		/* hooks.c */

#endif
