import ArgumentParser
import PacketFSTools
import PacketFSXDP
import SystemPackage

/// What AF_XDP can do on a device, found by trying.
@main
struct Probe: Tool {
    static let reports = [ReportDescription("pfs_afxdp_probe", Config.self, ProbeResult.self)]

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

    @OptionGroup var place: QueueOptions
    @Flag(help: "Also send one frame (EtherType 0x88B5, to the device's own address) in each mode.")
    var transmit = false
    @OptionGroup var output: OutputOptions

    func run() throws {
        try CommandLineTool.run("pfs_afxdp_probe") {
            let device = try NetDevice(place.iface)
            var warnings: [String] = []
            if !device.isUp {
                warnings.append(
                    "\(device.name) is down: nothing can be bound to it; `ip link set dev \(device.name) up`")
            }
            let result = ProbeResult(
                device: device,
                attach: AttachMode.allCases.map { AttachRow(trying: $0, on: device) },
                sockets: try Trial.all(on: device, queue: place.queue, exchanging: transmit || device.isLoopback))
            try ToolReport(
                tool: "pfs_afxdp_probe", config: Config(place: place, transmit: transmit), result: result,
                warnings: warnings
            ).write(json: output.json, title: result.text)
        }
    }
}

/// What was asked for.
struct Config: ReportObject {
    let place: QueueOptions
    let transmit: Bool

    static var figures: [Figure<Self>] {
        Figure("iface", "the interface", \.place.iface)
        Figure("queue", "its queue", \.place.queue)
        Figure("transmit", "whether frames were sent on any device", \.transmit)
    }
}
