// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * plug.c - memory that comes and goes while the module runs
 *
 * The pages that come are in no range, so that their events are ignored; what is hinted of those
 * that went would be tried in vain by every pass (isolation does not find them any more). Both end
 * when the tracker is set up anew, a second after the last event: plugging comes in many blocks.
 *
 * Process context. Without memory hot-plug in the kernel, nothing ever calls.
 */
#include "module.h"

#include <linux/memory.h>
#include <linux/notifier.h>
#include <linux/workqueue.h>

static void fptk_plugged(struct work_struct *work)
{
	fptk_core_again();
}

static DECLARE_DELAYED_WORK(fptk_plug_work, fptk_plugged);

static int fptk_plug(struct notifier_block *nb, unsigned long action, void *arg)
{
	/* Not here: this is called with memory hot-plug locked. */
	if (action == MEM_ONLINE || action == MEM_OFFLINE)
		mod_delayed_work(system_wq, &fptk_plug_work, HZ);
	return NOTIFY_OK;
}

static struct notifier_block fptk_plug_notifier = { .notifier_call = fptk_plug };

int fptk_plug_init(void)
{
	return register_memory_notifier(&fptk_plug_notifier);
}

void fptk_plug_exit(void)
{
	unregister_memory_notifier(&fptk_plug_notifier);
	cancel_delayed_work_sync(&fptk_plug_work);
}
