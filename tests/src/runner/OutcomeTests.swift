import Foundation
import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import Testing

@testable import PacketFSRunner

/// What outcomes compute and say. How they come about is tested with real pcores, through the tools.
@Suite("PacketFSRunner: outcomes")
struct OutcomeTests {
    /// A sample of three pcores on two CPUs after half a second.
    static let sample = Sample(
        elapsedNanoseconds: 500_000_000, bytes: 3_000_000_000, records: 1_200_000, descriptors: 9,
        megabytesPerSecond: 6000, recordsPerSecond: 2_400_000, baselineMegabytesPerSecond: 4000, cpuCount: 2,
        isa: .portable,
        pcores: [PCoreSample(cpu: 1, bytes: 2, records: 3, rejectedRecords: 4, sleeps: 5)])

    @Test func sampleRates() {
        #expect(Self.sample.cpupwn == 1.5)
        #expect(Self.sample.cpupwnPerCPU == 0.75)
        #expect(Self.sample.liveLine == "0.5 s  6000 MB/s  2.40 Mrecords/s  CPUpwn 1.50")
        var bare = Self.sample
        bare.baselineMegabytesPerSecond = nil
        #expect(bare.cpupwn == nil && bare.cpupwnPerCPU == nil)
        #expect(bare.liveLine == "0.5 s  6000 MB/s  2.40 Mrecords/s")
    }

    @Test func progressKeepsWarningsOnly() {
        let progress = RunProgress(isQuiet: true)
        progress.show(RunEvent.phase("begins"))
        progress.show(RunEvent.sample(Self.sample))
        progress.show(RunEvent.warning("beware"))
        #expect(progress.warnings == ["beware"])
    }

    /// The outcome of two pcores whose counters are given, as if they had run for 2 s.
    private func outcome(_ counters: [[UInt64]], totals: [[UInt64]]) throws -> RunOutcome {
        var configuration = RunConfiguration(mix: ProgramMix(try Program(parsing: "counteq:1,fnv")))
        configuration.pcores = counters.count
        let parameters = RunParameters(
            parentPID: 1, pcores: UInt32(counters.count), blobByteCount: 4096, descriptorsPerRecord: 1, alignment: 1,
            seed: 1, lowWater: 1, programs: 1, carriesProgram: true, baselineNanoseconds: 0, rangeStart: 0,
            rangeEnd: 4096)
        let control = try ControlRegion(parameters: parameters, mix: configuration.mix)
        for (index, values) in counters.enumerated() {
            let block = control.block(index)
            for (counter, value) in zip(PCoreBlock.Counter.allCases, values) { block.older[counter] = value }
            for (position, total) in totals[index].enumerated() { block.older[total: position] = total }
            block.turn()
            block.cpuNanoseconds = 700 + UInt64(index)
            block.endNanoseconds = 1_000_000_000 * UInt64(index + 2)
            block.state.pointee.store(PCoreState.done.rawValue, ordering: .releasing)
        }
        return RunOutcome(
            configuration: configuration, isa: .portable, pcoreCPUs: [4, 5], producerCPU: nil, range: 0..<4096,
            backing: try HugeBlob.create(byteCount: 4096).backing(), control: control, start: 1_000_000_000,
            baseline: 0.001, readyNanoseconds: 11, producerCPUNanoseconds: 12, restarts: 1,
            doubtful: [DoubtfulRecords(pcore: 1, firstRecord: 7, count: 2)], fault: nil)
    }

    @Test func countersAddUp() throws {
        // records, descriptors, bytes, operation bytes, rejected, sleeps
        let outcome = try outcome(
            [[1, 2, 3000, 6000, 0, 9], [10, 20, 5000, 10000, 3, 8]], totals: [[5, .max], [6, 3]])
        #expect(outcome.pcores.map(\.cpu) == outcome.pcoreCPUs)
        #expect(outcome.pcores.map(\.records) == [1, 10])
        #expect(outcome.pcores.map(\.operationBytes) == [6000, 10000])
        #expect(outcome.pcores.map(\.cpuNanoseconds) == [700, 701])
        #expect(outcome.elapsedNanoseconds == 2_000_000_000, "from the start to the end of the last one")
        #expect(outcome.final.bytes == 8000 && outcome.final.records == 11 && outcome.final.descriptors == 22)
        #expect(outcome.final.megabytesPerSecond == 0.004 && outcome.final.recordsPerSecond == 5.5)
        #expect(outcome.final.cpuCount == 2)
        #expect(outcome.rejectedRecords == 3)
        #expect(outcome.operationBytes == 16000)
        #expect(outcome.pcoreCPUNanoseconds == 1401)
        #expect(outcome.readyNanoseconds == 11 && outcome.producerCPUNanoseconds == 12)
        #expect(outcome.totals == [11, 2], "totals wrap")
        #expect(outcome.doubtful.map(\.firstRecord) == [7])
        for part in ["rejected    3 records", "1: pcores died", "2 records, pcore 1 from record 7", "CPUpwn      4.00"]
        {
            #expect(outcome.summary.contains(part), "\(outcome.summary)")
        }
    }

