import Foundation
import Testing
import ToolTesting

let packetSend = Tool("yeet_afp_tx")
let packetReceive = Tool("yeet_afp_rx")
let datagramSend = Tool("yeet_udp_tx")
let datagramReceive = Tool("yeet_udp_rx")

/// A folder for files, which goes with this object.
struct Scratch: ~Copyable {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-yeet-\(UUID())").path
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    func file(_ name: String) -> String { path + "/" + name }
}

extension VethPair {
    /// Starts a receiver on side b, and comes back once it listens. It ends after 50 s at the latest, whatever happens.
    func receive(_ arguments: [String], listeners: Int = 1) throws -> Tool.Running {
        let running = try packetReceive.start(
            ["--iface", b.interface, "--duration", "50", "--report-ms", "0", "--json", "--page-size", "4k"] + arguments,
            wrapper: b.wrapper)
        #expect(running.says("listening", times: listeners), "\(running.errorsSoFar)")
        return running
    }

    /// The same over UDP.
    func receiveDatagrams(_ arguments: [String]) throws -> Tool.Running {
        let running = try datagramReceive.start(
            ["--bind", b.address, "--duration", "50", "--report-ms", "0", "--json", "--page-size", "4k"] + arguments,
            wrapper: b.wrapper)
        #expect(running.says("listening"), "\(running.errorsSoFar)")
        return running
    }

    /// Runs a sender on side a to its end.
    func send(_ arguments: [String]) throws -> Tool.Result {
        try packetSend.run(
            ["--iface", a.interface, "--dst-mac", b.mac, "--report-ms", "0", "--json"] + arguments, wrapper: a.wrapper)
    }

    /// The same over UDP.
    func sendDatagrams(_ arguments: [String]) throws -> Tool.Result {
        try datagramSend.run(["--host", b.address, "--report-ms", "0", "--json"] + arguments, wrapper: a.wrapper)
    }
}
