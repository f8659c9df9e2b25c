/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/auth.h"
#include "backends/ldap_client.h"
#include "backends/module.h"
#include "backends/table.h"

const struct module mailweir_module = {
	.release = MAILWEIR_VERSION,
	.library = ldap_client_library,
	.table = &table_ldap,
	.auth = &auth_ldap,
};
