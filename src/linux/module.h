/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * module.h - what the module's files know of each other
 *
 *	control.c	parameters, debugfs			the user's side
 *	core.c		settings, the tracker and its memory
 *	source.c	tracepoints or hooks -> fpt_free(), fpt_alloc()
 *	scan.c		pages that were free before the source ran
 *	audit.c		what is true of a page, for a tracker that toggles
 *	reporter.c	the thread: claim, isolate, report, put back
 *	isolate.c	the zones' free lists
 *	virtio.c	the balloon device's reporting queue
 *	plug.c		memory that comes and goes
 *	lookup.c	kernel functions that are not exported
 *
 * Included first, for pr_fmt.
 *
 * Locks, outermost first: settings (core.c), flush (reporter.c; held while the thread is waited for,
 * which takes those that follow), memory (core.c), drain (core.c), device (virtio.c), zone->lock.
 */
#ifndef FPT_MODULE_H
#define FPT_MODULE_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/seq_file.h>
#include <linux/version.h>

#include <fpt/fpt.h>

/* The highest order of a free block, whatever the kernel calls it. */
#if defined(MAX_PAGE_ORDER)
#define FPTK_MAX_ORDER MAX_PAGE_ORDER
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define FPTK_MAX_ORDER MAX_ORDER
#else
#define FPTK_MAX_ORDER (MAX_ORDER - 1)
#endif

/* Pages per step of a walk: no free block crosses a multiple of it. */
#define FPTK_STEP (1UL << FPTK_MAX_ORDER)

enum fptk_source {
	FPTK_TRACEPOINTS,
	FPTK_HOOKS,
};

struct fptk_settings {
	const struct fpt_ops *ops;
	enum fptk_source source;
	unsigned int order;
	unsigned int period_ms;		/* 0: on demand only */
	unsigned int batch;
	unsigned int in_flight_mb;
	unsigned int timeout_ms;	/* of the host */
};

/* core.c; process context. The settings are written in apply() only. */
extern struct fptk_settings fptk_settings;
extern struct mutex fptk_drain_lock;
const struct fpt_ops *fptk_ops_by_name(const char *name);
int fptk_core_apply(int (*change)(struct fptk_settings *s, const void *arg), const void *arg);
int fptk_core_live(void);
void fptk_core_gone(void);
void fptk_core_again(void);
int fptk_core_show(struct seq_file *m, void (*show)(struct seq_file *m, struct fpt *t));
int fptk_core_refill(struct fpt *t);

/* source.c; process context */
int fptk_source_start(enum fptk_source source, struct fpt *t);
void fptk_source_stop(void);

/* scan.c; process context */
void fptk_scan(struct fpt *t);

/* audit.c; process context */
void fptk_audit_start(struct fpt *t);
void fptk_audit_some(struct fpt *t);
void fptk_audit_all(struct fpt *t);
void fptk_audit_show(struct seq_file *m);

/* isolate.c */
extern const struct fpt_owner_ops fptk_owner;
int fptk_isolate_init(void);
void fptk_isolate_exit(void);
unsigned long fptk_pages_out(void);
unsigned long fptk_blocked(void);
void fptk_drain_pcp(void);
struct page *fptk_buddy_of(unsigned long pfn, unsigned int order, unsigned int *its_order);
bool fptk_owned(struct page *page);

/* reporter.c; process context */
struct fptk_reporter_stats {
	unsigned long passes, reports, timeouts;
};
extern struct fptk_reporter_stats fptk_reporter_stats;
int fptk_reporter_start(struct fpt *t);
void fptk_reporter_stop(void);
void fptk_reporter_wake(void);
int fptk_reporter_flush(void);

/* virtio.c; process context */
int fptk_virtio_init(void);
void fptk_virtio_exit(void);
bool fptk_virtio_ready(void);
int fptk_virtio_report(const struct fpt_batch *b);

/* plug.c */
int fptk_plug_init(void);
void fptk_plug_exit(void);

/* control.c */
void fptk_control_init(void);
void fptk_control_exit(void);

/* lookup.c; process context. NULL: this kernel has no such function, or no kprobes. */
void *fptk_lookup(const char *name);

/* The next zone with pages, all nodes'; *at is 0 at first. NULL: no more. */
static inline struct zone *fptk_next_zone(unsigned int *at)
{
	while (*at < MAX_NUMNODES * MAX_NR_ZONES) {
		unsigned int i = (*at)++;
		int nid = i / MAX_NR_ZONES;

		if (!node_online(nid))
			continue;
		if (populated_zone(&NODE_DATA(nid)->node_zones[i % MAX_NR_ZONES]))
			return &NODE_DATA(nid)->node_zones[i % MAX_NR_ZONES];
	}
	return NULL;
}

#endif
