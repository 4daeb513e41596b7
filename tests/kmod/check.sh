#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# check.sh - do the headers compile in a kernel module, alone and in use, without a warning?
#
#	check.sh INCLUDE-DIR [KERNEL-BUILD-DIR]
#
# W=1, and sparse where it is installed. Exits with 77 when there is nothing to build against.
set -u

here=$(cd "$(dirname "$0")" && pwd)
include=$(cd "$1" && pwd) || exit 2
kdir=${2:-}

usable() {
	[ -f "$1/Makefile" ] && [ -f "$1/include/generated/autoconf.h" ]
}

for dir in "/lib/modules/$(uname -r)/build" /lib/modules/*/build /usr/src/linux-headers-*; do
	[ -z "$kdir" ] && usable "$dir" && kdir=$dir
done
if [ -z "$kdir" ]; then
	echo "skipped: no kernel headers in /lib/modules or /usr/src (Debian: linux-headers-amd64)"
	exit 77
fi
if ! usable "$kdir"; then
	echo "check.sh: $kdir is no kernel build directory" >&2
	exit 2
fi
if ! command -v make >/dev/null; then
	echo "skipped: no make (Debian: make)"
	exit 77
fi

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT

# The other backends of the seam are not for the kernel.
others='! -path fpt/compat/user.h ! -path fpt/compat/model.h'
# shellcheck disable=SC2086
for header in $(cd "$include" && find fpt -name '*.h' $others); do
	printf '#include <%s>\n' "$header" >"$tmp/header_$(echo "${header%.h}" | tr /- __).c"
done
trackers=$(sed -n 's/.*struct fpt_ops fpt_\([a-z0-9_]*\)_ops .*/\1/p' "$include"/fpt/*.h)
if [ -z "$trackers" ]; then
	echo "check.sh: no trackers found below $include" >&2
	exit 1
fi
printf '#define TRACKERS' >"$tmp/trackers.h"
for tracker in $trackers; do
	printf ' TRACKER(%s)' "$tracker" >>"$tmp/trackers.h"
	printf '#define FPT_TRACKER %s\n#include "direct.h"\n' "$tracker" >"$tmp/direct_$tracker.c"
done
echo >>"$tmp/trackers.h"
cp "$here/Kbuild" "$here/main.c" "$here/direct.h" "$tmp" || exit 2

sparse=0
command -v sparse >/dev/null && sparse=1
make -C "$kdir" M="$tmp" FPT_INCLUDE="$include" W=1 C=$sparse >"$tmp/log" 2>&1
status=$?
# A kernel built by another version of the same compiler is no concern of the headers, nor is a
# clock that was set back.
if [ $status -ne 0 ] ||
   grep -Ev 'warning: the compiler differs|: File .* has modification time|Clock skew' "$tmp/log" |
   grep -Eiq 'warning|error'; then
	cat "$tmp/log"
	echo "FAILED: against $kdir"
	exit 1
fi

# Headers of inline functions compile to nothing when nobody calls them: is the code there?
nm -S "$tmp/fpt_kmod.ko" >"$tmp/symbols" || exit 1
for tracker in $trackers; do
	for symbol in "t fpt_${tracker}_free" "t fpt_${tracker}_alloc" \
		      "T kmod_${tracker}_free" "T kmod_${tracker}_alloc"; do
		if ! grep -Eq "^[0-9a-f]+ [0-9a-f]+ $symbol\$" "$tmp/symbols"; then
			echo "FAILED: no code for '$symbol' in the module"
			exit 1
		fi
	done
done
set -- "$tmp"/header_*.o
echo "ok: $# headers; trackers:" "$(echo "$trackers" | tr '\n' ' ')"
echo "    against $kdir, W=1, sparse: $([ $sparse = 1 ] && echo yes || echo 'not installed')"
