/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/control.h"

#include <ev.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/conf.h"
#include "admin/console.h"
#include "admin/control_parts.h"
#include "admin/names.h"
#include "admin/order.h"
#include "admin/operator.h"
#include "backends/auth.h"
#include "backends/balance.h"
#include "backends/conf.h"
#include "backends/decide.h"
#include "backends/drain.h"
#include "backends/farm.h"
#include "backends/geo.h"
#include "backends/health.h"
#include "backends/keep.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "backends/resolve.h"
#include "backends/table.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/bundle.h"
#include "proxy/conf.h"
#include "proxy/imap/caps.h"
#include "proxy/ipc.h"

static void start_timer(struct control *c, ev_timer *t, double seconds)
{
	ev_timer_stop(c->loop, t);
	ev_timer_set(t, seconds, 0.);
	ev_timer_start(c->loop, t);
}

/* --- what workers are told ------------------------------------------------- */

static void send_key(struct link *to, const struct tickets_key *k)
{
	const char *bytes = (const char *)k->bytes;

	link_send_ticket_key(to, &(struct msg_ticket_key){
	    .name = { bytes, TICKETS_NAME_BYTES },
	    .key = { bytes + TICKETS_NAME_BYTES,
		sizeof k->bytes - TICKETS_NAME_BYTES },
	    .created_s = k->created_s });
}

static void send_capabilities(const struct control *c, struct link *to)
{
	link_send_capabilities(to, &(struct msg_capabilities){
	    .words = buf_view(&c->words),
	    .mechanisms = buf_view(&c->mechanisms) });
}

static void send_settings(const struct control *c, struct link *to)
{
	bundle_send(c->settings, c->generation, BUNDLE_FOR_WORKER, to);
}

/* Keys come before the settings with which the worker begins to accept, and
 * the newest key last: it seals. */
static void send_all(struct control *c, struct link *to)
{
	for (unsigned i = c->tickets.n; i > 0; i--)
		send_key(to, &c->tickets.keys[i - 1]);
	if (c->settings)
		send_settings(c, to);
	if (c->words.len)
		send_capabilities(c, to);
}

/* --- ticket keys ------------------------------------------------------------- */

static void turn_keys(struct control *c)
{
	uint64_t lifetime_s = conf_tickets(c->settings)->lifetime_ms / 1000;
	uint64_t now_s = (uint64_t)ev_now(c->loop);
	struct peer *p, *next;

	ev_timer_stop(c->loop, &c->turn_keys);
	if (tickets_turn(&c->tickets, lifetime_s, now_s))
		HASH_ITER(hh, c->peers, p, next)
			send_key(p->link, &c->tickets.keys[0]);
	uint64_t wait_s = tickets_next_s(&c->tickets, lifetime_s, now_s);
	if (wait_s)
		start_timer(c, &c->turn_keys, (double)wait_s);
}

static void on_turn_keys(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	turn_keys(t->data);
}

/* --- capabilities -------------------------------------------------------------- */

/* IMAP4rev1, which caps_before_login() writes first, is always shown. */
static void common_words(const struct buf *common, struct buf *words)
{
	struct buf all;

	buf_init(&all, CAPS_MAX);
	caps_before_login(&all, buf_view(common));
	struct str rest = buf_view(&all);
	(void)caps_next(&rest);
	caps_add(words, rest);
	buf_fini(&all);
}

/* Some backend was heard, or there are other backends now: tells the workers
 * if that makes a difference. */
static void update_capabilities(void *owner)
{
	struct control *c = owner;
	struct buf common, words, mechanisms;
	struct peer *p, *next;

	buf_init(&common, CAPS_MAX);
	buf_init(&words, CAPS_MAX);
	buf_init(&mechanisms, CAPS_MAX);
	farm_common(c->farm, &common);
	if (common.len) {
		common_words(&common, &words);
		caps_mechanisms(&mechanisms, buf_view(&common));
	}
	buf_fini(&common);
	bool is_same = words.len == 0 ||
	    (caps_equal(buf_view(&words), buf_view(&c->words)) &&
	     caps_equal(buf_view(&mechanisms), buf_view(&c->mechanisms)));
	if (is_same) {
		buf_fini(&words);
		buf_fini(&mechanisms);
		return;
	}
	buf_fini(&c->words);
	buf_fini(&c->mechanisms);
	c->words = words;
	c->mechanisms = mechanisms;
	HASH_ITER(hh, c->peers, p, next)
		send_capabilities(c, p->link);
}

