import PacketFSGram
import PacketFSPCPU
import Testing
import ToolTesting

@testable import PacketFSEngine

@Suite("pfs_apply: rows of values", .serialized)
struct RowTests {
    @Test("No record is dealt out whose row still holds values that nobody has taken")
    func rows() throws {
        let feed = SpanQueue(blockByteCount: 10)
        for span in 0..<50 {
            feed.append(
                BlockSpan(sequence: UInt64(span), offset: UInt64(20 * span), byteCount: 20), at: UInt64(20 * span))
        }
        var records = SpanRecords(spans: feed, instructions: try Program(parsing: "fnv").instructions, rows: 4)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 64)
        defer { memory.deallocate() }
        func deal() -> Int {
            var dealt = 0
            while records.nextByteCount() != nil {
                records.write(into: memory, position: UInt32(dealt))
                dealt += 1
            }
            return dealt
        }
        #expect(deal() == 4)
        #expect(records.takeDone(unreleased: 4).isEmpty)
        #expect(deal() == 0, "released or not: what counts is what has been taken")
        #expect(records.takeDone(unreleased: 1).map(\.span.offset) == [0, 20, 40])
        #expect(deal() == 3)
        #expect(records.pending.map(\.span.offset) == [60, 80, 100, 120])
    }

    @Test("Many tiny records, again and again: every block has its own values", arguments: 0..<6)
    func tiny(round: Int) throws {
        let place = try Workplace()
        let bytes = randomBytes(400_000, seed: UInt64(100 + round))
        let file = try place.file("in", bytes)
        let expected = try Expected("crc32c", bytes, block: 8)
        for mode in [
            ["--digests", place.path("digests")], ["--out", place.path("out"), "--digests", place.path("digests")],
        ] {
            let result = try tool.run([file, "--block", "8", "--pcores", "\(1 + round)", "--json"] + mode)
            #expect(result.status == 0, "\(result.errors)")
            #expect(try result.totals() == expected.totals)
            let lines = try String(contentsOfFile: place.path("digests"), encoding: .utf8).split(separator: "\n")
            let values = lines.dropFirst(8).compactMap {
                $0.split(separator: ",").last.flatMap { UInt64($0, radix: 16) }
            }
            #expect(values == expected.rows.map { $0[0] })
        }
    }
}
