#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# targets.sh - what must be reached, and what a run of fpt-bench has reached. Needs jq.
#
# usage: targets.sh RUN.json [LINES.csv...]
#
#	RUN.json	fpt-bench --benchmark_repetitions=N --benchmark_enable_random_interleaving=true
#			--benchmark_out=RUN.json: ratios are of numbers of the same repetition, then their
#			median, least and most are printed
#	LINES.csv	fpt-lines --csv=LINES.csv, with and without traces: counted, not timed
#
# A row that says "not in this run" is neither met nor not met. Exit status: 1 when RUN.json cannot be
# read; what is not met is a result, not an error.
set -euo pipefail

if (($# < 1)); then
	echo "usage: $0 RUN.json [LINES.csv...]" >&2
	exit 2
fi
here=$(dirname "$(readlink -f "$0")")
if ! command -v jq >/dev/null; then
	echo "$0: jq is not installed" >&2
	exit 1
fi
if ! jq -e '.benchmarks | type == "array"' "$1" >/dev/null 2>&1; then
	echo "$0: $1: not a file of --benchmark_out" >&2
	exit 1
fi
for lines in "${@:2}"; do
	if [[ ! -r $lines ]]; then
		echo "$0: $lines: cannot read it" >&2
		exit 1
	fi
done

print() {
	awk -F '\t' '{
		if ($4 == "-")
			printf "%-70s %9s  %28s  %s\n", $1, $2, "", "not in this run"
		else
			printf "%-70s %9s  %8s (%s to %s)%*s  %s\n", $1, $2, $4, $5, $6,
				15 - length($5 $6), "", $7
	}'
}

jq -r '"\(.context.num_cpus) CPUs, real-time priority: \(.context.realtime), restartable sections: \(.context.sections), \([.benchmarks[].repetition_index // 0] | max + 1) repetitions"' "$1"
printf '%-70s %9s  %28s\n' what target "median (least to most)"
jq -L "$here" -f "$here/targets.jq" "$1" | jq -r -L "$here" '
	include "run";
	def number: if . >= 100 then round else . * 100 | round / 100 end;
	(if .target == null then "-" else (if .least then ">= " else "<= " end) + "\(.target)" end) as $target
	| if .numbers == null then [.what, $target, .unit, "-"]
	  else (.numbers | median) as $m
	  | [.what, $target, .unit, "\($m | number) \(.unit)", (.numbers | min | number), (.numbers | max | number),
	     if .target == null then "stated" elif (if .least then $m >= .target else $m <= .target end)
	     then "met" else "NOT MET" end]
	  end | @tsv' | print
echo "counted, not timed:"
shift
# "workload",tracker,CPUs,drain period in ms,number,value
cat -- /dev/null "$@" | awk -F , -v OFS='\t' '
	{ gsub(/"/, "", $1) }
	$3 == 256 && $5 == "others_written" && ($2 == "array" || $2 == "bitmap" || $2 == "delta") {
		hook[$2]
		print $2 " hook, " $1 ", 256 CPUs: lines that another hook writes", "<= 0", "",
			$6 " ", $6, $6, $6 == 0 ? "met" : "NOT MET"
	}
	$5 ~ /^transfers_/ { sum[$1, $2, $4] += $6; trace[$1] }
	END {
		n = split("array bitmap delta", front, " ")
		for (i = 1; i <= n; i++)
			if (!(front[i] in hook))
				print front[i] " hook, 256 CPUs: lines that another hook writes", "<= 0", "", "-"
		for (ms = 1000; ms <= 2000; ms += 1000) {
			target = ms == 1000 ? 0.4 : 0.25
			found = 0
			for (t in trace) {
				if (!((t, "delta", ms) in sum) || !sum[t, "xbitmap", ms])
					continue
				found = 1
				r = sum[t, "delta", ms] / sum[t, "xbitmap", ms]
				parts = split(t, part, "/")
				print "transfers, delta / xbitmap, " part[parts] ", folds at " ms " ms",
					"<= " target, "", sprintf("%.2f x", r), sprintf("%.2f", r),
					sprintf("%.2f", r), r <= target ? "met" : "NOT MET"
			}
			if (!found)
				print "transfers, delta / xbitmap, folds at " ms " ms", "<= " target, "", "-"
		}
	}' | print
