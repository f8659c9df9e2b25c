/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <ev.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/conf.h"
#include "backends/auth.h"
#include "backends/conf.h"
#include "backends/decide.h"
#include "backends/farm.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "backends/resolve.h"
#include "backends/table.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define BACKENDS \
	"backend m1 { address = \"192.0.2.1:143\" }\n" \
	"backend m2 { address = \"192.0.2.2:993\"  tls = implicit }\n" \
	"backend m3 { address = \"[2001:db8::3]:143\" }\n" \
	"backend lost { address = \"lost.example.net:143\" }\n" \
	"pool main { backends = { m1, m2, m3 } }\n" \
	"pool turns { backends = { m1, m2 }  balance = round-robin }\n" \
	"pool one { backends = { m2 } }\n" \
	"pool away { backends = { lost } }\n"
#define ROUTES \
	"route { domain = \"turns.org\"  pool = turns }\n" \
	"route { domain = \"away.org\"  pool = away }\n" \
	"route { domain = \"one.org\"  pool = one }\n" \
	"route { user = \"eva@*\"  refuse = \"[CONTACTADMIN] Gone.\" }\n" \
	"route { domain = \"example.org\"  pool = main }\n"

static struct {
	struct ev_loop *loop;
	struct resolve *resolve;
	struct farm *farm;
	struct place *place;
	struct tables *tables;
	struct auth *auth;
	struct moves *moves;
	struct decide *decide;
	struct table_request *asked;	/* the table's request that is open */
	uint64_t ended[8];		/* sessions that were told to end */
	unsigned n_ended;
	int silent;		/* a name server that never answers */
	unsigned n_answers;
	struct decide_answer answer;
	struct buf text;	/* what the answer's strings show */
} t;

static struct str keep(struct str s)
{
	size_t at = t.text.len;

	assert_true(buf_str(&t.text, s));
	return (struct str){ t.text.data + t.text.off + at, s.n };
}

static void on_answer(void *owner, const struct decide_answer *a)
{
	(void)owner;
	t.n_answers++;
	t.answer = *a;
	buf_clear(&t.text);
	assert_non_null(buf_reserve(&t.text, 4096));
	t.answer.user = keep(a->user);
	t.answer.login_user = keep(a->login_user);
	t.answer.login_password = keep(a->login_password);
	t.answer.master_user = keep(a->master_user);
	t.answer.master_password = keep(a->master_password);
	t.answer.backend = keep(a->backend);
	t.answer.pool = keep(a->pool);
	t.answer.capabilities = keep(a->capabilities);
	t.answer.text = keep(a->text);
	t.answer.reason = keep(a->reason);
}

static void on_end(void *owner, uint64_t worker, uint64_t session)
{
	(void)owner;
	(void)worker;
	assert_true(t.n_ended < 8);
	t.ended[t.n_ended++] = session;
}

static void on_move_end(void *owner, uint64_t worker, uint64_t session,
    bool now)
{
	(void)now;
	on_end(owner, worker, session);
}

static void on_go_on(void *owner, struct str user)
{
	(void)owner;
	decide_go_on(t.decide, user);
}

static const struct decide_calls calls = { .answer = on_answer,
	.end = on_end };

/* A table that answers when the test says so. */
static void *source_new(const struct conf_table *conf, bool fold,
    struct ev_loop *loop, struct resolve *resolve, struct err *err)
{
	(void)fold;
	assert_true(conf && loop && resolve && err);
	return &t;
}

static void source_lookup(void *kind, struct table_request *r)
{
	(void)kind;
	t.asked = r;
}

static void source_cancel(void *kind, struct table_request *r)
{
	(void)kind;
	(void)r;
	t.asked = NULL;
}

static void source_free(void *kind)
{
	(void)kind;
}

static const struct table_kind scripted = {
	.name = "scripted", .new = source_new, .lookup = source_lookup,
	.cancel = source_cancel, .free = source_free,
};

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	(void)type;
	(void)err;
	return &scripted;
}

