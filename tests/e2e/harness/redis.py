# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""redis - a private redis-server, and as much of a client as tests need

	redis = Redis(directory).start()
	redis("SET", "jan", "pool eu")		# bytes, an int, None, a list
	redis.stall(), redis.go_on(), redis.stop()
"""
import signal
import socket

from .procs import PATIENCE, Process, free_port, wait_until


class Refused(Exception):
    """An error reply."""


class Redis:
    def __init__(self, directory, *options):
        self.dir, self.options = directory, options
        self.port = free_port()
        self.socket = directory / "redis.sock"
        self.process = None

    def start(self):
        self.process = Process(
            ["redis-server", "--bind", "127.0.0.1", "--port", self.port,
             "--unixsocket", self.socket, "--unixsocketperm", "777",
             "--dir", self.dir, "--save", "", *self.options],
            self.dir / "redis.log")
        self.process.start()
        wait_until(self._answers, self.process.log)
        return self

    def _answers(self):
        try:
            return self("PING") == b"PONG"
        except Refused:
            return True         # it wants a password
        except OSError:
            return False

    def stall(self):
        self.process.signal(signal.SIGSTOP)

    def go_on(self):
        self.process.signal(signal.SIGCONT)

    def stop(self):
        if self.process:
            self.process.kill()
        self.process = None

    def calls(self, command="get"):
        """How often it was asked by this command."""
        for line in self("INFO", "commandstats").decode().split("\r\n"):
            if line.startswith(f"cmdstat_{command}:"):
                return int(line.split("calls=")[1].split(",")[0])
        return 0

    def __call__(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        with socket.create_connection(("127.0.0.1", self.port),
                                      timeout=PATIENCE) as s:
            s.sendall(b"*%d\r\n" % len(words) + b"".join(
                b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            with s.makefile("rb") as f:
                return _reply(f)


def _reply(f):
    line = f.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise Refused(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else f.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [_reply(f) for _ in range(int(rest))]
    if not line:
        raise OSError("closed")
    return rest
