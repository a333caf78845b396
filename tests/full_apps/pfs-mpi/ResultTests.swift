import Foundation
import Testing
import ToolTesting

extension MPIJobs {
    @Suite("Results", .serialized)
    struct ResultTests {
        /// Ranks on one host.
        static let counts = [1, 2, 4, 7]
        static let programs = [
            "crc32c", "fnv", "counteq:0", "xor:255", "add:200,fnv", "crc32c,add:7,crc32c,xor:1,fnv,counteq:3",
        ]
        /// Sizes around a block of 4096 bytes, and one with many.
        static let sizes = [0, 1, 4095, 4096, 4097, 300_001]

        /// What both tools make of a file must be alike: digests, output and totals, and nothing else may be left.
        private func compare(
            _ hosts: Hosts, _ layout: [Int], _ program: String, _ bytes: [UInt8], extra: [String] = []
        ) throws {
            let place = try Workplace()
            let file = try place.file("in", bytes)
            let common = [file, "--prog", program, "--block", "4K", "--json"]
            let what = "\(layout) \(program) \(bytes.count) \(extra)"
            let writes = program.contains("xor") || program.contains("add")
            let outputs: [(name: String, option: String)] =
                (program.contains("xor:255") ? [] : [("digests", "--digests")]) + (writes ? [("out", "--out")] : [])
            for output in outputs {
                let expected = try single.run(common + [output.option, place.path("expected")])
                try #require(expected.status == 0, "\(expected)")
                let got = try hosts.run(
                    layout, common + ["--chunk", "16K", output.option, place.path(output.name)] + extra)
                try #require(got.status == 0, "\(what): \(got)")
                #expect(got.errors == "", "\(what)")
                #expect(try got.totals() == expected.totals(), "\(what)")
                for field in ["bytes", "op_bytes", "blocks"] {
                    #expect(try got.result()[field] as? Int == expected.result()[field] as? Int, "\(what): \(field)")
                }
                #expect(try place.bytes(output.name) == place.bytes("expected"), "\(what)")
                try place.remove("expected")
            }
            #expect(try place.names() == (outputs.map(\.name) + ["in"]).sorted(), "\(what)")
            #expect(hosts.leftovers(after: 10).isEmpty, "\(what)")
        }

        @Test("Every operation gives what pfs_apply gives, on any number of ranks")
        func programs() throws {
            let hosts = try Hosts(["solo"])
            for (index, program) in Self.programs.enumerated() {
                try compare(
                    hosts, [Self.counts[index % 4]], program, randomBytes(300_001, seed: UInt64(index)))
            }
        }

        @Test("So do all sizes")
        func sizes() throws {
            let hosts = try Hosts(["solo"])
            for (index, size) in Self.sizes.enumerated() {
                try compare(
                    hosts, [Self.counts[3 - index % 4]], "crc32c,add:7,fnv,counteq:3",
                    randomBytes(size, seed: UInt64(size)))
            }
        }

        @Test("Hosts that only a network joins give it too, and talk over that network", arguments: [2, 3])
        func hosts(count: Int) throws {
            let hosts = try Hosts(Array(["alpha", "beta", "gamma"].prefix(count)))
            let layout = Array([2, 1, 1].prefix(count))
            let place = try Workplace()
            let file = try place.file("in", randomBytes(1_000_000, seed: 77))
            let before = try hosts.names.map { try hosts.traffic(of: $0) }
            let program = [file, "--prog", "crc32c,fnv", "--block", "1000"]
            let got = try hosts.run(
                layout,
                program + [
                    "--chunk", "10000", "--digests", place.path("got"), "--rank-csv", place.path("csv"), "--json",
                ])
            try #require(got.status == 0, "\(got)")
            #expect(try single.run(program + ["--digests", place.path("expected")]).status == 0)
            #expect(try place.bytes("got") == place.bytes("expected"))
            for (index, name) in hosts.names.enumerated() {
                // Each rank must at least have heard how to join, claimed, and told what it found.
                let after = try hosts.traffic(of: name)
                #expect(after.sent - before[index].sent > 1000, "\(name)")
                #expect(after.received - before[index].received > 1000, "\(name)")
            }

            let ranks = try got.rows("ranks")
            let expectedHosts = zip(hosts.names, layout).flatMap { Array(repeating: $0, count: $1) }
            #expect(ranks.map { $0["host"] as? String } == expectedHosts)
            #expect(ranks.map { $0["rank"] as? Int } == Array(0..<expectedHosts.count))
            let result = try got.result()
            #expect(sum(ranks, "bytes") == 1_000_000)
            #expect(sum(ranks, "blocks") == 1000)
            #expect(sum(ranks, "chunks") == 100)
            #expect(result["chunks"] as? Int == 100)
            #expect(result["resumed_chunks"] as? Int == 0)
            #expect(sum(ranks, "claims") >= 100)
            for field in ["start_ns", "claim_ns", "reduction_ns"] {
                #expect(result[field] as? Int ?? -1 > 0, "\(field)")
            }
            let byHost = try got.rows("hosts")
            #expect(byHost.map { $0["host"] as? String } == hosts.names)
            #expect(byHost.map { $0["ranks"] as? Int } == layout)
            #expect(sum(byHost, "bytes") == 1_000_000)
            let config = try #require(try got.json()["config"] as? [String: Any])
            #expect(config["ranks"] as? Int == expectedHosts.count)
            #expect(config["chunk_bytes"] as? Int == 10_000)
            #expect(config["io"] as? String == "mmap")

            let csv = try String(contentsOfFile: place.path("csv"), encoding: .utf8).split(separator: "\n")
            #expect(csv.count == expectedHosts.count + 1)
            #expect(csv[0].hasPrefix("rank,host,"), "\(csv[0])")
            for (index, line) in csv.dropFirst().enumerated() {
                #expect(line.hasPrefix("\(index),\(expectedHosts[index]),"), "\(line)")
            }

            let summary = try hosts.run(layout, program)
            #expect(summary.status == 0)
            for name in hosts.names {
                #expect(summary.output.split(separator: "\n").contains { $0.contains(name) }, "\(summary.output)")
            }
            #expect(hosts.leftovers(after: 10).isEmpty)
        }

