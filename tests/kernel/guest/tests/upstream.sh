# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2086,SC2154
#
# Upstream's reporting: memory goes 2 s after it became free, and then 2 s later.

insmod /modules/virtio_balloon.ko || die "insmod virtio_balloon"
touch_and_free
sleep 8
host watched >/dev/null
