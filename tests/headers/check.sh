#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# check.sh - does every public header compile alone, in every configuration, without a warning?
#
#	check.sh INCLUDE-DIR LANGUAGE COMPILER [FLAG...]	LANGUAGE: c11 or c++17
#
# The headers are found here, not listed, so that a new one is covered. The kernel's backend is
# tests/kmod's business.
set -u

here=$(cd "$(dirname "$0")" && pwd)
include=$(cd "$1" && pwd) || exit 2
language=$2
shift 2

case $language in
c11) ext=c ;;
c++17) ext=cc ;;
*) echo "check.sh: LANGUAGE is c11 or c++17, not $language" >&2; exit 2 ;;
esac

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 2

warnings="-std=$language -pedantic -Wall -Wextra -Wshadow -Wconversion -Wundef -Werror"
[ "$language" = c11 ] && warnings="$warnings -Wdeclaration-after-statement -Wstrict-prototypes"

for header in $(cd "$include" && find fpt -name '*.h' ! -path fpt/compat/linux.h); do
	# Twice: the guard is part of what is promised.
	printf '#include <%s>\n#include <%s>\n' "$header" "$header" \
		>"header-$(echo "${header%.h}" | tr / -).$ext"
done
cp "$here/use.c" "use.$ext"
trackers=$(sed -n 's/.*struct fpt_ops fpt_\([a-z0-9_]*\)_ops .*/\1/p' "$include"/fpt/*.h)
if [ -z "$trackers" ]; then
	echo "check.sh: no trackers found below $include" >&2
	exit 1
fi
for tracker in $trackers; do
	echo "TRACKER($tracker)"
done >trackers.h

failed=0
compile() {
	name=$1
	shift
	rm -f ./*.o
	# shellcheck disable=SC2086
	if ! "$@" $warnings -O2 -I"$include" -I. -c ./*."$ext" || \
	   ! "$@" -nostdlib -r ./*.o -o all.o; then	# two users of one header in one program
		echo "FAILED: $language $name: $*"
		failed=1
	else
		echo "ok: $language $name"
	fi
}

compile default "$@"
compile ndebug "$@" -DNDEBUG
compile model "$@" -DFPT_MODEL
compile virtual-cpus "$@" -DFPT_VIRTUAL_CPUS
compile small-chunks "$@" -DFPT_XBITMAP_CHUNK_BYTES=8 -DFPT_XBITMAP_MAX_RANGES=2
for tracker in $trackers; do
	compile "tracker=$tracker" "$@" -DFPT_TRACKER="$tracker"
done
if [ "$ext" = cc ]; then
	# One copy of a template is thrown away, and what it put into other sections with it.
	mkdir comdat
	cat >comdat/take.h <<'SOURCE'
#include <fpt/fpt.h>
template <class T> __attribute__((noinline)) int take(struct fpt *t, T pfn)
{
	fpt_xbitmap_free(t, pfn, 0);
	return fpt_xbitmap_alloc(t, pfn, 0);
}
SOURCE
	for i in 1 2; do
		printf '#include "take.h"\nint take_%s(struct fpt *t)\n{\n\treturn take(t, 1ul);\n}\n' $i \
			>comdat/$i.cc
	done
	if "$@" -O2 -fPIC -shared -I"$include" comdat/1.cc comdat/2.cc -o comdat/all.so; then
		echo "ok: $language two copies of a template"
	else
		echo "FAILED: $language two copies of a template: $*"
		failed=1
	fi
fi
mkdir probe && echo '#include <urcu-bp.h>' >probe/rcu."$ext"
if "$@" -c probe/rcu."$ext" -o probe/rcu.o 2>/dev/null; then
	compile rcu "$@" -DFPT_RCU
else
	echo "not checked: rcu (no urcu-bp.h for this compiler; Debian: liburcu-dev)"
fi
exit $failed
