/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reporting.h - who takes a tracker's hints to the host, and gives them back
 *
 * The same piece for both kinds of run. A way to report is a struct reporting_ops; policies choose
 * it. It hands out batches and is told when they are done; when, and what the host does meanwhile,
 * is the run's business.
 */
#ifndef FPT_SIM_REPORTING_H
#define FPT_SIM_REPORTING_H

#include "sim/setup.h"

/* The guest as the owner of memory. */
struct owner {
	struct guest *g;
	bool counts;			/* for precision: what was asked for, and free then */
	uint64_t asked_pages, asked_free_pages;
};

struct reporting;

struct reporting_ops {
	/* Make *b the next batch; returns its ranges, 0: see reporting_next(). */
	unsigned int (*next)(struct reporting *p, struct fpt_batch *b);
	/* The host has discarded the ranges of b; they go back. */
	void (*complete)(struct reporting *p, struct fpt_batch *b);
	/* Do batches wait at the host for each other? Else one is there at a time. */
	bool queues;
};

struct reporting {
	const struct reporting_ops *ops;
	struct fpt_reporter rep;
	struct owner owner;
	struct setup *setup;
	struct fpt_batch *claimed;	/* ticket: a ring of batches on their way to the host */
	unsigned int first, nr, cap;
	struct fpt_auditor audit;
	uint64_t audit_lines;		/* before each pass */
	fpt_pfn_t at;			/* hints: where the pass stands */
};

/* sim_check() has seen the configuration. -1: no memory. */
int reporting_init(struct reporting *p, struct setup *s, struct guest *g,
		   const struct sim_config *config, struct trace_error *err);
void reporting_free(struct reporting *p);

/*
 * Is a pass due, now that it is ns? Always, unless the policy names an amount or an age. *later: it
 * may become due without anything happening.
 */
bool reporting_due(struct reporting *p, uint64_t ns, bool *later);

void reporting_begin(struct reporting *p);

/*
 * The next batch for the host. 0: the pass is over or, with ops->queues, as much is out as the
 * policy permits; then complete some, and call it again.
 */
static inline unsigned int reporting_next(struct reporting *p, struct fpt_batch *b)
{
	return p->ops->next(p, b);
}

/* b is empty afterwards. */
static inline void reporting_complete(struct reporting *p, struct fpt_batch *b)
{
	p->ops->complete(p, b);
	b->nr = 0;
}

#endif
