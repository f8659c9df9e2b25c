/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * A table behind HTTP: GET of the table's URL with the key in it, percent-
 * encoded. The answer is an object of JSON:
 *
 *	{ "pool": "eu" }	{ "backend": "mail1" }	{ "value": "jan@mail1" }
 *
 * each with or without a "user"; members of other names are passed over.
 * Status 404, null and {} say that there is no such key.
 *
 * A server decodes a path before it takes "." and ".." out of it, so a key
 * with such a segment would be another path: no source has it.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/conf.h"
#include "backends/http_client.h"
#include "backends/table.h"
#include "backends/url.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/user.h"

#define PARALLEL 32
#define ANSWER_MAX (16 * 1024)

struct source {
	const struct conf_table *conf;
	struct http_client *client;
	struct str before, after;	/* of the URL */
	bool is_in_path;
	char *head;
};

struct ask {
	struct source *source;
	struct table_request *request;
	struct http_call *call;
};

static void finish(struct ask *a, enum table_verdict verdict,
    struct str value, const char *why)
{
	struct table_request *r = a->request;

	free(a);
	table_finish(r, verdict, value, why);
}

/* --- answers ---------------------------------------------------------------------- */

/* The member's string; empty: there is none. False: it is something else. */
static bool take(const json_t *object, const char *name, struct str *out)
{
	const json_t *v = json_object_get(object, name);

	*out = STR_NONE;
	if (!v || json_is_null(v))
		return true;
	*out = (struct str){ json_string_value(v), json_string_length(v) };
	return json_is_string(v) && out->n > 0;
}

/* Writes what table_resolve() reads: [user delimiter] target. */
static enum table_verdict read_answer(const json_t *json,
    const char *delimiter, struct buf *value, struct err *err)
{
	struct str pool, backend, plain, user;

	if (json_is_null(json) || (json_is_object(json) &&
	    json_object_size(json) == 0))
		return TABLE_MISSING;
	if (!json_is_object(json) || !take(json, "pool", &pool) ||
	    !take(json, "backend", &backend) || !take(json, "value", &plain) ||
	    !take(json, "user", &user)) {
		err_set(err, "the answer is not an object with strings");
		return TABLE_FAILED;
	}
	if ((pool.n > 0) + (backend.n > 0) + (plain.n > 0) != 1) {
		err_set(err, "the answer has not one of pool, backend and "
		    "value");
		return TABLE_FAILED;
	}
	if (user.n) {
		buf_str(value, user);
		buf_puts(value, delimiter);
	}
	if (!plain.n)
		buf_puts(value, pool.n ? "pool " : "backend ");
	buf_str(value, pool.n ? pool : backend.n ? backend : plain);
	if (!value->overflowed)
		return TABLE_FOUND;
	err_set(err, "the answer's strings are too long");
	return TABLE_FAILED;
}

static void finish_by_body(struct ask *a, struct str body)
{
	struct buf value;
	struct err err;
	json_error_t why;
	json_t *json = json_loadb(body.p ? body.p : "", body.n,
	    JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);

	if (!json) {
		err_set(&err, "the answer is not JSON: %s", why.text);
		finish(a, TABLE_FAILED, STR_NONE, err.text);
		return;
	}
	buf_init(&value, TABLE_VALUE_MAX);
	enum table_verdict verdict = read_answer(json,
	    a->source->conf->delimiter, &value, &err);
	json_decref(json);
	finish(a, verdict, buf_view(&value),
	    verdict == TABLE_FAILED ? err.text : NULL);
	buf_fini(&value);
}

static void on_reply(void *owner, const struct http_reply *r)
{
	struct ask *a = owner;
	char why[32];

	switch (r->status) {
	case 0:
		finish(a, TABLE_FAILED, STR_NONE, r->why);
		return;
	case 200:
		finish_by_body(a, r->body);
		return;
	case 404:
		finish(a, TABLE_MISSING, STR_NONE, NULL);
		return;
	default:
		snprintf(why, sizeof why, "HTTP status %u", r->status);
		finish(a, TABLE_FAILED, STR_NONE, why);
	}
}

/* --- questions -------------------------------------------------------------------- */

/* Others a server may refuse, which is no reason to call it down. */
static bool is_text(struct str key)
{
	for (size_t i = 0; i < key.n; i++)
		if ((unsigned char)key.p[i] < ' ' || key.p[i] == 0x7f)
			return false;
	return user_is_utf8(key);
}

static bool has_dot_segment(struct str key)
{
	while (key.n) {
		size_t n = 0;
		while (n < key.n && key.p[n] != '/' && key.p[n] != '\\')
			n++;
		struct str segment = { key.p, n };
		if (str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
			return true;
		key = str_skip(key, n < key.n ? n + 1 : n);
	}
	return false;
}

/* RFC 3986, section 2.3: what needs no escape. */
static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

static void write_key(struct buf *url, struct str key)
{
	for (size_t i = 0; i < key.n; i++)
		if (is_unreserved(key.p[i]))
			buf_append(url, &key.p[i], 1);
		else
			buf_printf(url, "%%%02X", (unsigned char)key.p[i]);
}

static void source_lookup(void *kind, struct table_request *r)
{
	struct source *s = kind;
	struct buf url;

	if (!is_text(r->key) ||
	    (s->is_in_path && has_dot_segment(r->key))) {
		table_finish(r, TABLE_MISSING, STR_NONE, NULL);
		return;
	}
	buf_init(&url, 0);
	buf_str(&url, s->before);
	write_key(&url, r->key);
	buf_str(&url, s->after);
	struct ask *a = mem_alloc(sizeof *a);
	a->source = s;
	a->request = r;
	r->state = a;
	a->call = http_get(s->client, buf_view(&url), str_from(s->head),
	    on_reply, a);
	buf_fini(&url);
}

static void source_cancel(void *kind, struct table_request *r)
{
	struct ask *a = r->state;

	(void)kind;
	http_cancel(&a->call);
	free(a);
}

/* --- a source's life ------------------------------------------------------------ */

static void *source_new(const struct conf_table *conf, bool fold,
    struct ev_loop *loop, struct resolve *resolve, struct err *err)
{
	struct str text = str_from(conf->url), token = conf->header.data;
	struct url url;

	(void)resolve;
	(void)fold;
	struct source *s = mem_alloc(sizeof *s);
	s->conf = conf;
	if (!url_parse(text, &url, err) || !url_split(text, &s->before,
	    &s->after, &s->is_in_path, err)) {
		free(s);
		return NULL;
	}
	s->head = mem_printf("Host: %.*s\r\nAccept: application/json\r\n"
	    "%.*s%s", STR_ARG(url.authority), STR_ARG(token),
	    token.n ? "\r\n" : "");
	s->client = http_client_new(loop, &(struct http_options){
	    .n_parallel = PARALLEL, .max_bytes = ANSWER_MAX,
	    .ca = conf->ca.data });
	return s;
}

static void source_free(void *kind)
{
	struct source *s = kind;

	http_client_free(&s->client);
	mem_wipe(s->head, strlen(s->head));
	free(s->head);
	free(s);
}

const struct table_kind table_http = {
	.name = "http",
	.new = source_new,
	.lookup = source_lookup,
	.cancel = source_cancel,
	.free = source_free,
};
