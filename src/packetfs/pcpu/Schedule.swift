/// What a program amounts to, after algebra and before any instruction set is involved.
///
/// - `xor` and `add` compose to one byte map for each point of the program at which a digest looks at the bytes, and one
///   for the end.
/// - `counteq` after a map counts the bytes that the map sends to its operand. Maps are bijections, so that is one byte: every
///   `counteq` becomes a count of *original* bytes, and all counts happen when the bytes are first loaded.
/// - Digests that look at the same bytes are computed once.
struct Schedule: Sendable, Hashable {
    /// A point of the program at which at least one digest looks at the bytes.
    struct Level: Sendable, Hashable {
        /// From the bytes as they were at the level before (the original bytes for the first) to the bytes here.
        var step: ByteMap
        /// From the original bytes to the bytes here.
        var map: ByteMap
        var crc32c = false
        var fnv = false
    }

    /// Where the value of a reducing operation comes from.
    enum Source: Sendable, Hashable {
        /// The index in ``Schedule/counters``.
        case counter(Int)
        /// The index in ``Schedule/levels``.
        case crc32c(level: Int)
        /// The index in ``Schedule/levels``.
        case fnv(level: Int)
    }

    /// The distinct bytes to count in the original data.
    private(set) var counters: [UInt8] = []
    /// The points at which digests are taken, in program order, all with different maps.
    private(set) var levels: [Level] = []
    /// From the original bytes to what the program leaves in memory.
    let final: ByteMap
    /// One for each reducing operation, in program order.
    private(set) var sources: [Source] = []

    init(_ program: Program) {
        var chain: [Step] = []
        // Where in the chain the newest level stands: its successor's `step` starts there.
        var levelEnd = 0
        final = ByteMap(program.steps)
        for step in program.steps {
            switch step.op {
            case .xor, .add: chain.append(step)
            case .counteq:
                let byte = ByteMap(chain).preimage(of: step.immediate)
                sources.append(.counter(Self.index(of: byte, in: &counters)))
            case .crc32c, .fnv:
                let map = ByteMap(chain)
                let level: Int
                if let known = levels.firstIndex(where: { $0.map.table == map.table }) {
                    level = known
                } else {
                    level = levels.count
                    levels.append(Level(step: ByteMap(chain[levelEnd...]), map: map))
                    levelEnd = chain.count
                }
                if step.op == .crc32c {
                    levels[level].crc32c = true
                    sources.append(.crc32c(level: level))
                } else {
                    levels[level].fnv = true
                    sources.append(.fnv(level: level))
                }
            }
        }
    }

    /// Whether the program changes memory at all.
    var writes: Bool { !final.isIdentity }
    /// Whether there is nothing to do: no reducer, and maps that cancel out.
    var isEmpty: Bool { counters.isEmpty && levels.isEmpty && !writes }

    private static func index(of byte: UInt8, in bytes: inout [UInt8]) -> Int {
        if let known = bytes.firstIndex(of: byte) { return known }
        bytes.append(byte)
        return bytes.count - 1
    }
}
