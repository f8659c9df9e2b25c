/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/console_socket.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/conf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"

#define BACKLOG 64

struct console_socket {
	int fd;				/* -1: there is none */
	char *path, *temporary;		/* temporary: NULL when committed */
	dev_t device;			/* what was bound */
	ino_t inode;
};

static void address_of(const char *path, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	must(strlen(path) < sizeof out->sun_path);
	strcpy(out->sun_path, path);
}

/* Whether the file is the socket that s bound. */
static bool is_ours(const struct console_socket *s, const char *path)
{
	struct stat st;

	return s && s->fd >= 0 && lstat(path, &st) == 0 &&
	    st.st_dev == s->device && st.st_ino == s->inode;
}

/* Whether a socket may be put at path. */
static bool is_free(const char *path, struct err *err)
{
	struct sockaddr_un address;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ||
		    err_set(err, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, "%s is there and is no socket", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, "socket: %s", strerror(errno));
	address_of(path, &address);
	int rc = connect(fd, (struct sockaddr *)&address, sizeof address);
	int why = errno;
	close(fd);
	if (rc < 0 && (why == ECONNREFUSED || why == ENOENT))
		return true;	/* whose it was is dead */
	if (rc == 0 || why == EAGAIN)
		return err_set(err, "%s: another process answers there", path);
	return err_set(err, "%s: %s", path, strerror(why));
}

/* The folder of path, when it is missing: without systemd nobody makes it. */
static void make_folder(const char *path)
{
	char *folder = mem_strdup(path), *slash = strrchr(folder, '/');

	if (slash && slash != folder) {
		*slash = '\0';
		(void)mkdir(folder, 0755);	/* bind() says what is wrong */
	}
	free(folder);
}

static bool find_group(const char *name, gid_t *out, struct err *err)
{
	const struct group *g;

	*out = (gid_t)-1;	/* chown() changes nothing then */
	if (!name[0])
		return true;
	errno = 0;
	g = getgrnam(name);
	if (!g)
		return err_set(err, "group \"%.80s\": %s", name,
		    errno ? strerror(errno) : "there is none of this name");
	*out = g->gr_gid;
	return true;
}

static bool bind_temporary(struct console_socket *s,
    const struct conf_admin *conf, gid_t group, struct err *err)
{
	mode_t mode = (mode_t)strtoul(conf->mode, NULL, 8);
	struct sockaddr_un address;
	struct stat st;

	address_of(s->temporary, &address);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return err_set(err, "socket: %s", strerror(errno));
	unlink(s->temporary);
	mode_t old = umask(~mode & 0777);
	int rc = bind(s->fd, (struct sockaddr *)&address, sizeof address);
	umask(old);
	if (rc < 0)
		return err_set(err, "%s: %s", s->path, strerror(errno));
	if (lchown(s->temporary, (uid_t)-1, group) < 0)
		return err_set(err, "%s: group \"%.80s\": %s", s->path,
		    conf->group, strerror(errno));
	if (lstat(s->temporary, &st) < 0 || listen(s->fd, BACKLOG) < 0)
		return err_set(err, "%s: %s", s->path, strerror(errno));
	s->device = st.st_dev;
	s->inode = st.st_ino;
	return true;
}

struct console_socket *console_socket_open(const struct conf_admin *conf,
    const struct console_socket *was, struct err *err)
{
	struct console_socket *s = mem_alloc(sizeof *s);
	gid_t group;

	s->fd = -1;
	if (!conf->socket[0])
		return s;
	s->path = mem_strdup(conf->socket);
	s->temporary = mem_printf("%s.new", conf->socket);
	make_folder(s->path);
	if ((is_ours(was, s->path) || is_free(s->path, err)) &&
	    find_group(conf->group, &group, err) &&
	    bind_temporary(s, conf, group, err))
		return s;
	err_prefix(err, "%s: admin.socket", conf->where);
	console_socket_free(&s);
	return NULL;
}

void console_socket_commit(struct console_socket **now,
    struct console_socket *fresh)
{
	struct console_socket *was = *now;

	if (fresh->temporary &&
	    rename(fresh->temporary, fresh->path) < 0) {
		log_note(LOG_LINE_ERROR, "admin_socket", "why", "%s: %s",
		    fresh->path, strerror(errno));
	} else {
		free(fresh->temporary);
		fresh->temporary = NULL;
	}
	*now = fresh;
	console_socket_free(&was);
}

void console_socket_free(struct console_socket **sp)
{
	struct console_socket *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	const char *file = s->temporary ? s->temporary : s->path;
	if (file && is_ours(s, file))
		unlink(file);
	if (s->fd >= 0)
		close(s->fd);
	free(s->path);
	free(s->temporary);
	free(s);
}

int console_socket_fd(const struct console_socket *s)
{
	return s->fd;
}
