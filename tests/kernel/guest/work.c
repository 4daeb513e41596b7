// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * work.c - users of memory, inside a guest, that know what they wrote
 *
 *	work hold MIB WORD		fill MIB, say "held", and look at it when the input ends
 *	work write N MIB SECONDS FILE	N processes that fill, look at and give back areas, of MIB
 *					together, until FILE exists; at most SECONDS
 *	work press PERCENT SECONDS	take so much of what is available, then give pieces of it
 *					back and take them again
 *
 * Each page begins with WORD (write and press: one of their own) and the page's number; the rest is
 * made from these. The exit status is 3, and a line says how much, when anything has changed.
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

#define PAGE ((size_t)4096)
#define WORDS (PAGE / sizeof(uint64_t))
#define MIB ((size_t)1 << 20)
#define MAX_AREAS 4096u
#define LOST 3			/* exit status */

struct area {
	uint64_t *start;
	size_t pages;
	uint64_t word;
};

static uint64_t seed;
static const char *stop;	/* a file that ends the writers when it is there */
static unsigned long checked, bad;

static void fail(const char *what)
{
	printf("work: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned int random_below(size_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned int)((seed >> 33) % n);
}

static uint64_t expected(const struct area *a, size_t page, size_t i)
{
	if (i == 0)
		return a->word;
	return i == 1 ? page : (a->word ^ page) + i * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill(struct area *a, size_t from)
{
	for (size_t p = from; p < a->pages; p++)
		for (size_t i = 0; i < WORDS; i++)
			a->start[p * WORDS + i] = expected(a, p, i);
}

static void take(struct area *a, size_t pages, uint64_t word)
{
	a->pages = pages;
	a->word = word;
	a->start = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	if (a->start == MAP_FAILED)
		fail("mmap");
	fill(a, 0);
}

/* What is wrong is said at once: the guest may not live to tell. */
static void look(const struct area *a)
{
	unsigned long before = bad;

	for (size_t p = 0; p < a->pages; p++, checked++)
		for (size_t i = 0; i < WORDS; i++)
			bad += a->start[p * WORDS + i] != expected(a, p, i);
	if (before == 0 && bad) {
		printf("work: %lu bad words\n", bad);
		fflush(stdout);
	}
}

static void give(struct area *a)
{
	look(a);
	munmap(a->start, a->pages * PAGE);
}

static int result(void)
{
	printf("work: %lu pages looked at, %lu bad words\n", checked, bad);
	return bad ? LOST : 0;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int hold(size_t mib, uint64_t word)
{
	struct area a;

	take(&a, mib * MIB / PAGE, word);
	printf("held\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	give(&a);
	return result();
}

/*
 * Areas of 4 KiB to 1 MiB: filled, held for a while, given back, so that blocks of every order
 * become free and are taken again.
 */
static int writer(size_t pages, double end)
{
	static struct area area[MAX_AREAS];
	size_t taken = 0;
	unsigned int nr = 0;

	while (now() < end && (!stop || access(stop, F_OK))) {
		size_t want = (size_t)1 << random_below(9);

		if (nr && (nr == MAX_AREAS || taken + want > pages || random_below(3) == 0)) {
			unsigned int i = random_below(nr);

			taken -= area[i].pages;
			give(&area[i]);
			area[i] = area[--nr];
		} else if (taken + want <= pages) {
			take(&area[nr++], want, seed | 1);
			taken += want;
		}
	}
	while (nr)
		give(&area[--nr]);
	return result();
}

static int writers(unsigned int n, size_t mib, double seconds)
{
	double end = now() + seconds;
	int status, worst = 0;

	fflush(stdout);
	for (unsigned int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (!pid) {
			seed = i + 1;
			exit(writer(mib * MIB / PAGE / n, end));
		}
	}
	while (wait(&status) > 0) {
		if (!WIFEXITED(status)) {
			printf("work: a writer was killed by signal %d\n", WTERMSIG(status));
			worst = 1;
		} else if (WEXITSTATUS(status) > worst) {
			worst = WEXITSTATUS(status);
		}
	}
	return worst;
}

static size_t available(void)
{
	unsigned long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	if (!f)
		fail("/proc/meminfo");
	while (fgets(line, sizeof(line), f) && sscanf(line, "MemAvailable: %lu", &kib) != 1)
		;
	fclose(f);
	return kib * 1024 / PAGE;
}

static int press(size_t percent, double seconds)
{
	const size_t piece = 64;
	size_t nr = available() * percent / 100 / piece;
	struct area *area = calloc(nr, sizeof(*area));
	double end = now() + seconds;
	unsigned long rounds = 0;

	if (!area)
		fail("calloc");
	for (size_t i = 0; i < nr; i++)
		take(&area[i], piece, i + 1);
	printf("work: %zu MiB taken, %zu MiB available\n", nr * piece * PAGE / MIB,
	       available() * PAGE / MIB);
	fflush(stdout);
	while (now() < end) {
		size_t first = random_below(nr), n = 1 + random_below(64);

		for (size_t i = first; i < nr && i < first + n; i++)
			give(&area[i]);
		for (size_t i = first; i < nr && i < first + n; i++)
			take(&area[i], piece, i + 1);
		rounds++;
	}
	for (size_t i = 0; i < nr; i++)
		give(&area[i]);
	printf("work: %lu rounds\n", rounds);
	return result();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	seed = 1;
	if (argc == 4 && !strcmp(what, "hold"))
		return hold(strtoul(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
	if (argc == 6 && !strcmp(what, "write")) {
		stop = argv[5];
		return writers((unsigned int)strtoul(argv[2], NULL, 0), strtoul(argv[3], NULL, 0),
			       strtod(argv[4], NULL));
	}
	if (argc == 4 && !strcmp(what, "press"))
		return press(strtoul(argv[2], NULL, 0), strtod(argv[3], NULL));
	printf("Usage: work hold MIB WORD | write N MIB SECONDS FILE | press PERCENT SECONDS\n");
	return 2;
}
