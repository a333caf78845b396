import PacketFSGram
import PacketFSMemory
import PacketFSRing
import SystemPackage

/// The parent's end of one pcore's ring, with the stream of descriptors that goes into it.
///
/// A class only because an array cannot hold non-copyable elements; used by one thread.
final class Lane {
    private let region: SharedRegion
    private var ring: RingProducer
    private let generator: RandomDescriptors
    private let recordByteCount: Int
    private let descriptorsPerRecord: Int
    private let limit: UInt64
    /// Records put into the ring so far.
    private(set) var produced: UInt64 = 0

    /// The descriptor that the pcore inherits to attach to the ring.
    var descriptor: FileDescriptor { region.fileDescriptor }

    /// Creates and formats the ring and attaches as its producer. `limit` is the most records it will ever produce.
    init(
        geometry: RingGeometry, generator: RandomDescriptors, descriptorsPerRecord: Int, limit: UInt64
    ) throws {
        region = try SharedRegion.create(byteCount: Int(geometry.regionByteCount), name: "pfs-ring")
        try Ring.format(region.base, byteCount: region.byteCount, geometry: geometry)
        ring = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        self.generator = generator
        self.descriptorsPerRecord = descriptorsPerRecord
        self.limit = limit
        recordByteCount = RecordFormat.byteCount(descriptors: descriptorsPerRecord)
    }

    /// Whether every record has been produced.
    var isFinished: Bool { produced == limit }

    /// Produces up to `count` records, as many as ring and slab have room for, and wakes the pcore if it sleeps.
    ///
    /// - Returns: how many.
    func produce(atMost count: Int) throws(RingError) -> Int {
        var made = 0
        while made < count, produced < limit, let memory = try ring.reserve(byteCount: recordByteCount) {
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
