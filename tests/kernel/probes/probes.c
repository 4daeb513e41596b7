// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * probes.c - two probes that do nothing on each tracepoint of the page allocator that fpt.ko uses
 *
 * For the sake of QEMU before 8.1, which runs several CPUs without KVM wrongly: what it translated
 * while another CPU patched the code may stay for good. A kernel patches its code when a
 * tracepoint gets its first probe and its second, or loses them (a jump label and a static call);
 * a CPU in the page allocator then meets the breakpoint that is there in between again and again,
 * after it is gone. With two probes that stay, others come and go without a patch.
 */
#include <linux/kernel.h>
#include <linux/mm_types.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

static void probes_free(void *data, struct page *page, unsigned int order)
{
}

static void probes_alloc(void *data, struct page *page, unsigned int order, gfp_t gfp,
			 int migratetype)
{
}

static struct {
	const char *name;
	void *probe;
} probes[] = {
	{ "mm_page_alloc", probes_alloc },
	{ "mm_page_free", probes_free },
};

static unsigned int nr_registered;

static void probes_register(struct tracepoint *tp, void *data)
{
	unsigned long i, nr;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		for (nr = 1; nr <= 2 && !strcmp(tp->name, probes[i].name); nr++)
			/* Two are told apart by their data. */
			if (!tracepoint_probe_register(tp, probes[i].probe, (void *)nr))
				nr_registered++;
}

static int __init probes_init(void)
{
	for_each_kernel_tracepoint(probes_register, NULL);
	return nr_registered == 2 * ARRAY_SIZE(probes) ? 0 : -ENOENT;
}
/* Without an exit: it stays. */
module_init(probes_init);

MODULE_DESCRIPTION("Probes that keep tracepoints as they are");
MODULE_LICENSE("Dual BSD/GPL");
