import PacketFSPCPU
import PacketFSTools

/// What the benchmark puts into its JSON documents.
enum Report {
    struct Config: Encodable {
        let rounds: Int
        let sampleNs: UInt64
        let cpus: [Int]
        let isas: [String]
        let blobBytes: Int
        let lastLevelCacheBytes: Int
        let peerCompiler: String
        let isaL: String?
        let peerLibraries: [String]
        let missingPeers: [String]
    }

    struct Rate: Encodable {
        let shape: String
        let cpus: Int
        let work: String
        let by: String
        let isa: String?
        let form: String?
        let medianMbPerS: Double
        let bestMbPerS: Double
    }

    struct Held: Encodable {
        let work: String
        let shape: String
        let cpus: Int
        let isa: String
        let against: String
        let ratio: Double
        let ratioLow: Double
        let ratioHigh: Double
        let target: Double
        let met: Bool

        init(_ target: Target) {
            work = target.work
            shape = target.shape
            cpus = target.cpus
            isa = target.isa.rawValue
            against = target.against
            ratio = target.ratio.median
            ratioLow = target.ratio.low
            ratioHigh = target.ratio.high
            self.target = target.target
            met = target.isMet
        }
    }

    struct Result: Encodable {
        let isa: String
        let backing: String
        let rates: [Rate]
        let targets: [Held]
    }

    /// `against`.
    struct AgainstConfig: Encodable {
        let rounds: Int
        let sampleNs: UInt64
        let cpu: Int
        let isas: [String]
        let blobBytes: Int
        let before: String
        let now: String
    }

    struct Change: Encodable {
        let shape: String
        let work: String
        let isa: String
        let beforeIsa: String
        let beforeMbPerS: Double
        let nowMbPerS: Double
        let ratio: Double
        let ratioLow: Double
        let ratioHigh: Double
    }

    struct AgainstResult: Encodable {
        let backing: String
        let changes: [Change]
    }
}

extension [Figure] {
    /// The fastest of the forms of one work by one contender; nil where there is none.
    func fastest(_ work: String, _ by: String) -> Figure? {
        filter { $0.work == work && $0.by == by }.max { $0.median < $1.median }
    }

    /// One work on one instruction set.
    func of(_ work: String, _ by: String, _ isa: ISA) -> Figure? {
        first { $0.work == work && $0.by == by && $0.isa == isa }
    }
}

/// Text with columns for people.
enum Table {
    /// The figures of one shape: a line for each work, a column for each instruction set and for each peer.
    static func rates(_ figures: [Figure], isas: [ISA]) -> String {
        guard let first = figures.first else { return "" }
        // What memory gives stands last.
        let others = names(figures.filter { $0.isa == nil && $0.by != "limit" }.map(\.by)) + ["limit"]
        let columns = isas.map(\.rawValue) + others
        var lines = [
            "",
            "\(first.shapeName), \(first.cpus) CPU\(first.cpus == 1 ? "" : "s"); GB/s, median of \(first.samples.count)",
            pad("", workWidth) + columns.map { right($0, width($0)) }.joined(),
        ]
        for work in names(figures.map(\.work)) {
            for (by, suffix) in [("packetfs", ""), ("packetfs-each", " each"), ("packetfs-passes", " passes")] {
                let own = isas.map { figures.of(work, by, $0) }
                let theirs = others.map { by == "packetfs" ? figures.fastest(work, $0) : nil }
                let cells = zip(columns, own + theirs).map { column, figure in
                    right(figure.map { number($0.median / 1000) } ?? "", width(column))
                }
                guard cells.contains(where: { !$0.allSatisfy { $0 == " " } }) else { continue }
                lines.append(pad(work + suffix, workWidth) + cells.joined())
            }
        }
        return lines.joined(separator: "\n")
    }

    /// The figures of one shape over those of loops in C, peers and memory: a line for each pair, a column for each instruction set.
    static func ratios(_ figures: [Figure], isas: [ISA]) -> String {
        var lines: [String] = []
        for work in names(figures.filter { $0.isa != nil }.map(\.work)) {
            var others = names(figures.filter { $0.work == work && $0.isa == nil }.map(\.by)).compactMap { by in
                figures.fastest(work, by).map { (by, $0) }
            }
            if let limit = limit(of: work, in: figures) { others.append(("limit", limit)) }
            for (by, other) in others {
                let cells = isas.map { isa in
                    right(
                        figures.of(work, "packetfs", isa).map { number($0.over(other).median) } ?? "",
                        width(isa.rawValue))
                }
                lines.append(pad("\(work) / \(by)", workWidth) + cells.joined())
            }
        }
        guard !lines.isEmpty else { return "" }
        return ([pad("ratios", workWidth) + isas.map { right($0.rawValue, width($0.rawValue)) }.joined()] + lines)
            .joined(
                separator: "\n")
    }

    /// What memory gives for a program without digests: reading, or reading and writing.
    private static func limit(of work: String, in figures: [Figure]) -> Figure? {
        guard let program = try? Program(parsing: work),
            !program.steps.contains(where: { $0.op == .crc32c || $0.op == .fnv })
        else { return nil }
        return figures.fastest(program.writes ? "modify" : "read", "limit")
    }

    /// Ratios and what they are held to.
    static func targets(_ targets: [Target]) -> String {
        guard !targets.isEmpty else { return "" }
        var lines = [
            "",
            pad("work", workWidth) + pad("shape", 28) + pad("CPUs", 5) + pad("isa", 9) + right("target", 7)
                + right("ratio", 7) + "  middle half   result   against",
        ]
        for target in targets {
            lines.append(
                pad(target.work, workWidth) + pad(target.shape, 28) + pad("\(target.cpus)", 5)
                    + pad(target.isa.rawValue, 9) + right(number(target.target), 7) + spread(target.ratio)
                    + "  \(target.isMet ? "reached" : "MISSED ")  \(target.against)")
        }
        lines.append("\(targets.count { $0.isMet }) of \(targets.count) reached")
        return lines.joined(separator: "\n")
    }

    /// The figures of one shape, of two revisions.
    static func changes(_ changes: [Change]) -> String {
        guard let first = changes.first else { return "" }
        var lines = [
            "", "\(first.now.shapeName); GB/s, median of \(first.now.samples.count)",
            pad("", workWidth) + pad("isa", 18) + right("before", 9) + right("now", 9) + right("ratio", 7)
                + "  middle half",
        ]
        for change in changes {
            let isas =
                change.isa == change.beforeISA ? change.isa.rawValue : "\(change.isa) / \(change.beforeISA)"
            lines.append(
                pad(change.now.work, workWidth) + pad(isas, 18) + right(number(change.before.median / 1000), 9)
                    + right(number(change.now.median / 1000), 9) + spread(change.ratio))
        }
        return lines.joined(separator: "\n")
    }

    /// A median and the quartiles around it: ` 1.02  0.99...1.04`.
    static func spread(_ ratio: Quartiles) -> String {
        right(number(ratio.median), 7) + "  " + pad("\(number(ratio.low))...\(number(ratio.high))", 13)
    }

    private static let workWidth = 32

    private static func width(_ column: String) -> Int { max(9, column.count + 2) }

    /// Different names, in the order in which they come.
    private static func names(_ all: [String]) -> [String] {
        var names: [String] = []
        for name in all where !names.contains(name) { names.append(name) }
        return names
    }

    static func number(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let fraction = "\(hundredths % 100)"
        return "\(hundredths / 100)." + (fraction.count == 1 ? "0" : "") + fraction
    }

    static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }

    static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(1, width - text.count)) + text
    }
}
