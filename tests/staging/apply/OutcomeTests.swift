import Foundation
import PacketFSEngine
import PacketFSPCPU
import PacketFSTools
import Testing

@testable import ApplyTool

/// What configurations take and refuse, and what outcomes compute and say. How they come about is tested with real pcores.
@Suite("pfs_apply: configurations and outcomes")
struct OutcomeTests {
    /// The exit code and message with which `body` refuses; nil if it does not.
    private func refusal(_ body: () throws -> Void) -> ToolError? {
        do {
            try body()
            return nil
        } catch {
            return error as? ToolError
        }
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
        configuration.blockByteCount = 1
        configuration.output = .inPlace
        #expect(refusal { try configuration.validate() }?.description.contains("--in-place needs a file") == true)
        #expect("\(ApplyConfiguration.Input.standardInput)" == "standard input")
        #expect("\(ApplyConfiguration.Input.file("/a/b"))" == "/a/b")
    }

    @Test func applyOutcome() throws {
        var configuration = ApplyConfiguration(
            program: try Program(parsing: "crc32c,counteq:0"), input: .file("/some/where"))
        configuration.blockByteCount = 100
        func outcome(_ differences: [BlockDifference]?, mode: ApplyMode?, passes: [UInt64]) -> ApplyOutcome {
            ApplyOutcome(
                configuration: configuration, mode: mode, isa: .portable, pcoreCPUs: [0, 1], bytes: 250, blocks: 3,
                holeBytes: 40, totals: [1, 2], wholeCRCs: [0: 0xAB], passNanoseconds: passes, readyNanoseconds: 6,
                records: 3, restarts: 0, backing: nil, differences: differences)
        }
        let twice = outcome([], mode: .staged, passes: [100, 150])
        #expect(twice.passedBytes == 500 && twice.elapsedNanoseconds == 250 && twice.megabytesPerSecond == 2000)
        #expect(twice.isAsExpected == true)
        for part in [
            "crc32c      000000ab", "counteq:0   2", "every block is as the digests say", "2 passes",
            "40 bytes of the file are holes", "on CPUs 0-1; blocks read, transformed and written by each pcore",
        ] {
            #expect(twice.summaryLines.contains { $0.contains(part) }, "\(twice.summaryLines)")
        }
        let wrong = outcome([BlockDifference(offset: 100, description: "counteq:0")], mode: .mapped, passes: [1])
        #expect(wrong.isAsExpected == false && wrong.summaryLines.contains("  checked     1 of 3 blocks differ"))
        let empty = outcome(nil, mode: nil, passes: [])
        #expect(
            empty.isAsExpected == nil && empty.megabytesPerSecond == 0
                && !empty.summaryLines.contains { $0.contains("throughput") })
        let report = ToolReport(
            tool: "pfs_apply", config: ApplyConfig(twice, check: nil), result: twice, warnings: ["w"])
        let document = try #require(
            try JSONSerialization.jsonObject(with: Data(report.json().utf8)) as? [String: Any])
        let result = try #require(document["result"] as? [String: Any])
        #expect(result["hole_bytes"] as? Int == 40 && result["ready_ns"] as? Int == 6)
        #expect(result["passes_ns"] as? [Int] == [100, 150] && result["mode"] as? String == "staged")
        #expect((document["config"] as? [String: Any])?["check"] is NSNull)
    }

    @Test("What another run has done counts as done, but not as this run's speed")
    func resumed() throws {
        var configuration = ApplyConfiguration(program: try Program(parsing: "counteq:0"), input: .file("/f"))
        configuration.blockByteCount = 10
        var totals = ChunkTotals(program: configuration.program, blockByteCount: 10, end: 40)
        totals.add(ChunkResult(range: 0..<40, values: [1, 2, 3, 4], holeBytes: 0))
        let outcome = ApplyOutcome(
            configuration, mode: .window, run: ChunkRunOutcome(isa: .portable, pcoreCPUs: [0]), totals: totals,
            passNanoseconds: [10], comparison: nil, resumedByteCount: 30)
        #expect(outcome.bytes == 40 && outcome.totals == [10] && outcome.workedBytes == 10)
        #expect(outcome.megabytesPerSecond == 1000)
        #expect(outcome.summaryLines.contains("  counteq:0   10"))
    }
}
