import PacketFSPCPU

/// Which kernels a tool runs.
public enum Kernels {
    /// `ISA.selected()`, with an exit code for what is wrong.
    public static func selected() throws(ToolError) -> ISA {
        try ToolError.coded(ISA.selected)
    }
}
