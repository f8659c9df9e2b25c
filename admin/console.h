/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_CONSOLE_H
#define ADMIN_CONSOLE_H
/*
 * console - the operator's Unix socket: a request a line, answer by answer
 *
 *	-> who *@example.org
 *	<- USER             BACKEND  SESSIONS
 *	<- jan@example.org  mail1           2
 *	<- = ok
 *	-> kik jan@example.org
 *	<- = usage: unknown verb "kik"; did you mean "kick"?
 *	-> kick --backend mail9
 *	<- = error: there is no backend "mail9"; did you mean "mail1"?
 *
 * Requests are those of request.h. Each answer is lines of text or, behind
 * --json, of JSON, and ends with a line that begins with "=": no other does.
 * It is usage where the request can never be good, error where the proxy
 * refuses.
 * An answer comes before the next request is looked at.
 *
 * What a client may take is bounded: its lines by REQUEST_LINE_MAX, output
 * that it does not read by CALL_ROOM and one piece of an answer, its time
 * without a request or without reading by console_set_idle(), and their number
 * by CONSOLE_CLIENTS_MAX.
 *
 * Units    seconds.
 * Errors   a client that breaks a rule is told and closed.
 * Owns     its clients and their calls.
 * Thread   control's.
 * Not here the verbs; who may connect: console_socket.
 */
#define CONSOLE_CLIENTS_MAX 64

struct console;
struct control;
struct ev_loop;

struct console *console_new(struct control *control, struct ev_loop *loop);

/* Ends all clients. NULL is legal. */
void console_free(struct console **c);

/* Takes over the listening socket; -1: there is none any more. Clients that
 * are here stay. */
void console_listen(struct console *c, int fd);

/* For ever, before the first call. */
void console_set_idle(struct console *c, double seconds);
#endif
