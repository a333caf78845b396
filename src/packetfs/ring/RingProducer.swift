import CPacketFSShims
import PacketFSUAPI
import Synchronization
import SystemPackage

/// The writing side of a ring. See ``Ring`` for the life of a ring and for the labels of the memory ordering.
///
/// One owner, one thread at a time; the value may be handed to another thread. Letting it go detaches. The mapping must
/// outlive it.
public struct RingProducer: ~Copyable, @unchecked Sendable {
    // Unchecked: the pointers lead into memory that two threads share; head, slots and slab are written by the owner of
    // this value alone, and everything else is only accessed atomically.
    /// Where this side is, and how far it may go.
    @usableFromInline var indices: RingIndices
    private var slab: SlabAllocator
    /// Units that the last refused request asked for, 0 if it was for a slot only.
    private var refused = 0

    @usableFromInline let consumerBell: Doorbell
    private let bell: Doorbell
    private let lock: RoleLock

    /// Takes the producer's role of the ring at `base`, a mapping of `byteCount` bytes of the file `lock`.
    ///
    /// Entries that a producer before left in the ring stay, and this one continues behind them at once; a record that the
    /// other had reserved and not committed is lost. `lock` is only used here; the caller keeps it.
    ///
    /// Throws ``RingError/notReady``, ``RingError/wrongVersion(found:)``, ``RingError/corrupt(reason:)``,
    /// ``RingError/regionTooSmall(needed:found:)``, ``RingError/misalignedRegion``, ``RingError/alreadyTaken(_:)`` or
    /// ``RingError/system(call:errno:)``.
    public init(
        attaching base: UnsafeMutableRawPointer, byteCount: Int, lock: FileDescriptor
    ) throws(RingError) {
        let region = try RingRegion(validating: base, byteCount: byteCount)
        try self.init(region, RoleLock.take(.producer, of: lock), device: nil)
    }

    /// Takes over the ring at `base`, a mapping of `byteCount` bytes of /dev/pfs_fastpath, through an open file that has attached
    /// in the producer's role (``RingDevice/attach(_:)``) and stays open.
    ///
    /// Throws as ``init(attaching:byteCount:lock:)``, except that the role is not looked at.
    public init(
        attaching base: UnsafeMutableRawPointer, byteCount: Int, device: RingDevice
    ) throws(RingError) {
        let region = try RingRegion(validating: base, byteCount: byteCount)
        try self.init(region, RoleLock.none, device: device)
    }

    private init(_ region: RingRegion, _ taken: consuming RoleLock, device: RingDevice?) throws(RingError) {
        let indices = try RingIndices(.producer, of: region)
        let slab = try SlabAllocator(region)
        self.indices = indices
        self.slab = slab
        consumerBell = region.bell(of: .consumer, device: device)
        bell = region.bell(of: .producer, device: device)
        self.lock = taken
        consumerBell.ringAnyway()  // Model step P0: the ring that a predecessor may have owed.
    }

    /// Number of slots; all of them can be used.
    @inlinable
    public var capacity: Int { Int(indices.count) }

    /// Entries in the ring now. The consumer may be taking some out while this is computed, so it is an upper bound.
    /// A peer that breaks the rules can make it wrong, but never larger than ``capacity``.
    @inlinable
    public var count: Int { capacity - Int(indices.momentarilyAvailable) }

    // MARK: Values

    /// Appends one value if there is a free slot, and says whether. Publishes it, but wakes nobody.
    ///
    /// A consumer index that cannot be true counts as no free slot; ``waitForSpace(spins:timeout:)`` tells the difference.
    @inlinable
    @inline(__always)
    public mutating func tryPush(_ value: UInt32) -> Bool {
        if indices.available == 0 {
            _ = indices.refresh()
            if indices.available == 0 { return false }
        }
        indices.slot().pointee.store(value, ordering: .relaxed)
        indices.advance(by: 1)
        if indices.position % RingProducer.slotsPerCacheLine == 0 {
            askForSlots(ahead: RingProducer.slotsPerCacheLine, count: RingProducer.slotsPerCacheLine)
        }
        return true
    }

    /// Appends as many of the values, from the first on, as there are free slots, and returns how many. Publishes them
    /// together, but wakes nobody.
    @inlinable
    public mutating func push(contentsOf values: Span<UInt32>) -> Int {
        if Int(indices.available) < values.count { _ = indices.refresh() }
        let count = min(Int(indices.available), values.count)
        if count == 0 {
            return 0
        }
        let first = indices.slotNumber()
        let beforeWrap = min(count, capacity - first)
        values.withUnsafeBytes { source in
            // Not empty, so there is an address.
            let from = source.baseAddress.unsafelyUnwrapped
            UnsafeMutableRawPointer(indices.slot()).copyMemory(from: from, byteCount: 4 * beforeWrap)
            if beforeWrap < count {
                UnsafeMutableRawPointer(indices.slots)
                    .copyMemory(from: from + 4 * beforeWrap, byteCount: 4 * (count - beforeWrap))
            }
        }
        indices.advance(by: UInt32(truncatingIfNeeded: count))
        // What continues on the line just written needs the one behind it.
        let line = RingProducer.slotsPerCacheLine
        askForSlots(ahead: count < line ? line : 0, count: UInt32(truncatingIfNeeded: count))
        return count
    }

