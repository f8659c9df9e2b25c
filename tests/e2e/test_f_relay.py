# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""After login: two pumps, and what they must not lose"""
import contextlib
import hashlib
import os
import random
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.imap import Imap
from harness.procs import PATIENCE, must_see_into, wait_until

MODES = ["framed", "opaque"]
BYE = b"* BYE [UNAVAILABLE]"


def session(w, tls=True):
    c = Imap(w.imaps if tls else w.imap, tls=tls)
    c.login("jan")
    return c


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


def start(weir, conf, peer, mode="framed", relay="", **more):
    return weir(conf(backend("fake", peer.port),
                     relay=f"mode = {mode}\n  {relay}", workers=1, **more))


@pytest.fixture
def plain_both(weir, conf):
    """Both legs without TLS: where splice(2) can carry."""
    def make(peer, mode="opaque", relay=""):
        return start(weir, conf, peer, mode, relay,
                     imap_listener="plaintext_login = yes")
    return make


def noise(n, seed=1):
    return random.Random(seed).randbytes(n)


# literals

@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("size", [0, 1, 4096, 65536, 1 << 20, 24 << 20])
def test_literals_pass_whole(plain_both, mode, tls, size):
    """Binary, of any size, both ways, checksums compared."""
    data = noise(size)

    def fetch(c, tag, rest):
        c.send(b"* 1 FETCH (BODY[] ~{%d}\r\n" % size)
        c.send(data)
        c.send(b")\r\n")
        c.reply(tag, "OK done")

    def script(c):
        c.greet()
        c.login()
        while True:
            line = c.line()
            tag, name, rest = line.split(" ", 2)
            if name == "FETCH":
                fetch(c, tag, rest)
            else:
                got = c.read(size)
                assert c.line() == ""
                c.reply(tag, "OK " + hashlib.sha256(got).hexdigest())

    with Peer(script) as peer:
        w = plain_both(peer, mode)
        with session(w, tls) as c:
            c.send("f FETCH 1 BODY[]\r\n")
            assert c.line() == "* 1 FETCH (BODY[] ~{%d}" % size
            assert hashlib.sha256(c.read(size)).digest() == \
                hashlib.sha256(data).digest()
            assert c.line() == ")" and c.line() == "f OK done"
            c.send("a APPEND INBOX {%d+}\r\n" % size)
            c.send(data)
            c.send("\r\n")
            assert c.line() == "a OK " + hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("tls", [True, False])
def test_both_directions_at_once(plain_both, mode, tls):
    """A client that sends much and reads late, a backend that does too."""
    size = 8 << 20
    up, down = noise(size, 2), noise(size, 3)

    def script(c):
        c.greet()
        c.login()
        c.line()
        result = []
        reader = threading.Thread(target=lambda: result.append(c.read(size)))
        reader.start()
        c.send(b"* 1 FETCH (BODY[] {%d}\r\n" % size)
        c.send(down)
        c.send(b")\r\n")
        reader.join()
        assert result[0] == up
        c.line()
        c.send("t OK both\r\n")
        c.hang()

    with Peer(script) as peer:
        w = plain_both(peer, mode)
        with session(w, tls=False) if not tls else session(w) as c:
            c.send(b"t APPEND INBOX {%d+}\r\n" % size)
            if tls:
                # one TLS socket is not for two threads in Python: a second
                # later the reader comes, and by then all is stuck that can be
                c.sock.setblocking(False)
                view, got = memoryview(up + b"\r\n"), bytearray()
                end = time.monotonic() + PATIENCE * 3
                while b"t OK both\r\n" not in got[-200:]:
                    assert time.monotonic() < end
                    if view:
                        with contextlib.suppress(ssl.SSLWantWriteError,
                                                 ssl.SSLWantReadError):
                            view = view[c.sock.send(view[:65536]):]
                    with contextlib.suppress(ssl.SSLWantReadError):
                        got += c.sock.recv(65536)
                assert bytes(c.buffer + got).count(down) == 1
                return
            sender = threading.Thread(target=lambda: c.send(up + b"\r\n"))
            sender.start()
            c.line()
            assert c.read(size) == down
            sender.join()
            assert c.line() == ")" and c.line() == "t OK both"


# back-pressure

def memory(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f
                    if line.startswith("Private_Dirty")) * 1024


