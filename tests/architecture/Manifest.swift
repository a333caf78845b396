import Foundation

/// The part of `swift package dump-package` that the house rules are about.
struct Manifest: Decodable {
    /// One target of the package.
    struct Target: Decodable {
        let name: String
        /// SwiftPM's kind: `regular`, `executable`, `test`, `system`, `plugin`, `macro`.
        let type: String
        /// Folder relative to the package; nil where the manifest relies on SwiftPM's default folder.
        let path: String?
        /// Names of the targets (and of products of other packages) that this one depends on.
        let dependencies: [String]
        /// Whether any build setting is an `unsafeFlags`, which makes the package unusable as a dependency.
        let hasUnsafeFlags: Bool

        private enum CodingKeys: CodingKey { case name, type, path, dependencies, settings }

        init(
            _ name: String, type: String = "regular", path: String?, dependencies: [String] = [],
            hasUnsafeFlags: Bool = false
        ) {
            self.name = name
            self.type = type
            self.path = path
            self.dependencies = dependencies
            self.hasUnsafeFlags = hasUnsafeFlags
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            name = try container.decode(String.self, forKey: .name)
            type = try container.decode(String.self, forKey: .type)
            path = try container.decodeIfPresent(String.self, forKey: .path)
            dependencies = try container.decode([Dependency].self, forKey: .dependencies).compactMap(\.local)
            hasUnsafeFlags =
                try container.decodeIfPresent([Setting].self, forKey: .settings)?
                .contains { $0.kind["unsafeFlags"] != nil } ?? false
        }
    }

    /// One product of the package.
    struct Product: Decodable {
        let name: String
        let targets: [String]
        let isExecutable: Bool

        private enum CodingKeys: CodingKey { case name, targets, type }

        init(_ name: String, targets: [String], isExecutable: Bool) {
            self.name = name
            self.targets = targets
            self.isExecutable = isExecutable
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            name = try container.decode(String.self, forKey: .name)
            targets = try container.decode([String].self, forKey: .targets)
            isExecutable = try container.decode([String: Ignored].self, forKey: .type).keys.contains("executable")
        }
    }

    let targets: [Target]
    let products: [Product]

    /// A dependency as dumped: `{"byName": ["X", null]}`, `{"target": ["X", null]}` or
    /// `{"product": ["X", "package", null, null]}`.
    private struct Dependency: Decodable {
        /// The name, if the dependency can be a target of this package.
        let local: String?

        init(from decoder: any Decoder) throws {
            let dumped = try [String: [OptionalString]](from: decoder)
            local = (dumped["byName"] ?? dumped["target"])?.first?.value
        }
    }

    /// A build setting as dumped: `{"kind": {"unsafeFlags": ...}, "tool": ...}`.
    private struct Setting: Decodable {
        let kind: [String: Ignored]
    }

    /// A string, or nil where the dump has null or a condition.
    private struct OptionalString: Decodable {
        let value: String?

        init(from decoder: any Decoder) throws {
            value = try? decoder.singleValueContainer().decode(String.self)
        }
    }

    /// A JSON value that nobody looks at.
    private struct Ignored: Decodable {
        init(from decoder: any Decoder) throws {}
    }
}

extension Manifest {
    /// Why a manifest could not be read.
    struct DumpError: Error, CustomStringConvertible {
        let description: String
    }

    /// Evaluates the manifest of the package at `root`.
    ///
    /// SwiftPM locks its scratch folder, and under `swift test` that lock is taken: a folder of our own avoids the wait.
    static func dump(root: URL) throws -> Manifest {
        let scratch = FileManager.default.temporaryDirectory.appendingPathComponent(
            "packetfs-dump-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: scratch) }

        let json = try run(
            ["swift", "package", "--package-path", root.path, "--scratch-path", scratch.path, "dump-package"], in: root)
        return try JSONDecoder().decode(Manifest.self, from: json)
    }
}

/// Runs a command found on `PATH`, or below `folder`, in `folder`; returns its status and what it printed.
func capture(_ command: [String], in folder: URL) throws -> (status: Int32, output: Data) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    process.currentDirectoryURL = folder
    let output = Pipe()
    process.standardOutput = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, data)
}

/// As `capture`, for commands that must succeed: throws when the status is not 0.
func run(_ command: [String], in folder: URL) throws -> Data {
    let (status, output) = try capture(command, in: folder)
    guard status == 0 else {
        throw Manifest.DumpError(
            description: "`\(command.joined(separator: " "))` ended with \(status); see its messages above")
    }
    return output
}
