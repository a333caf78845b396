import CPacketFSShims
import PacketFSMemory
import PacketFSProcess
import PacketFSRing
import SystemPackage

/// Where the records of one pcore come from.
package protocol RecordSource {
    /// Bytes of the next record, or nil if there is none now.
    mutating func nextByteCount() -> Int?
    /// Writes that record to the start of `memory`; it becomes entry `position` of the ring.
    mutating func write(into memory: UnsafeMutableRawBufferPointer, position: UInt32)
}

extension RingFeed where Source == RandomRecords {
    /// ``produce(atMost:)``, compiled for random records also where another module calls it.
    package func fill(atMost count: Int) throws(RingError) -> Int { try produce(atMost: count) }
}

/// The parent's end of one pcore's ring, with the source of what goes into it. Used by one thread.
///
/// A class, because arrays hold no non-copyable elements and Swift 6.3.1 crashes when it compiles other ways to keep them for
/// the thread sanitizer. What changes is unchecked: exclusivity checks at run time took a sixth of the producer's time, and
/// a single thread that never calls back cannot break the rule.
package final class RingFeed<Source: RecordSource> {
    private let region: SharedRegion
    @exclusivity(unchecked) private var ring: RingProducer
    @exclusivity(unchecked) package var source: Source
    private let lowWater: Int
    /// Whether the ring is being filled: from when it was found below the low-water mark until it is full.
    @exclusivity(unchecked) private var isFilling = true
    #if DEBUG
        @exclusivity(unchecked) private var hold: TestHold?
    #endif

    /// The descriptor that the pcore inherits to attach to the ring.
    package var descriptor: FileDescriptor { region.fileDescriptor }

    /// Creates a ring and attaches as its producer. Fewer than `lowWater` queued records have it filled up again.
    package convenience init(geometry: RingGeometry, source: Source, lowWater: Int, numa: NUMAPolicy) throws {
        let region = try SharedRegion.create(
            byteCount: Int(geometry.regionByteCount), name: "pfs-ring", numa: numa)
        try Ring.create(at: region.base, byteCount: region.byteCount, geometry: geometry)
        let ring = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        try self.init(region: region, ring: ring, source: source, lowWater: lowWater)
    }

    /// Takes over a ring in which the producer's role is attached already.
    package init(
        region: consuming SharedRegion, ring: consuming RingProducer, source: Source, lowWater: Int
    ) throws(EngineError) {
        self.region = region
        self.ring = ring
        self.source = source
        self.lowWater = lowWater
        #if DEBUG
            hold = try TestHold.fromEnvironment()
        #endif
    }

    /// Fills the ring with up to `count` records, and wakes the pcore if it sleeps.
    ///
    /// A ring above the low-water mark is left alone: following a pcore record by record would keep the producer, and the
    /// cache lines of the indices, busy for nothing.
    /// - Returns: how many.
    package func produce(atMost count: Int) throws(RingError) -> Int {
        #if DEBUG
            let count = hold?.allowed(of: count) ?? count
        #endif
        if !isFilling {
            guard ring.count < lowWater else { return 0 }
            isFilling = true
        }
        var made = 0
        while made < count, let byteCount = source.nextByteCount() {
            guard let memory = try ring.reserve(byteCount: byteCount) else {
                isFilling = false
                break
            }
            // The pcore has the slab's lines, having read them: ask for the next record's while this one is generated.
            pfs_prefetch_to_write(memory.baseAddress! + memory.count, memory.count)
            source.write(into: memory, position: ring.position)
            ring.commit()
            made += 1
        }
        if made > 0 { ring.notifyConsumer() }
        #if DEBUG
            hold?.count(made)
        #endif
        return made
    }

    /// Wakes the pcore so that it looks at the phase.
    package func wake() { ring.notifyConsumer() }

    /// The entries that the pcore has not released, as it looks now: the first one's number and how many there are.
    package func unreleased() throws(RingError) -> (position: UInt32, count: Int) {
        let released = try ring.releasedPosition()
        return (released, Int(ring.position &- released))
    }

    /// Publishes a record that does not come from the source, and wakes the consumer. Nil if there is no room now.
    /// - Returns: the record's bytes and its entry's number. They stay readable until the next record goes into the ring.
    package func insert(
        byteCount: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void
    ) throws(RingError) -> (record: UnsafeRawBufferPointer, position: UInt32)? {
        guard let memory = try ring.reserve(byteCount: byteCount) else { return nil }
        write(memory)
        let position = ring.position
        ring.commit()
        ring.notifyConsumer()
        return (UnsafeRawBufferPointer(memory), position)
    }

    /// Waits until the consumer has brought the ring below the low-water mark; see ``RingProducer/waitForRelease(below:spins:timeout:)``.
    package func waitForLowWater(timeout: Duration) throws(RingError) {
        _ = try ring.waitForRelease(below: lowWater, timeout: timeout)
    }

    /// Waits until the consumer has released everything.
    package func waitUntilEmpty(timeout: Duration) throws(RingError) {
        _ = try ring.waitForRelease(below: 1, timeout: timeout)
    }

    /// Waits until what ``insert(byteCount:_:)`` found no room for would fit.
    package func waitForSpace(timeout: Duration) throws(RingError) {
        _ = try ring.waitForSpace(timeout: timeout)
    }
}
