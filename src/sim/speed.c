/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * speed.c - replay with one thread per virtual CPU: what hooks cost, and whether data is safe in
 * earnest
 *
 * Order. Events of one page happen in the trace's order, whichever CPUs they are on: an event that
 * follows one of another CPU on any of its pages waits until that CPU has got so far. What each
 * CPU has to wait for is worked out beforehand (struct dependency), so that replay compares
 * numbers only.
 *
 * Time. A thread's own processor time, so that being preempted costs nothing; waits are measured
 * and left out. The reporter is a thread of its own; it makes as many passes per event as the
 * trace's clock asks for, however fast the replay is. Host latency is not simulated here: what is
 * with the host is there for as long as discarding really takes.
 */
#include "sim/array2019.h"
#include "sim/reporting.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPENDENCIES ((1u << 13) - 1)
#define REPORTER_POLL_NS 50000

struct scheduled {
	uint64_t pfn : 44;
	uint64_t order : 5;
	uint64_t alloc : 1;
	uint64_t hidden : 1;
	uint64_t nr_dependencies : 13;
};

/* CPU cpu must have done more than index events. */
struct dependency {
	uint32_t cpu;
	uint32_t index;
};

struct cpu_schedule {
	struct scheduled *events;
	size_t nr_events;
	struct dependency *dependencies;	/* all events', one after the other */
	size_t nr_dependencies, cap_dependencies;
};

struct sim_schedule {
	unsigned int nr_cpus;
	struct cpu_schedule *cpu;
};

/* What making a schedule remembers. */
struct making {
	struct sim_schedule *s;
	struct dependency *last;	/* per page: the last event on it; cpu + 1, 0: none */
	uint32_t *waited;		/* per pair of CPUs: the first has waited for so many of the second's */
	uint32_t *needed;		/* the CPUs that one event waits for */
	size_t *needed_by;		/* per CPU: the last event that waits for it, counted from 1 */
	size_t nr_events;
};

void sim_schedule_free(struct sim_schedule *s)
{
	unsigned int i;

	if (!s)
		return;
	for (i = 0; s->cpu && i < s->nr_cpus; i++) {
		free(s->cpu[i].events);
		free(s->cpu[i].dependencies);
	}
	free(s->cpu);
	free(s);
}

static int add_dependency(struct cpu_schedule *c, struct dependency d)
{
	if (c->nr_dependencies == c->cap_dependencies) {
		size_t cap = c->cap_dependencies ? 2 * c->cap_dependencies : 256;
		struct dependency *v = realloc(c->dependencies, cap * sizeof(*v));

		if (!v)
			return -1;
		c->dependencies = v;
		c->cap_dependencies = cap;
	}
	c->dependencies[c->nr_dependencies++] = d;
	return 0;
}

static int schedule_event(struct making *m, const struct trace *t, const struct trace_event *e)
{
	struct cpu_schedule *c = &m->s->cpu[e->cpu];
	uint32_t *waited = m->waited + (size_t)e->cpu * t->nr_cpus;
	struct dependency mine = { e->cpu + 1, (uint32_t)c->nr_events };
	uint64_t first, p, nr = UINT64_C(1) << e->order;
	struct scheduled *out = &c->events[c->nr_events++];
	unsigned int n = 0;

	m->nr_events++;
	trace_page(t, e->pfn, &first);
	for (p = first; p < first + nr; p++) {
		struct dependency d = m->last[p];

		if (d.cpu-- && d.cpu != e->cpu && d.index + 1 > waited[d.cpu]) {
			/* Of several events of one CPU only the last counts. */
			waited[d.cpu] = d.index + 1;
			if (m->needed_by[d.cpu] != m->nr_events)
				m->needed[n++] = d.cpu;
			m->needed_by[d.cpu] = m->nr_events;
		}
		m->last[p] = mine;
	}
	out->pfn = e->pfn;
	out->order = e->order & 31u;
	out->alloc = e->alloc;
	out->hidden = e->hidden;
	out->nr_dependencies = n & MAX_DEPENDENCIES;
	while (n--)
		if (add_dependency(c,
				   (struct dependency){ m->needed[n], waited[m->needed[n]] - 1 }))
			return -1;
	return 0;
}

