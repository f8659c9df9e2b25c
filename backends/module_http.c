/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/auth.h"
#include "backends/http_client.h"
#include "backends/module.h"
#include "backends/table.h"

const struct module mailweir_module = {
	.release = MAILWEIR_VERSION,
	.library = http_client_library,
	.table = &table_http,
	.auth = &auth_http,
};
