import Foundation
import Testing
import ToolTesting

/// `just bench-paths`, shortly: figures are not what is tested. It runs the release builds; those that are missing it must name.
@Suite("bench-paths", .serialized)
struct BenchTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    static let bench = Tool(path: root.appendingPathComponent("utils/bench-paths").path)

    @Test(
        "Each path has figures or a reason", .enabled(if: VethPair.areAvailable, "needs network namespaces"),
        .enabled(if: Command.exists("gnuplot"), "needs the command gnuplot"))
    func paths() throws {
        let scratch = try Scratch()
        let run = try Self.bench.run([
            "--only", "AF_PACKET V3", "--rounds", "1", "--seconds", "0.2", "--frames", "2000", "--json", "--out",
            scratch.path,
        ])
        #expect(run.status == 0, "\(run)")
        let result = try run.result()
        let paths = try #require(result["paths"] as? [[String: Any]])
        #expect(paths.map { $0["content"] as? String } == ["descriptors", "payload"])
        let isBuilt = ["yeet_afp_tx", "yeet_afp_rx"].allSatisfy {
            FileManager.default.fileExists(atPath: Self.root.appendingPathComponent("bin/\($0)").path)
        }
        for path in paths {
            guard isBuilt else {
                #expect((path["skipped"] as? String)?.hasSuffix("has not been built") == true)
                continue
            }
            #expect(path["skipped"] is NSNull, "\(path)")
            for field in ["records_per_s", "wire_mb_per_s", "effective_mb_per_s", "cpu_s_per_gb"] {
                #expect(try #require(path[field] as? Double) > 0, "\(field): \(path)")
            }
        }
        let peers = try #require(result["peers"] as? [[String: Any]])
        #expect(peers.count == 4, "sending and receiving, short frames and long ones")
        for peer in peers where peer["skipped"] is NSNull {
            #expect(try #require(peer["ratio"] as? Double) > 0)
        }
        let files = Set(try FileManager.default.contentsOfDirectory(atPath: scratch.path))
        #expect(
            files == (isBuilt ? ["paths.json", "paths.txt", "paths.png", "paths.svg"] : ["paths.json", "paths.txt"]))
    }

    @Test("Bad options are refused")
    func badOptions() throws {
        for arguments in [["--rounds", "0"], ["--seconds", "0"], ["--frames", "1"], ["--nonsense"]] {
            #expect(try Self.bench.run(arguments).status == 64)
        }
    }
}
