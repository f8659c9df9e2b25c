/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_LOAD_H
#define ADMIN_LOAD_H
/*
 * load - proxy.conf, read and tried
 *
 * Makes of the settings what workers will make of them (certificates, keys,
 * authorities) and reads tables and GeoIP databases, so that what is wrong is
 * found before anything is changed; -t, the start and a reload are the same
 * test.
 *
 * Errors   NULL with err: "file:line: what is wrong, what was expected".
 * Owns     the caller has one reference (settings_unref).
 * Thread   the parent and the command line: it blocks on files.
 */
struct err;
struct settings;

struct settings *load_settings(const char *path, struct err *err);
#endif
