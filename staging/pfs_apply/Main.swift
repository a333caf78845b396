import ArgumentParser
import PacketFSMemory
import PacketFSPCPU
import PacketFSRunner
import PacketFSTools
import SystemPackage

@main
struct Apply: ParsableCommand {
    static func main() {
        PCoreWorker.runIfAsked()
        main(nil)
    }

    static let configuration = CommandConfiguration(
        commandName: "pfs_apply",
        abstract: "Checksum, count or transform a file, every byte exactly once, on all CPUs.",
        discussion: """
            Examples:
              pfs_apply big.img                       its CRC-32C
              pfs_apply big.img --digests big.csv     and that of each MiB, to keep
              pfs_apply --check big.csv               is the file still the same?
              pfs_apply big.img --prog xor:255 --out new.img
              zcat big.gz | pfs_apply - --op counteq --imm 10

            Programs: xor:IMM add:IMM counteq:IMM crc32c fnv, joined by commas and applied to each block in order. xor and add \
            rewrite bytes (in what is written, never in the input); the others yield a value per block, of the bytes as they \
            stand at that point. Values are summed over blocks; a crc32c is also given for all bytes together.

            Exit codes: 0 done, 64 usage, 65 a block differs (--check), 66 input missing, 69 not available on this machine, \
            71 system error or a pcore died, 73 output cannot be created, 74 I/O error, 77 permission; 128 + signal when \
            interrupted. After anything but 0 and 65 no output has been made or changed.

            Environment: PACKETFS_FORCE_ISA chooses the kernels instead of the best that this CPU has.
            """,
        version: PacketFSVersion.current)

    @Argument(help: "The file, or - for standard input. With --check: instead of the file that the digests name.")
    var input: String?
    @Option(help: "A program of one operation (default: crc32c).")
    var op: String?
    @Option(help: "Immediate of --op, 0 to 255, decimal or 0x.")
    var imm: String?
    @Option(help: "A program of several operations, such as xor:255,add:7,counteq:0.")
    var prog: String?
    @Option(help: "Bytes of a block; K, M and G are powers of 1024.")
    var block = ByteSize(1 << 20)
    @Option(help: "First byte; K, M and G as above.")
    var rangeOff = ByteSize(0)
    @Option(help: "How many bytes (default: to the end).")
    var rangeLen: ByteSize?
    @Option(help: "Apply the program this often.")
    var passes = 1
    @Option(help: "Write the transformed bytes to this file, - for standard output. It appears when it is complete.")
    var out: String?
    @Flag(help: "Replace the input by the transformed bytes, once they are safe on disk.")
    var inPlace = false
    @Option(help: "Write each block's values to this file (CSV), for --check.")
    var digests: String?
    @Option(help: "Compute the values in this file of digests again and report every block that differs.")
    var check: String?
    @Option(help: "Pcores, one process each (default: one for each CPU).")
    var pcores: Int?
    @Option(help: "First CPU for pcores.")
    var cpuFirst = 0
    @Option(help: "How many CPUs pcores are spread over (default: all from --cpu-first on).")
    var cpuCount: Int?
    @Option(help: "MiB in flight at most, when the input is a pipe or is transformed.")
    var windowMb = 256
    @Option(help: "Pages of that window: auto (best first), 1g, 2m, thp or 4k; all but auto are demands.")
    var pageSize = PagePreference.automatic
    @Flag(help: "Replace pcores that die instead of giving up; each block still counts once.")
    var restartFailed = false
    @Flag(help: "Print how the program would be executed on this CPU, and run nothing.")
    var explain = false
    @Flag(help: "Write one JSON document to standard output and nothing else there.")
    var json = false
    @Flag(help: "No progress, and no summary; with --check only blocks that differ.")
    var quiet = false

    func run() throws {
        try CommandLineTool.run("pfs_apply", interrupted: "interrupted; nothing was written") {
            if explain {
                try CommandLineTool.write(Plan(program(), isa: Kernels.selected()).explanation)
            } else {
                try apply()
            }
        }
    }

    private func apply() throws {
        let expected = try check.map { path throws(ToolError) in try DigestReader(FilePath(path)) }
        let configuration = try applyConfiguration(expected)
        let progress = ProgressBar(isQuiet: quiet || json)
        let outcome: ApplyOutcome
        do {
            let run = try ApplyRun(configuration, comparingWith: expected) { progress.show($0) }
            outcome = try run.run()
            progress.finish()
        } catch {
            progress.finish()
            throw error
        }
        // Standard output may be the transformed bytes; then the words go elsewhere.
        let target: FileDescriptor = out == "-" ? .standardError : .standardOutput
        if json {
            try CommandLineTool.write(outcome.json(check: check, warnings: progress.warnings), to: target)
        } else {
            for difference in outcome.differences ?? [] {
                try CommandLineTool.write(
                    "\(configuration.input): block at \(difference.offset): \(difference)", to: target)
            }
            if !quiet { try CommandLineTool.write(outcome.summary, to: target) }
        }
        if outcome.isAsExpected == false { throw ExitCode(ToolExit.verificationFailed.rawValue) }
    }

