#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# cli_record.sh FPT - fpt record as its user meets it: what it writes, refuses, and leaves behind
#
# Runs in a mount namespace of its own, so that tracefs can be absent or present as a test needs it.
# Exit status 77: what needs root was skipped; the rest has passed.
set -uo pipefail

self=$(readlink -f "$0")
# shellcheck source=tests/cli.sh
. "$(dirname "$0")/cli.sh"
command=record

# As run, but not as root; the command must be within reach of anybody.
run_as_nobody() {
	setpriv --reuid 65534 --regid 65534 --clear-groups ./fpt "$@" >out 2>err
	status=$?
}

usage_error() { # WHAT ARGUMENT...
	local what=$1

	shift
	run record -o never.fpt "$@"
	check "$what: status" status_is 2
	check "$what: one line" one_line ''
	check "$what: nothing written" absent never.fpt
}

usage_error "unknown option" --no-such-option
usage_error "-d without a number" -d soon
usage_error "-d with rubbish behind" -d 1x
usage_error "-d 0" -d 0
usage_error "negative -d" -d -3
usage_error "-d nan" -d nan
usage_error "-d inf" -d inf
usage_error "empty -d" -d ''
usage_error "-d and a command" -d 1 -- true
usage_error "-b with rubbish" -b many
usage_error "negative -b" -b -8
usage_error "-b 0" -b 0

run record --help
check "help: status" status_is 0
check "help: on standard output" grep -q COMMAND out

run record -o no/such/folder/x.fpt -d 1
check "no such folder: status" status_is 1
check "no such folder: one line" one_line 'no/such/folder'
run record -o . -d 1
check "output is a folder: status" status_is 1
check "output is a folder: one line" one_line 'cannot write \.'

[[ $(id -u) == 0 ]] || {
	run record -o never.fpt -d 1
	check "not root: status" status_is 1
	check "not root: one line" one_line 'root'
	check "not root: nothing written" absent never.fpt
	finish "not root"
}

# The rest needs a mount namespace: start again in one.
if [[ ! ${FPT_TEST_IN_NAMESPACE-} ]]; then
	unshare -m true 2>/dev/null || finish "no permission for a mount namespace"
	((failed == 0)) || finish
	FPT_TEST_IN_NAMESPACE=1 unshare -m bash "$self" "$fpt"
	exit
fi
for dir in $(awk '$3 == "tracefs" { print $2 }' /proc/mounts); do
	umount -l "$dir"
done
tracefs=/sys/kernel/tracing
mount -t tracefs tracefs $tracefs 2>/dev/null || finish "tracefs cannot be mounted"
[[ -d $tracefs/events/kmem/mm_page_alloc ]] || finish "the kernel has no page events"
[[ -r /proc/kpageflags ]] || finish "the kernel has no /proc/kpageflags"

mounted() { grep -q " $tracefs tracefs " /proc/mounts; }
not() { ! "$@"; }

# What the rest of the machine sees of ftrace.
top_settings() {
	(cd $tracefs && head -n 99 tracing_on current_tracer trace_clock buffer_size_kb set_event \
		trace_options tracing_cpumask events/kmem/enable)
}

