# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""What an operator has ordered is there after any end of the proxy"""
import contextlib
import os
import random
import signal
import threading

import pytest

from harness.conf import backend
from harness.console import Console, ask, socket_of, wait_serving, weirctl
from harness.procs import session_members, wait_until

KILLS = 12

pytestmark = pytest.mark.fault


@pytest.fixture
def w(weir, conf, mail):
    return weir(conf(backend("d1", mail.d1.plain),
                     backend("d2", mail.d2.plain), workers=1,
                     admin="socket = admin.sock\n  state_file = state/state"))


def kill_all(w):
    """SIGKILL to all of its processes at once."""
    for pid in session_members(w.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    w.process.popen.wait()
    wait_until(lambda: not w.process.members(), "the end of all")


class Orders(threading.Thread):
    """Users are held one after the other, and weights follow them, as fast
    as the proxy says that it is so."""

    def __init__(self, w, first):
        super().__init__(daemon=True)
        self.w, self.asked, self.done = w, first, first

    def run(self):
        with contextlib.suppress(OSError, EOFError):
            with Console(socket_of(self.w)) as console:
                while True:
                    n = self.asked + 1
                    self.asked = n
                    for order in (f"hold u{n}@example.org",
                                  f"weight d1 {n % 1000}"):
                        _, end = console.request(order)
                        assert end == "= ok", end
                    self.done = n


def held(w):
    return sorted(int(m["user"].partition("@")[0][1:])
                  for m in ask(w, "moves"))


def test_killed_while_it_writes(w):
    """All that was answered is kept, and of the rest all or nothing."""
    chance, last = random.Random(1), 0
    for _ in range(KILLS):
        wait_serving(w)
        orders = Orders(w, last)
        orders.start()
        goal = last + chance.randrange(1, 30)
        wait_until(lambda: orders.done >= goal, "some orders", interval=0)
        kill_all(w)
        orders.join()
        w.start()
        wait_serving(w)
        assert not w.lines(event="state_file"), w.log()[-2000:]
        n = len(held(w))
        assert held(w) == list(range(1, n + 1))
        assert orders.done <= n <= orders.asked
        d1, = [b for b in ask(w, "backends") if b["name"] == "d1"]
        assert d1["weight"] in (n % 1000, (n - 1) % 1000)
        last = n
    assert last > KILLS
    # nothing but the file, and what a killed write has left
    assert len(list((w.dir / "state").iterdir())) <= 2


def test_an_order_that_cannot_be_kept(w):
    """It is in force, and the operator is told that it will not stay."""
    folder = w.dir / "state"
    ask(w, "weight", "d1", 7)
    (folder / "state").rename(folder / "was")
    (folder / "state").mkdir()
    done = weirctl(w, "weight", "d1", 8)
    assert done.returncode == 1
    assert "in force, but a restart will forget it" in done.stderr
    d1, = [b for b in ask(w, "backends") if b["name"] == "d1"]
    assert d1["weight"] == 8
    (folder / "state").rmdir()
    assert weirctl(w, "weight", "d1", 9).returncode == 0
    w.stop()
    w.start()
    wait_until(lambda: weirctl(w, "backends").returncode == 0, "the console")
    d1, = [b for b in ask(w, "backends") if b["name"] == "d1"]
    assert d1["weight"] == 9
