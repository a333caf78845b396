import PacketFSPCPU
import PacketFSRing
import PacketFSTools
import SystemPackage
import Testing

@testable import PacketFSRunner

/// What configurations take and refuse, at the edge and beyond.
@Suite("PacketFSRunner: limits")
struct LimitTests {
    /// The exit code and message with which `body` refuses; nil if it does not.
    private func refusal(_ body: () throws -> Void) -> ToolError? {
        do {
            try body()
            return nil
        } catch {
            return error as? ToolError
        }
    }

    @Test func mixes() throws {
        func mix(programs: Int, weight: UInt32) throws -> ProgramMix {
            try ProgramMix(
                parsing: (0..<programs).map { "xor:\($0) \(weight)" }.joined(separator: "\n"), source: "here")
        }
        let most = try mix(programs: ProgramMix.maximumPrograms, weight: ProgramMix.maximumWeight)
        #expect(most.entries.count == ProgramMix.maximumPrograms && most.writes && most.reducers.isEmpty)
        let tooMany = try #require(refusal { _ = try mix(programs: ProgramMix.maximumPrograms + 1, weight: 1) })
        #expect("\(tooMany)".contains("here: has \(ProgramMix.maximumPrograms + 1) programs"))
        #expect(refusal { _ = try mix(programs: 1, weight: ProgramMix.maximumWeight + 1) } != nil)
        #expect(refusal { _ = try mix(programs: 1, weight: 0) } != nil)
        #expect(refusal { _ = try mix(programs: 0, weight: 1) } != nil)
    }

    /// Over many records each program comes as often as its weight says, and the same record always gets the same one.
    @Test func mixesChooseByWeight() throws {
        let mix = try ProgramMix(parsing: "fnv 1\nxor:1 3 # three times\n\ncrc32c 4", source: "here")
        var counts = [0, 0, 0]
        for record in 0..<80_000 as Range<UInt64> {
            let choice = mix.choose(seed: 7, pcore: 2, record: record)
            #expect(choice == mix.choose(seed: 7, pcore: 2, record: record))
            counts[choice] += 1
        }
        for (count, expected) in zip(counts, [10_000, 30_000, 40_000]) {
            #expect(abs(count - expected) < 1000, "\(counts)")
        }
    }

    @Test func runs() throws {
        var configuration = RunConfiguration(mix: ProgramMix(try Program(parsing: "fnv")))
        try configuration.validate()
        configuration.pcores = RunConfiguration.maximumPCores
        try configuration.validate()
        configuration.pcores += 1
        #expect(refusal { try configuration.validate() }?.description.contains("--pcores 4097") == true)
        configuration.pcores = 1
        #expect(configuration.slabByteCount == 1 << 20, "at most 1 MiB each by default")
        configuration.pcores = 4096
        #expect(configuration.slabByteCount == 512 << 10, "and at least 512 KiB")
    }

    @Test func applications() throws {
        var configuration = ApplyConfiguration(program: try Program(parsing: "fnv"), input: .standardInput)
        try configuration.validate()
        configuration.blockByteCount = ApplyConfiguration.maximumBlockByteCount
        configuration.windowByteCount = 2 * configuration.blockByteCount
        try configuration.validate()
        configuration.windowByteCount -= 1
        #expect(refusal { try configuration.validate() }?.description.contains("--window-mb") == true)
        configuration.windowByteCount = 8 << 30
        configuration.blockByteCount += 1
        #expect(refusal { try configuration.validate() }?.description.contains("--block") == true)
        configuration.blockByteCount = 1
        configuration.output = .inPlace
        #expect(refusal { try configuration.validate() }?.description.contains("--in-place needs a file") == true)
        #expect("\(ApplyConfiguration.Input.standardInput)" == "standard input")
        #expect("\(ApplyConfiguration.Input.file("/a/b"))" == "/a/b")
    }

    @Test func placesOfStreams() throws {
        func place(
            shared: String? = nil, device: String? = nil, blob: String? = nil, hugeFolder: String? = nil
        ) throws -> StreamPlace {
            try StreamPlace(shared: shared, device: device, blob: blob, folder: "/dev/shm", hugeFolder: hugeFolder)
        }
        let standard = try place()
        #expect(standard.ringPath.string == StreamPlace.standardDevice && !standard.namesBlob)
        #expect(standard.blobPath == "/dev/shm/pfs_fastpath.pfs-blob")
        let shared = try place(shared: "x.pfs-ring", hugeFolder: "/huge")
        #expect(shared.ringPath == "/dev/shm/x.pfs-ring" && shared.blobPath == "/huge/x.pfs-blob")
        #expect(shared.blobFolder == "/huge" && shared.transport == .shared(file: "x.pfs-ring", folder: "/dev/shm"))
        let named = try place(device: "/dev/pfs_fastpath1", blob: "mine")
        #expect(named.namesBlob && named.blobPath == "/dev/shm/mine.pfs-blob")
        #expect(
            refusal { _ = try place(shared: "x", device: "/dev/y") }?.description.contains("exclude each other") == true
        )
        #expect(refusal { _ = try place(shared: "../x") } != nil)

        var side = StreamSide(place: standard)
        try side.validate()
        for patience in [0, -1, .nan, 86_401] {
            side.patienceSeconds = patience
            #expect(refusal { try side.validate() }?.description.contains("--patience") == true)
        }
    }

    /// What ended a stream, its exit code, and that the first thing wrong is the one that is told.
    @Test func endsOfStreams() throws {
        let side = StreamSide(place: try StreamPlace(shared: "x", device: nil, blob: nil, folder: "/", hugeFolder: nil))
        var outcome = StreamOutcome(role: .consumer, side: side, isa: .portable)
        #expect(outcome.error == nil)
        outcome.disagreement = "counts differ"
        #expect(outcome.error?.description == "counts differ")
        outcome.verified = false
        #expect(outcome.error?.description == "verification failed: counts differ")
        let said: [(StreamFault, String)] = [
            (.peerGone(.producer), "the producer died or left before the end"),
            (.peerIdle(.consumer, seconds: 2), "the consumer is attached, but has taken nothing for 2 s"),
            (.peerIdle(.producer, seconds: 2), "the producer is attached, but has sent nothing for 2 s"),
            (.unanswered, "without an answer"), (.notBegun, "without the beginning of their stream"),
        ]
        for (fault, text) in said {
            outcome.fault = fault
            #expect("\(fault)".contains(text))
            #expect(outcome.error?.description == "\(fault): the stream was ended; its figures stop there")
        }
        outcome.fault = .interrupted(signal: 2)
        outcome.verified = nil
        outcome.disagreement = nil
        #expect(outcome.error == nil, "an interruption is no error")
    }
}
