/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/parent.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "admin/child.h"
#include "admin/conf.h"
#include "admin/console_socket.h"
#include "admin/load.h"
#include "admin/notify.h"
#include "admin/privileges.h"
#include "admin/sockets.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/bundle.h"
#include "proxy/conf.h"
#include "proxy/ipc.h"

#define KILL_AFTER_S 5.		/* behind the grace that children keep */
#define CONTROL_LONGER_MS 10000	/* control's grace is longer than workers' */

enum parent_stage {
	PARENT_STARTING,	/* not all have said READY yet */
	PARENT_RUNNING,
	PARENT_RELOADING,	/* the same, after a SIGHUP */
	PARENT_STOPPING,
};

struct parent {
	enum parent_stage stage;
	const char *path;
	struct settings *settings;
	uint64_t generation;
	bool is_refused;		/* a child said FAILED to it */
	struct err refusal;		/* and why */
	uint64_t reload_order;		/* RELOAD to be answered, or 0 */
	struct privileges privileges;
	int program;			/* this one, for children */
	struct sockets *sockets;
	struct console_socket *console;
	uint64_t started_s;		/* Unix time */
	int log_fd;			/* for children; ours is a duplicate */
	enum log_kind log_kind;
	struct child control;
	struct child *workers;
	unsigned n_workers;
	int exit_status;
	ev_signal hup, usr1, term, interrupt;
	ev_timer late;			/* children that do not end are killed */
};

/* --- what children are told ------------------------------------------------ */

static void send_log(struct parent *p, struct link *l)
{
	link_send_log(l, &(struct msg_log){
		.kind = p->log_kind == LOG_KIND_SYSLOG ? STR("syslog") :
		    STR("file"),
		.fd = p->log_fd,
	});
}

static void send_admin(struct parent *p, struct link *l, unsigned n_peers)
{
	link_send_admin(l, &(struct msg_admin){
		.started_s = p->started_s,
		.peers = n_peers,
		.fd = console_socket_fd(p->console) });
}

static void send_listeners(struct parent *p, const struct child *worker)
{
	sockets_send(p->sockets, worker->index, worker->link);
	link_send_listeners_end(worker->link, &(struct msg_listeners_end){
		.generation = p->generation });
}

/* A link between control and this worker, when both are there. */
static void join(struct parent *p, const struct child *worker)
{
	int fds[2];

	if (!p->control.link || !worker->link)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		log_note(LOG_LINE_ERROR, "peer", "why", "%s", strerror(errno));
		return;
	}
	link_send_peer(p->control.link, &(struct msg_peer){
		.index = worker->index, .fd = fds[0] });
	link_send_peer(worker->link, &(struct msg_peer){
		.index = worker->index, .fd = fds[1] });
	close(fds[0]);
	close(fds[1]);
}

static void on_control_started(struct child *c)
{
	struct parent *p = c->owner;
	unsigned n_peers = 0;

	for (unsigned i = 0; i < p->n_workers; i++)
		n_peers += p->workers[i].link != NULL;
	send_log(p, c->link);
	send_admin(p, c->link, n_peers);
	bundle_send(p->settings, p->generation, BUNDLE_FOR_CONTROL,
	    c->link);
	for (unsigned i = 0; i < p->n_workers; i++)
		join(p, &p->workers[i]);
}

static void on_worker_started(struct child *c)
{
	struct parent *p = c->owner;

	send_log(p, c->link);
	send_listeners(p, c);
	join(p, c);
}

/* --- stop -------------------------------------------------------------------- */

static bool has_worker(const struct parent *p)
{
	for (unsigned i = 0; i < p->n_workers; i++)
		if (p->workers[i].pid)
			return true;
	return false;
}

static void on_late(struct ev_loop *loop, ev_timer *w, int events)
{
	struct parent *p = w->data;

	(void)loop;
	(void)events;
	if (!has_worker(p))
		child_kill(&p->control);
	for (unsigned i = 0; i < p->n_workers; i++)
		child_kill(&p->workers[i]);
}

/* Control goes last: the ends of sessions are told to it. */
static void go_on_stopping(struct parent *p)
{
	if (has_worker(p))
		return;
	if (p->control.link)
		link_send_stop(p->control.link, &(struct msg_stop){ 0 });
	if (!p->control.pid)
		ev_break(EV_DEFAULT_ EVBREAK_ALL);
}

