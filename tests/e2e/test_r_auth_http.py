# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""A server for nginx's auth_http serves nginx and Mailweir, and both act alike"""
import re
import threading
import time

import pytest

from harness.auth_server import AuthServer
from harness.conf import Conf, backend
from harness.imap import Imap, b64, plain, tls_context
from harness.mailweir import Mailweir
from harness.nginx import Nginx
from harness.procs import free_port, wait_until

INVALID = "Invalid login or password"


class Pair:
    """An nginx and a Mailweir that ask the same server."""

    def __init__(self, server, nginx, weir, ports, mail):
        self.server, self.nginx, self.weir = server, nginx, weir
        self.ports, self.mail = ports, mail

    def ok(self, dovecot=None, **more):
        """An answer that sends the user to a Dovecot."""
        fixed = {"Auth-Status": "OK", "Auth-Server": "127.0.0.1",
                 "Auth-Port": str((dovecot or self.mail.d1).plain),
                 **{k.replace("_", "-"): v for k, v in more.items()}}
        return lambda _: fixed

    def both(self, way="plain"):
        """A connection to each: by nginx, by Mailweir."""
        options = {}
        if way == "proxied":
            options["before"] = (b"PROXY TCP4 192.0.2.7 192.0.2.1 "
                                 b"5555 143\r\n")
        elif way == "tls":
            options["tls"] = True
        elif way != "plain":
            options["tls"] = tls_context(cert=way)
            way = "tls"
        return [Imap(port, **options) for port in self.ports[way]]

    def login(self, user, password="secret"):
        """The tagged replies of both, and whether each closed then."""
        ends = []
        clients = self.both()
        for c in clients:
            c.send(f'a LOGIN "{user}" "{password}"\r\n')
        for c in clients:
            ends.append((c.finish("a")[1], self.closes(c)))
        return ends

    @staticmethod
    def closes(c):
        """Whether the connection ends now; NOOP tells if it does not."""
        try:
            c.send("z NOOP\r\n")
            while True:
                if c.line().startswith("z "):
                    c.close()
                    return False
        except (EOFError, OSError):
            return True


@pytest.fixture(scope="module")
def pair(request, mail, place, ca, front):
    """One of each for all tests of this file."""
    n = {way: free_port() for way in ("plain", "proxied", "tls")}
    proxied = free_port()
    directory = place / f"auth_http-{free_port()}"
    with AuthServer() as server:
        nginx = Nginx(directory / "nginx", mail=f"""
  auth_http {server.url};
  auth_http_header X-Auth-Key "open sesame";
  auth_http_pass_client_cert on;
  imap_auth plain login external;
  server {{ listen 127.0.0.1:{n["plain"]}; protocol imap; }}
  server {{
    listen 127.0.0.1:{n["proxied"]} proxy_protocol;
    protocol imap;
    set_real_ip_from 127.0.0.0/8;
  }}
  server {{
    listen 127.0.0.1:{n["tls"]} ssl;
    protocol imap;
    ssl_certificate {front[0]};
    ssl_certificate_key {front[1]};
    ssl_protocols TLSv1.3;
    ssl_verify_client optional;
    ssl_client_certificate {ca.cert};
  }}
""")
        conf = Conf(
            front, free_port(), free_port(),
            backend("d1", mail.d1.plain), backend("d2", mail.d2.plain),
            tls=f'client_ca = "{ca.cert}"',
            imap_listener="plaintext_login = yes",
            auth=f'driver = http\n  url = "{server.url}"\n  timeout = 3s\n'
            '  header = { "X-Auth-Key: open sesame" }\n'
            "  pass_client_certificate = yes\n"
            "  mechanisms = { PLAIN, LOGIN, EXTERNAL }",
            more=f'listener proxied {{ address = "127.0.0.1:{proxied}"\n'
            "  tls = none  plaintext_login = yes\n"
            '  proxy_protocol_from = { "127.0.0.0/8" } }\n')
        weir = Mailweir(directory / "weir", str(conf))
        try:
            nginx.start(n["plain"])
            weir.start()
            yield Pair(server, nginx, weir, {
                "plain": (n["plain"], conf.imap),
                "proxied": (n["proxied"], proxied),
                "tls": (n["tls"], conf.imaps)}, mail)
            weir.stop()
        finally:
            nginx.stop()
            weir.kill()
            if request.session.testsfailed:
                print(weir.log()[-8000:])


