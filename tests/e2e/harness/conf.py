# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""conf - the usual proxy.conf, around what a test varies

	Conf(front, imaps_port, imap_port, backend("d1", port), limits="line = 1k")

str() of it is the text.  A keyword argument names a section and holds what
is in it; "top" holds settings outside any section, "more" whole sections.
"""
from .mailweir import ACCOUNT


def backend(name, port, settings="", host="127.0.0.1"):
    """A backend section: settings as in the file, separated by newlines."""
    return (name, f'backend {name} {{\n  address = "{host}:{port}"\n'
            f"  {settings}\n}}\n")


class Conf:
    def __init__(self, front, imaps, imap, *backends, **sections):
        self.imaps, self.imap = imaps, imap
        self.front, self.backends = front, list(backends)
        self.sections = {"workers": 2, "top": "", "log": "level = info",
                         "tls": "", "certificates": "front", "limits": "",
                         "relay": "", "auth": "", "pool": "", "imaps_listener": "",
                         "imap_listener": "", "admin": "socket = admin.sock",
                         "routes": None, "more": ""}
        unknown = set(sections) - set(self.sections)
        assert not unknown, unknown
        self.sections.update(sections)

    def __str__(self):
        s = self.sections
        names = ", ".join(name for name, _ in self.backends)
        routes = s["routes"]
        if routes is None:
            routes = "route { pool = main }"
        return f"""
workers = {s["workers"]}
user = {ACCOUNT}
shutdown_grace = 5s
{s["top"]}
log {{
  {s["log"]}
}}
admin {{
  {s["admin"]}
}}
tls front {{
  certificate = "{self.front[0]}"
  key = "{self.front[1]}"
  {s["tls"]}
}}
listener imaps {{
  address = "127.0.0.1:{self.imaps}"
  tls = implicit
  certificates = {{ {s["certificates"]} }}
  {s["imaps_listener"]}
}}
listener imap {{
  address = "127.0.0.1:{self.imap}"
  tls = starttls
  certificates = {{ {s["certificates"]} }}
  {s["imap_listener"]}
}}
limits {{
  {s["limits"]}
}}
relay {{
  {s["relay"]}
}}
auth {{
  {s["auth"]}
}}
{"".join(text for _, text in self.backends)}
pool main {{
  backends = {{ {names} }}
  {s["pool"]}
}}
{s["more"]}
{routes}
"""
