/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_BUNDLE_H
#define ADMIN_BUNDLE_H
/*
 * bundle - a configuration as it travels: its text, and the files it names
 *
 *	FILE, FILE, ..., SETTINGS  ->  bundle  ->  struct settings
 *	                                       ->  FILE, FILE, ..., SETTINGS
 *
 * Owns     copies of all it is told. They hold keys and passwords and are
 *          wiped in bundle_free().
 * Thread   any.
 */
#include <stdint.h>

#include "proxy/base/str.h"

struct bundle;
struct err;
struct link;
struct settings;
struct settings_schema;

struct bundle *bundle_new(void);
void bundle_free(struct bundle **b);

void bundle_add_file(struct bundle *b, struct str path, struct str data);
void bundle_set_text(struct bundle *b, uint64_t generation, struct str text);
uint64_t bundle_generation(const struct bundle *b);

/* One reference; NULL with err. */
struct settings *bundle_settings(const struct bundle *b,
    const struct settings_schema *schema, struct err *err);

void bundle_send(const struct bundle *b, struct link *to);
#endif
