import Glibc
import PacketFSGram
import PacketFSPCPU
import PacketFSProcess

/// Applies records to the blob and adds up what they yield.
package struct TotalsExecutor: ~Copyable, RecordExecutor {
    private var work: RecordTotals
    private let block: PCoreBlock
    package let batch = PCoreWorker.batch
    package var usualRecordByteCount: Int { work.usualRecordByteCount }
    private var sleeps: UInt64

    /// Continues from the counters in `block`: zeros, or those of a predecessor that was killed.
    package init(
        mix: ProgramMix, isa: ISA, block: PCoreBlock, _ parameters: RunParameters, carriesProgram: Bool,
        blob: UnsafeMutableRawBufferPointer
    ) {
        work = RecordTotals(
            mix: mix, carriesProgram: carriesProgram,
            descriptorsPerRecord: Int(parameters.descriptorsPerRecord), isa: isa, blob: blob)
        let counted = block.latest
        for index in work.totals.indices { work.totals[index] = counted[total: index] }
        work.records = counted[.records]
        work.descriptors = counted[.descriptors]
        work.bytes = counted[.bytes]
        work.operationBytes = counted[.operationBytes]
        work.rejected = counted[.rejectedRecords]
        sleeps = counted[.sleeps]
        self.block = block
    }

    package mutating func execute(_ bytes: UnsafeRawBufferPointer, position: UInt32) { work.execute(bytes) }

    package mutating func slept() { sleeps += 1 }

    package mutating func publish(position: UInt32) {
        let snapshot = block.older
        snapshot[.records] = work.records
        snapshot[.descriptors] = work.descriptors
        snapshot[.bytes] = work.bytes
        snapshot[.operationBytes] = work.operationBytes
        snapshot[.rejectedRecords] = work.rejected
        snapshot[.sleeps] = sleeps
        for index in work.totals.indices { snapshot[total: index] = work.totals[index] }
        snapshot.position = position
        block.turn()
    }

    /// Executes the tables of `pool` over and over for the given time.
    mutating func runBaseline(_ pool: BaselinePool, _ nanoseconds: UInt64, control: borrowing ControlRegion) {
        let deadline = Clock.monotonic() + nanoseconds
        var next = 0
        while Clock.monotonic() < deadline,
            control.phaseWord.pointee.load(ordering: .relaxed) == RunPhase.running.rawValue
        {
            for _ in 0..<PCoreWorker.batch {
                let table = pool.tables[next]
                work.run(table.program, table.descriptors, byteCount: table.byteCount)
                next = next + 1 < pool.tables.count ? next + 1 : 0
            }
        }
        block.endNanoseconds = Clock.monotonic()
        publish(position: 0)
        block.state.pointee.store(PCoreState.done.rawValue, ordering: .releasing)
    }
}

/// Tables generated ahead, so that the baseline measures the kernels and not the generator: 2^18 descriptors.
///
/// Lives until the process ends.
package struct BaselinePool {
    package struct Table {
        package let program: Int
        package let descriptors: UnsafeBufferPointer<Descriptor>
        package let byteCount: UInt64
    }

    package let tables: [Table]

    package init(_ work: RandomParameters, descriptorsPerRecord each: Int, _ mix: ProgramMix) {
        let generator = RandomDescriptors(
            region: work.rangeStart..<work.rangeEnd, alignment: work.alignment,
            seed: work.seed, stream: UInt64.max)
        tables = (0..<max(1, (1 << 18) / each)).map { index in
            let table = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: each)
            generator.fill(table, from: UInt64(index * each))
            return Table(
                program: mix.choose(seed: work.seed, pcore: -1, record: UInt64(index)),
                descriptors: UnsafeBufferPointer(table), byteCount: table.reduce(0) { $0 + UInt64($1.length) })
        }
    }
}
