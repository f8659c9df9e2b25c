/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/order.h"

#include <stdlib.h>
#include <utlist.h>

#include "admin/call.h"
#include "proxy/base/mem.h"
#include "proxy/ipc.h"

struct waiting {
	struct orders *orders;
	struct call *call;
	struct waiting *prev, *next;
};

struct orders {
	struct ev_loop *loop;
	struct link *const *parent;
	struct waiting *waiting;	/* the first was sent as number */
	uint64_t number;
	bool is_sent;
	ev_timer late;
};

static void send_first(struct orders *o)
{
	if (!o->waiting || o->is_sent)
		return;
	if (!*o->parent) {
		call_fail(o->waiting->call, "the proxy's parent is gone");
		return;		/* on_end() goes on with the next */
	}
	o->is_sent = true;
	link_send_reload(*o->parent, &(struct msg_reload){
		.number = ++o->number });
	ev_timer_set(&o->late, ORDER_LIMIT_S, 0.);
	ev_timer_start(o->loop, &o->late);
}

static void on_end(void *state)
{
	struct waiting *w = state;
	struct orders *o = w->orders;

	if (w == o->waiting) {
		o->is_sent = false;	/* an answer would have an old number */
		ev_timer_stop(o->loop, &o->late);
	}
	DL_DELETE(o->waiting, w);
	free(w);
	send_first(o);
}

void order_reload(struct orders *o, struct call *c)
{
	struct waiting *w = mem_alloc(sizeof *w);

	w->orders = o;
	w->call = c;
	DL_APPEND(o->waiting, w);
	call_wait(c, w, on_end);
	send_first(o);
}

void orders_reloaded(struct orders *o, const struct msg_reloaded *m)
{
	struct call *c = o->waiting ? o->waiting->call : NULL;

	if (!c || !o->is_sent || m->number != o->number)
		return;		/* who has asked is gone, or was told */
	if (m->text.n) {
		call_fail(c, "%.*s", STR_ARG(m->text));
		return;
	}
	call_object(c, json_pack("{s:I}", "generation",
	    (json_int_t)m->generation));
	call_done(c);
}

static void on_late(struct ev_loop *loop, ev_timer *t, int events)
{
	struct orders *o = t->data;

	(void)loop;
	(void)events;
	call_fail(o->waiting->call, "not all workers have taken the new "
	    "settings within %.0f s; the log says more", ORDER_LIMIT_S);
}

bool order_shutdown(struct orders *o, bool has_grace, uint64_t grace_ms)
{
	if (!*o->parent)
		return false;
	link_send_shutdown(*o->parent, &(struct msg_shutdown){
		.has_grace = has_grace, .grace_ms = grace_ms });
	return true;
}

struct orders *orders_new(struct ev_loop *loop, struct link *const *parent)
{
	struct orders *o = mem_alloc(sizeof *o);

	o->loop = loop;
	o->parent = parent;
	ev_timer_init(&o->late, on_late, 0., 0.);
	o->late.data = o;
	return o;
}

void orders_free(struct orders **op)
{
	struct orders *o = *op;

	if (!o)
		return;
	*op = NULL;
	must(!o->waiting);
	ev_timer_stop(o->loop, &o->late);
	free(o);
}