        @Test("Input by mapping and by MPI-IO is the same", arguments: ["auto", "mmap", "mpi-io"])
        func io(way: String) throws {
            let hosts = try Hosts(["alpha", "beta"])
            try compare(
                hosts, [1, 2], "crc32c,counteq:0", randomBytes(1_234_567, seed: 5), extra: ["--io", way])
            if way != "mmap" {
                try compare(hosts, [2, 1], "xor:3,fnv", randomBytes(1_234_567, seed: 6), extra: ["--io", way])
            }
        }

        @Test("A range, in place, several passes, one rank without mpirun")
        func variants() throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let bytes = randomBytes(100_000, seed: 9)
            for (offset, length) in [(4095, 2), (5, 77_777), (100_000, 0)] {
                let file = try place.file("in", bytes)
                let range = [
                    file, "--range-off", "\(offset)", "--range-len", "\(length)", "--block", "1K", "--json", "--passes",
                    "3",
                    "--prog",
                ]
                let read = range + ["crc32c,fnv"]
                let write = range + ["add:9,crc32c"]
                let expected = try single.run(read + ["--digests", place.path("expected")])
                let got = try hosts.run([1, 2], read + ["--digests", place.path("got")])
                #expect(got.status == 0, "\(got)")
                #expect(try got.totals() == expected.totals())
                #expect((try got.result()["passes_ns"] as? [Any])?.count == (length > 0 ? 3 : 1))
                #expect(try place.bytes("got") == place.bytes("expected"), "\(offset) \(length)")
                #expect(try single.run(write + ["--out", place.path("expected")]).status == 0)
                #expect(try hosts.run([2, 1], write + ["--out", place.path("got")]).status == 0)
                #expect(try place.bytes("got") == place.bytes("expected"), "\(offset) \(length)")
                #expect(chmod(file, 0o640) == 0)
                #expect(try hosts.run([2, 1], write + ["--in-place"]).status == 0)
                let changed = try place.bytes("expected")
                #expect(try place.bytes("in") == bytes[..<offset] + changed + bytes[(offset + length)...])
                let attributes = try FileManager.default.attributesOfItem(atPath: file)
                #expect(attributes[.posixPermissions] as? Int == 0o640)
                let alone = try tool.run(read + ["--digests", place.path("alone")])
                #expect(alone.status == 0, "\(alone)")
                try place.remove("alone")
                #expect(try place.names() == ["expected", "got", "in"])
            }
            #expect(hosts.leftovers(after: 10).isEmpty)
        }

        @Test("Digests find what has changed, whoever wrote them")
        func check() throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            var bytes = randomBytes(50_000, seed: 6)
            let file = try place.file("in", bytes)
            let digests = place.path("digests")
            #expect(
                try single.run([file, "--prog", "crc32c,fnv", "--block", "1000", "--digests", digests]).status == 0)
            let same = try hosts.run([2, 2], ["--check", digests, "--json"])
            #expect(same.status == 0, "\(same)")
            #expect(try same.result()["verified"] as? Bool == true)
            bytes[12_345] ^= 1
            _ = try place.file("in", bytes)
            let changed = try hosts.run([2, 2], ["--check", digests])
            #expect(changed.status == 65, "\(changed)")
            #expect(changed.output.contains("block at 12000: crc32c is"), "\(changed)")
            #expect(changed.output.contains("1 of 50 blocks differ"), "\(changed)")
            bytes[12_345] ^= 1
            _ = try place.file("in", Array(bytes[..<49_000]))
            let shorter = try hosts.run([2, 1], ["--check", digests])
            #expect(shorter.status == 65, "\(shorter)")
            #expect(shorter.output.contains("block at 49000: is missing"), "\(shorter)")
        }

        @Test("A sparse file of 20 GiB: holes count as zeros and are not read")
        func sparse() throws {
            let hosts = try Hosts(["alpha", "beta"])
            let place = try Workplace()
            let file = try place.file("in", [])
            #expect(truncate(file, off_t(20 << 30)) == 0)
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
            try handle.seek(toOffset: 7 << 30)
            try handle.write(contentsOf: Data(repeating: 1, count: 100_000))
            try handle.close()
            let common = [file, "--prog", "counteq:0,counteq:1,crc32c", "--json"]
            let got = try hosts.run([1, 2], common + ["--chunk", "1G"])
            try #require(got.status == 0, "\(got)")
            #expect(try got.totals() == single.run(common).totals())
            #expect(try got.result()["hole_bytes"] as? Int ?? 0 >= (20 << 30) - (8 << 20))
        }
    }
}
