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
    /// Frames that are written and that the port has not taken yet: `pending` of them, from `head` on.
    private let frames: UnsafeMutableBufferPointer<pfs_dpdk_frame>
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
    ///   - frameByteCount: the longest frame.
    public init(_ port: Port, burst: Int, frameByteCount: Int) throws(ToolError) {
        precondition(1...Port.maximumBurst ~= burst, "impossible burst")
        self.port = port
        self.burst = burst
        pool = try Port.pool("pfs-tx-\(port.number)", frameByteCount: frameByteCount)
        frames = .allocate(capacity: Port.maximumBurst)
        frames.initialize(repeating: pfs_dpdk_frame())
    }

    deinit {
        giveUpPending()
        frames.deallocate()
    }

    /// Writes and sends bursts until the port takes no more. What it does not take stays written. Never throws.
    public func send(_ producer: FrameProducer, first: UInt64, count: Int) throws(ToolError) -> Int {
        var taken = 0
        while taken < count {
            if pending == 0 {
                let wanted = min(burst, count - taken)
                guard pfs_dpdk_take(pool, frames.baseAddress, UInt32(wanted)) > 0 else { break }
                write(producer, first + UInt64(taken), wanted)
                (head, pending) = (0, wanted)
            }
            let offered = min(pending, count - taken)
            let sent = pass(offered)
            taken += sent
            loop.map { _ = $0.receiver.poll($0.work) }
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
        guard pfs_dpdk_take(pool, frames.baseAddress, 1) == 1 else { return false }
        frames[0].held.pointee = PFS_DPDK_NOTHING
        frames[0].length = UInt32(producer.writeEnd(after: count, into: frames[0].memory))
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

    /// Writes a burst. Pools give back first what came last: turned round, each buffer gets the payload that it still holds.
    private func write(_ producer: FrameProducer, _ first: UInt64, _ count: Int) {
        guard let frames = frames.baseAddress else { return }
        let length = UInt32(producer.byteCount)
        let last = frames[count - 1].held.pointee
        if last != PFS_DPDK_NOTHING, PayloadWindows.index(of: last) == PayloadWindows.index(of: first) {
            for index in 0..<count / 2 {
                let other = frames[index]
                frames[index] = frames[count - 1 - index]
                frames[count - 1 - index] = other
            }
        }
        var sequence = first
        for index in 0..<count {
            let frame = frames + index
            let held = frame.pointee.held.unsafelyUnwrapped
            if held.pointee == PFS_DPDK_NOTHING {
                producer.write(sequence, into: frame.pointee.memory)
            } else {
                producer.rewrite(sequence, over: held.pointee, in: frame.pointee.memory)
            }
            held.pointee = sequence
            frame.pointee.length = length
            sequence += 1
        }
    }

    /// Offers the first `count` pending frames to the port.
    private func pass(_ count: Int) -> Int {
        let sent = Int(pfs_dpdk_send(port.number, frames.baseAddress.map { $0 + head }, UInt32(count)))
        head += sent
        pending -= sent
        if sent > 0 { stallsInARow = 0 }
        return sent
    }

    private func giveUpPending() {
        guard pending > 0 else { return }
        pfs_dpdk_release(frames.baseAddress.map { $0 + head }, UInt32(pending))
        pending = 0
    }
}

extension pfs_dpdk_frame {
    fileprivate var memory: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: data, count: Int(room))
    }
}
