#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""run_demo - make run: a working Mailweir before two real Dovecot servers

Makes a certificate, starts two Dovecots with users and mails and a Mailweir
before them, all on loopback in one private directory, prints lines to copy,
and waits.  Ctrl-C (or SIGTERM) ends all of it and removes the directory.  The
end-to-end tests use the same instruments.
"""
import os
import pathlib
import shutil
import signal
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
if len(sys.argv) > 1:
    os.environ["MAILWEIR"] = sys.argv[1]
sys.path.insert(0, str(HERE / "e2e"))

# pylint: disable=wrong-import-position
from harness.certs import Authority  # noqa: E402
from harness.conf import Conf, backend  # noqa: E402
from harness.dovecot import Dovecot  # noqa: E402
from harness.mailweir import PROGRAM, Mailweir  # noqa: E402
from harness.procs import free_port  # noqa: E402

USERS = ["alice@example.org", "bob@example.org", "carol@example.org"]
MAIL = b"Hello! This mail came through Mailweir from %s.\r\n"


class Ended(Exception):
    """Somebody wants this to end."""


def on_signal(*_):
    raise Ended


def make_dovecots(place, certificate):
    made = []
    for name in ("mail1", "mail2"):
        one = Dovecot(place / name, name, certificate, USERS)
        for user in USERS:
            one.deliver(user, MAIL % name.encode(), b"And a second one.\r\n")
        made.append(one)
    return made


def serve(place, started):
    ca = Authority(place / "ca", "Mailweir demo CA")
    front = ca.issue("localhost", "DNS:localhost", "IP:127.0.0.1")
    dovecots = make_dovecots(place, ca.issue(
        "backend.test", "DNS:backend.test", "IP:127.0.0.1"))
    for one in dovecots:
        started.append(one)
        one.start()
    mail1, mail2 = dovecots
    conf = Conf(
        front, free_port(), free_port(),
        backend("mail1", mail1.plain, "client_info = id"),
        backend("mail2", mail2.tls, "tls = implicit\n"
                f'  ca = "{ca.cert}"\n  client_info = id'),
        auth='default_domain = "example.org"', admin="socket = admin.sock")
    weir = Mailweir(place / "weir", str(conf))
    started.append(weir)
    weir.start()
    print(f"""
Mailweir serves imaps://127.0.0.1:{conf.imaps} and, with STARTTLS, \
imap://127.0.0.1:{conf.imap},
before two Dovecots. Users: {", ".join(USERS)}; password: secret.
Configuration, log and certificates: {weir.conf.parent}

Read a mail:   curl -k --user alice@example.org:secret \
'imaps://127.0.0.1:{conf.imaps}/INBOX;MAILINDEX=1'
Look inside:   {PROGRAM.with_name("weirctl")} -s \
{weir.conf.parent}/admin.sock status
Stop it all:   Ctrl-C, or: kill {os.getpid()}
""", flush=True)
    status = weir.process.popen.wait()
    raise SystemExit(f"run: Mailweir ended with {status}:\n{weir.log()}")


def main():
    if not PROGRAM.exists():
        return f"run: {PROGRAM} is not there: make first"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    place = pathlib.Path(tempfile.mkdtemp(prefix="mailweir-"))
    place.chmod(0o755)
    started = []
    try:
        serve(place, started)
    except Ended:
        print("\nrun: stopping", flush=True)
    finally:
        # a second Ctrl-C shall not leave anything behind
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for one in reversed(started):
            try:
                one.stop()
            except AssertionError as e:
                print(f"run: {e}", file=sys.stderr)
            one.kill()
        shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
