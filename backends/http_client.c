/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * libcurl says which sockets to watch and when to wake it; what libev sees is
 * told to libcurl, and then the calls that are complete are taken out of it
 * and delivered. So no callback of ours runs inside libcurl, but for those
 * that store bytes.
 */
#include "backends/http_client.h"

#include <curl/curl.h>
#include <ev.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/buf.h"
#include "proxy/base/deadline.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"
#include <utlist.h>

#define LINES_MAX 64		/* of a request's head */

const char http_client_library[] = "libcurl " LIBCURL_VERSION;

/* A socket of libcurl's. */
struct watch {
	struct watch *prev, *next;
	ev_io io;
};

struct http_client {
	struct ev_loop *loop;
	CURLM *multi;
	ev_timer timer;
	struct watch *watches;
	struct http_call *active, *waiting;
	size_t n_active;
	struct http_options options;
	struct deadline_class late;
};

struct http_call {
	struct http_call *prev, *next;
	struct http_client *client;
	CURL *easy;			/* NULL: it waits in line */
	http_done_fn *done;
	void *owner;
	struct deadline late;
	struct buf head, body;		/* of the answer */
	char why[CURL_ERROR_SIZE];
	struct curl_slist lines[LINES_MAX];
	size_t n_text;
	char text[];			/* what lines and the URL are */
};

/* --- memory ------------------------------------------------------------------ */

/* libcurl frees copies of what it sent; those held passwords. */
static void wipe_free(void *p)
{
	if (p)
		mem_wipe(p, malloc_usable_size(p));
	free(p);
}

static void *wipe_realloc(void *p, size_t n)
{
	void *fresh = malloc(n ? n : 1);
	size_t was = p ? malloc_usable_size(p) : 0;

	if (!fresh)
		return NULL;
	if (p)
		memcpy(fresh, p, was < n ? was : n);
	wipe_free(p);
	return fresh;
}

/* Once for the life of the process. */
static void library_init(void)
{
	static bool is_ready;

	if (is_ready)
		return;
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_free,
	    wipe_realloc, strdup, calloc) != CURLE_OK)
		die("libcurl cannot be initialised");
	const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
	if (!(v->features & CURL_VERSION_ASYNCHDNS))
		die("libcurl blocks on names; one with a threaded resolver or "
		    "c-ares is needed");
	is_ready = true;
}

/* --- a call's end -------------------------------------------------------------- */

static void start_next(struct http_client *c);

static void call_detach(struct http_call *call)
{
	struct http_client *c = call->client;

	deadline_stop(&call->late);
	if (!call->easy) {
		DL_DELETE(c->waiting, call);
		return;
	}
	curl_multi_remove_handle(c->multi, call->easy);
	curl_easy_cleanup(call->easy);
	DL_DELETE(c->active, call);
	c->n_active--;
}

static void call_free(struct http_call *call)
{
	buf_fini(&call->head);
	buf_fini(&call->body);
	mem_wipe(call->text, call->n_text);
	free(call);
}

/* reply may show what the call owns. */
static void call_end(struct http_call *call, const struct http_reply *reply)
{
	struct http_client *c = call->client;

	call_detach(call);
	call->done(call->owner, reply);
	call_free(call);
	start_next(c);
}

static void call_fail(struct http_call *call, const char *why)
{
	call_end(call, &(struct http_reply){ .why = why });
}

static void call_complete(struct http_call *call, CURLcode code)
{
	struct http_reply reply = { .head = buf_view(&call->head),
		.body = buf_view(&call->body) };
	char why[64];
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (call->head.overflowed || call->body.overflowed) {
		snprintf(why, sizeof why, "the answer is longer than %zu "
		    "bytes", call->client->options.max_bytes);
		call_fail(call, why);
	} else if (code != CURLE_OK) {
		call_fail(call, call->why[0] ? call->why :
		    curl_easy_strerror(code));
	} else if (status <= 0) {
		call_fail(call, "the answer is not HTTP");
	} else {
		reply.status = (unsigned)status;
		call_end(call, &reply);
	}
}

static void on_late(struct deadline *d, void *owner)
{
	struct http_client *c = owner;
	struct http_call *call = (struct http_call *)(void *)((char *)d -
	    offsetof(struct http_call, late));
	char why[64];

	snprintf(why, sizeof why, "no answer within %llu ms",
	    (unsigned long long)c->options.timeout_ms);
	call_fail(call, why);
}

