/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_BUNDLE_H
#define PROXY_BUNDLE_H
/*
 * bundle - a configuration on its way: its text, and the files it names
 *
 *	struct settings  ->  FILE, FILE, ..., SETTINGS
 *	FILE, FILE, ...  ->  bundle;  SETTINGS  ->  struct settings
 *
 * Owns     copies of the files that have come, until they are part of the
 *          settings. They hold keys and passwords and are wiped.
 * Thread   any.
 */
#include <stdint.h>

struct bundle;
struct err;
struct link;
struct msg_file;
struct msg_settings;
struct settings;
struct settings_schema;

/* Secrets are for control alone: workers, which face the network, get what
 * they need of them with a decision. */
enum bundle_for { BUNDLE_FOR_CONTROL, BUNDLE_FOR_WORKER };

void bundle_send(const struct settings *settings, uint64_t generation,
    enum bundle_for whom, struct link *to);

struct bundle *bundle_new(void);
void bundle_free(struct bundle **b);

/* Forgets files whose SETTINGS will not come. */
void bundle_empty(struct bundle *b);

void bundle_take_file(struct bundle *b, const struct msg_file *m);

/* One reference; NULL with err. Either way the bundle is empty again. */
struct settings *bundle_take_settings(struct bundle *b,
    const struct msg_settings *m, const struct settings_schema *schema,
    struct err *err);
#endif
