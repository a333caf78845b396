import PacketFSGram

/// A run of consecutive blocks that is one record.
package struct BlockSpan: Sendable {
    /// Position in the order of the range, from 0.
    package let sequence: UInt64
    /// First byte, in the input's count.
    package let offset: UInt64
    package let byteCount: Int

    /// Values as the properties.
    package init(sequence: UInt64, offset: UInt64, byteCount: Int) {
        (self.sequence, self.offset, self.byteCount) = (sequence, offset, byteCount)
    }

    /// Its blocks, of which only the last one may be short.
    package func blocks(of blockByteCount: Int) -> some Sequence<Range<UInt64>> {
        let end = offset + UInt64(byteCount)
        return stride(from: offset, to: end, by: blockByteCount).lazy.map { $0..<min($0 + UInt64(blockByteCount), end) }
    }
}

/// What deals spans out to whichever pcore has room: each once. Used by one thread.
package protocol SpanSource: AnyObject {
    /// Blocks of the next span; 0 if there is none now.
    var nextBlockCount: Int { get }
    /// Takes the next span and writes its descriptors, ``nextBlockCount`` of them.
    func take(into table: UnsafeMutableBufferPointer<Descriptor>) -> BlockSpan
}

/// One pcore's share of a spans, and the books about what it has not given back.
package struct SpanRecords: RecordSource {
    /// A span that the pcore has, and the ring entry that it went into.
    package struct Pending {
        package let span: BlockSpan
        package let position: UInt32
    }

    private let spans: any SpanSource
    private let instructions: [Instruction]
    private let rows: Int
    /// Oldest first: rings keep order.
    package private(set) var pending: [Pending] = []

    /// - Parameter rows: rows of the pcore's table of values, one for each slot of its ring.
    package init(spans: any SpanSource, instructions: [Instruction], rows: Int) {
        self.spans = spans
        self.instructions = instructions
        self.rows = rows
    }

    package func nextByteCount() -> Int? {
        // A slot is free again once the pcore has released it; its row only once the values have been taken from there.
        guard pending.count < rows else { return nil }
        let count = spans.nextBlockCount
        return count == 0 ? nil : RecordFormat.byteCount(descriptors: count, instructions: instructions.count)
    }

    package mutating func write(into memory: UnsafeMutableRawBufferPointer, position: UInt32) {
        let table = RecordEncoder.begin(
            in: memory, descriptorCount: spans.nextBlockCount, instructions: instructions)
        pending.append(Pending(span: spans.take(into: table), position: position))
    }

    /// Takes off the spans that are done, if `unreleased` are not.
    package mutating func takeDone(unreleased: Int) -> ArraySlice<Pending> {
        let count = pending.count - unreleased
        guard count > 0 else { return [] }
        defer { pending.removeFirst(count) }
        return pending.prefix(count)
    }
}
