import PacketFSGram
import Testing

@Suite("Records")
struct RecordTests {
    @Test("Layout of the wire structures")
    func layout() {
        #expect(MemoryLayout<Descriptor>.size == 16)
        #expect(MemoryLayout<Descriptor>.stride == 16)
        #expect(MemoryLayout<Instruction>.stride == 4)
        #expect(RecordFormat.byteCount(descriptors: 64) == 16 + 64 * 16)
        // 16 header + 4 instruction + 4 count, padded to 32, + one descriptor
        #expect(RecordFormat.byteCount(descriptors: 1, instructions: 1) == 32 + 16)
        // 16 + 3 * 4 + 4 = 32: no padding
        #expect(RecordFormat.byteCount(descriptors: 0, instructions: 3) == 32)
        #expect(RecordFormat.byteCount(descriptors: 0, instructions: 4) == 48)
    }

    @Test("A plain record byte by byte")
    func plainBytes() {
        withRecordMemory(64) { memory in
            let table = RecordEncoder.begin(in: memory, descriptorCount: 1)
            table[0] = Descriptor(offset: 0x1122_3344_5566_7788, length: 0x99AA_BBCC)
            let expected: [UInt8] = [
                1, 0, 0, 0, 1, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0,
                0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xCC, 0xBB, 0xAA, 0x99, 0, 0, 0, 0,
            ]
            #expect(Array(memory[..<32]) == expected)
            #expect(memory[32] == 0xA5, "bytes beyond the record are left alone")
        }
    }

    @Test("A program-carrying record byte by byte")
    func programBytes() {
        withRecordMemory(64) { memory in
            let table = RecordEncoder.begin(
                in: memory, descriptorCount: 1, instructions: [Instruction(opcode: 1, immediate: 255)])
            table[0] = Descriptor(offset: 64, length: 5)
            let expected: [UInt8] = [
                0x50, 0x46, 0x53, 0x49, 1, 0, 1, 0, 48, 0, 0, 0, 0, 0, 0, 0,
                1, 255, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                64, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
            ]
            #expect(Array(memory[..<48]) == expected)
        }
    }

