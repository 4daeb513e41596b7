/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_threads.c - every tracker under real threads, real memory and a host that really discards
 *
 * Workers take pages of a small pool, sign them, verify and give them back; two reporters run
 * passes whose host drops the pages' contents. A page that was discarded while somebody held it has
 * lost its signature. When all have stopped, everything that is free has to be found. A second
 * range is added in the middle of it.
 *
 * Tickets: nothing but what the hooks answer keeps a worker from a page that the host discards.
 * Reporters claim ahead, and complete in any order, late, or what was asked for first; one of them
 * uses the interface of 2018 now and then.
 *
 * Hooks must neither allocate nor enter the kernel: here allocation in a hook aborts, and hooks are
 * run in a process that the kernel kills at its first system call.
 *
 * FPT_TEST_SECONDS is how long each tracker is run.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fpt/fpt.h>

#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#define WORKERS 3u
#define REPORTERS 2u
#define CPUS (WORKERS + REPORTERS + 1)
#define ORDER 4u
#define BLOCK_PAGES (1u << ORDER)
#define PAGES 512u		/* of both ranges together */
#define HOLE 1000u		/* pfns between them, and in front of the first */
#define MAX_HELD 16u		/* per worker, in allocations: so that blocks do become free */
#define MAX_EVENT 3u		/* order */

#ifdef FPT_VIRTUAL_CPUS
__thread unsigned int fpt_virtual_cpu;
#define set_cpu(cpu) (fpt_virtual_cpu = (cpu))
#else
#define set_cpu(cpu) ((void)(cpu))
#endif

/*
 * I4: no allocation in a hook.
 */
static __thread bool in_hook;

static void trap(void)
{
	static const char message[] = "a hook allocates or frees memory\n";

	if (!in_hook)
		return;
	if (write(2, message, sizeof(message) - 1) < 0)
		_exit(2);
	abort();
}

#ifdef SANITIZED
void __sanitizer_malloc_hook(const volatile void *p, size_t size);
void __sanitizer_free_hook(const volatile void *p);

void __sanitizer_malloc_hook(const volatile void *p, size_t size)
{
	(void)p;
	(void)size;
	trap();
}

void __sanitizer_free_hook(const volatile void *p)
{
	(void)p;
	trap();
}
#else
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void __libc_free(void *p);

void *malloc(size_t size)
{
	trap();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	trap();
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	trap();
	return __libc_realloc(p, size);
}

void free(void *p)
{
	trap();
	__libc_free(p);
}

void *mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	trap();
	return (void *)syscall(SYS_mmap, addr, size, prot, flags, fd, offset);
}
#endif

/*
 * The guest. Of a block, everything in one word, so that isolation can decide in one step.
 */
#define ISOLATED (UINT64_C(1) << 63)
#define OWNED (UINT64_C(1) << 32)	/* counts pages whose alloc hook has returned */
#define TAKEN UINT64_C(1)		/* counts pages that are not free */

enum page { FREE, IN_TRANSIT, HELD };

struct signature {
	uint64_t page, generation;
};

static struct {
	struct fpt t;
	char *memory;
	size_t page_size;
	_Atomic uint64_t block[PAGES / BLOCK_PAGES];
	_Atomic bool fresh[PAGES / BLOCK_PAGES];	/* reported, not taken from since */
	_Atomic unsigned char page[PAGES];
	uint64_t generation[PAGES];			/* its holder's */
	_Atomic unsigned int nr_pages;			/* that are in a range */
	_Atomic bool stop;
	_Atomic unsigned long lost, freed, allocated, refused, discarded;
	_Atomic int claims[PAGES / BLOCK_PAGES];
	_Atomic unsigned long doubly_claimed;
	bool tickets;
	_Atomic unsigned long waited, given_back, late;
} g;

static unsigned int next_random(uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned int)(*random >> 33);
}

/* The second half of the pages is the second range; pfns around 2^40. */
static fpt_pfn_t pfn_of(unsigned int page)
{
	return (1ul << 40) + page + (page < PAGES / 2 ? 0 : HOLE * BLOCK_PAGES);
}

