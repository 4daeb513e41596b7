/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fuzz_trackers.c - bytes as the life of a tracker, beside a naive model of its pages
 *
 * The input is run once per tracker, which is the one that it begins with: operations may switch to
 * others. It begins with the tracker's shape; every further operation is a byte and its arguments,
 * and bytes that are missing are 0. So every input means something, and most changes of one byte
 * change one operation.
 *
 * Interrupts. The headers are built with the backend "model", which announces every access. An
 * operation can ask that another runs inside of the next one, before its n-th access, on any CPU:
 * what an interrupt or a preempting thread does. They nest, so that not every interleaving can be
 * had; tests/explore.h does those. There are no grace periods: an interrupt could not wait for what
 * it has interrupted. So the fronts of earlier trackers are drained for good.
 *
 * Checked, always:
 *	- isolate is asked for whole blocks of added ranges only, none of them in a live claim
 *	- what a pass submits is out of the allocator; a page held is not
 *	- nothing behind or before donated memory is written, and memory_used <= memory_donated
 *	- a pass ends, and no reporter has more pages out than it may
 * and when nothing is under way:
 *	- the counters are what the model counted
 *	- exact trackers: a page's bit says whether it is held (delta: at the end); a block is claimed
 *	  only when it is free, and not again after a report before it was touched
 *	- at the end every free block is reported, unless the tracker counted drops
 */
#define FPT_MODEL
#define FPT_MODEL_NO_RCU
#define FPT_XBITMAP_CHUNK_BYTES 8
#define FPT_XBITMAP_MAX_RANGES 3

#include <fpt/fpt.h>

#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_CPUS 4u
#define MAX_NR 8192u			/* pages per range */
#define MAX_CLAIMS 8u
#define NR_REPORTERS 2u
#define MAX_DEPTH 3u
#define CANARY 64u			/* bytes before and behind donated memory */
#define CANARY_BYTE 0xc5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void (*fpt_model_hook)(const struct fpt_model_access *access);
void (*fpt_model_rcu_synchronize)(void);
unsigned int fpt_model_cpu;

enum page_state {
	HELD,
	FREE,
	FREEING,		/* in its free hook: nobody can take it yet */
	TAKING,			/* in its alloc hook: out of the allocator already */
	HOST,			/* isolated */
};

enum { BLOCK_CLAIMED = 1, BLOCK_REPORTED = 2 };

struct donation {
	char *all;		/* CANARY bytes, the donated ones, CANARY bytes */
	size_t size;
	bool exact;		/* a range's: all chunks are there */
};

struct model_range {
	fpt_pfn_t pfn, nr, base;
	unsigned long nr_blocks;
	uint8_t *page;		/* enum page_state */
	uint8_t *block;
	struct donation donation;
	size_t given;		/* bytes that the tracker took */
	unsigned int slot;
};

struct model_reporter {
	struct fpt_reporter rep;
	struct fpt_batch batch;
	bool busy;		/* one caller's at a time */
	bool begun;
};

struct model_claim {
	struct fpt_range range;
	bool submitted;
};

struct model {
	const uint8_t *data;
	size_t left;

	struct fpt t;
	struct fpt_config config;
	struct donation front, switch_front[FPT_NR_SLOTS];
	struct model_range range[FPT_XBITMAP_MAX_RANGES];
	unsigned int nr_ranges;
	fpt_pfn_t last_page;	/* that an event was for */
	bool adding;		/* a range, removing one, or switching: one at a time */
	const struct model_range *removing;
	unsigned long slot_span[FPT_XBITMAP_MAX_RANGES];	/* dense numbers; 0: never used */
	bool slot_used[FPT_XBITMAP_MAX_RANGES];
	unsigned int min_order;		/* of both reporters' policies */
	bool keeps;			/* there was one */
	struct model_reporter reporter[NR_REPORTERS];
	struct model_claim claim[MAX_CLAIMS];
	unsigned int nr_claims;
	struct fpt_cursor cursor;
	bool claiming;		/* the cursor is in use */
	size_t given;		/* bytes that the tracker took */

	unsigned long freed, allocated, outside, refaulted, reported, failed;
	unsigned int outside_events;	/* hooks running for pages in no range */
	unsigned int busy_left;		/* isolate answers FPT_BUSY this often */
	unsigned int interrupt_in;	/* accesses, 0: none asked for */
	bool interrupt_rmw;	/* only read-modify-writes count */
	unsigned int depth;
	bool interrupted;		/* since the outermost operation began */
	bool ever_interrupted;

