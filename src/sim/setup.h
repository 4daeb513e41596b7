/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * setup.h - a tracker over a guest's pages, with its donated memory
 */
#ifndef FPT_SIM_SETUP_H
#define FPT_SIM_SETUP_H

#include "sim/sim.h"

#include <fpt/fpt.h>

struct setup_memory {
	void *p;
	size_t size;
	struct setup_memory *next;
};

struct setup {
	struct fpt t;
	struct setup_memory *memory;	/* donated */
};

/*
 * A tracker for nr_cpus virtual CPUs with all of g's pages, and hints for those that are free at
 * time 0 (the initial scan; tracker->collects: the caller's business). On error nothing is left to
 * free.
 */
int setup_tracker(struct setup *s, const struct guest *g, const struct trace *t,
		  unsigned int nr_cpus, const struct sim_tracker *tracker,
		  const struct sim_config *config, struct trace_error *err);
/*
 * Make another tracker the one that hooks use, while they run: fpt_switch(). Its front's memory is
 * donated the first time. *ns: how long that function took.
 */
int setup_switch(struct setup *s, unsigned int nr_cpus, const struct sim_tracker *tracker,
		 const struct sim_config *config, double *ns, struct trace_error *err);
/*
 * What a reporter does before a pass: give the tracker the memory that it wants. Without, it goes
 * on without.
 */
void setup_refill(struct setup *s);
void setup_free(struct setup *s);
/*
 * The initial scan, on CPU 0: hints for all that is free at time 0. make_room is called on the
 * way, as a reporter would do it, before a front with so many entries (0: the default) is full.
 */
void setup_hint(struct setup *s, const struct trace *t, unsigned long entries,
		void (*make_room)(void *ctx), void *ctx);

#endif
