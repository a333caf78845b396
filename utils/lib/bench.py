# SPDX-License-Identifier: MIT
"""What the benchmarks share: commands that print a report, contenders in turn, medians, tables, files that stay in memory."""
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from tool import CANNOT_CREATE, ROOT, SYSTEM, UNAVAILABLE, USAGE, Problem


def binary(name):
    """The path of one of our release builds; a problem where it has not been built."""
    path = os.path.join(ROOT, "bin", name)
    if not os.path.exists(path):
        raise Problem(UNAVAILABLE, f"bin/{name} has not been built: `just build`")
    return path


def result_of(text):
    """The `result` of the JSON document that a tool printed; what mpirun itself says is before the document or behind it."""
    document = re.search(r"^\{$.*^\}$|^\{.*\}$", text, re.MULTILINE | re.DOTALL)
    if not document:
        raise Problem(SYSTEM, f"there is no report in: {text[:300]}")
    return json.loads(document[0])["result"]


def report(command, **settings):
    """Runs a command that prints a report to its end: its result, and the seconds from start to exit."""
    began = time.monotonic()
    done = subprocess.run(["timeout", "-k", "5", "300", *command], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          check=False, **settings)
    seconds = time.monotonic() - began
    if done.returncode:
        raise Problem(SYSTEM, f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return result_of(done.stdout), seconds


def in_turn(rounds, contenders, show=lambda number, name: None):
    """What each of the contenders, functions by name, gave in each round.

    Who goes first changes, so that a machine that warms up or slows down favours nobody.
    """
    found = {name: [] for name in contenders}
    for number in range(rounds):
        for name in contenders if number % 2 == 0 else reversed(contenders):
            show(number, name)
            found[name].append(contenders[name]())
    return found


def median(samples, field):
    """The median of a field of the samples."""
    return statistics.median(sample[field] for sample in samples)


def ratios(ours, theirs, field):
    """The ratio of a field, round by round."""
    return [our[field] / their[field] for our, their in zip(ours, theirs)]


class Table:
    """A table whose lines go to `say` as they come. Columns are a title and the format of the values: text has a width alone."""

    def __init__(self, say, *columns):
        self.say, self.formats = say, [form for _, form in columns]
        self._line(title for title, _ in columns)

    def row(self, *values, note=""):
        """A line; None is left blank, and a note comes behind."""
        self._line(("" if value is None else format(value, form) for value, form in zip(values, self.formats)), note)

    def _line(self, cells, note=""):
        text = ""
        for cell, form in zip(cells, self.formats):
            width = int(re.match(r"\d+", form)[0])
            text += cell.ljust(width) if form.isdigit() else cell.rjust(width)
        self.say((text + note).rstrip())


class Files:
    """A folder with an input of so many MiB that stays in the page cache, and places for output; removed at the end."""

    def __init__(self, folder, mib):
        self.bytes, self.block = mib << 20, os.urandom(16 << 20)
        if not os.path.isdir(folder):
            raise Problem(USAGE, f"there is no folder {folder}")
        free = shutil.disk_usage(folder).free >> 20
        if free < 2 * mib:
            raise Problem(CANNOT_CREATE, f"{folder} has {free} MiB free, {2 * mib} are needed: use --mib or --folder")
        self.folder = tempfile.TemporaryDirectory(prefix="pfs-bench-", dir=folder)

    def __enter__(self):
        self.folder.__enter__()
        return self

    def __exit__(self, *what):
        self.folder.__exit__(*what)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def fill(self, name):
        """Writes a file of the input's size; its path."""
        with open(self.path(name), "wb") as file:
            while file.tell() < self.bytes:
                file.write(self.block[:self.bytes - file.tell()])
        return self.path(name)

    def remove(self, name):
        """Removes a file if it is there."""
        if os.path.exists(self.path(name)):
            os.unlink(self.path(name))

    def prepare(self, name):
        """Before a contender writes: a file of the same size comes and goes.

        Memory that has just been in use is much faster than memory that a virtual machine's host has to supply first.
        """
        self.fill(name)
        self.remove(name)
