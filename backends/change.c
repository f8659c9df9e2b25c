/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/change.h"

#include "proxy/base/log.h"

void change_log(const struct change *c)
{
	struct log_line l;

	if (!log_begin(&l, c->is_bad ? LOG_LINE_WARN : LOG_LINE_INFO,
	    c->event ? c->event : "backend_state"))
		return;
	log_str(&l, "backend", c->backend);
	log_text(&l, "from", c->from);
	log_text(&l, "to", c->to);
	log_text(&l, "why", c->why);
	log_seconds(&l, "after", c->after_s);
	log_u64(&l, "sessions", c->n_sessions);
	log_end(&l);
}
