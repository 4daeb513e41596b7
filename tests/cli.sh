# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# cli.sh - what the tests of the command share; sourced with FPT in $1, in a new folder of its own

fpt=$(readlink -f "${1:?usage: $0 FPT}")
temp=$(mktemp -d)
chmod 755 "$temp"
trap 'rm -rf "$temp"' EXIT
cd "$temp" || exit 1
failed=0 passed=0

check() { # WHAT COMMAND...
	local what=$1

	shift
	if "$@" >check.log 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $what: $*"
		sed 's/^/    /' check.log
		[[ ! -f err ]] || sed 's/^/    stderr: /' err
	fi
}

# Runs fpt; its output in out and err, its exit status in $status.
run() {
	"$fpt" "$@" >out 2>err
	status=$?
}

status_is() { [[ $status == "$1" ]] || { echo "status $status"; return 1; }; }
one_line() { [[ $(wc -l <err) == 1 ]] && grep -q "^fpt $command: .*$1" err; }
silent() { [[ ! -s err ]]; }
absent() { [[ ! -e $1 ]]; }
unchanged() { [[ $(cat "$1") == precious ]]; }
no_leftovers() { [[ -z $(find . -name '.fpt-*') ]]; }

# $command ARGUMENT... must fail with STATUS and one line that holds PATTERN, and change nothing.
refused() { # WHAT STATUS PATTERN ARGUMENT...
	local what=$1 expected=$2 pattern=$3

	shift 3
	run "$command" "$@"
	check "$what: status" status_is "$expected"
	check "$what: one line" one_line "$pattern"
	check "$what: nothing left behind" no_leftovers
}

finish() { # [REASON-WHY-THE-REST-WAS-SKIPPED]
	if ((failed)); then
		echo "$passed passed, $failed failed"
		exit 1
	fi
	echo "$passed passed, 0 failed"
	[[ ! ${1-} ]] || { echo "skipped the rest: $1"; exit 77; }
	exit 0
}
