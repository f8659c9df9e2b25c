/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/login.h"

#include <stdarg.h>
#include <stdio.h>

#include "backends/login_failure.h"
#include "backends/login_id.h"
#include "backends/login_send.h"
#include "proxy/base/base64.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/imap/caps.h"
#include "proxy/imap/quote.h"
#include "proxy/imap/reply.h"

#define TEXT_MAX     400	/* of a text for the client */
#define DETAIL_MAX   240
#define SECRET_MIN   4		/* shorter ones stand in any text by chance */

static const char *const words[] = {
	"id", "starttls", "capability", "authenticate", "auth-continue",
	"login", "logout", "banner", "bye",
};

void login_init(struct login *l, const struct login_request *request)
{
	*l = (struct login){ .request = *request };
	buf_init(&l->before, CAPS_MAX);
	buf_init(&l->after, CAPS_MAX);
	buf_init(&l->untagged, LOGIN_UNTAGGED_MAX);
	buf_init(&l->text, LOGIN_LINE_MAX);
	buf_init(&l->detail, 2 * DETAIL_MAX);
	buf_init(&l->initial, LOGIN_OUT_MAX);
	buf_init(&l->referral_text, LOGIN_LINE_MAX);
}

void login_fini(struct login *l)
{
	buf_fini(&l->before);
	buf_fini(&l->after);
	buf_fini(&l->untagged);
	buf_fini(&l->text);
	buf_fini(&l->detail);
	buf_fini(&l->initial);
	buf_fini(&l->referral_text);
	mem_wipe(l, sizeof(*l));
}

static bool contains(struct str s, struct str secret)
{
	return secret.n >= SECRET_MIN && s.n >= secret.n &&
	    memmem(s.p, s.n, secret.p, secret.n);
}

/* Some servers repeat a command that they do not understand. What they
 * repeat must not come into a log, and the master user's not to a client. */
static bool repeats_secret(const struct login *l, struct str s)
{
	return contains(s, l->request.password) ||
	    contains(s, l->request.initial) ||
	    contains(s, buf_view(&l->initial));
}

static void note_detail(struct login *l, const char *what, struct str text)
{
	buf_clear(&l->detail);
	quote_printable(&l->detail, str_from(what), DETAIL_MAX);
	if (text.n == 0)
		return;
	(void)buf_puts(&l->detail, ": ");
	if (repeats_secret(l, text))
		(void)buf_puts(&l->detail, "(it repeats the credentials)");
	else
		quote_printable(&l->detail, text, DETAIL_MAX);
}

static enum login_verdict fail(struct login *l, enum login_failure kind,
    const char *what, struct str text)
{
	note_detail(l, what, text);
	buf_clear(&l->text);
	l->failure = kind;
	l->stage = LOGIN_AT_END;
	return LOGIN_FAILED;
}

static enum login_verdict fail_line(struct login *l, const char *what,
    const struct reply *r)
{
	return fail(l, LOGIN_FAIL_PROTOCOL, what, r->line);
}

void login_abort(struct login *l, enum login_failure kind, const char *why)
{
	if (l->failure != LOGIN_FAIL_NONE)
		return;
	if (kind == LOGIN_FAIL_CLOSED && l->got_bye) {
		l->failure = LOGIN_FAIL_BYE;	/* its text is in detail */
		l->stage = LOGIN_AT_END;
		buf_clear(&l->text);
		return;
	}
	(void)fail(l, kind, why, STR_NONE);
}

/* What the backend can do, as far as known: *caps_out. Asks for it where it
 * has not told. False: it must answer first. */
static bool know_caps(struct login *l, struct buf *out, struct str *caps_out)
{
	*caps_out = buf_view(&l->before);
	if (caps_out->n)
		return true;
	if (!(l->pending & CMD_CAPABILITY))
		login_send_command(l, out, CMD_CAPABILITY, "C CAPABILITY\r\n");
	*caps_out = l->request.hint;
	return caps_out->n && l->request.pipeline &&
	    l->request.purpose == LOGIN_SESSION;
}

