/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_RENDER_H
#define ADMIN_RENDER_H
/*
 * render - data becomes text for people, or JSON
 *
 *	{"user": "jan", ...}, {...}  ->  USER  BACKEND  SESSIONS
 *	                                 jan   mail1           2
 *	                             ->  [
 *	                                 {"user":"jan","backend":"mail1",...}
 *	                                 ]
 *
 * An answer is one of these three, and both forms are made of the same data:
 *
 *	an object     a line for each member; members that are lists of
 *	              objects become tables behind them
 *	a list        of objects with the same members: a table; an array
 *	events        an object each, as they happen: a line each
 *	              an object in a cell is shown by its member summary
 *
 * A list may be long and is written in pieces: render_flush() lays out the
 * rows so far, the columns being as wide as these need.
 *
 * Shapes   a value is a string, a number, a boolean, null or a list of
 *          strings. In text no line begins with "=", which is the console's.
 * Owns     render_* take over the reference to the data. out is borrowed.
 * Thread   any.
 * Source   Jansson; its objects keep their order.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

#define RENDER_COLUMNS_MAX 16

struct buf;

struct render {
	struct buf *out;
	bool wants_json;
	bool is_list, has_rows;
	const char *columns;		/* of the list: "user backend" */
	size_t widths[RENDER_COLUMNS_MAX];
	json_t *rows;			/* of the list, not yet laid out */
};

void render_init(struct render *r, bool wants_json, struct buf *out);
void render_fini(struct render *r);

void render_object(struct render *r, json_t *object);

/* columns: the members of every row, with spaces between, in the order of the
 * table; it must stay valid. */
void render_list(struct render *r, const char *columns);
void render_row(struct render *r, json_t *object);
void render_flush(struct render *r);

void render_event(struct render *r, json_t *object);

/* What a list still lacks. */
void render_end(struct render *r);

/* A string of any bytes: what is not UTF-8 or is a control character becomes
 * "?". */
json_t *render_string(struct str s);

/* "2026-01-31T10:11:12Z" */
json_t *render_time(double unix_s);
#endif
