/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * text.c - ftrace text into a trace
 *
 * The lines of the three tools have the same heart:
 *
 *	/sys/kernel/tracing/trace   sh-12  [003] d..1.  12.345678: mm_page_free: page=.. pfn=0x1f ..
 *	trace-cmd report            sh-12  [003]   12.345678: mm_page_free:     page=.. pfn=0x1f ..
 *	perf script                 sh  12 [003]   12.345678: kmem:mm_page_free: page=.. pfn=0x1f ..
 *
 * so what stands before "[CPU]" is not looked at. It holds the task's name, and that can be
 * anything, also "[000] 1.5: x:", but not longer than TASK_NAME_MAX.
 */
#include "trace/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define TASK_NAME_MAX	15
#define LINES_BYTES	(1u << 20)	/* also the longest line */
#define AREA_SHIFT	10		/* of the ranges */
#define AREAS_CACHED	4096u

/* Input: bytes, decompressed if need be */

enum packing { PLAIN, GZIP, ZSTD };

struct input {
	const char *name;
	struct trace_error *err;
	int fd;
	enum packing packing;
	bool inside;			/* a gzip member or zstd frame that has not ended */
	z_stream gzip;
	ZSTD_DStream *zstd;
	size_t at;
	size_t end;
	uint8_t raw[1u << 17];
};

/* Make sure of raw bytes, at least MIN if the input has them. 1, or 0 at its end, or -1. */
static int fill(struct input *in, size_t min)
{
	if (in->at < in->end)
		return 1;
	in->at = in->end = 0;
	while (in->end < min) {
		ssize_t n = read(in->fd, in->raw + in->end, sizeof(in->raw) - in->end);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return trace_fail(in->err, "cannot read %s: %s", in->name, strerror(errno));
		if (!n)
			break;
		in->end += (size_t)n;
	}
	return in->end > 0;
}

static int broken(const struct input *in, const char *what)
{
	return trace_fail(in->err, "%s: its compression is corrupt: %s; copy it again", in->name,
			  what ? what : "unknown data");
}

static ssize_t step_gzip(struct input *in, char *to, size_t size)
{
	int ret;

	if (!in->inside)
		inflateReset(&in->gzip);
	in->gzip.next_in = in->raw + in->at;
	in->gzip.avail_in = (unsigned int)(in->end - in->at);
	in->gzip.next_out = (unsigned char *)to;
	in->gzip.avail_out = (unsigned int)size;
	ret = inflate(&in->gzip, Z_NO_FLUSH);
	if (ret != Z_OK && ret != Z_STREAM_END && ret != Z_BUF_ERROR)
		return broken(in, in->gzip.msg);
	in->inside = ret != Z_STREAM_END;
	in->at = in->end - in->gzip.avail_in;
	return (ssize_t)(size - in->gzip.avail_out);
}

static ssize_t step_zstd(struct input *in, char *to, size_t size)
{
	ZSTD_inBuffer from = { in->raw, in->end, in->at };
	ZSTD_outBuffer out = { to, size, 0 };
	size_t ret = ZSTD_decompressStream(in->zstd, &out, &from);

	if (ZSTD_isError(ret))
		return broken(in, ZSTD_getErrorName(ret));
	in->inside = ret != 0;
	in->at = from.pos;
	return (ssize_t)out.pos;
}

static ssize_t read_packed(struct input *in, char *to, size_t size)
{
	ssize_t n;
	int more;

	do {
		more = fill(in, 1);
		if (more < 0)
			return -1;
		/* Zeros may follow: the padding of what was written to a raw device. */
		if (!in->inside && (!more || !in->raw[in->at]))
			return 0;
		n = in->packing == GZIP ? step_gzip(in, to, size) : step_zstd(in, to, size);
		if (n < 0)
			return -1;
	} while (!n && more);
	if (!n && in->inside)
		return trace_fail(in->err, "%s: truncated: its compressed text ends too early; "
				  "copy it again", in->name);
	return n;
}

