# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""How backends are found to be down, or doubtful, and how they come back"""
import concurrent.futures
import contextlib
import os
import select
import signal
import ssl
import threading
import time

import pytest

from conftest import USERS
from fake.peer import CAPABILITIES, Peer
from harness.conf import backend
from harness.console import ask
from harness.dovecot import Dovecot
from harness.imap import Imap, b64
from harness.procs import wait_until

pytestmark = pytest.mark.fault


def health(kind="greeting", more="", pool="keep_user_together = no"):
    """The pool's settings, with checks that are quick enough for tests; a
    session that has just ended keeps nobody."""
    return (f"health {{ type = {kind}  interval = 200ms\n"
            "    fast_interval = 100ms  timeout = 2s  rise = 2  fall = 3\n"
            f"    {more} }}\n  slow_start = 0\n  {pool}")


def answering(name):
    def script(c):
        c.greet()
        c.login(f"OK [CAPABILITY IMAP4rev1] this is {name}")
        c.serve()
    return script


def who(w, user):
    """The fake backend that serves this user, or the refusal."""
    with Imap(w.imaps, tls=True) as c:
        return c.command(f'LOGIN "{user}" secret')[1].rsplit("this is ")[-1]


def states(w, name=None):
    """[(from, to)] as the log tells."""
    return [(line["from"], line["to"])
            for line in w.lines(event="backend_state")
            if name in (None, line["backend"])]


@pytest.fixture(scope="module")
def own(place, backend_cert):
    one = Dovecot(place / "victim", "victim", backend_cert,
                  [*USERS, "probe"])
    yield one
    one.stop()


@pytest.fixture
def victim(own):
    """A real Dovecot to be ill-treated."""
    if not own.process or not own.process.running():
        own.start()
    return own


@pytest.fixture
def secret(tmp):
    def write(text):
        path = tmp / "probe.pw"
        path.write_text(text + "\n")
        path.chmod(0o644)
        return path
    return write


def login_check(path, user="probe"):
    return health("login", f'user = {user}  password_file = "{path}"', "")


def served(w, user):
    """The name of the real server that serves this user now."""
    before = len(w.lines(event="login", user=user))
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
        return w.wait_log(event="login", user=user,
                          count=before + 1)["backend"]


def placed(w, new_user, dovecot, n):
    """n users who are served by this Dovecot."""
    found = []
    for _ in range(50):
        if len(found) == n:
            return found
        user = new_user()
        if served(w, user) == dovecot.name:
            found.append(user)
    raise AssertionError(f"{dovecot.name} gets nobody:\n{w.log()[-3000:]}")


# real servers

def test_killed_and_back_again(weir, conf, mail, victim, new_user, secret):
    """Its users are elsewhere at once, and come back when it does."""
    w = weir(conf(backend("victim", victim.plain),
                  backend("d2", mail.d2.plain),
                  pool=login_check(secret("secret"))))
    # the check's user exists at the one only: the other refuses it, and
    # stays up all the same
    w.wait_log(event="check_refused", backend="d2", level="error")
    first, second = placed(w, new_user, victim, 2)
    with Imap(w.imaps, tls=True) as c:
        c.login(first)
        victim.kill()
        down = w.wait_log(event="backend_state", backend="victim", to="down")
        assert down["why"].startswith("connect: "), down
        assert down["from"] == "up" and float(down["after"]) > 0
        assert int(down["sessions"]) in (0, 1)
    failures = len(w.lines(event="backend_failed"))
    begin = time.monotonic()
    for user in (first, second):
        assert served(w, user) == "d2"
    assert time.monotonic() - begin < 2
    assert len(w.lines(event="backend_failed")) == failures
    victim.start()
    up = w.wait_log(event="backend_state", backend="victim", to="up")
    assert up["why"] == "2 good checks"
    assert served(w, second) == "victim"
    assert states(w) == [("up", "down"), ("down", "up")]
    assert len(w.lines(event="check_refused")) == 1


