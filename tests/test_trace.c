/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_trace.c - traces in memory, in files, from text, and as histories */
#include "trace/trace.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define NR(array) (sizeof(array) / sizeof((array)[0]))

static char directory[] = "/tmp/fpt-test-trace-XXXXXX";
static char file[64];

/* Files */

static void write_file(const void *data, size_t size)
{
	FILE *f;

	/* What is cut to 0 and written again, ext4 brings to the disk at once. */
	unlink(file);
	f = fopen(file, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

static uint8_t *read_file(size_t *size)
{
	FILE *f = fopen(file, "rb");
	uint8_t *data = malloc(1 << 20);

	assert_non_null(f);
	assert_non_null(data);
	*size = fread(data, 1, 1 << 20, f);
	assert_true(*size < 1 << 20);
	fclose(f);
	return data;
}

static unsigned int files_in_directory(void)
{
	DIR *d = opendir(directory);
	unsigned int n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(d);
	return n;
}

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(file, sizeof(file), "%s/trace", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(directory);
}

/* Traces */

static void add(struct trace *t, uint64_t ns, unsigned int cpu, bool alloc, uint64_t pfn,
		unsigned int order)
{
	const struct trace_event e = {
		.ns = ns,
		.cpu = cpu & 4095,
		.alloc = alloc,
		.pfn = pfn & TRACE_MAX_PFN,
		.order = order & 63,
	};

	assert_int_equal(trace_add_event(t, &e, NULL), 0);
	if (ns > t->duration_ns)
		t->duration_ns = ns;
}

static void range(struct trace_extents *x, uint64_t pfn, uint64_t nr)
{
	assert_int_equal(trace_extents_add(x, pfn, nr), 0);
	trace_extents_finish(x);
}

static void machine(struct trace *t, uint64_t pages)
{
	trace_init(t);
	t->page_size = 4096;
	t->nr_cpus = 4;
	range(&t->ranges, 0, pages);
}

static bool same_extents(const struct trace_extents *a, const struct trace_extents *b)
{
	if (a->nr != b->nr)
		return false;
	for (size_t i = 0; i < a->nr; i++)
		if (a->v[i].pfn != b->v[i].pfn || a->v[i].nr != b->v[i].nr ||
		    a->v[i].first_page != b->v[i].first_page)
			return false;
	return true;
}

static bool same_trace(const struct trace *a, const struct trace *b)
{
	return a->page_size == b->page_size && a->nr_cpus == b->nr_cpus &&
		a->duration_ns == b->duration_ns && a->lost == b->lost &&
		!memcmp(&a->recorded, &b->recorded, sizeof(a->recorded)) &&
		a->has_snapshot == b->has_snapshot && !strcmp(a->source, b->source) &&
		same_extents(&a->ranges, &b->ranges) &&
		same_extents(&a->free_before, &b->free_before) &&
		same_extents(&a->free_after, &b->free_after) && a->nr_events == b->nr_events &&
		(!a->nr_events ||
		 !memcmp(a->events, b->events, a->nr_events * sizeof(*a->events)));
}

static bool is_empty(const struct trace *t)
{
	struct trace empty;

	trace_init(&empty);
	return !memcmp(t, &empty, sizeof(empty));
}

static void save(const struct trace *t)
{
	struct trace_error err = { .text = "" };

	if (trace_save(t, file, &err))
		fail_msg("%s", err.text);
}

static void load(struct trace *t)
{
	struct trace_error err = { .text = "" };

	trace_init(t);
	if (trace_load(t, file, &err))
		fail_msg("%s", err.text);
}

/* One line, that names the file and says WHAT. */
static void check_error(const struct trace_error *err, const char *what)
{
	if (!strstr(err->text, what))
		fail_msg("expected '%s' in '%s'", what, err->text);
	assert_null(strchr(err->text, '\n'));
}

static void check_refused(const char *what)
{
	struct trace_error err = { .text = "" };
	struct trace t;

	trace_init(&t);
	if (!trace_load(&t, file, &err))
		fail_msg("loaded, but should have said '%s'", what);
	check_error(&err, what);
	check_error(&err, file);
	assert_true(is_empty(&t));
}

/* One of everything. */
static void make_sample(struct trace *t)
{
	machine(t, 1000);
	range(&t->ranges, 5000, 300);
	range(&t->ranges, TRACE_MAX_PFN, 1);
	t->lost = 7;
	t->recorded = (struct trace_anomalies){ 1, 2, 3, 4, 5, 6, 7 };
	t->has_snapshot = true;
	t->source = strdup("a \"sample\" \xc3\xa4");
	range(&t->free_before, 10, 5);
	range(&t->free_before, 20, 1);
	range(&t->free_after, 0, 1000);
	add(t, 0, 0, true, 10, 0);
	add(t, 1000, 3, false, 5000, 3);
	add(t, 900, 1, true, TRACE_MAX_PFN, 0);
	add(t, 1000000000, 3, false, 11, 0);
	add(t, 1000000001, 3, true, 0, TRACE_MAX_ORDER);
	t->events[4].hidden = 1;
	t->duration_ns = 2000000000;
}

static uint32_t random_next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33);
}

/* Extents and pages */

static void test_extents(void **state)
{
	struct trace_extents x = { 0 };

	(void)state;
	assert_int_equal(trace_extents_total(&x), 0);
	trace_extents_finish(&x);
	assert_int_equal(trace_extents_add(&x, 100, 10), 0);
	assert_int_equal(trace_extents_add(&x, 50, 10), 0);
	assert_int_equal(trace_extents_add(&x, 60, 5), 0);
	assert_int_equal(trace_extents_add(&x, 52, 2), 0);
	assert_int_equal(trace_extents_add(&x, 45, 5), 0);
	assert_int_equal(trace_extents_add(&x, 105, 10), 0);
	assert_int_equal(trace_extents_add(&x, 7, 0), 0);
	assert_int_equal(trace_extents_add(&x, TRACE_MAX_PFN, 1), 0);
	trace_extents_finish(&x);
	assert_int_equal(x.nr, 3);
	assert_int_equal(x.v[0].pfn, 45);
	assert_int_equal(x.v[0].nr, 20);
	assert_int_equal(x.v[1].pfn, 100);
	assert_int_equal(x.v[1].nr, 15);
	assert_int_equal(x.v[1].first_page, 20);
	assert_int_equal(x.v[2].first_page, 35);
	assert_int_equal(trace_extents_total(&x), 36);
	free(x.v);
}

static void test_extents_limits(void **state)
{
	struct trace_extents x = { 0 };

	(void)state;
	assert_int_equal(trace_extents_add(&x, TRACE_MAX_PFN, 2), -1);
	assert_int_equal(trace_extents_add(&x, TRACE_MAX_PFN + 1, 1), -1);
	assert_int_equal(trace_extents_add(&x, 1, UINT64_MAX), -1);
	assert_int_equal(x.nr, 0);
	assert_int_equal(trace_extents_add(&x, 0, TRACE_MAX_PFN + 1), 0);
	free(x.v);
}

/* Against a plain array of bools. */
static void test_extents_random(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		uint64_t s = seed, expected = 0, page;
		bool valid[512] = { false };
		struct trace t;

		trace_init(&t);
		for (int i = 0; i < 40; i++) {
			uint64_t pfn = random_next(&s) % 480, nr = random_next(&s) % 32;

			memset(valid + pfn, true, nr);
			assert_int_equal(trace_extents_add(&t.ranges, pfn, nr), 0);
			if (i == 20)
				trace_extents_finish(&t.ranges);
		}
		trace_extents_finish(&t.ranges);
		for (uint64_t pfn = 0; pfn < 512; pfn++) {
			assert_int_equal(trace_page(&t, pfn, &page), valid[pfn]);
			if (valid[pfn])
				assert_int_equal(page, expected++);
		}
		assert_int_equal(trace_extents_total(&t.ranges), expected);
		trace_destroy(&t);
	}
}

static void test_page_without_ranges(void **state)
{
	struct trace t;
	uint64_t page;

	(void)state;
	trace_init(&t);
	assert_false(trace_page(&t, 0, &page));
}

static void test_event_size(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct trace_event), 16);
}

/* Files */

static void test_round_trip(void **state)
{
	struct trace a, b;

	(void)state;
	make_sample(&a);
	save(&a);
	load(&b);
	assert_true(same_trace(&a, &b));
	assert_int_equal(files_in_directory(), 1);
	trace_destroy(&a);
	trace_destroy(&b);
}

static void test_round_trip_empty(void **state)
{
	struct trace a, b;

	(void)state;
	trace_init(&a);
	a.page_size = 65536;
	a.nr_cpus = 1;
	save(&a);
	load(&b);
	a.source = strdup("");
	assert_true(same_trace(&a, &b));
	trace_destroy(&a);
	trace_destroy(&b);
}

