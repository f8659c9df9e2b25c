# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Which backend serves whom, and what happens when it does not"""
import collections
import socket

import pytest

from fake.dns import NameServer
from fake.peer import Peer, polite
from harness.conf import backend
from harness.imap import Imap, plain
from harness.procs import free_port, wait_until


def answering(name):
    """A backend that says who it is."""
    def script(c):
        c.greet()
        c.login(f"OK [CAPABILITY IMAP4rev1] this is {name}")
        c.serve()
    return script


@pytest.fixture
def three():
    peers = [Peer(answering(name)) for name in ("a", "b", "c")]
    yield peers
    for peer in peers:
        peer.close()
        assert not peer.errors, peer.errors[0]


def who(w, user, port=None, tls=True, name=None, **options):
    """The backend that serves this user, or the refusal."""
    with Imap(port or w.imaps, tls=tls, name=name, **options) as c:
        c.send(f't LOGIN "{user}" secret\r\n')
        reply = c.finish("t")[1]
    return reply.rsplit("this is ")[-1]


def test_user_hash_is_stable(weir, conf, three):
    backends = [backend(n, p.port) for n, p in zip("abc", three)]
    w = weir(conf(*backends))
    users = [f"u{n}@example.org" for n in range(60)]
    first = {user: who(w, user) for user in users}
    counts = collections.Counter(first.values())
    assert set(counts) == {"a", "b", "c"} and min(counts.values()) >= 8
    # the same again, in any spelling, from another instance
    other = weir(conf(*reversed(backends)))
    for user in users[:20]:
        assert who(w, user.upper()) == first[user]
        assert who(other, user) == first[user]
    # one that leaves moves its own users only
    fewer = weir(conf(*backends[:2]))
    for user in users:
        if first[user] != "c":
            assert who(fewer, user) == first[user]


def test_weight(weir, conf, three):
    w = weir(conf(backend("a", three[0].port, "weight = 300"),
                  backend("b", three[1].port, "weight = 100"),
                  backend("c", three[2].port, "weight = 0")))
    counts = collections.Counter(
        who(w, f"w{n}@example.org") for n in range(80))
    assert counts["c"] == 0 and 44 <= counts["a"] <= 74


def test_round_robin(weir, conf, three):
    w = weir(conf(*(backend(n, p.port) for n, p in zip("abc", three)),
                  pool="balance = round-robin"))
    counts = collections.Counter(who(w, f"u{n}@example.org") for n in range(9))
    assert sorted(counts.values()) == [3, 3, 3]


def test_routes(weir, conf, three, front):
    extra = free_port()
    w = weir(conf(
        *(backend(n, p.port) for n, p in zip("abc", three)),
        more="pool pa { backends = { a } }\npool pb { backends = { b } }\n"
        "pool pc { backends = { c } }\n"
        f'listener other {{ address = "127.0.0.1:{extra}"  tls = implicit\n'
        "  certificates = { front } }\n",
        routes=r"""
route { user = "*@a.example"  pool = pa }
route { user = "~^[0-9]+@b\\.example$"  pool = pb }
route { domain = "c.example"  pool = pc }
route { user = "closed@*"  refuse = "[CONTACTADMIN] Closed." }
route { sni = "b.mail.test"  pool = pb }
route { network = { "127.0.0.9/32", "2001:db8::/32" }  pool = pc }
route { listener = { other }  domain = "x.example"  pool = pb }
route { listener = { other }  pool = pc }
route { domain = "a.*"  pool = pa }
route { refuse = "[CONTACTADMIN] No mail service for this address." }
"""))
    assert who(w, "Jan@A.example") == "a"
    assert who(w, "123@b.example") == "b"
    assert who(w, "x123@b.example").startswith("NO [CONTACTADMIN] No mail")
    assert who(w, "any@c.example") == "c"
    assert who(w, "closed@z.example") == "NO [CONTACTADMIN] Closed."
    assert who(w, "q@z.example", name="b.mail.test") == "b"
    assert who(w, "p@z.example", source="127.0.0.9") == "c"
    assert who(w, "q@x.example", port=extra) == "b"
    assert who(w, "q@y.example", port=extra) == "c"
    assert who(w, "q@a.b.c") == "a"
    assert who(w, "nobody") == \
        "NO [CONTACTADMIN] No mail service for this address."
    # a refusal is logged with its stage, and the connection stays
    line = w.wait_log(event="login_failed", user="closed@z.example")
    assert line["stage"] == "decide"


