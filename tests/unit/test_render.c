/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "admin/render.h"
#include "proxy/base/buf.h"

struct sheet {
	struct buf out;
	struct render render;
};

static void begin(struct sheet *s, bool wants_json)
{
	buf_init(&s->out, 0);
	render_init(&s->render, wants_json, &s->out);
}

static void check(struct sheet *s, const char *wanted)
{
	struct str got = buf_view(&s->out);

	if (!str_eq(got, str_from(wanted)))
		fail_msg("wanted:\n%s\ngot:\n%.*s", wanted, STR_ARG(got));
	render_fini(&s->render);
	buf_fini(&s->out);
}

static json_t *row(const char *user, int n)
{
	return json_pack("{s:o, s:i}", "user", render_string(str_from(user)),
	    "n_sessions", n);
}

static void test_render_list_as_text(void **state)
{
	struct sheet s;

	(void)state;
	begin(&s, false);
	render_list(&s.render, "user n_sessions");
	render_row(&s.render, row("jan", 1));
	render_row(&s.render, row("j\xc3\xb6rg@example", 12345));
	render_row(&s.render, row("", 0));
	render_row(&s.render, row("= ok", 2));
	render_flush(&s.render);
	/* a later piece has no heads, and may be wider */
	render_row(&s.render, row("a-much-longer-name", 3));
	render_end(&s.render);
	check(&s,
	    "USER          N SESSIONS\n"
	    "jan                    1\n"
	    "j\xc3\xb6rg@example       12345\n"
	    "-                      0\n"
	    " = ok                   2\n"
	    "a-much-longer-name           3\n");
}

static void test_render_list_as_json(void **state)
{
	struct sheet s;

	(void)state;
	begin(&s, true);
	render_list(&s.render, "user n_sessions");
	render_row(&s.render, row("jan", 1));
	render_flush(&s.render);
	render_flush(&s.render);
	render_row(&s.render, row("\"eva\"", 2));
	render_end(&s.render);
	check(&s, "[\n{\"user\":\"jan\",\"n_sessions\":1},\n"
	    "{\"user\":\"\\\"eva\\\"\",\"n_sessions\":2}\n]\n");
}

static void test_render_empty_list(void **state)
{
	struct sheet s;

	(void)state;
	begin(&s, true);
	render_list(&s.render, "user n_sessions");
	render_end(&s.render);
	check(&s, "[]\n");
	begin(&s, false);
	render_list(&s.render, "user n_sessions");
	render_end(&s.render);
	check(&s, "USER  N SESSIONS\n");
}

static void test_render_object_in_a_cell(void **state)
{
	struct sheet s;

	(void)state;
	begin(&s, false);
	render_list(&s.render, "name drain");
	render_row(&s.render, json_pack("{s:s, s:{s:b, s:s}}", "name", "m1",
	    "drain", "done", 0, "summary", "3 left"));
	render_row(&s.render, json_pack("{s:s, s:{s:b}}", "name", "m2",
	    "drain", "done", 1));
	render_end(&s.render);
	check(&s, "NAME  DRAIN\nm1    3 left\nm2    -\n");
}

static json_t *thing(void)
{
	return json_pack("{s:s, s:b, s:n, s:[s,s], s:[], s:f, s:[o,o]}",
	    "version", "1.0", "serving", 1, "address", "pools", "a", "b",
	    "none", "grace_s", 1.5, "workers", row("w0", 5), row("w1", 66));
}

static void test_render_object(void **state)
{
	struct sheet s;

	(void)state;
	begin(&s, false);
	render_object(&s.render, thing());
	check(&s,
	    "version  1.0\n"
	    "serving  yes\n"
	    "address  -\n"
	    "pools    a,b\n"
	    "none     -\n"
	    "grace_s  1.500\n"
	    "\n"
	    "workers\n"
	    "USER  N SESSIONS\n"
	    "w0             5\n"
	    "w1            66\n");
	begin(&s, true);
	render_object(&s.render, thing());
	check(&s, "{\"version\":\"1.0\",\"serving\":true,\"address\":null,"
	    "\"pools\":[\"a\",\"b\"],\"none\":[],\"grace_s\":1.5,\"workers\":"
	    "[{\"user\":\"w0\",\"n_sessions\":5},"
	    "{\"user\":\"w1\",\"n_sessions\":66}]}\n");
}

static void test_render_events(void **state)
{
	struct sheet s;

	(void)state;
	begin(&s, false);
	render_event(&s.render, row("jan", 1));
	render_event(&s.render, row("eva", 2));
	render_end(&s.render);
	check(&s, "user jan  n_sessions 1\nuser eva  n_sessions 2\n");
	begin(&s, true);
	render_event(&s.render, row("jan", 1));
	check(&s, "{\"user\":\"jan\",\"n_sessions\":1}\n");
}

/* Nothing that somebody else has chosen moves the cursor or ends a line. */
static void test_render_strings(void **state)
{
	struct sheet s;

	(void)state;
	begin(&s, false);
	render_list(&s.render, "user n_sessions");
	render_row(&s.render, row("a\n= ok\x1b[2J", 1));
	render_row(&s.render, row("\xff\xc3", 2));
	render_end(&s.render);
	check(&s, "USER        N SESSIONS\n"
	    "a?= ok?[2J           1\n"
	    "??                   2\n");
}

static void test_render_time(void **state)
{
	json_t *t = render_time(1769854272.9);

	(void)state;
	assert_string_equal(json_string_value(t), "2026-01-31T10:11:12Z");
	json_decref(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_render_list_as_text),
		cmocka_unit_test(test_render_list_as_json),
		cmocka_unit_test(test_render_empty_list),
		cmocka_unit_test(test_render_object),
		cmocka_unit_test(test_render_object_in_a_cell),
		cmocka_unit_test(test_render_events),
		cmocka_unit_test(test_render_strings),
		cmocka_unit_test(test_render_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