    /// The counters of a pcore that is still writing its other snapshot are those of the complete one.
    @Test func theNewerSnapshotCounts() throws {
        let parameters = RunParameters(
            parentPID: 1, pcores: 1, blobByteCount: 1, descriptorsPerRecord: 1, alignment: 1, seed: 1, lowWater: 1,
            programs: 1, carriesProgram: true, baselineNanoseconds: 0, rangeStart: 0, rangeEnd: 1)
        let control = try ControlRegion(parameters: parameters, mix: ProgramMix(try Program(parsing: "fnv")))
        let block = control.block(0)
        block.older[.records] = 1
        block.turn()
        block.older[.records] = 2
        #expect(block[.records] == 1)
        block.turn()
        #expect(block[.records] == 2 && block.older[.records] == 1)
    }

    @Test func faultsAndDifferencesSayWhatHappened() throws {
        #expect("\(RunFault.unresponsive(pcore: 3, pid: 77))".hasPrefix("pcore 3 (pid 77) did not end when told to"))
        #expect("\(RunFault.interrupted(signal: SIGINT))" == "interrupted by Ctrl-C")
        #expect("\(RunFault.interrupted(signal: SIGTERM))" == "interrupted by signal \(SIGTERM)")
        let step = try Program(parsing: "counteq:3").reducers[0]
        #expect(
            "\(Difference.total(pcore: 1, step: step, found: 2, expected: 4))"
                == "pcore 1: the total of counteq:3 is 2, the reference gives 4")
        #expect(
            "\(Difference.byte(offset: 9, found: 2, expected: 4))" == "byte 9 of the blob is 2, the reference gives 4")
        #expect(
            "\(Difference.counter(pcore: 1, name: "bytes", found: 2, expected: 4))"
                == "pcore 1: it counted 2 bytes, the reference gives 4")
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
            #expect(twice.summary.contains(part), "\(twice.summary)")
        }
        let wrong = outcome([BlockDifference(offset: 100, description: "counteq:0")], mode: .mapped, passes: [1])
        #expect(wrong.isAsExpected == false && wrong.summary.contains("1 of 3 blocks differ"))
        let empty = outcome(nil, mode: nil, passes: [])
        #expect(empty.isAsExpected == nil && empty.megabytesPerSecond == 0 && !empty.summary.contains("throughput"))
        let document = try #require(
            try JSONSerialization.jsonObject(with: Data(twice.json(check: nil, warnings: ["w"]).utf8))
                as? [String: Any])
        let result = try #require(document["result"] as? [String: Any])
        #expect(result["hole_bytes"] as? Int == 40 && result["ready_ns"] as? Int == 6)
        #expect(result["passes_ns"] as? [Int] == [100, 150] && result["mode"] as? String == "staged")

        struct More: Encodable { let color: String }
        let extended = try #require(
            try JSONSerialization.jsonObject(
                with: Data(
                    twice.json(
                        tool: "other", check: nil, warnings: [], config: More(color: "red"), result: More(color: "blue")
                    ).utf8)) as? [String: Any])
        #expect(extended["tool"] as? String == "other")
        let (config, more) = (extended["config"] as? [String: Any], extended["result"] as? [String: Any])
        #expect(config?["color"] as? String == "red" && config?["block_bytes"] as? Int == 100)
        #expect(more?["color"] as? String == "blue" && more?["hole_bytes"] as? Int == 40)
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
        #expect(outcome.resultLines.contains("  counteq:0   10"))
    }
}
