// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * reporter.c - the thread that reports: every period_ms, and when it is told to
 *
 * start, stop, wake, flush: process context. The thread is the only one that claims. Whatever goes
 * wrong on the way to the host, a batch is put back before the thread goes on, so that stop, which
 * waits for the batch under way (timeout_ms at most), leaves no page out.
 *
 * flush returns 0 when a pass found nothing more to report; -EOPNOTSUPP without a device,
 * -ETIMEDOUT or -EIO when the host failed, -ENODEV when there is no thread (any more), -EINTR on a
 * fatal signal: the flush then goes on without a waiter.
 */
#include "module.h"

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "trace.h"

/* Between drains of the per-CPU lists, in ticks. */
#define FPTK_DRAIN_MIN HZ
#define FPTK_DRAIN_MAX (64 * HZ)

/* A flush under load: what becomes free while it runs is for the next one. */
#define FPTK_FLUSH_PASSES 8

struct fptk_reporter_stats fptk_reporter_stats;

static DECLARE_WAIT_QUEUE_HEAD(fptk_wait_thread);
static DECLARE_WAIT_QUEUE_HEAD(fptk_wait_flush);
static DEFINE_MUTEX(fptk_flush_lock);		/* covers fptk_thread */
static struct task_struct *fptk_thread;
static unsigned long fptk_wanted, fptk_done;	/* numbers of flushes */
static int fptk_result;				/* of flush fptk_done */
static bool fptk_woken;

static struct fpt_reporter fptk_reporter;
static struct fpt_batch fptk_batch;
static unsigned long fptk_dropped;		/* hints, before the last scan */

static struct {
	unsigned long wait, next;		/* jiffies */
	unsigned long reports;			/* before it */
} fptk_drain;

/* Between passes, when nothing is out: the settings may have changed. */
static int fptk_reporter_setup(struct fpt *t)
{
	unsigned long in_flight = READ_ONCE(fptk_settings.in_flight_mb);
	struct fpt_policy policy = {
		.batch = READ_ONCE(fptk_settings.batch),
		.max_in_flight = in_flight << (20 - PAGE_SHIFT),
	};

	return fpt_reporter_init(&fptk_reporter, t, &fptk_owner, NULL, &policy);
}

static int fptk_report(struct fpt_batch *b)
{
	unsigned long pages = (unsigned long)b->nr << fptk_reporter.t->back.order;
	u64 start = ktime_get_ns();
	int error = fptk_virtio_report(b);

	trace_fpt_report(b->nr, pages, ktime_get_ns() - start, error);
	fpt_pass_complete(&fptk_reporter, b, !error);
	if (!error)
		fptk_reporter_stats.reports++;
	else if (error == -ETIMEDOUT)
		fptk_reporter_stats.timeouts++;
	return error;
}

/* One pass. Blocks reported, or an error. */
static long fptk_pass(struct fpt *t, bool flush)
{
	u64 start = ktime_get_ns();
	long blocks = 0;
	int error = fptk_reporter_setup(t);

	if (error)
		return -EINVAL;
	(void)fptk_core_refill(t);	/* without it, slower */
	mutex_lock(&fptk_drain_lock);
	fpt_pass_begin(&fptk_reporter);
	mutex_unlock(&fptk_drain_lock);
	while (!kthread_should_stop()) {
		unsigned int nr = fpt_pass_next(&fptk_reporter, &fptk_batch);

		if (!nr)
			break;
		error = fptk_report(&fptk_batch);
		if (error) {
			blocks = error;
			break;
		}
		blocks += nr;
	}
	fptk_reporter_stats.passes++;
	trace_fpt_pass(flush, blocks < 0 ? blocks : blocks << t->back.order,
		       ktime_get_ns() - start);
	return blocks;
}

/*
 * A few pages in per-CPU lists keep many blocks from being reported, for as long as nobody needs
 * them: in an idle guest, for good. So they are drained, at most once a second, and ever less often
 * while that leads to nothing.
 */
static void fptk_unblock(void)
{
	unsigned long reports = fptk_reporter_stats.reports;

	if (time_before(jiffies, fptk_drain.next))
		return;
	fptk_drain.wait = reports == fptk_drain.reports ?
		min_t(unsigned long, 2 * fptk_drain.wait, FPTK_DRAIN_MAX) : FPTK_DRAIN_MIN;
	fptk_drain.next = jiffies + fptk_drain.wait;
	fptk_drain.reports = reports;
	fptk_drain_pcp();
}

