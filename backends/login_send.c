/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/login_send.h"

#include <stdint.h>

#include "backends/login.h"
#include "proxy/base/base64.h"
#include "proxy/imap/caps.h"
#include "proxy/imap/quote.h"

#define COMMAND_MAX 8000	/* a line that every server takes, RFC 2683 */

/* How the login is said. */
enum form {
	FORM_SASL = 0,
	FORM_LOGIN,
	FORM_NONE,
};

void login_note_sent(struct login *l, unsigned command)
{
	l->sent |= command;
	l->pending |= command;
}

void login_send_command(struct login *l, struct buf *out, unsigned command,
    const char *text)
{
	(void)buf_puts(out, text);
	login_note_sent(l, command);
}

static bool has_nul(struct str s)
{
	return s.n && memchr(s.p, '\0', s.n);
}

/* message = [authzid] UTF8NUL authcid UTF8NUL passwd
 *
 * The caller has seen that there is no NUL in the parts, which would move
 * their borders. */
static bool build_plain(struct login *l)
{
	const struct login_request *q = &l->request;
	struct buf message;

	buf_init(&message, LOGIN_OUT_MAX);
	bool ok = buf_str(&message, q->authzid) &&
	    buf_append(&message, "", 1) && buf_str(&message, q->user) &&
	    buf_append(&message, "", 1) && buf_str(&message, q->password) &&
	    base64_encode(&l->initial, buf_view(&message).p, message.len);
	buf_fini(&message);
	return ok;
}

/* Makes l->initial, as on the wire; false: these bytes cannot be said. */
static bool build_initial(struct login *l)
{
	const struct login_request *q = &l->request;

	buf_clear(&l->initial);
	switch (q->kind) {
	case LOGIN_BY_PASSWORD:
		return build_plain(l);
	case LOGIN_BY_RELAY:
		if (!str_eq(q->initial, STR("=")) &&
		    !base64_is_valid(q->initial))
			return false;
		return buf_str(&l->initial, q->initial);
	case LOGIN_BY_EXTERNAL:
		return q->authzid.n ? base64_encode(&l->initial,
		    q->authzid.p, q->authzid.n) :
		    buf_puts(&l->initial, "=");
	}
	return false;
}

static struct str mechanism_of(const struct login_request *q)
{
	switch (q->kind) {
	case LOGIN_BY_PASSWORD:
		return STR("PLAIN");
	case LOGIN_BY_RELAY:
		return q->mechanism;
	case LOGIN_BY_EXTERNAL:
		return STR("EXTERNAL");
	}
	return STR_NONE;
}

/* The form of the login for a backend that can do caps. FORM_NONE: *why_out
 * says what it lacks. */
static enum form choose_form(const struct login_request *q, struct str caps,
    const char **why_out)
{
	bool is_disabled = caps_has(caps, STR("LOGINDISABLED"));

	if (q->kind == LOGIN_BY_PASSWORD && q->tls == LOGIN_TLS_NONE &&
	    is_disabled) {
		*why_out = "backend wants TLS: LOGINDISABLED";
		return FORM_NONE;
	}
	if (caps_has_auth(caps, mechanism_of(q)))
		return FORM_SASL;
	if (q->kind != LOGIN_BY_PASSWORD) {
		*why_out = "backend does not list the mechanism";
		return FORM_NONE;
	}
	if (q->authzid.n && !str_eq(q->authzid, q->user)) {
		*why_out = "backend has no AUTH=PLAIN for a master user";
		return FORM_NONE;
	}
	if (is_disabled) {
		*why_out = "backend has neither AUTH=PLAIN nor LOGIN";
		return FORM_NONE;
	}
	return FORM_LOGIN;
}

/* authenticate    = "AUTHENTICATE" SP auth-type [SP initial-resp]
 *                   *(CRLF base64)
 *
 * Without SASL-IR, and where the line would grow too long for some servers,
 * the initial response waits for an empty challenge. */
