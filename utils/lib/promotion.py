# SPDX-License-Identifier: MIT
"""Moves a component to another tier: rewrites what names it, builds, tests, commits, and only then touches the checkout.

Everything happens in a worktree of its own below .build-promote. What is found there was left by a run that came to a
sudden end, and is removed.
"""
import contextlib
import datetime
import fcntl
import os
import re
import shutil
import signal
import subprocess

import checklist
from house import ABOVE, FOLDERS, LISTS, MAY_USE, PACKAGE, House, closing, is_inside, tier_of
from tool import SYSTEM, UNAVAILABLE, USAGE, Problem

# Here stand made-up houses, in which paths mean nothing.
MADE_UP = ("tests/architecture", "tests/promotion")
PICTURE = "docs/images/draw"
# The checklist, or the tests after the move, failed.
REFUSED = 65


def destination(component, path, to):
    """Where a folder of the component, or of its tests, goes."""
    of_tests = path.startswith("tests/")
    old = f"tests/{component.tier}" if of_tests else FOLDERS[component.tier]
    new = f"tests/{to}" if of_tests else FOLDERS[to]
    return new + path[len(old):]


def moves(house, component, to):
    """The folders that move, as (from, to): the component's, and those of its tests.

    On the way up, tests stay that another component of the old tier needs: tests may use what is above them.
    """
    rises = to in ABOVE.get(component.tier, ())
    stay = {name for c in house.components if rises and c.tier == component.tier and c is not component
            for name in c.list("tests")}
    own = [target for name in component.list("tests") if name not in stay and (target := house.target(name))]
    folders = [component.path, *(t.path for t in own if is_inside(t.path, f"tests/{component.tier}"))]
    return [(path, destination(component, path, to)) for path in folders]


def left_behind(house, component, to):
    """What depends on the component and could not use it in `to`, as names and tiers, without tests that move along."""
    moving = {old for old, _ in moves(house, component, to)}
    found = []
    for user in map(house.target, component.users):
        tier = tier_of(user.path)
        if user.kind == "test":
            # Executables are instruments: tests of any tier may drive them.
            if component.kind == "executable" or user.path in moving:
                continue
            tier = user.path.split("/")[1]
        if to not in MAY_USE.get(tier, FOLDERS):
            found.append(f"{user.name} ({'tests of ' if user.kind == 'test' else ''}{tier})")
    return found


def check_move(house, component, to):
    """Ends with why the component cannot be moved to that tier by this command, if so."""
    if component.kind == "module":
        raise Problem(USAGE, f"{component.name} is a kernel module: those stay in {os.path.dirname(component.path)}")
    target = house.target(component.name)
    if target.list != LISTS[component.tier]:
        raise Problem(USAGE, f"{component.name} is in the list `{target.list}` of {PACKAGE}, which depends on the machine: "
                      f"move it to `{LISTS[component.tier]}` first")
    if not re.search(rf"^let {LISTS[to]}: \[Target\] = \[", house.package, re.MULTILINE):
        raise Problem(USAGE, f"{PACKAGE} has no list `let {LISTS[to]}: [Target] = [`")
    for _, new in moves(house, component, to):
        if house.exists(new):
            raise Problem(USAGE, f"{new} is there already")


# --- Rewriting. Each function takes and returns a text.


def package(house, component, to, folders):
    """Package.swift with the component's target in the list of its new tier, and new paths."""
    text, target = house.package, house.target(component.name)
    declaration = text[target.start:target.end].rstrip().removesuffix(",") + ","
    text = text[:target.start] + text[target.end:]
    opening = re.search(rf"^let {LISTS[to]}: \[Target\] = \[", text, re.MULTILINE)
    end = closing(text, opening.end() - 1)
    others = text[:end].rstrip()
    text = others + ("" if others[-1] in "[," else ",") + declaration + "\n" + text[end:]
    # An empty list is written on one line.
    text = re.sub(r"^(let \w+: \[Target\] = \[)\s+\]", r"\1]", text, flags=re.MULTILINE)
    for old, new in folders:
        text = text.replace(f'path: "{old}"', f'path: "{new}"')
    return text


