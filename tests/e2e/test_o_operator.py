# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""What the operator does: check, start, reload, stop"""
import contextlib
import fcntl
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.imap import Imap, tls_context
from harness.mailweir import PROGRAM, ROOT, Mailweir, run
from harness.procs import free_port, wait_until


@pytest.fixture
def check(tmp):
    """-t on a text: (exit status, what it said)."""
    def do(text):
        path = tmp / "proxy.conf"
        path.write_text(str(text))
        done = run("-t", "-c", path)
        return done.returncode, done.stdout + done.stderr
    return do


# the command line

def test_help_and_version():
    done = run("--help")
    assert done.returncode == 0
    for option in ("-c", "-t", "-T", "-V"):
        assert option in done.stdout
    done = run("-V")
    assert done.returncode == 0
    for library in ("OpenSSL", "libev", "ares", "onfuse", "msgpack", "PCRE",
                    "LMDB", "hiredis"):
        assert library.lower() in done.stdout.lower(), library
    done = run("--nonsense")
    assert done.returncode not in (0, -6, -11)


def test_good_configuration(check, conf):
    assert check(conf(backend("d1", 143)))[0] == 0


@pytest.mark.parametrize("settings,line,words", [
    (dict(limits="login_timeout = soon"), "login_timeout = soon",
     ["login_timeout", "duration"]),
    (dict(limits="login_timeuot = 5s"), "login_timeuot",
     ["login_timeuot", "login_timeout"]),
    (dict(limits="line = 1g"), "line = 1g", ["line"]),
    (dict(relay="mode = frame"), "mode = frame", ["framed", "opaque"]),
    (dict(relay="idle_timeout = -1s"), "idle_timeout", ["idle_timeout"]),
    (dict(more="listner x {\n}"), "listner", ["listner", "listener"]),
    (dict(auth="mechanisms = { PLAIN, CRAM-MD5 }"), "mechanisms",
     ["CRAM-MD5"]),
    (dict(pool="balance = least"), "balance", ["balance", "user-hash"]),
    (dict(routes="route { pool = mian }"), "route {", ["mian"]),
    (dict(routes='route { user = "~(" pool = main }'), "route {", ["user"]),
    (dict(routes='route { network = { "10.0.0.0/33" } pool = main }'),
     "route {", ["network"]),
    (dict(more="backend dup {\n  address = \"nonsense\"\n}"),
     'address = "nonsense"', ["address"]),
    (dict(auth="backend_login = master"), "backend_login", ["master"]),
    (dict(tls='client_ca = "/no/such/file"'), "client_ca",
     ["client_ca", "/no/such/file"]),
])
def test_bad_configuration_says_where_and_what(check, conf, settings, line,
                                               words):
    text = str(conf(backend("d1", 143), **settings))
    status, said = check(text)
    assert status == 1, said
    number = next(n for n, t in enumerate(text.splitlines(), 1) if line in t)
    # the line itself, or that of its section
    assert "proxy.conf:" in said
    told = int(said.split("proxy.conf:")[1].split(":")[0])
    assert abs(told - number) <= 6, said
    for word in words:
        assert word in said, said


def test_syntax_error(check, conf):
    status, said = check(str(conf(backend("d1", 143))) + "\npool {{{\n")
    assert status == 1 and "proxy.conf:" in said


def test_missing_certificate_is_named(check, conf):
    text = str(conf(backend("d1", 143)))
    cert = text.split('certificate = "')[1].split('"')[0]
    status, said = check(text.replace(cert, "/no/such.pem"))
    assert status == 1 and "/no/such.pem" in said


def test_key_that_does_not_fit(check, conf, ca):
    other = ca.issue("misfit.test", "DNS:misfit.test")
    text = str(conf(backend("d1", 143)))
    key = text.split('key = "')[1].split('"')[0]
    status, said = check(text.replace(key, str(other[1])))
    assert status == 1 and "key" in said


def test_settings_in_force(conf, tmp):
    path = tmp / "proxy.conf"
    path.write_text(str(conf(backend("d1", 143), limits="line = 2k")))
    done = run("-T", "-c", path)
    assert done.returncode == 0, done.stderr
    assert "login_timeout" in done.stdout and "bad_commands" in done.stdout
    lines = [x for x in done.stdout.splitlines() if "line =" in x]
    assert any("proxy.conf:" in x for x in lines), lines
    lines = [x for x in done.stdout.splitlines() if "bad_commands" in x]
    assert any("default" in x for x in lines), lines
    # what it prints is a configuration
    again = tmp / "again.conf"
    again.write_text(done.stdout)
    done = run("-t", "-c", again)
    assert done.returncode == 0, done.stderr


