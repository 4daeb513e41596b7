/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* capture.c - the page events of the running kernel: ftrace instance, ring buffers, merge */
#include "capture.h"
#include "tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <event-parse.h>
#include <kbuffer.h>
#include <tracefs.h>

#define TRACEFS_DIR	"/sys/kernel/tracing"
#define NAME_FORMAT	"fpt-%d-%llu"

/* What a CPU is trusted to write at most: a million allocations a second, 40 bytes each. */
#define BYTES_PER_US	40u

/* Ring buffers by default: so much a CPU, but all of them no more than this part of the memory. */
#define BUFFER_KIB	8192u
#define BUFFER_PART	32u

#define CHUNK_BYTES	65536u
#define CHUNK_EVENTS	((CHUNK_BYTES - 16) / sizeof(struct trace_event))

/* Memory for events: a part of the machine's at the start, within limits; then by steps. */
#define POOL_PART	32u
#define POOL_MIN	((size_t)4 << 20)
#define POOL_MAX	((size_t)64 << 20)

/* Events of one CPU, in order. Whole pages, to be given back one by one during the merge. */
struct chunk {
	struct chunk *next;
	size_t nr;
	struct trace_event v[CHUNK_EVENTS];
};
_Static_assert(sizeof(struct chunk) <= CHUNK_BYTES, "a chunk is a number of whole pages");

struct stream {
	struct tracefs_cpu *reader;	/* NULL: this CPU number is not possible */
	struct chunk *first;
	struct chunk *last;
	size_t next;			/* merge: first event of *first that is not merged */
	uint64_t missed;
};

struct field {
	unsigned int offset;
	unsigned int size;
};

struct layout {
	int id;
	struct field pfn;
	struct field order;
};

struct pool {
	struct pool *next;
	void *memory;
	size_t bytes;
};

struct capture {
	char name[64];
	bool mounted;			/* tracefs, by us, on TRACEFS_DIR */
	struct tracefs_instance *instance;
	struct kbuffer *kbuf;
	void *subbuf;
	size_t subbuf_bytes;
	struct field type;
	struct layout alloc;
	struct layout free;
	struct stream *streams;		/* by CPU number */
	unsigned int nr_streams;
	unsigned int buffer_kib;
	struct pool *pools;
	struct chunk *spare;
	uint64_t start_ns;
	struct capture_counts counts;
};

int error_set(struct trace_error *err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	return -1;
}

/* Field 22 of /proc/PID/stat. 0: no such process, or only its zombie. */
static unsigned long long process_start(int pid)
{
	char path[32], text[1024], state;
	unsigned long long start;
	const char *p;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	/* The name stands in brackets and may hold any character. */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d"
			 " %*d %*d %*d %llu", &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

static bool name_is_stale(const char *name)
{
	unsigned long long start;
	int pid, end = 0;

	return sscanf(name, NAME_FORMAT "%n", &pid, &start, &end) == 2 && !name[end] &&
	       process_start(pid) != start;
}

static void remove_stale_instances(const char *tracing_dir)
{
	char dir[PATH_MAX], path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	if (snprintf(dir, sizeof(dir), "%s/instances", tracing_dir) >= (int)sizeof(dir))
		return;
	d = opendir(dir);
	if (!d)
		return;
	while ((e = readdir(d))) {
		if (!name_is_stale(e->d_name))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) < (int)sizeof(path))
			rmdir(path);
	}
	closedir(d);
}

/*
 * The first tracefs in this mount namespace; false if there is none. With remove_stale, everything
 * that a killed fpt left is removed on the way.
 */
static bool find_tracefs(char *dir, size_t size, bool remove_stale)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent m;
	char text[2 * PATH_MAX];
	bool found = false;

	if (!mounts)
		return false;
	while (getmntent_r(mounts, &m, text, sizeof(text))) {
		if (strcmp(m.mnt_type, "tracefs"))
			continue;
		if (remove_stale)
			remove_stale_instances(m.mnt_dir);
		if (remove_stale && name_is_stale(m.mnt_fsname)) {
			umount2(m.mnt_dir, UMOUNT_NOFOLLOW);
			continue;
		}
		if (!found && strlen(m.mnt_dir) < size) {
			strcpy(dir, m.mnt_dir);
			found = true;
		}
	}
	endmntent(mounts);
	return found;
}

