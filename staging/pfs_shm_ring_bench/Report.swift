import ArgumentParser

/// The rate of one contender at one batch size, in million values per second.
struct Row: Encodable {
    let contender: String
    let batch: Int
    let mopsPerS: Double
    let nsPerOp: Double
    let samplesMopsPerS: [Double]

    /// Samples in the order in which they were taken; at least one.
    init(_ contender: Contender, batch: Int, samples: [Double]) {
        self.contender = "\(contender)"
        self.batch = batch
        mopsPerS = median(samples)
        nsPerOp = 1e3 / mopsPerS
        samplesMopsPerS = samples
    }

    /// Distance between the extremes as a fraction of the median.
    var spread: Double { ((samplesMopsPerS.max() ?? 0) - (samplesMopsPerS.min() ?? 0)) / mopsPerS }
}

/// The latency of one contender in nanoseconds, over all samples of the run.
struct LatencyRow: Encodable {
    let contender: String
    let kind: String
    let samples: UInt64
    let p50Ns: UInt64
    let p99Ns: UInt64
    let p999Ns: UInt64
    let maxNs: UInt64
    /// The samples by size, smallest first; empty buckets are left out.
    let buckets: [LatencyBucket]

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
struct LatencyBucket: Encodable {
    let fromNs: UInt64
    let toNs: UInt64
    var count: UInt64

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
struct RecordRow: Encodable {
    let recordBytes: Int
    let throughputMbPerS: Double
    let recordsPerS: Double
    let samplesRecordsPerS: [Double]

    /// Samples in records per second; at least one.
    init(recordBytes: Int, samples: [Double]) {
        self.recordBytes = recordBytes
        recordsPerS = median(samples)
        throughputMbPerS = recordsPerS * Double(recordBytes) / 1e6
        samplesRecordsPerS = samples
    }

    /// Distance between the extremes as a fraction of the median.
    var spread: Double { ((samplesRecordsPerS.max() ?? 0) - (samplesRecordsPerS.min() ?? 0)) / recordsPerS }
}

/// A ring of others, and why it did not take part if it did not.
struct PeerRow: Encodable {
    let contender: String
    let present: Bool
    let reason: String?
}

/// Ours over the best of the peers: above 1 is better, for rates and latencies alike.
struct RatioRow: Encodable {
    let figure: String
    let ratio: Double
    let bestPeer: String

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

/// What `--json` prints; see docs/ring.md.
enum Report {
    struct Config: Encodable {
        let mode: String
        let slots: UInt32
        let slabBytes: Int
        let ops: UInt64
        let repeats: Int
        let batches: [Int]
        /// Nil unless asked for, as the next.
        let trips: UInt64?
        let recordBytes: [Int]?
        let producerCpu: Int
        let consumerCpu: Int
    }

    struct Result: Encodable {
        var verified = true
        var elapsedNs: UInt64 = 0
        /// Ours; those of the peers stand beside.
        var batches: [Row] = []
        var peerBatches: [Row] = []
        var latencies: [LatencyRow] = []
        var records: [RecordRow] = []
        var peers: [PeerRow] = []
        var ratios: [RatioRow] = []
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

/// `text` behind as many spaces as make it `width` characters long.
func pad(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}