	/* What the switches so far leave to be known. */
	unsigned long switches;
	bool exact;			/* all trackers so far retract: bits are known */
	bool blind;			/* one did not see frees, or counted as the model cannot */
	bool outside_unknown;		/* what a front held of a removed range is counted, too */
};

static struct model *current;

#define REQUIRE(what, x) do { \
	if (!(x)) \
		fail(what, #x, __LINE__); \
} while (0)

static void fail(const char *what, const char *expression, int line)
{
	fprintf(stderr, "fuzz_trackers.c:%d: tracker %s: %s: %s\n", line,
		current->config.ops->name, what, expression);
	abort();
}

static unsigned int byte(struct model *m)
{
	if (!m->left)
		return 0;
	m->left--;
	return *m->data++;
}

static unsigned int two_bytes(struct model *m)
{
	unsigned int low = byte(m);

	return low | byte(m) << 8;
}

/* Memory to donate: bytes at any alignment, dirty or zeroed. */
static struct fpt_mem donate(struct donation *d, size_t size, unsigned int misalign, bool zeroed)
{
	struct fpt_mem mem = { NULL, size, zeroed };

	d->size = size + misalign;
	/* At one alignment, so that an input takes the same path every time. */
	d->all = NULL;
	if (posix_memalign((void **)&d->all, FPT_CACHE_LINE, d->size + 2 * CANARY))
		abort();
	if (!d->all)
		abort();
	memset(d->all, CANARY_BYTE, d->size + 2 * CANARY);
	mem.base = d->all + CANARY + misalign;
	memset(mem.base, zeroed ? 0 : 0xa5, size);
	return mem;
}

static void check_donation(const struct donation *d)
{
	size_t i;

	for (i = 0; i < CANARY; i++) {
		REQUIRE("written before donated memory", (uint8_t)d->all[i] == CANARY_BYTE);
		REQUIRE("written behind donated memory",
			(uint8_t)d->all[CANARY + d->size + i] == CANARY_BYTE);
	}
}

static struct model_range *range_of(struct model *m, fpt_pfn_t pfn)
{
	unsigned int i;

	for (i = 0; i < m->nr_ranges; i++)
		if (pfn - m->range[i].pfn < m->range[i].nr)
			return &m->range[i];
	return NULL;
}

static uint8_t *block_of(struct model *m, const struct model_range *r, fpt_pfn_t pfn)
{
	return &r->block[(pfn - r->base) >> m->config.order];
}

static bool sees_everything(const struct model *m)
{
	return m->exact;
}

/* Is all of the aligned run of min_order around a claim free, as far as pages are known? */
static bool run_is_free(struct model *m, struct fpt_range claim)
{
	fpt_pfn_t first = claim.pfn >> m->min_order << m->min_order, nr = 1UL << m->min_order;
	struct model_range *r = range_of(m, claim.pfn);

	return first >= r->pfn && first - r->pfn + (nr - 1) < r->nr &&
	       !memchr(&r->page[first - r->pfn], HELD, nr);
}

/* The allocator's side of the isolate protocol, for any claim. */
static enum fpt_isolated take(struct model *m, struct fpt_range claim)
{
	struct model_range *r = range_of(m, claim.pfn);
	fpt_pfn_t i;
	bool used = false, moving = false;

	REQUIRE("isolate, not one block", claim.nr == 1UL << m->config.order);
	REQUIRE("isolate, not aligned", !(claim.pfn & (claim.nr - 1)));
	REQUIRE("isolate, outside", r && claim.nr - 1 <= r->nr - 1 - (claim.pfn - r->pfn));
	for (i = 0; i < claim.nr; i++) {
		uint8_t state = r->page[claim.pfn - r->pfn + i];

		REQUIRE("isolate, with the host already", state != HOST);
		used |= state == HELD;
		moving |= state == FREEING || state == TAKING;
	}
	REQUIRE("isolate, in two claims", !(*block_of(m, r, claim.pfn) & BLOCK_CLAIMED));
	if (sees_everything(m))
		REQUIRE("claimed again, though untouched since its report",
			!(*block_of(m, r, claim.pfn) & BLOCK_REPORTED));
	if (m->busy_left) {
		m->busy_left--;
		return FPT_BUSY;
	}
	if (used || moving)
		return moving ? FPT_BUSY : FPT_USED;
	memset(&r->page[claim.pfn - r->pfn], HOST, claim.nr);
	*block_of(m, r, claim.pfn) |= BLOCK_CLAIMED | BLOCK_REPORTED;
	return FPT_TAKEN;
}

