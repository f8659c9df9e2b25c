/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/table_popmap.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

struct row {
	const char *name;
	enum conf_table_format format;
	const char *line;
	const char *key, *value;	/* key NULL: nothing; value NULL: bad */
};

#define PLAIN CONF_TABLE_PLAIN
#define POPMAP CONF_TABLE_POPMAP
#define REGEX CONF_TABLE_REGEX

static const struct row rows[] = {
	{ "two words", PLAIN, "jan@example.org eu", "jan@example.org", "eu" },
	{ "pool", PLAIN, "jan \t pool  eu ", "jan", "pool  eu" },
	{ "backend", PLAIN, "@example.org backend b1\r", "@example.org",
	    "backend b1" },
	{ "host", PLAIN, "jan jan@mail1:143", "jan", "jan@mail1:143" },
	{ "colon in a plain key", PLAIN, "a:b eu", "a:b", "eu" },
	{ "comment", PLAIN, "  # jan eu", NULL, "" },
	{ "empty", PLAIN, " \t\r", NULL, "" },
	{ "comment behind", PLAIN, "jan eu  # since May", "jan", "eu" },
	{ "hash in a word", PLAIN, "jan#1 eu#2", "jan#1", "eu#2" },
	{ "quotes", PLAIN, "\"jan \\\"x\\\" \\\\ y\" eu", "jan \"x\" \\ y",
	    "eu" },
	{ "single quotes", PLAIN, "'# \\ jan' 'pool eu'", "# \\ jan",
	    "pool eu" },
	{ "backslash outside", PLAIN, "DOM\\jan eu", "DOM\\jan", "eu" },
	{ "8 bit", PLAIN, "j\xe4n eu", "j\xe4n", "eu" },
	{ "no value", PLAIN, "jan", "", NULL },
	{ "three words", PLAIN, "jan pool eu us", "", NULL },
	{ "unknown word", PLAIN, "jan poo eu", "", NULL },
	{ "control character", PLAIN, "jan e\x01u", "", NULL },
	{ "open quotes", PLAIN, "\"jan eu", "", NULL },
	{ "open value", PLAIN, "jan \"eu", "", NULL },
	{ "text behind quotes", PLAIN, "jan \"eu\" us", "", NULL },
	{ "empty quotes", PLAIN, "\"\" eu", "", NULL },
	{ "popmap", POPMAP, "jan:mail1", "jan", "mail1" },
	{ "popmap, spaces", POPMAP, " jan smith : eva@mail1:1143 ",
	    "jan smith", "eva@mail1:1143" },
	{ "popmap, quoted colon", POPMAP, "\"a:b\": mail1", "a:b", "mail1" },
	{ "popmap, IPv6", POPMAP, "jan: [::1]:143", "jan", "[::1]:143" },
	{ "popmap without colon", POPMAP, "jan mail1", "", NULL },
	{ "popmap without key", POPMAP, ": mail1", "", NULL },
	{ "popmap without value", POPMAP, "jan:  # none", "", NULL },
	{ "expression", REGEX, "^(.*)@b([0-9])\\.org$: $1@mail$2:143",
	    "^(.*)@b([0-9])\\.org$", "$1@mail$2:143" },
	{ "expression with colons", REGEX, "^[[:alpha:]:]+\\:x[]:]: eu",
	    "^[[:alpha:]:]+\\:x[]:]", "eu" },
	{ "quoted expression", REGEX, "\"^a:\\\"b\\.c\" : eu",
	    "^a:\\\"b\\.c", "eu" },
	{ "expression, open bracket", REGEX, "[a: eu", "", NULL },
};

static void test_popmap_reads_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *r = &rows[i];
		char *line = mem_strdup(r->line);
		struct str key, value;
		struct err err = { "" };
		enum popmap_verdict v = popmap_parse(r->format, line,
		    strlen(line), &key, &value, &err);
		enum popmap_verdict wanted = !r->value ? POPMAP_BAD :
		    !r->key ? POPMAP_NOTHING : POPMAP_ENTRY;
		if (v != wanted || (v == POPMAP_BAD) != (err.text[0] != 0))
			fail_msg("%s: %d, %s", r->name, (int)v, err.text);
		if (v == POPMAP_ENTRY &&
		    (!str_eq(key, str_from(r->key)) ||
		     !str_eq(value, str_from(r->value))))
			fail_msg("%s: \"%.*s\", \"%.*s\"", r->name,
			    STR_ARG(key), STR_ARG(value));
		free(line);
	}
}

static void test_popmap_bounds_keys_and_values(void **state)
{
	char line[4096];
	struct str key, value;
	struct err err;

	(void)state;
	memset(line, 'x', sizeof line);
	line[512] = ' ';
	assert_int_equal(popmap_parse(PLAIN, line, 520, &key, &value, &err),
	    POPMAP_ENTRY);
	line[512] = 'x';
	line[513] = ' ';
	assert_int_equal(popmap_parse(PLAIN, line, 520, &key, &value, &err),
	    POPMAP_BAD);
	line[3] = ' ';
	line[513] = 'x';
	assert_int_equal(popmap_parse(PLAIN, line, 1028, &key, &value, &err),
	    POPMAP_ENTRY);
	assert_int_equal(popmap_parse(PLAIN, line, 1029, &key, &value, &err),
	    POPMAP_BAD);
	line[10] = 0;
	assert_int_equal(popmap_parse(PLAIN, line, 20, &key, &value, &err),
	    POPMAP_BAD);
}

static void test_popmap_keys_for_lmdb(void **state)
{
	char key[512];

	(void)state;
	memset(key, 'k', sizeof key);
	assert_true(popmap_is_key((struct str){ key, 511 }));
	assert_false(popmap_is_key((struct str){ key, 512 }));
	assert_false(popmap_is_key(STR_NONE));
	assert_false(popmap_is_key(STR("a\nb")));
	assert_true(popmap_is_key(STR("j\xc3\xa4n *)(")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_popmap_reads_lines),
		cmocka_unit_test(test_popmap_bounds_keys_and_values),
		cmocka_unit_test(test_popmap_keys_for_lmdb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
