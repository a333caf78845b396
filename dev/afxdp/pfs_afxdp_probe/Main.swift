import ArgumentParser
import PacketFSTools
import PacketFSXDP
import SystemPackage

/// What AF_XDP can do on a device, found by trying.
@main
struct Probe: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pfs_afxdp_probe",
        abstract: "Find out by trying which AF_XDP modes work on a network device.",
        discussion: """
            Attaches an XDP program in native and in SKB mode, binds a socket in copy and in zero-copy mode with and without \
            need-wakeup, asks for busy polling, and takes everything off again. Nothing is sent, except on loopback, where \
            each mode that could be set up must carry frames back to itself; --transmit sends one frame on any device.

            Exit codes: 0 done, 64 usage, 66 no such device, 71 system error, 77 no permission. See docs/afxdp.md.
            """,
        version: PacketFSVersion.current)

    @Option(help: "The network device.") var iface: String
    @Option(help: "Its queue.") var queue = 0
    @Flag(help: "Also send one frame (EtherType 0x88B5, to the device's own address) in each mode.")
    var transmit = false
    @Flag(help: "Print one JSON document and nothing else.") var json = false

    func validate() throws {
        guard (0...63).contains(queue) else { throw ValidationError("--queue is \(queue); it must be from 0 to 63.") }
    }

    func run() throws {
        try CommandLineTool.run("pfs_afxdp_probe") {
            let device = try NetDevice(iface)
            var warnings: [String] = []
            if !device.isUp {
                warnings.append(
                    "\(device.name) is down: nothing can be bound to it; `ip link set dev \(device.name) up`")
            }
            let result = ProbeResult(
                device: DeviceRow(device),
                attach: AttachMode.allCases.map { AttachRow(trying: $0, on: device) },
                sockets: try Trial.all(on: device, queue: queue, exchanging: transmit || device.isLoopback))
            for warning in warnings { FileDescriptor.standardError.writeLine("pfs_afxdp_probe: warning: \(warning)") }
            let text =
                json
                ? try ToolReport(
                    tool: "pfs_afxdp_probe", config: ConfigRow(iface: iface, queue: queue, transmit: transmit),
                    result: result, warnings: warnings
                ).text() : result.text
            try CommandLineTool.write(text)
        }
    }
}

/// What was asked for.
struct ConfigRow: Encodable {
    let iface: String
    let queue: Int
    let transmit: Bool
}