/* Nothing here asks one. */
const struct auth_kind *auth_kind(unsigned driver, struct err *err)
{
	(void)err;
	fail_msg("driver %u is asked for", driver);
	return NULL;
}

static void table_says(enum table_verdict verdict, const char *text)
{
	struct table_request *r = t.asked;

	assert_non_null(r);
	t.asked = NULL;
	table_finish(r, verdict, str_from(text), text);
}

static bool password_file(void *arg, const char *path, struct str *data_out)
{
	(void)arg;
	(void)path;
	*data_out = STR("secret\n");
	return true;
}

static struct settings *parse(const char *text)
{
	struct err err;
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, password_file, NULL, &err);

	if (!s)
		fail_msg("%s", err.text);
	return s;
}

static void configure(const char *text, unsigned per_address)
{
	struct settings *s = parse(text);
	struct err err;

	if (!decide_configure(t.decide, s, per_address, &err))
		fail_msg("%s", err.text);
	settings_unref(&s);
}

static int setup(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof sin;

	(void)state;
	memset(&t, 0, sizeof t);
	buf_init(&t.text, 0);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	t.silent = socket(AF_INET, SOCK_DGRAM, 0);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(t.silent, (struct sockaddr *)&sin, len), 0);
	getsockname(t.silent, (struct sockaddr *)&sin, &len);
	const struct settings_address address = { "", "127.0.0.1",
		ntohs(sin.sin_port) };
	const struct settings_addresses servers = { &address, 1 };
	t.loop = ev_loop_new(0);
	t.resolve = resolve_new(t.loop, &servers, 100, NULL, NULL, NULL);
	t.farm = farm_new(t.resolve);
	t.place = place_new();
	t.tables = tables_new(t.loop, t.resolve);
	t.auth = auth_new(t.loop);
	t.moves = moves_new(t.loop, t.place, NULL, &(struct moves_calls){
	    .end = on_move_end, .go_on = on_go_on }, NULL);
	t.decide = decide_new(&(struct decide_parts){ .loop = t.loop,
	    .place = t.place, .farm = t.farm, .tables = t.tables,
	    .auth = t.auth, .moves = t.moves }, &calls, NULL);
	decide_go(t.decide);
	configure(BACKENDS ROUTES, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	decide_free(&t.decide);
	moves_free(&t.moves);
	auth_free(&t.auth);
	tables_free(&t.tables);
	farm_free(&t.farm);
	place_free(&t.place);
	resolve_free(&t.resolve);
	ev_loop_destroy(t.loop);
	close(t.silent);
	buf_fini(&t.text);
	return 0;
}

static struct decide_question question(uint64_t session, const char *user)
{
	struct decide_question q = { .worker = 1, .number = session,
		.session = session,
		.user = str_from(user), .mechanism = STR("PLAIN"),
		.listener = STR("imaps") };

	assert_true(addr_parse(&q.client, STR("198.51.100.7:4711")));
	return q;
}

static const struct decide_answer *ask(const struct decide_question *q)
{
	unsigned before = t.n_answers;

	decide_ask(t.decide, q);
	assert_int_equal(t.n_answers, before + 1);
	assert_int_equal(t.answer.worker, q->worker);
	assert_int_equal(t.answer.number, q->number);
	return &t.answer;
}

static void assert_str(struct str got, const char *want)
{
	if (!str_eq(got, str_from(want)))
		fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(got), want);
}

static void test_decide_grants(void **state)
{
	struct decide_question q = question(7, "Jan@One.ORG");
	char text[ADDR_TEXT_MAX];
	struct place_session lease;

	(void)state;
	backend_hear(farm_find(t.farm, STR("m2")), STR("IMAP4rev1 IDLE"));
	const struct decide_answer *a = ask(&q);
	assert_int_equal(a->verdict, DECIDE_GRANT);
	assert_str(a->backend, "m2");
	assert_str(a->pool, "one");
	assert_str(a->user, "Jan@One.ORG");
	assert_str(a->capabilities, "IMAP4rev1 IDLE");
	assert_str(a->master_user, "");
	assert_str(a->master_password, "");
	assert_int_equal(a->deadline_ms, 30000);
	assert_string_equal(addr_text(&a->address, text), "192.0.2.2:993");
	assert_true(place_find(t.place, 1, 7, &lease));
	assert_str(lease.user, "jan@one.org");
	assert_str(lease.backend, "m2");
	assert_int_equal(lease.since_ms, (uint64_t)(ev_now(t.loop) * 1000));
}

