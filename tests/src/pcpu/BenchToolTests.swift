import Foundation
import PacketFSPCPU
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

    private func run(_ arguments: [String], tool: URL = Self.tool, environment: [String: String] = [:]) throws -> Output
    {
        let process = Process()
        let output = Pipe()
        let errors = Pipe()
        process.executableURL = tool
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
        let output = try run(
            ["--quick", "--one-cpu", "--in-cache", "--shape", "64B", "--shape", "4K", "--shape", "dram", "--json"])
        #expect(output.status == 0, "\(output.errors)")
        let report = try output.json()
        #expect(report["tool"] as? String == "pfs_pcpu_bench")
        let result = try #require(report["result"] as? [String: Any])
        let rates = try #require(result["rates"] as? [[String: Any]])
        let contenders = Set(rates.compactMap { $0["by"] as? String })
        #expect(contenders.isSuperset(of: ["packetfs", "packetfs-each", "packetfs-passes", "c", "limit"]))
        for rate in rates { #expect((rate["median_mb_per_s"] as? Double).map { $0 > 0 } == true, "\(rate)") }
        #expect(Set(rates.compactMap { $0["shape"] as? String }) == ["64 x 64 B", "4 x 4 KiB"])
        #expect((result["targets"] as? [[String: Any]])?.isEmpty == false)
    }

    @Test(.enabled(if: hasCompiler, "needs the command cc"))
    func instructionSetsStandSideBySide() throws {
        let output = try run(["--quick", "--one-cpu", "--shape", "1K", "--prog", "crc32c", "--isa", "all", "--json"])
        #expect(output.status == 0, "\(output.errors)")
        let result = try #require(try output.json()["result"] as? [String: Any])
        let rates = try #require(result["rates"] as? [[String: Any]])
        let own = rates.filter { $0["by"] as? String == "packetfs" && $0["work"] as? String == "crc32c" }
        #expect(own.compactMap { $0["isa"] as? String } == ISA.supported.map(\.rawValue))
        #expect(rates.allSatisfy { ($0["isa"] is String) == ($0["by"] as? String)?.hasPrefix("packetfs") })

        let two = try run(
            ["--quick", "--one-cpu", "--shape", "64B", "--prog", "fnv", "--isa", "portable", "--isa", "portable"],
            environment: ["PACKETFS_FORCE_ISA": "mmx"])
        #expect(two.status == 0, "--isa goes before the environment: \(two.errors)")
        #expect(two.text.contains("portable kernels"))
    }

    /// Compiles C sources into shared libraries in a folder of their own, which is removed afterwards.
    private func withLibraries(_ sources: [String: String], _ body: (URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-bench-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, text) in sources {
            let source = folder.appendingPathComponent("\(name).c")
            try Data(text.utf8).write(to: source)
            let compiler = try Process.run(
                URL(fileURLWithPath: "/usr/bin/env"),
                arguments: [
                    "cc", "-shared", "-fPIC", "-o", folder.appendingPathComponent("\(name).so").path, source.path,
                ])
            compiler.waitUntilExit()
            try #require(compiler.terminationStatus == 0, "\(name).c")
        }
        try body(folder)
    }

    @Test(.enabled(if: hasCompiler, "needs the command cc"))
    func librariesAreCheckedBeforeTheyAreMeasured() throws {
        func library(_ name: String, ready: Int, _ body: String) -> String {
            """
            const char pfs_peer_name[] = "\(name)", pfs_peer_work[] = "crc32c", pfs_peer_origin[] = "lib\(name) 1.0";
            int pfs_peer_ready(void) { return \(ready); }
            unsigned long pfs_peer_call(const unsigned char *p, unsigned long n) { \(body) }
            """
        }
        let crc =
            "unsigned crc = -1; while (n--) { crc ^= *p++; for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1) * 0x82F63B78u; } "
            + "return ~crc;"
        let sources = [
            "right": library("right", ready: 1, crc),
            "wrong": library("wrong", ready: 1, crc + "/**/").replacing("return ~crc", with: "return crc"),
            "absent": library("absent", ready: 0, crc), "other": "int answer = 42;",
        ]
        try withLibraries(sources) { folder in
            let output = try run(
                ["--quick", "--one-cpu", "--shape", "64B", "--prog", "crc32c", "--peers", folder.path, "--json"])
            #expect(output.status == 0, "\(output.errors)")
            let report = try output.json()
            let rates = try #require((report["result"] as? [String: Any])?["rates"] as? [[String: Any]])
            let contenders = Set(rates.compactMap { $0["by"] as? String })
            #expect(contenders.contains("right"))
            #expect(contenders.isDisjoint(with: ["wrong", "absent", "other"]))
            let warnings = try #require(report["warnings"] as? [String])
            #expect(warnings.contains { $0.contains("libwrong 1.0") && $0.contains("left out") })
            #expect(warnings.contains { $0.contains("aws-checksums") && $0.contains("just bench-peers-install") })
        }
    }

    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "../../../utils/bench-pcpu-against"
    ).standardizedFileURL
    private static let hasGit = FileManager.default.isExecutableFile(atPath: "/usr/bin/git")

    @Test(.enabled(if: hasGit, "needs the command git"))
    func kernelsOfTwoRevisionsAreComparedAndChecked() throws {
        let output = try run(
            [
                "HEAD", "--to", "HEAD", "--bench", Self.tool.path, "--quick", "--shape", "64B", "--isa", "all",
                "--prog", "xor:1,fnv,add:3,crc32c,counteq:7", "--prog", "counteq:9,xor:3,crc32c", "--json",
            ], tool: Self.script)
        #expect(output.status == 0, "\(output.errors)")
        let report = try output.json()
        let config = try #require(report["config"] as? [String: Any])
        #expect((config["before"] as? String)?.isEmpty == false)
        let changes = try #require((report["result"] as? [String: Any])?["changes"] as? [[String: Any]])
        #expect(changes.count == 2 * (ISA.supported.count - 1))
        for change in changes { #expect((change["ratio"] as? Double).map { $0 > 0 } == true, "\(change)") }
    }

    /// Kernels that do nothing: what they would be measured at is the rate of a mistake.
    @Test(.enabled(if: hasCompiler, "needs the command cc"))
    func wrongKernelsAreNotMeasured() throws {
        let idle = """
            const unsigned pfs_bench_version = 1;
            unsigned pfs_bench_isas(void) { return 1; }
            void *pfs_bench_plan(const unsigned char *listing) { return (void *)listing; }
            void pfs_bench_execute(void) {}
            """
        try withLibraries(["idle": idle]) { folder in
            let library = folder.appendingPathComponent("idle.so").path
            let output = try run([
                "against", library, "--quick", "--isa", "sse2", "--shape", "64B", "--names", "idle,us",
            ])
            #expect(output.status == 65)
            #expect(output.errors.contains("of idle is wrong"), "\(output.errors)")
            #expect(output.text.isEmpty)
        }
    }

    @Test(arguments: ["/nonexistent/kernels.so", "libc.so.6", tool.path])
    func librariesWithoutKernelsAreReported(library: String) throws {
        let output = try run(["against", library, "--quick"])
        #expect(output.status == 66)
        #expect(output.errors.contains("kernels"))
        #expect(output.text.isEmpty)
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
        ["--isa", "mmx"], ["--isa", "portable,"], ["--shape", "2K"], ["--prog", "sub:1"], ["--peers"], ["against"],
        ["against", "kernels.so", "--isa", "portable"], ["against", "kernels.so", "--target", "0"],
        ["against", "kernels.so", "--names", "one"],
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
