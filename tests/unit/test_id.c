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

#include "proxy/base/buf.h"
#include "proxy/imap/id.h"
#include "proxy/imap/lex.h"

#define FIVE " a 1 a 1 a 1 a 1 a 1"
#define TEN "0123456789"

static const struct row {
	const char *text, *kept;	/* NULL: refused */
} rows[] = {
	{ " NIL", "" },
	{ " nil", "" },
	{ " ()", "" },
	{ " (\"name\" \"x\")", "\"name\" \"x\"" },
	{ " (name {1}\r\nx \"os\" nil)", "\"name\" \"x\" \"os\" NIL" },
	{ " (\"a\" \"b\\\"\\\\\")", "\"a\" \"b\\\"\\\\\"" },
	{ " (\"a\" {7}\r\nx\r\n\t\xc3\xa4\x7f)", "\"a\" \"x??\"" },
	{ " (\"X-Originating-IP\" \"::1\" \"a\" \"b\")", "\"a\" \"b\"" },
	{ " (\"\x01\" \"b\")", "" },
	{ " (\"\x01X-forward-a\" \"b\")", "" },
	{ "", NULL },
	{ " ", NULL },
	{ " x", NULL },
	{ " NIL x", NULL },
	{ " (\"a\")", NULL },
	{ " (\"a\" \"b\" )", NULL },
	{ " (\"a\" \"b\")x", NULL },
	{ " (\"a\" (\"b\"))", NULL },
	{ " ((\"a\" \"b\"))", NULL },
	{ " (" TEN TEN TEN " x)", "\"" TEN TEN TEN "\" \"x\"" },
	{ " (" TEN TEN TEN "1 x)", NULL },
	{ " (1 1" FIVE FIVE FIVE FIVE FIVE " b 1 b 1 b 1 b 1 b 1)", NULL },
};

static void test_id_pairs(void **state)
{
	struct buf kept;

	(void)state;
	buf_init(&kept, 1024);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *text = strdup(rows[i].text);
		struct lex l = { text, text + strlen(text) };
		bool good = id_parse(&l, &kept);

		if (good != (rows[i].kept != NULL) || (good &&
		    !str_eq(buf_view(&kept), str_from(rows[i].kept))))
			fail_msg("row %zu (%s): %d %.*s", i, rows[i].text,
			    good, STR_ARG(buf_view(&kept)));
		buf_clear(&kept);
		free(text);
	}
	buf_fini(&kept);
}

/* What does not fit is left out in whole pairs. */
static void test_id_kept_is_bounded(void **state)
{
	char text[] = " (\"a\" \"b\" \"long\" \"" TEN TEN "\" \"c\" \"d\")";
	struct lex l = { text, text + sizeof text - 1 };
	struct buf kept;

	(void)state;
	buf_init(&kept, 30);
	assert_true(id_parse(&l, &kept));
	assert_true(str_eq(buf_view(&kept), STR("\"a\" \"b\" \"c\" \"d\"")));
	buf_fini(&kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_id_pairs),
		cmocka_unit_test(test_id_kept_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
