import Glibc
import PacketFSGram
import PacketFSPCPU
import PacketFSTools

/// A program of the run in the forms that a pcore needs.
private struct LoadedProgram {
    let instructions: [Instruction]
    let plan: Plan
    let stepCount: UInt64
    let totals: UnsafeMutableBufferPointer<UInt64>
}

/// Applies records to the blob and adds up what they yield.
struct TotalsExecutor: ~Copyable, RecordExecutor {
    /// In memory of its own, because an array's elements would be retained for each record.
    private let programs: UnsafeMutableBufferPointer<LoadedProgram>
    private let carriesProgram: Bool
    private let block: PCoreBlock
    private let blob: UnsafeMutableRawBufferPointer
    private let scratch: UnsafeMutableBufferPointer<Descriptor>
    private let totals: UnsafeMutableBufferPointer<UInt64>
    let batch = PCoreWorker.batch
    let usualRecordByteCount: Int
    /// The program of the record before: most likely this one's too.
    private var current = 0
    private var records: UInt64
    private var descriptors: UInt64
    private var bytes: UInt64
    private var operationBytes: UInt64
    private var rejected: UInt64
    private var sleeps: UInt64

    /// Continues from the counters in `block`: zeros, or those of a predecessor that was killed.
    init(
        mix: ProgramMix, isa: ISA, block: PCoreBlock, parameters: RunParameters, blob: UnsafeMutableRawBufferPointer
    ) {
        let counted = block.latest
        let totals = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: mix.reducers.count)
        _ = totals.initialize(fromContentsOf: totals.indices.map { counted[total: $0] })
        programs = .allocate(capacity: mix.entries.count)
        _ = programs.initialize(
            fromContentsOf: zip(mix.entries, mix.totalsOffsets).map { entry, offset in
                let plan = Plan(entry.program, isa: isa)
                return LoadedProgram(
                    instructions: entry.program.instructions, plan: plan, stepCount: UInt64(entry.program.steps.count),
                    totals: UnsafeMutableBufferPointer(rebasing: totals[offset..<offset + plan.reducerCount]))
            })
        carriesProgram = parameters.carriesProgram
        self.totals = totals
        self.block = block
        self.blob = blob
        let capacity = Int(parameters.descriptorsPerRecord)
        scratch = .allocate(capacity: max(capacity, 1))
        usualRecordByteCount = RecordFormat.byteCount(
            descriptors: capacity, instructions: carriesProgram ? programs[0].instructions.count : 0)
        records = counted[.records]
        descriptors = counted[.descriptors]
        bytes = counted[.bytes]
        operationBytes = counted[.operationBytes]
        rejected = counted[.rejectedRecords]
        sleeps = counted[.sleeps]
    }

    deinit {
        scratch.deallocate()
        programs.deinitialize()
        programs.deallocate()
        totals.deallocate()
    }

    mutating func execute(_ bytes: UnsafeRawBufferPointer, position: UInt32) {
        guard let record = try? RecordView(validating: bytes), let program = program(of: record),
            record.descriptorCount <= scratch.count,
            let table = try? record.loadDescriptors(into: scratch, blobByteCount: blob.count)
        else {
            rejected += 1
            return
        }
        run(program, table.descriptors, byteCount: table.byteCount)
    }

    mutating func slept() { sleeps += 1 }

    /// Which of the run's programs a record is for: the one that it carries, or the only one where records carry none.
    private func program(of record: RecordView) -> Int? {
        guard carriesProgram else { return record.instructionCount == 0 ? 0 : nil }
        if record.carries(programs[current].instructions) { return current }
        return programs.firstIndex { record.carries($0.instructions) }
    }

    private mutating func run(_ program: Int, _ table: UnsafeBufferPointer<Descriptor>, byteCount: UInt64) {
        guard let base = blob.baseAddress else { return }
        current = program
        programs[program].plan.execute(on: base, descriptors: table, totals: programs[program].totals)
        records += 1
        descriptors += UInt64(table.count)
        bytes += byteCount
        operationBytes += byteCount &* programs[program].stepCount
    }

    mutating func publish(position: UInt32) {
        let snapshot = block.older
        snapshot[.records] = records
        snapshot[.descriptors] = descriptors
        snapshot[.bytes] = bytes
        snapshot[.operationBytes] = operationBytes
        snapshot[.rejectedRecords] = rejected
        snapshot[.sleeps] = sleeps
        for index in totals.indices { snapshot[total: index] = totals[index] }
        snapshot.position = position
        block.turn()
    }

    /// Executes the tables of `pool` over and over for the given time.
    mutating func runBaseline(_ pool: BaselinePool, _ parameters: RunParameters, control: borrowing ControlRegion) {
        let deadline = Clock.monotonic() + parameters.baselineNanoseconds
        var next = 0
        while Clock.monotonic() < deadline,
            control.phaseWord.pointee.load(ordering: .relaxed) == RunPhase.running.rawValue
        {
            for _ in 0..<PCoreWorker.batch {
                let table = pool.tables[next]
                run(table.program, table.descriptors, byteCount: table.byteCount)
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
struct BaselinePool {
    struct Table {
        let program: Int
        let descriptors: UnsafeBufferPointer<Descriptor>
        let byteCount: UInt64
    }

    let tables: [Table]

    init(_ parameters: RunParameters, _ mix: ProgramMix) {
        let each = Int(parameters.descriptorsPerRecord)
        let generator = RandomDescriptors(
            region: parameters.rangeStart..<parameters.rangeEnd, alignment: parameters.alignment,
            seed: parameters.seed, stream: UInt64.max)
        tables = (0..<max(1, (1 << 18) / each)).map { index in
            let table = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: each)
            generator.fill(table, from: UInt64(index * each))
            return Table(
                program: mix.choose(seed: parameters.seed, pcore: -1, record: UInt64(index)),
                descriptors: UnsafeBufferPointer(table), byteCount: table.reduce(0) { $0 + UInt64($1.length) })
        }
    }
}
