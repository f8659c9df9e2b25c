# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Tables: the operator's own data that say where a user belongs"""
import contextlib
import os
import pty
import select
import signal
import subprocess
import time

import pytest

from harness.conf import backend
from harness.imap import Imap
from harness.mailweir import PROGRAM, environment, sanitized
from harness.procs import PATIENCE, wait_until
from harness.redis import Redis


def table(*args, text=None, timeout=PATIENCE):
    """mailweir table ...: (exit status, stdout, stderr), all in bytes."""
    done = subprocess.run([PROGRAM, "table", *args], input=text or b"",
                          capture_output=True, timeout=timeout, check=False,
                          env=environment())
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def file(tmp):
    return tmp / "homes.lmdb"


# mailweir table ...

PLAIN = b"""\
# who lives where
Jan@Example.org   pool eu
eva\tbackend mail1      # she asked for it
@example.net      us
"odd one" 'us'
  back\\slash us

jan@example.org pool eu
"""


def test_build_plain_lines(file):
    assert table("build", file, text=PLAIN)[0] == 0
    status, out, err = table("dump", file)
    assert (status, err) == (0, b"")
    assert out == (b"@example.net\tus\nback\\slash\tus\neva\tbackend mail1\n"
                   b'jan@example.org\tpool eu\n"odd one"\tus\n')
    # what it prints, it reads
    other = file.with_name("other.lmdb")
    assert table("build", other, text=out)[0] == 0
    assert table("dump", other)[1] == out


def test_build_a_popmap(file, tmp):
    text = tmp / "popmap"
    text.write_bytes(b"jan@example.org: jan.v@mail1.example.net:143\r\n"
                     b"j\xe4n: mail2\r\n"
                     b"@example.net : mail3:imaps\n"
                     b"a!b: mail1")
    status, out, err = table("build", "-f", "popmap", file, text)
    assert (status, out) == (0, b"") and b": 4 keys in " in err
    assert table("dump", file)[1] == (
        b"@example.net\tmail3:imaps\na!b\tmail1\n"
        b"jan@example.org\tjan.v@mail1.example.net:143\n"
        b"j\xe4n\tmail2\n")


BAD = [
    (b"good eu\nbad\n", [b":2: "]),
    (b"a eu us\nb eu\nc\x01 eu\n", [b":1: ", b":3: "]),
    (b"nul\0 eu\n", [b":1: a NUL byte"]),
    (b"x" * 512 + b" eu\n", [b":1: ", b"511"]),
    (b"x eu\n" + b"x" * 5000 + b" eu\n", [b":2: "]),
    (b"x " + b"y" * 1025, [b":1: "]),
    (b'"x eu\n', [b":1: the quotes"]),
    (b"Jan eu\nx us\njan us\n", [b":3: ", b"line 1"]),
    (b"\n" * 30 + b"x\n" * 30, [b":31: ", b": 10 more\n"]),
]


@pytest.mark.parametrize("text,wanted", BAD, ids=range(len(BAD)))
def test_build_names_bad_lines_and_changes_nothing(file, tmp, text, wanted):
    assert table("build", file, text=b"old eu\n")[0] == 0
    path = tmp / "homes.txt"
    path.write_bytes(text)
    status, out, err = table("build", file, path)
    assert (status, out) == (2, b"")
    for words in wanted:
        assert any(line.startswith(bytes(path)) and words in line + b"\n"
                   for line in err.splitlines()), (words, err)
    assert len(err.splitlines()) <= 21
    assert table("dump", file)[1] == b"old\teu\n"
    assert sorted(os.listdir(tmp)) == ["homes.lmdb", "homes.lmdb-lock",
                                       "homes.txt"]


def test_build_takes_the_longest_key(file):
    key = b"x" * 511
    assert table("build", file, text=key + b" eu\n")[0] == 0
    assert table("get", file, key)[1] == b"eu\n"
    assert table("get", file, key + b"x")[0] == 1


