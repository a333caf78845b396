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
    private let pcores: BlockWork
    private let source: ApplySource
    private let output: ApplyOutput
    private let signals: TerminationSignals

    private var digests: DigestWriter?
    private var holeBytes: UInt64 = 0
    private var backing: Backing?
    /// The pcores' own memory in a staged run.
    private var staging: HugeBlob?

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
        let isa = try Kernels.selected()
        let cpus = try CPUs.chosen(first: configuration.firstCPU, count: configuration.cpuCount)
        source = try ApplySource(configuration)
        signals = try TerminationSignals()
        output = try ApplyOutput(configuration, source: source)
        pcores = BlockWork(
            configuration.job, isa: isa, cpus: cpus, report: { report(.warning($0)) })
        if let path = configuration.digests {
            var fileByteCount: UInt64?
            if case .file(_, let size) = source.kind { fileByteCount = UInt64(size) }
            digests = try DigestWriter(path, header: DigestHeader(configuration, fileByteCount: fileByteCount))
        }
    }

    /// Does all of it. Whatever way it ends, no process and no half-written file is left.
    package func run() throws -> ApplyOutcome {
        do {
            return try work()
        } catch let error as EngineError {
            throw ToolError(error, input: source.name, writeError: output.writeError)
        }
    }

    private func work() throws -> ApplyOutcome {
        var passes: [UInt64] = []
        var results = makeResults()
        var mode: ApplyMode?
        let range = source.range
        if range?.isEmpty == true {
            passes = [0]
        } else if output.isOrdered || range == nil {
            mode = .stream
            passes = [try runStream(results)]
        } else if let range {
            let way = configuration.movesBytes ? ApplyMode.staged : .mapped
            mode = way
            (passes, results) = try runFile(range, mode: way, rounds: configuration.rounds)
        }
        try comparison?.finish()
        try source.checkUnchanged(report)
        try output.finish(source)
        try digests?.finish()
        return ApplyOutcome(
            configuration: configuration, mode: mode, isa: pcores.isa, pcoreCPUs: pcores.cpus, bytes: results.bytes,
            blocks: results.blocks, holeBytes: holeBytes, totals: results.totals, wholeCRCs: results.wholeCRCs,
            passNanoseconds: passes, readyNanoseconds: pcores.readyNanoseconds, records: pcores.records,
            restarts: pcores.restarts,
            backing: backing, differences: comparison?.differences)
    }

    // MARK: - Results

    private func makeResults(discardRows: Bool = false) -> BlockResults {
        let wantsRows = !discardRows && (digests != nil || comparison != nil)
        return BlockResults(program: program, blockByteCount: configuration.blockByteCount) { [self] row in
            guard wantsRows else { return }
            try digests?.append(row)
            try comparison?.compare(row)
        }
    }

    // MARK: - Files

    private var program: Program { configuration.program }

    private func runFile(
        _ range: Range<UInt64>, mode: ApplyMode, rounds: Int
    ) throws -> ([UInt64], BlockResults) {
        guard case .file(let input, let fileByteCount) = source.kind else { return ([], makeResults()) }
        let blocksPerRecord = pcores.blocksPerRecord(range.count)
        var files = PCoreFiles()
        files.input = input
        var job = PCoreJob.mappedFile
        if mode == .staged {
            let each = stagingByteCount
            let blob = try HugeBlob.create(byteCount: pcores.pcores * each, pages: configuration.pages)
            backing = try blob.backing()
            files.blob = blob.fileDescriptor
            files.output = output.descriptor
            job = .stagedFile(
                StagingParameters(byteCount: each, outputShift: output.shift, passes: configuration.passes))
            staging = consume blob
        }
        let parameters = pcores.parameters(job, limit: fileByteCount, blocksPerRecord: blocksPerRecord)
        func feed() -> BlockFeed {
            BlockFeed(
                range: range, blockByteCount: configuration.blockByteCount, blocksPerRecord: blocksPerRecord)
        }
        var current = feed()
        var group = try pcores.start(current, parameters, policy: .runAgain, files: files, signals: signals)
        var passes: [UInt64] = []
        var results = makeResults()
        let firstBegan = Clock.monotonic()
        for round in 0..<rounds {
            let isLast = round == rounds - 1
            results = makeResults(discardRows: !isLast)
            if round > 0 {
                current = feed()
                for lane in group.lanes { lane.source = pcores.records(of: current) }
            }
            holeBytes = 0
            var holes = mode == .mapped ? Holes(of: input) : nil
            let began = Clock.monotonic()
            let total = UInt64(range.count)
            let fault = try group.drive(signals) { _, _ in
                results.bytes == total
            } tick: { now, _ in
                report(
                    .progress(
                        done: UInt64(round) * total + results.bytes, total: UInt64(rounds) * total,
                        nanoseconds: now - firstBegan))
            } work: { lanes in
                try pcores.collect(lanes, results.add) + deal(lanes, current, &holes, UInt64(fileByteCount), results)
            }
            try pcores.check(fault, group)
            passes.append(Clock.monotonic() - began)
        }
        try pcores.end(&group)
        return (passes, results)
    }

    /// Bytes of each pcore's own memory: a block at least; where it can be, few enough to stay in the caches, and for FNV several
    /// blocks, which are interleaved.
    private var stagingByteCount: Int {
        let block = configuration.blockByteCount
        let wanted = program.steps.contains { $0.op == .fnv } ? min(8 * block, 8 << 20) : 1 << 20
        let most = configuration.windowByteCount / pcores.pcores / block * block
        return max(block, min(max(wanted / block * block, block), most))
    }

    /// Gives work to pcores that have room; blocks that lie in holes are done at once.
    private func deal(
        _ lanes: [Lane<BlockRecords>], _ feed: BlockFeed, _ holes: inout Holes?, _ fileByteCount: UInt64,
        _ results: BlockResults
    ) throws -> Int {
        // A hole is passed step by step, so that the caller can look up between.
        if holes != nil, try passHole(feed, &holes!, fileByteCount, results) { return 1 }
        return try pcores.deal(lanes) { try holes != nil && passHole(feed, &holes!, fileByteCount, results) }
    }

    /// Takes whole blocks at the head of the feed that lie in a hole, at most 4096 at a time; whether there were any.
    private func passHole(
        _ feed: BlockFeed, _ holes: inout Holes, _ fileByteCount: UInt64, _ results: BlockResults
    ) throws -> Bool {
        guard !feed.isExhausted else { return false }
        let end = min(holes.end(at: feed.next, fileByteCount: fileByteCount), feed.end)
        guard end > feed.next else { return false }
        let block = UInt64(configuration.blockByteCount)
        let whole = (end - feed.next) / block
        if whole > 0 {
            let count = min(whole, 4096)
            let values = pcores.zeroValues(configuration.blockByteCount)
            holeBytes += count * block
            try results.add(
                feed.skip(count * block), values: (0..<count).flatMap { _ in values })
            return true
        }
        guard end == feed.end else { return false }
        let rest = Int(end - feed.next)
        holeBytes += UInt64(rest)
        try results.add(feed.skip(UInt64(rest)), values: pcores.zeroValues(rest))
        return true
    }

    // MARK: - Streams

    private func runStream(_ results: BlockResults) throws -> UInt64 {
        guard configuration.passes == 1 || program.writes else {
            throw ToolError(.usage, "--passes: a pipe can be read only once")
        }
        let block = configuration.blockByteCount
        let window = configuration.windowByteCount / block * block
        let blob = try HugeBlob.create(byteCount: window, pages: configuration.pages)
        backing = try blob.backing()
        let feed = BlockFeed(
            window: window, blockByteCount: block,
            blocksPerRecord: min(pcores.blocksPerRecord(nil), max(1, window / block / 4)))
        var files = PCoreFiles()
        files.blob = blob.fileDescriptor
        let parameters = pcores.parameters(
            .blob(passes: UInt32(configuration.passes)), limit: window, blocksPerRecord: feed.blocksPerRecord)
        // A block that a dead pcore has transformed in part is lost: its original is nowhere else.
        var group = try pcores.start(
            feed, parameters, policy: program.writes ? .never : .runAgain, files: files, signals: signals)
        return try blob.withUnsafeMutableBytes { memory in
            let stream = try BlockStream(
                source: source, output: output, memory: memory, skip: configuration.rangeOffset,
                limit: configuration.rangeLength.map { UInt64($0) } ?? source.range.map { UInt64($0.count) })
            let began = Clock.monotonic()
            var noHoles: Holes?
            let fault = try group.drive(signals) { _, _ in
                feed.isExhausted && results.bytes == feed.end && stream.written == feed.end
            } tick: { now, _ in
                report(
                    .progress(
                        done: results.bytes, total: source.range.map { UInt64($0.count) }, nanoseconds: now - began))
            } work: { lanes in
                var did = try pcores.collect(lanes, results.add)
                did += try stream.write(upTo: results.bytes)
                if !feed.isComplete, try stream.read() || stream.isAtEnd {
                    feed.extend(to: stream.received, isComplete: stream.isAtEnd)
                    did += 1
                }
                did += try deal(lanes, feed, &noHoles, 0, results)
                if did == 0, stream.canWait(results.bytes) {
                    stream.wait(upTo: results.bytes, milliseconds: results.bytes == feed.end ? 5 : 1)
                    did = 1
                }
                return did
            }
            try pcores.check(fault, group)
            let elapsed = Clock.monotonic() - began
            try pcores.end(&group)
            return elapsed
        }
    }
}
