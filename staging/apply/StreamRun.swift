import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools

/// Applies a program to a stream: it is read into a window of memory that all pcores share, and written from there, both in order.
struct StreamRun {
    private let configuration: ApplyConfiguration
    private let source: ApplySource
    private let output: ApplyOutput
    private let results: OrderedResults
    private let signals: TerminationSignals
    private let report: (ApplyEvent) -> Void

    init(
        _ configuration: ApplyConfiguration, source: ApplySource, output: ApplyOutput, results: OrderedResults,
        signals: TerminationSignals, report: @escaping (ApplyEvent) -> Void
    ) {
        self.configuration = configuration
        (self.source, self.output, self.results) = (source, output, results)
        (self.signals, self.report) = (signals, report)
    }

    /// Goes through the stream once; what came of it, and its nanoseconds.
    func run(isa: ISA, cpus: [Int]) throws -> (ChunkRunOutcome, passNanoseconds: [UInt64]) {
        guard configuration.passes == 1 || configuration.program.writes else {
            throw ToolError(.usage, "--passes: a pipe can be read only once")
        }
        let work = BlockPCores(configuration.job, isa: isa, cpus: cpus) { [report] in report(.warning($0)) }
        let block = configuration.blockByteCount
        let window = configuration.windowByteCount / block * block
        let blob = try HugeBlob.create(byteCount: window, pages: configuration.pages)
        let spans = WindowSpans(
            window: window, blockByteCount: block,
            blocksPerRecord: min(work.blocksPerRecord, max(1, window / block / 4)))
        var files = PCoreFiles()
        files.blob = blob.fileDescriptor
        // A block that a dead pcore has transformed in part is lost: its original is nowhere else.
        var group = try work.start(
            spans, job: .blob(passes: UInt32(configuration.passes)), limit: window,
            blocksPerRecord: spans.blocksPerRecord, policy: configuration.program.writes ? .never : .runAgain,
            files: files, signals: signals)
        let elapsed = try blob.withUnsafeMutableBytes { memory in
            try move(work, &group, spans, memory)
        }
        try work.end(&group)
        return (ChunkRunOutcome(work, backing: try blob.backing()), [elapsed])
    }

    private func move(
        _ work: BlockPCores, _ group: inout PCoreGroup<SpanRecords>, _ spans: WindowSpans,
        _ memory: UnsafeMutableRawBufferPointer
    ) throws -> UInt64 {
        let known = source.range.map { UInt64($0.count) }
        let stream = try BlockStream(
            source: source, output: output, memory: memory, skip: configuration.rangeOffset,
            limit: configuration.rangeLength.map { UInt64($0) } ?? known)
        let began = Clock.monotonic()
        let fault = try group.drive(signals) { _, _ in
            spans.isExhausted && results.totals.bytes == spans.end && stream.written == spans.end
        } tick: { now, _ in
            report(.progress(done: results.totals.bytes, total: known, nanoseconds: now - began))
        } work: { feeds in
            var did = try work.collect(feeds) { span, values in
                let first = UInt64(configuration.rangeOffset) + span.offset
                try results.add(
                    ChunkResult(range: first..<first + UInt64(span.byteCount), values: values, holeBytes: 0))
            }
            did += try stream.write(upTo: results.totals.bytes)
            if !spans.isComplete, try stream.read() || stream.isAtEnd {
                spans.extend(to: stream.received, isComplete: stream.isAtEnd)
                did += 1
            }
            did += try work.deal(feeds)
            if did == 0, stream.canWait(results.totals.bytes) {
                stream.wait(
                    upTo: results.totals.bytes, milliseconds: results.totals.bytes == spans.end ? 5 : 1)
                did = 1
            }
            return did
        }
        try work.check(fault, group)
        return Clock.monotonic() - began
    }
}

/// Deals the blocks of a stream out of the window that it arrives in to whichever pcore has room: each block once, in order. Offsets
/// count from the start of the stream; those of descriptors wrap around at the window's end. Used by one thread.
final class WindowSpans: SpanSource {
    let blockByteCount: Int
    /// Blocks in a full record.
    let blocksPerRecord: Int
    /// The first byte that has not been dealt out.
    private(set) var next: UInt64
    /// The end of what may be dealt out.
    private(set) var end: UInt64
    /// Whether ``end`` is the end of the range: then the block before it may be short.
    private(set) var isComplete: Bool
    /// Spans dealt out so far.
    private(set) var sequence: UInt64 = 0
    private let window: UInt64

    /// A spans of a stream that arrives in a window of `window` bytes, a multiple of the block.
    init(window: Int, blockByteCount: Int, blocksPerRecord: Int) {
        precondition(window % blockByteCount == 0, "blocks must not wrap")
        self.blockByteCount = blockByteCount
        self.blocksPerRecord = blocksPerRecord
        (next, end) = (0, 0)
        isComplete = false
        self.window = UInt64(window)
    }

    /// More of a stream is there: up to `end`, which is its last byte if `isComplete`.
    func extend(to end: UInt64, isComplete: Bool) {
        self.end = end
        self.isComplete = isComplete
    }

    /// Whether everything has been dealt out.
    var isExhausted: Bool { isComplete && next == end }

    /// Bytes of the next span: whole blocks, as many as there are and fit into a record; 0 if there is none now.
    private var nextByteCount: Int {
        let available = end - next
        let wanted = UInt64(blockByteCount * blocksPerRecord)
        guard available < wanted else { return Int(wanted) }
        return Int(isComplete ? available : available / UInt64(blockByteCount) * UInt64(blockByteCount))
    }

    /// Blocks of the next span; 0 if there is none now.
    var nextBlockCount: Int { (nextByteCount + blockByteCount - 1) / blockByteCount }

    /// Takes the next span and writes its descriptors.
    func take(into table: UnsafeMutableBufferPointer<Descriptor>) -> BlockSpan {
        let span = BlockSpan(sequence: sequence, offset: next, byteCount: nextByteCount)
        next += UInt64(span.byteCount)
        sequence += 1
        // Blocks do not wrap, but a span may.
        for (index, block) in span.blocks(of: blockByteCount).enumerated() {
            table[index] = Descriptor(
                offset: block.lowerBound % window, length: UInt32(block.count))
        }
        return span
    }
}
