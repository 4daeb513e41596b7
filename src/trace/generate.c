/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * generate.c - see generate.h
 *
 * Pages are numbered from 0. Each has a link forward and one back and a byte of state. A page is in
 * a list of the buddy allocator (the first of a free block), in a CPU's list, or held; held blocks
 * are chained by the forward link, in the order in which they will be given back.
 */
#include "trace/generate.h"
#include "trace/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PFN	0x1000u		/* aligned to the largest block */
#define PAGE_BYTES	4096u
#define PAGES_PER_MIB	256u
#define MAX_ORDER	10u
#define HUGE_ORDER	9u
#define BLOCK		(1u << HUGE_ORDER)
#define NS		UINT64_C(1000000000)

#define NONE		UINT32_MAX
/* State of a page: 0, or of a block's first page order + 1, and whether the block is held. */
#define ORDER_MASK	15u
#define PINNED		64u		/* held beyond the release of all others */
#define HELD		128u

/*
 * Half of it is idle: long enough for upstream's page reporting, which begins 2 s after a block
 * became free, to be seen at work.
 */
#define RAMP_REST_NS	(5 * NS)

#define CPU_LIST_MAX	1024u		/* pages; a power of two */
#define CPU_LIST_MIN	8u
#define MAX_PINS	4u		/* per block */
#define BULK_ORDERS	7u		/* bulks are of 1 to 127 pages */
/*
 * Events per page before churn begins: then three frees in five are neighbours, as in recordings.
 */
#define CHURN_AGE	8u
/* Of churn's releases one in so many is done by another CPU: the scheduler moved the owner. */
#define MIGRATED_ONE_IN	32u

/* Random numbers: xoshiro256**, seeded by splitmix64, as their authors recommend. */

struct rng {
	uint64_t s[4];
};

static void rng_seed(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		r->s[i] = z ^ z >> 31;
	}
}

static uint64_t rotate(uint64_t v, unsigned int by)
{
	return v << by | v >> (64 - by);
}

static uint64_t rng_next(struct rng *r)
{
	const uint64_t result = rotate(r->s[1] * 5, 7) * 9, t = r->s[1] << 17;

	r->s[2] ^= r->s[0];
	r->s[3] ^= r->s[1];
	r->s[1] ^= r->s[2];
	r->s[0] ^= r->s[3];
	r->s[2] ^= t;
	r->s[3] = rotate(r->s[3], 45);
	return result;
}

/* Less than N; uneven by N / 2^32, which no trace shows. */
static uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

static bool rng_chance(struct rng *r, uint32_t ppm)
{
	return rng_below(r, GENERATE_PPM) < ppm;
}

/* As many small as large bulks, by the octave. */
static uint32_t rng_bulk(struct rng *r)
{
	const uint32_t size = 1u << rng_below(r, BULK_ORDERS);

	return size + rng_below(r, size);
}

/*
 * Exponential with a mean of 1, times 2^24: minus the logarithm of a uniform number. Base 2: its
 * leading zeros, and of the rest a parabola through the ends, which is off by less than 0.01.
 */
static uint64_t rng_exponential(struct rng *r)
{
	const uint64_t u = rng_next(r) | 1;
	const unsigned int zeros = (unsigned int)__builtin_clzll(u);
	const uint64_t f = (u << zeros << 1) >> 40;		/* 24 bits after the point */
	const uint64_t bend = ((f * ((1u << 24) - f)) >> 24) * 5771362 >> 24;	/* 0.344 */
	const uint64_t log2 = ((uint64_t)(zeros + 1) << 24) - f - bend;

	return log2 * 11629080 >> 24;				/* ln 2 */
}

/* State */

struct chain {
	uint32_t first;
	uint32_t last;
	uint32_t nr;			/* blocks */
};

static const struct chain empty_chain = { NONE, NONE, 0 };

struct cpu {
	uint32_t *list;			/* ring of free pages, the latest last */
	uint32_t list_first;
	uint32_t list_nr;
	uint32_t unseen_left;		/* allocations that are hidden alike, or shown */
	bool unseen;
	/* What the workload does on it. */
	bool allocating;
	uint32_t left;			/* blocks of the bulk that is being taken */
	uint32_t partner;		/* crosscpu: whom it is for */
	struct chain bulk;		/* churn: being taken, or being given back */
	struct chain held;		/* ramp, fragmentation: its own; crosscpu: waiting for it */
	struct chain *owned;		/* churn: bulks, in no order */
	uint32_t nr_owned;
	uint32_t cap_owned;
};