/* For a claim that was made this moment. */
static enum fpt_isolated isolate(void *ctx, struct fpt_range claim)
{
	struct model *m = (struct model *)ctx;
	struct model_range *r = range_of(m, claim.pfn);
	void (*hook)(const struct fpt_model_access *access) = fpt_model_hook;

	fpt_model_hook = NULL;	/* not a moment of the program's */
	if (sees_everything(m) && !m->interrupted &&
	    !fpt_xbitmap_is_coarse(&m->t.back, claim.pfn)) {
		REQUIRE("claimed with a page held",
			!memchr(&r->page[claim.pfn - r->pfn], HELD, claim.nr));
		if (m->min_order > m->config.order && r->donation.exact)
			REQUIRE("claimed below the policy's order", run_is_free(m, claim));
	}
	fpt_model_hook = hook;
	return take(m, claim);
}

static void put_back(void *ctx, struct fpt_range claim)
{
	struct model *m = (struct model *)ctx;
	struct model_range *r = range_of(m, claim.pfn);
	fpt_pfn_t i;

	for (i = 0; i < claim.nr; i++)
		REQUIRE("put back, not isolated", r->page[claim.pfn - r->pfn + i] == HOST);
	memset(&r->page[claim.pfn - r->pfn], FREE, claim.nr);
	*block_of(m, r, claim.pfn) &= (uint8_t)~BLOCK_CLAIMED;
}

static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	struct model *m = (struct model *)ctx;
	struct model_range *r = range_of(m, pfn);

	return r->page[pfn - r->pfn] != HELD;
}

static const struct fpt_owner_ops owner = { isolate, put_back, is_free };

/* Pages of the host's: all of them isolated, the moment that they are handed over. */
static void check_submitted(struct model *m, const struct fpt_range *claim)
{
	struct model_range *r = range_of(m, claim->pfn);
	fpt_pfn_t i;

	REQUIRE("submitted, outside", r);
	for (i = 0; i < claim->nr; i++)
		REQUIRE("submitted, not isolated", r->page[claim->pfn - r->pfn + i] == HOST);
}

static void completed(struct model *m, const struct fpt_range *claim, bool ok)
{
	if (ok) {
		m->reported += claim->nr;
		return;
	}
	m->failed += claim->nr;
	*block_of(m, range_of(m, claim->pfn), claim->pfn) &= (uint8_t)~BLOCK_REPORTED;
}

static void one_operation(struct model *m);

/* A lock is held with interrupts off. */
static bool locked(struct model *m)
{
	struct fpt_lockmap *l = (struct fpt_lockmap *)m->t.front[FPT_SLOT_LOCKMAP];

	return l && l->lock.held.v;
}

static void interrupt(const struct fpt_model_access *access)
{
	struct model *m = current;
	unsigned int cpu = fpt_model_cpu;

	if (locked(m))
		return;

	if (m->interrupt_rmw && access->kind != FPT_MODEL_RMW)
		return;
	if (!m->interrupt_in || --m->interrupt_in || m->depth == MAX_DEPTH)
		return;
	m->interrupted = true;
	m->ever_interrupted = true;
	one_operation(m);
	fpt_model_cpu = cpu;
}

/*
 * Free or take pages, whichever the first of them allows, and as many as agree with it: the largest
 * order up to the one asked for.
 */
