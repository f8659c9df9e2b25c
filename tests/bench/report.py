# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""report - medians, ratios, the targets, and a chart"""
import statistics
import subprocess

# mode -> the figures of its table: (title, key, factor, format)
LOGIN = [("logins/s", "ops_s", 1, "{:.0f}"),
         ("CPU us/login", "cpu_us_op", 1, "{:.0f}"),
         ("aux us", "aux_us_op", 1, "{:.0f}"),
         ("control us", "control_us_op", 1, "{:.0f}"),
         ("p50 ms", "p50_us", 1e-3, "{:.1f}"),
         ("p99 ms", "p99_us", 1e-3, "{:.1f}")]
FETCH = [("MB/s", "MB_s", 1, "{:.0f}"),
         ("CPU us/command", "cpu_us_op", 1, "{:.1f}"),
         ("p50 ms", "p50_us", 1e-3, "{:.2f}"),
         ("p99 ms", "p99_us", 1e-3, "{:.2f}")]
BULK = [("CPU ms/MB", "cpu_ms_mb", 1, "{:.3f}")] + FETCH
NOOP = [("commands/s", "ops_s", 1, "{:.0f}"),
        ("CPU us/command", "cpu_us_op", 1, "{:.1f}"),
        ("p50 us", "p50_us", 1, "{:.0f}"), ("p99 us", "p99_us", 1, "{:.0f}")]
IDLE = [("PSS KiB/session", "pss_kib", 1, "{:.1f}"),
        ("empty MiB", "empty_mib", 1, "{:.1f}"),
        ("alive", "done_ok", 1, "{:.0f}")]
STORM = [("seconds", "secs", 1, "{:.2f}"), ("failed", "fail", 1, "{:.0f}"),
         ("CPU us/login", "cpu_us_op", 1, "{:.0f}")]
QUESTION = [("decisions/s at most", "ops_s", 1, "{:.0f}"),
            ("CPU us at 1,000/s", "cpu_us_op", 1, "{:.1f}"),
            ("p50 us", "p50_us", 1, "{:.0f}"),
            ("p99 us", "p99_us", 1, "{:.0f}")]
BESIDE = [("p99 calm ms", "calm_p99", 1e-3, "{:.1f}"),
          ("p99 in the storm ms", "p99_us", 1e-3, "{:.1f}")]


def figures(mode):
    """The columns of a mode, and the key of its ratio."""
    if mode == "stormnoop":
        return BESIDE, "p99_us"
    if mode == "question":
        return QUESTION, "cpu_us_op"
    if mode.startswith(("login", "resume")):
        return LOGIN, "cpu_us_op"
    if "1m" in mode:
        return BULK, "cpu_ms_mb"
    if mode.startswith("fetch"):
        return FETCH, "cpu_us_op"
    if mode.startswith("rtt"):
        return NOOP, "cpu_us_op"
    return (IDLE, "pss_kib") if mode.startswith("idle") else (STORM, "secs")


class Results:
    def __init__(self, rows):
        self.rows = rows

    def of(self, target, mode):
        return [r for r in self.rows
                if r["target"] == target and r["mode"] == mode]

    def median(self, target, mode, key):
        values = [r[key] for r in self.of(target, mode) if key in r]
        return statistics.median(values) if values else None

    def ratio(self, target, mode, key, reference):
        a = self.median(target, mode, key)
        b = self.median(reference, mode, key)
        return a / b if a is not None and b else None

    def names(self, key):
        return list(dict.fromkeys(r[key] for r in self.rows))

    def bad(self):
        return [f"{r['target']} {r['mode']}: {r['bad']}"
                for r in self.rows if r.get("bad")]


def table(results):
    out = []
    for mode in results.names("mode"):
        columns, key = figures(mode)
        out += [f"\n### {mode} (ratio: {key} against floorM)\n",
                "| target | n | " + " | ".join(c[0] for c in columns) +
                " | ratio | min..max |",
                "|---|---|" + "---|" * (len(columns) + 2)]
        for target in results.names("target"):
            rows = results.of(target, mode)
            if not rows:
                continue
            cells = []
            for _, name, factor, form in columns:
                value = results.median(target, mode, name)
                cells.append("-" if value is None
                             else form.format(value * factor))
            floor = "floorM+tls" if target.endswith("+tls") else "floorM"
            ratio = results.ratio(target, mode, key, floor)
            values = [r[key] for r in rows if key in r]
            out.append(f"| {target} | {len(rows)} | " + " | ".join(cells) +
                       f" | {'-' if ratio is None else f'{ratio:.2f}'} | "
                       f"{min(values):.3g}..{max(values):.3g} |")
    return "\n".join(out)


def added_p50(results):
    """What a proxy adds to the way of a NOOP, against what the floor adds."""
    p50 = [results.median(t, "rtt1", "p50_us")
           for t in ("mailweir", "floorM", "direct")]
    if None in p50 or p50[1] <= p50[2]:
        return None
    return (p50[0] - p50[2]) / (p50[1] - p50[2])


