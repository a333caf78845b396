import PacketFSGram
import PacketFSPCPU

/// The programs of a run, with the weights by which records get them. Usually one.
public struct ProgramMix: Sendable, CustomStringConvertible {
    /// A program and how often it comes relative to the others.
    public struct Entry: Sendable, Hashable {
        /// The program.
        public let program: Program
        /// Its weight, 1 to ``ProgramMix/maximumWeight``.
        public let weight: UInt32

        /// A program with a weight.
        public init(program: Program, weight: UInt32) { (self.program, self.weight) = (program, weight) }
    }

    /// The most programs in a mix.
    public static let maximumPrograms = 64
    /// The largest weight.
    public static let maximumWeight: UInt32 = 1_000_000

    /// The programs in the order in which results list them; at least one, no two equal.
    public let entries: [Entry]
    private let totalWeight: UInt64

    /// One program only.
    public init(_ program: Program) {
        self.init([Entry(program: program, weight: 1)])
    }

    /// Programs and weights that have been checked.
    package init(_ entries: [Entry]) {
        self.entries = entries
        totalWeight = entries.reduce(0) { $0 + UInt64($1.weight) }
    }

    /// Whether any program rewrites bytes.
    public var writes: Bool { entries.contains { $0.program.writes } }

    /// Every operation that yields a value: all of the first program's, then the second's, and so on. Totals have this order.
    public var reducers: [(program: Program, step: Step)] {
        entries.flatMap { entry in entry.program.reducers.map { (entry.program, $0) } }
    }

    /// Where the totals of each program start in that order.
    package var totalsOffsets: [Int] {
        var next = 0
        return entries.map { entry in
            defer { next += entry.program.reducers.count }
            return next
        }
    }

    /// Which program record `record` of pcore `pcore` gets: a function of its arguments, so that a verifier finds the same.
    package func choose(seed: UInt64, pcore: Int, record: UInt64) -> Int {
        guard entries.count > 1 else { return 0 }
        var generator = SplitMix64(state: seed ^ (UInt64(bitPattern: Int64(pcore)) << 40) ^ record)
        var draw = generator.next().multipliedFullWidth(by: totalWeight).high
        for (index, entry) in entries.enumerated() {
            if draw < entry.weight { return index }
            draw -= UInt64(entry.weight)
        }
        return entries.count - 1
    }

    /// The program, or all of them with their weights.
    public var description: String {
        guard entries.count > 1 else { return entries[0].program.description }
        return "mix of " + entries.map { "\($0.program) x \($0.weight)" }.joined(separator: "; ")
    }
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
package struct SplitMix64: RandomNumberGenerator {
    package var state: UInt64

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
