import PacketFSGram
import PacketFSPCPU

/// A program in the forms that whoever executes records needs.
private struct LoadedProgram {
    let instructions: [Instruction]
    let plan: Plan
    let stepCount: UInt64
    let totals: UnsafeMutableBufferPointer<UInt64>
}

/// Checks records, applies them to the blob and adds up what they yield.
///
/// Of a record only its program, if it is one of those announced, and descriptors that were copied out of shared memory and
/// checked there are used.
package struct TotalsExecutor: ~Copyable, RecordExecutor {
    /// In memory of its own, because an array's elements would be retained for each record.
    private let programs: UnsafeMutableBufferPointer<LoadedProgram>
    private let carriesProgram: Bool
    private let blob: UnsafeMutableRawBufferPointer
    private let scratch: UnsafeMutableBufferPointer<Descriptor>
    /// One wrapping sum per yielding operation, in the order of ``ProgramMix/reducers``.
    package let totals: UnsafeMutableBufferPointer<UInt64>
    /// Bytes of a usual record: how much of one is worth fetching ahead.
    package let usualRecordByteCount: Int
    /// The program of the record before: most likely this one's too.
    private var current = 0
    package var tally = Tally()
    let batch = PCoreWorker.batch

    /// Starts from nothing.
    ///
    /// - Parameters:
    ///   - mix: the programs that records may have.
    ///   - carriesProgram: whether they say which.
    ///   - descriptorsPerRecord: records with more descriptors are refused.
    ///   - blob: what descriptors point into; must outlive this value.
    package init(
        mix: ProgramMix, carriesProgram: Bool, descriptorsPerRecord: Int, isa: ISA, blob: UnsafeMutableRawBufferPointer
    ) {
        let totals = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: mix.reducers.count)
        totals.initialize(repeating: 0)
        programs = .allocate(capacity: mix.entries.count)
        _ = programs.initialize(
            fromContentsOf: zip(mix.entries, mix.totalsOffsets).map { entry, offset in
                let plan = Plan(entry.program, isa: isa)
                return LoadedProgram(
                    instructions: entry.program.instructions, plan: plan, stepCount: UInt64(entry.program.steps.count),
                    totals: UnsafeMutableBufferPointer(rebasing: totals[offset..<offset + plan.reducerCount]))
            })
        self.carriesProgram = carriesProgram
        self.totals = totals
        self.blob = blob
        scratch = .allocate(capacity: max(descriptorsPerRecord, 1))
        usualRecordByteCount = RecordFormat.byteCount(
            descriptors: descriptorsPerRecord, instructions: carriesProgram ? programs[0].instructions.count : 0)
    }

    deinit {
        scratch.deallocate()
        programs.deinitialize()
        programs.deallocate()
        totals.deallocate()
    }

    /// Continues from what a predecessor that was killed has counted.
    mutating func resume(from snapshot: PCoreBlock.Snapshot) {
        tally = snapshot.tally
        for index in totals.indices { totals[index] = snapshot[total: index] }
    }

    func storeTotals(to snapshot: PCoreBlock.Snapshot) {
        for index in totals.indices { snapshot[total: index] = totals[index] }
    }

    package mutating func execute(_ bytes: UnsafeRawBufferPointer, position: UInt32 = 0) {
        guard let record = try? RecordView(validating: bytes), let program = program(of: record),
            record.descriptorCount <= scratch.count,
            let table = try? record.loadDescriptors(into: scratch, blobByteCount: blob.count)
        else {
            tally.rejectedRecords += 1
            return
        }
        run(program, table.descriptors, byteCount: table.byteCount)
    }

    /// Which of the programs a record is for: the one that it carries, or the only one where records carry none.
    private func program(of record: RecordView) -> Int? {
        guard carriesProgram else { return record.instructionCount == 0 ? 0 : nil }
        if record.carries(programs[current].instructions) { return current }
        return programs.firstIndex { record.carries($0.instructions) }
    }

    /// Applies a program to descriptors that have been checked, and counts that as a record.
    mutating func run(_ program: Int, _ table: UnsafeBufferPointer<Descriptor>, byteCount: UInt64) {
        guard let base = blob.baseAddress else { return }
        current = program
        programs[program].plan.execute(on: base, descriptors: table, totals: programs[program].totals)
        tally.count(descriptors: table.count, bytes: byteCount, operations: programs[program].stepCount)
    }
}
