# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Where clients are: regions, countries, and databases that change

Clients have the address that a trusted balancer says, by a PROXY header.
"""
import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import threading

import pytest

from fake.peer import Peer
from harness.conf import backend
from harness.imap import Imap
from harness.mailweir import PROGRAM, run
from harness.procs import wait_until

TRUSTED = 'proxy_protocol_from = { "127.0.0.0/8" }'
MMDB = pathlib.Path(__file__).resolve().parent.parent / "mmdb.pl"
SWISS, DANE, KOREAN, NOWHERE = \
    "203.0.113.5", "203.0.114.5", "203.0.115.5", "192.0.2.200"


def databases(place, **texts):
    """place/NAME for each NAME="TYPE lines"."""
    said = ""
    for name, text in texts.items():
        kind, _, lines = text.partition("\n")
        said += f"@ {place}/{name} {kind}\n{lines}\n"
    subprocess.run(["perl", MMDB], input=said, text=True, check=True)


COUNTRIES = f"""GeoLite2-Country
{SWISS}/24 country=CH continent=EU
{DANE}/24 country=DK continent=EU
{KOREAN}/24 country=KP continent=AS
2001:db8:5::/48 country=CH continent=EU
"""


def answering(name):
    def script(c):
        c.greet()
        c.login(f"OK [CAPABILITY IMAP4rev1] this is {name}")
        c.serve()
    return script


@pytest.fixture
def farm():
    """Backends home, eu and us, and a pool of each."""
    with contextlib.ExitStack() as stack:
        peers = {name: stack.enter_context(Peer(answering(name)))
                 for name in ("home", "eu", "us")}
        yield [backend(f"b-{name}", peer.port)
               for name, peer in peers.items()]


POOLS = "".join(f"pool {name} {{ backends = {{ b-{name} }} }}\n"
                for name in ("home", "eu", "us"))


def header(address):
    if ":" in address:
        return f"PROXY TCP6 {address} 2001:db8::1 4711 993\r\n".encode()
    return f"PROXY TCP4 {address} 192.0.2.1 4711 993\r\n".encode()


numbers = itertools.count()


def who(w, address, name="jan", user=None):
    """The backend that serves a client from there, or the refusal.  Each is
    another user, since a user's sessions are kept together."""
    user = user or f"{name}@{next(numbers)}.example"
    with Imap(w.imaps, tls=True, before=header(address)) as c:
        _, reply = c.command(f'LOGIN "{user}" secret')
    return reply.rsplit("this is ")[-1]


@pytest.fixture
def world(weir, conf, farm):
    def start(geoip, routes, more=""):
        return weir(conf(*farm, imaps_listener=TRUSTED, routes=routes,
                         more=f"geoip {{ {geoip} }}\n{POOLS}{more}"))
    return start