static void count_events(struct sim_schedule *s, const struct trace *t, size_t *per_cpu)
{
	size_t i;

	memset(per_cpu, 0, s->nr_cpus * sizeof(*per_cpu));
	for (i = 0; i < t->nr_events; i++)
		per_cpu[t->events[i].cpu]++;
}

struct sim_schedule *sim_schedule_make(const struct trace *t, struct trace_error *err)
{
	uint64_t pages = trace_extents_total(&t->ranges);
	struct sim_schedule *s = calloc(1, sizeof(*s));
	struct making m = {
		.s = s,
		.last = calloc(pages, sizeof(*m.last)),
		.waited = calloc((size_t)t->nr_cpus * t->nr_cpus, sizeof(*m.waited)),
		.needed = calloc(t->nr_cpus, sizeof(*m.needed)),
		.needed_by = calloc(t->nr_cpus, sizeof(*m.needed_by)),
	};
	bool ok = s && m.last && m.waited && m.needed && m.needed_by;
	size_t i;

	if (ok) {
		s->nr_cpus = t->nr_cpus;
		s->cpu = calloc(t->nr_cpus, sizeof(*s->cpu));
		ok = s->cpu;
	}
	if (ok) {
		count_events(s, t, m.needed_by);
		for (i = 0; ok && i < t->nr_cpus; i++) {
			s->cpu[i].events = malloc((m.needed_by[i] + 1) * sizeof(*s->cpu[i].events));
			ok = s->cpu[i].events;
			m.needed_by[i] = 0;
		}
	}
	for (i = 0; ok && i < t->nr_events; i++)
		ok = !schedule_event(&m, t, &t->events[i]);
	free(m.last);
	free(m.waited);
	free(m.needed);
	free(m.needed_by);
	if (ok)
		return s;
	sim_schedule_free(s);
	snprintf(err->text, sizeof(err->text), "no memory for the order of events");
	return NULL;
}

struct speed_run;

struct worker {
	struct speed_run *run;
	unsigned int cpu;
	pthread_t thread;
	bool started;
	double cpu_ns, wait_ns, waiting_cpu_ns;
	_Atomic uint64_t done __attribute__((aligned(FPT_CACHE_LINE)));	/* events */
};

struct speed_run {
	const struct trace *t;
	const struct sim_schedule *schedule;
	const struct sim_policy *policy;
	struct guest g;
	struct host h;
	struct setup s;
	struct reporting rep;
	struct array2019 collector;	/* instead of passes */
	struct fpt_batch *out;		/* with the host: from first_out to nr_out */
	size_t first_out, nr_out, cap_out;
	struct fpt_batch done;		/* discarded, of the first of them */
	struct sim_switch *switching;
	const struct sim_tracker *tracker;
	const struct sim_config *config;
	struct worker *workers;
	unsigned int nr_cpus, spins;
	uint64_t passes, ticks;
	double reporter_ns;
	_Atomic bool started, failed, finished;
	struct trace_error *err;
};

static double now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/*
 * Wait until ready(); false when the run has failed. Spinning is short: the other thread may need
 * this processor.
 */
static bool wait_for(struct worker *w, bool (*ready)(struct worker *w, const void *what),
		     const void *what)
{
	double wall = now_ns(CLOCK_MONOTONIC), cpu;
	bool met = false, failed = false;
	unsigned int i;

	for (i = 0; i < w->run->spins && !met; i++) {
		fpt_pause();
		met = ready(w, what);
	}
	w->waiting_cpu_ns += now_ns(CLOCK_MONOTONIC) - wall;
	if (!met) {
		cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
		while (!met && !failed) {
			sched_yield();
			met = ready(w, what);
			failed = atomic_load(&w->run->failed);
		}
		w->waiting_cpu_ns += now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	}
	w->wait_ns += now_ns(CLOCK_MONOTONIC) - wall;
	return met;
}

static bool dependency_met(struct worker *w, const void *what)
{
	const struct dependency *d = what;

	/* Pairs with the release in work(): what that CPU did to the page comes before. */
	return atomic_load_explicit(&w->run->workers[d->cpu].done, memory_order_acquire) > d->index;
}

static bool page_taken(struct worker *w, const void *what)
{
	const struct scheduled *e = what;

	return guest_take(&w->run->g, guest_page(&w->run->g, e->pfn), e->order);
}

static bool acknowledged(struct worker *w, const void *what)
{
	const struct scheduled *e = what;

	return !fpt_in_flight(&w->run->s.t, e->pfn, e->order);
}

