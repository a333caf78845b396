import Foundation

/// Two network namespaces, joined by a pair of virtual Ethernet interfaces, which exist as long as this object.
///
/// A namespace lives while a process is in it. Each of ours has one that waits for the end of a pipe that this process holds:
/// whatever becomes of the tests, namespaces and interfaces go with them, and no name is left behind anywhere.
public final class VethPair {
    /// One of the two sides.
    public final class Side {
        /// Its interface.
        public let interface: String
        /// The interface's hardware address.
        public let mac: String
        /// Its IPv4 address, of a private network of the pair's own.
        public let address: String

        private let holder = Process()
        private let lifeline = Pipe()

        fileprivate init(_ interface: String, mac: String, address: String) throws {
            self.interface = interface
            self.mac = mac
            self.address = address
            let output = Pipe()
            holder.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            holder.arguments = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"]
            holder.standardInput = lifeline
            holder.standardOutput = output
            try holder.run()
            let line = output.fileHandleForReading.availableData
            guard String(decoding: line, as: UTF8.self).hasPrefix("ready") else {
                throw CommandFailed(description: "no network namespace could be made")
            }
        }

        deinit {
            try? lifeline.fileHandleForWriting.close()
            holder.waitUntilExit()
        }

        /// A command to put before another so that it runs in this namespace.
        public var wrapper: [String] { ["/usr/bin/env", "nsenter", "--net=/proc/\(holder.processIdentifier)/ns/net"] }

        fileprivate var process: Int32 { holder.processIdentifier }

        /// Runs a command in this namespace to its end.
        @discardableResult
        public func run(_ command: String...) throws -> String { try Command.run(wrapper + command) }

        /// `ip link set` for the side's interface.
        public func set(_ what: String...) throws {
            _ = try Command.run(wrapper + ["ip", "link", "set", interface] + what)
        }
    }

    /// The two sides.
    public let a: Side, b: Side

    /// Makes the pair, both sides up.
    public init(mtu: Int = 1500) throws {
        a = try Side("va", mac: "02:00:00:00:00:0a", address: "10.97.0.1")
        b = try Side("vb", mac: "02:00:00:00:00:0b", address: "10.97.0.2")
        try a.run("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", "\(b.process)")
        for side in [a, b] {
            // No addresses that the kernel makes up: it would send frames of its own.
            try side.run("ip", "link", "set", side.interface, "addrgenmode", "none")
            try side.set("address", side.mac, "mtu", "\(mtu)")
            try side.run("ip", "addr", "add", side.address + "/24", "dev", side.interface)
            try side.set("up")
        }
        // Known neighbours: no ARP on the wire.
        try a.run("ip", "neigh", "add", b.address, "lladdr", b.mac, "dev", "va")
        try b.run("ip", "neigh", "add", a.address, "lladdr", a.mac, "dev", "vb")
    }

    /// Whether network namespaces can be made here; where not, the reason is "needs network namespaces".
    public static let areAvailable = (try? Command.run(["unshare", "--net", "true"])) != nil
}

/// A command that did not do what it should.
public struct CommandFailed: Error, CustomStringConvertible {
    /// Which one, and what it said.
    public let description: String
}

/// Other people's commands.
public enum Command {
    /// Whether a command is on `PATH`; where not, the reason is "needs the command NAME".
    public static func exists(_ name: String) -> Bool {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        return (folders + ["/usr/sbin", "/sbin"]).contains {
            FileManager.default.isExecutableFile(atPath: "\($0)/\(name)")
        }
    }

    /// Runs a command to its end, of which there are at most 120 s; what it printed, if it ended well.
    @discardableResult
    public static func run(_ command: [String]) throws -> String {
        let result = try Tool(path: "/usr/bin/env").run(command)
        guard result.status == 0, !result.wasSignalled else {
            throw CommandFailed(description: "`\(command.joined(separator: " "))`: \(result)")
        }
        return result.output
    }

    /// Starts a command.
    public static func start(_ command: [String]) throws -> Tool.Running {
        try Tool(path: "/usr/bin/env").start(command)
    }
}

extension Tool.Running {
    /// Waits until standard error holds `text` so many times; false when the tool ended before, or took more than 60 s.
    public func says(_ text: String, times: Int = 1) -> Bool {
        waits { errorsSoFar.components(separatedBy: text).count > times }
    }

    /// Waits until standard error holds `text` so many times more than now; otherwise as ``says(_:times:)``.
    public func saysAgain(_ text: String, times: Int = 1) -> Bool {
        says(text, times: errorsSoFar.components(separatedBy: text).count - 1 + times)
    }
}

/// A capture of Ethernet frames in the classic pcap format.
public struct Capture {
    /// The frames, as they were on the wire.
    public var frames: [[UInt8]]

    /// A capture of these frames.
    public init(frames: [[UInt8]]) { self.frames = frames }

    /// Reads a file that tcpdump or another tool wrote on this machine; throws if it is none.
    public init(contentsOf path: String) throws {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        func word(_ offset: Int) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) } }
        guard bytes.count >= 24, [0xA1B2_C3D4, 0xA1B2_3C4D].contains(word(0)), word(20) == 1 else {
            throw CommandFailed(description: "\(path) is no capture of Ethernet frames in this machine's byte order")
        }
        frames = []
        var offset = 24
        while offset + 16 <= bytes.count {
            let count = word(offset + 8)
            guard offset + 16 + count <= bytes.count else { break }
            frames.append(Array(bytes[offset + 16..<offset + 16 + count]))
            offset += 16 + count
        }
    }

    /// Writes a file that other tools read.
    public func write(to path: String) throws {
        var bytes: [UInt8] = []
        func append(_ words: UInt32...) {
            for word in words {
                for shift in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: word >> UInt32(8 * shift))) }
            }
        }
        append(0xA1B2_C3D4, 2 | 4 << 16, 0, 0, 65_535, 1)
        for (index, frame) in frames.enumerated() {
            append(UInt32(index / 1_000_000), UInt32(index % 1_000_000), UInt32(frame.count), UInt32(frame.count))
            bytes += frame
        }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }
}
