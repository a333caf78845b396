import PacketFSRing
import Synchronization
import Testing

/// What a peer writes into the region may make a side fail, but never touch anything outside: the regions end at pages
/// that cannot be accessed, and every buffer that comes back is read or written as a whole.
@Suite("A peer that breaks the rules")
struct HostilePeerTests {
    // 64 slots and a slab that ends with the page.
    static let slots: UInt32 = 64
    static let slabByteCount: UInt64 = 4096 - 512 - 256

    static func region(firstIndex: UInt32 = 0) throws -> TestRegion {
        try TestRegion(slots: slots, slabByteCount: slabByteCount, firstIndex: firstIndex)
    }

    @Test("A head beyond the slots: pop finds nothing, peek and wait throw; an honest head heals it")
    func lyingHead() throws {
        let region = try Self.region()
        var consumer = try region.consumer()
        for lie: UInt32 in [65, 1000, .max] {
            region[128] = lie
            check(consumer.tryPop() == nil)
            var values: [UInt32] = [0, 0]
            var span = values.mutableSpan
            check(consumer.pop(into: &span) == 0)
            check(consumer.count <= 64)
            check(isCorrupt { _ = try consumer.peek() })
            check(!consumer.skip(), "no entry is to blame")
            check(isCorrupt { _ = try consumer.waitForRecords(timeout: nil) })
        }
        region[128] = UInt32(1)
        check(try consumer.waitForRecords(timeout: .zero))
        check(consumer.tryPop() == 0)
    }

    @Test("A head that goes back: what was peeked at can be released all the same")
    func retreatingHead() throws {
        let region = try Self.region()
        var producer = try region.producer()
        var consumer = try region.consumer()
        for value in 0..<UInt32(8) { check(producer.tryPush(value)) }
        check(try consumer.peek(ahead: 7) != nil)
        for lie: UInt32 in [7, 1, 0] {
            region[128] = lie
            check(isCorrupt { _ = try consumer.peek(ahead: 8) })
            check(isCorrupt { _ = try consumer.waitForRecords(timeout: nil) })
            var none: [UInt32] = []
            var span = none.mutableSpan
            check(consumer.pop(into: &span) == 0)
            consumer.release()
        }
        // Five are left, of which the last lie denies all.
        var values = [UInt32](repeating: 0, count: 9)
        var span = values.mutableSpan
        check(consumer.pop(into: &span) == 5)
        check(values[..<5] == [3, 4, 5, 6, 7])
    }

    @Test("A tail beyond head: push is refused, reserve and wait throw; an honest tail heals it")
    func lyingTail() throws {
        let region = try Self.region()
        var producer = try region.producer()
        for value in 0..<64 { check(producer.tryPush(UInt32(value))) }
        for lie: UInt32 in [65, 1000, .max] {
            region[256] = lie
            check(!producer.tryPush(0))
            check(producer.push(contentsOf: [1, 2].span) == 0)
            check(producer.count <= 64)
            check(isCorrupt { _ = try producer.reserve(byteCount: 1) })
            check(isCorrupt { _ = try producer.waitForSpace(timeout: nil) })
        }
        region[256] = UInt32(1)
        check(try producer.waitForSpace(timeout: .zero))
        check(producer.tryPush(0))
    }

    @Test("A tail that goes back is reported wherever the producer looks at it, and frees nothing")
    func retreatingTail() throws {
        let region = try Self.region()
        var producer = try region.producer()
        for value in 0..<UInt32(64) { check(producer.tryPush(value)) }
        region[256] = UInt32(5)
        check(try producer.releasedPosition() == 5)
        for lie: UInt32 in [65, .max, 0, 4] {
            region[256] = lie
            check(isCorrupt { _ = try producer.releasedPosition() })
            check(isCorrupt { _ = try producer.waitForRelease(below: 1, timeout: nil) })
        }
        // What had been granted stays granted, and no more than that.
        check(producer.push(contentsOf: [UInt32](repeating: 0, count: 64).span) == 5)
        check(!producer.tryPush(0))
        for lie: UInt32 in [4, 0, 70] {
            region[256] = lie
            check(isCorrupt { _ = try producer.reserve(byteCount: 1) })
            check(isCorrupt { _ = try producer.waitForSpace(timeout: nil) })
        }
        region[256] = UInt32(69)
        check(try producer.waitForRelease(below: 1, timeout: .zero))
        check(try producer.releasedPosition() == 69)
    }

    @Test(
        "A tail that moves to and fro looks like no more progress than there are entries",
        arguments: 0..<20 as Range<UInt64>)
    func oscillatingTail(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let first = UInt32.max - 30
        let region = try Self.region(firstIndex: first)
        var producer = try region.producer()
        for value in 0..<UInt32(64) { check(producer.tryPush(value)) }
        var progress = 0
        var refused = 0
        var released = first
        for _ in 0..<10_000 {
            region[256] = first &+ UInt32.random(in: 0...64, using: &random)
            do {
                let position = try producer.releasedPosition()
                check(position &- first <= 64 && position &- first >= released &- first, "seed \(seed)")
                if position != released { progress += 1 }
                released = position
            } catch {
                guard case .corrupt = error else { throw error }
                refused += 1
            }
        }
        check(progress <= 64 && refused > 0, "seed \(seed): \(progress) moves, \(refused) refused")
    }

