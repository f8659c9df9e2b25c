/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/route_cli.h"

#include <ev.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/load.h"
#include "backends/auth.h"
#include "backends/conf.h"
#include "backends/decide.h"
#include "backends/farm.h"
#include "backends/geo.h"
#include "backends/moves.h"
#include "backends/place.h"
#include "backends/resolve.h"
#include "backends/table.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/user.h"
#include "proxy/conf.h"

#define PATIENCE_S 10.		/* for names and sources */

static const char usage_text[] =
    "usage: mailweir route [-c FILE] USER ADDRESS [LISTENER]\n"
    "\n"
    "Tells how a login of USER from the IP address ADDRESS, through LISTENER\n"
    "(the first one), would be decided. Exits with 0 when a backend serves,\n"
    "with 1 when the login would be refused.\n";

struct run {
	struct ev_loop *loop;
	struct farm *farm;
	struct decide *decide;
	struct buf text;		/* the explanation so far */
	bool is_done;
	enum decide_verdict verdict;
};

static void on_line(void *arg, const char *stage, const char *text)
{
	struct run *r = arg;

	buf_printf(&r->text, "%-8s %s\n", stage, text);
}

static void on_explained(void *arg, const struct decide_answer *a)
{
	struct run *r = arg;

	r->is_done = true;
	r->verdict = a->verdict;
	ev_break(r->loop, EVBREAK_ALL);
}

/* SRV records have come: the question begins anew. */
static void on_names(void *owner)
{
	struct run *r = owner;

	if (!farm_is_outdated(r->farm))
		return;
	buf_clear(&r->text);
	decide_update(r->decide);
}

static void no_answer(void *owner, const struct decide_answer *a)
{
	(void)owner;
	(void)a;
}

static void no_end(void *owner, uint64_t worker, uint64_t session)
{
	(void)owner;
	(void)worker;
	(void)session;
}

static void on_geo_ready(void *owner)
{
	struct run *r = owner;

	ev_break(r->loop, EVBREAK_ALL);
}

static void on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)t;
	(void)revents;
	ev_break(loop, EVBREAK_ALL);
}

static void wait_for(struct ev_loop *loop, double seconds)
{
	ev_timer t;

	ev_now_update(loop);
	ev_timer_init(&t, on_timer, seconds, 0.);
	ev_timer_start(loop, &t);
	ev_run(loop, 0);
	ev_timer_stop(loop, &t);
}

/* While a name is being resolved the answer is to come again. */
static void explain(struct run *r, struct decide *d,
    const struct decide_question *q)
{
	double end = ev_time() + PATIENCE_S;

	do {
		buf_clear(&r->text);
		r->is_done = false;
		struct decision *e = decide_explain(d, q, on_line,
		    on_explained, r);
		if (!r->is_done)
			wait_for(r->loop, end - ev_time());
		if (!r->is_done)
			decide_explain_cancel(&e);
		if (!r->is_done || r->verdict != DECIDE_WAIT)
			return;
		wait_for(r->loop, (double)DECIDE_WAIT_MS / 1000);
	} while (ev_time() < end);
}

static int decide_and_print(struct settings *settings,
    const struct decide_question *q)
{
	const struct conf_dns *dns = conf_dns(settings);
	struct run r = { .loop = ev_loop_new(EVFLAG_NOENV), .verdict =
		DECIDE_REFUSE };
	struct err err = { "" };
	int rc = 2;

	buf_init(&r.text, 0);
	struct resolve *resolve = resolve_new(r.loop, &dns->servers,
	    dns->timeout_ms, on_names, &r, &err);
	if (!resolve)
		die("route: %s", err.text);
	struct farm *farm = r.farm = farm_new(resolve);
	struct place *place = place_new();
	struct tables *tables = tables_new(r.loop, resolve);
	struct auth *auth = auth_new(r.loop);
	struct geo *geo = geo_new(r.loop, on_geo_ready, &r);
	struct moves *moves = moves_new(r.loop, place, NULL,
	    &(struct moves_calls){ 0 }, NULL);
	struct decide *d = decide_new(&(struct decide_parts){ .loop = r.loop,
	    .place = place, .farm = farm, .tables = tables, .auth = auth,
	    .moves = moves, .geo = geo },
	    &(struct decide_calls){ .answer = no_answer, .end = no_end },
	    NULL);

	r.decide = d;
	decide_go(d);
	geo_configure(geo, conf_geoip(settings));
	while (!geo_is_ready(geo))
		ev_run(r.loop, 0);
	if (!decide_configure(d, settings, 0, &err)) {
		fprintf(stderr, "mailweir: %s\n", err.text);
	} else {
		explain(&r, d, q);
		fwrite(r.text.data + r.text.off, 1, r.text.len, stdout);
		if (!r.is_done)
			printf("%-8s no answer within %.0f s\n", "", PATIENCE_S);
		rc = r.is_done && r.verdict == DECIDE_GRANT ? 0 : 1;
	}
	decide_free(&d);
	moves_free(&moves);
	geo_free(&geo);
	auth_free(&auth);
	tables_free(&tables);
	place_free(&place);
	farm_free(&farm);
	resolve_free(&resolve);
	ev_loop_destroy(r.loop);
	buf_fini(&r.text);
	return fflush(stdout) == 0 ? rc : 2;
}

/* False: told on stderr. */
static bool make_question(const struct settings *settings, char **args,
    int n, struct decide_question *out)
{
	size_t n_listeners;
	const struct conf_listener *const *all = conf_listener_all(settings,
	    &n_listeners);

	*out = (struct decide_question){ .user = str_from(args[0]),
		.mechanism = STR("PLAIN") };
	if (!user_is_valid(out->user)) {
		fprintf(stderr, "mailweir: \"%s\" is not a user name\n",
		    args[0]);
		return false;
	}
	if (!addr_parse_ip(&out->client, str_from(args[1]))) {
		fprintf(stderr, "mailweir: \"%s\" is not an IP address\n",
		    args[1]);
		return false;
	}
	if (n == 2) {
		out->listener = str_from(n_listeners ? all[0]->name : "");
		return true;
	}
	out->listener = str_from(args[2]);
	if (conf_listener_find(settings, args[2]))
		return true;
	fprintf(stderr, "mailweir: there is no listener \"%s\"\n", args[2]);
	return false;
}

int route_cli(int argc, char **argv, const char *conf)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct decide_question q;
	struct err err;
	int c, rc = 2;

	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage_text, stdout);
			return 0;
		}
		if (c != 'c') {
			fputs(usage_text, stderr);
			return 2;
		}
		conf = optarg;
	}
	int n = argc - optind;
	if (n < 2 || n > 3) {
		fputs(usage_text, stderr);
		return 2;
	}
	struct settings *settings = load_settings(conf, &err);
	if (!settings) {
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	log_set_form(LOG_FORMAT_LOGFMT, LOG_LINE_ERROR);
	if (make_question(settings, argv + optind, n, &q))
		rc = decide_and_print(settings, &q);
	settings_unref(&settings);
	return rc;
}
