import Foundation
import Testing
import ToolTesting

extension MPIJobs {
    @Suite("Journal", .serialized)
    struct JournalTests {
        private func input(_ place: Workplace) throws -> String {
            try place.file("in", randomBytes(2 << 20, seed: 51))
        }

        /// What a job is killed by.
        enum Blow: String { case rank0, another, everything }

        @Test(
            "Killed at any moment, a job goes on where it was, and ends as if nothing had been",
            arguments: [(Blow.rank0, 1, true), (.another, 2, false), (.everything, 3, true), (.everything, 1, false)])
        func resume(blow: Blow, chunks: Int, isDigests: Bool) throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let output = isDigests ? ["--digests", place.path("result")] : ["--out", place.path("result")]
            let file = try input(place)
            let program = ["--prog", isDigests ? "crc32c,fnv,counteq:0" : "add:3,crc32c,xor:7", "--json"]
            let journal = ["--journal", place.path("journal")]
            let job = try PausedJob(hosts, [2, 2], chunks: chunks, [file] + program + output + journal)
            #expect(job.running.waits { place.journalledChunks() == 4 * chunks })
            switch blow {
            case .rank0: try kill(job.rank(0).pid, SIGKILL)
            case .another: try kill(job.rank(3).pid, SIGKILL)
            case .everything: for member in hosts.processes() { kill(member.pid, SIGKILL) }
            }
            let killed = try job.running.finish()
            #expect(killed.status != 0)
            #expect(hosts.leftovers(after: 30).isEmpty)
            #expect(!FileManager.default.fileExists(atPath: place.path("result")), "no result before all is done")

            let again = [file] + program + PausedJob.shape + output + journal
            let refused = try hosts.run([1, 1], again)
            #expect(refused.status == 64 || refused.status == 73, "\(refused)")
            #expect(refused.errors.contains("--resume"), "\(refused)")
            let resumed = try hosts.run([1, 2], again + ["--resume"])
            try #require(resumed.status == 0, "\(resumed)")
            #expect(try resumed.result()["resumed_chunks"] as? Int == 4 * chunks)
            let expected = try single.run(
                [file, "--block", "64"] + program + [isDigests ? "--digests" : "--out", place.path("expected")])
            #expect(try resumed.totals() == expected.totals())
            #expect(try place.bytes("result") == place.bytes("expected"))
            #expect(try place.names() == ["expected", "in", "result"])
        }

        /// A folder with a file, a journal of a job that was killed, and its partial output.
        private func interrupted(_ hosts: Hosts) throws -> Workplace {
            let place = try Workplace()
            let job = try PausedJob(hosts, [2], chunks: 2, [try input(place)] + arguments(place))
            #expect(job.running.waits { place.journalledChunks() == 4 })
            for member in hosts.processes() { kill(member.pid, SIGKILL) }
            #expect(try job.running.finish().status != 0)
            #expect(hosts.leftovers(after: 30).isEmpty)
            return place
        }

        private func arguments(_ place: Workplace) -> [String] {
            ["--prog", "add:3,crc32c,xor:7", "--out", place.path("result"), "--journal", place.path("journal")]
        }

