/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/ldap_check.h"

#include <ldap.h>

#include "proxy/base/err.h"

static bool check_dn(const char *text, struct err *err)
{
	LDAPDN dn = NULL;
	int result = ldap_str2dn(text, &dn, LDAP_DN_FORMAT_LDAPV3);

	ldap_dnfree(dn);
	return result == LDAP_SUCCESS || err_set(err, "\"%.80s\" is not a "
	    "name; expected one like ou=people,dc=example,dc=net", text);
}

/* libldap reads a filter only when it sends one, which it does before it
 * connects; here there is nothing to connect to. */
static bool check_filter(const char *filter, struct err *err)
{
	LDAP *ld = NULL;
	int id, result = ldap_initialize(&ld, "ldapi://%2fdev%2fnull");

	if (result == LDAP_SUCCESS)
		result = ldap_search_ext(ld, "", LDAP_SCOPE_BASE, filter, NULL,
		    0, NULL, NULL, NULL, 0, &id);
	if (ld)
		ldap_unbind_ext(ld, NULL, NULL);
	return result != LDAP_FILTER_ERROR || err_set(err, "\"%.80s\" is not "
	    "a filter; expected one like (mail=%%s)", filter);
}

static bool check_url(const char *url, struct err *err)
{
	LDAP *ld = NULL;
	int result = ldap_initialize(&ld, url);

	if (ld)
		ldap_unbind_ext(ld, NULL, NULL);
	return result == LDAP_SUCCESS || err_set(err, "\"%.80s\" is not a "
	    "URL of LDAP: %s", url, ldap_err2string(result));
}

bool ldap_check(const char *url, const char *dn, const char *filter,
    struct err *err)
{
	return (!url || check_url(url, err)) && (!dn || check_dn(dn, err)) &&
	    (!filter || check_filter(filter, err));
}
