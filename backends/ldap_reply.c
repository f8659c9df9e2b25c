/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/ldap_reply.h"

static int read_result(struct ldap_reply *r, LDAP *ld, LDAPMessage *m)
{
	int result = LDAP_OTHER;
	char *text = NULL;

	*r = (struct ldap_reply){ .reply.verdict = LDAP_CLIENT_FAILED };
	int error = ldap_parse_result(ld, m, &result, NULL, &text, NULL, NULL,
	    0);
	if (error != LDAP_SUCCESS)
		result = error;
	err_set(&r->why, "%s%s%.150s", ldap_err2string(result),
	    text && text[0] ? ": " : "", text ? text : "");
	r->reply.why = r->why.text;
	ldap_memfree(text);
	return result;
}

/* One value at most of each. */
static bool take_values(struct ldap_reply *r, LDAP *ld, LDAPMessage *entry,
    const char *const *names)
{
	for (size_t i = 0; names && names[i]; i++) {
		must(i < LDAP_CLIENT_ATTRIBUTES);
		r->values[i] = ldap_get_values_len(ld, entry, names[i]);
		int n = ldap_count_values_len(r->values[i]);
		if (n > 1)
			return err_set(&r->why, "%s has %d values; expected "
			    "one", names[i], n);
		if (n == 1)
			r->reply.values[i] = (struct str){
				r->values[i][0]->bv_val,
				r->values[i][0]->bv_len };
	}
	return true;
}

void ldap_reply_to_search(struct ldap_reply *r, LDAP *ld,
    LDAPMessage *result, LDAPMessage *entry, size_t n_entries, bool is_base,
    const char *const *attributes)
{
	int code = read_result(r, ld, result);

	if (code == LDAP_SIZELIMIT_EXCEEDED || n_entries > 1) {
		err_set(&r->why, "more than one entry; expected one");
	} else if (code == LDAP_NO_SUCH_OBJECT && is_base) {
		r->reply.verdict = LDAP_CLIENT_NO;
	} else if (code == LDAP_SUCCESS && !entry) {
		r->reply.verdict = LDAP_CLIENT_NO;
	} else if (code == LDAP_SUCCESS &&
	    take_values(r, ld, entry, attributes)) {
		r->reply.verdict = LDAP_CLIENT_YES;
		r->dn = ldap_get_dn(ld, entry);
		r->reply.dn = str_from(r->dn);
	}
}

/* An entry without a password, or none at all, is no other thing to a client
 * than a wrong one. */
void ldap_reply_to_bind(struct ldap_reply *r, LDAP *ld, LDAPMessage *result)
{
	switch (read_result(r, ld, result)) {
	case LDAP_SUCCESS:
		r->reply.verdict = LDAP_CLIENT_YES;
		break;
	case LDAP_INVALID_CREDENTIALS:
	case LDAP_INAPPROPRIATE_AUTH:
	case LDAP_NO_SUCH_OBJECT:
		r->reply.verdict = LDAP_CLIENT_NO;
		break;
	default:
		break;
	}
}

void ldap_reply_fini(struct ldap_reply *r)
{
	for (size_t i = 0; i < LDAP_CLIENT_ATTRIBUTES; i++)
		ldap_value_free_len(r->values[i]);
	ldap_memfree(r->dn);
}
