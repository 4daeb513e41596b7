/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* results.c - results of fpt compare as a table and as JSON */
#include "compare.h"

#include <math.h>
#include <string.h>

#define MIB 1048576.0

static void cell(FILE *to, int width, int decimals, double value, bool known)
{
	if (known)
		fprintf(to, " %*.*f", width, decimals, value);
	else
		fprintf(to, " %*s", width, "-");
}

static void print_heading(FILE *to, const struct trace *t, const struct heading *h)
{
	uint64_t anomalies = trace_anomalies_total(&h->anomalies);

	fprintf(to, "%s: %llu events, %u CPUs, %.1f s, %.0f MiB", h->trace,
		(unsigned long long)h->events, t->nr_cpus, (double)t->duration_ns / 1e9,
		(double)trace_extents_total(&t->ranges) * t->page_size / MIB);
	if (t->lost)
		fprintf(to, ", %llu events lost in recording", (unsigned long long)t->lost);
	if (anomalies)
		fprintf(to, ", %llu anomalies repaired", (unsigned long long)anomalies);
	if (h->hidden)
		fprintf(to, ", %llu events hidden from hooks", (unsigned long long)h->hidden);
	fputc('\n', to);
}

/* Hooks, and their reporter's when there is one. */
static void print_cost(FILE *to, const struct cost *c, const struct sim_tracker *t)
{
	cell(to, 7, 1, c->hooks, c->timed);
	cell(to, 6, 1, c->reporter, c->timed && t->reports && !t->walks_buddy);
}

static void print_row(FILE *to, const struct result *r)
{
	bool ticket = !r->tracker->walks_buddy && r->policy.protocol == SIM_TICKET;
	const struct sim_quality *q = &r->quality;

	fprintf(to, "%-11s", r->tracker->name);
	print_cost(to, &r->cost, r->tracker);
	cell(to, 7, 1, 100 * q->recall, q->free_gib_minutes > 0);
	cell(to, 6, 1, 100 * q->precision, q->precision >= 0);
	fprintf(to, " %9.4f %5.0f", q->gib_minutes, (double)q->peak_rss_bytes / MIB);
	cell(to, 6, 0, q->free_to_report.p50_ms, q->free_to_report.count);
	cell(to, 7, 0, q->free_to_report.p99_ms, q->free_to_report.count);
	fprintf(to, " %5llu %5llu", (unsigned long long)q->censored,
		(unsigned long long)q->stall.count);
	cell(to, 7, 2, q->stall.p99_ms, q->stall.count);
	cell(to, 8, 1, q->stall.total_ms, q->stall.count);
	cell(to, 5, 0, (double)(q->cancelled >> r->heading.order), ticket);
	fprintf(to, " %7llu %8llu %7llu %6.0f %5llu\n", (unsigned long long)q->reports,
		(unsigned long long)q->refaults, (unsigned long long)q->dropped,
		(double)q->metadata_bytes / 1024, (unsigned long long)r->data_loss);
}

void print_table(FILE *to, const struct trace *t, const struct result *results, size_t nr)
{
	const struct heading *h = &results->heading;
	double all = (double)trace_extents_total(&t->ranges) * t->page_size / 1073741824.0;
	double free_memory = results->quality.free_gib_minutes;

	print_heading(to, t, h);
	fprintf(to,
		"%.0f %% of it wholly free at order %u%s; replay alone takes %.0f ns per event\n\n",
		t->duration_ns ? 100 * free_memory / ((double)t->duration_ns / 60e9) / all : 0,
		h->order,
		results->known ? "" :
		" (no snapshot: of blocks of which the trace has seen all pages)",
		results->replay_ns_per_event);
	if (!(free_memory > 0))
		fprintf(to,
			"no block of order %u was ever seen wholly free: try a smaller --order\n\n",
			h->order);
	fprintf(to, "%-11s %7s %6s %7s %6s %9s %5s %20s %22s %5s %7s %8s %7s %6s %5s\n", "",
		"hooks", "rep.er", "recall", "prec.", "resident", "peak", "free to report ms  ",
		"stalls        ", "", "", "", "", "meta", "data");
	fprintf(to,
		"%-11s %7s %6s %7s %6s %9s %5s %6s %7s %5s %5s %7s %8s %5s %7s %8s %7s %6s %5s\n",
		"tracker", "ns/ev", "ns/ev", "%", "%", "GiB*min", "MiB", "p50", "p99", "never",
		"nr", "p99 ms", "total ms", "canc.", "reports", "refaults", "dropped", "KiB",
		"loss");
	for (size_t i = 0; i < nr; i++)
		print_row(to, &results[i]);
	fputc('\n', to);
}

