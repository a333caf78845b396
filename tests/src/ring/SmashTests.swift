import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSPCPU
import PacketFSRing
import Synchronization
import SystemPackage
import Testing

/// Random bytes over the live shared memory of a ring whose two sides work: everything that a pcore does with a record,
/// ring, format and kernels together.
///
/// Each party has the file mapped at an address of its own, as processes have. The consumer's ring, its table and its blob
/// end at pages that nobody may touch, and the rest of the blob's first page is filled with a known value: whoever trusts a
/// length dies or is found out.
@Suite("Smash", .serialized)
struct SmashTests {
    static let rounds = 10_000
    static let slots: UInt32 = 64
    static let slabByteCount: UInt64 = 16 * 4096 - 512 - 4 * 64
    static let largestTable = 12

    // The thread sanitizer, which goes by addresses, sees nothing of memory that each thread has at an address of its own.
    @Test(
        "10,000 rounds of random bytes under a running consumer",
        .enabled(if: dlsym(nil, "__tsan_init") == nil, "not under the thread sanitizer"), arguments: [1] as [UInt64])
    func smash(seed: UInt64) throws {
        let geometry = try RingGeometry(slots: Self.slots, slabByteCount: Self.slabByteCount)
        let region = try TestRegion(slots: Self.slots, slabByteCount: Self.slabByteCount)
        let producers = try TestRegion(sharing: region)
        let smashers = try TestRegion(sharing: region)
        let blob = try FencedMemory(byteCount: 3 * 4096 + 1000)
        let table = try FencedMemory(byteCount: Self.largestTable * MemoryLayout<Descriptor>.stride)
        let progress = Progress()
        let tally = Tally()

        try together([
            { [progress] in
                defer { progress.finish() }
                var smasher = Smasher(region: smashers, seed: seed)
                try smasher.run(rounds: Self.rounds, progress: progress)
            },
            { [progress] in
                // Ends before the first round, or the first lie could keep it from attaching.
                var producer = try producers.producer()
                progress.ready()
                var random = SeededGenerator(seed: ~seed)
                while !progress.isOver {
                    Self.produce(&producer, &random, blobByteCount: blob.byteCount, tally)
                    progress.advance(.producer)
                }
            },
            { [progress] in
                var consumer = try region.consumer()
                progress.ready()
                var worker = Worker(blob: blob, table: table, tally: tally)
                while !progress.isOver {
                    worker.turn(&consumer)
                    progress.advance(.consumer)
                }
            },
        ])

        check(blob.isIntactAround && table.isIntactAround, "seed \(seed): something outside was written")
        print("smash, seed \(seed): \(tally)")
        // Otherwise the test tests nothing: records were executed, records were refused, and lies were met.
        check(tally.executed > 1000 && tally.rejected > 50, "seed \(seed): \(tally)")
        check(tally.ringErrors > 0 && tally.skipped > 0 && tally.producerErrors > 0, "seed \(seed): \(tally)")

        // Formatted anew, the same memory carries records again.
        try Ring.create(at: region.base, byteCount: region.byteCount, geometry: geometry)
        var producer = try producers.producer()
        var consumer = try region.consumer()
        for index in 0..<500 as Range<UInt64> {
            fill(try need(try producer.reserve(byteCount: 640)), seed: index)
            producer.commit()
            check(isIntact(try need(try consumer.peek()), byteCount: 640, seed: index))
            consumer.release()
        }
    }

    /// An honest producer's turn: one record with a program and some descriptors in the blob.
    private static func produce(
        _ producer: inout RingProducer, _ random: inout SeededGenerator, blobByteCount: Int, _ tally: Tally
    ) {
        do {
            let instructions = Worker.programs.randomElement(using: &random)?.instructions ?? []
            let count = Int.random(in: 0...largestTable, using: &random)
            let size = RecordFormat.byteCount(descriptors: count, instructions: instructions.count)
            if let memory = try producer.reserve(byteCount: size) {
                let table = RecordEncoder.begin(in: memory, descriptorCount: count, instructions: instructions)
                for index in 0..<count {
                    let length = Int.random(in: 0...200, using: &random)
                    let offset = Int.random(in: 0...blobByteCount - length, using: &random)
                    table[index] = Descriptor(offset: UInt64(offset), length: UInt32(length))
                }
                producer.commit()
                producer.notifyConsumer()
            } else {
                _ = try producer.waitForSpace(spins: 10, timeout: .microseconds(20))
            }
        } catch {
            tally.producerErrors += 1
            sched_yield()
        }
    }
}

/// What a pcore does: takes a record, checks it, copies its table, checks the copy, executes.
private struct Worker: ~Copyable {
    static let programs = ["xor:255", "add:7,counteq:0", "xor:90,crc32c", "fnv", "counteq:3,xor:1,fnv"].compactMap {
        try? Program(parsing: $0)
    }

