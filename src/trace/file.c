/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * file.c - traces as files; trace.h describes the format
 *
 * The reader trusts nothing: sections are bounded, what a section holds is bounded by its bytes,
 * and the whole by the size of the file, so that a small file cannot ask for much memory.
 */
#include "trace/internal.h"
#include "trace/output.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define MAGIC		"FPTTRACE"
#define MAGIC_SIZE	8
#define PREFIX_SIZE	(MAGIC_SIZE + 4)
#define SECTION_MAX	(2u << 20)
#define SECTION_EVENTS	65536u
#define VARINT_MAX	10
#define HIDDEN_SHIFT	19
/* Above 12 a file shrinks by 7 % at most and takes ten times as long. */
#define ZSTD_LEVEL	12
/* The highest level's; bounds what a frame can make the reader allocate. */
#define ZSTD_WINDOW_LOG	23

static const char section_order[] = "HRBEAT";

/* What the differences are taken against; both sides keep one. */
struct coder {
	uint64_t ns;
	uint64_t pfn[TRACE_MAX_CPUS];
	uint64_t last_ns;		/* of all events */
};

/*
 * How many events and extents a file of that size may hold. A recording takes a byte or two per
 * event; a file that claims hundreds of events per byte was made to exhaust memory.
 */
static uint64_t items_max(uint64_t bytes)
{
	return (UINT64_C(1) << 24) + 64 * bytes;
}

static uint64_t zigzag(uint64_t difference)
{
	return difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t v)
{
	return v >> 1 ^ (v & 1 ? UINT64_MAX : 0);
}

static size_t put_varint(uint8_t *at, uint64_t v)
{
	size_t n = 0;

	for (; v > 127; v >>= 7)
		at[n++] = (uint8_t)(v | 128);
	at[n++] = (uint8_t)v;
	return n;
}

/* False when it does not end before END or does not fit. */
static bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *v)
{
	const uint8_t *p = *at;

	*v = 0;
	for (unsigned int shift = 0; p < end && shift < 64; shift += 7) {
		uint8_t byte = *p++;

		if (shift == 63 && byte > 1)
			return false;
		*v |= (uint64_t)(byte & 127) << shift;
		if (byte < 128) {
			*at = p;
			return true;
		}
	}
	return false;
}

static uint64_t get_le(const uint8_t *at, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | at[bytes];
	return v;
}

static void put_le(uint8_t *at, uint64_t v, unsigned int bytes)
{
	for (; bytes--; v >>= 8)
		*at++ = (uint8_t)v;
}

/* What load and save both insist on. */
static bool header_ok(json_int_t page_size, json_int_t cpus, char *why, size_t size)
{
	if (page_size < 1 || page_size > UINT32_MAX || page_size & (page_size - 1)) {
		snprintf(why, size, "page size %lld is not a power of two", (long long)page_size);
		return false;
	}
	if (cpus < 1 || cpus > TRACE_MAX_CPUS) {
		snprintf(why, size, "%lld CPUs are not 1 to %u", (long long)cpus, TRACE_MAX_CPUS);
		return false;
	}
	return true;
}

/* Writer */

struct writer {
	struct output out;
	struct trace_error *err;
	ZSTD_CCtx *zstd;
	uint64_t written;
	uint64_t items;
	struct coder coder;
	uint8_t compressed[65536];
	uint8_t section[SECTION_MAX];
	uint8_t columns[3][SECTION_EVENTS * VARINT_MAX];
};

static int put_plain(struct writer *w, const void *data, size_t size)
{
	w->written += size;
	return output_write(&w->out, data, size, w->err);
}

static int put(struct writer *w, const void *data, size_t size, ZSTD_EndDirective mode)
{
	ZSTD_inBuffer in = { data, size, 0 };
	size_t left;

	do {
		ZSTD_outBuffer out = { w->compressed, sizeof(w->compressed), 0 };

		left = ZSTD_compressStream2(w->zstd, &out, &in, mode);
		if (ZSTD_isError(left))
			return trace_fail(w->err, "cannot compress %s: %s", w->out.path,
					  ZSTD_getErrorName(left));
		if (put_plain(w, w->compressed, out.pos))
			return -1;
	} while (mode == ZSTD_e_end ? left : in.pos < in.size);
	return 0;
}