static void fptk_period(struct fpt *t)
{
	unsigned long blocked = fptk_blocked();

	fptk_audit_some(t);
	if (fptk_pass(t, false) >= 0 && fptk_blocked() != blocked)
		fptk_unblock();
}

/* What a full tracker dropped, no event will hint again: look for it. */
static void fptk_recover(struct fpt *t)
{
	struct fpt_stats stats;

	fpt_get_stats(t, &stats);
	if (stats.count[FPT_STAT_DROPPED] == fptk_dropped)
		return;
	fptk_dropped = stats.count[FPT_STAT_DROPPED];
	fptk_scan(t);
}

/*
 * Twice at least: of some trackers it takes two drains to see everything, and what was dropped is
 * looked for after a drain.
 */
static int fptk_flush(struct fpt *t)
{
	unsigned int i;
	long blocks;

	if (!fptk_virtio_ready())
		return -EOPNOTSUPP;
	fptk_drain_pcp();
	fptk_audit_all(t);
	for (i = 0; i < FPTK_FLUSH_PASSES; i++) {
		blocks = fptk_pass(t, true);
		if (blocks < 0)
			return blocks;
		if (!blocks && i)
			break;
		if (!i)
			fptk_recover(t);
	}
	return 0;
}

static bool fptk_called(void)
{
	return kthread_should_stop() || READ_ONCE(fptk_wanted) != fptk_done ||
	       READ_ONCE(fptk_woken);
}

static int fptk_run(void *data)
{
	struct fpt *t = data;

	while (!kthread_should_stop()) {
		unsigned long wanted;
		unsigned int period;

		/* Before the settings are read: a change after that wakes again. */
		smp_store_mb(fptk_woken, false);
		period = READ_ONCE(fptk_settings.period_ms);
		if (period)
			wait_event_idle_timeout(fptk_wait_thread, fptk_called(),
						msecs_to_jiffies(period));
		else
			wait_event_idle(fptk_wait_thread, fptk_called());
		if (kthread_should_stop())
			break;
		wanted = READ_ONCE(fptk_wanted);
		if (wanted != fptk_done) {
			fptk_result = fptk_flush(t);
			/* Pairs with the waiter's acquire. */
			smp_store_release(&fptk_done, wanted);
			wake_up_all(&fptk_wait_flush);
		} else if (!READ_ONCE(fptk_woken) && fptk_virtio_ready()) {
			fptk_period(t);
		}
	}
	return 0;
}

int fptk_reporter_flush(void)
{
	unsigned long mine;
	int result = -ENODEV;

	if (mutex_lock_interruptible(&fptk_flush_lock))
		return -EINTR;
	if (fptk_thread) {
		mine = fptk_wanted + 1;
		WRITE_ONCE(fptk_wanted, mine);
		wake_up(&fptk_wait_thread);
		/* The thread stops only with the lock held. */
		if (wait_event_killable(fptk_wait_flush, smp_load_acquire(&fptk_done) == mine))
			result = -EINTR;
		else
			result = fptk_result;
	}
	mutex_unlock(&fptk_flush_lock);
	return result;
}

void fptk_reporter_wake(void)
{
	/* After the change that the thread is to see. */
	smp_store_mb(fptk_woken, true);
	wake_up(&fptk_wait_thread);
}

int fptk_reporter_start(struct fpt *t)
{
	struct task_struct *thread;

	fptk_dropped = 0;
	fptk_drain.wait = FPTK_DRAIN_MIN;
	fptk_drain.next = jiffies;
	memset(&fptk_reporter_stats, 0, sizeof(fptk_reporter_stats));
	fptk_audit_start(t);
	thread = kthread_run(fptk_run, t, "fpt");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	mutex_lock(&fptk_flush_lock);
	fptk_thread = thread;
	mutex_unlock(&fptk_flush_lock);
	return 0;
}

void fptk_reporter_stop(void)
{
	mutex_lock(&fptk_flush_lock);
	kthread_stop(fptk_thread);
	fptk_thread = NULL;
	fptk_done = fptk_wanted;
	mutex_unlock(&fptk_flush_lock);
}
