import ArgumentParser
import PacketFSGram
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import PacketFSXDP

/// Sends PFS frames through an AF_XDP socket.
@main
struct Transmit: Tool {
    static let reports = [NetReport.ofSender("pfs_afxdp_tx", XDPPath.self)]

    static let configuration = CommandConfiguration(
        commandName: "pfs_afxdp_tx",
        abstract: "Send PFS frames through an AF_XDP socket.",
        discussion: """
            Frames are as yeet_afp_tx sends them. They are made in the socket's memory, which lies on the best pages there \
            are, and sent from there; in copy mode the kernel copies each once. Whether it copies is in every report. Sending \
            takes no XDP program, so that there is no native or SKB mode to choose.

            Exit codes: 0 done, 64 usage, 66 no such device, 69 not available here, 71 system error, 77 no permission. \
            See docs/afxdp.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup(title: "AF_XDP") var xdp: XDPOptions
    @Option(help: OptionHelp.dstMac) var dstMac = MACAddress.broadcast
    @OptionGroup var send: SendOptions

    func run() throws {
        let name = "pfs_afxdp_tx"
        try CommandLineTool.run(name) {
            let configuration = try xdp.configuration(receives: false)
            let isa = try Kernels.selected()
            let device = try NetDevice(xdp.iface)
            let room = XDPSender.room(chunkByteCount: configuration.chunkByteCount)
            let isRoomLess = room < device.largestFrame
            let link = EthernetHeader(destination: dstMac, source: device.address)
            let producer = try send.producer(
                link: link, limit: min(room, device.largestFrame),
                limitName: isRoomLess
                    ? "a chunk has \(configuration.chunkByteCount) bytes; --chunk-bytes 4096 has more"
                    : "\(device.name) has an MTU of \(device.mtu)", isa: isa)
            try send.common.pin()
            let sender = XDPSender(try XDPSocket(on: device, configuration), on: device)
            let figures = try SendRun.run(sender, producer, send, name: name)
            let path = try sender.path()
            try NetReport.print(
                tool: name, .init(path: device.name, send, producer), figures, mode: path.mode, isa: isa,
                path: path,
                warnings: path.warnings(unsent: figures.unsent))
        }
    }
}
