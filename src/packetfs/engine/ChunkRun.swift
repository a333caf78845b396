import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSProcess
import SystemPackage

/// What a run gets when it asks for its next chunk.
public enum ChunkClaim: Sendable, Equatable {
    /// These bytes, in the file's count: whole blocks, but for the file's last one.
    case chunk(Range<UInt64>)
    /// Nothing yet: the answer is on its way.
    case pending
    /// Nothing any more in this pass.
    case exhausted
}

/// What a ``ChunkRun`` works for: deals out chunks, moves bytes where the run has no file to map, and takes results.
///
/// All calls come from the thread of ``ChunkRun/run()``. Pcores work on while one lasts, but get nothing new.
public protocol ChunkDriver: AnyObject {
    /// All pcores are ready, or those of the pass before have nothing left to do: the pass begins when this returns.
    func willBegin(pass: Int) throws
    /// The next chunk of the pass. Asked again and again; offsets never go down within a pass.
    func claim() throws -> ChunkClaim
    /// Fills `memory` with the file's bytes from `offset` on.
    func read(into memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws
    /// Writes out what has become of the file's bytes from `offset` on, if that is wanted.
    func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws
    /// Everything of a chunk is done, and written if it had to be.
    func finish(_ chunk: ChunkResult) throws
    /// Called each time that the run looks up from its work, and while its pcores start: every few milliseconds at least.
    func tick() throws
    /// The pass is over, as far as this run is concerned.
    func didEnd(pass: Int) throws
}

/// What a ``ChunkRun`` has come to, beside the results that it gave to its driver.
public struct ChunkRunOutcome: Sendable {
    /// The kernels that ran, and the CPUs of the pcores.
    public let isa: ISA, pcoreCPUs: [Int]
    /// Nanoseconds from the start of the first pcore's process until all were ready.
    public let readyNanoseconds: UInt64
    /// Records executed, and how often a pcore that died was replaced.
    public var records: UInt64, restarts: Int
    /// The window's memory, if there was one.
    public let backing: Backing?

    /// Of pcores that have ended.
    package init(_ work: BlockPCores, backing: Backing?) {
        (isa, pcoreCPUs, readyNanoseconds) = (work.isa, work.cpus, work.readyNanoseconds)
        (records, restarts) = (work.records, work.restarts)
        self.backing = backing
    }

    /// Of a run that had nothing to do, and started no pcores.
    public init(isa: ISA, pcoreCPUs: [Int]) {
        self.isa = isa
        self.pcoreCPUs = pcoreCPUs
        (readyNanoseconds, records, restarts, backing) = (0, 0, 0, nil)
    }
}

/// Applies a program to chunks of a file, with many pcores, for as long as its driver has chunks.
///
/// Which part of the file that is need not be known beforehand. Of the file's bytes it maps those that a program only reads; all
/// others go through its driver.
public final class ChunkRun {
    /// How the bytes reach the pcores.
    public enum Input: Sendable {
        /// Every pcore maps this file, of so many bytes. The program must not write. Stays the caller's.
        case mapped(FileDescriptor, byteCount: Int)
        /// Every pcore reads blocks of this file, of so many bytes, into memory of its own, transforms them there and writes them to the
        /// output, if there is one, at an offset that is less by `outputShift`. Both stay the caller's.
        case staged(FileDescriptor, byteCount: Int, output: FileDescriptor?, outputShift: UInt64)
        /// The driver reads them into a window that all pcores share, and writes them from there.
        case window
        /// They are in this blob, of so many bytes, and stay there. Stays the caller's.
        case blob(FileDescriptor, byteCount: Int)
    }

    /// A chunk in work.
    private struct Chunk {
        let range: Range<UInt64>
        /// Made when the first of several spans is done.
        var values: [UInt64] = []
        var holeBytes: UInt64 = 0
        /// Bytes that are not done yet.
        var left: Int
    }

    private let job: BlockJob
    private let input: Input
    private let driver: any ChunkDriver
    private let signals: TerminationSignals?
    private let pcores: BlockPCores
    private let queue: SpanQueue
    /// Bytes of a record's blocks: the least that a chunk should have.
    public let spanByteCount: Int
    /// Spans in work below which the run claims another chunk.
    private let spansAhead: Int
    private var chunks: [UInt64: Chunk] = [:]
    /// The chunk of a span, and its slot in the window, by the span's number.
    private var spans: [UInt64: (chunk: UInt64, slot: Int)] = [:]
    /// Parts of the window, of a span each, and those that are free.
    private var slotCount = 0
    private var freeSlots: [Int] = []
    /// Spans that wait to be read into a free slot.
    private var unread: [(span: BlockSpan, chunk: UInt64)] = []
    private var nextNumber: UInt64 = 0
    private var isExhausted = false
    private var holes: Holes?
    private var backing: Backing?

