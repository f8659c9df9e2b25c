/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_NOTIFY_H
#define ADMIN_NOTIFY_H
/*
 * notify - tells systemd how the service is
 *
 * Without NOTIFY_SOCKET in the environment nothing happens.
 *
 * Errors   none: nobody is left to tell.
 * Thread   the parent.
 * Source   sd_notify(3) and systemd.service(5), Type=notify-reload.
 */

/* All is up, also after a reload. status is for a person to read. */
void notify_ready(const char *status);
void notify_reloading(void);
void notify_stopping(void);
#endif
