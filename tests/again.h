/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * again.h - what a section comes to when nothing comes between
 *
 * The kernel may end any of user space's sections, as when it takes the CPU away, be it for a page
 * fault. A test of what one comes to otherwise says AGAIN_UNTIL(wanted, what, ...): what is done,
 * setting all that it changes, and again while it came to something else, so often. The test then
 * looks at what it came to.
 *
 * To be included behind <fpt/fpt.h>.
 */
#ifndef FPT_TESTS_AGAIN_H
#define FPT_TESTS_AGAIN_H

#define AGAIN_UNTIL(wanted, ...) \
	do { \
		unsigned int tries_ = 0; \
		\
		do { \
			__VA_ARGS__; \
		} while (!(wanted) && ++tries_ < 1000); \
	} while (0)

/* Do sections work? Without fpt_sections() nobody uses them, though they may. */
static bool has_sections(void)
{
#ifndef FPT_USER_RSEQ
	return false;
#elif defined(FPT_VIRTUAL_CPUS)
	return true;
#else
	return __rseq_size != 0;
#endif
}

#endif
