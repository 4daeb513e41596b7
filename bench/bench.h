/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench.h - the files of fpt-bench: each registers its benchmarks
 *
 * A new file is a line here, in main.c's list, and in CMakeLists.txt.
 */
#ifndef BENCH_H
#define BENCH_H

void bench_prim(void);		/* prim.c */
void bench_trackers(void);	/* trackers.c */
void bench_flat(void);		/* flat.c */
void bench_field(void);		/* field.c */
void bench_pushes(void);	/* push.c */
void bench_ck(void);		/* ck.c, with Concurrency Kit */
void bench_urcu(void);		/* urcu.c, with liburcu */
void bench_roaring(void);	/* roaring.c, with CRoaring */
void bench_fold(void);		/* fold.c */
void bench_claim(void);		/* claim.c */
void bench_drain(void);		/* drain.c */
void bench_switch(void);	/* switch.c */
void bench_memory_sizes(void);	/* memory.c */

#endif
