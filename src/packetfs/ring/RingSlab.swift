import PacketFSUAPI
import Synchronization

// The slab holds the records of a ring, each contiguous and aligned to a unit of 64 bytes. A slot holds the number of its record's
// first unit.

/// The slab as the producer sees it: which units are free.
///
/// The records in the ring occupy the slab from the first unit of the oldest one up to `next`, around the end if need be. Where the
/// oldest one begins stands in its slot, which the producer wrote: no table beside the ring is needed, and a producer that took
/// over knows as much as its predecessor. The space of a record is free once tail has passed it [T2], and tail passes it only by
/// the consumer's release. A peer that overwrites the slot gets its own records overwritten; the value is checked, so that
/// nothing outside the slab is.
struct SlabAllocator {
    private let base: UnsafeMutableRawPointer
    /// Units in the slab; 0 in a ring of bare values.
    private let units: Int
    /// Where `next` is kept for a producer that takes over.
    private let nextWord: Word
    // The units [next, end) behind the last record are known to be free; there may be more.
    private(set) var next: Int
    private var end: Int
    /// The units of the record under construction.
    private var reserved: Range<Int>?

    /// Continues where the last producer stopped. Throws ``RingError/corrupt(reason:)``.
    init(_ region: RingRegion) throws(RingError) {
        base = region.slab
        units = region.slabUnits
        nextWord = Word(region.header, \.slab_next)
        next = Int(nextWord.pointee.load(ordering: .relaxed))
        end = next
        guard next < max(1, units) else {
            throw .corrupt(reason: "its slab continues at unit \(next), but ends at unit \(units)")
        }
    }

    /// Whether a record is under construction.
    var isReserved: Bool { reserved != nil }

    /// Units for a record of `byteCount` bytes: at least one, so that no two records in the ring share a position.
    ///
    /// Throws ``RingError/recordTooLarge(byteCount:slabByteCount:)``.
    func units(forByteCount byteCount: Int) throws(RingError) -> Int {
        let unit = Int(PFS_FP_SLAB_UNIT)
        guard byteCount <= units * unit, units > 0 else {
            throw .recordTooLarge(byteCount: byteCount, slabByteCount: units * unit)
        }
        return max(1, (byteCount + unit - 1) / unit)
    }

    /// Whether so many units are known to be free behind the last record.
    func fits(_ count: Int) -> Bool { count <= end - next }

    /// Where `count` units are free in the slab of a ring without records: all of it is, so that a record as large as the slab
    /// fits wherever the last one ended.
    mutating func startOver() -> Int {
        next = 0
        end = units
        return 0
    }

    /// Where `count` contiguous units are free, given the first unit of the oldest record; nil if nowhere.
    ///
    /// Throws ``RingError/corrupt(reason:)`` if there is no such unit.
    mutating func find(_ count: Int, oldest: UInt32) throws(RingError) -> Int? {
        let oldest = Int(oldest)
        guard oldest < units else {
            throw .corrupt(reason: "its oldest slot points to unit \(oldest) of a slab of \(units) units")
        }
        if oldest >= next {
            // Occupied: [oldest, units) and [0, next). Equal means full, as no record is empty.
            end = oldest
            return fits(count) ? next : nil
        }
        // Occupied: [oldest, next). What does not fit behind goes before, and the rest of the slab is skipped.
        end = units
        if fits(count) { return next }
        return count <= oldest ? 0 : nil
    }

    /// Begins a record of `count` units that ``find(_:oldest:)`` or ``startOver()`` found at `start`.
    mutating func reserve(_ count: Int, at start: Int) -> UnsafeMutableRawBufferPointer {
        reserved = start..<start + count
        let unit = Int(PFS_FP_SLAB_UNIT)
        return UnsafeMutableRawBufferPointer(start: base + start * unit, count: count * unit)
    }

    /// Ends the record under construction and returns its first unit. Model step P3: should this process die before it
    /// publishes the record (P4), the next producer leaves a gap, which is harmless.
    mutating func commit() -> UInt32 {
        guard let record = reserved else { preconditionFailure("there is no record to commit") }
        reserved = nil
        if record.lowerBound != next {
            // It went to the start of the slab; how much is free behind it is found out when it matters.
            end = record.upperBound
        }
        next = record.upperBound
        nextWord.pointee.store(next == units ? 0 : UInt32(truncatingIfNeeded: next), ordering: .relaxed)
        return UInt32(truncatingIfNeeded: record.lowerBound)
    }

    /// Gives the record under construction back.
    mutating func discard() { reserved = nil }
}

/// The slab as the consumer sees it: bytes to read.
struct SlabReader {
    private let base: UnsafeRawPointer
    private let units: Int

    init(_ region: RingRegion) {
        base = UnsafeRawPointer(region.slab)
        units = region.slabUnits
    }

    /// The bytes from unit `position`, which came out of the slot of `entry`, to the end of the slab.
    ///
    /// Throws ``RingError/corrupt(reason:)`` if there is no such unit.
    func record(at position: UInt32, of entry: UInt32) throws(RingError) -> UnsafeRawBufferPointer {
        let position = Int(position)
        guard position < units else {
            throw .corrupt(reason: "entry \(entry) points to unit \(position) of a slab of \(units) units")
        }
        let unit = Int(PFS_FP_SLAB_UNIT)
        return UnsafeRawBufferPointer(start: base + position * unit, count: (units - position) * unit)
    }
}
