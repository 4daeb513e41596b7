/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* queue.c - see queue.h */
#include "sim/queue.h"

#include <stdlib.h>
#include <string.h>

void queue_free(struct queue *q)
{
	free(q->slot);
	free(q->due);
	memset(q, 0, sizeof(*q));
}

static int make_room(struct queue *q, size_t nr)
{
	size_t cap = 2 * q->cap + nr;
	struct queue_slot *slot;
	uint64_t *due;

	if (q->first == q->end)
		q->first = q->at = q->end = 0;
	if (q->cap - q->end >= nr)
		return 0;
	slot = realloc(q->slot, cap * sizeof(*slot));
	if (slot)
		q->slot = slot;
	due = realloc(q->due, cap * sizeof(*due));
	if (due)
		q->due = due;
	if (!slot || !due)
		return -1;
	q->cap = cap;
	return 0;
}

int queue_add(struct queue *q, const struct fpt_batch *b, uint64_t now, uint64_t latency,
	      bool spread)
{
	uint64_t begin = q->at < q->end ? q->due[q->end - 1] : now;
	unsigned int i;

	if (make_room(q, b->nr))
		return -1;
	q->batches++;
	for (i = 0; i < b->nr; i++) {
		q->due[q->end] = begin + (spread ? latency * (i + 1) / b->nr : latency);
		q->slot[q->end++] = (struct queue_slot){
			.range = b->range[i], .ticket = b->ticket[i], .batch = q->batches,
		};
	}
	return 0;
}

static void append(struct fpt_batch *b, const struct queue_slot *s)
{
	b->range[b->nr] = s->range;
	b->ticket[b->nr++] = s->ticket;
}

bool queue_step(struct queue *q, uint64_t now, struct fpt_batch *discard, struct fpt_batch *done)
{
	uint64_t batch, due = queue_next(q);
	size_t next;

	discard->nr = 0;
	done->nr = 0;
	if (due > now || q->at == q->end)
		return false;
	/* What is due at the same time goes together, as far as it is one batch's. */
	batch = q->slot[q->at].batch;
	for (; q->at < q->end && q->due[q->at] == due && q->slot[q->at].batch == batch; q->at++) {
		if (!q->slot[q->at].hole)
			append(discard, &q->slot[q->at]);
		q->slot[q->at].discarded = true;
	}
	while (q->first < q->at && !q->slot[q->first].batch)
		q->first++;
	if (q->first == q->at)
		return true;
	/* At its batch's end? Then that is all that the host has done and not acknowledged. */
	for (next = q->at; next < q->end && !q->slot[next].batch; next++)
		;
	if (next == q->end || q->slot[next].batch != q->slot[q->first].batch)
		for (; q->first < q->at; q->first++)
			if (!q->slot[q->first].hole)
				append(done, &q->slot[q->first]);
	return true;
}

bool queue_find(const struct queue *q, fpt_pfn_t pfn, size_t *slot)
{
	size_t i;

	for (i = q->first; i < q->end; i++)
		if (!q->slot[i].hole && pfn - q->slot[i].range.pfn < q->slot[i].range.nr) {
			*slot = i;
			return true;
		}
	return false;
}

uint64_t queue_acknowledged_at(const struct queue *q, size_t slot, bool expedite)
{
	uint64_t batch = q->slot[slot].batch;
	size_t i, last = slot;

	if (expedite)
		return q->due[slot > q->at ? q->at + 1 : q->at];
	for (i = slot; i < q->end && (q->slot[i].batch == batch || !q->slot[i].batch); i++)
		if (q->slot[i].batch)
			last = i;
	return q->due[last];
}

bool queue_remove(struct queue *q, size_t slot, bool expedite, struct fpt_batch *one)
{
	struct queue_slot s = q->slot[slot];
	bool discarded = s.discarded;

	one->nr = 0;
	append(one, &s);
	s.hole = true;
	if (expedite && slot > q->at) {
		memmove(&q->slot[q->at + 2], &q->slot[q->at + 1],
			(slot - q->at - 1) * sizeof(*q->slot));
		slot = q->at + 1;
		s.batch = 0;
	}
	q->slot[slot] = s;
	return !discarded;
}
