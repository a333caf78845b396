# SPDX-License-Identifier: MIT
"""The promotion checklist: each item with its text for people and the function that checks it."""
import contextlib
import ctypes
import datetime
import glob
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from typing import NamedTuple

from house import MAY_BE_NONE, OPTIONAL, PACKAGE, REQUIRED

# Breaks of what a release offered that are meant, one `API breakage: ...` a line, as SwiftPM prints them.
ALLOWED = "utils/lib/api-allowed.txt"
PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


class Result(NamedTuple):
    """What became of an item, and why."""
    state: str
    reason: str


def passed(reason):
    return Result(PASSED, reason)


def failed(reason):
    return Result(FAILED, reason)


def not_applicable(reason):
    return Result(NOT_APPLICABLE, reason)


def judged(wrong, right):
    """Failed with `wrong`, a list of what is, or passed with the reason `right`."""
    return failed(some(wrong)) if wrong else passed(right)


def some(names, most=12):
    """A list for people, not endless."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def with_parent():
    """Has the kernel end this process when its parent dies, however that happens."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def beside_swift(name):
    """The path of a tool of the Swift toolchain, of which only `swift` need be on PATH."""
    beside = os.path.join(os.path.dirname(os.path.realpath(shutil.which("swift") or "")), name)
    return beside if os.path.exists(beside) else name