static void test_decide_refuses(void **state)
{
	struct decide_question q = question(1, "eva@example.org");

	(void)state;
	const struct decide_answer *a = ask(&q);
	assert_int_equal(a->verdict, DECIDE_REFUSE);
	assert_str(a->text, "NO [CONTACTADMIN] Gone.");
	assert_str(a->reason, "route-refuses");
	q.user = STR("jan@elsewhere.org");
	a = ask(&q);
	assert_int_equal(a->verdict, DECIDE_REFUSE);
	assert_str(a->text, "NO [AUTHORIZATIONFAILED] No route for this "
	    "user.");
	assert_str(a->reason, "no-route");
	q.user = STR("a\nb");
	a = ask(&q);
	assert_int_equal(a->verdict, DECIDE_REFUSE);
	assert_str(a->reason, "user-name");
	assert_int_equal(place_n(t.place), 0);
}

static void test_decide_same_user_same_backend(void **state)
{
	struct decide_question q = question(1, "jan@example.org");
	char first[16];

	(void)state;
	const struct decide_answer *a = ask(&q);
	snprintf(first, sizeof first, "%.*s", STR_ARG(a->backend));
	q.user = STR("JAN+lists@Example.ORG");
	for (unsigned i = 2; i < 20; i++) {
		q.session = i;
		assert_str(ask(&q)->backend, first);
	}
}

static void test_decide_goes_on_to_the_next(void **state)
{
	struct decide_question q = question(1, "jan@example.org");
	char excluded[64] = "";

	(void)state;
	for (int i = 0; i < 3; i++) {
		q.excluded = str_from(excluded);
		q.failure = STR("connect: refused");
		const struct decide_answer *a = ask(&q);
		assert_int_equal(a->verdict, DECIDE_GRANT);
		char name[16];
		snprintf(name, sizeof name, "%.*s", STR_ARG(a->backend));
		assert_null(strstr(excluded, name));
		assert_int_equal(place_n(t.place), 1);
		assert_int_equal(place_n_backend(t.place, str_from(name)), 1);
		snprintf(excluded + strlen(excluded),
		    sizeof excluded - strlen(excluded), "%s%s",
		    i ? " " : "", name);
	}
	q.excluded = str_from(excluded);
	assert_int_equal(ask(&q)->verdict, DECIDE_REFUSE);
	assert_str(t.answer.text,
	    "NO [UNAVAILABLE] Account is temporarily unavailable.");
	assert_str(t.answer.reason, "no-backend");
	assert_int_equal(place_n(t.place), 0);
}

static void test_decide_round_robin(void **state)
{
	struct decide_question q = question(1, "jan@turns.org");
	char user[32];
	unsigned n_first = 0;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		q.session = i;
		snprintf(user, sizeof user, "u%u@turns.org", i);
		q.user = str_from(user);
		n_first += str_eq(ask(&q)->backend, STR("m1"));
	}
	assert_int_equal(n_first, 5);
}

static void test_decide_waits_for_a_name_then_refuses(void **state)
{
	struct decide_question q = question(1, "jan@away.org");

	(void)state;
	const struct decide_answer *a = ask(&q);
	assert_int_equal(a->verdict, DECIDE_WAIT);
	assert_int_equal(a->wait_ms, DECIDE_WAIT_MS);
	while (ask(&q)->verdict == DECIDE_WAIT)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(t.answer.verdict, DECIDE_REFUSE);
	assert_str(t.answer.reason, "no-backend");
}

