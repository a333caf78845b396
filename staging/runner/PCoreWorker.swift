import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing
import Synchronization
import SystemPackage

/// The other half of the runner: what a pcore process does.
///
/// The same executable is started again with ``marker`` as its first argument; ``runIfAsked()`` then takes over.
public enum PCoreWorker {
    /// First argument of a pcore process.
    static let marker = "__pcore"
    /// Records executed between two looks at the phase and updates of the counters.
    static let batch = 8
    /// How long a pcore without work sleeps at most. The parent wakes it for work and for the end of the run, and the kernel
    /// for the parent's death; 256 pcores that look by themselves every few milliseconds cost a sixth of the machine.
    static let nap = Duration.seconds(1)

    /// The arguments of pcore `index`; `baseline` makes it measure alone, without a ring.
    static func arguments(
        index: Int, cpu: Int, blob: FileDescriptor, control: FileDescriptor, ring: FileDescriptor?
    ) -> [String] {
        [marker, "\(index)", "\(cpu)", "\(blob.rawValue)", "\(control.rawValue)", "\(ring?.rawValue ?? -1)"]
    }

    /// Returns at once in an ordinary start; in a pcore process runs it to its end and exits.
    public static func runIfAsked() {
        guard CommandLine.arguments.count == 7, CommandLine.arguments[1] == marker else { return }
        let numbers = CommandLine.arguments.dropFirst(2).compactMap { Int32($0) }
        guard numbers.count == 5 else { exit(ToolExit.usage.rawValue) }
        do {
            try run(
                index: Int(numbers[0]), cpu: Int(numbers[1]), blob: FileDescriptor(rawValue: numbers[2]),
                control: FileDescriptor(rawValue: numbers[3]),
                ring: numbers[4] < 0 ? nil : FileDescriptor(rawValue: numbers[4]))
            exit(0)
        } catch {
            FileDescriptor.standardError.writeLine("pcore \(numbers[0]): \(error)")
            exit(ToolExit.system.rawValue)
        }
    }

    private static func run(
        index: Int, cpu: Int, blob blobDescriptor: FileDescriptor, control controlDescriptor: FileDescriptor,
        ring ringDescriptor: FileDescriptor?
    ) throws {
        try dieWithParent(reports: index == 0)
        let control = try ControlRegion(adopting: controlDescriptor)
        let parameters = control.parameters
        // The parent may have died before the request above; then nobody is left to give work.
        guard getppid() == parameters.parentPID else { exit(ToolExit.system.rawValue) }
        try CPUs.pin(to: [cpu])
        _ = pfs_set_process_name("pfs-pcore-\(index)")
        let blob = try HugeBlob.adopt(blobDescriptor, byteCount: Int(parameters.blobByteCount))
        var engine = Engine(
            mix: control.mix, isa: try Kernels.selected(), block: control.block(index), parameters: parameters)
        if let ringDescriptor {
            let region = try SharedRegion.map(ringDescriptor)
            var ring = try RingConsumer(
                attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
            guard awaitStart(control, index) else { return }
            try blob.withUnsafeMutableBytes { try engine.consume(&ring, blob: $0, control: control) }
        } else {
            let pool = BaselinePool(parameters, control.mix)
            guard awaitStart(control, index) else { return }
            blob.withUnsafeMutableBytes { engine.runBaseline(pool, parameters, blob: $0, control: control) }
        }
    }

    /// Has the kernel end this process when its parent dies, however that happens.
    ///
    /// SIGKILL is the surest way. Pcore 0 asks for a signal that it handles instead, so that one line says why the run ended.
    private static func dieWithParent(reports: Bool) throws(ToolError) {
        if reports {
            signal(SIGUSR1) { _ in
                let text: StaticString = "pfs: the parent process was killed; all pcores of its run have ended\n"
                write(2, text.utf8Start, text.utf8CodeUnitCount)
                _exit(ToolExit.system.rawValue)
            }
        }
        guard pfs_set_parent_death_signal(reports ? SIGUSR1 : SIGKILL) == 0 else {
            throw ToolError(.system, "prctl(PR_SET_PDEATHSIG) failed: \(Errno(rawValue: errno))")
        }
    }

    /// Reports ready and sleeps until the parent starts or abandons the run. Whether to run.
    private static func awaitStart(_ control: borrowing ControlRegion, _ index: Int) -> Bool {
        control.block(index).state.pointee.store(PCoreState.ready.rawValue, ordering: .releasing)
        control.doorbell.ring()
        let word = control.phaseWord
        while true {
            let phase = word.pointee.load(ordering: .acquiring)
            if phase != RunPhase.setup.rawValue { return phase == RunPhase.running.rawValue }
            UnsafeMutableRawPointer(word).withMemoryRebound(to: UInt32.self, capacity: 1) {
                _ = pfs_futex_wait($0, RunPhase.setup.rawValue, 100_000_000)
            }
        }
    }
}

/// A program of the run in the forms that a pcore needs.
private struct LoadedProgram {
    let instructions: [Instruction]
    let plan: Plan
    let stepCount: UInt64
    let totals: UnsafeMutableBufferPointer<UInt64>
}

/// Executes records and keeps a pcore's counters.
private struct Engine: ~Copyable {
    private let programs: [LoadedProgram]
    private let carriesProgram: Bool
    private let block: PCoreBlock
    private let scratch: UnsafeMutableBufferPointer<Descriptor>
    private let totals: UnsafeMutableBufferPointer<UInt64>
    private let recordByteCount: Int
    /// The program of the record before: most likely this one's too.
    private var current = 0
    private var records: UInt64 = 0
    private var descriptors: UInt64 = 0
    private var bytes: UInt64 = 0
    private var operationBytes: UInt64 = 0
    private var rejected: UInt64 = 0
    private var sleeps: UInt64 = 0