    /// Nothing is started yet.
    ///
    /// - Parameters:
    ///   - job: the program and how it is applied; checked by the caller.
    ///   - cpus: CPUs that pcores go round over, one pcore each if the configuration does not say how many.
    ///   - input: how bytes get in.
    ///   - chunkByteCount: bytes of a usual chunk: records are so small that each pcore gets several.
    ///   - spansAhead: how many spans for each pcore are claimed ahead. Claims that others wait for should be few.
    ///   - signals: one that arrives ends the run with `Interrupted`.
    ///   - driver: what the run works for.
    ///   - report: is told what the user should know.
    public init(
        _ job: BlockJob, cpus: [Int], input: Input, chunkByteCount: Int, spansAhead: Int = 2,
        signals: TerminationSignals? = nil, driver: any ChunkDriver,
        report: @escaping (String) -> Void = { _ in }
    ) throws {
        self.job = job
        self.input = input
        self.driver = driver
        self.signals = signals
        pcores = BlockPCores(
            job, isa: try ISA.selected(), cpus: cpus, report: report)
        self.spansAhead = spansAhead * pcores.count
        let block = job.blockByteCount
        queue = SpanQueue(blockByteCount: block)
        var blocks = max(1, min(pcores.blocksPerRecord, chunkByteCount / block / (pcores.count * 2)))
        if case .window = input {
            // Small enough that pcores do not wait long for the first one, and that every pcore gets several.
            blocks = max(
                1, min(blocks, max((1 << 20) / block, 8), job.windowByteCount / block / (pcores.count * 4)))
            slotCount = max(2, min(job.windowByteCount / (blocks * block), 8 * pcores.count))
        } else if case .mapped = input {
            precondition(!job.program.writes, "what is mapped must not be written")
        }
        spanByteCount = blocks * block
    }

    /// Starts the pcores, goes through all passes and ends the pcores. Whatever way it ends, no process is left.
    ///
    /// Passes are as ``BlockJob/rounds`` says.
    public func run() throws -> ChunkRunOutcome {
        var files = PCoreFiles()
        let passes = job.movesBytes ? job.passes : 1
        switch input {
        case .mapped(let file, let byteCount):
            files.input = file
            try run(.mappedFile, limit: byteCount, files, nil)
        case .blob(let file, let byteCount):
            files.blob = file
            try run(.blob(passes: UInt32(passes)), limit: byteCount, files, nil)
        case .staged(let file, let byteCount, let output, let outputShift):
            let each = stagingByteCount
            let blob = try HugeBlob.create(byteCount: pcores.count * each, pages: job.pages)
            backing = try blob.backing()
            (files.input, files.output, files.blob) = (file, output, blob.fileDescriptor)
            let staging = StagingParameters(byteCount: each, outputShift: outputShift, passes: passes)
            try blob.withUnsafeMutableBytes { _ in
                try run(.stagedFile(staging), limit: byteCount, files, nil)
            }
        case .window:
            let byteCount = slotCount * spanByteCount
            freeSlots = Array((0..<slotCount).reversed())
            let blob = try HugeBlob.create(byteCount: byteCount, pages: job.pages)
            backing = try blob.backing()
            files.blob = blob.fileDescriptor
            try blob.withUnsafeMutableBytes { memory in
                try run(.blob(passes: UInt32(passes)), limit: byteCount, files, memory)
            }
        }
        return ChunkRunOutcome(pcores, backing: backing)
    }

    /// Bytes of each pcore's own memory: a block at least; where it can be, few enough to stay in the caches, and for FNV several
    /// blocks, which are interleaved.
    private var stagingByteCount: Int {
        let block = job.blockByteCount
        let wanted = job.program.steps.contains { $0.op == .fnv } ? min(8 * block, 8 << 20) : 1 << 20
        let most = job.windowByteCount / pcores.count / block * block
        return max(block, min(max(wanted / block * block, block), most))
    }

    private func run(
        _ pcoreJob: PCoreJob, limit: Int, _ files: PCoreFiles, _ memory: UnsafeMutableRawBufferPointer?
    ) throws {
        var group = try pcores.start(
            queue, job: pcoreJob, limit: limit, blocksPerRecord: spanByteCount / job.blockByteCount, policy: policy,
            files: files, signals: signals, willRunAgain: { [unowned self] in try restore($0, memory) },
            whileWaiting: driver.tick)
        for pass in 0..<job.rounds {
            try driver.willBegin(pass: pass)
            isExhausted = false
            if case .mapped(let file, _) = input { holes = Holes(of: file) }
            let fault = try group.drive(signals) { [self] _, _ in
                isExhausted && chunks.isEmpty
            } tick: { _, _ in
            } work: { [self] feeds in
                try driver.tick()
                var did = try pcores.collect(feeds) { try take($0, $1, memory) }
                did += try claim()
                if let memory { did += try read(memory) }
                return did + (try pcores.deal(feeds))
            }
            try pcores.check(fault, group)
            try driver.didEnd(pass: pass)
        }
        try pcores.end(&group)
    }