static void test_decide_limits_an_address(void **state)
{
	struct decide_question q = question(1, "jan@example.org");

	(void)state;
	configure(BACKENDS ROUTES, 2);
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
	q.session = 2;
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
	/* the same session once more is not one more */
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
	q.session = 3;
	assert_int_equal(ask(&q)->verdict, DECIDE_REFUSE);
	assert_str(t.answer.text,
	    "NO [LIMIT] Too many sessions from your address.");
	q.worker = 2;
	q.session = 1;
	assert_int_equal(ask(&q)->verdict, DECIDE_REFUSE);
	assert_true(addr_parse(&q.client, STR("198.51.100.8:4711")));
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
	assert_true(addr_parse(&q.client, STR("198.51.100.7:4711")));
	place_release(t.place, 1, 1);
	q.session = 2;
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
}

/* The master password opens every mailbox: nobody gets it whose name was not
 * proven here. */
static void test_decide_master_only_for_the_proven(void **state)
{
	struct decide_question q = question(1, "jan@example.org");

	(void)state;
	configure("auth { backend_login = master  mechanisms = { EXTERNAL }\n"
	    "master_user = \"root\"  master_password_file = \"pw\" }\n"
	    BACKENDS ROUTES, 0);
	q.mechanism = STR("EXTERNAL");
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
	assert_str(t.answer.master_user, "root");
	assert_str(t.answer.master_password, "secret");
	assert_str(t.answer.user, "jan@example.org");
	q.mechanism = STR("PLAIN");
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
	assert_str(t.answer.master_user, "");
	assert_str(t.answer.master_password, "");
}

static void test_decide_holds_questions(void **state)
{
	struct decide_question q = question(1, "jan@example.org");
	char user[] = "jan@one.org";

	(void)state;
	decide_hold(t.decide);
	decide_ask(t.decide, &q);
	q.number = 2;
	q.worker = 2;
	decide_ask(t.decide, &q);
	q.number = q.session = 3;
	q.worker = 1;
	q.user = str_from(user);
	decide_ask(t.decide, &q);
	memset(user, 'x', sizeof user - 1);	/* it has its own copy */
	assert_int_equal(t.n_answers, 0);
	decide_drop_worker(t.decide, 2);
	decide_go(t.decide);
	assert_int_equal(t.n_answers, 2);
	assert_int_equal(t.answer.number, 3);
	assert_str(t.answer.user, "jan@one.org");
	assert_int_equal(place_n(t.place), 2);
	decide_hold(t.decide);
	decide_ask(t.decide, &q);	/* freed with the rest */
}

static void test_decide_waits_without_configuration(void **state)
{
	struct decide_question q = question(1, "jan@example.org");
	struct decide *d = decide_new(&(struct decide_parts){ .loop = t.loop,
	    .place = t.place, .farm = t.farm, .tables = t.tables,
	    .auth = t.auth, .moves = t.moves }, &calls, NULL);

	(void)state;
	decide_go(d);
	decide_ask(d, &q);
	assert_int_equal(t.n_answers, 1);
	assert_int_equal(t.answer.verdict, DECIDE_WAIT);
	decide_free(&d);
}

static void test_decide_reload(void **state)
{
	struct decide_question q = question(1, "jan@one.org");
	char text[ADDR_TEXT_MAX];

	(void)state;
	backend_hear(farm_find(t.farm, STR("m1")), STR("IMAP4rev1 IDLE"));
	backend_hear(farm_find(t.farm, STR("m2")), STR("IMAP4rev1 ID"));
	configure("backend m1 { address = \"192.0.2.1:143\" }\n"
	    "backend m2 { address = \"192.0.2.9:993\"  tls = implicit }\n"
	    "pool one { backends = { m2, m1 } }\n"
	    "route { pool = one }\n", 0);
	assert_int_equal(farm_n(t.farm), 2);
	assert_null(farm_find(t.farm, STR("m3")));
	/* what another server said is forgotten */
	assert_str(backend_capabilities(farm_find(t.farm, STR("m1"))),
	    "IMAP4rev1 IDLE");
	assert_str(backend_capabilities(farm_find(t.farm, STR("m2"))), "");
	q.excluded = STR("m1 m3");
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
	assert_string_equal(addr_text(&t.answer.address, text),
	    "192.0.2.9:993");
}

