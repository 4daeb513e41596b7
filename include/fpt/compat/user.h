/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * user.h - the seam in user space: the compiler's C11 atomics, glibc
 *
 * CPU ids. With FPT_VIRTUAL_CPUS the program owns the notion of a CPU: it sets fpt_virtual_cpu in
 * every thread, at most one thread per id at a time, ids below the tracker's nr_cpus. That is how
 * a 64-CPU trace replays on two. Without, the id is the one that the kernel keeps in the thread's
 * restartable-sequence area (glibc >= 2.35 registers it), or sched_getcpu()'s where there is none.
 */
#ifndef FPT_COMPAT_USER_H
#define FPT_COMPAT_USER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef FPT_RCU
#include <urcu-bp.h>
#endif

#include <fpt/compat/section.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FPT_CACHE_LINE 64
#define FPT_ASSERT(x) assert(x)

typedef struct {
	unsigned long v;
} fpt_atomic_t;

#define FPT_MO_relaxed __ATOMIC_RELAXED
#define FPT_MO_acquire __ATOMIC_ACQUIRE
#define FPT_MO_release __ATOMIC_RELEASE
#define FPT_MO_acq_rel __ATOMIC_ACQ_REL
#define FPT_MO_seq_cst __ATOMIC_SEQ_CST

#define fpt_load(a, mo) __atomic_load_n(&(a)->v, FPT_MO_##mo)
#define fpt_store(a, val, mo) __atomic_store_n(&(a)->v, (val), FPT_MO_##mo)
#define fpt_xchg(a, val, mo) __atomic_exchange_n(&(a)->v, (val), FPT_MO_##mo)
#define fpt_cas(a, old, val, mo) fpt_user_cas((a), (old), (val), FPT_MO_##mo)
#define fpt_fetch_or(a, val, mo) __atomic_fetch_or(&(a)->v, (val), FPT_MO_##mo)
#define fpt_fetch_and(a, val, mo) __atomic_fetch_and(&(a)->v, (val), FPT_MO_##mo)
#define fpt_or(a, val, mo) ((void)fpt_fetch_or(a, val, mo))
#define fpt_and(a, val, mo) ((void)fpt_fetch_and(a, val, mo))
#define fpt_fetch_add(a, val, mo) __atomic_fetch_add(&(a)->v, (val), FPT_MO_##mo)
#define fpt_fetch_xor(a, val, mo) __atomic_fetch_xor(&(a)->v, (val), FPT_MO_##mo)

/* A failed exchange orders nothing that a caller may rely on. */
static inline bool fpt_user_cas(fpt_atomic_t *a, unsigned long old, unsigned long val, int mo)
{
	return __atomic_compare_exchange_n(&a->v, &old, val, false, mo, __ATOMIC_RELAXED);
}

static inline void fpt_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

/* Bound by symbol: the C library hides the declarations from a strict C11 program. */
extern int fpt_user_sched_getcpu(void) __asm__("sched_getcpu");
extern int fpt_user_sched_yield(void) __asm__("sched_yield");

#if defined(__GLIBC__) && defined(__LP64__) && (defined(__x86_64__) || defined(__aarch64__))
#if __GLIBC_PREREQ(2, 35)
#include <sys/rseq.h>
#define FPT_USER_RSEQ_ID
#endif
#endif

#ifdef FPT_USER_RSEQ_ID
#ifndef __x86_64__
/* The area of this thread, where __rseq_size is not 0. */
static inline struct rseq *fpt_user_rseq(void)
{
	char *self;

	__asm__("mrs %0, tpidr_el0" : "=r"(self));
	return (struct rseq *)(void *)(self + __rseq_offset);
}
#endif

/* The kernel's word on where this thread runs; beyond all CPUs where the area was not registered. */
static inline uint32_t fpt_user_rseq_cpu(void)
{
#ifdef __x86_64__
	uint32_t cpu;

	__asm__ __volatile__("movl %%fs:%c[id](%[area]), %[cpu]" : [cpu] "=r"(cpu)
			     : [area] "r"(__rseq_offset), [id] "i"(offsetof(struct rseq, cpu_id)));
	return cpu;
#else
	return __atomic_load_n(&fpt_user_rseq()->cpu_id, __ATOMIC_RELAXED);
#endif
}
#endif