def test_example_configuration_is_good(front, tmp):
    """proxy.conf at the top of the tree, with certificates in place."""
    (tmp / "tls").mkdir()
    for path, name in zip(front, ("cert.pem", "key.pem")):
        (tmp / "tls" / name).write_bytes(path.read_bytes())
    (tmp / "proxy.conf").write_text((ROOT / "proxy.conf").read_text())
    done = run("-t", "-c", tmp / "proxy.conf")
    assert done.returncode == 0, done.stdout + done.stderr


def test_start_with_a_bad_configuration(tmp):
    path = tmp / "proxy.conf"
    path.write_text("nonsense = 1\n")
    done = run("-c", path)
    assert done.returncode == 1 and "proxy.conf:1" in done.stderr
    done = run("-c", tmp / "missing.conf")
    assert done.returncode == 1 and "missing.conf" in done.stderr


def test_start_on_a_port_that_is_taken(conf, tmp):
    c = conf(backend("d1", 143))
    with socket.create_server(("127.0.0.1", c.imaps)):
        path = tmp / "proxy.conf"
        path.write_text(str(c))
        done = run("-c", path)
        assert done.returncode == 1
        assert str(c.imaps) in done.stderr


# reload

def test_reload_keeps_sessions(weir, conf, mail, user, new_user):
    c = conf(backend("d1", mail.d1.plain))
    w = weir(c)
    with Imap(w.imaps, tls=True) as old:
        old.login(user)
        old.ok("SELECT INBOX")
        c.backends[:] = [backend("d2", mail.d2.plain)]
        c.sections["limits"] = "bad_commands = 2"
        w.write_conf(str(c))
        line = w.reload()
        assert line["level"] == "info", line
        assert w.told().count("READY=1") == 2 and "RELOADING=1" in w.told()
        other = new_user()
        with Imap(w.imaps, tls=True) as new:
            new.login(other)
        mail.d2.wait_login(other)
        assert not mail.d1.logins(other)
        with Imap(w.imaps, tls=True) as new:
            new.send("a X\r\nb X\r\nc X\r\n")
            assert new.eof().count(b"BAD") == 2
        old.ok("NOOP")
        assert old.append(b"Subject: x\r\n\r\n").startswith("OK")


def test_reload_takes_new_certificates(weir, conf, mail, ca, tmp):
    files = tmp / "cert.pem", tmp / "key.pem"

    def install(name):
        for source, target in zip(ca.issue(name, f"DNS:{name}"), files):
            target.write_bytes(source.read_bytes())

    def subject():
        with Imap(w.imaps, tls=tls_context(ca.cert)) as i:
            return dict(x[0] for x in i.sock.getpeercert()["subject"])[
                "commonName"]
    install("one.test")
    c = conf(backend("d1", mail.d1.plain))
    c.front = files
    w = weir(c)
    assert subject() == "one.test"
    install("two.test")
    w.reload()
    assert subject() == "two.test"
    # unreadable: the old one stays
    files[0].write_text("rubbish")
    line = w.reload()
    assert line["level"] in ("warn", "error")
    assert subject() == "two.test"


def test_bad_reload_is_refused(weir, conf, mail, user):
    w = weir(conf(backend("d1", mail.d1.plain)))
    good = w.conf.read_text()
    w.write_conf(good + "\nnonsense = 1\n")
    line = w.reload()
    assert line["level"] in ("warn", "error") and "nonsense" in str(line)
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
    w.write_conf(good)
    assert w.reload()["level"] == "info"
    with Imap(w.imaps, tls=True) as c:
        c.login(user)


def test_reload_that_changes_what_cannot_be_changed_says_so(weir, conf, mail):
    c = conf(backend("d1", mail.d1.plain))
    w = weir(c)
    c.sections["workers"] = 3
    w.write_conf(str(c))
    w.reload()
    wait_until(lambda: "workers" in w.log(), "a word about workers")
    assert len(w.workers()) == 2


def test_reload_adds_and_removes_listeners(weir, conf, mail, user):
    c = conf(backend("d1", mail.d1.plain))
    w = weir(c)
    port = free_port()
    c.sections["more"] = (f'listener extra {{ address = "127.0.0.1:{port}"\n'
                          "tls = implicit certificates = { front } }\n")
    w.write_conf(str(c))
    w.reload()
    with Imap(port, tls=True) as i:
        i.login(user)
    c.sections["more"] = ""
    w.write_conf(str(c))
    w.reload()

    def refused():
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5).close()
            return False
        return True
    wait_until(refused, "the listener to be gone")
    with Imap(w.imaps, tls=True) as i:
        i.login(user)


