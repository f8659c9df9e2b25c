#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""check_style - what a machine can see of the house's style

Fails on: no licence line, a // comment, white space at a line's end, a line
over 100 columns, a header without a guard or a page, a file over 900 lines, a
function over 100.  With --notes it also names what is over the softer bounds
(80 columns, 600 and 60 lines).  How code is laid out beyond that is for
people; make format helps.
"""
import pathlib
import re
import sys

HARD = {"columns": 100, "file": 900, "function": 100}
SOFT = {"columns": 80, "file": 600, "function": 60}
STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')


def columns(line):
    return len(line.expandtabs(8))


def functions(lines):
    """(first line, number of lines) of each: a { and a } in column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            yield start, number - start + 1
            start = None


def c_problems(path, lines, bounds):
    in_comment = False
    for number, line in enumerate(lines, 1):
        code = STRING.sub('""', line)
        if not in_comment and "//" in code.split("/*")[0]:
            yield number, "a // comment"
        last_open, last_close = code.rfind("/*"), code.rfind("*/")
        if last_open != last_close:
            in_comment = last_open > last_close
        if columns(line) > bounds["columns"]:
            yield number, f"{columns(line)} columns"
    if "tests" not in path.parts:	# there the length is in the tables
        for number, length in functions(lines):
            if length > bounds["function"]:
                yield number, f"a function of {length} lines"
    if len(lines) > bounds["file"]:
        yield len(lines), f"{len(lines)} lines in one file"
    if path.suffix == ".h":
        text = "\n".join(lines[:12])
        if "#ifndef" not in text and path.name != "settings_rows.h":
            # that one is included again for each table
            yield 1, "no include guard"
        if not re.search(rf"^ \* {path.stem} - ", text, re.M):
            yield 1, f'no page that begins with "{path.stem} - "'


def problems(path, bounds):
    text = path.read_text(errors="replace")
    lines = text.splitlines()
    if not any("SPDX-License-Identifier: MIT" in x for x in lines[:3]):
        yield 1, "no SPDX licence line"
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield number, "white space at the end"
    if path.suffix in (".c", ".h"):
        yield from c_problems(path, lines, bounds)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    bounds = SOFT if "--notes" in sys.argv[1:] else HARD
    bad = 0
    for top in ("proxy", "backends", "admin", "tests"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in (".c", ".h", ".def", ".py", ".sh", ".mjs") \
                    or "node_modules" in path.parts:
                continue
            for number, what in problems(path, bounds):
                print(f"{path.relative_to(root)}:{number}: {what}")
                bad += 1
    print(f"style: {bad} lines to mend" if bad else "style: ok")
    return 1 if bad and bounds is HARD else 0


if __name__ == "__main__":
    sys.exit(main())
