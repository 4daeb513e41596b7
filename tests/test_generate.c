/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_generate.c - synthetic traces: what generate.h promises */
#include "trace/generate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK 512u
#define NS UINT64_C(1000000000)
#define SEEDS 5u

static struct generate_config configure(const char *workload)
{
	struct generate_config c = generate_defaults;

	c.workload = generate_workload_find(workload);
	assert_non_null(c.workload);
	c.memory_mib = 32;
	c.cpus = 3;
	c.seconds = 4;
	c.rate = 40000;
	return c;
}

static void generate(struct trace *t, const struct generate_config *c)
{
	struct trace_error err = { .text = "" };

	trace_init(t);
	if (trace_generate(t, c, &err))
		fail_msg("%s", err.text);
	assert_non_null(t->source);
}

/* FNV-1a of what decides a replay. */
static uint64_t hash(const struct trace *t)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < t->nr_events; i++) {
		const struct trace_event *e = &t->events[i];
		const uint64_t v[] = { e->ns, e->pfn, e->cpu, e->order, e->alloc, e->hidden };

		for (size_t j = 0; j < sizeof(v) / sizeof(v[0]); j++)
			h = (h ^ v[j]) * UINT64_C(0x100000001b3);
	}
	return h;
}

/* Pages as they are, while a trace is walked. */

struct walk {
	const struct trace *t;
	uint8_t *held;
	uint16_t *cpu;			/* that took it, or that gave it back */
	uint32_t *taken;		/* per block: pages held */
	uint64_t nr_pages, held_pages, full_blocks;
	size_t next;			/* event */
	uint64_t allocs, frees, high_orders, hidden, adjacent;
	uint64_t reused, reused_same;	/* taken by the CPU that gave it back */
	uint64_t returned, returned_same; /* given back by the CPU that took it */
	uint64_t blocks_filled;		/* a block became wholly free */
	uint64_t last_pfn[TRACE_MAX_CPUS];
};

enum { UNKNOWN_CPU = UINT16_MAX };

static void walk_end(struct walk *w)
{
	free(w->held);
	free(w->cpu);
	free(w->taken);
	free(w);
}

static struct walk *walk_begin(const struct trace *t)
{
	struct walk *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->t = t;
	w->nr_pages = trace_extents_total(&t->ranges);
	w->held = malloc(w->nr_pages);
	w->cpu = malloc(w->nr_pages * sizeof(*w->cpu));
	w->taken = calloc(w->nr_pages / BLOCK + 1, sizeof(*w->taken));
	assert_true(w->held && w->cpu && w->taken);
	memset(w->held, 1, w->nr_pages);
	memset(w->cpu, 0xff, w->nr_pages * sizeof(*w->cpu));
	for (size_t i = 0; i < t->free_before.nr; i++) {
		uint64_t page;

		assert_true(trace_page(t, t->free_before.v[i].pfn, &page));
		memset(w->held + page, 0, t->free_before.v[i].nr);
	}
	for (uint64_t p = 0; p < w->nr_pages; p++) {
		w->taken[p / BLOCK] += w->held[p];
		w->held_pages += w->held[p];
	}
	for (uint64_t b = 0; b < w->nr_pages / BLOCK; b++)
		w->full_blocks += !w->taken[b];
	return w;
}

static void walk_page(struct walk *w, const struct trace_event *e, uint64_t page)
{
	uint32_t *taken = &w->taken[page / BLOCK];

	/* Every event finds every page in the state that it needs. */
	assert_int_equal(w->held[page], !e->alloc);
	w->held[page] = e->alloc;
	w->full_blocks -= e->alloc && !*taken;
	*taken += e->alloc ? 1 : UINT32_MAX;
	w->full_blocks += !e->alloc && !*taken;
	w->blocks_filled += !e->alloc && !*taken;
	w->held_pages += e->alloc ? 1 : UINT64_MAX;
	w->cpu[page] = e->cpu;
}

static void walk_event(struct walk *w, const struct trace_event *e)
{
	const uint64_t nr = UINT64_C(1) << e->order;
	uint64_t page, last;
	bool known;

	assert_true(trace_page(w->t, e->pfn, &page));
	assert_int_equal(page % nr, 0);
	assert_true(page + nr <= w->nr_pages);
	assert_true(e->cpu < w->t->nr_cpus);
	known = w->cpu[page] != UNKNOWN_CPU;
	w->high_orders += e->order > 0;
	w->hidden += e->hidden;
	if (e->alloc) {
		w->allocs++;
		w->reused += known;
		w->reused_same += w->cpu[page] == e->cpu;
	} else {
		w->frees++;
		w->returned += known;
		w->returned_same += w->cpu[page] == e->cpu;
		last = w->last_pfn[e->cpu];
		w->adjacent += last && (e->pfn == last + 1 || e->pfn + 1 == last);
		w->last_pfn[e->cpu] = e->pfn;
	}
	for (uint64_t p = page; p < page + nr; p++)
		walk_page(w, e, p);
}

