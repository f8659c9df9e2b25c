/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * Tables of type redis: one connection, kept open, on which commands follow
 * each other without waiting for answers.
 *
 *	OPENING  ->  UP  ->  AWAY  ->  OPENING ...
 *
 * A connection is UP when the server has answered a PING on it: one that is
 * stopped accepts connections, too. What is asked before the first attempt
 * has come to an end waits for it; what is asked after one that came to
 * nothing fails at once, until the next one does better. So only those wait
 * for a server that went away who asked it just then.
 *
 * hiredis takes memory for whatever a reply announces, and ends the program
 * when one comes unasked; the functions below that make replies, and a bound
 * on what is read, keep the server from doing either to us.
 */
#include <ev.h>
#include <fcntl.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <utlist.h>

#include "backends/conf.h"
#include "backends/resolve.h"
#include "backends/table.h"
#include "proxy/base/buf.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define RETRY_MIN_S 0.1
#define RETRY_MAX_S 5.
#define RESOLVING_S 0.02	/* its name is being resolved */
#define GOOD_S 1.		/* a connection that held so long is missed */
#define INPUT_MAX ((size_t)1 << 20)	/* of a reply that is not complete */

#if HIREDIS_MAJOR >= 1
typedef size_t n_elements;
#else
typedef int n_elements;
#endif

enum stage { AWAY, OPENING, UP };

struct redis {
	const struct conf_table *conf;
	struct ev_loop *loop;
	const char *where;		/* for errors */
	struct resolve_name *name;	/* NULL: the server needs none */
	struct addr addr;		/* that of the last attempt */
	size_t turn;			/* of its addresses: the next after a
					 * failure */
	enum stage stage;
	bool is_failing;		/* the last attempt came to nothing */
	struct err why;
	redisAsyncContext *context;	/* not while AWAY */
	redisReplyObjectFunctions makers, hiredis_makers;
	const char *refused;		/* why a reply was */
	ev_io reading, writing;
	ev_timer retry, silence;
	double delay_s, up_since, heard;
	struct op *waiting;		/* for the first attempt */
};

/* A command; hiredis calls back once for each. */
struct op {
	struct op *prev, *next;		/* in waiting */
	struct redis *redis;
	struct table_request *request;	/* NULL: cancelled */
	double sent;			/* 0: it waits */
};

static void op_end(struct op *op, enum table_verdict verdict,
    struct str value, const char *why)
{
	struct table_request *request = op->request;

	free(op);
	if (request)
		table_finish(request, verdict, value, why);
}

static void fail_waiting(struct redis *r)
{
	for (struct op *op; (op = r->waiting);) {
		DL_DELETE(r->waiting, op);
		op_end(op, TABLE_FAILED, STR_NONE, r->why.text);
	}
}

/* --- losing a connection ------------------------------------------------------- */

/* From half the time to all of it, so that not all proxies come at once. */
static double jitter(double seconds)
{
	unsigned char byte;

	if (getrandom(&byte, 1, GRND_NONBLOCK) != 1)
		return seconds;
	return seconds * (0.5 + byte / 510.);
}

static void retry_in(struct redis *r, double seconds)
{
	ev_timer_stop(r->loop, &r->retry);
	ev_timer_set(&r->retry, seconds, 0.);
	ev_timer_start(r->loop, &r->retry);
}

/* The context is gone, or on its way. A good one is opened again at once, and
 * what is asked meanwhile waits. */
static void stay_away(struct redis *r)
{
	bool was_good = r->stage == UP && clock_now() - r->up_since > GOOD_S;

	r->stage = AWAY;
	r->context = NULL;
	r->is_failing = !was_good;
	ev_timer_stop(r->loop, &r->silence);
	if (was_good) {
		r->delay_s = 0;
		retry_in(r, 0);
		return;
	}
	r->delay_s = r->delay_s == 0 ? RETRY_MIN_S : r->delay_s * 2;
	if (r->delay_s > RETRY_MAX_S)
		r->delay_s = RETRY_MAX_S;
	retry_in(r, jitter(r->delay_s));
	r->turn++;
	fail_waiting(r);
}

static void set_why(struct redis *r, const char *why)
{
	err_set(&r->why, "%s: %s", r->where, why);
}