/* More than one section of events and of extents. */
static void test_round_trip_large(void **state)
{
	struct trace a, b;
	uint64_t seed = 1;

	(void)state;
	machine(&a, 1 << 20);
	a.source = strdup("large");
	a.nr_cpus = TRACE_MAX_CPUS;
	a.has_snapshot = true;
	for (unsigned int i = 0; i < 150000; i++)
		add(&a, random_next(&seed), random_next(&seed) % TRACE_MAX_CPUS,
		    random_next(&seed) % 2, (uint64_t)random_next(&seed) << 12,
		    random_next(&seed) % 11);
	for (size_t i = 0; i < a.nr_events; i += 3)
		a.events[i].hidden = 1;
	for (uint64_t i = 0; i < 400000; i++)
		assert_int_equal(trace_extents_add(&a.free_before, i << 25, 1 << 20), 0);
	trace_extents_finish(&a.free_before);
	save(&a);
	load(&b);
	assert_true(same_trace(&a, &b));
	trace_destroy(&a);
	trace_destroy(&b);
}

/* Whatever a byte becomes: an error, or (a bit that zstd leaves unused) the same trace. */
static void check_damaged(const uint8_t *data, size_t size, const struct trace *original)
{
	struct trace_error err = { .text = "" };
	struct trace t;

	write_file(data, size);
	trace_init(&t);
	if (!trace_load(&t, file, &err)) {
		assert_true(same_trace(&t, original));
		trace_destroy(&t);
		return;
	}
	assert_true(is_empty(&t));
	assert_non_null(strstr(err.text, file));
}

static void test_corrupt(void **state)
{
	struct trace original;
	uint8_t *data;
	size_t size;

	(void)state;
	make_sample(&original);
	save(&original);
	data = read_file(&size);
	for (size_t i = 0; i < size; i++) {
		const uint8_t good = data[i];

		for (unsigned int bit = 0; bit < 8; bit++) {
			data[i] = good ^ (uint8_t)(1u << bit);
			check_damaged(data, size, &original);
		}
		data[i] = good ^ 0xff;
		check_damaged(data, size, &original);
		data[i] = good;
	}
	free(data);
	trace_destroy(&original);
}

static void test_truncated(void **state)
{
	struct trace original;
	uint8_t *data;
	size_t size;

	(void)state;
	make_sample(&original);
	save(&original);
	data = read_file(&size);
	for (size_t i = 0; i < size; i++) {
		write_file(data, i);
		check_refused(i ? "truncated" : "empty");
	}
	free(data);
	trace_destroy(&original);
}

static void test_trailing_garbage(void **state)
{
	struct trace original;
	uint8_t *data;
	size_t size;

	(void)state;
	make_sample(&original);
	save(&original);
	data = read_file(&size);
	data[size] = 0;
	write_file(data, size + 1);
	check_refused("goes on after its end");
	free(data);
	trace_destroy(&original);
}

static void test_wrong_magic(void **state)
{
	static const uint8_t gzip[] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0 };
	static const uint8_t zstd[] = { 0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 3, 0, 0, 0 };
	static const uint8_t other[] = { 0x7f, 'E', 'L', 'F', 0, 1, 2, 3, 4, 5, 6, 7, 8 };

	(void)state;
	write_file("# tracer: nop\n#\n", 16);
	check_refused("'fpt import' turns it into one");
	write_file("#\n", 2);
	check_refused("'fpt import' turns it into one");
	write_file(gzip, sizeof(gzip));
	check_refused("'fpt import' turns it into one");
	write_file(zstd, sizeof(zstd));
	check_refused("'fpt import' turns it into one");
	write_file(other, sizeof(other));
	check_refused("not an fpt trace; give a file");
}

static void test_wrong_version(void **state)
{
	(void)state;
	write_file("FPTTRACE\2\0\0\0 and so on", 22);
	check_refused("version 2; this fpt reads version 1");
	write_file("FPTTRACE\1\0\0\1", 12);
	check_refused("version 16777217; this fpt reads version 1");
}

static void test_unreadable(void **state)
{
	struct trace_error err = { .text = "" };
	struct trace t;

	(void)state;
	trace_init(&t);
	assert_int_equal(trace_load(&t, "/tmp/there/is/none", &err), -1);
	check_error(&err, "cannot open /tmp/there/is/none: No such file or directory");
	assert_int_equal(trace_load(&t, directory, &err), -1);
	check_error(&err, "Is a directory");
	assert_int_equal(trace_load(&t, directory, NULL), -1);
}

static void test_save_errors(void **state)
{
	struct trace_error err = { .text = "" };
	struct trace t;
	uint8_t *before, *after;
	size_t size, size_after;

	(void)state;
	make_sample(&t);
	assert_int_equal(trace_save(&t, "-", &err), -1);
	assert_int_equal(trace_save(&t, directory, &err), -1);
	check_error(&err, "Is a directory");
	assert_int_equal(trace_save(&t, "/tmp/there/is/none", &err), -1);
	check_error(&err, "cannot write /tmp/there/is/none: No such file or directory");
	assert_int_equal(trace_save(&t, "/dev/full", &err), -1);
	check_error(&err, "cannot write /dev/full: No space left on device");
	assert_int_equal(trace_save(&t, "/dev/null", &err), 0);

	/* What trace_load() would refuse: the file that is there stays. */
	save(&t);
	before = read_file(&size);
	t.nr_cpus = 3;
	assert_int_equal(trace_save(&t, file, &err), -1);
	check_error(&err, "CPU 3, but there are 3 CPUs");
	t.nr_cpus = 4;
	t.page_size = 3000;
	assert_int_equal(trace_save(&t, file, &err), -1);
	check_error(&err, "power of two");
	t.page_size = 4096;
	t.duration_ns = 5;
	assert_int_equal(trace_save(&t, file, &err), -1);
	t.duration_ns = UINT64_MAX;
	assert_int_equal(trace_save(&t, file, &err), -1);
	t.duration_ns = 2000000000;
	free(t.source);
	t.source = strdup("\xff");
	assert_int_equal(trace_save(&t, file, &err), -1);
	check_error(&err, "UTF-8");
	range(&t.ranges, 1 << 20, TRACE_MAX_PAGES);
	assert_int_equal(trace_save(&t, file, &err), -1);
	check_error(&err, "2^34 pages");
	after = read_file(&size_after);
	assert_int_equal(size, size_after);
	assert_memory_equal(before, after, size);
	assert_int_equal(files_in_directory(), 1);
	free(before);
	free(after);
	trace_destroy(&t);
}

static void test_save_replaces(void **state)
{
	struct trace a, b;
	char link[80];
	struct stat st;

	(void)state;
	make_sample(&a);
	write_file("old", 3);
	snprintf(link, sizeof(link), "%s/link", directory);
	assert_int_equal(symlink(file, link), 0);
	assert_int_equal(trace_save(&a, link, NULL), 0);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	load(&b);
	assert_true(same_trace(&a, &b));
	assert_int_equal(files_in_directory(), 2);
	unlink(link);
	trace_destroy(&a);
	trace_destroy(&b);
}

/*
 * Contents made by hand, with a checksum that is right: the only way to reach the checks behind it.
 */

struct contents {
	uint8_t data[8192];
	size_t size;
};

#define HEADER_JSON	"{\"page_size\":4096,\"cpus\":2,\"has_snapshot\":false,\"source\":\"\"}"
#define TRAILER_JSON(events, duration) \
	"{\"events\":" events ",\"lost\":0,\"duration_ns\":" duration ",\"anomalies\":{}}"

static void section(struct contents *c, char tag, const void *data, uint64_t size)
{
	c->data[c->size++] = (uint8_t)tag;
	for (int i = 0; i < 8; i++)
		c->data[c->size++] = (uint8_t)(size >> 8 * i);
	if (size > sizeof(c->data) - c->size)
		return;
	memcpy(c->data + c->size, data, size);
	c->size += size;
}

static void json_section(struct contents *c, char tag, const char *json)
{
	section(c, tag, json, strlen(json));
}

/* N events, all columns given. */
static void events_section(struct contents *c, uint8_t nr, const char *first, size_t first_size,
			   const char *second, size_t second_size, const char *third,
			   size_t third_size)
{
	uint8_t data[256] = { nr, (uint8_t)first_size, (uint8_t)second_size };
	size_t size = 3;

	memcpy(data + size, first, first_size);
	size += first_size;
	memcpy(data + size, second, second_size);
	size += second_size;
	memcpy(data + size, third, third_size);
	section(c, 'E', data, size + third_size);
}

