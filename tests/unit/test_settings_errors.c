/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * What is said of a wrong proxy.conf, word for word: operators read it, and
 * "file:line: what is wrong, what was expected" holds for each line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/conf.h"
#include "proxy/base/err.h"

#define TLS "tls a { certificate = c key = k } "
#define HOST "backend h { address = \"h:1\" } "
#define EOL "\n"

static const struct row {
	const char *text, *said;
} rows[] = {
	/* names */
	{ EOL EOL "lisener imap { }",
	  "t:3: unknown setting \"lisener\" here; did you mean "
	  "\"listener\"?" },
	{ "limits {" EOL " lien = 8k }",
	  "t:2: unknown setting \"lien\" in limits; did you mean "
	  "\"line\"?" },
	{ "limits { idle_timeout = 4m }",
	  "t:1: unknown setting \"idle_timeout\" in limits; it belongs into "
	  "relay" },
	{ "limits { workers = 4 }",
	  "t:1: unknown setting \"workers\" in limits; it belongs outside of "
	  "sections" },
	{ "include(\"x\")",
	  "t:1: include cannot stand here; expected it in a file, outside of "
	  "sections" },
	/* sections */
	{ "limits { }" EOL "limits { }",
	  "t:2: limits: there already at t:1; expected one such section" },
	{ "listener { }",
	  "t:1: no name behind \"listener\"; expected a name, then \"{\"" },
	{ "listener \"a b\" { address = \"*:1\" tls = none }",
	  "t:1: listener a b: not a name; expected 1 to 64 letters, digits, "
	  "\".\", \"_\" and \"-\"" },
	{ TLS EOL "tls a { }",
	  "t:2: a section of this kind with the name \"a\" is there already; "
	  "expected another name" },
	{ "route x { }", "t:1: no \"{\" behind \"route\"; expected \"{\"" },
	{ "route {" EOL "refuse = a" EOL,
	  "t:1: \"{\" is not closed; expected \"}\"" },
	{ "route { refuse = a }" EOL "}",
	  "t:2: \"}\" without \"{\"; expected a setting or a section" },
	/* writing */
	{ "user = \"abc", "t:1: a string begins here and does not end; "
	  "expected a closing quote on the same line" },
	{ "user = a" EOL "/* abc", "t:2: a comment begins here and does not "
	  "end; expected \"*/\"" },
	{ "user = *a", "t:1: \"*\" or \"+\" outside of quotes; expected the "
	  "value in quotes" },
	{ "user = \"\\.\"", "t:1: a backslash in double quotes stands for "
	  "itself only as \"\\\\\"; expected that, or single quotes" },
	{ "user = a\\b", "t:1: \"\\\" or \"${\" outside of quotes; expected "
	  "the value in quotes" },
	{ "user = a\1", "t:1: a control character; expected text" },
	{ "user =", "t:1: the text ends too early; expected \"}\" or a "
	  "value" },
	{ "user mailweir",
	  "t:1: no \"=\" behind \"user\"; expected \"=\" and a value" },
	{ "user += a",
	  "t:1: \"+=\" behind \"user\", which is no list; expected \"=\"" },
	{ "user = { a }", "t:1: \"{\" stands in the wrong place; expected a "
	  "setting or a value" },
	{ "limits { line = 8k" EOL "line = 9k }",
	  "t:2: line is set a second time in one place; expected it once" },
	/* values */
	{ "workers = 3x", "t:1: workers: \"3x\" is not a number; expected "
	  "decimal digits" },
	{ "workers = 99999999999999999999", "t:1: workers: "
	  "\"99999999999999999999\" is not a number; expected decimal "
	  "digits" },
	{ "limits {" EOL "login_timeout = 6x }",
	  "t:2: limits.login_timeout: \"6x\" is not a duration; expected a "
	  "number with ms, s, m, h or d" },
	{ "limits { login_timeout = 60 }",
	  "t:1: limits.login_timeout: \"60\" is not a duration; expected a "
	  "number with ms, s, m, h or d" },
	{ "limits { login_timeout = 999ms }",
	  "t:1: limits.login_timeout: \"999ms\" is out of range; expected 1s "
	  "to 1h" },
	{ "limits { line = 8kb }",
	  "t:1: limits.line: \"8kb\" is not a size; expected a number, with "
	  "k, m or g if need be" },
	{ "limits { line = 1g }", "t:1: limits.line: \"1g\" is out of range; "
	  "expected 512 to 64k" },
	{ "log { level = loud }", "t:1: log.level: \"loud\" is not known; "
	  "expected error, warn, info or debug" },
	{ "backend h { address = \"h:1\" verify = maybe }",
	  "t:1: backend h.verify: \"maybe\" is not a switch; expected yes or "
	  "no" },
	{ "backend h { address = \"10.0.0.300:143\" }",
	  "t:1: backend h.address: \"10.0.0.300:143\" is not an address; "
	  "expected host:port, with an IPv6 address in brackets" },
	{ "backend h { address = \"::1:143\" }",
	  "t:1: backend h.address: \"::1:143\" is not an address; expected "
	  "host:port, with an IPv6 address in brackets" },
	{ "route { network = { \"10.0.0.1/8\" } refuse = no }",
	  "t:1: route.network: \"10.0.0.1/8\" is not a network; expected one "
	  "like 10.0.0.0/8 or 2001:db8::/32, all bits behind the prefix being "
	  "zero" },
	{ "tls a { key = nope certificate = c }",
	  "t:1: tls a.key: the file \"nope\" was not sent" },
	/* what must be there */
	{ "tls a { key = k }",
	  "t:1: tls a: certificate is missing; expected certificate = ..." },
	{ "pool p { backends = { } }",
	  "t:1: pool p: backends is missing; expected backends = ..." },
	{ "backend h {" EOL "address = \"\" }",
	  "t:2: backend h.address: address is missing; expected address = "
	  "..." },
	/* references */
	{ HOST "pool p { backends = { h," EOL "x } }",
	  "t:2: pool p.backends: there is no backend \"x\"; expected the name "
	  "of one" },
	{ HOST "pool p { backends = { h, h } }",
	  "t:1: pool p.backends: \"h\" is there twice; expected it once" },
	{ "route { pool = x }", "t:1: route.pool: there is no pool \"x\"; "
	  "expected the name of one" },
	/* listeners */
	{ "listener a { address = \"*:1\" }",
	  "t:1: listener a: no certificate; expected certificates = { ... }, "
	  "or tls = none" },
	{ "listener a { address = \"localhost:143\" tls = none }",
	  "t:1: listener a.address: \"localhost:143\" has a name; expected an "
	  "IP address or *, and a port" },
	{ "listener a { address = \"*:143\" tls = none }" EOL
	  "listener b { address = \"[::]:143\" tls = none }",
	  "t:2: listener b.address: \"[::]:143\" is that of listener a at "
	  "t:1; expected another" },
	/* backends, pools, routes */
	{ "backend h { address = \"srv+_imap._tcp.example.org:143\" }",
	  "t:1: backend h.address: \"srv+_imap._tcp.example.org:143\" is not "
	  "an SRV name; expected it without a port, since its targets have "
	  "their own" },
	{ "backend h { address = \"srv+example.org\" }",
	  "t:1: backend h.address: \"srv+example.org\" is not an SRV name; "
	  "expected one like srv+_imap._tcp.example.org" },
	{ "backend h { address = \"srv+_imap._tcp\" }",
	  "t:1: backend h.address: \"srv+_imap._tcp\" is not an SRV name; "
	  "expected one like srv+_imap._tcp.example.org" },
	{ "listener a { address = \"srv+_imap._tcp.example.org\" }",
	  "t:1: listener a.address: \"srv+_imap._tcp.example.org\" is not an "
	  "address; expected host:port, with an IPv6 address in brackets" },
	{ "backend h { address = \"*:1\" }",
	  "t:1: backend h.address: \"*:1\" is every address; expected that of "
	  "one server" },
	{ "backend h { address = \"h:1\" key = k }",
	  "t:1: backend h.key: certificate and key belong together; expected "
	  "both or none" },
	{ HOST "pool p { backends = h login_timeout = 4s }",
	  "t:1: pool p.login_timeout: shorter than connect_timeout; expected "
	  "it longer, since it covers that" },
	{ HOST "pool p { backends = h }" EOL "route { pool = p refuse = a }",
	  "t:2: route: 2 outcomes; expected one of pool, table and refuse" },
	{ "route { user = a }",
	  "t:1: route: no outcome; expected pool, table or refuse" },
	{ "route { refuse = \"[NO BODY]\" }",
	  "t:1: route.refuse: not a reply; expected plain ASCII text, with or "
	  "without a [CODE] and a space before it" },
	{ "route { user = \"~(\" refuse = a }",
	  "t:1: route.user: \"~(\": missing closing parenthesis at character "
	  "2; expected a glob, or ~ and an expression" },
	{ "route { user = \"!~(\" refuse = a }",
	  "t:1: route.user: \"~(\": missing closing parenthesis at character "
	  "2; expected a glob, or ~ and an expression" },
	{ "route { user = { a, \"!\" } refuse = a }",
	  "t:1: route.user: \"!\" stands alone; expected what must not be "
	  "behind it" },
	{ "route { listener = \"!x\" refuse = a }",
	  "t:1: route.listener: there is no listener \"x\"; expected the name "
	  "of one" },
	{ "route { network = \"!10.0.0.1/8\" refuse = no }",
	  "t:1: route.network: \"10.0.0.1/8\" is not a network; expected one "
	  "like 10.0.0.0/8 or 2001:db8::/32, all bits behind the prefix being "
	  "zero" },
	{ "route {" EOL "region = { unknown," EOL "eu } refuse = a }",
	  "t:3: route.region: there is no region \"eu\"; expected the name of "
	  "one, or unknown" },
	{ "region eu { } route { region = { eu, \"!eu\" } refuse = a }",
	  "t:1: route.region: \"eu\" is there twice; expected it once" },
	{ "route {" EOL "country = { CH, \"!GER\" } refuse = a }",
	  "t:2: route.country: \"GER\" is not a country; expected a code of "
	  "two letters like CH, or unknown" },
	{ "route { asn = { 64500, ASX } refuse = a }",
	  "t:1: route.asn: \"ASX\" is not an AS number; expected one like "
	  "64500, or unknown" },
	{ "route { percent = 101 refuse = a }",
	  "t:1: route.percent: \"101\" is out of range; expected 0 to 100" },
	/* regions */
	{ "region unknown { }",
	  "t:1: region unknown: the name stands for no region; expected "
	  "another" },
	{ "region a { countries = unknown }",
	  "t:1: region a.countries: \"unknown\" is not a country; expected a "
	  "code of two letters like CH" },
	{ "region a { subdivisions = BY }",
	  "t:1: region a.subdivisions: \"BY\" is not a subdivision; expected "
	  "a code like DE-BY" },
	{ "region a { asns = 0 }",
	  "t:1: region a.asns: \"0\" is not an AS number; expected one like "
	  "64500" },
	{ "region a { continents = XX }",
	  "t:1: region a.continents: \"XX\" is not known; expected AF, AN, AS, "
	  "EU, NA, OC or SA" },
	{ "region a { networks = \"!10.0.0.0/8\" }",
	  "t:1: region a.networks: \"!10.0.0.0/8\" is not a network; expected "
	  "one like 10.0.0.0/8 or 2001:db8::/32, all bits behind the prefix "
	  "being zero" },
	{ "dns { servers = { \"ns.example:53\" } }",
	  "t:1: dns.servers: \"ns.example:53\" has a name; expected an IP "
	  "address and a port" },
	/* a section within another */
	{ HOST "pool p { backends = h health { } health { } }",
	  "t:1: pool p.health: there already at t:1; expected one such "
	  "section" },
	{ HOST "pool p { backends = h" EOL "health {" EOL "rise = 0 } }",
	  "t:3: pool p.health.rise: \"0\" is out of range; expected 1 to "
	  "100" },
	{ HOST "pool p { backends = h health { rize = 1 } }",
	  "t:1: unknown setting \"rize\" in health; did you mean \"rise\"?" },
	{ HOST "pool p { backends = h interval = 1s }",
	  "t:1: unknown setting \"interval\" in pool; it belongs into "
	  "health" },
	{ "health { }", "t:1: unknown setting \"health\" here; it belongs "
	  "into pool" },
	{ HOST "pool p { backends = h health = tcp }",
	  "t:1: no \"{\" behind \"health\"; expected \"{\"" },
	{ HOST "pool p { backends = h health { type = login } }",
	  "t:1: pool p.health.type: login without a user; expected user" },
	{ HOST "pool p { backends = h health { type = login user = u } }",
	  "t:1: pool p.health.type: login without a password; expected "
	  "password_file" },
	/* who logs in */
	{ "auth { backend_login = master }",
	  "t:1: auth.backend_login: master without a master user; expected "
	  "master_user" },
	{ "auth { backend_login = master master_user = m }",
	  "t:1: auth.backend_login: master without a password; expected "
	  "master_password_file" },
	{ "auth { master_password_file = two }",
	  "t:1: auth.master_password_file: the file \"two\" has several "
	  "lines; expected one" },
	{ "auth { master_password_file = none }",
	  "t:1: auth.master_password_file: the file \"none\" is empty; "
	  "expected one line" },
	{ "auth { default_domain = \"@x\" }",
	  "t:1: auth.default_domain: \"@x\" is not a domain; expected one "
	  "like example.org" },
	{ "auth { driver = file }",
	  "t:1: auth.driver: file without a file; expected path" },
	{ "auth { driver = ldap }", "t:1: auth: ldap without a server; "
	  "expected url" },
	{ "auth { driver = ldap url = \"http://a\" }",
	  "t:1: auth.url: \"http://a\" is not a URL of LDAP; expected "
	  "ldap://host, ldaps://host or ldapi://path" },
	{ "auth { driver = ldap url = \"ldaps://a\" starttls = yes }",
	  "t:1: auth.starttls: ldaps has TLS from the first byte; expected "
	  "one of the two" },
	{ "auth { driver = ldap url = \"ldaps://a\" user_dn = \"uid=%u\" }",
	  "t:1: auth: TLS without authorities to check the server's "
	  "certificate; expected ca" },
	{ "auth { driver = ldap url = \"ldap://a\" bind_dn = \"cn=a\" }",
	  "t:1: auth: bind_dn and bind_password_file belong together; "
	  "expected both or none" },
	{ "auth { driver = ldap url = \"ldap://a\" }",
	  "t:1: auth.driver: ldap without a way to the users; expected "
	  "user_dn, or base and filter" },
	{ "auth { driver = ldap url = \"ldap://a\" user_dn = \"uid=%s\" }",
	  "t:1: auth.user_dn: \"%s\" stands for nothing; expected % and one "
	  "of \"und%\"" },
	{ "auth { driver = ldap url = \"ldap://a\" user_dn = \"uid=%u\" "
	  "base = \"o=x\" }",
	  "t:1: auth.user_dn: both user_dn, and base or filter; expected "
	  "user_dn, or the others" },
	{ "table t { type = ldap url = \"ldap://a\" base = \"o=x\" "
	  "filter = \"(a=%s)\" }",
	  "t:1: table t: ldap without attribute; expected base, filter and "
	  "attribute" },
	{ "table t { type = ldap url = \"ldap://a\" base = \"o=x\" "
	  "filter = \"(a=x)\" attribute = b }",
	  "t:1: table t.filter: no place for the user; expected %s in it" },
	{ "user = \"\"",
	  "t:1: user: \"\" is not an account; expected its name" },
};

static bool give(void *arg, const char *path, struct str *data_out)
{
	(void)arg;
	*data_out = strcmp(path, "two") == 0 ? STR("a\nb\n") :
	    strcmp(path, "none") == 0 ? STR("\n") : STR("secret\n");
	return strcmp(path, "nope") != 0;
}

static void test_settings_say_what_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct err err = { "no error" };
		struct settings *s = settings_from_text(
		    str_from(rows[i].text), "t", &conf_schema, give, NULL,
		    &err);
		assert_string_equal(err.text, rows[i].said);
		assert_null(s);
	}
}

/* A wrong text leaves nothing behind that harms the next. */
static void test_settings_recover_after_each_error(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct settings *s = settings_from_text(
		    str_from(rows[i].text), "t", &conf_schema, give, NULL,
		    NULL);
		assert_null(s);
		s = settings_from_text(STR("workers = 3"), "t", &conf_schema,
		    give, NULL, NULL);
		assert_non_null(s);
		assert_int_equal(conf_main(s)->workers, 3);
		settings_unref(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings_say_what_is_wrong),
		cmocka_unit_test(test_settings_recover_after_each_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
