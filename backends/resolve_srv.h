/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_RESOLVE_SRV_H
#define BACKENDS_RESOLVE_SRV_H
/*
 * resolve_srv - the servers in an answer to a question for SRV; resolve's own
 *
 *	message  ->  targets, by priority, then by name and port; TTL
 *
 * Shapes   a target whose name could not be the name of a host, or that has
 *          port 0, is left out, and so is one that stands there twice. "."
 *          is no target: alone it says that there is no such service.
 * Errors   false: not a whole message, or it says nothing about servers; what
 *          stands in *out then means nothing.
 * Owns     nothing.
 * Thread   any.
 * Source   RFC 2782; RFC 1035, 4.1. c-ares' own parser tells no TTL.
 */
#include <stdbool.h>
#include <stddef.h>

#include "backends/resolve.h"

struct resolve_srv {
	struct resolve_target v[RESOLVE_TARGETS_MAX];
	size_t n;
	unsigned ttl_s;
};

bool resolve_srv_parse(const unsigned char *message, size_t len,
    struct resolve_srv *out);

/* A target as a word (resolve.h), and one more of such a word, unless it is
 * none. Returns to. */
const char *resolve_srv_write(const struct resolve_target *t,
    char to[RESOLVE_WORD_MAX]);
void resolve_srv_read(struct resolve_srv *out, struct str word);
#endif
