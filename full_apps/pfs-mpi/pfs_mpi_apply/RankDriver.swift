import ApplyTool
import Glibc
import PacketFSEngine
import PacketFSTools

/// What rank 0 does with the results of all ranks, where they are wanted there: for the journal, or to be compared.
final class Collector {
    let journal: Journal?
    /// Whether the results are kept.
    private let keeps: Bool
    /// Results so far, in the order in which they came.
    private(set) var chunks: [ChunkResult]
    private(set) var count: UInt64 = 0

    init(journal: Journal?, keeps: Bool) {
        self.journal = journal
        self.keeps = keeps
        chunks = keeps ? journal?.found ?? [] : []
    }

    /// Takes a record of `name`.
    func take(_ record: [UInt8], from name: String) throws(ToolError) {
        guard let (chunk, length) = record.withUnsafeBytes({ JournalRecord.decode($0) }), length == record.count else {
            throw ToolError(.system, "a result of \(name) arrived damaged")
        }
        try journal?.append(record)
        if keeps { chunks.append(chunk) }
        count += 1
    }
}

/// One rank's share of the job: claims chunks, moves bytes by MPI-IO, keeps and sends results.
final class RankDriver: ChunkDriver {
    /// What becomes of results beside being added up.
    struct ResultUse {
        /// They stay with this rank until the end.
        var keeps = false
        /// They go to rank 0, once they are safe.
        var sends = false
    }

    private let communicator: Communicator
    private let counter: ClaimCounter
    private let plan: ChunkPlan
    private let source: ApplySource
    private let input: MPIFile?
    private let output: SharedOutput?
    private let outputShift: UInt64
    private let collector: Collector?
    private let resultUse: ResultUse
    private let passes: Int
    private let progress: (_ done: UInt64, _ nanoseconds: UInt64) -> Void

    private var pass = 0
    private var began: UInt64 = 0
    private var firstBegan: UInt64 = 0
    private var endedPasses: UInt64 = 0
    private var lastSync: UInt64 = 0
    private var unsafe: [ChunkResult] = []
    /// Results that were sent to rank 0.
    private(set) var sent: UInt64 = 0
    /// Chunks of all passes, and nanoseconds from the beginning of each pass until there was nothing left for this rank.
    private(set) var chunkCount: UInt64 = 0, busyNanoseconds: UInt64 = 0
    /// Nanoseconds of each pass, until all ranks were done.
    private(set) var passNanoseconds: [UInt64] = []
    /// Results that stay here.
    private(set) var kept: [ChunkResult] = []
    private(set) var totals: ChunkTotals
    /// Bytes of this rank's own chunks, of the last pass.
    private(set) var ownBytes: UInt64 = 0

    /// - Parameters:
    ///   - input: what to read from, where it is not mapped.
    ///   - outputShift: what an offset in the output is less than in the input.
    ///   - collector: takes results at rank 0.
    ///   - totals: what was done before this run, at rank 0.
    ///   - progress: is told the bytes that all ranks have done in all passes.
    init(
        communicator: Communicator, counter: ClaimCounter, plan: ChunkPlan, source: ApplySource, input: MPIFile?,
        output: SharedOutput?, outputShift: UInt64, collector: Collector?, resultUse: ResultUse, passes: Int,
        totals: ChunkTotals, progress: @escaping (_ done: UInt64, _ nanoseconds: UInt64) -> Void
    ) {
        self.communicator = communicator
        self.counter = counter
        self.plan = plan
        self.source = source
        self.input = input
        self.output = output
        self.outputShift = outputShift
        self.collector = collector
        self.resultUse = resultUse
        self.passes = passes
        self.totals = totals
        self.progress = progress
    }

    func willBegin(pass: Int) throws {
        self.pass = pass
        try communicator.barrier()
        communicator.resetDone()
        began = Clock.monotonic()
        if pass == 0 { firstBegan = began }
    }

    func claim() throws -> ChunkClaim {
        guard let number = try counter.next() else { return .pending }
        // In each pass every rank claims once more than there is.
        let index = number - UInt64(pass) * UInt64(plan.remainingCount + communicator.size)
        return index >= UInt64(plan.remainingCount) ? .exhausted : .chunk(plan.remainingChunk(Int(index)))
    }

    func read(into memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        try input?.read(into: memory, at: offset)
    }

    func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws {
        try output?.write(memory, at: offset - outputShift)
    }

    func finish(_ chunk: ChunkResult) throws {
        try checkUnchanged()
        chunkCount += 1
        communicator.doneByteCount += UInt64(chunk.range.count)
        guard pass == passes - 1 else { return }
        totals.add(chunk)
        ownBytes += UInt64(chunk.range.count)
        if resultUse.keeps { kept.append(chunk) }
        if resultUse.sends { unsafe.append(chunk) }
    }

    /// Fails if the file is not as it was.
    func checkUnchanged() throws(ToolError) {
        let now = try source.state()
        let before = source.stateBefore
        guard now != before else { return }
        let what = now.byteCount < before.byteCount ? "became shorter" : "was written to"
        throw ToolError(.io, "\(source.name) \(what) while it was read; nothing was written")
    }

    func tick() throws {
        try communicator.poll()
        guard began > 0 else { return }
        if communicator.rank == 0 {
            collector?.journal?.tick()
            tellProgress()
        }
        // Saving stops this rank's reading and writing: not for every chunk.
        let now = Clock.monotonic()
        if !unsafe.isEmpty, now - lastSync > 1_000_000_000 || output == nil {
            try sendSafe()
            lastSync = Clock.monotonic()
        }
    }

    private func tellProgress() {
        progress(endedPasses + communicator.allDoneByteCount, Clock.monotonic() - firstBegan)
    }

    /// Sends what is finished to rank 0, once its bytes are safe.
    private func sendSafe() throws {
        guard !unsafe.isEmpty else { return }
        try output?.sync()
        for chunk in unsafe {
            let record = JournalRecord.encode(chunk)
            if let collector {
                try collector.take(record, from: communicator.name)
            } else {
                try communicator.send(.chunk, record)
            }
            sent += 1
        }
        unsafe.removeAll()
    }

    func didEnd(pass: Int) throws {
        busyNanoseconds += Clock.monotonic() - began
        try sendSafe()
        if communicator.rank == 0 { communicator.whileWaiting = { [unowned self] in tellProgress() } }
        defer { communicator.whileWaiting = {} }
        try communicator.barrier()
        passNanoseconds.append(Clock.monotonic() - began)
        endedPasses += UInt64(plan.range.count)
    }
}
