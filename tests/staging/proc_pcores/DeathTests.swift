import Foundation
import Testing
import ToolTesting

@Suite("pfs_proc_pcores: sudden ends", .serialized)
struct DeathTests {
    /// A run that would go on for a minute.
    private func start(_ extra: [String] = []) throws -> (running: Tool.Running, pcores: [pid_t]) {
        let running = try tool.start(
            quick + ["--pcores", "4", "--duration", "60", "--op", "xor", "--imm", "1"] + extra)
        try #require(running.says("running"), "\(running.errorsSoFar)")
        let pcores = running.pcores
        #expect(pcores.count == 4)
        return (running, pcores)
    }

    private func expectGone(_ pcores: [pid_t]) {
        let deadline = Date(timeIntervalSinceNow: 60)
        while pcores.contains(where: Processes.isAlive), Date() < deadline { usleep(1000) }
        #expect(pcores.filter(Processes.isAlive).isEmpty, "pcores left behind")
    }

    @Test("50 runs with a random pcore or the producer killed at a random moment")
    func kills() throws {
        let folder = try BlobFolder()
        var random = SystemRandomNumberGenerator()
        for round in 0..<50 {
            let (running, pcores) = try start(["--huge-dir", folder.path])
            usleep(.random(in: 0...80_000, using: &random))
            let victimIsProducer = round % 3 == 0
            let victim = victimIsProducer ? running.process.processIdentifier : pcores.randomElement(using: &random)!
            #expect(kill(victim, SIGKILL) == 0)
            // Everyone is gone within the second that the issue allows; what is asserted is the end, not the speed.
            #expect(running.wait(seconds: 60), "the run did not end")
            expectGone(pcores)
            let result = try running.finish()
            if victimIsProducer {
                #expect(result.wasSignalled)
            } else {
                #expect(result.status == 71, "\(result.errors)")
                #expect(result.errors.contains("(pid \(victim)) was killed by signal 9"), "\(result.errors)")
                #expect(result.output.contains("ended early"), "figures are printed all the same")
            }
        }
        #expect(try folder.contents() == [])
    }

    @Test("A killed producer is reported by a pcore")
    func producerReport() throws {
        let (running, pcores) = try start()
        kill(running.process.processIdentifier, SIGKILL)
        #expect(running.wait(seconds: 60))
        expectGone(pcores)
        #expect(try running.finish().errors.contains("the parent process was killed"))
    }

    @Test("Ctrl-C and SIGTERM end a run with its figures", arguments: [SIGINT, SIGTERM, SIGHUP])
    func interruption(signal: Int32) throws {
        let folder = try BlobFolder()
        let (running, pcores) = try start(["--json", "--huge-dir", folder.path])
        usleep(.random(in: 0...50_000))
        kill(running.process.processIdentifier, signal)
        let result = try running.finish()
        #expect(result.status == 128 + signal && !result.wasSignalled, "\(result.errors)")
        #expect(try result.result()["ended_early"] as? String != nil)
        expectGone(pcores)
        #expect(try folder.contents() == [])
    }

    @Test("Ctrl-C during the baseline")
    func earlyInterruption() throws {
        let running = try tool.start(["--blob-mb", "4", "--csv", "", "--baseline-seconds", "60"])
        #expect(running.says("baseline"))
        usleep(.random(in: 0...50_000))
        kill(running.process.processIdentifier, SIGINT)
        let result = try running.finish()
        #expect(result.status == 128 + SIGINT, "\(result.errors)")
    }

    @Test("A stopped pcore is slow, not dead: the run goes on and ends when it continues")
    func stopped() throws {
        let hold = try PausedRun(records: 10)
        let running = try tool.start(
            quick + ["--pcores", "2", "--records", "400", "--verify", "--json"], hold: hold)
        try hold.wait(for: 2, running)
        let pcore = try #require(running.pcores.first)
        kill(pcore, SIGSTOP)
        hold.release()
        // The producer wakes every 5 ms to look at its pcores.
        let before = Processes.sleeps(of: running.process.processIdentifier)
        #expect(running.waits { Processes.sleeps(of: running.process.processIdentifier) > before + 60 })
        kill(pcore, SIGCONT)
        let result = try running.finish()
        #expect(result.status == 0, "\(result.errors)")
        #expect(try result.result()["records"] as? Int == 800)
    }

    /// Kills `count` pcores of a run of 30000 records each, at random moments, and then lets the run come to its end.
    private func killing(_ count: Int, _ arguments: [String]) throws -> Tool.Result {
        let hold = try PausedRun(records: 29_000)
        let running = try tool.start(
            quick + ["--pcores", "3", "--records", "30000", "--restart-failed", "--json"] + arguments, hold: hold)
        try #require(running.says("running"), "\(running.errorsSoFar)")
        var random = SystemRandomNumberGenerator()
        for killed in 1...count {
            usleep(.random(in: 2000...30_000, using: &random))
            let pcores = running.pcores
            let victim = try #require(pcores.randomElement(using: &random))
            #expect(kill(victim, SIGKILL) == 0)
            #expect(running.says("(pid \(victim)) was killed by signal 9"), "\(running.errorsSoFar)")
            let warnings = running.errorsSoFar.components(separatedBy: "was killed by signal 9").count - 1
            #expect(warnings == killed, "\(running.errorsSoFar)")
        }
        hold.release()
        return try running.finish()
    }

    @Test("Killed pcores are replaced, and every record of a reading program counts exactly once", arguments: 0..<2)
    func restart(round: Int) throws {
        let result = try killing(5, ["--verify", "--prog", "crc32c,counteq:0"])
        #expect(result.status == 0, "\(result.errors)")
        let values = try result.result()
        #expect(values["restarts"] as? Int == 5)
        #expect(values["records"] as? Int == 90_000)
        #expect(values["verified"] as? Bool == true, "totals equal those of an undisturbed run")
        #expect((values["in_doubt"] as? [Any])?.isEmpty == true)
    }

    @Test("A killed pcore of a writing program: the run goes on and says which bytes are in doubt")
    func doubt() throws {
        let result = try killing(4, ["--prog", "xor:1", "--verify"])
        #expect(result.status == 0, "\(result.errors)")
        let values = try result.result()
        #expect(values["restarts"] as? Int == 4)
        let doubts = try #require(values["in_doubt"] as? [[String: Any]])
        let records = doubts.reduce(0) { $0 + ($1["records"] as? Int ?? 0) }
        #expect(values["records"] as? Int == 90_000 - records, "what is in doubt is not counted")
        #expect(records <= 4 * 8)
        for doubt in doubts {
            let count = try #require(doubt["records"] as? Int)
            #expect((doubt["ranges"] as? [Any])?.count == count * 64)
        }
        #expect(values["verified"] is NSNull == !doubts.isEmpty)
    }
}