static int put_section(struct writer *w, char tag, const void *data, size_t size)
{
	uint8_t head[9] = { (uint8_t)tag };

	put_le(head + 1, size, 8);
	return put(w, head, sizeof(head), ZSTD_e_continue) || put(w, data, size, ZSTD_e_continue);
}

static int put_json(struct writer *w, char tag, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	int ret;

	json_decref(json);
	if (!text)
		return trace_fail(w->err, "no memory");
	if (strlen(text) > SECTION_MAX)
		ret = trace_fail(w->err, "the source text is longer than 2 MiB; shorten it");
	else
		ret = put_section(w, tag, text, strlen(text));
	free(text);
	return ret;
}

static json_t *json_count(uint64_t n)
{
	return json_integer((json_int_t)(n < INT64_MAX ? n : INT64_MAX));
}

static int put_header(struct writer *w, const struct trace *t)
{
	json_t *source = json_string(t->source ? t->source : "");

	if (!source)
		return trace_fail(w->err, "the source text is not UTF-8; give another");
	return put_json(w, 'H', json_pack("{s:I,s:I,s:b,s:o}",
					  "page_size", (json_int_t)t->page_size,
					  "cpus", (json_int_t)t->nr_cpus,
					  "has_snapshot", t->has_snapshot, "source", source));
}

static int put_extents(struct writer *w, char tag, const struct trace_extents *x)
{
	uint64_t end = 0;
	size_t size = 0;

	for (size_t i = 0; i < x->nr; i++) {
		const struct trace_extent *e = &x->v[i];

		if (!e->nr || e->pfn < end || (i && e->pfn == end))
			return trace_fail(w->err, "'%c' extents unsorted (a mistake in fpt)", tag);
		if (size > SECTION_MAX - 2 * VARINT_MAX) {
			if (put_section(w, tag, w->section, size))
				return -1;
			size = 0;
		}
		size += put_varint(w->section + size, e->pfn - end);
		size += put_varint(w->section + size, e->nr);
		end = e->pfn + e->nr;
	}
	w->items += x->nr;
	return size ? put_section(w, tag, w->section, size) : 0;
}

static int encode_event(struct writer *w, const struct trace *t, size_t i, size_t used[3])
{
	const struct trace_event *e = &t->events[i];
	const struct trace_raw_event raw = {
		e->ns, e->pfn, e->cpu, e->order, e->alloc, e->hidden
	};
	struct coder *c = &w->coder;
	struct trace_event same;
	char why[128];

	if (!trace_event_make(&same, &raw, t->nr_cpus, why, sizeof(why)))
		return trace_fail(w->err, "event %zu: %s (a mistake in fpt)", i, why);
	used[0] += put_varint(w->columns[0] + used[0], zigzag(e->ns - c->ns));
	used[1] += put_varint(w->columns[1] + used[1],
			      (uint64_t)e->hidden << HIDDEN_SHIFT | (uint64_t)e->order << 13 |
			      (uint64_t)e->cpu << 1 | e->alloc);
	used[2] += put_varint(w->columns[2] + used[2], zigzag(e->pfn - c->pfn[e->cpu]));
	c->ns = e->ns;
	c->pfn[e->cpu] = e->pfn;
	if (e->ns > c->last_ns)
		c->last_ns = e->ns;
	return 0;
}

static int put_events(struct writer *w, const struct trace *t, size_t first, size_t nr)
{
	size_t used[3] = { 0 };
	size_t size;

	for (size_t i = first; i < first + nr; i++)
		if (encode_event(w, t, i, used))
			return -1;
	size = put_varint(w->section, nr);
	size += put_varint(w->section + size, used[0]);
	size += put_varint(w->section + size, used[1]);
	for (int i = 0; i < 3; i++) {
		memcpy(w->section + size, w->columns[i], used[i]);
		size += used[i];
	}
	w->items += nr;
	return put_section(w, 'E', w->section, size);
}

/* The most that an event takes in each column: 64 bits, 20 bits, 45 bits. */
_Static_assert(SECTION_EVENTS * (10 + 3 + 7) + 3 * VARINT_MAX <= SECTION_MAX,
	       "a section of events fits");