void print_switched(FILE *to, const struct trace *t, const struct switched *s)
{
	print_heading(to, t, &s->heading);
	fprintf(to, "replay alone takes %.0f ns per event\n\n", s->replay_ns_per_event);
	fprintf(to, "              hooks rep.er\n              ns/ev  ns/ev\n");
	for (int i = 0; i < 2; i++) {
		fprintf(to, "%-11s", s->tracker[i]->name);
		print_cost(to, &s->alone[i], s->tracker[i]);
		fputc('\n', to);
	}
	fprintf(to, "%-11s", "switching");
	print_cost(to, &s->cost, s->tracker[0]);
	if (s->cost.timed)
		fprintf(to, "   %u of %u switches while hooks ran\n", s->timed_times, s->times);
	else
		fputc('\n', to);
	fprintf(to, "\nWith memory touched and discarded: %u of %u switches while hooks ran\n",
		s->done, s->times);
	if (s->done)
		fprintf(to, "  fpt_switch() takes  median %.1f us, max %.1f us\n",
			s->median_ns / 1e3, s->max_ns / 1e3);
	fprintf(to, "  hints               %llu pages lost, %llu dropped\n"
		"  data loss           %llu pages\n\n", (unsigned long long)s->run.lost_hints,
		(unsigned long long)s->run.dropped, (unsigned long long)s->data_loss);
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

static json_t *cost_of(double ns, const struct cost *c)
{
	return number(ns, c->timed);
}

/* Who fails to make one value has no memory: then there is no text. */
static void set(json_t *object, const char *name, json_t *value)
{
	json_object_set_new(object, name, value);
}

static json_t *heading_json(const struct heading *h)
{
	json_t *j = json_object();

	set(j, "trace", json_string(h->trace));
	set(j, "order", count(h->order));
	set(j, "events", count(h->events));
	set(j, "hidden_events", count(h->hidden));
	set(j, "anomalies", count(trace_anomalies_total(&h->anomalies)));
	return j;
}

static json_t *result_json(const struct result *r)
{
	const struct sim_quality *q = &r->quality;
	bool free_memory = q->free_gib_minutes > 0;
	json_t *j = heading_json(&r->heading);

	set(j, "tracker", json_string(r->tracker->name));
	set(j, "policy", policy_json(r->tracker, &r->policy));
	set(j, "ns_per_event", cost_of(r->cost.hooks, &r->cost));
	set(j, "reporter_ns_per_event", cost_of(r->cost.reporter, &r->cost));
	set(j, "wait_ns_per_event", cost_of(r->cost.wait, &r->cost));
	set(j, "gib_minutes", number(q->gib_minutes, true));
	set(j, "peak_rss_bytes", count(q->peak_rss_bytes));
	set(j, "recall", number(q->recall, free_memory));
	set(j, "recall_of", json_string(r->known ? "all blocks" :
					"blocks of which the trace has seen all pages"));
	set(j, "precision", number(q->precision, q->precision >= 0));
	set(j, "free_to_report_ms",
	    json_pack("{s:o, s:o, s:o}", "p50",
		      number(q->free_to_report.p50_ms, q->free_to_report.count), "p99",
		      number(q->free_to_report.p99_ms, q->free_to_report.count), "censored",
		      count(q->censored)));
	set(j, "stall_ms",
	    json_pack("{s:o, s:o, s:o}", "count", count(q->stall.count), "p99",
		      number(q->stall.p99_ms, q->stall.count), "total",
		      number(q->stall.total_ms, true)));
	set(j, "cancelled", count(q->cancelled));
	set(j, "waited", count(q->waited));
	set(j, "reports", count(q->reports));
	set(j, "discard_calls", count(q->discard_calls));
	set(j, "discarded_ranges", count(q->discarded_ranges));
	set(j, "refaults", count(q->refaults));
	set(j, "dropped", count(q->dropped));
	set(j, "slow_events", count(q->slow));
	set(j, "metadata_bytes", count(q->metadata_bytes));
	set(j, "data_loss", count(r->data_loss));
	return j;
}

static json_t *switched_to_json(const struct switched *s)
{
	json_t *j = heading_json(&s->heading);

	set(j, "trackers", json_pack("[s, s]", s->tracker[0]->name, s->tracker[1]->name));
	set(j, "policy", policy_json(s->tracker[0], &s->policy));
	set(j, "ns_per_event",
	    json_pack("{s:[o, o], s:o}", "alone", cost_of(s->alone[0].hooks, &s->alone[0]),
		      cost_of(s->alone[1].hooks, &s->alone[1]), "switching",
		      cost_of(s->cost.hooks, &s->cost)));
	set(j, "reporter_ns_per_event",
	    json_pack("{s:[o, o], s:o}", "alone", cost_of(s->alone[0].reporter, &s->alone[0]),
		      cost_of(s->alone[1].reporter, &s->alone[1]), "switching",
		      cost_of(s->cost.reporter, &s->cost)));
	set(j, "switches", json_pack("{s:o, s:o, s:o}", "asked", count(s->times), "done",
				     count(s->done), "done_timed", count(s->timed_times)));
	set(j, "switch_us", json_pack("{s:o, s:o}", "median", number(s->median_ns / 1e3, s->done),
				      "max", number(s->max_ns / 1e3, s->done)));
	set(j, "lost_hints", count(s->run.lost_hints));
	set(j, "dropped", count(s->run.dropped));
	set(j, "data_loss", count(s->data_loss));
	return j;
}

/* Takes the array. */
static char *as_text(const char *name, json_t *array, size_t nr)
{
	bool whole = array && json_array_size(array) == nr;
	json_t *all = whole ? json_pack("{s:O}", name, array) : NULL;
	char *text = all ? json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;

	json_decref(all);
	json_decref(array);
	return text;
}

char *results_json(const struct result *results, size_t nr)
{
	json_t *array = json_array();

	for (size_t i = 0; i < nr; i++)
		json_array_append_new(array, result_json(&results[i]));
	return as_text("results", array, nr);
}

char *switched_json(const struct switched *switched, size_t nr)
{
	json_t *array = json_array();

	for (size_t i = 0; i < nr; i++)
		json_array_append_new(array, switched_to_json(&switched[i]));
	return as_text("switched", array, nr);
}
