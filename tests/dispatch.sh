#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# dispatch.sh COMPILER INCLUDE - a tracker chosen at compile time leaves nothing of the dispatch
#
# Two hooks are compiled as a program would have them, and their code is searched for calls through
# a pointer, tables of operations, the look at which tracker is in use (kept out of line here, so
# that it has a name) and, with liburcu, its read-side sections. Without FPT_TRACKER, all of these
# but a table must be found, or the search is blind.
set -eu
cc=$1 include=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/hooks.c" <<'SOURCE'
struct fpt;
static inline const struct fpt_ops *fpt_tracker(struct fpt *t) __attribute__((noinline));
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

compile() # NAME [OPTION...]
{
	"$cc" -std=gnu11 -O2 -w -fno-jump-tables -I"$include" "${@:2}" -c "$dir/hooks.c" -o "$dir/$1.o"
}

calls() { objdump -d "$dir/$1.o" | grep -cE "$indirect" || true; }
names() { nm "$dir/$1.o" | grep -E "$2"; }

rcu=()
if printf '#include <urcu-bp.h>\n' | "$cc" -E - >/dev/null 2>&1; then
	rcu=(-DFPT_RCU)
else
	echo "no liburcu: without its read-side sections"
fi

compile dynamic
n=$(calls dynamic)
[ "$n" -eq 2 ] || { echo "dispatch at run time: $n indirect calls, expected 2"; exit 1; }
names dynamic fpt_tracker >/dev/null ||
	{ echo "dispatch at run time: no look at the tracker"; exit 1; }
if [ ${#rcu[@]} -gt 0 ]; then
	compile rcu "${rcu[@]}"
	names rcu urcu >/dev/null || { echo "dispatch at run time: no read-side section"; exit 1; }
fi
for header in "$include"/fpt/*.h; do
	# Whatever a header can be selected by.
	sed -n 's/.*const struct fpt_ops fpt_\([a-z0-9]*\)_ops .*/\1/p' "$header"
done >"$dir/trackers"
[ "$(wc -l <"$dir/trackers")" -ge 5 ] ||
	{ echo "trackers are not found: $(xargs <"$dir/trackers")"; exit 1; }
while read -r tracker; do
	compile "$tracker" "${rcu[@]}" -DFPT_TRACKER="$tracker"
	n=$(calls "$tracker")
	expected=0
	[ "$tracker" != array2019 ] || expected=1	# its scan asks the owner of the pages
	[ "$n" -eq $expected ] || { echo "$tracker: $n indirect calls"; exit 1; }
	if names "$tracker" '_ops|fpt_tracker|urcu'; then
		echo "$tracker: the above is left of the dispatch"
		exit 1
	fi
done <"$dir/trackers"
# The empty tracker costs nothing: its hooks are as long as functions that do nothing.
cat >>"$dir/hooks.c" <<'SOURCE'
void nothing(struct fpt *t, fpt_pfn_t pfn);
void nothing(struct fpt *t, fpt_pfn_t pfn)
{
	(void)t;
	(void)pfn;
}
SOURCE
compile none -DFPT_TRACKER=none
size() { nm -S "$dir/none.o" | awk -v name="$1" '$4 == name { print $2 }'; }
[ -n "$(size nothing)" ] && [ "$(size page_freed)" = "$(size nothing)" ] ||
	{ echo "none: its free hook is not empty"; exit 1; }
