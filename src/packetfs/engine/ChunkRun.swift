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

    fileprivate init(_ work: BlockWork, backing: Backing?) {
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
public final class ChunkRun<Driver: ChunkDriver> {
    /// How the bytes reach the pcores.
    public enum Input: Sendable {
        /// Every pcore maps this file, of so many bytes. The program must not write. Stays the caller's.
        case mapped(FileDescriptor, byteCount: Int)
        /// The driver reads them into a window that all pcores share, and writes them from there.
        case window
        /// They are in this blob, of so many bytes, and stay there. Stays the caller's.
        case blob(FileDescriptor, byteCount: Int)
    }

    /// A chunk in work.
    private struct Chunk {
        let range: Range<UInt64>
        var values: [UInt64]
        var holeBytes: UInt64 = 0
        /// Bytes that are not done yet.
        var left: Int
    }

    private let job: BlockJob
    private let input: Input
    private let driver: Driver
    private let signals: TerminationSignals?
    private let work: BlockWork
    private let queue: SpanQueue
    private let spanByteCount: Int
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
    ///   - signals: one that arrives ends the run with `Interrupted`.
    ///   - driver: what the run works for.
    ///   - report: is told what the user should know.
    public init(
        _ job: BlockJob, cpus: [Int], input: Input, chunkByteCount: Int,
        signals: TerminationSignals? = nil, driver: Driver,
        report: @escaping (String) -> Void = { _ in }
    ) throws {
        self.job = job
        self.input = input
        self.driver = driver
        self.signals = signals
        work = BlockWork(
            job, isa: try ISA.selected(), cpus: cpus, report: report)
        let block = job.blockByteCount
        queue = SpanQueue(blockByteCount: block)
        var blocks = max(1, min(work.blocksPerRecord(nil), chunkByteCount / block / (work.pcores * 2)))
        if case .window = input {
            // Small enough that pcores do not wait long for the first one, and that every pcore gets several.
            blocks = max(
                1, min(blocks, max((1 << 20) / block, 8), job.windowByteCount / block / (work.pcores * 4)))
            slotCount = max(2, min(job.windowByteCount / (blocks * block), 8 * work.pcores))
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
        let blocks = spanByteCount / job.blockByteCount
        switch input {
        case .mapped(let file, let byteCount):
            files.input = file
            try run(work.parameters(.mappedFile, limit: byteCount, blocksPerRecord: blocks), files, nil)
        case .blob(let file, let byteCount):
            files.blob = file
            let passes = job.movesBytes ? UInt32(job.passes) : 1
            try run(work.parameters(.blob(passes: passes), limit: byteCount, blocksPerRecord: blocks), files, nil)
        case .window:
            let byteCount = slotCount * spanByteCount
            freeSlots = Array((0..<slotCount).reversed())
            let parameters = work.parameters(
                .blob(passes: job.movesBytes ? UInt32(job.passes) : 1), limit: byteCount, blocksPerRecord: blocks)
            let blob = try HugeBlob.create(byteCount: byteCount, pages: job.pages)
            backing = try blob.backing()
            files.blob = blob.fileDescriptor
            try blob.withUnsafeMutableBytes { memory in
                try run(parameters, files, memory)
            }
        }
        return ChunkRunOutcome(work, backing: backing)
    }

    private func run(
        _ parameters: RunParameters, _ files: PCoreFiles, _ memory: UnsafeMutableRawBufferPointer?
    ) throws {
        var group = try work.start(
            queue, parameters, policy: policy, files: files, signals: signals,
            willRunAgain: { [unowned self] in try restore($0, memory) }, whileWaiting: driver.tick)
        for pass in 0..<job.rounds {
            try driver.willBegin(pass: pass)
            isExhausted = false
            if case .mapped(let file, _) = input { holes = Holes(of: file) }
            let fault = try group.drive(signals) { [self] _, _ in
                isExhausted && chunks.isEmpty
            } tick: { _, _ in
            } work: { [self] lanes in
                try driver.tick()
                var did = try work.collect(lanes) { try take($0, $1, memory) }
                did += try claim()
                if let memory { did += try read(memory) }
                return did + (try work.deal(lanes))
            }
            try work.check(fault, group)
            try driver.didEnd(pass: pass)
        }
        try work.end(&group)
    }

    /// A block that a dead pcore has transformed in part in a blob is lost: its original is nowhere else.
    private var policy: RestartPolicy {
        if case .blob = input, job.program.writes { .never } else { .runAgain }
    }

    /// Asks for a chunk if there is too little to do for pcores to be busy until the next one is here. What is claimed early
    /// is what others may lack in the end.
    private func claim() throws -> Int {
        guard !isExhausted, spans.count + unread.count < 2 * work.pcores else { return 0 }
        switch try driver.claim() {
        case .pending: return 0
        case .exhausted: isExhausted = true
        case .chunk(let range): try begin(range)
        }
        return 1
    }

    /// Cuts a chunk into spans. What lies in a hole is done at once.
    private func begin(_ range: Range<UInt64>) throws {
        let block = UInt64(job.blockByteCount)
        let number = nextNumber
        nextNumber += 1
        let count = ChunkResult.blockCount(of: range, job.blockByteCount)
        chunks[number] = Chunk(
            range: range, values: Array(repeating: 0, count: count * work.reducerCount), left: range.count)
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
                try finish(span, of: number, span.blocks(of: Int(block)).flatMap { work.zeroValues($0.count) })
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
        let first = Int(span.offset - chunk.range.lowerBound) / job.blockByteCount * work.reducerCount
        chunk.values.replaceSubrange(first..<first + values.count, with: values)
        chunk.left -= span.byteCount
        guard chunk.left == 0 else {
            chunks[number] = chunk
            return
        }
        try driver.finish(ChunkResult(range: chunk.range, values: chunk.values, holeBytes: chunk.holeBytes))
    }

    /// Brings back what a pcore that died may have transformed in part: the oldest record that it has not released.
    private func restore(_ lane: Lane<BlockRecords>, _ memory: UnsafeMutableRawBufferPointer?) throws {
        let unreleased = lane.source.pending.suffix(try lane.unreleased().count)
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
