/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/url.h"

#include <ctype.h>

#include "proxy/base/err.h"

static bool is_port(struct str text)
{
	unsigned port = 0;

	for (size_t i = 0; i < text.n; i++) {
		if (!isdigit((unsigned char)text.p[i]) || i > 4)
			return false;
		port = port * 10 + (unsigned)(text.p[i] - '0');
	}
	return port > 0 && port <= 65535;
}

static bool is_authority(struct str text, struct str *host_out)
{
	struct str rest, ip;

	if (text.n && text.p[0] == '[') {
		ip = str_split(text, ']', &rest);
		*host_out = (struct str){ text.p, ip.n + 1 };
		if (ip.n == text.n || ip.n < 3)
			return false;
		return rest.n == 0 || (rest.p[0] == ':' &&
		    is_port(str_skip(rest, 1)));
	}
	*host_out = str_split(text, ':', &rest);
	return host_out->n > 0 &&
	    (host_out->n == text.n || is_port(rest));
}

bool url_parse(struct str text, struct url *out, struct err *err)
{
	static const char expected[] =
	    "expected http://host[:port]/path or https://...";
	struct str rest = text;
	size_t n = 0;

	*out = (struct url){ .is_tls = str_istarts(text, STR("https://")) };
	if (out->is_tls)
		rest = str_skip(rest, sizeof "https://" - 1);
	else if (str_istarts(text, STR("http://")))
		rest = str_skip(rest, sizeof "http://" - 1);
	else
		return err_set(err, "not the URL of an HTTP server; %s",
		    expected);
	for (size_t i = 0; i < rest.n; i++)
		if (rest.p[i] <= ' ' || rest.p[i] > '~' || rest.p[i] == '#')
			return err_set(err, "a character that cannot stand in "
			    "a URL; expected it as %%XX");
	while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
		n++;
	out->target = str_skip(rest, n);
	out->authority = (struct str){ rest.p, n };
	if (n && memchr(rest.p, '@', n))
		return err_set(err, "a user name before the host; expected "
		    "none");
	if (!is_authority(out->authority, &out->host))
		return err_set(err, "no host, or not a port; %s", expected);
	return true;
}

bool url_split(struct str text, struct str *before_out, struct str *after_out,
    bool *in_path_out, struct err *err)
{
	const struct str mark = STR(URL_PLACEHOLDER);
	struct url url;

	if (!url_parse(text, &url, err))
		return false;
	const char *at = memmem(text.p, text.n, mark.p, mark.n);
	if (!at || at < url.target.p)
		return err_set(err, "no %s behind the host; expected it where "
		    "the key stands", URL_PLACEHOLDER);
	*before_out = (struct str){ text.p, (size_t)(at - text.p) };
	*after_out = str_skip(text, before_out->n + mark.n);
	*in_path_out = !memchr(before_out->p, '?', before_out->n);
	if (memmem(after_out->p, after_out->n, mark.p, mark.n))
		return err_set(err, "more than one %s", URL_PLACEHOLDER);
	return true;
}
