/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/health.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "backends/backend_tls.h"
#include "backends/change.h"
#include "backends/check.h"
#include "backends/conf.h"
#include "backends/farm.h"
#include "backends/place.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/base/tlsctx.h"

#define CHUNK 16384
#define PENDING_S 0.2	/* its name is being resolved, or CHECKS_MAX */
#define DAY_S 86400

/* What is usual among the backends that one pool cares for. */
struct group {
	const struct conf_pool *pool;
	double usual_ms;	/* 0: not known */
	double at_s;		/* when it was found out */
};

struct one {
	struct health *health;
	char *name;
	struct backend *backend;
	struct group *group;
	struct check check;
	struct tls_client *tls;
	ev_timer next;
	double look_s;		/* when its capabilities are asked for again */
	double retry_s;
	double usual_ms;	/* its own logins take */
	unsigned n_logins;
	double certificate_told_s;
	bool is_ramping, has_failed, is_user_refused;
};

struct health {
	struct ev_loop *loop;
	struct stream_loop streams;
	struct farm *farm;
	const struct place *place;
	struct backend_trusts *trusts;
	health_heard_fn *heard;
	health_changed_fn *changed;
	void *owner;
	struct one **all;		/* by backend_index() */
	size_t n, n_running;
	struct group *groups;
	size_t n_groups;
	ev_timer ramp;
};

static void begin_in(struct one *o, double seconds)
{
	struct ev_loop *loop = o->health->loop;

	ev_timer_stop(loop, &o->next);
	ev_timer_set(&o->next, seconds, 0.);
	ev_timer_start(loop, &o->next);
}

/* 0 to 1, so that proxies started together spread. */
static double chance(void)
{
	unsigned char r;

	return getrandom(&r, 1, GRND_NONBLOCK) == 1 ? r / 255. : 0.5;
}

/* --- what is told ------------------------------------------------------------ */

static void log_state(const struct one *o, enum condition_state was,
    double since_s, double now_s)
{
	const struct condition *c = backend_condition(o->backend);
	struct str name = backend_name(o->backend);

	change_log(&(struct change){ .backend = name,
	    .from = condition_word(was), .to = condition_word(c->state),
	    .why = c->why, .after_s = now_s - since_s,
	    .n_sessions = place_n_backend(o->health->place, name),
	    .is_bad = c->state != CONDITION_UP });
}

static void log_check(const struct one *o, enum log_level level,
    const char *event, const char *why)
{
	struct log_line l;

	if (!log_begin(&l, level, event))
		return;
	log_str(&l, "backend", backend_name(o->backend));
	if (o->check.order.address.sa.sa_family)
		log_addr(&l, "address", &o->check.order.address);
	if (*why)
		log_text(&l, "why", why);
	log_end(&l);
}

static void note_certificate(struct one *o, int64_t ends_s, double now_s)
{
	uint64_t warning_s =
	    backend_pool(o->backend)->health->certificate_warning_ms / 1000;
	time_t when = ends_s;
	int64_t left_s = ends_s - time(NULL);
	char text[32];
	struct tm tm;
	struct log_line l;

	if (ends_s == 0 || warning_s == 0 || left_s > (int64_t)warning_s)
		return;
	if (o->certificate_told_s > 0 &&
	    now_s - o->certificate_told_s < DAY_S)
		return;
	o->certificate_told_s = now_s;
	if (!gmtime_r(&when, &tm) ||
	    !log_begin(&l, LOG_LINE_WARN, "backend_certificate"))
		return;
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	log_str(&l, "backend", backend_name(o->backend));
	log_text(&l, "ends", text);
	log_u64(&l, "days", left_s > 0 ? (uint64_t)left_s / DAY_S : 0);
	log_end(&l);
}

/* --- states -------------------------------------------------------------------- */

static void start_ramp(struct one *o)
{
	o->is_ramping = true;
	if (!ev_is_active(&o->health->ramp))
		ev_timer_again(o->health->loop, &o->health->ramp);
}

