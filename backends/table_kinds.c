/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/conf.h"
#include "backends/module.h"
#include "backends/table.h"

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	const struct module *m;

	switch ((enum conf_table_type)type) {
	case CONF_TABLE_FILE:
		return &table_file;
	case CONF_TABLE_LMDB:
		return &table_lmdb;
	case CONF_TABLE_REDIS:
		return &table_redis;
	case CONF_TABLE_HTTP:
		m = module_load("http", err);
		return m ? m->table : NULL;
	case CONF_TABLE_LDAP:
		m = module_load("ldap", err);
		return m ? m->table : NULL;
	}
	return NULL;
}
