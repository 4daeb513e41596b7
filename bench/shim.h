/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * shim.h - benchmarks in C over Google Benchmark
 *
 * A benchmark is a struct bench. For each thread count and each measurement there is one instance
 * of its own:
 *
 *	setup		one thread, before all others
 *	begin		every thread, before its first round; NULL: nothing
 *	run		every thread, any number of rounds at once; only this is timed
 *	between		one thread, while all others wait, after every round; NULL: they run freely
 *	end		every thread, after its last round; NULL: nothing
 *	teardown	one thread, after all others: checks and counters
 *
 * Thread i is pinned to the i-th CPU that the process may use. Threads run at a real-time
 * priority where that is permitted; the context of the output says whether. Counts above the
 * number of CPUs are run only when asked for, then at normal priority, so that the threads of one
 * CPU take turns, and with the label and the counter "oversubscribed". The first round of every
 * thread is not timed (page faults, cold caches).
 *
 * The result is the counter ns_event: of the thread that took longest, its wall time divided by
 * its events. Google Benchmark's own columns are per round, not per event, and its wall time is
 * divided by the number of threads.
 */
#ifndef BENCH_SHIM_H
#define BENCH_SHIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_MAX_ARGS 4
#define BENCH_MAX_COUNTERS 8

struct bench_thread {
	unsigned int index;		/* below nr */
	unsigned int nr;
	uint64_t events;		/* run adds what it did, ... */
	uint64_t wrong;			/* ... how many results were not what they had to be */
	uint64_t excluded_ns;		/* ... and what of its time does not count */
};

struct bench_result {
	uint64_t events;		/* of all threads, those not timed included */
	unsigned int nr_counters;
	struct {
		const char *name;
		double value;
	} counter[BENCH_MAX_COUNTERS];
};

struct bench_arg {
	const char *name;		/* of a string constant */
	int64_t value;
};

struct bench {
	const char *name;		/* arguments and "threads:N" are appended */
	const void *what;		/* for the callbacks */
	unsigned int nr_args;
	struct bench_arg arg[BENCH_MAX_ARGS];
	unsigned int max_threads;	/* 0: as many as there are CPUs */
	/* NULL: it cannot be run, and that is an error. */
	void *(*setup)(const struct bench *b, unsigned int nr_threads);
	void (*begin)(void *instance, unsigned int thread);
	void (*run)(void *instance, struct bench_thread *thread);
	void (*between)(void *instance);
	void (*end)(void *instance, unsigned int thread);
	/* NULL, or what is wrong. Frees the instance in either case. */
	const char *(*teardown)(void *instance, struct bench_result *result);
};

/* Before anything is registered. Threads up to factor times the CPUs, too: 2, 4, ... times. */
void bench_oversubscribe(unsigned int factor);

/* Before bench_main(). Never a real-time priority. */
void bench_normal_priority(void);

/* Before bench_main(). A line of the output's context. */
void bench_context(const char *key, const char *value);

/* At most so many of the threads are on one CPU. */
unsigned int bench_threads_per_cpu(unsigned int nr_threads);

/* Registers b once per thread count: 1, 2, 4, ..., all CPUs. Copied, but for strings. */
void bench_register(const struct bench *b);

/* In teardown: report a number of one's own beside ns_event. */
void bench_counter(struct bench_result *result, const char *name, double value);

/* For main(): runs what is registered and asked for; 1 when a benchmark failed. */
int bench_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
