/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_URL_H
#define BACKENDS_URL_H
/*
 * url - where an HTTP source is, as a setting says it
 *
 *	"http://127.0.0.1:8080/where?user=%s"  ->  host, target
 *
 *	url       = ("http" / "https") "://" authority [target]
 *	authority = host [":" port] / "[" ipv6 "]" [":" port]
 *	target    = ("/" / "?") *( %x21-7E )
 *
 * Shapes   views of the text. authority: with the port; host: without it,
 *          and with brackets if it has them; target: path and query, empty
 *          if there is none.
 * Errors   false with err. Names and passwords before a host are refused, for
 *          they would be shown with the settings.
 * Owns     nothing.
 * Thread   any.
 * Source   RFC 3986, without what makes no sense here (fragments).
 */
#include <stdbool.h>

#include "proxy/base/str.h"

#define URL_PLACEHOLDER "%s"

struct err;

struct url {
	struct str authority, host, target;
	bool is_tls;
};

bool url_parse(struct str text, struct url *out, struct err *err)
    __attribute__((warn_unused_result));

/* Splits text at the one placeholder in its target; in_path_out: it stands
 * before the first "?". False with err: there is none, or another. */
bool url_split(struct str text, struct str *before_out, struct str *after_out,
    bool *in_path_out, struct err *err) __attribute__((warn_unused_result));
#endif
