/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * model.h - the seam in test builds: sequentially consistent, every access announced
 *
 * Before each access fpt_model_hook is called, when set, with what is about to happen. A test's
 * hook can switch to another thread of its own there (a scheduling point), count, or remember
 * which CPU wrote a line last. One operating-system thread only; the accesses themselves are
 * plain. Memory orders are announced, not simulated: this backend cannot show a missing one.
 */
#ifndef FPT_COMPAT_MODEL_H
#define FPT_COMPAT_MODEL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fpt/compat/section.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef FPT_CACHE_LINE
#define FPT_CACHE_LINE 64
#endif
#define FPT_ASSERT(x) assert(x)

typedef struct {
	unsigned long v;
} fpt_atomic_t;

enum fpt_model_kind {
	FPT_MODEL_LOAD,
	FPT_MODEL_STORE,
	FPT_MODEL_RMW,
	FPT_MODEL_CPU,
	FPT_MODEL_PAUSE
};

struct fpt_model_access {
	enum fpt_model_kind kind;
	const void *address;		/* NULL for FPT_MODEL_CPU and FPT_MODEL_PAUSE */
	const char *order;		/* as written in the source */
	const char *file;
	int line;
	bool section;			/* of a section: fences and others on its CPU matter to it */
};

extern void (*fpt_model_hook)(const struct fpt_model_access *access);
extern unsigned int fpt_model_cpu;	/* the CPU that the running code is on */

#define FPT_MODEL_CPUS 256

/* Weak: one for all files that include this, and no test has to define what it does not use. */
__attribute__((weak)) unsigned long fpt_model_fences;
__attribute__((weak)) unsigned long fpt_model_steps[FPT_MODEL_CPUS];	/* taken so far, per CPU */
__attribute__((weak)) bool fpt_model_no_sections;

static inline void fpt_model_step(enum fpt_model_kind kind, const void *address, const char *order,
				  const char *file, int line, bool section)
{
	struct fpt_model_access access = { kind, address, order, file, line, section };

	if (fpt_model_hook)
		fpt_model_hook(&access);
	fpt_model_steps[fpt_model_cpu % FPT_MODEL_CPUS]++;
}

static inline void fpt_model_announce(enum fpt_model_kind kind, const void *address,
				      const char *order, const char *file, int line)
{
	fpt_model_step(kind, address, order, file, line, false);
}

static inline unsigned long fpt_model_xchg(fpt_atomic_t *a, unsigned long val)
{
	unsigned long old = a->v;

	a->v = val;
	return old;
}

static inline bool fpt_model_cas(fpt_atomic_t *a, unsigned long old, unsigned long val)
{
	if (a->v != old)
		return false;
	a->v = val;
	return true;
}

static inline bool fpt_model_add(unsigned int cpu, fpt_atomic_t *a, unsigned long val)
{
	if (cpu != fpt_model_cpu)
		return false;
	a->v += val;
	return true;
}

#define FPT_MODEL_AT(kind, a, mo) fpt_model_announce(FPT_MODEL_##kind, (a), mo, __FILE__, __LINE__)

#define fpt_load(a, mo) (FPT_MODEL_AT(LOAD, a, #mo), (a)->v)
#define fpt_store(a, val, mo) (FPT_MODEL_AT(STORE, a, #mo), (void)((a)->v = (val)))
#define fpt_xchg(a, val, mo) (FPT_MODEL_AT(RMW, a, #mo), fpt_model_xchg(a, val))
#define fpt_cas(a, old, val, mo) (FPT_MODEL_AT(RMW, a, #mo), fpt_model_cas(a, old, val))
#define fpt_fetch_or(a, val, mo) (FPT_MODEL_AT(RMW, a, #mo), fpt_model_xchg(a, (a)->v | (val)))
#define fpt_fetch_and(a, val, mo) (FPT_MODEL_AT(RMW, a, #mo), fpt_model_xchg(a, (a)->v & (val)))
#define fpt_or(a, val, mo) ((void)fpt_fetch_or(a, val, mo))
#define fpt_and(a, val, mo) ((void)fpt_fetch_and(a, val, mo))
#define fpt_fetch_add(a, val, mo) (FPT_MODEL_AT(RMW, a, #mo), fpt_model_xchg(a, (a)->v + (val)))
#define fpt_fetch_xor(a, val, mo) (FPT_MODEL_AT(RMW, a, #mo), fpt_model_xchg(a, (a)->v ^ (val)))
#define fpt_percpu_add(cpu, a, val) (FPT_MODEL_AT(RMW, a, "relaxed"), fpt_model_add(cpu, a, val))

/*
 * Sections. Between any two accesses others go on, as on other CPUs they do. A section is over, and
 * what it did stays, when its thread has left the CPU, when another thread has taken a step there,
 * and when there was a fence: that is how the kernel treats a restartable sequence. One that runs
 * with interrupts off is instead waited for, by whoever wants the CPU and by the fence; it then
 * takes the same steps before them. Its writes are no atomic operations: what another CPU writes
 * between a load and its store is lost. To be interrupted for no reason, let another thread do
 * something else on the CPU.
 */
