/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * Driver ldap: a user's entry is found, and then the password is tried by a
 * bind as that entry.
 *
 *	filter    base + filter  ->  search  ->  name, attributes  ->  bind
 *	user_dn                          name                      ->  bind
 *	user_dn with attributes      ->  search of that name       ->  bind
 *
 * Who came by a certificate has no password: the entry must be there, and
 * nobody binds. Searches and binds have connections of their own, since a
 * bind changes who a connection is.
 */
#include <stdlib.h>

#include "backends/auth.h"
#include "backends/conf.h"
#include "backends/ldap_check.h"
#include "backends/ldap_client.h"
#include "backends/ldap_text.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include "proxy/base/user.h"

#define PARALLEL 64	/* searches */

enum field { FIELD_POOL, FIELD_BACKEND, FIELD_AS, N_FIELDS };

struct source {
	const struct conf_auth *conf;
	struct ldap_client *searches, *binds;
	const char *attributes[N_FIELDS + 1];	/* those that are set */
	size_t n_attributes;
	enum field fields[N_FIELDS];		/* which they are */
};

struct check {
	struct source *source;
	struct auth_request *request;
	struct ldap_client_call *call;
	char *found[N_FIELDS];
};

static char *fill(const char *template, const struct auth_request *r)
{
	return ldap_text_fill(template, r->login.canonical);
}

static void check_free(struct check *c)
{
	for (size_t i = 0; i < N_FIELDS; i++)
		free(c->found[i]);
	free(c);
}

static void finish(struct check *c, enum auth_verdict verdict,
    const char *why)
{
	struct auth_answer a = { .verdict = verdict, .why = why };

	if (verdict == AUTH_OK) {
		a.pool = str_from(c->found[FIELD_POOL]);
		a.backend = str_from(c->found[FIELD_BACKEND]);
		a.user = str_from(c->found[FIELD_AS]);
	}
	auth_finish(c->request, &a);
	check_free(c);
}

/* --- the password --------------------------------------------------------- */

static void on_bound(void *owner, const struct ldap_client_reply *reply)
{
	struct check *c = owner;

	switch (reply->verdict) {
	case LDAP_CLIENT_YES:
		finish(c, AUTH_OK, NULL);
		break;
	case LDAP_CLIENT_NO:
		finish(c, AUTH_DENIED, reply->why);
		break;
	case LDAP_CLIENT_FAILED:
		finish(c, AUTH_FAILED, reply->why);
		break;
	}
}

/* Without a password or a name a bind says yes to everybody. */
static void bind_as(struct check *c, struct str dn)
{
	const struct auth_login *login = &c->request->login;
	struct err err;

	if (login->is_proven) {
		finish(c, AUTH_OK, NULL);
	} else if (login->password.n == 0) {
		finish(c, AUTH_DENIED, "no password");
	} else if (dn.n == 0) {
		finish(c, AUTH_FAILED, "the entry has no name");
	} else {
		c->call = ldap_client_bind(c->source->binds, dn,
		    login->password, on_bound, c, &err);
		if (!c->call)
			finish(c, AUTH_FAILED, err.text);
	}
}

/* --- the entry ------------------------------------------------------------ */

/* Empty where it is refused; why_out says so. */
static bool keep_values(struct check *c,
    const struct ldap_client_reply *reply, const char **why_out)
{
	const struct source *s = c->source;

	for (size_t i = 0; i < s->n_attributes; i++) {
		struct str value = reply->values[i];
		if (value.n && s->fields[i] == FIELD_AS &&
		    !user_is_valid(value)) {
			*why_out = "as_attribute has no user name";
			return false;
		}
		if (value.n)
			c->found[s->fields[i]] = mem_str(value);
	}
	return true;
}

