/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors
 *
 * Dialogues: what the client sends, the whole answer, the verdict. Each is
 * run with its bytes at once, one by one, and in threes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "proxy/preauth.h"

enum act { SAY, REFUSE, ACCEPT, CHALLENGE, RESPONSE, TLS, IDENT, CLIENT_ID,
	WHY, REST };

struct turn {
	enum act act;
	struct str in;
	const char *out;
	enum preauth_verdict verdict;
};

#define VIEW(lit) { lit, sizeof(lit) - 1 }
#define C(in, out) { SAY, VIEW(in), out, PREAUTH_MORE }
#define CV(in, out, verdict) { SAY, VIEW(in), out, PREAUTH_##verdict }
#define NO(reply, out, verdict) { REFUSE, VIEW(reply), out, PREAUTH_##verdict }
#define OK(reply, out) { ACCEPT, VIEW(reply), out, PREAUTH_MORE }
#define CHALLENGED(base64, out) { CHALLENGE, VIEW(base64), out, PREAUTH_MORE }
#define ANSWERED(text) { RESPONSE, VIEW(""), text, PREAUTH_MORE }
#define AFTER_TLS { TLS, VIEW(""), "", PREAUTH_MORE }
#define WHO(text) { IDENT, VIEW(""), text, PREAUTH_MORE }
#define ID(text) { CLIENT_ID, VIEW(""), text, PREAUTH_MORE }
#define BECAUSE(text) { WHY, VIEW(""), text, PREAUTH_MORE }
#define LEFT(text) { REST, VIEW(""), text, PREAUTH_MORE }
#define END { SAY, { NULL, 0 }, NULL, PREAUTH_MORE }

#define FAILED "NO [AUTHENTICATIONFAILED] Authentication failed."
#define ALL_MECHS ((1u << SASL_end) - 1)
#define CAPS "IMAP4rev1 SASL-IR LITERAL- ID"
#define CLEAR_CAPS CAPS " STARTTLS LOGINDISABLED"

enum kind { OPEN, CLEAR, SCRAM_ONLY, CERTIFIED };

struct dialogue {
	const char *name;
	enum kind kind;
	struct turn turns[24];
};

static struct preauth_config config_of(enum kind kind)
{
	struct preauth_config c = {
		.line_max = 300, .literal_max = 100,
		.bad_commands = 3, .failed_logins = 3, .commands_max = 12,
		.mechanisms = ALL_MECHS,
		.capabilities = STR("SASL-IR LITERAL- ID"),
		.default_domain = STR("example.org"),
		.plaintext_ok = kind != CLEAR,
		.starttls = kind == CLEAR,
	};

	if (kind == SCRAM_ONLY)
		c.mechanisms = SASL_BIT(SASL_SCRAM_SHA_256);
	return c;
}

struct run {
	const char *name;
	size_t step;
	struct preauth *p;
	struct preauth_config config;
	struct buf in, out;
};

static enum preauth_verdict say(struct run *r, struct str text)
{
	enum preauth_verdict verdict = PREAUTH_MORE;

	while (text.n) {
		size_t n = r->step && r->step < text.n ? r->step : text.n;

		assert_true(buf_append(&r->in, text.p, n));
		text = str_skip(text, n);
		verdict = preauth_feed(r->p, &r->in, &r->out);
		if (verdict != PREAUTH_MORE)
			break;
	}
	/* What was not yet sent may have been in the same packet. */
	if (verdict != PREAUTH_STARTTLS)
		assert_true(buf_str(&r->in, text));
	if (verdict == PREAUTH_MORE)
		verdict = preauth_feed(r->p, &r->in, &r->out);
	return verdict;
}

static void show_ident(struct run *r)
{
	const struct ident *i = preauth_ident(r->p);

	assert_non_null(i);
	buf_printf(&r->out, "%s user=%.*s canonical=%.*s authcid=%.*s "
	    "authzid=%.*s password=%.*s initial=%.*s tag=%.*s%s",
	    sasl_mech_name(i->mech), STR_ARG(i->user), STR_ARG(i->canonical),
	    STR_ARG(i->authcid), STR_ARG(i->authzid), STR_ARG(i->password),
	    STR_ARG(i->initial), STR_ARG(i->tag),
	    i->client_asked_capability ? " asked" : "");
}

