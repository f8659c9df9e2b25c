/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/digits.h"
#include "proxy/base/err.h"

static struct {
	int fd;
	enum log_kind kind;
	enum log_format format;
	enum log_level most;
	const char *role;
	bool may_block;		/* a pipe or terminal: ask before writing */
	uint64_t lost;
} out = { STDERR_FILENO, LOG_KIND_FILE, LOG_FORMAT_LOGFMT, LOG_LINE_INFO,
	NULL, true, 0 };

/* Lines that leave together at the end of a turn. */
static struct {
	bool is_on;
	unsigned n_lines;
	size_t n;
	char text[16384];
} held;

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static int open_syslog(struct err *err)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(sun.sun_path, sizeof sun.sun_path, "/dev/log");
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof sun) < 0) {
		err_set(err, "syslog: /dev/log: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

int log_open(const char *to, enum log_kind *kind_out, struct err *err)
{
	*kind_out = LOG_KIND_FILE;
	if (strcmp(to, "stderr") == 0)
		return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (strcmp(to, "syslog") == 0) {
		*kind_out = LOG_KIND_SYSLOG;
		return open_syslog(err);
	}
	int fd = open(to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		err_set(err, "log: %s: %s", to, strerror(errno));
	return fd;
}

void log_set_output(int fd, enum log_kind kind)
{
	struct stat st;

	if (fd < 0)
		return;
	log_flush();
	if (out.fd != STDERR_FILENO)
		close(out.fd);
	out.fd = fd;
	out.kind = kind;
	out.may_block = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode);
}

void log_set_form(enum log_format format, enum log_level most)
{
	out.format = format;
	out.most = most;
}

void log_set_role(const char *role)
{
	out.role = role;
}

/* A field that does not fit is left out as a whole, but for a long value, of
 * which as much stands as there is room for; so a line is always well-formed.
 * CLOSE_MAX is kept for the end of a value and of the line: ..."}LF. */
#define CLOSE_MAX 6
#define LINE_ROOM (LOG_LINE_MAX - CLOSE_MAX)
#define ESCAPE_MAX 6	/* the most that one character becomes */

static bool has_room(const struct log_line *l, size_t n)
{
	return l->n + n <= LINE_ROOM;
}

/* The caller has asked for room. */
static void put(struct log_line *l, const char *p, size_t n)
{
	must(l->n + n <= sizeof l->text);
	memcpy(l->text + l->n, p, n);
	l->n += n;
}

static void puts_line(struct log_line *l, const char *text)
{
	put(l, text, strlen(text));
}

/* The length of the UTF-8 sequence at p (RFC 3629 §4), 0 when it is none. The
 * control characters U+0080 to U+009F count as none: terminals obey them. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	static const struct {
		unsigned char from, to, low, high, len;
	} rows[] = {
		{ 0xc2, 0xc2, 0xa0, 0xbf, 2 }, { 0xc3, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (p[0] < rows[i].from || p[0] > rows[i].to)
			continue;
		if (n < rows[i].len || p[1] < rows[i].low ||
		    p[1] > rows[i].high)
			return 0;
		for (size_t k = 2; k < rows[i].len; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].len;
	}
	return 0;
}

/* A character of len bytes; 0: a byte that belongs to none. */
static void put_char(struct log_line *l, const unsigned char *p, size_t len)
{
	const char *hex = out.format == LOG_FORMAT_JSON ? "\\u00" : "\\x";
	char digits[3];

	if (len == 0 || *p < 0x20 || *p == 0x7f) {
		puts_line(l, hex);
		snprintf(digits, sizeof digits, "%02x", *p);
		puts_line(l, digits);
		return;
	}
	if (*p == '"' || *p == '\\')
		put(l, "\\", 1);
	put(l, (const char *)p, len);
}

/* A long value is cut between characters. */
static void put_escaped(struct log_line *l, struct str v)
{
	const unsigned char *p = (const unsigned char *)v.p;
	size_t i = 0;

	while (i < v.n && has_room(l, ESCAPE_MAX)) {
		size_t len = p[i] < 0x80 ? 1 : utf8_len(p + i, v.n - i);
		size_t step = len ? len : 1;
		if (i + step > LOG_VALUE_MAX)
			break;
		put_char(l, p + i, len);
		i += step;
	}
	if (i < v.n)
		put(l, "...", 3);
}

/* False, and nothing is put: there is no room for the key and n bytes more. */
static bool put_key(struct log_line *l, const char *key, size_t n)
{
	bool is_json = out.format == LOG_FORMAT_JSON;

	if (!has_room(l, strlen(key) + 4 + n))
		return false;
	puts_line(l, !is_json ? " " : l->n ? ",\"" : "{\"");
	puts_line(l, key);
	puts_line(l, is_json ? "\":" : "=");
	return true;
}

static bool is_plain(struct str v)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] <= ' ' || v.p[i] > '~' || v.p[i] == '"' ||
		    v.p[i] == '=' || v.p[i] == '\\')
			return false;
	return v.n > 0;
}

