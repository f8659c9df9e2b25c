/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/decide_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/conf.h"
#include "backends/farm.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include <utlist.h>

#define NOTES_MAX (16 * 1024)	/* bytes that sources may say to a question */

static const char *const stage_names[] = {
	[DECIDE_AUTH] = "auth",
	[DECIDE_ROUTE] = "route",
	[DECIDE_BALANCE] = "balance",
	[DECIDE_PLACE] = "place",
	[DECIDE_LAST] = "grant",
};

static enum decide_step (*const stages[])(struct decision *dn) = {
	[DECIDE_AUTH] = decide_stage_auth,
	[DECIDE_ROUTE] = decide_stage_route,
	[DECIDE_BALANCE] = decide_stage_balance,
	[DECIDE_PLACE] = decide_stage_place,
	[DECIDE_LAST] = decide_stage_grant,
};

/* --- what stages say ---------------------------------------------------------- */

void decide_say(const struct decision *dn, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!dn->line)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	dn->line(dn->explained_arg, stage_names[dn->stage], text);
}

enum decide_step decide_refuse(struct decision *dn, struct str text,
    const char *reason)
{
	dn->answer.verdict = DECIDE_REFUSE;
	dn->answer.text = text;
	dn->answer.reason = str_from(reason);
	decide_say(dn, "refused: %.*s", STR_ARG(text));
	return DECIDE_ANSWERED;
}

enum decide_step decide_wait(struct decision *dn, const char *why)
{
	dn->answer.verdict = DECIDE_WAIT;
	dn->answer.wait_ms = DECIDE_WAIT_MS;
	decide_say(dn, "must wait: %s", why);
	return DECIDE_ANSWERED;
}

struct str decision_note(struct decision *dn, struct str s)
{
	if (s.n == 0)
		return STR_NONE;
	if (!dn->notes)
		dn->notes = arena_new(NOTES_MAX);
	struct str kept = arena_str(dn->notes, s);
	return kept.p ? kept : STR_NONE;
}

/* --- a decision's life -------------------------------------------------------- */

static struct str copy(struct buf *to, struct str s)
{
	size_t at = to->len;

	must(buf_str(to, s));
	return (struct str){ buf_view(to).p + at, s.n };
}

/* What the question shows is the decision's own from now on. */
static void keep_question(struct decision *dn,
    const struct decide_question *q)
{
	struct decide_question *mine = &dn->q;
	struct str *const all[] = { &mine->user, &mine->mechanism,
		&mine->listener, &mine->sni, &mine->excluded, &mine->failure,
		&mine->password, &mine->tls_version, &mine->tls_cipher,
		&mine->certificate };
	size_t n = sizeof all / sizeof all[0], sum = 1;

	*mine = *q;
	/* all room at once: views must not move while the others come */
	for (size_t i = 0; i < n; i++)
		sum += all[i]->n;
	must(buf_reserve(&dn->text, sum));
	for (size_t i = 0; i < n; i++)
		*all[i] = copy(&dn->text, *all[i]);
}

static void on_limit(struct ev_loop *loop, ev_timer *t, int revents);

static struct decision *decision_new(struct decide *d,
    const struct decide_question *q)
{
	struct decision *dn = d->spare;

	d->spare = NULL;
	if (!dn) {
		dn = mem_alloc(sizeof *dn);
		ev_init(&dn->limit, on_limit);
		dn->limit.data = dn;
		dn->decide = d;
	}
	dn->key = (struct decision_key){ q->worker, q->session };
	dn->line = NULL;
	dn->tries_address = false;
	keep_question(dn, q);
	return dn;
}

void decision_unqueue(struct decision *dn)
{
	struct decide *d = dn->decide;

	ev_timer_stop(d->parts.loop, &dn->limit);
	if (!dn->queue.is_in)
		return;
	dn->queue.is_in = false;
	dn->queue.pool->n_queued--;
	DL_DELETE2(d->queue, dn, queue_prev, queue_next);
}

void decision_break_promise(struct decision *dn)
{
	if (dn->queue.promised)
		backend_return_token(dn->queue.promised);
	dn->queue.promised = NULL;
}

/* To the state of a question that nobody has looked at. */
static void decision_reset(struct decision *dn)
{
	auth_cancel(&dn->check);
	table_cancel(&dn->lookup);
	decision_unqueue(dn);
	decision_break_promise(dn);
	arena_free(&dn->notes);
	dn->stage = DECIDE_AUTH;
	dn->is_proven = dn->has_news = dn->is_located = false;
	dn->login_user = dn->login_password = STR_NONE;
	dn->verdict = (struct auth_answer){ 0 };
	dn->found = (struct table_answer){ 0 };
	dn->table = NULL;
	dn->row = 0;
	dn->pool = NULL;
	dn->pinned = dn->backend = NULL;
	dn->queue = (struct decide_queue){ 0 };
	dn->kept_pool = NULL;
	dn->kept_pin = STR_NONE;
	dn->answer = (struct decide_answer){ .worker = dn->q.worker,
		.number = dn->q.number };
}

