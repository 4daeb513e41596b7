# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2046,SC2086
#
# The library's unit tests and lockstep tests, from the sources that user space compiles.

for module in /unit/*.ko; do
	name=$(basename $module .ko)
	# It goes to another CPU with nearly each step, which takes as long as all others together.
	if [ $name = delta_cpu ] && [ $(nproc) != 4 ]; then
		continue
	fi
	begin=$(uptime_ms)
	insmod $module FPT_TEST_SEEDS=1 || die "$module: see above"
	say "$name: $(dmesg | sed -n "s/.*] $name: \(.* passed,\)/\1/p")," \
		"$(($(uptime_ms) - begin)) ms"
	rmmod $name || die "rmmod $name"
done
