/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * interrupt.h - interrupt user space's restartable sections, at each of their points
 *
 * To be included first, instead of <fpt/fpt.h>, by one source file: the test. Where sections can be
 * interrupted it defines INTERRUPTS; elsewhere it is that header and nothing else.
 *
 *	catch(handler)		of the signal by which a section is interrupted; SIG_DFL: no more
 *	interrupt_at(point)	the sections to come, at that point (FPT_USER_RSEQ_INJECT in user.h);
 *				-1: at none. A handler calls it, or is called at that point again
 *	on_trap			a handler: what a section looks at and writes, if it is in "inject",
 *				becomes something else, once
 *	wanted_at(point, has)	what a section that counts comes to, interrupted there if it has
 *				that point
 *
 * One thread at a time.
 */
#ifndef FPT_TESTS_INTERRUPT_H
#define FPT_TESTS_INTERRUPT_H

#ifdef __x86_64__
/* Flags, and nothing else, are lost here. A signal in a section ends it. */
#define FPT_USER_RSEQ_INJECT(point) \
	"cmpl $" #point ", test_point(%%rip)\n\t" \
	"jne 9f\n\t" \
	"int3\n" \
	"9:\n\t"
/* Loads a 1, or faults: flags stay. Each point has a page of its own. */
#define FPT_USER_RSEQ_INJECT_DONE(point) "movl 4096 * (" #point " - 6) + test_ones(%%rip), %k[done]\n\t"
#endif

#include <fpt/fpt.h>

#if defined(FPT_USER_RSEQ) && defined(__x86_64__)
#define INTERRUPTS

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <cmocka.h>

extern int test_point;		/* where sections are interrupted */
int test_point = -1;
extern int test_ones[2][4096 / sizeof(int)];
int test_ones[2][4096 / sizeof(int)] __attribute__((aligned(4096))) = { { 1 }, { 1 } };

static struct {
	fpt_atomic_t e, t, a, b, c, w, z[FPT_DELTA_LINE_WORDS], slot[8];
	unsigned int signals;
} inject;

static void interrupt_at(int point)
{
	int i;

	for (i = 6; i < 8; i++)
		assert_int_equal(mprotect(test_ones[i - 6], sizeof(test_ones[0]),
					  point == i ? PROT_NONE : PROT_READ | PROT_WRITE), 0);
	__atomic_store_n(&test_point, point, __ATOMIC_SEQ_CST);
}

static void catch(void (*handler)(int number))
{
	struct sigaction act = { .sa_handler = handler };

	assert_int_equal(sigaction(SIGTRAP, &act, NULL), 0);
	assert_int_equal(sigaction(SIGSEGV, &act, NULL), 0);
	if (handler == SIG_DFL)
		interrupt_at(-1);
}

static void on_trap(int number)
{
	(void)number;
	inject.signals++;
	inject.e.v = 8;
	inject.t.v = 5;
	inject.a.v |= 0xf00;
	inject.c.v += 1000;
	inject.slot[0].v |= 0xf00;
	interrupt_at(-1);
}

/* Point 5 is behind the end. */
static unsigned long wanted_at(int point, bool has)
{
	return !has || point == 5 ? FPT_SECTION_DONE : point == 7 ? FPT_SECTION_COUNTED : 0;
}
#endif

#endif
