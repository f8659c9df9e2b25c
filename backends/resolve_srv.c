/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/resolve_srv.h"

#include <ares.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 12
#define TYPE_SRV 33
#define CLASS_IN 1

struct reader {
	const unsigned char *message;
	size_t len, at;
};

static unsigned u16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* Reads a name, compressed or not. name_out: RESOLVE_HOST_MAX bytes, in lower
 * case; empty when it is longer. */
static bool read_name(struct reader *r, char *name_out)
{
	char *name;
	long n;

	if (r->at >= r->len || ares_expand_name(r->message + r->at,
	    r->message, (int)r->len, &name, &n) != ARES_SUCCESS)
		return false;
	r->at += (size_t)n;
	size_t len = strlen(name);
	if (len >= RESOLVE_HOST_MAX)
		len = 0;
	for (size_t i = 0; i < len; i++)
		name_out[i] = (char)tolower((unsigned char)name[i]);
	name_out[len] = 0;
	ares_free_string(name);
	return true;
}

static bool skip(struct reader *r, size_t n)
{
	if (n > r->len - r->at)
		return false;
	r->at += n;
	return true;
}

/* It goes into logs, lists and names of backends. */
static bool is_host(const char *name)
{
	if (!isalnum((unsigned char)name[0]))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr(".-_", *name))
			return false;
	return true;
}

static int by_place(const struct resolve_target *a,
    const struct resolve_target *b)
{
	int c = strcmp(a->host, b->host);

	return c ? c : (int)a->port - (int)b->port;
}

static int by_rank(const void *p, const void *q)
{
	const struct resolve_target *a = p, *b = q;

	return a->priority != b->priority ?
	    (int)a->priority - (int)b->priority : by_place(a, b);
}

static void add(struct resolve_srv *out, const struct resolve_target *t)
{
	if (t->port == 0 || !is_host(t->host))
		return;
	for (size_t i = 0; i < out->n; i++) {
		if (by_place(&out->v[i], t) != 0)
			continue;
		if (by_rank(t, &out->v[i]) < 0)
			out->v[i] = *t;
		return;
	}
	if (out->n < RESOLVE_TARGETS_MAX)
		out->v[out->n++] = *t;
}

/* False: it ends too early. says_none: set when its target is ".". */
static bool read_record(struct reader *r, struct resolve_srv *out,
    bool *says_none)
{
	struct resolve_target t = { .host = "" };

	if (!read_name(r, t.host))
		return false;
	const unsigned char *p = r->message + r->at;
	if (!skip(r, 10))
		return false;
	unsigned ttl = u16(p + 4) << 16 | u16(p + 6);
	struct reader data = { r->message, r->len, r->at };
	if (!skip(r, u16(p + 8)))
		return false;
	/* RFC 2181, 8: the highest bit set means 0 */
	ttl = ttl >> 31 ? 0 : ttl;
	if (ttl < out->ttl_s)
		out->ttl_s = ttl;
	if (u16(p) != TYPE_SRV || u16(p + 2) != CLASS_IN)
		return true;
	const unsigned char *q = data.message + data.at;
	if (!skip(&data, 6) || data.at >= r->at)
		return false;
	bool is_root = data.message[data.at] == 0;
	if (!read_name(&data, t.host) || data.at != r->at)
		return false;
	t.priority = (uint16_t)u16(q);
	t.weight = (uint16_t)u16(q + 2);
	t.port = (uint16_t)u16(q + 4);
	*says_none |= is_root;
	add(out, &t);
	return true;
}

bool resolve_srv_parse(const unsigned char *message, size_t len,
    struct resolve_srv *out)
{
	struct reader r = { message, len, HEADER };
	char name[RESOLVE_HOST_MAX];
	bool says_none = false;

	out->n = 0;
	out->ttl_s = RESOLVE_TTL_MAX_S;
	if (len < HEADER)
		return false;
	for (unsigned i = u16(message + 4); i > 0; i--)
		if (!read_name(&r, name) || !skip(&r, 4))
			return false;
	for (unsigned i = u16(message + 6); i > 0; i--)
		if (!read_record(&r, out, &says_none))
			return false;
	qsort(out->v, out->n, sizeof out->v[0], by_rank);
	return out->n > 0 || says_none;
}

/* --- targets as words --------------------------------------------------------- */

const char *resolve_srv_write(const struct resolve_target *t,
    char to[RESOLVE_WORD_MAX])
{
	snprintf(to, RESOLVE_WORD_MAX, "%u %u %u %s", (unsigned)t->priority,
	    (unsigned)t->weight, (unsigned)t->port, t->host);
	return to;
}

static bool read_number(struct str *rest, uint16_t *out)
{
	struct str digits = str_split(*rest, ' ', rest);
	unsigned value = 0;

	for (size_t i = 0; i < digits.n; i++) {
		if (!isdigit((unsigned char)digits.p[i]) || i > 4)
			return false;
		value = value * 10 + (unsigned)(digits.p[i] - '0');
	}
	*out = (uint16_t)value;
	return digits.n > 0 && value <= UINT16_MAX;
}

void resolve_srv_read(struct resolve_srv *out, struct str word)
{
	struct resolve_target t = { .host = "" };

	if (!read_number(&word, &t.priority) ||
	    !read_number(&word, &t.weight) ||
	    !read_number(&word, &t.port) || word.n >= sizeof t.host)
		return;
	if (word.n)
		memcpy(t.host, word.p, word.n);
	add(out, &t);
	qsort(out->v, out->n, sizeof out->v[0], by_rank);
}