class Workshop:
    """A checkout in which things are built and tested, each built once.

    `root` is the checkout, `scratch` where SwiftPM keeps what it built, `logs` a folder for what commands print.
    """

    def __init__(self, root, scratch, logs):
        self.root, self.scratch, self.logs = root, scratch, logs
        self.environment = dict(os.environ, SWIFT_BACKTRACE="enable=no")
        # As utils/lib/common.sh does, and for its reason.
        for name, header in (("DPDK", "/usr/include/dpdk/rte_ethdev.h"), ("MPI", "/usr/lib/*/openmpi/include/mpi.h")):
            self.environment[f"PACKETFS_{name}"] = "yes" if glob.glob(header) else "no"
        self._builds = {}

    def run(self, name, command, seconds=3600):
        """Runs a command; its status and what it printed, which also stands in the log NAME.

        Whatever ends this process ends the command too.
        """
        os.makedirs(self.logs, exist_ok=True)
        path = os.path.join(self.logs, f"promote-{name}.log")
        with open(path, "wb") as log:
            process = subprocess.Popen(
                command, cwd=self.root, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=with_parent)
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                status = 124
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        with open(path, encoding="utf-8", errors="replace") as log:
            return status, log.read()

    def build(self):
        """Builds everything, tests too; None if that succeeded without a warning, else what was wrong."""
        return self._once(("build",), lambda: self._build(["swift", "build", "--build-tests"]))

    def _build(self, command):
        status, output = self.run("build", [*command, "--scratch-path", self.scratch])
        complaints = re.findall(r"^.{0,120}\b(?:error|warning): .{0,120}", output, re.MULTILINE)
        if status or complaints:
            return f"{some(complaints, 3) or 'no message'} (status {status}, log {self.log('build')})"
        return None

    def test(self, names, sanitizer=None):
        """Runs test targets, suites or scripts.

        Returns what went wrong or None, a summary, and (what became of each test, issues of each).
        """
        return self._once((tuple(names), sanitizer), lambda: self._test(names, sanitizer))

    def _test(self, names, sanitizer):
        scripts = [name for name in names if os.path.isfile(os.path.join(self.root, name))]
        suites = [name for name in names if name not in scripts]
        for script in scripts:
            status, _ = self.run(os.path.basename(script), [os.path.join(self.root, script)])
            if status:
                return f"{script} ended with {status} (log {self.log(os.path.basename(script))})", "", ({}, {})
        if not suites:
            return None, f"{some(scripts)} ran", ({}, {})
        if sanitizer:
            how = ["--sanitize", sanitizer, "--scratch-path", f"{self.root}/.build-{sanitizer[0]}san"]
        else:
            how = ["--skip-build", "--scratch-path", self.scratch]
        alternatives = "|".join(re.escape(name) for name in suites)
        log = f"test-{sanitizer}" if sanitizer else "test"
        with tempfile.TemporaryDirectory() as folder:
            events = os.path.join(folder, "events")
            status, _ = self.run(log, ["swift", "test", *how, "--event-stream-output-path", events,
                                       "--filter", rf"^({alternatives})[./]"])
            report, output = self.run("report", [
                "utils/test-report", events, "--status", str(status),
                *(["--thread-sanitizer"] if sanitizer == "thread" else [])])
            outcome, issues = self._events(events)
        lines = output.strip().split("\n")
        failures = [line.strip() for line in lines if line.strip().startswith("FAILED")]
        summary = lines[-1].strip().replace(" in this run", "")
        if report:
            return f"{some(failures, 3)} (log {self.log(log)})", summary, (outcome, issues)
        return None, summary, (outcome, issues)

    def _events(self, path):
        """What became of each test, and the issues of each, as utils/test-report reads them."""
        loader = importlib.machinery.SourceFileLoader("test_report", os.path.join(self.root, "utils/test-report"))
        report = importlib.util.module_from_spec(importlib.util.spec_from_loader("test_report", loader))
        loader.exec_module(report)
        try:
            _, outcome, issues, _ = report.read(path)
            return outcome, issues
        except OSError:
            return {}, {}

    def _once(self, key, work):
        if key not in self._builds:
            self._builds[key] = work()
        return self._builds[key]

    def log(self, name):
        """Where the output of a step stands, for people."""
        return os.path.relpath(os.path.join(self.logs, f"promote-{name}.log"), os.getcwd())

    def product(self, name):
        """The debug build of an executable."""
        return os.path.join(self.scratch, "debug", name)

    def symbols(self, house, module):
        """The public declarations of a Swift module, as the compiler lists them; None where it cannot."""
        maps = [os.path.join(self.root, path) for path in house.tracked("*module.modulemap")]
        for folder in ("debug", "checkouts"):
            for at, _, files in os.walk(os.path.join(self.scratch, folder)):
                # Swift modules' own maps, in folders called include, would be second definitions.
                if "module.modulemap" in files and (folder == "checkouts" or os.path.basename(at) != "include"):
                    maps.append(os.path.join(at, "module.modulemap"))
        with tempfile.TemporaryDirectory() as folder:
            status, _ = self.run("symbols", [
                beside_swift("swift-symbolgraph-extract"), "-module-name", module,
                "-I", os.path.join(self.scratch, "debug/Modules"),
                "-target", f"{os.uname().machine}-unknown-linux-gnu", "-minimum-access-level", "public",
                "-skip-synthesized-members", "-output-dir", folder,
                *(word for path in maps for word in ("-Xcc", f"-fmodule-map-file={path}"))])
            found = []
            for name in os.listdir(folder) if status == 0 else []:
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    found += [s for s in json.load(file)["symbols"] if "location" in s]
            return found if status == 0 else None


class Case:
    """One component that wants to rise to the tier `to`, with what checks need to know about it."""

    def __init__(self, house, component, to, shop):
        self.house, self.component, self.to, self.shop = house, component, to, shop
        self.sources = house.sources(component.path)
        self.tests = component.list("tests")
        self.test_sources = house.test_sources(self.tests)
        self.is_swift = any(path.endswith(".swift") for path in self.sources)

    def field(self, key):
        """`not applicable` with the reason for `none: reason`, `failed` where the key is absent, else None."""
        reason = self.component.none(key)
        if reason:
            return not_applicable(reason)
        return None if key in self.component.fields else failed(f"{self.component.file} has no `{key}`")

    def help(self):
        """The options of an executable as (long name, text) and whether its commands say what they are for."""
        name = self.component.name
        status, output = self.shop.run("help", [self.shop.product(name), "--experimental-dump-help"], 60)
        try:
            return command_help(json.loads(output)["command"])
        except (ValueError, KeyError, TypeError):
            status, output = self.shop.run("help", [self.shop.product(name), "--help"], 60)
            options = re.findall(r"^\s+(?:-\w, )?--([a-z][a-z0-9-]*)\S*(.*)$", output, re.MULTILINE)
            options = [(option, text.strip()) for option, text in options if option not in ("help", "version")]
            return options, bool(output.strip()) and status == 0


