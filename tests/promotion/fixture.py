# SPDX-License-Identifier: MIT
"""A small tree with the real scripts in it: a package without dependencies that builds in seconds, in a repository."""
import datetime
import os
import shutil
import subprocess
import textwrap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
YEAR = datetime.timedelta(days=365)
TODAY = datetime.date.today()

PACKAGE = """
// swift-tools-version: 6.3
import PackageDescription

let swift: [SwiftSetting] = [.treatAllWarnings(as: .error)]

// src: what others may rely on.
let src: [Target] = [
    .target(name: "Base", path: "src/packetfs/base", swiftSettings: swift)
]

// staging: nearly there.
let staging: [Target] = [
    .target(name: "Good", dependencies: ["Base"], path: "staging/good", swiftSettings: swift),
    // Its test wants to stay where it is: "a (bracket".
    .target(name: "Homesick", path: "staging/homesick", swiftSettings: swift),
    .executableTarget(
        name: "tool", dependencies: ["Good"],
        // Where it is.
        path: "staging/tool", swiftSettings: swift),
]

// dev: tries.
let dev: [Target] = [
    .target(name: "Weak", dependencies: ["Good"], path: "dev/weak", swiftSettings: swift)
]

let fullApps: [Target] = []

// What not every machine has.
let rare: [Target] = [
    .target(name: "Rare", path: "dev/rare", swiftSettings: swift)
]

let tests: [Target] = [
    .testTarget(name: "GoodTests", dependencies: ["Good"], path: "tests/staging/good", swiftSettings: swift),
    .testTarget(
        name: "HomesickTests", dependencies: ["Homesick"], path: "tests/staging/homesick", swiftSettings: swift),
    .testTarget(name: "ToolTests", dependencies: ["tool"], path: "tests/staging/tool", swiftSettings: swift),
    .testTarget(name: "WeakTests", dependencies: ["Weak"], path: "tests/dev/weak", swiftSettings: swift),
]

let package = Package(
    name: "Small",
    products: [.executable(name: "tool", targets: ["tool"])],
    targets: src + staging + dev + fullApps + rare + tests,
    swiftLanguageModes: [.v6]
)
"""

COMPONENTS = f"""
owner = "somebody"
since = {TODAY - YEAR}
review-by = {TODAY + YEAR}
what = "Something."
benchmark = ["just bench", "docs/good.md#figures"]
docs = ["docs/good.md"]

[src.Base]
tests = ["GoodTests"]
sudden-end = {{none = "keeps nothing"}}

[staging.Good]
tests = ["GoodTests"]
bad-input = ["GoodTests.BadInput"]
sudden-end = {{none = "keeps nothing"}}

[staging.Homesick]
tests = ["HomesickTests"]
bad-input = {{none = "takes none"}}
sudden-end = {{none = "keeps nothing"}}

[staging.tool]
what = "Prints a doubled number."
tests = ["ToolTests"]
bad-input = {{none = "takes none"}}
sudden-end = {{none = "keeps nothing"}}

[dev.Weak]
tests = ["WeakTests"]
missing = ["everything", "and more"]
review-by = {TODAY - YEAR}

[dev.Rare]
tests = {{none = "never built"}}
needs = "librare-dev"

[dev.mod]
tests = {{none = "loads nowhere"}}
"""

FILES = {
    "Package.swift": PACKAGE,
    "components.toml": COMPONENTS,
    ".gitignore": "/.build*\n",
    "README.md": """
        # Small

        `Good` (staging) doubles; its sources are in [staging/good](staging/good), not in staging/goodness.
        """,
    "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n### Changed\n\n- All of it.\n\n## 0.1\n\n- Nothing.\n",
    "Justfile": "bench *args:\n    true\n",
    "docs/good.md": "# Good and tool\n\nGood doubles; Base, Homesick and Weak do not.\n\n## Figures\n\n4 M/s\n\n## End\n",
    "utils/lint": "#!/bin/sh\n! git grep -n TO''DO && swift format lint --strict --recursive staging\n",
    "utils/man": "#!/bin/sh\nexec \"$2/$4\" --experimental-dump-help\n",
    "src/packetfs/base/Base.swift": "/// The factor.\npublic let factor = 2\n",
    "src/dev/kernel/mod/Kbuild": "obj-m += mod.o\n",
    "staging/good/Good.swift": """
        import Base

        /// Doubles.
        public enum Doubler {
            /// A number below zero was given.
            public struct Negative: Error {}

            /// Twice `number`; throws for negative ones.
            public static func twice(_ number: Int) throws(Negative) -> Int {
                guard number >= 0 else { throw Negative() }
                return factor * number
            }
        }
        """,
    "staging/homesick/Homesick.swift": "/// Where it lives.\npublic let home = #filePath\n",
    "staging/tool/Main.swift": '''
        import Good

        @main struct Tool {
            static func main() throws {
                let options = ["number", "quiet"].map { #"{"names": [{"kind": "long", "name": "\\#($0)"}]}"# }
                print(#"{"command": {"arguments": [\\#(options.joined(separator: ", "))]}}"#)
            }
        }
        ''',
    "dev/weak/Weak.swift": "public struct Weak {\n    public var untested: Int { 1 }\n}\n",
    "dev/rare/Rare.swift": "",
    "tests/staging/good/GoodTests.swift": """
        import Good
        import Testing

        @Suite struct Results {
            @Test func twice() throws { #expect(try Doubler.twice(4) == 8) }
        }

        @Suite struct BadInput {
            @Test func negative() { #expect(throws: Doubler.Negative.self) { try Doubler.twice(-1) } }
        }
        """,
    "tests/staging/homesick/HomesickTests.swift": """
        import Homesick
        import Testing

        @Suite struct Stays {
            @Test func here() { #expect(home.contains("/staging/")) }
        }
        """,
    "tests/staging/tool/ToolTests.swift": "import Testing\n\n@Test func flags() { #expect(\"--number\" != \"\") }\n",
    "tests/dev/weak/WeakTests.swift": "import Testing\n\n@Test func nothing() { #expect(1 + 1 == 2) }\n",
    "LICENSE": "", "CONTRIBUTING.md": "", "theoretical/README.md": "", "full_apps/README.md": "",
}


def make(root):
    """Makes the tree at `root` and commits it."""
    for path, text in FILES.items():
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        with open(os.path.join(root, path), "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text).lstrip("\n"))
    os.makedirs(f"{root}/utils/lib", exist_ok=True)
    for name in ("utils/promote", "utils/tiers", "utils/test-report", ".swift-format", "utils/lib/needs-test.txt",
                 *(f"utils/lib/{module}.py" for module in ("components", "checklist", "promotion", "machine", "tool"))):
        shutil.copy(os.path.join(ROOT, name), os.path.join(root, name))
    for name in ("lint", "man"):
        os.chmod(f"{root}/utils/{name}", 0o755)
    os.makedirs(f"{root}/bin")
    os.symlink("../.build/release/tool", f"{root}/bin/tool")
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "config", "user.name", "Somebody")
    git(root, "config", "user.email", "somebody@example.invalid")
    commit(root, "A small tree")


def git(root, *command):
    """What a git command printed."""
    return subprocess.run(["git", *command], cwd=root, check=True, capture_output=True, text=True).stdout


def commit(root, message):
    """Commits everything."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", message)