    let blob: FencedMemory
    let scratch: UnsafeMutableBufferPointer<Descriptor>
    let tally: Tally
    var plans: [[UInt32]: Plan] = [:]

    init(blob: FencedMemory, table: FencedMemory, tally: Tally) {
        self.blob = blob
        self.tally = tally
        scratch = table.bytes.bindMemory(to: Descriptor.self)
    }

    mutating func turn(_ ring: inout RingConsumer) {
        do {
            guard let bytes = try ring.peek() else {
                _ = try ring.waitForRecords(spins: 10, timeout: .microseconds(20))
                return
            }
            execute(bytes)
            ring.release()
            ring.notifyProducer()
        } catch {
            tally.ringErrors += 1
            if ring.skip() { tally.skipped += 1 } else { sched_yield() }
        }
    }

    private mutating func execute(_ bytes: UnsafeRawBufferPointer) {
        guard let record = try? RecordView(validating: bytes), record.descriptorCount <= scratch.count,
            let plan = plan(record.instructions()),
            let table = try? record.loadDescriptors(into: scratch, blobByteCount: blob.byteCount)
        else {
            tally.rejected += 1
            return
        }
        var totals = [UInt64](repeating: 0, count: plan.reducerCount)
        totals.withUnsafeMutableBufferPointer {
            plan.execute(on: blob.base, descriptors: table.descriptors, totals: $0)
        }
        tally.executed += 1
    }

    /// Any program that decodes, also one that nobody sent.
    private mutating func plan(_ instructions: [Instruction]) -> Plan? {
        let key = instructions.map(\.word)
        if let plan = plans[key] { return plan }
        guard let program = try? Program(decoding: instructions), let isa = ISA.supported.first else { return nil }
        let plan = Plan(program, isa: isa)
        plans[key] = plan
        return plan
    }
}

/// Writes random bytes into a ring's region, and now and then bytes that look right.
private struct Smasher {
    let region: TestRegion
    var random: SeededGenerator

    init(region: TestRegion, seed: UInt64) {
        self.region = region
        random = SeededGenerator(seed: seed)
    }

    mutating func run(rounds: Int, progress: Progress) throws {
        try progress.awaitReady(2)
        for round in 0..<rounds {
            let consumer = progress.turns(.consumer)
            let producer = progress.turns(.producer)
            progress.startRound()
            strike(progress)
            // Every blow is met by sides that work. Three records for one, so that there is a queue to strike at.
            guard progress.wait(for: .consumer, turn: consumer + 1) else {
                throw Failure("the consumer hangs after round \(round)")
            }
            guard progress.wait(for: .producer, turn: producer + 3) else {
                throw Failure("the producer hangs after round \(round)")
            }
        }
    }

    private mutating func strike(_ progress: Progress) {
        let slotsEnd = 512 + 4 * Int(SmashTests.slots)
        switch Int.random(in: 0..<10, using: &random) {
        case 0:
            scribble(in: 0..<128)  // constants
        case 1:
            lie(at: 128, progress)  // head
        case 2:
            lie(at: 256, progress)  // tail
        case 3:
            scribble(in: [132..<136, 136..<140, 260..<264].randomElement(using: &random) ?? 132..<136)
        case 4, 5:
            scribble(in: 512..<slotsEnd)
        case 6:
            // A slot that points somewhere into the slab, at no record's start.
            let slot = 512 + 4 * Int.random(in: 0..<Int(SmashTests.slots), using: &random)
            region[slot] = UInt32.random(in: 0..<UInt32(SmashTests.slabByteCount / 64), using: &random)
        case 7:
            // A field of a record's header or of a descriptor gets a plausible value: lengths and counts beyond what fits.
            let slot = 512 + 4 * Int.random(in: 0..<Int(SmashTests.slots), using: &random)
            let unit = Int(region[slot, as: UInt32.self]) % Int(SmashTests.slabByteCount / 64)
            let offset = slotsEnd + 64 * unit + 4 * Int.random(in: 0..<16, using: &random)
            let values: [UInt32] = [13, 65_536, 4096, 13_288, 13_289, 0x7fff_ffff, .max, 0x4953_4650, 1, 0]
            region[offset] = values.randomElement(using: &random) ?? 0
        default:
            scribble(in: slotsEnd..<region.byteCount)
        }
    }

    /// Overwrites up to 128 bytes somewhere in `range`.
    private mutating func scribble(in range: Range<Int>) {
        let count = min(range.count, 1 + Int.random(in: 0..<128, using: &random))
        let start = range.lowerBound + Int.random(in: 0...range.count - count, using: &random)
        for offset in start..<start + count { region[offset] = UInt8.random(in: 0...255, using: &random) }
    }

