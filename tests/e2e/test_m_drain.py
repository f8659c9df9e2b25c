# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""A backend with 200 users is emptied, and no mail client has to notice"""
import contextlib
import os
import signal
import threading
import time

import pytest

from harness.conf import backend
from harness.console import ask, wait_serving, weirctl
from harness.crowd import Crowd, append, fetch
from harness.imap import Imap
from harness.procs import session_members, wait_until

BIG = 40 << 20       # more than all buffers on the way can hold
SERVERS = ("d1", "d2", "d3")

pytestmark = pytest.mark.fault


@pytest.fixture
def w(weir, conf, farm):
    return weir(conf(
        *(backend(name, farm[name].plain) for name in SERVERS),
        pool="queue_timeout = 1m\n  disconnect_spread = 1s",
        admin="socket = admin.sock\n  state_file = state/state",
        more="moves { settle = 500ms }"))


def state(w, name):
    one, = [b for b in ask(w, "backends") if b["name"] == name]
    return one


def weigh(w, **weights):
    for name, weight in weights.items():
        ask(w, "weight", name, weight)


def sessions_of(users):
    """Most have one, some two or three."""
    return {user: 3 if n % 10 == 0 else 2 if n % 5 == 0 else 1
            for n, user in enumerate(users)}


def gather(w, farm, n, **more):
    """n users and a few, nearly all at d1; of the first ones some are in the
    middle of a command."""
    users = farm.take(n)
    for user in users:
        farm.deliver(user, b"one", b"two")
    for user in users[:2]:
        big = farm.take(1)[0]
        users[users.index(user)] = big
        farm.deliver(big, b"x" * BIG, b"two")
    tasks = {user: fetch if at < 2 else append
             for at, user in enumerate(users[:12])}
    weigh(w, d1=1000, d2=10, d3=10)
    return Crowd(w, sessions_of(users), tasks, **more)


def drained(w, name):
    return wait_until(lambda: state(w, name)["drain"]["done"] and
                      state(w, name)["drain"],
                      lambda: f"the end of the drain: {state(w, name)}", 60)


# what goes wrong meanwhile: (w, farm) -> the servers that it has killed

def nothing(*_):
    return []


def reload(w, _):
    w.write_conf(w.conf.read_text().replace("settle = 500ms",
                                            "settle = 600ms"))
    assert w.reload()["level"] == "info"
    return []


def kill_another(_, farm):
    farm["d3"].kill()
    return [("d3", time.time())]


def kill_control(w, _):
    os.kill(w.control(), signal.SIGKILL)
    wait_until(lambda: weirctl(w, "backends").returncode == 0,
               "a new control")
    return []


@pytest.mark.parametrize("trouble", [nothing, reload, kill_another,
                                     kill_control])
def test_a_drain_of_200_users(w, farm, trouble):
    mortal = ["d3"] if trouble is kill_another else []
    with gather(w, farm, 220, mortal=mortal) as crowd:
        there = crowd.at("d1")
        users = {c.user for c in there}
        busy = [c for c in there if not c.is_idle]
        assert len(users) >= 200 and len(busy) >= 8
        # a few are elsewhere, by their hash: nobody waits for their commands
        for client in set(crowd.clients) - set(there):
            client.release.set()
        ask(w, "drain", "d1", "--rate", 100, "--parallel", 100)
        crowd.wait(lambda: sum(bool(c.byes) for c in there) > 50,
                   "some to leave")
        killed = trouble(w, farm)
        # all but those who are in the middle of a command
        crowd.wait(lambda: state(w, "d1")["drain"]["users_left"] ==
                   len(busy), lambda: state(w, "d1"))
        for client in busy:
            assert not client.byes
            client.release.set()
        drained(w, "d1")
        crowd.wait_idle(nowhere="d1")
        crowd.leave()
    # nobody had to try twice
    assert not w.lines(event="login_failed")
    assert not farm.overlaps(crowd.mailboxes, killed)
    assert all(c.byes for c in there)
    if trouble in (nothing, reload):
        assert all(len(c.byes) == 1 and c.logins == 2 for c in there)