static ssize_t read_plain(struct input *in, char *to, size_t size)
{
	int more = fill(in, 1);
	size_t n = in->end - in->at;

	if (more <= 0)
		return more;
	if (n > size)
		n = size;
	memcpy(to, in->raw + in->at, n);
	in->at += n;
	return (ssize_t)n;
}

static int input_open(struct input *in, const char *path)
{
	in->fd = STDIN_FILENO;
	if (strcmp(path, "-"))
		in->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (in->fd < 0)
		return trace_fail(in->err, "cannot open %s: %s", path, strerror(errno));
	if (fill(in, 4) < 0)
		return -1;
	if (in->end >= 2 && in->raw[0] == 0x1f && in->raw[1] == 0x8b) {
		in->packing = GZIP;
		in->inside = true;
		if (inflateInit2(&in->gzip, 16 + MAX_WBITS) != Z_OK)
			return trace_fail(in->err, "no memory");
	} else if (in->end >= 4 && !memcmp(in->raw, "\x28\xb5\x2f\xfd", 4)) {
		in->packing = ZSTD;
		in->inside = true;
		in->zstd = ZSTD_createDStream();
		if (!in->zstd)
			return trace_fail(in->err, "no memory");
	}
	return 0;
}

static void input_close(struct input *in)
{
	if (in->packing == GZIP)
		inflateEnd(&in->gzip);
	ZSTD_freeDStream(in->zstd);
	if (in->fd > STDIN_FILENO)
		close(in->fd);
}

/* The import: lines, and what is found in them */

struct import {
	struct input in;
	struct trace *t;
	struct trace_error *err;
	uint64_t number;		/* of the line, from 1 */
	uint64_t skipped;
	uint64_t seen;			/* lines with a page event, of whatever kind */
	uint64_t lost;			/* in lines that say so where it happened */
	uint64_t overwritten;		/* in the header; may count the same ones */
	uint64_t cpus;
	uint64_t first_ns;
	uint64_t last_ns;
	char beginning[64];		/* of the first line that is not empty */
	uint64_t areas[AREAS_CACHED];	/* some that were added, plus 1: most events hit one */
	size_t at;
	size_t end;
	char lines[LINES_BYTES + 1];
};

/* 1 and a line, or 0 at the end, or -1. */
static int next_line(struct import *im, char **line)
{
	size_t searched = im->at;

	for (;;) {
		char *newline = memchr(im->lines + searched, '\n', im->end - searched);
		ssize_t n;

		if (newline) {
			*line = im->lines + im->at;
			*newline = 0;
			im->at = (size_t)(newline - im->lines) + 1;
			break;
		}
		memmove(im->lines, im->lines + im->at, im->end - im->at);
		im->end -= im->at;
		im->at = 0;
		searched = im->end;
		if (im->end == LINES_BYTES)
			return trace_fail(im->err, "%s: line %llu is longer than 1 MiB; give it "
					  "ftrace text", im->in.name,
					  (unsigned long long)im->number + 1);
		n = im->in.packing == PLAIN ?
			read_plain(&im->in, im->lines + im->end, LINES_BYTES - im->end) :
			read_packed(&im->in, im->lines + im->end, LINES_BYTES - im->end);
		if (n < 0)
			return -1;
		if (!n && !im->end)
			return 0;
		if (!n)
			im->lines[im->end++] = '\n';
		im->end += (size_t)n;
	}
	im->number++;
	return 1;
}

/* Consumes all digits; false when there are none or they exceed 64 bits. */
static bool number(const char **at, unsigned int base, uint64_t *v)
{
	const char *p = *at;
	bool fits = true;

	*v = 0;
	for (;; p++) {
		unsigned int digit = (unsigned int)(*p - '0');

		if (digit > 9 && base == 16)
			digit = *p >= 'a' && *p <= 'f' ? (unsigned int)(*p - 'a') + 10 : 16;
		if (digit >= base)
			break;
		fits = fits && !__builtin_mul_overflow(*v, base, v) &&
			!__builtin_add_overflow(*v, digit, v);
	}
	fits = fits && p > *at;
	*at = p;
	return fits;
}

