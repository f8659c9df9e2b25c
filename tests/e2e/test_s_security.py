# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""What hostile clients and backends try"""
import base64
import contextlib
import hashlib
import hmac
import os
import random
import re
import socket
import ssl
import time

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.dovecot import token
from harness.imap import Imap, b64, plain
from harness.procs import wait_until


@pytest.fixture
def w(weir, conf, mail):
    return weir(conf(backend("d1", mail.d1.plain)))


# SCRAM, as a client (RFC 5802): the proxy relays and never has the password

def scram(c, user, password, mechanism="SCRAM-SHA-256", initial=True):
    """The tagged reply."""
    digest = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}[mechanism]
    nonce = base64.b64encode(os.urandom(15)).decode()
    name = user.replace("=", "=3D").replace(",", "=2C")
    bare = f"n={name},r={nonce}"
    if initial:
        c.send(f"t AUTHENTICATE {mechanism} {b64('n,,' + bare)}\r\n")
    else:
        c.send(f"t AUTHENTICATE {mechanism}\r\n")
        assert c.line().rstrip() == "+"
        c.send(b64("n,," + bare) + "\r\n")
    line = c.line()
    if not line.startswith("+ "):
        return line.partition(" ")[2]
    first = base64.b64decode(line[2:]).decode()
    fields = dict(part.split("=", 1) for part in first.split(","))
    assert fields["r"].startswith(nonce)
    salted = hashlib.pbkdf2_hmac(digest, password.encode(),
                                 base64.b64decode(fields["s"]),
                                 int(fields["i"]))

    def mac(key, text):
        return hmac.new(key, text, digest).digest()
    key = mac(salted, b"Client Key")
    last = f"c=biws,r={fields['r']}"
    auth = f"{bare},{first},{last}".encode()
    proof = bytes(a ^ b for a, b in zip(
        key, mac(hashlib.new(digest, key).digest(), auth)))
    c.send(b64(f"{last},p={b64(proof)}") + "\r\n")
    line = c.line()
    if line.startswith("+ "):
        # the server's signature: it knew the password, too
        verifier = base64.b64decode(line[2:]).decode()
        expected = mac(mac(salted, b"Server Key"), auth)
        assert verifier == f"v={b64(expected)}"
        c.send("\r\n")
        line = c.line()
    while line.startswith("* "):
        line = c.line()
    return line.partition(" ")[2]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("initial", [True, False])
def test_scram_is_relayed(weir, conf, mail, user, mechanism, initial):
    w = weir(conf(backend("d1", mail.d1.plain, "client_info = id"),
                  auth="mechanisms = { PLAIN, SCRAM-SHA-1, SCRAM-SHA-256 }"))
    with Imap(w.imaps, tls=True) as c:
        wait_until(lambda: f"AUTH={mechanism}" in c.capability(), mechanism)
        reply = scram(c, user, "wrong", mechanism, initial)
        assert reply.startswith("NO [AUTHENTICATIONFAILED]"), reply
        reply = scram(c, user, "secret", mechanism, initial)
        assert reply.startswith("OK"), reply
        c.ok("SELECT INBOX")
    assert f"method={mechanism}" in mail.d1.wait_login(user)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_oauth_is_relayed(w, mail, user, mechanism):
    def message(bearer):
        if mechanism == "XOAUTH2":
            return b64(f"user={user}\1auth=Bearer {bearer}\1\1")
        return b64(f"n,a={user},\1host=mail.test\1port=993\1"
                   f"auth=Bearer {bearer}\1\1")
    with Imap(w.imaps, tls=True) as c:
        assert f"AUTH={mechanism}" in c.capability()
        # RFC 7628 3.2.3: the failure comes as JSON in a challenge
        c.send(f"f AUTHENTICATE {mechanism} {message('no.good.token')}\r\n")
        line = c.line()
        if line.startswith("+ "):
            assert base64.b64decode(line[2:]).startswith(b"{")
            c.send(b64("\1") + "\r\n")
            line = c.line()
        assert line.startswith("f NO"), line
        good = token(user)
        c.send(f"t AUTHENTICATE {mechanism} {message(good)}\r\n")
        assert c.finish("t")[1].startswith("OK")
        c.ok("SELECT INBOX")
    w.wait_log(event="close", user=user)
    assert good not in w.log() and good.split(".")[1] not in w.log()


def test_scram_client_that_sends_rubbish(w, user):
    with Imap(w.imaps, tls=True) as c:
        c.send("t AUTHENTICATE SCRAM-SHA-256 "
               + b64(f"n,,n={user},r=abcdefgh") + "\r\n")
        assert c.line().startswith("+ ")
        c.send("this is not base64!\r\n")
        assert c.line().startswith("t BAD")
        c.send("t AUTHENTICATE SCRAM-SHA-256 "
               + b64(f"n,,n={user},r=abcdefgh") + "\r\n")
        assert c.line().startswith("+ ")
        c.send("*\r\n")
        assert c.line().startswith("t BAD")
        c.login(user)


