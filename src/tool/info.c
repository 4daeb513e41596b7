/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * info.c - fpt info: what is in a trace
 *
 * All shares and times are those of the history, that is, after trace_normalise().
 */
#include "tool.h"

#include "trace/trace.h"

#include <argp.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_JSON = 1, OPT_STRICT };

/* Buckets of a logarithmic histogram, 64 to the octave: percentiles are within 1 %. */
#define BUCKETS_PER_OCTAVE	64u
#define BUCKETS			(59u * BUCKETS_PER_OCTAVE)

struct options {
	const char *file;
	bool json;
	bool strict;
};

struct info {
	struct trace trace;
	size_t events;			/* in the file */
	uint64_t snapshot_before;	/* pages */
	uint64_t snapshot_after;
	struct trace_anomalies anomalies;
	uint64_t allocs[TRACE_MAX_ORDER + 1];
	uint64_t frees[TRACE_MAX_ORDER + 1];
	uint64_t all_allocs;
	uint64_t all_frees;
	uint64_t hidden;		/* of both */
	uint64_t reused;		/* allocations whose first page's free was seen */
	uint64_t same_cpu;		/* of these: by the allocating CPU */
	uint64_t adjacent;		/* frees that touch the CPU's free before */
	uint64_t taken;			/* pages */
	uint64_t released;		/* pages of these that were freed again */
	uint64_t free;			/* pages now */
	uint64_t min_free;
	uint64_t max_free;
	uint64_t reuse[BUCKETS];	/* from free to next allocation, by time in ns */
};

/* What is kept of a page while the history is walked. */
enum { PAGE_UNSEEN = 0, PAGE_TAKEN = UINT16_MAX };	/* else the CPU that freed it, plus 1 */

struct pages {
	uint16_t *state;
	uint64_t *freed_ns;
	struct trace_extent *last_free;	/* of each CPU */
};

static const struct argp_option argp_options[] = {
	{ "json", OPT_JSON, NULL, 0, "Print one JSON object", 0 },
	{ "strict", OPT_STRICT, NULL, 0, "Any anomaly is an error, and nothing is printed", 0 },
	{ 0 }
};

static const char argp_doc[] =
	"Say what is in a trace: the machine, how many events of what kind, what happens to pages, "
	"and what the recording holds that cannot be right.";

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_STRICT:
		o->strict = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num) {
			tool_error("'%s' is one FILE too many; give one", arg);
			return EINVAL;
		}
		o->file = arg;
		return 0;
	case ARGP_KEY_END:
		if (o->file)
			return 0;
		tool_error("FILE is missing; say which trace");
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Gathering */

static unsigned int bucket(uint64_t ns)
{
	unsigned int shift;

	if (ns < BUCKETS_PER_OCTAVE)
		return (unsigned int)ns;
	shift = 57 - (unsigned int)__builtin_clzll(ns);
	return shift * BUCKETS_PER_OCTAVE + (unsigned int)(ns >> shift);
}

/* In milliseconds, the middle of the bucket. NAN when nothing was reused. */
static double percentile(const struct info *info, double share)
{
	double left = share * (double)info->reused;

	for (unsigned int i = 0; i < BUCKETS; i++) {
		const unsigned int shift = i / BUCKETS_PER_OCTAVE ? i / BUCKETS_PER_OCTAVE - 1 : 0;
		const unsigned int from = i - shift * BUCKETS_PER_OCTAVE;

		left -= (double)info->reuse[i];
		if (info->reuse[i] && left <= 0)
			return ldexp(from + (shift ? 0.5 : 0), (int)shift) / 1e6;
	}
	return NAN;
}

static void count_alloc(struct info *info, const struct pages *p, const struct trace_event *e,
			uint64_t page)
{
	const uint64_t nr = UINT64_C(1) << e->order;
	const uint16_t state = p->state[page];

	info->allocs[e->order]++;
	info->all_allocs++;
	if (state != PAGE_UNSEEN && state != PAGE_TAKEN) {
		info->reused++;
		info->same_cpu += state == e->cpu + 1;
		info->reuse[bucket(e->ns - p->freed_ns[page])]++;
	}
	for (uint64_t i = 0; i < nr; i++)
		p->state[page + i] = PAGE_TAKEN;
	info->taken += nr;
	info->free -= nr;
	if (info->free < info->min_free)
		info->min_free = info->free;
}