def settle(raw):
    """What may differ: Mailweir's Auth-SSL-Verify is there only with a
    certificate, and an empty value comes without a space."""
    return raw.replace(b"Auth-SSL-Verify: NONE\r\n", b"").replace(
        b"Auth-Pass: \r\n", b"Auth-Pass:\r\n")


@pytest.mark.parametrize("way,command", [
    ("plain", 'LOGIN "{user}" "p%c \\"d"'),
    ("plain", "AUTHENTICATE PLAIN {plain}"),
    ("proxied", "LOGIN {user} secret"),
    ("tls", "LOGIN {user} secret"),
    ("certificate", "LOGIN {user} secret"),
    ("certificate", "AUTHENTICATE EXTERNAL {external}"),
])
def test_the_same_question(pair, ca, user, way, command):
    """Byte for byte."""
    pair.server.users[user] = pair.ok(Auth_Pass="secret")
    if way == "certificate":
        way = ca.issue(user, f"email:{user}", client=True)
    command = command.format(user=user, plain=plain(user),
                             external=b64(user))
    for c in pair.both(way):
        with c:
            c.send(f"a {command}\r\n")
            assert c.finish("a")[1].startswith("OK")
    first, second = (settle(r.raw) for r in pair.server.of(user))
    assert first == second
    assert b"X-Auth-Key: open sesame\r\n" in second


def test_success(pair, user, new_user):
    """The user gets to the server that was named."""
    other = new_user()
    pair.server.users[user] = pair.ok(pair.mail.d1)
    pair.server.users[other] = pair.ok(pair.mail.d2)
    for who in (user, other):
        for reply, closed in pair.login(who):
            assert reply.startswith("OK") and not closed
    pair.mail.d1.wait_login(user, count=2)
    pair.mail.d2.wait_login(other, count=2)
    pair.weir.wait_log(event="login", user=other, backend="d2")
    assert not pair.mail.d1.logins(other)


def test_replaced_credentials(pair, user):
    """The client's own are wrong for the backend."""
    name = f"alias-of-{user}"
    pair.server.users[name] = pair.ok(Auth_User=user, Auth_Pass="secret")
    for reply, _ in pair.login(name, "other words"):
        assert reply.startswith("OK")
    pair.mail.d1.wait_login(user, count=2)


def test_refused_at_once(pair, user):
    pair.server.users[user] = lambda _: {"Auth-Status": INVALID}
    assert pair.login(user) == [(f"NO {INVALID}", True)] * 2


def test_refused_after_a_while(pair, user):
    """The connection stays, and the next attempt is counted."""
    pair.server.users[user] = lambda login: (
        pair.ok()(login) if login.password == "secret" else
        {"Auth-Status": INVALID, "Auth-Wait": "1"})
    began = time.monotonic()
    clients = pair.both()
    for c in clients:
        c.send(f"a LOGIN {user} wrong\r\n")
    for c in clients:
        assert c.finish("a")[1] == f"NO {INVALID}"
        assert time.monotonic() - began > 0.9
    for c in clients:
        with c:
            c.send(f"b LOGIN {user} secret\r\n")
            assert c.finish("b")[1].startswith("OK")
    assert sorted(r.attempt for r in pair.server.of(user)) == [1, 1, 2, 2]


def test_wait_and_ask_again(pair, user):
    """WAIT: the server is asked once more, and others are served meanwhile."""
    pair.server.users[user] = lambda login: (
        {"Auth-Status": "WAIT", "Auth-Wait": "1"}
        if len(pair.server.of(user)) <= 2 else pair.ok()(login))
    clients = pair.both()
    for c in clients:
        c.send(f"a LOGIN {user} secret\r\n")
    wait_until(lambda: len(pair.server.of(user)) == 2, "both to ask")
    pair.server.users["quick"] = lambda _: {"Auth-Status": INVALID}
    assert [r for r, _ in pair.login("quick")] == [f"NO {INVALID}"] * 2
    assert len(pair.server.of(user)) == 2
    for c in clients:
        with c:
            assert c.finish("a")[1].startswith("OK")
    raws = [r.raw for r in pair.server.of(user)]
    assert len(raws) == 4 and len(set(raws)) == 1


