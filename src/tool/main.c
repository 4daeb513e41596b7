/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* main.c - the fpt command: picks the subcommand */
#include "tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "record", cmd_record, "capture the page events of the running kernel into a trace" },
	{ "import", cmd_import, "turn ftrace text into a trace" },
	{ "generate", cmd_generate, "make up a trace that isolates one effect, from a seed" },
	{ "info", cmd_info, "say what is in a trace" },
	{ "compare", cmd_compare,
	  "replay traces through trackers and print what each costs and is worth" },
};

static const char *current = "";

void tool_error(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "fpt%s%s: ", *current ? " " : "", current);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

bool tool_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	/* strtoull takes blanks and signs, too. */
	return *text >= '0' && *text <= '9' && !*end && !errno && *out >= min && *out <= max;
}

int tool_parse_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	if (tool_number(text, min, max, out))
		return 0;
	tool_error("%s is '%s'; it takes a whole number from %llu to %llu", what, text,
		   (unsigned long long)min, (unsigned long long)max);
	return EINVAL;
}

bool tool_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && S_ISREG(x.st_mode) && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static error_t quietly(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->err_stream = NULL;
	state->child_inputs[0] = state->input;
	return 0;
}

int tool_parse(const struct argp *argp, int argc, char **argv, unsigned int flags, void *input)
{
	const struct argp_child children[] = { { argp, 0, NULL, 0 }, { 0 } };
	const struct argp outer = { .parser = quietly, .children = children };

	return argp_parse(&outer, argc, argv, flags, NULL, input);
}

static void usage(FILE *to)
{
	fputs("Usage: fpt COMMAND [ARGUMENT...]\n\n", to);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(to, "  %-8s  %s\n", commands[i].name, commands[i].what);
	fputs("\n'fpt COMMAND --help' lists a command's options.\n", to);
}

int main(int argc, char **argv)
{
	static char name[32];

	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_OK;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		current = commands[i].name;
		record_remove_stale();
		/* What getopt and argp begin their lines with. */
		snprintf(name, sizeof(name), "fpt %s", current);
		argv[1] = name;
		return commands[i].run(argc - 1, argv + 1);
	}
	tool_error("unknown command '%s'; 'fpt --help' lists the commands", argv[1]);
	return EXIT_USAGE;
}
