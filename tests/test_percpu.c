/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_percpu.c - per CPU in user space: by restartable sections, and without
 *
 * Additions; the sections that array and bitmap are made of; and these two trackers by threads that
 * come, go and are moved, on CPUs that they do not know, in a child, and interrupted again and again.
 *
 * Run as it is, and with glibc's registration switched off (GLIBC_TUNABLES), where the same calls
 * are atomic.
 */

#include "interrupt.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "again.h"

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

static void test_wrong_cpu(void **state)
{
	unsigned int here = (unsigned int)nth_cpu(0);
	fpt_atomic_t word;
	bool done;

	(void)state;
	pin((int)here);
	assert_int_equal(fpt_cpu(here + 1), here);
	AGAIN_UNTIL(done, word.v = 5, done = fpt_percpu_add(here, &word, 3));
	assert_true(done);
	assert_int_equal(fpt_load(&word, relaxed), 8);
	AGAIN_UNTIL(done, word.v = 8, done = fpt_percpu_add(here, &word, -9ul));
	assert_true(done);
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

/* What the sections look at, and what they write when they refuse: nothing. */
static void test_sections(void **state)
{
	unsigned int here = (unsigned int)nth_cpu(0), cpu;
	const unsigned long far = 1ul << 40;	/* above what an instruction can hold */
	fpt_atomic_t e, a, c, slot[2];
	unsigned int wrong;

	(void)state;
	if (has_sections() && !fpt_sections())
		skip();			/* a kernel that cannot fence them: nobody uses them */
	pin((int)here);
	if (!fpt_sections()) {
		e.v = a.v = c.v = slot[1].v = 7;
		slot[0].v = 0;
		assert_false(fpt_section_or(here, &e, 7, &c, 1, &a, 8));
		assert_false(fpt_section_and(here, &e, 7, &c, 1, &a, 8));
		assert_false(fpt_section_replace(here, &e, 7, &c, 1, &a, 7, 8));
		assert_false(fpt_section_append(here, &e, 7, &c, 1, slot, 0, 8));
		assert_int_equal(e.v + a.v + c.v + slot[0].v + slot[1].v, 28);
		assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
		return;
	}
	for (wrong = 0; wrong < 4; wrong++) {
		bool fine = !wrong;
		unsigned long wanted = fine ? FPT_SECTION_DONE : 0, done;

		/* Wrong: the epoch, its upper half, the CPU. */
		e.v = wrong == 1 ? far + 8 : wrong == 2 ? 7 : far + 7;
		cpu = wrong == 3 ? here + 1 : here;
		AGAIN_UNTIL(done == wanted, a.v = 5, c.v = 9,
			    done = fpt_section_or(cpu, &e, far + 7, &c, 1, &a, far + 2));
		assert_int_equal(done, wanted);
		assert_int_equal(a.v, fine ? far + 7 : 5);
		assert_int_equal(c.v, fine ? 10 : 9);
		AGAIN_UNTIL(done == wanted, a.v = far + 7, c.v = 10,
			    done = fpt_section_and(cpu, &e, far + 7, &c, far, &a, far + 14));
		assert_int_equal(done, wanted);
		assert_int_equal(a.v, fine ? far + 6 : far + 7);
		assert_int_equal(c.v, fine ? far + 10 : 10);
		AGAIN_UNTIL(done == wanted, a.v = far + 6, c.v = far,
			    done = fpt_section_replace(cpu, &e, far + 7, &c, 0, &a, far + 6,
						       3 * far));
		assert_int_equal(done, wanted);
		assert_int_equal(a.v, fine ? 3 * far : far + 6);
		assert_int_equal(c.v, far);
		AGAIN_UNTIL(done == wanted, slot[0].v = 0, slot[1].v = 1, c.v = far,
			    done = fpt_section_append(cpu, &e, far + 7, &c, 4, slot, 0, far));
		assert_int_equal(done, wanted);
		assert_int_equal(slot[0].v, fine);
		assert_int_equal(slot[1].v, fine ? far : 1);
		assert_int_equal(c.v, fine ? far + 4 : far);
	}
	/* What each compares besides. */
	e.v = 7;
	a.v = far + 4;
	c.v = slot[1].v = 1;
	slot[0].v = far;
	assert_false(fpt_section_replace(here, &e, 7, &c, 1, &a, 4, 9));
	assert_false(fpt_section_append(here, &e, 7, &c, 1, slot, 0, 9));
	assert_int_equal(a.v, far + 4);
	assert_int_equal(c.v, 1);
	assert_int_equal(slot[0].v, far);
	assert_int_equal(slot[1].v, 1);
	assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
}

#ifdef INTERRUPTS
/*
 * Sections that are interrupted, at each of their points: what they see and write changes meanwhile.
 * One that went on would write all the same.
 */
#define POINTS 8

static void inject_at(int point)
{
	memset(&inject, 0, sizeof(inject));
	inject.a.v = inject.slot[0].v = 6;
	interrupt_at(point);
}

#define INTERRUPTED(point, has, section) \
	AGAIN_UNTIL(inject.signals == (has) && done == wanted_at(point, has), inject_at(point), \
		    done = section)

static void check_done(unsigned long done, int point, bool has)
{
	assert_int_equal(inject.signals, has);
	assert_int_equal(done, wanted_at(point, has));
	assert_int_equal(inject.c.v, (has ? 1000 : 0) + (done ? 7 : 0));
}

static void test_interrupted(void **state)
{
	unsigned int here = (unsigned int)nth_cpu(0);
	unsigned long done, other;
	int point;

	(void)state;
	if (!fpt_sections())
		skip();
	pin((int)here);
	catch(on_trap);
	for (point = 0; point < POINTS; point++) {
		bool has = point != 3;		/* or and and have no point 3 */

		INTERRUPTED(point, has,
			    fpt_section_or(here, &inject.e, 0, &inject.c, 7, &inject.a, 1));
		check_done(done, point, has);
		other = has ? 0xf00 : 0;
		assert_int_equal(inject.a.v, other + 6 + (done == FPT_SECTION_DONE));
		INTERRUPTED(point, has,
			    fpt_section_and(here, &inject.e, 0, &inject.c, 7, &inject.a, ~2ul));
		check_done(done, point, has);
		assert_int_equal(inject.a.v, other + (done == FPT_SECTION_DONE ? 4 : 6));
		INTERRUPTED(point, true, fpt_section_replace(here, &inject.e, 0, &inject.c, 7,
							     &inject.a, 6, 9));
		check_done(done, point, true);
		assert_int_equal(inject.a.v, 0xf00 + (done == FPT_SECTION_DONE ? 9 : 6));
		/* append: interrupted behind the slot, it leaves that, and nr. */
		INTERRUPTED(point, true, fpt_section_append(here, &inject.e, 0, &inject.c, 7,
							    inject.slot, 6, 9));
		check_done(done, point, true);
		assert_int_equal(inject.slot[0].v, 0xf06 + (done == FPT_SECTION_DONE));
		assert_int_equal(inject.slot[7].v, point >= 4 ? 9 : 0);
	}
	/* An addition has point 0 only. */
	AGAIN_UNTIL(inject.signals, inject_at(0), done = fpt_percpu_add(here, &inject.c, 7));
	assert_int_equal(done, 0);
	assert_int_equal(inject.c.v, 1000);
	catch(SIG_DFL);
	assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
}
#endif

/*
 * The trackers that are made of sections.
 */
#define PAGES 4096u

struct tracker {
	struct fpt t;
	void *front, *range;
};

static struct tracker *tracker_new(const struct fpt_ops *ops, unsigned int nr_cpus)
{
	struct fpt_config config = { .ops = ops, .nr_cpus = nr_cpus, .order = 3,
				     .array_entries = PAGES };
	struct tracker *w = aligned_alloc(FPT_CACHE_LINE, sizeof(*w));
	struct fpt_mem m = { NULL, fpt_size(&config), true };

	assert_non_null(w);
	memset(w, 0, sizeof(*w));
	m.base = w->front = fpt_memory_get(m.size);
	assert_int_equal(fpt_init(&w->t, &config, &m), FPT_OK);
	m = (struct fpt_mem){ NULL, fpt_range_size(&w->t, 0, PAGES, true), true };
	m.base = w->range = fpt_memory_get(m.size);
	assert_int_equal(fpt_add_range(&w->t, 0, PAGES, &m), FPT_OK);
	return w;
}

static void tracker_free(struct tracker *w)
{
	fpt_destroy(&w->t);
	fpt_memory_put(w->front, 0);
	fpt_memory_put(w->range, 0);
	free(w);
}

static struct fpt_stats stats_of(struct tracker *w)
{
	struct fpt_stats stats;

	fpt_get_stats(&w->t, &stats);
	return stats;
}

/* After two drains the back has the pages below nr, and no other. */
static bool found(struct tracker *w, unsigned int nr)
{
	unsigned int i;

	fpt_drain(&w->t);
	fpt_drain(&w->t);
	for (i = 0; i < PAGES; i++)
		if (fpt_xbitmap_test(&w->t.back, i) != (i < nr))
			return false;
	return true;
}

/* A CPU that the tracker does not know writes the back, as does one whose thread has no area. */
static void test_unknown_cpu(void **state)
{
	struct tracker *w = tracker_new(*state, 1);
	int here = nth_cpu(1);
	unsigned int i;

	if (here < 1) {
		tracker_free(w);
		skip();
	}
	pin(here);
	for (i = 0; i < 100; i += 2)
		fpt_free(&w->t, i, 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_SLOW], fpt_sections() ? 50 : 0);
	for (i = 0; i < 100; i += 2)
		assert_int_equal(fpt_xbitmap_test(&w->t.back, i), fpt_sections());
	/* Words and leaves at once. */
	fpt_free(&w->t, 0, 7);
	assert_true(found(w, 128));
	assert_int_equal(stats_of(w).count[FPT_STAT_FREED], 50 + 128);
	assert_int_equal(stats_of(w).count[FPT_STAT_DROPPED], 0);
	assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
	tracker_free(w);
}

