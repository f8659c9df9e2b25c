/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/* Against a real redis-server; a fake one only says what a real one never
 * does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ev.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "backends/resolve.h"
#include "backends/table.h"
#include "proxy/base/addr.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define PATIENCE_S 20.

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	(void)err;
	return type == CONF_TABLE_REDIS ? &table_redis : NULL;
}

static char dir[64], path[96];

static struct {
	struct ev_loop *loop;
	struct resolve *resolve;
	struct tables *tables;
	pid_t server;
	redisContext *cli;
	enum table_verdict verdict;
	char value[TABLE_VALUE_MAX + 1], why[256];
	unsigned n_answers, n_found;
} t;

/* --- the server ------------------------------------------------------------------ */

static void server_start(const char *option, const char *value)
{
	double until = ev_time() + PATIENCE_S;

	t.server = fork();
	assert_true(t.server >= 0);
	if (t.server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!freopen("/dev/null", "w", stdout))
			_exit(126);
		execlp("redis-server", "redis-server", "--port", "0",
		    "--unixsocket", path, "--dir", dir, "--save", "",
		    option, value, (char *)NULL);
		_exit(127);
	}
	for (;;) {
		t.cli = redisConnectUnix(path);
		if (t.cli && !t.cli->err)
			return;
		redisFree(t.cli);
		t.cli = NULL;
		assert_true(ev_time() < until);
		assert_int_equal(waitpid(t.server, NULL, WNOHANG), 0);
		usleep(5000);
	}
}

static void server_stop(void)
{
	if (t.cli)
		redisFree(t.cli);
	t.cli = NULL;
	if (t.server <= 0)
		return;
	kill(t.server, SIGKILL);
	assert_int_equal(waitpid(t.server, NULL, 0), t.server);
	t.server = 0;
}

/* Words between spaces; the answer is an integer or none. */
static long long cli(const char *text)
{
	redisReply *reply = redisCommand(t.cli, text);

	if (!reply || reply->type == REDIS_REPLY_ERROR)
		fail_msg("%s: %s", text, reply ? reply->str : t.cli->errstr);
	long long n = reply->integer;
	freeReplyObject(reply);
	return n;
}

static void cli_set(struct str key, const char *value)
{
	const char *argv[] = { "SET", key.p, value };
	size_t lengths[] = { 3, key.n, strlen(value) };
	redisReply *reply = redisCommandArgv(t.cli, 3, argv, lengths);

	assert_non_null(reply);
	assert_int_equal(reply->type, REDIS_REPLY_STATUS);
	freeReplyObject(reply);
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	signal(SIGPIPE, SIG_IGN);
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	snprintf(dir, sizeof dir, "/tmp/test_table_redis.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/s", dir);
	t.loop = ev_loop_new(0);
	t.resolve = resolve_new(t.loop, &(struct settings_addresses){ 0 },
	    500, NULL, NULL, NULL);
	t.tables = tables_new(t.loop, t.resolve);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	tables_free(&t.tables);
	resolve_free(&t.resolve);
	ev_loop_destroy(t.loop);
	server_stop();
	snprintf(command, sizeof command, "rm -r '%s'", dir);
	return system(command);
}

/* --- asking ---------------------------------------------------------------------- */

static bool give_file(void *arg, const char *name, struct str *data_out)
{
	(void)name;
	*data_out = str_from(arg);
	return true;
}

/* Nothing is cached, unless more says so. */
static void configure_with(const char *where, const char *more, char *secret)
{
	char text[1024];
	struct err err;

	snprintf(text, sizeof text,
	    "backend eu { address = \"mail1.example.net:143\" }\n"
	    "backend us { address = \"mail2.example.net:143\" }\n"
	    "table homes { type = redis  %s\n keys = { user@domain }\n"
	    "cache = 0s  negative_cache = 0s  grace = 0s\n %s }\n", where,
	    more);
	struct settings *s = settings_from_text(str_from(text), "test",
	    &conf_schema, give_file, secret, &err);
	if (!s || !tables_configure(t.tables, s, &err))
		fail_msg("%s", err.text);
	settings_unref(&s);
}

static void configure(const char *more)
{
	char where[128];

	snprintf(where, sizeof where, "path = \"%s\"", path);
	configure_with(where, more, NULL);
}

