// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * lookup.c - addresses of kernel functions that are not exported
 *
 * A kprobe resolves a name to register; the address stays when it is unregistered, before anything
 * has hit it for longer than that. Process context. NULL: there is no such function, it may not be
 * probed, or the kernel was built without kprobes; the caller decides what it can do without.
 */
#include "module.h"

#include <linux/kprobes.h>

void *fptk_lookup(const char *name)
{
#ifdef CONFIG_KPROBES
	struct kprobe probe = { .symbol_name = name };
	void *address;

	if (register_kprobe(&probe))
		return NULL;
	address = probe.addr;
	unregister_kprobe(&probe);
	return address;
#else
	return NULL;
#endif
}
