/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * explore.h - run the threads of a test in every order, over the model backend
 *
 * Every access that the model backend announces is a scheduling point: there the explorer may let
 * another thread go on. It runs the test again and again, depth first over all choices, so that
 * each run has its own order of accesses. Threads are contexts of one operating-system thread; a
 * failing run is named by its choices and can be repeated.
 *
 *	bound >= 0	at most so many preemptions per run: switches from a thread that could go
 *			on
 *	bound < 0	exhaustive: every order of accesses that conflict. Orders that differ only
 *			in accesses to different words, or in loads, are run once (sleep sets).
 *			Sections conflict with fences and with whatever is done on their CPU.
 *			Therefore what a test looks at while threads run has to be accessed with the
 *			primitives, too, or together with an access that all who look share.
 *
 * Sequentially consistent bugs only. To be included first, by one source file: the test.
 *
 * A test of many scenarios has a "struct scenario" of its own, and a function that explores one. The
 * rest is the same for all, at the end: names, bounds, stopped threads, the program.
 */
#ifndef FPT_TESTS_EXPLORE_H
#define FPT_TESTS_EXPLORE_H

#undef _FORTIFY_SOURCE	/* its longjmp takes a jump to another stack for a mistake */

#include <fpt/compat/compat.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
#include <cmocka.h>

/* Switching with swapcontext() enters the kernel, but it is what AddressSanitizer understands. */
#if defined(__SANITIZE_ADDRESS__)
#define EXPLORE_SWAPCONTEXT
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EXPLORE_SWAPCONTEXT
#endif
#endif

#define EXPLORE_MAX_THREADS 4
#define EXPLORE_MAX_STEPS 4000		/* per run; more is a loop that does not end */
#define EXPLORE_MAX_PRIVATE 4
#define EXPLORE_STACK (64 * 1024)

enum explore_failure { EXPLORE_FINE, EXPLORE_WRONG, EXPLORE_STUCK };

struct explore {
	const char *name;
	unsigned int nr_threads;
	unsigned int cpu[EXPLORE_MAX_THREADS];
	void (*setup)(void *arg);	/* the same state every time */
	void (*thread)(void *arg, unsigned int id);
	void (*check)(void *arg);	/* when all have returned but for a frozen one */
	void *arg;
	int bound;
	unsigned int freeze;		/* thread 0 takes so many steps and never another; 0: all */
	bool quiet;			/* a failure is what the caller waits for */
	/* Accesses there are no scheduling points: only one thread writes there, or none. */
	struct { const char *first, *end; } quiet_memory[EXPLORE_MAX_PRIVATE];
	/* results */
	unsigned long runs;		/* complete ones */
	unsigned long cut;		/* not completed: each way on repeats an earlier run */
	unsigned long steps;
	bool froze;			/* in some run thread 0 did not get to its end */
	enum explore_failure failure;
	char message[200];
};

struct explore_context {
	ucontext_t uc;
	jmp_buf at;
};

struct explore_thread {
	struct explore_context context;
	jmp_buf start;
	struct fpt_model_access next;	/* announced, not done */
	unsigned int steps;
	bool created, begun, done, waiting;
	char stack[EXPLORE_STACK] __attribute__((aligned(16)));
};

struct explore_choice {
	unsigned char option[EXPLORE_MAX_THREADS];
	unsigned char nr, taken;
};

static struct {
	struct explore *e;
	const char *replay;		/* choices to follow, printing each step */
	struct explore_context home;
	bool at_home;
	unsigned int now;		/* the running thread; nr_threads: none */
	unsigned int depth;		/* choices of this run */
	unsigned int recorded;		/* of them repeated from the run before */
	unsigned int preemptions;
	unsigned char asleep;		/* threads whose next access another run tried first */
	bool complete;
	struct explore_choice choice[EXPLORE_MAX_STEPS];
	struct explore_thread thread[EXPLORE_MAX_THREADS];
} explorer;

static struct {
	unsigned long runs, cut;	/* of all explorations */
} explore_total;

static void explore_print_choices(void)
{
	unsigned int i;

	fprintf(stderr, "repeat with FPT_EXPLORE_REPLAY='%s=", explorer.e->name);
	for (i = 0; i < explorer.depth; i++)
		fputc('0' + explorer.choice[i].option[explorer.choice[i].taken], stderr);
	fprintf(stderr, "'\n");
}

/* An assertion failed in a run. */
static void explore_on_abort(int number)
{
	(void)number;
	if (explorer.e)
		explore_print_choices();
	_exit(1);
}

