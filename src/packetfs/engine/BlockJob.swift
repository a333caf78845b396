import PacketFSMemory
import PacketFSPCPU

/// A program and how it is applied to the blocks of a file.
public struct BlockJob: Sendable {
    /// The program.
    public var program: Program
    /// Bytes of a block: the unit that the program's reducing operations see. The last block may be shorter.
    public var blockByteCount = 1 << 20
    /// How often the program is applied: pass after pass over a file that is only read, block by block otherwise.
    public var passes = 1
    /// Whether bytes are moved, because the program rewrites them or they go somewhere.
    public var movesBytes = false
    /// Pcores; nil means one for each CPU.
    public var pcores: Int?
    /// Bytes in flight at most where bytes are moved.
    public var windowByteCount = 256 << 20
    /// Which pages that window wants.
    public var pages = PagePreference.automatic
    /// Replaces pcores that die instead of ending the run.
    public var restartsFailed = false

    /// How often the file is gone through: once where bytes are moved, and the program is applied to each block as often as there
    /// are passes.
    public var rounds: Int { movesBytes ? 1 : passes }

    /// The defaults for a program.
    public init(program: Program) { self.program = program }
}
