#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""run - measures Mailweir beside its peers (make bench)

Every measurement starts a fresh target; rounds, modes and targets are
interleaved, every second round in reverse order, so that a noisy machine hits
all alike.  Compare ratios of one run, not figures of two.
"""
import argparse
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import measure
import report

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
PEERS = ["direct", "floorM", "mailweir", "haproxy", "nginx", "dovecot"]
TLS = ["floorM+tls", "mailweir+tls", "haproxy+tls", "dovecot+tls"]


def free_ports(n):
    held = [socket.create_server(("0.0.0.0", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Bench:
    """Where things are, and the backend that all targets share."""

    def __init__(self, place, programs, mailweir):
        self.place, self.bin, self.mailweir = place, programs, mailweir
        self.cert, self.key = place / "cert.pem", place / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out",
             self.cert, "-days", "30", "-subj", "/CN=bench.test", "-addext",
             "subjectAltName=DNS:bench.test"], check=True,
            stderr=subprocess.DEVNULL)
        self.port, self.port_plain, plain, tls = free_ports(4)
        self.listen = f"127.0.0.1:{self.port}"
        self.listen_plain = f"127.0.0.1:{self.port_plain}"
        addresses = [f"127.0.0.{i}" for i in (2, 3, 4, 5)]
        self.backends = " ".join(f"{a}:{plain}" for a in addresses)
        self.backends_tls = " ".join(f"{a}:{tls}" for a in addresses)
        self.stat = f"127.0.0.2:{plain}"
        self.backend = subprocess.Popen(
            [programs / "fakebackend", "-l", f"0.0.0.0:{plain}", "-L",
             f"0.0.0.0:{tls}", "-c", self.cert, "-k", self.key, "-t", "1",
             "-f", "2"])
        if not measure.wait_port(self.stat):
            raise RuntimeError("the fake backend did not start")

    def close(self):
        self.backend.terminate()
        self.backend.wait(10)


def plan(quick):
    """(targets, modes, rounds) in the order in which they are run."""
    n = 2000 if quick else 5000
    main = ["login", "resume", "fetch1m", "fetch10k", "rtt1", "rtt100"]
    if quick:
        return [(["direct", "floorM", "mailweir"], ["rtt1"], 1),
                (PEERS[1:], ["login", "fetch1m", "fetch10k", "rtt100"], 1),
                (PEERS[1:3], [f"idle{n}", f"storm{n}"], 1),
                (TLS[:2], ["login"], 1),
                (["mailweir"], ["question"], 1)]
    return [(PEERS, main + ["rtt1000"], 3),
            (PEERS[1:], [f"idle{n}", f"storm{n}"], 3),
            (TLS, ["login", "fetch1m"], 3),
            (TLS[:3], ["idle2000"], 2),
            (["floorM:plain", "mailweir", "mailweir:opaque"], ["plain1m"], 3),
            (["mailweir", "mailweir:100backends", "mailweir:1000backends",
              "mailweir:1000routes"], ["login"], 3),
            (["floorM", "mailweir"], ["login@0", "login@9000"], 3),
            (["floorM", "mailweir"], ["stormnoop"], 3),
            (["mailweir"], ["question"], 3)]


def steps(parts):
    for names, modes, rounds in parts:
        for i in range(rounds):
            for mode in modes:
                for name in names if i % 2 == 0 else names[::-1]:
                    yield name, mode


def one(bench, name, mode, seconds):
    if mode == "stormnoop":
        return measure.storm_beside(bench, name, 5000)
    if mode == "question":
        return measure.question(bench, name)
    return measure.run(bench, name, mode, seconds)


def run_all(bench, parts, seconds, rows):
    todo = list(steps(parts))
    missing = set()
    begin = time.monotonic()
    for i, (name, mode) in enumerate(todo):
        if name in missing:
            continue
        try:
            rows.append(one(bench, name, mode, seconds))
        except measure.CannotDo:
            missing.add(name)
            continue
        spent = time.monotonic() - begin
        left = spent / (i + 1) * (len(todo) - i - 1)
        r = rows[-1]
        print(f"{i + 1:3}/{len(todo)} {left / 60:4.1f} min left  "
              f"{name:22} {mode:11} "
              f"{r.get('cpu_us_op', r.get('pss_kib', 0)):8.1f} "
              f"{'BAD ' + r['bad'] if r['bad'] else ''}", file=sys.stderr,
              flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--quick", action="store_true", help="under three minutes")
    p.add_argument("--targets", help="only these, comma-separated")
    p.add_argument("--modes", help="only these: " + ", ".join(measure.MODES) +
                   ", idleN, stormN, stormnoop, login@N, question")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, help="of a run")
    p.add_argument("--programs", type=pathlib.Path, required=True)
    p.add_argument("--mailweir", type=pathlib.Path,
                   default=ROOT / "build" / "mailweir")
    p.add_argument("--out", type=pathlib.Path, required=True,
                   help="a folder for results.json, results.md, chart.svg")
    a = p.parse_args()
    parts = plan(a.quick)
    if a.targets or a.modes:
        parts = [((a.targets or "floorM,mailweir").split(","),
                  (a.modes or "login").split(","), a.rounds)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    place = pathlib.Path(tempfile.mkdtemp(prefix="mailweir-bench-"))
    place.chmod(0o755)
    rows = []
    try:
        bench = Bench(place, a.programs.resolve(), a.mailweir.resolve())
        try:
            run_all(bench, parts, a.seconds or (2 if a.quick else 3), rows)
        except KeyboardInterrupt:
            print("stopped early", file=sys.stderr)
        finally:
            bench.close()
        a.out.mkdir(parents=True, exist_ok=True)
        results = report.Results(rows)
        text = report.table(results) + "\n" + report.target_table(results)
        print(text)
        (a.out / "results.md").write_text(text + "\n")
        (a.out / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
        if shutil.which("gnuplot") and not a.modes:
            report.chart(results, a.out / "chart.svg", place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    for text in results.bad():
        print("WRONG: " + text, file=sys.stderr)
    return 1 if results.bad() else 0


if __name__ == "__main__":
    sys.exit(main())
