import Glibc
import PacketFSGram
import PacketFSPCPU
import Testing

/// Every kernel against the reference, once per instruction set that this CPU runs, and once more for the AVX-512 source compiled
/// for any CPU.
@Suite struct KernelTests {
    /// One program per way through the kernels, and a few that mix them.
    static let programs = [
        "xor:90", "add:7", "xor:255,add:7", "add:3,xor:90", "add:1,xor:5,add:9,xor:66,add:77",
        "counteq:0", "counteq:0,counteq:131", "counteq:1,counteq:2,counteq:3", "xor:255,add:7,counteq:0",
        "crc32c", "fnv", "crc32c,fnv,counteq:0", "xor:90,crc32c", "crc32c,xor:90", "add:7,fnv", "xor:3,fnv,xor:3",
        "crc32c,xor:90,crc32c,add:4,fnv,counteq:9,crc32c", "xor:1,xor:1",
    ]

    @Test(arguments: KernelBuild.all, programs)
    func namedProgramsMatchTheReference(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        for seed in UInt64(1)...6 {
            var generator = SeededGenerator(seed: seed)
            let original = randomBytes(9000, using: &generator)
            let table = randomDescriptors(using: &generator, size: original.count, maximumLength: 5000)
            try expectReferenceResults(plan, original: original, table, "\(plan), seed \(seed)")
        }
    }

    @Test(arguments: KernelBuild.all, UInt64(1)...40)
    func randomProgramsMatchTheReference(kernels: KernelBuild, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<4 {
            let maximumSteps = Int.random(in: 0..<8, using: &generator) == 0 ? Program.maximumSteps : 7
            let plan = kernels.plan(try randomProgram(using: &generator, maximumSteps: maximumSteps))
            let original = randomBytes(7000, using: &generator)
            let maximumLength = Bool.random(using: &generator) ? 400 : 5000
            let table = randomDescriptors(using: &generator, size: original.count, maximumLength: maximumLength)
            try expectReferenceResults(plan, original: original, table, "\(plan), seed \(seed)")
        }
    }

    /// The documented distribution: 64 descriptors, 64-byte aligned, 64 to 319 bytes.
    @Test(
        arguments: KernelBuild.all,
        ["crc32c", "fnv", "counteq:0", "xor:255,add:7,counteq:0", "xor:90,crc32c", "add:1,fnv"])
    func documentedTablesMatchTheReference(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        for seed in UInt64(1)...4 {
            var generator = SeededGenerator(seed: seed)
            let original = randomBytes(64 * 400, using: &generator)
            let table = (0..<64).map { _ in
                Descriptor(
                    offset: 64 * UInt64.random(in: 0..<390, using: &generator),
                    length: UInt32.random(in: 64..<320, using: &generator))
            }
            try expectReferenceResults(plan, original: original, table, "\(plan), seed \(seed)")
        }
    }

    @Test(arguments: KernelBuild.all, programs)
    func everyShortLengthMatchesTheReference(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        var generator = SeededGenerator(seed: 11)
        let original = randomBytes(1300, using: &generator)
        for length in 0...(text.count < 10 ? 700 : 330) {
            // Alone, and twelve of a length at once with odd alignments.
            let offset = UInt64.random(in: 0..<600, using: &generator)
            let one = [Descriptor(offset: offset, length: UInt32(length))]
            try expectReferenceResults(plan, original: original, one, "\(plan), length \(length) at \(offset)")
            guard length % 16 < 2 else { continue }
            let many = (0..<12).map { Descriptor(offset: offset % 500 + 7 * $0, length: UInt32(length)) }
            try expectReferenceResults(plan, original: original, many, "\(plan), twelve of length \(length)")
        }
    }