def test_reload_under_load(weir, conf, mail, new_user):
    """No connection is lost to five reloads."""
    w = weir(conf(backend("d1", mail.d1.plain)))
    stop, errors, count = threading.Event(), [], [0]
    user = new_user()

    def clients():
        while not stop.is_set():
            try:
                with Imap(w.imaps, tls=True) as c:
                    c.login(user)
                    c.ok("LOGOUT")
                    count[0] += 1
            except (OSError, EOFError, AssertionError) as e:
                errors.append(repr(e))
                return
    thread = threading.Thread(target=clients)
    thread.start()
    for _ in range(5):
        w.reload()
        seen = count[0]
        wait_until(lambda n=seen: count[0] > n + 2 or errors, "logins")
    stop.set()
    thread.join()
    assert not errors


# stop

def test_sigterm_says_bye(weir, conf, mail, user, new_user):
    w = weir(conf(backend("d1", mail.d1.plain)))
    before = Imap(w.imaps, tls=True)
    inside = Imap(w.imaps, tls=True)
    inside.login(user)
    inside.ok("SELECT INBOX")
    idling = Imap(w.imaps, tls=True)
    idling.login(new_user())
    idling.ok("SELECT INBOX")
    idling.send("i IDLE\r\n")
    while not idling.line().startswith("+"):
        pass
    w.signal(signal.SIGTERM)
    for c in (before, inside, idling):
        assert b"* BYE" in c.eof()
    w.stop()
    assert len(w.lines(event="close", reason="shutdown")) == 3
    assert "STOPPING=1" in w.told()


def test_sigterm_lets_a_command_finish(weir, conf):
    """The BYE waits for the end of what is under way."""
    stopped = threading.Event()

    def fetch(c, tag, _):
        c.send("* 1 FETCH (BODY[] {10}\r\n01234")
        stopped.wait(20)
        c.send("56789)\r\n")
        c.reply(tag, "OK fetched")

    def script(c):
        c.greet()
        c.login()
        c.serve({"FETCH": fetch})

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port)))
        c = Imap(w.imaps, tls=True)
        c.login("jan")
        c.send("f FETCH 1 BODY[]\r\n")
        assert c.line() == "* 1 FETCH (BODY[] {10}"
        assert c.read(5) == b"01234"
        w.signal(signal.SIGTERM)

        def refused():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", w.imaps), 5).close()
                return False
            return True
        wait_until(refused, "the listener to be closed")
        stopped.set()
        assert c.read(5) == b"56789" and c.line() == ")"
        assert c.line() == "f OK fetched"
        assert b"* BYE" in c.eof()
        w.stop()


@pytest.mark.parametrize("mode", ["framed", "opaque"])
def test_sigterm_in_a_stream_that_is_not_followed(weir, conf, mail, user,
                                                  mode):
    """No BYE where it would be read as compressed data, and an end soon."""
    import zlib
    w = weir(conf(backend("d1", mail.d1.plain), relay=f"mode = {mode}"))
    c = Imap(w.imaps, tls=True)
    c.login(user)
    c.ok("SELECT INBOX")
    c.ok("COMPRESS DEFLATE")
    begin = time.monotonic()
    w.signal(signal.SIGTERM)
    said = c.eof()
    assert b"BYE" not in said
    zlib.decompressobj(-15).decompress(said)
    w.stop()
    assert time.monotonic() - begin < 10


def hang_in_literal(c):
    c.greet()
    c.login()
    c.command()
    c.send("* 1 FETCH (BODY[] {10}\r\n01234")
    c.hang()


def stuck(w):
    c = Imap(w.imaps, tls=True)
    c.login("jan")
    c.send("f FETCH 1 BODY[]\r\n")
    c.line()
    assert c.read(5) == b"01234"
    return c


def test_shutdown_grace_has_an_end(weir, conf):
    with Peer(hang_in_literal) as peer:
        c = conf(backend("fake", peer.port))
        w = weir(str(c).replace("shutdown_grace = 5s", "shutdown_grace = 1s"))
        w.imaps = c.imaps
        client = stuck(w)
        begin = time.monotonic()
        w.stop()
        assert 0.7 < time.monotonic() - begin < 10
        client.close()


def test_second_sigterm_ends_at_once(weir, conf):
    with Peer(hang_in_literal) as peer:
        c = conf(backend("fake", peer.port))
        w = weir(str(c).replace("shutdown_grace = 5s", "shutdown_grace = 60s"))
        w.imaps = c.imaps
        client = stuck(w)
        begin = time.monotonic()
        w.signal(signal.SIGTERM)
        w.wait_told("STOPPING=1")
        w.signal(signal.SIGTERM)
        w.process.wait()
        assert time.monotonic() - begin < 10
        w.stop()
        client.close()


# systemd, logs

