/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tool.h - what the subcommands of fpt share
 *
 * Each subcommand parses its own arguments with argp (glibc) and returns the exit status:
 * EXIT_OK, EXIT_FAILED (it could not be done; one line on standard error said why) or EXIT_USAGE
 * (the command line was wrong).
 */
#ifndef FPT_TOOL_H
#define FPT_TOOL_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_record(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_generate(int argc, char **argv);

/*
 * argp_parse(), but only one line about a wrong command line: getopt's, or the parser's own.
 * input goes to the parser. 0, or an error: EXIT_USAGE.
 */
int tool_parse(const struct argp *argp, int argc, char **argv, unsigned int flags, void *input);

/* One line on standard error, "fpt NAME: text". */
void tool_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The whole of text is a decimal number from min to max. */
bool tool_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/*
 * The same as argp's parsers want it: 0, or EINVAL after a line that says what takes which
 * numbers.
 */
int tool_parse_number(const char *what, const char *text, uint64_t min, uint64_t max,
		      uint64_t *out);

/* Do both names lead to the same file? False when there is none by one of them. */
bool tool_same_file(const char *a, const char *b);

/*
 * Remove what an earlier fpt left behind when it was killed outright (its tracefs instance). Quiet
 * when there is nothing to do or no permission. Called by every subcommand's start.
 */
void record_remove_stale(void);

#endif
