import Foundation
import Testing
import ToolTesting

@Suite("pfs_stream_fastpath_tx and _rx: undisturbed", .serialized)
struct StreamTests {
    static let programs = [
        "xor:255", "add:7", "counteq:0", "crc32c", "fnv", "xor:255,add:7,counteq:0",
        "crc32c,xor:1,fnv,counteq:0x20,crc32c",
    ]

    /// Runs both to their ends.
    private func both(_ place: Place, receiverFirst: Bool, _ tx: [String], _ rx: [String]) throws -> (
        tx: Tool.Result, rx: Tool.Result
    ) {
        if receiverFirst {
            let receiving = try place.rx(rx)
            try receiving.await("waiting for a producer")
            let sending = try place.tx(tx)
            return (try sending.finish(), try receiving.finish())
        }
        let sending = try place.tx(tx)
        try sending.await("waiting for a consumer")
        let receiving = try place.rx(rx)
        return (try sending.finish(), try receiving.finish())
    }

    @Test("Every operation, whoever comes first, with equal totals on both sides", arguments: programs, [false, true])
    func everyProgram(program: String, receiverFirst: Bool) throws {
        let place = try Place()
        let (tx, rx) = try both(
            place, receiverFirst: receiverFirst, ["--prog", program, "--records", "200", "--verify"], ["--verify"])
        #expect(tx.status == 0, "\(tx)")
        #expect(rx.status == 0, "\(rx)")
        let sent = try tx.result()
        let received = try rx.result()
        for key in ["records", "descriptors", "bytes", "op_bytes"] {
            #expect(sent[key] as? Int == received[key] as? Int, "\(key)")
        }
        #expect(sent["records"] as? Int == 200)
        #expect(sent["descriptors"] as? Int == 200 * 64)
        #expect(sent["verified"] as? Bool == true && received["verified"] as? Bool == true)
        let totals = try #require(sent["totals"] as? [[String: String]])
        #expect(totals == received["totals"] as? [[String: String]])
        let reducers = program.split(separator: ",").filter { !$0.hasPrefix("xor") && !$0.hasPrefix("add") }
        #expect(totals.count == reducers.count)
        #expect(try place.names == [], "ring and blob are removed")
    }

    @Test("The JSON documents have the keys that all runners have, and their own")
    func documents() throws {
        let place = try Place()
        let (tx, rx) = try both(place, receiverFirst: false, ["--records", "50"], [])
        for (result, tool) in [(tx, "pfs_stream_fastpath_tx"), (rx, "pfs_stream_fastpath_rx")] {
            let document = try result.json()
            #expect(document["tool"] as? String == tool)
            #expect(document["schema_version"] as? Int == 2)
            #expect(document["machine"] is [String: Any] && document["warnings"] is [Any])
            let values = try result.result()
            let keys: Set = [
                "bytes", "op_bytes", "elapsed_ns", "throughput_mb_per_s", "baseline_mb_per_s", "cpupwn",
                "cpupwn_per_cpu",
                "records_per_s", "records", "descriptors", "rejected_records", "skipped_records", "streams", "totals",
                "answer", "backing", "isa", "verified", "difference", "ended_early",
            ]
            #expect(Set(values.keys) == keys)
            #expect(values["verified"] is NSNull && values["ended_early"] is NSNull && values["cpupwn"] is NSNull)
            #expect(values["records"] as? Int == 50 && values["streams"] as? Int == 1)
            let config = try #require(document["config"] as? [String: Any])
            #expect(config["transport"] as? String == "shm")
            #expect(config["ring"] as? String == "\(place.path)/s.pfs-ring")
            #expect(config["blob"] as? String == "\(place.path)/s.pfs-blob")
        }
        let answer = try #require(try tx.result()["answer"] as? [String: Any])
        #expect(answer["records"] as? Int == 50 && answer["rejected_records"] as? Int == 0)
    }

    @Test("What people read")
    func summary() throws {
        let place = try Place()
        let common = ["--shm", "s", "--dir", place.path]
        let sending = try transmitter.start(
            common + ["--blob-mb", "4", "--records", "50", "--op", "counteq", "--imm", "3"])
        let rx = try receiver.run(common + ["--verify"])
        let tx = try sending.finish()
        for text in [
            "counteq:3, sent to", "throughput", "consumer    executed 50 records", "verified    not asked for",
        ] {
            #expect(tx.output.contains(text), "\(tx)")
        }
        for text in ["counteq:3, from", "throughput", "records     50", "verified    yes"] {
            #expect(rx.output.contains(text), "\(rx)")
        }
    }

    @Test("A file, a range of it, other shapes of records and rings, and a run by time")
    func shapes() throws {
        let folder = try Place()
        let file = "\(folder.path)/input"
        try Data((0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }).write(
            to: URL(fileURLWithPath: file))
        for arguments in [
            ["--file", file, "--blob-mb", "4", "--records", "100"],
            [
                "--file", file, "--blob-mb", "4", "--records", "100", "--range-off", "1000001", "--range-len", "70000",
                "--prog",
                "add:1,fnv",
            ],
            ["--dpf", "1", "--records", "5000", "--ring-pow2", "3"],
            ["--dpf", "5000", "--align", "1", "--records", "40", "--ring-bytes", "262144", "--ring-pow2", "2"],
            ["--align", "4096", "--records", "30", "--seed", "99"],
            ["--duration", "0.3", "--op", "counteq"],
        ] {
            let place = try Place()
            let (tx, rx) = try both(place, receiverFirst: false, arguments + ["--verify"], ["--verify"])
            #expect(tx.status == 0 && rx.status == 0, "\(arguments) \(tx) \(rx)")
            #expect(try rx.result()["verified"] as? Bool == true)
            #expect(try rx.result()["records"] as? Int == tx.result()["records"] as? Int)
            #expect(try place.names == [])
        }
    }

    @Test("A blob that exists is used as it is and kept, and --keep keeps what was made")
    func blobs() throws {
        let place = try Place()
        let blob = "\(place.path)/data.pfs-blob"
        let bytes = Data((0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        try bytes.write(to: URL(fileURLWithPath: blob))
        let named = ["--blob", "data"]
        var (tx, rx) = try both(
            place, receiverFirst: false, named + ["--records", "100", "--prog", "xor:1,fnv", "--verify"],
            named + ["--verify"])
        #expect(tx.status == 0 && rx.status == 0, "\(tx) \(rx)")
        #expect(try rx.result()["verified"] as? Bool == true)
        #expect(try place.names == ["data.pfs-blob"])
        let after = try Data(contentsOf: URL(fileURLWithPath: blob))
        #expect(after.count == bytes.count && after != bytes, "the receiver wrote into it")

        (tx, rx) = try both(place, receiverFirst: false, ["--records", "10", "--keep"], [])
        #expect(tx.status == 0 && rx.status == 0, "\(tx) \(rx)")
        #expect(try place.names == ["data.pfs-blob", "s.pfs-blob", "s.pfs-ring"])

        // A ring that nobody uses, with the blob of its name, is replaced.
        (tx, rx) = try both(place, receiverFirst: false, ["--records", "10"], [])
        #expect(tx.status == 0 && rx.status == 0, "\(tx) \(rx)")
        #expect(tx.errors.contains("left behind"), "\(tx.errors)")
        #expect(try place.names == ["data.pfs-blob"])
    }
}
