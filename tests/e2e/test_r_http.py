# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""A table behind HTTP: a real nginx, that stops, stalls and comes back"""
import collections
import contextlib
import json
import pathlib
import shutil
import subprocess

import pytest

from fake.peer import Peer
from harness.certs import Authority
from harness.conf import backend
from harness.imap import Imap, plain
from harness.mailweir import PROGRAM, run
from harness.nginx import Nginx
from harness.procs import free_port, wait_until

TOKEN = "Bearer 0123456789"
DOWN = "NO [UNAVAILABLE]"


def answering(name):
    def script(c):
        c.greet()
        c.login(f"OK [CAPABILITY IMAP4rev1] this is {name}")
        c.serve()
    return script


class Web:
    """An nginx with a file of JSON for each user that it knows."""

    def __init__(self, directory, front):
        self.users = directory / "users"
        self.users.mkdir(parents=True)
        self.port, self.tls = free_port(), free_port()
        self.nginx = Nginx(directory / "nginx", http=f"""
  default_type application/json;
  root {directory};
  server {{
    listen 127.0.0.1:{self.port};
    listen 127.0.0.1:{self.tls} ssl;
    ssl_certificate {front[0]};
    ssl_certificate_key {front[1]};
    location /users/ {{ }}
    location /whoever {{ return 200 '{{"pool": "pb", "n": 1}}'; }}
    location /guarded {{
      if ($http_authorization != "{TOKEN}") {{ return 403; }}
      return 200 '{{"pool": "pb"}}';
    }}
    location /broken {{ return 200 'pool pb'; }}
    location /moved {{ return 302 http://127.0.0.1:{self.port}/whoever; }}
  }}
""")

    def start(self):
        self.nginx.start(self.port)
        return self

    def knows(self, name, **answer):
        (self.users / name).write_text(json.dumps(answer))

    def asked(self, user):
        """How often, once what is under way is done."""
        return sum(user.replace("@", "%40") in line
                   for line in self.nginx.requests())


@pytest.fixture
def web(tmp, front):
    one = Web(tmp / "web", front).start()
    yield one
    one.nginx.stop()


@pytest.fixture
def peers():
    both = [Peer(answering(name)) for name in "ab"]
    yield both
    for peer in both:
        peer.close()
        assert not peer.errors, peer.errors[0]


@pytest.fixture
def start(weir, conf, peers, web):
    """start("/users/%s", table="cache = 0") starts a Mailweir whose users are
    in a table at that path, or else at backend a."""
    def go(path, table="", scheme="http"):
        port = web.port if scheme == "http" else web.tls
        return weir(conf(
            *(backend(n, p.port) for n, p in zip("ab", peers)),
            more="pool pa { backends = { a } }\n"
            "pool pb { backends = { b } }\n"
            'table homes { type = http  keys = { "user@domain" }\n'
            f'  url = "{scheme}://127.0.0.1:{port}{path}"\n  {table} }}\n',
            routes="route { domain = direct.example  pool = pa }\n"
            "route { table = homes }\nroute { pool = pa }\n"))
    return go


def who(w, user):
    """The backend that serves this user, or the refusal."""
    with Imap(w.imaps, tls=True) as c:
        c.send(f't LOGIN "{user}" secret\r\n')
        return c.finish("t")[1].rsplit("this is ")[-1]


def test_answers(start, web):
    web.knows("jan@example.org", pool="pb")
    web.knows("piet@example.org", backend="b", remark=["kept", "out"])
    web.knows("eva@example.org", value="pa")
    web.knows("nobody@example.org", pool="nowhere")
    w = start("/users/%s")
    assert who(w, "Jan@Example.org") == "b"
    assert who(w, "piet@example.org") == "b"
    assert who(w, "eva@example.org") == "a"
    assert who(w, "else@example.org") == "a"	# 404: the next route
    assert who(w, "nobody@example.org").startswith(DOWN)
    assert 'pool nowhere' in w.wait_log(event="table_value")["why"]
    # each once: the answers are kept, that there is none too
    for user in ("jan@example.org", "else@example.org"):
        who(w, user)
        assert web.asked(user) == 1
    assert not w.lines(event="table_down")


@pytest.mark.parametrize("path,why", [
    ("/broken?%s", "not JSON"), ("/moved?%s", "status 302"),
    ("/guarded?%s", "status 403")])
