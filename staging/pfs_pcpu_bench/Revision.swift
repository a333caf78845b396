import PacketFSGram
import PacketFSPCPU
import PacketFSTools

/// The kernels of a revision, in a shared library that `utils/bench-pcpu-against` has built with kernels.c.
struct Revision {
    /// What to call it: a commit.
    let name: String
    /// The instruction sets that it has and that this CPU runs, best first.
    let isas: [ISA]
    private let makePlan: MakePlan
    private let execute: Execute

    private typealias Bits = @convention(c) () -> UInt32
    private typealias MakePlan = @convention(c) (UnsafePointer<UInt8>) -> UnsafeMutableRawPointer?
    private typealias Execute =
        @convention(c) (
            UInt32, UnsafeRawPointer, UnsafeMutableRawPointer, UnsafeRawPointer?, Int, Bool,
            UnsafeMutablePointer<UInt64>?
        ) -> Void

    /// Loads the library. `name` is what to call its revision.
    init(library path: String, name: String) throws(ToolError) {
        // A bare name would be looked for among the system's libraries.
        let library = try Library(path.contains("/") ? path : "./" + path, what: "the kernels")
        guard library.symbol("pfs_bench_version")?.load(as: UInt32.self) == 1,
            let bits = library.function("pfs_bench_isas", as: Bits.self),
            let makePlan = library.function("pfs_bench_plan", as: MakePlan.self),
            let execute = library.function("pfs_bench_execute", as: Execute.self)
        else {
            throw ToolError(
                .noInput,
                "\(path) holds no kernels for this benchmark; `just bench-pcpu-against REV` builds and runs it")
        }
        self.name = name
        let present = bits()
        isas = ISA.allCases.reversed().filter { Self.number($0).map { present >> $0 & 1 == 1 } ?? false }
        self.makePlan = makePlan
        self.execute = execute
    }

    /// The instruction set to hold against `isa` of another revision: the same one, or the best that there was.
    func counterpart(of isa: ISA) -> ISA? { isas.contains(isa) ? isa : isas.first }

    /// Runs `text` on `isa` of this revision; precondition: that is among ``isas``.
    func contender(_ text: String, by: String, isa: ISA) throws -> Contender {
        // The plan depends on the instruction set only in what it calls it. Kernels get it in a form that has not changed.
        let plan = Plan(try Program(parsing: text), isa: .portable)
        guard isas.contains(isa), let number = Self.number(isa) else { preconditionFailure("\(name) has no \(isa)") }
        let (count, execute) = (plan.reducerCount, execute)
        // Lives as long as the process, as the library does.
        guard let compiled = plan.listing.withUnsafeBufferPointer({ makePlan($0.baseAddress!) }) else {
            throw ToolError(.system, "no memory for a plan")
        }
        return Contender(work: text, by: by, isa: isa) { base, table in
            withUnsafeTemporaryAllocation(of: UInt64.self, capacity: max(count, 1)) { totals in
                totals.initialize(repeating: 0)
                execute(number, compiled, base, table.baseAddress, table.count, false, totals.baseAddress)
                return totals[0]
            }
        }
    }

    /// The number in the C kernels, which are numbered as `ISA` lists them; nil for the one that is written in Swift.
    private static func number(_ isa: ISA) -> UInt32? {
        isa == .portable ? nil : ISA.allCases.firstIndex(of: isa).map { UInt32($0 - 1) }
    }
}
