/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * section.h - what the sections of every backend return; compat.h says what a section is
 */
#ifndef FPT_COMPAT_SECTION_H
#define FPT_COMPAT_SECTION_H

enum fpt_section_result {	/* 0: it ended before anything was counted */
	FPT_SECTION_DONE = 1,
	FPT_SECTION_COUNTED = 2		/* it ended after its counter, before its change */
};

#endif
