import Foundation
import Testing
import ToolTesting

@Suite("pfs_apply: trouble", .serialized)
struct TroubleTests {
    @Test(
        "Bad input ends with the right code and says what is wrong",
        arguments: [
            (["FILE", "--op", "frobnicate"], 64, "unknown"), (["FILE", "--op", "xor", "--imm", "256"], 64, "256"),
            (["FILE", "--prog", ""], 64, "empty"), (["FILE", "--block", "0"], 64, "--block"),
            (["FILE", "--block", "2G"], 64, "--block"), (["FILE", "--block", "1X"], 64, "1X"),
            (["FILE", "--block", "-1"], 64, "--block"), (["FILE", "--passes", "0"], 64, "--passes"),
            (["FILE", "--pcores", "0"], 64, "--pcores"), (["FILE", "--cpu-first", "99"], 69, "--cpu-first"),
            (["FILE", "--range-off", "1G"], 64, "--range-off"), (["FILE", "--range-len", "1G"], 64, "--range-len"),
            (["FILE", "--op", "xor"], 64, "--out"), (["FILE", "--window-mb", "1", "--block", "1M"], 64, "--window-mb"),
            (["FILE", "--in-place", "--out", "x"], 64, "exclude"),
            (["-", "--in-place", "--op", "xor"], 64, "--in-place"),
            (["FILE", "--op", "xor", "--out", "FILE"], 64, "--in-place"), ([], 64, "no input"),
            (["FILE.missing"], 66, "FILE.missing"), (["/"], 66, "folder"),
            (["--check", "FILE.missing"], 66, "missing"),
            (["FILE", "--op", "xor", "--out", "/nowhere/x"], 73, "/nowhere/x"),
            (["FILE", "--op", "xor", "--out", "/"], 73, "/"), (["FILE", "--digests", "/nowhere/x"], 73, "/nowhere/x"),
            (["FILE", "--op", "xor", "--out", "/dev/full"], 74, "/dev/full"),
            (["FILE", "--check", "FILE"], 64, "line 1"), (["--check", "FILE", "--op", "fnv"], 64, "line 1"),
            (["FILE", "--prog", "xor:1", "--out", "OUT", "--digests", "OUT2"], 64, "--digests"),
            (["FILE", "--page-size", "1g", "--op", "xor", "--out", "OUT", "--window-mb", "4"], 69, "huge pages"),
        ])
    func badInput(arguments: [String], status: Int, words: String) throws {
        let place = try Workplace()
        let file = try place.file("in", Array("some bytes\n".utf8))
        let result = try tool.run(
            arguments.map {
                $0.replacingOccurrences(of: "FILE", with: file).replacingOccurrences(of: "OUT", with: place.path("out"))
            })
        #expect(result.status == Int32(status), "\(arguments): \(result.errors)")
        let message = words.replacingOccurrences(of: "FILE", with: file)
        #expect(result.errors.contains(message), "\(arguments): \(result.errors)")
        #expect(try place.names() == ["in"], "nothing was written")
        #expect(try place.bytes("in") == Array("some bytes\n".utf8))
    }

    @Test(
        "Digests that are damaged are refused with the line",
        arguments: [
            ("# packetfs digests 1", "# packetfs digests 2", "line 1"), ("# program: crc32c", "# program: md5", "md5"),
            ("# block_bytes: 1000", "# block_bytes: many", "block_bytes"),
            ("offset_bytes,length_bytes,crc32c", "offset_bytes,length_bytes,fnv", "columns"),
            ("1000,1000,", "1000,banana,", "line 10"), ("2000,1000,", "2500,1000,", "should be at 2000"),
            ("# range_offset_bytes: 0", "# range_offset_bytes: 99999999999999999999", "range_offset_bytes"),
        ])
    func damagedDigests(from: String, to: String, words: String) throws {
        let place = try Workplace()
        let file = try place.file("in", randomBytes(4500, seed: 2))
        let digests = place.path("digests")
        #expect(try tool.run([file, "--block", "1000", "--digests", digests]).status == 0)
        let text = try String(contentsOfFile: digests, encoding: .utf8)
        let damaged = text.replacingOccurrences(of: from, with: to)
        #expect(damaged != text)
        _ = try place.file("digests", Array(damaged.utf8))
        let result = try tool.run(["--check", digests])
        #expect(result.status == 64, "\(result.errors)")
        #expect(result.errors.contains(words), "\(result.errors)")
    }

