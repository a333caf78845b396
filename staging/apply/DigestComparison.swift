import PacketFSEngine
import PacketFSPCPU
import PacketFSTools

/// A block whose values are not those of the digests.
package struct BlockDifference: Sendable, CustomStringConvertible {
    /// First byte of the block.
    package let offset: UInt64
    /// What is different.
    package let description: String
}

/// Compares blocks, which come in order, with digests. Used by one thread.
package final class DigestComparison {
    private let expected: DigestReader
    /// The blocks that differ so far.
    package private(set) var differences: [BlockDifference] = []

    /// Compares with `expected`, from its next block on.
    package init(_ expected: DigestReader) { self.expected = expected }

    /// Compares the blocks of a chunk that lies behind all that were compared before.
    package func compare(_ chunk: ChunkResult) throws {
        let header = expected.header
        try chunk.forEachBlock(of: header.program, blockByteCount: header.blockByteCount) { try compare($0) }
    }

    func compare(_ row: BlockRow) throws(ToolError) {
        guard let wanted = try expected.next() else {
            differences.append(BlockDifference(offset: row.offset, description: "is not in the digests"))
            return
        }
        if wanted.offset != row.offset || wanted.length != row.length {
            differences.append(
                BlockDifference(
                    offset: row.offset,
                    description: "has \(row.length) bytes; the digests have \(wanted.length) bytes at \(wanted.offset)")
            )
            return
        }
        let reducers = expected.header.program.reducers
        let wrong = zip(reducers, zip(row.values, wanted.values)).filter { $1.0 != $1.1 }
        guard !wrong.isEmpty else { return }
        let text = wrong.map { "\($0) is \($0.text($1.0)), expected \($0.text($1.1))" }.joined(separator: "; ")
        differences.append(BlockDifference(offset: row.offset, description: text))
    }

    /// Looks for blocks of the digests that the input does not have any more.
    package func finish() throws(ToolError) {
        while let missing = try expected.next() {
            differences.append(
                BlockDifference(offset: missing.offset, description: "is missing: the input ends before it"))
        }
    }
}
