#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Every setting is documented, and nothing else is.

The rows of the settings.def files are the truth.  Checked against them:

  proxy.conf               names every setting in its section, set or as
                           "#name = value", and no other; a value that is
                           commented out is the default. A whole section may
                           be commented out as well
  admin/dist/proxy.conf.5  its part between the two marks is what the rows say

    tests/check_settings.py            checks, exit status 1 with what is wrong
    tests/check_settings.py --write    writes that part of the manual page
"""
import os
import re
import subprocess
import sys

DEFS = ("admin/settings.def", "proxy/settings.def", "backends/settings.def")
EXAMPLE = "proxy.conf"
MANUAL = "admin/dist/proxy.conf.5"
BEGIN = '.\\" begin of what tests/check_settings.py writes'
END = '.\\" end of what tests/check_settings.py writes'

# Each row becomes a line of the preprocessor's output, fields between bars.
MACROS = r"""
#define CHOICES(e) ROW words | #e END
#define WORDS(e) CHOICES(e)
#define CHOICE(a, w) ROW word | w END
#define WORD(a, w) CHOICE(a, w)
#define CHOICES_END(e)
#define WORDS_END(e)
#define SECTION(s, k, d) ROW section | #s | #k | d END
#define SECTION_END(s, k, c)
#define SETTING_RANGE(s, t, f, p, lo, hi, fl, d) \
    ROW setting | #s | #t | #f | p | #fl | d | #lo | #hi END
#define SETTING(s, t, f, p, fl, d) ROW setting | #s | #t | #f | p | #fl | d END
#define SETTING_PATH(s, e, f, p, fl, d) \
    ROW setting | #s | "PATH" | #f | p | #fl | d | #e END
#define SETTING_CHOICE(s, e, f, p, fl, d) \
    ROW setting | #s | "CHOICE" | #f | p | #fl | d | #e END
#define SETTING_SET(s, e, f, p, fl, d) \
    ROW setting | #s | "SET" | #f | p | #fl | d | #e END
#define SETTING_REF(s, to, f, fl, d) \
    ROW setting | #s | "REF" | #f | "" | #fl | d | #to END
#define SETTING_REFS_OR(s, to, f, none, fl, d) \
    SETTING_REFS(s, to, f, fl, d)
#define SETTING_REFS(s, to, f, fl, d) \
    ROW setting | #s | "REFS" | #f | "" | #fl | d | #to END
#define SETTING_INNER(s, f) ROW inner | #s | #f END
"""

TYPES = {
    "BOOL": "yes or no", "UINT": "a number", "DURATION": "a duration",
    "SIZE": "a size", "STRING": "a string", "STRINGS": "a list of strings",
    "FILE": "a file", "SECRET": "a file", "PATH": "a file",
    "ADDRESS": "an address with its port",
    "ADDRESSES": "a list of addresses with their ports",
    "NETWORKS": "a list of networks",
}


class Section:
    def __init__(self, name, kind, doc):
        self.name, self.kind, self.doc = name, kind, doc
        self.settings = {}
        self.outer = []         # the sections that it stands within


class Setting:
    def __init__(self, kind, name, default, flags, doc, *extra):
        self.kind, self.name, self.default = kind, name, default
        self.flags, self.doc, self.extra = flags, doc, extra


def join_strings(field):
    """ '"a" "b"' -> 'ab', as the compiler would."""
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"', field)
    return re.sub(r"\\(.)", r"\1", "".join(parts))


def split_fields(row):
    """Fields between bars that do not stand in a string."""
    found = re.findall(r'((?:[^|"]|"(?:[^"\\]|\\.)*")+)', row)
    return [f.strip() for f in found]


def read_rows():
    source = MACROS + "".join(f'#include "{d}"\n' for d in DEFS)
    out = subprocess.run(
        [os.environ.get("CC", "cc"), "-E", "-P", "-I.", "-x", "c", "-"],
        input=source, capture_output=True, text=True, check=True).stdout
    sections, words, latest = {}, {}, None
    for row in re.findall(r"\bROW (.*?) END\b", out, re.S):
        what, *fields = split_fields(row)
        fields = [join_strings(f) for f in fields]
        if what == "words":
            latest = words.setdefault(fields[0], [])
        elif what == "word":
            latest.append(fields[0])
        elif what == "section":
            sections[fields[0]] = Section(*fields)
        elif what == "inner":
            outer, inner = fields
            sections[inner].outer.append(outer)
        else:
            section, *rest = fields
            setting = Setting(*rest)
            sections[section].settings[setting.name] = setting
    return sections, words


# --- the manual page -------------------------------------------------------

def macro_number(text, kind):
    """SECS(60) -> 60s: numbers as an operator writes them."""
    m = re.fullmatch(r"(\w+)\((\d+)\)", text)
    if not m:
        return text
    unit = {"MSECS": "ms", "SECS": "s", "MINS": "m", "HOURS": "h",
            "KIB": "k", "MIB": "m"}[m.group(1)]
    return m.group(2) + unit


def escape(text):
    return text.replace("\\", "\\e")


def fold(text):
    """One sentence or clause per line, as manual pages are written."""
    lines = re.sub(r"(?<=[.;:]) (?=\S)", "\n", escape(text)).split("\n")
    return "\n".join("\\&" + l if l[0] in ".'" else l for l in lines)


def value_words(setting, words):
    kind, extra = setting.kind, setting.extra
    if kind == "CHOICE":
        every = words[extra[0]]
        return ", ".join(every[:-1]) + " or " + every[-1]
    if kind == "SET":
        return "a list of " + ", ".join(words[extra[0]])
    if kind == "REF":
        return f"the name of a {extra[0]} section"
    if kind == "REFS":
        return f"a list of names of {extra[0]} sections"
    if kind in ("UINT", "DURATION", "SIZE"):
        low, high = (macro_number(x, kind) for x in extra)
        return f"{TYPES[kind]}, {low} to {high}"
    return TYPES[kind]


def facts(setting, words):
    parts = ["Value: " + value_words(setting, words) + "."]
    if "REQUIRED" in setting.flags:
        parts.append("Must be set.")
    elif setting.default:
        parts.append(f"Default: {setting.default}.")
    else:
        parts.append("Default: none.")
    if "NEGATABLE" in setting.flags:
        parts.append("An element may have ! before it.")
    if "FIXED" in setting.flags:
        parts.append("A reload does not change it.")
    return "\n".join(escape(p) for p in parts)


def manual_part(sections, words):
    out = []
    for s in sections.values():
        title = {"TOP": "Outside of sections",
                 "TITLED": f"{s.name} NAME {{ ... }}",
                 "WITHIN": f"{s.name} {{ ... }}, within "
                           + " and ".join(s.outer)}.get(
                     s.kind, f"{s.name} {{ ... }}")
        out.append(f".Ss {title}\n{fold(s.doc)}")
        out.append(".Bl -tag -width Ds")
        for setting in s.settings.values():
            out.append(f".It Cm {setting.name}\n{fold(setting.doc)}\n.br\n"
                       f"{facts(setting, words)}")
        out.append(".El")
    return "\n".join(out) + "\n"


def split_manual(text):
    before, rest = text.split(BEGIN + "\n")
    part, after = rest.split(END + "\n")
    return before + BEGIN + "\n", part, END + "\n" + after


# --- the example -----------------------------------------------------------

TOKEN = re.compile(r"""
    \#[^\n]* | "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'
    | [{}=,()] | [^\s{}=,()"'\#]+ """, re.X)


