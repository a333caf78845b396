import ArgumentParser
import PacketFSMemory
import PacketFSRing
import PacketFSTools
import SystemPackage

/// Measures the shared-memory ring between two processes or two threads.
@main
struct RingBench: Tool {
    static let reports = [ReportDescription("pfs_shm_ring_bench", Config.self, Result.self)]
    static func runAsChildIfAsked() { Responder.runIfAsked() }

    static let configuration = CommandConfiguration(
        commandName: "pfs_shm_ring_bench",
        abstract: "Measure the shared-memory ring between two processes or two threads.",
        discussion: """
            Throughput: one side pushes the values 0, 1, 2, ..., the other pops them and checks every one; the median of the \
            repeats counts. The clock runs from the first push to the last checked value. Contenders take turns within \
            every repeat. Nothing is left behind, whatever way the program ends. See docs/ring.md for reading the figures.
            """,
        version: PacketFSVersion.current)

    @Option(help: "Values handed over at a time, several separated by commas.")
    var batches = NumberList(sizes: [1, 8, 32, 256])
    @Option(.whole("Values per measurement", 1...1 << 40))
    var ops: UInt64 = 50_000_000
    @Option(.whole("Measurements of each figure, of which the median counts", 1...1000))
    var repeats = 5
    @Option(.ringPow2)
    var ringPow2 = 16
    @Option(.whole("CPU of the producer", 0...4095), absent: "the first that may be used")
    var cpuProducer: Int?
    @Option(.whole("CPU of the consumer", 0...4095), absent: "the second that may be used")
    var cpuConsumer: Int?
    @Flag(help: "Run both sides as threads of one process instead of two processes.")
    var threads = false
    @Flag(help: "Measure latency too: round trip and one way.")
    var latency = false
    @Flag(help: "Measure records in the slab too.")
    var records = false
    @Option(help: "Sizes of records in bytes, multiples of 8 from 16 on, separated by commas.")
    var recordBytes = NumberList(sizes: [16, 64, 256, 1024, 4096, 16384, 65536])
    @Option(.whole("Round trips per measurement of latency", 1...10_000_000))
    var trips: UInt64 = 200_000
    @Flag(help: "Compare with DPDK's rte_ring and boost's spsc_queue, where they are installed.")
    var peers = false
    @OptionGroup var output: OutputOptions

    static let slabByteCount = 1 << 20

    func validate() throws {
        guard recordBytes.sizes.allSatisfy({ $0 >= 16 && $0 % 8 == 0 }) else {
            throw ValidationError("--record-bytes takes multiples of 8 from 16 to 65536.")
        }
        guard !peers || ringPow2 >= 2 else {
            throw ValidationError("--peers needs a --ring-pow2 of at least 2: theirs can be no smaller.")
        }
    }

    var slots: UInt32 { 1 << UInt32(ringPow2) }
    var kind: String { threads ? "threads" : "processes" }

    func run() throws { try CommandLineTool.run("pfs_shm_ring_bench", measure) }

    private func measure() throws {
        var warnings: [String] = []
        let allowed = try CPUs.allowed()
        let producerCPU = cpuProducer ?? allowed.first ?? 0
        let consumerCPU = cpuConsumer ?? allowed.dropFirst().first ?? producerCPU
        if producerCPU == consumerCPU {
            warnings.append("both sides share CPU \(producerCPU); the figures show the scheduler, not the ring")
        }
        var result = Result()
        let pairs = try makePairs(slots: slots, result: &result)
        let started = Clock.monotonic()
        var session = try Session(
            pairs: pairs, consumerCPU: consumerCPU, producerCPU: producerCPU, asThread: threads)
        try say("ring of \(slots) slots, two \(kind) on CPUs \(producerCPU) and \(consumerCPU), median of \(repeats)")
        for peer in result.peers where !peer.present { try say("\(peer.contender): absent: \(peer.reason ?? "")") }
        try throughput(&session, pairs.contenders, &result, &warnings)
        if latency {
            try self.latency(.roundTrip, &session, pairs.contenders, &result)
            try self.latency(.oneWay, &session, pairs.contenders, &result)
        }
        if records { try slab(&session, &result, &warnings) }
        result.elapsedNs = Clock.monotonic() - started
        if !output.json {
            if !result.ratios.isEmpty { try say("\nours over the best peer (above 1: ours is better)") }
            for ratio in result.ratios {
                try say("\(TextTable.right(ratio.figure, 22))  \(decimals(ratio.ratio, 2))  (\(ratio.bestPeer))")
            }
        }
        // The report counts the CPUs that may be used, which this thread alone gave up.
        try CPUs.pin(to: allowed)
        try ToolReport(
            tool: "pfs_shm_ring_bench",
            config: Config(bench: self, producerCPU: producerCPU, consumerCPU: consumerCPU), result: result,
            warnings: warnings
        ).write(json: output.json, title: nil)
    }