static void explore_switch(struct explore_context *from, struct explore_context *to)
{
	explorer.at_home = to == &explorer.home;
#ifdef EXPLORE_SWAPCONTEXT
	swapcontext(&from->uc, &to->uc);
#else
	if (!_setjmp(from->at))
		_longjmp(to->at, 1);
#endif
}

static void explore_go_home(void)
{
	explore_switch(&explorer.thread[explorer.now].context, &explorer.home);
}

/* From a thread or from check(): the exploration ends here. */
__attribute__((format(printf, 2, 3)))
static void explore_fail(enum explore_failure kind, const char *format, ...)
{
	struct explore *e = explorer.e;
	va_list args;

	if (!e) {		/* before the exploration: what a test begins with is wrong */
		va_start(args, format);
		vfprintf(stderr, format, args);
		va_end(args);
		abort();
	}
	if (!e->failure) {
		e->failure = kind;
		va_start(args, format);
		vsnprintf(e->message, sizeof(e->message), format, args);
		va_end(args);
		if (!e->quiet) {
			fprintf(stderr, "%s: %s (run %lu)\n", e->name, e->message, e->runs);
			explore_print_choices();
		}
	}
	if (!explorer.at_home)
		explore_go_home();
}

/* Would a thread's next access make another's a different one, or the other way round? */
static bool explore_conflict(unsigned int id, unsigned int other)
{
	const struct fpt_model_access *a = &explorer.thread[id].next;
	const struct fpt_model_access *b = &explorer.thread[other].next;

	/* A section is interrupted by a fence, and by any step of another thread on its CPU. */
	if ((a->section || b->section) &&
	    (explorer.e->cpu[id] == explorer.e->cpu[other] ||
	     a->address == &fpt_model_fences || b->address == &fpt_model_fences))
		return true;
	return a->address == b->address &&
	       !(a->kind == FPT_MODEL_LOAD && b->kind == FPT_MODEL_LOAD);
}

static bool explore_can_run(unsigned int id)
{
	const struct explore_thread *t = &explorer.thread[id];

	return !t->done && !t->waiting &&
	       !(id == 0 && explorer.e->freeze && t->steps >= explorer.e->freeze);
}

/* What may go on from here; the running thread first, so that a first run has no preemptions. */
static void explore_options(struct explore_choice *c, bool running)
{
	struct explore *e = explorer.e;
	unsigned int i, id;

	c->nr = 0;
	for (i = 0; i <= e->nr_threads; i++) {
		id = i ? i - 1 : explorer.now;
		if (i ? id == explorer.now || !explore_can_run(id) : !running)
			continue;
		if (e->bound < 0 && explorer.asleep >> id & 1)
			continue;
		if (i && running && e->bound >= 0 && explorer.preemptions >= (unsigned int)e->bound)
			continue;
		c->option[c->nr++] = (unsigned char)id;
	}
	if (explorer.replay && *explorer.replay) {
		c->option[0] = (unsigned char)(*explorer.replay++ - '0');
		c->nr = 1;
	}
}

static void explore_show(unsigned int id, const struct fpt_model_access *a)
{
	static const char *const kind[] = { "load", "store", "rmw", "cpu", "pause" };
	const char *slash = strrchr(a->file, '/');

	fprintf(stderr, "  thread %u: %-5s %p %s:%d\n", id, kind[a->kind], a->address,
		slash ? slash + 1 : a->file, a->line);
}

/* Decide who takes the next step. False: the run is over. */
static bool explore_pick(unsigned int *picked)
{
	struct explore *e = explorer.e;
	struct explore_choice *c = &explorer.choice[explorer.depth];
	bool running = explorer.now < e->nr_threads && explore_can_run(explorer.now), stuck = false;
	unsigned int id, i;
	unsigned char asleep = 0;

	for (id = 0; id < e->nr_threads && !explore_can_run(id); id++)
		stuck |= explorer.thread[id].waiting;
	if (id == e->nr_threads) {
		explorer.complete = !stuck;
		if (stuck)
			explore_fail(EXPLORE_STUCK, "all threads wait");
		return false;
	}
	if (explorer.depth == EXPLORE_MAX_STEPS) {
		explore_fail(EXPLORE_STUCK, "more than %d steps", EXPLORE_MAX_STEPS);
		return false;
	}
	if (explorer.depth >= explorer.recorded) {
		explore_options(c, running);
		c->taken = 0;
		if (!c->nr)
			return false;
	}
	id = c->option[c->taken];
	if (!explore_can_run(id)) {
		explore_fail(EXPLORE_WRONG, "the same choices led elsewhere: not deterministic");
		return false;
	}
	if (e->bound < 0) {
		asleep = explorer.asleep;
		for (i = 0; i < c->taken; i++)
			asleep |= (unsigned char)(1u << c->option[i]);
		for (i = 0; i < e->nr_threads; i++)
			if (explore_conflict(i, id))
				asleep &= (unsigned char)~(1u << i);
	}
	explorer.asleep = asleep;
	explorer.preemptions += running && id != explorer.now;
	explorer.depth++;
	e->steps++;
	if (explorer.replay)
		explore_show(id, &explorer.thread[id].next);
	explorer.thread[id].steps++;
	/* Two that wait do not wake each other. */
	if (explorer.thread[id].next.kind == FPT_MODEL_STORE ||
	    explorer.thread[id].next.kind == FPT_MODEL_RMW)
		for (i = 0; i < e->nr_threads; i++)
			explorer.thread[i].waiting = false;
	*picked = id;
	return true;
}