static enum preauth_verdict take_turn(struct run *r, const struct turn *t)
{
	switch (t->act) {
	case SAY:
		return say(r, t->in);
	case REFUSE:
		return preauth_refuse(r->p, t->in.p, true, &r->out);
	case ACCEPT:
		preauth_accept(r->p, STR("* 1 X\r\n"), t->in, &r->out);
		break;
	case CHALLENGE:
		assert_true(preauth_challenge(r->p, t->in, &r->out));
		break;
	case RESPONSE:
		buf_str(&r->out, preauth_response(r->p));
		break;
	case TLS:
		r->config = config_of(OPEN);
		preauth_after_tls(r->p, &r->config, STR_NONE);
		break;
	case IDENT:
		show_ident(r);
		break;
	case CLIENT_ID:
		buf_str(&r->out, preauth_client_id(r->p));
		break;
	case WHY:
		buf_puts(&r->out, preauth_why(r->p));
		break;
	case REST:
		buf_str(&r->out, buf_view(&r->in));
		break;
	}
	return PREAUTH_MORE;
}

static void run_dialogue(const struct dialogue *d, size_t step)
{
	struct run r = { .name = d->name, .step = step };
	struct arena *arena = arena_new(1 << 16);

	r.config = config_of(d->kind);
	r.p = preauth_new(arena, &r.config, d->kind == CERTIFIED ?
	    STR("Jan@example.org") : STR_NONE);
	assert_non_null(r.p);
	buf_init(&r.in, 1 << 16);
	buf_init(&r.out, 1 << 16);
	for (size_t i = 0; d->turns[i].out; i++) {
		const struct turn *t = &d->turns[i];
		enum preauth_verdict verdict = take_turn(&r, t);

		if (verdict != t->verdict ||
		    !str_eq(buf_view(&r.out), str_from(t->out)))
			fail_msg("%s, turn %zu, step %zu: verdict %d not %d\n"
			    "is:     %.*s\nshould: %s", d->name, i, step,
			    verdict, t->verdict, STR_ARG(buf_view(&r.out)),
			    t->out);
		buf_clear(&r.out);
	}
	preauth_free(&r.p);
	assert_null(r.p);
	arena_free(&arena);
	buf_fini(&r.in);
	buf_fini(&r.out);
}

static void run_all(const struct dialogue *d, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		run_dialogue(&d[i], 0);
		run_dialogue(&d[i], 1);
		run_dialogue(&d[i], 3);
	}
}

#define RUN(table) run_all(table, sizeof table / sizeof *table)

