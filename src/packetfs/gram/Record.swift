// A record is one unit of work in a ring's slab: a table of descriptors, with or without the program to apply.
//
//   plain:             [PfsGramHdr 16 B][PfsGramDesc x dpf]
//   program-carrying:  [PfsInsnHdr 16 B][PfsInsn x n][PfsGramHdr, its first 4 bytes][pad to 16][PfsGramDesc x dpf]
//
//   PfsGramHdr: u32 dpf, u16 version, u16 reserved, u32 record_bytes, u32 reserved
//   PfsInsnHdr: u32 magic "PFSI", u16 version, u16 n, u32 record_bytes, u32 reserved
//
// All little endian; a record starts at a 64-byte aligned address. The first word tells the two apart: the magic is
// larger than any legal dpf. record_bytes is the length from the first byte of the record to the end of its table.

/// Constants and sizes of the record format.
public enum RecordFormat {
    /// The version that this code writes, and the only one that it reads.
    public static let version: UInt16 = 1
    /// First word of a program-carrying record: "PFSI" in memory.
    public static let programMagic: UInt32 = 0x4953_4650
    /// The most descriptors in one record.
    public static let maximumDescriptors = 65_536
    /// The most instructions in one record.
    public static let maximumInstructions = 32
    /// Bytes of either header.
    public static let headerByteCount = 16
    /// A record starts at a multiple of this many bytes.
    public static let alignment = 64

    /// Bytes of a record with `descriptors` descriptors and `instructions` instructions (0 means a plain record).
    public static func byteCount(descriptors: Int, instructions: Int = 0) -> Int {
        tableOffset(instructions: instructions) + descriptors * MemoryLayout<Descriptor>.stride
    }

    /// Offset of the descriptor table in a record with `instructions` instructions (0 means a plain record).
    @usableFromInline
    static func tableOffset(instructions: Int) -> Int {
        guard instructions > 0 else { return headerByteCount }
        let countEnd = headerByteCount + instructions * MemoryLayout<Instruction>.stride + MemoryLayout<UInt32>.size
        return (countEnd + 15) & ~15
    }
}

/// Why the bytes at hand are not a record that this version can read.
public enum RecordError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Fewer bytes than the header or the lengths in it call for.
    case truncated(needed: Int, available: Int)
    /// The version is not ``RecordFormat/version``.
    case unsupportedVersion(UInt16)
    /// A reserved field is not zero.
    case reservedBits
    /// The count of descriptors exceeds ``RecordFormat/maximumDescriptors``.
    case tooManyDescriptors(UInt32)
    /// The count of instructions is 0 or exceeds ``RecordFormat/maximumInstructions``.
    case badInstructionCount(UInt16)
    /// record_bytes disagrees with the counts.
    case wrongLength(stated: UInt32, computed: Int)
    /// A descriptor lies outside the blob or has reserved flags set; `index` is the first such one.
    case descriptorOutOfRange(index: Int, Descriptor)
    /// A control record of a kind that this version does not know, or no control record.
    case notControl
    /// The beginning of a stream whose range, blob size or alignment cannot be.
    case badStream

    /// What is wrong and where.
    public var description: String {
        switch self {
        case .truncated(let needed, let available):
            "the record is truncated: \(needed) bytes needed, \(available) available"
        case .unsupportedVersion(let version):
            "the record has version \(version); this code reads version \(RecordFormat.version)"
        case .reservedBits:
            "a reserved field of the record is not zero"
        case .tooManyDescriptors(let count):
            "the record claims \(count) descriptors; at most \(RecordFormat.maximumDescriptors) are allowed"
        case .badInstructionCount(let count):
            "the record claims \(count) instructions; 1 to \(RecordFormat.maximumInstructions) are allowed"
        case .wrongLength(let stated, let computed):
            "the record states \(stated) bytes, its counts give \(computed)"
        case .descriptorOutOfRange(let index, let descriptor):
            "descriptor \(index) (offset \(descriptor.offset), length \(descriptor.length), "
                + "flags \(descriptor.flags)) is outside the blob or has reserved flags"
        case .notControl:
            "the record is no control record of a kind that this code knows"
        case .badStream:
            "the record begins a stream whose range, blob size or alignment cannot be"
        }
    }
}

