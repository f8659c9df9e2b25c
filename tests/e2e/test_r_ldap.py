# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""A directory as table and as source of authentication: a real slapd"""
import concurrent.futures
import time

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.imap import Imap, plain, tls_context
from harness.mailweir import run
from harness.names import BROKEN, NASTY
from harness.procs import wait_until
from harness.slapd import PEOPLE, READER, Slapd, dn, person

DENIED = "NO [AUTHENTICATIONFAILED]"
AWAY = "NO [UNAVAILABLE]"
LATE = 1.5	# the tables' timeout, in seconds


def answering(name):
    """A backend that says who it is, and who logged in by what."""
    def script(c):
        c.greet()
        c.login(f"OK [CAPABILITY IMAP4rev1] this is {name}")
        c.serve()
    return script


@pytest.fixture
def two():
    peers = [Peer(answering(name)) for name in ("a", "b")]
    yield peers
    for peer in peers:
        peer.close()
        assert not peer.errors, peer.errors[0]


ENTRIES = [
    person("jan@x.test", mailHost="a"),
    person("eva@x.test", mailHost="pool pb"),
    person("none@x.test"),
    person("two@x.test", mail=["two@x.test", "twin@x.test"], mailHost="a",
           description=["pool pa", "pool pb"]),
    person("twin2", mail="twin@x.test", mailHost="b"),
    person("odd@x.test", mailHost="nowhere.test"),
    person("smörgås@x.test", mailHost="b"),
    *(person(name, mailHost="a") for name in
      ("a)(|(uid=a", '"quoted"', "back\\slash\\2a", "#hash")),
]


@pytest.fixture
def slapd(tmp, backend_cert):
    one = Slapd(tmp / "ldap", backend_cert, ENTRIES).start()
    yield one
    one.stop()


@pytest.fixture
def secret(tmp):
    path = tmp / "reader"
    path.write_text("reader-secret\n")
    return path


def reply(w, user, password="secret"):
    """What LOGIN or, for what is not ASCII, AUTHENTICATE is told."""
    with Imap(w.imaps, tls=True) as c:
        if not isinstance(user, bytes) and not user.isascii():
            text = c.command(f"AUTHENTICATE PLAIN {plain(user, password)}")[1]
        else:
            name = user.encode() if isinstance(user, str) else user
            c.send(b"t LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n"
                   % (len(name), name, len(password), password.encode()))
            text = c.finish("t")[1]
    return text.rpartition("this is ")[2]


@pytest.fixture
def routed(weir, conf, two, slapd, secret):
    """routed() starts a Mailweir that asks slapd about all but the domain
    free.test."""
    def start(settings="", url=None, attribute="mailHost", auth=""):
        return weir(conf(
            backend("a", two[0].port), backend("b", two[1].port), auth=auth,
            more="pool pa { backends = { a } }\n"
            "pool pb { backends = { b } }\n"
            f"""table homes {{
  type = ldap
  url = "{url or slapd.url}"
  bind_dn = "{READER}"
  bind_password_file = "{secret}"
  base = "{PEOPLE}"
  filter = "(&(objectClass=inetOrgPerson)(|(mail=%s)(uid=%s)))"
  attribute = {attribute}
  keys = {{ user@domain }}
  timeout = {int(LATE * 1000)}ms
  {settings}
}}
""", routes='route { domain = "free.test"  pool = pb }\n'
            "route { table = homes }\n"
            'route { refuse = "[CONTACTADMIN] Nobody knows you." }\n'))
    return start


def test_a_table_in_a_directory(routed, slapd):
    w = routed("cache = 0  negative_cache = 0")
    assert reply(w, "jan@x.test") == "a"
    assert reply(w, "JAN@X.TEST") == "a"
    assert reply(w, "eva@x.test") == "b"
    assert reply(w, "smörgås@x.test") == "b"
    for unknown in ("nobody@x.test", "none@x.test"):
        assert reply(w, unknown) == "NO [CONTACTADMIN] Nobody knows you."
    # what is not clear is told to the operator, and not guessed
    assert reply(w, "twin@x.test").startswith(AWAY)
    assert "more than one entry" in w.wait_log(event="table_down")["why"]
    assert reply(w, "odd@x.test").startswith(AWAY)
    assert "nowhere.test" in w.wait_log(event="table_value")["why"]
    slapd.change(dn("jan@x.test"), mailHost="b")
    assert reply(w, "jan@x.test") == "b"


def test_an_attribute_of_two_values(routed):
    w = routed(attribute="description")
    assert reply(w, "two@x.test").startswith(AWAY)
    assert "description has 2 values" in w.wait_log(event="table_down")["why"]