    @Test("Random records come back as they were written", arguments: 0..<200 as Range<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let blob = UInt64.random(in: 1...1 << 40, using: &generator)
        let descriptors = randomDescriptors(.random(in: 0...300, using: &generator), blob: blob, using: &generator)
        let instructions = randomInstructions(.random(in: 0...32, using: &generator), using: &generator)
        let byteCount = RecordFormat.byteCount(descriptors: descriptors.count, instructions: instructions.count)
        try withRecordMemory(byteCount + Int.random(in: 0...64, using: &generator)) { memory in
            let table = RecordEncoder.begin(
                in: memory, descriptorCount: descriptors.count, instructions: instructions)
            _ = table.initialize(from: descriptors)
            let view = try RecordView(validating: UnsafeRawBufferPointer(memory))
            #expect(view.byteCount == byteCount)
            #expect(view.instructions() == instructions)
            #expect(view.carries(instructions))
            #expect(!view.carries(instructions + [Instruction(opcode: 1)]))
            if let last = instructions.last {
                let flipped = last.word ^ UInt32(1) << UInt32.random(in: 0...31, using: &generator)
                let other = instructions.dropLast() + [Instruction(word: flipped)]
                #expect(!view.carries(Array(other)))
            }
            #expect(Array(view.descriptors) == descriptors)
            let scratch = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: max(1, descriptors.count))
            defer { scratch.deallocate() }
            let loaded = try view.loadDescriptors(into: scratch, blobByteCount: Int(blob))
            #expect(Array(loaded.descriptors) == descriptors)
            #expect(loaded.byteCount == descriptors.reduce(0) { $0 + UInt64($1.length) })
            // One byte less than the record is never enough.
            #expect(throws: RecordError.self) {
                try RecordView(validating: UnsafeRawBufferPointer(rebasing: memory[..<(byteCount - 1)]))
            }
        }
    }

    @Test("Each damaged header field is named")
    func damagedHeaders() {
        func error(_ instructions: Int, _ damage: (UnsafeMutableRawBufferPointer) -> Void) -> RecordError? {
            withRecordMemory(256) { memory -> RecordError? in
                _ = RecordEncoder.begin(
                    in: memory, descriptorCount: 2,
                    instructions: Array(repeating: Instruction(opcode: 4), count: instructions))
                damage(memory)
                do {
                    _ = try RecordView(validating: UnsafeRawBufferPointer(memory))
                    return nil
                } catch let error as RecordError {
                    return error
                } catch {
                    return nil
                }
            }
        }
        func store<T>(_ value: T, _ offset: Int) -> (UnsafeMutableRawBufferPointer) -> Void {
            { $0.storeBytes(of: value, toByteOffset: offset, as: T.self) }
        }
        #expect(error(0) { _ in } == nil)
        #expect(error(3) { _ in } == nil)
        for instructions in [0, 3] {
            #expect(error(instructions, store(UInt16(2), 4)) == .unsupportedVersion(2))
            #expect(error(instructions, store(UInt16(0), 4)) == .unsupportedVersion(0))
            #expect(error(instructions, store(UInt32(1), 12)) == .reservedBits)
        }
        #expect(error(0, store(UInt16(1), 6)) == .reservedBits)
        #expect(error(3, store(UInt16(0), 6)) == .badInstructionCount(0))
        #expect(error(3, store(UInt16(33), 6)) == .badInstructionCount(33))
        #expect(error(0, store(UInt32(65_537), 0)) == .tooManyDescriptors(65_537))
        #expect(error(3, store(UInt32.max, 28)) == .tooManyDescriptors(.max))
        #expect(error(0, store(UInt32(49), 8)) == .wrongLength(stated: 49, computed: 48))
        #expect(error(0, store(UInt32(1000), 0)) == .wrongLength(stated: 48, computed: 16 + 16_000))
        // A consistent lie about the length is caught against the memory at hand.
        let truncated = error(0) {
            store(UInt32(1000), 0)($0)
            store(UInt32(16_016), 8)($0)
        }
        #expect(truncated == .truncated(needed: 16_016, available: 256))
    }

    @Test("Descriptors outside the blob are refused, and the first one is named")
    func descriptorsOutside() {
        let blob = 1 << 20
        let bad: [Descriptor] = [
            Descriptor(offset: UInt64(blob), length: 1), Descriptor(offset: UInt64(blob) - 1, length: 2),
            Descriptor(offset: UInt64(blob) + 1, length: 0), Descriptor(offset: .max, length: 0),
            Descriptor(offset: .max, length: 1), Descriptor(offset: .max, length: .max),
            Descriptor(offset: 1 << 63, length: 0), Descriptor(offset: (1 << 63) - 1, length: .max),
            Descriptor(offset: .max - UInt64(UInt32.max) + 1, length: .max),
            Descriptor(offset: 0, length: UInt32(blob) + 1), Descriptor(offset: 0, length: 1, flags: 1),
        ]
        let good = [
            Descriptor(offset: 0, length: UInt32(blob)), Descriptor(offset: UInt64(blob), length: 0),
            Descriptor(offset: UInt64(blob) - 1, length: 1),
        ]
        let scratch = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: 4)
        defer { scratch.deallocate() }
        for descriptor in bad {
            #expect(!descriptor.fits(in: UInt64(blob)))
            for position in 0...good.count {
                var all = good
                all.insert(descriptor, at: position)
                withRecordMemory(RecordFormat.byteCount(descriptors: all.count)) { memory in
                    _ = RecordEncoder.begin(in: memory, descriptorCount: all.count).initialize(from: all)
                    #expect(throws: RecordError.descriptorOutOfRange(index: position, descriptor)) {
                        try RecordView(validating: UnsafeRawBufferPointer(memory))
                            .loadDescriptors(into: scratch, blobByteCount: blob)
                    }
                }
            }
        }
    }

    @Test("Mutated records are read or refused, never more than the memory at hand", arguments: 0..<64 as Range<UInt64>)
    func mutations(seed: UInt64) {
        var generator = SeededGenerator(seed: seed &+ 0xF022)
        let blob = 1 << 16
        let scratch = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: RecordFormat.maximumDescriptors)
        defer { scratch.deallocate() }
        var accepted = 0
        var refused = 0
        for _ in 0..<300 {
            let descriptors = randomDescriptors(
                .random(in: 0...8, using: &generator), blob: UInt64(blob), using: &generator)
            let instructions = randomInstructions(.random(in: 0...6, using: &generator), using: &generator)
            // The memory is exactly as long as the record: the address sanitizer and malloc would show a read beyond.
            let byteCount = RecordFormat.byteCount(descriptors: descriptors.count, instructions: instructions.count)
            withRecordMemory(byteCount) { memory in
                _ = RecordEncoder.begin(in: memory, descriptorCount: descriptors.count, instructions: instructions)
                    .initialize(from: descriptors)
                for _ in 0..<Int.random(in: 0...4, using: &generator) {
                    let interesting: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF, .random(in: 0...255, using: &generator)]
                    memory[.random(in: 0..<byteCount, using: &generator)] = interesting.randomElement(
                        using: &generator)!
                }
                let length = Bool.random(using: &generator) ? byteCount : .random(in: 0...byteCount, using: &generator)
                let bytes = UnsafeRawBufferPointer(rebasing: memory[..<length])
                guard let view = try? RecordView(validating: bytes) else { return refused += 1 }
                #expect(view.byteCount <= length)
                #expect(view.instructions().count == view.instructionCount)
                guard let loaded = try? view.loadDescriptors(into: scratch, blobByteCount: blob) else {
                    return refused += 1
                }
                #expect(loaded.descriptors.allSatisfy { $0.fits(in: UInt64(blob)) })
                accepted += 1
            }
        }
        #expect(accepted > 0 && refused > 0, "the mutations should reach both ends")
    }
}