#define EVENTS(c, nr, first, second, third) \
	events_section(c, nr, first, sizeof(first) - 1, second, sizeof(second) - 1, third, \
		       sizeof(third) - 1)

static void write_frame(const void *data, size_t size)
{
	static const char prefix[12] = "FPTTRACE\1\0\0\0";
	const size_t bound = ZSTD_compressBound(size);
	uint8_t *out = malloc(sizeof(prefix) + bound);
	size_t n;

	assert_non_null(out);
	memcpy(out, prefix, sizeof(prefix));
	n = ZSTD_compress(out + sizeof(prefix), bound, data, size, 1);
	assert_false(ZSTD_isError(n));
	write_file(out, sizeof(prefix) + n);
	free(out);
}

static void refuse(const struct contents *c, const char *what)
{
	write_frame(c->data, c->size);
	check_refused(what);
}

static void test_by_hand(void **state)
{
	struct contents c = { .size = 0 };
	struct trace t;

	(void)state;
	json_section(&c, 'H', HEADER_JSON);
	section(&c, 'R', "\x05\x07", 2);
	section(&c, 'R', "\x01\x80\x01", 3);
	/* ns 0 and 2 - 1; cpu 1 takes order 2, cpu 0 frees; pfn 8 and 5 */
	EVENTS(&c, 2, "\x04\x01", "\x83\x80\x01\x00", "\x10\x0a");
	json_section(&c, 'T', TRAILER_JSON("2", "9"));
	write_frame(c.data, c.size);
	load(&t);
	assert_int_equal(t.nr_events, 2);
	assert_int_equal(t.events[0].ns, 2);
	assert_int_equal(t.events[0].cpu, 1);
	assert_int_equal(t.events[0].order, 2);
	assert_int_equal(t.events[0].alloc, 1);
	assert_int_equal(t.events[0].pfn, 8);
	assert_int_equal(t.events[1].ns, 1);
	assert_int_equal(t.events[1].cpu, 0);
	assert_int_equal(t.events[1].pfn, 5);
	assert_int_equal(t.ranges.nr, 2);
	assert_int_equal(t.ranges.v[0].pfn, 5);
	assert_int_equal(t.ranges.v[0].nr, 7);
	assert_int_equal(t.ranges.v[1].pfn, 13);
	assert_int_equal(t.ranges.v[1].nr, 128);
	trace_destroy(&t);
}

static void test_hostile_header(void **state)
{
	static const char *const bad[][2] = {
		{ "", "corrupt" },
		{ "{", "corrupt" },
		{ "[]", "lacks a field" },
		{ "{\"page_size\":4096,\"cpus\":2,\"has_snapshot\":false}", "lacks a field" },
		{ "{\"page_size\":\"4096\",\"cpus\":2,\"has_snapshot\":false,\"source\":\"\"}",
		  "lacks a field" },
		{ "{\"page_size\":0,\"cpus\":2,\"has_snapshot\":false,\"source\":\"\"}",
		  "page size 0 is not a power of two" },
		{ "{\"page_size\":12288,\"cpus\":2,\"has_snapshot\":false,\"source\":\"\"}",
		  "not a power of two" },
		{ "{\"page_size\":-4096,\"cpus\":2,\"has_snapshot\":false,\"source\":\"\"}",
		  "not a power of two" },
		{ "{\"page_size\":4294967296,\"cpus\":2,\"has_snapshot\":false,\"source\":\"\"}",
		  "not a power of two" },
		{ "{\"page_size\":4096,\"cpus\":0,\"has_snapshot\":false,\"source\":\"\"}",
		  "0 CPUs are not 1 to 4096" },
		{ "{\"page_size\":4096,\"cpus\":4097,\"has_snapshot\":false,\"source\":\"\"}",
		  "4097 CPUs are not 1 to 4096" },
	};

	(void)state;
	for (size_t i = 0; i < NR(bad); i++) {
		struct contents c = { .size = 0 };

		json_section(&c, 'H', bad[i][0]);
		json_section(&c, 'T', TRAILER_JSON("0", "0"));
		refuse(&c, bad[i][1]);
	}
}

static void test_hostile_trailer(void **state)
{
	static const char *const bad[][2] = {
		{ "{}", "lacks a field" },
		{ TRAILER_JSON("1", "0"), "other events than there are" },
		{ TRAILER_JSON("-1", "0"), "other events than there are" },
		{ TRAILER_JSON("0", "-1"), "negative" },
		{ "{\"events\":0,\"lost\":-1,\"duration_ns\":0,\"anomalies\":{}}", "negative" },
		{ "{\"events\":0,\"lost\":0,\"duration_ns\":0,\"anomalies\":{\"partial\":-1}}",
		  "negative" },
	};

	(void)state;
	for (size_t i = 0; i < NR(bad); i++) {
		struct contents c = { .size = 0 };

		json_section(&c, 'H', HEADER_JSON);
		json_section(&c, 'T', bad[i][0]);
		refuse(&c, bad[i][1]);
	}
}

static void test_hostile_sections(void **state)
{
	static const struct {
		const char *tags;
		const char *what;
	} bad[] = {
		{ "", "it ends in the middle" },
		{ "H", "it ends in the middle" },
		{ "T", "out of order" },
		{ "RT", "out of order" },
		{ "HHT", "out of order" },
		{ "HERT", "out of order" },
		{ "HAT", "no snapshot" },
		{ "HBT", "no snapshot" },
		{ "HXT", "unknown kind" },
		{ "HTT", "goes on after the trailer" },
		{ "HTE", "goes on after the trailer" },
	};

	(void)state;
	for (size_t i = 0; i < NR(bad); i++) {
		struct contents c = { .size = 0 };

		for (const char *tag = bad[i].tags; *tag; tag++) {
			if (*tag == 'H')
				json_section(&c, 'H', HEADER_JSON);
			else if (*tag == 'T')
				json_section(&c, 'T', TRAILER_JSON("0", "0"));
			else
				section(&c, *tag, "\0\0\0", 3);
		}
		refuse(&c, bad[i].what);
	}
}

static void test_hostile_lengths(void **state)
{
	static const uint64_t lengths[] = { (2 << 20) + 1, UINT64_C(1) << 63, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < NR(lengths); i++) {
		struct contents c = { .size = 0 };

		json_section(&c, 'H', HEADER_JSON);
		section(&c, 'E', "", lengths[i]);
		refuse(&c, "longer than 2 MiB");
	}
}

static void test_hostile_extents(void **state)
{
	static const struct {
		const char *data;
		size_t size;
		const char *what;
	} bad[] = {
		{ "\x05", 1, "does not parse" },
		{ "\x05\x80", 2, "does not parse" },
		{ "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, "does not parse" },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01", 12, "does not parse" },
		{ "\x05\x00", 2, "overlap" },
		{ "\x05\x01\x00\x01", 4, "overlap" },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01", 11, "overlap or exceed" },
		{ "\x80\x80\x80\x80\x80\x80\x04\x01", 8, "overlap or exceed" },
		{ "\xff\xff\xff\xff\xff\xff\x03\x02", 8, "exceeds the highest pfn" },
		{ "\x00\x81\x80\x80\x80\x40", 6, "2^34 pages" },
	};

	(void)state;
	for (size_t i = 0; i < NR(bad); i++) {
		struct contents c = { .size = 0 };

		json_section(&c, 'H', HEADER_JSON);
		section(&c, 'R', bad[i].data, bad[i].size);
		json_section(&c, 'T', TRAILER_JSON("0", "0"));
		refuse(&c, bad[i].what);
	}
}

static void refuse_events(const struct contents *events, const char *what)
{
	struct contents c = { .size = 0 };

	json_section(&c, 'H', HEADER_JSON);
	memcpy(c.data + c.size, events->data, events->size);
	c.size += events->size;
	json_section(&c, 'T', TRAILER_JSON("1", "100"));
	refuse(&c, what);
}

#define REFUSE_EVENTS(what, ...) do { \
	struct contents events = { .size = 0 }; \
	EVENTS(&events, __VA_ARGS__); \
	refuse_events(&events, what); \
} while (0)

