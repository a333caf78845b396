import Testing

@testable import PacketFSPCPU

@Suite struct CRC32CTests {
    @Test func everySplitCombines() {
        var generator = SeededGenerator(seed: 21)
        let bytes = randomBytes(600, using: &generator)
        bytes.withUnsafeBytes { bytes in
            let whole = Reference.crc32c(bytes)
            for split in 0...bytes.count {
                let a = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[..<split]))
                let b = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[split...]))
                #expect(CRC32C.combine(a, b, lengthB: UInt64(bytes.count - split)) == whole, "split at \(split)")
            }
        }
    }

    @Test func combineTakesHugeLengths() {
        // Appending n zero bytes in one step or in two is the same; a length of nothing changes nothing.
        let a: UInt32 = 0x1234_5678
        for n in [1, 1 << 20, 1 << 40, UInt64.max / 2] {
            let once = CRC32C.combine(a, 0, lengthB: n + 5)
            #expect(CRC32C.combine(CRC32C.combine(a, 0, lengthB: n), 0, lengthB: 5) == once)
            #expect(once != a)
        }
        #expect(CRC32C.combine(a, 7, lengthB: 0) == a ^ 7)
    }

    @Test(arguments: 0...200)
    func checksumMatchesTheReference(length: Int) {
        var generator = SeededGenerator(seed: UInt64(length))
        randomBytes(length + 3, using: &generator).withUnsafeBytes { bytes in
            let range = UnsafeRawBufferPointer(rebasing: bytes[3...])
            #expect(CRC32C.checksum(range) == Reference.crc32c(range))
        }
    }
}
