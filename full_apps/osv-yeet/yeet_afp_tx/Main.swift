import ArgumentParser
import OsvYeet
import PacketFSNet
import PacketFSNetTools
import PacketFSTools

/// Sends PFS frames from a packet socket's transmit ring.
@main
struct PacketSend: Tool {
    static let reports = [NetReport.ofSender("yeet_afp_tx", PacketTransmitRing.Statistics.self)]

    static let configuration = CommandConfiguration(
        commandName: "yeet_afp_tx",
        abstract: "Send PFS frames with AF_PACKET: a transmit ring shared with the kernel.",
        discussion: """
            Example, in two network namespaces that a veth pair joins:
              yeet_afp_rx --iface veth1 --verify
              yeet_afp_tx --iface veth0 --descriptors --prog crc32c --count 1000000

            Needs CAP_NET_RAW. Exit codes: 0 done, 64 usage, 66 no such interface, 69 not available on this machine, \
            71 system error, 74 sending failed, 77 permission. See docs/osv-yeet.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var options: SendOptions
    @Option(help: OptionHelp.iface) var iface: String
    @Option(help: OptionHelp.dstMac) var dstMac = MACAddress.broadcast
    @Option(help: "Version of the ring: v2 or v3.") var tpacket = PacketVersion.v3
    @Option(.powerOfTwo("Slots of the ring", 64...65_536)) var slots = 512
    @Flag(help: "Send through the interface's queueing discipline instead of past it.") var qdisc = false

    func run() throws { try CommandLineTool.run("yeet_afp_tx") { try send() } }

    private func send() throws {
        let interface = try Interface(iface)
        let isa = try Kernels.selected()
        let producer = try options.producer(
            link: EthernetHeader(destination: dstMac, source: interface.address),
            limit: interface.mtu + EthernetHeader.byteCount, limitName: "\(iface) has an MTU of \(interface.mtu)",
            isa: isa)
        try options.common.pin()
        let ring = try PacketTransmitRing(
            interface, version: tpacket, slots: slots, frameByteCount: producer.byteCount, bypassesQdisc: !qdisc)
        let figures = try SendRun.run(ring, producer, options, name: "yeet_afp_tx")
        var warnings: [String] = []
        if ring.statistics.linkDown > 0 {
            warnings.append("\(iface) was down for a while: \(figures.unsent) frames were never sent")
        }
        if ring.statistics.refused > 0 { warnings.append("the kernel refused \(ring.statistics.refused) frames") }
        try NetReport.print(
            tool: "yeet_afp_tx", .init(path: iface, options, producer), figures, mode: ring.mode, isa: isa,
            path: ring.statistics, warnings: warnings)
    }
}

extension PacketVersion: ExpressibleByArgument {}
