/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_CONF_H
#define PROXY_CONF_H
/*
 * conf - settings of the clients' side, the relay and the log
 *
 * The structs are made of the rows of proxy/settings.def: fields have the
 * settings' names, with _ms behind durations and _bytes behind sizes; each
 * begins with its section's name (title) and where ("file:line").
 *
 * Owns     nothing: all belongs to the snapshot (proxy/base/settings.h).
 */
#include "backends/conf.h"
#include "proxy/base/log.h"
#include "proxy/base/settings.h"

#define SETTINGS_MAKE_STRUCTS
#include "proxy/base/settings_rows.h"
#include "proxy/settings.def"
#endif