/* hiredis ends what was asked with a NULL for a reply. */
static void lose(struct redis *r, const char *why)
{
	redisAsyncContext *context = r->context;

	set_why(r, why);
	stay_away(r);
	if (context)
		redisAsyncFree(context);
}

/* hiredis itself lost it. */
static void set_why_of(struct redis *r, const redisAsyncContext *context)
{
	if (r->context != context)
		return;
	if (r->refused)
		set_why(r, r->refused);
	else
		set_why(r, context->c.errstr[0] ? context->c.errstr :
		    "the connection was closed");
}

static void on_connect(const redisAsyncContext *context, int status)
{
	struct redis *r = context->data;

	if (status == REDIS_OK || r->context != context)
		return;
	set_why_of(r, context);
	stay_away(r);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
	struct redis *r = context->data;

	(void)status;
	if (r->context != context)
		return;
	set_why_of(r, context);
	stay_away(r);
}

static void on_silence(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct redis *r = timer->data;
	char why[64];

	(void)loop;
	(void)revents;
	snprintf(why, sizeof why, "no answer within %u ms",
	    (unsigned)r->conf->timeout_ms);
	lose(r, why);
}

/* --- replies --------------------------------------------------------------------- */

static struct redis *maker_begin(const redisReadTask *task)
{
	struct redis *r = task->privdata;

	if (!r->refused && (!r->context || !r->context->replies.head))
		r->refused = "an answer that nobody has asked for";
	return r;
}

static void *make_string(const redisReadTask *task, char *text, size_t n)
{
	struct redis *r = maker_begin(task);

	return r->refused ? NULL :
	    r->hiredis_makers.createString(task, text, n);
}

static void *make_nil(const redisReadTask *task)
{
	struct redis *r = maker_begin(task);

	return r->refused ? NULL : r->hiredis_makers.createNil(task);
}

static void *refuse(const redisReadTask *task)
{
	struct redis *r = task->privdata;

	r->refused = "an answer that is no string";
	return NULL;
}

static void *make_array(const redisReadTask *task, n_elements n)
{
	(void)n;
	return refuse(task);
}

static void *make_integer(const redisReadTask *task, long long value)
{
	(void)value;
	return refuse(task);
}

static void on_reply(redisAsyncContext *context, void *any, void *arg)
{
	const redisReply *reply = any;
	struct op *op = arg;
	struct redis *r = op->redis;

	if (!reply) {
		set_why_of(r, context);
		op_end(op, TABLE_FAILED, STR_NONE, r->why.text);
		return;
	}
	r->heard = clock_now();
	switch (reply->type) {
	case REDIS_REPLY_NIL:
		op_end(op, TABLE_MISSING, STR_NONE, NULL);
		return;
	case REDIS_REPLY_STRING:
		op_end(op, TABLE_FOUND, (struct str){ reply->str,
		    (size_t)reply->len }, NULL);
		return;
	default:
		op_end(op, TABLE_FAILED, STR_NONE,
		    reply->type == REDIS_REPLY_ERROR ? reply->str :
		    "an answer that is no value");
		return;
	}
}

/* To AUTH and SELECT. */
static void on_prepared(redisAsyncContext *context, void *any, void *arg)
{
	const redisReply *reply = any;
	struct redis *r = arg;

	if (reply && reply->type == REDIS_REPLY_ERROR && r->context == context)
		lose(r, reply->str);
}

/* To PING: also an error shows that somebody is there. */
static void on_pong(redisAsyncContext *context, void *reply, void *arg)
{
	struct redis *r = arg;

	if (!reply || r->context != context)
		return;
	r->stage = UP;
	r->is_failing = false;
	r->up_since = r->heard = clock_now();
	ev_timer_stop(r->loop, &r->silence);
}

/* --- commands -------------------------------------------------------------------- */

/* conf.c has seen to it that no other % is there. */
static void expand(struct buf *out, const char *template, struct str key)
{
	for (const char *p = template; *p; p++)
		if (*p != '%')
			buf_append(out, p, 1);
		else if (*++p == 's')
			buf_str(out, key);
		else
			buf_append(out, p, 1);
}

