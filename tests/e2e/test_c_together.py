# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""A user's sessions are at one backend, whatever happens around them"""
import os
import random
import re
import signal
import threading
import time

import pytest

from harness.conf import backend
from harness.imap import Imap, tls_context
from harness.procs import wait_until

CLIENTS = 8


class Watched:
    """Clients of few users that come and go at random.  Each knows where it
    is by the number of its messages; two of a user at different places at
    once are a violation."""

    def __init__(self, w, users, seed):
        self.w, self.users = w, users
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.living = {user: [] for user in users}
        self.conflicts, self.errors, self.logins = [], [], 0
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._run)
                        for _ in range(CLIENTS)]

    def _session(self, context, user, noops):
        session = {"user": user, "ok_at": 0.0}
        with Imap(self.w.imaps, tls=context) as c:
            c.login(user)
            exists = b"\n".join(c.ok("SELECT INBOX"))
            session["place"] = re.search(rb"(\d+) EXISTS", exists).group(1)
            with self.lock:
                self.logins += 1
                now = time.monotonic()
                self.conflicts += [
                    (now, other, session) for other in self.living[user]
                    if other["place"] != session["place"]]
                self.living[user].append(session)
            try:
                for _ in range(noops):
                    begin = time.monotonic()
                    c.ok("NOOP")
                    session["ok_at"] = begin
            finally:
                with self.lock:
                    self.living[user].remove(session)
            c.ok("LOGOUT")

    def _run(self):
        context = tls_context()
        while not self.ended.is_set():
            with self.lock:
                user = self.random.choice(self.users)
                noops = self.random.randrange(1, 30)
            try:
                self._session(context, user, noops)
            except (OSError, EOFError, AssertionError) as e:
                self.errors.append(repr(e))     # of a worker that was killed

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def wait_more(self, n):
        goal = self.logins + n
        wait_until(lambda: self.logins >= goal,
                   lambda: f"{n} more logins; {self.errors[-3:]}", 30)

    def violations(self):
        """Conflicts where the older session has answered later still: else
        its connection was dead, and its client did not know it yet."""
        return [(at, old, new) for at, old, new in self.conflicts
                if old["ok_at"] > at]


@pytest.mark.parametrize("balance", ["round-robin", "least-sessions"])
def test_never_two_backends_for_a_user(weir, conf, mail, new_user, balance):
    users = [new_user() for _ in range(3)]
    for user in users:
        mail.d1.deliver(user, b"one")
        mail.d2.deliver(user, b"one", b"two")
    w = weir(conf(backend("d1", mail.d1.plain), backend("d2", mail.d2.plain),
                  pool=f"balance = {balance}"))
    with Watched(w, users, balance) as clients:
        clients.wait_more(60)
        for role in ("control", "worker", "control", "worker"):
            os.kill(w.roles()[role][0], signal.SIGKILL)
            clients.wait_more(40)
    assert not clients.violations()
    # both were in use, or nothing was shown
    assert mail.d1.logins(users[0]) or mail.d1.logins(users[1]) or \
        mail.d1.logins(users[2])
    assert mail.d2.logins(users[0]) or mail.d2.logins(users[1]) or \
        mail.d2.logins(users[2])
    # what was lost is what the killed workers had
    assert len(clients.errors) <= 4 * CLIENTS, clients.errors