struct pin {
	uint32_t page;
	uint32_t cpu;
};

struct generator {
	const struct generate_config *config;
	struct trace *t;
	struct trace_error *err;
	struct rng rng;
	struct rng blind;		/* its own: what is hidden does not change the history */
	uint64_t ns;
	bool begun;			/* events are kept; before, memory is being filled */
	uint32_t nr_pages;
	uint32_t held_pages;
	bool huge;			/* allocations of more than a page are of order 9 */
	uint8_t *state;
	uint32_t *next;
	uint32_t *prev;
	uint32_t free[MAX_ORDER + 1];	/* first of each list */
	uint32_t list_max;
	uint32_t batch;
	struct cpu *cpu;
	struct pin *pins;
	size_t nr_pins;
	size_t cap_pins;
};

/* The buddy allocator */

static void list_add(struct generator *g, uint32_t page, uint32_t order)
{
	g->state[page] = (uint8_t)(order + 1);
	g->next[page] = g->free[order];
	g->prev[page] = NONE;
	if (g->free[order] != NONE)
		g->prev[g->free[order]] = page;
	g->free[order] = page;
}

static void list_del(struct generator *g, uint32_t page, uint32_t order)
{
	g->state[page] = 0;
	if (g->next[page] != NONE)
		g->prev[g->next[page]] = g->prev[page];
	if (g->prev[page] != NONE)
		g->next[g->prev[page]] = g->next[page];
	else
		g->free[order] = g->next[page];
}

static void buddy_give(struct generator *g, uint32_t page, uint32_t order)
{
	for (; order < MAX_ORDER; order++) {
		const uint32_t other = page ^ 1u << order;

		if (other >= g->nr_pages || g->state[other] != order + 1)
			break;
		list_del(g, other, order);
		page &= ~(1u << order);
	}
	list_add(g, page, order);
}

static uint32_t buddy_take(struct generator *g, uint32_t order)
{
	uint32_t at = order, page;

	while (at <= MAX_ORDER && g->free[at] == NONE)
		at++;
	if (at > MAX_ORDER)
		return NONE;
	page = g->free[at];
	list_del(g, page, at);
	while (at > order) {
		at--;
		list_add(g, page + (1u << at), at);
	}
	return page;
}

/* Per-CPU lists */

static void cpu_drain(struct generator *g, struct cpu *c, uint32_t nr)
{
	for (; nr && c->list_nr; nr--, c->list_nr--) {
		buddy_give(g, c->list[c->list_first], 0);
		c->list_first = (c->list_first + 1) & (g->list_max - 1);
	}
}

static void cpu_push(struct generator *g, struct cpu *c, uint32_t page)
{
	if (c->list_nr == g->list_max)
		cpu_drain(g, c, g->batch);
	c->list[(c->list_first + c->list_nr++) & (g->list_max - 1)] = page;
}

static void drain_all(struct generator *g)
{
	for (uint32_t i = 0; i < g->config->cpus; i++)
		cpu_drain(g, &g->cpu[i], g->list_max);
}

/* The batch's first page is the first to be used: fresh blocks are handed out from their start. */
static void cpu_refill(struct generator *g, struct cpu *c)
{
	uint32_t pages[CPU_LIST_MAX], nr = 0;

	while (nr < g->batch) {
		pages[nr] = buddy_take(g, 0);
		if (pages[nr] == NONE)
			break;
		nr++;
	}
	while (nr)
		cpu_push(g, c, pages[--nr]);
}

static uint32_t take(struct generator *g, struct cpu *c, uint32_t order)
{
	uint32_t page;

	if (order) {
		page = buddy_take(g, order);
		if (page != NONE)
			return page;
		drain_all(g);
		return buddy_take(g, order);
	}
	if (!c->list_nr)
		cpu_refill(g, c);
	if (!c->list_nr) {
		drain_all(g);
		cpu_refill(g, c);
	}
	if (!c->list_nr)
		return NONE;
	return c->list[(c->list_first + --c->list_nr) & (g->list_max - 1)];
}