/* All events before a point in time. */
static void walk_until(struct walk *w, uint64_t ns)
{
	while (w->next < w->t->nr_events && w->t->events[w->next].ns < ns)
		walk_event(w, &w->t->events[w->next++]);
}

static bool same_extents(const struct trace_extents *a, const struct trace_extents *b)
{
	return a->nr == b->nr && (!a->nr || !memcmp(a->v, b->v, a->nr * sizeof(*a->v)));
}

/* A history, as it is, with the right ends. */
static void check_history(struct trace *t)
{
	struct walk *w = walk_begin(t);
	struct trace_anomalies a;
	struct trace_error err = { .text = "" };
	const size_t nr = t->nr_events;
	struct trace_extents before = t->free_before, after = { 0 };
	const uint64_t events = hash(t);

	for (size_t i = 1; i < nr; i++)
		assert_true(t->events[i].ns >= t->events[i - 1].ns);
	assert_true(!nr || t->events[nr - 1].ns < t->duration_ns);
	walk_until(w, t->duration_ns);
	assert_int_equal(w->next, nr);
	for (uint64_t p = 0; p < w->nr_pages; p++)
		if (!w->held[p])
			assert_int_equal(trace_extents_add(&after, t->ranges.v[0].pfn + p, 1), 0);
	trace_extents_finish(&after);
	assert_true(same_extents(&after, &t->free_after));
	free(after.v);
	walk_end(w);
	before.v = malloc(before.nr * sizeof(*before.v) + 1);
	memcpy(before.v, t->free_before.v, before.nr * sizeof(*before.v));
	if (trace_normalise(t, &a, &err))
		fail_msg("%s", err.text);
	assert_int_equal(trace_anomalies_total(&a), 0);
	assert_int_equal(t->nr_events, nr);
	assert_true(hash(t) == events);
	assert_true(same_extents(&before, &t->free_before));
	free(before.v);
}

static void histories(void **state)
{
	(void)state;
	for (const struct generate_workload *k = generate_workloads; k->name; k++)
		for (uint64_t seed = 1; seed <= SEEDS; seed++) {
			struct generate_config c = configure(k->name);
			struct trace t;

			c.seed = seed;
			c.hidden_ppm = seed % 2 ? 100000 : 0;
			c.orders_ppm = seed % 3 ? 20000 : 0;
			generate(&t, &c);
			assert_true(t.nr_events > 200);
			check_history(&t);
			trace_destroy(&t);
		}
}

/* Where the model has little room: lists that take all there is, blocks that are no more. */
static void tight_histories(void **state)
{
	static const struct { uint32_t cpus, mib, occupancy, orders_ppm; } tight[] = {
		{ 2, 16, 95, 0 }, { 2, 16, 95, 1000000 }, { 16, 16, 95, 10000 },
		{ 2, 17, 1, 500000 }, { 2, 19, 60, 1000000 }, { 300, 300, 90, 10000 },
		{ TRACE_MAX_CPUS, TRACE_MAX_CPUS, 2, 0 },
	};

	(void)state;
	for (const struct generate_workload *k = generate_workloads; k->name; k++)
		for (size_t i = 0; i < sizeof(tight) / sizeof(tight[0]); i++) {
			struct generate_config c = configure(k->name);
			struct trace t;

			c.rate = 200000;
			c.cpus = tight[i].cpus;
			c.memory_mib = tight[i].mib;
			c.occupancy = tight[i].occupancy;
			c.orders_ppm = tight[i].orders_ppm;
			generate(&t, &c);
			check_history(&t);
			trace_destroy(&t);
		}
}

static void same_seed_same_trace(void **state)
{
	(void)state;
	for (const struct generate_workload *k = generate_workloads; k->name; k++) {
		struct generate_config c = configure(k->name);
		struct trace a, b, other;

		c.hidden_ppm = 50000;
		generate(&a, &c);
		generate(&b, &c);
		c.seed = 2;
		generate(&other, &c);
		assert_int_equal(a.nr_events, b.nr_events);
		assert_memory_equal(a.events, b.events, a.nr_events * sizeof(*a.events));
		assert_true(same_extents(&a.free_before, &b.free_before));
		assert_string_equal(a.source, b.source);
		assert_true(hash(&a) != hash(&other));
		assert_string_not_equal(a.source, other.source);
		trace_destroy(&a);
		trace_destroy(&b);
		trace_destroy(&other);
	}
}

