# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""crowd - many mail clients at once, which come back when they are sent away

	with Crowd(w, farm, {user: 2, ...}) as crowd:
	    crowd.wait_idle()       all have logged in, and IDLE
	    ...
	    crowd.leave()           LOGOUT
	assert not crowd.errors and not crowd.conflicts

Each session looks at its mailbox, and idles until BYE or the end of the
connection; then it logs in again, at once, and must find what was there:
UIDVALIDITY, messages and flags.  A command that gets no whole answer before
BYE is an error, and so is a login that fails.  A session that finds itself
elsewhere than another one of its user that still lives is a conflict.
"""
import collections
import os
import re
import select
import threading
import time

from .imap import Imap, tls_context
from .procs import PATIENCE, wait_until

RDHUP = select.POLLRDHUP | select.POLLHUP | select.POLLERR
CONNECTING_AT_ONCE = 16

Conflict = collections.namedtuple("Conflict", "user old new")


class Mailbox:
    """What a user's clients expect to find."""

    def __init__(self):
        self.lock = threading.Lock()
        self.validity, self.flags = None, {}

    def check(self, validity, flags):
        with self.lock:
            if self.validity is None:
                self.validity, self.flags = validity, flags
                return
            assert validity == self.validity, (validity, self.validity)
            lost = {uid: words for uid, words in self.flags.items()
                    if flags.get(uid) != words}
            assert not lost, f"{lost} became {flags}"

    def grew(self, reply):
        """By an APPEND, which was answered so."""
        uid = re.search(r"APPENDUID \d+ (\d+)", reply)
        with self.lock:
            self.flags[int(uid[1])] = frozenset()


class Client(threading.Thread):
    """One session of a user, and what comes after it.  task(imap, client)
    is done once, between the first look at the mailbox and IDLE; what it
    returns is APPEND's answer, or None."""

    def __init__(self, crowd, user, task=None):
        super().__init__(daemon=True)
        self.crowd, self.user, self.task = crowd, user, task
        self.imap = self.place = self.port = None
        self.is_idle = False
        self.byes, self.cuts, self.logins = [], 0, 0
        self.release = threading.Event()    # for tasks that take a while
        self.at_work = threading.Event()

    def run(self):
        try:
            while not self.crowd.is_leaving and self._session():
                pass
        except (OSError, EOFError, AssertionError) as e:
            self.crowd.fail(f"{self.user} from {self.port} to {self.place}: {e!r}")
        finally:
            self.is_idle = False
            self.at_work.set()

    def is_gone(self):
        """Whether the proxy has ended the session, though its thread may not
        have seen that yet."""
        poll = select.poll()
        try:
            poll.register(self.imap.sock, RDHUP)
            return any(events & RDHUP for _, events in poll.poll(0))
        except (OSError, ValueError):
            return True

    def _session(self):
        """False: this was the last one."""
        with Imap(self.crowd.port, tls=self.crowd.context) as c:
            self.port = c.sock.getsockname()[1]
            c.sock.settimeout(self.crowd.patience)
            c.login(self.user)
            self.logins += 1
            self.imap = c
            where = b" ".join(c.ok("ID NIL")).decode()
            self.place = re.search(r'"name" "([^"]+)"', where)[1]
            self.crowd.enter(self)
            try:
                return self._stay(c)
            finally:
                self.crowd.exit(self)

    def _stay(self, c):
        try:
            self._look(c)
            if self.task:
                task, self.task = self.task, None
                reply = task(c, self)
                if reply:
                    self.crowd.mailboxes[self.user].grew(reply)
            return self._idle(c)
        except (EOFError, ConnectionError):
            if self.place not in self.crowd.mortal:
                raise
            self.cuts += 1      # the server was killed in mid-command
            return True

    def _look(self, c):
        validity = re.search(
            rb"UIDVALIDITY (\d+)", b"\n".join(c.ok("SELECT INBOX")))[1]
        box = self.crowd.mailboxes[self.user]
        with box.lock:
            is_first = box.validity is None and not box.flags
        if is_first:
            c.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
        flags = {}
        for one in c.ok("FETCH 1:* (UID FLAGS)"):
            words = re.search(rb"FLAGS \(([^)]*)\)", one)
            uid = re.search(rb"UID (\d+)", one)
            if words and uid:
                flags[int(uid[1])] = frozenset(words[1].split()) - {
                    rb"\Recent"}
        box.check(validity, flags)

    def _next_line(self, c):
        """None: everybody is to leave."""
        poll = select.poll()
        poll.register(c.sock, select.POLLIN)
        poll.register(self.crowd.wake, select.POLLIN)
        while b"\r\n" not in c.buffer and not c.sock.pending():
            ready = {fd for fd, _ in poll.poll()}
            if c.sock.fileno() in ready:
                break
            if ready:
                return None
        return c.line()

    def _idle(self, c):
        c.send("i IDLE\r\n")
        while True:
            line = self._next_line(c)
            if line is None:
                c.send("DONE\r\n")
                assert c.finish("i")[1].startswith("OK")
                c.ok("LOGOUT")
                return False
            if line.startswith("+"):
                self.is_idle = True
            elif line.startswith("* BYE"):
                assert line.startswith("* BYE [UNAVAILABLE]"), line
                assert c.eof() == b"", "something behind BYE"
                self.byes.append((time.monotonic(), line))
                return True
            else:
                assert line.startswith("* "), line


