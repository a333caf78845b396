# SPDX-License-Identifier: MIT
"""The components of the tree: what components.toml says about each, what Package.swift makes of it, and the rules for both."""
import datetime
import json
import os
import re
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass, field

from tool import NO_INPUT, WRONG_DATA, Problem

FILE, PACKAGE, KERNEL = "components.toml", "Package.swift", "src/dev/kernel"
# The folder of each tier, and what it may depend on. Tests are in tests/TIER; what is in other folders of tests is for all.
FOLDERS = {"src": "src/packetfs", "staging": "staging", "dev": "dev", "full_apps": "full_apps"}
MAY_USE = {"src": {"src"}, "staging": {"src", "staging"}, "dev": {"src", "staging", "dev"}, "full_apps": {"src", "staging", "full_apps"}}
# The tiers that a component can be promoted to.
ABOVE = {"dev": ("staging",), "staging": ("src", "full_apps")}
AT_ROOT = {"Package.swift", "Justfile", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", FILE, "src", "staging", "dev",
           "full_apps", "utils", "bin", "tests", "theoretical", "docs"}

# The keys of components.toml: the kind of value, and what it says. A list can be `{none = "REASON"}` where `or none` allows it.
REQUIRED = {
    "what": ("text", "one line on what it is; `just help` prints it for an executable"),
    "since": ("date", "the day on which it came there, such as 2026-01-31"),
    "owner": ("text", "who answers for it"),
    "tests": ("list or none", "test targets of Package.swift, or paths of scripts"),
    "benchmark": ("list or none", "two texts: how to measure it (a recipe or a script), and PAGE#SECTION with the figures"),
    "docs": ("list or none", "pages, with or without `#section`"),
    "review-by": ("date", "the day by which somebody looks at all this again; later, `just tiers` warns"),
}
OPTIONAL = {
    "missing": ("list", "what it lacks for the next tier"),
    "needs": ("text", "the Debian package without which it is not built"),
    "bad-input": ("list or none", "suites (`TARGET.Suite`, or a script) that feed it what it must refuse"),
    "sudden-end": ("list or none", "suites that kill it, or what it talks to, at any moment"),
    "sanitizers": ("list or none", "`thread` or `address` and what to run so, such as `thread RingTests`"),
}
KEYS = REQUIRED | OPTIONAL | {"tier": ("text", "the table that it is in")}


def read(root):
    """What components.toml says about each component, by name: facts above a table hold for all in it."""
    try:
        with open(os.path.join(root, FILE), "rb") as file:
            document = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise Problem(WRONG_DATA, f"{FILE}: {error}") from None

    def parts(table):
        """The values of a table, and the tables in it."""
        inner = {key: value for key, value in table.items() if type(value) is dict}
        return {key: value for key, value in table.items() if key not in inner}, inner

    found = {}
    common, tiers = parts(document)
    for tier, table in tiers.items():
        of_tier, components = parts(table)
        for name, facts in components.items():
            if name in found:
                raise Problem(WRONG_DATA, f"{FILE}: {name} is in {found[name]['tier']} and in {tier}")
            found[name] = common | of_tier | facts | {"tier": tier}
    return found


def executables(root):
    """The facts about the executables: the components that bin/ has a link for, in the order of the file."""
    return {name: facts for name, facts in read(root).items() if os.path.islink(os.path.join(root, "bin", name))}


def is_inside(path, folder):
    """Whether `path` is `folder` or lies in it, and does not climb out again."""
    return (path == folder or path.startswith(folder + "/")) and ".." not in path.split("/")


def tier_of(path):
    """The tier whose folder holds `path`, or None."""
    if is_inside(path, "src/dev"):
        return "dev"
    return next((tier for tier, folder in FOLDERS.items() if is_inside(path, folder)), None)


