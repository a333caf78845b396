/// SplitMix64 (Steele, Lea, Flood, 2014) as a function of a position: element `index` of the stream of `key`.
///
/// Position-addressable, so that any part of a run can be generated again on its own.
@inlinable @inline(__always)
func splitMix64(key: UInt64, index: UInt64) -> UInt64 {
    var z = key &+ (index &+ 1) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}

/// Random descriptors inside a region of the blob, as the documented runs use them.
///
/// Length uniform in `alignment ..< 5 * alignment`, offset uniform among the multiples of `alignment` (counted from the start of
/// the region) at which the range still fits. Descriptor `n` of a stream is a pure function of seed, stream and `n`, so a
/// verifier generates again exactly what a run used.
public struct RandomDescriptors: Sendable {
    /// Byte range of the blob in which every descriptor lies.
    public let region: Range<UInt64>
    /// Alignment of offsets inside the region, in bytes; a power of two.
    public let alignment: UInt32
    @usableFromInline let key: UInt64
    @usableFromInline let shift: UInt64
    @usableFromInline let lengthCap: UInt64

    /// Makes a generator.
    ///
    /// - Parameters:
    ///   - region: not empty (precondition). A region shorter than a drawn length shortens the descriptor.
    ///   - alignment: a power of two from 1 to 2^20 (precondition).
    ///   - seed: the run's seed.
    ///   - stream: which of the run's independent streams, normally the pcore's number.
    public init(region: Range<UInt64>, alignment: UInt32, seed: UInt64, stream: UInt64) {
        precondition(!region.isEmpty, "an empty region has no descriptors")
        precondition(alignment.nonzeroBitCount == 1 && alignment <= 1 << 20, "alignment must be a power of two")
        self.region = region
        self.alignment = alignment
        self.key = splitMix64(key: seed, index: stream)
        self.shift = UInt64(alignment.trailingZeroBitCount)
        self.lengthCap = UInt64(region.count)
    }

    /// Descriptor `index` of the stream.
    @inlinable @inline(__always)
    public subscript(index: UInt64) -> Descriptor {
        let random = splitMix64(key: key, index: index)
        // The low 32 bits choose the length, the high bits the offset: multiply-high maps them to a range without a
        // division (Lemire, 2019; the bias, below range / 2^32, is far under what a run could show).
        let drawn = UInt64(alignment) &+ (((random & 0xFFFF_FFFF) &* (UInt64(alignment) << 2)) >> 32)
        let length = min(drawn, lengthCap)
        let places = ((lengthCap &- length) >> shift) &+ 1
        let place = random.multipliedFullWidth(by: places).high
        return Descriptor(
            offset: region.lowerBound &+ (place << shift), length: UInt32(truncatingIfNeeded: length))
    }

    /// Writes descriptors `first`, `first + 1`, ... of the stream into `table` and returns the sum of their lengths.
    @inlinable
    @discardableResult
    public func fill(_ table: UnsafeMutableBufferPointer<Descriptor>, from first: UInt64) -> UInt64 {
        var byteCount: UInt64 = 0
        for index in 0..<table.count {
            let descriptor = self[first &+ UInt64(truncatingIfNeeded: index)]
            byteCount &+= UInt64(descriptor.length)
            table.initializeElement(at: index, to: descriptor)
        }
        return byteCount
    }
}

/// Consecutive blocks that cover a region exactly once: all of `blockLength` bytes but the last, which may be shorter.
public struct SequentialBlocks: Sendable, RandomAccessCollection {
    /// Byte range of the blob that the blocks cover.
    public let region: Range<UInt64>
    /// Bytes of each block but the last.
    public let blockLength: UInt32

    /// Makes the blocks of `region`; an empty region has none. Precondition: `blockLength` > 0.
    public init(region: Range<UInt64>, blockLength: UInt32) {
        precondition(blockLength > 0, "blocks need a length")
        self.region = region
        self.blockLength = blockLength
    }

    /// 0.
    public var startIndex: Int { 0 }
    /// The number of blocks.
    public var endIndex: Int {
        Int((UInt64(region.count) + UInt64(blockLength) - 1) / UInt64(blockLength))
    }

    /// Block `index`, counted from the start of the region.
    public subscript(index: Int) -> Descriptor {
        precondition(indices.contains(index), "no such block")
        let offset = region.lowerBound + UInt64(index) * UInt64(blockLength)
        return Descriptor(offset: offset, length: UInt32(Swift.min(UInt64(blockLength), region.upperBound - offset)))
    }
}

/// Cuts the bytes of a range into one region per pcore, so that writing pcores never share a byte.
///
/// Regions start at multiples of `alignment` from the start of the range and differ by at most `alignment` bytes (the last
/// one may be shorter). Use an alignment of at least a cache line, so that they share no line either.
/// - Returns: `count` regions in order that cover the range exactly; nil if the range is too short to give each one byte.
public func partition(_ range: Range<UInt64>, into count: Int, alignment: UInt64) -> [Range<UInt64>]? {
    precondition(count > 0 && alignment > 0, "needs a count and an alignment")
    let units = (UInt64(range.count) + alignment - 1) / alignment
    guard units >= UInt64(count) else { return nil }
    let (each, extra) = units.quotientAndRemainder(dividingBy: UInt64(count))
    var start = range.lowerBound
    return (0..<UInt64(count)).map { index in
        let end = min(start + (each + (index < extra ? 1 : 0)) * alignment, range.upperBound)
        defer { start = end }
        return start..<end
    }
}
