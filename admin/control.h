/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_CONTROL_H
#define ADMIN_CONTROL_H
/*
 * control - the process that decides
 *
 *	parent  -> LOG, FILE, SETTINGS, PEER, STOP     <- READY, FAILED
 *	worker  -> DECIDE, RELEASE, SESSION, SYNCED    <- GRANT, REFUSE, WAIT,
 *	                                  FILE, SETTINGS, TICKET_KEY, CAPABILITIES
 *
 * Owns what must be one: the configuration in force, who is where, the
 * addresses and capabilities of the backends, the session ticket keys. It may
 * die at any time: the next one learns from the workers who is where, and
 * answers no question before all of them have told it, or CONTROL_SYNC_S have
 * passed.
 *
 * Errors   a configuration that cannot be put in force is told (FAILED), and
 *          the old one stays. A worker's link that ends takes its sessions
 *          along. Without the parent it lasts as long as its workers, at most
 *          CONTROL_ORPHAN_S.
 * Thread   its own loop.
 * Source   proxy/messages.def.
 */
#define CONTROL_SYNC_S 0.5
#define CONTROL_ORPHAN_S 15.

/* Runs until it is told to stop. fd: the link to the parent. Returns the
 * process's exit status. */
int control_main(int fd);
#endif
