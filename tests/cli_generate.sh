#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# cli_generate.sh FPT - fpt generate as its user meets it: what each workload gives to info and compare,
# what blind spots cost, and what is refused
set -uo pipefail

# shellcheck source=tests/cli.sh
. "$(dirname "$0")/cli.sh"
command=generate

json() { jq -e "$@" >/dev/null; }
differ() { ! cmp -s "$@"; }

small=(--memory 64 --seconds 8)
for workload in churn ramp fragmentation crosscpu; do
	run generate -o "$workload.fpt" "$workload" "${small[@]}"
	check "$workload: status" status_is 0
	check "$workload: silent" silent
	check "$workload: nothing on standard output" test ! -s out
	run info --strict --json "$workload.fpt"
	check "$workload, info: status" status_is 0
	check "$workload, info: as asked" json --arg name "$workload" '
		(.source | startswith("fpt generate \($name) --seed 1 --cpus 2 --memory 64")) and
		(.source | contains("generator version 1")) and .pages == 16384 and .cpus == 2 and
		.duration_s == 8 and .events > 10000 and .hidden == 0 and .order0_share == 1 and
		.snapshot.free_before_mib >= 30' out
	run compare --strict --tracker xbitmap,array "$workload.fpt" --json "$workload.json"
	check "$workload, compare: status" status_is 0
	check "$workload, compare: no data lost" json '.results | all(.data_loss == 0)' "$workload.json"
	check "$workload, compare: xbitmap is exact" json '.results[0] |
		.precision == 1 and .recall > 0.9 and .dropped == 0' "$workload.json"

	# The same history, but a good part of it is not seen: isolation is what keeps data safe.
	run generate -o blind.fpt "$workload" "${small[@]}" --blind-spots 0.4
	check "$workload, blind: status" status_is 0
	run info --strict blind.fpt
	check "$workload, blind, info: status" status_is 0
	check "$workload, blind, info: hidden" grep -q '^hidden  *[1-9][0-9]* events' out
	run compare --strict --tracker xbitmap,array blind.fpt --json blind.json
	check "$workload, blind, compare: status" status_is 0
	check "$workload, blind: no data lost" json '.results | all(.data_loss == 0)' blind.json
	check "$workload, blind: nothing else is different" json --slurpfile seeing "$workload.json" '
		[.results[].events] == [$seeing[0].results[].events]' blind.json
	# Of churn no block is released, of ramp all are at once: what is hidden is hardly ever alone in one.
	if [[ $workload == fragmentation || $workload == crosscpu ]]; then
		check "$workload, blind: claims of what is held" json '.results[0].precision < 1' blind.json
	fi
done

run info --json churn.fpt
check "churn: reuse and adjacency" json '.same_cpu_share > 0.8 and .adjacent_share > 0.2 and
	.reuse_ms.p50 > 1 and .reuse_ms.p50 < 1000' out
run info --json ramp.fpt
check "ramp: all of it is released" json '.released_share == 1 and .free_mib.min == 32 and
	.free_mib.max == 64 and .snapshot.free_after_mib == 64' out
run info --json fragmentation.fpt
check "fragmentation: all of it is released" json '.released_share == 1 and .free_mib.min == 32 and
	.snapshot.free_after_mib == 64' out
run info --json crosscpu.fpt
check "crosscpu: never the same CPU" json '.same_cpu_share == 0' out

run generate -o again.fpt churn "${small[@]}" --seed 1
check "same seed: status" status_is 0
check "same seed: same bytes" cmp churn.fpt again.fpt
run generate -o other.fpt churn "${small[@]}" --seed 18446744073709551615
check "another seed: status" status_is 0
check "another seed: another trace" differ churn.fpt other.fpt

# What the trace says of itself is the command that makes it again.
run generate -o all.fpt ramp --seed 7 --cpus 5 --memory 48 --seconds 6 --rate 33333 --occupancy 35 \
	--orders 0.01 --blind-spots 0.125
