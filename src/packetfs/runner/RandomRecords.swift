import PacketFSGram
import PacketFSRing

/// The endless stream of records of one pcore in a measuring run: random descriptors in its region.
struct RandomRecords: RecordSource {
    private let generator: RandomDescriptors
    private let pcore: Int
    private let mix: ProgramMix
    private let seed: UInt64
    private let descriptorsPerRecord: Int
    /// What records of each program carry; nothing in a run with a fixed program.
    private let instructions: [[Instruction]]
    private let recordByteCounts: [Int]
    private let limit: UInt64
    /// Records made so far, and the program of the next one.
    private(set) var produced: UInt64 = 0
    private var program = 0

    init(pcore: Int, generator: RandomDescriptors, configuration: RunConfiguration) {
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
    }

    mutating func nextByteCount() -> Int? {
        guard produced < limit else { return nil }
        program = mix.choose(seed: seed, pcore: pcore, record: produced)
        return recordByteCounts[program]
    }

    mutating func write(into memory: UnsafeMutableRawBufferPointer, position: UInt32) {
        let table = RecordEncoder.begin(
            in: memory, descriptorCount: descriptorsPerRecord, instructions: instructions[program])
        generator.fill(table, from: produced &* UInt64(descriptorsPerRecord))
        produced += 1
    }

    /// Makes record `record` the next one.
    mutating func rewind(to record: UInt64) { produced = record }

    /// The sum of the lengths of a record's descriptors.
    func byteCount(of record: UInt64) -> UInt64 {
        let first = record &* UInt64(descriptorsPerRecord)
        return (0..<UInt64(descriptorsPerRecord)).reduce(0) { $0 + UInt64(generator[first &+ $1].length) }
    }
}
