# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""measure - one run of one target: start it, load it, check it, stop it

CPU is user+sys of the target's process tree from /proc, sampled around the
measured part only. PSS is the sum over the tree, less what it had when empty.
A run in which anything was wrong (a failed or lost session, a wrong byte or
user, a login that the backend did not see) carries the text in "bad".
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")
PER_GENERATOR = 9000		# a process may be held to 20000 descriptors

# arguments of imapload; {d} is the duration
MODES = {
    "login": "-m login -n 32 -T 2 -d {d}",
    "resume": "-m login -n 32 -T 2 -r -d {d}",
    "fetch1m": "-m fetch -n 4 -T 1 -d {d}",
    "fetch10k": "-m fetch -n 4 -T 1 -d {d} -q FETCH_2_BODY[]",
    "plain1m": "-m fetch -n 4 -T 1 -d {d} -s plain",
    "rtt1": "-m rtt -n 1 -T 1 -d {d}",
    "rtt100": "-m rtt -n 100 -T 1 -d {d}",
    "rtt1000": "-m rtt -n 1000 -T 1 -d {d}",
}


class CannotDo(Exception):
    """The target is not installed, or has no such feature."""


def tree(root):
    kids, out, todo = {}, [], [root]
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        parent = int(stat[stat.rindex(")") + 2:].split()[1])
        kids.setdefault(parent, []).append(int(entry))
    while todo:
        pid = todo.pop()
        out.append(pid)
        todo += kids.get(pid, [])
    return out


def control_of(root):
    """The process of the tree that answers its workers' questions, or None."""
    for pid in tree(root):
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"--role\0control\0" in words:
            return pid
    return None


def cpu_of(pid):
    """Of one thread; to the nanosecond, so that little can be measured."""
    run = pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]
    return int(run) / 1e9


def cpu_seconds(root):
    """Of the living processes of the tree and of their reaped children."""
    ticks = 0
    for pid in tree(root):
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        fields = stat[stat.rindex(")") + 2:].split()
        ticks += sum(int(x) for x in fields[11:15])
    return ticks / TICK


def pss_kib(root):
    total = 0
    for pid in tree(root):
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
    return total