def test_stopped_accepts_and_never_greets(weir, conf, mail, victim, new_user):
    """The kernel accepts for it; users wait connect_timeout at most, and not
    at all when it is known."""
    w = weir(conf(
        backend("victim", victim.plain), backend("d2", mail.d2.plain),
        pool="health { interval = 1s  fast_interval = 500ms  timeout = 700ms"
        "  fall = 3  rise = 1 }\n  slow_start = 0\n  connect_timeout = 1s"))
    user, = placed(w, new_user, victim, 1)
    pids = victim.process.members()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert served(w, user) == "d2"
        assert time.monotonic() - begin < 8
        line = w.wait_log(event="backend_state", to="down")
        assert line["why"] == "timeout: no greeting in time", line
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    w.wait_log(event="backend_state", to="up")
    assert served(w, user) == "victim"


@pytest.mark.parametrize("settings,port", [
    ("client_info = proxy-v2", "haproxy"),
    ('tls = starttls\n  ca = "{ca}"\n  tls_name = backend.test', "plain"),
    ('tls = implicit\n  ca = "{ca}"\n  tls_name = backend.test', "tls")])
def test_login_check_goes_as_a_session_does(weir, conf, mail, ca, user,
                                            secret, settings, port):
    w = weir(conf(backend("d1", getattr(mail.d1, port),
                          settings.format(ca=ca.cert)),
                  pool=login_check(secret("secret"), user)))
    mail.d1.wait_login(user, 2)
    mail.d1.wait_log(f"imap\\({user}\\).*: Logged out")
    assert not w.lines(event="backend_state")
    assert "secret" not in w.log().replace("probe.pw", "")


def test_wrong_password_of_the_check(weir, conf, mail, user, secret):
    """It is told, once, and stops nobody's mail."""
    w = weir(conf(backend("d1", mail.d1.plain),
                  pool=login_check(secret("wrong"), user)))
    line = w.wait_log(event="check_refused", backend="d1", level="error")
    assert line["why"].startswith("auth-denied: "), line
    mail.d1.wait_log(f"(?s)(user=<{user}>.*){{4}}")
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
    assert len(w.lines(event="check_refused")) == 1
    assert not w.lines(event="backend_state")


def test_certificate_near_its_end(weir, conf, mail, ca):
    """Two days are left of it."""
    c = conf(backend("d1", mail.d1.tls, f'tls = implicit\n  ca = "{ca.cert}"'),
             pool=health("tls"))
    w = weir(c)
    line = w.wait_log(event="backend_certificate", backend="d1", level="warn")
    assert line["days"] in ("1", "2") and line["ends"].startswith("20")
    # a day's warning, not a check's
    seen = len(mail.d1.log().splitlines())
    wait_until(lambda: len(mail.d1.log().splitlines()) > seen + 2,
               "more checks")
    assert len(w.lines(event="backend_certificate")) == 1
    quiet = weir(conf(
        backend("d1", mail.d1.tls, f'tls = implicit\n  ca = "{ca.cert}"'),
        pool=health("tls", "certificate_warning = 1h")))
    seen = len(mail.d1.log().splitlines())
    wait_until(lambda: len(mail.d1.log().splitlines()) > seen + 2,
               "some checks")
    assert not quiet.lines(event="backend_certificate")


# servers that misbehave on demand

class Moody:
    """A fake backend whose mood can be changed: a script."""

    def __init__(self, name, mood=None):
        self.name, self.mood = name, mood
        self.peer = Peer(self._serve)
        self.port = self.peer.port

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        self.peer.__exit__(kind, *rest)

    def _serve(self, c):
        (self.mood or answering(self.name))(c)

    def logins(self):
        return len(self.peer.sessions())


def reset(c):
    c.reset()


def hang(c):
    c.hang()


def unavailable(c):
    """Fit for checks that do not log in, not for users."""
    c.greet()
    c.login("NO [UNAVAILABLE] no storage")
    c.hang()


@pytest.fixture
def two():
    with Moody("a") as a, Moody("b") as b:
        yield a, b


def users_of(w, name, n):
    """n users whose backend this is."""
    found, number = [], 0
    while len(found) < n:
        user = f"h{number}@example.org"
        number += 1
        if who(w, user) == name:
            found.append(user)
    return found