@pytest.mark.parametrize("answer", [
    {"Auth-Status": "OK"},
    {"Auth-Status": "OK", "Auth-Server": "127.0.0.1"},
    {"Auth-Status": "OK", "Auth-Server": "localhost", "Auth-Port": "143"},
    {"Auth-Status": "OK", "Auth-Server": "127.0.0.1", "Auth-Port": "0"},
])
def test_answers_that_are_none(pair, user, answer):
    """Neither lets the user in, or says that the password was wrong."""
    pair.server.users[user] = lambda _: answer
    for c in pair.both():
        c.send(f"a LOGIN {user} secret\r\n")
        line = c.line()
        assert line == "* BAD internal server error" or \
            line.startswith("a NO [UNAVAILABLE]"), line
        c.close()
    pair.weir.wait_log(event="login_failed", user=user, why="auth-failed")


def test_server_unknown_to_the_configuration(pair, user):
    """Mailweir goes to its own backends only."""
    pair.server.users[user] = lambda _: {
        "Auth-Status": "OK", "Auth-Server": "127.0.0.1",
        "Auth-Port": str(free_port())}
    with pair.both()[1] as c:
        c.send(f"a LOGIN {user} secret\r\n")
        assert c.finish("a")[1].startswith("NO [UNAVAILABLE]")


def test_text_of_a_refusal_is_one_line(pair, user):
    pair.server.users[user] = lambda _: {
        "Auth-Status": "no\x01\x7f\xe9", "Auth-Wait": "1"}
    with pair.both()[1] as c:
        c.send(f"a LOGIN {user} secret\r\n")
        assert c.finish("a")[1] == "NO no???"
        assert not pair.closes(c)


INJECTIONS = {
    "ldap": b"*)(uid=*))(|(uid=*", "quotes": b"a\"'`\\b", "percent": b"%0d%s%",
    "space": b" a  b ", "separators": b"a;b,c&d=e?f#g/../h", "8 bit": b"\xe9",
    "utf-8": "jos\u00e9".encode(), "header": b"a\r\nAuth-Status: OK",
    "256": b"x" * 256, "colon": b"Auth-User: b",
}


def attempt(c, user, password):
    """LOGIN with both as literals: the reply, or that it closed."""
    try:
        c.send(f"a LOGIN {{{len(user)}}}\r\n")
        for rest in (user + b" {%d}\r\n" % len(password), password + b"\r\n"):
            line = c.line()
            if not line.startswith("+"):
                return line
            c.send(rest)
        return c.line()
    except (EOFError, OSError):
        return "closed"


@pytest.mark.parametrize("kind", INJECTIONS)
def test_injection(pair, kind):
    """Each arrives as what it is, or does not: never as anything else."""
    evil = INJECTIONS[kind]
    marker = f"marker {kind}".encode()
    names = None
    for user, password in ((evil, marker), (marker, evil)):
        before = len(pair.server.requests)
        for index, c in enumerate(pair.both()):
            with c:
                reply = attempt(c, user, password)
            assert not reply.startswith("a OK")
            asked = pair.server.requests[before:]
            before += len(asked)
            if not asked:
                # Mailweir: not a user name, or no literal as IMAP has them
                assert index == 1 and re.match(r"a (BAD|NO) ", reply), reply
                continue
            assert [r.user for r in asked] == [user.decode("latin-1")]
            assert asked[0].password == password.decode("latin-1")
            names = names or list(asked[0].headers)
            assert list(asked[0].headers) == names
    pair.weir.wait_log(event="login_failed")


def test_nul_is_refused(pair, user):
    """nginx would send it; IMAP has no such strings."""
    before = len(pair.server.requests)
    for credentials in ((b"a\0b", b"secret"), (user.encode(), b"se\0cret")):
        with pair.both()[1] as c:
            assert not attempt(c, *credentials).startswith("a OK")
    assert len(pair.server.requests) == before


def test_server_that_stalls(pair, user, new_user):
    """A login waits for its own answer only, and not for ever."""
    go = threading.Event()
    other = new_user()

    def stall(_):
        go.wait(20)
        return {"Auth-Status": INVALID}
    pair.server.users[user] = stall
    pair.server.users[other] = pair.ok()
    with pair.both()[1] as c, pair.both()[1] as d:
        c.send(f"a LOGIN {user} secret\r\n")
        wait_until(lambda: pair.server.of(user), "the question")
        d.login(other)
        assert c.finish("a")[1].startswith("NO [UNAVAILABLE]")
    go.set()
    assert "3000 ms" in pair.weir.wait_log(
        event="auth_down", why=re.compile("no answer"))["why"]


def test_no_secret_in_the_log(pair, user):
    pair.server.users[user] = lambda _: {"Auth-Status": INVALID}
    pair.login(user, "unmentionable")
    pair.weir.wait_log(event="login_failed", user=user)
    assert "unmentionable" not in pair.weir.log()
