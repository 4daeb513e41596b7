#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# run.sh [-j JOBS] [NAME...] - plant the mistakes of mutants.txt, one at a time; each must be found
#
# For each mutant the headers are copied, changed, and one test is compiled against them and must
# fail. The same tests, compiled against the headers as they are, must pass. An entry of mutants.txt:
#
#	== NAME: what is wrong
#	TEST: PATTERN		a test, see below; which of its tests
#	in HEADER
#	text, to be found exactly once
#	becomes
#	other text		and more of "in", if one place is not enough
#
# CC is the compiler. Exit status 0: all were found.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tests=$here/..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What an entry's TEST is: a source, and how it is compiled.
flags=(-std=gnu11 -O1 -w -D_GNU_SOURCE -DFPT_XBITMAP_CHUNK_BYTES=8)
declare -A source how
a_test() # NAME SOURCE FLAGS...
{
	source[$1]=$2 how[$1]="${*:3}"
}
a_test explore test_explore.c -DFPT_MODEL
a_test lockstep test_trackers.c -DFPT_VIRTUAL_CPUS
a_test model test_trackers.c -DFPT_MODEL
a_test report test_report.c -DFPT_VIRTUAL_CPUS
a_test ticket test_ticket.c -DFPT_VIRTUAL_CPUS
a_test ticket-model test_ticket.c -DFPT_MODEL
a_test switch test_switch.c -DFPT_VIRTUAL_CPUS
a_test switch-rcu test_switch.c -DFPT_VIRTUAL_CPUS -DFPT_RCU -lurcu-bp
a_test switch-model test_switch.c -DFPT_MODEL
a_test hotplug test_hotplug.c -DFPT_VIRTUAL_CPUS
a_test hotplug-model test_hotplug.c -DFPT_MODEL
a_test hotplug-model-no-rcu test_hotplug.c -DFPT_MODEL -DFPT_MODEL_NO_RCU
a_test bitmap test_bitmap.c -DFPT_VIRTUAL_CPUS
a_test bitmap-small test_bitmap.c -DFPT_VIRTUAL_CPUS -DFPT_BITMAP_LEAF_BYTES=64 \
	-DFPT_BITMAP_GRAIN_BYTES=8 -DFPT_BITMAP_ENTRIES=2u -DFPT_BITMAP_MAX_LEVELS=9u
a_test bitmap-threads test_bitmap.c
a_test array2019 test_array2019.c -DFPT_VIRTUAL_CPUS
a_test array2019-model test_array2019.c -DFPT_MODEL
a_test delta test_delta.c -DFPT_VIRTUAL_CPUS
a_test delta-model test_delta.c -DFPT_MODEL
a_test delta-user test_delta.c
a_test percpu test_percpu.c
a_test bitmap-model test_bitmap.c -DFPT_MODEL
a_test lines test_lines.c -DFPT_MODEL
export FPT_TEST_SEEDS=${FPT_TEST_SEEDS:-4} FPT_TEST_STEPS=${FPT_TEST_STEPS:-600}

# build TEST HEADERS PROGRAM
build()
{
	# shellcheck disable=SC2086	# several flags
	"${CC:-cc}" "${flags[@]}" -I"$2" -I"$tests" "$tests/${source[$1]}" -o "$3" \
		-lcmocka -pthread ${how[$1]}
}

# replace FILE OLD NEW: 1 when OLD is not there exactly once
replace()
{
	local text rest
	text=$(cat "$1"; echo x)
	text=${text%x}
	rest=${text#*"$2"}
	[ "$rest" != "$text" ] && [ "${rest#*"$2"}" = "$rest" ] || return 1
	printf '%s' "${text%%"$2"*}$3$rest" >"$1"
}

# mutant NAME: prints one line, and returns 0 when the mistake was found
mutant()
{
	local name=$1 dir=$work/$1 line part= header= old= new= test= pattern= inside=false status
	mkdir -p "$dir"
	cp -r "$here/../../include" "$dir/"
	plant()
	{
		[ -z "$header" ] && return
		replace "$dir/include/fpt/$header" "${old%$'\n'}" "${new%$'\n'}" && return
		echo "BROKEN     $name: $header does not have this exactly once:"
		echo "$old"
		exit 1
	}
	while IFS= read -r line; do
		case $line in
		"== $name" | "== $name:"*) inside=true; continue ;;
		"== "*) $inside && break; continue ;;
		esac
		$inside || continue
		case $line in
		"in "*) plant; header=${line#in }; old= new= part=old ;;
		becomes) part=new ;;
		*)
			case $part in
			old) old+=$line$'\n' ;;
			new) new+=$line$'\n' ;;
			*) test=${line%%: *}; pattern=${line#*: } ;;
			esac
		esac
	done < <(sed 's/^$/\x01/' "$here/mutants.txt" | sed -z 's/\n\x01\n==/\n==/g; s/\x01//g')
	$inside || { echo "BROKEN     $name: no such mutant"; return 1; }
	plant
	build "$test" "$dir/include" "$dir/test" 2>"$dir/log" ||
		{ echo "BROKEN     $name: does not compile"; cat "$dir/log"; return 1; }
	{ timeout 60 "$dir/test" "$pattern" >"$dir/log" 2>&1; } 2>/dev/null
	status=$?
	if [ $status -eq 124 ]; then
		echo "TIMEOUT    $name: $test, $pattern"
		return 1
	elif [ $status -eq 0 ]; then
		echo "NOT FOUND  $name: $test, $pattern"
		return 1
	fi
	line=$(grep -a -m1 -e ' step [0-9]*: ' -e '(run [0-9]*)' -e LINE -e Assertion "$dir/log")
	echo "found      $name: ${line:-exit status $status}" | sed 's|: /[^ ]*/| |'
	rm -rf "$dir"
}

jobs=2
[ "${1-}" = -j ] && { jobs=$2; shift 2; }
names=("$@")
[ $# -gt 0 ] || mapfile -t names < <(sed -n 's/^== \([^:]*\).*/\1/p' "$here/mutants.txt")

# Without any mutant: the tests and patterns that these are for.
mapfile -t used < <(for name in "${names[@]}"; do
	sed -n "/^== $name\\(:.*\\)\\?$/{n;p}" "$here/mutants.txt"
done | sort -u)
for test in $(printf '%s\n' "${used[@]%%: *}" | sort -u); do
	(
		build "$test" "$here/../../include" "$work/$test" || exit 1
		for pattern in "${used[@]}"; do
			[ "${pattern%%: *}" = "$test" ] || continue
			"$work/$test" "${pattern#*: }" >"$work/$test.log" 2>&1 && continue
			echo "$test fails without any mutant"
			cat "$work/$test.log"
			exit 1
		done
	) &
	pids+=($!)
done
for pid in "${pids[@]}"; do
	wait "$pid" || exit 1
done

bad=0 running=0
for name in "${names[@]}"; do
	if [ $running -ge "$jobs" ]; then
		wait -n || bad=$((bad + 1))
		running=$((running - 1))
	fi
	(mutant "$name") &
	running=$((running + 1))
done
while [ $running -gt 0 ]; do
	wait -n || bad=$((bad + 1))
	running=$((running - 1))
done
echo "${#names[@]} mutants, $bad not found"
[ $bad -eq 0 ]
