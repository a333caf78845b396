import CXDP
import Glibc
import PacketFSMemory
import PacketFSTools
import SystemPackage

/// Whether the kernel copies frames between its packet buffers and the socket's memory.
public enum CopyMode: String, Sendable, CaseIterable {
    /// It copies each frame once.
    case copy
    /// The device reads and writes the socket's memory itself.
    case zeroCopy = "zero-copy"
}

/// How a socket is to be made.
public struct XDPSocketConfiguration: Sendable {
    /// The queue of the device that it is bound to.
    public var queue: Int
    /// Whether it shall receive, send, or both.
    public var receives: Bool, sends: Bool
    /// A demand, or nil for what the kernel chooses (zero-copy where the driver has it).
    public var copyMode: CopyMode?
    /// Chunks of memory: a power of two. With both directions, half of them are for either.
    public var chunkCount: Int
    /// Bytes of a chunk: 2048 or 4096. One frame lies in one chunk.
    public var chunkByteCount: Int
    /// Bytes that the kernel leaves free in a chunk before a received frame, beyond its own 256.
    public var headroom: Int
    /// Whether the kernel may ask to be woken instead of looking at the rings all the time.
    public var needWakeup: Bool
    /// The pages for the chunks.
    public var pages: PagePreference

    /// Defaults: queue 0, 4096 chunks of 2048 bytes, wake-ups on demand, the best pages there are.
    public init(receives: Bool, sends: Bool) {
        queue = 0
        self.receives = receives
        self.sends = sends
        copyMode = nil
        chunkCount = 4096
        chunkByteCount = 2048
        headroom = 0
        needWakeup = true
        pages = .automatic
    }
}

/// What the kernel has counted for a socket since it was made (XDP_STATISTICS, Linux Documentation/networking/af_xdp.rst).
public struct XDPStatistics: Sendable, Equatable, ReportObject {
    var rxDropped: UInt64 = 0, rxRingFull: UInt64 = 0, rxFillRingEmpty: UInt64 = 0
    var rxInvalidDescriptors: UInt64 = 0, txInvalidDescriptors: UInt64 = 0, txRingEmpty: UInt64 = 0

    package static var figures: [Figure<Self>] {
        Figure("rx_dropped", "received frames dropped for other reasons, such as one longer than a chunk", \.rxDropped)
        Figure("rx_ring_full", "received frames dropped because the receive ring was full", \.rxRingFull)
        Figure("rx_fill_ring_empty", "received frames dropped because there was no free chunk", \.rxFillRingEmpty)
        Figure("rx_invalid_descriptors", "entries of the fill ring that name no chunk", \.rxInvalidDescriptors)
        Figure(
            "tx_invalid_descriptors", "entries of the transmit ring that name no chunk, or too many bytes",
            \.txInvalidDescriptors)
        Figure("tx_ring_empty", "how often the kernel looked for something to send and found nothing", \.txRingEmpty)
    }

    /// Frames that had arrived for the socket and were lost.
    public var lost: UInt64 { rxDropped + rxRingFull + rxFillRingEmpty }
}
