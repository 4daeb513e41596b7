/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * linux.h - the seam in the Linux kernel: its memory model's primitives
 *
 *	C11 here	Linux			note
 *	load relaxed	atomic_long_read
 *	load acquire	atomic_long_read_acquire
 *	load seq_cst	smp_mb + read_acquire	value-returning read-modify-writes are fully ordered, so
 *						only two loads or a store and a load need the barrier
 *	store release	atomic_long_set_release
 *	fetch_* MO	atomic_long_fetch_*	_relaxed, _acquire, _release; seq_cst: fully ordered
 *	or, and		atomic_long_or, _and	with smp_mb__before_atomic and, for seq_cst, __after_atomic
 *	xchg, cas	atomic_long_xchg, atomic_long_try_cmpxchg (fully ordered, so no weaker than acq_rel)
 *	percpu_add	local_add		preemption off: one instruction, or what the architecture
 *						has, that no interrupt on this CPU can divide
 *	section_*	local_irq_save		plain loads and stores of what is this CPU's
 *	section_fence	synchronize_rcu		sleeps; waits for code with interrupts off, too
 *	lock, unlock	spin_lock_irqsave, spin_unlock_irqrestore
 *	rcu_*		rcu_read_lock, rcu_read_unlock, synchronize_rcu (which may sleep)
 *
 * Any context but NMI in which RCU is watching (not the inner part of the idle loop, nor a CPU on its
 * way out); interrupts on or off.
 */
#ifndef FPT_COMPAT_LINUX_H
#define FPT_COMPAT_LINUX_H

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/bug.h>
#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/irqflags.h>
#include <linux/preempt.h>
#include <linux/processor.h>
#include <linux/rcupdate.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/vmalloc.h>

#include <asm/local.h>

#include <fpt/compat/section.h>

#define FPT_CACHE_LINE SMP_CACHE_BYTES
#define FPT_ASSERT(x) WARN_ON_ONCE(!(x))

typedef atomic_long_t fpt_atomic_t;

static inline unsigned long fpt_linux_load_seq_cst(fpt_atomic_t *a)
{
	smp_mb();	/* between an earlier store or load and this one */
	return (unsigned long)atomic_long_read_acquire(a);
}

static inline bool fpt_linux_cas(fpt_atomic_t *a, unsigned long old, unsigned long val)
{
	long expected = (long)old;

	return atomic_long_try_cmpxchg(a, &expected, (long)val);
}

#define fpt_load_relaxed(a) ((unsigned long)atomic_long_read(a))
#define fpt_load_acquire(a) ((unsigned long)atomic_long_read_acquire(a))
#define fpt_load_seq_cst(a) fpt_linux_load_seq_cst(a)
#define fpt_load(a, mo) fpt_load_##mo(a)

#define fpt_store_relaxed(a, val) atomic_long_set(a, (long)(val))
#define fpt_store_release(a, val) atomic_long_set_release(a, (long)(val))
#define fpt_store(a, val, mo) fpt_store_##mo(a, val)

#define fpt_xchg_acq_rel(a, val) ((unsigned long)atomic_long_xchg(a, (long)(val)))
#define fpt_xchg_seq_cst(a, val) ((unsigned long)atomic_long_xchg(a, (long)(val)))
#define fpt_xchg(a, val, mo) fpt_xchg_##mo(a, val)
#define fpt_cas_acq_rel(a, old, val) fpt_linux_cas(a, old, val)
#define fpt_cas(a, old, val, mo) fpt_cas_##mo(a, old, val)

#define fpt_fetch_or_relaxed(a, val) ((unsigned long)atomic_long_fetch_or_relaxed((long)(val), a))
#define fpt_fetch_or_acquire(a, val) ((unsigned long)atomic_long_fetch_or_acquire((long)(val), a))
#define fpt_fetch_or_release(a, val) ((unsigned long)atomic_long_fetch_or_release((long)(val), a))
#define fpt_fetch_or_seq_cst(a, val) ((unsigned long)atomic_long_fetch_or((long)(val), a))
#define fpt_fetch_or(a, val, mo) fpt_fetch_or_##mo(a, val)

#define fpt_fetch_and_relaxed(a, val) ((unsigned long)atomic_long_fetch_and_relaxed((long)(val), a))
#define fpt_fetch_and_release(a, val) ((unsigned long)atomic_long_fetch_and_release((long)(val), a))
#define fpt_fetch_and_seq_cst(a, val) ((unsigned long)atomic_long_fetch_and((long)(val), a))
#define fpt_fetch_and(a, val, mo) fpt_fetch_and_##mo(a, val)

