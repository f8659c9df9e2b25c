# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""The operator's socket and weirctl"""
import contextlib
import grp
import json
import os
import pathlib
import pwd
import random
import select
import shutil
import signal
import socket
import stat
import subprocess

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.console import WEIRCTL, Console, ask, socket_of, weirctl
from harness.imap import Imap
from harness.mailweir import ACCOUNT, Mailweir, environment, run
from harness.procs import alive, must_see_into, wait_until

LOOKS = ["status", "backends", "sessions", "who", "help",
         "route jan@example.org 192.0.2.1"]


@pytest.fixture
def console_conf(conf, mail):
    def make(**sections):
        sections.setdefault("admin", "socket = admin.sock")
        return conf(backend("d1", mail.d1.plain),
                    backend("d2", mail.d2.plain, "weight = 50"), **sections)
    return make


@pytest.fixture
def w(weir, console_conf):
    return weir(console_conf())


@pytest.fixture
def clients():
    """clients(w, user) logs in; all are closed after the test."""
    with contextlib.ExitStack() as stack:
        def login(w, user):
            c = stack.enter_context(Imap(w.imaps, tls=True))
            c.login(user)
            return c
        yield login


def scalars(value):
    if isinstance(value, dict):
        value = value.values()
    if not isinstance(value, (list, type({}.values()))):
        return [{True: "yes", False: "no"}[value] if isinstance(value, bool)
                else "-" if value in (None, "") else str(value)]
    return sum((scalars(x) for x in value), [])


def counts(w):
    return {x["session"] for x in ask(w, "sessions")}


# what it shows

def test_text_and_json_say_the_same(w, clients, new_user):
    for _ in range(3):
        clients(w, new_user())
    with Console(socket_of(w)) as c:
        for request in LOOKS:
            lines, end = c.request(request)
            assert end == "= ok" and lines
            data, end = c.request(request + " --json")
            assert end == "= ok"
            text = "\n".join(lines)
            for value in scalars(json.loads("\n".join(data))):
                # what counts the seconds may have gone on
                assert value in text or value.isdigit(), (request, value)


def test_status(w, clients, new_user):
    clients(w, new_user())
    said = ask(w, "status")
    assert said["serving"] and not said["stopping"]
    assert said["generation"] == 1 and said["control_pid"] == w.control()
    assert said["users"] == said["sessions"] == 1
    assert said["logins_waiting"] == 0 and said["uptime_s"] >= 0
    assert [x["pid"] for x in said["workers"]] == w.workers()
    assert sum(x["sessions"] for x in said["workers"]) == 1
    text = weirctl(w, "status").stdout
    assert "INDEX" in text and f"control_pid      {w.control()}" in text


def test_backends(w, clients, mail, new_user):
    user = new_user()
    clients(w, user), clients(w, user)
    where = "d1" if mail.of(user) is mail.d1 else "d2"
    d1, d2 = ask(w, "backends")
    assert (d1["name"], d2["name"]) == ("d1", "d2")
    assert d1["pools"] == ["main"] and d2["weight"] == 50
    assert d1["address"] == f"127.0.0.1:{mail.d1.plain}"
    assert d1["connects_to"] == [d1["address"]]
    assert "IMAP4rev1" in {"d1": d1, "d2": d2}[where]["capabilities"]
    for one in (d1, d2):
        assert (one["sessions"], one["users"]) == \
            ((2, 1) if one["name"] == where else (0, 0))


