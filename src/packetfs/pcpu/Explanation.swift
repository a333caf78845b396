extension Plan {
    /// What `--explain` prints: the program, what is left of it after algebra, and how it runs. Several lines, without a
    /// newline at the end.
    public var explanation: String {
        var lines = ["program  \(program)", "isa      \(isa)"]
        guard !schedule.isEmpty else {
            return (lines + ["plan     nothing to do: the maps cancel out and there is no reducer"])
                .joined(separator: "\n")
        }
        lines.append("plan     one pass over memory, \(schedule.writes ? "read and write in place" : "read only")")
        let reducers = program.reducers
        for (index, byte) in schedule.counters.enumerated() {
            lines.append("  count  bytes equal to \(byte) as loaded" + origin(.counter(index), reducers))
        }
        for (index, level) in schedule.levels.enumerated() {
            let bytes = level.map.isIdentity ? "the bytes as loaded" : "the bytes after \(level.map)"
            if level.crc32c { lines.append("  crc32c of \(bytes)" + origin(.crc32c(level: index), reducers)) }
            if level.fnv { lines.append("  fnv    of \(bytes)" + origin(.fnv(level: index), reducers)) }
        }
        if schedule.writes { lines.append("  write  \(schedule.final)") }
        return lines.joined(separator: "\n")
    }

    /// Which operations of the program get a value: ` -> value 1 (counteq:0)`.
    private func origin(_ source: Schedule.Source, _ reducers: [Step]) -> String {
        let users = zip(schedule.sources, reducers).enumerated()
            .filter { $0.element.0 == source }
            .map { "value \($0.offset + 1) (\($0.element.1))" }
        return " -> " + users.joined(separator: ", ")
    }
}
