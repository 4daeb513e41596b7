/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * compare.c - fpt compare: replay traces through trackers, one table, the same as JSON
 *
 * Per trace: every tracker's quality run, then its run with threads that touch memory, then rounds
 * of timed runs in turn, so that what the machine does meanwhile hits all alike. A tracker's cost
 * is the median over rounds of its difference to none's.
 */
#include "compare.h"
#include "tool.h"
#include "trace/output.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_TRACKERS 16
#define MIN_ROUNDS 3
#define MAX_ROUNDS 25
#define MIN_TIMED_EVENTS 1000	/* below, starting threads is all that a time would show */
#define ROUNDS_EVENTS 10000000u	/* as many rounds as make so many events per tracker */
#define MS 1000000u

enum { OPT_ORDER = 1, OPT_JSON, OPT_STRICT };

/* Relative to each other: what the runs take, for the remaining time. */
enum { WEIGHT_QUALITY = 6, WEIGHT_SAFETY = 4, WEIGHT_ROUND = 1 };

struct options {
	const struct sim_tracker *trackers[MAX_TRACKERS];
	size_t nr_trackers;
	bool chosen;			/* by --tracker */
	struct sim_policy policy;	/* what was given; see set */
	unsigned int set;		/* bit per policy key */
	unsigned int order;
	bool strict;
	const char *json;
	char **traces;
	size_t nr_traces;
};

struct progress {
	bool tty;
	struct timespec begin;
	double done, all;
	const char *what;
};

static const struct argp_option argp_options[] = {
	{ "tracker", 't', "LIST", 0,
	  "Trackers, separated by commas (default: all): none, lockmap, array, "
	  "bitmap, xbitmap, delta, buddy",
	  0 },
	{ "policy", 'p', "K=V,...", 0,
	  "What all trackers' reporters do, instead of their defaults: period_ms "
	  "(100; buddy 2000), latency_ms (1: of the host), batch (32 ranges), in_flight_mib (64), "
	  "entries "
	  "(1000: of array), exact (1; 0: one bit per block), discard (dontneed, punch, free)",
	  0 },
	{ "order", OPT_ORDER, "N", 0, "Report blocks of 2^N pages (default: 9)", 0 },
	{ "json", OPT_JSON, "FILE", 0, "Write the results to FILE, too", 0 },
	{ "strict", OPT_STRICT, NULL, 0, "Anomalies in a trace are errors", 0 },
	{ 0 }
};

static int parse_trackers(struct options *o, const char *list)
{
	o->nr_trackers = 0;
	o->chosen = true;
	while (*list) {
		size_t length = strcspn(list, ",");
		const struct sim_tracker *t = sim_tracker_find(list, length);

		if (!t) {
			tool_error("unknown tracker '%.*s'; there are none, lockmap, array, "
				   "bitmap, xbitmap, delta, buddy",
				   (int)length, list);
			return -1;
		}
		for (size_t i = 0; i < o->nr_trackers; i++)
			if (o->trackers[i] == t) {
				tool_error("tracker '%s' is named twice", t->name);
				return -1;
			}
		o->trackers[o->nr_trackers++] = t;
		list += length;
		if (*list == ',')
			list++;
	}
	if (o->nr_trackers)
		return 0;
	tool_error("--tracker names no tracker");
	return -1;
}

enum policy_key { PERIOD, LATENCY, BATCH, IN_FLIGHT, ENTRIES, EXACT, DISCARD };

static char *const policy_keys[] = {
	[PERIOD] = "period_ms", [LATENCY] = "latency_ms",
	[BATCH] = "batch",	[IN_FLIGHT] = "in_flight_mib",
	[ENTRIES] = "entries",	[EXACT] = "exact",
	[DISCARD] = "discard",	NULL,
};

static int parse_discard(struct sim_policy *p, const char *value)
{
	for (size_t i = 0; discard_names[i]; i++)
		if (!strcmp(value, discard_names[i])) {
			p->discard = (enum host_discard)i;
			return 0;
		}
	tool_error("discard is '%s'; there are dontneed, punch, free", value);
	return -1;
}