def test_get_set_del(file):
    assert table("get", file, "jan")[0] == 2        # there is no file
    assert table("del", file, "jan")[0] == 2
    assert not file.exists()
    assert table("set", file, "Jan", "pool", "eu")[0] == 0
    assert table("set", file, "eva", "pool eu")[0] == 0
    assert table("get", file, "JAN") == (0, b"pool eu\n", b"")
    assert table("set", file, "jan", "j@mail1:143")[0] == 0
    assert table("get", file, "jan")[1] == b"j@mail1:143\n"
    assert table("set", "-k", file, "Jan", "us")[0] == 0
    assert table("dump", file)[1] == b"Jan\tus\neva\tpool eu\njan\tj@mail1:143\n"
    assert table("del", file, "JAN")[0] == 0
    status, out, err = table("del", file, "jan")
    assert (status, out) == (1, b"") and b"jan" in err
    for key, value in ((b"", "eu"), (b"a\nb", "eu"), (b"x" * 512, "eu"),
                       (b"x", ""), (b"x", "eu us"), (b"x", "e\nu"),
                       (b"x", "y" * 1025)):
        status, out, err = table("set", file, key, value)
        assert status == 2 and b"expected" in err
    for key in (b"*)(", b"j\xe4n", b"%s%n", b"'\"\\", b"-x", b"--"):
        assert table("set", file, key, "eu")[0] == 0
        assert table("get", file, key)[1] == b"eu\n"
    assert table("dump", file)[1].count(b"\n") == 8


def test_usage(file):
    for args in ((), ("build",), ("frob", file), ("get", file), ("set", file),
                 ("set", file, "x"), ("del", file), ("dump", file, "x"),
                 ("build", "-f", "regex", file), ("build", file, "a", "b"),
                 ("get", "-x", file, "x")):
        status, out, err = table(*args)
        assert (status, out) == (2, b"") and b"usage: " in err, args
    status, out, err = table("--help")
    assert (status, err) == (0, b"") and out.startswith(b"usage: ")


def test_errors_name_the_file(file, tmp):
    (tmp / "text").write_bytes(b"no table\n" * 2000)
    for args, words in (
            (("get", tmp / "text", "x"), b"text: "),
            (("get", tmp, "x"), b"directory"),
            (("build", file, tmp / "none"), b"none: No such file"),
            (("build", file, tmp), b"Is a directory"),
            (("build", tmp / "none" / "x.lmdb"), b"No such file")):
        status, out, err = table(*args)
        assert (status, out) == (2, b"") and words in err, (args, err)
    table("set", file, "x", "eu")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PROGRAM, "table", "dump", file], stdout=full,
                              stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2 and b"No space" in done.stderr


@pytest.mark.skipif("MAILWEIR_WRAP" in os.environ, reason="takes its time")
def test_build_shows_progress_on_a_terminal(file, tmp):
    """And an interrupted one leaves all as it was."""
    table("set", file, "old", "eu")
    text = b"".join(b"user%07d@example.org pool eu\n" % (i * 7919 % 1_000_003)
                    for i in range(1_000_003))
    ours, its = pty.openpty()
    with subprocess.Popen([PROGRAM, "table", "build", file], stderr=its,
                          stdin=subprocess.PIPE) as building:
        os.close(its)
        shown, at = b"", 0
        while b"bytes read: " not in shown:
            building.stdin.write(text[at:at + (1 << 20)])
            building.stdin.flush()
            at += 1 << 20
            if select.select([ours], [], [], 0.05)[0]:
                shown += os.read(ours, 4096)
        building.stdin.write(text[at:])
        building.stdin.close()
        wait_until(lambda: list(tmp.glob("*.new-*")), "a new file")
        building.send_signal(signal.SIGINT)
        assert building.wait(PATIENCE) == 2
    with contextlib.suppress(OSError):          # the terminal has no more
        while True:
            shown += os.read(ours, 4096)
    os.close(ours)
    assert b"\r\x1b[K" in shown and b"interrupted" in shown
    assert table("dump", file)[1] == b"old\teu\n"
    assert sorted(os.listdir(tmp)) == ["homes.lmdb", "homes.lmdb-lock"]


def test_setting_by_many_at_once(file):
    table("set", file, "first", "eu")
    setters = [subprocess.Popen([PROGRAM, "table", "set", file, f"u{n}", "eu"])
               for n in range(20)]
    assert [p.wait(PATIENCE) for p in setters] == [0] * 20
    assert table("dump", file)[1].count(b"\n") == 21


# tables in routes: d1 and d2 are real, pool main has them both

def farm(conf, mail, tables, routes, **sections):
    return conf(backend("d1", mail.d1.plain), backend("d2", mail.d2.plain),
                more=tables + "\npool other { backends = { d2 } }", routes=routes,
                **sections)


def log_in(w, user):
    """The tagged reply, and NOOP on that connection afterwards."""
    with Imap(w.imaps, tls=True) as c:
        reply = c.command(f'LOGIN "{user}" secret')[1]
        c.ok("NOOP")
        if reply.startswith("OK"):
            c.command("LOGOUT")
            c.eof()
    return reply


