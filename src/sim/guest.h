/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * guest.h - a guest whose memory is real: pages are signed when taken, verified when given back
 *
 * The guest's memory is a mapping of this process without huge pages; the host (host.h) really
 * discards parts of it. A page that the trace takes is touched: its first 16 bytes become a
 * signature of the page and of how often it was taken. When the trace gives it back, and at the
 * end, the signature must be there: otherwise an owner's data was lost.
 *
 * Pages are numbered densely; blocks of the reporting order are aligned in pfns and in these
 * numbers alike (struct guest_span). The part of an allocator that matters here is one word per
 * block:
 *
 *	isolated | pages owned | pages isolated | pages taken
 *
 * taken counts before the alloc hook and until after the free hook; owned between the hooks. So a
 * block with taken == 0 is free and can be isolated; owned != 0 says that an owner's alloc hook
 * has returned. What is isolated is the block as a whole, or, for a reporter whose ranges are no
 * blocks, pages of it (held[]).
 *
 * A trace prescribes which page is taken next. A page of an isolated block cannot be: the real
 * allocator would have chosen another, the replay waits. So a stall here is one that the real one
 * might not have had.
 *
 * Memory that is held throughout, and so never written here, counts as not resident: what a
 * tracker can change is compared, not the guest's whole size.
 *
 * guest_take() ... guest_give(), guest_isolate() and guest_put_back() may run in many threads, as
 * long as the events of one page happen in their order.
 */
#ifndef FPT_SIM_GUEST_H
#define FPT_SIM_GUEST_H

#include "trace/trace.h"

#include <fpt/audit.h>
#include <stdatomic.h>

#define GUEST_MAX_SPANS 16	/* FPT_XBITMAP_MAX_RANGES */
#define GUEST_MAX_GAPS (UINT64_C(1) << 24)	/* pages between spans that had to be joined */
#define GUEST_PAGE_BYTES 32	/* what a replay keeps in mind per page, all included, at most */
#define GUEST_MAX_ORDER 10u	/* largest block that the modelled buddy allocator merges */

/* Where the kernel's pages go when the host discards them. */
enum guest_backing {
	GUEST_ANONYMOUS,	/* private mapping */
	GUEST_SHARED_FILE,	/* memfd: so that holes can be punched */
};

/* pfns [pfn, pfn + nr) are pages [page, page + nr) of the guest. */
struct guest_span {
	uint64_t pfn;
	uint64_t nr;
	uint64_t page;
};

struct guest {
	unsigned int order;
	size_t page_size;
	unsigned int nr_spans;
	struct guest_span span[GUEST_MAX_SPANS];
	uint64_t nr_pages;
	bool touch;			/* false: memory is left alone (hooks are being timed) */
	bool skip_isolation;		/* for tests: isolate says FPT_TAKEN and takes nothing */
	int fd;				/* memfd, or -1 */
	char *memory;
	_Atomic uint8_t *held;		/* per page: GUEST_PAGE_ below */
	uint8_t *flags;			/* per page: GUEST_* below; the owner's, or the host's while isolated */
	uint32_t *generation;		/* per page: how often taken, part of the signature */
	_Atomic uint64_t *block;	/* per block: see above */
	_Atomic uint64_t data_loss;	/* signatures that were wrong */
	_Atomic uint64_t resident;	/* pages, by our own account */
	_Atomic uint64_t refaults;	/* pages touched again after the host had discarded them */
};

/* Of a page. Free is all but held: of pages on their way back, and isolated ones, too. */
enum {
	GUEST_PAGE_FREE,
	GUEST_PAGE_HELD,
	GUEST_PAGE_GIVING,		/* its free hook is called */
	GUEST_PAGE_ISOLATED,		/* by itself; never in an isolated block */
};

enum {
	GUEST_SIGNED = 1,
	GUEST_RESIDENT = 2,		/* by our own account; guest_check_residency() asks the kernel */
	GUEST_DISCARDED = 4,
};

/*
 * Build the guest as the trace finds it at time 0: held pages that the trace will free are signed.
 */
int guest_init(struct guest *g, const struct trace *t, unsigned int order,
	       enum guest_backing backing, bool touch, struct trace_error *err);
void guest_destroy(struct guest *g);

static inline uint64_t guest_nr_blocks(const struct guest *g)
{
	return g->nr_pages >> g->order;
}

static inline uint64_t guest_page(const struct guest *g, uint64_t pfn)
{
	unsigned int i = 0;

	while (pfn - g->span[i].pfn >= g->span[i].nr)
		i++;
	return g->span[i].page + (pfn - g->span[i].pfn);
}

static inline uint64_t guest_pfn(const struct guest *g, uint64_t page)
{
	unsigned int i = 0;

	while (page - g->span[i].page >= g->span[i].nr)
		i++;
	return g->span[i].pfn + (page - g->span[i].page);
}

/*
 * The steps of an event, in this order. Taking: guest_take() until it is true, the alloc hook,
 * guest_own(). Giving back: guest_disown(), the free hook, guest_give().
 */
bool guest_take(struct guest *g, uint64_t page, unsigned int order);	/* false: some of it is isolated */
void guest_own(struct guest *g, uint64_t page, unsigned int order);
void guest_disown(struct guest *g, uint64_t page, unsigned int order);
void guest_give(struct guest *g, uint64_t page, unsigned int order);

/* Pages of a block that are taken. */
uint64_t guest_taken(const struct guest *g, uint64_t block);

/* For the reporter. Ranges are in pfns, whole blocks or any pages. */
enum fpt_isolated guest_isolate(struct guest *g, struct fpt_range r);
void guest_put_back(struct guest *g, struct fpt_range r);
bool guest_is_free(const struct guest *g, uint64_t pfn);
enum fpt_truth guest_truth(const struct guest *g, uint64_t pfn);
uint64_t guest_count_free(struct guest *g, struct fpt_range r);

/* Verify every page that is held and was signed; failures go to data_loss. */
void guest_verify_all(struct guest *g);

/* Ask the kernel which pages are resident: an error when it differs from our account in any. */
int guest_check_residency(struct guest *g, struct trace_error *err);

#endif
