/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_FARM_H
#define BACKENDS_FARM_H
/*
 * farm - the backends in force, and what is known of each
 *
 *	settings  ->  one struct backend per backend of any pool:
 *	              its settings, its address now, its capabilities
 *
 * A backend stays the same one over reloads as long as its title does; what
 * was heard from it is forgotten when its address or its TLS changes.
 *
 * Shapes   capabilities are a set as in caps.h: what the backend shows before
 *          login, behind TLS where it has TLS. Empty: not heard yet.
 * Errors   none; what is wrong with a name is resolve's.
 * Owns     its backends, a watch on each one's name, and a reference to the
 *          settings. A struct backend is valid until the farm_configure()
 *          that no longer has it.
 * Thread   control's.
 * Not here health; who makes the operator's wishes last (admin/operator).
 */
#include <stdbool.h>
#include <stddef.h>

#include "backends/resolve.h"
#include "proxy/base/str.h"

struct backend;
struct buf;
struct conf_backend;
struct farm;
struct settings;

/* resolve must outlive it. Empty until farm_configure(). */
struct farm *farm_new(struct resolve *resolve);
void farm_free(struct farm **f);

/* Takes a reference to settings. */
void farm_configure(struct farm *f, struct settings *settings);

size_t farm_n(const struct farm *f);
struct backend *farm_at(const struct farm *f, size_t i);
struct backend *farm_find(const struct farm *f, struct str name);

/* What all backends that were heard have in common, as a set. */
void farm_common(const struct farm *f, struct buf *out);

struct str backend_name(const struct backend *b);
const struct conf_backend *backend_conf(const struct backend *b);

/* KNOWN: *out is its address with its port. */
enum resolve_state backend_address(const struct backend *b, struct addr *out);

/* An address of its does not answer. Many say so at once: within a second
 * only the first one counts. */
void backend_fault(struct backend *b, const struct addr *bad, double now_s);

/* What the operator wants of it, as long as it is in force. */
enum backend_wish {
	BACKEND_READY,
	BACKEND_DRAIN,		/* no new users; those who are there stay */
	BACKEND_MAINTENANCE,	/* nobody */
};

enum backend_wish backend_wish(const struct backend *b);
void backend_set_wish(struct backend *b, enum backend_wish wish);
const char *backend_wish_word(enum backend_wish wish);

/* The operator's weight, or the configuration's; -1 sets it back. */
unsigned backend_base_weight(const struct backend *b);
void backend_set_weight(struct backend *b, int weight);

struct str backend_capabilities(const struct backend *b);

/* True when it is another set than before. An empty one is not taken. */
bool backend_hear(struct backend *b, struct str capabilities);
#endif
