/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* setup.c - see setup.h; and the table of trackers */
#include "sim/setup.h"
#include "sim/buddy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__thread unsigned int fpt_virtual_cpu;

#define MS UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)

#define POLICY(period, most) { \
	.period_ns = (period), .latency_ns = 1 * MS, .batch = FPT_BATCH_MAX, .in_flight = (most), \
	.exact = true, .discard = HOST_DONTNEED, \
}

const struct sim_tracker sim_trackers[] = {
	{ "none", &fpt_none_ops, false, false, POLICY(100 * MS, 64 * MIB) },
	{ "lockmap", &fpt_lockmap_ops, true, false, POLICY(100 * MS, 64 * MIB) },
	{ "array", &fpt_array_ops, true, false, POLICY(100 * MS, 64 * MIB) },
	{ "bitmap", &fpt_bitmap_ops, true, false, POLICY(100 * MS, 64 * MIB) },
	{ "xbitmap", &fpt_xbitmap_ops, true, false, POLICY(100 * MS, 64 * MIB) },
	{ "delta", &fpt_delta_ops, true, false, POLICY(100 * MS, 64 * MIB) },
	/* 32 blocks of order 10, as upstream */
	{ "buddy", &buddy_ops, true, true, POLICY(BUDDY_DELAY_NS, 128 * MIB) },
	{ .name = NULL },
};

const struct sim_tracker *sim_tracker_find(const char *name, size_t length)
{
	const struct sim_tracker *t;

	for (t = sim_trackers; t->name; t++)
		if (strlen(t->name) == length && !memcmp(t->name, name, length))
			return t;
	return NULL;
}

int sim_check(const struct trace *t, const struct sim_tracker *tracker,
	      const struct sim_config *config, struct trace_error *err)
{
	if (tracker->walks_buddy && config->order > GUEST_MAX_ORDER)
		snprintf(err->text, sizeof(err->text),
			 "%s: order %u is above %u, the largest that a buddy allocator merges",
			 tracker->name, config->order, GUEST_MAX_ORDER);
	else if (config->policy.in_flight / t->page_size >> config->order == 0)
		snprintf(err->text, sizeof(err->text),
			 "%s: in_flight is below one block of order %u", tracker->name,
			 config->order);
	else
		return 0;
	return -1;
}

static struct fpt_mem donate(struct setup *s, size_t size)
{
	struct setup_memory *memory = malloc(sizeof(*memory));
	struct fpt_mem m = { NULL, size, true };

	if (!memory)
		return m;
	memory->size = size + FPT_CACHE_LINE;
	memory->p = fpt_memory_get(memory->size);
	memory->next = s->memory;
	s->memory = memory;
	/*
	 * Aligned, so that the metadata's size does not depend on where the memory happens to be.
	 */
	if (memory->p)
		m.base = (char *)memory->p + (-(uintptr_t)memory->p & (FPT_CACHE_LINE - 1));
	return m;
}

void setup_refill(struct setup *s)
{
	size_t wanted = fpt_wanted(&s->t);
	struct fpt_mem m;

	if (!wanted)
		return;
	m = donate(s, wanted);
	if (m.base)
		(void)fpt_refill(&s->t, &m);
}

/*
 * The largest aligned blocks that make up an extent; drained on the way, as a scan by a reporter
 * would, so that no front is full.
 */
static void hint_extent(struct setup *s, uint64_t pfn, uint64_t nr, unsigned long capacity,
			unsigned long *since_drain)
{
	struct fpt *t = &s->t;

	while (nr) {
		unsigned int order = 0;

		while (order < GUEST_MAX_ORDER && !(pfn >> order & 1) && nr >> (order + 1))
			order++;
		fpt_free(t, pfn, order);
		pfn += UINT64_C(1) << order;
		nr -= UINT64_C(1) << order;
		if (++*since_drain % capacity == 0) {
			setup_refill(s);
			fpt_drain(t);
		}
	}
}

int setup_tracker(struct setup *s, const struct guest *g, const struct trace *t,
		  unsigned int nr_cpus, const struct sim_tracker *tracker,
		  const struct sim_config *config, struct trace_error *err)
{
	struct fpt_config c = {
		.ops = tracker->ops,
		.nr_cpus = nr_cpus,
		.order = config->order,
		.array_entries = config->policy.entries,
	};
	size_t size = fpt_size(&c);
	unsigned long capacity = c.array_entries && c.array_entries < 64 ? c.array_entries : 64;
	unsigned long since_drain = 0;
	unsigned int i;
	struct fpt_mem m;
	int error;

	memset(s, 0, sizeof(*s));
	m = donate(s, size);
	error = m.base ? fpt_init(&s->t, &c, &m) : FPT_ENOMEM;
	for (i = 0; !error && !tracker->walks_buddy && i < g->nr_spans; i++) {
		size = fpt_range_size(&s->t, g->span[i].pfn, g->span[i].nr, config->policy.exact);
		m = donate(s, size);
		error = m.base ? fpt_add_range(&s->t, g->span[i].pfn, g->span[i].nr, &m)
			       : FPT_ENOMEM;
	}
	if (error) {
		snprintf(err->text, sizeof(err->text), "%s: %s", tracker->name,
			 error == FPT_ENOMEM ? "not enough memory for the tracker" :
			 "the tracker does not take this trace's pages");
		setup_free(s);
		return -1;
	}
	fpt_virtual_cpu = 0;
	for (i = 0; i < t->free_before.nr; i++)
		hint_extent(s, t->free_before.v[i].pfn, t->free_before.v[i].nr, capacity,
			    &since_drain);
	return 0;
}

void setup_free(struct setup *s)
{
	struct setup_memory *memory, *next;

	fpt_destroy(&s->t);
	for (memory = s->memory; memory; memory = next) {
		next = memory->next;
		if (memory->p)
			fpt_memory_put(memory->p, memory->size);
		free(memory);
	}
	memset(s, 0, sizeof(*s));
}
