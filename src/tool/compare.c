/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * compare.c - fpt compare: replay traces through trackers, one table, the same as JSON
 *
 * Per trace: every tracker's quality run, then its run with threads that touch memory, then rounds
 * of timed runs in turn, so that what the machine does meanwhile hits all alike. A tracker's cost
 * is the median over rounds of its difference to none's.
 *
 * With --switch, per trace: a run with threads that touch memory, in which one tracker takes over
 * from the other and back again; then rounds with each alone and with switches.
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
#define SWITCHES 16u
#define MAX_SWITCHES 100000u

enum { OPT_ORDER = 1, OPT_JSON, OPT_STRICT, OPT_SWITCH };

/* Relative to each other: what the runs take, for the remaining time. */
enum { WEIGHT_QUALITY = 6, WEIGHT_SAFETY = 4, WEIGHT_ROUND = 1 };

struct options {
	const struct sim_tracker *trackers[MAX_TRACKERS];
	size_t nr_trackers;
	bool chosen;			/* by --tracker: else what cannot run is left out */
	unsigned int switches;		/* --switch between the two trackers; 0: no */
	struct policy_args policy;
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
	{ "tracker", 't', "LIST", 0, "Trackers, separated by commas (default: all): ", 0 },
	{ "policy", 'p', "K=V,...", 0,
	  "What all trackers' reporters do, instead of their defaults. When: period_ms (100; "
	  "buddy 2000), amount_mib and age_ms (0: every period; else only when so much was "
	  "freed, or freed so long ago). How much: batch (32 ranges), in_flight_mib (64; buddy "
	  "128, ticket and xbitmap2019 256), min_order (0: leave smaller free runs), cold (0; delta: "
	  "only blocks untouched for so many passes, up to 7), again (0; "
	  "xbitmap2019 1: report again what was not touched). How: protocol (isolate; ticket's "
	  "ticket, xbitmap2019's hints), expedite (0; ticket 1: an allocation that waits asks for "
	  "its block first), ahead (0; ticket 3: batches claimed beyond the one that is with the "
	  "host). The tracker: entries (1000: of array, array2019), lines (1024: of delta, of 512 "
	  "pages), exact (1; 0: one bit per block), "
	  "audit (0; delta: lines of 512 pages repaired before each pass, see audit.h). "
	  "The host: latency_ms (1, per batch), granule (its page's bytes), discard (dontneed, "
	  "punch, free)",
	  0 },
	{ "order", OPT_ORDER, "N", 0, "Report blocks of 2^N pages (default: 9)", 0 },
	{ "switch", OPT_SWITCH, "A,B[,N]", 0,
	  "Instead of the table: switch from tracker A to B and back, N times (default: 16), while "
	  "hooks run, with A's policy", 0 },
	{ "json", OPT_JSON, "FILE", 0, "Write the results to FILE, too", 0 },
	{ "strict", OPT_STRICT, NULL, 0, "Anomalies in a trace are errors", 0 },
	{ 0 }
};

/* Adds to the list the tracker that its text begins with. */
static int add_tracker(struct options *o, const char *text, size_t length)
{
	const struct sim_tracker *t = sim_tracker_find(text, length);

	if (!t) {
		tool_error("unknown tracker '%.*s'; there are %s", (int)length, text,
			   tracker_names());
		return -1;
	}
	for (size_t i = 0; i < o->nr_trackers; i++)
		if (o->trackers[i] == t) {
			tool_error("tracker '%s' is named twice", t->name);
			return -1;
		}
	o->trackers[o->nr_trackers++] = t;
	return 0;
}

static int parse_trackers(struct options *o, const char *list)
{
	o->nr_trackers = 0;
	o->chosen = true;
	while (*list) {
		size_t length = strcspn(list, ",");

		if (add_tracker(o, list, length))
			return -1;
		list += length;
		if (*list == ',')
			list++;
	}
	if (o->nr_trackers)
		return 0;
	tool_error("--tracker names no tracker");
	return -1;
}

static int parse_switch(struct options *o, const char *list)
{
	uint64_t n = SWITCHES;

	o->nr_trackers = 0;	/* with --tracker it is an error at the end */
	while (o->nr_trackers < 2) {
		size_t length = strcspn(list, ",");

		if (!length) {
			tool_error("--switch takes two trackers, A,B or A,B,N");
			return -1;
		}
		if (add_tracker(o, list, length))
			return -1;
		if (!o->trackers[o->nr_trackers - 1]->reports ||
		    o->trackers[o->nr_trackers - 1]->walks_buddy) {
			tool_error("--switch: %s tracks nothing",
				   o->trackers[o->nr_trackers - 1]->name);
			return -1;
		}
		list += length;
		if (*list == ',')
			list++;
	}
	if (o->trackers[0]->ops == o->trackers[1]->ops) {
		tool_error("--switch: %s and %s are one tracker with two policies",
			   o->trackers[0]->name, o->trackers[1]->name);
		return -1;
	}
	if (*list && tool_parse_number("--switch A,B,N's N", list, 1, MAX_SWITCHES, &n))
		return -1;
	o->switches = (unsigned int)n;
	return 0;
}

