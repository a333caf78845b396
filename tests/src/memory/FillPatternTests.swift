import Testing

@testable import PacketFSMemory

@Suite struct FillPatternTests {
    /// SplitMix64 started with 1234567: the values that its reference implementation prints.
    @Test func wordsAreThoseOfSplitMix64() {
        let expected: [UInt64] = [
            6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
        ]
        #expect((0..<5).map { FillPattern.word(seed: 1_234_567, index: $0) } == expected)
        #expect(FillPattern.word(seed: 0, index: 0) == 0xE220_A839_7B1D_CDAF)
    }

    @Test func bytesAreLittleEndian() throws {
        let blob = try HugeBlob.create(byteCount: 16, pages: .small)
        try blob.fill(seed: 0, range: 0..<16)
        #expect(content(blob)[0..<8] == [0xAF, 0xCD, 0x1D, 0x7B, 0x39, 0xA8, 0x20, 0xE2])
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func anySplitGivesTheSameBytes(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed << 32)
        let size = Int.random(in: 1...9000, using: &random)
        let blob = try HugeBlob.create(byteCount: size, pages: .small)
        var position = 0
        var pieces: [Range<Int>] = []
        while position < size {
            let next = min(size, position + Int.random(in: 1...700, using: &random))
            pieces.append(position..<next)
            position = next
        }
        for piece in pieces.shuffled(using: &random) { try blob.fill(seed: seed, range: piece) }
        let expected = (0..<size).map { FillPattern.byte(seed: seed, position: $0) }
        #expect(content(blob) == expected, "seed \(seed)")
    }

    @Test func nothingOutsideTheRangeIsTouched() throws {
        for lower in 0..<17 {
            for upper in lower..<34 {
                let blob = try HugeBlob.create(byteCount: 40, pages: .small)
                try blob.fill(seed: 9, range: lower..<upper)
                let expected = (0..<40).map {
                    (lower..<upper).contains($0) ? FillPattern.byte(seed: 9, position: $0) : 0
                }
                #expect(content(blob) == expected, "\(lower)..<\(upper)")
            }
        }
    }
}
