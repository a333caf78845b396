import ArgumentParser
import OsvYeet
import PacketFSGram
import PacketFSNet
import PacketFSNetTools
import PacketFSTools

/// Sends PFS frames as UDP datagrams.
@main
struct DatagramSend: Tool {
    static let reports = [NetReport.ofSender("yeet_udp_tx", DatagramSender.Statistics.self)]

    static let configuration = CommandConfiguration(
        commandName: "yeet_udp_tx",
        abstract: "Send PFS frames as UDP datagrams: the baseline that packet sockets are compared with.",
        discussion: """
            Example:
              yeet_udp_rx --bind 127.0.0.1 --gro
              yeet_udp_tx --host 127.0.0.1 --gso --len 1400 --prog crc32c

            Needs no rights. Exit codes: 0 done, 64 usage, 69 not available on this machine, 71 system error, 74 sending \
            failed. See docs/osv-yeet.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var options: SendOptions
    @Option(help: "Numeric address to send to, IPv4 or IPv6.") var host: String
    @Option(.whole("UDP port of the receiver", 0...65_535)) var port: UInt16 = 9009
    @Flag(help: "Let the kernel cut long messages into datagrams (UDP_SEGMENT).") var gso = false
    @Option(.whole("KiB of the socket's buffer", 1...1 << 20)) var bufferKb = 4096

    func run() throws { try CommandLineTool.run("yeet_udp_tx") { try send() } }

    private func send() throws {
        let isa = try Kernels.selected()
        let producer = try options.producer(
            link: nil, limit: FrameFormat.maximumByteCount, limitName: "a datagram holds no more", isa: isa)
        try options.common.pin()
        let address = DatagramAddress(host: host, port: port)
        let sender = try DatagramSender(
            address, batch: options.batch, frameByteCount: producer.byteCount, isSegmenting: gso,
            bufferByteCount: bufferKb << 10)
        let figures = try SendRun.run(sender, producer, options, name: "yeet_udp_tx")
        var warnings: [String] = []
        if sender.statistics.refused > 0 {
            warnings.append("nobody listens at \(address): \(sender.statistics.refused) calls were refused")
        }
        try NetReport.print(
            tool: "yeet_udp_tx", .init(path: "\(address)", options, producer), figures, mode: sender.mode,
            isa: isa, path: sender.statistics, warnings: warnings)
    }
}