def test_answers_that_are_none(start, path, why):
    w = start(path)
    assert who(w, "jan@example.org").startswith(DOWN)
    assert why in w.wait_log(event="table_down", table="homes")["why"]
    assert who(w, "jan@direct.example") == "a"


def test_token(start, tmp):
    token = tmp / "token"
    token.write_text(f"Authorization: {TOKEN}\n")
    w = start("/guarded?%s", f'header = "{token}"')
    assert who(w, "jan@example.org") == "b"
    assert TOKEN not in w.log()


def test_https(start, ca, tmp):
    w = start("/whoever?%s", f'ca = "{ca.cert}"', scheme="https")
    assert who(w, "jan@example.org") == "b"
    # another authority did not sign this one
    alien = Authority(tmp / "alien", "Alien CA")
    other = start("/whoever?%s", f'ca = "{alien.cert}"', scheme="https")
    assert who(other, "jan@example.org").startswith(DOWN)
    assert "certificate" in other.wait_log(event="table_down")["why"]


def test_one_request_for_many_logins(start, web):
    """While the server stalls, all wait for one answer, and others do not."""
    web.knows("jan@example.org", pool="pb")
    w = start("/users/%s", "timeout = 30s")
    web.nginx.stall()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Imap(w.imaps, tls=True))
                   for _ in range(20)]
        for c in clients:
            c.send('t LOGIN "jan@example.org" secret\r\n')
        for n in range(5):
            assert who(w, f"u{n}@direct.example") == "a"
        web.nginx.go_on()
        for c in clients:
            assert c.finish("t")[1].endswith("this is b")
    assert web.asked("jan@example.org") == 1


def test_server_stalls(start, web):
    """Who was there before goes on, others are told, and nobody waits."""
    web.knows("jan@example.org", pool="pb")
    web.knows("eva@example.org", pool="pb")
    w = start("/users/%s", "cache = 1ms  grace = 1h  timeout = 500ms")
    assert who(w, "jan@example.org") == "b"
    web.nginx.stall()
    assert who(w, "eva@example.org").startswith(DOWN)
    assert "no answer within" in w.wait_log(event="table_down")["why"]
    assert who(w, "jan@example.org") == "b"
    web.nginx.go_on()
    wait_until(lambda: who(w, "eva@example.org") == "b", "the table's answer")
    w.wait_log(event="table_up", table="homes")


def test_server_stops(start, web):
    web.knows("jan@example.org", pool="pb")
    w = start("/users/%s", "cache = 1ms  negative_cache = 1ms  grace = 1h")
    assert who(w, "jan@example.org") == "b"
    web.nginx.stop()
    assert who(w, "jan@example.org") == "b"
    assert who(w, "eva@example.org").startswith(DOWN)
    assert who(w, "eva@direct.example") == "a"
    w.wait_log(event="table_down", table="homes")
    # it comes back with other answers
    web.knows("jan@example.org", pool="pa")
    web.knows("eva@example.org", pool="pb")
    web.start()
    wait_until(lambda: who(w, "jan@example.org") == "a", "the new answer")
    assert who(w, "eva@example.org") == "b"


def test_grace_ends(start, web):
    web.knows("jan@example.org", pool="pb")
    w = start("/users/%s", "cache = 1ms  grace = 1ms")
    assert who(w, "jan@example.org") == "b"
    web.nginx.stop()
    wait_until(lambda: who(w, "jan@example.org").startswith(DOWN),
               "the end of the grace")


@pytest.mark.parametrize("path", ["/whoever?user=%s&end", "/users/%s"])
def test_injection(start, web, path):
    """A name is one value of a request, or is not asked for."""
    web.knows("secret", pool="pb")
    w = start(path)
    names = ["*)(uid=*", "a)(uid=b", "a&end=b", "a?b#c", "..%2fsecret",
             "../users/secret", "..", "%s%s", "a b", "a;b", "jos\u00e9",
             "x" * 256, "'\"\\", "%00"]
    for name in names:
        with Imap(w.imaps, tls=True) as c:
            c.send(f"t AUTHENTICATE PLAIN {plain(name)}\r\n")
            reply = c.finish("t")[1]
        if path.startswith("/users"):
            assert reply.endswith("this is a") or \
                reply.startswith("NO [AUTHENTICATIONFAILED]"), (name, reply)
    head, _, tail = path.partition("%s")
    for line in web.nginx.requests():
        method, target, version = line.split(" ")
        assert (method, version) == ("GET", "HTTP/1.1")
        assert target.startswith(head) and target.endswith(tail)
        key = target[len(head):len(target) - len(tail)]
        assert not set(key) & set("/?#&;\"'\\ *()")
    assert not w.lines(event="table_down")


