// A PFS frame is what travels over a network: a header, instructions, a body. Over Ethernet it follows the 14 bytes of the
// link header, whose type is 0x88B5; over UDP it is the datagram.
//
//   [header 32 B][PfsInsn x n][body]
//
//   u32 magic "PFSF", u32 crc32c, u8 version, u8 kind, u8 n, u8 flags, u32 body_bytes, u64 sequence, u32 stream, u32 reserved
//
// Little endian. No field need be aligned: a link header of 14 bytes leaves nothing aligned. What may follow the body (an
// Ethernet frame is padded to 60 bytes) belongs to nobody. Described byte by byte in docs/formats.md.

/// Constants and sizes of the frame format.
public enum FrameFormat {
    /// The Ethernet type: the first of the two that IEEE 802 sets aside for local experiments (RFC 9542 section 3).
    public static let etherType: UInt16 = 0x88B5
    /// First word: "PFSF" in memory.
    public static let magic: UInt32 = 0x4653_4650
    /// The version that this code writes, and the only one that it reads.
    public static let version: UInt8 = 1
    /// Bytes of the header, without instructions.
    public static let headerByteCount = 32
    /// The most instructions in a frame, as in a record.
    public static let maximumInstructions = RecordFormat.maximumInstructions
    /// The most bytes of a whole frame: what a UDP datagram over IPv4 holds.
    public static let maximumByteCount = 65_507
    /// A sequence is below this number.
    public static let sequenceLimit = UInt64(1) << 62
    /// The checksum covers the frame from this byte on, to the end of the body: magic and checksum stand before it.
    public static let checksummedFrom = 8

    @usableFromInline static let checksumOffset = 4
    @usableFromInline static let sequenceOffset = 16
    @usableFromInline static let isChecksummed: UInt8 = 1

    /// Bytes of a frame.
    @inlinable
    public static func byteCount(body: Int, instructions: Int = 0) -> Int {
        headerByteCount + instructions * MemoryLayout<Instruction>.stride + body
    }
}

/// What a frame's body is.
public enum FrameKind: UInt8, Sendable, Hashable {
    /// Bytes that the frame's program, if it has one, is to be applied to.
    case payload = 1
    /// A record, as it stands in a ring's slab, plain or with its program, whose descriptors point into a blob that both ends
    /// hold. The frame itself has no instructions.
    case descriptors = 2
    /// Nothing: the stream is over, and the sequence is the number of frames before this one. No instructions.
    case end = 3
}

/// The fields of a frame's header that a sender chooses.
@frozen
public struct FrameHeader: Sendable, Hashable {
    /// What the body is.
    public var kind: FrameKind
    /// The frame's number in its stream, from 0 on; below ``FrameFormat/sequenceLimit``.
    public var sequence: UInt64
    /// Which run of a sender the frame belongs to.
    public var stream: UInt32
    /// Whether the frame has a checksum.
    public var isChecksummed: Bool

    /// Makes a header.
    @inlinable
    public init(kind: FrameKind, sequence: UInt64, stream: UInt32, isChecksummed: Bool = false) {
        self.kind = kind
        self.sequence = sequence
        self.stream = stream
        self.isChecksummed = isChecksummed
    }
}

/// Why the bytes at hand are not a frame that this version can read.
public enum FrameError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Fewer bytes than the header, or the lengths in it, call for.
    case truncated(needed: Int, available: Int)
    /// The first word is not ``FrameFormat/magic``: not one of our frames.
    case wrongMagic(UInt32)
    /// The version is not ``FrameFormat/version``.
    case unsupportedVersion(UInt8)
    /// No ``FrameKind`` has this number.
    case unknownKind(UInt8)
    /// A reserved field or flag is not zero, or there is a checksum without the flag that says so.
    case reservedBits
    /// More instructions than ``FrameFormat/maximumInstructions``, or any in a kind of frame that has none.
    case badInstructionCount(UInt8, FrameKind)
    /// The body is longer than a frame can be, or an end frame has one.
    case badLength(UInt32, FrameKind)
    /// The sequence is not below ``FrameFormat/sequenceLimit``.
    case badSequence(UInt64)

    /// What is wrong.
    public var description: String {
        switch self {
        case .truncated(let needed, let available):
            "the frame is truncated: \(needed) bytes needed, \(available) available"
        case .wrongMagic(let magic):
            "the frame begins with 0x\(String(magic, radix: 16)), not with 0x\(String(FrameFormat.magic, radix: 16))"
        case .unsupportedVersion(let version):
            "the frame has version \(version); this code reads version \(FrameFormat.version)"
        case .unknownKind(let kind):
            "the frame has the unknown kind \(kind)"
        case .reservedBits:
            "a reserved field of the frame is not zero"
        case .badInstructionCount(let count, let kind):
            "a frame of kind \(kind) claims \(count) instructions"
        case .badLength(let length, let kind):
            "a frame of kind \(kind) claims a body of \(length) bytes"
        case .badSequence(let sequence):
            "the frame's sequence \(sequence) is not below \(FrameFormat.sequenceLimit)"
        }
    }
}

