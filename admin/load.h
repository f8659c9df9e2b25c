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
#include <stdbool.h>

struct err;
struct privileges;
struct settings;

struct settings *load_settings(const char *path, struct err *err);

/* Gives control's account what control writes to: locks of tables, the folder
 * of the state file. */
bool load_give(const struct settings *settings, const struct privileges *p,
    struct err *err) __attribute__((warn_unused_result));
#endif
