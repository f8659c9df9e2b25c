#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# run.sh [name ...] - build and run the fuzz targets (all, or those named)
#
# A target is tests/fuzz/fuzz_NAME.c; links.mk says which sources it tests, and
# proxy/base is there for all.  It begins with the seeds in corpus/NAME and
# runs FUZZ_SECONDS (20); what it learns and what it finds stays in
# $BUILD/fuzz.  Exits 1 when something does not build or something was found,
# but only after all targets had their turn.

cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS
CC=${FUZZ_CC:-clang}
seconds=${FUZZ_SECONDS:-20}
out=${BUILD:-build}/fuzz
flags="-std=c17 -D_GNU_SOURCE -I. -O1 -g -Wall -fno-omit-frame-pointer
	-fno-sanitize-recover=all"
libs=$(tests/libs.sh flags 2>/dev/null || echo -lcrypto)
failed=

# The sources that links.mk names for a target.
sources() {
	printf 'include tests/fuzz/links.mk\nall:\n\t@echo $(fuzz_%s)\n' "$1" |
	    make -s -f - all
}

build_base() {
	mkdir -p "$out/base" && rm -f "$out/base.a"
	printf '%s\n' proxy/base/*.c | xargs -P 2 -I{} sh -c \
	    '"$0" $1 -fsanitize=fuzzer-no-link,address,undefined -c \
	    -o "$2/base/$(basename "{}" .c).o" "{}"' "$CC" "$flags" "$out" ||
	    return 1
	ar rc "$out/base.a" "$out"/base/*.o
}

run_target() {
	bin=$out/fuzz_$1
	learnt=$out/corpus/$1
	set -- "$1" "tests/fuzz/corpus/$1" "tests/fuzz/$1.dict"
	mkdir -p "$learnt"
	# word splitting is meant: lists of flags and files
	$CC $flags -fsanitize=fuzzer,address,undefined -o "$bin" \
	    "tests/fuzz/fuzz_$1.c" $(sources "$1") "$out/base.a" $libs ||
	    return 1
	[ -d "$2" ] || set -- "$1" "" "$3"
	[ -f "$3" ] || set -- "$1" "$2" ""
	# enough for an input that takes a second, not for one that hangs
	"$bin" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
	    -max_len=8192 -print_final_stats=1 -verbosity=0 \
	    -artifact_prefix="$out/$1-" ${3:+-dict="$3"} \
	    "$learnt" ${2:+"$2"} >"$out/$1.log" 2>&1 && return 0
	tail -n 40 "$out/$1.log"
	return 1
}

[ $# -gt 0 ] || set -- $(ls tests/fuzz/fuzz_*.c |
    sed 's|.*/fuzz_\(.*\)\.c|\1|')
build_base || exit 1
for name; do
	if run_target "$name"; then
		printf '  ok      fuzz_%-24s %s inputs\n' "$name" "$(sed -n \
		    's/.*number_of_executed_units: *//p' "$out/$name.log")"
	else
		printf '  FAILED  fuzz_%s\n' "$name"
		failed=yes
	fi
done
[ -z "$failed" ]