static bool command(struct redis *r, redisCallbackFn *fn, void *arg,
    const struct str *words, int n)
{
	const char *argv[3];
	size_t lengths[3];

	for (int i = 0; i < n; i++) {
		argv[i] = words[i].n ? words[i].p : "";
		lengths[i] = words[i].n;
	}
	return redisAsyncCommandArgv(r->context, fn, arg, n, argv, lengths) ==
	    REDIS_OK;
}

/* As bytes with their lengths: no key can say more than a key. */
static void send_op(struct redis *r, struct op *op)
{
	struct buf key, field;
	bool has_field = r->conf->field[0] != 0;

	buf_init(&key, UINT32_MAX);
	buf_init(&field, UINT32_MAX);
	expand(&key, r->conf->key, op->request->key);
	expand(&field, r->conf->field, op->request->key);
	struct str words[] = { has_field ? STR("HGET") : STR("GET"),
		buf_view(&key), buf_view(&field) };
	op->sent = clock_now();
	bool is_sent = command(r, on_reply, op, words, has_field ? 3 : 2);
	buf_fini(&key);
	buf_fini(&field);
	if (!is_sent)		/* it is just being lost */
		op_end(op, TABLE_FAILED, STR_NONE, r->why.text);
}

/*
 *	password-file = [user ":"] password
 */
static void send_auth(struct redis *r)
{
	struct str secret = r->conf->password_file.data, password;
	struct str user = str_split(secret, ':', &password);

	if (user.n == secret.n) {
		struct str words[] = { STR("AUTH"), secret };
		command(r, on_prepared, r, words, 2);
	} else {
		struct str words[] = { STR("AUTH"), user, password };
		command(r, on_prepared, r, words, 3);
	}
}

static void send_first(struct redis *r)
{
	char number[16];

	if (r->conf->password_file.data.n)
		send_auth(r);
	if (r->conf->database) {
		snprintf(number, sizeof number, "%u", r->conf->database);
		struct str words[] = { STR("SELECT"), str_from(number) };
		command(r, on_prepared, r, words, 2);
	}
	command(r, on_pong, r, (struct str[]){ STR("PING") }, 1);
}

/* --- opening a connection -------------------------------------------------------- */

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	struct redis *r = io->data;
	redisAsyncContext *context = r->context;

	(void)loop;
	(void)revents;
	redisAsyncHandleRead(context);
	if (r->context == context &&
	    context->c.reader->len - context->c.reader->pos > INPUT_MAX)
		lose(r, "an answer without an end");
}

static void on_writable(struct ev_loop *loop, ev_io *io, int revents)
{
	struct redis *r = io->data;

	(void)loop;
	(void)revents;
	redisAsyncHandleWrite(r->context);
}

static void add_read(void *arg)
{
	struct redis *r = arg;

	ev_io_start(r->loop, &r->reading);
}

static void del_read(void *arg)
{
	struct redis *r = arg;

	ev_io_stop(r->loop, &r->reading);
}

static void add_write(void *arg)
{
	struct redis *r = arg;

	ev_io_start(r->loop, &r->writing);
}

static void del_write(void *arg)
{
	struct redis *r = arg;

	ev_io_stop(r->loop, &r->writing);
}

static void cleanup(void *arg)
{
	del_read(arg);
	del_write(arg);
}

static void attach(struct redis *r, redisAsyncContext *context)
{
	redisReader *reader = context->c.reader;

	r->hiredis_makers = r->makers = *reader->fn;
	r->makers.createString = make_string;
	r->makers.createNil = make_nil;
	r->makers.createArray = make_array;
	r->makers.createInteger = make_integer;
	reader->fn = &r->makers;
	reader->privdata = r;
	fcntl(context->c.fd, F_SETFD, FD_CLOEXEC);
	if (!r->conf->path[0])
		redisEnableKeepAlive(&context->c);
	ev_io_set(&r->reading, context->c.fd, EV_READ);
	ev_io_set(&r->writing, context->c.fd, EV_WRITE);
	context->data = context->ev.data = r;
	context->ev.addRead = add_read;
	context->ev.delRead = del_read;
	context->ev.addWrite = add_write;
	context->ev.delWrite = del_write;
	context->ev.cleanup = cleanup;
	redisAsyncSetConnectCallback(context, on_connect);
	redisAsyncSetDisconnectCallback(context, on_disconnect);
}

