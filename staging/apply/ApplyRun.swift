import Glibc
import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import SystemPackage

/// How the bytes reach the pcores.
package enum ApplyMode: String, Sendable {
    /// Every pcore maps the file: nothing is copied.
    case mapped
    /// Every pcore reads blocks into memory of its own, transforms them there and writes them.
    case staged
    /// The parent reads into a window that all share, in order, and writes from it, in order.
    case stream
    /// A ``ChunkRun``'s driver does that chunk by chunk, in any order.
    case window
}

/// What the run tells whoever watches it.
package enum ApplyEvent: Sendable {
    /// Something the user should know about the result.
    case warning(String)
    /// Bytes done, all that there are to do if that is known (both over all passes), and the nanoseconds that it took.
    case progress(done: UInt64, total: UInt64?, nanoseconds: UInt64)
}

/// What came of it.
package struct ApplyOutcome: Sendable {
    /// What was asked for.
    package let configuration: ApplyConfiguration
    /// How the bytes reached the pcores; nil if there were none.
    package let mode: ApplyMode?
    /// The kernels that ran.
    package let isa: ISA
    /// CPUs of the pcores.
    package let pcoreCPUs: [Int]
    /// Bytes and blocks of the range.
    package let bytes: UInt64, blocks: UInt64
    /// Bytes of the range that are holes of a sparse file, whose values were worked out without reading them.
    package let holeBytes: UInt64
    /// One wrapping sum over all blocks for each operation that yields a value (of the last pass).
    package let totals: [UInt64]
    /// The CRC-32C of the whole range for each crc32c of the program, by the operation's index among those that yield values.
    package let wholeCRCs: [Int: UInt32]
    /// Nanoseconds of each pass, from its start to its last block.
    package let passNanoseconds: [UInt64]
    /// Nanoseconds from the start of the first pcore's process until all were ready.
    package let readyNanoseconds: UInt64
    /// Records executed, and how often a pcore that died was replaced.
    package let records: UInt64, restarts: Int
    /// The window's memory, if there was one.
    package let backing: Backing?
    /// Blocks that differ from the digests that were given; nil if none were.
    package let differences: [BlockDifference]?

    /// Bytes of the range that were done by another run before.
    package var resumedByteCount: UInt64 = 0

    /// The payload of all passes.
    package var passedBytes: UInt64 { bytes * UInt64(passNanoseconds.count) }
    /// What this run has done of it.
    package var workedBytes: UInt64 { passedBytes - resumedByteCount }
    /// Time of all passes.
    package var elapsedNanoseconds: UInt64 { passNanoseconds.reduce(0, +) }
}

extension ApplyOutcome {
    /// Puts together what a run with a driver of its own has come to; arguments as the properties.
    ///
    /// - Parameters:
    ///   - configuration: what was asked for.
    ///   - mode: how the bytes reached the pcores.
    ///   - run: what the run says.
    ///   - totals: the results of all chunks, those of other processes included.
    ///   - passNanoseconds: nanoseconds of each pass.
    ///   - comparison: what was compared with digests.
    ///   - resumedByteCount: bytes that were done before.
    package init(
        _ configuration: ApplyConfiguration, mode: ApplyMode?, run: ChunkRunOutcome, totals: ChunkTotals,
        passNanoseconds: [UInt64], comparison: DigestComparison?, resumedByteCount: UInt64
    ) {
        self.resumedByteCount = resumedByteCount
        self.configuration = configuration
        self.mode = mode
        isa = run.isa
        pcoreCPUs = run.pcoreCPUs
        (bytes, blocks, holeBytes) = (totals.bytes, totals.blocks, totals.holeBytes)
        self.totals = totals.totals
        wholeCRCs = Dictionary(
            uniqueKeysWithValues: configuration.program.reducers.indices
                .filter { configuration.program.reducers[$0].op == .crc32c }
                .map { ($0, UInt32(truncatingIfNeeded: totals.wholeCRCs[$0])) })
        self.passNanoseconds = passNanoseconds
        readyNanoseconds = run.readyNanoseconds
        (records, restarts) = (run.records, run.restarts)
        backing = run.backing
        differences = comparison?.differences
    }
}

