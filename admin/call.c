/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/verbs.h"
#include "proxy/base/buf.h"
#include "proxy/base/mem.h"

bool call_is_full(const struct call *c)
{
	return c->out->len >= CALL_ROOM;
}

/* --- turns ----------------------------------------------------------------- */

/* The front is told in a turn of its own: whoever calls us, a verb or the
 * front itself, need not fear that the call is gone when it returns. */
static void wake(struct call *c)
{
	if (ev_is_active(&c->turn))
		return;
	ev_timer_set(&c->turn, 0., 0.);
	ev_timer_start(c->loop, &c->turn);
}

static void on_turn(struct ev_loop *loop, ev_timer *t, int events)
{
	struct call *c = t->data;

	(void)loop;
	(void)events;
	if (c->step && !c->is_over && !call_is_full(c)) {
		c->step(c);
		render_flush(&c->render);
		if (!c->is_over && !call_is_full(c))
			wake(c);
	}
	c->on_news(c->owner);
}

void call_has_room(struct call *c)
{
	if (c->step && !c->is_over && !call_is_full(c))
		wake(c);
}

/* --- life -------------------------------------------------------------------- */

struct call *call_new(struct control *control, struct ev_loop *loop,
    const char *who, struct buf *out, call_news_fn *on_news, void *owner)
{
	struct call *c = mem_alloc(sizeof *c);

	c->control = control;
	c->loop = loop;
	c->out = out;
	snprintf(c->who, sizeof c->who, "%s", who);
	c->on_news = on_news;
	c->owner = owner;
	ev_timer_init(&c->turn, on_turn, 0., 0.);
	c->turn.data = c;
	render_init(&c->render, false, out);
	return c;
}

static void end(struct call *c)
{
	call_end_fn *on_end = c->on_end;

	must(!c->is_over);
	c->is_over = true;
	c->on_end = NULL;
	if (on_end)
		on_end(c->state);
	c->state = NULL;
}

void call_free(struct call **cp)
{
	struct call *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	if (!c->is_over)
		end(c);
	ev_timer_stop(c->loop, &c->turn);
	render_fini(&c->render);
	free(c);
}

void call_begin(struct call *c, struct str line)
{
	struct request *r = &c->request;
	struct err err;

	bool is_good = request_parse(r, line, &err);
	c->render.wants_json = r->wants_json;
	if (!is_good) {
		call_misuse(c, "%s", err.text);
		return;
	}
	c->verb = verb_find(r->verb);
	if (!c->verb) {
		struct str nearest = verb_nearest(r->verb);
		int n = (int)(r->verb.n > 80 ? 80 : r->verb.n);
		if (nearest.n)
			call_misuse(c, "unknown verb \"%.*s\"; did you mean "
			    "\"%.*s\"?", n, r->verb.p, STR_ARG(nearest));
		else
			call_misuse(c, "unknown verb \"%.*s\"; help lists all",
			    n, r->verb.n ? r->verb.p : "");
		return;
	}
	if (!request_match(r, c->verb->takes, &err)) {
		call_misuse(c, "%s", err.text);
		return;
	}
	c->verb->run(c);
}

/* --- for verbs ------------------------------------------------------------------ */

void call_object(struct call *c, json_t *object)
{
	render_object(&c->render, object);
	wake(c);
}

void call_list(struct call *c, const char *columns)
{
	render_list(&c->render, columns);
}

void call_row(struct call *c, json_t *object)
{
	render_row(&c->render, object);
}

void call_event(struct call *c, json_t *object)
{
	render_event(&c->render, object);
	wake(c);
}

void call_done(struct call *c)
{
	render_end(&c->render);
	end(c);
	wake(c);
}

static void refuse(struct call *c, enum call_outcome outcome,
    const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

static void refuse(struct call *c, enum call_outcome outcome,
    const char *fmt, va_list ap)
{
	struct err err;

	vsnprintf(err.text, sizeof err.text, fmt, ap);
	c->err = err;
	c->outcome = outcome;
	if (c->render.wants_json)
		render_object(&c->render, json_pack("{s:o}", "error",
		    render_string(str_from(c->err.text))));
	end(c);
	wake(c);
}

void call_fail(struct call *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	refuse(c, CALL_REFUSED, fmt, ap);
	va_end(ap);
}

void call_misuse(struct call *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	refuse(c, CALL_MISUSED, fmt, ap);
	va_end(ap);
}

void call_wait(struct call *c, void *state, call_end_fn *on_end)
{
	must(!c->state);
	c->state = state;
	c->on_end = on_end;
}

void call_walk(struct call *c, call_step_fn *step, void *state,
    call_end_fn *on_end)
{
	call_wait(c, state, on_end);
	c->step = step;
	wake(c);
}
