import PacketFSUAPI
import Synchronization
import SystemPackage

/// The reading side of a ring. See ``Ring`` for the life of a ring and for the labels of the memory ordering.
///
/// One owner, one thread at a time; the value may be handed to another thread. Letting it go detaches. The mapping must
/// outlive it.
public struct RingConsumer: ~Copyable, @unchecked Sendable {
    // Unchecked: the pointers lead into memory that two threads share; tail is written by the owner of this value alone,
    // and everything else is only accessed atomically or read after [H2].
    /// Where this side is, and how far it may go.
    @usableFromInline var indices: RingIndices
    private let slab: SlabReader

    @usableFromInline let producerBell: Doorbell
    private let bell: Doorbell
    private let lock: RoleLock

    /// Takes the consumer's role of the ring at `base`, a mapping of `byteCount` bytes of the file `lock`.
    ///
    /// What a consumer before had read, but not released, comes again. `lock` is only used here; the caller keeps it.
    ///
    /// Throws ``RingError/notReady``, ``RingError/wrongVersion(found:)``, ``RingError/corrupt(reason:)``,
    /// ``RingError/regionTooSmall(needed:found:)``, ``RingError/misalignedRegion``, ``RingError/alreadyTaken(_:)`` or
    /// ``RingError/system(call:errno:)``.
    public init(
        attaching base: UnsafeMutableRawPointer, byteCount: Int, lock: FileDescriptor
    ) throws(RingError) {
        let region = try RingRegion(validating: base, byteCount: byteCount)
        try self.init(region, RoleLock.take(.consumer, of: lock), device: nil)
    }

    /// Takes over the ring at `base`, a mapping of `byteCount` bytes of /dev/pfs_fastpath, through an open file that has attached
    /// in the consumer's role (``RingDevice/attach(_:)``) and stays open.
    ///
    /// Throws as ``init(attaching:byteCount:lock:)``, except that the role is not looked at.
    public init(
        attaching base: UnsafeMutableRawPointer, byteCount: Int, device: RingDevice
    ) throws(RingError) {
        let region = try RingRegion(validating: base, byteCount: byteCount)
        try self.init(region, RoleLock.none, device: device)
    }

    private init(_ region: RingRegion, _ taken: consuming RoleLock, device: RingDevice?) throws(RingError) {
        let indices = try RingIndices(.consumer, of: region)
        self.indices = indices
        slab = SlabReader(region)
        producerBell = region.bell(of: .producer, device: device)
        bell = region.bell(of: .consumer, device: device)
        self.lock = taken
        producerBell.ringAnyway()  // Model step C0: the ring that a predecessor may have owed.
    }

    /// Number of slots; all of them can be used.
    @inlinable
    public var capacity: Int { Int(indices.count) }

    /// Entries in the ring now. The producer may be adding some while this is computed, so it is a lower bound.
    /// A peer that breaks the rules can make it wrong, but never larger than ``capacity``.
    @inlinable
    public var count: Int { Int(indices.momentarilyAvailable) }

    // MARK: Values

    /// Takes the oldest value out, or returns nil if there is none. Frees its slot, but wakes nobody.
    ///
    /// A producer index that cannot be true counts as no value; ``waitForRecords(spins:timeout:orUntil:)`` tells the difference.
    @inlinable
    @inline(__always)
    public mutating func tryPop() -> UInt32? {
        if indices.available == 0 {
            _ = indices.refresh()
            if indices.available == 0 { return nil }
        }
        let value = indices.slot().pointee.load(ordering: .relaxed)
        indices.advance(by: 1)
        return value
    }

