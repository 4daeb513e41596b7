// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * main.c - a module with the headers' real code in it: every tracker, through its ops
 *
 * Loaded, it runs each tracker over 1024 pages that do not exist and says how many were reported.
 * check.sh writes trackers.h: TRACKER(name) for each.
 */
#include <linux/cpumask.h>
#include <linux/errno.h>
#include <linux/module.h>
#include <linux/printk.h>

#include <fpt/fpt.h>

#include "trackers.h"

#define KMOD_PAGES 1024UL
#define KMOD_ORDER 6

static const struct fpt_ops *const kmod_ops[] = {
#define TRACKER(name) &fpt_##name##_ops,
	TRACKERS
#undef TRACKER
};

/* Direct calls: see direct.h. */
struct kmod_direct {
	void (*free)(struct fpt *t, fpt_pfn_t pfn, unsigned int order);
	int (*alloc)(struct fpt *t, fpt_pfn_t pfn, unsigned int order);
};

#define TRACKER(name) \
	void kmod_##name##_free(struct fpt *t, fpt_pfn_t pfn, unsigned int order); \
	int kmod_##name##_alloc(struct fpt *t, fpt_pfn_t pfn, unsigned int order);
TRACKERS
#undef TRACKER

static const struct kmod_direct kmod_direct[] = {
#define TRACKER(name) { .free = kmod_##name##_free, .alloc = kmod_##name##_alloc },
	TRACKERS
#undef TRACKER
};

static struct fpt kmod_tracker;

static enum fpt_isolated kmod_isolate(void *ctx, struct fpt_range r)
{
	return FPT_TAKEN;
}

static void kmod_put_back(void *ctx, struct fpt_range r)
{
}

static const struct fpt_owner_ops kmod_owner = {
	.isolate = kmod_isolate,
	.put_back = kmod_put_back,
};

static int kmod_report(struct fpt *t)
{
	static const struct fpt_policy policy = {
		.batch = FPT_BATCH_MAX,
		.max_in_flight = KMOD_PAGES,
	};
	struct fpt_reporter reporter;
	struct fpt_batch batch;
	int nr = 0;

	if (fpt_reporter_init(&reporter, t, &kmod_owner, NULL, &policy))
		return -EINVAL;
	fpt_pass_begin(&reporter);
	while (fpt_pass_next(&reporter, &batch)) {
		nr += batch.nr;
		fpt_pass_complete(&reporter, &batch, true);
	}
	return nr << KMOD_ORDER;
}

static int kmod_run(struct fpt *t, const struct fpt_config *config,
		    const struct kmod_direct *direct)
{
	size_t size = fpt_size(config), range_size;
	void *memory = fpt_memory_get(size), *range_memory = NULL;
	struct fpt_mem m = { .base = memory, .size = size, .zeroed = true };
	int result = -ENOMEM;

	if (!memory || fpt_init(t, config, &m))
		goto out;
	range_size = fpt_range_size(t, 0, KMOD_PAGES, true);
	range_memory = fpt_memory_get(range_size);
	m = (struct fpt_mem){ .base = range_memory, .size = range_size, .zeroed = true };
	if (!range_memory || fpt_add_range(t, 0, KMOD_PAGES, &m))
		goto out;
	fpt_free(t, 0, KMOD_ORDER);
	direct->free(t, 1UL << KMOD_ORDER, KMOD_ORDER);
	result = fpt_alloc(t, 0, 0) + direct->alloc(t, 1, 0);
	if (!result)
		result = kmod_report(t);
out:
	fpt_memory_put(range_memory, 0);
	fpt_memory_put(memory, size);
	return result;
}

static int __init kmod_init(void)
{
	struct fpt_config config = { .nr_cpus = nr_cpu_ids, .order = KMOD_ORDER };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kmod_ops); i++) {
		config.ops = kmod_ops[i];
		pr_info("fpt_kmod: %s: %d pages reported\n", config.ops->name,
			kmod_run(&kmod_tracker, &config, &kmod_direct[i]));
	}
	return 0;
}

static void __exit kmod_exit(void)
{
}

module_init(kmod_init);
module_exit(kmod_exit);
MODULE_DESCRIPTION("Every tracker of fpt, compiled for the kernel");
MODULE_LICENSE("Dual BSD/GPL");
