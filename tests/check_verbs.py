#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Every verb of weirctl is in its manual page, as admin/verbs.def has it.

    tests/check_verbs.py            checks, exit status 1 with what is wrong
    tests/check_verbs.py --write    writes that part of weirctl.8
"""
import pathlib
import re
import sys

from check_settings import escape, fold, join_strings

ROOT = pathlib.Path(__file__).resolve().parent.parent
VERBS, MANUAL = "admin/verbs.def", "admin/dist/weirctl.8"
BEGIN = '.\\" begin of what tests/check_verbs.py writes\n'
END = '.\\" end of what tests/check_verbs.py writes\n'
ROW = re.compile(r'^VERB\((\w+), ((?:"[^"]*"\s*)+), (LOOKS|CHANGES),\s*'
                 r'((?:"(?:[^"\\]|\\.)*"\s*)+)\)$', re.M)


def arguments(takes):
    """The macros of "[USER | --backend NAME]"."""
    words = []
    for word in re.findall(r"[\[\]|]|[^\s\[\]|]+", takes):
        words.append(word if word in "[]|" else
                     "Fl " + word[1:] if word.startswith("--") else
                     "Ar " + word)
    return (" " + " ".join(words)) if words else ""


def manual_part(text):
    out = [".Bl -tag -width Ds"]
    for word, takes, changes, doc in ROW.findall(text):
        out.append(f".It Cm {word}{arguments(join_strings(takes))}\n"
                   f"{fold(join_strings(doc))}")
        if changes == "CHANGES":
            out.append(escape("Is logged, with who ordered it."))
    return "\n".join([*out, ".El"]) + "\n"


def main():
    text = (ROOT / VERBS).read_text(encoding="utf-8")
    if len(ROW.findall(text)) != len(re.findall(r"^VERB\(", text, re.M)):
        print(f"{VERBS}: a row that is not VERB(word, \"...\", LOOKS or "
              "CHANGES, \"...\")")
        return 1
    manual = (ROOT / MANUAL).read_text(encoding="utf-8")
    before, rest = manual.split(BEGIN)
    part, after = rest.split(END)
    wanted = manual_part(text)
    if sys.argv[1:] == ["--write"]:
        (ROOT / MANUAL).write_text(before + BEGIN + wanted + END + after,
                                   encoding="utf-8")
    elif part != wanted:
        print(f"{MANUAL}: not what the rows say; run tests/check_verbs.py "
              "--write")
        return 1
    else:
        print(f"verbs: {len(ROW.findall(text))} rows, all in weirctl(8)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
