/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/imap/command.h"

#include <stdint.h>

#include "proxy/base/err.h"
#include "proxy/imap/quote.h"

void command_init(struct command *c, size_t line_max, size_t literal_max)
{
	*c = (struct command){
		.line_max = line_max,
		.literal_max = literal_max,
	};
	buf_init(&c->text, line_max + literal_max);
}

void command_fini(struct command *c)
{
	buf_fini(&c->text);
}

void command_reset(struct command *c)
{
	buf_clear(&c->text);
	c->n_line = c->n_literal = c->literal_left = c->line_at = 0;
	c->n_literals = 0;
	c->place = COMMAND_IN_LINE;
}

struct str command_text(const struct command *c)
{
	struct str s = buf_view(&c->text);

	if (c->place != COMMAND_AT_END && c->place != COMMAND_AT_LITERAL)
		return s;
	/* Not beyond this line: a CR before it is the last of a literal. */
	if (s.n > c->line_at && s.p[s.n - 1] == '\n')
		s.n--;
	if (s.n > c->line_at && s.p[s.n - 1] == '\r')
		s.n--;
	return s;
}

struct lex command_lex(struct command *c)
{
	char *at = c->text.data + c->text.off;

	return (struct lex){ at, at + command_text(c).n };
}

/* How much of s belongs to this line, its end included. */
static size_t scan_line(struct command *c, enum command_mode mode,
    struct str s, bool *is_end_out)
{
	*is_end_out = false;
	for (size_t i = 0; i < s.n; i++) {
		char ch = s.p[i];

		if (ch == '\n') {
			*is_end_out = true;
			return i + 1;
		}
		if (mode == COMMAND_LINE)
			continue;
		if (c->place == COMMAND_IN_ESCAPE)
			c->place = COMMAND_IN_QUOTES;
		else if (ch == '"')
			c->place = c->place == COMMAND_IN_QUOTES ?
			    COMMAND_IN_LINE : COMMAND_IN_QUOTES;
		else if (ch == '\\' && c->place == COMMAND_IN_QUOTES)
			c->place = COMMAND_IN_ESCAPE;
	}
	return s.n;
}

/*
 * Does this line end in the head of a literal?
 *
 *	"{" 1*DIGIT ["+"] "}"
 *
 * It is read backwards, but never past the beginning of the line: what is
 * before that are the bytes of another literal. A number that does not fit
 * is the largest there is, which no limit allows.
 */
static bool is_literal_head(struct str line, size_t *n_out, bool *is_sync_out)
{
	size_t end = line.n, digits;

	if (end == 0 || line.p[--end] != '}')
		return false;
	*is_sync_out = !(end && line.p[end - 1] == '+');
	if (!*is_sync_out)
		end--;
	for (digits = end; digits; digits--)
		if (line.p[digits - 1] < '0' || line.p[digits - 1] > '9')
			break;
	if (digits == end || digits < 2 || line.p[digits - 1] != '{' ||
	    (line.p[digits - 2] != ' ' && line.p[digits - 2] != '('))
		return false;
	*n_out = 0;
	for (size_t i = digits; i < end; i++) {
		size_t digit = (size_t)(line.p[i] - '0');

		if (*n_out > (SIZE_MAX - digit) / 10) {
			*n_out = SIZE_MAX;
			break;
		}
		*n_out = *n_out * 10 + digit;
	}
	return true;
}

static enum command_verdict line_end(struct command *c, enum command_mode mode)
{
	bool in_quotes = c->place != COMMAND_IN_LINE, is_sync;
	size_t n;

	c->place = COMMAND_AT_END;
	struct str line = str_skip(command_text(c), c->line_at);
	if (mode == COMMAND_LINE || in_quotes ||
	    !is_literal_head(line, &n, &is_sync))
		return COMMAND_DONE;
	c->place = COMMAND_AT_LITERAL;
	if (n > c->literal_max - c->n_literal ||
	    c->n_literals == COMMAND_LITERALS_MAX)
		return is_sync ? COMMAND_LITERAL_TOO_BIG : COMMAND_TOO_BIG;
	if (!is_sync && n > QUOTE_LITERAL_MINUS_MAX)
		return COMMAND_TOO_BIG;
	c->literal_left = n;
	c->n_literal += n;
	c->n_literals++;
	if (is_sync)
		return COMMAND_LITERAL;
	command_proceed(c);
	return COMMAND_MORE;
}

/* In the middle of a literal: all of it is taken as it is. */
static void feed_literal(struct command *c, struct buf *in)
{
	struct str s = buf_view(in);

	if (s.n > c->literal_left)
		s.n = c->literal_left;
	must(buf_str(&c->text, s));
	buf_consume(in, s.n);
	c->literal_left -= s.n;
	if (c->literal_left == 0) {
		c->place = COMMAND_IN_LINE;
		c->line_at = c->text.len;
	}
}

enum command_verdict command_feed(struct command *c, enum command_mode mode,
    struct buf *in)
{
	must(c->place != COMMAND_AT_LITERAL && c->place != COMMAND_AT_END);
	while (in->len) {
		bool is_end;

		if (c->place == COMMAND_IN_LITERAL) {
			feed_literal(c, in);
			continue;
		}
		struct str s = buf_view(in);
		s.n = scan_line(c, mode, s, &is_end);
		if (s.n > c->line_max - c->n_line)
			return COMMAND_TOO_LONG;
		must(buf_str(&c->text, s));
		buf_consume(in, s.n);
		c->n_line += s.n;
		if (!is_end)
			continue;
		enum command_verdict verdict = line_end(c, mode);
		if (verdict != COMMAND_MORE)
			return verdict;
	}
	return COMMAND_MORE;
}

void command_proceed(struct command *c)
{
	must(c->place == COMMAND_AT_LITERAL);
	c->place = c->literal_left ? COMMAND_IN_LITERAL : COMMAND_IN_LINE;
	c->line_at = c->text.len;
}
