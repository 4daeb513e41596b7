/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * push.c - push/...: what all of them share, push/array, and push/section
 */
#include <fpt/fpt.h>

#include <unistd.h>

#include "bench.h"
#include "push.h"

struct push_thread {
	uint32_t *page;
	unsigned int at;		/* round */
} __attribute__((aligned(64)));

struct push {
	const struct push_peer *peer;
	void *instance;
	unsigned int nr_threads;
	bool wrong;
	struct push_thread *thread;
	const uint32_t **pushed;	/* per thread: in this round; then NULL */
};

static void push_run(void *instance, struct bench_thread *thread)
{
	struct push *x = instance;
	struct push_thread *own = &x->thread[thread->index];
	const struct push_peer *p = x->peer;
	void *const peer = x->instance;
	const uint32_t *page = own->page + (size_t)own->at * PUSH_ROUND;
	unsigned int i;
	uint64_t wrong = 0;

	for (i = 0; i < PUSH_ROUND; i++)
		wrong += !p->push(peer, thread->index, page[i]);
	thread->events += PUSH_ROUND;
	thread->wrong += wrong;
}

static void push_between(void *instance)
{
	struct push *x = instance;
	uint64_t sum = 0, wanted = 0, nr;
	unsigned int i, k;

	for (i = 0; i < x->nr_threads; i++) {
		struct push_thread *own = &x->thread[i];

		x->pushed[i] = own->page + (size_t)own->at * PUSH_ROUND;
		for (k = 0; k < PUSH_ROUND; k++)
			wanted += x->pushed[i][k];
		own->at = (own->at + 1) % PUSH_ROUNDS;
	}
	nr = x->peer->take(x->instance, x->pushed, &sum);
	if (nr != (uint64_t)x->nr_threads * PUSH_ROUND || sum != wanted)
		x->wrong = true;
}

static void push_free(struct push *x)
{
	unsigned int i;

	for (i = 0; x->thread && i < x->nr_threads; i++)
		free(x->thread[i].page);
	free(x->thread);
	free(x->pushed);
	if (x->instance)
		x->peer->destroy(x->instance);
	free(x);
}

static void *push_setup(const struct bench *b, unsigned int nr_threads)
{
	struct push *x = bench_memory(sizeof(*x));
	uint32_t nr = PUSH_ROUND * PUSH_ROUNDS, i, k;
	bool ok;

	if (!x)
		return NULL;
	x->peer = b->what;
	x->nr_threads = nr_threads;
	x->thread = bench_memory(nr_threads * sizeof(*x->thread));
	x->pushed = bench_memory((nr_threads + 1) * sizeof(*x->pushed));
	ok = x->thread && x->pushed && (x->instance = x->peer->create(nr_threads));
	for (i = 0; ok && i < nr_threads; i++) {
		ok = (x->thread[i].page = malloc(nr * sizeof(uint32_t)));
		if (!ok)
			break;
		for (k = 0; k < nr; k++)
			x->thread[i].page[k] = i * nr + k;
		bench_shuffle(x->thread[i].page, nr, nr, 2463534242u + i);
	}
	if (ok)
		return x;
	push_free(x);
	return NULL;
}

static const char *push_teardown(void *instance, struct bench_result *result)
{
	struct push *x = instance;
	bool wrong = x->wrong;

	(void)result;
	push_free(x);
	return wrong ? "what was taken out is not what was pushed" : NULL;
}

void bench_push(const struct push_peer *p)
{
	struct bench b = {
		.name = p->name, .what = p, .setup = push_setup, .run = push_run,
		.between = push_between, .teardown = push_teardown,
	};

	bench_register(&b);
}

/* The tracker's hook: an entry per page, because no two in a row are neighbours. */
struct push_array {
	struct fpt t;
	void *front, *range;
	unsigned int nr_threads;
	uint64_t freed;
};

static void push_array_destroy(void *instance)
{
	struct push_array *a = instance;

	fpt_memory_put(a->front, 0);
	fpt_memory_put(a->range, 0);
	free(a);
}