/* Events */

/* Drawn for every allocation, whatever the share: see "Blind spots" in generate.h. */
static bool is_hidden(struct generator *g, struct cpu *c)
{
	if (!c->unseen_left) {
		c->unseen_left = rng_bulk(&g->blind);
		c->unseen = rng_chance(&g->blind, g->config->hidden_ppm);
	}
	c->unseen_left--;
	return c->unseen;
}

static int emit(struct generator *g, uint32_t cpu, uint32_t page, uint32_t order, bool alloc)
{
	const struct trace_event e = {
		.ns = g->ns,
		.pfn = FIRST_PFN + page,
		.cpu = cpu & (TRACE_MAX_CPUS - 1),
		.order = order & 63,
		.alloc = alloc,
		.hidden = g->begun && alloc && is_hidden(g, &g->cpu[cpu]),
	};

	return g->begun ? trace_add_event(g->t, &e, g->err) : 0;
}

/* -1 on error; *page is NONE when there is no memory left in the model. */
static int event_alloc(struct generator *g, uint32_t cpu, uint32_t *page)
{
	uint32_t order = 0;

	if (g->config->orders_ppm && rng_chance(&g->rng, g->config->orders_ppm))
		order = g->huge ? HUGE_ORDER :
			1 + (uint32_t)__builtin_ctz(rng_below(&g->rng, 8) | 4);
	*page = take(g, &g->cpu[cpu], order);
	if (*page == NONE && order) {
		order = 0;
		*page = take(g, &g->cpu[cpu], 0);
	}
	if (*page == NONE)
		return 0;
	g->state[*page] = (uint8_t)(HELD | (order + 1));
	g->held_pages += 1u << order;
	return emit(g, cpu, *page, order, true);
}

static int event_free(struct generator *g, uint32_t cpu, uint32_t page)
{
	const uint32_t order = (g->state[page] & ORDER_MASK) - 1;

	g->state[page] = 0;
	g->held_pages -= 1u << order;
	if (order)
		buddy_give(g, page, order);
	else
		cpu_push(g, &g->cpu[cpu], page);
	return emit(g, cpu, page, order, false);
}

static void chain_push(struct generator *g, struct chain *c, uint32_t page)
{
	g->next[page] = NONE;
	if (c->nr++)
		g->next[c->last] = page;
	else
		c->first = page;
	c->last = page;
}

static uint32_t chain_pop(struct generator *g, struct chain *c)
{
	const uint32_t page = c->first;

	c->first = g->next[page];
	c->nr--;
	return page;
}

static int add_free_pages(const struct generator *g, struct trace_extents *x)
{
	uint32_t page = 0;

	while (page < g->nr_pages) {
		const uint32_t from = page;

		while (page < g->nr_pages && !(g->state[page] & HELD))
			page++;
		if (trace_extents_add(x, FIRST_PFN + from, page - from))
			return trace_fail(g->err, "no memory for what is free");
		if (page < g->nr_pages)
			page += 1u << ((g->state[page] & ORDER_MASK) - 1);
	}
	trace_extents_finish(x);
	return 0;
}

/* What is held by now is held at time 0; events are kept from here on. */
static int begin(struct generator *g)
{
	g->begun = true;
	return add_free_pages(g, &g->t->free_before);
}

/* Time */

static uint64_t duration(const struct generator *g)
{
	return g->config->seconds * NS;
}

/* To the next event of a Poisson process. False: that is after the end. */
static bool wait_random(struct generator *g)
{
	g->ns += rng_exponential(&g->rng) * NS / g->config->rate >> 24;
	return g->ns < duration(g);
}

/* Event I of a phase: at an even pace with some jitter, so that the phase cannot overrun. */
static void wait_paced(struct generator *g, uint64_t begin, uint64_t i)
{
	const uint32_t gap = (uint32_t)(NS / g->config->rate);

	g->ns = begin + i * gap + rng_below(&g->rng, gap);
}

static uint32_t target_pages(const struct generator *g)
{
	return (uint32_t)((uint64_t)g->nr_pages * g->config->occupancy / 100);
}

