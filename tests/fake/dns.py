# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""dns - a name server that knows what a test tells it

	with NameServer({"mail.test": ["127.0.0.1"],
			 "_imap._tcp.test": [(10, 60, 143, "mail.test")]}) as dns:
		... dns.port ...

A name has addresses, or the (priority, weight, port, target) of SRV records;
an IPv6 question gets an empty answer.  names may be changed while it runs;
None for a name means silence.
"""
import socket
import struct
import threading


def _labels(message, at):
    """(name, offset behind it) of an uncompressed name."""
    parts = []
    while message[at]:
        parts.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(parts).lower(), at + 1


def _record(entry):
    """(type, data) of an address or an SRV tuple."""
    if isinstance(entry, str):
        return 1, socket.inet_aton(entry)
    *numbers, target = entry
    labels = b"".join(bytes([len(part)]) + part.encode()
                      for part in target.rstrip(".").split(".") if part)
    return 33, struct.pack("!HHH", *numbers) + labels + b"\0"


class NameServer:
    def __init__(self, names, ttl=1):
        self.names, self.ttl = dict(names), ttl
        self.asked = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._sock.close()

    _stop = False

    def _serve(self):
        while not self._stop:
            message, peer = self._sock.recvfrom(4096)
            if len(message) < 17:
                continue
            answer = self._answer(message)
            if answer:
                self._sock.sendto(answer, peer)

    def _answer(self, message):
        name, end = _labels(message, 12)
        kind, = struct.unpack("!H", message[end:end + 2])
        question = message[12:end + 4]
        self.asked.append((name, kind))
        known = self.names.get(name, ())
        if known is None:
            return None
        code = 0 if name in self.names else 3		# NXDOMAIN
        records = [b"\xc0\x0c" + struct.pack("!HHIH", its, 1, self.ttl,
                                             len(data)) + data
                   for its, data in map(_record, known) if its == kind]
        return message[:2] + struct.pack(
            "!HHHHH", 0x8180 | code, 1, len(records), 0, 0) + question \
            + b"".join(records)
