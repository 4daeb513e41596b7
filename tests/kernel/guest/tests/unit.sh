# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2086
#
# The library's unit tests and lockstep tests, from the sources that user space compiles.

for module in /unit/*.ko; do
	name=$(basename $module .ko)
	seeds=1
	# Each step of a history goes to another CPU: minutes. delta_virtual has them, too.
	[ $name != delta_cpu ] || seeds=0
	begin=$(uptime_ms)
	insmod $module FPT_TEST_SEEDS=$seeds || die "$module: see above"
	say "$name: $(dmesg | sed -n "s/.*] $name: \(.* passed,\)/\1/p")," \
		"$(($(uptime_ms) - begin)) ms"
	rmmod $name || die "rmmod $name"
done
