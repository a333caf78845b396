import ApplyTool
import Glibc
import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// One rank's part in one job, from the first check to the report. Used by one thread.
final class Job {
    private let command: MPIApply
    let options: ApplyOptions
    let communicator: Communicator
    private let signals: TerminationSignals
    private let progress: ApplyProgressBar
    private var warnings: [String] = []
    private var journal: Journal?
    /// What is being written: the transformed bytes, the digests.
    private var outputs: [SharedOutput] = []
    /// At rank 0: what is written about each rank.
    var rankTable: OutputFile?

    init(_ command: MPIApply, communicator: Communicator, signals: TerminationSignals) {
        self.command = command
        options = command.options
        self.communicator = communicator
        self.signals = signals
        progress = ApplyProgressBar(isShown: communicator.rank == 0 && !options.quiet && !options.output.json)
    }

    // MARK: - Words

    /// Tells people what went wrong, and on which rank.
    func tell(_ error: any Error) { tell("\(ToolError(any: error))") }

    func tell(_ text: String) {
        progress.finish()
        let place = communicator.size > 1 ? "\(communicator.name): " : ""
        FileDescriptor.standardError.writeLine("\(MPIApply.name): \(place)\(text)")
    }

    private func warn(_ text: String) {
        let place = communicator.size > 1 ? "\(communicator.name): " : ""
        warnings.append(place + text)
        progress.show(.warning(place + text))
    }

    /// What an end before the end leaves behind.
    var whatIsLeft: String {
        command.journal.map { "what is finished is in \($0): the same command with --resume goes on from there" }
            ?? "nothing was written"
    }

    /// Removes what a failed run must not leave behind.
    func discard() {
        progress.finish()
        let keeps = command.journal != nil && journal?.isEmpty != true
        for output in outputs { output.discard(unlessKept: keeps) }
        if journal?.isEmpty == true { journal?.remove() }
    }

    // MARK: - The job

    /// What all ranks know before the work begins.
    struct Setup {
        var configuration: ApplyConfiguration
        let comparison: DigestComparison?
        let source: ApplySource
        let range: Range<UInt64>
        let fileByteCount: Int
        let isa: ISA
        let cpus: [Int]
        let io: InputChoice
    }

    /// Does all of it; the exit status.
    func run() throws -> Int32 {
        let setup = try prepare()
        let configuration = setup.configuration
        let program = configuration.program
        var plan = try makePlan(setup)
        let found = journal?.found ?? []
        try shareRemaining(&plan, done: found)

        let output = try makeOutput(setup, resumes: plan.remaining != nil)
        let digests = try makeDigests(setup)
        try communicator.together {
            if communicator.rank == 0 { rankTable = try command.rankCsv.map { path in try OutputFile(FilePath(path)) } }
        }
        let input = setup.io.access == .mmap ? nil : try communicator.together { try openInput(configuration) }
        let counter = try ClaimCounter()
        var collector: Collector?
        let compares = options.check != nil
        if communicator.rank == 0, compares || command.journal != nil {
            collector = Collector(journal: journal, keeps: compares)
        }
        if let collector {
            communicator.takeChunk = { [communicator] rank, record in
                try collector.take(record, from: communicator.name(rank))
            }
        }
        var before = ChunkTotals(
            program: program, blockByteCount: configuration.blockByteCount, end: setup.range.upperBound)
        for chunk in found { before.add(chunk) }
        let resumedBytes = before.bytes
        let total = UInt64(setup.range.count) * UInt64(configuration.rounds)
        let driver = RankDriver(
            communicator: communicator, counter: counter, plan: plan, source: setup.source, input: input,
            output: output,
            outputShift: configuration.output == .inPlace ? 0 : setup.range.lowerBound, collector: collector,
            resultUse: .init(keeps: configuration.digests != nil, sends: compares || command.journal != nil),
            passes: configuration.rounds, totals: before
        ) { [progress] done, nanoseconds in
            progress.show(.progress(done: done + resumedBytes, total: total, nanoseconds: nanoseconds))
        }
        var run = ChunkRunOutcome(isa: setup.isa, pcoreCPUs: setup.cpus)
        if plan.remainingCount > 0 {
            let chunkRun = try ChunkRun(
                configuration.job, cpus: setup.cpus,
                input: setup.io.access == .mmap
                    ? .mapped(setup.source.descriptor, byteCount: setup.fileByteCount) : .window,
                chunkByteCount: plan.chunkByteCount, signals: signals, driver: driver
            ) { [self] in warn($0) }
            do {
                run = try chunkRun.run()
            } catch let error as EngineError {
                throw ToolError(error, input: setup.source.name)
            }
        }
        progress.finish()
        try counter.delete()
        try communicator.together { try driver.checkUnchanged() }

        let reduction = try reduce(driver, &run, setup.range)
        if let collector { try compare(setup.comparison, collector, reduction.sent) }
        if configuration.output == .inPlace, let output { try copyRest(setup, to: output) }
        if let digests { try write(digests.header, plan, driver.kept + found, to: digests.output) }
        for output in outputs { try output.commit() }
        journal?.remove()

        let rank = RankReport(
            rank: communicator.rank, host: communicator.host, pcores: configuration.pcores ?? setup.cpus.count,
            cpus: setup.cpus,
            bytes: driver.ownBytes,
            blocks: (driver.ownBytes + UInt64(configuration.blockByteCount) - 1) / UInt64(configuration.blockByteCount),
            chunks: driver.chunkCount, claims: counter.count, claimNs: median(counter.nanoseconds),
            busyNs: driver.busyNanoseconds, warnings: warnings)
        let ranks = try communicator.gather(rank.encoded)
        guard communicator.rank == 0 else { return try agree(0) }
        let report = JobReport(
            outcome: ApplyOutcome(
                configuration, mode: setup.range.isEmpty ? nil : setup.io.access == .mmap ? .mapped : .window, run: run,
                totals: reduction.totals,
                passNanoseconds: driver.passNanoseconds.isEmpty ? [0] : driver.passNanoseconds,
                comparison: setup.comparison, resumedByteCount: resumedBytes),
            ranks: try ranks.map { try RankReport.decode($0) }, chunkByteCount: plan.chunkByteCount,
            resumedChunks: found.count, io: setup.io, journal: command.journal,
            startNanoseconds: communicator.startNanoseconds,
            reductionNanoseconds: reduction.nanoseconds)
        return try agree(write(report))
    }

