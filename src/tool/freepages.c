/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* freepages.c - which pages of the running machine are free, as of one moment of a recording */
#include "freepages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KPF_BUDDY	10

/* Pages read at once: 128 MiB of memory, a millisecond or two. */
#define CHUNK_PAGES	32768u
#define TRIES		5u

struct range {
	uint64_t pfn;
	uint64_t nr;
	uint64_t bit;			/* of its first page */
};

struct span {
	uint64_t begin_ns;
	uint64_t end_ns;
};

/* Pages are numbered as bits, over all ranges; a range starts at a multiple of 64. */
struct freepages {
	struct range *ranges;
	size_t nr_ranges;
	uint64_t nr_bits;
	uint64_t *free;
	struct span *spans;		/* when bits [i * CHUNK_PAGES, + CHUNK_PAGES) were read */
	size_t nr_spans;
};

/* The kernel's own counts. */
struct counts {
	uint64_t free;			/* in the buddy allocator */
	uint64_t managed;
	uint64_t pcp;			/* in per-CPU lists */
};

int freepages_ranges(struct trace_extents *ranges, struct trace_error *err)
{
	const uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE);
	unsigned long long from, to;
	char line[256], name[64];
	int ret = 0;
	FILE *f = fopen("/proc/iomem", "re");

	if (!f)
		return error_set(err, "cannot read /proc/iomem: %s; run it as root",
				 strerror(errno));
	while (!ret && fgets(line, sizeof(line), f)) {
		/* Hotplugged memory has more after these words. */
		if (sscanf(line, " %llx-%llx : %10[^\n]", &from, &to, name) != 3 ||
		    strcmp(name, "System RAM"))
			continue;
		from = (from + size - 1) / size;
		to = (to + 1) / size;
		if (from < to && to <= TRACE_MAX_PFN)
			ret = trace_extents_add(ranges, from, to - from);
	}
	fclose(f);
	if (ret)
		return error_set(err, "out of memory");
	trace_extents_finish(ranges);
	if (!ranges->nr)
		return error_set(err, "/proc/iomem hides the addresses of memory; run it as root");
	return 0;
}

static int read_vmstat(struct counts *n, struct trace_error *err)
{
	unsigned long long value, free_pages = 0, unaccepted = 0;
	char name[64];
	bool found = false;
	FILE *f = fopen("/proc/vmstat", "re");

	if (!f)
		return error_set(err, "cannot read /proc/vmstat: %s", strerror(errno));
	while (fscanf(f, "%63s %llu", name, &value) == 2) {
		if (!strcmp(name, "nr_free_pages")) {
			free_pages = value;
			found = true;
		} else if (!strcmp(name, "nr_unaccepted")) {
			/* Counted as free, but not the allocator's yet (confidential guests). */
			unaccepted = value;
		}
	}
	fclose(f);
	if (!found)
		return error_set(err, "/proc/vmstat has no nr_free_pages; use --no-snapshot");
	n->free = free_pages > unaccepted ? free_pages - unaccepted : 0;
	return 0;
}

static int read_counts(struct counts *n, struct trace_error *err)
{
	unsigned long long value;
	char line[256];
	FILE *f = fopen("/proc/zoneinfo", "re");

	if (!f)
		return error_set(err, "cannot read /proc/zoneinfo: %s", strerror(errno));
	n->managed = n->pcp = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " managed %llu", &value) == 1)
			n->managed += value;
		else if (sscanf(line, " count: %llu", &value) == 1)
			n->pcp += value;
	}
	fclose(f);
	return read_vmstat(n, err);
}

static bool is_free(const struct freepages *f, uint64_t bit)
{
	return f->free[bit / 64] >> bit % 64 & 1;
}

static void set_free(struct freepages *f, uint64_t bit, bool free_now)
{
	const uint64_t mask = UINT64_C(1) << bit % 64;

	if (free_now)
		f->free[bit / 64] |= mask;
	else
		f->free[bit / 64] &= ~mask;
}

static uint64_t count_free(const struct freepages *f)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < f->nr_bits / 64; i++)
		n += (uint64_t)__builtin_popcountll(f->free[i]);
	return n;
}

