import PacketFSGram
import PacketFSPCPU

/// What became of the frames that a receiver was given.
public struct FrameCounts: Sendable, Hashable {
    /// Frames of the stream that arrived for the first time, end frames not counted.
    public var frames: UInt64 = 0
    /// Their bytes, link header and padding included.
    public var bytes: UInt64 = 0
    /// Bytes of their payload or records.
    public var bodyBytes: UInt64 = 0
    /// Frames whose program, or that of the receiver, was applied.
    public var executed: UInt64 = 0
    /// Descriptors of those that carry any.
    public var descriptors: UInt64 = 0
    /// Bytes that programs were applied to: payload, or what descriptors name in the blob.
    public var workedBytes: UInt64 = 0
    /// Those, times the number of operations.
    public var operationBytes: UInt64 = 0
    /// Not ours: another Ethernet type, or not beginning as a frame does.
    public var foreign: UInt64 = 0
    /// Ours, but not to be read: see ``FrameWork/firstFault``.
    public var malformed: UInt64 = 0
    /// The checksum is not that of the bytes.
    public var badChecksums: UInt64 = 0
    /// Of the stream, but with a record or program that cannot be executed. Nothing of it was.
    public var rejected: UInt64 = 0
    /// Frames of another stream.
    public var otherStreams: UInt64 = 0
    /// End frames.
    public var ends: UInt64 = 0
    /// Payload or records that differ from what the seed calls for; counted only by a receiver that verifies.
    public var mismatches: UInt64 = 0

    /// All zero.
    public init() {}
}

/// What a receiver wants done with frames.
public struct FrameWorkConfiguration: Sendable {
    /// Whether frames begin with an Ethernet header.
    public var hasLinkHeader = true
    /// The program for frames that bring none; nil leaves their data alone.
    public var program: Program?
    /// Whether programs that frames bring are run at all.
    public var runsCarriedPrograms = true
    /// The stream to listen to; nil takes that of the first frame of data.
    public var stream: UInt32?
    /// Seed of payload and descriptors, and where descriptors lie, for a receiver that verifies; nil does not.
    public var verification: FrameVerification?

    /// The defaults above.
    public init() {}
}

/// What a verifying receiver knows of the sender.
public struct FrameVerification: Sendable {
    /// The seed of payload.
    public var seed: UInt64
    /// The generator of descriptors.
    public var descriptors: RandomDescriptors?

    /// Makes one.
    public init(seed: UInt64, descriptors: RandomDescriptors?) {
        self.seed = seed
        self.descriptors = descriptors
    }
}

/// The work that a receiver does with each frame: checks it, counts it, and applies a program to its payload or to what its
/// descriptors name.
///
/// Frames are untrusted: whatever they hold is counted, and nothing outside frame and blob is read or written. A frame that
/// came before is not worked on again. At most ``maximumPrograms`` different programs are known at a time; further ones are
/// rejected. Not thread-safe.
public final class FrameWork {
    /// The most different programs of one stream.
    public static let maximumPrograms = 8

    /// What was counted so far.
    @exclusivity(unchecked) public private(set) var counts = FrameCounts()
    /// Loss, reordering and duplicates.
    @exclusivity(unchecked) public private(set) var sequences = SequenceTracker()
    /// The number of frames that the sender says it sent; nil before an end frame.
    @exclusivity(unchecked) public private(set) var announcedCount: UInt64?
    /// Which stream is listened to; nil while none has been chosen.
    @exclusivity(unchecked) public private(set) var stream: UInt32?
    /// Why the first frame was malformed or rejected, for people.
    @exclusivity(unchecked) public private(set) var firstFault: String?
    /// What the first difference was, for people.
    @exclusivity(unchecked) public private(set) var firstMismatch: String?

    private let configuration: FrameWorkConfiguration
    private let isa: ISA
    private let blob: UnsafeMutableRawBufferPointer
    private let checksum: FrameChecksum
    @exclusivity(unchecked) private var programs: [LoadedProgram] = []
    @exclusivity(unchecked) private var own: Int?
    @exclusivity(unchecked) private var current = 0

    // Descriptors of a record, and the record itself where it lies at an odd address.
    private let scratch: UnsafeMutableBufferPointer<Descriptor>
    private let record: UnsafeMutableRawBufferPointer
    // Payload that waits for its program: ranges relative to the memory that frames lie in.
    private let memory: UnsafeMutableRawBufferPointer
    private let pending: UnsafeMutableBufferPointer<Descriptor>
    @exclusivity(unchecked) private var pendingCount = 0
    @exclusivity(unchecked) private var pendingProgram = 0
    private let verifier: FrameVerifier?

