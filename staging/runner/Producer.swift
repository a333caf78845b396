import PacketFSGram
import PacketFSMemory
import PacketFSRing
import SystemPackage

/// The parent's end of one pcore's ring, with the stream of descriptors that goes into it. Used by one thread.
struct Lane: ~Copyable {
    private let region: SharedRegion
    private var ring: RingProducer
    private let generator: RandomDescriptors
    private let recordByteCount: Int
    private let descriptorsPerRecord: Int
    private let limit: UInt64
    private let lowWater: Int
    /// Whether the ring is being filled: from when it was found below the low-water mark until it is full.
    private var isFilling = true
    /// Records put into the ring so far.
    private(set) var produced: UInt64 = 0

    /// The descriptor that the pcore inherits to attach to the ring.
    var descriptor: FileDescriptor { region.fileDescriptor }

    /// Creates and formats the ring and attaches as its producer. `limit` is the most records it will ever produce,
    /// `lowWater` the number of queued ones below which it is filled up again.
    init(
        geometry: RingGeometry, generator: RandomDescriptors, descriptorsPerRecord: Int, limit: UInt64, lowWater: Int
    ) throws {
        let region = try SharedRegion.create(byteCount: Int(geometry.regionByteCount), name: "pfs-ring")
        try Ring.format(region.base, byteCount: region.byteCount, geometry: geometry)
        let ring = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        self.region = region
        self.ring = ring
        self.generator = generator
        self.descriptorsPerRecord = descriptorsPerRecord
        self.limit = limit
        self.lowWater = lowWater
        recordByteCount = RecordFormat.byteCount(descriptors: descriptorsPerRecord)
    }

    /// Whether every record has been produced.
    var isFinished: Bool { produced == limit }

    /// Fills the ring with up to `count` records, and wakes the pcore if it sleeps.
    ///
    /// A ring above the low-water mark is left alone: following a pcore record by record would keep the producer, and the
    /// cache lines of the indices, busy for nothing.
    /// - Returns: how many.
    mutating func produce(atMost count: Int) throws(RingError) -> Int {
        if !isFilling {
            guard ring.count < lowWater else { return 0 }
            isFilling = true
        }
        var made = 0
        while made < count, produced < limit {
            guard let memory = try ring.reserve(byteCount: recordByteCount) else {
                isFilling = false
                break
            }
            let table = RecordEncoder.begin(in: memory, descriptorCount: descriptorsPerRecord)
            generator.fill(table, from: produced &* UInt64(descriptorsPerRecord))
            ring.commit()
            produced += 1
            made += 1
        }
        if made > 0 { ring.notifyConsumer() }
        return made
    }

    /// Wakes the pcore so that it looks at the phase.
    func wake() { ring.notifyConsumer() }
}
