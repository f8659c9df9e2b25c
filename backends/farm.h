/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_FARM_H
#define BACKENDS_FARM_H
/*
 * farm - the backends in force, and what is known of each
 *
 *	settings + DNS  ->  one struct backend per backend of any pool:
 *	                    its settings, its addresses, its capabilities,
 *	                    its condition, its share of logins
 *
 * A backend stays the same one over reloads as long as its title does; what
 * was heard from it is forgotten when its address or its TLS changes. A
 * section whose address is an SRV name is no backend itself: each target of
 * the record is one (target.h), and they come and go with the record.
 *
 * A backend of several pools is cared for as one of them says: the first, in
 * the order of the file, whose health has a type other than none; else the
 * first that has it.
 *
 * The addresses of a backend are doors of one server. A user's sessions take
 * the same one, whatever the order in which the DNS names them; when it is at
 * fault, another one for a while (faults.h).
 *
 * Shapes   capabilities are a set as in caps.h: what the backend shows before
 *          login, behind TLS where it has TLS. Empty: not heard yet.
 * Errors   none; what is wrong with a name is resolve's. Targets that come
 *          and go, and addresses that are at fault, are logged.
 * Units    a backend's weight for balance is in FARM_WEIGHT_UNITs.
 * Owns     its backends, a watch on each one's name, and a reference to the
 *          settings. A struct backend, and its settings, are valid until the
 *          farm_configure() or farm_update() that no longer has it.
 * Thread   control's.
 * Not here what makes and ends a condition (health); who makes the operator's
 *          wishes last (admin/operator).
 */
#include <stdbool.h>
#include <stddef.h>

#include "backends/bucket.h"
#include "backends/condition.h"
#include "backends/resolve.h"
#include "proxy/base/str.h"

struct backend;
struct buf;
struct conf_backend;
struct conf_pool;
struct farm;
struct settings;

/* What weight = 1 is for balance: so a small one can grow slowly, too. */
#define FARM_WEIGHT_UNIT 64

/* resolve must outlive it. Empty until farm_configure(). */
struct farm *farm_new(struct resolve *resolve);
void farm_free(struct farm **f);

/* Takes a reference to settings. */
void farm_configure(struct farm *f, struct settings *settings);

/* Some SRV record is another than when the farm was made of it. */
bool farm_is_outdated(const struct farm *f);

/* Makes it of the same settings again; to be called when it is outdated. Who
 * stays keeps its settings, but for its weight. */
void farm_update(struct farm *f);

size_t farm_n(const struct farm *f);
struct backend *farm_at(const struct farm *f, size_t i);
struct backend *farm_find(const struct farm *f, struct str name);

/* The first whose settings have this host name and port; 0: any port. */
struct backend *farm_find_host(const struct farm *f, struct str host,
    unsigned port);

/* The first that has this address, of whatever name. */
struct backend *farm_find_address(const struct farm *f,
    const struct addr *a);

/* The backends that a section of the settings is: itself, or the targets of
 * its SRV record now, by priority. */
struct backend *const *farm_members(const struct farm *f,
    const struct conf_backend *section, size_t *n_out);

/* Nothing is known of the section's SRV record yet. */
bool farm_is_pending(const struct farm *f,
    const struct conf_backend *section);

/* The same for a section of which this may be a target: by the name that the
 * target would have as a backend, or by anything else, say host:port. */
bool farm_is_pending_for(const struct farm *f, struct str name);

/* What all backends that were heard have in common, as a set. */
void farm_common(const struct farm *f, struct buf *out);

struct str backend_name(const struct backend *b);

/* The title of its section: its name, unless it is a target. */
struct str backend_section(const struct backend *b);
const struct conf_backend *backend_conf(const struct backend *b);
size_t backend_index(const struct backend *b);	/* as for farm_at() */

/* The pool that says how it is cared for, and its rules. */
const struct conf_pool *backend_pool(const struct backend *b);
const struct condition_rules *backend_rules(const struct backend *b);

/* How it is: state, since when, why. Only health changes it. */
const struct condition *backend_condition(const struct backend *b);
struct condition *backend_observe(struct backend *b);

/* Nobody can log in there, as far as is known. */
bool backend_is_down(const struct backend *b);

/* A login is to go there, and can wait most_ms: 0, or in how many ms it may
 * (bucket.h). */
uint64_t backend_take_token(struct backend *b, uint64_t most_ms);

/* The login to which that was said does not go there. */
void backend_return_token(struct backend *b);

/* This login (condition_key()) goes there; or nothing will be heard of it any
 * more. */
void backend_granted(struct backend *b, uint64_t key);
void backend_ungranted(struct backend *b, uint64_t key);

/* 0; for targets that serve only when no others of their section do: 1, 2, ...
 * as their priorities say. */
unsigned backend_tier(const struct backend *b);

/* KNOWN: *out is an address of its, with its port: always the same for the
 * same key, say a user's hash, as long as that is not at fault. */
enum resolve_state backend_address(const struct backend *b, uint64_t key,
    struct addr *out);

/* The same for checks: each of its addresses in turn, those at fault too. */
enum resolve_state backend_next_address(struct backend *b, struct addr *out);

/* All of them, while KNOWN. */
size_t backend_n_addresses(const struct backend *b);
struct addr backend_address_at(const struct backend *b, size_t i);
bool backend_has_address(const struct backend *b, const struct addr *a);
bool backend_is_at_fault(const struct backend *b, const struct addr *a);

/* It has several addresses, and not all are at fault: that one does not answer
 * is not the backend's. */
bool backend_has_other_doors(const struct backend *b);

/* This address of its did not answer. True: others may, so that the fault is
 * the address's and not the backend's. */
bool backend_fault(struct backend *b, const struct addr *bad);

/* It has answered. */
void backend_fault_over(struct backend *b, const struct addr *good);

/* What the operator wants of it, as long as it is in force. */
enum backend_wish {
	BACKEND_READY,
	BACKEND_DRAIN,		/* no new users; those who are there stay */
	BACKEND_MAINTENANCE,	/* nobody */
};

enum backend_wish backend_wish(const struct backend *b);
void backend_set_wish(struct backend *b, enum backend_wish wish);
const char *backend_wish_word(enum backend_wish wish);

/* Unix times since when the wish, and the weight, is what it is; 0: not known.
 * For who changes them. */
struct backend_since {
	double wish, weight;
};
struct backend_since *backend_since(struct backend *b);

/* The operator's weight, or the configuration's; -1 sets it back. */
unsigned backend_base_weight(const struct backend *b);
void backend_set_weight(struct backend *b, int weight);

/* That for balance, in FARM_WEIGHT_UNITs: while it comes back it is less, but
 * never 0 for that. */
unsigned backend_weight(const struct backend *b);

struct str backend_capabilities(const struct backend *b);

/* True when it is another set than before. An empty one is not taken. */
bool backend_hear(struct backend *b, struct str capabilities);
#endif
