import PacketFSPCPU

/// A block and what the program yielded for it.
package struct BlockRow {
    package let offset: UInt64
    package let length: Int
    /// One value per reducing operation.
    package let values: ArraySlice<UInt64>

    /// Values as the properties.
    package init(offset: UInt64, length: Int, values: ArraySlice<UInt64>) {
        (self.offset, self.length, self.values) = (offset, length, values)
    }
}

/// Puts the values of blocks, which come in any order, back into the order of the range, and adds them up.
package final class BlockResults {
    private let program: Program
    private let reducerCount: Int
    private let blockByteCount: Int
    /// Called for every block in order.
    private let row: (BlockRow) throws -> Void
    /// Spans that came before an earlier one, with their values.
    private var waiting: [UInt64: (span: BlockSpan, values: [UInt64])] = [:]
    private var nextSequence: UInt64 = 0

    /// Blocks and bytes so far, in order, without gaps.
    package private(set) var blocks: UInt64 = 0
    package private(set) var bytes: UInt64 = 0
    /// One wrapping sum per reducing operation.
    package private(set) var totals: [UInt64]
    /// For each crc32c of the program the digest of the whole range so far.
    package private(set) var wholeCRCs: [Int: UInt32] = [:]
    private let fullBlock: CRC32C.Joiner

    package init(program: Program, blockByteCount: Int, row: @escaping (BlockRow) throws -> Void) {
        self.program = program
        self.blockByteCount = blockByteCount
        self.row = row
        reducerCount = program.reducers.count
        totals = Array(repeating: 0, count: reducerCount)
        fullBlock = CRC32C.Joiner(lengthB: UInt64(blockByteCount))
        for (index, step) in program.reducers.enumerated() where step.op == .crc32c { wholeCRCs[index] = 0 }
    }

    /// Takes the values of a span: one row per block.
    package func add(_ span: BlockSpan, values: [UInt64]) throws {
        guard span.sequence == nextSequence else {
            waiting[span.sequence] = (span, values)
            return
        }
        try count(span, values)
        nextSequence += 1
        while let next = waiting.removeValue(forKey: nextSequence) {
            try count(next.span, next.values)
            nextSequence += 1
        }
    }

    private func count(_ span: BlockSpan, _ values: [UInt64]) throws {
        var done = 0
        var first = 0
        while done < span.byteCount {
            let length = min(blockByteCount, span.byteCount - done)
            let block = BlockRow(
                offset: span.offset + UInt64(done), length: length, values: values[first..<first + reducerCount])
            for (index, value) in block.values.enumerated() { totals[index] &+= value }
            for (index, whole) in wholeCRCs {
                let own = UInt32(truncatingIfNeeded: values[first + index])
                let joiner = length == blockByteCount ? fullBlock : CRC32C.Joiner(lengthB: UInt64(length))
                wholeCRCs[index] = joiner.combine(whole, own)
            }
            try row(block)
            done += length
            first += reducerCount
            blocks += 1
        }
        bytes += UInt64(span.byteCount)
    }
}
