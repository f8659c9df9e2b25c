/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef IMAP_REPLY_H
#define IMAP_REPLY_H
/*
 * reply - one line of an IMAP server, taken apart
 *
 *	* OK [CAPABILITY IMAP4rev1 IDLE] ready
 *	| |   |          |               `- text
 *	| |   code       code_args
 *	| status
 *	kind (an untagged one; "a1" would be the tag)
 *
 * Only the line's frame is read. Data responses (CAPABILITY, ID, FETCH ...)
 * give their name, number and the rest as it stands.
 *
 * Shapes   in: all that has been received so far; the same bytes come again
 *          until reply_take() has said LINE and the caller consumed them.
 *          The line may end in CRLF or in a bare LF.
 * Units    bytes; max is the longest line including its end.
 * Errors   REPLY_BROKEN: not a line of an IMAP server, or NUL or CR in it.
 *          REPLY_TOO_LONG: max bytes and no end. Neither can be recovered.
 * Owns     nothing: the views of struct reply show parts of in.
 * Source   RFC 9051 and RFC 3501, 7 and 9.
 * Not here literals: has_literal says that the line goes on behind one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/str.h"

enum reply_verdict {
	REPLY_MORE = 0,
	REPLY_LINE,
	REPLY_BROKEN,
	REPLY_TOO_LONG,
};

enum reply_kind {
	REPLY_UNTAGGED = 0,
	REPLY_TAGGED,		/* status is OK, NO or BAD */
	REPLY_CONTINUE,		/* text is what stands behind "+ " */
};

enum reply_status {
	REPLY_DATA = 0,		/* not a status response */
	REPLY_OK,
	REPLY_NO,
	REPLY_BAD,
	REPLY_BYE,
	REPLY_PREAUTH,
};

struct reply {
	enum reply_kind kind;
	enum reply_status status;
	struct str line;	/* all of it, without its end */
	struct str tag;
	struct str code;	/* of a status response; empty: none */
	struct str code_args;
	struct str name;	/* data responses: "CAPABILITY", "EXISTS" */
	struct str text;	/* what is left */
	bool has_number;	/* "* 23 EXISTS" */
	uint32_t number;
	bool has_literal;	/* a data response that ends in {n} or ~{n} */
	uint64_t literal_bytes;
};

/* Looks for the first line in in. With LINE *r_out is filled in, and the line
 * and its end are the first *n_out bytes. */
enum reply_verdict reply_take(struct str in, size_t max, struct reply *r_out,
    size_t *n_out) __attribute__((warn_unused_result, nonnull));
#endif
