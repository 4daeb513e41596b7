/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * queue.h - what is with the host, in virtual time
 *
 * The host works through the batches it was given in order, and through a batch's ranges:
 *
 *	due      .......t1......t2......t3......t4......t5......t6
 *	slot     [ range ][ range ][  hole ][ range ][ range ][ range ]
 *	batch        1        1        1        2        2        2
 *
 * A slot is an interval of the host's time, at whose end it has discarded a range. A batch is
 * acknowledged as a whole at the end of its last slot. Where ranges do not spread over the batch's
 * time, all its slots are due at its end: nobody can see when, because nobody gets at the pages.
 *
 * A range that is acknowledged alone leaves a hole: the host's time passes all the same. One that
 * is asked for first trades places on the way, see queue_remove().
 */
#ifndef FPT_SIM_QUEUE_H
#define FPT_SIM_QUEUE_H

#include <fpt/report.h>

#define QUEUE_NEVER UINT64_MAX

struct queue_slot {
	struct fpt_range range;
	unsigned long ticket;
	uint64_t batch;			/* counts from 1; 0: a hole of no batch */
	bool hole;
	bool discarded;
};

struct queue {
	struct queue_slot *slot;
	uint64_t *due;			/* per slot; never decreases */
	size_t first;			/* the oldest slot of what is not acknowledged */
	size_t at;			/* the slot that the host is at */
	size_t end, cap;
	uint64_t batches;
};

void queue_free(struct queue *q);

/* The host gets a batch at now, and has latency ns to do for it. -1: no memory. */
int queue_add(struct queue *q, const struct fpt_batch *b, uint64_t now, uint64_t latency,
	      bool spread);

static inline bool queue_empty(const struct queue *q)
{
	return q->first == q->end;
}

/* When the host is next done with something. */
static inline uint64_t queue_next(const struct queue *q)
{
	return q->at < q->end ? q->due[q->at] : QUEUE_NEVER;
}

/*
 * Let the host work up to now, for one step: *discard is what it has discarded, and *done what it
 * acknowledges with it. False: nothing was due.
 */
bool queue_step(struct queue *q, uint64_t now, struct fpt_batch *discard, struct fpt_batch *done);

/* The slot of the range that holds a pfn; false: it is not with the host. */
bool queue_find(const struct queue *q, fpt_pfn_t pfn, size_t *slot);

/*
 * When a slot's range will be acknowledged: with its batch; expedited, as soon as the host is
 * through with the range that it is at and then, unless it was discarded before, with this one.
 */
uint64_t queue_acknowledged_at(const struct queue *q, size_t slot, bool expedite);

/*
 * Acknowledge the range alone, now. Expedited, the host's next interval is its, and those that were
 * before it come one later. True: it was not discarded before.
 */
bool queue_remove(struct queue *q, size_t slot, bool expedite, struct fpt_batch *one);

#endif