def is_alive(pid):
    """Or its threads are, which hold ports and files."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] != "Z" or len(threads) > 1


def wait_port(address, seconds=15):
    ip, port = address.rsplit(":", 1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection((ip, int(port)), 1).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False


class Target:
    """A started target; its name is PEER[:VARIANT][+tls]."""

    def __init__(self, bench, name, workers):
        peer, self.btls = name.removesuffix("+tls"), name.endswith("+tls")
        peer, _, variant = peer.partition(":")
        run = self.dir = bench.place / "run" / re.sub(r"\W", "_", name)
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        run.chmod(0o777)
        self.roots = []
        self.listen = bench.listen
        env = dict(os.environ, LISTEN=bench.listen,
                   LISTEN_PLAIN=bench.listen_plain, BACKENDS=bench.backends,
                   BACKENDS_TLS=bench.backends_tls, BTLS=str(int(self.btls)),
                   CERT=str(bench.cert), KEY=str(bench.key),
                   RUNDIR=str(run), BIN=str(bench.bin), VARIANT=variant,
                   WORKERS=str(workers), MAILWEIR=str(bench.mailweir))
        done = subprocess.run([HERE / "peers" / f"{peer}.sh"], env=env,
                              stdout=subprocess.PIPE, text=True, timeout=60)
        if done.returncode == 77:
            raise CannotDo(name)
        for line in done.stdout.splitlines():
            kind, pid = line.split()
            self.roots.insert(0 if kind == "pid" else 1, int(pid))
        if not self.roots or not wait_port(bench.listen):
            self.stop()
            raise RuntimeError(f"{name} did not start; see {run}")
        # first-time work of its workers, and first checks of many backends
        time.sleep(5 if "backends" in variant else 0.3)

    pid = property(lambda self: self.roots[0])
    aux = property(lambda self: self.roots[1:])

    def last_words(self):
        """The ends of its logs."""
        return "".join(f"--- {path.name}\n{path.read_text()[-1500:]}\n"
                       for path in sorted(self.dir.glob("*.log")))

    def stop(self):
        pids = sum((tree(root) for root in self.roots), [])
        for root in self.roots:
            if is_alive(root):
                os.kill(root, signal.SIGTERM)
        end = time.monotonic() + 4
        while time.monotonic() < end and any(map(is_alive, pids)):
            time.sleep(0.02)
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


class Load:
    """One or more load generators that are told when to go on."""

    def __init__(self, bench, args, n_idle=0, port=None):
        k = max(1, -(-n_idle // PER_GENERATOR))
        self.all = []
        for i in range(k):
            more = []
            if n_idle:
                share = n_idle // k + (i < n_idle % k)
                more = ["-n", str(share), "-i", str(i * (n_idle // k + 1)),
                        "-c", str(256 // k), "-S", f"127.1.{i}.1"]
            self.all.append(subprocess.Popen(
                [bench.bin / "imapload", "-g", "-A", "200", "-p",
                 str(port or bench.port)] + args + more, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE))

    def go(self):
        for one in self.all:
            one.stdin.write("go\n")
            one.stdin.flush()

    def told(self):
        lines = [json.loads(one.stdout.readline()) for one in self.all]
        out = lines[0]
        for line in lines[1:]:
            for key, value in line.items():
                if key.endswith("_us") or key in ("secs", "setup_s"):
                    out[key] = max(out[key], value)
                elif isinstance(value, (int, float)):
                    out[key] += value
        return out

    def close(self):
        for one in self.all:
            one.stdin.close()
            one.wait(60)


def backend_counts(address):
    ip, port = address.rsplit(":", 1)
    with socket.create_connection((ip, int(port)), 10) as s:
        s.sendall(b"x XSTAT\r\ny LOGOUT\r\n")
        data = b""
        while more := s.recv(4096):
            data += more
    text = data.decode().split("XSTAT", 1)[1]
    return {k: int(v) for k, v in re.findall(r"(\w+)=(-?\d+)", text)}


def what_is_wrong(mode, n, result, ready, before, after):
    bad = []
    r = result
    if r["fail"] or r["lost"] or r["bad_bytes"] or r["bad_user"] or r["bad_no"]:
        bad.append("fail={fail} lost={lost} bytes={bad_bytes} "
                   "user={bad_user} no={bad_no}".format(**r))
    if mode != "plain1m" and r["tls"] != "TLSv1.3":
        bad.append(f"tls={r['tls']}")
    if mode.startswith("idle") and not (
            ready["ready"] == n == r["done_ok"] == after["idle"]):
        bad.append(f"ready={ready['ready']} backend={after['idle']} "
                   f"done={r['done_ok']}")
    if before is None:
        return "; ".join(bad)
    logins = after["logins"] - before["logins"]
    if logins < (r["ops"] if mode in ("login", "resume") else ready["ready"]):
        bad.append(f"the backend saw {logins} logins")
    if mode.startswith("fetch") and \
            after["bytes"] - before["bytes"] < r["bytes"]:
        bad.append("the backend sent less")
    return "; ".join(bad)


def arguments(mode, seconds):
    """imapload's, and how many sessions an idle or storm mode has."""
    if mode in MODES:
        args = MODES[mode].format(d=seconds)
        return [x.replace("_", " ") for x in args.split()], 0
    kind, n = re.fullmatch(r"(idle|storm)(\d+)", mode).groups()
    if kind == "idle":
        return "-m idle -T 2 -l 240".split(), int(n)
    return f"-m storm -n {n} -T 2 -l 90".split(), int(n)