static bool is_coming(const struct one *o, double now_s)
{
	return condition_share(backend_condition(o->backend),
	    backend_rules(o->backend), now_s) < 1;
}

static void on_ramp(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct health *h = t->data;
	double now_s = clock_now();
	bool is_needed = false;

	(void)revents;
	for (size_t i = 0; i < h->n; i++) {
		struct one *o = h->all[i];
		if (!o->is_ramping)
			continue;
		o->is_ramping = is_coming(o, now_s);
		is_needed |= o->is_ramping;
		h->changed(h->owner, o->backend);
	}
	if (!is_needed)
		ev_timer_stop(loop, t);
}

/* The state was another one before. */
static void note_change(struct one *o, enum condition_state was,
    double since_s, double now_s)
{
	const struct condition *c = backend_condition(o->backend);

	log_state(o, was, since_s, now_s);
	if (c->state == CONDITION_PROBING && !check_is_busy(&o->check) &&
	    backend_rules(o->backend)->is_checked)
		begin_in(o, 0.);
	if (is_coming(o, now_s))
		start_ramp(o);
	o->health->changed(o->health->owner, o->backend);
}

/* --- the result of a check ------------------------------------------------------- */

static enum check_depth depth_of(const struct one *o)
{
	static const enum check_depth depths[] = {
		[CONF_HEALTH_NONE] = CHECK_NOTHING,
		[CONF_HEALTH_TCP] = CHECK_TCP,
		[CONF_HEALTH_TLS] = CHECK_TLS,
		[CONF_HEALTH_GREETING] = CHECK_GREETING,
		[CONF_HEALTH_LOGIN] = CHECK_LOGIN,
	};

	return depths[backend_pool(o->backend)->health->type];
}

static void schedule(struct one *o, double now_s)
{
	struct condition *c = backend_observe(o->backend);
	const struct condition_rules *r = backend_rules(o->backend);
	double wait_s = condition_delay(c, r, chance());

	if (!r->is_checked)
		wait_s = o->look_s > now_s ? o->look_s - now_s : 0;
	begin_in(o, wait_s);
}

/* One that was not heard is asked again soon, then more and more seldom. */
static void note_look(struct one *o, struct str capabilities, double now_s)
{
	struct health *h = o->health;

	if (capabilities.n == 0) {
		o->look_s = now_s + o->retry_s * (0.95 + 0.1 * chance());
		o->retry_s *= 2;
		if (o->retry_s > HEALTH_RETRY_MAX_S)
			o->retry_s = HEALTH_RETRY_MAX_S;
		return;
	}
	o->retry_s = HEALTH_RETRY_MIN_S;
	o->look_s = now_s + HEALTH_LOOK_S * (0.95 + 0.1 * chance());
	if (backend_hear(o->backend, capabilities))
		h->heard(h->owner);
}

/* The backend works, but has something against the check's user. */
static bool is_refusal(enum login_failure kind)
{
	return kind == LOGIN_FAIL_AUTH_DENIED || kind == LOGIN_FAIL_LIMIT ||
	    kind == LOGIN_FAIL_OTHER_CODE || kind == LOGIN_FAIL_REFERRAL;
}

/* Which failures are told beside the states: where there are no states of
 * checks; and where the check itself is wrong. */
static void note_failure(struct one *o, enum login_failure kind,
    const char *why)
{
	bool is_checked = backend_rules(o->backend)->is_checked;
	bool has_failed = kind != LOGIN_FAIL_NONE;
	bool is_refused = is_refusal(kind);

	if (is_refused && !o->is_user_refused)
		log_check(o, LOG_LINE_ERROR, "check_refused", why);
	if (has_failed && !is_refused)
		log_check(o, is_checked || o->has_failed ? LOG_LINE_DEBUG :
		    LOG_LINE_WARN, "check_failed", why);
	if (!has_failed && (o->has_failed || o->is_user_refused))
		log_check(o, is_checked && !o->is_user_refused ?
		    LOG_LINE_DEBUG : LOG_LINE_INFO, "check_ok", "");
	o->has_failed = has_failed;
	if (is_refused || !has_failed)
		o->is_user_refused = is_refused;
}