static int parse_policy(struct options *o, char *text)
{
	struct sim_policy *p = &o->policy;

	while (*text) {
		char *value, *pair = text;
		int key = getsubopt(&text, policy_keys, &value), error = 0;
		uint64_t n = 0;

		if (!value)
			value = text + strlen(text);	/* empty */

		switch (key) {
		case PERIOD:
			error = tool_parse_number("period_ms", value, 1, 86400000, &n);
			p->period_ns = n * MS;
			break;
		case LATENCY:
			error = tool_parse_number("latency_ms", value, 0, 86400000, &n);
			p->latency_ns = n * MS;
			break;
		case BATCH:
			error = tool_parse_number("batch", value, 1, FPT_BATCH_MAX, &n);
			p->batch = (unsigned int)n;
			break;
		case IN_FLIGHT:
			error = tool_parse_number("in_flight_mib", value, 1, UINT32_MAX, &n);
			p->in_flight = n << 20;
			break;
		case ENTRIES:
			error = tool_parse_number("entries", value, 1, 1u << 24, &n);
			p->entries = n;
			break;
		case EXACT:
			error = tool_parse_number("exact", value, 0, 1, &n);
			p->exact = n;
			break;
		case DISCARD:
			error = parse_discard(p, value);
			break;
		default:
			tool_error("unknown policy '%s'; --help lists them", pair);
			error = -1;
			break;
		}
		if (error)
			return -1;
		o->set |= 1u << key;
	}
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	uint64_t n;

	switch (key) {
	case ARGP_KEY_INIT:
		/* Then getopt's line about a wrong option is the only one. */
		state->err_stream = NULL;
		return 0;
	case 't':
		return parse_trackers(o, arg) ? EINVAL : 0;
	case 'p':
		return parse_policy(o, arg) ? EINVAL : 0;
	case OPT_ORDER:
		if (tool_parse_number("--order", arg, 0, FPT_MAX_ORDER, &n))
			return EINVAL;
		o->order = (unsigned int)n;
		return 0;
	case OPT_JSON:
		o->json = arg;
		return 0;
	case OPT_STRICT:
		o->strict = true;
		return 0;
	case ARGP_KEY_ARGS:
		o->traces = state->argv + state->next;
		o->nr_traces = (size_t)(state->argc - state->next);
		return 0;
	case ARGP_KEY_NO_ARGS:
		tool_error("which trace? 'fpt record' makes one; 'fpt compare --help' lists the "
			   "options");
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void progress_show(void *ctx, double share)
{
	struct progress *p = ctx;
	struct timespec now;
	double done = p->done + share * WEIGHT_QUALITY, elapsed;

	if (!p->tty)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	elapsed = (double)(now.tv_sec - p->begin.tv_sec) +
		  (double)(now.tv_nsec - p->begin.tv_nsec) / 1e9;
	fprintf(stderr, "\r\033[K%3.0f %%  %.0f s left  %s", 100 * done / p->all,
		done > 0 ? elapsed * (p->all - done) / done : 0, p->what);
}

static void progress_step(struct progress *p, double weight, const char *next)
{
	p->done += weight;
	p->what = next;
	progress_show(p, 0);
}

static void progress_clear(struct progress *p)
{
	if (p->tty)
		fputs("\r\033[K", stderr);
}

static struct sim_policy policy_for(const struct options *o, const struct sim_tracker *t)
{
	struct sim_policy p = t->policy;

	if (o->set & 1u << PERIOD)
		p.period_ns = o->policy.period_ns;
	if (o->set & 1u << LATENCY)
		p.latency_ns = o->policy.latency_ns;
	if (o->set & 1u << BATCH)
		p.batch = o->policy.batch;
	if (o->set & 1u << IN_FLIGHT)
		p.in_flight = o->policy.in_flight;
	if (o->set & 1u << ENTRIES)
		p.entries = o->policy.entries;
	if (o->set & 1u << EXACT)
		p.exact = o->policy.exact;
	if (o->set & 1u << DISCARD)
		p.discard = o->policy.discard;
	return p;
}

/* What a replay will touch, at most, when nothing is reported, and keep in mind. */
static uint64_t needed_bytes(const struct trace *t)
{
	uint64_t pages = trace_extents_total(&t->ranges), n = 0, first = 0, p;
	uint8_t *seen = calloc(pages, 1);

	if (!seen)
		return UINT64_MAX;
	for (size_t i = 0; i < t->nr_events; i++) {
		trace_page(t, t->events[i].pfn, &first);
		for (p = first; p < first + (UINT64_C(1) << t->events[i].order); p++) {
			n += !seen[p];
			seen[p] = 1;
		}
	}
	free(seen);
	return n * t->page_size + pages * GUEST_PAGE_BYTES;
}

static uint64_t available_bytes(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return f && kib ? (uint64_t)kib << 10 : UINT64_MAX;
}

static int load(const struct options *o, const char *path, struct trace *t,
		struct trace_anomalies *a, struct trace_error *err)
{
	uint64_t need, have = available_bytes();

	if (trace_load(t, path, err) || trace_normalise(t, a, err))
		return -1;
	if (o->strict && trace_anomalies_total(a)) {
		snprintf(err->text, sizeof(err->text),
			 "%s: %llu anomalies; 'fpt info' lists them, without --strict they are "
			 "repaired",
			 path, (unsigned long long)trace_anomalies_total(a));
		return -1;
	}
	if (!t->nr_events) {
		snprintf(err->text, sizeof(err->text), "%s: no events to replay", path);
		return -1;
	}
	if (t->page_size < (uint32_t)sysconf(_SC_PAGESIZE)) {
		snprintf(err->text, sizeof(err->text),
			 "%s: its pages of %u bytes are smaller than this machine's, which cannot "
			 "discard them",
			 path, t->page_size);
		return -1;
	}
	need = needed_bytes(t);
	if (need > have / 10 * 9) {
		snprintf(err->text, sizeof(err->text),
			 "%s: replay takes %.1f GiB and %.1f GiB are available; record less, or "
			 "use a larger "
			 "machine",
			 path, (double)need / 1073741824.0, (double)have / 1073741824.0);
		return -1;
	}
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, size_t nr)
{
	qsort(v, nr, sizeof(*v), by_value);
	return nr % 2 ? v[nr / 2] : (v[nr / 2 - 1] + v[nr / 2]) / 2;
}

/* One timed run; ns per event. */
struct timing {
	double cpu, wait, reporter;
};

static int time_one(const struct trace *t, const struct sim_schedule *s, const struct result *r,
		    struct timing *out, struct trace_error *err)
{
	struct sim_config c = { .order = r->order, .policy = r->policy };
	struct sim_speed speed;

	if (sim_speed(t, s, r->tracker, &c, false, &speed, err))
		return -1;
	out->cpu = speed.cpu_ns / (double)t->nr_events;
	out->wait = speed.wait_ns / (double)t->nr_events;
	out->reporter = speed.reporter_ns / (double)t->nr_events;
	return 0;
}

/*
 * Rounds of timed runs: none, every tracker, none again. Each round begins with another tracker,
 * so that no place in the round is always the same one's. Fills in each result's costs.
 */
static int time_hooks(const struct trace *t, const struct sim_schedule *s, struct result *results,
		      size_t nr, unsigned int rounds, struct progress *progress,
		      struct trace_error *err)
{
	struct result none = { .tracker = &sim_trackers[0], .policy = sim_trackers[0].policy,
			       .order = results[0].order };
	double cost[MAX_TRACKERS][MAX_ROUNDS], wait[MAX_TRACKERS][MAX_ROUNDS];
	double reporter[MAX_TRACKERS][MAX_ROUNDS], base[MAX_ROUNDS];

	for (unsigned int r = 0; r < rounds; r++) {
		struct timing before, after, one;

		if (time_one(t, s, &none, &before, err))
			return -1;
		for (size_t i = 0; i < nr; i++) {
			size_t k = (i + r) % nr;

			progress_step(progress, WEIGHT_ROUND, "timing hooks");
			if (time_one(t, s, &results[k], &one, err))
				return -1;
			cost[k][r] = one.cpu;
			wait[k][r] = one.wait;
			reporter[k][r] = one.reporter;
		}
		if (time_one(t, s, &none, &after, err))
			return -1;
		base[r] = (before.cpu + after.cpu) / 2;
		for (size_t i = 0; i < nr; i++)
			cost[i][r] -= base[r];
	}
	for (size_t i = 0; i < nr; i++) {
		results[i].ns_per_event = median(cost[i], rounds);
		results[i].wait_ns_per_event = median(wait[i], rounds);
		results[i].reporter_ns_per_event = median(reporter[i], rounds);
		results[i].replay_ns_per_event = median(base, rounds);
	}
	return 0;
}

static unsigned int rounds_for(const struct trace *t)
{
	uint64_t rounds = ROUNDS_EVENTS / t->nr_events;

	return rounds < MIN_ROUNDS   ? MIN_ROUNDS
	       : rounds > MAX_ROUNDS ? MAX_ROUNDS
				     : (unsigned int)rounds;
}

static int compare_trace(const struct options *o, const char *path, struct result *results,
			 struct progress *progress, struct trace_error *err)
{
	struct trace_anomalies anomalies;
	struct sim_schedule *s = NULL;
	struct trace t;
	int ret = -1;

	trace_init(&t);
	progress->what = "loading";
	if (load(o, path, &t, &anomalies, err))
		goto out;
	for (size_t i = 0; i < o->nr_trackers; i++) {
		struct sim_config c = { .order = o->order,
					.policy = policy_for(o, o->trackers[i]) };

		if (sim_check(&t, o->trackers[i], &c, err))
			goto out;
	}
	s = sim_schedule_make(&t, err);
	if (!s)
		goto out;
	clock_gettime(CLOCK_MONOTONIC, &progress->begin);
	progress->done = 0;
	progress->all = (double)o->nr_trackers *
			(WEIGHT_QUALITY + WEIGHT_SAFETY + rounds_for(&t) * WEIGHT_ROUND);
	for (size_t i = 0; i < o->nr_trackers; i++) {
		struct result *r = &results[i];
		struct sim_config c = { .order = o->order,
					.policy = policy_for(o, o->trackers[i]) };
		struct sim_speed safety;

		*r = (struct result){
			.trace = path,
			.tracker = o->trackers[i],
			.policy = c.policy,
			.order = o->order,
			.events = t.nr_events,
			.known = t.has_snapshot,
			.anomalies = anomalies,
		};
		progress_step(progress, 0, r->tracker->name);
		if (sim_quality(&t, r->tracker, &c, &r->quality, progress_show, progress, err))
			goto out;
		progress_step(progress, WEIGHT_QUALITY, r->tracker->name);
		if (sim_speed(&t, s, r->tracker, &c, true, &safety, err))
			goto out;
		progress_step(progress, WEIGHT_SAFETY, r->tracker->name);
		r->data_loss = r->quality.data_loss + safety.data_loss;
		r->timed = t.nr_events >= MIN_TIMED_EVENTS;
	}
	if (time_hooks(&t, s, results, o->nr_trackers, rounds_for(&t), progress, err))
		goto out;
	progress_clear(progress);
	print_table(stdout, &t, results, o->nr_trackers);
	ret = 0;
out:
	progress_clear(progress);
	sim_schedule_free(s);
	trace_destroy(&t);
	return ret;
}

/* What would spoil the end is refused at the beginning. */
static int check_name(const struct options *o, const char *trace, struct trace_error *err)
{
	if (!o->json)
		return 0;
	if (tool_same_file(o->json, trace)) {
		snprintf(err->text, sizeof(err->text),
			 "--json %s is a trace to be read; name another file", o->json);
		return -1;
	}
	if (name_is_json(trace))
		return 0;
	snprintf(err->text, sizeof(err->text),
		 "a trace's name is not UTF-8, as JSON wants it; rename it");
	return -1;
}

static int write_json(struct output *out, const struct result *results, size_t nr,
		      struct trace_error *err)
{
	char *text = results_json(results, nr);
	int ret;

	if (!text) {
		snprintf(err->text, sizeof(err->text),
			 "cannot make JSON: no memory, or a trace's name is not UTF-8");
		return -1;
	}
	ret = output_write(out, text, strlen(text), err) || output_publish(out, err) ? -1 : 0;
	free(text);
	return ret;
}

int cmd_compare(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.args_doc = "TRACE...",
		.doc = "Replay traces through trackers, against memory that is real and a host "
		       "that really "
		       "discards, and print what each tracker costs and is worth.",
	};
	struct options o = { .order = 9 };
	struct progress progress = { .tty = isatty(STDERR_FILENO) };
	struct output out = OUTPUT_INIT;
	struct trace_error err = { "" };
	struct result *results;
	uint64_t lost = 0;
	int ret = EXIT_FAILED;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return EXIT_USAGE;
	for (const struct sim_tracker *t = sim_trackers; !o.chosen && t->name; t++)
		if (!t->walks_buddy || o.order <= GUEST_MAX_ORDER)	/* a buddy allocator's blocks end there */
			o.trackers[o.nr_trackers++] = t;
	results = calloc(o.nr_traces * o.nr_trackers, sizeof(*results));
	if (!results) {
		tool_error("no memory for results");
		return EXIT_FAILED;
	}
	for (size_t i = 0; i < o.nr_traces; i++)
		if (check_name(&o, o.traces[i], &err))
			goto out;
	if (o.json && output_open(&out, o.json, &err))
		goto out;
	for (size_t i = 0; i < o.nr_traces; i++)
		if (compare_trace(&o, o.traces[i], results + i * o.nr_trackers, &progress, &err))
			goto out;
	if (fflush(stdout) || ferror(stdout)) {
		snprintf(err.text, sizeof(err.text), "cannot write the table: %s", strerror(errno));
		goto out;
	}
	if (o.json && write_json(&out, results, o.nr_traces * o.nr_trackers, &err))
		goto out;
	for (size_t i = 0; i < o.nr_traces * o.nr_trackers; i++)
		lost += results[i].data_loss;
	if (lost)
		snprintf(err.text, sizeof(err.text),
			 "DATA LOSS: %llu pages did not hold what their owner wrote",
			 (unsigned long long)lost);
	else
		ret = EXIT_OK;
out:
	if (*err.text)
		tool_error("%s", err.text);
	output_end(&out);
	free(results);
	return ret;
}
