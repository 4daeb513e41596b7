/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * workload.c - takes and gives back memory the way a small server does, to be recorded
 *
 *	workload SECONDS [MIB [PROCESSES]]
 *
 * MIB (96) is taken at most, by all PROCESSES (one per CPU) together. Time is cut into cycles, a
 * cycle into slots that all processes share, so that memory fills and empties as a whole and large
 * blocks come free. A slot's work is fixed and its time too: a slow machine makes the same events.
 *
 *	slot	what happens
 *	grow	anonymous memory, regions of 64 KiB to 4 MiB, page by page, until the share is taken
 *	churn	some regions are given back and taken anew in other sizes
 *	files	page cache: files in memory are written, some removed, one truncated
 *	tasks	storms of fork and exec, short-lived children with memory of their own
 *	pipes	a stream through a pipe
 *	shrink	everything back, apart from a few regions that stay for some cycles
 *	idle
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB		((size_t)1 << 20)
#define CYCLE_S		16.0
#define MAX_REGIONS	4096u
#define NR_FILES	6u

struct region {
	char *start;
	size_t bytes;
	unsigned int keep;		/* cycles that it outlives */
};

static struct region regions[MAX_REGIONS];
static unsigned int nr_regions;
static size_t taken;
static uint64_t seed;
static long page;