struct fpt_model_section {
	unsigned int cpu;
	unsigned long fences, steps;
};

/* The next access of a section. True: it may be done. */
static inline bool fpt_model_go_on(struct fpt_model_section *s, enum fpt_model_kind kind,
				   const fpt_atomic_t *a, const char *file, int line)
{
	fpt_model_step(kind, a, "relaxed", file, line, true);
	s->steps++;
	return s->cpu == fpt_model_cpu && s->fences == fpt_model_fences &&
	       s->steps == fpt_model_steps[s->cpu];
}

/* The first look: at the epoch. */
static inline bool fpt_model_enter(struct fpt_model_section *s, unsigned int cpu,
				   const fpt_atomic_t *e, unsigned long was_e, const char *file,
				   int line)
{
	fpt_model_step(FPT_MODEL_LOAD, e, "acquire", file, line, true);
	if (cpu != fpt_model_cpu || e->v != was_e)
		return false;
	s->cpu = cpu;
	s->fences = fpt_model_fences;
	s->steps = fpt_model_steps[cpu];
	return true;
}

/* The end of a section. The counter is this CPU's, so that one step is as good as two. */
static inline unsigned long fpt_model_end(struct fpt_model_section *s, fpt_atomic_t *c,
					  unsigned long n, fpt_atomic_t *a, unsigned long val,
					  const char *file, int line)
{
	unsigned long now;

	if (!fpt_model_go_on(s, FPT_MODEL_RMW, c, file, line))
		return 0;
	c->v += n;
	if (!fpt_model_go_on(s, FPT_MODEL_LOAD, a, file, line))
		return FPT_SECTION_COUNTED;
	now = a->v;
	if (!fpt_model_go_on(s, FPT_MODEL_STORE, a, file, line))
		return FPT_SECTION_COUNTED;
	a->v = now ^ val;
	return FPT_SECTION_DONE;
}

static inline unsigned long fpt_model_toggle(unsigned int cpu, fpt_atomic_t *e,
					     unsigned long was_e, fpt_atomic_t *c, unsigned long n,
					     fpt_atomic_t *a, unsigned long val, const char *file,
					     int line)
{
	struct fpt_model_section s;

	return fpt_model_enter(&s, cpu, e, was_e, file, line) ?
	       fpt_model_end(&s, c, n, a, val, file, line) : 0;
}

/* The line of z is zeroed in one step: nobody but its CPU and, later, the reporter looks at it. */
static inline unsigned long fpt_model_take(unsigned int cpu, fpt_atomic_t *e, unsigned long was_e,
					   fpt_atomic_t *b, unsigned long bits, fpt_atomic_t *z,
					   fpt_atomic_t *w, unsigned long bit, fpt_atomic_t *t,
					   unsigned long was_t, unsigned long tag, fpt_atomic_t *c,
					   unsigned long n, fpt_atomic_t *a, unsigned long val,
					   const char *file, int line)
{
	struct fpt_model_section s;
	unsigned long now;

	if (!fpt_model_enter(&s, cpu, e, was_e, file, line) ||
	    !fpt_model_go_on(&s, FPT_MODEL_LOAD, t, file, line) || t->v != was_t ||
	    !fpt_model_go_on(&s, FPT_MODEL_STORE, z, file, line))
		return 0;
	memset(z, 0, 64);
	if (!fpt_model_go_on(&s, FPT_MODEL_LOAD, w, file, line))
		return 0;
	now = w->v;
	if (now & bit) {
		if (!fpt_model_go_on(&s, FPT_MODEL_STORE, w, file, line))
			return 0;
		w->v = now & ~bit;
	}
	if (!fpt_model_go_on(&s, FPT_MODEL_LOAD, b, file, line))
		return 0;
	now = b->v;
	if (!fpt_model_go_on(&s, FPT_MODEL_STORE, b, file, line))
		return 0;
	b->v = now | bits;
	if (!fpt_model_go_on(&s, FPT_MODEL_STORE, t, file, line))
		return 0;
	t->v = tag;
	return fpt_model_end(&s, c, n, a, val, file, line);
}

/* *a = *a & keep | set */
static inline unsigned long fpt_model_change(unsigned int cpu, fpt_atomic_t *e,
					     unsigned long was_e, fpt_atomic_t *c, unsigned long n,
					     fpt_atomic_t *a, unsigned long keep, unsigned long set,
					     const char *file, int line)
{
	struct fpt_model_section s;
	unsigned long now;

	if (!fpt_model_enter(&s, cpu, e, was_e, file, line) ||
	    !fpt_model_go_on(&s, FPT_MODEL_RMW, c, file, line))
		return 0;
	c->v += n;
	if (!fpt_model_go_on(&s, FPT_MODEL_LOAD, a, file, line))
		return FPT_SECTION_COUNTED;
	now = a->v;
	if (!fpt_model_go_on(&s, FPT_MODEL_STORE, a, file, line))
		return FPT_SECTION_COUNTED;
	a->v = (now & keep) | set;
	return FPT_SECTION_DONE;
}