static redisAsyncContext *connect_to(struct redis *r)
{
	char ip[ADDR_IP_MAX];

	if (r->conf->path[0])
		return redisAsyncConnectUnix(r->conf->path);
	return redisAsyncConnect(addr_ip(&r->addr, ip), r->conf->address.port);
}

static void open_connection(struct redis *r)
{
	redisAsyncContext *context = connect_to(r);

	if (!context || context->err) {
		set_why(r, context ? context->c.errstr : "out of memory");
		stay_away(r);
		if (context)
			redisAsyncFree(context);
		return;
	}
	r->stage = OPENING;
	r->context = context;
	r->refused = NULL;
	attach(r, context);
	ev_timer_set(&r->silence, (double)r->conf->timeout_ms / 1000, 0.);
	ev_timer_start(r->loop, &r->silence);
	send_first(r);
	for (struct op *op; (op = r->waiting);) {
		DL_DELETE(r->waiting, op);
		send_op(r, op);
	}
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct redis *r = timer->data;

	(void)loop;
	(void)revents;
	if (!r->name) {
		open_connection(r);
		return;
	}
	switch (resolve_state(r->name)) {
	case RESOLVE_PENDING:
		retry_in(r, RESOLVING_S);
		break;
	case RESOLVE_KNOWN:
		r->addr = resolve_addr(r->name,
		    r->turn % resolve_n_addrs(r->name),
		    r->conf->address.port);
		open_connection(r);
		break;
	case RESOLVE_FAILED:
		set_why(r, "the name has no address");
		stay_away(r);
		break;
	}
}

/* --- the kind ---------------------------------------------------------------------- */

static void redis_free(void *kind)
{
	struct redis *r = kind;
	redisAsyncContext *context = r->context;

	must(!r->waiting);
	r->context = NULL;
	if (context)
		redisAsyncFree(context);
	ev_timer_stop(r->loop, &r->retry);
	ev_timer_stop(r->loop, &r->silence);
	resolve_unwatch(&r->name);
	free(r);
}

static void *redis_new(const struct conf_table *conf, bool fold,
    struct ev_loop *loop, struct resolve *resolve, struct err *err)
{
	const char *host = conf->address.host;
	struct redis *r = mem_alloc(sizeof *r);

	(void)fold;
	(void)err;
	r->conf = conf;
	r->loop = loop;
	r->where = conf->path[0] ? conf->path : conf->address.text;
	ev_init(&r->reading, on_readable);
	ev_init(&r->writing, on_writable);
	ev_init(&r->retry, on_retry);
	ev_init(&r->silence, on_silence);
	r->reading.data = r->writing.data = r;
	r->retry.data = r->silence.data = r;
	if (!conf->path[0] && !addr_parse_ip(&r->addr, str_from(host)))
		r->name = resolve_watch(resolve, host);
	retry_in(r, 0);
	return r;
}

static void redis_lookup(void *kind, struct table_request *request)
{
	struct redis *r = kind;

	if (r->is_failing) {
		table_finish(request, TABLE_FAILED, STR_NONE, r->why.text);
		return;
	}
	struct op *op = mem_alloc(sizeof *op);
	op->redis = r;
	op->request = request;
	request->state = op;
	if (r->context)
		send_op(r, op);
	else
		DL_APPEND(r->waiting, op);
}

/* Who is asked and says nothing at all to anybody is lost; in a turn of its
 * own, for others' requests end with the connection. */
static void redis_cancel(void *kind, struct table_request *request)
{
	struct redis *r = kind;
	struct op *op = request->state;

	op->request = NULL;
	if (op->sent == 0) {
		DL_DELETE(r->waiting, op);
		free(op);
	} else if (r->context && op->sent > r->heard) {
		ev_timer_stop(r->loop, &r->silence);
		ev_timer_set(&r->silence, 0., 0.);
		ev_timer_start(r->loop, &r->silence);
	}
}

const struct table_kind table_redis = {
	.name = "redis",
	.new = redis_new,
	.lookup = redis_lookup,
	.cancel = redis_cancel,
	.free = redis_free,
};
