// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * outside.c - a guest's memory, as its host sees it
 *
 *	outside rss PID MIB		KiB of the guest's memory that are resident
 *	outside watch PID MIB		the same every 10 ms, with the time in ms, until SIGTERM
 *	outside pages PID WORD...	pages that are not holes; of them, how many begin with WORD
 *
 * PID is QEMU's; MIB how much memory the guest has, by which it is found among QEMU's mappings.
 * For pages it must be shared, and a memfd: SEEK_DATA and SEEK_HOLE tell what is there without
 * making it so.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORDS 8

static void fail(const char *what)
{
	fprintf(stderr, "outside: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* -1: no such mapping. */
static long resident(const char *pid, unsigned long mib)
{
	char path[64], line[512];
	unsigned long from, to, kib = 0;
	bool wanted = false, found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/smaps", pid);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		unsigned long n;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			wanted = to - from == mib << 20;
			found |= wanted;
		} else if (wanted && sscanf(line, "Rss: %lu kB", &n) == 1) {
			kib += n;
		}
	}
	fclose(f);
	return found ? (long)kib : -1;
}

static int open_memory(const char *pid)
{
	char path[64], name[320], target[64];
	struct dirent *d;
	int fd = -1;
	ssize_t n;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	if (!dir)
		fail(path);
	while (fd < 0 && (d = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/%s", path, d->d_name);
		n = readlink(name, target, sizeof(target) - 1);
		if (n > 0 && !strncmp(target, "/memfd:", 7))
			fd = open(name, O_RDONLY);
	}
	closedir(dir);
	if (fd < 0)
		fail("no memfd");
	return fd;
}

static void pages(const char *pid, char **word, int nr)
{
	const off_t page = sysconf(_SC_PAGESIZE);
	unsigned long count[MAX_WORDS] = { 0 }, data = 0;
	uint64_t wanted[MAX_WORDS], first;
	int fd = open_memory(pid), i;
	off_t at = 0, end;

	for (i = 0; i < nr; i++)
		wanted[i] = strtoull(word[i], NULL, 0);
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		for (; at < end; at += page) {
			data++;
			if (pread(fd, &first, sizeof(first), at) != sizeof(first))
				fail("pread");
			for (i = 0; i < nr; i++)
				count[i] += first == wanted[i];
		}
	}
	if (errno != ENXIO)
		fail("SEEK_DATA");
	printf("%lu", data);
	for (i = 0; i < nr; i++)
		printf(" %lu", count[i]);
	printf("\n");
	close(fd);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static volatile sig_atomic_t over;

static void end(int signal)
{
	(void)signal;
	over = 1;
}

/* The last look is after the signal. */
static void watch(const char *pid, unsigned long mib)
{
	const struct timespec pause = { 0, 10000000 };
	uint64_t begin = now_ms();
	bool last;
	long kib;

	signal(SIGTERM, end);
	do {
		last = over;
		kib = resident(pid, mib);
		if (kib < 0)
			fail("the guest is gone");
		printf("%" PRIu64 " %ld\n", now_ms() - begin, kib);
		/* Whoever started this waits for the first one. */
		fflush(stdout);
		if (!last)
			nanosleep(&pause, NULL);
	} while (!last);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (!strcmp(what, "pages") && argc <= 3 + MAX_WORDS) {
		pages(argv[2], argv + 3, argc - 3);
		return 0;
	}
	if (argc == 4 && !strcmp(what, "rss")) {
		printf("%ld\n", resident(argv[2], strtoul(argv[3], NULL, 0)));
		return 0;
	}
	if (argc == 4 && !strcmp(what, "watch")) {
		watch(argv[2], strtoul(argv[3], NULL, 0));
		return 0;
	}
	fprintf(stderr, "Usage: outside rss|watch PID MIB | outside pages PID WORD...\n");
	return 2;
}
