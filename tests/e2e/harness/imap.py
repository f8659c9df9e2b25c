# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""imap - a raw IMAP client for dialogues

Says exactly the bytes a test wants said, one by one if need be, and shows
exactly what came back.  For what a whole client does, there are whole
clients (test_b_clients.py).
"""
import base64
import re
import socket
import ssl

from .procs import PATIENCE

LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n$")


def tls_context(ca=None, alpn=(), minimum=None, maximum=None, cert=None):
    """A client's context; with ca the server is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ca:
        context.load_verify_locations(str(ca))
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if minimum or maximum:
        # old versions are tried on purpose: the server must refuse them
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = minimum or ssl.TLSVersion.MINIMUM_SUPPORTED
        if maximum:
            context.maximum_version = maximum
    if cert:
        context.load_cert_chain(*map(str, cert))
    return context


class Imap:
    """One connection.  tls: True, or a context; name: the SNI."""

    def __init__(self, port, tls=None, name=None, host="127.0.0.1",
                 before=b"", session=None, greet=True, source=None):
        self.sock = socket.create_connection(
            (host, port), timeout=PATIENCE,
            source_address=(source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.tags, self.greeting = b"", 0, None
        if before:
            self.sock.sendall(before)
        if tls:
            self.start_tls(tls, name, session)
        if greet:
            self.greeting = self.line()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def start_tls(self, context=True, name=None, session=None):
        """The handshake; STARTTLS was said by the caller."""
        assert self.buffer == b"", f"plain text before TLS: {self.buffer!r}"
        if context is True:
            context = tls_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=name,
                                        session=session)

    # bytes

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def send_slowly(self, data):
        """Byte by byte, each in a segment of its own."""
        for byte in data.encode() if isinstance(data, str) else data:
            self.sock.sendall(bytes([byte]))

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(f"connection closed after {self.buffer!r}")
        self.buffer += data

    def line(self, timeout=None):
        """The next line without its CRLF."""
        if timeout:
            self.sock.settimeout(timeout)
        try:
            while b"\r\n" not in self.buffer:
                self._more()
        finally:
            if timeout:
                self.sock.settimeout(PATIENCE)
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("utf-8", "surrogateescape")

    def read(self, n):
        parts = [self.buffer[:n]]
        self.buffer = self.buffer[n:]
        got = len(parts[0])
        while got < n:
            data = self.sock.recv(min(n - got, 1 << 20))
            if not data:
                raise EOFError(f"closed after {got} of {n} bytes")
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def response(self):
        """One whole response, literals and all, without the last CRLF."""
        whole = b""
        while True:
            whole += self.line().encode("utf-8", "surrogateescape") + b"\r\n"
            literal = LITERAL.search(whole)
            if not literal:
                return whole[:-2]
            whole += self.read(int(literal[1]))

    def eof(self, timeout=PATIENCE):
        """What came until the peer closed; fails when it does not."""
        self.sock.settimeout(timeout)
        rest = self.buffer
        self.buffer = b""
        while True:
            try:
                data = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                return rest
            if not data:
                return rest
            rest += data

    # dialogues

    def tag(self):
        self.tags += 1
        return f"a{self.tags}"

    def finish(self, tag):
        """Untagged responses (bytes) and the tagged one (str) of a command
        that was sent."""
        untagged = []
        while True:
            one = self.response()
            if one.startswith(tag.encode() + b" "):
                return untagged, one.decode("utf-8", "surrogateescape")[
                    len(tag) + 1:]
            untagged.append(one)

    def command(self, text):
        tag = self.tag()
        self.send(f"{tag} {text}\r\n")
        return self.finish(tag)

    def ok(self, text):
        """A command that must succeed; its untagged responses."""
        untagged, tagged = self.command(text)
        assert tagged.startswith("OK"), f"{text}: {tagged}"
        return untagged

    def capability(self):
        line, = [u for u in self.ok("CAPABILITY")
                 if u.startswith(b"* CAPABILITY")]
        return line.decode().split()[2:]

    def login(self, user, password="secret"):
        """The tagged reply of LOGIN, after OK."""
        user, password = (re.sub(r'(["\\])', r"\\\1", word)
                          for word in (user, password))
        _, tagged = self.command(f'LOGIN "{user}" "{password}"')
        assert tagged.startswith("OK"), tagged
        return tagged

    def append(self, message, mailbox="INBOX", form="sync"):
        """APPEND with one kind of literal: sync, plus or binary."""
        tag, size = self.tag(), len(message)
        mark = {"sync": f"{{{size}}}", "plus": f"{{{size}+}}",
                "binary": f"~{{{size}}}"}[form]
        self.send(f"{tag} APPEND {mailbox} {mark}\r\n")
        if form != "plus":
            go = self.line()
            assert go.startswith("+"), go
        self.send(message)
        self.send(b"\r\n")
        return self.finish(tag)[1]

    def fetch_body(self, number):
        """The whole message of that sequence number."""
        for one in self.ok(f"FETCH {number} BODY.PEEK[]"):
            head, mark, rest = one.partition(b"}\r\n")
            if mark and b"BODY[]" in head:
                return rest[:int(head.rpartition(b"{")[2])]
        raise AssertionError("no body came")


def b64(text):
    return base64.b64encode(
        text.encode() if isinstance(text, str) else text).decode()


def plain(user, password="secret", authzid=""):
    return b64(f"{authzid}\0{user}\0{password}")
