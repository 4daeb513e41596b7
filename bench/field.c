/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * field.c - hook/field/...: the lower level of LLFree, written from its paper
 *
 * Wrenger, Rommel, Halbuer, Dietrich, Lohmann: "LLFree: Scalable and Optionally-Persistent
 * Page-Frame Allocation", USENIX ATC 2023. Each 2 MiB has a field of 512 bits, one
 * cache line of words that change by compare-and-swap, and a 16-bit child counter of its free
 * pages, which changes by compare-and-swap, too; 32 of these are in a line.
 *
 *	free	the bit, then the counter up
 *	alloc	the counter down, then the bit
 *
 * Here pages are named by the caller, as hooks name them; the paper's allocator looks for one. Not
 * here: reservation of trees per CPU, which belongs to the looking. An event of several words is a
 * compare-and-swap of each and one of the counter. The paper takes a whole field by its counter
 * alone; here its words change, too, because hooks may give it back page by page.
 */
#include "bench.h"
#include "hook.h"

#include <stdatomic.h>
#include <stdlib.h>

#define FIELD_PAGES 512u

struct field {
	uint64_t nr;
	_Atomic uint64_t *word;
	_Atomic uint16_t *child;
};

/* The part of an event that is in one field: up or down, mask by mask. */
static int field_words(struct field *f, uint64_t page, unsigned int nr, int set)
{
	int wrong = 0;

	while (nr) {
		unsigned int bit = page % 64, span = 64 - bit < nr ? 64 - bit : nr;
		uint64_t mask = (span < 64 ? (UINT64_C(1) << span) - 1 : ~UINT64_C(0)) << bit;
		_Atomic uint64_t *word = &f->word[page / 64];
		uint64_t now = atomic_load_explicit(word, memory_order_relaxed);

		do {
			if ((set ? now : ~now) & mask) {
				wrong = 1;
				break;
			}
		} while (!atomic_compare_exchange_weak(word, &now, now ^ mask));
		page += span;
		nr -= span;
	}
	return wrong;
}

static int field_count(struct field *f, uint64_t page, int by)
{
	_Atomic uint16_t *child = &f->child[page / FIELD_PAGES];
	uint16_t now = atomic_load_explicit(child, memory_order_relaxed);

	do
		if (now + by < 0 || now + by > (int)FIELD_PAGES)
			return 1;
	while (!atomic_compare_exchange_weak(child, &now, (uint16_t)(now + by)));
	return 0;
}

static int field_free(void *instance, uint64_t page, uint32_t order)
{
	uint64_t nr = UINT64_C(1) << order, end = page + nr;
	unsigned int span = nr < FIELD_PAGES ? (unsigned int)nr : FIELD_PAGES;
	int wrong = 0;

	for (; page < end; page += span) {
		wrong |= field_words(instance, page, span, 1);
		wrong |= field_count(instance, page, (int)span);
	}
	return wrong;
}

static int field_alloc(void *instance, uint64_t page, uint32_t order)
{
	uint64_t nr = UINT64_C(1) << order, end = page + nr;
	unsigned int span = nr < FIELD_PAGES ? (unsigned int)nr : FIELD_PAGES;
	int wrong = 0;

	for (; page < end; page += span) {
		wrong |= field_count(instance, page, -(int)span);
		wrong |= field_words(instance, page, span, 0);
	}
	return wrong;
}

static void field_destroy(void *instance)
{
	struct field *f = instance;

	free((void *)f->word);
	free((void *)f->child);
	free(f);
}

static void *field_create(const struct bench_peer *self, const struct bench_peer_setup *setup)
{
	uint64_t nr = (setup->nr_pages + FIELD_PAGES - 1) / FIELD_PAGES;
	struct field *f = bench_memory(sizeof(*f));

	(void)self;
	if (!f)
		return NULL;
	f->nr = nr;
	f->word = bench_memory(nr * FIELD_PAGES / 8);
	f->child = bench_memory(nr * sizeof(*f->child));
	if (f->word && f->child)
		return f;
	field_destroy(f);
	return NULL;
}

static int field_is_free(void *instance, uint64_t page)
{
	struct field *f = instance;

	return f->word[page / 64] >> page % 64 & 1;
}

/* The counters and the bits are of one mind. */
static const char *field_check(void *instance, uint64_t pages, struct bench_peer_report *report)
{
	struct field *f = instance;
	uint64_t i, k;

	(void)pages;
	report->bytes = f->nr * (FIELD_PAGES / 8 + sizeof(*f->child));
	for (i = 0; i < f->nr; i++) {
		unsigned int sum = 0;

		for (k = i * FIELD_PAGES / 64; k < (i + 1) * FIELD_PAGES / 64; k++)
			sum += (unsigned int)__builtin_popcountll(f->word[k]);
		if (sum != f->child[i])
			return "a child counter is not the number of its bits";
	}
	return NULL;
}

static const struct bench_peer field_peer = {
	BENCH_PEER_HEAD("field"), .create = field_create, .free = field_free, .alloc = field_alloc,
	.is_free = field_is_free, .check = field_check, .destroy = field_destroy,
};

void bench_field(void)
{
	bench_hook(&field_peer);
}
