import PacketFSGram
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import Synchronization
import Testing

@testable import PacketFSEngine
@testable import RandomRuns
@testable import pfs_proc_pcores

/// What configurations take and refuse, and what outcomes compute and say. How they come about is tested with real pcores.
@Suite("pfs_proc_pcores: configurations and outcomes")
struct OutcomeTests {
    @Test("A sample with less time behind it than the one before")
    func clockThatStartsAnew() {
        var tally = Tally()
        let first = Sample(tally, elapsedNanoseconds: 5_000_000, isa: .portable)
        tally.count(descriptors: 1, bytes: 1000, operations: 1)
        let next = Sample(tally, elapsedNanoseconds: 2_000_000, after: first, isa: .portable)
        #expect(next.megabytesPerSecond.isFinite && next.megabytesPerSecond > 0)
        #expect(next.elapsedNanoseconds == 2_000_000)
    }

    /// The exit code and message with which `body` refuses; nil if it does not.
    private func refusal(_ body: () throws -> Void) -> ToolError? {
        do {
            try body()
            return nil
        } catch {
            return error as? ToolError
        }
    }

    @Test func runs() throws {
        var configuration = RunConfiguration(mix: ProgramMix(try Program(parsing: "fnv")))
        try configuration.validate()
        configuration.pcores = PCoreWorker.maximumPCores
        try configuration.validate()
        configuration.rangeLength = 0
        #expect(refusal { try configuration.validate() }?.description.contains("--range-len") == true)
        configuration.pcores = 1
        #expect(configuration.slabByteCount == 1 << 20, "at most 1 MiB each by default")
        configuration.pcores = 4096
        #expect(configuration.slabByteCount == 512 << 10, "and at least 512 KiB")
    }

    /// A sample of three pcores on two CPUs after half a second.
    static let sample = sample(baseline: 4000)

    static func sample(baseline: Double?) -> Sample {
        var tally = Tally()
        (tally.bytes, tally.records) = (3_000_000_000, 1_200_000)
        return Sample(
            tally, elapsedNanoseconds: 500_000_000, isa: .portable, baselineMegabytesPerSecond: baseline, cpuCount: 2,
            pcores: [PCoreResult(cpu: 1, tally: tally)])
    }

    @Test func sampleRates() {
        #expect(Self.sample.cpupwn == 1.5)
        #expect(Self.sample.cpupwnPerCPU == 0.75)
        #expect(Self.sample.liveLine == "0.5 s  6000 MB/s  2.40 Mrecords/s  CPUpwn 1.50")
        let bare = Self.sample(baseline: nil)
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
            pcores: counters.count, limit: 4096, descriptorsPerRecord: 1, lowWater: 1,
            job: .random(RandomParameters(configuration.work, range: 0..<4096)))
        let control = try ControlRegion(parameters: parameters, mix: configuration.work.mix)
        for (index, values) in counters.enumerated() {
            let block = control.block(index)
            var tally = Tally()
            (tally.records, tally.descriptors, tally.bytes) = (values[0], values[1], values[2])
            (tally.operationBytes, tally.rejectedRecords, tally.sleeps) = (values[3], values[4], values[5])
            block.older.tally = tally
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
            #expect(outcome.summaryLines.contains { $0.contains(part) }, "\(outcome.summaryLines)")
        }
    }
}