static const char *skip_spaces(const char *p)
{
	while (*p == ' ' || *p == '\t' || *p == '\r')
		p++;
	return p;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

enum event { ALLOC, FREE, FREE_BATCHED, OTHER };

struct header {
	uint64_t cpu;			/* UINT64_MAX: does not fit */
	uint64_t ns;			/* likewise */
	enum event event;
	const char *fields;
};

/* "12.345678:", "12.345678901:" or "12345678901:" */
static bool match_time(const char **at, uint64_t *ns)
{
	const char *p = *at, *point;
	uint64_t fraction;
	bool fits;

	if (!is_digit(*p))
		return false;
	fits = number(&p, 10, ns);
	if (*p == '.') {
		point = p++;
		number(&p, 10, &fraction);
		if (p == point + 1 || p > point + 10)
			return false;
		for (const char *digits = p; digits < point + 10; digits++)
			fraction *= 10;
		fits = fits && !__builtin_mul_overflow(*ns, UINT64_C(1000000000), ns) &&
			!__builtin_add_overflow(*ns, fraction, ns);
	}
	if (*p != ':')
		return false;
	*at = p + 1;
	if (!fits || *ns > INT64_MAX)
		*ns = UINT64_MAX;
	return true;
}

static bool match_name(const char **at, enum event *event)
{
	static const struct {
		const char *name;
		enum event event;
	} names[] = {
		{ "mm_page_alloc:", ALLOC },
		{ "mm_page_free:", FREE },
		{ "mm_page_free_batched:", FREE_BATCHED },
	};
	const char *p = *at + (strncmp(*at, "kmem:", 5) ? 0 : 5), *start = p;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(p, names[i].name, strlen(names[i].name)))
			continue;
		*at = p + strlen(names[i].name);
		*event = names[i].event;
		return true;
	}
	while (*p == '_' || is_digit(*p) || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'))
		p++;
	*event = OTHER;
	*at = p + 1;
	return *p == ':' && p > start;
}

/* "[003] d..1. 12.345678: name:"; flags may be missing; perf may print a period before the name. */
static bool match_header(const char *p, struct header *h)
{
	if (!is_digit(*++p))
		return false;
	if (!number(&p, 10, &h->cpu))
		h->cpu = UINT64_MAX;
	if (*p++ != ']')
		return false;
	p = skip_spaces(p);
	if (!match_time(&p, &h->ns)) {
		p = skip_spaces(p + strcspn(p, " \t"));
		if (!match_time(&p, &h->ns))
			return false;
	}
	p = skip_spaces(p);
	if (is_digit(*p))
		p = skip_spaces(p + strcspn(p, " \t"));
	if (!match_name(&p, &h->event))
		return false;
	h->fields = p;
	return true;
}

static bool find_header(const char *line, struct header *h)
{
	const char *name = skip_spaces(line);

	for (const char *p = strchr(name, '['); p; p = strchr(p + 1, '['))
		if (match_header(p, h) && h->fields > name + TASK_NAME_MAX)
			return true;
	return false;
}

/* A line of an event, for quoting: printable, and not all of it. */
static void quote(const char *line, char *to, size_t size)
{
	size_t i = 0;

	for (; line[i] && i < size - 1; i++)
		to[i] = line[i] >= ' ' && line[i] <= '~' ? line[i] : '?';
	if (line[i])
		memcpy(to + i - 3, "...", 3);
	to[i] = 0;
}

static int bad_line(const struct import *im, const char *what, const char *line)
{
	char text[80];

	quote(skip_spaces(line), text, sizeof(text));
	return trace_fail(im->err, "%s: line %llu: %s: '%s'; correct or remove it", im->in.name,
			  (unsigned long long)im->number, what, text);
}

