/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/load.h"

#include <unistd.h>

#include "admin/conf.h"
#include "admin/privileges.h"
#include "backends/keep.h"
#include "backends/auth.h"
#include "backends/conf.h"
#include "backends/geo.h"
#include "backends/table.h"
#include "proxy/base/err.h"
#include "proxy/base/tlsctx.h"
#include "proxy/conf.h"
#include "proxy/ipc.h"
#include "proxy/snapshot.h"

/* Children get the files by message. */
#define FILE_MAX_BYTES (IPC_FRAME_MAX / 2)
#define FILES_MAX_BYTES (IPC_QUEUE_MAX / 2)

struct sum {
	size_t bytes;
	const struct settings_file *too_big;
};

static void add_file(void *arg, const struct settings_file *f,
    bool is_secret)
{
	struct sum *sum = arg;

	(void)is_secret;
	sum->bytes += f->data.n;
	if (f->data.n > FILE_MAX_BYTES)
		sum->too_big = f;
}

static bool check_files(const struct settings *s, struct err *err)
{
	struct sum sum = { 0 };

	settings_files(s, add_file, &sum);
	if (sum.too_big)
		return err_set(err, "%s: %zu bytes; expected %u at most",
		    sum.too_big->path, sum.too_big->data.n, FILE_MAX_BYTES);
	if (sum.bytes > FILES_MAX_BYTES)
		return err_set(err, "the files of all settings have %zu "
		    "bytes; expected %u at most", sum.bytes, FILES_MAX_BYTES);
	return true;
}

static bool check_tls(struct settings *s, struct err *err)
{
	struct tls_tickets tickets = { 0 };
	struct snapshot *snapshot = snapshot_new(settings_ref(s), &tickets,
	    err);
	size_t n;

	if (!snapshot)
		return false;
	const struct conf_backend *const *all = conf_backend_all(s, &n);
	bool is_good = true;
	for (size_t i = 0; i < n && is_good; i++)
		if (all[i]->tls != CONF_TLS_NONE)
			is_good = snapshot_tls_client(snapshot, all[i], err);
	snapshot_unref(&snapshot);
	return is_good;
}

struct settings *load_settings(const char *path, struct err *err)
{
	struct settings *s = settings_load(path, &conf_schema, err);

	if (s && (!check_files(s, err) || !check_tls(s, err) ||
	    !tables_check(s, err) || !auth_test(s, err) ||
	    !geo_check(conf_geoip(s), err)))
		settings_unref(&s);
	return s;
}

bool load_give(const struct settings *settings, const struct privileges *p,
    struct err *err)
{
	const struct conf_admin *a = conf_admin(settings);

	if (p->is_root && !tables_give(settings, p->uid, p->gid, err))
		return false;
	return !a->state_file[0] ||
	    keep_give(a->state_file, p->is_root ? p->uid : geteuid(),
	    p->is_root ? p->gid : getegid(), err) ||
	    err_prefix(err, "%s: admin.state_file", a->where);
}