check "all options: status" status_is 0
run info --json all.fpt
check "all options: orders" json '[.by_order[].order] == [0, 9]' out
read -ra words < <(jq -r '.source | sub(" \\(.*"; "") | sub("fpt "; "")' out)
run "${words[@]}" -o all-again.fpt
check "the source as a command: status" status_is 0
check "the source as a command: same bytes" cmp all.fpt all-again.fpt
run generate churn "${small[@]}" --orders 1 -o orders.fpt
run info --json orders.fpt
check "orders of churn" json '[.by_order[].order] | . == [1, 2, 3] or . == [0, 1, 2, 3]' out
run generate churn "${small[@]}" --blind-spots 1. -o hidden.fpt
run info --json hidden.fpt
check "everything hidden" json '.hidden == .allocs' out
run compare --tracker array,xbitmap hidden.fpt
check "everything hidden, compare" status_is 0

run generate --help
check "help: status" status_is 0
for workload in churn ramp fragmentation crosscpu; do
	check "help: $workload" grep -q "^  $workload  *[A-Z]" out
done
run --help
check "help of fpt" grep -q "^  generate  " out

echo precious >kept.fpt
bad() { # WHAT STATUS PATTERN ARGUMENT...
	refused "$@" -o kept.fpt
	check "$1: the old file is kept" unchanged kept.fpt
	check "$1: nothing on standard output" test ! -s out
}
bad "no workload" 2 "WORKLOAD is missing"
bad "unknown workload" 2 "unknown workload 'chrun'" chrun
bad "empty workload" 2 "unknown workload ''" ""
bad "two workloads" 2 "one WORKLOAD too many" churn ramp
bad "unknown option" 2 "no-such" churn --no-such
bad "rate 0" 2 "rate is '0'" churn --rate 0
bad "rate above" 2 "from 1 to 10000000" churn --rate 10000001
bad "rate, rubbish" 2 "rate is '1e5'" churn --rate 1e5
bad "rate, negative" 2 "rate is '-5'" churn --rate=-5
bad "seed, negative" 2 "seed is '-1'" churn --seed=-1
bad "seed beyond 64 bits" 2 "seed is" churn --seed 18446744073709551616
bad "seed, empty" 2 "seed is ''" churn --seed=
bad "memory 0" 2 "memory is '0'" churn --memory 0
bad "memory, absurd" 2 "from 16 to 65536" churn --memory 99999999999
bad "memory, wrapping" 2 "from 16 to 65536" churn --memory 4294967552
bad "memory, negative" 2 "memory is '-64'" churn --memory=-64
bad "memory below the CPUs" 1 "64 CPUs take at least 64 MiB" churn --memory 32 --cpus 64
bad "cpus 0" 2 "cpus is '0'" churn --cpus 0
bad "cpus, absurd" 2 "from 1 to 4096" churn --cpus 5000
bad "one CPU and none to cross to" 1 "at least 2 CPUs" crosscpu --cpus 1
bad "seconds 0" 2 "seconds is '0'" churn --seconds 0
bad "seconds, absurd" 2 "from 1 to 86400" churn --seconds 1000000
bad "too many events" 1 "lower the rate or the seconds" churn --seconds 86400 --rate 10000
bad "occupancy 0" 2 "occupancy is '0'" churn --occupancy 0
bad "occupancy 100" 2 "from 1 to 95" churn --occupancy 100
bad "no time to ramp" 1 "raise the rate" ramp --rate 100
bad "no time to fill" 1 "raise the rate" fragmentation --rate 100
for share in 1.5 -0.1 1.000001 .5 0.1x x 0.0000001 2 "" 1e-3 nan 0,1; do
	bad "share '$share'" 2 "blind-spots is '$share'" churn --blind-spots="$share"
done
bad "orders above 1" 2 "orders is '1.1'" churn --orders 1.1

refused "no output" 2 "-o FILE is missing" churn
refused "a folder that is not there" 1 "no/such/folder" churn "${small[@]}" -o no/such/folder/x.fpt
refused "a folder" 1 "cannot" churn "${small[@]}" -o .
refused "full disk" 1 "No space" churn "${small[@]}" -o /dev/full

finish