def where(w, user):
    """The backend that serves the user, or the refusal."""
    n = len(w.lines(event="login", user=user))
    reply = log_in(w, user)
    if not reply.startswith("OK"):
        return reply
    line = w.wait_log(event="login", user=user, count=n + 1)
    w.wait_log(event="close", s=line["s"])
    return line["backend"]


def wait_where(w, user, wanted):
    """Soon it is so: files are looked at once a second."""
    found = []

    def check():
        found[:] = [where(w, user)]
        return found[0].startswith(wanted)
    wait_until(check, lambda: f"{user} at {wanted}, not {found}")


REFUSE = 'route { refuse = "[AUTHORIZATIONFAILED] Nowhere." }'
UNAVAILABLE = "NO [UNAVAILABLE]"


@pytest.mark.parametrize("kind,text", [
    ("plain", "{a}  pool other\n@example.org\tbackend d1\n"),
    ("plain", "{b} 127.0.0.1:{d1}\n'{a}' other # here\n"),
    ("popmap", "{a}: 127.0.0.1:{d2}\n{a_local}: d1\n{b}: {b}@127.0.0.1:{d1}\n"),
    ("regex", "^{a}$: other\n^(user[0-9]+@example\\.org)$: $1@d1\n"),
])
def test_file(weir, conf, mail, tmp, new_user, kind, text):
    a, b = new_user(), new_user()
    (tmp / "homes").write_text(text.format(
        a=a, b=b, a_local=a.partition("@")[0], d1=mail.d1.plain,
        d2=mail.d2.plain))
    w = weir(farm(conf, mail, f'table homes {{ type = file  path = '
                  f'"{tmp}/homes"  format = {kind} }}',
                  "route { table = homes }\n" + REFUSE))
    assert (where(w, a), where(w, b)) == ("d2", "d1")
    assert where(w, "nobody@example.net").startswith("NO [AUTHORIZATIONF")


def test_file_is_followed(weir, conf, mail, tmp, user, new_user):
    path, other = tmp / "homes", new_user()

    def replace(text):
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").rename(path)
    path.write_text(f"{user} d1\n{other} d1\n")
    w = weir(farm(conf, mail, f'table homes {{ type = file  path = "{path}" }}',
                  "route { table = homes }\n" + REFUSE))
    assert where(w, user) == "d1"
    replace(f"{user} d2\n{other} d1\n")
    wait_where(w, user, "d2")
    # cut in the middle of a line, then gone: the last good one stays
    os.truncate(path, len(f"{user} d2\n{other}"))
    line = w.wait_log(event="table_refused", table="homes")
    assert f"{path}:2: " in line["why"] and line["kept"] == "old"
    assert (where(w, user), where(w, other)) == ("d2", "d1")
    path.unlink()
    w.wait_log(event="table_refused", table="homes", count=2)
    assert where(w, other) == "d1"
    # written in place
    path.write_text(f"{user} d1\n{other} d2\n")
    wait_where(w, other, "d2")
    assert where(w, user) == "d1"


def test_lmdb_is_changed_in_use(weir, conf, mail, file, tmp, new_user):
    """By set, del and build, while users log in; control dies meanwhile."""
    user, other = new_user(), new_user()
    table("build", file, text=f"{user} d1\n".encode())
    c = farm(conf, mail, f'table homes {{ type = lmdb  path = "{file}" }}',
             "route { table = homes }\n" + REFUSE)
    w = weir(c)
    assert where(w, user) == "d1"
    assert where(w, other).startswith("NO [AUTHORIZATIONFAILED]")
    table("set", file, user, "backend", "d2")
    table("set", file, other, "other")
    wait_where(w, user, "d2")
    assert where(w, other) == "d2"
    table("del", file, other)
    assert where(w, other).startswith("NO [AUTHORIZATIONFAILED]")
    table("set", file, other, "nowhere")
    assert where(w, other).startswith(UNAVAILABLE)
    w.wait_log(event="table_value", table="homes", why='"nowhere": no pool, '
               "no backend and no backend's address")
    table("build", file, text=f"{other} d1\n".encode())
    wait_where(w, other, "d1")
    table("set", file, user, "d1")
    assert where(w, user) == "d1"
    # a new control reads the same file, whose old reader is dead
    os.kill(w.control(), signal.SIGKILL)
    table("set", file, user, "d2")
    wait_where(w, user, "d2")
    c.sections["limits"] = "bad_commands = 5"
    w.write_conf(str(c))
    assert w.reload()["level"] == "info"
    table("set", file, user, "d1")
    wait_where(w, user, "d1")


