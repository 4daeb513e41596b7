#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# cli_trace.sh FPT - fpt import and fpt info as a user meets them: what they print, and that
# whatever goes wrong gives one line on standard error, a status other than 0, and no change to any
# file.
set -u

fpt=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

failures=0
checks=0

fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}

# ok NAME COMMAND...
ok() {
	local name=$1
	shift
	checks=$((checks + 1))
	"$@" || fail "$name"
}

# contains FILE TEXT
contains() {
	grep -qF -- "$2" "$1" || { echo "no '$2' in:"; head -5 "$1"; return 1; }
}

no_leftovers() {
	local found
	found=$(find . -maxdepth 1 -name '.fpt*')
	[ -z "$found" ] || { echo "left behind: $found"; return 1; }
}

# works NAME COMMAND...: status 0; output in the files out and err.
works() {
	local name=$1
	shift
	checks=$((checks + 1))
	"$@" >out 2>err || fail "$name: status $?: $(cat err)"
}

# refuses NAME STATUS TEXT COMMAND...: that status, one line on standard error with TEXT, nothing on
# standard output; the file kept.fpt, which COMMAND may name as its output, stays as it is.
refuses() {
	local name=$1 status=$2 text=$3 got
	shift 3
	checks=$((checks + 1))
	echo "what was there" >kept.fpt
	cp kept.fpt kept.copy
	"$@" >out 2>err </dev/null
	got=$?
	[ "$got" = "$status" ] || fail "$name: status $got, not $status"
	[ "$(wc -l <err)" = 1 ] || fail "$name: not one line: $(cat err)"
	contains err "$text" || fail "$name: another error"
	[ ! -s out ] || fail "$name: wrote to standard output"
	cmp -s kept.fpt kept.copy || fail "$name: changed the file that was there"
	no_leftovers || fail "$name: left a file behind"
}

line() {	# CPU TIME EVENT PFN ORDER
	printf '%16s-%-7d [%03d] ..... %s: mm_page_%s: page=00000000c00d6237 pfn=0x%x order=%d\n' \
		task 77 "$1" "$2" "$3" "$4" "$5"
}

{
	echo "# tracer: nop"
	echo "# entries-in-buffer/entries-written: 8/8   #P:2"
	line 0 10.000000 free 16 0
	line 0 10.000001 free 17 0
	line 1 10.001000 alloc 16 0
	line 0 10.002000 alloc 17 0
	line 0 10.002001 alloc 1028 2
	line 1 10.003000 free 1028 2
	line 1 10.004000 free 16 0
	line 0 10.014000 alloc 16 0
} >good.txt

# What works

works "import" "$fpt" import -o good.fpt --source "by hand" good.txt
ok "quiet" test ! -s out -a ! -s err
works "info" "$fpt" info good.fpt
ok "source" contains out "by hand"
ok "page size" contains out "4096 bytes"
ok "events" contains out "8, 0 lost"
ok "pages" contains out "2048 (8.0 MiB)"
ok "order 0" contains out "75.0 % of events"
ok "by order" contains out "1 allocations, 1 frees"
ok "same CPU" contains out "33.3 % of allocations whose free was seen"
ok "adjacent" contains out "25.0 % of frees"
ok "released" contains out "71.4 % of pages taken"
ok "reuse" contains out "p50 2.0"
ok "reuse, slowest" contains out "p99 10.0"
ok "free" contains out "min 0.0 MiB, max 0.0 MiB"
ok "no anomalies" grep -q "anomalies *none" out

works "info --json" "$fpt" info --json good.fpt
ok "JSON" contains out '"same_cpu_share": 0.333333333'
ok "JSON: orders" contains out '"order": 2'
ok "JSON: no snapshot" contains out '"snapshot": null'
if command -v python3 >/dev/null; then
	ok "JSON parses" python3 -c '
import json, sys
o = json.load(open("out"))
sys.exit(not (o["events"] == 8 and o["cpus"] == 2 and o["anomalies"]["partial"] == 0))'
fi
works "info --strict" "$fpt" info --strict good.fpt

