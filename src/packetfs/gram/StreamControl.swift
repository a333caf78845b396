// Control records of a stream: what a producer says about its records, between them.
//
//   begin: [header 16 B][u64 seed, first_record, range_start, range_end, blob_bytes, blob_file]
//          [u32 dpf, align, flags, n][PfsInsn x n]
//   end:   [header 16 B][u64 records, descriptors, bytes][u32 answered, totals]
//          [u64 records, rejected, descriptors, bytes][u64 total x 32]
//
//   header: u32 magic "PFSC", u16 version, u16 kind, u32 record_bytes, u32 reserved
//
// All little endian. The magic is larger than any legal dpf, so a reader that knows nothing of control records refuses them.

/// The beginning of a stream: what its records will be, so that the consumer can find the blob and compute anew what the
/// records are.
public struct StreamBegin: Sendable, Hashable {
    /// Seed of the descriptors, which are those of stream 0.
    public var seed: UInt64
    /// Number of the first record that follows: its descriptors are those from `firstRecord * descriptorsPerRecord` on.
    public var firstRecord: UInt64
    /// Range of the blob in which all descriptors lie.
    public var range: Range<UInt64>
    /// Size of the blob in bytes.
    public var blobByteCount: UInt64
    /// Number of the blob's file (inode): a consumer that opens another one by that name is told.
    public var blobFile: UInt64
    /// Descriptors in each record.
    public var descriptorsPerRecord: UInt32
    /// Alignment of descriptors in bytes, a power of two.
    public var alignment: UInt32
    /// What the producer leaves to a consumer that survives it.
    public var flags: Flags
    /// The program that all records carry; 1 to 32 instructions.
    public var instructions: [Instruction]

    /// What the producer leaves to a consumer that survives it.
    public struct Flags: OptionSet, Sendable, Hashable {
        /// The bits.
        public let rawValue: UInt32
        /// From its bits.
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// The ring is to be removed after the stream.
        public static let removesRing = Flags(rawValue: 1)
        /// The blob is to be removed after the stream.
        public static let removesBlob = Flags(rawValue: 2)
    }

    /// Makes a beginning; nothing is checked here.
    public init(
        seed: UInt64, firstRecord: UInt64, range: Range<UInt64>, blobByteCount: UInt64, blobFile: UInt64,
        descriptorsPerRecord: UInt32, alignment: UInt32, flags: Flags, instructions: [Instruction]
    ) {
        self.seed = seed
        self.firstRecord = firstRecord
        self.range = range
        self.blobByteCount = blobByteCount
        self.blobFile = blobFile
        self.descriptorsPerRecord = descriptorsPerRecord
        self.alignment = alignment
        self.flags = flags
        self.instructions = instructions
    }
}

/// The end of a stream: what the producer has sent since its beginning.
public struct StreamEnd: Sendable, Hashable {
    /// Records, descriptors in them, and the sum of the descriptors' lengths in bytes.
    public var records: UInt64, descriptors: UInt64, bytes: UInt64

    /// Makes an end.
    public init(records: UInt64, descriptors: UInt64, bytes: UInt64) {
        self.records = records
        self.descriptors = descriptors
        self.bytes = bytes
    }
}

/// What the consumer writes into the end record before it releases it: what it has executed since the beginning.
@dynamicMemberLookup
public struct StreamAnswer: Sendable, Hashable {
    /// What was executed and refused; operation bytes and sleeps are not transmitted. Its counts are members of this value, too.
    public var tally: Tally
    /// One total per reducing operation of the program, at most 32.
    public var totals: [UInt64]

    /// Makes an answer.
    public init(_ tally: Tally, totals: [UInt64]) { (self.tally, self.totals) = (tally, totals) }

    /// A count.
    public subscript(dynamicMember count: KeyPath<Tally, UInt64>) -> UInt64 { tally[keyPath: count] }
}

/// A control record, read out of memory that others may write: each field once, into private memory, then checked.
public enum StreamControl: Sendable, Hashable {
    /// A stream begins.
    case begin(StreamBegin)
    /// A stream ends.
    case end(StreamEnd)

