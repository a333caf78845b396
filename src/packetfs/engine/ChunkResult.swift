import PacketFSPCPU
import PacketFSProcess

/// A part of a file and what a program yielded for each of its blocks.
public struct ChunkResult: Sendable, Equatable {
    /// Its bytes, in the file's count. It begins at a block's first byte.
    public let range: Range<UInt64>
    /// The values: for each block in order one per reducing operation.
    public let values: [UInt64]
    /// Bytes of it that are holes and were not read.
    public let holeBytes: UInt64

    /// Puts a result together, such as one that was kept on disk.
    public init(range: Range<UInt64>, values: [UInt64], holeBytes: UInt64) {
        (self.range, self.values, self.holeBytes) = (range, values, holeBytes)
    }

    /// How many values a range must have.
    public static func valueCount(of range: Range<UInt64>, program: Program, blockByteCount: Int) -> Int {
        blockCount(of: range, blockByteCount) * program.reducers.count
    }

    package static func blockCount(of range: Range<UInt64>, _ blockByteCount: Int) -> Int {
        (range.count + blockByteCount - 1) / blockByteCount
    }

    /// Calls `body` for each of its blocks in order, with that block's values of `program`.
    package func forEachBlock(
        of program: Program, blockByteCount: Int, _ body: (BlockRow) throws -> Void
    ) rethrows {
        let width = program.reducers.count
        var (offset, first) = (range.lowerBound, 0)
        while offset < range.upperBound {
            let length = min(blockByteCount, Int(range.upperBound - offset))
            try body(BlockRow(offset: offset, length: length, values: values[first..<first + width]))
            offset += UInt64(length)
            first += width
        }
    }
}

/// What the results of chunks, in any order, come to. Those of several processes are joined by adding ``sums`` and by XOR of
/// ``wholeCRCs``.
public struct ChunkTotals: Sendable {
    private let program: Program
    private let blockByteCount: Int
    private let end: UInt64?
    private let fullBlock: CRC32C.Joiner
    /// One wrapping sum per reducing operation.
    public private(set) var totals: [UInt64]
    /// One per reducing operation: for a crc32c, what the chunks so far contribute to the digest of the whole range; else 0.
    ///
    /// The digest of two ranges one after the other is that of the first, shifted by the length of the second, XOR that of the
    /// second (`CRC32C.Joiner`), and shifting distributes over XOR: so a chunk's contribution is its own digest shifted by all
    /// that lies behind it, whatever is in there, and order does not matter.
    public private(set) var wholeCRCs: [UInt64]
    /// Blocks, bytes and bytes of holes so far.
    public private(set) var blocks: UInt64 = 0, bytes: UInt64 = 0, holeBytes: UInt64 = 0

    /// Nothing yet.
    ///
    /// - Parameters:
    ///   - program: what yielded the values.
    ///   - blockByteCount: bytes of a block.
    ///   - end: the end of the whole range, in the file's count; nil if it is not known: then chunks must come in order, without gaps.
    public init(program: Program, blockByteCount: Int, end: UInt64?) {
        self.program = program
        self.blockByteCount = blockByteCount
        self.end = end
        fullBlock = CRC32C.Joiner(lengthB: UInt64(blockByteCount))
        totals = program.reducers.map { _ in 0 }
        wholeCRCs = totals
    }

    /// Everything that is added up, wrapping: ``totals``, then ``blocks``, ``bytes`` and ``holeBytes``.
    public var sums: [UInt64] { totals + [blocks, bytes, holeBytes] }

    /// Takes over what several processes' sums and digests have come to.
    public mutating func replace(sums: [UInt64], wholeCRCs: [UInt64]) {
        precondition(sums.count == totals.count + 3 && wholeCRCs.count == totals.count)
        totals = Array(sums.dropLast(3))
        (blocks, bytes, holeBytes) = (sums[sums.count - 3], sums[sums.count - 2], sums[sums.count - 1])
        self.wholeCRCs = wholeCRCs
    }

    /// Adds a chunk, which must lie before the end and have as many values as it should.
    public mutating func add(_ chunk: ChunkResult) {
        let width = program.reducers.count
        let count = ChunkResult.blockCount(of: chunk.range, blockByteCount)
        precondition(chunk.values.count == count * width && chunk.range.upperBound <= end ?? .max)
        blocks += UInt64(count)
        bytes += UInt64(chunk.range.count)
        holeBytes += chunk.holeBytes
        let last = chunk.range.count - (count - 1) * blockByteCount
        for (index, step) in program.reducers.enumerated() {
            // In order each block is joined to what is there; a joiner for each chunk would cost more than the blocks' own.
            var crc = end == nil ? UInt32(truncatingIfNeeded: wholeCRCs[index]) : 0
            for block in 0..<count {
                let value = chunk.values[block * width + index]
                totals[index] &+= value
                guard step.op == .crc32c else { continue }
                let joiner =
                    block < count - 1 || last == blockByteCount ? fullBlock : CRC32C.Joiner(lengthB: UInt64(last))
                crc = joiner.combine(crc, UInt32(truncatingIfNeeded: value))
            }
            guard step.op == .crc32c else { continue }
            if let end {
                wholeCRCs[index] ^= UInt64(CRC32C.Joiner(lengthB: end - chunk.range.upperBound).combine(crc, 0))
            } else {
                wholeCRCs[index] = UInt64(crc)
            }
        }
    }
}

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
