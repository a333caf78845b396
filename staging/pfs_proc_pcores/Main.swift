import ArgumentParser
import Glibc
import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import RandomRuns
import SystemPackage

@main
struct ProcPcores: Tool {
    static let reports = [
        ReportDescription("pfs_proc_pcores", RunConfig.self, RunOutcome.self),
        ReportDescription("pfs_proc_pcores --csv", columns: MetricsRow.self),
        ReportDescription("pfs_proc_pcores --pcore-csv", columns: PCoreRow.self),
    ]
    static func runAsChildIfAsked() { PCoreWorker.runToolIfAsked() }

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

    @Option(.pcores)
    var pcores = 2
    @Option(.duration)
    var duration = 5.0
    @Option(.records, absent: "as many as --duration allows")
    var records: UInt64?
    @Option(.blobMb)
    var blobMb = 1024
    @Option(.dpf)
    var dpf = 64
    @Option(.align)
    var align = 64
    @Option(.ringPow2)
    var ringPow2 = 16
    @Option(.slabMb, absent: "128 MiB over all pcores, from 1/2 to 1 each")
    var slabMb: Int?
    @Option(help: OptionHelp.file)
    var file: String?
    @Option(.rangeOff)
    var rangeOff = 0
    @Option(.rangeLen, absent: "to the end of the file, or of the blob")
    var rangeLen: Int?
    @OptionGroup(title: "The program (fnv unless one is named)") var choice: ProgramOptions
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
    @Option(help: OptionHelp.hugeDir)
    var hugeDir: String?
    @Option(help: OptionHelp.pageSize)
    var pageSize = PagePreference.automatic
    @Option(
        help:
            "Place memory on the NUMA nodes of the pcores' CPUs: bind, interleave or local (default: the kernel's way)."
    )
    var numa: RunConfiguration.NUMAPlacement?
    @Flag(help: "Skip the baseline (no CPUpwn then).")
    var noBaseline = false
    @Option(.decimal("Seconds of the baseline", 0...3600))
    var baselineSeconds = 2.0
    @Option(.cpuFirst)
    var cpuFirst = 0
    @Option(.cpuCount, absent: "all from --cpu-first on")
    var cpuCount: Int?
    @Flag(help: "Leave the producer unpinned.")
    var noPinProducer = false
    @Option(.whole("CPU of the producer", 0...4095), absent: "one without a pcore, else the pcores' last")
    var producerCpu: Int?
    @Option(.seed)
    var seed: UInt64 = 1
    @Flag(help: "Let every pcore of a writing program use the whole range: a race, which cannot be verified.")
    var sharedRange = false
    @Flag(help: OptionHelp.restartFailed)
    var restartFailed = false
    @Flag(help: OptionHelp.verify)
    var verify = false
    @Flag(help: OptionHelp.explain)
    var explain = false
    @OptionGroup var output: OutputOptions
    @OptionGroup var progress: ProgressOptions

    func run() throws {
        try CommandLineTool.run("pfs_proc_pcores") {
            if explain { try CommandLineTool.write(explanation()) } else { try measure() }
        }
    }

    private func measure() throws {
        let configuration = try runConfiguration()
        let log = try MetricsLog(configuration)
        let progress = RunProgress(isQuiet: self.progress.quiet)
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
        try ToolReport(
            tool: "pfs_proc_pcores", config: RunConfig(outcome: outcome), result: outcome, warnings: progress.warnings
        ).write(json: output.json, title: outcome.title, tellsWarnings: false)
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
        configuration.blobByteCount = blobMb << 20
        configuration.work.descriptorsPerRecord = dpf
        configuration.work.alignment = align
        configuration.ringPowerOfTwo = ringPow2
        if let slabMb { configuration.slabByteCount = slabMb << 20 }
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

    private func programMix() throws(ToolError) -> ProgramMix {
        guard [choice.op, choice.prog, mix].filter({ $0 != nil }).count <= 1 else {
            throw ToolError(.usage, "--op, --prog and --mix exclude each other")
        }
        if let mix { return try ProgramMix(parsing: InputFile.text(FilePath(mix)), source: mix) }
        return ProgramMix(try choice.program(default: "fnv"))
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
