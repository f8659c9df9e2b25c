/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_ROUTE_CLI_H
#define ADMIN_ROUTE_CLI_H
/*
 * route_cli - mailweir route: how a login would be decided, step by step
 *
 *	mailweir route [-c FILE] USER ADDRESS [LISTENER]
 *
 * Reads the configuration as a start would, and takes the question through
 * the code that decides in the running proxy: names are resolved and tables
 * asked. It knows no sessions and no backend's health, for it talks to no
 * running proxy.
 *
 * Errors   told on stderr.
 * Thread   a process of its own.
 */

/* argv[0] is "route". conf: the file without -c. Returns the exit status: 0 a
 * backend serves, 1 the login would be refused, 2 wrong usage or a bad
 * configuration. */
int route_cli(int argc, char **argv, const char *conf);
#endif
