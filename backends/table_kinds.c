/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/conf.h"
#include "backends/table.h"

const struct table_kind *const table_kinds[] = {
	[CONF_TABLE_FILE] = &table_file,
	[CONF_TABLE_LMDB] = &table_lmdb,
};
