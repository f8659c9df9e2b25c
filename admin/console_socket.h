/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_CONSOLE_SOCKET_H
#define ADMIN_CONSOLE_SOCKET_H
/*
 * console_socket - the Unix socket of the console, as a file
 *
 *	open: bind PATH.new, set mode and group, listen
 *	commit: rename it to PATH        free: unlink PATH, if it is still ours
 *
 * So nobody ever finds it with other rights than its own, and a configuration
 * that is refused leaves everything as it was. A socket that nobody listens on
 * any more is replaced; one of a living process never, nor a file that is no
 * socket.
 *
 * Errors   console_socket_open(): err, and nothing has changed.
 * Owns     the descriptor and the file.
 * Thread   the parent: it looks a group up, which blocks.
 * Source   unix(7).
 * Not here what is said on it: admin/console.
 */
#include <stdbool.h>

struct conf_admin;
struct console_socket;
struct err;

/* NULL with err. Without a path in conf the socket is one that is not there:
 * its descriptor is -1. was: the one in force, or NULL. */
struct console_socket *console_socket_open(const struct conf_admin *conf,
    const struct console_socket *was, struct err *err);

/* *now becomes fresh; the one before is closed. */
void console_socket_commit(struct console_socket **now,
    struct console_socket *fresh);

/* NULL is legal. */
void console_socket_free(struct console_socket **s);

int console_socket_fd(const struct console_socket *s);
#endif
