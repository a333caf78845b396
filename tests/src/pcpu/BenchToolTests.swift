import Foundation
import Testing

/// The command line and the reports of pfs_pcpu_bench; figures are not judged here.
@Suite struct BenchToolTests {
    private static let tool = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("pfs_pcpu_bench")
    private static let hasCompiler = ["/usr/bin/cc", "/usr/local/bin/cc"].contains {
        FileManager.default.isExecutableFile(atPath: $0)
    }

    private struct Output {
        let status: Int32
        let text: String
        let errors: String

        /// The text as one JSON document; fails the test if it is anything else.
        func json() throws -> [String: Any] {
            try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)\n\(errors)")
        }
    }

    private func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Output {
        let process = Process()
        let output = Pipe()
        let errors = Pipe()
        process.executableURL = Self.tool
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        // Errors are a few lines, which a pipe holds.
        let text = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        let complaints = try errors.fileHandleForReading.readToEnd() ?? Data()
        return Output(
            status: process.terminationStatus, text: String(decoding: text, as: UTF8.self),
            errors: String(decoding: complaints, as: UTF8.self))
    }

    @Test(.enabled(if: hasCompiler, "needs the command cc"))
    func kernelsReportIsOneDocument() throws {
        let output = try run(["--quick", "--one-cpu", "--in-cache", "--json"])
        #expect(output.status == 0, "\(output.errors)")
        let report = try output.json()
        #expect(report["tool"] as? String == "pfs_pcpu_bench")
        let result = try #require(report["result"] as? [String: Any])
        let rates = try #require(result["rates"] as? [[String: Any]])
        let contenders = Set(rates.compactMap { $0["by"] as? String })
        #expect(contenders.isSuperset(of: ["packetfs", "packetfs-each", "packetfs-passes", "c", "limit"]))
        for rate in rates { #expect((rate["median_mb_per_s"] as? Double).map { $0 > 0 } == true, "\(rate)") }
        #expect((result["targets"] as? [[String: Any]])?.isEmpty == false)
    }

    @Test func threadsReportIsOneDocument() throws {
        let output = try run([
            "threads", "--json", "--threads", "1", "--duration", "0.05", "--blob-mb", "4", "--range-len", "1000000",
            "--prog", "xor:1,crc32c",
        ])
        #expect(output.status == 0, "\(output.errors)")
        let report = try output.json()
        let config = try #require(report["config"] as? [String: Any])
        #expect(config["program"] as? String == "xor:1,crc32c")
        #expect(config["range_bytes"] as? Int == 1_000_000)
        let result = try #require(report["result"] as? [String: Any])
        #expect((result["bytes"] as? Int).map { $0 > 0 } == true)
        #expect((result["elapsed_ns"] as? Int).map { $0 >= 50_000_000 } == true)
    }

    @Test(arguments: [
        ["--rounds", "0"], ["--rounds", "many"], ["--sample-ms", "0"], ["--range-mb", "1"], ["--frobnicate"],
        ["threads", "--threads", "0"], ["threads", "--duration", "0"], ["threads", "--prog", "sub:1"],
        ["threads", "--align", "48"], ["threads", "--blob-mb", "1", "--range-len", "1048577"],
        ["threads", "--dpf", "0"], ["threads", "--page-size", "3m"],
    ])
    func badFlagsAreUsageErrors(arguments: [String]) throws {
        let output = try run(arguments)
        #expect(output.status == 64)
        #expect(output.text.isEmpty)
        #expect(!output.errors.isEmpty)
    }

    @Test func unknownInstructionSetsAreUsageErrors() throws {
        let output = try run(
            ["threads", "--duration", "0.05", "--blob-mb", "1"], environment: ["PACKETFS_FORCE_ISA": "mmx"])
        #expect(output.status == 64)
        #expect(output.errors.contains("mmx"))
    }

    @Test func compilersThatAreMissingAreReported() throws {
        let output = try run(["--quick", "--one-cpu", "--in-cache", "--cc", "/nonexistent/cc"])
        #expect(output.status == 69)
        #expect(output.errors.contains("/nonexistent/cc"))
        #expect(output.text.isEmpty)
    }
}