static void count_free(struct info *info, const struct pages *p, const struct trace_event *e,
		       uint64_t page)
{
	const uint64_t nr = UINT64_C(1) << e->order;
	struct trace_extent *last = &p->last_free[e->cpu];

	info->frees[e->order]++;
	info->all_frees++;
	if (last->nr && (last->pfn + last->nr == e->pfn || e->pfn + nr == last->pfn))
		info->adjacent++;
	*last = (struct trace_extent){ .pfn = e->pfn, .nr = nr };
	for (uint64_t i = 0; i < nr; i++) {
		info->released += p->state[page + i] == PAGE_TAKEN;
		p->state[page + i] = (uint16_t)(e->cpu + 1);
		p->freed_ns[page + i] = e->ns;
	}
	info->free += nr;
	if (info->free > info->max_free)
		info->max_free = info->free;
}

static void walk(struct info *info, const struct pages *p)
{
	const struct trace *t = &info->trace;

	info->free = trace_extents_total(&t->free_before);
	info->min_free = info->max_free = info->free;
	for (size_t i = 0; i < t->nr_events; i++) {
		uint64_t page;

		if (!trace_page(t, t->events[i].pfn, &page))
			continue;
		info->hidden += t->events[i].hidden;
		if (t->events[i].alloc)
			count_alloc(info, p, &t->events[i], page);
		else
			count_free(info, p, &t->events[i], page);
	}
}

static int gather(struct info *info, const char *file)
{
	struct trace *t = &info->trace;
	struct trace_error err = { .text = "" };
	struct pages p = { 0 };
	size_t pages;

	if (trace_load(t, file, &err)) {
		tool_error("%s", err.text);
		return -1;
	}
	info->events = t->nr_events;
	info->snapshot_before = trace_extents_total(&t->free_before);
	info->snapshot_after = trace_extents_total(&t->free_after);
	if (trace_normalise(t, &info->anomalies, &err)) {
		tool_error("%s: %s", file, err.text);
		return -1;
	}
	pages = (size_t)trace_extents_total(&t->ranges);
	p.state = calloc(pages + 1, sizeof(*p.state));
	p.freed_ns = calloc(pages + 1, sizeof(*p.freed_ns));
	p.last_free = calloc(t->nr_cpus, sizeof(*p.last_free));
	if (p.state && p.freed_ns && p.last_free)
		walk(info, &p);
	else
		tool_error("%s: no memory for %zu pages", file, pages);
	free(p.state);
	free(p.freed_ns);
	free(p.last_free);
	return p.state && p.freed_ns && p.last_free ? 0 : -1;
}

/* Printing */

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : NAN;
}

static double mib(const struct info *info, uint64_t pages)
{
	return (double)pages * info->trace.page_size / (1 << 20);
}

/* The file may come from anywhere: no control characters to the terminal. */
static void print_text(const char *name, const char *text)
{
	printf("%-18s", name);
	for (; *text; text++)
		putchar((unsigned char)*text < ' ' || *text == 127 ? '?' : *text);
	putchar('\n');
}

static void print_share(const char *name, double v, const char *of)
{
	if (isnan(v))
		printf("%-18sunknown: there are no %s\n", name, of);
	else
		printf("%-18s%.1f %% of %s\n", name, 100 * v, of);
}

static void print_orders(const struct info *info)
{
	for (unsigned int i = 0; i <= TRACE_MAX_ORDER; i++)
		if (info->allocs[i] || info->frees[i])
			printf("  order %-10u%llu allocations, %llu frees\n", i,
			       (unsigned long long)info->allocs[i],
			       (unsigned long long)info->frees[i]);
}

static int print_table(const struct info *info)
{
	const struct trace *t = &info->trace;
	const uint64_t pages = trace_extents_total(&t->ranges);
	const double seconds = (double)t->duration_ns / 1e9;
	char anomalies[256];

	print_text("source", t->source);
	printf("%-18s%u bytes\n", "page size", t->page_size);
	printf("%-18s%u\n", "CPUs", t->nr_cpus);
	printf("%-18s%llu (%.1f MiB)\n", "pages", (unsigned long long)pages, mib(info, pages));
	printf("%-18s%.3f s\n", "duration", seconds);
	printf("%-18s%zu, %llu lost\n", "events", info->events, (unsigned long long)t->lost);
	printf("%-18s%llu\n", "allocations", (unsigned long long)info->all_allocs);
	printf("%-18s%llu\n", "frees", (unsigned long long)info->all_frees);
	print_orders(info);
	printf("%-18s%llu events that hooks do not see\n", "hidden",
	       (unsigned long long)info->hidden);
	print_share("order 0", share(info->allocs[0] + info->frees[0],
				     info->all_allocs + info->all_frees), "events");
	print_share("same CPU", share(info->same_cpu, info->reused),
		    "allocations whose free was seen");
	print_share("adjacent", share(info->adjacent, info->all_frees),
		    "frees, to the CPU's free before");
	print_share("released", share(info->released, info->taken), "pages taken in the trace");
	if (info->reused)
		printf("%-18sp50 %.3f ms, p90 %.3f ms, p99 %.3f ms\n", "reused after",
		       percentile(info, 0.5), percentile(info, 0.9), percentile(info, 0.99));
	if (t->has_snapshot)
		printf("%-18s%.1f MiB free before, %.1f MiB after\n", "snapshot",
		       mib(info, info->snapshot_before), mib(info, info->snapshot_after));
	else
		printf("%-18snone\n", "snapshot");
	printf("%-18smin %.1f MiB, max %.1f MiB%s\n", "free", mib(info, info->min_free),
	       mib(info, info->max_free), t->has_snapshot ? "" : " of the pages that events name");
	trace_anomalies_print(&info->anomalies, anomalies, sizeof(anomalies));
	print_text("anomalies", anomalies);
	return 0;
}