/*
 * Restartable sections, where ThreadSanitizer need not understand them. The kernel sends a thread
 * that is preempted, moved, or interrupted by a signal between labels 1 and 2 to 4 instead of back.
 * So the last instruction, which commits, runs on the CPU that was compared, and no other thread of
 * that CPU between the two.
 */
#ifdef FPT_USER_RSEQ_ID
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define FPT_USER_TSAN
#endif
#endif
#if !defined(FPT_USER_TSAN) && !defined(__SANITIZE_THREAD__)
#define FPT_USER_RSEQ
#endif
#endif

#ifdef FPT_USER_RSEQ
#define FPT_USER_RSEQ_DESCRIPTOR \
	".pushsection __rseq_cs, \"aw?\"\n\t" \
	".balign 32\n" \
	"3:\n\t" \
	".long 0, 0\n\t"			/* version, flags */ \
	".quad 1f, 2f - 1f, 4f\n\t"	/* first, length, where to go instead */ \
	".popsection\n\t"

#ifdef __x86_64__
#define FPT_USER_RSEQ_OPERANDS \
	[area] "r"(__rseq_offset), [section] "i"(offsetof(struct rseq, rseq_cs)), \
	[signature] "i"(RSEQ_SIG)

/* For tests, which interrupt here: instructions that may change nothing but flags. */
#ifndef FPT_USER_RSEQ_INJECT
#define FPT_USER_RSEQ_INJECT(point)
#endif
/* And where flags must stay, and done, which is 1. */
#ifndef FPT_USER_RSEQ_INJECT_DONE
#define FPT_USER_RSEQ_INJECT_DONE(point)
#endif

/*
 * done is the scratch register, and the result. No asm goto: gcc 12 takes the registers that one
 * says it clobbers for its operands.
 */
#define FPT_USER_RSEQ_BEGIN \
	FPT_USER_RSEQ_DESCRIPTOR \
	"leaq 3b(%%rip), %[done]\n\t" \
	"movq %[done], %%fs:%c[section](%[area])\n" \
	"1:\n\t" \
	FPT_USER_RSEQ_INJECT(0) \
	"xorl %k[done], %k[done]\n\t"
/*
 * 5: when a comparison fails, and after failed. Before 4: an undefined instruction, and glibc's
 * signature, which the kernel looks for.
 */
#define FPT_USER_RSEQ_FAILURE(failed) \
	"5:\n\t" \
	".pushsection __rseq_failure, \"ax?\"\n\t" \
	".byte 0x0f, 0xb9, 0x3d\n\t" \
	".long %c[signature]\n" \
	"4:\n\t" \
	failed \
	"jmp 5b\n\t" \
	".popsection\n\t"
#define FPT_USER_RSEQ_END \
	"2:\n\t" \
	"movl $1, %k[done]\n" \
	FPT_USER_RSEQ_FAILURE("xorl %k[done], %k[done]\n\t")
#ifdef FPT_VIRTUAL_CPUS		/* one thread per id: it is on no other's */
#define FPT_USER_RSEQ_CPU
#define FPT_USER_RSEQ_CPU_OPERANDS(cpu)
#else
#define FPT_USER_RSEQ_CPU "cmpl %[cpu_], %%fs:%c[id](%[area])\n\tjne 5f\n\t"
#define FPT_USER_RSEQ_CPU_OPERANDS(cpu) , [cpu_] "r"(cpu), [id] "i"(offsetof(struct rseq, cpu_id))
#endif

/*
 * A counter, then a word: whoever is sent to 4 must know whether the first was written. The carry is
 * set before, an addition that does not overflow clears it, and the kernel leaves flags and registers
 * as they were. done is not 1 as long as the carry may be anything.
 */
