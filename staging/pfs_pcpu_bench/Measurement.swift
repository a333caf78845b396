import Glibc
import PacketFSGram
import PacketFSTools

/// What one contender reached in one shape.
struct Figure {
    let shape: String
    let cpus: Int
    let work: String
    let by: String
    /// 10^6 payload bytes per second: the median of the rounds, and the best.
    let median: Double
    let best: Double
    let rounds: Int
}

/// Measures all contenders of a shape in turn, round after round, so that what disturbs the machine disturbs all alike.
struct Measurement {
    let rounds: Int
    /// The least time that a sample takes.
    let sampleNanoseconds: UInt64
    /// The CPUs, one thread on each; each thread has a part of the blob of its own.
    let cpus: [Int]
    let blob: UnsafeMutableRawBufferPointer

    func figures(_ shape: Shape, _ contenders: [Contender]) throws(ToolError) -> [Figure] {
        let part = blob.count / cpus.count / 4096 * 4096
        precondition(shape.extent <= part, "the blob is too small for \(shape.name)")
        var lanes = cpus.indices.map { Lane(shape: shape, base: blob.baseAddress! + $0 * part) }
        var samples = [[Double]](repeating: [], count: contenders.count)
        let tables = try contenders.map { contender throws(ToolError) in
            try tablesPerSample(contender, &lanes)
        }
        for _ in 0..<rounds {
            for (index, contender) in contenders.enumerated() {
                samples[index].append(try sample(contender, tables: tables[index], &lanes))
            }
        }
        return contenders.indices.map { index in
            let sorted = samples[index].sorted()
            return Figure(
                shape: shape.name, cpus: cpus.count, work: contenders[index].work, by: contenders[index].by,
                median: sorted[sorted.count / 2], best: sorted[sorted.count - 1], rounds: rounds)
        }
    }

    /// One thread's place in the tables.
    private struct Lane: @unchecked Sendable {
        let shape: Shape
        let base: UnsafeMutableRawPointer
        var next = 0
        var bytes: UInt64 = 0
        var sink: UInt64 = 0

        /// Does the next `count` tables, round and round.
        mutating func run(_ contender: Contender, tables count: Int) {
            let tables = shape.descriptors.count / shape.perTable
            shape.descriptors.withUnsafeBufferPointer { all in
                for _ in 0..<count {
                    let start = next * shape.perTable
                    let table = UnsafeBufferPointer(rebasing: all[start..<start + shape.perTable])
                    sink &+= contender.run(base, table)
                    for descriptor in table { bytes += UInt64(descriptor.length) }
                    next = next + 1 == tables ? 0 : next + 1
                }
            }
        }
    }

    /// How many tables make a sample long enough.
    private func tablesPerSample(_ contender: Contender, _ lanes: inout [Lane]) throws(ToolError) -> Int {
        var count = 1
        while true {
            let start = Self.now()
            lanes[0].run(contender, tables: count)
            let elapsed = max(1, Self.now() - start)
            if elapsed >= sampleNanoseconds { return count }
            count = max(count + 1, min(count * 10, count * Int(sampleNanoseconds * 5 / 4 / elapsed)))
        }
    }

    /// 10^6 bytes per second of all threads together.
    private func sample(_ contender: Contender, tables: Int, _ lanes: inout [Lane]) throws(ToolError) -> Double {
        for index in lanes.indices { lanes[index].bytes = 0 }
        let start: UInt64
        if cpus.count == 1 {
            start = Self.now()
            lanes[0].run(contender, tables: tables)
        } else {
            start = try Threads.run(on: cpus, &lanes) { $0.run(contender, tables: tables) }
        }
        let elapsed = Self.now() - start
        return lanes.reduce(0) { $0 + Double($1.bytes) } / Double(elapsed) * 1000
    }

    private static func now() -> UInt64 { Threads.now() }
}