/* The names are where the trackers are. */
static char *help(int key, const char *text, void *input)
{
	char *all;

	(void)input;
	if (key != 't')
		return (char *)(uintptr_t)text;
	return asprintf(&all, "%s%s", text, tracker_names()) < 0 ? NULL : all;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	uint64_t n;

	switch (key) {
	case 't':
		return parse_trackers(o, arg) ? EINVAL : 0;
	case 'p':
		return policy_parse(&o->policy, arg) ? EINVAL : 0;
	case OPT_SWITCH:
		return parse_switch(o, arg) ? EINVAL : 0;
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
	case ARGP_KEY_END:
		if (!o->switches || !o->chosen)
			return 0;
		tool_error("--switch names its trackers: not together with --tracker");
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
			 "repaired", path, (unsigned long long)trace_anomalies_total(a));
		return -1;
	}
	if (!t->nr_events) {
		snprintf(err->text, sizeof(err->text), "%s: no events to replay", path);
		return -1;
	}
	if (t->page_size < (uint32_t)sysconf(_SC_PAGESIZE)) {
		snprintf(err->text, sizeof(err->text),
			 "%s: its pages of %u bytes are smaller than this machine's, which cannot "
			 "discard them", path, t->page_size);
		return -1;
	}
	need = needed_bytes(t);
	if (need > have / 10 * 9) {
		snprintf(err->text, sizeof(err->text),
			 "%s: replay takes %.1f GiB and %.1f GiB are available; record less, or "
			 "use a larger machine", path, (double)need / 1073741824.0,
			 (double)have / 1073741824.0);
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

/* What is timed: one tracker like this, in rounds. */
struct candidate {
	const struct sim_tracker *tracker;
	struct sim_config config;
	struct cost *cost;		/* filled in */
	double hooks[MAX_ROUNDS], reporter[MAX_ROUNDS], wait[MAX_ROUNDS];
};

static int time_one(const struct trace *t, const struct sim_schedule *s, struct candidate *c,
		    unsigned int round, struct trace_error *err)
{
	struct sim_speed speed;

	if (sim_speed(t, s, c->tracker, &c->config, false, &speed, err))
		return -1;
	c->hooks[round] = speed.cpu_ns / (double)t->nr_events;
	c->wait[round] = speed.wait_ns / (double)t->nr_events;
	c->reporter[round] = speed.reporter_ns / (double)t->nr_events;
	return 0;
}

/*
 * Rounds of timed runs: none, every candidate, none again. Each round begins with another one, so
 * that no place in the round is always the same one's. *replay: what none takes.
 */
static int time_rounds(const struct trace *t, const struct sim_schedule *s, struct candidate *c,
		       size_t nr, unsigned int rounds, double *replay, struct progress *progress,
		       struct trace_error *err)
{
	const struct sim_config config = { .order = c->config.order,
					   .policy = sim_trackers[0].policy };
	struct candidate before = { .tracker = &sim_trackers[0], .config = config }, after = before;
	double base[MAX_ROUNDS];

	for (unsigned int r = 0; r < rounds; r++) {
		if (time_one(t, s, &before, r, err))
			return -1;
		for (size_t i = 0; i < nr; i++) {
			progress_step(progress, WEIGHT_ROUND, "timing hooks");
			if (time_one(t, s, &c[(i + r) % nr], r, err))
				return -1;
		}
		if (time_one(t, s, &after, r, err))
			return -1;
		base[r] = (before.hooks[r] + after.hooks[r]) / 2;
		for (size_t i = 0; i < nr; i++)
			c[i].hooks[r] -= base[r];
	}
	for (size_t i = 0; i < nr; i++)
		*c[i].cost = (struct cost){
			.timed = t->nr_events >= MIN_TIMED_EVENTS,
			.hooks = median(c[i].hooks, rounds),
			.reporter = median(c[i].reporter, rounds),
			.wait = median(c[i].wait, rounds),
		};
	*replay = median(base, rounds);
	return 0;
}

static unsigned int rounds_for(const struct trace *t)
{
	uint64_t rounds = ROUNDS_EVENTS / t->nr_events;

	return rounds < MIN_ROUNDS   ? MIN_ROUNDS
	       : rounds > MAX_ROUNDS ? MAX_ROUNDS
				     : (unsigned int)rounds;
}

/* A trace, and what all its runs need. */
struct replay {
	struct trace t;
	struct sim_schedule *schedule;
	struct heading heading;
};

static void replay_destroy(struct replay *r)
{
	sim_schedule_free(r->schedule);
	trace_destroy(&r->t);
}

/* What is to be destroyed in any case is there in any case. */
static int replay_load(struct replay *r, const struct options *o, const char *path,
		       struct progress *progress, struct trace_error *err)
{
	*r = (struct replay){ .heading = { .trace = path, .order = o->order } };
	trace_init(&r->t);
	progress->what = "loading";
	if (load(o, path, &r->t, &r->heading.anomalies, err))
		return -1;
	r->heading.events = r->t.nr_events;
	for (size_t i = 0; i < r->t.nr_events; i++)
		r->heading.hidden += r->t.events[i].hidden;
	r->schedule = sim_schedule_make(&r->t, err);
	return r->schedule ? 0 : -1;
}

static void progress_begin(struct progress *p, double all)
{
	clock_gettime(CLOCK_MONOTONIC, &p->begin);
	p->done = 0;
	p->all = all;
}

static int compare_one(const struct replay *replay, struct candidate *c, struct result *r,
		       struct progress *progress, struct trace_error *err)
{
	struct sim_speed safety;

	*r = (struct result){
		.heading = replay->heading,
		.tracker = c->tracker,
		.policy = c->config.policy,
		.known = replay->t.has_snapshot,
	};
	c->cost = &r->cost;
	progress_step(progress, 0, c->tracker->name);
	if (sim_quality(&replay->t, c->tracker, &c->config, &r->quality, progress_show, progress,
			err))
		return -1;
	progress_step(progress, WEIGHT_QUALITY, c->tracker->name);
	if (sim_speed(&replay->t, replay->schedule, c->tracker, &c->config, true, &safety, err))
		return -1;
	progress_step(progress, WEIGHT_SAFETY, c->tracker->name);
	r->data_loss = r->quality.data_loss + safety.data_loss;
	return 0;
}

/* Returns the results, room for all trackers is there; -1: error. */
static int compare_trace(const struct options *o, const char *path, struct result *results,
			 struct progress *progress, struct trace_error *err)
{
	struct trace_error left_out[MAX_TRACKERS];
	struct candidate c[MAX_TRACKERS];
	size_t nr = 0, nr_out = 0;
	struct replay replay;
	unsigned int rounds;
	double base;
	int ret = -1;

	if (replay_load(&replay, o, path, progress, err))
		goto out;
	for (size_t i = 0; i < o->nr_trackers; i++) {
		c[nr] = (struct candidate){
			.tracker = o->trackers[i],
			.config = { .order = o->order,
				    .policy = policy_for(&o->policy, o->trackers[i]) },
		};
		if (!sim_check(&replay.t, c[nr].tracker, &c[nr].config, &left_out[nr_out]))
			nr++;
		else
			nr_out++;
	}
	if (nr_out && (o->chosen || !nr)) {
		*err = left_out[0];
		goto out;
	}
	rounds = rounds_for(&replay.t);
	progress_begin(progress, (double)nr * (WEIGHT_QUALITY + WEIGHT_SAFETY +
					       rounds * WEIGHT_ROUND));
	for (size_t i = 0; i < nr; i++)
		if (compare_one(&replay, &c[i], &results[i], progress, err))
			goto out;
	if (time_rounds(&replay.t, replay.schedule, c, nr, rounds, &base, progress, err))
		goto out;
	for (size_t i = 0; i < nr; i++)
		results[i].replay_ns_per_event = base;
	progress_clear(progress);
	print_table(stdout, &replay.t, results, nr);
	for (size_t i = 0; i < nr_out; i++)
		printf("left out: %s\n%s", left_out[i].text, i + 1 == nr_out ? "\n" : "");
	ret = (int)nr;
out:
	progress_clear(progress);
	replay_destroy(&replay);
	return ret;
}

static int switch_trace(const struct options *o, const char *path, struct switched *out,
			struct progress *progress, struct trace_error *err)
{
	struct sim_switch plan = { .other = o->trackers[1], .times = o->switches,
				   .ns = calloc(o->switches, sizeof(*plan.ns)) };
	struct candidate c[3];
	struct replay replay;
	unsigned int rounds;
	int ret = -1;

	if (replay_load(&replay, o, path, progress, err))
		goto out;
	*out = (struct switched){
		.heading = replay.heading,
		.tracker = { o->trackers[0], o->trackers[1] },
		.policy = policy_for(&o->policy, o->trackers[0]),
		.times = o->switches,
	};
	for (size_t i = 0; i < 3; i++)
		c[i] = (struct candidate){
			.tracker = o->trackers[i % 2],
			.config = { .order = o->order, .policy = out->policy,
				    .switching = i == 2 ? &plan : NULL },
			.cost = i == 2 ? &out->cost : &out->alone[i],
		};
	for (size_t i = 0; i < 2; i++)
		if (sim_check(&replay.t, c[i].tracker, &c[i].config, err))
			goto out;
	if (!plan.ns) {
		snprintf(err->text, sizeof(err->text), "no memory for %u switches", o->switches);
		goto out;
	}
	rounds = rounds_for(&replay.t);
	progress_begin(progress, WEIGHT_SAFETY + 3 * rounds * WEIGHT_ROUND);
	progress_step(progress, 0, "switching");
	if (sim_speed(&replay.t, replay.schedule, c[2].tracker, &c[2].config, true, &out->run, err))
		goto out;
	progress_step(progress, WEIGHT_SAFETY, "switching");
	out->done = plan.done;
	out->data_loss = out->run.data_loss;
	if (plan.done) {
		out->median_ns = median(plan.ns, plan.done);
		out->max_ns = plan.ns[plan.done - 1];	/* median() has sorted them */
	}
	if (time_rounds(&replay.t, replay.schedule, c, 3, rounds, &out->replay_ns_per_event,
			progress, err))
		goto out;
	out->timed_times = plan.done;
	progress_clear(progress);
	print_switched(stdout, &replay.t, out);
	ret = 1;
out:
	progress_clear(progress);
	free(plan.ns);
	replay_destroy(&replay);
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

static int write_json(struct output *out, char *text, struct trace_error *err)
{
	int ret;

	if (!text) {
		snprintf(err->text, sizeof(err->text), "no memory for JSON");
		return -1;
	}
	ret = output_write(out, text, strlen(text), err) || output_publish(out, err) ? -1 : 0;
	free(text);
	return ret;
}

/* All traces'; the one or the other kind. */
struct all {
	struct result *results;
	struct switched *switched;
	size_t nr;
	uint64_t data_loss;
};

static int run_all(const struct options *o, struct all *all, struct progress *progress,
		   struct trace_error *err)
{
	all->results = calloc(o->nr_traces * o->nr_trackers, sizeof(*all->results));
	all->switched = calloc(o->nr_traces, sizeof(*all->switched));
	if (!all->results || !all->switched) {
		snprintf(err->text, sizeof(err->text), "no memory for results");
		return -1;
	}
	for (size_t i = 0; i < o->nr_traces; i++) {
		int n = o->switches ?
			switch_trace(o, o->traces[i], &all->switched[all->nr], progress, err) :
			compare_trace(o, o->traces[i], &all->results[all->nr], progress, err);

		if (n < 0)
			return -1;
		all->nr += (size_t)n;
	}
	for (size_t i = 0; i < all->nr; i++)
		all->data_loss += o->switches ? all->switched[i].data_loss :
						all->results[i].data_loss;
	return 0;
}

int cmd_compare(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.args_doc = "TRACE...",
		.doc = "Replay traces through trackers, against memory that is real and a host "
		       "that really discards, and print what each tracker costs and is worth.",
		.help_filter = help,
	};
	struct options o = { .order = 9 };
	struct progress progress = { .tty = isatty(STDERR_FILENO) };
	struct output out = OUTPUT_INIT;
	struct trace_error err = { "" };
	struct all all = { .nr = 0 };
	int ret = EXIT_FAILED;

	if (tool_parse(&argp, argc, argv, 0, &o))
		return EXIT_USAGE;
	for (size_t i = 0; !o.chosen && !o.switches && sim_trackers[i].name; i++)
		o.trackers[o.nr_trackers++] = &sim_trackers[i];
	for (size_t i = 0; i < o.nr_traces; i++)
		if (check_name(&o, o.traces[i], &err))
			goto out;
	if (o.json && output_open(&out, o.json, &err))
		goto out;
	if (run_all(&o, &all, &progress, &err))
		goto out;
	if (fflush(stdout) || ferror(stdout)) {
		snprintf(err.text, sizeof(err.text), "cannot write the table: %s", strerror(errno));
		goto out;
	}
	if (o.json && write_json(&out, o.switches ? switched_json(all.switched, all.nr) :
				 results_json(all.results, all.nr), &err))
		goto out;
	if (all.data_loss)
		snprintf(err.text, sizeof(err.text),
			 "DATA LOSS: %llu pages did not hold what their owner wrote",
			 (unsigned long long)all.data_loss);
	else
		ret = EXIT_OK;
out:
	if (*err.text)
		tool_error("%s", err.text);
	output_end(&out);
	free(all.results);
	free(all.switched);
	return ret;
}