def test_regions_countries_and_networks(world, tmp):
    databases(tmp, country=COUNTRIES,
              city=f"GeoLite2-City\n{NOWHERE}/32 country=DE continent=EU"
              " subdivisions=BY\n",
              asn=f"GeoLite2-ASN\n{NOWHERE}/25 asn=64500\n"
              "192.0.2.0/25 asn=64501\n")
    w = world(f'country = "{tmp}/country"  city = "{tmp}/city"\n'
              f'asn = "{tmp}/asn"', """
route { user = "net@*"  network = { "203.0.0.0/16", "!203.0.113.0/24" }
  pool = home }
route { user = "asn@*"  asn = { "!64500", "!unknown" }  pool = home }
route { country = { KP }  refuse = "[AUTHORIZATIONFAILED] Not from there." }
route { region = { home }  pool = home }
route { region = { eu, bavaria }  pool = eu }
route { region = { unknown }  country = { unknown }  pool = us }
""", """
region home { networks = { "203.0.113.64/26", "2001:db8:5:1::/64" } }
region eu { countries = { CH } continents = { EU } }
region bavaria { subdivisions = { "DE-BY" } }
""")
    assert who(w, SWISS) == "eu"
    assert who(w, DANE) == "eu"
    assert who(w, "203.0.113.65") == "home"
    assert who(w, "2001:db8:5:1::9") == "home"
    assert who(w, "2001:db8:5:2::9") == "eu"
    assert who(w, NOWHERE) == "eu"
    assert who(w, "192.0.2.1") == "us"
    assert who(w, KOREAN) == "NO [AUTHORIZATIONFAILED] Not from there."
    assert who(w, DANE, "net") == "home"
    assert who(w, SWISS, "net") == "eu"
    assert who(w, "192.0.2.1", "asn") == "home"
    assert who(w, NOWHERE, "asn") == "eu"
    assert who(w, SWISS, "asn") == "eu"
    for wanted in ({"client": f"{SWISS}:4711", "region": "eu",
                    "country": "CH"},
                   {"client": "203.0.113.65:4711", "region": "home",
                    "country": "CH"},
                   {"client": f"{NOWHERE}:4711", "region": "bavaria",
                    "country": "DE"}):
        w.wait_log(event="login", **wanted)
        w.wait_log(event="close", **wanted)
    line = w.wait_log(event="login", client="192.0.2.1:4711")
    assert "country" not in line and "region" not in line
    for event in ("login_failed", "close"):
        line = w.wait_log(event=event, client=f"{KOREAN}:4711")
        assert line["country"] == "KP" and "region" not in line


def test_the_way_is_explained(world, tmp):
    databases(tmp, country=COUNTRIES,
              asn=f"GeoLite2-ASN\n{SWISS}/24 asn=64500\n")
    w = world(f'country = "{tmp}/country"  asn = "{tmp}/asn"', """
route { region = { "!eu", "!home" }  pool = us }
route { country = "!CH"  percent = 0  refuse = "No." }
route { asn = { 64501, unknown }  pool = home }
route { region = { home, eu }  pool = eu }
""", """
region home { networks = { 203.0.113.64/26 } }
region eu { countries = { CH }  continents = { EU } }
""")

    def explained(address):
        done = subprocess.run(
            [PROGRAM, "route", "-c", w.conf, "jan@example.org", address],
            capture_output=True, text=True, timeout=30, check=False)
        return [line.split(None, 1)[1].replace(f"{w.conf}:", "")
                for line in done.stdout.splitlines()
                if line.startswith("route")]

    place, asn, region, *steps = explained(SWISS)
    assert place == "country CH, subdivision unknown, continent EU"
    assert asn == "asn 64500"
    assert region == "country CH of region eu"
    assert [step.split(": ")[1] for step in steps[:-1]] == [
        "region does not hold", "country does not hold",
        "asn does not hold", "holds"]
    assert steps[-1] == "pool eu"
    assert "network 203.0.113.64/26 of region home" in \
        explained("203.0.113.65")
    danish = explained(DANE)
    assert danish[1:3] == ["asn unknown", "continent EU of region eu"]
    assert danish[4].endswith("percent does not hold")
    assert danish[-1] == "pool home"
    nowhere = explained(NOWHERE)
    assert nowhere[2] == "in no region: unknown"
    assert nowhere[-1] == "pool us"


def test_a_share_of_the_users(world):
    w = world("", """
route { user = "*@example.org"  percent = 25  pool = eu }
route { pool = us }
""")
    served = {user: who(w, SWISS, user=user)
              for user in (f"u{n}@example.org" for n in range(100))}
    # by far more than what chance may do
    assert 8 <= list(served.values()).count("eu") <= 45
    for user in list(served)[:10]:
        assert who(w, DANE, user=user.upper()) == served[user]
    assert who(w, SWISS, user="u1@example.net") == "us"


class Logins:
    """Clients who log in all the time, from the same place."""

    def __init__(self, w, address):
        self.w, self.address, self.served = w, address, []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(2)]

    def run(self):
        while not self.stop.is_set():
            try:
                self.served.append(who(self.w, self.address))
            except Exception as error:	# told when the block is left
                self.served.append(repr(error))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join()

    def wait(self, name):
        """From now on all are served there."""
        def check():
            since = len(self.served)
            wait_until(lambda: len(self.served) >= since + 4, "logins")
            return self.served[-2:] == [name, name]
        wait_until(check, lambda: f"{name}, not {self.served[-5:]}")