works "import from standard input" "$fpt" import -o stdin.fpt --source "by hand" <good.txt
ok "the same" cmp good.fpt stdin.fpt
gzip -c good.txt >good.txt.gz
works "import gzip" "$fpt" import -o gz.fpt --source "by hand" good.txt.gz
ok "the same from gzip" cmp good.fpt gz.fpt
works "import with more" "$fpt" import -o more.fpt --cpus 8 --page-size 65536 --strict good.txt
works "info of more" "$fpt" info more.fpt
ok "cpus" grep -q "CPUs *8" out
ok "page size given" contains out "65536 bytes"
ok "source from the name" contains out "imported from good.txt"
works "import to a device" "$fpt" import -o /dev/null good.txt

mkfifo pipe
timeout 20 cat pipe >piped.fpt &
works "import to a pipe" timeout 20 "$fpt" import -o pipe --source "by hand" good.txt
wait
ok "the same through a pipe" cmp good.fpt piped.fpt

echo old >replaced.fpt
works "replace" "$fpt" import -o replaced.fpt --source "by hand" good.txt
ok "replaced" cmp good.fpt replaced.fpt

{ cat good.txt; line 0 10.014001 alloc 16 0; echo "and this"; } >odd.txt
works "import with anomalies" "$fpt" import -o odd.fpt odd.txt
ok "says so in one line" test "$(wc -l <err)" = 1
ok "says which" contains err "9 events; anomalies: 1 double_alloc; 0 events lost; 1 other lines"
works "info with anomalies" "$fpt" info odd.fpt
ok "info says which" contains out "1 double_alloc"

works "help" "$fpt" import --help
ok "help lists options" contains out "--page-size"
works "info help" "$fpt" info --help
ok "info help lists options" contains out "--json"

printf 'page\033[31m' >escape
works "a source with control characters" "$fpt" import -o esc.fpt --source "$(cat escape)" good.txt
works "info of it" "$fpt" info esc.fpt
ok "none reach the terminal" contains out "page?[31m"

# Wrong command lines

refuses "no output" 2 "-o FILE is missing" "$fpt" import good.txt
refuses "unknown option" 2 "unrecognized option '--bogus'" \
	"$fpt" import --bogus -o kept.fpt good.txt
refuses "two inputs" 2 "one INPUT too many" "$fpt" import -o kept.fpt good.txt odd.txt
refuses "page size" 2 "power of two" "$fpt" import -o kept.fpt --page-size 5000 good.txt
refuses "page size 0" 2 "power of two" "$fpt" import -o kept.fpt --page-size 0 good.txt
refuses "page size, no number" 2 "power of two" "$fpt" import -o kept.fpt --page-size 4k good.txt
refuses "CPUs" 2 "from 1 to 4096" "$fpt" import -o kept.fpt --cpus 4097 good.txt
refuses "CPUs, negative" 2 "from 1 to 4096" "$fpt" import -o kept.fpt --cpus -1 good.txt
refuses "info: no file" 2 "FILE is missing" "$fpt" info
refuses "info: two files" 2 "one FILE too many" "$fpt" info good.fpt odd.fpt
refuses "info: unknown option" 2 "invalid option" "$fpt" info -x good.fpt

# Bad input of import

