import PacketFSGram

/// The records of a stream, with the sum of their bytes.
struct StreamRecords: RecordSource {
    private var records: RandomRecords
    private let instructionCount: Int
    private let descriptorsPerRecord: Int
    /// No record comes while this is false.
    var isOpen = false
    /// Payload bytes of the records made so far.
    private(set) var bytes: UInt64 = 0

    /// No records yet: what takes its place knows the range.
    init(_ configuration: RunConfiguration) {
        self.init(
            generator: RandomDescriptors(region: 0..<1, alignment: 1, seed: 0, stream: 0), configuration: configuration)
    }

    /// Random descriptors, as they are drawn for pcore 0.
    init(generator: RandomDescriptors, configuration: RunConfiguration) {
        records = RandomRecords(pcore: 0, generator: generator, configuration: configuration)
        instructionCount = configuration.mix.entries[0].program.steps.count
        descriptorsPerRecord = configuration.descriptorsPerRecord
    }

    /// Records made so far.
    var produced: UInt64 { records.produced }

    mutating func nextByteCount() -> Int? { isOpen ? records.nextByteCount() : nil }

    mutating func write(into memory: UnsafeMutableRawBufferPointer, position: UInt32) {
        records.write(into: memory, position: position)
        // What the consumer may do to the table meanwhile would only make this figure wrong.
        let end = RecordFormat.byteCount(descriptors: descriptorsPerRecord, instructions: instructionCount)
        let start = end - descriptorsPerRecord * MemoryLayout<Descriptor>.stride
        let table = UnsafeRawBufferPointer(rebasing: memory[start..<end]).assumingMemoryBound(to: Descriptor.self)
        var sum: UInt64 = 0
        for descriptor in table { sum &+= UInt64(descriptor.length) }
        bytes &+= sum
    }

    /// Makes record `record` the next one: those from it on count as not made.
    mutating func rewind(to record: UInt64) {
        for undone in record..<max(record, produced) { bytes &-= records.byteCount(of: undone) }
        records.rewind(to: record)
    }
}
