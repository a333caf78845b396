import ArgumentParser
import CPacketFSShims
import Glibc
import PacketFSRing
import SystemPackage

/// Measures the shared-memory ring between two processes or two threads.
@main
struct RingBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pfs_shm_ring_bench",
        abstract: "Measure the shared-memory ring: 32-bit values per second between two processes or two threads.",
        discussion: """
            One side pushes the values 0, 1, 2, ..., the other pops them and checks every one. For each batch size the \
            median of the repeats is reported, in million values per second. The clock runs from the first push to the \
            last checked value. Nothing is left behind, whatever way the program ends.
            """,
        version: "0.1.0")

    @Option(help: "Values handed over at a time, several separated by commas.")
    var batches = BatchList(sizes: [1, 8, 32, 256])

    @Option(help: "Values per measurement.")
    var ops: UInt64 = 50_000_000

    @Option(help: "Measurements per batch size; the median counts.")
    var repeats = 5

    @Option(help: "Slots of the ring, as a power of two (0 to 24).")
    var ringPow2 = 16

    @Option(help: "CPU of the producer. (default: the first that may be used)")
    var cpuProducer: Int?

    @Option(help: "CPU of the consumer. (default: the second that may be used)")
    var cpuConsumer: Int?

    @Flag(help: "Run both sides as threads of one process instead of two processes.")
    var threads = false

    @Flag(help: "Print one JSON document and nothing else.")
    var json = false

    @Option(help: .hidden)
    var worker: Int?

    func validate() throws {
        guard ops > 0 else { throw ValidationError("--ops is 0; at least one value must be sent.") }
        guard (1...1000).contains(repeats) else {
            throw ValidationError("--repeats is \(repeats); it must be from 1 to 1000.")
        }
        guard (0...24).contains(ringPow2) else {
            throw ValidationError("--ring-pow2 is \(ringPow2); it must be from 0 to 24.")
        }
    }

    func run() throws {
        do {
            if let worker {
                try WorkerProcess.serve(byteCount: worker, cpu: cpuConsumer ?? 0)
            } else {
                try measure()
            }
        } catch let error as BenchError {
            complain("\(error)")
            throw ExitCode(error.exitCode)
        }
    }

    private func measure() throws {
        var warnings: [String] = []
        let placement = try placement(warnings: &warnings)
        let geometry: RingGeometry
        do {
            geometry = try RingGeometry(slots: 1 << UInt32(ringPow2))
        } catch {
            throw BenchError.ring(error)
        }
        let region = try SharedFile.create(byteCount: Int(geometry.regionByteCount))
        var ring: RingProducer
        do {
            try Ring.format(region.base, byteCount: region.byteCount, geometry: geometry)
            ring = try RingProducer(attaching: region.base, byteCount: region.byteCount, lock: region.file)
        } catch {
            throw BenchError.ring(error)
        }
        // Tried here first, so that the complaint about a CPU that cannot be used is the parent's.
        try pin(to: placement.consumerCPU)
        try pin(to: placement.producerCPU)
        let process = threads ? nil : try WorkerProcess.start(ring: region, cpu: placement.consumerCPU)

        if !json {
            let kind = threads ? "threads" : "processes"
            try say(
                """
                ring of \(geometry.slots) slots, two \(kind) on CPUs \(placement.producerCPU) and \
                \(placement.consumerCPU), \(ops) values, median of \(repeats)
                batch   M ops/s   ns/op   (min ... max M ops/s)
                """)
        }
        var rows: [Row] = []
        for batch in batches.sizes {
            let round = Round(count: ops, batch: UInt64(batch))
            var samples: [Double] = []
            for _ in 0..<repeats {
                let outcome: Outcome
                switch process {
                case .some(let process):
                    outcome = try process.measure(round, with: &ring, lock: region.file)
                case .none:
                    outcome = try WorkerThread.measure(
                        round, region: region, with: &ring, cpu: placement.consumerCPU)
                }
                guard outcome.mismatches == 0 else {
                    complain("\(outcome.mismatches) of \(ops) values were not the expected ones at batch size \(batch)")
                    throw ExitCode(65)
                }
                samples.append(Double(ops) * 1e3 / Double(max(1, outcome.elapsedNanoseconds)))
            }
            let row = Row(batch: batch, samples: samples)
            rows.append(row)
            if row.spread > 0.25 {
                warnings.append(
                    "batch \(batch): the samples differ by \(Int(row.spread * 100)) % of the median; "
                        + "other work on these CPUs makes the figure weak")
            }
            if !json { try say(row.line) }
        }
        if json {
            let config = Report.Config(
                mode: threads ? "threads" : "processes", slots: geometry.slots, ops: ops, repeats: repeats,
                producerCpu: placement.producerCPU, consumerCpu: placement.consumerCPU)
            let report = Report(
                version: RingBench.configuration.version, config: config, machine: .current(),
                result: .init(verified: true, batches: rows), warnings: warnings)
            try say(try report.text())
        } else {
            for warning in warnings { try say("warning: \(warning)") }
        }
    }

    /// The CPUs asked for, or the first two that may be used.
    private func placement(warnings: inout [String]) throws(BenchError) -> Placement {
        let first = Int(pfs_next_allowed_cpu(-1))
        let second = Int(pfs_next_allowed_cpu(Int32(first)))
        let placement = Placement(
            producerCPU: cpuProducer ?? max(0, first), consumerCPU: cpuConsumer ?? max(0, second < 0 ? first : second))
        if placement.producerCPU == placement.consumerCPU {
            warnings.append(
                "both sides share CPU \(placement.producerCPU); the figures show the scheduler, not the ring")
        }
        return placement
    }

    /// A line on standard output, at once.
    private func say(_ line: String) throws(BenchError) {
        do {
            try FileDescriptor.standardOutput.writeAll("\(line)\n".utf8)
        } catch {
            throw .output(error as? Errno ?? .ioError)
        }
    }

    private func complain(_ message: String) {
        // With nowhere to complain to, the exit code has to do.
        _ = try? FileDescriptor.standardError.writeAll("pfs_shm_ring_bench: \(message)\n".utf8)
    }
}
