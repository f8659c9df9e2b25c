#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# run.sh - build and run the benchmarks (make bench)

set -e
build=${BUILD:-build}
cc=${CC:-gcc}
make -s BUILD="$build" CC="$cc" all
objects=$(find "$build/proxy" "$build/backends" "$build/admin" -name '*.o' \
    ! -path '*/proxy/main.o' ! -name weirctl.o)
mkdir -p "$build/tests/bench"
for source in tests/bench/bench_*.c; do
	program=$build/${source%.c}
	"$cc" -std=c17 -D_GNU_SOURCE -I. -O2 -g -o "$program" "$source" \
	    $objects $(tests/libs.sh flags)
	"$program"
done
