/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * output.h - a file that is replaced as a whole, or not at all
 *
 * An unnamed file where the system has them, which leaves nothing behind whatever ends the process;
 * else a temporary one beside the target, with the signals that a user sends held back while it
 * exists. A symbolic link stays one; a device or pipe is written to directly. One thread.
 */
#ifndef FPT_TRACE_OUTPUT_H
#define FPT_TRACE_OUTPUT_H

#include "trace/trace.h"

#include <signal.h>

struct output {
	const char *path;
	char *target;			/* what to replace; NULL: PATH is written to directly */
	char *temp;			/* NULL: there is none to remove */
	int fd;
	bool blocked;
	sigset_t old_signals;
};

#define OUTPUT_INIT { .fd = -1 }

/* -1 and a line in err when PATH cannot be written. Whatever follows, output_end() comes last. */
int output_open(struct output *o, const char *path, struct trace_error *err);
int output_write(struct output *o, const void *data, size_t size, struct trace_error *err);

/* What was written takes PATH's place. */
int output_publish(struct output *o, struct trace_error *err);

/* Frees; without a successful output_publish() before, PATH is as it was. */
void output_end(struct output *o);

#endif
