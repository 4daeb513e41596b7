# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# targets.jq - the targets of issue 5, one object per row: what, target, numbers (one per repetition), unit,
# least: the target is a lower bound
include "run";

def row($what; $target; $unit; $numbers): { what: $what, target: $target, unit: $unit, numbers: $numbers };

run as $run
| def ns($name; $n): $run["\($name)/threads:\($n)"];
# delta with its look at claims, where it has one.
(if ns("hook/delta_ticket/random"; 1) then "delta_ticket" else "delta" end) as $delta
| (if $delta == "delta" then ", without claim check" else ", claim check included" end) as $check
| "hook/\($delta)/random" as $random
| "hook/delta/same_block" as $same
| def of($a; $b): together([$a, $b]; .[0] / .[1]);
def net($fold_ms): "/trace/fold_ms:\($fold_ms)" as $trace
	| together([ns("hook/delta" + $trace; 2), ns("hook/none" + $trace; 2),
		    ns("hook/atomic" + $trace; 2)]; (.[0] - .[1]) / (.[2] - .[1]));
# A row for each benchmark whose name matches, of f of its numbers.
def each($what; $pattern; $target; $unit; f):
	[$run | keys[] | select(test($pattern))] as $names
	| if $names == [] then row($what; $target; $unit; null)
	  else $names[] | row($what + ": " + .; $target; $unit; $run[.] | map(f)) end;
# The same of a counter.
def each_counter($what; $counter; $target; $unit):
	counters($counter) as $all
	| if $all == {} then row($what; $target; $unit; null)
	  else $all | to_entries[] | row($what + ": " + .key; $target; $unit; .value) end;

row("delta hook, random, 1 CPU / bare rseq or\($check)"; 2.2; "x"; of(ns($random; 1); ns("prim/rseq_or"; 1))),
row("delta hook, random, 1 CPU / lock or\($check)"; 0.85; "x"; of(ns($random; 1); ns("prim/lock_or"; 1))),
(if $delta == "delta" then empty else
 row("the same without claim check / bare rseq or"; null; "x"; of(ns("hook/delta/random"; 1); ns("prim/rseq_or"; 1))),
 row("the same without claim check / lock or"; null; "x"; of(ns("hook/delta/random"; 1); ns("prim/lock_or"; 1))) end),
row("delta hook, same_block, 2 CPUs / 1 CPU, of that of rseq or"; 1.1; "x";
    together([ns($same; 2), ns($same; 1), ns("prim/rseq_or"; 2), ns("prim/rseq_or"; 1)];
	     (.[0] / .[1]) / (.[2] / .[3]))),
row("delta hook, same_block, 2 CPUs / flat atomic bitmap"; 0.2; "x"; of(ns($same; 2); ns("hook/atomic/same_block"; 2))),
row("array append / ck_ring SPSC enqueue, 1 CPU"; 1.5; "x"; of(ns("push/array"; 1); ns("push/ck_ring_spsc"; 1))),
row("its section alone / ck_ring SPSC enqueue, 1 CPU"; null; "x"; of(ns("push/section"; 1); ns("push/ck_ring_spsc"; 1))),
row("dispatch through ops - static, 1 CPU"; 1; "ns";
    together([ns("dispatch/ops"; 1), ns("dispatch/static"; 1)]; .[0] - .[1])),
row("delta, event of order 9 / of order 0, 1 CPU"; 2; "x"; of(ns("event/delta/order9"; 1); ns("event/delta/order0"; 1))),
row("trace, delta / atomic, net of none, 2 CPUs, folds at 100 ms"; 1; "x"; net(100)),
row("trace, delta / atomic, net of none, 2 CPUs, folds at 1 s"; 0.8; "x"; net(1000)),
each("idle fold"; "^fold/delta/idle"; 150; "ns"; .),
# Few lines have the fence to themselves: stated.
each("fold, per line"; "^fold/delta/resident/dirty_lines:1024"; 30; "ns"; .),
each("fold, per line"; "^fold/delta/remote/dirty_lines:1024"; 60; "ns"; .),
each("fold, few lines"; "^fold/delta/(resident|remote)/dirty_lines:(?!1024)"; null; "ns"; .),
each("claim"; "^claim/delta/one_free_1TiB/threads"; 50; "ns"; .),
each("claim, cold"; "^claim/delta/one_free_1TiB/cold"; null; "ns"; .),
(each("drain, isolate"; "^drain/(?!ticket).*/1TiB"; 50; "M blocks/s"; 1000 / .) | .least = true),
(each("drain, ticket"; "^drain/ticket/1TiB"; 5; "M blocks/s"; 1000 / .) | .least = true),
each_counter("metadata per page"; "bits_per_page"; 1.2; "bits"),
each_counter("and per CPU"; "KiB_per_cpu"; 160; "KiB")
