#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# run.sh - build and run the benchmarks (make bench); QUICK=1: in three minutes.
# Arguments go to run.py, whose --help names them.

set -e
cd "$(dirname "$0")/../.."
cc=${CC:-gcc}
# as make itself calls it: by another name it would not know what objects
# depend on
make() { command make -s BUILD="${BUILD:-build}" CC="$cc" "$@"; }
make all
build=$(realpath -m "${BUILD:-build}")
out=$build/bench
mkdir -p "$out"
for program in floor imapload fakebackend; do
	"$cc" -O2 -g -Wall -Wextra -o "$out/$program" \
	    "tests/bench/$program.c" -lssl -lcrypto -lpthread
done

objects=$(make objects)
ln -sfn ../modules "$out/modules"	# found beside the program
for source in tests/bench/bench_*.c; do
	program=$out/$(basename "$source" .c)
	"$cc" -std=c17 -D_GNU_SOURCE -I. -O2 -g -Wl,--export-dynamic \
	    -o "$program" "$source" \
	    $objects $(tests/libs.sh flags)
	[ $# -gt 0 ] && continue
	case $program in
	*/bench_sources) /usr/bin/python3 tests/bench/sources.py "$program" ;;
	*) QUICK=${QUICK:-0} "$program" ;;
	esac
done
quick=
[ "${QUICK:-0}" = 0 ] || quick=--quick
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
exec /usr/bin/python3 tests/bench/run.py --programs "$out" \
    --mailweir "$build/mailweir" --out "$out" $quick "$@"
