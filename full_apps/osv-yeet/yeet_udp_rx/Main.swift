import ArgumentParser
import OsvYeet
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// Receives PFS frames from UDP datagrams and works on them.
@main
struct DatagramReceive: Tool {
    static let reports = [NetReport.ofReceiver("yeet_udp_rx", DatagramReceiver.Statistics.self)]

    static let configuration = CommandConfiguration(
        commandName: "yeet_udp_rx",
        abstract: "Receive PFS frames from UDP datagrams, count what is lost, and apply programs to them.",
        discussion: """
            Ends with the stream, or by --duration, --count or --idle-ms. Needs no rights. Exit codes: 0 done, 64 usage, \
            65 verification failed, 69 not available on this machine, 71 system error, 74 receiving failed. See \
            docs/osv-yeet.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var options: ReceiveOptions
    @Option(help: "Numeric address to listen at, IPv4 or IPv6.") var bind = "0.0.0.0"
    @Option(.whole("UDP port of the receiver", 0...65_535)) var port: UInt16 = 9009
    @Flag(help: "Let the kernel join datagrams of one size (UDP_GRO).") var gro = false
    @Option(.whole("Messages taken from the kernel at a time", 1...1024)) var batch = 64
    @Option(.whole("KiB of the socket's buffer", 1...1 << 20)) var bufferKb = 8192

    func run() throws { try CommandLineTool.run("yeet_udp_rx") { try receive() } }

    private func receive() throws {
        let isa = try Kernels.selected()
        let configuration = try options.work(hasLinkHeader: false)
        try options.common.pin()
        let blob = try options.makeBlob()
        let address = DatagramAddress(host: bind, port: port)
        let receiver = try DatagramReceiver(
            address, batch: batch, isJoining: gro, bufferByteCount: bufferKb << 10)
        let figures = try blob.withUnsafeMutableBytes { bytes throws(ToolError) in
            let work = FrameWork(configuration, blob: bytes, memory: receiver.memory, isa: isa)
            return try ReceiveRun.run(receiver, work, options, name: "yeet_udp_rx") {
                FileDescriptor.standardError.writeLine("yeet_udp_rx: listening at \(address) (\(receiver.mode))")
            }
        }
        let statistics = receiver.statistics()
        var warnings: [String] = []
        if statistics.kernelDrops > 0 {
            warnings.append(
                "the kernel dropped \(statistics.kernelDrops) datagrams for want of room: raise --buffer-kb and "
                    + "net.core.rmem_max")
        }
        try NetReport.print(
            tool: "yeet_udp_rx", .init(path: "\(address)", options), figures, mode: receiver.mode, isa: isa,
            path: statistics, warnings: warnings)
    }
}
