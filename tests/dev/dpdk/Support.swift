import Foundation
import Testing
import ToolTesting

let transmit = Tool("pfs_dpdk_tx")
let receive = Tool("pfs_dpdk_rx")
let probe = Tool("pfs_dpdk_probe")

/// Whether the tools were built: the manifest asks the same.
let hasDPDK = FileManager.default.fileExists(atPath: "/usr/include/dpdk/rte_ethdev.h")

/// What all runs of these tests have: no huge pages, which the machine may lack, and a report for the test to read.
let common = ["--no-huge", "--memory-mb", "192", "--report-ms", "0", "--json"]

extension Tool.Result {
    /// A whole number of what came back on the sender's port.
    func back(_ name: String) throws -> UInt64 {
        let loop = (try result()["path"] as? [String: Any])?["loop"] as? [String: Any]
        return try #require((loop?[name] as? NSNumber)?.uint64Value, "\(name) of \(self)")
    }
}

/// Starts a receiver, and comes back once it listens. It ends after 50 s at the latest, whatever happens.
func startReceiver(_ arguments: [String], wrapper: [String] = []) throws -> Tool.Running {
    let running = try receive.start(common + ["--duration", "50", "--blob-mb", "2"] + arguments, wrapper: wrapper)
    #expect(running.says("listening"), "\(running.errorsSoFar)")
    return running
}

/// Runs a sender to its end.
func send(_ arguments: [String], wrapper: [String] = []) throws -> Tool.Result {
    try transmit.run(common + ["--blob-mb", "2"] + arguments, wrapper: wrapper)
}

/// A path for a socket, which nothing else has.
func socketPath() -> String {
    FileManager.default.temporaryDirectory.appendingPathComponent("pfs-\(UUID().uuidString.prefix(8)).sock").path
}