static const struct dialogue commands[] = {
	{ "capability", OPEN, {
		C("a CAPABILITY\r\n", "* CAPABILITY " CAPS " AUTH=PLAIN"
		    " AUTH=LOGIN AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256"
		    " AUTH=XOAUTH2 AUTH=OAUTHBEARER\r\n"
		    "a OK CAPABILITY completed.\r\n"),
		C("a CAPABILITY x\r\n", "a BAD Invalid arguments.\r\n"),
		END } },
	{ "capability in the clear", CLEAR, {
		C("a capability\r\n", "* CAPABILITY " CLEAR_CAPS "\r\n"
		    "a OK CAPABILITY completed.\r\n"), END } },
	{ "capability without passwords", SCRAM_ONLY, {
		C("a CAPABILITY\r\n", "* CAPABILITY " CAPS " LOGINDISABLED"
		    " AUTH=SCRAM-SHA-256\r\na OK CAPABILITY completed.\r\n"),
		C("a LOGIN jan {6}\r\n",
		    "a NO [CANNOT] LOGIN is disabled, use AUTHENTICATE.\r\n"),
		C("a AUTHENTICATE PLAIN\r\n",
		    "a NO Unsupported mechanism.\r\n"),
		END } },
	{ "noop and a bare LF", OPEN, {
		C("a NOOP\nb nOOp\r\n", "a OK NOOP completed.\r\n"
		    "b OK NOOP completed.\r\n"), END } },
	{ "logout", OPEN, {
		CV("a LOGOUT\r\nb NOOP\r\n", "* BYE Logging out.\r\n"
		    "a OK LOGOUT completed.\r\n", LOGOUT), END } },
	{ "id", OPEN, {
		C("a ID NIL\r\n", "* ID (\"name\" \"Mailweir\")\r\n"
		    "a OK ID completed.\r\n"),
		ID(""),
		C("a ID (\"name\" {3}\r\n", "+ OK\r\n"),
		C("a\"b \"x-proxy-ttl\" \"1\" {2+}\r\nos NIL)\r\n",
		    "* ID (\"name\" \"Mailweir\")\r\na OK ID completed.\r\n"),
		ID("\"name\" \"a\\\"b\" \"os\" NIL"),
		C("a ID (\"name\")\r\n", "a BAD Invalid arguments.\r\n"),
		ID(""), END } },
	{ "not before login", OPEN, {
		C("a ENABLE CONDSTORE\r\n",
		    "a BAD Unknown, or not before login.\r\n"),
		C("a SELECT INBOX\r\n",
		    "a BAD Unknown, or not before login.\r\n"),
		CV("a XYZZY\r\na NOOP\r\n",
		    "a BAD Unknown, or not before login.\r\n"
		    "* BYE Too many bad commands.\r\n", ABUSE),
		BECAUSE("too many bad commands"), END } },
	{ "tags that are none", OPEN, {
		C("\r\n", "* BAD Invalid tag.\r\n"),
		C("a+b NOOP\r\n", "* BAD Invalid tag.\r\n"),
		CV("<script> NOOP\r\n", "* BAD Invalid tag.\r\n"
		    "* BYE Too many bad commands.\r\n", ABUSE), END } },
	{ "8-bit and NUL in atoms", OPEN, {
		C("a LOGIN j\xc3\xa4n x\r\n", "a BAD Invalid arguments.\r\n"),
		C("a LOGIN jan x\0y\r\n", "a BAD Invalid arguments.\r\n"),
		CV("a\0b NOOP\r\n", "* BAD Invalid tag.\r\n"
		    "* BYE Too many bad commands.\r\n", ABUSE), END } },
	{ "no command", OPEN, {
		C("a\r\n", "a BAD Command expected.\r\n"),
		C("a \r\n", "a BAD Command expected.\r\n"), END } },
	{ "a literal that the command does not take", OPEN, {
		C("a NOOP {3}\r\n", "a BAD Invalid arguments.\r\n"),
		C("a LOGIN {1+}\r\na {1+}\r\nb {1}\r\n",
		    "a BAD Invalid arguments.\r\n"),
		C("b NOOP\r\n", "b OK NOOP completed.\r\n"), END } },
};

static void test_preauth_commands(void **state)
{
	(void)state;
	RUN(commands);
}

