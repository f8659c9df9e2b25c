# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""When a backend dies, its clients are told so one after the other"""
import selectors
import time

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.dovecot import Dovecot
from harness.imap import Imap
from harness.procs import wait_until

N = 24
SPREAD = 3

pytestmark = pytest.mark.fault


@pytest.fixture
def mortal(tmp, backend_cert):
    users = [f"m{n}@example.org" for n in range(N)]
    one = Dovecot(tmp / "mortal", "mortal", backend_cert, users).start()
    yield one
    one.stop()


def idle(w, users):
    clients = []
    for user in users:
        c = Imap(w.imaps, tls=True)
        c.login(user)
        c.ok("SELECT INBOX")
        c.send("i IDLE\r\n")
        assert c.line().startswith("+")
        clients.append(c)
    return clients


def ends(clients, seconds):
    """When each was told BYE, and by which line."""
    found, begin = {}, time.monotonic()
    with selectors.DefaultSelector() as selector:
        for c in clients:
            selector.register(c.sock, selectors.EVENT_READ, c)
        while len(found) < len(clients):
            left = begin + seconds - time.monotonic()
            assert left > 0, f"{len(found)} of {len(clients)} were told"
            for key, _ in selector.select(left):
                c = key.data
                found[c] = (time.monotonic() - begin, c.line())
                selector.unregister(c.sock)
    return found


def test_clients_of_a_dead_backend_are_told_in_turn(weir, conf, mortal):
    w = weir(conf(backend("mortal", mortal.plain), workers=1,
                  pool=f"disconnect_spread = {SPREAD}s"))
    clients = idle(w, mortal.users)
    # what they say while they wait is thrown away, and nothing is cut by it
    mortal.kill()
    clients[-1].send("DONE\r\nx NOOP\r\n")
    told = ends(clients, SPREAD + 5)
    assert all(line == "* BYE [UNAVAILABLE] The mail server closed the "
               "connection." or line == "* BYE [UNAVAILABLE] The mail server "
               "is not available." for _, line in told.values())
    times = sorted(at for at, _ in told.values())
    # a first second's worth at once, the last near the end, no heap between
    assert times[N // SPREAD - 1] < 1
    assert SPREAD * 0.8 < times[-1] < SPREAD + 2
    for step in range(1, SPREAD):
        assert sum(step <= at < step + 1 for at in times) >= N // SPREAD // 2
    closed = wait_until(lambda: len([
        line for line in w.log().splitlines()
        if "event=close" in line and "blame=backend" in line]) == N,
        "a closing line for each")
    assert closed


def test_a_client_that_leaves_meanwhile_is_gone(weir, conf, mortal):
    w = weir(conf(backend("mortal", mortal.plain), workers=1,
                  pool="disconnect_spread = 60s"))
    clients = idle(w, mortal.users[:8])
    mortal.kill()
    ended = {"event": "close", "backend": "mortal"}
    w.wait_log(**ended)
    assert len(w.lines(**ended)) < 8
    for c in clients:
        c.close()
    w.wait_log(**ended, count=8)


def test_no_spread_no_delay(weir, conf, mortal):
    w = weir(conf(backend("mortal", mortal.plain), workers=1,
                  pool="disconnect_spread = 0"))
    clients = idle(w, mortal.users)
    mortal.kill()
    assert max(at for at, _ in ends(clients, 5).values()) < 2


def test_a_long_spread_holds_up_no_other(weir, conf):
    """Two backends die, and one has all the time in the world."""
    with Peer() as slow, Peer() as quick:
        w = weir(conf(
            backend("slow", slow.port), workers=1,
            pool="disconnect_spread = 2m",
            more=backend("quick", quick.port)[1] + "pool other {\n"
            "  backends = { quick }\n  disconnect_spread = 2s\n}\n",
            routes='route { domain = quick.org  pool = other }\n'
            "route { pool = main }"))

        def sessions(domain):
            clients = [Imap(w.imaps, tls=True) for _ in range(4)]
            for n, c in enumerate(clients):
                c.login(f"u{n}@{domain}")
            return clients

        waiting, told = sessions("slow.org"), sessions("quick.org")
        slow.close()
        w.wait_log(event="close", backend="slow")
        quick.close()
        assert max(at for at, _ in ends(told, 10).values()) > 0.5
        assert len(w.lines(event="close", backend="slow")) < 4
        for c in waiting + told:
            c.close()
