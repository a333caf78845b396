import PacketFSGram
import PacketFSRing

/// The endless stream of records of one pcore in a measuring run: random descriptors in its region.
package struct RandomRecords: RecordSource {
    private let generator: RandomDescriptors
    private let pcore: Int
    private let mix: ProgramMix
    private let seed: UInt64
    private let descriptorsPerRecord: Int
    /// What records of each program carry; nothing in a run with a fixed program.
    private let instructions: [[Instruction]]
    private let recordByteCounts: [Int]
    private let limit: UInt64
    private let countsBytes: Bool
    /// Records made so far.
    package private(set) var produced: UInt64 = 0
    /// Payload bytes of the records made so far, if they are counted.
    package private(set) var bytes: UInt64 = 0
    /// The program of the next record.
    private var program = 0

    /// The records of pcore `pcore`, whose descriptors lie in `region`. Their bytes are added up if `countsBytes`.
    package init(_ work: RandomWork, pcore: Int, region: Range<UInt64>, countsBytes: Bool = false) {
        generator = work.descriptors(of: pcore, in: region)
        self.countsBytes = countsBytes
        self.pcore = pcore
        mix = work.mix
        seed = work.seed
        descriptorsPerRecord = work.descriptorsPerRecord
        limit = work.recordsPerPCore ?? .max
        instructions = mix.entries.map { work.carriesProgram ? $0.program.instructions : [] }
        recordByteCounts = instructions.map { [descriptorsPerRecord] in
            RecordFormat.byteCount(descriptors: descriptorsPerRecord, instructions: $0.count)
        }
    }

    package mutating func nextByteCount() -> Int? {
        guard produced < limit else { return nil }
        program = mix.choose(seed: seed, pcore: pcore, record: produced)
        return recordByteCounts[program]
    }

    package mutating func write(into memory: UnsafeMutableRawBufferPointer, position: UInt32) {
        let table = RecordEncoder.begin(
            in: memory, descriptorCount: descriptorsPerRecord, instructions: instructions[program])
        generator.fill(table, from: produced &* UInt64(descriptorsPerRecord))
        produced += 1
        guard countsBytes else { return }
        // What the consumer may do to the table meanwhile would only make this figure wrong.
        var sum: UInt64 = 0
        for descriptor in table { sum &+= UInt64(descriptor.length) }
        bytes &+= sum
    }

    /// Makes record `record` the next one: those from it on count as not made.
    package mutating func rewind(to record: UInt64) {
        if countsBytes {
            for undone in record..<max(record, produced) { bytes &-= byteCount(of: undone) }
        }
        produced = record
    }

    /// The sum of the lengths of a record's descriptors.
    private func byteCount(of record: UInt64) -> UInt64 {
        let first = record &* UInt64(descriptorsPerRecord)
        return (0..<UInt64(descriptorsPerRecord)).reduce(0) { $0 + UInt64(generator[first &+ $1].length) }
    }
}
