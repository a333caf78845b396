import ArgumentParser
import PacketFSEngine
import PacketFSTools
import RandomRuns
import SystemPackage

/// What both ends of a stream understand on the command line, and how they end.
package struct StreamOptions: ParsableArguments {
    @Option(help: OptionHelp.device)
    var dev: String?
    @Option(help: "Carry the ring in shared memory instead, under this name.")
    var shm: String?
    @Option(help: "Name of the blob, NAME.pfs-blob. (default: that of the ring)")
    var blob: String?
    @Option(help: "Folder in memory for ring and blob.")
    var dir = "/dev/shm"
    @Option(help: OptionHelp.hugeDir)
    var hugeDir: String?
    @Flag(help: "Wait without limit for the other side, again when it dies.")
    var wait = false
    @Option(.decimal("Seconds to wait for the other side to come or to go on", 0.001...NumberOption.longest))
    var patience = 60.0
    @Option(.cpu, absent: "the kernel's choice")
    var cpu: Int?
    @Flag(help: OptionHelp.verify)
    var verify = false
    @OptionGroup var output: OutputOptions
    @OptionGroup var progress: ProgressOptions

    /// The options with their defaults.
    package init() {}

    /// What they mean. Throws for names and combinations that cannot be.
    package func configured() throws(ToolError) -> StreamSide {
        var side = StreamSide(
            place: try StreamPlace(shared: shm, device: dev, blob: blob, folder: dir, hugeFolder: hugeDir))
        side.waits = wait
        side.patienceSeconds = patience
        side.cpu = cpu
        side.verify = verify
        return side
    }

    /// Runs one end of a stream, prints what came of it and ends the process accordingly.
    package func run(_ tool: String, _ work: (@escaping (RunEvent) -> Void) throws -> StreamOutcome) throws {
        try CommandLineTool.run(tool) {
            let progress = RunProgress(isQuiet: self.progress.quiet)
            let outcome = try work { progress.show($0) }
            progress.finish()
            try ToolReport(
                tool: tool, config: StreamConfig(outcome: outcome), result: outcome, warnings: progress.warnings
            ).write(json: output.json, title: outcome.title, tellsWarnings: false)
            if case .interrupted(let signal)? = outcome.fault { throw ExitCode(128 + signal) }
            if let error = outcome.error { throw error }
        }
    }
}
