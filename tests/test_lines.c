/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_lines.c - the promises among the counted lines: invariant I6 on every workload of lines_hooks.h
 *
 * And the counting itself: what it says of accesses whose lines are known.
 */
#include "lines_hooks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

void (*fpt_model_hook)(const struct fpt_model_access *access);
unsigned int fpt_model_cpu;
void (*fpt_model_rcu_synchronize)(void);

/* Two lines. */
static struct {
	fpt_atomic_t word[2 * FPT_CACHE_LINE / sizeof(fpt_atomic_t)];
} two __attribute__((aligned(FPT_CACHE_LINE)));

#define FIRST (&two.word[0])
#define FIRST_TOO (&two.word[1])
#define SECOND (&two.word[FPT_CACHE_LINE / sizeof(fpt_atomic_t)])

static void on(unsigned int cpu)
{
	fpt_model_cpu = cpu;
	count_operation();
}

static void test_counting(void **state)
{
	(void)state;
	count_begin();
	/* Nobody wrote it: no transfer. Twice in one operation is one line. */
	on(3);
	(void)fpt_load(FIRST, relaxed);
	fpt_or(FIRST_TOO, 1, relaxed);
	fpt_or(FIRST, 1, relaxed);
	assert_int_equal(counts.read, 1);
	assert_int_equal(counts.written, 1);
	assert_int_equal(counts.others + counts.transfers + counts.invalidations, 0);
	/* Its own line. */
	on(3);
	fpt_store(FIRST, 7, relaxed);
	assert_int_equal(counts.read, 1);
	assert_int_equal(counts.written, 2);
	assert_int_equal(counts.others + counts.transfers + counts.invalidations, 0);
	/* Another CPU looks: it comes over once. */
	on(256);
	(void)fpt_load(FIRST, relaxed);
	on(256);
	(void)fpt_load(FIRST, relaxed);
	assert_int_equal(counts.others, 2);
	assert_int_equal(counts.others_written, 0);
	assert_int_equal(counts.transfers, 1);
	/* It has the line, and the other has it, too. */
	on(256);
	fpt_store(FIRST, 8, relaxed);
	fpt_store(FIRST_TOO, 8, relaxed);
	assert_int_equal(counts.others, 3);
	assert_int_equal(counts.others_written, 1);
	assert_int_equal(counts.shared, 1);
	assert_int_equal(counts.transfers, 1);
	assert_int_equal(counts.invalidations, 1);
	/* Back, and to a third. */
	on(3);
	fpt_or(FIRST, 2, relaxed);
	on(4);
	(void)fpt_load(FIRST, relaxed);
	(void)fpt_load(SECOND, relaxed);
	assert_int_equal(counts.transfers, 3);
	assert_int_equal(counts.invalidations, 1);
	assert_int_equal(counts.others_written, 2);
	count_pause();
	fpt_store(FIRST, 0, relaxed);
	count_go_on();
	on(4);
	(void)fpt_load(FIRST, relaxed);
	assert_int_equal(counts.transfers, 3);
	assert_int_equal(count_end(), 12);
	assert_int_equal(counts.used, 2);
}

/*
 * I6: an uncontended hook of array, bitmap and delta writes no line that another CPU's hook writes,
 * on 256 CPUs and on fewer, whatever the workload.
 */
static void test_promises(void **state)
{
	static const unsigned int nr_cpus[] = { 1, 2, 3, 16, 17, 256 };
	struct lines_result r = { 0 };
	size_t i, n, w;

	(void)state;
	for (i = 0; i < LINES_TRACKERS; i++)
		for (n = 0; n < sizeof(nr_cpus) / sizeof(nr_cpus[0]); n++)
			for (w = 0; w < LINES_WORKLOADS; w++) {
				const struct lines_tracker *t = &lines_trackers[i];
				const char *error = lines_count(t, (enum lines_workload)w,
								nr_cpus[n], &r);

				if (error)
					fail_msg("%s, %s, %u CPUs: %s", t->name,
						 lines_workload_names[w], nr_cpus[n], error);
				/* Something was counted: at least a page's bit or its like. */
				assert_true(r.hooks > 2 * nr_cpus[n] && r.written >= 0.5);
				if (t->is_private && r.others_written > 0)
					fail_msg("%s, %s, %u CPUs: %g lines per hook are others', too",
						 t->name, lines_workload_names[w], nr_cpus[n],
						 r.others_written);
			}
}

/* The same counting finds what does share: or nothing would be said above. */
static void test_what_shares(void **state)
{
	struct lines_result r = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < LINES_TRACKERS; i++) {
		if (lines_trackers[i].is_private)
			continue;
		assert_null(lines_count(&lines_trackers[i], LINES_SAME_BLOCK, 256, &r));
		assert_true(r.others_written >= 0.9 && r.transfers >= 0.9);
		assert_null(lines_count(&lines_trackers[i], LINES_SAME_BLOCK, 1, &r));
		assert_true(r.others_written <= 0 && r.transfers <= 0);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counting),
		cmocka_unit_test(test_promises),
		cmocka_unit_test(test_what_shares),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
