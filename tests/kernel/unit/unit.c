// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * unit.c - a unit test as a kernel module: loading it runs it
 *
 * UNIT_SOURCE names the test's source. Kbuild compiles this file once per module. insmod fails with
 * "Input/output error" when a test fails; the kernel's log says which.
 */
#include UNIT_SOURCE

#define UNIT_ALIGN 64UL

static char *FPT_TEST_SEEDS, *FPT_TEST_STEPS, *FPT_TEST_SEED;

module_param(FPT_TEST_SEEDS, charp, 0444);
MODULE_PARM_DESC(FPT_TEST_SEEDS, "Random histories per tracker and order");
module_param(FPT_TEST_STEPS, charp, 0444);
MODULE_PARM_DESC(FPT_TEST_STEPS, "Steps of each");
module_param(FPT_TEST_SEED, charp, 0444);
MODULE_PARM_DESC(FPT_TEST_SEED, "Only this one");

/* Of the test that runs. */
static bool unit_failed, unit_skipped;

const char *unit_getenv(const char *name)
{
	if (!strcmp(name, "FPT_TEST_SEEDS"))
		return FPT_TEST_SEEDS;
	if (!strcmp(name, "FPT_TEST_STEPS"))
		return FPT_TEST_STEPS;
	return strcmp(name, "FPT_TEST_SEED") ? NULL : FPT_TEST_SEED;
}

void *unit_malloc(size_t size)
{
	void *raw, *p;

	cond_resched();
	if (size > SIZE_MAX - UNIT_ALIGN - sizeof(raw))
		return NULL;
	raw = kvzalloc(size + UNIT_ALIGN + sizeof(raw), GFP_KERNEL);
	if (!raw)
		return NULL;
	p = PTR_ALIGN(raw + sizeof(raw), UNIT_ALIGN);
	((void **)p)[-1] = raw;
	return p;
}

void unit_free(void *p)
{
	if (p)
		kvfree(((void **)p)[-1]);
}

void unit_end(bool skipped)
{
	struct unit_thread *self = kthread_data(current);

	if (skipped)
		unit_skipped = true;
	kthread_complete_and_exit(&self->ended, 0);
}

void unit_check(bool x, const char *what, const char *file, int line)
{
	cond_resched();
	if (x)
		return;
	unit_failed = true;
	pr_err("%s:%d: %s\n", file, line, what);
	unit_end(false);
}

static cpu_set_t unit_cpus;		/* empty: any */

/* Of a test's thread, or before there is one of those to come. */
int unit_setaffinity(const cpu_set_t *set)
{
	if (current->flags & PF_KTHREAD)
		return set_cpus_allowed_ptr(current, set);
	cpumask_copy(&unit_cpus, set);
	return 0;
}

static int unit_thread(void *data)
{
	struct unit_thread *self = data;

	if (!cpumask_empty(&unit_cpus))
		set_cpus_allowed_ptr(current, &unit_cpus);
	self->run(self->arg);
	kthread_complete_and_exit(&self->ended, 0);
}

int pthread_create(pthread_t *thread, const void *attributes, void *(*run)(void *), void *arg)
{
	struct unit_thread *self = kzalloc(sizeof(*self), GFP_KERNEL);
	struct task_struct *task;

	if (!self)
		return ENOMEM;
	init_completion(&self->ended);
	self->run = run;
	self->arg = arg;
	task = kthread_run(unit_thread, self, "fpt-unit");
	if (IS_ERR(task)) {
		kfree(self);
		return EAGAIN;
	}
	*thread = self;
	return 0;
}

int pthread_join(pthread_t thread, void **result)
{
	wait_for_completion(&thread->ended);
	kfree(thread);
	return 0;
}

static void *unit_test(void *arg)
{
	const struct CMUnitTest *test = arg;
	void *state = test->initial_state;

	test->test_func(&state);
	return NULL;
}

int unit_run(const char *group, const struct CMUnitTest *tests, size_t n)
{
	unsigned int passed = 0, skipped = 0;
	pthread_t thread;
	size_t i;

	for (i = 0; i < n; i++) {
		unit_failed = unit_skipped = false;
		if (pthread_create(&thread, NULL, unit_test, (void *)&tests[i]))
			return -1;
		pthread_join(thread, NULL);
		if (tests[i].teardown_func)
			tests[i].teardown_func(NULL);
		if (unit_failed)
			pr_err("%s: FAILED: %s\n", KBUILD_MODNAME, tests[i].name);
		else if (unit_skipped)
			skipped++;
		else
			passed++;
	}
	pr_info("%s: %u passed, %u skipped, %zu failed\n", KBUILD_MODNAME, passed, skipped,
		n - passed - skipped);
	return (int)(n - passed - skipped);
}

static int __init unit_init(void)
{
	char *argv[] = { KBUILD_MODNAME, NULL };
	/* The tests' main() takes arguments or none. */
	int (*run)(int argc, char **argv) = (void *)unit_main;

	return run(1, argv) ? -EIO : 0;
}

static void __exit unit_exit(void)
{
}

module_init(unit_init);
module_exit(unit_exit);
MODULE_DESCRIPTION("Unit tests of fpt");
MODULE_LICENSE("Dual BSD/GPL");
