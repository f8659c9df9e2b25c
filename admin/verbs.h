/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_VERBS_H
#define ADMIN_VERBS_H
/*
 * verbs - what an operator can ask and order: a row and a function each
 *
 * The rows are verbs.def. A function gets its call (call.h) with arguments
 * that fit its row, answers, and ends the call at once or later.
 *
 * Shapes   verbs and titles of backends are compared as whole words, users in
 *          canonical form.
 * Thread   control's.
 * Not here where a request comes from and its answer goes: console, HTTP.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

struct call;

typedef void verb_fn(struct call *c);

struct verb {
	const char *word, *takes, *help;
	verb_fn *run;
	bool changes;
};

/* All, in the order of verbs.def; ends with a NULL word. */
extern const struct verb verbs[];

/* By its whole word; NULL when there is none. */
const struct verb *verb_find(struct str word);

/* The verb that may have been meant; empty: nobody knows. */
struct str verb_nearest(struct str word);

#define VERB(word, takes, changes, help) verb_fn verb_##word;
#include "admin/verbs.def"
#endif
