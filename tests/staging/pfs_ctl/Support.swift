import Foundation
import Glibc
import Testing

/// Runs the debug build of pfs_ctl that stands beside this test.
enum Ctl {
    static let path = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("pfs_ctl").path

    struct Result: CustomStringConvertible {
        let status: Int32
        let output: String
        let errors: String

        var description: String { "status \(status)\n\(output)\n\(errors)" }

        /// `result` of the document that the output is, and nothing else.
        func result() throws -> [String: Any] {
            let parsed = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any]
            let document = try #require(parsed, "\(self)")
            #expect(document["tool"] as? String == "pfs_ctl" && document["schema_version"] as? Int == 1)
            return try #require(document["result"] as? [String: Any])
        }
    }

    /// A tool that runs, and where its output goes.
    struct Started {
        let process: Process
        fileprivate let output: URL
        fileprivate let errors: URL
    }

    static func start(_ arguments: [String], tool: String = path) throws -> Started {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: tool)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
        process.standardInput = FileHandle.nullDevice
        let base = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-ctl-\(UUID())")
        let files = ["out", "err"].map { base.appendingPathExtension($0) }
        for file in files { try Data().write(to: file) }
        process.standardOutput = try FileHandle(forWritingTo: files[0])
        process.standardError = try FileHandle(forWritingTo: files[1])
        try process.run()
        return Started(process: process, output: files[0], errors: files[1])
    }

    static func finish(_ started: Started) throws -> Result {
        defer { for file in [started.output, started.errors] { try? FileManager.default.removeItem(at: file) } }
        started.process.waitUntilExit()
        // A death by signal is no exit status that a test expects.
        let signalled = started.process.terminationReason == .uncaughtSignal
        return Result(
            status: started.process.terminationStatus + (signalled ? 128 : 0),
            output: try String(contentsOf: started.output, encoding: .utf8),
            errors: try String(contentsOf: started.errors, encoding: .utf8))
    }

    static func run(_ arguments: [String], tool: String = path) throws -> Result {
        try finish(try start(arguments, tool: tool))
    }
}

/// A folder of a test's own in /dev/shm, removed with what is in it; or one with huge pages of 2 MiB.
final class Folder: Sendable {
    let path: String
    private let isMounted: Bool

    init(mountHugePages: Bool = false) throws {
        path = "/dev/shm/pfs-ctl-test-\(UUID())"
        isMounted = mountHugePages
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        if mountHugePages {
            try #require(mount("none", path, "hugetlbfs", 0, "pagesize=2M") == 0, "mount: \(errno)")
        }
    }

    deinit {
        if isMounted { umount2(path, Int32(MNT_DETACH)) }
        chmod(path, 0o700)
        try? FileManager.default.removeItem(atPath: path)
    }

    static var freeHugePages: Int {
        let file = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
        let text = try? String(contentsOfFile: file, encoding: .utf8)
        return text.flatMap { Int($0.trimmingCharacters(in: .newlines)) } ?? 0
    }

    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }

    /// Runs pfs_ctl on this folder.
    func ctl(_ arguments: [String]) throws -> Ctl.Result { try Ctl.run(arguments + ["--dir", path]) }
    func ctl(_ arguments: String...) throws -> Ctl.Result { try ctl(arguments) }

    /// The region that a command reports.
    func region(_ arguments: String...) throws -> [String: Any] {
        let run = try ctl(arguments + ["--json"])
        #expect(run.status == 0, "\(run)")
        return try #require(try run.result()["region"] as? [String: Any])
    }

    /// Overwrites bytes of a file.
    func write(_ bytes: [UInt8], to name: String, at offset: Int) throws {
        let file = open("\(path)/\(name)", O_WRONLY)
        defer { close(file) }
        try #require(pwrite(file, bytes, bytes.count, offset) == bytes.count)
    }
}