static struct freepages *make(const struct trace_extents *ranges)
{
	struct freepages *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->nr_ranges = ranges->nr;
	f->ranges = calloc(ranges->nr, sizeof(*f->ranges));
	if (!f->ranges)
		goto fail;
	for (size_t i = 0; i < ranges->nr; i++) {
		f->ranges[i] = (struct range){ ranges->v[i].pfn, ranges->v[i].nr, f->nr_bits };
		f->nr_bits += (ranges->v[i].nr + 63) / 64 * 64;
	}
	f->nr_spans = (f->nr_bits + CHUNK_PAGES - 1) / CHUNK_PAGES;
	f->free = calloc(f->nr_bits / 64, sizeof(*f->free));
	f->spans = calloc(f->nr_spans, sizeof(*f->spans));
	if (f->free && f->spans)
		return f;
fail:
	freepages_free(f);
	return NULL;
}

void freepages_free(struct freepages *f)
{
	if (!f)
		return;
	free(f->ranges);
	free(f->free);
	free(f->spans);
	free(f);
}

/* A piece of one range that lies in one span. */
static int read_piece(struct freepages *f, int fd, uint64_t pfn, uint64_t bit, uint64_t nr,
		      uint64_t *flags, struct capture *c, struct trace_error *err)
{
	struct span *span = &f->spans[bit / CHUNK_PAGES];
	const uint64_t begin = capture_now_ns(c);
	size_t done = 0;
	ssize_t n;

	while (done < nr * 8) {
		n = pread(fd, (char *)flags + done, nr * 8 - done, (off_t)(pfn * 8 + done));
		if (n < 0)
			return error_set(err, "cannot read /proc/kpageflags: %s; run it as root",
					 strerror(errno));
		if (!n)
			break;		/* beyond the last page that the kernel knows */
		done += (size_t)n;
	}
	if (!span->end_ns)
		span->begin_ns = begin;
	span->end_ns = capture_now_ns(c);
	for (uint64_t i = 0; i < nr; i++)
		set_free(f, bit + i, i < done / 8 && flags[i] >> KPF_BUDDY & 1);
	return 0;
}

static int read_pages(struct freepages *f, int fd, uint64_t *flags, struct capture *c,
		      struct trace_error *err)
{
	uint64_t drain_ns = capture_now_ns(c);

	memset(f->spans, 0, f->nr_spans * sizeof(*f->spans));
	for (size_t i = 0; i < f->nr_ranges; i++) {
		const struct range *r = &f->ranges[i];

		for (uint64_t at = 0, nr; at < r->nr; at += nr) {
			nr = CHUNK_PAGES - (r->bit + at) % CHUNK_PAGES;
			if (nr > r->nr - at)
				nr = r->nr - at;
			if (read_piece(f, fd, r->pfn + at, r->bit + at, nr, flags, c, err))
				return -1;
			if (capture_now_ns(c) < drain_ns)
				continue;
			drain_ns = capture_now_ns(c) + capture_interval_us(c) * UINT64_C(1000);
			if (capture_drain(c, err))
				return -1;
		}
	}
	return 0;
}

/* 1: the kernel's count was left, it is worth another try. */
static int read_checked(struct freepages *f, int fd, uint64_t *flags, struct capture *c,
			struct trace_error *err)
{
	struct counts before, after;
	uint64_t read, least, most, slack;

	if (read_counts(&before, err) || read_pages(f, fd, flags, c, err) ||
	    read_counts(&after, err))
		return -1;
	read = count_free(f);
	least = before.free < after.free ? before.free : after.free;
	most = before.free < after.free ? after.free : before.free;
	/* Lists that were drained meanwhile count once here, once there. */
	slack = after.managed / 100 + (before.pcp > after.pcp ? before.pcp : after.pcp);
	if (read <= most + slack && read + slack >= least)
		return 0;
	error_set(err, "/proc/kpageflags shows %llu free pages, /proc/vmstat %llu: too far apart "
		  "for a snapshot; record when the machine is quieter or use --no-snapshot",
		  (unsigned long long)read, (unsigned long long)after.free);
	return 1;
}

