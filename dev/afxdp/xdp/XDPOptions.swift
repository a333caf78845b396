import ArgumentParser
import PacketFSMemory
import PacketFSTools

/// Options that both AF_XDP tools have, besides those of all network runners.
public struct XDPOptions: ParsableArguments {
    /// Name of the network device.
    @Option(help: "The network device.") public var iface: String
    @Option(help: "Its queue, 0 to 63.") var queue = 0
    @Flag(help: "Demand that the kernel copies frames, which any device can.") var copy = false
    @Flag(help: "Demand that the device reads and writes the socket's memory itself.") var zeroCopy = false
    @Option(help: "Chunks of memory, a power of two from 64 to 65536.") var chunks = 4096
    @Option(help: "Bytes of a chunk, which holds one frame: 2048 or 4096.") var chunkBytes = 2048
    @Option(help: "Pages for the chunks: auto, 1g, 2m, thp or 4k.") var pages = PagePreference.automatic
    @Flag(help: "Have the kernel look at the rings without being told (no need-wakeup).") var noNeedWakeup = false

    /// For the argument parser.
    public init() {}

    /// How the socket is to be made.
    public func configuration(receives: Bool) throws(ToolError) -> XDPSocketConfiguration {
        guard !(copy && zeroCopy) else { throw ToolError(.usage, "--copy and --zero-copy exclude each other") }
        guard 0...63 ~= queue else { throw ToolError(.usage, "--queue \(queue): must be from 0 to 63") }
        guard 64...65_536 ~= chunks, chunks.nonzeroBitCount == 1 else {
            throw ToolError(.usage, "--chunks \(chunks): must be a power of two from 64 to 65536")
        }
        guard chunkBytes == 2048 || chunkBytes == 4096 else {
            throw ToolError(.usage, "--chunk-bytes \(chunkBytes): must be 2048 or 4096")
        }
        var configuration = XDPSocketConfiguration(receives: receives, sends: !receives)
        configuration.queue = queue
        configuration.copyMode = copy ? .copy : zeroCopy ? .zeroCopy : nil
        configuration.chunkCount = chunks
        configuration.chunkByteCount = chunkBytes
        configuration.pages = pages
        configuration.needWakeup = !noNeedWakeup
        return configuration
    }
}
extension AttachMode: ExpressibleByArgument {}

/// What only AF_XDP has to say about a run: `result.path` of a report.
public struct XDPPath: Encodable {
    let iface: String
    let driver: String?
    let queue: Int
    /// How the program hangs on the device; null for a sender, which has none.
    let attach: AttachMode?
    let copyMode: CopyMode
    let needWakeup: Bool
    let chunks: Int
    let chunkBytes: Int
    let backing: String
    /// Of a sender: calls of the kernel, and frames that the device did not take.
    let kicks: UInt64?
    let refused: UInt64?
    /// How often it found the device down.
    let outages: UInt64?
    /// Of a receiver: how often it slept.
    let sleeps: UInt64?
    let statistics: XDPStatistics

    init(
        _ device: NetDevice, _ socket: borrowing XDPSocket, attach: AttachMode?, kicks: UInt64? = nil,
        refused: UInt64? = nil, outages: UInt64? = nil, sleeps: UInt64? = nil
    ) throws(ToolError) {
        iface = device.name
        driver = device.driver
        queue = socket.configuration.queue
        self.attach = attach
        copyMode = socket.copyMode
        needWakeup = socket.configuration.needWakeup
        chunks = socket.configuration.chunkCount
        chunkBytes = socket.configuration.chunkByteCount
        backing = "\(socket.backing)"
        self.kicks = kicks
        self.refused = refused
        self.outages = outages
        self.sleeps = sleeps
        statistics = try socket.statistics()
    }

    /// How frames really went, in a few words.
    public var mode: String {
        [attach?.rawValue, copyMode.rawValue, needWakeup ? "need-wakeup" : nil].compactMap { $0 }.joined(
            separator: ", ")
    }

    /// What makes a run's figures weak or surprising.
    ///
    /// - Parameter unsent: frames that a sender had taken and that had not left in the end.
    public func warnings(unsent: Int = 0) -> [String] {
        var warnings: [String] = []
        if let outages, outages > 0 { warnings.append("\(iface) was down \(outages) times") }
        if let refused, refused > 0 {
            warnings.append(
                "\(iface) refused \(refused) frames, which count as sent: its queue was full, or it has no carrier")
        }
        if unsent > 0 { warnings.append("\(unsent) frames, which count as sent, had not left in the end") }
        if statistics.txInvalidDescriptors > 0 {
            warnings.append("the kernel refused \(statistics.txInvalidDescriptors) descriptors")
        }
        if statistics.lost > 0 {
            warnings.append(
                "\(statistics.lost) frames arrived and were dropped: \(statistics.rxRingFull) with the receive ring full, "
                    + "\(statistics.rxFillRingEmpty) without a free chunk (more --chunks may help), "
                    + "\(statistics.rxDropped) for other reasons")
        }
        return warnings
    }
}
