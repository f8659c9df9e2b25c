/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef UNIT_LOGIN_PLAY_H
#define UNIT_LOGIN_PLAY_H
/*
 * login_play - plays written dialogues with a backend, whole and byte by byte
 *
 * For test_login*.c only: functions in a header, since each test program is
 * one source.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "backends/login.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

#define BEFORE "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+"
#define AFTER "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT " \
	"UNSELECT NAMESPACE UIDPLUS LITERAL+ NOTIFY SPECIAL-USE"
#define DOVECOT "* OK [CAPABILITY " BEFORE " AUTH=PLAIN] " \
	"Dovecot (Debian) ready."
#define DOVECOT_TLS "* OK [CAPABILITY " BEFORE " STARTTLS AUTH=PLAIN] " \
	"Dovecot (Debian) ready."
#define BARE "* OK ready"
#define OLD "* OK [CAPABILITY IMAP4rev1] old"
#define PLAIN "AGphbgBzZWNyZXQ="	/* NUL jan NUL secret */
#define LOGIN_OK_LINE "L OK [CAPABILITY " AFTER "] Logged in"
#define DENIED "NO [AUTHENTICATIONFAILED] Authentication failed."
#define UNAVAILABLE "NO [UNAVAILABLE] Account is temporarily unavailable."
#define SERVERBUG "NO [SERVERBUG] Account is temporarily unavailable."

/* A dialogue is a text of lines:
 *
 *	< what the backend sends (fed up to the next line of another kind)
 *	> what it has to get
 *	= what login_feed() has to say; nothing here: MORE
 *	! what the client answers to a challenge
 *
 * "= STARTTLS" goes on with login_tls_done(), "= closed" is login_abort().
 */
struct row {
	const char *name;
	struct login_request request;
	const char *dialogue;
	const char *text, *caps, *untagged;	/* LOGIN_OK */
	const char *reply;			/* failures */
	enum login_failure failure;
	const char *detail;			/* a part of it */
	const char *state;
	const char *left;			/* for the session */
};

struct play {
	const struct row *row;
	struct login l;
	struct buf in, out;
	bool by_byte;
	enum login_verdict verdict;
};

static void differ(const struct play *p, const char *what, struct str got,
    struct str want)
{
	fail_msg("%s (%s): %s is\n\"%.*s\", not\n\"%.*s\"", p->row->name,
	    p->by_byte ? "byte by byte" : "whole", what, STR_ARG(got),
	    STR_ARG(want));
}

static void check(const struct play *p, const char *what, struct str got,
    const char *want)
{
	if (want && !str_eq(got, str_from(want)))
		differ(p, what, got, str_from(want));
}

/* Feeds s; whatever the split, the verdict must come at the same place. */
static void feed(struct play *p, struct str s)
{
	size_t step = p->by_byte ? 1 : s.n;

	for (size_t i = 0; i < s.n; i += step) {
		buf_append(&p->in, s.p + i, step);
		/* what comes behind the end is the session's */
		if (p->verdict == LOGIN_MORE || p->verdict == LOGIN_CHALLENGE)
			p->verdict = login_feed(&p->l, &p->in, &p->out);
	}
}

static void take_verdict(struct play *p, struct str want)
{
	static const char *const names[] = {
		[LOGIN_MORE] = "MORE", [LOGIN_STARTTLS] = "STARTTLS",
		[LOGIN_CHALLENGE] = "CHALLENGE", [LOGIN_OK] = "OK",
		[LOGIN_FAILED] = "FAILED",
	};

	if (str_eq(want, STR("closed"))) {
		assert_int_equal(p->verdict, LOGIN_MORE);
		login_abort(&p->l, LOGIN_FAIL_CLOSED, "backend closed");
		p->verdict = LOGIN_FAILED;
		return;
	}
	struct str rest, word = str_split(want, ' ', &rest);
	if (!str_eq(str_from(names[p->verdict]), word))
		differ(p, "verdict", str_from(names[p->verdict]), word);
	if (p->verdict == LOGIN_STARTTLS)
		p->verdict = login_tls_done(&p->l, &p->out);
	if (p->verdict == LOGIN_CHALLENGE &&
	    !str_eq(login_challenge(&p->l), rest))
		differ(p, "challenge", login_challenge(&p->l), rest);
}