def references(text, component, to, folders):
    """A text with the new paths, and the new tier behind the component's name."""
    for old, new in folders:
        # Not where the folder's name is the end or the beginning of another one.
        text = re.sub(rf"(?<![\w-])(?<!tests/){re.escape(old)}(?![\w-])", new, text)
    mark = "" if to == "src" else f" ({to})"
    return text.replace(f"`{component.name}` ({component.tier})", f"`{component.name}`{mark}")


def readme(text, component, to):
    """README.md with the component in the row of its new tier in the table of the tree."""
    lines = text.split("\n")
    for at, line in enumerate(lines):
        cells = line.split(" | ")
        tier = next((t for t, folder in FOLDERS.items() if re.match(rf"\| \[?`{folder}`", line)), None)
        if len(cells) != 3 or tier not in (component.tier, to):
            continue
        # Libraries of src go by their folder's name there.
        name = f"`{os.path.basename(component.path) if tier == 'src' else component.name}`"
        if tier == component.tier:
            cells[1] = re.sub(rf"(?<=[:,;]) {name}(?: \([^)]*\))?,|, {name}(?: \([^)]*\))?(?=,|;|$)", "", cells[1])
        elif name not in cells[1]:
            cells[1] += f", {name}"
        lines[at] = " | ".join(cells)
    return "\n".join(lines)


def executables(text, component, to):
    """utils/executables.txt with the new tier, in the old columns where it fits."""
    def line(match):
        gap = max(2, len(match[2]) + len(match[3]) - len(to))
        return match[1] + to + " " * gap
    return re.sub(rf"^({component.name} +)({component.tier})( +)", line, text, flags=re.MULTILINE)


def changelog(text, component, to):
    """CHANGELOG.md with a line under Unreleased, Changed."""
    line = f"- `{component.name}` moved from {component.tier} to {to}.\n"
    head, unreleased, rest = text.partition("## Unreleased\n")
    if not unreleased:
        return text
    end = rest.find("\n## ")
    now, later = (rest, "") if end < 0 else (rest[:end], rest[end:])
    if "### Changed\n\n" in now:
        now = now.replace("### Changed\n\n", "### Changed\n\n" + line, 1)
    else:
        now = f"\n### Changed\n\n{line}" + now
    return head + unreleased + now + later


def tier_file(text, to, today):
    """A TIER file with another tier since today."""
    text = re.sub(r"^tier:.*$", f"tier: {to}", text, flags=re.MULTILINE)
    return re.sub(r"^since:.*$", f"since: {today}", text, flags=re.MULTILINE)


def rewrite(house, component, to):
    """Moves the folders and rewrites the files of the tree that `house` stands for."""
    folders = moves(house, component, to)
    for old, new in folders:
        os.makedirs(os.path.dirname(os.path.join(house.root, new)), exist_ok=True)
        git(house.root, "mv", old, new)
    edit(house.root, PACKAGE, lambda _: package(house, component, to, folders))
    today = datetime.date.today().isoformat()
    edit(house.root, f"{folders[0][1]}/TIER", lambda text: tier_file(text, to, today))
    edit(house.root, "README.md", lambda text: readme(text, component, to))
    edit(house.root, "utils/executables.txt", lambda text: executables(text, component, to))
    edit(house.root, "CHANGELOG.md", lambda text: changelog(text, component, to))
    for path in house.tracked("."):
        made_up = any(is_inside(path, folder) for folder in MADE_UP)
        if path not in (PACKAGE, "CHANGELOG.md") and not made_up and not os.path.islink(os.path.join(house.root, path)):
            edit(house.root, path, lambda text: references(text, component, to, folders))
    if os.path.exists(os.path.join(house.root, ".swift-format")):
        subprocess.run(["swift", "format", "--in-place", PACKAGE], cwd=house.root, check=True)
    # A picture that shows which tool is in which tier.
    if os.path.exists(os.path.join(house.root, PICTURE)):
        subprocess.run(["python3", PICTURE], cwd=house.root, check=True)


def edit(root, path, change):
    """Writes what `change` makes of the text of a file, if that differs; leaves what is not there or no text."""
    whole = os.path.join(root, path)
    try:
        with open(whole, encoding="utf-8", newline="") as file:
            old = file.read()
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
        return
    new = change(old)
    if new != old:
        with open(whole, "w", encoding="utf-8", newline="") as file:
            file.write(new)