/* "0x1f" or "31", as a whole word, after KEY; key starts with a space. */
static bool field(const char *fields, const char *key, uint64_t *v)
{
	const char *p = strstr(fields, key);
	unsigned int base = 10;

	if (!p)
		return false;
	p += strlen(key);
	if (p[0] == '0' && p[1] == 'x') {
		base = 16;
		p += 2;
	}
	return number(&p, base, v) && (!*p || *p == ' ' || *p == '\r');
}

/* "page=(nil)", "page=          (null)", "page=0000000000000000" or "page=0x0" */
static bool page_is_null(const char *fields)
{
	const char *p = strstr(fields, " page=");

	if (!p)
		return false;
	p = skip_spaces(p + strlen(" page="));
	if (!strncmp(p, "(nil)", 5) || !strncmp(p, "(null)", 6))
		return true;
	if (p[0] == '0' && p[1] == 'x')
		p += 2;
	return *p == '0' && p[strspn(p, "0")] == ' ';
}

static int add_area(struct import *im, const struct trace_event *e)
{
	uint64_t area = e->pfn >> AREA_SHIFT;
	const uint64_t last = (e->pfn + (UINT64_C(1) << e->order) - 1) >> AREA_SHIFT;

	for (; area <= last; area++) {
		uint64_t *cached = &im->areas[area % AREAS_CACHED];

		if (*cached == area + 1)
			continue;
		*cached = area + 1;
		if (trace_extents_add(&im->t->ranges, area << AREA_SHIFT, 1u << AREA_SHIFT))
			return trace_fail(im->err, "no memory");
	}
	return 0;
}

static int page_event(struct import *im, const char *line, const struct header *h)
{
	struct trace_raw_event raw = { .ns = h->ns, .cpu = h->cpu, .alloc = h->event == ALLOC };
	struct trace_event e;
	char why[128];

	if (!field(h->fields, " pfn=", &raw.pfn))
		return bad_line(im, "no number after 'pfn='", line);
	if (!field(h->fields, " order=", &raw.order))
		return bad_line(im, "no number after 'order='", line);
	if (h->ns == UINT64_MAX)
		return bad_line(im, "the time does not fit 63 bits of nanoseconds", line);
	/* The kernel prints pfn -1 as such or as page NULL, pfn 0. */
	if (raw.alloc && (raw.pfn == UINT64_MAX || (!raw.pfn && page_is_null(h->fields)))) {
		im->t->recorded.failed_alloc++;
		return 0;
	}
	if (!trace_event_make(&e, &raw, TRACE_MAX_CPUS, why, sizeof(why)))
		return bad_line(im, why, line);
	if (raw.ns < im->first_ns)
		im->first_ns = raw.ns;
	if (raw.ns > im->last_ns)
		im->last_ns = raw.ns;
	if (raw.cpu >= im->cpus)
		im->cpus = raw.cpu + 1;
	return add_area(im, &e) ? -1 : trace_add_event(im->t, &e, im->err);
}

static int header_cpus(struct import *im, const char *digits, const char *line)
{
	uint64_t cpus;

	if (!is_digit(*digits))
		return 0;
	if (!number(&digits, 10, &cpus) || cpus > TRACE_MAX_CPUS)
		return bad_line(im, "more CPUs than 4096", line);
	if (cpus > im->cpus)
		im->cpus = cpus;
	return 0;
}

/* "# entries-in-buffer/entries-written: 140080/250280   #P:4" */
static int comment(struct import *im, const char *line)
{
	const char *p = strstr(line, "entries-written: ");
	uint64_t kept, written;

	if (p) {
		p += strlen("entries-written: ");
		if (number(&p, 10, &kept) && *p++ == '/' && number(&p, 10, &written) &&
		    written > kept)
			im->overwritten += written - kept;
	}
	p = strstr(line, "#P:");
	return p ? header_cpus(im, p + strlen("#P:"), line) : 0;
}

