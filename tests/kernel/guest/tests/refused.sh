# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2086,SC2154
#
# A device that does not offer reporting: it is not taken, and the log and a flush say so.

load period_ms=10
dmesg | grep 'free page reporting is not offered' || die "the log does not say it"
if flush_now 2>/tmp/errors; then
	die "a flush without a host succeeds"
fi
say "$(cat /tmp/errors); $(count claimed) pages claimed"
[ "$(count reported)" = 0 ] || die "$(count reported) pages reported"
unload
# The stock driver can have it.
insmod /modules/virtio_balloon.ko || die "insmod virtio_balloon"
