# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""mailweir - the program under test

	weir = Mailweir(directory, conf_text).start()
	weir.wait_log(event="login", user="alice@example.org")
	weir.stop()

start() returns when the program said READY=1 (sd_notify).  stop() sends
SIGTERM and fails unless the program ends with 0, leaves no process behind
and no sanitizer complained.

MAILWEIR names the program, MAILWEIR_WRAP what stands before it (valgrind).
"""
import os
import pathlib
import re
import resource
import shlex
import signal
import socket
import subprocess

from .procs import PATIENCE, Process, children_of, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = pathlib.Path(
    os.environ.get("MAILWEIR", ROOT / "build" / "mailweir")).resolve()
WRAP = shlex.split(os.environ.get("MAILWEIR_WRAP", ""))
SANITIZER = re.compile(r"ERROR: \w*Sanitizer|WARNING: \w*Sanitizer"
                       r"|: runtime error: |SUMMARY: \w*Sanitizer"
                       r"|^==\d+== (?!.*(HEAP|LEAK) SUMMARY)", re.M)
# The account for control and workers where the tests run as root.
ACCOUNT = "nobody" if os.geteuid() == 0 else "mailweir"

_FIELD = re.compile(r'([A-Za-z0-9_.-]+)=("(?:[^"\\]|\\.)*"|\S*)')
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})|\\(.)")
_LINE = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\w+) (.*)$")


def sanitized():
    """Whether the program is a build with a sanitizer."""
    with open(PROGRAM, "rb") as f:
        return b"__asan_" in f.read()


def parse_line(line):
    """The fields of a logfmt line, level and time among them; else None."""
    match = _LINE.match(line)
    if not match:
        return None
    fields = {"time": match[1], "level": match[2]}
    for key, value in _FIELD.findall(match[3]):
        if value.startswith('"'):
            value = _ESCAPE.sub(
                lambda m: chr(int(m[1], 16)) if m[1] else m[2], value[1:-1])
        fields[key] = value
    return fields


def environment(**more):
    env = {k: v for k, v in os.environ.items()
           if k not in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID")}
    env.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=0")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.update(more)
    return env


def run(*args, timeout=PATIENCE):
    """The program in the foreground until it ends: -t, -T, -V."""
    return subprocess.run([*WRAP, str(PROGRAM), *map(str, args)],
                          capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, env=environment(),
                          check=False)


class Mailweir:
    def __init__(self, directory, conf, descriptors=None, env=None, fds=()):
        self.dir = directory
        self.dir.mkdir(parents=True, exist_ok=True)
        self.conf = self.dir / "proxy.conf"
        self.log_file = self.dir / "mailweir.log"
        self.expected_exit = 0
        self.expect_sanitizer = False
        self.write_conf(conf)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = str(self.dir / "notify")
        self._notify.bind(path)
        os.chmod(path, 0o777)
        self._notify.setblocking(False)
        self._told = ""
        limits = [(resource.RLIMIT_NOFILE, descriptors)] if descriptors else []
        self.process = Process(
            [*WRAP, PROGRAM, "-c", self.conf], self.log_file,
            env=environment(NOTIFY_SOCKET=path, **(env or {})),
            limits=limits, cwd=str(self.dir), pass_fds=fds)

    def write_conf(self, conf):
        self.conf.write_text(conf)

    # life

    def start(self):
        self.process.start()
        self.wait_told("READY=1")
        return self

    def told(self):
        """All that sd_notify said so far."""
        while True:
            try:
                self._told += self._notify.recv(4096).decode() + "\n"
            except BlockingIOError:
                return self._told

    def wait_told(self, word, timeout=PATIENCE, count=1):
        def check():
            assert self.running(), \
                f"ended with {self.process.popen.returncode}:\n{self.log()}"
            return self.told().count(word) >= count
        wait_until(check, lambda: f"{word} by sd_notify:\n"
                   + self.log()[-3000:], timeout)

    def running(self):
        return self.process.running()

    def signal(self, number):
        self.process.signal(number)

    def reload(self):
        """SIGHUP, and the answer: the fields of the log line."""
        before = len(self.lines(event="reload"))
        self.signal(signal.SIGHUP)
        return wait_until(
            lambda: self.lines(event="reload")[before:],
            lambda: "event=reload in:\n" + self.log()[-3000:])[0]

    def stop(self, timeout=40):
        """SIGTERM, and all that must hold at an end."""
        if self.running():
            self.signal(signal.SIGTERM)
        status = self.process.wait(timeout)
        wait_until(lambda: not self.process.members(),
                   lambda: f"leftovers to end: {self.process.members()}", 5)
        self.check_log()
        assert status == self.expected_exit, \
            f"exit {status}:\n{self.log()[-3000:]}"

    def check_log(self):
        if not self.expect_sanitizer:
            found = SANITIZER.search(self.log())
            assert not found, self.log()[max(0, found.start() - 500):
                                         found.start() + 6000]

    def kill(self):
        self._notify.close()
        return self.process.kill()

    # roles

    def roles(self):
        """{role: [pids]} of the living children: control, worker."""
        found = {"control": [], "worker": []}
        for pid in children_of(self.process.pid):
            try:
                argv = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            words = argv.decode("utf-8", "replace").split("\0")
            if "--role" in words:
                found[words[words.index("--role") + 1]].append(pid)
        return found

    def control(self):
        return wait_until(lambda: self.roles()["control"], "a control")[0]

    def workers(self):
        return self.roles()["worker"]

    # log

    def log(self):
        try:
            return self.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def lines(self, **wanted):
        """The log lines, as dicts, that have all these fields.  A value may
        be a compiled pattern."""
        found = []
        for line in self.log().splitlines():
            fields = parse_line(line)
            if fields and all(
                    (v.search(fields.get(k, "")) if hasattr(v, "search")
                     else fields.get(k) == str(v))
                    for k, v in wanted.items()):
                found.append(fields)
        return found

    def wait_log(self, timeout=PATIENCE, count=1, **wanted):
        """The first such line (the count-th), when it is there."""
        return wait_until(
            lambda: self.lines(**wanted)[count - 1:],
            lambda: f"{wanted} in the log:\n{self.log()[-4000:]}",
            timeout)[0]