static void test_farm_common_capabilities(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	farm_common(t.farm, &out);
	assert_int_equal(out.len, 0);
	assert_true(backend_hear(farm_find(t.farm, STR("m1")),
	    STR("IMAP4rev1 ID IDLE AUTH=PLAIN AUTH=SCRAM-SHA-256")));
	assert_false(backend_hear(farm_find(t.farm, STR("m1")),
	    STR("ID IMAP4rev1 IDLE AUTH=SCRAM-SHA-256 AUTH=PLAIN")));
	assert_false(backend_hear(farm_find(t.farm, STR("m1")), STR("")));
	farm_common(t.farm, &out);
	assert_str(buf_view(&out),
	    "IMAP4rev1 ID IDLE AUTH=PLAIN AUTH=SCRAM-SHA-256");
	backend_hear(farm_find(t.farm, STR("m2")),
	    STR("IMAP4rev1 IDLE AUTH=PLAIN"));
	buf_clear(&out);
	farm_common(t.farm, &out);
	assert_str(buf_view(&out), "IMAP4rev1 IDLE AUTH=PLAIN");
	buf_fini(&out);
}

static void note(void *arg, const char *stage, const char *text)
{
	char *to = arg;

	snprintf(to + strlen(to), 2000 - strlen(to), "%s: %s\n", stage, text);
}

static void explained(void *arg, const struct decide_answer *a)
{
	char *to = arg;

	snprintf(to + strlen(to), 2000 - strlen(to), "%d\n", a->verdict);
}

static void test_decide_explains(void **state)
{
	struct decide_question q = question(1, "Jan@One.org");
	char text[2000] = "";

	(void)state;
	assert_null(decide_explain(t.decide, &q, note, explained, text));
	assert_string_equal(text,
	    "auth: user jan@one.org, to be checked by the backend\n"
	    "route: test:9: domain does not hold\n"
	    "route: test:10: domain does not hold\n"
	    "route: test:11: holds\n"
	    "route: pool one\n"
	    "balance: pool one, rank 1 in the user's hash: m2, weight 100: "
	    "fit\n"
	    "balance: m2: fit\n"
	    "grant: m2 at 192.0.2.2:993 as Jan@One.org\n0\n");
	assert_int_equal(t.n_answers, 0);
	assert_int_equal(place_n(t.place), 0);
}

/* --- one backend per user ------------------------------------------------------ */

static void test_decide_keeps_a_user_together(void **state)
{
	struct decide_question q = question(1, "jan@turns.org");
	char first[16];

	(void)state;
	snprintf(first, sizeof first, "%.*s", STR_ARG(ask(&q)->backend));
	for (q.session = 2; q.session < 6; q.session++)
		assert_str(ask(&q)->backend, first);
	/* whatever the routes say by now */
	configure(BACKENDS "route { pool = one }\n", 0);
	assert_str(ask(&q)->backend, first);
	for (uint64_t i = 1; i <= 6; i++)
		decide_release(t.decide, 1, i);
	assert_str(ask(&q)->backend, "m2");
	assert_int_equal(t.n_ended, 0);
}

static void test_decide_splits_where_it_may(void **state)
{
	struct decide_question q = question(1, "jan@turns.org");

	(void)state;
	configure("backend m1 { address = \"192.0.2.1:143\" }\n"
	    "backend m2 { address = \"192.0.2.2:143\" }\n"
	    "pool turns { backends = { m1, m2 }  balance = round-robin\n"
	    "keep_user_together = no }\nroute { pool = turns }\n", 0);
	for (q.session = 1; q.session <= 4; q.session++)
		ask(&q);
	assert_int_equal(place_n_backend(t.place, STR("m1")), 2);
	assert_int_equal(place_n_backend(t.place, STR("m2")), 2);
	assert_int_equal(t.n_ended, 0);
}

