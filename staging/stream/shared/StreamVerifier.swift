import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import RandomRuns

/// A copy of what the blob held when a stream began, to compute the stream anew on.
final class StreamVerifier {
    private let verifier: Verifier
    private let generator: RandomDescriptors

    init(_ begin: StreamBegin, _ program: Program, _ blob: borrowing HugeBlob) throws {
        var work = RandomWork(mix: ProgramMix(program))
        work.descriptorsPerRecord = Int(begin.descriptorsPerRecord)
        work.alignment = Int(begin.alignment)
        work.seed = begin.seed
        verifier = try Verifier(work: work, range: begin.range, copying: blob)
        generator = work.descriptors(of: 0, in: begin.range)
    }

    /// Where the answer or the bytes of the blob differ from the reference; nil if nowhere.
    func difference(
        _ answer: StreamAnswer, from firstRecord: UInt64, on blob: borrowing HugeBlob, _ signals: TerminationSignals
    ) throws -> Difference? {
        let result = PCoreResult(cpu: 0, tally: answer.tally, totals: answer.totals)
        return try verifier.firstDifference(
            of: [result], blob: blob, generators: [generator], signals: signals, firstRecord: firstRecord)
    }
}
