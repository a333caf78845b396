import Foundation
import Testing
import ToolTesting

/// Every option of every tool, as `--experimental-dump-help` has them.
@Suite(.serialized)
struct OptionTests {
    /// The tools that are built here.
    static let tools = [
        "pfs_proc_pcores", "pfs_apply", "pfs_stream_fastpath_tx", "pfs_stream_fastpath_rx", "pfs_shm_ring_bench",
        "pfs_pcpu_bench", "pfs_ctl", "pfs_ringpeek_ctl", "pfs_afxdp_probe", "pfs_afxdp_tx", "pfs_afxdp_rx",
        "pfs_dpdk_probe", "pfs_dpdk_tx", "pfs_dpdk_rx", "yeet_afp_tx", "yeet_afp_rx", "yeet_udp_tx", "yeet_udp_rx",
        "pfs_mpi_apply",
    ].filter { FileManager.default.isExecutableFile(atPath: Tool($0).path) }

    /// An option of a command.
    struct Found {
        let command: [String]
        let name: String
        let kind: String
        /// The help without the default.
        let wording: String
        let hasDefault: Bool
        /// The default that the argument parser knows, which is that of an option without limits.
        let plainDefault: String?

        /// `from A to B` in the help.
        var limits: (low: String, high: String)? {
            guard let match = wording.firstMatch(of: /from ([0-9.]+[KMGT]?) to ([0-9.]+[KMGT]?)/) else { return nil }
            return (String(match.1), String(match.2))
        }
    }

    /// Why one name may stand for two things: the documented command lines have them.
    static let exceptions: [String: String] = [
        "records": "a number of records for runners; whether records are measured for pfs_shm_ring_bench",
        "port": "a UDP port for yeet_udp; a DPDK port for pfs_dpdk",
        "batch": "frames of a sender, up to 4096; messages of a receiver, of which recvmmsg takes 1024",
        "dir": "a folder to look in for pfs_ctl; the folder where both ends of a stream meet",
        "quiet": "pfs_apply leaves out its summary as well",
        "prog": "pfs_pcpu_bench kernels and against take several",
        "threads": "how many for pfs_pcpu_bench; whether for pfs_shm_ring_bench",
        "peers": "a folder of libraries for pfs_pcpu_bench; whether to compare for pfs_shm_ring_bench",
    ]

    static func all() throws -> [Found] { try tools.flatMap(options(of:)) }

    private static func options(of tool: String) throws -> [Found] {
        let document = try JSONSerialization.jsonObject(
            with: Data(Tool(tool).run(["--experimental-dump-help"]).output.utf8))
        let command = (document as? [String: Any])?["command"] as? [String: Any] ?? [:]
        return options(of: command, [tool])
    }

    private static func options(of command: [String: Any], _ path: [String]) -> [Found] {
        let own = (command["arguments"] as? [[String: Any]] ?? []).compactMap { argument -> Found? in
            guard let kind = argument["kind"] as? String, kind != "positional",
                let name = (argument["preferredName"] as? [String: Any])?["name"] as? String
            else { return nil }
            let help = argument["abstract"] as? String ?? ""
            return Found(
                command: path, name: name, kind: kind,
                wording: help.replacing(/\s?\(default: .*\)/, with: "").trimmingCharacters(in: .whitespaces),
                hasDefault: help.contains("(default:"), plainDefault: argument["defaultValue"] as? String)
        }
        let commands = command["subcommands"] as? [[String: Any]] ?? []
        return own
            + commands.flatMap { inner -> [Found] in
                guard let name = inner["commandName"] as? String, name != "help" else { return [] }
                return options(of: inner, path + [name])
            }
    }

