/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_CONF_H
#define BACKENDS_CONF_H
/*
 * conf - settings of who may log in, where they go, and the backends there
 *
 * The structs are made of the rows of backends/settings.def: fields have the
 * settings' names, with _ms behind durations and _bytes behind sizes; each
 * begins with its section's name (title) and where ("file:line").
 *
 * Owns     nothing: all belongs to the snapshot (proxy/base/settings.h).
 */
#include "proxy/base/settings.h"
#include "proxy/base/user.h"

struct conf_listener;	/* proxy/conf.h; settings_name() tells its name */

#define SETTINGS_MAKE_STRUCTS
#include "proxy/base/settings_rows.h"
#include "backends/settings.def"
#endif
