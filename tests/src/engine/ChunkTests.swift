import Foundation
import PacketFSGram
import PacketFSPCPU
import SystemPackage
import Testing
import ToolTesting

@testable import PacketFSEngine

/// What becomes of the results of chunks. The run that yields them is tested with real pcores, through pfs_mpi_apply.
@Suite("PacketFSEngine: chunks")
struct ChunkTests {
    /// A file in memory, its program and how it is cut.
    private struct Case {
        let bytes: [UInt8]
        let program: Program
        let block: Int
        let chunks: [ChunkResult]

        init(_ text: String, size: Int, block: Int, chunk: Int, offset: UInt64, _ random: inout SeededGenerator) throws
        {
            bytes = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let program = try Program(parsing: text)
            self.program = program
            self.block = block
            let bytes = bytes
            chunks = stride(from: 0, to: size, by: chunk).map { first in
                let end = min(first + chunk, size)
                let values = stride(from: first, to: end, by: block).flatMap {
                    Self.values(program, Array(bytes[$0..<min($0 + block, end)]))
                }
                return ChunkResult(
                    range: offset + UInt64(first)..<offset + UInt64(end), values: values, holeBytes: UInt64(first % 3))
            }
        }

        /// What the reference implementation yields for one block.
        static func values(_ program: Program, _ block: [UInt8]) -> [UInt64] {
            var block = block
            var values = program.reducers.map { _ in UInt64(0) }
            let descriptor = Descriptor(offset: 0, length: UInt32(block.count))
            block.withUnsafeMutableBytes { memory in
                withUnsafePointer(to: descriptor) {
                    Reference.execute(
                        program, on: memory, descriptors: UnsafeBufferPointer(start: $0, count: 1), totals: &values)
                }
            }
            return values
        }
    }

    @Test("Sums and digests do not depend on the order of chunks, nor on who adds them up", arguments: 0..<40)
    func anyOrder(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed &* 77 &+ 5)
        let block = [1, 3, 64, 1000].randomElement(using: &random)!
        let chunk = block * Int.random(in: 1...5, using: &random)
        let size = Int.random(in: 0...3000, using: &random)
        let offset = UInt64.random(in: 0...(1 << 40), using: &random)
        let text = ["crc32c", "xor:7,crc32c,fnv,counteq:1,crc32c", "counteq:0", "add:3"].randomElement(using: &random)!
        let made = try Case(text, size: size, block: block, chunk: chunk, offset: offset, &random)
        let end = offset + UInt64(size)
        func nothing() -> ChunkTotals { ChunkTotals(program: made.program, blockByteCount: block, end: end) }

        var whole = nothing()
        var ranks = (0..<3).map { _ in nothing() }
        for chunk in made.chunks.shuffled(using: &random) {
            whole.add(chunk)
            ranks[Int.random(in: 0..<3, using: &random)].add(chunk)
        }
        var joined = nothing()
        joined.replace(
            sums: ranks.map(\.sums).reduce(nothing().sums) { zip($0, $1).map { $0 &+ $1 } },
            wholeCRCs: ranks.map(\.wholeCRCs).reduce(nothing().wholeCRCs) { zip($0, $1).map { $0 ^ $1 } })
        #expect(whole.sums == joined.sums && whole.wholeCRCs == joined.wholeCRCs)
        var inOrder = ChunkTotals(program: made.program, blockByteCount: block, end: nil)
        for chunk in made.chunks { inOrder.add(chunk) }
        #expect(whole.sums == inOrder.sums && whole.wholeCRCs == inOrder.wholeCRCs, "the end need not be known")

        // Block by block, in order, by the reference; the digest of all bytes in one go.
        var totals = made.program.reducers.map { _ in UInt64(0) }
        for first in stride(from: 0, to: size, by: block) {
            let values = Case.values(made.program, Array(made.bytes[first..<min(first + block, size)]))
            for (index, value) in values.enumerated() { totals[index] &+= value }
        }
        #expect(whole.totals == totals)
        #expect(whole.blocks == UInt64((size + block - 1) / block) && whole.bytes == UInt64(size))
        #expect(whole.holeBytes == made.chunks.reduce(0) { $0 + $1.holeBytes })
        let atOnce = Case.values(made.program, made.bytes)
        for (index, step) in made.program.reducers.enumerated() {
            #expect(whole.wholeCRCs[index] == (step.op == .crc32c ? atOnce[index] : 0))
        }
    }

    @Test("A queue of spans gives them out in order, at their places")
    func queue() {
        let queue = SpanQueue(blockByteCount: 10)
        #expect(queue.nextBlockCount == 0 && queue.count == 0)
        for round in 0..<3 {
            queue.append(BlockSpan(sequence: 1, offset: 100, byteCount: 25), at: 5)
            queue.append(BlockSpan(sequence: 2, offset: 7, byteCount: 10), at: 70)
            var table = [Descriptor](repeating: Descriptor(offset: 0, length: 0), count: 3)
            #expect(queue.count == 2 && queue.nextBlockCount == 3, "round \(round)")
            let first = table.withUnsafeMutableBufferPointer { queue.take(into: $0) }
            #expect(first.sequence == 1)
            #expect(table.map(\.offset) == [5, 15, 25] && table.map(\.length) == [10, 10, 5])
            #expect(queue.nextBlockCount == 1)
            let second = table.withUnsafeMutableBufferPointer { queue.take(into: $0) }
            #expect(second.sequence == 2 && table[0].offset == 70 && table[0].length == 10)
            #expect(queue.nextBlockCount == 0)
        }
    }
}
