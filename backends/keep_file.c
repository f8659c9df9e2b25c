/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/keep_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backends/keep.h"
#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define HEAD "mailweir-state 1"

/* --- form ------------------------------------------------------------------ */

static void put_quoted(struct buf *out, struct str s)
{
	buf_puts(out, "\"");
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\x%02x", c);
		else
			buf_append(out, &s.p[i], 1);
	}
	buf_puts(out, "\"");
}

void keep_file_begin(struct buf *out)
{
	buf_puts(out, HEAD "\n");
}

void keep_file_put(struct buf *out, const char *kind, struct str name,
    const char *key, struct str value)
{
	buf_printf(out, "%s ", kind);
	put_quoted(out, name);
	buf_printf(out, " %s ", key);
	put_quoted(out, value);
	buf_puts(out, "\n");
}

void keep_file_end(struct buf *out, size_t n_records)
{
	buf_printf(out, "end %zu\n", n_records);
}

/* --- reading ----------------------------------------------------------------- */

/* A word and the space behind it, or the end of the line. */
static bool read_word(struct str *rest, char out[KEEP_WORD_MAX + 1])
{
	struct str word = str_split(*rest, ' ', rest);

	if (word.n == 0 || word.n > KEEP_WORD_MAX)
		return false;
	for (size_t i = 0; i < word.n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-",
		    word.p[i]))
			return false;
	memcpy(out, word.p, word.n);
	out[word.n] = '\0';
	return true;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	    c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash. */
static bool read_escape(struct str *rest, char *out)
{
	if (rest->n >= 1 && (*rest->p == '"' || *rest->p == '\\')) {
		*out = *rest->p;
		*rest = str_skip(*rest, 1);
		return true;
	}
	if (rest->n < 3 || *rest->p != 'x' || hex(rest->p[1]) < 0 ||
	    hex(rest->p[2]) < 0)
		return false;
	*out = (char)(hex(rest->p[1]) << 4 | hex(rest->p[2]));
	*rest = str_skip(*rest, 3);
	return *out != '\0';
}

static bool read_quoted(struct str *rest, char out[KEEP_TEXT_MAX],
    struct str *text_out)
{
	size_t n = 0;

	if (!str_starts(*rest, STR("\"")))
		return false;
	*rest = str_skip(*rest, 1);
	while (rest->n && *rest->p != '"') {
		char c = *rest->p;

		*rest = str_skip(*rest, 1);
		if (n == KEEP_TEXT_MAX || (c == '\\' &&
		    !read_escape(rest, &c)))
			return false;
		out[n++] = c;
	}
	if (!rest->n)
		return false;
	*rest = str_skip(*rest, 1);
	if (rest->n) {
		if (*rest->p != ' ')
			return false;
		*rest = str_skip(*rest, 1);
	}
	*text_out = (struct str){ out, n };
	return true;
}

struct reading {
	keep_file_record_fn *record;
	void *arg;
	size_t n;
	bool has_end;
};

static bool read_line(struct reading *r, struct str line, struct err *err)
{
	char kind[KEEP_WORD_MAX + 1], key[KEEP_WORD_MAX + 1];
	char name_room[KEEP_TEXT_MAX], value_room[KEEP_TEXT_MAX], end[32];
	struct str name, value, rest = line;

	if (r->has_end)
		return err_set(err, "expected nothing behind \"end\"");
	if (str_starts(line, STR("end "))) {
		int n = snprintf(end, sizeof end, "end %zu", r->n);
		r->has_end = true;
		return str_eq(line, (struct str){ end, (size_t)n }) ||
		    err_set(err, "expected \"%s\": that many records are "
		    "before it", end);
	}
	if (!read_word(&rest, kind) || !read_quoted(&rest, name_room, &name) ||
	    !read_word(&rest, key) ||
	    !read_quoted(&rest, value_room, &value) || rest.n)
		return err_set(err, "expected a kind, \"a name\", a key and "
		    "\"a value\"");
	r->n++;
	return r->record(r->arg, kind, name, key, value, err);
}

static bool read_lines(struct reading *r, const char *path, struct str text,
    struct err *err)
{
	unsigned number = 1;
	struct str rest, line = str_split(text, '\n', &rest);

