# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""When something runs out: descriptors, addresses, time"""
import contextlib
import os
import resource
import selectors
import socket
import ssl
import threading
import time

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.imap import Imap
from harness.procs import must_see_into, wait_until

pytestmark = pytest.mark.fault


def test_sessions_per_address(weir, conf, mail, new_user):
    w = weir(conf(backend("d1", mail.d1.plain), workers=1,
                  limits="sessions_per_address = 3"))
    held = [Imap(w.imaps, tls=True) for _ in range(3)]
    with contextlib.suppress(OSError, EOFError):
        with Imap(w.imaps, tls=True) as c:
            assert c.greeting.startswith("* BYE")
    w.wait_log(event="close", reason="address-limit")
    # another address is another client
    with Imap(w.imaps, tls=True, source="127.0.0.5") as c:
        c.login(new_user())
    held.pop().close()
    w.wait_log(event="close", reason="client-eof", count=2)
    held.append(Imap(w.imaps, tls=True))
    held[-1].ok("NOOP")
    for c in held:
        c.close()


def test_sessions_per_address_count_for_all_workers(weir, conf, mail,
                                                    new_user):
    w = weir(conf(backend("d1", mail.d1.plain), workers=2,
                  limits="sessions_per_address = 4"))
    held, refused = [], 0
    for _ in range(16):
        try:
            c = Imap(w.imaps, tls=True)
        except (OSError, EOFError):
            refused += 1
            continue
        if c.command(f"LOGIN {new_user()} secret")[1].startswith("OK"):
            held.append(c)
        else:
            refused += 1
            c.close()
    assert len(held) == 4 and refused == 12
    for c in held:
        c.ok("NOOP")
        c.close()


def test_sessions(weir, conf, mail, new_user):
    """Over limits.sessions nobody is accepted; then they are."""
    w = weir(conf(backend("d1", mail.d1.plain), workers=1,
                  limits="sessions = 5"))
    held = [Imap(w.imaps, tls=True) for _ in range(5)]
    late = socket.create_connection(("127.0.0.1", w.imaps), timeout=20)
    for c in held:
        c.ok("NOOP")
    held.pop().close()
    late = ssl._create_unverified_context().wrap_socket(late)
    assert late.recv(100).startswith(b"* OK")
    late.close()
    held[0].login(new_user())
    for c in held:
        c.close()


def test_descriptors_run_out(weir, conf, mail, new_user):
    """Accept pauses, sessions go on, nothing crashes; then it goes on."""
    w = weir(conf(backend("d1", mail.d1.plain), workers=1), descriptors=256)
    first = Imap(w.imaps, tls=True)
    first.login(new_user())
    crowd = []
    with contextlib.suppress(OSError):
        for _ in range(400):
            s = socket.create_connection(("127.0.0.1", w.imaps), timeout=20)
            crowd.append(s)
    for _ in range(5):
        first.ok("NOOP")
    for s in crowd:
        s.close()

    def works():
        with contextlib.suppress(OSError, EOFError, AssertionError):
            with Imap(w.imaps, tls=True) as c:
                c.login(new_user())
                return True
        return False
    wait_until(works, "logins to work again", 30, interval=0.2)
    first.ok("NOOP")
    first.close()
    assert len(w.workers()) == 1