refuses "missing input" 1 "cannot open none.txt: No such file" "$fpt" import -o kept.fpt none.txt
refuses "empty input" 1 "standard input: no page event: it is empty" "$fpt" import -o kept.fpt
refuses "a directory" 1 "cannot read .: Is a directory" "$fpt" import -o kept.fpt .
echo "garbage, not a trace" >garbage.txt
refuses "garbage" 1 "begin 'garbage, not a trace'" "$fpt" import -o kept.fpt garbage.txt
head -c 100000 "$fpt" >binary
refuses "binary garbage" 1 "binary: no page event" "$fpt" import -o kept.fpt binary
refuses "a trace" 1 "an fpt trace already" "$fpt" import -o kept.fpt good.fpt
{ cat good.txt; line 0 11.0 free 4 60; } >order.txt
refuses "order 60" 1 "order.txt: line 11: order 60 is above 20" "$fpt" import -o kept.fpt order.txt
{ line 4096 11.0 free 4 0; } >cpu.txt
refuses "CPU 4096" 1 "cpu.txt: line 1: CPU 4096" "$fpt" import -o kept.fpt cpu.txt
refuses "--cpus too few" 1 "names 2 CPUs, --cpus 1" "$fpt" import -o kept.fpt --cpus 1 good.txt
line 0 11.0 free 4 0 | tr 4 z >number.txt
refuses "no number" 1 "number.txt: line 1: no number" "$fpt" import -o kept.fpt number.txt
head -c $(($(wc -c <good.txt.gz) - 9)) good.txt.gz >short.gz
refuses "truncated gzip" 1 "short.gz: truncated" "$fpt" import -o kept.fpt short.gz
refuses "--strict" 1 "1 double_alloc; nothing was written" \
	"$fpt" import --strict -o kept.fpt odd.txt
refuses "source not UTF-8" 1 "not UTF-8" "$fpt" import --source $'\xff' -o kept.fpt good.txt

# Bad input of info

refuses "info: missing" 1 "cannot open none.fpt: No such file" "$fpt" info none.fpt
refuses "info: a directory" 1 "cannot read .: Is a directory" "$fpt" info .
refuses "info: text" 1 "'fpt import' turns it into one" "$fpt" info good.txt
refuses "info: gzip" 1 "'fpt import' turns it into one" "$fpt" info good.txt.gz
refuses "info: binary" 1 "binary: not an fpt trace" "$fpt" info binary
: >empty
refuses "info: empty" 1 "empty: not an fpt trace: it is empty" "$fpt" info empty
head -c 150 good.fpt >short.fpt
refuses "info: truncated" 1 "short.fpt: truncated" "$fpt" info short.fpt
{ head -c 150 good.fpt; printf X; tail -c +152 good.fpt; } >corrupt.fpt
refuses "info: corrupt" 1 "corrupt.fpt: corrupt" "$fpt" info corrupt.fpt
{ cat good.fpt; echo; } >longer.fpt
refuses "info: longer" 1 "longer.fpt: corrupt" "$fpt" info longer.fpt
{ printf 'FPTTRACE\002'; tail -c +10 good.fpt; } >version.fpt
refuses "info: version" 1 "version 2; this fpt reads version 1" "$fpt" info version.fpt
refuses "info --strict" 1 "1 double_alloc" "$fpt" info --strict odd.fpt
refuses "info --strict --json" 1 "1 double_alloc" "$fpt" info --strict --json odd.fpt

# No permission. Root has all, but not for these.

if [ "$(id -u)" = 0 ]; then
	refuses "unreadable" 1 "cannot read /proc/self/mem" "$fpt" import -o kept.fpt /proc/self/mem
	refuses "info: unreadable" 1 "cannot read /proc/self/mem" "$fpt" info /proc/self/mem
else
	cp good.txt secret
	chmod 000 secret
	refuses "unreadable" 1 "Permission denied" "$fpt" import -o kept.fpt secret
	refuses "info: unreadable" 1 "Permission denied" "$fpt" info secret
	mkdir closed
	chmod 500 closed
	refuses "closed directory" 1 "Permission denied" "$fpt" import -o closed/new.fpt good.txt
	chmod 700 closed
fi
refuses "output in /proc" 1 "cannot write /proc/new.fpt" "$fpt" import -o /proc/new.fpt good.txt
refuses "output nowhere" 1 "cannot write no/new.fpt: No such file" \
	"$fpt" import -o no/new.fpt good.txt
refuses "output a directory" 1 "cannot write .: Is a directory" "$fpt" import -o . good.txt
refuses "output -" 1 "'-' is not a file" "$fpt" import -o - good.txt