static unsigned int page_of(fpt_pfn_t pfn)
{
	fpt_pfn_t page = pfn - (1ul << 40);

	return (unsigned int)(page < PAGES / 2 ? page : page - HOLE * BLOCK_PAGES);
}

static struct signature *signature(unsigned int page)
{
	return (struct signature *)(void *)(g.memory + page * g.page_size);
}

static void give(unsigned int page, unsigned int order)
{
	_Atomic uint64_t *block = &g.block[page / BLOCK_PAGES];
	unsigned int nr = 1u << order, i;

	for (i = page; i < page + nr; i++)
		atomic_store(&g.page[i], IN_TRANSIT);
	atomic_fetch_sub(block, nr * OWNED);
	in_hook = true;
	fpt_free(&g.t, pfn_of(page), order);
	in_hook = false;
	atomic_fetch_add_explicit(&g.freed, nr, memory_order_relaxed);
	for (i = page; i < page + nr; i++)
		atomic_store(&g.page[i], FREE);
	atomic_fetch_sub(block, nr * TAKEN);
}

/*
 * The host has a block of these pages: they may not be written. False: they were given back. With
 * more threads than CPUs, waiting leaves the CPU to others; one in four does not.
 */
static bool wait_for_host(unsigned int page, unsigned int order, uint64_t *random)
{
	unsigned int how = next_random(random);

	if (how & 1) {
		atomic_fetch_add_explicit(&g.given_back, 1, memory_order_relaxed);
		return false;
	}
	atomic_fetch_add_explicit(&g.waited, 1, memory_order_relaxed);
	in_hook = true;
	if (how & 2)
		fpt_expedite(&g.t, pfn_of(page), order);
	while (how & 12 && fpt_in_flight(&g.t, pfn_of(page), order))
		sched_yield();
	fpt_wait(&g.t, pfn_of(page), order);
	in_hook = false;
	return true;
}

/* Events do not cross blocks here: test_trackers does that. */
static bool take(unsigned int page, unsigned int order, uint64_t *random)
{
	_Atomic uint64_t *block = &g.block[page / BLOCK_PAGES];
	unsigned int nr = 1u << order, i;
	int result;

	if (atomic_fetch_add(block, nr * TAKEN) & ISOLATED) {
		atomic_fetch_sub(block, nr * TAKEN);
		return false;
	}
	for (i = 0; i < nr; i++) {
		unsigned char expected = FREE;

		if (atomic_compare_exchange_strong(&g.page[page + i], &expected, IN_TRANSIT))
			continue;
		while (i--)
			atomic_store(&g.page[page + i], FREE);
		atomic_fetch_sub(block, nr * TAKEN);
		return false;
	}
	atomic_store(&g.fresh[page / BLOCK_PAGES], false);
	in_hook = true;
	result = fpt_alloc(&g.t, pfn_of(page), order);
	in_hook = false;
	atomic_fetch_add_explicit(&g.allocated, nr, memory_order_relaxed);
	if (result == FPT_IN_FLIGHT && !wait_for_host(page, order, random)) {
		atomic_fetch_add(block, nr * OWNED);
		give(page, order);
		return false;
	}
	for (i = page; i < page + nr; i++) {
		*signature(i) = (struct signature){ ~(uint64_t)i, ++g.generation[i] };
		atomic_store(&g.page[i], HELD);
	}
	atomic_fetch_add(block, nr * OWNED);
	return true;
}

static void verify(unsigned int page, unsigned int order)
{
	unsigned int i;

	for (i = page; i < page + (1u << order); i++)
		if (signature(i)->page != ~(uint64_t)i ||
		    signature(i)->generation != g.generation[i])
			atomic_fetch_add(&g.lost, 1);
}

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	unsigned int b = page_of(r.pfn) / BLOCK_PAGES;
	uint64_t now = 0;

	(void)ctx;
	if (atomic_fetch_add(&g.claims[b], 1))
		atomic_fetch_add(&g.doubly_claimed, 1);
	if (atomic_compare_exchange_strong(&g.block[b], &now, ISOLATED)) {
		atomic_store(&g.fresh[b], true);
		return FPT_TAKEN;
	}
	atomic_fetch_sub(&g.claims[b], 1);
	return now & ~ISOLATED & ~(OWNED - 1) ? FPT_USED : FPT_BUSY;
}

