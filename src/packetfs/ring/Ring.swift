import PacketFSUAPI
import Synchronization

/// A single-producer single-consumer ring in shared memory, laid out as `uapi/pfs_fastpath.h` says.
///
/// Life of a ring, and who may do what:
///
/// - **create** (``create(at:byteCount:geometry:)``): whoever owns the region, once, before anyone attaches.
/// - **attach** (``RingProducer/init(attaching:byteCount:lock:)``, ``RingConsumer/init(attaching:byteCount:lock:)``): one
///   producer and one consumer, in any two threads or processes that have the region mapped. The value that comes back
///   is the role; its owner alone may use it.
/// - **close**: let that value go, which gives the role back. The kernel does the same for a process that dies, however it dies.
///   The ring and what is in it stay, and another process may attach in the same role and carry on.
///
/// To open, adopt, remove and close the region itself is the business of its owner (`SharedRegion` in PacketFSMemory, or
/// ``RingDevice``). The mapping must outlive everything attached to it.
///
/// A ring carries either bare 32-bit values (push and pop) or records in its slab (reserve / commit and peek / release);
/// which of the two is agreed between the two sides. Mixing them breaks nothing outside the region, but yields records
/// that are not there.
///
/// **Memory ordering.** The labels stand beside the accesses in RingIndices.swift, which explains the protocol, and in
/// Doorbell.swift.
///
/// - [H1] the producer stores `head` with release after it wrote slot and record; [H2] the consumer loads `head` with
///   acquire before it reads them.
/// - [T1] the consumer stores `tail` with release after it read slot and record; [T2] the producer loads `tail` with
///   acquire before it overwrites them.
/// - [M1] `create` stores `magic` with release after everything else; [M2] attach loads it with acquire first.
/// - [F1] and [F2], the two full fences of going to sleep and of waking: see ``Doorbell``.
///
/// theoretical/ring holds a model of all this that Spin explores (`just model-check`); its steps P0 to P5 and C0 to C4 are named
/// in the sources.
///
/// The fences order atomic accesses only; no plain data depends on them. A thread sanitizer, which does not model
/// fences, therefore sees every happens-before edge that the data needs.
///
/// **Trust.** Whatever the peer writes into the region, this side reads and writes inside the region only, and reports
/// ``RingError/corrupt(reason:)`` for what cannot be. It uses private copies of sizes, reads each shared word once, and
/// checks what it read before use. What a record *says* is for its reader to check.
public enum Ring {
    /// The layout version that this library writes and reads.
    public static var version: UInt32 { UInt32(PFS_FP_VERSION) }

    /// Alignment that a region must have, in bytes.
    public static var lineByteCount: Int { Int(PFS_FP_LINE) }

    /// Creates an empty ring at `base`, a writable mapping of `byteCount` bytes, of which
    /// ``RingGeometry/regionByteCount`` are used.
    ///
    /// Only the region's owner may call this, and only while nobody is attached: nothing here can tell. An attach that
    /// happens meanwhile gets ``RingError/notReady``. Throws ``RingError/regionTooSmall(needed:found:)`` or
    /// ``RingError/misalignedRegion``.
    public static func create(
        at base: UnsafeMutableRawPointer, byteCount: Int, geometry: RingGeometry
    ) throws(RingError) {
        try create(at: base, byteCount: byteCount, geometry: geometry, firstIndex: 0)
    }

    /// As ``create(at:byteCount:geometry:)``, with head and tail starting anywhere, so that tests meet their wrap soon.
    package static func create(
        at base: UnsafeMutableRawPointer, byteCount: Int, geometry: RingGeometry, firstIndex: UInt32
    ) throws(RingError) {
        try checkMapping(base, byteCount: byteCount, needed: geometry.regionByteCount)
        let header = base.bindMemory(to: pfs_fp_ring_hdr.self, capacity: 1)
        let magic = Word64(header, \.magic)
        magic.pointee.store(0, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // Whoever sees a change below also sees this 0.

        var fresh = pfs_fp_ring_hdr()
        fresh.version = version
        fresh.header_bytes = UInt32(MemoryLayout<pfs_fp_ring_hdr>.size)
        fresh.slots = geometry.slots
        fresh.mask = geometry.slots - 1
        fresh.region_bytes = geometry.regionByteCount
        fresh.slots_offset = geometry.slotsOffset
        fresh.data_offset = geometry.dataOffset
        fresh.slab_bytes = geometry.slabByteCount
        fresh.head = firstIndex
        fresh.tail = firstIndex
        // Everything but the magic, which is the first field.
        let skip = MemoryLayout<UInt64>.size
        withUnsafeBytes(of: fresh) { bytes in
            UnsafeMutableRawBufferPointer(
                rebasing: UnsafeMutableRawBufferPointer(start: base, count: bytes.count)[skip...]
            )
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[skip...]))
        }
        magic.pointee.store(UInt64(PFS_FP_MAGIC), ordering: .releasing)  // [M1] pairs with [M2]
    }

    static func checkMapping(_ base: UnsafeMutableRawPointer, byteCount: Int, needed: UInt64) throws(RingError) {
        guard Int(bitPattern: base) % lineByteCount == 0 else { throw .misalignedRegion }
        guard byteCount >= 0, UInt64(byteCount) >= needed else {
            throw .regionTooSmall(needed: needed, found: UInt64(max(0, byteCount)))
        }
    }
}
