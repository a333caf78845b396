import CPacketFSShims
import Glibc
import PacketFSRing
import PacketFSTools

/// What the producer and the consumer do with a batch of values besides handing it over.
///
/// In a comparison ours uses the functions that were compiled with the peers' loops: with its own, which are compiled for
/// any processor of the architecture, large batches would compare compilers and not rings.
struct BatchWork {
    /// Writes the values that start with the second argument, one more each, as many as the third says.
    typealias Fill = @convention(c) (UnsafeMutablePointer<UInt32>, UInt32, Int) -> Void
    /// How many values are not what ``Fill`` writes.
    typealias Check = @convention(c) (UnsafePointer<UInt32>, UInt32, Int) -> UInt64

    let fill: Fill
    let check: Check

    /// For runs without peers.
    static var own: BatchWork {
        BatchWork(
            fill: { values, first, count in
                for index in 0..<count { values[index] = first &+ UInt32(truncatingIfNeeded: index) }
            },
            check: { values, first, count in
                // One pass without branches, which compilers vectorise; what is wrong is counted only if anything is.
                var difference: UInt32 = 0
                for index in 0..<count {
                    difference |= values[index] ^ (first &+ UInt32(truncatingIfNeeded: index))
                }
                guard difference != 0 else { return 0 }
                return UInt64((0..<count).count { values[$0] != first &+ UInt32(truncatingIfNeeded: $0) })
            })
    }
}

/// The loops that are measured, around our ring; peers.txt has the same for the others. The values are their own sequence
/// numbers, so the consumer checks each of them with one comparison.
enum MeasuredLoops {
    /// Pushes the values 0, 1, 2, ... below `count`, `batch` at a time.
    @inline(never)
    static func produce(
        _ count: UInt64, batch: Int, work: BatchWork, into ring: inout RingProducer, link: Int32
    ) throws(ToolError) {
        var backoff = Backoff(link: link)
        if batch == 1 {
            var next: UInt64 = 0
            while next < count {
                if ring.tryPush(UInt32(truncatingIfNeeded: next)) {
                    next += 1
                } else {
                    try backoff.wait()
                }
            }
            return
        }
        var next: UInt64 = 0
        let values = UnsafeMutablePointer<UInt32>.allocate(capacity: batch)
        defer { values.deallocate() }
        while next < count {
            let size = Int(min(UInt64(batch), count - next))
            work.fill(values, UInt32(truncatingIfNeeded: next), size)
            var sent = 0
            while sent < size {
                let pushed = ring.push(contentsOf: Span(_unsafeStart: values + sent, count: size - sent))
                sent += pushed
                if pushed == 0 {
                    try backoff.wait()
                }
            }
            next += UInt64(size)
        }
    }

    /// Pops `count` values, at most `batch` at a time, and checks each of them. Returns how many were not the one expected
    /// in their place.
    @inline(never)
    static func consume(
        _ count: UInt64, batch: Int, work: BatchWork, from ring: inout RingConsumer, link: Int32
    ) throws(ToolError) -> UInt64 {
        var backoff = Backoff(link: link)
        var mismatches: UInt64 = 0
        var next: UInt64 = 0
        if batch == 1 {
            while next < count {
                if let value = ring.tryPop() {
                    mismatches &+= value == UInt32(truncatingIfNeeded: next) ? 0 : 1
                    next += 1
                } else {
                    try backoff.wait()
                }
            }
            return mismatches
        }
        let values = UnsafeMutablePointer<UInt32>.allocate(capacity: batch)
        values.initialize(repeating: 0, count: batch)
        defer { values.deallocate() }
        while next < count {
            var span = MutableSpan(_unsafeStart: values, count: batch)
            let popped = ring.pop(into: &span)
            if popped == 0 {
                try backoff.wait()
                continue
            }
            mismatches &+= work.check(values, UInt32(truncatingIfNeeded: next), popped)
            next += UInt64(popped)
        }
        return mismatches
    }