static void put_back(void *ctx, struct fpt_range r)
{
	unsigned int b = page_of(r.pfn) / BLOCK_PAGES;
	const bool *ok = ctx;

	if (!*ok)
		atomic_store(&g.fresh[b], false);
	atomic_fetch_sub(&g.claims[b], 1);
	if (!(atomic_fetch_and(&g.block[b], ~ISOLATED) & ISOLATED))
		atomic_fetch_add(&g.doubly_claimed, 1);
}

/* Whoever has it in transit is in a hook or around one: in doubt it is free. */
static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	(void)ctx;
	return atomic_load(&g.page[page_of(pfn)]) != HELD;
}

static const struct fpt_owner_ops owner = { isolate, put_back, is_free };

/* As is_free() says, of more than one page. */
static bool are_free(void *ctx, fpt_pfn_t pfn, unsigned int order)
{
	fpt_pfn_t i;

	for (i = 0; i < 1ul << order; i++)
		if (!is_free(ctx, pfn + i))
			return false;
	return true;
}

static void discard(const struct fpt_batch *b)
{
	unsigned int i, j;

	for (i = 0; i < b->nr; i++) {
		unsigned int page = page_of(b->range[i].pfn);

		/* Written first, so that ThreadSanitizer knows of it. */
		for (j = page; j < page + b->range[i].nr; j++)
			signature(j)->page = 0;
		atomic_fetch_add(&g.discarded, 1);
		if (madvise(g.memory + page * g.page_size, b->range[i].nr * g.page_size,
			    MADV_DONTNEED))
			abort();
	}
}

static void pass(struct fpt_reporter *rep, bool *ok, uint64_t *random)
{
	struct fpt_batch batch[2] = { { .nr = 0 }, { .nr = 0 } };
	unsigned int i = 0;

	fpt_pass_begin(rep);
	/* Two batches are out at once, and come back in the other order now and then. */
	while (fpt_pass_next(rep, &batch[i])) {
		if (!batch[!i].nr || (random && next_random(random) % 2 == 0))
			i = !i;
		if (!batch[i].nr)
			continue;
		*ok = !random || next_random(random) % 8 != 0;
		if (*ok)
			discard(&batch[i]);
		else
			atomic_fetch_add(&g.refused, 1);
		fpt_pass_complete(rep, &batch[i], *ok);
	}
	for (i = 0; i < 2; i++) {
		*ok = true;
		discard(&batch[i]);
		fpt_pass_complete(rep, &batch[i], true);
	}
}

static void *report(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg;
	uint64_t random = id;
	bool ok;
	struct fpt_reporter rep;

	set_cpu(1 + WORKERS + id);
	if (fpt_reporter_init(&rep, &g.t, &owner, &ok,
			&(struct fpt_policy){ .batch = 2 + id, .max_in_flight = 5 * BLOCK_PAGES }))
		abort();
	while (!atomic_load(&g.stop))
		pass(&rep, &ok, &random);
	return NULL;
}

static void *work(void *arg)
{
	struct { unsigned int page, order; } held[MAX_HELD];
	unsigned int id = (unsigned int)(uintptr_t)arg, nr = 0, target = 0;
	uint64_t random = id + 1000;

	set_cpu(1 + id);
	while (!atomic_load_explicit(&g.stop, memory_order_relaxed)) {
		if (next_random(&random) % 64 == 0) {
			target = next_random(&random) % 3 ? next_random(&random) % MAX_HELD : 0;
			if (!target)
				sched_yield();
		}
		if (nr < target) {
			unsigned int order = next_random(&random) % (MAX_EVENT + 1);
			unsigned int nr_pages = atomic_load(&g.nr_pages);

			held[nr].order = order;
			held[nr].page = next_random(&random) % nr_pages >> order << order;
			nr += take(held[nr].page, order, &random);
		} else if (nr) {
			unsigned int i = next_random(&random) % nr;

			verify(held[i].page, held[i].order);
			give(held[i].page, held[i].order);
			held[i] = held[--nr];
		}
	}
	while (nr--) {
		verify(held[nr].page, held[nr].order);
		give(held[nr].page, held[nr].order);
	}
	return NULL;
}

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* A batch, in one of the four places that a reporter keeps. */
struct out {
	struct fpt_batch batch, old;	/* old: given up */
	enum { NOTHING, CLAIMED, SUBMITTED } state;
};

