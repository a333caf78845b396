# SPDX-License-Identifier: MIT
"""Reads what a sweep is to do: a TOML file, described in docs/plots.md. Every mistake is named with its line."""
import dataclasses
import difflib
import hashlib
import itertools
import os
import random
import re

from tool import NO_INPUT, USAGE, Problem

# Each setting of a run: what its value must be. The names are those of pfs_proc_pcores' flags. Limits are whole numbers or, for
# seconds, fractions; choices are texts.
POWER_OF_TWO = "a power of two"
SETTINGS = {
    "pcores": (1, 4096), "program": str, "dpf": (1, 65536), "align": POWER_OF_TWO,
    "page_size": ("auto", "1g", "2m", "thp", "4k"), "transport": ("inline-program", "fixed-program"),
    "ring_pow2": (0, 26), "slab_mb": (1, 262144), "blob_mb": (1, 1 << 24), "file": str,
    "range_off": (0, 1 << 44), "range_len": (1, 1 << 44), "duration": (0.01, 86400.0),
    "records": (1, 1 << 40), "baseline_seconds": (0.0, 3600.0), "cpu_first": (0, 4095),
    "cpu_count": (1, 4096), "producer_cpu": (0, 4095), "seed": (0, (1 << 63) - 1),
    "numa": ("bind", "interleave", "local"), "shared_range": bool, "verify": bool,
}


def complaint(kind, value):
    """What is wrong with a value of that kind, or None."""
    if kind is bool:
        return None if type(value) is bool else "must be true or false"
    if kind is str:
        return None if type(value) is str and value and value.isprintable() else "must be a text in quotes"
    if kind is POWER_OF_TWO:
        fine = type(value) is int and 1 <= value <= 1 << 20 and not value & (value - 1)
        return None if fine else "must be a power of two from 1 to 1048576"
    if type(kind[0]) is str:
        return None if value in kind else "must be one of " + ", ".join(f'"{choice}"' for choice in kind)
    what, types = ("number of seconds", (int, float)) if type(kind[0]) is float else ("whole number", (int,))
    fine = type(value) in types and kind[0] <= value <= kind[1]
    return None if fine else f"must be a {what} from {kind[0]:g} to {str(kind[1]).removesuffix('.0')}"


LARGEST = 100_000


@dataclasses.dataclass
class Declaration:
    """A sweep: settings that stay, settings that vary with their values, and how often each combination runs."""
    path: str
    source: str
    title: str
    repeats: int
    shuffle: bool
    run: dict
    vary: dict

    @property
    def essence(self):
        """What makes results comparable: the rest may change at any time."""
        return {"repeats": self.repeats, "run": self.run, "vary": self.vary}

    def combinations(self):
        """Every combination, as a dictionary of all settings."""
        names = list(self.vary)
        return [self.run | dict(zip(names, values)) for values in itertools.product(*self.vary.values())]

    def runs(self):
        """Every run as (settings, repeat): each combination once, then each again, so that slow changes of the machine
        meet all of them alike. Shuffled or not, the order is the same each time."""
        everything = []
        for repeat in range(1, self.repeats + 1):
            combinations = self.combinations()
            if self.shuffle:
                digest = hashlib.sha256(repr((self.essence, repeat)).encode()).digest()
                random.Random(digest).shuffle(combinations)
            everything += [(settings, repeat) for settings in combinations]
        return everything


def arguments(settings):
    """The arguments of pfs_proc_pcores for a run."""
    words = []
    for name, value in settings.items():
        flag = "--prog" if name == "program" else "--" + name.replace("_", "-")
        if name == "transport":
            words.append("--" + value)
        elif type(value) is bool:
            words += [flag] if value else []
        else:
            words += [f"{flag}={value}"]
    return words


def read(path):
    """Reads the declaration at `path`."""
    import tomllib  # Not before `tool` has said which Python is needed.
    try:
        with open(path, encoding="utf-8") as file:
            source = file.read()
    except OSError as error:
        raise Problem(NO_INPUT, f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Problem(USAGE, f"{path} is not UTF-8 text") from None
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise Problem(USAGE, f"{path}: {error}") from None

    def wrong(section, key, message):
        line = line_of(source, section, key)
        where = f"{path}, line {line}" if line else path
        name = ".".join(part for part in (section, key) if part)
        raise Problem(USAGE, f"{where}: {name} {message}")

    for key in document:
        if key not in ("title", "repeats", "shuffle", "run", "vary"):
            wrong("", key, "is unknown" + suggestion(key, ("title", "repeats", "shuffle", "run", "vary")))
    for key, kind, default in (("title", str, os.path.basename(path)), ("repeats", (1, 1000), 1), ("shuffle", bool, False)):
        message = complaint(kind, document.setdefault(key, default))
        if message:
            wrong("", key, message)
    for section in ("run", "vary"):
        if type(document.setdefault(section, {})) is not dict:
            wrong("", section, f"must be a table: [{section}]")
        for key, value in document[section].items():
            if key not in SETTINGS:
                wrong(section, key, "is unknown" + suggestion(key, SETTINGS))
            if section == "run":
                message = complaint(SETTINGS[key], value)
                if message:
                    wrong(section, key, f"= {value!r}: {message}")
                continue
            if key in document["run"]:
                wrong(section, key, "is in [run] too: keep one of them")
            if type(value) is not list or not value:
                wrong(section, key, "must be a list of values, such as [1, 2, 4]")
            for element in value:
                message = complaint(SETTINGS[key], element)
                if message:
                    wrong(section, key, f"has {element!r}: {message}")
            if len({repr(element) for element in value}) < len(value):
                wrong(section, key, "has a value twice")
    if not document["vary"]:
        raise Problem(USAGE, f"{path}: [vary] is missing or empty; it says what to try, such as pcores = [1, 2, 4]")
    declaration = Declaration(path, source, document["title"], document["repeats"], document["shuffle"],
                              document["run"], document["vary"])
    total = declaration.repeats
    for values in declaration.vary.values():
        total *= len(values)
    if total > LARGEST:
        raise Problem(USAGE, f"{path}: that makes {total:,} runs; at most {LARGEST:,}")
    for section, key, name in named(declaration, "file"):
        if not os.path.isfile(name) or not os.access(name, os.R_OK):
            line = line_of(source, section, key)
            raise Problem(NO_INPUT, f"{path}, line {line}: {section}.{key}: {name} is no file that can be read")
    return declaration


def named(declaration, key):
    """(section, key, value) of each value that the declaration gives `key`."""
    if key in declaration.run:
        return [("run", key, declaration.run[key])]
    return [("vary", key, value) for value in declaration.vary.get(key, [])]


def suggestion(key, known):
    """The known names most like `key`, as the end of a sentence."""
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; known are " + ", ".join(known)


def line_of(source, section, key):
    """The line on which `key` of `section` stands, or None where that is not plain to see."""
    current = ""
    for number, line in enumerate(source.splitlines(), 1):
        header = re.match(r"\s*\[\s*([\w.\"-]+)\s*\]", line)
        if header:
            current = header[1].strip('"')
            if not section and current == key:
                return number
        elif current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
        elif not current and section and re.match(rf"\s*{section}\s*\.\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return None