static uint64_t pace_ns(const struct generator *g, uint64_t events)
{
	return events * (NS / g->config->rate);
}

static uint32_t random_cpu(struct generator *g)
{
	return rng_below(&g->rng, g->config->cpus);
}

/* churn */

static int own(struct generator *g, struct cpu *c, struct chain bulk)
{
	if (!bulk.nr)
		return 0;
	if (c->nr_owned == c->cap_owned) {
		const uint32_t cap = c->cap_owned ? 2 * c->cap_owned : 16;
		struct chain *v = realloc(c->owned, cap * sizeof(*v));

		if (!v)
			return trace_fail(g->err, "no memory for what CPUs own");
		c->owned = v;
		c->cap_owned = cap;
	}
	c->owned[c->nr_owned++] = bulk;
	return 0;
}

/* Any of the bulks of a CPU: lifetimes are exponential. */
static struct chain disown(struct generator *g, struct cpu *c)
{
	const uint32_t i = rng_below(&g->rng, c->nr_owned);
	const struct chain bulk = c->owned[i];

	c->owned[i] = c->owned[--c->nr_owned];
	return bulk;
}

/* The more is held the less likely: even at the target, never an eighth of the way to full. */
static bool churn_allocates(struct generator *g)
{
	const uint32_t target = target_pages(g), room = g->nr_pages - target;
	const int64_t width = (target < room ? target : room) / 8 + 1;
	const int64_t missing = (int64_t)target - (int64_t)g->held_pages;

	return (int64_t)rng_below(&g->rng, 1024) < 512 + missing * 512 / width;
}

static void churn_begin(struct generator *g, struct cpu *c)
{
	struct cpu *owner = c;

	c->allocating = churn_allocates(g);
	c->left = rng_bulk(&g->rng);
	c->bulk = empty_chain;
	if (c->allocating)
		return;
	if (!rng_below(&g->rng, MIGRATED_ONE_IN))
		owner = &g->cpu[random_cpu(g)];
	if (owner->nr_owned)
		c->bulk = disown(g, owner);
	else
		c->allocating = true;
}

static int churn_event(struct generator *g, uint32_t cpu)
{
	struct cpu *c = &g->cpu[cpu];
	uint32_t page;

	if (!(c->allocating ? c->left : c->bulk.nr))
		churn_begin(g, c);
	if (!c->allocating)
		return event_free(g, cpu, chain_pop(g, &c->bulk));
	if (event_alloc(g, cpu, &page))
		return -1;
	c->left--;
	if (page == NONE)
		c->left = 0;
	else
		chain_push(g, &c->bulk, page);
	return c->left ? 0 : own(g, c, c->bulk);
}

static int run_churn(struct generator *g)
{
	const uint32_t target = target_pages(g), age = CHURN_AGE * g->nr_pages;

	/* Beforehand, until lists and blocks look as they will, no longer like a fresh start. */
	for (uint32_t i = 0; i < age || g->held_pages < target; i++)
		if (churn_event(g, random_cpu(g)))
			return -1;
	if (begin(g))
		return -1;
	while (wait_random(g))
		if (churn_event(g, random_cpu(g)))
			return -1;
	return 0;
}

/* ramp and fragmentation */

/* Take pages on all CPUs, from BEGIN on, until so many are held. */
static int fill(struct generator *g, uint64_t begin, uint32_t pages)
{
	for (uint64_t i = 0; g->held_pages < pages; i++) {
		const uint32_t cpu = random_cpu(g);
		uint32_t page;

		wait_paced(g, begin, i);
		if (event_alloc(g, cpu, &page))
			return -1;
		if (page == NONE)
			break;
		chain_push(g, &g->cpu[cpu].held, page);
	}
	return 0;
}

/* One of the CPUs from FIRST on that holds something, or NONE. */
static uint32_t some_holder(struct generator *g, uint32_t first)
{
	const uint32_t nr = g->config->cpus - first, from = rng_below(&g->rng, nr);

	for (uint32_t i = 0; i < nr; i++) {
		const uint32_t cpu = first + (from + i) % nr;

		if (g->cpu[cpu].held.nr)
			return cpu;
	}
	return NONE;
}

