import PacketFSPCPU

extension Program {
    /// The program that the options of a command line ask for: `--op` with `--imm`, `--prog`, or neither.
    public init(
        op: String?, immediate: String?, program: String?, default fallback: String
    ) throws(ToolError) {
        guard immediate == nil || op != nil else { throw ToolError(.usage, "--imm needs --op") }
        if let op, op.contains(where: { $0 == ":" || $0 == "," }) {
            throw ToolError(
                .usage, "--op \"\(op)\": takes one operation's name; use --imm for its immediate, --prog for several")
        }
        do {
            try self.init(parsing: program ?? (op ?? fallback) + (immediate.map { ":" + $0 } ?? ""))
        } catch {
            throw ToolError(.usage, "\(program == nil ? "--op" : "--prog"): \(error)")
        }
    }
}