#define FPT_USER_RSEQ_COUNT_THEN(commit) \
	FPT_USER_RSEQ_INJECT(4) \
	"stc\n\t" \
	"movl $1, %k[done]\n\t" \
	FPT_USER_RSEQ_INJECT_DONE(6) \
	"addq %[n], %[c]\n\t" \
	FPT_USER_RSEQ_INJECT_DONE(7) \
	commit "\n" \
	"2:\n" \
	FPT_USER_RSEQ_FAILURE( \
		"jc 6f\n\t" \
		"cmpq $1, %[done]\n\t" \
		"jne 6f\n\t" \
		"movl %[counted], %k[done]\n\t" \
		"jmp 5b\n" \
		"6:\n\t" \
		"xorl %k[done], %k[done]\n\t") \
	FPT_USER_RSEQ_INJECT(5)

/* What all but an addition begin with. */
#define FPT_USER_RSEQ_LOOK \
	FPT_USER_RSEQ_BEGIN FPT_USER_RSEQ_CPU \
	FPT_USER_RSEQ_INJECT(1) \
	"cmpq %[was_e], %[e]\n\tjne 5f\n\t" \
	FPT_USER_RSEQ_INJECT(2)
#define FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e_, was) \
	FPT_USER_RSEQ_OPERANDS FPT_USER_RSEQ_CPU_OPERANDS(cpu), [e] "m"((e_)->v), \
	[was_e] "er"(was)
#define FPT_USER_RSEQ_COUNT_OPERANDS(c_, n_) \
	[c] "m"((c_)->v), [n] "er"(n_), [counted] "i"(FPT_SECTION_COUNTED)

/* Of one word, by one instruction. */
#define FPT_USER_RSEQ_CHANGE(name, instruction) \
	static inline unsigned long name(unsigned int cpu, fpt_atomic_t *e, unsigned long was_e, \
					 fpt_atomic_t *c, unsigned long n, fpt_atomic_t *a, \
					 unsigned long val) \
	{ \
		unsigned long done; \
		\
		(void)cpu; \
		__asm__ __volatile__( \
			FPT_USER_RSEQ_LOOK \
			FPT_USER_RSEQ_COUNT_THEN(instruction " %[val], %[a]") \
			: [done] "=&r"(done) \
			: FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e, was_e), \
			  FPT_USER_RSEQ_COUNT_OPERANDS(c, n), [a] "m"(a->v), [val] "er"(val) \
			: "memory", "cc"); \
		return done; \
	}

FPT_USER_RSEQ_CHANGE(fpt_section_toggle, "xorq")
FPT_USER_RSEQ_CHANGE(fpt_section_or, "orq")
FPT_USER_RSEQ_CHANGE(fpt_section_and, "andq")

/*
 * The first part of fpt_section_take(): all but the toggle. Values are in memory, as there are not
 * registers for all; done is where they are needed.
 */
static inline bool fpt_user_rseq_put(unsigned int cpu, fpt_atomic_t *e, unsigned long was_e,
				     fpt_atomic_t *t, unsigned long was_t, unsigned long val,
				     fpt_atomic_t *a, unsigned long bits, fpt_atomic_t *z,
				     fpt_atomic_t *w, unsigned long bit)
{
	unsigned long done;

	(void)cpu;
	__asm__ __volatile__(
		FPT_USER_RSEQ_LOOK
		"movq %[was_t], %[done]\n\t"
		"cmpq %[done], %[t]\n\t"
		"jne 4f\n\t"
		FPT_USER_RSEQ_INJECT(3)
		"movq $0, (%[z])\n\t"
		"movq $0, 8(%[z])\n\t"
		"movq $0, 16(%[z])\n\t"
		"movq $0, 24(%[z])\n\t"
		FPT_USER_RSEQ_INJECT(8)
		"movq $0, 32(%[z])\n\t"
		"movq $0, 40(%[z])\n\t"
		"movq $0, 48(%[z])\n\t"
		"movq $0, 56(%[z])\n\t"
		FPT_USER_RSEQ_INJECT(9)
		"movq %[bit], %[done]\n\t"
		"testq %[done], %[w]\n\t"
		"jz 8f\n\t"
		FPT_USER_RSEQ_INJECT(10)
		"xorq %[done], %[w]\n"
		"8:\n\t"
		"movq %[bits], %[done]\n\t"
		FPT_USER_RSEQ_INJECT(11)
		"orq %[done], %[a]\n\t"
		"movq %[val], %[done]\n\t"
		FPT_USER_RSEQ_INJECT(12)
		"movq %[done], %[t]\n"
		FPT_USER_RSEQ_END
		FPT_USER_RSEQ_INJECT(13)
		: [done] "=&r"(done)
		: FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e, was_e), [t] "m"(t->v), [was_t] "m"(was_t),
		  [val] "m"(val), [a] "m"(a->v), [bits] "m"(bits), [z] "r"(z), [w] "m"(w->v),
		  [bit] "m"(bit)
		: "memory", "cc");
	return done;
}