def test_sessions_and_who(w, clients, mail, new_user):
    users = sorted(new_user() for _ in range(12))
    for user in users:
        clients(w, user)
    twice = users[3]
    clients(w, twice)
    rows = ask(w, "sessions")
    assert sorted(x["user"] for x in rows) == sorted([*users, twice])
    assert len({x["session"] for x in rows}) == 13
    assert {x["client"] for x in rows} == {"127.0.0.1"}
    assert {x["worker"] for x in rows} <= {0, 1}
    logged = w.lines(event="login", user=twice)
    assert {x["s"] for x in logged} == \
        {x["session"] for x in ask(w, "sessions", twice.upper())}
    of_d1 = ask(w, "sessions", "--backend", "d1")
    assert of_d1 == [x for x in rows if x["backend"] == "d1"]
    assert 0 < len(of_d1) < 13
    assert ask(w, "sessions", "--limit", 5) == rows[:5]
    assert ask(w, "sessions", "--backend=d1", "--limit=1") == of_d1[:1]
    assert ask(w, "sessions", "nobody@example.org") == []
    who = ask(w, "who")
    assert [x["user"] for x in who if x["sessions"] == 2] == [twice]
    assert sorted(x["user"] for x in who) == users
    assert [x["user"] for x in ask(w, "who", twice[:-1] + "?")] == [twice]
    assert ask(w, "who", "~user[0-9]+@example\\.org") == who
    assert ask(w, "who", "*@example.net") == []
    assert {x["backend"] for x in who} == {"d1", "d2"}


def test_route(w, clients, new_user, mail):
    user = new_user()
    said = ask(w, "route", user.upper(), "192.0.2.1")
    assert [x["stage"] for x in said][0] == "auth"
    assert any("pool main" in x["what"] for x in said)
    clients(w, user)
    where = "d1" if mail.of(user) is mail.d1 else "d2"
    assert where in said[-1]["what"]
    assert ask(w, "route", user, "2001:db8::1", "imaps")
    for bad, word in ((("192.0.2.x",), "192.0.2.x"),
                      (("::1", "nowhere"), "listener")):
        done = weirctl(w, "route", user, *bad)
        assert done.returncode and word in done.stderr


# what it changes

def test_kick(w, clients, new_user):
    user, other = new_user(), new_user()
    mine = [clients(w, user) for _ in range(3)]
    theirs = clients(w, other)
    mine[0].ok("SELECT INBOX")
    mine[0].send("i IDLE\r\n")
    while not mine[0].line().startswith("+"):
        pass
    first = w.lines(event="login", user=user)[1]["s"]
    assert ask(w, "kick", "--session", first) == {"ended": 1}
    assert b"* BYE [UNAVAILABLE]" in mine[1].eof()
    wait_until(lambda: first not in counts(w), "its end")
    assert ask(w, "kick", "--session", first) == {"ended": 0}
    assert ask(w, "kick", user.upper()) == {"ended": 2}
    for c in (mine[0], mine[2]):
        assert b"* BYE [UNAVAILABLE]" in c.eof()
    theirs.ok("NOOP")
    assert len(w.lines(event="close", reason="kicked")) == 3
    wait_until(lambda: len(counts(w)) == 1, "their release")
    assert ask(w, "kick", user) == {"ended": 0}
    orders = w.lines(event="order", uid=os.geteuid())
    assert [x["what"] for x in orders][-1] == f"kick {user}"


def test_kick_of_a_backend(w, clients, new_user):
    """All of it at once, and nobody else's; in mid-command it waits."""
    for _ in range(40):
        clients(w, new_user())
    rows = ask(w, "sessions")
    n = len([x for x in rows if x["backend"] == "d1"])
    assert 0 < n < 40
    assert ask(w, "kick", "--backend", "d1") == {"ended": n}
    wait_until(lambda: len(ask(w, "sessions")) == 40 - n, "the ends")
    assert not ask(w, "sessions", "--backend", "d1")
    assert len(w.lines(event="close", reason="kicked")) == n


def test_kick_that_cannot_wait(weir, conf):
    """A command that never ends: only --now ends it."""
    def script(c):
        c.greet()
        c.login()
        c.command()
        c.send("* 1 FETCH (BODY[] {10}\r\n01234")
        c.hang()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port),
                      admin="socket = admin.sock"))
        with Imap(w.imaps, tls=True) as c:
            c.login("jan")
            c.send("f FETCH 1 BODY[]\r\n")
            assert c.line() == "* 1 FETCH (BODY[] {10}"
            assert c.read(5) == b"01234"
            assert ask(w, "kick", "jan") == {"ended": 1}
            assert len(ask(w, "sessions", "jan")) == 1
            assert not w.lines(event="close")
            assert ask(w, "kick", "jan", "--now") == {"ended": 1}
            assert c.eof() == b""	# no BYE inside a literal
            w.wait_log(event="close", reason="kicked")