/* "CPU:3 [LOST 12 EVENTS]"; trace-cmd: "CPU:3 [12 EVENTS DROPPED]"; the number may be missing. */
static bool lost_events(struct import *im, const char *line)
{
	const char *p = line + strlen("CPU:");
	uint64_t n;

	number(&p, 10, &n);
	if (strncmp(p, " [", 2))
		return false;
	p += 2;
	if (!strncmp(p, "LOST ", 5))
		p += 5;
	if (!number(&p, 10, &n))
		n = 1;
	p = skip_spaces(p);
	if (strncmp(p, "EVENTS", 6))
		return false;
	im->lost += n;
	return true;
}

static int other_line(struct import *im, const char *line)
{
	if (!*skip_spaces(line))
		return 0;
	if (line[0] == '#')
		return comment(im, line);
	if (!strncmp(line, "cpus=", 5))
		return header_cpus(im, line + 5, line);
	if (strncmp(line, "CPU:", 4) || !lost_events(im, line))
		im->skipped++;
	return 0;
}

static int one_line(struct import *im, const char *line)
{
	struct header h;

	if (!*im->beginning)
		quote(skip_spaces(line), im->beginning, sizeof(im->beginning));
	if (!find_header(line, &h))
		return other_line(im, line);
	if (h.event == OTHER) {
		im->skipped++;
		return 0;
	}
	im->seen++;
	if (h.event == FREE_BATCHED) {
		im->t->recorded.repeated_free++;
		return 0;
	}
	return page_event(im, line, &h);
}

static int nothing_found(const struct import *im)
{
	if (!*im->beginning)
		return trace_fail(im->err, "%s: no page event: it is empty", im->in.name);
	if (!strncmp(im->beginning, "FPTTRACE", 8))
		return trace_fail(im->err, "%s: an fpt trace already; 'fpt info' shows it",
				  im->in.name);
	return trace_fail(im->err, "%s: no page event in %llu lines that begin '%s'; give it lines "
			  "like 'sh-12 [003] ..... 1.2345: mm_page_free: page=.. pfn=0x1f order=0'",
			  im->in.name, (unsigned long long)im->number, im->beginning);
}

static void finish(struct import *im)
{
	struct trace *t = im->t;

	for (size_t i = 0; i < t->nr_events; i++)
		t->events[i].ns -= im->first_ns;
	t->duration_ns = t->nr_events ? im->last_ns - im->first_ns : 0;
	t->nr_cpus = im->cpus ? (uint32_t)im->cpus : 1;
	t->lost = im->lost > im->overwritten ? im->lost : im->overwritten;
	trace_extents_finish(&t->ranges);
}

static int import(struct import *im, const char *path)
{
	char *line = NULL;
	int ret;

	if (input_open(&im->in, path))
		return -1;
	while ((ret = next_line(im, &line)) > 0)
		if (one_line(im, line))
			return -1;
	if (ret)
		return -1;
	if (!im->seen)
		return nothing_found(im);
	finish(im);
	return 0;
}

int trace_import_text(struct trace *t, const char *path, uint32_t page_size,
		      uint64_t *lines_skipped, struct trace_error *err)
{
	struct import *im;
	int ret;

	if (page_size & (page_size - 1))
		return trace_fail(err, "page size %u is not a power of two", page_size);
	im = calloc(1, sizeof(*im));
	if (!im)
		return trace_fail(err, "no memory");
	t->page_size = page_size ? page_size : 4096;
	im->t = t;
	im->err = im->in.err = err;
	im->in.name = strcmp(path, "-") ? path : "standard input";
	im->first_ns = UINT64_MAX;
	ret = import(im, path);
	*lines_skipped = im->skipped;
	input_close(&im->in);
	free(im);
	if (ret)
		trace_destroy(t);
	return ret;
}
