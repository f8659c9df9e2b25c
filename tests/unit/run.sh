#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# run.sh - run unit test programs one after the other and count
#
# Prints one line per program and the whole output of one that failed.  Writes
# "PASSED FAILED" to $RESULTS; a program that crashed or hung counts as one
# failed test.  $WRAP stands before each program (valgrind).

passed=0 failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for bin; do
	start=$(date +%s)
	timeout -k 5 "${UNIT_TIMEOUT:-120}" $WRAP "$bin" >"$out" 2>&1
	rc=$?
	ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s).*/\1/p' "$out" |
	    awk '{ n += $1 } END { print n + 0 }')
	bad=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p' "$out" |
	    awk '{ n += $1 } END { print n + 0 }')
	[ "$rc" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
	passed=$((passed + ok)) failed=$((failed + bad))
	if [ "$bad" -eq 0 ]; then
		printf '  ok      %-28s %3d tests %2d s\n' "$(basename "$bin")" \
		    "$ok" $(($(date +%s) - start))
		continue
	fi
	printf '  FAILED  %-28s %3d of %d, exit %d\n' "$(basename "$bin")" \
	    "$bad" $((ok + bad)) "$rc"
	sed 's/^/          | /' "$out"
done
[ -n "$RESULTS" ] && echo "$passed $failed" >"$RESULTS"
echo "unit: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
