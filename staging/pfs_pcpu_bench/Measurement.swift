import Glibc
import PacketFSGram
import PacketFSPCPU
import PacketFSTools

/// What one contender reached in one shape.
struct Rate: ReportObject {
    let shape: Shape.Key
    /// For people and for JSON.
    let shapeName: String
    let cpus: Int
    let work: String
    let by: String
    let isa: ISA?
    let form: String?
    /// 10^6 payload bytes per second, round by round.
    let samples: [Double]

    /// The median of the rounds, and the best.
    var median: Double { Quartiles(samples).median }
    var best: Double { samples.max() ?? 0 }

    static var figures: [Figure<Self>] {
        Figure("shape", "the ranges that were worked on", \.shapeName)
        Figure("cpus", "that took part", \.cpus)
        Figure("work", "the program, or `read` and `modify`", \.work)
        Figure("by", "`packetfs`, `packetfs-each`, `packetfs-passes`, `c`, `limit` or a library", \.by)
        Figure("isa", "of PacketFS's kernels; null for other contenders", \.isa?.rawValue)
        Figure("form", "which of several loops or libraries it is", \.form)
        Figure("median_mb_per_s", "of the rounds", \.median)
        Figure("best_mb_per_s", "of the rounds", \.best)
        Figure("shape_key", "as `--shape` takes it", \.shape.rawValue)
    }

    /// This rate over another that was measured in the same rounds: the quartiles of the rounds' ratios.
    func over(_ other: Rate) -> Quartiles { Quartiles(zip(samples, other.samples).map(/)) }
}

/// The middle of some numbers, and how far they spread.
struct Quartiles: ReportObject {
    let low: Double
    let median: Double
    let high: Double

    /// Precondition: there are numbers.
    init(_ numbers: [Double]) {
        let sorted = numbers.sorted()
        median = sorted[sorted.count / 2]
        low = sorted[sorted.count / 4]
        high = sorted[sorted.count - 1 - sorted.count / 4]
    }

    static var figures: [Figure<Self>] {
        Figure("ratio", "median over the rounds", \.median)
        Figure("ratio_low", "lower quartile", \.low)
        Figure("ratio_high", "upper quartile", \.high)
    }
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
    func figures(_ shape: Shape, _ contend: () throws -> [Contender]) throws -> [Rate] {
        let part = blob.count / cpus.count / 4096 * 4096
        precondition(shape.extent <= part, "the blob is too small for \(shape.name)")
        var lanes = try cpus.indices.map {
            Lane(shape: shape, contenders: try contend(), base: blob.baseAddress! + $0 * part)
        }
        let contenders = lanes[0].contenders
        var samples = [[Double]](repeating: [], count: contenders.count)
        let tables = contenders.indices.map { tablesPerSample($0, &lanes) }
        for round in 0..<rounds {
            // Every other round the other way round, so that no contender always follows the same other one.
            for index in round.isMultiple(of: 2) ? Array(contenders.indices) : contenders.indices.reversed() {
                samples[index].append(try sample(index, tables: tables[index], &lanes))
            }
        }
        return contenders.indices.map { index in
            let contender = contenders[index]
            return Rate(
                shape: shape.key, shapeName: shape.name, cpus: cpus.count, work: contender.work, by: contender.by,
                isa: contender.isa, form: contender.form, samples: samples[index])
        }
    }

    /// One thread's place in the tables.
    private struct Lane: @unchecked Sendable {
        let shape: Shape
        let contenders: [Contender]
        let base: UnsafeMutableRawPointer
        var next = 0
        var sink: UInt64 = 0

        /// Does the next `count` tables, round and round, and nothing else: this is what is timed. Counts in variables of its own: lanes
        /// are neighbours in memory.
        mutating func run(_ contender: Int, tables count: Int) {
            let tables = shape.tableBytes.count
            let work = contenders[contender].run
            var (next, sink) = (next, sink)
            shape.descriptors.withUnsafeBufferPointer { all in
                for _ in 0..<count {
                    let start = next * shape.perTable
                    sink &+= work(base, UnsafeBufferPointer(rebasing: all[start..<start + shape.perTable]))
                    next = next + 1 == tables ? 0 : next + 1
                }
            }
            (self.next, self.sink) = (next, sink)
        }

        /// The bytes of the last `count` tables.
        func bytes(ofLast count: Int) -> Int {
            let bytes = shape.tableBytes
            let (turns, rest) = count.quotientAndRemainder(dividingBy: bytes.count)
            return turns * bytes.reduce(0, +)
                + (0..<rest).reduce(0) { $0 + bytes[(next - 1 - $1 + bytes.count) % bytes.count] }
        }
    }

    /// How many tables make a sample long enough. Whole turns, so that every sample does the same work; not beyond the caches, where a
    /// turn may take long and what matters is that the next tables are not at hand.
    private func tablesPerSample(_ contender: Int, _ lanes: inout [Lane]) -> Int {
        let shape = lanes[0].shape
        let turn = shape.key.isBeyondCaches ? 1 : shape.tableBytes.count
        var count = turn
        while true {
            // The shortest of three: what takes long because another process had the CPU must not pass for much work.
            var elapsed = UInt64.max
            for _ in 0..<3 {
                let start = Self.now()
                lanes[0].run(contender, tables: count)
                elapsed = min(elapsed, max(1, Self.now() - start))
            }
            if elapsed >= sampleNanoseconds { return count }
            let wanted = max(count + 1, min(count * 10, count * Int(sampleNanoseconds * 5 / 4 / elapsed)))
            count = (wanted + turn - 1) / turn * turn
        }
    }

    /// 10^6 bytes per second of all threads together. On one CPU, a sample during which another process had the CPU is taken again, as
    /// often as `attempts` says; what a neighbour costs in bandwidth and caches stays.
    private func sample(
        _ contender: Int, tables: Int, _ lanes: inout [Lane], attempts: Int = 8
    ) throws(ToolError) -> Double {
        let switches = Self.switches()
        let start: UInt64
        if cpus.count == 1 {
            start = Self.now()
            lanes[0].run(contender, tables: tables)
        } else {
            start = try Threads.run(on: cpus, &lanes) { $0.run(contender, tables: tables) }
        }
        let elapsed = Self.now() - start
        if cpus.count == 1 && attempts > 1 && Self.switches() != switches {
            return try sample(contender, tables: tables, &lanes, attempts: attempts - 1)
        }
        return Double(lanes.reduce(0) { $0 + $1.bytes(ofLast: tables) }) / Double(elapsed) * 1000
    }

    /// How often this process has had to leave a CPU to another one.
    private static func switches() -> Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_nivcsw
    }

    private static func now() -> UInt64 { Threads.now() }
}