    /// Our two rings and those of the peers that take part.
    private func makePairs(slots: UInt32, result: inout Result) throws -> RingPairs {
        let geometry = try RingGeometry(slots: slots, slabByteCount: UInt64(Self.slabByteCount))
        func ring() throws -> SharedRegion {
            let region = try SharedRegion.create(byteCount: Int(geometry.regionByteCount), name: "pfs_ring")
            try Ring.create(at: region.base, byteCount: region.byteCount, geometry: geometry)
            return region
        }
        let pairs = RingPairs()
        pairs.add(RingPair(contender: .packetfs, there: try ring(), back: try ring(), code: nil, library: nil))
        guard peers else { return pairs }
        for contender in Contender.allCases where contender != .packetfs {
            switch PeerCode.compile(contender, slots: slots) {
            case .absent(let reason):
                result.peers.append(PeerRow(contender: "\(contender)", present: false, reason: reason))
            case .library(let file):
                let code = try PeerCode(library: file)
                func queue() throws -> SharedRegion {
                    let region = try SharedRegion.create(byteCount: code.byteCount(), name: "pfs_ring_peer")
                    code.initialize(region.base)
                    return region
                }
                pairs.add(
                    RingPair(contender: contender, there: try queue(), back: try queue(), code: code, library: file))
                result.peers.append(PeerRow(contender: "\(contender)", present: true, reason: nil))
            }
        }
        return pairs
    }

    private func throughput(
        _ session: inout Session, _ contenders: [Contender], _ result: inout Result, _ warnings: inout [String]
    ) throws {
        try say("\n          ring   batch   M ops/s   ns/op   (min ... max M ops/s)")
        for batch in batches.sizes {
            var samples: [Contender: [Double]] = [:]
            for _ in 0..<repeats {
                for contender in contenders {
                    let outcome = try session.measure(.throughput, contender, count: ops, size: batch)
                    samples[contender, default: []].append(Double(ops) * 1e3 / Double(outcome.elapsed))
                }
            }
            for contender in contenders {
                let row = Row(contender, batch: batch, samples: samples[contender] ?? [])
                if contender == .packetfs {
                    result.batches.append(row)
                } else {
                    result.peerBatches.append(row)
                }
                if row.spread > 0.25 {
                    warnings.append(
                        "\(contender), batch \(batch): the samples differ by \(Int(row.spread * 100)) % of the median; "
                            + "other work on these CPUs makes the figure weak")
                }
                try say(
                    "\(TextTable.right(row.contender, 14))\(TextTable.right("\(batch)", 8))\(TextTable.right(decimals(row.mopsPerS, 1), 10))"
                        + "\(TextTable.right(decimals(row.nsPerOp, 2), 8))   (\(decimals(row.samplesMopsPerS.min() ?? 0, 1)) ... "
                        + "\(decimals(row.samplesMopsPerS.max() ?? 0, 1)))")
            }
            if let ratio = RatioRow("batch \(batch)", samples, betterIsMore: true) { result.ratios.append(ratio) }
        }
    }

    private func latency(
        _ measurement: Measurement, _ session: inout Session, _ contenders: [Contender], _ result: inout Result
    ) throws {
        let name = measurement == .roundTrip ? "round trip" : "one way"
        try say("\n          ring   \(name), ns:   p50     p99   p99.9       max")
        var collected: [Contender: [UInt64]] = [:]
        var medians: [Contender: [Double]] = [:]
        for _ in 0..<repeats {
            for contender in contenders {
                let samples = try session.measure(measurement, contender, count: trips, size: 1).samples.map {
                    UInt64($0)
                }
                collected[contender, default: []] += samples
                let sorted = samples.sorted()
                medians[contender, default: []].append(Double(LatencyRow.quantile(500, of: sorted)))
            }
        }
        for contender in contenders {
            guard let samples = collected[contender] else { continue }
            let row = LatencyRow(contender, measurement, samples.sorted())
            result.latencies.append(row)
            try say(
                "\(TextTable.right(row.contender, 14))\(TextTable.right("\(row.p50Ns)", 24))\(TextTable.right("\(row.p99Ns)", 8))\(TextTable.right("\(row.p999Ns)", 8))"
                    + TextTable.right("\(row.maxNs)", 10))
        }
        if let ratio = RatioRow("\(name) median", medians, betterIsMore: false) { result.ratios.append(ratio) }
    }

    private func slab(
        _ session: inout Session, _ result: inout Result, _ warnings: inout [String]
    ) throws {
        try say("\n  record bytes        MB/s   records/s")
        for size in recordBytes.sizes {
            // About as much memory traffic at each size, and enough records for a figure.
            let count = max(1000, min(ops, UInt64(2 << 30) / UInt64(max(size, 256))))
            var rates: [Double] = []
            for _ in 0..<repeats {
                let outcome = try session.measure(.records, .packetfs, count: count, size: size)
                rates.append(Double(count) * 1e9 / Double(outcome.elapsed))
            }
            let row = RecordRow(recordBytes: size, samples: rates)
            if row.spread > 0.25 {
                warnings.append(
                    "records of \(size) bytes: the samples differ by \(Int(row.spread * 100)) % of the median; "
                        + "other work on these CPUs makes the figure weak")
            }
            result.records.append(row)
            try say(
                "\(TextTable.right("\(size)", 14))\(TextTable.right(decimals(row.throughputMbPerS, 1), 12))\(TextTable.right(decimals(row.recordsPerS, 0), 12))"
            )
        }
    }

    /// A line for people on standard output, at once; nothing with `--json`.
    private func say(_ line: String) throws(ToolError) {
        if !output.json { try CommandLineTool.write(line) }
    }
}
