# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""One session through the proxy, command by command"""
import re
import time

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.imap import Imap, b64, plain
from harness.procs import free_port


@pytest.fixture
def w(weir, conf, mail):
    return weir(conf(backend("d1", mail.d1.plain, "client_info = id")))


@pytest.fixture
def client(w):
    with Imap(w.imaps, tls=True) as c:
        yield c


def test_greeting_says_capabilities(client):
    match = re.match(r"\* OK \[CAPABILITY ([^]]+)\] ", client.greeting)
    words = match[1].split()
    for word in ("IMAP4rev1", "ID", "SASL-IR", "LITERAL-", "AUTH=PLAIN"):
        assert word in words, word
    assert "STARTTLS" not in words and "LOGINDISABLED" not in words
    assert "LITERAL+" not in words
    assert "COMPRESS=DEFLATE" not in words
    assert sorted(client.capability()) == sorted(words)


def test_noop_and_unknown_commands(client):
    client.ok("NOOP")
    assert client.command("SELECT INBOX")[1].startswith("BAD")
    assert client.command("ENABLE CONDSTORE")[1].startswith("BAD")
    assert client.command("STARTTLS")[1].startswith("BAD")
    client.ok("NOOP")


def test_id_is_answered(client):
    untagged = client.ok('ID ("name" "test" "version" NIL)')
    assert untagged[0].startswith(b'* ID ("name" "Mailweir"')
    assert client.ok("ID NIL")[0].startswith(b"* ID (")


def test_logout_says_bye_first(client, w):
    untagged, tagged = client.command("LOGOUT")
    assert untagged[0].startswith(b"* BYE") and tagged.startswith("OK")
    assert client.eof() == b""
    w.wait_log(event="close", reason="logout", blame="client")


def test_login_select_fetch_append(client, mail, user):
    mail.d1.deliver(user, b"one", b"two")
    reply = client.login(user)
    assert "[CAPABILITY " in reply and "UIDPLUS" in reply
    untagged = client.ok("SELECT INBOX")
    assert b"* 2 EXISTS" in untagged
    assert client.fetch_body(2).endswith(b"two\r\n")
    assert client.append(b"Subject: x\r\n\r\nthree\r\n").startswith("OK")
    assert client.fetch_body(3) == b"Subject: x\r\n\r\nthree\r\n"
    assert client.append(b"Subject: y\r\n\r\nfour\r\n", form="plus")         .startswith("OK")
    assert client.append(b"Subject: z\r\n\r\nfi\0ve\r\n", form="binary")         .startswith("OK")
    untagged, tagged = client.command("LOGOUT")
    assert untagged[0].startswith(b"* BYE") and tagged.startswith("OK")


@pytest.mark.parametrize("form", ["atom", "quoted", "sync", "plus", "mixed"])
def test_login_forms(client, user, form):
    words = {"atom": f"{user} secret\r\n", "quoted": f'"{user}" "secret"\r\n',
             "plus": f"{{{len(user)}+}}\r\n{user} {{6+}}\r\nsecret\r\n",
             "mixed": f'"{user}" {{6+}}\r\nsecret\r\n'}
    if form == "sync":
        client.send(f"t LOGIN {{{len(user)}}}\r\n")
        assert client.line().startswith("+")
        client.send(f"{user} {{6}}\r\n")
        assert client.line().startswith("+")
        client.send("secret\r\n")
    else:
        client.send(f"t LOGIN {words[form]}")
    assert client.finish("t")[1].startswith("OK")
    client.ok("SELECT INBOX")


def test_login_byte_by_byte(client, user):
    client.send_slowly(f't LOGIN "{user}" {{6+}}\r\nsecret\r\nu NOOP\r\n')
    assert client.finish("t")[1].startswith("OK")
    assert client.finish("u")[1].startswith("OK")


def test_authenticate_plain(w, user):
    for initial in (True, False):
        with Imap(w.imaps, tls=True) as c:
            if initial:
                c.send(f"t AUTHENTICATE PLAIN {plain(user)}\r\n")
            else:
                c.send("t AUTHENTICATE PLAIN\r\n")
                assert c.line().rstrip() == "+"
                c.send(plain(user) + "\r\n")
            _, reply = c.finish("t")
            assert reply.startswith("OK [CAPABILITY "), reply
            c.ok("SELECT INBOX")


def test_authenticate_login(client, user):
    client.send("t AUTHENTICATE LOGIN\r\n")
    assert client.line().startswith("+ ")
    client.send(b64(user) + "\r\n")
    assert client.line().startswith("+ ")
    client.send(b64("secret") + "\r\n")
    assert client.finish("t")[1].startswith("OK")


