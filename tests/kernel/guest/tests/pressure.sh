# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2086,SC2154
#
# A guest whose memory is in use but for a twentieth, and hinting all the time: nobody is killed.

for order in 9 3; do
	load order=$order period_ms=10
	work press 95 10 || die "order $order: the user of the memory did not survive"
	say "order $order: $(count reported) pages reported, $(count busy) busy"
	flush
	[ "$(count in_flight)" = 0 ] || die "$(count in_flight) in flight after a flush"
	unload
done
