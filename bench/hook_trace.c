/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hook_trace.c - hook/PEER/trace: what do the hooks cost on a real machine's events?
 *
 * A round is a whole recording, as fast as it goes. Its CPUs are spread over the threads. Events
 * of one page keep their order: a thread waits for the events of others that come before its own,
 * and says how far it is where somebody waits. Both are in the loop of all peers alike: subtract
 * hook/none/trace.
 *
 * Every fold_ms of the recording's time thread 0 drains, while the others go on. That, and
 * waiting, is not in ns_event.
 *
 * After a round the pages that it left otherwise than they were are put back, with no clock
 * running. The shares of freed pages that were dropped and of events that were slow are reported,
 * and fail nothing; a page in the wrong state does, where nothing was dropped.
 */
#include "hook.h"
#include "trace/trace.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum replay_what { REPLAY_FREE, REPLAY_ALLOC, REPLAY_WAIT, REPLAY_SAY, REPLAY_FOLD };

struct replay_step {
	uint32_t page;			/* wait, say: so many events are done */
	uint16_t thread;		/* wait: whose */
	uint8_t what;
	uint8_t order;
};

struct replay_stream {
	struct replay_step *step;
	size_t nr;
	size_t nr_events;
	uint8_t *said;			/* per event: somebody waits for it */
};

/* Made once per thread count and fold period, and kept. */
struct replay_plan {
	unsigned int nr_threads;
	uint64_t fold_ns;
	struct replay_stream *stream;
	struct replay_plan *next;
};

struct replay_thread {
	_Atomic uint32_t done __attribute__((aligned(64)));	/* events, as last said */
};

struct replay {
	const struct bench_peer *peer;
	void *instance;
	const struct replay_plan *plan;
	struct replay_thread *thread;
	uint64_t pages;			/* freed and taken up to now */
	uint64_t per_round;
};

/* The recording, when it was loaded. */
static struct {
	const char *path;
	struct trace trace;
	uint64_t nr_pages;
	uint64_t pages;			/* of all events together */
	uint8_t *before, *after;	/* per page: free? */
	unsigned int max_order;
	bool tried, loaded;
	struct replay_plan *plans;
} recording;

static uint64_t replay_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool replay_state(void)
{
	const struct trace *t = &recording.trace;
	size_t i;
	uint64_t k, page;

	recording.nr_pages = trace_extents_total(&t->ranges);
	recording.before = calloc(recording.nr_pages, 1);
	recording.after = malloc(recording.nr_pages);
	if (!recording.before || !recording.after)
		return false;
	for (i = 0; i < t->free_before.nr; i++)
		for (k = 0; k < t->free_before.v[i].nr; k++)
			if (trace_page(t, t->free_before.v[i].pfn + k, &page))
				recording.before[page] = 1;
	memcpy(recording.after, recording.before, recording.nr_pages);
	for (i = 0; i < t->nr_events; i++) {
		const struct trace_event *e = &t->events[i];

		trace_page(t, e->pfn, &page);
		memset(recording.after + page, !e->alloc, UINT64_C(1) << e->order);
		recording.pages += UINT64_C(1) << e->order;
		if (e->order > recording.max_order)
			recording.max_order = e->order;
	}
	return true;
}

static bool replay_load(void)
{
	struct trace_error err = { "" };

	if (recording.tried)
		return recording.loaded;
	recording.tried = true;
	trace_init(&recording.trace);
	if (trace_load(&recording.trace, recording.path, &err) ||
	    trace_normalise(&recording.trace, NULL, &err))
		fprintf(stderr, "fpt-bench: %s: %s\n", recording.path, err.text);
	else if (!recording.trace.nr_events)
		fprintf(stderr, "fpt-bench: %s: no events\n", recording.path);
	else
		recording.loaded = replay_state();
	return recording.loaded;
}

static void replay_add(struct replay_stream *s, bool write, uint32_t page, unsigned int thread,
		       enum replay_what what, unsigned int order)
{
	if (write)
		s->step[s->nr] = (struct replay_step){
			page, (uint16_t)thread, (uint8_t)what, (uint8_t)order,
		};
	s->nr++;
}

/*
 * Goes through the recording: the first time to see who waits for what, the second to count
 * steps, the third to write them. last: per page the last event on it, thread and number (from 1).
 */