static void stop(struct parent *p, uint64_t grace_ms)
{
	p->stage = PARENT_STOPPING;
	notify_stopping();
	log_note(LOG_LINE_INFO, "stop", "grace", "%ju ms",
	    (uintmax_t)grace_ms);
	/* or the kernel would go on taking connections for nobody */
	sockets_free(&p->sockets);
	for (unsigned i = 0; i < p->n_workers; i++) {
		ev_timer_stop(EV_DEFAULT_ &p->workers[i].timer);
		if (p->workers[i].link)
			link_send_stop(p->workers[i].link,
			    &(struct msg_stop){ .grace_ms = grace_ms });
	}
	ev_timer_stop(EV_DEFAULT_ &p->control.timer);
	if (p->control.link)
		link_send_stop(p->control.link, &(struct msg_stop){
			.grace_ms = grace_ms + CONTROL_LONGER_MS });
	ev_timer_stop(EV_DEFAULT_ &p->late);
	ev_timer_set(&p->late, (double)grace_ms / 1000. + KILL_AFTER_S,
	    KILL_AFTER_S);
	ev_timer_start(EV_DEFAULT_ &p->late);
	go_on_stopping(p);
}

static void on_stop_signal(struct ev_loop *loop, ev_signal *w, int events)
{
	struct parent *p = w->data;
	bool is_again = p->stage == PARENT_STOPPING;

	(void)loop;
	(void)events;
	stop(p, is_again ? 0 : conf_main(p->settings)->shutdown_grace_ms);
}

/* --- log --------------------------------------------------------------------- */

static bool open_log(struct parent *p, const struct settings *s,
    struct err *err)
{
	const struct conf_log *conf = conf_log(s);
	enum log_kind kind;
	int fd = log_open(conf->to, &kind, err);

	if (fd < 0)
		return false;
	if (p->log_fd >= 0)
		close(p->log_fd);
	p->log_fd = fd;
	p->log_kind = kind;
	log_set_output(fcntl(fd, F_DUPFD_CLOEXEC, 3), kind);
	log_set_form(conf->format, conf->level);
	return true;
}

static void send_log_to_all(struct parent *p)
{
	if (p->control.link)
		send_log(p, p->control.link);
	for (unsigned i = 0; i < p->n_workers; i++)
		if (p->workers[i].link)
			send_log(p, p->workers[i].link);
}

static void on_usr1(struct ev_loop *loop, ev_signal *w, int events)
{
	struct parent *p = w->data;
	struct err err;

	(void)loop;
	(void)events;
	if (!open_log(p, p->settings, &err)) {
		log_note(LOG_LINE_ERROR, "log", "why", "%s", err.text);
		return;
	}
	send_log_to_all(p);
	log_note(LOG_LINE_INFO, "log", "to", "%s", conf_log(p->settings)->to);
}

/* --- reload ------------------------------------------------------------------ */

static void log_warning(void *arg, const char *text)
{
	(void)arg;
	log_note(LOG_LINE_WARN, "settings", "why", "%s", text);
}

static void log_fixed(void *arg, const char *name)
{
	(void)arg;
	log_note(LOG_LINE_WARN, "settings", "why",
	    "%s: a reload does not change it; start the program anew", name);
}

/* True: the new settings are in force here, and were sent. */
static bool reload(struct parent *p, struct err *err)
{
	struct settings *fresh = load_settings(p->path, err);

	if (!fresh)
		return false;
	struct console_socket *console = console_socket_open(
	    conf_admin(fresh), p->console, err);
	if (!console || !load_give(fresh, &p->privileges, err) ||
	    !sockets_bind(p->sockets, fresh, err)) {
		console_socket_free(&console);
		settings_unref(&fresh);
		return false;
	}
	console_socket_commit(&p->console, console);
	settings_warnings(fresh, log_warning, NULL);
	settings_fixed_changes(p->settings, fresh, log_fixed, NULL);
	if (!open_log(p, fresh, err))
		log_note(LOG_LINE_ERROR, "log", "why", "%s", err->text);
	settings_unref(&p->settings);
	p->settings = fresh;
	p->generation++;
	send_log_to_all(p);
	if (p->control.link) {
		send_admin(p, p->control.link, 0);
		bundle_send(p->settings, p->generation, BUNDLE_FOR_CONTROL,
		    p->control.link);
	}
	for (unsigned i = 0; i < p->n_workers; i++)
		if (p->workers[i].link)
			send_listeners(p, &p->workers[i]);
	return true;
}