	if (!str_eq(line, STR(HEAD)))
		return err_set(err, "%s:1: expected \"" HEAD "\"", path);
	while (rest.n) {
		number++;
		line = str_split(rest, '\n', &rest);
		if (!read_line(r, line, err))
			return err_prefix(err, "%s:%u", path, number);
	}
	if (!r->has_end || text.p[text.n - 1] != '\n')
		return err_set(err, "%s:%u: the file was cut; expected a last "
		    "line \"end %zu\"", path, number + 1, r->n);
	return true;
}

enum keep_file_verdict keep_file_read(const char *path,
    keep_file_record_fn *record, void *arg, struct err *err)
{
	struct reading r = { .record = record, .arg = arg };
	struct buf text;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && errno == ENOENT)
		return KEEP_FILE_READ;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		err_set(err, "%s: %s; expected a file that can be read", path,
		    fd < 0 ? strerror(errno) : "is no file");
		if (fd >= 0)
			close(fd);
		return KEEP_FILE_UNREADABLE;
	}
	buf_init(&text, KEEP_FILE_MAX);
	ssize_t n = 0;
	for (char *p; (p = buf_reserve(&text, 65536)); ) {
		n = read(fd, p, 65536);
		if (n <= 0)
			break;
		buf_commit(&text, (size_t)n);
	}
	int why = errno;
	close(fd);
	enum keep_file_verdict verdict = KEEP_FILE_READ;
	if (n < 0) {
		err_set(err, "%s: %s", path, strerror(why));
		verdict = KEEP_FILE_UNREADABLE;
	} else if (text.overflowed) {
		err_set(err, "%s: more than %u bytes", path, KEEP_FILE_MAX);
		verdict = KEEP_FILE_CORRUPT;
	} else if (!read_lines(&r, path, buf_view(&text), err)) {
		verdict = KEEP_FILE_CORRUPT;
	}
	buf_fini(&text);
	return verdict;
}

bool keep_file_put_aside(const char *path, struct err *err)
{
	char *aside = mem_printf("%s.bad-%jd", path, (intmax_t)time(NULL));
	bool is_good = rename(path, aside) == 0;
	struct err was = *err;

	if (is_good)
		err_set(err, "%.150s; renamed to %s", was.text, aside);
	else
		err_set(err, "%.150s; cannot rename it: %s; nothing is kept",
		    was.text, strerror(errno));
	free(aside);
	return is_good;
}

/* --- writing ------------------------------------------------------------------- */

static bool write_all(int fd, struct str s)
{
	while (s.n) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		s = str_skip(s, (size_t)n);
	}
	return true;
}

/* The folder of path; "." for a name alone. The caller frees. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !slash ? mem_strdup(".") : slash == path ? mem_strdup("/") :
	    mem_str((struct str){ path, (size_t)(slash - path) });
}

/* Until then a power cut may bring the old file back. */
static bool sync_folder(const char *path)
{
	char *folder = folder_of(path);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool is_good = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	free(folder);
	return is_good;
}

bool keep_file_write(const char *path, struct str text, struct err *err)
{
	char *fresh = mem_printf("%s.new", path);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC |
	    O_NOFOLLOW, 0600);
	bool is_good = fd >= 0 && write_all(fd, text) && fsync(fd) == 0;

	if (fd >= 0 && close(fd) < 0)
		is_good = false;
	is_good = is_good && rename(fresh, path) == 0 && sync_folder(path);
	if (!is_good)
		err_set(err, "cannot write %s: %s", path, strerror(errno));
	free(fresh);
	return is_good;
}

/* --- the folder ------------------------------------------------------------------ */

bool keep_give(const char *path, uid_t uid, gid_t gid, struct err *err)
{
	char *folder = folder_of(path);
	bool is_good = true;
	struct stat st;

	if (mkdir(folder, 0700) == 0)
		is_good = geteuid() != 0 || lchown(folder, uid, gid) == 0;
	else if (errno != EEXIST)
		is_good = false;
	if (!is_good)
		err_set(err, "%s: %s", folder, strerror(errno));
	else if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode))
		is_good = err_set(err, "%s is no folder", folder);
	else if (st.st_uid != uid)
		is_good = err_set(err, "%s belongs to account %u; expected a "
		    "folder that is missing, or belongs to account %u, as "
		    "control writes there", folder, (unsigned)st.st_uid,
		    (unsigned)uid);
	free(folder);
	return is_good;
}
