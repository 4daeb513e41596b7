/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_percpu.c - per-CPU additions in user space: by restartable sections, and without
 *
 * Run as it is, and with glibc's registration switched off (GLIBC_TUNABLES), where the same calls
 * are atomic.
 */
#include <fpt/fpt.h>

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/time.h>
#include <cmocka.h>

#define THREADS 6
#define ADDS 400000ul
#define CPUS 64u

static struct fpt_percpu count[CPUS + 1];
static cpu_set_t allowed;

/* The nth CPU that this process may use; -1: there are not so many. */
static int nth_cpu(unsigned int n)
{
	int cpu;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &allowed) && !n--)
			return cpu;
	return -1;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

static bool has_sections(void)
{
#ifdef FPT_USER_RSEQ
	return __rseq_size != 0;
#else
	return false;
#endif
}

static void test_wrong_cpu(void **state)
{
	unsigned int here = (unsigned int)nth_cpu(0);
	fpt_atomic_t word = { 5 };

	(void)state;
	pin((int)here);
	assert_int_equal(fpt_cpu(here + 1), here);
	assert_true(fpt_percpu_add(here, &word, 3));
	assert_int_equal(fpt_load(&word, relaxed), 8);
	assert_true(fpt_percpu_add(here, &word, -9ul));
	assert_int_equal(fpt_load(&word, relaxed), -1ul);
	/* An id that is not this CPU's, as after a move: a section refuses and writes nothing. */
	assert_int_equal(fpt_percpu_add(here + 1, &word, 1), !has_sections());
	assert_int_equal(fpt_load(&word, relaxed), has_sections() ? -1ul : 0);
	assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
}

/* An id that is beyond the tracker's CPUs shares another's: it counts where anybody may. */
static void test_more_cpus(void **state)
{
	int here = nth_cpu(1);
	struct fpt_config config = { .ops = &fpt_none_ops, .nr_cpus = 1, .order = 3 };
	struct fpt_mem m = { fpt_memory_get(fpt_size(&config)), fpt_size(&config), true };
	void *memory = m.base;
	struct fpt_stats stats;
	struct fpt t;

	(void)state;
	if (here < 1)
		skip();
	assert_int_equal(fpt_init(&t, &config, &m), FPT_OK);
	pin(here);
	fpt_count(&t, fpt_cpu(t.nr_cpus), FPT_STAT_CLAIMED, 7);
	fpt_get_stats(&t, &stats);
	assert_int_equal(stats.count[FPT_STAT_CLAIMED], 7);
	assert_int_equal(fpt_load(&t.percpu[1].count[FPT_STAT_CLAIMED], relaxed),
			 has_sections() ? 7 : 0);
	assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
	fpt_destroy(&t);
	fpt_memory_put(memory, 0);
}

static void add(unsigned int cpu)
{
	if (!fpt_percpu_add(cpu, &count[cpu].count[0], 1))
		fpt_fetch_add(&count[CPUS].count[0], 1, relaxed);
}

static fpt_atomic_t in_handler;

static void handler(int signal)
{
	(void)signal;
	add(fpt_cpu(CPUS));
	fpt_fetch_add(&in_handler, 1, relaxed);
}

static void *adder(void *arg)
{
	unsigned long seed = (unsigned long)(uintptr_t)arg, i, cpu = 0;

	for (i = 0; i < ADDS; i++) {
		if (i % 16 == 0)	/* now and then an id that may be out of date when it is used */
			cpu = fpt_cpu(CPUS);
		add((unsigned int)cpu);
		if (i % 4096 == seed % 4096 && nth_cpu(1) >= 0) {
			cpu_set_t set;

			CPU_ZERO(&set);
			CPU_SET((size_t)nth_cpu((unsigned int)(i / 4096 + seed) % 2), &set);
			(void)sched_setaffinity(0, sizeof(set), &set);
		}
	}
	return NULL;
}

/* Threads that move while they add, and signals that add in their midst: nothing is lost. */
static void test_exact(void **state)
{
	struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART };
	unsigned long sum = 0, i;
	pthread_t thread[THREADS];

	(void)state;
	assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, adder,
						(void *)(uintptr_t)(i * 977)), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	for (i = 0; i <= CPUS; i++)
		sum += fpt_load(&count[i].count[0], relaxed);
	assert_int_equal(sum, THREADS * ADDS + fpt_load(&in_handler, relaxed));
	print_message("%s, %lu signals, %lu of %lu additions not on the CPU that they meant\n",
		      has_sections() ? "restartable sections" : "atomics",
		      fpt_load(&in_handler, relaxed),
		      fpt_load(&count[CPUS].count[0], relaxed), sum);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_cpu),
		cmocka_unit_test(test_more_cpus),
		cmocka_unit_test(test_exact),
	};

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
