import PacketFSUAPI

/// The shape of a ring: how many slots it has and how large its slab is. Everything else follows from these two.
public struct RingGeometry: Sendable, Hashable {
    /// Number of slots, a power of two from 1 to 2^31. All of them can be used.
    public let slots: UInt32
    /// Size of the slab in bytes, a multiple of 64 up to 256 GiB; 0 makes a bare queue of 32-bit values.
    public let slabByteCount: UInt64

    /// Checks and keeps the shape.
    ///
    /// Throws ``RingError/invalidGeometry(reason:)`` for any other number of slots or size of slab.
    public init(slots: UInt32, slabByteCount: UInt64 = 0) throws(RingError) {
        guard slots.nonzeroBitCount == 1 else {
            throw .invalidGeometry(reason: "\(slots) slots; the number must be a power of two from 1 to 2147483648")
        }
        guard slabByteCount % UInt64(PFS_FP_SLAB_UNIT) == 0 else {
            throw .invalidGeometry(reason: "a slab of \(slabByteCount) bytes; it must be a multiple of 64 bytes")
        }
        // A slot addresses 2^32 units.
        guard slabByteCount <= UInt64(PFS_FP_SLAB_UNIT) << 32 else {
            throw .invalidGeometry(reason: "a slab of \(slabByteCount) bytes; the limit is 256 GiB")
        }
        self.slots = slots
        self.slabByteCount = slabByteCount
    }

    /// Where the slots start, in bytes from the start of the region.
    var slotsOffset: UInt64 { UInt64(MemoryLayout<pfs_fp_ring_hdr>.size) }

    /// Where the slab starts, in bytes from the start of the region: behind the slots, on a line of its own.
    var dataOffset: UInt64 {
        let line = UInt64(PFS_FP_LINE)
        return (slotsOffset + 4 * UInt64(slots) + line - 1) / line * line
    }

    /// Bytes that a region needs for this ring. At most 264 GiB, so it always fits into an `Int`.
    public var regionByteCount: UInt64 { dataOffset + slabByteCount }
}
