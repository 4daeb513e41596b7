#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# bench_plots.sh - bench/plot.sh and bench/targets.sh: of a short run, and of numbers that are known
#
# usage: bench_plots.sh FPT-BENCH BENCH-SOURCE-FOLDER; 77: not everything that it needs is installed
# (1 with FPT_TEST_MUST_RUN=1 in the environment)
set -u
bench=$(readlink -f "$1") source=$(readlink -f "$2")
for tool in jq gnuplot; do
	if ! command -v "$tool" >/dev/null; then
		echo "$tool is not installed: skipped"
		[[ ! ${FPT_TEST_MUST_RUN:-} ]] || exit 1
		exit 77
	fi
done
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp" || exit 1
failed=0

fail() {
	echo "FAILED: $*"
	failed=1
}

# A real run, with all patterns of four peers.
if ! "$bench" --normal-priority --benchmark_min_time=0.001 --benchmark_repetitions=2 \
	--benchmark_filter='hook/(none|local|atomic|delta)/|prim|push/(array|ck_ring_spsc)|dispatch|event' \
	--benchmark_out=run.json >run.log 2>&1; then
	cat run.log
	fail "the run"
fi
"$source/plot.sh" run.json plots >out 2>err || fail "plot.sh: $(cat err)"
[[ ! -s err ]] || fail "plot.sh says: $(cat err)"
for pattern in private one_line same_block random trace-fold_ms-100 trace-fold_ms-1000; do
	for plot in ns floor best; do
		# All four peers are named in it.
		for peer in none local atomic delta; do
			grep -q "<text>.*$peer" "plots/$pattern-$plot.svg" ||
				fail "$pattern-$plot.svg: no $peer"
		done
	done
done
"$source/targets.sh" run.json >out 2>err || fail "targets.sh: $(cat err)"
[[ ! -s err ]] || fail "targets.sh says: $(cat err)"
# Without sections and without Concurrency Kit there are less.
(($(grep -c -E "(  met|NOT MET)$" out) >= 5)) || fail "targets.sh: too few rows: $(cat out)"
grep -q "fold, per line.*not in this run$" out || fail "targets.sh: what is not in the run"

# Numbers that are known: NAME NS...
known() {
	local name ns separator=""

	echo '{ "context": { "num_cpus": 2, "realtime": "yes", "sections": "yes" }, "benchmarks": ['
	while read -r name ns; do
		local i=0 number

		for number in $ns; do
			echo "$separator { \"run_name\": \"$name\", \"run_type\": \"iteration\","
			echo "\"repetition_index\": $i, \"threads\": ${name##*:}, \"ns_event\": $number,"
			echo "\"bits_per_page\": 1.1 }"
			separator="," i=$((i + 1))
		done
	done
	echo ']}'
}
known >known.json <<-END
	prim/rseq_or/threads:1 2 2 4
	prim/rseq_or/threads:2 2 2 4
	prim/lock_or/threads:1 5 5 5
	hook/delta/random/threads:1 1 1 1
	hook/delta_ticket/random/threads:1 4.4 4.2 8.4
	hook/delta/same_block/threads:1 4 4 4
	hook/delta/same_block/threads:2 4.4 4.8 4.8
	hook/atomic/same_block/threads:1 5 5 5
	hook/atomic/same_block/threads:2 24 22 22
	hook/local/same_block/threads:1 1 1 1
	hook/local/same_block/threads:2 2 2 2
	push/array/threads:1 3 3 3
	push/ck_ring_spsc/threads:1 2 2 2
	dispatch/static/threads:1 2 2 2
	dispatch/ops/threads:1 3.2 2.5 3.1
	event/delta/order0/threads:1 4 4 4
	event/delta/order9/threads:1 8.4 7 7
	hook/none/trace/fold_ms:100/threads:2 2 2 2
	hook/delta/trace/fold_ms:100/threads:2 6 6.5 5
	hook/atomic/trace/fold_ms:100/threads:2 6 6 6
	fold/delta/idle/threads:1 151 149 150
	drain/delta/1TiB/threads:1 19 20 21
	drain/ticket/1TiB/threads:1 201 202 203