static void test_hostile_events(void **state)
{
	struct contents c = { .size = 0 };

	(void)state;
	REFUSE_EVENTS("CPU 2, but there are 2 CPUs", 1, "\0", "\x04", "\0");
	REFUSE_EVENTS("order 21 is above 20", 1, "\0", "\x80\xc0\x0a", "\0");
	REFUSE_EVENTS("order 21 is above 20", 1, "\0", "\x80\xc0\x2a", "\0");
	REFUSE_EVENTS("a mark that this fpt does not know", 1, "\0", "\x80\x80\x40", "\0");
	REFUSE_EVENTS("pfn 0xffffffffffffffff", 1, "\0", "\0", "\x01");
	REFUSE_EVENTS("pfn 0x100000000000", 1, "\0", "\0", "\x80\x80\x80\x80\x80\x80\x08");
	REFUSE_EVENTS("pfn 0xfffffffffff of order 1", 1, "\0", "\x80\x40",
		      "\xfe\xff\xff\xff\xff\xff\x07");
	REFUSE_EVENTS("later than the end", 1, "\xca\x01", "\0", "\0");
	REFUSE_EVENTS("later than the end", 1, "\x01", "\0", "\0");
	REFUSE_EVENTS("more events than bytes", 2, "\0", "\0\0", "\0\0");
	REFUSE_EVENTS("more events than bytes", 2, "\0\0", "\0", "\0\0");
	REFUSE_EVENTS("does not parse", 2, "\0\0", "\0\0", "\0");
	REFUSE_EVENTS("does not parse", 2, "\0\x80", "\0\0", "\0\0");
	REFUSE_EVENTS("a column goes on", 1, "\0\0", "\0", "\0");
	REFUSE_EVENTS("a column goes on", 1, "\0", "\0\0", "\0");
	REFUSE_EVENTS("a column goes on", 1, "\0", "\0", "\0\0");
	REFUSE_EVENTS("other events than there are", 2, "\0\0", "\0\0", "\0\0");
	section(&c, 'E', "\x01\x05\x01\0\0", 5);
	refuse_events(&c, "columns are longer");
	c.size = 0;
	section(&c, 'E', "\x01\x01\x05\0\0", 5);
	refuse_events(&c, "columns are longer");
	c.size = 0;
	section(&c, 'E', "\x01\x01", 2);
	refuse_events(&c, "head of the events does not parse");
	/* 2^28 of them, in no bytes at all */
	c.size = 0;
	section(&c, 'E', "\x80\x80\x80\x80\x01\0\0", 7);
	refuse_events(&c, "more events than bytes");
}

/* SECTIONS of NR events that are all zeros; NR takes three bytes as a varint. */
static void write_zeros(size_t sections, size_t nr)
{
	const size_t size = 9 + 9 + 3 * nr;
	const char varint[3] = { (char)(nr | 128), (char)(nr >> 7 | 128), (char)(nr >> 14) };
	struct contents c = { .size = 0 };
	uint8_t *data, *at;

	json_section(&c, 'H', HEADER_JSON);
	data = calloc(1, c.size + sections * size);
	assert_non_null(data);
	memcpy(data, c.data, c.size);
	at = data + c.size;
	for (size_t i = 0; i < sections; i++, at += size) {
		at[0] = 'E';
		at[1] = (uint8_t)(size - 9);
		at[2] = (uint8_t)((size - 9) >> 8);
		at[3] = (uint8_t)((size - 9) >> 16);
		for (int j = 0; j < 3; j++)
			memcpy(at + 9 + 3 * j, varint, 3);
	}
	write_frame(data, c.size + sections * size);
	free(data);
}

static void test_hostile_bomb(void **state)
{
	(void)state;
	write_zeros(1, 65537);
	check_refused("more events than bytes");
	/* 20 million events in a few thousand bytes */
	write_zeros(300, 65536);
	check_refused("more events than a file of its size holds");
}

/* Histories */

static struct trace_anomalies normalise(struct trace *t)
{
	struct trace_error err = { .text = "" };
	struct trace_anomalies checked = { 0 }, a = { 0 };

	if (trace_check(t, &checked, &err) || trace_normalise(t, &a, &err))
		fail_msg("%s", err.text);
	assert_memory_equal(&checked, &a, sizeof(a));
	assert_memory_equal(&t->recorded, &a, sizeof(a));
	return a;
}

static void check_event(const struct trace *t, size_t i, uint64_t ns, unsigned int cpu, bool alloc,
			uint64_t pfn, unsigned int order)
{
	assert_true(i < t->nr_events);
	assert_int_equal(t->events[i].ns, ns);
	assert_int_equal(t->events[i].cpu, cpu);
	assert_int_equal(t->events[i].alloc, alloc);
	assert_int_equal(t->events[i].pfn, pfn);
	assert_int_equal(t->events[i].order, order);
}

static void check_anomalies(const struct trace_anomalies *a, const struct trace_anomalies *expected)
{
	char x[256], y[256];

	trace_anomalies_print(a, x, sizeof(x));
	trace_anomalies_print(expected, y, sizeof(y));
	assert_string_equal(x, y);
}

#define CHECK_ANOMALIES(a, ...) \
	check_anomalies(&(a), &(const struct trace_anomalies){ __VA_ARGS__ })

static void test_normalise_right(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	add(&t, 1, 0, true, 8, 0);	/* was free */
	add(&t, 2, 0, false, 9, 0);	/* was held */
	add(&t, 3, 1, true, 9, 0);
	add(&t, 4, 1, false, 8, 0);
	add(&t, 5, 1, true, 16, 3);
	add(&t, 6, 2, false, 16, 3);
	a = normalise(&t);
	CHECK_ANOMALIES(a, 0);
	assert_int_equal(t.nr_events, 6);
	check_event(&t, 4, 5, 1, true, 16, 3);
	assert_int_equal(t.free_before.nr, 2);
	assert_int_equal(t.free_before.v[0].pfn, 8);
	assert_int_equal(t.free_before.v[0].nr, 1);
	assert_int_equal(t.free_before.v[1].pfn, 16);
	assert_int_equal(t.free_before.v[1].nr, 8);
	trace_destroy(&t);
}

static void test_normalise_nothing(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	a = normalise(&t);
	CHECK_ANOMALIES(a, 0);
	assert_int_equal(t.nr_events, 0);
	assert_int_equal(t.free_before.nr, 0);
	trace_destroy(&t);
	trace_init(&t);
	assert_int_equal(trace_normalise(&t, NULL, NULL), 0);
}

static void test_normalise_failed_alloc(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	t.recorded.failed_alloc = 3;
	add(&t, 1, 0, true, 8, 0);
	a = normalise(&t);
	CHECK_ANOMALIES(a, .failed_alloc = 3);
	assert_int_equal(t.nr_events, 1);
	trace_destroy(&t);
}

static void test_normalise_out_of_order(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	add(&t, 10, 0, true, 1, 0);
	add(&t, 30, 0, true, 2, 0);
	add(&t, 20, 0, true, 3, 0);
	add(&t, 20, 1, true, 4, 0);
	add(&t, 30, 1, true, 5, 0);
	add(&t, 10, 1, true, 6, 0);
	t.duration_ns = 0;
	a = normalise(&t);
	CHECK_ANOMALIES(a, .out_of_order = 3);
	assert_int_equal(t.duration_ns, 30);
	/* of the same time, in the order they were in */
	check_event(&t, 0, 10, 0, true, 1, 0);
	check_event(&t, 1, 10, 1, true, 6, 0);
	check_event(&t, 2, 20, 0, true, 3, 0);
	check_event(&t, 3, 20, 1, true, 4, 0);
	check_event(&t, 4, 30, 0, true, 2, 0);
	check_event(&t, 5, 30, 1, true, 5, 0);
	trace_destroy(&t);
}

static void test_normalise_repeated_free(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	add(&t, 1000, 0, false, 1, 0);
	add(&t, 1000, 0, false, 2, 0);
	add(&t, 1100, 0, false, 8, 2);
	add(&t, 1200, 0, false, 1, 0);
	add(&t, 1200, 0, false, 2, 0);
	add(&t, 1001100, 0, false, 8, 2);	/* a millisecond is near enough */
	a = normalise(&t);
	CHECK_ANOMALIES(a, .repeated_free = 3);
	assert_int_equal(t.nr_events, 3);
	trace_destroy(&t);
}

static void test_normalise_double_free(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	add(&t, 1000, 0, false, 1, 0);
	add(&t, 1000, 0, false, 8, 2);
	add(&t, 1001, 1, false, 1, 0);		/* another CPU */
	add(&t, 1001, 0, false, 8, 1);		/* another order */
	add(&t, 1001001, 0, false, 8, 2);	/* too late */
	a = normalise(&t);
	CHECK_ANOMALIES(a, .double_free = 1 + 2 + 4);
	assert_int_equal(t.nr_events, 2);
	trace_destroy(&t);
}

/* The same CPU, pfn and order, but an allocation. */
static void test_normalise_no_repeat(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	add(&t, 1, 0, true, 8, 1);
	add(&t, 2, 0, false, 8, 0);
	add(&t, 3, 0, false, 9, 0);
	add(&t, 4, 0, false, 8, 1);
	a = normalise(&t);
	CHECK_ANOMALIES(a, .double_free = 2);
	trace_destroy(&t);
}