    /// Kernels take ways of their own where all ranges of a table have one length, or all are short, and fill up groups.
    @Test(arguments: KernelBuild.all, ["crc32c", "fnv,crc32c", "xor:90,crc32c", "counteq:0"])
    func tablesOfOneLengthAndOfTinyOnesMatchTheReference(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        var generator = SeededGenerator(seed: 12)
        let original = randomBytes(9000, using: &generator)
        func table(_ count: Int, _ lengths: ClosedRange<Int>) -> [Descriptor] {
            (0..<count).map { _ in
                let length = Int.random(in: lengths, using: &generator)
                return Descriptor(
                    offset: UInt64.random(in: 0...UInt64(original.count - length), using: &generator),
                    length: UInt32(length))
            }
        }
        for count in [1, 2, 3, 4, 5, 7, 16, 64, 67] {
            // Beyond 2048 bytes, a fragment of one length is followed by rests of one length.
            for length in [7, 8, 9, 63, 64, 65, 200, 320, 321, 599, 600, 1056, 1151, 1152, 2048 + 64, 2048 + 203] {
                try expectReferenceResults(
                    plan, original: original, table(count, length...length), "\(plan), \(count) of \(length)")
            }
            for lengths in [0...8, 8...64, 0...70, 60...140, 250...1200, 2040...2120] {
                try expectReferenceResults(
                    plan, original: original, table(count, lengths), "\(plan), \(count) in \(lengths)")
            }
        }
    }

    @Test(
        arguments: KernelBuild.all,
        ["crc32c", "fnv", "xor:90,crc32c", "counteq:7", "xor:9,counteq:0", "add:1,fnv,crc32c"])
    func longRangesMatchTheReference(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        var generator = SeededGenerator(seed: 5)
        let original = randomBytes((1 << 18) + 333, using: &generator)
        let lengths = [4095, 16384, 16385, 32769, 65536, 65537, 131_000, 1 << 17, (1 << 17) + 3169, 1 << 18]
        for (index, length) in lengths.enumerated() where index >= lengths.count - (text == "crc32c" ? 8 : 3) {
            let table = [
                Descriptor(offset: UInt64(index), length: UInt32(length)), Descriptor(offset: 100, length: 77),
                Descriptor(offset: 9, length: 20_000),
            ]
            try expectReferenceResults(plan, original: original, table, "\(plan), length \(length)")
        }
    }

    @Test(arguments: KernelBuild.all)
    func megabyteChecksumMatchesTheReference(kernels: KernelBuild) throws {
        let plan = try kernels.plan("crc32c")
        var generator = SeededGenerator(seed: 6)
        let original = randomBytes((1 << 20) + 64, using: &generator)
        try expectReferenceResults(
            plan, original: original, [Descriptor(offset: 13, length: 1 << 20)], "1 MiB at 13, \(kernels)")
    }

    /// Ranges of at least this length are folded alone with AVX-512.
    @Test(arguments: KernelBuild.all)
    func checksumOfEightMegabytesMatchesTheReference(kernels: KernelBuild) throws {
        let plan = try kernels.plan("crc32c")
        var generator = SeededGenerator(seed: 8)
        let length = (8 << 20) + 77
        try expectReferenceResults(
            plan, original: randomBytes(length + 64, using: &generator),
            [Descriptor(offset: 13, length: UInt32(length))], "8 MiB and 77 bytes at 13, \(kernels)")
    }

    /// Ranges are digested in fragments, side by side: some of a batch have ended when others go on.
    @Test(arguments: KernelBuild.all, ["fnv", "crc32c", "crc32c,fnv", "xor:7,fnv,xor:7", "add:3,crc32c,fnv"])
    func rangesThatEndBeforeOthersMatchTheReference(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        var generator = SeededGenerator(seed: 16)
        let original = randomBytes(60_000, using: &generator)
        for count in [2, 3, 4, 7, 8, 9, 17] {
            for longest in [2100, 9000, 40_000] {
                let table = (0..<count).map { index in
                    let length = index % 3 == 0 ? 0 : Int.random(in: 0...longest, using: &generator)
                    return Descriptor(
                        offset: UInt64.random(in: 0...UInt64(original.count - length), using: &generator),
                        length: UInt32(length))
                }
                try expectReferenceResults(plan, original: original, table, "\(plan), \(table.map(\.length))")
            }
        }
    }

