/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BASE_LOG_H
#define BASE_LOG_H
/*
 * log - one line per event: time, level, session, event, key=value
 *
 *	2026-01-31T10:11:12.345Z info s=00c3f1a2000004d2 event=login user=jan
 *
 *	struct log_line l;
 *	if (log_begin(&l, LOG_LINE_INFO, "login")) {
 *		log_session(&l, s->id);
 *		log_str(&l, "user", s->user);
 *		log_end(&l);
 *	}
 *
 * Shapes   logfmt or JSON, the same calls. Values are escaped: control
 *          bytes, quotes, backslashes and all that is not UTF-8 cannot
 *          leave their value; each is cut at LOG_VALUE_MAX bytes, between
 *          characters, and ends with "..." then. A field for which the line
 *          has no room is left out.
 * Errors   a destination that does not take a line at once loses it; the
 *          loss is counted and told in the next line that gets through.
 *          Nothing here ever waits.
 * Owns     the descriptor given to log_set_output().
 * Thread   one per process.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/base/str.h"

#define LOG_VALUE_MAX 256
#define LOG_LINE_MAX 2048

enum log_level {
	LOG_LINE_ERROR,		/* now: an operator must act */
	LOG_LINE_WARN,		/* an operator should look this week */
	LOG_LINE_INFO,		/* one line for a login, one for an end */
	LOG_LINE_DEBUG,
};
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };
enum log_kind { LOG_KIND_FILE, LOG_KIND_SYSLOG };

struct log_line {
	size_t n;
	uint64_t lost;		/* lines before it; told in it */
	enum log_level level;
	char text[LOG_LINE_MAX];
};

/* Opens "stderr", "syslog" or a file to append to; -1 with err. Parent only:
 * the other roles get the descriptor by message. */
struct err;
int log_open(const char *to, enum log_kind *kind_out, struct err *err);

/* Where lines go from now on; stderr until then. fd -1 keeps the output. */
void log_set_output(int fd, enum log_kind kind);
void log_set_form(enum log_format format, enum log_level most);

/* From now on lines to a file wait for log_flush(), which a loop calls at the
 * end of each turn; an error's line does not wait. */
void log_hold(void);
void log_flush(void);

/* The role that stands in each line of this process: "control". */
void log_set_role(const char *role);

/* False: nobody wants this level; make no line. */
bool log_begin(struct log_line *l, enum log_level level, const char *event);
void log_session(struct log_line *l, uint64_t id);
void log_str(struct log_line *l, const char *key, struct str value);
void log_text(struct log_line *l, const char *key, const char *value);
void log_u64(struct log_line *l, const char *key, uint64_t value);
void log_addr(struct log_line *l, const char *key, const struct addr *a);

/* Seconds with three decimals. */
void log_seconds(struct log_line *l, const char *key, double seconds);
void log_end(struct log_line *l);

/* An event with one text: log_note(LOG_LINE_WARN, "reload", "why", text). */
void log_note(enum log_level level, const char *event, const char *key,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
#endif