static enum login_verdict start_login(struct login *l, struct str caps,
    struct buf *out)
{
	const char *why = "";

	l->guessed = l->before.len == 0;
	switch (login_send(l, caps, out, &why)) {
	case LOGIN_SENT:
		return LOGIN_MORE;
	case LOGIN_NOT_LISTED:
		if (l->guessed)
			return LOGIN_MORE;	/* the answer to C will tell */
		return fail(l, LOGIN_FAIL_REMOTE_CONFIG, why, STR_NONE);
	case LOGIN_NOT_SAYABLE:
		return fail(l, LOGIN_FAIL_AUTH_DENIED, why, STR_NONE);
	}
	return LOGIN_FAILED;
}

/* Sends what can be sent before the login is answered: at once all whose
 * form is known, or with pipeline = no one command at a time. */
static enum login_verdict advance_login(struct login *l, struct buf *out)
{
	const struct login_request *q = &l->request;
	struct str caps;
	bool is_known = know_caps(l, out, &caps);

	if (!is_known)
		return LOGIN_MORE;
	if (buf_view(&l->before).n && !caps_has(caps, STR("IMAP4rev1")))
		return fail(l, LOGIN_FAIL_REMOTE_CONFIG,
		    "backend does not list IMAP4rev1", STR_NONE);
	if (q->purpose == LOGIN_PROBE) {
		login_send_command(l, out, CMD_LOGOUT, "Q LOGOUT\r\n");
		l->stage = LOGIN_AT_END;
		return LOGIN_OK;
	}
	if (q->id.send && !(l->sent & CMD_ID) && caps_has(caps, STR("ID"))) {
		login_note_sent(l, CMD_ID);
		(void)!login_id_write(out, &q->id);
		if (!q->pipeline)
			return LOGIN_MORE;
	}
	if (l->sent & CMD_ANY_LOGIN)
		return LOGIN_MORE;
	return start_login(l, caps, out);
}

static enum login_verdict advance(struct login *l, struct buf *out)
{
	if (!l->request.pipeline && l->pending)
		return LOGIN_MORE;
	switch (l->stage) {
	case LOGIN_AT_PLAIN:
		if (l->before.len &&
		    !caps_has(buf_view(&l->before), STR("STARTTLS")))
			return fail(l, LOGIN_FAIL_REMOTE_CONFIG,
			    "backend does not list STARTTLS", STR_NONE);
		login_send_command(l, out, CMD_STARTTLS, "S STARTTLS\r\n");
		return LOGIN_MORE;
	case LOGIN_AT_LOGIN:
		return advance_login(l, out);
	case LOGIN_AT_SESSION:
		if (l->after.len) {
			l->stage = LOGIN_AT_END;
			return LOGIN_OK;
		}
		login_send_command(l, out, CMD_CAPABILITY, "C CAPABILITY\r\n");
		return LOGIN_MORE;
	case LOGIN_AT_GREETING:
	case LOGIN_AT_HANDSHAKE:
	case LOGIN_AT_END:
		break;
	}
	must(!"a stage that waits for others");
	return LOGIN_FAILED;
}

enum login_verdict login_tls_done(struct login *l, struct buf *out)
{
	must(l->stage == LOGIN_AT_HANDSHAKE);
	l->stage = LOGIN_AT_LOGIN;
	return advance(l, out);
}

/* A list that comes while nothing but the login is unanswered is the list
 * behind it: some servers send it before their OK. */
static void store_caps(struct login *l, struct str text)
{
	bool is_after = l->stage == LOGIN_AT_SESSION ||
	    ((l->pending & CMD_ANY_LOGIN) && !(l->pending & CMD_CAPABILITY));
	struct buf *caps = is_after ? &l->after : &l->before;

	buf_clear(caps);
	caps_add(caps, text);
}

