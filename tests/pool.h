/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pool.h - a small allocator, owners who sign their pages, and a host that discards: for tests
 *
 * Pages come in modules, which are plugged in and out: each is a range of the tracker. Owners sign
 * what they take and verify it before they give it back (pool.lost). The host turns what it is
 * given into zeroes. So the pages themselves are the model: when all is quiet and two passes are
 * over, every block that is wholly free reads as zeroes, or a hint was lost (pool_missed()).
 *
 * What threads share is accessed with the seam's primitives, so that one pool serves threads of the
 * operating system, one thread, and explore.h. Signatures are not: ThreadSanitizer shall see a host
 * that writes to an owner's page. On the model backend the pages are part of struct pool, which can
 * be saved and put back; elsewhere they are real memory, and discarded for real.
 *
 * To be included by one source file, which defines before: POOL_MODULES, POOL_MODULE_PAGES,
 * POOL_ORDER (of reporting), POOL_CPUS, POOL_ENTRIES (of the array), POOL_ARENA (bytes).
 */
#ifndef FPT_TESTS_POOL_H
#define FPT_TESTS_POOL_H

#include <fpt/fpt.h>

#ifndef FPT_MODEL
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#endif

#define POOL_PAGES (POOL_MODULES * POOL_MODULE_PAGES)
#define POOL_BLOCK (1u << POOL_ORDER)
#define POOL_BLOCKS (POOL_PAGES / POOL_BLOCK)

#ifdef FPT_MODEL
void (*fpt_model_hook)(const struct fpt_model_access *access);
unsigned int fpt_model_cpu;
void (*fpt_model_rcu_synchronize)(void);
#define pool_set_cpu(cpu) (fpt_model_cpu = (cpu))
#else
__thread unsigned int fpt_virtual_cpu;
#define pool_set_cpu(cpu) (fpt_virtual_cpu = (cpu))
#endif

/* Of a block, everything in one word, so that isolation can decide in one step. */
#define POOL_ISOLATED (1UL << 31)
#define POOL_OWNED (1UL << 16)	/* counts pages whose alloc hook has returned */
#define POOL_TAKEN 1UL		/* counts pages that are not free */

enum pool_page { POOL_OFFLINE, POOL_FREE, POOL_IN_TRANSIT, POOL_HELD };

struct pool_signature {
	unsigned long page, generation;
};

static struct pool {
	struct fpt t;
	struct fpt_config config;
	fpt_atomic_t block[POOL_BLOCKS];
	struct fpt_range range[POOL_MODULES];	/* as added */
	/* From here on to arena_used: what explore.h need not look at. */
	fpt_atomic_t first[POOL_MODULES];	/* pfn of the module's first block */
	fpt_atomic_t online[POOL_MODULES];	/* pages from there on; 0: it is no range */
	fpt_atomic_t claims[POOL_BLOCKS];	/* live ones */
	fpt_atomic_t page[POOL_PAGES];		/* enum pool_page */
	unsigned long generation[POOL_PAGES];	/* its holder's */
	bool unseen[POOL_PAGES];		/* the test's: no tracker saw its last free */
	fpt_atomic_t lost;			/* pages whose owner found them changed */
	fpt_atomic_t wrong;			/* claims of what there is not, or twice */
	fpt_atomic_t offered, used, discarded;	/* blocks */
	fpt_atomic_t freed, allocated;		/* pages */
	size_t arena_used;
	char arena[POOL_ARENA] __attribute__((aligned(FPT_CACHE_LINE)));
#ifdef FPT_MODEL
	struct pool_signature content[POOL_PAGES];
	fpt_atomic_t section[EXPLORE_MAX_THREADS + 1];	/* odd: a hook of that thread is running */
#else
	char *memory;
	size_t page_size;
#endif
} pool;

