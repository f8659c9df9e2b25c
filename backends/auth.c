/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/auth.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/conf.h"
#include "proxy/base/clock.h"
#include "proxy/base/deadline.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include <utlist.h>

#define COMPLAIN_S 10.		/* between lines on the same trouble */

/* A driver with its settings. An old one stays until its last check ends. */
struct source {
	struct source *prev, *next;
	struct auth *auth;
	struct settings *settings;	/* conf's */
	const struct conf_auth *conf;
	const struct auth_kind *kind;
	void *driver;			/* the kind's own */
	struct deadline_class late;
	struct auth_check *checks;
	size_t n_users;			/* checks, and calls inside */
};

struct auth {
	struct ev_loop *loop;
	ev_timer sweep;
	struct source *source;		/* NULL: nobody is asked */
	struct source *retired;
	struct auth_counts counts;
	bool is_down;			/* the last check failed, and it was told */
	double down_since, complain_at;
	uint64_t n_silent;
};

struct auth_check {
	struct auth_check *prev, *next;
	struct auth_request request;
	struct source *source;
	struct deadline late;
	double began;
	auth_done_fn *done;
	void *owner;
	bool is_starting;		/* auth_ask() has not returned */
	bool is_done;
	size_t n_text;
	char text[];			/* what the request shows */
};

#define CHECK_OF(member_pointer, member) \
	((struct auth_check *)(void *)((char *)(member_pointer) - \
	    offsetof(struct auth_check, member)))

/* --- a source's life -------------------------------------------------------- */

static void source_free(struct source *s)
{
	if (s->driver)
		s->kind->free(s->driver);
	deadline_class_fini(&s->late);
	settings_unref(&s->settings);
	free(s);
}

static void sweep(struct auth *a)
{
	struct source *s, *next;

	DL_FOREACH_SAFE(a->retired, s, next) {
		if (s->n_users > 0)
			continue;
		DL_DELETE(a->retired, s);
		source_free(s);
	}
}

static void on_sweep(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	sweep(timer->data);
}

/* Freed in a turn of its own: the driver may be calling. */
static void source_leave(struct source *s)
{
	struct auth *a = s->auth;

	must(s->n_users > 0);
	if (--s->n_users > 0 || s == a->source)
		return;
	ev_timer_stop(a->loop, &a->sweep);
	ev_timer_set(&a->sweep, 0., 0.);
	ev_timer_start(a->loop, &a->sweep);
}

static void source_retire(struct auth *a)
{
	struct source *s = a->source;

	if (!s)
		return;
	a->source = NULL;
	DL_APPEND(a->retired, s);
	s->n_users++;
	source_leave(s);
}

/* --- checks ------------------------------------------------------------------- */

static void note_failed(struct auth *a, const struct source *s,
    const char *why)
{
	struct log_line line;
	double now = clock_now();

	if (!a->is_down)
		a->down_since = now;
	a->is_down = true;
	if (now < a->complain_at) {
		a->n_silent++;
		return;
	}
	a->complain_at = now + COMPLAIN_S;
	if (!log_begin(&line, LOG_LINE_ERROR, "auth_down"))
		return;
	log_text(&line, "driver", s->kind->name);
	log_text(&line, "why", why);
	if (a->n_silent)
		log_u64(&line, "more", a->n_silent);
	a->n_silent = 0;
	log_end(&line);
}

static void note_answered(struct auth *a, const struct source *s)
{
	struct log_line line;

	if (!a->is_down)
		return;
	a->is_down = false;
	a->complain_at = 0;
	a->n_silent = 0;
	if (!log_begin(&line, LOG_LINE_INFO, "auth_up"))
		return;
	log_text(&line, "driver", s->kind->name);
	log_seconds(&line, "after", clock_now() - a->down_since);
	log_end(&line);
}

static void check_free(struct auth_check *c)
{
	struct source *s = c->source;

	mem_wipe(c->text, c->n_text);
	free(c);
	source_leave(s);
}

static void check_end(struct auth_check *c, const struct auth_answer *answer)
{
	struct source *s = c->source;
	struct auth *a = s->auth;

	deadline_stop(&c->late);
	DL_DELETE(s->checks, c);
	a->counts.n_open--;
	latency_add(&a->counts.latency, clock_now() - c->began);
	switch (answer->verdict) {
	case AUTH_OK:
		a->counts.ok++;
		note_answered(a, s);
		break;
	case AUTH_DENIED:
		a->counts.denied++;
		note_answered(a, s);
		break;
	case AUTH_FAILED:
		a->counts.failed++;
		note_failed(a, s, answer->why);
		break;
	}
	c->is_done = true;
	c->done(c->owner, answer);
	if (!c->is_starting)
		check_free(c);
}

void auth_finish(struct auth_request *r, const struct auth_answer *answer)
{
	check_end(CHECK_OF(r, request), answer);
}

