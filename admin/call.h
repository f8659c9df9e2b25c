/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_CALL_H
#define ADMIN_CALL_H
/*
 * call - a request on its way to its answer
 *
 *	console or HTTP             call                a verb's function
 *	call_begin(line)      ->   request   ->         verb_kick(c)
 *	out, on_news()        <-   render    <-         call_row(), call_done()
 *
 * A verb does not know who asked. It answers by one object, a list or events
 * (render.h), and ends by call_done(), call_fail() or call_misuse(), at once
 * or later:
 *
 *	call_wait()    somebody will end it; a client that goes away before
 *	               that is told to on_end
 *	call_walk()    step() is called while there is room in out, once a turn
 *	               of the loop; it does a bounded piece of work and ends
 *	               the call when there is no more to do
 *
 * Errors   a request that is no good is answered by the call itself.
 * Owns     state is the verb's; on_end, which is called once, when the call
 *          has ended in whatever way, frees it. out belongs to the front.
 * Thread   control's. on_news() comes from the loop, never from call_begin()
 *          or a verb's own calls; only there, or outside the call's own
 *          callbacks, the front may free it.
 */
#include <ev.h>
#include <jansson.h>
#include <stdbool.h>

#include "admin/render.h"
#include "admin/request.h"
#include "proxy/base/err.h"

struct buf;
struct call;
struct control;
struct verb;

#define CALL_ROOM (64u << 10)	/* bytes in out, above which a walk waits */

enum call_outcome {
	CALL_GOOD,
	CALL_REFUSED,			/* the proxy cannot or must not */
	CALL_MISUSED,			/* nobody could: the request is no good */
};

typedef void call_news_fn(void *owner);
typedef void call_step_fn(struct call *c);
typedef void call_end_fn(void *state);

struct call {
	struct control *control;
	struct ev_loop *loop;
	const struct verb *verb;	/* NULL: there is none of that name */
	struct request request;
	struct render render;
	struct buf *out;
	char who[32];			/* asks: "uid 0" */
	call_news_fn *on_news;
	void *owner;
	ev_timer turn;
	call_step_fn *step;
	call_end_fn *on_end;
	void *state;
	bool is_over;
	enum call_outcome outcome;	/* once it is over */
	struct err err;			/* of one that is not GOOD */
};

/* --- for fronts ------------------------------------------------------------ */

/* on_news: there is more in out, or the call is over. */
struct call *call_new(struct control *control, struct ev_loop *loop,
    const char *who, struct buf *out, call_news_fn *on_news, void *owner);

/* Ends it, if need be. NULL is legal. */
void call_free(struct call **c);

/* A line of the console. */
void call_begin(struct call *c, struct str line);

/* out has been emptied, in part or wholly. */
void call_has_room(struct call *c);

/* --- for verbs --------------------------------------------------------------- */

static inline bool call_has(const struct call *c, const char *name)
{
	return request_has(&c->request, name);
}

static inline struct str call_value(const struct call *c, const char *name)
{
	return request_value(&c->request, name);
}

/* The data's reference is taken over. */
void call_object(struct call *c, json_t *object);
void call_list(struct call *c, const char *columns);
void call_row(struct call *c, json_t *object);
void call_event(struct call *c, json_t *object);

void call_done(struct call *c);

/* Nobody reads fast enough: one who has events may leave some out. */
bool call_is_full(const struct call *c);

/* REFUSED, and MISUSED. */
void call_fail(struct call *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void call_misuse(struct call *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* state and on_end may be NULL. */
void call_wait(struct call *c, void *state, call_end_fn *on_end);
void call_walk(struct call *c, call_step_fn *step, void *state,
    call_end_fn *on_end);
#endif