static inline unsigned long fpt_section_replace(unsigned int cpu, fpt_atomic_t *e,
						unsigned long was_e, fpt_atomic_t *c,
						unsigned long n, fpt_atomic_t *a,
						unsigned long old, unsigned long val)
{
	unsigned long done;

	(void)cpu;
	__asm__ __volatile__(
		FPT_USER_RSEQ_LOOK
		"cmpq %[old], %[a]\n\t"
		"jne 5f\n\t"
		FPT_USER_RSEQ_INJECT(3)
		FPT_USER_RSEQ_COUNT_THEN("movq %[val], %[a]")
		: [done] "=&r"(done)
		: FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e, was_e),
		  FPT_USER_RSEQ_COUNT_OPERANDS(c, n), [a] "m"(a->v), [old] "r"(old), [val] "r"(val)
		: "memory", "cc");
	return done;
}

static inline unsigned long fpt_section_append(unsigned int cpu, fpt_atomic_t *e,
					       unsigned long was_e, fpt_atomic_t *c,
					       unsigned long n, fpt_atomic_t *nr,
					       unsigned long was_nr, unsigned long val)
{
	unsigned long done;

	(void)cpu;
	__asm__ __volatile__(
		FPT_USER_RSEQ_LOOK
		"cmpq %[was_nr], (%[nr])\n\t"
		"jne 5f\n\t"
		FPT_USER_RSEQ_INJECT(3)
		"movq %[val], 8(%[nr], %[was_nr], 8)\n\t"
		FPT_USER_RSEQ_COUNT_THEN("incq (%[nr])")
		: [done] "=&r"(done)
		: FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e, was_e),
		  FPT_USER_RSEQ_COUNT_OPERANDS(c, n), [nr] "r"(nr), [was_nr] "r"(was_nr), [val] "r"(val)
		: "memory", "cc");
	return done;
}

static inline bool fpt_user_rseq_add(unsigned int cpu, fpt_atomic_t *a, unsigned long val)
{
	unsigned long done;

	(void)cpu;
	__asm__ __volatile__(
		FPT_USER_RSEQ_BEGIN FPT_USER_RSEQ_CPU
		"addq %[val], %[a]\n"
		FPT_USER_RSEQ_END
		: [done] "=&r"(done)
		: FPT_USER_RSEQ_OPERANDS FPT_USER_RSEQ_CPU_OPERANDS(cpu), [a] "m"(a->v),
		  [val] "er"(val)
		: "memory", "cc");
	return done;
}

#else	/* aarch64 */
#define FPT_USER_RSEQ_OPERANDS \
	[self] "r"(fpt_user_rseq()), [section] "i"(offsetof(struct rseq, rseq_cs)), \
	[signature] "i"(RSEQ_SIG)

/*
 * done is the result, now a scratch register. The look is a load-acquire; what the fence orders
 * needs nothing more.
 */
