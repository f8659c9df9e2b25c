#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# all.sh - make test: everything that has to hold, twice
#
# The checks of the sources, then the unit and the end-to-end tests, on the
# usual build and on one with ASan+UBSan.  Goes on after a failure and counts.
# The last line is "N passed, N failed".

cd "$(dirname "$0")/.." || exit 1
jobs=$(nproc 2>/dev/null || echo 2)
passed=0 failed=0

step() {	# name, command: one that counts nothing itself
	name=$1; shift
	"$@" && return 0
	echo "FAILED: $name"
	failed=$((failed + 1))
	return 1
}

counted() {	# name, file of "PASSED FAILED", command
	name=$1 file=$2; shift 2
	rm -f "$file"
	"$@"
	rc=$?
	ok=0 bad=0
	[ -s "$file" ] && read -r ok bad <"$file"
	# it did not come so far as to count, or counted nothing
	[ "$rc" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
	[ $((ok + bad)) -eq 0 ] && bad=1
	[ "$bad" -eq 0 ] || echo "FAILED: $name"
	passed=$((passed + ok)) failed=$((failed + bad))
}

round() {	# build directory, make arguments
	dir=$1; shift
	begin=$(date +%s)
	echo "== $dir"
	step "build $dir" make --no-print-directory -j"$jobs" "$@" all \
	    unit-programs || return
	counted "unit tests of $dir" "$dir/unit.count" \
	    make --no-print-directory "$@" unit
	counted "end-to-end tests of $dir" "$dir/e2e.count" \
	    make --no-print-directory "$@" e2e
	echo "== $dir: $(($(date +%s) - begin)) s"
}

unset BUILD SANITIZE MAKEFLAGS MFLAGS
step "checks of the sources" make --no-print-directory check
round build
round build-asan SANITIZE=1
echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
