/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * use.c - calls everything, so that the header checks see the warnings that only code in use gets
 *
 * Compiled as C11 and as C++17 and never run. check.sh writes trackers.h: TRACKER(name) for each.
 */
#include <fpt/fpt.h>

extern struct fpt_mem headers_use_mem;
extern const struct fpt_owner_ops headers_use_owner;
extern const struct fpt_ops *const headers_use_ops[];
int headers_use(struct fpt *t, const struct fpt_config *config);

#define TRACKER(name) &fpt_##name##_ops,
const struct fpt_ops *const headers_use_ops[] = {
#include <trackers.h>
	NULL
};
#undef TRACKER

#define TRACKER(name) \
	void headers_use_##name##_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order); \
	int headers_use_##name##_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order); \
	void headers_use_##name##_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order) \
	{ \
		fpt_##name##_free(t, pfn, order); \
	} \
	int headers_use_##name##_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order) \
	{ \
		return fpt_##name##_alloc(t, pfn, order); \
	}
#include <trackers.h>
#undef TRACKER

int headers_use(struct fpt *t, const struct fpt_config *config)
{
	size_t size = fpt_size(config);
	void *p = fpt_memory_get(size);
	struct fpt_mem mem = { p, size, true };
	struct fpt_reporter reporter;
	struct fpt_range *ranges;
	struct fpt_batch batch;
	struct fpt_policy policy;
	struct fpt_stats stats;
	int result = fpt_init(t, config, &mem);

	if (result == FPT_OK)
		result = fpt_add_range(t, 1, fpt_range_size(t, 1, 1, true), &headers_use_mem);
	if (result != FPT_OK)
		return result;
	fpt_zero(&policy, sizeof(policy));
	fpt_free(t, 1, 0);
	result = fpt_alloc(t, 1, 0);
	policy.batch = FPT_BATCH_MAX;
	policy.max_in_flight = 1UL << 20;
	if (fpt_reporter_init(&reporter, t, &headers_use_owner, p, &policy) != FPT_OK)
		return FPT_EINVAL;
	fpt_pass_begin(&reporter);
	while (fpt_pass_next(&reporter, &batch))
		fpt_pass_complete(&reporter, &batch, true);
	if (fpt_array2019_requested(t, 0) &&
	    fpt_array2019_collect(t, &headers_use_owner, p, 0, &ranges) > 0)
		fpt_array2019_return(t, &headers_use_owner, p, 0, ranges[0].nr > 1);
	fpt_get_stats(t, &stats);
	result += fpt_xbitmap_test(&t->back, 1) + fpt_xbitmap_is_coarse(&t->back, 1);
	fpt_destroy(t);
	fpt_memory_put(p, size);
	return result + (int)stats.memory_used;
}
