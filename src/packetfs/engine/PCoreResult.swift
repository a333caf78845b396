import PacketFSGram

/// What one pcore has done up to a moment.
@dynamicMemberLookup
package struct PCoreResult: Sendable {
    /// The CPU it is pinned to.
    package let cpu: Int
    /// What it counted; its counts are members of this value, too.
    package let tally: Tally
    /// CPU time used while running, in nanoseconds; 0 before its end.
    package let cpuNanoseconds: UInt64
    /// One wrapping sum per yielding operation, in the order of ``ProgramMix/reducers``; none in samples.
    package let totals: [UInt64]

    /// Values as the properties.
    package init(cpu: Int, tally: Tally, cpuNanoseconds: UInt64 = 0, totals: [UInt64] = []) {
        (self.cpu, self.tally, self.cpuNanoseconds, self.totals) = (cpu, tally, cpuNanoseconds, totals)
    }

    /// A count.
    package subscript(dynamicMember count: KeyPath<Tally, UInt64>) -> UInt64 { tally[keyPath: count] }
}