#define FPT_USER_RSEQ_BEGIN \
	FPT_USER_RSEQ_DESCRIPTOR \
	"adrp %[now], 3b\n\t" \
	"add %[now], %[now], :lo12:3b\n\t" \
	"str %[now], [%[self], %[section]]\n" \
	"1:\n\t" \
	"mov %[done], #0\n\t"
/*
 * 5: when a comparison fails, and after failed. Before 4: glibc's signature, a breakpoint that
 * nobody reaches.
 */
#define FPT_USER_RSEQ_END_OR(failed) \
	"2:\n\t" \
	"mov %[done], #1\n" \
	"5:\n\t" \
	".pushsection __rseq_failure, \"ax?\"\n\t" \
	".long %c[signature]\n" \
	"4:\n\t" \
	failed \
	"b 5b\n\t" \
	".popsection\n\t"
#define FPT_USER_RSEQ_END FPT_USER_RSEQ_END_OR("mov %[done], #0\n\t")
#ifdef FPT_VIRTUAL_CPUS
#define FPT_USER_RSEQ_CPU
#define FPT_USER_RSEQ_CPU_OPERANDS(cpu)
#else
#define FPT_USER_RSEQ_CPU \
	"ldr %w[now], [%[self], %[id]]\n\tcmp %w[now], %w[cpu_]\n\tb.ne 5f\n\t"
#define FPT_USER_RSEQ_CPU_OPERANDS(cpu) , [cpu_] "r"(cpu), [id] "i"(offsetof(struct rseq, cpu_id))
#endif
#define FPT_USER_RSEQ_EQUAL(word, was) \
	"ldr %[now], %[" word "]\n\tcmp %[now], %[" was "]\n\tb.ne 5f\n\t"
#define FPT_USER_RSEQ_LOOK \
	FPT_USER_RSEQ_BEGIN FPT_USER_RSEQ_CPU \
	"ldar %[now], %[e]\n\tcmp %[now], %[was_e]\n\tb.ne 5f\n\t"
#define FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e_, was) \
	FPT_USER_RSEQ_OPERANDS FPT_USER_RSEQ_CPU_OPERANDS(cpu), [e] "Q"((e_)->v), [was_e] "r"(was)

static inline bool fpt_user_rseq_add(unsigned int cpu, fpt_atomic_t *a, unsigned long val)
{
	unsigned long done, now;

	(void)cpu;
	__asm__ __volatile__(
		FPT_USER_RSEQ_BEGIN FPT_USER_RSEQ_CPU
		"ldr %[now], %[a]\n\t"
		"add %[now], %[now], %[val]\n\t"
		"str %[now], %[a]\n"
		FPT_USER_RSEQ_END
		: [done] "=&r"(done), [now] "=&r"(now)
		: FPT_USER_RSEQ_OPERANDS FPT_USER_RSEQ_CPU_OPERANDS(cpu), [a] "Q"(a->v),
		  [val] "r"(val)
		: "memory", "cc");
	return done;
}

/*
 * A counter, then a word: whoever is sent to 4 must know whether the first was written. A store that
 * moves its address register does both or neither, and the kernel leaves registers as they were.
 */
#define FPT_USER_RSEQ_COUNT_THEN(commit) \
	"ldr %[now], [%[at]]\n\t" \
	"add %[now], %[now], %[n]\n\t" \
	"str %[now], [%[at]], #8\n\t" \
	commit "\n" \
	FPT_USER_RSEQ_END_OR( \
		"cmp %[at], %[c]\n\t" \
		"mov %[done], #%c[counted]\n\t" \
		"csel %[done], %[done], xzr, ne\n\t")
#define FPT_USER_RSEQ_COUNT_OPERANDS(c_, n_) \
	[c] "r"(c_), [n] "r"(n_), [counted] "i"(FPT_SECTION_COUNTED)

