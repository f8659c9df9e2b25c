/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_NAMES_H
#define ADMIN_NAMES_H
/*
 * names - what the DNS has told last, over the death of control
 *
 *	resolve -> keep -> the resolve of the next control
 *
 *	name srv+_imap._tcp.example.net   0  "10 60 143 imap1.example.net"
 *	name imap1.example.net            0  "192.0.2.1"
 *
 * A name server that is silent when control begins must not cost the users
 * of backends that live. So what was known of a name is recalled for the new
 * control, which uses it as soon as a question has failed.
 *
 * Errors   none: a name that cannot be kept (keep.h) is not known the next
 *          time.
 * Owns     nothing.
 * Thread   control's.
 */
struct keep;
struct resolve;

/* To be called when names have changed; takes their news. Answers that are new
 * are kept, and names of which nothing is known yet get what was kept. What
 * nobody watches any more is forgotten. */
void names_update(struct resolve *r, struct keep *k);
#endif
