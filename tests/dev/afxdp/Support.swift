import Foundation
import Testing
import ToolTesting

let transmit = Tool("pfs_afxdp_tx")
let receive = Tool("pfs_afxdp_rx")
let probe = Tool("pfs_afxdp_probe")

extension VethPair {
    /// Starts a receiver on side b, and comes back once it listens. It ends after 50 s at the latest, whatever happens.
    func startReceiver(_ arguments: [String]) throws -> Tool.Running {
        let running = try receive.start(
            ["--iface", b.interface, "--duration", "50", "--report-ms", "0", "--blob-mb", "2", "--json"] + arguments,
            wrapper: b.wrapper)
        #expect(running.says("listening"), "\(running.errorsSoFar)")
        return running
    }

    /// Runs a sender on side a to its end.
    func send(_ arguments: [String]) throws -> Tool.Result {
        try transmit.run(
            ["--iface", a.interface, "--dst-mac", b.mac, "--report-ms", "0", "--blob-mb", "2", "--json"] + arguments,
            wrapper: a.wrapper)
    }

    /// Whether an XDP program hangs on side b's interface.
    func hasProgram() throws -> Bool { try b.run("ip", "-d", "link", "show", b.interface).contains("xdp") }
}

extension Tool.Result {
    /// A field of the report's `result`, of its `path`, or of that one's `statistics`.
    func field(_ name: String) throws -> Any? {
        let result = try result()
        let path = result["path"] as? [String: Any]
        let statistics = path?["statistics"] as? [String: Any]
        return result[name] ?? path?[name] ?? statistics?[name]
    }

    /// Such a field that is a whole number.
    func number(_ name: String) throws -> UInt64 {
        try #require((field(name) as? NSNumber)?.uint64Value, "\(name) of \(self)")
    }
}
