/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* buddy.c - see buddy.h */
#include "sim/buddy.h"

#include <fpt/fpt.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUDDY_NONE UINT32_MAX

static uint32_t block_of(const struct buddy *b, uint64_t page)
{
	return (uint32_t)(page >> b->g->order);
}

static bool listed(const struct buddy *b, unsigned int order)
{
	return order >= b->g->order;
}

static void list_add(struct buddy *b, uint64_t page, unsigned int order, bool tail)
{
	struct buddy_list *l = &b->list[order];
	uint32_t n = block_of(b, page);

	b->head[page] = (uint8_t)(order + 1);
	if (!listed(b, order))
		return;
	b->reported[n] = 0;
	b->next[n] = tail ? BUDDY_NONE : l->first;
	b->prev[n] = tail ? l->last : BUDDY_NONE;
	if (b->next[n] != BUDDY_NONE)
		b->prev[b->next[n]] = n;
	else
		l->last = n;
	if (b->prev[n] != BUDDY_NONE)
		b->next[b->prev[n]] = n;
	else
		l->first = n;
	l->nr++;
}

static void list_del(struct buddy *b, uint64_t page, unsigned int order)
{
	struct buddy_list *l = &b->list[order];
	uint32_t n = block_of(b, page);

	b->head[page] = 0;
	if (!listed(b, order))
		return;
	if (b->next[n] != BUDDY_NONE)
		b->prev[b->next[n]] = b->prev[n];
	else
		l->last = b->prev[n];
	if (b->prev[n] != BUDDY_NONE)
		b->next[b->prev[n]] = b->next[n];
	else
		l->first = b->next[n];
	l->nr--;
}

int buddy_init(struct buddy *b, struct guest *g, const struct fpt_policy *policy,
	       struct trace_error *err)
{
	uint64_t blocks = guest_nr_blocks(g);
	unsigned int o;

	memset(b, 0, sizeof(*b));
	b->g = g;
	b->policy = *policy;
	b->head = calloc(g->nr_pages, sizeof(*b->head));
	b->reported = calloc(blocks, sizeof(*b->reported));
	b->next = calloc(blocks, sizeof(*b->next));
	b->prev = calloc(blocks, sizeof(*b->prev));
	for (o = 0; o <= GUEST_MAX_ORDER; o++)
		b->list[o].first = b->list[o].last = BUDDY_NONE;
	b->requested = true;	/* registering requests a first pass */
	if (b->head && b->reported && b->next && b->prev)
		return 0;
	buddy_destroy(b);
	snprintf(err->text, sizeof(err->text), "buddy: no memory for the free lists");
	return -1;
}

void buddy_destroy(struct buddy *b)
{
	free(b->head);
	free(b->reported);
	free(b->next);
	free(b->prev);
	memset(b, 0, sizeof(*b));
}

/* Merge and insert; returns the order that came of it. */
static unsigned int insert(struct buddy *b, uint64_t page, unsigned int order, bool tail)
{
	while (order < GUEST_MAX_ORDER) {
		uint64_t other = page ^ (UINT64_C(1) << order);

		if (b->head[other] != order + 1)
			break;
		list_del(b, other, order);
		page &= ~(UINT64_C(1) << order);
		order++;
	}
	list_add(b, page, order, tail);
	return order;
}

void buddy_give(struct buddy *b, uint64_t page, unsigned int order)
{
	uint64_t end = page + (UINT64_C(1) << order);
	unsigned int piece = order < GUEST_MAX_ORDER ? order : GUEST_MAX_ORDER;

	for (; page < end; page += UINT64_C(1) << piece)
		if (insert(b, page, piece, false) >= b->g->order)
			b->requested = true;
}

static void take_piece(struct buddy *b, uint64_t page, unsigned int order)
{
	unsigned int o = order;
	uint64_t head = page;

	/* The free block that holds the piece; there is one, the history says so. */
	while (o < GUEST_MAX_ORDER && b->head[head] != o + 1) {
		o++;
		head = page >> o << o;
	}
	list_del(b, head, o);
	while (o > order) {
		uint64_t half;

		o--;
		half = UINT64_C(1) << o;
		if (page & half)
			list_add(b, page >> o << o ^ half, o, false);
		else
			list_add(b, (page >> o << o) + half, o, false);
	}
}

void buddy_take(struct buddy *b, uint64_t page, unsigned int order)
{
	uint64_t nr = UINT64_C(1) << order, i;

	/*
	 * The history may take as one what was freed as several smaller blocks that did not merge.
	 */
	if (order <= GUEST_MAX_ORDER) {
		unsigned int o;

		for (o = order; o <= GUEST_MAX_ORDER; o++)
			if (b->head[page >> o << o] == o + 1) {
				take_piece(b, page, order);
				return;
			}
	}
	FPT_ASSERT(order);	/* a page that is not free cannot be taken */
	for (i = 0; i < nr; i += nr / 2)
		buddy_take(b, page + i, order - 1);
}

void buddy_pass_begin(struct buddy *b)
{
	b->requested = false;
	b->pass_order = b->g->order;
	b->pass_started = false;
}

static long budget_of(const struct buddy *b, unsigned int order)
{
	uint64_t sixteen = b->policy.batch * UINT64_C(16);

	return (long)((b->list[order].nr + sixteen - 1) / sixteen);
}

static void pull(struct buddy *b, uint32_t n, struct fpt_batch *batch)
{
	uint64_t page = (uint64_t)n << b->g->order;
	struct fpt_range r = { guest_pfn(b->g, page), 1UL << b->pass_order };

	list_del(b, page, b->pass_order);
	guest_isolate(b->g, r);
	batch->range[batch->nr++] = r;
}

unsigned int buddy_pass_next(struct buddy *b, struct fpt_batch *batch)
{
	uint64_t pages = 0;

	batch->nr = 0;
	for (; b->pass_order <= GUEST_MAX_ORDER; b->pass_order++, b->pass_started = false) {
		uint32_t n = b->list[b->pass_order].first, after;

		if (!b->pass_started)
			b->pass_budget = budget_of(b, b->pass_order);
		b->pass_started = true;
		for (; n != BUDDY_NONE; n = after) {
			after = b->next[n];
			if (b->reported[n])
				continue;
			if (b->pass_budget < 0) {
				b->requested = true;	/* the rest: another pass */
				break;
			}
			if (batch->nr && pages + (UINT64_C(1) << b->pass_order) >
						 b->policy.max_in_flight)
				return batch->nr;
			pages += UINT64_C(1) << b->pass_order;
			pull(b, n, batch);
			if (batch->nr == b->policy.batch) {
				b->pass_budget--;
				return batch->nr;
			}
		}
	}
	return batch->nr;
}

void buddy_pass_complete(struct buddy *b, struct fpt_batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		uint64_t page = guest_page(b->g, batch->range[i].pfn);
		unsigned int order = fpt_ctz(batch->range[i].nr);

		guest_put_back(b->g, batch->range[i]);
		/* Merged with a neighbour it is to be reported again, as a larger block. */
		if (insert(b, page, order, true) == order)
			b->reported[block_of(b, page)] = 1;
	}
	batch->nr = 0;
}

/* The hook's part of it: page_reporting_notify_free(). */
static _Thread_local unsigned int notified;

static void buddy_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	(void)pfn;
	if (order >= t->back.order)
		notified++;
}

static int buddy_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order)
{
	(void)t;
	(void)pfn;
	(void)order;
	return FPT_OK;
}

const struct fpt_ops buddy_ops = {
	.name = "buddy",
	.retracts = true,
	.free = buddy_free,
	.alloc = buddy_alloc,
};
