/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_VERBS_PARTS_H
#define ADMIN_VERBS_PARTS_H
/*
 * verbs_parts - what several verbs need
 *
 * Errors   false: the call has been answered by what is wrong.
 * Thread   control's.
 */
#include <jansson.h>
#include <stdbool.h>

#include "proxy/base/str.h"
#include "proxy/base/user.h"

struct call;
struct control;

bool verb_has_settings(struct call *c);

/* Settings are there, and the workers have told all sessions. */
bool verb_is_serving(struct call *c);

/* A user's canonical name, which lies in out. Settings must be there. */
bool verb_find_user(struct call *c, struct str name,
    char out[USER_CANONICAL_MAX], struct str *user_out);

/* How far the backend's drain is; null: there is none. */
json_t *verb_drain_progress(const struct control *c, struct str backend);

/* In the configuration, or with sessions still. */
bool verb_find_backend(struct call *c, struct str name);
#endif
