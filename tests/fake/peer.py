# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""peer - a backend that behaves as a test scripts it

	def script(c):
	    c.greet()
	    c.login()
	    c.send("* BYE\\r\\n")

	with Peer(script) as peer: ... peer.port ...

script(c) runs in a thread for each connection; when it returns, the
connection is closed.  An exception in it fails the test at the end of the
with block, unless the peer went away (that is the proxy's good right).
"""
import re
import socket
import ssl
import struct
import threading
import traceback

CAPABILITIES = ("IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE "
                "AUTH=PLAIN AUTH=LOGIN")
PATIENCE = 20
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"


class Gone(Exception):
    """The other side closed the connection, or it was the proxy's probe."""


class Connection:
    def __init__(self, sock, peer):
        self.sock, self.peer = sock, peer
        self.sock.settimeout(PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.said = []		# every line that came, as text
        self.user = self.password = None
        self.proxy_header = None

    # bytes

    def send(self, data):
        try:
            self.sock.sendall(data.encode() if isinstance(data, str) else data)
        except (BrokenPipeError, ConnectionResetError):
            raise Gone from None

    def more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Gone
        self.buffer += data

    def read(self, n):
        while len(self.buffer) < n:
            self.more()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        text = line.decode("utf-8", "surrogateescape")
        self.said.append(text)
        if self.user is None and text.upper().endswith(" LOGOUT"):
            # a probe asks what there is, and goes
            self.send(f"* BYE bye\r\n{text.split()[0]} OK done\r\n")
            raise Gone
        return text

    def wait_eof(self):
        """Reads and drops until the other side closes."""
        try:
            while True:
                self.buffer = b""
                self.more()
        except Gone:
            return

    def hang(self):
        """Keeps the connection open and says nothing."""
        self.wait_eof()

    def reset(self):
        """An abortive close (RST)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.sock.close()

    def start_tls(self):
        assert self.peer.tls
        self.sock = self.peer.tls.wrap_socket(self.sock, server_side=True)

    def read_proxy_v2(self):
        """(source, destination, {tlv type: value}) of a PROXY v2 header."""
        head = self.read(16)
        assert head[:12] == PROXY_V2, head
        assert head[12] in (0x20, 0x21), head[12]
        body = self.read(int.from_bytes(head[14:16], "big"))
        if head[12] == 0x20 or head[13] == 0:
            return None, None, {}
        size, family = (4, socket.AF_INET) if head[13] == 0x11 else \
            (16, socket.AF_INET6)
        source = socket.inet_ntop(family, body[:size])
        dest = socket.inet_ntop(family, body[size:2 * size])
        ports = struct.unpack("!HH", body[2 * size:2 * size + 4])
        self.proxy_header = head + body
        tlvs, rest = {}, body[2 * size + 4:]
        while rest:
            kind, length = rest[0], int.from_bytes(rest[1:3], "big")
            tlvs[kind], rest = rest[3:3 + length], rest[3 + length:]
        return (source, ports[0]), (dest, ports[1]), tlvs

    # the server's part of a dialogue

    def greet(self, capabilities=CAPABILITIES, text="fake ready"):
        code = f"[CAPABILITY {capabilities}] " if capabilities else ""
        self.send(f"* OK {code}{text}\r\n")

    def command(self):
        """The next command, literals read: (tag, NAME, rest)."""
        whole = self.line()
        while True:
            literal = re.search(r"\{(\d+)(\+?)\}$", whole)
            if not literal:
                break
            if not literal[2]:
                self.send("+ go\r\n")
            data = self.read(int(literal[1])).decode(
                "utf-8", "surrogateescape")
            quoted = '"' + re.sub(r'(["\\])', r"\\\1", data) + '"'
            whole = whole[:literal.start()] + quoted + self.line()
        tag, _, rest = whole.partition(" ")
        name, _, rest = rest.partition(" ")
        return tag, name.upper(), rest

    def reply(self, tag, text):
        self.send(f"{tag} {text}\r\n")

    def login(self, reply="OK [CAPABILITY IMAP4rev1 IDLE LITERAL+] Logged in",
              capabilities=CAPABILITIES):
        """Serves ID, CAPABILITY and the login; the tag of the login.  With
        reply None the login is not answered."""
        while True:
            tag, name, rest = self.command()
            if name == "ID":
                self.send(f'* ID ("name" "fake")\r\n{tag} OK ID done\r\n')
            elif name == "CAPABILITY":
                self.send(f"* CAPABILITY {capabilities}\r\n{tag} OK done\r\n")
            elif name == "NOOP":
                self.reply(tag, "OK done")
            elif name in ("LOGIN", "AUTHENTICATE"):
                self._credentials(name, rest)
                if reply is not None:
                    self.reply(tag, reply)
                return tag
            else:
                self.reply(tag, "BAD not now")

    def _credentials(self, name, rest):
        import base64
        if name == "LOGIN":
            words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', rest)
            self.user, self.password = (
                re.sub(r"\\(.)", r"\1", quoted) or atom
                for quoted, atom in words[:2])
            return
        mechanism, _, initial = rest.partition(" ")
        if mechanism.upper() != "PLAIN":
            self.user = initial
            return
        if not initial:
            self.send("+ \r\n")
            initial = self.line()
        authzid, user, self.password = base64.b64decode(
            initial).decode().split("\0")
        self.user = f"{authzid}*{user}" if authzid and authzid != user \
            else user

    def serve(self, handlers=None):
        """Answers commands until LOGOUT or the end; handlers[NAME] gets
        (connection, tag, rest)."""
        while True:
            tag, name, rest = self.command()
            if handlers and name in handlers:
                handlers[name](self, tag, rest)
            elif name == "LOGOUT":
                self.send(f"* BYE bye\r\n{tag} OK done\r\n")
                return
            elif name == "IDLE":
                self.send("+ idling\r\n")
                assert self.line().upper() == "DONE"
                self.reply(tag, "OK done")
            else:
                self.reply(tag, f"OK {name} done")


def polite(connection):
    """The script of a backend without surprises."""
    connection.greet()
    connection.login()
    connection.serve()


class Peer:
    """tls: an ssl.SSLContext; implicit: TLS from the first byte."""

    def __init__(self, script=polite, tls=None, implicit=False, port=0,
                 host="127.0.0.1"):
        self.script, self.tls, self.implicit = script, tls, implicit
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family,
                                             backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.connections, self.errors = [], []
        self._threads = []
        self._closed = False
        self._main = threading.Thread(target=self._accept, daemon=True)
        self._main.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        if kind is None and self.errors:
            raise AssertionError("in the fake backend:\n" + self.errors[0])

    def sessions(self):
        """The connections in which somebody has logged in, so no probes."""
        return [c for c in self.connections if c.user is not None]

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if self._closed:
                sock.close()
                return
            connection = Connection(sock, self)
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, daemon=True,
                                      args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection):
        try:
            if self.implicit:
                connection.start_tls()
            self.script(connection)
        except (Gone, ConnectionError, ssl.SSLError, TimeoutError):
            pass
        except OSError:
            if not self._closed:
                self.errors.append(traceback.format_exc())
        except Exception:  # pylint: disable=broad-except
            self.errors.append(traceback.format_exc())
        finally:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.sock.close()

    def close(self):
        self._closed = True
        try:
            # wakes the accept()
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in self.connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(5)
