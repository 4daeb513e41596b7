# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2086,SC2154
#
# The module that takes for free what it is told, without asking the allocator. The tracker is one
# that is wrong about what another CPU took: seldom enough for the kernel itself to last until the
# writers look.

work write 4 160 8 &
sleep 1
insmod /modules/mutant.ko tracker=bitmap order=3 period_ms=10 || die "insmod mutant.ko"
wait $!