/* Of one word, by one instruction and a store. */
#define FPT_USER_RSEQ_CHANGE(name, instruction) \
	static inline unsigned long name(unsigned int cpu, fpt_atomic_t *e, unsigned long was_e, \
					 fpt_atomic_t *c, unsigned long n, fpt_atomic_t *a, \
					 unsigned long val) \
	{ \
		unsigned long done, now, next; \
		fpt_atomic_t *at = c; \
		\
		(void)cpu; \
		__asm__ __volatile__( \
			FPT_USER_RSEQ_LOOK \
			"ldr %[next], %[a]\n\t" \
			instruction " %[next], %[next], %[val]\n\t" \
			FPT_USER_RSEQ_COUNT_THEN("str %[next], %[a]") \
			: [done] "=&r"(done), [now] "=&r"(now), [next] "=&r"(next), [at] "+&r"(at) \
			: FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e, was_e), \
			  FPT_USER_RSEQ_COUNT_OPERANDS(c, n), [a] "Q"(a->v), [val] "r"(val) \
			: "memory", "cc"); \
		return done; \
	}

FPT_USER_RSEQ_CHANGE(fpt_section_toggle, "eor")
FPT_USER_RSEQ_CHANGE(fpt_section_or, "orr")
FPT_USER_RSEQ_CHANGE(fpt_section_and, "and")

/* The first part of fpt_section_take(): all but the toggle. */
static inline bool fpt_user_rseq_put(unsigned int cpu, fpt_atomic_t *e, unsigned long was_e,
				     fpt_atomic_t *t, unsigned long was_t, unsigned long val,
				     fpt_atomic_t *a, unsigned long bits, fpt_atomic_t *z,
				     fpt_atomic_t *w, unsigned long bit)
{
	unsigned long done, now;

	(void)cpu;
	__asm__ __volatile__(
		FPT_USER_RSEQ_LOOK
		FPT_USER_RSEQ_EQUAL("t", "was_t")
		"stp xzr, xzr, [%[z]]\n\t"
		"stp xzr, xzr, [%[z], #16]\n\t"
		"stp xzr, xzr, [%[z], #32]\n\t"
		"stp xzr, xzr, [%[z], #48]\n\t"
		"ldr %[now], %[w]\n\t"
		"tst %[now], %[bit]\n\t"
		"b.eq 8f\n\t"
		"bic %[now], %[now], %[bit]\n\t"
		"str %[now], %[w]\n"
		"8:\n\t"
		"ldr %[now], %[a]\n\t"
		"orr %[now], %[now], %[bits]\n\t"
		"str %[now], %[a]\n\t"
		"str %[val], %[t]\n"
		FPT_USER_RSEQ_END
		: [done] "=&r"(done), [now] "=&r"(now)
		: FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e, was_e), [t] "Q"(t->v), [was_t] "r"(was_t),
		  [val] "r"(val), [a] "Q"(a->v), [bits] "r"(bits), [z] "r"(z), [w] "Q"(w->v),
		  [bit] "r"(bit)
		: "memory", "cc");
	return done;
}

static inline unsigned long fpt_section_replace(unsigned int cpu, fpt_atomic_t *e,
						unsigned long was_e, fpt_atomic_t *c,
						unsigned long n, fpt_atomic_t *a,
						unsigned long old, unsigned long val)
{
	unsigned long done, now;
	fpt_atomic_t *at = c;

	(void)cpu;
	__asm__ __volatile__(
		FPT_USER_RSEQ_LOOK
		FPT_USER_RSEQ_EQUAL("a", "old")
		FPT_USER_RSEQ_COUNT_THEN("str %[val], %[a]")
		: [done] "=&r"(done), [now] "=&r"(now), [at] "+&r"(at)
		: FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e, was_e), FPT_USER_RSEQ_COUNT_OPERANDS(c, n),
		  [a] "Q"(a->v), [old] "r"(old), [val] "r"(val)
		: "memory", "cc");
	return done;
}

