/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * settings_lex - a look at the text before libConfuse gets it
 *
 *	text    = *( space / comment / word / quoted / mark )
 *	comment = "#" to line end / "//" to line end / slash-star to star-slash
 *	quoted  = '"' ... '"'   ( \\ and \" in it )
 *	        / "'" ... "'"   ( \\ and \' in it; other backslashes stay )
 *	mark    = "{" / "}" / "(" / ")" / "=" / "+=" / ","
 *
 * libConfuse counts two lines for one that ends in a comment, drops a "*"
 * or "+" outside quotes, takes "\." in double quotes for ".", which would
 * make a wider pattern than the operator wrote, and does not miss the last
 * "}". All four in silence.
 */
#include "proxy/base/err.h"
#include "proxy/base/settings_parts.h"

struct open {
	char mark;		/* "{" or "(" */
	int line;
};

struct lex {
	char *p, *end;
	struct open open[4];	/* sections, a list in them; one too many */
	size_t n_open;
	const char *file;
	int line;
	struct err *err;
};

static bool fault(const struct lex *l, int line, const char *text)
{
	return err_set(l->err, "%s:%d: %s", l->file, line, text);
}

static char peek(const struct lex *l, size_t n)
{
	return (size_t)(l->end - l->p) > n ? l->p[n] : '\0';
}

static void blank(struct lex *l)
{
	if (*l->p == '\n')
		l->line++;
	else
		*l->p = ' ';
	l->p++;
}

static void blank_line(struct lex *l)
{
	while (l->p < l->end && *l->p != '\n')
		blank(l);
}

static bool blank_block(struct lex *l)
{
	int line = l->line;

	while (l->p < l->end) {
		if (peek(l, 0) == '*' && peek(l, 1) == '/') {
			blank(l);
			blank(l);
			return true;
		}
		blank(l);
	}
	return fault(l, line, "a comment begins here and does not end; "
	    "expected \"*/\"");
}

/* *l->p is the opening quote. */
static bool skip_quoted(struct lex *l)
{
	char quote = *l->p++;

	while (l->p < l->end && *l->p != '\n') {
		char c = *l->p++;
		if (c == quote)
			return true;
		if (c != '\\' || peek(l, 0) == '\n')
			continue;
		c = peek(l, 0);
		if (quote == '"' && c != '\\' && c != '"')
			return fault(l, l->line, "a backslash in double quotes "
			    "stands for itself only as \"\\\\\"; expected "
			    "that, or single quotes");
		if (c == '\\' || c == quote)
			l->p++;
	}
	return fault(l, l->line, "a string begins here and does not end; "
	    "expected a closing quote on the same line");
}

/* What libConfuse takes into an unquoted word. */
static bool is_word(char c)
{
	return !strchr(" \"'\t\n\r={}()+,#*", c);
}

static bool skip_word(struct lex *l)
{
	while (l->p < l->end && is_word(*l->p)) {
		if (*l->p == '\\' || (*l->p == '$' && peek(l, 1) == '{'))
			return fault(l, l->line, "\"\\\" or \"${\" outside of "
			    "quotes; expected the value in quotes");
		l->p++;
	}
	return true;
}

static bool open_mark(struct lex *l)
{
	size_t most = sizeof l->open / sizeof l->open[0];

	if (l->n_open == most)
		return fault(l, l->line, "too many \"{\" one in another; "
		    "expected a \"}\"");
	l->open[l->n_open++] = (struct open){ *l->p++, l->line };
	return true;
}

static bool close_mark(struct lex *l)
{
	char mark = *l->p++ == '}' ? '{' : '(';

	if (l->n_open && l->open[l->n_open - 1].mark == mark) {
		l->n_open--;
		return true;
	}
	return fault(l, l->line, mark == '{' ?
	    "\"}\" without \"{\"; expected a setting or a section" :
	    "\")\" without \"(\"; expected a setting or a section");
}

static bool next(struct lex *l)
{
	char c = peek(l, 0), d = peek(l, 1);

	if (c == '#' || (c == '/' && d == '/')) {
		blank_line(l);
		return true;
	}
	if (c == '/' && d == '*')
		return blank_block(l);
	if (c == '"' || c == '\'')
		return skip_quoted(l);
	if (is_word(c))
		return skip_word(l);
	if (c == '*' || (c == '+' && d != '='))
		return fault(l, l->line, "\"*\" or \"+\" outside of quotes; "
		    "expected the value in quotes");
	if (c == '{' || c == '(')
		return open_mark(l);
	if (c == '}' || c == ')')
		return close_mark(l);
	if (c == '\n')
		l->line++;
	else if (c == '\r')
		*l->p = ' ';
	l->p++;
	return true;
}

bool settings_lex(char *text, size_t n, const char *file, struct err *err)
{
	struct lex l = { .p = text, .end = text + n, .file = file,
		.line = 1, .err = err };

	for (char *p = text; p < l.end; p++) {
		unsigned char c = (unsigned char)*p;
		if ((c < ' ' && !strchr("\t\r\n", *p)) || c == 0 || c == 0x7f)
			return fault(&l, l.line, "a control character; "
			    "expected text");
		l.line += c == '\n';
	}
	l.line = 1;
	while (l.p < l.end)
		if (!next(&l))
			return false;
	if (l.n_open == 0)
		return true;
	struct open *o = &l.open[l.n_open - 1];
	return fault(&l, o->line, o->mark == '{' ?
	    "\"{\" is not closed; expected \"}\"" :
	    "\"(\" is not closed; expected \")\"");
}
