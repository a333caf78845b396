import CPacketFSDPDK
import Glibc
import PacketFSNet
import PacketFSTools

/// What DPDK says of a port, for reports.
package struct PortRow: ReportObject, Sendable {
    let port: UInt16
    package let name: String, driver: String, mac: String
    package let linkUp: Bool
    let linkMbps: UInt32
    package let mtu: UInt16
    let maxFrameBytes: UInt32
    package let maxRxQueues: UInt16, maxTxQueues: UInt16
    let maxRxDescriptors: UInt16, maxTxDescriptors: UInt16

    package static var figures: [Figure<Self>] {
        Figure("port", "its number", \.port)
        Figure("name", "such as `net_ring0`", \.name)
        Figure("driver", "its driver", \.driver)
        Figure("mac", "its hardware address", \.mac)
        Figure("link_up", "whether it has a link", \.linkUp)
        Figure(
            "link_mbps", "millions of bits per second that it claims; 0 or 4294967295 where it does not know",
            \.linkMbps)
        Figure("mtu", "largest network packet in bytes; an Ethernet frame has a header more", \.mtu)
        Figure("max_frame_bytes", "the longest frame that it receives", \.maxFrameBytes)
        Figure("max_rx_queues", "the most queues for receiving", \.maxRxQueues)
        Figure("max_tx_queues", "the most queues for sending", \.maxTxQueues)
        Figure("max_rx_descriptors", "the most entries of a queue for receiving", \.maxRxDescriptors)
        Figure("max_tx_descriptors", "the most entries of a queue for sending", \.maxTxDescriptors)
    }

    /// Asks DPDK about a port.
    package init(_ port: UInt16) throws(ToolError) {
        var raw = pfs_dpdk_port()
        let status = pfs_dpdk_describe(port, &raw)
        guard status == 0 else {
            throw ToolError(.unavailable, "there is no port \(port): \(String(cString: pfs_dpdk_error(status)))")
        }
        func text(_ field: some Any) -> String {
            withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }
        self.port = port
        name = text(raw.name)
        driver = text(raw.driver)
        mac = withUnsafeBytes(of: raw.mac) { "\(MACAddress(value: $0.reduce(0) { $0 << 8 | UInt64($1) }))" }
        linkUp = raw.link_is_up != 0
        linkMbps = raw.link_mbps
        mtu = raw.mtu
        maxFrameBytes = raw.max_frame
        maxRxQueues = raw.max_rx_queues
        maxTxQueues = raw.max_tx_queues
        maxRxDescriptors = raw.rx_descriptors
        maxTxDescriptors = raw.tx_descriptors
    }
}

/// A port that was set up with one queue each way and started, and the buffers for what it receives. Its end stops it.
public final class Port {
    /// Its number.
    package let number: UInt16
    /// What DPDK said of it when it had been started.
    package let row: PortRow
    /// Entries of its queues.
    package let receiveDescriptors: UInt16, transmitDescriptors: UInt16
    /// The longest frame that a buffer has room for.
    package let frameByteCount: Int
    private let pool: OpaquePointer

    /// The most frames of a burst.
    package static let maximumBurst = Int(PFS_DPDK_BURST)
    /// Buffers of a pool. Many more than a queue's entries: drivers hold on to some.
    static let bufferCount = 16_383

    /// Starts a port.
    ///
    /// - Parameters:
    ///   - number: one of the environment's ports.
    ///   - environment: it must outlive the port.
    ///   - frameByteCount: the longest frame to be received.
    /// - Throws: ``ToolExit/noInput`` if there is no such port, ``ToolExit/unavailable`` if it cannot be set up.
    package init(
        _ number: UInt16, of environment: borrowing Environment, frameByteCount: Int
    ) throws(ToolError) {
        let ports = environment.ports()
        guard ports.contains(number) else {
            let known = ports.map(String.init).joined(separator: ", ")
            throw ToolError(
                .noInput,
                "there is no port \(number): "
                    + (ports.isEmpty
                        ? "DPDK has none; --vdev names a virtual device, --pci looks for others" : "DPDK has \(known)"))
        }
        self.number = number
        self.frameByteCount = frameByteCount
        pool = try Self.pool("pfs-rx-\(number)", frameByteCount: frameByteCount)
        var (receive, transmit) = (UInt16(1024), UInt16(1024))
        let status = pfs_dpdk_open(number, pool, &receive, &transmit)
        (receiveDescriptors, transmitDescriptors) = (receive, transmit)
        do throws(ToolError) {
            guard status == 0 else {
                throw ToolError(
                    .unavailable, "port \(number) cannot be set up: \(String(cString: pfs_dpdk_error(status)))")
            }
            row = try PortRow(number)
        } catch {
            pfs_dpdk_close(number)
            pfs_dpdk_free_pool(pool)
            throw error
        }
    }

    deinit {
        pfs_dpdk_close(number)
        pfs_dpdk_free_pool(pool)
    }

    /// A pool of buffers.
    static func pool(_ name: String, frameByteCount: Int) throws(ToolError) -> OpaquePointer {
        var status: Int32 = 0
        guard let pool = pfs_dpdk_pool(name, UInt32(bufferCount), UInt32(frameByteCount), &status) else {
            throw ToolError(
                .unavailable,
                "no memory for \(bufferCount) buffers of \(frameByteCount) bytes: "
                    + "\(String(cString: pfs_dpdk_error(status))); a larger --memory-mb may help")
        }
        return pool
    }

    /// The longest frame that can be sent: by the port's MTU, which does not count the Ethernet header.
    package var largestSent: Int { Int(row.mtu) + EthernetHeader.byteCount }