#define fpt_fetch_add_relaxed(a, val) ((unsigned long)atomic_long_fetch_add_relaxed((long)(val), a))
#define fpt_fetch_add(a, val, mo) fpt_fetch_add_##mo(a, val)

#define fpt_fetch_xor_seq_cst(a, val) ((unsigned long)atomic_long_fetch_xor((long)(val), a))
#define fpt_fetch_xor(a, val, mo) fpt_fetch_xor_##mo(a, val)

static inline void fpt_linux_or_seq_cst(fpt_atomic_t *a, unsigned long val)
{
	smp_mb__before_atomic();
	atomic_long_or((long)val, a);
	smp_mb__after_atomic();		/* a fully ordered one returns a value and so is a loop on x86 */
}

static inline void fpt_linux_and_release(fpt_atomic_t *a, unsigned long val)
{
	smp_mb__before_atomic();
	atomic_long_and((long)val, a);
}

static inline void fpt_linux_and_seq_cst(fpt_atomic_t *a, unsigned long val)
{
	smp_mb__before_atomic();
	atomic_long_and((long)val, a);
	smp_mb__after_atomic();
}

#define fpt_or_seq_cst(a, val) fpt_linux_or_seq_cst(a, val)
#define fpt_or(a, val, mo) fpt_or_##mo(a, val)
#define fpt_and_relaxed(a, val) atomic_long_and((long)(val), a)
#define fpt_and_release(a, val) fpt_linux_and_release(a, val)
#define fpt_and_seq_cst(a, val) fpt_linux_and_seq_cst(a, val)
#define fpt_and(a, val, mo) fpt_and_##mo(a, val)

/*
 * An interrupt may add to the same word between the load and the store of a plain addition. The
 * word is a local_t in all but name: one long, which other CPUs only read.
 */
static inline bool fpt_percpu_add(unsigned int cpu, fpt_atomic_t *a, unsigned long val)
{
	bool here;

	BUILD_BUG_ON(sizeof(local_t) != sizeof(fpt_atomic_t));
	preempt_disable_notrace();
	here = cpu == raw_smp_processor_id();
	if (here)
		local_add((long)val, (local_t *)a);
	preempt_enable_notrace();
	return here;
}

static inline unsigned int fpt_cpu(unsigned int nr)
{
	unsigned int id = raw_smp_processor_id();

	return id < nr ? id : id % nr;
}

/*
 * Sections: interrupts off, which also makes them read-side sections that synchronize_rcu() waits
 * for. Never FPT_SECTION_COUNTED.
 *
 * All of them do the writes, a block, if this is the CPU, the epoch is was_e, and the rest holds.
 */
#define FPT_LINUX_SECTION(cpu, e, was_e, holds, ...)					\
({											\
	unsigned long flags_;								\
	bool done_;									\
											\
	local_irq_save(flags_);								\
	done_ = raw_smp_processor_id() == (cpu) && fpt_load(e, acquire) == (was_e) &&	\
		(holds);								\
	if (done_)									\
		__VA_ARGS__								\
	local_irq_restore(flags_);							\
	done_ ? FPT_SECTION_DONE : 0;							\
})

static inline unsigned long fpt_section_toggle(unsigned int cpu, fpt_atomic_t *e,
					       unsigned long was_e, fpt_atomic_t *c,
					       unsigned long n, fpt_atomic_t *a, unsigned long val)
{
	return FPT_LINUX_SECTION(cpu, e, was_e, true, {
		fpt_store(c, fpt_load(c, relaxed) + n, relaxed);
		fpt_store(a, fpt_load(a, relaxed) ^ val, relaxed);
	});
}

