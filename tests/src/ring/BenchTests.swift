import CPacketFSShims
import Foundation
import Glibc
import Testing

/// pfs_shm_ring_bench with its options, as users run it: small counts, since figures are not what is tested.
@Suite("pfs_shm_ring_bench", .serialized)
struct BenchTests {
    /// The header without which a peer is absent, and the package that has it.
    static let peers = [
        (name: "rte_ring", header: "/usr/include/dpdk/rte_ring.h", package: "libdpdk-dev"),
        (name: "boost_spsc", header: "/usr/include/boost/lockfree/spsc_queue.hpp", package: "libboost-dev"),
    ]

    static let quick = ["--ops=20000", "--repeats=2", "--batches=1,32"]

    /// What `--json` prints with these options, which must be a document and, on standard error, warnings.
    func document(_ arguments: [String]) throws -> [String: Any] {
        let run = try Bench.run(["--json"] + Self.quick + arguments)
        check(run.status == 0, "\(run.status): \(run.output)")
        let lines = run.output.split(separator: "\n").filter { !$0.hasPrefix("pfs_shm_ring_bench: warning: ") }
        let parsed = try JSONSerialization.jsonObject(with: Data(lines.joined(separator: "\n").utf8))
        return try need(parsed as? [String: Any], run.output)
    }

    func rows(_ document: [String: Any], _ key: String) throws -> [[String: Any]] {
        let result = try need(document["result"] as? [String: Any])
        return try need(result[key] as? [[String: Any]], "result.\(key)")
    }

    func number(_ row: [String: Any], _ key: String) throws -> Double {
        try need(row[key] as? Double, "\(key): \(row)")
    }

    @Test("Without options: values only, and everything that a report has", arguments: ["", "--threads"])
    func plain(mode: String) throws {
        let document = try document(mode.isEmpty ? [] : [mode])
        check(document["schema_version"] as? Int == 2)
        check(document["tool"] as? String == "pfs_shm_ring_bench")
        check(document["version"] is String && document["warnings"] is [String])
        let machine = try need(document["machine"] as? [String: Any])
        var allowed = [Int32](repeating: 0, count: 1024)
        let count = pfs_allowed_cpus(&allowed, Int32(allowed.count))
        check(machine["cpus"] as? Int == Int(count), "the CPUs that may be used, not those of one side")
        let config = try need(document["config"] as? [String: Any])
        check(config["mode"] as? String == (mode.isEmpty ? "processes" : "threads"))
        check(config["batches"] as? [Int] == [1, 32])
        let batches = try rows(document, "batches")
        check(batches.map { $0["batch"] as? Int } == [1, 32])
        for row in batches {
            check(row["contender"] as? String == "packetfs")
            let samples = try need(row["samples_mops_per_s"] as? [Double])
            check(samples.count == 2 && samples.allSatisfy { $0 > 0 })
            let rate = try number(row, "mops_per_s")
            check(abs(rate * (try number(row, "ns_per_op")) - 1e3) < 1e-6)
        }
        for key in ["peer_batches", "latencies", "records", "peers", "ratios"] {
            check(try rows(document, key).isEmpty, key)
        }
        check((document["result"] as? [String: Any])?["verified"] as? Bool == true)
    }

    @Test("--latency: both kinds, percentiles in order, over all samples", arguments: ["", "--threads"])
    func latency(mode: String) throws {
        let document = try document(["--latency", "--trips=300"] + (mode.isEmpty ? [] : [mode]))
        let rows = try rows(document, "latencies")
        check(rows.map { $0["kind"] as? String } == ["round_trip", "one_way"])
        for row in rows {
            check(row["samples"] as? Int == 600, "two repeats of 300")
            let order = try ["p50_ns", "p99_ns", "p999_ns", "max_ns"].map { try number(row, $0) }
            check(order == order.sorted() && order[0] > 0, "\(row)")
        }
        check((document["config"] as? [String: Any])?["trips"] as? Int == 300)
    }

    @Test("--records: one row a size, rates that agree", arguments: ["", "--threads"])
    func records(mode: String) throws {
        let sizes = [16, 72, 4096, 65536]
        let list = sizes.map(String.init).joined(separator: ",")
        let options = ["--records", "--ops=1000", "--record-bytes=\(list)", mode].filter { !$0.isEmpty }
        let document = try document(options)
        let rows = try rows(document, "records")
        check(rows.map { $0["record_bytes"] as? Int } == sizes)
        for (row, size) in zip(rows, sizes) {
            let expected = try number(row, "records_per_s") * Double(size) / 1e6
            let found = try number(row, "throughput_mb_per_s")
            check(expected > 0 && abs(found / expected - 1) < 1e-9, "\(row)")
        }
    }

    @Test("--peers: who is installed takes part; who is not is absent with the package to install")
    func peers() throws {
        let document = try document(["--peers", "--latency", "--trips=100"])
        let peers = try rows(document, "peers")
        check(peers.map { $0["contender"] as? String } == Self.peers.map(\.name))
        var present: [String] = []
        for (row, peer) in zip(peers, Self.peers) {
            if row["present"] as? Bool == true {
                check(access(peer.header, R_OK) == 0)
                present.append(peer.name)
            } else {
                let reason = try need(row["reason"] as? String)
                check(reason.contains(peer.package) || reason.contains("c++"), reason)
            }
        }
        check(try rows(document, "peer_batches").map { $0["contender"] as? String } == present + present)
        check(try rows(document, "latencies").count == 2 * (1 + present.count))
        let figures = try rows(document, "ratios").map { $0["figure"] as? String }
        let all = ["batch 1", "batch 32", "round trip median", "one way median"]
        check(figures == (present.isEmpty ? [] : all), "\(figures)")
    }

    @Test("--peers without a compiler: all absent, and why; our figures all the same")
    func noCompiler() throws {
        let run = try Bench.run(["--peers"] + Self.quick, environment: ["PATH=/nonexistent"])
        check(run.status == 0, run.output)
        check(run.output.contains("rte_ring: absent: ") && run.output.contains("boost_spsc: absent: "), run.output)
        check(run.output.contains("packetfs") && !run.output.contains("over the best peer"), run.output)
    }

    @Test(
        "Bad input is refused with its exit code and names the option",
        arguments: [
            ["--trips=0"], ["--trips=10000001"], ["--trips=x"], ["--record-bytes=8"], ["--record-bytes=20"],
            ["--record-bytes=65544"], ["--record-bytes="], ["--records=1"], ["--latency=yes"],
            ["--peers", "--ring-pow2=1"],
        ])
    func commandLine(arguments: [String]) throws {
        let run = try Bench.run(arguments + ["--ops=1000"])
        check(run.status == 64, "\(run.status): \(run.output)")
        let option = arguments[0].prefix { $0 != "=" }
        check(run.output.contains(option), run.output)
    }

    @Test("Figures that cannot be written are an error")
    func fullOutput() throws {
        let run = try Bench.run(Self.quick, output: "/dev/full")
        check(run.status == 74, "\(run.status): \(run.output)")
        check(run.output.contains("standard output"), run.output)
    }
}