void record_remove_stale(void)
{
	char dir[PATH_MAX];

	find_tracefs(dir, sizeof(dir), true);
}

static const char *why(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
		return "; run it as root on a kernel that is not locked down";
	case ENODEV:
	case ENOENT:
		return "; the kernel needs CONFIG_FTRACE, and sysfs must be mounted";
	case ENOMEM:
		return "; choose a smaller buffer with -b";
	default:
		return "";
	}
}

static int find_or_mount(struct capture *c, struct trace_error *err)
{
	char dir[PATH_MAX];

	if (!find_tracefs(dir, sizeof(dir), false)) {
		if (mount(c->name, TRACEFS_DIR, "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
			return error_set(err, "cannot mount tracefs on " TRACEFS_DIR ": %s%s",
					 strerror(errno), why(errno));
		strcpy(dir, TRACEFS_DIR);
		c->mounted = true;
		/* Out of sight until now. */
		remove_stale_instances(dir);
	}
	if (tracefs_set_tracing_dir(dir))
		return error_set(err, "out of memory");
	return 0;
}

static int find_field(struct field *f, const struct tep_event *event,
		      const struct tep_format_field *found, const char *name,
		      struct trace_error *err)
{
	if (!found || found->offset < 0 ||
	    (found->size != 2 && found->size != 4 && found->size != 8))
		return error_set(err, "the event kmem:%s has no number called '%s': this kernel "
				 "is too old or too new for fpt", event->name, name);
	f->offset = (unsigned int)found->offset;
	f->size = (unsigned int)found->size;
	return 0;
}

static int find_layout(struct capture *c, struct layout *l, struct tep_handle *tep,
		       const char *name, struct trace_error *err)
{
	struct tep_event *event = tep_find_event_by_name(tep, "kmem", name);

	if (!event)
		return error_set(err, "this kernel has no event kmem:%s; it needs "
				 "CONFIG_EVENT_TRACING", name);
	l->id = event->id;
	if (find_field(&c->type, event, tep_find_common_field(event, "common_type"), "common_type",
		       err) ||
	    find_field(&l->pfn, event, tep_find_field(event, "pfn"), "pfn", err) ||
	    find_field(&l->order, event, tep_find_field(event, "order"), "order", err))
		return -1;
	return 0;
}

static int find_layouts(struct capture *c, struct trace_error *err)
{
	const char *systems[] = { "kmem", NULL };
	struct tep_handle *tep = tracefs_local_events_system(tracefs_tracing_dir(), systems);
	int ret = -1;

	if (!tep)
		return error_set(err, "cannot read %s/events: %s%s", tracefs_tracing_dir(),
				 strerror(errno), why(errno));
	if (!find_layout(c, &c->alloc, tep, "mm_page_alloc", err) &&
	    !find_layout(c, &c->free, tep, "mm_page_free", err)) {
		c->kbuf = kbuffer_alloc(KBUFFER_LSIZE_SAME_AS_HOST, KBUFFER_ENDIAN_SAME_AS_HOST);
		ret = c->kbuf ? 0 : error_set(err, "out of memory");
	}
	tep_free(tep);
	return ret;
}

static int put(struct capture *c, const char *file, const char *text, struct trace_error *err)
{
	if (tracefs_instance_file_write(c->instance, file, text) < 0)
		return error_set(err, "cannot write '%s' to %s of the tracefs instance %s: %s%s",
				 text, file, c->name, strerror(errno), why(errno));
	return 0;
}

static int set_up_instance(struct capture *c, struct trace_error *err)
{
	/* A new instance takes over the options of the top one, whatever they are. */
	static const char *const unwanted[] = {
		"options/stacktrace", "options/userstacktrace", "options/record-cmd",
		"options/record-tgid", "options/event-fork",
		/* When a buffer is full, what is new is dropped: the rest stays without a gap. */
		"options/overwrite",
	};
	char number[16];

	c->instance = tracefs_instance_create(c->name);
	if (!c->instance)
		return error_set(err, "cannot create the instance %s in %s/instances: %s%s",
				 c->name, tracefs_tracing_dir(), strerror(errno), why(errno));
	if (put(c, "tracing_on", "0", err) || put(c, "trace_clock", "mono", err))
		return -1;
	for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++)
		if (tracefs_file_exists(c->instance, unwanted[i]) && put(c, unwanted[i], "0", err))
			return -1;
	snprintf(number, sizeof(number), "%u", c->buffer_kib);
	if (put(c, "buffer_size_kb", number, err) ||
	    put(c, "events/kmem/mm_page_alloc/enable", "1", err) ||
	    put(c, "events/kmem/mm_page_free/enable", "1", err))
		return -1;
	return 0;
}

static bool cpu_exists(const struct capture *c, int cpu)
{
	char path[32];

	snprintf(path, sizeof(path), "per_cpu/cpu%d", cpu);
	return tracefs_dir_exists(c->instance, path);
}

/* Every possible CPU: one that is switched on later is read from its first event. */
static int open_readers(struct capture *c, struct trace_error *err)
{
	int nr = 0;

	/* Numbers may have holes. */
	for (int cpu = 0; cpu < (int)TRACE_MAX_CPUS; cpu++)
		if (cpu_exists(c, cpu))
			nr = cpu + 1;
	c->streams = calloc((size_t)nr, sizeof(*c->streams));
	if (!nr || !c->streams)
		return error_set(err, "out of memory");
	c->nr_streams = (unsigned int)nr;
	for (int cpu = 0; cpu < nr; cpu++) {
		struct stream *s = &c->streams[cpu];

		if (!cpu_exists(c, cpu))
			continue;
		s->reader = tracefs_cpu_open(c->instance, cpu, true);
		if (!s->reader)
			return error_set(err, "cannot read the ring buffer of CPU %d: %s; each CPU "
					 "takes a file, see 'ulimit -n'", cpu, strerror(errno));
		c->subbuf_bytes = (size_t)tracefs_cpu_read_size(s->reader);
	}
	c->subbuf = malloc(c->subbuf_bytes);
	if (!c->subbuf)
		return error_set(err, "out of memory");
	/* Touched now, not while it is being recorded. */
	memset(c->subbuf, 0, c->subbuf_bytes);
	return 0;
}

static int pool_grow(struct capture *c, size_t bytes, struct trace_error *err)
{
	/* Populated: taking the pages one by one would add many events of our own. */
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct pool *pool = malloc(sizeof(*pool));

	if (p == MAP_FAILED || !pool) {
		if (p != MAP_FAILED)
			munmap(p, bytes);
		free(pool);
		return error_set(err, "no memory for more events after %llu; record for a shorter "
				 "time", (unsigned long long)c->counts.events);
	}
	*pool = (struct pool){ c->pools, p, bytes };
	c->pools = pool;
	for (size_t i = 0; i + CHUNK_BYTES <= bytes; i += CHUNK_BYTES) {
		struct chunk *chunk = (struct chunk *)(void *)(p + i);

		chunk->next = c->spare;
		c->spare = chunk;
	}
	return 0;
}

/* The size was checked by find_field(). */
static uint64_t field_read(const struct field *f, const void *record)
{
	const char *p = (const char *)record + f->offset;
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;

	switch (f->size) {
	case 8:
		memcpy(&v64, p, sizeof(v64));
		return v64;
	case 4:
		memcpy(&v32, p, sizeof(v32));
		return v32;
	default:
		memcpy(&v16, p, sizeof(v16));
		return v16;
	}
}

static int stream_add(struct capture *c, struct stream *s, const struct trace_event *e,
		      struct trace_error *err)
{
	if (!s->last || s->last->nr == CHUNK_EVENTS) {
		struct chunk *chunk;

		if (!c->spare && pool_grow(c, POOL_MIN, err))
			return -1;
		chunk = c->spare;
		c->spare = chunk->next;
		chunk->next = NULL;
		chunk->nr = 0;
		if (s->last)
			s->last->next = chunk;
		else
			s->first = chunk;
		s->last = chunk;
	}
	s->last->v[s->last->nr++] = *e;
	c->counts.events++;
	return 0;
}

static int take_record(struct capture *c, unsigned int cpu, const void *record, uint64_t ns,
		       struct trace_error *err)
{
	const int id = (int)field_read(&c->type, record);
	const struct layout *l;
	struct trace_event e;
	uint64_t pfn;

	if (id == c->alloc.id)
		l = &c->alloc;
	else if (id == c->free.id)
		l = &c->free;
	else
		return 0;
	pfn = field_read(&l->pfn, record);
	if (pfn == (l->pfn.size == 4 ? UINT32_MAX : UINT64_MAX)) {
		c->counts.failed_alloc++;
		return 0;
	}
	e = (struct trace_event){
		.ns = ns > c->start_ns ? ns - c->start_ns : 0,
		.pfn = pfn & TRACE_MAX_PFN,
		.cpu = cpu & (TRACE_MAX_CPUS - 1),
		.order = field_read(&l->order, record) & 63,
		.alloc = l == &c->alloc,
	};
	return stream_add(c, &c->streams[cpu], &e, err);
}

/* One sub-buffer. 1: there was one, 0: the ring buffer is empty. */
static int read_subbuf(struct capture *c, unsigned int cpu, struct trace_error *err)
{
	struct stream *s = &c->streams[cpu];
	unsigned long long ns;
	void *record;
	int n;

	n = tracefs_cpu_read(s->reader, c->subbuf, true);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return error_set(err, "cannot read the ring buffer of CPU %u: %s", cpu,
				 strerror(errno));
	if (n <= 0)
		return 0;
	if (kbuffer_load_subbuffer(c->kbuf, c->subbuf))
		return error_set(err, "the ring buffer of CPU %u has a format unknown to "
				 "libtraceevent; a newer one is needed", cpu);
	n = kbuffer_missed_events(c->kbuf);
	/* -1: some, the kernel does not know how many. */
	s->missed += n < 0 ? 1 : (uint64_t)n;
	for (record = kbuffer_read_event(c->kbuf, &ns); record;
	     record = kbuffer_next_event(c->kbuf, &ns))
		if (take_record(c, cpu, record, ns, err))
			return -1;
	return 1;
}

int capture_drain(struct capture *c, struct trace_error *err)
{
	/* Bounded, so that one busy CPU cannot keep the others from being read. */
	const size_t most = (size_t)c->buffer_kib * 1024 / c->subbuf_bytes + 2;

	for (unsigned int cpu = 0; cpu < c->nr_streams; cpu++) {
		int more = c->streams[cpu].reader != NULL;

		for (size_t i = 0; more && i < most; i++) {
			more = read_subbuf(c, cpu, err);
			if (more < 0)
				return -1;
		}
	}
	return 0;
}

unsigned int capture_interval_us(const struct capture *c)
{
	/* Reading starts with a quarter of the buffer full, the rest is for our being late. */
	const unsigned int us = c->buffer_kib * (1024 / BYTES_PER_US) / 4;

	return us < 1000 ? 1000 : us > 100000 ? 100000 : us;
}

struct capture_counts capture_counts(const struct capture *c)
{
	return c->counts;
}

static uint64_t clock_ns(void)
{
	struct timespec ts;

	/* What ftrace calls "mono". */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t capture_now_ns(const struct capture *c)
{
	return clock_ns() - c->start_ns;
}

/* By the machine's memory, which sysinfo(2) tells also in a container: it is all recorded. */
static void choose_buffer(struct capture *c, uint64_t memory)
{
	const uint64_t fit = memory / 1024 / BUFFER_PART / (uint64_t)get_nprocs();

	c->buffer_kib = fit < 64 ? 64 : fit > BUFFER_KIB ? BUFFER_KIB : (unsigned int)fit;
}

int capture_open(struct capture **cp, unsigned int buffer_kib, struct trace_error *err)
{
	struct capture *c = calloc(1, sizeof(*c));
	struct sysinfo info;
	uint64_t memory, pool;

	*cp = c;
	if (!c)
		return error_set(err, "out of memory");
	tracefs_set_loglevel(TEP_LOG_NONE);
	snprintf(c->name, sizeof(c->name), NAME_FORMAT, getpid(), process_start(getpid()));
	sysinfo(&info);
	memory = (uint64_t)info.totalram * info.mem_unit;
	c->buffer_kib = buffer_kib;
	if (!buffer_kib)
		choose_buffer(c, memory);
	if (find_or_mount(c, err) || find_layouts(c, err) || set_up_instance(c, err) ||
	    open_readers(c, err))
		return -1;
	pool = memory / POOL_PART;
	pool = pool < POOL_MIN ? POOL_MIN : pool > POOL_MAX ? POOL_MAX : pool;
	return pool_grow(c, pool, err);
}

int capture_start(struct capture *c, struct trace_error *err)
{
	c->start_ns = clock_ns();
	return put(c, "tracing_on", "1", err);
}

/* 0 if there is no such line: older kernels have fewer. */
static uint64_t stats_line(const char *stats, const char *name)
{
	const size_t length = strlen(name);

	for (const char *line = stats; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, length) && line[length] == ':')
			return strtoull(line + length + 1, NULL, 10);
	}
	return 0;
}