    /// Rank 0's status, for all.
    private func agree(_ status: Int32) throws -> Int32 {
        Int32(truncatingIfNeeded: try communicator.reduce([UInt64(status)], .maximum)[0])
    }

    // MARK: - Before

    /// Opens and checks everything that can be wrong before any work is done.
    private func prepare() throws -> Setup {
        var (configuration, comparison) = try communicator.together {
            () throws -> (ApplyConfiguration, DigestComparison?) in
            let expected = try options.expectedDigests()
            let configuration = try options.configuration(expected)
            guard case .file = configuration.input, configuration.output != .standardOutput else {
                throw ToolError(.usage, "a pipe reaches one rank only: name files, or use pfs_apply")
            }
            guard command.journal != nil || !command.resume else { throw ToolError(.usage, "--resume needs --journal") }
            guard command.journal == nil || configuration.rounds == 1 else {
                throw ToolError(.usage, "--journal goes with one pass only")
            }
            return (configuration, expected.map { DigestComparison($0) })
        }
        let source = try communicator.together { try openSource(configuration) }
        guard case .file(_, let byteCount) = source.kind, let range = source.range else {
            throw ToolError(.usage, "\(configuration.input) is not a regular file")
        }
        let io = try communicator.together {
            try InputChoice(
                wanted: command.io, moves: configuration.movesBytes, file: source.descriptor)
        }
        let (isa, allowed) = try communicator.together {
            (try Kernels.selected(), try CPUs.chosen(first: configuration.firstCPU, count: configuration.cpuCount))
        }
        // Ranks that may use the same CPUs share them out.
        let (index, count) = try communicator.neighbours(allowed)
        let cpus =
            allowed.count >= count
            ? Array(allowed[index * allowed.count / count..<(index + 1) * allowed.count / count])
            : [allowed[index % allowed.count]]
        if configuration.pcores == nil { configuration.pcores = cpus.count }
        comparison = communicator.rank == 0 ? comparison : nil
        return Setup(
            configuration: configuration, comparison: comparison, source: source, range: range,
            fileByteCount: byteCount, isa: isa, cpus: cpus, io: try chooseTogether(io))
    }

    /// One choice for all ranks: if the file is remote for any, it is for all.
    private func chooseTogether(_ io: InputChoice) throws -> InputChoice {
        let mapped = try communicator.reduce([io.access == .mmap ? 1 : 0], .minimum)[0]
        return mapped == (io.access == .mmap ? 1 : 0)
            ? io : InputChoice(.mpiIO, because: "the file is remote for a rank")
    }

    /// The input, which must be the same file for all ranks.
    private func openSource(_ configuration: ApplyConfiguration) throws -> ApplySource {
        let source = try ApplySource(configuration)
        guard case .file = source.kind else {
            throw ToolError(.usage, "\(configuration.input) is not a regular file: it cannot be shared; use pfs_apply")
        }
        if case .file(let path) = configuration.output, source.isSameFile(as: path) {
            throw ToolError(.usage, "--out \(path): is the input itself; use --in-place if that is meant")
        }
        return source
    }

