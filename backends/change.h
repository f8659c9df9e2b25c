/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_CHANGE_H
#define BACKENDS_CHANGE_H
/*
 * change - a backend's change of state, as one line of the log
 *
 *	event=backend_state backend=mail2 from=up to=down why="..." after=61.2
 *	    sessions=170
 *
 * Whoever changes it tells it so: health (up, probing, down) and the
 * operator (ready, drain, maintenance; or, with event=backend_weight, a
 * number).
 *
 * Units    after_s: seconds for which it was as it is no more; sessions that
 *          are there now.
 * Thread   any.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/str.h"

struct change {
	const char *event;		/* NULL: "backend_state" */
	struct str backend;
	const char *from, *to, *why;
	double after_s;
	size_t n_sessions;
	bool is_bad;			/* nobody has wanted it */
};

void change_log(const struct change *c);
#endif