/* The page was taken between: a repeat would have to come before that. */
static void test_normalise_free_again(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	add(&t, 1, 0, false, 1, 0);
	add(&t, 2, 0, true, 1, 0);
	add(&t, 3, 0, false, 1, 0);
	a = normalise(&t);
	CHECK_ANOMALIES(a, 0);
	assert_int_equal(t.nr_events, 3);
	trace_destroy(&t);
}

static void test_normalise_double_alloc(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	add(&t, 1, 0, true, 4, 1);
	add(&t, 2, 0, true, 4, 0);
	add(&t, 3, 0, true, 4, 1);
	a = normalise(&t);
	CHECK_ANOMALIES(a, .double_alloc = 3);
	assert_int_equal(t.nr_events, 1);
	trace_destroy(&t);
}

static void test_normalise_outside(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 6);
	range(&t.ranges, 100, 2);
	add(&t, 1, 0, true, 6, 0);
	add(&t, 2, 0, false, 200, 4);
	add(&t, 3, 0, true, 4, 2);
	a = normalise(&t);
	CHECK_ANOMALIES(a, .outside = 1 + 16 + 2, .partial = 1);
	assert_int_equal(t.nr_events, 1);
	check_event(&t, 0, 3, 0, true, 4, 1);
	trace_destroy(&t);
}

/* Pages 16 to 31 are freed while 21, 24 and 25 are free: the rest in the largest aligned pieces. */
static void test_normalise_splits(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	add(&t, 1, 0, false, 21, 0);
	add(&t, 2, 0, false, 24, 1);
	add(&t, 3, 1, false, 16, 4);
	t.events[2].hidden = 1;
	a = normalise(&t);
	CHECK_ANOMALIES(a, .partial = 1, .double_free = 3);
	assert_int_equal(t.nr_events, 7);
	for (size_t i = 0; i < t.nr_events; i++)
		assert_int_equal(t.events[i].hidden, i > 1);
	check_event(&t, 2, 3, 1, false, 16, 2);
	check_event(&t, 3, 3, 1, false, 20, 0);
	check_event(&t, 4, 3, 1, false, 22, 1);
	check_event(&t, 5, 3, 1, false, 26, 1);
	check_event(&t, 6, 3, 1, false, 28, 2);
	trace_destroy(&t);
}

/* The history outgrows the recording: every second page is held, then all are freed at once. */
static void test_normalise_grows(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 1 << 16);
	for (uint64_t pfn = 0; pfn < 1 << 16; pfn += 2)
		add(&t, 1, 0, false, pfn, 0);
	add(&t, 2, 0, false, 0, 16);
	for (uint64_t pfn = 0; pfn < 1 << 16; pfn += 2)
		add(&t, 3, 0, true, pfn, 0);
	add(&t, 4, 0, true, 0, 16);
	a = normalise(&t);
	CHECK_ANOMALIES(a, .partial = 2, .double_free = 1 << 15, .double_alloc = 1 << 15);
	assert_int_equal(t.nr_events, 4 << 15);
	check_event(&t, (2 << 15) - 1, 2, 0, false, 65535, 0);
	check_event(&t, (4 << 15) - 1, 4, 0, true, 65535, 0);
	trace_destroy(&t);
}

static void test_normalise_unaligned(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	add(&t, 1, 0, true, 3, 2);
	a = normalise(&t);
	CHECK_ANOMALIES(a, 0);
	assert_int_equal(t.nr_events, 3);
	check_event(&t, 0, 1, 0, true, 3, 0);
	check_event(&t, 1, 1, 0, true, 4, 1);
	check_event(&t, 2, 1, 0, true, 6, 0);
	trace_destroy(&t);
}

static void test_normalise_snapshot(void **state)
{
	struct trace_anomalies a;
	struct trace t;

	(void)state;
	machine(&t, 64);
	t.has_snapshot = true;
	range(&t.free_before, 10, 10);
	range(&t.free_before, 1000, 1);		/* in no range */
	range(&t.free_after, 3, 3);
	add(&t, 1, 0, true, 10, 0);
	add(&t, 2, 0, false, 11, 0);		/* the snapshot says that it was free */
	add(&t, 3, 0, true, 30, 0);		/* in a per-CPU list */
	a = normalise(&t);
	CHECK_ANOMALIES(a, .double_free = 1);
	assert_int_equal(t.nr_events, 2);
	assert_int_equal(t.free_before.nr, 2);
	assert_int_equal(t.free_before.v[0].pfn, 10);
	assert_int_equal(t.free_before.v[0].nr, 10);
	assert_int_equal(t.free_before.v[1].pfn, 30);
	assert_int_equal(t.free_before.v[1].nr, 1);
	assert_int_equal(t.free_after.v[0].pfn, 3);
	trace_destroy(&t);
}

/* Random events, many of them wrong, on a machine with holes. */

#define RANDOM_PFNS	400

struct model {
	bool valid[RANDOM_PFNS + 64];
	bool seen[RANDOM_PFNS + 64];
	bool free[RANDOM_PFNS + 64];
	bool before[RANDOM_PFNS + 64];
};

static void random_trace(struct trace *t, struct model *m, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	trace_init(t);
	t->page_size = 4096;
	t->nr_cpus = 4;
	for (int i = 0; i < 3; i++) {
		uint64_t pfn = random_next(&seed) % 300, nr = random_next(&seed) % 100 + 1;

		range(&t->ranges, pfn, nr);
		memset(m->valid + pfn, true, nr);
	}
	t->has_snapshot = seed & 1 << 20;
	for (int i = 0; i < 5 && t->has_snapshot; i++) {
		uint64_t pfn = random_next(&seed) % 350, nr = random_next(&seed) % 50;

		range(&t->free_before, pfn, nr);
		for (uint64_t p = pfn; p < pfn + nr; p++)
			m->before[p] = m->free[p] = m->seen[p] = m->valid[p];
	}
	for (int i = 0; i < 300; i++) {
		unsigned int order = random_next(&seed) % 4 ? 0 : random_next(&seed) % 6;
		uint64_t pfn = random_next(&seed) % RANDOM_PFNS;

		if (random_next(&seed) % 8)
			pfn &= ~((UINT64_C(1) << order) - 1);
		add(t, (uint64_t)i * 5000 + random_next(&seed) % 20000,
		    random_next(&seed) % 4, random_next(&seed) % 2, pfn, order);
	}
}

static int compare_ns(const void *a, const void *b)
{
	const struct trace_event *x = a, *y = b;

	return (x->ns > y->ns) - (x->ns < y->ns);
}

/* What the history must be, page by page; counts pages in the wrong state. */
static struct trace_event *model_run(struct model *m, const struct trace *t, size_t *nr,
				     struct trace_anomalies *a)
{
	struct trace_event *pages = calloc(t->nr_events * 64, sizeof(*pages));

	assert_non_null(pages);
	*nr = 0;
	for (size_t i = 0; i < t->nr_events; i++) {
		const struct trace_event *e = &t->events[i];

		for (uint64_t pfn = e->pfn; pfn < e->pfn + (1u << e->order); pfn++) {
			if (!m->valid[pfn]) {
				a->outside++;
				continue;
			}
			if (m->seen[pfn] && m->free[pfn] != e->alloc) {
				*(e->alloc ? &a->double_alloc : &a->double_free) += 1;
				continue;
			}
			m->before[pfn] |= !m->seen[pfn] && e->alloc;
			m->seen[pfn] = true;
			m->free[pfn] = !e->alloc;
			pages[*nr] = *e;
			pages[*nr].pfn = pfn & TRACE_MAX_PFN;
			pages[(*nr)++].order = 0;
		}
	}
	return pages;
}

/* Free pages of repeats are not counted as double frees: add them, by what the events say. */
static void check_counts(const struct trace_anomalies *a, const struct trace_anomalies *expected)
{
	assert_int_equal(a->double_alloc, expected->double_alloc);
	assert_int_equal(a->outside, expected->outside);
	assert_true(a->double_free <= expected->double_free);
	assert_true(a->double_free + 32 * a->repeated_free >= expected->double_free);
	assert_true(a->double_free + a->repeated_free <= expected->double_free);
}

static void check_before(const struct trace *t, const struct model *m)
{
	bool before[RANDOM_PFNS + 64] = { false };

	for (size_t i = 0; i < t->free_before.nr; i++)
		memset(before + t->free_before.v[i].pfn, true, t->free_before.v[i].nr);
	assert_memory_equal(before, m->before, sizeof(before));
}