int freepages_read(struct freepages **fp, const struct trace_extents *ranges, struct capture *c,
		   struct trace_error *err)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t *flags = NULL;
	int ret = 1;

	*fp = NULL;
	if (fd < 0)
		return error_set(err, "cannot open /proc/kpageflags: %s; run it as root on a "
				 "kernel with CONFIG_PROC_PAGE_MONITOR, or use --no-snapshot",
				 strerror(errno));
	*fp = make(ranges);
	flags = malloc(CHUNK_PAGES * sizeof(*flags));
	if (!*fp || !flags) {
		ret = error_set(err, "out of memory");
		goto out;
	}
	for (unsigned int i = 0; i < TRIES && ret > 0; i++)
		ret = read_checked(*fp, fd, flags, c, err);
out:
	free(flags);
	close(fd);
	return ret ? -1 : 0;
}

/* The range that holds PFN or, if none does, the first above; nr_ranges if there is none. */
static size_t range_at(const struct freepages *f, uint64_t pfn)
{
	size_t low = 0, high = f->nr_ranges;

	while (low < high) {
		const size_t middle = (low + high) / 2;

		if (f->ranges[middle].pfn + f->ranges[middle].nr <= pfn)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * The pages of event E that no earlier call has seen become FREE_NOW, if they were read after
 * (AFTER) the event, or before it.
 */
static void settle(struct freepages *f, uint64_t *seen, const struct trace_event *e, bool after,
		   bool free_now)
{
	const uint64_t end = e->pfn + (UINT64_C(1) << e->order);
	uint64_t pfn = e->pfn;

	for (size_t i = range_at(f, pfn); i < f->nr_ranges && f->ranges[i].pfn < end; i++) {
		const struct range *r = &f->ranges[i];

		if (pfn < r->pfn)
			pfn = r->pfn;
		for (; pfn < end && pfn < r->pfn + r->nr; pfn++) {
			const uint64_t bit = r->bit + (pfn - r->pfn);
			const struct span *span = &f->spans[bit / CHUNK_PAGES];

			if (seen[bit / 64] >> bit % 64 & 1)
				continue;
			seen[bit / 64] |= UINT64_C(1) << bit % 64;
			if (after ? e->ns <= span->end_ns : e->ns >= span->begin_ns)
				set_free(f, bit, free_now);
		}
	}
}

int freepages_to_start(struct freepages *f, const struct trace_event *events, size_t nr)
{
	uint64_t *seen = calloc(f->nr_bits / 64, sizeof(*seen));
	uint64_t last = 0;

	if (!seen)
		return -1;
	for (size_t i = 0; i < f->nr_spans; i++)
		if (f->spans[i].end_ns > last)
			last = f->spans[i].end_ns;
	for (size_t i = 0; i < nr && events[i].ns <= last; i++)
		settle(f, seen, &events[i], true, events[i].alloc);
	free(seen);
	return 0;
}

int freepages_to_end(struct freepages *f, const struct trace_event *events, size_t nr)
{
	uint64_t *seen = calloc(f->nr_bits / 64, sizeof(*seen));
	uint64_t first = UINT64_MAX;

	if (!seen)
		return -1;
	for (size_t i = 0; i < f->nr_spans; i++)
		if (f->spans[i].begin_ns < first)
			first = f->spans[i].begin_ns;
	for (size_t i = nr; i-- > 0 && events[i].ns >= first; )
		settle(f, seen, &events[i], false, !events[i].alloc);
	free(seen);
	return 0;
}

int freepages_extents(const struct freepages *f, struct trace_extents *x, struct trace_error *err)
{
	for (size_t i = 0; i < f->nr_ranges; i++) {
		const struct range *r = &f->ranges[i];

		for (uint64_t at = 0, nr; at < r->nr; at += nr) {
			const bool state = is_free(f, r->bit + at);

			for (nr = 1; at + nr < r->nr && is_free(f, r->bit + at + nr) == state; )
				nr++;
			if (state && trace_extents_add(x, r->pfn + at, nr))
				return error_set(err, "out of memory");
		}
	}
	trace_extents_finish(x);
	return 0;
}
