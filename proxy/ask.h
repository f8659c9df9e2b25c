/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_ASK_H
#define PROXY_ASK_H
/*
 * ask - a worker's questions to control, and what it tells control
 *
 * A login costs one DECIDE and one answer; how each attempt at a backend
 * ended is told by ATTEMPT, and the end of a session that had a grant by
 * RELEASE: both ride with other messages. While control is away, questions stay open; a new
 * control is told all living sessions first (SESSION ..., SYNCED) and is then
 * asked all open questions again.
 *
 * Errors   an answer to a question that is not open (its client has gone) is
 *          no error.
 * Owns     the answers' strings lie in prelogin's attempt arena.
 * Thread   the worker's.
 */
#include "backends/login.h"

struct link;
struct msg;
struct session;
struct worker;

/* Asks for the session's user; prelogin's answer is OPEN from now on. */
void ask_decide(struct session *s);

/* Nobody waits for the answer any more; what it may grant is given back. */
void ask_cancel(struct session *s);

/* The session's lease ends, if it had one. */
void ask_released(struct session *s);

/* An attempt at the chosen backend begins; how it ended. The latter does
 * nothing when none is open. */
void ask_attempt_begin(struct session *s);
void ask_attempt_end(struct session *s, enum login_failure kind);

/* Tells control what the backend can do, if it did not know it right. */
void ask_heard(const struct session *s);

/* GRANT, REFUSE, WAIT from control: the session runs on. */
void ask_answered(struct worker *w, const struct msg *m);

/* A new control: tells and asks it everything. */
void ask_resync(struct worker *w);
#endif