/* The alloc hook, and what it may ask of its caller. False: the run has failed. */
static bool take(struct worker *w, const struct scheduled *e)
{
	struct fpt *t = &w->run->s.t;

	if (fpt_alloc(t, e->pfn, e->order) == FPT_OK)
		return true;
	if (w->run->policy->expedite)
		fpt_expedite(t, e->pfn, e->order);
	return wait_for(w, acknowledged, e);
}

/* All threads begin together, or none does. False: it is called off. */
static bool wait_for_start(struct speed_run *run)
{
	while (!atomic_load(&run->started) && !atomic_load(&run->failed))
		sched_yield();
	return !atomic_load(&run->failed);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct speed_run *run = w->run;
	const struct cpu_schedule *c = &run->schedule->cpu[w->cpu];
	const struct dependency *d = c->dependencies;
	double begin;
	size_t i;

	fpt_virtual_cpu = w->cpu;
	if (!wait_for_start(run))
		return NULL;
	begin = now_ns(CLOCK_THREAD_CPUTIME_ID);
	for (i = 0; i < c->nr_events; i++) {
		const struct scheduled *e = &c->events[i];
		uint64_t page = guest_page(&run->g, e->pfn);
		unsigned int n;

		for (n = e->nr_dependencies; n; n--, d++)
			if (!dependency_met(w, d) && !wait_for(w, dependency_met, d))
				goto out;
		if (e->alloc) {
			if (!page_taken(w, e) && !wait_for(w, page_taken, e))
				goto out;
			if (!e->hidden && !take(w, e))
				goto out;
			guest_own(&run->g, page, e->order);
		} else {
			guest_disown(&run->g, page, e->order);
			if (!e->hidden)
				fpt_free(&run->s.t, e->pfn, e->order);
			guest_give(&run->g, page, e->order);
		}
		atomic_store_explicit(&w->done, i + 1, memory_order_release);
		if (i % 4096 == 0 && atomic_load_explicit(&run->failed, memory_order_relaxed))
			break;
	}
out:
	w->cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - begin - w->waiting_cpu_ns;
	return NULL;
}

static void host_does(struct speed_run *run, const struct fpt_batch *b)
{
	if (host_discard(&run->h, b, run->err))
		atomic_store(&run->failed, true);
}

/* Move range i of a batch to the end of another. */
static void move(struct fpt_batch *to, struct fpt_batch *from, unsigned int i)
{
	to->range[to->nr] = from->range[i];
	to->ticket[to->nr++] = from->ticket[i];
	from->nr--;
	memmove(&from->range[i], &from->range[i + 1], (from->nr - i) * sizeof(from->range[0]));
	memmove(&from->ticket[i], &from->ticket[i + 1], (from->nr - i) * sizeof(from->ticket[0]));
}

/* Of a batch, discarded or not: what somebody waits for. It is acknowledged alone. */
static void expedite_of(struct speed_run *run, struct fpt_batch *b, bool discarded)
{
	struct fpt_batch one = { .nr = 0 };
	unsigned int i;

	for (i = 0; i < b->nr;) {
		if (!fpt_batch_expedited(&run->s.t, b, i)) {
			i++;
			continue;
		}
		move(&one, b, i);
		if (!discarded)
			host_does(run, &one);
		reporting_complete(&run->rep, &one);
	}
}

/* The host discards the oldest batch; between two ranges it looks who waits. */
static void work_off(struct speed_run *run)
{
	struct fpt_batch *b = &run->out[run->first_out], one = { .nr = 0 };
	size_t k;

	if (!run->policy->expedite) {
		host_does(run, b);
		reporting_complete(&run->rep, b);
	}
	while (b->nr) {
		one.nr = 0;
		move(&one, b, 0);
		host_does(run, &one);
		move(&run->done, &one, 0);
		if (!fpt_expedite_due(&run->rep.rep))
			continue;
		expedite_of(run, &run->done, true);
		for (k = run->first_out; k < run->nr_out; k++)
			expedite_of(run, &run->out[k], false);
	}
	reporting_complete(&run->rep, &run->done);
	run->first_out++;
}