/* On the stack of the running thread, which has announced its next access or is done. */
static void explore_next(void)
{
	unsigned int before = explorer.now, next;

	if (!explore_pick(&next)) {
		explore_go_home();
		return;
	}
	if (next == before)
		return;
	explorer.now = next;
	fpt_model_cpu = explorer.e->cpu[next];
	explore_switch(&explorer.thread[before].context, &explorer.thread[next].context);
}

static void explore_access(const struct fpt_model_access *a)
{
	struct explore_thread *t = &explorer.thread[explorer.now];
	const struct explore *e = explorer.e;
	unsigned int i;

	if (a->kind == FPT_MODEL_CPU)
		return;
	for (i = 0; i < EXPLORE_MAX_PRIVATE && e->quiet_memory[i].end; i++)
		if ((const char *)a->address >= e->quiet_memory[i].first &&
		    (const char *)a->address < e->quiet_memory[i].end)
			return;
	t->next = *a;
	/* A wait goes on when another thread has written something. */
	if (a->kind == FPT_MODEL_PAUSE) {
		t->waiting = true;
		if (e->bound < 0)
			explore_fail(EXPLORE_WRONG, "a wait in an exhaustive exploration");
	}
	if (t->begun) {
		explore_next();
	} else {
		t->begun = true;
		explore_go_home();
	}
}

static void explore_body(void)
{
	struct explore_thread *t = &explorer.thread[explorer.now];
	unsigned int id = explorer.now;

#ifndef EXPLORE_SWAPCONTEXT
	/* Here a thread starts in each run; this frame stays. */
	if (!_setjmp(t->start))
		explore_go_home();
#endif
	explorer.e->thread(explorer.e->arg, id);
	t->done = true;
	if (t->begun)
		explore_next();
	explore_go_home();
}

static void explore_create(struct explore_thread *t)
{
	getcontext(&t->context.uc);
	t->context.uc.uc_stack.ss_sp = t->stack;
	t->context.uc.uc_stack.ss_size = sizeof(t->stack);
	t->context.uc.uc_link = NULL;
	makecontext(&t->context.uc, explore_body, 0);
	t->created = true;
#ifndef EXPLORE_SWAPCONTEXT
	explorer.at_home = false;
	if (!_setjmp(explorer.home.at))
		setcontext(&t->context.uc);
#endif
}

/* Let a thread run up to its first access. */
static void explore_begin(unsigned int id)
{
	struct explore_thread *t = &explorer.thread[id];

	explorer.now = id;
	t->steps = 0;
	t->begun = t->done = t->waiting = false;
	fpt_model_cpu = explorer.e->cpu[id];
#ifdef EXPLORE_SWAPCONTEXT
	explore_create(t);
	explore_switch(&explorer.home, &t->context);
#else
	if (!t->created)
		explore_create(t);
	explorer.at_home = false;
	if (!_setjmp(explorer.home.at))
		_longjmp(t->start, 1);
#endif
}

static void explore_run(struct explore *e)
{
	unsigned int id;

	explorer.depth = explorer.preemptions = explorer.asleep = 0;
	explorer.complete = false;
	e->setup(e->arg);
	fpt_model_hook = explore_access;
	for (id = 0; id < e->nr_threads && !e->failure; id++)
		explore_begin(id);
	explorer.now = e->nr_threads;
	if (!e->failure && explore_pick(&id)) {
		explorer.now = id;
		fpt_model_cpu = e->cpu[id];
		explore_switch(&explorer.home, &explorer.thread[id].context);
	}
	fpt_model_hook = NULL;
	fpt_model_cpu = 0;
	if (e->failure)
		return;
	if (!explorer.complete) {
		e->cut++;
		return;
	}
	e->froze |= !explorer.thread[0].done;
	e->check(e->arg);
	e->runs++;
}