static const struct dialogue logins[] = {
	{ "login with atoms", OPEN, {
		CV("t.1 LOGIN Jan se]cret\r\nx FETCH", "", LOGIN),
		WHO("LOGIN user=Jan canonical=jan@example.org authcid=Jan "
		    "authzid= password=se]cret initial= tag=t.1"),
		C("", ""),
		LEFT("x FETCH"),
		OK("OK [CAPABILITY X] in.",
		    "* 1 X\r\nt.1 OK [CAPABILITY X] in.\r\n"),
		LEFT("x FETCH"), C("", ""), END } },
	{ "login with quoted strings", OPEN, {
		CV("t LOGIN \"j\\\"a\\\\n\" \"s {3}\"\r\n", "", LOGIN),
		WHO("LOGIN user=j\"a\\n canonical=j\"a\\n@example.org "
		    "authcid=j\"a\\n authzid= password=s {3} initial= tag=t"),
		END } },
	{ "login with literals", OPEN, {
		C("t LOGIN {3}\r\n", "+ OK\r\n"),
		C("jan {5}\r\n", "+ OK\r\n"),
		CV("a {1}\r\n", "", LOGIN),
		WHO("LOGIN user=jan canonical=jan@example.org authcid=jan "
		    "authzid= password=a {1} initial= tag=t"), END } },
	{ "a literal that ends in CR", OPEN, {
		CV("t LOGIN jan {2+}\r\nx\r\n", "t " FAILED "\r\n", REFUSED),
		BECAUSE("empty or odd password"), END } },
	{ "login with literals that do not wait", OPEN, {
		CV("t LOGIN {3+}\r\njan {6+}\r\nse\"ret\r\nx", "", LOGIN),
		WHO("LOGIN user=jan canonical=jan@example.org authcid=jan "
		    "authzid= password=se\"ret initial= tag=t"),
		LEFT("x"), END } },
	{ "a literal like a literal's head", OPEN, {
		CV("t LOGIN {3+}\r\njan {4+}\r\n {5 \r\n", "", LOGIN),
		END } },
	{ "master user", OPEN, {
		CV("t LOGIN Jan+x*Admin pw\r\n", "", LOGIN),
		WHO("LOGIN user=Jan+x*Admin canonical=jan@example.org "
		    "authcid=Jan+x*Admin authzid= password=pw initial= tag=t"),
		END } },
	{ "asked for capabilities", OPEN, {
		CV("c CAPABILITY\r\nt LOGIN a b\r\n", "* CAPABILITY " CAPS
		    " AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-1"
		    " AUTH=SCRAM-SHA-256 AUTH=XOAUTH2 AUTH=OAUTHBEARER\r\n"
		    "c OK CAPABILITY completed.\r\n", LOGIN),
		WHO("LOGIN user=a canonical=a@example.org authcid=a authzid= "
		    "password=b initial= tag=t asked"), END } },
	{ "bad names and passwords", OPEN, {
		CV("a LOGIN \"\" x\r\n", "a " FAILED "\r\n", REFUSED),
		BECAUSE("not a user name"),
		CV("a LOGIN {3+}\r\nj\nn x\r\n", "a " FAILED "\r\n", REFUSED),
		CV("a LOGIN jan \"\"\r\n", "a " FAILED "\r\n"
		    "* BYE Too many failed logins.\r\n", ABUSE), END } },
	{ "more bad names", OPEN, {
		CV("a LOGIN *admin x\r\n", "a " FAILED "\r\n", REFUSED),
		CV("a LOGIN j {3+}\r\na\nb\r\n", "a " FAILED "\r\n", REFUSED),
		C("a LOGIN \"j\xc3\xa4\" x\r\n",
		    "a BAD Use AUTHENTICATE for UTF-8.\r\n"),
		C("a LOGIN {2+}\r\n\0a x\r\n", "a BAD Invalid arguments.\r\n"),
		END } },
	{ "8-bit passwords", OPEN, {
		CV("t LOGIN a \"\xe4\"\r\n", "", LOGIN),
		WHO("LOGIN user=a canonical=a@example.org authcid=a authzid= "
		    "password=\xe4 initial= tag=t"), END } },
	{ "in the clear", CLEAR, {
		C("a LOGIN jan secret\r\n",
		    "a NO [PRIVACYREQUIRED] Log in over TLS only.\r\n"),
		C("a LOGIN jan {6}\r\n",
		    "a NO [PRIVACYREQUIRED] Log in over TLS only.\r\n"),
		C("a AUTHENTICATE PLAIN AGEAYg==\r\n",
		    "a NO [PRIVACYREQUIRED] Log in over TLS only.\r\n"),
		C("a AUTHENTICATE SCRAM-SHA-256\r\n",
		    "a NO [PRIVACYREQUIRED] Log in over TLS only.\r\n"),
		END } },
};

static void test_preauth_login(void **state)
{
	(void)state;
	RUN(logins);
}

