# SPDX-License-Identifier: MIT
"""The house: its components, each with a TIER file in its folder, and the targets that Package.swift makes of them."""
import datetime
import glob
import os
import re
import subprocess
from dataclasses import dataclass, field

from tool import NO_INPUT, Problem

# A TIER file is wrong, or does not agree with the tree.
DISAGREES = 65

# The folder of each tier, what it may depend on, and where Package.swift lists its targets.
FOLDERS = {"src": "src/packetfs", "staging": "staging", "dev": "dev", "full_apps": "full_apps", "tests": "tests"}
MAY_USE = {"src": {"src"}, "staging": {"src", "staging"}, "dev": {"src", "staging", "dev"},
           "full_apps": {"src", "full_apps"}, "tests": set(FOLDERS)}
# The tiers that a component can be promoted to.
ABOVE = {"dev": ("staging",), "staging": ("src", "full_apps")}
LISTS = {"src": "src", "staging": "staging", "dev": "dev", "full_apps": "fullApps"}
KERNEL = "src/dev/kernel"
PACKAGE = "Package.swift"

# The keys of a TIER file, in the order in which they are printed, and what stands there.
REQUIRED = {
    "what": "one line on what it is; an executable's is also its line in `utils/executables.txt`",
    "tier": "`src`, `staging`, `dev` or `full_apps`, as its folder says",
    "since": "the day on which it came there, such as 2026-01-31",
    "owner": "who answers for it",
    "missing": "what it lacks for the next tier, parts separated by semicolons, or `nothing`",
    "tests": "test targets of Package.swift, or paths of scripts, separated by commas",
    "benchmark": "`RECIPE, PAGE#SECTION`: how to measure it, and where the figures stand",
    "docs": "pages, with or without `#section`, separated by commas",
    "review-by": "the day by which somebody looks at all this again; later, `just tiers` and the tests warn",
}
OPTIONAL = {
    "needs": "what the machine must offer for it to be built at all",
    "bad-input": "suites (`TARGET.Suite`, or a script) that feed it what it must refuse",
    "sudden-end": "suites that kill it, or what it talks to, at any moment",
    "sanitizers": "`thread` or `address` and what to run so, such as `thread RingTests`, separated by commas",
}
KEYS = REQUIRED | OPTIONAL
# Where `none: reason` is an answer.
MAY_BE_NONE = ("tests", "bad-input", "sudden-end", "sanitizers", "benchmark", "docs")


def tier_of(path):
    """The tier whose folder holds `path`, or None."""
    if is_inside(path, "src/dev"):
        return "dev"
    return next((tier for tier, folder in FOLDERS.items() if is_inside(path, folder)), None)


def is_inside(path, folder):
    """Whether `path` is `folder` or lies in it."""
    return path == folder or path.startswith(folder + "/")


# --- Package.swift, read as text: so that targets which this machine lacks are seen too, and can be moved.


@dataclass
class Target:
    """A target as Package.swift writes it. `start` to `end` is its text, with the comment above it and its comma."""
    name: str
    kind: str  # library, executable, system, test, or what else SwiftPM has
    path: str
    list: str
    dependencies: list
    start: int
    end: int


def skip(text, at):
    """The position behind a string or comment that starts at `at`, or `at` itself."""
    if text.startswith("//", at):
        end = text.find("\n", at)
        return len(text) if end < 0 else end
    if text[at] == '"':
        end = at + 1
        while text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        return end + 1
    return at


def closing(text, at):
    """The position of the bracket that closes the one at `at`."""
    depth = 0
    while at < len(text):
        behind = skip(text, at)
        if behind > at:
            at = behind
            continue
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0:
            return at
        at += 1
    raise IndexError


def arguments(text):
    """The arguments of a call by label, without comments, given what stands between its brackets."""
    found, value, at, depth = {}, "", 0, 0
    while at <= len(text):
        if at == len(text) or (text[at] == "," and depth == 0):
            label = re.match(r"\s*(\w+):", value)
            if label:
                found[label[1]] = value
            value, at = "", at + 1
            continue
        behind = skip(text, at)
        if behind > at:
            value += "" if text.startswith("//", at) else text[at:behind]
            at = behind
            continue
        depth += (text[at] in "([{") - (text[at] in ")]}")
        value += text[at]
        at += 1
    return found


