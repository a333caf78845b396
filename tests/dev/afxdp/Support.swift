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