static int put_trailer(struct writer *w, const struct trace *t)
{
	struct trace_anomalies recorded = t->recorded;
	json_t *anomalies = json_object();

	if (w->coder.last_ns > t->duration_ns || t->duration_ns > INT64_MAX) {
		json_decref(anomalies);
		return trace_fail(w->err, "%llu ns long, last event at %llu ns (a mistake in fpt)",
				  (unsigned long long)t->duration_ns,
				  (unsigned long long)w->coder.last_ns);
	}
	for (size_t i = 0; i < TRACE_NR_ANOMALIES; i++)
		json_object_set_new(anomalies, trace_anomaly_name(i),
				    json_count(*trace_anomaly(&recorded, i)));
	return put_json(w, 'T', json_pack("{s:o,s:o,s:o,s:o}",
					  "events", json_count(t->nr_events),
					  "lost", json_count(t->lost),
					  "duration_ns", json_count(t->duration_ns),
					  "anomalies", anomalies));
}

static int put_contents(struct writer *w, const struct trace *t)
{
	if (put_header(w, t) || put_extents(w, 'R', &t->ranges))
		return -1;
	if (t->has_snapshot && put_extents(w, 'B', &t->free_before))
		return -1;
	for (size_t i = 0; i < t->nr_events; i += SECTION_EVENTS) {
		size_t left = t->nr_events - i;

		if (put_events(w, t, i, left < SECTION_EVENTS ? left : SECTION_EVENTS))
			return -1;
	}
	if (t->has_snapshot && put_extents(w, 'A', &t->free_after))
		return -1;
	return put_trailer(w, t) || put(w, NULL, 0, ZSTD_e_end);
}

static int put_file(struct writer *w, const struct trace *t)
{
	uint8_t prefix[PREFIX_SIZE] = MAGIC;
	char why[128];

	if (!header_ok(t->page_size, t->nr_cpus, why, sizeof(why)))
		return trace_fail(w->err, "%s (a mistake in fpt)", why);
	if (trace_extents_total(&t->ranges) > TRACE_MAX_PAGES)
		return trace_fail(w->err, "the ranges have more than 2^34 pages");
	put_le(prefix + MAGIC_SIZE, TRACE_VERSION, 4);
	if (put_plain(w, prefix, sizeof(prefix)) || put_contents(w, t))
		return -1;
	if (w->items > items_max(w->written))
		return trace_fail(w->err, "%llu events in %llu bytes would be refused as hostile; "
				  "write fewer or less regular ones",
				  (unsigned long long)w->items, (unsigned long long)w->written);
	return 0;
}

int trace_save(const struct trace *t, const char *path, struct trace_error *err)
{
	struct writer *w = calloc(1, sizeof(*w));
	int ret = -1;

	if (!w)
		return trace_fail(err, "no memory");
	w->err = err;
	w->out.fd = -1;
	w->zstd = ZSTD_createCCtx();
	if (!w->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1)))
		trace_fail(err, "no memory");
	else if (!output_open(&w->out, path, err) && !put_file(w, t))
		ret = output_publish(&w->out, err);
	output_end(&w->out);
	ZSTD_freeCCtx(w->zstd);
	free(w);
	return ret;
}

/* Reader */

struct reader {
	const char *path;
	struct trace_error *err;
	int fd;
	uint64_t file_size;		/* if known, else 0 */
	uint64_t bytes;			/* read from the file */
	uint64_t offset;		/* of the section, after decompression */
	uint64_t items;
	ZSTD_DStream *zstd;
	ZSTD_inBuffer in;
	bool frame_done;
	struct coder coder;
	uint8_t compressed[65536];
	uint8_t section[SECTION_MAX];
};

static int corrupt(const struct reader *r, const char *what)
{
	return trace_fail(r->err, "%s: corrupt in the section at byte %llu of its decompressed "
			  "contents: %s; copy or record it again", r->path,
			  (unsigned long long)r->offset, what);
}

static int truncated(const struct reader *r)
{
	return trace_fail(r->err, "%s: truncated: it ends after %llu bytes, without a trailer; "
			  "copy or record it again", r->path, (unsigned long long)r->bytes);
}