static void hold(const struct fpt_batch *b, int by)
{
	unsigned int i;

	for (i = 0; i < b->nr; i++) {
		unsigned int block = page_of(b->range[i].pfn) / BLOCK_PAGES;

		if (atomic_fetch_add(&g.claims[block], by) != (by < 0))
			atomic_fetch_add(&g.doubly_claimed, 1);
	}
}

/* A ticket that is used again ends nothing, whatever became of the block since. */
static void acknowledge_late(struct fpt_batch *old)
{
	for (; old->nr; old->nr--) {
		if (fpt_complete(&g.t, &old->range[old->nr - 1], old->ticket[old->nr - 1], true))
			atomic_fetch_add(&g.doubly_claimed, 1);
		atomic_fetch_add(&g.late, old->range[old->nr - 1].nr);
	}
}

static void complete_out(struct fpt_reporter *rep, struct out *o, uint64_t *random)
{
	unsigned int how = next_random(random) % 8, i;

	if (!how) {		/* the device was reset: it cannot discard any more */
		o->old = o->batch;
		atomic_fetch_add(&g.refused, 1);
	} else {
		discard(&o->batch);
	}
	hold(&o->batch, -1);
	/* What was asked for comes first; the last one takes its place. */
	if (how & 1)
		for (i = o->batch.nr; i--;)
			if (fpt_batch_expedited(&g.t, &o->batch, i))
				fpt_pass_complete_one(rep, &o->batch, i, how);
	if (how == 2)
		while (o->batch.nr)
			fpt_pass_complete_one(rep, &o->batch,
					      next_random(random) % o->batch.nr, true);
	fpt_pass_complete(rep, &o->batch, how);
	o->state = NOTHING;
}

/* The batch goes one step on. */
static void move_on(struct fpt_reporter *rep, struct out *o, uint64_t *random)
{
	if (o->state == SUBMITTED) {
		complete_out(rep, o, random);
	} else if (o->state == NOTHING) {
		acknowledge_late(&o->old);
		if (!fpt_pass_claim(rep, &o->batch))
			fpt_pass_begin(rep);
		else
			o->state = CLAIMED;
		hold(&o->batch, 1);
	} else {
		hold(&o->batch, -1);
		if (next_random(random) % 8 == 0) {
			fpt_pass_drop(rep, &o->batch);
		} else {
			fpt_pass_submit(rep, &o->batch);
			hold(&o->batch, 1);
		}
		o->state = o->batch.nr ? SUBMITTED : NOTHING;
	}
}

/* Whole chunks, back in two parts. */
static void get_and_put(uint64_t *random)
{
	struct fpt_batch b = { .nr = 1 };
	fpt_pfn_t pfn = pfn_of(next_random(random) % PAGES), nr, first, i;

	nr = fpt_get_hints(&g.t, &pfn, 1 + next_random(random) % (4 * BLOCK_PAGES));
	b.range[0].nr = BLOCK_PAGES;
	for (i = 0; i < nr; i += BLOCK_PAGES) {
		b.range[0].pfn = pfn + i;
		hold(&b, 1);
		discard(&b);
		hold(&b, -1);
	}
	first = nr / BLOCK_PAGES / 2 * BLOCK_PAGES;
	fpt_put_hints(&g.t, pfn + first, nr - first);
	fpt_put_hints(&g.t, pfn, first);
}

