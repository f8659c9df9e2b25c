/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_PATTERN_SEARCH_H
#define BACKENDS_PATTERN_SEARCH_H
/*
 * pattern_search - an expression somewhere in a text, and its parentheses
 *
 *	^(.*)@(.*)\.example\.org$   in   jan@b7.example.org
 *	groups: [1] jan, [2] b7
 *
 * For tables of expressions that were written for other programs: not
 * anchored, bytes instead of characters, "$" is the end and "." is any byte,
 * as in POSIX extended expressions. Of alternatives the first one that leads
 * to a match counts, though, not the longest.
 *
 * Shapes   text: any bytes.
 * Errors   pattern_search_new(): NULL, err says what is wrong and where.
 *          PATTERN_GAVE_UP: as in pattern.h.
 * Owns     pattern_search_new() copies; groups are views of text.
 * Thread   one at a time per pattern.
 * Source   pcre2api(3).
 */
#include "backends/pattern.h"

#define PATTERN_GROUPS 10

struct pattern_search;

/* fold: ASCII letters match in either case. */
struct pattern_search *pattern_search_new(struct str expression, bool fold,
    struct err *err);
void pattern_search_free(struct pattern_search **p);

/* YES: groups[0] is what was found, [1] to [9] what the parentheses hold;
 * empty where they took no part. */
enum pattern_verdict pattern_search(const struct pattern_search *p,
    struct str text, struct str groups[PATTERN_GROUPS])
    __attribute__((warn_unused_result, nonnull));
#endif
