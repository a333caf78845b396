import PacketFSGram

/// An arithmetic operation over the bytes of a descriptor.
///
/// The raw value is the opcode of `Instruction` (PacketFSGram); values are wire format and never change.
public enum Op: UInt8, Sendable, Hashable, CaseIterable {
    /// Replaces each byte by `byte ^ imm`, in place.
    case xor = 1
    /// Replaces each byte by `(byte + imm) mod 256`, in place.
    case add = 2
    /// Counts the bytes that equal `imm`.
    case counteq = 3
    /// CRC-32C (Castagnoli; reflected, initial and final complement; RFC 3720 section 12.1) of the bytes.
    case crc32c = 4
    /// FNV-1a, 64 bit, offset basis 14695981039346656037, prime 1099511628211, of the bytes.
    case fnv = 5

    /// The name in a program's text form.
    public var name: String {
        switch self {
        case .xor: "xor"
        case .add: "add"
        case .counteq: "counteq"
        case .crc32c: "crc32c"
        case .fnv: "fnv"
        }
    }

    /// The operation called `name`, or nil.
    public init?(name: some StringProtocol) {
        guard let op = Op.allCases.first(where: { $0.name == name }) else { return nil }
        self = op
    }

    /// Whether the operation takes an 8-bit immediate. Its default in a program's text is 0.
    public var takesImmediate: Bool { self == .xor || self == .add || self == .counteq }
    /// Whether the operation rewrites bytes.
    public var writes: Bool { self == .xor || self == .add }
    /// Whether the operation yields one 64-bit value per descriptor.
    public var reduces: Bool { !writes }
}

/// One operation with its operand.
public struct Step: Sendable, Hashable, CustomStringConvertible {
    /// The operation.
    public let op: Op
    /// Its operand; 0 where the operation takes none.
    public let immediate: UInt8

    /// Makes a step. Precondition: `immediate` is 0 if the operation takes none.
    public init(_ op: Op, _ immediate: UInt8 = 0) {
        precondition(op.takesImmediate || immediate == 0, "\(op.name) takes no immediate")
        self.op = op
        self.immediate = immediate
    }

    /// The text form, such as `xor:255` or `crc32c`.
    public var description: String { op.takesImmediate ? "\(op.name):\(immediate)" : op.name }
}

/// Why a program's text or wire form was refused.
public enum ProgramError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The program has no operation.
    case empty
    /// The program has more operations than ``Program/maximumSteps``.
    case tooLong(count: Int)
    /// The operation at `position` (counted from 1) has no name, such as in `xor:1,,add:2`.
    case missingOperation(position: Int)
    /// The operation at `position` (counted from 1) is unknown.
    case unknownOperation(String, position: Int)
    /// The immediate at `position` (counted from 1) is not a number from 0 to 255 (decimal or 0x).
    case badImmediate(String, op: Op, position: Int)
    /// The operation at `position` (counted from 1) takes no immediate but has one.
    case unexpectedImmediate(String, op: Op, position: Int)
    /// The wire instruction at `position` (counted from 1) has non-zero reserved bits.
    case reservedBits(position: Int)

    /// What is wrong, where, and what is allowed.
    public var description: String {
        switch self {
        case .empty:
            "the program is empty; write operations such as \"xor:255,add:7,counteq:0\""
        case .tooLong(let count):
            "the program has \(count) operations; at most \(Program.maximumSteps) are allowed"
        case .missingOperation(let position):
            "operation \(position) of the program is empty; remove the extra comma"
        case .unknownOperation(let name, let position):
            "operation \(position) of the program, \"\(name)\", is unknown; known are "
                + Op.allCases.map(\.name).joined(separator: ", ")
        case .badImmediate(let text, let op, let position):
            "operation \(position) of the program, \(op.name), has the immediate \"\(text)\"; "
                + "it must be a number from 0 to 255 (decimal or 0x)"
        case .unexpectedImmediate(let text, let op, let position):
            "operation \(position) of the program, \(op.name), takes no immediate but has \"\(text)\""
        case .reservedBits(let position):
            "operation \(position) of the program has reserved bits set"
        }
    }
}