    @Test("Damaged digests never crash the tool", arguments: 0..<40)
    func mutatedDigests(seed: Int) throws {
        let place = try Workplace()
        let file = try place.file("in", randomBytes(4500, seed: 2))
        let digests = place.path("digests")
        #expect(
            try tool.run([file, "--block", "1000", "--digests", digests, "--prog", "crc32c,counteq:0"]).status == 0)
        var bytes = try place.bytes("digests")
        let noise = randomBytes(12, seed: UInt64(seed + 1000))
        for index in stride(from: 0, to: 12, by: 3) {
            let position = (Int(noise[index]) << 8 | Int(noise[index + 1])) % bytes.count
            if seed % 2 == 0 { bytes[position] = noise[index + 2] } else { bytes.remove(at: position) }
        }
        _ = try place.file("digests", bytes)
        let result = try tool.run(["--check", digests])
        #expect([0, 64, 65, 66].contains(result.status) && !result.wasSignalled, "seed \(seed): \(result.errors)")
    }

    @Test("A full disk at the output", .enabled(if: geteuid() == 0, "needs root"))
    func fullDisk() throws {
        let place = try Workplace()
        let file = try place.file("in", randomBytes(3 << 20, seed: 3))
        let disk = place.path("disk")
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
        try #require(mount("tmpfs", disk, "tmpfs", 0, "size=1m") == 0)
        defer { umount2(disk, 0) }
        let result = try tool.run([file, "--op", "xor", "--out", disk + "/out"])
        #expect(result.status == 74, "\(result.errors)")
        #expect(result.errors.contains("No space left"), "\(result.errors)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: disk).isEmpty)
        let digests = try tool.run([file, "--block", "16", "--digests", disk + "/digests"])
        #expect(digests.status == 74, "\(digests.errors)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: disk).isEmpty)
    }

    /// Starts a run with two pcores, and waits until each has got a record and gets no more before the hold is released.
    private func start(_ arguments: [String]) throws -> (running: Tool.Running, hold: PausedRun) {
        let hold = try PausedRun(records: 1)
        let running = try tool.start(arguments + ["--pcores", "2"], hold: hold)
        try hold.wait(for: 2, running)
        return (running, hold)
    }

    /// Releases the run, and kills one of its pcores at random moments, each time as soon as the one before has been replaced. It cannot
    /// end meanwhile, because its other pcore is stopped and has records to do.
    private func killOne(_ count: Int, of running: Tool.Running, _ hold: PausedRun) throws {
        let stopped = try #require(running.pcores.first)
        kill(stopped, SIGSTOP)
        hold.release()
        for round in 1...count {
            usleep(.random(in: 0...20_000))
            let victim = try #require(running.pcores.first { $0 != stopped })
            #expect(kill(victim, SIGKILL) == 0)
            #expect(running.says("restarted", times: round), "\(running.errorsSoFar)")
        }
        kill(stopped, SIGCONT)
    }

    @Test("A file that shrinks while it is read", arguments: [["--op", "crc32c"], ["--prog", "xor:1,fnv"]])
    func shrinks(program: [String]) throws {
        let place = try Workplace()
        let file = try place.file("in", [UInt8](repeating: 7, count: 8 << 20))
        let (running, hold) = try start([file, "--block", "64K"] + program)
        #expect(truncate(file, 1 << 20) == 0)
        hold.release()
        let result = try running.finish()
        #expect(result.status == 74, "\(result.errors)")
        #expect(result.errors.contains("became shorter"), "\(result.errors)")
    }

    @Test("A transformed file that shrinks while it is read")
    func shrinksStaged() throws {
        let place = try Workplace()
        let file = try place.file("in", [UInt8](repeating: 7, count: 8 << 20))
        let (running, hold) = try start(
            [file, "--passes", "3", "--block", "64K", "--prog", "xor:1,fnv", "--out", place.path("out")])
        #expect(truncate(file, 1 << 20) == 0)
        hold.release()
        let result = try running.finish()
        #expect(result.status == 74, "\(result.errors)")
        #expect(result.errors.contains("became shorter"), "\(result.errors)")
        #expect(try place.names() == ["in"])
    }

    @Test("Ctrl-C and SIGTERM leave no output", arguments: [SIGINT, SIGTERM])
    func interruption(signal: Int32) throws {
        let place = try Workplace()
        let file = try place.file("in", [UInt8](repeating: 7, count: 16 << 20))
        // Each block a million times: the pcores are at work, and would be for hours.
        let (running, _) = try start(
            [file, "--passes", "1000000", "--op", "xor", "--imm", "1", "--out", place.path("out")])
        let pcores = running.pcores
        kill(running.process.processIdentifier, signal)
        let result = try running.finish()
        #expect(result.status == 128 + signal && !result.wasSignalled, "\(result.errors)")
        #expect(try place.names() == ["in"])
        #expect(pcores.filter(Processes.isAlive).isEmpty)
    }

    @Test("kill -9 of the parent leaves no output and no pcore")
    func killedParent() throws {
        let place = try Workplace()
        let file = try place.file("in", [UInt8](repeating: 7, count: 16 << 20))
        // Each block a million times: the pcores are at work, and would be for hours.
        let (running, _) = try start(
            [file, "--passes", "1000000", "--op", "xor", "--imm", "1", "--out", place.path("out")])
        let pcores = running.pcores
        #expect(pcores.count == 2)
        kill(running.process.processIdentifier, SIGKILL)
        #expect(try running.finish().wasSignalled)
        let deadline = Date(timeIntervalSinceNow: 60)
        while pcores.contains(where: Processes.isAlive), Date() < deadline { usleep(1000) }
        #expect(pcores.filter(Processes.isAlive).isEmpty)
        #expect(try place.names() == ["in"])
    }

    @Test("A killed pcore ends the run, or is replaced on request and every block still counts once")
    func killedPCore() throws {
        let place = try Workplace()
        let bytes = randomBytes(4 << 20, seed: 20)
        let file = try place.file("in", bytes)
        let arguments = [file, "--prog", "crc32c,counteq:0", "--block", "4K", "--passes", "40", "--json"]
        let undisturbed = try tool.run([file, "--prog", "crc32c,counteq:0", "--block", "4K", "--json"])

        let (ended, _) = try start(arguments)
        for pid in ended.pcores.prefix(1) { kill(pid, SIGKILL) }
        let end = try ended.finish()
        #expect(end.status == 71, "\(end.errors)")
        #expect(end.errors.contains("killed by signal 9"))

        let (restarted, hold) = try start(arguments + ["--restart-failed"])
        try killOne(3, of: restarted, hold)
        let result = try restarted.finish()
        #expect(result.status == 0, "\(result.errors)")
        #expect(try result.totals() == undisturbed.totals())
        #expect(try result.result()["restarts"] as? Int == 3)
    }

    @Test("A killed pcore of a transforming run is replaced too: blocks are written again, whole")
    func killedWriter() throws {
        let place = try Workplace()
        let bytes = randomBytes(8 << 20, seed: 21)
        let file = try place.file("in", bytes)
        let (running, hold) = try start(
            [
                file, "--prog", "add:1,fnv", "--passes", "301", "--block", "64K", "--out", place.path("out"), "--json",
                "--restart-failed",
            ])
        try killOne(1, of: running, hold)
        let result = try running.finish()
        #expect(result.status == 0, "\(result.errors)")
        #expect(try result.result()["restarts"] as? Int == 1)
        #expect(try place.bytes("out") == bytes.map { $0 &+ 45 }, "301 modulo 256")
    }

    @Test("A pipe that ends early at the output")
    func closedOutput() throws {
        let place = try Workplace()
        let file = try place.file("in", [UInt8](repeating: 7, count: 32 << 20))
        let status = place.path("status")
        let result = try tool.run(
            [file, "--op", "xor", "--imm", "1", "--out", "-"],
            wrapper: ["/bin/sh", "-c", "{ \"$0\" \"$@\"; echo $? > \(status); } | head -c 10 > /dev/null"])
        #expect(try String(contentsOfFile: status, encoding: .utf8) == "74\n", "\(result.errors)")
        #expect(result.errors.contains("Broken pipe"), "\(result.errors)")
    }

    @Test("A pipe that ends early at the input is the end of the data")
    func closedInput() throws {
        let place = try Workplace()
        let file = try place.file("in", randomBytes(100_001, seed: 22))
        let piped = try tool.run(
            ["-", "--json"], wrapper: ["/bin/sh", "-c", "cat \(file) | head -c 77777 | \"$0\" \"$@\""])
        let part = try tool.run([file, "--range-len", "77777", "--json"])
        #expect(piped.status == 0)
        #expect(try piped.totals() == part.totals())
        #expect(try piped.result()["bytes"] as? Int == 77_777)
    }

    @Test("Ctrl-C while a pipe gives nothing")
    func silentPipe() throws {
        let pipe = Pipe()
        let running = try tool.start(["-"], input: pipe.fileHandleForReading)
        #expect(running.waits { !running.pcores.isEmpty })
        kill(running.process.processIdentifier, SIGINT)
        #expect(try running.finish().status == 128 + SIGINT)
        try pipe.fileHandleForWriting.close()
    }

    @Test(
        "A file without permission", .enabled(if: geteuid() == 0, "needs root"),
        .enabled(
            if: FileManager.default.isExecutableFile(atPath: "/usr/bin/setpriv"), "needs the command setpriv"))
    func permission() throws {
        let place = try Workplace()
        let copy = Tool(path: place.path("tool"))
        try FileManager.default.copyItem(atPath: tool.path, toPath: copy.path)
        let secret = try place.file("secret", [1, 2, 3])
        for (path, mode) in [(place.url.path, 0o755), (copy.path, 0o755), (secret, 0o600)] {
            #expect(chmod(path, mode_t(mode)) == 0)
        }
        let nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        let unreadable = try copy.run([secret], wrapper: nobody)
        #expect(unreadable.status == 66, "\(unreadable.errors)")
        #expect(chmod(secret, 0o644) == 0)
        let unwritable = try copy.run(
            [secret, "--op", "xor", "--out", place.path("out")], wrapper: nobody)
        #expect(unwritable.status == 73, "\(unwritable.errors)")
        let inPlace = try copy.run([secret, "--op", "xor", "--in-place"], wrapper: nobody)
        #expect(inPlace.status == 73, "\(inPlace.errors)")
    }
}
