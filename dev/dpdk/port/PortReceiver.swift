import CPacketFSDPDK
import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSNet
import PacketFSNetTools
import PacketFSTools

/// Receives frames from a DPDK port by looking again and again, as DPDK does: nothing wakes it. Frames are worked on in the
/// buffers that the driver put them into.
public final class PortReceiver: FrameReceiver {
    private let port: Port
    private let burst: Int
    private let own: OpaquePointer?
    private let buffers: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    private let frames: UnsafeMutablePointer<pfs_dpdk_received>
    /// Frames that the port gave, ours or not.
    @exclusivity(unchecked) public private(set) var polled: UInt64 = 0
    @exclusivity(unchecked) private var first: UInt64 = 0
    @exclusivity(unchecked) private var last: UInt64 = 0
    /// Silence after which the CPU is given to others for a moment, in nanoseconds.
    private static let patience: UInt64 = 1_000_000

    /// Makes a receiver.
    ///
    /// - Parameters:
    ///   - port: where from.
    ///   - burst: frames of a burst, 1 to 256 (precondition).
    ///   - own: the pool that this process sends from on the same port, or nil.
    public init(_ port: Port, burst: Int, own: OpaquePointer? = nil) {
        precondition(1...Port.maximumBurst ~= burst, "impossible burst")
        self.port = port
        self.burst = burst
        self.own = own
        frames = .allocate(capacity: Port.maximumBurst)
        frames.initialize(repeating: pfs_dpdk_received(), count: Port.maximumBurst)
        buffers = .allocate(capacity: Port.maximumBurst)
        buffers.initialize(repeating: nil, count: Port.maximumBurst)
    }

    deinit {
        frames.deallocate()
        buffers.deallocate()
    }

    /// Frames that the port gave, per second between the first and the last time that it gave any.
    public var polledPerSecond: Double { last > first ? Double(polled) * 1e9 / Double(last - first) : 0 }

    /// Receives up to 64 bursts; polls for at most so many milliseconds for the first. Never throws.
    public func receive(_ work: FrameWork, milliseconds: Int32) throws(ToolError) -> Int {
        let start = Clock.monotonic()
        var now = start
        repeat {
            // A good many bursts between two looks at the clock and at all that the caller looks at.
            var count = 0
            for _ in 0..<64 {
                let got = poll(work)
                count += got
                if got == 0 { break }
            }
            now = Clock.monotonic()
            if count > 0 {
                if first == 0 { first = now }
                last = now
                return count
            }
            if now - max(start, last) > Self.patience { usleep(50) } else { pfs_cpu_relax() }
        } while now - start < UInt64(milliseconds) * 1_000_000
        return 0
    }

    /// Receives one burst, if there is one.
    ///
    /// - Returns: how many frames.
    func poll(_ work: FrameWork) -> Int {
        var kept: UInt32 = 0
        let count = pfs_dpdk_receive(
            port.number, own, FrameFormat.etherType.bigEndian, buffers, frames, UInt32(burst), &kept)
        guard count > 0 else { return 0 }
        if kept < count { work.countForeign(Int(count - kept)) }
        for index in 0..<Int(kept) {
            work.take(UnsafeMutableRawBufferPointer(start: frames[index].data, count: Int(frames[index].length)))
        }
        work.finishBatch()
        pfs_dpdk_release(buffers, count)
        polled += UInt64(count)
        return Int(count)
    }
}
