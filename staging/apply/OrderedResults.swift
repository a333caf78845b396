import PacketFSEngine
import PacketFSPCPU

/// Puts the results of chunks, which come in any order, back into the order of the range, and adds them up. Used by one thread.
final class OrderedResults {
    private let program: Program
    private let blockByteCount: Int
    /// Called for every block in order, if there is somebody who wants to know.
    private let row: ((BlockRow) throws -> Void)?
    /// Chunks that came before an earlier one, by their first byte.
    private var waiting: [UInt64: ChunkResult] = [:]
    /// The end of what has been added up.
    private var next: UInt64
    /// What the chunks have come to so far, in order, without gaps.
    private(set) var totals: ChunkTotals

    init(_ job: BlockJob, start: UInt64, row: ((BlockRow) throws -> Void)?) {
        program = job.program
        blockByteCount = job.blockByteCount
        self.row = row
        next = start
        totals = ChunkTotals(program: job.program, blockByteCount: job.blockByteCount, end: nil)
    }

    func add(_ chunk: ChunkResult) throws {
        guard chunk.range.lowerBound == next else {
            waiting[chunk.range.lowerBound] = chunk
            return
        }
        var ready: ChunkResult? = chunk
        while let chunk = ready {
            totals.add(chunk)
            if let row { try chunk.forEachBlock(of: program, blockByteCount: blockByteCount, row) }
            next = chunk.range.upperBound
            ready = waiting.removeValue(forKey: next)
        }
    }
}