def test_arguments_are_exact(w):
    """Nothing is guessed: trap 9."""
    for words, said in (
            (["kik", "jan"], 'did you mean "kick"'),
            (["KICK", "jan"], "unknown verb"),
            (["ki", "jan"], "unknown verb"),
            (["frobnicate"], "help lists all"),
            (["kick"], "missing: USER | --session ID | --backend NAME;"),
            (["kick", "jan", "--backend", "d1"], "only one"),
            (["kick", "--back", "d1"], "unknown option --back"),
            (["kick", "--session", "12"], "16 hexadecimal digits"),
            (["kick", "--session", "00000000000000FF"], "hexadecimal"),
            (["sessions", "--limit", "0"], "expected a number from 1"),
            (["shutdown", "--grace", "soon"], "expected a duration"),
            (["status", "now"], "one argument too many"),
            (["who", "~("], "("),
            (["kick", "@"], "no user's name"),
            (["help", "kik"], "kik")):
        done = weirctl(w, *words)
        assert done.returncode == 2, (words, done)
        assert said in done.stderr and not done.stdout
        done = weirctl(w, "--json", *words, options=["-s", socket_of(w), "-j"])
        assert done.returncode == 2
    done = weirctl(w, "kick", "--backend", "d3", "--json")
    assert done.returncode == 1
    assert 'did you mean "d1"' in json.loads(done.stdout)["error"]
    assert w.running() and len(w.workers()) == 2


@pytest.mark.parametrize("name", ['jan "j" smit@x', "a b", "\\", "--json",
                                  "= ok", "jörg", "$(id)", "%n%s"])
def test_any_name_can_be_said(w, name):
    assert ask(w, "sessions", "--", name) == []
    done = weirctl(w, "kick", "--", name)
    assert done.returncode == 0, done.stderr


def test_reload(w, console_conf, clients, mail, new_user):
    user = new_user()
    living = clients(w, user)
    good = w.conf.read_text()
    w.write_conf(good.replace("weight = 50", "weight = 70"))
    assert ask(w, "reload") == {"generation": 2}
    assert ask(w, "backends")[1]["weight"] == 70
    # refused, with place and reason; the old one stays
    w.write_conf(good + "\nnonsense = 1\n")
    done = weirctl(w, "reload")
    assert done.returncode == 1 and "nonsense" in done.stderr
    assert f"proxy.conf:{len(good.splitlines()) + 2}: " in done.stderr
    assert ask(w, "status")["generation"] == 2
    assert ask(w, "backends")[1]["weight"] == 70
    # two at once: each has its own answer
    w.write_conf(good)
    with Console(socket_of(w)) as a, Console(socket_of(w)) as b:
        a.send("reload --json\n")
        b.send("reload --json\n")
        said = [json.loads(c.answer()[0][0])["generation"] for c in (a, b)]
    assert sorted(said) == [3, 4]
    orders = w.lines(event="order", what="reload")
    assert len([x for x in orders if "refused" not in x]) == 4
    assert len(orders) == 5     # one was in vain
    living.ok("NOOP")


def test_client_that_does_not_wait_for_its_answer(w):
    """A worker that hangs holds a reload up; whoever asked leaves."""
    must_see_into(w.control())
    fds = f"/proc/{w.control()}/fd"
    stopped = w.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        before = len(os.listdir(fds))
        for _ in range(3):
            with Console(socket_of(w)) as c:
                c.send("reload\n")
        wait_until(lambda: len(os.listdir(fds)) == before,
                   "control to notice")
        with Console(socket_of(w)) as c:
            c.send("reload\n")
            assert ask(w, "status")["serving"]
            os.kill(stopped, signal.SIGCONT)
            assert c.answer()[1] == "= ok"
    finally:
        os.kill(stopped, signal.SIGCONT)


