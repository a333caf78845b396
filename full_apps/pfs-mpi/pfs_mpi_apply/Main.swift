import ApplyTool
import ArgumentParser
import Glibc
import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

@main
struct MPIApply: Tool {
    static let name = "pfs_mpi_apply"
    static let reports = [
        ReportDescription("pfs_mpi_apply", JobConfig.self, JobReport.self),
        ReportDescription("pfs_mpi_apply --rank-csv", columns: RankRow.self),
    ]
    static func runAsChildIfAsked() { PCoreWorker.runToolIfAsked() }

    static func main() {
        start()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            // One of many ranks that are all told the same speaks for them.
            if Launcher.speaks || error is ExitCode { end(error) }
            let status = exitCode(for: error).rawValue
            // The first rank that ends so makes mpirun end all others, and the one that speaks may not have spoken yet.
            if status != 0 { sleep(2) }
            Glibc.exit(status)
        }
    }

    static let configuration = CommandConfiguration(
        commandName: name,
        abstract: "Checksum, count or transform a file with many processes on many hosts, joined by MPI.",
        discussion: """
            Examples:
              mpirun -n 4 pfs_mpi_apply big.img --digests big.csv
              mpirun --hostfile hosts pfs_mpi_apply /shared/big.img --prog xor:255 --out /shared/new.img
              srun -n 64 pfs_mpi_apply /shared/big.img --journal big.journal --resume

            What pfs_apply does, by every rank on its share of the file: ranks claim chunk after chunk, so that slow hosts get \
            less. Results and files are those of pfs_apply. All ranks need the file under the same name; pipes cannot be \
            shared. Started without mpirun or srun, it is one rank.

            Exit codes: those of pfs_apply. A rank that fails names itself and its host, and the others end too.

            Environment: PACKETFS_FORCE_ISA chooses the kernels instead of the best that each CPU has.
            """,
        version: PacketFSVersion.current)

    @OptionGroup var options: ApplyOptions
    @Option(
        .bytes("Bytes that a rank claims at a time, a multiple of --block", 1...1 << 40),
        absent: "up to 64M, several for each rank")
    var chunk: Int?
    @Option(help: "How the input is read: auto is what suits program and file system, and is reported.")
    var io = InputChoice.Preference.automatic
    @Option(help: "Keep what is finished in this file, so that --resume can go on from it; removed at the end.")
    var journal: String?
    @Flag(help: "Go on from the journal if it is there.")
    var resume = false
    @Option(
        .whole(
            "Seconds after which a rank that is not heard of is given up, and the job with it; 0 for never", 0...86_400)
    )
    var timeout = 60
    @Option(help: "Write a line for each rank to this file (CSV).")
    var rankCsv: String?

    func run() throws {
        if options.explain {
            guard Launcher.speaks else { return }
            try CommandLineTool.run(Self.name) {
                try CommandLineTool.write(Plan(options.program(), isa: Kernels.selected()).explanation)
            }
            return
        }
        let signals: TerminationSignals
        let communicator: Communicator
        do {
            signals = try TerminationSignals()
            communicator = try Communicator(signals: signals, timeoutSeconds: timeout)
        } catch {
            FileDescriptor.standardError.writeLine("\(Self.name): \(error)")
            throw ExitCode(ToolError(any: error).exit.rawValue)
        }
        let job = Job(self, communicator: communicator, signals: signals)
        var status: Int32
        do {
            status = try job.run()
        } catch let failure as CommonFailure {
            if let error = failure.error { job.tell(error) }
            job.discard()
            status = failure.exit
        } catch let signal as Interrupted {
            job.discard()
            if communicator.rank == 0 {
                let why = signal.signal == SIGINT ? "interrupted" : "told to end (signal \(signal.signal))"
                job.tell("\(why), or another rank has ended; \(job.whatIsLeft)")
            }
            Glibc._exit(128 + signal.signal)
        } catch let error as ConnectionLost {
            job.tell(error.description)
            job.discard()
            Glibc._exit(ToolExit.system.rawValue)
        } catch {
            job.tell(error)
            job.discard()
            communicator.abort(ToolError(any: error).exit.rawValue)
        }
        do {
            try communicator.leave()
        } catch {
            job.tell(error)
            communicator.abort(ToolExit.system.rawValue)
        }
        if status != 0 { throw ExitCode(status) }
    }
}

/// What the program that started this one says about it, before MPI is asked.
enum Launcher {
    /// Whether this process speaks for all where all have the same to say: rank 0, or the only one.
    static var speaks: Bool {
        for name in ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"] {
            if let rank = getenv(name) { return String(cString: rank) == "0" }
        }
        return true
    }
}