def make(weir, conf, two, pool):
    return weir(conf(*(backend(m.name, m.port) for m in two), pool=pool))


@pytest.mark.parametrize("mood,why", [
    (reset, "connect: "), (hang, "timeout: no greeting in time"),
    (lambda c: c.send("* BYE full\r\n"), "bye: backend said BYE: full"),
    (lambda c: c.send("220 SMTP\r\n"), "protocol: ")])
def test_a_sick_backend_is_found_by_checks(weir, conf, two, mood, why):
    # a short limit is for who hangs alone: a busy machine may reach it
    w = make(weir, conf, two, health().replace(
        "2s", "700ms" if mood is hang else "5s"))
    user, = users_of(w, "a", 1)
    two[0].mood = mood
    line = w.wait_log(event="backend_state", backend="a", to="down")
    assert line["why"].startswith(why) or (
        mood is reset and line["why"].startswith("closed: ")), line
    # nobody is sent there any more
    tried = two[0].logins()
    assert who(w, user) == "b"
    assert two[0].logins() == tried
    two[0].mood = None
    w.wait_log(event="backend_state", backend="a", to="up")
    assert who(w, user) == "a"
    assert states(w) == [("up", "down"), ("down", "up")]


def test_flapping_is_not_falling(weir, conf, two):
    """Never fall failures in a row: no change of state, and no line."""
    turns = []

    def flap(c):
        turns.append(c)
        if len(turns) % 3:
            c.reset()
        else:
            answering("a")(c)

    w = make(weir, conf, two, health())
    w.wait_log(event="serving")
    user, = users_of(w, "a", 1)
    two[0].mood = flap
    wait_until(lambda: len(turns) > 14, "checks")
    assert not w.lines(event="backend_state")
    two[0].mood = None
    assert who(w, user) == "a"


def test_all_down_is_refused_at_once(weir, conf):
    """Nobody waits for what is known to be dead."""
    with Moody("a", hang) as a, Moody("b", hang) as b:
        w = make(weir, conf, (a, b), health().replace("2s", "300ms"))
        w.wait_log(event="backend_state", backend="a", to="down")
        w.wait_log(event="backend_state", backend="b", to="down")
        begin = time.monotonic()
        assert who(w, "jan@example.org").startswith("NO [UNAVAILABLE]")
        assert time.monotonic() - begin < 2
        a.mood = answering("a")
        w.wait_log(event="backend_state", backend="a", to="up")
        assert who(w, "jan@example.org") == "a"


def test_logins_make_it_doubtful(weir, conf, two):
    """The checks see nothing: users do. One after the other tries it from
    then on, the others go elsewhere at once."""
    w = make(weir, conf, two, health().replace("100ms", "300ms"))
    users = users_of(w, "a", 5)
    two[0].mood = unavailable
    # what went well before may be told late, and begins the count anew
    wait_until(lambda: {who(w, user) for user in users} != {"b"}
               or w.lines(event="backend_state"), "a state")
    line = w.wait_log(event="backend_state", backend="a", to="probing")
    assert line["why"] == "logins fail: unavailable", line
    tried = two[0].logins()
    begin = time.monotonic()
    for n in range(20):
        assert who(w, users[n % 5]) == "b"
    most = 2 + (time.monotonic() - begin) / 0.3
    assert two[0].logins() - tried <= most
    two[0].mood = None
    wait_until(lambda: who(w, users[0]) == "a", "a login that proves it")
    assert w.wait_log(event="backend_state", to="up")["why"] == \
        "a login succeeded"
    assert states(w) == [("up", "probing"), ("probing", "up")]


def test_one_user_makes_nothing_doubtful(weir, conf, two):
    """A broken mailbox is no broken backend."""
    w = make(weir, conf, two, health("none"))
    user, = users_of(w, "a", 1)
    two[0].mood = unavailable
    for _ in range(6):
        assert who(w, user) == "b"
    assert not w.lines(event="backend_state")