    /// Kernels take ways of their own where ranges adjoin, lie at one distance, have one length or start at lines.
    @Test(
        arguments: KernelBuild.all,
        ["xor:90", "counteq:0", "xor:255,add:7,counteq:0", "counteq:1,add:3,counteq:4", "xor:90,crc32c"])
    func tablesThatLieRegularlyMatchTheReference(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        var generator = SeededGenerator(seed: 14)
        let original = randomBytes(70_000, using: &generator)
        for count in [1, 2, 3, 4, 5, 8, 9, 63, 64, 65, 131] {
            for length in [0, 1, 63, 64, 65, 192, 200, 320, 321, 448] {
                for distance in [length, (length + 63) / 64 * 64, length + 1, length / 2, 0] {
                    let start = [0, 64, 7].randomElement(using: &generator)!
                    var table = (0..<count).map {
                        Descriptor(offset: UInt64(start + $0 * distance), length: UInt32(length))
                    }
                    // Some with one that is out of line.
                    if Int.random(in: 0..<3, using: &generator) == 0 {
                        let odd = Int.random(in: 0..<count, using: &generator)
                        table[odd] =
                            Bool.random(using: &generator)
                            ? Descriptor(offset: table[odd].offset, length: UInt32(length / 3))
                            : Descriptor(offset: table[odd].offset + 3, length: UInt32(length))
                    }
                    let comment: Comment = "\(plan), \(count) of \(length) every \(distance) from \(start)"
                    try expectReferenceResults(plan, original: original, table, comment)
                }
            }
        }
    }

