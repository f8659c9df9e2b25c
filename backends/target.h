/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_TARGET_H
#define BACKENDS_TARGET_H
/*
 * target - a backend that an SRV record names
 *
 *	backend mail { address = "srv+_imap._tcp.example.net" ... }
 *	  ->  "mail/imap3.example.net:143": all of mail's settings, but for
 *	      the name, the address and the weight
 *
 * Control and workers come to the same settings by themselves, from the
 * section and the target's name alone.
 *
 * Units    weights as of the setting weight, 0..1000.
 * Errors   false, or NULL: it is not the name of a target of a section that
 *          there is.
 * Owns     target_conf() is the caller's, to free(); what it shows but for
 *          name and address belongs to the settings.
 * Thread   any.
 * Source   RFC 2782 (SRV).
 */
#include <stdbool.h>

#include "proxy/base/str.h"

struct conf_backend;
struct resolve_target;
struct settings;

/* The address of the section is an SRV name, which makes its targets
 * backends, and not itself. */
bool target_is_srv(const struct conf_backend *section);

/* The section of a target of this name. */
const struct conf_backend *target_section(const struct settings *settings,
    struct str name);

/* The settings of that target; weight: see target_weight(). */
struct conf_backend *target_conf(const struct conf_backend *section,
    struct str name, unsigned weight);

/* "mail/imap3.example.net:143", to free(). */
char *target_name(const struct conf_backend *section,
    const struct resolve_target *t);

/* The record's weights up to 1000 count as they are; in one that has a
 * greater one, all count as a 66th. 0 is little beside others; where all of
 * one priority are 0, each has the section's. most: the record's greatest,
 * sum: that of the target's priority. */
unsigned target_weight(const struct conf_backend *section,
    const struct resolve_target *t, unsigned most, unsigned sum);

/*
 *	host-port = ("[" ipv6 "]" / host) [":" port] / ipv6
 *
 * port: a number, imap, imap2 or imaps; *port_out is 0 without one.
 */
bool target_split(struct str text, struct str *host_out, unsigned *port_out);
#endif
