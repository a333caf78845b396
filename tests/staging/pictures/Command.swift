import Foundation
import Testing

/// Runs the project's commands and the debug builds of its tools, as a user would, in a folder of their own.
final class Workshop {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    static let products = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    static let runner = products.appendingPathComponent("pfs_proc_pcores").path
    static let ringBench = products.appendingPathComponent("pfs_shm_ring_bench").path
    static let plot = root.appendingPathComponent("utils/plot").path
    static let sweep = root.appendingPathComponent("utils/sweep").path

    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-pictures-\(UUID())")
    private var runs = 0

    init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false) }
    deinit { try? FileManager.default.removeItem(at: folder) }

    struct Result {
        let status: Int32
        let output: String
        let errors: String
    }

    struct Hang: Error { let command: [String] }

    /// A command that has been started.
    final class Running {
        let process = Process()
        private let command: [String]
        private let sinks: [URL]

        init(_ command: [String], in folder: URL, environment: [String: String], sinks: [URL]) throws {
            self.command = command
            self.sinks = sinks
            process.executableURL = URL(fileURLWithPath: command[0])
            process.arguments = Array(command.dropFirst())
            process.currentDirectoryURL = folder
            process.environment = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
                .merging(environment) { $1 }
            process.standardInput = FileHandle.nullDevice
            for sink in sinks { try Data().write(to: sink) }
            process.standardOutput = try FileHandle(forWritingTo: sinks[0])
            process.standardError = try FileHandle(forWritingTo: sinks[1])
            try process.run()
        }

        /// Waits for the end; the status is 128 plus the signal's number where one ended the command.
        func finish() throws -> Result {
            let deadline = Date(timeIntervalSinceNow: 120)
            while process.isRunning {
                guard Date() < deadline else {
                    kill(process.processIdentifier, SIGKILL)
                    throw Hang(command: command)
                }
                usleep(2000)
            }
            process.waitUntilExit()
            let signalled: Int32 = process.terminationReason == .uncaughtSignal ? 128 : 0
            return Result(
                status: signalled + process.terminationStatus,
                output: try String(contentsOf: sinks[0], encoding: .utf8),
                errors: try String(contentsOf: sinks[1], encoding: .utf8))
        }
    }

    func start(_ command: [String], environment: [String: String] = [:]) throws -> Running {
        runs += 1
        return try Running(
            command, in: folder, environment: environment,
            sinks: ["out", "err"].map { folder.appendingPathComponent("\($0)-\(runs)") })
    }

    func run(_ command: [String], environment: [String: String] = [:]) throws -> Result {
        try start(command, environment: environment).finish()
    }

    func write(_ text: String, to name: String) throws {
        let file = folder.appendingPathComponent(name)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }

    func text(_ name: String) throws -> String {
        try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
    }

    func list(_ name: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent(name).path)) ?? [])
            .sorted()
    }

    /// The rows of a CSV by column; understands quoted fields, not line ends within them.
    func table(_ name: String) throws -> [[String: String]] {
        let lines = try text(name).split(separator: "\n").map(Self.fields)
        let header = try #require(lines.first)
        try #require(Set(header).count == header.count, "a column is there twice: \(header)")
        return try lines.dropFirst().map { line in
            try #require(line.count == header.count, "\(line)")
            return Dictionary(uniqueKeysWithValues: zip(header, line))
        }
    }

    private static func fields(_ line: Substring) -> [String] {
        var fields = [""]
        var isQuoted = false
        for character in line {
            switch character {
            case "\"": isQuoted.toggle()
            case "," where !isQuoted: fields.append("")
            default: fields[fields.count - 1].append(character)
            }
        }
        return fields
    }

    static let hasGnuplot = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").contains {
        FileManager.default.isExecutableFile(atPath: "\($0)/gnuplot")
    }
}
