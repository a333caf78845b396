import PacketFSGram

/// The reference implementation: what every operation means, written to be read.
///
/// One byte at a time, one operation at a time, no tables but the CRC's and no C. Every fast path is compared with it, and
/// `--verify` recomputes whole runs with it.
public enum Reference {
    /// Applies `program` to each descriptor in order and adds each reducer's values to `totals`, wrapping.
    ///
    /// - Parameters:
    ///   - program: what to do, in order, with each descriptor's bytes.
    ///   - blob: the bytes that descriptors point into; rewritten by `xor` and `add`.
    ///   - descriptors: every one must fit in `blob` (`Descriptor.fits(in:)`); this is a precondition.
    ///   - totals: one value per element of `program.reducers`, in that order.
    public static func execute(
        _ program: Program, on blob: UnsafeMutableRawBufferPointer, descriptors: UnsafeBufferPointer<Descriptor>,
        totals: inout [UInt64]
    ) {
        precondition(totals.count == program.reducers.count, "one total per reducing operation")
        for descriptor in descriptors {
            precondition(descriptor.fits(in: UInt64(blob.count)), "descriptor outside the blob")
            let start = Int(descriptor.offset)
            let bytes = UnsafeMutableRawBufferPointer(rebasing: blob[start..<start + Int(descriptor.length)])
            var reducer = 0
            for step in program.steps {
                switch step.op {
                case .xor: for i in bytes.indices { bytes[i] ^= step.immediate }
                case .add: for i in bytes.indices { bytes[i] &+= step.immediate }
                case .counteq, .crc32c, .fnv:
                    totals[reducer] &+= value(of: step, over: UnsafeRawBufferPointer(bytes))
                    reducer += 1
                }
            }
        }
    }

    /// The value of one reducing operation over `bytes`. Precondition: `step.op.reduces`.
    public static func value(of step: Step, over bytes: UnsafeRawBufferPointer) -> UInt64 {
        switch step.op {
        case .counteq: countEqual(bytes, to: step.immediate)
        case .crc32c: UInt64(crc32c(bytes))
        case .fnv: fnv1a(bytes)
        case .xor, .add: preconditionFailure("\(step.op.name) yields no value")
        }
    }

    /// The number of bytes that equal `byte`.
    public static func countEqual(_ bytes: UnsafeRawBufferPointer, to byte: UInt8) -> UInt64 {
        var count: UInt64 = 0
        for candidate in bytes where candidate == byte { count += 1 }
        return count
    }

    /// CRC-32C as RFC 3720 section 12.1 and appendix B.4 define it: reflected polynomial 0x82F63B78, initial and final
    /// complement. `crc32c("123456789")` is 0xE3069283.
    public static func crc32c(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        crcTable.withUnsafeBufferPointer { table in
            var crc = UInt32.max
            for byte in bytes { crc = table[Int((crc ^ UInt32(byte)) & 0xFF)] ^ (crc >> 8) }
            return ~crc
        }
    }

    /// FNV-1a with 64 bits (Fowler, Noll, Vo; IETF draft-eastlake-fnv). The value of no bytes is the offset basis.
    public static func fnv1a(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash: UInt64 = 14_695_981_039_346_656_037
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 1_099_511_628_211 }
        return hash
    }

    /// The CRC of each single byte, one bit at a time.
    private static let crcTable: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { crc, _ in (crc & 1) != 0 ? (crc >> 1) ^ 0x82F6_3B78 : crc >> 1 }
    }
}
