#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# run.sh [-j JOBS] [NAME...] - plant the mistakes of mutants.txt, one at a time; each must be found
#
# For each mutant the headers are copied, changed, and one test is compiled against them and must
# fail. The same tests, compiled against the headers as they are, must pass. An entry of mutants.txt:
#
#	== NAME: what is wrong
#	TEST: PATTERN		explore, lockstep, model, bitmap, bitmap-small, bitmap-model, delta, delta-model,
#				delta-user or percpu (below); which of its tests (bitmap, bitmap-small and percpu
#				always run all of theirs)
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

flags=(-std=gnu11 -D_GNU_SOURCE -O1 -w -DFPT_XBITMAP_CHUNK_BYTES=8)
declare -A source=([explore]=test_explore.c [lockstep]=test_trackers.c [model]=test_trackers.c
	[bitmap]=test_bitmap.c [bitmap-small]=test_bitmap.c [bitmap-model]=test_bitmap.c
	[delta]=test_delta.c [delta-model]=test_delta.c [delta-user]=test_delta.c [percpu]=test_percpu.c)
declare -A backend=([explore]=-DFPT_MODEL [lockstep]=-DFPT_VIRTUAL_CPUS [model]=-DFPT_MODEL
	[bitmap]=-DFPT_VIRTUAL_CPUS [bitmap-small]=-DFPT_VIRTUAL_CPUS [bitmap-model]=-DFPT_MODEL
	[delta]=-DFPT_VIRTUAL_CPUS [delta-model]=-DFPT_MODEL [delta-user]= [percpu]=)
# As in trackers.cmake.
declare -A sizes=([bitmap-small]="-DFPT_BITMAP_LEAF_BYTES=64 -DFPT_BITMAP_GRAIN_BYTES=8 -DFPT_BITMAP_ENTRIES=2u
	-DFPT_BITMAP_MAX_LEVELS=9u")
export FPT_TEST_SEEDS=${FPT_TEST_SEEDS:-4} FPT_TEST_STEPS=${FPT_TEST_STEPS:-600}

# build TEST HEADERS PROGRAM
build()
{
	"${CC:-cc}" "${flags[@]}" ${backend[$1]} ${sizes[$1]-} -I"$2" -I"$tests" \
		"$tests/${source[$1]}" -o "$3" -lcmocka
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

# The tests of these mutants.
mapfile -t needed < <(awk -v names=" ${names[*]} " '
	/^== / { sub(":$", "", $2); wanted = index(names, " " $2 " "); next }
	wanted { sub(":.*", ""); print; wanted = 0 }' "$here/mutants.txt" | sort -u)
for test in "${needed[@]}"; do
	(
		build $test "$here/../../include" "$work/$test" &&
			"$work/$test" >"$work/$test.log" 2>&1 && exit 0
		echo "$test fails without any mutant"
		cat "$work/$test.log"
		exit 1
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
