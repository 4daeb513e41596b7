#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# record-trace.sh - record a trace inside a QEMU guest: a Debian kernel, busybox, fpt and workload.c
#
# Needs (Debian): qemu-system-x86 busybox-static cpio gcc libc6-dev, and apt-get to download the
# kernel unless -k gives one. Needs no root. Without hardware virtualisation QEMU emulates the CPUs:
# slower, but the order of events across CPUs is as real.
set -euo pipefail

usage() {
	cat <<END
Usage: record-trace.sh -f FPT -o FILE [OPTION...]

  -f FPT      the fpt command that records (copied into the guest with its libraries)
  -o FILE     the trace
  -m MIB      the guest's memory (512)
  -c CPUS     its CPUs (4)
  -s SECONDS  how long the workload runs (64)
  -w MIB      memory that the workload takes at most (two fifths of the guest's)
  -p N        processes of the workload (one per CPU)
  -k DIR      kernel package unpacked in DIR (boot/vmlinuz-*, lib/modules/*); default: download it
  -a ACCEL    kvm or tcg (default: kvm if it can boot the guest, else tcg)
END
}

die() {
	echo "record-trace.sh: $*" >&2
	exit 1
}

fpt= output= memory=512 cpus=4 seconds=64 take= processes= kernel= accel=
while getopts f:o:m:c:s:w:p:k:a:h option; do
	case $option in
	f) fpt=$OPTARG ;;
	o) output=$OPTARG ;;
	m) memory=$OPTARG ;;
	c) cpus=$OPTARG ;;
	s) seconds=$OPTARG ;;
	w) take=$OPTARG ;;
	p) processes=$OPTARG ;;
	k) kernel=$OPTARG ;;
	a) accel=$OPTARG ;;
	h) usage; exit ;;
	*) usage >&2; exit 2 ;;
	esac
done
[[ $fpt && $output && $# == $((OPTIND - 1)) ]] || { usage >&2; exit 2; }
[[ -x $fpt ]] || die "$fpt: not a command; build it first"
for number in "$memory" "$cpus" "$seconds" "${take:-1}" "${processes:-1}"; do
	[[ $number =~ ^[1-9][0-9]*$ ]] || die "'$number' is not a whole number above 0"
done
take=${take:-$((memory * 2 / 5))}
processes=${processes:-$cpus}

for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio gcc:gcc; do
	command -v ${tool%:*} >/dev/null || die "needs ${tool%:*}: apt-get install ${tool#*:}"
done
busybox=$(command -v busybox)
if ldd "$busybox" >/dev/null 2>&1; then
	die "$busybox is not static: apt-get install busybox-static"
fi

here=$(dirname "$(readlink -f "$0")")
temp=$(mktemp -d)
qemu=
trap 'kill $qemu 2>/dev/null || true; rm -rf "$temp"' EXIT

if [[ ! $kernel ]]; then
	kernel=$temp/kernel
	mkdir "$kernel"
	package=$(apt-cache depends linux-image-cloud-amd64 |
		  sed -n 's/^ *Depends: *\(linux-image-[0-9]\)/\1/p;T;q')
	[[ $package ]] || die "no kernel package: run 'apt-get update', or give one with -k"
	(cd "$temp" && apt-get -q download "$package" >"$temp/apt.log" 2>&1) ||
		die "cannot download $package: $(tail -n 1 "$temp/apt.log")"
	dpkg-deb -x "$temp"/linux-image-*.deb "$kernel"
fi
image=$(echo "$kernel"/boot/vmlinuz-*)
[[ -f $image ]] || die "$kernel: no single boot/vmlinuz-* there"
release=${image##*/vmlinuz-}

make_initramfs() {
	local root=$temp/root library module

	mkdir -p "$root"/{bin,dev,lib,lib64,modules,proc,sys,tmp}
	cp "$busybox" "$root/bin/busybox"
	cp "$fpt" "$root/bin/fpt"
	# Each library to where the binary or the loader looks for it.
	ldd "$fpt" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*ld-[^ ]*\).*/\1/p' |
	while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -static -o "$root/bin/workload" "$here/workload.c"
	for module in virtio virtio_ring virtio_pci virtio_pci_modern_dev virtio_pci_legacy_dev \
		      virtio_blk; do
		find "$kernel/lib/modules/$release" -name "$module.ko" \
			-exec cp {} "$root/modules" \;
	done
	cp "$here/init" "$root/init"
	chmod 755 "$root/init"
	cat >"$root/settings" <<END
DURATION=$seconds
MIB=$take
PROCESSES=$processes
SOURCE='QEMU guest ($accel), $memory MiB, $cpus vCPUs, Debian kernel $release, $(date -u +%F):\
 tests/guest/record-trace.sh -m $memory -c $cpus -s $seconds -w $take -p $processes'
END
	(cd "$root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$temp/initramfs"
}

# Output goes to $temp/console. True if the guest said that it is done.
boot() { # SECONDS-AT-MOST
	truncate -s 1G "$temp/disk"
	qemu-system-x86_64 -machine q35 -accel $options -cpu max -smp "$cpus" -m "$memory" \
		-nodefaults -display none -monitor none -no-reboot -serial "file:$temp/console" \
		-kernel "$image" -initrd "$temp/initramfs" \
		-append "console=ttyS0 quiet panic=-1 rdinit=/init" \
		-drive "file=$temp/disk,format=raw,if=none,id=disk,cache=unsafe" \
		-device virtio-blk-pci,drive=disk </dev/null >"$temp/qemu.log" 2>&1 &
	qemu=$!
	for ((i = 0; i < $1; i++)); do
		sleep 1
		kill -0 $qemu 2>/dev/null || break
	done
	kill $qemu 2>/dev/null || true
	wait $qemu || true
	qemu=
	grep -q '^guest: done' "$temp/console"
}

# A kernel that gets to /init within some seconds, which only shows that it can.
kvm_works() {
	[[ -w /dev/kvm ]] || return 1
	# In a subshell: bash reports a killed job.
	(timeout -s KILL 20 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -m 256 -nodefaults \
		-display none -no-reboot -serial "file:$temp/probe" -kernel "$image" \
		-append "console=ttyS0 panic=-1"; true) </dev/null >/dev/null 2>&1
	grep -q 'Kernel panic - not syncing: VFS' "$temp/probe" 2>/dev/null
}

if [[ ! $accel ]]; then
	accel=tcg
	if kvm_works; then accel=kvm; fi
fi
case $accel in
kvm) options=kvm ;;
tcg) options=tcg,thread=multi,tb-size=64 ;;
*) die "-a $accel: neither kvm nor tcg" ;;
esac
make_initramfs
echo "booting Linux $release on $accel: $memory MiB, $cpus vCPUs, $seconds s of $take MiB" >&2
boot $((seconds * 3 + 300)) || {
	tail -n 20 "$temp/console" "$temp/qemu.log" >&2
	die "the guest recorded nothing; its last words are above"
}
grep 'fpt record' "$temp/console" >&2 || true

read -r magic bytes sum < <(head -c 512 "$temp/disk") || true
[[ $magic == FPT-TRACE ]] || die "the guest's disk holds no trace"
tail -c +513 "$temp/disk" | head -c "$bytes" >"$temp/trace" || true
[[ $(sha256sum <"$temp/trace") == "$sum "* ]] || die "the trace was damaged on its way out"
cp "$temp/trace" "$output"
echo "$output: $bytes bytes" >&2
