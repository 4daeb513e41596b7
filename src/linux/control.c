// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * control.c - parameters and debugfs: main.c says what they mean
 *
 * Writes come from process context, one at a time (the module's parameter lock), and sleep until
 * the change is in force or the flush is done. debugfs is there to look at; without it nothing is
 * lost.
 */
#include "module.h"

#include <linux/debugfs.h>
#include <linux/errno.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>

static const char *const fptk_source_names[] = {
	[FPTK_TRACEPOINTS] = "tracepoints",
	[FPTK_HOOKS] = "hooks",
};

static int fptk_change_tracker(struct fptk_settings *s, const void *arg)
{
	s->ops = fptk_ops_by_name(arg);
	return s->ops ? 0 : -EINVAL;
}

static int fptk_set_tracker(const char *val, const struct kernel_param *kp)
{
	return fptk_core_apply(fptk_change_tracker, val);
}

static int fptk_get_tracker(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", READ_ONCE(fptk_settings.ops)->name);
}

static const struct kernel_param_ops fptk_tracker_param = {
	.set = fptk_set_tracker,
	.get = fptk_get_tracker,
};

static int fptk_change_source(struct fptk_settings *s, const void *arg)
{
	int i = __sysfs_match_string(fptk_source_names, ARRAY_SIZE(fptk_source_names), arg);

	if (i < 0)
		return i;
	s->source = i;
	return 0;
}

static int fptk_set_source(const char *val, const struct kernel_param *kp)
{
	return fptk_core_apply(fptk_change_source, val);
}

static int fptk_get_source(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", fptk_source_names[READ_ONCE(fptk_settings.source)]);
}

static const struct kernel_param_ops fptk_source_param = {
	.set = fptk_set_source,
	.get = fptk_get_source,
};

struct fptk_number {
	size_t offset;			/* in the settings */
	unsigned int value;
};

static int fptk_change_number(struct fptk_settings *s, const void *arg)
{
	const struct fptk_number *n = arg;

	*(unsigned int *)((char *)s + n->offset) = n->value;
	return 0;
}

static int fptk_set_number(const char *val, const struct kernel_param *kp)
{
	struct fptk_number n = { .offset = (char *)kp->arg - (char *)&fptk_settings };
	int error = kstrtouint(val, 0, &n.value);

	return error ? error : fptk_core_apply(fptk_change_number, &n);
}

static const struct kernel_param_ops fptk_number_param = {
	.set = fptk_set_number,
	.get = param_get_uint,
};

static int fptk_set_flush(const char *val, const struct kernel_param *kp)
{
	bool now;
	int error = kstrtobool(val, &now);

	return error || !now ? error : fptk_reporter_flush();
}

static const struct kernel_param_ops fptk_flush_param = { .set = fptk_set_flush };

#define FPTK_NUMBER(name, help) \
	module_param_cb(name, &fptk_number_param, &fptk_settings.name, 0644); \
	MODULE_PARM_DESC(name, help)

module_param_cb(tracker, &fptk_tracker_param, NULL, 0644);
MODULE_PARM_DESC(tracker, "xbitmap, array, bitmap, delta, lockmap or none");
module_param_cb(source, &fptk_source_param, NULL, 0644);
MODULE_PARM_DESC(source, "tracepoints, or hooks (patched kernel)");
FPTK_NUMBER(order, "pages per reported block, log2");
FPTK_NUMBER(period_ms, "between passes; 0: on demand only");
FPTK_NUMBER(batch, "blocks per report");
FPTK_NUMBER(in_flight_mb, "memory on its way to the host, at most");
FPTK_NUMBER(timeout_ms, "how long the host may take for a report");
module_param_cb(flush, &fptk_flush_param, NULL, 0200);
MODULE_PARM_DESC(flush, "write 1: report all that is free, now");

static const char *const fptk_stat_names[FPT_NR_STATS] = {
	[FPT_STAT_FREED] = "freed",
	[FPT_STAT_ALLOCATED] = "allocated",
	[FPT_STAT_OUTSIDE] = "outside",
	[FPT_STAT_DROPPED] = "dropped",
	[FPT_STAT_SLOW] = "slow",
	[FPT_STAT_CLAIMED] = "claimed",
	[FPT_STAT_BUSY] = "busy",
	[FPT_STAT_USED] = "used",
	[FPT_STAT_REPORTED] = "reported",
	[FPT_STAT_FAILED] = "failed",
	[FPT_STAT_REFAULTED] = "refaulted",
};

static void fptk_show_stats(struct seq_file *m, struct fpt *t)
{
	struct fpt_stats stats;
	unsigned int i;

	fpt_get_stats(t, &stats);
	for (i = 0; i < FPT_NR_STATS; i++)
		if (fptk_stat_names[i])
			seq_printf(m, "%s %lu\n", fptk_stat_names[i], stats.count[i]);
	fptk_audit_show(m);
	seq_printf(m, "donated_bytes %zu\n", stats.memory_donated);
	seq_printf(m, "used_bytes %zu\n", stats.memory_used);
	seq_printf(m, "in_flight %lu\n", fptk_pages_out());
	seq_printf(m, "reports %lu\n", fptk_reporter_stats.reports);
	seq_printf(m, "passes %lu\n", fptk_reporter_stats.passes);
	seq_printf(m, "timeouts %lu\n", fptk_reporter_stats.timeouts);
}

static int stats_show(struct seq_file *m, void *unused)
{
	return fptk_core_show(m, fptk_show_stats);
}
DEFINE_SHOW_ATTRIBUTE(stats);

static char fptk_block_state(struct fpt_xbitmap_range *r, unsigned long b)
{
	if (fpt_xbitmap_test_block(r->claimed, b))
		return 'c';
	if (fpt_xbitmap_test_block(r->hinted[0], b))
		return 'h';
	return fpt_xbitmap_test_block(r->reported, b) ? 'r' : '.';
}

static void fptk_show_dump(struct seq_file *m, struct fpt *t)
{
	unsigned long n, b;

	for (n = 0; n < fpt_load(&t->back.nr_ranges, acquire); n++) {
		struct fpt_xbitmap_range *r = &t->back.range[n];

		for (b = 0; b < r->nr_blocks; b++) {
			if (b % 64 == 0)
				seq_printf(m, "%s0x%lx ", b ? "\n" : "",
					   r->base + (b << t->back.order));
			seq_putc(m, fptk_block_state(r, b));
		}
		seq_putc(m, '\n');
	}
}

static int dump_show(struct seq_file *m, void *unused)
{
	return fptk_core_show(m, fptk_show_dump);
}
DEFINE_SHOW_ATTRIBUTE(dump);

static struct dentry *fptk_debugfs;

void fptk_control_init(void)
{
	fptk_debugfs = debugfs_create_dir("fpt", NULL);
	debugfs_create_file("stats", 0444, fptk_debugfs, NULL, &stats_fops);
	debugfs_create_file("dump", 0400, fptk_debugfs, NULL, &dump_fops);
}

void fptk_control_exit(void)
{
	debugfs_remove(fptk_debugfs);
}