static inline unsigned long fpt_model_replace(unsigned int cpu, fpt_atomic_t *e,
					      unsigned long was_e, fpt_atomic_t *c, unsigned long n,
					      fpt_atomic_t *a, unsigned long old, unsigned long val,
					      const char *file, int line)
{
	struct fpt_model_section s;

	if (!fpt_model_enter(&s, cpu, e, was_e, file, line) ||
	    !fpt_model_go_on(&s, FPT_MODEL_LOAD, a, file, line) || a->v != old ||
	    !fpt_model_go_on(&s, FPT_MODEL_RMW, c, file, line))
		return 0;
	c->v += n;
	if (!fpt_model_go_on(&s, FPT_MODEL_STORE, a, file, line))
		return FPT_SECTION_COUNTED;
	a->v = val;
	return FPT_SECTION_DONE;
}

static inline unsigned long fpt_model_append(unsigned int cpu, fpt_atomic_t *e,
					     unsigned long was_e, fpt_atomic_t *c, unsigned long n,
					     fpt_atomic_t *nr, unsigned long was_nr,
					     unsigned long val, const char *file, int line)
{
	fpt_atomic_t *a = nr + 1 + was_nr;
	struct fpt_model_section s;

	if (!fpt_model_enter(&s, cpu, e, was_e, file, line) ||
	    !fpt_model_go_on(&s, FPT_MODEL_LOAD, nr, file, line) || nr->v != was_nr ||
	    !fpt_model_go_on(&s, FPT_MODEL_STORE, a, file, line))
		return 0;
	a->v = val;
	if (!fpt_model_go_on(&s, FPT_MODEL_RMW, c, file, line))
		return 0;
	c->v += n;
	if (!fpt_model_go_on(&s, FPT_MODEL_STORE, nr, file, line))
		return FPT_SECTION_COUNTED;
	nr->v = was_nr + 1;
	return FPT_SECTION_DONE;
}

#define fpt_section_toggle(cpu, e, was_e, c, n, a, val) \
	fpt_model_toggle(cpu, e, was_e, c, n, a, val, __FILE__, __LINE__)
#define fpt_section_take(cpu, e, was_e, b, bits, z, w, bit, t, was_t, tag, c, n, a, val) \
	fpt_model_take(cpu, e, was_e, b, bits, z, w, bit, t, was_t, tag, c, n, a, val, __FILE__, \
		       __LINE__)
#define fpt_section_or(cpu, e, was_e, c, n, a, bits) \
	fpt_model_change(cpu, e, was_e, c, n, a, ~0UL, bits, __FILE__, __LINE__)
#define fpt_section_and(cpu, e, was_e, c, n, a, bits) \
	fpt_model_change(cpu, e, was_e, c, n, a, bits, 0, __FILE__, __LINE__)
#define fpt_section_replace(cpu, e, was_e, c, n, a, old, val) \
	fpt_model_replace(cpu, e, was_e, c, n, a, old, val, __FILE__, __LINE__)
#define fpt_section_append(cpu, e, was_e, c, n, nr, was_nr, val) \
	fpt_model_append(cpu, e, was_e, c, n, nr, was_nr, val, __FILE__, __LINE__)

static inline bool fpt_sections(void)
{
	return !fpt_model_no_sections;
}

static inline void fpt_section_fence(void)
{
	FPT_MODEL_AT(RMW, &fpt_model_fences, "seq_cst");
	fpt_model_fences++;
}

#define fpt_pause() FPT_MODEL_AT(PAUSE, NULL, "")

static inline unsigned int fpt_cpu(unsigned int nr)
{
	FPT_MODEL_AT(CPU, NULL, "");
	return fpt_model_cpu % nr;
}

static inline unsigned int fpt_section_cpu(void)
{
	FPT_MODEL_AT(CPU, NULL, "");
	return fpt_model_cpu;
}

typedef struct {
	fpt_atomic_t held;
} fpt_lock_t;

static inline void fpt_lock_init(fpt_lock_t *l)
{
	l->held.v = 0;
}

static inline void fpt_lock(fpt_lock_t *l)
{
	while (fpt_load(&l->held, relaxed) || !fpt_cas(&l->held, 0, 1, acq_rel))
		fpt_pause();
}

static inline void fpt_unlock(fpt_lock_t *l)
{
	fpt_store(&l->held, 0, release);
}

/*
 * Readers are threads of the test; what to wait for is the test's business. FPT_MODEL_NO_RCU: as in
 * user space without liburcu.
 */
#ifdef FPT_MODEL_NO_RCU
#define FPT_RCU_WAITS false
#else
#define FPT_RCU_WAITS true
#endif

extern void (*fpt_model_rcu_synchronize)(void);

static inline void fpt_rcu_read_lock(void)
{
}

static inline void fpt_rcu_read_unlock(void)
{
}

static inline void fpt_rcu_synchronize(void)
{
	if (fpt_model_rcu_synchronize)
		fpt_model_rcu_synchronize();
}

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
