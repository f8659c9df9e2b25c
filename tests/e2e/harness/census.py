# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""census - what a proxy's processes hold: sessions, descriptors, heap blocks

	census = Census(directory)
	w = weir(conf, env=census.env)
	before = census.least(w)
	...
	census.wait_back(w, before)

Heap blocks are counted where that is possible: by a library that stands
before malloc(), which a sanitized build does not bear.
"""
import collections
import os
import pathlib
import shutil
import struct
import subprocess
import time

from .console import ask
from .mailweir import PROGRAM, WRAP, sanitized
from .procs import PATIENCE, wait_until

SOURCE = pathlib.Path(__file__).parents[1] / "blocks.c"

LOOKS, LOOK_S = 20, 0.04

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
    def __init__(self, directory):
        self.dir, self.env = directory / "counts", {}
        library = build(directory)
        if library:
            self.dir.mkdir()
            self.dir.chmod(0o777)
            self.env = {"LD_PRELOAD": str(library),
                        "BLOCKS_DIR": str(self.dir)}

    def blocks(self, pid):
        if not self.env:
            return 0
        return struct.unpack("l", (self.dir / str(pid)).read_bytes())[0]

    def take(self, w):
        """{pid: Holding} of control and the workers."""
        return {pid: Holding(len(os.listdir(f"/proc/{pid}/fd")),
                             self.blocks(pid))
                for pids in w.roles().values() for pid in pids}

    def least(self, w):
        """Of several looks, for between them there are health checks; when
        no session is left."""
        self._wait_empty(w)
        looks = []
        while len(looks) < LOOKS:
            looks.append(self.take(w))
            time.sleep(LOOK_S)
        return {pid: Holding(*map(min, zip(*(look[pid] for look in looks))))
                for pid in looks[0]}

    @staticmethod
    def _wait_empty(w):
        wait_until(lambda: ask(w, "status")["sessions"] == 0,
                   "the last session's end")

    def wait_back(self, w, before, more_blocks=0):
        """No session, and what the processes that are still there held
        before, but for so many blocks."""
        self._wait_empty(w)

        def is_back():
            now = self.take(w)
            return all(now[pid].descriptors <= held.descriptors and
                       now[pid].blocks <= held.blocks + more_blocks
                       for pid, held in before.items() if pid in now)
        wait_until(is_back, lambda: f"{self.take(w)} to be {before} again",
                   PATIENCE)
