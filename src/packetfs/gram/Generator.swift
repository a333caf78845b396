import CPacketFSGram

/// SplitMix64 (Steele, Lea, Flood, 2014): element `index` of the sequence that starts from `key`.
private func splitMix64(key: UInt64, index: UInt64) -> UInt64 {
    var z = key &+ (index &+ 1) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}

/// The integer hash "lowbias32" (C. Wellons, hash-prospector): a permutation of 32 bits with little bias, and cheap in vectors.
private func hash32(_ value: UInt32) -> UInt32 {
    var x = value
    x = (x ^ (x >> 16)) &* 0x7FEB_352D
    x = (x ^ (x >> 15)) &* 0x846C_A68B
    return x ^ (x >> 16)
}

/// Random descriptors inside a region of the blob, as the documented runs use them.
///
/// Length uniform in `alignment ..< 5 * alignment`, offset uniform among the multiples of `alignment` (counted from the start of
/// the region) at which the range still fits. Descriptor `n` of a stream is a pure function of seed, stream and `n`, so a
/// verifier generates again exactly what a run used. Streams repeat after 2^32 descriptors, with other keys each time.
public struct RandomDescriptors: Sendable {
    /// Byte range of the blob in which every descriptor lies.
    public let region: Range<UInt64>
    /// Alignment of offsets inside the region, in bytes; a power of two.
    public let alignment: UInt32
    private let key: UInt64

    /// Makes a generator.
    ///
    /// - Parameters:
    ///   - region: not empty (precondition). A region shorter than a drawn length shortens the descriptor. In one of more than
    ///     2^32 alignment units only every k-th place is drawn, k being the region's units over 2^32.
    ///   - alignment: a power of two from 1 to 2^20 (precondition).
    ///   - seed: the run's seed.
    ///   - stream: which of the run's independent streams, normally the pcore's number.
    public init(region: Range<UInt64>, alignment: UInt32, seed: UInt64, stream: UInt64) {
        precondition(!region.isEmpty, "an empty region has no descriptors")
        precondition(alignment.nonzeroBitCount == 1 && alignment <= 1 << 20, "alignment must be a power of two")
        self.region = region
        self.alignment = alignment
        self.key = splitMix64(key: seed, index: stream)
    }

    /// Descriptor `index` of the stream.
    public subscript(index: UInt64) -> Descriptor {
        Self.descriptor(UInt32(truncatingIfNeeded: index), stream(ofBlock: index >> 32))
    }

    /// Writes descriptors `first`, `first + 1`, ... of the stream into `table`.
    public func fill(_ table: UnsafeMutableBufferPointer<Descriptor>, from first: UInt64) {
        fill(table, from: first, lanes: 16)
    }

    /// The same with at most `lanes` descriptors at a time, so that tests reach the code for processors without AVX-512.
    package func fill(_ table: UnsafeMutableBufferPointer<Descriptor>, from first: UInt64, lanes: Int32) {
        var done = 0
        while done < table.count {
            let index = first &+ UInt64(truncatingIfNeeded: done)
            // Keys change where the low half of the number wraps.
            let count = Int(min(UInt64(table.count - done), (1 << 32) - (index & 0xFFFF_FFFF)))
            let stream = stream(ofBlock: index >> 32)
            let number = UInt32(truncatingIfNeeded: index)
            let rest = UnsafeMutableBufferPointer(rebasing: table[done..<done + count])
            let written = withUnsafePointer(to: stream) {
                pfs_generate_descriptors($0, number, rest.baseAddress, count, lanes)
            }
            for position in written..<count {
                rest.initializeElement(
                    at: position, to: Self.descriptor(number &+ UInt32(truncatingIfNeeded: position), stream))
            }
            done += count
        }
    }

    /// The keys of the 2^32 descriptors whose number has `block` as its high half.
    private func stream(ofBlock block: UInt64) -> pfs_descriptor_stream {
        let keys = splitMix64(key: key, index: block)
        return pfs_descriptor_stream(
            region_start: region.lowerBound, region_length: UInt64(region.count),
            length_key: UInt32(truncatingIfNeeded: keys), offset_key: UInt32(truncatingIfNeeded: keys >> 32),
            shift: UInt32(alignment.trailingZeroBitCount))
    }

    /// The definition, for one descriptor; `pfs_generate_descriptors` is its vector form.
    private static func descriptor(_ number: UInt32, _ stream: pfs_descriptor_stream) -> Descriptor {
        let shift = UInt64(stream.shift)
        let drawn = (UInt64(1) << shift) &+ UInt64(hash32(number ^ stream.length_key) >> (30 - stream.shift))
        let length = min(drawn, stream.region_length)
        let places = ((stream.region_length &- length) >> shift) &+ 1
        // Multiply-high maps the hash to a place without a division (Lemire, 2019); its bias, below places / 2^32, is far
        // under what a run could show.
        let place = (UInt64(hash32(number ^ stream.offset_key)) << 32).multipliedFullWidth(by: places).high
        return Descriptor(
            offset: stream.region_start &+ (place << shift), length: UInt32(truncatingIfNeeded: length))
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