    /// Makes a receiver's work.
    ///
    /// - Parameters:
    ///   - configuration: what to do.
    ///   - blob: what descriptors point into; empty where there is none (then records with any descriptors are rejected). It
    ///     stays the caller's and must outlive this object. Precondition: below 2^62 bytes.
    ///   - memory: where all frames handed to ``take(_:)`` lie, such as a receive ring; their payload is then worked on a batch
    ///     at a time. Empty for frames that lie anywhere, whose payload is worked on at once.
    ///   - isa: for kernels and checksums.
    public init(
        _ configuration: FrameWorkConfiguration, blob: UnsafeMutableRawBufferPointer,
        memory: UnsafeMutableRawBufferPointer = .init(start: nil, count: 0), isa: ISA
    ) {
        self.configuration = configuration
        self.isa = isa
        self.blob = blob
        self.memory = memory
        checksum = FrameChecksum(isa: isa)
        stream = configuration.stream
        scratch = .allocate(capacity: FrameFormat.maximumByteCount / MemoryLayout<Descriptor>.stride)
        record = .allocate(byteCount: 1 << 16, alignment: RecordFormat.alignment)
        pending = .allocate(capacity: 256)
        verifier = configuration.verification.map { FrameVerifier($0, blob: UnsafeRawBufferPointer(blob)) }
        own = configuration.program.map { program in
            programs.append(LoadedProgram(program, isa: isa))
            return 0
        }
    }

    deinit {
        scratch.deallocate()
        record.deallocate()
        pending.deallocate()
    }

    /// Whether the sender has said that its stream is over.
    public var hasEnded: Bool { announcedCount != nil }

    /// Frames known to be lost: of those that the sender announced, or below the highest number that came.
    public var lost: UInt64 { sequences.lost(before: announcedCount) }

    /// One total for each value that each program yields, in the order in which the programs first came.
    public var totals: [ProgramTotal] { programs.flatMap(\.namedTotals) }

    /// Looks at one frame, counts it, and does its work, at once or at the end of the batch.
    ///
    /// - Parameter frame: the whole frame, link header included where there is one. Its payload is rewritten in place by
    ///   programs that write. It must stay as it is until ``finishBatch()``.
    public func take(_ frame: UnsafeMutableRawBufferPointer) {
        var start = 0
        if configuration.hasLinkHeader {
            guard EthernetHeader.announcesFrame(UnsafeRawBufferPointer(frame)) else { return counts.foreign += 1 }
            start = EthernetHeader.byteCount
        }
        let bytes = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(frame)[start...])
        let view: FrameView
        do throws(FrameError) {
            view = try FrameView(validating: bytes)
        } catch {
            if case .wrongMagic = error { return counts.foreign += 1 }
            return fault(\.malformed, error.description)
        }
        if let stated = view.checksum, stated != checksum.of(view.checksummedBytes) {
            return fault(\.badChecksums, "the checksum of frame \(view.header.sequence) is wrong")
        }
        // A late end frame of the run before must not end this one: only data chooses a stream.
        if stream == nil, view.header.kind != .end { stream = view.header.stream }
        guard view.header.stream == stream else { return counts.otherStreams += 1 }
        if view.header.kind == .end {
            counts.ends += 1
            announcedCount = announcedCount ?? view.header.sequence
            return
        }
        switch sequences.note(view.header.sequence) {
        case .next, .late: break
        case .duplicate, .stale, .jump: return
        }
        counts.frames += 1
        counts.bytes += UInt64(frame.count)
        counts.bodyBytes += UInt64(view.bodyByteCount)
        if view.header.kind == .payload {
            let body = start + view.bodyOffset
            takePayload(view, UnsafeMutableRawBufferPointer(rebasing: frame[body..<body + view.bodyByteCount]))
        } else {
            takeRecord(view)
        }
    }

    /// Counts frames of another Ethernet type, which the caller has told apart itself: in a burst, before ``take(_:)``.
    public func countForeign(_ count: Int) { counts.foreign += UInt64(count) }

    /// Does the work that is left of the frames taken since the last call. Their memory is free afterwards.
    public func finishBatch() {
        guard pendingCount > 0, let base = memory.baseAddress else { return }
        let table = UnsafeBufferPointer(rebasing: pending[..<pendingCount])
        programs[pendingProgram].execute(on: base, table)
        pendingCount = 0
    }

    /// Whether all that arrived was as the seed calls for, and blob and totals are as the reference implementation makes
    /// them; nil for a receiver that does not verify. Says the first difference in ``firstMismatch``.
    public func verify() -> Bool? {
        finishBatch()
        guard let verifier else { return nil }
        if counts.mismatches == 0, let difference = verifier.difference(blob: UnsafeRawBufferPointer(blob), totals) {
            firstMismatch = difference
            return false
        }
        return counts.mismatches == 0
    }

    private func fault(_ count: WritableKeyPath<FrameCounts, UInt64>, _ reason: @autoclosure () -> String) {
        counts[keyPath: count] += 1
        if firstFault == nil { firstFault = reason() }
    }

    private func mismatch(_ text: String?) {
        guard let text else { return }
        counts.mismatches += 1
        if firstMismatch == nil { firstMismatch = text }
    }

    private func takePayload(_ view: FrameView, _ payload: UnsafeMutableRawBufferPointer) {
        let isCarried = view.instructionCount > 0 && configuration.runsCarriedPrograms
        let choice = isCarried ? loaded(view.carries, view.instructions) : own
        guard choice != nil || !isCarried else { return }
        mismatch(verifier?.differs(payload: UnsafeRawBufferPointer(payload), of: view.header.sequence))
        guard let choice else { return }
        counts.executed += 1
        let byteCount = UInt64(payload.count)
        counts.workedBytes += byteCount
        counts.operationBytes += byteCount &* programs[choice].stepCount
        if let verifier {
            programs[choice].execute(onAll: payload)
            mismatch(
                verifier.differs(
                    after: programs[choice].program, UnsafeRawBufferPointer(payload), of: view.header.sequence))
        } else if let base = memory.baseAddress, let start = payload.baseAddress {
            let offset = start - base
            precondition(offset >= 0 && offset + payload.count <= memory.count, "the frame lies outside the memory")
            if pendingCount == pending.count || pendingProgram != choice { finishBatch() }
            pendingProgram = choice
            pending[pendingCount] = Descriptor(offset: UInt64(offset), length: UInt32(payload.count))
            pendingCount += 1
        } else {
            programs[choice].execute(onAll: payload)
        }
    }

    private func takeRecord(_ view: FrameView) {
        // A record's fields are aligned; behind a link header of 14 bytes it need not be.
        var body = view.body
        if UInt(bitPattern: body.baseAddress) & 15 != 0 {
            let copy = UnsafeMutableRawBufferPointer(rebasing: record[..<body.count])
            copy.copyMemory(from: body)
            body = UnsafeRawBufferPointer(copy)
        }
        do throws(RecordError) {
            let record = try RecordView(validating: body)
            let table = try record.loadDescriptors(into: scratch, blobByteCount: blob.count)
            counts.descriptors += UInt64(table.descriptors.count)
            mismatch(verifier?.differs(table.descriptors, of: view.header.sequence))
            let isCarried = record.instructionCount > 0 && configuration.runsCarriedPrograms
            let choice = isCarried ? loaded(record.carries, record.instructions) : own
            guard let choice else { return }
            counts.executed += 1
            counts.workedBytes += table.byteCount
            counts.operationBytes += table.byteCount &* programs[choice].stepCount
            if let base = blob.baseAddress { programs[choice].execute(on: base, table.descriptors) }
            verifier?.execute(programs[choice].program, table.descriptors)
        } catch {
            fault(\.rejected, "frame \(view.header.sequence): \(error)")
        }
    }

    /// Which program has these instructions, compiled if it is new; nil, counted as rejected, if it cannot be run.
    private func loaded(_ carries: ([Instruction]) -> Bool, _ instructions: () -> [Instruction]) -> Int? {
        if current < programs.count, carries(programs[current].instructions) { return current }
        if let index = programs.firstIndex(where: { carries($0.instructions) }) {
            current = index
            return index
        }
        guard programs.count < Self.maximumPrograms else {
            fault(\.rejected, "the frames carry more than \(Self.maximumPrograms) different programs")
            return nil
        }
        do throws(ProgramError) {
            programs.append(LoadedProgram(try Program(decoding: instructions()), isa: isa))
        } catch {
            fault(\.rejected, error.description)
            return nil
        }
        current = programs.count - 1
        return current
    }
}

