# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""dovecot - a private instance of Debian's Dovecot 2.3

Runs as root or as an ordinary user, on loopback, all of it in one directory.
Ports: plain (STARTTLS offered), tls (implicit) and haproxy (PROXY header
mandatory).  Instances with the same mail directory serve the same mailboxes.  Every user's password is "secret"; the master user is
"master*", as Dovecot's separator has it, with password "master-secret".
"""
import base64
import hashlib
import hmac
import itertools
import json
import os
import pwd
import re
import shutil

from .procs import PATIENCE, Process, free_port, port_accepts, wait_until

CONF = """
base_dir = {run}
state_dir = {dir}/state
instance_name = {name}
protocols = imap
listen = 127.0.0.1, ::1
log_path = {log}
log_timestamp = "%b %d %H:%M:%S.%{{usecs}} "
login_log_format_elements = user=<%u> method=%m rip=%r rport=%{{rport}} lip=%l %c \
session=<%{{session}}>
auth_verbose = yes
default_vsz_limit = 0
default_login_user = {login_user}
default_internal_user = {internal_user}
default_internal_group = {internal_group}
first_valid_uid = 1
mail_uid = {uid}
mail_gid = {gid}
mail_home = {mail}/%u
mail_location = maildir:~/Maildir
mail_fsync = never
# by the clock as well: 200 users in IDLE take all inotify instances of one uid
mailbox_idle_check_interval = 1 secs
mail_max_userip_connections = 0
mail_plugins = zlib
auth_mechanisms = plain login scram-sha-1 scram-sha-256 {oauth_mechanisms}
auth_master_user_separator = *
auth_failure_delay = 0
auth_cache_size = 0
disable_plaintext_auth = no
login_trusted_networks = 127.0.0.0/8 ::1/128
haproxy_trusted_networks = 127.0.0.0/8 ::1/128
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
ssl_min_protocol = TLSv1.2
protocol imap {{
  mail_plugins = zlib imap_zlib
  imap_idle_notify_interval = 2 mins
}}
service imap-login {{
  chroot = {chroot}
  service_count = 0
  process_min_avail = 1
  client_limit = 8000
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
  inet_listener imap_haproxy {{
    port = {haproxy}
    haproxy = yes
  }}
}}
service imap {{
  service_count = 200
  process_limit = 4000
}}
service anvil {{
  chroot =
  # no penalty for wrong passwords: it only makes the tests slow
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
  client_limit = 9000
}}
service stats {{
  chroot =
}}
service auth {{
  client_limit = 9000
}}
passdb {{
  driver = passwd-file
  master = yes
  args = {dir}/masters
}}
passdb {{
  driver = passwd-file
  args = {dir}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid}
}}
{oauth}
{extra}
"""

OAUTH = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {dir}/oauth2.conf
}}
"""

MESSAGE = (b"From: Tester <tester@example.org>\r\nTo: <%s>\r\n"
           b"Subject: Message %d\r\nMessage-ID: <%d.%s>\r\n"
           b"Date: Thu, 01 Oct 2026 10:00:00 +0000\r\n\r\n%s\r\n")


_SERIAL = itertools.count(1)


