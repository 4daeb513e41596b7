/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* setup.c - see setup.h; and the table of trackers */
#include "sim/setup.h"
#include "sim/buddy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

__thread unsigned int fpt_virtual_cpu;

#define MS UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)

/* Commas in what follows are the macro's arguments. */
#define POLICY(period, most, ...) { \
	.period_ns = (period), .latency_ns = 1 * MS, .batch = FPT_BATCH_MAX, .in_flight = (most), \
	.exact = true, .discard = HOST_DONTNEED, __VA_ARGS__ \
}
#define USUAL POLICY(100 * MS, 64 * MIB, .protocol = SIM_ISOLATE)
/* Nothing that is out is missing in the guest: so there is more of it, four batches. */
#define TICKETS(...) POLICY(100 * MS, 256 * MIB, __VA_ARGS__)

const struct sim_tracker sim_trackers[] = {
	{ "none", &fpt_none_ops, false, false, false, USUAL },
	{ "lockmap", &fpt_lockmap_ops, true, false, false, USUAL },
	{ "array", &fpt_array_ops, true, false, false, USUAL },
	{ "bitmap", &fpt_bitmap_ops, true, false, false, USUAL },
	{ "xbitmap", &fpt_xbitmap_ops, true, false, false, USUAL },
	{ "delta", &fpt_delta_ops, true, false, false, USUAL },
	{ "ticket", &fpt_xbitmap_ops, true, false, false,
	  TICKETS(.protocol = SIM_TICKET, .expedite = true, .ahead = 3) },
	/* As it was proposed: got, put back, and got again. */
	{ "xbitmap2019", &fpt_xbitmap_ops, true, false, false,
	  TICKETS(.protocol = SIM_HINTS, .again = true) },
	/* Asked for by the hooks: no period. */
	{ "array2019", &fpt_array2019_ops, true, false, true, USUAL },
	/* 32 blocks of order 10, as upstream */
	{ "buddy", &buddy_ops, true, true, false,
	  POLICY(BUDDY_DELAY_NS, 128 * MIB, .protocol = SIM_ISOLATE) },
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

struct fpt_policy sim_report_policy(const struct sim_policy *policy, size_t page_size)
{
	return (struct fpt_policy){
		.batch = (unsigned int)policy->batch,
		.max_in_flight = policy->in_flight / page_size,
		.min_order = (unsigned int)policy->min_order,
		.amount = policy->amount / page_size,
		.age = (unsigned long)policy->age_ns,
		.cold = (unsigned int)policy->cold,
	};
}

static bool hides_events(const struct trace *t)
{
	size_t i;

	for (i = 0; i < t->nr_events; i++)
		if (t->events[i].hidden)
			return true;
	return false;
}

static unsigned int granule_order(const struct sim_policy *policy, size_t page_size)
{
	unsigned int order = 0;

	while (policy->granule >> order > page_size)
		order++;
	return order;
}

/* For array2019, which asks in hooks. */
static bool are_free(void *ctx, fpt_pfn_t pfn, unsigned int order)
{
	fpt_pfn_t i;

	for (i = 0; i < 1UL << order; i++)
		if (!guest_is_free(ctx, pfn + i))
			return false;
	return true;
}

static struct fpt_config tracker_config(const struct guest *g, const struct trace *t,
					unsigned int nr_cpus, const struct sim_tracker *tracker,
					const struct sim_config *config)
{
	return (struct fpt_config){
		.ops = tracker->ops,
		.nr_cpus = nr_cpus,
		.order = config->order,
		.granule_order = granule_order(&config->policy, t->page_size),
		.protocol = tracker->walks_buddy || config->policy.protocol == SIM_ISOLATE ?
			    FPT_ISOLATE : FPT_TICKET,
		.lossy = hides_events(t),
		.audit = tracker->ops->toggles && config->policy.audit,
		.report_again = config->policy.again,
		.array_entries = config->policy.entries,
		.delta_sets = config->policy.lines / FPT_DELTA_WAYS,
		.is_free = are_free,
		.is_free_ctx = (void *)(uintptr_t)g,
	};
}

/* Who of a run's trackers cannot be switched from or to. NULL: nobody, or it does not switch. */
static const struct sim_tracker *not_switched(const struct sim_tracker *t,
					      const struct sim_switch *s)
{
	if (!s)
		return NULL;
	if (t->collects || t->ops->toggles)
		return t;
	return s->other->collects || s->other->ops->toggles ? s->other : NULL;
}

int sim_check(const struct trace *t, const struct sim_tracker *tracker,
	      const struct sim_config *config, struct trace_error *err)
{
	const struct sim_tracker *stays = not_switched(tracker, config->switching);
	struct fpt_config c = tracker_config(NULL, t, t->nr_cpus, tracker, config);
	const struct sim_policy *p = &config->policy;

	if (tracker->walks_buddy && config->order > GUEST_MAX_ORDER)
		snprintf(err->text, sizeof(err->text),
			 "%s: order %u is above %u, the largest that a buddy allocator merges",
			 tracker->name, config->order, GUEST_MAX_ORDER);
	else if (p->in_flight / t->page_size >> config->order == 0)
		snprintf(err->text, sizeof(err->text),
			 "%s: in_flight is below one block of order %u", tracker->name,
			 config->order);
	else if (c.granule_order > c.order)
		snprintf(err->text, sizeof(err->text),
			 "%s: a page of the host, granule %llu, is larger than a block of order %u",
			 tracker->name, (unsigned long long)p->granule, config->order);
	else if (stays)
		snprintf(err->text, sizeof(err->text), "%s: no switch from or to it: %s",
			 stays->name, stays->collects ? "it has a reporter of its own" :
			 "its hooks toggle bits, the others' set and clear them");
	else if (c.ops->toggles && c.lossy && !c.audit)
		snprintf(err->text, sizeof(err->text),
			 "%s: the trace hides events from hooks: each inverts its page for good, "
			 "without audits (audit=LINES)",
			 tracker->name);
	else if (p->cold && !c.ops->toggles)
		snprintf(err->text, sizeof(err->text),
			 "%s: does not know which blocks are cold: no policy cold", tracker->name);
	else if (p->cold && p->protocol == SIM_HINTS)
		snprintf(err->text, sizeof(err->text),
			 "%s: the interface of 2018 takes what is hot, too: no policy cold",
			 tracker->name);
	else if (c.ops->toggles && !p->exact)
		snprintf(err->text, sizeof(err->text),
			 "%s: one bit per block (exact=0) is not enough: it toggles one per page",
			 tracker->name);
	else if (c.protocol == FPT_ISOLATE)
		return 0;
	else if (!c.ops->retracts && !c.ops->cut)
		snprintf(err->text, sizeof(err->text),
			 "%s: cannot tell that a page was allocated: only protocol=isolate",
			 tracker->name);
	else if (c.lossy)
		snprintf(err->text, sizeof(err->text),
			 "%s: the trace hides events from hooks: only protocol=isolate",
			 tracker->name);
	else if (!p->exact)
		snprintf(err->text, sizeof(err->text),
			 "%s: one bit per block (exact=0) is not enough: only protocol=isolate",
			 tracker->name);
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

static void drain(void *ctx)
{
	struct setup *s = ctx;

	setup_refill(s);
	fpt_drain(&s->t);
}

/* The largest aligned blocks that make up an extent. */
static void hint_extent(struct setup *s, uint64_t pfn, uint64_t nr, unsigned long capacity,
			unsigned long *since_drain, void (*make_room)(void *ctx), void *ctx)
{
	struct fpt *t = &s->t;

	while (nr) {
		unsigned int order = 0;

		while (order < GUEST_MAX_ORDER && !(pfn >> order & 1) && nr >> (order + 1))
			order++;
		fpt_free(t, pfn, order);
		pfn += UINT64_C(1) << order;
		nr -= UINT64_C(1) << order;
		if (++*since_drain % capacity == 0)
			make_room(ctx);
	}
}

void setup_hint(struct setup *s, const struct trace *t, unsigned long entries,
		void (*make_room)(void *ctx), void *ctx)
{
	unsigned long capacity = entries && entries < 64 ? entries : 64, since_drain = 0;
	size_t i;

	fpt_virtual_cpu = 0;
	for (i = 0; i < t->free_before.nr; i++)
		hint_extent(s, t->free_before.v[i].pfn, t->free_before.v[i].nr, capacity,
			    &since_drain, make_room, ctx);
}

int setup_tracker(struct setup *s, const struct guest *g, const struct trace *t,
		  unsigned int nr_cpus, const struct sim_tracker *tracker,
		  const struct sim_config *config, struct trace_error *err)
{
	struct fpt_config c = tracker_config(g, t, nr_cpus, tracker, config);
	size_t size = fpt_size(&c);
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
	if (!tracker->collects)
		setup_hint(s, t, config->policy.entries, drain, s);
	return 0;
}

int setup_switch(struct setup *s, unsigned int nr_cpus, const struct sim_tracker *tracker,
		 const struct sim_config *config, double *ns, struct trace_error *err)
{
	struct fpt_config c = {
		.ops = tracker->ops, .nr_cpus = nr_cpus, .order = config->order,
		.array_entries = config->policy.entries,
	};
	bool first = c.ops->size && !fpt_slot_ops(&s->t, c.ops->slot);
	struct fpt_mem m = { NULL, 0, false };
	struct timespec begin, end;
	int error;

	if (first)
		m = donate(s, c.ops->size(&c));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	error = fpt_switch(&s->t, &c, first ? &m : NULL);
	clock_gettime(CLOCK_MONOTONIC, &end);
	*ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
	if (!error)
		return 0;
	snprintf(err->text, sizeof(err->text), "switching to %s: %s", tracker->name,
		 error == FPT_ENOMEM ? "not enough memory for the tracker" :
		 "the tracker does not take this trace's pages");
	return -1;
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