def targets(results):
    """(text, limit, what was measured or None)"""
    def ratio(mode, key, target="mailweir", reference="floorM"):
        return results.ratio(target, mode, key, reference)

    def largest(mode_start, key):
        found = [results.median("mailweir", m, key)
                 for m in results.names("mode") if m.startswith(mode_start)]
        return max((x for x in found if x is not None), default=None)

    def change(target, mode, reference="mailweir", reference_mode="login"):
        a = results.median(target, mode, "cpu_us_op")
        b = results.median(reference, reference_mode, "cpu_us_op")
        return a / b if a and b else None

    storms = [m for m in results.names("mode") if m.startswith("storm") and
              m != "stormnoop"]
    idle_tls = [m for m in results.names("mode")
                if results.of("mailweir+tls", m) and m.startswith("idle")]
    calm = results.median("mailweir", "stormnoop", "calm_p99")
    beside = results.median("mailweir", "stormnoop", "p99_us")
    asked = results.median("mailweir", "question", "p99_us")
    rows = [
        ("login, CPU", 1.12, ratio("login", "cpu_us_op")),
        ("login resumed, CPU", 1.12, ratio("resume", "cpu_us_op")),
        ("login, p50 with 32 clients", 1.10, ratio("login", "p50_us")),
        ("FETCH 1 MiB, CPU per MB", 1.08, ratio("fetch1m", "cpu_ms_mb")),
        ("FETCH 10 KiB, CPU", 1.10, ratio("fetch10k", "cpu_us_op")),
        ("NOOP, 1 session, added p50", 1.1, added_p50(results)),
        ("NOOP, 100 sessions, CPU", 1.08, ratio("rtt100", "cpu_us_op")),
        ("NOOP, 1000 sessions, CPU", 1.08, ratio("rtt1000", "cpu_us_op")),
        ("idle session, KiB", 14.6, largest("idle", "pss_kib")),
        ("idle session, TLS backend, KiB", 30.5, results.median(
            "mailweir+tls", idle_tls[0], "pss_kib") if idle_tls else None),
        ("login, TLS backend, CPU", 1.10,
         ratio("login", "cpu_us_op", "mailweir+tls", "floorM+tls")),
        ("storm, time", 1.05, ratio(storms[0], "secs") if storms else None),
        ("storm, failures", 0, results.median(
            "mailweir", storms[0], "fail") if storms else None),
        ("p99 of NOOP in a storm against calm", 3,
         beside / calm if beside and calm else None),
        # both splice what nobody has to see; the floor reads and writes
        ("framed relay against opaque, CPU", 1.03, ratio(
            "plain1m", "cpu_ms_mb", reference="mailweir:opaque")),
        ("framed relay, plain, CPU", 1.03, ratio(
            "plain1m", "cpu_ms_mb", reference="floorM:plain")),
        ("opaque relay, plain, CPU", 1.03, ratio(
            "plain1m", "cpu_ms_mb", "mailweir:opaque", "floorM:plain")),
        ("question to control, CPU us of a login", 20, results.median(
            "mailweir", "login", "control_us_op")),
        ("question to control, p99 us at 1,000/s", 1000, asked),
        ("empty proxy, MiB", 12, largest("idle", "empty_mib")),
    ]
    for variant in results.names("target"):
        if variant.startswith("mailweir:") and variant != "mailweir:opaque":
            rows.append((f"login with {variant[9:]}", 1.05,
                         change(variant, "login")))
    for mode in results.names("mode"):
        if mode.startswith("login@") and mode != "login@0":
            for target in "mailweir", "floorM":
                rows.append((f"login beside {mode[6:]} sessions, {target}",
                             1.05, change(target, mode, target, "login@0")))
    most = results.median("mailweir", "question", "ops_s")
    rows.append(("30,000 / decisions a second", 1,
                 30000 / most if most else None))
    return rows


def target_table(results):
    out = ["\n### targets\n", "| target | limit | measured | |",
           "|---|---|---|---|"]
    for text, limit, value in targets(results):
        if value is not None:
            out.append(f"| {text} | <= {limit:g} | {value:.2f} | "
                       f"{'met' if value <= limit else 'missed'} |")
    return "\n".join(out)


CHART = {"login": "login", "resume": "resumed", "fetch1m": "FETCH 1 MiB",
         "fetch10k": "FETCH 10 KiB", "rtt100": "NOOP"}


def chart(results, path, place):
    """CPU against the floor, one group of bars a mode; by gnuplot."""
    modes = [m for m in CHART if results.of("floorM", m)]
    names = [t for t in results.names("target") if ":" not in t and
             not t.endswith("+tls") and t != "direct"]
    data = place / "chart.dat"
    lines = []
    for mode in modes:
        key = figures(mode)[1]
        cells = [results.ratio(t, mode, key, "floorM") for t in names]
        lines.append(f'"{CHART[mode]}" ' + " ".join(
            "NaN" if c is None else f"{c:.3f}" for c in cells))
    data.write_text("\n".join(lines) + "\n")
    plots = ", ".join(
        f"'{data}' using {i + 2}:xtic(1) title '{name}'"
        for i, name in enumerate(names))
    subprocess.run(["gnuplot"], text=True, check=True, input=f"""
        set terminal svg size 900,420 font 'sans,12' background '#ffffff'
        set output '{path}'
        set title 'CPU for the same work, against a relay that knows no IMAP'
        set style data histogram
        set style histogram clustered gap 1
        set style fill solid 0.8 noborder
        set logscale y 2
        set yrange [0.5:*]
        set grid ytics
        set ylabel 'times floorM (log)'
        set key outside
        set offsets -0.4, -0.4, 0, 0
        plot {plots}
        """)