static void event(struct model *m, fpt_pfn_t pfn, unsigned int order)
{
	struct model_range *r = range_of(m, pfn);
	bool take = r && r->page[pfn - r->pfn] == FREE;
	uint8_t from = take ? FREE : HELD, now = take ? TAKING : FREEING;
	fpt_pfn_t nr, i;
	const struct fpt_ops *ops;
	unsigned long outside, switches;
	int result = FPT_OK;

	m->last_page = pfn;
	for (;; order--) {
		nr = 1UL << order;
		for (i = 0, outside = 0; i < nr; i++) {
			r = range_of(m, pfn + i);
			outside += !r;
			if (r && (r == m->removing || r->page[pfn + i - r->pfn] != from))
				break;
		}
		if (i == nr && pfn + (nr - 1) >= pfn)
			break;
		if (!order)
			return;
	}
	for (i = 0; i < nr; i++) {
		uint8_t *block;

		r = range_of(m, pfn + i);
		if (!r)
			continue;
		r->page[pfn + i - r->pfn] = now;
		block = block_of(m, r, pfn + i);
		if (*block & BLOCK_REPORTED)
			m->refaulted += 1UL << m->config.order;
		*block &= (uint8_t)~BLOCK_REPORTED;
	}
	m->outside_events += outside != 0;
	ops = m->config.ops;
	switches = m->switches;
	if (take)
		result = fpt_alloc(&m->t, pfn, order);
	else
		fpt_free(&m->t, pfn, order);
	m->outside_events -= outside != 0;
	REQUIRE("alloc's answer", result == FPT_OK);
	for (i = 0; i < nr; i++) {
		r = range_of(m, pfn + i);
		if (!r)
			continue;
		REQUIRE("a page changed hands inside its hook", r->page[pfn + i - r->pfn] == now);
		r->page[pfn + i - r->pfn] = take ? HELD : FREE;
	}
	if (m->switches != switches)
		m->blind = true;	/* it began under either tracker */
	if (ops == &fpt_none_ops)
		return;
	*(take ? &m->allocated : &m->freed) += nr;
	/* The array does not look at where an allocated page is. */
	if (!take || ops != &fpt_array_ops)
		m->outside += outside;
}

/* A page number: beside the last one, in a range, or a bit beside it. */
static fpt_pfn_t some_page(struct model *m)
{
	unsigned int which = byte(m), at;

	if (which & 0x40)
		return m->last_page + which % 32 - 16;
	at = two_bytes(m);
	if (!m->nr_ranges)
		return at;
	if (which & 0x80)
		return m->range[which % m->nr_ranges].pfn + at - 64;
	return m->range[which % m->nr_ranges].pfn + at % m->range[which % m->nr_ranges].nr;
}

static void add_range(struct model *m)
{
	unsigned int where = byte(m), nr = two_bytes(m) % MAX_NR, how = byte(m), i;
	unsigned int misalign = how >> 3 & 15, at = two_bytes(m);
	struct model_range new, *r = &new;
	bool exact = how & 1 || m->config.ops->toggles, possible, full, overlap = false;
	size_t size, least;
	struct fpt_mem mem, before;
	fpt_pfn_t last;
	int result;

	if (m->adding || m->outside_events)
		return;
	memset(r, 0, sizeof(*r));
	/* Large ones reach the third level of the summary, small ones are fast. */
	r->nr = nr = how & 0x80 ? nr : nr % 600;
	switch (where & 3) {
	case 0:
		r->pfn = at;
		break;
	case 1:
		/* up to the last page that there can be */
		r->pfn = -(fpt_pfn_t)nr - (where >> 2) * (fpt_pfn_t)(at & 1);
		break;
	case 2:
		r->pfn = where >> 2;
		if (m->nr_ranges)
			r->pfn += m->range[m->nr_ranges - 1].pfn + m->range[m->nr_ranges - 1].nr;
		break;
	case 3:
		r->pfn = (fpt_pfn_t)at << (where >> 2) % FPT_WORD_BITS;
		break;
	}
	last = r->pfn + (r->nr - 1);
	possible = r->nr && last >= r->pfn;
	r->base = r->pfn >> m->config.order << m->config.order;
	r->nr_blocks = ((last - r->base) >> m->config.order) + 1;
	for (i = 0; i < m->nr_ranges; i++) {
		fpt_pfn_t first = m->range[i].base >> m->config.order;
		fpt_pfn_t last_block = first + (m->range[i].nr_blocks - 1);
		fpt_pfn_t mine = r->base >> m->config.order;

		overlap |= mine <= last_block && first <= mine + (r->nr_blocks - 1);
	}
	for (r->slot = 0; r->slot < FPT_XBITMAP_MAX_RANGES; r->slot++)
		if (!m->slot_span[r->slot] || (!m->slot_used[r->slot] &&
		    m->slot_span[r->slot] >= r->nr_blocks << m->config.order))
			break;
	full = r->slot == FPT_XBITMAP_MAX_RANGES;
	size = fpt_range_size(&m->t, r->pfn, r->nr, exact);
	least = fpt_range_size(&m->t, r->pfn, r->nr, m->config.ops->toggles);
	if (!possible) {
		REQUIRE("size of an impossible range", !size && !least);
		size = 4096;
	} else {
		REQUIRE("size of a range", least && size >= least);
	}
	if (how & 4)	/* more or less than was said */
		size = size * (at >> 8) / 128;
	mem = donate(&r->donation, size, misalign, how & 2);
	r->donation.exact = exact && !(how & 4);
	before = mem;
	/* Before the tracker knows it: a hook may run as soon as it does. */
	r->page = (uint8_t *)calloc(r->nr + 1, 1);
	r->block = (uint8_t *)calloc(possible ? r->nr_blocks : 1, 1);
	if (!r->page || !r->block)
		abort();
	m->adding = true;
	result = fpt_add_range(&m->t, r->pfn, r->nr, &mem);
	m->adding = false;
	check_donation(&r->donation);
	if (result == FPT_OK) {
		REQUIRE("added, impossible", possible && !overlap && !full);
		REQUIRE("more was taken than given", mem.size <= before.size &&
			(char *)mem.base + mem.size == (char *)before.base + before.size);
		r->given = before.size - mem.size;
		m->given += r->given;
		m->slot_used[r->slot] = true;
		if (!m->slot_span[r->slot])
			m->slot_span[r->slot] = r->nr_blocks << m->config.order;
		m->range[m->nr_ranges++] = *r;
		return;
	}
	REQUIRE("memory taken by a call that failed",
		mem.base == before.base && mem.size == before.size);
	if (full)
		REQUIRE("no place left", result == FPT_ENOSPC || result == FPT_ERANGE);
	else if (!possible || overlap)
		REQUIRE("impossible range", result == FPT_ERANGE);
	else if (result == FPT_ERANGE)	/* too large for the front's page numbers */
		REQUIRE("refused", m->config.ops->max_pages);
	else
		REQUIRE("refused", result == FPT_ENOMEM && before.size < least);
	free(r->donation.all);
	free(r->page);
	free(r->block);
}