static void same_seed_same_file(void **state)
{
	char path[2][32] = { "/tmp/fpt-generate-XXXXXX", "/tmp/fpt-generate-XXXXXX" };
	struct generate_config c = configure("churn");
	struct trace_error err;
	char *text[2];
	size_t size[2];

	(void)state;
	c.seconds = 1;
	for (int i = 0; i < 2; i++) {
		int fd = mkstemp(path[i]);
		struct trace t;
		FILE *f;

		assert_true(fd >= 0);
		generate(&t, &c);
		assert_int_equal(trace_save(&t, path[i], &err), 0);
		trace_destroy(&t);
		close(fd);
		f = fopen(path[i], "rb");
		assert_non_null(f);
		text[i] = malloc(1 << 22);
		size[i] = fread(text[i], 1, 1 << 22, f);
		fclose(f);
		unlink(path[i]);
	}
	assert_true(size[0] > 0 && size[0] < 1 << 22);
	assert_int_equal(size[0], size[1]);
	assert_memory_equal(text[0], text[1], size[0]);
	free(text[0]);
	free(text[1]);
}

/*
 * On every machine and with every compiler. Who breaks this on purpose increments GENERATE_VERSION:
 * traces of one source text are the same trace.
 */
static void same_on_every_machine(void **state)
{
	static const struct { const char *name; uint64_t hash; } expected[] = {
		{ "churn", UINT64_C(0xed6cc629eb7d489e) },
		{ "ramp", UINT64_C(0x24395680a97f4289) },
		{ "fragmentation", UINT64_C(0x60dbeeeac06a9a1b) },
		{ "crosscpu", UINT64_C(0x2b7f645899dea957) },
	};

	(void)state;
	assert_int_equal(GENERATE_VERSION, 1);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		struct generate_config c = configure(expected[i].name);
		struct trace t;

		c.orders_ppm = 4000;
		c.hidden_ppm = 50000;
		generate(&t, &c);
		if (hash(&t) != expected[i].hash)
			fail_msg("%s: hash 0x%016llx", expected[i].name,
				 (unsigned long long)hash(&t));
		trace_destroy(&t);
	}
}

static double share(uint64_t part, uint64_t whole)
{
	assert_true(whole > 0);
	return (double)part / (double)whole;
}

static void check_between(double v, double min, double max)
{
	if (v < min || v > max)
		fail_msg("%g is not within %g and %g", v, min, max);
}

/* The history does not depend on the share; what is hidden at one share is at every larger. */
static void blind_spots(void **state)
{
	static const uint32_t ppm[] = { 0, 20000, 100000, 500000, 1000000 };

	(void)state;
	for (const struct generate_workload *k = generate_workloads; k->name; k++) {
		struct generate_config c = configure(k->name);
		struct trace last, t;

		c.memory_mib = 256;
		c.seconds = 10;
		for (size_t i = 0; i < sizeof(ppm) / sizeof(ppm[0]); i++) {
			/* Five standard deviations: there are a thousand bulks and more. */
			const double wanted = ppm[i] / 1e6, off = 0.2 * wanted * (1 - wanted);
			uint64_t hidden = 0, allocs = 0;

			c.hidden_ppm = ppm[i];
			generate(&t, &c);
			for (size_t j = 0; j < t.nr_events; j++) {
				struct trace_event e = t.events[j];

				assert_true(!e.hidden || e.alloc);
				allocs += e.alloc;
				hidden += e.hidden;
				if (!i)
					continue;
				assert_true(e.hidden >= last.events[j].hidden);
				e.hidden = last.events[j].hidden;
				assert_memory_equal(&e, &last.events[j], sizeof(e));
			}
			check_between(share(hidden, allocs), wanted - off - (off > 0 ? 0.01 : 0),
				      wanted + off + (off > 0 ? 0.01 : 0));
			if (i) {
				assert_int_equal(t.nr_events, last.nr_events);
				trace_destroy(&last);
			}
			last = t;
		}
		trace_destroy(&last);
	}
}