/// Applies a program to a file, every byte exactly once (each pass), with many pcores.
package final class ApplyRun {
    private let configuration: ApplyConfiguration
    private let comparison: DigestComparison?
    private let report: (ApplyEvent) -> Void
    private let isa: ISA
    private let cpus: [Int]
    private let source: ApplySource
    private let output: ApplyOutput
    private let signals: TerminationSignals

    private var digests: DigestWriter?

    /// Checks the configuration against itself, the files and the machine. Nothing is allocated or started yet, but signals
    /// that would end the process wait for ``run()`` from now on.
    ///
    /// - Parameters:
    ///   - configuration: what to do.
    ///   - expected: digests that the blocks are compared with.
    ///   - report: is told how far the pass is, now and then.
    package init(
        _ configuration: ApplyConfiguration, comparingWith expected: DigestReader? = nil,
        report: @escaping (ApplyEvent) -> Void
    ) throws {
        try configuration.validate()
        self.configuration = configuration
        comparison = expected.map { DigestComparison($0) }
        self.report = report
        isa = try Kernels.selected()
        cpus = try CPUs.chosen(first: configuration.firstCPU, count: configuration.cpuCount)
        source = try ApplySource(configuration)
        signals = try TerminationSignals()
        output = try ApplyOutput(configuration, source: source)
        if let path = configuration.digests {
            var fileByteCount: UInt64?
            if case .file(_, let size) = source.kind { fileByteCount = UInt64(size) }
            digests = try DigestWriter(path, header: DigestHeader(configuration, fileByteCount: fileByteCount))
        }
    }

    /// Does all of it. Whatever way it ends, no process and no half-written file is left.
    package func run() throws -> ApplyOutcome {
        do {
            return try apply()
        } catch let error as EngineError {
            throw ToolError(error, input: source.name, writeError: output.writeError)
        }
    }

    private func apply() throws -> ApplyOutcome {
        var run = ChunkRunOutcome(isa: isa, pcoreCPUs: cpus)
        var results = results(isLast: true)
        var mode: ApplyMode?
        var passes: [UInt64] = [0]
        if output.isOrdered || source.range == nil {
            if source.range?.isEmpty != true {
                mode = .stream
                let stream = StreamRun(
                    configuration, source: source, output: output, results: results, signals: signals, report: report)
                (run, passes) = try stream.run(isa: isa, cpus: cpus)
            }
        } else if let range = source.range, !range.isEmpty, case .file(let file, let byteCount) = source.kind {
            mode = configuration.movesBytes ? .staged : .mapped
            let driver = LocalDriver(range: range, rounds: configuration.rounds, report: report) { [self] in
                self.results(isLast: $0)
            }
            // A fourth of the range as a chunk gives every pcore eight spans at least, if there are as many blocks.
            let chunkRun = try ChunkRun(
                configuration.job, cpus: cpus,
                input: configuration.movesBytes
                    ? .staged(file, byteCount: byteCount, output: output.descriptor, outputShift: output.shift)
                    : .mapped(file, byteCount: byteCount),
                chunkByteCount: range.count / 4, spansAhead: BlockPCores.slots, signals: signals, driver: driver
            ) { [report] in report(.warning($0)) }
            driver.chunkByteCount = chunkRun.spanByteCount
            run = try chunkRun.run()
            (passes, results) = (driver.passNanoseconds, driver.results)
        }
        try comparison?.finish()
        try source.checkUnchanged(report)
        try output.finish(source)
        try digests?.finish()
        return ApplyOutcome(
            configuration, mode: mode, run: run, totals: results.totals, passNanoseconds: passes,
            comparison: comparison, resumedByteCount: 0)
    }

    private func results(isLast: Bool) -> OrderedResults {
        let wantsRows = isLast && (digests != nil || comparison != nil)
        let start = UInt64(configuration.rangeOffset)
        guard wantsRows else { return OrderedResults(configuration.job, start: start, row: nil) }
        return OrderedResults(configuration.job, start: start) { [self] row in
            try digests?.append(row)
            try comparison?.compare(row)
        }
    }
}