def command_help(command):
    """As Case.help, of one command and those below it."""
    options, explained = [], bool(command.get("abstract"))
    for argument in command.get("arguments", []):
        if argument.get("shouldDisplay", True):
            options += [(name["name"], argument.get("abstract", ""))
                        for name in argument.get("names", []) if name["kind"] == "long"]
    for below in command.get("subcommands", []):
        if below["commandName"] != "help":
            more, and_so = command_help(below)
            options, explained = options + more, explained and and_so
    return [option for option in options if option[0] not in ("help", "version")], explained


def has_word(word, texts):
    """Whether one of the texts has the word."""
    pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")
    return any(pattern.search(text) for text in texts)


# --- The checks, in the order of the list.


def dependencies(case):
    reach = case.house.out_of_reach(case.component, case.to)
    return judged(reach, f"{case.to} may use all {len(case.component.dependencies)} that it uses")


def complete(case):
    return judged(case.component.missing, f"{case.component.file} says `nothing`")


def review(case):
    by = case.component.fields["review-by"]
    if case.component.review_has_passed(datetime.date.today()):
        return failed(f"was to be reviewed by {by}: look at it, then set `review-by`")
    return passed(f"{case.component.fields['owner']}, next by {by}")


def marks(case):
    # Written in parts, so that this line is not one of them.
    pattern = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
    return judged([f"{path}:{number}" for path, text in (case.sources | case.test_sources).items()
                   for number, line in enumerate(text.split("\n"), 1) if pattern.search(line)],
                  f"none in {len(case.sources)} files and {len(case.test_sources)} of its tests")


def pages(case):
    if missing := case.field("docs"):
        return missing
    names = [case.component.name, os.path.basename(case.component.path)]
    silent = [page for page in case.component.list("docs")
              if not any(has_word(name, [case.house.read(page.partition("#")[0])]) for name in names)]
    return failed(f"{some(silent)} does not name it") if silent else passed(some(case.component.list("docs")))


def benchmark(case):
    if missing := case.field("benchmark"):
        return missing
    recipe, page = case.component.list("benchmark")
    if not re.search(r"\d", case.house.section(page) or ""):
        return failed(f"{page} has no figure")
    return passed(f"`{recipe}`, figures in {page}")


def builds(case):
    if wrong := case.shop.build():
        return failed(wrong)
    if case.component.kind == "system":
        return passed("everything builds without a warning")
    declared = case.house.package[(own := case.house.target(case.component.name)).start:own.end]
    if not re.search(r"\b(swiftSettings: swift|cSettings: c)\b", declared):
        return failed(f"{PACKAGE} does not make its warnings errors (`swiftSettings: swift` or `cSettings: c`)")
    return passed("everything builds; its warnings are errors")


def tests_pass(case):
    if missing := case.field("tests"):
        return missing if missing.state == FAILED else failed(f"it has no tests ({missing.reason})")
    wrong, summary, _ = case.shop.test(case.tests)
    return failed(wrong) if wrong else passed(summary)


def flags(case):
    options, _ = case.help()
    untested = [f"--{name}" for name, _ in options if not has_word(f"--{name}", case.test_sources.values())]
    return failed(f"no test uses {some(untested)}") if untested else passed(f"its tests use all {len(options)}")


