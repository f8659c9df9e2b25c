/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/conf.h"
#include "backends/conf.h"
#include "proxy/base/addr.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/conf.h"

/* The names that operators' files hold: they must not change. */
static const char operators[] =
"workers = 0                       # 0: one per CPU\n"
"user = mailweir\n"
"shutdown_grace = 30s\n"
"log { to = stderr  format = logfmt  level = info }\n"
"\n"
"tls front {\n"
"  certificate = tls/cert.pem      # relative to this file; several\n"
"  key = tls/key.pem\n"
"  min_version = 1.2\n"
"  client_ca = \"\"                  # set: ask for client certificates\n"
"}\n"
"listener imaps { address = \"[::]:993\"  tls = implicit"
"  certificates = { front } }\n"
"listener imap  { address = \"[::]:143\"  tls = starttls"
"  certificates = { front }  proxy_protocol_from = { \"10.0.0.0/8\" } }\n"
"\n"
"limits { login_timeout = 60s  line = 8k  literal = 4k  bad_commands = 5"
"  failed_logins = 3  sessions = 100000  sessions_per_address = 0 }\n"
"relay  { mode = framed  idle_timeout = 35m  buffer = 64k }\n"
"\n"
"auth {                            # who may log in, and as whom\n"
"  mechanisms = { PLAIN, LOGIN, SCRAM-SHA-256, XOAUTH2, OAUTHBEARER }\n"
"  default_domain = \"\"  canonical_case = lower\n"
"  backend_login = pass            # pass: the client's own credentials\n"
"  master_user = \"\"  master_password_file = \"\"\n"
"}\n"
"\n"
"backend mail1 { address = \"mail1.example.net:143\"  tls = starttls"
"  ca = \"\"  tls_name = \"\"  verify = yes  client_info = id"
"  weight = 100 }\n"
"backend mail2 { address = \"10.0.0.12:993\"  tls = implicit"
"  client_info = proxy-v2 }\n"
"pool main { backends = { mail1, mail2 }  balance = user-hash"
"  connect_timeout = 5s  login_timeout = 30s }\n"
"\n"
"route { user = \"*@example.org\"  pool = main }\n"
"route { listener = imaps  pool = main }\n"
"route { refuse = \"[CONTACTADMIN] No mail service for this address.\" }\n";

static bool give(void *arg, const char *path, struct str *data_out)
{
	(void)arg;
	*data_out = strstr(path, "cert") ? STR("CERT\n") :
	    strstr(path, "key") ? STR("KEY\n") : STR("pass word\n");
	return true;
}

static struct settings *parse(const char *text)
{
	struct err err = { "" };
	struct settings *s = settings_from_text(str_from(text), "proxy.conf",
	    &conf_schema, give, NULL, &err);

	if (!s)
		fail_msg("%s", err.text);
	return s;
}

