/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_AUTH_HTTP_WIRE_H
#define BACKENDS_AUTH_HTTP_WIRE_H
/*
 * auth_http_wire - nginx's auth_http protocol, without a connection
 *
 *	a login  ->  the header of a GET
 *	the header of the answer  ->  what it means
 *
 *	Auth-Status: OK		the backend is at Auth-Server, Auth-Port;
 *				Auth-User and Auth-Pass replace the client's
 *	Auth-Status: WAIT	ask again in Auth-Wait seconds
 *	Auth-Status: <text>	no: told after Auth-Wait seconds; without them
 *				at once, and the connection ends
 *
 * Stricter than nginx: an answer without Auth-Status is broken, where nginx
 * takes it for OK, and a text is made one line of printable ASCII. Of many
 * Auth-Status lines a refusal counts, else WAIT; of others the last.
 *
 * Shapes   header lines with CR LF each, without the request's or status
 *          line and the empty one. Nothing in a login can end a line.
 * Units    wait_s: seconds; 0: none were named.
 * Errors   AUTH_HTTP_BROKEN with why.
 * Owns     nothing: user and password are parts of the answer's header.
 * Thread   any.
 * Source   nginx's documentation of ngx_mail_auth_http_module, and what
 *          nginx 1.22 sends.
 */
#include <stdbool.h>

#include "proxy/base/addr.h"
#include "proxy/base/str.h"

#define AUTH_HTTP_TEXT_MAX 400

struct auth_login;
struct buf;

struct auth_http_server {
	struct str host;		/* for Host: without the port */
	const char *const *lines;	/* to send besides */
	size_t n_lines;
	bool gets_certificate;
};

void auth_http_write(struct buf *head, const struct auth_http_server *to,
    const struct auth_login *l);

enum auth_http_verdict {
	AUTH_HTTP_OK,
	AUTH_HTTP_WAIT,
	AUTH_HTTP_REFUSED,
	AUTH_HTTP_BROKEN,
};

struct auth_http_answer {
	enum auth_http_verdict verdict;
	struct addr address;		/* OK */
	struct str user, password;	/* OK; empty: as they are */
	unsigned wait_s;		/* WAIT, REFUSED */
	char text[AUTH_HTTP_TEXT_MAX + 1];	/* REFUSED */
	const char *why;		/* BROKEN */
};

void auth_http_read(struct str head, struct auth_http_answer *out);
#endif
