/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fuzz_trace_file.c - trace_load() on hostile files
 *
 * No fuzzer finds the checksum of a compressed frame. So an input that does not start as a file
 * does is taken for the contents, which this compresses; and where it does not start with a header,
 * it gets one.
 */
#include "trace/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#define HEADER	"{\"page_size\":4096,\"cpus\":8,\"has_snapshot\":true,\"source\":\"\"}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void put(int fd, const void *data, size_t size)
{
	check(write(fd, data, size) == (ssize_t)size, "memfd");
}

static void put_contents(int fd, const uint8_t *data, size_t size)
{
	const size_t header = *data == 'H' ? 0 : 9 + strlen(HEADER);
	const size_t bound = ZSTD_compressBound(header + size);
	uint8_t *contents = malloc(header + size), *out = malloc(bound);
	ZSTD_CCtx *z = ZSTD_createCCtx();

	check(contents && out && z, "memory");
	if (header) {
		memset(contents, 0, 9);
		contents[0] = 'H';
		contents[1] = sizeof(HEADER) - 1;
		memcpy(contents + 9, HEADER, strlen(HEADER));
	}
	memcpy(contents + header, data, size);
	ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, 1);
	ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
	put(fd, "FPTTRACE\1\0\0", 12);
	put(fd, out, ZSTD_compress2(z, out, bound, contents, header + size));
	ZSTD_freeCCtx(z);
	free(contents);
	free(out);
}

/*
 * A trace that was loaded can be saved (some are: it takes a hundred times longer than all else)
 * and, if it is not too much work, normalised.
 */
static void use(struct trace *t, bool save)
{
	struct trace_anomalies a, again;
	struct trace_error err;
	uint64_t pages = 0;

	if (save)
		check(!trace_save(t, "/dev/null", &err), "loaded, but cannot be saved");
	for (size_t i = 0; i < t->nr_events; i++)
		pages += UINT64_C(1) << t->events[i].order;
	if (pages > 1 << 24 || trace_extents_total(&t->ranges) > 1 << 24)
		return;
	check(!trace_normalise(t, &a, &err), err.text);
	check(!trace_normalise(t, &again, &err), err.text);
	check(!memcmp(&a, &again, sizeof(a)), "normalised twice, not the same");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace_error err = { .text = "" };
	struct trace t;
	char path[32];
	int fd = memfd_create("fuzz", 0);

	check(fd >= 0, "memfd");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!size || (size >= 8 && !memcmp(data, "FPTTRACE", 8)))
		put(fd, data, size);
	else
		put_contents(fd, data, size);
	trace_init(&t);
	if (!trace_load(&t, path, &err))
		use(&t, size % 64 == 0);
	else
		check(*err.text && !t.events && !t.source, "no error, or something is left");
	trace_destroy(&t);
	close(fd);
	return 0;
}
