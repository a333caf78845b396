import Glibc
import PacketFSRing
import SystemPackage
import Testing

/// Two real processes: the benchmark, which checks every value, is run as users run it.
@Suite("Two processes", .serialized)
struct ProcessTests {
    // A ring of one slot changes sides at every value: few of them, as that takes long where CPUs are shared.
    @Test("Values arrive in order", arguments: [(0, 2_000), (4, 20_000), (12, 500_000)], ["", "--threads"])
    func sequence(size: (ringPow2: Int, ops: Int), mode: String) throws {
        let arguments = ["--ring-pow2=\(size.ringPow2)", "--ops=\(size.ops)", "--repeats=2", "--batches=1,3,64", mode]
        let run = try Bench.run(arguments.filter { !$0.isEmpty })
        check(run.status == 0, run.output)
        check(run.output.contains("M ops/s"), run.output)
    }

    @Test("JSON and nothing else")
    func json() throws {
        let run = try Bench.run(["--json", "--ops=1000", "--repeats=3", "--batches=1,8"])
        check(run.status == 0, run.output)
        let lines = run.output.split(separator: "\n").filter { !$0.hasPrefix("pfs_shm_ring_bench: warning: ") }
        check(lines.first == "{" && lines.last == "}", run.output)
        for key in ["schema_version", "tool", "version", "config", "machine", "result", "warnings", "mops_per_s"] {
            check(run.output.contains("\"\(key)\""), "\(key) is missing in \(run.output)")
        }
    }

    @Test(
        "Bad input is refused with its exit code",
        arguments: [
            "--ops=0", "--repeats=0", "--ring-pow2=27", "--batches=0", "--batches=8,,1", "--batches=65537", "--what",
        ])
    func commandLine(argument: String) throws {
        let run = try Bench.run([argument])
        check(run.status == 64, "\(run.status): \(run.output)")
        check(!run.output.isEmpty)
    }

    @Test(
        "A CPU that is not there is named", arguments: ["--cpu-producer=999", "--cpu-consumer=999"], ["", "--threads"])
    func badCPU(argument: String, mode: String) throws {
        let run = try Bench.run([argument, mode, "--ops=1000"].filter { !$0.isEmpty })
        check(run.status == 69, "\(run.status): \(run.output)")
        check(run.output.contains("CPU 999"), run.output)
    }

    @Test("A killed consumer ends the run with a report; a killed producer takes the consumer along")
    func kill9() throws {
        for killsConsumer in [true, false] {
            let bench = try Bench(["--ops=100000000000", "--batches=1"])
            let consumer = try need(bench.waitForChild(), "no consumer process appeared")
            usleep(UInt32.random(in: 0...100_000))
            check(kill(killsConsumer ? consumer : bench.process, SIGKILL) == 0)
            let run = bench.finish()
            if killsConsumer {
                check(run.status == 71, "\(run.status): \(run.output)")
                check(run.output.contains("consumer ended"), run.output)
            } else {
                check(run.status == 128 + SIGKILL)
            }
            var rounds = 0
            while Bench.isAlive(consumer), rounds < 6000 {
                usleep(10_000)
                rounds += 1
            }
            check(!Bench.isAlive(consumer), "the consumer process outlived the run")
        }
    }
}

/// A run of pfs_shm_ring_bench, which is built beside the tests.
final class Bench {
    let process: pid_t
    private let output: FileDescriptor

    /// Standard output and standard error together, and the exit status as a shell shows it.
    typealias Run = (status: Int32, output: String)

    static func run(_ arguments: [String], environment: [String]? = nil, output: String? = nil) throws -> Run {
        try Bench(arguments, environment: environment, output: output).finish()
    }

    /// Starts a run, by default with this process's environment; `output` takes standard output elsewhere.
    init(_ arguments: [String], environment: [String]? = nil, output path: String? = nil) throws {
        let ends = try FileDescriptor.pipe()
        output = ends.readEnd
        // The other end must not stay open in processes that other tests start.
        for end in [ends.readEnd, ends.writeEnd] {
            _ = fcntl(end.rawValue, F_SETFD, FD_CLOEXEC)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends.writeEnd.rawValue, 1)
        posix_spawn_file_actions_adddup2(&actions, ends.writeEnd.rawValue, 2)
        if let path { posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY, 0) }
        var words: [UnsafeMutablePointer<CChar>?] = []
        for word in [Bench.path] + arguments { words.append(strdup(word)) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var variables: [UnsafeMutablePointer<CChar>?] = []
        for variable in environment ?? Bench.environment { variables.append(strdup(variable)) }
        variables.append(nil)
        defer { for variable in variables { free(variable) } }
        var child: pid_t = 0
        let status = posix_spawn(&child, Bench.path, &actions, nil, words, variables)
        try ends.writeEnd.close()
        try #require(status == 0, "\(Bench.path) could not be started: \(status)")
        process = child
    }

    /// This process's variables, as NAME=VALUE.
    private static var environment: [String] {
        var variables: [String] = []
        var next = environ
        while let variable = next.pointee {
            variables.append(String(cString: variable))
            next += 1
        }
        return variables
    }

    /// The process that the run starts, once it is there.
    func waitForChild() -> pid_t? {
        for _ in 0..<1000 {
            let list = try? FileDescriptor.open("/proc/\(process)/task/\(process)/children", .readOnly)
            if let list {
                defer { try? list.close() }
                if let child = pid_t(Bench.text(of: list).prefix { $0.isNumber }) { return child }
            }
            usleep(5000)
        }
        return nil
    }

    /// Whether a process still runs; one that only waits for its status to be collected does not.
    static func isAlive(_ process: pid_t) -> Bool {
        guard let file = try? FileDescriptor.open("/proc/\(process)/stat", .readOnly) else { return false }
        defer { try? file.close() }
        // The state follows the name, which stands in parentheses.
        let state = text(of: file).split(separator: ")").last?.drop { $0 == " " }.first
        return state != nil && state != "Z" && state != "X"
    }

    func finish() -> Run {
        let text = Bench.text(of: output)
        try? output.close()
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        let isExit = status & 0x7f == 0
        return (isExit ? status >> 8 & 0xff : 128 + status & 0x7f, text)
    }

    private static func text(of file: FileDescriptor) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while let count = try? buffer.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 {
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static let path: String = {
        let resolved = realpath("/proc/self/exe", nil)
        defer { free(resolved) }
        let own = resolved.map { String(cString: $0) } ?? ""
        return FilePath(own).removingLastComponent().appending("pfs_shm_ring_bench").string
    }()
}
