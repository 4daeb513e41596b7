/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hook.c - what do the hooks cost the allocator? hook/PEER/PATTERN
 *
 * Each thread frees 512 pages, one event each, then takes them again, in an order that no
 * prefetcher guesses. A line is 512 pages: the cache line that holds their bits.
 *
 *	private		every thread in 128 lines of its own
 *	one_line	every thread in one line of its own
 *	same_block	all threads in one line, and in one block of 2 MiB: thread i of n has every
 *			n-th page
 *	random		all threads all over 1024 lines (more with more than 8 threads): their
 *			pages are their own, their lines are not
 *	blocks		every thread in 512 lines of its own, one event per line and round; for
 *			events of different orders (event/...), so that both have the same lines
 *
 *	trace		hook_trace.c
 *
 * In private and random a page comes back after 64 rounds. A page is one thread's for good:
 * hooks are called as tracker.h demands.
 *
 * Fronts are drained between two rounds, with all threads waiting and no clock running: every 64
 * rounds, or as soon as the peer has to be. What draining costs is not measured here.
 */
#include "hook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOOK_LINE 512u			/* pages */
#define HOOK_ROUND (BENCH_PEER_ROUND / 2)	/* pages that a thread frees and takes in a round */
#define HOOK_ROUNDS 64u
#define HOOK_PRIVATE_LINES 128u
#define HOOK_RANDOM_LINES 1024u

static const char *const hook_pattern_names[] = { "private", "one_line", "same_block", "random" };

struct hook_thread {
	uint32_t *page;			/* nr_rounds times nr */
	unsigned int nr;
	unsigned int nr_rounds;
	unsigned int repeat;		/* so that a round is as long with many threads */
	unsigned int at;		/* round */
} __attribute__((aligned(64)));

struct hook {
	const struct bench_peer *peer;
	void *instance;
	unsigned int order;
	unsigned int nr_threads;
	unsigned int drain_every;	/* rounds */
	unsigned int undrained;
	struct hook_thread *thread;
};

struct hook_case {
	const struct bench_peer *peer;
	enum bench_pattern pattern;
	unsigned int order;
	char name[64];
};

void *bench_memory(size_t size)
{
	void *p;

	size = (size + 63) & ~(size_t)63;
	p = aligned_alloc(64, size);
	if (p)
		memset(p, 0, size);
	return p;
}

void *bench_keep(size_t size)
{
	/* Known to those who look for leaks. */
	static struct kept {
		struct kept *next;
		char memory[] __attribute__((aligned(64)));
	} *all;
	struct kept *k = bench_memory(sizeof(*k) + size);

	if (!k)
		abort();
	k->next = all;
	all = k;
	return k->memory;
}

void bench_shuffle(uint32_t *v, uint32_t k, uint32_t nr, uint32_t seed)
{
	uint32_t i;

	for (i = 0; i < k; i++) {
		uint32_t other = i + bench_random(&seed) % (nr - i), had = v[other];

		v[other] = v[i];
		v[i] = had;
	}
}

static void hook_run(void *instance, struct bench_thread *thread)
{
	struct hook *h = instance;
	struct hook_thread *own = &h->thread[thread->index];
	const struct bench_peer *p = h->peer;
	void *const peer = h->instance;
	const unsigned int nr = own->nr, order = h->order;
	const uint32_t *page = own->page + (size_t)own->at * nr;
	unsigned int i, k;
	uint64_t wrong = 0;

	for (k = 0; k < own->repeat; k++) {
		for (i = 0; i < nr; i++)
			wrong += p->free(peer, page[i], order) != 0;
		for (i = 0; i < nr; i++)
			wrong += p->alloc(peer, page[i], order) != 0;
	}
	own->at = own->at + 1 < own->nr_rounds ? own->at + 1 : 0;
	thread->events += 2 * (uint64_t)nr * own->repeat;
	thread->wrong += wrong;
}

static void hook_between(void *instance)
{
	struct hook *h = instance;

	if (!h->peer->drain || ++h->undrained < h->drain_every)
		return;
	h->undrained = 0;
	h->peer->drain(h->instance);
}

/* Lines for n threads; every pattern has them all, so that tables are as large. */
static unsigned int hook_lines(unsigned int n)
{
	unsigned int own = n * HOOK_ROUND;

	_Static_assert(HOOK_ROUND >= HOOK_PRIVATE_LINES, "lines of blocks and of private");
	return own > HOOK_RANDOM_LINES ? own : HOOK_RANDOM_LINES;
}

/* Of which random uses: at least twice the pages that come before one comes back. */
static unsigned int hook_random_lines(unsigned int n)
{
	unsigned int least = 2 * n * HOOK_ROUND * HOOK_ROUNDS / HOOK_LINE;

	return least > HOOK_RANDOM_LINES ? least : HOOK_RANDOM_LINES;
}