static int add_pin(struct generator *g, uint32_t cpu, uint32_t page)
{
	if (g->nr_pins == g->cap_pins) {
		const size_t cap = g->cap_pins ? 2 * g->cap_pins : 256;
		struct pin *v = realloc(g->pins, cap * sizeof(*v));

		if (!v)
			return trace_fail(g->err, "no memory for pages that stay");
		g->pins = v;
		g->cap_pins = cap;
	}
	g->pins[g->nr_pins++] = (struct pin){ page, cpu };
	return 0;
}

/* Each CPU gives back what it took, first taken first; what is pinned stays. */
static int release(struct generator *g, uint64_t begin)
{
	uint64_t i = 0;
	uint32_t cpu;

	while ((cpu = some_holder(g, 0)) != NONE) {
		const uint32_t page = chain_pop(g, &g->cpu[cpu].held);

		if (g->state[page] & PINNED) {
			if (add_pin(g, cpu, page))
				return -1;
			continue;
		}
		wait_paced(g, begin, i++);
		if (event_free(g, cpu, page))
			return -1;
	}
	return 0;
}

static int too_slow(struct generator *g, uint64_t room)
{
	const uint64_t need = pace_ns(g, target_pages(g));

	return trace_fail(g->err, "%s: taking %u pages at %u events per second takes %llu ms, and "
			  "there is room for %llu; raise the rate or the seconds, or lower the "
			  "memory or the occupancy", g->config->workload->name, target_pages(g),
			  g->config->rate, (unsigned long long)(need / 1000000),
			  (unsigned long long)(room / 1000000));
}

static int run_ramp(struct generator *g)
{
	const uint64_t busy = pace_ns(g, target_pages(g));
	uint64_t cycle = 2 * busy + (2 * busy > RAMP_REST_NS ? 2 * busy : RAMP_REST_NS), cycles;

	cycles = duration(g) / cycle ? duration(g) / cycle : 1;
	cycle = duration(g) / cycles;
	if (busy > cycle / 8 * 3)
		return too_slow(g, cycle / 8 * 3);
	g->huge = true;
	if (begin(g))
		return -1;
	for (uint64_t i = 0; i < cycles; i++)
		if (fill(g, i * cycle, target_pages(g)) || release(g, i * cycle + cycle / 2))
			return -1;
	return 0;
}

/* Any few of what is held of a block, all equally likely. */
static void pin_block(struct generator *g, uint32_t block)
{
	const uint32_t end = g->nr_pages - block < BLOCK ? g->nr_pages : block + BLOCK;
	uint32_t wanted = 1 + rng_below(&g->rng, MAX_PINS), held = 0;

	for (uint32_t page = block; page < end; page++)
		held += g->state[page] & HELD ? 1 : 0;
	for (uint32_t page = block; page < end; page++) {
		if (!(g->state[page] & HELD))
			continue;
		if (rng_below(&g->rng, held--) >= wanted)
			continue;
		g->state[page] |= PINNED;
		wanted--;
	}
}

static void shuffle_pins(struct generator *g)
{
	for (size_t i = g->nr_pins; i > 1; i--) {
		const uint32_t j = rng_below(&g->rng, (uint32_t)i);
		const struct pin p = g->pins[i - 1];

		g->pins[i - 1] = g->pins[j];
		g->pins[j] = p;
	}
}

static int run_fragmentation(struct generator *g)
{
	const uint64_t eighth = duration(g) / 8;

	if (pace_ns(g, target_pages(g)) > 2 * eighth)
		return too_slow(g, 2 * eighth);
	if (begin(g) || fill(g, 0, target_pages(g)))
		return -1;
	for (uint32_t block = 0; block < g->nr_pages; block += BLOCK)
		pin_block(g, block);
	if (release(g, 2 * eighth))
		return -1;
	shuffle_pins(g);
	for (size_t i = 0; i < g->nr_pins; i++) {
		const uint64_t gap = 3 * eighth / g->nr_pins;

		g->ns = 4 * eighth + i * gap + gap / 1024 * rng_below(&g->rng, 1024);
		if (event_free(g, g->pins[i].cpu, g->pins[i].page))
			return -1;
	}
	return 0;
}

/* crosscpu */

