# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2034,SC2046,SC2086,SC2154
#
# Each tracker: what is free leaves the host, page by page; what is in use does not, at any order,
# and not while the module goes.

trackers='array bitmap xbitmap lockmap delta'
round=0
kept_mib=48 freed_mib=160
kept_pages=$((kept_mib * 256)) freed_pages=$((freed_mib * 256))

# Of kept and freed memory, what the host has; and all that it has of the guest's. There may be more
# than was written: where the kernel moves a page, it leaves a copy.
look() {
	set -- $(host pages $KEPT $FREED)
	[ $# = 3 ] || die "the host says '$*'"
	all=$1 has_kept=$2 has_freed=$3
	[ $has_kept -ge $kept_pages ] ||
		die "$tracker: the host has $has_kept of $kept_pages pages in use"
}

# The kernel allocates stacks in bulk, which the tracepoints do not see; it caches but few.
blind_spots() {
	pids=
	for i in $(seq 64); do
		sleep 100 &
		pids="$pids $!"
	done
	kill $pids
	wait $pids
}

audited() {
	say "$tracker: $(count repaired) pages repaired, $(count disturbed) lines left"
	[ "$(count repaired)" -gt 0 ] || die "$tracker: audits repair nothing"
}

residency() {
	# Words of this round: what the last one has freed may still be there.
	round=$((round + 1))
	KEPT=$((0x6b65707470610000 + round)) FREED=$((0x6672656564200000 + round))
	load tracker=$tracker order=9 period_ms=0
	[ $tracker != delta ] || blind_spots
	hold kept $kept_mib $KEPT
	hold freed $freed_mib $FREED
	look
	[ $has_freed -ge $freed_pages ] || die "$tracker: only $has_freed pages are there at first"
	before=$all
	release freed
	# Nobody has said so yet: it is still there.
	look
	[ $has_freed -gt $((freed_pages * 9 / 10)) ] ||
		die "$tracker: $has_freed left without a flush"
	begin=$(uptime_ms)
	flush
	ms=$(($(uptime_ms) - begin))
	look
	say "$tracker: of $freed_pages pages freed the host has $has_freed," \
		"of $kept_pages in use $has_kept; all: $before, then $all; $ms ms"
	[ $has_freed -lt $((freed_pages / 10)) ] || die "$tracker: $has_freed pages left"
	[ $((before - all)) -gt $((freed_pages * 9 / 10)) ] ||
		die "$tracker: residency does not fall"
	[ "$(count reported)" -ge $((freed_pages * 9 / 10)) ] ||
		die "$tracker: $(count reported) reported"
	[ "$(count in_flight)" = 0 ] || die "$tracker: $(count in_flight) in flight after a flush"
	[ $tracker != delta ] || audited
	release kept
	unload
}

# Users of memory and the reporter at once. The module goes while they are at work.
writers() { # ORDER SECONDS [COMMAND]: run after that
	load tracker=$tracker order=$1 period_ms=10
	rm -f /tmp/stop
	work write 4 160 300 /tmp/stop &
	pid=$!
	sleep $2
	reported=$(count reported)
	dropped=$(count dropped)
	${3:-:}
	unload
	touch /tmp/stop
	wait $pid || die "$tracker, order $1: data was lost"
	say "$tracker, order $1: $reported pages reported, no bad words, $dropped hints dropped"
	[ $reported -gt 0 ] || die "$tracker, order $1: nothing was reported meanwhile"
	[ $dropped = 0 ] || [ $tracker = array ] || die "$tracker, order $1: hints are dropped"
}

# What toggles and what does not are not switched for each other: the writer is told, the log says
# it, and nothing has changed.
stays() { # OTHER TRACKER-IN-USE
	if echo $1 >$parameters/tracker 2>/tmp/errors; then
		die "$tracker is switched to $1"
	fi
	grep -q 'not supported' /tmp/errors || die "$tracker to $1: $(cat /tmp/errors)"
	[ $(cat $parameters/tracker) = $2 ] || die "not switched, but $(cat $parameters/tracker)"
	dmesg | grep -q "no live switch to tracker $1" || die "the log does not say it"
}

# The tracker and the order of a module at work.
exchange() {
	for other in array bitmap xbitmap lockmap; do
		echo $other >$parameters/tracker || die "tracker=$other"
		cat $stats /sys/kernel/debug/fpt/dump >/tmp/seen || die "debugfs"
		sleep 0.2
	done
	stays delta lockmap
	exchange_orders
}

exchange_orders() {
	for other in 5 9 3; do
		echo $other >$parameters/order || die "order=$other"
		sleep 0.2
	done
}

exchange_delta() {
	stays xbitmap delta
	stays none delta
	exchange_orders
	cat $stats /sys/kernel/debug/fpt/dump >/tmp/seen || die "debugfs"
}

for tracker in $trackers; do
	residency
	writers 9 2
	writers 3 3
done
# Whatever it was before, and is then.
tracker=xbitmap
writers 3 2 exchange
tracker='delta'
writers 3 2 exchange_delta