def test_names_stay_in_the_filter(routed, slapd):
    w = routed("cache = 0  negative_cache = 0")
    control = w.control()
    there = {attributes["uid"] for _, attributes in ENTRIES}
    for name in NASTY:
        text = reply(w, name)
        if name in there:
            assert text == "a", name
        else:
            assert text.startswith("NO"), name
            assert "UNAVAILABLE" not in text, name
    for name in BROKEN:
        with Imap(w.imaps, tls=True) as c:
            c.send(b"t LOGIN {%d+}\r\n%s secret\r\n" % (len(name), name))
            assert c.line().split()[1] in ("NO", "BAD"), name
    assert reply(w, "jan@x.test") == "a"
    assert w.control() == control


def others_are_quick(w, user="x@free.test"):
    began = time.monotonic()
    assert reply(w, user) == "b"
    return time.monotonic() - began


def test_slapd_stands_still(routed, slapd):
    """Neither a user whose answer is cached nor one of another route waits,
    and when slapd goes on, so do all."""
    w = routed("cache = 10m  negative_cache = 1s")
    assert reply(w, "jan@x.test") == "a"
    slapd.pause()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(reply, w, f"u{n}@x.test") for n in range(8)]
        w_began = time.monotonic()
        assert reply(w, "jan@x.test") == "a"
        others_are_quick(w)
        assert time.monotonic() - w_began < LATE
        for one in waiting:
            assert one.result().startswith(AWAY)
    # by now it is known to be away: nobody waits for it
    began = time.monotonic()
    assert reply(w, "v@x.test").startswith(AWAY)
    assert time.monotonic() - began < LATE
    assert "no answer within" in w.wait_log(event="table_down")["why"]
    slapd.resume()
    wait_until(lambda: reply(w, "eva@x.test") == "b", "slapd again", 30)
    w.wait_log(event="table_up")


def test_slapd_goes_and_comes_back(routed, slapd):
    w = routed("cache = 10ms  negative_cache = 10ms  grace = 1h")
    assert reply(w, "jan@x.test") == "a"
    slapd.stop()
    # the last answer is good within its grace
    assert reply(w, "jan@x.test") == "a"
    assert reply(w, "eva@x.test").startswith(AWAY)
    others_are_quick(w)
    slapd.start()
    wait_until(lambda: reply(w, "eva@x.test") == "b", "slapd again", 30)
    # a reload with slapd away is no error
    slapd.stop()
    w.write_conf(w.conf.read_text().replace("grace = 1h", "grace = 2h"))
    assert w.reload()["level"] == "info"
    assert reply(w, "eva@x.test").startswith(AWAY)
    others_are_quick(w)


def test_settings_of_a_directory_are_checked(routed, slapd):
    w = routed()
    text = w.conf.read_text()
    assert run("-t", "-c", w.conf).returncode == 0
    for old, new, wanted in (
            ("(uid=%s)))", "(uid=%s))", "is not a filter"),
            ("(|(mail=%s)(uid=%s))", "(mail=*)", "no place for the user"),
            (f'base = "{PEOPLE}"', 'base = "people"', "is not a name"),
            (slapd.url, "http://x", "is not a URL of LDAP"),
            (f'bind_dn = "{READER}"', "", "belong together")):
        w.write_conf(text.replace(old, new))
        result = run("-t", "-c", w.conf)
        assert result.returncode == 1 and wanted in result.stderr, \
            (new, result.stderr)


# --- authentication ------------------------------------------------------------

BY_FILTER = f'base = "{PEOPLE}"  filter = "(&(objectClass=inetOrgPerson)(mail=%u))"'
BY_NAME = f'user_dn = "uid=%u,{PEOPLE}"'


@pytest.fixture
def guarded(weir, conf, mail, tmp, secret):
    """guarded(slapd, settings): binds decide, and Mailweir is master at both
    Dovecots; d1 for everybody, unless the directory says more."""
    (tmp / "master").write_text("master-secret\n")

    def start(slapd, settings, reader=True, url=None, **sections):
        d1, d2 = mail.both
        searcher = f'bind_dn = "{READER}"  bind_password_file = "{secret}"\n'
        return weir(conf(
            backend("d1", d1.plain), backend("d2", d2.plain),
            auth=f'driver = ldap  url = "{url or slapd.url}"\n'
            f"{searcher if reader else ''}{settings}\n"
            f"timeout = {int(LATE * 1000)}ms\n"
            "mechanisms = { PLAIN, LOGIN, EXTERNAL }\n"
            "backend_login = master  master_user = master\n"
            f'master_password_file = "{tmp}/master"\n',
            more="pool p1 { backends = { d1 } }\n"
            "pool p2 { backends = { d2 } }\n",
            routes="route { pool = p1 }", **sections))
    return start


@pytest.fixture
def directory(tmp, backend_cert, new_user):
    """A slapd with three users: no fields, a pool, and a backend and as."""
    users = [new_user() for _ in range(3)]
    other = new_user()
    one = Slapd(tmp / "ldap", backend_cert, [
        person(users[0], "pass word"),
        person(users[1], "pass word", employeeType="p2"),
        person(users[2], "pass word", title="d2", displayName=other),
        person("empty", ""), person("bad@example.org", "x", title="d9"),
        person("a)(|(uid=a", "p1"), person('"quoted"', "p2"),
        person("back\\slash\\2a", "p3"), person("a,ou=people", "p4")])
    one.users, one.other = users, other
    one.start()
    yield one
    one.stop()


