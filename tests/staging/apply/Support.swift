import Foundation
import PacketFSGram
import PacketFSPCPU
import Testing
import ToolTesting

/// The tool that these suites run.
let tool = Tool("pfs_apply")

/// A folder of the test's own, removed with everything in it.
final class Workplace {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-apply-\(UUID())")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) -> String { url.appendingPathComponent(name).path }

    /// Writes a file and returns its path.
    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: url.appendingPathComponent(name))
        return path(name)
    }

    func bytes(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: url.appendingPathComponent(name))) }

    /// Everything in the folder, hidden names too.
    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() }
}

/// Bytes of a seeded generator, with runs of zeros so that counts are not all alike.
func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed &* 2 &+ 1
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let byte = UInt8(truncatingIfNeeded: state >> 56)
        return byte < 40 ? 0 : byte
    }
}

/// What the reference implementation makes of `bytes`, block by block.
struct Expected {
    var bytes: [UInt8]
    /// One row per block.
    var rows: [[UInt64]] = []
    var totals: [UInt64]

    init(_ text: String, _ bytes: [UInt8], block: Int) throws {
        let program = try Program(parsing: text)
        self.bytes = bytes
        totals = Array(repeating: 0, count: program.reducers.count)
        var offset = 0
        while offset < bytes.count {
            let descriptor = Descriptor(offset: UInt64(offset), length: UInt32(min(block, bytes.count - offset)))
            var row = Array(repeating: UInt64(0), count: totals.count)
            self.bytes.withUnsafeMutableBytes { memory in
                [descriptor].withUnsafeBufferPointer {
                    Reference.execute(program, on: memory, descriptors: $0, totals: &row)
                }
            }
            for (index, value) in row.enumerated() { totals[index] &+= value }
            rows.append(row)
            offset += block
        }
    }
}

extension Tool.Result {
    /// The totals, as numbers.
    func totals() throws -> [UInt64] {
        let totals = try #require(try result()["totals"] as? [[String: Any]])
        return totals.compactMap { UInt64($0["value"] as? String ?? "") }
    }

    /// The digest of all bytes of operation `index`.
    func wholeRange(_ index: Int = 0) throws -> String? {
        try #require(try result()["totals"] as? [[String: Any]])[index]["whole_range"] as? String
    }
}
