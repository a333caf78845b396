import Synchronization

// Where the two sides are, for owners who keep books about entries beside the ring.

extension RingProducer {
    /// The free-running number of the next entry to be published, modulo 2^32.
    public var position: UInt32 { head }

    /// The free-running number of the oldest entry that the consumer has not released, modulo 2^32: at most ``capacity`` before
    /// ``position``, whatever a consumer that breaks the rules has written. What the consumer wrote elsewhere before it
    /// released an entry is visible after this ([T2] pairs with [T1]).
    public mutating func releasedPosition() -> UInt32 {
        _ = freeSlots()
        return knownTail
    }
}

extension RingConsumer {
    /// The free-running number of the oldest entry that this side has not released, modulo 2^32.
    public var position: UInt32 { tail }

    /// Entries from ``position`` on that were seen in the ring: those that peek has reached and release may pass over.
    public var seen: Int { Int(knownHead &- tail) }
}