    /// Asks for the lines of `count` slots from `ahead` behind head on, to be written soon.
    ///
    /// The consumer read them a lap ago and still holds them: without this, each new line is a wait until it has come
    /// back. Only for slots that are known to be free, as the others are still to be read. It is a hint to the processor,
    /// no access: nothing depends on it, and the model knows nothing of it.
    @inlinable
    @inline(__always)
    func askForSlots(ahead: UInt32, count: UInt32) {
        let first = UInt64(indices.slotNumber(ahead: ahead))
        if UInt64(ahead) + UInt64(count) <= UInt64(indices.available), first + UInt64(count) <= UInt64(indices.count) {
            pfs_prefetch_to_write(indices.slots + Int(first), 4 * Int(count))
        }
    }

    /// Slots that lie on one cache line; the first slot begins one.
    @inlinable
    static var slotsPerCacheLine: UInt32 { 16 }

    // MARK: Records

    /// Reserves room in the slab for one record of up to `byteCount` bytes, to be written in place: contiguous, 64-byte
    /// aligned, and nobody else's until ``commit()``.
    ///
    /// The buffer is a multiple of 64 bytes, at least `byteCount`; what is in it is unspecified. Nil says that the ring or
    /// the slab is full: slab space comes back only when the consumer releases records, oldest first.
    /// ``waitForSpace(spins:timeout:)`` waits for just that.
    ///
    /// One record at a time: reserving twice without commit or discard is a programming error and stops the program.
    /// Throws ``RingError/recordTooLarge(byteCount:slabByteCount:)`` or ``RingError/corrupt(reason:)``.
    public mutating func reserve(byteCount: Int) throws(RingError) -> UnsafeMutableRawBufferPointer? {
        precondition(byteCount >= 0, "a record cannot have \(byteCount) bytes")
        precondition(!slab.isReserved, "commit or discard the record that is under construction first")
        let units = try slab.units(forByteCount: byteCount)
        guard let start = try findSpace(units: units) else {
            refused = units
            return nil
        }
        return slab.reserve(units, at: start)
    }

    /// Publishes the reserved record, but wakes nobody. Without a reserved record it stops the program.
    public mutating func commit() {
        precondition(indices.available > 0, "the slot of the reserved record was used up by a push")
        let position = slab.commit()
        // Model step P4. There is a slot, as checked above.
        _ = tryPush(position)
    }

    /// Gives the reserved record back as if it had never been asked for. Without a reserved record it does nothing.
    public mutating func discard() {
        slab.discard()
    }

    /// Model step P1: the start of `units` contiguous free units if there are such and a slot; 0 units ask for a slot only.
    private mutating func findSpace(units: Int) throws(RingError) -> Int? {
        if indices.available > 0 && slab.fits(units) { return slab.next }
        try indices.refreshOrThrow()
        if indices.available == 0 { return nil }
        if units == 0 { return slab.next }
        if indices.available == indices.count { return slab.startOver() }
        // The oldest entry is a lap behind the limit, in the same slot.
        let oldest = indices.slots[Int(truncatingIfNeeded: indices.limit & indices.mask)].load(ordering: .relaxed)
        return try slab.find(units, oldest: oldest)
    }

    // MARK: Positions

    /// The free-running number of the next entry to be published, modulo 2^32, for owners who keep books about entries.
    public var position: UInt32 { indices.position }

    /// The free-running number of the oldest entry that the consumer has not released, modulo 2^32: at most ``capacity`` before
    /// ``position``, and never before what an earlier call returned. What the consumer wrote elsewhere before it released an
    /// entry is visible after this ([T2] pairs with [T1]).
    ///
    /// Throws ``RingError/corrupt(reason:)``.
    public mutating func releasedPosition() throws(RingError) -> UInt32 {
        try indices.refreshOrThrow()
        return indices.limit &- indices.count
    }

    // MARK: Waking and waiting

    /// Wakes the consumer if it sleeps. Call it after publishing, once for any number of entries.
    @inlinable
    public func notifyConsumer() {
        consumerBell.ring()
    }

    /// Waits until the request that was refused last can be met: the reservation of that size, or else a free slot.
    ///
    /// Looks `spins` times, then sleeps until the consumer calls `notifyProducer()`. Returns false when `timeout` is over
    /// (nil: never) or a signal handler ran. It does not notice that the consumer died: ask
    /// ``Ring/isTaken(_:lock:)`` now and then. Throws ``RingError/corrupt(reason:)``.
    public mutating func waitForSpace(
        spins: Int = Doorbell.defaultSpins, timeout: Duration?
    ) throws(RingError) -> Bool {
        let bell = bell
        return try bell.wait(spins: spins, timeout: timeout) { () throws(RingError) in
            try findSpace(units: refused) != nil
        }
    }

    /// Waits until the consumer has left fewer than `count` entries in the ring, or none: for a producer that fills the ring up
    /// and then lets it drain, instead of following the consumer entry by entry.
    ///
    /// Looks and sleeps, returns and throws as ``waitForSpace(spins:timeout:)``. How soon it wakes depends on when the consumer
    /// calls `notifyProducer()`; a consumer must do so at the latest when the ring is empty.
    public mutating func waitForRelease(
        below count: Int, spins: Int = Doorbell.defaultSpins, timeout: Duration?
    ) throws(RingError) -> Bool {
        let bell = bell
        return try bell.wait(spins: spins, timeout: timeout) { () throws(RingError) in
            try indices.refreshOrThrow()
            let used = Int(indices.count &- indices.available)
            return used == 0 || used < count
        }
    }
}
