# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Maintenance: drain, move, hold, and what survives a restart"""
import datetime
import os
import signal
import stat
import threading

import pytest

from harness.conf import backend
from harness.console import ask, wait_serving, weirctl
from harness.imap import Imap
from harness.procs import free_port, wait_until

pytestmark = pytest.mark.fault


@pytest.fixture
def w(weir, conf, mail):
    return weir(conf(backend("d1", mail.d1.plain),
                     backend("d2", mail.d2.plain),
                     admin="socket = admin.sock\n  state_file = state/state",
                     more="moves { settle = 200ms }"))


def state(w, name):
    one, = [b for b in ask(w, "backends") if b["name"] == name]
    return one


def login(w, user):
    c = Imap(w.imaps, tls=True)
    c.login(user)
    return c


def users_of(w, new_user, name, n):
    """Clients, each of another user, whose backend is this one."""
    found = {}
    while len(found) < n:
        user = new_user()
        c = login(w, user)
        if where(w, user) == name:
            found[user] = c
        else:
            c.close()
    return found


def where(w, user):
    places = {s["backend"] for s in ask(w, "sessions", user)}
    assert len(places) == 1, places
    return places.pop()


def test_drain_moves_users_with_their_sessions(w, new_user):
    clients = users_of(w, new_user, "d1", 6)
    user = next(iter(clients))
    second = login(w, user)
    for c in clients.values():
        c.ok("SELECT INBOX")
        c.send("i IDLE\r\n")
        assert c.line().startswith("+")
    done = weirctl(w, "drain", "d1", "--rate", 20, "--watch")
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    for c in [*clients.values(), second]:
        assert c.line() == "* BYE [UNAVAILABLE] Please connect again."
    assert state(w, "d1")["sessions"] == 0
    assert state(w, "d1")["state"] == "drain"
    assert state(w, "d1")["drain"]["moved"] == 6
    for user in clients:
        with login(w, user):
            assert where(w, user) == "d2"
    # nobody new, either, until it is ready
    for _ in range(8):
        user = new_user()
        with login(w, user):
            assert where(w, user) == "d2"
    assert weirctl(w, "ready", "d1").returncode == 0
    assert users_of(w, new_user, "d1", 1)


def test_a_login_waits_while_its_user_moves(w, new_user):
    (user, busy), = users_of(w, new_user, "d1", 1).items()
    idle = login(w, user)
    # a command that is not over: the literal is still to come
    busy.send("x APPEND INBOX {30}\r\n")
    assert busy.line().startswith("+")
    mover = threading.Thread(target=weirctl, args=(w, "move", user, "d2"))
    mover.start()
    assert idle.line().startswith("* BYE [UNAVAILABLE]")
    got = []
    waiting = threading.Thread(
        target=lambda: got.append(login(w, user)))
    waiting.start()
    wait_until(lambda: ask(w, "status")["logins_waiting"] == 1,
               "a login that waits")
    moves, = ask(w, "moves")
    assert (moves["user"], moves["moving"]) == (user, "ending")
    # nothing was cut: the command is finished, and only then it is over
    busy.send(b"Subject: x\r\n\r\n" + b"y" * 14 + b"\r\n\r\n")
    assert busy.finish("x")[1].startswith("OK")
    assert busy.line().startswith("* BYE [UNAVAILABLE]")
    waiting.join()
    mover.join()
    assert where(w, user) == "d2"
    got[0].close()
    # and stays there, until the routes are asked again
    with login(w, user):
        assert where(w, user) == "d2"
    assert weirctl(w, "move", user, "--back").returncode == 0
    wait_until(lambda: not ask(w, "sessions", user), "no session")
    with login(w, user):
        assert where(w, user) == "d1"


