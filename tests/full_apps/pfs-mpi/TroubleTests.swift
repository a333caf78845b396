import Foundation
import Testing
import ToolTesting

extension MPIJobs {
    @Suite("Trouble", .serialized)
    struct TroubleTests {
        private func input(_ place: Workplace) throws -> String {
            try place.file("in", randomBytes(2 << 20, seed: 41))
        }

        /// A job that holds after some chunks have been written in part.
        private func heldWriter(_ hosts: Hosts, _ layout: [Int], _ place: Workplace, _ more: String...) throws
            -> PausedJob
        {
            let job = try PausedJob(
                hosts, layout, isPatient: true,
                [try input(place), "--prog", "add:1,fnv", "--out", place.path("out")] + more)
            #expect(job.running.waits { place.hasPartial(of: "out") })
            return job
        }

        @Test("Bad input ends with the right code, and says once what is wrong")
        func badInput() throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let file = try place.file("in", Array("some bytes\n".utf8))
            for (arguments, status, words) in [
                (["FILE", "--op", "frobnicate"], 64, "unknown"), (["FILE", "--block", "0"], 64, "--block"),
                (["FILE", "--chunk", "1000"], 64, "--chunk"), (["FILE", "--chunk", "0"], 64, "--chunk"),
                (["FILE", "--io", "telepathy"], 64, "--io"), (["FILE", "--op", "xor"], 64, "--out"),
                (["FILE", "--frobnicate"], 64, "--frobnicate"), (["-"], 64, "-"), ([], 64, "no input"),
                (["FILE", "--resume"], 64, "--journal"), (["FILE.missing"], 66, "FILE.missing"), (["/"], 66, "folder"),
                (["FILE", "--op", "xor", "--out", "/nowhere/x"], 73, "/nowhere/x"),
                (["FILE", "--digests", "/nowhere/x"], 73, "/nowhere/x"), (["FILE", "--check", "FILE"], 64, "line 1"),
                (["FILE", "--rank-csv", "/nowhere/x"], 73, "/nowhere/x"),
                (["FILE", "--journal", "/nowhere/x"], 73, "/nowhere/x"),
            ] {
                let result = try hosts.run([2, 1], arguments.map { $0.replacingOccurrences(of: "FILE", with: file) })
                #expect(result.status == Int32(status), "\(arguments): \(result)")
                let message = words.replacingOccurrences(of: "FILE", with: file)
                #expect(result.errors.contains(message), "\(arguments): \(result)")
                #expect(result.complaints.count == 1, "\(arguments): \(result)")
                #expect(try place.names() == ["in"], "\(arguments): nothing was written")
            }
            #expect(hosts.leftovers(after: 10).isEmpty)
        }

