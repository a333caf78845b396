import PacketFSGram
import Testing

@Suite("Descriptor generators")
struct GeneratorTests {
    @Test(
        "Random descriptors keep to region, alignment and length, whatever the region",
        arguments: 0..<300 as Range<UInt64>)
    func bounds(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let alignment = UInt32(1) << UInt32.random(in: 0...12, using: &random)
        let start = UInt64.random(in: 0...1 << 45, using: &random)
        let length = UInt64.random(in: 1...UInt64(1) << UInt64.random(in: 1...40, using: &random), using: &random)
        let region = start..<start + length
        let descriptors = RandomDescriptors(region: region, alignment: alignment, seed: seed, stream: 3)
        for index in 0..<500 as Range<UInt64> {
            let descriptor = descriptors[index]
            #expect(descriptor.offset >= region.lowerBound)
            #expect(descriptor.offset + UInt64(descriptor.length) <= region.upperBound)
            #expect((descriptor.offset - region.lowerBound) % UInt64(alignment) == 0)
            #expect(descriptor.length < 5 * alignment)
            #expect(UInt64(descriptor.length) >= min(UInt64(alignment), length))
            #expect(descriptor.flags == 0)
        }
    }

    @Test("Lengths and offsets are uniform")
    func uniform() {
        // 60,000 draws in 16 classes: chi-squared with 15 degrees of freedom exceeds 45 once in 10^4 seeds; the seed is fixed.
        let region: Range<UInt64> = 4096..<4096 + (1 << 20)
        let descriptors = RandomDescriptors(region: region, alignment: 64, seed: 7, stream: 0)
        var lengths = [Double](repeating: 0, count: 16)
        var offsets = [Double](repeating: 0, count: 16)
        let draws = 60_000
        for index in 0..<UInt64(draws) {
            let descriptor = descriptors[index]
            lengths[Int(descriptor.length - 64) * 16 / 256] += 1
            let places = (1 << 20) - Int(descriptor.length) + 64
            offsets[Int(descriptor.offset - 4096) * 16 / places] += 1
        }
        let expected = Double(draws) / 16
        for classes in [lengths, offsets] {
            let chiSquared = classes.reduce(0) { $0 + ($1 - expected) * ($1 - expected) / expected }
            #expect(chiSquared < 45, "classes \(classes)")
        }
    }

    @Test("Descriptor n is a function of seed, stream and n alone")
    func reproducible() {
        let descriptors = RandomDescriptors(region: 0..<1 << 30, alignment: 64, seed: 42, stream: 9)
        let others = [
            RandomDescriptors(region: 0..<1 << 30, alignment: 64, seed: 43, stream: 9),
            RandomDescriptors(region: 0..<1 << 30, alignment: 64, seed: 42, stream: 10),
        ]
        for other in others { #expect((0..<64).contains { other[UInt64($0)] != descriptors[UInt64($0)] }) }
        // Pinned: a change of the generator would make old runs impossible to verify.
        #expect(descriptors[0] == Descriptor(offset: 557_058_304, length: 135))
        #expect(descriptors[1 << 32] == Descriptor(offset: 297_299_840, length: 311))
    }

    @Test("A table filled at once equals its descriptors one by one", arguments: 0..<300 as Range<UInt64>)
    func filled(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let alignment = UInt32(1) << UInt32.random(in: 0...20, using: &random)
        let start = UInt64.random(in: 0...1 << 45, using: &random)
        let length = UInt64.random(in: 1...UInt64(1) << UInt64.random(in: 1...42, using: &random), using: &random)
        let descriptors = RandomDescriptors(
            region: start..<start + length, alignment: alignment, seed: seed, stream: 1)
        let count = Int.random(in: 0...100, using: &random)
        // Also across the place where the low half of the number wraps.
        let first = Bool.random(using: &random) ? UInt64.random(in: 0...1 << 40, using: &random) : (1 << 32) - 37
        let table = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: count + 1)
        defer { table.deallocate() }
        let guardian = Descriptor(offset: 0xDEAD, length: 0xBEEF, flags: 7)
        // As many at a time as the CPU can, as AVX2 can, and one by one.
        for lanes in [16, 8, 1] as [Int32] {
            table.initialize(repeating: guardian)
            descriptors.fill(UnsafeMutableBufferPointer(rebasing: table[..<count]), from: first, lanes: lanes)
            for index in 0..<count { #expect(table[index] == descriptors[first + UInt64(index)], "\(lanes) lanes") }
            #expect(table[count] == guardian, "nothing is written beyond the table")
        }
    }

    @Test("Blocks cover a region exactly once", arguments: [0, 1, 63, 64, 65, 4096, 100_000] as [UInt64])
    func blocks(length: UInt64) {
        for blockLength in [1, 64, 1000, 4096] as [UInt32] {
            let region = 77..<77 + length
            var next = region.lowerBound
            for block in SequentialBlocks(region: region, blockLength: blockLength) {
                #expect(block.offset == next)
                #expect(block.length > 0 && block.length <= blockLength)
                next += UInt64(block.length)
            }
            #expect(next == region.upperBound)
        }
    }

    @Test("Regions are disjoint, aligned, nearly equal and cover the range", arguments: 0..<200 as Range<UInt64>)
    func regions(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let alignment = UInt64(64) << UInt64.random(in: 0...6, using: &random)
        let count = Int.random(in: 1...300, using: &random)
        let start = UInt64.random(in: 0...1 << 40, using: &random)
        let range = start..<start + .random(in: 1...1 << 24, using: &random)
        guard let regions = partition(range, into: count, alignment: alignment) else {
            #expect(UInt64(range.count) <= UInt64(count - 1) * alignment)
            return
        }
        #expect(regions.count == count)
        #expect(regions.first?.lowerBound == range.lowerBound && regions.last?.upperBound == range.upperBound)
        for (one, next) in zip(regions, regions.dropFirst()) { #expect(one.upperBound == next.lowerBound) }
        for region in regions {
            #expect(!region.isEmpty)
            #expect((region.lowerBound - range.lowerBound) % alignment == 0)
        }
        let sizes = regions.dropLast().map(\.count)
        #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= Int(alignment))
    }
}