    @Test("One name means one thing: the same wording and the same limits in every tool")
    func agreement() throws {
        let found = try Self.all()
        #expect(found.count > 250, "\(found.count)")
        for (name, options) in Dictionary(grouping: found, by: \.name) {
            let meanings = Dictionary(grouping: options) { "\($0.kind): \($0.wording)" }
            #expect(
                (meanings.count == 1) == (Self.exceptions[name] == nil),
                "--\(name): \(meanings.mapValues { $0.map { $0.command.joined(separator: " ") } })")
        }
    }

    @Test("Every option that takes a number says its limits")
    func limits() throws {
        for option in try Self.all() where option.kind == "option" {
            if let value = option.plainDefault {
                #expect(
                    Double(value) == nil, "\(option.command) --\(option.name) has the number \(value) without limits")
            }
        }
        #expect(try Self.all().count { $0.limits != nil } > 100)
    }

    /// What a tool must be told so that it gets to its numbers, but not far: memory is short, and what is named does not exist.
    private static let required: [String: [String]] = [
        "pfs_stream_fastpath_tx": ["--shm", "edge", "--dir", "/nonexistent"],
        "pfs_stream_fastpath_rx": ["--shm", "edge", "--dir", "/nonexistent"],
        "pfs_proc_pcores": ["--file", "/nonexistent", "--csv", ""],
        "pfs_apply": ["/nonexistent"], "pfs_mpi_apply": ["/nonexistent"],
        "pfs_shm_ring_bench": ["--cpu-producer", "4095"], "pfs_pcpu_bench": ["--cpu", "4095"],
        "pfs_dpdk_probe": ["--vdev", "net_nothing"], "pfs_dpdk_tx": ["--vdev", "net_nothing"],
        "pfs_dpdk_rx": ["--vdev", "net_nothing"], "yeet_udp_rx": ["--idle-ms", "1"],
        "pfs_afxdp_probe": ["--iface", "nonexistent0"], "pfs_afxdp_tx": ["--iface", "nonexistent0"],
        "pfs_afxdp_rx": ["--iface", "nonexistent0"], "yeet_afp_tx": ["--iface", "nonexistent0"],
        "yeet_afp_rx": ["--iface", "nonexistent0"], "yeet_udp_tx": ["--host", "127.0.0.1", "--count", "1"],
        "pfs_ringpeek_ctl": ["--dev", "/nonexistent", "--bdf", "0000:00:00.0", "--offset", "0"],
    ]

    private static func number(_ text: String) -> Double {
        let shifts: [Character: Int] = ["K": 10, "M": 20, "G": 30, "T": 40]
        guard let unit = text.last, let shift = shifts[unit] else { return Double(text) ?? .nan }
        return (Double(text.dropLast()) ?? .nan) * Double(1 << shift)
    }

    @Test("A number outside the limits is an error of the command line that names the option")
    func outside() throws {
        for option in try Self.all() {
            let tool = option.command[0]
            guard let (low, high) = option.limits else { continue }
            let (least, most) = (Self.number(low), Self.number(high))
            let above = most < 1e18 ? "\(UInt64(most) + 1)" : "18446744073709551616"
            let values = [least >= 1 ? "\(UInt64(least) - 1)" : "-1", above]
            for value in values {
                let result = try Tool(tool).run(
                    Array(option.command.dropFirst()) + ["--\(option.name)=\(value)"])
                #expect(
                    result.status == 64 && !result.wasSignalled,
                    "\(option.command) --\(option.name)=\(value): \(result)")
                #expect(
                    result.errors.contains("--\(option.name)") && result.errors.contains("must be"),
                    "\(option.command) --\(option.name)=\(value): \(result)")
            }
        }
    }

    @Test("The least and the greatest number of every option are computed with without a trap", arguments: tools)
    func edges(_ tool: String) throws {
        for (command, options) in Dictionary(grouping: try Self.options(of: tool), by: \.command) {
            let least = options.compactMap { option in option.limits.map { "--\(option.name)=\($0.low)" } }
            let greatest = options.compactMap { option in option.limits.map { "--\(option.name)=\($0.high)" } }
            // All together, so that their products are computed; each alone, because a run ends with the first that is too much.
            for numbers in [least, greatest] + greatest.map({ [$0] }) {
                let result = try Tool(path: "/bin/sh").run(
                    [
                        "-c", "ulimit -v 700000; exec timeout --signal=INT --kill-after=20 1 \"$0\" \"$@\"",
                        Tool(tool).path,
                    ] + command.dropFirst() + numbers + (Self.required[tool] ?? []))
                // 132 to 139 are SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE and SIGSEGV; 137 is the end of one that hangs.
                #expect(!(132...139).contains(result.status), "\(command) \(numbers): \(result)")
            }
        }
    }
}
