/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * replay.c - a fuzz target's main() without a fuzzer: runs inputs that are there already
 *
 *	replay FILE|DIRECTORY...	directories: every file in them, sorted by name
 *	replay --random SEED COUNT	COUNT inputs of random bytes, the same for the same SEED
 *
 * A target that finds something ends the program, so that the last line names the input.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RANDOM_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long nr_run;

/* A copy of its own: one byte too far is for the sanitizers to see. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = (uint8_t *)malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	nr_run++;
}

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t size = 0, got;

	if (!f) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		return 1;
	}
	do {
		uint8_t *more = (uint8_t *)realloc(data, size + 65536);

		if (!more)
			abort();
		data = more;
		got = fread(data + size, 1, 65536, f);
		size += got;
	} while (got);
	if (ferror(f)) {
		fprintf(stderr, "replay: %s: cannot be read\n", path);
		fclose(f);
		free(data);
		return 1;
	}
	fclose(f);
	printf("%s\n", path);
	fflush(stdout);
	run(data, size);
	free(data);
	return 0;
}

static int run_path(const char *path)
{
	struct dirent **entries;
	struct stat st;
	int n, i, failed = 0;

	if (stat(path, &st)) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		return 1;
	}
	if (!S_ISDIR(st.st_mode))
		return run_file(path);
	n = scandir(path, &entries, NULL, alphasort);
	if (n < 0) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		return 1;
	}
	for (i = 0; i < n; i++) {
		char *inner = (char *)malloc(strlen(path) + strlen(entries[i]->d_name) + 2);

		if (!inner)
			abort();
		sprintf(inner, "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			failed |= run_path(inner);
		free(inner);
		free(entries[i]);
	}
	free(entries);
	return failed;
}

static void run_random(uint64_t seed, unsigned long count)
{
	static uint8_t data[RANDOM_MAX];

	for (; nr_run < count; seed++) {
		uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
		size_t size, i;

		printf("--random %llu 1\n", (unsigned long long)seed);
		fflush(stdout);
		for (i = 0; i < RANDOM_MAX; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			data[i] = (uint8_t)(x >> 32);
		}
		size = (size_t)(x >> 40) % RANDOM_MAX;
		run(data, size);
	}
}

int main(int argc, char **argv)
{
	int i, failed = 0;

	if (argc == 4 && !strcmp(argv[1], "--random")) {
		run_random(strtoull(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
		return 0;
	}
	if (argc < 2) {
		fprintf(stderr, "usage: replay FILE|DIRECTORY...\n"
				"       replay --random SEED COUNT\n");
		return 2;
	}
	for (i = 1; i < argc; i++)
		failed |= run_path(argv[i]);
	if (!nr_run) {
		fprintf(stderr, "replay: no inputs\n");
		return 1;
	}
	printf("%lu inputs\n", nr_run);
	return failed;
}