/* Up to SIZE plain bytes of the file; fewer only at its end; -1 on error. */
static ssize_t read_file(struct reader *r, void *to, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = read(r->fd, (char *)to + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return trace_fail(r->err, "cannot read %s: %s", r->path, strerror(errno));
		if (!n)
			break;
		got += (size_t)n;
	}
	r->bytes += got;
	return (ssize_t)got;
}

/* Is there input to decompress? 1, or 0 at the end of the file, or -1. */
static int refill(struct reader *r)
{
	ssize_t n;

	if (r->in.pos < r->in.size)
		return 1;
	n = read_file(r, r->compressed, sizeof(r->compressed));
	if (n < 0)
		return -1;
	r->in = (ZSTD_inBuffer){ r->compressed, (size_t)n, 0 };
	return n > 0;
}

/* One step of decompression. -1 also when there is nothing more to come. */
static int decompress(struct reader *r, ZSTD_outBuffer *out)
{
	const size_t before = out->pos;
	int more;
	size_t ret;

	if (r->frame_done)
		return corrupt(r, "it ends in the middle");
	more = refill(r);
	if (more < 0)
		return -1;
	ret = ZSTD_decompressStream(r->zstd, out, &r->in);
	if (ZSTD_isError(ret))
		return corrupt(r, ZSTD_getErrorName(ret));
	r->frame_done = !ret;
	return more || ret == 0 || out->pos > before ? 0 : truncated(r);
}

static int get(struct reader *r, void *to, size_t size)
{
	ZSTD_outBuffer out = { to, size, 0 };

	while (out.pos < size)
		if (decompress(r, &out))
			return -1;
	return 0;
}

static int get_items(struct reader *r, uint64_t nr)
{
	r->items += nr;
	if (r->items > items_max(r->file_size > r->bytes ? r->file_size : r->bytes))
		return corrupt(r, "more events than a file of its size holds");
	return 0;
}

static json_t *get_json(struct reader *r, size_t size)
{
	json_error_t error;
	json_t *json = json_loadb((const char *)r->section, size, JSON_REJECT_DUPLICATES, &error);

	if (!json)
		corrupt(r, error.text);
	return json;
}

static int get_header(struct reader *r, struct trace *t, size_t size)
{
	json_t *json = get_json(r, size);
	json_int_t page_size, cpus;
	const char *source;
	int snapshot;
	char why[128];
	int ret = -1;

	if (!json)
		return -1;
	if (json_unpack(json, "{s:I,s:I,s:b,s:s}", "page_size", &page_size, "cpus", &cpus,
			"has_snapshot", &snapshot, "source", &source)) {
		corrupt(r, "the header lacks a field");
	} else if (!header_ok(page_size, cpus, why, sizeof(why))) {
		corrupt(r, why);
	} else {
		t->page_size = (uint32_t)page_size;
		t->nr_cpus = (uint32_t)cpus;
		t->has_snapshot = snapshot;
		t->source = strdup(source);
		ret = t->source ? 0 : trace_fail(r->err, "%s: no memory", r->path);
	}
	json_decref(json);
	return ret;
}

static int get_extents(struct reader *r, struct trace_extents *x, size_t size)
{
	const uint8_t *at = r->section, *end = r->section + size;

	while (at < end) {
		const struct trace_extent *last = x->nr ? &x->v[x->nr - 1] : NULL;
		uint64_t from = last ? last->pfn + last->nr : 0;
		uint64_t gap, nr;

		if (!get_varint(&at, end, &gap) || !get_varint(&at, end, &nr))
			return corrupt(r, "an extent does not parse");
		if (!nr || (last && !gap) || gap > TRACE_MAX_PFN - from)
			return corrupt(r, "extents overlap or exceed the highest pfn");
		if (get_items(r, 1))
			return -1;
		errno = 0;
		if (trace_extents_add(x, from + gap, nr))
			return errno == EINVAL ? corrupt(r, "an extent exceeds the highest pfn") :
				trace_fail(r->err, "%s: no memory", r->path);
	}
	return 0;
}

