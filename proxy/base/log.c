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

/* Room is kept for the closing of a value and of the line. */
#define LINE_ROOM (LOG_LINE_MAX - 8)

static void put(struct log_line *l, const char *p, size_t n)
{
	if (n > LINE_ROOM - l->n)
		n = LINE_ROOM - l->n;
	memcpy(l->text + l->n, p, n);
	l->n += n;
}

static void puts_line(struct log_line *l, const char *text)
{
	put(l, text, strlen(text));
}

/* The length of the UTF-8 sequence at p (RFC 3629 §4), 0 when it is none. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	static const struct {
		unsigned char from, to, low, high, len;
	} rows[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
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

static void put_escaped(struct log_line *l, struct str v)
{
	const unsigned char *p = (const unsigned char *)v.p;
	bool cut = v.n > LOG_VALUE_MAX;
	size_t n = cut ? LOG_VALUE_MAX : v.n;

	for (size_t i = 0; i < n;) {
		char esc[8];
		size_t len = p[i] < 0x80 ? 1 : utf8_len(p + i, n - i);
		if (LINE_ROOM - l->n < sizeof esc)
			return;
		if (len == 0 || p[i] < 0x20 || p[i] == 0x7f)
			put(l, esc, (size_t)snprintf(esc, sizeof esc,
			    out.format == LOG_FORMAT_JSON ? "\\u%04x" :
			    "\\x%02x", p[i]));
		else if (p[i] == '"' || p[i] == '\\')
			put(l, esc, (size_t)snprintf(esc, sizeof esc, "\\%c",
			    p[i]));
		else
			put(l, (const char *)p + i, len);
		i += len ? len : 1;
	}
	if (cut)
		puts_line(l, "...");
}

static void put_key(struct log_line *l, const char *key)
{
	if (out.format == LOG_FORMAT_JSON) {
		puts_line(l, l->n ? ",\"" : "{\"");
		puts_line(l, key);
		puts_line(l, "\":");
	} else {
		puts_line(l, " ");
		puts_line(l, key);
		puts_line(l, "=");
	}
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
	bool quote = out.format == LOG_FORMAT_JSON || !is_plain(v);

	put_key(l, key);
	if (quote)
		puts_line(l, "\"");
	put_escaped(l, v);
	if (quote) {
		if (l->n < LOG_LINE_MAX - 4)
			l->text[l->n++] = '"';
	}
}

void log_text(struct log_line *l, const char *key, const char *value)
{
	log_str(l, key, str_from(value));
}

void log_u64(struct log_line *l, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	put_key(l, key);
	puts_line(l, text);
}

void log_seconds(struct log_line *l, const char *key, double seconds)
{
	char text[32];

	snprintf(text, sizeof text, "%.3f", seconds < 0 ? 0 : seconds);
	put_key(l, key);
	puts_line(l, text);
}

void log_addr(struct log_line *l, const char *key, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	log_text(l, key, addr_text(a, text));
}

void log_session(struct log_line *l, uint64_t id)
{
	char text[20];

	snprintf(text, sizeof text, "%016llx", (unsigned long long)id);
	log_text(l, "s", text);
}

static void put_time(struct log_line *l)
{
	static time_t last;
	static char date[24];
	struct timespec now;
	char ms[8];

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != last || !date[0]) {
		struct tm tm;
		last = now.tv_sec;
		gmtime_r(&last, &tm);
		strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
	}
	puts_line(l, date);
	snprintf(ms, sizeof ms, ".%03dZ", (int)(now.tv_nsec / 1000000));
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
	if (out.lost) {
		uint64_t lost = out.lost;
		out.lost = 0;
		log_u64(l, "log_lines_lost", lost);
	}
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

void log_end(struct log_line *l)
{
	ssize_t n;

	if (out.format == LOG_FORMAT_JSON)
		l->text[l->n++] = '}';
	if (out.kind == LOG_KIND_SYSLOG) {
		n = write_syslog(l);
	} else {
		l->text[l->n++] = '\n';
		n = takes_a_line() ? write(out.fd, l->text, l->n) : -1;
	}
	if (n < 0)
		out.lost++;
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
