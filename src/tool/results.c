/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* results.c - results of fpt compare as a table and as JSON */
#include "compare.h"

#include <jansson.h>
#include <fpt/array.h>
#include <math.h>
#include <string.h>

#define MIB 1048576.0

const char *const discard_names[] = {
	[HOST_DONTNEED] = "dontneed", [HOST_PUNCH] = "punch", [HOST_FREE] = "free", NULL,
};

static void cell(FILE *to, int width, int decimals, double value, bool known)
{
	if (known)
		fprintf(to, " %*.*f", width, decimals, value);
	else
		fprintf(to, " %*s", width, "-");
}

static void print_heading(FILE *to, const struct trace *t, const struct result *r)
{
	uint64_t anomalies = trace_anomalies_total(&r->anomalies);

	fprintf(to, "%s: %llu events, %u CPUs, %.1f s, %.0f MiB", r->trace,
		(unsigned long long)r->events, t->nr_cpus, (double)t->duration_ns / 1e9,
		(double)trace_extents_total(&t->ranges) * t->page_size / MIB);
	if (t->lost)
		fprintf(to, ", %llu events lost in recording", (unsigned long long)t->lost);
	if (anomalies)
		fprintf(to, ", %llu anomalies repaired", (unsigned long long)anomalies);
	fprintf(to,
		"\n%.0f %% of it wholly free at order %u%s; replay alone takes %.0f ns per "
		"event\n\n",
		t->duration_ns ? 100 * r->quality.free_gib_minutes * 1073741824.0 /
					 ((double)t->duration_ns / 60e9) /
					 ((double)trace_extents_total(&t->ranges) * t->page_size)
			       : 0,
		r->order,
		r->known ? "" : " (no snapshot: of blocks of which the trace has seen all pages)",
		r->replay_ns_per_event);
	if (!(r->quality.free_gib_minutes > 0))
		fprintf(to,
			"no block of order %u was ever seen wholly free: try a smaller --order\n\n",
			r->order);
}

void print_table(FILE *to, const struct trace *t, const struct result *results, size_t nr)
{
	if (!nr)
		return;
	print_heading(to, t, results);
	fputs("           hooks rep.er  recall  prec.  resident  peak    free to report ms         "
	      "stalls"
	      "                             meta  data\n"
	      "tracker    ns/ev  ns/ev       %      %   GiB*min   MiB    p50     p99 never    nr  "
	      "p99 ms"
	      " reports refaults dropped    KiB  loss\n",
	      to);
	for (size_t i = 0; i < nr; i++) {
		const struct result *r = &results[i];
		const struct sim_quality *q = &r->quality;

		fprintf(to, "%-9s", r->tracker->name);
		cell(to, 6, 1, r->ns_per_event, r->timed);
		cell(to, 6, 1, r->reporter_ns_per_event, r->timed && r->tracker->reports &&
		     !r->tracker->walks_buddy);
		cell(to, 7, 1, 100 * q->recall, q->free_gib_minutes > 0);
		cell(to, 6, 1, 100 * q->precision, q->precision >= 0);
		fprintf(to, " %9.4f %5.0f", q->gib_minutes, (double)q->peak_rss_bytes / MIB);
		cell(to, 6, 0, q->free_to_report.p50_ms, q->free_to_report.count);
		cell(to, 7, 0, q->free_to_report.p99_ms, q->free_to_report.count);
		fprintf(to, " %5llu %5llu", (unsigned long long)q->censored,
			(unsigned long long)q->stall.count);
		cell(to, 7, 2, q->stall.p99_ms, q->stall.count);
		fprintf(to, " %7llu %8llu %7llu %6.0f %5llu\n", (unsigned long long)q->reports,
			(unsigned long long)q->refaults, (unsigned long long)q->dropped,
			(double)q->metadata_bytes / 1024, (unsigned long long)r->data_loss);
	}
	fputc('\n', to);
}

bool name_is_json(const char *name)
{
	json_t *json = json_string(name);

	json_decref(json);
	return json;
}

static json_t *number(double value, bool known)
{
	return known && isfinite(value) ? json_real(value) : json_null();
}

static json_t *count(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* What a tracker has no use for is null. */
static json_t *policy_json(const struct sim_tracker *t, const struct sim_policy *p)
{
	bool array = !strcmp(t->name, "array") || t->collects;

	return json_pack("{s:o, s:f, s:o, s:o, s:o, s:o, s:s}", "period_ms",
			 number((double)p->period_ns / 1e6, !t->collects), "latency_ms",
			 (double)p->latency_ns / 1e6, "batch",
			 t->collects ? json_null() : count(p->batch), "in_flight_mib",
			 number((double)p->in_flight / MIB, !t->collects), "entries",
			 array ? count(p->entries ? p->entries : FPT_ARRAY_ENTRIES) : json_null(),
			 "exact",
			 t->walks_buddy || t->collects ? json_null() : json_boolean(p->exact),
			 "discard", discard_names[p->discard]);
}

static json_t *result_json(const struct result *r)
{
	const struct sim_quality *q = &r->quality;
	bool free_memory = q->free_gib_minutes > 0;

	return json_pack("{s:s, s:s, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, "
			 "s:{s:o, s:o, s:o},"
			 " s:{s:o, s:o, s:o}, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "trace", r->trace, "tracker", r->tracker->name, "policy",
			 policy_json(r->tracker, &r->policy), "order", (int)r->order, "events",
			 count(r->events), "ns_per_event", number(r->ns_per_event, r->timed),
			 "reporter_ns_per_event", number(r->reporter_ns_per_event, r->timed),
			 "wait_ns_per_event", number(r->wait_ns_per_event, r->timed), "gib_minutes",
			 number(q->gib_minutes, true), "peak_rss_bytes", count(q->peak_rss_bytes),
			 "recall", number(q->recall, free_memory), "recall_of",
			 r->known ? "all blocks" : "blocks of which the trace has seen all pages",
			 "precision", number(q->precision, q->precision >= 0), "free_to_report_ms",
			 "p50", number(q->free_to_report.p50_ms, q->free_to_report.count), "p99",
			 number(q->free_to_report.p99_ms, q->free_to_report.count), "censored",
			 count(q->censored), "stall_ms", "count", count(q->stall.count), "p99",
			 number(q->stall.p99_ms, q->stall.count), "total",
			 number(q->stall.total_ms, true), "reports", count(q->reports),
			 "discard_calls", count(q->discard_calls), "discarded_ranges",
			 count(q->discarded_ranges), "refaults", count(q->refaults), "dropped",
			 count(q->dropped), "metadata_bytes", count(q->metadata_bytes), "data_loss",
			 count(r->data_loss));
}

char *results_json(const struct result *results, size_t nr)
{
	json_t *array = json_array(), *all;
	char *text = NULL;
	bool ok = true;

	for (size_t i = 0; i < nr; i++)
		ok &= !json_array_append_new(array, result_json(&results[i]));
	all = json_pack("{s:o}", "results", array);
	if (ok && all)
		text = json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	json_decref(all);
	return text;
}
