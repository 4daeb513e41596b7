/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * capture.h - the page events of the running kernel
 *
 * kmem:mm_page_alloc and kmem:mm_page_free, recorded by ftrace in an instance of our own: nobody
 * else's tracing is touched. The instance is called fpt-PID-STARTTIME, and so is a tracefs that had
 * to be mounted; by this name the next fpt finds and removes what a killed one left behind
 * (record_remove_stale() in tool.h). The kernel refuses to remove an instance that is being read,
 * so that a recorder in another PID namespace is safe.
 *
 * mm_page_free_batched is left alone: it repeats what mm_page_free said.
 *
 * The recorder is a part of the machine that it records. What it needs to keep the first events is
 * taken before the start, and read(2) on trace_pipe_raw takes no pages (splice would).
 *
 * Functions that can fail return 0, or -1 with a line in *err. One thread.
 */
#ifndef FPT_CAPTURE_H
#define FPT_CAPTURE_H

#include "trace/trace.h"

struct capture;

struct capture_counts {
	uint64_t events;
	uint64_t lost;			/* no room in the kernel's buffer; after capture_stop() */
	uint64_t failed_alloc;		/* pfn -1: nothing was allocated; not among the events */
};

/* All ready, nothing recorded yet. buffer_kib: per CPU, 0 for a default that fits the machine. */
int capture_open(struct capture **cp, unsigned int buffer_kib, struct trace_error *err);

/* Time 0 of the trace. */
int capture_start(struct capture *c, struct trace_error *err);
uint64_t capture_now_ns(const struct capture *c);

/* Takes what the kernel has. Often enough is every capture_interval_us(). */
int capture_drain(struct capture *c, struct trace_error *err);
unsigned int capture_interval_us(const struct capture *c);
struct capture_counts capture_counts(const struct capture *c);

/* The end of the trace; takes the rest and counts what was lost. */
int capture_stop(struct capture *c, struct trace_error *err);

/* Moves the events of all CPUs, merged by time, into t->events. After capture_stop(). */
int capture_take(struct capture *c, struct trace *t, struct trace_error *err);

/* Removes the instance, and the mount if it is ours. NULL is fine. */
void capture_close(struct capture *c);

/* Fills *err. */
int error_set(struct trace_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