int capture_stop(struct capture *c, struct trace_error *err)
{
	char path[64];

	if (put(c, "tracing_on", "0", err) || capture_drain(c, err))
		return -1;
	for (unsigned int cpu = 0; cpu < c->nr_streams; cpu++) {
		struct stream *s = &c->streams[cpu];
		uint64_t lost;
		char *stats;

		if (!s->reader)
			continue;
		snprintf(path, sizeof(path), "per_cpu/cpu%u/stats", cpu);
		stats = tracefs_instance_file_read(c->instance, path, NULL);
		if (!stats)
			return error_set(err, "cannot read %s of the tracefs instance %s: %s", path,
					 c->name, strerror(errno));
		lost = stats_line(stats, "overrun") + stats_line(stats, "commit overrun") +
		       stats_line(stats, "dropped events");
		free(stats);
		/* Two views of the same losses. */
		c->counts.lost += lost > s->missed ? lost : s->missed;
	}
	return 0;
}

static const struct trace_event *stream_head(const struct stream *s)
{
	return &s->first->v[s->next];
}

/* A stable order also where the clocks of two CPUs agree. */
static bool stream_before(const struct stream *a, const struct stream *b)
{
	const struct trace_event *x = stream_head(a), *y = stream_head(b);

	return x->ns != y->ns ? x->ns < y->ns : x->cpu < y->cpu;
}