    /// The table of descriptors ends at, or starts after, an inaccessible page: kernels that take several descriptors at once
    /// must not take one too many.
    @Test(arguments: KernelBuild.all, ["xor:90", "counteq:0,add:1", "crc32c"])
    func nothingOutsideTheTableIsRead(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        let memory = try GuardedMemory(atLeast: 4096)
        var generator = SeededGenerator(seed: 15)
        let original = randomBytes(9000, using: &generator)
        for count in 1...130 {
            let table = (0..<count).map { _ in
                let length = randomLength(using: &generator, maximum: 700)
                return Descriptor(
                    offset: UInt64.random(in: 0...UInt64(original.count - length), using: &generator),
                    length: UInt32(length))
            }
            var expectedBytes = original
            let rows = expectedBytes.withUnsafeMutableBytes { referenceRows(plan.program, on: $0, table) }
            let expected = columnSums(rows, width: plan.reducerCount)
            for offset in [0, memory.bytes.count - count * MemoryLayout<Descriptor>.stride] {
                let place = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[offset...])
                    .bindMemory(to: Descriptor.self)
                _ = place.update(fromContentsOf: table)
                var bytes = original
                var totals = [UInt64](repeating: 0, count: plan.reducerCount)
                bytes.withUnsafeMutableBytes { blob in
                    totals.withUnsafeMutableBufferPointer {
                        plan.execute(
                            on: blob.baseAddress!, descriptors: UnsafeBufferPointer(rebasing: place[..<count]),
                            totals: $0)
                    }
                }
                #expect(totals == expected && bytes == expectedBytes, "\(plan), \(count) descriptors at \(offset)")
            }
        }
    }

    /// Ranges that end at, or start after, an inaccessible page: reading or writing one byte too many crashes the test.
    @Test(arguments: KernelBuild.all, programs)
    func nothingOutsideTheDescriptorsIsTouched(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        let memory = try GuardedMemory(atLeast: 4096)
        let blob = memory.bytes
        var generator = SeededGenerator(seed: 3)
        let original = randomBytes(blob.count, using: &generator)
        for length in Array(0...330) + [511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 4000, 4095, 4096] {
            let descriptors = [
                Descriptor(offset: UInt64(blob.count - length), length: UInt32(length)),
                Descriptor(offset: 0, length: UInt32(length)),
            ]
            for table in [descriptors, [Descriptor](repeating: descriptors[length % 2], count: 17)] {
                var bytes = original
                let expected = bytes.withUnsafeMutableBytes { referenceRows(plan.program, on: $0, table) }
                blob.copyBytes(from: original)
                let totals = try plan.run(on: blob, table)
                #expect(totals == columnSums(expected, width: plan.reducerCount), "\(plan), length \(length)")
                #expect(bytes.withUnsafeBytes { firstDifference(UnsafeRawBufferPointer(blob), $0) } == nil)
                blob.copyBytes(from: original)
                #expect(try plan.runEach(on: blob, table) == expected, "\(plan), length \(length)")
                #expect(bytes.withUnsafeBytes { firstDifference(UnsafeRawBufferPointer(blob), $0) } == nil)
                if length > 330 { break }
            }
        }
    }

    /// The same in tables of many lengths, all of which end at, or start after, an inaccessible page.
    @Test(arguments: KernelBuild.all, programs)
    func nothingOutsideMixedTablesIsTouched(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        let memory = try GuardedMemory(atLeast: 4096)
        let blob = memory.bytes
        var generator = SeededGenerator(seed: 13)
        let original = randomBytes(blob.count, using: &generator)
        for maximum in [12, 70, 70, 400, 400, 4096] {
            let table = (0..<70).map { _ in
                let length = Int.random(in: 0...maximum, using: &generator)
                return Descriptor(
                    offset: Bool.random(using: &generator) ? 0 : UInt64(blob.count - length), length: UInt32(length))
            }
            var bytes = original
            let expected = bytes.withUnsafeMutableBytes { referenceRows(plan.program, on: $0, table) }
            blob.copyBytes(from: original)
            #expect(try plan.run(on: blob, table) == columnSums(expected, width: plan.reducerCount), "\(plan)")
            #expect(bytes.withUnsafeBytes { firstDifference(UnsafeRawBufferPointer(blob), $0) } == nil)
            blob.copyBytes(from: original)
            #expect(try plan.runEach(on: blob, table) == expected, "\(plan)")
        }
    }

    /// A descriptor must not even rewrite its neighbour's bytes with their own values: they may be another process's. Here
    /// the neighbours are on a read-only page.
    @Test(arguments: KernelBuild.all, programs.filter { $0.contains("xor") || $0.contains("add") })
    func neighboursAreNotWritten(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        let memory = try GuardedMemory(atLeast: 3 * 4096)
        let blob = memory.bytes
        var generator = SeededGenerator(seed: 4)
        blob.copyBytes(from: randomBytes(blob.count, using: &generator))
        let page = 4096
        let start = try #require(blob.baseAddress)
        try #require(mprotect(start, page, PROT_READ) == 0)
        try #require(mprotect(start + 2 * page, page, PROT_READ) == 0)
        for length in Array(1...330) + [1024, 4096] {
            let table = [
                Descriptor(offset: UInt64(page), length: UInt32(length)),
                Descriptor(offset: UInt64(2 * page - length), length: UInt32(length)),
            ]
            var bytes = Array(blob)
            let expected = bytes.withUnsafeMutableBytes { referenceRows(plan.program, on: $0, table) }
            let totals = try plan.run(on: blob, table)
            #expect(totals == columnSums(expected, width: plan.reducerCount), "\(plan), length \(length)")
            #expect(bytes.withUnsafeBytes { firstDifference(UnsafeRawBufferPointer(blob), $0) } == nil)
            // From what the totals form has left.
            let expectedNext = bytes.withUnsafeMutableBytes { referenceRows(plan.program, on: $0, table) }
            #expect(try plan.runEach(on: blob, table) == expectedNext, "\(plan), length \(length)")
            #expect(bytes.withUnsafeBytes { firstDifference(UnsafeRawBufferPointer(blob), $0) } == nil)
        }
    }

    /// A program without maps, or whose maps cancel out, must work on a blob that is mapped read-only.
    @Test(
        arguments: KernelBuild.all,
        [
            "counteq:0", "counteq:0,counteq:131", "crc32c", "fnv", "crc32c,fnv,counteq:0", "xor:3,fnv,xor:3",
            "add:5,crc32c,add:251", "xor:9,counteq:1,crc32c,fnv,xor:9",
        ])
    func readOnlyProgramsOnlyRead(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        let memory = try GuardedMemory(atLeast: 96 * 1024)
        let blob = memory.bytes
        var generator = SeededGenerator(seed: 8)
        blob.copyBytes(from: randomBytes(blob.count, using: &generator))
        var copy = Array(blob)
        try #require(mprotect(blob.baseAddress, blob.count, PROT_READ) == 0)
        for maximumLength in [330, 5000, 40_000] {
            for _ in 0..<4 {
                let table = randomDescriptors(using: &generator, size: blob.count, maximumLength: maximumLength)
                let expected = copy.withUnsafeMutableBytes { referenceRows(plan.program, on: $0, table) }
                #expect(try plan.runEach(on: blob, table) == expected, "\(plan)")
                #expect(try plan.run(on: blob, table) == columnSums(expected, width: plan.reducerCount), "\(plan)")
            }
        }
    }

    /// Tables longer than any batch, whose rows must go on where the batch before ended.
    @Test(arguments: KernelBuild.all, programs)
    func rowsOfLongTablesMatchTheReference(kernels: KernelBuild, text: String) throws {
        let plan = try kernels.plan(text)
        var generator = SeededGenerator(seed: 9)
        for count in [63, 64, 65, 127, 128, 129, 300] {
            let original = randomBytes(9000, using: &generator)
            let table = (0..<count).map { _ in
                let length = randomLength(using: &generator, maximum: 700)
                return Descriptor(
                    offset: UInt64.random(in: 0...UInt64(original.count - length), using: &generator),
                    length: UInt32(length))
            }
            try expectReferenceResults(plan, original: original, table, "\(plan), \(count) descriptors")
        }
    }

    @Test(arguments: KernelBuild.all)
    func totalsAreAddedToAndWrap(kernels: KernelBuild) throws {
        let plan = try kernels.plan("fnv,counteq:1,fnv,counteq:1")
        var bytes: [UInt8] = [1, 1, 1]
        let table = [Descriptor(offset: 0, length: 3), Descriptor(offset: 0, length: 0)]
        var totals: [UInt64] = [.max, .max - 1, 5, 6]
        bytes.withUnsafeMutableBytes { blob in
            table.withUnsafeBufferPointer { table in
                totals.withUnsafeMutableBufferPointer {
                    plan.execute(on: blob.baseAddress!, descriptors: table, totals: $0)
                }
            }
        }
        let fnv = bytes.withUnsafeBytes {
            Reference.fnv1a($0) &+ Reference.fnv1a(UnsafeRawBufferPointer(rebasing: $0[..<0]))
        }
        #expect(totals == [fnv &- 1, 1, 5 &+ fnv, 9])
    }

    @Test(arguments: KernelBuild.all)
    func publishedVectors(kernels: KernelBuild) throws {
        // RFC 3720 appendix B.4 prints the bytes of each CRC least significant first.
        let ascending = [UInt8](0..<32)
        let readCommand: [UInt8] =
            [0x01, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0]
            + [0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0]
        let crcs: [([UInt8], UInt64)] = [
            (.init(repeating: 0, count: 32), 0x8A91_36AA), (.init(repeating: 0xFF, count: 32), 0x62A8_AB43),
            (ascending, 0x46DD_794E), (ascending.reversed(), 0x113F_DB5C), (readCommand, 0xD996_3A56),
            (Array("123456789".utf8), 0xE306_9283), ([], 0),
        ]
        // The test vectors of draft-eastlake-fnv: each string without, then with, its terminating zero.
        let fnvs: [([UInt8], UInt64)] = [
            ([], 0xCBF2_9CE4_8422_2325), (Array("a".utf8), 0xAF63_DC4C_8601_EC8C),
            (Array("foobar".utf8), 0x8594_4171_F739_67E8), ([0], 0xAF63_BD4C_8601_B7DF),
            (Array("a\0".utf8), 0x089B_E207_B544_F1E4), (Array("foobar\0".utf8), 0x3453_1CA7_168B_8F38),
        ]
        let crc = try kernels.plan("crc32c")
        for (bytes, expected) in crcs {
            var blob = bytes + [0]
            let table = [Descriptor(offset: 0, length: UInt32(bytes.count))]
            #expect(try blob.withUnsafeMutableBytes { try crc.run(on: $0, table) } == [expected], "\(bytes)")
        }
        let fnv = try kernels.plan("fnv")
        for (bytes, expected) in fnvs {
            var blob = bytes + [0]
            let table = [Descriptor(offset: 0, length: UInt32(bytes.count))]
            #expect(try blob.withUnsafeMutableBytes { try fnv.run(on: $0, table) } == [expected], "\(bytes)")
        }
    }
}