static inline unsigned long fpt_section_take(unsigned int cpu, fpt_atomic_t *e,
					     unsigned long was_e, fpt_atomic_t *b,
					     unsigned long bits, fpt_atomic_t *z, fpt_atomic_t *w,
					     unsigned long bit, fpt_atomic_t *t,
					     unsigned long was_t, unsigned long tag,
					     fpt_atomic_t *c, unsigned long n, fpt_atomic_t *a,
					     unsigned long val)
{
	unsigned int i;

	return FPT_LINUX_SECTION(cpu, e, was_e, fpt_load(t, relaxed) == was_t, {
		for (i = 0; i < 64 / sizeof(*z); i++)
			fpt_store(z + i, 0, relaxed);
		if (fpt_load(w, relaxed) & bit)
			fpt_store(w, fpt_load(w, relaxed) & ~bit, relaxed);
		fpt_store(b, fpt_load(b, relaxed) | bits, relaxed);
		fpt_store(t, tag, relaxed);
		fpt_store(c, fpt_load(c, relaxed) + n, relaxed);
		fpt_store(a, fpt_load(a, relaxed) ^ val, relaxed);
	});
}

static inline unsigned long fpt_section_or(unsigned int cpu, fpt_atomic_t *e,
					   unsigned long was_e, fpt_atomic_t *c, unsigned long n,
					   fpt_atomic_t *a, unsigned long bits)
{
	return FPT_LINUX_SECTION(cpu, e, was_e, true, {
		fpt_store(c, fpt_load(c, relaxed) + n, relaxed);
		fpt_store(a, fpt_load(a, relaxed) | bits, relaxed);
	});
}

static inline unsigned long fpt_section_and(unsigned int cpu, fpt_atomic_t *e,
					    unsigned long was_e, fpt_atomic_t *c, unsigned long n,
					    fpt_atomic_t *a, unsigned long bits)
{
	return FPT_LINUX_SECTION(cpu, e, was_e, true, {
		fpt_store(c, fpt_load(c, relaxed) + n, relaxed);
		fpt_store(a, fpt_load(a, relaxed) & bits, relaxed);
	});
}

static inline unsigned long fpt_section_replace(unsigned int cpu, fpt_atomic_t *e,
						unsigned long was_e, fpt_atomic_t *c,
						unsigned long n, fpt_atomic_t *a,
						unsigned long old, unsigned long val)
{
	return FPT_LINUX_SECTION(cpu, e, was_e, fpt_load(a, relaxed) == old, {
		fpt_store(c, fpt_load(c, relaxed) + n, relaxed);
		fpt_store(a, val, relaxed);
	});
}

static inline unsigned long fpt_section_append(unsigned int cpu, fpt_atomic_t *e,
					       unsigned long was_e, fpt_atomic_t *c,
					       unsigned long n, fpt_atomic_t *nr,
					       unsigned long was_nr, unsigned long val)
{
	return FPT_LINUX_SECTION(cpu, e, was_e, fpt_load(nr, relaxed) == was_nr, {
		fpt_store(nr + 1 + was_nr, val, relaxed);
		fpt_store(c, fpt_load(c, relaxed) + n, relaxed);
		fpt_store(nr, was_nr + 1, relaxed);
	});
}

static inline bool fpt_sections(void)
{
	return true;
}

static inline unsigned int fpt_section_cpu(void)
{
	return raw_smp_processor_id();
}

static inline void fpt_section_fence(void)
{
	synchronize_rcu();
}

static inline void fpt_pause(void)
{
	cpu_relax();
}

typedef struct {
	spinlock_t lock;
	unsigned long flags;	/* of the holder */
} fpt_lock_t;

static inline void fpt_lock_init(fpt_lock_t *l)
{
	spin_lock_init(&l->lock);
}

static inline void fpt_lock(fpt_lock_t *l) __acquires(&l->lock)
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	l->flags = flags;
}

static inline void fpt_unlock(fpt_lock_t *l) __releases(&l->lock)
{
	spin_unlock_irqrestore(&l->lock, l->flags);
}

#define FPT_RCU_WAITS true

static inline void fpt_rcu_read_lock(void)
{
	rcu_read_lock();
}

static inline void fpt_rcu_read_unlock(void)
{
	rcu_read_unlock();
}

static inline void fpt_rcu_synchronize(void)
{
	synchronize_rcu();
}

static inline void *fpt_memory_get(size_t size)
{
	return vzalloc(size);
}

static inline void fpt_memory_put(void *p, size_t size)
{
	vfree(p);
}

static inline void fpt_zero(void *p, size_t n)
{
	memset(p, 0, n);
}

static inline unsigned int fpt_ctz(unsigned long w)
{
	return (unsigned int)__ffs(w);
}

static inline unsigned int fpt_fls(unsigned long w)
{
	return (unsigned int)__fls(w);
}

#endif
