/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* guest.c - see guest.h */
#include "sim/guest.h"

#include <fpt/report.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_ISOLATED (UINT64_C(1) << 63)
#define BLOCK_OWNED (UINT64_C(1) << 42)
#define BLOCK_PAGE_ISOLATED (UINT64_C(1) << 21)
#define BLOCK_TAKEN UINT64_C(1)
#define BLOCK_TAKEN_MASK (BLOCK_PAGE_ISOLATED - 1)	/* FPT_MAX_ORDER fits */

struct signature {
	uint64_t page;
	uint64_t generation;
};

static int fail(struct trace_error *err, const char *what)
{
	snprintf(err->text, sizeof(err->text), "guest: %s: %s", what, strerror(errno));
	return -1;
}

/*
 * Join neighbours until there are no more than the trackers take; the smallest gap goes first.
 * Returns the pages of the gaps: states are kept for them, too.
 */
static uint64_t join_spans(struct guest_span *span, size_t *nr, size_t max)
{
	uint64_t gaps = 0;

	while (*nr > max) {
		size_t best = 1, i;

		for (i = 2; i < *nr; i++)
			if (span[i].pfn - (span[i - 1].pfn + span[i - 1].nr) <
			    span[best].pfn - (span[best - 1].pfn + span[best - 1].nr))
				best = i;
		gaps += span[best].pfn - (span[best - 1].pfn + span[best - 1].nr);
		span[best - 1].nr = span[best].pfn + span[best].nr - span[best - 1].pfn;
		memmove(&span[best], &span[best + 1], (*nr - best - 1) * sizeof(*span));
		--*nr;
	}
	return gaps;
}

static int make_spans(struct guest *g, const struct trace *t, struct trace_error *err)
{
	unsigned int align = g->order > GUEST_MAX_ORDER ? g->order : GUEST_MAX_ORDER;
	struct guest_span *span = calloc(t->ranges.nr ? t->ranges.nr : 1, sizeof(*span));
	size_t nr = 0, areas, i;
	uint64_t gaps;

	if (!span)
		return fail(err, "page ranges");
	for (i = 0; i < t->ranges.nr; i++) {
		const struct trace_extent *x = &t->ranges.v[i];
		uint64_t first = x->pfn >> align << align;
		uint64_t end = ((x->pfn + x->nr - 1) >> align << align) + (UINT64_C(1) << align);

		if (nr && first <= span[nr - 1].pfn + span[nr - 1].nr) {
			span[nr - 1].nr = end - span[nr - 1].pfn;
			continue;
		}
		span[nr].pfn = first;
		span[nr++].nr = end - first;
	}
	areas = nr;
	gaps = join_spans(span, &nr, GUEST_MAX_SPANS);
	for (i = 0; i < nr; i++) {
		g->span[i] = span[i];
		g->span[i].page = g->nr_pages;
		g->nr_pages += span[i].nr;
	}
	g->nr_spans = (unsigned int)nr;
	free(span);
	if (gaps > GUEST_MAX_GAPS) {
		snprintf(err->text, sizeof(err->text),
			 "guest: the trace's pages are in %zu areas, more than the %d that "
			 "trackers take and "
			 "too far apart to be joined",
			 areas, GUEST_MAX_SPANS);
		return -1;
	}
	if (g->nr_pages)
		return 0;
	snprintf(err->text, sizeof(err->text), "guest: the trace has no pages");
	return -1;
}

static int map_memory(struct guest *g, enum guest_backing backing, struct trace_error *err)
{
	size_t size = g->nr_pages * g->page_size;
	int flags = MAP_NORESERVE |
		    (backing == GUEST_ANONYMOUS ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);

	if (backing == GUEST_SHARED_FILE) {
		g->fd = memfd_create("fpt-guest", MFD_CLOEXEC);
		if (g->fd < 0 || ftruncate(g->fd, (off_t)size))
			return fail(err, "memfd of the guest's size");
	}
	g->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, g->fd, 0);
	if (g->memory == MAP_FAILED) {
		g->memory = NULL;
		return fail(err, "mapping of the guest's size");
	}
	/* The kernel may know no huge pages: then there is nothing to switch off. */
	(void)madvise(g->memory, size, MADV_NOHUGEPAGE);
	return 0;
}

