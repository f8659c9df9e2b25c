# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Parent, control and workers: what happens when one of them dies"""
import contextlib
import os
import signal
import ssl
import threading
import time

import pytest

from harness.conf import backend
from harness.imap import Imap
from harness.procs import alive, must_see_into, wait_until

pytestmark = pytest.mark.fault


@pytest.fixture
def w(weir, conf, mail):
    return weir(conf(backend("d1", mail.d1.plain),
                     backend("d2", mail.d2.plain)))


class Load:
    """Clients that log in, say NOOP and log out, again and again."""

    def __init__(self, w, users, clients=4):
        self.w, self.users = w, users
        self.ended = threading.Event()
        self.logins, self.errors, self.slowest = 0, [], 0.0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,))
                         for n in range(clients)]

    def _run(self, n):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        while not self.ended.is_set():
            begin = time.monotonic()
            try:
                with Imap(self.w.imaps, tls=context) as c:
                    c.login(self.users[n])
                    took = time.monotonic() - begin
                    c.ok("NOOP")
                    c.ok("LOGOUT")
            except (OSError, EOFError, AssertionError) as e:
                self.errors.append(repr(e))
                if len(self.errors) > 20:
                    return
                continue
            with self._lock:
                self.logins += 1
                self.slowest = max(self.slowest, took)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self._threads:
            thread.join()

    def wait_more(self, n):
        goal = self.logins + n
        wait_until(lambda: self.logins >= goal or len(self.errors) > 20,
                   lambda: f"{n} more logins; {self.errors}", 30)


def sessions(w, new_user, n=8):
    """Living sessions, of n users."""
    found = []
    for _ in range(n):
        c = Imap(w.imaps, tls=True)
        c.login(new_user())
        c.ok("SELECT INBOX")
        found.append(c)
    return found


def close_all(clients):
    for c in clients:
        with contextlib.suppress(OSError):
            c.close()


def test_control_killed_under_load(w, new_user):
    """No session ends, logins wait and succeed within 2 s."""
    living = sessions(w, new_user)
    with Load(w, [new_user() for _ in range(4)]) as load:
        load.wait_more(10)
        for _ in range(3):
            load.slowest = 0.0
            control = w.control()
            os.kill(control, signal.SIGKILL)
            for c in living:
                c.ok("NOOP")
            load.wait_more(20)
            new = wait_until(
                lambda old=control: [p for p in w.roles()["control"]
                                     if p != old], "a new control")
            assert len(new) == 1
            assert load.slowest < 4, "a login took too long"
        assert not load.errors, load.errors
    for c in living:
        c.ok("NOOP")
    close_all(living)


def test_control_stopped(w, new_user):
    """A control that hangs is not one that is gone: sessions go on."""
    living = sessions(w, new_user, 3)
    control = w.control()
    os.kill(control, signal.SIGSTOP)
    try:
        for c in living:
            c.ok("NOOP")
        waiting = Imap(w.imaps, tls=True)
        waiting.send(f"t LOGIN {new_user()} secret\r\n")
        for c in living:
            c.ok("NOOP")
    finally:
        os.kill(control, signal.SIGCONT)
    assert waiting.finish("t")[1].startswith("OK")
    close_all([*living, waiting])


def test_worker_killed(w, new_user):
    """Its sessions end, nobody else's; no connection is refused."""
    living = sessions(w, new_user, 16)
    before = w.workers()
    victim = before[0]
    os.kill(victim, signal.SIGKILL)
    begin = time.monotonic()
    wait_until(lambda: len(w.workers()) == 2 and victim not in w.workers(),
               "the worker to be back")
    assert time.monotonic() - begin < 3
    assert before[1] in w.workers()
    died = 0
    for c in living:
        try:
            c.ok("NOOP")
        except (EOFError, OSError):
            died += 1
    # the kernel spreads connections, so both had some
    assert 0 < died < 16
    for _ in range(20):
        with Imap(w.imaps, tls=True) as c:
            c.login(new_user())
    close_all(living)


def test_no_connection_is_refused_while_a_worker_is_away(w, new_user):
    with Load(w, [new_user() for _ in range(4)]) as load:
        load.wait_more(5)
        os.kill(w.workers()[0], signal.SIGKILL)
        load.wait_more(20)
        # those that the worker had are cut; none was refused
        assert not [e for e in load.errors if "refused" in e.lower()]
        assert len(load.errors) <= 8


def test_parent_killed(weir, conf, mail, new_user):
    """The others end, with BYE to the clients."""
    w = weir(conf(backend("d1", mail.d1.plain)))
    living = sessions(w, new_user, 6)
    children = [w.control(), *w.workers()]
    w.signal(signal.SIGKILL)
    w.expected_exit = -signal.SIGKILL
    for c in living:
        assert b"* BYE" in c.eof()
    wait_until(lambda: not [p for p in children if alive(p)],
               "the children to end")


def test_a_worker_that_dies_at_once_is_not_started_in_a_rush(w, new_user):
    """Back-off: the parent does not burn the CPU."""
    for _ in range(5):
        for pid in w.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(w.workers, "a worker")
    wait_until(lambda: len(w.workers()) == 2, "both workers", 30)
    with Imap(w.imaps, tls=True) as c:
        c.login(new_user())


def test_workers_share_the_connections(weir, conf, mail, new_user):
    w = weir(conf(backend("d1", mail.d1.plain), workers=3))
    must_see_into(w.workers()[0])
    living = sessions(w, new_user, 30)
    counts = []
    for pid in w.workers():
        fds = 0
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                fds += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket")
        counts.append(fds)
    # two sockets a session, and a few of its own
    assert sum(counts) >= 60 and min(counts) > 5, counts
    close_all(living)
