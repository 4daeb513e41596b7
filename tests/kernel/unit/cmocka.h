/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cmocka.h - what the unit tests use of cmocka and of the C library, in a kernel module
 *
 * Included before everything else of a test's source, which itself is unchanged: the standard
 * headers that it includes are empty beside this one. unit.c has the module, and runs each test in
 * a kernel thread of its own, because a failed assertion ends that thread.
 *
 * With FPT_VIRTUAL_CPUS the test says which CPU it is on; the atomic operations, locks and memory
 * are the kernel's in any case.
 */
#ifndef FPT_UNIT_CMOCKA_H
#define FPT_UNIT_CMOCKA_H

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <linux/types.h>

#ifdef FPT_VIRTUAL_CPUS
/* One thread at a time: none needs a CPU of its own. */
#define __thread
extern unsigned int fpt_virtual_cpu;
#undef raw_smp_processor_id
#define raw_smp_processor_id() fpt_virtual_cpu
#endif

#include <fpt/compat/compat.h>

/* The word of an atomic, in user space's name. */
#define v counter

/* Names of tests that the kernel has, too. */
#define add_range unit_add_range
#define complete unit_complete
#define range unit_range

/*
 * cmocka.
 */
struct CMUnitTest {
	const char *name;
	void (*test_func)(void **state);
	int (*setup_func)(void **state);
	int (*teardown_func)(void **state);
	void *initial_state;
};

int unit_run(const char *group, const struct CMUnitTest *tests, size_t n);
void unit_end(bool skipped) __noreturn;
void unit_check(bool x, const char *what, const char *file, int line);

#define cmocka_unit_test(f) { #f, f, NULL, NULL, NULL }
#define cmocka_unit_test_teardown(f, teardown) { #f, f, NULL, teardown, NULL }
#define _cmocka_run_group_tests(group, tests, n, setup, teardown) unit_run(group, tests, n)
#define cmocka_run_group_tests(tests, setup, teardown) unit_run(#tests, tests, ARRAY_SIZE(tests))
#define cmocka_set_test_filter(pattern) ((void)(pattern))

/* Messages come in pieces of a line, too. */
#define print_error(...) ((void)printk(KERN_CONT __VA_ARGS__))
#define print_message(...) ((void)printk(KERN_CONT __VA_ARGS__))

#define UNIT_CHECK(x, what) unit_check(x, what, __FILE__, __LINE__)
#define fail() UNIT_CHECK(false, "fail()")
#define fail_msg(...) \
	do { \
		print_error(__VA_ARGS__); \
		print_error("\n"); \
		fail(); \
	} while (0)
#define skip() unit_end(true)
#define assert_true(x) UNIT_CHECK(!!(x), #x)
#define assert_false(x) UNIT_CHECK(!(x), "not " #x)
#define assert_null(x) UNIT_CHECK(!(x), #x " is NULL")
#define assert_non_null(x) UNIT_CHECK(!!(x), #x " is not NULL")
#define assert_memory_equal(a, b, n) UNIT_CHECK(!memcmp(a, b, n), #a " holds what " #b " holds")
#define assert_ptr_equal(a, b) UNIT_EQUAL(a, b, true)
#define assert_int_equal(a, b) UNIT_EQUAL(a, b, true)
#define assert_int_not_equal(a, b) UNIT_EQUAL(a, b, false)
#define UNIT_EQUAL(a, b, equal) \
	do { \
		unsigned long long unit_a = (unsigned long long)(a); \
		unsigned long long unit_b = (unsigned long long)(b); \
		if ((unit_a == unit_b) != (equal)) \
			print_error("%#llx, %#llx: ", unit_a, unit_b); \
		UNIT_CHECK((unit_a == unit_b) == (equal), #a ", " #b); \
	} while (0)

/*
 * The C library.
 */
void *unit_malloc(size_t size);
void unit_free(void *p);
/* A parameter of the module, of the same name. */
const char *unit_getenv(const char *name);

/* Aligned for everything that tests ask for, and zeroed. */
static inline __maybe_unused void *malloc(size_t size)
{
	return unit_malloc(size);
}

static inline __maybe_unused void *calloc(size_t n, size_t size)
{
	return unit_malloc(n * size);
}

static inline __maybe_unused void *aligned_alloc(size_t align, size_t size)
{
	return align <= 64 ? unit_malloc(size) : NULL;
}

static inline __maybe_unused void free(void *p)
{
	unit_free(p);
}

#define qsort(base, n, size, compare) sort(base, n, size, compare, NULL)
#define getenv unit_getenv
#define strtoul simple_strtoul
#define atoi(s) ((int)simple_strtol(s, NULL, 10))

/*
 * Threads. Nothing but a thread's end is waited for. A test's main() may choose the CPUs that they
 * all run on, and a test the CPU that its thread goes to.
 */
typedef struct cpumask cpu_set_t;

#define CPU_SETSIZE 64
#define CPU_ZERO(set) cpumask_clear(set)
#define CPU_SET(cpu, set) cpumask_set_cpu(cpu, set)
#define CPU_ISSET(cpu, set) cpumask_test_cpu(cpu, set)
#define CPU_COUNT(set) ((int)cpumask_weight(set))
#define sched_yield() cond_resched()
#define sched_getaffinity(pid, size, set) (cpumask_copy(set, cpu_online_mask), 0)
#define sched_setaffinity(pid, size, set) unit_setaffinity(set)

int unit_setaffinity(const cpu_set_t *set);

struct unit_thread {
	struct completion ended;
	void *(*run)(void *arg);
	void *arg;
};

typedef struct unit_thread *pthread_t;

int pthread_create(pthread_t *thread, const void *attributes, void *(*run)(void *), void *arg);
int pthread_join(pthread_t thread, void **result);

#define main unit_main

#endif
