import ArgumentParser
import PacketFSRunner

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

    init(_ contender: Contender, _ kind: Task, _ sorted: [UInt64]) {
        self.contender = "\(contender)"
        self.kind = kind == .roundTrip ? "round_trip" : "one_way"
        samples = UInt64(sorted.count)
        p50Ns = Self.percentile(50, of: sorted)
        p99Ns = Self.percentile(99, of: sorted)
        p999Ns = Self.percentile(99.9, of: sorted)
        maxNs = sorted.last ?? 0
    }

    /// The smallest of the `sorted` values that at least `percent` of a hundred do not exceed; 0 where there are none.
    private static func percentile(_ percent: Double, of sorted: [UInt64]) -> UInt64 {
        guard !sorted.isEmpty else { return 0 }
        let rank = (percent / 100 * Double(sorted.count)).rounded(.up)
        return sorted[min(max(Int(rank), 1), sorted.count) - 1]
    }
}

/// The rate of records of one size.
struct RecordRow: Encodable {
    let recordBytes: Int
    let throughputMbPerS: Double
    let recordsPerS: Double
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
}

/// What `--json` prints; see docs/ring.md.
enum Report {
    struct Config: Encodable {
        let mode: String
        let slots: UInt32
        let slabBytes: Int
        let ops: UInt64
        let repeats: Int
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
