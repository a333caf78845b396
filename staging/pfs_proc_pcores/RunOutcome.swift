import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import RandomRuns
import Synchronization

/// The result of a run.
struct RunOutcome: Sendable {
    /// What was asked for.
    let configuration: RunConfiguration
    /// The kernels that ran.
    let isa: ISA
    /// CPUs the pcores were spread over, and the producer's, if pinned.
    let pcoreCPUs: [Int], producerCPU: Int?
    /// Range of the blob the descriptors were in.
    let range: Range<UInt64>
    /// The blob's memory as the kernel reports it.
    let backing: Backing
    /// One result per pcore.
    let pcores: [PCoreResult]
    /// Totals over the whole run; the rate is over ``elapsedNanoseconds``.
    let final: Sample
    /// Time from the start of the first pcore's process until all were ready.
    let readyNanoseconds: UInt64
    /// CPU time of the producing process while the run was on.
    let producerCPUNanoseconds: UInt64
    /// How often a pcore that died was replaced.
    let restarts: Int
    /// Records that dead pcores of a writing program may have run in part; they count as not executed.
    let doubtful: [DoubtfulRecords]
    /// Why the run ended early, if it did.
    let fault: RunFault?
    /// Whether the run was verified: nil if that was not asked for.
    var verified: Bool?
    /// What the verification found.
    var difference: Difference?

    /// From the start signal until the last pcore left its loop.
    var elapsedNanoseconds: UInt64 { final.elapsedNanoseconds }
    /// Records refused by all pcores.
    var rejectedRecords: UInt64 { final.rejectedRecords }
    /// CPU time of all pcores while running.
    var pcoreCPUNanoseconds: UInt64 { pcores.reduce(0) { $0 + $1.cpuNanoseconds } }
    /// Payload bytes times operations.
    var operationBytes: UInt64 { final.operationBytes }
    /// One wrapping sum per yielding operation, in the order of ``ProgramMix/reducers``.
    var totals: [UInt64] {
        pcores.reduce(into: Array(repeating: 0, count: configuration.work.mix.reducers.count)) { sums, pcore in
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
                    cpu: pcoreCPUs[index % pcoreCPUs.count], tally: counted.tally, cpuNanoseconds: block.cpuNanoseconds,
                    totals: configuration.work.mix.reducers.indices.map { counted[total: $0] }))
        }
        self.pcores = pcores
        final = Sample(
            pcores.reduce(Tally()) { $0 + $1.tally }, elapsedNanoseconds: end - start, isa: isa,
            baselineMegabytesPerSecond: baseline, cpuCount: Set(pcores.map(\.cpu)).count)
    }
}