FIELDS = "\npool_attribute = employeeType  backend_attribute = title\n" \
    "as_attribute = displayName"


@pytest.mark.parametrize("way", [BY_FILTER, BY_NAME])
def test_binds_decide(guarded, directory, mail, way):
    a, b, c = directory.users
    w = guarded(directory, way + FIELDS)
    for user in (a, b, c):
        assert reply(w, user, "pass word").startswith("OK")
    mail.d1.wait_login(a)
    mail.d2.wait_login(b)
    mail.d2.wait_login(directory.other)
    text = reply(w, a, "secret")
    assert text.startswith(DENIED)
    assert reply(w, "no" + a, "pass word") == text
    # without a password every server says yes (RFC 4513, 5.1.2)
    with Imap(w.imaps, tls=True) as client:
        assert client.command(f'LOGIN "{a}" ""')[1].startswith("NO")
        assert client.command(f"AUTHENTICATE PLAIN {plain(a, '')}")[1] \
            .startswith("NO")
    assert reply(w, "empty", "x").startswith(DENIED)
    assert reply(w, "bad@example.org", "x").startswith(AWAY)
    assert len(mail.d1.logins(a)) == 1


@pytest.mark.parametrize("way", [BY_FILTER, BY_NAME])
def test_names_stay_in_their_place(guarded, directory, way):
    w = guarded(directory, way.replace("mail=", "uid="))
    control = w.control()
    for name in NASTY:
        text = reply(w, name, "nonsense")
        assert text.startswith("NO") and "UNAVAILABLE" not in text, name
    # each may log in by its own password, so it was found: the backend does
    # not know it
    for name, password in (("a)(|(uid=a", "p1"), ('"quoted"', "p2"),
                           ("back\\slash\\2a", "p3"), ("a,ou=people", "p4")):
        reply(w, name, password)
        w.wait_log(event="login_failed", user=name, stage="login")
    assert reply(w, directory.users[0], "pass word").startswith("OK")
    assert w.control() == control


def test_tls_to_the_directory(guarded, directory, ca, tmp):
    user = directory.users[0]
    good = f'{BY_FILTER}\nca = "{ca.cert}"\n'
    w = guarded(directory, good + "starttls = yes")
    assert reply(w, user, "pass word").startswith("OK")
    w = guarded(directory, good, url=directory.tls_url)
    assert reply(w, user, "pass word").startswith("OK")
    assert reply(w, user, "pass").startswith(DENIED)
    # another authority's, and nobody's
    from harness.certs import Authority
    other = Authority(tmp / "other")
    w = guarded(directory, f'{BY_FILTER}\nca = "{other.cert}"',
                url=directory.tls_url)
    assert reply(w, user, "pass word").startswith(AWAY)
    w = guarded(directory, f"{BY_FILTER}\nverify = no",
                url=directory.tls_url)
    assert reply(w, user, "pass word").startswith("OK")


def test_certificates(guarded, directory, mail, ca):
    _, known, _ = directory.users
    w = guarded(directory, BY_FILTER + FIELDS,
                tls=f'client_ca = "{ca.cert}"')

    def external(name):
        cert = ca.issue(name, f"email:{name}", client=True)
        with Imap(w.imaps, tls=tls_context(cert=cert)) as c:
            return c.command("AUTHENTICATE EXTERNAL =")[1]

    assert external(known).startswith("OK")
    mail.d2.wait_login(known)
    assert external("un" + known).startswith(DENIED)


def test_many_binds_at_once(guarded, directory):
    """More than there are connections; right and wrong do not mix."""
    a, b, c = directory.users
    w = guarded(directory, BY_NAME + "\nconnections = 2", reader=False)

    def one(n):
        user = directory.users[n % 3]
        right = n % 2 == 0
        text = reply(w, user, "pass word" if right else f"wrong{n}")
        return text.startswith("OK" if right else DENIED)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(40)))


def test_the_directory_goes_and_comes_back(guarded, directory):
    user = directory.users[0]
    w = guarded(directory, BY_FILTER)
    assert reply(w, user, "pass word").startswith("OK")
    directory.pause()
    assert reply(w, user, "pass word").startswith(AWAY)
    assert "no answer within" in w.wait_log(event="auth_down")["why"]
    directory.resume()
    wait_until(lambda: reply(w, user, "pass word").startswith("OK"),
               "slapd again", 30)
    w.wait_log(event="auth_up")
    directory.stop()
    assert reply(w, user, "pass word").startswith(AWAY)
    directory.start()
    wait_until(lambda: reply(w, user, "pass word").startswith("OK"),
               "slapd again", 30)
