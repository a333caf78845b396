import ArgumentParser
import PacketFSDPDK
import PacketFSMemory
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// Sends PFS frames through a DPDK port.
@main
struct Transmit: Tool {
    static let reports = [NetReport.ofSender("pfs_dpdk_tx", PortPath.self)]

    static let configuration = CommandConfiguration(
        commandName: "pfs_dpdk_tx",
        abstract: "Send PFS frames through a DPDK port or virtual device.",
        discussion: """
            Frames are as yeet_afp_tx sends them. For example, to another process on this machine: \
            --vdev net_memif0,role=client,socket=/tmp/pfs.sock. With --loop what comes back on the same port is received by \
            the same thread; that is how net_ring, net_null and a port with a cable to itself are used.

            Exit codes: 0 done, 64 usage, 65 verification failed, 69 not available here, 71 system error, 77 no permission. \
            See docs/dpdk.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var place: PortOptions
    @Flag(help: "Receive on the same port what was sent there.") var loop = false
    @Flag(help: OptionHelp.verify) var verify = false
    @Option(help: OptionHelp.dstMac) var dstMac = MACAddress.broadcast
    @OptionGroup var send: SendOptions

    func run() throws {
        let name = "pfs_dpdk_tx"
        try CommandLineTool.run(name) {
            guard loop || !verify else { throw ToolError(.usage, "--verify needs --loop") }
            let isa = try Kernels.selected()
            // What can be wrong with the frames is found out before DPDK takes its memory.
            var link = EthernetHeader(destination: dstMac, source: .broadcast)
            _ = try send.producer(
                link: link, limit: PortSender.largestFrame, limitName: "that is what buffers are made for", isa: isa)

            let environment = try Environment(place.environment, cpu: send.common.cpu)
            let port = try Port(place.port, of: environment, frameByteCount: max(send.len, 2048))
            link.source = MACAddress(port.row.mac) ?? .broadcast
            let producer = try send.producer(
                link: link, limit: port.largestSent, limitName: "\(port.row.name) has an MTU of \(port.row.mtu)",
                isa: isa)
            try port.awaitLink(seconds: 5)
            let sender = try PortSender(port, burst: place.burst, frameByteCount: producer.byteCount)
            let blob =
                try loop && send.descriptors ? send.common.makeBlob() : HugeBlob.create(byteCount: 1, pages: .small)
            try blob.withUnsafeMutableBytes { blob in
                if loop {
                    var configuration = FrameWorkConfiguration()
                    if verify {
                        configuration.verification = FrameVerification(
                            seed: send.common.seed, descriptors: send.common.descriptors)
                    }
                    let receiver = PortReceiver(port, burst: place.burst, own: sender.pool)
                    sender.loop = (receiver, FrameWork(configuration, blob: blob, isa: isa))
                }
                let figures = try SendRun.run(sender, producer, send, name: name)
                let came = sender.loop.map { LoopFigures($0.work) }
                let path = PortPath(environment, port, burst: place.burst, receiver: sender.loop?.receiver, loop: came)
                try NetReport.print(
                    tool: name, .init(path: port.row.name, send, producer), figures, mode: path.mode, isa: isa,
                    path: path, warnings: path.warnings)
                if let came, !send.common.output.json {
                    FileDescriptor.standardOutput.writeLine(summaryLine("came back", came.summary))
                }
                if came?.verified == false {
                    throw ToolError(.verificationFailed, "verification failed: \(came?.difference ?? "results differ")")
                }
            }
        }
    }
}
