/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * prim.c - what can one store cost? prim/...
 *
 * Every thread sets bits of 64 lines of its own, in an order that no prefetcher guesses, by one
 * call per bit through the boundary that hooks have. The address is known: no look-up, no
 * counter.
 *
 *	empty		the call
 *	plain_or	a load, an or, a store
 *	rseq_or		an or that is restarted where the thread was moved or preempted; only where
 *			the library has such sections
 *	lock_or		an atomic or
 *	load_then_or	an atomic or, but not where the bit is set already (here it never is)
 */
#include <fpt/compat/compat.h>

#include "bench.h"
#include "hook.h"

#define PRIM_WORDS 512u
#define PRIM_BITS 8u			/* of each word, per round */
#define PRIM_ROUND (PRIM_WORDS * PRIM_BITS)
#define PRIM_ROUNDS 8u			/* until all bits are set */

typedef bool prim_or(fpt_atomic_t *word, unsigned long bit, unsigned int cpu);

struct prim_what {
	prim_or *or;
	bool writes;
};

struct prim_thread {
	fpt_atomic_t *word;
	uint32_t *order;		/* of a round: word * PRIM_BITS + bit */
	unsigned int cpu;
	unsigned int at;		/* round */
} __attribute__((aligned(64)));

struct prim {
	const struct prim_what *what;
	unsigned int nr_threads;
	struct prim_thread *thread;
};

static bool prim_empty(fpt_atomic_t *word, unsigned long bit, unsigned int cpu)
{
	__asm__ __volatile__("" : : "r"(word), "r"(bit), "r"(cpu) : "memory");
	return true;
}

static bool prim_plain_or(fpt_atomic_t *word, unsigned long bit, unsigned int cpu)
{
	(void)cpu;
	word->v |= bit;
	return true;
}

static bool prim_lock_or(fpt_atomic_t *word, unsigned long bit, unsigned int cpu)
{
	(void)cpu;
	fpt_or(word, bit, seq_cst);
	return true;
}

static bool prim_load_then_or(fpt_atomic_t *word, unsigned long bit, unsigned int cpu)
{
	(void)cpu;
	if (!(fpt_load(word, relaxed) & bit))
		fpt_or(word, bit, seq_cst);
	return true;
}

#if defined(FPT_USER_RSEQ) && !defined(FPT_VIRTUAL_CPUS)
#define PRIM_RSEQ
/* The library's section with nothing in it but the or. cpu: that which the thread is pinned to. */
static bool prim_rseq_or(fpt_atomic_t *word, unsigned long bit, unsigned int cpu)
{
	unsigned long done;

	do {
#ifdef __x86_64__
		__asm__ __volatile__(
			FPT_USER_RSEQ_BEGIN FPT_USER_RSEQ_CPU
			"orq %[bit], %[word]\n"
			FPT_USER_RSEQ_END
			: [done] "=&r"(done)
			: FPT_USER_RSEQ_OPERANDS FPT_USER_RSEQ_CPU_OPERANDS(cpu),
			  [word] "m"(word->v), [bit] "er"(bit)
			: "memory", "cc");
#else	/* aarch64 */
		unsigned long now;

		__asm__ __volatile__(
			FPT_USER_RSEQ_BEGIN FPT_USER_RSEQ_CPU
			"ldr %[now], %[word]\n\t"
			"orr %[now], %[now], %[bit]\n\t"
			"str %[now], %[word]\n"
			FPT_USER_RSEQ_END
			: [done] "=&r"(done), [now] "=&r"(now)
			: FPT_USER_RSEQ_OPERANDS FPT_USER_RSEQ_CPU_OPERANDS(cpu),
			  [word] "Q"(word->v), [bit] "r"(bit)
			: "memory", "cc");
#endif
	} while (!done && fpt_user_cpu_id() == cpu);
	return done;
}
#endif