static struct pool_signature *pool_content(unsigned int page)
{
#ifdef FPT_MODEL
	return &pool.content[page];
#else
	return (struct pool_signature *)(void *)(pool.memory + page * pool.page_size);
#endif
}

static fpt_pfn_t pool_pfn(unsigned int page)
{
	return fpt_load(&pool.first[page / POOL_MODULE_PAGES], relaxed) + page % POOL_MODULE_PAGES;
}

/* The page of a pfn; POOL_PAGES: none of any module. */
static unsigned int pool_page(fpt_pfn_t pfn)
{
	unsigned int m;

	for (m = 0; m < POOL_MODULES; m++) {
		unsigned long online = fpt_load(&pool.online[m], acquire);
		fpt_pfn_t at = pfn - fpt_load(&pool.first[m], relaxed);

		if (at < online)
			return m * POOL_MODULE_PAGES + (unsigned int)at;
	}
	return POOL_PAGES;
}

/* The model's read_lock() is empty: this is how a hook's grace period is known there. */
static void pool_section(void)
{
#ifdef FPT_MODEL
	fpt_fetch_add(&pool.section[explorer.now], 1, relaxed);
#endif
}

static void pool_sign(unsigned int page)
{
	*pool_content(page) = (struct pool_signature){ ~(unsigned long)page,
						       ++pool.generation[page] };
}

static void pool_verify(unsigned int page, unsigned int order)
{
	unsigned int i;

	for (i = page; i < page + (1u << order); i++)
		if (pool_content(i)->page != ~(unsigned long)i ||
		    pool_content(i)->generation != pool.generation[i])
			fpt_fetch_add(&pool.lost, 1, relaxed);
}

/* Take pages, and sign them; false when one of them is not there to be taken. Within a block. */
static bool pool_take(unsigned int page, unsigned int order)
{
	fpt_atomic_t *block = &pool.block[page / POOL_BLOCK];
	unsigned long nr = 1UL << order;
	unsigned int i;
	int result;

	if (fpt_fetch_add(block, nr * POOL_TAKEN, acquire) & POOL_ISOLATED) {
		fpt_fetch_add(block, -(nr * POOL_TAKEN), relaxed);
		return false;
	}
	for (i = 0; i < nr; i++) {
		if (fpt_cas(&pool.page[page + i], POOL_FREE, POOL_IN_TRANSIT, acq_rel))
			continue;
		while (i--)
			fpt_store(&pool.page[page + i], POOL_FREE, release);
		fpt_fetch_add(block, -(nr * POOL_TAKEN), relaxed);
		return false;
	}
	pool_section();
	result = fpt_alloc(&pool.t, pool_pfn(page), order);
	pool_section();
	if (result == FPT_IN_FLIGHT)
		fpt_wait(&pool.t, pool_pfn(page), order);
	fpt_fetch_add(&pool.allocated, nr, relaxed);
	for (i = page; i < page + nr; i++) {
		pool_sign(i);
		fpt_store(&pool.page[i], POOL_HELD, release);
	}
	fpt_fetch_add(block, nr * POOL_OWNED, release);
	return true;
}

/* Give pages back that are held, whoever took them. */
static void pool_give(unsigned int page, unsigned int order)
{
	fpt_atomic_t *block = &pool.block[page / POOL_BLOCK];
	unsigned long nr = 1UL << order;
	unsigned int i;

	pool_verify(page, order);
	for (i = page; i < page + nr; i++)
		fpt_store(&pool.page[i], POOL_IN_TRANSIT, release);
	fpt_fetch_add(block, -(nr * POOL_OWNED), release);
	pool_section();
	fpt_free(&pool.t, pool_pfn(page), order);
	pool_section();
	fpt_fetch_add(&pool.freed, nr, relaxed);
	for (i = page; i < page + nr; i++)
		fpt_store(&pool.page[i], POOL_FREE, release);
	fpt_fetch_add(block, -(nr * POOL_TAKEN), release);
}

