import PacketFSEngine
import PacketFSPCPU
import PacketFSTools

/// The application as it was understood.
package struct ApplyConfig: ReportObject {
    let outcome: ApplyOutcome
    let check: String?

    /// `check` is the file of digests that was compared with.
    package init(_ outcome: ApplyOutcome, check: String?) {
        self.outcome = outcome
        self.check = check
    }

    private var asked: ApplyConfiguration { outcome.configuration }

    package static var figures: [Figure<Self>] {
        Figure("program", "what was applied", \.asked.program.description)
        Figure("input", "the file, or `standard input`", \.asked.input.description)
        Figure("output", "where transformed bytes went; null for nowhere", \.outcome.outputName)
        Figure("block_bytes", "of a block", \.asked.blockByteCount)
        Figure("range_offset_bytes", "where the range begins", \.asked.rangeOffset)
        Figure("range_length_bytes", "of the range; null for all to the end", \.asked.rangeLength)
        Figure("passes", "how often the program was applied", \.asked.passes)
        Figure("pcores", "processes, of each rank where there are several") { $0.outcome.pcoreCount }
        Figure("pcore_cpus", "that pcores were spread over", \.outcome.pcoreCPUs)
        Figure("window_bytes", "in flight at most", \.asked.windowByteCount)
        Figure("digests", "where each block's values went; null for nowhere", \.asked.digests?.string)
        Figure("check", "the file of digests that was compared with; null for none", \.check)
    }
}

/// The value of an operation over all blocks.
private struct BlockTotal: ReportObject {
    let step: Step
    let value: UInt64
    let wholeRange: String?

    static var figures: [Figure<Self>] {
        Figure("op", "the operation that yields the value", \.step.description)
        Figure("value", "the sum over all blocks, wrapping; a decimal string, as it has 64 bits") { Word($0.value) }
        Figure("whole_range", "the CRC-32C of all bytes; null for other operations", \.wholeRange)
    }
}

extension BlockDifference: ReportObject {
    package static var figures: [Figure<Self>] {
        Figure("offset_bytes", "where the block begins", \.offset)
        Figure("difference", "what differs", \.description)
    }
}

extension ApplyOutcome: ReportObject {
    package static var figures: [Figure<Self>] {
        values
        figures { outcome in
            let how: String? =
                switch outcome.mode {
                case .mapped?: "file mapped, not copied"
                case .staged?: "blocks read, transformed and written by each pcore"
                case .stream?, .window?:
                    "through a window of \(outcome.configuration.windowByteCount >> 20) MiB, in order"
                case nil: nil
                }
            let cpus = CPUs.describe(Array(outcome.pcoreCPUs.prefix(outcome.pcoreCount)))
            return how.map { [("pcores", "\(outcome.pcoreCount) on CPUs \(cpus); \($0); \(outcome.isa) kernels")] }
                ?? []
        }
    }

    /// The figures of a tool that has lines of its own on who did the work.
    @FigureList<Self> package static func figures(
        workers: @escaping (Self) -> [(label: String, text: String)]
    ) -> [Figure<Self>] {
        Figure("bytes", "payload of all passes", \.passedBytes)
        Figure("op_bytes", "`bytes`, times the number of operations") {
            $0.passedBytes &* UInt64($0.configuration.program.steps.count)
        }
        Figure("elapsed_ns", "of all passes", \.elapsedNanoseconds)
        Figure(
            "throughput_mb_per_s", "`bytes` that were not done before / `elapsed_ns`", \.megabytesPerSecond,
            label: "throughput"
        ) {
            guard $0.mode != nil else { return nil }
            return "\(decimals($0.megabytesPerSecond, 1)) MB/s: \(scaled(Double($0.workedBytes)))B in "
                + "\(decimals(Double($0.elapsedNanoseconds) / 1e9, 3)) s"
                + ($0.passNanoseconds.count > 1 ? ", \($0.passNanoseconds.count) passes" : "")
        }
        Figure("passes_ns", "time of each pass", \.passNanoseconds)
        Figure("ready_ns", "from the first pcore's creation until all were ready", \.readyNanoseconds)
        Figure("blocks", "of the range", \.blocks)
        Figure("hole_bytes", "in holes of a sparse file, which were not read", \.holeBytes, label: "holes") {
            $0.holeBytes > 0 ? "\($0.holeBytes) bytes of the file are holes and were not read" : nil
        }
        Figure("records", "executed", \.records)
        Figure(
            "mode", "`mapped`, `staged`, `stream` or `window`; null for an empty input", { $0.mode?.rawValue },
            lines: workers)
        Figure("restarts", "pcores that died and were replaced", \.restarts) {
            $0.restarts > 0 ? "\($0.restarts): pcores died and were replaced" : nil
        }
        Figure("backing", "the window's memory; null without one", \.backing?.description)
        Figure("isa", "the kernels that were used", \.isa.rawValue)
    }

    /// What came out and where it is.
    @FigureList<Self> package static var values: [Figure<Self>] {
        Figure("totals", "one for each yielding operation", \.eachTotal) { outcome in
            let blocks = "sum over \(outcome.blocks) blocks of \(outcome.configuration.blockByteCount) bytes"
            return outcome.eachTotal.map { total in
                switch total.step.op {
                case .counteq: ("\(total.step)", "\(total.value)")
                case .fnv: ("\(total.step)", "\(total.step.text(total.value)) (\(blocks))")
                default: ("\(total.step)", "\(total.wholeRange ?? "") (of all bytes)")
                }
            }
        }
        Figure("verified", "with `--check`: whether every block is as expected; else null", \.isAsExpected) { outcome in
            outcome.outputLines
        }
        Figure("differences", "one for each block that is not", { $0.differences ?? [] }, label: "checked") { outcome in
            outcome.differences.map {
                $0.isEmpty ? "every block is as the digests say" : "\($0.count) of \(outcome.blocks) blocks differ"
            }
        }
    }

    /// Whether every block has the expected values; nil if none were given.
    package var isAsExpected: Bool? { differences.map(\.isEmpty) }

    /// Payload rate over all passes, 10^6 bytes per second.
    package var megabytesPerSecond: Double {
        elapsedNanoseconds == 0 ? 0 : Double(workedBytes) / Double(elapsedNanoseconds) * 1000
    }

    fileprivate var pcoreCount: Int { configuration.pcores ?? pcoreCPUs.count }

    private var eachTotal: [BlockTotal] {
        configuration.program.reducers.enumerated().map { index, step in
            BlockTotal(
                step: step, value: totals[index], wholeRange: wholeCRCs[index].map { hex(UInt64($0), digits: 8) })
        }
    }

    fileprivate var outputName: String? {
        switch configuration.output {
        case .none: nil
        case .file(let path): path.string
        case .standardOutput: "standard output"
        case .inPlace: "\(configuration.input)"
        }
    }

    private var outputLines: [(label: String, text: String)] {
        let size = "\(blocks) blocks of \(configuration.blockByteCount) bytes"
        return [outputName.map { ("written to", $0) }, configuration.digests.map { ("digests", "\($0), \(size)") }]
            .compactMap { $0 }
    }

    /// The first line of the summary.
    package var title: String { "\(configuration.program) over \(configuration.input): \(bytes) bytes" }
}