@pytest.mark.parametrize("direction", ["to_client", "to_backend"])
def test_a_slow_reader_stops_its_sender(weir, conf, mode, direction):
    """64 MiB for somebody who does not read stay where they were."""
    size = 64 << 20
    sent, read = [0], threading.Event()

    def push(send):
        block = b"x" * 65536
        with contextlib.suppress(OSError):
            while sent[0] < size:
                send(block)
                sent[0] += len(block)

    def script(c):
        c.greet()
        c.login()
        c.line()
        if direction == "to_client":
            c.sock.settimeout(120)
            c.send(b"* 1 FETCH (BODY[] {%d}\r\n" % size)
            push(c.send)
            c.send(b")\r\nt OK done\r\n")
            c.hang()
        else:
            read.wait(60)
            for _ in range(size >> 20):
                c.read(1 << 20)
            assert c.line() == ""
            c.send("t OK done\r\n")
            c.hang()

    with Peer(script) as peer:
        w = start(weir, conf, peer, mode, "buffer = 64k")
        pid = w.workers()[0]
        must_see_into(pid)
        c = session(w)
        c.sock.settimeout(120)
        before = memory(pid)
        if direction == "to_client":
            c.send("t FETCH 1 BODY[]\r\n")
        else:
            c.send(b"t APPEND INBOX {%d+}\r\n" % size)
            thread = threading.Thread(target=push, args=(c.send,))
            thread.start()

        # it stops by itself: the same count a while later
        def stuck(last=[-1, 0.0]):
            if sent[0] != last[0]:
                last[:] = [sent[0], time.monotonic()]
            return sent[0] and time.monotonic() - last[1] > 1
        wait_until(stuck, "the sender to be stopped", 60)
        assert sent[0] < 40 << 20, "everything was swallowed"
        assert memory(pid) - before < 8 << 20
        read.set()
        if direction == "to_client":
            c.line()
            assert len(c.read(size)) == size
            assert c.line() == ")"
        else:
            thread.join()
            c.send("\r\n")
        assert c.line() == "t OK done"
        c.close()


# ends

def test_backend_closes_between_lines(weir, conf):
    def script(c):
        c.greet()
        c.login()
        c.command()
        c.send("* 3 EXISTS\r\n")

    with Peer(script) as peer:
        w = start(weir, conf, peer)
        with session(w) as c:
            c.send("t NOOP\r\n")
            assert c.line() == "* 3 EXISTS"
            assert c.eof().startswith(BYE)
        w.wait_log(event="close", reason="backend-eof", blame="backend")


