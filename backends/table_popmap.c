/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/table_popmap.h"

#include "backends/table.h"
#include "proxy/base/err.h"

#define POPMAP_KEY_MAX 511	/* TABLE_STORE_KEY_MAX */

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static struct str trim(struct str s)
{
	while (s.n && is_space(s.p[0]))
		s = str_skip(s, 1);
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

/*
 *	quoted = DQUOTE *(char / "\" (DQUOTE / "\")) DQUOTE
 *	       / "'" *char "'"
 *
 * In expressions a backslash stays what it is there. Takes the quoted text
 * off rest, which begins with a quote; false: it does not end.
 */
static bool take_quoted(char *line, struct str *rest, bool keeps_backslash,
    struct str *out)
{
	char quote = rest->p[0];
	size_t n = 0, i = 1;
	char *to = line + (rest->p - line) + 1;

	for (; i < rest->n && rest->p[i] != quote; i++) {
		char next = i + 1 < rest->n ? rest->p[i + 1] : 0;
		if (quote == '"' && rest->p[i] == '\\' &&
		    (next == '"' || next == '\\')) {
			if (keeps_backslash)
				to[n++] = '\\';
			i++;
		}
		to[n++] = rest->p[i];
	}
	if (i >= rest->n)
		return false;
	*out = (struct str){ to, n };
	*rest = str_skip(*rest, i + 1);
	return true;
}

/* The end of an expression: the first ":" that is not in brackets. */
static size_t expression_end(struct str s)
{
	bool is_in_brackets = false;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (is_in_brackets) {
			/* "[:alpha:]" inside, and a "]" that comes first */
			if (c == '[' && i + 1 < s.n && s.p[i + 1] == ':') {
				i += 2;
				while (i + 1 < s.n &&
				    (s.p[i] != ':' || s.p[i + 1] != ']'))
					i++;
				i++;
			} else if (c == ']') {
				is_in_brackets = false;
			}
		} else if (c == '\\') {
			i++;
		} else if (c == '[') {
			is_in_brackets = true;
			if (i + 1 < s.n && s.p[i + 1] == '^')
				i++;
			if (i + 1 < s.n && s.p[i + 1] == ']')
				i++;
		} else if (c == ':') {
			return i;
		}
	}
	return s.n;
}

static size_t key_end(enum conf_table_format format, struct str s)
{
	size_t i = 0;

	switch (format) {
	case CONF_TABLE_PLAIN:
		while (i < s.n && !is_space(s.p[i]))
			i++;
		return i;
	case CONF_TABLE_POPMAP:
		while (i < s.n && s.p[i] != ':')
			i++;
		return i;
	case CONF_TABLE_REGEX:
		return expression_end(s);
	}
	return 0;
}

static bool take_key(enum conf_table_format format, char *line,
    struct str *rest, struct str *out, struct err *err)
{
	bool is_quoted = rest->p[0] == '"' || rest->p[0] == '\'';

	if (is_quoted) {
		if (!take_quoted(line, rest, format == CONF_TABLE_REGEX, out))
			return err_set(err, "the quotes do not end; expected "
			    "another one");
	} else {
		out->n = key_end(format, *rest);
		out->p = rest->p;
		*rest = str_skip(*rest, out->n);
	}
	if (format != CONF_TABLE_PLAIN) {
		if (!is_quoted)
			*out = trim(*out);
		*rest = trim(*rest);
		if (!str_starts(*rest, STR(":")))
			return err_set(err, "no colon; expected %s: value",
			    format == CONF_TABLE_REGEX ? "expression" :
			    "key");
		*rest = str_skip(*rest, 1);
	}
	if (out->n == 0)
		return err_set(err, "nothing to look up; expected it before "
		    "the value");
	if (out->n > USER_CANONICAL_MAX && format != CONF_TABLE_REGEX)
		return err_set(err, "the key is longer than any user name; "
		    "expected %d bytes at most", USER_CANONICAL_MAX);
	return true;
}

bool popmap_is_key(struct str key)
{
	for (size_t i = 0; i < key.n; i++)
		if ((unsigned char)key.p[i] < ' ' || key.p[i] == 0x7f)
			return false;
	return key.n > 0 && key.n <= POPMAP_KEY_MAX;
}

bool popmap_is_value(struct str v)
{
	struct str head = str_istarts(v, STR("pool")) ? STR("pool") :
	    str_istarts(v, STR("backend")) ? STR("backend") : STR_NONE;

	if (head.n && v.n > head.n && is_space(v.p[head.n]))
		v = trim(str_skip(v, head.n));
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] <= ' ' || v.p[i] == 0x7f)
			return false;
	return v.n > 0 && v.n <= TABLE_VALUE_MAX;
}

/* What stands behind white space and a # is a comment. */
static struct str without_comment(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '#' && (i == 0 || is_space(s.p[i - 1])))
			s.n = i;
	return trim(s);
}

static bool take_value(char *line, struct str *rest, struct str *out,
    struct err *err)
{
	*rest = trim(*rest);
	if (rest->n && (rest->p[0] == '"' || rest->p[0] == '\'')) {
		if (!take_quoted(line, rest, false, out))
			return err_set(err, "the quotes do not end; expected "
			    "another one");
		*out = trim(*out);
		if (without_comment(*rest).n)
			return err_set(err, "text behind the quotes; "
			    "expected the line's end");
	} else {
		*out = without_comment(*rest);
	}
	return popmap_is_value(*out) || err_set(err, "\"%.*s\" is no value; "
	    "expected a pool, a backend, or [user@]host[:port]",
	    STR_ARG(*out));
}

enum popmap_verdict popmap_parse(enum conf_table_format format, char *line,
    size_t n, struct str *key_out, struct str *value_out, struct err *err)
{
	struct str rest = { line, n };

	if (rest.n && rest.p[rest.n - 1] == '\r')
		rest.n--;
	rest = trim(rest);
	if (rest.n == 0 || rest.p[0] == '#')
		return POPMAP_NOTHING;
	if (memchr(rest.p, 0, rest.n)) {
		err_set(err, "a NUL byte; expected text");
		return POPMAP_BAD;
	}
	if (!take_key(format, line, &rest, key_out, err) ||
	    !take_value(line, &rest, value_out, err))
		return POPMAP_BAD;
	return POPMAP_ENTRY;
}