HOOK = """#!/bin/sh
echo "$(date +%s.%N) $*" >>{called}
sleep 0.3
echo "$(date +%s.%N) done" >>{called}
"""


def moving(weir, conf, farm, tmp, settle="500ms"):
    """A proxy that keeps its moves, and what its hook was called with."""
    hook, called = tmp / "hook", tmp / "called"
    called.touch()
    called.chmod(0o666)
    hook.write_text(HOOK.format(called=called))
    hook.chmod(0o755)
    w = weir(conf(*(backend(name, farm[name].plain) for name in SERVERS),
                  pool="queue_timeout = 1m",
                  admin="socket = admin.sock\n  state_file = state/state",
                  more=f'moves {{ settle = {settle}  hook = "{hook}" }}'))
    return w, called


def test_a_move_with_its_hook(weir, conf, farm, tmp):
    """Three clients of a user, one of them in the middle of a command: the
    hook has ended before the first of them is let in again."""
    w, called = moving(weir, conf, farm, tmp, settle="200ms")
    user, = farm.take(1)
    farm.deliver(user, b"one", b"two")
    ask(w, "move", user, "d1")
    with Crowd(w, {user: 3}, {user: append}) as crowd:
        assert len(crowd.at("d1")) == 3
        ordered = threading.Thread(target=ask, args=(w, "move", user, "d3"))
        ordered.start()
        idle = [c for c in crowd.clients if c.is_idle]
        crowd.wait(lambda: all(c.byes for c in idle), "idle ones to go")
        wait_until(lambda: ask(w, "status")["logins_waiting"] == 2,
                   "them to wait")
        crowd.clients[0].release.set()
        ordered.join()
        crowd.wait_idle(nowhere="d1")
        assert len(crowd.at("d3")) == 3
        crowd.leave()
    assert not w.lines(event="login_failed")
    before, _, after, end = called.read_text().splitlines()
    assert before.split()[1:] == ["before", user, "d1", "d3"]
    assert after.split()[1:] == ["after", user, "d1", "d3"]
    stays = farm.stays([user])
    begin = min(stay.begin for stay in stays if stay.server == "d3")
    assert float(end.split()[0]) < begin
    assert not farm.overlaps([user])


def test_a_held_mailbox_is_left_alone(w, farm):
    """While it is migrated nobody looks into it, and its clients wait; they
    find what has come meanwhile."""
    user, other = farm.take(2)
    for one in (user, other):
        farm.deliver(one, b"one", b"two")
    with Crowd(w, {user: 3, other: 2}) as crowd:
        mine = [c for c in crowd.clients if c.user == user]
        assert ask(w, "hold", user, "--kick")["ended"] == 3
        crowd.wait(lambda: all(c.byes for c in mine), "all to go")
        wait_until(lambda: ask(w, "status")["logins_waiting"] == 3,
                   "them to wait")
        wait_until(lambda: not ask(w, "sessions", user), "their end")
        farm.deliver(user, b"three")
        assert weirctl(w, "release", user).returncode == 0
        crowd.wait_idle()
        crowd.leave()
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
        assert b"* 3 EXISTS" in c.ok("SELECT INBOX")
    assert all(len(c.byes) == (c.user == user) for c in crowd.clients)
    assert not w.lines(event="login_failed")


def when(line):
    return float(line.split()[0])


def gap(farm, user, old, new):
    """Between the last stay at the old server and the first at the new."""
    stays = farm.stays([user])
    return (min(s.begin for s in stays if s.server == new) -
            max(s.end for s in stays if s.server == old))


def check_calls(called, user):
    """The hook: twice before, once after; when that was over."""
    *lines, end = called.read_text().splitlines()
    assert [line.split()[1:] for line in lines
            if not line.endswith(" done")] == [
        ["before", user, "d1", "d3"], ["before", user, "d1", "d3"],
        ["after", user, "d1", "d3"]]
    return when(end)


