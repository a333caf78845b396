import PacketFSGram
import Testing

@Suite("Frames")
struct FrameTests {
    private static func error(of bytes: UnsafeRawBufferPointer) -> FrameError? {
        do throws(FrameError) {
            _ = try FrameView(validating: bytes)
            return nil
        } catch {
            return error
        }
    }

    @Test("A frame byte by byte")
    func bytes() {
        withRecordMemory(128) { memory in
            let header = FrameHeader(
                kind: .payload, sequence: 0x1122_3344_5566_7788, stream: 0x99AA_BBCC, isChecksummed: true)
            let body = FrameEncoder.begin(
                header, in: memory, bodyByteCount: 3, instructions: [Instruction(opcode: 1, immediate: 255)])
            #expect(body.count == 3 && body.baseAddress == memory.baseAddress! + 36)
            body.copyBytes(from: [7, 8, 9])
            FrameEncoder.setChecksum(0xDDEE_FF01, in: memory)
            let expected: [UInt8] = [
                0x50, 0x46, 0x53, 0x46, 0x01, 0xFF, 0xEE, 0xDD, 1, 1, 1, 1, 3, 0, 0, 0,
                0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xCC, 0xBB, 0xAA, 0x99, 0, 0, 0, 0,
                1, 255, 0, 0, 7, 8, 9,
            ]
            #expect(Array(memory[..<39]) == expected)
            #expect(memory[39] == 0xA5, "bytes beyond the frame are left alone")
            FrameEncoder.setSequence(5, in: memory)
            #expect(Array(memory[16..<24]) == [5, 0, 0, 0, 0, 0, 0, 0])
        }
    }

    @Test("Random frames come back as they were written, at any address", arguments: 0..<200 as Range<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let kind = [FrameKind.payload, .descriptors, .end].randomElement(using: &generator)!
        let instructions =
            kind == .payload
            ? randomInstructions(.random(in: 0...32, using: &generator), using: &generator) : []
        let bodyByteCount = kind == .end ? 0 : Int.random(in: 0...2000, using: &generator)
        let header = FrameHeader(
            kind: kind, sequence: .random(in: 0..<FrameFormat.sequenceLimit, using: &generator),
            stream: .random(in: 0...UInt32.max, using: &generator), isChecksummed: .random(using: &generator))
        let byteCount = FrameFormat.byteCount(body: bodyByteCount, instructions: instructions.count)
        let shift = Int.random(in: 0..<16, using: &generator)
        try withRecordMemory(shift + byteCount) { memory in
            let frame = UnsafeMutableRawBufferPointer(rebasing: memory[shift...])
            let body = FrameEncoder.begin(
                header, in: frame, bodyByteCount: bodyByteCount, instructions: instructions)
            let content = (0..<bodyByteCount).map { _ in UInt8.random(in: 0...255, using: &generator) }
            body.copyBytes(from: content)
            if header.isChecksummed { FrameEncoder.setChecksum(0x1234, in: frame) }
            let view = try FrameView(validating: UnsafeRawBufferPointer(frame))
            #expect(view.header == header)
            #expect(view.byteCount == byteCount)
            #expect(view.instructions() == instructions)
            #expect(view.carries(instructions))
            #expect(!view.carries(instructions + [Instruction(opcode: 1)]))
            #expect(Array(view.body) == content)
            #expect(view.checksum == (header.isChecksummed ? 0x1234 : nil))
            #expect(view.checksummedBytes.count == byteCount - 8)
            // One byte less than the frame is never enough.
            #expect(throws: FrameError.self) {
                try FrameView(validating: UnsafeRawBufferPointer(rebasing: frame[..<(byteCount - 1)]))
            }
        }
    }

    @Test("Each damaged field is named")
    func damagedFields() {
        func error<T>(
            _ value: T, _ offset: Int, kind: FrameKind = .payload
        ) -> FrameError? {
            withRecordMemory(64) { memory in
                let header = FrameHeader(kind: kind, sequence: 1, stream: 1)
                _ = FrameEncoder.begin(
                    header, in: memory, bodyByteCount: kind == .end ? 0 : 8)
                #expect(Self.error(of: UnsafeRawBufferPointer(memory)) == nil)
                memory.storeBytes(of: value, toByteOffset: offset, as: T.self)
                return Self.error(of: UnsafeRawBufferPointer(memory))
            }
        }
        #expect(error(UInt32(7), 0) == .wrongMagic(7))
        #expect(error(UInt8(2), 8) == .unsupportedVersion(2))
        #expect(error(UInt8(0), 9) == .unknownKind(0))
        #expect(error(UInt8(4), 9) == .unknownKind(4))
        #expect(error(UInt8(33), 10) == .badInstructionCount(33, .payload))
        #expect(error(UInt8(1), 10, kind: .descriptors) == .badInstructionCount(1, .descriptors))
        #expect(error(UInt8(1), 10, kind: .end) == .badInstructionCount(1, .end))
        #expect(error(UInt8(2), 11) == .reservedBits)
        #expect(error(UInt32(1), 4) == .reservedBits, "a checksum that the flags deny")
        #expect(error(UInt32(1), 28) == .reservedBits)
        #expect(error(UInt32(33), 12) == .truncated(needed: 65, available: 64))
        #expect(error(UInt8(7), 10) == .truncated(needed: 68, available: 64))
        #expect(error(UInt32(65_476), 12) == .badLength(65_476, .payload))
        #expect(error(UInt32.max, 12) == .badLength(.max, .payload))
        #expect(error(UInt32(1), 12, kind: .end) == .badLength(1, .end))
        #expect(error(FrameFormat.sequenceLimit, 16) == .badSequence(FrameFormat.sequenceLimit))
        #expect(error(UInt64.max, 16) == .badSequence(.max))
    }

    @Test("Mutated frames are read or refused, never more than the memory at hand", arguments: 0..<64 as Range<UInt64>)
    func mutations(seed: UInt64) {
        var generator = SeededGenerator(seed: seed &+ 0xF4A3)
        var accepted = 0
        var refused = 0
        for _ in 0..<1600 {
            let instructions = randomInstructions(.random(in: 0...6, using: &generator), using: &generator)
            let body = Int.random(in: 0...64, using: &generator)
            // The memory is exactly as long as the frame: the address sanitizer and malloc would show a read beyond.
            let byteCount = FrameFormat.byteCount(body: body, instructions: instructions.count)
            withRecordMemory(byteCount) { memory in
                let header = FrameHeader(
                    kind: .payload, sequence: 9, stream: 3, isChecksummed: .random(using: &generator))
                _ = FrameEncoder.begin(header, in: memory, bodyByteCount: body, instructions: instructions)
                for _ in 0..<Int.random(in: 0...3, using: &generator) {
                    let interesting: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF, .random(in: 0...255, using: &generator)]
                    memory[.random(in: 0..<byteCount, using: &generator)] = interesting.randomElement(
                        using: &generator)!
                }
                let length = Bool.random(using: &generator) ? byteCount : .random(in: 0...byteCount, using: &generator)
                let bytes = UnsafeRawBufferPointer(rebasing: memory[..<length])
                guard let view = try? FrameView(validating: bytes) else { return refused += 1 }
                #expect(view.byteCount <= length)
                #expect(view.body.count + view.instructions().count * 4 + 32 == view.byteCount)
                #expect(view.header.sequence < FrameFormat.sequenceLimit)
                accepted += 1
            }
        }
        #expect(accepted > 0 && refused > 0, "the mutations should reach both ends")
    }
}