static bool get_next(struct speed_run *run)
{
	if (run->nr_out == run->cap_out) {
		size_t cap = 2 * run->cap_out + 1;
		struct fpt_batch *out = realloc(run->out, cap * sizeof(*out));

		if (!out) {
			snprintf(run->err->text, sizeof(run->err->text), "no memory for batches");
			atomic_store(&run->failed, true);
			return false;
		}
		run->out = out;
		run->cap_out = cap;
	}
	if (!reporting_next(&run->rep, &run->out[run->nr_out]))
		return false;
	run->nr_out++;
	return true;
}

static void pass(struct speed_run *run)
{
	double begin = now_ns(CLOCK_THREAD_CPUTIME_ID);

	reporting_begin(&run->rep);
	while (!atomic_load(&run->failed) && get_next(run)) {
		while (run->rep.ops->queues && get_next(run))
			;
		while (run->first_out < run->nr_out)
			work_off(run);
		run->first_out = run->nr_out = 0;
	}
	run->passes++;
	run->reporter_ns += now_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
}

/* Every CPU that has asked, or every one. */
static void collect(struct speed_run *run, bool all)
{
	double begin = now_ns(CLOCK_THREAD_CPUTIME_ID);
	unsigned int cpu;

	for (cpu = 0; cpu < run->s.t.nr_cpus && !atomic_load(&run->failed); cpu++) {
		struct array2019_batch *b = NULL;

		if (all || fpt_array2019_requested(&run->s.t, cpu))
			b = array2019_collect(&run->collector, cpu, 0);
		if (!b)
			continue;
		if (host_discard_ranges(&run->h, b->ranges, b->nr, run->err))
			atomic_store(&run->failed, true);
		array2019_return(&run->collector, cpu);
		run->passes++;
	}
	run->reporter_ns += now_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
}

static void collect_all(void *run)
{
	collect(run, true);
}

/* Switches are spread evenly over the replay. */
static void switch_when_due(struct speed_run *run, uint64_t events)
{
	struct sim_switch *w = run->switching;
	bool there;

	if (!w || w->done == w->times ||
	    events < run->t->nr_events * (w->done + 1) / (w->times + 1))
		return;
	there = w->done % 2 == 0;
	if (setup_switch(&run->s, run->nr_cpus + 1, there ? w->other : run->tracker, run->config,
			 &w->ns[w->done], run->err))
		atomic_store(&run->failed, true);
	w->done++;
}

static uint64_t events_done(struct speed_run *run)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < run->nr_cpus; i++)
		sum += atomic_load_explicit(&run->workers[i].done, memory_order_relaxed);
	return sum;
}

static void *report(void *arg)
{
	static const struct timespec poll = { 0, REPORTER_POLL_NS };
	struct speed_run *run = arg;

	fpt_virtual_cpu = run->nr_cpus;
	if (!wait_for_start(run))
		return NULL;
	while (!atomic_load(&run->finished) && !atomic_load(&run->failed)) {
		uint64_t done = events_done(run), at = done ? run->t->events[done - 1].ns : 0;
		bool later;

		if (run->tracker->collects)
			collect(run, false);
		switch_when_due(run, done);
		if (run->tracker->collects || run->ticks >= at / run->policy->period_ns) {
			nanosleep(&poll, NULL);
			continue;
		}
		run->ticks++;
		if (reporting_due(&run->rep, at, &later))
			pass(run);
	}
	if (run->tracker->collects) {
		collect_all(run);
		return NULL;
	}
	pass(run);
	pass(run);
	return NULL;
}

/* Pages that are free in whole blocks, and that the tracker knows nothing of. */
static uint64_t lost_hints(struct speed_run *run)
{
	uint64_t n = 0, b;

	for (b = 0; b < guest_nr_blocks(&run->g); b++) {
		uint64_t pfn = guest_pfn(&run->g, b << run->g.order), block;
		struct fpt_xbitmap_range *r = fpt_xbitmap_range_of(&run->s.t.back, pfn);

		if (atomic_load(&run->g.block[b]) || !r)
			continue;
		block = (pfn - r->base) >> run->g.order;
		if (!fpt_xbitmap_test_block(r->reported, block) &&
		    !fpt_xbitmap_test_block(r->hinted[0], block))
			n += UINT64_C(1) << run->g.order;
	}
	return n;
}

