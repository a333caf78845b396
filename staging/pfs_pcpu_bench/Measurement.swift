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

    /// - Parameter contend: makes the contenders, for each thread its own, so that threads share nothing but memory.
    func figures(_ shape: Shape, _ contend: () throws -> [Contender]) throws -> [Figure] {
        let part = blob.count / cpus.count / 4096 * 4096
        precondition(shape.extent <= part, "the blob is too small for \(shape.name)")
        var lanes = try cpus.indices.map {
            Lane(shape: shape, contenders: try contend(), base: blob.baseAddress! + $0 * part)
        }
        let contenders = lanes[0].contenders
        var samples = [[Double]](repeating: [], count: contenders.count)
        let tables = contenders.indices.map { tablesPerSample($0, &lanes) }
        for _ in 0..<rounds {
            for index in contenders.indices {
                samples[index].append(try sample(index, tables: tables[index], &lanes))
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
        let contenders: [Contender]
        let base: UnsafeMutableRawPointer
        var next = 0
        var bytes: UInt64 = 0
        var sink: UInt64 = 0

        /// Does the next `count` tables, round and round. Counts in variables of its own: lanes are neighbours in memory.
        mutating func run(_ contender: Int, tables count: Int) {
            let tables = shape.descriptors.count / shape.perTable
            let work = contenders[contender].run
            var (next, bytes, sink) = (next, bytes, sink)
            shape.descriptors.withUnsafeBufferPointer { all in
                for _ in 0..<count {
                    let start = next * shape.perTable
                    let table = UnsafeBufferPointer(rebasing: all[start..<start + shape.perTable])
                    sink &+= work(base, table)
                    for descriptor in table { bytes += UInt64(descriptor.length) }
                    next = next + 1 == tables ? 0 : next + 1
                }
            }
            (self.next, self.bytes, self.sink) = (next, bytes, sink)
        }
    }

    /// How many tables make a sample long enough.
    private func tablesPerSample(_ contender: Int, _ lanes: inout [Lane]) -> Int {
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
    private func sample(_ contender: Int, tables: Int, _ lanes: inout [Lane]) throws(ToolError) -> Double {
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
