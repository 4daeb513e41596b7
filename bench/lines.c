/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lines.c - fpt-lines: cache lines that hooks and drains read, write and pass on. Counted, not timed.
 *
 *	fpt-lines			per hook, 1 to 256 virtual CPUs, workloads of lines_hooks.h
 *	fpt-lines TRACE...		per event of real traces, with drains every so often
 *
 * It is the part of scaling that no machine with few CPUs can time. Everything is counted over the
 * model backend: every access of the library is announced, by the CPU that the replay says.
 *
 * Traces. Events are replayed in their order, each by its own CPU; whole hooks, one after the other. A
 * drain (delta: a fold) comes every PERIOD of the trace's time, on a CPU of its own, which is the
 * worst place for it: everything that it touches has to come over, and back. What a reporter does
 * besides (claims) is left out: it is the same for all trackers.
 *
 *	transfer	a CPU looks at or writes a line that another CPU wrote last, and that it has not
 *			got since: the line has to come from that CPU's cache
 *	upgrade		a CPU writes a line that it has got, and that another CPU has got since: no line
 *			moves, but the other's copy has to go. Counted apart, in no transfer
 *	words		of delta, before each fold: of a dirty line's 8 words, those that differ from
 *			what the base has. A fold writes the base so often
 *
 * Caches are taken to be as large as need be, and what a tracker's set-up wrote to be in memory.
 * Afterwards the bits of trackers that are exact are compared with what the trace says is free.
 */
#define LINES_MAX (1u << 19)
#include "lines_hooks.h"

#include "trace/trace.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>

void (*fpt_model_hook)(const struct fpt_model_access *access);
unsigned int fpt_model_cpu;
void (*fpt_model_rcu_synchronize)(void);

#define MAX_DONATIONS 65536u
#define MS UINT64_C(1000000)

static const uint64_t periods_ms[] = { 100, 1000, 2000, 10000 };

#define PERIODS (sizeof(periods_ms) / sizeof(periods_ms[0]))

struct options {
	const char *csv;
	char **traces;
	int nr_traces;
};

static const struct argp_option argp_options[] = {
	{ "csv", 'c', "FILE", 0, "Write all numbers to FILE, too", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'c':
		o->csv = arg;
		return 0;
	case ARGP_KEY_ARGS:
		o->traces = state->argv + state->next;
		o->nr_traces = state->argc - state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = argp_options,
	.parser = parse,
	.args_doc = "[TRACE...]",
	.doc = "Cache lines that the hooks of each tracker read, write and pass on, on 1 to 256 "
	       "virtual CPUs, or line transfers per event of TRACEs: counted, not timed.",
};

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "fpt-lines: %s: %s\n", what, why);
	return -1;
}

/* One line of the CSV file, which may not be wanted. */
static void csv(FILE *f, const char *what, const char *tracker, unsigned int nr_cpus,
		uint64_t period_ms, const char *number, double value)
{
	if (f)
		fprintf(f, "\"%s\",%s,%u,%" PRIu64 ",%s,%.6g\n", what, tracker, nr_cpus, period_ms,
			number, value);
}

/*
 * Per hook, on virtual CPUs.
 */
static int count_hooks(FILE *f)
{
	struct lines_result r = { 0 };
	unsigned int n;
	size_t i, w;

	puts("Counted, not timed: cache lines per hook, on virtual CPUs.\n"
	     "others: of the lines read or written, another CPU's hook wrote them last;\n"
	     "written by others: those of them that are written; upgrades: of a line that is here and elsewhere,\n"
	     "writes that end the copy there");
	for (w = 0; w < LINES_WORKLOADS; w++) {
		printf("\n%-10s %-8s %5s %8s %8s %8s %18s %8s\n", lines_workload_names[w], "tracker",
		       "CPUs", "read", "written", "others", "written by others", "upgrades");
		for (i = 0; i < LINES_TRACKERS; i++)
			for (n = 1; n <= LINES_CPUS; n *= 2) {
				const struct lines_tracker *t = &lines_trackers[i];
				const char *what = lines_workload_names[w];
				const char *error =
					lines_count(t, (enum lines_workload)w, n, &r);

				if (error)
					return fail(t->name, error);
				printf("%-10s %-8s %5u %8.3f %8.3f %8.3f %18.3f %8.3f\n", "",
				       t->name, n, r.read, r.written, r.others, r.others_written,
				       r.invalidations);
				csv(f, what, t->name, n, 0, "read", r.read);
				csv(f, what, t->name, n, 0, "written", r.written);
				csv(f, what, t->name, n, 0, "others", r.others);
				csv(f, what, t->name, n, 0, "others_written", r.others_written);
				csv(f, what, t->name, n, 0, "transfers", r.transfers);
				csv(f, what, t->name, n, 0, "upgrades", r.invalidations);
			}
	}
	return 0;
}