/* Tells control how the reload ended that it has ordered. */
static void answer_reload(struct parent *p, const char *why)
{
	if (p->reload_order && p->control.link)
		link_send_reloaded(p->control.link, &(struct msg_reloaded){
			.number = p->reload_order,
			.generation = p->generation,
			.text = str_from(why) });
	p->reload_order = 0;
}

/* order: the RELOAD to be answered; 0: it was a signal. */
static void reload_or_say_why(struct parent *p, uint64_t order)
{
	struct err err;

	if (p->stage == PARENT_STOPPING)
		return;
	p->reload_order = order ? order : p->reload_order;
	notify_reloading();
	if (!reload(p, &err)) {
		log_note(LOG_LINE_ERROR, "reload", "why", "%s", err.text);
		notify_ready("Reload refused, see the log");
		if (order)
			answer_reload(p, err.text);
		return;
	}
	p->is_refused = false;
	if (p->stage == PARENT_RUNNING)
		p->stage = PARENT_RELOADING;
}

static void on_hup(struct ev_loop *loop, ev_signal *w, int events)
{
	(void)loop;
	(void)events;
	reload_or_say_why(w->data, 0);
}

/* --- children's news ------------------------------------------------------- */

static void log_ready(const struct parent *p, const char *event)
{
	struct log_line l;

	if (!log_begin(&l, LOG_LINE_INFO, event))
		return;
	log_u64(&l, "generation", p->generation);
	log_u64(&l, "workers", p->n_workers);
	log_end(&l);
}

static void check_ready(struct parent *p)
{
	char status[64];

	if (p->stage != PARENT_STARTING && p->stage != PARENT_RELOADING)
		return;
	for (unsigned i = 0; i < p->n_workers; i++)
		if (p->workers[i].ready < p->generation)
			return;
	if (!p->is_refused)
		log_ready(p, p->stage == PARENT_STARTING ? "ready" : "reload");
	p->stage = PARENT_RUNNING;
	answer_reload(p, p->is_refused ? p->refusal.text : "");
	snprintf(status, sizeof status, "%u workers, configuration %ju%s",
	    p->n_workers, (uintmax_t)p->generation,
	    p->is_refused ? " (refused by a child)" : "");
	notify_ready(status);
}

/* The parent tried the same before, so this is most likely our bug; what runs
 * goes on with the configuration that it has, and who has none is told to
 * stop. */
static void on_failed(struct parent *p, const struct child *c,
    const struct msg_failed *m)
{
	log_note(LOG_LINE_ERROR,
	    p->stage == PARENT_RELOADING ? "reload" : "settings", "why",
	    "%s %u: %.*s", c->role, c->index, STR_ARG(m->text));
	p->is_refused = true;
	err_set(&p->refusal, "%s %u: %.*s", c->role, c->index,
	    STR_ARG(m->text));
	if (p->stage == PARENT_STARTING) {
		p->exit_status = EXIT_FAILURE;
		stop(p, 0);
	} else if (c == &p->control && p->stage == PARENT_RELOADING) {
		/* it does not hand them on: the workers will say nothing */
		p->stage = PARENT_RUNNING;
		answer_reload(p, p->refusal.text);
		notify_ready("Reload refused, see the log");
	}
}

/* Who may order this is control alone: a worker is not trusted. */
static void on_order(struct parent *p, const struct msg *m)
{
	if (m->type == MSG_RELOAD) {
		reload_or_say_why(p, m->reload.number);
	} else if (m->type == MSG_SHUTDOWN) {
		stop(p, m->shutdown.has_grace ? m->shutdown.grace_ms :
		    conf_main(p->settings)->shutdown_grace_ms);
	}
}

static void on_message(struct child *c, const struct msg *m)
{
	struct parent *p = c->owner;

	if (c == &p->control)
		on_order(p, m);
	if (m->type == MSG_READY) {
		c->ready = m->ready.generation;
	} else if (m->type == MSG_FAILED) {
		c->ready = m->failed.generation;
		on_failed(p, c, &m->failed);
	}
	check_ready(p);
}

static void on_ended(struct child *c)
{
	struct parent *p = c->owner;

	if (p->stage == PARENT_STOPPING) {
		go_on_stopping(p);
	} else if (p->stage == PARENT_STARTING && WIFEXITED(c->status) &&
	    WEXITSTATUS(c->status) == CHILD_EXIT_SETUP) {
		p->exit_status = EXIT_FAILURE;	/* it said why on stderr */
		stop(p, 0);
	} else {
		child_restart(c);
	}
}