    /// First word of a control record: "PFSC" in memory.
    public static let magic: UInt32 = 0x4353_4650

    fileprivate static let beginKind: UInt16 = 1
    fileprivate static let endKind: UInt16 = 2
    fileprivate static let beginByteCount = 80
    fileprivate static let answerOffset = 40
    fileprivate static let endByteCount = 80 + 8 * RecordFormat.maximumInstructions

    /// Whether the record at the start of `bytes` is a control record, by its first word.
    @inlinable
    public static func isControl(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= MemoryLayout<UInt32>.size && UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)) == magic
    }

    /// Bytes of the record that says `begin`.
    public static func byteCount(of begin: StreamBegin) -> Int {
        beginByteCount + begin.instructions.count * MemoryLayout<Instruction>.stride
    }

    /// Bytes of an end record.
    public static var byteCountOfEnd: Int { endByteCount }

    /// Writes a begin record to the start of `memory`, at least ``byteCount(of:)`` bytes (precondition).
    public static func write(_ begin: StreamBegin, to memory: UnsafeMutableRawBufferPointer) {
        precondition(begin.instructions.count <= RecordFormat.maximumInstructions, "too many instructions")
        var writer = Writer(memory, kind: beginKind, byteCount: byteCount(of: begin))
        for value in [
            begin.seed, begin.firstRecord, begin.range.lowerBound, begin.range.upperBound, begin.blobByteCount,
            begin.blobFile,
        ] { writer.put(value) }
        let count = UInt32(begin.instructions.count)
        for value in [begin.descriptorsPerRecord, begin.alignment, begin.flags.rawValue, count] { writer.put(value) }
        for instruction in begin.instructions { writer.put(instruction.word) }
    }

    /// Writes an end record without an answer to the start of `memory`, at least ``byteCountOfEnd`` bytes (precondition).
    public static func write(_ end: StreamEnd, to memory: UnsafeMutableRawBufferPointer) {
        var writer = Writer(memory, kind: endKind, byteCount: endByteCount)
        for value in [end.records, end.descriptors, end.bytes] { writer.put(value) }
        while writer.offset < endByteCount { writer.put(UInt64(0)) }
    }

    /// Copies the control record at the start of `bytes` and checks the copy.
    ///
    /// A begin's counts, flags and ranges are checked as far as they do not depend on the blob; what its instructions mean is
    /// for PacketFSPCPU to check.
    public init(validating bytes: UnsafeRawBufferPointer) throws(RecordError) {
        guard bytes.count >= RecordFormat.headerByteCount else {
            throw .truncated(needed: RecordFormat.headerByteCount, available: bytes.count)
        }
        let available = min(bytes.count, Self.endByteCount)
        let copy = [UInt8](UnsafeRawBufferPointer(rebasing: bytes[..<available]))
        var reader = Reader(copy)
        guard reader.word32() == Self.magic else { throw .notControl }
        let versionAndKind = reader.word32()
        let version = UInt16(truncatingIfNeeded: versionAndKind)
        guard version == RecordFormat.version else { throw .unsupportedVersion(version) }
        let stated = reader.word32()
        guard reader.word32() == 0 else { throw .reservedBits }
        switch UInt16(truncatingIfNeeded: versionAndKind >> 16) {
        case Self.beginKind:
            self = .begin(try reader.begin(stated: stated))
        case Self.endKind:
            try reader.require(Self.endByteCount, stated: stated)
            self = .end(StreamEnd(records: reader.word64(), descriptors: reader.word64(), bytes: reader.word64()))
        default:
            throw .notControl
        }
    }

    /// Writes the consumer's answer into the end record at the start of `record`, which was accepted by
    /// ``init(validating:)`` and is not released yet. The release publishes it.
    public static func answer(_ answer: StreamAnswer, to record: UnsafeMutableRawBufferPointer) {
        precondition(answer.totals.count <= RecordFormat.maximumInstructions, "too many totals")
        var writer = Writer(record, at: answerOffset)
        writer.put(UInt32(1))
        writer.put(UInt32(answer.totals.count))
        let tally = answer.tally
        for value in [tally.records, tally.rejectedRecords, tally.descriptors, tally.bytes] + answer.totals {
            writer.put(value)
        }
    }

    /// The answer in an end record that the consumer has released; nil if there is none that can be read.
    public static func answer(in record: UnsafeRawBufferPointer) -> StreamAnswer? {
        guard record.count >= endByteCount else { return nil }
        var reader = Reader([UInt8](record[answerOffset..<endByteCount]))
        guard reader.word32() == 1 else { return nil }
        let count = Int(reader.word32())
        guard count <= RecordFormat.maximumInstructions else { return nil }
        var tally = Tally()
        tally.records = reader.word64()
        tally.rejectedRecords = reader.word64()
        tally.descriptors = reader.word64()
        tally.bytes = reader.word64()
        return StreamAnswer(tally, totals: (0..<count).map { _ in reader.word64() })
    }
}

