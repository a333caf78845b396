import ArgumentParser
import Glibc
import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import RandomRuns
import SystemPackage

@main
struct ProcPcores: ParsableCommand {
    static func main() {
        PCoreWorker.runToolIfAsked()
        main(nil)
    }

    static let configuration = CommandConfiguration(
        commandName: "pfs_proc_pcores",
        abstract: "Run a program over byte ranges of a file in many pinned processes, and measure it.",
        discussion: """
            Every pcore is a process of its own, fed with records of random descriptors through its own shared-memory ring. \
            CPUpwn is the aggregate rate over the rate of one process without a ring.

            Programs: xor:IMM add:IMM counteq:IMM crc32c fnv, joined by commas. xor and add rewrite bytes; the others give a \
            total. The file itself is never changed: it is copied into the blob.

            Exit codes: 0 done, 64 usage, 65 verification failed, 66 input missing, 69 not available on this machine, \
            71 system error or a pcore died, 73 output cannot be created, 74 I/O error, 77 permission; 128 + signal when \
            interrupted (figures are printed all the same).

            Environment: PACKETFS_FORCE_ISA chooses the kernels instead of the best that this CPU has.
            """,
        version: PacketFSVersion.current)

    @Option(help: "Pcores to run, one process each.")
    var pcores = 2
    @Option(help: "Seconds to run.")
    var duration = 5.0
    @Option(help: "Exactly this many records for each pcore, instead of --duration.")
    var records: UInt64?
    @Option(help: "Blob size in MiB.")
    var blobMb = 1024
    @Option(help: "Descriptors per record.")
    var dpf = 64
    @Option(help: "Alignment of descriptors in bytes; lengths are uniform in ALIGN ..< 5*ALIGN.")
    var align = 64
    @Option(help: "Slots of each ring, as a power of two.")
    var ringPow2 = 16
    @Option(
        help:
            "Slab of each ring in MiB: room for the records that wait in it (default: 128 MiB over all pcores, from 1/2 to 1 each)."
    )
    var slabMb: Int?
    @Option(help: "File to copy to the start of the blob (default: a seeded pattern).")
    var file: String?
    @Option(help: "First byte of the range that descriptors lie in.")
    var rangeOff = 0
    @Option(help: "Bytes of that range (default: to the end of the file, or of the blob).")
    var rangeLen: Int?
    @Option(help: "A program of one operation (default: fnv).")
    var op: String?
    @Option(help: "Immediate of --op, 0 to 255, decimal or 0x.")
    var imm: String?
    @Option(help: "A program of several operations, such as xor:255,add:7,counteq:0.")
    var prog: String?
    @Option(help: "A file of several programs, one `PROGRAM WEIGHT` to a line, mixed by weight over the records.")
    var mix: String?
    @Flag(help: "Whether every record carries its program, or pcores are told it once beforehand.")
    var programs = ProgramTransport.inlineProgram
    @Option(help: "Where samples are appended as CSV; an empty value writes none.")
    var csv = "logs/pcores_metrics.csv"
    @Option(
        help:
            "Folder for a CSV of samples by pcore, one file per run; an empty value writes none (default: pcores beside --csv; none without --csv)."
    )
    var pcoreCsv: String?
    @Option(help: "Take the blob from this hugetlbfs directory instead of a memfd.")
    var hugeDir: String?
    @Option(help: "Pages of the blob: auto (best first), 1g, 2m, thp or 4k; all but auto are demands.")
    var pageSize = PagePreference.automatic
    @Option(
        help:
            "Place memory on the NUMA nodes of the pcores' CPUs: bind, interleave or local (default: the kernel's way)."
    )
    var numa: RunConfiguration.NUMAPlacement?
    @Flag(help: "Skip the baseline (no CPUpwn then).")
    var noBaseline = false
    @Option(help: "Seconds of the baseline.")
    var baselineSeconds = 2.0
    @Option(help: "First CPU for pcores.")
    var cpuFirst = 0
    @Option(help: "How many CPUs pcores are spread over (default: all from --cpu-first on).")
    var cpuCount: Int?
    @Flag(help: "Leave the producer unpinned.")
    var noPinProducer = false
    @Option(help: "CPU of the producer (default: one without a pcore, else the pcores' last).")
    var producerCpu: Int?
    @Option(help: "Seed of the descriptors, and of the pattern.")
    var seed: UInt64 = 1
    @Flag(help: "Let every pcore of a writing program use the whole range: a race, which cannot be verified.")
    var sharedRange = false
    @Flag(help: "Replace pcores that die instead of ending the run.")
    var restartFailed = false
    @Flag(help: "Recompute what every pcore did with the reference implementation; exit 65 if anything differs.")
    var verify = false
    @Flag(help: "Print how each program would be executed on this CPU, and run nothing.")
    var explain = false
    @Flag(help: "Write one JSON document to standard output and nothing else there.")
    var json = false
    @Flag(help: "No progress on standard error.")
    var quiet = false

    func run() throws {
        try CommandLineTool.run("pfs_proc_pcores") {
            if explain { try CommandLineTool.write(explanation()) } else { try measure() }
        }
    }

