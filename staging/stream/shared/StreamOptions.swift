import ArgumentParser
import PacketFSEngine
import PacketFSTools
import RandomRuns
import SystemPackage

/// What both ends of a stream understand on the command line, and how they end.
package struct StreamOptions: ParsableArguments {
    @Option(help: "The device that carries the ring. (default: /dev/pfs_fastpath)")
    var dev: String?
    @Option(help: "Carry the ring in shared memory instead, under this name.")
    var shm: String?
    @Option(help: "Name of the blob, NAME.pfs-blob. (default: that of the ring)")
    var blob: String?
    @Option(help: "Folder in memory for ring and blob.")
    var dir = "/dev/shm"
    @Option(help: "Folder for the blob, such as a mounted hugetlbfs. (default: that of --dir)")
    var hugeDir: String?
    @Flag(help: "Wait without limit for the other side, again when it dies.")
    var wait = false
    @Option(help: "Seconds to wait for the other side to come or to go on.")
    var patience = 60.0
    @Option(help: "Run on this CPU. (default: the kernel's choice)")
    var cpu: Int?
    @Flag(help: "Recompute the stream with the reference implementation; exit 65 if anything differs.")
    var verify = false
    @Flag(help: "Write one JSON document to standard output and nothing else there.")
    var json = false
    @Flag(help: "No progress on standard error.")
    var quiet = false

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
        try side.validate()
        return side
    }

    /// Runs one end of a stream, prints what came of it and ends the process accordingly.
    package func run(_ tool: String, _ work: (@escaping (RunEvent) -> Void) throws -> StreamOutcome) throws {
        try CommandLineTool.run(tool) {
            let progress = RunProgress(isQuiet: quiet)
            let outcome = try work { progress.show($0) }
            progress.finish()
            try CommandLineTool.write(json ? outcome.json(warnings: progress.warnings) : outcome.summary)
            if case .interrupted(let signal)? = outcome.fault { throw ExitCode(128 + signal) }
            if let error = outcome.error { throw error }
        }
    }
}