/* Every event right, aligned, in time; all in all the pages that the model says, in its order. */
static void check_history(const struct trace *t, const struct model *m,
			  const struct trace_event *pages, size_t nr)
{
	bool free_now[RANDOM_PFNS + 64];
	size_t at = 0;

	memcpy(free_now, m->before, sizeof(free_now));
	for (size_t i = 0; i < t->nr_events; i++) {
		const struct trace_event *e = &t->events[i];

		assert_int_equal(e->pfn & ((1u << e->order) - 1), 0);
		assert_true(!i || t->events[i - 1].ns <= e->ns);
		for (uint64_t pfn = e->pfn; pfn < e->pfn + (1u << e->order); pfn++, at++) {
			assert_true(m->valid[pfn]);
			assert_int_equal(free_now[pfn], e->alloc);
			free_now[pfn] = !e->alloc;
			assert_true(at < nr);
			assert_int_equal(pages[at].pfn, pfn);
			assert_int_equal(pages[at].ns, e->ns);
			assert_int_equal(pages[at].cpu, e->cpu);
		}
	}
	assert_int_equal(at, nr);
}

static void check_idempotent(struct trace *t, const struct trace_anomalies *a)
{
	struct trace_event *events = malloc(t->nr_events * sizeof(*events) + 1);
	const size_t nr = t->nr_events;
	struct trace_anomalies again;

	assert_non_null(events);
	memcpy(events, t->events, nr * sizeof(*events));
	again = normalise(t);
	assert_memory_equal(&again, a, sizeof(again));
	assert_int_equal(t->nr_events, nr);
	assert_memory_equal(events, t->events, nr * sizeof(*events));
	free(events);
}

static void test_normalise_random(void **state)
{
	uint64_t repeats = 0, doubles = 0, partial = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 1000; seed++) {
		struct trace_anomalies a, expected = { 0 };
		struct trace_event *pages;
		struct trace t, sorted;
		struct model m;
		size_t nr;

		random_trace(&t, &m, seed * UINT64_C(0x9e3779b97f4a7c15));
		sorted = t;
		sorted.events = malloc(t.nr_events * sizeof(*t.events));
		assert_non_null(sorted.events);
		memcpy(sorted.events, t.events, t.nr_events * sizeof(*t.events));
		/* glibc's qsort() is stable as long as there is memory. */
		qsort(sorted.events, t.nr_events, sizeof(*t.events), compare_ns);
		pages = model_run(&m, &sorted, &nr, &expected);
		a = normalise(&t);
		check_counts(&a, &expected);
		check_before(&t, &m);
		check_history(&t, &m, pages, nr);
		check_idempotent(&t, &a);
		repeats += a.repeated_free;
		doubles += a.double_free;
		partial += a.partial;
		free(pages);
		free(sorted.events);
		trace_destroy(&t);
	}
	/* else it tests little */
	assert_true(repeats > 100 && doubles > 10000 && partial > 1000);
}

static void test_anomalies(void **state)
{
	struct trace_anomalies a = { 0 };
	char text[256];

	(void)state;
	assert_int_equal(trace_anomalies_total(&a), 0);
	trace_anomalies_print(&a, text, sizeof(text));
	assert_string_equal(text, "none");
	a.partial = 3;
	a.failed_alloc = 1;
	assert_int_equal(trace_anomalies_total(&a), 4);
	trace_anomalies_print(&a, text, sizeof(text));
	assert_string_equal(text, "1 failed_alloc, 3 partial");
	trace_anomalies_print(&a, text, 10);
	assert_string_equal(text, "1 failed_");
	a.outside = UINT64_MAX;
	assert_int_equal(trace_anomalies_total(&a), UINT64_MAX);
	for (size_t i = 0; i < TRACE_NR_ANOMALIES; i++)
		*trace_anomaly(&a, i) = i;
	assert_int_equal(trace_anomalies_total(&a), 21);
	assert_string_equal(trace_anomaly_name(0), "failed_alloc");
	assert_string_equal(trace_anomaly_name(6), "outside");
}

/* Text */

static void import_file(struct trace *t, uint64_t *skipped)
{
	struct trace_error err = { .text = "" };

	trace_init(t);
	if (trace_import_text(t, file, 0, skipped, &err))
		fail_msg("%s", err.text);
}

static void import(struct trace *t, const char *text, uint64_t *skipped)
{
	write_file(text, strlen(text));
	import_file(t, skipped);
}

static void refuse_file(const char *what)
{
	struct trace_error err = { .text = "" };
	uint64_t skipped;
	struct trace t;

	trace_init(&t);
	if (!trace_import_text(&t, file, 0, &skipped, &err))
		fail_msg("imported, but should have said '%s'", what);
	check_error(&err, what);
	check_error(&err, file);
	assert_true(is_empty(&t));
}

static void refuse_text(const char *text, const char *what)
{
	write_file(text, strlen(text));
	refuse_file(what);
}

/* As Linux 6.18 writes it. */
static const char ftrace_text[] =
	"# tracer: nop\n"
	"#\n"
	"# entries-in-buffer/entries-written: 5/9   #P:4\n"
	"#\n"
	"#                                _-----=> irqs-off/BH-disabled\n"
	"#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n"
	"            bash-3295    [001] .....  1282.482522: mm_page_alloc: page=00000000c00d6237 "
	"pfn=0x11052c order=0 migratetype=2 gfp_flags=GFP_KERNEL|__GFP_COMP\n"
	"         python3-3302    [000] d..1.  1282.817583: mm_page_free: page=000000003b0287bb "
	"pfn=0x114270 order=3\n"
	"         python3-3302    [000] ...2.  1282.817584: mm_page_free_batched: "
	"page=000000003b0287bb pfn=0x114270 order=0\n"
	"           <...>-12      [002] .....  1282.817584: sched_switch: prev_comm=a pfn=0x1 "
	"order=0\n"
	"         python3-3302    [000] .....  1282.917583: mm_page_alloc: page=0000000000000000 "
	"pfn=0x0 order=9 migratetype=1 gfp_flags=GFP_TRANSHUGE\n";

static void test_text_ftrace(void **state)
{
	uint64_t skipped;
	struct trace t;

	(void)state;
	import(&t, ftrace_text, &skipped);
	assert_int_equal(t.page_size, 4096);
	assert_int_equal(t.nr_cpus, 4);
	assert_int_equal(t.lost, 4);
	assert_false(t.has_snapshot);
	assert_int_equal(skipped, 1);
	CHECK_ANOMALIES(t.recorded, .failed_alloc = 1, .repeated_free = 1);
	assert_int_equal(t.nr_events, 2);
	check_event(&t, 0, 0, 1, true, 0x11052c, 0);
	check_event(&t, 1, 335061000, 0, false, 0x114270, 3);
	assert_int_equal(t.duration_ns, 335061000);
	assert_int_equal(t.ranges.nr, 2);
	assert_int_equal(t.ranges.v[0].pfn, 0x110400);
	assert_int_equal(t.ranges.v[0].nr, 1024);
	assert_int_equal(t.ranges.v[1].pfn, 0x114000);
	trace_destroy(&t);
}

/* Linux 4.4: no number behind #P, four flags, decimal pfns, addresses. */
static void test_text_old_ftrace(void **state)
{
	uint64_t skipped;
	struct trace t;

	(void)state;
	import(&t,
	       "           <...>-22275 [006] ....   889.213383: mm_page_alloc: "
	       "page=ffffea0003db9f40 pfn=970744 order=2 migratetype=0 nr_free=3650 gfp_flags=0\n"
	       "CPU:3 [LOST 12 EVENTS]\n"
	       "           <...>-22275 [006] d..1   889.213384: mm_page_free: "
	       "page=ffffea0003db9f40 pfn=970744 order=2\n"
	       "CPU:1 [LOST EVENTS]\n"
	       "           <...>-22275 [006] d..1   889.213385: mm_page_alloc: "
	       "page=          (null) pfn=0 order=2 migratetype=0 gfp_flags=0\n", &skipped);
	assert_int_equal(skipped, 0);
	assert_int_equal(t.lost, 13);
	assert_int_equal(t.nr_cpus, 7);
	CHECK_ANOMALIES(t.recorded, .failed_alloc = 1);
	assert_int_equal(t.nr_events, 2);
	check_event(&t, 0, 0, 6, true, 970744, 2);
	check_event(&t, 1, 1000, 6, false, 970744, 2);
	trace_destroy(&t);
}

