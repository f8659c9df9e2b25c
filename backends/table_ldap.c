/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * A table in a directory: the key stands in a filter, escaped, and the value
 * is an attribute of the one entry that the filter finds. No entry, or one
 * without the attribute: there is no such key. Two entries or values are the
 * operator's mistake, and which one is meant is not guessed.
 */
#include <stdlib.h>

#include "backends/conf.h"
#include "backends/ldap_check.h"
#include "backends/ldap_client.h"
#include "backends/ldap_text.h"
#include "backends/table.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define PARALLEL 64

struct source {
	const struct conf_table *conf;
	struct ldap_client *client;
	const char *attributes[2];
};

static bool test(const struct conf_table *conf, struct err *err)
{
	char *filter = ldap_text_fill(conf->filter, STR("x"));
	bool is_good = ldap_check(conf->url, conf->base, filter, err) &&
	    ldap_check(NULL, conf->bind_dn, NULL, err);

	free(filter);
	return is_good;
}

static void *source_new(const struct conf_table *conf, bool fold,
    struct ev_loop *loop, struct resolve *resolve, struct err *err)
{
	(void)resolve;
	(void)fold;
	if (!test(conf, err))
		return NULL;
	struct source *s = mem_alloc(sizeof *s);
	s->conf = conf;
	s->attributes[0] = conf->attribute;
	s->client = ldap_client_new(&(struct ldap_client_options){
	    .url = conf->url, .starttls = conf->starttls,
	    .verifies = conf->verify, .ca = conf->ca.data,
	    .bind_dn = conf->bind_dn,
	    .bind_password = conf->bind_password_file.data,
	    .timeout_s = (double)conf->timeout_ms / 1000,
	    .n_links = 1, .n_parallel = PARALLEL,
	    .attributes = s->attributes }, loop, err);
	if (s->client)
		return s;
	free(s);
	return NULL;
}

static void on_reply(void *owner, const struct ldap_client_reply *reply)
{
	struct table_request *r = owner;

	switch (reply->verdict) {
	case LDAP_CLIENT_YES:
		table_finish(r, reply->values[0].n ? TABLE_FOUND :
		    TABLE_MISSING, reply->values[0], NULL);
		break;
	case LDAP_CLIENT_NO:
		table_finish(r, TABLE_MISSING, STR_NONE, NULL);
		break;
	case LDAP_CLIENT_FAILED:
		table_finish(r, TABLE_FAILED, STR_NONE, reply->why);
		break;
	}
}

static void source_lookup(void *kind, struct table_request *r)
{
	struct source *s = kind;
	char *filter = ldap_text_fill(s->conf->filter, r->key);
	struct err err;

	r->state = ldap_client_search(s->client, s->conf->base, filter,
	    on_reply, r, &err);
	free(filter);
	if (!r->state)
		table_finish(r, TABLE_FAILED, STR_NONE, err.text);
}

static void source_cancel(void *kind, struct table_request *r)
{
	(void)kind;
	ldap_client_cancel(r->state);
}

static void source_free(void *kind)
{
	struct source *s = kind;

	ldap_client_free(&s->client);
	free(s);
}

static bool source_check(const struct settings *settings,
    const struct conf_table *conf, bool fold, struct err *err)
{
	(void)settings;
	(void)fold;
	return test(conf, err);
}

const struct table_kind table_ldap = {
	.name = "ldap",
	.new = source_new,
	.lookup = source_lookup,
	.cancel = source_cancel,
	.free = source_free,
	.check = source_check,
};