void log_str(struct log_line *l, const char *key, struct str v)
{
	bool is_bare = is_plain(v);
	bool quote = out.format == LOG_FORMAT_JSON || !is_bare;

	if (!put_key(l, key, 1))
		return;
	if (quote)
		put(l, "\"", 1);
	if (is_bare && v.n <= LOG_VALUE_MAX && has_room(l, v.n + ESCAPE_MAX))
		put(l, v.p, v.n);
	else
		put_escaped(l, v);
	if (quote)
		put(l, "\"", 1);
}

void log_text(struct log_line *l, const char *key, const char *value)
{
	log_str(l, key, str_from(value));
}

static void put_number(struct log_line *l, const char *key, const char *p,
    const char *end)
{
	size_t n = (size_t)(end - p);

	if (put_key(l, key, n))
		put(l, p, n);
}

void log_u64(struct log_line *l, const char *key, uint64_t value)
{
	char text[24], *end = text + sizeof text;

	put_number(l, key, digits_put(end, value, 1), end);
}

void log_seconds(struct log_line *l, const char *key, double seconds)
{
	uint64_t ms = seconds < 0 ? 0 : (uint64_t)(seconds * 1000 + 0.5);
	char text[32], *end = text + sizeof text;
	char *p = digits_put(end, ms % 1000, 3);

	*--p = '.';
	put_number(l, key, digits_put(p, ms / 1000, 1), end);
}

void log_addr(struct log_line *l, const char *key, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	log_text(l, key, addr_text(a, text));
}

void log_session(struct log_line *l, uint64_t id)
{
	char text[DIGITS_HEX];

	digits_hex(text, id);
	log_str(l, "s", (struct str){ text, sizeof text });
}

static void put_time(struct log_line *l)
{
	static time_t last;
	static char date[24];
	struct timespec now;
	char ms[] = ".000Z";

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != last || !date[0]) {
		struct tm tm;
		last = now.tv_sec;
		gmtime_r(&last, &tm);
		strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
	}
	puts_line(l, date);
	digits_put(ms + 4, (uint64_t)now.tv_nsec / 1000000, 3);
	puts_line(l, ms);
}

bool log_begin(struct log_line *l, enum log_level level, const char *event)
{
	if (level > out.most)
		return false;
	l->n = 0;
	l->level = level;
	if (out.format == LOG_FORMAT_JSON) {
		puts_line(l, "{\"time\":\"");
		put_time(l);
		puts_line(l, "\"");
		log_text(l, "level", level_names[level]);
	} else {
		put_time(l);
		puts_line(l, " ");
		puts_line(l, level_names[level]);
	}
	if (out.role)
		log_text(l, "role", out.role);
	log_text(l, "event", event);
	l->lost = out.lost;
	if (l->lost)
		log_u64(l, "log_lines_lost", l->lost);
	return true;
}

static ssize_t write_syslog(const struct log_line *l)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_INFO,
		LOG_DEBUG };
	char text[LOG_LINE_MAX + 64];
	int n = snprintf(text, sizeof text, "<%d>mailweir[%d]: %.*s",
	    LOG_MAIL | priority[l->level], (int)getpid(), (int)l->n, l->text);

	return send(out.fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool takes_a_line(void)
{
	struct pollfd p = { .fd = out.fd, .events = POLLOUT };

	return !out.may_block || (poll(&p, 1, 0) == 1 && p.revents & POLLOUT);
}

void log_hold(void)
{
	held.is_on = true;
}

void log_flush(void)
{
	if (held.n && write(out.fd, held.text, held.n) < 0)
		out.lost += held.n_lines;
	held.n = held.n_lines = 0;
}

/* A file takes what it is given; a pipe has to be asked for each line. */
static ssize_t hold(const struct log_line *l)
{
	if (held.n + l->n > sizeof held.text)
		log_flush();
	memcpy(held.text + held.n, l->text, l->n);
	held.n += l->n;
	held.n_lines++;
	if (l->level == LOG_LINE_ERROR)
		log_flush();
	return (ssize_t)l->n;
}

void log_end(struct log_line *l)
{
	ssize_t n;

	if (out.format == LOG_FORMAT_JSON)
		l->text[l->n++] = '}';
	if (out.kind == LOG_KIND_SYSLOG) {
		n = write_syslog(l);
	} else {
		l->text[l->n++] = '\n';
		if (held.is_on && !out.may_block)
			n = hold(l);
		else
			n = takes_a_line() ? write(out.fd, l->text, l->n) : -1;
	}
	if (n < 0)
		out.lost++;
	else
		out.lost -= l->lost < out.lost ? l->lost : out.lost;
}

void log_note(enum log_level level, const char *event, const char *key,
    const char *fmt, ...)
{
	struct log_line l;
	char text[LOG_VALUE_MAX + 1];
	va_list ap;

	if (!log_begin(&l, level, event))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_text(&l, key, text);
	log_end(&l);
}
