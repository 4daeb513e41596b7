/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fold.c - what does delta's reporter pay for a fold?
 *
 *	fold/delta/idle				of 2 CPUs, nothing dirty; an event is a fold
 *	fold/delta/resident/dirty_lines:N/words:W	an event is a dirty line, the fence included
 *	fold/delta/remote/dirty_lines:N/words:W	the same, when another CPU wrote the lines
 *
 * N lines of 512 pages have W pages toggled, each in a word of its own: what a fold does to the base
 * grows with the words. Two is what real traces have in a second (tests/traces: 2.0 and 2.3), eight is
 * all of them. Between two rounds the lines are made dirty again, by the same thread or by
 * one on another CPU, after every page's bit was looked at: it must be what the last round made it.
 *
 * By that look the base's lines (64 KiB at most) are in the cache of the CPU that folds, as after a pass
 * that has just looked at them. Where a reporter has done other things since, each costs a miss more;
 * fpt-lines has none of them in its transfers either, as nobody else writes the base.
 */
#include "huge.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>

#include "bench.h"
#include "shim.h"

#define FOLD_LINES (FPT_DELTA_SETS * FPT_DELTA_WAYS)	/* what a CPU's table has by default */
#define FOLD_PAGES (FOLD_LINES * FPT_DELTA_LINE_PAGES)
#define FOLD_IDLE 1024u					/* folds per round */

enum fold_kind { FOLD_IDLE_PASS, FOLD_RESIDENT, FOLD_REMOTE };

struct fold {
	struct huge h;
	enum fold_kind kind;
	unsigned long nr_lines, nr_words;
	bool set;			/* what pages become in this round */
	uint64_t wrong;
	pthread_t writer;		/* remote */
	sem_t go, done;
	bool stop;
};

/* Before threads are pinned: the CPUs that there are. */
static cpu_set_t fold_cpus;

static fpt_pfn_t fold_page(unsigned long line, unsigned long word)
{
	return line * FPT_DELTA_LINE_PAGES + word * FPT_WORD_BITS + line % FPT_WORD_BITS;
}

static void fold_write(struct fold *f)
{
	unsigned long i, w;

	for (i = 0; i < f->nr_lines; i++)
		for (w = 0; w < f->nr_words; w++) {
			if (f->set)
				fpt_delta_free(&f->h.t, fold_page(i, w), 0);
			else
				(void)fpt_delta_alloc(&f->h.t, fold_page(i, w), 0);
		}
}

static void *fold_writer(void *arg)
{
	struct fold *f = arg;

	for (;;) {
		while (sem_wait(&f->go))
			;
		if (f->stop)
			return NULL;
		fold_write(f);
		sem_post(&f->done);
	}
}

static void fold_dirty(struct fold *f)
{
	if (f->kind == FOLD_RESIDENT) {
		fold_write(f);
	} else if (f->kind == FOLD_REMOTE) {
		sem_post(&f->go);
		while (sem_wait(&f->done))
			;
	}
}

/* On a CPU that this thread is not on. */
static bool fold_start(struct fold *f)
{
	cpu_set_t set = fold_cpus;
	pthread_attr_t attr;
	int error;

	CPU_CLR((size_t)sched_getcpu(), &set);
	if (sem_init(&f->go, 0, 0) || sem_init(&f->done, 0, 0) || pthread_attr_init(&attr))
		return false;
	error = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (!error)
		error = pthread_create(&f->writer, &attr, fold_writer, f);
	pthread_attr_destroy(&attr);
	return !error;
}

static void *fold_setup(const struct bench *b, unsigned int nr_threads)
{
	static const struct huge_tracker delta = { "delta", &fpt_delta_ops, FPT_ISOLATE };
	struct fold *f = aligned_alloc(FPT_CACHE_LINE, sizeof(*f));

	(void)nr_threads;
	if (!f)
		return NULL;
	fpt_zero(f, sizeof(*f));
	f->kind = *(const enum fold_kind *)b->what;
	if (b->nr_args) {
		f->nr_lines = (unsigned long)b->arg[0].value;
		f->nr_words = (unsigned long)b->arg[1].value;
	}
	f->set = true;
	if (!huge_init(&f->h, &delta, FOLD_PAGES, f->kind == FOLD_IDLE_PASS ? 2 : huge_cpus()) ||
	    (f->kind == FOLD_REMOTE && !fold_start(f))) {
		huge_destroy(&f->h);
		free(f);
		return NULL;
	}
	fold_dirty(f);
	return f;
}

static void fold_idle(void *instance, struct bench_thread *thread)
{
	struct fold *f = instance;
	unsigned int i;

	for (i = 0; i < FOLD_IDLE; i++)
		fpt_drain(&f->h.t);
	thread->events += FOLD_IDLE;
}

static void fold_run(void *instance, struct bench_thread *thread)
{
	struct fold *f = instance;

	fpt_drain(&f->h.t);
	thread->events += f->nr_lines;
}

static void fold_check(struct fold *f)
{
	unsigned long i, w;

	for (i = 0; i < f->nr_lines; i++)
		for (w = 0; w < f->nr_words; w++)
			f->wrong += fpt_xbitmap_test(&f->h.t.back, fold_page(i, w)) != f->set;
}

static void fold_between(void *instance)
{
	struct fold *f = instance;

	fold_check(f);
	f->set = !f->set;
	fold_dirty(f);
}

static const char *fold_teardown(void *instance, struct bench_result *result)
{
	struct fold *f = instance;
	const char *error = f->wrong ? "a page's bit is not what the fold should have made it" : NULL;
	struct fpt_stats stats;

	(void)result;
	if (f->kind == FOLD_REMOTE) {
		f->stop = true;
		sem_post(&f->go);
		pthread_join(f->writer, NULL);
		sem_destroy(&f->go);
		sem_destroy(&f->done);
	}
	fpt_get_stats(&f->h.t, &stats);
	if (!error && stats.count[FPT_STAT_SLOW])
		error = "events were slow";
	huge_destroy(&f->h);
	free(f);
	return error;
}

void bench_fold(void)
{
	static const enum fold_kind kinds[] = { FOLD_IDLE_PASS, FOLD_RESIDENT, FOLD_REMOTE };
	static const int64_t lines[] = { 1, 64, FOLD_LINES }, words[] = { 2, FPT_DELTA_LINE_WORDS };
	struct bench b = {
		.name = "fold/delta/idle", .what = &kinds[0], .max_threads = 1,
		.setup = fold_setup, .run = fold_idle, .teardown = fold_teardown,
	};
	size_t k, i, w;

	/* Without sections there is nothing to fold: events toggle the base. */
	if (!fpt_sections())
		return;
	CPU_ZERO(&fold_cpus);
	if (sched_getaffinity(0, sizeof(fold_cpus), &fold_cpus))
		return;
	bench_register(&b);
	b.run = fold_run;
	b.between = fold_between;
	b.nr_args = 2;
	for (k = 1; k < HUGE_COUNT(kinds); k++)
		for (i = 0; i < HUGE_COUNT(lines); i++)
			for (w = 0; w < HUGE_COUNT(words); w++) {
				if (kinds[k] == FOLD_REMOTE && CPU_COUNT(&fold_cpus) < 2)
					continue;
				b.name = k == 1 ? "fold/delta/resident" : "fold/delta/remote";
				b.what = &kinds[k];
				b.arg[0] = (struct bench_arg){ "dirty_lines", lines[i] };
				b.arg[1] = (struct bench_arg){ "words", words[w] };
				bench_register(&b);
			}
}
