import PacketFSEngine
import PacketFSGram
import PacketFSPCPU
import PacketFSTools

/// A sample of a run in progress, taken every half second and once at the end.
@dynamicMemberLookup
package struct Sample: Sendable {
    /// Nanoseconds since measurement started.
    package let elapsedNanoseconds: UInt64
    /// What is done so far; its counts are members of this value, too.
    package let tally: Tally
    /// Payload rate since the sample before, 10^6 bytes per second; over the whole run in the first and in the final sample.
    package let megabytesPerSecond: Double
    /// Records per second, over the same time.
    package let recordsPerSecond: Double
    /// The baseline's rate, if it was measured.
    package let baselineMegabytesPerSecond: Double?
    /// CPUs the pcores are spread over.
    package let cpuCount: Int
    /// The kernels that run.
    package let isa: ISA
    /// What each pcore has done; empty in the final sample, whose outcome has it.
    package let pcores: [PCoreResult]

    /// A sample taken `elapsedNanoseconds` after the start; other values as the properties.
    package init(
        _ tally: Tally, elapsedNanoseconds: UInt64, after last: Sample? = nil, isa: ISA,
        baselineMegabytesPerSecond: Double? = nil, cpuCount: Int = 1, pcores: [PCoreResult] = []
    ) {
        (self.tally, self.elapsedNanoseconds) = (tally, elapsedNanoseconds)
        let done = tally.since(last?.tally ?? Tally())
        // A stream's clock starts anew when its consumer is ready, so that a later sample can have less time behind it.
        let since = last?.elapsedNanoseconds ?? 0
        let seconds = Double(elapsedNanoseconds > since ? elapsedNanoseconds - since : 1) / 1e9
        megabytesPerSecond = Double(done.bytes) / seconds / 1e6
        recordsPerSecond = Double(done.records) / seconds
        self.baselineMegabytesPerSecond = baselineMegabytesPerSecond
        (self.isa, self.cpuCount, self.pcores) = (isa, cpuCount, pcores)
    }

    /// A count.
    package subscript(dynamicMember count: KeyPath<Tally, UInt64>) -> UInt64 { tally[keyPath: count] }

    /// Aggregate rate over the baseline's.
    package var cpupwn: Double? { baselineMegabytesPerSecond.map { megabytesPerSecond / $0 } }
    /// ``cpupwn`` divided by the CPUs used.
    package var cpupwnPerCPU: Double? { cpupwn.map { $0 / Double(cpuCount) } }
}

/// What the run tells whoever watches it.
package enum RunEvent: Sendable {
    /// A phase began that may take a while: a sentence for people.
    case phase(String)
    /// Something the user should know about the result.
    case warning(String)
    /// The regular sample.
    case sample(Sample)
}

extension Sample {
    /// The line that a person watches while the run is on.
    package var liveLine: String {
        var text =
            "\(decimals(Double(elapsedNanoseconds) / 1e9, 1)) s  \(decimals(megabytesPerSecond, 0)) MB/s  "
            + "\(scaled(recordsPerSecond))records/s"
        if let cpupwn { text += "  CPUpwn \(decimals(cpupwn, 2))" }
        return text
    }
}

package func format(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\((value * 10).rounded() / 10)"
}

/// The value of an operation over all descriptors of its program.
package struct OperationTotal: ReportObject {
    package let program: String, op: String
    package let value: UInt64

    package init(program: String, op: String, value: UInt64) {
        (self.program, self.op, self.value) = (program, op, value)
    }

    package static var figures: [Figure<Self>] {
        Figure("program", "the program", \.program)
        Figure("op", "the operation that yields the value", \.op)
        Figure("value", "the sum over all descriptors, wrapping; a decimal string, as it has 64 bits") {
            Word($0.value)
        }
    }
}
