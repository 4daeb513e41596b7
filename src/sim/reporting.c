/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* reporting.c - see reporting.h */
#include "sim/reporting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ask(struct owner *o, struct fpt_range r)
{
	if (!o->counts)
		return;
	o->asked_pages += r.nr;
	o->asked_free_pages += guest_count_free(o->g, r);
}

static enum fpt_isolated isolate(void *ctx, struct fpt_range r)
{
	struct owner *o = ctx;

	ask(o, r);
	return guest_isolate(o->g, r);
}

static void put_back(void *ctx, struct fpt_range r)
{
	guest_put_back(((struct owner *)ctx)->g, r);
}

static bool is_free(void *ctx, fpt_pfn_t pfn)
{
	return guest_is_free(((struct owner *)ctx)->g, pfn);
}

static enum fpt_truth truth(void *ctx, fpt_pfn_t pfn)
{
	return guest_truth(((struct owner *)ctx)->g, pfn);
}

static const struct fpt_owner_ops owner_ops = { isolate, put_back, is_free };

static unsigned int isolate_next(struct reporting *p, struct fpt_batch *b)
{
	return fpt_pass_next(&p->rep, b);
}

static void pass_complete(struct reporting *p, struct fpt_batch *b)
{
	fpt_pass_complete(&p->rep, b, true);
}

static const struct reporting_ops isolate_ops = { isolate_next, pass_complete, false };

/* One batch is submitted, the others of the ring are claimed: what an allocation still cancels. */
static unsigned int ticket_next(struct reporting *p, struct fpt_batch *b)
{
	unsigned int i;

	do {
		while (p->nr < p->cap &&
		       fpt_pass_claim(&p->rep, &p->claimed[(p->first + p->nr) % p->cap]))
			p->nr++;
		if (!p->nr) {
			b->nr = 0;
			return 0;
		}
		*b = p->claimed[p->first];
		p->first = (p->first + 1) % p->cap;
		p->nr--;
		for (i = 0; i < b->nr; i++)
			ask(&p->owner, b->range[i]);
	} while (!fpt_pass_submit(&p->rep, b));
	return b->nr;
}

static const struct reporting_ops ticket_ops = { ticket_next, pass_complete, false };

/* A batch of the policy's size, of as many chunks as it takes. */
static unsigned int hints_next(struct reporting *p, struct fpt_batch *b)
{
	struct fpt *t = p->rep.t;
	fpt_pfn_t block = 1UL << t->back.order, last, got;

	for (b->nr = 0; b->nr < p->rep.policy.batch; p->at += got) {
		fpt_pfn_t want = (p->rep.policy.batch - b->nr) << t->back.order, i;

		if (want > p->rep.policy.max_in_flight - p->rep.in_flight)
			want = p->rep.policy.max_in_flight - p->rep.in_flight;
		got = fpt_get_hints(t, &p->at, want);
		if (!got)
			break;
		p->rep.in_flight += got;
		for (i = 0; i < got; i += block, b->nr++) {
			fpt_atomic_t *w = fpt_ticket_at(t, p->at + i, &last);

			b->range[b->nr] = (struct fpt_range){ p->at + i, block };
			b->ticket[b->nr] = fpt_ticket_of(fpt_load(w, relaxed));
			ask(&p->owner, b->range[b->nr]);
		}
	}
	return b->nr;
}

static void hints_complete(struct reporting *p, struct fpt_batch *b)
{
	unsigned int i;

	for (i = 0; i < b->nr; i++) {
		fpt_put_hints(p->rep.t, b->range[i].pfn, b->range[i].nr);
		p->rep.in_flight -= b->range[i].nr;
	}
}

static const struct reporting_ops hints_ops = { hints_next, hints_complete, true };

int reporting_init(struct reporting *p, struct setup *s, struct guest *g,
		   const struct sim_config *config, struct trace_error *err)
{
	static const struct reporting_ops *const ops[] = {
		[SIM_ISOLATE] = &isolate_ops, [SIM_TICKET] = &ticket_ops, [SIM_HINTS] = &hints_ops,
	};
	struct fpt_policy policy = sim_report_policy(&config->policy, g->page_size);

	memset(p, 0, sizeof(*p));
	p->ops = ops[config->policy.protocol];
	p->setup = s;
	p->owner.g = g;
	if (fpt_reporter_init(&p->rep, &s->t, &owner_ops, &p->owner, &policy))
		abort();
	p->audit = (struct fpt_auditor){ .t = &s->t, .truth = truth, .ctx = &p->owner };
	p->audit_lines = s->t.back.audits ? config->policy.audit : 0;
	p->cap = (unsigned int)config->policy.ahead + 1;
	p->claimed = calloc(p->cap, sizeof(*p->claimed));
	if (p->claimed)
		return 0;
	snprintf(err->text, sizeof(err->text), "no memory for batches");
	return -1;
}

void reporting_free(struct reporting *p)
{
	free(p->claimed);
	memset(p, 0, sizeof(*p));
}

bool reporting_due(struct reporting *p, uint64_t ns, bool *later)
{
	*later = true;
	if (!p->rep.policy.amount && !p->rep.policy.age)
		return true;
	if (fpt_due(&p->rep, (unsigned long)ns))
		return true;
	*later = p->rep.policy.age && p->rep.pending;
	return false;
}

/* Up to the end at most; the next pass goes on. */
static void audit(struct reporting *p)
{
	uint64_t left = p->audit_lines;
	int n;

	for (; left; left -= (unsigned int)n) {
		n = fpt_audit(&p->audit, left < FPT_AUDIT_LINES ? (unsigned int)left
								: FPT_AUDIT_LINES);
		if (n <= 0)
			break;
	}
}

void reporting_begin(struct reporting *p)
{
	setup_refill(p->setup);
	audit(p);
	fpt_pass_begin(&p->rep);
	p->at = 0;
}
