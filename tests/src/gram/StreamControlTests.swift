import PacketFSGram
import Testing

@Suite("Control records")
struct StreamControlTests {
    private let begin = StreamBegin(
        seed: 1, firstRecord: 2, range: 3..<4, blobByteCount: 5, blobFile: 6, descriptorsPerRecord: 7, alignment: 8,
        flags: [.removesRing], instructions: [Instruction(opcode: 1, immediate: 255), Instruction(opcode: 5)])

    private func bytes(_ count: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xA5, count: count)
        bytes.withUnsafeMutableBytes(write)
        return bytes
    }

    private func parse(_ bytes: [UInt8]) throws -> StreamControl {
        try bytes.withUnsafeBytes { try StreamControl(validating: $0) }
    }

    @Test("A begin record byte by byte")
    func beginBytes() throws {
        let count = StreamControl.byteCount(of: begin)
        #expect(count == 88)
        let bytes = bytes(count + 1) { StreamControl.write(begin, to: $0) }
        let words: [UInt32] = [
            0x4353_4650, 0x0001_0001, 88, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 8, 1, 2, 0xFF01, 5,
        ]
        #expect(
            bytes.dropLast()
                == words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } }[...])
        #expect(bytes.last == 0xA5)
        #expect(try parse(bytes) == .begin(begin))
    }

    @Test("An end record, its answer, and answers that cannot be read")
    func answers() throws {
        let end = StreamEnd(records: 1 << 40, descriptors: 1 << 41, bytes: .max)
        var record = bytes(384) { StreamControl.write(end, to: $0) }
        #expect(StreamControl.byteCountOfEnd == 336 && record[336] == 0xA5)
        #expect(try parse(record) == .end(end))
        record.withUnsafeBytes { #expect(StreamControl.answer(in: $0) == nil) }
        for totals in [[], [7], (0..<32).map { UInt64($0) << 59 }] as [[UInt64]] {
            var tally = Tally()
            (tally.records, tally.rejectedRecords, tally.descriptors, tally.bytes) = (1, 2, 3, 4)
            let answer = StreamAnswer(tally, totals: totals)
            record.withUnsafeMutableBytes { StreamControl.answer(answer, to: $0) }
            record.withUnsafeBytes { #expect(StreamControl.answer(in: $0) == answer) }
            #expect(try parse(record) == .end(end))
        }
        record[44] = 33
        record.withUnsafeBytes { #expect(StreamControl.answer(in: $0) == nil) }
        record[...].prefix(335).withUnsafeBytes { #expect(StreamControl.answer(in: $0) == nil) }
    }

    @Test("A reader of records refuses control records, and the other way round")
    func kinds() throws {
        let control = bytes(128) { StreamControl.write(begin, to: $0) }
        control.withUnsafeBytes { bytes in
            #expect(StreamControl.isControl(bytes))
            #expect(throws: RecordError.self) { try RecordView(validating: bytes) }
        }
        let record = bytes(128) { _ = RecordEncoder.begin(in: $0, descriptorCount: 2) }
        record.withUnsafeBytes { #expect(!StreamControl.isControl($0)) }
        #expect(throws: RecordError.notControl) { try parse(record) }
        #expect([UInt8]().withUnsafeBytes { !StreamControl.isControl($0) })
    }

    @Test("Every shortening and every changed field that cannot be is refused")
    func refused() throws {
        let count = StreamControl.byteCount(of: begin)
        let good = bytes(count) { StreamControl.write(begin, to: $0) }
        for length in 0..<count {
            #expect(throws: RecordError.self, "\(length)") { try parse(Array(good.prefix(length))) }
        }
        // Version, kind, length, reserved, range, blob size, dpf, alignment, flags, instructions.
        for (offset, value) in [
            (4, 2), (6, 3), (8, 89), (12, 1), (32, 4), (40, 3), (48, 3), (64, 0), (66, 2), (68, 3), (70, 0x20), (72, 4),
            (76, 0),
            (76, 33),
        ] as [(Int, UInt8)] {
            var bad = good
            bad[offset] = value
            #expect(throws: RecordError.self, "byte \(offset) = \(value)") { try parse(bad) }
        }
    }
}
