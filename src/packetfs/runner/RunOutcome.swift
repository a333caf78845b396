import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import Synchronization

/// What one pcore did, from its own counters.
public struct PCoreResult: Sendable {
    /// The CPU it was pinned to.
    public let cpu: Int
    /// Records, descriptors and payload bytes executed.
    public let records: UInt64, descriptors: UInt64, bytes: UInt64
    /// Payload bytes times the operations of the program that was applied to them.
    public let operationBytes: UInt64
    /// Records refused because they or their descriptors were out of bounds.
    public let rejectedRecords: UInt64
    /// How often it found its ring empty and slept.
    public let sleeps: UInt64
    /// CPU time used while running, in nanoseconds.
    public let cpuNanoseconds: UInt64
    /// One wrapping sum per yielding operation, in the order of ``ProgramMix/reducers``.
    public let totals: [UInt64]
}

/// The result of a run.
public struct RunOutcome: Sendable {
    /// What was asked for.
    public let configuration: RunConfiguration
    /// The kernels that ran.
    public let isa: ISA
    /// CPUs the pcores were spread over, and the producer's, if pinned.
    public let pcoreCPUs: [Int], producerCPU: Int?
    /// Range of the blob the descriptors were in.
    public let range: Range<UInt64>
    /// The blob's memory as the kernel reports it.
    public let backing: Backing
    /// One result per pcore.
    public let pcores: [PCoreResult]
    /// Totals over the whole run; the rate is over ``elapsedNanoseconds``.
    public let final: Sample
    /// Time from the start of the first pcore's process until all were ready.
    public let readyNanoseconds: UInt64
    /// CPU time of the producing process while the run was on.
    public let producerCPUNanoseconds: UInt64
    /// How often a pcore that died was replaced.
    public let restarts: Int
    /// Records that dead pcores of a writing program may have run in part; they count as not executed.
    public let doubtful: [DoubtfulRecords]
    /// Why the run ended early, if it did.
    public let fault: RunFault?
    /// Whether the run was verified: nil if that was not asked for.
    public var verified: Bool?
    /// What the verification found.
    public var difference: Difference?

    /// From the start signal until the last pcore left its loop.
    public var elapsedNanoseconds: UInt64 { final.elapsedNanoseconds }
    /// Records refused by all pcores.
    public var rejectedRecords: UInt64 { pcores.reduce(0) { $0 + $1.rejectedRecords } }
    /// CPU time of all pcores while running.
    public var pcoreCPUNanoseconds: UInt64 { pcores.reduce(0) { $0 + $1.cpuNanoseconds } }
    /// Payload bytes times operations.
    public var operationBytes: UInt64 { pcores.reduce(0) { $0 &+ $1.operationBytes } }
    /// One wrapping sum per yielding operation, in the order of ``ProgramMix/reducers``.
    public var totals: [UInt64] {
        pcores.reduce(into: Array(repeating: 0, count: configuration.mix.reducers.count)) { sums, pcore in
            for index in sums.indices { sums[index] &+= pcore.totals[index] }
        }
    }

    init(
        configuration: RunConfiguration, isa: ISA, pcoreCPUs: [Int], producerCPU: Int?, range: Range<UInt64>,
        backing: Backing, control: borrowing ControlRegion, start: UInt64, baseline: Double?,
        readyNanoseconds: UInt64, producerCPUNanoseconds: UInt64, restarts: Int, doubtful: [DoubtfulRecords],
        fault: RunFault?
    ) {
        self.restarts = restarts
        self.doubtful = doubtful
        self.configuration = configuration
        self.isa = isa
        self.pcoreCPUs = pcoreCPUs
        self.producerCPU = producerCPU
        self.range = range
        self.backing = backing
        self.readyNanoseconds = readyNanoseconds
        self.producerCPUNanoseconds = producerCPUNanoseconds
        self.fault = fault
        var end = start + 1
        var pcores: [PCoreResult] = []
        for index in 0..<configuration.pcores {
            let block = control.block(index)
            // Pairs with the pcore's release store of `done`: its last counters are visible.
            let isDone = block.state.pointee.load(ordering: .acquiring) == PCoreState.done.rawValue
            if isDone { end = max(end, block.endNanoseconds) }
            let counted = block.latest
            pcores.append(
                PCoreResult(
                    cpu: pcoreCPUs[index % pcoreCPUs.count], records: counted[.records],
                    descriptors: counted[.descriptors], bytes: counted[.bytes],
                    operationBytes: counted[.operationBytes], rejectedRecords: counted[.rejectedRecords],
                    sleeps: counted[.sleeps], cpuNanoseconds: block.cpuNanoseconds,
                    totals: configuration.mix.reducers.indices.map { counted[total: $0] }))
        }
        self.pcores = pcores
        let bytes = pcores.reduce(0) { $0 + $1.bytes }
        let records = pcores.reduce(0) { $0 + $1.records }
        let seconds = Double(end - start) / 1e9
        final = Sample(
            elapsedNanoseconds: end - start, bytes: bytes, records: records,
            descriptors: pcores.reduce(0) { $0 + $1.descriptors },
            megabytesPerSecond: Double(bytes) / seconds / 1e6, recordsPerSecond: Double(records) / seconds,
            baselineMegabytesPerSecond: baseline, cpuCount: Set(pcores.map(\.cpu)).count, isa: isa)
    }
}
