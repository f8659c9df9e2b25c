# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Backends that the DNS knows: names of several addresses, SRV records"""
import collections
import contextlib
import os
import signal
import ssl
import subprocess
import threading

import pytest

from fake.dns import NameServer
from fake.peer import Peer
from harness.conf import backend
from harness.console import ask, weirctl
from harness.imap import Imap
from harness.mailweir import PROGRAM
from harness.procs import wait_until
from harness.redis import Redis

SRV = "_imap._tcp.mail.test"
IPS = [f"127.0.0.{n}" for n in range(1, 5)]


def answering(name):
    """A backend that says who it is."""
    def script(c):
        c.greet()
        c.login(f"OK [CAPABILITY IMAP4rev1] this is {name}")
        c.serve()
    return script


@contextlib.contextmanager
def servers(n, tls=None):
    """Peers on 127.0.0.1, 127.0.0.2 ..., all on one port, which say their
    address."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(answering(IPS[0]), tls=tls))]
        for ip in IPS[1:n]:
            peers.append(stack.enter_context(
                Peer(answering(ip), port=peers[0].port, host=ip, tls=tls)))
        yield peers


def login(w, user, keep=False):
    """Where the user is served, or the refusal; keep: and the session."""
    c = Imap(w.imaps, tls=True)
    c.send(f't LOGIN "{user}" secret\r\n')
    where = c.finish("t")[1].rsplit("this is ")[-1]
    if keep:
        return where, c
    c.close()
    return where


def where(w, n, prefix="u"):
    """{user: address} of n users."""
    return {f"{prefix}{k}@example.org": login(w, f"{prefix}{k}@example.org")
            for k in range(n)}


def dns_section(dns):
    return (f'dns {{\n  servers = {{ "127.0.0.1:{dns.port}" }}\n'
            "  timeout = 500ms\n}\n")


def srv_backend(settings=""):
    return ("mail", f'backend mail {{\n  address = "srv+{SRV}"\n'
            f"  {settings}\n}}\n")


def record(*targets):
    """Of (priority, weight, port, host number)."""
    return [(priority, weight, port, f"imap{host}.test")
            for priority, weight, port, host in targets]


HOSTS = {f"imap{n}.test": [ip] for n, ip in enumerate(IPS, 1)}


def server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, certificate))
    return context


def explain(w, user):
    return subprocess.run(
        [PROGRAM, "route", "-c", w.conf, user, "192.0.2.1"],
        capture_output=True, text=True, timeout=30, check=False)


def test_all_addresses_are_used(weir, conf):
    with NameServer({"wide.test": IPS[:3]}) as dns, servers(3) as peers:
        w = weir(conf(backend("wide", peers[0].port, host="wide.test"),
                      more=dns_section(dns)))
        first = where(w, 30)
        counts = collections.Counter(first.values())
        assert set(counts) == set(IPS[:3]) and min(counts.values()) >= 3
        # the same door for the same user, in whatever order they are named
        dns.names["wide.test"] = IPS[2::-1]
        assert where(w, 10) == dict(list(first.items())[:10])
        # one less: its users go to the others, sessions stay
        user = next(u for u, ip in first.items() if ip == IPS[2])
        _, kept = login(w, user, keep=True)
        dns.names["wide.test"] = IPS[:2]
        wait_until(lambda: login(w, user) in IPS[:2], "the other addresses",
                   30, interval=0.1)
        kept.ok("NOOP")
        kept.close()
        for user, ip in list(first.items())[:15]:
            assert login(w, user) == ip or ip == IPS[2]
        told = explain(w, user)
        assert told.returncode == 0
        assert told.stdout.count(" address 127.0.0.") == 2, told.stdout


def test_a_dead_address_is_left_out(weir, conf):
    with NameServer({"wide.test": IPS[:3]}, ttl=60) as dns, \
            servers(2) as peers:
        w = weir(conf(backend("wide", peers[0].port, host="wide.test"),
                      more=dns_section(dns)))
        # nobody is refused, not even who finds it dead
        counts = collections.Counter(where(w, 30).values())
        assert set(counts) == set(IPS[:2])
        line = w.wait_log(event="address_fault", backend="wide")
        assert line["address"] == f"{IPS[2]}:{peers[0].port}"
        # it counts once, and is asked no more for a while
        assert len(w.lines(event="address_fault")) == 1
        assert len(w.lines(event="backend_failed")) <= 1
        assert not w.lines(event="probe_failed")


def test_targets_are_backends(weir, conf):
    with servers(3) as peers:
        port = peers[0].port
        names = {SRV: record((10, 10, port, 1), (10, 30, port, 2)), **HOSTS}
        with NameServer(names) as dns:
            w = weir(conf(srv_backend(), more=dns_section(dns)))
            first = where(w, 60)
            counts = collections.Counter(first.values())
            assert set(counts) == set(IPS[:2])
            assert counts[IPS[1]] > 1.5 * counts[IPS[0]]	# 3 expected
            logged = w.wait_log(event="login", user="u0@example.org")
            assert logged["backend"] == "mail/imap{}.test:{}".format(
                IPS.index(first["u0@example.org"]) + 1, port)
            # another one comes: it takes users, but moves no others
            dns.names[SRV] = record((10, 10, port, 1), (10, 30, port, 2),
                                    (10, 40, port, 3))
            w.wait_log(event="target_came",
                       backend=f"mail/imap3.test:{port}")
            second = where(w, 30)
            assert IPS[2] in second.values()
            for user, ip in second.items():
                assert ip in (first[user], IPS[2])
            # and leaves: sessions go on until their user comes anew
            user = next(u for u, ip in second.items() if ip == IPS[2])
            _, kept = login(w, user, keep=True)
            dns.names[SRV] = record((10, 10, port, 1), (10, 30, port, 2))
            w.wait_log(event="target_left",
                       backend=f"mail/imap3.test:{port}")
            kept.ok("NOOP")
            assert login(w, user) == first[user]
            assert "BYE" in kept.line()
            kept.close()
            told = explain(w, user)
            assert f"mail/imap1.test:{port}" in told.stdout, told.stdout


def test_priorities_and_no_service(weir, conf):
    with servers(2) as peers:
        port = peers[0].port
        # the first of the lower priorities is dead
        names = {SRV: record((10, 0, port, 3), (20, 0, port, 1),
                             (30, 0, port, 2)), **HOSTS}
        with NameServer(names) as dns:
            w = weir(conf(srv_backend(), more=dns_section(dns)))
            assert set(where(w, 8).values()) == {IPS[0]}
            dns.names[SRV] = record((20, 0, port, 2))
            wait_until(lambda: login(w, "jan@example.org") == IPS[1],
                       "the new record", 30, interval=0.1)
            dns.names[SRV] = [(0, 0, 0, ".")]
            wait_until(lambda: login(w, "jan@example.org").startswith(
                "NO [UNAVAILABLE]"), "the end of the service", 30,
                interval=0.1)


def test_a_name_server_that_falls_silent(weir, conf):
    """What was known goes on, through a reload and a new control too as far
    as it can; it is said once."""
    with servers(1) as peers:
        port = peers[0].port
        with NameServer({SRV: record((10, 0, port, 1)), **HOSTS}) as dns:
            made = conf(srv_backend(), more=dns_section(dns))
            w = weir(made)
            assert login(w, "jan@example.org") == IPS[0]
            dns.names[SRV] = dns.names["imap1.test"] = None
            w.wait_log(event="resolve_failed", name=f"srv+{SRV}", timeout=30)
            w.wait_log(event="resolve_failed", name="imap1.test", timeout=30)
            asked = len(dns.asked)
            wait_until(lambda: len(dns.asked) > asked + 4, "more questions",
                       30)
            assert login(w, "jan@example.org") == IPS[0]
            w.reload()
            assert login(w, "jan@example.org") == IPS[0]
            assert len(w.lines(event="resolve_failed")) == 2
            dns.names.update(HOSTS)
            dns.names[SRV] = record((10, 0, port, 1))
            w.wait_log(event="resolved", name=f"srv+{SRV}", timeout=40)


def test_a_new_control_keeps_users_at_targets(weir, conf):
    with servers(2) as peers:
        port = peers[0].port
        names = {SRV: record((10, 0, port, 1), (10, 0, port, 2)), **HOSTS}
        with NameServer(names) as dns:
            w = weir(conf(srv_backend(), more=dns_section(dns)))
            ip, kept = login(w, "jan@example.org", keep=True)
            # by its hash it would be the other one
            other = "mail/imap{}.test:{}".format(2 - IPS.index(ip), port)
            host = "imap{}.test".format(IPS.index(ip) + 1)
            dns.names[SRV] = [(10, 1, port, host),
                              (10, 1000, port, other[5:].split(":")[0])]
            w.wait_log(event="target_came")
            os.kill(w.control(), signal.SIGKILL)
            w.wait_log(event="serving", count=2)
            assert login(w, "jan@example.org") == ip
            kept.ok("NOOP")
            kept.close()


@pytest.mark.parametrize("address,silent", [
    (f"srv+{SRV}", [SRV, "imap1.test"]), (f"srv+{SRV}", ["imap1.test"]),
    ("imap1.test", ["imap1.test"])])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_answers_outlive_control(weir, conf, tmp, address, silent,
                                 is_restarted):
    """The name server is dead when control begins, and the backend lives."""
    def state():
        path = tmp / "state" / "orders"
        return path.read_text() if path.exists() else ""

    with servers(2) as peers:
        port = peers[0].port
        names = {SRV: record((10, 0, port, 1)), **HOSTS}
        with NameServer(names) as dns:
            made = conf(("mail", 'backend mail {\n  address = "'
                         f'{address}{"" if "+" in address else f":{port}"}"'
                         "\n}\n"), more=dns_section(dns),
                        admin=f'state_file = "{tmp}/state/orders"')
            w = weir(made)
            _, kept = login(w, "jan@example.org", keep=True)
            wait_until(lambda: "imap1.test" in state() and
                       "127.0.0.1" in state(), state)
            dns.names.update(dict.fromkeys(silent))
            if is_restarted:
                kept.close()
                w.stop()
                w = weir(made)
            else:
                os.kill(w.control(), signal.SIGKILL)
                w.wait_log(event="serving", count=2)
                assert login(w, "jan@example.org") == IPS[0]
                kept.ok("NOOP")
                kept.close()
            assert login(w, "eva@example.org") == IPS[0]
            told = w.wait_log(event="resolve_failed", name=silent[0] if
                              SRV not in silent else address)
            assert told.get("stale_targets", told.get("stale_addresses")) \
                == "1"
            # what the name server says counts, as soon as it does
            dns.names.update(HOSTS)
            dns.names[SRV] = record((10, 0, port, 2))
            dns.names["imap1.test"] = [IPS[1]]
            wait_until(lambda: login(w, "eva@example.org") == IPS[1],
                       "the new answer", 40, interval=0.1)
            # and is kept instead
            wait_until(lambda: "127.0.0.2" in state() and
                       "127.0.0.1" not in state(), state)


def test_operators_see_targets(weir, conf):
    with servers(2) as peers:
        port = peers[0].port
        names = {SRV: record((10, 5, port, 1), (20, 7, port, 2)), **HOSTS,
                 "imap1.test": IPS[:2]}
        with NameServer(names) as dns:
            w = weir(conf(srv_backend(), more=dns_section(dns),
                          admin="socket = admin.sock"))
            _, kept = login(w, "jan@example.org", keep=True)
            first, second = ask(w, "backends")
            assert first["name"] == f"mail/imap1.test:{port}"
            assert first["pools"] == ["main"] and first["weight"] == 5
            assert sorted(first["connects_to"]) == \
                [f"{ip}:{port}" for ip in IPS[:2]]
            assert (first["sessions"], second["sessions"]) == (1, 0)
            done = weirctl(w, "kick", "--backend", first["name"])
            assert done.returncode == 0, done.stderr
            assert "BYE" in kept.line()
            kept.close()
            # what is wanted of a target holds when it leaves and comes back
            done = weirctl(w, "maintenance", first["name"])
            assert done.returncode == 0, done.stderr
            both = dns.names[SRV]
            dns.names[SRV] = both[1:]
            w.wait_log(event="target_left", backend=first["name"])
            dns.names[SRV] = both
            w.wait_log(event="target_came", backend=first["name"], count=2)
            assert [b["state"] for b in ask(w, "backends")] == \
                ["maintenance", "ready"]
            wait_until(lambda: login(w, "jan@example.org") == IPS[1],
                       "the backend that is left", interval=0.2)


@pytest.mark.parametrize("tls_name,served", [("", True), ("other.test",
                                                          False)])
def test_tls_name_is_the_targets(weir, conf, ca, tls_name, served):
    certificate = ca.issue("imap1.test", "DNS:imap1.test")
    with Peer(answering("tls"), tls=server_context(certificate),
              implicit=True) as peer:
        with NameServer({SRV: record((10, 0, peer.port, 1)), **HOSTS}) as dns:
            w = weir(conf(srv_backend(
                f'tls = implicit\n  ca = "{ca.cert}"\n'
                + (f'  tls_name = "{tls_name}"' if tls_name else "")),
                more=dns_section(dns)))
            reply = login(w, "jan@example.org")
            assert (reply == "tls") == served, reply


def test_a_table_names_targets(weir, conf, tmp):
    with servers(2) as peers:
        port = peers[0].port
        names = {SRV: record((10, 0, port, 1), (10, 0, port, 2)), **HOSTS}
        homes = tmp / "homes"
        homes.write_text(f"a@example.org backend mail/imap1.test:{port}\n"
                         f"b@example.org imap2.test:{port}\n"
                         "c@example.org imap2.test\n"
                         f"d@example.org mail/imap1.test:{port}\n")
        homes.chmod(0o644)
        with NameServer(names) as dns:
            w = weir(conf(srv_backend(), more=dns_section(dns) +
                          f'table homes {{ type = file  path = "{homes}" }}',
                          routes="route { table = homes }"))
            assert [login(w, f"{u}@example.org") for u in "abcd"] == \
                [IPS[0], IPS[1], IPS[1], IPS[0]]


def test_a_redis_table_has_a_name(weir, conf, tmp):
    """Which dns.servers know, and the system's do not."""
    redis = Redis(tmp).start()
    try:
        with servers(2) as peers:
            port = peers[0].port
            names = {"redis.test": ["127.0.0.1"], **HOSTS}
            with NameServer(names) as dns:
                w = weir(conf(
                    *(backend(f"m{n}", port, host=f"imap{n}.test")
                      for n in (1, 2)),
                    more=dns_section(dns) + "table homes { type = redis\n"
                    f'address = "redis.test:{redis.port}"  key = "%s" }}',
                    routes="route { table = homes }"))
                for n in (1, 2):
                    redis("SET", f"u{n}@example.org", f"backend m{n}")
                    assert login(w, f"u{n}@example.org") == IPS[n - 1]
    finally:
        redis.stop()


