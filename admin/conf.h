/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_CONF_H
#define ADMIN_CONF_H
/*
 * conf - settings of the program as a whole, and the schema of proxy.conf
 *
 * The structs are made of the rows of admin/settings.def: fields have the
 * settings' names, with _ms behind durations and _bytes behind sizes; each
 * begins with its section's name (title) and where ("file:line").
 *
 * Owns     nothing: all belongs to the snapshot (proxy/base/settings.h).
 */
#include "proxy/base/settings.h"

/* Of a Unix socket's path, with room for what is put behind it while it is
 * being made: unix(7). */
#define CONF_SOCKET_MAX 100

#define SETTINGS_MAKE_STRUCTS
#include "proxy/base/settings_rows.h"
#include "admin/settings.def"

/* All sections of proxy.conf. */
extern const struct settings_schema conf_schema;
#endif