static void test_decide_moves_a_user_as_a_whole(void **state)
{
	struct decide_question q = question(1, "jan@turns.org");
	char first[16];

	(void)state;
	snprintf(first, sizeof first, "%.*s", STR_ARG(ask(&q)->backend));
	q.session = 2;
	ask(&q);
	/* the backend is there, but would not have the login: nothing moves */
	q.excluded = str_from(first);
	q.failure = STR("unavailable: [UNAVAILABLE] later");
	assert_int_equal(ask(&q)->verdict, DECIDE_REFUSE);
	assert_int_equal(t.n_ended, 0);
	q.failure = STR("connect: refused");
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
	assert_false(str_eq(t.answer.backend, str_from(first)));
	assert_int_equal(t.n_ended, 1);
	assert_int_equal(t.ended[0], 1);
	/* who comes next goes where the user is now */
	char second[16];
	snprintf(second, sizeof second, "%.*s", STR_ARG(t.answer.backend));
	q = question(3, "jan@turns.org");
	assert_str(ask(&q)->backend, second);
}

/* A backend that the configuration no longer has is as good as down. */
static void test_decide_moves_from_what_is_gone(void **state)
{
	struct decide_question q = question(1, "jan@one.org");

	(void)state;
	assert_str(ask(&q)->backend, "m2");
	configure("backend m1 { address = \"192.0.2.1:143\" }\n"
	    "pool one { backends = { m1 } }\nroute { pool = one }\n", 0);
	q.session = 2;
	assert_str(ask(&q)->backend, "m1");
	assert_int_equal(t.n_ended, 1);
	assert_int_equal(t.ended[0], 1);
}

/* --- room ------------------------------------------------------------------------ */

#define ROOM(balance) \
	"backend m1 { address = \"192.0.2.1:143\"  max_sessions = 1 }\n" \
	"backend m2 { address = \"192.0.2.2:143\"  max_sessions = 2 }\n" \
	"backend m3 { address = \"192.0.2.3:143\" }\n" \
	"pool narrow { backends = { m1, m2 }  queue = 2  balance = " balance \
	"  queue_timeout = 100ms }\n" \
	"pool wide { backends = { m3 } }\n"

static const struct decide_answer *ask_new(uint64_t session)
{
	char user[32];

	snprintf(user, sizeof user, "u%u@example.org", (unsigned)session);
	struct decide_question q = question(session, user);
	return ask(&q);
}

static void queue_up(uint64_t session, const char *user)
{
	struct decide_question q = question(session, user);
	unsigned before = t.n_answers;

	decide_ask(t.decide, &q);
	assert_int_equal(t.n_answers, before);
}

static void test_decide_passes_over_what_is_full(void **state)
{
	static const char *const want[] = { "m1", "m2", "m2" };

	(void)state;
	configure(ROOM("first") "route { pool = narrow }\n", 0);
	for (unsigned i = 0; i < 3; i++)
		assert_str(ask_new(i)->backend, want[i]);
	queue_up(3, "u3@example.org");
	assert_int_equal(decide_n_suspended(t.decide), 1);
	decide_release(t.decide, 1, 0);
	assert_int_equal(t.answer.number, 3);
	assert_str(t.answer.backend, "m1");
	assert_int_equal(decide_n_suspended(t.decide), 0);
}

static void test_decide_queue_is_in_order_and_bounded(void **state)
{
	(void)state;
	configure(ROOM("user-hash") "route { pool = narrow }\n", 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ask_new(i)->verdict, DECIDE_GRANT);
	queue_up(3, "u3@example.org");
	queue_up(4, "u4@example.org");
	assert_int_equal(ask_new(5)->verdict, DECIDE_REFUSE);
	assert_str(t.answer.reason, "queue-full");
	assert_str(t.answer.text,
	    "NO [UNAVAILABLE] Account is temporarily unavailable.");
	decide_release(t.decide, 1, 1);
	assert_int_equal(t.answer.number, 3);
	/* who gives up makes room for another, and does not hold the seat */
	decide_release(t.decide, 1, 4);
	queue_up(6, "u6@example.org");
	decide_release(t.decide, 1, 2);
	assert_int_equal(t.answer.number, 6);
	assert_int_equal(place_n(t.place), 3);
}

