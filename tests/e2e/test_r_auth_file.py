# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""auth.driver = file: a passwd file decides who may log in"""
import os
import subprocess
import time

import pytest

from harness.conf import backend
from harness.imap import Imap, plain, tls_context
from harness.mailweir import run
from harness.names import BROKEN, NASTY
from harness.procs import wait_until

# of "secret", with the lowest costs there are
HASHES = {
    "yescrypt": "$y$j75$vtMesl7fygsSDHj.vaC02/$"
    "RirJhHxQIpQGNaFe.5Qf8.3SCFY78WHDPBkoDvVw/Q3",
    "sha512": "$6$rounds=1000$7cNKgw./kAcWFChL$k8MXikoMZTzGfyQE5BdDWT7J0vd69"
    ".h0J5LcESJq/m8Hxkye9YjrnWnwPiX3.yc28eexw97QzgUVTAdpRZebC.",
    "sha256": "$5$rounds=1000$tWVolpv2ZlFxD7rf$"
    "t7Bt3h2eC4S7dfNgqZwTHMHx6zr/68/h0PgzISBiAs9",
    "bcrypt": "$2b$04$2C3eKIGxDZKd6MKczYl9PeTL3pAtOSl30Qrf94JZ3ilBOlA/kIAIq",
}
ANY = HASHES["sha256"]
DENIED = "NO [AUTHENTICATIONFAILED]"
AWAY = "NO [UNAVAILABLE]"


def hashed(password, rounds=1000):
    """A hash of this password, by another implementation."""
    out = subprocess.run(["openssl", "passwd", "-6", "-salt",
                          f"rounds={rounds}$saltsalt", "-stdin"],
                         input=password + "\n", text=True, check=True,
                         capture_output=True).stdout.strip()
    return out


@pytest.fixture
def passwd(tmp):
    """passwd("line", ...) replaces the file as a careful operator does."""
    path = tmp / "passwd"

    def put(*lines):
        new = tmp / "passwd.new"
        new.write_text("".join(line + "\n" for line in lines))
        new.chmod(0o644)
        os.rename(new, path)
        return path

    put.path = path
    return put


@pytest.fixture
def guarded(weir, conf, mail, tmp, passwd):
    """guarded() starts a Mailweir that asks the file and is master at both
    Dovecots: d1 for everybody, unless the file says more."""
    (tmp / "master").write_text("master-secret\n")

    def start(settings="", **sections):
        d1, d2 = mail.both
        return weir(conf(
            backend("d1", d1.plain), backend("d2", d2.plain),
            auth=f'driver = file  path = "{passwd.path}"\n'
            "mechanisms = { PLAIN, LOGIN, EXTERNAL }\n"
            "backend_login = master  master_user = master\n"
            f'master_password_file = "{tmp}/master"\n{settings}',
            more="pool p1 { backends = { d1 } }\n"
            "pool p2 { backends = { d2 } }\n",
            routes="route { pool = p1 }", **sections))

    return start


def attempt(w, user, password="secret"):
    """The tagged reply to LOGIN with literals."""
    user, password = (x.encode() if isinstance(x, str) else x
                      for x in (user, password))
    with Imap(w.imaps, tls=True) as c:
        c.send(b"t LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n"
               % (len(user), user, len(password), password))
        return c.finish("t")[1]


def test_each_kind_of_hash(guarded, passwd, mail, new_user):
    users = {name: new_user() for name in HASHES}
    passwd(*(f"{users[name]}:{text}" for name, text in HASHES.items()))
    w = guarded()
    for user in users.values():
        assert attempt(w, user).startswith("OK")
        mail.d1.wait_login(user)
        reply = attempt(w, user, "Secret")
        assert reply.startswith(DENIED)
        # nothing tells who is there and who is not
        assert attempt(w, "no" + user) == reply
    assert len(mail.d1.logins(user)) == 1
    assert w.wait_log(event="login_failed", user=user)["stage"] == "decide"


def test_the_file_and_not_the_backend_decides(guarded, passwd, mail, user):
    passwd(f"{user}:{{SHA512-CRYPT}}{hashed('of the file')}:::::")
    w = guarded()
    assert attempt(w, user).startswith(DENIED)
    assert attempt(w, user, "of the file").startswith("OK")
    assert attempt(w, user.upper(), "of the file").startswith("OK")
    assert attempt(w, user, "").startswith("NO")
    mail.d1.wait_login(user, 2)


