import PacketFSEngine
import PacketFSPCPU
import PacketFSTools

/// What pfs_apply puts into its ``ToolReport``.
enum ApplyReport {
    struct Config: Encodable {
        let program: String
        let input: String
        let output: String?
        let blockBytes: Int
        let rangeOffsetBytes: Int
        let rangeLengthBytes: Int?
        let passes: Int
        let pcores: Int
        let pcoreCpus: [Int]
        let windowBytes: Int
        let digests: String?
        let check: String?
    }

    struct Total: Encodable {
        let op: String
        let value: String
        /// The digest of the whole range, for operations that have one.
        let wholeRange: String?

        private enum Key: String, CodingKey { case op, value, wholeRange }

        /// Written out so that a value which is not there is null and not absent.
        func encode(to encoder: any Encoder) throws {
            var box = encoder.container(keyedBy: Key.self)
            try box.encode(op, forKey: .op)
            try box.encode(value, forKey: .value)
            try box.encode(wholeRange, forKey: .wholeRange)
        }
    }

    struct Difference: Encodable {
        let offsetBytes: UInt64
        let difference: String
    }

    struct Result: Encodable {
        let bytes: UInt64
        let opBytes: UInt64
        let elapsedNs: UInt64
        let throughputMbPerS: Double
        let passesNs: [UInt64]
        let readyNs: UInt64
        let blocks: UInt64
        let holeBytes: UInt64
        let records: UInt64
        let restarts: Int
        let totals: [Total]
        let mode: String?
        let backing: String?
        let isa: String
        let verified: Bool?
        let differences: [Difference]

        private enum Key: String, CodingKey {
            case bytes, opBytes, elapsedNs, throughputMbPerS, passesNs, readyNs, blocks, holeBytes, records, restarts
            case totals, mode, backing, isa, verified, differences
        }

        /// Written out so that values which are not there are null and not absent.
        func encode(to encoder: any Encoder) throws {
            var box = encoder.container(keyedBy: Key.self)
            try box.encode(bytes, forKey: .bytes)
            try box.encode(opBytes, forKey: .opBytes)
            try box.encode(elapsedNs, forKey: .elapsedNs)
            try box.encode(throughputMbPerS, forKey: .throughputMbPerS)
            try box.encode(passesNs, forKey: .passesNs)
            try box.encode(readyNs, forKey: .readyNs)
            try box.encode(blocks, forKey: .blocks)
            try box.encode(holeBytes, forKey: .holeBytes)
            try box.encode(records, forKey: .records)
            try box.encode(restarts, forKey: .restarts)
            try box.encode(totals, forKey: .totals)
            try box.encode(mode, forKey: .mode)
            try box.encode(backing, forKey: .backing)
            try box.encode(isa, forKey: .isa)
            try box.encode(verified, forKey: .verified)
            try box.encode(differences, forKey: .differences)
        }
    }
}

/// Two values whose fields are written into one object.
private struct Extended<Base: Encodable, More: Encodable>: Encodable {
    let base: Base
    let more: More

    func encode(to encoder: any Encoder) throws {
        try base.encode(to: encoder)
        try more.encode(to: encoder)
    }
}

private struct NothingMore: Encodable {}

extension ApplyOutcome {
    /// Whether every block has the expected values; nil if none were given.
    package var isAsExpected: Bool? { differences.map(\.isEmpty) }

    /// Payload rate over all passes, 10^6 bytes per second.
    package var megabytesPerSecond: Double {
        elapsedNanoseconds == 0 ? 0 : Double(workedBytes) / Double(elapsedNanoseconds) * 1000
    }

    private func wholeRange(_ reducer: Int) -> String? {
        wholeCRCs[reducer].map { hex(UInt64($0), digits: 8) }
    }

    private var outputName: String? {
        switch configuration.output {
        case .none: nil
        case .file(let path): path.string
        case .standardOutput: "standard output"
        case .inPlace: "\(configuration.input)"
        }
    }

    /// The report as one JSON document.
    ///
    /// - Parameters:
    ///   - check: the file of digests that was compared with.
    ///   - warnings: what was told while the run was on.
    package func json(check: String?, warnings: [String]) throws -> String {
        try json(tool: "pfs_apply", check: check, warnings: warnings, config: NothingMore(), result: NothingMore())
    }

