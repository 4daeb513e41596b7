/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * compare.h - results of fpt compare, and how they are shown
 */
#ifndef FPT_TOOL_COMPARE_H
#define FPT_TOOL_COMPARE_H

#include "sim/sim.h"

#include <jansson.h>
#include <stdio.h>

/* --policy: what was given. */
struct policy_args {
	struct sim_policy value;
	unsigned int set;		/* bit per key */
};

/* One trace, as the headings of tables need it. */
struct heading {
	const char *trace;
	uint64_t events, hidden;
	unsigned int order;
	struct trace_anomalies anomalies;
};

/* What hooks and reporter take; ns per event, medians of rounds. */
struct cost {
	bool timed;			/* the trace is long enough for it to mean anything */
	double hooks;			/* processor time of the CPUs that run hooks, less none's */
	double reporter;		/* of the reporter's passes, host's work left out */
	double wait;			/* waits of the timed replay: not in hooks */
};

/* One tracker on one trace. */
struct result {
	struct heading heading;
	const struct sim_tracker *tracker;
	struct sim_policy policy;
	bool known;			/* the trace says what was free at its beginning */
	struct sim_quality quality;
	struct cost cost;
	double replay_ns_per_event;	/* none's: the replay itself */
	uint64_t data_loss;		/* of all runs */
};

/* --switch on one trace. */
struct switched {
	struct heading heading;
	const struct sim_tracker *tracker[2];	/* there and back */
	struct sim_policy policy;
	struct cost alone[2], cost;
	double replay_ns_per_event;
	unsigned int times, timed_times;	/* asked for; done in the last timed run */
	/* Of the run that touches memory. */
	unsigned int done;
	double median_ns, max_ns;		/* of fpt_switch(); nothing when none was done */
	struct sim_speed run;
	uint64_t data_loss;		/* of all runs */
};

/* Those of sim_trackers, "a, b, c". */
const char *tracker_names(void);

/* Adds to *p what --policy says, and writes to text. -1, and a line that says why. */
int policy_parse(struct policy_args *p, char *text);
/* A tracker's defaults, and what was given instead. */
struct sim_policy policy_for(const struct policy_args *args, const struct sim_tracker *t);
/* What a tracker has no use for is null. */
json_t *policy_json(const struct sim_tracker *t, const struct sim_policy *p);

/* One trace's results. */
void print_table(FILE *to, const struct trace *t, const struct result *results, size_t nr);
void print_switched(FILE *to, const struct trace *t, const struct switched *s);

/* Can this name be in JSON? */
bool name_is_json(const char *name);

/* All results as text, to be freed. NULL: no memory. */
char *results_json(const struct result *results, size_t nr);
char *switched_json(const struct switched *switched, size_t nr);

#endif
