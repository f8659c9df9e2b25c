# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Who the client is: PROXY headers in and out, ID to Dovecot"""
import socket
import struct

import pytest

from fake.peer import PROXY_V2, Peer
from harness.conf import backend
from harness.imap import Imap

TRUSTED = 'proxy_protocol_from = { "127.0.0.0/8" }'


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def v2(source="203.0.113.5", port=4711, tlvs=(), command=0x21, checksum=False):
    """A PROXY v2 header; the checksum TLV as the specification has it."""
    if ":" in source:
        family, kind, local = socket.AF_INET6, 0x21, "2001:db8::1"
    else:
        family, kind, local = socket.AF_INET, 0x11, "192.0.2.1"
    body = socket.inet_pton(family, source) + socket.inet_pton(family, local)
    body += struct.pack("!HH", port, 993)
    for number, value in tlvs:
        body += struct.pack("!BH", number, len(value)) + value
    if checksum:
        body += struct.pack("!BHI", 3, 4, 0)
    header = PROXY_V2 + struct.pack("!BBH", command, kind, len(body)) + body
    if checksum:
        header = header[:-4] + struct.pack("!I", crc32c(header))
    return header


@pytest.fixture
def w(weir, conf, mail):
    return weir(conf(backend("d1", mail.d1.plain, "client_info = id"),
                     imaps_listener=TRUSTED, imap_listener=TRUSTED))


@pytest.mark.parametrize("header,address", [
    (b"PROXY TCP4 203.0.113.5 192.0.2.1 4711 993\r\n", "203.0.113.5"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 993\r\n", "2001:db8::7"),
    (v2(), "203.0.113.5"),
    (v2("2001:db8::7"), "2001:db8::7"),
    (v2(tlvs=[(1, b"imap"), (2, b"mail.test"), (4, b"\0\0"), (5, b"id"),
              (0xe0, b"custom")], checksum=True), "203.0.113.5")])
@pytest.mark.parametrize("tls", [True, False])
def test_header_of_a_trusted_balancer(w, mail, user, header, address, tls):
    port = w.imaps if tls else w.imap
    with Imap(port, tls=tls, before=header) as c:
        if not tls:
            c.ok("STARTTLS")
            c.start_tls()
        c.login(user)
        c.ok("LOGOUT")
    line = w.wait_log(event="close", user=user)
    assert address in line["client"]
    assert f"rip={address}," in mail.d1.wait_login(user)


def test_header_in_pieces(w, user):
    c = Imap(w.imaps, greet=False)
    c.send_slowly(v2(tlvs=[(2, b"mail.test")], checksum=True))
    c.start_tls()
    assert c.line().startswith("* OK")
    c.login(user)
    c.close()
    line = w.wait_log(event="close", user=user)
    assert "203.0.113.5" in line["client"]


@pytest.mark.parametrize("header", [
    b"PROXY UNKNOWN\r\n", v2(command=0x20),
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"])
def test_header_without_addresses(w, user, header):
    with Imap(w.imaps, tls=True, before=header) as c:
        c.login(user)
        c.ok("LOGOUT")
    assert "127.0.0.1" in w.wait_log(event="close", user=user)["client"]


def bad_checksum():
    header = v2(checksum=True)
    return header[:-1] + bytes([header[-1] ^ 1])


@pytest.mark.parametrize("header", [
    b"* hello\r\n", b"PROXY TCP4 1.2.3.4\r\n",
    b"PROXY TCP4 203.0.113.5 192.0.2.1 4711 99999\r\n",
    b"PROXY TCP4 203.0.113.5 192.0.2.1 4711 993\n" + b"x" * 200,
    PROXY_V2 + b"\x31\x11\0\x0c" + b"\0" * 12,
    PROXY_V2 + b"\x21\x11\0\x04" + b"\0" * 4,
    b"\r\n\r\n\0\r\nQUIX\n" + b"\x21\x11\0\x0c" + b"\0" * 12,
    bad_checksum(), v2(tlvs=[(2, b"x")])[:-1] + b""])
def test_bad_header(w, header):
    with Imap(w.imap, before=header, greet=False) as c:
        c.sock.shutdown(socket.SHUT_WR)
        assert c.eof() == b""
    line = w.wait_log(event="close")
    assert line["reason"] in ("proxy-header", "client-eof")


def test_client_without_header_where_one_is_due(w):
    with Imap(w.imaps, greet=False) as c:
        c.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 300)
        assert c.eof() == b""
    w.wait_log(event="close", reason="proxy-header")


def test_header_from_anybody_else_is_no_header(weir, conf, mail):
    w = weir(conf(
        backend("d1", mail.d1.plain),
        imap_listener='proxy_protocol_from = { "192.0.2.0/24" }'))
    header = b"PROXY TCP4 203.0.113.5 192.0.2.1 4711 143\r\n"
    with Imap(w.imap, before=header) as c:
        assert c.greeting.startswith("* OK")
        assert " BAD " in c.line()
    line = w.wait_log(event="close")
    assert "127.0.0.1" in line["client"]
    assert "203.0.113.5" not in w.log()


# towards the backends

def test_id_tells_dovecot_the_client(weir, conf, mail, user):
    w = weir(conf(backend("d1", mail.d1.plain, "client_info = id"),
                  imaps_listener=TRUSTED))
    with Imap(w.imaps, tls=True, before=v2("198.51.100.9", 1234)) as c:
        c.ok('ID ("name" "A Client" "version" "1.0")')
        c.login(user)
    line = mail.d1.wait_login(user)
    assert "rip=198.51.100.9," in line and "rport=1234" in line
    # x-client-transport: TLS
    assert "TLS" in line or "secured" in line
    session = w.wait_log(event="login", user=user)["s"]
    assert session in line


def test_id_is_not_sent_unless_offered(weir, conf, user):
    def script(c):
        c.greet("IMAP4rev1 AUTH=PLAIN SASL-IR")
        c.login()
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port, "client_info = id")))
        with Imap(w.imaps, tls=True) as c:
            c.login(user)
        assert not [line for line in peer.sessions()[0].said
                    if " ID " in line]


