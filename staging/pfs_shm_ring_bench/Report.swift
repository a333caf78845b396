import ArgumentParser
import PacketFSTools

/// The rate of one contender at one batch size, in million values per second.
struct Row: ReportObject {
    let contender: String
    let batch: Int
    let mopsPerS: Double
    let samplesMopsPerS: [Double]

    var nsPerOp: Double { 1e3 / mopsPerS }

    static var figures: [Figure<Self>] {
        Figure("contender", "whose ring", \.contender)
        Figure("batch", "values handed over at a time", \.batch)
        Figure("mops_per_s", "median, in millions", \.mopsPerS)
        Figure("ns_per_op", "1000 / `mops_per_s`", \.nsPerOp)
        Figure("samples_mops_per_s", "in the order in which they were taken", \.samplesMopsPerS)
    }

    /// Samples in the order in which they were taken; at least one.
    init(_ contender: Contender, batch: Int, samples: [Double]) {
        self.contender = "\(contender)"
        self.batch = batch
        mopsPerS = median(samples)
        samplesMopsPerS = samples
    }

    /// Distance between the extremes as a fraction of the median.
    var spread: Double { ((samplesMopsPerS.max() ?? 0) - (samplesMopsPerS.min() ?? 0)) / mopsPerS }
}

/// The latency of one contender in nanoseconds, over all samples of the run.
struct LatencyRow: ReportObject {
    let contender: String
    let kind: String
    let samples: UInt64
    let p50Ns: UInt64, p99Ns: UInt64, p999Ns: UInt64, maxNs: UInt64
    let buckets: [LatencyBucket]

    static var figures: [Figure<Self>] {
        Figure("contender", "whose ring", \.contender)
        Figure("kind", "`round_trip` or `one_way`", \.kind)
        Figure("samples", "of all repeats", \.samples)
        Figure("p50_ns", "median", \.p50Ns)
        Figure("p99_ns", "which 99 of 100 samples do not exceed", \.p99Ns)
        Figure("p999_ns", "which 999 of 1000 samples do not exceed", \.p999Ns)
        Figure("max_ns", "the slowest sample", \.maxNs)
        Figure("buckets", "the samples by size, smallest first; empty buckets are left out", \.buckets)
    }

    init(_ contender: Contender, _ kind: Measurement, _ sorted: [UInt64]) {
        self.contender = "\(contender)"
        self.kind = kind == .roundTrip ? "round_trip" : "one_way"
        samples = UInt64(sorted.count)
        p50Ns = Self.quantile(500, of: sorted)
        p99Ns = Self.quantile(990, of: sorted)
        p999Ns = Self.quantile(999, of: sorted)
        maxNs = sorted.last ?? 0
        buckets = LatencyBucket.counting(sorted)
    }

    /// The smallest of the `sorted` values that at least `permille` of a thousand do not exceed; 0 where there are none.
    static func quantile(_ permille: Int, of sorted: [UInt64]) -> UInt64 {
        guard !sorted.isEmpty else { return 0 }
        let rank = (permille * sorted.count + 999) / 1000
        return sorted[min(max(rank, 1), sorted.count) - 1]
    }
}

/// How many samples took from `fromNs` up to, but not including, `toNs`.
///
/// Buckets are 1 ns wide below 32 ns; above, each power of two is cut into sixteen, so that a bucket is at most 1/16 of its start wide.
struct LatencyBucket: ReportObject {
    let fromNs: UInt64, toNs: UInt64
    var count: UInt64

    static var figures: [Figure<Self>] {
        Figure("from_ns", "from here on", \.fromNs)
        Figure("to_ns", "up to, but not including", \.toNs)
        Figure("count", "samples", \.count)
    }

    /// The non-empty buckets of `sorted` samples.
    static func counting(_ sorted: [UInt64]) -> [LatencyBucket] {
        var buckets: [LatencyBucket] = []
        for sample in sorted {
            if let last = buckets.last, sample < last.toNs {
                buckets[buckets.count - 1].count += 1
            } else {
                let shift = max(0, 59 - sample.leadingZeroBitCount)
                let from = (sample >> shift) << shift
                buckets.append(LatencyBucket(fromNs: from, toNs: from + (1 << shift), count: 1))
            }
        }
        return buckets
    }
}

/// The rate of records of one size.
struct RecordRow: ReportObject {
    let recordBytes: Int
    let recordsPerS: Double
    let samplesRecordsPerS: [Double]

    var throughputMbPerS: Double { recordsPerS * Double(recordBytes) / 1e6 }

    static var figures: [Figure<Self>] {
        Figure("record_bytes", "of each record", \.recordBytes)
        Figure("throughput_mb_per_s", "`record_bytes` * `records_per_s`", \.throughputMbPerS)
        Figure("records_per_s", "median", \.recordsPerS)
        Figure("samples_records_per_s", "in the order in which they were taken", \.samplesRecordsPerS)
    }