static void take_backend_capabilities(struct control *c,
    const struct msg_backend_capabilities *m)
{
	struct backend *b = farm_find(c->farm, m->backend);

	if (b && backend_hear(b, m->words))
		update_capabilities(c);
}

/* --- the health of backends ---------------------------------------------------- */

void control_leave_backend(struct control *c, struct str backend)
{
	struct peer *p, *next;

	HASH_ITER(hh, c->peers, p, next)
		link_send_leave(p->link, &(struct msg_leave){
		    .backend = backend });
}

static void on_backend_changed(void *owner, struct backend *b)
{
	struct control *c = owner;

	if (backend_is_down(b))
		control_leave_backend(c, backend_name(b));
	decide_weigh(c->decide, b);
	decide_wake(c->decide, b);
}

/* The session's user is known as long as it has its lease. */
static void take_attempt(const struct peer *p, const struct msg_attempt *m)
{
	struct control *c = p->control;
	struct backend *b = farm_find(c->farm, m->backend);
	struct place_session s = { .user = STR_NONE };

	if (!b)
		return;	/* of a configuration before this */
	(void)place_find(c->place, p->id, m->session, &s);
	health_login(c->health, b, &(struct health_login){
	    .failure = m->failure.n ? login_failure_find(m->failure) :
		LOGIN_FAIL_NONE,
	    .is_greeted = m->is_greeted, .ms = m->ms,
	    .key = condition_key(p->id, m->session),
	    .user = balance_hash(s.user) | 1 });
}

/* --- serving ------------------------------------------------------------------- */

static bool are_all_synced(const struct control *c)
{
	struct peer *p, *next;

	HASH_ITER(hh, c->peers, p, next)
		if (!p->is_synced)
			return false;
	return c->peers && !c->awaited;
}

/* Questions are answered from now on, if nothing speaks against it. */
static void serve(struct control *c, bool is_late)
{
	struct log_line l;

	if (c->is_serving || !c->settings || !geo_is_ready(c->geo) ||
	    !(is_late || are_all_synced(c)))
		return;
	c->is_serving = true;
	ev_timer_stop(c->loop, &c->sync);
	if (log_begin(&l, LOG_LINE_INFO, "serving")) {
		log_u64(&l, "workers", HASH_COUNT(c->peers));
		log_u64(&l, "sessions", place_n(c->place));
		log_seconds(&l, "after", ev_now(c->loop) - c->started);
		log_end(&l);
	}
	operator_restore(c);
	decide_go(c->decide);
}

static void on_sync(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = t->data;

	(void)revents;
	serve(c, true);
	if (!c->is_serving)	/* something is not there yet */
		ev_timer_again(loop, t);
}

static void on_geo_ready(void *owner)
{
	struct control *c = owner;

	if (c->is_serving)
		decide_go(c->decide);
	else
		serve(c, false);
}

/* --- questions ------------------------------------------------------------------ */

static void take_decide(struct peer *p, const struct msg_decide *m)
{
	struct control *c = p->control;
	struct decide_question q = { .worker = p->id, .number = m->question,
		.session = m->session, .user = m->user,
		.mechanism = m->mechanism, .listener = m->listener,
		.sni = m->sni, .excluded = m->excluded,
		.failure = m->failure, .password = m->password,
		.attempt = (unsigned)m->attempt, .is_proxied = m->proxied,
		.has_tls = m->tls, .tls_version = m->tls_version,
		.tls_cipher = m->tls_cipher, .certificate = m->certificate };

	(void)addr_parse(&q.client, m->client_address);
	(void)addr_parse(&q.local, m->local_address);
	(void)addr_parse(&q.failed_address, m->failed_address);
	decide_ask(c->decide, &q);
}

static void on_answer(void *owner, const struct decide_answer *a)
{
	struct control *c = owner;
	char address[ADDR_TEXT_MAX];
	struct peer *p;

	HASH_FIND(hh, c->peers, &a->worker, sizeof a->worker, p);
	must(p);	/* or decide_drop_worker() was forgotten */
	switch (a->verdict) {
	case DECIDE_GRANT:
		link_send_grant(p->link, &(struct msg_grant){
		    .question = a->number, .backend = a->backend,
		    .address = str_from(addr_text(&a->address, address)),
		    .user = a->user, .login_user = a->login_user,
		    .login_password = a->login_password,
		    .master_user = a->master_user,
		    .master_password = a->master_password,
		    .capabilities = a->capabilities, .pool = a->pool,
		    .region = a->region, .country = a->country,
		    .deadline_ms = a->deadline_ms });
		return;
	case DECIDE_REFUSE:
		link_send_refuse(p->link, &(struct msg_refuse){
		    .question = a->number, .text = a->text,
		    .reason = a->reason, .denied = a->is_denied,
		    .ends = a->ends, .region = a->region,
		    .country = a->country });
		return;
	case DECIDE_WAIT:
		link_send_wait(p->link, &(struct msg_wait){
		    .question = a->number, .ms = a->wait_ms });
		return;
	}
}

