/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * plugin.c - peers from shared objects
 */
#include "plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef const struct bench_peer *bench_peer_function(void);

static const char *plugin_wrong(const struct bench_peer *p)
{
	static const char characters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	if (!p->name || !*p->name || strlen(p->name) > 32 ||
	    p->name[strspn(p->name, characters)])
		return "its name is not 1 to 32 letters, digits and _";
	if (!p->create || !p->free || !p->alloc || !p->destroy)
		return "create, free, alloc or destroy is missing";
	if (p->flags & ~(BENCH_PEER_NO_ALLOC | BENCH_PEER_STALE))
		return "it has flags that are not known";
	if (p->max_undrained && (!p->drain || p->max_undrained < BENCH_PEER_ROUND))
		return "max_undrained is less than a round's events, or there is no drain";
	return NULL;
}

const struct bench_peer *bench_plugin(const char *file)
{
	const struct bench_peer *p;
	const char *wrong, *slash = strchr(file, '/') ? "" : "./";
	bench_peer_function *function;
	char *path;
	void *object, *symbol;

	/* Without a slash dlopen() looks in the system's folders instead. */
	if (asprintf(&path, "%s%s", slash, file) < 0) {
		fprintf(stderr, "fpt-bench: --peer %s: no memory\n", file);
		return NULL;
	}
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	free(path);
	if (!object) {
		fprintf(stderr, "fpt-bench: --peer %s: cannot load it: %s\n", file, dlerror());
		return NULL;
	}
	symbol = dlsym(object, BENCH_PEER_SYMBOL);
	if (!symbol) {
		fprintf(stderr, "fpt-bench: --peer %s: it does not define %s()\n", file,
			BENCH_PEER_SYMBOL);
		return NULL;
	}
	memcpy(&function, &symbol, sizeof(function));
	p = function();
	if (!p) {
		fprintf(stderr, "fpt-bench: --peer %s: %s() returned NULL\n", file,
			BENCH_PEER_SYMBOL);
		return NULL;
	}
	if (p->version != BENCH_PEER_VERSION || p->size != sizeof(*p)) {
		fprintf(stderr, "fpt-bench: --peer %s: it is of version %u with %u bytes, "
			"and this program of version %u with %zu: compile it with this peer.h\n",
			file, p->version, p->size, BENCH_PEER_VERSION, sizeof(*p));
		return NULL;
	}
	wrong = plugin_wrong(p);
	if (wrong) {
		fprintf(stderr, "fpt-bench: --peer %s: %s\n", file, wrong);
		return NULL;
	}
	return p;
}
