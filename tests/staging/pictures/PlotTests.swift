import Foundation
import FoundationXML
import Testing

@Suite("plot", .enabled(if: ScratchFolder.hasGnuplot, "needs the command gnuplot"))
struct PlotTests {
    static let header =
        "ts_s,pcores,bytes,mbps,records,baseline_mbps,cpupwn,cpupwn_per_cpu,kind,elapsed_s,dpf,align,isa,program\n"

    /// A row of the aggregate log of a run with a baseline of 4000 MB/s on two CPUs.
    static func row(
        start: Double, elapsed: Double, pcores: Int, rate: Double, kind: String = "live", program: String = "fnv"
    ) -> String {
        "\(start + elapsed),\(pcores),1,\(rate),1,4000.0,\(rate / 4000),\(rate / 8000),\(kind),\(elapsed),64,64,avx2,"
            + "\"\(program)\"\n"
    }

    static func log() -> String {
        var text = header
        // Two runs at the same time, rows interleaved, then one of another program, with a name that tries to escape.
        for step in 1...6 {
            let elapsed = Double(step) / 2
            text += row(start: 1000, elapsed: elapsed, pcores: 2, rate: 7000)
            text += row(start: 1000.3, elapsed: elapsed, pcores: 16, rate: 5000 + 10 * elapsed)
        }
        text += row(start: 1000, elapsed: 3.2, pcores: 2, rate: 7100, kind: "final")
        text += row(start: 1000.3, elapsed: 3.2, pcores: 16, rate: 5100, kind: "final")
        for step in 1...4 {
            text += row(start: 2000, elapsed: Double(step) / 2, pcores: 4, rate: 900, program: "x'`touch evil`'<&>")
        }
        return text
    }

    static func pcoreLog(pcores: Int, samples: Int) -> String {
        var text = "ts_s,elapsed_s,pcore,cpu,bytes,mbps,records,rejected,sleeps,cpu_s,kind,program\n"
        for sample in 1...samples {
            for pcore in 0..<pcores {
                text +=
                    "1,\(Double(sample) / 2),\(pcore),0,\(sample * (pcore + 1) * 1_000_000),1,1,0,0,,live,\"fnv,xor:1\"\n"
            }
        }
        return text + "2,9,0,0,1,1,1,0,0,1.0,final,\"fnv,xor:1\"\n"
    }

    static let latency = """
        {"config": {"mode": "processes", "producer_cpu": 0, "consumer_cpu": 1, "slots": 8}, "machine": {"cpu_model": "X"},
         "result": {"latencies": [{"contender": "packetfs", "kind": "round_trip", "samples": 1000, "p50_ns": 210,
           "p99_ns": 900, "p999_ns": 5000, "max_ns": 1000000, "buckets": [
             {"from_ns": 0, "to_ns": 1, "count": 1}, {"from_ns": 208, "to_ns": 216, "count": 998},
             {"from_ns": 983040, "to_ns": 1015808, "count": 1}]}]}}
        """

    /// A folder with data for every figure.
    static func stocked() throws -> ScratchFolder {
        let shop = try ScratchFolder()
        try shop.write(log(), to: "logs/pcores_metrics.csv")
        try shop.write(pcoreLog(pcores: 5, samples: 4), to: "logs/pcores/20260101T000000Z-9.csv")
        try shop.write(pcoreLog(pcores: 20, samples: 4), to: "logs/pcores/20260102T000000Z-1.csv")
        try shop.write(latency, to: "logs/ring_latency.json")
        return shop
    }

    /// The texts in a picture, after checking that it is one.
    private func texts(_ shop: ScratchFolder, _ name: String) throws -> String {
        let data = try Data(contentsOf: shop.folder.appendingPathComponent(name))
        let parser = XMLParser(data: data)
        let collector = Collector()
        parser.delegate = collector
        #expect(parser.parse(), "\(name): \(String(describing: parser.parserError))")
        return collector.text
    }

    private final class Collector: NSObject, XMLParserDelegate {
        var text = ""
        func parser(_: XMLParser, foundCharacters string: String) { text += string }
    }