static void test_settings_take_the_operators_file(void **state)
{
	struct settings *s = parse(operators);
	size_t n;

	(void)state;
	assert_int_equal(conf_main(s)->shutdown_grace_ms, 30000);
	assert_string_equal(conf_main(s)->user, "mailweir");
	assert_string_equal(conf_log(s)->to, "stderr");
	assert_int_equal(conf_log(s)->level, LOG_LINE_INFO);

	const struct conf_tls *front = conf_tls_find(s, "front");
	assert_string_equal(front->certificate.path, "tls/cert.pem");
	assert_string_equal(front->certificate.data.p, "CERT\n");
	assert_int_equal(front->min_version, CONF_TLS_1_2);
	assert_string_equal(front->client_ca.path, "");
	assert_string_equal(front->where, "proxy.conf:6");

	const struct conf_listener *imap = conf_listener_find(s, "imap");
	assert_string_equal(imap->address.host, "::");
	assert_int_equal(imap->address.port, 143);
	assert_int_equal(imap->tls, CONF_TLS_STARTTLS);
	assert_ptr_equal(imap->certificates.v[0], front);
	assert_int_equal(imap->proxy_protocol_from.n, 1);
	assert_int_equal(imap->proxy_protocol_from.v[0].bits, 8);
	assert_null(conf_listener_find(s, "pop3"));

	assert_int_equal(conf_limits(s)->line_bytes, 8192);
	assert_int_equal(conf_limits(s)->commands, 200);
	assert_int_equal(conf_relay(s)->idle_timeout_ms, 2100000);
	assert_int_equal(conf_relay(s)->mode, CONF_RELAY_FRAMED);
	assert_int_equal(conf_auth(s)->mechanisms,
	    1u << CONF_MECHANISM_PLAIN | 1u << CONF_MECHANISM_LOGIN |
	    1u << CONF_MECHANISM_SCRAM_SHA_256 |
	    1u << CONF_MECHANISM_XOAUTH2 | 1u << CONF_MECHANISM_OAUTHBEARER);

	const struct conf_pool *pool = conf_pool_find(s, "main");
	assert_int_equal(pool->backends.n, 2);
	assert_string_equal(pool->backends.v[1]->name, "mail2");
	assert_int_equal(pool->backends.v[1]->client_info,
	    CONF_CLIENT_INFO_PROXY_V2);
	assert_true(pool->backends.v[0]->verify);

	const struct conf_route *const *routes = conf_route_all(s, &n);
	assert_int_equal(n, 3);
	assert_string_equal(routes[0]->user.v[0], "*@example.org");
	assert_ptr_equal(routes[0]->pool, pool);
	assert_string_equal(settings_name(routes[1]->listener.v[0]), "imaps");
	assert_null(routes[2]->pool);
	settings_unref(&s);
}

static void collect(void *arg, const char *text)
{
	char *all = arg;

	strcat(strcat(all, text), "\n");
}

/* The example at the top of the tree; unit tests run there. */
static void test_settings_take_the_example(void **state)
{
	static char text[20000];
	FILE *f = fopen("proxy.conf", "r");
	char all[1000] = "";

	(void)state;
	if (!f)
		skip();
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	struct settings *s = parse(text);
	settings_warnings(s, collect, all);
	assert_string_equal(all, "");
	assert_int_equal(conf_pool_find(s, "main")->backends.n, 2);
	settings_unref(&s);
}

/* Each section's defaults are legal and are those of the rows. */
static void test_settings_have_defaults(void **state)
{
	struct settings *s = parse("");

	(void)state;
	assert_int_equal(conf_main(s)->workers, 0);
	assert_int_equal(conf_limits(s)->pipelined_bytes, 65536);
	assert_int_equal(conf_tickets(s)->lifetime_ms, 43200000);
	assert_int_equal(conf_dns(s)->servers.n, 0);
	assert_string_equal(conf_limits(s)->where, "default");
	assert_string_equal(conf_auth(s)->master_password_file.path, "");
	assert_true(conf_auth(s)->mechanisms != 0);
	settings_unref(&s);
}

static void test_settings_read_values_in_all_forms(void **state)
{
	struct settings *s = parse(
	    "shutdown_grace = 1500ms\n"
	    "log { to = \"STDERR\" }\n"
	    "tickets { lifetime = 2d } relay { buffer = 1M }\n"
	    "dns { servers = { \"[::1]:5353\", 127.0.0.1:53 } }\n"
	    "listener a { address = \"*:1\" tls = none plaintext_login = ON\n"
	    "  proxy_protocol_from = { \"2001:db8::/32\", 192.0.2.1 } }\n"
	    "backend b { address = h-1.example:65535 verify = false }\n"
	    "route { user = '~^a\\.b$' refuse = 'it\\'s not here' }\n"
	    "route { domain = \"a \\\"b\\\" \\\\\" refuse = \"[AUTHFAILED "
	    "x y] no\" }\n");
	size_t n;

	(void)state;
	assert_int_equal(conf_main(s)->shutdown_grace_ms, 1500);
	assert_string_equal(conf_log(s)->to, "stderr");
	assert_int_equal(conf_tickets(s)->lifetime_ms, 172800000);
	assert_int_equal(conf_relay(s)->buffer_bytes, 1 << 20);
	assert_string_equal(conf_dns(s)->servers.v[0].host, "::1");
	assert_int_equal(conf_dns(s)->servers.v[1].port, 53);
	assert_string_equal(conf_listener_find(s, "a")->address.host, "*");
	assert_true(conf_listener_find(s, "a")->plaintext_login);
	assert_int_equal(conf_listener_find(s, "a")->proxy_protocol_from.n, 2);
	assert_int_equal(conf_backend_find(s, "b")->address.port, 65535);
	assert_false(conf_backend_find(s, "b")->verify);
	const struct conf_route *const *routes = conf_route_all(s, &n);
	assert_string_equal(routes[0]->user.v[0], "~^a\\.b$");
	assert_string_equal(routes[0]->refuse, "it's not here");
	assert_string_equal(routes[1]->domain.v[0], "a \"b\" \\");
	settings_unref(&s);
}