static inline unsigned long fpt_section_append(unsigned int cpu, fpt_atomic_t *e,
					       unsigned long was_e, fpt_atomic_t *c,
					       unsigned long n, fpt_atomic_t *nr,
					       unsigned long was_nr, unsigned long val)
{
	unsigned long done, now, next;
	fpt_atomic_t *at = c;

	(void)cpu;
	__asm__ __volatile__(
		FPT_USER_RSEQ_LOOK
		FPT_USER_RSEQ_EQUAL("nr", "was_nr")
		"add %[next], %[now], #1\n\t"
		"str %[val], %[a]\n\t"
		FPT_USER_RSEQ_COUNT_THEN("str %[next], %[nr]")
		: [done] "=&r"(done), [now] "=&r"(now), [next] "=&r"(next), [at] "+&r"(at)
		: FPT_USER_RSEQ_LOOK_OPERANDS(cpu, e, was_e), FPT_USER_RSEQ_COUNT_OPERANDS(c, n),
		  [nr] "Q"(nr->v), [was_nr] "r"(was_nr), [a] "Q"(nr[1 + was_nr].v), [val] "r"(val)
		: "memory", "cc");
	return done;
}
#endif

/*
 * An entry that is empty gets its tag, and before that its line is zeroed. It is empty until then, so
 * that the toggle may be a section of its own: who comes between finds the tag, and a line of zeroes.
 */
static inline unsigned long fpt_section_take(unsigned int cpu, fpt_atomic_t *e,
					     unsigned long was_e, fpt_atomic_t *b,
					     unsigned long bits, fpt_atomic_t *z, fpt_atomic_t *w,
					     unsigned long bit, fpt_atomic_t *t,
					     unsigned long was_t, unsigned long tag,
					     fpt_atomic_t *c, unsigned long n, fpt_atomic_t *a,
					     unsigned long val)
{
	if (!fpt_user_rseq_put(cpu, e, was_e, t, was_t, tag, b, bits, z, w, bit))
		return 0;
	return fpt_section_toggle(cpu, e, was_e, c, n, a, val);
}

/* linux/membarrier.h's, and the kernel's number: the C library has no function for it. */
#ifdef __x86_64__
#define FPT_USER_MEMBARRIER 324L
#else
#define FPT_USER_MEMBARRIER 283L
#endif
#define FPT_USER_MEMBARRIER_RSEQ (1L << 7)
#define FPT_USER_MEMBARRIER_REGISTER_RSEQ (1L << 8)

extern long fpt_user_syscall(long number, ...) __asm__("syscall");

static inline bool fpt_user_membarrier(long command)
{
	return fpt_user_syscall(FPT_USER_MEMBARRIER, command, 0L, 0L) == 0;
}
#endif

/* Of a process: all of its threads have them, or none uses them. */
static inline bool fpt_sections(void)
{
#ifdef FPT_USER_RSEQ
	return __rseq_size && fpt_user_membarrier(FPT_USER_MEMBARRIER_REGISTER_RSEQ);
#else
	return false;
#endif
}

#define FPT_USER_FENCE_TRIES 1000000u

static inline void fpt_section_fence(void)
{
#ifdef FPT_USER_RSEQ
	unsigned int tries = 0;

	/* It was registered; the kernel may want memory for it. Nobody may go on without. */
	while (!fpt_user_membarrier(FPT_USER_MEMBARRIER_RSEQ))
		if (++tries == FPT_USER_FENCE_TRIES)
			abort();
#endif
}

#ifndef FPT_USER_RSEQ
static inline unsigned long fpt_user_no_section(unsigned int cpu, ...)
{
	(void)cpu;
	return 0;
}

#define fpt_section_toggle fpt_user_no_section
#define fpt_section_or fpt_user_no_section
#define fpt_section_and fpt_user_no_section
#define fpt_section_replace fpt_user_no_section
#define fpt_section_append fpt_user_no_section
#define fpt_section_take fpt_user_no_section
#endif

#ifdef FPT_VIRTUAL_CPUS

extern __thread unsigned int fpt_virtual_cpu;

static inline unsigned int fpt_section_cpu(void)
{
	return fpt_virtual_cpu;
}

static inline unsigned int fpt_cpu(unsigned int nr)
{
	FPT_ASSERT(fpt_virtual_cpu < nr);
	return fpt_virtual_cpu % nr;
}

