import Synchronization

/// The two indices of a ring, as one of the two sides sees them.
///
/// This is the single-producer single-consumer queue of the textbooks. `head` counts the entries that the producer has published,
/// `tail` those that the consumer has released; both run freely over 32 bits and wrap. Entry i lies in slot i & mask. The ring holds
/// head - tail entries, from none to all slots. Each index has one writer:
///
///     producer                                        consumer
///     limit = load-acquire(tail) + slots  [T2]        limit = load-acquire(head)  [H2]
///     while position < limit:                         while position < limit:
///         write the slot of `position`                    read the slot of `position`
///         position += 1                                   position += 1
///         store-release(head, position)   [H1]            store-release(tail, position)  [T1]
///
/// So the two sides are the same program: a side may use the entries from its own `position` up to a `limit`, and the limit is the
/// peer's index plus a `lead`, which is the number of slots for the producer and 0 for the consumer.
///
/// **Memory ordering.** [H2] reads what [H1] stored, so the consumer sees a slot and its record as they were before the
/// publication. [T2] reads what [T1] stored, so the producer overwrites a slot and its record only after they were read. Nothing
/// else orders the two sides, and nothing else needs to.
///
/// **Caching.** The peer's index lies on a cache line that the peer writes. The limit is therefore a private copy, which is looked
/// up anew only when it is used up. A limit that is out of date is smaller than the true one, so it is safe.
///
/// **Trust.** An honest peer only moves its index forwards, and never past the other side: the consumer's index lies between where it
/// was last and the producer's, the producer's between where it was last and a full ring. ``refresh()`` is the only place that
/// reads the peer's index for use, and it checks just that. Thus a peer can neither make a side leave the ring nor take back
/// entries that it has granted.
@usableFromInline
struct RingIndices: ~Copyable {
    /// The index of this side in the region. Nobody else writes it.
    @usableFromInline let own: Word
    /// The index of the other side in the region.
    @usableFromInline let peer: Word
    @usableFromInline let slots: Word
    /// Number of slots minus 1: a private copy, so that the region cannot change it.
    @usableFromInline let mask: UInt32
    /// The entry that this side uses next: what `own` holds, without reading shared memory.
    @usableFromInline var position: UInt32
    /// The first entry that this side may not use yet.
    @usableFromInline var limit: UInt32
    /// What the peer's index lacks to the limit: the number of slots for the producer, 0 for the consumer.
    @usableFromInline let lead: UInt32

    /// Reads both indices of a region in which this process has just taken `role`.
    ///
    /// Throws ``RingError/corrupt(reason:)`` if they contradict each other.
    init(_ role: Ring.Role, of region: RingRegion) throws(RingError) {
        let head = Word(region.header, \.head)
        let tail = Word(region.header, \.tail)
        own = role == .producer ? head : tail
        peer = role == .producer ? tail : head
        slots = region.slots
        mask = region.geometry.slots - 1
        lead = role == .producer ? region.geometry.slots : 0
        position = own.pointee.load(ordering: .relaxed)  // The role belongs to this process now: nobody moves it.
        limit = position
        try refreshOrThrow()
    }

    /// Number of slots.
    @inlinable
    var count: UInt32 { mask &+ 1 }

    /// Entries that this side may use, as far as it knows: free ones for the producer, filled ones for the consumer.
    @inlinable
    var available: UInt32 { limit &- position }

    /// The number of the slot of the entry that is `ahead` behind `position`.
    @inlinable
    func slotNumber(ahead: UInt32 = 0) -> Int { Int(truncatingIfNeeded: (position &+ ahead) & mask) }

    /// The slot of the entry that is `ahead` behind `position`.
    @inlinable
    func slot(ahead: UInt32 = 0) -> Word { slots + slotNumber(ahead: ahead) }

    /// Reads the peer's index and moves the limit accordingly. An index that cannot be true is returned, and moves nothing.
    @inlinable
    mutating func refresh() -> UInt32? {
        let found = peer.pointee.load(ordering: .acquiring)  // [T2] pairs with [T1], [H2] with [H1]
        let reach = found &+ lead &- position
        guard reach <= count, reach >= available else { return found }
        limit = found &+ lead
        return nil
    }

    /// As ``refresh()``; throws ``RingError/corrupt(reason:)`` for an index that cannot be true.
    mutating func refreshOrThrow() throws(RingError) {
        guard let found = refresh() else { return }
        let role = lead == 0 ? Ring.Role.producer : .consumer
        throw .corrupt(
            reason: "the index of the \(role) is \(found), but it must be from \(limit &- lead) to "
                + "\(position &+ count &- lead)")
    }

    /// Hands the next `count` entries over to the peer; they must be available.
    @inlinable
    mutating func advance(by count: UInt32) {
        position &+= count
        own.pointee.store(position, ordering: .releasing)  // [H1] pairs with [H2], [T1] with [T2]
    }

    /// An unchecked look at the peer's index, for figures: entries that this side could use now, at most all slots.
    @inlinable
    var momentarilyAvailable: UInt32 { min(peer.pointee.load(ordering: .relaxed) &+ lead &- position, count) }
}
