import PacketFSUAPI
import Synchronization

/// A region whose header has been checked: its private geometry, and pointers derived from that alone.
struct RingRegion {
    let geometry: RingGeometry
    let header: UnsafeMutablePointer<pfs_fp_ring_hdr>
    let slots: Word
    let slab: UnsafeMutableRawPointer

    var slabUnits: Int { Int(geometry.slabByteCount) / Int(PFS_FP_SLAB_UNIT) }

    /// Reads every constant of the header once and accepts the one layout that version 1 has.
    init(validating base: UnsafeMutableRawPointer, byteCount: Int) throws(RingError) {
        try Ring.checkMapping(base, byteCount: byteCount, needed: UInt64(MemoryLayout<pfs_fp_ring_hdr>.size))
        let header = base.assumingMemoryBound(to: pfs_fp_ring_hdr.self)
        let magic = Word64(header, \.magic).pointee.load(ordering: .acquiring)  // [M2] pairs with [M1]
        guard magic != 0 else { throw .notReady }
        guard magic == UInt64(PFS_FP_MAGIC) else {
            throw .corrupt(reason: "the region starts with 0x\(String(magic, radix: 16)), which marks no ring")
        }
        let version = Word(header, \.version).pointee.load(ordering: .relaxed)
        guard version == Ring.version else { throw .wrongVersion(found: version) }

        func require<T: FixedWidthInteger>(_ field: String, _ found: T, _ expected: T) throws(RingError) {
            guard found == expected else {
                throw .corrupt(reason: "\(field) in its header is \(found), not \(expected)")
            }
        }
        let headerBytes = Word(header, \.header_bytes).pointee.load(ordering: .relaxed)
        try require("header_bytes", headerBytes, UInt32(MemoryLayout<pfs_fp_ring_hdr>.size))
        let slots = Word(header, \.slots).pointee.load(ordering: .relaxed)
        let slabBytes = Word64(header, \.slab_bytes).pointee.load(ordering: .relaxed)
        let geometry: RingGeometry
        do {
            geometry = try RingGeometry(slots: slots, slabByteCount: slabBytes)
        } catch {
            throw .corrupt(reason: "its header claims \(slots) slots and a slab of \(slabBytes) bytes (\(error))")
        }
        try require("mask", Word(header, \.mask).pointee.load(ordering: .relaxed), slots - 1)
        let slotsOffset = Word64(header, \.slots_offset).pointee.load(ordering: .relaxed)
        try require("slots_offset", slotsOffset, geometry.slotsOffset)
        let dataOffset = Word64(header, \.data_offset).pointee.load(ordering: .relaxed)
        try require("data_offset", dataOffset, geometry.dataOffset)
        let regionBytes = Word64(header, \.region_bytes).pointee.load(ordering: .relaxed)
        try require("region_bytes", regionBytes, geometry.regionByteCount)
        // Reserved words may get a meaning only together with a new version.
        let firstReserved = UnsafeMutableRawPointer(Word64(header, \.slab_bytes)) + MemoryLayout<UInt64>.size
        for offset in stride(from: 0, to: UnsafeMutableRawPointer(base) + Ring.lineByteCount - firstReserved, by: 8) {
            let word = (firstReserved + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
            try require("a reserved word", word.pointee.load(ordering: .relaxed), 0)
        }
        guard UInt64(byteCount) >= geometry.regionByteCount else {
            throw .regionTooSmall(needed: geometry.regionByteCount, found: UInt64(byteCount))
        }

        self.geometry = geometry
        self.header = header
        self.slots = (base + Int(geometry.slotsOffset)).assumingMemoryBound(to: Atomic<UInt32>.self)
        self.slab = base + Int(geometry.dataOffset)
    }

    /// The bell on which `sleeper` sleeps; through the device, where the region is one's.
    func bell(of sleeper: Ring.Role, device: RingDevice?) -> Doorbell {
        let word = sleeper == .producer ? Word(header, \.producer_sleeps) : Word(header, \.consumer_sleeps)
        return Doorbell(word, device: device.map { DeviceDoorbell(device: $0, sleeper: sleeper) })
    }
}

/// A shared 32-bit word of the region.
@usableFromInline typealias Word = UnsafeMutablePointer<Atomic<UInt32>>
/// A shared 64-bit word of the region.
typealias Word64 = UnsafeMutablePointer<Atomic<UInt64>>

extension UnsafeMutablePointer where Pointee: ~Copyable {
    /// The atomic that lies where `field` of the header is.
    init<Value: AtomicRepresentable>(
        _ header: UnsafeMutablePointer<pfs_fp_ring_hdr>, _ field: WritableKeyPath<pfs_fp_ring_hdr, Value>
    )
    where Pointee == Atomic<Value> {
        // A stored field of an imported C struct always has an offset.
        let offset = MemoryLayout<pfs_fp_ring_hdr>.offset(of: field)!
        self = (UnsafeMutableRawPointer(header) + offset).assumingMemoryBound(to: Atomic<Value>.self)
    }
}
