/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/imap/lex.h"

#define VIEW(lit) { lit, sizeof(lit) - 1 }

enum kind { TAG, ATOM, ASTRING, NSTRING };

static const struct row {
	const char *name;
	enum kind kind;
	struct str text;
	const char *value;	/* NULL: refused; "NIL!": nil */
	size_t left;
} rows[] = {
	{ "tag", TAG, VIEW("a.1] X"), "a.1]", 2 },
	{ "tag with plus", TAG, VIEW("a+1"), "a", 2 },
	{ "no tag", TAG, VIEW(" a"), NULL, 0 },
	{ "empty tag", TAG, VIEW(""), NULL, 0 },
	{ "atom", ATOM, VIEW("LOGIN a"), "LOGIN", 2 },
	{ "atom stops at specials", ATOM, VIEW("ab(c"), "ab", 2 },
	{ "atom is 7-bit", ATOM, VIEW("\xc3\xa4"), NULL, 0 },
	{ "atom has no controls", ATOM, VIEW("a\x01"), "a", 1 },
	{ "atom has no NUL", ATOM, VIEW("a\0b"), "a", 2 },
	{ "atom has no DEL", ATOM, VIEW("a\x7f"), "a", 1 },
	{ "astring as atom", ASTRING, VIEW("a]*% b"), "a]*%", 2 },
	{ "quoted", ASTRING, VIEW("\"a b\" c"), "a b", 2 },
	{ "quoted, empty", ASTRING, VIEW("\"\""), "", 0 },
	{ "quoted, escaped", ASTRING, VIEW("\"\\\"\\\\\"x"), "\"\\", 1 },
	{ "quoted, 8-bit", ASTRING, VIEW("\"\xe4\""), "\xe4", 0 },
	{ "quoted, odd escape", ASTRING, VIEW("\"\\n\""), NULL, 0 },
	{ "quoted, open", ASTRING, VIEW("\"abc"), NULL, 0 },
	{ "quoted, open escape", ASTRING, VIEW("\"abc\\"), NULL, 0 },
	{ "quoted, CR", ASTRING, VIEW("\"a\rb\""), NULL, 0 },
	{ "quoted, LF", ASTRING, VIEW("\"a\nb\""), NULL, 0 },
	{ "quoted, NUL", ASTRING, VIEW("\"a\0b\""), NULL, 0 },
	{ "literal", ASTRING, VIEW("{3}\r\na\"b c"), "a\"b", 2 },
	{ "literal, LF", ASTRING, VIEW("{1+}\nab"), "a", 1 },
	{ "literal, empty", ASTRING, VIEW("{0}\r\n"), "", 0 },
	{ "literal, short", ASTRING, VIEW("{4}\r\nabc"), NULL, 0 },
	{ "literal, NUL", ASTRING, VIEW("{3}\r\na\0b"), NULL, 0 },
	{ "literal, no line end", ASTRING, VIEW("{1}a"), NULL, 0 },
	{ "literal, no number", ASTRING, VIEW("{x}\r\na"), NULL, 0 },
	{ "literal, huge", ASTRING, VIEW("{99999999999999999999}\r\na"),
	    NULL, 0 },
	{ "nil", NSTRING, VIEW("nil)"), "NIL!", 1 },
	{ "not nil", NSTRING, VIEW("\"NIL\""), "NIL", 0 },
	{ "nearly nil", NSTRING, VIEW("NILS"), "NILS", 0 },
};

static void test_lex_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct row *row = &rows[i];
		/* Memory of this very size: a sanitizer sees an overrun. */
		char *text = malloc(row->text.n ? row->text.n : 1);
		struct str value = STR_NONE;
		bool is_nil = false, good = false;

		memcpy(text, row->text.p, row->text.n);
		struct lex l = { text, text + row->text.n };
		switch (row->kind) {
		case TAG:
			good = lex_tag(&l, &value);
			break;
		case ATOM:
			good = lex_atom(&l, &value);
			break;
		case ASTRING:
			good = lex_astring(&l, &value);
			break;
		case NSTRING:
			good = lex_nstring(&l, &value, &is_nil);
			break;
		}
		struct str want = is_nil ? STR("NIL!") : value;
		if (good != (row->value != NULL) || (good &&
		    (!str_eq(want, str_from(row->value)) ||
		    (size_t)(l.end - l.at) != row->left)))
			fail_msg("%s: %d %.*s, %td left", row->name, good,
			    STR_ARG(value), l.end - l.at);
		free(text);
	}
}

static void test_lex_marks(void **state)
{
	char text[] = " (x";
	struct lex l = { text, text + 3 };

	(void)state;
	assert_false(lex_char(&l, '('));
	assert_true(lex_space(&l));
	assert_false(lex_space(&l));
	assert_true(lex_char(&l, '('));
	assert_false(lex_end(&l));
	assert_true(lex_char(&l, 'x'));
	assert_true(lex_end(&l));
	assert_false(lex_char(&l, 'x'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lex_words),
		cmocka_unit_test(test_lex_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
