/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/table_store.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define SPINS 100		/* while writers commit */
#define DOUBT_S 2.		/* longer than a disk takes to sync a page */
#define ROOM_BYTES ((size_t)64 << 20)	/* for a writer, at least */
#define RETRY_US 50000

struct table_store {
	char *path;
	MDB_env *env;
	MDB_txn *reading;	/* reset between look-ups */
	MDB_dbi db;		/* the unnamed one */
	enum table_store_mode mode;
	dev_t dev;
	ino_t inode;
	int fd;			/* the environment's */
	off_t least;		/* bytes that its pages take */
	double doubt_until;
	bool is_proven;		/* the lock file is this file's own */
	bool is_foreign;	/* it is not, or not any more */
};

static bool fail(const struct table_store *s, int rc, struct err *err)
{
	return err_set(err, "%s: %s", s->path, mdb_strerror(rc));
}

void table_store_close(struct table_store **sp)
{
	struct table_store *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	if (s->reading)
		mdb_txn_abort(s->reading);
	mdb_env_close(s->env);
	free(s->path);
	free(s);
}

/* --- opening ----------------------------------------------------------------- */

static off_t bytes_used(const struct table_store *s)
{
	MDB_envinfo info;
	MDB_stat stat;

	mdb_env_info(s->env, &info);
	mdb_env_stat(s->env, &stat);
	return (off_t)((info.me_last_pgno + 1) * stat.ms_psize);
}

/* LMDB would say less, and on a file system that is read-only for this
 * process it would do without locks. */
static bool may_lock(const struct table_store *s, struct err *err)
{
	char *lock = mem_printf("%s-lock", s->path);
	bool is_good = access(s->path, R_OK) == 0;

	if (!is_good)
		err_set(err, "%s: %s", s->path, strerror(errno));
	else if (access(lock, R_OK | W_OK) < 0 && errno != ENOENT)
		is_good = err_set(err, "%s: %s; this account must be able to "
		    "write to it", lock, strerror(errno));
	free(lock);
	return is_good;
}

static bool open_env(struct table_store *s, struct err *err)
{
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD;
	struct stat st;
	int rc;

	switch (s->mode) {
	case TABLE_STORE_READ:
		flags |= MDB_RDONLY;
		break;
	case TABLE_STORE_LOOK:
		flags |= MDB_RDONLY | MDB_NOLOCK;
		break;
	case TABLE_STORE_WRITE:
		break;
	}
	if (s->mode == TABLE_STORE_READ && !may_lock(s, err))
		return false;
	rc = mdb_env_create(&s->env);
	if (rc == 0)
		rc = mdb_env_open(s->env, s->path, flags, 0644);
	if (rc != 0)
		return fail(s, rc, err);
	mdb_env_get_fd(s->env, &s->fd);
	if (fstat(s->fd, &st) < 0)
		return fail(s, errno, err);
	s->dev = st.st_dev;
	s->inode = st.st_ino;
	s->least = bytes_used(s);
	if (st.st_size < s->least)
		return err_set(err, "%s: cut: %lld bytes; expected %lld",
		    s->path, (long long)st.st_size, (long long)s->least);
	return true;
}

/*
 * The transaction's number comes from the lock file, that of the newest
 * content from the data. Two that belong together say the same; but while a
 * writer commits, the data are one ahead for as long as the disk takes, and
 * the reader has what was before, whole. A foreign file may be one ahead by
 * chance: then it stays so.
 */
static bool is_matched(struct table_store *s, MDB_txn *txn)
{
	MDB_envinfo info;

	if (s->mode == TABLE_STORE_LOOK)
		return true;
	mdb_env_info(s->env, &info);
	size_t ahead = info.me_last_txnid - mdb_txn_id(txn);
	if (ahead == 0)
		s->is_proven = true;
	return ahead == 0 || (ahead == 1 &&
	    (s->is_proven || clock_now() < s->doubt_until));
}

static int renew(struct table_store *s)
{
	int rc = s->reading ? mdb_txn_renew(s->reading) :
	    mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reading);

	if (rc != MDB_MAP_RESIZED)
		return rc;
	rc = mdb_env_set_mapsize(s->env, 0);	/* the writer's */
	if (rc != 0)
		return rc;
	return s->reading ? mdb_txn_renew(s->reading) :
	    mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reading);
}

static bool read_begin(struct table_store *s, struct err *err)
{
	for (int i = 0; i < SPINS; i++) {
		int rc = renew(s);
		if (rc != 0)
			return fail(s, rc, err);
		if (is_matched(s, s->reading))
			return true;
		mdb_txn_reset(s->reading);
	}
	s->is_foreign = true;
	return err_set(err, "%s-lock: belongs to a file that was replaced and "
	    "is still in use", s->path);
}

static bool try_open(struct table_store *s, struct err *err)
{
	if (!open_env(s, err) || !read_begin(s, err))
		return false;
	int rc = mdb_dbi_open(s->reading, NULL, 0, &s->db);
	mdb_txn_reset(s->reading);
	return rc == 0 || fail(s, rc, err);
}

struct table_store *table_store_open(const char *path,
    enum table_store_mode mode, double wait_s, struct err *err)
{
	double until = clock_now() + wait_s;

	for (;;) {
		struct table_store *s = mem_alloc(sizeof *s);
		s->path = mem_strdup(path);
		s->mode = mode;
		/* a writer would write over what it does not see */
		if (mode == TABLE_STORE_READ)
			s->doubt_until = clock_now() + DOUBT_S;
		if (try_open(s, err))
			return s;
		bool is_foreign = s->is_foreign;
		table_store_close(&s);
		if (!is_foreign || clock_now() >= until)
			return NULL;
		usleep(RETRY_US);
	}
}

