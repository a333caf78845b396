import PacketFSTools

/// What the benchmark puts into its JSON document.
enum Report {
    struct Config: Encodable {
        let rounds: Int
        let sampleNs: UInt64
        let cpus: [Int]
        let blobBytes: Int
        let lastLevelCacheBytes: Int
        let peerCompiler: String
        let isaL: String?
    }

    struct Rate: Encodable {
        let shape: String
        let cpus: Int
        let work: String
        let by: String
        let medianMbPerS: Double
        let bestMbPerS: Double
    }

    struct Held: Encodable {
        let work: String
        let shape: String
        let cpus: Int
        let against: String
        let ratio: Double
        let target: Double
        let met: Bool
    }

    struct Result: Encodable {
        let isa: String
        let backing: String
        let rates: [Rate]
        let targets: [Held]
    }
}

/// Text with columns for people.
enum Table {
    /// The figures of one shape: a line for each work, a column for each contender.
    static func rates(_ figures: [Figure]) -> String {
        guard let first = figures.first else { return "" }
        let columns = ["packetfs", "packetfs-each", "packetfs-passes", "c", "isa-l", "limit"].filter { by in
            figures.contains { $0.by == by }
        }
        var works: [String] = []
        for figure in figures where !works.contains(figure.work) { works.append(figure.work) }
        var lines = [
            "", "\(first.shape), \(first.cpus) CPU\(first.cpus == 1 ? "" : "s"); GB/s, median of \(first.rounds)",
        ]
        lines.append(pad("", 26) + columns.map { right($0, 16) }.joined())
        for work in works {
            let cells = columns.map { by in
                right(figures.first { $0.work == work && $0.by == by }.map { number($0.median / 1000) } ?? "", 16)
            }
            lines.append(pad(work, 26) + cells.joined())
        }
        return lines.joined(separator: "\n")
    }

    /// Ratios and what they are held to.
    static func targets(_ targets: [Target]) -> String {
        var lines = [
            "", pad("work", 26) + pad("shape", 28) + "CPUs " + right("ratio", 7) + right("target", 8) + "  against",
        ]
        for target in targets {
            lines.append(
                pad(target.work, 26) + pad(target.shape, 28) + pad("\(target.cpus)", 5) + right(number(target.ratio), 7)
                    + right(number(target.target), 8) + "  \(target.against)\(target.isMet ? "" : "  MISSED")")
        }
        return lines.joined(separator: "\n")
    }

    private static func number(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let fraction = "\(hundredths % 100)"
        return "\(hundredths / 100)." + (fraction.count == 1 ? "0" : "") + fraction
    }

    private static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(1, width - text.count)) + text
    }
}