@pytest.mark.timeout(420)
def test_5000_connections_at_once(weir, conf, mail, new_user):
    """All get the greeting; an old session is served meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = 5000
    if hard < 2 * n:
        pytest.skip("RLIMIT_NOFILE is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    w = weir(conf(backend("d1", mail.d1.plain),
                  limits="login_timeout = 5m"), descriptors=hard)
    old = Imap(w.imaps, tls=True)
    old.login(new_user())
    old.ok("SELECT INBOX")
    stop, slowest = threading.Event(), [0.0]

    def noops():
        while not stop.is_set():
            begin = time.monotonic()
            old.ok("NOOP")
            slowest[0] = max(slowest[0], time.monotonic() - begin)
            stop.wait(0.05)
    thread = threading.Thread(target=noops)
    thread.start()
    selector = selectors.DefaultSelector()
    socks, greeted = [], 0
    try:
        # the plain port: 5000 handshakes would measure this client
        for i in range(n):
            s = socket.socket()
            s.setblocking(False)
            s.bind((f"127.0.1.{1 + i % 8}", 0))
            with contextlib.suppress(BlockingIOError):
                s.connect(("127.0.0.1", w.imap))
            selector.register(s, selectors.EVENT_READ)
            socks.append(s)
        end = time.monotonic() + 120
        while greeted < n:
            assert time.monotonic() < end, f"{greeted} of {n} greeted"
            for key, _ in selector.select(1):
                data = key.fileobj.recv(1000)
                assert data.startswith(b"* OK"), data
                selector.unregister(key.fileobj)
                greeted += 1
    finally:
        stop.set()
        thread.join()
        for s in socks:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert slowest[0] < 10
    old.ok("NOOP")
    old.close()


def test_an_idle_session_is_small(weir, conf, mail, new_user):
    """Memory of 200 TLS sessions in the relay, the bulk of it OpenSSL's."""
    from harness.mailweir import WRAP, sanitized
    if WRAP or sanitized():
        pytest.skip("memory is measured on a plain build")
    with Peer() as peer:
        w = weir(conf(backend("fake", peer.port), workers=1))
        must_see_into(w.workers()[0])

        def private():
            pid = w.workers()[0]
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                return sum(int(line.split()[1]) for line in f
                           if line.startswith("Private_Dirty"))
        warm = [Imap(w.imaps, tls=True) for _ in range(20)]
        for c in warm:
            c.login("jan")
        before = private()
        many = [Imap(w.imaps, tls=True) for _ in range(200)]
        for c in many:
            c.login("jan")
        each = (private() - before) / 200
        for c in many:
            c.ok("NOOP")
        for c in warm + many:
            c.close()
    assert each < 40, f"{each:.1f} KiB a session"


# a backend that stalls, at each step of the login

def stall_connect(c):
    c.hang()


def stall_banner(c):
    c.send("* OK [CAPABILITY IMAP4rev1")
    c.hang()


def stall_id(c):
    c.greet()
    c.command()
    c.hang()


def stall_login(c):
    c.greet()
    c.login(reply=None)
    c.hang()


def stall_reply(c):
    c.greet()
    tag = c.login(reply=None)
    c.send(f"{tag} OK [CAPAB")
    c.hang()


def stall_untagged(c):
    c.greet()
    c.login(reply=None)
    for _ in range(3):
        c.send("* OK still thinking\r\n")
    c.hang()


@pytest.mark.parametrize("stall", [
    stall_connect, stall_banner, stall_id, stall_login, stall_reply,
    stall_untagged])
def test_backend_stalls(weir, conf, stall):
    with Peer(stall) as peer:
        w = weir(conf(backend("slow", peer.port, "client_info = id"),
                      pool="connect_timeout = 1s\n  login_timeout = 1s"))
        with Imap(w.imaps, tls=True) as c, Imap(w.imaps, tls=True) as other:
            begin = time.monotonic()
            c.send("t LOGIN jan secret\r\n")
            other.ok("NOOP")
            reply = c.finish("t")[1]
            assert reply.startswith("NO [UNAVAILABLE]"), reply
            assert time.monotonic() - begin < 8
            c.ok("NOOP")
        line = w.wait_log(event="backend_failed", backend="slow")
        assert line["kind"] == "timeout"


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_backend_stalls_in_tls(weir, conf, census, tls):
    def script(c):
        if tls == "starttls":
            c.greet("IMAP4rev1 STARTTLS")
            tag, name, _ = c.command()
            while name != "STARTTLS":
                c.reply(tag, "OK")
                tag, name, _ = c.command()
            c.reply(tag, "OK go")
        c.hang()

    with Peer(script) as peer:
        w = weir(conf(backend("slow", peer.port,
                              f"tls = {tls}\n  verify = no"), workers=1,
                      pool="connect_timeout = 1s\n  login_timeout = 1s"))

        def stall():
            with Imap(w.imaps, tls=True) as c:
                _, reply = c.command("LOGIN jan secret")
                assert reply.startswith("NO [UNAVAILABLE]"), reply
        stall()
        census.begin(w)     # what TLS with servers needs is made once
        stall()


