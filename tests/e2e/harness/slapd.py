# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""slapd - a private instance of Debian's OpenLDAP server

	slapd = Slapd(directory, certificate, entries)
	slapd.start(); slapd.pause(); slapd.resume(); slapd.stop()

Runs as whoever runs the tests, on loopback, all of it in one directory.
Entries are dicts of attributes; uid names one below PEOPLE.  The searcher
is "cn=reader" with password "reader-secret", and may read but no passwords.
"""
import os
import pathlib
import shutil
import signal
import subprocess

from .procs import Process, free_port, port_accepts, wait_until

BASE = "dc=example,dc=net"
PEOPLE = f"ou=people,{BASE}"
READER = f"cn=reader,{BASE}"
SCHEMAS = ("core", "cosine", "inetorgperson", "misc")

CONF = """
{schemas}
modulepath {modules}
moduleload back_mdb
pidfile {dir}/pid
argsfile {dir}/args
loglevel stats
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
{extra}
database mdb
suffix "{base}"
rootdn "cn=admin,{base}"
rootpw admin-secret
directory {dir}/data
maxsize {maxsize}
dbnosync
index objectClass,uid eq
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by * {others}
"""


def escape(value):
    """For a name (RFC 4514)."""
    return "".join(c if c.isalnum() else "".join(
        f"\\{b:02x}" for b in c.encode()) for c in value)


def dn(uid):
    return f"uid={escape(uid)},{PEOPLE}"


def _ldif(name, attributes):
    lines = [f"dn: {name}"]
    for key, values in attributes.items():
        for value in [values] if isinstance(values, str) else values:
            lines.append(f"{key}: {value}")
    return "\n".join(lines) + "\n\n"


def person(uid, password="secret", **more):
    """An entry that can have a mailHost."""
    return dn(uid), {
        "objectClass": ["inetOrgPerson", "inetLocalMailRecipient"],
        "uid": uid, "cn": uid, "sn": uid, "mail": uid,
        "userPassword": password, **more}


class Slapd:
    def __init__(self, directory, certificate, entries, extra="",
                 maxsize=16 << 20, others="none"):
        self.dir = pathlib.Path(directory)
        self.port, self.tls_port = free_port(), free_port()
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.tls_url = f"ldaps://127.0.0.1:{self.tls_port}"
        (self.dir / "data").mkdir(parents=True)
        # Debian's AppArmor profile is about the one in /usr/sbin
        self.program = self.dir / "slapd"
        shutil.copy(shutil.which("slapd", path=os.environ["PATH"]
                                 + ":/usr/sbin:/sbin"), self.program)
        self.conf = self.dir / "slapd.conf"
        self.conf.write_text(CONF.format(
            schemas="\n".join(f"include /etc/ldap/schema/{s}.schema"
                              for s in SCHEMAS),
            modules="/usr/lib/ldap", dir=self.dir, cert=certificate[0],
            key=certificate[1], base=BASE, reader=READER, extra=extra, maxsize=maxsize,
            others=others))
        self._load(entries)
        self.process = None

    def _load(self, entries):
        ldif = self.dir / "entries.ldif"
        ldif.write_text(
            _ldif(BASE, {"objectClass": ["dcObject", "organization"],
                         "dc": "example", "o": "Example"})
            + _ldif(PEOPLE, {"objectClass": "organizationalUnit",
                             "ou": "people"})
            + _ldif(READER, {"objectClass": "organizationalRole"
                             .split() + ["simpleSecurityObject"],
                             "cn": "reader", "userPassword": "reader-secret"})
            + "".join(_ldif(*entry) for entry in entries))
        subprocess.run([self.program, "-T", "add", "-q", "-f", self.conf, "-l",
                        ldif], check=True, capture_output=True, timeout=60)

    def start(self):
        self.process = Process(
            [self.program, "-d", "256", "-f", self.conf, "-h",
             f"{self.url}/ ldaps://127.0.0.1:{self.tls_port}/"],
            self.dir / "slapd.log")
        self.process.start()
        wait_until(lambda: port_accepts(self.port)
                   or not self.process.running(),
                   lambda: f"slapd: {self.process.log()}")
        assert self.process.running(), self.process.log()
        return self

    def pause(self):
        """It stands still; the kernel goes on taking connections."""
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def change(self, name, **attributes):
        text = f"dn: {name}\nchangetype: modify\n" + "".join(
            f"replace: {key}\n{key}: {value}\n-\n"
            for key, value in attributes.items())
        subprocess.run(["ldapmodify", "-x", "-H", self.url, "-D",
                        f"cn=admin,{BASE}", "-w", "admin-secret"],
                       input=text, text=True, check=True, timeout=60,
                       capture_output=True)

    def log(self):
        return self.process.log()

    def stop(self):
        if self.process and self.process.running():
            self.resume()
            self.process.stop()
        if self.process:
            self.process.kill()
