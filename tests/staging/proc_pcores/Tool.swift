import Foundation
import Testing

/// Runs the debug build of pfs_proc_pcores that stands beside this test, as a user would.
enum Tool {
    static let path = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("pfs_proc_pcores").path

    struct Result {
        let status: Int32
        let wasSignalled: Bool
        let output: String
        let errors: String

        /// The output as JSON; fails the test if it is anything but one document.
        func json() throws -> [String: Any] {
            try #require(
                JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any], "\(output)\n\(errors)")
        }

        func result() throws -> [String: Any] { try #require(try json()["result"] as? [String: Any]) }
    }

    /// A tool that has been started.
    final class Running {
        let process = Process()
        private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-test-\(UUID())")

        init(_ arguments: [String], environment: [String: String] = [:], tool: [String] = [Tool.path]) throws {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let whole = tool + arguments
            process.executableURL = URL(fileURLWithPath: whole[0])
            process.arguments = Array(whole.dropFirst())
            process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
                .merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = try sink("out")
            process.standardError = try sink("err")
            try process.run()
        }

        private func sink(_ name: String) throws -> FileHandle {
            let file = folder.appendingPathComponent(name)
            try Data().write(to: file)
            return try FileHandle(forWritingTo: file)
        }

        /// What has been written to standard error so far.
        var errorsSoFar: String {
            (try? String(contentsOf: folder.appendingPathComponent("err"), encoding: .utf8)) ?? ""
        }

        func wait(seconds: Double) -> Bool {
            let deadline = Date(timeIntervalSinceNow: seconds)
            while process.isRunning {
                if Date() > deadline { return false }
                usleep(2000)
            }
            return true
        }

        func finish() throws -> Result {
            defer { try? FileManager.default.removeItem(at: folder) }
            guard wait(seconds: 120) else {
                kill(process.processIdentifier, SIGKILL)
                throw Hang(errors: errorsSoFar)
            }
            process.waitUntilExit()
            return Result(
                status: process.terminationStatus, wasSignalled: process.terminationReason == .uncaughtSignal,
                output: try String(contentsOf: folder.appendingPathComponent("out"), encoding: .utf8),
                errors: errorsSoFar)
        }

        /// Process numbers of the pcores.
        var pcores: [pid_t] { Processes.children(of: process.processIdentifier) }
    }

    struct Hang: Error { let errors: String }

    /// Runs the tool to its end. `tool` is the command to run instead of the tool itself, to which `arguments` are added.
    static func run(
        _ arguments: [String], environment: [String: String] = [:], tool: [String] = [Tool.path]
    ) throws -> Result {
        try Running(arguments, environment: environment, tool: tool).finish()
    }

    /// The quick run that most tests vary: two pcores, a small blob, no log, no baseline.
    static let quick = ["--blob-mb", "4", "--no-baseline", "--csv", "", "--file", "/usr/bin/bash"]
}

/// Processes as /proc shows them.
enum Processes {
    static func children(of parent: pid_t) -> [pid_t] { all { $0 == parent } }

    static func isAlive(_ pid: pid_t) -> Bool {
        guard let status = status(of: pid) else { return false }
        return status.state != "Z" && status.state != "X"
    }

    private static func all(where isWanted: (pid_t) -> Bool) -> [pid_t] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.filter { pid in status(of: pid).map { isWanted($0.parent) } ?? false }
    }

    private static func status(of pid: pid_t) -> (state: String, parent: pid_t)? {
        // pid (name) state ppid ...; the name may contain anything, so look behind the last parenthesis.
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let close = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[close...].split(separator: " ")
        guard fields.count > 2, let parent = pid_t(fields[2]) else { return nil }
        return (String(fields[1]), parent)
    }
}

/// A folder in memory for a run's blob, which must be empty whenever no run is on.
///
/// Anything else that a run has is memory without a name, which cannot outlive its processes; those are counted separately
/// (and `just acceptance` compares the pools of huge pages).
struct BlobFolder: ~Copyable {
    let path = "/dev/shm/pfs-blobs-\(UUID())"

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func contents() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path) }
}