static void send_sasl(struct login *l, struct str caps, struct buf *out)
{
	struct str initial = buf_view(&l->initial);
	bool is_relay = l->request.kind == LOGIN_BY_RELAY;

	login_send_command(l, out, CMD_AUTHENTICATE, "L AUTHENTICATE ");
	(void)buf_str(out, mechanism_of(&l->request));
	l->plus = is_relay ? LOGIN_PLUS_CHALLENGE : LOGIN_PLUS_WRONG;
	if (initial.n && caps_has(caps, STR("SASL-IR")) &&
	    initial.n < COMMAND_MAX) {
		(void)buf_puts(out, " ");
		(void)buf_str(out, initial);
	} else if (initial.n) {
		l->plus = LOGIN_PLUS_INITIAL;
	}
	(void)buf_puts(out, "\r\n");
}

void login_send_initial(struct login *l, struct buf *out)
{
	struct str initial = buf_view(&l->initial);

	if (!str_eq(initial, STR("=")))
		(void)buf_str(out, initial);
	(void)buf_puts(out, "\r\n");
	l->sent |= CMD_CONTINUE;
	l->plus = l->request.kind == LOGIN_BY_RELAY ?
	    LOGIN_PLUS_CHALLENGE : LOGIN_PLUS_WRONG;
}

/* Writes s; false: only its literal's head, and `out` ends there. */
static bool put_login_string(struct login *l, struct buf *out, struct str s)
{
	if (quote_form(s) == QUOTE_QUOTED) {
		(void)!quote_string(out, s);
		return true;
	}
	bool is_nonsync = s.n <= l->nonsync_max;
	(void)!quote_literal_head(out, s.n, is_nonsync);
	if (is_nonsync)
		(void)buf_str(out, s);
	return is_nonsync;
}

void login_send_password(struct login *l, struct buf *out)
{
	(void)buf_puts(out, " ");
	l->plus = LOGIN_PLUS_PASSWORD;
	if (!put_login_string(l, out, l->request.password))
		return;
	(void)buf_puts(out, "\r\n");
	l->plus = LOGIN_PLUS_IGNORED;
}

/* login = "LOGIN" SP userid SP password
 *
 * A literal that does not wait is for servers that have just listed it: to
 * one that does not know it, its bytes would be the next command. */
static void send_login(struct login *l, struct str caps, struct buf *out)
{
	l->nonsync_max = l->guessed ? 0 :
	    caps_has(caps, STR("LITERAL+")) ? SIZE_MAX :
	    caps_has(caps, STR("LITERAL-")) ? QUOTE_LITERAL_MINUS_MAX : 0;
	login_send_command(l, out, CMD_LOGIN, "L LOGIN ");
	l->plus = LOGIN_PLUS_USER;
	if (put_login_string(l, out, l->request.user))
		login_send_password(l, out);
}

/* Why these credentials cannot be right, or NULL.
 *
 * NUL would end a name for some and be a part of it for others. An empty
 * password is a successful anonymous bind at some directories. */
static const char *what_is_wrong(const struct login_request *q)
{
	if (has_nul(q->user) || has_nul(q->password) || has_nul(q->authzid))
		return "NUL in credentials";
	if (q->kind == LOGIN_BY_PASSWORD && (!q->user.n || !q->password.n))
		return "empty user name or password";
	return NULL;
}

enum login_sending login_send(struct login *l, struct str caps,
    struct buf *out, const char **why_out)
{
	enum form form = choose_form(&l->request, caps, why_out);

	if (form == FORM_NONE)
		return LOGIN_NOT_LISTED;
	*why_out = what_is_wrong(&l->request);
	if (*why_out)
		return LOGIN_NOT_SAYABLE;
	if (form == FORM_LOGIN) {
		send_login(l, caps, out);
		return LOGIN_SENT;
	}
	if (!build_initial(l)) {
		*why_out = "initial response is too long or not base64";
		return LOGIN_NOT_SAYABLE;
	}
	send_sasl(l, caps, out);
	return LOGIN_SENT;
}