static void on_done(void *owner, const struct table_answer *a)
{
	(void)owner;
	t.verdict = a->verdict;
	snprintf(t.value, sizeof t.value, "%.*s", STR_ARG(a->value));
	snprintf(t.why, sizeof t.why, "%s", a->why ? a->why : "");
	t.n_answers++;
	t.n_found += a->verdict == TABLE_FOUND;
}

static struct table_lookup *start(struct str user)
{
	return table_lookup(tables_find(t.tables, "homes"), user, on_done,
	    NULL);
}

static void wait_answers(unsigned n)
{
	double until = ev_time() + PATIENCE_S;

	while (t.n_answers < n) {
		assert_true(ev_time() < until);
		ev_run(t.loop, EVRUN_ONCE);
	}
}

static enum table_verdict ask(struct str user)
{
	unsigned n = t.n_answers + 1;

	start(user);
	wait_answers(n);
	return t.verdict;
}

/* Other answers may come first. */
static void wait_verdict(const char *user, enum table_verdict wanted)
{
	double until = ev_time() + PATIENCE_S;

	while (ask(str_from(user)) != wanted) {
		if (ev_time() > until)
			fail_msg("%d: %s", (int)t.verdict, t.why);
		ev_run(t.loop, EVRUN_ONCE);
	}
}

static void assert_value(const char *user, const char *value)
{
	if (ask(str_from(user)) != TABLE_FOUND || strcmp(t.value, value) != 0)
		fail_msg("%s: %d, %s%s", user, (int)t.verdict, t.value, t.why);
}

static void assert_failed(const char *user, const char *words)
{
	assert_int_equal(ask(str_from(user)), TABLE_FAILED);
	if (!strstr(t.why, words))
		fail_msg("\"%s\" in \"%s\"", words, t.why);
}

/* --- what a server answers ------------------------------------------------------ */

static void test_redis_gets_keys(void **state)
{
	(void)state;
	server_start("--databases", "20");
	cli("SET jan eu");
	cli("SET mail:jan:home:jan us");
	cli_set(STR("100%jan%s"), "us");
	cli("SELECT 17");
	cli("SET jan us");
	configure("");
	assert_value("jan", "eu");
	assert_int_equal(ask(STR("eva")), TABLE_MISSING);
	configure("key = \"mail:%s:home:%s\"");
	assert_value("jan", "us");
	configure("key = \"100%%%s%%s\"");
	assert_value("jan", "us");
	configure("database = 17");
	assert_value("jan", "us");
	configure("database = 20");
	assert_failed("jan", "DB index");
}

static void test_redis_gets_fields(void **state)
{
	(void)state;
	server_start("--databases", "1");
	cli("HSET jan pool eu host us");
	cli("HSET homes jan eu");
	configure("field = pool");
	assert_value("jan", "eu");
	configure("field = host");
	assert_value("jan", "us");
	configure("field = none");
	assert_int_equal(ask(STR("jan")), TABLE_MISSING);
	configure("key = homes  field = \"%s\"");
	assert_value("jan", "eu");
	assert_int_equal(ask(STR("eva")), TABLE_MISSING);
	configure("");
	assert_failed("jan", "WRONGTYPE");
}

static void test_redis_keys_are_bytes(void **state)
{
	static const struct str keys[] = { { "*)(", 3 }, { "'\"\\", 3 },
		{ "%s%n%b", 6 }, { "a\r\nDEL jan\r\n", 12 }, { "a\0b", 3 },
		{ "j\xe4n", 3 }, { "a b", 3 }, { "$3\r\nfoo\r\n", 9 },
		{ "%s", 2 }, { "*", 1 } };
	char longest[256];

	(void)state;
	memset(longest, 'x', sizeof longest);
	server_start("--databases", "1");
	cli("SET jan eu");
	configure("");
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		assert_int_equal(ask(keys[i]), TABLE_MISSING);
	assert_int_equal(ask((struct str){ longest, 256 }), TABLE_MISSING);
	assert_value("jan", "eu");
	assert_int_equal(cli("DBSIZE"), 1);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		cli_set(keys[i], "us");
		assert_int_equal(ask(keys[i]), TABLE_FOUND);
	}
	cli_set((struct str){ longest, 256 }, "us");
	assert_int_equal(ask((struct str){ longest, 256 }), TABLE_FOUND);
}