static const struct dialogue sasl[] = {
	{ "PLAIN at once", OPEN, {
		CV("t AUTHENTICATE PLAIN AGphbgBzZWNyZXQ=\r\n", "", LOGIN),
		WHO("PLAIN user=jan canonical=jan@example.org authcid=jan "
		    "authzid= password=secret initial= tag=t"), END } },
	{ "PLAIN in two steps, with authzid", OPEN, {
		C("t authenticate plain\r\n", "+ \r\n"),
		CV("amFuQHguZGUAYWRtaW4AcHc=\r\nrest", "", LOGIN),
		WHO("PLAIN user=jan@x.de canonical=jan@x.de authcid=admin "
		    "authzid=jan@x.de password=pw initial= tag=t"),
		LEFT("rest"), END } },
	{ "PLAIN without a password", OPEN, {
		CV("t AUTHENTICATE PLAIN AGphbgA=\r\n", "t " FAILED "\r\n",
		    REFUSED),
		CV("t AUTHENTICATE PLAIN =\r\n", "t " FAILED "\r\n", REFUSED),
		CV("t AUTHENTICATE PLAIN\r\n\r\n", "+ \r\nt " FAILED "\r\n"
		    "* BYE Too many failed logins.\r\n", ABUSE), END } },
	{ "bad base64", OPEN, {
		C("t AUTHENTICATE PLAIN AGphbgBzZWNyZXQ\r\n",
		    "t BAD Invalid base64 data.\r\n"),
		C("t AUTHENTICATE LOGIN\r\n?\r\n", "+ VXNlcm5hbWU6\r\n"
		    "t BAD Invalid base64 data.\r\n"), END } },
	{ "cancelled", OPEN, {
		C("t AUTHENTICATE PLAIN\r\n*\r\n", "+ \r\n"
		    "t BAD Authentication cancelled.\r\n"),
		C("u AUTHENTICATE LOGIN\r\namFu\r\n*\r\nv NOOP\r\n",
		    "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n"
		    "u BAD Authentication cancelled.\r\n"
		    "v OK NOOP completed.\r\n"), END } },
	{ "LOGIN", OPEN, {
		C("t AUTHENTICATE LOGIN\r\n", "+ VXNlcm5hbWU6\r\n"),
		C("amFu\r\n", "+ UGFzc3dvcmQ6\r\n"),
		CV("c2VjcmV0\r\n", "", LOGIN),
		WHO("LOGIN user=jan canonical=jan@example.org authcid=jan "
		    "authzid= password=secret initial= tag=t"), END } },
	{ "LOGIN has no initial response", OPEN, {
		C("t AUTHENTICATE LOGIN amFu\r\n",
		    "t BAD No initial response here.\r\n"), END } },
	{ "EXTERNAL", CERTIFIED, {
		CV("t AUTHENTICATE EXTERNAL =\r\n", "", LOGIN),
		WHO("EXTERNAL user=Jan@example.org canonical=jan@example.org "
		    "authcid=Jan@example.org authzid= password= initial= "
		    "tag=t"), END } },
	{ "EXTERNAL, another spelling", CERTIFIED, {
		CV("t AUTHENTICATE EXTERNAL amFu\r\n", "", LOGIN),
		WHO("EXTERNAL user=Jan@example.org canonical=jan@example.org "
		    "authcid=Jan@example.org authzid=jan password= initial= "
		    "tag=t"), END } },
	{ "EXTERNAL, another user", CERTIFIED, {
		CV("t AUTHENTICATE EXTERNAL ZXZh\r\n", "t " FAILED "\r\n",
		    REFUSED), END } },
	{ "EXTERNAL without a certificate", OPEN, {
		C("t AUTHENTICATE EXTERNAL =\r\n",
		    "t NO Unsupported mechanism.\r\n"), END } },
	{ "no such mechanism", OPEN, {
		C("t AUTHENTICATE CRAM-MD5\r\n",
		    "t NO Unsupported mechanism.\r\n"),
		C("t AUTHENTICATE\r\n", "t BAD Invalid arguments.\r\n"),
		C("t AUTHENTICATE PLAIN x y\r\n",
		    "t BAD Invalid arguments.\r\n"),
		END } },
	{ "SCRAM is relayed", OPEN, {
		/* n,,n=Jan,r=abc */
		C("t AUTHENTICATE SCRAM-SHA-256\r\n", "+ \r\n"),
		CV("biwsbj1KYW4scj1hYmM=\r\n", "", LOGIN),
		WHO("SCRAM-SHA-256 user=Jan canonical=jan@example.org "
		    "authcid=Jan authzid= password= "
		    "initial=biwsbj1KYW4scj1hYmM= tag=t"),
		CHALLENGED("cj1hYmM=", "+ cj1hYmM=\r\n"),
		CV("Yz1iaXdz\r\n", "", RESPONSE),
		ANSWERED("Yz1iaXdz"),
		CHALLENGED("", "+ \r\n"),
		CV("\r\nnext", "", RESPONSE),
		ANSWERED(""),
		OK("OK in.", "* 1 X\r\nt OK in.\r\n"),
		LEFT("next"), END } },
	{ "a relayed exchange is cancelled", OPEN, {
		CV("t AUTHENTICATE SCRAM-SHA-1 biwsbj1KYW4scj1hYmM=\r\n", "",
		    LOGIN),
		CHALLENGED("cj1hYmM=", "+ cj1hYmM=\r\n"),
		CV("*\r\n", "", RESPONSE),
		ANSWERED("*"),
		NO(FAILED, "t BAD Authentication cancelled.\r\n", MORE),
		CV("u AUTHENTICATE SCRAM-SHA-1 biwsbj1KYW4scj1hYmM=\r\n", "",
		    LOGIN),
		CHALLENGED("cj1hYmM=", "+ cj1hYmM=\r\n"),
		CV("a LOGOUT\r\n", "", RESPONSE),
		ANSWERED("*"), END } },
	{ "XOAUTH2 and OAUTHBEARER", OPEN, {
		/* user=jan^Aauth=Bearer t^A^A */
		CV("t AUTHENTICATE XOAUTH2 "
		    "dXNlcj1qYW4BYXV0aD1CZWFyZXIgdAEB\r\n",
		    "", LOGIN),
		WHO("XOAUTH2 user=jan canonical=jan@example.org authcid=jan "
		    "authzid= password= "
		    "initial=dXNlcj1qYW4BYXV0aD1CZWFyZXIgdAEB tag=t"),
		NO("NO no\r\na OK injected", "t NO no\r\n", MORE),
		/* n,a=eva,^Aauth=Bearer t^A^A */
		CV("t AUTHENTICATE OAUTHBEARER "
		    "bixhPWV2YSwBYXV0aD1CZWFyZXIgdAEB\r\n", "", LOGIN),
		WHO("OAUTHBEARER user=eva canonical=eva@example.org authcid= "
		    "authzid=eva password= "
		    "initial=bixhPWV2YSwBYXV0aD1CZWFyZXIgdAEB tag=t"), END } },
	{ "UTF-8 names", OPEN, {
		/* NUL j-a-umlaut-n NUL x */
		CV("t AUTHENTICATE PLAIN AGrDpG4AeA==\r\n", "", LOGIN),
		WHO("PLAIN user=j\xc3\xa4n canonical=j\xc3\xa4n@example.org "
		    "authcid=j\xc3\xa4n authzid= password=x initial= tag=t"),
		END } },
};

