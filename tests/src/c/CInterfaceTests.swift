import Foundation
import Testing
import ToolTesting

/// libpacketfs as other languages have it: compiled against, linked with and loaded from outside.
@Suite struct CInterfaceTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
    static let header = root + "/src/packetfs/c/include/packetfs.h"
    static let examples = root + "/docs/examples"
    static let library = Tool("libpacketfs.so").path

    @Test(arguments: [("gcc", "c", "c11"), ("g++", "c++", "c++11"), ("g++", "c++", "c++17")])
    func knownAnswersAndMisuse(compiler: String, language: String, standard: String) throws {
        try withProgram(
            of: Self.root + "/tests/src/c/test_packetfs.c",
            compiler: [compiler, "-x", language, "-std=\(standard)", "-D_GNU_SOURCE"]
        ) { program in
            let result = try program.run([])
            #expect(result.status == 0 && !result.wasSignalled && result.output.hasPrefix("ok, "), "\(result)")
        }
    }

    @Test func headerAloneInStrictC() throws {
        // What a careful client may turn on.
        let strict = ["-Wpedantic", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wc++-compat"]
        let result = try env.run(
            ["gcc", "-fsyntax-only", "-x", "c", "-std=c11", "-Wall", "-Wextra", "-Werror"] + strict + [Self.header])
        #expect(result.status == 0, "\(result)")
    }

    /// What the header offers is what the library exports and what the C test calls.
    @Test func everyFunctionIsExportedAndTested() throws {
        let functions = try names(#/\b(pfs_[a-z_]+)\(/#, in: Self.header)
        #expect(functions.count > 50)
        #expect(try functions == names(#/^\s*(pfs_[a-z_]+);/#, in: Self.root + "/src/packetfs/c/packetfs.map"))
        #expect(
            try functions.subtracting(names(#/\b(pfs_[a-z_]+)\(/#, in: Self.root + "/tests/src/c/test_packetfs.c"))
                == [])
    }

    private func names(_ pattern: Regex<(Substring, Substring)>, in path: String) throws -> Set<String> {
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        return Set(lines.flatMap { $0.matches(of: pattern).map { String($0.output.1) } })
    }

    @Test func exampleInC() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-total-\(UUID())")
        try Data("123456789".utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        try withProgram(of: Self.examples + "/total.c", compiler: ["gcc", "-std=c11"]) { total in
            let result = try total.run([file.path, "crc32c,counteq:0x37"])
            #expect(result.status == 0 && result.output == "\(0xE306_9283)\n1\n", "\(result)")
            let refused = try total.run([file.path, "crc33"])
            #expect(refused.status == 1 && refused.errors.contains("\"crc33\", is unknown"), "\(refused)")
        }
    }

    /// Python produces, Swift consumes; both verify, each with its own reference implementation.
    @Test(arguments: [
        "xor:255,add:7,counteq:0", "counteq:65,crc32c,fnv", "add:1", "xor:1,crc32c,add:0x80,fnv,counteq:7",
    ])
    func pythonSendsToTheReceiver(program: String) throws {
        let folder = try BlobFolder()
        let receiver = try Tool("pfs_stream_fastpath_rx")
            .start(["--shm", "py", "--dir", folder.path, "--verify", "--json", "--quiet"])
        let sender = try python([
            "--shm", "py", "--dir", folder.path, "--prog", program, "--records", "300", "--dpf", "7",
        ])
        .finish()
        let received = try receiver.finish()
        #expect(sender.status == 0 && sender.output.contains("verified: "), "\(sender)\n\(received)")
        #expect(received.status == 0, "\(received)\n\(sender)")
        let result = try received.result()
        #expect(result["verified"] as? Bool == true)
        #expect(result["records"] as? Int == 300)
        #expect(result["descriptors"] as? Int == 2100)
        #expect(try folder.contents() == [])
    }

    @Test func pythonSaysWhatIsWrong() throws {
        let folder = try BlobFolder()
        let alone = try python(["--shm", "py", "--dir", folder.path, "--patience", "0.05"]).finish()
        #expect(alone.status == 71 && alone.errors.contains("no consumer came"), "\(alone)")
        let wrong = try python(["--shm", "py", "--dir", folder.path, "--prog", "div:0"]).finish()
        #expect(wrong.status == 71 && wrong.errors.contains("\"div\", is unknown"), "\(wrong)")
        let nowhere = try python(["--shm", "py", "--dir", folder.path + "/none"]).finish()
        #expect(nowhere.status == 71 && nowhere.errors.contains("/none"), "\(nowhere)")
        #expect(try folder.contents() == [])

        // Somebody else's blob stays.
        let other = try Tool("pfs_ctl").run(["create", "py", "--blob-mb", "1", "--dir", folder.path])
        #expect(other.status == 0, "\(other)")
        let taken = try python(["--shm", "py", "--dir", folder.path]).finish()
        #expect(taken.status == 71 && taken.errors.contains("File exists"), "\(taken)")
        #expect(try folder.contents() == ["py.pfs-blob"])
    }

    private let env = Tool(path: "/usr/bin/env")

    private func python(_ arguments: [String]) throws -> Tool.Running {
        try env.start(
            ["python3", Self.examples + "/stream.py"] + arguments, environment: ["PACKETFS_LIBRARY": Self.library])
    }

    /// Compiles one file with warnings as errors, links it with the library that was built beside these tests, and runs `body`.
    private func withProgram(of source: String, compiler: [String], _ body: (Tool) throws -> Void) throws {
        let program = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-c-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: program) }
        let folder = URL(fileURLWithPath: Self.library).deletingLastPathComponent().path
        let include = URL(fileURLWithPath: Self.header).deletingLastPathComponent().path
        let built = try env.run(
            compiler + ["-Wall", "-Wextra", "-Werror", "-I", include, source]
                + ["-x", "none", "-L", folder, "-lpacketfs", "-Wl,-rpath,\(folder)", "-o", program])
        #expect(built.status == 0, "\(built)")
        try body(Tool(path: program))
    }
}