# secrets

def test_no_secret_in_the_log(weir, conf, mail, user):
    secrets = ["hush-one", "hush two \\ \"x\"", "hush-three"]
    w = weir(conf(backend("d1", mail.d1.plain), log="level = debug",
                  limits="failed_logins = 20\n  bad_commands = 20"))
    with Imap(w.imaps, tls=True) as c:
        c.command(f"LOGIN {user} {secrets[0]}")
        n = len(secrets[1])
        c.command(f"LOGIN {user} {{{n}+}}\r\n{secrets[1]}")
        c.command("AUTHENTICATE PLAIN " + plain(user, secrets[2]))
        c.command(f"LOGIN {user} {secrets[0]} superfluous")
        c.command(f"LOGI {user} {secrets[0]}")
        c.command(f"{secrets[0]}")
        c.login(user)
        c.ok("LOGOUT")
    w.wait_log(event="close", user=user)
    for secret in secrets + ["secret"]:
        assert secret not in w.log()
        assert b64(secret) not in w.log()
    assert plain(user) not in w.log() and plain(user, secrets[2]) \
        not in w.log()


def test_log_values_are_escaped(w):
    evil = 'x" event=login user="root\x01\x1b[31m\x7f'
    with Imap(w.imaps, tls=True) as c:
        c.send(f"t AUTHENTICATE PLAIN {plain(evil)}\r\n")
        c.finish("t")
        c.send("t AUTHENTICATE PLAIN "
               + plain("a\nb event=close\r\nuser=x") + "\r\n")
        c.finish("t")
        c.send("u LOGIN {8+}\r\nev\xefil\tx \"pass\"\r\n")
        c.finish("u")
    w.wait_log(event="close")
    log = w.log()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log)
    assert not w.lines(event="login")
    assert not w.lines(user="root")
    assert len(w.lines(event="close")) == 1


# injection

@pytest.mark.parametrize("name", [
    "a\r\nX LOGOUT", "a\nX LOGOUT", 'a" "b', "a\\", "a{5}", "a\0b",
    "{3+}\r\nabc", "ä ö", "*", "%", "a b"])
def test_nothing_gets_into_the_backends_stream(weir, conf, name):
    """The user's name and password reach the backend as they are or not at
    all, and never as a command."""
    def script(c):
        c.greet()
        c.login()
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port), auth="canonical_case = keep",
                      limits="failed_logins = 20"))
        for how in ("login", "plain"):
            with Imap(w.imaps, tls=True) as c:
                raw = name.encode()
                if how == "login":
                    c.send(b"t LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n"
                           % (len(raw), raw, len(raw), raw))
                else:
                    c.send(f"t AUTHENTICATE PLAIN {plain(name, name)}\r\n")
                c.finish("t")
        for connection in peer.sessions():
            commands = [line for line in connection.said
                        if re.match(r"\S+ (LOGOUT|NOOP|SELECT)", line, re.I)]
            assert not commands
            assert connection.user == name
            assert connection.password == name


def test_id_of_the_client_cannot_pose_as_a_proxy(weir, conf, mail, user):
    w = weir(conf(backend("d1", mail.d1.plain, "client_info = id")))
    with Imap(w.imaps, tls=True) as c:
        c.ok('ID ("name" "evil" "x-originating-ip" "203.0.113.99" '
             '"X-Proxy-TTL" "1" "x-session-id" "forged")')
        c.login(user)
    line = mail.d1.wait_login(user)
    assert "rip=127.0.0.1" in line and "forged" not in line


# the port of IMAP, and who knocks there by mistake

def test_http_gets_nothing_back(w):
    for request in (b"GET / HTTP/1.1\r\nHost: mail.test\r\n\r\n",
                    b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n"
                    b"\r\na LOGIN x y\r\n<script>1</script>"):
        with Imap(w.imaps, tls=True) as c:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                c.send(request)
            said = c.eof()
            assert b"script" not in said and b"Host" not in said
            assert b"HTTP" not in said


def test_bad_tag_is_not_echoed(w):
    with Imap(w.imaps, tls=True) as c:
        c.send("<script>alert(1)</script> NOOP\r\n")
        line = c.line()
        assert line.startswith("* BAD") and "script" not in line


# budgets

def test_bad_commands_are_counted(w):
    with Imap(w.imaps, tls=True) as c:
        c.send("".join(f"t{n} NONSENSE\r\n" for n in range(50)))
        said = c.eof().decode()
        assert said.count(" BAD ") == 5 and "* BYE" in said
    w.wait_log(event="close", reason="abuse")


@pytest.mark.parametrize("what", [
    b"a" * 100000, b"a NOOP" + b" " * 100000, b"a LOGIN " + b"x" * 100000,
    b"a LOGIN \"" + b"x" * 100000, b"a ID " + b"(" * 100000,
    b"a AUTHENTICATE PLAIN " + b"A" * 100000])