static int run_threads(struct speed_run *run, bool reporting, struct trace_error *err)
{
	pthread_t reporter;
	unsigned int i;
	int error = 0;

	/* A CPU without events needs no thread. */
	for (i = 0; !error && i < run->nr_cpus; i++) {
		if (!run->schedule->cpu[i].nr_events)
			continue;
		run->workers[i].run = run;
		run->workers[i].cpu = i;
		error = pthread_create(&run->workers[i].thread, NULL, work, &run->workers[i]);
		run->workers[i].started = !error;
	}
	if (!error && reporting)
		error = pthread_create(&reporter, NULL, report, run);
	if (error) {
		snprintf(err->text, sizeof(err->text), "cannot start a thread per CPU (%u): %s",
			 run->nr_cpus, strerror(error));
		atomic_store(&run->failed, true);
	}
	atomic_store(&run->started, true);
	for (i = 0; i < run->nr_cpus; i++)
		if (run->workers[i].started)
			pthread_join(run->workers[i].thread, NULL);
	atomic_store(&run->finished, true);
	if (reporting && !error)
		pthread_join(reporter, NULL);
	return atomic_load(&run->failed) ? -1 : 0;
}

int sim_speed(const struct trace *t, const struct sim_schedule *s,
	      const struct sim_tracker *tracker, const struct sim_config *config, bool touch,
	      struct sim_speed *out, struct trace_error *err)
{
	bool reporting = tracker->reports && !tracker->walks_buddy;
	struct speed_run *run = aligned_alloc(FPT_CACHE_LINE, sizeof(*run) + FPT_CACHE_LINE -
					      sizeof(*run) % FPT_CACHE_LINE);
	struct fpt_stats stats;
	int result = -1;
	unsigned int i;

	memset(out, 0, sizeof(*out));
	if (sim_check(t, tracker, config, err)) {
		free(run);
		return -1;
	}
	if (!run) {
		snprintf(err->text, sizeof(err->text), "no memory for a run");
		return -1;
	}
	memset(run, 0, sizeof(*run));
	run->t = t;
	run->schedule = s;
	run->policy = &config->policy;
	run->config = config;
	run->tracker = tracker;
	run->switching = config->switching;
	if (run->switching)
		run->switching->done = 0;
	run->nr_cpus = t->nr_cpus;
	run->spins =
		t->nr_cpus + reporting <= (unsigned int)sysconf(_SC_NPROCESSORS_ONLN) ? 1024 : 16;
	run->err = err;
	run->h.g = &run->g;
	run->g.fd = -1;
	run->h.how = config->policy.discard;
	run->workers = aligned_alloc(FPT_CACHE_LINE, t->nr_cpus * sizeof(*run->workers));
	if (!run->workers) {
		snprintf(err->text, sizeof(err->text), "no memory for %u threads", t->nr_cpus);
		goto out;
	}
	memset(run->workers, 0, t->nr_cpus * sizeof(*run->workers));
	if (guest_init(&run->g, t, config->order, host_backing(config->policy.discard), touch, err))
		goto out;
	/* One more CPU: the reporter's. */
	if (setup_tracker(&run->s, &run->g, t, t->nr_cpus + 1, tracker, config, err))
		goto out;
	if (reporting_init(&run->rep, &run->s, &run->g, config, err))
		goto out;
	if (tracker->collects) {
		if (array2019_init(&run->collector, &run->rep.rep, err))
			goto out;
		setup_hint(&run->s, t, config->policy.entries, collect_all, run);
		collect_all(run);
		run->passes = 0;
		run->reporter_ns = 0;
	}
	result = run_threads(run, reporting, err);
	if (!result && touch) {
		guest_verify_all(&run->g);
		result = guest_check_residency(&run->g, err);
	}
	out->events = t->nr_events;
	for (i = 0; i < t->nr_cpus; i++) {
		out->cpu_ns += run->workers[i].cpu_ns;
		out->wait_ns += run->workers[i].wait_ns;
	}
	out->reporter_ns = run->reporter_ns;
	out->passes = run->passes;
	out->data_loss = run->g.data_loss;
	fpt_get_stats(&run->s.t, &stats);
	out->dropped = stats.count[FPT_STAT_DROPPED];
	out->lost_hints = reporting && !tracker->collects && !result ? lost_hints(run) : 0;
out:
	array2019_destroy(&run->collector);
	reporting_free(&run->rep);
	free(run->out);
	setup_free(&run->s);
	guest_destroy(&run->g);
	free(run->workers);
	free(run);
	return result;
}