def example_settings(text):
    """(section, name, value, commented) of each setting, in order."""
    found, sections = [], ["main"]
    for number, line in enumerate(text.split("\n"), 1):
        m = re.match(r"\s*#(?=[a-z]\w* (= |(\w+ )?\{$)|\}$)", line)
        commented = bool(m)
        if m:
            line = line[m.end():]
        tokens = [t for t in TOKEN.findall(line) if not t.startswith("#")]
        while tokens:
            if tokens[0] == "}":
                sections, tokens = sections[:-1], tokens[1:]
            elif "=" in tokens[1:2]:
                name, tokens = tokens[0], tokens[2:]
                n = tokens.index("}") + 1 if tokens[0] == "{" else 1
                found.append((number, sections[-1], name,
                              " ".join(tokens[:n]), commented))
                tokens = tokens[n:]
            elif "{" in tokens[:3]:
                sections.append(tokens[0])
                tokens = tokens[tokens.index("{") + 1:]
            else:
                break
    return found


def plain(value):
    return re.sub(r"[\s\"]", "", value)


def check_example(sections, text):
    wrong, seen = [], set()
    for line, section, name, value, commented in example_settings(text):
        setting = (sections[section].settings.get(name)
                   if section in sections else None)
        if not setting:
            wrong.append(f"{EXAMPLE}:{line}: {section}.{name} is no setting")
            continue
        seen.add((section, name))
        if commented and setting.default and \
                plain(value) != plain(setting.default):
            wrong.append(f"{EXAMPLE}:{line}: {section}.{name} = {value} is "
                         f"not the default, {setting.default}")
    for s in sections.values():
        wrong += [f"{EXAMPLE}: {s.name}.{name} is not shown"
                  for name in s.settings if (s.name, name) not in seen]
    return wrong


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    sections, words = read_rows()
    with open(MANUAL, encoding="utf-8") as f:
        before, part, after = split_manual(f.read())
    wanted = manual_part(sections, words)
    if sys.argv[1:] == ["--write"]:
        with open(MANUAL, "w", encoding="utf-8") as f:
            f.write(before + wanted + after)
        return 0
    with open(EXAMPLE, encoding="utf-8") as f:
        wrong = check_example(sections, f.read())
    if part != wanted:
        wrong.append(f"{MANUAL}: not what the rows say; "
                     "run tests/check_settings.py --write")
    n = sum(len(s.settings) for s in sections.values())
    for w in wrong:
        print(w)
    if not wrong:
        print(f"settings: {n} rows, all in {EXAMPLE} and proxy.conf(5)")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
