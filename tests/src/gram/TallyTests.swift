import PacketFSGram
import Testing
import ToolTesting

@Suite("PacketFSGram: tallies")
struct TallyTests {
    private func random(_ generator: inout SeededGenerator) -> Tally {
        var tally = Tally()
        (tally.records, tally.descriptors, tally.bytes) = (generator.next(), generator.next(), generator.next())
        (tally.operationBytes, tally.rejectedRecords, tally.sleeps) = (
            generator.next(), generator.next(), generator.next()
        )
        return tally
    }

    private func words(_ tally: Tally) -> [UInt64] {
        [tally.records, tally.descriptors, tally.bytes, tally.operationBytes, tally.rejectedRecords, tally.sleeps]
    }

    @Test("Every count is added, wrapping, and subtracted down to 0", arguments: 0..<20)
    func arithmetic(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let (one, other) = (random(&generator), random(&generator))
        #expect(words(one + other) == zip(words(one), words(other)).map { $0 &+ $1 })
        #expect(words(one.since(other)) == zip(words(one), words(other)).map { $0 > $1 ? $0 - $1 : 0 })
        var sum = one
        sum += other
        #expect(sum == one + other)
    }

    @Test("What is stored is loaded, and nothing else is touched")
    func sharedMemory() {
        var generator = SeededGenerator(seed: 9)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Tally.byteCount + 16, alignment: 8)
        defer { memory.deallocate() }
        for offset in stride(from: 0, to: Tally.byteCount + 16, by: 8) {
            memory.storeBytes(of: UInt64.max, toByteOffset: offset, as: UInt64.self)
        }
        let tally = random(&generator)
        tally.store(to: memory + 8)
        #expect(Tally(loadingFrom: memory + 8) == tally)
        #expect(memory.load(as: UInt64.self) == .max)
        #expect(memory.load(fromByteOffset: 8 + Tally.byteCount, as: UInt64.self) == .max)
        #expect((0..<6).map { memory.load(fromByteOffset: 8 + 8 * $0, as: UInt64.self) } == words(tally))
    }

    @Test("A record counts once, its bytes once for each operation")
    func count() {
        var tally = Tally()
        tally.count(descriptors: 3, bytes: 100, operations: 4)
        tally.count(descriptors: 0, bytes: 0, operations: 4)
        #expect(words(tally) == [2, 3, 100, 400, 0, 0])
    }
}
