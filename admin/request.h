/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_REQUEST_H
#define ADMIN_REQUEST_H
/*
 * request - a line of the console: a verb, and its arguments by name
 *
 *	sessions --backend mail1 --limit 20
 *	kick "jan \"J\" smit@example.org"
 *
 *	request = verb *( SP word )
 *	word    = 1*bare / DQUOTE *( plain / "\" DQUOTE / "\\" ) DQUOTE
 *
 * What a verb takes is written in verbs.def, for people and for
 * request_match() alike:
 *
 *	USER ADDRESS [LISTENER]                 in this order
 *	[USER | --backend NAME] [--limit N]     at most one of the first two
 *	USER | --session ID | --backend NAME    exactly one
 *	BACKEND [--watch]                       an option without a value
 *
 * Names, options and verbs are whole words: nothing is guessed from its
 * beginning. A word in quotes is never an option. --json belongs to every
 * verb.
 *
 * Shapes   words are UTF-8 without control characters, as user names are.
 * Errors   false with err: what is wrong and what was expected.
 * Owns     the words lie in the request; it must not be moved or copied.
 * Thread   any.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/str.h"

#define REQUEST_LINE_MAX   4096		/* bytes, without its end */
#define REQUEST_WORDS_MAX  32
#define REQUEST_VALUES_MAX 16		/* of a verb in verbs.def */

struct buf;
struct err;

struct request {
	struct str verb;
	bool wants_json;
	struct {
		struct str text;
		bool is_quoted;
	} words[REQUEST_WORDS_MAX];	/* behind the verb */
	unsigned n_words;
	struct {
		struct str name;	/* "USER", "--backend" */
		struct str value;	/* empty for --watch */
	} values[REQUEST_VALUES_MAX];	/* that were given */
	unsigned n_values;
	char text[REQUEST_LINE_MAX];
};

/* Finds the words; the verb may be any, or empty. */
bool request_parse(struct request *r, struct str line, struct err *err)
    __attribute__((warn_unused_result));

/* Finds what each word is for, by the verb's row. */
bool request_match(struct request *r, const char *takes, struct err *err)
    __attribute__((warn_unused_result));

bool request_has(const struct request *r, const char *name);

/* Empty when it was not given. */
struct str request_value(const struct request *r, const char *name);

/* Of a value that was given. min and max are told in err. */
bool request_number(const struct request *r, const char *name, uint64_t min,
    uint64_t max, uint64_t *out, struct err *err)
    __attribute__((warn_unused_result));

/* As in proxy.conf: 0 500ms 30s 5m 2h 1d, of a day at most. */
bool request_duration(const struct request *r, const char *name,
    uint64_t *ms_out, struct err *err) __attribute__((warn_unused_result));

/* Appends the word, in quotes where they are needed: request_parse() reads
 * the same again. */
void request_quote(struct buf *out, struct str word);

/* The verb or backend that somebody may have meant by word: a or b, the
 * nearer one; neither when word is near to none. "" is no candidate. */
struct str request_nearer(struct str word, struct str a, struct str b);
#endif
