/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_TICKETS_H
#define ADMIN_TICKETS_H
/*
 * tickets - the life of the session ticket keys that all workers share
 *
 * The newest key seals tickets for half of a ticket's lifetime; then comes
 * the next, and it goes on opening until the last ticket that it sealed has
 * ended. So a stolen key opens the sessions of 1.5 lifetimes, no more.
 *
 * A new control begins with a new key; workers keep those of the old one as
 * long as they have room (TLS_TICKET_KEYS), so that no ticket is lost.
 *
 * Units    seconds of Unix time; the caller brings the clock.
 * Errors   without random numbers the program ends.
 * Owns     the keys; wiped when they end and in tickets_fini().
 * Thread   control's.
 * Source   RFC 5077, section 5.5; RFC 8446, section 4.6.1.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/tlsctx.h"

#define TICKETS_NAME_BYTES 16

struct tickets_key {
	uint64_t created_s;
	unsigned char bytes[TLS_TICKET_KEY_BYTES];	/* the name first */
};

struct tickets {
	unsigned n;
	struct tickets_key keys[TLS_TICKET_KEYS];	/* the newest first */
};

/* Ends the keys whose time is over, and makes a new one when the newest has
 * sealed long enough: then true. lifetime_s 0: no tickets, no keys. */
bool tickets_turn(struct tickets *t, uint64_t lifetime_s, uint64_t now_s);

/* Seconds until tickets_turn() has to do something; 0: never. */
uint64_t tickets_next_s(const struct tickets *t, uint64_t lifetime_s,
    uint64_t now_s);

void tickets_fini(struct tickets *t);
#endif
