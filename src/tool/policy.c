/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* policy.c - fpt compare's trackers and policies: by name, and as JSON */
#include "compare.h"
#include "tool.h"

#include <fpt/array.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000u
#define MIB (1u << 20)
#define DAY_MS 86400000u

static const char *const protocols[] = {
	[SIM_ISOLATE] = "isolate", [SIM_TICKET] = "ticket", [SIM_HINTS] = "hints", NULL,
};

static const char *const discards[] = {
	[HOST_DONTNEED] = "dontneed", [HOST_PUNCH] = "punch", [HOST_FREE] = "free", NULL,
};

enum kind { NUMBER, POWER, FLAG, NAME };	/* uint64_t (POWER: of two), bool, unsigned int */

/* Which trackers have a use for it. */
enum use {
	ALL, ARRAY,
	PASSES,				/* whoever makes them: all but array2019 */
	HINTED,				/* whoever has hints: all but buddy */
	BACKED,				/* both: who claims from the back */
	PULLED,				/* and protocol isolate or ticket */
	TICKETS,			/* and not isolate */
	TICKET,
	TOGGLED,
};

static const struct key {
	const char *name;
	enum kind kind;
	enum use use;
	size_t offset;
	uint64_t min, max, unit;	/* NUMBER, POWER */
	const char *const *names;	/* NAME */
} keys[] = {
#define FIELD(f) offsetof(struct sim_policy, f)
	{ "period_ms", NUMBER, PASSES, FIELD(period_ns), 1, DAY_MS, MS, NULL },
	{ "latency_ms", NUMBER, ALL, FIELD(latency_ns), 0, DAY_MS, MS, NULL },
	{ "batch", NUMBER, PASSES, FIELD(batch), 1, FPT_BATCH_MAX, 1, NULL },
	{ "in_flight_mib", NUMBER, PASSES, FIELD(in_flight), 1, UINT32_MAX, MIB, NULL },
	{ "protocol", NAME, HINTED, FIELD(protocol), 0, 0, 0, protocols },
	{ "expedite", FLAG, TICKETS, FIELD(expedite), 0, 1, 1, NULL },
	{ "ahead", NUMBER, TICKET, FIELD(ahead), 0, 1024, 1, NULL },
	{ "again", FLAG, BACKED, FIELD(again), 0, 1, 1, NULL },
	{ "min_order", NUMBER, PULLED, FIELD(min_order), 0, FPT_MAX_ORDER, 1, NULL },
	{ "amount_mib", NUMBER, BACKED, FIELD(amount), 0, UINT32_MAX, MIB, NULL },
	{ "age_ms", NUMBER, BACKED, FIELD(age_ns), 0, DAY_MS, MS, NULL },
	{ "granule", POWER, ALL, FIELD(granule), 0, UINT32_MAX, 1, NULL },
	{ "entries", NUMBER, ARRAY, FIELD(entries), 1, 1u << 24, 1, NULL },
	{ "lines", POWER, TOGGLED, FIELD(lines), FPT_DELTA_WAYS,
	  FPT_DELTA_WAYS * FPT_DELTA_MAX_SETS, 1, NULL },
	{ "cold", NUMBER, TOGGLED, FIELD(cold), 0, FPT_XBITMAP_MAX_AGE, 1, NULL },
	{ "audit", NUMBER, TOGGLED, FIELD(audit), 0, 1u << 24, 1, NULL },
	{ "exact", FLAG, BACKED, FIELD(exact), 0, 1, 1, NULL },
	{ "discard", NAME, ALL, FIELD(discard), 0, 0, 0, discards },
#undef FIELD
};

#define NR_KEYS (sizeof(keys) / sizeof(keys[0]))

_Static_assert(NR_KEYS <= 32, "a bit of policy_args.set per key");

static uint64_t get(const struct key *k, const struct sim_policy *p)
{
	const char *at = (const char *)p + k->offset;

	return k->kind == FLAG ? *(const bool *)(const void *)at :
	       k->kind == NAME ? *(const unsigned int *)(const void *)at :
				 *(const uint64_t *)(const void *)at;
}

