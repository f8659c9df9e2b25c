/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define READ_BYTES (1 << 20)

static bool read_all(int fd, char *text, size_t n, const char *path,
    const atomic_bool *stop, size_t *n_out, struct err *err)
{
	size_t at = 0;

	while (at < n) {
		size_t left = n - at;
		ssize_t got = read(fd, text + at,
		    left < READ_BYTES ? left : READ_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(err, "%s: %s", path, strerror(errno));
		if (got == 0)
			break;	/* it was cut: read_open() sees that */
		if (stop && atomic_load(stop))
			return err_set(err, "stopped");
		at += (size_t)got;
	}
	*n_out = at;
	return true;
}

static bool read_open(int fd, const char *path, const char *too_large,
    const atomic_bool *stop, char **text_out, size_t *n_out, struct err *err)
{
	struct stat before, after;

	if (fstat(fd, &before) < 0)
		return err_set(err, "%s: %s", path, strerror(errno));
	if (!S_ISREG(before.st_mode))
		return err_set(err, "%s: not a file; expected a text file",
		    path);
	if (before.st_size > (off_t)TEXTFILE_MAX_BYTES)
		return err_set(err, "%s: %lld bytes; expected %lld at most, "
		    "or %s", path, (long long)before.st_size,
		    (long long)TEXTFILE_MAX_BYTES, too_large);
	*text_out = mem_alloc((size_t)before.st_size + 1);
	if (!read_all(fd, *text_out, (size_t)before.st_size, path, stop,
	    n_out, err))
		return false;
	if (fstat(fd, &after) < 0 || after.st_size != before.st_size ||
	    after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
	    after.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
		return err_set(err, "%s: changed while it was read", path);
	return true;
}

bool textfile_read(const char *path, const char *too_large,
    const atomic_bool *stop, char **text_out, size_t *n_out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_set(err, "%s: %s", path, strerror(errno));
	*text_out = NULL;
	bool is_good = read_open(fd, path, too_large, stop, text_out, n_out,
	    err);
	close(fd);
	if (!is_good) {
		free(*text_out);
		*text_out = NULL;
	}
	return is_good;
}
