# SPDX-License-Identifier: MIT
"""Moves a component to another tier: rewrites what names it, builds, tests and commits. What fails or is interrupted is undone."""
import datetime
import os
import re
import signal
import subprocess

import checklist
from components import ABOVE, FILE, FOLDERS, MAY_USE, PACKAGE, Tree, is_inside
from tool import SYSTEM, UNAVAILABLE, USAGE, WRONG_DATA, Problem

LISTS = {"src": "src", "staging": "staging", "dev": "dev", "full_apps": "fullApps"}
PICTURE = "docs/images/draw"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# In these, paths mean nothing: they are those of made-up trees.
MADE_UP = ("tests/architecture", "tests/promotion")


def moves(tree, component, to):
    """The folders that move, as (from, to): the component's, and those of its tests.

    On the way up, tests stay that another component of the old tier needs: tests may use what is above them.
    """
    rises = to in ABOVE.get(component.tier, ())
    stay = {name for other in tree.components if rises and other.tier == component.tier and other is not component
            for name in other.list("tests")}
    tests = [tree.targets[name].path for name in component.list("tests") if name in tree.targets and name not in stay]
    old, new = f"tests/{component.tier}", f"tests/{to}"
    return [(component.path, FOLDERS[to] + component.path.removeprefix(FOLDERS[component.tier])),
            *((path, new + path.removeprefix(old)) for path in tests if is_inside(path, old))]


def left_behind(tree, component, to):
    """What depends on the component and could not use it in `to`, as names and tiers, without tests that move along."""
    moving = {old for old, _ in moves(tree, component, to)}
    found = []
    for user in (tree.targets[name] for name in tree.users(component.name)):
        if user.kind != "test":
            if to not in MAY_USE[user.tier]:
                found.append(f"{user.name} ({user.tier})")
        # Tests of any tier may run executables.
        elif component.kind != "executable" and user.path not in moving and to not in MAY_USE.get(user.tested_tier, FOLDERS):
            found.append(f"{user.name} (tests of {user.tested_tier})")
    return found


# --- Rewriting. Each function takes and returns a text.


def declaration(name):
    """The expression for the declaration of a target in Package.swift as swift-format writes it, with the comment above."""
    return rf'(?:^    //.*\n)*^    \.\w+\((?:\n {{8}})?name: "{name}",.*\n(?:^     .*\n)*'


def package(text, component, to, folders):
    """Package.swift with the component's target in the list of its new tier, and new paths."""
    def listing(tier):
        return rf"^let {LISTS[tier]}: \[Target\] = \[(?:\n(?:^ .*\n|\n)*)?\]"

    # The last one of a list may be without a comma; swift-format decides afterwards.
    text = re.sub(r"\)\n\]\n", "),\n]\n", text)
    found = re.search(listing(component.tier), text, re.MULTILINE)
    target = found and re.search(declaration(component.name), found[0], re.MULTILINE)
    if not target:
        raise Problem(USAGE, f"{component.name} is not in the list `{LISTS[component.tier]}` of {PACKAGE}, as lists that depend on the "
                      "machine are: move it there first")
    if not re.search(listing(to), text, re.MULTILINE):
        raise Problem(USAGE, f"{PACKAGE} has no list `let {LISTS[to]}: [Target] = [`")
    rest = found[0].replace(target[0], "").replace("[\n]", "[]")
    text = text.replace(found[0], rest)
    text = re.sub(listing(to), lambda match: match[0].removesuffix("]").removesuffix("\n") + "\n" + target[0] + "]", text,
                  flags=re.MULTILINE)
    for old, new in folders:
        text = text.replace(f'path: "{old}"', f'path: "{new}"')
    return text


def facts(text, component, to):
    """components.toml with the component's table in its new tier, since today."""
    old = f"[{component.tier}.{component.name}]\n"
    before, _, rest = text.partition(old)
    table, blank, after = rest.partition("\n\n")
    table = re.sub(r"^since = .*\n?", "", table, flags=re.MULTILINE)
    return f"{before}[{to}.{component.name}]\nsince = {datetime.date.today()}\n{table}{blank}{after}"


