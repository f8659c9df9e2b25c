/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_LOGIN_SEND_H
#define BACKENDS_LOGIN_SEND_H
/*
 * login_send - what login writes to a backend
 *
 * The inner half of login: it chooses the form in which credentials are said
 * (AUTHENTICATE with or without SASL-IR, LOGIN with quoted strings or
 * literals) and writes it. login reads the answers and decides what is next.
 *
 * Shapes   credentials of any bytes. They travel in base64, in quoted strings
 *          or behind a literal's head, and a literal that does not wait is
 *          used only where the backend has just listed it.
 * Errors   a full `out` is marked overflowed; login sees to it.
 * Owns     nothing; changes sent, pending, plus and initial of struct login.
 * Source   RFC 9051, 6.2.2 and 6.2.3; RFC 4616; RFC 4959; RFC 7888.
 */
#include "proxy/base/str.h"

struct buf;
struct login;

/* Bits of sent, pending and received; login.c has their words. */
enum {
	CMD_ID		= 1 << 0,
	CMD_STARTTLS	= 1 << 1,
	CMD_CAPABILITY	= 1 << 2,
	CMD_AUTHENTICATE = 1 << 3,
	CMD_CONTINUE	= 1 << 4,
	CMD_LOGIN	= 1 << 5,
	CMD_LOGOUT	= 1 << 6,
	GOT_BANNER	= 1 << 7,
	GOT_BYE		= 1 << 8,
	CMD_ANY_LOGIN	= CMD_AUTHENTICATE | CMD_LOGIN,
};

enum login_sending {
	LOGIN_SENT = 0,
	LOGIN_NOT_LISTED,	/* the backend does not list what it takes */
	LOGIN_NOT_SAYABLE,	/* no backend takes such credentials */
};

void login_note_sent(struct login *l, unsigned command);

/* text: the whole command with its CRLF, or its beginning. */
void login_send_command(struct login *l, struct buf *out, unsigned command,
    const char *text);

/* Writes the login, or its first part, for a backend that can do caps.
 * *why_out says what is wrong, if it is not SENT. */
enum login_sending login_send(struct login *l, struct str caps,
    struct buf *out, const char **why_out)
    __attribute__((warn_unused_result, nonnull));

/* What follows "+": the initial response; the rest of LOGIN. */
void login_send_initial(struct login *l, struct buf *out);
void login_send_password(struct login *l, struct buf *out);
#endif