def test_without_checks_logins_tell(weir, conf, two):
    """type = none: who resets is doubtful, never down; and the only ones
    that there are, are tried."""
    w = make(weir, conf, two, health("none"))
    user, = users_of(w, "a", 1)
    two[0].mood = reset
    # that it is one user does not count
    while not w.lines(event="backend_state", backend="a", to="probing"):
        assert who(w, user) == "b"
    two[1].mood = reset
    while not w.lines(event="backend_state", backend="b", to="probing"):
        assert who(w, "jan@example.org").startswith("NO [UNAVAILABLE]")
    assert who(w, "jan@example.org").startswith("NO [UNAVAILABLE]")
    two[1].mood = two[0].mood = None
    assert who(w, "jan@example.org") in ("a", "b")
    assert {to for _, to in states(w)} <= {"probing", "up"}


def test_who_leaves_makes_room_for_the_next_trial(weir, conf, two):
    """The client of the one login that a doubtful backend gets has gone."""
    def silent(c):
        c.greet()
        c.login(reply=None)
        c.hang()

    w = make(weir, conf, two, health("none").replace("fall = 3", "fall = 1"))
    user, = users_of(w, "a", 1)
    two[0].mood = reset
    wait_until(lambda: who(w, user) and w.lines(event="backend_state"),
               "doubts")
    two[0].mood = silent
    tried = two[0].logins()
    while two[0].logins() == tried:	# behind a failure is a pause
        with Imap(w.imaps, tls=True) as c:
            c.send(f"t LOGIN {user} secret\r\n")
            wait_until(lambda: two[0].logins() > tried
                       or select.select([c.sock], [], [], 0)[0], "an answer")
            if two[0].logins() > tried:
                two[0].mood = None
                assert who(w, user) == "b"
    wait_until(lambda: who(w, user) == "a", "the next trial")


def test_many_failures_are_few_lines(weir, conf, two):
    c = conf(*(backend(m.name, m.port) for m in two), workers=1,
             pool=health("none").replace("fall = 3", "fall = 100"))
    w = weir(c)
    user, = users_of(w, "a", 1)
    two[0].mood = reset
    seen = len(two[0].peer.connections)
    begin = time.monotonic()
    for _ in range(25):
        assert who(w, user) == "b"
    took = time.monotonic() - begin
    tries = len(two[0].peer.connections) - seen
    lines = w.lines(event="backend_failed", backend="a")
    assert tries >= 25 and 1 <= len(lines) <= 2 + took
    told = sum(1 + int(line.get("more", 0)) for line in lines)
    assert told <= tries