static void take_output(struct play *p, const struct buf *want)
{
	if (p->verdict != LOGIN_FAILED &&
	    !str_eq(buf_view(&p->out), buf_view(want)))
		differ(p, "output", buf_view(&p->out), buf_view(want));
	buf_clear(&p->out);
}

/* Walks through the dialogue; lines of one kind are one piece. */
static void walk(struct play *p, struct str script)
{
	struct buf piece;
	char kind = 0;

	buf_init(&piece, 0);
	while (script.n || piece.len) {
		struct str rest = STR_NONE, line = script.n ?
		    str_split(script, '\n', &rest) : STR("$");
		bool go_on = kind == line.p[0] && kind != '=';

		if (!go_on) {
			struct str s = buf_view(&piece);

			if (kind == '<')
				feed(p, s);
			if (kind == '=')
				take_verdict(p, (struct str){ s.p, s.n - 2 });
			if (kind == '>')
				take_output(p, &piece);
			if (kind == '!') {
				p->verdict = LOGIN_MORE;
				login_respond(&p->l,
				    (struct str){ s.p, s.n - 2 }, &p->out);
			}
			buf_clear(&piece);
		}
		kind = line.p[0];
		if (kind == '$')
			break;
		buf_str(&piece, str_skip(line, 2));
		buf_puts(&piece, "\r\n");
		script = rest;
	}
	buf_fini(&piece);
}

static void play(const struct row *row, bool by_byte)
{
	struct play p = { .row = row, .by_byte = by_byte };

	buf_init(&p.in, 0);
	buf_init(&p.out, LOGIN_OUT_MAX);
	login_init(&p.l, &row->request);
	walk(&p, str_from(row->dialogue));
	check(&p, "rest of output", buf_view(&p.out), "");
	check(&p, "bytes for the session", buf_view(&p.in),
	    row->left ? row->left : p.verdict == LOGIN_OK ? "" : NULL);
	check(&p, "state", str_from(login_state(&p.l)), row->state);
	if (p.verdict == LOGIN_OK) {
		check(&p, "text", login_text(&p.l), row->text);
		check(&p, "capabilities", login_capability(&p.l), row->caps);
		check(&p, "untagged lines", login_untagged(&p.l),
		    row->untagged);
	} else {
		assert_int_equal(p.verdict, LOGIN_FAILED);
		check(&p, "kind", str_from(login_failure_word(
		    login_failure(&p.l))), login_failure_word(row->failure));
		check(&p, "reply", login_reply(&p.l), row->reply);
		struct str detail = login_detail(&p.l);
		if (row->detail && (!detail.n || !memmem(detail.p, detail.n,
		    row->detail, strlen(row->detail))))
			differ(&p, "detail", detail, str_from(row->detail));
	}
	login_fini(&p.l);
	buf_fini(&p.in);
	buf_fini(&p.out);
}

static void play_all(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		play(&rows[i], false);
		play(&rows[i], true);
	}
}

/* The usual requests, with more behind. */
#define PIPE .pipeline = true
#define JAN(...) { PIPE, .user = STR("jan"), \
	.password = STR("secret"), __VA_ARGS__ }
#define SCRAM { PIPE, .kind = LOGIN_BY_RELAY, \
	.mechanism = STR("SCRAM-SHA-256"), .initial = STR("biwsbj1q") }
#define ID_ALL { .send = true, .session_id = STR("00c3f1a2"), \
	.client_ip = STR("192.0.2.7"), .client_port = 51000, \
	.connected_ip = STR("2001:db8::1"), .connected_port = 993, \
	.connected_name = STR("imap.example.org"), .client_has_tls = true, \
	.ttl = 6 }
#define ID_ALL_LINE "I ID (\"x-session-id\" \"00c3f1a2\" " \
	"\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"51000\" "\
	"\"x-connected-ip\" \"2001:db8::1\" \"x-connected-port\" \"993\" " \
	"\"x-proxy-ttl\" \"6\" \"x-client-transport\" \"TLS\" " \
	"\"x-connected-name\" \"imap.example.org\")"
#endif