static void test_decide_queue_has_a_limit_in_time(void **state)
{
	(void)state;
	configure(ROOM("least-sessions") "route { pool = narrow }\n", 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ask_new(i)->verdict, DECIDE_GRANT);
	queue_up(3, "u3@example.org");
	while (t.n_answers < 4)
		ev_run(t.loop, EVRUN_ONCE);
	assert_int_equal(t.answer.verdict, DECIDE_REFUSE);
	assert_str(t.answer.reason, "queue-timeout");
	assert_int_equal(place_n(t.place), 3);
}

/* A user with sessions waits for that backend, though others have room. */
static void test_decide_queues_for_the_users_backend(void **state)
{
	struct decide_question q = question(1, "jan@example.org");

	(void)state;
	configure(ROOM("first") "route { pool = narrow }\n", 0);
	assert_str(ask(&q)->backend, "m1");
	queue_up(2, "jan@example.org");
	assert_str(ask_new(3)->backend, "m2");
	decide_release(t.decide, 1, 3);
	assert_int_equal(t.n_answers, 2);
	decide_release(t.decide, 1, 1);
	assert_int_equal(t.answer.number, 2);
	assert_str(t.answer.backend, "m1");
}

static void test_decide_falls_back(void **state)
{
	struct decide_question q = question(1, "jan@example.org");

	(void)state;
	configure(ROOM("first") "pool back { backends = { m1 }\n"
	    "fallback = { narrow, wide } }\nroute { pool = back }\n", 0);
	q.excluded = STR("m1");
	q.failure = STR("connect: refused");
	assert_str(ask(&q)->backend, "m2");
	assert_str(t.answer.pool, "narrow");
	q.session = 2;
	q.user = STR("eva@example.org");
	q.excluded = STR("m1 m2");
	assert_str(ask(&q)->backend, "m3");
	assert_str(t.answer.pool, "wide");
	/* what is only full is waited for */
	assert_int_equal(ask_new(3)->verdict, DECIDE_GRANT);
	assert_str(t.answer.backend, "m1");
	queue_up(4, "u4@example.org");
}

/* --- tables ---------------------------------------------------------------------- */

#define TABLES \
	"table homes { type = file  path = homes  keys = { \"user@domain\" } }\n"

static void test_decide_asks_a_table(void **state)
{
	(void)state;
	configure(BACKENDS TABLES "route { table = homes }\n"
	    "route { pool = one }\n", 0);
	queue_up(1, "jan@example.org");
	table_says(TABLE_FOUND, "pool turns");
	assert_str(t.answer.pool, "turns");
	queue_up(2, "eva@example.org");
	table_says(TABLE_FOUND, "backend m3");
	assert_str(t.answer.backend, "m3");
	assert_str(t.answer.login_user, "");
	queue_up(3, "eve@example.org");
	table_says(TABLE_FOUND, "e.v.e@192.0.2.1");
	assert_str(t.answer.backend, "m1");
	assert_str(t.answer.login_user, "e.v.e");
	queue_up(4, "ann@example.org");
	table_says(TABLE_MISSING, "");
	assert_str(t.answer.pool, "one");
	queue_up(5, "bob@example.org");
	table_says(TABLE_FAILED, "is away");
	assert_int_equal(t.answer.verdict, DECIDE_REFUSE);
	assert_str(t.answer.reason, "table-failed");
	assert_str(t.answer.text,
	    "NO [UNAVAILABLE] Account is temporarily unavailable.");
}