static void test_text_trace_cmd(void **state)
{
	uint64_t skipped;
	struct trace t;

	(void)state;
	import(&t,
	       "cpus=8\n"
	       "           sleep-2345  [003]  1234.567890: mm_page_alloc:        page=0x11052c "
	       "pfn=0x11052c order=0 migratetype=1 gfp_flags=GFP_KERNEL\n"
	       "CPU:2 [5 EVENTS DROPPED]\n"
	       "           sleep-2345  [003] d..1.  1234.567890123: mm_page_free:         "
	       "page=0xffffea0004414b00 pfn=1115436 order=0\n"
	       "           sleep-2345  [003] .....  1234.667890: mm_page_alloc:        page=(nil) "
	       "pfn=0xffffffffffffffff order=1 migratetype=1 gfp_flags=GFP_KERNEL\n", &skipped);
	assert_int_equal(skipped, 0);
	assert_int_equal(t.nr_cpus, 8);
	assert_int_equal(t.lost, 5);
	CHECK_ANOMALIES(t.recorded, .failed_alloc = 1);
	assert_int_equal(t.nr_events, 2);
	check_event(&t, 0, 0, 3, true, 0x11052c, 0);
	check_event(&t, 1, 123, 3, false, 1115436, 0);
	trace_destroy(&t);
}

static void test_text_perf(void **state)
{
	uint64_t skipped;
	struct trace t;

	(void)state;
	import(&t,
	       "            perf  6729 [001]  1315.362979: kmem:mm_page_alloc: page=0x102ddd "
	       "pfn=0x102ddd order=0 migratetype=0 gfp_flags=GFP_HIGHUSER|__GFP_ACCOUNT\n"
	       "perf  6429/6430 [000]    22.498450:          1  kmem:mm_page_free: page=0x129f0f "
	       "pfn=1220367 order=0\n"
	       "    ffffffffbe23e32e __alloc_pages_nodemask+0x22e (/lib/vmlinux)\n"
	       "\n"
	       "       perf-exec  6731 [000]  1315.363264:  kmem:mm_page_alloc: page=(nil) "
	       "pfn=18446744073709551615 order=0 migratetype=0 gfp_flags=0\n", &skipped);
	assert_int_equal(skipped, 1);
	CHECK_ANOMALIES(t.recorded, .failed_alloc = 1);
	assert_int_equal(t.nr_cpus, 2);
	assert_int_equal(t.nr_events, 2);
	/* from the earliest, which need not be the first */
	check_event(&t, 0, UINT64_C(1292864529000), 1, true, 0x102ddd, 0);
	check_event(&t, 1, 0, 0, false, 1220367, 0);
	assert_int_equal(t.duration_ns, UINT64_C(1292864529000));
	trace_destroy(&t);
}

static void test_text_names(void **state)
{
	static const char *const names[] = {
		"a b c", "x: y [000] z", "[000]", "[000] 1.5: x:", "a-1 [000] 1: m:",
		"[0] 1: kmem:x:", "[3] .. 1.1: a: ", "mm_page_free:", "pfn=0x1 order=2", "((((",
		"12:34", "#", "cpus=99", "CPU:0 [LOST 1 E", "-", "]]", "\xff\xfe",
	};

	(void)state;
	for (size_t i = 0; i < NR(names); i++) {
		uint64_t skipped;
		struct trace t;
		char text[512];

		snprintf(text, sizeof(text),
			 "%16s-77      [002] d..1.  1282.817583: mm_page_free: "
			 "page=000000003b0287bb pfn=0x10 order=1\n"
			 "%s 77 [002]  1282.817583: kmem:mm_page_free: page=0x1 pfn=0x10 order=1\n",
			 names[i], names[i]);
		import(&t, text, &skipped);
		assert_int_equal(t.nr_events, 2);
		assert_int_equal(t.nr_cpus, 3);
		assert_int_equal(skipped, 0);
		check_event(&t, 0, 0, 2, false, 0x10, 1);
		check_event(&t, 1, 0, 2, false, 0x10, 1);
		trace_destroy(&t);
	}
}

/* What an event's own text says is none of ours. */
static void test_text_marker(void **state)
{
	uint64_t skipped;
	struct trace t;

	(void)state;
	import(&t,
	       "   sh-77      [002] d..1.  1282.817583: mm_page_free: page=0 pfn=0x10 order=1\n"
	       "   sh-77      [002] d..1.  1282.817583: tracing_mark_write: sh-77 [001] d..1. "
	       "1282.817583: mm_page_free: page=0 pfn=0x11 order=0\n"
	       " 24)               |  /* mm_page_alloc: page=0000000000000000 pfn=0 order=9 */\n",
	       &skipped);
	assert_int_equal(t.nr_events, 1);
	assert_int_equal(skipped, 2);
	trace_destroy(&t);
}

static void test_text_times(void **state)
{
	uint64_t skipped;
	struct trace t;

	(void)state;
	import(&t,
	       " sh-77 [002] d..1. 1500: mm_page_free: page=0 pfn=0x10 order=0\r\n"
	       " sh-77 [002] 0.000002: mm_page_free: page=0 pfn=0x11 order=0\r\n"
	       " sh-77 [002] 0.5: mm_page_alloc: page=0 pfn=0x11 order=0 x\n"
	       " sh-77 [002] 0.5000000001: mm_page_alloc: page=0 pfn=0x11 order=0\n"
	       " sh-77 [002] 0.: mm_page_alloc: page=0 pfn=0x11 order=0\n"
	       " sh-77 [002] 9223372036.854775807: mm_page_free: page=0 pfn=0 order=0", &skipped);
	assert_int_equal(skipped, 2);
	assert_int_equal(t.nr_events, 4);
	assert_int_equal(t.events[0].ns, 0);
	assert_int_equal(t.events[1].ns, 500);
	assert_int_equal(t.events[2].ns, 499998500);
	assert_int_equal(t.events[3].ns, INT64_MAX - 1500);
	trace_destroy(&t);
}

/* The header's number is of the CPUs that were online. */
static void test_text_more_cpus(void **state)
{
	uint64_t skipped;
	struct trace t;

	(void)state;
	import(&t,
	       "cpus=2\n"
	       " sh-77 [002] d..1. 1.1: mm_page_free: page=1 pfn=0x0 order=0\n", &skipped);
	assert_int_equal(t.nr_cpus, 3);
	trace_destroy(&t);
}

static void test_text_page_zero(void **state)
{
	uint64_t skipped;
	struct trace t;

	(void)state;
	import(&t,
	       " sh-77 [002] d..1. 1.1: mm_page_alloc: page=00000000c00d6237 pfn=0x0 order=0\n"
	       " sh-77 [002] d..1. 1.1: mm_page_free: page=0000000000000000 pfn=0x0 order=0\n"
	       " sh-77 [002] d..1. 1.1: mm_page_alloc: page=0000000000000000 pfn=0x1 order=0\n"
	       " sh-77 [002] d..1. 1.1: mm_page_alloc: page=0x0 pfn=0 order=0\n", &skipped);
	assert_int_equal(t.nr_events, 3);
	CHECK_ANOMALIES(t.recorded, .failed_alloc = 1);
	trace_destroy(&t);
}

static void test_text_refused(void **state)
{
	(void)state;
	refuse_text("", "it is empty");
	refuse_text("\n\n", "it is empty");
	refuse_text("hello\nworld\n", "no page event in 2 lines that begin 'hello'");
	refuse_text("\x1b[31m\xff\n", "begin '?[31m?'");
	refuse_text("FPTTRACE\1", "an fpt trace already");
	refuse_text(" sh-77 [002] 1.1: mm_page_free: page=0 pfn=0x1 order=0\n"
		    " sh-77 [002] 1.1: mm_page_free: page=0 pfn=0x1 order=60\n",
		    "line 2: order 60 is above 20: 'sh-77 [002] 1.1: mm_page_free: page=0 pfn=0x1");
	refuse_text(" sh-77 [4096] 1.1: mm_page_free: page=0 pfn=0x1 order=0\n",
		    "line 1: CPU 4096");
	refuse_text(" sh-77 [99999999999999999999999] 1.1: mm_page_free: page=0 pfn=0x1 order=0\n",
		    "line 1: CPU ");
	refuse_text(" sh-77 [002] 1.1: mm_page_free: page=0 pfn=0x100000000000 order=0\n",
		    "line 1: pfn 0x100000000000");
	refuse_text(" sh-77 [002] 1.1: mm_page_free: page=0 pfn=0xffffffffffffffff order=0\n",
		    "line 1: pfn");
	refuse_text(" sh-77 [002] 1.1: mm_page_alloc: page=0 pfn=0x10000000000000000 order=0\n",
		    "line 1: no number after 'pfn='");
	refuse_text(" sh-77 [002] 1.1: mm_page_free: page=0 pfn=1a order=0\n",
		    "line 1: no number after 'pfn='");
	refuse_text(" sh-77 [002] 1.1: mm_page_free: page=0 pfn= order=0\n",
		    "line 1: no number after 'pfn='");
	refuse_text(" sh-77 [002] 1.1: mm_page_free: page=0 pf",
		    "line 1: no number after 'pfn='");
	refuse_text(" sh-77 [002] 1.1: mm_page_free: page=0 pfn=0x1 order=\n",
		    "line 1: no number after 'order='");
	refuse_text(" sh-77 [002] 1.1: mm_page_free: page=0 pfn=0x1 order=-1\n",
		    "line 1: no number after 'order='");
	refuse_text(" sh-77 [002] 9223372036.854775808: mm_page_free: page=0 pfn=0x1 order=0\n",
		    "line 1: the time does not fit");
	refuse_text(" sh-77 [002] 99999999999999999999.1: mm_page_free: page=0 pfn=0x1 order=0\n",
		    "line 1: the time does not fit");
	refuse_text("# entries-in-buffer/entries-written: 1/1   #P:4097\n", "line 1: more CPUs");
	refuse_text("cpus=99999999999999999999\n", "line 1: more CPUs");
}