static void test_preauth_sasl(void **state)
{
	(void)state;
	RUN(sasl);
}

/* Trap 1: what was sent before TLS is not read after it, nor remembered. */
static const struct dialogue starttls[] = {
	{ "injection", CLEAR, {
		C("c CAPABILITY\r\ni ID (\"name\" \"x\")\r\n",
		    "* CAPABILITY " CLEAR_CAPS "\r\n"
		    "c OK CAPABILITY completed.\r\n"
		    "* ID (\"name\" \"Mailweir\")\r\ni OK ID completed.\r\n"),
		ID("\"name\" \"x\""),
		CV("a STARTTLS\r\nb LOGIN evil evil\r\n",
		    "a OK Begin TLS negotiation now.\r\n", STARTTLS),
		LEFT(""),
		C("", ""),
		AFTER_TLS,
		ID(""),
		CV("t LOGIN jan pw\r\n", "", LOGIN),
		WHO("LOGIN user=jan canonical=jan@example.org authcid=jan "
		    "authzid= password=pw initial= tag=t"),
		NO(FAILED, "t " FAILED "\r\n", MORE),
		C("a STARTTLS\r\n", "a BAD STARTTLS is not offered here.\r\n"),
		END } },
	{ "not offered", OPEN, {
		C("a STARTTLS\r\n", "a BAD STARTTLS is not offered here.\r\n"),
		END } },
};

static void test_preauth_drops_bytes_before_tls(void **state)
{
	(void)state;
	RUN(starttls);
}

/* Trap 2: nothing of one attempt is left in the next. */
static const struct dialogue attempts[] = {
	{ "forgets a PLAIN attempt", CERTIFIED, {
		CV("one AUTHENTICATE PLAIN ZXZhAGFkbWluAHB3\r\n", "", LOGIN),
		NO("NO [UNAVAILABLE] Later.", "one NO [UNAVAILABLE] Later.\r\n",
		    MORE),
		C("+ x\r\n", "* BAD Invalid tag.\r\n"),
		CV("two AUTHENTICATE EXTERNAL =\r\n", "", LOGIN),
		WHO("EXTERNAL user=Jan@example.org canonical=jan@example.org "
		    "authcid=Jan@example.org authzid= password= initial= "
		    "tag=two"),
		NO(FAILED, "two " FAILED "\r\n", MORE),
		CV("c LOGIN a b\r\n", "", LOGIN),
		WHO("LOGIN user=a canonical=a@example.org authcid=a authzid= "
		    "password=b initial= tag=c"),
		NO(FAILED, "c " FAILED "\r\n* BYE Too many failed logins.\r\n",
		    ABUSE),
		BECAUSE("too many failed logins"), END } },
	{ "forgets a half LOGIN", OPEN, {
		C("one AUTHENTICATE LOGIN\r\namFu\r\n*\r\n",
		    "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n"
		    "one BAD Authentication cancelled.\r\n"),
		C("two AUTHENTICATE LOGIN\r\nZXZh\r\n",
		    "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n"),
		CV("cHc=\r\n", "", LOGIN),
		WHO("LOGIN user=eva canonical=eva@example.org authcid=eva "
		    "authzid= password=pw initial= tag=two"), END } },
};

