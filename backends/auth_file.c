/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/*
 * Driver file: users and hashes in a passwd file. To hash a password takes
 * tens of milliseconds by design, so threads do it, and what waits for them is
 * bounded. A user who is not there costs the same: the password is hashed
 * against another line, and what comes out is not looked at.
 *
 * The file is read by a thread, too. Until the first time checks wait; later
 * the old content serves until the new one is there, and for as long as the
 * new one is bad.
 */
#include <crypt.h>
#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <utlist.h>

#include "backends/auth.h"
#include "backends/blocker.h"
#include "backends/conf.h"
#include "backends/fileload.h"
#include "backends/passwd.h"
#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define WAITING_PER_THREAD 100	/* passwords to be hashed */

struct file {
	const struct conf_auth *conf;
	bool folds;
	struct blocker *blocker;
	struct fileload *load;
	struct passwd *passwd;		/* in use; NULL: none yet */
	struct err why;			/* there is none */
	bool is_loaded;			/* for the first time, or in vain */
	struct check *early;		/* wait for the first time */
	size_t n_early;
	/* What the thread made: its own until load_end(). */
	struct passwd *loaded;
	struct err load_error;
	double seconds;
};

enum outcome { FITS, DIFFERS, BROKEN };

/* All but the arena is in the arena. */
struct check {
	struct check *prev, *next;
	struct blocker_task task;
	struct arena *arena;
	struct auth_request *request;
	bool is_early;			/* in the list, and not a task yet */
	bool is_known;
	struct passwd_user user;	/* of the file, copied */
	struct str password;
	enum outcome outcome;
};

#define CHECK_OF(t) \
	((struct check *)(void *)((char *)(t) - offsetof(struct check, task)))

/* --- a password ----------------------------------------------------------- */

static void answer(struct auth_request *r, enum auth_verdict verdict,
    const char *why)
{
	auth_finish(r, &(struct auth_answer){ .verdict = verdict,
	    .why = why });
}

static void answer_ok(struct auth_request *r, const struct passwd_user *u)
{
	auth_finish(r, &(struct auth_answer){ .verdict = AUTH_OK,
	    .user = u->as, .pool = u->pool, .backend = u->backend });
}

/* A password that crypt(3) cannot take whole fits nothing. */
static enum outcome compare(struct str password, struct str hash)
{
	struct crypt_data *d = mem_alloc(sizeof *d);
	bool is_whole = memchr(password.p, 0, password.n) == NULL;

	errno = 0;
	const char *got = crypt_rn(password.p, hash.p, d, sizeof *d);
	enum outcome outcome = !got && errno != ERANGE ? BROKEN :
	    got && is_whole && strlen(got) == hash.n &&
	    mem_equal(got, hash.p, hash.n) ? FITS : DIFFERS;
	mem_wipe(d, sizeof *d);
	free(d);
	return outcome;
}

static void check_run(struct blocker_task *t)
{
	struct check *c = CHECK_OF(t);

	c->outcome = compare(c->password, c->user.hash);
}

static void check_free(struct check *c)
{
	struct arena *a = c->arena;

	arena_free(&a);
}

static void check_end(struct blocker_task *t, bool is_cancelled)
{
	struct check *c = CHECK_OF(t);

	if (is_cancelled) {
		check_free(c);
		return;
	}
	if (!c->is_known)
		answer(c->request, AUTH_DENIED, "no such user");
	else if (c->outcome == FITS)
		answer_ok(c->request, &c->user);
	else if (c->outcome == DIFFERS)
		answer(c->request, AUTH_DENIED, "wrong password");
	else
		answer(c->request, AUTH_FAILED, "the hash is of no use to "
		    "crypt(3)");
	check_free(c);
}

static struct check *check_new(struct auth_request *r,
    const struct passwd_user *u, bool is_known)
{
	size_t n = r->login.password.n + u->hash.n + u->pool.n +
	    u->backend.n + u->as.n;
	struct arena *a = arena_new(n + sizeof(struct check) + 500);
	struct check *c = arena_alloc(a, sizeof *c);

	must(c);
	c->arena = a;
	c->request = r;
	c->is_known = is_known;
	c->password = arena_str(a, r->login.password);
	c->user.hash = arena_str(a, u->hash);
	c->user.pool = arena_str(a, u->pool);
	c->user.backend = arena_str(a, u->backend);
	c->user.as = arena_str(a, u->as);
	must(c->user.as.p);
	c->task = (struct blocker_task){ .run = check_run, .end = check_end };
	return c;
}

static void hash_password(struct file *f, struct auth_request *r,
    const struct passwd_user *u, bool is_known)
{
	if (blocker_n_waiting(f->blocker) >=
	    (size_t)f->conf->threads * WAITING_PER_THREAD) {
		answer(r, AUTH_FAILED, "too many passwords wait for their "
		    "check");
		return;
	}
	struct check *c = check_new(r, u, is_known);
	r->state = c;
	if (!blocker_submit(f->blocker, &c->task)) {
		check_free(c);
		answer(r, AUTH_FAILED, "no thread to hash passwords");
	}
}