def test_hold_and_release(w, new_user):
    user = new_user()
    c = login(w, user)
    assert ask(w, "hold", user, "--kick")["ended"] == 1
    assert c.line().startswith("* BYE [UNAVAILABLE]")
    got = []
    waiting = threading.Thread(target=lambda: got.append(login(w, user)))
    waiting.start()
    wait_until(lambda: ask(w, "status")["logins_waiting"] == 1,
               "a login that waits")
    # nobody else does
    with login(w, new_user()):
        pass
    assert weirctl(w, "release", user).returncode == 0
    waiting.join()
    got[0].close()
    ask(w, "hold", user, "--refuse")
    with Imap(w.imaps, tls=True) as c:
        _, tagged = c.command(f'LOGIN "{user}" secret')
        assert tagged.startswith("NO [UNAVAILABLE]")
    weirctl(w, "release", user)
    assert "is not held" in weirctl(w, "release", user).stderr


def test_orders_survive(w, new_user):
    user, other = new_user(), new_user()
    ask(w, "drain", "d1", "--rate", 5)
    ask(w, "weight", "d2", 7)
    ask(w, "hold", user, "--refuse")
    ask(w, "move", other, "d2")

    def check():
        assert state(w, "d1")["state"] == "drain"
        assert state(w, "d2")["weight"] == 7
        assert {(m["user"], m["logins"], m["pin"] or "")
                for m in ask(w, "moves")} == \
            {(user, "refused", ""), (other, "go on", "d2")}

    check()
    assert weirctl(w, "reload").returncode == 0
    check()
    control = w.control()
    os.kill(control, signal.SIGKILL)
    wait_until(lambda: w.roles()["control"] not in ([], [control]),
               "a new control")
    wait_serving(w)
    check()
    w.stop()
    w.start()
    wait_serving(w)
    check()
    assert weirctl(w, "ready", "d1").returncode == 0
    assert weirctl(w, "weight", "d2", "default").returncode == 0
    assert state(w, "d2")["weight"] == 100


def test_what_cannot_be_is_refused(w, new_user):
    user = new_user()
    assert 'no backend "d9"' in weirctl(w, "drain", "d9").stderr
    assert weirctl(w, "drain", "d1", "--rate", "0").returncode == 2
    assert weirctl(w, "weight", "d1", "1001").returncode == 2
    ask(w, "maintenance", "d2")
    done = weirctl(w, "move", user, "d2")
    assert done.returncode == 1
    assert 'the backend "d2" is in maintenance' in done.stderr


def test_maintenance_leaves_nobody(w, new_user):
    (user, c), = users_of(w, new_user, "d1", 1).items()
    ask(w, "move", user, "d1")      # even who is kept there
    c.ok("SELECT INBOX")
    done = weirctl(w, "maintenance", "d1", "--watch")
    assert done.returncode == 0, done.stderr
    assert c.line().startswith("* BYE [UNAVAILABLE]")
    with login(w, user):
        assert where(w, user) == "d2"


def test_the_hook_is_called(weir, conf, mail, new_user, tmp):
    hook = tmp / "hook"
    called = tmp / "called"
    called.touch()
    called.chmod(0o666)
    hook.write_text(f'#!/bin/sh\necho "$*" >>{called}\n')
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP
               | stat.S_IXOTH)
    w = weir(conf(backend("d1", mail.d1.plain),
                  backend("d2", mail.d2.plain),
                  admin="socket = admin.sock",
                  more=f'moves {{ settle = 0  hook = "{hook}" }}'))
    (user, _), = users_of(w, new_user, "d1", 1).items()
    assert ask(w, "move", user, "d2")["outcome"] == "moved"
    assert called.read_text().splitlines() == [
        f"before {user} d1 d2", f"after {user} d1 d2"]
    hook.write_text("#!/bin/sh\nexit 4\n")
    with login(w, user):
        done = weirctl(w, "move", user, "d1")
        assert done.returncode == 1
        assert "failed: the hook: exit status 4" in done.stderr
        assert where(w, user) == "d2"
    # nor later, when no session keeps the user there
    wait_until(lambda: not ask(w, "sessions", user), "no session")
    with login(w, user):
        assert where(w, user) == "d2"