    private func applyConfiguration(_ expected: DigestReader?) throws(ToolError) -> ApplyConfiguration {
        var configuration: ApplyConfiguration
        if let expected {
            configuration = try checkConfiguration(expected)
        } else {
            guard let input else {
                throw ToolError(.usage, "no input: name a file, or - for standard input (see --help)")
            }
            configuration = ApplyConfiguration(program: try program(), input: inputNamed(input))
            configuration.blockByteCount = block.bytes
            configuration.rangeOffset = rangeOff.bytes
            configuration.rangeLength = rangeLen?.bytes
            configuration.passes = passes
            configuration.digests = digests.map { FilePath($0) }
            guard !(inPlace && out != nil) else { throw ToolError(.usage, "--in-place and --out exclude each other") }
            if inPlace { configuration.output = .inPlace }
            if let out { configuration.output = out == "-" ? .standardOutput : .file(FilePath(out)) }
        }
        configuration.pcores = pcores
        configuration.firstCPU = cpuFirst
        configuration.cpuCount = cpuCount
        guard 1...(1 << 30) ~= windowMb else {
            throw ToolError(.usage, "--window-mb \(windowMb): must be from 1 to \(1 << 30)")
        }
        // Two blocks at least, whatever the block.
        configuration.windowByteCount = max(windowMb << 20, windowMb == 256 ? 2 * configuration.blockByteCount : 0)
        configuration.pages = pageSize
        configuration.restartsFailed = restartFailed
        try configuration.validate()
        return configuration
    }

    /// What a file of digests says about how it was made.
    private func checkConfiguration(_ expected: DigestReader) throws(ToolError) -> ApplyConfiguration {
        guard op == nil, prog == nil, imm == nil, out == nil, !inPlace, digests == nil else {
            throw ToolError(.usage, "--check takes program and block from the digests; nothing can be written with it")
        }
        let header = expected.header
        let source: ApplyConfiguration.Input
        if let input {
            source = inputNamed(input)
        } else if let file = header.file {
            source = .file(file)
        } else {
            throw ToolError(.usage, "--check: the digests are of a pipe; name what to compare with")
        }
        var configuration = ApplyConfiguration(program: header.program, input: source)
        configuration.blockByteCount = header.blockByteCount
        configuration.rangeOffset = Int(header.rangeOffset)
        configuration.passes = header.passes
        // A file that was read to its end is read to its end again, so that growth shows; of a part just that part.
        let covered = header.rangeOffset + (try expected.rangeByteCount())
        if let size = header.fileByteCount, covered < size {
            configuration.rangeLength = Int(covered - header.rangeOffset)
        }
        return configuration
    }

    private func inputNamed(_ name: String) -> ApplyConfiguration.Input {
        name == "-" ? .standardInput : .file(FilePath(name))
    }

    private func program() throws(ToolError) -> Program {
        guard op == nil || prog == nil else { throw ToolError(.usage, "--op and --prog exclude each other") }
        return try Program(op: op, immediate: imm, program: prog, default: "crc32c")
    }
}

/// A number of bytes on the command line: digits, and K, M or G for a power of 1024.
struct ByteSize: ExpressibleByArgument {
    let bytes: Int

    init(_ bytes: Int) { self.bytes = bytes }

    init?(argument: String) {
        let shifts: [Character: Int] = ["K": 10, "M": 20, "G": 30, "T": 40]
        let shift = argument.last.flatMap { shifts[$0] } ?? 0
        let digits = shift > 0 ? argument.dropLast() : argument[...]
        guard let first = digits.first, first.isNumber, let number = Int(digits), number <= (Int.max >> 2) >> shift
        else {
            return nil
        }
        bytes = number << shift
    }

    var defaultValueDescription: String {
        for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] where bytes > 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)"
    }
}

extension PagePreference: ExpressibleByArgument {}

/// Progress on standard error, on a terminal only: a bar, the rate and the time left.
private final class ProgressBar {
    private let isShown: Bool
    private var lastShown: UInt64 = 0
    private var isOpen = false
    private(set) var warnings: [String] = []

    init(isQuiet: Bool) { isShown = !isQuiet && FileDescriptor.standardError.isTerminal }

    func show(_ event: ApplyEvent) {
        switch event {
        case .warning(let text):
            warnings.append(text)
            finish()
            FileDescriptor.standardError.writeLine("warning: \(text)")
        case .progress(let done, let total, let nanoseconds):
            guard isShown, nanoseconds > lastShown + 100_000_000 else { return }
            lastShown = nanoseconds
            isOpen = true
            let line = "\r\u{1B}[K" + Self.line(done: done, total: total, seconds: Double(nanoseconds) / 1e9)
            _ = try? FileDescriptor.standardError.writeAll(line.utf8)
        }
    }

    func finish() {
        if isOpen { _ = try? FileDescriptor.standardError.writeAll("\r\u{1B}[K".utf8) }
        isOpen = false
    }

    static func line(done: UInt64, total: UInt64?, seconds: Double) -> String {
        let rate = seconds > 0 ? Double(done) / seconds : 0
        let speed = "\(decimals(rate / 1e6, 0)) MB/s"
        guard let total, total > 0 else { return "\(done >> 20) MiB  \(speed)  \(decimals(seconds, 1)) s" }
        let share = Double(done) / Double(total)
        let filled = Int(share * 30)
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
        let left = rate > 0 ? decimals(Double(total - done) / rate, 1) + " s left" : ""
        return "[\(bar)] \(Int(share * 100)) %  \(speed)  \(left)"
    }
}
