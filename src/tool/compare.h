/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * compare.h - results of fpt compare, and how they are shown
 */
#ifndef FPT_TOOL_COMPARE_H
#define FPT_TOOL_COMPARE_H

#include "sim/sim.h"

#include <stdio.h>

/* One tracker on one trace. */
struct result {
	const char *trace;
	const struct sim_tracker *tracker;
	struct sim_policy policy;
	unsigned int order;
	uint64_t events;
	bool known;			/* the trace says what was free at its beginning */
	struct trace_anomalies anomalies;
	struct sim_quality quality;
	bool timed;			/* long enough for the times to mean anything */
	double ns_per_event;		/* processor time of the CPUs that run hooks, less none's */
	double reporter_ns_per_event;	/* of the reporter's passes, host's work left out */
	double wait_ns_per_event;	/* waits of the timed replay: not in ns_per_event */
	double replay_ns_per_event;	/* none's: the replay itself */
	uint64_t data_loss;		/* of all runs */
};

/* enum host_discard's names; ends with NULL. */
extern const char *const discard_names[];

/* One trace's results. */
void print_table(FILE *to, const struct trace *t, const struct result *results, size_t nr);

/* Can this name be in JSON? */
bool name_is_json(const char *name);

/* All results as text, to be freed. NULL: no memory, or a name of a trace that is not UTF-8. */
char *results_json(const struct result *results, size_t nr);

#endif