static void set(const struct key *k, struct sim_policy *p, uint64_t value)
{
	char *at = (char *)p + k->offset;

	if (k->kind == FLAG)
		*(bool *)(void *)at = value;
	else if (k->kind == NAME)
		*(unsigned int *)(void *)at = (unsigned int)value;
	else
		*(uint64_t *)(void *)at = value;
}

/* "a, b, c", cut to size. */
static void list(char *text, size_t size, size_t i, const char *name)
{
	if (!i)
		*text = '\0';
	else
		strncat(text, ", ", size - strlen(text) - 1);
	strncat(text, name, size - strlen(text) - 1);
}

const char *tracker_names(void)
{
	static char text[256];

	for (size_t i = 0; sim_trackers[i].name; i++)
		list(text, sizeof(text), i, sim_trackers[i].name);
	return text;
}

static int parse_value(const struct key *k, const char *text, uint64_t *value)
{
	char names[64] = "";

	if (k->kind != NAME) {
		if (tool_parse_number(k->name, text, k->min, k->max, value))
			return -1;
		*value *= k->unit;
		return 0;
	}
	for (size_t i = 0; k->names[i]; i++) {
		if (!strcmp(text, k->names[i])) {
			*value = i;
			return 0;
		}
		list(names, sizeof(names), i, k->names[i]);
	}
	tool_error("%s is '%s'; there are %s", k->name, text, names);
	return -1;
}

int policy_parse(struct policy_args *p, char *text)
{
	char *tokens[NR_KEYS + 1] = { NULL };

	/* getsubopt() does not write to names. */
	for (size_t i = 0; i < NR_KEYS; i++)
		tokens[i] = (char *)(uintptr_t)keys[i].name;
	while (*text) {
		char *value, *pair = text;
		int i = getsubopt(&text, tokens, &value);
		uint64_t n;

		if (i < 0) {
			tool_error("unknown policy '%s'; --help lists them", pair);
			return -1;
		}
		if (parse_value(&keys[i], value ? value : "", &n))
			return -1;
		if (keys[i].kind == POWER && n & (n - 1)) {
			tool_error("%s is '%s'; it takes a power of two", keys[i].name, value);
			return -1;
		}
		set(&keys[i], &p->value, n);
		p->set |= 1u << i;
	}
	return 0;
}

struct sim_policy policy_for(const struct policy_args *args, const struct sim_tracker *t)
{
	struct sim_policy p = t->policy;

	for (size_t i = 0; i < NR_KEYS; i++)
		if (args->set & 1u << i)
			set(&keys[i], &p, get(&keys[i], &args->value));
	return p;
}

static bool is_used(const struct key *k, const struct sim_tracker *t, const struct sim_policy *p)
{
	switch (k->use) {
	case ALL:
		return true;
	case ARRAY:
		return t->ops->slot == FPT_SLOT_ARRAY || t->collects;
	case PASSES:
		return !t->collects;
	case HINTED:
		return !t->walks_buddy;
	case BACKED:
		return !t->collects && !t->walks_buddy;
	case PULLED:
		return !t->collects && !t->walks_buddy && p->protocol != SIM_HINTS;
	case TICKETS:
		return !t->walks_buddy && p->protocol != SIM_ISOLATE;
	case TICKET:
		return !t->walks_buddy && p->protocol == SIM_TICKET;
	case TOGGLED:
		return t->ops->toggles;
	}
	return false;
}

json_t *policy_json(const struct sim_tracker *t, const struct sim_policy *p)
{
	json_t *all = json_object();

	for (size_t i = 0; i < NR_KEYS; i++) {
		const struct key *k = &keys[i];
		uint64_t n = get(k, p);
		json_t *value;

		if (k->use == ARRAY && !n)
			n = FPT_ARRAY_ENTRIES;
		if (k->offset == offsetof(struct sim_policy, lines) && !n)
			n = FPT_DELTA_SETS * FPT_DELTA_WAYS;
		if (!is_used(k, t, p))
			value = json_null();
		else if (k->kind == NAME)
			value = json_string(k->names[n]);
		else if (k->kind == FLAG)
			value = json_boolean(n);
		else if (n % k->unit)
			value = json_real((double)n / (double)k->unit);
		else
			value = json_integer((json_int_t)(n / k->unit));
		json_object_set_new(all, k->name, value);
	}
	return all;
}