def test_the_end_of_the_proxy_in_the_middle_of_a_drain(w, new_user):
    """Control ends well, though somebody is on the way."""
    w.write_conf(w.conf.read_text().replace("settle = 200ms", "settle = 1m"))
    assert w.reload()["level"] == "info"
    (user, c), = users_of(w, new_user, "d1", 1).items()
    ask(w, "drain", "d1")
    assert c.line().startswith("* BYE [UNAVAILABLE]")
    c.close()
    wait_until(lambda: [m["moving"] for m in ask(w, "moves")] ==
               ["settling"], "the session to be gone")
    w.stop()
    assert not any("signal" in line for line in w.lines(event="child_end"))
    line, = w.lines(event="move", user=user)
    assert line["outcome"] == "stopped"


def test_watch_tells_what_is_new(w, new_user):
    """A line a step; not the same one as long as one is busy."""
    (user, busy), = users_of(w, new_user, "d1", 1).items()
    busy.send("x APPEND INBOX {30}\r\n")
    assert busy.line().startswith("+")
    done = weirctl(w, "drain", "d1", "--deadline", "2s", "--watch")
    assert done.returncode == 0, done.stderr
    lines = [line.partition("  seconds ")[0]
             for line in done.stdout.splitlines()]
    assert lines[0].startswith("done no") and len(lines) <= 4, lines
    assert all(a != b for a, b in zip(lines, lines[1:])), lines
    assert lines[-1].startswith("done yes") and "moved 1" in lines[-1]


def test_backends_shows_how_far_a_drain_is(w, new_user):
    (_, idle), (_, busy) = users_of(w, new_user, "d1", 2).items()
    busy.send("x APPEND INBOX {30}\r\n")
    assert busy.line().startswith("+")
    ask(w, "drain", "d1")
    assert idle.line().startswith("* BYE [UNAVAILABLE]")
    wait_until(lambda: "1 moved, 1 left" in weirctl(w, "backends").stdout,
               lambda: weirctl(w, "backends").stdout)
    busy.close()
    wait_until(lambda: "done, 2 moved" in weirctl(w, "backends").stdout,
               lambda: weirctl(w, "backends").stdout)


def test_move_of_who_is_not_elsewhere(w, new_user):
    user = new_user()
    assert ask(w, "move", user, "d2")["outcome"] == \
        "is pinned to d2; no session had to move"
    with login(w, user):
        assert ask(w, "move", user, "d2")["outcome"] == \
            "is at d2 already, and pinned to it"
        assert ask(w, "move", user, "d1")["outcome"] == "moved"


def test_every_change_is_a_line(w, new_user):
    """From, to, why, after how long and with how many sessions; over a
    restart, too."""
    (_, idle), (_, busy) = users_of(w, new_user, "d1", 2).items()
    busy.send("x APPEND INBOX {30}\r\n")
    assert busy.line().startswith("+")
    why = f"order of uid {os.getuid()}"
    ask(w, "weight", "d2", 7)
    ask(w, "weight", "d2", 7)       # nothing has changed
    line, = w.lines(event="backend_weight")
    assert (line["backend"], line["from"], line["to"], line["why"]) == \
        ("d2", "100", "7", why)
    ask(w, "drain", "d1", "--deadline", "1s")
    line, = w.lines(event="backend_state", backend="d1")
    assert (line["from"], line["to"], line["why"], line["sessions"]) == \
        ("ready", "drain", why, "2")
    assert idle.line().startswith("* BYE")
    line = w.wait_log(event="drained", backend="d1")
    assert (line["moved"], line["failed"], line["cut"]) == ("2", "0", "1")
    assert float(line["after"]) >= 1
    w.wait_log(event="move", outcome="cut off")
    ask(w, "maintenance", "d1")
    line, = w.lines(event="backend_state", to="maintenance")
    assert line["from"] == "drain" and float(line["after"]) >= 1
    wait_until(lambda: len(w.lines(event="drained")) == 2, "its end")
    wait_until(lambda: " done" in (w.dir / "state/state").read_text(),
               "that to be kept")
    w.stop()
    w.start()
    wait_serving(w)
    assert state(w, "d1")["drain"]["done"]
    ask(w, "ready", "d1")
    ready, = w.lines(event="backend_state", to="ready")
    assert (ready["from"], ready["sessions"]) == ("maintenance", "0")
    passed = datetime.datetime.fromisoformat(ready["time"]) - \
        datetime.datetime.fromisoformat(line["time"])
    assert abs(passed.total_seconds() - float(ready["after"])) < 0.1
    assert len(w.lines(event="drained")) == 2
    # what is as usual again leaves no record
    assert "d1" not in (w.dir / "state/state").read_text()
    ask(w, "drain", "d1")
    line = w.lines(event="backend_state", to="drain")[-1]
    assert float(line["after"]) < 5