    @Test("Every figure is drawn, as PNG 1000 pixels wide and as SVG, and says what it shows")
    func everything() throws {
        let shop = try Self.stocked()
        let result = try shop.run([ScratchFolder.plot])
        #expect(result.status == 0, "\(result.errors)")
        let names = ["heatmap", "latency", "scaling", "throughput"]
        #expect(shop.list("logs/plots") == names.flatMap { ["\($0).png", "\($0).svg"] })
        #expect(result.output.split(separator: "\n").count == 8)
        for name in names {
            let image = try Data(contentsOf: shop.folder.appendingPathComponent("logs/plots/\(name).png"))
            #expect(image.prefix(8) == Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]))
            #expect(image[16..<20].reduce(0) { $0 << 8 | Int($1) } == 1000, "width of \(name)")
        }
        // The last run has no final row; its program is text and nothing else.
        let throughput = try texts(shop, "logs/plots/throughput.svg")
        #expect(throughput.contains("x'`touch evil`'<&>") && throughput.contains("throughput (MB/s)"))
        #expect(throughput.contains("CPUpwn") && throughput.contains("time since the start (s)"))
        #expect(!FileManager.default.fileExists(atPath: shop.folder.appendingPathComponent("evil").path))
        let heat = try texts(shop, "logs/plots/heatmap.svg")
        #expect(heat.contains("20 pcores"), "the newest of the two logs")
        #expect(heat.contains("from 2.0 MB/s to 40.0 MB/s"), "\(heat)")
        let scaling = try texts(shop, "logs/plots/scaling.svg")
        #expect(scaling.contains("fnv") && !scaling.contains("evil"), "one number of pcores is no scaling")
        let latency = try texts(shop, "logs/plots/latency.svg")
        #expect(latency.contains("median 210 ns, 99 % 900 ns, 99.9 % 5 µs, longest 1 ms"), "\(latency)")
    }

