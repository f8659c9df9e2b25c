/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/filewatch.h"

#include <ev.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proxy/base/mem.h"

double filewatch_interval_s = FILEWATCH_S;

/* What tells one content from another; all zero: there is no file. */
struct look {
	dev_t dev;
	ino_t inode;
	off_t size;
	struct timespec mtime, ctime;
};

struct filewatch {
	ev_timer timer;
	struct ev_loop *loop;
	char *path;
	filewatch_fn *changed;
	void *owner;
	struct look told, latest;
};

static struct look look_at(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return (struct look){ 0 };
	return (struct look){ st.st_dev, st.st_ino, st.st_size, st.st_mtim,
		st.st_ctim };
}

static bool is_same_file(const struct look *a, const struct look *b)
{
	return a->dev == b->dev && a->inode == b->inode;
}

static bool is_same(const struct look *a, const struct look *b)
{
	return is_same_file(a, b) && a->size == b->size &&
	    a->mtime.tv_sec == b->mtime.tv_sec &&
	    a->mtime.tv_nsec == b->mtime.tv_nsec &&
	    a->ctime.tv_sec == b->ctime.tv_sec &&
	    a->ctime.tv_nsec == b->ctime.tv_nsec;
}

static void on_look(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct filewatch *w = t->data;
	struct look now = look_at(w->path);
	bool is_settled = is_same(&now, &w->latest) ||
	    (now.inode != 0 && !is_same_file(&now, &w->told));

	(void)loop;
	(void)revents;
	w->latest = now;
	if (!is_settled || is_same(&now, &w->told))
		return;
	w->told = now;
	w->changed(w->owner);
}

struct filewatch *filewatch_new(struct ev_loop *loop, const char *path,
    filewatch_fn *changed, void *owner)
{
	struct filewatch *w = mem_alloc(sizeof *w);

	w->loop = loop;
	w->path = mem_strdup(path);
	w->changed = changed;
	w->owner = owner;
	w->told = w->latest = look_at(path);
	ev_timer_init(&w->timer, on_look, filewatch_interval_s,
	    filewatch_interval_s);
	w->timer.data = w;
	ev_timer_start(loop, &w->timer);
	return w;
}

void filewatch_free(struct filewatch **wp)
{
	struct filewatch *w = *wp;

	if (!w)
		return;
	*wp = NULL;
	ev_timer_stop(w->loop, &w->timer);
	free(w->path);
	free(w);
}