static void decision_dispose(struct decision *dn)
{
	if (!dn)
		return;
	buf_fini(&dn->text);
	free(dn);
}

/* One is kept: most are answered at once, and so are one at a time. */
static void decision_free(struct decision *dn)
{
	struct decide *d = dn->decide;

	decision_reset(dn);
	struct str bytes = buf_view(&dn->text);
	if (dn->q.password.n)
		mem_wipe(&dn->text.data[dn->text.off], bytes.n);
	buf_clear(&dn->text);
	decision_dispose(d->spare);
	d->spare = dn;
}

static void suspend(struct decision *dn)
{
	struct decide *d = dn->decide;

	dn->is_suspended = true;
	d->n_suspended++;
	DL_APPEND(d->suspended, dn);
	if (!dn->line)
		HASH_ADD(hh, d->by_session, key, sizeof dn->key, dn);
}

static void unsuspend(struct decision *dn)
{
	struct decide *d = dn->decide;

	dn->is_suspended = dn->is_held = false;
	d->n_suspended--;
	DL_DELETE(d->suspended, dn);
	if (!dn->line)
		HASH_DELETE(hh, d->by_session, dn);
}

static struct decision *suspended_find(const struct decide *d,
    struct decision_key key)
{
	struct decision *dn;

	HASH_FIND(hh, d->by_session, &key, sizeof key, dn);
	return dn;
}

static void give_answer(struct decision *dn)
{
	struct decide *d = dn->decide;

	if (dn->line) {
		dn->explained(dn->explained_arg, &dn->answer);
	} else {
		/* what is refused is nowhere */
		if (dn->answer.verdict == DECIDE_REFUSE)
			(void)decide_end_lease(d, dn->key);
		d->calls.answer(d->owner, &dn->answer);
	}
	decision_free(dn);
}

/* Who is refused is located, too: for the log. */
static void locate(struct decision *dn)
{
	struct decide *d = dn->decide;

	if (dn->is_located)
		return;
	dn->is_located = true;
	dn->geo = d->parts.geo ? geo_find(d->parts.geo, &dn->q.client) :
	    (struct geo_place){ 0 };
	dn->region = regions_find(d->plan->regions, &dn->q.client, &dn->geo);
	dn->answer.country = str_from(dn->geo.country);
	if (dn->region.region)
		dn->answer.region = str_from(dn->region.region->name);
}

static void decision_run(struct decision *dn)
{
	if (!dn->decide->plan) {
		decide_wait(dn, "there is no configuration yet");
		give_answer(dn);
		return;
	}
	locate(dn);
	for (;;) {
		switch (stages[dn->stage](dn)) {
		case DECIDE_NEXT:
			dn->stage++;
			continue;
		case DECIDE_ANSWERED:
			give_answer(dn);
			return;
		case DECIDE_SUSPENDED:
			suspend(dn);
			return;
		}
	}
}

void decision_resume(struct decision *dn)
{
	must(dn->is_suspended);
	unsuspend(dn);
	decision_unqueue(dn);
	decision_run(dn);
}

static void on_limit(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct decision *dn = t->data;

	(void)loop;
	(void)revents;
	dn->queue.is_late = clock_now() >= dn->queue.until;
	decision_resume(dn);
}

/* --- questions ------------------------------------------------------------------ */

/* A backend that was tried in vain may be reached by another of its
 * addresses: true. */
static bool note_failure(struct decide *d, const struct decide_question *q)
{
	struct str rest = q->excluded, last = STR_NONE;

	if (!str_starts(q->failure, STR("connect")) &&
	    !str_starts(q->failure, STR("timeout")))
		return false;
	while (rest.n)
		last = str_split(rest, ' ', &rest);
	struct backend *b = farm_find(d->parts.farm, last);
	return b && q->failed_address.sa.sa_family != AF_UNSPEC &&
	    backend_fault(b, &q->failed_address);
}

static void forget(struct decision *dn)
{
	unsuspend(dn);
	decision_free(dn);
}

