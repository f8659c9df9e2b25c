/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_ORDER_H
#define ADMIN_ORDER_H
/*
 * order - what the operator wants of the parent, which control only hands on
 *
 *	verb reload     ->  RELOAD    ->  parent
 *	its answer      <-  RELOADED  <-  when all workers have the new settings
 *	verb shutdown   ->  SHUTDOWN  ->
 *
 * Reloads wait for each other: each reads the files as they are when its turn
 * has come, so an answer is true of what the caller has written before.
 *
 * Units    seconds.
 * Errors   a reload that is not answered within ORDER_LIMIT_S is told as such.
 * Thread   control's.
 */
#include <stdbool.h>
#include <stdint.h>

#define ORDER_LIMIT_S 30.

struct call;
struct ev_loop;
struct link;
struct msg_reloaded;
struct orders;

/* parent: where control keeps its link, which may become NULL. */
struct orders *orders_new(struct ev_loop *loop, struct link *const *parent);

/* The calls under way must have been freed. NULL is legal. */
void orders_free(struct orders **o);

/* Answers the call, at once or later. */
void order_reload(struct orders *o, struct call *c);
void orders_reloaded(struct orders *o, const struct msg_reloaded *m);

/* False: there is no parent. */
bool order_shutdown(struct orders *o, bool has_grace, uint64_t grace_ms);
#endif