static struct signature *signature_of(struct guest *g, uint64_t page)
{
	return (struct signature *)(void *)(g->memory + page * g->page_size);
}

static void make_resident(struct guest *g, uint64_t page)
{
	if (g->flags[page] & GUEST_RESIDENT)
		return;
	g->flags[page] |= GUEST_RESIDENT;
	atomic_fetch_add_explicit(&g->resident, 1, memory_order_relaxed);
}

static void sign(struct guest *g, uint64_t page)
{
	struct signature *s = signature_of(g, page);

	if (g->flags[page] & GUEST_DISCARDED)
		atomic_fetch_add_explicit(&g->refaults, 1, memory_order_relaxed);
	s->page = ~page;
	s->generation = ++g->generation[page];
	make_resident(g, page);
	g->flags[page] = GUEST_SIGNED | GUEST_RESIDENT;
}

static void verify(struct guest *g, uint64_t page)
{
	const struct signature *s = signature_of(g, page);

	if (!(g->flags[page] & GUEST_SIGNED))
		return;
	if (s->page != ~page || s->generation != g->generation[page])
		atomic_fetch_add_explicit(&g->data_loss, 1, memory_order_relaxed);
	/* Reading a page that is gone brings it back. */
	make_resident(g, page);
}

/* Everything is held; then what is free at time 0 is given back. */
static void set_up_pages(struct guest *g, const struct trace *t)
{
	uint64_t b, p;
	size_t i;

	memset((void *)g->held, GUEST_PAGE_HELD, g->nr_pages);
	for (b = 0; b < guest_nr_blocks(g); b++)
		atomic_init(&g->block[b], (BLOCK_OWNED + BLOCK_TAKEN) << g->order);
	for (i = 0; i < t->free_before.nr; i++) {
		const struct trace_extent *x = &t->free_before.v[i];
		uint64_t first = guest_page(g, x->pfn);

		for (p = first; p < first + x->nr; p++) {
			guest_disown(g, p, 0);
			guest_give(g, p, 0);
		}
	}
	/* What the trace will free must have been written by somebody before. */
	for (i = 0; g->touch && i < t->nr_events; i++) {
		const struct trace_event *e = &t->events[i];

		for (p = guest_page(g, e->pfn);
		     p < guest_page(g, e->pfn) + (UINT64_C(1) << e->order); p++)
			if (!e->alloc && atomic_load(&g->held[p]) == GUEST_PAGE_HELD &&
			    !(g->flags[p] & GUEST_SIGNED))
				sign(g, p);
	}
}

int guest_init(struct guest *g, const struct trace *t, unsigned int order,
	       enum guest_backing backing, bool touch, struct trace_error *err)
{
	memset(g, 0, sizeof(*g));
	g->order = order;
	g->page_size = t->page_size;
	g->touch = touch;
	g->fd = -1;
	if (make_spans(g, t, err))
		return -1;
	g->held = calloc(g->nr_pages, sizeof(*g->held));
	g->flags = calloc(g->nr_pages, sizeof(*g->flags));
	g->generation = calloc(g->nr_pages, sizeof(*g->generation));
	g->block = calloc(guest_nr_blocks(g), sizeof(*g->block));
	if (!g->held || !g->flags || !g->generation || !g->block) {
		fail(err, "page states");
		guest_destroy(g);
		return -1;
	}
	if (touch && map_memory(g, backing, err)) {
		guest_destroy(g);
		return -1;
	}
	set_up_pages(g, t);
	return 0;
}

void guest_destroy(struct guest *g)
{
	if (g->memory)
		munmap(g->memory, g->nr_pages * g->page_size);
	if (g->fd >= 0)
		close(g->fd);
	free((void *)g->held);
	free(g->flags);
	free(g->generation);
	free((void *)g->block);
	memset(g, 0, sizeof(*g));
	g->fd = -1;
}

/* Add to the words of all blocks of an event. */
static void add_to_blocks(struct guest *g, uint64_t page, unsigned int order, uint64_t each)
{
	uint64_t nr = UINT64_C(1) << order, end = page + nr;

	while (page < end) {
		uint64_t next = ((page >> g->order) + 1) << g->order;

		if (next > end)
			next = end;
		/*
		 * Pairs with the isolator's exchange: what was done to the pages comes before, or
		 * after.
		 */
		atomic_fetch_add_explicit(&g->block[page >> g->order], each * (next - page),
					  memory_order_acq_rel);
		page = next;
	}
}