static void test_text_long_line(void **state)
{
	char *text = malloc(3 << 20);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', 3 << 20);
	write_file(text, 3 << 20);
	refuse_file("line 1 is longer than 1 MiB");
	free(text);
}

static size_t gzip(const char *text, size_t size, uint8_t *to, size_t room)
{
	z_stream z = { 0 };
	int ret;

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
			 Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)text;
	z.avail_in = (unsigned int)size;
	z.next_out = to;
	z.avail_out = (unsigned int)room;
	ret = deflate(&z, Z_FINISH);
	deflateEnd(&z);
	assert_int_equal(ret, Z_STREAM_END);
	return room - z.avail_out;
}

static size_t zstd(const char *text, size_t size, uint8_t *to, size_t room)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();
	size_t n;

	assert_non_null(z);
	/* as the zstd command does */
	ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
	n = ZSTD_compress2(z, to, room, text, size);
	ZSTD_freeCCtx(z);
	assert_false(ZSTD_isError(n));
	return n;
}

static void check_many(unsigned int nr)
{
	uint64_t skipped;
	struct trace t;

	import_file(&t, &skipped);
	assert_int_equal(skipped, 0);
	assert_int_equal(t.nr_events, nr);
	for (unsigned int i = 0; i < nr; i++)
		check_event(&t, i, UINT64_C(1000001000) * i, i % 5, i % 2, i, i % 4);
	assert_int_equal(trace_extents_total(&t.ranges), 59 * 1024);
	trace_destroy(&t);
}

/* Lines of all lengths across the reader's buffers. */
static void test_text_many(void **state)
{
	const unsigned int nr = 60000;
	char *text = malloc(nr * 128), *at = text;
	uint8_t *packed = malloc(nr * 128);

	(void)state;
	assert_true(text && packed);
	for (unsigned int i = 0; i < nr; i++)
		at += sprintf(at, "%*s-1 [%03u] %u.%06u: mm_page_%s: page=1 pfn=0x%x order=%u\n",
			      (int)(i % 17), "n", i % 5, 10 + i, i, i % 2 ? "alloc" : "free", i,
			      i % 4);
	write_file(text, (size_t)(at - text));
	check_many(nr);
	write_file(packed, gzip(text, (size_t)(at - text), packed, nr * 128));
	check_many(nr);
	write_file(packed, zstd(text, (size_t)(at - text), packed, nr * 128));
	check_many(nr);
	free(text);
	free(packed);
}

static void check_packed(size_t (*pack)(const char *text, size_t size, uint8_t *to, size_t room))
{
	static uint8_t data[16384];
	const size_t half = 100;
	size_t size, first;
	uint64_t skipped;
	struct trace t;

	size = pack(ftrace_text, sizeof(ftrace_text) - 1, data, sizeof(data));
	write_file(data, size);
	import_file(&t, &skipped);
	assert_int_equal(t.nr_events, 2);
	trace_destroy(&t);
	/* padding of a raw device */
	memset(data + size, 0, 5000);
	write_file(data, size + 5000);
	import_file(&t, &skipped);
	assert_int_equal(t.nr_events, 2);
	trace_destroy(&t);
	for (size_t i = 4; i < size; i++) {
		write_file(data, i);
		refuse_file("truncated");
	}
	memcpy(data + size, "no more", 7);
	write_file(data, size + 7);
	refuse_file("corrupt");
	/* a second member or frame */
	first = pack(ftrace_text, half, data, sizeof(data));
	size = pack(ftrace_text + half, sizeof(ftrace_text) - 1 - half, data + first,
		    sizeof(data) - first);
	write_file(data, first + size);
	import_file(&t, &skipped);
	assert_int_equal(t.nr_events, 2);
	trace_destroy(&t);
	data[20] ^= 0xff;
	data[30] ^= 0xff;
	write_file(data, first + size);
	refuse_file(file);
}

static void test_text_gzip(void **state)
{
	(void)state;
	check_packed(gzip);
}

static void test_text_zstd(void **state)
{
	(void)state;
	check_packed(zstd);
}

static void test_text_arguments(void **state)
{
	struct trace_error err = { .text = "" };
	uint64_t skipped;
	struct trace t;

	(void)state;
	trace_init(&t);
	assert_int_equal(trace_import_text(&t, "/tmp/there/is/none", 0, &skipped, &err), -1);
	check_error(&err, "cannot open /tmp/there/is/none");
	assert_int_equal(trace_import_text(&t, directory, 0, &skipped, &err), -1);
	check_error(&err, "Is a directory");
	assert_int_equal(trace_import_text(&t, file, 3000, &skipped, &err), -1);
	check_error(&err, "power of two");
	write_file(ftrace_text, sizeof(ftrace_text) - 1);
	assert_int_equal(trace_import_text(&t, file, 65536, &skipped, &err), 0);
	assert_int_equal(t.page_size, 65536);
	trace_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event_size),
		cmocka_unit_test(test_extents),
		cmocka_unit_test(test_extents_limits),
		cmocka_unit_test(test_extents_random),
		cmocka_unit_test(test_page_without_ranges),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_round_trip_empty),
		cmocka_unit_test(test_round_trip_large),
		cmocka_unit_test(test_corrupt),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_trailing_garbage),
		cmocka_unit_test(test_wrong_magic),
		cmocka_unit_test(test_wrong_version),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_save_errors),
		cmocka_unit_test(test_save_replaces),
		cmocka_unit_test(test_by_hand),
		cmocka_unit_test(test_hostile_header),
		cmocka_unit_test(test_hostile_trailer),
		cmocka_unit_test(test_hostile_sections),
		cmocka_unit_test(test_hostile_lengths),
		cmocka_unit_test(test_hostile_extents),
		cmocka_unit_test(test_hostile_events),
		cmocka_unit_test(test_hostile_bomb),
		cmocka_unit_test(test_normalise_right),
		cmocka_unit_test(test_normalise_nothing),
		cmocka_unit_test(test_normalise_failed_alloc),
		cmocka_unit_test(test_normalise_out_of_order),
		cmocka_unit_test(test_normalise_repeated_free),
		cmocka_unit_test(test_normalise_double_free),
		cmocka_unit_test(test_normalise_no_repeat),
		cmocka_unit_test(test_normalise_free_again),
		cmocka_unit_test(test_normalise_double_alloc),
		cmocka_unit_test(test_normalise_outside),
		cmocka_unit_test(test_normalise_splits),
		cmocka_unit_test(test_normalise_grows),
		cmocka_unit_test(test_normalise_unaligned),
		cmocka_unit_test(test_normalise_snapshot),
		cmocka_unit_test(test_normalise_random),
		cmocka_unit_test(test_anomalies),
		cmocka_unit_test(test_text_ftrace),
		cmocka_unit_test(test_text_old_ftrace),
		cmocka_unit_test(test_text_trace_cmd),
		cmocka_unit_test(test_text_perf),
		cmocka_unit_test(test_text_names),
		cmocka_unit_test(test_text_marker),
		cmocka_unit_test(test_text_times),
		cmocka_unit_test(test_text_more_cpus),
		cmocka_unit_test(test_text_page_zero),
		cmocka_unit_test(test_text_refused),
		cmocka_unit_test(test_text_long_line),
		cmocka_unit_test(test_text_many),
		cmocka_unit_test(test_text_gzip),
		cmocka_unit_test(test_text_zstd),
		cmocka_unit_test(test_text_arguments),
	};

	return cmocka_run_group_tests_name("trace", tests, make_directory, remove_directory);
}
