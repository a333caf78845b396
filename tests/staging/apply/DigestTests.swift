import Foundation
import PacketFSEngine
import PacketFSPCPU
import PacketFSTools
import SystemPackage
import Testing
import ToolTesting

@testable import ApplyTool

/// How the values of chunks become the lines of a file of digests, and how they are compared with those.
@Suite("pfs_apply: digests of chunks")
struct DigestTests {
    /// Chunks of blocks of 10 bytes with random values.
    private struct Case {
        let program: Program
        let chunks: [ChunkResult]

        init(_ text: String, ranges: [Range<UInt64>], _ random: inout SeededGenerator) throws {
            let program = try Program(parsing: text)
            self.program = program
            chunks = ranges.map { range in
                let count = ChunkResult.valueCount(of: range, program: program, blockByteCount: 10)
                let values = (0..<count).map { _ in UInt64(UInt32.random(in: 0 ... .max, using: &random)) }
                return ChunkResult(range: range, values: values, holeBytes: 0)
            }
        }
    }

    @Test("The lines of digests are those of the blocks, wherever a chunk begins")
    func lines() throws {
        var random = SeededGenerator(seed: 3)
        let made = try Case("crc32c,counteq:1", ranges: [90..<110, 110..<115], &random)
        var configuration = ApplyConfiguration(program: made.program, input: .file("some file"))
        configuration.blockByteCount = 10
        configuration.rangeOffset = 90
        let header = try DigestHeader(configuration, fileByteCount: 200)
        #expect(header.text.contains("# file: some file\n# file_bytes: 200\n"))
        let text = made.chunks.map { String(decoding: header.lines($0), as: UTF8.self) }.joined()
        let rows = text.split(separator: "\n").map { $0.split(separator: ",") }
        #expect(rows.map { $0[0] } == ["90", "100", "110"] && rows.map { $0[1] } == ["10", "10", "5"])
        #expect(
            rows.map { UInt64($0[2], radix: 16) }
                == made.chunks.flatMap(\.values).enumerated()
                .filter { $0.offset % 2 == 0 }.map(\.element))
        #expect(
            rows.map { UInt64($0[3]) }
                == made.chunks.flatMap(\.values).enumerated()
                .filter { $0.offset % 2 == 1 }.map(\.element))
        #expect(ChunkResult.valueCount(of: 90..<115, program: made.program, blockByteCount: 10) == 6)

        configuration.input = .file("two\nlines")
        #expect(throws: ToolError.self) { try DigestHeader(configuration, fileByteCount: 1) }
        configuration.program = try Program(parsing: "xor:1")
        #expect(throws: ToolError.self) { try DigestHeader(configuration, fileByteCount: 1) }
    }

    @Test("Chunks are compared with digests as blocks are")
    func comparison() throws {
        var random = SeededGenerator(seed: 4)
        let made = try Case("crc32c", ranges: [0..<20, 20..<40], &random)
        var configuration = ApplyConfiguration(program: made.program, input: .file("x"))
        configuration.blockByteCount = 10
        let header = try DigestHeader(configuration, fileByteCount: 40)
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-digests-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        func differences(_ chunks: [ChunkResult]) throws -> [UInt64] {
            let comparison = DigestComparison(try DigestReader(FilePath(path)))
            for chunk in chunks { try comparison.compare(chunk) }
            try comparison.finish()
            return comparison.differences.map(\.offset)
        }
        try Data(Array(header.text.utf8) + made.chunks.flatMap { header.lines($0) }).write(
            to: URL(fileURLWithPath: path))
        #expect(try differences(made.chunks) == [])
        #expect(try differences([made.chunks[0]]) == [20, 30], "missing")
        var values = made.chunks[1].values
        values[1] ^= 1
        let changed = ChunkResult(range: made.chunks[1].range, values: values, holeBytes: 0)
        #expect(try differences([made.chunks[0], changed]) == [30])
        let more = ChunkResult(range: 40..<50, values: [1], holeBytes: 0)
        #expect(try differences(made.chunks + [more]) == [40])
    }

    @Test("Results that come in any order are told in the order of the range", arguments: 0..<10)
    func order(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let ranges: [Range<UInt64>] = (0..<20).map { index in
            let first = 30 + 20 * UInt64(index)
            return first..<(index == 19 ? 413 : first + 20)
        }
        let made = try Case("crc32c,fnv", ranges: ranges, &random)
        var job = BlockJob(program: made.program)
        job.blockByteCount = 10
        var rows: [(offset: UInt64, length: Int, values: [UInt64])] = []
        let results = OrderedResults(job, start: 30) { rows.append(($0.offset, $0.length, Array($0.values))) }
        for (count, chunk) in made.chunks.shuffled(using: &random).enumerated() {
            #expect(results.totals.bytes < 383, "after \(count) chunks")
            try results.add(chunk)
        }
        #expect(results.totals.bytes == 383 && results.totals.blocks == 39)
        let offsets: [UInt64] = (0..<39).map { 30 + 10 * UInt64($0) }
        #expect(rows.map { $0.offset } == offsets)
        let lengths = Array(repeating: 10, count: 38) + [3]
        #expect(rows.map { $0.length } == lengths)
        let values = made.chunks.flatMap { $0.values }
        #expect(rows.flatMap { $0.values } == values)
    }
}
