import PacketFSPCPU
import PacketFSTools

/// What `kernels` was asked to do, and with what.
struct KernelsConfig: ReportObject {
    let sampling: (rounds: Int, nanoseconds: UInt64)
    let cpus: [Int]
    let isas: [ISA]
    let blobByteCount: Int, lastLevelCache: Int
    let peers: Peers

    static var figures: [Figure<Self>] {
        Figure("rounds", "medians over rounds count", \.sampling.rounds)
        Figure("sample_ns", "least length of a sample", \.sampling.nanoseconds)
        Figure("cpus", "where it ran", \.cpus)
        Figure("isas", "instruction sets, best first") { $0.isas.map(\.rawValue) }
        Figure("blob_bytes", "of the blob", \.blobByteCount)
        Figure("last_level_cache_bytes", "of the processor", \.lastLevelCache)
        Figure("peer_compiler", "that compiled the C loops") { $0.peers.compilers[0] }
        Figure("isa_l", "where ISA-L was found; null where it was not") { config in
            config.peers.libraries.first { $0.name == "isa-l" }?.origin
        }
        Figure("peer_libraries", "libraries that took part", \.peers.libraryNames)
        Figure("missing_peers", "libraries that are not installed", \.peers.missing)
    }
}

/// What `kernels` found.
struct KernelsResult: ReportObject {
    let isa: ISA
    let backing: String
    let rates: [Rate]
    let targets: [Target]

    static var figures: [Figure<Self>] {
        Figure("isa", "the best of the instruction sets", \.isa.rawValue)
        Figure("backing", "the memory that was really got", \.backing)
        Figure("rates", "one for each contender", \.rates)
        Figure("targets", "one for each target for which there are figures", \.targets)
    }
}

/// What `against` was asked to do.
struct AgainstConfig: ReportObject {
    let sampling: (rounds: Int, nanoseconds: UInt64)
    let cpu: Int
    let isas: [ISA]
    let blobByteCount: Int
    let before: String, now: String

    static var figures: [Figure<Self>] {
        Figure("rounds", "medians over rounds count", \.sampling.rounds)
        Figure("sample_ns", "least length of a sample", \.sampling.nanoseconds)
        Figure("cpu", "where it ran", \.cpu)
        Figure("isas", "instruction sets, best first") { $0.isas.map(\.rawValue) }
        Figure("blob_bytes", "of the blob", \.blobByteCount)
        Figure("before", "the old kernels", \.before)
        Figure("now", "the new kernels", \.now)
    }
}

/// What `against` found.
struct AgainstResult: ReportObject {
    let backing: String
    let changes: [Change]

    static var figures: [Figure<Self>] {
        Figure("backing", "the memory that was really got", \.backing)
        Figure("changes", "one for each shape, program and instruction set", \.changes)
    }
}

extension [Rate] {
    /// The fastest of the forms of one work by one contender; nil where there is none.
    func fastest(_ work: String, _ by: String) -> Rate? {
        filter { $0.work == work && $0.by == by }.max { $0.median < $1.median }
    }

    /// One work on one instruction set.
    func of(_ work: String, _ by: String, _ isa: ISA) -> Rate? {
        first { $0.work == work && $0.by == by && $0.isa == isa }
    }
}

/// Text with columns for people.
enum Table {
    /// The figures of one shape: a line for each work, a column for each instruction set and for each peer.
    static func rates(_ figures: [Rate], isas: [ISA]) -> String {
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
    static func ratios(_ figures: [Rate], isas: [ISA]) -> String {
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
    private static func limit(of work: String, in figures: [Rate]) -> Rate? {
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
