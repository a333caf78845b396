import PacketFSEngine
import PacketFSPCPU
import PacketFSTools

/// What one pcore has counted up to a sample.
package struct PCoreSample: Sendable {
    /// The CPU it is pinned to.
    package var cpu: Int
    /// Payload bytes and records executed, records refused, and how often it slept, so far.
    package var bytes: UInt64, records: UInt64, rejectedRecords: UInt64, sleeps: UInt64

    /// Values as the properties.
    package init(cpu: Int, bytes: UInt64, records: UInt64, rejectedRecords: UInt64, sleeps: UInt64) {
        (self.cpu, self.bytes, self.records) = (cpu, bytes, records)
        (self.rejectedRecords, self.sleeps) = (rejectedRecords, sleeps)
    }
}

/// A sample of a run in progress, taken every half second and once at the end.
package struct Sample: Sendable {
    /// Nanoseconds since measurement started.
    package var elapsedNanoseconds: UInt64
    /// Payload bytes, records and descriptors so far.
    package var bytes: UInt64, records: UInt64, descriptors: UInt64
    /// Payload rate since the previous sample (over the whole run in the final one), 10^6 bytes per second.
    package var megabytesPerSecond: Double
    /// Records per second, over the same time.
    package var recordsPerSecond: Double
    /// The baseline's rate, if it was measured.
    package var baselineMegabytesPerSecond: Double?
    /// CPUs the pcores are spread over.
    package var cpuCount: Int
    /// The kernels that run.
    package var isa: ISA
    /// The counters of each pcore; empty in the final sample, where ``RunOutcome/pcores`` has them.
    package var pcores: [PCoreSample] = []

    /// Values as the properties.
    package init(
        elapsedNanoseconds: UInt64, bytes: UInt64, records: UInt64, descriptors: UInt64, megabytesPerSecond: Double,
        recordsPerSecond: Double, baselineMegabytesPerSecond: Double?, cpuCount: Int, isa: ISA,
        pcores: [PCoreSample] = []
    ) {
        self.elapsedNanoseconds = elapsedNanoseconds
        (self.bytes, self.records, self.descriptors) = (bytes, records, descriptors)
        (self.megabytesPerSecond, self.recordsPerSecond) = (megabytesPerSecond, recordsPerSecond)
        self.baselineMegabytesPerSecond = baselineMegabytesPerSecond
        (self.cpuCount, self.isa, self.pcores) = (cpuCount, isa, pcores)
    }

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