static int get_event(struct reader *r, struct trace *t, const uint8_t *at[3],
		     const uint8_t *const end[3])
{
	struct coder *c = &r->coder;
	struct trace_raw_event raw;
	struct trace_event e;
	uint64_t ns, what, pfn;
	char why[128];

	if (!get_varint(&at[0], end[0], &ns) || !get_varint(&at[1], end[1], &what) ||
	    !get_varint(&at[2], end[2], &pfn))
		return corrupt(r, "an event does not parse");
	raw.alloc = what & 1;
	raw.cpu = what >> 1 & (TRACE_MAX_CPUS - 1);
	raw.order = what >> 13 & 63;
	raw.hidden = what >> HIDDEN_SHIFT & 1;
	if (what >> (HIDDEN_SHIFT + 1))
		return corrupt(r, "an event has a mark that this fpt does not know");
	raw.ns = c->ns + unzigzag(ns);
	raw.pfn = c->pfn[raw.cpu] + unzigzag(pfn);
	if (!trace_event_make(&e, &raw, t->nr_cpus, why, sizeof(why)))
		return corrupt(r, why);
	c->ns = raw.ns;
	c->pfn[raw.cpu] = raw.pfn;
	if (raw.ns > c->last_ns)
		c->last_ns = raw.ns;
	return trace_add_event(t, &e, r->err);
}

static int get_events(struct reader *r, struct trace *t, size_t size)
{
	const uint8_t *at[3] = { r->section }, *end[3];
	uint64_t nr, first, second;

	end[2] = r->section + size;
	if (!get_varint(&at[0], end[2], &nr) || !get_varint(&at[0], end[2], &first) ||
	    !get_varint(&at[0], end[2], &second))
		return corrupt(r, "the head of the events does not parse");
	if (first > (size_t)(end[2] - at[0]) || second > (size_t)(end[2] - at[0]) - first)
		return corrupt(r, "columns are longer than their section");
	end[0] = at[1] = at[0] + first;
	end[1] = at[2] = at[1] + second;
	/* So that a number alone makes nobody loop or allocate. */
	if (nr > SECTION_EVENTS || nr > first || nr > second)
		return corrupt(r, "more events than bytes");
	if (get_items(r, nr))
		return -1;
	while (nr--)
		if (get_event(r, t, at, end))
			return -1;
	for (int i = 0; i < 3; i++)
		if (at[i] != end[i])
			return corrupt(r, "a column goes on after the last event");
	return 0;
}

static int get_anomalies(struct reader *r, struct trace *t, json_t *json)
{
	for (size_t i = 0; i < TRACE_NR_ANOMALIES; i++) {
		json_int_t n = json_integer_value(json_object_get(json, trace_anomaly_name(i)));

		if (n < 0)
			return corrupt(r, "the trailer has a negative number");
		*trace_anomaly(&t->recorded, i) = (uint64_t)n;
	}
	return 0;
}

static int get_trailer(struct reader *r, struct trace *t, size_t size)
{
	json_t *json = get_json(r, size), *anomalies;
	json_int_t events, lost, duration;
	int ret = -1;

	if (!json)
		return -1;
	if (json_unpack(json, "{s:I,s:I,s:I,s:o}", "events", &events, "lost", &lost, "duration_ns",
			&duration, "anomalies", &anomalies)) {
		corrupt(r, "the trailer lacks a field");
	} else if (lost < 0 || duration < 0) {
		corrupt(r, "the trailer has a negative number");
	} else if (events < 0 || (uint64_t)events != t->nr_events) {
		corrupt(r, "the trailer counts other events than there are");
	} else if (r->coder.last_ns > (uint64_t)duration) {
		corrupt(r, "an event is later than the end");
	} else {
		t->lost = (uint64_t)lost;
		t->duration_ns = (uint64_t)duration;
		ret = get_anomalies(r, t, anomalies);
	}
	json_decref(json);
	return ret;
}

static int get_section(struct reader *r, struct trace *t, char tag, size_t size)
{
	switch (tag) {
	case 'H':
		return get_header(r, t, size);
	case 'R':
		return get_extents(r, &t->ranges, size);
	case 'E':
		return get_events(r, t, size);
	case 'T':
		return get_trailer(r, t, size);
	default:
		if (!t->has_snapshot)
			return corrupt(r, "free extents, but the header says there is no snapshot");
		return get_extents(r, tag == 'B' ? &t->free_before : &t->free_after, size);
	}
}

