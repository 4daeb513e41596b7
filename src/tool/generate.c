/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* generate.c - fpt generate: a synthetic trace that isolates one effect */
#include "tool.h"

#include "trace/generate.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPTIONS 32

enum {
	OPT_SEED = 1, OPT_CPUS, OPT_MEMORY, OPT_SECONDS, OPT_RATE, OPT_OCCUPANCY, OPT_ORDERS,
	OPT_BLIND_SPOTS,
};

struct options {
	const char *output;
	struct generate_config config;
};

static const struct argp_option settings[] = {
	{ "output", 'o', "FILE", 0,
	  "Write the trace to FILE, replacing what is there (required)", 0 },
	{ "seed", OPT_SEED, "N", 0,
	  "The same seed and options give the same trace (default: 1)", 0 },
	{ "cpus", OPT_CPUS, "N", 0, "Of the machine (default: 2)", 0 },
	{ "memory", OPT_MEMORY, "MIB", 0,
	  "Of the machine; at least 16, and 1 per CPU (default: 256)", 0 },
	{ "seconds", OPT_SECONDS, "N", 0,
	  "How long it takes, in the trace's time (default: 20)", 0 },
	{ "rate", OPT_RATE, "EVENTS", 0,
	  "Per second, on all CPUs together; of ramp and fragmentation while they take or release "
	  "(default: 20000)", 0 },
	{ "occupancy", OPT_OCCUPANCY, "PERCENT", 0,
	  "Of memory, that is held: by churn, by ramp and fragmentation at their peak, at most "
	  "between crosscpu's CPUs (1 to 95; default: 50)", 0 },
	{ "orders", OPT_ORDERS, "SHARE", 0,
	  "Of allocations, 0 to 1: of order 1 to 3, in ramp of order 9, huge pages (default: 0)",
	  0 },
	{ "blind-spots", OPT_BLIND_SPOTS, "SHARE", 0,
	  "Of allocations, 0 to 1: bulks that no hook sees, as kernel tracepoints do not, though "
	  "their frees are seen. The trace keeps them, marked; the history is the same for every "
	  "SHARE (default: 0)", 0 },
	{ NULL, 0, NULL, 0, "Workloads:", 1 },
	{ 0 }
};

static const char argp_doc[] =
	"Make up a trace from a seed, so that what a tracker does can be shown on an input that "
	"isolates one effect. The same command gives the same trace on every machine.";

static int parse_u32(const char *what, const char *text, uint32_t min, uint32_t max, uint32_t *out)
{
	uint64_t n;

	if (tool_parse_number(what, text, min, max, &n))
		return EINVAL;
	*out = (uint32_t)n;
	return 0;
}

/* Decimal, and exactly: what a processor makes of fractions has no say in what comes out. */
static int parse_share(const char *what, const char *text, uint32_t *ppm)
{
	const char *at = text;
	uint32_t unit = GENERATE_PPM, v = 0;

	if (*at == '0' || *at == '1')
		v = (uint32_t)(*at++ - '0') * GENERATE_PPM;
	if (at > text && *at == '.')
		for (at++; unit > 1 && *at >= '0' && *at <= '9'; at++) {
			unit /= 10;
			v += (uint32_t)(*at - '0') * unit;
		}
	if (at > text && !*at && v <= GENERATE_PPM) {
		*ppm = v;
		return 0;
	}
	tool_error("%s is '%s'; it takes a share from 0 to 1, as 0.05, with at most six decimals",
		   what, text);
	return EINVAL;
}

static int parse_workload(struct options *o, const char *name)
{
	if (o->config.workload) {
		tool_error("'%s' is one WORKLOAD too many; give one", name);
		return EINVAL;
	}
	o->config.workload = generate_workload_find(name);
	if (o->config.workload)
		return 0;
	tool_error("unknown workload '%s'; 'fpt generate --help' lists them", name);
	return EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	struct generate_config *c = &o->config;

	switch (key) {
	case 'o':
		o->output = arg;
		return 0;
	case OPT_SEED:
		return tool_parse_number("--seed", arg, 0, UINT64_MAX, &c->seed);
	case OPT_CPUS:
		return parse_u32("--cpus", arg, 1, TRACE_MAX_CPUS, &c->cpus);
	case OPT_MEMORY:
		return parse_u32("--memory", arg, GENERATE_MIN_MIB, GENERATE_MAX_MIB,
				 &c->memory_mib);
	case OPT_SECONDS:
		return parse_u32("--seconds", arg, 1, GENERATE_MAX_SECONDS, &c->seconds);
	case OPT_RATE:
		return parse_u32("--rate", arg, 1, GENERATE_MAX_RATE, &c->rate);
	case OPT_OCCUPANCY:
		return parse_u32("--occupancy", arg, 1, GENERATE_MAX_OCCUPANCY, &c->occupancy);
	case OPT_ORDERS:
		return parse_share("--orders", arg, &c->orders_ppm);
	case OPT_BLIND_SPOTS:
		return parse_share("--blind-spots", arg, &c->hidden_ppm);
	case ARGP_KEY_ARG:
		return parse_workload(o, arg);
	case ARGP_KEY_END:
		if (!c->workload)
			tool_error("WORKLOAD is missing; 'fpt generate --help' lists them");
		else if (!o->output)
			tool_error("-o FILE is missing; say where to write the trace");
		return c->workload && o->output ? 0 : EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The workloads are described where they are made. */
static void list_workloads(struct argp_option *options)
{
	const struct generate_workload *w = generate_workloads;
	size_t n = sizeof(settings) / sizeof(settings[0]) - 1;

	memcpy(options, settings, sizeof(settings));
	for (; w->name && n < MAX_OPTIONS - 1; w++)
		options[n++] = (struct argp_option){
			w->name, 0, NULL, OPTION_DOC | OPTION_NO_USAGE, w->isolates, 1
		};
	options[n] = (struct argp_option){ 0 };
}

int cmd_generate(int argc, char **argv)
{
	struct argp_option options[MAX_OPTIONS];
	const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "WORKLOAD",
		.doc = argp_doc,
	};
	struct options o = { .config = generate_defaults };
	struct trace_error err = { .text = "" };
	struct trace t;
	int ret = EXIT_OK;

	argp_err_exit_status = EXIT_USAGE;
	list_workloads(options);
	if (tool_parse(&argp, argc, argv, 0, &o))
		return EXIT_USAGE;
	trace_init(&t);
	if (trace_generate(&t, &o.config, &err) || trace_save(&t, o.output, &err)) {
		tool_error("%s", err.text);
		ret = EXIT_FAILED;
	}
	trace_destroy(&t);
	return ret;
}