static void free_range(struct model_range *r)
{
	check_donation(&r->donation);
	free(r->donation.all);
	free(r->page);
	free(r->block);
}

static bool is_out(const struct model *m, const struct model_range *r)
{
	unsigned int i, k;

	for (i = 0; i < m->nr_claims; i++)
		if (m->claim[i].range.pfn - r->pfn < r->nr)
			return true;
	for (i = 0; i < NR_REPORTERS; i++)
		for (k = 0; k < m->reporter[i].batch.nr; k++)
			if (m->reporter[i].batch.range[k].pfn - r->pfn < r->nr)
				return true;
	return false;
}

/* Not from an interrupt: nothing but what interrupts this may be under way. */
static void remove_range(struct model *m)
{
	unsigned int which = byte(m), slot;
	struct model_range *r;
	int result;

	if (m->depth > 1 || !m->nr_ranges)
		return;
	r = &m->range[which % m->nr_ranges];
	REQUIRE("removed, another", fpt_remove_range(&m->t, r->pfn, r->nr + 1) == FPT_ERANGE);
	m->adding = true;
	m->removing = r;
	result = fpt_remove_range(&m->t, r->pfn, r->nr);
	m->adding = false;
	m->removing = NULL;
	if (is_out(m, r)) {
		REQUIRE("removed, a block is out", result == FPT_EBUSY);
		return;
	}
	REQUIRE("removed", result == FPT_OK);
	slot = r->slot;
	m->slot_used[slot] = false;
	m->given -= r->given;
	m->outside_unknown |= m->t.fronts.v != 0;
	free_range(r);
	*r = m->range[--m->nr_ranges];
}

/* The first ones can be switched to. */
#define NR_SWITCHED 5u
static const struct fpt_ops *const trackers[] = {
	&fpt_xbitmap_ops, &fpt_array_ops, &fpt_bitmap_ops, &fpt_lockmap_ops, &fpt_none_ops,
	&fpt_delta_ops,
};

static void switch_to(struct model *m, const struct fpt_ops *ops)
{
	struct fpt_config config = m->config;
	bool first = ops->init && !m->t.front[ops->slot];
	struct fpt_mem mem = { NULL, 0, false };
	size_t size = 0;

	if (m->adding)
		return;
	config.ops = ops;
	if (m->config.ops->toggles) {
		REQUIRE("switched from one that toggles",
			fpt_switch(&m->t, &config, NULL) == FPT_ENOTSUP);
		return;
	}
	if (first) {
		size = ops->size(&config);
		mem = donate(&m->switch_front[ops->slot], size, 0, false);
	}
	m->adding = true;
	m->switches++;
	m->exact &= ops->retracts;
	m->blind |= ops == &fpt_none_ops;
	REQUIRE("switched", fpt_switch(&m->t, &config, first ? &mem : NULL) == FPT_OK);
	m->adding = false;
	m->config.ops = ops;
	m->given += size - mem.size;
}

