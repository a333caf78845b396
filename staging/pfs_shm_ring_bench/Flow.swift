import CPacketFSShims
import Glibc
import PacketFSRing
import SystemPackage

/// The two loops that are measured. The values are their own sequence numbers, so the consumer checks each of them with
/// one comparison.
enum Flow {
    /// What the consumer saw.
    struct Arrival {
        /// When the last value had been checked, on the monotonic clock.
        var finished: Int64
        /// Values that were not the one expected in their place.
        var mismatches: UInt64
    }

    /// Pushes the values 0, 1, 2, ... below `count`, `batch` at a time. `lock` is the ring's file, to find out whether the
    /// consumer is alive when the ring stays full.
    @inline(never)
    static func produce(
        _ count: UInt64, batch: Int, into ring: inout RingProducer, lock: FileDescriptor
    ) throws(BenchError) {
        var patience = Patience(peer: .consumer, lock: lock)
        if batch == 1 {
            var next: UInt64 = 0
            while next < count {
                if ring.tryPush(UInt32(truncatingIfNeeded: next)) {
                    next += 1
                } else {
                    try patience.wait()
                }
            }
            return
        }
        var next: UInt64 = 0
        var values = [UInt32](repeating: 0, count: batch)
        while next < count {
            let size = Int(min(UInt64(batch), count - next))
            for index in 0..<size {
                values[index] = UInt32(truncatingIfNeeded: next) &+ UInt32(truncatingIfNeeded: index)
            }
            var sent = 0
            while sent < size {
                let pushed = ring.push(contentsOf: values.span.extracting(sent..<size))
                sent += pushed
                if pushed == 0 {
                    try patience.wait()
                }
            }
            next += UInt64(size)
        }
    }

    /// Pops `count` values, at most `batch` at a time, and checks each of them.
    @inline(never)
    static func consume(
        _ count: UInt64, batch: Int, from ring: inout RingConsumer, lock: FileDescriptor
    ) throws(BenchError) -> Arrival {
        var patience = Patience(peer: .producer, lock: lock)
        var mismatches: UInt64 = 0
        var next: UInt64 = 0
        if batch == 1 {
            while next < count {
                if let value = ring.tryPop() {
                    mismatches &+= value == UInt32(truncatingIfNeeded: next) ? 0 : 1
                    next += 1
                } else {
                    try patience.wait()
                }
            }
            return Arrival(finished: now(), mismatches: mismatches)
        }
        var values = [UInt32](repeating: 0, count: batch)
        while next < count {
            var span = values.mutableSpan
            let popped = ring.pop(into: &span)
            if popped == 0 {
                try patience.wait()
                continue
            }
            var wrong: UInt32 = 0
            for index in 0..<popped {
                let expected = UInt32(truncatingIfNeeded: next) &+ UInt32(truncatingIfNeeded: index)
                wrong &+= values[index] == expected ? 0 : 1
            }
            mismatches &+= UInt64(wrong)
            next += UInt64(popped)
        }
        return Arrival(finished: now(), mismatches: mismatches)
    }

    /// The monotonic clock, which all processes share, in nanoseconds.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// What a side does when it cannot go on: spin, then give the CPU away, then sleep a little and see whether the peer is
/// still there.
private struct Patience {
    private let peer: Ring.Role
    private let lock: FileDescriptor
    private var rounds = 0

    init(peer: Ring.Role, lock: FileDescriptor) {
        self.peer = peer
        self.lock = lock
    }

    /// Rounds are counted over the whole run, not since the last success: it keeps the hot loops free of a reset, and
    /// giving the CPU away now and then costs nothing when both sides have one of their own.
    mutating func wait() throws(BenchError) {
        rounds &+= 1
        if rounds % 4096 != 0 {
            pfs_cpu_relax()
            return
        }
        sched_yield()
        guard rounds % (64 * 4096) == 0 else { return }
        usleep(50)
        let isThere: Bool
        do {
            isThere = try Ring.isTaken(peer, lock: lock)
        } catch {
            throw .ring(error)
        }
        guard isThere else { throw .peerGone("\(peer)") }
    }
}
