/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * plugin.h - peers from shared objects: --peer FILE.so
 */
#ifndef BENCH_PLUGIN_H
#define BENCH_PLUGIN_H

#include "peer.h"

/*
 * The peer of a shared object, which stays loaded. NULL, and what is wrong on standard error: no
 * such file, not a shared object, no bench_peer(), another version, something missing.
 */
const struct bench_peer *bench_plugin(const char *file);

#endif