END
"$source/targets.sh" known.json >out 2>err || fail "targets.sh: $(cat err)"
while IFS='|' read -r what median from to verdict; do
	grep -F -e "$what" out | grep -q -E "  $median .*\($from to $to\) +$verdict$" ||
		fail "targets.sh: $what: wanted $median ($from to $to) $verdict, got: $(grep -F -e "$what" out)"
done <<-END
	rseq or, claim check included|2.1 x|2.1|2.2|met
	the same without claim check / bare rseq or|0.5 x|0.25|0.5|stated
	lock or, claim check included|0.88 x|0.84|1.68|NOT MET
	of that of rseq or|1.2 x|1.1|1.2|NOT MET
	flat atomic bitmap|0.22 x|0.18|0.22|NOT MET
	SPSC enqueue|1.5 x|1.5|1.5|met
	dispatch through ops|1.1 ns|0.5|1.2|NOT MET
	event of order 9|1.75 x|1.75|2.1|met
	folds at 100 ms|1 x|0.75|1.13|met
	idle fold|150 ns|149|151|met
	drain, isolate|50 M blocks/s|47.62|52.63|met
	drain, ticket|4.95 M blocks/s|4.93|4.98|NOT MET
	metadata per page: prim/lock_or|1.1 bits|1.1|1.1|met
END
"$source/plot.sh" known.json plots >out 2>&1 || fail "plot.sh of known numbers: $(cat out)"
# delta at 2: to the floor 2.2 to 2.4, to the best peer, which is not delta and not the floor, 0.18 to 0.22.
awk '/^"/ { name = $1 } name == "\"delta\"" && $1 == 2 { print $5, $6, $7; print ($8 < 0.2182 && $8 > 0.2181) }' \
	plots/same_block.tsv | paste -s | grep -q "^2.4 2.2 2.4.1$" ||
	fail "plot.sh: ratios: $(cat plots/same_block.tsv)"

cat >lines.csv <<-END
	"private",delta,256,0,others_written,0
	"private",array,256,0,others_written,0.5
	"traces/a.fpt",delta,4,1000,transfers_hooks,0.1
	"traces/a.fpt",delta,4,1000,transfers_drains,0.1
	"traces/a.fpt",xbitmap,4,1000,transfers_hooks,0.4
	"traces/a.fpt",xbitmap,4,1000,transfers_drains,0.1
END
"$source/targets.sh" known.json lines.csv >out 2>err || fail "targets.sh with lines: $(cat err)"
grep -q "delta hook, private, 256 CPUs.*  met$" out || fail "lines: 0 is met"
grep -q "array hook, private, 256 CPUs.*NOT MET$" out || fail "lines: 0.5 is not met"
grep -q "transfers, delta / xbitmap, a.fpt, folds at 1000 ms .* 0.40 x .* met$" out || fail "lines: 0.4 is met"
# What is not in them, or without any.
for absent in "bitmap hook, 256 CPUs" "transfers, delta / xbitmap, folds at 2000 ms"; do
	grep -q "^$absent.*not in this run$" out || fail "lines: $absent is not in the run"
done
"$source/targets.sh" known.json >out 2>err || fail "targets.sh: $(cat err)"
(($(grep -c -E "^(array|bitmap|delta) hook, 256|^transfers.*not in this run$" out) == 5)) ||
	fail "without lines: $(cat out)"

refused() { # WHAT STATUS PATTERN COMMAND...
	local what=$1 wanted=$2 pattern=$3

	shift 3
	"$@" >out 2>err
	local status=$?
	if [[ $status != "$wanted" ]] || ! grep -q "$pattern" err || [[ $(wc -l <err) != 1 ]]; then
		fail "$what: status $status, $(cat err)"
	fi
}
echo "not JSON" >bad.json
echo '{ "context": {}, "benchmarks": [] }' >empty.json
for tool in plot.sh targets.sh; do
	refused "$tool without arguments" 2 "^usage: " "$source/$tool"
	refused "$tool of what is no run" 1 "not a file of --benchmark_out" "$source/$tool" bad.json lines.csv
	refused "$tool of no file" 1 "not a file of --benchmark_out" "$source/$tool" nowhere.json lines.csv
done
refused "plot.sh without hooks" 1 "no hook/" "$source/plot.sh" empty.json plots
refused "targets.sh without lines" 1 "cannot read it" "$source/targets.sh" known.json nowhere.csv
exit $failed
