import Glibc
import PacketFSRing
import Synchronization
import SystemPackage
import Testing

/// Two threads on one ring. The thread sanitizer runs these too: every access to slots and records is ordered by the
/// release and acquire of the indices alone, which it understands; the fences of the doorbell order no data.
@Suite("Two threads", .serialized)
struct ConcurrencyTests {
    /// Nothing here takes this long unless a wake-up was lost.
    static let patience: Duration = .seconds(20)

    @Test("Every value arrives once and in order", arguments: [(1, 1), (2, 3), (64, 1), (64, 17), (1024, 300)])
    func sequence(slots: Int, batch: Int) throws {
        let count: UInt32 = slots < 10 ? 30_000 : 300_000
        // Starts before the indices wrap and ends behind.
        let region = try TestRegion(slots: UInt32(slots), firstIndex: 0 &- count / 2)
        try together([
            {
                var producer = try region.producer()
                var next: UInt32 = 0
                while next < count {
                    let size = min(UInt32(batch), count - next)
                    var pushed = 0
                    if batch == 1 {
                        pushed = producer.tryPush(next) ? 1 : 0
                    } else {
                        pushed = producer.push(contentsOf: Array(next..<next + size).span)
                    }
                    next += UInt32(pushed)
                    producer.notifyConsumer()
                    if pushed == 0, try !producer.waitForSpace(timeout: Self.patience) {
                        throw Failure("the producer was not woken at \(next)")
                    }
                }
            },
            {
                var consumer = try region.consumer()
                var values = [UInt32](repeating: 0, count: batch)
                var next: UInt32 = 0
                while next < count {
                    var popped = 0
                    if batch == 1 {
                        if let value = consumer.tryPop() {
                            values[0] = value
                            popped = 1
                        }
                    } else {
                        var span = values.mutableSpan
                        popped = consumer.pop(into: &span)
                    }
                    for value in values[..<popped] {
                        guard value == next else { throw Failure("\(value) arrived instead of \(next)") }
                        next += 1
                    }
                    consumer.notifyProducer()
                    if popped == 0, try !consumer.waitForRecords(timeout: Self.patience) {
                        throw Failure("the consumer was not woken at \(next)")
                    }
                }
            },
        ])
    }

    @Test(
        "Records arrive intact, in order, however full the slab",
        arguments: [(1, 1024), (4, 640), (64, 2048), (256, 64 * 1024)])
    func records(slots: Int, slabByteCount: Int) throws {
        let region = try TestRegion(
            slots: UInt32(slots), slabByteCount: UInt64(slabByteCount), firstIndex: .max - 5000)
        let count: UInt64 = 20_000
        let seed: UInt64 = 42
        // Both sides draw the same sizes. Small rings sleep at once, so that the handshake is exercised.
        let largest = min(slabByteCount, 1024)
        let spins = slots < 10 ? 0 : Doorbell.defaultSpins
        try together([
            {
                var random = SeededGenerator(seed: seed)
                var producer = try region.producer()
                for index in 0..<count {
                    let size = Int.random(in: 0...largest / 8, using: &random) * 8
                    while true {
                        if let record = try producer.reserve(byteCount: size) {
                            fill(record, seed: index)
                            producer.commit()
                            producer.notifyConsumer()
                            break
                        }
                        guard try producer.waitForSpace(spins: spins, timeout: Self.patience) else {
                            throw Failure("the producer was not woken at record \(index)")
                        }
                    }
                }
            },
            {
                var random = SeededGenerator(seed: seed)
                var consumer = try region.consumer()
                var index: UInt64 = 0
                while index < count {
                    guard try consumer.waitForRecords(spins: spins, timeout: Self.patience) else {
                        throw Failure("the consumer was not woken at record \(index)")
                    }
                    // Works on what is there, up to seven, and releases it at once.
                    var batch = 0
                    while batch < 7, let record = try consumer.peek(ahead: batch) {
                        let size = Int.random(in: 0...largest / 8, using: &random) * 8
                        guard isIntact(record, byteCount: size, seed: index) else {
                            throw Failure("record \(index) of \(size) bytes is damaged")
                        }
                        index += 1
                        batch += 1
                    }
                    consumer.release(batch)
                    consumer.notifyProducer()
                }
            },
        ])
    }