static void *report_tickets(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg, i;
	struct out out[4] = { { .state = NOTHING } };
	uint64_t random = id;
	struct fpt_reporter rep;

	set_cpu(1 + WORKERS + id);
	if (fpt_reporter_init(&rep, &g.t, &owner, NULL,
			&(struct fpt_policy){ .batch = 2 + id, .max_in_flight = 7 * BLOCK_PAGES }))
		abort();
	fpt_pass_begin(&rep);
	while (!atomic_load(&g.stop)) {
		for (i = 0; i < 4 && fpt_expedite_due(&rep); i++)
			if (out[i].state == SUBMITTED)
				complete_out(&rep, &out[i], &random);
		move_on(&rep, &out[next_random(&random) % 4], &random);
		if (id && next_random(&random) % 8 == 0)
			get_and_put(&random);
		if (next_random(&random) % 4 == 0)
			sched_yield();
	}
	for (i = 0; i < 4; i++) {
		while (out[i].state != NOTHING)
			move_on(&rep, &out[i], &random);
		acknowledge_late(&out[i].old);
	}
	if (rep.in_flight)
		atomic_fetch_add(&g.doubly_claimed, 1);
	return NULL;
}

/* Pages are added as held, and given back. */
static void add_half(struct fpt_mem *m, bool second)
{
	unsigned int first = second ? PAGES / 2 : 0, i;

	assert_int_equal(fpt_add_range(&g.t, pfn_of(first), PAGES / 2, m), FPT_OK);
	for (i = first; i < first + PAGES / 2; i += BLOCK_PAGES)
		give(i, ORDER);
	atomic_store(&g.nr_pages, first + PAGES / 2);
}

/* All of the block's pages read as zeroes. */
static bool is_discarded(unsigned int block)
{
	unsigned int i;

	for (i = block * BLOCK_PAGES; i < (block + 1) * BLOCK_PAGES; i++)
		if (signature(i)->page || signature(i)->generation)
			return false;
	return true;
}

static void sleep_for(double seconds)
{
	struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

	nanosleep(&t, NULL);
}

static bool enough_happened(void)
{
	if (g.tickets && (!g.waited || !g.given_back || !g.late))
		return false;
	return g.allocated > 1000 && g.discarded && g.refused;
}

struct run {
	const char *name;
	const struct fpt_ops *ops;
	unsigned long entries;	/* array; delta: sets */
	bool exact;		/* memory for every chunk */
	enum fpt_protocol protocol;
};

static void set_up(const struct run *run, char *front, size_t front_size)
{
	struct fpt_config config = { .ops = run->ops, .nr_cpus = CPUS, .order = ORDER,
				     .array_entries = run->entries, .delta_sets = run->entries,
				     .is_free = are_free, .protocol = run->protocol };
	struct fpt_mem m = { front, front_size, false };
	unsigned int i;

	memset(&g, 0, sizeof(g));
	g.tickets = run->protocol == FPT_TICKET;
	g.page_size = (size_t)sysconf(_SC_PAGESIZE);
	g.memory = map(PAGES * g.page_size);
	for (i = 0; i < PAGES; i++)
		atomic_init(&g.page[i], HELD);
	for (i = 0; i < PAGES / BLOCK_PAGES; i++)
		atomic_init(&g.block[i], BLOCK_PAGES * (OWNED + TAKEN));
	set_cpu(0);
	assert_true(fpt_size(&config) <= front_size);
	assert_int_equal(fpt_init(&g.t, &config, &m), FPT_OK);
}

