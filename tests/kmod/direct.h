/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * direct.h - the hooks of the tracker FPT_TRACKER, chosen at compile time, as functions
 */
#include <fpt/fpt.h>

#define KMOD_DIRECT_FREE FPT_PASTE(kmod_, FPT_TRACKER, _free)
#define KMOD_DIRECT_ALLOC FPT_PASTE(kmod_, FPT_TRACKER, _alloc)

void KMOD_DIRECT_FREE(struct fpt *t, fpt_pfn_t pfn, unsigned int order);
int KMOD_DIRECT_ALLOC(struct fpt *t, fpt_pfn_t pfn, unsigned int order);

void KMOD_DIRECT_FREE(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	fpt_free(t, pfn, order);
}

int KMOD_DIRECT_ALLOC(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	return fpt_alloc(t, pfn, order);
}