static char *printed(const struct settings *s, bool with_sources)
{
	struct buf out;
	char *text;

	buf_init(&out, 0);
	settings_print(s, &out, with_sources);
	buf_append(&out, "", 1);
	text = strdup(buf_view(&out).p);
	buf_fini(&out);
	return text;
}

static void test_settings_print_is_read_again(void **state)
{
	static const char *const texts[] = {
		"",
		operators,
		"auth { mechanisms = EXTERNAL backend_login = master\n"
		"  master_user = 'm$\"\\'\\\\x' master_password_file = p }\n",
		"dns { servers = { \"[::1]:53\", 10.0.0.1:53 } }\n"
		"relay { idle_timeout = 1801s }\n"
		"listener a { address = 127.0.0.1:143 tls = none\n"
		"  proxy_protocol_from = { \"2001:db8::/32\", 10.0.0.1 } }\n"
		"route { user = '~^\\w+${HOME}\\'$' refuse = 'a \"b\" ${X}' }",
		"region eu { countries = CH continents = { EU, AS } }\n"
		"region home { networks = 10.0.0.0/8 }\n"
		"route { user = { \"!a\", '!~^\\w$', b }  region = { \"!home\",\n"
		"  unknown, \"!eu\" }  network = { \"!10.1.0.0/16\", 10.0.0.0/8 }\n"
		"  country = \"!KP\"  asn = \"!unknown\"  percent = 5\n"
		"  refuse = no }\n"
		"route { region = { \"!unknown\" } refuse = no }\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct settings *s = parse(texts[i]);
		char *once = printed(s, false);
		char *sourced = printed(s, true);
		settings_unref(&s);
		s = parse(once);
		char *twice = printed(s, false);
		assert_string_equal(once, twice);
		settings_unref(&s);
		free(twice);
		s = parse(sourced);	/* what -T shows is legal, too */
		twice = printed(s, false);
		assert_string_equal(once, twice);
		settings_unref(&s);
		free(once);
		free(twice);
		free(sourced);
	}
}

static void test_settings_print_tells_sources(void **state)
{
	struct settings *s = parse("# one\n\nworkers = 4\n/* a\n*/ limits {"
	    "\n  // b\n  line = 9k # c\n}\n");
	char *text = printed(s, true);

	(void)state;
	assert_true(str_starts(str_from(text),
	    STR("workers = 4\t# proxy.conf:3\n")));
	assert_non_null(strstr(text, "\tline = 9k\t# proxy.conf:7\n"));
	assert_non_null(strstr(text, "user = \"mailweir\"\t# default\n"));
	assert_string_equal(conf_limits(s)->where, "proxy.conf:5");
	assert_true(settings_given(s, conf_limits(s), "line"));
	assert_false(settings_given(s, conf_limits(s), "literal"));
	free(text);
	settings_unref(&s);
}

/* health { } within pool { }: each pool has its own, with defaults where the
 * text has none, and it is printed where it stands. */