static void on_late(struct deadline *d, void *owner)
{
	struct auth_check *c = CHECK_OF(d, late);
	struct source *s = owner;
	char why[64];

	s->kind->cancel(s->driver, &c->request);
	snprintf(why, sizeof why, "no answer within %u ms",
	    (unsigned)s->conf->timeout_ms);
	check_end(c, &(struct auth_answer){ .verdict = AUTH_FAILED,
	    .why = why });
}

static void move(char **to, struct str *s)
{
	if (s->n)
		memcpy(*to, s->p, s->n);
	s->p = *to;
	*to += s->n;
}

static struct auth_check *check_new(const struct auth_login *l)
{
	size_t n = l->user.n + l->canonical.n + l->password.n +
	    l->listener.n + l->sni.n + l->tls_version.n + l->tls_cipher.n +
	    l->certificate.n;
	struct auth_check *c = mem_alloc(sizeof *c + n);
	struct auth_login *mine = &c->request.login;
	char *to = c->text;

	c->n_text = n;
	*mine = *l;
	move(&to, &mine->user);
	move(&to, &mine->canonical);
	move(&to, &mine->password);
	move(&to, &mine->listener);
	move(&to, &mine->sni);
	move(&to, &mine->tls_version);
	move(&to, &mine->tls_cipher);
	move(&to, &mine->certificate);
	return c;
}

struct auth_check *auth_ask(struct auth *a, const struct auth_login *login,
    auth_done_fn *done, void *owner)
{
	struct source *s = a->source;
	struct auth_check *c = check_new(login);

	must(s);
	c->source = s;
	c->done = done;
	c->owner = owner;
	c->is_starting = true;
	c->began = clock_now();
	s->n_users++;
	a->counts.checks++;
	a->counts.n_open++;
	DL_APPEND(s->checks, c);
	if (s->kind->has_timeout)
		deadline_start(&s->late, &c->late);
	s->kind->check(s->driver, &c->request);
	c->is_starting = false;
	if (!c->is_done)
		return c;
	check_free(c);
	return NULL;
}

void auth_cancel(struct auth_check **cp)
{
	struct auth_check *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	struct source *s = c->source;
	s->kind->cancel(s->driver, &c->request);
	deadline_stop(&c->late);
	DL_DELETE(s->checks, c);
	s->auth->counts.n_open--;
	check_free(c);
}

bool auth_is_asked(const struct auth *a)
{
	return a->source != NULL;
}

struct auth_counts auth_counts(const struct auth *a)
{
	return a->counts;
}

/* --- configuration ------------------------------------------------------------- */

static struct source *source_new(struct auth *a, struct settings *settings,
    struct err *err)
{
	const struct conf_auth *conf = conf_auth(settings);
	const struct auth_kind *kind = auth_kind(conf->driver, err);

	if (!kind) {
		err_prefix(err, "%s: auth.driver", conf->where);
		return NULL;
	}
	struct source *s = mem_alloc(sizeof *s);
	s->auth = a;
	s->settings = settings_ref(settings);
	s->conf = conf;
	s->kind = kind;
	deadline_class_init(&s->late, a->loop,
	    (double)conf->timeout_ms / 1000, on_late, s);
	s->driver = kind->new(settings, conf, a->loop, err);
	if (s->driver)
		return s;
	err_prefix(err, "%s: auth", conf->where);
	source_free(s);
	return NULL;
}

bool auth_configure(struct auth *a, struct settings *settings,
    struct err *err)
{
	const struct conf_auth *conf = conf_auth(settings);
	struct source *fresh = NULL;

	if (a->source && settings_same(a->source->conf, conf))
		return true;
	if (conf->driver != CONF_AUTH_NONE) {
		fresh = source_new(a, settings, err);
		if (!fresh)
			return false;
	}
	source_retire(a);
	a->source = fresh;
	return true;
}

bool auth_test(const struct settings *settings, struct err *err)
{
	const struct conf_auth *conf = conf_auth(settings);

	if (conf->driver == CONF_AUTH_NONE)
		return true;
	const struct auth_kind *kind = auth_kind(conf->driver, err);
	if (kind && (!kind->test || kind->test(settings, conf, err)))
		return true;
	return err_prefix(err, "%s: auth", conf->where);
}

struct auth *auth_new(struct ev_loop *loop)
{
	struct auth *a = mem_alloc(sizeof *a);

	a->loop = loop;
	ev_timer_init(&a->sweep, on_sweep, 0., 0.);
	a->sweep.data = a;
	return a;
}

void auth_free(struct auth **ap)
{
	struct auth *a = *ap;

	if (!a)
		return;
	*ap = NULL;
	source_retire(a);
	sweep(a);
	ev_timer_stop(a->loop, &a->sweep);
	must(!a->retired);	/* or a check was neither done nor cancelled */
	free(a);
}
