# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""console - the operator's socket: by weirctl, and by hand

	weirctl(w, "kick", user)            the finished process
	ask(w, "sessions", "--limit", 5)    the JSON of a good answer
	Console(path).request("status")     (lines, last line) of the socket
"""
import json
import socket
import subprocess

from .mailweir import PROGRAM, WRAP, environment
from .procs import PATIENCE, wait_until

WEIRCTL = PROGRAM.with_name("weirctl")


def socket_of(w):
    return w.dir / "admin.sock"


def weirctl(w, *words, options=None):
    """Runs weirctl.  options stand before the verb."""
    options = ["-s", socket_of(w)] if options is None else options
    return subprocess.run(
        [*WRAP, WEIRCTL, *map(str, options), *map(str, words)],
        capture_output=True, text=True, timeout=PATIENCE,
        stdin=subprocess.DEVNULL, env=environment(), check=False)


def ask(w, *words):
    done = weirctl(w, *words, options=["-s", socket_of(w), "--json"])
    assert done.returncode == 0 and not done.stderr, \
        (done.returncode, done.stderr, done.stdout)
    return json.loads(done.stdout)


def wait_serving(w):
    """Until the console is there and takes every order: before all sessions
    are known, after a start, it refuses some."""
    def serves():
        done = weirctl(w, "status", options=["-s", socket_of(w), "--json"])
        return done.returncode == 0 and json.loads(done.stdout)["serving"]
    wait_until(serves, "a console that serves")


class Console:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def answer(self):
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                raise EOFError(f"closed behind {lines[-3:]}")
            line = line.decode().rstrip("\n")
            if line.startswith("="):
                return lines, line
            lines.append(line)

    def request(self, line):
        self.send(line + "\n")
        return self.answer()