static void test_settings_within_others(void **state)
{
	static const char text[] =
	    "backend a { address = \"10.0.0.1:143\" }\n"
	    "pool x { health { type = login  user = probe\n"
	    "  password_file = pw  rise = 7 }  backends = { a } }\n"
	    "pool y { backends = { a } }\n";
	struct settings *s = parse(text);
	const struct conf_pool *x = conf_pool_find(s, "x");
	const struct conf_pool *y = conf_pool_find(s, "y");

	(void)state;
	assert_int_equal(x->health->type, CONF_HEALTH_LOGIN);
	assert_string_equal(x->health->user, "probe");
	assert_string_equal(x->health->password_file.data.p, "pass word");
	assert_int_equal(x->health->rise, 7);
	assert_string_equal(x->health->where, "proxy.conf:2");
	assert_int_equal(y->health->rise, 2);
	assert_int_equal(y->health->interval_ms, 5000);
	assert_string_equal(y->health->where, "default");

	char *once = printed(s, true);
	assert_non_null(strstr(once, "\thealth {\n\t\ttype = login\t"
	    "# proxy.conf:2\n"));
	assert_non_null(strstr(once, "\t\trise = 7\t# proxy.conf:3\n"));
	struct settings *again = parse(once);
	const struct conf_pool *same = conf_pool_find(again, "x");
	assert_true(settings_same(x, same));
	assert_int_equal(conf_pool_find(again, "y")->health->rise, 2);
	settings_unref(&again);
	char *rise = strstr(once, "rise = 7");
	rise[7] = '8';
	again = parse(once);
	assert_false(settings_same(x, conf_pool_find(again, "x")));
	assert_true(settings_same(y, conf_pool_find(again, "y")));
	settings_unref(&again);
	free(once);
	settings_unref(&s);
}

static void test_settings_trim_secrets_and_hold_files_once(void **state)
{
	struct settings *s = parse("auth { mechanisms = EXTERNAL\n"
	    "  backend_login = master master_user = m\n"
	    "  master_password_file = pw }\n");
	const struct settings_file *f = &conf_auth(s)->master_password_file;

	(void)state;
	assert_int_equal(f->data.n, 9);
	assert_string_equal(f->data.p, "pass word");
	settings_unref(&s);
}

static void count_file(void *arg, const struct settings_file *f,
    bool is_secret)
{
	(void)is_secret;
	assert_true(f->path[0]);
	++*(int *)arg;
}

static void test_settings_tell_files_once_each(void **state)
{
	struct settings *s = parse(
	    "tls a { certificate = cert key = key }\n"
	    "tls b { certificate = cert key = key2 client_ca = cert }\n"
	    "backend h { address = h:1 tls = implicit ca = cert }\n");
	int n = 0;

	(void)state;
	settings_files(s, count_file, &n);
	assert_int_equal(n, 3);
	settings_unref(&s);
}

static int files_of(const char *text)
{
	struct settings *s = parse(text);
	int n = 0;

	settings_files(s, count_file, &n);
	settings_unref(&s);
	return n;
}

static void test_system_files_are_read_when_needed(void **state)
{
	(void)state;
	assert_int_equal(files_of("backend h { address = h:1 }"), 0);
	assert_int_equal(files_of(
	    "backend h { address = h:1 tls = implicit verify = no }"), 0);
	assert_int_equal(files_of(
	    "backend h { address = h:1 tls = implicit }\n"
	    "backend i { address = i:1 tls = starttls ca = \"\" }"), 1);
}

static void test_settings_tell_fixed_changes(void **state)
{
	const char *a = "workers = 1 user = a shutdown_grace = 1s\n"
	    "listener x { address = 127.0.0.1:1 tls = none backlog = 5 }\n"
	    "listener y { address = 127.0.0.1:2 tls = none backlog = 5 }\n";
	const char *b = "workers = 2 user = a shutdown_grace = 2s\n"
	    "listener z { address = 127.0.0.1:3 tls = none backlog = 9 }\n"
	    "listener x { address = 127.0.0.1:1 tls = none backlog = 6 }\n";
	struct settings *was = parse(a), *now = parse(b);
	char all[200] = "";

	(void)state;
	settings_fixed_changes(was, now, collect, all);
	assert_string_equal(all, "workers\nlistener x.backlog\n");
	settings_unref(&was);
	settings_unref(&now);
}