def test_default_domain(weir, conf, three):
    w = weir(conf(
        *(backend(n, p.port) for n, p in zip("abc", three)),
        auth='default_domain = "example.org"',
        routes='route { domain = "example.org" pool = main }\n'))
    assert who(w, "jan") == who(w, "JAN@example.org")
    assert who(w, "jan@other.example").startswith("NO")


def test_master_login_is_routed_by_the_user(weir, conf, three):
    """authzid names whose mail it is; authcid whose password."""
    w = weir(conf(*(backend(n, p.port) for n, p in zip("abc", three))))
    for n in range(6):
        user = f"m{n}@example.org"
        with Imap(w.imaps, tls=True) as c:
            _, reply = c.command("AUTHENTICATE PLAIN "
                                 + plain("admin", "x", user))
        assert reply.endswith(who(w, user))


def test_backend_login_master_needs_external(weir, conf, mail, user, tmp):
    (tmp / "pw").write_text("master-secret\n")
    w = weir(conf(
        backend("d1", mail.d1.plain),
        auth="backend_login = master\n  master_user = master\n"
        f'  master_password_file = "{tmp}/pw"'))
    with Imap(w.imaps, tls=True) as c:
        # the master user is for EXTERNAL, which proves who the client is;
        # nobody gets in by it with a password that nobody checks
        _, reply = c.command(f"LOGIN {user} whatever")
        assert reply.startswith("NO [AUTHENTICATIONFAILED]")
        c.login(user)
        c.ok("SELECT INBOX")
    mail.d1.wait_login(user)
    assert "master-secret" not in w.log()


# when the first choice fails

def refusing():
    """A port where nobody listens."""
    return free_port()


def closing(c):
    c.sock.close()


def unavailable(c):
    c.greet()
    c.login("NO [UNAVAILABLE] down for maintenance")
    c.hang()


def bye(c):
    c.send("* BYE too busy\r\n")


def garbage(c):
    c.send("220 mail.example.org ESMTP\r\n")
    c.hang()


@pytest.mark.parametrize("how", [None, closing, unavailable, bye, garbage])
def test_next_backend_when_one_fails(weir, conf, how):
    """A client never sees that its first backend is down."""
    with Peer(how or polite) as bad, Peer(answering("good")) as good:
        if how is None:
            bad.close()
        w = weir(conf(backend("bad", bad.port), backend("good", good.port),
                      pool="balance = round-robin\n"
                      "  health { type = none }"))
        for n in range(4):
            assert who(w, f"u{n}@example.org") == "good"
        w.wait_log(event="backend_failed", backend="bad")


def test_all_backends_down(weir, conf):
    w = weir(conf(backend("a", refusing()), backend("b", refusing())))
    with Imap(w.imaps, tls=True) as c:
        _, reply = c.command("LOGIN jan secret")
        assert reply.startswith("NO [UNAVAILABLE]"), reply
        # it never looks like a wrong password, nor counts as one
        for _ in range(5):
            assert c.command("LOGIN jan secret")[1].startswith(
                "NO [UNAVAILABLE]")
        c.ok("NOOP")
    line = w.wait_log(event="login_failed", user="jan")
    assert line["stage"] in ("connect", "decide")


def test_names_are_resolved(weir, conf, three):
    w = weir(conf(backend("a", three[0].port, host="localhost")))
    assert who(w, "jan@example.org") == "a"


def dns_section(server, timeout="500ms"):
    return (f'dns {{\n  servers = {{ "127.0.0.1:{server.port}" }}\n'
            f"  timeout = {timeout}\n}}\n")