static enum fpt_isolated pool_isolate(void *ctx, struct fpt_range r)
{
	unsigned int page = pool_page(r.pfn), b = page / POOL_BLOCK;
	unsigned long now;

	(void)ctx;
	fpt_fetch_add(&pool.offered, 1, relaxed);
	if (page == POOL_PAGES || page % POOL_BLOCK || r.nr != POOL_BLOCK) {
		fpt_fetch_add(&pool.wrong, 1, relaxed);
		return FPT_USED;
	}
	if (fpt_fetch_add(&pool.claims[b], 1, relaxed))
		fpt_fetch_add(&pool.wrong, 1, relaxed);
	if (fpt_cas(&pool.block[b], 0, POOL_ISOLATED, acq_rel))
		return FPT_TAKEN;
	now = fpt_load(&pool.block[b], acquire);
	fpt_fetch_add(&pool.claims[b], -1UL, relaxed);
	if (now / POOL_OWNED == 0 || now & POOL_ISOLATED)
		return FPT_BUSY;
	fpt_fetch_add(&pool.used, 1, relaxed);
	return FPT_USED;
}

static void pool_put_back(void *ctx, struct fpt_range r)
{
	unsigned int b = pool_page(r.pfn) / POOL_BLOCK;

	(void)ctx;
	fpt_fetch_add(&pool.claims[b], -1UL, relaxed);
	if (!(fpt_fetch_and(&pool.block[b], ~POOL_ISOLATED, release) & POOL_ISOLATED))
		fpt_fetch_add(&pool.wrong, 1, relaxed);
}

/* Whoever has it in transit is in a hook or around one: in doubt it is free. */
static bool pool_is_free(void *ctx, fpt_pfn_t pfn)
{
	unsigned long state = fpt_load(&pool.page[pool_page(pfn)], acquire);

	(void)ctx;
	return state != POOL_HELD && state != POOL_OFFLINE;
}

static const struct fpt_owner_ops pool_owner = { pool_isolate, pool_put_back, pool_is_free };

static void pool_discard(const struct fpt_batch *b)
{
	unsigned int i, j;

	for (i = 0; i < b->nr; i++) {
		unsigned int page = pool_page(b->range[i].pfn);

		fpt_fetch_add(&pool.discarded, 1, relaxed);
		for (j = page; j < page + POOL_BLOCK; j++)
			memset(pool_content(j), 0, sizeof(struct pool_signature));
#ifndef FPT_MODEL
		if (madvise(pool_content(page), POOL_BLOCK * pool.page_size, MADV_DONTNEED))
			abort();
#endif
	}
}

static void pool_complete(struct fpt_reporter *rep, struct fpt_batch *b, bool ok)
{
	if (ok)
		pool_discard(b);
	fpt_pass_complete(rep, b, ok);
}

static void pool_pass(struct fpt_reporter *rep, bool ok)
{
	struct fpt_batch b;

	fpt_pass_begin(rep);
	while (fpt_pass_next(rep, &b))
		pool_complete(rep, &b, ok);
}

static struct fpt_reporter pool_reporter(void)
{
	struct fpt_policy policy = { .batch = 2, .max_in_flight = 4 * POOL_BLOCK };
	struct fpt_reporter rep;

	if (fpt_reporter_init(&rep, &pool.t, &pool_owner, NULL, &policy))
		abort();
	return rep;
}

/* Blocks that are wholly free and were not reported since. When all is quiet. */
static unsigned int pool_missed(void)
{
	unsigned int b, i, missed = 0;

	for (b = 0; b < POOL_BLOCKS; b++) {
		bool owed = false, seen = !pool.block[b].v;

		for (i = b * POOL_BLOCK; i < (b + 1) * POOL_BLOCK; i++) {
			owed |= pool_content(i)->page != 0;
			seen &= !pool.unseen[i];
		}
		missed += owed && seen;
	}
	return missed;
}

