/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sim.h - what a tracker costs and is worth on a trace
 *
 * Two kinds of run per tracker and trace:
 *
 *	sim_quality()	one thread, virtual time: deterministic. Memory is touched and discarded.
 *	sim_speed()	one thread per virtual CPU and a reporter, as fast as it goes. Events of one page
 *			keep their order across CPUs. With touch, memory is touched and discarded as well
 *			(safety); without, hooks are timed.
 *
 * Results are objects; how they are printed is the tool's business.
 */
#ifndef FPT_SIM_H
#define FPT_SIM_H

#include "sim/guest.h"
#include "sim/host.h"

/* How an owner is kept from a page that is with the host, and who gets it there. */
enum sim_protocol {
	SIM_ISOLATE,
	SIM_TICKET,			/* claims in batches, see report.h */
	SIM_HINTS,			/* tickets, too: fpt_get_hints(), fpt_put_hints() */
};

struct sim_policy {
	uint64_t period_ns;		/* between the beginnings of two passes */
	uint64_t latency_ns;		/* from handing a batch to the host until it is discarded */
	uint64_t batch;			/* ranges per batch */
	uint64_t in_flight;		/* bytes out at once, at most */
	unsigned int protocol;		/* enum sim_protocol */
	bool expedite;			/* tickets: who waits asks for its block first */
	uint64_t ahead;			/* ticket: batches claimed beyond the one at the host */
	bool again;			/* report what was reported: fpt_config.report_again */
	uint64_t min_order;		/* not hints: fpt_policy.min_order */
	/* Bytes, and ns: a pass only when one of them is due. 0 and 0: every period. */
	uint64_t amount, age_ns;
	uint64_t granule;		/* bytes of a host's page; 0: no more than the guest's */
	uint64_t entries;		/* array, array2019: entries per CPU and array */
	uint64_t lines;			/* delta: per CPU and generation; 0: its default */
	uint64_t cold;			/* delta: fpt_policy.cold */
	uint64_t audit;			/* delta: lines audited before each pass; 0: none */
	bool exact;			/* donate memory for one bit per page, not one per block */
	unsigned int discard;		/* enum host_discard */
};

struct sim_tracker {
	const char *name;
	const struct fpt_ops *ops;
	bool reports;			/* false: none */
	bool walks_buddy;		/* upstream's reporting: no hints, see buddy.h */
	bool collects;			/* array2019: batches per CPU instead of passes */
	struct sim_policy policy;	/* defaults */
};

/* Switching trackers in a run with threads. */
struct sim_switch {
	const struct sim_tracker *other;
	unsigned int times;		/* there and back is two */
	/* What came of it. */
	unsigned int done;		/* the replay may be over before */
	double *ns;			/* room for times: how long fpt_switch() took */
};

struct sim_config {
	unsigned int order;
	struct sim_policy policy;
	struct sim_switch *switching;	/* sim_speed() only; NULL: does not */
	/*
	 * For tests, the mutant that loses data: isolation takes nothing, FPT_IN_FLIGHT is ignored.
	 */
	bool unprotected;
};

/* A distribution's summary; count 0: there is none. */
struct sim_times {
	uint64_t count;
	double p50_ms, p99_ms, total_ms;
};

struct sim_quality {
	double gib_minutes;		/* resident memory over time */
	uint64_t peak_rss_bytes;
	double recall;			/* of the truly free memory at this order, reported; time-averaged */
	double free_gib_minutes;	/* its denominator: the same for every tracker */
	double precision;		/* of claimed pages, free when checked; negative: nothing was claimed,
					   or asked for first (array2019) */
	struct sim_times free_to_report;	/* of blocks that became wholly free in the trace */
	uint64_t censored;		/* those that were taken, or the trace over, before they were reported */
	struct sim_times stall;		/* allocations that met a block on its way to the host */
	uint64_t cancelled;		/* pages of claims that an allocation cancelled */
	uint64_t waited;		/* pages whose allocation had to wait; tickets only */
	uint64_t reports, discard_calls, discarded_ranges, refaults, dropped, slow, metadata_bytes,
		data_loss;
};

struct sim_speed {
	uint64_t events;
	double cpu_ns;			/* processor time of all virtual CPUs, waits left out */
	double reporter_ns;		/* processor time of the reporter's passes */
	double wait_ns;			/* waiting for another CPU's event or for a block */
	uint64_t passes;
	uint64_t dropped;		/* pages */
	/*
	 * At the end, after two more passes: pages of free blocks that are neither reported nor
	 * hinted. 0 for who reports, unless events were hidden or hints dropped; and for array2019,
	 * whose hints are elsewhere.
	 */
	uint64_t lost_hints;
	uint64_t data_loss;
};

/* The part that a reporter of report.h is told. Its ticks are ns. */
struct fpt_policy sim_report_policy(const struct sim_policy *policy, size_t page_size);

/* All trackers, the null-named one last. */
extern const struct sim_tracker sim_trackers[];
const struct sim_tracker *sim_tracker_find(const char *name, size_t length);

/*
 * Can this tracker run like this? -1 and one line if not; sim_quality() and sim_speed() ask it,
 * too.
 */
int sim_check(const struct trace *t, const struct sim_tracker *tracker,
	      const struct sim_config *config, struct trace_error *err);

/*
 * The trace must be normalised. Its hidden events change the guest, and no hook is called.
 * progress, when not NULL, is called now and then with the share done. Errors: -1 and one line; a
 * data loss is a result, not an error.
 */
typedef void (*sim_progress)(void *ctx, double share);

int sim_quality(const struct trace *t, const struct sim_tracker *tracker,
		const struct sim_config *config, struct sim_quality *out, sim_progress progress,
		void *ctx, struct trace_error *err);

/* The order of events per virtual CPU, made once per trace. */
struct sim_schedule;
struct sim_schedule *sim_schedule_make(const struct trace *t, struct trace_error *err);
void sim_schedule_free(struct sim_schedule *s);

int sim_speed(const struct trace *t, const struct sim_schedule *s,
	      const struct sim_tracker *tracker, const struct sim_config *config, bool touch,
	      struct sim_speed *out, struct trace_error *err);

#endif