static unsigned long nr_blocks(const struct model *m)
{
	unsigned long n = 0;
	unsigned int i;

	for (i = 0; i < m->nr_ranges; i++)
		n += m->range[i].nr_blocks;
	return n;
}

static void complete_batch(struct model *m, struct model_reporter *p, bool ok)
{
	struct fpt_batch batch = p->batch;
	unsigned int i;

	for (i = 0; i < batch.nr; i++)
		completed(m, &batch.range[i], ok);
	fpt_pass_complete(&p->rep, &p->batch, ok);
	REQUIRE("batch completed", !p->batch.nr);
}

static unsigned int next_batch(struct model *m, struct model_reporter *p)
{
	unsigned int i, n = fpt_pass_next(&p->rep, &p->batch);

	REQUIRE("batch size", n == p->batch.nr && n <= p->rep.policy.batch);
	REQUIRE("pages in flight", p->rep.in_flight <= p->rep.policy.max_in_flight);
	for (i = 0; i < n; i++)
		check_submitted(m, &p->batch.range[i]);
	return n;
}

/* A whole pass. Every block is found once at most, but for what an interrupt freed meanwhile. */
static void pass(struct model *m, struct model_reporter *p, bool ok)
{
	unsigned long limit = nr_blocks(m) + 1, n = 0;

	if (p->batch.nr)
		complete_batch(m, p, ok);
	fpt_pass_begin(&p->rep);
	while (next_batch(m, p)) {
		complete_batch(m, p, ok);
		REQUIRE("a pass does not end", ++n <= limit || m->interrupted);
		if (n > limit + 4 * MAX_NR)
			REQUIRE("a pass does not end, interrupted", false);
	}
}

static bool host_discard(void *ctx, const struct fpt_batch *b)
{
	struct model *m = (struct model *)ctx;
	unsigned int i;

	for (i = 0; i < b->nr; i++) {
		check_submitted(m, &b->range[i]);
		completed(m, &b->range[i], true);
	}
	return true;
}

static void flush(struct model_reporter *p)
{
	static const struct fpt_host_ops host = { host_discard, NULL };

	if (p->busy || p->batch.nr)
		return;
	p->busy = true;
	REQUIRE("flushed", fpt_flush(&p->rep, &host, 0) == FPT_OK);
	p->busy = false;
}

static void claim(struct model *m)
{
	struct fpt_range got[4];
	unsigned int want = byte(m) % 4 + 1, n, i;

	if (m->claiming || want > MAX_CLAIMS - m->nr_claims)
		return;
	m->claiming = true;
	n = fpt_claim(&m->t, &m->cursor, got, want);
	m->claiming = false;
	if (n < want)
		REQUIRE("cursor at the end", !m->cursor.range && !m->cursor.block);
	for (i = 0; i < n; i++) {
		m->claim[m->nr_claims].range = got[i];
		m->claim[m->nr_claims].submitted = false;
		m->nr_claims++;
	}
}

/* The next step of some claim; last: to its end. */
static void advance(struct model *m, unsigned int which, bool ok, bool last)
{
	struct model_claim c;
	enum fpt_isolated got;

	if (!m->nr_claims)
		return;
	/* Out of the list while it is worked on: it is one caller's. */
	which %= m->nr_claims;
	c = m->claim[which];
	m->claim[which] = m->claim[--m->nr_claims];
	if (!c.submitted) {
		got = take(m, c.range);
		if (got != FPT_TAKEN) {
			fpt_release(&m->t, &c.range, got);
			return;
		}
		REQUIRE("submitted", fpt_submit(&m->t, &c.range) == 1);
		check_submitted(m, &c.range);
		c.submitted = true;
		if (!last && m->nr_claims < MAX_CLAIMS) {
			m->claim[m->nr_claims++] = c;
			return;
		}
	}
	completed(m, &c.range, ok);
	put_back(m, c.range);
	REQUIRE("completed", fpt_complete(&m->t, &c.range, 1, ok));
}

