# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# run.jq - what plot.sh and targets.sh share: a run of fpt-bench (--benchmark_out=FILE.json)
#
# Numbers of the same repetition belong together: ratios are of these, then comes the median.

# {name: [ns_event of each repetition]}; name with /threads:N. What failed is not there.
def run:
	reduce (.benchmarks[] | select(.run_type == "iteration" and .ns_event != null)) as $b ({};
		.[$b.run_name] += [$b.ns_event]);

# {name: {counter: [...]}} of one counter.
def counters($counter):
	reduce (.benchmarks[] | select(.run_type == "iteration" and .[$counter] != null)) as $b ({};
		.[$b.run_name] += [$b[$counter]]);

def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;

def spread: { median: median, min: min, max: max, nr: length };

# [f of each repetition's numbers]; null when a benchmark is not in the run.
def together($lists; f):
	if any($lists[]; . == null) then null
	else [range($lists | map(length) | min)] | map(. as $i | $lists | map(.[$i]) | f)
	end;