bool control_end_session(struct control *c, uint64_t worker, uint64_t session,
    const char *why, bool now)
{
	struct peer *p;

	HASH_FIND(hh, c->peers, &worker, sizeof worker, p);
	if (p)
		link_send_end(p->link, &(struct msg_end){ .session = session,
		    .reason = str_from(why), .now = now });
	return p != NULL;
}

static void on_move_end(void *owner, uint64_t worker, uint64_t session,
    bool now)
{
	(void)control_end_session(owner, worker, session, "moved", now);
}

static void on_end_session(void *owner, uint64_t worker, uint64_t session)
{
	on_move_end(owner, worker, session, false);
}

static void on_go_on(void *owner, struct str user)
{
	struct control *c = owner;

	decide_go_on(c->decide, user);
}

static void on_moved(void *owner, struct str user, struct str to)
{
	struct err err;

	if (!operator_pin(owner, user, to, &err))
		log_note(LOG_LINE_ERROR, "state_file", "why", "%.*s: %s",
		    STR_ARG(user), err.text);
}

static void on_drained(void *owner, const struct drain_status *s)
{
	operator_note_drained(owner, s->backend);
}

static void take_session(struct peer *p, const struct msg_session *m)
{
	struct place_session s = { .worker = p->id, .session = m->session,
		.user = m->user, .backend = m->backend,
		.since_ms = m->since_ms };

	(void)addr_parse(&s.client, m->client_address);
	place_take(p->control->place, &s);
}

/* --- workers --------------------------------------------------------------------- */

static void check_end(struct control *c)
{
	if (c->is_stopping && !c->peers)
		ev_break(c->loop, EVBREAK_ALL);
}

static void drop_peer(struct peer *p)
{
	struct control *c = p->control;

	decide_drop_worker(c->decide, p->id);
	HASH_DELETE(hh, c->peers, p);
	link_close(&p->link);
	free(p);
	check_end(c);
}

static void on_peer_message(void *owner, struct link *l, const struct msg *m)
{
	struct peer *p = owner;

	(void)l;
	switch (m->type) {
	case MSG_HELLO:
		p->pid = m->hello.pid;
		break;
	case MSG_DECIDE:
		take_decide(p, &m->decide);
		break;
	case MSG_RELEASE:
		decide_release(p->control->decide, p->id, m->release.session);
		break;
	case MSG_SESSION:
		take_session(p, &m->session);
		break;
	case MSG_SYNCED:
		p->is_synced = true;
		serve(p->control, false);
		break;
	case MSG_ATTEMPT:
		take_attempt(p, &m->attempt);
		break;
	case MSG_BACKEND_CAPABILITIES:
		take_backend_capabilities(p->control,
		    &m->backend_capabilities);
		break;
	default:	/* not for control, or of a newer release */
		break;
	}
}

static void on_peer_closed(void *owner, struct link *l, const struct err *why)
{
	struct peer *p = owner;
	struct control *c = p->control;
	struct log_line line;

	(void)l;
	if (!c->is_stopping &&
	    log_begin(&line, LOG_LINE_WARN, "worker_lost")) {
		log_u64(&line, "index", p->index);
		log_text(&line, "why", why->text);
		log_end(&line);
	}
	drop_peer(p);
	serve(c, false);	/* the others may have waited for it alone */
}

static void take_peer(struct control *c, const struct msg_peer *m)
{
	struct peer *p, *next;

	HASH_ITER(hh, c->peers, p, next)
		if (p->index == m->index)
			drop_peer(p);
	if (c->awaited)
		c->awaited--;
	if (m->fd < 0)
		return;
	p = mem_alloc(sizeof *p);
	p->id = c->next_peer++;
	p->index = (unsigned)m->index;
	p->control = c;
	p->link = link_open(c->loop, m->fd, "control", p->index,
	    on_peer_message, on_peer_closed, p);
	HASH_ADD(hh, c->peers, id, sizeof p->id, p);
	send_all(c, p->link);
}