/* Page numbers of thread i of n. */
static bool hook_pages(struct hook_thread *own, enum bench_pattern pattern,
		       unsigned int i, unsigned int n)
{
	/* A choice of nr pages: first, first + step, ... */
	uint32_t first = i * HOOK_PRIVATE_LINES * HOOK_LINE, step = 1;
	uint32_t nr = HOOK_PRIVATE_LINES * HOOK_LINE, k;

	own->nr = HOOK_ROUND;
	own->nr_rounds = HOOK_ROUNDS;
	own->repeat = 1;
	switch (pattern) {
	case BENCH_PRIVATE:
		break;
	case BENCH_ONE_LINE:
		nr = HOOK_LINE;
		own->nr_rounds = 1;
		break;
	case BENCH_SAME_BLOCK:
		first = i;
		step = n;
		nr = HOOK_LINE / n;
		own->nr = nr;
		own->nr_rounds = 1;
		own->repeat = n;
		break;
	case BENCH_RANDOM:
		first = i;
		step = n;
		nr = hook_random_lines(n) * HOOK_LINE / n;
		break;
	case BENCH_BLOCKS:
		nr = HOOK_ROUND;
		own->nr_rounds = 1;
		first = i * nr * HOOK_LINE;
		step = HOOK_LINE;
		break;
	}
	if (!nr)
		return false;
	own->page = malloc(nr * sizeof(*own->page));
	if (!own->page)
		return false;
	for (k = 0; k < nr; k++)
		own->page[k] = first + k * step;
	bench_shuffle(own->page, own->nr * own->nr_rounds, nr, 2463534242u + i);
	return true;
}

static void hook_destroy(struct hook *h)
{
	unsigned int i;

	for (i = 0; h->thread && i < h->nr_threads; i++)
		free(h->thread[i].page);
	if (h->instance)
		h->peer->destroy(h->instance);
	free(h->thread);
	free(h);
}

static void *hook_setup(const struct bench *b, unsigned int nr_threads)
{
	const struct hook_case *c = b->what;
	struct hook *h = bench_memory(sizeof(*h));
	long nr_cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct bench_peer_setup setup = {
		.nr_pages = (uint64_t)hook_lines(nr_threads) * HOOK_LINE,
		.nr_threads = nr_threads,
		.threads_per_cpu = bench_threads_per_cpu(nr_threads),
		.nr_cpus = nr_cpus > 0 ? (uint32_t)nr_cpus : 1,
		.max_order = c->order,
	};
	unsigned int i;
	bool ok;

	if (!h)
		return NULL;
	h->peer = c->peer;
	h->nr_threads = nr_threads;
	h->order = c->order;
	h->drain_every = c->peer->max_undrained ? c->peer->max_undrained / (2 * HOOK_ROUND)
						: HOOK_ROUNDS;
	h->thread = bench_memory(nr_threads * sizeof(*h->thread));
	ok = h->thread && (h->instance = c->peer->create(c->peer, &setup));
	for (i = 0; ok && i < nr_threads; i++)
		ok = hook_pages(&h->thread[i], c->pattern, i, nr_threads);
	if (ok)
		return h;
	hook_destroy(h);
	return NULL;
}

static void hook_begin(void *instance, unsigned int thread)
{
	struct hook *h = instance;

	if (h->peer->enter)
		h->peer->enter(h->instance, thread);
}

static void hook_end(void *instance, unsigned int thread)
{
	struct hook *h = instance;

	if (h->peer->leave)
		h->peer->leave(h->instance, thread);
}

/* Are the first and the last page of an event so? */
static bool hook_is(struct hook *h, uint64_t page, int after)
{
	uint64_t last = page + (UINT64_C(1) << h->order) - 1;

	return h->peer->is_free(h->instance, page) == after &&
	       h->peer->is_free(h->instance, last) == after;
}

/* Nothing was dropped or slow, and every page ended as it had to. */
static const char *hook_check(struct hook *h, uint64_t events)
{
	const struct bench_peer *p = h->peer;
	int after = p->flags & BENCH_PEER_NO_ALLOC ? 1 : 0;
	struct bench_peer_report report = { 0, 0, 0 };
	const char *error;
	unsigned int i, k;

	if (p->drain) {
		p->drain(h->instance);
		p->drain(h->instance);
	}
	/* At least one round was run. */
	for (i = 0; p->is_free && i < h->nr_threads; i++)
		for (k = 0; k < h->thread[i].nr; k++)
			if (!hook_is(h, h->thread[i].page[k], after))
				return "a page did not end as it had to";
	error = p->check ? p->check(h->instance, events << h->order, &report) : NULL;
	if (!error && (report.dropped || report.slow))
		error = "events were dropped or slow";
	return error;
}

static const char *hook_teardown(void *instance, struct bench_result *result)
{
	struct hook *h = instance;
	const char *error = hook_check(h, result->events);

	hook_destroy(h);
	return error;
}

void bench_hook_as(const char *name, const struct bench_peer *p, enum bench_pattern pattern,
		   unsigned int order)
{
	struct hook_case *c = bench_keep(sizeof(*c));
	struct bench b = {
		.what = c, .setup = hook_setup, .begin = hook_begin, .run = hook_run,
		.end = hook_end, .between = p->drain ? hook_between : NULL,
		.teardown = hook_teardown,
	};

	c->peer = p;
	c->pattern = pattern;
	c->order = order;
	snprintf(c->name, sizeof(c->name), "%s", name);
	b.name = c->name;
	bench_register(&b);
}

static struct {
	unsigned int nr;
	const char *name[64];
} hook_known;

bool bench_hook_known(const char *name)
{
	unsigned int i;

	for (i = 0; i < hook_known.nr; i++)
		if (!strcmp(hook_known.name[i], name))
			return true;
	return false;
}

void bench_hook(const struct bench_peer *p)
{
	char name[64];
	unsigned int k;

	if (hook_known.nr < sizeof(hook_known.name) / sizeof(hook_known.name[0]))
		hook_known.name[hook_known.nr++] = p->name;
	for (k = 0; k < sizeof(hook_pattern_names) / sizeof(hook_pattern_names[0]); k++) {
		snprintf(name, sizeof(name), "hook/%s/%s", p->name, hook_pattern_names[k]);
		bench_hook_as(name, p, (enum bench_pattern)k, 0);
	}
	bench_hook_trace(p);
}