static void set_page(struct guest *g, uint64_t page, uint8_t state)
{
	/* Pairs with change_page(): what was done to the page comes before. */
	atomic_store_explicit(&g->held[page], state, memory_order_release);
}

static bool change_page(struct guest *g, uint64_t page, uint8_t from, uint8_t to)
{
	return atomic_compare_exchange_strong_explicit(&g->held[page], &from, to,
						       memory_order_acquire,
						       memory_order_relaxed);
}

bool guest_take(struct guest *g, uint64_t page, unsigned int order)
{
	uint64_t first = page >> g->order, last = (page + (UINT64_C(1) << order) - 1) >> g->order,
		 b, p;

	add_to_blocks(g, page, order, BLOCK_TAKEN);
	for (b = first; b <= last; b++) {
		if (!(atomic_load_explicit(&g->block[b], memory_order_acquire) & BLOCK_ISOLATED))
			continue;
		add_to_blocks(g, page, order, -BLOCK_TAKEN);
		return false;
	}
	for (p = page; p < page + (UINT64_C(1) << order); p++) {
		if (change_page(g, p, GUEST_PAGE_FREE, GUEST_PAGE_HELD))
			continue;
		while (p-- > page)
			set_page(g, p, GUEST_PAGE_FREE);
		add_to_blocks(g, page, order, -BLOCK_TAKEN);
		return false;
	}
	return true;
}

void guest_own(struct guest *g, uint64_t page, unsigned int order)
{
	uint64_t p;

	for (p = page; g->touch && p < page + (UINT64_C(1) << order); p++)
		sign(g, p);
	add_to_blocks(g, page, order, BLOCK_OWNED);
}

void guest_disown(struct guest *g, uint64_t page, unsigned int order)
{
	uint64_t p;

	for (p = page; p < page + (UINT64_C(1) << order); p++) {
		if (g->touch)
			verify(g, p);
		g->flags[p] &= (uint8_t)~GUEST_SIGNED;
		set_page(g, p, GUEST_PAGE_GIVING);
	}
	add_to_blocks(g, page, order, -BLOCK_OWNED);
}

void guest_give(struct guest *g, uint64_t page, unsigned int order)
{
	uint64_t p;

	for (p = page; p < page + (UINT64_C(1) << order); p++)
		set_page(g, p, GUEST_PAGE_FREE);
	add_to_blocks(g, page, order, -BLOCK_TAKEN);
}

uint64_t guest_taken(const struct guest *g, uint64_t block)
{
	return atomic_load_explicit(&g->block[block], memory_order_relaxed) & BLOCK_TAKEN_MASK;
}

static enum fpt_isolated isolate_block(struct guest *g, uint64_t b)
{
	uint64_t now = 0;

	if (atomic_compare_exchange_strong_explicit(&g->block[b], &now, BLOCK_ISOLATED,
						    memory_order_acq_rel, memory_order_acquire))
		return FPT_TAKEN;
	return (now & ~BLOCK_ISOLATED) >= BLOCK_OWNED ? FPT_USED : FPT_BUSY;
}

static void put_back_pages(struct guest *g, uint64_t page, uint64_t nr, uint64_t isolated)
{
	while (isolated--)
		set_page(g, page + isolated, GUEST_PAGE_FREE);
	atomic_fetch_sub_explicit(&g->block[page >> g->order], nr * BLOCK_PAGE_ISOLATED,
				  memory_order_acq_rel);
}

/* Of one block. The block's word first, so that whoever isolates all of it is met. */
static enum fpt_isolated isolate_pages(struct guest *g, uint64_t page, uint64_t nr)
{
	uint64_t i = 0;

	if (!(atomic_fetch_add_explicit(&g->block[page >> g->order], nr * BLOCK_PAGE_ISOLATED,
					memory_order_acq_rel) & BLOCK_ISOLATED))
		while (i < nr && change_page(g, page + i, GUEST_PAGE_FREE, GUEST_PAGE_ISOLATED))
			i++;
	if (i == nr)
		return FPT_TAKEN;
	put_back_pages(g, page, nr, i);
	return FPT_BUSY;
}

