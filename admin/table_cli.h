/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_TABLE_CLI_H
#define ADMIN_TABLE_CLI_H
/*
 * table_cli - the commands "mailweir table ..."
 *
 * Make and change tables of type lmdb, also while the proxy uses them.
 *
 * Shapes   argv[0] is "table". Keys are taken in lower case unless -k says
 *          otherwise.
 * Errors   told on stderr.
 * Thread   a command's own process: it blocks.
 */

/* The exit status: 0 good; 1 there is no such key; 2 an error. */
int table_cli(int argc, char **argv);
#endif