static void churn_is_steady(void **state)
{
	struct generate_config c = configure("churn");
	uint64_t gaps[3] = { 0 }, mean;
	struct trace t;
	struct walk *w;

	(void)state;
	c.cpus = 2;
	c.memory_mib = 128;
	c.seconds = 10;
	c.orders_ppm = 4000;
	generate(&t, &c);
	w = walk_begin(&t);
	mean = NS / c.rate;
	for (size_t i = 1; i < t.nr_events; i++) {
		const uint64_t gap = t.events[i].ns - t.events[i - 1].ns;

		gaps[0] += gap < mean / 10;
		gaps[1] += gap > mean;
		gaps[2] += gap > 3 * mean;
		walk_event(w, &t.events[i - 1]);
		check_between(share(w->held_pages, w->nr_pages), 0.5 - 0.07, 0.5 + 0.07);
	}
	check_between((double)t.nr_events, 0.98 * c.rate * c.seconds, 1.02 * c.rate * c.seconds);
	check_between(share(gaps[0], t.nr_events), 0.09, 0.1);		/* 1 - exp(-0.1) = 0.095 */
	check_between(share(gaps[1], t.nr_events), 0.36, 0.376);	/* exp(-1) = 0.368 */
	check_between(share(gaps[2], t.nr_events), 0.047, 0.053);	/* exp(-3) = 0.050 */
	check_between(share(w->reused_same, w->reused), 0.9, 0.99);
	check_between(share(w->returned_same, w->returned), 0.9, 0.99);
	check_between(share(w->adjacent, w->frees), 0.2, 0.8);
	check_between(share(w->high_orders, t.nr_events), 0.002, 0.008);
	/* Memory is not shredded: a good part of what is free is large blocks. */
	assert_true(w->full_blocks * BLOCK > w->nr_pages / 4);
	walk_end(w);
	trace_destroy(&t);
}

static void ramp_releases_all(void **state)
{
	struct generate_config c = configure("ramp");
	const uint64_t cycle = 5 * NS;

	(void)state;
	c.seconds = 16;
	c.memory_mib = 128;
	c.occupancy = 75;
	for (c.orders_ppm = 0; c.orders_ppm <= 10000; c.orders_ppm += 10000) {
		struct trace t;
		struct walk *w;

		generate(&t, &c);
		w = walk_begin(&t);
		/* 24576 pages take 0.6 s: two cycles of at least 6.2 s. */
		for (uint64_t i = 0; i < 2; i++) {
			const uint64_t from = i * 8 * NS;

			assert_int_equal(w->full_blocks, w->nr_pages / BLOCK);
			walk_until(w, from + 4 * NS);
			check_between(share(w->held_pages, w->nr_pages), 0.75, 0.77);
			assert_true(w->full_blocks <= w->nr_pages / BLOCK / 4);
			walk_until(w, from + 8 * NS - cycle / 2);
			assert_int_equal(w->held_pages, 0);
		}
		assert_int_equal(w->next, t.nr_events);
		assert_int_equal(w->returned_same, w->frees);
		if (c.orders_ppm)
			assert_true(w->high_orders > 20);
		else
			assert_int_equal(w->allocs, 2 * 24576);
		for (size_t i = 0; i < t.nr_events; i++)
			assert_true(t.events[i].order == 0 || t.events[i].order == 9);
		walk_end(w);
		trace_destroy(&t);
	}
}

static void fragmentation_leaves_few_blocks(void **state)
{
	struct generate_config c = configure("fragmentation");
	uint64_t b, touched;
	struct trace t;
	struct walk *w;

	(void)state;
	c.memory_mib = 128;
	c.occupancy = 75;
	c.seconds = 8;
	generate(&t, &c);
	w = walk_begin(&t);
	assert_int_equal(w->held_pages, 0);
	walk_until(w, 2 * NS);
	assert_int_equal(w->held_pages, w->nr_pages * 3 / 4);
	touched = w->nr_pages / BLOCK - w->full_blocks;
	assert_true(touched <= w->nr_pages / BLOCK * 4 / 5);
	walk_until(w, 4 * NS);
	assert_int_equal(w->nr_pages / BLOCK - w->full_blocks, touched);
	for (b = 0; b < w->nr_pages / BLOCK; b++)
		assert_true(w->taken[b] <= 4);
	assert_true(w->held_pages <= 4 * touched);
	/* Slowly: half-way, a good part of the blocks still has one. */
	walk_until(w, 4 * NS + 3 * NS / 2);
	check_between(share(w->nr_pages / BLOCK - w->full_blocks, touched), 0.4, 0.95);
	walk_until(w, 7 * NS);
	assert_int_equal(w->full_blocks, w->nr_pages / BLOCK);
	assert_int_equal(w->next, t.nr_events);
	walk_end(w);
	trace_destroy(&t);
}

