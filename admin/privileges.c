/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/sandbox.h"

bool privileges_find(struct privileges *p, const char *user, struct err *err)
{
	*p = (struct privileges){ .is_root = geteuid() == 0 };
	if (!p->is_root)
		return true;
	errno = 0;
	struct passwd *pw = getpwnam(user);
	if (!pw)
		return err_set(err, "user: there is no account \"%s\"%s%s; "
		    "create it or name another", user, errno ? ": " : "",
		    errno ? strerror(errno) : "");
	if (pw->pw_uid == 0 || pw->pw_gid == 0)
		return err_set(err, "user: \"%s\" is root or of root's group; "
		    "name an account without rights", user);
	p->uid = pw->pw_uid;
	p->gid = pw->pw_gid;
	snprintf(p->name, sizeof p->name, "%s", user);
	return true;
}

bool privileges_drop(const struct privileges *p, struct err *err)
{
	/* A parent that is not root may have been lent the right to bind low
	 * ports; its children need none. Old kernels do not know ambient
	 * capabilities, and have none. */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (p->is_root && (initgroups(p->name, p->gid) < 0 ||
	    setresgid(p->gid, p->gid, p->gid) < 0 ||
	    setresuid(p->uid, p->uid, p->uid) < 0))
		return err_set(err, "cannot become \"%s\": %s", p->name,
		    strerror(errno));
	if (p->is_root && setuid(0) == 0)
		return err_set(err, "became root again");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, "no_new_privs: %s", strerror(errno));
	return true;
}

void privileges_harden(void)
{
	const struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	/* The leak check of a sanitized build looks into its own process. */
	if (!SANDBOX_IS_SANITIZED)
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void privileges_raise_nofile(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}