    /// Takes out as many values, oldest first, as there are and fit into `target`, and returns how many it wrote to the
    /// front of it. Frees their slots together, but wakes nobody.
    @inlinable
    public mutating func pop(into target: inout MutableSpan<UInt32>) -> Int {
        if Int(indices.available) < target.count { _ = indices.refresh() }
        let count = min(Int(indices.available), target.count)
        if count == 0 {
            return 0
        }
        let first = indices.slotNumber()
        let beforeWrap = min(count, capacity - first)
        target.withUnsafeMutableBytes { destination in
            // Not empty, so there is an address.
            let to = destination.baseAddress.unsafelyUnwrapped
            to.copyMemory(from: indices.slot(), byteCount: 4 * beforeWrap)
            if beforeWrap < count {
                (to + 4 * beforeWrap).copyMemory(from: indices.slots, byteCount: 4 * (count - beforeWrap))
            }
        }
        indices.advance(by: UInt32(truncatingIfNeeded: count))
        return count
    }

    // MARK: Records

    /// The record that is `ahead` behind the oldest one, in place, or nil if there are not that many.
    ///
    /// The buffer runs from the record's first byte to the end of the slab, because how long the record is stands in the
    /// record: the reader checks that against the buffer. It stays valid until the record is released. A producer that
    /// breaks the rules may change the bytes at any time, so a reader copies what it checks.
    ///
    /// Looking ahead lets a consumer work on a batch and release it at once. Throws ``RingError/corrupt(reason:)`` for an
    /// index or a position that cannot be true; ``skip()`` passes over a bad position.
    public mutating func peek(ahead: Int = 0) throws(RingError) -> UnsafeRawBufferPointer? {
        precondition(ahead >= 0, "there is no record before the oldest one")
        // Model step C1.
        if ahead >= seen {
            try indices.refreshOrThrow()
            if ahead >= seen { return nil }
        }
        let ahead = UInt32(truncatingIfNeeded: ahead)
        let position = indices.slot(ahead: ahead).pointee.load(ordering: .relaxed)
        return try slab.record(at: position, of: indices.position &+ ahead)
    }

    /// Gives the `count` oldest records back: their slots and their slab space are the producer's again. Wakes nobody.
    ///
    /// Only what peek has reached can be released: more stops the program.
    public mutating func release(_ count: Int = 1) {
        // Model step C3.
        precondition(count >= 0 && count <= seen, "releasing \(count) records that were never seen")
        indices.advance(by: UInt32(truncatingIfNeeded: count))
    }

    /// After peek threw: gives the oldest entry back unseen, and says whether there was one. False if it was the producer's
    /// index that could not be true: then only the producer's next entry can heal the ring, if anything.
    public mutating func skip() -> Bool {
        guard seen > 0 else { return false }
        release()
        return true
    }

    // MARK: Positions

    /// The free-running number of the oldest entry that this side has not released, modulo 2^32, for owners who keep books about
    /// entries.
    public var position: UInt32 { indices.position }

    /// Entries from ``position`` on that were seen in the ring: those that peek has reached and release may pass over.
    public var seen: Int { Int(indices.available) }

    // MARK: Waking and waiting

    /// Wakes the producer if it sleeps. Call it after freeing slots or records, once for any number of them.
    @inlinable
    public func notifyProducer() {
        producerBell.ring()
    }

    /// Waits until there is an entry to take.
    ///
    /// Looks `spins` times, then sleeps until the producer calls `notifyConsumer()`. Returns false when `timeout` is over
    /// (nil: never), a signal handler ran, or `isOver` says true: it is asked at each look, so whoever makes it true
    /// calls `notifyConsumer()` afterwards. The wait does not notice that the producer died: ask ``Ring/isTaken(_:lock:)``
    /// now and then. Throws ``RingError/corrupt(reason:)``.
    public mutating func waitForRecords(
        spins: Int = Doorbell.defaultSpins, timeout: Duration?, orUntil isOver: () -> Bool = { false }
    ) throws(RingError) -> Bool {
        let bell = bell
        _ = try bell.wait(spins: spins, timeout: timeout) { () throws(RingError) in
            try indices.refreshOrThrow()
            return seen > 0 || isOver()
        }
        return seen > 0
    }
}