        @Test("A host that does not see the file, or another one, is named")
        func otherFile() throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let file = try place.file("in", randomBytes(10_000, seed: 1))
            let other = try place.file("other", randomBytes(9000, seed: 1))
            try hosts.run(on: "beta", "mount", "--bind", other, file)
            let different = try hosts.run([1, 1], [file])
            #expect(different.status == 74 || different.status == 66, "\(different)")
            #expect(different.errors.contains("on beta") && different.errors.contains(file), "\(different)")
            try hosts.run(on: "beta", "mount", "-t", "tmpfs", "tmpfs", place.url.path)
            let missing = try hosts.run([1, 1], [file])
            #expect(missing.status == 66, "\(missing)")
            #expect(missing.errors.contains("on beta") && missing.errors.contains(file), "\(missing)")
            #expect(hosts.leftovers(after: 10).isEmpty)
        }

        @Test("A full disk at the output")
        func fullDisk() throws {
            let hosts = try Hosts(["solo"])
            let place = try Workplace()
            let file = try place.file("in", randomBytes(3 << 20, seed: 3))
            let disk = place.path("disk")
            try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
            try hosts.run(on: "solo", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk)
            for arguments in [
                ["--op", "xor", "--out", disk + "/out"], ["--block", "16", "--digests", disk + "/digests"],
            ] {
                let result = try hosts.run([2], [file] + arguments)
                #expect(result.status == 74, "\(arguments): \(result)")
                #expect(result.errors.contains("No space left"), "\(arguments): \(result)")
                #expect(try hosts.run(on: "solo", "ls", "-A", disk) == "", "\(arguments)")
            }
        }

        @Test("A rank that is killed is named with its host; nothing is left")
        func killedRank() throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let job = try heldWriter(hosts, [2, 2], place)
            let victim = try job.rank(3)
            #expect(victim.host == "beta")
            kill(victim.pid, SIGKILL)
            let result = try job.running.finish()
            #expect(result.status == 128 + SIGKILL || result.status == 71, "\(result)")
            #expect(result.errors.contains("rank 3") && result.errors.contains("beta"), "\(result)")
            #expect(hosts.leftovers(after: 30).isEmpty)
            #expect(try place.names() == ["in"])
        }

        @Test("A pcore that is killed: the job ends, and says where")
        func killedPCore() throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let job = try heldWriter(hosts, [1, 2], place)
            for pcore in hosts.pcores() where pcore.rank == 2 { kill(pcore.pid, SIGKILL) }
            let result = try job.running.finish()
            #expect(result.status == 71, "\(result)")
            #expect(result.errors.contains("rank 2 on beta: "), "\(result)")
            #expect(hosts.leftovers(after: 30).isEmpty)
            #expect(try place.names() == ["in"])
        }

        @Test(
            "A pcore that is killed is replaced, if that is wanted, and each block still counts once",
            arguments: ["crc32c,fnv", "add:3,crc32c,fnv"])
        func replacedPCore(steps: String) throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let program = ["--prog", steps, "--json"]
            func output(_ name: String) -> [String] {
                steps.hasPrefix("add") ? ["--out", place.path("\(name).out")] : []
            }
            let job = try PausedJob(
                hosts, [1, 1],
                [try input(place), "--digests", place.path("got"), "--restart-failed"] + program + output("got"))
            // What alpha has claimed is not done before its pcore goes on, so that the job lasts, while beta's is killed at work.
            let stopped = hosts.pcores(on: "alpha")
            let killed = hosts.pcores(on: "beta").map(\.pid)
            #expect(stopped.count == 1 && killed.count == 1)
            for pcore in stopped { kill(pcore.pid, SIGSTOP) }
            job.release()
            usleep(.random(in: 0...20_000))
            for pcore in killed { kill(pcore, SIGKILL) }
            #expect(job.running.waits { hosts.pcores(on: "beta").contains { !killed.contains($0.pid) } })
            for pcore in stopped { kill(pcore.pid, SIGCONT) }
            let result = try job.running.finish()
            try #require(result.status == 0, "\(result)")
            #expect(try result.result()["restarts"] as? Int == 1)
            let expected = try single.run(
                [place.path("in"), "--block", "64"] + program + ["--digests", place.path("expected")]
                    + output("expected"))
            #expect(try result.totals() == expected.totals())
            if !output("got").isEmpty { #expect(try place.bytes("got.out") == place.bytes("expected.out")) }
            #expect(try place.bytes("got") == place.bytes("expected"))
            let outputs = output("").isEmpty ? [] : ["expected.out", "got.out"]
            #expect(try place.names() == (["expected", "got", "in"] + outputs).sorted())
        }

        @Test("A host that is cut off is named; everything ends on both sides")
        func cutCable() throws {
            let hosts = try Hosts(["alpha", "beta", "gamma"])
            let place = try Workplace()
            let job = try heldWriter(hosts, [1, 1, 1], place, "--timeout", "5")
            try hosts.setCable(of: "gamma", isCut: true)
            let result = try job.running.finish()
            #expect(result.status == 71, "\(result)")
            #expect(result.errors.contains("rank 2 on gamma"), "\(result)")
            #expect(hosts.leftovers(after: 60).isEmpty)
            #expect(try place.names() == ["in"])
        }

        @Test(
            "A file that shrinks or changes meanwhile",
            arguments: [("mmap", "shrinks"), ("mpi-io", "shrinks"), ("mmap", "changes")])
        func otherwiseMeanwhile(io: String, what: String) throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let job = try PausedJob(
                hosts, [1, 1],
                [
                    try input(place), "--prog", "crc32c,fnv", "--io", io, "--digests", place.path("digests"),
                    "--journal", place.path("journal"),
                ])
            #expect(job.running.waits { place.journalledChunks() == 2 })
            if what == "shrinks" {
                #expect(truncate(place.path("in"), 5) == 0)
            } else {
                let handle = try FileHandle(forWritingTo: place.url.appendingPathComponent("in"))
                try handle.write(contentsOf: Data([1, 2, 3]))
                try handle.close()
            }
            job.release()
            let result = try job.running.finish()
            #expect(result.status == 74, "\(result)")
            #expect(result.errors.contains(" on alpha: ") || result.errors.contains(" on beta: "), "\(result)")
            #expect(hosts.leftovers(after: 30).isEmpty)
            #expect(try place.names() == ["in", "journal"])
        }

        @Test("Ctrl-C at mpirun ends everything and leaves no output")
        func interrupted() throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let job = try heldWriter(hosts, [1, 1], place)
            for member in hosts.processes() where member.command.first == "mpirun" { kill(member.pid, SIGINT) }
            let result = try job.running.finish()
            #expect(result.status != 0, "\(result)")
            #expect(hosts.leftovers(after: 30).isEmpty)
            #expect(try place.names() == ["in"])
        }
    }
}
