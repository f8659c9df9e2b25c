# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Backends die, hang and come back, and their users with them

Three Dovecots over one mail directory: so whoever is sent elsewhere finds the
same mailbox there.
"""
import os
import signal
import time

import pytest

from harness.conf import backend
from harness.console import ask
from harness.crowd import Crowd
from harness.imap import Imap
from harness.procs import wait_until

SERVERS = ("d1", "d2", "d3")
BIG = 40 << 20       # more than all buffers on the way can hold
SPREAD = "disconnect_spread = 1s"
HEALTH = ("health { interval = 300ms  fast_interval = 100ms  timeout = 3s\n"
          "    rise = 1  fall = 2 }\n  slow_start = 0\n  queue_timeout = 1m")

pytestmark = pytest.mark.fault


def start(weir, conf, farm, pool=""):
    return weir(conf(*(backend(name, farm[name].plain) for name in SERVERS),
                     pool=f"{HEALTH}\n  {pool or SPREAD}"))


@pytest.fixture
def w(weir, conf, farm):
    return start(weir, conf, farm)


def wait_state(w, name, *observed):
    """As control sees the backend."""
    def look():
        one, = [b for b in ask(w, "backends") if b["name"] == name]
        return one
    wait_until(lambda: look()["health"] in observed, look)


def backend_of(w, user):
    places = wait_until(
        lambda: [s["backend"] for s in ask(w, "sessions", user)],
        f"sessions of {user}")
    return places[-1]


def placed(w, farm, name, n, *messages):
    """n clients, each of another user, whose backend this is."""
    found = {}
    while len(found) < n:
        user, = farm.take(1)
        farm.deliver(user, *(messages or (b"one",)))
        c = Imap(w.imaps, tls=True)
        c.login(user)
        c.ok("SELECT INBOX")
        if backend_of(w, user) == name:
            found[user] = c
        else:
            c.close()
    return found


def signal_all(server, number):
    for pid in server.process.members():
        os.kill(pid, number)


def idle(c):
    c.send("i IDLE\r\n")
    assert c.line().startswith("+")


def said_bye(c):
    assert c.line().startswith("* BYE [UNAVAILABLE] The mail server ")
    assert c.eof() == b""


def test_killed_with_sessions_open(w, farm):
    """Each is told where a line may stand, and only there."""
    (reader, fetching), = placed(w, farm, "d1", 1, b"x" * BIG).items()
    idling, waiting, saying = placed(w, farm, "d1", 3).values()
    idle(idling)
    fetching.send("f FETCH 1 BODY.PEEK[]\r\n")
    assert fetching.line().endswith("}")
    # a command that the server has not answered; half a command
    signal_all(farm["d1"], signal.SIGSTOP)
    waiting.send("n NOOP\r\n")
    saying.send("a APPEND INBOX (\\Se")
    farm["d1"].kill()
    for c in (idling, waiting, saying):
        said_bye(c)
    rest = fetching.eof()
    assert 0 < len(rest) < BIG and b"BYE" not in rest
    with Imap(w.imaps, tls=True) as c:
        c.login(reader)
        c.ok("SELECT INBOX")
        assert backend_of(w, reader) != "d1"
        assert len(c.fetch_body(1)) > BIG


def test_all_killed(w, farm):
    """Logins are refused as unavailable, by a connection that stays and
    works again as soon as a server does."""
    users = farm.take(2)
    for user in users:
        farm.deliver(user, b"one")
    with Imap(w.imaps, tls=True) as old, Imap(w.imaps, tls=True) as new:
        old.login(users[0])
        old.ok("SELECT INBOX")
        idle(old)
        for name in SERVERS:
            farm[name].kill()
        said_bye(old)
        for attempt in range(3):
            _, reply = new.command(f'LOGIN "{users[1]}" secret')
            assert reply.startswith("NO [UNAVAILABLE]"), reply
        for name in SERVERS:
            wait_state(w, name, "down")
        begin = time.monotonic()
        _, reply = new.command(f'LOGIN "{users[1]}" secret')
        assert reply.startswith("NO [UNAVAILABLE]"), reply
        assert time.monotonic() - begin < 2     # nobody is asked in vain
        farm["d2"].start()
        wait_state(w, "d2", "up")
        new.login(users[1])
        new.ok("SELECT INBOX")
        assert backend_of(w, users[1]) == "d2"


def test_hangs_with_sessions_open(weir, conf, farm):
    """Who is there already is left alone, until the user comes again and has
    to go elsewhere: then all do."""
    w = start(weir, conf, farm, "connect_timeout = 1s")
    (user, first), (_, other) = placed(w, farm, "d1", 2).items()
    idle(first)
    idle(other)
    signal_all(farm["d1"], signal.SIGSTOP)
    try:
        begin = time.monotonic()
        with Imap(w.imaps, tls=True) as c:
            c.login(user)
            assert time.monotonic() - begin < 8
            assert first.line().startswith("* BYE [UNAVAILABLE]")
            wait_until(lambda: backend_of(w, user) != "d1", "all to leave")
            wait_state(w, "d1", "down")
            idle(c)
    finally:
        signal_all(farm["d1"], signal.SIGCONT)
    wait_state(w, "d1", "up")
    other.send("DONE\r\n")
    assert other.finish("i")[1].startswith("OK")
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
        assert backend_of(w, user) == "d1"


def test_flaps_under_load(weir, conf, farm):
    """Clients that come back at once, again and again: each login succeeds,
    nobody is at two servers, and nothing is left behind."""
    w = start(weir, conf, farm)
    users = farm.take(40)
    for user in users:
        farm.deliver(user, b"one")
    sessions = {user: 1 + n % 2 for n, user in enumerate(users)}

    def once(deaths):
        killed = []
        with Crowd(w, sessions, mortal=deaths) as crowd:
            for name in deaths:
                there = len(crowd.at(name))
                farm[name].kill()
                killed.append((name, time.time()))
                crowd.wait_idle(nowhere=name)
                assert there
                farm[name].start()
                # doubtful until somebody has logged in there
                wait_state(w, name, "up", "probing")
            crowd.leave()
            assert not w.lines(event="login_failed")
        return killed

    killed = []
    for deaths in (["d1"], ["d2", "d3"], ["d3", "d2", "d1"]):
        killed += once(deaths)
    assert not farm.overlaps(users, killed)


def test_one_comes_back_for_all(weir, conf, farm):
    """It gets no more logins than it can take, the others wait for it."""
    w = start(weir, conf, farm,
              "login_rate = 40\n  disconnect_spread = 0")
    users = farm.take(60)
    for user in users:
        farm.deliver(user, b"one")
    with Crowd(w, {user: 1 for user in users}, mortal=SERVERS) as crowd:
        for name in SERVERS:
            signal_all(farm[name], signal.SIGSTOP)
        for name in SERVERS[1:]:
            farm[name].kill()
        signal_all(farm["d1"], signal.SIGCONT)
        crowd.wait_idle(nowhere="d2")
        crowd.wait_idle(nowhere="d3")
        assert {c.place for c in crowd.clients} == {"d1"}
        crowd.leave()
    assert not w.lines(event="login_failed")