def test_a_move_goes_on_when_control_dies(weir, conf, farm, tmp):
    """Three clients, one in the middle of a command: its answer comes, and
    nobody is let in before the new control has ended the move."""
    w, called = moving(weir, conf, farm, tmp)
    user, = farm.take(1)
    farm.deliver(user, b"one", b"two")
    ask(w, "move", user, "d1")
    with Crowd(w, {user: 3}, {user: append}) as crowd:
        ordered = threading.Thread(target=weirctl,
                                   args=(w, "move", user, "d3"))
        ordered.start()
        busy = crowd.clients[0]
        crowd.wait(lambda: sum(bool(c.byes) for c in crowd.clients) == 2,
                   "idle ones to go")
        kill_control(w, farm)
        ordered.join()
        wait_serving(w)
        wait_until(lambda: [m["moving"] for m in ask(w, "moves")] ==
                   ["ending"], lambda: ask(w, "moves"))
        wait_until(lambda: ask(w, "status")["logins_waiting"] == 2,
                   "the idle ones to wait")
        assert not busy.byes
        busy.release.set()
        crowd.wait_idle(nowhere="d1")
        assert len(crowd.at("d3")) == 3
        crowd.leave()
    assert not w.lines(event="login_failed")
    end = check_calls(called, user)
    assert end < min(s.begin for s in farm.stays([user])
                     if s.server == "d3")
    assert gap(farm, user, "d1", "d3") > 0.4
    assert not farm.overlaps([user])
    # it is over now, also for the next control
    kill_control(w, farm)
    wait_serving(w)
    assert [m["moving"] or "" for m in ask(w, "moves")] == [""]


def test_a_move_goes_on_when_the_proxy_was_killed(weir, conf, farm, tmp):
    """All of its sessions are gone then; they have to settle, and the hook
    behind the move is called."""
    w, called = moving(weir, conf, farm, tmp, settle="1s")
    user, = farm.take(1)
    farm.deliver(user, b"one")
    ask(w, "move", user, "d1")
    with Imap(w.imaps, tls=True) as busy:
        busy.login(user)
        busy.send("x APPEND INBOX {30}\r\n")
        assert busy.line().startswith("+")
        ordered = threading.Thread(target=weirctl,
                                   args=(w, "move", user, "d3"))
        ordered.start()
        wait_until(lambda: [m["moving"] for m in ask(w, "moves")] ==
                   ["ending"], "the move to begin")
        for pid in session_members(w.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        w.process.popen.wait()
        wait_until(lambda: not w.process.members(), "the end of all")
        ordered.join()
    w.start()
    wait_serving(w)
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
        assert [s["backend"] for s in ask(w, "sessions", user)] == ["d3"]
    assert gap(farm, user, "d1", "d3") > 0.9
    end = check_calls(called, user)
    assert end < min(s.begin for s in farm.stays([user])
                     if s.server == "d3")
    line = w.wait_log(event="move", user=user, outcome="moved")
    assert float(line["after"]) >= 1


def test_what_a_drain_has_ended_settles_when_control_dies(w, farm):
    """The new control does not know whose sessions the old one has ended a
    moment ago."""
    w.write_conf(w.conf.read_text().replace("settle = 500ms", "settle = 3s"))
    assert w.reload()["level"] == "info"
    user, = farm.take(1)
    ask(w, "move", user, "d1")
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
        c.ok("SELECT INBOX")
        ask(w, "move", user, "--back")
        ask(w, "drain", "d1")
        assert c.line().startswith("* BYE [UNAVAILABLE]")
    kill_control(w, farm)
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
        new, = [s["backend"] for s in ask(w, "sessions", user)]
        assert new != "d1"
    assert gap(farm, user, "d1", new) > 2.9
    # one that was done leaves nobody waiting
    drained(w, "d1")
    wait_until(lambda: " done" in (w.dir / "state/state").read_text(),
               "that to be kept")
    kill_control(w, farm)
    begin = time.monotonic()
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
    assert time.monotonic() - begin < 2.5