/* One thread per virtual CPU: nobody else adds to its words. */
static inline bool fpt_percpu_add(unsigned int cpu, fpt_atomic_t *a, unsigned long val)
{
	(void)cpu;
	fpt_store(a, fpt_load(a, relaxed) + val, relaxed);
	return true;
}

#else

static inline unsigned int fpt_user_cpu_id(void)
{
	int id;
#ifdef FPT_USER_RSEQ_ID
	if (__rseq_size) {
		uint32_t now = fpt_user_rseq_cpu();

		if (now <= INT32_MAX)	/* otherwise not registered, see rseq(2) */
			return now;
	}
#endif
	/* The vDSO's, so no system call, where the kernel has one. */
	id = fpt_user_sched_getcpu();
	return id < 0 ? 0 : (unsigned int)id;
}

/* Every thread has the area. Where it was not registered, the id in it is beyond all CPUs. */
static inline unsigned int fpt_section_cpu(void)
{
#ifdef FPT_USER_RSEQ
	return fpt_user_rseq_cpu();
#else
	return 0;
#endif
}

/*
 * An id beyond nr (a CPU added later) shares another's area: where words are atomic. Sections refuse
 * it, and it takes the way that is anybody's.
 */
static inline unsigned int fpt_cpu(unsigned int nr)
{
	unsigned int id = fpt_user_cpu_id();

	return id < nr ? id : id % nr;
}

/*
 * Without restartable sections atomic: the thread may have moved since it read its CPU's id, so
 * that two can add at once. All threads of a process do the same, so that both do not meet in a
 * word: a thread that has no area of its own is on no CPU.
 */
static inline bool fpt_percpu_add(unsigned int cpu, fpt_atomic_t *a, unsigned long val)
{
#ifdef FPT_USER_RSEQ
	if (__rseq_size)
		return fpt_user_rseq_add(cpu, a, val);
#endif
	(void)cpu;
	fpt_fetch_add(a, val, relaxed);
	return true;
}

#endif

typedef struct {
	fpt_atomic_t held;
} fpt_lock_t;

static inline void fpt_lock_init(fpt_lock_t *l)
{
	fpt_store(&l->held, 0, relaxed);
}

/* Blocking. Gives the CPU away after a while: the holder may wait for it to run. */
static inline void fpt_lock(fpt_lock_t *l)
{
	unsigned int spins = 0;

	while (fpt_load(&l->held, relaxed) || !fpt_cas(&l->held, 0, 1, acq_rel)) {
		fpt_pause();
		if (++spins % 128 == 0)
			fpt_user_sched_yield();
	}
}

static inline void fpt_unlock(fpt_lock_t *l)
{
	fpt_store(&l->held, 0, release);	/* pairs with the cas in fpt_lock() */
}

#ifdef FPT_RCU
#define FPT_RCU_WAITS true

static inline void fpt_rcu_read_lock(void)
{
	urcu_bp_read_lock();
}

static inline void fpt_rcu_read_unlock(void)
{
	urcu_bp_read_unlock();
}

static inline void fpt_rcu_synchronize(void)
{
	urcu_bp_synchronize_rcu();
}
#else
#define FPT_RCU_WAITS false

static inline void fpt_rcu_read_lock(void)
{
}

static inline void fpt_rcu_read_unlock(void)
{
}

static inline void fpt_rcu_synchronize(void)
{
}
#endif

static inline void *fpt_memory_get(size_t size)
{
	return calloc(1, size);
}

static inline void fpt_memory_put(void *p, size_t size)
{
	(void)size;
	free(p);
}

static inline void fpt_zero(void *p, size_t n)
{
	memset(p, 0, n);
}

static inline unsigned int fpt_ctz(unsigned long w)
{
	return (unsigned int)__builtin_ctzl(w);
}

static inline unsigned int fpt_fls(unsigned long w)
{
	return 8u * (unsigned int)sizeof(w) - 1 - (unsigned int)__builtin_clzl(w);
}

#ifdef __cplusplus
}
#endif

#endif
