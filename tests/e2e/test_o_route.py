# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""mailweir route: the decision, step by step, without a running proxy"""
import subprocess

from harness.conf import backend
from harness.mailweir import PROGRAM


def route(place, conf, *arguments):
    """(exit status, lines, errors)"""
    file = place / "route.conf"
    file.write_text(str(conf))
    done = subprocess.run([PROGRAM, "route", "-c", file, *arguments],
                          capture_output=True, text=True, timeout=30)
    return (done.returncode,
            [" ".join(line.split()) for line in done.stdout.splitlines()],
            done.stderr)


def test_each_step_is_told(tmp_path, conf):
    homes = tmp_path / "homes"
    homes.write_text("jan@example.org  backend two\n")
    c = conf(*(backend(n, 10143) for n in ("one", "two", "three")),
             more=f'table homes {{ type = file  path = "{homes}" }}',
             routes='route { domain = other.org  refuse = "No." }\n'
                    "route { user = \"~^[a-m].*\"  table = homes }\n"
                    "route { network = { 192.0.2.0/24 }  pool = main }\n")
    status, lines, errors = route(tmp_path, c, "Jan@Example.org", "198.51.100.1")
    assert status == 0, errors
    assert lines[0] == \
        "auth user jan@example.org, to be checked by the backend"
    assert lines[1].endswith("domain does not hold")
    assert lines[2].endswith("holds")
    assert lines[3:] == [
        'route table homes: jan@example.org has "backend two"',
        "route backend two, by the rules of pool main",
        "balance two, and no other: fit",
        "grant two at 127.0.0.1:10143 as Jan@Example.org"]
    # not in the table, so the next route; all ranks are shown
    status, lines, _ = route(tmp_path, c, "eva@example.org", "192.0.2.9")
    assert status == 0
    assert "route table homes: does not have the user" in lines
    ranks = [line.split(": ")[1].split(",")[0] for line in lines
             if " rank " in line]
    assert sorted(ranks) == ["one", "three", "two"]
    assert lines[-1].startswith(f"grant {ranks[0]} at ")
    # nobody's
    status, lines, _ = route(tmp_path, c, "eva@example.org", "2001:db8::1")
    assert status == 1
    assert lines[-1] == "route refused: NO [AUTHORIZATIONFAILED] " \
        "No route for this user."
    # an entry that names nothing is told before
    homes.write_text("jan@example.org  nowhere\n")
    status, _, errors = route(tmp_path, c, "jan@example.org", "192.0.2.9")
    assert status == 2 and f'{homes}:1: "nowhere": no pool' in errors


def test_what_is_wrong_is_told(tmp_path, conf):
    c = conf(backend("one", 10143))
    assert "is not an IP address" in route(tmp_path, c, "jan", "home")[2]
    assert "is not a user name" in route(tmp_path, c, "a\nb", "192.0.2.1")[2]
    status, _, errors = route(tmp_path, c, "jan", "192.0.2.1", "imapx")
    assert status == 2 and 'no listener "imapx"' in errors
    assert route(tmp_path, c, "jan", "192.0.2.1", "imap")[0] == 0
    status, _, errors = route(tmp_path, c, "jan")
    assert status == 2 and "usage:" in errors
    status, _, errors = route(tmp_path, "routes {", "jan", "192.0.2.1")
    assert status == 2 and "route.conf:1:" in errors
