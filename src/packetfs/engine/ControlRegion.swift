import Glibc
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSProcess
import PacketFSRing
import Synchronization
import SystemPackage

// The control region is one small shared mapping per run: what the parent tells its pcores, and what each of them
// counts. Everything is native endian, because it never leaves the machine or outlives the run.
//
//   page 0, line 0     run parameters, written by the parent before any pcore starts, constant afterwards
//   page 0, byte 1024  phase: written by the parent (setup -> running -> stopping), a futex that waiting pcores sleep on
//   page 0, byte 1152  doorbell on which the parent sleeps, rung by pcores
//   from page 1 on     256 bytes per program of the mix: u32 weight, u32 number of instructions, the instructions
//   then               one block per pcore, written by that pcore alone, read by the parent at any time: 128 bytes of
//                      state, then two snapshots of counters and of one total for each yielding operation of each program,
//                      each up to a multiple of 128 bytes
//
// Counters are relaxed atomics: a reader sees each one whole and never disturbs the pcore. The state word is stored with
// release after the last counter, so a parent that loads `done` with acquire reads final counters.

/// The phases of a run, in order.
enum RunPhase: UInt32 {
    /// Pcores attach and report ready.
    case setup = 0
    /// Measurement is on.
    case running = 1
    /// Every pcore ends after the record in hand.
    case stopping = 2
}

/// The states of a pcore, in order.
package enum PCoreState: UInt32 {
    case starting = 0
    case ready = 1
    case done = 2
    case failed = 3
}

/// Parameters that the parent gives its pcores. Stored as is in the control region.
package struct RunParameters: BitwiseCopyable {
    /// The process that started the pcores, and how many there are.
    package var parentPID = getpid(), pcores: UInt32
    /// Descriptors end at this offset: the length of the blob or of the file.
    package var limit: UInt64
    /// The most descriptors in a record.
    package var descriptorsPerRecord: UInt32
    /// Queued records below which a pcore rings the parent's doorbell.
    package var lowWater: UInt32
    /// What pcores do.
    package var job: PCoreJob
    /// Programs of the mix.
    fileprivate var programs: UInt32 = 0

    /// Values as the properties, of this process's pcores.
    package init(pcores: Int, limit: Int, descriptorsPerRecord: Int, lowWater: Int, job: PCoreJob) {
        self.pcores = UInt32(pcores)
        self.limit = UInt64(limit)
        self.descriptorsPerRecord = UInt32(descriptorsPerRecord)
        self.lowWater = UInt32(lowWater)
        self.job = job
    }
}

/// What a pcore does.
package enum PCoreJob: BitwiseCopyable {
    /// Descriptors lie in the blob; their values are added to the pcore's totals.
    case random(RandomParameters)
    /// The same work without a ring, on tables that the pcore makes itself, for so many nanoseconds.
    case baseline(RandomParameters, nanoseconds: UInt64)
    /// Descriptors lie in the blob; each one's values go to the pcore's table of values, after so many passes.
    case blob(passes: UInt32)
    /// Descriptors are ranges of the input file, which every pcore maps, to be read only; values as above.
    case mappedFile
    /// Descriptors are ranges of the input file: read into the pcore's part of the blob, transformed there, and written to the output, if
    /// there is one; values as above.
    case stagedFile(StagingParameters)
}

/// What pcores must know of random work.
package struct RandomParameters: BitwiseCopyable {
    package let seed: UInt64
    package let rangeStart: UInt64, rangeEnd: UInt64
    package let alignment: UInt32
    package let carriesProgram: Bool

    /// Of `work` in a range of the blob.
    package init(_ work: RandomWork, range: Range<UInt64>) {
        seed = work.seed
        (rangeStart, rangeEnd) = (range.lowerBound, range.upperBound)
        alignment = UInt32(work.alignment)
        carriesProgram = work.carriesProgram
    }
}

/// How a pcore moves blocks of a file through its own memory.
package struct StagingParameters: BitwiseCopyable {
    /// Bytes of each pcore's part of the blob.
    package let byteCount: UInt64
    /// What an offset in the output is less than in the input.
    package let outputShift: UInt64
    /// How often the program is applied to each block.
    package let passes: UInt32

    /// Values as the properties.
    package init(byteCount: Int, outputShift: UInt64, passes: Int) {
        (self.byteCount, self.outputShift, self.passes) = (UInt64(byteCount), outputShift, UInt32(passes))
    }
}