@dataclass
class Target:
    """A target of Package.swift, or a kernel module, with what components.toml says about it."""
    name: str
    kind: str  # library, executable, system, test or module
    path: str
    dependencies: list = field(default_factory=list)  # targets of this package only
    settings: set = field(default_factory=set)
    facts: dict = field(default_factory=dict)

    @property
    def tier(self):
        return tier_of(self.path)

    @property
    def tested_tier(self):
        """The tier of the tests' folder, or None: tests that are for all."""
        part = self.path.split("/")[1] if self.path.startswith("tests/") else None
        return part if part in FOLDERS else None

    @property
    def next(self):
        """The tier that it can be promoted to, or None."""
        up = {"dev": "staging", "staging": "full_apps" if self.kind == "executable" else "src"}
        return None if self.kind == "module" else up.get(self.tier)

    def none(self, key):
        """The reason where the value of `key` is `{none = "REASON"}`, or None."""
        value = self.facts.get(key)
        return value["none"] if type(value) is dict else None

    def list(self, key):
        """The values of `key`; none where it is absent or has a reason instead."""
        value = self.facts.get(key, [])
        return value if type(value) is list else []


def dump(root):
    """Package.swift as SwiftPM evaluates it, with the targets that this machine lacks the libraries for.

    SwiftPM locks its scratch folder, and under `swift test` that lock is taken: a folder of its own avoids the wait.
    """
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            ["swift", "package", "--scratch-path", scratch, "dump-package"], cwd=root, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, env=os.environ | {"PACKETFS_ALL_TARGETS": "yes"})
    if done.returncode:
        raise Problem(WRONG_DATA, f"{PACKAGE} cannot be read: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Tree:
    """The tree at `root`: its targets and products, facts about them, links in bin, and what lies at its root."""

    def __init__(self, root, package=None):
        self.root = root
        package = package or dump(root)
        kinds = {"regular": "library"}
        self.targets = {}
        for target in package["targets"]:
            dependencies = [one[key][0] for one in target["dependencies"] for key in ("byName", "target") if key in one]
            self.targets[target["name"]] = Target(
                target["name"], kinds.get(target["type"], target["type"]), target.get("path") or "SwiftPM's default folder",
                dependencies, {key for setting in target["settings"] for key in setting["kind"]})
        self.products = {product["name"]: product for product in package["products"]}
        for path in self.tracked(f"{KERNEL}/*/Kbuild"):
            folder = os.path.dirname(path)
            self.targets[os.path.basename(folder)] = Target(os.path.basename(folder), "module", folder)
        self.facts = read(root)
        for name, target in self.targets.items():
            target.dependencies = [other for other in target.dependencies if other in self.targets]
            target.facts = self.facts.get(name, {})
        self.links = {name: os.readlink(path) for name in sorted(os.listdir(f"{root}/bin"))
                      if os.path.islink(path := f"{root}/bin/{name}")}
        self.top = {path.split("/")[0] for path in self.tracked() if not path.startswith(".")}

    # Reading.

    def read(self, path):
        """The text of a file of the tree."""
        try:
            with open(os.path.join(self.root, path), encoding="utf-8") as file:
                return file.read()
        except OSError as error:
            raise Problem(NO_INPUT, f"{path}: {error.strerror}") from None

    def exists(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def tracked(self, *patterns):
        """The files that git knows or would add, and that are there."""
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
            cwd=self.root, check=True, capture_output=True, text=True).stdout
        return sorted({name for name in listing.split("\0") if name and os.path.lexists(os.path.join(self.root, name))})

    def sources(self, folder):
        """What the text files in `folder` hold, by path."""
        found = {}
        for path in self.tracked(folder):
            if not os.path.islink(os.path.join(self.root, path)):
                with open(os.path.join(self.root, path), "rb") as file:
                    data = file.read()
                if b"\0" not in data:
                    found[path] = data.decode(errors="replace")
        return found

    def section(self, page):
        """The text of PAGE#SECTION up to the next heading of its level, or of the whole page; None where it is not there."""
        path, _, anchor = page.partition("#")
        if not self.exists(path):
            return None
        found, level = None if anchor else [], 0
        for line in self.read(path).split("\n"):
            heading = re.match(r"(#+) +(.*)", line)
            if heading and level and len(heading[1]) <= level:
                break
            if found is not None:
                found.append(line)
            # As Markdown viewers make anchors.
            elif heading and re.sub(r"[^\w\- ]", "", heading[2].strip().lower()).replace(" ", "-") == anchor:
                found, level = [], len(heading[1])
        return None if found is None else "\n".join(found)

    # Targets and components.

    @property
    def components(self):
        """The targets that have facts, or should: all but tests and what they share."""
        return [target for target in self.targets.values() if target.kind != "test" and not is_inside(target.path, "tests")]

    def component(self, name):
        """The component of that name."""
        target = self.targets.get(name)
        if target not in self.components:
            raise Problem(NO_INPUT, f"there is no component {name}; there are {', '.join(sorted(c.name for c in self.components))}")
        return target

    def users(self, name):
        """The names of the targets that depend on `name` directly."""
        return [target.name for target in self.targets.values() if name in target.dependencies]

    def dependents(self, name):
        """The names of all targets that depend on `name`, directly or not."""
        found = set()
        pending = self.users(name)
        while pending:
            user = pending.pop()
            if user not in found:
                found.add(user)
                pending += self.users(user)
        return found

    def out_of_reach(self, component, tier):
        """What `component` depends on that it could not use in `tier`, as names and tiers."""
        return [f"{name} ({below})" for name in component.dependencies if (below := self.targets[name].tier) not in MAY_USE[tier]]

    def lacks(self, component):
        """What keeps `component` from the next tier, as far as components.toml and Package.swift tell."""
        blocks = self.out_of_reach(component, component.next) if component.next else []
        return component.list("missing") + [f"{block} promoted" for block in blocks]

    def test_sources(self, names):
        """What the files of these test targets and scripts hold, by path."""
        return {path: text for name in names
                for path, text in self.sources(self.targets[name].path if name in self.targets else name).items()}

    # The rules.

    def check(self):
        """Ends with all that is wrong, if anything."""
        if found := self.problems():
            raise Problem(WRONG_DATA, "the tree does not follow its rules (CONTRIBUTING.md, docs/promotion-checklist.md):\n"
                          + "\n".join(found))

    def problems(self):
        """Every broken rule, as a sentence that says what is wrong."""
        found = [f"{FILE}: [{name}] is neither a target of {PACKAGE} nor a kernel module" for name in self.facts
                 if self.targets.get(name) not in self.components]
        for target in self.targets.values():
            found += self._wrong_place(target)
        for component in self.components:
            if component.name in self.facts:
                found += [f"{FILE}: [{component.name}] {problem}" for problem in self._wrong_facts(component)]
            else:
                found.append(f"{FILE}: has no [{component.name}]; docs/promotion-checklist.md says what goes in it")
        found += self._wrong_products()
        found += [f"{name} does not belong at the root of the tree" for name in sorted(self.top - AT_ROOT)]
        return found + [f"{name} is missing at the root of the tree" for name in sorted(AT_ROOT - self.top)]

    def _wrong_place(self, target):
        """Where a target lies, and what it depends on."""
        name, tier = f"target {target.name}", target.tier
        if "unsafeFlags" in target.settings:
            yield f"{name} uses unsafeFlags: nobody could depend on the package any more"
        in_tests = is_inside(target.path, "tests")
        if not tier and not in_tests:
            yield f"{name} lies in {target.path}, outside every tier: give it a path under {', '.join(FOLDERS.values())} or tests"
            return
        if target.kind == "test" and not in_tests:
            yield f"{name} is a test in {target.path}: tests live in tests/"
        # What tests share is a library beside them.
        if target.kind != "test" and in_tests and not any(self.targets[user].kind == "test" for user in self.users(target.name)):
            yield f"{name} lies in {target.path}, but no test uses it"
        if target.kind not in ("system", "module") and "treatAllWarnings" not in target.settings:
            yield f"{name} does not make warnings errors: `swiftSettings: swift` or `cSettings: c`"
        for used in map(self.targets.get, target.dependencies):
            if is_inside(used.path, "tests"):
                if not in_tests:
                    yield f"{name} of {tier} depends on test target {used.name}"
            elif not in_tests and used.tier and used.tier not in MAY_USE[tier]:
                yield f"{name} of {tier} depends on {used.name} of {used.tier}: promote {used.name} first, or move {target.name}"
            # A test of any tier may run an executable of any other, but not link its libraries.
            elif target.tested_tier and used.kind != "executable" and used.tier not in MAY_USE[target.tested_tier]:
                yield f"test {name} of {target.tested_tier} depends on {used.name} of {used.tier}"

    def _wrong_products(self):
        """Products, links in bin and descriptions of executables."""
        built = {target for product in self.products.values() if "executable" in product["type"] for target in product["targets"]}
        for target in self.components:
            if target.kind == "executable" and target.name not in built:
                yield f"executable target {target.name} has no product: add .executable(name:targets:) to {PACKAGE}"
        for name, product in self.products.items():
            expected = f"../.build/release/{name}"
            if "executable" in product["type"]:
                if name not in self.links:
                    yield f"no bin/{name}: ln -s {expected} bin/{name}"
                elif self.links[name] != expected:
                    yield f"bin/{name} points to {self.links[name]}, not to {expected}"
                continue
            for target in product["targets"]:
                if self.targets[target].tier != "src":
                    yield f"library product {name} offers {target}, which is not in src: only src has a stable API"
        for name in self.links:
            if name not in self.products:
                yield f"bin/{name} is the link of no executable: remove it, or add its product"

    def _wrong_facts(self, component):
        """What components.toml says about a component."""
        facts = component.facts
        unknown = [key for key in facts if key not in KEYS]
        wrong = [f"`{key}` is unknown; there are {', '.join(REQUIRED | OPTIONAL)}" for key in unknown]
        wrong += [f"`{key}` is missing" for key in REQUIRED if key not in facts]
        wrong += [f"`{key}`: {problem}" for key in facts if key in KEYS and (problem := wrong_value(KEYS[key][0], facts[key]))]
        if wrong:
            return wrong
        if facts["tier"] != component.tier:
            wrong.append(f"is in [{facts['tier']}], but its folder, {component.path}, is in {component.tier}")
        if facts["since"] > datetime.date.today() + datetime.timedelta(days=1):
            wrong.append(f"`since`: {facts['since']} has not come yet")
        tests = component.list("tests")
        for name in tests:
            if not (self.targets[name].kind == "test" if name in self.targets else self.exists(name)):
                wrong.append(f"`tests`: {name} is neither a test target of {PACKAGE} nor a file")
                return wrong
        for key in ("bad-input", "sudden-end"):
            for name in component.list(key):
                where, _, suite = name.partition(".")
                if where not in tests and name not in tests:
                    wrong.append(f"`{key}`: {name} is not in one of its tests ({', '.join(tests)})")
                elif suite and where in tests and not any(
                        re.search(rf"\b(struct|class) {re.escape(suite)}\b", text) for text in self.test_sources([where]).values()):
                    wrong.append(f"`{key}`: {where} has no suite `struct {suite}`")
        wrong += [f"`sanitizers`: {run} is not `thread` or `address` and the tests to run so" for run in component.list("sanitizers")
                  if not re.fullmatch(r"(thread|address)( \S+)+", run)]
        pages = component.list("docs")
        if component.list("benchmark"):
            how, *figures = component.list("benchmark")
            pages = pages + figures
            recipe = re.match(r"just ([\w-]+)", how)
            if len(figures) != 1:
                wrong.append("`benchmark` is [\"HOW\", \"PAGE#SECTION\"]: how to measure, and where the figures are")
            if not (re.search(rf"^{re.escape(recipe[1])}\b[^:=\n]*:(?!=)", self.recipes(), re.MULTILINE) if recipe
                    else self.exists(how.split()[0])):
                wrong.append(f"`benchmark`: there is no {'recipe ' + recipe[1] if recipe else how.split()[0]}")
        return wrong + [f"{page}: there is no such page, or no such section in it" for page in pages if self.section(page) is None]

    def recipes(self):
        """The text of all just recipes."""
        return "\n".join(self.read(path) for path in self.tracked("Justfile", "utils/just/*.just"))


def wrong_value(kind, value):
    """What is wrong with a value of that kind, or None."""
    if kind == "text":
        return None if type(value) is str and value.strip() else "must be a text in quotes"
    if kind == "date":
        return None if type(value) is datetime.date else "must be a date such as 2026-01-31, without quotes"
    if kind == "list or none" and type(value) is dict:
        reason = value.get("none")
        return None if len(value) == 1 and type(reason) is str and reason.strip() else "must be a list, or {none = \"REASON\"}"
    return None if type(value) is list and all(type(one) is str and one.strip() for one in value) else "must be a list of texts"
