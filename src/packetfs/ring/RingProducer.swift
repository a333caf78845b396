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
    @usableFromInline let headWord: Word
    @usableFromInline let tailWord: Word
    @usableFromInline let slots: Word
    @usableFromInline let mask: UInt32
    /// The entry to write next: what `headWord` holds, without reading shared memory.
    @usableFromInline var head: UInt32
    /// The tail when it was last looked at: it may be older than the truth, so the ring only seems fuller than it is.
    @usableFromInline var knownTail: UInt32

    private let slab: UnsafeMutableRawPointer
    private let slabUnits: Int
    private let slabNextWord: Word
    // The units [next, end) behind the last record are known to be free; there may be more.
    private var next: Int
    private var end: Int
    /// The units of the record under construction.
    private var reserved: Range<Int>?
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

    /// Takes over the ring at `base`, a mapping of `byteCount` bytes of /dev/pfs_fastpath, through an open file that has claimed
    /// the producer's role (``RingDevice/claim(_:)``) and stays open.
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
        let slabNextWord = Word(region.header, \.slab_next)
        let slabNext = Int(slabNextWord.pointee.load(ordering: .relaxed))
        guard slabNext < max(1, region.slabUnits) else {
            throw .corrupt(reason: "its slab continues at unit \(slabNext), but ends at unit \(region.slabUnits)")
        }
        headWord = Word(region.header, \.head)
        tailWord = Word(region.header, \.tail)
        slots = region.slots
        mask = region.geometry.slots - 1
        self.head = head
        knownTail = tail
        slab = region.slab
        slabUnits = region.slabUnits
        self.slabNextWord = slabNextWord
        next = slabNext
        end = slabNext
        consumerBell = Doorbell(
            Word(region.header, \.consumer_sleeps), device: device.map { DeviceBell(device: $0, sleeper: .consumer) })
        bell = Doorbell(
            Word(region.header, \.producer_sleeps), device: device.map { DeviceBell(device: $0, sleeper: .producer) })
        self.lock = taken
        consumerBell.ringAnyway()  // Model step P0: the ring that a predecessor may have owed.
    }

    /// Number of slots; all of them can be used.
    @inlinable
    public var capacity: Int { Int(mask) + 1 }

    /// Entries in the ring now. The consumer may be taking some out while this is computed, so it is an upper bound.
    /// A peer that breaks the rules can make it wrong, but never larger than ``capacity``.
    @inlinable
    public var count: Int { min(Int(head &- tailWord.pointee.load(ordering: .relaxed)), capacity) }

    // MARK: Values

    /// Appends one value if there is a free slot, and says whether. Publishes it, but wakes nobody.
    ///
    /// A consumer index that cannot be true counts as no free slot; ``waitForSpace(spins:timeout:)`` tells the difference.
    @inlinable
    @inline(__always)
    public mutating func tryPush(_ value: UInt32) -> Bool {
        if head &- knownTail > mask && freeSlots() == 0 {
            return false
        }
        slots[Int(truncatingIfNeeded: head & mask)].store(value, ordering: .relaxed)
        head &+= 1
        headWord.pointee.store(head, ordering: .releasing)  // [H1] pairs with [H2]
        if head % RingProducer.slotsPerCacheLine == 0 {
            askForSlots(ahead: RingProducer.slotsPerCacheLine, count: RingProducer.slotsPerCacheLine)
        }
        return true
    }

    /// Appends as many of the values, from the first on, as there are free slots, and returns how many. Publishes them
    /// together, but wakes nobody.
    @inlinable
    public mutating func push(contentsOf values: Span<UInt32>) -> Int {
        var free = Int(mask) + 1 - Int(head &- knownTail)
        if free < values.count {
            free = freeSlots()
        }
        let count = min(free, values.count)
        if count == 0 {
            return 0
        }
        let first = Int(truncatingIfNeeded: head & mask)
        let beforeWrap = min(count, Int(mask) + 1 - first)
        values.withUnsafeBytes { source in
            // Not empty, so there is an address.
            let from = source.baseAddress.unsafelyUnwrapped
            UnsafeMutableRawPointer(slots + first).copyMemory(from: from, byteCount: 4 * beforeWrap)
            if beforeWrap < count {
                UnsafeMutableRawPointer(slots)
                    .copyMemory(from: from + 4 * beforeWrap, byteCount: 4 * (count - beforeWrap))
            }
        }
        head &+= UInt32(truncatingIfNeeded: count)
        headWord.pointee.store(head, ordering: .releasing)  // [H1] pairs with [H2]
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
        let used = UInt64(head &- knownTail)
        let first = UInt64((head &+ ahead) & mask)
        if used + UInt64(ahead) + UInt64(count) <= UInt64(mask) + 1, first + UInt64(count) <= UInt64(mask) + 1 {
            pfs_prefetch_to_write(slots + Int(first), 4 * Int(count))
        }
    }

    /// Slots that lie on one cache line; the first slot begins one.
    @inlinable
    static var slotsPerCacheLine: UInt32 { 16 }

    /// Looks at the consumer's index anew and returns the free slots; 0 as well if the index cannot be true.
    @inlinable
    mutating func freeSlots() -> Int {
        let tail = tailWord.pointee.load(ordering: .acquiring)  // [T2] pairs with [T1]
        let used = head &- tail
        guard used <= mask &+ 1 else { return 0 }
        knownTail = tail
        return Int(mask) + 1 - Int(used)
    }

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
        precondition(reserved == nil, "commit or discard the record that is under construction first")
        let unit = Int(PFS_FP_SLAB_UNIT)
        guard byteCount <= slabUnits * unit, slabUnits > 0 else {
            throw .recordTooLarge(byteCount: byteCount, slabByteCount: slabUnits * unit)
        }
        // Every record takes at least one unit, so records in the ring never share a position.
        let units = max(1, (byteCount + unit - 1) / unit)
        guard let start = try findSpace(units: units) else {
            refused = units
            return nil
        }
        reserved = start..<start + units
        return UnsafeMutableRawBufferPointer(start: slab + start * unit, count: units * unit)
    }

    /// Publishes the reserved record, but wakes nobody. Without a reserved record it stops the program.
    public mutating func commit() {
        guard let record = reserved else { preconditionFailure("there is no record to commit") }
        precondition(head &- knownTail <= mask, "the slot of the reserved record was used up by a push")
        reserved = nil
        if record.lowerBound != next {
            // It went to the start of the slab; how much is free behind it is found out when it matters.
            end = record.upperBound
        }
        next = record.upperBound
        // Model step P3, before P4: should this process die in between, the next producer leaves a gap, which is harmless.
        slabNextWord.pointee.store(next == slabUnits ? 0 : UInt32(truncatingIfNeeded: next), ordering: .relaxed)
        // Model step P4. There is a slot, as checked above.
        _ = tryPush(UInt32(truncatingIfNeeded: record.lowerBound))
    }

    /// Gives the reserved record back as if it had never been asked for. Without a reserved record it does nothing.
    public mutating func discard() {
        reserved = nil
    }

    /// Model step P1: the start of `units` contiguous free units if there are such and a slot; 0 units ask for a slot only.
    ///
    /// The records in the ring occupy the slab from the oldest one's position up to `next`, around the end if need be.
    /// Where the oldest one is stands in its slot, which this side wrote: no shadow table is needed, and a producer that
    /// took over knows as much as its predecessor. The space of a record is free once tail has passed it [T2], and tail
    /// passes it only by the consumer's release. A peer that overwrites the slot gets its own records overwritten; the
    /// value is checked, so that nothing outside the slab is.
    private mutating func findSpace(units: Int) throws(RingError) -> Int? {
        if head &- knownTail <= mask && units <= end - next {
            return next
        }
        let tail = tailWord.pointee.load(ordering: .acquiring)  // [T2] pairs with [T1]
        let used = head &- tail
        guard used <= mask &+ 1 else {
            throw .corrupt(reason: "the consumer is at \(tail), the producer at \(head), with \(capacity) slots")
        }
        knownTail = tail
        if used > mask { return nil }
        if units == 0 { return next }

        if used == 0 {
            // Start over: a record as large as the slab fits in an empty ring wherever the last one ended.
            next = 0
            end = slabUnits
            return 0
        }
        let oldest = Int(slots[Int(truncatingIfNeeded: tail & mask)].load(ordering: .relaxed))
        guard oldest < slabUnits else {
            throw .corrupt(reason: "its oldest slot points to unit \(oldest) of a slab of \(slabUnits) units")
        }
        if oldest >= next {
            // Occupied: [oldest, slabUnits) and [0, next). Equal means full, as no record is empty.
            end = oldest
            return units <= end - next ? next : nil
        }
        // Occupied: [oldest, next). What does not fit behind goes before, and the rest of the slab is skipped.
        end = slabUnits
        if units <= end - next { return next }
        return units <= oldest ? 0 : nil
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
            let tail = tailWord.pointee.load(ordering: .acquiring)  // [T2] pairs with [T1]
            let used = head &- tail
            guard used <= mask &+ 1 else {
                throw .corrupt(reason: "the consumer is at \(tail), the producer at \(head), with \(capacity) slots")
            }
            return used == 0 || Int(used) < count
        }
    }
}