/// Puts little-endian words one behind the other.
private struct Writer {
    private let memory: UnsafeMutableRawBufferPointer
    private(set) var offset: Int

    init(_ memory: UnsafeMutableRawBufferPointer, at offset: Int) {
        self.memory = memory
        self.offset = offset
    }

    init(_ memory: UnsafeMutableRawBufferPointer, kind: UInt16, byteCount: Int) {
        precondition(memory.count >= byteCount, "memory too small for the record")
        self.init(memory, at: 0)
        put(StreamControl.magic)
        put(UInt32(RecordFormat.version) | UInt32(kind) << 16)
        put(UInt32(byteCount))
        put(UInt32(0))
    }

    mutating func put<Word: FixedWidthInteger>(_ value: Word) {
        memory.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Word.self)
        offset += MemoryLayout<Word>.size
    }
}

/// Takes little-endian words off a private copy, one behind the other; whoever calls has made sure that they are there.
private struct Reader {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func word32() -> UInt32 { take() }
    mutating func word64() -> UInt64 { take() }

    private mutating func take<Word: FixedWidthInteger>() -> Word {
        defer { offset += MemoryLayout<Word>.size }
        return bytes.withUnsafeBytes { Word(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Word.self)) }
    }

    func require(_ needed: Int, stated: UInt32) throws(RecordError) {
        guard Int(stated) == needed else { throw .wrongLength(stated: stated, computed: needed) }
        guard needed <= bytes.count else { throw .truncated(needed: needed, available: bytes.count) }
    }

    mutating func begin(stated: UInt32) throws(RecordError) -> StreamBegin {
        let fixed = StreamControl.beginByteCount
        guard fixed <= bytes.count else { throw .truncated(needed: fixed, available: bytes.count) }
        let seed = word64()
        let firstRecord = word64()
        let start = word64()
        let end = word64()
        let blobByteCount = word64()
        let blobFile = word64()
        let descriptors = word32()
        let alignment = word32()
        let flags = word32()
        let count = word32()
        guard 1...UInt32(RecordFormat.maximumInstructions) ~= count else {
            throw .badInstructionCount(UInt16(truncatingIfNeeded: count))
        }
        try require(fixed + Int(count) * MemoryLayout<Instruction>.stride, stated: stated)
        guard 1...UInt32(RecordFormat.maximumDescriptors) ~= descriptors else {
            throw .tooManyDescriptors(descriptors)
        }
        guard flags & ~3 == 0 else { throw .reservedBits }
        guard alignment.nonzeroBitCount == 1, alignment <= 1 << 20, start < end, end <= blobByteCount,
            blobByteCount < 1 << 62
        else { throw .badStream }
        return StreamBegin(
            seed: seed, firstRecord: firstRecord, range: start..<end, blobByteCount: blobByteCount, blobFile: blobFile,
            descriptorsPerRecord: descriptors, alignment: alignment, flags: .init(rawValue: flags),
            instructions: (0..<count).map { _ in Instruction(word: word32()) })
    }
}