SYSTEMD = """#!/usr/bin/python3
# Puts two sockets at 3 and 4, as systemd does, and runs the program.
import os, sys
for target, name in ((3, "FD_A"), (4, "FD_B")):
    os.dup2(int(os.environ.pop(name)), target)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_sockets_of_systemd(conf, mail, user, tmp):
    """LISTEN_FDS: the sockets are there before us."""
    c = conf(backend("d1", mail.d1.plain))
    systemd = tmp / "systemd"
    systemd.write_text(SYSTEMD)
    systemd.chmod(0o755)
    with socket.create_server(("127.0.0.1", c.imaps)) as s, \
            socket.create_server(("127.0.0.1", c.imap)) as t:
        # above 9, lest one lies where the other goes
        fds = [fcntl.fcntl(x, fcntl.F_DUPFD, 60) for x in (s, t)]
        one = Mailweir(tmp / "weir", str(c), fds=fds, env={
            "FD_A": str(fds[0]), "FD_B": str(fds[1])})
        one.process.argv.insert(0, str(systemd))
        try:
            one.start()
            for fd in fds:
                os.close(fd)
            with Imap(c.imaps, tls=True) as i:
                i.login(user)
            with Imap(c.imap) as i:
                i.ok("NOOP")
            one.stop()
        finally:
            one.kill()


def test_json_log(weir, conf, mail, user, tmp):
    log = tmp / "mail.log"
    if os.geteuid() == 0:
        tmp.chmod(0o755)
    w = weir(conf(backend("d1", mail.d1.plain),
                  log=f'to = "{log}"\n  format = json'))
    with Imap(w.imaps, tls=True) as c:
        c.send('t LOGIN "a\\"b" x\r\n')
        c.finish("t")
        c.login(user)
    wait_until(lambda: '"event":"close"' in log.read_text(), "the close")
    lines = [json.loads(x) for x in log.read_text().splitlines()]
    assert [x for x in lines if x["event"] == "login" and x["user"] == user]
    assert [x for x in lines if x["event"] == "close"]


def test_log_file_is_reopened(weir, conf, mail, new_user, tmp):
    """logrotate: SIGHUP opens it anew."""
    log = tmp / "mail.log"
    w = weir(conf(backend("d1", mail.d1.plain), log=f'to = "{log}"'))
    log.rename(tmp / "mail.log.1")
    w.signal(signal.SIGHUP)
    wait_until(log.exists, "the new file")

    def logged():
        with Imap(w.imaps, tls=True) as c:
            c.login(new_user())
        return "event=login" in log.read_text()
    wait_until(logged, "a login in the new file", interval=0.1)


def test_runs_as_an_ordinary_user(conf, mail, user, tmp, front):
    """Where the tests run as root: as nobody, on ports that it may bind."""
    if os.geteuid() != 0:
        pytest.skip("the other tests do it")
    nobody = pwd.getpwnam("nobody")
    home = tmp / "home"
    c = conf(backend("d1", mail.d1.plain))
    home.mkdir()
    for path in front:
        shutil.copy(path, home / path.name)
    c.front = [home / path.name for path in front]
    one = Mailweir(home / "weir", str(c))
    program = tmp / "mailweir"
    shutil.copy(PROGRAM, program)
    program.chmod(0o755)
    for path in [home, *home.rglob("*")]:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    one.process.argv = ["setpriv", "--reuid=nobody", "--regid=nogroup",
                        "--clear-groups", str(program), "-c", str(one.conf)]
    try:
        one.start()
        with Imap(c.imaps, tls=True) as i:
            i.login(user)
        with open(f"/proc/{one.workers()[0]}/status", encoding="ascii") as f:
            assert f"Uid:\t{nobody.pw_uid}\t" in f.read()
        one.stop()
    finally:
        one.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has accounts to lose")
def test_without_an_account_nobody_serves(weir, conf, mail):
    """The default account is there after an installation only."""
    with contextlib.suppress(KeyError):
        pwd.getpwnam("mailweir")
        pytest.skip("this machine has the account")
    text = "\n".join(line for line in str(conf(backend("d1", mail.d1.plain)))
                     .splitlines() if not line.startswith("user ="))
    w = weir(text)
    w.wait_log(event="settings", level="warn")
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    for pid in sum(w.roles().values(), []):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^Uid:((\s+\d+)+)$", status,
                         re.M)[1].split() == [nobody] * 4


def test_an_account_that_is_not_there_is_refused(tmp, conf, mail):
    text = re.sub(r"^user =.*$", "user = no-such-account",
                  str(conf(backend("d1", mail.d1.plain))), flags=re.M)
    path = tmp / "proxy.conf"
    path.write_text(text)
    if os.geteuid() == 0:
        done = subprocess.run([PROGRAM, "-c", path], capture_output=True,
                              text=True, timeout=20)
        assert done.returncode == 1 and "no-such-account" in done.stderr