static void test_settings_warn_of_the_unwise(void **state)
{
	struct settings *s = parse(
	    "relay { idle_timeout = 5s }\n"
	    "listener x { address = 127.0.0.1:1 tls = none }\n"
	    "route { refuse = a }\nroute { refuse = b }\n");
	char all[1000] = "";

	(void)state;
	settings_warnings(s, collect, all);
	assert_string_equal(all,
	    "proxy.conf:2: listener x: nobody can log in: there is no TLS, "
	    "and plaintext_login = no\n"
	    "proxy.conf:1: relay.idle_timeout: under 30m: clients in IDLE "
	    "are cut off (RFC 9051, section 5.4)\n"
	    "proxy.conf:4: route: never reached: the route at proxy.conf:3 "
	    "always holds\n");
	settings_unref(&s);
}

/* But for what is missing for clients to connect at all. */
static void collect_places(void *arg, const char *text)
{
	if (!strstr(text, ": settings: "))
		collect(arg, text);
}

static void test_settings_warn_of_places_without_a_database(void **state)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{ "route { country = CH refuse = a }",
		  "proxy.conf:1: route.country: never holds without a "
		  "database; expected geoip.country\n" },
		{ "geoip { country = c } route { country = CH refuse = a }",
		  "" },
		{ "geoip { city = c } route { country = CH refuse = a }", "" },
		{ "geoip { city = c } route { asn = 1 refuse = a }",
		  "proxy.conf:1: route.asn: never holds without a database; "
		  "expected geoip.asn\n" },
		{ "geoip { country = c } region a { countries = CH\n"
		  "subdivisions = CH-ZH }",
		  "proxy.conf:2: region a.subdivisions: never holds without a "
		  "database; expected geoip.city\n" },
		{ "region a { continents = EU asns = 1 }",
		  "proxy.conf:1: region a.asns: never holds without a "
		  "database; expected geoip.asn\n"
		  "proxy.conf:1: region a.continents: never holds without a "
		  "database; expected geoip.country\n" },
		{ "region a { }", "proxy.conf:1: region a: it has nothing: no "
		  "address is in it\n" },
		{ "region a { networks = 10.0.0.0/8 }", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct settings *s = parse(rows[i].text);
		char all[1000] = "";
		settings_warnings(s, collect_places, all);
		assert_string_equal(all, rows[i].said);
		settings_unref(&s);
	}
}

/* The elements with "!" come last, in their order. */
static void test_settings_negated_elements(void **state)
{
	struct settings *s = parse(
	    "region home { networks = 10.0.0.0/8 }\n"
	    "route { user = { \"!a\", b, \"!!c\", d }  sni = \"\"\n"
	    "  region = { \"!home\", unknown }  network = \"!10.0.0.0/8\"\n"
	    "  refuse = no }\n");
	size_t n;
	const struct conf_route *r = conf_route_all(s, &n)[0];

	(void)state;
	assert_int_equal(r->user.n, 4);
	assert_int_equal(r->user.n_not, 2);
	assert_string_equal(r->user.v[0], "b");
	assert_string_equal(r->user.v[1], "d");
	assert_string_equal(r->user.v[2], "a");
	assert_string_equal(r->user.v[3], "!c");
	assert_int_equal(r->sni.n, 0);
	assert_int_equal(r->region.n, 2);
	assert_int_equal(r->region.n_not, 1);
	assert_null(r->region.v[0]);
	assert_string_equal(r->region.v[1]->name, "home");
	assert_int_equal(r->network.n, 1);
	assert_int_equal(r->network.n_not, 1);
	settings_unref(&s);
}

