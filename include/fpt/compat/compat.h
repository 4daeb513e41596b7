/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * compat.h - the seam: everything that differs between a kernel, user space and a test build
 *
 * No other header of fpt knows where it runs. Each backend defines the same names:
 *
 *	fpt_atomic_t				one machine word; zero bytes are a valid 0
 *	fpt_load(a, MO)				MO: relaxed, acquire, seq_cst
 *	fpt_store(a, v, MO)			MO: relaxed, release
 *	fpt_xchg(a, v, MO)			MO: acq_rel, seq_cst
 *	fpt_cas(a, old, new, MO)		MO: acq_rel; true when it was old and now is new
 *	fpt_fetch_or(a, v, MO)			MO: relaxed, acquire, release, seq_cst
 *	fpt_fetch_and(a, v, MO)			MO: relaxed, release, seq_cst
 *	fpt_fetch_add(a, v, MO)			MO: relaxed
 *	fpt_fetch_xor(a, v, MO)			MO: seq_cst
 *	fpt_or(a, v, MO)			MO: seq_cst. No result: on x86 one instruction, where
 *						those with one are compare-and-swap loops
 *	fpt_and(a, v, MO)			MO: relaxed, release, seq_cst
 *
 *	fpt_cpu(nr)				this CPU, in [0, nr); a hint: the caller may move on
 *						at once
 *	fpt_percpu_add(cpu, a, v)		add to a word that only these calls for that CPU
 *						write; false: not done, this code is not on that CPU
 *						(any more)
 *
 * Sections: a look at a word that all share, and writes to what belongs to one CPU, as if in one
 * step.
 *
 *	fpt_section_toggle(cpu, e, was_e, c, n, a, v)
 *						*c += n, then *a ^= v
 *						FPT_SECTION_DONE: this code was on that CPU, *e was
 *						was_e, and nobody else of that CPU came between;
 *						FPT_SECTION_COUNTED: it ended between the two;
 *						else: before
 *	fpt_section_or(cpu, e, was_e, c, n, a, bits)
 *						the same, *a |= bits
 *	fpt_section_and(cpu, e, was_e, c, n, a, bits)
 *						the same, *a &= bits
 *	fpt_section_replace(cpu, e, was_e, c, n, a, old, v)
 *						the same, *a = v, which was old; of a word that was looked at
 *						also a test-and-set, or a swap of pointers
 *	fpt_section_append(cpu, e, was_e, c, n, nr, was_nr, v)
 *						the same, *nr = was_nr + 1, which was was_nr; but first
 *						nr[1 + was_nr] = v, which may stay, though it got no further
 *	fpt_section_take(cpu, e, was_e, b, bits, z, w, bit, t, was_t, tag, c, n, a, v)
 *						the same, but first the cache line of z is zeroed, *w &= ~bit,
 *						then *b |= bits, then *t = tag, which was was_t. All of it may
 *						stay, though it got no further
 *	fpt_section_fence()			afterwards no section completes that looked before
 *	fpt_sections()				sections and their fence are there, or not: for good; at set-up
 *	fpt_section_cpu()			this CPU as sections compare it, a hint like fpt_cpu()'s, which
 *						may be beyond all CPUs; without sections anything
 *
 *	fpt_lock_t, fpt_lock_init(l), fpt_lock(l), fpt_unlock(l)
 *						spinlock, safe against interrupts; blocking
 *	fpt_pause()				inside a wait
 *	fpt_rcu_read_lock(), fpt_rcu_read_unlock(), fpt_rcu_synchronize()
 *						user space: liburcu's flavour bp with FPT_RCU
 *						defined (it needs no registration call), else they
 *						do nothing
 *	FPT_RCU_WAITS				constant: fpt_rcu_synchronize() waits for readers
 *	fpt_memory_get(size), fpt_memory_put(p, size)
 *						zeroed memory, for donation; NULL without
 *	fpt_zero(p, n)
 *	fpt_ctz(w), fpt_fls(w)			index of the lowest, of the highest set bit; w is
 *						not 0
 *	FPT_ASSERT(x)				a claim of the author, not a check of input
 *	FPT_CACHE_LINE				bytes; a constant
 *	FPT_LIKELY(x), FPT_UNLIKELY(x)		of hooks: what comes next in memory
 *
 * Orders are C11's: seq_cst operations are in one total order, which some places rely on and name
 * as "store, then look": each side writes its own word, then reads the other's, and at least one
 * of them sees the other. There are no stand-alone fences (ThreadSanitizer does not model them).
 *
 * Backends: user.h (C11 atomics as the compiler's builtins, so that C++ can include them), linux.h
 * (the kernel's memory model), model.h (sequentially consistent, each access announced to a test).
 */
#ifndef FPT_COMPAT_H
#define FPT_COMPAT_H

#define FPT_LIKELY(x) __builtin_expect(!!(x), 1)
#define FPT_UNLIKELY(x) __builtin_expect(!!(x), 0)

#if defined(__KERNEL__)
#include <fpt/compat/linux.h>
#elif defined(FPT_MODEL)
#include <fpt/compat/model.h>
#else
#include <fpt/compat/user.h>
#endif

#define FPT_WORD_BITS (8u * (unsigned int)sizeof(unsigned long))

#endif
