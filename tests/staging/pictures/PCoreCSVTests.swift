import Foundation
import Testing

@Suite("pfs_proc_pcores: the log by pcore", .serialized)
struct PCoreCSVTests {
    static let quick = [
        ScratchFolder.runner, "--blob-mb", "4", "--no-baseline", "--file", "/usr/bin/bash", "--quiet", "--json",
    ]

    @Test("A file per run: a row for each pcore and sample, and final rows that equal the report")
    func rows() throws {
        let shop = try ScratchFolder()
        let result = try shop.run(
            Self.quick + ["--pcores", "3", "--duration", "1.7", "--prog", "xor:255,counteq:0"])
        #expect(result.status == 0, "\(result.errors)")
        let names = shop.list("logs/pcores")
        #expect(names.count == 1)
        let name = try #require(names.first)
        #expect(name.wholeMatch(of: /\d{8}T\d{6}Z-\d+\.csv/) != nil, "\(name)")
        let header = try #require(try shop.text("logs/pcores/\(name)").split(separator: "\n").first)
        #expect(header == "ts_s,elapsed_s,pcore,cpu,bytes,mbps,records,rejected,sleeps,cpu_s,kind,program")
        let rows = try shop.table("logs/pcores/\(name)")
        let live = rows.filter { $0["kind"] == "live" }
        let final = rows.filter { $0["kind"] == "final" }
        #expect(rows.count == live.count + final.count)
        #expect(live.count >= 3 && live.count % 3 == 0)
        #expect(rows.allSatisfy { $0["program"] == "xor:255,counteq:0" && $0["rejected"] == "0" })
        #expect(live.allSatisfy { $0["cpu_s"] == "" })

        // Each sample: all pcores at one time; counters grow; the rate is that since the row before, and the sums are
        // those of the aggregate log.
        let aggregate = try shop.table("logs/pcores_metrics.csv")
        let samples = stride(from: 0, to: live.count, by: 3).map { Array(live[$0..<$0 + 3]) }
        #expect(samples.count == aggregate.count - 1)
        var before: [(bytes: Double, time: Double)] = Array(repeating: (0, 0), count: 3)
        for (sample, row) in zip(samples, aggregate) {
            #expect(sample.map { $0["pcore"] } == ["0", "1", "2"])
            #expect(Set(sample.map { $0["elapsed_s"] }).count == 1)
            #expect(Set(sample.map { $0["ts_s"] }).count == 1)
            #expect(sample[0]["elapsed_s"] == row["elapsed_s"])
            #expect(try sample.reduce(0) { $0 + (try number($1, "bytes")) } == (try number(row, "bytes")))
            for (pcore, values) in sample.enumerated() {
                let bytes = try number(values, "bytes")
                let time = try number(values, "elapsed_s")
                #expect(bytes >= before[pcore].bytes && time > before[pcore].time)
                let rate = (bytes - before[pcore].bytes) / (time - before[pcore].time) / 1e6
                // Times are logged to the millisecond.
                #expect(abs(rate - (try number(values, "mbps"))) < 0.1 + 0.01 * rate)
                before[pcore] = (bytes, time)
            }
        }

        let report = try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let values = try #require(report["result"] as? [String: Any])
        let pcores = try #require(values["pcores"] as? [[String: Any]])
        #expect(final.count == pcores.count)
        for (row, pcore) in zip(final, pcores) {
            for (column, field) in [("bytes", "bytes"), ("records", "records"), ("sleeps", "sleeps"), ("cpu", "cpu")] {
                #expect(Int(row[column] ?? "") == pcore[field] as? Int, "\(column)")
            }
            let seconds = try #require(pcore["cpu_ns"] as? Double) / 1e9
            #expect(abs(try number(row, "cpu_s") - seconds) <= 0.001)
        }
    }

    private func number(_ row: [String: String], _ column: String) throws -> Double {
        try #require(row[column].flatMap(Double.init), "\(column) in \(row)")
    }

    @Test("Runs keep to files of their own, also at the same time")
    func concurrent() throws {
        let shop = try ScratchFolder()
        let running = try (0..<3).map { _ in
            try shop.start(Self.quick + ["--pcores", "2", "--records", "20", "--pcore-csv", "by-pcore"])
        }
        for run in running { #expect(try run.finish().status == 0) }
        let names = shop.list("by-pcore")
        #expect(names.count == 3)
        for name in names {
            let final = try shop.table("by-pcore/\(name)").filter { $0["kind"] == "final" }
            #expect(final.map { $0["records"] } == ["20", "20"])
        }
        #expect(shop.list("logs/pcores").isEmpty)
    }

    @Test(
        "Where it goes: beside --csv, or nowhere",
        arguments: [
            ([], "logs/pcores", 1), (["--csv", "a/b.csv"], "a/pcores", 1), (["--csv", "b.csv"], "pcores", 1),
            (["--csv", ""], "logs", 0), (["--pcore-csv", ""], "logs/pcores", 0),
            (["--csv", "", "--pcore-csv", "x/y"], "x/y", 1),
        ])
    func placement(arguments: [String], folder: String, count: Int) throws {
        let shop = try ScratchFolder()
        #expect(try shop.run(Self.quick + ["--records", "2"] + arguments).status == 0)
        #expect(shop.list(folder).count == count)
    }

    @Test("A folder that cannot be made ends the run before it starts; a run without a sample leaves no file")
    func failures() throws {
        let shop = try ScratchFolder()
        let refused = try shop.run(Self.quick + ["--records", "2", "--pcore-csv", "/proc/nowhere"])
        #expect(refused.status == 73)
        #expect(refused.errors.contains("/proc/nowhere") && refused.errors.contains("--pcore-csv"))
        try shop.write("a file", to: "file")
        #expect(try shop.run(Self.quick + ["--records", "2", "--pcore-csv", "file/x"]).status == 73)
        let tooLarge = try shop.run(
            [ScratchFolder.runner, "--blob-mb", "16777216", "--no-baseline", "--pcore-csv", "p", "--quiet"])
        #expect(tooLarge.status == 69)
        #expect(shop.list("p").isEmpty)
    }
}