static enum login_verdict take_greeting(struct login *l,
    const struct reply *r, struct buf *out)
{
	if (r->kind != REPLY_UNTAGGED)
		return fail_line(l, "backend sent no greeting", r);
	l->received = GOT_BANNER;
	switch (r->status) {
	case REPLY_OK:
		break;
	case REPLY_BYE:
		return fail(l, LOGIN_FAIL_BYE, "backend said BYE", r->text);
	case REPLY_PREAUTH:
		return fail_line(l, "backend takes us for somebody", r);
	case REPLY_DATA:
	case REPLY_NO:
	case REPLY_BAD:
		return fail_line(l, "backend sent no greeting", r);
	}
	if (str_ieq(r->code, STR("CAPABILITY")))
		store_caps(l, r->code_args);
	l->stage = l->request.tls == LOGIN_TLS_START ?
	    LOGIN_AT_PLAIN : LOGIN_AT_LOGIN;
	return advance(l, out);
}

/* What comes before TLS may be anybody's. */
static void keep_untagged(struct login *l, const struct reply *r)
{
	if (l->stage == LOGIN_AT_PLAIN || repeats_secret(l, r->line) ||
	    l->untagged.len + r->line.n + 2 > LOGIN_UNTAGGED_MAX)
		return;
	(void)buf_str(&l->untagged, r->line);
	(void)buf_puts(&l->untagged, "\r\n");
}

static enum login_verdict take_untagged(struct login *l,
    const struct reply *r)
{
	switch (r->status) {
	case REPLY_BYE:
		l->got_bye = true;
		l->received = GOT_BYE;
		note_detail(l, "backend said BYE", r->text);
		return LOGIN_MORE;
	case REPLY_PREAUTH:
		return fail_line(l, "PREAUTH behind the greeting", r);
	case REPLY_OK:
	case REPLY_NO:
	case REPLY_BAD:
		if (str_ieq(r->code, STR("CAPABILITY")))
			store_caps(l, r->code_args);
		else
			keep_untagged(l, r);
		return LOGIN_MORE;
	case REPLY_DATA:
		break;
	}
	if (r->has_literal)
		return fail_line(l, "literal before login", r);
	if (str_ieq(r->name, STR("CAPABILITY")) && !r->has_number)
		store_caps(l, r->text);
	else if (!str_ieq(r->name, STR("ID")))
		keep_untagged(l, r);
	return LOGIN_MORE;
}

static enum login_verdict take_challenge(struct login *l,
    const struct reply *r)
{
	if (l->rounds++ == LOGIN_ROUNDS_MAX)
		return fail(l, LOGIN_FAIL_PROTOCOL, "too many challenges",
		    STR_NONE);
	if (!base64_is_valid(r->text))
		return fail_line(l, "challenge is not base64", r);
	buf_clear(&l->text);
	(void)buf_str(&l->text, r->text);
	l->plus = LOGIN_PLUS_CLIENT;
	return LOGIN_CHALLENGE;
}

static enum login_verdict take_continue(struct login *l,
    const struct reply *r, struct buf *out)
{
	if (!(l->pending & CMD_ANY_LOGIN))
		return fail_line(l, "backend wants more of nothing", r);
	l->received = CMD_CONTINUE;
	switch (l->plus) {
	case LOGIN_PLUS_IGNORED:
		return LOGIN_MORE;
	case LOGIN_PLUS_USER:
		(void)buf_str(out, l->request.user);
		login_send_password(l, out);
		return LOGIN_MORE;
	case LOGIN_PLUS_PASSWORD:
		(void)buf_str(out, l->request.password);
		(void)buf_puts(out, "\r\n");
		l->plus = LOGIN_PLUS_IGNORED;
		return LOGIN_MORE;
	case LOGIN_PLUS_INITIAL:
		login_send_initial(l, out);
		return LOGIN_MORE;
	case LOGIN_PLUS_CHALLENGE:
		return take_challenge(l, r);
	case LOGIN_PLUS_CLIENT:
	case LOGIN_PLUS_WRONG:
		break;
	}
	return fail_line(l, "unexpected challenge", r);
}