static void test_redis_bounds_values(void **state)
{
	char value[1100];

	(void)state;
	server_start("--databases", "1");
	memset(value, ' ', sizeof value);
	memcpy(value, "eu", 2);
	value[TABLE_VALUE_MAX] = 0;
	cli_set(STR("jan"), value);
	cli_set(STR("empty"), "");
	configure("");
	assert_int_equal(ask(STR("jan")), TABLE_FOUND);
	value[TABLE_VALUE_MAX] = ' ';
	value[sizeof value - 1] = 0;
	cli_set(STR("jan"), value);
	assert_failed("jan", "too long");
	assert_failed("empty", "no pool");
	cli("SETRANGE big 5000000 x");
	cli_set(STR("eva"), "eu");
	ask(STR("big"));
	assert_int_equal(t.verdict, TABLE_FAILED);
	wait_verdict("eva", TABLE_FOUND);
}

static void test_redis_authenticates(void **state)
{
	char secret[] = "s3cret", wrong[] = "sesame",
	    of_user[] = "mailweir:a:b c", where[128];

	(void)state;
	server_start("--requirepass", "s3cret");
	cli("AUTH s3cret");
	cli("SET jan eu");
	cli("ACL SETUSER mailweir on ~* +get +ping");
	const char *argv[] = { "ACL", "SETUSER", "mailweir", ">a:b c" };
	freeReplyObject(redisCommandArgv(t.cli, 4, argv, NULL));
	snprintf(where, sizeof where, "path = \"%s\"", path);
	configure_with(where, "password_file = pw", secret);
	assert_value("jan", "eu");
	configure_with(where, "password_file = pw", wrong);
	assert_failed("jan", "WRONGPASS");
	assert_null(strstr(t.why, wrong));
	assert_failed("jan", "WRONGPASS");
	configure_with(where, "password_file = pw  timeout = 10s", of_user);
	assert_value("jan", "eu");
	configure("");
	assert_failed("jan", "NOAUTH");
}

static void test_redis_pipelines_on_one_connection(void **state)
{
	char user[32];

	(void)state;
	server_start("--databases", "1");
	cli("SET user500 eu");
	configure("");
	for (int i = 0; i < 1000; i++) {
		snprintf(user, sizeof user, "user%d", i);
		assert_non_null(start(str_from(user)));
		start(str_from(user));		/* the same request */
	}
	wait_answers(2000);
	assert_int_equal(t.n_found, 2);
	struct table_counts c = table_counts(tables_find(t.tables, "homes"));
	assert_int_equal(c.requests, 1000);
	redisReply *reply = redisCommand(t.cli, "INFO clients");
	assert_non_null(strstr(reply->str, "connected_clients:2\r\n"));
	freeReplyObject(reply);
}

/* --- a server that goes and comes -------------------------------------------- */

static void test_redis_comes_when_it_can(void **state)
{
	double began = ev_time();

	(void)state;
	configure("timeout = 60s");
	assert_failed("jan", "No such file");
	assert_null(start(STR("jan")));		/* at once */
	assert_true(ev_time() - began < 30);
	server_start("--databases", "1");
	cli("SET jan eu");
	wait_verdict("jan", TABLE_FOUND);
}

static void test_redis_comes_back(void **state)
{
	(void)state;
	server_start("--databases", "1");
	cli("SET jan eu");
	configure("timeout = 60s");
	assert_value("jan", "eu");
	kill(t.server, SIGSTOP);
	for (int i = 0; i < 3; i++) {
		char user[2] = { (char)('a' + i), 0 };
		assert_non_null(start(str_from(user)));
	}
	server_stop();		/* with three requests */
	wait_answers(4);
	assert_int_equal(t.verdict, TABLE_FAILED);
	assert_non_null(strstr(t.why, path));
	wait_verdict("jan", TABLE_FAILED);
	server_start("--databases", "1");
	cli("SET jan us");
	wait_verdict("jan", TABLE_FOUND);
	assert_string_equal(t.value, "us");
}