static void crosscpu_crosses(void **state)
{
	struct generate_config c = configure("crosscpu");

	(void)state;
	c.memory_mib = 64;
	c.seconds = 10;
	for (c.cpus = 2; c.cpus <= 5; c.cpus++) {
		uint64_t *order = calloc(c.memory_mib * 256, sizeof(*order)), taken = 0;
		uint64_t last[8] = { 0 }, min = UINT64_MAX, max = 0;
		struct trace t;
		struct walk *w;

		assert_non_null(order);
		generate(&t, &c);
		w = walk_begin(&t);
		for (size_t i = 0; i < t.nr_events; i++) {
			const struct trace_event *e = &t.events[i];
			uint64_t page;

			assert_int_equal(e->alloc, e->cpu < c.cpus / 2);
			walk_event(w, e);
			min = w->held_pages < min ? w->held_pages : min;
			max = w->held_pages > max ? w->held_pages : max;
			assert_true(trace_page(&t, e->pfn, &page));
			if (e->alloc) {
				order[page] = ++taken;
			} else {
				/* First taken, first given back, at each consumer. */
				assert_true(!order[page] || order[page] > last[e->cpu]);
				last[e->cpu] = order[page] ? order[page] : last[e->cpu];
			}
		}
		assert_int_equal(w->reused_same, 0);
		assert_int_equal(w->returned_same, 0);
		assert_int_equal(w->returned, w->frees);
		assert_true(w->reused > w->allocs / 2);
		/* To a half and back to nothing, more than once. */
		assert_int_equal(min, 0);
		check_between(share(max, w->nr_pages), 0.5, 0.501);
		assert_true(w->blocks_filled > 5 * w->nr_pages / BLOCK / 2);
		walk_end(w);
		trace_destroy(&t);
		free(order);
	}
}

static void check_refused(const struct generate_config *c, const char *what)
{
	struct trace_error err = { .text = "" };
	struct trace t;

	trace_init(&t);
	assert_int_equal(trace_generate(&t, c, &err), -1);
	if (!strstr(err.text, what))
		fail_msg("expected '%s' in '%s'", what, err.text);
	assert_null(strchr(err.text, '\n'));
	trace_destroy(&t);
}

#define REFUSE(workload, field, value, what) do { \
		struct generate_config c_ = configure(workload); \
		c_.field = (value); \
		check_refused(&c_, what); \
	} while (0)

static void refused(void **state)
{
	(void)state;
	REFUSE("churn", cpus, 0, "0 CPUs");
	REFUSE("churn", cpus, TRACE_MAX_CPUS + 1, "4097 CPUs");
	REFUSE("churn", cpus, 33, "33 CPUs take at least 33 MiB");
	REFUSE("churn", memory_mib, GENERATE_MIN_MIB - 1, "15 MiB");
	REFUSE("churn", memory_mib, GENERATE_MAX_MIB + 1, "65537 MiB");
	REFUSE("churn", memory_mib, UINT32_MAX, "MiB");
	REFUSE("churn", seconds, 0, "0 seconds");
	REFUSE("churn", seconds, GENERATE_MAX_SECONDS + 1, "86401 seconds");
	REFUSE("churn", seconds, GENERATE_MAX_SECONDS, "events are more than");
	REFUSE("churn", rate, 0, "0 events per second");
	REFUSE("churn", rate, GENERATE_MAX_RATE + 1, "events per second");
	REFUSE("churn", occupancy, 0, "0 %");
	REFUSE("churn", occupancy, 96, "96 %");
	REFUSE("churn", orders_ppm, GENERATE_PPM + 1, "share");
	REFUSE("churn", hidden_ppm, GENERATE_PPM + 1, "share");
	REFUSE("crosscpu", cpus, 1, "at least 2 CPUs");
	REFUSE("ramp", rate, 1000, "taking 4096 pages at 1000 events per second takes 4096 ms, "
	       "and there is room for 1500");
	REFUSE("fragmentation", rate, 1000, "room for 1000");
	assert_null(generate_workload_find("no-such"));
	assert_null(generate_workload_find(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(histories),
		cmocka_unit_test(tight_histories),
		cmocka_unit_test(same_seed_same_trace),
		cmocka_unit_test(same_seed_same_file),
		cmocka_unit_test(same_on_every_machine),
		cmocka_unit_test(blind_spots),
		cmocka_unit_test(churn_is_steady),
		cmocka_unit_test(ramp_releases_all),
		cmocka_unit_test(fragmentation_leaves_few_blocks),
		cmocka_unit_test(crosscpu_crosses),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