class Dovecot:
    """One instance; start() returns when it accepts."""

    def __init__(self, directory, name, certificate, users=(), extra="",
                 oauth=False, mail=None):
        self.mail = mail or directory / "mail"
        self.dir, self.name, self.users = directory, name, list(users)
        self.plain, self.tls, self.haproxy = (free_port() for _ in range(3))
        self.cert, self.key = certificate
        self._extra, self._oauth = extra, oauth
        self.log_file = directory / "dovecot.log"
        self.process = None

    def start(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        self.dir.chmod(0o755)
        root = os.geteuid() == 0
        me = pwd.getpwuid(os.geteuid())
        mail = pwd.getpwnam("nobody") if root else me
        for path in (self.mail, self.dir / "state",
                     self.dir / "keys/default/HS256"):
            path.mkdir(parents=True, exist_ok=True)
        self._write_users()
        oauth = ""
        if self._oauth:
            oauth = OAUTH.format(dir=self.dir)
            self._write_oauth()
        if root:
            os.chown(self.mail, mail.pw_uid, mail.pw_gid)
        import grp
        (self.dir / "dovecot.conf").write_text(CONF.format(
            run=self.dir / "run", dir=self.dir, mail=self.mail, name=self.name,
            log=self.log_file, uid=mail.pw_uid, gid=mail.pw_gid,
            login_user="dovenull" if root else me.pw_name,
            internal_user="dovecot" if root else me.pw_name,
            internal_group="dovecot" if root else
            grp.getgrgid(me.pw_gid).gr_name,
            chroot="login" if root else "",
            cert=self.cert, key=self.key, plain=self.plain, tls=self.tls,
            haproxy=self.haproxy, oauth=oauth,
            oauth_mechanisms="xoauth2 oauthbearer" if self._oauth else "",
            extra=self._extra))
        binary = shutil.which("dovecot", path=os.environ["PATH"]
                              + ":/usr/sbin:/sbin")
        self.process = Process([binary, "-F", "-c", self.dir / "dovecot.conf"],
                               self.dir / "stderr")
        self.process.start()
        wait_until(lambda: port_accepts(self.plain)
                   or not self.process.running(),
                   lambda: f"Dovecot {self.name}: {self.log()}")
        assert self.process.running(), self.process.log() + self.log()
        return self

    def _write_users(self):
        (self.dir / "users").write_text(
            "".join(f"{user}:{{PLAIN}}secret\n" for user in self.users))
        (self.dir / "masters").write_text("master:{PLAIN}master-secret\n")

    def _write_oauth(self):
        (self.dir / "keys/default/HS256/default").write_text(
            base64.b64encode(JWT_KEY).decode())
        (self.dir / "oauth2.conf").write_text(
            "introspection_mode = local\n"
            f"local_validation_key_dict = fs:posix:prefix={self.dir}/keys/\n"
            "username_attribute = email\n"
            "active_attribute = active\nactive_value = yes\n")

    def deliver(self, user, *messages):
        """Lays messages into the user's INBOX, without asking Dovecot."""
        home = self.mail / user
        maildir = home / "Maildir"
        for sub in ("new", "cur", "tmp"):
            (maildir / sub).mkdir(parents=True, exist_ok=True)
        mail = pwd.getpwnam("nobody")
        for path in (home, maildir, *maildir.iterdir()):
            if os.geteuid() == 0:
                os.chown(path, mail.pw_uid, mail.pw_gid)
        first = 1 + sum(1 for sub in ("new", "cur")
                        for _ in (maildir / sub).iterdir())
        for number, text in enumerate(messages, first):
            # a name that no other message has
            path = maildir / "new" / (f"1000000{number:03}.M{next(_SERIAL)}P1"
                                      ".test")
            path.write_bytes(MESSAGE % (user.encode(), number, number,
                                        user.encode(), text))
            if os.geteuid() == 0:
                os.chown(path, mail.pw_uid, mail.pw_gid)

    def log(self):
        try:
            return self.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, timeout=PATIENCE):
        """The match of a regular expression in the log, when it is there."""
        regex = re.compile(pattern, re.M)
        return wait_until(
            lambda: regex.search(self.log()),
            lambda: f"{pattern!r} in Dovecot's log:\n{self.log()[-3000:]}",
            timeout)

    def logins(self, user):
        """The log's login lines of this user."""
        return [line for line in self.log().splitlines()
                if "imap-login: Info: Login: " in line
                and f"user=<{user}>" in line]

    def wait_login(self, user, count=1):
        """The line of the count-th login: it is written behind the reply."""
        return wait_until(
            lambda: self.logins(user)[count - 1:],
            lambda: f"login {count} of {user} in Dovecot's log:\n"
            + self.log()[-3000:])[-1]

    def stop(self):
        if self.process:
            self.process.stop()
            self.process.kill()

    def kill(self):
        if self.process:
            self.process.kill()


JWT_KEY = b"a key for nothing but these tests"


def token(user):
    """A token (JWT, RFC 7519) that an instance with oauth takes."""
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    body = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + b"." \
        + part(json.dumps({"email": user, "sub": user, "active": "yes",
                           "iat": 1700000000, "exp": 4000000000}).encode())
    mac = hmac.new(JWT_KEY, body, hashlib.sha256).digest()
    return (body + b"." + part(mac)).decode()