/* All runs of e, or up to the first that fails. */
static void explore(struct explore *e)
{
	const char *replay = getenv("FPT_EXPLORE_REPLAY");
	size_t len = strlen(e->name);
	struct explore_choice *last;

	explorer.e = e;
	explorer.recorded = 0;
	explorer.replay = NULL;
	e->runs = e->cut = e->steps = 0;
	e->froze = false;
	e->failure = EXPLORE_FINE;
	if (replay) {
		if (strncmp(replay, e->name, len) || replay[len] != '=')
			return;
		explorer.replay = replay + len + 1;
	}
	signal(SIGABRT, explore_on_abort);
	do {
		explorer.at_home = true;
		explore_run(e);
		last = &explorer.choice[explorer.depth];
		while (explorer.depth && last[-1].taken + 1 == last[-1].nr) {
			explorer.depth--;
			last--;
		}
		if (explorer.depth)
			last[-1].taken++;
		explorer.recorded = explorer.depth;
	} while (explorer.depth && !e->failure && !explorer.replay);
	explorer.e = NULL;
	explore_total.runs += e->runs;
	explore_total.cut += e->cut;
}

/*
 * Tests of scenarios.
 */
struct scenario;
typedef void explore_scenario_t(const struct scenario *scenario, struct explore *e);
typedef void explore_test_t(explore_scenario_t *run, const struct scenario *scenario);

/* A name for e: by it a run is repeated. Until the next. */
static inline const char *explore_name(const struct explore *e, const char *scenario)
{
	static char name[80];
	int n = snprintf(name, sizeof(name), "%s%s", scenario,
			 fpt_model_no_sections ? ", no sections" : "");

	if (e->freeze && n > 0 && (size_t)n < sizeof(name))
		snprintf(name + n, sizeof(name) - (size_t)n, ", step %u", e->freeze);
	return name;
}

/* A bound, with what FPT_TEST_BOUND adds to it. */
static inline int explore_bound(int bound)
{
	const char *more = getenv("FPT_TEST_BOUND");

	if (bound < 0 || !more)
		return bound;
	bound += atoi(more);
	return bound > 0 ? bound : 0;
}

static inline void explore_test(explore_scenario_t *run, const struct scenario *scenario)
{
	struct explore e = { .freeze = 0 };

	run(scenario, &e);
	assert_int_equal(e.failure, EXPLORE_FINE);
	assert_true(e.runs > 0 || getenv("FPT_EXPLORE_REPLAY"));
	if (getenv("FPT_TEST_VERBOSE"))
		print_message("%9lu runs, %8lu cut, %5.1f steps\n", e.runs, e.cut,
			      e.runs ? (double)e.steps / (double)(e.runs + e.cut) : 0);
}

/* I4: thread 0 is stopped for ever, at each of its steps. */
static inline void explore_test_frozen(explore_scenario_t *run, const struct scenario *scenario)
{
	struct explore e = { .freeze = 0 };
	bool replay = getenv("FPT_EXPLORE_REPLAY");

	do {
		e.freeze++;
		run(scenario, &e);
		assert_int_equal(e.failure, EXPLORE_FINE);
	} while (e.froze || (replay && e.freeze < 100));
	assert_true(e.freeze > 5);
}

/* Either, with sections and without. */
static inline void explore_twice(explore_test_t *test, explore_scenario_t *run,
				 const struct scenario *scenario)
{
	test(run, scenario);
	fpt_model_no_sections = true;
	test(run, scenario);
	fpt_model_no_sections = false;
}

/* One test more. The last of tests, which have room, is the last with a function. */
static inline void explore_add(struct CMUnitTest *tests, const char *name, CMUnitTestFunction test,
			       const struct scenario *scenario)
{
	while (tests->test_func)
		tests++;
	*tests = (struct CMUnitTest){ name, test, NULL, NULL, (void *)(uintptr_t)scenario };
}

/* The program. An argument is a pattern of tests to run. */
static inline int explore_main(const char *name, const struct CMUnitTest *tests, int argc,
			       char **argv)
{
	size_t n = 0;
	int failed;

	while (tests[n].test_func)
		n++;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
	print_message("%lu interleavings, %lu more cut short as repetitions\n",
		      explore_total.runs, explore_total.cut);
	return failed;
}

#endif