def test_route_is_told(start, web, tmp_path):
    """mailweir route asks the server, too."""
    web.knows("jan@example.org", pool="pb", user="jan")
    w = start("/users/%s")
    done = subprocess.run(
        [PROGRAM, "route", "-c", w.conf, "jan@example.org", "192.0.2.1"],
        capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert 'jan@example.org has "jan@pool pb"' in done.stdout


@pytest.mark.parametrize("settings,words", [
    ('table t { type = http }', ["url"]),
    ('table t { type = http  url = "http://h/" }', ["%s"]),
    ('table t { type = http  url = "ftp://h/%s" }', ["http://"]),
    ('table t { type = http  url = "http://a:b@h/%s" }', ["user name"]),
    ('table t { type = http  url = "https://h/%s" }', ["expected ca"]),
])
def test_bad_settings(conf, tmp, settings, words):
    file = tmp / "bad.conf"
    file.write_text(str(conf(backend("a", 143), more=settings)))
    done = run("-t", "-c", file)
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr
    assert collections.Counter(done.stderr)["\n"] == 1


@pytest.mark.parametrize("settings,words", [
    ("driver = http", ["url"]),
    ('driver = http  url = "127.0.0.1:9000/auth"', ["http://"]),
    ('driver = http  url = "https://h/"', ["expected ca"]),
    ('driver = http  url = "http://h/"  header = { "no colon" }',
     ["header line"]),
    ('driver = http  url = "http://h/"  header = { "a name: b" }',
     ["header line"]),
])
def test_bad_auth_settings(conf, tmp, settings, words):
    file = tmp / "bad.conf"
    file.write_text(str(conf(backend("a", 143), auth=settings)))
    done = run("-t", "-c", file)
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr


def test_libraries_are_loaded_on_demand(weir, conf, peers):
    """What nobody configured costs no memory: only control has it, and only
    where a source needs it."""
    def libcurl(pid):
        with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
            return "libcurl" in f.read()
    without = weir(conf(backend("a", peers[0].port)))
    for pids in without.roles().values():
        assert not any(map(libcurl, pids))
    w = weir(conf(backend("a", peers[0].port), more='table t { type = http  '
                  'url = "http://127.0.0.1:1/%s" }\n'))
    assert all(map(libcurl, w.roles()["control"]))
    assert not any(map(libcurl, w.roles()["worker"]))
    assert "libcurl" in run("-V").stdout


def test_module_is_found_or_missed(conf, tmp, peers):
    """Under any prefix; and the error says what is missing."""
    if pathlib.Path("/usr/local/lib/mailweir/http.so").exists():
        pytest.skip("Mailweir is installed here")
    program = tmp / "sbin" / "mailweir"
    program.parent.mkdir()
    shutil.copy(PROGRAM, program)
    file = tmp / "x.conf"
    file.write_text(str(conf(backend("a", peers[0].port), more="table t {\n"
                    '  type = http  url = "http://127.0.0.1:1/%s" }\n')))

    def say(*args):
        done = subprocess.run([program, *args], capture_output=True,
                              text=True, timeout=30, check=False)
        return done.returncode, done.stdout + done.stderr
    assert "module http cannot be loaded" in say("-V")[1]
    status, text = say("-t", "-c", file)
    assert status == 1 and f"{file}:" in text and "module http" in text
    modules = tmp / "lib" / "mailweir"
    modules.mkdir(parents=True)
    shutil.copy(PROGRAM.parent / "modules" / "http.so", modules)
    assert "module http: libcurl" in say("-V")[1]
    assert say("-t", "-c", file)[0] == 0
    # one of another release
    (modules / "http.so").unlink()
    subprocess.run(["cc", "-shared", "-fPIC", "-xc", "-", "-o",
                    modules / "http.so"], check=True, text=True,
                   input="const char *const mailweir_module[4] = { \"0\" };")
    assert "not a module of release" in say("-V")[1]