/* --- configuration ------------------------------------------------------------------ */

static bool has_other_dns(const struct settings *a, const struct settings *b)
{
	const struct conf_dns *x = conf_dns(a), *y = conf_dns(b);

	if (x->timeout_ms != y->timeout_ms || x->servers.n != y->servers.n)
		return true;
	for (size_t i = 0; i < x->servers.n; i++)
		if (strcmp(x->servers.v[i].text, y->servers.v[i].text) != 0)
			return true;
	return false;
}

/* What is wrong with the file must not keep the proxy from its work. */
static void open_keep(struct control *c, const char *path)
{
	struct err err;

	if (c->has_keep)
		return;
	c->has_keep = true;
	if (path[0] && !keep_open(c->keep, path, &err))
		log_note(LOG_LINE_ERROR, "state_file", "why", "%s", err.text);
}

/* Without its database a route by country would be passed over. */
static void go_on(struct control *c)
{
	if (c->is_serving && geo_is_ready(c->geo))
		decide_go(c->decide);
}

static bool put_in_force(struct control *c, struct settings *fresh,
    struct err *err)
{
	const struct conf_dns *dns = conf_dns(fresh);

	if ((!c->settings || has_other_dns(c->settings, fresh)) &&
	    !resolve_configure(c->resolve, &dns->servers, dns->timeout_ms,
	    err))
		return false;
	open_keep(c, conf_admin(fresh)->state_file);
	health_stop(c->health);
	decide_hold(c->decide);
	bool is_good = decide_configure(c->decide, fresh,
	    conf_limits(fresh)->sessions_per_address, err);
	if (is_good) {
		geo_configure(c->geo, conf_geoip(fresh));
		/* a new backend may be one that the operator has emptied */
		operator_restore(c);
		names_update(c->resolve, c->keep);
	}
	go_on(c);
	health_start(c->health);
	if (!is_good)
		return false;
	settings_unref(&c->settings);
	c->settings = settings_ref(fresh);
	log_set_form(conf_log(fresh)->format, conf_log(fresh)->level);
	console_set_idle(c->console,
	    (double)conf_admin(fresh)->client_timeout_ms / 1000);
	turn_keys(c);
	update_capabilities(c);
	return true;
}

/* All files were told before; this makes a whole configuration of them. */
static void take_settings(struct control *c, const struct msg_settings *m)
{
	struct err err = { "" };
	struct peer *p, *next;

	struct settings *fresh = bundle_take_settings(c->bundle, m,
	    &conf_schema, &err);
	bool is_good = fresh && put_in_force(c, fresh, &err);
	settings_unref(&fresh);
	if (is_good) {
		c->generation = m->generation;
		HASH_ITER(hh, c->peers, p, next)
			send_settings(c, p->link);
		link_send_ready(c->parent, &(struct msg_ready){
		    .generation = m->generation });
		serve(c, false);
	} else {
		log_note(LOG_LINE_ERROR, "settings_refused", "why", "%s",
		    err.text);
		link_send_failed(c->parent, &(struct msg_failed){
		    .generation = m->generation,
		    .text = str_from(err.text) });
	}
}

/* Names have other addresses, which are looked up when they are needed; or
 * SRV records have other targets, which become backends. */
static void on_names(void *owner)
{
	struct control *c = owner;

	if (!farm_is_outdated(c->farm)) {
		names_update(c->resolve, c->keep);
		return;
	}
	decide_hold(c->decide);
	decide_update(c->decide);
	health_update(c->health);
	/* a target that comes may be one that the operator has emptied */
	operator_restore(c);
	names_update(c->resolve, c->keep);	/* theirs, too */
	go_on(c);
	update_capabilities(c);
}

/* --- the parent ------------------------------------------------------------------------ */

static void stop(struct control *c, double grace_s)
{
	c->is_stopping = true;
	start_timer(c, &c->end, grace_s);
	check_end(c);
}

static void on_end(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)t;
	(void)revents;
	ev_break(loop, EVBREAK_ALL);
}