/// One mapping of the control region. Parent and pcores each have their own.
package struct ControlRegion: ~Copyable {
    package let region: SharedRegion

    private static let magic: UInt64 = 0x5046_5343_5452_4C31
    private static let parametersOffset = 8
    private static let phaseOffset = 1024
    private static let doorbellOffset = 1152
    private static let programsOffset = 4096
    private static let programStride = 256
    /// The programs of the run, a private copy.
    package let mix: ProgramMix
    private let blocksOffset: Int
    private let blockStride: Int

    /// Creates the region for `parameters.pcores` pcores that run the programs of `mix`.
    package init(parameters: RunParameters, mix: ProgramMix) throws(MemoryError) {
        self.mix = mix
        blocksOffset = Self.programsOffset + mix.entries.count * Self.programStride
        blockStride = PCoreBlock.byteCount(totals: mix.reducers.count)
        region = try SharedRegion.create(
            byteCount: blocksOffset + Int(parameters.pcores) * blockStride, name: "pfs-control")
        var parameters = parameters
        parameters.programs = UInt32(mix.entries.count)
        let base = region.base
        base.storeBytes(of: Self.magic, as: UInt64.self)
        base.storeBytes(of: parameters, toByteOffset: Self.parametersOffset, as: RunParameters.self)
        for (index, entry) in mix.entries.enumerated() {
            let start = base + Self.programsOffset + index * Self.programStride
            let instructions = entry.program.instructions
            let words = [entry.weight, UInt32(instructions.count)] + instructions.map(\.word)
            words.withUnsafeBytes { start.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        }
    }

    /// Maps the region that `descriptor`, inherited from the parent, stands for.
    package init(adopting descriptor: FileDescriptor) throws {
        let region = try SharedRegion.adopt(descriptor)
        let wrong = EngineError.damaged("descriptor \(descriptor.rawValue) is no control region")
        guard region.byteCount >= Self.programsOffset, region.base.load(as: UInt64.self) == Self.magic else {
            throw wrong
        }
        let parameters = Self.parameters(region)
        let count = Int(parameters.programs)
        let blocksOffset = Self.programsOffset + count * Self.programStride
        guard count <= ProgramMix.maximumPrograms, blocksOffset <= region.byteCount else { throw wrong }
        let mix = try ProgramMix(
            (0..<count).map { index in
                let start = region.base + Self.programsOffset + index * Self.programStride
                let length = min(Int(start.load(fromByteOffset: 4, as: UInt32.self)), RecordFormat.maximumInstructions)
                let instructions = (0..<length).map {
                    Instruction(word: start.load(fromByteOffset: 8 + 4 * $0, as: UInt32.self))
                }
                return ProgramMix.Entry(
                    program: try Program(decoding: instructions), weight: start.load(as: UInt32.self))
            })
        let blockStride = PCoreBlock.byteCount(totals: mix.reducers.count)
        guard blocksOffset + Int(parameters.pcores) * blockStride <= region.byteCount else { throw wrong }
        self.region = region
        self.mix = mix
        self.blocksOffset = blocksOffset
        self.blockStride = blockStride
    }

    package var parameters: RunParameters { Self.parameters(region) }

    private static func parameters(_ region: borrowing SharedRegion) -> RunParameters {
        region.base.load(fromByteOffset: parametersOffset, as: RunParameters.self)
    }

    /// The phase word. The parent stores with release, pcores load with acquire.
    package var phaseWord: UnsafeMutablePointer<Atomic<UInt32>> { atomic(Self.phaseOffset) }

    /// The doorbell on which the parent sleeps.
    package var doorbell: Doorbell { Doorbell(atomic(Self.doorbellOffset)) }

    /// The block of pcore `index`.
    package func block(_ index: Int) -> PCoreBlock {
        PCoreBlock(base: region.base + blocksOffset + index * blockStride, totalCount: mix.reducers.count)
    }

    private func atomic(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
        (region.base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    }
}

/// What one pcore tells the parent: a view of its block in the control region.
///
/// Counters and totals are kept in two snapshots that take turns. Each says up to which entry of the ring it counts, and is
/// complete before the pcore releases the ring's entries up to there. So when a pcore is killed, one of the two counts
/// exactly what was released, and a successor continues from it: every record counts once.
package struct PCoreBlock {
    fileprivate let base: UnsafeMutableRawPointer
    /// Totals in each snapshot.
    package let totalCount: Int

    /// One of the two copies of counters and totals.
    package struct Snapshot {
        fileprivate let base: UnsafeMutableRawPointer

        private static let tallyOffset = 8
        fileprivate static let firstTotal = (tallyOffset + Tally.byteCount) / 8

        /// The ring's entries before this one are counted.
        package var position: UInt32 {
            get { UInt32(truncatingIfNeeded: word(0).pointee.load(ordering: .relaxed)) }
            nonmutating set { word(0).pointee.store(UInt64(newValue), ordering: .relaxed) }
        }

        /// What is counted.
        package var tally: Tally {
            get { Tally(loadingFrom: base + Self.tallyOffset) }
            nonmutating set { newValue.store(to: base + Self.tallyOffset) }
        }

        /// Total of yielding operation `index`, counted over all programs of the mix.
        package subscript(total index: Int) -> UInt64 {
            get { word(Self.firstTotal + index).pointee.load(ordering: .relaxed) }
            nonmutating set { word(Self.firstTotal + index).pointee.store(newValue, ordering: .relaxed) }
        }

        private func word(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
            (base + 8 * index).assumingMemoryBound(to: Atomic<UInt64>.self)
        }
    }

    private static let snapshotsOffset = 128

    private static func snapshotByteCount(totals: Int) -> Int { ((Snapshot.firstTotal + totals) * 8 + 127) & ~127 }

    /// Bytes of a block with so many totals.
    package static func byteCount(totals: Int) -> Int { snapshotsOffset + 2 * snapshotByteCount(totals: totals) }

    /// What the pcore is doing; see ``PCoreState``.
    package var state: UnsafeMutablePointer<Atomic<UInt32>> { word32(0) }
    private var latestIndex: UnsafeMutablePointer<Atomic<UInt32>> { word32(4) }
    private var resumeWord: UnsafeMutablePointer<Atomic<UInt32>> { word32(8) }
    private var failureWord: UnsafeMutablePointer<Atomic<UInt32>> { word32(12) }

    /// CPU nanoseconds used while running, written when the pcore ends.
    package var cpuNanoseconds: UInt64 {
        get { word64(16).pointee.load(ordering: .relaxed) }
        nonmutating set { word64(16).pointee.store(newValue, ordering: .relaxed) }
    }

    /// CLOCK_MONOTONIC at which the pcore left its loop.
    package var endNanoseconds: UInt64 {
        get { word64(24).pointee.load(ordering: .relaxed) }
        nonmutating set { word64(24).pointee.store(newValue, ordering: .relaxed) }
    }

    /// Why the pcore gives up, written just before it does: errno and what it was doing.
    package var failure: (errno: Int32, during: PCoreFailure)? {
        get {
            let word = failureWord.pointee.load(ordering: .acquiring)
            return PCoreFailure(rawValue: word >> 16).map { (Int32(word & 0xFFFF), $0) }
        }
        nonmutating set {
            let word = newValue.map { $0.during.rawValue << 16 | UInt32(truncatingIfNeeded: $0.errno) & 0xFFFF } ?? 0
            failureWord.pointee.store(word, ordering: .releasing)
        }
    }

    /// The entry of the ring from which on a successor executes, set by the parent before it starts one; those before it are
    /// passed over.
    package var resumePosition: UInt32 {
        get { resumeWord.pointee.load(ordering: .acquiring) }
        nonmutating set { resumeWord.pointee.store(newValue, ordering: .releasing) }
    }

    /// The newer snapshot. Live readers may see it change under them; after the pcore's end it is final.
    package var latest: Snapshot { snapshot(latestIndex.pointee.load(ordering: .acquiring)) }
    /// The other one.
    package var older: Snapshot { snapshot(latestIndex.pointee.load(ordering: .acquiring) ^ 1) }

    /// Makes the other snapshot, which the caller has written, the newer one.
    package func turn() {
        latestIndex.pointee.store(latestIndex.pointee.load(ordering: .relaxed) & 1 ^ 1, ordering: .releasing)
    }

    private func snapshot(_ index: UInt32) -> Snapshot {
        Snapshot(
            base: base + Self.snapshotsOffset + Int(index & 1) * Self.snapshotByteCount(totals: totalCount))
    }

    private func word32(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
        (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    private func word64(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }
}

/// What a pcore was doing when it had to give up.
package enum PCoreFailure: UInt32 {
    case readingInput = 1
    case inputEnded = 2
    case writingOutput = 3
}