/// A sequence of 1 to 32 operations, applied in order to the bytes of each descriptor.
///
/// `xor` and `add` rewrite the bytes in place; `counteq`, `crc32c` and `fnv` each yield one 64-bit value per descriptor
/// from the bytes *as they stand at that point of the program*. Values of many descriptors are added, wrapping, so a
/// total does not depend on the order of the descriptors or on which process did the work.
public struct Program: Sendable, Hashable, CustomStringConvertible {
    /// The longest program.
    public static let maximumSteps = 32

    /// The operations in order; 1 to ``maximumSteps`` of them.
    public let steps: [Step]

    /// Makes a program of 1 to ``maximumSteps`` operations.
    public init(_ steps: [Step]) throws(ProgramError) {
        guard !steps.isEmpty else { throw .empty }
        guard steps.count <= Self.maximumSteps else { throw .tooLong(count: steps.count) }
        self.steps = steps
    }

    /// Parses the text form: `op[:imm]` separated by commas, for example `xor:255,add:0x07,crc32c`.
    ///
    /// Blanks around an operation or an immediate are ignored. A missing immediate is 0.
    public init(parsing text: String) throws(ProgramError) {
        guard !text.allSatisfy(\.isWhitespace) else { throw .empty }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count <= Self.maximumSteps else { throw .tooLong(count: parts.count) }
        var steps: [Step] = []
        for (index, part) in parts.enumerated() {
            try steps.append(Self.parseStep(part, position: index + 1))
        }
        try self.init(steps)
    }

    private static func parseStep(_ text: Substring, position: Int) throws(ProgramError) -> Step {
        let fields = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            .map { $0.trimmingBlanks() }
        guard !fields[0].isEmpty else { throw .missingOperation(position: position) }
        guard let op = Op(name: fields[0]) else { throw .unknownOperation(String(fields[0]), position: position) }
        guard fields.count == 2 else { return Step(op) }
        guard op.takesImmediate else {
            throw .unexpectedImmediate(String(fields[1]), op: op, position: position)
        }
        guard let immediate = parseByte(fields[1]) else {
            throw .badImmediate(String(fields[1]), op: op, position: position)
        }
        return Step(op, immediate)
    }

    /// A number from 0 to 255, decimal or 0x; digits only (no sign, no underscore).
    private static func parseByte(_ text: Substring) -> UInt8? {
        let isHex = text.hasPrefix("0x") || text.hasPrefix("0X")
        let digits = isHex ? text.dropFirst(2) : text
        guard let first = digits.first, first != "+", first != "-" else { return nil }
        return UInt8(digits, radix: isHex ? 16 : 10)
    }

    /// Decodes the instructions of a record. What they say is untrusted: unknown opcodes and stray bits are refused.
    public init(decoding instructions: some Sequence<Instruction>) throws(ProgramError) {
        var steps: [Step] = []
        for instruction in instructions {
            let position = steps.count + 1
            guard position <= Self.maximumSteps else { throw .tooLong(count: position) }
            guard let op = Op(rawValue: instruction.opcode) else {
                throw .unknownOperation("opcode \(instruction.opcode)", position: position)
            }
            guard instruction.reserved == 0 else { throw .reservedBits(position: position) }
            guard op.takesImmediate || instruction.immediate == 0 else {
                throw .unexpectedImmediate(String(instruction.immediate), op: op, position: position)
            }
            steps.append(Step(op, instruction.immediate))
        }
        try self.init(steps)
    }

    /// The wire form, as a record carries it.
    public var instructions: [Instruction] {
        steps.map { Instruction(opcode: $0.op.rawValue, immediate: $0.immediate) }
    }

    /// The operations that yield a value, in program order. Results are indexed in this order.
    public var reducers: [Step] { steps.filter(\.op.reduces) }
    /// Whether any operation rewrites bytes.
    public var writes: Bool { steps.contains { $0.op.writes } }

    /// The text form; parsing it gives an equal program.
    public var description: String { steps.map(\.description).joined(separator: ",") }
}

extension Substring {
    fileprivate func trimmingBlanks() -> Substring {
        let head = drop(while: \.isWhitespace)
        return head.lastIndex(where: { !$0.isWhitespace }).map { head[...$0] } ?? ""
    }
}
