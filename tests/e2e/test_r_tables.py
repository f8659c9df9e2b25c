# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Tables: the operator's own data that say where a user belongs"""
import os
import pty
import signal
import subprocess

import pytest

from harness.mailweir import PROGRAM, environment
from harness.procs import PATIENCE


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


def many(path, n):
    with open(path, "w", encoding="ascii") as f:
        f.writelines(f"user{(i * 7919) % n}@example.org pool eu\n"
                     for i in range(n))


@pytest.mark.skipif("MAILWEIR_WRAP" in os.environ, reason="takes its time")
def test_build_shows_progress_on_a_terminal(file, tmp):
    """And an interrupted one leaves all as it was."""
    table("set", file, "old", "eu")
    text = tmp / "many"
    many(text, 997_001)
    ours, its = pty.openpty()
    with subprocess.Popen([PROGRAM, "table", "build", file, text],
                          stderr=its) as building:
        os.close(its)
        shown = b""
        while shown.count(b" of 997001 (") < 2:
            shown += os.read(ours, 4096)
        assert b"\r\x1b[K" in shown
        building.send_signal(signal.SIGINT)
        assert building.wait(PATIENCE) == 2
    os.close(ours)
    assert table("dump", file)[1] == b"old\teu\n"
    assert sorted(os.listdir(tmp)) == ["homes.lmdb", "homes.lmdb-lock", "many"]


def test_setting_by_many_at_once(file):
    table("set", file, "first", "eu")
    setters = [subprocess.Popen([PROGRAM, "table", "set", file, f"u{n}", "eu"])
               for n in range(20)]
    assert [p.wait(PATIENCE) for p in setters] == [0] * 20
    assert table("dump", file)[1].count(b"\n") == 21
