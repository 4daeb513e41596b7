#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# coverage.sh BUILD - which lines and branches of the headers the fast tests reach
#
# BUILD is configured with FPT_COVERAGE and built. Runs the tests of trackers that have one thread
# and take no exploration, and a few small explorations for what only a race reaches. Prints gcovr's
# tables. Fails when fewer than 95 % of the lines were reached, and when a line that was not is not
# explained in coverage.txt, or an explanation is of no line any more.
#
# Every test program has its own copy of the headers' functions: lines are merged by number. gcovr 5
# stumbles over functions that a backend defines twice, so they are left out. With
# -fkeep-inline-functions a function that no test calls counts, too.
#
# Branches are reported only: assertions, and macros that differ by backend, make too many.
set -euo pipefail
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
least=95
# More of the same, and longer than all others together.
slow='^trackers/FPT_MODEL/(64|4096)|^trackers/.*/4096|^delta/(user|no-rseq)'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in gcovr jq; do
	command -v $tool >/dev/null || { echo "$tool is missing (Debian: $tool)"; exit 1; }
done
find "$build" -name '*.gcda' -delete
export FPT_TEST_SEEDS=${FPT_TEST_SEEDS:-2}

ctest --test-dir "$build" -j"$(nproc)" --output-on-failure --no-tests=error \
	-L trackers -E "(^|/)(explore|model|threads)|dispatch|$slow" >"$work/log" ||
	{ cat "$work/log"; exit 1; }
while IFS=: read -r program pattern; do
	"$build/tests/$program" "$pattern" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
	grep -q 'PASSED.* [1-9][0-9]* test' "$work/log" ||
		{ echo "$program has no test '$pattern'"; exit 1; }
done <<'RACES'
test_explore:array: eight attempts
test_explore:array: extension, two drains
test_explore:chunk returned
test_explore:last chunk
test_explore:two reporters
test_explore:prune two levels
test_explore:complete, pass, touch
test_explore:test_freeze_lockmap
test_bitmap-model:last room
test_bitmap-model:one new leaf
test_bitmap-model:two drains
test_delta-model:free, fold
test_delta-model:interrupted
test_delta-model:two folds at once
test_delta-model:slow, use, pass
RACES

# One program at a time.
all=()
find "$build" -name '*.gcda' -printf '%h\n' | sort -u >"$work/objects"
while read -r objects; do
	part=$work/${#all[@]}.json
	gcovr "$objects" --root "$root" --filter "$root/include/fpt/" \
		--exclude-branches-by-pattern '.*FPT_ASSERT.*' --json 2>"$work/log" |
		jq '.files[].functions = []' >"$part" ||
		{ cat "$work/log"; exit 1; }
	all+=(-a "$part")
done <"$work/objects"
gcovr --root "$root" "${all[@]}" --txt --branches | sed '/^Branch/d'
gcovr --root "$root" "${all[@]}" --txt --json "$work/merged.json"

# What was not reached, as in coverage.txt: file, function, text of the line.
jq -r '.files[] | .file as $f | .lines[] | select(.count == 0 and (."gcovr/noncode" | not)) |
	"\($f)\t\(.line_number)"' "$work/merged.json" | sort -k1,1 -k2,2n >"$work/missed"
named()	# FILE: each line, with the function that it is in
{
	awk '
		/^[a-z].*\(/ { f = $0; sub(/\(.*/, "", f); sub(/.*[ *]/, "", f) }
		{ text = $0; gsub(/^[ \t]+|[ \t]+$/, "", text); print FNR "\t" f ": " text }
		/^}/ { f = "" }' "$1"
}
while IFS=$'\t' read -r file line; do
	printf '%s: ' "${file#include/fpt/}"
	named "$root/$file" | sed -n "${line}s/^[0-9]*\t//p"
done <"$work/missed" | sort -u >"$work/unreached"

# coverage.txt has such lines; its head says how.
bad=0
grep -v -e '^#' -e '^$' -e '^	' "$here/coverage.txt" | sort >"$work/explained"
while IFS= read -r line; do
	header=${line%%: *} rest=${line#*: }
	grep -qxF -e "$line" -e "$header: ${rest%%: *}: *" "$work/explained" || {
		echo "not reached and not explained: $line"
		bad=1
	}
done <"$work/unreached"
while IFS= read -r line; do
	header=${line%%: *} rest=${line#*: }
	named "$root/include/fpt/$header" | cut -f2- >"$work/lines"
	case $rest in
	all) [ -s "$work/lines" ] ;;
	*': *') grep -qF -e "${rest%\*}" "$work/lines" ;;
	*) grep -qxF -e "$rest" "$work/lines" ;;
	esac || {
		echo "explained, but there is no such line: $line"
		bad=1
	}
done <"$work/explained"
# A header that no program includes has no numbers.
while read -r file; do
	jq -e --arg f "$file" 'any(.files[]; .file == $f)' "$work/merged.json" >/dev/null ||
		grep -qxF "${file#include/fpt/}: all" "$work/explained" || {
			echo "no test includes $file"
			bad=1
		}
done < <(cd "$root" && find include/fpt -name '*.h' | sort)
percent=$(jq '[.files[].lines[] | select(."gcovr/noncode" | not)] |
	100 * (map(select(.count > 0)) | length) / length' "$work/merged.json")
echo "lines of include/fpt reached: ${percent:0:5} %, at least $least wanted"
[ "${percent%.*}" -ge $least ] && [ $bad -eq 0 ]
