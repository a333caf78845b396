import CPacketFSShims
import PacketFSGram
import PacketFSMemory
import PacketFSRing
import SystemPackage

/// The parent's end of one pcore's ring, with the stream of descriptors that goes into it. Used by one thread.
///
/// A class, because arrays hold no non-copyable elements and Swift 6.3.1 crashes when it compiles other ways to keep them for
/// the thread sanitizer. What changes is unchecked: exclusivity checks at run time took a sixth of the producer's time, and
/// a single thread that never calls back cannot break the rule.
final class Lane {
    private let region: SharedRegion
    @exclusivity(unchecked) private var ring: RingProducer
    private let generator: RandomDescriptors
    private let pcore: Int
    private let mix: ProgramMix
    private let seed: UInt64
    private let descriptorsPerRecord: Int
    /// What records of each program carry; nothing in a run with a fixed program.
    private let instructions: [[Instruction]]
    private let recordByteCounts: [Int]
    private let limit: UInt64
    private let lowWater: Int
    /// Whether the ring is being filled: from when it was found below the low-water mark until it is full.
    @exclusivity(unchecked) private var isFilling = true
    /// Records put into the ring so far.
    @exclusivity(unchecked) private(set) var produced: UInt64 = 0

    /// The descriptor that the pcore inherits to attach to the ring.
    var descriptor: FileDescriptor { region.fileDescriptor }

    /// Creates and formats the ring of `pcore` and attaches as its producer. Fewer than `lowWater` queued records have it
    /// filled up again.
    init(
        pcore: Int, geometry: RingGeometry, generator: RandomDescriptors, configuration: RunConfiguration, lowWater: Int
    ) throws {
        let region = try SharedRegion.create(byteCount: Int(geometry.regionByteCount), name: "pfs-ring")
        try Ring.format(region.base, byteCount: region.byteCount, geometry: geometry)
        let ring = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        self.region = region
        self.ring = ring
        self.generator = generator
        self.pcore = pcore
        mix = configuration.mix
        seed = configuration.seed
        descriptorsPerRecord = configuration.descriptorsPerRecord
        limit = configuration.recordsPerPCore ?? .max
        instructions = mix.entries.map { configuration.carriesProgram ? $0.program.instructions : [] }
        recordByteCounts = instructions.map { [descriptorsPerRecord] in
            RecordFormat.byteCount(descriptors: descriptorsPerRecord, instructions: $0.count)
        }
        self.lowWater = lowWater
    }

    /// Whether every record has been produced.
    var isFinished: Bool { produced == limit }

    /// Fills the ring with up to `count` records, and wakes the pcore if it sleeps.
    ///
    /// A ring above the low-water mark is left alone: following a pcore record by record would keep the producer, and the
    /// cache lines of the indices, busy for nothing.
    /// - Returns: how many.
    func produce(atMost count: Int) throws(RingError) -> Int {
        if !isFilling {
            guard ring.count < lowWater else { return 0 }
            isFilling = true
        }
        var made = 0
        while made < count, produced < limit {
            let program = mix.choose(seed: seed, pcore: pcore, record: produced)
            guard let memory = try ring.reserve(byteCount: recordByteCounts[program]) else {
                isFilling = false
                break
            }
            // The pcore has the slab's lines, having read them: ask for the next record's while this one is generated.
            pfs_prefetch_to_write(memory.baseAddress! + memory.count, memory.count)
            let table = RecordEncoder.begin(
                in: memory, descriptorCount: descriptorsPerRecord, instructions: instructions[program])
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