@pytest.mark.parametrize("cut", [
    b"* 3 EXI", b"* 1 FETCH (BODY[] {100}\r\nabc", b"* 1 FETCH (BODY[] {3}"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_backend_dies_in_the_middle(weir, conf, cut, how):
    """A close, and no BYE that would be read as mail."""
    def script(c):
        c.greet()
        c.login()
        c.command()
        c.send(cut)
        time.sleep(0.05)
        if how == "reset":
            c.reset()

    with Peer(script) as peer:
        w = start(weir, conf, peer)
        with session(w) as c:
            c.send("t NOOP\r\n")
            said = c.eof()
            assert b"BYE" not in said
            assert cut.startswith(said)
        w.wait_log(event="close", blame="backend")


def test_backend_says_bye_itself(weir, conf):
    def script(c):
        c.greet()
        c.login()
        c.send("* BYE [UNAVAILABLE] own words\r\n")

    with Peer(script) as peer:
        w = start(weir, conf, peer)
        with session(w) as c:
            said = c.eof()
            assert said.count(b"BYE") == 1 and b"own words" in said
        w.wait_log(event="close", blame="backend")


def test_last_words_of_a_backend_that_resets(weir, conf):
    """Sending to it fails, and still what it said is for the client."""
    def script(c):
        c.greet()
        c.login()
        c.line()
        c.send("* BYE [UNAVAILABLE] own words\r\n")
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                          struct.pack("ii", 1, 0))

    with Peer(script) as peer:
        w = start(weir, conf, peer)
        for _ in range(10):
            with session(w) as c:
                c.sock.sendall(b"a NOOP\r\n" * 2000)
                assert b"own words" in c.eof()


def test_client_closes(weir, conf, mode):
    with Peer() as peer:
        w = start(weir, conf, peer, mode)
        with session(w) as c:
            c.ok("NOOP")
        w.wait_log(event="close", reason="client-eof", blame="client")


def test_half_close(plain_both, mode):
    """A client that shuts down its sending side still gets the answer."""
    def script(c):
        c.greet()
        c.login()
        c.command()
        c.wait_eof()
        c.send("* late news\r\nt OK done\r\n")

    with Peer(script) as peer:
        w = plain_both(peer, mode)
        with session(w, tls=False) as c:
            c.send("t NOOP\r\n")
            c.sock.shutdown(socket.SHUT_WR)
            assert c.line() == "* late news"
            assert c.line() == "t OK done"
            c.eof()


def test_half_close_has_an_end(plain_both):
    """When the other side never follows, the session is ended."""
    ended = threading.Event()

    def script(c):
        c.greet()
        c.login()
        c.wait_eof()
        ended.wait(PATIENCE)

    with Peer(script) as peer:
        w = plain_both(peer, "framed", "half_closed_timeout = 2s")
        with session(w, tls=False) as c:
            c.sock.shutdown(socket.SHUT_WR)
            w.wait_log(event="close", reason="half-closed")
            ended.set()


def test_idle_limit(weir, conf):
    with Peer() as peer:
        w = start(weir, conf, peer, relay="idle_timeout = 1s")
        with session(w) as quiet, session(w) as busy:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                busy.ok("NOOP")
                time.sleep(0.1)
            assert b"* BYE" in quiet.eof()
            busy.ok("NOOP")
        w.wait_log(event="close", reason="idle-timeout")


def test_session_may_be_silent(weir, conf):
    """login_timeout is over with the login."""
    with Peer() as peer:
        w = start(weir, conf, peer, limits="login_timeout = 1s")
        with session(w) as c:
            with pytest.raises(TimeoutError):
                c.line(timeout=2.5)
            c.ok("NOOP")


# what the frame has to follow

def test_pipelined_commands_keep_their_order(weir, conf, mode):
    with Peer() as peer:
        w = start(weir, conf, peer, mode)
        with session(w) as c:
            n = 5000
            text = "".join(f"x{i} NOOP\r\n" for i in range(n)).encode()
            sender = threading.Thread(target=c.send, args=(text,))
            sender.start()
            for i in range(n):
                assert c.line() == f"x{i} OK NOOP done"
            sender.join()


def test_split_anywhere(weir, conf, mail, user):
    """A dialogue with literals, each byte a packet of its own."""
    w = weir(conf(backend("d1", mail.d1.plain)))
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
        c.send_slowly("a APPEND INBOX {20+}\r\nSubject: x\r\n\r\nbody\r\n\r\n"
                      "b SELECT {5+}\r\nINBOX\r\nc FETCH 1 BODY[TEXT]\r\n"
                      "d IDLE\r\n")
        assert c.finish("a")[1].startswith("OK")
        assert c.finish("b")[1].startswith("OK")
        assert any(b"body" in u for u in c.finish("c")[0])
        while not c.line().startswith("+"):
            pass
        c.send_slowly("DONE\r\ne LOGOUT\r\n")
        assert c.finish("d")[1].startswith("OK")
        assert c.finish("e")[1].startswith("OK")


def test_compress(weir, conf, mail, user, mode):
    """After COMPRESS the bytes pass unseen."""
    import zlib
    mail.d1.deliver(user, b"squeezed " * 1000)
    w = weir(conf(backend("d1", mail.d1.plain), relay=f"mode = {mode}"))
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
        c.ok("SELECT INBOX")
        c.ok("COMPRESS DEFLATE")
        squeeze, expand = zlib.compressobj(9, zlib.DEFLATED, -15), \
            zlib.decompressobj(-15)
        text = b""
        for tag in (b"x", b"y"):
            c.send(squeeze.compress(tag + b" FETCH 1 BODY.PEEK[]\r\n")
                   + squeeze.flush(zlib.Z_SYNC_FLUSH))
            while tag + b" OK" not in text:
                text += expand.decompress(c.sock.recv(65536))
        assert text.count(b"squeezed " * 1000) == 2


def test_splice_carries(plain_both):
    """Opaque, both legs plain: 100 MiB, and the worker copies none of it
    (its CPU time shows)."""
    from harness.mailweir import WRAP, sanitized
    size = 100 << 20
    block = b"y" * (1 << 20)

    def script(c):
        c.greet()
        c.login()
        c.line()
        c.sock.settimeout(60)
        for _ in range(size >> 20):
            c.send(block)
        c.hang()

    with Peer(script) as peer:
        w = plain_both(peer)
        with session(w, tls=False) as c:
            c.send("t FETCH\r\n")
            digest, left = hashlib.sha256(), size
            while left:
                data = c.sock.recv(min(left, 1 << 20))
                assert data
                digest.update(data)
                left -= len(data)
        want = hashlib.sha256()
        for _ in range(size >> 20):
            want.update(block)
        assert digest.digest() == want.digest()
        line = w.wait_log(event="close", user="jan")
        assert int(line["out"]) >= size
        pid = w.workers()[0]
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            ticks = sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
        if not WRAP and not sanitized():
            assert ticks / os.sysconf("SC_CLK_TCK") < 1.0


def test_a_spliced_literal_is_followed(plain_both):
    """Framed, both legs plain: behind literals that nobody has looked into
    the relay still knows where lines end."""
    size = 3 << 20

    def fetch(c, tag, _):
        for data in noise(size), noise(70000), b"":
            c.send(b"* 1 FETCH (BODY[] {%d}\r\n" % len(data))
            c.send(data + b")\r\n")
        c.reply(tag, "OK done")

    def script(c):
        c.greet()
        c.login()
        c.serve({"FETCH": fetch})

    with Peer(script) as peer:
        w = plain_both(peer, "framed")
        with session(w, tls=False) as c:
            for _ in range(3):
                c.ok("FETCH 1 BODY[]")
            w.signal(signal.SIGTERM)
            assert c.eof().startswith(b"* BYE")
        w.stop()


@pytest.mark.parametrize("kind", ["rubbish", "unbalanced", "longline"])
def test_a_stream_that_is_no_imap_passes(weir, conf, kind):
    """What the frame cannot follow is carried all the same."""
    data = {"rubbish": noise(200000, 5), "unbalanced": b"* )(}{3}\r\r\n\n" * 99,
            "longline": b"* " + b"z" * 3000000}[kind]

    def script(c):
        c.greet()
        c.login()
        c.command()
        c.send(data)
        c.hang()

    with Peer(script) as peer:
        w = start(weir, conf, peer)
        with session(w) as c:
            c.send("t NOOP\r\n")
            assert c.read(len(data)) == data
