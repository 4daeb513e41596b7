#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# run.sh - tests in a real guest: QEMU boots Debian's cloud kernel, with fpt's modules
#
#	run.sh BUILD-DIR prepare	the kernel, the modules, the initramfs
#	run.sh BUILD-DIR TEST [VCPUS [KERNEL-ARGUMENT...]]	what tests: at the end of this file
#
# Needs (Debian): qemu-system-x86 busybox-static cpio gcc libc6-dev make linux-headers-cloud-amd64,
# and apt-get to download the kernel that belongs to these headers. Exits with 77 where one is
# missing, with FPT_TEST_MUST_RUN=1 in the environment with 1. Needs no root. FPT_TEST_ACCEL=kvm or
# tcg says how to run guests: otherwise KVM where it can boot the kernel. FPT_TEST_KERNEL: another
# release than that of the headers package, whose headers are installed.
set -euo pipefail

die() {
	echo "run.sh: $*" >&2
	exit 1
}

skip() {
	[[ ! ${FPT_TEST_MUST_RUN:-} ]] || die "cannot run: $*"
	echo "skipped: $*"
	exit 77
}

here=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "$here/../..")
[[ $# -ge 2 ]] || die "usage: run.sh BUILD-DIR prepare|TEST [VCPUS [KERNEL-ARGUMENT...]]"
mkdir -p "$1"
build=$(readlink -f "$1")
test=$2
vcpus=${3:-4}
more_arguments=${*:4}

for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio gcc:gcc make:make \
	    dpkg-deb:dpkg; do
	command -v ${tool%:*} >/dev/null || skip "no ${tool%:*} (Debian: ${tool#*:})"
done
busybox=$(command -v busybox)
if ldd "$busybox" >/dev/null 2>&1; then
	skip "$busybox is not static (Debian: busybox-static)"
fi
release=${FPT_TEST_KERNEL:-$(dpkg-query -W -f '${Depends}' linux-headers-cloud-amd64 2>/dev/null |
	  sed -n 's/^linux-headers-\([^ ,]*\).*/\1/p')}
headers=/lib/modules/$release/build
[[ $release && -d $headers ]] || skip "no kernel headers (Debian: linux-headers-cloud-amd64)"
image=$build/kernel-$release/boot/vmlinuz-$release

temp=$(mktemp -d)
qemu=
watcher=
trap 'kill $qemu $watcher 2>/dev/null || true; rm -rf "$temp"' EXIT

# Unpacked, not installed; kept for the next time.
get_kernel() {
	local package=linux-image-$release

	[[ -f $image ]] && return
	command -v apt-get >/dev/null || skip "no apt-get to download $package with"
	(cd "$temp" && apt-get -q download "$package" >"$temp/apt.log" 2>&1) ||
		skip "cannot download $package: $(tail -n 1 "$temp/apt.log")"
	# Under its name when all of it is there: what was interrupted is not taken for it.
	rm -rf "$build/kernel-$release" "$build/kernel.part"
	dpkg-deb -x "$temp/$package"_*.deb "$build/kernel.part"
	mv "$build/kernel.part" "$build/kernel-$release"
}

make_modules() { # DIR [KCFLAGS]
	make -C "$headers" M="$1" FPT_ROOT="$root" KCFLAGS="${2:-}" modules >"$1.log" 2>&1 ||
		{ cat "$1.log"; die "$1 does not compile"; }
	if grep -Ev 'warning: (the compiler differs| *Clock skew)' "$1.log" | grep -q 'warning:'; then
		cat "$1.log"
		die "$1 compiles with warnings"
	fi
}

build_unit_tests() {
	local dir=$build/unit name

	rm -rf "$dir"
	mkdir -p "$dir/include"
	cp "$here/unit/Kbuild" "$here/unit/cmocka.h" "$dir"
	sed -n 's/^obj-m [:+]= //p' "$dir/Kbuild" | tr ' ' '\n' | while read -r name; do
		cp "$here/unit/unit.c" "$dir/${name%.o}.c"
	done
	# Empty: cmocka.h is there before them.
	mkdir "$dir/include/sys"
	for name in pthread sched setjmp signal stdarg stddef stdint stdio stdlib string unistd \
		    sys/mman sys/syscall sys/time sys/wait; do
		: >"$dir/include/$name.h"
	done
	make_modules "$dir"
}

# The module lies beside the headers, as in the source tree.
build_module() { # NAME [KCFLAGS]
	local dir=$build/$1

	rm -rf "$dir"
	mkdir -p "$dir/src"
	cp -r "$root/include" "$dir"
	cp -r "$root/src/linux" "$dir/src"
	make_modules "$dir/src/linux" "${2:-}"
}

build_probes() {
	rm -rf "$build/probes"
	cp -r "$here/probes" "$build"
	make_modules "$build/probes"
}

make_initramfs() {
	local dir=$build/root module

	rm -rf "$dir"
	mkdir -p "$dir"/{bin,dev,modules,proc,sys,tests,tmp,unit}
	cp "$busybox" "$dir/bin/busybox"
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -static -o "$dir/bin/work" "$here/guest/work.c"
	for module in virtio virtio_ring virtio_pci virtio_pci_modern_dev virtio_pci_legacy_dev \
		      virtio_balloon; do
		find "$build/kernel-$release/lib/modules/$release" -name "$module.ko" \
			-exec cp {} "$dir/modules" \;
	done
	for module in "$build"/unit/*.ko; do
		strip -g -o "$dir/unit/${module##*/}" "$module"
	done
	strip -g -o "$dir/modules/fpt.ko" "$build/module/src/linux/fpt.ko"
	strip -g -o "$dir/modules/mutant.ko" "$build/mutant/src/linux/fpt.ko"
	strip -g -o "$dir/modules/wrong_queue.ko" "$build/wrong_queue/src/linux/fpt.ko"
	strip -g -o "$dir/modules/probes.ko" "$build/probes/probes.ko"
	cp "$here"/guest/tests/*.sh "$dir/tests"
	cp "$here/guest/init" "$dir/init"
	chmod 755 "$dir/init"
	(cd "$dir" && find . | cpio -o -H newc --quiet) | gzip -1 >"$build/initramfs"
}

# A kernel that gets as far as it can without an initramfs shows that KVM can boot a guest.
kvm_works() {
	[[ -w /dev/kvm ]] || return 1
	# In a subshell: bash reports a killed job.
	(timeout -s KILL 10 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -m 256 -nodefaults \
		-display none -no-reboot -serial "file:$temp/probe" -kernel "$image" \
		-append "console=ttyS0 panic=-1"; true) </dev/null >/dev/null 2>&1
	grep -q 'Kernel panic - not syncing: VFS' "$temp/probe" 2>/dev/null
}

prepare() {
	rm -f "$build/accel"
	get_kernel
	build_unit_tests
	build_module module
	build_module mutant -DFPT_MUTANT_SKIP_ISOLATION
	build_module wrong_queue -DFPT_MUTANT_WRONG_QUEUE
	build_probes
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -o "$build/outside" "$here/outside.c"
	make_initramfs
	accel=${FPT_TEST_ACCEL:-tcg}
	if [[ ! ${FPT_TEST_ACCEL:-} ]] && kvm_works; then
		accel=kvm
	fi
	echo "$accel" >"$build/accel"
	echo "Linux $release, $accel; the module and two with mistakes," \
		"$(find "$build/unit" -name '*.ko' | wc -l) modules of unit tests"
}

# What the guest asks for.
answer() { # WORD...
	case $1 in
	pages) "$build/outside" pages "$pid" "${@:2}" ;;
	watch)
		: >"$temp/watched"
		"$build/outside" watch "$pid" "$mib" >"$temp/watched" &
		watcher=$!
		# The guest goes on when what it holds has been seen.
		until [[ -s $temp/watched ]]; do
			kill -0 "$watcher" 2>/dev/null || return
			sleep 0.01
		done
		echo watching
		;;
	watched)
		kill "$watcher" 2>/dev/null || true
		wait "$watcher" || true
		watcher=
		echo over
		;;
	*) echo "what is $1?" ;;
	esac
}

# Boots the guest and serves it until it is off. Its console is in $temp/said. Memory is shared
# with outside unless $private is set; $enough is a line after which there is no need to go on.
boot() { # MIB SECONDS-AT-MOST [KERNEL-ARGUMENT...]
	local arguments="${*:3} $more_arguments" options line part='' seconds=$2 memory=()

	mib=$1
	pid=
	case $(<"$build/accel") in
	kvm) options=kvm ;;
	tcg) options=tcg,thread=multi,tb-size=64 ;;
	*) die "$build/accel: neither kvm nor tcg" ;;
	esac
	[[ ${private:-} ]] ||
		memory=(-object "memory-backend-memfd,id=ram,size=${mib}M,share=on"
			-machine memory-backend=ram)
	rm -f "$temp"/talk.* "$temp/pid" "$temp/console"
	mkfifo "$temp/talk.in" "$temp/talk.out"
	# For reading and writing, so that neither side waits for the other to open.
	exec {to}<>"$temp/talk.in" {from}<>"$temp/talk.out"
	timeout -s KILL "$seconds" qemu-system-x86_64 -machine q35 -accel "$options" -cpu max \
		-smp "$vcpus" -m "$mib" "${memory[@]}" -nodefaults -display none -monitor none \
		-no-reboot -pidfile "$temp/pid" -serial "file:$temp/console" \
		-chardev "pipe,id=talk,path=$temp/talk" -serial chardev:talk \
		-kernel "$image" -initrd "$build/initramfs" \
		-append "console=ttyS0 quiet loglevel=7 panic=-1 rdinit=/init $arguments" \
		-device "virtio-balloon-pci,free-page-reporting=${reporting:-on}" \
		</dev/null >"$temp/qemu.log" 2>&1 &
	qemu=$!
	while kill -0 "$qemu" 2>/dev/null; do
		if [[ ${enough:-} ]] && grep -Eqs "$enough" "$temp/console"; then
			kill "$qemu"
			break
		fi
		# What has come of a line when the time is over is a part of it.
		if ! IFS= read -r -t 1 -u "$from" line; then
			part+=$line
			continue
		fi
		line=$part$line
		part=
		pid=$(<"$temp/pid")
		# shellcheck disable=SC2086
		answer $line >"$temp/answer" 2>&1 || die "$line: $(tail -n 1 "$temp/answer")"
		cat "$temp/answer" >&"$to"
	done
	wait "$qemu" || true
	qemu=
	kill $watcher 2>/dev/null || true
	watcher=
	exec {to}>&- {from}>&-
	[[ -f $temp/console ]] || die "QEMU does not run: $(tail -n 1 "$temp/qemu.log")"
	tr -d '\r' <"$temp/console" >"$temp/said"
	sed -n 's/^.*guest: //p; /^work: /p' "$temp/said"
}

# What must not be on any console.
alarms='BUG|WARNING|Bad page|KCSAN|suspicious RCU|Oops|Kernel panic|Out of memory'

must_pass() {
	if grep -Eq "$alarms" "$temp/said" || ! grep -q '^guest: passed' "$temp/said"; then
		tail -n 60 "$temp/said" "$temp/qemu.log"
		grep -E "$alarms|guest: FAILED" "$temp/said" || true
		die "$test failed; what the guest said is above"
	fi
}

lost='^work: (.* )?[1-9][0-9]* bad words'

lost_data() {
	grep -Eq "$lost" "$temp/said"
}

# KiB as MB.
mb() {
	echo $((($1 + 512) / 1024))
}

# A guest that touches and frees; its row of the table, and what it gave back in $given.
row() { # NAME TITLE
	local before after ms

	private=1 boot 512 300 "FPT_TEST=$1"
	must_pass
	read -r before after ms < <(awk '
		NR == 1 { before = $2 }
		{ time[NR] = $1; kib[NR] = $2 }
		END {
			after = kib[NR]
			for (i = 1; kib[i] > before - (before - after) * 0.9; i++)
				;
			print before, after, time[i]
		}' "$temp/watched")
	given=$((before - after))
	rows+=$(printf '%-34s %8d %8d %8d %8d' "$2" "$(mb "$before")" "$(mb "$after")" \
		"$(mb "$given")" "$ms")$'\n'
}

if [[ $test == prepare ]]; then
	prepare
	exit
fi
[[ -f $build/accel ]] || skip "'run.sh $1 prepare' was not done"
case $test in
unit)	# In the kernel, preemptible everywhere as user space is: the tests' threads rely on it.
	# Each drain waits for a grace period.
	boot 512 300 FPT_TEST=unit preempt=full rcupdate.rcu_expedited=1
	must_pass
	;;
hint)	# Every tracker: residency, writers, unloading under load.
	boot 512 500 FPT_TEST=hint
	must_pass
	;;
mutant)	# A reporter that does not isolate: the writers must see it, or the kernel does and ends.
	# With xbitmap, nearly always right, it takes an allocation between a claim and its report.
	for tracker in bitmap xbitmap xbitmap; do
		enough=$lost boot 512 120 FPT_TEST=mutant FPT_TRACKER=$tracker
		lost_data && break
	done
	if ! lost_data && ! grep -E "$alarms" "$temp/said"; then
		tail -n 60 "$temp/said"
		die "nobody has seen that nothing was isolated"
	fi
	;;
pressure) # Hinting takes nothing that the guest needs.
	boot 512 300 FPT_TEST=pressure
	must_pass
	;;
host)	# One that never answers, and one that does not offer reporting.
	boot 512 300 FPT_TEST=silent
	must_pass
	reporting=off boot 256 300 FPT_TEST=refused
	must_pass
	;;
compare) # Upstream's reporting and fpt's, in the same kernel.
	rows=
	row upstream "upstream's free page reporting"
	upstream=$given
	row flush "fpt: insmod, one write to sysfs"
	printf '%-34s %8s %8s %8s %8s\n' "" "held" "freed" "given" "90 % of"
	printf '%-34s %8s %8s %8s %8s\n' "300 MB in a 512 MB guest" "MB" "MB" "back MB" "it, ms"
	printf '%s' "$rows"
	[[ $((given * 10)) -ge $((upstream * 9)) ]] ||
		die "fpt gives back less than nine tenths of what upstream's reporting does"
	;;
*)
	die "no test '$test'"
	;;
esac
echo "passed: $test, $vcpus vCPUs, Linux $release, $(<"$build/accel"), $SECONDS s"
