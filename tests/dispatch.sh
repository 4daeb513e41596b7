#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# dispatch.sh COMPILER INCLUDE - a tracker chosen at compile time leaves nothing of the dispatch
#
# Two hooks are compiled as a program would have them, and their code is searched for calls through
# a pointer and for tables of operations. Without FPT_TRACKER, calls must be found, or the search is
# blind.
set -eu
cc=$1 include=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/hooks.c" <<'SOURCE'
#include <fpt/fpt.h>

void page_freed(struct fpt *t, fpt_pfn_t pfn);
int page_taken(struct fpt *t, fpt_pfn_t pfn);

void page_freed(struct fpt *t, fpt_pfn_t pfn)
{
	fpt_free(t, pfn, 0);
}

int page_taken(struct fpt *t, fpt_pfn_t pfn)
{
	return fpt_alloc(t, pfn, 0);
}
SOURCE

# x86, arm64, riscv; a return is no call
indirect='(call|jmp)q?[[:space:]]+\*'
indirect+='|[[:space:]](blr|br)[[:space:]]+x'
indirect+='|[[:space:]](jalr|jr)[[:space:]]+[^r]'

calls()
{
	"$cc" -std=gnu11 -O2 -fno-jump-tables -I"$include" "${@:2}" -c "$dir/hooks.c" -o "$dir/$1.o"
	objdump -d "$dir/$1.o" | grep -cE "$indirect" || true
}

n=$(calls dynamic)
[ "$n" -eq 2 ] || { echo "dispatch at run time: $n indirect calls, expected 2"; exit 1; }
for tracker in xbitmap array delta lockmap none; do
	n=$(calls $tracker -DFPT_TRACKER=$tracker)
	[ "$n" -eq 0 ] || { echo "$tracker: $n indirect calls"; exit 1; }
	if nm "$dir/$tracker.o" | grep _ops; then
		echo "$tracker: a table of operations is left"
		exit 1
	fi
done
# The empty tracker costs nothing: its hooks are as long as functions that do nothing.
cat >>"$dir/hooks.c" <<'SOURCE'
void nothing(struct fpt *t, fpt_pfn_t pfn);
void nothing(struct fpt *t, fpt_pfn_t pfn)
{
	(void)t;
	(void)pfn;
}
SOURCE
calls none -DFPT_TRACKER=none >/dev/null
size() { nm -S "$dir/none.o" | awk -v name="$1" '$4 == name { print $2 }'; }
[ -n "$(size nothing)" ] && [ "$(size page_freed)" = "$(size nothing)" ] ||
	{ echo "none: its free hook is not empty"; exit 1; }