    @Test("Ping-pong over two rings, asleep between the turns")
    func pingPong() throws {
        let there = try TestRegion(slots: 1)
        let back = try TestRegion(slots: 1)
        let rounds: UInt32 = 10_000
        try together([
            {
                var ping = try there.producer()
                var pong = try back.consumer()
                for round in 0..<rounds {
                    guard ping.tryPush(round) else { throw Failure("no room for ping \(round)") }
                    ping.notifyConsumer()
                    guard try pong.waitForRecords(spins: 0, timeout: Self.patience) else {
                        throw Failure("pong \(round) never came")
                    }
                    guard pong.tryPop() == round else { throw Failure("the wrong pong instead of \(round)") }
                }
            },
            {
                var ping = try there.consumer()
                var pong = try back.producer()
                for round in 0..<rounds {
                    guard try ping.waitForRecords(spins: 0, timeout: Self.patience) else {
                        throw Failure("ping \(round) never came")
                    }
                    guard ping.tryPop() == round, pong.tryPush(round) else {
                        throw Failure("the wrong ping instead of \(round)")
                    }
                    pong.notifyConsumer()
                }
            },
        ])
    }

    @Test("One doorbell, several ringers: every ring after an arm is heard")
    func sharedDoorbell() throws {
        let region = try TestRegion(byteCount: 4096)
        let word = region.base.bindMemory(to: Atomic<UInt32>.self, capacity: 1)
        let bell = Doorbell(word)
        let ringers = 3
        let rounds = 3000
        let shared = Shared()
        var bodies: [@Sendable () throws -> Void] = [
            {
                var seen = 0
                while seen < ringers * rounds {
                    let before = seen
                    let isThere = bell.wait(spins: 0, timeout: Self.patience) {
                        seen = shared.sum.load(ordering: .relaxed)
                        return seen > before
                    }
                    guard isThere else { throw Failure("no ring was heard after \(seen)") }
                }
            }
        ]
        for _ in 0..<ringers {
            bodies.append {
                for round in 0..<rounds {
                    shared.sum.add(1, ordering: .relaxed)
                    bell.ring()
                    // Lets the sleeper fall asleep now and then.
                    if round % 4 == 0 { usleep(1) }
                }
            }
        }
        try together(bodies)
        check(shared.sum.load(ordering: .relaxed) == ringers * rounds)
    }

    /// The heart of the handshake, laid bare: one side arms and looks, the other publishes and rings, as near to each
    /// other as can be. Afterwards the sleeper has seen what was published, or the ringer has taken the announcement;
    /// neither would be a sleep without end.
    @Test("Arming and ringing at the same moment: one sees the other")
    func crossing() throws {
        let region = try TestRegion(byteCount: 4096)
        let bell = Doorbell(region.base.bindMemory(to: Atomic<UInt32>.self, capacity: 1))
        let rounds = 100_000
        let published = Shared()
        let meeting = Meeting()
        let lost = Shared()
        try together([
            {
                for round in 1...rounds {
                    meeting.meet(2 * round - 1, delay: round % 7)
                    bell.arm()
                    let isSeen = published.sum.load(ordering: .relaxed) == round
                    meeting.meet(2 * round)
                    let word = region.base.assumingMemoryBound(to: Atomic<UInt32>.self)
                    if !isSeen && word.pointee.load(ordering: .relaxed) != 0 {
                        lost.sum.add(1, ordering: .relaxed)
                    }
                    bell.disarm()
                }
            },
            {
                for round in 1...rounds {
                    meeting.meet(2 * round - 1, delay: round % 5)
                    published.sum.store(round, ordering: .relaxed)
                    bell.ring()
                    meeting.meet(2 * round)
                }
            },
        ])
        #expect(lost.sum.load(ordering: .relaxed) == 0, "wake-ups lost in \(rounds) rounds")
    }

    /// Where two threads wait for each other, again and again.
    final class Meeting: Sendable {
        private let arrivals = Atomic(0)

        /// Returns when both have come to the meeting of this number, counted from 1, and `delay` more looks are over.
        func meet(_ number: Int, delay: Int = 0) {
            arrivals.add(1, ordering: .acquiringAndReleasing)
            var looks = 0
            while arrivals.load(ordering: .acquiring) < 2 * number {
                looks += 1
                if looks % 1000 == 0 { sched_yield() }
            }
            for _ in 0..<delay { _ = arrivals.load(ordering: .acquiring) }
        }
    }

