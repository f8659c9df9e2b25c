/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef IMAP_COMMAND_H
#define IMAP_COMMAND_H
/*
 * command - gathers one whole client command, literals and all
 *
 *	a1 LOGIN {3} CRLF  jan  SP {6+} CRLF  secret  CRLF
 *
 * Each byte is looked at once, however the stream is split: what came is
 * moved out of in and the place is remembered.
 *
 * Shapes   a line ends with CRLF or a bare LF. "{n}" or "{n+}" at the end of
 *          a line, behind a space or a parenthesis and not within quotes,
 *          announces a literal.
 * Units    bytes. line_max bounds the lines of a command together, their
 *          ends and the "{n}" included; literal_max all its literals.
 * Errors   see the verdicts. Behind TOO_LONG and TOO_BIG the stream cannot
 *          be followed any more.
 * Owns     the text; wiped by command_reset() and command_fini().
 * Thread   any, one at a time.
 * Source   RFC 9051 2.2.1 and section 9; RFC 7888.
 * Not here what the words mean: lex.h.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/buf.h"
#include "proxy/imap/lex.h"

#define COMMAND_LITERALS_MAX 64 /* in one command */

enum command_mode {
	COMMAND_WHOLE,		/* a command */
	COMMAND_LINE,		/* one line, with nothing special in it */
};

enum command_verdict {
	COMMAND_MORE,		/* ate all there was */
	COMMAND_DONE,		/* whole; what is behind it is still in in */
	COMMAND_LITERAL,	/* a synchronising literal is announced: say "+"
				 * and command_proceed(), or command_reset() */
	COMMAND_LITERAL_TOO_BIG,/* the same, over a limit: command_reset() */
	COMMAND_TOO_LONG,	/* a line over its limit */
	COMMAND_TOO_BIG,	/* a non-synchronising literal over a limit */
};

enum command_place {
	COMMAND_IN_LINE,
	COMMAND_IN_QUOTES,
	COMMAND_IN_ESCAPE,	/* behind a backslash in quotes */
	COMMAND_IN_LITERAL,
	COMMAND_AT_LITERAL,	/* announced, and not yet wanted */
	COMMAND_AT_END,
};

struct command {
	struct buf text;
	size_t line_max, literal_max;
	size_t n_line, n_literal;	/* bytes of each kind so far */
	size_t literal_left;
	size_t line_at;			/* where this line begins in text */
	unsigned n_literals;
	enum command_place place;
};

void command_init(struct command *c, size_t line_max, size_t literal_max);
void command_fini(struct command *c);

/* Moves bytes from in to the command. After DONE and the LITERAL verdicts it
 * must not be called before the functions that they name. */
enum command_verdict command_feed(struct command *c, enum command_mode mode,
    struct buf *in) __attribute__((warn_unused_result));

/* Goes on with the literal that was announced. */
void command_proceed(struct command *c);

/* Forgets and wipes the text, for the next command. */
void command_reset(struct command *c);

/* What there is so far, without the line end it may end in. */
struct str command_text(const struct command *c);

/* The same, to be read; it may be written to. */
struct lex command_lex(struct command *c);
#endif