static void test_preauth_forgets_attempts(void **state)
{
	(void)state;
	RUN(attempts);
}

/* Traps 3 and 10 of cross-protocol attacks: a browser gets nothing back. */
static const struct dialogue foreign[] = {
	{ "GET", OPEN, { CV("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", ABUSE),
		BECAUSE("HTTP where IMAP is spoken"), END } },
	{ "POST", OPEN, { CV("POST /<script> x y\r\na LOGOUT\r\n", "", ABUSE),
		C("", ""), END } },
	{ "any method", OPEN, { CV("X http://a/ HTTP/2.0\r\n", "", ABUSE),
		END } },
	{ "TLS", CLEAR, { CV("\x16\x03\x01", "", ABUSE),
		BECAUSE("TLS where plain IMAP is spoken"), END } },
	{ "GET as a tag", OPEN, {
		C("GET NOOP\r\n", "GET OK NOOP completed.\r\n"), END } },
};

static void test_preauth_is_silent_to_http(void **state)
{
	(void)state;
	RUN(foreign);
}

#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define N12 "a NOOP\r\n"
#define A12 "a OK NOOP completed.\r\n"

/* Trap 4: every budget ends. */
static const struct dialogue budgets[] = {
	{ "line", OPEN, {
		CV("a NOOP " FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY,
		    "* BYE [TOOBIG] Line too long.\r\n", ABUSE), END } },
	{ "a SASL line", OPEN, {
		CV("a AUTHENTICATE PLAIN\r\n" FIFTY FIFTY FIFTY FIFTY FIFTY
		    FIFTY FIFTY, "+ \r\n* BYE [TOOBIG] Line too long.\r\n",
		    ABUSE), END } },
	{ "tag", OPEN, {
		C(FIFTY FIFTY " NOOP\r\n",
		    FIFTY FIFTY " OK NOOP completed.\r\n"),
		C(FIFTY FIFTY "1 NOOP\r\n", "* BAD Invalid tag.\r\n"), END } },
	{ "literal that waits", OPEN, {
		C("a LOGIN {101}\r\n", "a NO [TOOBIG] Literal too big.\r\n"),
		C("a LOGIN {60+}\r\n" FIFTY TEN " {41}\r\n",
		    "a NO [TOOBIG] Literal too big.\r\n"),
		C("a LOGIN {99999999999999999999999}\r\n",
		    "a NO [TOOBIG] Literal too big.\r\n"), END } },
	{ "literal that does not", OPEN, {
		CV("a LOGIN {101+}\r\n", "* BYE [TOOBIG] Literal too big.\r\n",
		    ABUSE), END } },
	{ "literals of nothing", OPEN, {
		CV("a X {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n"
		    " {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n"
		    " {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n"
		    " {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n"
		    " {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n"
		    " {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n"
		    " {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n"
		    " {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n",
		    "* BYE [TOOBIG] Line too long.\r\n", ABUSE), END } },
	{ "commands", OPEN, {
		C(N12 N12 N12 N12 N12 N12 N12 N12 N12 N12 N12,
		    A12 A12 A12 A12 A12 A12 A12 A12 A12 A12 A12),
		CV(N12 N12, A12 "* BYE Too many commands before login.\r\n",
		    ABUSE), END } },
	{ "parentheses", OPEN, {
		C("a ID ((((((((((((((((((((\r\n",
		    "a BAD Invalid arguments.\r\n"), END } },
};

static void test_preauth_budgets_end(void **state)
{
	(void)state;
	RUN(budgets);
}

/* Trap 6: what is pipelined behind a login goes where the login goes. */
static const struct dialogue pipelined[] = {
	{ "behind a refused login", OPEN, {
		CV("a LOGIN j x\r\nb NOOP\r\nc LOGIN j y\r\nd SELECT", "",
		    LOGIN),
		NO(FAILED, "a " FAILED "\r\n", MORE),
		CV("", "b OK NOOP completed.\r\n", LOGIN),
		WHO("LOGIN user=j canonical=j@example.org authcid=j authzid= "
		    "password=y initial= tag=c"),
		OK("OK in.", "* 1 X\r\nc OK in.\r\n"),
		C("", ""),
		LEFT("d SELECT"), END } },
};

