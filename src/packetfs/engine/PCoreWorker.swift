import CPacketFSShims
import Glibc
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import Synchronization
import SystemPackage

/// Descriptors that a pcore process inherits; which of them exist depends on the job.
package struct PCoreFiles {
    package var control: FileDescriptor?
    package var blob: FileDescriptor?
    package var ring: FileDescriptor?
    /// The table of values of jobs that yield values for each descriptor.
    package var values: FileDescriptor?
    package var input: FileDescriptor?
    package var output: FileDescriptor?

    fileprivate static let count = 6

    /// Those that exist, in the order of the command line.
    private var all: [FileDescriptor?] { [control, blob, ring, values, input, output] }
    package var existing: [FileDescriptor] { all.compactMap { $0 } }
    fileprivate var arguments: [String] { all.map { "\($0?.rawValue ?? -1)" } }

    package init() {}

    fileprivate init(_ numbers: ArraySlice<Int32>) {
        let files = numbers.map { $0 < 0 ? nil : FileDescriptor(rawValue: $0) }
        (control, blob, ring, values, input, output) = (files[0], files[1], files[2], files[3], files[4], files[5])
    }
}

/// The other half of the runner: what a pcore process does.
///
/// The same executable is started again with `__pcore` as its first argument; ``runIfAsked()`` then takes over.
public enum PCoreWorker {
    /// The most pcores of one run.
    package static let maximumPCores = 4096
    /// First argument of a pcore process.
    package static let marker = "__pcore"
    /// The most records that a pcore executes before it counts and releases them.
    package static let batch = 8
    /// How long a pcore without work sleeps at most. The parent wakes it for work and for the end of the run, and the kernel
    /// for the parent's death; 256 pcores that look by themselves every few milliseconds cost a sixth of the machine.
    package static let nap = Duration.seconds(1)

    /// The arguments of pcore `index`. Without a ring it measures the baseline.
    package static func arguments(index: Int, cpu: Int, files: PCoreFiles) -> [String] {
        [marker, "\(index)", "\(cpu)"] + files.arguments
    }

    /// Returns at once in an ordinary start; in a pcore process runs it to its end and exits.
    public static func runIfAsked() {
        guard CommandLine.arguments.count == 4 + PCoreFiles.count, CommandLine.arguments[1] == marker else { return }
        let numbers = CommandLine.arguments.dropFirst(2).compactMap { Int32($0) }
        guard numbers.count == 2 + PCoreFiles.count else { exit(ToolExit.usage.rawValue) }
        do {
            try run(index: Int(numbers[0]), cpu: Int(numbers[1]), files: PCoreFiles(numbers[2...]))
            exit(0)
        } catch is BlockFailure {
            exit(ToolExit.io.rawValue)  // the parent says why, once for all pcores
        } catch {
            FileDescriptor.standardError.writeLine("pcore \(numbers[0]): \(error)")
            exit(ToolExit.system.rawValue)
        }
    }