static struct fpt_mem pool_donate(size_t size)
{
	struct fpt_mem m = { pool.arena + pool.arena_used, size, false };

	if (size > POOL_ARENA - pool.arena_used)
		abort();
	pool.arena_used += fpt_mem_cost(size);
	return m;
}

static void pool_begin(const struct fpt_ops *ops, enum fpt_protocol protocol)
{
	struct fpt_mem m;
	unsigned int i;
#ifndef FPT_MODEL
	char *memory = pool.memory;

	memset(&pool, 0, sizeof(pool));
	pool.page_size = (size_t)sysconf(_SC_PAGESIZE);
	pool.memory = memory;
	if (!memory)
		pool.memory = mmap(NULL, POOL_PAGES * pool.page_size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool.memory == MAP_FAILED)
		abort();
#else
	memset(&pool, 0, sizeof(pool));
#endif
	pool_set_cpu(0);
	for (i = 0; i < POOL_BLOCKS; i++)
		pool.block[i].v = POOL_BLOCK * (POOL_TAKEN + POOL_OWNED);
	pool.config = (struct fpt_config){ .ops = ops, .nr_cpus = POOL_CPUS, .order = POOL_ORDER,
					   .protocol = protocol, .array_entries = POOL_ENTRIES,
					   .bitmap_leaves = POOL_MODULES };
	m = pool_donate(fpt_size(&pool.config));
	if (fpt_init(&pool.t, &pool.config, &m))
		abort();
}

/* To another tracker, with memory if this is its first time. */
__attribute__((unused)) static int pool_switch(const struct fpt_ops *ops)
{
	struct fpt_config config = pool.config;
	bool first = ops->init && !fpt_slot_ops(&pool.t, ops->slot);
	struct fpt_mem m;

	config.ops = ops;
	if (first)
		m = pool_donate(ops->size(&config));
	return fpt_switch(&pool.t, &config, first ? &m : NULL);
}

/* Add a module, all of its pages held. A first pfn that is not aligned is in its first block. */
static int pool_plug(unsigned int module, fpt_pfn_t pfn, unsigned int nr, struct fpt_mem *m)
{
	unsigned int at = module * POOL_MODULE_PAGES + (unsigned int)(pfn % POOL_BLOCK), i;
	int error;

	/* Before the tracker knows of it: a reporter may claim as soon as it does. */
	for (i = at; i < at + nr; i++) {
		pool_sign(i);
		fpt_store(&pool.page[i], POOL_HELD, release);
	}
	pool.range[module] = (struct fpt_range){ pfn, nr };
	fpt_store(&pool.first[module], pfn - pfn % POOL_BLOCK, relaxed);
	fpt_store(&pool.online[module], pfn % POOL_BLOCK + nr, release);
	error = fpt_add_range(&pool.t, pfn, nr, m);
	if (error)
		fpt_store(&pool.online[module], 0, release);
	for (i = at; error && i < at + nr; i++)
		fpt_store(&pool.page[i], POOL_OFFLINE, release);
	return error;
}

/* Remove a module, with whatever is free of it: no events of its pages any more. */
__attribute__((unused)) static int pool_unplug(unsigned int module)
{
	unsigned int i = module * POOL_MODULE_PAGES;
	int error = fpt_remove_range(&pool.t, pool.range[module].pfn, pool.range[module].nr);

	if (error)
		return error;
	fpt_store(&pool.online[module], 0, release);
	for (; i < (module + 1) * POOL_MODULE_PAGES; i++) {
		/* Added, not stored: somebody may be trying to take a page, and failing. */
		if (fpt_load(&pool.page[i], relaxed) == POOL_FREE)
			fpt_fetch_add(&pool.block[i / POOL_BLOCK], POOL_TAKEN + POOL_OWNED, relaxed);
		fpt_store(&pool.page[i], POOL_OFFLINE, release);
	}
	return FPT_OK;
}

