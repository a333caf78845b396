import Glibc
import PacketFSUAPI
import SystemPackage

/// What a ring's file says about the ring at one moment, for tools that look at it: nobody attaches, and nothing is mapped,
/// so that neither a lie nor a file that gets shorter meanwhile can do harm.
///
/// Both sides may be at work. What is read then need not have been true at one instant, but an honest ring never looks
/// corrupt.
public struct RingSnapshot: Sendable, Hashable {
    /// The shape.
    public let geometry: RingGeometry
    /// The entry that the producer writes next.
    public let head: UInt32
    /// The entry that the consumer reads next, looked at shortly before `head`.
    public let tail: UInt32
    /// The unit of 64 bytes behind the last record in the slab.
    public let slabNext: UInt32
    /// Whether the producer sleeps until there is space, or is about to.
    public let producerSleeps: Bool
    /// Whether the consumer sleeps until there are entries, or is about to.
    public let consumerSleeps: Bool

    /// Entries in the ring, at most as many as there are slots.
    public var queued: UInt32 { min(head &- tail, geometry.slots) }

    /// Reads the header of the ring in `file`, opened at least for reading.
    ///
    /// Throws what attaching to it would throw, apart from ``RingError/alreadyTaken(_:)``.
    public init(reading file: FileDescriptor) throws(RingError) {
        var status = stat()
        guard fstat(file.rawValue, &status) == 0 else { throw .system(call: "fstat", errno: Errno(rawValue: errno)) }
        let size = max(0, Int(status.st_size))
        let headerSize = MemoryLayout<pfs_fp_ring_hdr>.size
        guard size >= headerSize else { throw .regionTooSmall(needed: UInt64(headerSize), found: UInt64(size)) }
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: headerSize, alignment: Ring.lineByteCount)
        defer { copy.deallocate() }

        guard let base = copy.baseAddress, let tailOffset = MemoryLayout<pfs_fp_ring_hdr>.offset(of: \.tail) else {
            throw .misalignedRegion
        }
        let tailBytes = UnsafeMutableRawBufferPointer(rebasing: copy[tailOffset..<tailOffset + 4])
        try Self.read(file, at: tailOffset, into: tailBytes)
        let before = tailBytes.load(as: UInt32.self)
        try Self.read(file, at: 0, into: copy)
        let header = copy.load(as: pfs_fp_ring_hdr.self)
        try Self.read(file, at: tailOffset, into: tailBytes)
        let after = tailBytes.load(as: UInt32.self)

        geometry = try RingRegion(validating: base, byteCount: size).geometry
        head = header.head
        tail = before
        slabNext = header.slab_next
        consumerSleeps = header.consumer_sleeps != 0
        producerSleeps = header.producer_sleeps != 0
        // When head was read, tail was somewhere from `before` to `after`, and head at most all slots ahead of it.
        guard UInt64(head &- before) <= UInt64(after &- before) + UInt64(geometry.slots) else {
            throw .corrupt(
                reason: "its head is \(head) and its tail \(before), but it has only \(geometry.slots) slots")
        }
        let units = geometry.slabByteCount / UInt64(PFS_FP_SLAB_UNIT)
        guard UInt64(slabNext) < max(1, units) else {
            throw .corrupt(reason: "its slab continues at unit \(slabNext), but ends at unit \(units)")
        }
    }

    /// Looks at the position in each queued entry. Does nothing in a ring without a slab, whose entries may be any values.
    ///
    /// Throws ``RingError/corrupt(reason:)`` for the first one that lies outside the slab; ``RingError/system(call:errno:)``.
    public func checkEntries(in file: FileDescriptor) throws(RingError) {
        let units = geometry.slabByteCount / UInt64(PFS_FP_SLAB_UNIT)
        guard units > 0 else { return }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 4)
        defer { buffer.deallocate() }
        var done: UInt32 = 0
        while done < queued {
            let first = (tail &+ done) & (geometry.slots - 1)
            let count = min(queued - done, geometry.slots - first, UInt32(buffer.count / 4))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(4 * Int(count))])
            try Self.read(file, at: Int(geometry.slotsOffset) + 4 * Int(first), into: part)
            for (index, position) in part.bindMemory(to: UInt32.self).enumerated() where position >= units {
                let entry = tail &+ done &+ UInt32(index)
                throw .corrupt(reason: "entry \(entry) points to unit \(position) of a slab of \(units) units")
            }
            done += count
        }
    }

    private static func read(
        _ file: FileDescriptor, at offset: Int, into buffer: UnsafeMutableRawBufferPointer
    ) throws(RingError) {
        var done = 0
        while done < buffer.count {
            let got = pread(file.rawValue, buffer.baseAddress.map { $0 + done }, buffer.count - done, offset + done)
            if got > 0 {
                done += got
            } else if got == 0 {
                throw .regionTooSmall(needed: UInt64(offset + buffer.count), found: UInt64(offset + done))
            } else if errno != EINTR {
                throw .system(call: "pread", errno: Errno(rawValue: errno))
            }
        }
    }
}