static void judge(struct one *o, bool is_good, const char *why, double now_s)
{
	struct condition *c = backend_observe(o->backend);
	const struct condition_rules *r = backend_rules(o->backend);
	enum condition_state was = c->state;
	double since_s = c->since_s;

	if (!r->is_checked)
		return;
	if (is_good ? condition_check_ok(c, r, now_s) :
	    condition_check_failed(c, r, why, now_s))
		note_change(o, was, since_s, now_s);
}

/* It is not the backend that does not answer, but one of its addresses: the
 * next one is asked soon. */
static bool is_doors_fault(struct one *o, const struct check_result *r)
{
	const struct addr *address = &o->check.order.address;

	if (r->failure != LOGIN_FAIL_CONNECT &&
	    r->failure != LOGIN_FAIL_TIMEOUT) {
		backend_fault_over(o->backend, address);
		return false;
	}
	return backend_fault(o->backend, address);
}

static void conclude(struct one *o, enum login_failure kind, struct str text,
    bool is_good)
{
	double now_s = clock_now();
	char why[CONDITION_WHY_MAX];

	snprintf(why, sizeof why, "%s: %.*s", login_failure_word(kind),
	    STR_ARG(text));
	note_failure(o, kind, why);
	judge(o, is_good, why, now_s);
	schedule(o, now_s);
}

static void on_checked(void *owner, const struct check_result *r)
{
	struct one *o = owner;
	double now_s = clock_now();

	o->health->n_running--;
	if (is_doors_fault(o, r)) {
		begin_in(o, backend_rules(o->backend)->fast_interval_s);
		return;
	}
	if (o->check.order.depth >= CHECK_GREETING)
		note_look(o, r->capabilities, now_s);
	note_certificate(o, r->certificate_ends_s, now_s);
	conclude(o, r->failure, r->why, r->reached >= depth_of(o) ||
	    is_refusal(r->failure));
}

/* --- the begin of a check ---------------------------------------------------------- */

/* It could not even be tried. */
static void fail(struct one *o, enum login_failure kind, const char *text)
{
	note_look(o, STR_NONE, clock_now());
	conclude(o, kind, str_from(text), false);
}

/* With a handshake of its own, so that the certificate of today is seen. */
static bool prepare_tls(struct one *o, struct err *err)
{
	const struct conf_backend *b = backend_conf(o->backend);

	if (b->tls == CONF_TLS_NONE)
		return true;
	if (!o->tls)
		o->tls = backend_tls_client(o->health->trusts, b, err);
	if (o->tls)
		tls_client_forget_session(o->tls);
	return o->tls;
}

static void begin(struct one *o, const struct addr *address)
{
	const struct conf_health *health = backend_pool(o->backend)->health;
	struct err err = { "" };
	struct check_order order = { .backend = backend_conf(o->backend),
		.address = *address, .depth = depth_of(o),
		.limit_s = (double)health->timeout_ms / 1000,
		.user = str_from(health->user),
		.password = health->password_file.data };

	if (order.depth < CHECK_GREETING && o->look_s <= clock_now())
		order.depth = CHECK_GREETING;
	if (order.depth == CHECK_NOTHING) {
		schedule(o, clock_now());
		return;
	}
	if (!backend_rules(o->backend)->is_checked)
		order.limit_s = HEALTH_LOOK_LIMIT_S;
	o->check.order.address = *address;
	if (!prepare_tls(o, &err)) {
		fail(o, LOGIN_FAIL_TLS, err.text);
		return;
	}
	order.tls = o->tls;
	o->health->n_running++;
	check_begin(&o->check, &order);
}

