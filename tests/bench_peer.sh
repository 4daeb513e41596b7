#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# bench_peer.sh - fpt-bench's options: plug-ins that are right and wrong, traces, oversubscription
#
# usage: bench_peer.sh FPT-BENCH EXAMPLE-0.so ... EXAMPLE-8.so	(bench_peer.c says which is which)
set -u
bench=$(readlink -f "$1")
shift
example=("$@")
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp" || exit 1
failed=0

fail() {
	echo "FAILED: $*"
	sed 's/^/    /' out err
	failed=1
}

run() {
	"$bench" --normal-priority --benchmark_min_time=0.001 "$@" >out 2>err
	status=$?
}

refused() { # WHAT PATTERN ARGUMENT...
	local what=$1 pattern=$2

	shift 2
	run --benchmark_filter=prim/empty "$@"
	if [[ $status == 0 ]] || ! grep -q "^fpt-bench: .*$pattern" err || [[ $(wc -l <err) != 1 ]]; then
		fail "$what: status $status, wanted one line with '$pattern'"
	fi
}

run --peer "${example[0]}" --benchmark_filter=hook/example/ --benchmark_out=run.json
[[ $status == 0 ]] || fail "a right plug-in"
for pattern in private one_line same_block random trace; do
	jq -e --arg name "hook/example/$pattern/" \
		'[.benchmarks[] | select((.name | startswith($name)) and .ns_event > 0)] != []' \
		run.json >/dev/null || fail "a right plug-in: no $pattern"
done
cp "${example[0]}" here.so
run --peer=here.so --benchmark_filter=hook/example/one_line
[[ $status == 0 ]] || fail "a plug-in without a path"

run --peer "${example[4]}" --benchmark_filter=hook/example/one_line
if [[ $status != 1 ]] || ! grep -q "wrong results" out err; then
	fail "wrong results were not seen"
fi
for pattern in one_line trace/fold_ms:100/threads:1; do
	run --peer "${example[7]}" --benchmark_filter="hook/example/$pattern"
	if [[ $status != 1 ]] || ! grep -q "a page did not end as it had to" out err; then
		fail "$pattern: pages that stay free were not seen"
	fi
done
run --peer "${example[8]}" --benchmark_filter=hook/example/one_line
if [[ $status != 1 ]] || ! grep -q "dropped or slow" out err; then
	fail "what was dropped was not seen"
fi
run --peer "${example[8]}" --benchmark_filter=hook/example/trace --benchmark_out=run.json
if [[ $status != 0 ]] || ! jq -e '.benchmarks | all(.dropped_share > 0)' run.json >/dev/null; then
	fail "what a trace drops is not reported"
fi

echo "not a shared object" >text.so
refused "no such file" "cannot load it" --peer ./nowhere.so
refused "not a shared object" "cannot load it" --peer ./text.so
refused "no symbol" "does not define bench_peer()" --peer "${example[5]}"
refused "NULL" "returned NULL" --peer "${example[6]}"
refused "another version" "of version 2 .* of version 1" --peer "${example[1]}"
refused "no name" "name" --peer "${example[2]}"
refused "no alloc" "alloc .* is missing" --peer "${example[3]}"
refused "twice" "there is a peer example" --peer "${example[0]}" --peer "${example[0]}"
refused "no value" "a value is missing" --peer
refused "no trace" "cannot read it" --trace nowhere.fpt
refused "no number" "not 2 to 64" --oversubscribe two
refused "one" "not 2 to 64" --oversubscribe 1

run --trace text.so --benchmark_filter=hook/none/trace
if [[ $status != 1 ]] || ! grep -q "text.so" err; then
	fail "a trace that is none"
fi

run --oversubscribe 2 --benchmark_filter='hook/atomic/same_block' --benchmark_out=run.json
if [[ $status != 0 ]] ||
   ! jq -e --argjson cpus "$(nproc)" '[.benchmarks[] | select(.threads > $cpus)] |
	length == 1 and all(.label == "oversubscribed" and .oversubscribed == 1)' run.json >/dev/null ||
   ! jq -e --argjson cpus "$(nproc)" '[.benchmarks[] | select(.threads <= $cpus)] |
	length > 0 and all(.label == null and .oversubscribed == null)' run.json >/dev/null; then
	fail "oversubscription is not marked"
fi

run --help
if [[ $status != 0 ]] || ! grep -q -e "--peer" out || ! grep -q -e "--benchmark_filter" out; then
	fail "--help"
fi
exit $failed
