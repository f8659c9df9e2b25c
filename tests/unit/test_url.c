/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/url.h"
#include "proxy/base/err.h"

static void test_url_is_split(void **state)
{
	static const struct {
		const char *text, *authority, *host, *target;
		bool is_tls;
	} rows[] = {
		{ "http://h", "h", "h", "", false },
		{ "HTTP://h/", "h", "h", "/", false },
		{ "https://h.example:8443/a/b?c=d", "h.example:8443",
		    "h.example", "/a/b?c=d", true },
		{ "http://127.0.0.1:80?x", "127.0.0.1:80", "127.0.0.1", "?x",
		    false },
		{ "http://[::1]:9/x", "[::1]:9", "[::1]", "/x", false },
		{ "http://[::1]/@:", "[::1]", "[::1]", "/@:", false },
	};
	struct url u;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (!url_parse(str_from(rows[i].text), &u, &err))
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_true(str_eq(u.authority, str_from(rows[i].authority)));
		assert_true(str_eq(u.host, str_from(rows[i].host)));
		assert_true(str_eq(u.target, str_from(rows[i].target)));
		assert_int_equal(u.is_tls, rows[i].is_tls);
	}
}

static void test_url_refuses(void **state)
{
	static const char *const rows[] = { "", "h", "h:80/x", "ftp://h/",
		"file:///etc/passwd", "http:/h", "http://", "http:///x",
		"http://:80/", "http://h:/", "http://h:0/", "http://h:65536/",
		"http://h:8o/", "http://[::1/", "http://[]/", "http://[::1]x/",
		"http://jan:secret@h/", "http://h/a b", "http://h/a\r\nX: y",
		"http://h/a\x7f", "http://h/\xc3\xa9", "http://h/#f" };
	struct url u;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (url_parse(str_from(rows[i]), &u, &err))
			fail_msg("%s was taken", rows[i]);
}

static void test_url_has_one_placeholder(void **state)
{
	struct str before, after;
	bool in_path;
	struct err err;

	(void)state;
	assert_true(url_split(STR("http://h/u/%s.json?a=%20"), &before,
	    &after, &in_path, &err));
	assert_true(str_eq(before, STR("http://h/u/")));
	assert_true(str_eq(after, STR(".json?a=%20")));
	assert_true(in_path);
	assert_true(url_split(STR("http://h/u?x=%s"), &before, &after,
	    &in_path, &err));
	assert_true(str_eq(before, STR("http://h/u?x=")));
	assert_int_equal(after.n, 0);
	assert_false(in_path);
	assert_false(url_split(STR("http://h/u"), &before, &after, &in_path,
	    &err));
	assert_false(url_split(STR("http://%s/u"), &before, &after, &in_path,
	    &err));
	assert_false(url_split(STR("http://h/%s/%s"), &before, &after,
	    &in_path, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_url_is_split),
		cmocka_unit_test(test_url_refuses),
		cmocka_unit_test(test_url_has_one_placeholder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