    private static func run(index: Int, cpu: Int, files: PCoreFiles) throws {
        try dieWithParent(reports: index == 0)
        guard let controlFile = files.control else { throw ToolError(.system, "there is no control region") }
        let control = try ControlRegion(adopting: controlFile)
        let parameters = control.parameters
        // The parent may have died before the request above; then nobody is left to give work.
        guard getppid() == parameters.parentPID else { exit(ToolExit.system.rawValue) }
        try CPUs.pin(to: [cpu])
        _ = pfs_set_process_name("pfs-pcore-\(index)")
        let isa = try Kernels.selected()
        let block = control.block(index)
        guard let ringFile = files.ring else {
            let blob = try adopt(files.blob, parameters)
            let pool = BaselinePool(parameters, control.mix)
            guard awaitStart(control, index) else { return }
            blob.withUnsafeMutableBytes { bytes in
                var executor = TotalsExecutor(
                    mix: control.mix, isa: isa, block: block, parameters: parameters, blob: bytes)
                executor.runBaseline(pool, parameters, control: control)
            }
            return
        }
        let region = try SharedRegion.map(ringFile)
        var ring = try RingConsumer(attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
        guard parameters.job == .totals else {
            let storage = try BlockStorage(files, parameters, pcore: index)
            guard let valuesFile = files.values else { throw ToolError(.system, "there is no table of values") }
            let values = try SharedRegion.map(valuesFile)
            var executor = try BlockExecutor(
                program: control.mix.entries[0].program, isa: isa, block: block, parameters: parameters,
                storage: storage, values: values, slots: ring.capacity)
            guard awaitStart(control, index) else { return }
            try executor.consume(&ring, control: control, block: block)
            return
        }
        let blob = try adopt(files.blob, parameters)
        guard awaitStart(control, index) else { return }
        try blob.withUnsafeMutableBytes { bytes in
            var executor = TotalsExecutor(
                mix: control.mix, isa: isa, block: block, parameters: parameters, blob: bytes)
            try executor.consume(&ring, control: control, block: block)
        }
    }

    private static func adopt(_ file: FileDescriptor?, _ parameters: RunParameters) throws -> HugeBlob {
        guard let file else { throw ToolError(.system, "there is no blob") }
        let blob = try HugeBlob.adopt(file, byteCount: Int(parameters.blobByteCount))
        // Faults during the run cost a fifth of it over 1 GiB of 4 KiB pages. A page's entry takes 8 bytes in every pcore's page
        // table, so many pcores on a large range must do without.
        let range = Int(parameters.rangeStart)..<Int(parameters.rangeEnd)
        if range.count / 512 * Int(parameters.pcores) <= 64 << 20 { try blob.prefault(range) }
        return blob
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

/// What a pcore does with the records of its ring.
package protocol RecordExecutor: ~Copyable {
    /// Records executed between two looks at the phase and updates of the counters; all of them are released together.
    var batch: Int { get }
    /// Bytes of a usual record: how much of one is worth fetching ahead.
    var usualRecordByteCount: Int { get }
    /// Executes the record at the start of `bytes`, entry `position` of the ring, whole, or counts it as rejected.
    mutating func execute(_ bytes: UnsafeRawBufferPointer, position: UInt32) throws(BlockFailure)
    /// Counts a sleep for want of records.
    mutating func slept()
    /// Makes what was counted visible, as all that comes from entries before `position`.
    mutating func publish(position: UInt32)
}

extension RecordExecutor where Self: ~Copyable {
    /// Executes what comes through the ring until the run ends.
    ///
    /// Throws when the producer's index cannot be true: then nothing in the ring can be trusted.
    package mutating func consume(
        _ ring: inout RingConsumer, control: borrowing ControlRegion, block: PCoreBlock
    ) throws {
        let phase = control.phaseWord
        let doorbell = control.doorbell
        let lowWater = Int(control.parameters.lowWater)
        let cpuAtStart = Clock.processCPU()
        try passOver(&ring, block)
        while phase.pointee.load(ordering: .relaxed) == RunPhase.running.rawValue {
            var taken = 0
            var next = try ring.peekRecord(ahead: 0)
            while let bytes = next {
                let position = ring.position &+ UInt32(taken)
                taken += 1
                next = taken < batch ? try ring.peekRecord(ahead: taken) : nil
                // The producer wrote it on another CPU: fetched while this record runs, it is here when its turn comes.
                if let next { pfs_prefetch(next.baseAddress, min(next.count, usualRecordByteCount)) }
                try execute(bytes, position: position)
            }
            guard taken > 0 else {
                slept()
                _ = try ring.waitForRecords(timeout: PCoreWorker.nap) {
                    phase.pointee.load(ordering: .relaxed) != RunPhase.running.rawValue
                }
                continue
            }
            publish(position: ring.position &+ UInt32(taken))
            ring.release(taken)
            if ring.count < lowWater { doorbell.ring() }
        }
        block.endNanoseconds = Clock.monotonic()
        block.cpuNanoseconds += Clock.processCPU() - cpuAtStart
        publish(position: ring.position)
        #if DEBUG
            TestHooks.corrupt(block)
        #endif
        block.state.pointee.store(PCoreState.done.rawValue, ordering: .releasing)
    }

    /// A successor of a killed pcore starts behind the records that must not run again.
    private mutating func passOver(_ ring: inout RingConsumer, _ block: PCoreBlock) throws {
        let count = Int(block.resumePosition &- ring.position)
        guard 1...batch ~= count else { return }
        guard try ring.peekRecord(ahead: count - 1) != nil else {
            throw ToolError(.system, "\(count) records to pass over are not in the ring")
        }
        publish(position: ring.position &+ UInt32(count))
        ring.release(count)
    }
}

extension RingConsumer {
    /// The record that is `ahead` behind the oldest one. An entry that points nowhere is a record without a byte: it will be
    /// counted as rejected. Throws when the producer's index cannot be true.
    package mutating func peekRecord(ahead: Int) throws(RingError) -> UnsafeRawBufferPointer? {
        do throws(RingError) {
            return try peek(ahead: ahead)
        } catch {
            guard seen > ahead else { throw error }
            return UnsafeRawBufferPointer(start: nil, count: 0)
        }
    }
}