def test_idle_clients(weir, console_conf):
    """They go; one that waits for us stays."""
    w = weir(console_conf(admin="socket = admin.sock\n client_timeout = 1s"))
    stopped = w.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        with Console(socket_of(w)) as waiting, Console(socket_of(w)) as deaf, \
                Console(socket_of(w)) as idle:
            waiting.send("reload\n")
            deaf.send("help --json\n" * 2000)
            assert idle.request("status")[1] == "= ok"
            assert idle.answer()[1] == "= error: no request for too long"
            assert idle.file.read(1) == b""
            poll = select.poll()
            poll.register(deaf.sock, select.POLLHUP)
            wait_until(lambda: poll.poll(0), "its end")
            with pytest.raises((EOFError, OSError)):
                for _ in range(2000):
                    deaf.answer()
            os.kill(stopped, signal.SIGCONT)
            assert waiting.answer()[1] == "= ok"
    finally:
        os.kill(stopped, signal.SIGCONT)


# what is kept

def test_state_file(weir, console_conf, tmp):
    """Its folder is control's; what is not as it was written is put aside."""
    folder = tmp / "state"
    conf = console_conf(admin='socket = admin.sock\n'
                        f' state_file = "{folder}/orders"')
    w = weir(conf)
    st, who = folder.stat(), pathlib.Path(f"/proc/{w.control()}").stat()
    assert stat.S_IMODE(st.st_mode) == 0o700
    uid = pwd.getpwnam(ACCOUNT).pw_uid if os.geteuid() == 0 else os.geteuid()
    assert st.st_uid == uid, who
    orders = folder / "orders"
    orders.write_text('mailweir-state 1\nbackend "d1" state "drain"\n')
    if os.geteuid() == 0:
        os.chown(orders, uid, -1)
    os.kill(w.control(), signal.SIGKILL)
    line = w.wait_log(event="state_file", level="error")
    assert "orders:3: the file was cut" in line["why"]
    aside, = folder.iterdir()
    assert aside.name.startswith("orders.bad-")
    assert "drain" in aside.read_text()
    wait_until(lambda: ask(w, "status")["serving"], "serving")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives away")
def test_state_file_in_a_folder_of_others(console_conf, tmp):
    folder = tmp / "others"
    folder.mkdir()
    path = tmp / "proxy.conf"
    path.write_text(str(console_conf(
        admin=f'state_file = "{folder}/orders"')))
    done = run("-c", path)
    assert done.returncode == 1 and "admin.state_file" in done.stderr
    assert "belongs to account 0" in done.stderr
    assert folder.stat().st_uid == 0


def test_shutdown(w, clients, user):
    c = clients(w, user)
    assert ask(w, "shutdown", "--grace", "3s") == {"grace_s": 3}
    assert b"* BYE" in c.eof()
    assert w.process.wait() == 0
    assert w.lines(event="stop", grace="3000 ms")
    assert not socket_of(w).exists()


# processes

def test_control_killed(w, clients, new_user):
    """The console is back, with the sessions that live."""
    for _ in range(5):
        clients(w, new_user())
    before, started = counts(w), ask(w, "status")["started"]
    old = w.control()
    with Console(socket_of(w)) as c:
        assert c.request("status")[1] == "= ok"
        os.kill(old, signal.SIGKILL)
        with pytest.raises((EOFError, OSError)):
            c.request("status")
    # the parent holds the socket: who comes now is only late
    said = wait_until(
        lambda: (lambda s: s["serving"] and s)(ask(w, "status")), "serving")
    assert said["control_pid"] != old and said["started"] == started
    assert counts(w) == before


def test_reload_moves_the_socket(w):
    def with_socket(settings):
        return text.replace("socket = admin.sock", settings)

    text = w.conf.read_text()
    other = w.dir / "made" / "other.sock"
    w.write_conf(with_socket("socket = made/other.sock\n mode = 0600"))
    with Console(socket_of(w)) as c:
        c.send("reload\n")
        assert c.answer()[1] == "= ok"	# who is here may stay
        assert not socket_of(w).exists()
        assert c.request("status")[1] == "= ok"
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
    done = weirctl(w, "status", options=["-c", w.conf])
    assert done.returncode == 0, done.stderr
    w.write_conf(with_socket(""))
    w.reload()
    assert not other.exists()
    assert weirctl(w, "status", options=["-s", other]).returncode == 2
    w.write_conf(text)
    w.reload()
    # what somebody has taken away is put there again
    socket_of(w).unlink()
    w.reload()
    assert ask(w, "status")["serving"]