static void test_settings_live_as_long_as_a_reference(void **state)
{
	struct settings *s = parse("workers = 7"), *held = settings_ref(s);

	(void)state;
	settings_unref(&s);
	assert_null(s);
	assert_int_equal(conf_main(held)->workers, 7);
	settings_unref(&held);
	settings_unref(&held);	/* NULL by now */
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void drop_files(const char *dir)
{
	static const char *const names[] = { "proxy.conf", "cert", "key",
		"10-a.inc", "20-b.inc", "loop.inc" };
	char path[300];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

static void test_settings_load_files_and_includes(void **state)
{
	char dir[] = "/tmp/test_settings.XXXXXX", path[300], want[400];
	struct err err = { "" };
	size_t n;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/proxy.conf", dir);
	write_file(dir, "cert", "CERT\n");
	write_file(dir, "key", "KEY\n");
	write_file(dir, "proxy.conf", "route { refuse = 1 }\n"
	    "include(\"*.inc\") # both\n"
	    "route { refuse = 4 }\nlog { to = some.log }\n");
	write_file(dir, "10-a.inc", "# a\nroute { refuse = 2 }\n"
	    "tls t { certificate = cert key = key }\n");
	write_file(dir, "20-b.inc", "\nroute { refuse = 3 }");
	struct settings *s = settings_load(path, &conf_schema, &err);
	assert_string_equal(err.text, "");
	assert_non_null(s);
	const struct conf_route *const *routes = conf_route_all(s, &n);
	assert_int_equal(n, 4);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(routes[i]->refuse[0], '1' + (int)i);
	snprintf(want, sizeof want, "%s/10-a.inc:2", dir);
	assert_string_equal(routes[1]->where, want);
	snprintf(want, sizeof want, "%s/proxy.conf:3", dir);
	assert_string_equal(routes[3]->where, want);
	assert_string_equal(conf_tls_find(s, "t")->key.data.p, "KEY\n");
	snprintf(want, sizeof want, "%s/some.log", dir);
	assert_string_equal(conf_log(s)->to, want);
	settings_unref(&s);

	write_file(dir, "loop.inc", "workers = 1\ninclude(\"loop.inc\")\n");
	s = settings_load(path, &conf_schema, &err);
	assert_null(s);
	snprintf(want, sizeof want, "%s/loop.inc:1: workers is set a second "
	    "time in one place; expected it once", dir);
	assert_string_equal(err.text, want);

	write_file(dir, "loop.inc", "\ninclude(\"loop.inc\")\n");
	s = settings_load(path, &conf_schema, &err);
	assert_null(s);
	snprintf(want, sizeof want, "%s/loop.inc:2: includes are nested too "
	    "deeply; expected 8 levels at most", dir);
	assert_string_equal(err.text, want);

	write_file(dir, "loop.inc", "\nroute { pool = x }\n");
	s = settings_load(path, &conf_schema, &err);
	assert_null(s);
	snprintf(want, sizeof want, "%s/loop.inc:2: route.pool: there is no "
	    "pool \"x\"; expected the name of one", dir);
	assert_string_equal(err.text, want);

	drop_files(dir);
	s = settings_load(path, &conf_schema, &err);
	assert_null(s);
	assert_non_null(strstr(err.text, "No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings_take_the_operators_file),
		cmocka_unit_test(test_settings_take_the_example),
		cmocka_unit_test(test_settings_have_defaults),
		cmocka_unit_test(test_settings_read_values_in_all_forms),
		cmocka_unit_test(test_settings_print_is_read_again),
		cmocka_unit_test(test_settings_print_tells_sources),
		cmocka_unit_test(test_settings_within_others),
		cmocka_unit_test(test_settings_trim_secrets_and_hold_files_once),
		cmocka_unit_test(test_settings_tell_files_once_each),
		cmocka_unit_test(test_system_files_are_read_when_needed),
		cmocka_unit_test(test_settings_tell_fixed_changes),
		cmocka_unit_test(test_settings_warn_of_the_unwise),
		cmocka_unit_test(
		    test_settings_warn_of_places_without_a_database),
		cmocka_unit_test(test_settings_negated_elements),
		cmocka_unit_test(test_settings_live_as_long_as_a_reference),
		cmocka_unit_test(test_settings_load_files_and_includes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