/* The kernel goes on to accept connections for it. */
static void test_redis_stalls(void **state)
{
	(void)state;
	server_start("--databases", "1");
	cli("SET jan eu");
	configure("timeout = 300ms");
	assert_value("jan", "eu");
	kill(t.server, SIGSTOP);
	assert_non_null(start(STR("jan")));
	assert_non_null(start(STR("eva")));
	wait_answers(3);
	assert_int_equal(t.verdict, TABLE_FAILED);
	assert_non_null(strstr(t.why, "no answer within 300 ms"));
	/* and from now on nobody waits, also for new connections */
	double until = ev_time() + 0.8;
	while (ev_time() < until) {
		ev_run(t.loop, EVRUN_ONCE);
		assert_null(start(STR("jan")));
		assert_int_equal(t.verdict, TABLE_FAILED);
	}
	kill(t.server, SIGCONT);
	wait_verdict("jan", TABLE_FOUND);
}

/* One late answer among others that come is no reason to hang up. */
static void test_redis_may_be_left_at_any_time(void **state)
{
	(void)state;
	server_start("--databases", "1");
	cli("SET jan eu");
	configure("timeout = 60s");
	struct table_lookup *l = start(STR("jan"));
	table_cancel(&l);		/* before there is a connection */
	tables_free(&t.tables);
	t.tables = tables_new(t.loop, t.resolve);
	configure("timeout = 60s");
	assert_value("jan", "eu");
	kill(t.server, SIGSTOP);
	l = start(STR("jan"));
	start(STR("eva"));
	configure("timeout = 50s");	/* the old one ends what it has */
	table_cancel(&l);
	kill(t.server, SIGCONT);
	wait_answers(2);
	assert_int_equal(t.verdict, TABLE_MISSING);
	kill(t.server, SIGSTOP);
	l = start(STR("jan"));
	ev_run(t.loop, EVRUN_NOWAIT);
	table_cancel(&l);
	tables_free(&t.tables);		/* with a request on its way */
	t.tables = tables_new(t.loop, t.resolve);
	kill(t.server, SIGCONT);
	configure("");
	assert_value("jan", "eu");
}

/* --- a server that is none --------------------------------------------------- */

static struct {
	ev_io accepting, reading;
	int n_seen;
	const char *answer;	/* to the second command; PING has +PONG */
	size_t n_answer;
	bool repeats;
} fake;

static void on_fake_read(struct ev_loop *loop, ev_io *io, int revents)
{
	char bytes[4096];
	ssize_t n = read(io->fd, bytes, sizeof bytes - 1);

	(void)revents;
	if (n <= 0) {
		ev_io_stop(loop, io);
		close(io->fd);
		return;
	}
	bytes[n] = 0;
	if (strstr(bytes, "PING"))
		assert_int_equal(write(io->fd, "+PONG\r\n", 7), 7);
	if (strstr(bytes, "GET")) {
		fake.n_seen++;
		do {
			n = write(io->fd, fake.answer, fake.n_answer);
		} while (fake.repeats && n > 0);
	}
	if (fake.repeats && fake.n_seen)
		ev_io_set(io, io->fd, EV_READ | EV_WRITE);
}

static void on_fake_event(struct ev_loop *loop, ev_io *io, int revents)
{
	if (revents & EV_READ)
		on_fake_read(loop, io, revents);
	else if (write(io->fd, fake.answer, fake.n_answer) < 0) {
		ev_io_stop(loop, io);
		close(io->fd);
	}
}

static void on_fake_accept(struct ev_loop *loop, ev_io *io, int revents)
{
	int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK);

	(void)revents;
	assert_true(fd >= 0);
	ev_io_stop(loop, &fake.reading);
	ev_io_init(&fake.reading, on_fake_event, fd, EV_READ);
	ev_io_start(loop, &fake.reading);
}

/* On a port that it returns. */
static unsigned fake_start(void)
{
	struct addr a;
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&fake, 0, sizeof fake);
	assert_true(addr_parse(&a, STR("127.0.0.1:0")));
	assert_int_equal(bind(fd, &a.sa, addr_len(&a)), 0);
	assert_int_equal(listen(fd, 10), 0);
	assert_int_equal(getsockname(fd, &a.sa, &n), 0);
	ev_io_init(&fake.accepting, on_fake_accept, fd, EV_READ);
	ev_io_start(t.loop, &fake.accepting);
	return addr_port(&a);
}

