/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/ldap_text.h"

#include "proxy/base/err.h"
#include "proxy/base/mem.h"

#define ESCAPED 3	/* bytes of "\2a" */

bool ldap_text_check(const char *template, const char *letters,
    struct err *err)
{
	bool has_any = false;

	for (const char *p = template; *p; p++) {
		if ((unsigned char)*p < ' ')
			return err_set(err, "a control character");
		if (*p != '%')
			continue;
		p++;
		if (*p == '%')
			continue;
		if (!*p || !strchr(letters, *p))
			return err_set(err, "\"%%%.1s\" stands for nothing; "
			    "expected %% and one of \"%s%%\"", p, letters);
		has_any = true;
	}
	if (!has_any)
		return err_set(err, "no place for the user; expected %%%c in "
		    "it", letters[0]);
	return true;
}

static bool is_harmless(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '@' || c == '.' || c == '-' ||
	    c == '_';
}

static char *put(char *to, struct str s)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (is_harmless(s.p[i])) {
			*to++ = s.p[i];
			continue;
		}
		*to++ = '\\';
		*to++ = digits[c >> 4];
		*to++ = digits[c & 15];
	}
	return to;
}

char *ldap_text_fill(const char *template, struct str name)
{
	const char *at = name.n ? memrchr(name.p, '@', name.n) : NULL;
	struct str local = name, domain = STR_NONE;
	size_t n = strlen(template);

	if (at) {
		local.n = (size_t)(at - name.p);
		domain = str_skip(name, local.n + 1);
	}
	for (const char *p = template; *p; p++)
		n += *p == '%' ? name.n * ESCAPED : 0;
	char *text = mem_alloc(n + 1), *to = text;
	for (const char *p = template; *p; p++) {
		if (*p != '%') {
			*to++ = *p;
			continue;
		}
		switch (*++p) {
		case '%':
			*to++ = '%';
			break;
		case 'n':
			to = put(to, local);
			break;
		case 'd':
			to = put(to, domain);
			break;
		default:
			must(*p == 's' || *p == 'u');
			to = put(to, name);
		}
	}
	return text;
}

/* --- URLs ----------------------------------------------------------------- */

static bool is_local_host(struct str host)
{
	static const char *const local[] = { "127.", "localhost", "[::1]" };

	for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
		if (str_istarts(host, str_from(local[i])))
			return true;
	return false;
}

bool ldap_text_check_urls(const char *urls, bool *is_tls_out,
    bool *is_local_out, struct err *err)
{
	struct str rest = str_from(urls);

	*is_tls_out = *is_local_out = true;
	do {
		struct str url = str_split(rest, ' ', &rest);
		bool has_tls = str_istarts(url, STR("ldaps://"));
		bool is_socket = str_istarts(url, STR("ldapi://"));
		size_t n_scheme = has_tls || is_socket ? 8 : 7;
		if (!has_tls && !is_socket &&
		    !str_istarts(url, STR("ldap://")))
			return err_set(err, "\"%.*s\" is not a URL of LDAP; "
			    "expected ldap://host, ldaps://host or "
			    "ldapi://path", (int)(url.n < 80 ? url.n : 80),
			    url.p ? url.p : "");
		struct str host = str_skip(url, n_scheme);
		if (host.n && host.p[host.n - 1] == '/')
			host.n--;
		if (host.n == 0 || memchr(host.p, '/', host.n) ||
		    memchr(host.p, '?', host.n))
			return err_set(err, "\"%.*s\" is not a server alone; "
			    "expected it without a path, and base and filter "
			    "as settings", (int)(url.n < 80 ? url.n : 80),
			    url.p);
		*is_tls_out = *is_tls_out && has_tls;
		*is_local_out = *is_local_out && (is_socket ||
		    is_local_host(host));
	} while (rest.n);
	return true;
}
