#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# plot.sh - plots of a run: hooks by CPU count. Needs jq and gnuplot (Debian: gnuplot-nox).
#
# usage: plot.sh RUN.json OUTDIR	RUN.json: fpt-bench --benchmark_out=RUN.json --benchmark_repetitions=5
#
# For each pattern PATTERN of hook/PEER/PATTERN, in OUTDIR:
#	PATTERN-ns.svg		ns per event
#	PATTERN-floor.svg	ratio to a plain bit of the thread's own (hook/local)
#	PATTERN-best.svg	ratio to the best peer that is not fpt's and that the threads share, at each
#				CPU count
#	PATTERN.tsv		the numbers
# Medians over repetitions; bars: least and most. Right of the dashed line threads take turns on CPUs
# (--oversubscribe).
set -euo pipefail

if (($# != 2)); then
	echo "usage: $0 RUN.json OUTDIR" >&2
	exit 2
fi
run=$1 out=$2 here=$(dirname "$(readlink -f "$0")")
for tool in jq gnuplot; do
	if ! command -v "$tool" >/dev/null; then
		echo "$0: $tool is not installed" >&2
		exit 1
	fi
done
if ! jq -e '.benchmarks | type == "array"' "$run" >/dev/null 2>&1; then
	echo "$0: $run: not a file of --benchmark_out" >&2
	exit 1
fi
mkdir -p "$out"

# A block of lines per peer, as gnuplot's "index" has it: its name, then
# threads, and median, least, most of ns, of the ratio to the floor, of the ratio to the best peer.
table() { # PATTERN
	jq -r -L "$here" --arg pattern "$1" '
		include "run";
		["none", "local"] as $bounds
		| (["array", "bitmap", "xbitmap", "delta", "lockmap"] | . + map(. + "_ticket")) as $own
		| run as $run
		| [$run | keys[] | capture("^hook/(?<peer>[^/]+)/(?<pattern>.+)/threads:(?<n>[0-9]+)$")
		   | select(.pattern == $pattern) | .n |= tonumber] as $all
		| def ns($peer; $n): $run["hook/\($peer)/\($pattern)/threads:\($n)"];
		def best($n): [$all[] | select(.n == $n) | .peer
			| select(IN($bounds[], $own[]) | not)] | min_by(ns(.; $n) | median);
		def columns: if . == null then ["?", "?", "?"] else [median, min, max] end;
		[$all[].peer] | unique | to_entries[]
		| .value as $peer
		| (if .key > 0 then [], [] else empty end), ["\"\($peer)\""],
		  ([$all[] | select(.peer == $peer) | .n] | sort[] | . as $n
		   | [$n] + (ns($peer; $n) | columns)
		   + (together([ns($peer; $n), ns("local"; $n)]; .[0] / .[1]) | columns)
		   + (best($n) as $best | if $best == null then null
		      else together([ns($peer; $n), ns($best; $n)]; .[0] / .[1]) end | columns))
		| @tsv' "$run"
}

patterns=$(jq -r '[.benchmarks[].run_name | capture("^hook/[^/]+/(?<p>.+)/threads:[0-9]+$").p] | unique[]' "$run")
if [[ -z $patterns ]]; then
	echo "$0: $run: no hook/... in it" >&2
	exit 1
fi
cpus=$(jq '.context.num_cpus' "$run")
for pattern in $patterns; do
	file=${pattern//[\/:]/-}
	table "$pattern" >"$out/$file.tsv"
	# What there are numbers of: a run may be without the floor, or without peers.
	draw=
	for what in "ns 2 ns per event" "floor 5 ratio to the floor (local)" "best 8 ratio to the best peer"; do
		read -r name column label <<<"$what"
		rm -f "$out/$file-$name.svg"
		if awk -v c="$column" '!/^"/ && NF && $c != "?" { found = 1 } END { exit !found }' "$out/$file.tsv"; then
			draw+="eval draw(\"$out/$file-$name.svg\", \"$label\", $column)"$'\n'
		else
			echo "$file-$name.svg: not drawn, the run has no numbers for it"
		fi
	done
	last=$(($(grep -c '^"' "$out/$file.tsv") - 1))
	gnuplot <<-END
		set terminal svg size 900,600 background "white"
		set logscale x 2
		set logscale y
		set xlabel "threads, one per CPU"
		set key outside right
		set grid
		set datafile missing "?"
		stats "$out/$file.tsv" using 1 nooutput
		if (STATS_max > $cpus) set arrow from $cpus * 1.3, graph 0 to $cpus * 1.3, graph 1 nohead dashtype 2
		set xrange [0.9 : STATS_max * 1.1 + 0.1]
		draw(output, what, c) = sprintf('set output "%s"; set ylabel "%s"; plot for [i = 0 : $last] "$out/$file.tsv" index i using 1:%d:%d:%d with yerrorlines linecolor i + 1 dashtype i / 8 + 1 title columnheader(1) noenhanced', output, what, c, c + 1, c + 2)
		set title "hook/*/$pattern" noenhanced
		$draw
	END
done
echo "$out: $(find "$out" -name '*.svg' | wc -l) plots"
