import Foundation

/// Runs the debug build of one of the tools, which stands beside the tests, as a user would.
public struct Tool: Sendable {
    /// The executable.
    public let path: String

    /// A copy of a tool.
    public init(path: String) { self.path = path }

    /// The tool called `name`.
    public init(_ name: String) {
        path =
            URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent().appendingPathComponent(name).path
    }

    /// How a tool ended and what it wrote.
    public struct Result: Sendable, CustomStringConvertible {
        /// The exit code, or the number of the signal.
        public let status: Int32
        /// Whether a signal ended it.
        public let wasSignalled: Bool
        /// Standard output and standard error.
        public let output: String, errors: String

        /// All of it, for messages.
        public var description: String { "status \(status)\n\(output)\n\(errors)" }

        /// The output as JSON; throws if it is anything but one document.
        public func json() throws -> [String: Any] {
            guard let document = try? JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any] else {
                throw NoDocument(result: self)
            }
            return document
        }

        /// The `result` of that document.
        public func result() throws -> [String: Any] {
            guard let result = try json()["result"] as? [String: Any] else { throw NoDocument(result: self) }
            return result
        }
    }

    /// A tool that has been started.
    public final class Running {
        /// Its process.
        public let process = Process()
        /// What holds it, which must be there for as long as the tool runs.
        private let hold: PausedRun?
        private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-test-\(UUID())")

        fileprivate init(
            _ whole: [String], environment: [String: String], input: FileHandle, hold: PausedRun?
        ) throws {
            self.hold = hold
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            process.executableURL = URL(fileURLWithPath: whole[0])
            process.arguments = Array(whole.dropFirst())
            process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
                .merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }.merging(hold?.environment ?? [:]) { $1 }
            process.standardInput = input
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
        public var errorsSoFar: String {
            (try? String(contentsOf: folder.appendingPathComponent("err"), encoding: .utf8)) ?? ""
        }

        /// What has been written to standard output so far.
        public var outputSoFar: String {
            (try? String(contentsOf: folder.appendingPathComponent("out"), encoding: .utf8)) ?? ""
        }

        /// Waits until something holds; whether it did while the tool ran, within a time in which the slowest machine gets there.
        public func waits(until holds: () throws -> Bool) rethrows -> Bool {
            let deadline = Date(timeIntervalSinceNow: 60)
            while try !holds() {
                if !process.isRunning || Date() > deadline { return try holds() }
                usleep(1000)
            }
            return true
        }

        /// Whether it ended within that time.
        public func wait(seconds: Double) -> Bool {
            let deadline = Date(timeIntervalSinceNow: seconds)
            while process.isRunning {
                if Date() > deadline { return false }
                usleep(2000)
            }
            return true
        }

        /// Waits for its end.
        public func finish() throws -> Result {
            defer { try? FileManager.default.removeItem(at: folder) }
            guard wait(seconds: 120) else {
                kill(process.processIdentifier, SIGKILL)
                throw DeadlineExceeded(errors: errorsSoFar)
            }
            process.waitUntilExit()
            return Result(
                status: process.terminationStatus, wasSignalled: process.terminationReason == .uncaughtSignal,
                output: try String(contentsOf: folder.appendingPathComponent("out"), encoding: .utf8),
                errors: errorsSoFar)
        }

        /// Process numbers of the pcores.
        public var pcores: [pid_t] { Processes.children(of: process.processIdentifier) }
    }

    /// An output that is not the JSON document that it should be.
    public struct NoDocument: Error {
        let result: Result
    }

    /// A tool that does not end.
    public struct DeadlineExceeded: Error {
        let errors: String
    }

    /// Starts the tool. `wrapper` is a command to which the tool and `arguments` are added; `hold` is where it waits for the test.
    public func start(
        _ arguments: [String], environment: [String: String] = [:], wrapper: [String] = [],
        input: FileHandle = .nullDevice, hold: PausedRun? = nil
    ) throws -> Running {
        try Running(wrapper + [path] + arguments, environment: environment, input: input, hold: hold)
    }

    /// Runs the tool to its end.
    public func run(
        _ arguments: [String], environment: [String: String] = [:], wrapper: [String] = [],
        input: FileHandle = .nullDevice
    ) throws -> Result {
        try start(arguments, environment: environment, wrapper: wrapper, input: input).finish()
    }
}

/// A hold at which a tool waits for a test: `PACKETFS_TEST_HOLD`, see CONTRIBUTING.md. It goes with this object.
public final class PausedRun {
    private let path = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-hold-\(UUID())").path
    /// What the tool needs in its environment.
    public let environment: [String: String]

    /// A hold of every ring that has got so many records.
    public init(records: Int) throws {
        try Data().write(to: URL(fileURLWithPath: path))
        environment = ["PACKETFS_TEST_HOLD": "\(records):\(path)"]
    }

    deinit { release() }

    /// Waits until so many rings hold.
    public func wait(for rings: Int, _ running: Tool.Running) throws {
        let isHeld = running.waits {
            (FileManager.default.contents(atPath: path) ?? Data()).count { $0 == UInt8(ascii: "\n") } == rings
        }
        guard isHeld else { throw NeverPaused(errors: running.errorsSoFar) }
    }

    /// Lets the tool go on.
    public func release() { unlink(path) }

    /// A tool that did not come to its hold.
    public struct NeverPaused: Error {
        let errors: String
    }
}

/// Processes as /proc shows them.
public enum Processes {
    /// Processes whose parent is `parent`.
    public static func children(of parent: pid_t) -> [pid_t] { all { $0 == parent } }

    /// Whether a process runs or could run.
    public static func isAlive(_ pid: pid_t) -> Bool {
        guard let status = status(of: pid) else { return false }
        return status.state != "Z" && status.state != "X"
    }

    /// How often a process has gone to sleep of its own accord: each time it looks at the world anew.
    public static func sleeps(of pid: pid_t) -> Int {
        let name = "voluntary_ctxt_switches:\t"
        let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").first { $0.hasPrefix(name) }.flatMap { Int($0.dropFirst(name.count)) } ?? 0
    }

    /// The process that started a process, or took it over.
    public static func parent(of pid: pid_t) -> pid_t? { status(of: pid)?.parent }

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
public struct BlobFolder: ~Copyable {
    /// The folder.
    public let path = "/dev/shm/pfs-blobs-\(UUID())"

    /// Makes it.
    public init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Names in it.
    public func contents() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path) }
}