@pytest.mark.parametrize("flood", ["line", "lines", "literal"])
def test_backend_floods_before_login(weir, conf, flood):
    """A backend gone mad costs bounded memory, and the login only."""
    def script(c):
        if flood == "line":
            for _ in range(2000):
                c.send("* OK " + "x" * 4000)
        elif flood == "lines":
            c.greet()
            for _ in range(100000):
                c.send("* OK hello hello hello hello\r\n")
        else:
            c.greet()
            c.send("* ID ({100000000}\r\n")
            for _ in range(2000):
                c.send("x" * 4000)
        c.hang()

    with Peer(script) as peer:
        w = weir(conf(backend("mad", peer.port),
                      pool="connect_timeout = 1s\n  login_timeout = 2s"))
        with Imap(w.imaps, tls=True) as c:
            c.send("t LOGIN jan secret\r\n")
            said = b""
            while True:
                one = c.response()
                if one.startswith(b"t "):
                    break
                said += one
            assert one.startswith(b"t NO [UNAVAILABLE]"), one
            assert len(said) < 1 << 20


def test_many_log_in_at_once(weir, conf):
    """200 logins in one moment: all succeed, through control's one queue."""
    n = 200

    def script(c):
        c.greet()
        c.login()
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port)))
        crowd = [Imap(w.imaps, tls=True) for _ in range(n)]
        for i, c in enumerate(crowd):
            c.send(f"t LOGIN u{i}@example.org secret\r\n")
        for c in crowd:
            assert c.finish("t")[1].startswith("OK")
        for c in crowd:
            c.send("x NOOP\r\n")
        for c in crowd:
            assert c.finish("x")[1].startswith("OK")
            c.close()
        w.wait_log(event="close", count=n)
        assert len({line["s"] for line in w.lines(event="login")}) == n


def test_client_goes_away_during_login(weir, conf):
    """The attempt at the backend ends with it."""
    with Peer(stall_login) as peer:
        w = weir(conf(backend("slow", peer.port)))
        with Imap(w.imaps, tls=True) as c:
            c.send("t LOGIN jan secret\r\n")
            wait_until(peer.sessions, "the login there")
        w.wait_log(event="close", blame="client")


def test_client_pipelines_much_behind_the_login(weir, conf):
    """Bounded: what does not fit waits in the kernel, nothing is lost."""
    hold = threading.Event()

    def script(c):
        c.greet()
        tag = c.login(reply=None)
        hold.wait(20)
        c.reply(tag, "OK [CAPABILITY IMAP4rev1] in")
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("slow", peer.port), limits="pipelined = 1k"))
        with Imap(w.imaps, tls=True) as c:
            c.send("t LOGIN jan secret\r\n")
            n = 3000
            sender = threading.Thread(target=lambda: c.send(
                "".join(f"x{i} NOOP\r\n" for i in range(n))))
            sender.start()
            wait_until(peer.sessions, "the login there")
            hold.set()
            assert c.finish("t")[1].startswith("OK")
            for i in range(n):
                assert c.finish(f"x{i}")[1].startswith("OK")
            sender.join()


def test_good_logins_and_bad_ones(weir, conf, mail, user):
    """Many of both, of clients that then just go."""
    w = weir(conf(backend("d1", mail.d1.plain), workers=1))
    for i in range(24):
        with contextlib.suppress(OSError, EOFError):
            with Imap(w.imaps, tls=True) as c:
                c.send(f"t LOGIN {user} {'secret' if i % 2 else 'x'}\r\n")
                c.finish("t")
