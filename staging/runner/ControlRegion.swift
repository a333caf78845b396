import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing
import Synchronization
import SystemPackage

// The control region is one small shared mapping per run: what the parent tells its pcores, and what each of them
// counts. Everything is native endian, because it never leaves the machine or outlives the run.
//
//   page 0, line 0     run parameters, written by the parent before any pcore starts, constant afterwards
//   page 0, byte 1024  phase: written by the parent (setup -> running -> stopping), a futex that waiting pcores sleep on
//   page 0, byte 1152  doorbell on which the parent sleeps, rung by pcores
//   from page 1 on     one block of 512 bytes per pcore, written by that pcore alone, read by the parent at any time
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
enum PCoreState: UInt32 {
    case starting = 0
    case ready = 1
    case done = 2
    case failed = 3
}

/// Parameters that the parent gives its pcores. Stored as is in the control region.
struct RunParameters: BitwiseCopyable {
    var parentPID: Int32
    var pcores: UInt32
    var blobByteCount: UInt64
    var descriptorsPerRecord: UInt32
    var alignment: UInt32
    var seed: UInt64
    /// Queued records below which a pcore rings the parent's doorbell.
    var lowWater: UInt32
    var instructionCount: UInt32
    var baselineNanoseconds: UInt64
    var rangeStart: UInt64
    var rangeEnd: UInt64
}

/// One mapping of the control region. Parent and pcores each have their own.
struct ControlRegion: ~Copyable {
    let region: SharedRegion

    private static let magic: UInt64 = 0x5046_5343_5452_4C31
    private static let parametersOffset = 8
    private static let instructionsOffset = 512
    private static let phaseOffset = 1024
    private static let doorbellOffset = 1152
    private static let blocksOffset = 4096
    static let blockByteCount = 512

    /// Creates the region for `parameters.pcores` pcores that run `program`.
    init(parameters: RunParameters, program: Program) throws(MemoryError) {
        region = try SharedRegion.create(
            byteCount: Self.blocksOffset + Int(parameters.pcores) * Self.blockByteCount, name: "pfs-control")
        var parameters = parameters
        let instructions = program.instructions
        parameters.instructionCount = UInt32(instructions.count)
        let base = region.base
        base.storeBytes(of: Self.magic, as: UInt64.self)
        base.storeBytes(of: parameters, toByteOffset: Self.parametersOffset, as: RunParameters.self)
        for (index, instruction) in instructions.enumerated() {
            base.storeBytes(
                of: instruction, toByteOffset: Self.instructionsOffset + index * MemoryLayout<Instruction>.stride,
                as: Instruction.self)
        }
    }

    /// Maps the region that `descriptor`, inherited from the parent, stands for.
    init(adopting descriptor: FileDescriptor) throws {
        let region = try SharedRegion.map(descriptor)
        guard region.byteCount >= Self.blocksOffset, region.base.load(as: UInt64.self) == Self.magic,
            region.byteCount >= Self.blocksOffset + Int(Self.parameters(region).pcores) * Self.blockByteCount
        else { throw ToolError(.system, "descriptor \(descriptor.rawValue) is no control region") }
        self.region = region
    }

    var parameters: RunParameters { Self.parameters(region) }

    private static func parameters(_ region: borrowing SharedRegion) -> RunParameters {
        region.base.load(fromByteOffset: parametersOffset, as: RunParameters.self)
    }

    func program() throws(ProgramError) -> Program {
        try Program(
            decoding: (0..<Int(min(parameters.instructionCount, 32))).map { index in
                region.base.load(
                    fromByteOffset: Self.instructionsOffset + index * MemoryLayout<Instruction>.stride,
                    as: Instruction.self)
            })
    }

    /// The phase word. The parent stores with release, pcores load with acquire.
    var phaseWord: UnsafeMutablePointer<Atomic<UInt32>> { atomic(Self.phaseOffset) }

    /// The doorbell on which the parent sleeps.
    var doorbell: Doorbell { Doorbell(atomic(Self.doorbellOffset)) }

    /// The block of pcore `index`.
    func block(_ index: Int) -> PCoreBlock {
        PCoreBlock(base: region.base + Self.blocksOffset + index * Self.blockByteCount)
    }

    private func atomic(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
        (region.base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    }
}

/// What one pcore counts: a view of its block in the control region.
struct PCoreBlock {
    fileprivate let base: UnsafeMutableRawPointer

    /// The counters of a block.
    enum Counter: Int, CaseIterable {
        case records = 1, descriptors, bytes, rejectedRecords, sleeps
        /// CPU nanoseconds used while running, written when the pcore ends.
        case cpuNanoseconds
        /// CLOCK_MONOTONIC at which the pcore left its loop.
        case endNanoseconds
    }

    private static let totalsOffset = 256

    var state: UnsafeMutablePointer<Atomic<UInt32>> { base.assumingMemoryBound(to: Atomic<UInt32>.self) }

    subscript(counter: Counter) -> UInt64 {
        get { word(counter.rawValue * 8).pointee.load(ordering: .relaxed) }
        nonmutating set { word(counter.rawValue * 8).pointee.store(newValue, ordering: .relaxed) }
    }

    /// Total of reducing operation `index`, 0 to 31.
    func total(_ index: Int) -> UInt64 { word(Self.totalsOffset + index * 8).pointee.load(ordering: .relaxed) }
    func setTotal(_ index: Int, _ value: UInt64) {
        word(Self.totalsOffset + index * 8).pointee.store(value, ordering: .relaxed)
    }

    private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }
}