    /// The same for a tool that has more to say: the fields of `config` and of `result` join the ones there.
    package func json(
        tool: String, check: String?, warnings: [String], config: some Encodable, result: some Encodable
    ) throws -> String {
        let ownConfig = ApplyReport.Config(
            program: "\(configuration.program)", input: "\(configuration.input)", output: outputName,
            blockBytes: configuration.blockByteCount, rangeOffsetBytes: configuration.rangeOffset,
            rangeLengthBytes: configuration.rangeLength, passes: configuration.passes,
            pcores: configuration.pcores ?? pcoreCPUs.count, pcoreCpus: pcoreCPUs,
            windowBytes: configuration.windowByteCount, digests: configuration.digests?.string, check: check)
        let ownResult = ApplyReport.Result(
            bytes: passedBytes, opBytes: passedBytes * UInt64(configuration.program.steps.count),
            elapsedNs: elapsedNanoseconds, throughputMbPerS: megabytesPerSecond, passesNs: passNanoseconds,
            readyNs: readyNanoseconds, blocks: blocks, holeBytes: holeBytes, records: records, restarts: restarts,
            totals: configuration.program.reducers.enumerated().map { index, step in
                .init(op: "\(step)", value: "\(totals[index])", wholeRange: wholeRange(index))
            }, mode: mode?.rawValue, backing: backing?.description, isa: isa.rawValue, verified: isAsExpected,
            differences: (differences ?? []).map { .init(offsetBytes: $0.offset, difference: $0.description) })
        return try ToolReport(
            tool: tool, config: Extended(base: ownConfig, more: config),
            result: Extended(base: ownResult, more: result), warnings: warnings
        ).text()
    }

    /// A line of the summary.
    package static func line(_ name: String, _ text: String) -> String {
        "  " + name + String(repeating: " ", count: max(1, 12 - name.count)) + text
    }

    /// The first part of the summary for people: what came out and where it is.
    package var resultLines: [String] {
        let block = configuration.blockByteCount
        var lines = ["\(configuration.program) over \(configuration.input): \(bytes) bytes"]
        func line(_ name: String, _ text: String) { lines.append(Self.line(name, text)) }
        for (index, step) in configuration.program.reducers.enumerated() {
            if let whole = wholeRange(index) { line("\(step)", "\(whole) (of all bytes)") }
            if step.op == .counteq { line("\(step)", "\(totals[index])") }
            if step.op == .fnv {
                line("\(step)", "\(step.text(totals[index])) (sum over \(blocks) blocks of \(block) bytes)")
            }
        }
        if let outputName { line("written to", outputName) }
        if let path = configuration.digests { line("digests", "\(path), \(blocks) blocks of \(block) bytes") }
        if let differences {
            line(
                "checked",
                differences.isEmpty
                    ? "every block is as the digests say" : "\(differences.count) of \(blocks) blocks differ")
        }
        return lines
    }

    /// The summary for people.
    package var summary: String {
        var lines = resultLines
        func line(_ name: String, _ text: String) { lines.append(Self.line(name, text)) }
        guard let mode else { return lines.joined(separator: "\n") }
        let seconds = Double(elapsedNanoseconds) / 1e9
        line(
            "throughput",
            "\(decimals(megabytesPerSecond, 1)) MB/s: \(scaled(Double(passedBytes)))B in \(decimals(seconds, 3)) s"
                + (passNanoseconds.count > 1 ? ", \(passNanoseconds.count) passes" : ""))
        if holeBytes > 0 { line("holes", "\(holeBytes) bytes of the file are holes and were not read") }
        let count = configuration.pcores ?? pcoreCPUs.count
        let how =
            switch mode {
            case .mapped: "file mapped, not copied"
            case .staged: "blocks read, transformed and written by each pcore"
            case .stream, .window: "through a window of \(configuration.windowByteCount >> 20) MiB, in order"
            }
        line("pcores", "\(count) on CPUs \(CPUs.describe(Array(pcoreCPUs.prefix(count)))); \(how); \(isa) kernels")
        if restarts > 0 { line("restarts", "\(restarts): pcores died and were replaced") }
        return lines.joined(separator: "\n")
    }
}
