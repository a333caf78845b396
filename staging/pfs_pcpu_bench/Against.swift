import ArgumentParser
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// The kernels of two revisions, in turn.
struct Against: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "against",
        abstract: "The kernels of one revision against those of another, in turn in one process.",
        discussion: """
            `just bench-pcpu-against REV` builds the kernels of a revision and of the working tree and runs this. Both are checked \
            before they are measured. Where the old revision lacks an instruction set, its best one stands in.
            """)

    @Argument(help: "Shared library with the old kernels.")
    var before: String
    @Option(help: "Shared library with the new kernels. (default: those of this program)")
    var now: String?
    @Option(help: "What to call the two, with a comma between. (default: the libraries' paths)")
    var names: String?
    @Option(.decimal("Name the ratios below this at the end", 0.01...100))
    var target = 0.97
    @OptionGroup var options: MeasurementOptions

    func validate() throws {
        guard names.map({ $0.split(separator: ",").count == 2 }) ?? true else {
            throw ValidationError("--names \"\(names ?? "")\" must be two names with a comma between.")
        }
        guard !options.isa.contains("portable") else {
            throw ValidationError("--isa portable: it is no kernel in C, and only those are compared.")
        }
    }

    func run() throws { try CommandLineTool.run("pfs_pcpu_bench", measure) }

    private func measure() throws {
        let cpu = try options.chosenCPU(CPUs.allowed())
        let names = names?.split(separator: ",").map(String.init)
        let old = try Revision(library: before, name: names?[0] ?? before)
        let new = try now.map { path throws(ToolError) in try Revision(library: path, name: names?[1] ?? path) }
        let newName = names?[1] ?? new?.name ?? "this program"
        let isas = try options.isas().filter { $0 != .portable && new?.isas.contains($0) ?? true }
        let pairs = isas.compactMap { isa in old.counterpart(of: isa).map { (isa: isa, before: $0) } }
        guard !pairs.isEmpty else {
            throw ToolError(.unavailable, "\(old.name) and \(newName) have no kernels for this CPU and --isa")
        }
        let contend = {
            try pairs.flatMap { isa, before in
                try options.programs.flatMap { text in
                    [
                        try old.contender(text, by: "before", isa: before),
                        try new?.contender(text, by: "now", isa: isa) ?? Contender.own(text, by: "now", isa: isa),
                    ]
                }
            }
        }
        for (text, contenders) in Dictionary(grouping: try contend(), by: \.work) {
            let check = try Check(text)
            for contender in contenders where !check.passes(contender) {
                let whose = contender.by == "now" ? newName : old.name
                throw ToolError(
                    .verificationFailed, "\(text) on \(contender.isa?.rawValue ?? "") of \(whose) is wrong")
            }
        }

        let lastLevelCache = Shape.lastLevelCache()
        let shapes = options.keys.map { Shape($0, lastLevelCache: lastLevelCache, range: 1 << 30) }
        let blob = try HugeBlob.create(byteCount: max(1 << 24, shapes.map(\.extent).max() ?? 0))
        try blob.fill(seed: 1, range: 0..<blob.byteCount)
        let backing = try blob.backing()
        let (rounds, sample) = options.sampling
        var changes: [Change] = []
        try blob.withUnsafeMutableBytes { bytes in
            try CPUs.pin(to: [cpu])
            let measurement = Measurement(rounds: rounds, sampleNanoseconds: sample, cpus: [cpu], blob: bytes)
            for shape in shapes {
                let figures = try measurement.figures(shape, contend)
                let found = stride(from: 0, to: figures.count, by: 2).map { index in
                    let pair = pairs[index / 2 / options.programs.count]
                    return Change(
                        isa: pair.isa, beforeISA: pair.before, before: figures[index], now: figures[index + 1])
                }
                if !options.output.json { print(Table.changes(found)) }
                changes += found
            }
        }
        if !options.output.json {
            let slower = changes.filter { $0.ratio.median < target }
            print("\n\(slower.count) of \(changes.count) ratios below \(Table.number(target))")
            for change in slower {
                print(
                    "  " + Table.pad(change.now.work, 26) + Table.pad(change.now.shapeName, 26)
                        + Table.pad(change.isa.rawValue, 8) + Table.spread(change.ratio))
            }
            print("before: \(old.name); now: \(newName); CPU \(cpu), \(backing)")
        }
        try ToolReport(
            tool: "pfs_pcpu_bench",
            config: AgainstConfig(
                sampling: options.sampling, cpu: cpu, isas: pairs.map(\.isa), blobByteCount: blob.byteCount,
                before: old.name, now: newName),
            result: AgainstResult(backing: "\(backing)", changes: changes), warnings: []
        ).write(json: options.output.json, title: nil)
    }
}
