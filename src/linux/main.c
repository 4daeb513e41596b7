// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * main.c - fpt.ko: a guest's free memory goes back to its host
 *
 * Loaded in a guest that has a balloon device with the feature "reporting" (QEMU: -device
 * virtio-balloon-pci,free-page-reporting=on) and no other driver bound to it, it tracks free pages
 * and reports them. Without the device it tracks only, and reports as soon as there is one.
 *
 * Parameters: at load, and live in /sys/module/fpt/parameters/:
 *
 *	tracker		xbitmap (default), array, bitmap, delta, lockmap, none
 *	order		pages per reported block, log2 (9)
 *	source		tracepoints (default; any kernel), hooks (a kernel with patches/)
 *	period_ms	between passes of the reporter (100); 0: on demand only
 *	batch		blocks per report, at most 32 (32)
 *	in_flight_mb	memory out of the allocator at once, at most (16)
 *	timeout_ms	how long the host may take for a report (10000)
 *	flush		write 1: report all that is free now; returns when done
 *
 * The tracker is switched while it is in use; not to or from delta (EOPNOTSUPP): load the module
 * anew. order and source start tracking anew, and the counters with it; so does a tracker after
 * "none". delta is audited: 64 MB of the guest before a pass, at most every 100 ms, while there are
 * events; all of it in a flush, and with period_ms 0 only there (audit.c). A write of flush fails
 * with EOPNOTSUPP where there is no device to report to, ETIMEDOUT when the host did not answer (the
 * device is reset, its pages go back to the allocator, and it stays off until it is bound anew).
 *
 * debugfs, in /sys/kernel/debug/fpt/:
 *
 *	stats		"name value" lines: freed allocated outside dropped slow claimed busy used
 *			reported failed refaulted (pages; slow: events), donated_bytes used_bytes,
 *			in_flight (pages), reports passes timeouts; of audits: repaired (pages),
 *			disturbed (lines of 512 pages, left to a later one)
 *	dump		a line per 64 blocks: pfn, then per block
 *			. nothing, h hinted, c claimed, r reported
 *
 * tracefs, events/fpt/: fpt_isolate, fpt_report, fpt_pass.
 *
 * Loading fails with ENOENT where the kernel lacks what isolation or the source needs (then the log
 * says what), EINVAL for a parameter out of bounds, ENOMEM. A second after memory was plugged in or
 * out, tracking starts anew, too.
 */
#include "module.h"

#include <linux/module.h>

static int __init fptk_init(void)
{
	int error = fptk_isolate_init();

	if (error)
		return error;
	error = fptk_core_live();
	if (error)
		goto no_core;
	error = fptk_virtio_init();
	if (error)
		goto no_virtio;
	error = fptk_plug_init();
	if (error)
		goto no_plug;
	fptk_control_init();
	return 0;

no_plug:
	fptk_virtio_exit();
no_virtio:
	fptk_core_gone();
no_core:
	fptk_isolate_exit();
	return error;
}

static void __exit fptk_exit(void)
{
	fptk_control_exit();
	fptk_plug_exit();
	/* The reporter first: what is out comes back while the device still works. */
	fptk_core_gone();
	fptk_virtio_exit();
	fptk_isolate_exit();
}

module_init(fptk_init);
module_exit(fptk_exit);
MODULE_DESCRIPTION("Free-page tracking, and reporting to the host");
MODULE_VERSION("0.1");
MODULE_LICENSE("Dual BSD/GPL");