/* The part of a range that is in its first page's block. */
static uint64_t part_of_block(const struct guest *g, uint64_t page, uint64_t end)
{
	uint64_t next = ((page >> g->order) + 1) << g->order;

	return (next < end ? next : end) - page;
}

static void put_back(struct guest *g, uint64_t page, uint64_t end)
{
	uint64_t nr;

	for (; page < end; page += nr) {
		nr = part_of_block(g, page, end);
		if (nr >> g->order)
			atomic_fetch_and_explicit(&g->block[page >> g->order], ~BLOCK_ISOLATED,
						  memory_order_acq_rel);
		else
			put_back_pages(g, page, nr, nr);
	}
}

enum fpt_isolated guest_isolate(struct guest *g, struct fpt_range r)
{
	uint64_t first = guest_page(g, r.pfn), end = first + r.nr, page, nr;

	if (g->skip_isolation)
		return FPT_TAKEN;
	for (page = first; page < end; page += nr) {
		enum fpt_isolated answer;

		nr = part_of_block(g, page, end);
		answer = nr >> g->order ? isolate_block(g, page >> g->order) :
			 isolate_pages(g, page, nr);
		if (answer == FPT_TAKEN)
			continue;
		put_back(g, first, page);
		return answer;
	}
	return FPT_TAKEN;
}

void guest_put_back(struct guest *g, struct fpt_range r)
{
	uint64_t first = guest_page(g, r.pfn);

	if (!g->skip_isolation)
		put_back(g, first, first + r.nr);
}

bool guest_is_free(const struct guest *g, uint64_t pfn)
{
	return atomic_load_explicit(&g->held[guest_page(g, pfn)], memory_order_relaxed) !=
	       GUEST_PAGE_HELD;
}

/* Have all hooks on the block's pages returned? */
static bool hooks_are_through(const struct guest *g, uint64_t block)
{
	uint64_t now = atomic_load_explicit(&g->block[block], memory_order_acquire);

	return (now & BLOCK_TAKEN_MASK) == (now / BLOCK_OWNED & BLOCK_TAKEN_MASK);
}

/* A hook that came between the two looks at the block has returned by now. */
enum fpt_truth guest_truth(const struct guest *g, uint64_t pfn)
{
	uint64_t page = guest_page(g, pfn), block = page >> g->order;
	bool through = hooks_are_through(g, block);
	uint8_t held = atomic_load_explicit(&g->held[page], memory_order_acquire);

	if (!through || held == GUEST_PAGE_GIVING || !hooks_are_through(g, block))
		return FPT_TRUTH_UNKNOWN;
	return held == GUEST_PAGE_HELD ? FPT_TRUTH_HELD : FPT_TRUTH_FREE;
}

uint64_t guest_count_free(struct guest *g, struct fpt_range r)
{
	uint64_t page = guest_page(g, r.pfn), n = 0, i;

	for (i = 0; i < r.nr; i++)
		n += atomic_load_explicit(&g->held[page + i], memory_order_relaxed) !=
		     GUEST_PAGE_HELD;
	return n;
}

void guest_verify_all(struct guest *g)
{
	uint64_t p;

	for (p = 0; g->touch && p < g->nr_pages; p++)
		if (atomic_load_explicit(&g->held[p], memory_order_relaxed) == GUEST_PAGE_HELD)
			verify(g, p);
}

int guest_check_residency(struct guest *g, struct trace_error *err)
{
	size_t host_page = (size_t)sysconf(_SC_PAGESIZE), per = g->page_size / host_page;
	unsigned char *in_core = malloc(g->nr_pages * per);
	uint64_t differ = 0, p;
	size_t i;

	if (!in_core || mincore(g->memory, g->nr_pages * g->page_size, in_core)) {
		free(in_core);
		return fail(err, "asking which pages are resident");
	}
	for (p = 0; p < g->nr_pages; p++) {
		bool ours = g->flags[p] & GUEST_RESIDENT, theirs = false;

		for (i = 0; i < per; i++)
			theirs |= in_core[p * per + i] & 1;
		differ += ours != theirs;
	}
	free(in_core);
	if (!differ)
		return 0;
	snprintf(err->text, sizeof(err->text),
		 "guest: residency differs from the kernel's in %llu of %llu pages: this is a bug "
		 "of fpt, or something else changed the mapping, as a host that swaps does",
		 (unsigned long long)differ, (unsigned long long)g->nr_pages);
	return -1;
}
