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
    /// How long a pcore without work sleeps before it looks at the phase again.
    static let nap = Duration.milliseconds(20)

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
        let plan = Plan(try control.program(), isa: try Kernels.selected())
        var engine = Engine(
            plan: plan, block: control.block(index), capacity: Int(parameters.descriptorsPerRecord))
        if let ringDescriptor {
            let region = try SharedRegion.map(ringDescriptor)
            var ring = try RingConsumer(
                attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
            guard awaitStart(control, index) else { return }
            try blob.withUnsafeMutableBytes { try engine.consume(&ring, blob: $0, control: control) }
        } else {
            let pool = try engine.prepareBaseline(parameters)
            defer { pool.deallocate() }
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

/// Executes records and keeps a pcore's counters.
private struct Engine: ~Copyable {
    let plan: Plan
    let block: PCoreBlock
    let scratch: UnsafeMutableBufferPointer<Descriptor>
    let totals: UnsafeMutableBufferPointer<UInt64>
    let recordByteCount: Int
    var records: UInt64 = 0
    var descriptors: UInt64 = 0
    var bytes: UInt64 = 0
    var rejected: UInt64 = 0
    var sleeps: UInt64 = 0

    init(plan: Plan, block: PCoreBlock, capacity: Int) {
        self.plan = plan
        self.block = block
        scratch = .allocate(capacity: max(capacity, 1))
        recordByteCount = RecordFormat.byteCount(descriptors: capacity)
        totals = .allocate(capacity: plan.reducerCount)
        totals.initialize(repeating: 0)
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
                _ = try ring.waitForRecords(timeout: PCoreWorker.nap)
                continue
            }
            publish()
            ring.release(taken)
            if ring.count < lowWater { doorbell.ring() }
        }
        finish(cpuAtStart: cpuAtStart)
    }

    /// Checks one record, executes it, or counts it as rejected: a record is executed whole or not at all.
    private mutating func execute(
        _ bytes: UnsafeRawBufferPointer, on blob: UnsafeMutableRawBufferPointer
    ) {
        guard let record = try? RecordView(validating: bytes), record.instructionCount == 0,
            record.descriptorCount <= scratch.count,
            let table = try? record.loadDescriptors(into: scratch, blobByteCount: blob.count)
        else {
            rejected += 1
            return
        }
        plan.execute(on: blob.baseAddress!, descriptors: table.descriptors, totals: totals)
        records += 1
        descriptors += UInt64(table.descriptors.count)
        self.bytes += table.byteCount
    }

    private func publish() {
        block[.records] = records
        block[.descriptors] = descriptors
        block[.bytes] = bytes
        block[.rejectedRecords] = rejected
        block[.sleeps] = sleeps
        for index in 0..<plan.reducerCount { block.setTotal(index, totals[index]) }
    }

    private func finish(cpuAtStart: UInt64) {
        block[.endNanoseconds] = Clock.monotonic()
        block[.cpuNanoseconds] = Clock.processCPU() - cpuAtStart
        publish()
        #if DEBUG
            TestHooks.corrupt(block)
        #endif
        block.state.pointee.store(PCoreState.done.rawValue, ordering: .releasing)
    }
}

extension Engine {
    /// Tables generated ahead, so that the baseline measures the kernels and not the generator: as many descriptors as
    /// a ring would hold, or a million.
    func prepareBaseline(_ parameters: RunParameters) throws(ToolError) -> UnsafeMutableBufferPointer<Descriptor> {
        let each = Int(parameters.descriptorsPerRecord)
        let count = max(1, (1 << 18) / each) * each
        let pool = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: count)
        RandomDescriptors(
            region: parameters.rangeStart..<parameters.rangeEnd, alignment: parameters.alignment,
            seed: parameters.seed, stream: UInt64.max
        ).fill(pool, from: 0)
        return pool
    }

    /// Executes the tables of `pool` over and over for the given time.
    mutating func runBaseline(
        _ pool: UnsafeMutableBufferPointer<Descriptor>, _ parameters: RunParameters,
        blob: UnsafeMutableRawBufferPointer, control: borrowing ControlRegion
    ) {
        let each = Int(parameters.descriptorsPerRecord)
        let base = blob.baseAddress!
        let cpuAtStart = Clock.processCPU()
        let deadline = Clock.monotonic() + parameters.baselineNanoseconds
        var next = 0
        while Clock.monotonic() < deadline,
            control.phaseWord.pointee.load(ordering: .relaxed) == RunPhase.running.rawValue
        {
            for _ in 0..<PCoreWorker.batch {
                let table = UnsafeBufferPointer(rebasing: pool[next..<next + each])
                plan.execute(on: base, descriptors: table, totals: totals)
                records += 1
                for descriptor in table { bytes += UInt64(descriptor.length) }
                next = next + each < pool.count ? next + each : 0
            }
        }
        descriptors = records * UInt64(each)
        finish(cpuAtStart: cpuAtStart)
    }
}
