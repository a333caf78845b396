import PacketFSPCPU
import PacketFSTools
import Testing

@testable import PacketFSEngine
@testable import RandomRuns

/// What mixes take and refuse, at the edge and beyond, and what they choose.
@Suite("pfs_proc_pcores: mixes")
struct MixTests {
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
}