def declarations(case):
    texts = [*case.test_sources.values(), *users_under_test(case)]
    if not case.is_swift:
        headers = "\n".join(text for path, text in case.sources.items() if "/include/" in path)
        headers = re.sub(r"/\*.*?\*/|//[^\n]*", "", headers, flags=re.DOTALL)
        declared = {(name,) for name in re.findall(r"\b(pfs_\w+)\(", headers)}
    else:
        symbols = case.shop.symbols(case.house, case.component.name)
        if symbols is None:
            return failed(f"the compiler cannot list its declarations (log {case.shop.log('symbols')})")
        # An initialiser is used under its type's name.
        declared = {tuple(s["pathComponents"][:-1] if s["kind"]["identifier"] == "swift.init" else s["pathComponents"])
                    for s in symbols}
    declared = {tuple(part.split("(")[0] for part in path) for path in declared}
    named = {path for path in declared if not re.fullmatch(r"\w+", path[-1]) or has_word(path[-1], texts)}
    # Who uses a member uses its type, which the compiler infers.
    named |= {path[:end] for path in named for end in range(1, len(path))}
    untested = sorted(".".join(path) for path in declared - named)
    return (failed(f"neither its tests nor what they run name {some(untested)}") if untested
            else passed(f"its tests, or what they run, name all {len(declared)}"))


def users_under_test(case):
    """The sources of tools that its tests run and that use it, and of libraries between them and it."""
    house, users = case.house, case.house.dependents(case.component.name)
    run = {name for test in case.tests if (target := house.target(test)) for name in target.dependencies
           if (one := house.target(name)) and one.kind == "executable"}
    between = {name for name in users
               if house.target(name).kind != "test" and (name in run or run & house.dependents(name))}
    return [text for name in sorted(between) for text in house.sources(house.target(name).path).values()]


def named_tests(case, key):
    """Whether the tests that the file names under `key` ran and passed."""
    if missing := case.field(key):
        return missing
    wrong, _, (outcome, issues) = case.shop.test(case.tests)
    silent = []
    for name in case.component.list(key):
        # A suite's tests are TARGET.Suite/test(), with a target before them; a script ran with the rest.
        own = [test for test in outcome if re.match(rf"{re.escape(name)}[./]", test) and "/" in test]
        ran = any(outcome[test][0] == "testEnded" for test in own) and not any(test in issues for test in own)
        if wrong if "/" in name else not ran:
            silent.append(name)
    return (failed(f"did not run, or did not pass: {some(silent)}") if silent
            else passed(some(case.component.list(key))))


def bad_input(case):
    return named_tests(case, "bad-input")


def sudden_end(case):
    return named_tests(case, "sudden-end")


def sanitizers(case):
    wanted = set()
    if any("import Synchronization" in text for text in case.sources.values()):
        wanted.add("thread")
    if any(path.endswith(".c") for path in case.sources):
        wanted.add("address")
    runs = [part.split(None, 1) for part in case.component.list("sanitizers")]
    if lacking := wanted - {kind for kind, _ in runs}:
        return failed(f"`sanitizers` names no run under the {some(sorted(lacking))} sanitizer, though it has "
                      + " and ".join({"thread": "atomics", "address": "C"}[kind] for kind in sorted(lacking)))
    if not runs:
        return not_applicable(case.component.none("sanitizers") or "no atomics and no C of its own")
    good = []
    for kind, names in runs:
        wrong, summary, _ = case.shop.test(names.split(), kind)
        if wrong:
            return failed(f"{kind}: {wrong}")
        good.append(f"{kind}: {summary}")
    return passed("; ".join(good))


def forced_isa(case):
    kernels = re.compile(r"^(?:import PacketFSPCPU|import CPacketFSKernels|#include \"pfs_kernels.h\")", re.MULTILINE)
    if not any(kernels.search(text) for text in case.sources.values()):
        return not_applicable("runs no kernels itself")
    found = [os.path.basename(path) for path, text in case.test_sources.items()
             if re.search(r"PACKETFS_FORCE_ISA|ISA\.supported", text)]
    return passed(f"in {some(found)}") if found else failed("none of its tests forces an instruction set")