/// The sum of what one operation of a program yielded.
public struct ProgramTotal: Sendable, Hashable, Codable {
    /// The program's text.
    public let program: String
    /// The operation's text.
    public let op: String
    /// The sum, wrapping, in decimal: JSON numbers do not hold 64 bits everywhere.
    public let value: String

    /// Makes one.
    public init(program: String, op: String, value: UInt64) {
        self.program = program
        self.op = op
        self.value = "\(value)"
    }
}

/// A program in the forms that a receiver needs, with its totals.
final class LoadedProgram {
    let program: Program
    let instructions: [Instruction]
    let stepCount: UInt64
    private let plan: Plan
    private let totals: UnsafeMutableBufferPointer<UInt64>
    private let range = UnsafeMutableBufferPointer<Descriptor>.allocate(capacity: 1)

    init(_ program: Program, isa: ISA) {
        self.program = program
        instructions = program.instructions
        stepCount = UInt64(program.steps.count)
        plan = Plan(program, isa: isa)
        totals = .allocate(capacity: plan.reducerCount)
        totals.initialize(repeating: 0)
    }

    deinit {
        totals.deallocate()
        range.deallocate()
    }

    func execute(on base: UnsafeMutableRawPointer, _ descriptors: UnsafeBufferPointer<Descriptor>) {
        plan.execute(on: base, descriptors: descriptors, totals: totals)
    }

    func execute(onAll bytes: UnsafeMutableRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        range[0] = Descriptor(offset: 0, length: UInt32(bytes.count))
        execute(on: base, UnsafeBufferPointer(range))
    }

    var namedTotals: [ProgramTotal] {
        zip(program.reducers, totals).map { ProgramTotal(program: "\(program)", op: "\($0)", value: $1) }
    }
}
