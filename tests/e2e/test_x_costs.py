# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""What things cost, in system calls and heap blocks: so on any machine

A figure that has grown is not forbidden, but somebody has to mean it.
"""
import contextlib
import signal
import subprocess

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.imap import Imap
from harness.mailweir import PROGRAM, WRAP, sanitized
from harness.procs import wait_until

MIB = 1024 * 1024

pytestmark = pytest.mark.skipif(
    bool(WRAP) or (PROGRAM.exists() and sanitized()),
    reason="only the plain build has the costs that count")


@contextlib.contextmanager
def calls_of(w, tmp):
    """A dict that holds the worker's system calls when the block is left."""
    pid, = w.roles()["worker"]
    out = tmp / "strace"
    tracer = subprocess.Popen(["strace", "-c", "-f", "-p", str(pid), "-o",
                               out], stderr=subprocess.PIPE)
    try:
        said = tracer.stderr.readline()
        if b"Operation not permitted" in said:
            pytest.skip("nobody may trace here")
        assert b"attached" in said, said
        counts = {}
        yield counts
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
    for line in out.read_text().splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and \
                fields[-1] != "total":
            counts[fields[-1]] = int(fields[3])


def big(c, tag, _):
    c.send(f"* 1 FETCH (BODY[] {{{8 * MIB}}}\r\n")
    c.send(bytes(8 * MIB))
    c.send(f")\r\n{tag} OK done\r\n")


@pytest.fixture
def w(weir, conf):
    def script(c):
        c.greet()
        c.login()
        c.serve({"FETCH": big})

    with Peer(script) as peer:
        yield weir(conf(backend("fake", peer.port), workers=1,
                        imap_listener="plaintext_login = yes"))


def test_calls_of_a_noop(w, tmp):
    with Imap(w.imaps, tls=True) as c:
        c.login("jan")
        c.ok("NOOP")
        with calls_of(w, tmp) as counts:
            for _ in range(200):
                c.ok("NOOP")
    assert sum(counts.values()) / 200 <= 6.2, counts


def test_calls_of_a_login(w, tmp):
    def login():
        with Imap(w.imaps, tls=True) as c:
            c.login("jan")
            c.ok("LOGOUT")
    login()
    with calls_of(w, tmp) as counts:
        for _ in range(50):
            login()
    assert sum(counts.values()) / 50 <= 50, counts


def test_calls_of_a_mebibyte(w, tmp):
    """How much a recv() brings depends on who runs when: a wide bound."""
    with Imap(w.imaps, tls=True) as c:
        c.login("jan")
        with calls_of(w, tmp) as counts:
            c.ok("FETCH 1 BODY[]")
    assert sum(counts.values()) / 8 <= 90, counts


def test_a_plain_literal_is_not_copied(w, tmp):
    """Between two legs without TLS: all but its beginning and its end."""
    with Imap(w.imap) as c:
        c.login("jan")
        with calls_of(w, tmp) as counts:
            c.ok("FETCH 1 BODY[]")
    assert counts["recvfrom"] <= 30 and counts["splice"] > 30, counts
    assert sum(counts.values()) / 8 <= 40, counts


@pytest.mark.parametrize("tls,most", [(False, 3), (True, 40)])
def test_heap_blocks_of_an_idle_session(weir, conf, census, tls, most):
    """OpenSSL's part of a TLS session is 34 blocks."""
    if not census.env:
        pytest.skip("no compiler")
    with Peer() as peer:
        w = weir(conf(backend("fake", peer.port), workers=1,
                      imap_listener="plaintext_login = yes"),
                 env=census.env)
        pid, = w.roles()["worker"]

        def session():
            c = Imap(w.imaps if tls else w.imap, tls=tls)
            c.login("jan")
            return c
        with contextlib.ExitStack() as stack:
            for _ in range(10):	# what is made once
                stack.enter_context(session())
            before = census.blocks(pid)
            for _ in range(100):
                stack.enter_context(session())
            each = (census.blocks(pid) - before) / 100
            assert 1 <= each <= most, each
        wait_until(lambda: census.blocks(pid) < before,
                   "the blocks to be given back")