def targets(text):
    """Every target in the lists `let NAME: [Target] = [...]` of a Package.swift."""
    found = []
    try:
        for opening in re.finditer(r"^let (\w+): \[Target\] = \[", text, re.MULTILINE):
            end = closing(text, opening.end() - 1)
            start = opening.end()
            while call := re.compile(r"(?:\s|//[^\n]*)*\.(\w+)\(").match(text, start, end):
                close = closing(text, call.end() - 1)
                behind = close + 1 + (text[close + 1] == ",")
                found.append(target(call[1], text[call.end():close], opening[1], start, behind))
                start = behind
            if re.sub(r"//[^\n]*|\s", "", text[start:end]):
                raise ValueError
    except (IndexError, TypeError, ValueError):
        raise Problem(DISAGREES, f"{PACKAGE}: its lists of targets cannot be read: each is `let NAME: [Target] = [`, "
                      "targets written `.target(name:, path:, ...)`, and `]`") from None
    if not found:
        raise Problem(DISAGREES, f"{PACKAGE}: has no list of targets, `let NAME: [Target] = [`")
    return found


def target(call, inside, named, start, end):
    """A target from the text of its declaration."""
    values = arguments(inside)
    kinds = {"target": "library", "executableTarget": "executable", "systemLibrary": "system", "testTarget": "test"}

    def string(label):
        return re.search(r'"([^"]*)"', values.get(label, ""))[1]

    return Target(string("name"), kinds.get(call, call), string("path"), named,
                  re.findall(r'"([^"]*)"', values.get("dependencies", "")), start, end)


# --- Components.


@dataclass
class Component:
    """A folder with a TIER file: what the file says, and what it is part of."""
    name: str
    kind: str  # library, executable, system or module
    path: str
    fields: dict = field(default_factory=dict)  # key -> value
    lines: dict = field(default_factory=dict)  # key -> line number
    dependencies: list = field(default_factory=list)  # names of targets of this package
    users: list = field(default_factory=list)  # names of targets that depend on it directly, tests among them

    @property
    def file(self):
        """Its TIER file."""
        return f"{self.path}/TIER"

    @property
    def tier(self):
        """The tier of its folder."""
        return tier_of(self.path)

    def none(self, key):
        """The reason where the value of `key` is `none: reason`, or None."""
        found = re.fullmatch(r"none: *(.+)", self.fields.get(key, ""))
        return found and found[1]

    def list(self, key):
        """The values of `key`, which commas separate; none where it is absent or `none: reason`."""
        value = self.fields.get(key, "")
        return [] if self.none(key) or not value else [part.strip() for part in value.split(",")]

    @property
    def missing(self):
        """What its file says that it lacks, in parts."""
        value = self.fields.get("missing", "")
        return [] if value == "nothing" else [part.strip() for part in value.split(";")]

    @property
    def next(self):
        """The tier that it can be promoted to, or None."""
        up = {"dev": "staging", "staging": "full_apps" if self.kind == "executable" else "src"}
        return None if self.kind == "module" else up.get(self.tier)

    def review_has_passed(self, today):
        """Whether somebody should have looked at it again by now."""
        return self.fields["review-by"] < today.isoformat()