/* Threads that come, free a few pages, and go, while others drain: nothing is lost. */
#define COMING 64u
#define FREES 16u

static struct {
	struct tracker *w;
	fpt_atomic_t over, drains;
} coming;

static void *comes(void *arg)
{
	unsigned int i, first = (unsigned int)(uintptr_t)arg * FREES;

	for (i = first; i < first + FREES; i++)
		fpt_free(&coming.w->t, i, 0);
	return NULL;
}

static void *mover(void *arg)
{
	(void)arg;
	while (!fpt_load(&coming.over, acquire)) {
		fpt_drain(&coming.w->t);
		fpt_fetch_add(&coming.drains, 1, relaxed);
		fpt_user_sched_yield();
	}
	return NULL;
}

static void test_coming(void **state)
{
	pthread_t thread[COMING], drainer[2];
	unsigned int round, i;

	for (round = 0; round < 20; round++) {
		coming.w = tracker_new(*state, CPUS);
		fpt_store(&coming.over, 0, relaxed);
		for (i = 0; i < 2; i++)
			assert_int_equal(pthread_create(&drainer[i], NULL, mover, NULL), 0);
		for (i = 0; i < COMING; i++)
			assert_int_equal(pthread_create(&thread[i], NULL, comes,
							(void *)(uintptr_t)i), 0);
		for (i = 0; i < COMING; i++)
			pthread_join(thread[i], NULL);
		fpt_store(&coming.over, 1, release);
		for (i = 0; i < 2; i++)
			pthread_join(drainer[i], NULL);
		assert_true(found(coming.w, COMING * FREES));
		assert_int_equal(stats_of(coming.w).count[FPT_STAT_FREED], COMING * FREES);
		tracker_free(coming.w);
	}
}