# Other recorders may be at work on this machine: only those that are dead must have left nothing.
nothing_left() {
	local instance pid

	for instance in "$tracefs"/instances/fpt-*; do
		[[ -d $instance ]] || continue
		pid=${instance##*/fpt-}
		[[ -d /proc/${pid%%-*} ]] || { echo "$instance is left"; return 1; }
	done
}

number() { # FILE KEY: from fpt info --json
	"$fpt" info --json "$1" | tr -d ' \n' | grep -oE "\"$2\":[0-9.]+" | head -n 1 | cut -d: -f2
}
above() { [[ ${1:-0} -gt $2 ]] || { echo "$1 is not above $2"; return 1; }; }
has_snapshot() { "$fpt" info --json "$1" | tr -d ' \n' | grep -q '"snapshot":{'; }

top_settings >settings.before

run record -o one.fpt -d 1
check "1 s: status" status_is 0
check "1 s: one closing line" one_line 'events in [1-9]'
check "1 s: events" above "$(number one.fpt events)" 0
check "1 s: snapshot" has_snapshot one.fpt
check "1 s: nothing left" nothing_left
check "1 s: tracefs was mounted before and stays" mounted

run record -d 0.2
check "default name" test -s fpt.trace
run record -o /dev/null -d 0.2
check "output is a device: status" status_is 0
check "output is a device: still there" test -c /dev/null

run record -o none.fpt -d 0.2 --no-snapshot --source 'what "it" is' -b 64
check "--no-snapshot: status" status_is 0
check "--no-snapshot" not has_snapshot none.fpt
check "--source" grep -q 'what \\"it\\" is' <("$fpt" info --json none.fpt)

# More events than the machine makes by itself, and small pages whatever it likes: processes.
storm='for i in $(seq 200); do /bin/true; done'
run record -o command.fpt -- bash -c "$storm"
check "command: status" status_is 0
check "command: events" above "$(number command.fpt events)" 1000
check "command: snapshot" has_snapshot command.fpt
run record -o status.fpt -- sh -c 'exit 7' --option-of-its-own
check "command that fails: status" status_is 7
check "command that fails: said so" grep -q '^fpt record: sh ended with status 7' err
check "command that fails: saved" test -s status.fpt
run record -o killed.fpt -- sh -c 'kill -KILL $$'
check "command that is killed: status" status_is 137
check "command that is killed: saved" test -s killed.fpt
run record -o never.fpt -- ./no-such-command
check "no such command: status" status_is 1
check "no such command: one line" one_line 'no-such-command'
check "no such command: nothing written" absent never.fpt
check "commands: nothing left" nothing_left

# A map of the pages that says that none is free.
if mount --bind /dev/zero /proc/kpageflags; then
	run record -o never.fpt -d 0.2
	check "snapshot in doubt at the start: status" status_is 1
	check "snapshot in doubt at the start: one line" one_line '--no-snapshot'
	check "snapshot in doubt at the start: nothing written" absent never.fpt
	check "snapshot in doubt at the start: nothing left" nothing_left
	umount /proc/kpageflags
	run record -o doubt.fpt -- mount --bind /dev/zero /proc/kpageflags
	check "snapshot in doubt at the end: status" status_is 0
	check "snapshot in doubt at the end: saved without" not has_snapshot doubt.fpt
	check "snapshot in doubt at the end: said so" grep -q 'no snapshot in the trace' err
	umount /proc/kpageflags
fi

run record -o lost.fpt -b 16 -- bash -c "kill -STOP \$PPID; $storm; kill -CONT \$PPID"
check "events lost: status" status_is 0
check "events lost: counted" above "$(number lost.fpt lost)" 1000
check "events lost: said so" grep -q 'lost (-b' err

instance_of() { echo $tracefs/instances/fpt-"$1"-*; }

# Runs fpt in the background, as $pid, until it records.
start() {
	"$fpt" "$@" 2>err &
	pid=$!
	for ((i = 0; i < 200; i++)); do
		[[ $(cat "$(instance_of $pid)/tracing_on" 2>&1) != 1 ]] || return
		sleep 0.1
	done
}

end_by() { # SIGNAL
	kill -"$1" $pid
	wait $pid 2>/dev/null
	status=$?
}

for signal in INT TERM HUP; do
	start record -o $signal.fpt -d 60
	end_by $signal
	check "SIG$signal: status" status_is 0
	check "SIG$signal: saved" has_snapshot $signal.fpt
	check "SIG$signal: nothing left" nothing_left
done
trap '' HUP
start record -o nohup.fpt -d 1
end_by HUP
trap - HUP
check "nohup: goes on" grep -q 'events in [1-9]' err

start record -o interrupted.fpt -- sleep 60
end_by INT
check "SIGINT with a command: status" status_is 0
check "SIGINT with a command: saved" test -s interrupted.fpt

start record -o never.fpt -d 60
check "recording: has an instance" test -d "$(instance_of $pid)"
"$fpt" info one.fpt >out 2>&1
check "a living recorder's instance is left alone" test -d "$(instance_of $pid)"
end_by KILL
check "SIGKILL: the instance stays" test -d "$(instance_of $pid)"
"$fpt" info one.fpt >out 2>&1
check "SIGKILL: the next fpt removes it" absent "$(instance_of $pid)"
check "SIGKILL: nothing written" absent never.fpt

cp "$fpt" ./fpt
mkdir -m 777 theirs
run_as_nobody record -o theirs/never.fpt -d 1
check "as nobody: status" status_is 1
check "as nobody: one line" one_line 'root'
check "as nobody: nothing written" absent theirs/never.fpt

mkdir small
if mount -t tmpfs -o size=16k tmpfs small; then
	echo kept >small/full.fpt
	dd if=/dev/zero of=small/filler bs=4k count=2 status=none
	run record -o small/full.fpt -- bash -c "$storm"
	check "full disk: status" status_is 1
	check "full disk: the old file stays" grep -q kept small/full.fpt
	check "full disk: nothing else there" test "$(find small -type f | wc -l)" = 2
	mount -o remount,ro small
	run record -o small/new.fpt -d 30
	check "read-only: status" status_is 1
	check "read-only: one line" one_line 'small/new.fpt'
	umount small
fi

top_settings >settings.after
check "settings of the rest of the machine" cmp settings.before settings.after

# Without tracefs it is mounted for as long as it takes, and unmounted also after a SIGKILL.
umount $tracefs
run record -o mounts.fpt -d 0.2
check "tracefs not mounted: status" status_is 0
check "tracefs not mounted: unmounted again" not mounted
start record -o never.fpt -d 60
end_by KILL
check "SIGKILL with tracefs mounted for it: stays mounted" mounted
"$fpt" info one.fpt >out 2>&1
check "SIGKILL: the next fpt unmounts it" not mounted
run_as_nobody record -o theirs/never.fpt -d 1
check "as nobody, tracefs not mounted: status" status_is 1
check "as nobody, tracefs not mounted: one line" one_line 'root'

finish