        @Test("A damaged journal is refused, or its sound part used: what comes out is right")
        func damaged() throws {
            let hosts = try Hosts(["solo"])
            let place = try interrupted(hosts)
            let file = place.path("in")
            let sound = try place.bytes("journal")
            let names = try place.names()
            let kept = try names.filter { !["in", "journal"].contains($0) }.map { ($0, try place.bytes($0)) }
            #expect(
                try single.run([file, "--prog", "add:3,crc32c,xor:7", "--block", "64", "--out", place.path("expected")])
                    .status == 0)
            let expected = try place.bytes("expected")
            let noise = randomBytes(64, seed: 99).map(Int.init)
            var refused = 0
            for index in 0..<9 {
                var bytes = sound
                // Near the beginning, anywhere, and at the end.
                let position =
                    [index, noise[index] << 8 | noise[index + 20], sound.count - 1 - index][index % 3] % sound.count
                switch index % 4 {
                case 0: bytes[position] ^= UInt8(1 << (index % 8))
                case 1: bytes = Array(bytes[..<position])
                case 2: bytes.remove(at: position)
                default: bytes.insert(UInt8(noise[index + 40]), at: position)
                }
                _ = try place.file("journal", bytes)
                for (name, content) in kept { _ = try place.file(name, content) }
                let result = try hosts.run([2], [file, "--resume"] + arguments(place) + PausedJob.shape)
                if result.status == 0 {
                    #expect(try place.bytes("result") == expected, "\(index) at \(position)")
                    try place.remove("result")
                } else {
                    #expect([64, 65].contains(result.status), "\(index) at \(position): \(result)")
                    #expect(result.errors.contains(place.path("journal")), "\(index) at \(position): \(result)")
                    #expect(result.complaints.count == 1, "\(index) at \(position): \(result)")
                    #expect(try place.bytes("journal") == bytes, "a journal that is refused stays as it is")
                    refused += 1
                }
            }
            #expect(refused > 0)
        }

        @Test("A journal of other work, or of a file that has changed since, is refused")
        func foreign() throws {
            let hosts = try Hosts(["solo"])
            let place = try interrupted(hosts)
            let file = place.path("in")
            let journal = try place.bytes("journal")
            func refuse(_ arguments: [String], _ what: String) throws {
                let result = try hosts.run([2], arguments + ["--journal", place.path("journal"), "--resume"])
                #expect([64, 65].contains(result.status), "\(what): \(result)")
                #expect(result.errors.contains(place.path("journal")), "\(what): \(result)")
                #expect(try place.bytes("journal") == journal, "\(what)")
            }
            let other = try place.file("other", randomBytes(place.size("in"), seed: 1))
            let out = ["--out", place.path("result")]
            let shape = PausedJob.shape
            try refuse([other, "--prog", "add:3,crc32c,xor:7"] + out + shape, "another file")
            try refuse([file, "--prog", "add:4,crc32c,xor:7"] + out + shape, "another program")
            try refuse(
                [file, "--prog", "add:3,crc32c,xor:7", "--block", "128", "--chunk", "64K"] + out, "another block")
            try refuse([file, "--prog", "add:3,crc32c,xor:7", "--passes", "2"] + out + shape, "other passes")
            try refuse([file, "--prog", "add:3,crc32c,xor:7", "--range-off", "64"] + out + shape, "another range")
            try refuse(
                [file, "--prog", "add:3,crc32c,xor:7", "--out", place.path("elsewhere")] + shape, "another output")
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
            try handle.write(contentsOf: Data([1, 2, 3]))
            try handle.close()
            try refuse([file, "--prog", "add:3,crc32c,xor:7"] + out + shape, "the file has changed")
        }

        @Test("Where there is no journal yet, --resume begins at the beginning; at the end none is left")
        func fresh() throws {
            let hosts = try Hosts(["solo"])
            let place = try Workplace()
            let file = try input(place)
            let result = try hosts.run([3], [file, "--resume", "--json"] + arguments(place) + PausedJob.shape)
            #expect(result.status == 0, "\(result)")
            #expect(try result.result()["resumed_chunks"] as? Int == 0)
            #expect(try place.names() == ["in", "result"])
        }

        @Test("Of two jobs on one output at the same time, the later one wins; the other says so")
        func twoJobs() throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let arguments = [
                try input(place), "--prog", "add:3,crc32c,xor:7", "--out", place.path("result"),
            ]
            let job = try PausedJob(hosts, [1, 1], arguments)
            #expect(job.running.waits { place.hasPartial(of: "result") })
            let second = try hosts.run([1, 1], arguments + PausedJob.shape)
            #expect(second.status == 0, "\(second)")
            job.release()
            let first = try job.running.finish()
            #expect(first.status == 74, "\(first)")
            #expect(first.errors.contains("two jobs write " + place.path("result")), "\(first)")
            #expect(
                try single.run(
                    [
                        place.path("in"), "--prog", "add:3,crc32c,xor:7", "--block", "64", "--out",
                        place.path("expected"),
                    ]
                ).status == 0)
            #expect(try place.bytes("result") == place.bytes("expected"))
            #expect(try place.names() == ["expected", "in", "result"])
        }
    }
}
