/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* fuzz_trace_text.c - trace_import_text() on hostile text, plain and compressed */
#include "trace/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/* What was imported keeps the promises of trace.h. */
static void use(struct trace *t)
{
	struct trace_anomalies a = { 0 };
	struct trace_error err;
	uint64_t pages = 0;

	for (size_t i = 0; i < t->nr_events; i++) {
		const struct trace_event *e = &t->events[i];
		uint64_t page;

		pages += UINT64_C(1) << e->order;
		check(e->cpu < t->nr_cpus && e->ns <= t->duration_ns, "CPU or time");
		check(trace_page(t, e->pfn, &page), "first page in no range");
		check(trace_page(t, e->pfn + (UINT64_C(1) << e->order) - 1, &page),
		      "last page in no range");
	}
	if (pages > 1 << 24)
		return;
	check(!trace_normalise(t, &a, &err), err.text);
	check(!a.outside, "pages outside");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace_error err = { .text = "" };
	struct trace t;
	uint64_t skipped;
	char path[32];
	int fd = memfd_create("fuzz", 0);

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size, "memfd");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	trace_init(&t);
	if (!trace_import_text(&t, path, 0, &skipped, &err))
		use(&t);
	else
		check(*err.text && !t.events && !t.ranges.v, "no error, or something is left");
	trace_destroy(&t);
	close(fd);
	return 0;
}
