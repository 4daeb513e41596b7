/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* host.c - see host.h */
#include "sim/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum guest_backing host_backing(enum host_discard how)
{
	return how == HOST_PUNCH ? GUEST_SHARED_FILE : GUEST_ANONYMOUS;
}

/*
 * Reclaim passes over pages that sit in another CPU's batch of the kernel's on their way to its
 * lists. They would go at the next pressure; replay has to know now.
 */
static int drop_leftovers(char *at, size_t size)
{
	size_t pages = size / (size_t)sysconf(_SC_PAGESIZE), i;
	unsigned char *in_core = malloc(pages);
	int ret = in_core ? mincore(at, size, in_core) : -1;

	for (i = 0; !ret && i < pages; i++)
		if (in_core[i] & 1) {
			ret = madvise(at, size, MADV_DONTNEED);
			break;
		}
	free(in_core);
	return ret;
}

static int discard_pages(struct host *h, uint64_t page, uint64_t nr)
{
	size_t offset = page * h->g->page_size, size = nr * h->g->page_size;
	char *at = h->g->memory + offset;

	h->ranges++;
	h->calls++;
	switch (h->how) {
	case HOST_DONTNEED:
		return madvise(at, size, MADV_DONTNEED);
	case HOST_PUNCH:
		return fallocate(h->g->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)offset, (off_t)size);
	case HOST_FREE:
		h->calls++;
		if (madvise(at, size, MADV_FREE) || madvise(at, size, MADV_PAGEOUT))
			return -1;
		return drop_leftovers(at, size);
	}
	return -1;
}

int host_discard(struct host *h, const struct fpt_batch *b, struct trace_error *err)
{
	return host_discard_ranges(h, b->range, b->nr, err);
}

int host_discard_ranges(struct host *h, const struct fpt_range *r, size_t nr_ranges,
			struct trace_error *err)
{
	size_t i, end;
	uint64_t p;

	if (!h->g->touch)
		return 0;
	for (i = 0; i < nr_ranges; i = end) {
		uint64_t page = guest_page(h->g, r[i].pfn), nr = r[i].nr;

		/* Neighbours for the host are so in pfns; across a hole they only seem so. */
		for (end = i + 1; end < nr_ranges && r[end].pfn == r[i].pfn + nr; end++)
			nr += r[end].nr;
		if (discard_pages(h, page, nr)) {
			snprintf(err->text, sizeof(err->text), "host: discarding %llu pages: %s",
				 (unsigned long long)nr, strerror(errno));
			return -1;
		}
		for (p = page; p < page + nr; p++) {
			if (!(h->g->flags[p] & GUEST_RESIDENT))
				continue;
			atomic_fetch_sub_explicit(&h->g->resident, 1, memory_order_relaxed);
			h->g->flags[p] =
				(uint8_t)((h->g->flags[p] & GUEST_SIGNED) | GUEST_DISCARDED);
		}
	}
	return 0;
}