    final class Shared: Sendable {
        let sum = Atomic(0)
    }
}

@Suite("Taking over", .serialized)
struct TakeOverTests {
    @Test("Attaching wakes a sleeper whose announcement somebody took back before dying", arguments: Ring.Role.allCases)
    func owedWake(role: Ring.Role) throws {
        // The words on which the other role sleeps: consumer_sleeps and producer_sleeps of the header.
        let offset = role == .producer ? 132 : 260
        // At any moment: before the sleeper has fallen asleep, when it sees the 0 and does not, or after.
        for round in 0..<50 {
            let region = try TestRegion(slots: 4, slabByteCount: 256)
            let bell = Doorbell((region.base + offset).assumingMemoryBound(to: Atomic<UInt32>.self))
            try together([
                {
                    bell.arm()
                    guard bell.sleep(timeout: .seconds(60)) == .rung else { throw Failure("nobody woke the sleeper") }
                },
                {
                    let word = (region.base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
                    while word.pointee.load(ordering: .relaxed) == 0 { usleep(100) }
                    usleep(UInt32(100 * round))
                    word.pointee.store(0, ordering: .relaxed)
                    switch role {
                    case .producer: _ = try region.producer()
                    case .consumer: _ = try region.consumer()
                    }
                },
            ])
        }
    }
}

@Suite("Waiting")
struct WaitingTests {
    @Test("With nothing to come, the time runs out")
    func timeout() throws {
        let region = try TestRegion(slots: 2, slabByteCount: 128)
        var producer = try region.producer()
        var consumer = try region.consumer()
        for timeout in [.zero, .milliseconds(-5), .milliseconds(5)] as [Duration] {
            check(try !consumer.waitForRecords(timeout: timeout))
        }
        // Whoever stopped waiting is not rung for.
        check(region[132, as: UInt32.self] == 0)
        _ = try producer.reserve(byteCount: 128)
        producer.commit()
        check(try producer.reserve(byteCount: 128) == nil)
        check(try !producer.waitForSpace(timeout: .milliseconds(5)))
        check(region[260, as: UInt32.self] == 0)
    }

    @Test("Waiting for space means space for the record that was refused")
    func spaceForRefused() throws {
        let region = try TestRegion(slots: 8, slabByteCount: 512)
        var producer = try region.producer()
        var consumer = try region.consumer()
        for _ in 0..<4 {
            _ = try producer.reserve(byteCount: 128)
            producer.commit()
        }
        check(try producer.reserve(byteCount: 256) == nil)
        _ = try consumer.peek()
        consumer.release()
        check(try !producer.waitForSpace(timeout: .zero))
        _ = try consumer.peek()
        consumer.release()
        check(try producer.waitForSpace(timeout: .zero))
        check(try producer.reserve(byteCount: 256)?.count == 256)
    }

    @Test("Durations of any size are understood")
    func extremeTimeouts() throws {
        let region = try TestRegion(slots: 2)
        var producer = try region.producer()
        var consumer = try region.consumer()
        check(try !consumer.waitForRecords(timeout: .seconds(Int64.min / 2)))
        check(producer.tryPush(1))
        check(try consumer.waitForRecords(timeout: .seconds(Int64.max)))
        check(try consumer.waitForRecords(timeout: nil))
    }

    @Test("A doorbell alone: armed and rung, armed and not, not armed")
    func doorbell() throws {
        let region = try TestRegion(byteCount: 4096)
        let bell = Doorbell(region.base.bindMemory(to: Atomic<UInt32>.self, capacity: 1))
        bell.ring()
        check(region[0, as: UInt32.self] == 0)
        check(bell.sleep(timeout: .seconds(60)) == .rung, "not armed, so there is nothing to sleep for")
        bell.arm()
        check(bell.sleep(timeout: .milliseconds(1)) == .timedOut)
        bell.ring()
        check(region[0, as: UInt32.self] == 0)
        check(bell.sleep(timeout: .seconds(60)) == .rung)
        bell.arm()
        bell.disarm()
        check(region[0, as: UInt32.self] == 0)
    }
}