/* Give all pages of a module that are held. */
__attribute__((unused)) static void pool_give_module(unsigned int module)
{
	unsigned int i = module * POOL_MODULE_PAGES;

	for (; i < (module + 1) * POOL_MODULE_PAGES; i++)
		if (fpt_load(&pool.page[i], acquire) == POOL_HELD)
			pool_give(i, 0);
}

#ifndef FPT_MODEL
/*
 * Threads: workers take, sign, verify and give; two reporters run passes. pool_load() runs them
 * while the caller's function is called again and again, for so many seconds (FPT_TEST_SECONDS),
 * and longer where little has happened by then.
 */
#define POOL_WORKERS 3u
#define POOL_REPORTERS 2u
#define POOL_MAX_HELD 12u	/* per worker, in allocations: so that blocks do become free */

static fpt_atomic_t pool_stop;
/* Held by passes. Whoever must not run beside a reporter takes it to write. */
static pthread_rwlock_t pool_passes = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static unsigned int pool_random(unsigned long long *random)
{
	*random = *random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(*random >> 33);
}

static void *pool_report(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg;
	struct fpt_reporter rep = pool_reporter();
	unsigned long long random = id;

	pool_set_cpu(1 + POOL_WORKERS + id);
	while (!fpt_load(&pool_stop, relaxed)) {
		pthread_rwlock_rdlock(&pool_passes);
		pool_pass(&rep, pool_random(&random) % 8 != 0);
		pthread_rwlock_unlock(&pool_passes);
	}
	return NULL;
}

static void *pool_work(void *arg)
{
	struct { unsigned int page, order; } held[POOL_MAX_HELD];
	unsigned int id = (unsigned int)(uintptr_t)arg, nr = 0, target = 0, i;
	unsigned long long random = id + 1000;

	pool_set_cpu(1 + id);
	while (!fpt_load(&pool_stop, relaxed)) {
		if (pool_random(&random) % 64 == 0) {
			target = pool_random(&random) % 3 * pool_random(&random) % POOL_MAX_HELD;
			if (!target)
				sched_yield();
		}
		if (nr < target) {
			held[nr].order = pool_random(&random) % (POOL_ORDER + 1);
			held[nr].page = pool_random(&random) % POOL_PAGES;
			held[nr].page = held[nr].page >> held[nr].order << held[nr].order;
			nr += pool_take(held[nr].page, held[nr].order);
		} else if (nr) {
			i = pool_random(&random) % nr;
			pool_give(held[i].page, held[i].order);
			held[i] = held[--nr];
		}
	}
	while (nr--)
		pool_give(held[nr].page, held[nr].order);
	return NULL;
}

static double pool_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* How often the caller's function was called. */
static unsigned long pool_load(double seconds, void (*meanwhile)(void *arg), void *arg)
{
	const char *env = getenv("FPT_TEST_SECONDS");
	double end = pool_now() + (env ? atof(env) : seconds);
	pthread_t thread[POOL_WORKERS + POOL_REPORTERS];
	unsigned long calls = 0;
	unsigned int i;

	fpt_store(&pool_stop, 0, relaxed);
	for (i = 0; i < POOL_WORKERS + POOL_REPORTERS; i++)
		if (pthread_create(&thread[i], NULL, i < POOL_WORKERS ? pool_work : pool_report,
				   (void *)(uintptr_t)(i < POOL_WORKERS ? i : i - POOL_WORKERS)))
			abort();
	while (pool_now() < end || calls < 20 || fpt_load(&pool.allocated, relaxed) < 1000 ||
	       fpt_load(&pool.discarded, relaxed) < 20) {
		meanwhile(arg);
		calls++;
	}
	fpt_store(&pool_stop, 1, relaxed);
	for (i = 0; i < POOL_WORKERS + POOL_REPORTERS; i++)
		pthread_join(thread[i], NULL);
	return calls;
}
#endif

#endif
