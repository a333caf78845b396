import Foundation
import PacketFSMemory
import PacketFSRing
import SystemPackage
import Testing
import ToolTesting

let transmitter = Tool("pfs_stream_fastpath_tx")
let receiver = Tool("pfs_stream_fastpath_rx")

/// A folder of a test's own in /dev/shm, in which a transmitter and a receiver meet. Removed with what is in it.
final class Place: Sendable {
    let path: String

    init() throws {
        path = "/dev/shm/pfs-stream-test-\(UUID())"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }

    private var common: [String] { ["--shm", "s", "--dir", path, "--json"] }

    /// Starts a transmitter of a small blob.
    func tx(_ arguments: [String], hold: PausedRun? = nil) throws -> Tool.Running {
        let size = arguments.contains("--blob-mb") || arguments.contains("--blob") ? [] : ["--blob-mb", "1"]
        return try transmitter.start(common + size + arguments, hold: hold)
    }
    func tx(_ arguments: String...) throws -> Tool.Running { try tx(arguments) }

    /// Starts a receiver.
    func rx(_ arguments: [String]) throws -> Tool.Running { try receiver.start(common + arguments) }
    func rx(_ arguments: String...) throws -> Tool.Running { try rx(arguments) }

    /// Entries of the ring that the receiver is done with, the beginning of the stream among them.
    var takenEntries: UInt32 {
        get throws {
            let region = try SharedRegion.open(named: "s.pfs-ring", in: FilePath(path))
            return try RingSnapshot(reading: region.fileDescriptor).tail
        }
    }

    /// Waits until a file of that name is there.
    func await(_ name: String) throws {
        try eventually("\(name) to appear") { try names.contains(name) }
    }
}

/// Waits until something is so; fails the test after a time in which the slowest machine should get there.
func eventually(_ what: String, _ isSo: () throws -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: 60)
    while try !isSo() {
        try #require(Date() < deadline, "waited in vain for \(what)")
        usleep(1000)
    }
}

extension Tool.Running {
    /// Waits until that was written to standard error.
    func await(_ text: String) throws {
        try eventually("\"\(text)\"; so far: \(errorsSoFar)") {
            errorsSoFar.contains(text) || !process.isRunning
        }
        try #require(errorsSoFar.contains(text), "\(errorsSoFar)")
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }
}