void login_respond(struct login *l, struct str base64, struct buf *out)
{
	must(l->plus == LOGIN_PLUS_CLIENT);
	if (!base64_is_valid(base64)) {
		l->cancelled = true;
		base64 = STR("*");
	}
	(void)buf_str(out, base64);
	(void)buf_puts(out, "\r\n");
	l->sent |= CMD_CONTINUE;
	/* a cancelled exchange has no further challenge */
	l->plus = l->cancelled ? LOGIN_PLUS_WRONG : LOGIN_PLUS_CHALLENGE;
}

static enum login_verdict take_starttls_done(struct login *l,
    const struct reply *r)
{
	if (r->status != REPLY_OK)
		return fail(l, r->status == REPLY_NO ? LOGIN_FAIL_TLS :
		    LOGIN_FAIL_REMOTE_CONFIG, "backend refused STARTTLS",
		    r->line);
	/* RFC 9051, 6.2.1: what was heard in the clear is forgotten */
	buf_clear(&l->before);
	l->got_bye = false;
	l->stage = LOGIN_AT_HANDSHAKE;
	return LOGIN_STARTTLS;
}

static enum login_verdict take_capability_done(struct login *l,
    const struct reply *r, struct buf *out)
{
	bool is_after = l->stage == LOGIN_AT_SESSION;
	struct buf *caps = is_after ? &l->after : &l->before;

	if (r->status == REPLY_OK && str_ieq(r->code, STR("CAPABILITY"))) {
		buf_clear(caps);
		caps_add(caps, r->code_args);
	}
	if (r->status != REPLY_OK || caps->len == 0)
		return fail_line(l, "backend tells no capabilities", r);
	if (!is_after)
		l->hint_was_wrong = l->request.hint.n &&
		    !caps_equal(l->request.hint, buf_view(caps));
	return advance(l, out);
}

static enum login_verdict take_refusal(struct login *l,
    const struct reply *r)
{
	enum login_failure kind = login_failure_of(r);

	/* The form that we guessed may be what was refused. */
	if (l->guessed && l->hint_was_wrong && r->code.n == 0)
		kind = LOGIN_FAIL_PROTOCOL;
	if (l->cancelled)
		kind = LOGIN_FAIL_CANCELLED;
	(void)fail(l, kind, "backend refused the login",
	    str_skip(r->line, r->tag.n + 1));
	if ((kind == LOGIN_FAIL_UNAVAILABLE || kind == LOGIN_FAIL_LIMIT ||
	    kind == LOGIN_FAIL_OTHER_CODE) && !repeats_secret(l, r->line))
		login_failure_forward(&l->text, r);
	if (kind == LOGIN_FAIL_REFERRAL &&
	    !login_referral_parse(r->code_args, &l->referral_text,
	    &l->referral))
		l->referral = (struct login_referral){ 0 };
	return LOGIN_FAILED;
}

static enum login_verdict take_login_done(struct login *l,
    const struct reply *r, struct buf *out)
{
	if (r->status != REPLY_OK)
		return take_refusal(l, r);
	/* An answer to a command that is not wholly sent, or out of turn,
	 * would leave an answer of ours to the client's session. */
	if (l->cancelled || l->pending ||
	    (l->plus != LOGIN_PLUS_IGNORED && l->plus != LOGIN_PLUS_WRONG &&
	    l->plus != LOGIN_PLUS_CHALLENGE))
		return fail_line(l, "OK out of turn", r);
	l->stage = LOGIN_AT_SESSION;
	if (str_ieq(r->code, STR("CAPABILITY")))
		store_caps(l, r->code_args);
	buf_clear(&l->text);
	if (r->text.n && !repeats_secret(l, r->text))
		quote_printable(&l->text, r->text, TEXT_MAX);
	else
		(void)buf_puts(&l->text, "Logged in.");
	return advance(l, out);
}

