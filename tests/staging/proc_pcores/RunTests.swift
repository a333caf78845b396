import Foundation
import PacketFSPCPU
import Testing
import ToolTesting

@Suite("pfs_proc_pcores: runs", .serialized)
struct RunTests {
    static let programs: [String] = {
        // Every operation alone, and ten random programs from a fixed seed.
        var state: UInt64 = 2026
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let single = ["xor:255", "add:7", "counteq:0", "crc32c", "fnv"]
        let chains = (0..<10).map { _ in
            (0..<2 + random(6)).map { _ in
                let op = Op.allCases[random(Op.allCases.count)]
                return op.takesImmediate ? "\(op.name):\(random(256))" : op.name
            }.joined(separator: ",")
        }
        return single + chains
    }()

    @Test("Two pcores verify", arguments: programs)
    func verifies(program: String) throws {
        let result = try tool.run(
            quick + ["--pcores", "2", "--records", "20", "--verify", "--json", "--prog", program])
        #expect(result.status == 0, "\(result.errors)")
        let values = try result.result()
        #expect(values["verified"] as? Bool == true)
        #expect(values["records"] as? Int == 40)
        #expect(values["descriptors"] as? Int == 40 * 64)
        #expect(values["rejected_records"] as? Int == 0)
        let parsed = try Program(parsing: program)
        let totals = try #require(values["totals"] as? [[String: String]])
        #expect(totals.compactMap { $0["op"] } == parsed.reducers.map(\.description))
        #expect(totals.allSatisfy { UInt64($0["value"] ?? "") != nil })
        let bytes = try #require(values["bytes"] as? Int)
        #expect(values["op_bytes"] as? Int == bytes * parsed.steps.count)
    }