static void one_operation(struct model *m)
{
	unsigned int what = byte(m), how, i, nr;
	struct model_reporter *p = &m->reporter[what >> 4 & 1];
	fpt_pfn_t pfn;

	m->depth++;
	if (what & 0x40)
		fpt_model_cpu = (what >> 5) % m->config.nr_cpus;
	/* Reporters rest while a range is removed. */
	if (m->removing && (what & 15) > 5 && (what & 15) < 12) {
		m->depth--;
		return;
	}
	switch (what & 15) {
	case 0:
	case 1:
		pfn = some_page(m);
		event(m, pfn, byte(m) % 14);
		break;
	case 2:
	case 3:
		pfn = some_page(m);
		nr = byte(m);
		for (i = 0; i <= nr; i++)
			event(m, pfn + i, 0);
		break;
	case 4:
		pfn = some_page(m) >> m->config.order << m->config.order;
		event(m, pfn, m->config.order);
		break;
	case 5:
		add_range(m);
		break;
	case 6:
	case 7:
		how = byte(m);
		if (!p->busy) {
			p->busy = true;
			pass(m, p, how & 1);
			p->busy = false;
		}
		break;
	case 8:
		if (!p->busy && !p->batch.nr) {
			p->busy = true;
			if (what & 0x20)
				fpt_pass_begin(&p->rep);
			next_batch(m, p);
			p->busy = false;
		}
		break;
	case 9:
		how = byte(m);
		if (!p->busy && p->batch.nr) {
			p->busy = true;
			complete_batch(m, p, how & 1);
			p->busy = false;
		}
		break;
	case 10:
		claim(m);
		break;
	case 11:
		how = byte(m);
		advance(m, how >> 2, how & 1, how & 2);
		break;
	case 12:
		how = byte(m);
		if (how >> 4 == 15)
			remove_range(m);
		else if (how >> 4 == 14)
			switch_to(m, trackers[(how & 15) % NR_SWITCHED]);
		else if (how >> 4 == 13 && !m->removing)
			flush(p);
		else
			m->busy_left = how % 8;
		break;
	default:
		how = byte(m);
		m->interrupt_in = (how & 0x7f) + 1;
		m->interrupt_rmw = how & 0x80;
		break;
	}
	m->depth--;
}

static void check_counters(struct model *m)
{
	unsigned long out = 0, *c;
	struct fpt_stats stats;
	unsigned int i;

	fpt_get_stats(&m->t, &stats);
	c = stats.count;
	REQUIRE("memory used", stats.memory_used <= stats.memory_donated);
	REQUIRE("memory donated", stats.memory_donated <= m->given);
	for (i = 0; i < m->nr_claims; i++)
		out += m->claim[i].range.nr;
	for (i = 0; i < NR_REPORTERS; i++)
		out += m->reporter[i].rep.in_flight;
	out += c[FPT_STAT_BUSY] + c[FPT_STAT_USED] + c[FPT_STAT_REPORTED] + c[FPT_STAT_FAILED];
	/* Blocks that min_order keeps may count as claimed. */
	REQUIRE("claimed pages", m->keeps ? c[FPT_STAT_CLAIMED] >= out
						     : c[FPT_STAT_CLAIMED] == out);
	REQUIRE("reported", c[FPT_STAT_REPORTED] == m->reported);
	REQUIRE("failed", c[FPT_STAT_FAILED] == m->failed);
	if (m->config.ops == &fpt_none_ops && !m->switches) {
		REQUIRE("nothing is known", !c[FPT_STAT_FREED] && !c[FPT_STAT_CLAIMED]);
		return;
	}
	if (!m->blind) {
		REQUIRE("freed", c[FPT_STAT_FREED] == m->freed);
		REQUIRE("allocated", c[FPT_STAT_ALLOCATED] == m->allocated);
		if (!m->outside_unknown)
			REQUIRE("outside", c[FPT_STAT_OUTSIDE] == m->outside);
	}
	if (sees_everything(m)) {
		REQUIRE("dropped", !c[FPT_STAT_DROPPED]);
		if (!m->ever_interrupted)
			REQUIRE("refaulted", c[FPT_STAT_REFAULTED] == m->refaulted);
	}
}

/* folded: what deltas had is in the base. */
static void check_bits(struct model *m, bool folded)
{
	unsigned int i;
	fpt_pfn_t k;

	if (!sees_everything(m) && !(folded && m->config.ops->toggles))
		return;
	for (i = 0; i < m->nr_ranges; i++) {
		struct model_range *r = &m->range[i];

		for (k = 0; k < r->nr; k++)
			if (!fpt_xbitmap_is_coarse(&m->t.back, r->pfn + k))
				REQUIRE("a page's bit", fpt_xbitmap_test(&m->t.back, r->pfn + k) ==
					(r->page[k] != HELD));
	}
}