/// Writes frames into memory that the caller owns, such as a slot of a transmit ring. Allocates nothing.
public enum FrameEncoder {
    /// Writes a frame's header and instructions and returns its body, for the caller to fill in place.
    ///
    /// - Parameters:
    ///   - header: what the frame says of itself.
    ///   - memory: at least ``FrameFormat/byteCount(body:instructions:)`` bytes, at any alignment (precondition). Bytes beyond
    ///     the frame are left alone.
    ///   - bodyByteCount: bytes of the body (precondition: the frame has at most ``FrameFormat/maximumByteCount``; 0 for
    ///     ``FrameKind/end``).
    ///   - instructions: at most ``FrameFormat/maximumInstructions``, and only in frames of ``FrameKind/payload``
    ///     (preconditions).
    /// - Returns: the body. Where the header asks for a checksum it is still missing: ``setChecksum(_:in:)`` comes last.
    @inlinable
    public static func begin(
        _ header: FrameHeader, in memory: UnsafeMutableRawBufferPointer, bodyByteCount: Int,
        instructions: [Instruction] = []
    ) -> UnsafeMutableRawBufferPointer {
        let byteCount = FrameFormat.byteCount(body: bodyByteCount, instructions: instructions.count)
        precondition(bodyByteCount >= 0 && byteCount <= FrameFormat.maximumByteCount, "impossible size of a frame")
        precondition(memory.count >= byteCount, "memory too small for the frame")
        precondition(instructions.count <= FrameFormat.maximumInstructions, "too many instructions")
        precondition(header.kind == .payload || instructions.isEmpty, "only payload has instructions in the frame")
        precondition(header.kind != .end || bodyByteCount == 0, "an end frame has no body")
        precondition(header.sequence < FrameFormat.sequenceLimit, "sequence too large")
        memory.storeBytes(of: UInt64(FrameFormat.magic).littleEndian, as: UInt64.self)
        let flags = header.isChecksummed ? FrameFormat.isChecksummed : 0
        let kinds =
            UInt32(FrameFormat.version) | UInt32(header.kind.rawValue) << 8 | UInt32(instructions.count) << 16
            | UInt32(flags) << 24
        memory.storeBytes(
            of: (UInt64(kinds) | UInt64(bodyByteCount) << 32).littleEndian, toByteOffset: 8, as: UInt64.self)
        memory.storeBytes(
            of: header.sequence.littleEndian, toByteOffset: FrameFormat.sequenceOffset, as: UInt64.self)
        memory.storeBytes(of: UInt64(header.stream).littleEndian, toByteOffset: 24, as: UInt64.self)
        var offset = FrameFormat.headerByteCount
        for instruction in instructions {
            memory.storeBytes(of: instruction.word.littleEndian, toByteOffset: offset, as: UInt32.self)
            offset += MemoryLayout<UInt32>.size
        }
        return UnsafeMutableRawBufferPointer(rebasing: memory[offset..<byteCount])
    }

    /// Gives a finished frame another number. A checksum has to be set anew.
    @inlinable
    public static func setSequence(_ sequence: UInt64, in memory: UnsafeMutableRawBufferPointer) {
        memory.storeBytes(of: sequence.littleEndian, toByteOffset: FrameFormat.sequenceOffset, as: UInt64.self)
    }

    /// Stores the CRC-32C of the frame's bytes from ``FrameFormat/checksummedFrom`` to the end of its body.
    @inlinable
    public static func setChecksum(_ checksum: UInt32, in memory: UnsafeMutableRawBufferPointer) {
        memory.storeBytes(of: checksum.littleEndian, toByteOffset: FrameFormat.checksumOffset, as: UInt32.self)
    }
}