static enum login_verdict take_tagged(struct login *l,
    const struct reply *r, struct buf *out)
{
	static const struct {
		struct str tag;
		unsigned commands;
	} tags[] = {
		{ { "I", 1 }, CMD_ID },
		{ { "S", 1 }, CMD_STARTTLS },
		{ { "C", 1 }, CMD_CAPABILITY },
		{ { "L", 1 }, CMD_ANY_LOGIN },
	};
	unsigned command = 0;

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		if (str_eq(r->tag, tags[i].tag))
			command = tags[i].commands & l->pending;
	if (!command)
		return fail_line(l, "answer to no question", r);
	l->pending &= ~command;
	l->received = command;
	switch (command) {
	case CMD_ID:
		return advance(l, out);	/* whether it was taken or not */
	case CMD_STARTTLS:
		return take_starttls_done(l, r);
	case CMD_CAPABILITY:
		return take_capability_done(l, r, out);
	default:
		return take_login_done(l, r, out);
	}
}

static enum login_verdict take_line(struct login *l, const struct reply *r,
    struct buf *out)
{
	if (l->stage == LOGIN_AT_GREETING)
		return take_greeting(l, r, out);
	switch (r->kind) {
	case REPLY_UNTAGGED:
		return take_untagged(l, r);
	case REPLY_TAGGED:
		return take_tagged(l, r, out);
	case REPLY_CONTINUE:
		return take_continue(l, r, out);
	}
	return LOGIN_FAILED;
}

enum login_verdict login_feed(struct login *l, struct buf *in,
    struct buf *out)
{
	enum login_verdict verdict = LOGIN_MORE;
	struct reply r = { 0 };
	size_t n = 0;

	must(l->stage != LOGIN_AT_END && l->stage != LOGIN_AT_HANDSHAKE);
	while (verdict == LOGIN_MORE) {
		switch (reply_take(buf_view(in), LOGIN_LINE_MAX, &r, &n)) {
		case REPLY_MORE:
			return LOGIN_MORE;
		case REPLY_BROKEN:
			return fail_line(l, "not a line of IMAP", &r);
		case REPLY_TOO_LONG:
			return fail(l, LOGIN_FAIL_PROTOCOL,
			    "line too long", STR_NONE);
		case REPLY_LINE:
			break;
		}
		verdict = take_line(l, &r, out);
		buf_consume(in, n);
		if (out->overflowed && verdict != LOGIN_FAILED)
			return fail(l, LOGIN_FAIL_PROTOCOL,
			    "commands do not fit in the buffer", STR_NONE);
	}
	if (verdict == LOGIN_STARTTLS && in->len)
		return fail(l, LOGIN_FAIL_PROTOCOL,
		    "bytes before TLS, behind STARTTLS", STR_NONE);
	return verdict;
}

struct str login_challenge(const struct login *l)
{
	return buf_view(&l->text);
}

struct str login_capability_before(const struct login *l)
{
	return buf_view(&l->before);
}

struct str login_capability(const struct login *l)
{
	return buf_view(&l->after);
}

struct str login_text(const struct login *l)
{
	return buf_view(&l->text);
}

struct str login_untagged(const struct login *l)
{
	return buf_view(&l->untagged);
}

enum login_failure login_failure(const struct login *l)
{
	return l->failure;
}

bool login_is_greeted(const struct login *l)
{
	return l->received != 0;
}

bool login_hint_was_wrong(const struct login *l)
{
	return l->hint_was_wrong;
}

struct str login_reply(const struct login *l)
{
	return l->text.len ? buf_view(&l->text) :
	    str_from(login_failure_reply(l->failure));
}

struct str login_detail(const struct login *l)
{
	return buf_view(&l->detail);
}

const struct login_referral *login_referral(const struct login *l)
{
	return &l->referral;
}

/* Appends the words of the bits, joined by "+", or "none". */
static size_t put_words(char *to, size_t size, unsigned bits)
{
	size_t n = 0;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (bits & 1u << i)
			n += (size_t)snprintf(to + n, size - n, "%s%s",
			    n ? "+" : "", words[i]);
	return n ? n : (size_t)snprintf(to, size, "none");
}

const char *login_state(struct login *l)
{
	size_t n = put_words(l->state, sizeof(l->state), l->sent);

	must(n + 1 < sizeof(l->state));
	l->state[n++] = '/';
	n += put_words(l->state + n, sizeof(l->state) - n, l->received);
	must(n < sizeof(l->state));
	return l->state;
}
