import CPacketFSShims
import Glibc
import PacketFSGram
import SystemPackage

/// A run of consecutive blocks that is one record.
package struct BlockSpan: Sendable {
    /// Position in the order of the range, from 0.
    package let sequence: UInt64
    /// First byte, in the input's count.
    package let offset: UInt64
    package let byteCount: Int

    /// Its blocks, of which only the last one may be short.
    package func blocks(of blockByteCount: Int) -> some Sequence<Range<UInt64>> {
        let end = offset + UInt64(byteCount)
        return stride(from: offset, to: end, by: blockByteCount).lazy.map { $0..<min($0 + UInt64(blockByteCount), end) }
    }
}

/// What deals spans out to whichever pcore has room: each once. Used by one thread.
package protocol SpanFeed: AnyObject {
    /// Blocks of the next span; 0 if there is none now.
    var nextBlockCount: Int { get }
    /// Takes the next span and writes its descriptors, ``nextBlockCount`` of them.
    func take(into table: UnsafeMutableBufferPointer<Descriptor>) -> BlockSpan
}

/// Deals the blocks of a range out to whichever pcore has room: each block once, in order. Used by one thread.
package final class BlockFeed: SpanFeed {
    package let blockByteCount: Int
    /// Blocks in a full record.
    package let blocksPerRecord: Int
    /// The first byte that has not been dealt out.
    package private(set) var next: UInt64
    /// The end of what may be dealt out.
    package private(set) var end: UInt64
    /// Whether ``end`` is the end of the range: then the block before it may be short.
    package private(set) var isComplete: Bool
    /// Spans dealt out so far.
    package private(set) var sequence: UInt64 = 0
    /// With a window: bytes of it. Offsets of descriptors wrap around there.
    private let window: UInt64?

    /// A feed of `range`, all of which is there.
    package init(range: Range<UInt64>, blockByteCount: Int, blocksPerRecord: Int) {
        self.blockByteCount = blockByteCount
        self.blocksPerRecord = blocksPerRecord
        next = range.lowerBound
        end = range.upperBound
        isComplete = true
        window = nil
    }

    /// A feed of a stream that arrives in a window of `window` bytes, a multiple of the block.
    package init(window: Int, blockByteCount: Int, blocksPerRecord: Int) {
        precondition(window % blockByteCount == 0, "blocks must not wrap")
        self.blockByteCount = blockByteCount
        self.blocksPerRecord = blocksPerRecord
        (next, end) = (0, 0)
        isComplete = false
        self.window = UInt64(window)
    }

    /// More of a stream is there: up to `end`, which is its last byte if `isComplete`.
    package func extend(to end: UInt64, isComplete: Bool) {
        self.end = end
        self.isComplete = isComplete
    }

    /// Whether everything has been dealt out.
    package var isExhausted: Bool { isComplete && next == end }

    /// Bytes of the next span: whole blocks, as many as there are and fit into a record; 0 if there is none now.
    private var nextByteCount: Int {
        let available = end - next
        let wanted = UInt64(blockByteCount * blocksPerRecord)
        guard available < wanted else { return Int(wanted) }
        return Int(isComplete ? available : available / UInt64(blockByteCount) * UInt64(blockByteCount))
    }

    /// Blocks of the next span; 0 if there is none now.
    package var nextBlockCount: Int { (nextByteCount + blockByteCount - 1) / blockByteCount }

    /// Takes the next span without giving it to a pcore: the first `byteCount` bytes, which are whole blocks or all there is.
    package func skip(_ byteCount: UInt64) -> BlockSpan {
        defer {
            next += byteCount
            sequence += 1
        }
        return BlockSpan(sequence: sequence, offset: next, byteCount: Int(byteCount))
    }

    /// Takes the next span and writes its descriptors.
    package func take(into table: UnsafeMutableBufferPointer<Descriptor>) -> BlockSpan {
        let span = skip(UInt64(nextByteCount))
        // Blocks do not wrap, but a span may.
        for (index, block) in span.blocks(of: blockByteCount).enumerated() {
            table[index] = Descriptor(
                offset: window.map { block.lowerBound % $0 } ?? block.lowerBound, length: UInt32(block.count))
        }
        return span
    }
}

/// One pcore's share of a feed, and the books about what it has not given back.
package struct BlockRecords: RecordSource {
    /// A span that the pcore has, and the ring entry that it went into.
    package struct Pending {
        package let span: BlockSpan
        package let position: UInt32
    }

    private let feed: any SpanFeed
    private let instructions: [Instruction]
    private let rows: Int
    /// Oldest first: rings keep order.
    package private(set) var pending: [Pending] = []

    /// - Parameter rows: rows of the pcore's table of values, one for each slot of its ring.
    package init(feed: any SpanFeed, instructions: [Instruction], rows: Int) {
        self.feed = feed
        self.instructions = instructions
        self.rows = rows
    }

    package func nextByteCount() -> Int? {
        // A slot is free again once the pcore has released it; its row only once the values have been taken from there.
        guard pending.count < rows else { return nil }
        let count = feed.nextBlockCount
        return count == 0 ? nil : RecordFormat.byteCount(descriptors: count, instructions: instructions.count)
    }

    package mutating func write(into memory: UnsafeMutableRawBufferPointer, position: UInt32) {
        let table = RecordEncoder.begin(
            in: memory, descriptorCount: feed.nextBlockCount, instructions: instructions)
        pending.append(Pending(span: feed.take(into: table), position: position))
    }

    /// Takes off the spans that are done, if `unreleased` are not.
    package mutating func takeDone(unreleased: Int) -> ArraySlice<Pending> {
        let count = pending.count - unreleased
        guard count > 0 else { return [] }
        defer { pending.removeFirst(count) }
        return pending.prefix(count)
    }
}

/// Where a sparse file has holes: ranges that read as zeros and take no room.
package struct Holes {
    private let descriptor: FileDescriptor
    /// The hole found last.
    private var known: Range<UInt64> = 0..<0
    /// From the end of that hole up to here there is data.
    private var dataEnd: UInt64 = 0

    /// A file that takes as much room as it is long is not searched: on tmpfs, looking for a hole goes through all pages, which
    /// for one process on each CPU beside the pcores takes a tenth of the time. Should there be one all the same, zeros are read.
    package init(of descriptor: FileDescriptor) {
        self.descriptor = descriptor
        var status = stat()
        if fstat(descriptor.rawValue, &status) == 0, Int(status.st_blocks) >= (Int(status.st_size) + 511) / 512 {
            dataEnd = .max
        }
    }

    /// The end of the hole that `offset` is in, or `offset` itself where there is data. Offsets must not go down.
    package mutating func end(at offset: UInt64, fileByteCount: UInt64) -> UInt64 {
        if known.contains(offset) { return known.upperBound }
        if offset < dataEnd { return offset }
        let data = pfs_next_data(descriptor.rawValue, Int64(offset))
        if data < 0 {
            // ENXIO: nothing but a hole up to the end. Anything else: a file system that does not know holes.
            known = offset..<(errno == ENXIO ? fileByteCount : offset)
            if known.isEmpty { dataEnd = .max }
            return known.upperBound
        }
        known = offset..<UInt64(data)
        let hole = pfs_next_hole(descriptor.rawValue, data)
        dataEnd = hole < 0 ? .max : UInt64(hole)
        return known.isEmpty ? offset : known.upperBound
    }
}