/* One backend is meant, so no other one will do. */
static void test_decide_table_pins_to_a_backend(void **state)
{
	struct decide_question q = question(1, "eva@example.org");

	(void)state;
	configure(BACKENDS TABLES "route { table = homes }\n", 0);
	q.excluded = STR("m3");
	q.failure = STR("connect: refused");
	decide_ask(t.decide, &q);
	table_says(TABLE_FOUND, "backend m3");
	assert_int_equal(t.answer.verdict, DECIDE_REFUSE);
	assert_str(t.answer.reason, "no-backend");
	/* and it needs the rules of a pool */
	queue_up(2, "jan@example.org");
	table_says(TABLE_FOUND, "backend lost");
	assert_int_equal(t.answer.verdict, DECIDE_WAIT);
}

static void test_decide_nobody_waits_for_another(void **state)
{
	struct decide_question q = question(2, "jan@one.org");

	(void)state;
	configure(BACKENDS TABLES "route { domain = example.org  "
	    "table = homes }\nroute { pool = one }\n", 0);
	queue_up(1, "eva@example.org");
	assert_int_equal(ask(&q)->verdict, DECIDE_GRANT);
	/* the client has gone: its question is forgotten */
	decide_release(t.decide, 1, 1);
	assert_int_equal(decide_n_suspended(t.decide), 0);
	if (t.asked)
		table_says(TABLE_FOUND, "pool turns");
	assert_int_equal(t.n_answers, 1);
	assert_int_equal(place_n(t.place), 1);
}

static void test_decide_asks_anew_after_a_reload(void **state)
{
	(void)state;
	configure(BACKENDS TABLES "route { table = homes }\n", 0);
	queue_up(1, "eva@example.org");
	configure(BACKENDS "route { pool = one }\n", 0);
	assert_int_equal(t.n_answers, 1);
	assert_str(t.answer.pool, "one");
	assert_int_equal(decide_n_suspended(t.decide), 0);
}

static void test_decide_explains_a_table(void **state)
{
	struct decide_question q = question(1, "jan@example.org");
	char text[2000] = "";

	(void)state;
	configure(BACKENDS TABLES "route { table = homes }\n", 0);
	struct decision *e = decide_explain(t.decide, &q, note, explained,
	    text);
	assert_non_null(e);
	table_says(TABLE_FOUND, "backend m3");
	assert_non_null(strstr(text, "route: table homes: jan@example.org has "
	    "\"backend m3\"\n"));
	assert_non_null(strstr(text, "balance: m3, and no other: fit\n"));
	assert_non_null(strstr(text, "\n0\n"));
	e = decide_explain(t.decide, &q, note, explained, text);
	decide_explain_cancel(&e);
	assert_null(e);
	assert_int_equal(decide_n_suspended(t.decide), 0);
	if (t.asked)
		table_says(TABLE_MISSING, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_decide_grants),
		TEST(test_decide_refuses),
		TEST(test_decide_same_user_same_backend),
		TEST(test_decide_goes_on_to_the_next),
		TEST(test_decide_round_robin),
		TEST(test_decide_waits_for_a_name_then_refuses),
		TEST(test_decide_limits_an_address),
		TEST(test_decide_master_only_for_the_proven),
		TEST(test_decide_holds_questions),
		TEST(test_decide_waits_without_configuration),
		TEST(test_decide_reload),
		TEST(test_farm_common_capabilities),
		TEST(test_decide_explains),
		TEST(test_decide_keeps_a_user_together),
		TEST(test_decide_splits_where_it_may),
		TEST(test_decide_moves_a_user_as_a_whole),
		TEST(test_decide_moves_from_what_is_gone),
		TEST(test_decide_passes_over_what_is_full),
		TEST(test_decide_queue_is_in_order_and_bounded),
		TEST(test_decide_queue_has_a_limit_in_time),
		TEST(test_decide_queues_for_the_users_backend),
		TEST(test_decide_falls_back),
		TEST(test_decide_asks_a_table),
		TEST(test_decide_table_pins_to_a_backend),
		TEST(test_decide_nobody_waits_for_another),
		TEST(test_decide_asks_anew_after_a_reload),
		TEST(test_decide_explains_a_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