/// A frame in memory whose header has been checked: every length in it fits the bytes at hand.
///
/// Each field was read once, then checked, and the view uses its own copies. What instructions and body say is for others to
/// check (PacketFSPCPU and ``RecordView``), as is the checksum. The view borrows the memory: it must not outlive it.
public struct FrameView {
    /// Kind, sequence and stream.
    public let header: FrameHeader
    /// The number of instructions; 0 unless the kind is ``FrameKind/payload``.
    public let instructionCount: Int
    /// Bytes of the body.
    public let bodyByteCount: Int
    /// The checksum that the frame states; nil where it has none.
    public let checksum: UInt32?
    @usableFromInline let base: UnsafeRawPointer

    /// Checks the header of the frame at the start of `bytes`, which may be longer than the frame and lie at any address.
    ///
    /// - Throws: ``FrameError``, the first thing that is wrong. Never reads outside `bytes`.
    @inlinable
    public init(validating bytes: UnsafeRawBufferPointer) throws(FrameError) {
        guard bytes.count >= FrameFormat.headerByteCount, let base = bytes.baseAddress else {
            throw .truncated(needed: FrameFormat.headerByteCount, available: bytes.count)
        }
        self.base = base
        let word0 = UInt64(littleEndian: base.loadUnaligned(as: UInt64.self))
        let word1 = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        let sequence = UInt64(
            littleEndian: base.loadUnaligned(fromByteOffset: FrameFormat.sequenceOffset, as: UInt64.self))
        let word3 = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
        let magic = UInt32(truncatingIfNeeded: word0)
        guard magic == FrameFormat.magic else { throw .wrongMagic(magic) }
        let version = UInt8(truncatingIfNeeded: word1)
        guard version == FrameFormat.version else { throw .unsupportedVersion(version) }
        let number = UInt8(truncatingIfNeeded: word1 >> 8)
        guard let kind = FrameKind(rawValue: number) else { throw .unknownKind(number) }
        let instructions = UInt8(truncatingIfNeeded: word1 >> 16)
        guard kind == .payload ? instructions <= FrameFormat.maximumInstructions : instructions == 0 else {
            throw .badInstructionCount(instructions, kind)
        }
        let flags = UInt8(truncatingIfNeeded: word1 >> 24)
        let stated = UInt32(truncatingIfNeeded: word0 >> 32)
        guard flags & ~FrameFormat.isChecksummed == 0, flags != 0 || stated == 0, word3 >> 32 == 0 else {
            throw .reservedBits
        }
        checksum = flags != 0 ? stated : nil
        let length = UInt32(truncatingIfNeeded: word1 >> 32)
        let byteCount = FrameFormat.byteCount(body: Int(length), instructions: Int(instructions))
        guard byteCount <= FrameFormat.maximumByteCount, kind != .end || length == 0 else {
            throw .badLength(length, kind)
        }
        guard byteCount <= bytes.count else { throw .truncated(needed: byteCount, available: bytes.count) }
        guard sequence < FrameFormat.sequenceLimit else { throw .badSequence(sequence) }
        header = FrameHeader(
            kind: kind, sequence: sequence, stream: UInt32(truncatingIfNeeded: word3), isChecksummed: flags != 0)
        instructionCount = Int(instructions)
        bodyByteCount = Int(length)
    }

    /// Bytes of the whole frame.
    @inlinable
    public var byteCount: Int { FrameFormat.byteCount(body: bodyByteCount, instructions: instructionCount) }

    /// The first byte of the body, from the start of the frame.
    @inlinable
    public var bodyOffset: Int { byteCount - bodyByteCount }

    /// The body.
    @inlinable
    public var body: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base + bodyOffset, count: bodyByteCount) }

    /// The bytes that the checksum covers.
    @inlinable
    public var checksummedBytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: base + FrameFormat.checksummedFrom, count: byteCount - FrameFormat.checksummedFrom)
    }

    /// Whether the frame carries just these instructions. Allocates nothing; if it says true, use your own copy.
    @inlinable
    public func carries(_ instructions: [Instruction]) -> Bool { words.equal(instructions) }

    /// A private copy of the instructions. What they mean is for PacketFSPCPU to check.
    public func instructions() -> [Instruction] { words.copy() }

    @inlinable
    var words: InstructionWords {
        InstructionWords(at: base + FrameFormat.headerByteCount, count: instructionCount)
    }
}