/* --- reading ------------------------------------------------------------------- */

static struct str str_of(const MDB_val *v)
{
	return (struct str){ v->mv_data, v->mv_size };
}

static MDB_val val_of(struct str s)
{
	union { const void *from; void *to; } p = { s.p };

	return (MDB_val){ s.n, p.to };
}

static bool is_key(struct str key)
{
	return key.n > 0 && key.n <= TABLE_STORE_KEY_MAX;
}

enum table_verdict table_store_get(struct table_store *s, struct str key,
    char to[TABLE_VALUE_MAX], struct str *value_out, struct err *err)
{
	MDB_val k = val_of(key), v;
	enum table_verdict verdict = TABLE_FAILED;

	if (!is_key(key))
		return TABLE_MISSING;
	if (!read_begin(s, err))
		return TABLE_FAILED;
	int rc = mdb_get(s->reading, s->db, &k, &v);
	if (rc == MDB_NOTFOUND) {
		verdict = TABLE_MISSING;
	} else if (rc != 0) {
		fail(s, rc, err);
	} else if (v.mv_size > TABLE_VALUE_MAX) {
		err_set(err, "%s: a value of %zu bytes", s->path, v.mv_size);
	} else {
		memcpy(to, v.mv_data, v.mv_size);
		*value_out = (struct str){ to, v.mv_size };
		verdict = TABLE_FOUND;
	}
	mdb_txn_reset(s->reading);
	return verdict;
}

bool table_store_each(struct table_store *s, table_store_visit_fn *visit,
    void *arg, struct err *err)
{
	MDB_cursor *cursor;
	MDB_val k, v;

	if (!read_begin(s, err))
		return false;
	int rc = mdb_cursor_open(s->reading, s->db, &cursor);
	if (rc == 0) {
		while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
			if (!visit(arg, str_of(&k), str_of(&v)))
				break;
		mdb_cursor_close(cursor);
	}
	mdb_txn_reset(s->reading);
	return rc == 0 || rc == MDB_NOTFOUND || fail(s, rc, err);
}

uint64_t table_store_n(struct table_store *s)
{
	MDB_stat stat;

	return mdb_env_stat(s->env, &stat) == 0 ? stat.ms_entries : 0;
}

bool table_store_is_cut(const struct table_store *s)
{
	struct stat st;

	return fstat(s->fd, &st) < 0 || st.st_size < s->least;
}

bool table_store_is_replaced(const struct table_store *s)
{
	struct stat st;

	return s->is_foreign || stat(s->path, &st) < 0 || st.st_dev != s->dev ||
	    st.st_ino != s->inode || table_store_is_cut(s);
}

/* --- writing ------------------------------------------------------------------- */

/* A transaction that needs more room than there is begins again with more. */
static int grow(struct table_store *s)
{
	MDB_envinfo info;

	mdb_env_info(s->env, &info);
	return mdb_env_set_mapsize(s->env, info.me_mapsize +
	    info.me_mapsize / 2 + ROOM_BYTES);
}

static int write_begin(struct table_store *s, MDB_txn **txn_out)
{
	int rc = mdb_txn_begin(s->env, NULL, 0, txn_out);

	if (rc == MDB_MAP_RESIZED) {
		rc = mdb_env_set_mapsize(s->env, 0);
		if (rc == 0)
			rc = mdb_txn_begin(s->env, NULL, 0, txn_out);
	}
	return rc;
}

/* value NULL: deletes. */
static int change(struct table_store *s, struct str key,
    const struct str *value)
{
	MDB_val k = val_of(key), v = { 0 };
	MDB_txn *txn;
	int rc = write_begin(s, &txn), dead;

	if (rc != 0)
		return rc;
	(void)mdb_reader_check(s->env, &dead);
	if (value)
		v = val_of(*value);
	rc = value ? mdb_put(txn, s->db, &k, &v, 0) : mdb_del(txn, s->db, &k, NULL);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static int change_growing(struct table_store *s, struct str key,
    const struct str *value)
{
	int rc = change(s, key, value);

	while (rc == MDB_MAP_FULL) {
		rc = grow(s);
		if (rc == 0)
			rc = change(s, key, value);
	}
	return rc;
}

bool table_store_set(struct table_store *s, struct str key, struct str value,
    struct err *err)
{
	if (!is_key(key) || value.n > TABLE_VALUE_MAX)
		return err_set(err, "%s: expected a key of 1 to %d bytes and "
		    "a value of %d at most", s->path, TABLE_STORE_KEY_MAX,
		    TABLE_VALUE_MAX);
	int rc = change_growing(s, key, &value);
	return rc == 0 || fail(s, rc, err);
}

enum table_verdict table_store_del(struct table_store *s, struct str key,
    struct err *err)
{
	if (!is_key(key))
		return TABLE_MISSING;
	int rc = change_growing(s, key, NULL);
	if (rc == 0)
		return TABLE_FOUND;
	if (rc == MDB_NOTFOUND)
		return TABLE_MISSING;
	fail(s, rc, err);
	return TABLE_FAILED;
}

/* --- the lock file ------------------------------------------------------------- */

bool table_store_give_lock(const char *path, uid_t uid, gid_t gid,
    struct err *err)
{
	char *lock = mem_printf("%s-lock", path);
	int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
	    O_NONBLOCK, 0600);
	struct stat st;
	bool is_good = fd >= 0 && fstat(fd, &st) == 0;

	if (!is_good)
		err_set(err, "%s: %s", lock, strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		is_good = err_set(err, "%s: expected a file of one name",
		    lock);
	else if (st.st_uid != uid && fchown(fd, uid, gid) < 0)
		is_good = err_set(err, "%s: %s", lock, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(lock);
	return is_good;
}
