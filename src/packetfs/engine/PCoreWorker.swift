import CPacketFSShims
import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSProcess
import PacketFSRing
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

/// Exit codes of a pcore process, which its parent knows.
enum PCoreExit {
    /// Reading or writing failed; ``PCoreBlock/failure`` says why.
    static let io: Int32 = 74
    /// Anything else.
    static let system: Int32 = 71
}

/// What a pcore process does.
///
/// The executable that uses the engine is started again for each pcore: its `main` must call ``runIfAsked(parentDied:failed:)`` first.
public enum PCoreWorker {
    /// The role of a pcore process.
    package static let role = ChildRole("__pcore")
    /// The most pcores of one run.
    package static let maximumPCores = 4096
    /// The most records that a pcore executes before it counts and releases them.
    package static let batch = 8
    /// How long a pcore without work sleeps at most. The parent wakes it for work and for the end of the run, and the kernel
    /// for the parent's death; 256 pcores that look by themselves every few milliseconds cost a sixth of the machine.
    package static let nap = Duration.seconds(1)

    /// The arguments of pcore `index`.
    package static func arguments(index: Int, cpu: Int, files: PCoreFiles) -> [String] {
        ["\(index)", "\(cpu)"] + files.arguments
    }

    /// Returns at once in an ordinary start; in a pcore process runs it to its end and exits.
    ///
    /// A pcore ends with the process that started it. It prints nothing itself.
    /// - Parameters:
    ///   - parentDied: called in pcore 0 when that process was killed, in a signal handler.
    ///   - failed: is told which pcore could not go on, and why, unless it tells its parent.
    public static func runIfAsked(
        parentDied: (@convention(c) (Int32) -> Void)? = nil, failed: (Int, any Error) -> Void = { _, _ in }
    ) {
        let index = CommandLine.arguments.count > 2 ? Int(CommandLine.arguments[2]) ?? -1 : -1
        // SIGKILL is the surest way. Pcore 0 may ask for a signal that it handles, so that somebody can say why the run ended.
        var deathSignal = SIGKILL
        if index == 0, let parentDied {
            deathSignal = SIGUSR1
            if CommandLine.arguments[1] == role.word { signal(SIGUSR1, parentDied) }
        }
        role.run(deathSignal: deathSignal) { words in
            let numbers = words.compactMap { Int32($0) }
            guard numbers.count == 2 + PCoreFiles.count else { throw EngineError.damaged("arguments are missing") }
            try run(index: Int(numbers[0]), cpu: Int(numbers[1]), files: PCoreFiles(numbers[2...]))
        } failed: { error in
            if error is BlockFailure { return PCoreExit.io }  // the parent says why, once for all pcores
            failed(index, error)
            return PCoreExit.system
        }
    }