    func openInput(_ configuration: ApplyConfiguration) throws -> MPIFile {
        guard case .file(let path) = configuration.input, let whole = realpath(path.string, nil) else {
            throw ToolError(.noInput, "cannot find \(configuration.input)")
        }
        defer { free(whole) }
        return try MPIFile(String(cString: whole), writes: false)
    }

    /// Compares the input with rank 0's, and cuts it into chunks; rank 0 opens the journal.
    private func makePlan(_ setup: Setup) throws -> ChunkPlan {
        let state = setup.source.stateBefore
        let first = try communicator.reduce(
            communicator.rank == 0 ? [state.byteCount, state.modified] : [0, 0], .maximum)
        try communicator.together {
            if state.byteCount != first[0] {
                throw ToolError(
                    .noInput,
                    "\(setup.configuration.input) has \(state.byteCount) bytes here and \(first[0]) on "
                        + "\(communicator.name(0)): is it the same file?")
            }
        }
        let block = setup.configuration.blockByteCount
        let usual = ChunkPlan.chunkByteCount(range: setup.range, ranks: communicator.size, block: block)
        let chunk = try communicator.together { () throws -> Int in
            let chunk = command.chunk ?? usual
            guard chunk > 0, chunk % block == 0 else {
                throw ToolError(.usage, "--chunk \(chunk): must be a multiple of the block, \(block) bytes")
            }
            guard chunk / block * max(1, setup.configuration.program.reducers.count) <= 1 << 26 else {
                throw ToolError(.usage, "--chunk \(chunk): has more than 2^26 values; lower it or raise --block")
            }
            guard communicator.rank == 0, let path = command.journal else { return chunk }
            let journal = try Journal(
                FilePath(path), job: journalJob(setup), resumes: command.resume, wantedChunk: command.chunk,
                usualChunk: usual, range: setup.range, program: setup.configuration.program, blockByteCount: block)
            self.journal = journal
            if journal.tornByteCount > 0 {
                warn("--journal \(path): its last \(journal.tornByteCount) bytes are no whole record and do not count")
            }
            return journal.chunkByteCount ?? chunk
        }
        let agreed = try communicator.reduce([communicator.rank == 0 ? UInt64(chunk) : 0], .maximum)[0]
        return ChunkPlan(range: setup.range, chunkByteCount: Int(agreed), remaining: nil)
    }

    private func journalJob(_ setup: Setup) -> Journal.Job {
        let configuration = setup.configuration
        let state = setup.source.stateBefore
        var lines = [
            ("file", "\(configuration.input)"), ("file_bytes", "\(state.byteCount)"),
            ("file_modified_ns", "\(state.modified)"), ("program", "\(configuration.program)"),
            ("block_bytes", "\(configuration.blockByteCount)"), ("range_offset_bytes", "\(setup.range.lowerBound)"),
            ("range_bytes", "\(setup.range.count)"), ("passes", "\(configuration.passes)"),
        ]
        switch configuration.output {
        case .file(let path): lines.append(("out", path.string))
        case .inPlace: lines.append(("out", "in place"))
        case .none, .standardOutput: break
        }
        return Journal.Job(lines: lines.map { ($0.0, $0.1.replacing("\n", with: " ")) })
    }

    /// Tells all ranks which chunks are left, if rank 0 has found some that are done.
    private func shareRemaining(_ plan: inout ChunkPlan, done: [ChunkResult]) throws {
        guard try communicator.reduce([UInt64(done.count)], .maximum)[0] > 0 else { return }
        var marks = [UInt8](repeating: 0, count: plan.count)
        for chunk in done { if let number = plan.number(of: chunk.range) { marks[number] = 1 } }
        marks = try communicator.broadcast(marks)
        plan.remaining = marks.indices.filter { marks[$0] == 0 }
    }

    private func makeOutput(_ setup: Setup, resumes: Bool) throws -> SharedOutput? {
        let path: FilePath
        switch (setup.configuration.output, setup.configuration.input) {
        case (.none, _), (.standardOutput, _): return nil
        case (.file(let out), _): path = out
        case (.inPlace, .file(let file)): path = file
        case (.inPlace, .standardInput): return nil
        }
        let output = try SharedOutput(
            path, communicator: communicator, resumes: resumes, mayBeKept: command.journal != nil)
        outputs.append(output)
        return output
    }

    /// The file of digests, which is begun before the work so that what is wrong with it shows then.
    private func makeDigests(_ setup: Setup) throws -> (header: DigestHeader, output: SharedOutput)? {
        guard let path = setup.configuration.digests else { return nil }
        let header = try communicator.together {
            try DigestHeader(setup.configuration, fileByteCount: UInt64(setup.fileByteCount))
        }
        let output = try SharedOutput(path, communicator: communicator, resumes: false, mayBeKept: false)
        outputs.append(output)
        return (header, output)
    }

    // MARK: - After
}