def test_checks_go_on_while_targets_change(weir, conf):
    """Each second another record: who hangs is found to be down all the same,
    though that takes a check longer than a second."""
    hangs = threading.Event()

    def moody(c):
        if not hangs.is_set():
            answering("moody")(c)
        c.hang()

    with Peer(moody) as peer, \
            Peer(answering(IPS[1]), port=peer.port, host=IPS[1]):
        port = peer.port
        lone, both = record((10, 0, port, 1)), \
            record((10, 0, port, 1), (10, 0, port, 2))
        with NameServer({SRV: lone, **HOSTS}) as dns:
            w = weir(conf(srv_backend(), more=dns_section(dns),
                          pool="health { interval = 200ms\n"
                          "fast_interval = 100ms  timeout = 2500ms\n"
                          "fall = 1 }"))
            assert login(w, "jan@example.org") == "moody"
            hangs.set()
            for n in range(1, 7):
                if w.lines(event="backend_state", to="down"):
                    break
                dns.names[SRV] = both
                w.wait_log(event="target_came",
                           backend=f"mail/imap2.test:{port}", count=n)
                dns.names[SRV] = lone
                w.wait_log(event="target_left",
                           backend=f"mail/imap2.test:{port}", count=n)
            line, = w.lines(event="backend_state")
            assert line["backend"] == f"mail/imap1.test:{port}", line