    /// Samples in records per second; at least one.
    init(recordBytes: Int, samples: [Double]) {
        self.recordBytes = recordBytes
        recordsPerS = median(samples)
        samplesRecordsPerS = samples
    }

    /// Distance between the extremes as a fraction of the median.
    var spread: Double { ((samplesRecordsPerS.max() ?? 0) - (samplesRecordsPerS.min() ?? 0)) / recordsPerS }
}

/// A ring of others, and why it did not take part if it did not.
struct PeerRow: ReportObject {
    let contender: String
    let present: Bool
    let reason: String?

    static var figures: [Figure<Self>] {
        Figure("contender", "whose ring", \.contender)
        Figure("present", "whether it took part", \.present)
        Figure("reason", "why not", \.reason)
    }
}

/// Ours over the best of the peers: above 1 is better, for rates and latencies alike.
struct RatioRow: ReportObject {
    let figure: String
    let ratio: Double
    let bestPeer: String

    static var figures: [Figure<Self>] {
        Figure("figure", "what is compared, such as `batch 8`", \.figure)
        Figure("ratio", "median over the repeats; above 1: ours is better", \.ratio)
        Figure("best_peer", "the one against which ours looks worst", \.bestPeer)
    }

    /// Compares what was measured in the same repeat, and takes the median of that: a machine that gets faster or slower in
    /// between, as virtual ones do, then weighs on both sides of a ratio. The best peer is the one against which ours looks
    /// worst. Nil without peers.
    init?(_ figure: String, _ samples: [Contender: [Double]], betterIsMore: Bool) {
        let own = samples[.packetfs] ?? []
        var worst: (ratio: Double, peer: Contender)?
        for peer in Contender.allCases where peer != .packetfs {
            guard let theirs = samples[peer], !theirs.isEmpty, theirs.count == own.count else { continue }
            let ratio = median(zip(own, theirs).map { betterIsMore ? $0 / max($1, 1e-9) : $1 / max($0, 1e-9) })
            if ratio < worst?.ratio ?? .infinity { worst = (ratio, peer) }
        }
        guard let worst else { return nil }
        self.figure = figure
        ratio = worst.ratio
        bestPeer = "\(worst.peer)"
    }
}

/// What was asked for.
struct Config: ReportObject {
    let bench: RingBench
    let producerCPU: Int, consumerCPU: Int

    static var figures: [Figure<Self>] {
        Figure("mode", "`threads` or `processes`", \.bench.kind)
        Figure("slots", "of the ring", \.bench.slots)
        Figure("slab_bytes", "of the ring's slab") { _ in RingBench.slabByteCount }
        Figure("ops", "values per measurement", \.bench.ops)
        Figure("repeats", "measurements of each figure", \.bench.repeats)
        Figure("batches", "values handed over at a time", \.bench.batches.sizes)
        Figure("trips", "per measurement of latency; null without `--latency`") {
            $0.bench.latency ? $0.bench.trips : nil
        }
        Figure("record_bytes", "sizes of records; null without `--records`") {
            $0.bench.records ? $0.bench.recordBytes.sizes : nil
        }
        Figure("producer_cpu", "where the producer runs", \.producerCPU)
        Figure("consumer_cpu", "where the consumer runs", \.consumerCPU)
    }
}

/// What was measured.
struct Result: ReportObject {
    var elapsedNs: UInt64 = 0
    var batches: [Row] = [], peerBatches: [Row] = []
    var latencies: [LatencyRow] = []
    var records: [RecordRow] = []
    var peers: [PeerRow] = []
    var ratios: [RatioRow] = []

    static var figures: [Figure<Self>] {
        Figure("verified", "true: a run in which a value differs ends with an error") { _ in true }
        Figure("elapsed_ns", "of all measurements", \.elapsedNs)
        Figure("batches", "rates of PacketFS's ring", \.batches)
        Figure("peer_batches", "rates of peers", \.peerBatches)
        Figure("latencies", "one for each contender and kind, with `--latency`", \.latencies)
        Figure("records", "one for each size, with `--records`", \.records)
        Figure("peers", "one for each peer, with `--peers`", \.peers)
        Figure("ratios", "ours over the best of the peers", \.ratios)
    }
}

/// The argument of `--batches` and `--record-bytes`: numbers separated by commas.
struct NumberList: ExpressibleByArgument {
    let sizes: [Int]

    /// Largest number that can be asked for.
    static let limit = 65536

    init(sizes: [Int]) {
        self.sizes = sizes
    }

    init?(argument: String) {
        let sizes = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard sizes.allSatisfy({ (1...NumberList.limit).contains($0) }) else { return nil }
        self.sizes = sizes
    }

    var defaultValueDescription: String { sizes.map(String.init).joined(separator: ",") }
}

/// The middle of some values, at least one.
func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