/// Writes records into memory that the caller owns, such as a ring slab's reserved span.
public enum RecordEncoder {
    /// Writes a record's headers and instructions and returns its descriptor table, for the caller to fill in place.
    ///
    /// - Parameters:
    ///   - memory: at least ``RecordFormat/byteCount(descriptors:instructions:)`` bytes, 16-byte aligned
    ///     (preconditions). Bytes beyond the record are left alone.
    ///   - descriptorCount: 0 to ``RecordFormat/maximumDescriptors``.
    ///   - instructions: none for a plain record, else 1 to ``RecordFormat/maximumInstructions``.
    /// - Returns: the table, bound to `Descriptor`, contents undefined until filled.
    @inlinable
    public static func begin(
        in memory: UnsafeMutableRawBufferPointer, descriptorCount: Int, instructions: [Instruction] = []
    ) -> UnsafeMutableBufferPointer<Descriptor> {
        let byteCount = RecordFormat.byteCount(descriptors: descriptorCount, instructions: instructions.count)
        precondition(memory.count >= byteCount, "memory too small for the record")
        precondition(0...RecordFormat.maximumDescriptors ~= descriptorCount, "too many descriptors")
        precondition(instructions.count <= RecordFormat.maximumInstructions, "too many instructions")
        writeHeaders(
            in: memory, descriptorCount: UInt32(descriptorCount), instructions: instructions,
            byteCount: UInt32(byteCount))
        let tableByteCount = descriptorCount * MemoryLayout<Descriptor>.stride
        let table = memory.baseAddress! + (byteCount - tableByteCount)
        return UnsafeMutableBufferPointer(
            start: table.bindMemory(to: Descriptor.self, capacity: descriptorCount), count: descriptorCount)
    }

    @usableFromInline
    static func writeHeaders(
        in memory: UnsafeMutableRawBufferPointer, descriptorCount: UInt32, instructions: [Instruction],
        byteCount: UInt32
    ) {
        func store<T: FixedWidthInteger>(_ value: T, at offset: Int) {
            memory.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
        }
        guard !instructions.isEmpty else {
            store(descriptorCount, at: 0)
            store(RecordFormat.version, at: 4)
            store(UInt16(0), at: 6)
            store(byteCount, at: 8)
            store(UInt32(0), at: 12)
            return
        }
        store(RecordFormat.programMagic, at: 0)
        store(RecordFormat.version, at: 4)
        store(UInt16(instructions.count), at: 6)
        store(byteCount, at: 8)
        store(UInt32(0), at: 12)
        var offset = RecordFormat.headerByteCount
        for instruction in instructions {
            store(instruction.word, at: offset)
            offset += MemoryLayout<Instruction>.stride
        }
        store(descriptorCount, at: offset)
        offset += MemoryLayout<UInt32>.size
        while offset < RecordFormat.tableOffset(instructions: instructions.count) {
            store(UInt32(0), at: offset)
            offset += MemoryLayout<UInt32>.size
        }
    }
}

/// Descriptors that were copied to private memory and checked there.
@frozen
public struct LoadedDescriptors {
    /// The checked descriptors, in the caller's scratch memory.
    public let descriptors: UnsafeBufferPointer<Descriptor>
    /// The sum of their lengths.
    public let byteCount: UInt64

    @inlinable
    init(descriptors: UnsafeBufferPointer<Descriptor>, byteCount: UInt64) {
        self.descriptors = descriptors
        self.byteCount = byteCount
    }
}

/// A record in memory whose headers have been checked.
///
/// Each header field was read once and checked; the view then uses only its own copies, so a hostile process that
/// rewrites the record meanwhile can change data but not lengths. In shared memory take descriptors and instructions
/// through ``loadDescriptors(into:blobByteCount:)`` and ``instructions()``, which copy before they check. The view
/// borrows the memory: it must not outlive it.
public struct RecordView {
    /// The number of descriptors.
    public let descriptorCount: Int
    /// The number of instructions; 0 for a plain record.
    public let instructionCount: Int
    /// Bytes of the whole record.
    public let byteCount: Int
    @usableFromInline let base: UnsafeRawPointer

