# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=dash disable=SC2086,SC2154
#
# A host that never answers, by the device's bus mastering: switched off, QEMU leaves the queue
# alone, and the driver is not told. What was out must come back; bound anew, the device reports.

device=$(readlink -f /sys/bus/virtio/devices/virtio0)
driver=/sys/bus/virtio/drivers/fpt

# The low byte of PCI's command register.
master() { # on|off
	case $1 in
	on) printf '\007' ;;
	off) printf '\003' ;;
	esac | dd of=$device/../config bs=1 seek=4 conv=notrunc 2>/tmp/errors || die "PCI config"
}

free_kib() {
	sed -n 's/MemFree: *\([0-9]*\) kB/\1/p' /proc/meminfo
}

load period_ms=0 in_flight_mb=64 timeout_ms=1000
hold freed 200 1
release freed
before=$(free_kib)
master off
if flush_now 2>/tmp/errors; then
	die "a flush without a host succeeds"
fi
say "$(cat /tmp/errors); $(count timeouts) time-outs, $(count failed) pages not reported," \
	"$(count reported) reported, $(free_kib) of $before KiB free"
[ "$(count timeouts)" = 1 ] || die "no time-out"
[ "$(count reported)" = 0 ] || die "$(count reported) pages reported"
[ "$(count failed)" -ge 4096 ] || die "$(count failed) pages came back"
[ "$(count in_flight)" = 0 ] || die "$(count in_flight) pages in flight"
[ "$(free_kib)" -gt $((before - 8192)) ] || die "memory is gone"
# Later ones are refused at once.
if flush_now 2>/tmp/errors; then
	die "a flush without a host succeeds"
fi
say "again: $(cat /tmp/errors)"
# And all of it can be used.
hold kept 300 2
release kept

master on
# This one does answer, but may be busy.
echo 10000 >$parameters/timeout_ms || die "timeout_ms"
echo virtio0 >$driver/unbind || die "unbind"
echo virtio0 >$driver/bind || die "bind"
flush
say "bound anew: $(count reported) pages reported"
[ "$(count reported)" -ge 40000 ] || die "$(count reported) pages reported"
unload

# The same when the driver is wrong about which queue is for reports: nobody looks there.
insmod /modules/wrong_queue.ko period_ms=0 timeout_ms=1000 || die "insmod wrong_queue.ko"
if flush_now 2>/tmp/errors; then
	die "a flush that nobody sees succeeds"
fi
say "$(cat /tmp/errors), on a queue that is not for it"
[ "$(count timeouts)" = 1 ] || die "no time-out"
[ "$(count in_flight)" = 0 ] || die "$(count in_flight) pages in flight"
unload
