import Foundation
import Testing
import ToolTesting

@Suite("pfs_proc_pcores: bad input")
struct BadInputTests {
    struct Case: CustomTestStringConvertible {
        let arguments: [String]
        let status: Int32
        let message: String
        var testDescription: String { arguments.joined(separator: " ") }
    }

    static let cases: [Case] = [
        Case(arguments: ["--op", "sub"], status: 64, message: "\"sub\", is unknown"),
        Case(arguments: ["--op", "xor", "--imm", "256"], status: 64, message: "immediate \"256\""),
        Case(arguments: ["--op", "xor", "--imm=-1"], status: 64, message: "-1"),
        Case(arguments: ["--op", "crc32c", "--imm", "1"], status: 64, message: "takes no immediate"),
        Case(arguments: ["--mix", "/nonexistent/mix"], status: 66, message: "/nonexistent/mix"),
        Case(arguments: ["--mix", "/dev/null"], status: 66, message: "not a regular file"),
        Case(arguments: ["--mix", "/etc/passwd"], status: 64, message: "/etc/passwd, line 1"),
        Case(arguments: ["--mix", "/etc/passwd", "--op", "fnv"], status: 64, message: "exclude"),
        Case(arguments: ["--prog", ""], status: 64, message: "program is empty"),
        Case(arguments: ["--prog", "xor:1,,fnv"], status: 64, message: "operation 2"),
        Case(arguments: ["--prog", "fnv", "--op", "fnv"], status: 64, message: "exclude"),
        Case(arguments: ["--imm", "4"], status: 64, message: "--imm needs --op"),
        Case(
            arguments: ["--prog", Array(repeating: "xor:1", count: 33).joined(separator: ",")], status: 64,
            message: "at most 32"),
        Case(arguments: ["--pcores", "0"], status: 64, message: "'0' is invalid for '--pcores"),
        Case(arguments: ["--pcores", "many"], status: 64, message: "many"),
        Case(arguments: ["--ring-pow2", "40"], status: 64, message: "'40' is invalid for '--ring-pow2"),
        Case(arguments: ["--align", "3"], status: 64, message: "'3' is invalid for '--align"),
        Case(arguments: ["--dpf", "0"], status: 64, message: "'0' is invalid for '--dpf"),
        Case(arguments: ["--dpf", "65536", "--slab-mb", "1"], status: 64, message: "--slab-mb"),
        Case(arguments: ["--duration", "0"], status: 64, message: "--duration"),
        Case(arguments: ["--duration", "nan"], status: 64, message: "--duration"),
        Case(arguments: ["--blob-mb", "0"], status: 64, message: "'0' is invalid for '--blob-mb"),
        Case(arguments: ["--blob-mb", "9999999999999"], status: 64, message: "--blob-mb"),
        Case(arguments: ["--blob-mb", "16777216"], status: 69, message: "memory"),
        Case(arguments: ["--file", "/nonexistent/file"], status: 66, message: "/nonexistent/file"),
        Case(arguments: ["--file", "/usr/bin"], status: 66, message: "not a regular file"),
        Case(arguments: ["--file", "/dev/null"], status: 66, message: "not a regular file"),
        Case(arguments: ["--file", "/usr/bin/bash", "--blob-mb", "1"], status: 64, message: "--blob-mb 2"),
        Case(arguments: ["--blob-mb", "4", "--range-off", "4194304"], status: 64, message: "--range-off 4194304"),
        Case(
            arguments: ["--blob-mb", "4", "--range-off", "4194303", "--range-len", "2"], status: 64,
            message: "outside the blob"),
        Case(arguments: ["--blob-mb", "4", "--range-len", "0"], status: 64, message: "--range-len"),
        Case(
            arguments: ["--blob-mb", "4", "--range-off", "9223372036854775807", "--range-len", "9223372036854775807"],
            status: 64, message: "--range-off"),
        Case(
            arguments: ["--blob-mb", "4", "--range-len", "100", "--pcores", "3", "--op", "xor"], status: 64,
            message: "too short"),
        Case(arguments: ["--csv", "/proc/nowhere/x.csv"], status: 73, message: "/proc/nowhere/x.csv"),
        Case(arguments: ["--cpu-first", "4095"], status: 69, message: "may use CPUs"),
        Case(arguments: ["--cpu-count", "4095"], status: 69, message: "may use CPUs"),
        Case(arguments: ["--producer-cpu", "4095"], status: 69, message: "may use CPUs"),
        Case(arguments: ["--page-size", "3m"], status: 64, message: "3m"),
        Case(arguments: ["--huge-dir", "/nonexistent/dir"], status: 66, message: "/nonexistent/dir"),
        Case(arguments: ["--no-such-flag"], status: 64, message: "--no-such-flag"),
        Case(arguments: ["extra"], status: 64, message: "extra"),
    ]

