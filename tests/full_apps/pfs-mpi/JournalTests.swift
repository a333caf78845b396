import Foundation
import Testing
import ToolTesting

extension MPIJobs {
    @Suite("Journal", .serialized)
    struct JournalTests {
        static let shape = ["--block", "64", "--chunk", "64K"]

        private func input(_ place: Workplace, _ attempt: Int) throws -> String {
            try place.file("in", randomBytes((2 << 20) << (2 * attempt), seed: 51))
        }

        /// Bytes of a journal that has so much in it that `count` chunks must be among it.
        private func size(_ place: Workplace) -> Int { place.size("journal") }

        /// Waits until the journal has grown `count` times.
        private func waitForChunks(_ count: Int, _ job: HeldJob, _ place: Workplace) -> Bool {
            var last = 0
            var growths = -1
            return job.waits {
                let now = size(place)
                if now > last { (last, growths) = (now, growths + 1) }
                return growths >= count
            }
        }

        /// What a job is killed by.
        enum Blow: String, CaseIterable { case rank0, another, everything }

        @Test(
            "Killed at any moment, a job goes on where it was, and ends as if nothing had been",
            arguments: Blow.allCases, 0..<2)
        func resume(blow: Blow, round: Int) throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let isDigests = round == 0
            let output = isDigests ? ["--digests", place.path("result")] : ["--out", place.path("result")]
            let program = ["--prog", isDigests ? "crc32c,fnv,counteq:0" : "add:3,crc32c,xor:7", "--json"] + Self.shape
            let journal = ["--journal", place.path("journal")]
            let job = try HeldJob(hosts, [2, 2], holding: 2) { attempt in
                [try input(place, attempt)] + program + output + journal
            }
            #expect(waitForChunks(round == 0 ? 1 : 5, job, place))
            for member in hosts.processes() {
                switch blow {
                case .rank0:
                    if hosts.ranks().contains(where: { $0.pid == member.pid }), member.rank == 0 {
                        kill(member.pid, SIGKILL)
                    }
                case .another:
                    if hosts.ranks().contains(where: { $0.pid == member.pid }), member.rank == 3 {
                        kill(member.pid, SIGKILL)
                    }
                case .everything: kill(member.pid, SIGKILL)
                }
            }
            let killed = try job.running.finish()
            #expect(killed.status != 0)
            #expect(hosts.leftovers(after: 30).isEmpty)
            #expect(!FileManager.default.fileExists(atPath: place.path("result")), "no result before all is done")

            let file = place.path("in")
            let refused = try hosts.run([1, 1], [file] + program + output + journal)
            #expect(refused.status == 64 || refused.status == 73, "\(refused)")
            #expect(refused.errors.contains("--resume"), "\(refused)")
            let resumed = try hosts.run([1, 2], [file] + program + output + journal + ["--resume"])
            try #require(resumed.status == 0, "\(resumed)")
            #expect(try resumed.result()["resumed_chunks"] as? Int ?? 0 > 0)
            let expected = try single.run(
                [file] + program.filter { $0 != "--chunk" && $0 != "64K" }
                    + [isDigests ? "--digests" : "--out", place.path("expected")])
            #expect(try resumed.totals() == expected.totals())
            #expect(try place.bytes("result") == place.bytes("expected"))
            #expect(try place.names() == ["expected", "in", "result"])
        }
    }
}