def test_a_new_certificate_is_seen(weir, conf, ca):
    """A check resumes no TLS session, which would show the old one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ca.issue("long", "DNS:long.test", days=100))
    with Peer(answering("a"), tls=context, implicit=True) as peer:
        w = weir(conf(backend("a", peer.port, 'tls = implicit\n  '
                              f'ca = "{ca.cert}"\n  tls_name = long.test'),
                      pool=health()))
        wait_until(lambda: len(peer.connections) > 3, "checks")
        assert not w.lines(event="backend_certificate")
        context.load_cert_chain(*ca.issue("short", "DNS:long.test", days=2))
        w.wait_log(event="backend_certificate", backend="a")
        assert not w.lines(event="backend_state")


def test_late_logins_count(weir, conf, two):
    """Late is what takes much longer than is usual in the pool."""
    def late(c):
        c.greet()
        tag = c.login(reply=None)
        threading.Event().wait(1.1)
        c.reply(tag, "OK [CAPABILITY IMAP4rev1] this is a")
        c.serve()

    w = make(weir, conf, two, health())
    users = users_of(w, "a", 6)
    users_of(w, "b", 6)
    two[0].mood = late
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert set(pool.map(lambda u: who(w, u), users)) == {"a"}
    line = w.wait_log(event="backend_state", backend="a", to="probing")
    assert line["why"].startswith("late: "), line
    two[0].mood = None
    wait_until(lambda: who(w, users[0]) == "a", "a quick login")
    w.wait_log(event="backend_state", backend="a", to="up")


def test_coming_back_is_slow(weir, conf, two):
    """A small share of its users at first; a reload does not change that."""
    c = conf(*(backend(m.name, m.port) for m in two),
             pool=health().replace("slow_start = 0", "slow_start = 1h"))
    w = weir(c)
    users = [f"s{n}@example.org" for n in range(60)]
    mine = [user for user in users if who(w, user) == "a"]
    assert len(mine) > 15
    two[0].mood = reset
    w.wait_log(event="backend_state", backend="a", to="down")
    two[0].mood = None
    w.wait_log(event="backend_state", backend="a", to="up")
    back = {user for user in users if who(w, user) == "a"}
    assert len(back) < 12 and back <= set(mine)
    w.reload()
    assert back == {user for user in users if who(w, user) == "a"}
    w.write_conf(str(c).replace("slow_start = 1h", "slow_start = 0"))
    w.reload()
    assert mine == [user for user in users if who(w, user) == "a"]


def test_login_rate(weir, conf):
    """Logins beyond the rate wait; none is refused."""
    with Moody("a") as a:
        w = make(weir, conf, [a], health(pool="login_rate = 10"))
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            served = list(pool.map(lambda n: who(w, f"r{n}@example.org"),
                                   range(16)))
        assert served == ["a"] * 16
        assert time.monotonic() - begin > 1.4


def test_reload_keeps_what_is_known(weir, conf, two):
    c = conf(*(backend(m.name, m.port) for m in two), pool=health())
    two[0].mood = reset
    w = weir(c)
    w.wait_log(event="backend_state", backend="a", to="down")
    w.reload()
    for n in range(6):
        assert who(w, f"k{n}@example.org") == "b"
    assert states(w, "a") == [("up", "down")]
    # the operator sees it, beside what was ordered
    a, b = ask(w, "backends")
    assert (a["health"], b["health"]) == ("down", "up")
    assert a["state"] == "ready" and b["why"] == ""
    assert a["why"].split(":")[0] in ("connect", "closed"), a
    # without checks nobody stays down
    w.write_conf(str(c).replace("type = greeting", "type = none"))
    w.reload()
    w.wait_log(event="backend_state", backend="a", to="probing")
    # with another address it is another server, of which nothing is known
    with Peer(answering("a")) as other:
        w.write_conf(str(c).replace(f":{two[0].port}", f":{other.port}"))
        w.reload()
        w.wait_log(event="backend_state", backend="a", to="up")
        assert {who(w, f"k{n}@example.org") for n in range(12)} == {"a", "b"}


@pytest.mark.parametrize("kind", ["tcp", "tls", "greeting"])
@pytest.mark.parametrize("mood", [hang, reset])
def test_a_check_is_as_deep_as_its_type(weir, conf, kind, mood):
    """A server that never greets is good enough for tcp, and for tls where
    there is none."""
    with Moody("a", mood) as a:
        w = make(weir, conf, [a], health(kind).replace("2s", "300ms"))
        if kind == "greeting":
            w.wait_log(event="backend_state", to="down")
        else:
            wait_until(lambda: len(a.peer.connections) > 8, "checks")
            assert not w.lines(event="backend_state")


def test_the_first_pool_with_checks_cares(weir, conf):
    """A backend of several pools is checked once."""
    with Moody("a") as a:
        w = weir(conf(backend("a", a.port), pool="health { type = none }",
                      more="pool second { backends = { a }\n"
                      f"{health()} }}\n"
                      "pool third { backends = { a }\n"
                      "health { interval = 100ms } }\n"))
        a.mood = reset
        line = w.wait_log(event="backend_state", to="down")
        assert line["backend"] == "a"
        assert states(w) == [("up", "down")]


# logins that are under way when a backend is given up

def silent(c):
    """Takes a login, and is silent from then on; who comes later is not even
    greeted."""
    if not c.peer.sessions():
        c.greet()
        c.login(reply=None)
    c.hang()


def challenging(c):
    """The same in the middle of a relayed mechanism."""
    c.greet(CAPABILITIES + " AUTH=XOAUTH2")
    _, name, _ = c.command()
    if name == "AUTHENTICATE":
        c.user = "somebody"
        c.send("+ eyJzdGF0dXMiOiI0MDAifQ==\r\n")
        c.hang()


SLOW = "  connect_timeout = 30s\n  login_timeout = 30s"
LEFT = "no logins are wanted there any more"


def begin_login(w, c, command):
    """Until its backend is connected to."""
    before = len(w.lines(event="stage", to="login"))
    c.send(f"t {command}\r\n")
    w.wait_log(event="stage", to="login", count=before + 1)


def went_on(c):
    """Where the login went that would have had half a minute."""
    begin = time.monotonic()
    reply = c.finish("t")[1]
    assert time.monotonic() - begin < 8
    return reply.rsplit("this is ")[-1]


@pytest.mark.parametrize("mood", [hang, silent])
def test_a_login_leaves_who_is_found_down(weir, conf, two, mood):
    w = weir(conf(*(backend(m.name, m.port) for m in two),
                  log="level = debug",
                  pool=health().replace("2s", "500ms") + "\n" + SLOW))
    user, = users_of(w, "a", 1)
    two[0].peer.connections.clear()
    two[0].mood = mood
    with Imap(w.imaps, tls=True) as c:
        begin_login(w, c, f"LOGIN {user} secret")
        w.wait_log(event="backend_state", backend="a", to="down")
        assert went_on(c) == "b"
        c.ok("NOOP")
    line, = w.lines(event="backend_failed")
    assert (line["backend"], line["why"]) == ("a", LEFT)
    assert states(w) == [("up", "down")]


def test_a_login_leaves_who_is_put_in_maintenance(weir, conf, two):
    """Nobody has found it down; and who waits for its turn in the drain would
    have waited long."""
    w = weir(conf(*(backend(m.name, m.port) for m in two),
                  log="level = debug",
                  pool=health("none") + "\n" + SLOW,
                  more="moves { settle = 0 }\n"))
    user, = users_of(w, "a", 1)
    two[0].mood = hang
    with Imap(w.imaps, tls=True) as c:
        begin_login(w, c, f"LOGIN {user} secret")
        ask(w, "maintenance", "a")
        assert went_on(c) == "b"
    assert not w.lines(event="backend_state", to="down")


def test_a_relayed_login_cannot_be_repeated(weir, conf):
    with Moody("a", challenging) as a:
        w = weir(conf(backend("a", a.port), log="level = debug",
                      pool=health().replace("2s", "500ms") + "\n" + SLOW))
        w.wait_log(event="serving")
        with Imap(w.imaps, tls=True) as c:
            wait_until(lambda: "AUTH=XOAUTH2" in c.capability(), "XOAUTH2")
            token = b64("user=jan@example.org\1auth=Bearer x\1\1")
            c.send(f"t AUTHENTICATE XOAUTH2 {token}\r\n")
            assert c.line().startswith("+ ")
            a.mood = hang
            w.wait_log(event="backend_state", backend="a", to="down")
            assert went_on(c).startswith("NO [UNAVAILABLE]")
            # the connection stays
            assert c.command("LOGIN jan secret")[1].startswith(
                "NO [UNAVAILABLE]")


def test_many_leave_at_once(weir, conf, two):
    """And have nowhere to go."""
    w = make(weir, conf, two, health().replace("2s", "400ms") + "\n" + SLOW)
    two[0].mood = two[1].mood = hang
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Imap(w.imaps, tls=True))
                   for _ in range(20)]
        for n, c in enumerate(clients):
            c.send(f"t LOGIN m{n}@example.org secret\r\n")
        for name in "ab":
            w.wait_log(event="backend_state", backend=name, to="down")
        for c in clients:
            assert went_on(c).startswith("NO [UNAVAILABLE]")
    w.wait_log(event="backend_failed", why=LEFT)
    two[0].mood = two[1].mood = None
    for name in "ab":
        w.wait_log(event="backend_state", backend=name, to="up")
    assert who(w, "jan@example.org") in ("a", "b")
