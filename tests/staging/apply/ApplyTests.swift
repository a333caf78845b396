import Foundation
import PacketFSPCPU
import Testing
import ToolTesting

@Suite("pfs_apply: results", .serialized)
struct ApplyTests {
    static let programs = [
        "crc32c", "fnv", "counteq:0", "counteq:0,crc32c,fnv", "xor:255,crc32c",
        "crc32c,add:7,crc32c,xor:1,fnv,counteq:3",
    ]

    /// Sizes around the block of 4096 bytes, and some that make several records.
    static let sizes = [0, 1, 4095, 4096, 4097, 300_000]

    @Test("Every way through gives what the reference gives", arguments: programs, sizes)
    func values(program: String, size: Int) throws {
        let place = try Workplace()
        let bytes = randomBytes(size, seed: UInt64(size))
        let file = try place.file("in", bytes)
        let expected = try Expected(program, bytes, block: 4096)
        let common = ["--prog", program, "--block", "4K", "--json"]

        let read = try tool.run([file] + common + ["--digests", place.path("digests")])
        #expect(read.status == 0, "\(read.errors)")
        #expect(try read.totals() == expected.totals)
        #expect(try read.result()["blocks"] as? Int == expected.rows.count)
        #expect(try digests(place, program) == expected.rows)

        let written = try tool.run([file] + common + ["--out", place.path("out")])
        #expect(written.status == 0, "\(written.errors)")
        #expect(try written.totals() == expected.totals)
        #expect(try place.bytes("out") == expected.bytes)

        let piped = try tool.run(
            ["-"] + common + ["--window-mb", "1", "--digests", place.path("digests")],
            wrapper: ["/bin/sh", "-c", "cat \(file) | \"$0\" \"$@\""])
        #expect(piped.status == 0, "\(piped.errors)")
        #expect(try piped.totals() == expected.totals)
        #expect(try digests(place, program) == expected.rows)

        let filtered = try tool.run(
            ["-", "--out", "-"] + common + ["--window-mb", "1"],
            wrapper: ["/bin/sh", "-c", "cat \(file) | \"$0\" \"$@\" | cat > \(place.path("filtered"))"])
        #expect(filtered.status == 0, "\(filtered.errors)")
        #expect(try place.bytes("filtered") == expected.bytes)
        #expect(try place.names() == ["digests", "filtered", "in", "out"], "nothing else is left")
    }

    @Test("Passes of a program that writes are applied to each block, whichever way it comes", arguments: [1, 2, 5])
    func passes(count: Int) throws {
        let place = try Workplace()
        let bytes = randomBytes(10_000, seed: 6)
        let file = try place.file("in", bytes)
        let step = UInt8(truncatingIfNeeded: 7 * count)
        let arguments = ["--prog", "add:7", "--passes", "\(count)", "--block", "4K", "--out", place.path("out")]
        #expect(try tool.run([file] + arguments).status == 0)
        #expect(try place.bytes("out") == bytes.map { $0 &+ step })
        let piped = try tool.run(["-"] + arguments, wrapper: ["/bin/sh", "-c", "cat \(file) | \"$0\" \"$@\""])
        #expect(piped.status == 0, "\(piped.errors)")
        #expect(try place.bytes("out") == bytes.map { $0 &+ step })
    }

    /// The rows of a file of digests.
    private func digests(_ place: Workplace, _ program: String) throws -> [[UInt64]] {
        let steps = try Program(parsing: program).reducers
        let lines = try String(contentsOfFile: place.path("digests"), encoding: .utf8).split(separator: "\n")
        return lines.drop { !$0.hasPrefix("offset_bytes") }.dropFirst().map { line in
            zip(steps, line.split(separator: ",").dropFirst(2)).map { step, field in
                UInt64(field, radix: step.op == .counteq ? 10 : 16) ?? .max
            }
        }
    }

    @Test("The CRC-32C of all bytes does not depend on the block, and is that of the catalogue")
    func wholeRange() throws {
        let place = try Workplace()
        let check = try place.file("check", Array("123456789".utf8))
        for block in ["1", "2", "4", "1M"] {
            #expect(try tool.run([check, "--block", block, "--json"]).wholeRange() == "e3069283", "block \(block)")
        }
        let zeros = try place.file("zeros", Array(repeating: 0, count: 32))
        #expect(try tool.run([zeros, "--block", "5", "--json"]).wholeRange() == "8a9136aa", "RFC 3720, B.4")
        let empty = try place.file("empty", [])
        let result = try tool.run([empty])
        #expect(result.status == 0)
        #expect(result.output.contains("00000000"))
    }

