import PacketFSEngine
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import RandomRuns
import SystemPackage

/// A stream that has begun.
final class ActiveStream {
    let begin: StreamBegin
    let program: Program
    let blob: HugeBlob
    @exclusivity(unchecked) var work: TotalsExecutor
    private var verifier: StreamVerifier?
    let startedAt: UInt64
    var endedAt: UInt64
    var end: StreamEnd?

    /// Opens the blob that a begin record speaks of, whose program is `program`.
    convenience init(_ begin: StreamBegin, _ program: Program, _ side: StreamSide, _ isa: ISA) throws {
        let place = side.place
        guard let opened = try Self.open(place) else {
            throw ToolError(
                .unavailable,
                "there is no blob \(place.blobPath): give both sides the same --blob, --dir and --huge-dir")
        }
        guard fileNumber(opened.fileDescriptor) == begin.blobFile,
            UInt64(opened.byteCount) >= begin.blobByteCount
        else {
            throw ToolError(
                .unavailable,
                "\(place.blobPath) is not the blob that the producer uses: give both sides the same --blob, --dir and "
                    + "--huge-dir")
        }
        // Faults during the stream would cost a good part of its rate.
        try opened.prefault(Int(begin.range.lowerBound)..<Int(begin.range.upperBound))
        let verifier = side.verify ? try StreamVerifier(begin, program, opened) : nil
        self.init(begin, program, opened, verifier, isa)
    }

    private init(
        _ begin: StreamBegin, _ program: Program, _ blob: consuming HugeBlob, _ verifier: StreamVerifier?, _ isa: ISA
    ) {
        // Valid as long as the blob, which goes together with what uses it.
        let memory = blob.withUnsafeMutableBytes {
            UnsafeMutableRawBufferPointer(rebasing: $0[..<Int(begin.blobByteCount)])
        }
        work = TotalsExecutor(
            mix: ProgramMix(program), carriesProgram: true, descriptorsPerRecord: Int(begin.descriptorsPerRecord),
            isa: isa, blob: memory)
        self.blob = blob
        self.begin = begin
        self.program = program
        self.verifier = verifier
        startedAt = Clock.monotonic()
        endedAt = startedAt
    }

    /// The blob of that name; nil if there is none.
    private static func open(_ place: StreamPlace) throws -> HugeBlob? {
        do throws(MemoryError) {
            return try HugeBlob.open(named: place.blobFile, in: place.blobFolder)
        } catch .system(_, _, .noSuchFileOrDirectory) {
            return nil
        }
    }

    /// What has been executed so far.
    var answer: StreamAnswer { StreamAnswer(work.tally, totals: Array(work.totals)) }

    /// The verifier, which this gives away.
    func takeVerifier() -> StreamVerifier? {
        defer { verifier = nil }
        return verifier
    }
}
