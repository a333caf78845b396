import Foundation
import Testing
import ToolTesting

/// A folder in which a test runs the project's commands and tools, and reads what they leave there.
final class ScratchFolder {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    static let runner = Tool("pfs_proc_pcores").path
    static let ringBench = Tool("pfs_shm_ring_bench").path
    static let plot = root.appendingPathComponent("utils/plot").path
    static let sweep = root.appendingPathComponent("utils/sweep").path

    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-pictures-\(UUID())")

    init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false) }
    deinit { try? FileManager.default.removeItem(at: folder) }

    func start(_ command: [String], environment: [String: String] = [:]) throws -> Tool.Running {
        try Tool(path: command[0]).start(
            Array(command.dropFirst()), environment: environment, wrapper: ["/usr/bin/env", "-C", folder.path])
    }

    func run(_ command: [String], environment: [String: String] = [:]) throws -> Tool.Result {
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
