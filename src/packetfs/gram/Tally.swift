import Synchronization

/// Counts of completed work: what every process, pcore and stream counts, adds up and reports.
public struct Tally: Sendable, Hashable {
    /// Records executed.
    public var records: UInt64 = 0
    /// Descriptors of those records.
    public var descriptors: UInt64 = 0
    /// Payload bytes: the sum of the descriptors' lengths.
    public var bytes: UInt64 = 0
    /// Payload bytes times the operations of the program that was applied to them.
    public var operationBytes: UInt64 = 0
    /// Records refused because they or their descriptors were damaged or out of bounds.
    public var rejectedRecords: UInt64 = 0
    /// How often there was nothing to do and the process slept.
    public var sleeps: UInt64 = 0

    /// Nothing yet.
    public init() {}

    /// Counts a record that was executed.
    @inlinable
    public mutating func count(descriptors: Int, bytes: UInt64, operations: UInt64) {
        records &+= 1
        self.descriptors &+= UInt64(descriptors)
        self.bytes &+= bytes
        operationBytes &+= bytes &* operations
    }

    /// The sum; wraps.
    public static func + (one: Tally, other: Tally) -> Tally { zip(one, other) { $0 &+ $1 } }
    /// Adds; wraps.
    public static func += (one: inout Tally, other: Tally) { one = one + other }
    /// What was done between `earlier` and this, for rates. No count goes below 0: a replaced process counts again what its predecessor
    /// had not finished.
    public func since(_ earlier: Tally) -> Tally { Tally.zip(self, earlier) { $0 > $1 ? $0 - $1 : 0 } }

    private static func zip(_ one: Tally, _ other: Tally, _ join: (UInt64, UInt64) -> UInt64) -> Tally {
        var result = Tally()
        result.records = join(one.records, other.records)
        result.descriptors = join(one.descriptors, other.descriptors)
        result.bytes = join(one.bytes, other.bytes)
        result.operationBytes = join(one.operationBytes, other.operationBytes)
        result.rejectedRecords = join(one.rejectedRecords, other.rejectedRecords)
        result.sleeps = join(one.sleeps, other.sleeps)
        return result
    }
}

// Shared memory: 64-bit words in native byte order, each read and written whole with relaxed ordering. Several of them are
// consistent only if the caller orders them, as PCoreBlock's snapshots do.
extension Tally {
    /// Bytes of a tally in shared memory.
    public static let byteCount = 48

    /// Reads a tally from `memory`, aligned to 8 bytes.
    public init(loadingFrom memory: UnsafeMutableRawPointer) {
        let words = Self.words(memory)
        records = words[0].load(ordering: .relaxed)
        descriptors = words[1].load(ordering: .relaxed)
        bytes = words[2].load(ordering: .relaxed)
        operationBytes = words[3].load(ordering: .relaxed)
        rejectedRecords = words[4].load(ordering: .relaxed)
        sleeps = words[5].load(ordering: .relaxed)
    }

    /// Writes the tally to `memory`, aligned to 8 bytes.
    public func store(to memory: UnsafeMutableRawPointer) {
        let words = Self.words(memory)
        words[0].store(records, ordering: .relaxed)
        words[1].store(descriptors, ordering: .relaxed)
        words[2].store(bytes, ordering: .relaxed)
        words[3].store(operationBytes, ordering: .relaxed)
        words[4].store(rejectedRecords, ordering: .relaxed)
        words[5].store(sleeps, ordering: .relaxed)
    }

    private static func words(_ memory: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt64>> {
        memory.assumingMemoryBound(to: Atomic<UInt64>.self)
    }
}