static void *push_array_create(unsigned int nr_threads)
{
	struct push_array *a = bench_memory(sizeof(*a));
	long nr_cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct fpt_config config = {
		.ops = &fpt_array_ops, .order = 9,
		.array_entries = FPT_ARRAY_ENTRIES * bench_threads_per_cpu(nr_threads),
		.nr_cpus = nr_cpus > 0 ? (unsigned int)nr_cpus : 1,
	};
	size_t size = fpt_size(&config);
	uint64_t nr_pages;
	struct fpt_mem m;

	if (!a)
		return NULL;
	nr_pages = (uint64_t)nr_threads * PUSH_ROUND * PUSH_ROUNDS;
	a->nr_threads = nr_threads;
	a->front = fpt_memory_get(size);
	m = (struct fpt_mem){ a->front, size, true };
	if (a->front && fpt_init(&a->t, &config, &m) == FPT_OK) {
		size = fpt_range_size(&a->t, 0, nr_pages, true);
		a->range = fpt_memory_get(size);
		m = (struct fpt_mem){ a->range, size, true };
		if (a->range && fpt_add_range(&a->t, 0, nr_pages, &m) == FPT_OK)
			return a;
	}
	push_array_destroy(a);
	return NULL;
}

static bool push_array_push(void *instance, unsigned int thread, uint32_t page)
{
	struct push_array *a = instance;

	(void)thread;
	fpt_array_free(&a->t, page, 0);
	return true;
}

static uint64_t push_array_take(void *instance, const uint32_t *const *page, uint64_t *sum)
{
	struct push_array *a = instance;
	struct fpt_stats stats;
	unsigned int i, k;
	uint64_t nr = 0;

	fpt_drain(&a->t);
	fpt_drain(&a->t);
	for (i = 0; i < a->nr_threads; i++) {
		for (k = 0; k < PUSH_ROUND; k++) {
			if (!fpt_xbitmap_test(&a->t.back, page[i][k]))
				continue;
			nr++;
			*sum += page[i][k];
			fpt_xbitmap_alloc(&a->t, page[i][k], 0);
		}
	}
	fpt_get_stats(&a->t, &stats);
	a->freed += nr;
	/* Nothing dropped or slow, and stats are on. */
	if (stats.count[FPT_STAT_DROPPED] || stats.count[FPT_STAT_SLOW] ||
	    stats.count[FPT_STAT_FREED] != a->freed)
		return 0;
	return nr;
}

static const struct push_peer push_array = {
	"push/array", push_array_create, push_array_push, push_array_take, push_array_destroy,
};

#if defined(FPT_USER_RSEQ) && !defined(FPT_VIRTUAL_CPUS)
#define PUSH_SECTION
/* The section of the array's append and nothing else: no range, no neighbours, room for all. */
struct push_section {
	fpt_atomic_t epoch __attribute__((aligned(64)));
	fpt_atomic_t count __attribute__((aligned(64)));
	fpt_atomic_t slot[1 + PUSH_ROUND];	/* how many, then they */
};

static void *push_section_create(unsigned int nr_threads)
{
	return fpt_sections() ? bench_memory(nr_threads * sizeof(struct push_section)) : NULL;
}

static bool push_section_push(void *instance, unsigned int thread, uint32_t page)
{
	struct push_section *s = (struct push_section *)instance + thread;
	unsigned long done, n = 1;

	do {
		done = fpt_section_append(fpt_section_cpu(), &s->epoch, 0, &s->count, n, s->slot,
					  fpt_load(&s->slot[0], relaxed), page);
		if (done)
			n = 0;
	} while (done != FPT_SECTION_DONE);
	return true;
}

static uint64_t push_section_take(void *instance, const uint32_t *const *page, uint64_t *sum)
{
	struct push_section *s = instance;
	uint64_t nr = 0, i;

	for (; *page; page++, s++) {
		if (fpt_load(&s->count, relaxed) != fpt_load(&s->slot[0], relaxed))
			return 0;
		for (i = 1; i <= fpt_load(&s->slot[0], relaxed); i++, nr++)
			*sum += fpt_load(&s->slot[i], relaxed);
		fpt_store(&s->count, 0, relaxed);
		fpt_store(&s->slot[0], 0, relaxed);
	}
	return nr;
}

static const struct push_peer push_section = {
	"push/section", push_section_create, push_section_push, push_section_take, free,
};
#endif

void bench_pushes(void)
{
	bench_push(&push_array);
#ifdef PUSH_SECTION
	bench_push(&push_section);
#endif
}
