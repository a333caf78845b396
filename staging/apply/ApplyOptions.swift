import ArgumentParser
import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// The command line of tools that apply a program to a file.
package struct ApplyOptions: ParsableArguments {
    /// The defaults.
    package init() {}

    /// The file, or - for standard input. With --check: instead of the file that the digests name.
    @Argument(help: "The file, or - for standard input. With --check: instead of the file that the digests name.")
    package var input: String?
    /// A program of one operation (default: crc32c).
    @Option(help: "A program of one operation (default: crc32c).")
    package var op: String?
    /// Immediate of --op, 0 to 255, decimal or 0x.
    @Option(help: "Immediate of --op, 0 to 255, decimal or 0x.")
    package var imm: String?
    /// A program of several operations, such as xor:255,add:7,counteq:0.
    @Option(help: "A program of several operations, such as xor:255,add:7,counteq:0.")
    package var prog: String?
    /// Bytes of a block; K, M and G are powers of 1024.
    @Option(help: "Bytes of a block; K, M and G are powers of 1024.")
    package var block = ByteSize(1 << 20)
    /// First byte; K, M and G as above.
    @Option(help: "First byte; K, M and G as above.")
    package var rangeOff = ByteSize(0)
    /// How many bytes (default: to the end).
    @Option(help: "How many bytes (default: to the end).")
    package var rangeLen: ByteSize?
    /// Apply the program this often.
    @Option(help: "Apply the program this often.")
    package var passes = 1
    /// Write the transformed bytes to this file, - for standard output. It appears when it is complete.
    @Option(help: "Write the transformed bytes to this file, - for standard output. It appears when it is complete.")
    package var out: String?
    /// Replace the input by the transformed bytes, once they are safe on disk.
    @Flag(help: "Replace the input by the transformed bytes, once they are safe on disk.")
    package var inPlace = false
    /// Write each block's values to this file (CSV), for --check.
    @Option(help: "Write each block's values to this file (CSV), for --check.")
    package var digests: String?
    /// Compute the values in this file of digests again and report every block that differs.
    @Option(help: "Compute the values in this file of digests again and report every block that differs.")
    package var check: String?
    /// Pcores, one process each (default: one for each CPU).
    @Option(help: "Pcores, one process each (default: one for each CPU).")
    package var pcores: Int?
    /// First CPU for pcores.
    @Option(help: "First CPU for pcores.")
    package var cpuFirst = 0
    /// How many CPUs pcores are spread over (default: all from --cpu-first on).
    @Option(help: "How many CPUs pcores are spread over (default: all from --cpu-first on).")
    package var cpuCount: Int?
    /// MiB in flight at most, when the input is a pipe or is transformed.
    @Option(help: "MiB in flight at most, when the input is a pipe or is transformed.")
    package var windowMb = 256
    /// Pages of that window: auto (best first), 1g, 2m, thp or 4k; all but auto are demands.
    @Option(help: "Pages of that window: auto (best first), 1g, 2m, thp or 4k; all but auto are demands.")
    package var pageSize = PagePreference.automatic
    /// Replace pcores that die instead of giving up; each block still counts once.
    @Flag(help: "Replace pcores that die instead of giving up; each block still counts once.")
    package var restartFailed = false
    /// Print how the program would be executed on this CPU, and run nothing.
    @Flag(help: "Print how the program would be executed on this CPU, and run nothing.")
    package var explain = false
    /// Write one JSON document to standard output and nothing else there.
    @Flag(help: "Write one JSON document to standard output and nothing else there.")
    package var json = false
    /// No progress, and no summary; with --check only blocks that differ.
    @Flag(help: "No progress, and no summary; with --check only blocks that differ.")
    package var quiet = false

    /// The digests that are to be compared with, if any.
    package func expectedDigests() throws(ToolError) -> DigestReader? {
        try check.map { path throws(ToolError) in try DigestReader(FilePath(path)) }
    }

    /// What the options ask for, checked as a whole.
    ///
    /// - Parameter expected: the digests of ``check``, from ``expectedDigests()``.
    package func configuration(_ expected: DigestReader?) throws(ToolError) -> ApplyConfiguration {
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

    /// The program that the options ask for.
    package func program() throws(ToolError) -> Program {
        guard op == nil || prog == nil else { throw ToolError(.usage, "--op and --prog exclude each other") }
        return try Program(op: op, immediate: imm, program: prog, default: "crc32c")
    }
}

/// A number of bytes on the command line: digits, and K, M or G for a power of 1024.
package struct ByteSize: ExpressibleByArgument {
    /// The number.
    package let bytes: Int

    /// A default.
    package init(_ bytes: Int) { self.bytes = bytes }

    /// What the text says, or nil if it is no such number.
    package init?(argument: String) {
        let shifts: [Character: Int] = ["K": 10, "M": 20, "G": 30, "T": 40]
        let shift = argument.last.flatMap { shifts[$0] } ?? 0
        let digits = shift > 0 ? argument.dropLast() : argument[...]
        guard let first = digits.first, first.isNumber, let number = Int(digits), number <= (Int.max >> 2) >> shift
        else {
            return nil
        }
        bytes = number << shift
    }

    /// As people write it.
    package var defaultValueDescription: String {
        for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] where bytes > 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)"
    }
}
