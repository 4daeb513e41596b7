#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# demo.sh FPT WORKLOAD TRACE...: the demo. Records this machine for a few seconds under WORKLOAD where that
# is permitted, and replays what it recorded and the shipped traces through every tracker.
set -eu
fpt=$1 workload=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

status=0
said=$("$fpt" record -o "$dir/this-machine.fpt" -- "$workload" 5 2>&1) || true
if [ -s "$dir/this-machine.fpt" ]; then
	echo "$said"
	set -- "$dir/this-machine.fpt" "$@"
else
	echo "This machine could not be recorded, so only shipped traces follow: $said"
fi
for trace; do
	echo
	"$fpt" info "$trace"
	echo
	"$fpt" compare "$trace" || status=$?
done
exit $status
