import CPacketFSDPDK
import Glibc
import PacketFSNet
import PacketFSTools

/// What DPDK says of a port, for reports.
public struct PortRow: Encodable, Sendable {
    /// Its number.
    public let port: UInt16
    /// Its name, such as `net_ring0`.
    public let name: String
    /// The driver.
    public let driver: String
    /// Hardware address.
    public let mac: String
    /// Whether it has a link.
    public let linkUp: Bool
    /// Millions of bits per second that it claims; 0 or 4294967295 where it does not know.
    let linkMbps: UInt32
    /// Largest network packet in bytes; an Ethernet frame has a header more.
    public let mtu: UInt16
    /// The longest frame that it receives.
    let maxFrameBytes: UInt32
    /// The most queues.
    public let maxRxQueues: UInt16, maxTxQueues: UInt16
    let maxRxDescriptors: UInt16
    let maxTxDescriptors: UInt16

    /// Asks DPDK about a port.
    public init(_ port: UInt16) throws(ToolError) {
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
    public let number: UInt16
    /// What DPDK said of it when it had been started.
    public let row: PortRow
    /// Entries of its queues.
    public let receiveDescriptors: UInt16, transmitDescriptors: UInt16
    /// The longest frame that a buffer has room for.
    public let frameByteCount: Int
    private let pool: OpaquePointer

    /// The most frames of a burst.
    public static let maximumBurst = Int(PFS_DPDK_BURST)
    /// Buffers of a pool. Many more than a queue's entries: drivers hold on to some.
    static let bufferCount = 16_383

    /// Starts a port.
    ///
    /// - Parameters:
    ///   - number: one of the environment's ports.
    ///   - environment: it must outlive the port.
    ///   - frameByteCount: the longest frame to be received.
    /// - Throws: ``ToolExit/noInput`` if there is no such port, ``ToolExit/unavailable`` if it cannot be set up.
    public init(
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
    public var largestSent: Int { Int(row.mtu) + EthernetHeader.byteCount }

    /// Waits until the link is up: virtual devices that connect to another process take a moment.
    public func awaitLink(seconds: Double) throws(ToolError) {
        let deadline = Clock.monotonic() + UInt64(seconds * 1e9)
        while pfs_dpdk_link_is_up(number) == 0 {
            guard Clock.monotonic() < deadline else {
                throw ToolError(.unavailable, "the link of \(row.name) is down: is the other end there?")
            }
            usleep(10_000)
        }
    }

    /// What the driver has counted.
    public func counters() -> PortCounters? {
        var raw = pfs_dpdk_counters()
        return pfs_dpdk_count(number, &raw) == 0 ? PortCounters(raw) : nil
    }
}

/// What a port's driver has counted; a driver may count less than there is to count.
public struct PortCounters: Encodable, Sendable {
    let received: UInt64
    let sent: UInt64
    /// Frames that were lost because the receive queue was full.
    public let missed: UInt64
    let receiveErrors: UInt64
    let sendErrors: UInt64
    /// Frames that were lost because there was no free buffer.
    public let noBuffer: UInt64

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
public struct LoopFigures: Encodable, Sendable {
    let frames: UInt64
    let bytes: UInt64
    let workedBytes: UInt64
    let lost: UInt64
    let duplicates: UInt64
    let reordered: UInt64
    let foreign: UInt64
    let malformed: UInt64
    let badChecksums: UInt64
    let rejected: UInt64
    let totals: [ProgramTotal]
    /// Whether it was as the seed calls for; nil for a run that did not look.
    public let verified: Bool?
    /// The first difference.
    public let difference: String?

    /// Collects them.
    public init(_ work: FrameWork) {
        verified = work.verify()
        difference = work.firstMismatch
        frames = work.counts.frames
        bytes = work.counts.bytes
        workedBytes = work.counts.workedBytes
        lost = work.lost
        duplicates = work.sequences.duplicates
        reordered = work.sequences.reordered
        foreign = work.counts.foreign
        malformed = work.counts.malformed
        badChecksums = work.counts.badChecksums
        rejected = work.counts.rejected
        totals = work.totals
    }

    /// For people.
    public var summary: String {
        "came back: \(frames) frames, \(lost) lost, \(foreign) foreign, \(malformed + badChecksums + rejected) refused"
            + (verified.map { $0 ? ", verified" : ", NOT as the reference's" } ?? "")
    }
}

/// What only DPDK has to say about a run: `result.path` of a report.
public struct PortPath: Encodable {
    let dpdk: String
    let hugePages: Bool
    let port: PortRow
    let rxDescriptors: UInt16
    let txDescriptors: UInt16
    let burst: Int
    /// Frames that the port gave, ours or not, and per second of polling.
    let polledFrames: UInt64?
    let polledFramesPerS: Double?
    let counters: PortCounters?
    /// What came back on the same port; only with --loop.
    let loop: LoopFigures?

    /// Collects it.
    public init(
        _ environment: borrowing Environment, _ port: Port, burst: Int, receiver: PortReceiver?,
        loop: LoopFigures? = nil
    ) {
        dpdk = Environment.version
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
    public var warnings: [String] {
        guard let counters, counters.missed + counters.noBuffer > 0 else { return [] }
        return [
            "\(port.name) dropped \(counters.missed) frames with its queue full, \(counters.noBuffer) for want of buffers"
        ]
    }

    /// How frames really went, in a few words.
    public var mode: String { "\(port.driver), \(hugePages ? "huge pages" : "ordinary pages")" }
}