static void check_now(struct file *f, struct auth_request *r)
{
	struct passwd_user u = { .hash = STR_NONE };

	if (!f->passwd) {
		answer(r, AUTH_FAILED, f->why.text);
		return;
	}
	bool is_known = passwd_find(f->passwd, r->login.canonical,
	    str_from(f->conf->default_domain), &u);
	if (r->login.is_proven) {
		if (is_known)
			answer_ok(r, &u);
		else
			answer(r, AUTH_DENIED, "no such user");
		return;
	}
	if (!u.hash.n) {
		is_known = false;	/* or locked, which is no better */
		u.hash = passwd_any_hash(f->passwd, r->login.canonical);
	}
	if (u.hash.n && r->login.password.n)
		hash_password(f, r, &u, is_known);
	else
		answer(r, AUTH_DENIED, "no such user");
}

/* --- the file ------------------------------------------------------------- */

static void log_loaded(const struct file *f)
{
	struct log_line l;

	if (f->loaded ? !log_begin(&l, LOG_LINE_INFO, "auth_loaded") :
	    !log_begin(&l, LOG_LINE_ERROR, "auth_refused"))
		return;
	log_text(&l, "driver", "file");
	if (f->loaded) {
		log_u64(&l, "users", passwd_n(f->loaded));
		log_seconds(&l, "after", f->seconds);
	} else {
		log_text(&l, "why", f->load_error.text);
		log_text(&l, "kept", f->passwd ? "old" : "none");
	}
	log_end(&l);
}

static void early_end(struct file *f, struct check *c)
{
	DL_DELETE(f->early, c);
	f->n_early--;
	check_free(c);
}

/* In the thread. */
static void load(void *owner, const atomic_bool *stop)
{
	struct file *f = owner;
	double began = clock_now();

	f->loaded = passwd_load(f->conf->path, f->folds, stop,
	    &f->load_error);
	f->seconds = clock_now() - began;
}

static void load_end(void *owner, bool was_run)
{
	struct file *f = owner;
	struct check *c;

	if (!was_run)
		err_set(&f->load_error, "%s: no thread to read it",
		    f->conf->path);
	log_loaded(f);
	f->is_loaded = true;
	if (f->loaded) {
		passwd_free(&f->passwd);
		f->passwd = f->loaded;
		f->loaded = NULL;
	} else {
		f->why = f->load_error;
	}
	while ((c = f->early)) {
		struct auth_request *r = c->request;
		early_end(f, c);
		check_now(f, r);
	}
}

static const struct fileload_owner loader = { load, load_end };

/* --- the driver ----------------------------------------------------------- */

static bool is_folding(const struct conf_auth *conf)
{
	return conf->canonical_case == USER_CASE_LOWER;
}

static void *file_new(const struct settings *settings,
    const struct conf_auth *conf, struct ev_loop *loop, struct err *err)
{
	struct file *f = mem_alloc(sizeof *f);

	(void)settings;
	(void)err;
	f->conf = conf;
	f->folds = is_folding(conf);
	f->blocker = blocker_new(loop, conf->threads);
	f->load = fileload_new(loop, conf->path, &loader, f);
	return f;
}

static void file_check(void *driver, struct auth_request *r)
{
	struct passwd_user nobody = { .hash = STR_NONE };
	struct file *f = driver;

	if (f->is_loaded) {
		check_now(f, r);
		return;
	}
	if (f->n_early >= (size_t)f->conf->threads * WAITING_PER_THREAD) {
		answer(r, AUTH_FAILED, "too many logins wait for the passwd "
		    "file");
		return;
	}
	struct check *c = check_new(r, &nobody, false);
	c->is_early = true;
	r->state = c;
	DL_APPEND(f->early, c);
	f->n_early++;
}

static void file_cancel(void *driver, struct auth_request *r)
{
	struct file *f = driver;
	struct check *c = r->state;

	if (c->is_early)
		early_end(f, c);
	else
		blocker_cancel(f->blocker, &c->task);
}

static void file_free(void *driver)
{
	struct file *f = driver;

	must(!f->early);
	fileload_free(&f->load);
	blocker_free(&f->blocker);
	passwd_free(&f->loaded);
	passwd_free(&f->passwd);
	free(f);
}

/* --- before the start ----------------------------------------------------- */

struct test {
	const struct settings *settings;
	const char *path;
	struct err *err;
};

static bool test_user(void *arg, const struct passwd_user *u, unsigned line)
{
	struct test *t = arg;
	char *pool = mem_str(u->pool), *backend = mem_str(u->backend);
	bool is_good = true;

	if (pool[0] && !conf_pool_find(t->settings, pool))
		is_good = err_set(t->err, "%s:%u: \"%.80s\" is no pool",
		    t->path, line, pool);
	else if (backend[0] && !conf_backend_find(t->settings, backend))
		is_good = err_set(t->err, "%s:%u: \"%.80s\" is no backend",
		    t->path, line, backend);
	free(pool);
	free(backend);
	return is_good;
}

static bool file_test(const struct settings *settings,
    const struct conf_auth *conf, struct err *err)
{
	struct passwd *p = passwd_load(conf->path, is_folding(conf), NULL,
	    err);
	struct test t = { settings, conf->path, err };

	if (!p)
		return false;
	bool is_good = passwd_users(p, test_user, &t);
	passwd_free(&p);
	return is_good;
}

const struct auth_kind auth_file = {
	.name = "file",
	.has_timeout = false,	/* what takes time is our own work */
	.new = file_new,
	.check = file_check,
	.cancel = file_cancel,
	.free = file_free,
	.test = file_test,
};