static void on_next(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct one *o = t->data;
	struct addr address;

	(void)loop;
	(void)revents;
	must(!check_is_busy(&o->check));
	if (o->health->n_running >= HEALTH_CHECKS_MAX) {
		begin_in(o, PENDING_S);
		return;
	}
	switch (backend_next_address(o->backend, &address)) {
	case RESOLVE_KNOWN:
		begin(o, &address);
		break;
	case RESOLVE_PENDING:
		begin_in(o, PENDING_S);
		break;
	case RESOLVE_FAILED:
		fail(o, LOGIN_FAIL_CONNECT, "its name cannot be resolved");
		break;
	}
}

/* --- logins of sessions -------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median of the group, found out again once a second: of two backends the
 * quicker one tells what is usual, and of one alone nobody does. */
static double usual_ms(struct health *h, struct group *g, double now_s)
{
	double *all;
	size_t n = 0;

	if (g->at_s > 0 && now_s - g->at_s < 1)
		return g->usual_ms;
	all = mem_alloc(h->n * sizeof *all);
	for (size_t i = 0; i < h->n; i++)
		if (h->all[i]->group == g &&
		    h->all[i]->n_logins >= HEALTH_USUAL_MIN)
			all[n++] = h->all[i]->usual_ms;
	qsort(all, n, sizeof *all, by_size);
	g->usual_ms = n > 1 ? all[(n - 1) / 2] : 0;
	g->at_s = now_s;
	free(all);
	return g->usual_ms;
}

/* Notes how long a login took; true when that was too long. */
static bool is_late(struct one *o, uint64_t ms, double now_s, char *why,
    size_t size)
{
	unsigned factor = o->group->pool->outlier_factor;
	double usual = 0;

	if (ms == 0)
		return false;
	if (factor && ms >= HEALTH_LATE_MS)
		usual = usual_ms(o->health, o->group, now_s);
	o->usual_ms += ((double)ms - o->usual_ms) / (o->n_logins ? 8 : 1);
	if (o->n_logins < HEALTH_USUAL_MIN)
		o->n_logins++;
	if (usual <= 0 || (double)ms < usual * factor)
		return false;
	snprintf(why, size, "late: %llu ms, usual are %.0f",
	    (unsigned long long)ms, usual);
	return true;
}

static bool login_failed(struct one *o, const struct health_login *l,
    const char *why, double now_s)
{
	return condition_login_failed(backend_observe(o->backend),
	    backend_rules(o->backend), l->key, l->is_greeted ? l->user : 0,
	    why, now_s);
}

/* The backend is to blame, and not one of its addresses alone. */
static bool is_backends_fault(const struct one *o, enum login_failure kind)
{
	return kind != LOGIN_FAIL_end && login_failure_retry(kind) &&
	    !((kind == LOGIN_FAIL_CONNECT || kind == LOGIN_FAIL_TIMEOUT) &&
	    backend_has_other_doors(o->backend));
}

static bool take_login(struct one *o, const struct health_login *l,
    double now_s)
{
	struct condition *c = backend_observe(o->backend);
	char why[CONDITION_WHY_MAX];

	if (l->failure == LOGIN_FAIL_NONE &&
	    is_late(o, l->ms, now_s, why, sizeof why))
		return login_failed(o, l, why, now_s);
	/* who refuses a user knows what it is doing */
	if (l->failure == LOGIN_FAIL_NONE ||
	    l->failure == LOGIN_FAIL_AUTH_DENIED ||
	    l->failure == LOGIN_FAIL_LIMIT)
		return condition_login_ok(c, l->key, now_s);
	if (is_backends_fault(o, l->failure)) {
		snprintf(why, sizeof why, "logins fail: %s",
		    login_failure_word(l->failure));
		return login_failed(o, l, why, now_s);
	}
	condition_untry(c, l->key, now_s);
	return false;
}

void health_login(struct health *h, struct backend *b,
    const struct health_login *l)
{
	const struct condition *c = backend_condition(b);
	enum condition_state was = c->state;
	double since_s = c->since_s, now_s = clock_now();

	must(backend_index(b) < h->n);
	struct one *o = h->all[backend_index(b)];
	if (take_login(o, l, now_s))
		note_change(o, was, since_s, now_s);
}

/* --- all of them --------------------------------------------------------------- */