class House:
    """The tree at `root` as TIER files and Package.swift tell it."""

    def __init__(self, root):
        self.root = root
        self.package = self.read(PACKAGE)
        self.targets = targets(self.package)
        self.problems = []
        self.components = [
            Component(t.name, t.kind, t.path) for t in self.targets if t.kind != "test" and not is_inside(t.path, "tests")]
        self.components += [
            Component(os.path.basename(path), "module", path)
            for path in sorted(os.path.dirname(name) for name in self.tracked(f"{KERNEL}/*/Kbuild"))]
        names = {t.name for t in self.targets}
        for component in self.components:
            self._read_tier(component)
            own = self.target(component.name) if component.kind != "module" else None
            component.dependencies = [name for name in own.dependencies if name in names] if own else []
            component.users = [t.name for t in self.targets if own and component.name in t.dependencies]
        self._check_strays()
        if not self.problems:
            for component in self.components:
                self._check(component)

    # Reading.

    def read(self, path):
        """The text of a file of the tree."""
        try:
            with open(os.path.join(self.root, path), encoding="utf-8") as file:
                return file.read()
        except OSError as error:
            raise Problem(NO_INPUT, f"{path}: {error.strerror}") from None

    def exists(self, path):
        """Whether the tree has a file or folder of that name."""
        return os.path.exists(os.path.join(self.root, path))

    def tracked(self, *patterns):
        """The files that git knows or would add, and that are there."""
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
            cwd=self.root, check=True, capture_output=True, text=True).stdout
        return sorted({name for name in listing.split("\0") if name and self.exists(name)})

    def sources(self, folder):
        """What the files in `folder` hold, by path; files that are not text are left out."""
        found = {}
        for path in self.tracked(folder):
            try:
                found[path] = self.read(path)
            except UnicodeDecodeError:
                pass
        return found

    def target(self, name):
        """The target of that name, or None."""
        return next((t for t in self.targets if t.name == name), None)

    def component(self, name):
        """The component of that name; a problem that lists what there is where there is none."""
        found = next((c for c in self.components if c.name == name), None)
        if not found:
            raise Problem(NO_INPUT, f"there is no component {name}; there are "
                          + ", ".join(sorted(c.name for c in self.components)))
        return found

    def dependents(self, name):
        """The names of all targets that depend on `name`, directly or not."""
        found, open_names = set(), {name}
        while open_names:
            open_names = {t.name for t in self.targets if open_names & set(t.dependencies)} - found
            found |= open_names
        return found

    def out_of_reach(self, component, tier):
        """What `component` depends on that it could not use in `tier`, as names and tiers."""
        return [f"{name} ({below})" for name in component.dependencies
                if (below := tier_of(self.target(name).path)) not in MAY_USE[tier]]

    def lacks(self, component):
        """What keeps `component` from the next tier, as far as its file and Package.swift tell."""
        blocks = self.out_of_reach(component, component.next) if component.next else []
        return component.missing + [f"{block} promoted" for block in blocks]

    def check(self):
        """Ends with all that is wrong, if anything."""
        if self.problems:
            raise Problem(DISAGREES, "TIER files and the tree do not agree:\n" + "\n".join(self.problems))

    # Checking.

    def _read_tier(self, component):
        try:
            lines = self.read(component.file).split("\n")
        except Problem:
            self.problems.append(f"{component.file}: is missing; docs/promotion-checklist.md says what goes in it")
            return
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            key, colon, value = line.partition(":")
            key, value = key.strip(), value.strip()
            if not colon or key not in KEYS:
                self._say(component, number, f"unknown key `{key}`; there are {', '.join(KEYS)}")
            elif key in component.fields:
                self._say(component, number, f"`{key}` stands in line {component.lines[key]} already")
            elif not value:
                self._say(component, number, f"`{key}` has no value")
            else:
                component.fields[key], component.lines[key] = value, number
        for key in REQUIRED:
            if key not in component.fields:
                self._say(component, len(lines), f"`{key}` is missing")

    def _check_strays(self):
        known = {c.file for c in self.components}
        for path in self.tracked("TIER", "*/TIER"):
            if path not in known:
                self.problems.append(f"{path}: is in the folder of no target and no kernel module")

    def _check(self, component):
        def wrong(key, text):
            self._say(component, component.lines[key], f"`{key}`: {text}")

        fields = component.fields
        if fields["tier"] != component.tier:
            wrong("tier", f"{fields['tier']}, but the folder is in {component.tier}")
        for key in ("since", "review-by"):
            try:
                day = datetime.date.fromisoformat(fields[key])
                if key == "since" and day > datetime.date.today() + datetime.timedelta(days=1):
                    wrong(key, f"{fields[key]} has not come yet")
            except ValueError:
                wrong(key, f"{fields[key]} is not a date such as 2026-01-31")
        for key in MAY_BE_NONE:
            if re.fullmatch(r"none:? *", fields.get(key, "")):
                wrong(key, "`none: REASON` says why")
        for name in component.list("tests"):
            if not self.tests_of(name):
                wrong("tests", f"{name} is neither a test target of {PACKAGE} nor a file")
        for key in ("bad-input", "sudden-end"):
            for name in component.list(key):
                where, _, suite = name.partition(".")
                if where not in component.list("tests") and name not in component.list("tests"):
                    wrong(key, f"{name} is not in one of its tests ({fields['tests']})")
                elif suite and not self._has_suite(where, suite):
                    wrong(key, f"{where} has no suite `struct {suite}`")
        for part in component.list("sanitizers"):
            words = part.split()
            if words[0] not in ("thread", "address") or len(words) < 2:
                wrong("sanitizers", f"{part}: is not `thread` or `address` and the tests to run so")
        if component.list("benchmark"):
            self._check_benchmark(component, wrong)
        for page in component.list("docs"):
            self._check_page(page, lambda text: wrong("docs", text))
        if component.kind == "executable":
            self._check_description(component, wrong)

    def _check_benchmark(self, component, wrong):
        parts = component.list("benchmark")
        if len(parts) != 2:
            wrong("benchmark", "is `RECIPE, PAGE#SECTION`: how to measure, and where the figures stand")
            return
        recipe = re.match(r"just ([\w-]+)", parts[0])
        if recipe and not re.search(rf"^{re.escape(recipe[1])}\b[^:=\n]*:(?!=)", self.recipes(), re.MULTILINE):
            wrong("benchmark", f"there is no recipe {recipe[1]}")
        elif not recipe and not self.exists(parts[0].split()[0]):
            wrong("benchmark", f"{parts[0].split()[0]} is not there")
        self._check_page(parts[1], lambda text: wrong("benchmark", text))

    def _check_page(self, page, wrong):
        path, _, anchor = page.partition("#")
        if not self.exists(path):
            wrong(f"{path} is not there")
        elif anchor and self.section(page) is None:
            wrong(f"{path} has no section #{anchor}")

    def _check_description(self, component, wrong):
        for line in self.read("utils/executables.txt").split("\n"):
            words = line.split(None, 3)
            if words[:1] == [component.name] and len(words) == 4 and words[3].strip() != component.fields["what"]:
                wrong("what", f"utils/executables.txt says: {words[3].strip()}")

    def _has_suite(self, name, suite):
        return any(re.search(rf"\b(struct|class) {re.escape(suite)}\b", text)
                   for text in self.test_sources([name]).values())

    def _say(self, component, line, text):
        self.problems.append(f"{component.file}:{line}: {text}")

    # Looking things up.

    def recipes(self):
        """The text of all just recipes."""
        files = ["Justfile", *(os.path.relpath(name, self.root)
                               for name in sorted(glob.glob(os.path.join(self.root, "utils/just/*.just"))))]
        return "\n".join(self.read(name) for name in files if self.exists(name))

    def section(self, page):
        """The text of PAGE#SECTION up to the next heading of its level; the whole page without a section."""
        path, _, anchor = page.partition("#")
        found, level = None, 0
        text = self.read(path)
        if not anchor:
            return text
        for line in text.split("\n"):
            heading = re.match(r"(#+) +(.*)", line)
            if heading and found is not None and len(heading[1]) <= level:
                break
            if found is not None:
                found.append(line)
            elif heading and slug(heading[2]) == anchor:
                found, level = [], len(heading[1])
        return None if found is None else "\n".join(found)

    def tests_of(self, name):
        """The files of a test target, or the file of that name; none where it is neither."""
        one = self.target(name)
        if one and one.kind == "test":
            return self.tracked(one.path)
        return [name] if os.path.isfile(os.path.join(self.root, name)) else []

    def test_sources(self, names):
        """What the files of these tests hold, by path."""
        found = {}
        for name in names:
            one = self.target(name)
            found |= self.sources(one.path) if one else {name: self.read(name)}
        return found


def slug(heading):
    """The anchor that Markdown viewers give a heading."""
    return re.sub(r" ", "-", re.sub(r"[^\w\- ]", "", heading.strip().lower()))
