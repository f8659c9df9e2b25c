# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Whole mail clients, unmodified"""
import hashlib
import imaplib
import json
import os
import pathlib
import random
import shutil
import ssl
import subprocess

import pytest

from harness.conf import backend

CLIENT = pathlib.Path(__file__).resolve().parent.parent / "client"


@pytest.fixture
def w(weir, conf, mail):
    return weir(conf(
        backend("d1", mail.d1.plain, "client_info = id"),
        backend("d2", mail.d2.tls, "tls = implicit\n  verify = no")))


def run(argv, timeout=120, **options):
    done = subprocess.run(list(map(str, argv)), capture_output=True,
                          timeout=timeout, stdin=subprocess.DEVNULL,
                          check=False, **options)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@pytest.mark.parametrize("way", ["imaps", "starttls"])
def test_curl_reads_a_mail(w, mail, user, ca, way):
    mail.deliver(user, b"read by curl")
    url = f"imaps://127.0.0.1:{w.imaps}" if way == "imaps" else \
        f"imap://127.0.0.1:{w.imap}"
    out = run(["curl", "-sS", "--ssl-reqd", "--cacert", ca.cert, "--user",
               f"{user}:secret", f"{url}/INBOX;MAILINDEX=1"])
    assert b"Subject: Message 1" in out and b"read by curl" in out


def test_curl_sees_a_wrong_password(w, user, ca):
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(ca.cert), "--user", f"{user}:wrong",
         f"imaps://127.0.0.1:{w.imaps}/INBOX;MAILINDEX=1"],
        capture_output=True, timeout=60, check=False)
    assert done.returncode == 67	# login denied


def test_curl_appends(w, user, ca, tmp):
    text = tmp / "mail"
    text.write_bytes(b"Subject: up\r\n\r\n" + b"0123456789abcde\r\n" * 60000)
    base = ["curl", "-sS", "--cacert", ca.cert, "--user", f"{user}:secret"]
    run([*base, "-T", text, f"imaps://127.0.0.1:{w.imaps}/INBOX"])
    out = run([*base, f"imaps://127.0.0.1:{w.imaps}/INBOX;MAILINDEX=1"])
    assert hashlib.sha256(out).digest() == \
        hashlib.sha256(text.read_bytes()).digest()


# mbsync

MBSYNCRC = """
IMAPAccount mw
Host localhost
Port {port}
User {user}
Pass secret
SSLType {ssl}
CertificateFile {ca}
AuthMechs {auth}

IMAPStore far
Account mw

MaildirStore near
Path {dir}/near/
Inbox {dir}/near/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
Remove Both
SyncState *
"""


def bodies(maildir):
    """The checksums of all messages, each without what mbsync adds."""
    found = []
    for sub in ("cur", "new"):
        for path in pathlib.Path(maildir, sub).glob("*"):
            lines = path.read_bytes().replace(b"\r\n", b"\n").split(b"\n")
            text = b"\n".join(line for line in lines
                              if not line.startswith(b"X-TUID:"))
            found.append(hashlib.sha256(text).hexdigest())
    return sorted(found)


def maildir(path):
    for sub in ("cur", "new", "tmp"):
        (path / sub).mkdir(parents=True)
    return path


@pytest.mark.parametrize("ssl_type,auth", [("IMAPS", "PLAIN"),
                                           ("STARTTLS", "LOGIN")])
