import Foundation
import Testing
import ToolTesting

/// The tool that these suites run, and the one whose results it must give.
let tool = Tool("pfs_mpi_apply")
let single = Tool("pfs_apply")

/// Whether the tool is built here; where not, the reason is "needs Open MPI".
let hasTool = FileManager.default.isExecutableFile(atPath: tool.path)

/// Everything that runs jobs, one after another: ranks that wait turn the processors' time into heat.
@Suite(
    "pfs_mpi_apply", .serialized, .enabled(if: hasTool, "needs Open MPI"),
    .enabled(if: Hosts.areAvailable, "needs network namespaces"))
enum MPIJobs {}

/// A folder of the test's own, which all hosts see, removed with everything in it.
final class Workplace {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-mpi-\(UUID())")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) -> String { url.appendingPathComponent(name).path }

    /// Writes a file and returns its path.
    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: url.appendingPathComponent(name))
        return path(name)
    }

    func bytes(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: url.appendingPathComponent(name))) }

    func remove(_ name: String) throws { try FileManager.default.removeItem(at: url.appendingPathComponent(name)) }

    /// Bytes of a file, 0 if there is none.
    func size(_ name: String) -> Int {
        (try? FileManager.default.attributesOfItem(atPath: path(name))[.size] as? Int) ?? 0
    }

    /// Whether any bytes have been written to the output that is in the making, which may have been given its size before.
    func hasPartial(of name: String) -> Bool {
        var status = stat()
        return stat(path(".\(name).pfs-partial"), &status) == 0 && status.st_blocks > 0
    }

    /// Chunks in the file `journal`: how often the mark is there with which each begins.
    func journalledChunks() -> Int {
        let mark = Data("PFSCHNK1".utf8)
        guard let data = FileManager.default.contents(atPath: path("journal")) else { return 0 }
        var (count, rest) = (0, data[...])
        while let found = rest.range(of: mark) {
            count += 1
            rest = rest[found.upperBound...]
        }
        return count
    }

    /// Everything in the folder, hidden names too.
    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() }
}

/// Bytes of a seeded generator, with runs of zeros so that counts are not all alike.
func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed &* 2 &+ 1
    return [UInt8](unsafeUninitializedCapacity: count) { memory, initialized in
        for index in 0..<count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let byte = UInt8(truncatingIfNeeded: state >> 56)
            memory[index] = byte < 40 ? 0 : byte
        }
        initialized = count
    }
}

extension Hosts {
    /// Starts a job as its user would, from the first host: `layout` is the number of ranks on each. What Open MPI leaves behind
    /// when it is killed itself stands in the hosts' folder. Ranks have time to end properly only if mpirun `isPatient`.
    func start(
        _ layout: [Int], _ arguments: [String], isPatient: Bool = false, environment: [String: String] = [:],
        hold: PausedRun? = nil
    ) throws -> Tool.Running {
        let places = zip(names, layout).filter { $1 > 0 }.map { "\($0):\($1)" }.joined(separator: ",")
        var command = [
            // The threads that tests run on block signals, and who is started by them inherits that.
            "--default-signal", "mpirun", "--oversubscribe", "--bind-to", "none", "-H", places, "-n",
            "\(layout.reduce(0, +))",
            // A cut cable is noticed within seconds. No search for hardware that is not there.
            "--mca", "oob_tcp_keepalive_time", "12", "--mca", "oob_tcp_keepalive_intvl", "1",
            "--mca", "oob_tcp_keepalive_probes", "2", "--mca", "pml", "ob1", "--mca", "plm_rsh_agent", Self.agent,
            "--mca", "orte_tmpdir_base", folder, "--mca", "mpi_yield_when_idle", "1",
            // Seconds between SIGTERM and SIGKILL; mpirun waits through them several times.
            "--mca", "odls_base_sigkill_timeout", isPatient ? "2" : "0",
        ]
        let passed = environment.merging(hold?.environment ?? [:]) { $1 }
        for name in passed.keys.sorted() { command += ["-x", name] }
        return try Tool(path: "/usr/bin/env").start(
            command + [tool.path] + arguments,
            environment: self.environment.merging(Self.asRoot) { $1 }.merging(environment) { $1 },
            wrapper: wrapper(names[0]), hold: hold)
    }

    /// Runs a job to its end.
    func run(
        _ layout: [Int], _ arguments: [String], isPatient: Bool = false, environment: [String: String] = [:]
    ) throws -> Tool.Result {
        try start(layout, arguments, isPatient: isPatient, environment: environment).finish()
    }

    /// mpirun refuses to work for root otherwise.
    static let asRoot = ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"]

    /// The ranks of a job: those processes of the tool that are not pcores.
    func ranks(on host: String? = nil) -> [Member] { own.filter { host ?? $0.host == $0.host && !isPcore($0) } }

    /// Pcores of a job.
    func pcores(on host: String? = nil) -> [Member] { own.filter { host ?? $0.host == $0.host && isPcore($0) } }

    private var own: [Member] { processes().filter { $0.executable == tool.path } }

    /// A pcore is started by a rank, a rank by mpirun or by its daemon.
    private func isPcore(_ member: Member) -> Bool {
        Processes.parent(of: member.pid).map { Hosts.executable(of: $0) == tool.path } ?? false
    }
}

extension Tool.Result {
    /// The totals, in a form that can be compared.
    func totals() throws -> [[String]] {
        let totals = try #require(try result()["totals"] as? [[String: Any]])
        return totals.map { total in ["op", "value", "whole_range"].map { total[$0].map { "\($0)" } ?? "" } }
    }

    /// The rows of a table in the result.
    func rows(_ name: String) throws -> [[String: Any]] { try #require(try result()[name] as? [[String: Any]]) }

    /// What the tool itself has said on standard error, be it through its parser.
    var complaints: [Substring] {
        errors.split(separator: "\n").filter { $0.hasPrefix("pfs_mpi_apply: ") || $0.hasPrefix("Error: ") }
    }
}

/// A sum over the rows of a table.
func sum(_ rows: [[String: Any]], _ name: String) -> Int { rows.reduce(0) { $0 + ($1[name] as? Int ?? -1_000_000) } }

extension Hosts.Member {
    /// The rank that this process is, or belongs to.
    var rank: Int? {
        let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data()
        let name = "OMPI_COMM_WORLD_RANK="
        return environment.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            .first { $0.hasPrefix(name) }.flatMap { Int($0.dropFirst(name.count)) }
    }
}

/// A job that cannot end before it is told to: each of its ranks, which has one pcore, holds once that has got some records.
struct PausedJob {
    /// A chunk of 64 KiB is two records.
    static let shape = ["--block", "64", "--chunk", "64K"]

    let running: Tool.Running
    let hosts: Hosts
    private let hold: PausedRun

    /// Starts a job of `layout` with a chunk as ``shape`` says, and returns once every rank has got `chunks` chunks and holds with another
    /// one, which it has claimed. The input must have more chunks than all of that.
    init(
        _ hosts: Hosts, _ layout: [Int], chunks: Int = 1, isPatient: Bool = false, _ arguments: [String]
    ) throws {
        hold = try PausedRun(records: 2 * chunks)
        running = try hosts.start(
            layout, arguments + Self.shape + ["--pcores", "1"], isPatient: isPatient, hold: hold)
        self.hosts = hosts
        try hold.wait(for: layout.reduce(0, +), running)
    }

    /// Lets it go on.
    func release() { hold.release() }

    /// The rank's own process.
    func rank(_ number: Int) throws -> Hosts.Member {
        try #require(hosts.ranks().first { $0.rank == number })
    }
}
