import ArgumentParser
import PacketFSMemory
import PacketFSTools

/// Options that both AF_XDP tools have, besides those of all network runners.
package struct XDPOptions: ParsableArguments {
    @OptionGroup var place: QueueOptions
    @Flag(help: "Demand that the kernel copies frames, which any device can.") var copy = false
    @Flag(help: "Demand that the device reads and writes the socket's memory itself.") var zeroCopy = false
    @Option(.powerOfTwo("Chunks of memory", 64...65_536)) var chunks = 4096
    @Option(.powerOfTwo("Bytes of a chunk, which holds one frame", 2048...4096)) var chunkBytes = 2048
    @Option(help: "Pages for the chunks: auto, 1g, 2m, thp or 4k.") var pages = PagePreference.automatic
    @Flag(help: "Have the kernel look at the rings without being told (no need-wakeup).") var noNeedWakeup = false

    package init() {}

    package var iface: String { place.iface }

    /// How the socket is to be made.
    package func configuration(receives: Bool) throws(ToolError) -> XDPSocketConfiguration {
        guard !(copy && zeroCopy) else { throw ToolError(.usage, "--copy and --zero-copy exclude each other") }
        var configuration = XDPSocketConfiguration(receives: receives, sends: !receives)
        configuration.queue = place.queue
        configuration.copyMode = copy ? .copy : zeroCopy ? .zeroCopy : nil
        configuration.chunkCount = chunks
        configuration.chunkByteCount = chunkBytes
        configuration.pages = pages
        configuration.needWakeup = !noNeedWakeup
        return configuration
    }
}

/// A network interface and one of its queues.
package struct QueueOptions: ParsableArguments {
    @Option(help: OptionHelp.iface) package var iface: String
    @Option(.whole("Its queue", 0...63)) package var queue = 0

    package init() {}
}

extension AttachMode: ExpressibleByArgument, Reportable {
    package var reportValue: ReportValue { .text(rawValue) }
}

extension CopyMode: Reportable {
    package var reportValue: ReportValue { .text(rawValue) }
}

/// What only AF_XDP has to say about a run: `result.path` of a report.
package struct XDPPath: ReportObject {
    private let iface: String
    private let driver: String?
    private let attach: AttachMode?
    private let copyMode: CopyMode
    private let configuration: XDPSocketConfiguration
    private let backing: String
    private let kicks: UInt64?, refused: UInt64?, outages: UInt64?, sleeps: UInt64?
    private let statistics: XDPStatistics

    package static var figures: [Figure<Self>] {
        Figure("iface", "the interface", \.iface)
        Figure("driver", "its driver, where it has one", \.driver)
        Figure("queue", "its queue", \.configuration.queue)
        Figure("attach", "how the program hangs, `native` or `skb`; null for a sender, which has none", \.attach)
        Figure("copy_mode", "`copy` or `zero-copy`", \.copyMode)
        Figure("need_wakeup", "whether the kernel may ask to be woken", \.configuration.needWakeup)
        Figure("chunks", "of memory", \.configuration.chunkCount)
        Figure("chunk_bytes", "of each", \.configuration.chunkByteCount)
        Figure("backing", "the memory that was really got", \.backing)
        Figure("kicks", "of a sender: calls of the kernel", \.kicks)
        Figure("refused", "of a sender: frames that the device did not take", \.refused)
        Figure("outages", "how often a sender found the device down", \.outages)
        Figure("sleeps", "of a receiver: how often it slept", \.sleeps)
        Figure("statistics", "what the kernel has counted (XDP_STATISTICS)", \.statistics)
    }

    init(
        _ device: NetDevice, _ socket: borrowing XDPSocket, attach: AttachMode?, kicks: UInt64? = nil,
        refused: UInt64? = nil, outages: UInt64? = nil, sleeps: UInt64? = nil
    ) throws(ToolError) {
        iface = device.name
        driver = device.driver
        self.attach = attach
        copyMode = socket.copyMode
        configuration = socket.configuration
        backing = "\(socket.backing)"
        self.kicks = kicks
        self.refused = refused
        self.outages = outages
        self.sleeps = sleeps
        statistics = try socket.statistics()
    }

    /// How frames really went, in a few words.
    package var mode: String {
        [attach?.rawValue, copyMode.rawValue, configuration.needWakeup ? "need-wakeup" : nil].compactMap { $0 }.joined(
            separator: ", ")
    }

    /// What makes a run's figures weak or surprising.
    ///
    /// - Parameter unsent: frames that a sender had taken and that had not left in the end.
    package func warnings(unsent: Int = 0) -> [String] {
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
