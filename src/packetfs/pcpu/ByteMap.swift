/// What a chain of `xor` and `add` does to a byte, in the shortest form that was found.
///
/// Both operations are bijections of the 256 bytes, so a chain is one too, and two chains are the same exactly when their
/// tables are. That makes the algebra easy to trust: whatever rewriting shortens a chain, the table decides whether it is
/// the same map.
struct ByteMap: Sendable, Hashable {
    /// One step of the normal form: `y = (x ^ xor) + add`, modulo 256.
    struct Round: Sendable, Hashable {
        var xor: UInt8
        var add: UInt8

        func callAsFunction(_ x: UInt8) -> UInt8 { (x ^ xor) &+ add }

        /// How many of the two operations do something.
        var cost: Int { (xor == 0 ? 0 : 1) + (add == 0 ? 0 : 1) }
    }

    /// The rounds to apply, in order; none for the identity.
    let rounds: [Round]
    /// The image of every byte: 256 entries, a permutation.
    let table: [UInt8]

    /// The map that changes nothing.
    static let identity = ByteMap([])

    /// The map of a chain. Steps that do not rewrite bytes are ignored.
    init(_ steps: some Sequence<Step>) {
        let maps = steps.filter(\.op.writes)
        // Moving the top bits usually merges steps; where it does not, it costs one, and the chain without it is shorter.
        let chain =
            [Self.merged(maps, movesTopBit: true), Self.merged(maps, movesTopBit: false)]
            .min { $0.count < $1.count } ?? []
        table = (0...255).map { byte in chain.reduce(UInt8(byte)) { Self.apply($1, to: $0) } }
        rounds = Self.shortest(for: table) ?? Self.rounds(of: chain)
    }

    var isIdentity: Bool { rounds.isEmpty }

    /// The byte that the map sends to `image`.
    func preimage(of image: UInt8) -> UInt8 {
        // A permutation of all bytes contains every byte.
        UInt8(table.firstIndex(of: image) ?? 0)
    }

    private static func apply(_ step: Step, to byte: UInt8) -> UInt8 {
        step.op == .xor ? byte ^ step.immediate : byte &+ step.immediate
    }

    /// Merges neighbours of the same kind and drops identities; if asked to, moves the top bit of every xor to the end:
    /// flipping bit 7 is the same as adding 128 and commutes with both operations.
    private static func merged(_ steps: [Step], movesTopBit: Bool) -> [Step] {
        var chain: [Step] = []
        func push(_ op: Op, _ immediate: UInt8) {
            guard immediate != 0 else { return }
            guard let last = chain.last, last.op == op else { return chain.append(Step(op, immediate)) }
            chain.removeLast()
            push(op, op == .xor ? last.immediate ^ immediate : last.immediate &+ immediate)
        }
        let moved: UInt8 = movesTopBit ? 0x80 : 0
        var topBit: UInt8 = 0
        for step in steps {
            if step.op == .xor {
                topBit ^= step.immediate & moved
                push(.xor, step.immediate & ~moved)
            } else {
                push(.add, step.immediate)
            }
        }
        push(.add, topBit)
        return chain
    }

    /// Alternating steps, taken in pairs.
    private static func rounds(of chain: [Step]) -> [Round] {
        chain.reduce(into: []) { rounds, step in
            if step.op == .xor {
                rounds.append(Round(xor: step.immediate, add: 0))
            } else if let last = rounds.indices.last, rounds[last].add == 0 {
                rounds[last].add = step.immediate
            } else {
                rounds.append(Round(xor: 0, add: step.immediate))
            }
        }
    }

    /// The cheapest form of up to three operations that has this table, or nil if there is none.
    ///
    /// A search, because it finds what rewriting rules miss: `xor:255,add:7,xor:255` is `add:249`.
    private static func shortest(for table: [UInt8]) -> [Round]? {
        table.withUnsafeBufferPointer { table in
            func matches(_ first: Round, _ second: Round) -> Bool {
                for x in 1...255 where second(first(UInt8(x))) != table[x] { return false }
                return second(first(0)) == table[0]
            }
            let nothing = Round(xor: 0, add: 0)
            if matches(nothing, nothing) { return [] }

            // (x ^ a) + b: table[0] gives b. Bit 7 can stand in either constant; the cheaper one wins.
            let single = (UInt8.min...UInt8.max).map { Round(xor: $0, add: table[0] &- $0) }
                .filter { matches($0, nothing) }
                .min { $0.cost < $1.cost }
            if let single { return [single] }

            // (x + a) ^ b, then the forms of three.
            for a in UInt8.min...UInt8.max {
                let first = Round(xor: 0, add: a)
                let second = Round(xor: table[0] ^ a, add: 0)
                if matches(first, second) { return [first, second] }
            }
            for a in UInt8.min...UInt8.max {
                for b in UInt8.min...UInt8.max {
                    let addXorAdd = (Round(xor: 0, add: a), Round(xor: b, add: table[0] &- (a ^ b)))
                    if matches(addXorAdd.0, addXorAdd.1) { return [addXorAdd.0, addXorAdd.1] }
                    let xorAddXor = (Round(xor: a, add: b), Round(xor: table[0] ^ (a &+ b), add: 0))
                    if matches(xorAddXor.0, xorAddXor.1) { return [xorAddXor.0, xorAddXor.1] }
                }
            }
            return nil
        }
    }
}

extension ByteMap: CustomStringConvertible {
    /// The operations of the rounds, such as `xor 0x7f, add 0x87`; `nothing` for the identity.
    var description: String {
        let operations = rounds.flatMap { round in
            (round.xor == 0 ? [] : ["xor 0x\(String(round.xor, radix: 16))"])
                + (round.add == 0 ? [] : ["add 0x\(String(round.add, radix: 16))"])
        }
        return operations.isEmpty ? "nothing" : operations.joined(separator: ", ")
    }
}
