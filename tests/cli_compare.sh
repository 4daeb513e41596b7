#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# cli_compare.sh FPT TRACE - fpt compare as its user meets it: what it prints, writes and refuses
set -uo pipefail

trace=$(readlink -f "${2:?usage: cli_compare.sh FPT TRACE}")
# shellcheck source=tests/cli.sh
. "$(dirname "$0")/cli.sh"
command=compare

json() { jq -e "$@" >/dev/null; }

run compare "$trace" --json all.json
check "all trackers: status" status_is 0
check "all trackers: quiet in a pipe" silent
for tracker in none lockmap array bitmap xbitmap delta buddy; do
	check "a row for $tracker" grep -q "^$tracker " out
done
check "seven results" json '.results | length == 7' all.json
check "every field" json '.results | all(
	has("trace") and has("tracker") and (.policy | type == "object") and .events > 0 and
	(.ns_per_event | type == "number") and .gib_minutes > 0 and .peak_rss_bytes > 0 and
	.recall >= 0 and .recall <= 1 and has("precision") and
	(.free_to_report_ms | has("p50") and has("p99") and has("censored")) and
	(.stall_ms | has("count") and has("p99") and has("total")) and
	has("reports") and has("discard_calls") and has("discarded_ranges") and has("refaults") and
	has("dropped") and has("metadata_bytes") and .data_loss == 0)' all.json
check "reporting gives memory back" json '
	(.results[] | select(.tracker == "none") | .gib_minutes) as $none |
	.results | map(select(.tracker != "none")) | all(.gib_minutes < $none and .recall > 0.5)' all.json
check "the array is less precise, xbitmap and delta are exact" json '
	(.results[] | select(.tracker == "array") | .precision) < 1 and
	(.results[] | select(.tracker == "xbitmap") | .precision) == 1 and
	(.results[] | select(.tracker == "delta") | .precision) == 1' all.json

run compare --tracker xbitmap,array --order 3 --policy period_ms=50,latency_ms=5,discard=punch,entries=8 \
	"$trace" --json some.json
check "selection: status" status_is 0
check "selection: in the order asked for" json '[.results[].tracker] == ["xbitmap", "array"]' some.json
check "selection: the policy" json '.results[0].policy |
	.period_ms == 50 and .latency_ms == 5 and .discard == "punch" and .entries == null' some.json
check "selection: the array's entries" json '.results[1].policy.entries == 8' some.json
check "selection: a small array drops" json '.results[1].dropped > 0' some.json

run compare --tracker array --policy entries=4,period_ms=100000 "$trace" "$trace" --json two.json
check "two traces: status" status_is 0
check "two traces: two results" json '.results | length == 2' two.json
check "two traces: the same quality" json \
	'[.results[] | del(.ns_per_event, .reporter_ns_per_event, .wait_ns_per_event)] | .[0] == .[1]' two.json

run compare --help
check "help: status" status_is 0
check "help: on standard output" grep -q TRACE out

echo precious >kept.json
bad() { # WHAT STATUS PATTERN ARGUMENT...
	refused "$@" --json kept.json
	check "$1: the old file is kept" unchanged kept.json
}
head -c 1000 "$trace" >truncated.fpt
{ head -c 700 "$trace"; printf 'corrupt!'; tail -c +709 "$trace"; } >corrupt.fpt
{ head -c 8 "$trace"; printf '\x63\0\0\0'; tail -c +13 "$trace"; } >version.fpt
echo "no trace at all" >text.fpt
bad "no trace" 2 "which trace"
bad "unknown option" 2 "no-such" --no-such "$trace"
bad "unknown tracker" 2 "unknown tracker 'foo'" --tracker xbitmap,foo "$trace"
bad "a tracker twice" 2 "twice" --tracker array,array "$trace"
bad "empty tracker" 2 "unknown tracker ''" --tracker , "$trace"
bad "empty tracker list" 2 "no tracker" --tracker "" "$trace"
bad "unknown policy" 2 "unknown policy 'foo" --policy foo=1 "$trace"
bad "policy without a value" 2 "period_ms is ''" --policy period_ms "$trace"
bad "policy out of bounds" 2 "batch is '33'" --policy batch=33 "$trace"
bad "policy with rubbish" 2 "batch is '3x'" --policy batch=3x "$trace"
bad "unknown discard" 2 "discard is 'no'" --policy discard=no "$trace"
bad "order 60" 2 "order is '60'" --order 60 "$trace"
bad "negative order" 2 "order is '-1'" --order=-1 "$trace"
bad "in_flight below a block" 1 "in_flight" --policy in_flight_mib=1 --order 10 "$trace"
bad "an order beyond the buddy allocator's" 1 "buddy" --tracker xbitmap,buddy --order 12 "$trace"
bad "missing" 1 "missing.fpt" missing.fpt
bad "truncated" 1 "truncated.fpt" truncated.fpt
bad "corrupt" 1 "corrupt.fpt" corrupt.fpt
bad "wrong version" 1 "version" version.fpt
bad "text" 1 "text.fpt" text.fpt
bad "a folder" 1 "cannot" .
bad "second trace missing" 1 "missing.fpt" --tracker none "$trace" missing.fpt

cp "$trace" mine.fpt
refused "JSON over a trace" 1 "is a trace to be read" --tracker none mine.fpt --json ./mine.fpt
check "JSON over a trace: it is kept" cmp "$trace" mine.fpt
cp "$trace" $'not-utf8-\xff.fpt'
refused "a name that is not UTF-8" 1 "UTF-8" --tracker none $'not-utf8-\xff.fpt' --json utf.json

# Time goes on for decades without an event.
printf '%s\n' ' a-1 [000] 1.000001: mm_page_free: page=1 pfn=0x10 order=0' \
	' a-1 [000] 1700000000.000001: mm_page_alloc: page=1 pfn=0x10 order=0' |
	"$fpt" import -o gap.fpt - 2>/dev/null
run compare --order 0 gap.fpt --json gap.json
check "a gap: status" status_is 0
check "a gap: reported once" json '.results[] | select(.tracker == "xbitmap") | .reports == 1' gap.json

refused "unwritable output" 1 "no/such/folder" --tracker none "$trace" --json no/such/folder/x.json
refused "full disk, JSON" 1 "No space" --tracker none "$trace" --json /dev/full
"$fpt" compare --tracker none "$trace" >/dev/full 2>err
status=$?
check "full disk, table: status" status_is 1
check "full disk, table: one line" one_line "No space"

timeout --preserve-status -s INT 0.5 "$fpt" compare "$trace" --json kept.json >out 2>err
status=$?
check "interrupted: status" status_is 130
check "interrupted: the old file is kept" unchanged kept.json
check "interrupted: nothing left behind" no_leftovers

finish