static void fake_stop(void)
{
	if (ev_is_active(&fake.reading)) {
		ev_io_stop(t.loop, &fake.reading);
		close(fake.reading.fd);
	}
	ev_io_stop(t.loop, &fake.accepting);
	close(fake.accepting.fd);
}

static void test_redis_survives_any_answer(void **state)
{
	static const struct {
		const char *answer, *why;
		bool repeats;
	} rows[] = {
		{ "$-1\r\n+more\r\n+more\r\n", NULL, false },
		{ "-LOADING Redis is loading the dataset in memory\r\n",
		    "LOADING Redis is", false },
		{ "-MOVED 3999 127.0.0.1:6381\r\n", "MOVED 3999", false },
		{ "*1\r\n$1\r\nx\r\n", "no string", false },
		{ "*2147483647\r\n", "no string", false },
		{ ":5\r\n", "no string", false },
		{ "+OK\r\n", "no value", false },
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", "127.0.0.1", false },
		{ "$99999999999999999999\r\n", "127.0.0.1", false },
		{ "$-5\r\n", "127.0.0.1", false },
		{ "$500000000\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		    "without an end", true },
		{ "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		    "127.0.0.1", true },
	};
	char where[64];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(where, sizeof where, "address = \"127.0.0.1:%u\"",
		    fake_start());
		fake.answer = rows[i].answer;
		fake.n_answer = strlen(rows[i].answer);
		fake.repeats = rows[i].repeats;
		configure_with(where, "", NULL);
		ask(STR("jan"));
		if (rows[i].why)
			assert_int_equal(t.verdict, TABLE_FAILED);
		if (rows[i].why && !strstr(t.why, rows[i].why))
			fail_msg("%s: %s", rows[i].answer, t.why);
		fake_stop();
		ask(STR("eva"));
		ask(STR("joe"));
		assert_int_equal(t.verdict, TABLE_FAILED);
	}
}

static void test_redis_server_may_have_a_name(void **state)
{
	char where[64];

	(void)state;
	snprintf(where, sizeof where, "address = \"localhost:%u\"",
	    fake_start());
	fake.answer = "$2\r\neu\r\n";
	fake.n_answer = strlen(fake.answer);
	configure_with(where, "", NULL);
	wait_verdict("jan", TABLE_FOUND);
	configure_with("address = \"no-such-name.invalid:6379\"",
	    "timeout = 60s", NULL);
	struct table_lookup *l = start(STR("jan"));
	table_cancel(&l);	/* no name server answers here, perhaps */
	fake_stop();
}

static void test_redis_settings_are_checked(void **state)
{
	static const struct {
		const char *text, *wanted;
	} rows[] = {
		{ "", "expected address, or path" },
		{ "address = \"h:1\" path = s", "expected address, or path" },
		{ "address = \"*:1\"", "* is no server" },
		{ "address = \"h:1\" key = homes", "%s" },
		{ "address = \"h:1\" key = homes field = pool", "%s" },
		{ "address = \"h:1\" key = \"%s:%n\"", "%n" },
		{ "address = \"h:1\" key = \"%s%\"", "%s%" },
		{ "address = \"h:1\" database = x", "database" },
	};
	char text[512];
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(text, sizeof text, "table homes { type = redis  %s\n"
		    "}\n", rows[i].text);
		assert_null(settings_from_text(str_from(text), "test",
		    &conf_schema, NULL, NULL, &err));
		if (!strstr(err.text, rows[i].wanted))
			fail_msg("%s: %s", rows[i].text, err.text);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_redis_settings_are_checked),
		TEST(test_redis_gets_keys),
		TEST(test_redis_gets_fields),
		TEST(test_redis_keys_are_bytes),
		TEST(test_redis_bounds_values),
		TEST(test_redis_authenticates),
		TEST(test_redis_pipelines_on_one_connection),
		TEST(test_redis_comes_when_it_can),
		TEST(test_redis_comes_back),
		TEST(test_redis_stalls),
		TEST(test_redis_may_be_left_at_any_time),
		TEST(test_redis_survives_any_answer),
		TEST(test_redis_server_may_have_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