static void prim_run(void *instance, struct bench_thread *thread)
{
	struct prim *p = instance;
	struct prim_thread *own = &p->thread[thread->index];
	const struct prim_what *what = p->what;
	fpt_atomic_t *word = own->word;
	const uint32_t *order = own->order;
	const unsigned int cpu = own->cpu;
	unsigned int i, shift = own->at * PRIM_BITS;
	uint64_t wrong = 0;

	for (i = 0; i < PRIM_ROUND; i++)
		wrong += !what->or(&word[order[i] / PRIM_BITS],
				   1ul << (order[i] % PRIM_BITS + shift), cpu);
	thread->events += PRIM_ROUND;
	thread->wrong += wrong;
	own->at++;
}

/* A thread's bits are all as they have to be. */
static bool prim_right(const struct prim *p, const struct prim_thread *own)
{
	unsigned long bits = (own->at < PRIM_ROUNDS ? 1ul << own->at * PRIM_BITS : 0) - 1;
	unsigned int i;

	for (i = 0; i < PRIM_WORDS; i++)
		if (own->word[i].v != (p->what->writes ? bits : 0))
			return false;
	return true;
}

static void prim_between(void *instance)
{
	struct prim *p = instance;
	unsigned int i;

	for (i = 0; i < p->nr_threads; i++) {
		struct prim_thread *own = &p->thread[i];

		if (own->at < PRIM_ROUNDS || !prim_right(p, own))
			continue;	/* what is wrong stays, and is seen at the end */
		memset(own->word, 0, PRIM_WORDS * sizeof(*own->word));
		own->at = 0;
	}
}

static void prim_free(struct prim *p)
{
	unsigned int i;

	for (i = 0; p->thread && i < p->nr_threads; i++) {
		free(p->thread[i].word);
		free(p->thread[i].order);
	}
	free(p->thread);
	free(p);
}

static void *prim_setup(const struct bench *b, unsigned int nr_threads)
{
	struct prim *p = bench_memory(sizeof(*p));
	unsigned int i, k;
	bool ok;

	if (!p)
		return NULL;
	p->what = b->what;
	p->nr_threads = nr_threads;
	p->thread = bench_memory(nr_threads * sizeof(*p->thread));
	ok = p->thread;
	for (i = 0; ok && i < nr_threads; i++) {
		struct prim_thread *own = &p->thread[i];

		own->word = bench_memory(PRIM_WORDS * sizeof(*own->word));
		own->order = bench_memory(PRIM_ROUND * sizeof(*own->order));
		ok = own->word && own->order;
		if (!ok)
			break;
		for (k = 0; k < PRIM_ROUND; k++)
			own->order[k] = k;
		bench_shuffle(own->order, PRIM_ROUND, PRIM_ROUND, 2463534242u + i);
	}
	if (ok)
		return p;
	prim_free(p);
	return NULL;
}

static void prim_begin(void *instance, unsigned int thread)
{
	struct prim *p = instance;

	p->thread[thread].cpu = fpt_user_cpu_id();
}

static const char *prim_teardown(void *instance, struct bench_result *result)
{
	struct prim *p = instance;
	const char *error = NULL;
	unsigned int i;

	(void)result;
	for (i = 0; i < p->nr_threads; i++)
		if (!prim_right(p, &p->thread[i]))
			error = "bits are not as they have to be";
	prim_free(p);
	return error;
}

static void prim_register(const char *name, const struct prim_what *what)
{
	struct bench b = {
		.name = name, .what = what, .setup = prim_setup, .begin = prim_begin,
		.run = prim_run, .between = prim_between, .teardown = prim_teardown,
	};

	bench_register(&b);
}

void bench_prim(void)
{
	static const struct prim_what empty = { prim_empty, false },
		plain_or = { prim_plain_or, true }, lock_or = { prim_lock_or, true },
		load_then_or = { prim_load_then_or, true };
#ifdef PRIM_RSEQ
	static const struct prim_what rseq_or = { prim_rseq_or, true };
#endif

	prim_register("prim/empty", &empty);
	prim_register("prim/plain_or", &plain_or);
#ifdef PRIM_RSEQ
	if (fpt_sections())
		prim_register("prim/rseq_or", &rseq_or);
#endif
	prim_register("prim/lock_or", &lock_or);
	prim_register("prim/load_then_or", &load_then_or);
}
