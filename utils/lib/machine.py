# SPDX-License-Identifier: MIT
"""Facts about the machine that more than one command needs, and its pools of huge pages."""
import contextlib
import glob
import os
import re
import shutil
import subprocess

from tool import ROOT

# The numbers of capabilities(7).
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_BPF": 39}


def printed(*command):
    """What a command prints; None where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


class Machine:
    """This machine's files, or those of a made-up machine below the folder `root`."""

    def __init__(self, root=""):
        self.root = root

    def path(self, path):
        return self.root + path

    def exists(self, path):
        return os.path.exists(self.path(path))

    def glob(self, pattern):
        return sorted(glob.glob(self.path(pattern)))

    def text(self, path):
        """The contents of a file without the last newline; None where it cannot be read."""
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return None

    def number(self, path, default=None):
        """The first number in a file; `default` where there is none."""
        try:
            return int(self.text(path).split()[0])
        except (AttributeError, ValueError, IndexError):
            return default

    def field(self, path, name):
        """What follows `name:` in a file such as /proc/meminfo, as text; None where it does not occur."""
        match = re.search(rf"^{re.escape(name)}\s*:\s*(.*)$", self.text(path) or "", re.MULTILINE)
        return match[1] if match else None

    def meminfo(self, name):
        """A figure of /proc/meminfo, in KiB or in pages."""
        return int((self.field("/proc/meminfo", name) or "0").split()[0])

    def bracketed(self, path):
        """The chosen word of a file such as `always [madvise] never`; None where there is none."""
        match = re.search(r"\[(\S+)\]", self.text(path) or "")
        return match[1] if match else None

    def cpu_flags(self):
        """What the processor says that it can do."""
        return set((self.field("/proc/cpuinfo", "flags") or self.field("/proc/cpuinfo", "Features") or "").split())

    def numa_nodes(self):
        return self.glob("/sys/devices/system/node/node[0-9]*")

    def holds(self, capability):
        """Whether this process holds a capability."""
        return bool(int(self.field("/proc/self/status", "CapEff") or "0", 16) >> CAPABILITIES[capability] & 1)

    def has(self, package):
        """Whether the machine has what utils/lib/needs-test.txt looks for in place of a Debian package."""
        with open(f"{ROOT}/utils/lib/needs-test.txt", encoding="utf-8") as file:
            probes = [words[0].split(":", 1) for line in file if (words := line.split())[1:2] == [package]]
        return any(self.glob(what) if kind == "file" else shutil.which(what) for kind, what in probes)

    def pool(self, kib=2048):
        """The pool of huge pages of so many KiB."""
        return HugePages(self, f"/sys/kernel/mm/hugepages/hugepages-{kib}kB")

    def pools(self):
        """Every pool of huge pages, the smallest pages first."""
        sizes = [int(path[:-2].rsplit("-", 1)[1]) for path in self.glob("/sys/kernel/mm/hugepages/hugepages-*kB")]
        return [(kib, self.pool(kib)) for kib in sorted(sizes)]

    def description(self):
        """What figures were taken on, for a JSON document."""
        return {"cpu_model": self.field("/proc/cpuinfo", "model name") or "unknown", "cpus": len(os.sched_getaffinity(0)),
                "kernel": os.uname().release, "architecture": os.uname().machine}


class HugePages:
    """The kernel's pool of huge pages of one size."""

    def __init__(self, machine, path):
        self.machine, self.file = machine, path + "/nr_hugepages"
        self.path = path

    @property
    def reserved(self):
        """Pages in the pool; None where the kernel has none of this size."""
        return self.machine.number(self.file)

    @property
    def free(self):
        """Pages of the pool that nobody uses."""
        return self.machine.number(self.path + "/free_hugepages", 0)

    def resize(self, count):
        """Sets the size of the pool; the kernel may find fewer pages, or keep those that are in use. OSError without the right."""
        with open(self.machine.path(self.file), "w", encoding="ascii") as file:
            file.write(f"{count}\n")

    @contextlib.contextmanager
    def at_least(self, count):
        """Reserves what `count` free pages lack, and gives it back. The value is whether there are so many."""
        added = max(0, count - self.free)
        try:
            if added:
                self.resize((self.reserved or 0) + added)
        except OSError:
            added = 0
        try:
            yield self.free >= count
        finally:
            if added:
                self.resize(max(0, self.reserved - added))


def swift_wanted():
    """The oldest Swift that builds this package, as two numbers: the tools version of Package.swift."""
    with open(f"{ROOT}/Package.swift", encoding="utf-8") as file:
        return tuple(int(part) for part in re.search(r"swift-tools-version: *(\d+)\.(\d+)", file.readline()).groups())
