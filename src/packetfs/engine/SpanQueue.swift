import PacketFSGram

/// Spans that are ready to be worked on, first come, first served. Used by one thread.
final class SpanQueue: SpanSource {
    private let blockByteCount: Int
    private var spans: [(span: BlockSpan, place: UInt64)] = []
    private var head = 0

    init(blockByteCount: Int) { self.blockByteCount = blockByteCount }

    /// Spans in the queue.
    var count: Int { spans.count - head }

    /// Puts a span at the end; its first byte is at `place` of what pcores see.
    func append(_ span: BlockSpan, at place: UInt64) { spans.append((span, place)) }

    var nextBlockCount: Int {
        head == spans.count ? 0 : (spans[head].span.byteCount + blockByteCount - 1) / blockByteCount
    }

    func take(into table: UnsafeMutableBufferPointer<Descriptor>) -> BlockSpan {
        let (span, place) = spans[head]
        head += 1
        if head == spans.count {
            spans.removeAll(keepingCapacity: true)
            head = 0
        }
        for (index, block) in span.blocks(of: blockByteCount).enumerated() {
            table[index] = Descriptor(
                offset: place + (block.lowerBound - span.offset), length: UInt32(block.count))
        }
        return span
    }
}
