#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# cli_compare.sh FPT TRACE [MORE...] - fpt compare as its user meets it: what it prints, writes and
# refuses. On every trace delta must be worth as much as xbitmap.
set -uo pipefail

trace=$(readlink -f "${2:?usage: cli_compare.sh FPT TRACE [MORE...]}")
mapfile -t all_traces < <(readlink -f "${@:2}")
# shellcheck source=tests/cli.sh
. "$(dirname "$0")/cli.sh"
command=compare

json() { jq -e "$@" >/dev/null; }

run compare "$trace" --json all.json
check "all trackers: status" status_is 0
check "all trackers: quiet in a pipe" silent
for tracker in none lockmap array bitmap xbitmap delta ticket xbitmap2019 array2019 buddy; do
	check "a row for $tracker" grep -q "^$tracker " out
done
check "a result for each" json '.results | length == 10' all.json
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
check "the array is less precise, xbitmap and delta exact" json '
	(.results[] | select(.tracker == "array") | .precision) < 1 and
	([.results[] | select(.tracker == "xbitmap" or .tracker == "delta") | .precision] == [1, 1])' all.json
check "the array of 2019 drops, and discards page by page" json '
	(.results[] | select(.tracker == "array2019")) as $old |
	(.results[] | select(.tracker == "xbitmap")) as $new |
	$old.dropped > 0 and $old.discarded_ranges > 10 * $new.discarded_ranges and
	$old.refaults > $new.refaults and $old.policy.entries == 1000 and
	$old.policy.period_ms == null and $old.policy.batch == null' all.json

run compare --tracker xbitmap,delta "${all_traces[@]}" --json exact.json
check "every trace: status" status_is 0
check "every trace: delta is worth xbitmap" json --argjson nr ${#all_traces[@]} '
	(.results | length) == 2 * $nr and (.results | group_by(.trace) | all(
	(.[] | select(.tracker == "xbitmap")) as $x | (.[] | select(.tracker == "delta")) as $d |
	$d.recall >= $x.recall and $d.precision >= $x.precision and $d.data_loss == 0))' exact.json

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

for lines in 4 1024; do
	run compare --tracker delta --policy lines=$lines "$trace" --json lines-$lines.json
	check "delta of $lines lines: status" status_is 0
	check "delta of $lines lines: the policy" json ".results[0].policy.lines == $lines" lines-$lines.json
done
check "few lines: slow events, less memory, the same quality" json -s 'map(.results[0]) |
	.[0].slow_events > 0 and .[1].slow_events == 0 and .[0].metadata_bytes < .[1].metadata_bytes and
	.[0].recall == .[1].recall and .[0].data_loss == 0' lines-4.json lines-1024.json

run compare --tracker xbitmap,xbitmap2019,buddy --policy \
	protocol=ticket,expedite=1,ahead=2,again=0,batch=4,in_flight_mib=64,latency_ms=20,amount_mib=2,age_ms=300,granule=65536 \
	"$trace" --json ticket.json
check "tickets: status" status_is 0
check "tickets: the policy" json '.results[0].policy | .protocol == "ticket" and .expedite and .ahead == 2 and
	(.again | not) and .amount_mib == 2 and .age_ms == 300 and .granule == 65536' ticket.json
check "tickets: another row, the same policy" json '.results[0].policy == .results[1].policy' ticket.json
check "tickets: nothing of it is for buddy" json '.results[2].policy |
	.protocol == null and .expedite == null and .ahead == null and .again == null' ticket.json
check "tickets: who waits and who cancels" json '.results[0] | .cancelled > 0 and .waited > 0 and
	.stall_ms.count > 0 and .data_loss == 0' ticket.json

run compare --policy protocol=hints,latency_ms=20 "$trace" --json hints.json
check "what cannot run is left out: status" status_is 0
check "what cannot run is left out: it is said" grep -q "^left out: array: .*only protocol=isolate" out
check "what cannot run is left out: the others" json \
	'[.results[].tracker] == ["lockmap", "xbitmap", "delta", "ticket", "xbitmap2019", "buddy"]' hints.json

"$fpt" generate -o blind.fpt --seconds 2 --blind-spots 0.1 churn
run compare --tracker xbitmap blind.fpt --json blind.json
check "hidden events: status" status_is 0
check "hidden events: the heading" grep -q "events hidden from hooks" out
check "hidden events: JSON" json '.results[0].hidden_events > 0' blind.json
refused "hidden events: no tickets" 1 "hides events" --tracker ticket blind.fpt
refused "hidden events: no toggles" 1 "hides events.*audit" --tracker delta blind.fpt
"$fpt" generate -o blind.fpt --seconds 10 --blind-spots 0.01 ramp
for audit in 1 8; do
	run compare --tracker xbitmap,delta --policy audit=$audit blind.fpt --json audit-$audit.json
	check "audit $audit: status" status_is 0
	check "audit $audit: whose it is" json '[.results[].policy.audit] == [null, '$audit']' audit-$audit.json
	check "audit $audit: no data lost" json '.results | all(.data_loss == 0)' audit-$audit.json
done
check "audit: often enough, as good as bits that are set and cleared" json \
	'.results[1].recall >= .results[0].recall - 0.002' audit-8.json
for cold in 0 2; do
	run compare --tracker delta --policy cold=$cold "$trace" --json cold-$cold.json
	check "cold $cold: status" status_is 0
	check "cold $cold: no data lost" json '.results[0] | .data_loss == 0 and .policy.cold == '$cold cold-$cold.json
done
check "cold: fewer refaults, later" json --slurpfile any cold-0.json '.results[0] |
	.refaults <= $any[0].results[0].refaults and .recall <= $any[0].results[0].recall' cold-2.json
check "audit: too seldom, it decays" json '.results[1].recall < .results[0].recall - 0.01' audit-1.json

run compare --switch array,xbitmap,5 --order 3 "$trace" "$trace" --json switch.json
check "switching: status" status_is 0
check "switching: quiet in a pipe" silent
check "switching: durations" grep -q "fpt_switch() takes" out
check "switching: every field" json '.switched | length == 2 and all(.trackers == ["array", "xbitmap"] and
	(.policy.entries == 1000) and .switches.asked == 5 and .switches.done <= 5 and .events > 0 and
	(.ns_per_event | (.alone | length == 2) and (.switching | type == "number")) and
	(.reporter_ns_per_event | has("switching")) and (.switch_us | has("median") and has("max")) and
	has("lost_hints") and has("dropped") and .data_loss == 0)' switch.json
