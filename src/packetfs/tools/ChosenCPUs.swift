import PacketFSProcess

extension CPUs {
    /// The CPUs for pcores: `count` allowed ones (nil: all) from number `first` on.
    public static func chosen(first: Int, count: Int?) throws(ToolError) -> [Int] {
        let allowed = try ToolError.coded(allowed)
        let candidates = allowed.filter { $0 >= first }
        let wanted = count ?? max(candidates.count, 1)
        guard candidates.first == first || first == 0, wanted <= candidates.count, !candidates.isEmpty else {
            throw ToolError(
                .unavailable,
                "--cpu-first \(first) with --cpu-count \(wanted): this process may use CPUs \(describe(allowed)) only")
        }
        return Array(candidates.prefix(wanted))
    }
}
