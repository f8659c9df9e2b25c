/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
/* A table's file made anew: appended to in batches, without locks, for nobody
 * else knows it yet. */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/table_store.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define BATCH_BYTES ((size_t)8 << 20)	/* of keys and values */
/* What a batch may take: small entries have some 20 bytes of their own. */
#define BATCH_ROOM_BYTES ((size_t)128 << 20)
#define ENTRY_BYTES 16

struct table_build {
	char *path, *path_new, *lock, *lock_new;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi db;
	size_t batch_bytes;
	bool is_made;			/* path_new exists */
};

static bool fail(const struct table_build *b, int rc, struct err *err)
{
	return err_set(err, "%s: %s", b->path_new, mdb_strerror(rc));
}

static void close_env(struct table_build *b)
{
	if (b->txn)
		mdb_txn_abort(b->txn);
	b->txn = NULL;
	if (b->env)
		mdb_env_close(b->env);
	b->env = NULL;
}

void table_build_free(struct table_build **bp)
{
	struct table_build *b = *bp;

	if (!b)
		return;
	*bp = NULL;
	close_env(b);
	if (b->is_made) {
		unlink(b->path_new);
		unlink(b->lock_new);
	}
	free(b->path);
	free(b->path_new);
	free(b->lock);
	free(b->lock_new);
	free(b);
}

/* The map may only grow between transactions. */
static int batch_begin(struct table_build *b)
{
	MDB_envinfo info;
	MDB_stat stat;

	mdb_env_info(b->env, &info);
	mdb_env_stat(b->env, &stat);
	size_t wanted = (info.me_last_pgno + 1) * stat.ms_psize +
	    BATCH_ROOM_BYTES;
	int rc = info.me_mapsize < wanted ?
	    mdb_env_set_mapsize(b->env, wanted) : 0;
	if (rc == 0)
		rc = mdb_txn_begin(b->env, NULL, 0, &b->txn);
	if (rc == 0)
		rc = mdb_dbi_open(b->txn, NULL, 0, &b->db);
	b->batch_bytes = 0;
	return rc;
}

static int batch_end(struct table_build *b)
{
	MDB_txn *txn = b->txn;

	b->txn = NULL;
	return mdb_txn_commit(txn);
}

struct table_build *table_build_new(const char *path, struct err *err)
{
	struct table_build *b = mem_alloc(sizeof *b);

	b->path = mem_strdup(path);
	b->path_new = mem_printf("%s.new-%d", path, (int)getpid());
	b->lock = mem_printf("%s-lock", path);
	b->lock_new = mem_printf("%s-lock.new-%d", path, (int)getpid());
	if (unlink(b->path_new) < 0 && errno != ENOENT) {
		err_set(err, "%s: %s", b->path_new, strerror(errno));
		table_build_free(&b);
		return NULL;
	}
	b->is_made = true;
	int rc = mdb_env_create(&b->env);
	if (rc == 0)
		rc = mdb_env_open(b->env, b->path_new, MDB_NOSUBDIR |
		    MDB_NOLOCK | MDB_NOSYNC | MDB_NOTLS, 0644);
	if (rc == 0)
		rc = batch_begin(b);
	if (rc != 0) {
		fail(b, rc, err);
		table_build_free(&b);
	}
	return b;
}

bool table_build_add(struct table_build *b, struct str key, struct str value,
    struct err *err)
{
	union { const void *from; void *to; } k = { key.p }, v = { value.p };
	MDB_val mk = { key.n, k.to }, mv = { value.n, v.to };
	int rc = 0;

	if (b->batch_bytes >= BATCH_BYTES) {
		rc = batch_end(b);
		if (rc == 0)
			rc = batch_begin(b);
		if (rc != 0)
			return fail(b, rc, err);
	}
	if (key.n == 0 || key.n > TABLE_STORE_KEY_MAX)
		return err_set(err, "a key of %zu bytes; expected 1 to %d",
		    key.n, TABLE_STORE_KEY_MAX);
	rc = mdb_put(b->txn, b->db, &mk, &mv, MDB_APPEND);
	b->batch_bytes += key.n + value.n + ENTRY_BYTES;
	return rc == 0 || fail(b, rc, err);
}

static bool give_as(const char *from, const char *to)
{
	struct stat st;

	if (stat(from, &st) < 0)
		return errno == ENOENT;
	/* only root can give away, and who is not may have made both */
	if (chown(to, st.st_uid, st.st_gid) < 0 && geteuid() == 0)
		return false;
	return chmod(to, st.st_mode & 07777) == 0;
}

/* A lock file that nobody holds: the old one's holders keep theirs. It must
 * be there first: old data with it do no harm, since who opens them takes
 * what it has to say from them. */
static bool replace_lock(struct table_build *b)
{
	int fd = open(b->lock_new, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC |
	    O_NOFOLLOW, 0644);

	if (fd < 0)
		return false;
	close(fd);
	return give_as(b->lock, b->lock_new) &&
	    rename(b->lock_new, b->lock) == 0;
}

bool table_build_finish(struct table_build *b, struct err *err)
{
	int rc = batch_end(b);

	if (rc == 0)
		rc = mdb_env_sync(b->env, 1);
	if (rc != 0)
		return fail(b, rc, err);
	close_env(b);
	if (!give_as(b->path, b->path_new) || !replace_lock(b) ||
	    rename(b->path_new, b->path) < 0)
		return err_set(err, "%s: %s", b->path, strerror(errno));
	b->is_made = false;
	return true;
}