    /// Checks the headers of the record at the start of `bytes` (16-byte aligned; may be longer than the record).
    @inlinable
    public init(validating bytes: UnsafeRawBufferPointer) throws(RecordError) {
        guard bytes.count >= RecordFormat.headerByteCount, let base = bytes.baseAddress else {
            throw .truncated(needed: RecordFormat.headerByteCount, available: bytes.count)
        }
        self.base = base
        // Both headers are four words at the same places; one copy of all of them is checked and used.
        let word0 = UInt32(littleEndian: base.load(as: UInt32.self))
        let word1 = UInt32(littleEndian: base.load(fromByteOffset: 4, as: UInt32.self))
        let stated = UInt32(littleEndian: base.load(fromByteOffset: 8, as: UInt32.self))
        let reserved = UInt32(littleEndian: base.load(fromByteOffset: 12, as: UInt32.self))
        let version = UInt16(truncatingIfNeeded: word1)
        let upper = UInt16(truncatingIfNeeded: word1 >> 16)
        guard version == RecordFormat.version else { throw .unsupportedVersion(version) }
        guard reserved == 0 else { throw .reservedBits }
        var descriptors = word0
        if word0 == RecordFormat.programMagic {
            guard 1...RecordFormat.maximumInstructions ~= Int(upper) else { throw .badInstructionCount(upper) }
            instructionCount = Int(upper)
            let countOffset = RecordFormat.headerByteCount + instructionCount * MemoryLayout<Instruction>.stride
            let needed = countOffset + MemoryLayout<UInt32>.size
            guard needed <= bytes.count else { throw .truncated(needed: needed, available: bytes.count) }
            descriptors = UInt32(littleEndian: base.load(fromByteOffset: countOffset, as: UInt32.self))
        } else {
            guard upper == 0 else { throw .reservedBits }
            instructionCount = 0
        }
        guard descriptors <= RecordFormat.maximumDescriptors else { throw .tooManyDescriptors(descriptors) }
        descriptorCount = Int(descriptors)
        byteCount = RecordFormat.byteCount(descriptors: descriptorCount, instructions: instructionCount)
        guard Int(stated) == byteCount else { throw .wrongLength(stated: stated, computed: byteCount) }
        guard byteCount <= bytes.count else { throw .truncated(needed: byteCount, available: bytes.count) }
    }

    /// The descriptor table in place, unchecked. For memory that no other process can write.
    @inlinable
    public var descriptors: UnsafeBufferPointer<Descriptor> {
        let table = base + (byteCount - descriptorCount * MemoryLayout<Descriptor>.stride)
        return UnsafeBufferPointer(
            start: table.assumingMemoryBound(to: Descriptor.self), count: descriptorCount)
    }

    /// Copies the descriptor table to private memory, then checks the copy against a blob of `blobByteCount` bytes.
    ///
    /// Copying first means that what was checked is what will be executed, whatever happens to the shared bytes.
    /// - Parameters:
    ///   - scratch: private memory for at least ``descriptorCount`` descriptors (precondition).
    ///   - blobByteCount: size of the blob in bytes, below 2^62 (precondition).
    /// - Returns: the checked descriptors, in `scratch`, and the sum of their lengths.
    @inlinable
    public func loadDescriptors(
        into scratch: UnsafeMutableBufferPointer<Descriptor>, blobByteCount: Int
    ) throws(RecordError) -> LoadedDescriptors {
        precondition(scratch.count >= descriptorCount, "scratch too small")
        precondition(0..<(1 << 62) ~= blobByteCount, "impossible blob size")
        let loaded = UnsafeMutableBufferPointer(rebasing: scratch[..<descriptorCount])
        UnsafeMutableRawBufferPointer(loaded).copyMemory(from: UnsafeRawBufferPointer(descriptors))
        // Branch-free: a descriptor is bad if any of these differences has its sign bit set, or flags are non-zero.
        let limit = UInt64(blobByteCount)
        var signs: UInt64 = 0
        var flags: UInt32 = 0
        var total: UInt64 = 0
        for descriptor in loaded {
            let room = limit &- descriptor.offset
            signs |= descriptor.offset | room | (room &- UInt64(descriptor.length))
            flags |= descriptor.flags
            total &+= UInt64(descriptor.length)
        }
        if signs >> 63 != 0 || flags != 0 {
            let index = loaded.firstIndex { !$0.fits(in: limit) } ?? 0
            throw .descriptorOutOfRange(index: index, loaded[index])
        }
        return LoadedDescriptors(descriptors: UnsafeBufferPointer(loaded), byteCount: total)
    }

    /// Whether the record carries just these instructions. Allocates nothing; if it says true, use your own copy.
    @inlinable
    public func carries(_ instructions: [Instruction]) -> Bool { words.equal(instructions) }

    /// A private copy of the instructions; empty for a plain record. What they mean is for PacketFSPCPU to check.
    public func instructions() -> [Instruction] { words.copy() }

    @inlinable
    var words: InstructionWords {
        InstructionWords(at: base + RecordFormat.headerByteCount, count: instructionCount)
    }
}
