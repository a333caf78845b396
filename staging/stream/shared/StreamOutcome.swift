import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import RandomRuns

/// What one side of a stream did and saw.
@dynamicMemberLookup
package struct StreamOutcome: Sendable {
    /// Totals of one program, in the order of its reducing operations.
    struct Totals: Sendable {
        let program: Program
        var values: [UInt64]
    }

    let role: Ring.Role
    let side: StreamSide
    let isa: ISA
    /// The last stream's program; nil if none began.
    var program: Program?
    var backing: Backing?
    /// What the transmitter was told, and the range that it drew descriptors from.
    var transmitter: (configuration: TransmitterConfiguration, range: Range<UInt64>)?
    /// Executed by this consumer, or sent by this producer and released by a consumer. Its counts are members of this value, too.
    var tally = Tally()
    /// Records that a consumer passed over, because it had not seen the beginning of their stream.
    var skippedRecords: UInt64 = 0
    /// Time during which a stream was on.
    var elapsedNanoseconds: UInt64 = 0
    /// Streams begun.
    var streams = 0
    /// What the consumer answered to this producer.
    var answer: StreamAnswer?
    var totals: [Totals] = []
    /// Why the last stream ended early, if it did.
    package var fault: StreamFault?
    /// What the two sides disagree about, or what differs from the reference.
    package var disagreement: String?
    /// Whether the reference implementation gives the same; nil if that was not asked for or cannot be found out.
    package var verified: Bool?
    /// Why it cannot be found out.
    var unverifiable: String?

    init(role: Ring.Role, side: StreamSide, isa: ISA) {
        self.role = role
        self.side = side
        self.isa = isa
    }

    /// A count.
    package subscript(dynamicMember count: KeyPath<Tally, UInt64>) -> UInt64 { tally[keyPath: count] }

    /// The first thing that is wrong with the outcome, as an error with its exit code; nil if all is well. An interruption is no
    /// error, and is not told here.
    package var error: ToolError? {
        switch fault {
        case .failed(let error)?: return error
        case .interrupted?, nil: break
        case let fault?:
            return ToolError(.system, "\(fault): the stream was ended; its figures stop there")
        }
        if verified == false {
            return ToolError(
                .verificationFailed, "verification failed: \(disagreement ?? "records were rejected")")
        }
        if let disagreement { return ToolError(.system, disagreement) }
        guard tally.rejectedRecords == 0 else {
            return ToolError(.system, "\(tally.rejectedRecords) records were refused: shared memory was corrupted")
        }
        return nil
    }

    /// Adds totals to those of the same program.
    mutating func add(_ values: [UInt64], of program: Program) {
        guard values.count == program.reducers.count else { return }
        if let index = totals.firstIndex(where: { $0.program == program }) {
            for position in values.indices { totals[index].values[position] &+= values[position] }
        } else {
            totals.append(Totals(program: program, values: values))
        }
    }

    var seconds: Double { Double(max(1, elapsedNanoseconds)) / 1e9 }
    var megabytesPerSecond: Double { Double(tally.bytes) / seconds / 1e6 }
    var recordsPerSecond: Double { Double(tally.records) / seconds }
}