def help_text(case):
    options, explained = case.help()
    if not explained:
        return failed("`--help` fails, or a command does not say what it is for")
    silent = [f"--{name}" for name, text in options if not text]
    return failed(f"no text for {some(silent)}") if silent else passed(f"a text for each of {len(options)} options")


def man_page(case):
    if not case.house.exists("utils/man"):
        return not_applicable("utils/man is not there")
    with tempfile.TemporaryDirectory() as folder:
        status, _ = case.shop.run("man", ["utils/man", folder])
        found = [name for _, _, files in os.walk(folder) for name in files
                 if re.fullmatch(rf"{re.escape(case.component.name)}\.1(\.gz)?", name)]
    return passed(found[0]) if found else failed(f"utils/man made none, status {status} (log {case.shop.log('man')})")


def comments(case):
    if not case.is_swift:
        return not_applicable("no Swift")
    symbols = case.shop.symbols(case.house, case.component.name)
    if symbols is None:
        return failed(f"the compiler cannot list its declarations (log {case.shop.log('symbols')})")
    bare = [".".join(s["pathComponents"]) for s in symbols if "docComment" not in s]
    return failed(f"none on {some(bare)}") if bare else passed(f"on all {len(symbols)} public declarations")


def json_fields(case):
    if "json" not in [name for name, _ in case.help()[0]]:
        return not_applicable("it has no --json")
    fields, tools = set(), {c.name for c in case.house.components if c.kind == "executable"}
    for page in case.component.list("docs"):
        if "json" in page.partition("#")[2]:
            fields |= documented_fields(case.house.section(page), case.component.name, tools)
    if not fields:
        return failed("none of its `docs` is a section about JSON that lists fields of `result`")
    unchecked = sorted(f for f in fields if not has_word(f, case.test_sources.values()))
    return (failed(f"documented, but no test names {some(unchecked)}") if unchecked
            else passed(f"its tests name all {len(fields)} documented fields"))


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
            for row in table.strip().split("\n"):
                words += re.findall(r"`([a-z_.]+)`", row.split("|")[1])
    return {word.split(".")[-1] for word in words} - {"result"}


def api(case):
    if not case.is_swift:
        return not_applicable("no Swift")
    status, tag = case.shop.run("tag", ["git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"])
    tag = tag.strip()
    if status:
        return not_applicable("no release yet")
    status, package = case.shop.run("package", ["git", "show", f"{tag}:{PACKAGE}"])
    if status or not re.search(rf'\.library\([^)]*"{case.component.name}"', package):
        return not_applicable(f"{tag} did not offer it")
    exempt = case.house.exists(ALLOWED)
    status, output = case.shop.run("api", [
        "swift", "package", "diagnose-api-breaking-changes", tag, "--targets", case.component.name,
        *(["--breakage-allowlist-path", ALLOWED] if exempt else [])])
    if status:
        broken = re.findall(r"^\s*💔 (?:API breakage: )?(.*)$", output, re.MULTILINE)
        return failed(f"since {tag}: {some(broken, 5) or 'see ' + case.shop.log('api')}; "
                      f"what is meant goes into {ALLOWED}, as `API breakage: ...`")
    return passed(f"nothing broken since {tag}{f', but for {ALLOWED}' if exempt else ''}")


class Item(NamedTuple):
    """A line of the list."""
    name: str
    # What must hold.
    text: str
    check: Callable[[Case], Result]
    # The kinds of component that it is for.
    kinds: tuple = ("library", "executable", "system")
    # Whether it looks at what was built.
    is_built: bool = False

    def judge(self, case):
        """What becomes of it for a component."""
        if case.component.kind not in self.kinds:
            return not_applicable(f"it is of the kind {case.component.kind}")
        if self.is_built and case.shop.build():
            return failed("it does not build")
        return self.check(case)


EXECUTABLE, LIBRARY, CODE = ("executable",), ("library",), ("library", "executable")


