import Foundation
import Testing

@Suite("pfs_proc_pcores: sudden ends", .serialized)
struct DeathTests {
    /// A run that would go on for a minute.
    private func start(_ extra: [String] = []) throws -> (running: Tool.Running, pcores: [pid_t]) {
        let running = try Tool.Running(
            Tool.quick + ["--pcores", "4", "--duration", "60", "--op", "xor", "--imm", "1"] + extra)
        let deadline = Date(timeIntervalSinceNow: 30)
        while !running.errorsSoFar.contains("running") {
            try #require(Date() < deadline && running.process.isRunning, "\(running.errorsSoFar)")
            usleep(2000)
        }
        let pcores = running.pcores
        #expect(pcores.count == 4)
        return (running, pcores)
    }

    private func expectGone(_ pcores: [pid_t], within seconds: Double) {
        let deadline = Date(timeIntervalSinceNow: seconds)
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
            #expect(running.wait(seconds: 10), "the run did not end")
            expectGone(pcores, within: 10)
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
        #expect(running.wait(seconds: 10))
        expectGone(pcores, within: 10)
        #expect(try running.finish().errors.contains("the parent process was killed"))
    }

    @Test("Ctrl-C and SIGTERM end a run with its figures", arguments: [SIGINT, SIGTERM, SIGHUP])
    func interruption(signal: Int32) throws {
        let folder = try BlobFolder()
        let (running, pcores) = try start(["--json", "--huge-dir", folder.path])
        usleep(20_000)
        kill(running.process.processIdentifier, signal)
        let result = try running.finish()
        #expect(result.status == 128 + signal && !result.wasSignalled, "\(result.errors)")
        #expect(try result.result()["ended_early"] as? String != nil)
        expectGone(pcores, within: 10)
        #expect(try folder.contents() == [])
    }

    @Test("Ctrl-C during the baseline")
    func earlyInterruption() throws {
        let running = try Tool.Running(["--blob-mb", "4", "--csv", "", "--baseline-seconds", "60"])
        let deadline = Date(timeIntervalSinceNow: 30)
        while !running.errorsSoFar.contains("baseline"), Date() < deadline { usleep(2000) }
        usleep(50_000)
        kill(running.process.processIdentifier, SIGINT)
        let result = try running.finish()
        #expect(result.status == 128 + SIGINT, "\(result.errors)")
    }

    @Test("A stopped pcore is slow, not dead: the run goes on and ends when it continues")
    func stopped() throws {
        let running = try Tool.Running(Tool.quick + ["--pcores", "2", "--records", "400", "--verify", "--json"])
        let deadline = Date(timeIntervalSinceNow: 30)
        while running.pcores.count < 2, running.process.isRunning, Date() < deadline { usleep(500) }
        let pcores = running.pcores
        for pid in pcores.prefix(1) { kill(pid, SIGSTOP) }
        usleep(300_000)
        for pid in pcores { kill(pid, SIGCONT) }
        let result = try running.finish()
        #expect(result.status == 0, "\(result.errors)")
        #expect(try result.result()["records"] as? Int == 800)
    }

    /// Kills `count` pcores of a run, each as soon as it has done something, and lets the run come to its end.
    private func killing(_ count: Int, _ arguments: [String]) throws -> Tool.Result {
        let running = try Tool.Running(Tool.quick + ["--pcores", "3", "--restart-failed", "--json"] + arguments)
        let deadline = Date(timeIntervalSinceNow: 60)
        while !running.errorsSoFar.contains("running"), running.process.isRunning, Date() < deadline { usleep(500) }
        var random = SystemRandomNumberGenerator()
        for killed in 1...count {
            usleep(.random(in: 2000...30_000, using: &random))
            let pcores = running.pcores
            guard let victim = pcores.randomElement(using: &random), kill(victim, SIGKILL) == 0 else { break }
            while !running.errorsSoFar.contains("(pid \(victim)) was killed by signal 9"), running.process.isRunning,
                Date() < deadline
            {
                usleep(500)
            }
            let warnings = running.errorsSoFar.components(separatedBy: "was killed by signal 9").count - 1
            #expect(warnings == killed, "\(running.errorsSoFar)")
        }
        return try running.finish()
    }

    @Test("Killed pcores are replaced, and every record of a reading program counts exactly once", arguments: 0..<2)
    func restart(round: Int) throws {
        let result = try killing(5, ["--records", "30000", "--verify", "--prog", "crc32c,counteq:0"])
        #expect(result.status == 0, "\(result.errors)")
        let values = try result.result()
        #expect(values["restarts"] as? Int == 5)
        #expect(values["records"] as? Int == 90_000)
        #expect(values["verified"] as? Bool == true, "totals equal those of an undisturbed run")
        #expect((values["in_doubt"] as? [Any])?.isEmpty == true)
    }

    @Test("A killed pcore of a writing program: the run goes on and says which bytes are in doubt")
    func doubt() throws {
        let result = try killing(4, ["--records", "30000", "--prog", "xor:1", "--verify"])
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
