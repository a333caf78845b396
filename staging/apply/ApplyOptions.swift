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
    @OptionGroup(title: "The program (crc32c unless one is named)")
    package var choice: ProgramOptions
    @Option(.bytes("Bytes of a block", 1...ApplyConfiguration.maximumBlockByteCount))
    package var block = 1 << 20
    @Option(.rangeOff)
    package var rangeOff = 0
    @Option(.rangeLen, absent: "to the end")
    package var rangeLen: Int?
    @Option(.whole("Apply the program this often", 1...1_000_000))
    package var passes = 1
    @Option(help: "Write the transformed bytes to this file, - for standard output. It appears when it is complete.")
    package var out: String?
    @Flag(help: "Replace the input by the transformed bytes, once they are safe on disk.")
    package var inPlace = false
    @Option(help: "Write each block's values to this file (CSV), for --check.")
    package var digests: String?
    @Option(help: "Compute the values in this file of digests again and report every block that differs.")
    package var check: String?
    @Option(.pcores, absent: "one for each CPU")
    package var pcores: Int?
    @Option(.cpuFirst)
    package var cpuFirst = 0
    @Option(.cpuCount, absent: "all from --cpu-first on")
    package var cpuCount: Int?
    @Option(.whole("MiB in flight at most, when the input is a pipe or is transformed", 1...1 << 24))
    package var windowMb = 256
    @Option(help: OptionHelp.pageSize)
    package var pageSize = PagePreference.automatic
    @Flag(help: OptionHelp.restartFailed)
    package var restartFailed = false
    @Flag(help: OptionHelp.explain)
    package var explain = false
    @OptionGroup package var output: OutputOptions
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
            configuration.blockByteCount = block
            configuration.rangeOffset = rangeOff
            configuration.rangeLength = rangeLen
            configuration.passes = passes
            configuration.digests = digests.map { FilePath($0) }
            guard !(inPlace && out != nil) else { throw ToolError(.usage, "--in-place and --out exclude each other") }
            if inPlace { configuration.output = .inPlace }
            if let out { configuration.output = out == "-" ? .standardOutput : .file(FilePath(out)) }
        }
        configuration.pcores = pcores
        configuration.firstCPU = cpuFirst
        configuration.cpuCount = cpuCount
        // Two blocks at least, whatever the block.
        configuration.windowByteCount = max(windowMb << 20, windowMb == 256 ? 2 * configuration.blockByteCount : 0)
        configuration.pages = pageSize
        configuration.restartsFailed = restartFailed
        try configuration.validate()
        return configuration
    }

    /// What a file of digests says about how it was made.
    private func checkConfiguration(_ expected: DigestReader) throws(ToolError) -> ApplyConfiguration {
        guard !choice.isGiven, out == nil, !inPlace, digests == nil else {
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
        try choice.program(default: "crc32c")
    }
}