    private func measure() throws {
        let configuration = try runConfiguration()
        let log = try MetricsLog(configuration)
        let progress = RunProgress(isQuiet: quiet)
        if configuration.sharedRange, configuration.work.mix.writes {
            progress.warn("--shared-range: pcores race for the same bytes; the final blob and digests are not defined")
        }
        let run = try ProcPcoresRun(configuration) { event in
            progress.show(event)
            if case .sample(let sample) = event { log.append(sample) }
        }
        let outcome = try run.run()
        progress.finish()
        log.append(final: outcome)
        if let failure = log.failure { progress.warn(failure.description) }
        if outcome.backing.kind == .small, configuration.pages == .automatic {
            progress.warn("the blob got ordinary pages only; `just hugepages` shows how to reserve huge ones")
        }
        try CommandLineTool.write(json ? outcome.json(warnings: progress.warnings) : outcome.summary)
        try end(outcome, log)
    }

    /// Turns what is wrong with the outcome, if anything, into the exit code.
    private func end(_ outcome: RunOutcome, _ log: MetricsLog) throws {
        switch outcome.fault {
        case .interrupted(let signal)?:
            throw ExitCode(128 + signal)
        case let fault?:
            throw ToolError(.system, "\(fault): the run was ended; its figures stop there")
        case nil: break
        }
        if outcome.verified == false {
            throw ToolError(
                .verificationFailed,
                "verification failed: \(outcome.difference?.description ?? "records were rejected")")
        }
        if outcome.rejectedRecords > 0 {
            throw ToolError(
                .system, "\(outcome.rejectedRecords) records were out of bounds: shared memory was corrupted")
        }
        if let failure = log.failure { throw failure }
    }

    private func runConfiguration() throws(ToolError) -> RunConfiguration {
        var configuration = RunConfiguration(mix: try programMix())
        configuration.work.carriesProgram = programs == .inlineProgram
        configuration.pcores = pcores
        configuration.durationSeconds = duration
        configuration.work.recordsPerPCore = records
        configuration.blobByteCount = try bytes(blobMb, "--blob-mb")
        configuration.work.descriptorsPerRecord = dpf
        configuration.work.alignment = align
        configuration.ringPowerOfTwo = ringPow2
        if let slabMb { configuration.slabByteCount = try bytes(slabMb, "--slab-mb") }
        configuration.file = file.map { FilePath($0) }
        configuration.rangeOffset = rangeOff
        configuration.rangeLength = rangeLen
        configuration.work.seed = seed
        configuration.pages = pageSize
        configuration.numa = numa
        configuration.hugeDirectory = hugeDir.map { FilePath($0) }
        configuration.sharedRange = sharedRange
        configuration.verify = verify
        configuration.restartsFailed = restartFailed
        configuration.baselineSeconds = noBaseline ? 0 : baselineSeconds
        configuration.firstCPU = cpuFirst
        configuration.cpuCount = cpuCount
        configuration.pinsProducer = !noPinProducer
        configuration.producerCPU = producerCpu
        configuration.csv = csv.isEmpty ? nil : FilePath(csv)
        configuration.pcoreCSV = pcoreFolder
        try configuration.validate()
        return configuration
    }

    private var pcoreFolder: FilePath? {
        guard let pcoreCsv else {
            return csv.isEmpty ? nil : FilePath(csv).removingLastComponent().appending("pcores")
        }
        return pcoreCsv.isEmpty ? nil : FilePath(pcoreCsv)
    }

    private func bytes(_ mebibytes: Int, _ flag: String) throws(ToolError) -> Int {
        guard 1...(1 << 30) ~= mebibytes else {
            throw ToolError(.usage, "\(flag) \(mebibytes): must be from 1 to \(1 << 30)")
        }
        return mebibytes << 20
    }

    private func programMix() throws(ToolError) -> ProgramMix {
        guard [op, prog, mix].filter({ $0 != nil }).count <= 1 else {
            throw ToolError(.usage, "--op, --prog and --mix exclude each other")
        }
        if let mix { return try ProgramMix(parsing: InputFile.text(FilePath(mix)), source: mix) }
        return ProgramMix(try program())
    }

    private func program() throws(ToolError) -> Program {
        try Program(op: op, immediate: imm, program: prog, default: "fnv")
    }

    private func explanation() throws(ToolError) -> String {
        let isa = try Kernels.selected()
        return try programMix().entries.map { Plan($0.program, isa: isa).explanation }.joined(separator: "\n\n")
    }
}
extension RunConfiguration.NUMAPlacement: ExpressibleByArgument {}

/// How a pcore learns which program to run.
enum ProgramTransport: EnumerableFlag {
    case inlineProgram, fixedProgram
}

/// The CSV logs, with their first failure kept: a log that cannot be written does not end a run, but is not forgotten.
private final class MetricsLog {
    private let configuration: RunConfiguration
    private let aggregate: MetricsCSV?
    private let pcores: PCoreCSV?
    private(set) var failure: ToolError?

    init(_ configuration: RunConfiguration) throws(ToolError) {
        self.configuration = configuration
        aggregate = try configuration.csv.map { path throws(ToolError) in try MetricsCSV(path) }
        pcores = try configuration.pcoreCSV.map { folder throws(ToolError) in
            try PCoreCSV(in: folder, configuration: configuration)
        }
    }

    func append(_ sample: Sample) {
        keep { () throws(ToolError) in
            try aggregate?.append(sample, isFinal: false, configuration: configuration)
            try pcores?.append(sample)
        }
    }

    func append(final outcome: RunOutcome) {
        keep { () throws(ToolError) in
            try aggregate?.append(outcome.final, isFinal: true, configuration: configuration)
            try pcores?.append(final: outcome)
        }
    }

    private func keep(_ body: () throws(ToolError) -> Void) {
        do { try body() } catch { failure = failure ?? error }
    }
}