class Crowd:
    """users: {user: how many sessions}; tasks: {user: task of the first}.
    mortal: servers that may die, and their sessions with them."""

    def __init__(self, w, users, tasks=None, mortal=(), patience=3 * PATIENCE):
        self.port, self.context = w.imaps, tls_context()
        self.patience, self.mortal = patience, set(mortal)
        self.mailboxes = {user: Mailbox() for user in users}
        self.clients = [
            Client(self, user, (tasks or {}).get(user) if n == 0 else None)
            for user, many in users.items() for n in range(many)]
        self.errors, self.conflicts = [], []
        self.is_leaving = False
        self.wake, self._waker = os.pipe()
        self._lock = threading.Lock()
        self._living = collections.defaultdict(set)

    def __enter__(self):
        """Each user's first session is there before the second one comes: it
        sets the flags that all will see."""
        first = {c.user: c for c in reversed(self.clients)}.values()
        for some in (list(first), [c for c in self.clients
                                   if c not in set(first)]):
            for at in range(0, len(some), CONNECTING_AT_ONCE):
                batch = some[at:at + CONNECTING_AT_ONCE]
                for client in batch:
                    client.start()
                self.wait(lambda batch=batch: all(
                    c.is_idle or c.at_work.is_set() for c in batch),
                    "clients that idle")
        return self

    def __exit__(self, kind, *_):
        for client in self.clients:
            client.release.set()
        self._leave()
        for client in self.clients:
            if client.ident:
                client.join(self.patience)
        os.close(self.wake)
        os.close(self._waker)

    def _leave(self):
        if not self.is_leaving:
            self.is_leaving = True
            os.write(self._waker, b"x")

    # what clients tell

    def fail(self, text):
        with self._lock:
            self.errors.append(text)

    def enter(self, client):
        with self._lock:
            self.conflicts += [
                Conflict(client.user, other.place, client.place)
                for other in self._living[client.user]
                if other.place != client.place
                and other.place not in self.mortal and not other.is_gone()]
            self._living[client.user].add(client)

    def exit(self, client):
        with self._lock:
            client.is_idle = False
            self._living[client.user].discard(client)

    # what a test asks

    def wait(self, check, what):
        """For what is to come, as long as all goes well for the clients."""
        def is_so():
            assert not self.errors, self.errors[:5]
            return check()
        wait_until(is_so, what, self.patience)

    def at(self, place):
        return [c for c in self.clients if c.place == place]

    def wait_idle(self, nowhere=None):
        """All idle, and none of them at that place."""
        self.wait(lambda: all(c.is_idle and c.place != nowhere
                               for c in self.clients),
                   lambda: "all to idle; not so: %s" % [
                       (c.user, c.place) for c in self.clients
                       if not c.is_idle or c.place == nowhere][:10])

    def leave(self):
        self._leave()
        for client in self.clients:
            client.join(self.patience)
            assert not client.is_alive(), f"{client.user} stays"
        assert not self.errors, self.errors[:5]
        assert not self.conflicts, self.conflicts[:5]


# tasks that take until client.release is set

def append(c, client):
    """The literal comes in two parts."""
    message = b"Subject: slow\r\n\r\n" + b"s" * 3000
    c.send(f"slow APPEND INBOX {{{len(message)}}}\r\n")
    assert c.line().startswith("+")
    c.send(message[:1000])
    client.at_work.set()
    assert client.release.wait(client.crowd.patience)
    c.send(message[1000:] + b"\r\n")
    reply = c.finish("slow")[1]
    assert reply.startswith("OK"), reply
    return reply


def fetch(c, client):
    """More than what lies between reader and server; nobody reads it."""
    c.send("slow FETCH 1 BODY.PEEK[]\r\n")
    head = c.line()
    size = int(re.search(r"\{(\d+)\}$", head)[1])
    client.at_work.set()
    assert client.release.wait(client.crowd.patience)
    assert len(c.read(size)) == size
    assert c.line() == ")"
    assert c.finish("slow")[1].startswith("OK")
