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
    @usableFromInline let headWord: Word
    @usableFromInline let tailWord: Word
    @usableFromInline let slots: Word
    @usableFromInline let mask: UInt32
    /// The entry to read next: what `tailWord` holds, without reading shared memory.
    @usableFromInline var tail: UInt32
    /// The head when it was last looked at: it may be older than the truth, so the ring only seems emptier than it is.
    @usableFromInline var knownHead: UInt32

    private let slab: UnsafeRawPointer
    private let slabUnits: Int

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

    /// Takes over the ring at `base`, a mapping of `byteCount` bytes of /dev/pfs_fastpath, through an open file that has claimed
    /// the consumer's role (``RingDevice/claim(_:)``) and stays open.
    ///
    /// Throws as ``init(attaching:byteCount:lock:)``, except that the role is not looked at.
    public init(
        attaching base: UnsafeMutableRawPointer, byteCount: Int, device: RingDevice
    ) throws(RingError) {
        let region = try RingRegion(validating: base, byteCount: byteCount)
        try self.init(region, RoleLock.none, device: device)
    }

    private init(_ region: RingRegion, _ taken: consuming RoleLock, device: RingDevice?) throws(RingError) {
        let (head, tail) = try region.indices()
        headWord = Word(region.header, \.head)
        tailWord = Word(region.header, \.tail)
        slots = region.slots
        mask = region.geometry.slots - 1
        self.tail = tail
        knownHead = head
        slab = UnsafeRawPointer(region.slab)
        slabUnits = region.slabUnits
        producerBell = Doorbell(
            Word(region.header, \.producer_sleeps), device: device.map { DeviceBell(device: $0, sleeper: .producer) })
        bell = Doorbell(
            Word(region.header, \.consumer_sleeps), device: device.map { DeviceBell(device: $0, sleeper: .consumer) })
        self.lock = taken
        producerBell.ringAnyway()  // Model step C0: the ring that a predecessor may have owed.
    }

    /// Number of slots; all of them can be used.
    @inlinable
    public var capacity: Int { Int(mask) + 1 }

    /// Entries in the ring now. The producer may be adding some while this is computed, so it is a lower bound.
    /// A peer that breaks the rules can make it wrong, but never larger than ``capacity``.
    @inlinable
    public var count: Int { min(Int(headWord.pointee.load(ordering: .relaxed) &- tail), capacity) }

    // MARK: Values

    /// Takes the oldest value out, or returns nil if there is none. Frees its slot, but wakes nobody.
    ///
    /// A producer index that cannot be true counts as no value; ``waitForRecords(spins:timeout:orUntil:)`` tells the difference.
    @inlinable
    @inline(__always)
    public mutating func tryPop() -> UInt32? {
        if tail == knownHead && filledSlots() == 0 {
            return nil
        }
        let value = slots[Int(truncatingIfNeeded: tail & mask)].load(ordering: .relaxed)
        tail &+= 1
        tailWord.pointee.store(tail, ordering: .releasing)  // [T1] pairs with [T2]
        return value
    }

    /// Takes out as many values, oldest first, as there are and fit into `target`, and returns how many it wrote to the
    /// front of it. Frees their slots together, but wakes nobody.
    @inlinable
    public mutating func pop(into target: inout MutableSpan<UInt32>) -> Int {
        var filled = Int(knownHead &- tail)
        if filled < target.count {
            filled = filledSlots()
        }
        let count = min(filled, target.count)
        if count == 0 {
            return 0
        }
        let first = Int(truncatingIfNeeded: tail & mask)
        let beforeWrap = min(count, Int(mask) + 1 - first)
        target.withUnsafeMutableBytes { destination in
            // Not empty, so there is an address.
            let to = destination.baseAddress.unsafelyUnwrapped
            to.copyMemory(from: slots + first, byteCount: 4 * beforeWrap)
            if beforeWrap < count {
                (to + 4 * beforeWrap).copyMemory(from: slots, byteCount: 4 * (count - beforeWrap))
            }
        }
        tail &+= UInt32(truncatingIfNeeded: count)
        tailWord.pointee.store(tail, ordering: .releasing)  // [T1] pairs with [T2]
        return count
    }

    /// Looks at the producer's index anew and returns the entries in the ring; if the index cannot be true, only those
    /// that were known before.
    @inlinable
    mutating func filledSlots() -> Int {
        let head = headWord.pointee.load(ordering: .acquiring)  // [H2] pairs with [H1]
        let filled = head &- tail
        // Never backwards: what peek has reached may be released.
        if filled <= mask &+ 1 && filled >= knownHead &- tail {
            knownHead = head
        }
        return Int(knownHead &- tail)
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
        if ahead >= Int(knownHead &- tail) {
            guard try ahead < checkedCount() else { return nil }
        }
        let entry = tail &+ UInt32(truncatingIfNeeded: ahead)
        let position = Int(slots[Int(truncatingIfNeeded: entry & mask)].load(ordering: .relaxed))
        guard position < slabUnits else {
            throw .corrupt(reason: "entry \(entry) points to unit \(position) of a slab of \(slabUnits) units")
        }
        let unit = Int(PFS_FP_SLAB_UNIT)
        return UnsafeRawBufferPointer(start: slab + position * unit, count: (slabUnits - position) * unit)
    }

    /// Gives the `count` oldest records back: their slots and their slab space are the producer's again. Wakes nobody.
    ///
    /// Only what peek has reached can be released: more stops the program.
    public mutating func release(_ count: Int = 1) {
        // Model step C3.
        precondition(count >= 0 && count <= Int(knownHead &- tail), "releasing \(count) records that were never seen")
        tail &+= UInt32(truncatingIfNeeded: count)
        tailWord.pointee.store(tail, ordering: .releasing)  // [T1] pairs with [T2]
    }

    /// After peek threw: gives the oldest entry back unseen, and says whether there was one. False if it was the producer's
    /// index that could not be true: then only the producer's next entry can heal the ring, if anything.
    public mutating func skip() -> Bool {
        guard knownHead != tail else { return false }
        release()
        return true
    }

    /// Looks at the producer's index anew and returns the entries in the ring.
    private mutating func checkedCount() throws(RingError) -> Int {
        let head = headWord.pointee.load(ordering: .acquiring)  // [H2] pairs with [H1]
        guard head &- tail <= mask &+ 1 else {
            throw .corrupt(reason: "the producer is at \(head), the consumer at \(tail), with \(capacity) slots")
        }
        // What peek has reached may be released, so it must not vanish again.
        guard head &- tail >= knownHead &- tail else {
            throw .corrupt(reason: "the producer went back from \(knownHead) to \(head)")
        }
        knownHead = head
        return Int(head &- tail)
    }

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
        var count = 0
        _ = try bell.wait(spins: spins, timeout: timeout) { () throws(RingError) in
            count = try checkedCount()
            return count > 0 || isOver()
        }
        return count > 0
    }
}
