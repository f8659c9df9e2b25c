/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_HTTP_CLIENT_H
#define BACKENDS_HTTP_CLIENT_H
/*
 * http_client - GET requests that do not block the loop
 *
 *	URL, header lines  ->  status, header lines, body
 *
 * Speaks http and https to the host in the URL and to nobody else: no
 * redirect is followed, and neither proxies, passwords nor cookies are taken
 * from the environment. Connections are kept for the next request. At most
 * n_parallel requests are under way; more wait in line.
 *
 * Shapes   url: as url_parse() takes it. head: lines "Name: value", each with
 *          CR LF at its end, sent in their order behind the request line;
 *          there must be a Host among them, and no other header is sent. An
 *          empty value goes out without the space before it.
 * Units    ms and bytes in names.
 * Errors   status 0 with why: no answer, a late or too long one, or one that
 *          is no HTTP.
 * Owns     url and head are copied; what was sent is wiped wherever it was,
 *          for it holds passwords. A reply is valid during its callback.
 * Thread   the loop's. A name in the URL is resolved on a thread of libcurl's.
 * Source   RFC 9110, RFC 9112.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/str.h"

struct ev_loop;
struct http_call;
struct http_client;

/* "libcurl 7.88.1" */
extern const char http_client_library[];

struct http_options {
	size_t n_parallel;
	size_t max_bytes;	/* of the body, and of all header lines */
	uint64_t timeout_ms;	/* of a request, the wait included; 0: none */
	struct str ca;		/* PEM, for https; must outlive the client */
	/* As HTTP/1.0 clients are: a connection for each request. Ends when
	 * the header is there; the body is not read. */
	bool is_plain;
};

struct http_reply {
	unsigned status;
	struct str head;	/* header lines, CR LF at each end, and the
				 * empty one */
	struct str body;
	const char *why;	/* status 0 */
};

typedef void http_done_fn(void *owner, const struct http_reply *r);

struct http_client *http_client_new(struct ev_loop *loop,
    const struct http_options *options);

/* Every call must be done or cancelled; not from inside a callback. */
void http_client_free(struct http_client **c);

/* done is never called before it returns. */
struct http_call *http_get(struct http_client *c, struct str url,
    struct str head, http_done_fn *done, void *owner);

/* done is not called any more. Legal at any time, from inside the done of
 * another call too. *call becomes NULL; NULL is legal. */
void http_cancel(struct http_call **call);
#endif