struct health *health_new(struct ev_loop *loop, struct farm *farm,
    const struct place *place, health_heard_fn *heard,
    health_changed_fn *changed, void *owner)
{
	struct health *h = mem_alloc(sizeof *h);

	h->loop = loop;
	h->farm = farm;
	h->place = place;
	h->heard = heard;
	h->changed = changed;
	h->owner = owner;
	stream_loop_init(&h->streams, loop, CHUNK);
	ev_timer_init(&h->ramp, on_ramp, HEALTH_STEP_S, HEALTH_STEP_S);
	h->ramp.data = h;
	return h;
}

/* groups has room for one a backend. */
static struct group *group_of(struct health *h, const struct conf_pool *pool)
{
	size_t i = 0;

	while (i < h->n_groups && h->groups[i].pool != pool)
		i++;
	if (i == h->n_groups)
		h->groups[h->n_groups++].pool = pool;
	return &h->groups[i];
}

/* A backend that is known is checked some time within its interval, so that
 * not all of them are at once. */
static struct one *watch(struct health *h, struct backend *b)
{
	struct one *o = mem_alloc(sizeof *o);
	struct condition *c = backend_observe(b);
	const struct condition_rules *r = backend_rules(b);

	o->health = h;
	o->name = mem_str(backend_name(b));
	o->backend = b;
	o->retry_s = HEALTH_RETRY_MIN_S;
	check_init(&o->check, &h->streams, on_checked, o);
	ev_init(&o->next, on_next);
	o->next.data = o;
	begin_in(o, c->is_proven ? chance() * condition_delay(c, r, 0) : 0.);
	return o;
}

static void unwatch(struct one *o)
{
	struct health *h = o->health;

	h->n_running -= check_is_busy(&o->check);
	check_stop(&o->check);
	ev_timer_stop(h->loop, &o->next);
	tls_client_free(&o->tls);
	free(o->name);
	free(o);
}

/* The rules may be others now. */
static void look_at(struct one *o, double now_s)
{
	struct condition *c = backend_observe(o->backend);
	enum condition_state was = c->state;
	double since_s = c->since_s;

	if (condition_rule(c, backend_rules(o->backend), now_s))
		note_change(o, was, since_s, now_s);
	else if (is_coming(o, now_s))
		start_ramp(o);
}

void health_update(struct health *h)
{
	struct one **old = h->all;
	size_t n_old = h->n;

	h->n = farm_n(h->farm);
	h->all = mem_alloc(h->n * sizeof(struct one *));
	for (size_t i = 0; i < n_old; i++) {
		/* who has left may be freed: only its name tells */
		struct backend *b = farm_find(h->farm,
		    str_from(old[i]->name));
		if (b)
			h->all[backend_index(b)] = old[i];
		else
			unwatch(old[i]);
	}
	free(old);
	free(h->groups);
	h->groups = mem_alloc(h->n * sizeof *h->groups);
	h->n_groups = 0;
	for (size_t i = 0; i < h->n; i++) {
		struct backend *b = farm_at(h->farm, i);
		if (!h->all[i])
			h->all[i] = watch(h, b);
		h->all[i]->group = group_of(h, backend_pool(b));
	}
	for (size_t i = 0; i < h->n; i++)
		look_at(h->all[i], clock_now());
}

void health_start(struct health *h)
{
	must(!h->all);
	h->trusts = backend_trusts_new();
	health_update(h);
}

void health_stop(struct health *h)
{
	ev_timer_stop(h->loop, &h->ramp);
	for (size_t i = 0; i < h->n; i++)
		unwatch(h->all[i]);
	backend_trusts_free(&h->trusts);
	free(h->all);
	free(h->groups);
	h->all = NULL;
	h->groups = NULL;
	h->n = h->n_groups = 0;
	must(h->n_running == 0);
}

void health_free(struct health **hp)
{
	struct health *h = *hp;

	if (!h)
		return;
	*hp = NULL;
	health_stop(h);
	stream_loop_fini(&h->streams);
	free(h);
}
