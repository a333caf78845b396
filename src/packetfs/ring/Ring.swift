import CPacketFSShims
import Glibc
import PacketFSUAPI
import Synchronization
import SystemPackage

/// A single-producer single-consumer ring in shared memory, laid out as `uapi/pfs_fastpath.h` says.
///
/// Life of a ring, and who may do what:
///
/// - **format** (``format(_:byteCount:geometry:)``): whoever owns the region, once, before anyone attaches.
/// - **attach** (``RingProducer/init(attaching:byteCount:lock:)``, ``RingConsumer/init(attaching:byteCount:lock:)``): one
///   producer and one consumer, in any two threads or processes that have the region mapped. The value that comes back
///   is the role; its owner alone may use it.
/// - **detach**: let that value go. The kernel does the same for a process that dies, however it dies. The ring and
///   what is in it stay, and another process may attach in the same role and carry on.
/// - **remove**: unmap the region and close its file, which is the region owner's business. The mapping must outlive
///   everything attached to it.
///
/// A ring carries either bare 32-bit values (push and pop) or records in its slab (reserve / commit and peek / release);
/// which of the two is agreed between the two sides. Mixing them breaks nothing outside the region, but yields records
/// that are not there.
///
/// **Memory ordering.** The labels stand beside the accesses in RingProducer.swift, RingConsumer.swift and Doorbell.swift.
///
/// - [H1] the producer stores `head` with release after it wrote slot and record; [H2] the consumer loads `head` with
///   acquire before it reads them.
/// - [T1] the consumer stores `tail` with release after it read slot and record; [T2] the producer loads `tail` with
///   acquire before it overwrites them.
/// - [M1] `format` stores `magic` with release after everything else; [M2] attach loads it with acquire first.
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
    /// The two roles of a ring.
    public enum Role: String, Sendable, CaseIterable, CustomStringConvertible {
        /// The side that writes.
        case producer
        /// The side that reads.
        case consumer

        /// `producer` or `consumer`.
        public var description: String { rawValue }
    }

    /// The layout version that this library writes and reads.
    public static var version: UInt32 { UInt32(PFS_FP_VERSION) }

    /// Alignment that a region must have, in bytes.
    public static var lineByteCount: Int { Int(PFS_FP_LINE) }

    /// Lays out an empty ring at `base`, a writable mapping of `byteCount` bytes, of which
    /// ``RingGeometry/regionByteCount`` are used.
    ///
    /// Only the region's owner may call this, and only while nobody is attached: nothing here can tell. An attach that
    /// happens meanwhile gets ``RingError/notReady``. Throws ``RingError/regionTooSmall(needed:found:)`` or
    /// ``RingError/misalignedRegion``.
    public static func format(
        _ base: UnsafeMutableRawPointer, byteCount: Int, geometry: RingGeometry
    ) throws(RingError) {
        try format(base, byteCount: byteCount, geometry: geometry, firstIndex: 0)
    }

    /// As ``format(_:byteCount:geometry:)``, with head and tail starting anywhere, so that tests meet their wrap soon.
    package static func format(
        _ base: UnsafeMutableRawPointer, byteCount: Int, geometry: RingGeometry, firstIndex: UInt32
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

    /// Whether somebody is attached in `role`, according to the kernel: a process that died no longer is.
    ///
    /// `lock` is the region's file, opened in any way. Any process that has it may ask. The answer is true of the moment
    /// of asking. Throws ``RingError/system(call:errno:)``.
    public static func isTaken(_ role: Role, lock: FileDescriptor) throws(RingError) -> Bool {
        switch pfs_ofd_byte_is_locked(lock.rawValue, RoleLock.offset(of: role)) {
        case 0: return false
        case 1: return true
        default: throw .system(call: "fcntl(F_OFD_GETLK)", errno: Errno(rawValue: errno))
        }
    }

    /// The byte of the region's file whose lock is the role, for tools that look for its holder.
    package static func lockPosition(of role: Role) -> Int64 { RoleLock.offset(of: role) }

    static func checkMapping(_ base: UnsafeMutableRawPointer, byteCount: Int, needed: UInt64) throws(RingError) {
        guard Int(bitPattern: base) % lineByteCount == 0 else { throw .misalignedRegion }
        guard byteCount >= 0, UInt64(byteCount) >= needed else {
            throw .regionTooSmall(needed: needed, found: UInt64(max(0, byteCount)))
        }
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

    /// Head and tail as they stand when a role is taken over, checked against each other.
    ///
    /// One of the two belongs to the role just taken and stands still; an honest peer moves the other only towards an
    /// emptier (tail) or a fuller ring (head), never beyond the slots.
    func indices() throws(RingError) -> (head: UInt32, tail: UInt32) {
        let head = Word(header, \.head).pointee.load(ordering: .acquiring)  // [H2] pairs with [H1]
        let tail = Word(header, \.tail).pointee.load(ordering: .acquiring)  // [T2] pairs with [T1]
        guard head &- tail <= geometry.slots else {
            throw .corrupt(
                reason: "its head is \(head) and its tail \(tail), but it has only \(geometry.slots) slots")
        }
        return (head, tail)
    }
}

/// A role, held as a write lock on one byte of the region's file.
///
/// The lock belongs to an open file description of its own, made by opening the file again through /proc/self/fd. So two
/// owners in one process exclude each other too, descriptors that children inherited do not matter, and the kernel drops
/// the lock when the process ends in whatever way. The bytes lie far beyond any file's end, where they meet nobody.
@usableFromInline
struct RoleLock: ~Copyable {
    /// Nil for a role that an open file of the device holds.
    private let file: FileDescriptor?

    static func offset(of role: Ring.Role) -> Int64 {
        let base: Int64 = 1 << 62
        return switch role {
        case .producer: base
        case .consumer: base + 1
        }
    }

    /// Throws ``RingError/alreadyTaken(_:)`` or ``RingError/system(call:errno:)``.
    static func take(_ role: Ring.Role, of lock: FileDescriptor) throws(RingError) -> RoleLock {
        let file = try reopen(lock)
        let taken = RoleLock(file: file)
        if pfs_ofd_lock_byte(file.rawValue, offset(of: role)) != 0 {
            let code = Errno(rawValue: errno)
            if code == .resourceTemporarilyUnavailable || code == .permissionDenied {
                throw .alreadyTaken(role)
            }
            throw .system(call: "fcntl(F_OFD_SETLK)", errno: code)
        }
        return taken
    }

    /// The lock of a role that an open file of the device holds: nothing to do.
    static var none: RoleLock { RoleLock(file: nil) }

    private init(file: FileDescriptor?) {
        self.file = file
    }

    private static func reopen(_ file: FileDescriptor) throws(RingError) -> FileDescriptor {
        let path = "/proc/self/fd/\(file.rawValue)"
        do {
            return try FileDescriptor.open(path, .readWrite, options: .closeOnExec)
        } catch {
            throw .system(call: "open(\(path))", errno: error as? Errno ?? .ioError)
        }
    }

    deinit {
        guard let file else { return }
        // Closing alone would leave the lock with a child that is just being started and has this descriptor until it
        // executes its program. Nothing can be done about a failure; at the latest the end of the processes helps.
        _ = pfs_ofd_unlock(file.rawValue)
        try? file.close()
    }
}