    @Test("A mix of programs verifies, by weight, and each program keeps its own totals")
    func mix() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-mix-\(UUID())")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data("# three programs\nxor:255,fnv 1\ncounteq:0 3  # mostly\n\nadd:3,crc32c,crc32c 1\n".utf8).write(
            to: file)
        let result = try tool.run(
            quick + ["--pcores", "3", "--records", "100", "--dpf", "4", "--mix", file.path, "--verify", "--json"])
        #expect(result.status == 0, "\(result.errors)")
        let values = try result.result()
        #expect(values["verified"] as? Bool == true)
        let totals = try #require(values["totals"] as? [[String: String]])
        #expect(
            totals.map { "\($0["program"] ?? "") \($0["op"] ?? "")" } == [
                "xor:255,fnv fnv", "counteq:0 counteq:0", "add:3,crc32c,crc32c crc32c", "add:3,crc32c,crc32c crc32c",
            ])
        #expect(totals[2]["value"] == totals[3]["value"])
        // 300 records of 2, 1 and 3 operations by weights 1:3:1: about 1.6 operations a byte.
        let share = try #require(values["op_bytes"] as? Double) / #require(values["bytes"] as? Double)
        #expect(1.3 < share && share < 1.9, "\(share)")
    }

    @Test("Records that carry their program and a program told beforehand give the same results")
    func fixedProgram() throws {
        func totals(_ flag: String) throws -> [String?] {
            let result = try tool.run(
                quick + ["--records", "10", "--json", "--verify", flag, "--prog", "xor:9,crc32c,add:1,fnv"])
            #expect(result.status == 0, "\(result.errors)")
            return try #require(try result.result()["totals"] as? [[String: String]]).map { $0["value"] }
        }
        #expect(try totals("--inline-program") == totals("--fixed-program"))
    }

    @Test("The same seed gives the same totals, another seed others", arguments: [1, 2, 5])
    func reproducible(pcores: Int) throws {
        func totals(_ seed: Int) throws -> String {
            let result = try tool.run(
                quick + ["--pcores", "\(pcores)", "--records", "5", "--json", "--op", "fnv", "--seed", "\(seed)"])
            let totals = try #require(try result.result()["totals"] as? [[String: String]])
            return try #require(totals.first?["value"])
        }
        let first = try totals(3)
        #expect(try totals(3) == first)
        #expect(try totals(4) != first)
    }

    @Test("A planted false result is caught", arguments: ["fnv", "xor:1"])
    func corruption(program: String) throws {
        let result = try tool.run(
            quick + ["--records", "3", "--verify", "--json", "--prog", program],
            environment: ["PACKETFS_TEST_CORRUPT": "total"])
        #expect(result.status == 65)
        #expect(try result.result()["verified"] as? Bool == false)
        #expect(result.errors.contains("pcore 0"), "the first difference is named: \(result.errors)")
        #expect(result.errors.contains("reference"))
    }

    @Test("JSON is one document with the promised fields, and nothing else is on standard output")
    func json() throws {
        let result = try tool.run(
            [
                "--blob-mb", "4", "--csv", "", "--pcores", "3", "--duration", "0.6", "--baseline-seconds", "0.1",
                "--json",
            ])
        #expect(result.status == 0)
        let document = try result.json()
        for key in ["schema_version", "tool", "version", "config", "machine", "result", "warnings"] {
            #expect(document[key] != nil, "\(key)")
        }
        let values = try result.result()
        for key in [
            "bytes", "op_bytes", "elapsed_ns", "throughput_mb_per_s", "baseline_mb_per_s", "cpupwn", "cpupwn_per_cpu",
            "records", "descriptors", "rejected_records", "totals", "backing", "isa", "verified", "difference",
            "ended_early", "restarts", "in_doubt", "nodes", "ready_ns", "producer_cpu_ns", "pcore_cpu_ns", "pcores",
        ] {
            #expect(values[key] != nil, "\(key)")
        }
        #expect(values["verified"] is NSNull, "null when it was not asked for")
        let rate = try #require(values["throughput_mb_per_s"] as? Double)
        let bytes = try #require(values["bytes"] as? Double)
        let elapsed = try #require(values["elapsed_ns"] as? Double)
        #expect(abs(rate - bytes / elapsed * 1000) < 0.01 * rate, "MB/s is 10^6 bytes per second of bytes")
        let baseline = try #require(values["baseline_mb_per_s"] as? Double)
        #expect(abs((values["cpupwn"] as? Double ?? 0) - rate / baseline) < 0.001)
    }

    @Test("The producer is pinned to the CPU that the report names, or to none on request")
    func producer() throws {
        func cpu(_ flags: String...) throws -> Any? {
            let result = try tool.run(quick + ["--records", "1", "--json", "--cpu-count", "1"] + flags)
            return try #require(try result.json()["config"] as? [String: Any])["producer_cpu"]
        }
        #expect(try cpu() is Int)
        #expect(try cpu("--producer-cpu", "0") as? Int == 0)
        #expect(try cpu("--no-pin-producer") is NSNull)
    }

    @Test("The log has one header, whole rows, and a live row every half second")
    func csv() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-csv-\(UUID())")
        defer { try? FileManager.default.removeItem(at: folder) }
        let log = folder.appendingPathComponent("logs/metrics.csv")
        for _ in 0..<2 {
            let result = try tool.run(
                ["--blob-mb", "4", "--no-baseline", "--duration", "1.2", "--csv", log.path, "--prog", "add:1,fnv"])
            #expect(result.status == 0, "\(result.errors)")
        }
        let lines = try String(contentsOf: log, encoding: .utf8).split(separator: "\n")
        #expect(lines[0].hasPrefix("ts_s,pcores,bytes,mbps,records,baseline_mbps,cpupwn,"))
        #expect(lines.filter { $0.hasPrefix("ts_s") }.count == 1)
        #expect(lines.filter { $0.contains(",final,") }.count == 2)
        #expect(lines.filter { $0.contains(",live,") }.count >= 2)
        for line in lines.dropFirst() {
            // The program is quoted and comes last, so that its comma does not count.
            #expect(line.hasSuffix("\"add:1,fnv\""))
            #expect(line.split(separator: ",", omittingEmptySubsequences: false).count == 15)
        }
    }

    @Test("More pcores than CPUs, tiny rings and odd descriptors still give verified results")
    func backPressure() throws {
        for extra in [
            ["--pcores", "24", "--ring-pow2", "1", "--records", "30"],
            ["--pcores", "3", "--ring-pow2", "3", "--dpf", "1", "--records", "500"],
            ["--pcores", "2", "--slab-mb", "1", "--dpf", "10000", "--records", "8", "--align", "1"],
            ["--pcores", "2", "--range-off", "1001", "--range-len", "70", "--align", "2", "--records", "50"],
            ["--pcores", "1", "--range-off", "5", "--range-len", "1", "--records", "10"],
        ] {
            let result = try tool.run(quick + extra + ["--verify", "--json", "--op", "crc32c"])
            #expect(result.status == 0, "\(extra): \(result.errors)")
            #expect(try result.result()["verified"] as? Bool == true, "\(extra)")
        }
    }

    @Test(
        "NUMA placement: memory lies where it should, as the kernel counts it",
        arguments: ["bind", "interleave", "local"])
    func numa(placement: String) throws {
        for program in ["xor:1", "fnv"] {
            let result = try tool.run(
                quick + [
                    "--records", "20", "--pcores", "3", "--prog", program, "--numa", placement, "--verify", "--json",
                ])
            #expect(result.status == 0, "\(result.errors)")
            let nodes = try #require(try result.result()["nodes"] as? [[String: Int]])
            #expect(nodes.reduce(0) { $0 + ($1["bytes"] ?? 0) } >= 4 << 20)
            #expect(result.errors.contains("interleaved") == (placement == "local" && program == "fnv"))
        }
        #expect(try tool.run(quick + ["--numa", "everywhere"]).status == 64)
    }

    @Test(
        "Each pcore's region lies on its own NUMA node",
        .enabled(
            if: FileManager.default.fileExists(atPath: "/sys/devices/system/node/node1"), "needs two NUMA nodes"))
    func numaLocal() throws {
        let result = try tool.run(
            quick + ["--records", "20", "--pcores", "64", "--prog", "xor:1", "--numa", "local", "--verify", "--json"])
        #expect(result.status == 0, "\(result.errors)")
        let nodes = try #require(try result.result()["nodes"] as? [[String: Int]])
        #expect(nodes.filter { $0["bytes"] ?? 0 > 0 }.count >= 2, "\(nodes)")
    }

    @Test("--explain prints the plan and runs nothing")
    func explain() throws {
        let result = try tool.run(["--explain", "--prog", "xor:255,add:7,xor:255,crc32c,counteq:0"])
        #expect(result.status == 0)
        #expect(result.output.contains("write  add 0xf9"), "three maps are one: \(result.output)")
        #expect(result.output.contains("count  bytes equal to 7 as loaded"), "\(result.output)")
        #expect(!result.errors.contains("running"))
    }

    @Test("A shared range with a writing program runs, warns, and cannot be verified")
    func sharedRange() throws {
        let result = try tool.run(
            quick + ["--records", "5", "--shared-range", "--op", "xor", "--imm", "1", "--json"])
        #expect(result.status == 0)
        #expect("\(try result.json()["warnings"] ?? "")".contains("--shared-range"))
        #expect(try tool.run(quick + ["--shared-range", "--op", "xor", "--imm", "1", "--verify"]).status == 64)
    }

    @Test("The summary says in words what ran, how fast, against what, and whether it was verified")
    func summary() throws {
        let result = try tool.run(
            [
                "--blob-mb", "4", "--csv", "", "--file", "/usr/bin/bash", "--duration", "0.2", "--baseline-seconds",
                "0.1",
                "--op", "fnv",
            ])
        #expect(result.status == 0)
        for words in [
            "/usr/bin/bash", "throughput", "baseline", "CPUpwn", "per CPU used", "total", "producing", "kernels",
        ] {
            #expect(result.output.contains(words), "\(words) in: \(result.output)")
        }
        #expect(result.errors.contains("running"), "progress is on standard error")
        let quiet = try tool.run(quick + ["--records", "1", "--quiet"])
        #expect(!quiet.errors.contains("running"))
    }

    @Test("Forced kernels are the ones that run", arguments: ISA.supported)
    func forced(isa: ISA) throws {
        let result = try tool.run(
            quick + ["--records", "5", "--verify", "--json", "--prog", "xor:3,crc32c,counteq:4,fnv"],
            environment: ["PACKETFS_FORCE_ISA": isa.rawValue])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try result.result()["isa"] as? String == isa.rawValue)
    }
}
