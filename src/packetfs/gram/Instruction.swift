/// One instruction of a program as it travels in a record.
///
/// Wire layout (`PfsInsn`): 4 bytes: `u8 opcode`, `u8 imm`, `u16 reserved` (zero). What the opcodes mean is defined by
/// PacketFSPCPU's `Op`; this module only carries them.
@frozen
public struct Instruction: Sendable, Hashable {
    /// Operation code.
    public var opcode: UInt8
    /// Immediate operand; 0 for operations that take none.
    public var immediate: UInt8
    /// Reserved; writers set 0 and readers reject anything else.
    public var reserved: UInt16

    /// Makes an instruction; the opcode is not checked here.
    @inlinable
    public init(opcode: UInt8, immediate: UInt8 = 0) {
        self.opcode = opcode
        self.immediate = immediate
        self.reserved = 0
    }

    /// The four bytes as one little-endian word.
    @inlinable
    public init(word: UInt32) {
        opcode = UInt8(truncatingIfNeeded: word)
        immediate = UInt8(truncatingIfNeeded: word >> 8)
        reserved = UInt16(truncatingIfNeeded: word >> 16)
    }

    /// The four bytes as one little-endian word.
    @inlinable
    public var word: UInt32 { UInt32(opcode) | UInt32(immediate) << 8 | UInt32(reserved) << 16 }
}

/// Instructions in memory that others may write: each is read once, when it is asked for.
@usableFromInline
struct InstructionWords {
    /// The first one, at any alignment.
    @usableFromInline let base: UnsafeRawPointer
    @usableFromInline let count: Int

    @inlinable
    init(at base: UnsafeRawPointer, count: Int) {
        self.base = base
        self.count = count
    }

    /// Whether these are just `instructions`.
    @inlinable
    func equal(_ instructions: [Instruction]) -> Bool {
        guard instructions.count == count else { return false }
        var difference: UInt32 = 0
        for index in 0..<count { difference |= word(index) ^ instructions[index].word }
        return difference == 0
    }

    /// A private copy.
    func copy() -> [Instruction] { (0..<count).map { Instruction(word: word($0)) } }

    @inlinable
    func word(_ index: Int) -> UInt32 {
        let offset = index * MemoryLayout<UInt32>.stride
        return UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
}