check "switching: no hint is lost that was not dropped" json '.switched | all(.lost_hints == 0 or .dropped > 0)' \
	switch.json

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
bad "unknown protocol" 2 "there are isolate, ticket, hints" --policy protocol=none "$trace"
bad "lines that are no power of two" 2 "power of two" --policy lines=1000 "$trace"
bad "fewer lines than ways" 2 "lines" --policy lines=2 "$trace"
bad "granule that is no power of two" 2 "power of two" --policy granule=5000 "$trace"
bad "granule above a block" 1 "larger than a block" --policy granule=65536 --order 3 "$trace"
bad "tickets and the array" 1 "array: .*only protocol=isolate" --tracker array --policy protocol=ticket "$trace"
bad "tickets and one bit per block" 1 "exact=0" --tracker ticket --policy exact=0 "$trace"
bad "cold, of who does not know" 1 "xbitmap: .*which blocks are cold" --tracker xbitmap --policy cold=1 "$trace"
bad "cold, of the interface of 2018" 1 "delta: .*2018" --tracker delta --policy cold=1,protocol=hints "$trace"
bad "too cold" 2 "cold is '8'" --policy cold=8 "$trace"
bad "delta and one bit per block" 1 "exact=0" --tracker delta --policy exact=0 "$trace"
bad "switching: one tracker" 2 "takes two trackers" --switch array "$trace"
bad "switching: unknown tracker" 2 "unknown tracker 'foo'" --switch array,foo "$trace"
bad "switching: to itself" 2 "twice" --switch array,array "$trace"
bad "switching: two rows of one tracker" 2 "one tracker" --switch ticket,xbitmap "$trace"
bad "switching: to nothing" 2 "none tracks nothing" --switch array,none "$trace"
bad "switching: no times" 2 "is '0'" --switch array,xbitmap,0 "$trace"
bad "switching: too much" 2 "is '1,2'" --switch array,xbitmap,1,2 "$trace"
bad "switching: and trackers" 2 "not together" --switch array,xbitmap --tracker array "$trace"
bad "switching: from delta" 1 "delta: no switch" --switch delta,xbitmap "$trace"
bad "switching: to array2019" 1 "array2019: no switch" --switch xbitmap,array2019 "$trace"
bad "switching: not in this protocol" 1 "only protocol=isolate" --switch xbitmap,array --policy protocol=ticket "$trace"
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