void decide_ask(struct decide *d, const struct decide_question *q)
{
	struct decision *dn = suspended_find(d,
	    (struct decision_key){ q->worker, q->session });

	if (dn)	/* a session has one question at a time */
		forget(dn);
	dn = decision_new(d, q);
	dn->tries_address = note_failure(d, q);
	decision_reset(dn);
	if (d->n_suspended >= DECIDE_OPEN_MAX) {
		decide_wait(dn, "too many questions are open");
		give_answer(dn);
	} else if (d->is_held) {
		dn->is_held = true;
		suspend(dn);
	} else {
		decision_run(dn);
	}
}

void decide_hold(struct decide *d)
{
	d->is_held = true;
}

static struct decision *first_held(const struct decide *d)
{
	struct decision *dn;

	DL_FOREACH(d->suspended, dn)
		if (dn->is_held)
			break;
	return dn;
}

/* The answer to one may be the end of any other's waiting, so the next one is
 * looked for anew; that is the first, but for the last time. */
void decide_go(struct decide *d)
{
	struct decision *dn;

	d->is_held = false;
	while ((dn = first_held(d)))
		decision_resume(dn);
}

/* Whether it waits for what b may have now. To whom b has promised a place it
 * keeps that, unless it has fallen meanwhile. */
static bool may_go_on(const struct decision *dn, const struct backend *b)
{
	if (dn->queue.is_for_user)
		return false;
	if (dn->queue.promised)
		return dn->queue.promised == b &&
		    backend_is_down(b);
	return dn->queue.backend ? dn->queue.backend == b :
	    pool_has(dn->queue.pool, b);
}

/* There may be room at the backend. Who waits for it is asked in turn, until
 * it is full; the list is taken down first, since who still has to wait comes
 * to a new one. */
void decide_wake(struct decide *d, const struct backend *b)
{
	struct decision *all = d->queue, *dn, *next;

	if (!all)
		return;
	d->queue = NULL;
	DL_FOREACH_SAFE2(all, dn, next, queue_next) {
		if (!backend_is_down(b) && decide_is_full(d, b))
			break;
		DL_DELETE2(all, dn, queue_prev, queue_next);
		DL_APPEND2(d->queue, dn, queue_prev, queue_next);
		if (may_go_on(dn, b))
			decision_resume(dn);
	}
	DL_CONCAT2(d->queue, all, queue_prev, queue_next);
}

void decide_weigh(struct decide *d, const struct backend *b)
{
	if (d->plan)
		plan_weigh(d->plan, b);
}

void decide_go_on(struct decide *d, struct str user)
{
	struct decision *all = d->queue, *dn, *next;

	d->queue = NULL;
	DL_FOREACH_SAFE2(all, dn, next, queue_next) {
		DL_DELETE2(all, dn, queue_prev, queue_next);
		DL_APPEND2(d->queue, dn, queue_prev, queue_next);
		if (dn->queue.is_for_user &&
		    (user.n == 0 || str_eq(dn->user, user)))
			decision_resume(dn);
	}
}

/* A trial of which nothing was heard is over, and somebody may have waited
 * for the end. */
bool decide_end_lease(struct decide *d, struct decision_key key)
{
	char user[USER_CANONICAL_MAX];
	struct place_session was;

	if (!place_find(d->parts.place, key.worker, key.session, &was))
		return false;
	struct backend *b = farm_find(d->parts.farm, was.backend);
	size_t n = was.user.n < sizeof user ? was.user.n : sizeof user;
	memcpy(user, was.user.p, n);
	place_release(d->parts.place, key.worker, key.session);
	if (b) {
		backend_ungranted(b, condition_key(key.worker, key.session));
		decide_wake(d, b);
	}
	moves_session_ended(d->parts.moves, (struct str){ user, n });
	return true;
}

void decide_release(struct decide *d, uint64_t worker, uint64_t session)
{
	struct decision *dn = suspended_find(d,
	    (struct decision_key){ worker, session });
	if (dn)
		forget(dn);
	(void)decide_end_lease(d, (struct decision_key){ worker, session });
}

void decide_drop_worker(struct decide *d, uint64_t worker)
{
	struct decision *dn, *next;

	DL_FOREACH_SAFE(d->suspended, dn, next)
		if (!dn->line && dn->key.worker == worker)
			forget(dn);
	place_drop_worker(d->parts.place, worker);
	moves_recheck(d->parts.moves);
	for (size_t i = 0; i < farm_n(d->parts.farm); i++) {
		struct backend *b = farm_at(d->parts.farm, i);
		/* a trial may have been of its logins: the next one */
		backend_ungranted(b, backend_condition(b)->trial);
		decide_wake(d, b);
	}
}

struct decision *decide_explain(struct decide *d,
    const struct decide_question *q, decide_line_fn *line,
    decide_explained_fn *explained, void *arg)
{
	struct decision *dn = decision_new(d, q);

	dn->line = line;
	dn->explained = explained;
	dn->explained_arg = arg;
	decision_reset(dn);
	decision_run(dn);
	/* it has become the spare one if it has come to its end */
	return d->spare == dn ? NULL : dn;
}

