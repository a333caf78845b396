import PacketFSGram
import PacketFSMemory
import PacketFSNet
import PacketFSPCPU
import Testing

@Suite("Work with frames")
struct FrameWorkTests {
    static let blobByteCount = 1 << 20
    static let link = EthernetHeader(destination: .broadcast, source: MACAddress(value: 0x0200_0000_0001))

    /// A receiver with a blob of the seed's pattern, freed at the end of `body`.
    func withWork<R>(
        verifies: Bool = false, own: String? = nil, hasLink: Bool = true, seed: UInt64 = 1, stream: UInt32? = nil,
        memory: UnsafeMutableRawBufferPointer = .init(start: nil, count: 0),
        _ body: (FrameWork, UnsafeMutableRawBufferPointer) throws -> R
    ) throws -> R {
        let blob = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.blobByteCount, alignment: 64)
        defer { blob.deallocate() }
        for index in 0..<blob.count / 8 {
            blob.storeBytes(
                of: FillPattern.word(seed: seed, index: UInt64(index)).littleEndian, toByteOffset: index * 8,
                as: UInt64.self)
        }
        var configuration = FrameWorkConfiguration()
        configuration.hasLinkHeader = hasLink
        configuration.stream = stream
        configuration.program = try own.map { try Program(parsing: $0) }
        if verifies { configuration.verification = FrameVerification(seed: seed, descriptors: Self.descriptors(seed)) }
        return try body(FrameWork(configuration, blob: blob, memory: memory, isa: ISA.supported[0]), blob)
    }

    static func descriptors(_ seed: UInt64) -> RandomDescriptors {
        RandomDescriptors(region: 0..<UInt64(blobByteCount), alignment: 64, seed: seed, stream: 0)
    }

    func producer(
        _ content: FrameContent, _ program: String?, hasLink: Bool = true, isChecksummed: Bool = false, seed: UInt64 = 1
    ) throws -> FrameProducer {
        FrameProducer(
            content, program: try program.map { try Program(parsing: $0) }, seed: seed, stream: 7,
            link: hasLink ? Self.link : nil, isChecksummed: isChecksummed, isa: ISA.supported[0])
    }

    func frame(_ producer: FrameProducer, _ sequence: UInt64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: producer.byteCount)
        bytes.withUnsafeMutableBytes { producer.write(sequence, into: $0) }
        return bytes
    }

    func end(_ producer: FrameProducer, _ count: UInt64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: 64)
        let used = bytes.withUnsafeMutableBytes { producer.writeEnd(after: count, into: $0) }
        return Array(bytes[..<used])
    }

    func give(_ frame: [UInt8], to work: FrameWork) {
        var frame = frame
        frame.withUnsafeMutableBytes { work.take($0) }
    }

    @Test(
        "What the producer makes, the receiver verifies",
        arguments: [
            ("payload", nil, nil), ("payload", "xor:255,counteq:3,crc32c", nil), ("payload", nil, "add:1,fnv"),
            ("descriptors", nil, nil), ("descriptors", "counteq:0", nil), ("descriptors", nil, "xor:7,crc32c"),
        ] as [(String, String?, String?)], [true, false])
    func roundTrip(case setting: (String, String?, String?), isChecksummed: Bool) throws {
        let (kind, carried, own) = setting
        for hasLink in [true, false] {
            let content: FrameContent =
                kind == "payload" ? .payload(byteCount: 777) : .descriptors(count: 23, Self.descriptors(1))
            let producer = try producer(content, carried, hasLink: hasLink, isChecksummed: isChecksummed)
            try withWork(verifies: true, own: own, hasLink: hasLink) { work, _ in
                for sequence in 0..<200 as Range<UInt64> { give(frame(producer, sequence), to: work) }
                #expect(!work.hasEnded)
                give(end(producer, 201), to: work)
                #expect(work.hasEnded && work.announcedCount == 201 && work.lost == 1)
                #expect(work.verify() == true, "\(work.firstMismatch ?? "")")
                #expect(work.counts.frames == 200)
                #expect(work.counts.bytes == 200 * UInt64(producer.byteCount))
                #expect(work.counts.executed == (carried ?? own == nil ? 0 : 200))
                #expect((work.counts.workedBytes > 0) == (carried ?? own != nil))
                #expect(work.counts.descriptors == (kind == "payload" ? 0 : 4600))
                let reducers = try (carried ?? own).map { try Program(parsing: $0).reducers.count } ?? 0
                #expect(work.totals.count == reducers)
            }
        }
    }

    @Test("Totals of payload in batches equal those of the reference", arguments: 0..<20 as Range<UInt64>)
    func batches(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let byteCount = Int.random(in: 0...300, using: &generator)
        let program = try Program(parsing: "counteq:7,add:3,crc32c,fnv")
        let producer = try producer(.payload(byteCount: byteCount), "\(program)")
        let windows = PayloadWindows(seed: 1)
        let slot = producer.byteCount + 5
        let ring = UnsafeMutableRawBufferPointer.allocate(byteCount: 600 * slot, alignment: 64)
        defer { ring.deallocate() }
        var expected: [UInt64] = [0, 0, 0]
        try withWork(memory: ring) { work, _ in
            var sequence: UInt64 = 0
            for _ in 0..<4 {
                for index in 0..<Int.random(in: 0...600, using: &generator) {
                    let memory = UnsafeMutableRawBufferPointer(
                        rebasing: ring[(index * slot)...].prefix(producer.byteCount))
                    producer.write(sequence, into: memory)
                    var copy = Array(windows.window(of: sequence, byteCount: byteCount))
                    copy.withUnsafeMutableBytes { bytes in
                        let whole = [Descriptor(offset: 0, length: UInt32(byteCount))]
                        whole.withUnsafeBufferPointer {
                            Reference.execute(program, on: bytes, descriptors: $0, totals: &expected)
                        }
                    }
                    work.take(memory)
                    sequence += 1
                }
                work.finishBatch()
            }
            if sequence > 0 { #expect(work.totals.map(\.value) == expected.map { "\($0)" }) }
            #expect(work.counts.workedBytes == sequence * UInt64(byteCount))
        }
    }

    @Test("A frame written over an earlier one equals a fresh one")
    func rewriting() throws {
        for content in [
            FrameContent.payload(byteCount: 500), .payload(byteCount: 3), .descriptors(count: 5, Self.descriptors(1)),
        ] {
            for isChecksummed in [false, true] {
                let producer = try producer(content, "fnv", isChecksummed: isChecksummed)
                var held = frame(producer, 3)
                var before: UInt64 = 3
                for next in [67, 3 + 640, 4, 131, 132] as [UInt64] {
                    held.withUnsafeMutableBytes { producer.rewrite(next, over: before, in: $0) }
                    #expect(held == frame(producer, next))
                    before = next
                }
            }
        }
    }

    @Test("Frames that came before are not worked on again; order and loss are counted")
    func order() throws {
        let producer = try producer(.descriptors(count: 4, Self.descriptors(1)), "add:1")
        try withWork(verifies: true) { work, _ in
            for sequence in [0, 1, 1, 4, 2, 4, 0, 6] as [UInt64] { give(frame(producer, sequence), to: work) }
            #expect(work.counts.frames == 5 && work.counts.executed == 5)
            #expect(work.sequences.duplicates == 3 && work.sequences.reordered == 1)
            #expect(work.lost == 2)
            give(end(producer, 9), to: work)
            #expect(work.lost == 4)
            #expect(work.verify() == true, "what came twice must be applied once")
        }
    }

    @Test("Differences are found: payload, descriptors, blob, seed")
    func differences() throws {
        let payload = try producer(.payload(byteCount: 100), nil)
        try withWork(verifies: true) { work, _ in
            var bytes = frame(payload, 0)
            bytes[14 + 32 + 99] ^= 1
            give(bytes, to: work)
            #expect(work.verify() == false)
            #expect(work.firstMismatch == "payload of frame 0: byte 99 is not the seed's")
        }
        try withWork(verifies: true, seed: 2) { work, _ in
            give(frame(payload, 0), to: work)
            #expect(work.verify() == false)
        }
        let records = try producer(.descriptors(count: 4, Self.descriptors(1)), "xor:1")
        try withWork(verifies: true) { work, blob in
            give(frame(records, 0), to: work)
            blob[12345] ^= 1
            #expect(work.verify() == false)
            #expect(work.firstMismatch == "byte 12345 of the blob is not the reference's")
        }
        let others = try producer(.descriptors(count: 4, Self.descriptors(9)), "crc32c")
        try withWork(verifies: true) { work, _ in
            give(frame(others, 0), to: work)
            #expect(work.verify() == false)
            #expect(work.firstMismatch?.hasPrefix("descriptor 0 of frame 0") == true)
        }
    }

    @Test("What is none of ours, and what cannot be read or run, is counted and left alone")
    func refusals() throws {
        let producer = try producer(.payload(byteCount: 20), "fnv", isChecksummed: true)
        let good = frame(producer, 0)
        try withWork { work, _ in
            give([], to: work)
            give(Array(good[..<13]), to: work)
            var other = good
            other[13] = 0xB6
            give(other, to: work)
            give(Array(good[..<14]) + Array(repeating: 0x41, count: 60), to: work)
            #expect(work.counts.foreign == 4 && work.firstFault == nil)
            give(Array(good[..<40]), to: work)
            #expect(work.counts.malformed == 1)
            var damaged = good
            damaged[60] ^= 4
            give(damaged, to: work)
            #expect(work.counts.badChecksums == 1)
            // An end frame does not choose a stream; data does.
            give(end(producer, 5), to: work)
            #expect(!work.hasEnded && work.counts.otherStreams == 1)
            give(good, to: work)
            #expect(work.stream == 7 && work.counts.frames == 1)
        }
        // A program that cannot be: opcode 9 in the frame.
        let unchecked = try self.producer(.payload(byteCount: 20), "fnv")
        try withWork { work, _ in
            var unknown = frame(unchecked, 0)
            unknown[14 + 32] = 9
            give(unknown, to: work)
            #expect(work.counts.rejected == 1 && work.counts.executed == 0)
        }
        // Descriptors outside the receiver's blob.
        let wide = RandomDescriptors(region: 1 << 30..<1 << 31, alignment: 64, seed: 1, stream: 0)
        let records = try self.producer(.descriptors(count: 2, wide), "add:1")
        try withWork { work, blob in
            let before = Array(blob)
            give(frame(records, 0), to: work)
            #expect(work.counts.rejected == 1 && work.counts.executed == 0)
            #expect(Array(blob) == before)
        }
        // More programs than are kept.
        try withWork { work, _ in
            for number in 0..<12 as Range<UInt64> {
                give(frame(try self.producer(.payload(byteCount: 20), "xor:\(number)"), number), to: work)
            }
            #expect(work.counts.executed == UInt64(FrameWork.maximumPrograms))
            #expect(work.counts.rejected == 12 - UInt64(FrameWork.maximumPrograms))
        }
    }

    @Test(
        "100,000 mutated frames: each is counted once, nothing outside frame and blob is touched",
        arguments: [1, 2] as [UInt64])
    func mutations(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let producers = [
            try producer(.payload(byteCount: 40), "xor:1,crc32c"), try producer(.payload(byteCount: 9), nil),
            try producer(.descriptors(count: 3, Self.descriptors(1)), "add:1,counteq:3"),
            try producer(.descriptors(count: 2, Self.descriptors(1)), nil, isChecksummed: true),
        ]
        try withWork(own: "counteq:9", stream: 7) { work, _ in
            for sequence in 0..<50_000 as Range<UInt64> {
                let producer = producers.randomElement(using: &generator)!
                // The memory is exactly as long as the frame: the address sanitizer and malloc would show a touch beyond.
                let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: producer.byteCount, alignment: 1)
                defer { memory.deallocate() }
                producer.write(sequence, into: memory)
                for _ in 0..<Int.random(in: 0...3, using: &generator) {
                    let interesting: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF, .random(in: 0...255, using: &generator)]
                    // Mostly headers: that is where lengths are.
                    let place = Int.random(
                        in: 0..<min(memory.count, Bool.random(using: &generator) ? 120 : 62), using: &generator)
                    memory[place] = interesting.randomElement(using: &generator)!
                }
                let length =
                    UInt8.random(in: 0..<8, using: &generator) == 0
                    ? Int.random(in: 0...memory.count, using: &generator) : memory.count
                work.take(UnsafeMutableRawBufferPointer(rebasing: memory[..<length]))
            }
            work.finishBatch()
            let counts = work.counts
            let sequences = work.sequences
            let seen =
                counts.frames + sequences.duplicates + sequences.stale + sequences.jumps + counts.foreign
                + counts.malformed + counts.badChecksums + counts.otherStreams + counts.ends
            #expect(seen == 50_000)
            #expect(counts.executed + counts.rejected == counts.frames)
            for count in [
                counts.frames, counts.executed, counts.foreign, counts.malformed, counts.badChecksums, counts.rejected,
            ] {
                #expect(count > 0, "the mutations should reach all ends: \(counts)")
            }
        }
    }
}
