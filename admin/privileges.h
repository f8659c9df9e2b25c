/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef ADMIN_PRIVILEGES_H
#define ADMIN_PRIVILEGES_H
/*
 * privileges - what the parent keeps and its children lose
 *
 * Started as root, the parent stays root and children become the account of
 * the setting user; started as anybody else, all run as that one. Either way
 * children gain nothing by a set-uid program, hold no capability, leave no
 * core dump, and no process of the same account can look into them.
 *
 * Errors   privileges_find(): err, for the start. In a child nothing may go
 *          on with more rights than asked for: false means _exit().
 * Thread   any; fork's child calls privileges_drop() before exec, and the new
 *          program privileges_harden() first of all: exec forgets half of it.
 * Not here what a worker may do: proxy/sandbox.
 */
#include <stdbool.h>
#include <sys/types.h>

struct err;

struct privileges {
	bool is_root;		/* only then the rest is set */
	uid_t uid;
	gid_t gid;
	char name[64];
};

/* Looks the account up (blocks). Not root: there is nothing to look up. */
bool privileges_find(struct privileges *p, const char *user, struct err *err)
    __attribute__((warn_unused_result));

bool privileges_drop(const struct privileges *p, struct err *err)
    __attribute__((warn_unused_result));

void privileges_harden(void);

/* As many descriptors as the hard limit allows. */
void privileges_raise_nofile(void);
#endif