def references(text, component, to, folders):
    """A text with the new paths, and the new tier behind the component's name."""
    for old, new in folders:
        # Not where the folder's name is the end or the beginning of another one.
        text = re.sub(rf"(?<![\w-])(?<!tests/){re.escape(old)}(?![\w-])", new, text)
    return text.replace(f"`{component.name}` ({component.tier})", f"`{component.name}`{'' if to == 'src' else f' ({to})'}")


def changelog(text, component, to):
    """CHANGELOG.md with a line under the first heading Changed, that of what is not released yet."""
    heading = "### Changed\n\n"
    return text.replace(heading, f"{heading}- `{component.name}` moved from {component.tier} to {to}.\n", 1)


def rewrite(tree, component, to):
    """Moves the folders and rewrites the files of the tree."""
    folders = moves(tree, component, to)

    def edit(path, change):
        if tree.exists(path):
            with open(os.path.join(tree.root, path), "r+", encoding="utf-8") as file:
                text = file.read()
                file.seek(0)
                file.write(change(text))
                file.truncate()

    edit(PACKAGE, lambda text: package(text, component, to, folders))
    subprocess.run(["swift", "format", "--in-place", PACKAGE], cwd=tree.root, check=True)
    for old, new in folders:
        os.makedirs(os.path.dirname(os.path.join(tree.root, new)), exist_ok=True)
        git(tree.root, "mv", old, new)
    edit(FILE, lambda text: facts(text, component, to))
    for path, before in tree.sources(".").items():
        if path not in (PACKAGE, "CHANGELOG.md") and not path.startswith(MADE_UP):
            after = references(before, component, to, folders)
            if after != before:
                edit(path, lambda _, text=after: text)
    edit("CHANGELOG.md", lambda text: changelog(text, component, to))
    if tree.exists(PICTURE):
        subprocess.run([os.path.join(tree.root, PICTURE)], check=True, stdin=subprocess.DEVNULL)


# --- The move.


def git(root, *command):
    """What a git command printed; a problem where it failed. Out of reach of signals to this process's group."""
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        raise Problem(SYSTEM, f"git {' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def check_move(tree, component, to):
    """Ends with why the component cannot be moved to that tier by this command, if so."""
    if component.kind == "module":
        raise Problem(USAGE, f"{component.name} is a kernel module: those stay in {os.path.dirname(component.path)}")
    folders = moves(tree, component, to)
    package(tree.read(PACKAGE), component, to, folders)
    for _, new in folders:
        if tree.exists(new):
            raise Problem(USAGE, f"{new} is there already")


def move(tree, component, to, base, body):
    """Moves the component, builds, tests and commits, on top of the commit `base`.

    If that fails or is interrupted, the checkout is as it was before, and what had been done is in git's stash, with whatever
    somebody else has changed meanwhile.
    """
    root, name = tree.root, component.name
    if git(root, "status", "--porcelain") or git(root, "rev-parse", "HEAD") != base:
        raise Problem(UNAVAILABLE, "the checkout has changed while the checklist was gone through: start again")
    try:
        rewrite(tree, component, to)
        after = Tree(root)
        after.check()
        git(root, "add", "--all")  # What is committed later: nothing that changes while it is tested.
        builder = checklist.Builder(root)
        dependents = after.dependents(name)
        suites = [target.name for target in after.targets.values() if target.kind == "test"
                  and (target.name in dependents or target.path == "tests/architecture")]
        print("  building it in its new place", flush=True)
        if builder.built:
            raise checklist.Failed(builder.built)
        if suites:
            print(f"  testing what depends on it: {', '.join(suites)}", flush=True)
            body += f"\nAfter the move: {', '.join(suites)}: {builder.test(suites)}.\n"
        git(root, "commit", "--quiet", "-m", f"{name} moves from {component.tier} to {to}", "-m", body)
    except BaseException as error:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        git(root, "stash", "push", "--quiet", "--include-untracked", "--message", f"promotion of {name} to {to} that failed")
        if isinstance(error, checklist.Failed):
            raise Problem(WRONG_DATA, f"it does not build, or tests fail, in {to}: {error}; nothing was changed, and `git stash show` "
                          "says what was tried") from None
        raise
    return git(root, "rev-parse", "HEAD")