def test_id_never_asks_for_multiplex(weir, conf, user):
    with Peer() as peer:
        w = weir(conf(backend("fake", peer.port, "client_info = id")))
        with Imap(w.imaps, tls=True) as c:
            c.login(user)
        said = "\n".join(peer.sessions()[0].said)
        assert " ID (" in said and "x-multiplex" not in said.lower()
        assert '"x-originating-ip" "127.0.0.1"' in said


def test_proxy_v2_tells_dovecot_the_client(weir, conf, mail, user):
    w = weir(conf(backend("d1", mail.d1.haproxy, "client_info = proxy-v2"),
                  imaps_listener=TRUSTED))
    for n, address in enumerate(("198.51.100.9", "2001:db8::9"), 1):
        with Imap(w.imaps, tls=True, before=v2(address, 1234)) as c:
            c.login(user)
        assert f"rip={address}," in mail.d1.wait_login(user, n)


def test_proxy_v2_has_what_is_known_of_tls(weir, conf, user):
    headers = []

    def script(c):
        header = c.read_proxy_v2()
        if header[0]:		# a probe says LOCAL
            headers.append(header)
        c.greet()
        c.login()
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port, "client_info = proxy-v2")))
        with Imap(w.imaps, tls=True, name="mail.test") as c:
            port = c.sock.getsockname()[1]
            c.login(user)
            version = c.sock.version()
        source, dest, tlvs = headers[0]
        assert source == ("127.0.0.1", port)
        assert dest == ("127.0.0.1", w.imaps)
        assert tlvs[2] == b"mail.test"
        bits, verify = struct.unpack("!BI", tlvs[0x20][:5])
        assert bits & 1 and (bits & 6) == 0 or verify == 0
        assert b"\x21" + struct.pack("!H", len(version)) + version.encode() \
            in tlvs[0x20]
        header = peer.sessions()[0].proxy_header
        if 3 in tlvs:
            at = header.index(b"\x03\x00\x04" + tlvs[3]) + 3
            zeroed = header[:at] + b"\0" * 4 + header[at + 4:]
            assert crc32c(zeroed) == int.from_bytes(tlvs[3], "big")


def test_proxy_v2_comes_before_tls(weir, conf, backend_cert, user):
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, backend_cert))
    headers = []

    def script(c):
        header = c.read_proxy_v2()
        if header[0]:		# a probe says LOCAL
            headers.append(header)
        assert c.buffer == b"" or c.buffer[0] == 0x16
        c.buffer_before_tls = c.buffer
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(c.buffer)
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        raw = c.sock

        def pump(step, *args):
            while True:
                try:
                    result = step(*args)
                except ssl.SSLWantReadError:
                    if outgoing.pending:
                        raw.sendall(outgoing.read())
                    data = raw.recv(65536)
                    if not data:
                        return b""
                    incoming.write(data)
                    continue
                if outgoing.pending:
                    raw.sendall(outgoing.read())
                return result
        pump(tls.do_handshake)

        class Wrapped:
            def sendall(self, data):
                pump(tls.write, data)

            def recv(self, n):
                return pump(tls.read, n)

            def __getattr__(self, name):
                return getattr(raw, name)
        c.sock, c.buffer = Wrapped(), b""
        c.greet()
        c.login()
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port, "client_info = proxy-v2\n"
                              "  tls = implicit\n  verify = no")))
        with Imap(w.imaps, tls=True) as c:
            c.login(user)
            c.ok("NOOP")
        assert headers[0][1] == ("127.0.0.1", w.imaps)