static void on_found(void *owner, const struct ldap_client_reply *reply)
{
	struct check *c = owner;
	const char *why;

	c->call = NULL;
	switch (reply->verdict) {
	case LDAP_CLIENT_YES:
		if (keep_values(c, reply, &why))
			bind_as(c, reply->dn);
		else
			finish(c, AUTH_FAILED, why);
		break;
	case LDAP_CLIENT_NO:
		finish(c, AUTH_DENIED, "no such entry");
		break;
	case LDAP_CLIENT_FAILED:
		finish(c, AUTH_FAILED, reply->why);
		break;
	}
}

static void source_check(void *driver, struct auth_request *r)
{
	struct source *s = driver;
	struct check *c = mem_alloc(sizeof *c);
	bool has_name = s->conf->user_dn[0] != 0;
	char *name = fill(has_name ? s->conf->user_dn : s->conf->filter, r);
	struct err err;

	c->source = s;
	c->request = r;
	r->state = c;
	if (has_name && !s->n_attributes && !r->login.is_proven) {
		bind_as(c, str_from(name));
	} else {
		c->call = ldap_client_search(s->searches,
		    has_name ? name : s->conf->base, has_name ? NULL : name,
		    on_found, c, &err);
		if (!c->call)
			finish(c, AUTH_FAILED, err.text);
	}
	free(name);
}

static void source_cancel(void *driver, struct auth_request *r)
{
	struct check *c = r->state;

	(void)driver;
	ldap_client_cancel(c->call);
	check_free(c);
}

/* --- the driver ----------------------------------------------------------- */

static bool test(const struct conf_auth *conf, struct err *err)
{
	const char *text = conf->user_dn[0] ? conf->user_dn : conf->filter;
	char *filled = ldap_text_fill(text, STR("x@x"));
	bool is_good = conf->user_dn[0] ?
	    ldap_check(conf->url, filled, NULL, err) :
	    ldap_check(conf->url, conf->base, filled, err);

	free(filled);
	return is_good && ldap_check(NULL, conf->bind_dn, NULL, err);
}

static bool source_test(const struct settings *settings,
    const struct conf_auth *conf, struct err *err)
{
	(void)settings;
	return test(conf, err);
}

static void take_attributes(struct source *s)
{
	const char *const names[N_FIELDS] = {
		[FIELD_POOL] = s->conf->pool_attribute,
		[FIELD_BACKEND] = s->conf->backend_attribute,
		[FIELD_AS] = s->conf->as_attribute,
	};

	for (size_t i = 0; i < N_FIELDS; i++)
		if (names[i][0]) {
			s->fields[s->n_attributes] = (enum field)i;
			s->attributes[s->n_attributes++] = names[i];
		}
}

static void source_free(void *driver)
{
	struct source *s = driver;

	ldap_client_free(&s->searches);
	ldap_client_free(&s->binds);
	free(s);
}

static void *source_new(const struct settings *settings,
    const struct conf_auth *conf, struct ev_loop *loop, struct err *err)
{
	struct ldap_client_options o = { .url = conf->url,
		.starttls = conf->starttls, .verifies = conf->verify,
		.ca = conf->ca.data, .bind_dn = conf->bind_dn,
		.bind_password = conf->bind_password_file.data,
		.timeout_s = (double)conf->timeout_ms / 1000,
		.n_links = 1, .n_parallel = PARALLEL };

	(void)settings;
	if (!test(conf, err))
		return NULL;
	struct source *s = mem_alloc(sizeof *s);
	s->conf = conf;
	take_attributes(s);
	o.attributes = s->attributes;
	s->searches = ldap_client_new(&o, loop, err);
	o.bind_dn = "";
	o.bind_password = STR_NONE;
	o.n_links = conf->connections;
	o.n_parallel = 1;
	if (s->searches)
		s->binds = ldap_client_new(&o, loop, err);
	if (s->binds)
		return s;
	source_free(s);
	return NULL;
}

const struct auth_kind auth_ldap = {
	.name = "ldap",
	.has_timeout = true,
	.new = source_new,
	.check = source_check,
	.cancel = source_cancel,
	.free = source_free,
	.test = source_test,
};