/* After the trailer: the frame's checksum, then nothing. */
static int get_end(struct reader *r)
{
	uint8_t byte;
	ZSTD_outBuffer out = { &byte, 1, 0 };
	int more;

	while (!r->frame_done) {
		if (decompress(r, &out))
			return -1;
		if (out.pos)
			return corrupt(r, "it goes on after the trailer");
	}
	more = refill(r);
	if (more < 0)
		return -1;
	return more ? corrupt(r, "the file goes on after its end") : 0;
}

static int get_contents(struct reader *r, struct trace *t)
{
	const char *last = NULL;
	char tag;

	do {
		uint8_t head[9];
		const char *place;
		uint64_t size;

		if (get(r, head, sizeof(head)))
			return -1;
		tag = (char)head[0];
		size = get_le(head + 1, 8);
		place = tag ? strchr(section_order, tag) : NULL;
		if (!place)
			return corrupt(r, "a section of an unknown kind");
		/* The header comes first and once. */
		if (last ? place < last || tag == 'H' : tag != 'H')
			return corrupt(r, "sections are out of order");
		if (size > SECTION_MAX)
			return corrupt(r, "a section is longer than 2 MiB");
		if (get(r, r->section, (size_t)size) || get_section(r, t, tag, (size_t)size))
			return -1;
		r->offset += sizeof(head) + size;
		last = place;
	} while (tag != 'T');
	if (get_end(r))
		return -1;
	trace_extents_finish(&t->ranges);
	trace_extents_finish(&t->free_before);
	trace_extents_finish(&t->free_after);
	if (trace_extents_total(&t->ranges) > TRACE_MAX_PAGES)
		return corrupt(r, "the ranges have more than 2^34 pages");
	return 0;
}

static bool looks_like_text(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != '\t' && data[i] != '\n' && data[i] != '\r' &&
		    (data[i] < ' ' || data[i] > '~'))
			return false;
	return true;
}

static int not_a_trace(const struct reader *r, const uint8_t *data, size_t size)
{
	if (!size)
		return trace_fail(r->err, "%s: not an fpt trace: it is empty", r->path);
	if (!memcmp(data, MAGIC, size < MAGIC_SIZE ? size : MAGIC_SIZE))
		return truncated(r);
	if (looks_like_text(data, size) ||
	    (size > 1 && data[0] == 0x1f && data[1] == 0x8b) ||
	    (size > 3 && get_le(data, 4) == ZSTD_MAGICNUMBER))
		return trace_fail(r->err, "%s: not an fpt trace; if it is ftrace text, "
				  "'fpt import' turns it into one", r->path);
	return trace_fail(r->err, "%s: not an fpt trace; give a file that 'fpt record' or "
			  "'fpt import' wrote", r->path);
}

static int get_file(struct reader *r, struct trace *t)
{
	uint8_t prefix[PREFIX_SIZE];
	ssize_t n = read_file(r, prefix, sizeof(prefix));
	uint64_t version;

	if (n < 0)
		return -1;
	if (n < PREFIX_SIZE || memcmp(prefix, MAGIC, MAGIC_SIZE))
		return not_a_trace(r, prefix, (size_t)n);
	version = get_le(prefix + MAGIC_SIZE, 4);
	if (version != TRACE_VERSION)
		return trace_fail(r->err, "%s: version %llu; this fpt reads version %d: "
				  "use the fpt that wrote it", r->path,
				  (unsigned long long)version, TRACE_VERSION);
	return get_contents(r, t);
}

int trace_load(struct trace *t, const char *path, struct trace_error *err)
{
	struct reader *r = calloc(1, sizeof(*r));
	struct stat st;
	int ret = -1;

	if (!r)
		return trace_fail(err, "no memory");
	r->path = path;
	r->err = err;
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	r->zstd = ZSTD_createDStream();
	if (r->fd < 0) {
		trace_fail(err, "cannot open %s: %s", path, strerror(errno));
	} else if (!r->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax,
								  ZSTD_WINDOW_LOG))) {
		trace_fail(err, "no memory");
	} else {
		if (!fstat(r->fd, &st) && S_ISREG(st.st_mode))
			r->file_size = (uint64_t)st.st_size;
		ret = get_file(r, t);
	}
	if (ret)
		trace_destroy(t);
	if (r->fd >= 0)
		close(r->fd);
	ZSTD_freeDStream(r->zstd);
	free(r);
	return ret;
}
