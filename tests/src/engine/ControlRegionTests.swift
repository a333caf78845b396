import Glibc
import PacketFSPCPU
import Testing

@testable import PacketFSEngine

/// What pcores tell their parent, and what faults and differences say.
@Suite("PacketFSEngine: what is told")
struct ControlRegionTests {
    /// The counters of a pcore that is still writing its other snapshot are those of the complete one.
    @Test func theNewerSnapshotCounts() throws {
        let work = RandomWork(mix: ProgramMix(try Program(parsing: "fnv")))
        let parameters = RunParameters(
            pcores: 1, limit: 1, descriptorsPerRecord: 1, lowWater: 1,
            job: .random(RandomParameters(work, range: 0..<1)))
        let control = try ControlRegion(parameters: parameters, mix: work.mix)
        let block = control.block(0)
        block.older.tally.records = 1
        block.turn()
        block.older.tally.records = 2
        #expect(block.latest.tally.records == 1)
        block.turn()
        #expect(block.latest.tally.records == 2 && block.older.tally.records == 1)
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
}
