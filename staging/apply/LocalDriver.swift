import PacketFSEngine
import PacketFSTools

/// Deals a range out to the pcores of this process alone, span after span, as often as there are passes. Used by one thread.
final class LocalDriver: ChunkDriver {
    private let range: Range<UInt64>
    private let rounds: Int
    /// Makes what takes the results of a pass; it is told whether that is the last one.
    private let makeResults: (Bool) -> OrderedResults
    private let report: (ApplyEvent) -> Void
    /// Bytes of a chunk: those of the run's spans.
    var chunkByteCount = 1
    /// What the last pass has come to.
    private(set) var results: OrderedResults
    /// Nanoseconds of each pass, from its start to its last block.
    private(set) var passNanoseconds: [UInt64] = []
    private var next: UInt64
    private var began: UInt64 = 0
    private var firstBegan: UInt64 = 0
    private var toldAt: UInt64 = 0

    init(
        range: Range<UInt64>, rounds: Int, report: @escaping (ApplyEvent) -> Void,
        makeResults: @escaping (Bool) -> OrderedResults
    ) {
        self.range = range
        self.rounds = rounds
        self.report = report
        self.makeResults = makeResults
        results = makeResults(rounds == 1)
        next = range.lowerBound
    }

    func willBegin(pass: Int) {
        if pass > 0 { results = makeResults(pass == rounds - 1) }
        next = range.lowerBound
        began = Clock.monotonic()
        if pass == 0 { firstBegan = began }
    }

    func claim() -> ChunkClaim {
        guard next < range.upperBound else { return .exhausted }
        let end = min(next + UInt64(chunkByteCount), range.upperBound)
        defer { next = end }
        return .chunk(next..<end)
    }

    func finish(_ chunk: ChunkResult) throws { try results.add(chunk) }

    func tick() {
        let now = Clock.monotonic()
        guard firstBegan > 0, now >= toldAt + 5_000_000 else { return }
        toldAt = now
        let total = UInt64(range.count)
        report(
            .progress(
                done: UInt64(passNanoseconds.count) * total + results.totals.bytes, total: UInt64(rounds) * total,
                nanoseconds: now - firstBegan))
    }

    func didEnd(pass: Int) { passNanoseconds.append(Clock.monotonic() - began) }

    // Pcores read and write themselves.
    func read(into memory: UnsafeMutableRawBufferPointer, at offset: UInt64) {}
    func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) {}
}
