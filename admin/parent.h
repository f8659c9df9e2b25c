/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_PARENT_H
#define ADMIN_PARENT_H
/*
 * parent - the process that keeps the others going
 *
 * Reads the configuration and all files it names, opens the log, binds the
 * listening sockets, starts control and the workers, and gives them what they
 * need by message. Reads no byte from the network.
 *
 *	a child dies	logged, and started again (child.h says when)
 *	SIGHUP		reload; what is wrong is refused as a whole
 *	SIGUSR1		opens the log again, for its rotation
 *	SIGTERM, SIGINT	sessions end within shutdown_grace; again: at once
 *
 * Errors   at the start they are printed, and the exit status is 1.
 * Thread   its own; the default loop.
 * Not here sessions, decisions: proxy/worker, admin/control.
 */

/* Runs until it is told to stop. Returns the exit status. */
int parent_main(const char *conf_path);
#endif