static void fail(const char *what)
{
	fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned int random_below(unsigned int n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned int)(seed >> 33) % n;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void sleep_until(double when)
{
	const struct timespec ts = { (time_t)when, (long)((when - (double)(time_t)when) * 1e9) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

/* Work number I of N in a slot: not before its time. */
static void pace(double from, double to, size_t i, size_t n)
{
	sleep_until(from + (to - from) * 0.9 * (double)i / (double)n);
}

static void touch(char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += (size_t)page)
		p[i] = 1;
}

static void region_take(size_t limit)
{
	size_t bytes = (size_t)65536 << random_below(7);
	struct region *r = &regions[nr_regions];

	if (bytes > limit)
		bytes = limit / 65536 * 65536;
	if (!bytes || nr_regions == MAX_REGIONS)
		return;
	r->start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->start == MAP_FAILED)
		fail("mmap");
	touch(r->start, bytes);
	r->bytes = bytes;
	r->keep = random_below(16) ? 0 : 1 + random_below(3);
	taken += bytes;
	nr_regions++;
}

static void region_give(unsigned int i)
{
	munmap(regions[i].start, regions[i].bytes);
	taken -= regions[i].bytes;
	regions[i] = regions[--nr_regions];
}

static void grow(double from, double to, size_t share)
{
	while (taken + 65536 <= share && nr_regions < MAX_REGIONS) {
		pace(from, to, taken, share);
		region_take(share - taken);
	}
}

static void churn(double from, double to, size_t share)
{
	const size_t n = 8;

	for (size_t i = 0; i < n; i++) {
		const size_t before = taken;

		pace(from, to, i, n);
		while (nr_regions && before - taken < share / 24)
			region_give(random_below(nr_regions));
		while (taken + 65536 <= before && nr_regions < MAX_REGIONS)
			region_take(before - taken);
	}
}

static void files(double from, double to, size_t share)
{
	static char block[65536];
	int fd[NR_FILES];

	for (unsigned int i = 0; i < NR_FILES; i++) {
		size_t bytes = share / 4 / NR_FILES;

		pace(from, to, i, NR_FILES);
		fd[i] = memfd_create("workload", MFD_CLOEXEC);
		if (fd[i] < 0)
			fail("memfd_create");
		for (; bytes >= sizeof(block); bytes -= sizeof(block))
			if (write(fd[i], block, sizeof(block)) < 0)
				fail("write");
		/* Temporary ones among those that stay a while. */
		if (i % 3 == 2) {
			close(fd[i - 1]);
			fd[i - 1] = -1;
		}
	}
	if (ftruncate(fd[0], (off_t)(share / 16 / NR_FILES)))
		fail("ftruncate");
	sleep_until(from + (to - from) * 0.95);
	for (unsigned int i = 0; i < NR_FILES; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

static void tasks(double from, double to, size_t share)
{
	const size_t bursts = 4, burst = 6;

	for (size_t i = 0; i < bursts; i++) {
		pace(from, to, i, bursts);
		for (size_t j = 0; j < burst; j++) {
			const size_t bytes = share / 64 / (1 + random_below(4));
			pid_t pid = fork();

			if (pid < 0)
				fail("fork");
			if (pid)
				continue;
			if (j % 2) {
				char *p = malloc(bytes);

				if (p)
					touch(p, bytes);
				usleep(20000);
				_exit(p ? 0 : 1);
			}
			execl("/proc/self/exe", "workload", "--nothing", (char *)NULL);
			_exit(1);
		}
		while (wait(NULL) > 0)
			;
	}
}

static void pipes(double from, double to, size_t share)
{
	static char block[65536];
	const size_t n = 8;
	int fd[2];
	pid_t pid;

	if (pipe(fd))
		fail("pipe");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (!pid) {
		close(fd[1]);
		while (read(fd[0], block, sizeof(block)) > 0)
			;
		_exit(0);
	}
	close(fd[0]);
	for (size_t i = 0; i < n; i++) {
		pace(from, to, i, n);
		for (size_t bytes = share / 16 / n; bytes >= sizeof(block); bytes -= sizeof(block))
			if (write(fd[1], block, sizeof(block)) < 0)
				fail("write");
	}
	close(fd[1]);
	waitpid(pid, NULL, 0);
}

static void shrink(double from, double to, int all)
{
	const unsigned int n = nr_regions;
	unsigned int i = 0;

	for (unsigned int done = 0; done < n; done++) {
		pace(from, to, done, n);
		if (!all && regions[i].keep) {
			regions[i].keep--;
			i++;
		} else {
			region_give(i);
		}
	}
}

static void cycle(double from, double length, size_t share, int last)
{
	const double at[] = { 0, 0.25, 0.4, 0.52, 0.6, 0.66, 0.76 };
	double t[7];

	for (int i = 0; i < 7; i++)
		t[i] = from + length * at[i];
	grow(t[0], t[1], share * 3 / 4);
	sleep_until(t[1]);
	churn(t[1], t[2], share * 3 / 4);
	sleep_until(t[2]);
	files(t[2], t[3], share);
	sleep_until(t[3]);
	tasks(t[3], t[4], share);
	sleep_until(t[4]);
	pipes(t[4], t[5], share);
	sleep_until(t[5]);
	shrink(t[5], t[6], last);
	sleep_until(from + length);
}

int main(int argc, char **argv)
{
	const double start = now();
	double seconds, length;
	size_t mib, processes, cycles;
	int status, bad = 0;

	if (argc == 2 && !strcmp(argv[1], "--nothing"))
		return 0;
	seconds = argc > 1 ? atof(argv[1]) : 0;
	mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 96;
	processes = argc > 3 ? strtoul(argv[3], NULL, 10) : (size_t)sysconf(_SC_NPROCESSORS_ONLN);
	if (!(seconds > 0) || argc > 4 || !mib || !processes) {
		fputs("Usage: workload SECONDS [MIB [PROCESSES]]\n", stderr);
		return 2;
	}
	page = sysconf(_SC_PAGESIZE);
	cycles = (size_t)(seconds / CYCLE_S + 0.5);
	if (!cycles)
		cycles = 1;
	length = seconds / (double)cycles;
	for (size_t i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid)
			continue;
		seed = i + 1;
		for (size_t c = 0; c < cycles; c++)
			cycle(start + length * (double)c, length, mib * MIB / processes,
			      c + 1 == cycles);
		_exit(0);
	}
	while (wait(&status) > 0)
		bad |= status;
	return bad ? 1 : 0;
}