/*
 * Per event of a trace.
 */
struct replay {
	const struct trace *trace;
	struct fpt t;
	unsigned int reporter;		/* its CPU */
	void *donation[MAX_DONATIONS];
	unsigned int nr_donations;
	unsigned long folded_lines, folded_words;
};

struct transfers {
	double hooks, drains;		/* transfers per event */
	double upgrades;		/* per event */
	double lines, words;		/* of delta: dirty lines, and their words that differ */
	double slow;			/* share of events */
	double dropped;			/* pages */
};

static struct fpt_mem donate(struct replay *r, size_t size)
{
	struct fpt_mem m = { NULL, size, true };

	if (r->nr_donations < MAX_DONATIONS)
		m.base = r->donation[r->nr_donations++] = fpt_memory_get(size);
	return m;
}

/* As a reporter drains. */
static void drain(struct replay *r)
{
	size_t wanted = fpt_wanted(&r->t);
	struct fpt_mem m;

	if (wanted) {
		m = donate(r, wanted);
		if (m.base)
			(void)fpt_refill(&r->t, &m);
	}
	fpt_drain(&r->t);
}

/* Ranges that share a block are one: what lies between belongs to nobody, and stays held. */
static int add_ranges(struct replay *r, const struct trace_extents *ranges)
{
	size_t i, last;

	for (i = 0; i < ranges->nr; i = last + 1) {
		uint64_t pfn = ranges->v[i].pfn, end = pfn + ranges->v[i].nr;
		struct fpt_mem m;

		for (last = i; last + 1 < ranges->nr &&
		     ranges->v[last + 1].pfn >> LINES_ORDER <= (end - 1) >> LINES_ORDER; last++)
			end = ranges->v[last + 1].pfn + ranges->v[last + 1].nr;
		m = donate(r, fpt_range_size(&r->t, pfn, end - pfn, true));
		if (!m.base || fpt_add_range(&r->t, pfn, end - pfn, &m) != FPT_OK)
			return -1;
	}
	return 0;
}

/* Everything that is free at time 0 is hinted. */
static int set_up(struct replay *r, const struct fpt_ops *ops)
{
	const struct trace_extents *before = &r->trace->free_before;
	struct fpt_config config = { .ops = ops, .nr_cpus = r->reporter + 1, .order = LINES_ORDER };
	struct fpt_mem m = donate(r, fpt_size(&config));
	size_t i;

	if (!m.base || fpt_init(&r->t, &config, &m) != FPT_OK || add_ranges(r, &r->trace->ranges))
		return -1;
	fpt_model_cpu = r->reporter;
	for (i = 0; i < before->nr; i++)
		for (uint64_t k = 0; k < before->v[i].nr; k++) {
			fpt_free(&r->t, before->v[i].pfn + k, 0);
			if (k % 512 == 0)
				drain(r);
		}
	drain(r);
	drain(r);
	return 0;
}

/* Of an exact tracker: has every page the bit that it should have? */
static bool is_right(struct replay *r)
{
	const struct trace *trace = r->trace;
	uint64_t pages = trace_extents_total(&trace->ranges), first = 0, k;
	unsigned char *is_free = calloc(pages, 1);
	bool right = is_free;
	size_t i;

	for (i = 0; is_free && i < trace->free_before.nr; i++) {
		(void)trace_page(trace, trace->free_before.v[i].pfn, &first);
		memset(is_free + first, 1, trace->free_before.v[i].nr);
	}
	for (i = 0; is_free && i < trace->nr_events; i++) {
		(void)trace_page(trace, trace->events[i].pfn, &first);
		memset(is_free + first, !trace->events[i].alloc, (size_t)1 << trace->events[i].order);
	}
	for (i = 0; right && i < trace->ranges.nr; i++)
		for (k = 0; right && k < trace->ranges.v[i].nr; k++)
			right = fpt_xbitmap_test(&r->t.back, trace->ranges.v[i].pfn + k) ==
				is_free[trace->ranges.v[i].first_page + k];
	free(is_free);
	return right;
}

