# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""The instruments: when these fail, nothing below means anything"""
import pytest

from fake.peer import Peer, polite
from harness.conf import backend
from harness.dovecot import token
from harness.imap import Imap, b64, plain, tls_context
from harness.mailweir import parse_line, run


def test_dovecot_serves_a_mail(mail, user):
    mail.d1.deliver(user, b"hello")
    with Imap(mail.d1.plain) as c:
        c.login(user)
        assert b"* 1 EXISTS" in c.ok("SELECT INBOX")
        assert c.fetch_body(1).endswith(b"hello\r\n")
    mail.d1.wait_log(rf"Login: user=<{user}>, .*rip=127\.0\.0\.1")


def test_dovecot_has_what_the_tests_need(mail, user, ca):
    with Imap(mail.d1.tls, tls=tls_context(ca.cert)) as c:
        assert "AUTH=SCRAM-SHA-256" in c.greeting
        _, reply = c.command("AUTHENTICATE PLAIN "
                             + plain("master", "master-secret", user))
        assert reply.startswith("OK")
        assert "COMPRESS=DEFLATE" in c.capability()
    with Imap(mail.d2.plain) as c:
        _, reply = c.command("AUTHENTICATE XOAUTH2 " + b64(
            f"user={user}\1auth=Bearer {token(user)}\1\1"))
        assert reply.startswith("OK")
    with Imap(mail.d2.haproxy, before=b"PROXY TCP4 192.0.2.7 192.0.2.8 "
              b"5555 143\r\n") as c:
        c.login(user)
    mail.d2.wait_log(rf"Login: user=<{user}>, .*rip=192\.0\.2\.7")


def test_fake_backend_speaks_imap():
    with Peer(polite) as peer, Imap(peer.port) as c:
        assert c.greeting.startswith("* OK [CAPABILITY IMAP4rev1")
        c.login("jan", "geheim")
        c.ok("NOOP")
        c.ok("LOGOUT")
        assert peer.sessions()[0].user == "jan"
        assert peer.sessions()[0].password == "geheim"


def test_log_lines_are_read():
    line = parse_line(r'2026-01-31T10:11:12.345Z info event=login '
                      r'user="a \"b\"\x0a" ms=41')
    assert line == {"time": "2026-01-31T10:11:12.345Z", "level": "info",
                    "event": "login", "user": 'a "b"\n', "ms": "41"}
    assert parse_line("free text") is None


def test_program_runs():
    done = run("-V")
    assert done.returncode == 0 and "mailweir" in done.stdout.lower()


def test_program_starts_and_stops(weir, conf):
    with Peer() as peer:
        w = weir(conf(backend("fake", peer.port)))
        roles = w.roles()
        assert len(roles["control"]) == 1 and len(roles["worker"]) == 2
        w.stop()
        assert "STOPPING=1" in w.told()


def test_census_finds_what_is_kept(weir, conf, census):
    """A session that nobody has logged in to; then one that somebody has."""
    with Peer() as peer:
        w = weir(conf(backend("fake", peer.port)), env=census.env)
        census.begin(w)
        for login in (False, True):
            with Imap(w.imaps, tls=True) as c:
                if login:
                    c.login("jan")
                with pytest.raises(AssertionError, match="in vain"):
                    census.end(w, 0.3)
            census.end(w)