static json_t *json_number(double v)
{
	return isnan(v) ? json_null() : json_real(v);
}

static json_t *json_orders(const struct info *info)
{
	json_t *orders = json_array();

	for (unsigned int i = 0; i <= TRACE_MAX_ORDER; i++)
		if (info->allocs[i] || info->frees[i])
			json_array_append_new(orders, json_pack("{s:i,s:I,s:I}", "order", (int)i,
				"allocs", (json_int_t)info->allocs[i],
				"frees", (json_int_t)info->frees[i]));
	return orders;
}

static json_t *json_anomalies(const struct info *info)
{
	struct trace_anomalies a = info->anomalies;
	json_t *json = json_object();

	for (size_t i = 0; i < TRACE_NR_ANOMALIES; i++)
		json_object_set_new(json, trace_anomaly_name(i),
				    json_integer((json_int_t)*trace_anomaly(&a, i)));
	return json;
}

static json_t *json_snapshot(const struct info *info)
{
	if (!info->trace.has_snapshot)
		return json_null();
	return json_pack("{s:f,s:f}", "free_before_mib", mib(info, info->snapshot_before),
			 "free_after_mib", mib(info, info->snapshot_after));
}

static json_t *json_info(const struct info *info)
{
	const struct trace *t = &info->trace;

	return json_pack(
		"{s:s,s:I,s:I,s:I,s:f,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:{s:o,s:o,s:o},"
		"s:o,s:{s:f,s:f},s:o}",
		"source", t->source, "page_size", (json_int_t)t->page_size, "cpus",
		(json_int_t)t->nr_cpus, "pages", (json_int_t)trace_extents_total(&t->ranges),
		"duration_s", (double)t->duration_ns / 1e9, "events", (json_int_t)info->events,
		"lost", (json_int_t)t->lost, "allocs", (json_int_t)info->all_allocs, "frees",
		(json_int_t)info->all_frees, "hidden", (json_int_t)info->hidden, "by_order",
		json_orders(info), "order0_share",
		json_number(share(info->allocs[0] + info->frees[0],
				  info->all_allocs + info->all_frees)),
		"same_cpu_share", json_number(share(info->same_cpu, info->reused)),
		"adjacent_share", json_number(share(info->adjacent, info->all_frees)),
		"released_share", json_number(share(info->released, info->taken)), "reuse_ms",
		"p50", json_number(percentile(info, 0.5)), "p90",
		json_number(percentile(info, 0.9)), "p99", json_number(percentile(info, 0.99)),
		"snapshot", json_snapshot(info), "free_mib", "min", mib(info, info->min_free),
		"max", mib(info, info->max_free), "anomalies", json_anomalies(info));
}

static int print_json(const struct info *info)
{
	json_t *json = json_info(info);
	int ret = json ? json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : -1;

	json_decref(json);
	putchar('\n');
	return ret;
}

static int print(const struct info *info, const struct options *o)
{
	char text[256];
	bool failed;

	if (o->strict && trace_anomalies_total(&info->anomalies)) {
		trace_anomalies_print(&info->anomalies, text, sizeof(text));
		tool_error("%s: anomalies: %s; drop --strict to see the rest", o->file, text);
		return EXIT_FAILED;
	}
	errno = 0;
	failed = o->json ? print_json(info) : print_table(info);
	failed |= ferror(stdout);
	if (fclose(stdout) || failed) {
		tool_error("cannot write to standard output: %s", strerror(errno));
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

int cmd_info(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.args_doc = "FILE",
		.doc = argp_doc,
	};
	struct options o = { 0 };
	struct info *info = calloc(1, sizeof(*info));
	int ret = EXIT_USAGE;

	if (!info) {
		tool_error("no memory");
		return EXIT_FAILED;
	}
	trace_init(&info->trace);
	if (!tool_parse(&argp, argc, argv, 0, &o))
		ret = gather(info, o.file) ? EXIT_FAILED : print(info, &o);
	trace_destroy(&info->trace);
	free(info);
	return ret;
}
