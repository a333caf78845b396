import PacketFSEngine
import PacketFSGram
import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import RandomRuns

/// What both sides of a stream are told.
package struct StreamSide: Sendable {
    /// Where the two meet.
    package var place: StreamPlace
    /// Waits without limit for the other side, again also when it dies.
    package var waits = false
    /// Seconds to wait for the other side to come, or to go on, before giving up.
    package var patienceSeconds = 60.0
    /// The CPU to run on; nil leaves that to the kernel.
    package var cpu: Int?
    /// Recomputes the stream with the reference implementation.
    package var verify = false

    /// The defaults at a place.
    package init(place: StreamPlace) { self.place = place }

    var patience: UInt64 { UInt64(patienceSeconds * 1e9) }

    func pin() throws(ToolError) {
        if let cpu { try ToolError.coded { try CPUs.pin(to: [cpu]) } }
    }
}

/// What the transmitter of a stream is told.
package struct TransmitterConfiguration: Sendable {
    /// What both sides are told.
    package var side: StreamSide
    /// The work, as of a run with one pcore.
    package var run: RunConfiguration
    /// Bytes of the ring's region: header, slots and slab.
    package var ringByteCount = 2 << 20
    /// Leaves ring and blob behind.
    package var keeps = false
    /// Whether the size of the blob was asked for.
    package var sizesBlob = false

    /// The defaults at a place with a program.
    package init(side: StreamSide, program: Program) {
        self.side = side
        run = RunConfiguration(mix: ProgramMix(program))
        run.pcores = 1
        run.blobByteCount = 256 << 20
    }

    /// Checks every value and some against each other, but not against the machine.
    package func validate() throws(ToolError) {
        let geometry = try geometry()
        var run = run
        run.slabByteCount = Int(geometry.slabByteCount)
        let least = 2 * ((run.work.recordByteCount + RecordFormat.alignment - 1) & ~(RecordFormat.alignment - 1)) + 128
        guard run.slabByteCount >= least else {
            let needed = Int(geometry.regionByteCount) - run.slabByteCount + least
            throw ToolError(
                .usage,
                "--ring-bytes \(ringByteCount): two records of \(run.work.recordByteCount) bytes (--dpf "
                    + "\(run.work.descriptorsPerRecord)) must fit beside \(geometry.slots) slots; at least \(needed)")
        }
        try run.validate()
    }

    /// The ring's shape.
    func geometry() throws(ToolError) -> RingGeometry {
        let slots: UInt32 = 1 << UInt32(run.ringPowerOfTwo)
        do throws(RingError) {
            let bare = Int(try RingGeometry(slots: slots).regionByteCount)
            guard ringByteCount > bare else {
                throw RingError.invalidGeometry(reason: "\(slots) slots take \(bare) bytes alone")
            }
            return try RingGeometry(slots: slots, slabByteCount: UInt64(ringByteCount - bare) & ~63)
        } catch {
            throw ToolError(.usage, "--ring-bytes \(ringByteCount): \(error)")
        }
    }
}

/// Why a stream ended other than by its end record.
package enum StreamFault: Error, Sendable, CustomStringConvertible {
    /// A signal asked for it.
    case interrupted(signal: Int32)
    /// The other side let go of its role before the end, or died.
    case peerGone(Ring.Role)
    /// The other side is attached, but does nothing.
    case peerIdle(Ring.Role, seconds: Double)
    /// The region cannot be used any further.
    case corrupt(RingError)
    /// The end record came back without an answer.
    case unanswered
    /// Records come, but the beginning of their stream does not.
    case notBegun
    /// Something else went wrong.
    case failed(ToolError)

    /// A phrase that stands alone.
    package var description: String {
        switch self {
        case .interrupted(let signal): "interrupted by signal \(signal)"
        case .peerGone(let role): "the \(role) died or left before the end of the stream"
        case .peerIdle(.consumer, let seconds):
            "the consumer is attached, but has taken nothing for \(format(seconds)) s (--patience)"
        case .peerIdle(.producer, let seconds):
            "the producer is attached, but has sent nothing for \(format(seconds)) s (--patience)"
        case .corrupt(let error): "\(error)"
        case .unanswered:
            "the consumer passed over the end of the stream without an answer: it was replaced, or is none of ours"
        case .notBegun: "records came without the beginning of their stream"
        case .failed(let error): error.description
        }
    }
}