static void test_run(void **state)
{
	const struct run *run = *state;
	const char *env = getenv("FPT_TEST_SECONDS");
	double seconds = env ? atof(env) : 0.8;
	pthread_t worker[WORKERS], reporter[REPORTERS];
	static char front[1 << 20];
	struct fpt_reporter rep = { 0 };
	unsigned int i, missed = 0;
	unsigned long ended;
	struct fpt_stats s;
	struct fpt_mem m;
	char *range_memory;
	size_t size;
	bool ok;

	set_up(run, front, sizeof(front));
	size = 2 * fpt_range_size(&g.t, pfn_of(0), PAGES / 2, run->exact);
	range_memory = map(size);
	m = (struct fpt_mem){ range_memory, size / 2, true };
	add_half(&m, false);
	for (i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&worker[i], NULL, work, (void *)(uintptr_t)i), 0);
	for (i = 0; i < REPORTERS; i++)
		assert_int_equal(pthread_create(&reporter[i], NULL,
						g.tickets ? report_tickets : report,
						(void *)(uintptr_t)i), 0);
	sleep_for(seconds / 2);
	m = (struct fpt_mem){ range_memory + size / 2, size / 2, true };
	add_half(&m, true);
	sleep_for(seconds / 2);
	/* On a busy machine some have not run yet. */
	while (!enough_happened())
		sleep_for(0.01);
	atomic_store(&g.stop, true);
	for (i = 0; i < WORKERS; i++)
		pthread_join(worker[i], NULL);
	for (i = 0; i < REPORTERS; i++)
		pthread_join(reporter[i], NULL);
	assert_int_equal(g.lost, 0);
	assert_int_equal(g.doubly_claimed, 0);
	/* All is free now: two passes find what has not been reported. */
	assert_int_equal(fpt_reporter_init(&rep, &g.t, &owner, &ok,
			&(struct fpt_policy){ .batch = FPT_BATCH_MAX, .max_in_flight = 2 * PAGES }),
			 FPT_OK);
	pass(&rep, &ok, NULL);
	pass(&rep, &ok, NULL);
	fpt_get_stats(&g.t, &s);
	for (i = 0; i < PAGES / BLOCK_PAGES; i++) {
		assert_int_equal(g.block[i], 0);
		missed += g.tickets ? !is_discarded(i) : !g.fresh[i];
	}
	assert_true(missed <= s.count[FPT_STAT_DROPPED]);
	if (run->ops->retracts || run->ops->toggles)
		assert_int_equal(s.count[FPT_STAT_DROPPED], 0);
	for (i = 0; i < PAGES && (run->ops->retracts || run->ops->toggles) && run->exact; i++)
		assert_true(fpt_xbitmap_test(&g.t.back, pfn_of(i)));
	assert_int_equal(s.count[FPT_STAT_FREED], g.freed);
	assert_int_equal(s.count[FPT_STAT_ALLOCATED], g.allocated);
	assert_int_equal(s.count[FPT_STAT_OUTSIDE], 0);
	ended = s.count[FPT_STAT_BUSY] + s.count[FPT_STAT_USED] + s.count[FPT_STAT_REPORTED] +
		s.count[FPT_STAT_FAILED];
	/* Not every cancelled claim is among the rest: one may have been given up anyway. */
	assert_true(s.count[FPT_STAT_CLAIMED] >= ended &&
		    s.count[FPT_STAT_CLAIMED] <= ended + s.count[FPT_STAT_CANCELLED]);
	assert_int_equal(s.count[FPT_STAT_LATE], g.late);
	assert_true(s.memory_used <= s.memory_donated);
	if (getenv("FPT_TEST_VERBOSE") && g.tickets)
		print_message("%lu pages cancelled, %lu met by an allocation; waited %lu times\n",
			      s.count[FPT_STAT_CANCELLED], s.count[FPT_STAT_WAITED],
			      (unsigned long)g.waited);
	if (getenv("FPT_TEST_VERBOSE"))
		print_message("%lu events, %lu discards, %lu reported, %lu busy, %lu used, "
			      "%lu dropped, %lu slow\n",
			      (unsigned long)g.freed + g.allocated, (unsigned long)g.discarded,
			      s.count[FPT_STAT_REPORTED], s.count[FPT_STAT_BUSY],
			      s.count[FPT_STAT_USED], s.count[FPT_STAT_DROPPED],
			      s.count[FPT_STAT_SLOW]);
	fpt_destroy(&g.t);
	munmap(range_memory, size);
	munmap(g.memory, PAGES * g.page_size);
}

