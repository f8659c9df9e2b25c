/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "proxy/base/err.h"
#include "proxy/base/tlsctx.h"
#include "proxy/snapshot.h"

#define TEXT "backend mail { address = \"srv+_imap._tcp.example.net\"  " \
	"tls = starttls  verify = no }\n" \
	"backend one { address = \"one.example.net:143\" }\n" \
	"pool main { backends = { mail, one } }\n"

static struct snapshot *make(void)
{
	struct tls_tickets tickets = { 0 };
	struct err err;
	struct settings *s = settings_from_text(STR(TEXT), "test",
	    &conf_schema, NULL, NULL, &err);

	if (!s)
		fail_msg("%s", err.text);
	struct snapshot *made = snapshot_new(s, &tickets, &err);
	assert_non_null(made);
	return made;
}

static void test_snapshot_finds_targets(void **state)
{
	struct snapshot *s = make();
	const struct conf_backend *one = snapshot_get_backend(s, STR("one")),
	    *a = snapshot_get_backend(s, STR("mail/a.example.net:143")),
	    *b = snapshot_get_backend(s, STR("mail/a.example.net:993")),
	    *again = snapshot_get_backend(s, STR("mail/a.example.net:143"));
	struct err err;

	(void)state;
	assert_string_equal(one->name, "one");
	assert_string_equal(a->name, "mail/a.example.net:143");
	assert_string_equal(a->address.host, "a.example.net");
	assert_int_equal(a->address.port, 143);
	assert_int_equal(a->tls, CONF_TLS_STARTTLS);
	assert_ptr_equal(a, again);
	assert_ptr_not_equal(a, b);
	/* each has a TLS of its own, with its session and its name */
	struct tls_client *tls = snapshot_tls_client(s, a, &err);
	assert_non_null(tls);
	assert_ptr_equal(snapshot_tls_client(s, again, &err), tls);
	assert_ptr_not_equal(snapshot_tls_client(s, b, &err), tls);
	snapshot_put_backend(s, &a);
	assert_null(a);
	assert_string_equal(again->name, "mail/a.example.net:143");
	snapshot_put_backend(s, &again);
	snapshot_put_backend(s, &b);
	snapshot_put_backend(s, &one);
	snapshot_put_backend(s, &one);
	snapshot_unref(&s);
}

static void test_snapshot_knows_what_is_none(void **state)
{
	static const char *const none[] = { "", "mail", "other", "mail/",
		"mail/a.example.net", "mail/a.example.net:0", "mail/:143",
		"one/a.example.net:143", "other/a.example.net:143", "/a:1" };
	struct snapshot *s = make();

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_null(snapshot_get_backend(s, str_from(none[i])));
	snapshot_unref(&s);
}

/* Targets come and go for months: who is not in use is forgotten, the
 * longest first. */
static void test_snapshot_forgets_targets(void **state)
{
	struct snapshot *s = make();
	const struct conf_backend *kept = snapshot_get_backend(s,
	    STR("mail/kept.example.net:143"));

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		char name[80];
		snprintf(name, sizeof name, "mail/m%u.example.net:143", i);
		const struct conf_backend *b = snapshot_get_backend(s,
		    str_from(name));
		assert_string_equal(b->name, name);
		snapshot_put_backend(s, &b);
		assert_in_range(snapshot_n_targets(s), 1, 65);
	}
	assert_string_equal(kept->address.host, "kept.example.net");
	snapshot_put_backend(s, &kept);
	snapshot_unref(&s);
}

/* As their section says. */
static void test_snapshot_spreads_targets(void **state)
{
	static const char *const names[] = { "one", "mail/a.example.net:143" };
	struct snapshot *s = make();

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const struct conf_backend *b = snapshot_get_backend(s,
		    str_from(names[i]));
		assert_int_equal(snapshot_spread_seconds(s, b), 30);
		snapshot_put_backend(s, &b);
	}
	snapshot_unref(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshot_finds_targets),
		cmocka_unit_test(test_snapshot_knows_what_is_none),
		cmocka_unit_test(test_snapshot_forgets_targets),
		cmocka_unit_test(test_snapshot_spreads_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