    /// Overwrites an index for a while. Takes the lie back unless its owner has overwritten it: an index that stays wrong
    /// would only stop the traffic.
    private mutating func lie(at offset: Int, _ progress: Progress) {
        let word = (region.base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
        let truth = word.pointee.load(ordering: .relaxed)
        let near = truth &+ UInt32.random(in: 0..<130, using: &random) &- 65
        let lie = Bool.random(using: &random) ? near : UInt32.random(in: 0 ... .max, using: &random)
        guard word.pointee.compareExchange(expected: truth, desired: lie, ordering: .relaxed).exchanged else { return }
        // Both may have had all their turns of this round: without another one, the wait would last to its limit.
        let turn = progress.turns(.consumer) + 1
        progress.startRound()
        _ = progress.wait(for: .consumer, turn: turn)
        _ = word.pointee.compareExchange(expected: lie, desired: truth, ordering: .relaxed)
    }
}

/// How far the sides are, and whether the smasher is done.
private final class Progress: Sendable {
    private let consumerTurns = Atomic(0)
    private let producerTurns = Atomic(0)
    private let rounds = Atomic(0)
    private let readyCount = Atomic(0)
    private let over = Atomic(false)

    var isOver: Bool { over.load(ordering: .acquiring) }

    func ready() { readyCount.add(1, ordering: .releasing) }
    func finish() { over.store(true, ordering: .releasing) }

    func turns(_ role: Ring.Role) -> Int {
        role == .consumer ? consumerTurns.load(ordering: .acquiring) : producerTurns.load(ordering: .acquiring)
    }

    func startRound() { rounds.add(1, ordering: .releasing) }

    /// Counts a turn. A side that has had four turns in each round so far leaves the CPU to the others, for there may be fewer
    /// CPUs than threads.
    func advance(_ role: Ring.Role) {
        if role == .consumer {
            consumerTurns.add(1, ordering: .releasing)
        } else {
            producerTurns.add(1, ordering: .releasing)
        }
        while !isOver, turns(role) >= 4 * rounds.load(ordering: .acquiring) { usleep(20) }
    }

    func awaitReady(_ count: Int) throws {
        guard poll({ readyCount.load(ordering: .acquiring) >= count }) else { throw Failure("a side did not attach") }
    }

    func wait(for role: Ring.Role, turn: Int) -> Bool { poll { turns(role) >= turn } }

    /// Half a minute, which nothing here takes unless it hangs.
    private func poll(_ condition: () -> Bool) -> Bool {
        for round in 0..<500_000 {
            if condition() { return true }
            if round % 64 == 63 { usleep(50) } else { sched_yield() }
        }
        return condition()
    }
}

/// What became of records and looks. The first four belong to the consumer's thread, the last to the producer's; read when
/// both have ended.
private final class Tally: @unchecked Sendable, CustomStringConvertible {
    var executed = 0
    var rejected = 0
    var skipped = 0
    var ringErrors = 0
    var producerErrors = 0

    var description: String {
        "\(executed) executed, \(rejected) rejected, \(ringErrors) ring errors, \(skipped) slots skipped, "
            + "\(producerErrors) producer errors"
    }
}

/// Private memory that ends at a page nobody may touch; the bytes between its first page's start and its own hold a known
/// value, and before that page is another that nobody may touch.
private final class FencedMemory: @unchecked Sendable {
    // Unchecked: immutable; one thread of the test uses the memory.
    let base: UnsafeMutableRawPointer
    let byteCount: Int
    private let reservation: UnsafeMutableRawPointer
    private let pages: Int
    private static let canary: UInt8 = 0xa5

    init(byteCount: Int) throws {
        let page = TestRegion.pageByteCount
        let pages = (byteCount + page - 1) / page
        let reservation = try #require(mmap(nil, (pages + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        try #require(mprotect(reservation + page, pages * page, PROT_READ | PROT_WRITE) == 0)
        self.byteCount = byteCount
        self.pages = pages
        self.reservation = reservation
        base = reservation + (pages + 1) * page - byteCount
        margin.initialize(repeating: Self.canary)
    }

    deinit { munmap(reservation, (pages + 2) * TestRegion.pageByteCount) }

    var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: base, count: byteCount) }

    private var margin: UnsafeMutableBufferPointer<UInt8> {
        let start = reservation + TestRegion.pageByteCount
        return UnsafeMutableRawBufferPointer(start: start, count: base - start).bindMemory(to: UInt8.self)
    }

    var isIntactAround: Bool { margin.allSatisfy { $0 == Self.canary } }
}
