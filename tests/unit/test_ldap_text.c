/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/ldap_text.h"
#include "proxy/base/err.h"

static void assert_filled(const char *template, struct str name,
    const char *wanted)
{
	char *text = ldap_text_fill(template, name);

	if (strcmp(text, wanted) != 0)
		fail_msg("%s: %s, not %s", template, text, wanted);
	free(text);
}

static void test_ldap_text_fills_in(void **state)
{
	(void)state;
	assert_filled("(mail=%s)", STR("jan@example.org"),
	    "(mail=jan@example.org)");
	assert_filled("uid=%n,ou=%d,o=100%%", STR("jan.b-c_d@example.org"),
	    "uid=jan.b-c_d,ou=example.org,o=100%");
	assert_filled("%u,%n,%d,%u", STR("jan"), "jan,jan,,jan");
	assert_filled("%n|%d", STR("a@b@c"), "a@b|c");
	assert_filled("(mail=%s)", STR_NONE, "(mail=)");
}

/* RFC 4515, section 3; RFC 4514, section 2.4: hexadecimal is good for both. */
static void test_ldap_text_keeps_a_name_in_its_value(void **state)
{
	(void)state;
	assert_filled("(m=%s)", STR("*)(uid=*"),
	    "(m=\\2a\\29\\28uid\\3d\\2a)");
	assert_filled("(m=%s)", STR("\\\"%s\r\n"),
	    "(m=\\5c\\22\\25s\\0d\\0a)");
	assert_filled("uid=%u,o=x", STR("a,o=y+z;<>#"),
	    "uid=a\\2co\\3dy\\2bz\\3b\\3c\\3e\\23,o=x");
	assert_filled("%u", STR(" a "), "\\20a\\20");
	assert_filled("%u", STR("a\0b"), "a\\00b");
	assert_filled("%u", STR("\xc3\xa4\xff"), "\\c3\\a4\\ff");
}

static void test_ldap_text_bears_every_byte(void **state)
{
	char name[512], *text;

	(void)state;
	for (size_t i = 0; i < sizeof name; i++)
		name[i] = (char)i;
	text = ldap_text_fill("%u%u", (struct str){ name, sizeof name });
	for (const char *p = text; *p; p++) {
		if (*p == '\\') {
			assert_non_null(strchr("0123456789abcdef", p[1]));
			assert_non_null(strchr("0123456789abcdef", p[2]));
		} else {
			assert_null(strchr("*()\"+,;<>=# %", *p));
		}
		assert_in_range(*p, '!', '~');
	}
	free(text);
}

static void test_ldap_text_checks_templates(void **state)
{
	static const struct {
		const char *template, *letters, *wanted;
	} rows[] = {
		{ "(mail=%s)", "s", NULL },
		{ "uid=%n,dc=%d,o=%%", "und", NULL },
		{ "(mail=*)", "s", "no place for the user; expected %s" },
		{ "(mail=%%)", "und", "expected %u" },
		{ "(mail=%u)", "s", "\"%u\" stands for nothing; expected % "
		    "and one of \"s%\"" },
		{ "(mail=%s)%", "s", "\"%\" stands for nothing" },
		{ "", "s", "no place" },
		{ "(mail=%s)\n", "s", "a control character" },
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool is_good = ldap_text_check(rows[i].template,
		    rows[i].letters, &err);
		if (is_good != !rows[i].wanted ||
		    (!is_good && !strstr(err.text, rows[i].wanted)))
			fail_msg("%s: %s", rows[i].template, err.text);
	}
}

static void test_ldap_text_checks_urls(void **state)
{
	static const struct {
		const char *urls;
		bool has_tls, is_local;
		const char *wanted;
	} rows[] = {
		{ "ldap://127.0.0.1:389", false, true, NULL },
		{ "ldap://[::1]/", false, true, NULL },
		{ "ldapi://%2frun%2fldapi", false, true, NULL },
		{ "ldap://ldap.example.net", false, false, NULL },
		{ "ldaps://a.example.net:636 LDAPS://b", true, false, NULL },
		{ "ldaps://a ldap://b", false, false, NULL },
		{ "", false, false, "\"\" is not a URL of LDAP" },
		{ "http://a", false, false, "\"http://a\" is not a URL" },
		{ "ldap://", false, false, "not a server alone" },
		{ "ldap://a/dc=x", false, false, "not a server alone" },
		{ "ldap://a?mail", false, false, "not a server alone" },
		{ "ldap://a  ldap://b", false, false, "\"\" is not a URL" },
	};
	bool has_tls, is_local;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool is_good = ldap_text_check_urls(rows[i].urls, &has_tls,
		    &is_local, &err);
		if (is_good != !rows[i].wanted || (is_good ?
		    has_tls != rows[i].has_tls ||
		    is_local != rows[i].is_local :
		    !strstr(err.text, rows[i].wanted)))
			fail_msg("%s: %s", rows[i].urls, err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ldap_text_fills_in),
		cmocka_unit_test(test_ldap_text_keeps_a_name_in_its_value),
		cmocka_unit_test(test_ldap_text_bears_every_byte),
		cmocka_unit_test(test_ldap_text_checks_templates),
		cmocka_unit_test(test_ldap_text_checks_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
