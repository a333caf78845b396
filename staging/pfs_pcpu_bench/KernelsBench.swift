import ArgumentParser
import Glibc
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// The benchmark of single kernels.
struct KernelsBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels",
        abstract: "Each kernel against plain C loops, libraries and what memory gives.",
        discussion: """
            All contenders run in one process, pinned, in turn, round after round; medians count. The C loops are compiled when \
            the benchmark starts, for this very machine, in several forms, of which the fastest counts. Libraries are measured \
            where they are installed, after a check of what they compute; a warning names those that are not.
            """)

    @OptionGroup var options: MeasurementOptions
    @Option(.whole("MiB of the large range for random tables, and of room for ranges beyond the caches", 64...1 << 20))
    var rangeMb = 1024
    @Flag(help: "Only on one CPU.")
    var oneCpu = false
    @Option(help: "C compiler for the plain loops.")
    var cc = "cc"
    @Option(help: "Folder with libraries to compare with, from `just bench-peers-install`.")
    var peers = ".build-tools/bench-peers"
    @Option(help: "Also write the rates to this file, as tab-separated values for plot.gp.")
    var data: String?

    func run() throws { try CommandLineTool.run("pfs_pcpu_bench", measure) }

    private func measure() throws {
        let allowed = try CPUs.allowed()
        let cpu = try options.chosenCPU(allowed)
        let isas = try options.isas()
        let programs = options.programs
        var peers = try Peers(compiler: cc, folder: peers)
        var warnings = try peers.dropWrong(programs)
        warnings += peers.missing.map { "not installed, so nothing is compared with it: \($0)" }

        let lastLevelCache = Shape.lastLevelCache()
        let shapes = options.keys.map { Shape($0, lastLevelCache: lastLevelCache, range: rangeMb << 20) }
        let isTwice = !oneCpu && allowed.count > 1
        let large = shapes.contains { $0.key.isBeyondCaches }
        let blob = try HugeBlob.create(
            byteCount: large
                ? max(rangeMb << 20, allowed.count * Shape.beyond(lastLevelCache))
                : allowed.count << 24)
        try blob.fill(seed: 1, range: 0..<blob.byteCount)
        let backing = try blob.backing()

        let (rounds, sample) = options.sampling
        var figures: [Rate] = []
        try blob.withUnsafeMutableBytes { bytes in
            try CPUs.pin(to: [cpu])
            let one = Measurement(rounds: rounds, sampleNanoseconds: sample, cpus: [cpu], blob: bytes)
            for shape in shapes {
                figures += try show(one.figures(shape) { try contenders(peers, isas, shape) }, isas)
            }
            guard isTwice else { return }
            try CPUs.pin(to: allowed)
            let all = Measurement(rounds: rounds, sampleNanoseconds: sample, cpus: allowed, blob: bytes)
            // The large tables shrink to each thread's part of the blob.
            let part = bytes.count / allowed.count / (1 << 20) * (1 << 20)
            for key in options.keys where [.dram, .table, .tableDRAM].contains(key) {
                let shape = Shape(key, lastLevelCache: lastLevelCache, range: part)
                figures += try show(all.figures(shape) { try contenders(peers, isas, shape) }, isas)
            }
        }
        let targets = Target.all(figures, shapes: shapes, isas: isas)
        if let data { try write(figures, to: data) }
        if !options.output.json {
            print(Table.targets(targets))
            print("\n\(isas.map(\.rawValue).joined(separator: ", ")) kernels, \(backing)")
            print("C loops: \(peers.compilers.joined(separator: "; "))")
            if !peers.libraries.isEmpty { print("libraries: \(peers.libraryNames.joined(separator: "; "))") }
        }
        try ToolReport(
            tool: "pfs_pcpu_bench",
            config: KernelsConfig(
                sampling: options.sampling, cpus: isTwice ? allowed : [cpu], isas: isas,
                blobByteCount: blob.byteCount, lastLevelCache: lastLevelCache, peers: peers),
            result: KernelsResult(isa: isas[0], backing: "\(backing)", rates: figures, targets: targets),
            warnings: warnings
        ).write(json: options.output.json, title: nil)
    }

    private func contenders(_ peers: Peers, _ isas: [ISA], _ shape: Shape) throws -> [Contender] {
        try Contender.all(peers: peers, isas: isas, programs: options.programs, shape: shape)
    }

    private func show(_ figures: [Rate], _ isas: [ISA]) -> [Rate] {
        if !options.output.json {
            print(Table.rates(figures, isas: isas))
            print(Table.ratios(figures, isas: isas))
        }
        return figures
    }

    private func write(_ figures: [Rate], to path: String) throws(ToolError) {
        let text = Rate.header(separator: "\t") + "\n" + Rate.lines(figures, separator: "\t")
        do {
            let file = try FileDescriptor.open(
                FilePath(path), .writeOnly, options: [.create, .truncate],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
            try file.closeAfter { _ = try file.writeAll(text.utf8) }
        } catch {
            throw ToolError(.cannotCreate, "cannot write \(path): \(error)")
        }
    }
}