/* --- libcurl and libev ------------------------------------------------------- */

static void take_complete(struct http_client *c)
{
	CURLMsg *m;
	int n_left;

	while ((m = curl_multi_info_read(c->multi, &n_left))) {
		struct http_call *call = NULL;
		CURLcode code = m->data.result;
		must(m->msg == CURLMSG_DONE);
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
		call_complete(call, code);	/* m is gone */
	}
}

static void drive(struct http_client *c, curl_socket_t fd, int events)
{
	int n_running;

	curl_multi_socket_action(c->multi, fd, events, &n_running);
	take_complete(c);
}

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	drive(io->data, io->fd, (revents & EV_READ ? CURL_CSELECT_IN : 0) |
	    (revents & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	drive(t->data, CURL_SOCKET_TIMEOUT, 0);
}

/* The timer repeats until libcurl sets another: one that fires a moment too
 * early by libcurl's clock would be the last otherwise. */
static int set_timer(CURLM *multi, long timeout_ms, void *owner)
{
	struct http_client *c = owner;
	double after = (double)timeout_ms / 1000;

	(void)multi;
	ev_timer_stop(c->loop, &c->timer);
	if (timeout_ms < 0)
		return 0;
	ev_now_update(c->loop);
	ev_timer_set(&c->timer, after, after > 0.001 ? after : 0.001);
	ev_timer_start(c->loop, &c->timer);
	return 0;
}

static void watch_free(struct http_client *c, struct watch *w)
{
	ev_io_stop(c->loop, &w->io);
	DL_DELETE(c->watches, w);
	free(w);
}

static int set_watch(CURL *easy, curl_socket_t fd, int what, void *owner,
    void *its)
{
	struct http_client *c = owner;
	struct watch *w = its;
	int events = (what & CURL_POLL_IN ? EV_READ : 0) |
	    (what & CURL_POLL_OUT ? EV_WRITE : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			watch_free(c, w);
		return 0;
	}
	if (!w) {
		w = mem_alloc(sizeof *w);
		ev_init(&w->io, on_io);
		w->io.data = c;
		DL_APPEND(c->watches, w);
		curl_multi_assign(c->multi, fd, w);
	}
	ev_io_stop(c->loop, &w->io);
	ev_io_set(&w->io, fd, events);
	ev_io_start(c->loop, &w->io);
	return 0;
}

/* --- a call's way -------------------------------------------------------------- */

/* Fewer bytes than there are end the transfer. */
static size_t take_body(char *p, size_t size, size_t n, void *owner)
{
	struct http_call *call = owner;

	return buf_append(&call->body, p, size * n) ? n : 0;
}

/* Of several answers (100 Continue) the last is the one. */
static size_t take_head(char *p, size_t size, size_t n, void *owner)
{
	struct http_call *call = owner;
	struct str line = { p, size * n };

	if (str_starts(line, STR("HTTP/"))) {
		buf_clear(&call->head);
		return n;
	}
	return buf_str(&call->head, line) ? n : 0;
}

#define set(option, value) \
	must(curl_easy_setopt(easy, (option), (value)) == CURLE_OK)

static void set_options(CURL *easy, const struct http_options *o)
{
	struct curl_blob ca = { .data = (void *)(uintptr_t)o->ca.p,
		.len = o->ca.n, .flags = CURL_BLOB_NOCOPY };

	set(CURLOPT_NOSIGNAL, 1L);
	set(CURLOPT_PROTOCOLS_STR, "http,https");
	set(CURLOPT_FOLLOWLOCATION, 0L);
	set(CURLOPT_PROXY, "");
	set(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	set(CURLOPT_PATH_AS_IS, 1L);
	set(CURLOPT_TCP_KEEPALIVE, 1L);
	/* or a call that is cancelled waits for its name to be resolved */
	set(CURLOPT_QUICK_EXIT, 1L);
	set(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	set(CURLOPT_SSL_VERIFYPEER, 1L);
	set(CURLOPT_SSL_VERIFYHOST, 2L);
	if (ca.len) {
		set(CURLOPT_CAINFO, NULL);
		set(CURLOPT_CAPATH, NULL);
		set(CURLOPT_CAINFO_BLOB, &ca);
	}
	if (o->is_plain) {
		set(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_0);
		set(CURLOPT_FORBID_REUSE, 1L);
		set(CURLOPT_NOBODY, 1L);
		set(CURLOPT_CUSTOMREQUEST, "GET");
	} else {
		set(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	}
}

static void call_start(struct http_call *call)
{
	struct http_client *c = call->client;
	CURL *easy = curl_easy_init();

	if (!easy)
		die("out of memory");
	set_options(easy, &c->options);
	set(CURLOPT_URL, &call->text[0]);
	set(CURLOPT_HTTPHEADER, call->lines);
	set(CURLOPT_PRIVATE, call);
	set(CURLOPT_ERRORBUFFER, call->why);
	set(CURLOPT_WRITEFUNCTION, take_body);
	set(CURLOPT_WRITEDATA, call);
	set(CURLOPT_HEADERFUNCTION, take_head);
	set(CURLOPT_HEADERDATA, call);
	call->easy = easy;
	DL_DELETE(c->waiting, call);
	DL_APPEND(c->active, call);
	c->n_active++;
	must(curl_multi_add_handle(c->multi, easy) == CURLM_OK);
}

static void start_next(struct http_client *c)
{
	while (c->waiting && c->n_active < c->options.n_parallel)
		call_start(c->waiting);
}

static void add_line(struct http_call *call, size_t *n, char *line)
{
	must(*n < LINES_MAX);
	call->lines[*n].data = line;
	if (*n > 0)
		call->lines[*n - 1].next = &call->lines[*n];
	++*n;
}

/* libcurl leaves out a header whose value is empty, unless a semicolon stands
 * where the colon would; and adds an Accept that nobody asked for. */
static void split_head(struct http_call *call, char *head, char *end)
{
	static char no_accept[] = "Accept:";
	size_t n = 0;
	char *cr;

	while (head < end && (cr = memchr(head, '\r', (size_t)(end - head)))) {
		must(cr + 1 < end && cr[1] == '\n');
		*cr = 0;
		char *colon = strchr(head, ':');
		must(colon);
		if (colon[1 + strspn(colon + 1, " ")] == 0) {
			colon[0] = ';';
			colon[1] = 0;
		}
		add_line(call, &n, head);
		head = cr + 2;
	}
	must(head == end);
	add_line(call, &n, no_accept);
}

struct http_call *http_get(struct http_client *c, struct str url,
    struct str head, http_done_fn *done, void *owner)
{
	size_t n = url.n + 1 + head.n + 1;
	struct http_call *call = mem_alloc(sizeof *call + n);
	char *mine = call->text + url.n + 1;

	must(head.n && !memchr(head.p, 0, head.n) &&
	    !memchr(url.p, 0, url.n));
	call->client = c;
	call->n_text = n;
	call->done = done;
	call->owner = owner;
	buf_init(&call->head, c->options.max_bytes);
	buf_init(&call->body, c->options.max_bytes);
	memcpy(call->text, url.p, url.n);
	memcpy(mine, head.p, head.n);
	split_head(call, mine, mine + head.n);
	DL_APPEND(c->waiting, call);
	if (c->options.timeout_ms)
		deadline_start(&c->late, &call->late);
	start_next(c);
	return call;
}

void http_cancel(struct http_call **callp)
{
	struct http_call *call = *callp;

	if (!call)
		return;
	*callp = NULL;
	struct http_client *c = call->client;
	call_detach(call);
	call_free(call);
	start_next(c);
}

/* --- the client's life ------------------------------------------------------------ */

struct http_client *http_client_new(struct ev_loop *loop,
    const struct http_options *options)
{
	struct http_client *c = mem_alloc(sizeof *c);

	library_init();
	c->loop = loop;
	c->options = *options;
	ev_timer_init(&c->timer, on_timer, 0., 0.);
	c->timer.data = c;
	deadline_class_init(&c->late, loop,
	    (double)options->timeout_ms / 1000, on_late, c);
	c->multi = curl_multi_init();
	if (!c->multi)
		die("out of memory");
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, set_watch);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS,
	    (long)options->n_parallel);
	return c;
}

void http_client_free(struct http_client **cp)
{
	struct http_client *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	must(!c->active && !c->waiting);
	curl_multi_cleanup(c->multi);
	while (c->watches)
		watch_free(c, c->watches);
	ev_timer_stop(c->loop, &c->timer);
	deadline_class_fini(&c->late);
	free(c);
}
