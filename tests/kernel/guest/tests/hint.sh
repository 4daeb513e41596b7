# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2154,SC2086,SC2046
#
# Each tracker: what is free leaves the host, page by page; what is in use does not, at any order,
# and not while the module goes.

trackers='array bitmap xbitmap lockmap'
WRITERS=4
KEPT=0x6b65707470616765 FREED=0x6672656564206d65
kept_mib=48 freed_mib=160
kept_pages=$((kept_mib * 256)) freed_pages=$((freed_mib * 256))

# Of kept and freed memory, what the host has; and all that it has of the guest's.
look() {
	set -- $(host pages $KEPT $FREED)
	[ $# = 3 ] || die "the host says '$*'"
	all=$1 has_kept=$2 has_freed=$3
	[ $has_kept = $kept_pages ] ||
		die "$tracker: the host has $has_kept of $kept_pages pages in use"
}

residency() {
	load tracker=$tracker order=9 period_ms=0
	hold kept $kept_mib $KEPT
	hold freed $freed_mib $FREED
	look
	[ $has_freed = $freed_pages ] || die "$tracker: only $has_freed pages are there at first"
	before=$all
	release freed
	# Nobody has said so yet: it is still there.
	look
	[ $has_freed -gt $((freed_pages * 9 / 10)) ] ||
		die "$tracker: $has_freed left without a flush"
	flush
	look
	say "$tracker: of $freed_pages pages freed the host has $has_freed," \
		"of $kept_pages in use $has_kept; all: $before, then $all"
	[ $has_freed -lt $((freed_pages / 20)) ] || die "$tracker: $has_freed pages left"
	[ $((before - all)) -gt $((freed_pages * 9 / 10)) ] ||
		die "$tracker: residency does not fall"
	[ "$(count reported)" -ge $((freed_pages * 9 / 10)) ] ||
		die "$tracker: $(count reported) reported"
	[ "$(count in_flight)" = 0 ] || die "$tracker: $(count in_flight) in flight after a flush"
	release kept
	unload
}

# Users of memory and the reporter at once; then, beside them, the module comes and goes, and the
# tracker is exchanged.
writers() { # ORDER SECONDS
	load tracker=$tracker order=$1 period_ms=10
	work write $WRITERS 160 $2 &
	pid=$!
	sleep $(($2 - 2))
	reported=$(count reported)
	dropped=$(count dropped)
	unload
	load tracker=$tracker order=$1 period_ms=10
	sleep 0.3
	for other in $trackers; do
		echo $other >$parameters/tracker || die "tracker=$other"
		sleep 0.2
	done
	unload
	wait $pid || die "$tracker, order $1: data was lost"
	say "$tracker, order $1: $reported pages reported, no bad words, $dropped hints dropped"
	[ $reported -gt 0 ] || die "$tracker, order $1: nothing was reported meanwhile"
	[ $dropped = 0 ] || [ $tracker = array ] || die "$tracker, order $1: hints are dropped"
}

for tracker in $trackers; do
	residency
	writers 9 4
	writers 3 6
done