    init(mix: ProgramMix, isa: ISA, block: PCoreBlock, parameters: RunParameters) {
        let totals = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: mix.reducers.count)
        totals.initialize(repeating: 0)
        programs = zip(mix.entries, mix.totalsOffsets).map { entry, offset in
            let plan = Plan(entry.program, isa: isa)
            return LoadedProgram(
                instructions: entry.program.instructions, plan: plan, stepCount: UInt64(entry.program.steps.count),
                totals: UnsafeMutableBufferPointer(rebasing: totals[offset..<offset + plan.reducerCount]))
        }
        carriesProgram = parameters.carriesProgram
        self.totals = totals
        self.block = block
        let capacity = Int(parameters.descriptorsPerRecord)
        scratch = .allocate(capacity: max(capacity, 1))
        recordByteCount = RecordFormat.byteCount(
            descriptors: capacity, instructions: carriesProgram ? programs[0].instructions.count : 0)
    }

    deinit {
        scratch.deallocate()
        totals.deallocate()
    }

    mutating func consume(
        _ ring: inout RingConsumer, blob: UnsafeMutableRawBufferPointer, control: borrowing ControlRegion
    ) throws {
        let phase = control.phaseWord
        let doorbell = control.doorbell
        let lowWater = Int(control.parameters.lowWater)
        let cpuAtStart = Clock.processCPU()
        while phase.pointee.load(ordering: .relaxed) == RunPhase.running.rawValue {
            var taken = 0
            var next = try ring.peek()
            while let bytes = next {
                taken += 1
                next = taken < PCoreWorker.batch ? try ring.peek(ahead: taken) : nil
                // The producer wrote it on another CPU: fetched while this record runs, it is here when its turn comes.
                if let next { pfs_prefetch(next.baseAddress, min(next.count, recordByteCount)) }
                execute(bytes, on: blob)
            }
            guard taken > 0 else {
                sleeps += 1
                _ = try ring.waitForRecords(timeout: PCoreWorker.nap) {
                    phase.pointee.load(ordering: .relaxed) != RunPhase.running.rawValue
                }
                continue
            }
            publish()
            ring.release(taken)
            if ring.count < lowWater { doorbell.ring() }
        }
        finish(cpuAtStart: cpuAtStart)
    }

    /// Checks one record, executes it, or counts it as rejected: a record is executed whole or not at all.
    private mutating func execute(_ bytes: UnsafeRawBufferPointer, on blob: UnsafeMutableRawBufferPointer) {
        guard let record = try? RecordView(validating: bytes), let program = program(of: record),
            record.descriptorCount <= scratch.count,
            let table = try? record.loadDescriptors(into: scratch, blobByteCount: blob.count)
        else {
            rejected += 1
            return
        }
        run(program, table.descriptors, byteCount: table.byteCount, on: blob.baseAddress!)
    }

    /// Which of the run's programs a record is for: the one that it carries, or the only one where records carry none.
    private func program(of record: RecordView) -> Int? {
        guard carriesProgram else { return record.instructionCount == 0 ? 0 : nil }
        if record.carries(programs[current].instructions) { return current }
        return programs.firstIndex { record.carries($0.instructions) }
    }

    private mutating func run(
        _ program: Int, _ table: UnsafeBufferPointer<Descriptor>, byteCount: UInt64, on base: UnsafeMutableRawPointer
    ) {
        current = program
        programs[program].plan.execute(on: base, descriptors: table, totals: programs[program].totals)
        records += 1
        descriptors += UInt64(table.count)
        bytes += byteCount
        operationBytes += byteCount &* programs[program].stepCount
    }

    private func publish() {
        block[.records] = records
        block[.descriptors] = descriptors
        block[.bytes] = bytes
        block[.operationBytes] = operationBytes
        block[.rejectedRecords] = rejected
        block[.sleeps] = sleeps
        for index in totals.indices { block.setTotal(index, totals[index]) }
    }

    private func finish(cpuAtStart: UInt64) {
        block[.endNanoseconds] = Clock.monotonic()
        block[.cpuNanoseconds] = Clock.processCPU() - cpuAtStart
        publish()
        #if DEBUG
            TestHooks.corrupt(block, hasTotals: !totals.isEmpty)
        #endif
        block.state.pointee.store(PCoreState.done.rawValue, ordering: .releasing)
    }

    /// Executes the tables of `pool` over and over for the given time.
    mutating func runBaseline(
        _ pool: BaselinePool, _ parameters: RunParameters, blob: UnsafeMutableRawBufferPointer,
        control: borrowing ControlRegion
    ) {
        let cpuAtStart = Clock.processCPU()
        let deadline = Clock.monotonic() + parameters.baselineNanoseconds
        var next = 0
        while Clock.monotonic() < deadline,
            control.phaseWord.pointee.load(ordering: .relaxed) == RunPhase.running.rawValue
        {
            for _ in 0..<PCoreWorker.batch {
                let table = pool.tables[next]
                run(table.program, table.descriptors, byteCount: table.byteCount, on: blob.baseAddress!)
                next = next + 1 < pool.tables.count ? next + 1 : 0
            }
        }
        finish(cpuAtStart: cpuAtStart)
    }
}

/// Tables generated ahead, so that the baseline measures the kernels and not the generator: 2^18 descriptors.
///
/// Lives until the process ends.
private struct BaselinePool {
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
