import ArgumentParser
import PacketFSDPDK
import PacketFSMemory
import PacketFSNet
import PacketFSNetTools
import PacketFSTools
import SystemPackage

/// Receives PFS frames from a DPDK port.
@main
struct Receive: Tool {
    static let reports = [NetReport.ofReceiver("pfs_dpdk_rx", PortPath.self)]

    static let configuration = CommandConfiguration(
        commandName: "pfs_dpdk_rx",
        abstract: "Receive PFS frames from a DPDK port or virtual device and apply programs to what they bring.",
        discussion: """
            DPDK polls: a CPU is busy for as long as frames come. For example, from another process on this machine: \
            --vdev net_memif0,role=server,socket=/tmp/pfs.sock. Frames that are none of ours are counted as foreign.

            Exit codes: 0 done, 64 usage, 65 verification failed, 69 not available here, 71 system error, 77 no permission. \
            See docs/dpdk.md.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var place: PortOptions
    @Option(.whole("The longest frame that buffers have room for, in bytes", 128...PortSender.largestFrame))
    var frameBytes = 2048
    @OptionGroup var receive: ReceiveOptions

    func run() throws {
        let name = "pfs_dpdk_rx"
        try CommandLineTool.run(name) {
            let work = try receive.work(hasLinkHeader: true)
            let isa = try Kernels.selected()
            let blob = try receive.makeBlob()
            let environment = try Environment(place.environment, cpu: receive.common.cpu)
            let port = try Port(place.port, of: environment, frameByteCount: frameBytes)
            let receiver = PortReceiver(port, burst: place.burst)
            let figures = try blob.withUnsafeMutableBytes { blob in
                try ReceiveRun.run(receiver, FrameWork(work, blob: blob, isa: isa), receive, name: name) {
                    FileDescriptor.standardError.writeLine("\(name): listening on \(port.row.name)")
                }
            }
            let path = PortPath(environment, port, burst: place.burst, receiver: receiver)
            try NetReport.print(
                tool: name, .init(path: port.row.name, receive), figures, mode: path.mode, isa: isa,
                path: path,
                warnings: path.warnings)
        }
    }
}