def test_names_follow_the_dns(weir, conf, three):
    """A name that moves takes its sessions to the new address, when the TTL
    is over."""
    port = three[0].port
    with NameServer({"mail.test": ["127.0.0.1"]}) as dns, \
            Peer(answering("moved"), port=port, host="127.0.0.2"):
        w = weir(conf(backend("a", port, host="mail.test"),
                      more=dns_section(dns)))
        assert who(w, "jan@example.org") == "a"
        dns.names["mail.test"] = ["127.0.0.2"]
        wait_until(lambda: who(w, "jan@example.org") == "moved",
                   "the new address", 30, interval=0.2)
        # the server is silent: what was known goes on
        dns.names["mail.test"] = None
        asked = len(dns.asked)
        wait_until(lambda: len(dns.asked) > asked, "another question", 30)
        assert who(w, "jan@example.org") == "moved"


def test_a_name_with_two_addresses(weir, conf, three):
    """One of them does not answer: the other does."""
    port = three[0].port
    with NameServer({"mail.test": ["127.0.0.3", "127.0.0.1"]}, ttl=60) as dns:
        w = weir(conf(backend("a", port, host="mail.test"),
                      more=dns_section(dns)))
        wait_until(lambda: who(w, "jan@example.org") == "a",
                   "the address that works", 30, interval=0.2)


def test_a_silent_name_server(weir, conf):
    with NameServer({"mail.test": None}) as dns:
        w = weir(conf(backend("a", 143, host="mail.test"),
                      more=dns_section(dns),
                      pool="connect_timeout = 1s\n  login_timeout = 2s"))
        assert who(w, "jan@example.org").startswith("NO [UNAVAILABLE]")


def test_backend_on_ipv6(weir, conf):
    with Peer(answering("six"), host="::1") as peer:
        w = weir(conf(backend("six", peer.port, host="[::1]")))
        assert who(w, "jan@example.org") == "six"


def test_a_name_that_does_not_exist(weir, conf, three):
    w = weir(conf(backend("x", 143, host="no-such-host.invalid"),
                  backend("a", three[0].port), more="""
dns {
  servers = { "127.0.0.1:9" }
  timeout = 100ms
}
"""))
    for n in range(6):
        assert who(w, f"u{n}@example.org") == "a"


@pytest.mark.parametrize("says,hears", [
    ("NO [AUTHENTICATIONFAILED] no such user jan",
     "NO [AUTHENTICATIONFAILED] Authentication failed."),
    ("NO no such user", "NO [AUTHENTICATIONFAILED] Authentication failed."),
    ("NO [SERVERBUG] internal details", "NO [SERVERBUG] Account is"),
    ("NO [LIMIT] Too many of you", "NO [LIMIT] Too many of you"),
    ("NO [UNAVAILABLE] x", "NO [UNAVAILABLE]"),
    ("NO [EXPIRED] Pay first", "NO [EXPIRED] Pay first"),
    ("BAD what?", "NO [UNAVAILABLE]")])
def test_what_the_backend_says_and_the_client_hears(weir, conf, says, hears):
    def script(c):
        c.greet()
        c.login(says)
        c.hang()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port)))
        with Imap(w.imaps, tls=True) as c:
            _, reply = c.command("LOGIN jan secret")
            assert reply.startswith(hears), reply
            assert "jan" not in reply and "internal" not in reply


@pytest.mark.parametrize("pieces", ["whole", "bytes"])
@pytest.mark.parametrize("code", [True, False])
def test_capabilities_after_login(weir, conf, pieces, code):
    """The backend's own, wherever it said them, in any split."""
    def script(c):
        say = c.send
        if pieces == "bytes":
            def say(data):
                for byte in data.encode():
                    c.send(bytes([byte]))
        say("* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN] hi\r\n")
        tag = c.login(reply=None)
        if code:
            say(f"{tag} OK [CAPABILITY IMAP4rev1 IDLE XNEAT] in\r\n* 1 NEWS"
                "\r\n")
        else:
            say(f"* CAPABILITY IMAP4rev1 IDLE XNEAT\r\n{tag} OK in\r\n"
                "* 1 NEWS\r\n")
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port)))
        for asks in (False, True):
            with Imap(w.imaps, tls=True) as c:
                if asks:
                    c.capability()
                c.send("t LOGIN jan secret\r\n")
                untagged, reply = c.finish("t")
                told = b"".join(untagged).decode() + reply
                assert "XNEAT" in told and "AUTH=" not in told
                # session data behind the OK is not lost
                assert c.line() == "* 1 NEWS"