    /// A block that a dead pcore has transformed in part in a blob is lost: its original is nowhere else.
    private var policy: RestartPolicy {
        if case .blob = input, job.program.writes { .never } else { .runAgain }
    }

    /// Asks for chunks while there is too little to do for pcores to be busy until the next one is here, but not so many that the caller
    /// cannot look up between.
    private func claim() throws -> Int {
        for count in 0..<spansAhead {
            guard !isExhausted, spans.count + unread.count < spansAhead else { return count }
            switch try driver.claim() {
            case .pending: return count
            case .exhausted: isExhausted = true
            case .chunk(let range): try begin(range)
            }
        }
        return spansAhead
    }

    /// Cuts a chunk into spans. What lies in a hole is done at once.
    private func begin(_ range: Range<UInt64>) throws {
        let block = UInt64(job.blockByteCount)
        let number = nextNumber
        nextNumber += 1
        chunks[number] = Chunk(range: range, left: range.count)
        var at = range.lowerBound
        while at < range.upperBound {
            var hole: UInt64 = 0
            if holes != nil, case .mapped(_, let byteCount) = input {
                let end = min(holes!.end(at: at, fileByteCount: UInt64(byteCount)), range.upperBound)
                hole = end == range.upperBound ? end - at : (end - at) / block * block
            }
            let byteCount = hole > 0 ? Int(hole) : Int(min(UInt64(spanByteCount), range.upperBound - at))
            let span = BlockSpan(sequence: nextNumber, offset: at, byteCount: byteCount)
            nextNumber += 1
            at += UInt64(byteCount)
            if hole > 0 {
                chunks[number]!.holeBytes += hole
                try finish(span, of: number, span.blocks(of: Int(block)).flatMap { pcores.zeroValues($0.count) })
            } else if slotCount == 0 {
                spans[span.sequence] = (number, -1)
                queue.append(span, at: span.offset)
            } else {
                unread.append((span, number))
            }
        }
    }

    /// Takes the values of a span that a pcore is done with.
    private func take(_ span: BlockSpan, _ values: [UInt64], _ memory: UnsafeMutableRawBufferPointer?) throws {
        guard let (chunk, slot) = spans.removeValue(forKey: span.sequence) else { return }
        if let memory {
            try driver.write(UnsafeRawBufferPointer(part(slot, of: memory, span)), at: span.offset)
            freeSlots.append(slot)
        }
        try finish(span, of: chunk, values)
    }

    private func part(
        _ slot: Int, of memory: UnsafeMutableRawBufferPointer, _ span: BlockSpan
    ) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[slot * spanByteCount..<slot * spanByteCount + span.byteCount])
    }

    private func finish(_ span: BlockSpan, of number: UInt64, _ values: [UInt64]) throws {
        guard var chunk = chunks.removeValue(forKey: number) else { return }
        if span.byteCount == chunk.range.count {
            return try driver.finish(ChunkResult(range: chunk.range, values: values, holeBytes: chunk.holeBytes))
        }
        if chunk.values.isEmpty {
            let count = ChunkResult.blockCount(of: chunk.range, job.blockByteCount)
            chunk.values = Array(repeating: 0, count: count * pcores.reducerCount)
        }
        let first = Int(span.offset - chunk.range.lowerBound) / job.blockByteCount * pcores.reducerCount
        chunk.values.replaceSubrange(first..<first + values.count, with: values)
        chunk.left -= span.byteCount
        guard chunk.left == 0 else {
            chunks[number] = chunk
            return
        }
        try driver.finish(ChunkResult(range: chunk.range, values: chunk.values, holeBytes: chunk.holeBytes))
    }

    /// Brings back what a pcore that died may have transformed in part: the oldest record that it has not released.
    private func restore(_ feed: RingFeed<SpanRecords>, _ memory: UnsafeMutableRawBufferPointer?) throws {
        let unreleased = feed.source.pending.suffix(try feed.unreleased().count)
        guard let memory, let span = unreleased.first?.span, let (_, slot) = spans[span.sequence] else { return }
        try driver.read(into: part(slot, of: memory, span), at: span.offset)
    }

    /// Fills one free slot, so that the caller can look up between.
    private func read(_ memory: UnsafeMutableRawBufferPointer) throws -> Int {
        guard !unread.isEmpty, let slot = freeSlots.popLast() else { return 0 }
        let (span, chunk) = unread.removeFirst()
        try driver.read(into: part(slot, of: memory, span), at: span.offset)
        spans[span.sequence] = (chunk, slot)
        queue.append(span, at: UInt64(slot * spanByteCount))
        return 1
    }
}
