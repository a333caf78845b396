import ArgumentParser
import Glibc
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

@main
struct PCPUBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pfs_pcpu_bench",
        abstract: "Measure the pCPU kernels.",
        discussion: """
            Without a subcommand, measures the kernels one by one (`kernels --help` lists the options).

            Exit codes: 0 done, 64 usage, 69 not available on this machine, 71 system error, 73 output cannot be created.

            Environment: PACKETFS_FORCE_ISA chooses the kernels instead of the best that this CPU has.
            """,
        version: PacketFSVersion.current, subcommands: [KernelsBench.self, PlainThreads.self],
        defaultSubcommand: KernelsBench.self)
}

/// The benchmark of single kernels.
struct KernelsBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels",
        abstract: "Each kernel against plain C loops, ISA-L and what memory gives.",
        discussion: """
            All contenders run in one process, pinned, in turn, round after round; medians count. The C loops are compiled when \
            the benchmark starts, for this very machine. ISA-L is used where libisal.so.2 is installed (Debian: libisal2).
            """)

    @Option(help: "Rounds; the median of a contender's samples counts.")
    var rounds = 15
    @Option(help: "Least length of a sample in milliseconds.")
    var sampleMs = 2
    @Option(help: "MiB of the large range for random tables; it is also room for ranges beyond the caches.")
    var rangeMb = 1024
    @Option(help: "CPU of the measurements on one CPU. (default: the last that may be used)")
    var cpu: Int?
    @Flag(help: "Only on one CPU.")
    var oneCpu = false
    @Flag(help: "Only ranges that the caches hold.")
    var inCache = false
    @Flag(help: "A fast look: five rounds of half a millisecond. The figures are weak.")
    var quick = false
    @Option(help: "C compiler for the plain loops.")
    var cc = "cc"
    @Flag(help: "Print one JSON document and nothing else.")
    var json = false
    @Option(help: "Also write the rates to this file, as tab-separated values for plot.gp.")
    var data: String?

    func validate() throws {
        guard (1...10_000).contains(rounds) else {
            throw ValidationError("--rounds is \(rounds); it must be from 1 to 10000.")
        }
        guard (1...10_000).contains(sampleMs) else {
            throw ValidationError("--sample-ms is \(sampleMs); it must be from 1 to 10000.")
        }
        guard (64...1 << 20).contains(rangeMb) else {
            throw ValidationError("--range-mb is \(rangeMb); it must be from 64 to 1048576.")
        }
    }

    func run() throws { try CommandLineTool.run("pfs_pcpu_bench", measure) }

    private func measure() throws {
        let allowed = try CPUs.allowed()
        let cpu = try chosenCPU(allowed)
        let isa = try Kernels.selected()
        var warnings: [String] = []
        let peers = try Peers(compiler: cc)
        if peers.isal == nil {
            warnings.append("ISA-L is absent (no libisal.so.2; Debian package libisal2): nothing is compared with it")
        }
        let lastLevelCache = Shape.lastLevelCache()
        let beyond = (4 * lastLevelCache >> 20) << 20
        let blob = try HugeBlob.create(
            byteCount: inCache ? allowed.count << 24 : max(rangeMb << 20, allowed.count * beyond))
        try blob.fill(seed: 1, range: 0..<blob.byteCount)
        let backing = try blob.backing()

        let sizes = [64, 192, 320, 1024, 4096, 65536, 1 << 20, beyond]
        let blocks = sizes.map { Shape.blocks(of: $0, lastLevelCache: lastLevelCache) }
        let tables = [1_300_000, rangeMb << 20].map { Shape.randomTables(in: $0, lastLevelCache: lastLevelCache) }
        let shapes = (blocks + tables).filter { !($0.isBeyondCaches && inCache) }
        let rounds = quick ? 5 : rounds
        let sample: UInt64 = quick ? 500_000 : UInt64(sampleMs) * 1_000_000

        var figures: [Figure] = []
        try blob.withUnsafeMutableBytes { bytes in
            try CPUs.pin(to: [cpu])
            let one = Measurement(rounds: rounds, sampleNanoseconds: sample, cpus: [cpu], blob: bytes)
            for shape in shapes {
                figures += try show(one.figures(shape) { try Contender.all(peers: peers, isa: isa, shape: shape) })
            }
            guard !oneCpu, allowed.count > 1 else { return }
            try CPUs.pin(to: allowed)
            let all = Measurement(rounds: rounds, sampleNanoseconds: sample, cpus: allowed, blob: bytes)
            // The large tables shrink to each thread's part of the blob.
            let part = bytes.count / allowed.count / (1 << 20) * (1 << 20)
            let shared = [
                Shape.blocks(of: beyond, lastLevelCache: lastLevelCache),
                Shape.randomTables(in: 1_300_000, lastLevelCache: lastLevelCache),
                Shape.randomTables(in: part, lastLevelCache: lastLevelCache),
            ].filter { !($0.isBeyondCaches && inCache) }
            for shape in shared {
                figures += try show(all.figures(shape) { try Contender.all(peers: peers, isa: isa, shape: shape) })
            }
        }
        let targets = Target.all(figures, shapes: shapes)
        for warning in warnings { FileDescriptor.standardError.writeLine("pfs_pcpu_bench: warning: \(warning)") }
        if let data { try write(figures, to: data) }
        guard json else {
            print(Table.targets(targets))
            print("\n\(isa) kernels, \(backing); C loops: \(peers.compiler); ISA-L: \(peers.isalLibrary ?? "absent")")
            return
        }
        let report = ToolReport(
            tool: "pfs_pcpu_bench",
            config: Report.Config(
                rounds: rounds, sampleNs: sample, cpus: oneCpu ? [cpu] : allowed, blobBytes: blob.byteCount,
                lastLevelCacheBytes: lastLevelCache, peerCompiler: peers.compiler, isaL: peers.isalLibrary),
            result: Report.Result(
                isa: isa.rawValue, backing: "\(backing)",
                rates: figures.map {
                    .init(
                        shape: $0.shape, cpus: $0.cpus, work: $0.work, by: $0.by, medianMbPerS: $0.median,
                        bestMbPerS: $0.best)
                },
                targets: targets.map {
                    .init(
                        work: $0.work, shape: $0.shape, cpus: $0.cpus, against: $0.against, ratio: $0.ratio,
                        target: $0.target, met: $0.isMet)
                }),
            warnings: warnings)
        print(try report.text())
    }

    private func show(_ figures: [Figure]) -> [Figure] {
        if !json { print(Table.rates(figures)) }
        return figures
    }

    private func chosenCPU(_ allowed: [Int]) throws(ToolError) -> Int {
        guard let last = allowed.last else { throw ToolError(.unavailable, "this process may run on no CPU") }
        guard let cpu else { return last }
        guard allowed.contains(cpu) else {
            throw ToolError(.unavailable, "CPU \(cpu) may not be used; allowed are \(CPUs.describe(allowed))")
        }
        return cpu
    }

    private func write(_ figures: [Figure], to path: String) throws(ToolError) {
        var text = "shape\tcpus\twork\tby\tmedian_mb_per_s\tbest_mb_per_s\n"
        for figure in figures {
            text += "\(figure.shape)\t\(figure.cpus)\t\(figure.work)\t\(figure.by)\t\(figure.median)\t\(figure.best)\n"
        }
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
