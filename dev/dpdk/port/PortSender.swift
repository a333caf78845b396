import CPacketFSDPDK
import CPacketFSShims
import Glibc
import PacketFSNet
import PacketFSNetTools
import PacketFSTools

/// Sends frames through a DPDK port, a burst at a time. A buffer that held a frame of the same payload has only its header
/// rewritten.
public final class PortSender: FrameSender {
    /// The longest frame that buffers are made for.
    public static let largestFrame = 9_600
    /// The pool that its frames are in.
    public let pool: OpaquePointer
    private let port: Port
    private let burst: Int
    /// Bytes of the longest frame.
    private let frameByteCount: Int
    /// Buffers of the pool: frames that are written and that the port has not taken yet are `pending` of them, from `head` on.
    private let buffers: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    @exclusivity(unchecked) private var head = 0
    @exclusivity(unchecked) private var pending = 0
    @exclusivity(unchecked) private var stallsInARow = 0
    /// What receives, on the same port, what is sent there; looked at after each burst.
    @exclusivity(unchecked) public var loop: (receiver: PortReceiver, work: FrameWork)?

    /// Makes a sender.
    ///
    /// - Parameters:
    ///   - port: where to.
    ///   - burst: frames of a burst, 1 to 256 (precondition).
    ///   - frameByteCount: the longest frame, below 65536 (precondition).
    public init(_ port: Port, burst: Int, frameByteCount: Int) throws(ToolError) {
        precondition(1...Port.maximumBurst ~= burst, "impossible burst")
        precondition(1...Int(UInt16.max) ~= frameByteCount, "impossible frame")
        self.port = port
        self.burst = burst
        pool = try Port.pool("pfs-tx-\(port.number)", frameByteCount: frameByteCount)
        self.frameByteCount = frameByteCount
        buffers = .allocate(capacity: Port.maximumBurst)
        buffers.initialize(repeating: nil, count: Port.maximumBurst)
    }

    deinit {
        giveUpPending()
        buffers.deallocate()
    }

    /// Writes and sends bursts until the port takes no more. What it does not take stays written. Never throws.
    public func send(_ producer: FrameProducer, first: UInt64, count: Int) throws(ToolError) -> Int {
        var taken = 0
        while taken < count {
            if pending == 0 {
                let wanted = min(burst, count - taken)
                guard take(wanted, byteCount: producer.byteCount) else { break }
                write(producer, first + UInt64(taken), wanted)
                (head, pending) = (0, wanted)
            }
            let offered = min(pending, count - taken)
            let sent = pass(offered)
            taken += sent
            if let loop { _ = loop.receiver.poll(loop.work) }
            if sent < offered { break }
        }
        return taken
    }

    /// Spins for a moment; after many in a row gives the CPU away. Never throws.
    public func waitForRoom(milliseconds: Int32) throws(ToolError) {
        guard loop == nil else { return }
        // Room comes in a microsecond, or another process has to run on this CPU before.
        stallsInARow += 1
        if stallsInARow > 64 { sched_yield() } else { for _ in 0..<32 { pfs_cpu_relax() } }
    }

    /// Sends an end frame, for which it waits at most 200 ms for room. Frames that were written and not taken are given up.
    public func sendEnd(_ producer: FrameProducer, after count: UInt64) throws(ToolError) -> Bool {
        giveUpPending()
        guard take(1, byteCount: EthernetHeader.minimumFrameByteCount), let buffer = buffers[0] else { return false }
        held(buffer).pointee = PFS_DPDK_NOTHING
        let byteCount = producer.writeEnd(after: count, into: memory(buffer))
        precondition(byteCount == EthernetHeader.minimumFrameByteCount, "an end frame has the least size")
        (head, pending) = (0, 1)
        // A receiver that is behind makes room in a moment.
        let deadline = Clock.monotonic() + 200_000_000
        while pass(1) == 0, Clock.monotonic() < deadline { usleep(1000) }
        defer { giveUpPending() }
        return pending == 0
    }

    /// With a loop, receives until nothing comes any more; else gives the other end up to 20 ms. Always 0: a port does not tell what
    /// it still holds.
    public func drain(milliseconds: Int32) throws(ToolError) -> Int {
        guard let loop else {
            // What the port has taken it may still hold, and a queue in shared memory goes when this process goes; but nobody
            // can tell.
            usleep(UInt32(min(max(0, milliseconds), 20)) * 1000)
            return 0
        }
        let deadline = Clock.monotonic() + UInt64(max(0, milliseconds)) * 1_000_000
        // A port that makes frames of its own never runs dry.
        while loop.receiver.poll(loop.work) > 0, Clock.monotonic() < deadline {}
        return 0
    }

    /// Takes buffers for frames of so many bytes: all or none.
    private func take(_ count: Int, byteCount: Int) -> Bool {
        pfs_dpdk_take(pool, buffers, UInt32(count), UInt16(byteCount)) > 0
    }

    /// Which frame a buffer still holds.
    private func held(_ buffer: UnsafeMutableRawPointer) -> UnsafeMutablePointer<UInt64> {
        (buffer + Int(PFS_DPDK_HELD)).assumingMemoryBound(to: UInt64.self)
    }

    private func memory(_ buffer: UnsafeMutableRawPointer) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: buffer + Int(PFS_DPDK_FRAME), count: frameByteCount)
    }

    /// Writes a burst. Pools give back first what came last: turned round, each buffer gets the payload that it still holds.
    private func write(_ producer: FrameProducer, _ first: UInt64, _ count: Int) {
        let last = held(buffers[count - 1].unsafelyUnwrapped).pointee
        if last != PFS_DPDK_NOTHING, PayloadWindows.index(of: last) == PayloadWindows.index(of: first) {
            for index in 0..<count / 2 {
                (buffers[index], buffers[count - 1 - index]) = (buffers[count - 1 - index], buffers[index])
            }
        }
        var sequence = first
        for index in 0..<count {
            let buffer = buffers[index].unsafelyUnwrapped
            let held = held(buffer)
            if held.pointee == PFS_DPDK_NOTHING {
                producer.write(sequence, into: memory(buffer))
            } else {
                producer.rewrite(sequence, over: held.pointee, in: memory(buffer))
            }
            held.pointee = sequence
            sequence += 1
        }
    }

    /// Offers the first `count` pending frames to the port.
    private func pass(_ count: Int) -> Int {
        let sent = Int(pfs_dpdk_send(port.number, buffers + head, UInt32(count)))
        head += sent
        pending -= sent
        if sent > 0 { stallsInARow = 0 }
        return sent
    }

    private func giveUpPending() {
        guard pending > 0 else { return }
        pfs_dpdk_release(buffers + head, UInt32(pending))
        pending = 0
    }
}