def test_a_line_has_an_end(w, what):
    with Imap(w.imaps, tls=True) as c:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            c.send(what)
            c.send("\r\nb NOOP\r\n")
        said = c.eof().decode()
        assert "BYE" in said or "BAD" in said or said == ""
        assert "b OK" not in said or "BAD" in said


def test_literals_are_bounded(w, user):
    with Imap(w.imaps, tls=True) as c:
        for size in ("4097", "4294967297", "99999999999999999999"):
            c.send(f"a LOGIN {{{size}}}\r\n")
            assert c.line().startswith(("a BAD", "a NO [TOOBIG]"))
        c.ok("NOOP")
        # non-synchronizing and too big: BAD and eaten, or BYE
        c.send(b"a LOGIN {5000+}\r\n" + b"x" * 5000 + b" y\r\nb NOOP\r\n")
        said = c.line()
        assert "BYE" in said or said.startswith(("a BAD", "a NO"))


def test_commands_are_counted(weir, conf, mail):
    w = weir(conf(backend("d1", mail.d1.plain), limits="commands = 10"))
    with Imap(w.imaps, tls=True) as c:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            c.send("".join(f"t{n} NOOP\r\n" for n in range(50)))
        said = c.eof().decode()
        assert 5 <= said.count(" OK ") <= 10 and "* BYE" in said


def test_login_timeout(weir, conf, mail):
    w = weir(conf(backend("d1", mail.d1.plain), limits="login_timeout = 1s\n  commands = 1000000"))
    begin = time.monotonic()
    with Imap(w.imaps, tls=True) as idle, Imap(w.imap) as busy, \
            socket.create_connection(("127.0.0.1", w.imaps)) as silent:
        with contextlib.suppress(OSError, EOFError):
            while time.monotonic() < begin + 10:
                busy.ok("NOOP")
        assert b"* BYE" in idle.eof()
        silent.settimeout(10)
        assert silent.recv(100) == b""
    assert 0.8 < time.monotonic() - begin < 8
    w.wait_log(event="close", reason="login-timeout", count=3)


def test_noise(w, user):
    """Random bytes, random cuts of a good dialogue: it stays alive."""
    rng = random.Random(2026)
    good = (f'a CAPABILITY\r\nb ID ("x" "y")\r\nc AUTHENTICATE PLAIN\r\n*\r\n'
            f'd LOGIN {{{len(user)}+}}\r\n{user} secret\r\ne NOOP\r\n'
            "f LOGOUT\r\n").encode()
    for n in range(60):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(data))
            kind = rng.randrange(4)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at:at + rng.randrange(1, 20)]
            elif kind == 2:
                data[at:at] = rng.randbytes(rng.randrange(1, 20))
            else:
                data[at:at] = rng.choice((b"\r\n", b"{10}\r\n", b"\0", b'"',
                                          b"{4294967296+}\r\n", b"\\", b"("))
            if not data:
                data = bytearray(b"\r\n")
        port, tls = ((w.imaps, True), (w.imap, None))[n % 2]
        with contextlib.suppress(OSError, EOFError):
            with Imap(port, tls=tls, greet=False) as c:
                c.send(bytes(data))
                c.sock.shutdown(socket.SHUT_WR)
                c.eof()
    for n in range(20):
        with contextlib.suppress(OSError), socket.create_connection(
                ("127.0.0.1", w.imaps), timeout=20) as s:
            s.sendall(rng.randbytes(rng.randrange(1, 3000)))
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
    assert len(w.workers()) == 2


def test_a_failed_attempt_leaves_nothing(weir, conf, user):
    """The second attempt on a connection has only its own data."""
    with Peer() as peer:
        w = weir(conf(backend("fake", peer.port)))
        with Imap(w.imaps, tls=True) as c:
            c.send("t AUTHENTICATE PLAIN " + plain("first", "") + "\r\n")
            assert c.finish("t")[1].startswith("NO")
            c.send('u LOGIN "first" ""\r\n')
            assert c.finish("u")[1].startswith("NO")
            c.send(f"v LOGIN {user} mine\r\n")
            assert c.finish("v")[1].startswith("OK")
        connection, = peer.sessions()
        assert connection.user == user and connection.password == "mine"


def test_children_have_no_privileges(w):
    """Confined as the kernel allows: no new privileges, no core dumps."""
    for pid in [w.control(), *w.workers()]:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            status = dict(line.split(":", 1) for line in f)
        assert status["NoNewPrivs"].strip() == "1"
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            core, = [line for line in f if line.startswith("Max core")]
        assert core.split()[4:6] == ["0", "0"]
        if os.geteuid() == 0:
            assert "0" not in status["Uid"].split()
    for pid in w.workers():
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            status = dict(line.split(":", 1) for line in f)
        assert status["Seccomp"].strip() == "2" or w.lines(
            event=re.compile("sandbox|landlock|seccomp"))