void decide_explain_cancel(struct decision **ep)
{
	struct decision *dn = *ep;

	if (!dn)
		return;
	*ep = NULL;
	forget(dn);
}

size_t decide_n_suspended(const struct decide *d)
{
	return d->n_suspended;
}

/* --- configuration ----------------------------------------------------------- */

/* Tables and auth change together or not at all. */
static bool configure_sources(struct decide *d, struct settings *settings,
    struct err *err)
{
	struct err again;

	if (!tables_configure(d->parts.tables, settings, err))
		return false;
	if (auth_configure(d->parts.auth, settings, err))
		return true;
	/* it was in force, so it can be again */
	if (d->plan && !tables_configure(d->parts.tables, d->plan->settings,
	    &again))
		log_note(LOG_LINE_ERROR, "table_lost", "why", "%s",
		    again.text);
	return false;
}

/* But for the time that it has waited. */
static void begin_anew(struct decision *dn)
{
	double until = dn->queue.until;

	decision_reset(dn);
	dn->queue.until = until;
	dn->is_held = true;
}

/* What they have found belongs to the old configuration. */
static void begin_all_anew(struct decide *d)
{
	struct decision *dn;

	DL_FOREACH(d->suspended, dn)
		begin_anew(dn);
}

bool decide_configure(struct decide *d, struct settings *settings,
    unsigned sessions_per_address, struct err *err)
{
	struct plan *p = plan_new(settings, sessions_per_address, err);

	if (!p)
		return false;
	begin_all_anew(d);
	bool is_good = configure_sources(d, settings, err);
	if (is_good) {
		/* nothing can fail from here on: the old plan's backends may
		 * go */
		plan_free(&d->plan);
		farm_configure(d->parts.farm, settings);
		moves_configure(d->parts.moves, settings);
		plan_join(p, d->parts.farm);
		d->plan = p;
	} else {
		plan_free(&p);
	}
	if (!d->is_held)
		decide_go(d);
	return is_good;
}

/* Who waits for a source has no pool yet, and waits on. The others choose
 * again among the new backends, by what sources have said. */
static void leave_backends(struct decide *d)
{
	struct decision *dn;

	DL_FOREACH(d->suspended, dn) {
		if (!dn->pool)
			continue;
		must(!dn->check && !dn->lookup);
		dn->kept_pool = dn->pool->conf;
		if (dn->pinned && !dn->kept_pin.n)
			dn->kept_pin = decision_note(dn,
			    backend_name(dn->pinned));
		decision_unqueue(dn);
		decision_break_promise(dn);
		dn->pool = dn->queue.pool = NULL;
		dn->backend = dn->queue.backend = NULL;
	}
}

static void join(struct decision *dn)
{
	struct decide *d = dn->decide;

	dn->is_held = true;
	dn->stage = DECIDE_BALANCE;
	dn->pool = plan_pool(d->plan, dn->kept_pool);
	dn->kept_pool = NULL;
	if (!dn->pinned)
		return;
	dn->pinned = farm_find(d->parts.farm, dn->kept_pin);
	if (!dn->pinned)
		begin_anew(dn);
}

/* Who waits on stands behind those who go on, and is in nobody's way. */
static void join_backends(struct decide *d)
{
	struct decision *waiting = NULL, *dn, *next;

	DL_FOREACH_SAFE(d->suspended, dn, next) {
		if (dn->kept_pool)
			join(dn);
		if (dn->is_held)
			continue;
		DL_DELETE(d->suspended, dn);
		DL_APPEND(waiting, dn);
	}
	DL_CONCAT(d->suspended, waiting);
}

void decide_update(struct decide *d)
{
	if (!d->plan)
		return;
	leave_backends(d);
	plan_leave(d->plan);
	farm_update(d->parts.farm);
	plan_join(d->plan, d->parts.farm);
	join_backends(d);
	if (!d->is_held)
		decide_go(d);
}

struct decide *decide_new(const struct decide_parts *parts,
    const struct decide_calls *calls, void *owner)
{
	struct decide *d = mem_alloc(sizeof *d);

	d->parts = *parts;
	d->calls = *calls;
	d->owner = owner;
	d->is_held = true;
	return d;
}

void decide_free(struct decide **dp)
{
	struct decide *d = *dp;

	if (!d)
		return;
	*dp = NULL;
	while (d->suspended)
		forget(d->suspended);
	decision_dispose(d->spare);
	plan_free(&d->plan);
	free(d);
}