    @Test("A slot outside the slab is an error and can be passed over")
    func wildSlot() throws {
        let region = try Self.region()
        var producer = try region.producer()
        var consumer = try region.consumer()
        let units = UInt32(Self.slabByteCount / 64)
        for (value, isWild) in [(0, false), (units, true), (units - 1, false), (.max, true)] as [(UInt32, Bool)] {
            check(producer.tryPush(value))
            if isWild {
                check(isCorrupt { _ = try consumer.peek() })
                check(consumer.skip())
            } else {
                check(try consumer.peek()?.count == Int(units - value) * 64)
                consumer.release()
            }
        }
        check(!consumer.skip())
        check(try consumer.peek() == nil)
    }

    @Test("The oldest slot overwritten: the producer refuses, or stays inside the slab")
    func overwrittenSlot() throws {
        let region = try Self.region()
        var producer = try region.producer()
        while let record = try producer.reserve(byteCount: 128) {
            fill(record, seed: 1)
            producer.commit()
        }
        for lie: UInt32 in [52, 1 << 26, .max] {
            region[512] = lie
            check(isCorrupt { _ = try producer.reserve(byteCount: 128) })
        }
        for lie in 0..<UInt32(52) {
            region[512] = lie
            if let record = try producer.reserve(byteCount: 128) {
                fill(record, seed: 2)
                producer.discard()
            }
        }
    }

    @Test("Random garbage everywhere", arguments: 0..<20 as Range<UInt64>)
    func garbage(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let region = try Self.region(firstIndex: .max - 40)
        var producer = try region.producer()
        var consumer = try region.consumer()
        var served = 0
        var refused = 0
        var released = try producer.releasedPosition()
        for _ in 0..<2000 {
            // Half of the lies are near the truth, where they are believed.
            for offset in [128, 132, 136, 256, 260, 512 + 4 * Int.random(in: 0..<64, using: &random)] {
                switch UInt.random(in: 0..<8, using: &random) {
                case 0: region[offset] = UInt32.random(in: 0 ... .max, using: &random)
                case 1: region[offset] = region[offset, as: UInt32.self] &+ UInt32.random(in: 0..<70, using: &random)
                case 2: region[offset] = region[offset, as: UInt32.self] &- UInt32.random(in: 0..<70, using: &random)
                default: break
                }
            }
            do {
                switch UInt.random(in: 0..<7, using: &random) {
                case 0: _ = producer.tryPush(UInt32.random(in: 0..<60, using: &random))
                case 1: _ = consumer.tryPop()
                case 2: _ = producer.push(contentsOf: [0, 1, 2, 3, 50, 51, 52].span)
                case 3:
                    var values = [UInt32](repeating: 0, count: 9)
                    var span = values.mutableSpan
                    _ = consumer.pop(into: &span)
                case 4:
                    let size = Int.random(in: 0...Int(Self.slabByteCount), using: &random)
                    if let record = try producer.reserve(byteCount: size) {
                        fill(record, seed: seed)
                        producer.discard()
                        served += 1
                    }
                case 5:
                    if let record = try producer.reserve(byteCount: 64) {
                        fill(record, seed: seed)
                        producer.commit()
                        producer.notifyConsumer()
                        served += 1
                    }
                default:
                    if let record = try consumer.peek() {
                        check(isIntact(record, byteCount: record.count, seed: .max) == false)
                        consumer.release()
                        consumer.notifyProducer()
                        served += 1
                    }
                }
            } catch {
                guard case .corrupt = error else { throw error }
                refused += 1
            }
            check(producer.count <= 64 && consumer.count <= 64)
            if let position = try? producer.releasedPosition() {
                check(position &- released <= producer.position &- released, "seed \(seed): it went back")
                released = position
            }
        }
        // Otherwise the test tests nothing.
        check(served > 0 && refused > 0, "seed \(seed): \(served) served, \(refused) refused")
    }

    @Test("The header overwritten while both sides work")
    func scribbler() throws {
        let region = try Self.region()
        let rounds = 20_000
        let finished = Finished()
        try together([
            {
                var random = SeededGenerator(seed: 7)
                while !finished.all {
                    for offset in [128, 132, 136, 256, 260] {
                        let word = (region.base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
                        word.pointee.store(UInt32.random(in: 0..<200, using: &random), ordering: .relaxed)
                    }
                }
            },
            {
                defer { finished.add() }
                var producer = try insist { try region.producer() }
                for round in 0..<rounds {
                    do {
                        if let record = try producer.reserve(byteCount: round % 500) {
                            // Written nowhere: the consumer may be reading there, thanks to the lies.
                            guard record.count >= round % 500 else { throw Failure("a record too short") }
                            producer.commit()
                        }
                        producer.notifyConsumer()
                        _ = try producer.waitForSpace(spins: 1, timeout: .zero)
                    } catch RingError.corrupt {}
                }
            },
            {
                defer { finished.add() }
                var consumer = try insist { try region.consumer() }
                for _ in 0..<rounds {
                    do {
                        if let record = try consumer.peek() {
                            guard record.count <= Int(Self.slabByteCount) else { throw Failure("a record too long") }
                            _ = record.reduce(0, &+)
                            consumer.release()
                        }
                        consumer.notifyProducer()
                        _ = try consumer.waitForRecords(spins: 1, timeout: .zero)
                    } catch RingError.corrupt {}
                }
            },
        ])
    }
}

/// Counts the two sides of a ring that are done.
final class Finished: Sendable {
    private let count = Atomic(0)

    func add() { count.add(1, ordering: .releasing) }

    var all: Bool { count.load(ordering: .acquiring) >= 2 }
}

/// Attaches to a ring whose indices are being scribbled over.
func insist<Side: ~Copyable>(_ attach: () throws -> Side) throws -> Side {
    while true {
        do {
            return try attach()
        } catch RingError.corrupt {}
    }
}