static void on_parent_message(void *owner, struct link *l,
    const struct msg *m)
{
	struct control *c = owner;

	(void)l;
	switch (m->type) {
	case MSG_LOG:
		log_set_output(m->log.fd, str_eq(m->log.kind, STR("syslog")) ?
		    LOG_KIND_SYSLOG : LOG_KIND_FILE);
		break;
	case MSG_FILE:
		bundle_take_file(c->bundle, &m->file);
		break;
	case MSG_SETTINGS:
		take_settings(c, &m->settings);
		break;
	case MSG_PEER:
		take_peer(c, &m->peer);
		break;
	case MSG_ADMIN:
		c->parent_started_s = m->admin.started_s;
		c->awaited += m->admin.peers;
		console_listen(c->console, m->admin.fd);
		break;
	case MSG_RELOADED:
		orders_reloaded(c->orders, &m->reloaded);
		break;
	case MSG_STOP:
		stop(c, (double)m->stop.grace_ms / 1000);
		break;
	default:	/* not for control, or of a newer release */
		break;
	}
}

/* The workers lose it as well, and end their sessions; each is to be told
 * until it has. */
static void on_parent_closed(void *owner, struct link *l,
    const struct err *why)
{
	struct control *c = owner;

	(void)l;
	if (!c->is_stopping)
		log_note(LOG_LINE_ERROR, "parent_lost", "why", "%s",
		    why->text);
	link_close(&c->parent);
	stop(c, CONTROL_ORPHAN_S);
}

/* --- the process ----------------------------------------------------------------------- */

static void init(struct control *c, int fd)
{
	const struct settings_addresses no_servers = { 0 };
	struct err err = { "" };

	c->loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
	if (!c->loop)
		die("control: no event loop");
	c->started = ev_now(c->loop);
	buf_init(&c->words, CAPS_MAX);
	buf_init(&c->mechanisms, CAPS_MAX);
	ev_timer_init(&c->sync, on_sync, CONTROL_SYNC_S, CONTROL_SYNC_S);
	ev_timer_init(&c->turn_keys, on_turn_keys, 0., 0.);
	ev_timer_init(&c->end, on_end, 0., 0.);
	c->sync.data = c->turn_keys.data = c->end.data = c;
	ev_timer_start(c->loop, &c->sync);
	c->bundle = bundle_new();
	c->resolve = resolve_new(c->loop, &no_servers, 2000, on_names, c,
	    &err);
	if (!c->resolve)
		die("control: %s", err.text);
	c->farm = farm_new(c->resolve);
	c->place = place_new();
	c->health = health_new(c->loop, c->farm, c->place,
	    update_capabilities, on_backend_changed, c);
	c->tables = tables_new(c->loop, c->resolve);
	c->auth = auth_new(c->loop);
	c->geo = geo_new(c->loop, on_geo_ready, c);
	c->keep = keep_new(c->loop);
	c->moves = moves_new(c->loop, c->place, c->keep,
	    &(struct moves_calls){ .end = on_move_end, .go_on = on_go_on,
	    .moved = on_moved }, c);
	c->drains = drains_new(c->loop, c->place, c->moves, on_drained, c);
	c->decide = decide_new(&(struct decide_parts){ .loop = c->loop,
	    .place = c->place, .farm = c->farm, .tables = c->tables,
	    .auth = c->auth, .moves = c->moves, .geo = c->geo },
	    &(struct decide_calls){ .answer = on_answer,
	    .end = on_end_session }, c);
	c->console = console_new(c, c->loop);
	c->orders = orders_new(c->loop, &c->parent);
	c->parent = link_open(c->loop, fd, "control", 0, on_parent_message,
	    on_parent_closed, c);
}

static void fini(struct control *c)
{
	struct peer *p, *next;

	console_free(&c->console);
	orders_free(&c->orders);
	HASH_ITER(hh, c->peers, p, next)
		drop_peer(p);
	link_close(&c->parent);
	drains_free(&c->drains);
	moves_free(&c->moves);
	keep_free(&c->keep);
	decide_free(&c->decide);
	geo_free(&c->geo);
	auth_free(&c->auth);
	tables_free(&c->tables);
	health_free(&c->health);
	place_free(&c->place);
	farm_free(&c->farm);
	resolve_free(&c->resolve);
	settings_unref(&c->settings);
	bundle_free(&c->bundle);
	tickets_fini(&c->tickets);
	buf_fini(&c->words);
	buf_fini(&c->mechanisms);
	ev_loop_destroy(c->loop);
}

int control_main(int fd)
{
	struct control c = { 0 };

	signal(SIGPIPE, SIG_IGN);
	log_set_role("control");
	init(&c, fd);
	ev_run(c.loop, 0);
	fini(&c);
	return 0;
}