    @Test("Each mistake has its exit code and a message that names it", arguments: cases)
    func refused(_ bad: Case) throws {
        // A default for what the case does not say, so that nothing else is wrong.
        var arguments = ["--duration", "0.1", "--no-baseline"]
        if !bad.arguments.contains("--csv") { arguments += ["--csv", ""] }
        if !bad.arguments.contains("--blob-mb") { arguments += ["--blob-mb", "4"] }
        if bad.arguments.contains("--duration") { arguments.removeFirst(2) }
        let result = try tool.run(arguments + bad.arguments)
        #expect(result.status == bad.status, "\(result.errors)")
        #expect(!result.wasSignalled)
        #expect(result.errors.contains(bad.message), "\(result.errors)")
        #expect(result.output.isEmpty, "nothing on standard output")
    }

    @Test("Huge pages demanded but too few free: needed, free and the remedy")
    func noHugePages() throws {
        // One page more than the pool has free, of the size that no other test reserves.
        let free = try? String(
            contentsOfFile: "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", encoding: .utf8)
        let pages = free.flatMap { Int($0.trimmingCharacters(in: .newlines)) } ?? 0
        let result = try tool.run(["--blob-mb", "\((pages + 1) * 1024)", "--csv", "", "--page-size", "1g"])
        #expect(result.status == 69, "\(result.errors)")
        if free != nil {
            #expect(
                result.errors.contains("needed \(pages + 1)") && result.errors.contains("free \(pages)"),
                "\(result.errors)")
            #expect(result.errors.contains("nr_hugepages"), "\(result.errors)")
        } else {
            #expect(result.errors.contains("not available here"), "\(result.errors)")
        }
    }

    @Test("Forced kernels that do not exist")
    func badISA() throws {
        let result = try tool.run(quick, environment: ["PACKETFS_FORCE_ISA": "mmx"])
        #expect(result.status == 64)
        #expect(result.errors.contains("PACKETFS_FORCE_ISA is \"mmx\""))
    }

    @Test("A hold for tests that is none", arguments: ["", "10", "ten:file", "-1:file", "10:"])
    func badHold(value: String) throws {
        let result = try tool.run(quick, environment: ["PACKETFS_TEST_HOLD": value])
        #expect(result.status == 64, "\(result)")
        #expect(result.errors.contains("PACKETFS_TEST_HOLD=\(value): must be RECORDS:FILE"), "\(result)")
    }

    @Test("A result that cannot be written")
    func fullOutput() throws {
        let result = try tool.run(
            quick + ["--records", "1"], wrapper: ["/bin/sh", "-c", "\"$0\" \"$@\" > /dev/full"])
        #expect(result.status == 74, "\(result.errors)")
        #expect(result.errors.contains("standard output"))
    }

    @Test("A log with other columns is left alone")
    func foreignLog() throws {
        let log = FileManager.default.temporaryDirectory.appendingPathComponent("pfs-foreign-\(UUID()).csv")
        defer { try? FileManager.default.removeItem(at: log) }
        try Data("a,b\n1,2\n".utf8).write(to: log)
        let result = try tool.run(["--blob-mb", "4", "--no-baseline", "--records", "1", "--csv", log.path])
        #expect(result.status == 73)
        #expect(try String(contentsOf: log, encoding: .utf8) == "a,b\n1,2\n")
    }

    @Test(
        "A file or a log folder without permission", .enabled(if: geteuid() == 0, "needs root"),
        .enabled(
            if: FileManager.default.isExecutableFile(atPath: "/usr/bin/setpriv"), "needs the command setpriv"))
    func permission() throws {
        let folder = URL(fileURLWithPath: "/tmp/pfs-perm-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        // The tool itself may stand in a folder that this user cannot enter.
        let copy = Tool(path: folder.appendingPathComponent("tool").path)
        try FileManager.default.copyItem(atPath: tool.path, toPath: copy.path)
        let secret = folder.appendingPathComponent("secret").path
        try Data("secret".utf8).write(to: URL(fileURLWithPath: secret))
        for (path, mode) in [(folder.path, 0o755), (copy.path, 0o755), (secret, 0o600)] {
            #expect(chmod(path, mode_t(mode)) == 0)
        }
        let nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        let quick = ["--blob-mb", "4", "--no-baseline", "--records", "1"]
        let unreadable = try copy.run(quick + ["--csv", "", "--file", secret], wrapper: nobody)
        #expect(unreadable.status == 66, "\(unreadable.errors)")
        #expect(unreadable.errors.contains(secret))
        let unwritable = try copy.run(quick + ["--csv", folder.path + "/metrics.csv"], wrapper: nobody)
        #expect(unwritable.status == 73, "\(unwritable.errors)")
    }
}
