# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""procs - processes, ports and waiting

Everything waits for an event under a deadline; nothing sleeps for a fixed
time and hopes.  A process started here dies with the test run, however that
ends, and is stopped by its pid.
"""
import contextlib
import ctypes
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import time

# Generous: a sanitized build on a busy machine is slow, and waiting for an
# event costs nothing when it comes early.
PATIENCE = float(os.environ.get("E2E_PATIENCE", "20"))

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def wait_until(check, what, timeout=PATIENCE, interval=0.01):
    """The first true value of check(); fails with what after timeout."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            text = what() if callable(what) else what
            raise AssertionError(f"waited {timeout:g} s in vain for {text}")
        time.sleep(interval)


# Ports lie outside the range from which the kernel takes those of outgoing
# connections.  Each process of a test run has a block of its own, which it
# holds by listening on the block's first port.
_BLOCK, _FIRST, _LAST = 200, 10000, 32000
_held = []


def _own_block():
    if not _held:
        starts = list(range(_FIRST, _LAST, _BLOCK))
        random.shuffle(starts)
        for start in starts:
            with contextlib.suppress(OSError):
                _held[:] = [socket.create_server(("127.0.0.1", start)),
                            itertools.cycle(range(start + 1, start + _BLOCK))]
                break
    return _held[1]


def _is_free(port):
    with contextlib.ExitStack() as stack:
        try:
            for family, host in ((socket.AF_INET, "0.0.0.0"),
                                 (socket.AF_INET6, "::")):
                s = stack.enter_context(socket.socket(family))
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.bind((host, port))
        except OSError:
            return False
    return True


def free_port():
    """A port that nobody uses, nor another test run will."""
    return next(port for port in itertools.islice(_own_block(), _BLOCK)
                if _is_free(port))


def port_accepts(port, host="127.0.0.1"):
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=1).close()
        return True
    return False


def session_members(sid):
    """The pids of all living processes of a Unix session."""
    pids = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat", encoding="latin-1") as f:
                fields = f.read().rpartition(")")[2].split()
            if int(fields[3]) == sid and fields[0] not in "ZX":
                pids.append(int(name))
    return pids


def children_of(pid):
    """The living child processes of pid, oldest first."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat", encoding="latin-1") as f:
                fields = f.read().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] not in "ZX":
                found.append((int(fields[19]), int(name)))
    return [child for _, child in sorted(found)]


def must_see_into(pid):
    """Skips a test that looks into a process where that is forbidden: one
    without core dumps is closed to all but root."""
    if not os.access(f"/proc/{pid}/fd", os.R_OK | os.X_OK):
        import pytest
        pytest.skip("needs root to look into a worker")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Process:
    """A server in a Unix session of its own, its output in a log file."""

    def __init__(self, argv, log, env=None, cwd=None, limits=(), pass_fds=()):
        self.argv, self.log_path = list(map(str, argv)), str(log)
        self._env, self._cwd, self._limits = env, cwd, limits
        self._pass_fds = pass_fds
        self.popen = None

    @property
    def pid(self):
        return self.popen.pid

    def start(self):
        import resource

        def in_child():
            # main thread of the test run gone: so are we
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            for what, soft in self._limits:
                resource.setrlimit(what, (soft, soft))

        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._env, cwd=self._cwd, start_new_session=True,
                pass_fds=self._pass_fds, preexec_fn=in_child)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_log(self, pattern, timeout=PATIENCE):
        """The match of a regular expression in the log, when it is there."""
        regex = re.compile(pattern, re.M)
        return wait_until(
            lambda: regex.search(self.log()),
            lambda: f"{pattern!r} in the log of {self.argv[0]}:\n"
            + self.log()[-3000:], timeout)

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=PATIENCE):
        """The exit status."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.argv[0]} still runs after {timeout:g} s:\n"
                + self.log()[-3000:]) from None

    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def members(self):
        return session_members(self.pid)

    def stop(self, timeout=PATIENCE):
        """Asks it to end; the exit status."""
        if self.running():
            self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        """Ends it and whatever it left behind, at once.  Pids left over."""
        if self.popen is None:
            return []
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        left = self.members()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left
