# SPDX-License-Identifier: MIT
"""The promotion checklist: each item with its text for people and the function that checks it."""
import contextlib
import datetime
import functools
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable
from typing import NamedTuple

from components import FILE, KEYS, OPTIONAL, PACKAGE, REQUIRED
from machine import Machine

# Breaks of what a release offered that are meant, one `API breakage: ...` a line, as SwiftPM prints them.
ALLOWED = "utils/lib/api-allowed.txt"
PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


class Failed(Exception):
    """An item does not hold; the message says what is missing."""


class NotApplicable(Exception):
    """An item is not for this component; the message says why."""


def some(names, most=12):
    """A list for people, not endless."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def demand(wrong, right="", text=""):
    """Fails with the list of what is wrong, if anything; else gives `right`, the reason why all is well."""
    if wrong:
        raise Failed(text + some(map(str, wrong)))
    return right


def has_word(word, texts):
    """Whether one of the texts has the word."""
    pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")
    return any(pattern.search(text) for text in texts)


class Builder:
    """Builds and tests the checkout at `root`, in .build; .build-logs has what commands print."""

    def __init__(self, root):
        self.root, self.scratch, self.logs = root, os.path.join(root, ".build"), os.path.join(root, ".build-logs")
        # As utils/lib/common.sh does, and for its reason.
        self.environment = os.environ | {"SWIFT_BACKTRACE": "enable=no"} | {
            f"PACKETFS_{name}": "yes" if Machine().has(package) else "no"
            for name, package in (("DPDK", "libdpdk-dev"), ("MPI", "libopenmpi-dev"))}

    def run(self, name, *command):
        """Runs a command; its status and its output, which is also in the log NAME. An interrupt ends all that it has started."""
        os.makedirs(self.logs, exist_ok=True)
        with open(f"{self.logs}/promote-{name}.log", "w+", encoding="utf-8", errors="replace") as log:
            process = subprocess.Popen(command, cwd=self.root, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=subprocess.STDOUT, start_new_session=True)
            try:
                process.wait(3600)
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            log.seek(0)
            return process.returncode, log.read()

    def demand(self, name, *command):
        """The output of a command that must succeed."""
        status, output = self.run(name, *command)
        if status:
            errors = re.findall(r"^.{0,120}\b(?:error|FAILED)\b.{0,120}", output, re.MULTILINE)
            raise Failed(f"{some(errors, 3) or os.path.basename(command[0])} (status {status}, log {self.logs}/promote-{name}.log)")
        return output

    @functools.cached_property
    def built(self):
        """None if everything builds, tests too, without a warning; else what is wrong."""
        try:
            output = self.demand("build", "swift", "build", "--build-tests", "--scratch-path", self.scratch)
        except Failed as failure:
            return str(failure)
        return some(re.findall(r"^.{0,120}\bwarning: .{0,120}", output, re.MULTILINE), 3) or None

    def test(self, names, sanitizer=None):
        """Runs test targets, suites or scripts: what was counted. Fails unless something ran and nothing failed."""
        scripts = [name for name in names if os.path.isfile(os.path.join(self.root, name))]
        for script in scripts:
            self.demand(os.path.basename(script), os.path.join(self.root, script))
        suites = "|".join(re.escape(name) for name in names if name not in scripts)
        if not suites:
            return f"{some(scripts)} ran"
        how = ["--skip-build", "--scratch-path", self.scratch]
        if sanitizer:
            how = ["--sanitize", sanitizer, "--scratch-path", f"{self.root}/.build-{sanitizer[0]}san"]
        with tempfile.TemporaryDirectory() as folder:
            status, _ = self.run("test", "swift", "test", *how, "--event-stream-output-path", f"{folder}/events", "--filter",
                                 rf"^({suites})[./]")
            summary = self.demand("report", "utils/test-report", f"{folder}/events", "--status", str(status),
                                  *(["--thread-sanitizer"] if sanitizer == "thread" else []))
        summary = summary.strip().split("\n")[-1].strip().replace(" in this run", "")
        demand([summary] if summary.startswith("0 passed") else [])
        return summary

    @functools.cached_property
    def symbol_graphs(self):
        """The folder in which the compiler lists the public declarations of every module."""
        output = self.demand("symbols", "swift", "package", "--scratch-path", self.scratch, "dump-symbol-graph",
                             "--minimum-access-level", "public", "--skip-synthesized-members")
        return re.search(r"Files written to (.*)", output)[1]

    def symbols(self, module):
        """The public declarations of a Swift module."""
        found = []
        for name in os.listdir(self.symbol_graphs):
            if re.fullmatch(rf"{module}(@.*)?\.symbols\.json", name):
                with open(os.path.join(self.symbol_graphs, name), encoding="utf-8") as file:
                    found += [symbol for symbol in json.load(file)["symbols"] if "location" in symbol]
        return found


class Case:
    """A component that is to rise to the tier `to`, with what checks need to know about it."""

    def __init__(self, tree, component, to, builder):
        self.tree, self.component, self.to, self.builder = tree, component, to, builder
        self.sources = tree.sources(component.path)
        self.test_sources = tree.test_sources(component.list("tests"))
        self.is_swift = any(path.endswith(".swift") for path in self.sources)

    def facts(self, key):
        """The list that components.toml has for a key."""
        if reason := self.component.none(key):
            raise NotApplicable(reason)
        demand([] if key in self.component.facts else [f"{FILE} has no `{key}` for it"])
        return self.component.list(key)

    def options(self):
        """The long options of an executable, those of its subcommands too."""
        tool = os.path.join(self.builder.scratch, "debug", self.component.name)
        return command_options(json.loads(self.builder.demand("help", tool, "--experimental-dump-help"))["command"])


def command_options(command):
    """As Case.options, of one command and those below it."""
    found = {name["name"] for argument in command.get("arguments", []) if argument.get("shouldDisplay", True)
             for name in argument.get("names", []) if name["kind"] == "long"}
    below = (command_options(one) for one in command.get("subcommands", []) if one["commandName"] != "help")
    return found.union(*below) - {"help", "version"}


class Item(NamedTuple):
    """A line of the list: its name and text, and the function that checks it and gives the reason why it holds."""
    name: str
    text: str
    check: Callable
    kinds: tuple = ("library", "executable", "system")
    needs_build: bool = False

    def judge(self, case):
        """What becomes of it for a component, and why."""
        try:
            if case.component.kind not in self.kinds:
                raise NotApplicable(f"it is of the kind {case.component.kind}")
            if self.needs_build and case.builder.built:
                raise Failed("it does not build")
            return PASSED, self.check(case)
        except Failed as failure:
            return FAILED, str(failure)
        except NotApplicable as reason:
            return NOT_APPLICABLE, str(reason)


# --- The checks.


def docs(case):
    names = [case.component.name, os.path.basename(case.component.path)]
    pages = case.facts("docs")
    return demand([page for page in pages if not any(has_word(name, [case.tree.read(page.partition("#")[0])]) for name in names)],
                  some(pages), "it is not named by ")


def benchmark(case):
    how, page = case.facts("benchmark")
    return demand([] if re.search(r"\d", case.tree.section(page)) else [page], f"`{how}`, figures in {page}", "no figure in ")


def forced_isa(case):
    kernels = re.compile(r"^(?:import PacketFSPCPU|import CPacketFSKernels|#include \"pfs_kernels.h\")", re.MULTILINE)
    if not any(kernels.search(text) for text in case.sources.values()):
        raise NotApplicable("runs no kernels itself")
    found = [os.path.basename(path) for path, text in case.test_sources.items()
             if re.search(r"PACKETFS_FORCE_ISA|ISA\.supported", text)]
    return demand([] if found else ["none of its tests does"], f"in {some(found)}")


def man(case):
    with tempfile.TemporaryDirectory() as folder:
        case.builder.demand("man", "utils/man", "--bin", os.path.join(case.builder.scratch, "debug"), folder, case.component.name)
    return "utils/man made it"


def flags(case):
    options = case.options()
    return demand([f"--{name}" for name in sorted(options) if not has_word(f"--{name}", case.test_sources.values())],
                  f"its tests use all {len(options)}", "no test uses ")


def declarations(case):
    tree = case.tree
    if case.is_swift:
        # An initialiser is used under its type's name.
        declared = {tuple(part.split("(")[0] for part in symbol["pathComponents"] if not part.startswith("init("))
                    for symbol in case.builder.symbols(case.component.name)}
    else:
        headers = "\n".join(text for path, text in case.sources.items() if "/include/" in path)
        headers = re.sub(r"/\*.*?\*/|//[^\n]*", "", headers, flags=re.DOTALL)
        declared = {(name,) for name in re.findall(r"\b(pfs_\w+)\(", headers)}
    # The tools that its tests run, and libraries between those and it.
    run = {name for test in case.component.list("tests") if test in tree.targets for name in tree.targets[test].dependencies
           if tree.targets[name].kind == "executable"}
    texts = list(case.test_sources.values())
    for name in tree.dependents(case.component.name):
        if tree.targets[name].kind != "test" and (name in run or run & tree.dependents(name)):
            texts += tree.sources(tree.targets[name].path).values()
    named = {path for path in declared if not re.fullmatch(r"\w+", path[-1]) or has_word(path[-1], texts)}
    # Who uses a member uses its type, which the compiler infers.
    named |= {path[:end] for path in named for end in range(1, len(path))}
    return demand(sorted(".".join(path) for path in declared - named), f"its tests, or what they run, name all {len(declared)}",
                  "neither its tests nor what they run name ")


def json_fields(case):
    if "json" not in case.options():
        raise NotApplicable("it has no --json")
    tools = {component.name for component in case.tree.components if component.kind == "executable"}
    fields = {one for page in case.component.list("docs") if "json" in page.partition("#")[2]
              for one in documented_fields(case.tree.section(page), case.component.name, tools)}
    demand([] if fields else ["none of its `docs` is a section about JSON that lists fields of `result`"])
    return demand(sorted(one for one in fields if not has_word(one, case.test_sources.values())),
                  f"its tests name all {len(fields)} documented fields", "documented, but no test names ")


def documented_fields(section, name, tools):
    """The fields that a section about JSON lists for a tool: the first column of its tables, or else its code words.

    A table below a paragraph that names tools is theirs, any other one is everybody's.
    """
    blocks = re.split(r"\n\s*\n", section)
    tables = [(before, block) for before, block in zip(["", *blocks], blocks) if block.lstrip().startswith("|")]
    words = [] if tables else re.findall(r"`([a-z_.]+)`", section)
    for before, table in tables:
        # `pfs_x_tx` and `_rx` names both.
        owners = [word for word in re.findall(r"`(\w+)`", before) if word in tools or word.startswith("_")]
        if not owners or any(name == owner or (owner.startswith("_") and name.endswith(owner)) for owner in owners):
            words += [word for row in table.strip().split("\n") for word in re.findall(r"`([a-z_.]+)`", row.split("|")[1])]
    return {word.split(".")[-1] for word in words} - {"result"}


def api(case):
    if not case.is_swift:
        raise NotApplicable("no Swift")
    status, tag = case.builder.run("tag", "git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
    tag = tag.strip()
    if status:
        raise NotApplicable("no release yet")
    status, package = case.builder.run("package", "git", "show", f"{tag}:{PACKAGE}")
    if status or not re.search(rf'\.library\([^)]*"{case.component.name}"', package):
        raise NotApplicable(f"{tag} did not offer it")
    allowed = ["--breakage-allowlist-path", ALLOWED] if case.tree.exists(ALLOWED) else []
    status, output = case.builder.run("api", "swift", "package", "diagnose-api-breaking-changes", tag, "--targets",
                                      case.component.name, *allowed)
    broken = re.findall(r"^\s*💔 (?:API breakage: )?(.*)$", output, re.MULTILINE)
    return demand(broken or ["the command failed"] if status else [], f"nothing broken since {tag}",
                  f"since {tag} (what is meant goes into {ALLOWED}, as `API breakage: ...`): ")


def tests_under(key):
    """A check that runs what components.toml names under the key."""
    def check(case):
        names = case.facts(key)
        return f"{some(names)}: {case.builder.test(names)}"
    return check


def tests(case):
    none = case.component.none("tests")
    return demand([none] if none else [], "", "it has no tests: ") or tests_under("tests")(case)


def sanitizers(case):
    wanted = {"thread": any("import Synchronization" in text for text in case.sources.values()),
              "address": any(path.endswith(".c") for path in case.sources)}
    runs = [run.split() for run in case.component.list("sanitizers")]
    demand([kind for kind, needed in wanted.items() if needed and kind not in [run[0] for run in runs]],
           text="it has atomics or C, and `sanitizers` names no run under this one: ")
    if not runs:
        raise NotApplicable(case.component.none("sanitizers") or "no atomics and no C of its own")
    return "; ".join(f"{kind}: {case.builder.test(names, kind)}" for kind, *names in runs)


def debug_kernels(case):
    """Asks the records that tests/kernel/run leaves of whole runs on kernels built for debugging."""
    done = subprocess.run(["utils/kernel-modules", "debug-runs"], cwd=case.builder.root, capture_output=True, text=True, check=False)
    return demand(done.stderr.splitlines() if done.returncode else [], "; ".join(done.stdout.splitlines()))


TOOL, LIBRARY, CODE = ("executable",), ("library",), ("library", "executable")
ITEMS = [
    Item("dependencies", "It depends on nothing that its new tier may not use.", lambda case: demand(
        case.tree.out_of_reach(case.component, case.to), f"{case.to} may use all {len(case.component.dependencies)} that it uses")),
    Item("complete", "components.toml names nothing that is missing.", lambda case: demand(
        case.component.list("missing"), f"{FILE} names nothing")),
    Item("review", "It has an owner, and its review is not overdue.", lambda case: demand(
        [by for by in [case.component.facts["review-by"]] if by < datetime.date.today()],
        f"{case.component.facts['owner']}, next by {case.component.facts['review-by']}", "look at it, then set `review-by`: it was ")),
    Item("docs", "The pages that components.toml names describe it.", docs),
    Item("benchmark", "There is a way to measure it, and a recorded figure.", benchmark),
    Item("forced-isa", "If it runs kernels, its tests force each instruction set in turn.", forced_isa),
    Item("lint", "`utils/lint` passes: no marks for work to do are left, every public declaration has a documentation comment.",
         lambda case: case.builder.demand("lint", "utils/lint") and "utils/lint"),
    Item("builds", "Everything builds without a warning.", lambda case: demand(
        [case.builder.built] if case.builder.built else [], "without a warning")),
    Item("man", "It has a man page, which explains each command and each option, as `--help` does.", man, TOOL, True),
    Item("flags", "Its tests use every option.", flags, TOOL, True),
    Item("declarations", "Its tests, or tools that they run, name every public declaration, a type by any of its members.",
         declarations, LIBRARY, True),
    Item("json", "Its tests name every field of its JSON report that the documentation promises.", json_fields, TOOL, True),
    Item("api", f"Nothing that the last release offered is broken, or the break is listed in `{ALLOWED}`.", api, LIBRARY),
    Item("tests", "It has tests, and they pass; a skip has a reason that holds for the machine.", tests, needs_build=True),
    Item("bad-input", "Tests feed it what it must refuse; they ran and passed.", tests_under("bad-input"), CODE, True),
    Item("sudden-end", "Tests kill it, or what it talks to, at any moment; they ran and passed.", tests_under("sudden-end"), CODE,
         True),
    Item("sanitizers", "If it has atomics, tests pass under the thread sanitizer; if it has C, under the address sanitizer.",
         sanitizers, CODE, True),
    Item("debug-kernels", "If it is a kernel module, `just test-kernel-debug` passed with the modules' sources as they are, on each "
         "kernel line.", debug_kernels, ("module",)),
]


def page(text):
    """docs/promotion-checklist.md with its tables of keys and its list of items as this code has them."""
    none = ", ".join(f"`{key}`" for key, (kind, _) in KEYS.items() if kind == "list or none")
    tables = iter((REQUIRED, OPTIONAL))
    text = re.sub(r"(?<=\|---\|---\|\n)(?:\|.*\n)+", lambda _: "".join(
        f"| `{key}` | {what} |\n" for key, (_, what) in next(tables).items()), text)
    text = re.sub(r"^(?:`[\w-]+`(?:, )?)+(?= can be)", none, text, flags=re.MULTILINE)
    return re.sub(r"(?:^\d+\. \*\*.*\n)+", lambda _: "".join(
        f"{number}. **{item.name}**: {item.text}\n" for number, item in enumerate(ITEMS, 1)), text, flags=re.MULTILINE)