def test_a_refused_reload_keeps_the_socket(w):
    text = w.conf.read_text()
    (w.dir / "file").write_text("precious")
    for settings, word in (
            ("socket = file", "no socket"),
            ("socket = admin.sock\n mode = 0999", "0999"),
            (f"socket = {'x' * 120}", "too long"),
            ("socket = other.sock\n group = no-such-group", "no-such-group"),
            ("socket = no/such/folder", "No such file")):
        w.write_conf(text.replace("socket = admin.sock", settings))
        done = weirctl(w, "reload")
        assert done.returncode == 1 and word in done.stderr, done
    # also when it is the rest that is bad
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        w.write_conf(text.replace("admin.sock", "other.sock") + (
            f'listener x {{ address = "127.0.0.1:{port}"\n tls = none }}\n'))
        done = weirctl(w, "reload")
        assert done.returncode == 1 and "in use" in done.stderr
    assert (w.dir / "file").read_text() == "precious"
    assert sorted(x.name for x in w.dir.glob("*.sock*")) == ["admin.sock"]
    w.write_conf(text)
    assert ask(w, "reload")["generation"] == 2


# who may

def test_rights_of_the_socket(weir, console_conf, tmp):
    group = grp.getgrgid(os.getegid() if os.geteuid() else 1)
    w = weir(console_conf(admin=f"socket = admin.sock\n mode = 0620\n"
                          f" group = {group.gr_name}"))
    st = socket_of(w).stat()
    assert stat.S_IMODE(st.st_mode) == 0o620
    assert (st.st_uid, st.st_gid) == (os.geteuid(), group.gr_gid)
    assert ask(w, "status")["serving"]
    if os.geteuid() == 0:
        program = tmp / "weirctl"
        shutil.copy(WEIRCTL, program)
        program.chmod(0o755)
        done = subprocess.run(
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
             program, "-s", socket_of(w), "status"], capture_output=True,
            text=True, env=environment(), check=False)
        assert done.returncode == 2 and "Permission denied" in done.stderr


def test_a_dead_socket_is_replaced_and_a_living_one_is_not(
        weir, console_conf, tmp):
    path = tmp / "admin.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))		# and nobody listens
    w = weir(console_conf(admin=f'socket = "{path}"'))
    assert weirctl(w, "status", options=["-s", path]).returncode == 0
    second = tmp / "second.conf"
    second.write_text(str(console_conf(admin=f'socket = "{path}"')))
    done = run("-c", second)
    assert done.returncode == 1 and "another process" in done.stderr
    w.signal(signal.SIGKILL)
    w.expected_exit = -signal.SIGKILL
    w.process.wait()
    children = w.process.members()
    wait_until(lambda: not [x for x in children if alive(x)], "their end")
    assert path.exists()
    third = weir(console_conf(admin=f'socket = "{path}"'))
    assert weirctl(third, "status", options=["-s", path]).returncode == 0


def test_no_socket_unless_it_is_set(weir, console_conf):
    w = weir(console_conf(admin=""))
    assert not [x for x in w.dir.iterdir()
                if stat.S_ISSOCK(x.stat().st_mode) and x.name != "notify"]
    done = weirctl(w, "status")
    assert done.returncode == 2 and "is the proxy running" in done.stderr
    done = weirctl(w, "status", options=["-c", w.conf])
    assert done.returncode == 2 and "not set" in done.stderr


# bad guests