def private_kib(pid):
    """What the process has for itself: no pages of files."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f
                    if line.startswith("RssAnon:"))


@pytest.mark.skipif(sanitized(), reason="a sanitizer takes its own")
def test_lmdb_takes_no_memory_of_its_own(weir, conf, mail, file, tmp, user):
    text = tmp / "many"
    with open(text, "w", encoding="ascii") as f:
        f.writelines(f"many{n:06}@example.org pool other\n"
                     for n in range(200_000))
        f.write(f"{user} d2\n")
    assert table("build", file, text)[0] == 0
    w = weir(farm(conf, mail, f'table homes {{ type = lmdb  path = "{file}" }}',
                  "route { table = homes }\n" + REFUSE))
    before = private_kib(w.control())
    for n in range(0, 200_000, 20_000):
        assert not where(w, f"many{n}x@example.org").startswith("OK")
    assert where(w, user) == "d2"
    assert private_kib(w.control()) < before + 1500 < file.stat().st_size / 1024


# a Redis that is started, stopped and stalled

@pytest.fixture
def redis(tmp):
    one = Redis(tmp)
    yield one.start()
    one.stop()


def homes(redis, more=""):
    """Whole names only, so that a login is one question."""
    return (f'table homes {{ type = redis  address = "127.0.0.1:{redis.port}"'
            f'\n key = "mail:%s"  keys = {{ "user@domain" }}\n{more}\n}}')


def test_redis_answers_and_is_cached(weir, conf, mail, redis, user, new_user):
    other = new_user()
    redis("SET", f"mail:{user}", "pool other")
    w = weir(farm(conf, mail, homes(redis),
                  "route { table = homes }\nroute { user = \"user*\"  "
                  "pool = main }\n" + REFUSE))
    assert [where(w, user) for _ in range(3)] == ["d2"] * 3
    assert redis.calls() == 1
    # not there is an answer, too
    first = where(w, other)
    assert [where(w, other) for _ in range(2)] == [first] * 2
    assert redis.calls() == 2


def test_redis_by_socket_field_and_password(weir, conf, mail, tmp, user):
    redis = Redis(tmp, "--requirepass", "s3:cret").start()
    try:
        (tmp / "pw").write_text("default:s3:cret\n")
        # the client of the test has no password of its own
        subprocess.run(["redis-cli", "-s", redis.socket, "-a", "s3:cret",
                        "-n", "3", "HSET", "homes", user, "backend d2"],
                       check=True, capture_output=True)
        w = weir(farm(conf, mail, f"""table homes {{
            type = redis
            path = "{redis.socket}"
            password_file = "{tmp}/pw"
            database = 3
            key = homes
            field = "%s"
        }}""", "route { table = homes }\n" + REFUSE))
        assert where(w, user) == "d2"
        assert "s3:cret" not in w.log()
    finally:
        redis.stop()


def test_redis_stopped_and_started(weir, conf, mail, redis, user, new_user):
    """What is known serves within the grace; the rest is told what is up."""
    redis("SET", f"mail:{user}", "d1")
    w = weir(farm(conf, mail, homes(redis, "cache = 0s  negative_cache = 0s"),
                  "route { table = homes }\n" + REFUSE))
    assert where(w, user) == "d1"
    redis.stop()
    other = new_user()
    assert [where(w, user) for _ in range(3)] == ["d1"] * 3
    began = time.monotonic()
    assert where(w, other).startswith(UNAVAILABLE)
    assert time.monotonic() - began < PATIENCE / 2
    line = w.wait_log(event="table_down", table="homes")
    assert f"127.0.0.1:{redis.port}: " in line["why"]
    redis.start()
    redis("SET", f"mail:{user}", "d2")
    redis("SET", f"mail:{other}", "d1")
    wait_where(w, user, "d2")
    assert where(w, other) == "d1"
    assert len(w.lines(event="table_down")) == 1
    w.wait_log(event="table_up", table="homes")


def test_redis_that_is_stale_too_long_is_gone(weir, conf, mail, redis, user):
    redis("SET", f"mail:{user}", "d1")
    w = weir(farm(conf, mail, homes(redis, "cache = 0s  grace = 100ms"),
                  "route { table = homes }\n" + REFUSE))
    assert where(w, user) == "d1"
    redis.stop()
    wait_where(w, user, UNAVAILABLE)


def test_redis_stalled_delays_no_other_login(weir, conf, mail, redis, new_user):
    waits, known, free = new_user(), new_user(), new_user()
    for user in (waits, known, free):
        redis("SET", f"mail:{user}", "d1")
    w = weir(farm(conf, mail, homes(redis, "timeout = 60s"),
                  f'route {{ user = "{free}"  pool = other }}\n'
                  "route { table = homes }\n" + REFUSE))
    assert where(w, known) == "d1"
    redis.stall()
    with Imap(w.imaps, tls=True) as c:
        c.send(f'a LOGIN "{waits}" secret\r\n')
        for _ in range(3):
            assert (where(w, known), where(w, free)) == ("d1", "d2")
        assert not select.select([c.sock], [], [], 0)[0]
        redis.go_on()
        assert c.finish("a")[1].startswith("OK")


def test_redis_stalled_is_told(weir, conf, mail, redis, new_user):
    """To whom it is a stranger; who is known logs in with what was known."""
    user, other = new_user(), new_user()
    redis("SET", f"mail:{user}", "d1")
    redis("SET", f"mail:{other}", "d2")
    w = weir(farm(conf, mail, homes(redis, "timeout = 500ms  cache = 0s"),
                  "route { table = homes }\n" + REFUSE))
    assert where(w, user) == "d1"
    redis.stall()
    assert where(w, other).startswith(UNAVAILABLE)
    assert [where(w, user) for _ in range(3)] == ["d1"] * 3
    w.wait_log(event="table_down", why="no answer within 500 ms")
    redis.go_on()
    wait_where(w, other, "d2")


def test_redis_is_asked_once_for_many(weir, conf, mail, redis, user, new_user):
    free = new_user()
    redis("SET", f"mail:{user}", "d2")
    w = weir(farm(conf, mail, homes(redis, "timeout = 60s  cache = 0s"),
                  f'route {{ user = "{free}"  pool = main }}\n'
                  "route { table = homes }\n" + REFUSE, workers=1))
    assert where(w, "nobody@example.org").startswith("NO")   # it is there
    redis.stall()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Imap(w.imaps, tls=True))
                   for _ in range(6)]
        for c in clients:
            c.send(f'a LOGIN "{user}" secret\r\n')
        # who comes behind them has been served, so they have been seen
        assert where(w, free).startswith("d")
        redis.go_on()
        for c in clients:
            assert c.finish("a")[1].startswith("OK")
    assert redis.calls() == 2


# names that would say more than a name

NAMES = [b"*)(uid=*", b"'\"\\", b"%s%n%00", b"a' or '1'='1", b"j\xe4n",
         b"j\xc3\xa4n", b"a b", b"$3", b"..", b"../../etc/passwd", b"@",
         b"@example.org", b"%s", b"x" * 256, b"x" * 257, b"a\r\nDEL x",
         b"a\0b", b"#x", b"x:y"]


def test_no_name_says_more_than_a_name(weir, conf, mail, redis, tmp, user):
    redis("SET", f"mail:{user}", "d2")
    (tmp / "map").write_text("nobody d1\n")
    (tmp / "regex").write_text("^nobody$: d1\n^(.*)@no$: $1@d1\n")
    table("set", tmp / "l", "nobody", "d1")
    w = weir(farm(conf, mail, "\n".join([
        f'table m {{ type = file  path = "{tmp}/map" }}',
        f'table r {{ type = file  path = "{tmp}/regex"  format = regex }}',
        f'table l {{ type = lmdb  path = "{tmp}/l" }}', homes(redis)]),
        "route { table = m }\nroute { table = r }\nroute { table = l }\n"
        "route { table = homes }\n" + REFUSE))
    for name in NAMES:
        for tail in (b"", b"@example.org"):
            with Imap(w.imaps, tls=True) as c:
                c.send(b"a LOGIN {%d}\r\n" % len(name + tail))
                if c.line().startswith("+"):
                    c.send(name + tail + b' "secret"\r\n')
                    reply = c.finish("a")[1]
                    assert reply.startswith((
                        "NO [AUTHORIZATIONFAILED]", "NO [AUTHENTICATIONFAILED]",
                        "BAD")), (name, reply)
    assert redis("KEYS", "*") == [f"mail:{user}".encode()]
    assert where(w, user) == "d2"
    assert not w.lines(event="table_down")
