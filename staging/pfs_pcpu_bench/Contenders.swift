import PacketFSGram
import PacketFSPCPU

/// One way to do a piece of work on a table of descriptors.
struct Contender {
    /// The work: a program's text, or `read` and `modify` for what memory gives.
    let work: String
    /// Who does it: `packetfs`, `packetfs-each` with a value for each descriptor instead of totals, `packetfs-passes` for one plan per
    /// operation, `c`, `limit`, a peer's name, or `before` and `now` of two revisions.
    let by: String
    /// The kernels' instruction set, where it is PacketFS.
    var isa: ISA?
    /// Which of several forms of the same loop.
    var form: String?
    /// Does the work. The result is that of ``Plan/execute(on:descriptors:totals:)`` in the first of the totals; what has none returns
    /// anything.
    let run: (UnsafeMutableRawPointer, UnsafeBufferPointer<Descriptor>) -> UInt64
}

extension Contender {
    /// Three operations, which are measured in one pass and in three.
    static let three = "xor:255,add:7,counteq:0"
    /// The programs that are measured if none is named.
    static let programs = ["xor:90", "add:7", "counteq:0", three, "crc32c", "fnv", "xor:90,crc32c"]

    /// All contenders in a shape, by work. Slow loops with a single stream are left out where they would take minutes.
    static func all(peers: Peers, isas: [ISA], programs: [String], shape: Shape) throws -> [Contender] {
        let isSlow = shape.key == .dram
        var all = peers.limits()
        for text in programs {
            let program = try Program(parsing: text)
            let isChain = program.steps.contains { $0.op == .fnv }
            if isSlow && isChain { continue }
            for isa in isas where !(isSlow && isa == .portable) {
                all.append(try own(text, isa: isa))
                if !program.reducers.isEmpty {
                    let plan = Plan(program, isa: isa)
                    all.append(Contender(work: text, by: "packetfs-each", isa: isa) { runEach(plan, $0, $1) })
                }
                if text == three { all.append(try passes(program, isa)) }
            }
            all += try peers.contenders(program, text, isSlow: isSlow)
            if text == "fnv" { all += peers.references }
        }
        return all
    }

    /// A program on the kernels of this program.
    static func own(_ text: String, by: String = "packetfs", isa: ISA) throws -> Contender {
        let plan = Plan(try Program(parsing: text), isa: isa)
        return Contender(work: text, by: by, isa: isa, run: totals(of: plan))
    }

    /// The operations of a program, one pass for each.
    private static func passes(_ program: Program, _ isa: ISA) throws -> Contender {
        let plans = try program.steps.map { Plan(try Program(parsing: "\($0)"), isa: isa) }
        let passes = plans.map(totals)
        return Contender(work: "\(program)", by: "packetfs-passes", isa: isa) { base, table in
            passes.reduce(0) { $0 &+ $1(base, table) }
        }
    }

    /// A plan that adds to the same totals at each call, as a worker does; the first of them.
    private static func totals(of plan: Plan) -> (UnsafeMutableRawPointer, UnsafeBufferPointer<Descriptor>) -> UInt64 {
        let totals = Totals(count: plan.reducerCount)
        return { base, table in
            totals.all[0] = 0
            plan.execute(
                on: base, descriptors: table,
                totals: UnsafeMutableBufferPointer(start: totals.all.baseAddress, count: plan.reducerCount))
            return totals.all[0]
        }
    }

    /// Room for totals, at least for one.
    private final class Totals {
        let all: UnsafeMutableBufferPointer<UInt64>

        init(count: Int) {
            all = .allocate(capacity: max(count, 1))
            all.initialize(repeating: 0)
        }

        deinit { all.deallocate() }
    }

    private static func runEach(
        _ plan: Plan, _ base: UnsafeMutableRawPointer, _ table: UnsafeBufferPointer<Descriptor>
    ) -> UInt64 {
        let count = table.count * plan.reducerCount
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: count) { values in
            plan.execute(on: base, descriptors: table, values: values)
            return values[count - 1]
        }
    }
}