static void replay_pass(struct replay_plan *p, unsigned int pass, uint64_t *last, uint32_t *waited)
{
	const struct trace *t = &recording.trace;
	const unsigned int n = p->nr_threads;
	uint64_t fold = p->fold_ns, first, k;
	size_t i;

	memset(last, 0, recording.nr_pages * sizeof(*last));
	memset(waited, 0, (size_t)n * n * sizeof(*waited));
	for (i = 0; i < n; i++)
		p->stream[i].nr = p->stream[i].nr_events = 0;
	for (i = 0; i < t->nr_events; i++) {
		const struct trace_event *e = &t->events[i];
		unsigned int me = e->cpu % n;
		struct replay_stream *s = &p->stream[me];

		for (; e->ns >= fold; fold += p->fold_ns)
			replay_add(&p->stream[0], pass == 2, 0, 0, REPLAY_FOLD, 0);
		trace_page(t, e->pfn, &first);
		s->nr_events++;
		for (k = first; k < first + (UINT64_C(1) << e->order); k++) {
			unsigned int other = (unsigned int)(last[k] >> 32);
			uint32_t event = (uint32_t)last[k], *had = &waited[me * n + other];

			last[k] = (uint64_t)me << 32 | (uint32_t)s->nr_events;
			if (!event || other == me || event <= *had)
				continue;
			*had = event;
			if (!pass)
				p->stream[other].said[event] = 1;
			replay_add(s, pass == 2, event, other, REPLAY_WAIT, 0);
		}
		replay_add(s, pass == 2, (uint32_t)first, 0,
			   e->alloc ? REPLAY_ALLOC : REPLAY_FREE, e->order);
		if (pass && s->said[s->nr_events])
			replay_add(s, pass == 2, (uint32_t)s->nr_events, 0, REPLAY_SAY, 0);
	}
}

static struct replay_plan *replay_plan(unsigned int nr_threads, uint64_t fold_ns)
{
	struct replay_plan *p;
	uint64_t *last = malloc(recording.nr_pages * sizeof(*last));
	uint32_t *waited = malloc((size_t)nr_threads * nr_threads * sizeof(*waited));
	unsigned int i, pass;
	bool ok = last && waited;

	for (p = recording.plans; p; p = p->next) {
		if (p->nr_threads == nr_threads && p->fold_ns == fold_ns) {
			free(last);
			free(waited);
			return p;
		}
	}
	p = bench_memory(sizeof(*p));
	if (p) {
		p->nr_threads = nr_threads;
		p->fold_ns = fold_ns;
		p->stream = bench_memory(nr_threads * sizeof(*p->stream));
		p->next = recording.plans;
		recording.plans = p;
	}
	ok = ok && p && p->stream;
	for (i = 0; ok && i < nr_threads; i++)
		ok = (p->stream[i].said = calloc(recording.trace.nr_events + 1, 1));
	for (pass = 0; ok && pass < 3; pass++) {
		for (i = 0; ok && pass == 2 && i < nr_threads; i++)
			ok = (p->stream[i].step = malloc((p->stream[i].nr + 1) *
							 sizeof(struct replay_step)));
		if (ok)
			replay_pass(p, pass, last, waited);
	}
	free(last);
	free(waited);
	/* Kept even so: without memory nothing goes on anyway. */
	return ok ? p : NULL;
}

/* Until thread has done so many events; returns the time that it took. */
static uint64_t replay_wait(struct replay *r, unsigned int thread, uint32_t events)
{
	uint64_t begin = replay_ns();
	unsigned int spins = 0;

	while (atomic_load_explicit(&r->thread[thread].done, memory_order_acquire) < events)
		if (++spins % 1024 == 0)
			sched_yield();
	return replay_ns() - begin;
}

static void replay_run(void *instance, struct bench_thread *thread)
{
	struct replay *r = instance;
	const struct replay_stream *s = &r->plan->stream[thread->index];
	const struct replay_step *e = s->step, *end = e + s->nr;
	const struct bench_peer *p = r->peer;
	void *const peer = r->instance;
	uint64_t wrong = 0, excluded = 0, begin;

	for (; e < end; e++) {
		switch (e->what) {
		case REPLAY_FREE:
			wrong += p->free(peer, e->page, e->order) != 0;
			break;
		case REPLAY_ALLOC:
			wrong += p->alloc(peer, e->page, e->order) != 0;
			break;
		case REPLAY_WAIT:
			if (atomic_load_explicit(&r->thread[e->thread].done,
						 memory_order_acquire) < e->page)
				excluded += replay_wait(r, e->thread, e->page);
			break;
		case REPLAY_SAY:
			atomic_store_explicit(&r->thread[thread->index].done, e->page,
					      memory_order_release);
			break;
		case REPLAY_FOLD:
			if (!p->drain)
				break;
			begin = replay_ns();
			p->drain(peer);
			excluded += replay_ns() - begin;
			break;
		}
	}
	thread->events += s->nr_events;
	thread->wrong += wrong;
	thread->excluded_ns += excluded;
}