def test_fields(guarded, passwd, mail, new_user):
    a, b, c, d = (new_user() for _ in range(4))
    other = new_user()
    passwd(f"{a}:{ANY}:1:1::/home/a:/bin/sh:pool=p2 userdb_x=y",
           f"{b}:{ANY}::::::backend=d2", f"{c}:{ANY}::::::as={other}",
           f"{d}:{ANY}")
    w = guarded()
    for user in (a, b, c, d):
        assert attempt(w, user).startswith("OK")
    mail.d2.wait_login(a)
    mail.d2.wait_login(b)
    mail.d1.wait_login(other)
    mail.d1.wait_login(d)


def test_names_without_a_domain(guarded, passwd, user):
    local = user.partition("@")[0]
    passwd(f"{local}:{ANY}")
    w = guarded('default_domain = "example.org"')
    assert attempt(w, local).startswith("OK")
    assert attempt(w, user).startswith("OK")
    # jan of another domain is somebody else
    assert attempt(w, local + "@example.net").startswith(DENIED)


def test_the_file_changes(guarded, passwd, new_user):
    a, b = new_user(), new_user()
    passwd(f"{a}:{ANY}")
    w = guarded()
    assert attempt(w, a).startswith("OK")
    passwd(f"{b}:{ANY}")
    w.wait_log(event="auth_loaded", count=2)
    assert attempt(w, b).startswith("OK")
    assert attempt(w, a).startswith(DENIED)
    # a bad one is told, and the good one stays
    passwd(f"{a}:{ANY}", f"{b}:{{MD5}}abc")
    line = w.wait_log(event="auth_refused")
    assert ":2: a hash of {MD5}" in line["why"] and line["kept"] == "old"
    assert attempt(w, b).startswith("OK")
    passwd.path.unlink()
    w.wait_log(event="auth_refused", count=2)
    assert attempt(w, b).startswith("OK")
    passwd(f"{a}:{ANY}")
    w.wait_log(event="auth_loaded", count=3)
    assert attempt(w, a).startswith("OK")
    assert ANY not in w.log()


def test_a_bad_file_is_refused_before(guarded, passwd, user, tmp):
    passwd(f"{user}:{ANY}")
    w = guarded()
    assert run("-t", "-c", w.conf).returncode == 0
    for line, wanted in (("jan", "no colon"),
                         ("jan:{PLAIN}x", "{PLAIN}, which is not checked"),
                         (f"jan:{ANY}::::::pool=p9", '"p9" is no pool')):
        passwd(f"{user}:{ANY}", line)
        result = run("-t", "-c", w.conf)
        assert result.returncode == 1
        assert f"passwd:2: {wanted}" in result.stderr or \
            wanted in result.stderr and ":2: " in result.stderr


def test_certificates(guarded, passwd, mail, ca, new_user):
    known, unknown = new_user(), new_user()
    passwd(f"{known}:!::::::pool=p2")
    w = guarded(tls=f'client_ca = "{ca.cert}"')

    def external(name):
        cert = ca.issue(name, f"email:{name}", client=True)
        with Imap(w.imaps, tls=tls_context(cert=cert)) as c:
            return c.command("AUTHENTICATE EXTERNAL =")[1]

    assert external(known).startswith("OK")
    mail.d2.wait_login(known)
    assert external(unknown).startswith(DENIED)
    # locked: no password fits
    assert attempt(w, known, "!").startswith(DENIED)


def test_names_that_mean_something_elsewhere(guarded, passwd, user):
    passwd(f"{user}:{ANY}")
    w = guarded()
    control = w.control()
    for name in NASTY:
        if name.isascii():
            assert attempt(w, name).startswith("NO"), name
        with Imap(w.imaps, tls=True) as c:
            assert c.command(f"AUTHENTICATE PLAIN {plain(name)}")[1] \
                .startswith("NO"), name
    for name in BROKEN:
        with Imap(w.imaps, tls=True) as c:
            c.send(b"t LOGIN {%d+}\r\n%s secret\r\n" % (len(name), name))
            assert c.line().split()[1] in ("NO", "BAD"), name
    assert attempt(w, user).startswith("OK")
    assert attempt(w, user, "secret\n").startswith(DENIED)
    assert w.control() == control


def test_hashing_stops_nobody(guarded, passwd, new_user):
    """One password takes a thread for seconds; the others have the other."""
    slow, quick = new_user(), new_user()
    passwd(f"{slow}:{hashed('x', rounds=800000)}", f"{quick}:{ANY}")
    w = guarded("threads = 2")
    assert attempt(w, quick).startswith("OK")
    with Imap(w.imaps, tls=True) as c:
        began = time.monotonic()
        c.send(f'a LOGIN "{slow}" "x"\r\n')
        assert attempt(w, quick).startswith("OK")
        between = time.monotonic() - began
        assert c.finish("a")[1].startswith("OK")
        assert between < time.monotonic() - began
    wait_until(lambda: len(w.lines(event="login")) >= 3, "three logins")