def test_authenticate_cancelled(client, user):
    client.send("t AUTHENTICATE PLAIN\r\n")
    client.line()
    client.send("*\r\n")
    assert client.finish("t")[1].startswith("BAD")
    client.login(user)


def test_wrong_password(client, w, user):
    _, reply = client.command(f"LOGIN {user} wrong")
    assert reply.startswith("NO [AUTHENTICATIONFAILED] "), reply
    line = w.wait_log(event="login_failed", user=user)
    assert "wrong" not in str(line).replace("wrong password", "")
    # the connection stays good for the right one
    client.login(user)


def test_too_many_wrong_passwords(client, w, user):
    for _ in range(2):
        assert client.command(f"LOGIN {user} wrong")[1].startswith("NO")
    assert b"* BYE" in client.command(f"LOGIN {user} wrong")[0]         or b"* BYE" in client.eof()
    w.wait_log(event="close", blame="client")


def test_login_pipelined_with_commands(client, mail, user):
    mail.d1.deliver(user, b"mine")
    client.send(f'1 LOGIN "{user}" secret\r\n2 SELECT INBOX\r\n'
                "3 FETCH 1 BODY.PEEK[]\r\n4 LOGOUT\r\n")
    assert client.finish("1")[1].startswith("OK")
    assert b"* 1 EXISTS" in client.finish("2")[0]
    assert any(b"mine" in u for u in client.finish("3")[0])
    assert client.finish("4")[1].startswith("OK")


def test_capability_asked_before_login_is_told_after(client, user):
    """Clients that asked once must see the backend's own list."""
    client.capability()
    client.send(f"t LOGIN {user} secret\r\n")
    untagged, reply = client.finish("t")
    told = [u for u in untagged if u.startswith(b"* CAPABILITY ")]
    assert reply.startswith("OK")
    assert (told and b"UIDPLUS" in told[0]) or "UIDPLUS" in reply


@pytest.mark.parametrize("tls", ["none", "implicit"])
def test_closing_line_tells_the_session(weir, conf, mail, user, tls):
    mail.d1.deliver(user, b"x" * 5000)
    port = mail.d1.plain if tls == "none" else mail.d1.tls
    w = weir(conf(backend("d1", port, f"tls = {tls}\n  verify = no")))
    with Imap(w.imaps, tls=True) as client:
        client.login(user)
        client.ok("SELECT INBOX")
        client.fetch_body(1)
        client.ok("LOGOUT")
        client.eof()
    line = w.wait_log(event="close", user=user)
    assert line["backend"] == "d1" and line["listener"] == "imaps"
    assert line["client"].startswith("127.0.0.1")
    assert line["tls"] == "TLSv1.3" and line["reason"] == "logout"
    assert int(line["out"]) > 5000 and int(line["in"]) > 20
    assert float(line["total_s"]) >= float(line["login_s"]) >= 0
    # one of it, and one of the login
    assert len(w.lines(event="close", user=user)) == 1
    assert len(w.lines(event="login", user=user)) == 1
    assert w.lines(event="login", user=user)[0]["s"] == line["s"]


def test_listener_without_tls(weir, conf, mail, user):
    """plaintext_login: for a network of one's own."""
    w = weir(conf(backend("d1", mail.d1.plain),
                  imap_listener="plaintext_login = yes"))
    with Imap(w.imap) as c:
        words = c.capability()
        assert "AUTH=PLAIN" in words and "STARTTLS" in words
        assert "LOGINDISABLED" not in words
        c.login(user)
        c.ok("SELECT INBOX")
        c.ok("LOGOUT")
    assert "tls" not in w.wait_log(event="close", user=user)


def test_login_is_quick(w, user):
    """No timer, no Nagle on the way."""
    best = 9.0
    for _ in range(5):
        with Imap(w.imaps, tls=True) as c:
            start = time.monotonic()
            c.login(user)
            best = min(best, time.monotonic() - start)
    assert best < 0.5


def test_capabilities_learnt_while_a_client_waits(weir, conf):
    """What is offered may change under a client that has seen the old."""
    port = free_port()
    w = weir(conf(backend("late", port),
                  pool="health { interval = 200ms  fast_interval = 100ms }"))
    with Imap(w.imaps, tls=True) as waiting:
        with Peer(port=port):
            w.wait_log(event="backend_state", to="up")
            with Imap(w.imaps, tls=True) as c:
                assert " IDLE " in c.greeting
            words = waiting.ok("CAPABILITY")[0].split()
            assert words[:3] == [b"*", b"CAPABILITY", b"IMAP4rev1"]
            assert b"SASL-IR" in words and b"AUTH=PLAIN" in words
