/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_PATTERN_H
#define BACKENDS_PATTERN_H
/*
 * pattern - globs and regular expressions of the configuration
 *
 *	"*@example.org"         a glob: * is any run of bytes, none included,
 *	                        ? is one byte; there is no escape
 *	"~(jan|eva)@.*\.org"    after ~ a Perl-compatible expression (PCRE2)
 *
 * Both must match the whole text, as if between \A( and )\z.
 *
 * Shapes   text: any bytes. An expression sees UTF-8 characters where the
 *          text is well-formed, and does not match where it is not.
 * Errors   pattern_new(): NULL, err says what is wrong and where in the
 *          pattern. pattern_match(): an expression that backtracks beyond
 *          PATTERN_STEPS_MAX gives up: a peer chooses the text and must not
 *          be able to stop the loop with it.
 * Owns     pattern_new() copies; pattern_free() frees.
 * Thread   one at a time per pattern.
 * Source   pcre2api(3), whose header is included by pattern.c alone. Its JIT
 *          is not used: it wants memory that is writable and executable.
 */
#include <stdbool.h>

#include "proxy/base/str.h"

#define PATTERN_STEPS_MAX 50000

struct err;
struct pattern;

enum pattern_verdict {
	PATTERN_NO,
	PATTERN_YES,
	PATTERN_GAVE_UP,
};

/* fold: ASCII letters (an expression: all letters) match in either case. */
struct pattern *pattern_new(const char *text, bool fold, struct err *err)
    __attribute__((nonnull(1)));
void pattern_free(struct pattern **p);

enum pattern_verdict pattern_match(const struct pattern *p, struct str text)
    __attribute__((warn_unused_result, nonnull));
#endif
