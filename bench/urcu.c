/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * urcu.c - liburcu's queues: push/urcu_...
 *
 *	push/urcu_wfcqueue	one queue for all, one node per page
 *	push/urcu_lfstack	one stack for all, one node per page
 *
 * Inlined (_LGPL_SOURCE), as what they are compared with. Pushing needs no read-side section, and
 * all is taken out at once: no node is freed under anybody.
 */
#include "bench.h"
#include "push.h"

#include <stdlib.h>
#include <urcu/lfstack.h>
#include <urcu/wfcqueue.h>

struct urcu_queue {
	struct cds_wfcq_head head __attribute__((aligned(64)));
	struct cds_wfcq_tail tail __attribute__((aligned(64)));
	struct cds_wfcq_node node[] __attribute__((aligned(64)));
};

static void *urcu_queue_create(unsigned int nr_threads)
{
	size_t nr = (size_t)nr_threads * PUSH_ROUND * PUSH_ROUNDS;
	struct urcu_queue *q = bench_memory(sizeof(*q) + nr * sizeof(q->node[0]));

	if (q)
		cds_wfcq_init(&q->head, &q->tail);
	return q;
}

static bool urcu_queue_push(void *instance, unsigned int thread, uint32_t page)
{
	struct urcu_queue *q = instance;

	(void)thread;
	cds_wfcq_node_init(&q->node[page]);
	cds_wfcq_enqueue(&q->head, &q->tail, &q->node[page]);
	return true;
}

static uint64_t urcu_queue_take(void *instance, const uint32_t *const *page, uint64_t *sum)
{
	struct urcu_queue *q = instance;
	struct cds_wfcq_node *node;
	uint64_t nr = 0;

	(void)page;
	while ((node = __cds_wfcq_dequeue_blocking(&q->head, &q->tail))) {
		nr++;
		*sum += (uint64_t)(node - q->node);
	}
	return nr;
}

static const struct push_peer urcu_queue_peer = {
	"push/urcu_wfcqueue", urcu_queue_create, urcu_queue_push, urcu_queue_take, free,
};

struct urcu_stack {
	struct cds_lfs_stack stack __attribute__((aligned(64)));
	struct cds_lfs_node node[] __attribute__((aligned(64)));
};

static void *urcu_stack_create(unsigned int nr_threads)
{
	size_t nr = (size_t)nr_threads * PUSH_ROUND * PUSH_ROUNDS;
	struct urcu_stack *s = bench_memory(sizeof(*s) + nr * sizeof(s->node[0]));

	if (s)
		cds_lfs_init(&s->stack);
	return s;
}

static bool urcu_stack_push(void *instance, unsigned int thread, uint32_t page)
{
	struct urcu_stack *s = instance;

	(void)thread;
	cds_lfs_node_init(&s->node[page]);
	cds_lfs_push(&s->stack, &s->node[page]);
	return true;
}

static uint64_t urcu_stack_take(void *instance, const uint32_t *const *page, uint64_t *sum)
{
	struct urcu_stack *s = instance;
	struct cds_lfs_head *head = __cds_lfs_pop_all(&s->stack);
	struct cds_lfs_node *node;
	uint64_t nr = 0;

	(void)page;
	for (node = head ? &head->node : NULL; node; node = node->next) {
		nr++;
		*sum += (uint64_t)(node - s->node);
	}
	return nr;
}

static void urcu_stack_destroy(void *instance)
{
	struct urcu_stack *s = instance;

	cds_lfs_destroy(&s->stack);
	free(s);
}

static const struct push_peer urcu_stack_peer = {
	"push/urcu_lfstack", urcu_stack_create, urcu_stack_push, urcu_stack_take,
	urcu_stack_destroy,
};

void bench_urcu(void)
{
	bench_push(&urcu_queue_peer);
	bench_push(&urcu_stack_peer);
}
