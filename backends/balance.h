/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_BALANCE_H
#define BACKENDS_BALANCE_H
/*
 * balance - which backend of a pool serves a user
 *
 *	balance_user_hash()    weighted rendezvous: each backend draws a number
 *	                       from (user, its name); the best one serves
 *	balance_least()        the one with the fewest sessions for its weight
 *	balance_first()        the first in the list
 *	balance_round_robin()  in turn, as often as the weights say, and evenly
 *	                       spread (smooth)
 *
 * The drawing depends on nothing but the two names and the weights: any
 * proxy, of any release and on any machine, comes to the same answer, in
 * whatever order its configuration names the backends. So it is made of
 * integers only, and changing it would move all users of all installations:
 * the unit test holds known answers.
 *
 * A backend that leaves, or is unfit, moves its own users only, and they go
 * to what is next in their order: ask again with it unfit.
 *
 * Shapes   members are numbered as given to balance_new(). unfit: one bool
 *          per member, or NULL; true: not to be chosen now. The user is in
 *          canonical form.
 * Units    weights are shares, 0..BALANCE_WEIGHT_MAX; 0: gets nobody.
 * Errors   BALANCE_NONE when nobody is fit.
 * Owns     balance_new() copies; balance_free() frees.
 * Thread   its owner's.
 * Source   Thaler and Ravishankar, "Using Name-Based Mappings to Increase
 *          Hit Rates", 1998 (rendezvous); the weights come in by dividing an
 *          exponentially distributed draw by them.
 * Cost     user-hash: some 5 ns per member and question.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/str.h"

#define BALANCE_NONE SIZE_MAX
#define BALANCE_WEIGHT_MAX 65535

struct balance;

struct balance *balance_new(void);
void balance_free(struct balance **b);

/* The next member. Names of a pool differ. */
void balance_add(struct balance *b, struct str name, unsigned weight);
void balance_set_weight(struct balance *b, size_t member, unsigned weight);
size_t balance_n(const struct balance *b);

size_t balance_user_hash(const struct balance *b, struct str user,
    const bool *unfit);
size_t balance_round_robin(struct balance *b, const bool *unfit);
size_t balance_first(const struct balance *b, const bool *unfit);

/* load: what each member has to do already, say its sessions. */
size_t balance_least(const struct balance *b, const size_t *load,
    const bool *unfit);

/* The user's hash alone, for what must be shared out stably otherwise. */
uint64_t balance_hash(struct str user);

/* A draw of both, for a choice of one's own by the greatest draw. */
uint64_t balance_pair(uint64_t user_hash, uint64_t other);
#endif