/* The binary heap's HEAP[I] may be later than what is below it: let it sink. */
static void sink(struct stream **heap, size_t nr, size_t i)
{
	for (;;) {
		size_t least = i;
		struct stream *moved = heap[i];

		for (size_t child = 2 * i + 1; child < nr && child <= 2 * i + 2; child++)
			if (stream_before(heap[child], heap[least]))
				least = child;
		if (least == i)
			return;
		heap[i] = heap[least];
		heap[least] = moved;
		i = least;
	}
}

/* False at the end. Memory is given back on the way: the events will soon be there twice. */
static bool stream_advance(struct stream *s)
{
	struct chunk *done = s->first;

	if (++s->next < done->nr)
		return true;
	s->first = done->next;
	s->next = 0;
	madvise(done, CHUNK_BYTES, MADV_DONTNEED);
	return s->first != NULL;
}

int capture_take(struct capture *c, struct trace *t, struct trace_error *err)
{
	struct stream **heap = calloc(c->nr_streams, sizeof(struct stream *));
	size_t nr = 0;

	free(t->events);
	t->nr_events = 0;
	t->cap_events = c->counts.events;
	t->events = malloc((t->cap_events + 1) * sizeof(*t->events));
	if (!heap || !t->events) {
		free(heap);
		t->cap_events = 0;
		return error_set(err, "no memory for %llu events; record for a shorter time",
				 (unsigned long long)c->counts.events);
	}
	for (unsigned int cpu = 0; cpu < c->nr_streams; cpu++)
		if (c->streams[cpu].first)
			heap[nr++] = &c->streams[cpu];
	for (size_t i = nr; i-- > 0; )
		sink(heap, nr, i);
	while (nr) {
		t->events[t->nr_events++] = *stream_head(heap[0]);
		if (!stream_advance(heap[0]))
			heap[0] = heap[--nr];
		if (nr)
			sink(heap, nr, 0);
	}
	free(heap);
	return 0;
}

void capture_close(struct capture *c)
{
	if (!c)
		return;
	for (unsigned int cpu = 0; cpu < c->nr_streams; cpu++)
		tracefs_cpu_close(c->streams[cpu].reader);
	if (c->instance) {
		/* Busy for a moment while the kernel or somebody's ls holds it. */
		for (int i = 0; tracefs_instance_destroy(c->instance) && i < 100; i++)
			usleep(10000);
		tracefs_instance_free(c->instance);
	}
	if (c->mounted)
		umount2(TRACEFS_DIR, UMOUNT_NOFOLLOW);
	while (c->pools) {
		struct pool *pool = c->pools;

		c->pools = pool->next;
		munmap(pool->memory, pool->bytes);
		free(pool);
	}
	if (c->kbuf)
		kbuffer_free(c->kbuf);
	tracefs_set_tracing_dir(NULL);
	free(c->subbuf);
	free(c->streams);
	free(c);
}
