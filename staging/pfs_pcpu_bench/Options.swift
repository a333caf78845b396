import ArgumentParser
import PacketFSPCPU
import PacketFSTools

/// What `kernels` and `against` have in common: what is measured, where and for how long.
struct MeasurementOptions: ParsableArguments {
    @Option(.whole("Rounds, over which medians count", 1...10_000))
    var rounds = 31
    @Option(.decimal("Least length of a sample in milliseconds", 0.01...10_000))
    var sampleMs = 0.5
    @Flag(help: "A fast look: seven rounds of a fifth of a millisecond. The figures are weak.")
    var quick = false
    @Option(
        help: """
            Instruction sets side by side: names with commas between them, or all that this CPU runs. May be repeated. \
            (default: PACKETFS_FORCE_ISA, or the best one)
            """)
    var isa: [String] = []
    @Option(
        help: "A program to measure. May be repeated. (default: \(Contender.programs.joined(separator: ", then ")))")
    var prog: [String] = []
    @Option(help: "A shape to measure. May be repeated. (default: all)")
    var shape: [Shape.Key] = []
    @Flag(help: "Only ranges that the caches hold.")
    var inCache = false
    @Option(.cpu, absent: "the last that may be used")
    var cpu: Int?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        for text in prog {
            do { _ = try Program(parsing: text) } catch { throw ValidationError("--prog \(text): \(error)") }
        }
        _ = try namedISAs()
    }

    /// Rounds and nanoseconds of a sample that are really taken.
    var sampling: (rounds: Int, nanoseconds: UInt64) {
        quick ? (7, 200_000) : (rounds, UInt64(sampleMs * 1e6))
    }

    /// The texts of the programs to measure.
    var programs: [String] { prog.isEmpty ? Contender.programs : prog }

    /// The shapes to measure, as keys.
    var keys: [Shape.Key] {
        Shape.Key.allCases.filter { (shape.isEmpty || shape.contains($0)) && !(inCache && $0.isBeyondCaches) }
    }

    /// The instruction sets to measure, best first.
    func isas() throws -> [ISA] {
        let named = try namedISAs()
        return named.isEmpty ? [try Kernels.selected()] : named
    }

    /// The CPU for one thread.
    func chosenCPU(_ allowed: [Int]) throws(ToolError) -> Int {
        guard let last = allowed.last else { throw ToolError(.unavailable, "this process may run on no CPU") }
        guard let cpu else { return last }
        guard allowed.contains(cpu) else {
            throw ToolError(.unavailable, "CPU \(cpu) may not be used; allowed are \(CPUs.describe(allowed))")
        }
        return cpu
    }

    private func namedISAs() throws(ValidationError) -> [ISA] {
        let supported = ISA.supported
        let names = isa.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
        guard !names.contains("all") else { return supported }
        for name in names {
            let known = ISA(rawValue: name)
            if let known, supported.contains(known) { continue }
            throw ValidationError(
                "--isa \"\(name)\" \(known == nil ? "is no instruction set known here" : "does not run on this CPU"); "
                    + "allowed are all, \(supported.map(\.rawValue).joined(separator: ", ")).")
        }
        return supported.filter { names.contains($0.rawValue) }
    }
}