def test_database_replaced_cut_and_restored_while_logins_run(world, tmp):
    databases(tmp, live=COUNTRIES, other=COUNTRIES.replace("=CH", "=DK"),
              asn=f"GeoLite2-ASN\n{SWISS}/24 asn=1\n")
    good, other = (tmp / "live").read_bytes(), (tmp / "other").read_bytes()
    live = tmp / "live"
    w = world(f'country = "{live}"', """
route { country = { CH }  pool = eu }
route { country = { DK }  pool = us }
""")

    def refused(count, why):
        line = w.wait_log(event="geoip_refused", count=count)
        assert why in line["why"] and line["kept"] == "old", line

    w.wait_log(event="geoip_loaded", database="country",
               type="GeoLite2-Country")
    with Logins(w, SWISS) as logins:
        logins.wait("eu")
        os.rename(tmp / "other", live)
        logins.wait("us")
        os.truncate(live, 300)
        refused(1, "invalid metadata")
        logins.wait("us")
        live.write_bytes(good)		# in place
        logins.wait("eu")
        os.truncate(live, 0)
        refused(2, "empty")
        os.rename(tmp / "asn", live)
        refused(3, "GeoLite2-ASN")
        logins.wait("eu")
        (tmp / "new").write_bytes(other)
        os.rename(tmp / "new", live)
        logins.wait("us")
    assert set(logins.served) == {"eu", "us"}
    assert len(w.lines(event="geoip_loaded")) == 4
    assert len(w.lines(event="geoip_refused")) == 3


def test_a_refusal_by_country_is_not_passed_over(world, tmp):
    """While a database is read for the first time, questions wait."""
    databases(tmp, live=COUNTRIES)
    data = (tmp / "live").read_bytes()
    at = data.rindex(b"\xab\xcd\xefMaxMind.com")
    with open(tmp / "live", "r+b") as f:	# so that it takes a while
        f.seek(at + (96 << 20))
        f.write(data[at:])
        f.seek(at)
        f.write(bytes(len(data) - at))
    w = world("", """
route { country = { KP }  refuse = "Not from there." }
route { pool = us }
""")
    assert who(w, KOREAN) == "us"
    w.write_conf(w.conf.read_text().replace(
        "geoip {", f'geoip {{ country = "{tmp}/live"'))
    w.reload()
    assert who(w, KOREAN) == "NO Not from there."
    os.kill(w.control(), signal.SIGKILL)
    assert who(w, KOREAN) == "NO Not from there."
    w.wait_log(event="geoip_loaded", count=2)


def test_bad_files_are_told_before_the_start(world, tmp):
    databases(tmp, live=COUNTRIES)
    w = world(f'country = "{tmp}/live"', "route { pool = us }")
    text = w.conf.read_text()
    w.write_conf(text.replace(f"{tmp}/live", f"{tmp}/missing"))
    done = run("-t", "-c", w.conf)
    assert done.returncode == 1
    assert f"geoip.country: {tmp}/missing: No such file" in done.stderr
    assert w.reload()["level"] == "error"
    # without any database a country is nobody's
    w.write_conf(text.replace(f'country = "{tmp}/live"', "").replace(
        "route {", "route { country = { CH, unknown }  pool = eu }\n"
        'route { country = "!CH"  pool = eu }\nroute {', 1))
    done = run("-t", "-c", w.conf)
    assert done.returncode == 0
    assert "never holds without a database" in done.stderr + done.stdout
    w.reload()
    assert who(w, SWISS) == "us"
    # and with one that comes by a reload, it is known from the first login
    w.write_conf(text.replace(
        "route {", "route { country = { CH }  pool = eu }\nroute {", 1))
    w.reload()
    assert who(w, SWISS) == "eu"