    @Test("A range is all that is worked on", arguments: [(0, 1), (1, 4095), (4096, 8192), (5, 9999), (12_345, 0)])
    func range(offset: Int, length: Int) throws {
        let place = try Workplace()
        let bytes = randomBytes(20_000, seed: 9)
        let file = try place.file("in", bytes)
        let expected = try Expected("add:9,crc32c,fnv", Array(bytes[offset..<offset + length]), block: 1024)
        let arguments = [
            "--prog", "add:9,crc32c,fnv", "--block", "1K", "--range-off", "\(offset)", "--range-len", "\(length)",
            "--json",
        ]
        let written = try tool.run([file] + arguments + ["--out", place.path("out")])
        #expect(written.status == 0, "\(written.errors)")
        #expect(try written.totals() == expected.totals)
        #expect(try place.bytes("out") == expected.bytes)
        let piped = try tool.run(
            ["-"] + arguments, wrapper: ["/bin/sh", "-c", "cat \(file) | \"$0\" \"$@\""])
        #expect(try piped.totals() == expected.totals, "\(piped.errors)")
        let inPlace = try tool.run([file] + arguments + ["--in-place"])
        #expect(inPlace.status == 0, "\(inPlace.errors)")
        #expect(
            try place.bytes("in") == bytes[..<offset] + expected.bytes + bytes[(offset + length)...],
            "the rest of the file stays")
    }

    @Test("In place keeps the permissions and follows links; a failure leaves the original")
    func inPlace() throws {
        let place = try Workplace()
        let bytes = randomBytes(10_000, seed: 4)
        let file = try place.file("in", bytes)
        #expect(chmod(file, 0o640) == 0)
        try FileManager.default.createSymbolicLink(atPath: place.path("link"), withDestinationPath: "in")
        let result = try tool.run([place.path("link"), "--prog", "xor:255", "--in-place"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try place.bytes("in") == bytes.map { ~$0 })
        var status = stat()
        #expect(lstat(place.path("link"), &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
        #expect(stat(file, &status) == 0 && status.st_mode & 0o777 == 0o640)
        #expect(try place.names() == ["in", "link"])
        let same = try tool.run([file, "--prog", "xor:255", "--out", place.path("link")])
        #expect(same.status == 64, "the input itself is no output: \(same.errors)")
    }

    @Test("Passes apply the program again and again")
    func passes() throws {
        let place = try Workplace()
        let bytes = randomBytes(9000, seed: 5)
        let file = try place.file("in", bytes)
        let once = try tool.run([file, "--prog", "crc32c,counteq:0", "--json"])
        let thrice = try tool.run([file, "--prog", "crc32c,counteq:0", "--json", "--passes", "3"])
        #expect(try once.totals() == thrice.totals(), "a program that only reads yields the same each time")
        #expect(try thrice.result()["bytes"] as? Int == 27_000)
        #expect((try thrice.result()["passes_ns"] as? [Any])?.count == 3)
        let added = try tool.run([file, "--prog", "add:5", "--passes", "3", "--out", place.path("out")])
        #expect(added.status == 0, "\(added.errors)")
        #expect(try place.bytes("out") == bytes.map { $0 &+ 15 })
    }

    @Test("Digests find what has changed: a byte, a block less, a byte more")
    func check() throws {
        let place = try Workplace()
        var bytes = randomBytes(50_000, seed: 6)
        let file = try place.file("in", bytes)
        let digests = place.path("digests")
        #expect(try tool.run([file, "--prog", "crc32c,fnv", "--block", "1000", "--digests", digests]).status == 0)
        #expect(try tool.run(["--check", digests]).status == 0)
        #expect(try tool.run(["--check", digests, "--quiet"]).output.isEmpty)

        bytes[12_345] ^= 1
        _ = try place.file("in", bytes)
        let changed = try tool.run(["--check", digests])
        #expect(changed.status == 65)
        #expect(changed.output.contains("block at 12000: crc32c is"), "\(changed.output)")
        #expect(changed.output.contains("1 of 50 blocks differ"))
        #expect(try tool.run(["--check", digests, "--json"]).result()["verified"] as? Bool == false)
        bytes[12_345] ^= 1

        _ = try place.file("in", Array(bytes[..<49_000]))
        let shorter = try tool.run(["--check", digests])
        #expect(shorter.status == 65)
        #expect(shorter.output.contains("block at 49000: is missing"), "\(shorter.output)")

        _ = try place.file("in", bytes + [0])
        let longer = try tool.run(["--check", digests])
        #expect(longer.status == 65)
        #expect(longer.output.contains("block at 50000: is not in the digests"), "\(longer.output)")

        let other = try place.file("other", bytes)
        #expect(try tool.run([other, "--check", digests]).status == 0, "another file with the same bytes")
    }

    @Test("A part's digests are compared with that part, also when the file has grown")
    func checkRange() throws {
        let place = try Workplace()
        let bytes = randomBytes(30_000, seed: 8)
        let file = try place.file("in", bytes)
        let digests = place.path("digests")
        let arguments = ["--block", "1000", "--range-off", "500", "--range-len", "9700", "--digests", digests]
        #expect(try tool.run([file] + arguments).status == 0)
        _ = try place.file("in", bytes + bytes)
        #expect(try tool.run(["--check", digests]).status == 0)

        // Out of a pipe the blocks have the same offsets.
        let piped = place.path("piped")
        let result = try tool.run(
            ["-"] + arguments.dropLast() + [piped], wrapper: ["/bin/sh", "-c", "cat \(file) | \"$0\" \"$@\""])
        #expect(result.status == 0, "\(result.errors)")
        let lines = try [digests, piped].map {
            try String(contentsOfFile: $0, encoding: .utf8).split(separator: "\n").filter { !$0.hasPrefix("# file") }
        }
        #expect(lines[0] == lines[1] && lines[0].count > 10)
    }

    @Test("A sparse file of 20 GiB: holes count as zeros and are not read")
    func sparse() throws {
        let place = try Workplace()
        let file = try place.file("sparse", [])
        let size = 20 << 30
        #expect(truncate(file, off_t(size)) == 0)
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
        try handle.seek(toOffset: 7 << 30)
        try handle.write(contentsOf: Data(repeating: 1, count: 100_000))
        try handle.close()
        let result = try tool.run([file, "--prog", "counteq:0,counteq:1,crc32c", "--json"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Array(result.totals().prefix(2)) == [UInt64(size - 100_000), 100_000])
        #expect(try result.result()["hole_bytes"] as? Int ?? 0 >= size - (8 << 20))
        let zeros = CRC32C.combine(0, try #require(crcOfZeros(7 << 30)), lengthB: 7 << 30)
        let ones = [UInt8](repeating: 1, count: 100_000).withUnsafeBytes { CRC32C.checksum($0) }
        let rest = size - (7 << 30) - 100_000
        let head = CRC32C.combine(zeros, ones, lengthB: 100_000)
        let whole = CRC32C.combine(head, try #require(crcOfZeros(rest)), lengthB: UInt64(rest))
        #expect(try result.wholeRange(2).flatMap { UInt32($0, radix: 16) } == whole)
    }

    /// The CRC-32C of so many zeros, by doubling.
    private func crcOfZeros(_ count: Int) -> UInt32? {
        var result: UInt32 = 0
        var power = [UInt8](repeating: 0, count: 1).withUnsafeBytes { CRC32C.checksum($0) }
        var length: UInt64 = 1
        var rest = count
        while rest > 0 {
            if rest & 1 == 1 { result = CRC32C.combine(result, power, lengthB: length) }
            power = CRC32C.combine(power, power, lengthB: length)
            length *= 2
            rest >>= 1
        }
        return result
    }

    @Test("Every kernel gives the same digests", arguments: ISA.supported)
    func forced(isa: ISA) throws {
        let place = try Workplace()
        let bytes = randomBytes(200_000, seed: 12)
        let file = try place.file("in", bytes)
        let program = "counteq:0,crc32c,add:3,fnv,crc32c"
        let expected = try Expected(program, bytes, block: 777)
        let result = try tool.run(
            [file, "--prog", program, "--block", "777", "--json"], environment: ["PACKETFS_FORCE_ISA": isa.rawValue])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try result.totals() == expected.totals)
        #expect(try result.result()["isa"] as? String == isa.rawValue)
    }

    @Test("More pcores than blocks, few and many CPUs")
    func pcores() throws {
        let place = try Workplace()
        let bytes = randomBytes(100_000, seed: 13)
        let file = try place.file("in", bytes)
        let expected = try Expected("fnv", bytes, block: 64)
        for extra in [["--pcores", "1"], ["--pcores", "17"], ["--pcores", "3", "--cpu-count", "1"]] {
            let result = try tool.run([file, "--op", "fnv", "--block", "64", "--json"] + extra)
            #expect(result.status == 0, "\(extra): \(result.errors)")
            #expect(try result.totals() == expected.totals)
        }
    }

    @Test("JSON is one document with the promised fields; the summary says what a person wants to know")
    func reports() throws {
        let place = try Workplace()
        let file = try place.file("in", randomBytes(3000, seed: 1))
        let document = try tool.run([file, "--json"]).json()
        for key in ["schema_version", "tool", "version", "config", "machine", "result", "warnings"] {
            #expect(document[key] != nil, "\(key)")
        }
        let result = try tool.run([file, "--json"]).result()
        for key in ["bytes", "op_bytes", "elapsed_ns", "throughput_mb_per_s", "totals", "isa", "verified", "mode"] {
            #expect(result[key] != nil, "\(key)")
        }
        let text = try tool.run([file, "--prog", "crc32c,counteq:10,fnv"]).output
        for words in ["crc32c", "counteq:10", "of all bytes", "throughput", "pcores"] { #expect(text.contains(words)) }
        #expect(try tool.run([file, "--explain"]).output.contains("crc32c"))
    }
}