def test_backend_without_pipelining(weir, conf):
    """pipeline = no: nothing is sent before the answer to the last."""
    def script(c):
        import select
        c.greet()
        while True:
            tag, name, rest = c.command()
            c.user = "somebody"
            early = bool(c.buffer) or bool(
                select.select([c.sock], [], [], 0.1)[0])
            assert not early, "pipelined"
            if name == "ID":
                c.send(f'* ID NIL\r\n{tag} OK done\r\n')
            elif name == "LOGOUT":
                c.send(f"* BYE\r\n{tag} OK\r\n")
                return
            else:
                if name == "AUTHENTICATE" and " " not in rest:
                    c.send("+ \r\n")
                    c.line()
                c.reply(tag, "OK [CAPABILITY IMAP4rev1] done")

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port,
                              "client_info = id\n  pipeline = no")))
        with Imap(w.imaps, tls=True) as c:
            c.login("jan")
            c.ok("LOGOUT")


def test_login_is_one_round_trip(weir, conf):
    """ID and the login come together, before anything was answered."""
    def script(c):
        c.greet()
        first = c.line()		# a probe goes no further
        assert " ID (" in first, first
        c.user = "somebody"
        second = c.line()		# not answered, and yet it comes
        assert "AUTHENTICATE PLAIN " in second or " LOGIN " in second
        tag = second.split()[0]
        c.send(f"* ID NIL\r\n{first.split()[0]} OK\r\n"
               f"{tag} OK [CAPABILITY IMAP4rev1] in\r\n")
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port, "client_info = id")))
        with Imap(w.imaps, tls=True) as c:
            c.login("jan")


@pytest.mark.parametrize("capabilities", [
    "IMAP4rev1", "IMAP4rev1 AUTH=PLAIN", "IMAP4rev1 AUTH=PLAIN SASL-IR",
    "IMAP4rev1 LITERAL+", "IMAP4rev1 LITERAL- AUTH=LOGIN", None])
def test_backends_of_all_kinds(weir, conf, capabilities):
    """PLAIN with or without an initial response, LOGIN where PLAIN is
    missing, CAPABILITY asked for where the greeting has none."""
    def script(c):
        c.greet(capabilities)
        c.login(capabilities=capabilities or "IMAP4rev1 AUTH=PLAIN")
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port)))
        with Imap(w.imaps, tls=True) as c:
            c.login("jan", 'pass "\\ word')
            c.ok("NOOP")
        assert peer.sessions()[0].user == "jan"
        assert peer.sessions()[0].password == 'pass "\\ word'


def test_one_deadline_over_all_attempts(weir, conf):
    """Backends that hang do not add up."""
    import time

    def hanging(c):
        c.hang()

    with Peer(hanging) as a, Peer(hanging) as b, Peer(hanging) as d:
        w = weir(conf(*(backend(n, p.port) for n, p in
                        zip("abc", (a, b, d))),
                      pool="connect_timeout = 1s\n  login_timeout = 2s"))
        begin = time.monotonic()
        with Imap(w.imaps, tls=True) as c:
            _, reply = c.command("LOGIN jan secret")
            assert reply.startswith("NO [UNAVAILABLE]")
        assert 0.9 < time.monotonic() - begin < 6


def test_source_addresses_are_taken_in_turn(weir, conf):
    seen = set()

    def script(c):
        seen.add(c.sock.getpeername()[0])
        c.greet()
        c.login()
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port, 'source_addresses = '
                              '{ "127.0.0.8", "127.0.0.9" }'), workers=1))
        for _ in range(4):
            with Imap(w.imaps, tls=True) as c:
                c.login("jan")
                c.ok("LOGOUT")
    assert seen - {"127.0.0.1"} == {"127.0.0.8", "127.0.0.9"}


def test_ipv6_listener_takes_both(weir, conf, three):
    port = free_port()
    w = weir(conf(backend("a", three[0].port), more=f"""
listener both {{
  address = "[::]:{port}"
  tls = implicit
  certificates = {{ front }}
}}
"""))
    assert who(w, "jan", port=port) == "a"
    if socket.has_ipv6:
        assert who(w, "jan", port=port, host="::1") == "a"
