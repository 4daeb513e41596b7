/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * import.c - fpt import: ftrace text into a trace
 *
 * The file holds the events as they were recorded; what is wrong with them is only reported.
 */
#include "tool.h"

#include "trace/trace.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_PAGE_SIZE = 1, OPT_CPUS, OPT_SOURCE, OPT_STRICT };

struct options {
	const char *input;
	const char *output;
	const char *source;
	uint32_t page_size;
	uint32_t cpus;			/* 0: not given */
	bool strict;
};

static const struct argp_option argp_options[] = {
	{ "output", 'o', "FILE", 0, "Write the trace to FILE, replacing what is there (required)",
	  0 },
	{ "page-size", OPT_PAGE_SIZE, "BYTES", 0, "Of the machine (default: 4096)", 0 },
	{ "cpus", OPT_CPUS, "N", 0,
	  "Of the machine (default: what the text's header says, or the highest CPU seen)", 0 },
	{ "source", OPT_SOURCE, "TEXT", 0,
	  "What the trace says of its origin (default: the name of INPUT)", 0 },
	{ "strict", OPT_STRICT, NULL, 0, "Any anomaly is an error, and nothing is written", 0 },
	{ 0 }
};

static const char argp_doc[] =
	"Turn ftrace text into a trace: /sys/kernel/tracing/trace, what 'trace-cmd report' or "
	"'perf script' print, plain or compressed with gzip or zstd. The events wanted are "
	"mm_page_alloc and mm_page_free; other lines are left out. INPUT defaults to '-', "
	"standard input.";

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	uint64_t n;

	switch (key) {
	case 'o':
		o->output = arg;
		return 0;
	case OPT_PAGE_SIZE:
		if (!tool_number(arg, 1, 1ul << 31, &n) || n & (n - 1)) {
			tool_error("--page-size %s: give a power of two, in bytes", arg);
			return EINVAL;
		}
		o->page_size = (uint32_t)n;
		return 0;
	case OPT_CPUS:
		if (!tool_number(arg, 1, TRACE_MAX_CPUS, &n)) {
			tool_error("--cpus %s: give a number from 1 to %u", arg, TRACE_MAX_CPUS);
			return EINVAL;
		}
		o->cpus = (uint32_t)n;
		return 0;
	case OPT_SOURCE:
		o->source = arg;
		return 0;
	case OPT_STRICT:
		o->strict = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num) {
			tool_error("'%s' is one INPUT too many; give one", arg);
			return EINVAL;
		}
		o->input = arg;
		return 0;
	case ARGP_KEY_END:
		if (!o->output) {
			tool_error("-o FILE is missing; say where to write the trace");
			return EINVAL;
		}
		if (tool_same_file(o->output, o->input)) {
			tool_error("-o %s is the input; name another file", o->output);
			return EINVAL;
		}
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int set_cpus(struct trace *t, const struct options *o)
{
	if (o->cpus && o->cpus < t->nr_cpus) {
		tool_error("%s: names %u CPUs, --cpus %u; give at least as many", o->input,
			   t->nr_cpus, o->cpus);
		return -1;
	}
	if (o->cpus)
		t->nr_cpus = o->cpus;
	return 0;
}

static int set_source(struct trace *t, const struct options *o)
{
	const char *input = strcmp(o->input, "-") ? o->input : "standard input";

	if (o->source)
		t->source = strdup(o->source);
	else if (asprintf(&t->source, "imported from %s", input) < 0)
		t->source = NULL;
	if (!t->source)
		tool_error("no memory");
	return t->source ? 0 : -1;
}

static void summary(const struct trace *t, const struct trace_anomalies *a, uint64_t skipped)
{
	char text[256];

	trace_anomalies_print(a, text, sizeof(text));
	if (trace_anomalies_total(a) || t->lost || skipped)
		fprintf(stderr, "fpt import: %zu events; anomalies: %s; %llu events lost; "
			"%llu other lines skipped\n", t->nr_events, text,
			(unsigned long long)t->lost, (unsigned long long)skipped);
}

static int import(struct trace *t, const struct options *o)
{
	struct trace_error err = { .text = "" };
	struct trace_anomalies a;
	uint64_t skipped = 0;
	char text[256];

	if (trace_import_text(t, o->input, o->page_size, &skipped, &err)) {
		tool_error("%s", err.text);
		return EXIT_FAILED;
	}
	if (set_cpus(t, o) || set_source(t, o))
		return EXIT_FAILED;
	if (trace_check(t, &a, &err)) {
		tool_error("%s", err.text);
		return EXIT_FAILED;
	}
	if (o->strict && trace_anomalies_total(&a)) {
		trace_anomalies_print(&a, text, sizeof(text));
		tool_error("%s: anomalies: %s; nothing was written, import it without --strict",
			   o->input, text);
		return EXIT_FAILED;
	}
	if (trace_save(t, o->output, &err)) {
		tool_error("%s", err.text);
		return EXIT_FAILED;
	}
	summary(t, &a, skipped);
	return EXIT_OK;
}

int cmd_import(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.args_doc = "[INPUT]",
		.doc = argp_doc,
	};
	struct options o = { .input = "-" };
	struct trace t;
	int ret;

	if (tool_parse(&argp, argc, argv, 0, &o))
		return EXIT_USAGE;
	trace_init(&t);
	ret = import(&t, &o);
	trace_destroy(&t);
	return ret;
}