    /// Waits until the link is up: virtual devices that connect to another process take a moment.
    package func awaitLink(seconds: Double) throws(ToolError) {
        let deadline = Clock.monotonic() + UInt64(seconds * 1e9)
        while pfs_dpdk_link_is_up(number) == 0 {
            guard Clock.monotonic() < deadline else {
                throw ToolError(.unavailable, "the link of \(row.name) is down: is the other end there?")
            }
            usleep(10_000)
        }
    }

    /// What the driver has counted.
    package func counters() -> PortCounters? {
        var raw = pfs_dpdk_counters()
        return pfs_dpdk_count(number, &raw) == 0 ? PortCounters(raw) : nil
    }
}

/// What a port's driver has counted; a driver may count less than there is to count.
package struct PortCounters: ReportObject, Sendable {
    private let received: UInt64, sent: UInt64, receiveErrors: UInt64, sendErrors: UInt64
    let missed: UInt64, noBuffer: UInt64

    package static var figures: [Figure<Self>] {
        Figure("received", "frames", \.received)
        Figure("sent", "frames", \.sent)
        Figure("missed", "frames that were lost because the receive queue was full", \.missed)
        Figure("receive_errors", "frames that could not be received", \.receiveErrors)
        Figure("send_errors", "frames that could not be sent", \.sendErrors)
        Figure("no_buffer", "frames that were lost because there was no free buffer", \.noBuffer)
    }

    fileprivate init(_ raw: pfs_dpdk_counters) {
        received = raw.received
        sent = raw.sent
        missed = raw.missed
        receiveErrors = raw.receive_errors
        sendErrors = raw.send_errors
        noBuffer = raw.no_buffer
    }
}

/// What came back to a sender on its own port.
package struct LoopFigures: ReportObject {
    private let work: FrameWork
    package let verified: Bool?

    package init(_ work: FrameWork) {
        self.work = work
        verified = work.verify()
    }

    package var difference: String? { work.firstMismatch }

    package static var figures: [Figure<Self>] {
        Figure("frames", "of the stream, each number once", \.work.counts.frames)
        Figure("bytes", "of frames, link header and padding included", \.work.counts.bytes)
        Figure("worked_bytes", "that programs worked on", \.work.counts.workedBytes)
        Figure("lost", "how many did not come", \.work.lost)
        Figure("duplicates", "frames whose number had come before", \.work.sequences.duplicates)
        Figure("reordered", "frames behind a higher number", \.work.sequences.reordered)
        Figure("foreign", "frames that are none of ours", \.work.counts.foreign)
        Figure("malformed", "frames that cannot be read", \.work.counts.malformed)
        Figure("bad_checksums", "frames whose checksum is wrong", \.work.counts.badChecksums)
        Figure("rejected", "frames whose record or program cannot be executed", \.work.counts.rejected)
        Figure("totals", "one for each yielding operation of each program", \.work.totals)
        Figure("verified", "whether it was as the seed calls for; null for a run that did not look", \.verified)
        Figure("difference", "the first difference", \.difference)
    }

    /// For people.
    package var summary: String {
        let counts = work.counts
        return "\(counts.frames) frames, \(work.lost) lost, \(counts.foreign) foreign, "
            + "\(counts.malformed + counts.badChecksums + counts.rejected) refused"
            + (verified.map { $0 ? ", verified" : ", NOT as the reference's" } ?? "")
    }
}

/// What only DPDK has to say about a run: `result.path` of a report.
package struct PortPath: ReportObject {
    private let hugePages: Bool
    private let port: PortRow
    private let rxDescriptors: UInt16, txDescriptors: UInt16
    private let burst: Int
    private let polledFrames: UInt64?, polledFramesPerS: Double?
    private let counters: PortCounters?
    private let loop: LoopFigures?

    package static var figures: [Figure<Self>] {
        Figure("dpdk", "its version") { _ in Environment.version }
        Figure("huge_pages", "whether its memory is on huge pages", \.hugePages)
        Figure("port", "the port", \.port)
        Figure("rx_descriptors", "entries of its queue for receiving", \.rxDescriptors)
        Figure("tx_descriptors", "entries of its queue for sending", \.txDescriptors)
        Figure("burst", "frames at a time", \.burst)
        Figure("polled_frames", "that the port gave, ours or not; null for a sender", \.polledFrames)
        Figure("polled_frames_per_s", "of polling", \.polledFramesPerS)
        Figure("counters", "what the driver has counted; null where it does not", \.counters)
        Figure("loop", "what came back on the same port; null without `--loop`", \.loop)
    }

    /// Collects it.
    package init(
        _ environment: borrowing Environment, _ port: Port, burst: Int, receiver: PortReceiver?,
        loop: LoopFigures? = nil
    ) {
        hugePages = environment.hasHugePages
        self.port = port.row
        rxDescriptors = port.receiveDescriptors
        txDescriptors = port.transmitDescriptors
        self.burst = burst
        polledFrames = receiver?.polled
        polledFramesPerS = receiver?.polledPerSecond
        counters = port.counters()
        self.loop = loop
    }

    /// What makes a run's figures weak or surprising.
    package var warnings: [String] {
        guard let counters, counters.missed + counters.noBuffer > 0 else { return [] }
        return [
            "\(port.name) dropped \(counters.missed) frames with its queue full, \(counters.noBuffer) for want of buffers"
        ]
    }

    /// How frames really went, in a few words.
    package var mode: String { "\(port.driver), \(hugePages ? "huge pages" : "ordinary pages")" }
}