/* Let everything come to its end; then every free block has been reported. */
static void finish(struct model *m)
{
	struct fpt_stats stats;
	unsigned int i;
	unsigned long b;

	m->interrupt_in = 0;
	m->interrupted = false;
	m->busy_left = 0;
	m->min_order = 0;
	for (i = 0; i < NR_REPORTERS; i++)
		m->reporter[i].rep.policy.min_order = 0;
	check_bits(m, false);
	while (m->nr_claims)
		advance(m, 0, true, true);
	for (i = 0; i < NR_REPORTERS; i++)
		if (m->reporter[i].batch.nr)
			complete_batch(m, &m->reporter[i], true);
	check_counters(m);
	/* "Two drains", and what they put into blocks that the first pass found used. */
	for (i = 0; i < 3; i++)
		pass(m, &m->reporter[0], true);
	check_counters(m);
	check_bits(m, true);
	fpt_get_stats(&m->t, &stats);
	if (stats.count[FPT_STAT_DROPPED] || m->blind)
		return;
	for (i = 0; i < m->nr_ranges; i++) {
		struct model_range *r = &m->range[i];

		for (b = 0; b < r->nr_blocks; b++) {
			fpt_pfn_t first = r->base + (b << m->config.order);
			fpt_pfn_t nr = 1UL << m->config.order, k;

			if (first < r->pfn || nr - 1 > r->nr - 1 - (first - r->pfn))
				continue;	/* not all of it is in the range */
			if (first - r->pfn >= r->nr)
				continue;
			for (k = 0; k < nr; k++)
				if (r->page[first - r->pfn + k] != FREE)
					break;
			REQUIRE("a free block was not reported",
				k < nr || r->block[b] & BLOCK_REPORTED);
		}
	}
}

static void run(struct model *m, const struct fpt_ops *ops, const uint8_t *data, size_t size)
{
	unsigned int shape, batch, entries, i;
	struct fpt_policy policy = { .batch = 0 };
	struct fpt_mem mem;
	size_t front;

	memset(m, 0, sizeof(*m));
	current = m;
	fpt_model_cpu = 0;
	m->data = data;
	m->left = size;
	shape = byte(m);
	m->config.ops = ops;
	m->config.nr_cpus = shape % MAX_CPUS + 1;
	m->config.order = byte(m) % 14;
	entries = byte(m);
	m->config.array_entries = entries % 32;
	m->config.delta_sets = 1UL << entries % 32 / 11;
	/* A little below the order of reporting, and more above. */
	if (entries / 32 && m->config.order + entries / 32 > 2)
		m->min_order = m->config.order + entries / 32 - 2;
	m->keeps = m->min_order != 0;
	m->exact = ops->retracts;
	m->blind = ops == &fpt_none_ops;
	batch = byte(m);
	front = fpt_size(&m->config);
	mem = donate(&m->front, front, shape >> 2 & 63, shape & 1);
	if (batch == 255) {
		mem.size -= mem.size * byte(m) / 255;
		REQUIRE("init", fpt_init(&m->t, &m->config, &mem) == FPT_OK || mem.size < front);
		check_donation(&m->front);
		free(m->front.all);
		return;
	}
	REQUIRE("init", fpt_init(&m->t, &m->config, &mem) == FPT_OK && mem.size <= front);
	m->given = front - mem.size;
	policy.batch = batch % 32 + 1;
	policy.max_in_flight = ((batch >> 5) + 1UL) << m->config.order;
	policy.min_order = m->min_order;
	for (i = 0; i < NR_REPORTERS; i++)
		REQUIRE("reporter", fpt_reporter_init(&m->reporter[i].rep, &m->t, &owner, m,
						      &policy) == FPT_OK);
	fpt_model_hook = interrupt;
	while (m->left) {
		m->interrupted = false;
		one_operation(m);
		fpt_model_cpu = 0;
	}
	fpt_model_hook = NULL;
	finish(m);
	fpt_destroy(&m->t);
	check_donation(&m->front);
	free(m->front.all);
	for (i = 0; i < FPT_NR_SLOTS; i++) {
		if (m->switch_front[i].all)
			check_donation(&m->switch_front[i]);
		free(m->switch_front[i].all);
	}
	for (i = 0; i < m->nr_ranges; i++)
		free_range(&m->range[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model m;
	unsigned int i;

	for (i = 0; i < COUNT(trackers); i++)
		run(&m, trackers[i], data, size);
	return 0;
}
