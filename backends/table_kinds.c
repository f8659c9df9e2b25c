/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/conf.h"
#include "backends/table.h"

const struct table_kind *table_kind(unsigned type, struct err *err)
{
	(void)err;
	switch ((enum conf_table_type)type) {
	case CONF_TABLE_FILE:
		return &table_file;
	case CONF_TABLE_LMDB:
		return &table_lmdb;
	case CONF_TABLE_REDIS:
		return &table_redis;
	}
	return NULL;
}