    private static func run(index: Int, cpu: Int, files: PCoreFiles) throws {
        guard let controlFile = files.control else { throw EngineError.damaged("there is no control region") }
        let control = try ControlRegion(adopting: controlFile)
        let parameters = control.parameters
        // The parent may have died before the request above; then nobody is left to give work.
        guard getppid() == parameters.parentPID else { exit(PCoreExit.system) }
        try CPUs.pin(to: [cpu])
        _ = pfs_set_process_name("pfs-pcore-\(index)")
        let isa = try ISA.selected()
        let block = control.block(index)
        switch parameters.job {
        case .baseline(let work, let nanoseconds):
            let blob = try adopt(files.blob, parameters, work)
            let pool = BaselinePool(work, descriptorsPerRecord: Int(parameters.descriptorsPerRecord), control.mix)
            guard awaitStart(control, index) else { return }
            blob.withUnsafeMutableBytes { bytes in
                var executor = TotalsExecutor(
                    mix: control.mix, carriesProgram: false, descriptorsPerRecord: 1, isa: isa, blob: bytes)
                executor.runBaseline(pool, nanoseconds, block: block, control: control)
            }
        case .random(let work):
            let region = try map(files.ring, "ring")
            var ring = try RingConsumer(
                attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
            let blob = try adopt(files.blob, parameters, work)
            guard awaitStart(control, index) else { return }
            try blob.withUnsafeMutableBytes { bytes in
                var executor = TotalsExecutor(
                    mix: control.mix, carriesProgram: work.carriesProgram,
                    descriptorsPerRecord: Int(parameters.descriptorsPerRecord), isa: isa, blob: bytes)
                executor.resume(from: block.latest)
                try executor.consume(&ring, control: control, block: block)
            }
        case .blob, .mappedFile, .stagedFile:
            let region = try map(files.ring, "ring")
            var ring = try RingConsumer(
                attaching: region.base, byteCount: region.byteCount, lock: region.fileDescriptor)
            let storage = try BlockStorage(files, parameters, pcore: index)
            var executor = try BlockExecutor(
                program: control.mix.entries[0].program, isa: isa, block: block, parameters: parameters,
                storage: storage, values: map(files.values, "table of values"), slots: ring.capacity)
            guard awaitStart(control, index) else { return }
            try executor.consume(&ring, control: control, block: block)
        }
    }

    private static func map(_ file: FileDescriptor?, _ name: String) throws -> SharedRegion {
        guard let file else { throw EngineError.damaged("there is no \(name)") }
        return try SharedRegion.adopt(file)
    }

    private static func adopt(
        _ file: FileDescriptor?, _ parameters: RunParameters, _ work: RandomParameters
    ) throws -> HugeBlob {
        guard let file else { throw EngineError.damaged("there is no blob") }
        let blob = try HugeBlob.adopt(file, byteCount: Int(parameters.limit))
        // Faults during the run cost a fifth of it over 1 GiB of 4 KiB pages. A page's entry takes 8 bytes in every pcore's page
        // table, so many pcores on a large range must do without.
        let range = Int(work.rangeStart)..<Int(work.rangeEnd)
        if range.count / 512 * Int(parameters.pcores) <= 64 << 20 { try blob.prefault(range) }
        return blob
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
protocol RecordExecutor: ~Copyable {
    /// Records executed between two looks at the phase and updates of the counters; all of them are released together.
    var batch: Int { get }
    /// Bytes of a usual record: how much of one is worth fetching ahead.
    var usualRecordByteCount: Int { get }
    /// Executes the record at the start of `bytes`, entry `position` of the ring, whole, or counts it as rejected.
    mutating func execute(_ bytes: UnsafeRawBufferPointer, position: UInt32) throws(BlockFailure)
    /// What was counted.
    var tally: Tally { get set }
    /// Writes sums of values, if there are any, beside the tally.
    func storeTotals(to snapshot: PCoreBlock.Snapshot)
}

extension RecordExecutor where Self: ~Copyable {
    /// Executes what comes through the ring until the run ends.
    ///
    /// Throws when the producer's index cannot be true: then nothing in the ring can be trusted.
    mutating func consume(
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
                tally.sleeps += 1
                _ = try ring.waitForRecords(timeout: PCoreWorker.nap) {
                    phase.pointee.load(ordering: .relaxed) != RunPhase.running.rawValue
                }
                continue
            }
            publish(to: block, position: ring.position &+ UInt32(taken))
            ring.release(taken)
            if ring.count < lowWater { doorbell.ring() }
        }
        block.endNanoseconds = Clock.monotonic()
        block.cpuNanoseconds += Clock.processCPU() - cpuAtStart
        publish(to: block, position: ring.position)
        #if DEBUG
            TestHooks.corrupt(block)
        #endif
        block.state.pointee.store(PCoreState.done.rawValue, ordering: .releasing)
    }

    /// Makes what was counted visible, as all that comes from entries before `position`.
    func publish(to block: PCoreBlock, position: UInt32) {
        let snapshot = block.older
        snapshot.tally = tally
        storeTotals(to: snapshot)
        snapshot.position = position
        block.turn()
    }

    /// A successor of a killed pcore starts behind the records that must not run again.
    private mutating func passOver(_ ring: inout RingConsumer, _ block: PCoreBlock) throws {
        let count = Int(block.resumePosition &- ring.position)
        guard 1...batch ~= count else { return }
        guard try ring.peekRecord(ahead: count - 1) != nil else {
            throw EngineError.damaged("\(count) records to pass over are not in the ring")
        }
        publish(to: block, position: ring.position &+ UInt32(count))
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