def test_mbsync_syncs_both_ways(w, mail, user, ca, tmp, ssl_type, auth):
    """Mails of many sizes, laid into both ends, are the same at both."""
    rng = random.Random(4711)
    mail.deliver(user, *(rng.randbytes(n).hex().encode() for n in
                         (0, 1, 700, 8191, 8192, 65536, 300000)))
    near = maildir(tmp / "near" / "INBOX")
    for n in range(12):
        (near / "new" / f"20000000{n:02}.x.test").write_bytes(
            b"From: me\nSubject: near %d\n\n" % n
            + rng.randbytes(rng.choice((10, 4000, 200000))).hex().encode()
            + b"\n")
    rc = tmp / "mbsyncrc"
    rc.write_text(MBSYNCRC.format(
        port=w.imaps if ssl_type == "IMAPS" else w.imap, user=user,
        ssl=ssl_type, ca=ca.cert, auth=auth, dir=tmp))
    env = dict(os.environ, HOME=str(tmp))
    run(["mbsync", "-c", rc, "all"], env=env)
    home = mail.of(user).dir / "mail" / user / "Maildir"
    assert len(bodies(near)) == 19
    assert bodies(near) == bodies(home)
    # now one is deleted here, and one comes in there
    victim = next(p for sub in ("cur", "new") for p in (near / sub).iterdir())
    victim.rename(near / "cur" / (
        victim.name + ("T" if ":2," in victim.name else ":2,T")))
    mail.of(user).deliver(user, b"came later")
    run(["mbsync", "-c", rc, "all"], env=env)
    assert len(bodies(near)) == 19
    assert bodies(near) == bodies(home)


# Python

@pytest.mark.parametrize("way", ["imaps", "starttls"])
def test_imaplib(w, mail, user, ca, way):
    mail.deliver(user, b"for imaplib")
    context = ssl.create_default_context(cafile=str(ca.cert))
    if way == "imaps":
        c = imaplib.IMAP4_SSL("localhost", w.imaps, ssl_context=context,
                              timeout=20)
    else:
        c = imaplib.IMAP4("localhost", w.imap, timeout=20)
        assert "LOGINDISABLED" in c.capabilities
        c.starttls(context)
        assert "LOGINDISABLED" not in c.capabilities
    c.login(user, "secret")
    assert c.select()[1] == [b"1"]
    assert b"for imaplib" in c.fetch("1", "(RFC822)")[1][0][1]
    c.append("INBOX", None, None, b"Subject: b\r\n\r\nbody\r\n")
    assert c.search(None, "ALL")[1] == [b"1 2"]
    c.store("1", "+FLAGS", "\\Deleted")
    c.expunge()
    assert c.search(None, "ALL")[1] == [b"1"]
    c.close()
    c.logout()


def test_imaplib_authenticate(w, user):
    context = ssl._create_unverified_context()
    c = imaplib.IMAP4_SSL("localhost", w.imaps, ssl_context=context,
                          timeout=20)
    c.authenticate("PLAIN", lambda _: f"\0{user}\0secret".encode())
    c.select()
    c.logout()


def test_imaplib_idle_by_hand(w, user):
    context = ssl._create_unverified_context()

    def connect():
        c = imaplib.IMAP4_SSL("localhost", w.imaps, ssl_context=context,
                              timeout=20)
        c.login(user, "secret")
        c.select()
        return c
    waiting, other = connect(), connect()
    waiting.send(b"i1 IDLE\r\n")
    assert waiting.readline().startswith(b"+ ")
    other.append("INBOX", None, None, b"Subject: news\r\n\r\n\r\n")
    news = waiting.readline()
    while news.startswith(b"* OK Still here"):  # at Dovecot's own times
        news = waiting.readline()
    assert news.startswith(b"* 1 EXISTS")
    waiting.send(b"DONE\r\n")
    while True:
        line = waiting.readline()
        if line.startswith(b"i1 "):
            assert line.startswith(b"i1 OK")
            break
    waiting.logout()
    other.logout()


# node

@pytest.mark.skipif(not shutil.which("node"), reason="no node")
@pytest.mark.parametrize("mode", ["framed", "opaque"])
def test_imapflow(weir, conf, mail, user, mode):
    """IDLE, COMPRESS, a large append and its fetch with checksum."""
    w = weir(conf(backend("d1", mail.d1.plain), relay=f"mode = {mode}"))
    out = run(["node", CLIENT / "imapflow.mjs", w.imaps, user, "secret",
               8_000_000])
    seen = json.loads(out)
    assert seen["compressed"] and seen["bytes"] > 8_000_000
    assert seen["exists"] == 2
