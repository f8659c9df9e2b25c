#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""check_layers - includes go down only, foreign libraries stay fenced

Prints each line that breaks the rule as FILE:LINE: what is wrong; exits 1 when
there was one.  A file may include its own layer and those below it:

	proxy/base < proxy/imap < proxy/ipc, messages < backends < proxy < admin

proxy/main.c sees everything.  A foreign header may be included only in the
files that its fence names.
"""
import pathlib
import re
import sys

LAYERS = ["proxy/base", "proxy/imap", "messages", "backends", "proxy", "admin"]

# header: the files that may include it
FENCES = [
    (r"openssl/(ssl|x509|x509v3|pem|err|bio|ocsp)\w*\.h",
     r"proxy/base/(stream_tls|tls\w*)\.[ch]"),
    # hashes, random bytes and wiping are no TLS: everybody may have them
    (r"openssl/(evp|rand|crypto|sha|hmac|core_names|opensslv)\.h", r".*"),
    (r"openssl/.*", r"proxy/base/(stream_tls|tls\w*)\.[ch]"),
    (r"maxminddb\.h", r"backends/geo\w*\.[ch]"),
    (r"hiredis/.*", r".*_redis\.[ch]"),
    (r"lmdb\.h", r"backends/(table|auth)_\w+\.[ch]"),
    (r"curl/.*", r"backends/http_client\.[ch]"),
    (r"(ldap|lber)\.h", r"backends/ldap_(client|dial|reply|check)\.[ch]"),
    (r"crypt\.h", r"backends/auth_file\.[ch]"),
    (r"jansson\.h", r"(backends/table_http|admin/\w+)\.[ch]"),
    (r"confuse\.h", r"proxy/base/settings\w*\.[ch]"),
    (r"msgpack.*\.h", r"proxy/ipc\w*\.[ch]"),
    (r"ares\w*\.h", r"backends/resolve\w*\.[ch]"),
    (r"pcre2\w*\.h", r"backends/(route|pattern)\w*\.[ch]"),
    (r"microhttpd\.h", r"admin/http\w*\.[ch]"),
    (r"(seccomp|linux/(seccomp|landlock|filter|bpf\w*))\.h",
     r"(admin|proxy)/(base/)?sandbox\w*\.[ch]"),
]
VERSIONS = "proxy/main.c"       # -V prints the versions of the libraries
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def layer_of(path):
    """The index into LAYERS of a root-relative path; None for no layer."""
    if re.match(r"proxy/(ipc\w*|messages\w*)\.", path):
        return LAYERS.index("messages")
    for name in ("proxy/base", "proxy/imap", "backends", "proxy", "admin"):
        if path.startswith(name + "/"):
            return LAYERS.index(name)
    return None


def problem(path, kind, header):
    """What is wrong with this include in that file, or None."""
    if kind == '"':
        target = layer_of(header)
        if target is None:
            return f'"{header}" is not named from the root of the tree'
        if path != "proxy/main.c" and target > layer_of(path):
            return f'{LAYERS[layer_of(path)]} must not include "{header}"'
        return None
    if path == VERSIONS:
        return None
    for pattern, allowed in FENCES:
        if re.fullmatch(pattern, header):
            if re.fullmatch(allowed, path):
                return None
            return f"<{header}> is fenced: only in {allowed}"
    return None


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    bad = 0
    for top in ("proxy", "backends", "admin"):
        for file in sorted((root / top).rglob("*.[ch]")):
            path = file.relative_to(root).as_posix()
            for number, line in enumerate(
                    file.read_text(errors="replace").splitlines(), 1):
                match = INCLUDE.match(line)
                what = match and problem(path, *match.groups())
                if what:
                    print(f"{path}:{number}: {what}")
                    bad += 1
    print(f"layers: {bad} includes go the wrong way" if bad else "layers: ok")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