/* --- begin ------------------------------------------------------------------- */

static unsigned count_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) < 0)
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

/* A descriptor of ours must never become 0, 1 or 2; nothing reads stdin. */
static void tidy_stdio(void)
{
	int null = open("/dev/null", O_RDWR);

	while (null >= 0 && null < 2)
		null = dup(null);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		if (null > 2)
			close(null);
	}
}

static void watch(struct parent *p, ev_signal *w, int number,
    void (*cb)(struct ev_loop *, ev_signal *, int))
{
	ev_signal_init(w, cb, number);
	w->data = p;
	ev_signal_start(EV_DEFAULT_ w);
}

static void start_children(struct parent *p)
{
	p->workers = mem_alloc(p->n_workers * sizeof *p->workers);
	for (unsigned i = 0; i < p->n_workers; i++)
		p->workers[i] = (struct child){
			.role = "worker",
			.index = i,
			.n_workers = p->n_workers,
			.program = p->program,
			.privileges = &p->privileges,
			.on_started = on_worker_started,
			.on_message = on_message,
			.on_ended = on_ended,
			.owner = p,
		};
	p->control = p->workers[0];
	p->control.role = "control";
	p->control.on_started = on_control_started;
	child_start(&p->control);
	for (unsigned i = 0; i < p->n_workers; i++)
		child_start(&p->workers[i]);
}

/* Without an installation there may be no account of the default's name: then
 * it is nobody. Who names an account means that one. */
static bool find_account(struct parent *p, const struct conf_main *conf,
    struct err *err)
{
	if (privileges_find(&p->privileges, conf->user, err))
		return true;
	if (settings_given(p->settings, conf, "user") ||
	    !privileges_find(&p->privileges, "nobody", NULL))
		return false;
	log_note(LOG_LINE_WARN, "settings", "why",
	    "%s; running as nobody until then", err->text);
	return true;
}

static bool prepare(struct parent *p, struct err *err)
{
	p->settings = load_settings(p->path, err);
	if (!p->settings)
		return false;
	const struct conf_main *conf = conf_main(p->settings);
	if (!open_log(p, p->settings, err) || !find_account(p, conf, err) ||
	    !load_give(p->settings, &p->privileges, err))
		return false;
	p->program = child_open_program();
	if (p->program < 0)
		return err_set(err, "/proc/self/exe: %s", strerror(errno));
	settings_warnings(p->settings, log_warning, NULL);
	p->n_workers = conf->workers ? conf->workers : count_cpus();
	p->sockets = sockets_new(p->n_workers);
	struct console_socket *console = console_socket_open(
	    conf_admin(p->settings), NULL, err);
	if (!console)
		return false;
	console_socket_commit(&p->console, console);
	return sockets_bind(p->sockets, p->settings, err);
}

int parent_main(const char *path)
{
	struct parent p = { .path = path, .generation = 1, .log_fd = -1,
		.program = -1, .started_s = (uint64_t)time(NULL) };
	struct err err;

	tidy_stdio();
	privileges_raise_nofile();
	log_set_role("parent");
	signal(SIGPIPE, SIG_IGN);
	if (!ev_default_loop(0))
		die("no event loop");
	if (prepare(&p, &err)) {
		ev_init(&p.late, on_late);
		p.late.data = &p;
		watch(&p, &p.hup, SIGHUP, on_hup);
		watch(&p, &p.usr1, SIGUSR1, on_usr1);
		watch(&p, &p.term, SIGTERM, on_stop_signal);
		watch(&p, &p.interrupt, SIGINT, on_stop_signal);
		start_children(&p);
		ev_run(EV_DEFAULT_ 0);
		for (unsigned i = 0; i < p.n_workers; i++)
			child_fini(&p.workers[i]);
		child_fini(&p.control);
		log_note(LOG_LINE_INFO, "end", "status", "%d", p.exit_status);
	} else {
		fprintf(stderr, "mailweir: %s\n", err.text);
		p.exit_status = EXIT_FAILURE;
	}
	free(p.workers);
	sockets_free(&p.sockets);
	console_socket_free(&p.console);
	settings_unref(&p.settings);
	if (p.log_fd >= 0)
		close(p.log_fd);
	if (p.program >= 0)
		close(p.program);
	ev_loop_destroy(EV_DEFAULT);
	return p.exit_status;
}