static uint32_t nr_producers(const struct generator *g)
{
	return g->config->cpus / 2;
}

/* A bulk goes to one consumer. */
static int produce(struct generator *g)
{
	const uint32_t producers = nr_producers(g), cpu = rng_below(&g->rng, producers);
	struct cpu *c = &g->cpu[cpu];
	uint32_t page;

	if (!c->left) {
		c->left = rng_bulk(&g->rng);
		c->partner = producers + rng_below(&g->rng, g->config->cpus - producers);
	}
	if (event_alloc(g, cpu, &page))
		return -1;
	c->left--;
	if (page != NONE)
		chain_push(g, &g->cpu[c->partner].held, page);
	return 0;
}

static int consume(struct generator *g)
{
	const uint32_t cpu = some_holder(g, nr_producers(g));

	return cpu == NONE ? 0 : event_free(g, cpu, chain_pop(g, &g->cpu[cpu].held));
}

/*
 * Consumers fall behind, then catch up with everything: in balance, the pages would go round in a
 * circle, and no block would become free.
 */
static int run_crosscpu(struct generator *g)
{
	const uint32_t most = target_pages(g);
	bool behind = true;

	if (g->config->cpus < 2)
		return trace_fail(g->err, "crosscpu takes at least 2 CPUs, one at each end");
	if (begin(g))
		return -1;
	while (wait_random(g)) {
		if (!g->held_pages)
			behind = true;
		else if (g->held_pages >= most)
			behind = false;
		if (rng_below(&g->rng, 4) < (behind ? 3 : 1) ? produce(g) : consume(g))
			return -1;
	}
	return 0;
}

/* All of them */

const struct generate_workload generate_workloads[] = {
	{ "churn", "Random allocations and frees at a steady occupancy: what hooks cost while no "
	  "large block comes or goes.", run_churn },
	{ "ramp", "A large share of memory is taken, held, released at once, left idle, again: how "
	  "much of what is free is found, and how soon.", run_ramp },
	{ "fragmentation", "All but a scattered few pages of each block are released, then slowly "
	  "these, too: free memory that is no large block.", run_fragmentation },
	{ "crosscpu", "Pages are taken on one CPU and given back on another, as between a producer "
	  "and a consumer: what per-CPU state costs and misses.", run_crosscpu },
	{ .name = NULL },
};

const struct generate_workload *generate_workload_find(const char *name)
{
	for (const struct generate_workload *w = generate_workloads; w->name; w++)
		if (!strcmp(w->name, name))
			return w;
	return NULL;
}

const struct generate_config generate_defaults = {
	.seed = 1,
	.cpus = 2,
	.memory_mib = 256,
	.seconds = 20,
	.rate = 20000,
	.occupancy = 50,
};

static int check(const struct generate_config *c, struct trace_error *err)
{
	if (!c->cpus || c->cpus > TRACE_MAX_CPUS)
		return trace_fail(err, "%u CPUs are not 1 to %u", c->cpus, TRACE_MAX_CPUS);
	if (c->memory_mib < GENERATE_MIN_MIB || c->memory_mib > GENERATE_MAX_MIB)
		return trace_fail(err, "%u MiB are not %u to %u", c->memory_mib, GENERATE_MIN_MIB,
				  GENERATE_MAX_MIB);
	if (c->memory_mib < c->cpus)
		return trace_fail(err, "%u CPUs take at least %u MiB, and there are %u", c->cpus,
				  c->cpus, c->memory_mib);
	if (!c->seconds || c->seconds > GENERATE_MAX_SECONDS)
		return trace_fail(err, "%u seconds are not 1 to %u", c->seconds,
				  GENERATE_MAX_SECONDS);
	if (!c->rate || c->rate > GENERATE_MAX_RATE)
		return trace_fail(err, "%u events per second are not 1 to %u", c->rate,
				  GENERATE_MAX_RATE);
	if ((uint64_t)c->rate * c->seconds > GENERATE_MAX_EVENTS)
		return trace_fail(err, "%llu events are more than %llu; lower the rate or the "
				  "seconds", (unsigned long long)c->rate * c->seconds,
				  (unsigned long long)GENERATE_MAX_EVENTS);
	if (!c->occupancy || c->occupancy > GENERATE_MAX_OCCUPANCY)
		return trace_fail(err, "%u %% of memory are not 1 to %u", c->occupancy,
				  GENERATE_MAX_OCCUPANCY);
	if (c->orders_ppm > GENERATE_PPM || c->hidden_ppm > GENERATE_PPM)
		return trace_fail(err, "a share is above 1");
	return 0;
}