    /// Sends `samples.count` values there and back, one at a time; notes how long each took in nanoseconds. Returns how
    /// many came back changed.
    @inline(never)
    static func ping(
        _ samples: UnsafeMutableBufferPointer<UInt32>, out: inout RingProducer, back: inout RingConsumer, link: Int32
    ) throws(ToolError) -> UInt64 {
        var backoff = Backoff(link: link)
        var mismatches: UInt64 = 0
        for index in samples.indices {
            let started = Clock.monotonic()
            let value = UInt32(truncatingIfNeeded: started)
            while !out.tryPush(value) { try backoff.wait(relaxes: false) }
            while true {
                if let answer = back.tryPop() {
                    samples[index] = UInt32(truncatingIfNeeded: Clock.monotonic() &- started)
                    mismatches &+= answer == value ? 0 : 1
                    break
                }
                try backoff.wait(relaxes: false)
            }
        }
        return mismatches
    }

    /// Sends back what comes, `count` times. The values are the low bits of the time at which they were sent: with
    /// `samples`, notes how long each was on its way.
    @inline(never)
    static func pong(
        _ count: Int, samples: UnsafeMutableBufferPointer<UInt32>?, from: inout RingConsumer, back: inout RingProducer,
        link: Int32
    ) throws(ToolError) {
        var backoff = Backoff(link: link)
        for index in 0..<count {
            while true {
                if let value = from.tryPop() {
                    if let samples { samples[index] = UInt32(truncatingIfNeeded: Clock.monotonic()) &- value }
                    while !back.tryPush(value) { try backoff.wait(relaxes: false) }
                    break
                }
                try backoff.wait(relaxes: false)
            }
        }
    }

    /// Sends `count` records of `byteCount` bytes, copied from memory of this side and numbered in their first 8 bytes.
    @inline(never)
    static func produceRecords(
        _ count: UInt64, byteCount: Int, into ring: inout RingProducer, link: Int32
    ) throws(ToolError) {
        var backoff = Backoff(link: link)
        let words = (0..<byteCount / 8).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 }
        var next: UInt64 = 0
        while next < count {
            do {
                guard let record = try ring.reserve(byteCount: byteCount) else {
                    try backoff.wait()
                    continue
                }
                words.withUnsafeBytes { record.copyMemory(from: $0) }
                record.storeBytes(of: next, as: UInt64.self)
            } catch {
                throw ToolError(any: error)
            }
            ring.commit()
            next += 1
        }
    }

    /// Reads `count` such records in place, each whole. Returns how many were not the ones expected.
    @inline(never)
    static func consumeRecords(
        _ count: UInt64, byteCount: Int, from ring: inout RingConsumer, link: Int32
    ) throws(ToolError) -> UInt64 {
        var backoff = Backoff(link: link)
        let wordCount = byteCount / 8
        let expected = (1..<wordCount).reduce(0) { $0 &+ UInt64($1) &* 0x9e37_79b9_7f4a_7c15 }
        var mismatches: UInt64 = 0
        var next: UInt64 = 0
        while next < count {
            do {
                guard let record = try ring.peek() else {
                    try backoff.wait()
                    continue
                }
                guard record.count >= byteCount else {
                    throw ToolError(.verificationFailed, "a record of \(byteCount) bytes ends outside the slab")
                }
                let words = UnsafeRawBufferPointer(rebasing: record[..<byteCount]).assumingMemoryBound(to: UInt64.self)
                var sum: UInt64 = 0
                for index in 1..<wordCount { sum &+= words[index] }
                mismatches &+= words[0] == next && sum == expected ? 0 : 1
            } catch {
                throw ToolError(any: error)
            }
            ring.release()
            next += 1
        }
        return mismatches
    }
}

/// What a side does when it cannot go on: spin, then give the CPU away, then sleep a little and see whether the peer is
/// still there: the kernel hangs the socket between the two up when a side ends.
private struct Backoff {
    private let link: Int32
    private var rounds = 0

    init(link: Int32) {
        self.link = link
    }

    /// Rounds are counted over the whole run, not since the last success: it keeps the hot loops free of a reset, and
    /// giving the CPU away now and then costs nothing when both sides have one of their own.
    mutating func wait(relaxes: Bool = true) throws(ToolError) {
        rounds &+= 1
        if rounds % 4096 != 0 {
            if relaxes { pfs_cpu_relax() }
            return
        }
        sched_yield()
        guard rounds % (64 * 4096) == 0 else { return }
        usleep(50)
        guard Link.isUp(link) == 1 else { throw Link.gone }
    }
}