def test_a_drain_needs_somebody_else(w, new_user):
    ask(w, "drain", "d2")
    done = weirctl(w, "drain", "d1")
    assert done.returncode == 1
    assert 'no other backend of pool "main" can take its users' in done.stderr
    assert state(w, "d1")["state"] == "ready"
    ask(w, "drain", "d2", "--rate", 3)      # again, otherwise
    ask(w, "maintenance", "d1")             # who says so knows
    with Imap(w.imaps, tls=True) as c:
        _, tagged = c.command(f'LOGIN "{new_user()}" secret')
        assert tagged.startswith("NO [UNAVAILABLE]")


def test_maintenance_at_once(w, new_user):
    (_, busy), = users_of(w, new_user, "d1", 1).items()
    busy.send("x APPEND INBOX {30}\r\n")
    assert busy.line().startswith("+")
    done = weirctl(w, "maintenance", "d1", "--deadline", 0, "--watch")
    assert done.returncode == 0, done.stderr
    assert busy.line().startswith("* BYE [UNAVAILABLE]")
    assert "cut 1" in done.stdout.splitlines()[-1]


def test_nobody_is_moved_to_who_is_down(weir, conf, mail, new_user):
    w = weir(conf(backend("d1", mail.d1.plain), backend("gone", free_port()),
                  pool="health { type = tcp  interval = 1s  "
                  "fast_interval = 100ms  fall = 1 }",
                  admin="socket = admin.sock"))
    w.wait_log(event="backend_state", backend="gone", to="down")
    user = new_user()
    with login(w, user) as c:
        done = weirctl(w, "move", user, "gone")
        assert done.returncode == 1
        assert 'the backend "gone" is down: connect' in done.stderr
        c.ok("NOOP")
    assert "can take its users" in weirctl(w, "drain", "d1").stderr


def test_an_order_is_logged_when_it_is_given(w, new_user):
    """Not when it is over; and as it was written."""
    (user, busy), = users_of(w, new_user, "d1", 1).items()
    busy.send("x APPEND INBOX {30}\r\n")
    assert busy.line().startswith("+")
    ordered = threading.Thread(
        target=weirctl, args=(w, "drain", "d1", "--parallel", 3, "--watch"))
    ordered.start()
    w.wait_log(event="order", what="drain d1 --parallel 3 --watch")
    assert not w.lines(event="drained")
    done = weirctl(w, "move", user, "d2")
    assert done.returncode == 1
    line = w.wait_log(event="order", what=f"move {user} d2")
    assert line["refused"] == "the user is on the way already"
    busy.close()
    ordered.join()
    assert len(w.lines(event="order")) == 2


def test_a_move_that_cannot_be_kept(w, new_user):
    """The user moves, and the operator is told that the pin will not stay."""
    (user, c), = users_of(w, new_user, "d1", 1).items()
    folder = w.dir / "state"
    folder.joinpath("state").unlink(missing_ok=True)
    folder.joinpath("state").mkdir()
    done = weirctl(w, "move", user, "d2")
    assert done.returncode == 1
    assert "in force, but a restart will forget it" in done.stderr
    assert c.line().startswith("* BYE [UNAVAILABLE]")
    with login(w, user):
        assert where(w, user) == "d2"