static void test_preauth_keeps_pipelined_bytes(void **state)
{
	(void)state;
	RUN(pipelined);
}

static void test_preauth_greets(void **state)
{
	struct arena *arena = arena_new(1 << 16);
	struct preauth_config config = config_of(CLEAR);
	struct preauth *p = preauth_new(arena, &config, STR_NONE);
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	preauth_greet(p, &out);
	assert_true(str_eq(buf_view(&out), STR("* OK [CAPABILITY " CLEAR_CAPS
	    "] Mailweir ready.\r\n")));
	assert_null(preauth_ident(p));
	preauth_free(&p);
	preauth_free(&p);
	arena_free(&arena);
	buf_fini(&out);
}

/* A backend's challenge that is not base64 does not reach the client. */
static void test_preauth_checks_challenges(void **state)
{
	struct arena *arena = arena_new(1 << 16);
	struct preauth_config config = config_of(OPEN);
	struct preauth *p = preauth_new(arena, &config, STR_NONE);
	struct buf in, out;

	(void)state;
	buf_init(&in, 0);
	buf_init(&out, 0);
	buf_puts(&in, "t AUTHENTICATE SCRAM-SHA-1 biwsbj1KYW4scj1hYmM=\r\n");
	assert_int_equal(preauth_feed(p, &in, &out), PREAUTH_LOGIN);
	assert_false(preauth_challenge(p, STR("abc\r\nt OK"), &out));
	assert_int_equal(out.len, 0);
	assert_int_equal(preauth_refuse(p, "NO [SERVERBUG] x", false, &out),
	    PREAUTH_MORE);
	preauth_free(&p);
	arena_free(&arena);
	buf_fini(&in);
	buf_fini(&out);
}

/* A client that does not read its answers is let go. */
static void test_preauth_output_is_bounded(void **state)
{
	struct arena *arena = arena_new(1 << 16);
	struct preauth_config config = config_of(OPEN);
	struct preauth *p = preauth_new(arena, &config, STR_NONE);
	struct buf in, out;

	(void)state;
	buf_init(&in, 0);
	buf_init(&out, 30);
	buf_puts(&in, N12 N12);
	assert_int_equal(preauth_feed(p, &in, &out), PREAUTH_ABUSE);
	assert_string_equal(preauth_why(p), "output not read");
	preauth_free(&p);
	arena_free(&arena);
	buf_fini(&in);
	buf_fini(&out);
}

/* No memory of the wiped kind holds the password behind a refusal. */
static void test_preauth_wipes_credentials(void **state)
{
	struct arena *arena = arena_new(1 << 16);
	struct preauth_config config = config_of(OPEN);
	struct preauth *p = preauth_new(arena, &config, STR_NONE);
	struct buf in, out;

	(void)state;
	buf_init(&in, 0);
	buf_init(&out, 0);
	buf_puts(&in, "t LOGIN jan.long.name pass.word.long\r\n");
	assert_int_equal(preauth_feed(p, &in, &out), PREAUTH_LOGIN);
	const struct ident *ident = preauth_ident(p);
	assert_true(str_eq(ident->password, STR("pass.word.long")));
	assert_int_equal(preauth_refuse(p, "NO x", true, &out), PREAUTH_MORE);
	assert_int_equal(ident->password.n, 0);
	assert_int_equal(ident->tag.n, 0);
	assert_int_equal(ident->user.n, 0);
	assert_null(preauth_ident(p));
	preauth_free(&p);
	arena_free(&arena);
	buf_fini(&in);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preauth_greets),
		cmocka_unit_test(test_preauth_commands),
		cmocka_unit_test(test_preauth_login),
		cmocka_unit_test(test_preauth_sasl),
		cmocka_unit_test(test_preauth_drops_bytes_before_tls),
		cmocka_unit_test(test_preauth_forgets_attempts),
		cmocka_unit_test(test_preauth_is_silent_to_http),
		cmocka_unit_test(test_preauth_budgets_end),
		cmocka_unit_test(test_preauth_keeps_pipelined_bytes),
		cmocka_unit_test(test_preauth_checks_challenges),
		cmocka_unit_test(test_preauth_output_is_bounded),
		cmocka_unit_test(test_preauth_wipes_credentials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
