# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""census - what a proxy holds: sessions, descriptors, heap blocks

	census = Census(directory, build(directory))
	w = weir(conf, env=census.env)
	census.begin(w)
	...
	census.end(w)           waits until all is as it was

The fixture weir does so for each test that is marked as a fault; what a test
counts itself, it does with the fixture census.

A role is compared with itself, be it another process by then. A worker that
is new and has had no session holds less: there is nothing it could have kept.

Blocks are counted where that is possible: by a library that stands before
malloc(), which neither a sanitized build nor valgrind bears.
"""
import collections
import os
import pathlib
import shutil
import struct
import subprocess
import time

from .console import Console, ask, socket_of, wait_serving
from .imap import Imap
from .mailweir import WRAP, sanitized
from .procs import PATIENCE, wait_until

SOURCE = pathlib.Path(__file__).parents[1] / "blocks.c"

# Looks that a count takes: between them there are health checks.
LOOKS, LOOK_S = 5, 0.02

# Greetings for each process, until every worker has had one.
WARMING = 3

# What a process may have got for good: the first login, the first wait, the
# first BYE make a table's head or an array of libev's, once. It is up to 8
# blocks, however many sessions there were. One session with TLS has 36 in its
# worker; so whoever keeps all of one is found out, or one block of each of 11.
# What control keeps of a session is in the status, too.
MORE_BLOCKS = 10

Holding = collections.namedtuple("Holding", "descriptors blocks")


def build(directory):
    """The library that counts; None where it cannot be used."""
    if not shutil.which("gcc") or WRAP or sanitized():
        return None
    library = directory / "blocks.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE],
                   check=True)
    return library


class Census:
    def __init__(self, directory, library):
        self.dir, self.env, self._before = directory / "counts", {}, {}
        if library:
            self.dir.mkdir()
            self.dir.chmod(0o777)
            self.env = {"LD_PRELOAD": str(library),
                        "BLOCKS_DIR": str(self.dir)}

    def blocks(self, pid):
        if not self.env:
            return 0
        return struct.unpack("l", (self.dir / str(pid)).read_bytes())[0]

    def begin(self, w):
        """Counts; anew, if it has done so before."""
        wait_serving(w)
        if self.env and w not in self._before:
            self._warm(w)
        looks = []
        while len(looks) < LOOKS:
            looks.append(self._look(ask(w, "status")))
            time.sleep(LOOK_S)
        self._before[w] = {
            role: Holding(*map(min, zip(*(look[role] for look in looks))))
            for role in looks[0]}

    def end(self, w, patience=PATIENCE):
        """No user, no session, no login that waits, and no role holds more
        than it did. What was ordered is taken back first."""
        before, now = self._before[w], {}
        wait_serving(w)
        take_back_orders(w)

        def is_back():
            status = ask(w, "status")
            now.clear()
            now.update({key: status[key] for key in
                        ("users", "sessions", "logins_waiting")})
            try:
                now.update(self._look(status))
            except FileNotFoundError:
                return False    # one has just died
            return (not now["users"] and not now["sessions"] and
                    not now["logins_waiting"] and
                    all(role in now and
                        now[role].descriptors <= held.descriptors and
                        now[role].blocks <= held.blocks + MORE_BLOCKS
                        for role, held in before.items()))
        wait_until(is_back, lambda: f"{now} to be {before} again", patience,
                   interval=0.05)

    def _look(self, status):
        pids = {f"worker {one['index']}": one["pid"]
                for one in status["workers"]}
        pids["control"] = status["control_pid"]
        return {role: Holding(descriptors(pid), self.blocks(pid))
                for role, pid in pids.items()}

    def _warm(self, w):
        """A worker's first greeting makes what OpenSSL keeps for good, and
        the kernel chooses the worker."""
        cold = self._look(ask(w, "status"))
        while cold:
            for _ in range(WARMING * len(cold)):
                with Imap(w.imaps, tls=True) as c:
                    c.ok("LOGOUT")
            now = self._look(ask(w, "status"))
            cold = {role: held for role, held in cold.items()
                    if role != "control" and now[role].blocks <= held.blocks}


def descriptors(pid):
    """0 where that is forbidden: a process without core dumps is closed to
    all but root."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return 0


def take_back_orders(w):
    """They are kept on purpose."""
    with Console(socket_of(w)) as console:
        for one in ask(w, "moves"):
            console.request(f"release {one['user']}")
            console.request(f"move {one['user']} --back")
        for one in ask(w, "backends"):
            console.request(f"ready {one['name']}")
            console.request(f"weight {one['name']} default")