/* What the next fold finds: nobody's access. */
static void count_words(struct replay *r)
{
	const struct fpt_delta *d = r->t.front[FPT_SLOT_DELTA];
	unsigned long e = d->epoch.v, i;
	unsigned int cpu, w;

	for (cpu = 0; cpu < d->nr_cpus; cpu++) {
		struct fpt_delta_gen g = fpt_delta_gen_of(d, cpu, e);

		for (i = 0; i <= d->line_mask; i++) {
			const fpt_atomic_t *word = &g.line[i * FPT_DELTA_LINE_WORDS];
			bool whole = g.whole[i / FPT_WORD_BITS].v >> i % FPT_WORD_BITS & 1;

			if (!fpt_delta_tagged(g.tag[i].v, e))
				continue;
			r->folded_lines++;
			for (w = 0; w < FPT_DELTA_LINE_WORDS; w++)
				r->folded_words += word[w].v != (whole ? ~0UL : 0);
		}
	}
}

static void count_drain(struct replay *r, const struct fpt_ops *ops, unsigned long *transfers)
{
	unsigned long before = counts.transfers;

	if (ops == &fpt_delta_ops)
		count_words(r);
	fpt_model_cpu = r->reporter;
	count_operation();
	drain(r);
	*transfers += counts.transfers - before;
}

static const char *replay(struct replay *r, const struct lines_tracker *tracker, uint64_t period,
			  struct transfers *out)
{
	uint64_t next = period, events = r->trace->nr_events;
	unsigned long drains = 0;
	struct fpt_stats before, after;
	size_t i;

	r->reporter = r->trace->nr_cpus;
	if (set_up(r, tracker->ops))
		return "no memory, or more pages than the tracker takes";
	fpt_get_stats(&r->t, &before);
	count_begin();
	for (i = 0; i < events; i++) {
		const struct trace_event *e = &r->trace->events[i];

		for (; next <= e->ns; next += period)
			count_drain(r, tracker->ops, &drains);
		fpt_model_cpu = e->cpu;
		count_operation();
		if (e->alloc)
			(void)fpt_alloc(&r->t, e->pfn, e->order);
		else
			fpt_free(&r->t, e->pfn, e->order);
	}
	(void)count_end();
	out->drains = (double)drains / (double)events;
	out->hooks = (double)counts.transfers / (double)events - out->drains;
	out->upgrades = (double)counts.invalidations / (double)events;
	out->lines = (double)r->folded_lines / (double)events;
	out->words = (double)r->folded_words / (double)(r->folded_lines ? r->folded_lines : 1);
	fpt_get_stats(&r->t, &after);
	out->slow = (double)(after.count[FPT_STAT_SLOW] - before.count[FPT_STAT_SLOW]) /
		    (double)events;
	out->dropped = (double)(after.count[FPT_STAT_DROPPED] - before.count[FPT_STAT_DROPPED]);
	drain(r);
	drain(r);
	if (after.count[FPT_STAT_OUTSIDE] - before.count[FPT_STAT_OUTSIDE])
		return "events outside all ranges";
	if ((tracker->ops->retracts || tracker->ops->toggles) && !is_right(r))
		return "a page's bit is not what the trace says";
	return NULL;
}

static int count_one(const struct trace *trace, const struct lines_tracker *tracker,
		     uint64_t period, struct transfers *out)
{
	struct replay *r = calloc(1, sizeof(*r));
	const char *error = "no memory";
	unsigned int i;

	if (r) {
		r->trace = trace;
		error = replay(r, tracker, period, out);
		for (i = 0; i < r->nr_donations; i++)
			fpt_memory_put(r->donation[i], 0);
		free(r);
	}
	return error ? fail(tracker->name, error) : 0;
}

