# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2086,SC2154
#
# The module that takes for free what it is told, without asking the allocator. bitmap is wrong
# about what another CPU took, which the kernel itself may not survive; xbitmap is wrong when an
# allocation comes between its word and the report.

work write 4 160 300 /tmp/stop &
insmod /modules/mutant.ko tracker=$FPT_TRACKER order=3 period_ms=10 || die "insmod mutant.ko"
sleep 10
touch /tmp/stop
wait $!