# No room

refuses "full device" 1 "cannot write /dev/full: No space left" "$fpt" import -o /dev/full good.txt
refuses "info: full device" 1 "No space left" bash -c '"$1" info good.fpt >/dev/full' - "$fpt"
refuses "info --json: full device" 1 "No space left" \
	bash -c '"$1" info --json good.fpt >/dev/full' - "$fpt"

# Enough that it takes a while and does not fit the small file system.
awk 'BEGIN {
	srand(1)
	for (i = 0; i < 200000; i++)
		printf "t-7 [%03d] ..... %d.%06d: mm_page_%s: page=1 pfn=0x%x order=0\n",
		       rand() * 4, 100 + i / 1000, i % 1000 * 1000 + rand() * 1000,
		       rand() < 0.5 ? "free" : "alloc", rand() * 100000
}' >large.txt

full_disk() {
	mkdir small
	mount -t tmpfs -o size=64k none small || return
	echo "what was there" >small/old.fpt
	refuses "full disk" 1 "cannot write small/old.fpt: No space left" \
		"$fpt" import -o small/old.fpt large.txt
	ok "full disk: the old file is there" test "$(cat small/old.fpt)" = "what was there"
	ok "full disk: nothing else is" test "$(ls -A small)" = old.fpt
	refuses "full disk: new file" 1 "No space left" "$fpt" import -o small/new.fpt large.txt
	ok "full disk: no new file" test "$(ls -A small)" = old.fpt
}

# Without /proc there are no unnamed files: temporary ones take their place.
no_proc() {
	mount -t tmpfs none /proc || return
	works "no /proc" "$fpt" import -o noproc.fpt --source "by hand" good.txt
	ok "no /proc: the same" cmp good.fpt noproc.fpt
	ok "no /proc: nothing else" no_leftovers
	refuses "no /proc, full disk" 1 "No space left" "$fpt" import -o small/old.fpt large.txt
	ok "no /proc, full disk: the old file is there" grep -qx "what was there" small/old.fpt
	ok "no /proc, full disk: nothing else is" test "$(ls -A small)" = old.fpt
	echo "what was there" >kept.fpt
	timeout -s TERM 0.1 "$fpt" import -o kept.fpt --source large large.txt 2>/dev/null
	ok "no /proc, interrupted: nothing else" no_leftovers
}

# In a mount namespace of its own, so that nothing stays mounted.
with_mounts() {
	full_disk
	if grep -qE '__(asan|tsan|ubsan)_' "$fpt"; then
		echo "SKIP: no /proc: sanitizers need it"
	else
		no_proc
	fi
	echo "$checks $failures" >counts
}

if unshare -m mount -t tmpfs none "$dir" 2>/dev/null; then
	export -f with_mounts full_disk no_proc works refuses ok contains no_leftovers fail
	export fpt checks failures
	unshare -m bash -c 'set -u; with_mounts'
	read -r checks failures <counts || fail "the checks with mounts did not finish"
else
	echo "SKIP: full disk, no /proc: mounting is not permitted here"
fi

# Interrupted: the old file or the new one, nothing between and nothing beside.

works "import large" "$fpt" import -o large.fpt --source large large.txt
interrupted=0
for signal in INT TERM HUP; do
	for delay in 0.02 0.05 0.08 0.1 0.12 0.15 0.2 0.3; do
		checks=$((checks + 1))
		echo "what was there" >kept.fpt
		timeout -s $signal $delay \
			"$fpt" import -o kept.fpt --source large large.txt 2>/dev/null
		[ $? = 124 ] && interrupted=$((interrupted + 1))
		cmp -s kept.fpt large.fpt || cmp -s kept.fpt kept.copy ||
			fail "$signal after $delay s: another file"
		no_leftovers || fail "$signal after $delay s: left a file behind"
	done
done
ok "some were interrupted" test $interrupted -gt 0

echo "$checks checks, $failures failures"
[ "$failures" = 0 ]