# --- git.


def git(root, *command, **settings):
    """What a git command printed; a problem where it failed."""
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False, **settings)
    if done.returncode:
        name = next(word for word in command if word != "-c" and "=" not in word)
        raise Problem(SYSTEM, f"git {name} failed: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def interruptible():
    """Lets signals end this process as Ctrl-C does in a terminal: after tidying up, and ending what it has started."""
    def interrupt(*_):
        raise KeyboardInterrupt

    before = [(number, signal.signal(number, interrupt)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


class Promotion:
    """One move of a component of the checkout at `root`."""

    def __init__(self, root, component_name):
        self.root = root
        self.folder = os.path.join(root, ".build-promote")
        self.tree = os.path.join(self.folder, "tree")
        self.logs = os.path.join(root, ".build-logs")
        self.house = House(root)
        self.house.check()
        self.component = self.house.component(component_name)

    def demand_clean(self):
        """Ends if the checkout has changes that are not committed."""
        changes = git(self.root, "status", "--porcelain")
        if changes:
            raise Problem(UNAVAILABLE, "this checkout has changes; commit or stash them first:\n" + changes)

    def check(self, to):
        """Goes through the checklist, printing each item; what became of each."""
        shop = checklist.Workshop(self.root, os.path.join(self.root, ".build"), self.logs)
        case = checklist.Case(self.house, self.component, to, shop)
        results = []
        for item in checklist.ITEMS:
            result = item.judge(case)
            print(f"  {result.state:<15} {item.name:<13} {result.reason}", flush=True)
            results.append((item, result))
        return results

    def move(self, to, body):
        """Moves the component in a worktree, builds and tests there, commits, and moves the branch forward.

        Returns the commit.
        """
        with self._lock() as lock:
            base = git(self.root, "rev-parse", "HEAD")
            self._remove_tree()
            try:
                git(self.root, "worktree", "add", "--detach", self.tree, base)
                commit = self._commit_in_tree(to, body)
                # The one step that changes the checkout: short, and out of reach of signals to this process. git holds the
                # lock too, so that it is not free before this step is over, even if this process is killed meanwhile.
                # Housekeeping, which git leaves running, would hold it for longer.
                git(self.root, "-c", "gc.auto=0", "-c", "maintenance.auto=false", "merge", "--ff-only", "--quiet", commit,
                    start_new_session=True, pass_fds=[lock])
            finally:
                self._remove_tree()
        return commit

    def _commit_in_tree(self, to, body):
        house = House(self.tree)
        component = house.component(self.component.name)
        old = component.tier
        rewrite(house, component, to)
        house = House(self.tree)
        house.check()
        shop = checklist.Workshop(self.tree, os.path.join(self.folder, "build"), self.logs)
        print("  building it in its new place", flush=True)
        if wrong := shop.build():
            raise Problem(REFUSED, f"does not build in {to}: {wrong}; nothing was changed")
        suites = [t.name for t in house.targets if t.kind == "test"
                  and (t.name in house.dependents(component.name) or t.path.startswith("tests/architecture"))]
        if suites:
            print(f"  testing what depends on it: {', '.join(suites)}", flush=True)
            wrong, summary, _ = shop.test(suites)
            if wrong:
                raise Problem(REFUSED, f"tests fail in {to}: {wrong}; nothing was changed")
            print(f"  {summary}", flush=True)
            body += f"\nAfter the move: {', '.join(suites)}: {summary}.\n"
        git(self.tree, "add", "--all")
        git(self.tree, "commit", "--quiet", "-m", f"{component.name} moves from {old} to {to}", "-m", body)
        return git(self.tree, "rev-parse", "HEAD")

    @contextlib.contextmanager
    def _lock(self):
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, "lock"), "w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Problem(UNAVAILABLE, "another promotion runs in this checkout; wait for it") from None
            yield file.fileno()

    def _remove_tree(self):
        command = ["git", "worktree", "remove", "--force", self.tree]
        subprocess.run(command, cwd=self.root, capture_output=True, check=False)
        shutil.rmtree(self.tree, ignore_errors=True)
