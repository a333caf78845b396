import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools

/// A copy of what the blob held when a stream began, to compute the stream anew on.
final class StreamVerifier {
    private let verifier: Verifier
    private let generator: RandomDescriptors

    init(_ begin: StreamBegin, _ program: Program, _ blob: borrowing HugeBlob) throws {
        var configuration = RunConfiguration(mix: ProgramMix(program))
        configuration.pcores = 1
        configuration.descriptorsPerRecord = Int(begin.descriptorsPerRecord)
        configuration.alignment = Int(begin.alignment)
        configuration.seed = begin.seed
        verifier = try Verifier(configuration: configuration, range: begin.range, copying: blob)
        generator = RandomDescriptors(
            region: begin.range, alignment: begin.alignment, seed: begin.seed, stream: 0)
    }

    /// Where the answer or the bytes of the blob differ from the reference; nil if nowhere.
    func difference(
        _ answer: StreamAnswer, from firstRecord: UInt64, on blob: borrowing HugeBlob, _ signals: TerminationSignals
    ) throws -> Difference? {
        let result = PCoreResult(
            cpu: 0, records: answer.records, descriptors: answer.descriptors, bytes: answer.bytes, operationBytes: 0,
            rejectedRecords: answer.rejected, sleeps: 0, cpuNanoseconds: 0, totals: answer.totals)
        return try verifier.firstDifference(
            of: [result], blob: blob, generators: [generator], signals: signals, firstRecord: firstRecord)
    }
}
