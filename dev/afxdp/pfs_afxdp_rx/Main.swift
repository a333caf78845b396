import ArgumentParser
import PacketFSGram
import PacketFSMemory
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import PacketFSXDP
import SystemPackage

/// Receives PFS frames through an AF_XDP socket.
@main
struct Receive: Tool {
    static let reports = [NetReport.ofReceiver("pfs_afxdp_rx", XDPPath.self)]

    static let configuration = CommandConfiguration(
        commandName: "pfs_afxdp_rx",
        abstract: "Receive PFS frames through an AF_XDP socket and apply programs to what they bring.",
        discussion: """
            An XDP program takes frames of EtherType 0x88B5 off the device before the kernel's network stack sees them; all \
            others pass. It goes when this process goes, however that ends. Programs work on payload in the memory that the \
            kernel or the device put it into. How the program hangs and whether the kernel copies are demands or, left out, \
            the kernel's choice; either way they are in every report.

            Exit codes: 0 done, 64 usage, 65 verification failed, 66 no such device, 69 not available here, 71 system \
            error, 77 no permission. See docs/afxdp.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup(title: "AF_XDP") var xdp: XDPOptions
    @Option(help: "Where the XDP program hangs: native (in the driver) or skb (any device, slower).")
    var mode = AttachMode.native
    @OptionGroup var receive: ReceiveOptions

    func run() throws {
        let name = "pfs_afxdp_rx"
        try CommandLineTool.run(name) {
            let configuration = try xdp.configuration(receives: true)
            let work = try receive.work(hasLinkHeader: true)
            let isa = try Kernels.selected()
            let device = try NetDevice(xdp.iface)
            try receive.common.pin()
            let blob = try receive.makeBlob()
            let receiver = try XDPReceiver(on: device, mode: mode, configuration, etherType: FrameFormat.etherType)
            let figures = try blob.withUnsafeMutableBytes { blob in
                let work = FrameWork(work, blob: blob, memory: receiver.memory, isa: isa)
                return try ReceiveRun.run(receiver, work, receive, name: name) {
                    FileDescriptor.standardError.writeLine("\(name): listening on \(device.name) (\(receiver.mode))")
                }
            }
            let path = try receiver.path()
            var warnings = path.warnings()
            let room = XDPReceiver.room(chunkByteCount: configuration.chunkByteCount)
            if room < device.largestFrame {
                warnings.append(
                    "frames of more than \(room) bytes are dropped, and \(device.name) may bring \(device.largestFrame); "
                        + "--chunk-bytes 4096 has more room")
            }
            try NetReport.print(
                tool: name, .init(path: device.name, receive), figures, mode: path.mode, isa: isa, path: path,
                warnings: warnings)
        }
    }
}