# Those that take long come last.
ITEMS = [
    Item("dependencies", "It depends on nothing that its new tier may not use.", dependencies),
    Item("complete", "Its TIER file says that nothing is missing.", complete),
    Item("review", "It has an owner, and its review is not overdue.", review),
    Item("marks", "No left-over marks for work to do stand in its sources or tests.", marks),
    Item("docs", "The pages of its TIER file describe it.", pages),
    Item("benchmark", "There is a way to measure it, and a recorded figure.", benchmark),
    Item("forced-isa", "If it runs kernels, its tests force each instruction set in turn.", forced_isa),
    Item("builds", "Everything builds without a warning, and its own warnings are errors.", builds),
    Item("help", "`--help` explains each command and each option.", help_text, EXECUTABLE, True),
    Item("man", "It has a man page.", man_page, EXECUTABLE, True),
    Item("comments", "Every public declaration has a documentation comment.", comments, LIBRARY, True),
    Item("flags", "Its tests use every option.", flags, EXECUTABLE, True),
    Item("declarations", "Its tests, or tools that they run, name every public declaration, a type by any of its members.",
         declarations, LIBRARY, True),
    Item("json", "Its tests name every field of its JSON report that the documentation promises.", json_fields, EXECUTABLE,
         True),
    Item("api", "Nothing that the last release offered is broken, or the break is listed in "
         f"`{ALLOWED}`.", api, LIBRARY),
    Item("tests", "It has tests, and they pass; a skip has a reason that holds for the machine.", tests_pass,
         is_built=True),
    Item("bad-input", "Tests feed it what it must refuse; they ran and passed.", bad_input, CODE, True),
    Item("sudden-end", "Tests kill it, or what it talks to, at any moment; they ran and passed.", sudden_end, CODE, True),
    Item("sanitizers", "If it has atomics, tests pass under the thread sanitizer; if it has C, under the address "
         "sanitizer.", sanitizers, CODE, True),
]


def page():
    """docs/promotion-checklist.md."""
    def keys(texts):
        return "\n".join(f"| `{key}` | {text} |" for key, text in texts.items())

    none = ", ".join(f"`{key}`" for key in MAY_BE_NONE)
    items = "\n".join(f"{number}. **{item.name}**: {item.text}" for number, item in enumerate(ITEMS, 1))
    return f"""# Tiers and promotion

(Made by `utils/promote --checklist` from the code that checks it; `just lint` compares the two.)

`just tiers` prints how mature each component is and what it lacks; `just tiers NAME` shows everything about one.

## The TIER file

Each component (the folder of a target in Package.swift, or of a kernel module) has a file `TIER`: lines `key: value`, in any
order; lines that begin with `#` are comments. Unknown keys, missing ones and values that do not agree with the tree
are errors. Who uses a component is not in the file: Package.swift knows.

| Key | What stands there |
|---|---|
{keys(REQUIRED)}

These can be left out; to be promoted, a component needs them where the checklist asks:

| Key | What stands there |
|---|---|
{keys(OPTIONAL)}

{none} can be `none: REASON`; the reason then stands in the checklist's output.

## Promotion

`just promote NAME` moves a component from dev to staging, or from staging to src (libraries) or full_apps (executables). It
checks the list below item by item and refuses if one fails; `--check` does only that. Then it moves the folder, and tests
that are of no other component of the old tier, rewrites Package.swift, paths and names of tiers in documentation and
scripts, TIER, `utils/executables.txt` and CHANGELOG.md, builds everything, tests what depends on the component, and makes
one commit on your branch, to be looked at with `git show`. All that happens in a checkout of its own: until the last step,
which moves your branch forward, nothing of yours changes, whatever fails or is interrupted, and whenever. `just demote NAME`
is the way back; it refuses only if something above depends on the component.

An item is *passed*, *failed*, or *not applicable*, each with the reason. The commit's message records all of them.

{items}

What the list cannot see: whether names are good, whether a test that names a declaration tests it well, whether the
figures are good. That is the review's part.
"""
