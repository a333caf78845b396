import PacketFSEngine
import PacketFSMemory
import PacketFSPCPU
import PacketFSTools
import SystemPackage

/// What one application of a program to a file does. Checked as a whole by ``validate()`` before anything is started.
package struct ApplyConfiguration: Sendable {
    /// Where the bytes come from.
    package enum Input: Sendable, Hashable, CustomStringConvertible {
        /// A regular file, or a pipe or device, which is read in order.
        case file(FilePath)
        /// What this process was given, read in order.
        case standardInput

        /// The path, or `standard input`.
        package var description: String {
            switch self {
            case .file(let path): path.string
            case .standardInput: "standard input"
            }
        }
    }

    /// Where transformed bytes go.
    package enum Output: Sendable, Hashable {
        /// Nowhere: only what the program yields is wanted.
        case none
        /// A new file, or a new version of one; or a pipe or device, which is written in order.
        case file(FilePath)
        /// Where this process was told to, in order.
        case standardOutput
        /// The input file itself, replaced once the whole result is safe on disk.
        case inPlace
    }

    /// The program.
    package var program: Program
    /// The bytes that it is applied to.
    package var input: Input
    /// Where they go afterwards.
    package var output = Output.none
    /// Bytes of a block: the unit that the program's reducing operations see. The last block may be shorter.
    package var blockByteCount = 1 << 20
    /// First byte.
    package var rangeOffset = 0
    /// How many bytes; nil means to the end.
    package var rangeLength: Int?
    /// How often the program is applied: pass after pass over a file that is only read, block by block otherwise.
    package var passes = 1
    /// Where each block's values are written to.
    package var digests: FilePath?
    /// Pcores; nil means one for each CPU.
    package var pcores: Int?
    /// First CPU for pcores.
    package var firstCPU = 0
    /// How many CPUs the pcores are spread over; nil means all allowed ones from ``firstCPU`` on.
    package var cpuCount: Int?
    /// Bytes in flight at most when the input is a pipe, or transformed.
    package var windowByteCount = 256 << 20
    /// Which pages that window wants.
    package var pages = PagePreference.automatic
    /// Replaces pcores that die instead of ending the run.
    package var restartsFailed = false

    /// Whether bytes are moved, because the program rewrites them or they go somewhere.
    package var movesBytes: Bool { program.writes || output != .none }
    /// How often the file is gone through: once where bytes are moved, and the program is applied to each block as often as there
    /// are passes.
    package var rounds: Int { movesBytes ? 1 : passes }

    /// What the engine does of it.
    package var job: BlockJob {
        var job = BlockJob(program: program)
        job.blockByteCount = blockByteCount
        job.passes = passes
        job.movesBytes = movesBytes
        job.pcores = pcores
        job.windowByteCount = windowByteCount
        job.pages = pages
        job.restartsFailed = restartsFailed
        return job
    }

    /// The defaults for a program and an input.
    package init(program: Program, input: Input) {
        self.program = program
        self.input = input
    }

    /// The largest block.
    package static let maximumBlockByteCount = 1 << 30

    /// Checks the values against each other, but not against the machine; options have limits of their own.
    package func validate() throws(ToolError) {
        func check(_ condition: Bool, _ message: @autoclosure () -> String) throws(ToolError) {
            if !condition { throw ToolError(.usage, message()) }
        }
        try check(
            windowByteCount >= 2 * blockByteCount,
            "--window-mb: \(windowByteCount) bytes hold less than two blocks of \(blockByteCount) bytes; "
                + "raise it or lower --block")
        if output == .inPlace {
            guard case .file = input else { throw ToolError(.usage, "--in-place needs a file") }
        }
        try check(
            output != .none || !program.reducers.isEmpty,
            "\(program) only transforms: say where the bytes go with --out FILE or --in-place, or add an operation "
                + "that yields a value")
    }
}