def test_bytes_that_are_no_request(w):
    rng = random.Random(5)
    for data in (b"\0\n", b"\xff\xfe\n", b"status\0\n", b"\x1b[2J\n",
                 b'kick "a\n', b'kick "a\\x"\n', b"status \x7f\n",
                 b"GET / HTTP/1.1\r\n"):
        with Console(socket_of(w)) as c:
            c.send(data)
            lines, end = c.answer()
            assert end.startswith("= usage: ") and not lines, end
            assert end.isprintable()
            assert c.request("status")[1] == "= ok"
    for _ in range(50):
        with Console(socket_of(w)) as c, contextlib.suppress(OSError):
            c.send(rng.randbytes(rng.randrange(1, 9000)))
    with Console(socket_of(w)) as c:
        c.send(b"x" * 4096)
        c.send(b"x" * 4096)
        assert c.answer()[1] == "= usage: the line is too long"
        assert c.file.read(1) == b""
    with Console(socket_of(w)) as c:	# all at once, and in pieces
        c.send(b"\n\r\nstatus\r\nhelp --json\nwho\nsta")
        assert [c.answer()[1] for _ in range(3)] == ["= ok"] * 3
        c.send(b"tus")
        c.send(b"\n")
        assert c.answer()[1] == "= ok"
    assert ask(w, "status")["control_pid"] == w.control()
    assert len(w.lines(event="child_end")) == 0


def test_client_that_says_no_more_is_answered(w):
    """printf | nc: the end of the requests is not the end of the wish."""
    for data in (b"status\nwho", b"status\nwho\n"):
        with Console(socket_of(w)) as c:
            c.send(data)
            c.sock.shutdown(socket.SHUT_WR)
            assert c.answer()[1] == "= ok"
            assert c.answer()[1] == "= ok"
            assert c.file.read(1) == b""


def test_client_that_does_not_read(w):
    """It is not read from either, and costs little."""
    with Console(socket_of(w)) as c:
        c.sock.setblocking(False)
        sent = 0

        def is_full():
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                for _ in range(100):
                    sent += c.sock.send(b"help --json\n" * 100)
                return False
            return True
        wait_until(lambda: is_full() and is_full(), "back-pressure")
        assert sent < 4 << 20
        assert ask(w, "status")["serving"]
        c.sock.settimeout(20)
        for _ in range(200):
            assert c.answer()[1] == "= ok"


def test_many_clients(w):
    with contextlib.ExitStack() as stack:
        def come():
            return stack.enter_context(Console(socket_of(w)))
        guests = [come() for _ in range(64)]
        for c in guests:
            assert c.request("status")[1] == "= ok"
        assert come().answer()[1] == "= error: too many clients"
        guests.pop().__exit__()
        wait_until(lambda: weirctl(w, "status").returncode == 0, "room")


# the client itself

def test_weirctl_help(w):
    done = weirctl(w, options=["--help"])
    assert done.returncode == 0
    for row in ask(w, "help"):
        assert f"  {row['verb']} {row['takes']}".rstrip() in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 80
    done = weirctl(w, options=[])
    assert done.returncode == 2 and "usage" in done.stderr


def test_weirctl_takes_the_socket_from_a_configuration(w, tmp):
    """Without what only root may read: keys, and files that are gone."""
    text = w.conf.read_text()
    part = w.dir / "part.conf"
    part.write_text("admin { socket = admin.sock }\n")
    key = next(x for x in text.splitlines() if "key =" in x)
    other = w.dir / "other.conf"
    other.write_text(text.replace("socket = admin.sock", "").replace(
        key, 'key = "/no/such/key"').replace("admin {", "#").replace(
        "log {", 'include("part.conf")\nlog {', 1).replace("#\n  \n}", ""))
    done = weirctl(w, "status", options=["-c", other])
    assert done.returncode == 0, done.stderr
    done = weirctl(w, "status", options=["-c", tmp / "missing.conf"])
    assert done.returncode == 2 and "missing.conf" in done.stderr
    done = weirctl(w, "status", options=["-c", other, "-s", "x"])
    assert done.returncode == 2
    assert pathlib.Path(w.dir / "admin.sock").exists()


def test_runs_where_nobody_may_bind(console_conf, tmp):
    done = Mailweir(tmp / "weir", str(console_conf(
        admin="socket = /proc/no/admin.sock")))
    done.process.start()
    assert done.process.wait() == 1
    assert "admin.socket" in done.log()
    done.kill()