/* A child's tracker is a copy, and its sections and fence work as the parent's. */
static void test_fork(void **state)
{
	struct tracker *w = tracker_new(*state, CPUS);
	unsigned int i;
	int status;
	pid_t child;

	for (i = 0; i < 100; i++)
		fpt_free(&w->t, i, 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		for (i = 100; i < 200; i++)
			fpt_free(&w->t, i, 0);
		_exit(!found(w, 200));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(found(w, 100));
	tracker_free(w);
}

#ifdef INTERRUPTS
/* Every section of a hook is interrupted, again and again: a hook gives up, and writes the back. */
static unsigned int left, traps;

static void on_trap_again(int number)
{
	(void)number;
	traps++;
	if (!--left)
		interrupt_at(-1);
}

/*
 * Page 1 is freed, and then page, which may be its neighbour, and interrupted so often. Either way
 * each is there once, and counted once.
 */
static void check_bound(const struct fpt_ops *ops, int point, unsigned int page, unsigned int often)
{
	const unsigned int attempts = FPT_ARRAY_ATTEMPTS + 1;
	struct tracker *w = tracker_new(ops, CPUS);
	unsigned int i, slow;

	fpt_free(&w->t, 1, 0);		/* its leaf is there */
	left = often;
	traps = 0;
	interrupt_at(point);
	fpt_free(&w->t, page, 0);
	interrupt_at(-1);
	assert_true(traps <= attempts);
	slow = (unsigned int)stats_of(w).count[FPT_STAT_SLOW];
	assert_int_equal(slow, fpt_xbitmap_test(&w->t.back, page));
	assert_true(!traps || often < 2 * attempts - 1 || slow == 1);
	assert_true(often > 1 || slow == 0);
	assert_int_equal(stats_of(w).count[FPT_STAT_FREED], 2);
	fpt_drain(&w->t);
	fpt_drain(&w->t);
	for (i = 0; i < 8; i++)
		assert_int_equal(fpt_xbitmap_test(&w->t.back, i), i == 1 || i == page);
	/* Freed again and taken, interrupted: counted once, too. */
	fpt_free(&w->t, page, 0);
	left = often;
	interrupt_at(point);
	fpt_alloc(&w->t, page, 0);
	interrupt_at(-1);
	assert_int_equal(stats_of(w).count[FPT_STAT_FREED], 3);
	assert_int_equal(stats_of(w).count[FPT_STAT_ALLOCATED], 1);
	tracker_free(w);
}

static void test_bound(void **state)
{
	unsigned int often, page;
	int point;

	if (!fpt_sections())
		skip();
	catch(on_trap_again);
	/* Point 0 is one of an addition, too, 5 is behind the end. */
	for (point = 1; point < POINTS; point++)
		for (often = 1; point != 5 && often < 2 * (FPT_ARRAY_ATTEMPTS + 1); often++)
			for (page = 0; page < 8; page += 3)
				check_bound(*state, point, page, often);
	catch(SIG_DFL);
}
#endif

#define OF_TRACKERS(test) \
	{ #test ", array", test, NULL, NULL, (void *)(uintptr_t)&fpt_array_ops }, \
	{ #test ", bitmap", test, NULL, NULL, (void *)(uintptr_t)&fpt_bitmap_ops }

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_cpu),
		cmocka_unit_test(test_more_cpus),
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_sections),
		OF_TRACKERS(test_unknown_cpu),
		OF_TRACKERS(test_coming),
		OF_TRACKERS(test_fork),
#ifdef INTERRUPTS
		cmocka_unit_test(test_interrupted),
		OF_TRACKERS(test_bound),
#endif
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