/* As it was before the round. */
static void replay_between(void *instance)
{
	struct replay *r = instance;
	uint64_t page;
	unsigned int i;

	for (page = 0; page < recording.nr_pages; page++) {
		if (recording.before[page] == recording.after[page])
			continue;
		if (recording.before[page])
			r->peer->free(r->instance, page, 0);
		else
			r->peer->alloc(r->instance, page, 0);
		r->pages++;
	}
	r->pages += recording.pages;
	if (r->peer->drain)
		r->peer->drain(r->instance);
	for (i = 0; i < r->plan->nr_threads; i++)
		atomic_store(&r->thread[i].done, 0);
}

static void replay_begin(void *instance, unsigned int thread)
{
	struct replay *r = instance;

	if (r->peer->enter)
		r->peer->enter(r->instance, thread);
}

static void replay_end(void *instance, unsigned int thread)
{
	struct replay *r = instance;

	if (r->peer->leave)
		r->peer->leave(r->instance, thread);
}

static void replay_destroy(struct replay *r)
{
	if (r->instance)
		r->peer->destroy(r->instance);
	free(r->thread);
	free(r);
}

static void *replay_setup(const struct bench *b, unsigned int nr_threads)
{
	struct replay *r = bench_memory(sizeof(*r));
	long nr_cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct bench_peer_setup setup = {
		.nr_threads = nr_threads,
		.threads_per_cpu = bench_threads_per_cpu(nr_threads),
		.nr_cpus = nr_cpus > 0 ? (uint32_t)nr_cpus : 1,
	};
	uint64_t page;

	if (!r)
		return NULL;
	if (replay_load()) {
		setup.nr_pages = recording.nr_pages;
		setup.max_order = recording.max_order;
		r->peer = b->what;
		r->plan = replay_plan(nr_threads, (uint64_t)b->arg[0].value * 1000000);
		r->thread = bench_memory(nr_threads * sizeof(*r->thread));
		if (r->plan && r->thread)
			r->instance = r->peer->create(r->peer, &setup);
	}
	if (!r->instance) {
		replay_destroy(r);
		return NULL;
	}
	replay_begin(r, 0);
	for (page = 0; page < recording.nr_pages; page++) {
		if (recording.before[page]) {
			r->peer->free(r->instance, page, 0);
			r->pages++;
		}
	}
	if (r->peer->drain)
		r->peer->drain(r->instance);
	replay_end(r, 0);
	return r;
}

static const char *replay_check(struct replay *r, struct bench_peer_report *report)
{
	const struct bench_peer *p = r->peer;
	const char *error;
	uint64_t page;

	if (p->drain) {
		p->drain(r->instance);
		p->drain(r->instance);
	}
	error = p->check ? p->check(r->instance, r->pages, report) : NULL;
	if (error || !p->is_free || report->dropped)
		return error;
	for (page = 0; page < recording.nr_pages; page++) {
		int is = p->is_free(r->instance, page);

		if (is != recording.before[page] &&
		    (!is || !(p->flags & (BENCH_PEER_NO_ALLOC | BENCH_PEER_STALE))))
			return "a page did not end as it had to";
	}
	return NULL;
}

static const char *replay_teardown(void *instance, struct bench_result *result)
{
	struct replay *r = instance;
	struct bench_peer_report report = { 0, 0, 0 };
	const char *error = replay_check(r, &report);

	bench_counter(result, "dropped_share", (double)report.dropped / ((double)r->pages / 2));
	if (result->events)
		bench_counter(result, "slow_share", (double)report.slow / (double)result->events);
	replay_destroy(r);
	return error;
}

bool bench_trace(const char *path, bool required)
{
	if (access(path, R_OK) == 0) {
		recording.path = path;
		return true;
	}
	if (required)
		fprintf(stderr, "fpt-bench: --trace %s: cannot read it\n", path);
	return !required;
}

void bench_hook_trace(const struct bench_peer *p)
{
	static const int64_t fold_ms[] = { 100, 1000 };
	unsigned int i;
	char *name;

	if (!recording.path)
		return;
	name = bench_keep(64);
	snprintf(name, 64, "hook/%s/trace", p->name);
	for (i = 0; i < sizeof(fold_ms) / sizeof(fold_ms[0]); i++) {
		struct bench b = {
			.name = name, .what = p, .nr_args = 1,
			.arg = { { "fold_ms", fold_ms[i] } },
			.setup = replay_setup, .begin = replay_begin, .run = replay_run,
			.between = replay_between, .end = replay_end,
			.teardown = replay_teardown,
		};

		bench_register(&b);
	}
}
