// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * trace.c - the one place where the tracepoints of trace.h are defined
 */
#define CREATE_TRACE_POINTS
#include "trace.h"