/* A row for each tracker; delta's is followed by what the targets are about. */
static int count_trace(FILE *f, const char *name, const struct trace *trace)
{
	static const char *const rows[] = { "xbitmap", "lockmap", "array", "bitmap", "delta" };
	struct transfers all[PERIODS], base = { .hooks = NAN };
	size_t row, i, p;

	printf("%s: %zu events, %" PRIu32 " CPUs, %.1f s\n"
	       "Counted, not timed: line transfers per event, with drains every\n%-22s", name,
	       trace->nr_events, trace->nr_cpus, (double)trace->duration_ns / 1e9, "");
	for (p = 0; p < PERIODS; p++)
		printf("%8.1f s", (double)periods_ms[p] / 1e3);
	puts("");
	for (row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		const struct lines_tracker *t = lines_trackers;

		while (strcmp(t->name, rows[row]))
			t++;
		printf("%-22s", t->name);
		for (p = 0; p < PERIODS; p++) {
			struct transfers *o = &all[p];

			/* What has no front has nothing to drain. */
			if (p && !t->ops->drain) {
				*o = all[0];
			} else if (count_one(trace, t, periods_ms[p] * MS, o)) {
				return -1;
			}
			printf("%10.4f", o->hooks + o->drains);
			fflush(stdout);
			csv(f, name, t->name, trace->nr_cpus, periods_ms[p], "transfers_hooks", o->hooks);
			csv(f, name, t->name, trace->nr_cpus, periods_ms[p], "transfers_drains", o->drains);
			csv(f, name, t->name, trace->nr_cpus, periods_ms[p], "upgrades", o->upgrades);
			if (t->ops == &fpt_delta_ops)
				csv(f, name, t->name, trace->nr_cpus, periods_ms[p], "words", o->words);
			csv(f, name, t->name, trace->nr_cpus, periods_ms[p], "slow", o->slow);
			csv(f, name, t->name, trace->nr_cpus, periods_ms[p], "dropped", o->dropped);
		}
		puts("");
		if (!row)
			base = all[0];
		printf("%-22s", "  upgrades besides");
		for (i = 0; i < PERIODS; i++)
			printf("%10.4f", all[i].upgrades);
		puts("");
		if (!t->ops->drain)
			continue;
		printf("%-22s", "  ratio to xbitmap");
		for (i = 0; i < PERIODS; i++)
			printf("%10.3f", (all[i].hooks + all[i].drains) / (base.hooks + base.drains));
		printf("\n%-22s", "  of it by drains");
		for (i = 0; i < PERIODS; i++)
			printf("%10.4f", all[i].drains);
		printf("\n%-22s", "  slow events, %");
		for (i = 0; i < PERIODS; i++)
			printf("%10.3f", 100 * all[i].slow);
		printf("\n%-22s", "  dropped pages");
		for (i = 0; i < PERIODS; i++)
			printf("%10.0f", all[i].dropped);
		puts("");
		if (t->ops != &fpt_delta_ops)
			continue;
		printf("%-22s", "  dirty lines");
		for (i = 0; i < PERIODS; i++)
			printf("%10.4f", all[i].lines);
		printf("\n%-22s", "  words of each");
		for (i = 0; i < PERIODS; i++)
			printf("%10.2f", all[i].words);
		puts("");
	}
	puts("");
	return 0;
}

static int count_file(FILE *f, const char *path)
{
	struct trace_error err = { "" };
	struct trace trace;
	int ret = -1;
	size_t i;

	trace_init(&trace);
	if (trace_load(&trace, path, &err) || trace_normalise(&trace, NULL, &err)) {
		fprintf(stderr, "fpt-lines: %s\n", err.text);
		goto out;
	}
	for (i = 0; i < trace.nr_events && !trace.events[i].hidden; i++)
		;
	if (!trace.nr_events || i < trace.nr_events)
		fail(path, i ? "hides events from hooks: delta would not be exact" : "no events");
	else if (trace.nr_cpus >= LINES_CPUS)
		fail(path, "more CPUs than can be counted");
	else
		ret = count_trace(f, path, &trace);
out:
	trace_destroy(&trace);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { .csv = NULL };
	FILE *f = NULL;
	int ret = 0;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (o.csv) {
		f = fopen(o.csv, "we");
		if (!f) {
			fail(o.csv, strerror(errno));
			return 1;
		}
		fputs("# counted, not timed: cache lines per hook or event\n"
		      "what,tracker,cpus,period_ms,number,value\n", f);
	}
	if (!o.nr_traces)
		ret = count_hooks(f);
	for (int i = 0; !ret && i < o.nr_traces; i++)
		ret = count_file(f, o.traces[i]);
	if (f && (ferror(f) | fclose(f)))
		ret = fail(o.csv, "cannot write");
	if (!ret && (fflush(stdout) || ferror(stdout)))
		ret = fail("standard output", "cannot write");
	return ret ? 1 : 0;
}