/* In a process of its own, which may not do any more than read, write and exit. */
static void test_no_system_calls(void **state)
{
	const struct run *run = *state;
	static char front[1 << 20];
	struct fpt_mem m;
	unsigned int i, j;
	size_t size;
	pid_t child;
	int status;

#ifdef SANITIZED
	skip();			/* what is linked in calls the kernel */
#endif
#if !defined(FPT_VIRTUAL_CPUS) && defined(FPT_USER_RSEQ_ID)
	if (!__rseq_size)
		skip();		/* then the CPU's number is asked for */
#endif
	set_up(run, front, sizeof(front));
	size = fpt_range_size(&g.t, pfn_of(0), PAGES / 2, run->exact);
	m = (struct fpt_mem){ map(size), size, true };
	assert_int_equal(fpt_add_range(&g.t, pfn_of(0), PAGES / 2, &m), FPT_OK);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			_exit(77);
		in_hook = true;		/* the other trap, too */
		for (i = 0; i < 1000; i++)
			for (j = 0; j < PAGES / 2; j += 8) {
				fpt_free(&g.t, pfn_of(j), i & 3);
				fpt_alloc(&g.t, pfn_of(j), i & 3);
			}
		syscall(SYS_exit, 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();		/* a kernel without seccomp */
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	munmap(g.memory, PAGES * g.page_size);
}

/* Both traps do catch. */
static void test_traps(void **state)
{
	void *volatile p;
	int status, which, traps = 2;
	pid_t child;

	(void)state;
#ifdef SANITIZED
	traps = 1;		/* the second is not used */
#endif
	for (which = 0; which < traps; which++) {
		child = fork();
		assert_true(child >= 0);
		if (!child && which == 0) {
			if (!freopen("/dev/null", "w", stderr))
				_exit(1);
			in_hook = true;
			p = malloc(100);
			(void)p;
			_exit(0);
		} else if (!child) {
			if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
				raise(SIGKILL);
			syscall(SYS_getpid);
			syscall(SYS_exit, 0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), which ? SIGKILL : SIGABRT);
	}
}

int main(int argc, char **argv)
{
	static const struct run runs[] = {
		{ "xbitmap", &fpt_xbitmap_ops, 0, true, FPT_ISOLATE },
		{ "xbitmap, coarse", &fpt_xbitmap_ops, 0, false, FPT_ISOLATE },
		{ "array", &fpt_array_ops, 0, true, FPT_ISOLATE },
		{ "bitmap", &fpt_bitmap_ops, 0, true, FPT_ISOLATE },
		{ "array of 4", &fpt_array_ops, 4, true, FPT_ISOLATE },
		{ "lockmap", &fpt_lockmap_ops, 0, true, FPT_ISOLATE },
		{ "delta", &fpt_delta_ops, 0, true, FPT_ISOLATE },
		{ "delta, one set", &fpt_delta_ops, 1, true, FPT_ISOLATE },
		{ "array2019", &fpt_array2019_ops, 100, true, FPT_ISOLATE },
		{ "xbitmap, tickets", &fpt_xbitmap_ops, 0, true, FPT_TICKET },
		{ "lockmap, tickets", &fpt_lockmap_ops, 0, true, FPT_TICKET },
		{ "delta, tickets", &fpt_delta_ops, 0, true, FPT_TICKET },
		{ "delta, 1 set, tickets", &fpt_delta_ops, 1, true, FPT_TICKET },
	};
	static char name[1 + 2 * sizeof(runs) / sizeof(runs[0])][40];
	struct CMUnitTest tests[1 + sizeof(name) / sizeof(name[0])];
	size_t i, n = 0;

	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_traps);

	for (i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		void *run = (void *)(uintptr_t)&runs[i];

		snprintf(name[n], sizeof(name[n]), "%s: threads", runs[i].name);
		tests[n] = (struct CMUnitTest){ name[n], test_run, NULL, NULL, run };
		/* Passes are not its reporter: test_array2019.c has threads for it. */
		n += strcmp(runs[i].name, "array2019") != 0;
		snprintf(name[n], sizeof(name[n]), "%s: no system calls", runs[i].name);
		tests[n] = (struct CMUnitTest){ name[n], test_no_system_calls, NULL, NULL, run };
		n++;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests("threads", tests, n, NULL, NULL);
}
