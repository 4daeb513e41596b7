/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * main.c - fpt-bench: all benchmarks in one program; --benchmark_filter picks some
 */
#include "bench.h"
#include "hook.h"
#include "plugin.h"

#include <fpt/compat/compat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: fpt-bench [OPTION...]\n"
	"  --peer FILE.so       one more peer for hook/..., see bench/peer.h; any number of times\n"
	"  --trace FILE         what hook/*/trace replays (default: " BENCH_TRACE ")\n"
	"  --oversubscribe N    threads up to N times the CPUs, too, 2 to 64; marked as such\n"
	"  --normal-priority    never a real-time priority\n"
	"and Google Benchmark's:\n";

static const struct {
	const char *name;
	void (*benchmarks)(void);
} files[] = {
	{ "prim", bench_prim },
	{ "trackers", bench_trackers },
	{ "flat", bench_flat },
	{ "field", bench_field },
	{ "push", bench_pushes },
#ifdef BENCH_CK
	{ "ck", bench_ck },
#endif
#ifdef BENCH_URCU
	{ "urcu", bench_urcu },
#endif
#ifdef BENCH_ROARING
	{ "roaring", bench_roaring },
#endif
	{ "fold", bench_fold },
	{ "claim", bench_claim },
	{ "drain", bench_drain },
	{ "switch", bench_switch },
	{ "memory", bench_memory_sizes },
};

/* The value of option argv[*i], in it or behind it; NULL: it is another option. */
static char *value_of(const char *option, int argc, char **argv, int *i)
{
	size_t length = strlen(option);

	if (strncmp(argv[*i], option, length))
		return NULL;
	if (argv[*i][length] == '=')
		return argv[*i] + length + 1;
	if (argv[*i][length])
		return NULL;
	if (*i + 1 < argc)
		return argv[++*i];
	fprintf(stderr, "fpt-bench: %s: a value is missing\n", option);
	exit(1);
}

struct options {
	const char *trace;
	const struct bench_peer *plugin[16];
	unsigned int nr_plugins;
};

/* Takes its options out of argv; exits with 1 when one makes no sense. */
static void parse(struct options *o, int *argc, char **argv)
{
	int i, left = 1;
	char *value, *end;

	for (i = 1; i < *argc; i++) {
		if ((value = value_of("--peer", *argc, argv, &i))) {
			if (o->nr_plugins == sizeof(o->plugin) / sizeof(o->plugin[0])) {
				fprintf(stderr, "fpt-bench: --peer %s: too many\n", value);
				exit(1);
			}
			o->plugin[o->nr_plugins] = bench_plugin(value);
			if (!o->plugin[o->nr_plugins++])
				exit(1);
		} else if ((value = value_of("--trace", *argc, argv, &i))) {
			o->trace = value;
		} else if ((value = value_of("--oversubscribe", *argc, argv, &i))) {
			unsigned long n = strtoul(value, &end, 10);

			if (*end || n < 2 || n > 64) {
				fprintf(stderr, "fpt-bench: --oversubscribe %s: not 2 to 64\n",
					value);
				exit(1);
			}
			bench_oversubscribe((unsigned int)n);
		} else if (!strcmp(argv[i], "--normal-priority")) {
			bench_normal_priority();
		} else {
			if (!strcmp(argv[i], "--help"))
				fputs(usage, stdout);
			argv[left++] = argv[i];
		}
	}
	*argc = left;
	argv[left] = NULL;
}

int main(int argc, char **argv)
{
	struct options o = { NULL, { NULL }, 0 };
	char peers[256] = "";
	size_t i;

	parse(&o, &argc, argv);
	if (!bench_trace(o.trace ? o.trace : BENCH_TRACE, o.trace))
		return 1;
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		files[i].benchmarks();
		strcat(strcat(peers, i ? " " : ""), files[i].name);
	}
	for (i = 0; i < o.nr_plugins; i++) {
		if (bench_hook_known(o.plugin[i]->name)) {
			fprintf(stderr, "fpt-bench: --peer: there is a peer %s\n",
				o.plugin[i]->name);
			return 1;
		}
		bench_hook(o.plugin[i]);
	}
	bench_context("benchmarks", peers);
	bench_context("sections", fpt_sections() ? "yes" : "no");
	bench_context("trace", o.trace ? o.trace : BENCH_TRACE);
	return bench_main(argc, argv);
}
