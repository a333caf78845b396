import Foundation
import Testing

/// What holds the documentation to the truth must notice when it is wrong: each way, on a made-up tree.
@Suite struct DocumentationTests {
    /// A tree with these files, in git.
    private static func withTree<Result>(
        _ files: [String: String], _ body: (_ root: URL) throws -> Result
    ) throws -> Result {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("packetfs-docs-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: root) }
        for (path, text) in files {
            let file = root.appendingPathComponent(path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        _ = try run(["git", "init", "--quiet", root.path], in: root)
        return try body(root)
    }

    static let sound = [
        "docs/README.md": "# Index\n\n[one](one.md), [two](two.md#a-heading-with-code)\n",
        "docs/one.md": """
        # One
        [up](../README.md), [here](#one), [twice](#same-1), [web](https://example.com/nothing)

        ```sh
        # not a heading [not a link](nowhere.md)
        ```
        `[nor this](nowhere.md)`
        ## Same
        ## Same
        """,
        "docs/two.md": "# Two\n## A heading, with `code`\n",
        "README.md": "[docs](docs/README.md) and [the folder](docs)\n",
        "tool.swift": "// See docs/one.md.\n",
    ]

    @Test func soundLinksPass() throws {
        let (status, output) = try Self.withTree(Self.sound) {
            try capture(["utils/docs-links", "--root", $0.path], in: ArchitectureTests.root)
        }
        #expect(status == 0, "\(String(decoding: output, as: UTF8.self))")
    }

    @Test(arguments: [
        ("README.md", "[x](docs/gone.md)", "README.md:1: docs/gone.md: there is no docs/gone.md"),
        ("docs/two.md", "# Two\n\n[x](gone.md)", "docs/two.md:3: gone.md"),
        ("docs/two.md", "## A heading, with `code`\n[x](#gone)", "docs/two.md:2: #gone: docs/two.md has no such"),
        ("README.md", "[x](docs/one.md#same-2)", "docs/one.md has no such heading"),
        ("README.md", "![x](docs/images/gone.png)", "there is no docs/images/gone.png"),
        ("README.md", "[x](../outside.md)", "there is no ../outside.md"),
        ("tool.swift", "// See docs/gone.md.", "tool.swift:1: names docs/gone.md, which does not exist"),
        ("docs/three.md", "# Three", "docs/README.md: does not link to docs/three.md"),
    ])
    func aBrokenLinkIsFound(path: String, text: String, expected: String) throws {
        var files = Self.sound
        files[path] = text
        let (status, output) = try Self.withTree(files) {
            try capture(["utils/docs-links", "--root", $0.path], in: ArchitectureTests.root)
        }
        #expect(status == 1)
        let printed = String(decoding: output, as: UTF8.self)
        #expect(printed.contains(expected), "it printed: \(printed)")
    }

    /// Commands of a page run in order in one folder; one that fails, hangs or is not there makes the run fail.
    @Test(
        arguments: [
            ("```sh runnable\ntouch made\n```\nx\n```sh runnable\ntest -e made && test -e bin\n```", 0, "2 passed, 0"),
            ("```sh runnable\nfalse\ntrue\n```\n", 1, "0 passed, 1 failed"),
            ("```sh runnable\nfalse | true\n```\n", 1, "0 passed, 1 failed"),
            ("```sh runnable\nsleep 60\n```\n", 1, "0 passed, 1 failed"),
            ("```sh\nfalse\n```\n", 1, "0 passed, 0 failed"),
        ] as [(String, Int32, String)])
    func runnableCommandsAreRun(page: String, status: Int32, expected: String) throws {
        try Self.withTree(["page.md": page]) { root in
            let (actual, output) = try capture(
                ["utils/docs-run", "--seconds", "2", root.appendingPathComponent("page.md").path],
                in: ArchitectureTests.root)
            let printed = String(decoding: output, as: UTF8.self)
            #expect(actual == status, "it printed: \(printed)")
            #expect(printed.contains(expected), "it printed: \(printed)")
        }
    }
}