def run(bench, name, mode, seconds):
    """Measures; mode may be MODE@N: with N more sessions held in IDLE."""
    mode, is_beside, held = mode.partition("@")
    args, n = arguments(mode, seconds)
    is_idle = mode.startswith("idle")
    many = max(n if is_idle else 0, int(held or 0))
    target = Target(bench, name, 2 if many <= 9000 else 4)
    stat = None if name == "direct" else bench.stat
    result = {"target": name, "mode": mode + is_beside + held}
    others = None
    try:
        if int(held or 0):
            others = Load(bench, "-m idle -T 1 -l 240".split(), int(held))
            if others.told()["ready"] != int(held):
                result["bad"] = "held sessions are missing"
        before = backend_counts(stat) if stat else None
        empty = pss_kib(target.pid)
        load = Load(bench, args, n if is_idle else 0, bench.port_plain if
                    mode == "plain1m" else None)
        ready = load.told()
        if is_idle:
            time.sleep(4)	# until what logins have used is given back
            result["pss_kib"] = (pss_kib(target.pid) - empty) / \
                max(ready["ready"], 1)
            during = backend_counts(stat) if stat else {"idle": n}
        result["empty_mib"] = empty / 1024
        control = control_of(target.pid)
        asked = cpu_of(control) if control else 0
        cpu = cpu_seconds(target.pid)
        aux = sum(map(cpu_seconds, target.aux))
        load.go()
        load.told()
        cpu = cpu_seconds(target.pid) - cpu
        aux = sum(map(cpu_seconds, target.aux)) - aux
        asked = cpu_of(control) - asked if control else 0
        load.go()
        r = load.told()
        load.close()
        after = backend_counts(stat) if stat else None
        if is_idle:
            after = dict(after or {}, idle=during["idle"])
        result.update({k: v for k, v in r.items()
                       if k not in ("mode", "event", "label")})
        if r["ops"]:
            result["cpu_us_op"] = cpu / r["ops"] * 1e6
            result["aux_us_op"] = aux / r["ops"] * 1e6
            if control:
                result["control_us_op"] = asked / r["ops"] * 1e6
        if r["bytes"] and "1m" in mode:
            result["cpu_ms_mb"] = cpu * 1e3 / (r["bytes"] / 1e6)
        wrong = what_is_wrong(mode, n, r, ready, before, after)
        result["bad"] = "; ".join(filter(None, (result.get("bad"), wrong)))
        if wrong:
            print(f"{r}\n{target.last_words()}", file=sys.stderr)
        return result
    finally:
        if others:
            for one in others.all:
                one.kill()
                one.wait()
        target.stop()


def storm_beside(bench, name, n):
    """p99 of NOOP on 100 sessions, before and during a storm of n logins."""
    target = Target(bench, name, 2)
    quiet = "-m rtt -n 100 -T 1 -d {}"
    try:
        def load(args):
            return subprocess.Popen(
                [bench.bin / "imapload", "-p", str(bench.port), "-A", "200"] +
                args.split(), text=True, stdout=subprocess.PIPE)

        def result(p):
            return json.loads(p.communicate(timeout=120)[0].splitlines()[-1])
        calm = result(load(quiet.format(3)))
        noops = load(quiet.format(n / 500))
        time.sleep(0.5)
        storm = result(load(f"-m storm -n {n} -T 1 -l 90"))
        beside = result(noops)
        bad = ""
        if storm["fail"] + beside["fail"]:
            bad = "failures"
        elif not beside["ops"]:
            bad = "no NOOP was answered in time"
        return {"target": name, "mode": "stormnoop", "calm_p99": calm["p99_us"],
                "p99_us": beside["p99_us"], "bad": bad}
    finally:
        target.stop()


def question(bench, name):
    """bench_decide's figures: a question to control by itself."""
    done = subprocess.run([bench.bin / "bench_decide", "json"], check=True,
                          stdout=subprocess.PIPE, text=True, timeout=120)
    return {"target": name, "mode": "question", "bad": "",
            **json.loads(done.stdout)}