    @Test("Runs whose rows interleave are told apart")
    func interleaved() throws {
        let shop = try Self.stocked()
        let result = try shop.run([ScratchFolder.plot, "throughput", "--runs", "3", "--format", "svg", "--out", "p"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(shop.list("p") == ["throughput.svg"])
        let text = try texts(shop, "p/throughput.svg")
        #expect(text.contains("2 pcores, fnv: 7.10 GB/s over the whole run, CPUpwn 1.77 (0.89 per CPU)"), "\(text)")
        #expect(text.contains("16 pcores, fnv: 5.10 GB/s over the whole run"))
        #expect(text.contains("4 pcores, x'"))
    }

    @Test("What there are no data for is left out and named; nothing at all is an error")
    func missing() throws {
        let shop = try ScratchFolder()
        let nothing = try shop.run([ScratchFolder.plot])
        #expect(nothing.status == 66)
        #expect(nothing.errors.contains("nothing to draw yet"))
        try shop.write(Self.pcoreLog(pcores: 1, samples: 1), to: "logs/pcores/1.csv")
        let some = try shop.run([ScratchFolder.plot])
        #expect(some.status == 0, "\(some.errors)")
        #expect(shop.list("logs/plots") == ["heatmap.png", "heatmap.svg"])
        #expect(some.errors.contains("not drawn: latency: cannot read logs/ring_latency.json"))
    }

    struct Bad: CustomTestStringConvertible, Sendable {
        let arguments: [String]
        let status: Int32
        let message: String
        var file = ""
        var testDescription: String { (arguments + [message]).joined(separator: " ") }
    }

    static let mistakes: [Bad] = [
        Bad(arguments: ["cake"], status: 64, message: "'cake'"),
        Bad(arguments: ["--cake"], status: 64, message: "--cake"),
        Bad(arguments: ["--runs", "0"], status: 64, message: "--runs 0"),
        Bad(arguments: ["--runs", "x"], status: 64, message: "--runs"),
        Bad(arguments: ["--format", "gif"], status: 64, message: "gif"),
        Bad(arguments: ["throughput", "--metrics", "absent"], status: 66, message: "cannot read absent"),
        Bad(arguments: ["heatmap", "--pcores", "absent"], status: 66, message: "cannot read absent"),
        Bad(arguments: ["scaling", "--sweep", "absent"], status: 66, message: "cannot read absent"),
        Bad(arguments: ["latency", "--latency", "bad"], status: 66, message: "not a JSON document", file: "{"),
        Bad(arguments: ["latency", "--latency", "bad"], status: 66, message: "no report", file: "{\"result\": 5}"),
        Bad(
            arguments: ["throughput", "--metrics", "bad"], status: 66, message: "line 1: there is no column",
            file: "a,b\n1,2\n"),
        Bad(
            arguments: ["throughput", "--metrics", "bad"], status: 66, message: "line 2: mbps is 'nan'",
            file: header + "1,2,3,nan,5,,,,live,1,64,64,avx2,fnv\n"),
        Bad(
            arguments: ["heatmap", "--pcores", "bad"], status: 66, message: "line 4: pcore 1",
            file: "elapsed_s,pcore,bytes,kind,program\n0.5,0,1,live,f\n1,0,2,live,f\n1,1,2,live,f\n"),
        Bad(
            arguments: ["heatmap", "--pcores", "bad"], status: 66, message: "no live row",
            file: "elapsed_s,pcore,bytes,kind,program\n"),
        Bad(arguments: ["heatmap", "--pcores", "/dev/null"], status: 66, message: "no column"),
        Bad(arguments: ["heatmap", "--pcores", "/usr/bin/bash"], status: 66, message: "not text"),
        Bad(arguments: ["--out", "/proc/nowhere"], status: 73, message: "/proc/nowhere"),
    ]

    @Test("Each mistake has its exit code and a message that names it", arguments: mistakes)
    func refused(_ bad: Bad) throws {
        let shop = try Self.stocked()
        if !bad.file.isEmpty { try shop.write(bad.file, to: "bad") }
        let result = try shop.run([ScratchFolder.plot] + bad.arguments)
        #expect(result.status == bad.status, "\(result.errors)")
        #expect(result.errors.contains(bad.message), "\(result.errors)")
        #expect(!result.errors.contains("Traceback"), "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test("What the ring benchmark writes can be drawn; its buckets hold every sample once")
    func ringBenchmark() throws {
        let shop = try ScratchFolder()
        let measured = try shop.run(
            [
                ScratchFolder.ringBench, "--ops", "2000", "--batches", "1", "--repeats", "1", "--trips", "1009",
                "--latency",
            ]
                + ["--json"])
        #expect(measured.status == 0, "\(measured.errors)")
        try shop.write(measured.output, to: "ring.json")
        let report = try #require(try JSONSerialization.jsonObject(with: Data(measured.output.utf8)) as? [String: Any])
        let rows = try #require((report["result"] as? [String: Any])?["latencies"] as? [[String: Any]])
        #expect(rows.count == 2)
        for row in rows {
            let buckets = try #require(row["buckets"] as? [[String: Int]]).map {
                (from: $0["from_ns"] ?? -1, to: $0["to_ns"] ?? -1, count: $0["count"] ?? -1)
            }
            #expect(buckets.reduce(0) { $0 + $1.count } == row["samples"] as? Int)
            for bucket in buckets {
                #expect(bucket.count > 0 && bucket.from >= 0)
                #expect(bucket.to - bucket.from == max(1, (1 << (Int.bitWidth - bucket.from.leadingZeroBitCount)) >> 5))
            }
            #expect(zip(buckets, buckets.dropFirst()).allSatisfy { $0.to <= $1.from })
            // A percentile lies in the bucket at which the counts reach it.
            for (field, share) in [("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999), ("max_ns", 1)] {
                let value = try #require(row[field] as? Int)
                var before = 0
                let bucket = try #require(
                    buckets.first {
                        before += $0.count
                        return Double(before) >= share * 1009
                    })
                #expect((bucket.from..<bucket.to).contains(value), "\(field) \(value) in \(bucket)")
            }
        }
        let drawn = try shop.run([ScratchFolder.plot, "latency", "--latency", "ring.json", "--format", "png"])
        #expect(drawn.status == 0, "\(drawn.errors)")
    }

    @Test("Without gnuplot: what to install")
    func noGnuplot() throws {
        let shop = try Self.stocked()
        let only = shop.folder.appendingPathComponent("only")
        try FileManager.default.createDirectory(at: only, withIntermediateDirectories: false)
        let python = try shop.run(["/usr/bin/env", "python3", "-c", "import sys; print(sys.executable)"]).output
            .trimmingCharacters(
                in: .newlines)
        try FileManager.default.createSymbolicLink(
            atPath: only.appendingPathComponent("python3").path, withDestinationPath: python)
        let result = try shop.run([ScratchFolder.plot], environment: ["PATH": only.path])
        #expect(result.status == 69, "\(result.errors)")
        #expect(result.errors.contains("gnuplot-nox"))
    }
}
