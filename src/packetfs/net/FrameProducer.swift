import PacketFSGram
import PacketFSPCPU

/// What the frames of a stream carry.
public enum FrameContent: Sendable {
    /// So many bytes of ``PayloadWindows`` each, for which the frame brings the program.
    case payload(byteCount: Int)
    /// A record of so many descriptors, drawn by the generator: frame s has descriptors s * count and following.
    case descriptors(count: Int, RandomDescriptors)
}

/// Makes the frames of a stream, each a function of the seed and its sequence alone.
///
/// Not thread-safe: one sender, one producer.
public final class FrameProducer {
    /// Bytes of each frame as it goes out: link header, if any, and padding to the least an Ethernet frame has included.
    public let byteCount: Int
    /// What frames carry.
    public let content: FrameContent
    /// Which run the frames belong to.
    public let stream: UInt32

    private let link: EthernetHeader?
    private let linkByteCount: Int
    private let isChecksummed: Bool
    private let instructions: [Instruction]
    private let bodyByteCount: Int
    /// Bytes of a frame, from its own header to the end of its body.
    private let frameByteCount: Int
    private let windows: PayloadWindows
    private let checksum: FrameChecksum
    /// A record that is complete but for its descriptors; empty in payload streams.
    private let record: UnsafeMutableRawBufferPointer
    private let table: UnsafeMutableBufferPointer<Descriptor>

    /// Makes a producer.
    ///
    /// - Parameters:
    ///   - content: what frames carry; preconditions: not negative, and a frame of at most ``FrameFormat/maximumByteCount``.
    ///   - program: what frames bring along; nil for none, so that receivers use their own.
    ///   - seed: of payload.
    ///   - stream: which run this is.
    ///   - link: the Ethernet header in front; nil for UDP.
    ///   - isChecksummed: whether frames have a CRC-32C.
    ///   - isa: for the checksum's kernels.
    public init(
        _ content: FrameContent, program: Program?, seed: UInt64, stream: UInt32, link: EthernetHeader?,
        isChecksummed: Bool, isa: ISA
    ) {
        self.content = content
        self.stream = stream
        self.link = link
        self.isChecksummed = isChecksummed
        linkByteCount = link == nil ? 0 : EthernetHeader.byteCount
        let carried = program?.instructions ?? []
        windows = PayloadWindows(seed: seed)
        checksum = FrameChecksum(isa: isa)
        switch content {
        case .payload(let byteCount):
            instructions = carried
            bodyByteCount = byteCount
            record = UnsafeMutableRawBufferPointer(start: nil, count: 0)
            table = UnsafeMutableBufferPointer(start: nil, count: 0)
        case .descriptors(let count, _):
            instructions = []
            bodyByteCount = RecordFormat.byteCount(descriptors: count, instructions: carried.count)
            record = .allocate(byteCount: bodyByteCount, alignment: RecordFormat.alignment)
            table = RecordEncoder.begin(in: record, descriptorCount: count, instructions: carried)
        }
        frameByteCount = FrameFormat.byteCount(body: bodyByteCount, instructions: instructions.count)
        precondition(frameByteCount <= FrameFormat.maximumByteCount, "a frame cannot hold that much")
        byteCount =
            link == nil ? frameByteCount : max(frameByteCount + linkByteCount, EthernetHeader.minimumFrameByteCount)
    }

    deinit { record.deallocate() }

    /// Writes frame `sequence`, whole.
    ///
    /// - Parameter memory: at least ``byteCount`` bytes at any alignment (precondition).
    public func write(_ sequence: UInt64, into memory: UnsafeMutableRawBufferPointer) {
        precondition(memory.count >= byteCount, "memory too small for the frame")
        link?.write(into: memory)
        let frame = UnsafeMutableRawBufferPointer(rebasing: memory[linkByteCount..<byteCount])
        let body = FrameEncoder.begin(
            header(sequence), in: frame, bodyByteCount: bodyByteCount, instructions: instructions)
        switch content {
        case .payload:
            body.copyMemory(from: windows.window(of: sequence, byteCount: bodyByteCount))
        case .descriptors(let count, let generator):
            generator.fill(table, from: sequence &* UInt64(count))
            body.copyMemory(from: UnsafeRawBufferPointer(record))
        }
        // What a short frame is padded with is zero, whatever the memory held before.
        for index in frameByteCount..<frame.count { frame[index] = 0 }
        seal(frame, frameByteCount)
    }

    /// Writes frame `sequence` over an earlier frame of this producer, leaving what is the same in both.
    ///
    /// - Parameters:
    ///   - earlier: the number of the frame that `memory` holds (precondition: still unchanged).
    ///   - memory: as in ``write(_:into:)``.
    public func rewrite(_ sequence: UInt64, over earlier: UInt64, in memory: UnsafeMutableRawBufferPointer) {
        guard case .payload = content, PayloadWindows.index(of: sequence) == PayloadWindows.index(of: earlier) else {
            return write(sequence, into: memory)
        }
        let frame = UnsafeMutableRawBufferPointer(rebasing: memory[linkByteCount..<byteCount])
        FrameEncoder.setSequence(sequence, in: frame)
        seal(frame, frameByteCount)
    }

    /// Writes the frame that says that `count` frames were all.
    ///
    /// - Parameter memory: at least 60 bytes (precondition).
    /// - Returns: its bytes, link header and padding included.
    public func writeEnd(after count: UInt64, into memory: UnsafeMutableRawBufferPointer) -> Int {
        link?.write(into: memory)
        let frame = UnsafeMutableRawBufferPointer(rebasing: memory[linkByteCount...])
        var header = header(count)
        header.kind = .end
        _ = FrameEncoder.begin(header, in: frame, bodyByteCount: 0)
        seal(frame, FrameFormat.headerByteCount)
        let used = linkByteCount + FrameFormat.headerByteCount
        guard link != nil else { return used }
        for index in used..<EthernetHeader.minimumFrameByteCount { memory[index] = 0 }
        return EthernetHeader.minimumFrameByteCount
    }

    private func header(_ sequence: UInt64) -> FrameHeader {
        let kind: FrameKind =
            switch content {
            case .payload: .payload
            case .descriptors: .descriptors
            }
        return FrameHeader(kind: kind, sequence: sequence, stream: stream, isChecksummed: isChecksummed)
    }

    @inline(__always)
    private func seal(_ frame: UnsafeMutableRawBufferPointer, _ byteCount: Int) {
        if isChecksummed { sum(frame, byteCount) }
    }

    private func sum(_ frame: UnsafeMutableRawBufferPointer, _ byteCount: Int) {
        let covered = UnsafeRawBufferPointer(rebasing: frame[FrameFormat.checksummedFrom..<byteCount])
        FrameEncoder.setChecksum(checksum.of(covered), in: frame)
    }
}

/// The CRC-32C of frames, by the kernels of an instruction set. Not thread-safe.
final class FrameChecksum {
    private let plan: Plan
    private let value = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 1)
    private let range = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: 1)

    init(isa: ISA) {
        // One step is never too many and never none.
        guard let program = try? Program([Step(.crc32c)]) else { preconditionFailure("crc32c is a program") }
        plan = Plan(program, isa: isa)
    }

    deinit {
        value.deallocate()
        range.deallocate()
    }

    func of(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        guard let base = bytes.baseAddress else { return 0 }
        range[0] = Descriptor(offset: 0, length: UInt32(bytes.count))
        // The program only reads.
        plan.execute(
            on: UnsafeMutableRawPointer(mutating: base), descriptors: UnsafeBufferPointer(range), values: value)
        return UInt32(truncatingIfNeeded: value[0])
    }
}
