/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/auth.h"
#include "backends/conf.h"
#include "backends/module.h"
#include "proxy/base/err.h"

const struct auth_kind *auth_kind(unsigned driver, struct err *err)
{
	const struct module *m;

	switch ((enum conf_auth_driver)driver) {
	case CONF_AUTH_NONE:
		break;
	case CONF_AUTH_FILE:
		return &auth_file;
	case CONF_AUTH_HTTP:
		m = module_load("http", err);
		return m ? m->auth : NULL;
	case CONF_AUTH_LDAP:
		m = module_load("ldap", err);
		return m ? m->auth : NULL;
	}
	must(!"no driver is asked for");
	return NULL;
}