/* Everything that the events depend on, and nothing else (the file's name). */
static char *source(const struct generate_config *c)
{
	char *text;

	if (asprintf(&text, "fpt generate %s --seed %" PRIu64 " --cpus %u --memory %u --seconds %u "
		     "--rate %u --occupancy %u --orders %u.%06u --blind-spots %u.%06u "
		     "(generator version %u)", c->workload->name, c->seed, c->cpus, c->memory_mib,
		     c->seconds, c->rate, c->occupancy, c->orders_ppm / GENERATE_PPM,
		     c->orders_ppm % GENERATE_PPM, c->hidden_ppm / GENERATE_PPM,
		     c->hidden_ppm % GENERATE_PPM, GENERATE_VERSION) < 0)
		return NULL;
	return text;
}

static int set_up_trace(struct generator *g)
{
	const struct generate_config *c = g->config;
	struct trace *t = g->t;

	t->page_size = PAGE_BYTES;
	t->nr_cpus = c->cpus;
	t->duration_ns = duration(g);
	t->has_snapshot = true;
	t->source = source(c);
	if (!t->source || trace_extents_add(&t->ranges, FIRST_PFN, g->nr_pages))
		return trace_fail(g->err, "no memory");
	trace_extents_finish(&t->ranges);
	return 0;
}

static int set_up_memory(struct generator *g)
{
	const uint32_t cpus = g->config->cpus;
	uint32_t page = g->nr_pages;

	/* All lists together are a small part of memory, as the kernel sees to it. */
	g->list_max = CPU_LIST_MAX;
	while (g->list_max > CPU_LIST_MIN && (uint64_t)g->list_max * cpus * 32 > g->nr_pages)
		g->list_max /= 2;
	g->batch = g->list_max / 16 ? g->list_max / 16 : 1;
	g->state = calloc(g->nr_pages, sizeof(*g->state));
	g->next = calloc(g->nr_pages, sizeof(*g->next));
	g->prev = calloc(g->nr_pages, sizeof(*g->prev));
	g->cpu = calloc(cpus, sizeof(*g->cpu));
	if (!g->state || !g->next || !g->prev || !g->cpu)
		return trace_fail(g->err, "no memory for the model of %u pages", g->nr_pages);
	for (uint32_t i = 0; i < cpus; i++) {
		g->cpu[i].list = calloc(g->list_max, sizeof(*g->cpu[i].list));
		if (!g->cpu[i].list)
			return trace_fail(g->err, "no memory for the lists of %u CPUs", cpus);
	}
	for (uint32_t i = 0; i <= MAX_ORDER; i++)
		g->free[i] = NONE;
	/* The lowest comes last, and so is taken first. */
	while (page) {
		const uint32_t order = (uint32_t)__builtin_ctz(page | 1u << MAX_ORDER);

		page -= 1u << order;
		buddy_give(g, page, order);
	}
	return 0;
}

static void tear_down(struct generator *g)
{
	for (uint32_t i = 0; g->cpu && i < g->config->cpus; i++) {
		free(g->cpu[i].list);
		free(g->cpu[i].owned);
	}
	free(g->cpu);
	free(g->state);
	free(g->next);
	free(g->prev);
	free(g->pins);
}

int trace_generate(struct trace *t, const struct generate_config *config, struct trace_error *err)
{
	struct generator g = { .config = config, .t = t, .err = err };
	int ret = -1;

	if (check(config, err))
		return -1;
	g.nr_pages = config->memory_mib * PAGES_PER_MIB;
	rng_seed(&g.rng, config->seed);
	rng_seed(&g.blind, ~config->seed);
	if (!set_up_trace(&g) && !set_up_memory(&g) && !config->workload->run(&g))
		ret = add_free_pages(&g, &t->free_after);
	tear_down(&g);
	return ret;
}
