import Foundation

/// Several hosts on this machine: namespaces with host names, addresses, mounts and shared memory of their own, joined by a bridge. Files
/// are those of this machine, as on a file system that all hosts mount.
///
/// What runs there is in one namespace of processes, whose first process waits for the end of a pipe that this process holds:
/// whatever becomes of the tests, their processes, interfaces and mounts go with it.
public final class Hosts {
    /// Their names, as `gethostname` gives them.
    public let names: [String]
    /// A folder that goes with the hosts, the same for all of them.
    public let folder: String

    private let room = Process()
    private let lifeline = Pipe()
    /// The processes that keep the hosts; before them the one that keeps the room.
    private var keepers: [pid_t] = []
    private static let support = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path

    /// Stands in for ssh in there: `agent NAME COMMAND...`. Needs ``environment``.
    public static let agent = support + "/hosts-agent"
    /// What ``agent`` needs in its environment.
    public var environment: [String: String] { ["PACKETFS_HOSTS": folder + "/hosts"] }

    /// Whether hosts can be made here; where not, the reason is "needs network namespaces".
    public static let areAvailable = VethPair.areAvailable

    /// Makes the hosts, with addresses 10.98.0.1 and so on.
    public init(_ names: [String]) throws {
        self.names = names
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-hosts-\(UUID())").path
        let table = folder + "/hosts"
        try FileManager.default.createDirectory(atPath: table, withIntermediateDirectories: true)
        let output = Pipe()
        room.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        room.arguments =
            [
                "unshare", "--pid", "--fork", "--kill-child", "--net", "--mount", "--propagation", "unchanged",
                Self.support + "/hosts-room", table,
            ] + names
        room.standardInput = lifeline
        room.standardOutput = output
        try room.run()
        guard String(decoding: output.fileHandleForReading.availableData, as: UTF8.self) == "ready\n",
            let first = Processes.children(of: room.processIdentifier).first
        else { throw CommandFailed(description: "no hosts could be made: \(names)") }
        let numbers = try names.map {
            try String(contentsOfFile: "\(table)/\($0)", encoding: .utf8).trimmingCharacters(
                in: .whitespacesAndNewlines)
        }
        keepers = [first]
        let inside = members()
        for number in numbers {
            guard let keeper = inside.first(where: { Self.numberInside($0) == number }) else {
                throw CommandFailed(description: "a host has no process: \(names)")
            }
            keepers.append(keeper)
        }
    }

    deinit {
        try? lifeline.fileHandleForWriting.close()
        room.waitUntilExit()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// A command to put before another so that it runs on a host (in `/`). Signals do not pass through it.
    public func wrapper(_ host: String) -> [String] {
        [
            "/usr/bin/env", "nsenter", "--target", "\(keeper(host))", "--pid", "--net", "--uts", "--ipc", "--mount",
            "--root", "--wd",
        ]
    }

    /// A host's address.
    public func address(of host: String) -> String {
        guard let index = names.firstIndex(of: host) else { preconditionFailure("no host \(host)") }
        return "10.98.0.\(index + 1)"
    }

    /// Runs a command on a host to its end.
    @discardableResult
    public func run(on host: String, _ command: String...) throws -> String {
        try Command.run(wrapper(host) + command)
    }

    /// Cuts a host's cable, or mends it: what is sent is lost, and nobody is told.
    public func setCable(of host: String, isCut: Bool) throws {
        guard let index = names.firstIndex(of: host) else { preconditionFailure("no host \(host)") }
        try Command.run(
            [
                "nsenter", "--target", "\(keepers[0])", "--net", "ip", "link", "set", "port\(index + 1)",
                isCut ? "nomaster" : "master",
            ] + (isCut ? [] : ["bridge"]))
    }

    /// Bytes that a host has got from others, and sent to them.
    public func traffic(of host: String) throws -> (received: Int, sent: Int) {
        let text = try String(contentsOfFile: "/proc/\(keeper(host))/net/dev", encoding: .utf8)
        for line in text.split(separator: "\n") {
            let fields = line.split { $0 == " " || $0 == ":" }
            guard fields.first == "eth0", fields.count > 9, let received = Int(fields[1]), let sent = Int(fields[9])
            else { continue }
            return (received, sent)
        }
        throw CommandFailed(description: "\(host) has no interface: \(text)")
    }

    /// A process on one of the hosts.
    public struct Member: CustomStringConvertible {
        /// Its number, as this process sees it.
        public let pid: pid_t
        /// The host.
        public let host: String
        /// Its command line.
        public let command: [String]
        /// All of it, for messages.
        public var description: String { "\(pid) on \(host): \(command.joined(separator: " "))" }

        /// Its executable.
        public let executable: String
    }

    /// The executable of a process, empty if it has ended.
    public static func executable(of pid: pid_t) -> String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")) ?? ""
    }

    /// Everything that runs on the hosts, without those that have ended and wait to be reaped.
    public func processes() -> [Member] {
        let places = zip(keepers.dropFirst(), names).map { (Self.namespace("net", of: $0), $1) }
        return members().filter { !keepers.contains($0) && Processes.isAlive($0) }.compactMap { pid in
            // Gone meanwhile, or the room's own.
            guard let network = Self.namespace("net", of: pid), let host = places.first(where: { $0.0 == network }),
                let command = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"), !command.isEmpty
            else { return nil }
            return Member(
                pid: pid, host: host.1,
                command: command.split(separator: 0).map { String(decoding: $0, as: UTF8.self) },
                executable: Self.executable(of: pid))
        }
    }

    /// Waits until nothing runs on the hosts any more; what still does after that time.
    public func leftovers(after seconds: Double) -> [Member] {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while true {
            let left = processes()
            if left.isEmpty || Date() > deadline { return left }
            usleep(10_000)
        }
    }

    private func keeper(_ host: String) -> pid_t {
        guard let index = names.firstIndex(of: host) else { preconditionFailure("no host \(host)") }
        return keepers[index + 1]
    }

    /// All processes of the namespace of processes.
    private func members() -> [pid_t] {
        let own = Self.namespace("pid", of: keepers[0])
        let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return numbers.compactMap { pid_t($0) }.filter { Self.namespace("pid", of: $0) == own }
    }

    private static func namespace(_ kind: String, of pid: pid_t) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/ns/\(kind)")
    }

    /// The number of a process as those in its namespace see it.
    private static func numberInside(_ pid: pid_t) -> String? {
        let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
        return status.split(separator: "\n").first { $0.hasPrefix("NSpid:") }?.split(separator: "\t").last.map(
            String.init)
    }
}
